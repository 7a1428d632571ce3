//! The system calls of `palisade learn`: it starts COMMAND as its child, and passes on what is meant for both.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use libc::c_int;

use super::check;

/// Who gets the signals that are sent to this process alone; 0 if nobody.
static CHILD: AtomicI32 = AtomicI32::new(0);
/// Somebody wanted this to end.
static TO_END: AtomicBool = AtomicBool::new(false);

/// What the user ends programs with.
const ENDING: [c_int; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];
/// By which a terminal stops programs: COMMAND decides, and this one stops with it.
const STOPPING: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// `pid_t fork(void)`, fork(2): the number of the child, in which it is `None`.
pub fn fork() -> io::Result<Option<i32>> {
    // SAFETY: this process has one thread, so that a copy of it can go on with anything.
    let child = check(unsafe { libc::fork() }.into())?;
    Ok((child != 0).then_some(child as i32))
}

/// A signal that somebody has sent to this process; what a terminal sends, its whole group gets.
extern "C" fn pass_on(signal: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    TO_END.store(true, Ordering::Relaxed);
    let child = CHILD.load(Ordering::Relaxed);
    // SAFETY: the kernel passes what the signal is about; kill(2) may be called here, and has no memory passed.
    unsafe {
        if child != 0 && (*info).si_code <= 0 {
            libc::kill(child, signal);
        }
    }
}

extern "C" fn wake(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// `int sigaction(int, const struct sigaction *, NULL)`, sigaction(2): from now on signals that end are the child's
/// to follow, and each second a call that waits is interrupted (`int setitimer(ITIMER_REAL, …)`, setitimer(2)).
pub fn leave_signals_to(child: i32) -> io::Result<()> {
    CHILD.store(child, Ordering::Relaxed);
    for signal in ENDING {
        // What whoever started this has ignored for it, as nohup does, stays so.
        handle(signal, pass_on)?;
    }
    handle(libc::SIGALRM, wake)?;
    let second = libc::timeval { tv_sec: 1, tv_usec: 0 };
    let each = libc::itimerval { it_interval: second, it_value: second };
    // SAFETY: the structure lives until the call returns.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const each, ptr::null_mut()) }.into())?;
    Ok(())
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);

fn handle(signal: c_int, handler: Handler) -> io::Result<()> {
    // SAFETY: the structures are integers and a pointer, for which zeros are good, and live until the calls return. The
    // handler makes system calls and uses atomics alone.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(signal, ptr::null(), &raw mut old).into())?;
        if old.sa_sigaction == libc::SIG_IGN {
            return Ok(());
        }
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO;
        check(libc::sigaction(signal, &raw const new, ptr::null_mut()).into())?;
    }
    Ok(())
}

/// `int sigprocmask(how, set, NULL)`, sigprocmask(2), of the signals by which a terminal stops programs.
fn block(how: c_int) {
    // SAFETY: the set is integers alone, for which zeros are good, and lives until the calls return.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        STOPPING.iter().for_each(|signal| {
            libc::sigaddset(&raw mut set, *signal);
        });
        libc::sigprocmask(how, &raw const set, ptr::null_mut());
    }
}

/// From now on this process is stopped when the child is that it watches, and not by a terminal.
pub fn stop_as_the_child_does() {
    block(libc::SIG_BLOCK);
}

/// From now on a terminal stops this process as any other: a child that it does not watch stops by itself. What has come
/// until now was for the child that has ended.
pub fn stop_as_others_do() {
    for signal in STOPPING {
        // SAFETY: no handler runs. A signal that waits is gone when it is ignored (signal(7)).
        unsafe { libc::signal(signal, libc::signal(signal, libc::SIG_IGN)) };
    }
    block(libc::SIG_UNBLOCK);
}

/// Nobody gets them any more.
pub fn child_has_ended() {
    CHILD.store(0, Ordering::Relaxed);
}

/// Whether somebody wanted this to end since it was last asked.
pub fn is_to_end() -> bool {
    TO_END.swap(false, Ordering::Relaxed)
}

/// `int kill(getpid(), SIGSTOP)`, kill(2): stops with COMMAND, so that a shell sees it; and with this one it goes on.
pub fn stop_with(child: i32) {
    // SAFETY: no memory is passed.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGSTOP);
        libc::kill(child, libc::SIGCONT);
    }
}

/// `int tcgetattr(2, struct termios *)`, tcgetattr(3): whether standard error is a terminal in which lines are edited, and
/// not one that a program has for itself.
pub fn shows_lines() -> bool {
    // SAFETY: the structure is integers alone, and lives until the call returns.
    unsafe {
        let mut terminal: libc::termios = std::mem::zeroed();
        libc::tcgetattr(libc::STDERR_FILENO, &raw mut terminal) == 0 && terminal.c_lflag & libc::ICANON != 0
    }
}
