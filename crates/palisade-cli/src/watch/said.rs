//! What a system call said: its arguments, and what they point to, read from the memory of who made it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;

use super::calls::{self, Call, I386};
use crate::sys::watch as sys;

/// A path, and the descriptor of the folder where it begins if it is relative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub dir: i32,
    /// That folder is the root (RESOLVE_IN_ROOT).
    pub in_root: bool,
    /// Or why it cannot be read.
    pub path: Result<OsString, Unread>,
}

/// Memory of a program could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The kernel does not let this process look: the program hides from others (PR_SET_DUMPABLE).
    Hidden,
    /// There is nothing there, which the call fails for.
    Nothing,
}

/// A system call, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Open {
        at: At,
        flags: u64,
    },
    Make {
        at: At,
        mode: u64,
        device: u64,
    },
    Symlink(At),
    Remove {
        at: At,
        dir: bool,
    },
    Rename {
        from: At,
        to: At,
        exchange: bool,
    },
    Link {
        from: At,
        to: At,
        follow: bool,
    },
    Truncate(At),
    /// A file that is open.
    TruncateOpen(At),
    Execute {
        at: At,
        follow: bool,
    },
    Socket {
        family: i32,
        kind: i32,
        protocol: i32,
    },
    Bind {
        fd: i32,
        address: Vec<u8>,
    },
    Connect {
        fd: i32,
        address: Vec<u8>,
        sends: bool,
    },
    Ioctl {
        fd: i32,
        command: u32,
    },
    Signal {
        process: i64,
        signal: i32,
    },
    Mount(&'static str),
    Trace,
    IoUring,
    /// One of the calls of socketcall(2), the arguments of which are not looked at.
    OldSocket,
}

/// No path is longer, with the byte at its end (linux/limits.h).
const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;
/// No address of a socket is longer (struct sockaddr_storage).
const ADDRESS_MAX: u64 = 128;
const AT_FDCWD: i32 = libc::AT_FDCWD;

/// Who made the call, and how numbers are laid out there.
struct Memory {
    process: i32,
    narrow: bool,
}

/// Reads a call.
pub fn read(thread: i32, arch: u32, call: Call, arguments: [u64; 6]) -> Said {
    let narrow = arch == I386;
    // By `int $0x80` a 64-bit program can make such a call with whole registers, of which the kernel takes the lower half.
    let arguments = if narrow { arguments.map(|argument| argument & 0xffff_ffff) } else { arguments };
    Memory { process: thread, narrow }.said(call, arguments)
}

impl Memory {
    fn said(&self, call: Call, a: [u64; 6]) -> Said {
        let at = |dir: u64, path: u64| At { dir: dir as i32, in_root: false, path: self.string(path) };
        let here = |path: u64| At { dir: AT_FDCWD, in_root: false, path: self.string(path) };
        let has = |flags: u64, flag: i32| flags & flag as u64 != 0;
        match call {
            Call::Open => Said::Open { at: here(a[0]), flags: a[1] },
            Call::Creat => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                Said::Open { at: here(a[0]), flags: flags as u64 }
            }
            Call::OpenAt => Said::Open { at: at(a[0], a[1]), flags: a[2] },
            Call::OpenAt2 => {
                // struct open_how: flags, mode, resolve.
                let [flags, _, resolve] = self.words::<3>(a[2], 8).unwrap_or_default();
                let in_root = resolve & libc::RESOLVE_IN_ROOT != 0;
                Said::Open { at: At { in_root, ..at(a[0], a[1]) }, flags }
            }
            Call::Truncate | Call::Truncate64 => Said::Truncate(here(a[0])),
            Call::Ftruncate | Call::Ftruncate64 => {
                Said::TruncateOpen(At { dir: a[0] as i32, in_root: false, path: Ok(OsString::new()) })
            }
            Call::Mkdir => Said::Make { at: here(a[0]), mode: libc::S_IFDIR.into(), device: 0 },
            Call::MkdirAt => Said::Make { at: at(a[0], a[1]), mode: libc::S_IFDIR.into(), device: 0 },
            Call::Mknod => Said::Make { at: here(a[0]), mode: a[1], device: a[2] },
            Call::MknodAt => Said::Make { at: at(a[0], a[1]), mode: a[2], device: a[3] },
            Call::Symlink => Said::Symlink(here(a[1])),
            Call::SymlinkAt => Said::Symlink(at(a[1], a[2])),
            Call::Unlink => Said::Remove { at: here(a[0]), dir: false },
            Call::UnlinkAt => Said::Remove { at: at(a[0], a[1]), dir: has(a[2], libc::AT_REMOVEDIR) },
            Call::Rmdir => Said::Remove { at: here(a[0]), dir: true },
            Call::Rename => Said::Rename { from: here(a[0]), to: here(a[1]), exchange: false },
            Call::RenameAt => Said::Rename { from: at(a[0], a[1]), to: at(a[2], a[3]), exchange: false },
            Call::RenameAt2 => {
                let exchange = a[4] & u64::from(libc::RENAME_EXCHANGE) != 0;
                Said::Rename { from: at(a[0], a[1]), to: at(a[2], a[3]), exchange }
            }
            Call::Link => Said::Link { from: here(a[0]), to: here(a[1]), follow: false },
            Call::LinkAt => {
                let follow = has(a[4], libc::AT_SYMLINK_FOLLOW);
                Said::Link { from: at(a[0], a[1]), to: at(a[2], a[3]), follow }
            }
            Call::Execve => Said::Execute { at: here(a[0]), follow: true },
            Call::ExecveAt => {
                Said::Execute { at: at(a[0], a[1]), follow: !has(a[4], libc::AT_SYMLINK_NOFOLLOW) }
            }
            Call::Socket => Said::Socket { family: a[0] as i32, kind: a[1] as i32, protocol: a[2] as i32 },
            Call::SocketPair => {
                Said::Socket { family: a[0] as i32, kind: a[1] as i32, protocol: a[2] as i32 }
            }
            Call::Bind => Said::Bind { fd: a[0] as i32, address: self.address(a[1], a[2]) },
            Call::Connect => {
                Said::Connect { fd: a[0] as i32, address: self.address(a[1], a[2]), sends: false }
            }
            Call::SendTo => Said::Connect { fd: a[0] as i32, address: self.address(a[4], a[5]), sends: true },
            // Of several messages the first is the one that failed, or the call would have succeeded.
            Call::SendMsg | Call::SendMmsg => {
                let wide = if self.narrow { 4 } else { 8 };
                let [name, len] = self.words::<2>(a[1], wide).unwrap_or_default();
                Said::Connect { fd: a[0] as i32, address: self.address(name, len), sends: true }
            }
            Call::OldSockets => match calls::of_socketcall(a[0]) {
                Some(call) => match self.words::<6>(a[1], 4) {
                    Some(arguments) => self.said(call, arguments),
                    None => Said::OldSocket,
                },
                None => Said::OldSocket,
            },
            Call::Ioctl => Said::Ioctl { fd: a[0] as i32, command: a[1] as u32 },
            Call::Kill | Call::Sigqueue | Call::Tkill => {
                Said::Signal { process: i64::from(a[0] as i32), signal: a[1] as i32 }
            }
            Call::Tgkill | Call::Tgsigqueue => {
                Said::Signal { process: i64::from(a[0] as i32), signal: a[2] as i32 }
            }
            Call::PidfdSignal => {
                let process = super::process_of_pidfd(self.process, a[0] as i32);
                Said::Signal { process: process.into(), signal: a[1] as i32 }
            }
            Call::Mount => Said::Mount("mount a file system"),
            Call::Umount | Call::OldUmount => Said::Mount("unmount a file system"),
            Call::PivotRoot => Said::Mount("change the root file system"),
            Call::MoveMount => Said::Mount("move a mount"),
            Call::Ptrace => Said::Trace,
            Call::IoUringSetup => Said::IoUring,
        }
    }

    /// A string that ends in a NUL byte.
    fn string(&self, address: u64) -> Result<OsString, Unread> {
        let mut all = Vec::new();
        while all.len() < PATH_MAX {
            let from = address + all.len() as u64;
            // What is on the next page may not be there.
            let mut buffer = [0; 512];
            let room = (PAGE - from % PAGE).min(buffer.len() as u64) as usize;
            let read = sys::read_memory(self.process, from, &mut buffer[..room]).map_err(|e| unread(&e))?;
            let read = &buffer[..read];
            match read.iter().position(|byte| *byte == 0) {
                Some(end) => {
                    all.extend_from_slice(&read[..end]);
                    return Ok(OsString::from_vec(all));
                }
                None if read.is_empty() => return Err(Unread::Nothing),
                None => all.extend_from_slice(read),
            }
        }
        Err(Unread::Nothing)
    }

    /// Numbers of so many bytes each.
    fn words<const N: usize>(&self, address: u64, wide: usize) -> Option<[u64; N]> {
        let mut buffer = [0; 64];
        let buffer = &mut buffer[..N * wide];
        let read = sys::read_memory(self.process, address, buffer).ok()?;
        if read < buffer.len() {
            return None;
        }
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(buffer.chunks(wide)) {
            let mut whole = [0; 8];
            whole[..wide].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        Some(words)
    }

    /// The address of a socket; empty if there is none.
    fn address(&self, address: u64, len: u64) -> Vec<u8> {
        // An int, of which the kernel ignores the upper half of the register.
        let mut bytes = vec![0; (len & 0xffff_ffff).min(ADDRESS_MAX) as usize];
        let read =
            if address == 0 { 0 } else { sys::read_memory(self.process, address, &mut bytes).unwrap_or(0) };
        bytes.truncate(read);
        bytes
    }
}

fn unread(error: &io::Error) -> Unread {
    match error.raw_os_error() {
        Some(libc::EFAULT) => Unread::Nothing,
        _ => Unread::Hidden,
    }
}
