//! Confining a child that is spawned, and not oneself.

use std::process::Command;

use crate::error::Result;
use crate::policy::Policy;

/// Confines what a [`Command`] starts: the child alone, before it executes. The caller stays free.
///
/// ```no_run
/// use std::process::Command;
/// use palisade::{CommandExt, Policy};
/// let policy = Policy::new().rx(["/bin", "/lib", "/lib64", "/usr"]).ro("in.txt");
/// let status = Command::new("sort").arg("in.txt").confine(&policy)?.status()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CommandExt {
    /// Opens the policy's paths and makes its ruleset, here and now; the child takes it on between fork and exec,
    /// and if that fails, spawning is an error and nothing runs.
    ///
    /// The child keeps what it inherits: descriptors 0 to 2 and others without O_CLOEXEC, the terminal, the
    /// environment. Rules for /proc/self are left out, which would be the parent's.
    ///
    /// # Errors
    ///
    /// As of [`Policy::enforce`], but that other threads do not matter.
    fn confine(&mut self, policy: impl AsRef<Policy>) -> Result<&mut Self>;
}

#[cfg(target_os = "linux")]
impl CommandExt for Command {
    fn confine(&mut self, policy: impl AsRef<Policy>) -> Result<&mut Command> {
        let plan = policy.as_ref().plan(&crate::Kernel::probe())?.for_child();
        if !plan.handled.is_empty() {
            let ruleset = plan.ruleset()?.fd;
            crate::sys::confine_child(self, ruleset, plan.prctl(), plan.restrict_flags());
        }
        Ok(self)
    }
}

#[cfg(not(target_os = "linux"))]
impl CommandExt for Command {
    fn confine(&mut self, policy: impl AsRef<Policy>) -> Result<&mut Command> {
        let _nothing_to_do = policy.as_ref().plan(&crate::Kernel::probe())?;
        Ok(self)
    }
}
