//! Watches a program and all it starts, and makes an event of each system call that failed for want of a permission. No
//! root is needed, and nothing is changed: the program's filter stops it at the calls that Landlock decides on
//! (seccomp(2), SECCOMP_RET_TRACE), and the watcher (ptrace(2)) reads what each asked for and how it ended.
//!
//! To learn a policy it is told what succeeded instead.
//!
//! What holds does not hang on the watcher. If it ends, all that it watches is killed; a process without a watcher gets
//! ENOSYS from every call that stops. The one thing that it does to a program is to refuse what the backstop closes, at
//! whichever stop it comes by: what the filter says to the watcher a filter of the program's own could say too.

pub mod calls;
mod event;
mod ordinary;
mod said;
mod used;

pub use event::{Closing, Event, Ordinary, What};
pub use used::{Inode, Use, Used};

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

/// What is told, and when the arguments of a call are read for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// What was refused; read when it has failed. Another thread of the program can have changed them meanwhile.
    Failed,
    /// The same; read before it is done, of every call, and again when it has failed, which shows most such changes.
    All,
    /// What succeeded. What is closed is let through, and told.
    Done,
}

/// What the watcher tells.
pub enum Told {
    /// The program runs.
    Started,
    /// A call failed for want of a permission.
    Refused(Event),
    /// A call succeeded.
    Used(Used),
    /// The program was stopped, and with it all that could continue it.
    Stopped,
    /// A signal came to the watcher, while these processes run.
    Interrupted(Vec<i32>),
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
    before: Before,
}

/// What was read of a call when it began.
enum Before {
    Nothing,
    Said(Said),
    /// What it uses if it succeeds.
    Use(used::Before),
}

/// What is watched, and how.
pub struct Watch<'a> {
    /// The process, which [`sys::seize`] was called on.
    pub program: i32,
    pub reads: Reads,
    /// What is refused when it stops; or only told, where what is done is.
    pub backstop: &'a [Instruction],
}

/// All threads that run, and what is known of them.
struct All {
    threads: HashMap<i32, Option<Within>>,
    watched: Watched,
    uses: used::Uses,
}

impl All {
    /// A thread is seen, perhaps for the first time.
    fn begins(&mut self, thread: i32) {
        self.threads.entry(thread).or_insert_with(|| {
            self.uses.begins(thread);
            None
        });
    }

    /// The numbers of the processes.
    fn processes(&self) -> HashSet<i32> {
        self.threads.keys().map(|thread| process_of(*thread)).collect()
    }
}

/// Watches a program until all it started has ended.
pub fn watch(watch: &Watch<'_>, mut tell: impl FnMut(Told)) -> io::Result<()> {
    let program = watch.program;
    let mut all =
        All { threads: HashMap::from([(program, None)]), watched: Watched::new(), uses: used::Uses::new() };
    while let Some((thread, seen)) = sys::wait()? {
        let status = match seen {
            Seen::Stopped(code) => {
                match stopped(thread, code, watch, &mut all, &mut tell) {
                    Ok(()) => {}
                    // Killed meanwhile, it cannot be asked any more; its end is seen next.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    // It would stand there for good, and be seen again and again.
                    Err(_) => sys::kill(thread),
                }
                continue;
            }
            Seen::Interrupted => {
                tell(Told::Interrupted(all.processes().into_iter().collect()));
                continue;
            }
            Seen::Exited(status) => Status::Exited(status),
            Seen::Killed(signal) => Status::Killed(signal),
        };
        all.threads.remove(&thread);
        if thread == program {
            tell(Told::Ended { status, left: all.processes().len() });
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
    all: &mut All,
    tell: &mut impl FnMut(Told),
) -> io::Result<()> {
    let (signal, event) = (code & 0xff, code >> 8);
    match event {
        EVENT_SECCOMP => begun(thread, watch, all, tell),
        EVENT_EXEC => {
            // All other threads are gone, and whichever called it has the number of the first.
            sys::take_stop(thread);
            let before = sys::event_message(thread)? as i32;
            let within = all.threads.remove(&before).flatten();
            all.threads.insert(thread, None);
            if thread == watch.program {
                tell(Told::Started);
            }
            let gains = all.watched.executed(thread);
            if watch.reads == Reads::Done {
                let before = within.and_then(|within| within.before.of_use());
                all.uses.executed(thread, before, gains).into_iter().for_each(|used| tell(Told::Used(used)));
            } else if let Some(event) = gains {
                tell(Told::Refused(event));
            }
            sys::go_on(thread, 0)
        }
        EVENT_STOP => {
            all.begins(thread);
            match signal {
                libc::SIGTRAP => sys::go_on(thread, 0),
                _ => {
                    sys::stay_stopped(thread)?;
                    // Another that it started may be to continue it, which it could not if the watcher stopped too.
                    let by_terminal = signal != libc::SIGSTOP;
                    if thread == watch.program && (by_terminal || all.processes().len() == 1) {
                        tell(Told::Stopped);
                    }
                    Ok(())
                }
            }
        }
        0 if signal == CALL_DONE => {
            if let Some(within) = all.threads.insert(thread, None).flatten() {
                done(thread, within, all, tell)?;
            }
            sys::go_on(thread, 0)
        }
        0 => sys::go_on(thread, signal),
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
            // It is seen by itself too, but perhaps after its parent's end; or it has been, and has ended.
            let started = sys::event_message(thread)? as i32;
            if Path::new(&format!("/proc/{started}")).exists() {
                all.begins(started);
            }
            sys::go_on(thread, 0)
        }
        _ => sys::go_on(thread, 0),
    }
}

/// A thread is about to make a call that is watched, or closed.
fn begun(thread: i32, watch: &Watch<'_>, all: &mut All, tell: &mut impl FnMut(Told)) -> io::Result<()> {
    let info = sys::call_info(thread)?;
    let (arch, arguments) = (info.arch(), info.arguments());
    let call = calls::find(arch, info.number());
    let learns = watch.reads == Reads::Done;
    let closed = backstop::refuses(watch.backstop, arch, info.number() as u32, arguments);
    // What goes through io_uring would not be seen.
    if let Some(errno) = closed.filter(|_| !learns || call == Some(Call::IoUringSetup)) {
        sys::refuse_call(thread, errno)?;
        let said = call.map(|call| said::read(thread, arch, call, arguments));
        tell(Told::Refused(all.watched.closed(thread, said, errno)));
        return sys::go_on(thread, 0);
    }
    if call == Some(Call::Ptrace) && wants_to_watch(arguments) {
        sys::refuse_call(thread, libc::EPERM)?;
        let event = all.watched.event(thread, Said::Trace, libc::EPERM);
        event.into_iter().for_each(|event| tell(Told::Refused(event)));
        return sys::go_on(thread, 0);
    }
    let Some(call) = call.filter(|_| info.filter_data() == backstop::WATCHED) else {
        // By a filter of the program's own, which has no watcher for it: ours says so, and stops no other call.
        sys::refuse_call(thread, libc::ENOSYS)?;
        return sys::go_on(thread, 0);
    };
    let said = || said::read(thread, arch, call, arguments);
    let before = match watch.reads {
        Reads::All => Before::Said(said()),
        Reads::Failed => Before::Nothing,
        Reads::Done => match all.uses.begun(thread, call, arguments, closed.is_some(), &all.threads, said) {
            Some(before) => Before::Use(before),
            None => return sys::go_on(thread, 0),
        },
    };
    all.threads.insert(thread, Some(Within { arch, call, arguments, before }));
    sys::go_on_until_done(thread)
}

/// A call has been done.
fn done(thread: i32, within: Within, all: &mut All, tell: &mut impl FnMut(Told)) -> io::Result<()> {
    let returned = sys::call_info(thread)?.returned();
    let errno = returned.checked_neg().unwrap_or(0) as i32;
    let said = || said::read(thread, within.arch, within.call, within.arguments);
    let (said, changed) = match within.before {
        Before::Use(before) => {
            all.uses.done(thread, before, returned, said).into_iter().for_each(|used| tell(Told::Used(used)));
            return Ok(());
        }
        _ if !wants_permission(errno) => return Ok(()),
        Before::Nothing => (said(), false),
        Before::Said(before) => {
            let changed = before != said();
            (before, changed)
        }
    };
    if let Some(event) = all.watched.event(thread, said, errno) {
        tell(Told::Refused(Event { changed, ..event }));
    }
    Ok(())
}

impl Before {
    fn of_use(self) -> Option<used::Before> {
        match self {
            Before::Use(before) => Some(before),
            _ => None,
        }
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
