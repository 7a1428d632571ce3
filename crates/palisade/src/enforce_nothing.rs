//! Off Linux: a plan for this system handles nothing, and one that was made for another cannot be carried out.

use crate::domain::Known;
use crate::error::{Error, Kind, Result};
use crate::kernel::Unavailable;
use crate::plan::Plan;
use crate::report::{Covers, Report};

impl Plan {
    /// Confines the whole process, as [`Policy::enforce`](crate::Policy::enforce).
    pub fn enforce(self) -> Result<Report> {
        if !self.handled.is_empty() {
            let why = Unavailable::NotLinux;
            return Err(Error::new(Kind::Unsupported, format!("nothing can be confined: {why}"), why.help()));
        }
        Ok(Report { plan: self, covers: Covers::Nobody, skipped: Vec::new(), notes: Vec::new() })
    }

    /// Confines the calling thread alone, as [`Policy::enforce_thread`](crate::Policy::enforce_thread).
    pub fn enforce_thread(self) -> Result<Report> {
        self.enforce()
    }

    /// Does all that [`Plan::enforce`] does but for the last step.
    pub fn check(&self) -> Result<Report> {
        self.clone().enforce().map(|report| Report { covers: Covers::NotYet, ..report })
    }

    /// What [`Plan::enforce`] would add rules for: nothing.
    pub(crate) fn known(&self) -> Result<(Vec<Known>, Vec<std::path::PathBuf>)> {
        Ok((Vec::new(), Vec::new()))
    }

    /// Makes the ruleset, for those who start processes by themselves.
    pub fn ruleset(self) -> Result<Ruleset> {
        Ok(Ruleset(self.enforce()?))
    }
}

/// A plan's ruleset: of one that handles nothing.
#[derive(Debug)]
pub struct Ruleset(Report);

impl Ruleset {
    /// Confines nobody: there is nothing to confine to.
    pub fn restrict_self(&self) -> std::io::Result<()> {
        Ok(())
    }

    /// Confines nobody, likewise.
    pub fn enforce(self) -> Result<Report> {
        Ok(self.0)
    }

    /// What will hold: nothing.
    pub fn report(&self) -> &Report {
        &self.0
    }

    /// The descriptor: there is none.
    #[cfg(unix)]
    pub fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

impl Error {
    /// What it was, if starting a program failed because the child could not confine itself; here never.
    pub fn in_child(_error: &std::io::Error) -> Option<Error> {
        None
    }
}
