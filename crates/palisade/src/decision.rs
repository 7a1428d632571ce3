//! What the model answers.

use std::fmt;
use std::path::PathBuf;

use crate::error::errno_name;
use crate::preset::Preset;
use crate::printable;
use crate::rights::Rights;
use crate::rule::Ports;

/// The answer to a [`Request`](crate::Request), as [`Policy::decide`](crate::Policy::decide) gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub(crate) answer: Answer,
    pub(crate) note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allowed {
        by: Vec<Granted>,
        /// Rights that nothing restricts, and why.
        open: Vec<(Rights, String)>,
    },
    Refused {
        errno: i32,
        layer: usize,
        missing: Vec<Granted>,
        /// Or why no rule would allow it.
        suggestion: Result<Vec<Granted>, &'static str>,
    },
    CannotSay(String),
}

/// Something that a policy allows, or would have to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grant {
    /// Rights on a path, and on all below it.
    Path {
        /// The rights.
        rights: Rights,
        /// The path, as a rule names it.
        path: PathBuf,
    },
    /// A right on ports.
    Port {
        /// The right.
        right: Rights,
        /// The ports.
        ports: Ports,
    },
    /// To leave these rights alone altogether: no rule makes an exception of them.
    Unrestricted(Rights),
}

/// A [`Grant`] of one of the policies that were asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// Of which layer: 1 is the policy that is enforced first.
    pub layer: usize,
    /// What is granted.
    pub grant: Grant,
    /// The preset that it is from.
    pub preset: Option<Preset>,
}

impl Decision {
    /// The kernel would allow it; or, where nothing restricts it, would not be asked.
    pub fn is_allowed(&self) -> bool {
        matches!(self.answer, Answer::Allowed { .. })
    }

    /// The kernel would refuse it.
    pub fn is_refused(&self) -> bool {
        matches!(self.answer, Answer::Refused { .. })
    }

    /// Why neither can be said, if so.
    pub fn cannot_say(&self) -> Option<&str> {
        match &self.answer {
            Answer::CannotSay(why) => Some(why),
            _ => None,
        }
    }

    /// What the refused call fails with: `EACCES`, `EXDEV` (to take a file from one directory to another) or `EPERM`
    /// (scopes).
    pub fn errno(&self) -> Option<i32> {
        match self.answer {
            Answer::Refused { errno, .. } => Some(errno),
            _ => None,
        }
    }

    /// The outermost layer that refuses it: 1 is the policy that is enforced first.
    pub fn layer(&self) -> Option<usize> {
        match self.answer {
            Answer::Refused { layer, .. } => Some(layer),
            _ => None,
        }
    }

    /// The rules that allow it: of each layer those nearest to the path. None where nothing restricts it.
    pub fn rules(&self) -> impl Iterator<Item = &Granted> {
        match &self.answer {
            Answer::Allowed { by, .. } => by.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// The rights that it takes and that nothing restricts, each with the reason: that the kernel is too old, or
    /// that the policy leaves it alone.
    pub fn unrestricted(&self) -> impl Iterator<Item = (Rights, &str)> {
        match &self.answer {
            Answer::Allowed { open, .. } => open.as_slice(),
            _ => &[],
        }
        .iter()
        .map(|(right, why)| (*right, why.as_str()))
    }

    /// What is missing, and on which path or port.
    pub fn missing(&self) -> impl Iterator<Item = &Granted> {
        match &self.answer {
            Answer::Refused { missing, .. } => missing.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// The least rules that, added to the policy, would allow it. No right of them can be left out.
    pub fn suggestions(&self) -> impl Iterator<Item = &Granted> {
        match &self.answer {
            Answer::Refused { suggestion: Ok(granted), .. } => granted.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// Why no rule would allow it, if so.
    pub fn no_suggestion(&self) -> Option<&str> {
        match self.answer {
            Answer::Refused { suggestion: Err(why), .. } => Some(why),
            _ => None,
        }
    }

    /// What else there is to know, as a sentence: that the path does not exist, or that it would fail whatever is allowed.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

impl fmt::Display for Grant {
    /// As `rw:/srv`, `connect_tcp 443` or `signal unrestricted`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Path { rights, path } => write!(f, "{rights}:{}", printable(path)),
            Grant::Port { right, ports } => write!(f, "{right} {ports}"),
            Grant::Unrestricted(rights) => write!(f, "{rights} unrestricted"),
        }
    }
}

impl fmt::Display for Decision {
    /// In one line, as `allowed by rw:/srv` or `refused (EACCES): read_file is missing on /etc/passwd`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |granted: &[Granted]| granted.iter().map(|g| g.grant.to_string()).collect::<Vec<_>>().join(", ");
        match &self.answer {
            Answer::CannotSay(why) => write!(f, "cannot say: {why}"),
            Answer::Allowed { by, open } if by.is_empty() && open.is_empty() => {
                f.write_str("allowed: Landlock never refuses it")
            }
            Answer::Allowed { by, open } => {
                f.write_str("allowed")?;
                if !by.is_empty() {
                    write!(f, " by {}", list(by))?;
                }
                open.iter().try_for_each(|(right, why)| write!(f, "; {right} is not restricted: {why}"))
            }
            Answer::Refused { errno, missing, .. } => {
                write!(f, "refused ({}): ", errno_name(*errno))?;
                let lacking = missing.iter().map(|granted| match &granted.grant {
                    Grant::Path { rights, path } => format!("{rights} is missing on {}", printable(path)),
                    Grant::Port { right, ports } => format!("{right} is missing for port {ports}"),
                    Grant::Unrestricted(rights) => format!("{rights} has no exceptions"),
                });
                f.write_str(&lacking.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
