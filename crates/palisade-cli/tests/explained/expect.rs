//! What has to be explained of an operation, by how it ended: confined, and free.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use palisade::{Decision, Open, Request};
use serde_json::Value;

use crate::process::{Outcome, word};
use crate::round::Operation;
use crate::sys;
use crate::worker::Step;
use crate::world::World;

/// A refusal, as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub asked: String,
    pub errno: String,
    pub path: Option<PathBuf>,
    pub other: Option<PathBuf>,
}

impl Refusal {
    /// The same; where a path leads that nobody may follow is not known, and how it is written does not matter.
    pub fn is(&self, said: &Refusal) -> bool {
        let verb = |refusal: &Refusal| refusal.asked.split(' ').next().map(str::to_owned);
        let two = ["rename ", "exchange ", "link "].iter().any(|verb| self.asked.starts_with(verb));
        let unknown = self.asked.contains('/') && (self.path.is_none() || two && self.other.is_none());
        self == said
            || unknown
                && (verb(self), &self.errno, &self.path, &self.other)
                    == (verb(said), &said.errno, &said.path, &said.other)
    }
}

/// What is expected, and who may be named for it.
#[derive(Clone, Debug)]
pub struct Expected {
    pub refusal: Refusal,
    pub by: &'static [&'static str],
    /// Why it may be that it cannot be said.
    pub unsaid: Option<String>,
}

/// What was said of a refusal.
#[derive(Clone, Debug)]
pub struct Said {
    pub refusal: Refusal,
    pub by: String,
    pub times: u64,
    /// Words of options.
    pub options: Vec<Vec<std::ffi::OsString>>,
}

const LANDLOCK: &[&str] = &["landlock"];
const SECCOMP: &[&str] = &["seccomp"];
const PERMISSIONS: &[&str] = &["permissions"];
const OTHER: &[&str] = &["other"];

/// An operation that is about to be done.
pub struct Asked {
    request: Request,
    /// To open the device, where that is another call.
    opening: Option<Request>,
    decision: Decision,
    /// Landlock is asked before ordinary permissions are: for what is new, moved or removed, and for ports.
    first: bool,
}

impl Asked {
    pub fn new(operation: &Operation, world: &World, decide: impl FnOnce(&Request) -> Decision) -> Asked {
        // Who watches has no capabilities, by which he could look into any folder.
        let (request, opening) = sys::without_capabilities(|| {
            let opening = match operation {
                Operation::Ioctl(path) => Some(Request::open(world.real(path), Open::empty()).resolved()),
                _ => None,
            };
            (world.request(operation).resolved(), opening)
        });
        let decision = decide(&request);
        let there = |path: &std::path::Path| fs::symlink_metadata(path).is_ok();
        let first = match operation {
            Operation::Open(_, how) => how.contains(Open::CREATE) && !request.path().is_some_and(there),
            Operation::List(_)
            | Operation::Truncate(_)
            | Operation::Execute(_)
            | Operation::Signal
            | Operation::ConnectUnix(_) => false,
            _ => true,
        };
        Asked { request, opening, decision, first }
    }

    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What has to be said, if it was refused.
    pub fn expected(&self, operation: &Operation, with: Outcome, free: i32) -> Option<Expected> {
        let (errno, step) = with;
        let errno = Errno::from_raw(errno);
        let moves =
            matches!(operation, Operation::Rename(..) | Operation::Exchange(..) | Operation::Link(..));
        match errno {
            Errno::EACCES | Errno::EPERM => {}
            Errno::EXDEV if moves => {}
            _ => return None,
        }
        let of = |request: &Request| Refusal {
            asked: request.to_string(),
            errno: format!("{errno:?}"),
            path: request.path().map(Into::into),
            other: request.other_path().map(Into::into),
        };
        let both = free == errno as i32;
        match step {
            Step::Itself => {}
            Step::Socket => {
                let asked = format!("make a {} socket", kind(operation));
                let refusal = Refusal { asked, errno: format!("{errno:?}"), path: None, other: None };
                return Some(Expected { refusal, by: SECCOMP, unsaid: None });
            }
            Step::Opening => {
                let refusal = of(self.opening.as_ref()?);
                return Some(Expected {
                    refusal,
                    by: if both { PERMISSIONS } else { LANDLOCK },
                    unsaid: None,
                });
            }
            Step::None | Step::Passed => return None,
        }
        let ours = self.decision.errno() == Some(errno as i32);
        // Between two mounts, which is nobody's refusal.
        if both && errno == Errno::EXDEV {
            return None;
        }
        let by = match both {
            false => LANDLOCK,
            true if ours && self.first => LANDLOCK,
            // Immutable, or what the kind of file system does not take.
            true if errno == Errno::EPERM && matches!(operation, Operation::Link(..)) => OTHER,
            true => PERMISSIONS,
        };
        let unsaid = self.decision.cannot_say().map(str::to_owned);
        Some(Expected { refusal: of(&self.request), by, unsaid })
    }
}

fn kind(operation: &Operation) -> &'static str {
    match operation {
        Operation::BindTcp(_) | Operation::ConnectTcp(_) => "TCP",
        Operation::BindUdp(_) | Operation::ConnectUdp { .. } => "UDP",
        _ => "UNIX",
    }
}

/// What a line of JSON says.
pub fn said(json: &Value) -> Vec<Said> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let path = |value: &Value| word(value).map(PathBuf::from);
    let refusal = |value: &Value| Said {
        refusal: Refusal {
            asked: text(&value["asked"]),
            errno: text(&value["errno"]),
            path: path(&value["path"]),
            other: path(&value["other_path"]),
        },
        by: text(&value["by"]),
        times: value["times"].as_u64().expect("a number"),
        options: {
            let words = |option: &Value| option.as_array().into_iter().flatten().filter_map(word).collect();
            value["options"].as_array().into_iter().flatten().map(words).collect()
        },
    };
    json["refusals"].as_array().expect("refusals").iter().map(refusal).collect()
}
