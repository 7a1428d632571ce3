//! Off Linux: a plan for this system handles nothing, and one that was made for another cannot be carried out.

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
}
