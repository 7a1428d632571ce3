//! System calls that neither the standard library nor nix has in a safe form. Unsafe code is here and nowhere else.
#![allow(unsafe_code, reason = "system calls")]

mod ring;

use std::ffi::{CStr, c_int, c_long};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::Result;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

pub use ring::Ring;

fn check(result: c_long) -> Result<c_long> {
    Errno::result(result)
}

/// A child that runs `f` and ends with the code it returns; it is killed when this process ends.
pub fn fork(f: impl FnOnce() -> i32) -> Pid {
    let parent = nix::unistd::getpid();
    let tasks = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(tasks, 1, "only a process of one thread may fork and go on");
    // SAFETY: this process has one thread, so no lock is held by another in the copy.
    let child = check(unsafe { libc::fork() }.into()).expect("fork");
    if child != 0 {
        return Pid::from_raw(child as i32);
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("PR_SET_PDEATHSIG");
    if nix::unistd::getppid() != parent {
        exit(1); // The parent ended before the line above.
    }
    exit(f())
}

/// Ends this process without running what the parent registered to run at exit.
pub fn exit(code: i32) -> ! {
    // SAFETY: no memory is passed.
    unsafe { libc::_exit(code) }
}

/// `ioctl(fd, request, argument)`, ioctl(2), for requests that use up to 4096 bytes behind the argument.
pub fn ioctl(fd: impl AsFd, request: u64) -> Result<c_int> {
    ioctl_with(fd, request, &mut [0; 4096])
}

/// The same, with what the kernel is to find there.
pub fn ioctl_with(fd: impl AsFd, request: u64, argument: &mut [u8; 4096]) -> Result<c_int> {
    // SAFETY: the argument is live, may be written, and is larger than what any request used here takes.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _, argument.as_mut_ptr()) };
    check(done.into()).map(|n| n as c_int)
}

/// `ioctl(fd, request, value)`, for requests that take a number.
pub fn ioctl_number(fd: impl AsFd, request: u64, value: c_long) -> Result<c_int> {
    // SAFETY: the requests used here take the argument as a number and touch no memory.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _, value) }.into()).map(|n| n as c_int)
}

/// `socket(domain, type | SOCK_CLOEXEC, protocol)`, socket(2)
pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) }.into())?;
    Ok(own(fd as c_int))
}

/// Takes a descriptor number that the kernel has just given to this process, which nothing else owns.
pub fn own(number: c_int) -> OwnedFd {
    // SAFETY: as is said above.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// `setxattr(path, name, "1", 1, 0)`, setxattr(2)
pub fn setxattr(path: &CStr, name: &CStr) -> Result<()> {
    // SAFETY: all pointers are to live strings and the length is that of the value.
    check(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), c"1".as_ptr().cast(), 1, 0) }.into())?;
    Ok(())
}

/// `getxattr(path, name, value, size)`, getxattr(2)
pub fn getxattr(path: &CStr, name: &CStr) -> Result<()> {
    let mut value = [0_u8; 16];
    // SAFETY: both strings are live, and the value is as long as is said.
    let len = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    check(len as c_long)?;
    Ok(())
}

/// `add_key("user", "palisade-test", "1", 1, KEY_SPEC_PROCESS_KEYRING)`, add_key(2): a key that ends with us.
pub fn add_key() -> Result<()> {
    const KEY_SPEC_PROCESS_KEYRING: c_int = -2;
    let (kind, name, value) = (c"user".as_ptr(), c"palisade-test".as_ptr(), c"1".as_ptr());
    // SAFETY: all pointers are to live strings and the length is that of the value.
    check(unsafe { libc::syscall(libc::SYS_add_key, kind, name, value, 1_usize, KEY_SPEC_PROCESS_KEYRING) })?;
    Ok(())
}

/// `bpf(BPF_MAP_CREATE, …)`, bpf(2): an array of one element, which ends with its descriptor.
pub fn bpf_map() -> Result<OwnedFd> {
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    let attr: [u32; 32] = std::array::from_fn(|i| [BPF_MAP_TYPE_ARRAY, 4, 4, 1].get(i).copied().unwrap_or(0));
    // SAFETY: the pointer is to a live array of the size that is given, which the kernel only reads.
    let fd = check(unsafe { libc::syscall(libc::SYS_bpf, 0, attr.as_ptr(), size_of_val(&attr)) })?;
    Ok(own(fd as c_int))
}

/// A system call of one number that makes a descriptor.
pub fn descriptor(call: c_long, flags: c_int) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    Ok(own(check(unsafe { libc::syscall(call, flags) })? as c_int))
}

/// A byte of another process's memory, which is a fork: what is at an address here is at the same one there.
/// process_vm_readv(2)
pub fn process_vm_readv(pid: Pid) -> Result<()> {
    static THERE: u8 = 1;
    let mut here = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut here).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: (&raw const THERE).cast_mut().cast(), iov_len: 1 };
    // SAFETY: the local address is of a live byte that may be written; the remote one is only read, in the other.
    check(unsafe { libc::process_vm_readv(pid.as_raw(), &local, 1, &remote, 1, 0) } as c_long)?;
    Ok(())
}

/// `prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)`: where Yama is, anybody may trace this process. Without it, an error
/// that does not matter.
pub fn allow_any_tracer() {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
}

/// Maps the first page of a file to be executed: mmap(2) with PROT_READ | PROT_EXEC.
pub fn map_executable(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: a new mapping at an address of the kernel's choice, which nobody uses.
    let at = unsafe {
        libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, fd, 0)
    };
    if at == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: the mapping was made above and nothing refers to it.
    check(unsafe { libc::munmap(at, 4096) }.into())?;
    Ok(())
}

/// `landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)`: the ABI as the kernel says it, to check what
/// the library says; 0 where there is none.
pub fn landlock_abi() -> u32 {
    // SAFETY: with this flag the kernel takes a null pointer and reads no memory.
    let abi = unsafe { libc::syscall(444, ptr::null::<u8>(), 0_usize, 1_u32) };
    u32::try_from(abi).unwrap_or(0)
}

/// Mounts a new tmpfs with the system calls of Linux 5.2: fsopen(2), fsconfig(2), fsmount(2), move_mount(2).
pub fn mount_by_descriptor(on: &std::path::Path) -> Result<()> {
    const FSCONFIG_CMD_CREATE: c_int = 6;
    const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;
    let on = std::ffi::CString::new(on.as_os_str().as_encoded_bytes()).expect("a path");
    // SAFETY: the string is live; the kernel makes a descriptor.
    let fs = own(check(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 1) })? as c_int);
    let (none, number) = (ptr::null::<u8>(), fs.as_raw_fd());
    // SAFETY: this command takes null pointers.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, number, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: no memory is passed; the kernel makes a descriptor.
    let mount = own(check(unsafe { libc::syscall(libc::SYS_fsmount, number, 1, 0) })? as c_int);
    let (from, cwd) = (mount.as_raw_fd(), libc::AT_FDCWD);
    // SAFETY: both strings are live.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), cwd, on.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH)
    })?;
    Ok(())
}

/// Closes descriptor 0.
pub fn close_stdin() {
    // SAFETY: nothing in this program owns that descriptor.
    unsafe { libc::close(0) };
}

/// A System V shared memory segment, removed when this is dropped.
pub struct SharedMemory(pub c_int);

impl SharedMemory {
    /// `shmget(IPC_PRIVATE, 4096, 0600)`; an error where the kernel has none.
    pub fn new() -> Result<SharedMemory> {
        // SAFETY: no memory is passed.
        check(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) }.into())
            .map(|id| SharedMemory(id as c_int))
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: this command takes a null pointer.
        unsafe { libc::shmctl(self.0, libc::IPC_RMID, ptr::null_mut()) };
    }
}

/// `shmat(id, NULL, 0)`, and away again.
pub fn attach(id: c_int) -> Result<()> {
    // SAFETY: the kernel chooses where, and nothing refers to it.
    let at = unsafe { libc::shmat(id, ptr::null(), 0) };
    if at as isize == -1 {
        return Err(Errno::last());
    }
    // SAFETY: it was attached above.
    check(unsafe { libc::shmdt(at) }.into())?;
    Ok(())
}

/// A child of a process that may have several threads: it has a copy of the calling one, and whatever locks the others
/// had. It is killed when the thread that forked it ends.
pub fn fork_beside_threads(f: impl FnOnce()) -> Pid {
    // SAFETY: the child uses nothing that the other threads may have locked but malloc, which the C library looks after.
    let child = check(unsafe { libc::fork() }.into()).expect("fork");
    if child != 0 {
        return Pid::from_raw(child as i32);
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("PR_SET_PDEATHSIG");
    exit(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_or(1, |()| 0))
}

/// Ends the calling thread alone, be it the main one: `exit(status)`, exit(2).
pub fn end_thread() -> ! {
    // SAFETY: no memory is passed, and nothing of this thread's stack is used any more.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit(2) does not return")
}

/// What a seccomp filter answers.
#[derive(Clone, Copy)]
pub enum Answer {
    Errno(Errno),
    EndThread,
}

/// Puts a seccomp filter on the calling thread: this system call has that answer, every other is allowed.
pub fn filter(call: c_long, answer: Answer) {
    const OFFSET_OF_NUMBER: u32 = 0;
    let answer = match answer {
        Answer::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        Answer::EndThread => libc::SECCOMP_RET_KILL_THREAD,
    };
    let code = |class: u32, k: u32, jf: u8| libc::sock_filter { code: class as u16, jt: 0, jf, k };
    let mut program = [
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, OFFSET_OF_NUMBER, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 1),
        code(libc::BPF_RET | libc::BPF_K, answer, 0),
        code(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs().expect("no_new_privs");
    // SAFETY: the program is live and as long as it says.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) })
        .expect("seccomp");
}

/// The system call that another thread of this process waits in, as /proc has it.
pub fn call_of(tid: Pid) -> Option<c_long> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).expect("/proc");
    text.split(' ').next()?.parse().ok()
}

static COUNTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

extern "C" fn count(_: c_int) {
    COUNTED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

/// How many signals [`count_signals`] has counted.
pub fn counted() -> usize {
    COUNTED.load(std::sync::atomic::Ordering::SeqCst)
}

/// Installs a handler for a signal, which counts.
pub fn count_signals(signal: c_int) {
    handle(signal, count);
}

extern "C" fn end(_: c_int) {
    exit(1);
}

/// Installs a handler for a signal, which ends the process.
pub fn end_on(signal: Signal) {
    handle(signal as c_int, end);
}

fn handle(signal: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: the structure is valid when zeroed; the handlers touch one atomic, or make one system call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        check(libc::sigaction(signal, &action, ptr::null_mut()).into()).expect("sigaction");
    }
}

/// What is done about a signal: the handler, and its flags.
pub fn handler(signal: c_int) -> (usize, c_int) {
    // SAFETY: the structure is valid when zeroed, and live.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(signal, ptr::null(), &mut action).into()).expect("sigaction");
        (action.sa_sigaction, action.sa_flags)
    }
}

/// `sigqueue(pid, signal, 0)`, sigqueue(3): again while the queue is full, which kill(2) does not say.
pub fn send(pid: Pid, signal: c_int) {
    let nothing = libc::sigval { sival_ptr: ptr::null_mut() };
    // SAFETY: no memory is passed.
    while unsafe { libc::sigqueue(pid.as_raw(), signal, nothing) } != 0 {
        assert_eq!(Errno::last(), Errno::EAGAIN);
        std::thread::yield_now();
    }
}

/// `tgkill(getpid(), tid, signal)`, tgkill(2)
pub fn tgkill(tid: Pid, signal: c_int) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid.as_raw(), signal) })?;
    Ok(())
}

fn only(signal: c_int) -> libc::sigset_t {
    // SAFETY: the set is live, and filled before it is used.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        set
    }
}

/// Blocks a signal in this thread, and in those that it starts.
pub fn block(signal: c_int) {
    // SAFETY: the set is live.
    let done = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &only(signal), ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// `sigwait`, sigwait(3)
pub fn wait_for(signal: c_int) -> c_int {
    let mut got = 0;
    // SAFETY: the set and the number are live.
    let done = unsafe { libc::sigwait(&only(signal), &mut got) };
    assert_eq!(done, 0);
    got
}

/// The system's allocator, but that it ends the process where [`no_allocation`] has been said.
struct Watched;

static FORBIDDEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// What a process ends with that allocates when it must not.
pub const ALLOCATED: i32 = 99;

// SAFETY: each call is the system's allocator's, which has what it asks for from our caller.
unsafe impl std::alloc::GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        if FORBIDDEN.load(std::sync::atomic::Ordering::Relaxed) {
            exit(ALLOCATED);
        }
        // SAFETY: as above.
        unsafe { std::alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: as above.
        unsafe { std::alloc::System.dealloc(at, layout) }
    }
}

/// From here on, between fork and exec, the child must not allocate; or may again.
pub fn no_allocation(command: &mut std::process::Command, forbidden: bool) {
    use std::os::unix::process::CommandExt;
    let set = move || {
        FORBIDDEN.store(forbidden, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    };
    // SAFETY: the closure touches one atomic.
    unsafe { command.pre_exec(set) };
}

/// Has the child allocate.
pub fn allocating(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: this process has one thread, so that the allocator's lock is free in the child.
    unsafe { command.pre_exec(|| Err(std::io::Error::other("allocated"))) };
}
