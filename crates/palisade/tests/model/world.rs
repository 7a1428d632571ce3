//! A tree on the disk, peers outside, and operations done for real.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use nix::Result;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::kill;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, UnixAddr};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{self, Pid, getpid, linkat, truncate};
use palisade::{FileKind, Open, Request};

use crate::round::{Operation, ROOT, Round, What};
use crate::sys;

/// Who is outside, and stays.
pub struct Peers {
    pub pid: Pid,
    /// That of a listener, and those after it.
    pub ports: Vec<u16>,
    name: Vec<u8>,
    _tcp: std::net::TcpListener,
    bound: std::net::UdpSocket,
    _datagrams: UnixDatagram,
    streams: UnixListener,
}

impl Peers {
    pub fn new() -> Peers {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        // Neighbours: a range of them is a few rules, and not thousands.
        let first = tcp.local_addr().expect("an address").port().min(u16::MAX - 4);
        let ports = (first..first + 4).collect();
        let name = format!("palisade-model-{}", getpid()).into_bytes();
        let address = |kind: &[u8]| SocketAddr::from_abstract_name([&name, kind].concat()).expect("a name");
        let streams = UnixListener::bind_addr(&address(b"-stream")).expect("a socket");
        streams.set_nonblocking(true).expect("not to block");
        let datagrams = UnixDatagram::bind_addr(&address(b"-datagram")).expect("a socket");
        let bound = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        Peers { pid: getpid(), ports, _tcp: tcp, bound, _datagrams: datagrams, streams, name }
    }

    /// Nobody waits to be accepted.
    pub fn drain(&self) {
        while self.streams.accept().is_ok() {}
    }
}

/// Folders between the temporary one and the tree: more than the longest link has of `..`.
pub const DEPTH: usize = 12;

/// A round's tree. The current folder is its root as long as it is there.
pub struct World {
    pub root: PathBuf,
    /// What is mounted, wherever it is moved.
    mounts: Vec<OwnedFd>,
    servers: Vec<UnixDatagram>,
    /// It is removed when this is dropped, after what is mounted there.
    dir: tempfile::TempDir,
}

impl World {
    pub fn new(round: &Round) -> World {
        let dir = tempfile::Builder::new().prefix("palisade-model-").tempdir().expect("a folder");
        // So deep that no link leads out of what is ours, wherever it is moved.
        let mut mounts = Vec::new();
        if round.apart {
            mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("mode=0777"))
                .expect("to mount a file system");
            mounts.push(opened(dir.path(), OFlag::O_PATH).expect("to open it"));
        }
        let above: PathBuf = dir.path().canonicalize().expect("its path").join("o/".repeat(DEPTH));
        let root = above.join("tree");
        fs::create_dir_all(&root).expect("to make it");
        fs::create_dir(above.join("beside")).expect("to make it");
        fs::write(above.join("beside/file"), "beside\n").expect("to write it");
        std::env::set_current_dir(&root).expect("to enter it");
        let mut world = World { root, mounts, servers: Vec::new(), dir };
        for (path, what) in &round.tree {
            // What cannot be made, for its folder is hidden by a mount or was left out, is not there.
            let _ = world.make(path, what);
        }
        world
    }

    fn make(&mut self, path: &Path, what: &What) -> std::io::Result<()> {
        match what {
            What::Dir => fs::create_dir(path),
            // A program for nobody: execve(2) says so (ENOEXEC) after it has asked Landlock.
            What::File => {
                fs::write(path, "no program\n")?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            }
            What::Fifo => Ok(unistd::mkfifo(path, Mode::S_IRWXU)?),
            What::Socket => {
                self.servers.push(UnixDatagram::bind(path)?);
                Ok(())
            }
            What::Whiteout => Ok(mknod(path, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(0, 0))?),
            What::Symlink(target) => symlink(self.real(target), path),
            What::HardLink(old) => fs::hard_link(old, path),
            What::Bind(from) => {
                mount(Some(from), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                self.mounts.push(opened(path, OFlag::O_PATH)?);
                Ok(())
            }
        }
    }

    /// The folder that all is in.
    pub fn top(&self) -> &Path {
        self.dir.path()
    }

    /// A round's path as it is here.
    pub fn real(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(ROOT) {
            // Without the slash that join() would put at its end.
            Ok(rest) if rest.as_os_str().is_empty() => self.root.clone(),
            Ok(rest) => self.root.join(rest),
            Err(_) => path.to_owned(),
        }
    }

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

    /// What to ask the model.
    pub fn request(&self, operation: &Operation) -> Request {
        let real = |path: &Path| self.real(path);
        match operation {
            Operation::Open(path, how) => Request::open(real(path), *how),
            Operation::List(path) => Request::list(real(path)),
            Operation::Ioctl(path) => Request::ioctl(real(path)),
            Operation::Make(path, FileKind::Dir) => Request::mkdir(real(path)),
            Operation::Make(path, FileKind::Symlink) => Request::symlink(real(path)),
            Operation::Make(path, kind) => Request::mknod(real(path), *kind),
            Operation::BindUnix(path) => Request::mknod(real(path), FileKind::Socket),
            Operation::Unlink(path) => Request::unlink(real(path)),
            Operation::Rmdir(path) => Request::rmdir(real(path)),
            Operation::Rename(old, new) => Request::rename(real(old), real(new)),
            Operation::Exchange(one, other) => Request::exchange(real(one), real(other)),
            Operation::Link(old, new) => Request::link(real(old), real(new)),
            Operation::Truncate(path) => Request::truncate(real(path)),
            Operation::Execute(path) => Request::exec(real(path)),
            Operation::BindTcp(port) => Request::bind_tcp(*port),
            Operation::ConnectTcp(port) => Request::connect_tcp(*port),
            Operation::BindUdp(port) => Request::bind_udp(*port),
            Operation::ConnectUdp { port, bound, .. } => Request::connect_udp(*port, *bound),
            Operation::ConnectUnix(path) => Request::connect_unix(real(path)),
            Operation::ConnectAbstract { .. } => Request::connect_abstract(),
            Operation::Signal => Request::signal(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::env::set_current_dir("/").expect("to leave the folder");
        while let Some(on) = self.mounts.pop() {
            let on = PathBuf::from(format!("/proc/self/fd/{}", on.as_raw_fd()));
            umount2(&on, MntFlags::MNT_DETACH).expect("to unmount");
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

/// Without waiting for whoever is at the other end of a FIFO.
fn opened(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    open(path, flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::S_IRWXU)
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
