//! The signal by which a thread is stopped: taken from the program for a while, known by what it carries, and given back.
//! Foreign signals have the effect that they would have had.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicI32, AtomicUsize};

use super::super::imp::{Errno, check};
use super::{getpid, gettid, stand, tgkill};

/// The program's own handler of the signal, to which foreign signals are passed on.
static OLD_HANDLER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static OLD_FLAGS: AtomicI32 = AtomicI32::new(0);

/// `siginfo_t` of a signal that is queued, rt_tgsigqueueinfo(2).
#[repr(C)]
struct Queued {
    signal: c_int,
    #[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
    errno: c_int,
    code: c_int,
    #[cfg(any(target_arch = "mips", target_arch = "mips64"))]
    errno: c_int,
    sender: Sender,
    /// The kernel's has 128 bytes.
    rest: [u64; 13],
}

#[repr(C)]
struct Sender {
    pid: i32,
    uid: u32,
    value: usize,
}

/// What is sent along, by which a signal is known to be ours: an address that nothing else has.
fn ours() -> usize {
    ptr::from_ref(&OLD_HANDLER).addr()
}

/// `int rt_tgsigqueueinfo(pid_t tgid, pid_t tid, int sig, siginfo_t *info)`, rt_tgsigqueueinfo(2): to a thread of this
/// process.
pub(super) fn queue(tid: i32, signal: c_int) -> Result<(), Errno> {
    let sender = Sender { pid: getpid(), uid: 0, value: ours() };
    let info = Queued { signal, errno: 0, code: libc::SI_QUEUE, sender, rest: [0; 13] };
    // SAFETY: the structure is live, begins as the kernel's does, and is at least as large.
    check(unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, getpid(), tid, signal, ptr::from_ref(&info))
    })?;
    Ok(())
}

/// Whether a signal is one that [`queue`] has sent.
fn is_ours(info: *const libc::siginfo_t) -> bool {
    let info = info.cast::<Queued>();
    // SAFETY: the kernel passes a pointer to a whole siginfo_t, which has these fields where a queued one has them.
    let (code, pid, value) = unsafe { ((*info).code, (*info).sender.pid, (*info).sender.value) };
    code == libc::SI_QUEUE && pid == getpid() && value == ours()
}

const _: () = assert!(size_of::<Queued>() >= size_of::<libc::siginfo_t>());

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the address is of this thread's own error number.
    let saved = unsafe { *libc::__errno_location() };
    if is_ours(info) {
        stand();
    } else {
        pass_on(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = saved };
}

/// A signal that somebody else sent has the effect that it would have had.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    match OLD_HANDLER.load(SeqCst) {
        libc::SIG_IGN => {}
        libc::SIG_DFL => {
            // SAFETY: the structure is valid when zeroed, and says SIG_DFL; the signal waits until the handler returns.
            unsafe {
                let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                libc::sigaction(signal, &default, ptr::null_mut());
            }
            let _ = tgkill(gettid(), signal);
        }
        // SAFETY: the program has said that this is a handler, and by its flags, of which kind.
        handler if OLD_FLAGS.load(SeqCst) & libc::SA_SIGINFO != 0 => unsafe {
            type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            std::mem::transmute::<usize, Handler>(handler)(signal, info, context);
        },
        // SAFETY: as above.
        handler => unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler)(signal) },
    }
}

/// The calling thread's mask of signals, all of which are blocked until this is dropped.
pub(super) struct Masked(pub(super) libc::sigset_t);

impl Masked {
    pub(super) fn all() -> Masked {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both sets are live; the first is filled before it is read, the second valid as it is.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
            Masked(old.assume_init())
        }
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // SAFETY: the set is live, and was the mask before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

/// The signals that wait for this process, as far as this thread blocks them.
fn pending() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is live, and valid when zeroed.
    unsafe {
        libc::sigpending(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Our handler in place of the program's, on a signal that is free if there is one.
pub(super) struct Handler {
    pub(super) signal: c_int,
    old: libc::sigaction,
}

impl Handler {
    /// Of the signals that the C library leaves to programs, one without a handler that the caller does not block, for
    /// who waits for a signal by sigwait(3) or signalfd(2) blocks it, and none of which is pending. Each try begins with
    /// another: a thread may block the one alone.
    pub(super) fn install(mask: &libc::sigset_t, tries: usize) -> Result<Handler, Errno> {
        let mut best: Option<(u32, Handler)> = None;
        let pending = pending();
        let all = || (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev();
        for signal in all().cycle().skip(2 + tries).take(all().count()) {
            let mut old = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: the structure is live and large enough; the mask is live.
            let (asked, blocked) = unsafe {
                (libc::sigaction(signal, ptr::null(), old.as_mut_ptr()), libc::sigismember(mask, signal) == 1)
            };
            // SAFETY: the structure is valid when zeroed, and was filled if the call succeeded.
            let old = unsafe { old.assume_init() };
            // SAFETY: the set is live.
            let pending = unsafe { libc::sigismember(&pending, signal) == 1 };
            let cost = u32::from(blocked || pending) + 2 * u32::from(old.sa_sigaction != libc::SIG_DFL);
            if asked == 0 && best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, Handler { signal, old }));
            }
            if matches!(best, Some((0, _))) {
                break;
            }
        }
        let (_, handler) = best.ok_or(libc::EINVAL)?;
        OLD_HANDLER.store(handler.old.sa_sigaction, SeqCst);
        OLD_FLAGS.store(handler.old.sa_flags, SeqCst);
        let mut ours = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: the structure is valid when zeroed; what the handler may do is said at its definition. No other signal
        // interrupts it, but for those that a fault or a seccomp filter of the thread's own causes.
        unsafe {
            let ours = &mut *ours.as_mut_ptr();
            ours.sa_sigaction = on_signal as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
            // The C library's own too, which sigfillset leaves out: pthread_cancel could have a thread run on from here.
            ptr::write_bytes(&mut ours.sa_mask, 0xff, 1);
            for fault in
                [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS]
            {
                libc::sigdelset(&mut ours.sa_mask, fault);
            }
            check(libc::sigaction(handler.signal, ours, ptr::null_mut()).into())?;
        }
        Ok(handler)
    }

    /// Gives the signal back. What was sent and has not arrived is taken back where that is asked for: to ignore a
    /// signal discards it in every thread. Not if the program has a handler: its own signals would be lost; it may be
    /// called once more, by a queued signal of this process.
    pub(super) fn put_back(self, take_back: bool) {
        let take_back = take_back && self.old.sa_sigaction == libc::SIG_DFL;
        // SAFETY: the structures are live; one is what the kernel has given, the other valid when zeroed.
        unsafe {
            if take_back {
                let mut ignore = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                ignore.sa_sigaction = libc::SIG_IGN;
                libc::sigaction(self.signal, &ignore, ptr::null_mut());
            }
            libc::sigaction(self.signal, &self.old, ptr::null_mut());
        }
    }
}
