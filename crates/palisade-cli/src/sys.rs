//! The system calls of the launcher, one thin wrapper each. Unsafe code is here and nowhere else in this crate.
#![allow(unsafe_code, reason = "system calls")]

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backstop::Instruction;

pub mod learn;
pub mod watch;

/// Where the C library starts the command, in place of the start that Rust's library would make: that one reads
/// /proc/self/maps to tell overflows of the stack from other faults, which costs more than Landlock does. What it does
/// besides is done here: no file that is opened later becomes standard input, output or error, and a reader of our
/// output who has gone is an error and not a signal.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    for fd in 0..3 {
        // SAFETY: the name ends in a NUL byte.
        if !is_open(fd) && unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != fd {
            let text =
                b"palisade: a standard descriptor is closed, and /dev/null cannot be opened in its place\n";
            // SAFETY: the text is live. It is for whoever reads descriptor 2, if that is open.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            return crate::FAILED.into();
        }
    }
    // SAFETY: the signal is ignored, and no handler runs.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    IGNORES_SIGPIPE.store(before == libc::SIG_IGN, Ordering::Relaxed);
    let words = (0..usize::try_from(argc).unwrap_or(0)).map(|n| {
        // SAFETY: the C library passes `argc` strings, which stay as they are.
        let word = unsafe { CStr::from_ptr(*argv.add(n)) };
        OsString::from_vec(word.to_bytes().to_vec())
    });
    let words = words.collect();
    std::panic::catch_unwind(|| crate::command(words)).unwrap_or(crate::FAILED).into()
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `int poll({fd, POLLOUT}, 1, -1)`, poll(2): until something can be written there, or nobody reads it any more.
pub fn wait_to_write(fd: RawFd) {
    let mut one = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the structure lives until the call returns. That a signal ends it is as good.
    unsafe { libc::poll(&raw mut one, 1, -1) };
}

/// `int seccomp(SECCOMP_SET_MODE_FILTER, 0, const struct sock_fprog *)`, seccomp(2): of this thread, for good.
pub fn install_filter(filter: &[Instruction]) -> io::Result<()> {
    let mut copy: Vec<libc::sock_filter> =
        filter.iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
    let len = u16::try_from(copy.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len, filter: copy.as_mut_ptr() };
    // SAFETY: the structure and the instructions it points to live until the call returns; the kernel copies them.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, ptr::from_ref(&program))
    })?;
    Ok(())
}

/// `int prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)`, PR_SET_NO_NEW_PRIVS(2const).
pub fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// `int prctl(int op, unsigned long, unsigned long, 0, 0)`, prctl(2). The kernel reads whole registers, and a variadic
/// function is passed what it is given.
fn prctl(op: libc::c_int, second: libc::c_ulong, third: libc::c_ulong) -> io::Result<()> {
    const ZERO: libc::c_ulong = 0;
    // SAFETY: no operation that is used here takes a pointer.
    check(unsafe { libc::prctl(op, second, third, ZERO, ZERO) }.into())?;
    Ok(())
}

/// `int close_range(first, ~0, CLOSE_RANGE_CLOEXEC)`, close_range(2): descriptors from `first` on are closed by execve.
/// Before Linux 5.11, where nothing is confined by Landlock yet, each that /proc lists.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is passed, and no descriptor is closed now.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match check(closed).map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) => Ok(()),
        Err((Some(libc::EINVAL | libc::ENOSYS), _)) => {
            for entry in std::fs::read_dir("/proc/self/fd")? {
                let fd = entry?.file_name().to_str().and_then(|fd| fd.parse().ok());
                let fd = fd.ok_or(io::ErrorKind::InvalidData)?;
                if fd >= first as i32 {
                    set_flags(fd, libc::FD_CLOEXEC)?;
                }
            }
            Ok(())
        }
        Err((_, error)) => Err(error),
    }
}

/// A descriptor stays open over execve.
pub fn keep_on_exec(fd: i32) -> io::Result<()> {
    set_flags(fd, 0)
}

/// `int fcntl(fd, F_SETFD, flags)`, fcntl(2)
fn set_flags(fd: i32, flags: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }.into())?;
    Ok(())
}

/// `int fcntl(fd, F_GETFD)`, fcntl(2): whether a descriptor is open.
pub fn is_open(fd: i32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Gives up every capability that is not in `keep` (bit N for capability N): of the bounding set, where that is
/// permitted, by prctl(PR_CAPBSET_DROP); of the others by capset(2), and of the ambient set with them, for it has none
/// that is not both permitted and inheritable.
pub fn keep_capabilities(keep: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: with version 3 the kernel fills two such structures.
    check(unsafe { libc::syscall(libc::SYS_capget, ptr::from_mut(&mut header), data.as_mut_ptr()) })?;
    // Refused to a process that lacks CAP_SETPCAP, whatever the number, and from the first number on that the kernel
    // does not know. What counts is the permitted set below.
    for capability in (0..64).filter(|capability| keep & (1 << capability) == 0) {
        if prctl(libc::PR_CAPBSET_DROP, capability, 0).is_err() {
            break;
        }
    }
    for (data, keep) in data.iter_mut().zip([keep as u32, (keep >> 32) as u32]) {
        data.permitted &= keep;
        data.effective &= keep;
        data.inheritable &= keep;
    }
    // SAFETY: with version 3 the kernel reads two such structures.
    check(unsafe { libc::syscall(libc::SYS_capset, ptr::from_mut(&mut header), data.as_ptr()) })?;
    Ok(())
}

/// `uid_t geteuid(void)`, geteuid(2): the number of the user that this is.
pub fn user() -> u32 {
    // SAFETY: no memory is passed, and it cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether whoever started us ignores SIGPIPE.
static IGNORES_SIGPIPE: AtomicBool = AtomicBool::new(false);

/// `int execve(const char *path, char *const argv[], char *const envp[])`, execve(2), with SIGPIPE as it was before
/// [`main`] ignored it. Returns only if it fails.
pub fn execute(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<*const libc::c_char>>()
    };
    let (args, env) = (pointers(args), pointers(env));
    if !IGNORES_SIGPIPE.load(Ordering::Relaxed) {
        // SAFETY: the signal's default action is set, and no handler runs.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    // SAFETY: the strings end in NUL bytes, both lists end in a null pointer, and all live until the call returns.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}
