//! The system calls of these tools that nix does not have; unsafe code is here and nowhere else.
#![allow(unsafe_code, reason = "system calls")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::Result;
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_ulong};
use nix::unistd::Pid;

/// Landlock's system calls.
pub const CREATE_RULESET: c_long = 444;
pub const ADD_RULE: c_long = 445;
pub const RESTRICT_SELF: c_long = 446;

/// Any of Landlock's system calls, with any arguments: numbers, and addresses that need not be valid.
pub fn landlock(call: c_long, args: [u64; 4]) -> Result<c_long> {
    assert!((CREATE_RULESET..=RESTRICT_SELF).contains(&call));
    let [a, b, c, d] = args;
    // SAFETY: the kernel only reads what these calls point to, and answers EFAULT where nothing can be read.
    Errno::result(unsafe { libc::syscall(call, a, b, c, d) })
}

/// What is done with a call of Landlock's.
pub enum Filter {
    /// A supervisor is asked, through the descriptor that this returns.
    Notify,
    /// It fails with EPERM.
    Refuse,
}

/// `int seccomp(SECCOMP_SET_MODE_FILTER, flags, const struct sock_fprog *)`, seccomp(2): on this thread, and what it
/// starts. Without root it gives up privileges too, as the kernel demands.
pub fn filter(what: Filter) -> Result<Option<OwnedFd>> {
    const X32: u32 = 0x4000_0000;
    let (flags, action) = match what {
        Filter::Notify => (libc::SECCOMP_FILTER_FLAG_NEW_LISTENER, libc::SECCOMP_RET_USER_NOTIF),
        Filter::Refuse => (0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    };
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The numbers are the same in every system-call ABI.
    let mut program = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, !X32),
        op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 2, CREATE_RULESET as u32),
        op(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, 0, RESTRICT_SELF as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, action),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    if !nix::unistd::geteuid().is_root() {
        // SAFETY: no memory is passed.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0, 0, 0) })?;
    }
    // SAFETY: the filter is live, and the kernel only reads it.
    let fd = Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    // SAFETY: with NEW_LISTENER the kernel has just made this descriptor; nothing else owns it.
    Ok(matches!(what, Filter::Notify).then(|| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
}

/// A call that waits for an answer.
pub struct Notice {
    id: u64,
    /// The thread that made it.
    pub thread: Pid,
    pub call: c_long,
    pub args: [u64; 6],
}

/// What the caller of a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the kernel itself answers.
    Kernel,
    Value(i64),
    Error(Errno),
}

/// `ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, struct seccomp_notif *)`, seccomp_unotify(2)
pub fn receive(listener: impl AsFd) -> Result<Notice> {
    nix::ioctl_readwrite!(recv, b'!', 0, libc::seccomp_notif);
    // SAFETY: all fields are numbers.
    let mut notif: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is live, zeroed as the kernel demands, and of the type that this request has.
    unsafe { recv(listener.as_fd().as_raw_fd(), &raw mut notif) }?;
    let call = c_long::from(notif.data.nr) & 0xfff;
    Ok(Notice { id: notif.id, thread: Pid::from_raw(notif.pid as i32), call, args: notif.data.args })
}

/// `ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, struct seccomp_notif_resp *)`, seccomp_unotify(2)
pub fn send(listener: impl AsFd, notice: &Notice, answer: Answer) -> Result<()> {
    nix::ioctl_readwrite!(send, b'!', 1, libc::seccomp_notif_resp);
    let mut response = libc::seccomp_notif_resp { id: notice.id, val: 0, error: 0, flags: 0 };
    match answer {
        Answer::Kernel => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        Answer::Value(value) => response.val = value,
        Answer::Error(errno) => response.error = -(errno as i32),
    }
    // SAFETY: the structure is live and of the type that this request has.
    unsafe { send(listener.as_fd().as_raw_fd(), &raw mut response) }.map(drop)
}

/// What `f` returns in a fork of this process, which has one thread.
pub fn in_fork(f: impl FnOnce() -> u8) -> Result<u8> {
    // SAFETY: this process has one thread, so no lock is held by another in the copy.
    let child = Errno::result(unsafe { libc::fork() })?;
    if child == 0 {
        let code = f();
        // SAFETY: no memory is passed.
        unsafe { libc::_exit(c_int::from(code)) }
    }
    match nix::sys::wait::waitpid(Pid::from_raw(child), None)? {
        nix::sys::wait::WaitStatus::Exited(_, code) => Ok(code as u8),
        _ => Err(Errno::ECHILD),
    }
}

/// A descriptor that a call of Landlock's has just made.
pub fn owned(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0);
    // SAFETY: the kernel has just made this descriptor; nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `int finit_module(int fd, "", 0)`, finit_module(2)
pub fn load_module(file: impl AsFd) -> Result<()> {
    // SAFETY: the string is live and ends in a NUL byte.
    Errno::result(unsafe { libc::syscall(libc::SYS_finit_module, file.as_fd().as_raw_fd(), c"".as_ptr(), 0) })
        .map(drop)
}

/// Turns the loopback interface on, by `ioctl(fd, SIOCSIFFLAGS, struct ifreq *)`, netdevice(7).
pub fn loopback_up(socket: impl AsFd) -> Result<()> {
    // SAFETY: all fields are numbers, or arrays of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as _, b'o' as _]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the structure is live and of the type that this request has.
    Errno::result(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw const request) }).map(drop)
}
