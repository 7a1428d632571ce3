//! The cases, by subject.

mod audit;
mod child;
mod compose;
mod devices;
mod exec;
mod files;
mod go_modes;
mod go_tables;
mod mounts;
mod net;
mod overlay;
mod plan;
#[cfg(feature = "file")]
mod policy_files;
mod presets;
mod processes;
mod refer;
mod requirements;
mod rules;
mod threads;
mod unix;
mod views;

pub use exec::helper;
pub use overlay::can_overlay;

use crate::harness::Case;

pub const ALL: &[&[Case]] = &[
    // First: what the others are refused would fill the log.
    audit::CASES,
    go_tables::CASES,
    go_modes::CASES,
    files::CASES,
    refer::CASES,
    exec::CASES,
    mounts::CASES,
    devices::CASES,
    net::CASES,
    unix::CASES,
    views::CASES,
    processes::CASES,
    threads::CASES,
    rules::CASES,
    requirements::CASES,
    plan::CASES,
    #[cfg(feature = "file")]
    policy_files::CASES,
    presets::CASES,
    overlay::CASES,
    child::CASES,
    compose::CASES,
];
