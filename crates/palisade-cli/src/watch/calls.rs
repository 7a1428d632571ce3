//! The system calls that are watched: those that Landlock decides on. Their numbers, and what their arguments mean.

/// A system call, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open,
    Creat,
    OpenAt,
    OpenAt2,
    Truncate,
    Truncate64,
    Ftruncate,
    Ftruncate64,
    Mkdir,
    MkdirAt,
    Mknod,
    MknodAt,
    Unlink,
    UnlinkAt,
    Rmdir,
    Rename,
    RenameAt,
    RenameAt2,
    Link,
    LinkAt,
    Symlink,
    SymlinkAt,
    Execve,
    ExecveAt,
    Socket,
    SocketPair,
    Bind,
    Connect,
    SendTo,
    SendMsg,
    SendMmsg,
    /// socketcall(2)
    OldSockets,
    Ioctl,
    Kill,
    Tkill,
    Tgkill,
    Sigqueue,
    Tgsigqueue,
    PidfdSignal,
    Mount,
    Umount,
    OldUmount,
    PivotRoot,
    MoveMount,
    Ptrace,
    IoUringSetup,
}

/// x86-64 (AUDIT_ARCH_X86_64).
pub const X86_64: u32 = 0xc000_003e;
/// i386 (AUDIT_ARCH_I386): 32-bit programs, and `int $0x80` in any.
pub const I386: u32 = 0x4000_0003;

/// Number on x86-64 and on i386; none where there is no such call.
type Row = (Call, Option<u32>, Option<u32>);

const fn row(call: Call, x86_64: u32, i386: u32) -> Row {
    (call, Some(x86_64), Some(i386))
}

/// arch/x86/entry/syscalls/syscall_{64,32}.tbl
const CALLS: &[Row] = &[
    row(Call::Open, 2, 5),
    row(Call::Creat, 85, 8),
    row(Call::OpenAt, 257, 295),
    row(Call::OpenAt2, 437, 437),
    row(Call::Truncate, 76, 92),
    (Call::Truncate64, None, Some(193)),
    row(Call::Ftruncate, 77, 93),
    (Call::Ftruncate64, None, Some(194)),
    row(Call::Mkdir, 83, 39),
    row(Call::MkdirAt, 258, 296),
    row(Call::Mknod, 133, 14),
    row(Call::MknodAt, 259, 297),
    row(Call::Unlink, 87, 10),
    row(Call::UnlinkAt, 263, 301),
    row(Call::Rmdir, 84, 40),
    row(Call::Rename, 82, 38),
    row(Call::RenameAt, 264, 302),
    row(Call::RenameAt2, 316, 353),
    row(Call::Link, 86, 9),
    row(Call::LinkAt, 265, 303),
    row(Call::Symlink, 88, 83),
    row(Call::SymlinkAt, 266, 304),
    row(Call::Execve, 59, 11),
    row(Call::ExecveAt, 322, 358),
    row(Call::Socket, 41, 359),
    row(Call::SocketPair, 53, 360),
    row(Call::Bind, 49, 361),
    row(Call::Connect, 42, 362),
    row(Call::SendTo, 44, 369),
    row(Call::SendMsg, 46, 370),
    row(Call::SendMmsg, 307, 345),
    (Call::OldSockets, None, Some(102)),
    row(Call::Ioctl, 16, 54),
    row(Call::Kill, 62, 37),
    row(Call::Tkill, 200, 238),
    row(Call::Tgkill, 234, 270),
    row(Call::Sigqueue, 129, 178),
    row(Call::Tgsigqueue, 297, 335),
    row(Call::PidfdSignal, 424, 424),
    row(Call::Mount, 165, 21),
    row(Call::Umount, 166, 52),
    (Call::OldUmount, None, Some(22)),
    row(Call::PivotRoot, 155, 217),
    row(Call::MoveMount, 429, 429),
    row(Call::Ptrace, 101, 26),
    row(Call::IoUringSetup, 425, 425),
];

/// The calls of an architecture, with their numbers.
pub fn of(arch: u32) -> impl Iterator<Item = (Call, u32)> {
    CALLS.iter().filter_map(move |(call, x86_64, i386)| match arch {
        X86_64 => Some((*call, (*x86_64)?)),
        I386 => Some((*call, (*i386)?)),
        _ => None,
    })
}

/// The call with this number.
pub fn find(arch: u32, number: u64) -> Option<Call> {
    of(arch).find(|(_, of)| u64::from(*of) == number).map(|(call, _)| call)
}

/// The number of seccomp(2).
pub fn seccomp(arch: u32) -> Option<u32> {
    match arch {
        X86_64 => Some(317),
        I386 => Some(354),
        _ => None,
    }
}

/// The number of prlimit64(2).
pub fn prlimit(arch: u32) -> Option<u32> {
    match arch {
        X86_64 => Some(302),
        I386 => Some(340),
        _ => None,
    }
}

/// Calls of socketcall(2), which i386 has besides those proper.
pub fn of_socketcall(number: u64) -> Option<Call> {
    Some(match number {
        1 => Call::Socket,
        2 => Call::Bind,
        3 => Call::Connect,
        8 => Call::SocketPair,
        11 => Call::SendTo,
        16 => Call::SendMsg,
        20 => Call::SendMmsg,
        _ => return None,
    })
}

/// Commands of ioctl(2) that Landlock never refuses (security/landlock/fs.c, `is_masked_device_ioctl`): their numbers on x86.
pub const FREE_IOCTLS: [u32; 13] = [
    0x5451,      // FIOCLEX
    0x5450,      // FIONCLEX
    0x5421,      // FIONBIO
    0x5452,      // FIOASYNC
    0xc004_5877, // FIFREEZE
    0xc004_5878, // FITHAW
    0x2,         // FIGETBSZ
    0xc020_660b, // FS_IOC_FIEMAP
    0x4004_9409, // FICLONE
    0x4020_940d, // FICLONERANGE
    0xc018_9436, // FIDEDUPERANGE
    0x8011_1500, // FS_IOC_GETFSUUID
    0x8081_1501, // FS_IOC_GETFSSYSFSPATH
];
