//! Confine a Linux program to exactly the files, ports and sockets it needs, with the kernel's Landlock: no root, no
//! daemon, no containers.
//!
//! ```no_run
//! use palisade::Policy;
//!
//! fn main() -> palisade::Result<()> {
//!     Policy::new().ro("/etc/os-release").enforce()?; // the whole process, all threads, or an error
//!     assert!(std::fs::read("/etc/os-release").is_ok());
//!     assert!(std::fs::read("/etc/passwd").is_err()); // EACCES
//!     Ok(())
//! }
//! ```
//!
//! A [`Policy`] says what is allowed, and is plain data. [`Policy::plan`] turns it into what one [`Kernel`] is told
//! and says what is lost there. [`Policy::enforce`] carries that out, and the [`Report`] says what holds.
//!
//! [When to enforce](guide#when-to-enforce), what stays open, and how to test a confined program is in the [`guide`].
//!
//! What Landlock does not restrict is in the project's SECURITY.md: read it before relying on anything.
//!
//! Off Linux everything compiles, and enforcing is an error ([`Error::is_unsupported`]) or, as a best effort, reports
//! that nothing is enforced.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some of it serves enforcing alone"))]

mod child;
mod decision;
mod domain;
#[cfg(target_os = "linux")]
mod enforce;
#[cfg(not(target_os = "linux"))]
#[path = "enforce_nothing.rs"]
mod enforce;
mod error;
#[cfg(feature = "file")]
mod file;
mod kernel;
mod needs;
mod place;
mod plan;
mod policy;
mod preset;
#[cfg(all(feature = "program", target_os = "linux"))]
mod program;
#[cfg(all(feature = "program", not(target_os = "linux")))]
#[path = "program_nothing.rs"]
mod program;
mod report;
mod request;
mod rights;
mod rule;
#[cfg(feature = "program")]
mod start;
mod sys;
pub mod test;
mod text;
mod uapi;

pub use child::{CommandExt, Confined};
pub use decision::{Decision, Grant, Granted};
pub use domain::Domain;
pub use enforce::Ruleset;
pub use error::{Error, Result};
#[cfg(feature = "file")]
pub use file::{Environment, Origin, PolicyFile, Problem, Stated, Warning, What};
#[cfg(feature = "file")]
#[doc(hidden)]
pub use file::{KEYS, Key, Takes};
pub use kernel::{Kernel, Unavailable};
pub use place::{FileKind, View};
pub use plan::{Lost, Plan};
pub use policy::{BestEffort, Policy};
pub use preset::Preset;
#[cfg(feature = "program")]
pub use program::Program;
pub use report::{Covers, Outcome, Report};
pub use request::{Open, Request};
pub use rights::{Abi, Rights};
#[cfg(unix)]
pub use rule::fd;
pub use rule::{Paths, Ports, Rule, path, ro, rw, rwx, rx};
#[cfg(feature = "program")]
pub use start::Start;
pub use text::{Printable, printable};
pub use uapi::Log;

#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

/// The README's programs compile.
#[cfg(all(doctest, feature = "program"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
