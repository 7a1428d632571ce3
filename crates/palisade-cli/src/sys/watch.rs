//! The system calls of the watcher: ptrace, and what it takes to look at others. One thin wrapper each.

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr;

use libc::{c_int, c_long, c_ulong};

use super::{check, prctl};

/// `long ptrace(enum __ptrace_request op, pid_t pid, void *addr, void *data)`, ptrace(2)
fn ptrace(op: libc::c_uint, thread: i32, addr: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: whoever passes an address of ours says there why it is good.
    check(unsafe { libc::syscall(libc::SYS_ptrace, c_ulong::from(op), thread, addr, data) })
}

/// PTRACE_SEIZE, ptrace(2): this process watches `process` and all it starts, which are killed if this one ends.
pub fn seize(process: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SEIZE, process, 0, options as usize)?;
    Ok(())
}

/// PTRACE_CONT, ptrace(2): goes on, and takes this signal.
pub fn go_on(thread: i32, signal: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_CONT, thread, 0, signal as usize)?;
    Ok(())
}

/// PTRACE_SYSCALL, ptrace(2): goes on until its system call has been done.
pub fn go_on_until_done(thread: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_SYSCALL, thread, 0, 0)?;
    Ok(())
}

/// PTRACE_LISTEN, ptrace(2): stays stopped, as job control wants it, until it is continued.
pub fn stay_stopped(thread: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_LISTEN, thread, 0, 0)?;
    Ok(())
}

/// PTRACE_GETEVENTMSG, ptrace(2)
pub fn event_message(thread: i32) -> io::Result<u64> {
    let mut message: c_ulong = 0;
    ptrace(libc::PTRACE_GETEVENTMSG, thread, 0, ptr::from_mut(&mut message).addr())?;
    Ok(message)
}

/// `struct ptrace_syscall_info` (linux/ptrace.h), as words.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallInfo([u64; 11]);

impl CallInfo {
    /// The architecture, as AUDIT_ARCH_… names it.
    pub fn arch(&self) -> u32 {
        // The operation is the first byte, the architecture the second half of a word.
        let bytes = self.0[0].to_ne_bytes();
        u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])
    }

    /// At a seccomp stop, the number of the call.
    pub fn number(&self) -> u64 {
        self.0[3]
    }

    /// At a seccomp stop.
    pub fn arguments(&self) -> [u64; 6] {
        let mut all = [0; 6];
        all.copy_from_slice(&self.0[4..10]);
        all
    }

    /// At a seccomp stop, what the filter that stopped it says besides (SECCOMP_RET_DATA).
    pub fn filter_data(&self) -> u16 {
        // The first half of a word.
        let bytes = self.0[10].to_ne_bytes();
        u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as u16
    }

    /// At the stop after the call, what it returned: a negative error number if it failed.
    pub fn returned(&self) -> i64 {
        self.0[3] as i64
    }
}

/// PTRACE_GET_SYSCALL_INFO, ptrace(2), Linux 5.3
pub fn call_info(thread: i32) -> io::Result<CallInfo> {
    const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    let mut info = CallInfo::default();
    // The kernel writes no more than it is told there is room for.
    ptrace(PTRACE_GET_SYSCALL_INFO, thread, size_of::<CallInfo>(), ptr::from_mut(&mut info).addr())?;
    Ok(info)
}

/// The call at which a thread stands (at a seccomp stop) is not done, and fails with this error number. PTRACE_POKEUSER,
/// ptrace(2), for these two registers alone: of others a program can have values that PTRACE_SETREGS does not take back, as a
/// selector of another ring. A call numbered -1 is skipped, seccomp(2).
#[cfg(target_arch = "x86_64")]
pub fn refuse_call(thread: i32, errno: i32) -> io::Result<()> {
    use std::mem::offset_of;
    let (number, result) =
        (offset_of!(libc::user_regs_struct, orig_rax), offset_of!(libc::user_regs_struct, rax));
    ptrace(libc::PTRACE_POKEUSER, thread, number, usize::MAX)?;
    ptrace(libc::PTRACE_POKEUSER, thread, result, i64::from(-errno) as usize)?;
    Ok(())
}

/// `int kill(pid_t, SIGKILL)`, kill(2): the process of a thread.
pub fn kill(thread: i32) {
    // SAFETY: no memory is passed. That it has ended already is as good.
    unsafe { libc::kill(thread, libc::SIGKILL) };
}

/// No other architecture is watched.
#[cfg(not(target_arch = "x86_64"))]
pub fn refuse_call(_: i32, _: i32) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// What [`wait`] has seen of a thread.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// It has ended, with this exit status.
    Exited(i32),
    /// It has ended by this signal.
    Killed(i32),
    /// It has stopped: the signal, and from bit 8 on the event of ptrace(2).
    Stopped(i32),
    /// Nothing: a handler of this process's own has run.
    Interrupted,
}

/// `int waitid(P_ALL, 0, siginfo_t *, WEXITED | WSTOPPED | WNOWAIT | __WALL)`, waitid(2): waits for something to be
/// seen of any thread, which stays to be seen. `None` if there is none left.
pub fn wait() -> io::Result<Option<(i32, Seen)>> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL;
    // SAFETY: the structure is integers alone, for which zeros are good.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the structure, which lives until it returns.
    let done = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    match check(done.into()) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Some((0, Seen::Interrupted))),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
        Err(error) => return Err(error),
    }
    // SAFETY: of waitid these two are set.
    let (thread, status) = unsafe { (info.si_pid(), info.si_status()) };
    let seen = match info.si_code {
        libc::CLD_EXITED => Seen::Exited(status),
        libc::CLD_KILLED | libc::CLD_DUMPED => Seen::Killed(status),
        _ => Seen::Stopped(status),
    };
    Ok(Some((thread, seen)))
}

/// `int waitid(P_PID, thread, NULL, WSTOPPED | WNOHANG | __WALL)`, waitid(2): its stop has been seen. Of a thread that has
/// become the first of its process by execve(2) nothing can be asked before (Linux 5.13).
pub fn take_stop(thread: i32) {
    let id = thread.unsigned_abs();
    // SAFETY: no memory is passed. That it has been killed meanwhile is as good.
    unsafe { libc::waitid(libc::P_PID, id, ptr::null_mut(), libc::WSTOPPED | libc::WNOHANG | libc::__WALL) };
}

/// `int waitid(P_PID, thread, NULL, WEXITED | __WALL)`, waitid(2): of one that has ended, so that whoever started it
/// sees that.
pub fn let_end(thread: i32) {
    let id = thread.unsigned_abs();
    // SAFETY: no memory is passed. That it is gone already is as good.
    unsafe { libc::waitid(libc::P_PID, id, ptr::null_mut(), libc::WEXITED | libc::__WALL) };
}

/// `ssize_t process_vm_readv(pid, local, 1, remote, 1, 0)`, process_vm_readv(2): how much of `buffer` was filled from
/// `address` on.
pub fn read_memory(process: i32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote =
        libc::iovec { iov_base: ptr::without_provenance_mut(address as usize), iov_len: buffer.len() };
    // SAFETY: the kernel writes to the buffer alone, and no more than fits; of the other process it reads.
    let read = unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    Ok(check(read as c_long)? as usize)
}

/// A descriptor of another process, here: `int pidfd_getfd(int pidfd, int fd, 0)`, pidfd_getfd(2), Linux 5.6
pub fn descriptor_of(process: i32, fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed, and the descriptors are new.
    let process = unsafe {
        let pidfd = check(libc::syscall(libc::SYS_pidfd_open, process, 0))?;
        OwnedFd::from_raw_fd(pidfd as RawFd)
    };
    // SAFETY: as above.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// `int getsockopt(fd, SOL_SOCKET, option, int *, socklen_t *)`, socket(7)
pub fn socket_option(socket: &OwnedFd, option: c_int) -> io::Result<i32> {
    let (mut value, mut len): (c_int, _) = (0, size_of::<c_int>() as libc::socklen_t);
    let to = (&raw mut value).cast();
    // SAFETY: the kernel writes one int, which lives until it returns.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, to, &raw mut len) };
    check(done.into())?;
    Ok(value)
}

/// `int getsockname(fd, struct sockaddr *, socklen_t *)`, getsockname(2): the bytes of the address.
pub fn socket_name(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut name = vec![0; size_of::<libc::sockaddr_storage>()];
    let mut len = name.len() as libc::socklen_t;
    // SAFETY: the kernel writes no more than it is told there is room for.
    let done = unsafe { libc::getsockname(socket.as_raw_fd(), name.as_mut_ptr().cast(), &raw mut len) };
    check(done.into())?;
    name.truncate(len as usize);
    Ok(name)
}

/// `int faccessat(AT_FDCWD, path, mode, AT_EACCESS)`, access(2): whether ordinary permissions let this process read,
/// write or execute (R_OK, W_OK, X_OK).
pub fn may(path: &Path, mode: c_int) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the string lives until the call returns.
    check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) }.into())?;
    Ok(())
}

/// Which of two processes this is after [`apart`], each with its end of a line to the other.
pub enum Part {
    /// The one that called.
    Old(UnixStream),
    /// The other: nobody's child, in a process group of its own.
    New(UnixStream),
}

/// Starts another process that is no child of this one, by fork(2) twice, so that this one does not learn of its end. It is
/// in a group of its own, by setpgid(2), so that no terminal signals it, and may write to one all the same. Its session is
/// the same: the scheduler would take another for somebody else's work (autogroups, sched(7)), and let both wait.
pub fn apart() -> io::Result<Part> {
    let (old, new) = UnixStream::pair()?;
    // Not by fork(2): where SIGCHLD is blocked, the one of this child's end would stay for the program that is executed.
    // SAFETY: this process has one thread, so that a copy of it can go on with anything.
    match check(unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) })? {
        0 => {
            // SAFETY: as above.
            let second = unsafe { libc::fork() };
            if second == 0 {
                // SAFETY: no memory is passed, and no handler runs.
                unsafe {
                    libc::setpgid(0, 0);
                    libc::signal(libc::SIGTTOU, libc::SIG_IGN);
                }
                return Ok(Part::New(new));
            }
            exit(i32::from(second < 0))
        }
        first => {
            let mut status = 0;
            // SAFETY: the kernel writes the status, which lives until it returns.
            unsafe { libc::waitpid(first as i32, &raw mut status, libc::__WALL) };
            if status == 0 { Ok(Part::Old(old)) } else { Err(io::Error::other("no process can be started")) }
        }
    }
}

/// `int sigprocmask(SIG_SETMASK, all, NULL)`, sigprocmask(2): no signal but SIGKILL ends this process, for what is meant for
/// all of a service (SIGTERM) the program that is watched may outlive.
pub fn block_signals() {
    // SAFETY: the set is integers alone, for which zeros are good, and lives until the calls return.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

/// `int prctl(PR_SET_PTRACER, pid)`, PR_SET_PTRACER(2const): where Yama allows parents alone, this one may watch too.
pub fn may_be_watched_by(process: i32) {
    // Without Yama nobody has to be allowed it.
    let _ = prctl(libc::PR_SET_PTRACER, process as c_ulong, 0);
}

/// `int seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, const struct sock_fprog *)`, seccomp(2): whether
/// this process could listen to its own filters, which it cannot if somebody listens already. The filter that it installs
/// for that allows everything.
pub fn nobody_listens() -> bool {
    const ALLOW_ALL: libc::sock_filter =
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut filter = [ALLOW_ALL];
    let program = libc::sock_fprog { len: 1, filter: filter.as_mut_ptr() };
    let (operation, flag) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the structure and the instruction it points to live until the call returns; the descriptor is new.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_seccomp, operation, flag, ptr::from_ref(&program)));
        fd.map(|fd| drop(OwnedFd::from_raw_fd(fd as RawFd))).is_ok()
    }
}

/// `int dup2(from, to)`, dup2(2)
pub fn put_in_place_of(from: &OwnedFd, to: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed; who uses it says what becomes of `to`.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }.into())?;
    Ok(())
}

/// Closes all descriptors but the first three and these, by `int close_range(first, last, 0)`, close_range(2).
pub fn close_all_but(kept: &[RawFd]) {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([i32::MAX]) {
        if first < fd {
            // SAFETY: whoever calls this uses none of the others. On old kernels they stay open until this ends.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = first.max(fd.saturating_add(1));
    }
}

/// `pid_t getpgid(pid_t)`, getpgid(2); 0 if it has ended.
pub fn group_of(process: i32) -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::getpgid(process) }.max(0)
}

/// `void _exit(int)`, _exit(2)
pub fn exit(status: i32) -> ! {
    // SAFETY: nothing of this process is to run any more.
    unsafe { libc::_exit(status) }
}
