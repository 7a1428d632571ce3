//! The system calls of the launcher, one thin wrapper each. Unsafe code is here and nowhere else in this crate.
#![allow(unsafe_code, reason = "system calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backstop::Instruction;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
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
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is passed, and no descriptor is closed now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// `int fcntl(fd, F_SETFD, 0)`, fcntl(2): a descriptor stays open over execve.
pub fn keep_on_exec(fd: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into())?;
    Ok(())
}

/// `int fcntl(fd, F_GETFD)`, fcntl(2): whether a descriptor is open.
pub fn is_open(fd: i32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Gives up every capability that is not in `keep` (bit N for capability N): of the bounding set, where that is
/// permitted, by prctl(PR_CAPBSET_DROP); of the ambient set by prctl(PR_CAP_AMBIENT); of the others by capset(2).
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
    for capability in 0..64 {
        if keep & (1 << capability) == 0 {
            // SAFETY: no memory is passed. Numbers that the kernel does not know, and a process that lacks
            // CAP_SETPCAP, are refused; what counts then is the permitted set below.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            // SAFETY: no memory is passed.
            unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_LOWER, capability, 0, 0) };
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

/// Whether whoever started us ignores SIGPIPE. Rust's start-up code ignores it, so it is asked before that.
static IGNORES_SIGPIPE: AtomicBool = AtomicBool::new(false);

// SAFETY: the C library calls what is in this section before main, with the C ABI and arguments that may be ignored.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: all zeroes is a valid structure, which the kernel fills; no action is set.
        let ignored = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGPIPE, ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
        };
        IGNORES_SIGPIPE.store(ignored, Ordering::Relaxed);
    }
    look
};

/// `int execve(const char *path, char *const argv[], char *const envp[])`, execve(2), with SIGPIPE as it was before
/// Rust's start-up code ignored it. Returns only if it fails.
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
