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
    /// The policy has to allow the program itself ([`Policy::rx`], or `Policy::program` of the feature `program`); if
    /// not, spawning is EACCES. Relative paths are the caller's, not of [`Command::current_dir`].
    ///
    /// The child keeps what it inherits: descriptors 0 to 2 and others without O_CLOEXEC, the terminal, the
    /// environment. Rules for the caller's own standard descriptors and /proc/self are left out
    /// ([`Plan::for_child`](crate::Plan::for_child)).
    ///
    /// Nothing is reported, so that a [best effort](Policy::best_effort) is not taken: what holds is what the policy
    /// requires. What else is lost, and what is skipped because it is missing, is in
    /// `policy.plan(&Kernel::probe())?.for_child().check()?`.
    ///
    /// The caller stays free as long as the command is spawned: [`exec`](std::os::unix::process::CommandExt::exec)
    /// starts no child, and if it fails it is the caller that has been confined.
    ///
    /// # Errors
    ///
    /// As of [`Policy::enforce`], but that other threads do not matter.
    fn confine(&mut self, policy: &Policy) -> Result<&mut Self>;
}

#[cfg(target_os = "linux")]
impl CommandExt for Command {
    fn confine(&mut self, policy: &Policy) -> Result<&mut Command> {
        let plan = policy.plan(&crate::Kernel::probe())?.for_child();
        if !plan.handled.is_empty() {
            let ruleset = plan.ruleset()?.fd;
            crate::sys::confine_child(self, ruleset, plan.prctl(), plan.restrict_flags());
        }
        Ok(self)
    }
}

#[cfg(not(target_os = "linux"))]
impl CommandExt for Command {
    fn confine(&mut self, policy: &Policy) -> Result<&mut Command> {
        let _nothing_to_do = policy.plan(&crate::Kernel::probe())?;
        Ok(self)
    }
}
