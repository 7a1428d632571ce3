//! Watches a program and all it starts, and makes an event of each system call that failed for want of a permission. No
//! root is needed, and nothing is changed: the program's filter stops it at the calls that Landlock decides on
//! (seccomp(2), SECCOMP_RET_TRACE), and the watcher (ptrace(2)) reads what each asked for and how it ended.
//!
//! What holds does not hang on the watcher. If it ends, all that it watches is killed; a process without a watcher gets
//! ENOSYS from every call that stops. The one thing that it does to a program is to refuse what the backstop closes, at
//! whichever stop it comes by: what the filter says to the watcher a filter of the program's own could say too.

pub mod calls;
mod event;
mod ordinary;
mod said;

pub use event::{Closing, Event, Ordinary, What};

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use self::calls::Call;
use self::event::Watched;
use self::said::Said;
use crate::backstop::{self, Instruction};
use crate::sys::watch::{self as sys, Seen};

/// Whether programs can be watched on this architecture.
pub const fn exists() -> bool {
    cfg!(target_arch = "x86_64")
}

/// Whether this process has capabilities that are not in a set.
pub fn has_capabilities_beyond(set: u64) -> bool {
    ordinary::Identity::of("self").is_some_and(|own| own.has_beyond(set))
}

/// When the arguments of a call are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// When it has failed. Another thread of the program can have changed them meanwhile.
    Failed,
    /// Before it is done, of every call; and again when it has failed, which shows most such changes.
    All,
}

/// What the watcher tells.
pub enum Told {
    /// The program runs.
    Started,
    /// A call failed for want of a permission.
    Refused(Event),
    /// The program has ended; nobody has been told yet. With it, how many of those it started still run.
    Ended { status: Status, left: usize },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Exited(i32),
    Killed(i32),
}

/// A call that a thread stands in.
struct Within {
    arch: u32,
    call: Call,
    arguments: [u64; 6],
    /// What it said when it began, if that is read.
    before: Option<Said>,
}

/// What is watched, and how.
pub struct Watch<'a> {
    /// The process, which [`sys::seize`] was called on.
    pub program: i32,
    pub reads: Reads,
    /// What is refused when it stops.
    pub backstop: &'a [Instruction],
}

/// Watches a program until all it started has ended.
pub fn watch(watch: &Watch<'_>, mut tell: impl FnMut(Told)) -> io::Result<()> {
    let program = watch.program;
    let mut threads: HashMap<i32, Option<Within>> = HashMap::from([(program, None)]);
    let watched = Watched::new();
    while let Some((thread, seen)) = sys::wait()? {
        let status = match seen {
            Seen::Stopped(code) => {
                match stopped(thread, code, watch, &mut threads, &watched, &mut tell) {
                    Ok(()) => {}
                    // Killed meanwhile, it cannot be asked any more; its end is seen next.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    // It would stand there for good, and be seen again and again.
                    Err(_) => sys::kill(thread),
                }
                continue;
            }
            Seen::Exited(status) => Status::Exited(status),
            Seen::Killed(signal) => Status::Killed(signal),
        };
        threads.remove(&thread);
        if thread == program {
            let left: HashSet<i32> = threads.keys().map(|thread| process_of(*thread)).collect();
            tell(Told::Ended { status, left: left.len() });
        }
        sys::let_end(thread);
    }
    Ok(())
}

const EVENT_SECCOMP: i32 = libc::PTRACE_EVENT_SECCOMP;
const EVENT_EXEC: i32 = libc::PTRACE_EVENT_EXEC;
const EVENT_STOP: i32 = libc::PTRACE_EVENT_STOP;
/// The stop after a call (PTRACE_O_TRACESYSGOOD).
const CALL_DONE: i32 = libc::SIGTRAP | 0x80;

fn stopped(
    thread: i32,
    code: i32,
    watch: &Watch<'_>,
    threads: &mut HashMap<i32, Option<Within>>,
    watched: &Watched,
    tell: &mut impl FnMut(Told),
) -> io::Result<()> {
    let (signal, event) = (code & 0xff, code >> 8);
    match event {
        EVENT_SECCOMP => {
            let info = sys::call_info(thread)?;
            let (arch, arguments) = (info.arch(), info.arguments());
            let call = calls::find(arch, info.number());
            if let Some(errno) = backstop::refuses(watch.backstop, arch, info.number() as u32, arguments) {
                sys::refuse_call(thread, errno)?;
                let said = call.map(|call| said::read(thread, arch, call, arguments));
                tell(Told::Refused(watched.closed(thread, said, errno)));
                return sys::go_on(thread, 0);
            }
            if call == Some(Call::Ptrace) && wants_to_watch(arguments) {
                sys::refuse_call(thread, libc::EPERM)?;
                watched
                    .event(thread, Said::Trace, libc::EPERM)
                    .into_iter()
                    .for_each(|e| tell(Told::Refused(e)));
                return sys::go_on(thread, 0);
            }
            let Some(call) = call.filter(|_| info.filter_data() == backstop::WATCHED) else {
                // By a filter of the program's own, which has no watcher for it: ours says so, and stops no other call.
                sys::refuse_call(thread, libc::ENOSYS)?;
                return sys::go_on(thread, 0);
            };
            let before = match watch.reads {
                Reads::All => Some(said::read(thread, arch, call, arguments)),
                Reads::Failed => None,
            };
            threads.insert(thread, Some(Within { arch, call, arguments, before }));
            sys::go_on_until_done(thread)
        }
        EVENT_EXEC => {
            // All other threads are gone, and whichever called it has the number of the first.
            sys::take_stop(thread);
            let before = sys::event_message(thread)? as i32;
            threads.remove(&before);
            threads.insert(thread, None);
            if thread == watch.program {
                tell(Told::Started);
            }
            if let Some(event) = watched.executed(thread) {
                tell(Told::Refused(event));
            }
            sys::go_on(thread, 0)
        }
        EVENT_STOP => {
            threads.entry(thread).or_insert(None);
            match signal {
                libc::SIGTRAP => sys::go_on(thread, 0),
                _ => sys::stay_stopped(thread),
            }
        }
        0 if signal == CALL_DONE => {
            let within = threads.insert(thread, None).flatten();
            let errno = sys::call_info(thread)?.returned().checked_neg().unwrap_or(0) as i32;
            if let (Some(within), true) = (within, wants_permission(errno)) {
                let after = said::read(thread, within.arch, within.call, within.arguments);
                let changed = within.before.as_ref().is_some_and(|before| *before != after);
                if let Some(event) = watched.event(thread, within.before.unwrap_or(after), errno) {
                    tell(Told::Refused(Event { changed, ..event }));
                }
            }
            sys::go_on(thread, 0)
        }
        0 => sys::go_on(thread, signal),
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
            // It is seen by itself too, but perhaps after its parent's end; or it has been, and has ended.
            let started = sys::event_message(thread)? as i32;
            if Path::new(&format!("/proc/{started}")).exists() {
                threads.entry(started).or_insert(None);
            }
            sys::go_on(thread, 0)
        }
        _ => sys::go_on(thread, 0),
    }
}

/// What another process watches stops for that, and would be let through: no process may, also not one that is not watched
/// (CLONE_UNTRACED). All others the kernel refuses itself, for they are watched already.
fn wants_to_watch(arguments: [u64; 6]) -> bool {
    const REQUESTS: [u32; 2] = [libc::PTRACE_ATTACH, libc::PTRACE_SEIZE];
    REQUESTS.contains(&(arguments[0] as u32))
}

fn wants_permission(errno: i32) -> bool {
    [libc::EACCES, libc::EPERM, libc::EXDEV].contains(&errno)
}

/// The number of the process that a thread is of.
fn process_of(thread: i32) -> i32 {
    field_of(format!("/proc/{thread}/status"), "Tgid:").and_then(|text| text.parse().ok()).unwrap_or(thread)
}

/// The number of the process that a descriptor of another is about (pidfd_open(2)); 0 if that is none.
fn process_of_pidfd(process: i32, fd: i32) -> i32 {
    field_of(format!("/proc/{process}/fdinfo/{fd}"), "Pid:").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What a file of /proc says after a name at the beginning of a line.
fn field_of(path: impl AsRef<Path>, name: &str) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}
