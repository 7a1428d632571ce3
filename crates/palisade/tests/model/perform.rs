//! Operations, done for real.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::Result;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::libc;
use nix::sys::signal::kill;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, UnixAddr};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{self, linkat, truncate};
use palisade::{FileKind, Open};

use crate::round::Operation;
use crate::sys;
use crate::world::{Peers, World, opened};

impl World {
    /// Does it, in whichever process calls, and says how it ended: 0 or an error number.
    pub fn perform(&self, operation: &Operation, peers: &Peers) -> i32 {
        match self.try_to(operation, peers) {
            Ok(()) => 0,
            Err(errno) => errno as i32,
        }
    }

    fn try_to(&self, operation: &Operation, peers: &Peers) -> Result<()> {
        let real = |path: &Path| self.real(path);
        let c = |path: &Path| CString::new(self.real(path).as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
        match operation {
            Operation::Open(path, how) => opened(&real(path), flags(*how)).map(drop),
            Operation::List(path) => opened(&real(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY).map(drop),
            Operation::Ioctl(path) => {
                let device = opened(&real(path), OFlag::from_bits_retain(libc::O_ACCMODE))?;
                match sys::ioctl(device) {
                    // Landlock was asked, and the device knows no such command.
                    Err(Errno::ENOTTY) => Ok(()),
                    other => other,
                }
            }
            Operation::Make(path, FileKind::Dir) => unistd::mkdir(&real(path), Mode::S_IRWXU),
            Operation::Make(path, FileKind::Symlink) => unistd::symlinkat("target", AT_FDCWD, &real(path)),
            Operation::Make(path, kind) => {
                let (kind, device) = match kind {
                    FileKind::Fifo => (SFlag::S_IFIFO, 0),
                    FileKind::Char => (SFlag::S_IFCHR, makedev(1, 3)),
                    FileKind::Whiteout => (SFlag::S_IFCHR, makedev(0, 0)),
                    // A number that no driver has.
                    FileKind::Block => (SFlag::S_IFBLK, makedev(250, 7)),
                    FileKind::Socket => (SFlag::S_IFSOCK, 0),
                    _ => (SFlag::S_IFREG, 0),
                };
                mknod(&real(path), kind, Mode::S_IRWXU, device)
            }
            Operation::BindUnix(path) => {
                let socket = new_socket(AddressFamily::Unix, SockType::Datagram)?;
                socket::bind(socket.as_raw_fd(), &UnixAddr::new(&real(path))?)
            }
            Operation::Unlink(path) => unistd::unlink(&real(path)),
            Operation::Rmdir(path) => match fs::remove_dir(real(path)) {
                Ok(()) => Ok(()),
                Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
            },
            Operation::Rename(old, new) => nix::fcntl::renameat(AT_FDCWD, &real(old), AT_FDCWD, &real(new)),
            Operation::Exchange(one, other) => sys::exchange(&c(one)?, &c(other)?),
            Operation::Link(old, new) => {
                linkat(AT_FDCWD, &real(old), AT_FDCWD, &real(new), nix::fcntl::AtFlags::empty())
            }
            Operation::Truncate(path) => truncate(&real(path), 1),
            Operation::Execute(path) => {
                let none: [&std::ffi::CStr; 0] = [];
                match unistd::execve(&c(path)?, &none, &none) {
                    Err(Errno::ENOEXEC) => Ok(()),
                    Err(errno) => Err(errno),
                    Ok(never) => match never {},
                }
            }
            Operation::BindTcp(port) => bind(SockType::Stream, *port).map(drop),
            Operation::BindUdp(port) => bind(SockType::Datagram, *port).map(drop),
            Operation::ConnectTcp(port) => {
                let socket = new_socket(AddressFamily::Inet, SockType::Stream)?;
                match socket::connect(socket.as_raw_fd(), &here(*port)) {
                    // That nobody listens is found out after Landlock was asked.
                    Err(Errno::EINPROGRESS | Errno::ECONNREFUSED) => Ok(()),
                    other => other,
                }
            }
            Operation::ConnectUdp { port, send, bound } => {
                let socket = match bound {
                    // By somebody who may: Landlock looks at the socket, not at who bound it.
                    true => OwnedFd::from(peers.bound.try_clone().map_err(|_| Errno::EMFILE)?),
                    false => new_socket(AddressFamily::Inet, SockType::Datagram)?,
                };
                let done = if *send {
                    socket::sendto(socket.as_raw_fd(), b"x", &here(*port), MsgFlags::empty()).map(drop)
                } else {
                    socket::connect(socket.as_raw_fd(), &here(*port))
                };
                match done {
                    // What came back of an earlier one.
                    Err(Errno::ECONNREFUSED) => Ok(()),
                    other => other,
                }
            }
            Operation::ConnectUnix(path) => {
                let socket = new_socket(AddressFamily::Unix, SockType::Datagram)?;
                socket::connect(socket.as_raw_fd(), &UnixAddr::new(&real(path))?)
            }
            Operation::ConnectAbstract { stream } => {
                let (kind, end): (_, &[u8]) = match stream {
                    true => (SockType::Stream, b"-stream"),
                    false => (SockType::Datagram, b"-datagram"),
                };
                let socket = new_socket(AddressFamily::Unix, kind)?;
                let name = UnixAddr::new_abstract(&[&peers.name, end].concat())?;
                socket::connect(socket.as_raw_fd(), &name)
            }
            Operation::Signal => kill(peers.pid, None),
        }
    }
}

fn flags(how: Open) -> OFlag {
    let mode = match (how.contains(Open::READ), how.contains(Open::WRITE)) {
        (true, true) => libc::O_RDWR,
        (true, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        // Neither to read nor to write.
        (false, false) => libc::O_ACCMODE,
    };
    let others = [
        (Open::CREATE, libc::O_CREAT),
        (Open::EXCLUSIVE, libc::O_EXCL),
        (Open::TRUNCATE, libc::O_TRUNC),
        (Open::TEMPORARY, libc::O_TMPFILE),
        (Open::NO_FOLLOW, libc::O_NOFOLLOW),
        (Open::PATH, libc::O_PATH),
    ];
    let others = others.into_iter().filter(|(flag, _)| how.contains(*flag));
    OFlag::from_bits_retain(others.fold(mode, |all, (_, flag)| all | flag))
}

fn new_socket(family: AddressFamily, kind: SockType) -> Result<OwnedFd> {
    socket::socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

fn here(port: u16) -> SockaddrIn {
    SockaddrIn::new(127, 0, 0, 1, port)
}

/// To an address where nobody is, beside the peers'.
fn bind(kind: SockType, port: u16) -> Result<OwnedFd> {
    let socket = new_socket(AddressFamily::Inet, kind)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 2, port))?;
    Ok(socket)
}
