//! Linux.
#![allow(unsafe_code, reason = "system calls")]

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr;

use crate::kernel::Unavailable;
use crate::place::{FileKind, FileSystem, Inode, Node};
use crate::rights::Abi;
use crate::uapi::*;

/// An error number.
pub(crate) type Errno = i32;

fn errno() -> Errno {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub(super) fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// The ABI of the running kernel, by the version query of landlock_create_ruleset(2).
pub(crate) fn abi() -> Result<Abi, Unavailable> {
    match query(CREATE_RULESET_VERSION) {
        Ok(n) => u32::try_from(n).ok().and_then(Abi::new).ok_or(Unavailable::NotBuilt),
        Err(libc::EOPNOTSUPP) => Err(Unavailable::DisabledAtBoot),
        Err(libc::ENOSYS) if !filtered() => Err(Unavailable::NotBuilt),
        Err(_) => Err(Unavailable::Filtered),
    }
}

/// The errata fixed; `None` where the kernel does not know the query.
pub(crate) fn errata() -> Option<u32> {
    query(CREATE_RULESET_ERRATA).ok().map(|bits| bits as u32)
}

/// Whether a seccomp filter is on this thread, so that ENOSYS may be its answer and not the kernel's.
fn filtered() -> bool {
    std::fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| {
        status.lines().any(|l| l.strip_prefix("Seccomp:").is_some_and(|v| v.trim() == "2"))
    })
}

/// `int landlock_create_ruleset(NULL, 0, uint32_t flags)`, landlock_create_ruleset(2)
fn query(flags: u32) -> Result<libc::c_long, Errno> {
    // SAFETY: with a flag that queries, the kernel takes a null pointer and a size of 0, and reads no memory.
    check(unsafe { libc::syscall(SYS_CREATE_RULESET, ptr::null::<RulesetAttr>(), 0_usize, flags) })
}

/// `int landlock_create_ruleset(const struct landlock_ruleset_attr *attr, size_t size, uint32_t flags)`,
/// landlock_create_ruleset(2); `size` is what the kernel's ABI knows of the structure.
pub(crate) fn create_ruleset(attr: &RulesetAttr, size: usize) -> Result<OwnedFd, Errno> {
    assert!(size <= size_of::<RulesetAttr>());
    // SAFETY: the pointer is to a live structure of at least `size` bytes, which the kernel only reads.
    let fd = check(unsafe { libc::syscall(SYS_CREATE_RULESET, ptr::from_ref(attr), size, 0_u32) })?;
    // SAFETY: the kernel has just made this descriptor; nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // Not one of the first three, should they be closed: a child puts its own there.
    if fd.as_raw_fd() < 3 { fd.try_clone().map_err(|e| e.raw_os_error().unwrap_or(0)) } else { Ok(fd) }
}

/// `int landlock_add_rule(int ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, const void *rule_attr, uint32_t flags)`,
/// landlock_add_rule(2)
pub(crate) fn add_path(
    ruleset: BorrowedFd<'_>,
    path: BorrowedFd<'_>,
    access: u64,
    flags: u32,
) -> Result<(), Errno> {
    let attr = PathBeneathAttr { allowed_access: access, parent_fd: path.as_raw_fd() };
    // SAFETY: the pointer is to a live structure of the type that this rule has, which the kernel only reads.
    check(unsafe {
        libc::syscall(SYS_ADD_RULE, ruleset.as_raw_fd(), RULE_PATH_BENEATH, ptr::from_ref(&attr), flags)
    })?;
    Ok(())
}

/// `int landlock_add_rule(int ruleset_fd, LANDLOCK_RULE_NET_PORT, const void *rule_attr, uint32_t flags)`,
/// landlock_add_rule(2)
pub(crate) fn add_port(ruleset: BorrowedFd<'_>, port: u16, access: u64, flags: u32) -> Result<(), Errno> {
    let attr = NetPortAttr { allowed_access: access, port: u64::from(port) };
    // SAFETY: the pointer is to a live structure of the type that this rule has, which the kernel only reads.
    check(unsafe {
        libc::syscall(SYS_ADD_RULE, ruleset.as_raw_fd(), RULE_NET_PORT, ptr::from_ref(&attr), flags)
    })?;
    Ok(())
}

/// `int landlock_restrict_self(int ruleset_fd, uint32_t flags)`, landlock_restrict_self(2). Allocates nothing.
pub(crate) fn restrict_self(ruleset: i32, flags: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(SYS_RESTRICT_SELF, ruleset, flags) })?;
    Ok(())
}

/// `int prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)`, PR_SET_NO_NEW_PRIVS(2const): of this thread. Allocates nothing.
pub(crate) fn set_no_new_privs() -> Result<(), Errno> {
    // The kernel reads whole registers, and a variadic function is passed what it is given.
    const ONE: libc::c_ulong = 1;
    const ZERO: libc::c_ulong = 0;
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, ONE, ZERO, ZERO, ZERO) }.into())?;
    Ok(())
}

/// `int openat(AT_FDCWD, const char *path, O_PATH | O_CLOEXEC | flags)`, openat(2); musl's open would make a second
/// system call. `name` is any buffer, which spares an allocation for each path. With `no_links`
/// `int openat2(AT_FDCWD, const char *path, const struct open_how *how, size_t size)`, openat2(2), which fails with ELOOP
/// where any part of the path is a symbolic link.
pub(crate) fn open_path(
    path: &Path,
    directory: bool,
    no_links: bool,
    name: &mut Vec<u8>,
) -> Result<OwnedFd, Errno> {
    name.clear();
    name.extend_from_slice(path.as_os_str().as_bytes());
    name.push(0);
    let name = CStr::from_bytes_with_nul(name).map_err(|_| libc::EINVAL)?;
    let flags = libc::O_PATH | libc::O_CLOEXEC | if directory { libc::O_DIRECTORY } else { 0 };
    // flags, mode, resolve
    let how = [flags as u64, 0, libc::RESOLVE_NO_SYMLINKS];
    loop {
        let opened = if no_links {
            let (dir, size) = (libc::AT_FDCWD, size_of_val(&how));
            // SAFETY: the string is live and ends in a NUL byte; the structure, three u64, is live and of that size.
            check(unsafe { libc::syscall(libc::SYS_openat2, dir, name.as_ptr(), how.as_ptr(), size) })
        } else {
            // SAFETY: the string is live and ends in a NUL byte.
            check(unsafe { libc::openat(libc::AT_FDCWD, name.as_ptr(), flags) }.into())
        };
        match opened {
            // SAFETY: the kernel has just made this descriptor; nothing else owns it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `uid_t geteuid(void)`, geteuid(2)
#[cfg(feature = "file")]
pub(crate) fn effective_user() -> u32 {
    // SAFETY: no memory is passed, and it cannot fail.
    unsafe { libc::geteuid() }
}

/// `int faccessat(AT_FDCWD, const char *path, X_OK, AT_EACCESS)`, access(2): whether this process may execute a file.
#[cfg(feature = "program")]
pub(crate) fn may_execute(path: &std::path::Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()) else { return false };
    // SAFETY: the string is live and ends in a NUL byte.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0 }
}

/// Whether a descriptor's file is of a file system in which the kernel makes files up, by fstatfs(2): to read one can
/// have effects, and none is a program.
#[cfg(feature = "program")]
pub(crate) fn is_made_up(fd: BorrowedFd<'_>) -> bool {
    // proc, sysfs, debugfs, tracefs, securityfs, bpf, cgroup, cgroup2, efivarfs, selinuxfs
    const MAGIC: [i64; 10] = [
        PROC_MAGIC,
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0xcafe_4a11,
        0x27_e0eb,
        0x6367_7270,
        0xde5e_81e4,
        0xf97c_ff8c,
    ];
    file_system(fd).is_ok_and(|magic| MAGIC.contains(&magic))
}

const PROC_MAGIC: i64 = 0x9fa0;

/// The kind of file system that a descriptor's file is in, by fstatfs(2).
fn file_system(fd: BorrowedFd<'_>) -> Result<i64, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel fills the structure that the pointer is to, which is large enough.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: fstatfs succeeded, so the structure is filled.
    Ok(magic(unsafe { stat.assume_init() }))
}

#[allow(clippy::unnecessary_cast, reason = "the field's type depends on the architecture")]
fn magic(stat: libc::statfs) -> i64 {
    i64::from(stat.f_type as u32)
}

/// The type bits of a descriptor's file (`S_IFDIR` and so on), by fstat(2).
pub(crate) fn file_type(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the structure that the pointer is to, which is large enough.
    check(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: fstat succeeded, so the structure is filled.
    Ok(unsafe { stat.assume_init() }.st_mode & libc::S_IFMT)
}

/// A descriptor number that this process was started with, for as long as the closure runs; its access mode
/// (`O_RDONLY`, `O_WRONLY`, `O_RDWR`, or `O_PATH`), by `fcntl(fd, F_GETFL)`, fcntl(2); `None` if it is not open.
pub(crate) fn with_inherited<T>(number: i32, use_it: impl FnOnce(BorrowedFd<'_>, i32) -> T) -> Option<T> {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFL) }.into()).ok()? as i32;
    // SAFETY: the descriptor is open, as fcntl has just said, and numbers 0 to 2 are not closed by Rust code.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    Some(use_it(fd, flags & (libc::O_ACCMODE | libc::O_PATH)))
}

/// Whether a descriptor is a terminal, isatty(3).
pub(crate) fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    use std::io::IsTerminal;
    fd.is_terminal()
}

/// Whether this process has one thread, by `unshare(CLONE_THREAD)`, unshare(2): if so it succeeds and has no effect;
/// `None` where a seccomp filter refuses it. Without it the files of /proc are made for this process first, which
/// costs more than a rule.
pub(crate) fn alone() -> Option<bool> {
    // SAFETY: no memory is passed, and nothing that the process shares is named.
    match check(unsafe { libc::unshare(libc::CLONE_THREAD) }.into()) {
        Ok(_) => Some(true),
        Err(libc::EINVAL) => Some(false),
        Err(_) => None,
    }
}

/// The directory of this process's threads. Not that of another: /proc may be mounted for another PID namespace.
pub(crate) fn open_tasks() -> io::Result<OwnedFd> {
    let tasks = OwnedFd::from(std::fs::File::open("/proc/self/task")?);
    let of_this_process = std::fs::read_link("/proc/self")?.as_os_str() == &*std::process::id().to_string();
    if file_system(tasks.as_fd()) == Ok(PROC_MAGIC) && of_this_process {
        return Ok(tasks);
    }
    Err(io::Error::other("what is mounted at /proc is no procfs, or that of another PID namespace"))
}

/// Of which process a descriptor's directory has the threads.
fn tasks_of(number: i32) -> Option<u32> {
    // Not /proc/self, whose main thread may have ended.
    let name = std::fs::read_link(format!("/proc/thread-self/fd/{number}")).ok()?;
    name.to_str()?.strip_prefix("/proc/")?.strip_suffix("/task")?.parse().ok()
}

/// Closes what the process kept that this one was forked from.
pub(super) fn close_kept_by_parent(number: i32) {
    if number >= 0 && tasks_of(number).is_some_and(|pid| pid != std::process::id()) {
        // SAFETY: it is open, and was made to be kept; nothing else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// What [`open_tasks`] gave, if the number still stands for it.
pub(super) fn kept_tasks(number: i32) -> Option<OwnedFd> {
    if tasks_of(number)? != std::process::id() {
        return None;
    }
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) }.into()).ok()?;
    // SAFETY: the kernel has just made this descriptor; nothing else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// How many directories one has, by fstat(2): in that of the threads the kernel counts those there are. Allocates
/// nothing, as what follows.
pub(super) fn links(directory: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the structure that the pointer is to, which is large enough.
    check(unsafe { libc::fstat(directory.as_raw_fd(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: fstat succeeded, so the structure is filled.
    Ok((unsafe { stat.assume_init() }.st_nlink as u32).saturating_sub(2))
}

/// The inode of what a number is open on, by fstat(2).
pub(super) fn inode(number: i32) -> Option<usize> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the structure that the pointer is to, which is large enough.
    check(unsafe { libc::fstat(number, stat.as_mut_ptr()) }.into()).ok()?;
    // SAFETY: fstat succeeded, so the structure is filled.
    Some(unsafe { stat.assume_init() }.st_ino as usize)
}

/// `int pipe2(int pipefd[2], O_CLOEXEC)`, pipe2(2)
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [-1; 2];
    // SAFETY: the array is live, and has two numbers.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the kernel has just made these descriptors; nothing else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// `off_t lseek(int fd, 0, SEEK_SET)`, lseek(2)
pub(super) fn rewind(directory: BorrowedFd<'_>) {
    // SAFETY: no memory is passed.
    unsafe { libc::lseek(directory.as_raw_fd(), 0, libc::SEEK_SET) };
}

/// `ssize_t getdents64(int fd, void *dirp, size_t count)`, getdents64(2): how many bytes it has filled.
pub(super) fn getdents(directory: BorrowedFd<'_>, buffer: &mut [u64]) -> Result<usize, Errno> {
    let (fd, size) = (directory.as_raw_fd(), size_of_val(buffer));
    // SAFETY: the buffer is as large as is said, and any bytes are integers.
    check(unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), size) }).map(|n| n as usize)
}

/// The beginning of a file, by openat(2), read(2) and close(2); `name` ends in a NUL byte.
pub(super) fn read_at(directory: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the string is live and ends in a NUL byte.
    let fd = check(unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags) }.into())?;
    // SAFETY: the kernel has just made this descriptor; nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // SAFETY: the buffer is as long as is said.
    let read = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    check(read as libc::c_long).map(|n| n as usize)
}

/// Whether a link leads nowhere: that to the program of a thread that has ended, by readlinkat(2).
pub(super) fn is_broken(directory: BorrowedFd<'_>, name: &CStr) -> bool {
    let mut byte = 0_u8;
    // SAFETY: the string is live and ends in a NUL byte, and the byte may be written.
    let read = unsafe { libc::readlinkat(directory.as_raw_fd(), name.as_ptr(), (&raw mut byte).cast(), 1) };
    check(read as libc::c_long) == Err(libc::ENOENT)
}

/// Has `command`'s child do this before it executes: async-signal-safe, and without allocating.
pub(crate) fn before_exec(
    command: &mut Command,
    run: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: what is run between fork and exec makes two raw system calls; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(run) };
}

/// What is at a path, the last name not followed, by statx(2), which opens nothing.
pub(crate) fn look(path: &Path) -> Result<Node, Errno> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)?;
    statx(libc::AT_FDCWD, &name, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT)
}

/// What is at a path, or where the link leads that is there, by statx(2).
pub(crate) fn look_through(path: &Path) -> Result<Node, Errno> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)?;
    statx(libc::AT_FDCWD, &name, libc::AT_NO_AUTOMOUNT)
}

/// What a descriptor is open on, by statx(2).
pub(crate) fn look_at(fd: BorrowedFd<'_>) -> Result<Node, Errno> {
    statx(fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

/// `int statx(int dirfd, const char *path, int flags, unsigned int mask, struct statx *statxbuf)`, statx(2)
fn statx(dir: i32, path: &CStr, flags: i32) -> Result<Node, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_TYPE | libc::STATX_INO | libc::STATX_NLINK | libc::STATX_MNT_ID;
    // SAFETY: the string is live and ends in a NUL byte; the kernel fills the structure that the pointer is to.
    check(unsafe { libc::syscall(libc::SYS_statx, dir, path.as_ptr(), flags, mask, stat.as_mut_ptr()) })?;
    // SAFETY: statx succeeded, and what it did not fill is zero.
    let stat = unsafe { stat.assume_init() };
    let kind = match u32::from(stat.stx_mode) & libc::S_IFMT {
        libc::S_IFDIR => FileKind::Dir,
        libc::S_IFLNK => FileKind::Symlink,
        libc::S_IFIFO => FileKind::Fifo,
        libc::S_IFSOCK => FileKind::Socket,
        libc::S_IFBLK => FileKind::Block,
        libc::S_IFCHR if (stat.stx_rdev_major, stat.stx_rdev_minor) == (0, 0) => FileKind::Whiteout,
        libc::S_IFCHR => FileKind::Char,
        _ => FileKind::Regular,
    };
    let inode = Inode { device: (stat.stx_dev_major, stat.stx_dev_minor), number: stat.stx_ino };
    Ok(Node { inode, mount: stat.stx_mnt_id, kind, names: stat.stx_nlink })
}

/// Whether a descriptor is of what has no place among files, and which a rule cannot be on: a pipe, a socket, a namespace.
pub(crate) fn is_nowhere(fd: BorrowedFd<'_>) -> bool {
    // pipefs, sockfs, anon_inodefs, nsfs
    const MAGIC: [i64; 4] = [0x5049_5045, 0x534f_434b, 0x0904_1934, 0x6e73_6673];
    file_system(fd).is_ok_and(|magic| MAGIC.contains(&magic))
}

/// In which kind of file system a directory is, as far as it matters to the model, by statfs(2).
pub(crate) fn file_system_of(dir: &Path) -> FileSystem {
    let Ok(name) = std::ffi::CString::new(dir.as_os_str().as_bytes()) else { return FileSystem::Other };
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the string is live and ends in a NUL byte; the kernel fills the structure that the pointer is to.
    if check(unsafe { libc::statfs(name.as_ptr(), stat.as_mut_ptr()) }.into()).is_err() {
        return FileSystem::Other;
    }
    // SAFETY: statfs succeeded, so the structure is filled.
    match magic(unsafe { stat.assume_init() }) {
        PROC_MAGIC => FileSystem::Proc,
        0x794c_7630 => FileSystem::Overlay,
        _ => FileSystem::Other,
    }
}
