//! Starts COMMAND as a child, watches it and all it starts, and keeps what they use.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use palisade::{Error, Kernel, Plan, Ruleset, printable};

use super::seen::Seen;
use crate::args::LearnArgs;
use crate::backstop::{self, Closed, Watcher};
use crate::policy::Policies;
use crate::run::policy_failure;
use crate::start::{Starting, Strings};
use crate::sys::{self, learn as signals, watch as sys_watch};
use crate::watch::{self, Closing, Event, Reads, Status, Told, Watch, What};
use crate::{Failure, say};

/// What COMMAND is started with.
pub struct Launch<'a> {
    pub args: &'a LearnArgs,
    pub policies: &'a Policies<'a>,
    pub kernel: &'a Kernel,
    pub starting: &'a Starting<'a>,
    /// Of the policy, which is not enforced, and of each ceiling.
    pub plans: &'a [Plan],
}

/// What was seen, and how it ended.
pub struct Watched {
    pub seen: Seen,
    pub status: Status,
    /// Somebody ended it.
    pub partial: bool,
    /// The number of COMMAND's process.
    pub program: i32,
}

impl Watched {
    /// What the kernel had of COMMAND.
    pub fn own(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.program))
    }
}

/// How often it is said how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What `palisade run` closes, whatever a policy grants or unless it does.
const CLOSED: Closed = Closed {
    families: true,
    tcp: false,
    udp: true,
    unix: true,
    other_streams: true,
    fast_open: false,
    io_uring: true,
    typing: true,
};

impl Launch<'_> {
    /// Runs COMMAND to its end, and that of all it started. In its own process it does not return but to say why it could
    /// not be started; then that has been said, and is the exit status here.
    pub fn watch(&self) -> Result<Result<Watched, u8>, Failure> {
        let strings = self.starting.strings()?;
        let failed = |error: io::Error| Failure::new(format!("COMMAND cannot be started: {error}"));
        let (mut ours, mut theirs) = UnixStream::pair().map_err(failed)?;
        let watcher = std::process::id() as i32;
        let Some(program) = signals::fork().map_err(failed)? else {
            drop(ours);
            if theirs.read_exact(&mut [0]).is_err() {
                // The other has ended, and said why.
                sys_watch::exit(crate::FAILED.into());
            }
            let failure = self.become_command(&strings, watcher);
            say::line(&failure.message);
            sys_watch::exit(failure.code.into())
        };
        drop(theirs);
        sys_watch::seize(program).map_err(|error| {
            Failure::new(format!(
                "COMMAND cannot be watched: {error}; is palisade watched itself, as by strace, or does a sandbox around it forbid ptrace?"
            ))
        })?;
        signals::leave_signals_to(program).map_err(failed)?;
        signals::stop_as_the_child_does();
        ours.write_all(&[0]).map_err(failed)?;
        self.tell(program)
    }

    fn become_command(&self, strings: &Strings, watcher: i32) -> Failure {
        let prepare = || {
            let refused = |error: Error| policy_failure(&error, self.policies, self.kernel);
            sys::set_no_new_privs()
                .map_err(|error| Failure::new(format!("no_new_privs cannot be set: {error}")))?;
            let ceilings: Vec<Ruleset> = self.plans[1..]
                .iter()
                .cloned()
                .map(Plan::ruleset)
                .collect::<Result<_, _>>()
                .map_err(refused)?;
            for ceiling in ceilings {
                ceiling.enforce().map_err(refused)?;
            }
            self.starting.hygiene()?;
            let closed = self.policies.closed_within(self.plans);
            let filters =
                [backstop::filter(closed), backstop::watched_filter(CLOSED, Watcher::OfAll(watcher))];
            for filter in filters.iter().filter(|filter| !filter.is_empty()) {
                sys::install_filter(filter).map_err(|error| {
                    Failure::new(format!("the seccomp filter cannot be installed: {error}"))
                })?;
            }
            Ok(())
        };
        match prepare() {
            Ok(()) => self.starting.execute(strings),
            Err(failure) => failure,
        }
    }

    fn tell(&self, program: i32) -> Result<Result<Watched, u8>, Failure> {
        let backstop = backstop::filter(CLOSED);
        let mut seen = Seen::default();
        let (mut started, mut end, mut partial, mut interrupted) = (false, None, false, false);
        let mut waits = false;
        let mut said = Instant::now();
        let quiet = self.args.quiet;
        let watched = watch::watch(&Watch { program, reads: Reads::Done, backstop: &backstop }, |told| {
            match told {
                Told::Started => started = true,
                Told::Used(used) => seen.add(used, program),
                Told::Refused(event) => refused(&mut seen, &event),
                Told::Stopped => signals::stop_with(program),
                Told::Interrupted(processes) => {
                    if signals::is_to_end() {
                        interrupted = true;
                        if end.is_some() {
                            // What is left is nobody's to wait for.
                            partial = true;
                            processes.iter().for_each(|process| sys_watch::kill(*process));
                        }
                    }
                    if end.is_some() && !waits && !quiet && !processes.is_empty() {
                        waits = true;
                        say::line(&format!(
                            "COMMAND has ended, and {} that it started runs on: what is used until all have ended is learned too; Ctrl-C ends them",
                            named(&processes)
                        ));
                    }
                    if said.elapsed() >= PROGRESS && !quiet && signals::shows_lines() {
                        said = Instant::now();
                        say::line(&format!("learning: {} so far", super::print::extent(&seen)));
                    }
                }
                Told::Ended { status, .. } => {
                    end = Some(status);
                    // What it was sent until now it has gone on from, or ended by.
                    interrupted |= signals::is_to_end();
                    partial = match status {
                        Status::Exited(0) => false,
                        Status::Exited(_) => interrupted,
                        Status::Killed(_) => true,
                    };
                    signals::child_has_ended();
                }
            }
        });
        watched.map_err(|error| Failure::new(format!("COMMAND cannot be watched any more: {error}")))?;
        let status = end.unwrap_or(Status::Exited(crate::FAILED.into()));
        match (started, status) {
            (true, status) => Ok(Ok(Watched { seen, status, partial, program })),
            (false, Status::Exited(code)) => Ok(Err(code as u8)),
            (false, Status::Killed(signal)) => {
                Err(Failure::new(format!("COMMAND was killed by signal {signal} before it was started")))
            }
        }
    }
}

/// Processes, for people: the first by its name.
fn named(processes: &[i32]) -> String {
    let first = processes.iter().min().copied().unwrap_or_default();
    let name = std::fs::read(format!("/proc/{first}/comm")).unwrap_or_default();
    let name = printable(OsStr::from_bytes(name.strip_suffix(b"\n").unwrap_or(&name))).to_string();
    match processes.len() {
        1 => format!("a process ({name}, {first})"),
        many => format!("{many} processes ({name}, {first}, …)"),
    }
}

/// What only a program that is watched is refused.
fn refused(seen: &mut Seen, event: &Event) {
    match &event.what {
        What::Trace => seen.note(
            "watch another process, as debuggers do, which was refused",
            "who is watched cannot; confined it may watch what it has started",
        ),
        What::Closed(Closing::IoUring) => {
            seen.note(
                "use io_uring, which was refused",
                "what goes through it cannot be seen; palisade run refuses it too",
            );
        }
        _ => {}
    }
}
