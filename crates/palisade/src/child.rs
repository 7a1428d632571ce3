//! Confining a child that is spawned, and not oneself.

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output};

use crate::error::{Error, Kind, Result};
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
///
/// tokio's Command has this one inside: `command.as_std_mut().confine(&policy)?`.
pub trait CommandExt {
    /// Opens the policy's paths and makes its ruleset, here and now; the child takes it on between fork and exec, with
    /// two system calls. If that fails, starting it is an error and nothing runs.
    ///
    /// The policy has to allow the program itself ([`Policy::rx`], or `Policy::program` of the feature `program`, which
    /// looks it up in PATH now); if not, spawning is EACCES. Relative paths are the caller's, not of
    /// [`Command::current_dir`].
    ///
    /// # What the child still has
    ///
    /// Landlock takes nothing away that the child inherits:
    ///
    /// - descriptors 0 to 2, and all others without O_CLOEXEC (those that Rust opens have it): they keep their rights, a
    ///   folder's too, but that nothing can be opened through it;
    /// - the terminal, where it may read what is typed, and where the kernel permits TIOCSTI type itself; `stdin`,
    ///   `stdout` and `stderr` of [`Command`] give it others, and `setsid(2)` takes it away;
    /// - the environment, with all secrets in it: [`Command::env_clear`];
    /// - user, groups, capabilities and resource limits. With [`uid`](std::os::unix::process::CommandExt::uid) and
    ///   [`gid`](std::os::unix::process::CommandExt::gid) these change first, and it is confined after.
    ///
    /// Rules for the caller's own standard descriptors and /proc/self are left out
    /// ([`Plan::for_child`](crate::Plan::for_child)).
    ///
    /// # What is reported
    ///
    /// Nothing, so that a [best effort](Policy::best_effort) is not taken: what holds is what the policy requires. What
    /// else is lost, and what is skipped because it is missing, is in
    /// `policy.plan(&Kernel::probe())?.for_child().check()?`.
    ///
    /// The caller stays free as long as the command is spawned: [`exec`](std::os::unix::process::CommandExt::exec)
    /// starts no child, and if it fails it is the caller that has been confined.
    ///
    /// # Errors
    ///
    /// As of [`Policy::enforce`], but that threads do not matter. That the child cannot confine itself is an error of
    /// [`Confined::spawn`], [`status`](Confined::status) and [`output`](Confined::output) that says why. So say `confine`
    /// last: `.confine(&policy)?.arg(…)` is the [`Command`] again, which gives a mere number. [`Error::in_child`] says what
    /// that means.
    fn confine(&mut self, policy: &Policy) -> Result<Confined<'_>>;
}

/// A [`Command`] whose child confines itself: what [`CommandExt::confine`] gives. It may be started as often as one
/// likes, and confined again, which is one more layer.
#[derive(Debug)]
pub struct Confined<'a>(&'a mut Command);

impl Confined<'_> {
    /// As [`Command::spawn`], with an [`io::Error`] that says what to do if the child cannot be confined, or is refused
    /// its own program.
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.0.spawn().map_err(|error| self.said(error))
    }

    /// As [`Command::status`], with such an [`io::Error`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.0.status().map_err(|error| self.said(error))
    }

    /// As [`Command::output`], with such an [`io::Error`].
    pub fn output(&mut self) -> io::Result<Output> {
        self.0.output().map_err(|error| self.said(error))
    }

    fn said(&self, error: io::Error) -> io::Error {
        if let Some(error) = Error::in_child(&error) {
            return error.into();
        }
        let (Some(errno), io::ErrorKind::PermissionDenied) = (error.raw_os_error(), error.kind()) else {
            return error;
        };
        let program = Path::new(self.0.get_program());
        let hint = "the policy has to allow it and what it needs to start: Policy::program, or rx on each; or ordinary \
                    permissions refuse it";
        Error::on_path(Kind::Path, program, "cannot be started", hint).with_errno(errno).into()
    }
}

impl Deref for Confined<'_> {
    type Target = Command;

    fn deref(&self) -> &Command {
        self.0
    }
}

impl DerefMut for Confined<'_> {
    fn deref_mut(&mut self) -> &mut Command {
        self.0
    }
}

#[cfg(target_os = "linux")]
impl CommandExt for Command {
    fn confine(&mut self, policy: &Policy) -> Result<Confined<'_>> {
        let ruleset = policy.plan(&crate::Kernel::probe())?.for_child().ruleset()?;
        if ruleset.fd().is_some() {
            crate::sys::before_exec(self, move || ruleset.restrict_self());
        }
        Ok(Confined(self))
    }
}

#[cfg(not(target_os = "linux"))]
impl CommandExt for Command {
    fn confine(&mut self, policy: &Policy) -> Result<Confined<'_>> {
        let _nothing_to_do = policy.plan(&crate::Kernel::probe())?;
        Ok(Confined(self))
    }
}
