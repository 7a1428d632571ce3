//! A tree on the disk, its policies, and peers outside.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use nix::Result;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{self, Pid, getpid};
use palisade::{Abi, FileKind, Open, Policy, Ports, Request, Rights, path};
use tempfile::TempDir;

use crate::round::{Layer, Operation, ROOT, Round, What};

/// Who is outside, and stays.
pub struct Peers {
    pub pid: Pid,
    /// That of a listener, and those after it.
    pub ports: Vec<u16>,
    /// What the abstract names begin with, at which it listens.
    pub name: Vec<u8>,
    _tcp: std::net::TcpListener,
    pub bound: std::net::UdpSocket,
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
    dir: TempDir,
}

impl World {
    pub fn new(round: &Round) -> World {
        World::at(tempfile::Builder::new().prefix("palisade-model-").tempdir().expect("a folder"), round)
    }

    /// In a folder that is empty.
    pub fn at(dir: TempDir, round: &Round) -> World {
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

    /// A round's path as it is here.
    pub fn real(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(ROOT) {
            // Without the slash that join() would put at its end.
            Ok(rest) if rest.as_os_str().is_empty() => self.root.clone(),
            Ok(rest) => self.root.join(rest),
            Err(_) => path.to_owned(),
        }
    }

    /// Whether the first path of an operation leads to something.
    pub fn there(&self, operation: &Operation) -> bool {
        operation.paths().first().is_some_and(|path| self.real(path).exists())
    }

    /// What a refused call has made all the same: a file that may be created and not opened is there then.
    pub fn undo(&self, operation: &Operation, was_there: bool) {
        if let (Operation::Open(path, how), false) = (operation, was_there) {
            if how.contains(Open::CREATE) && self.there(operation) {
                let _ = fs::remove_file(fs::canonicalize(self.real(path)).unwrap_or_default());
            }
        }
    }

    /// What is done without a policy stays within the temporary folder.
    pub fn contains(&self, operation: &Operation) {
        use Operation::{ConnectUnix, Execute, Ioctl, List, Open, Truncate};
        // Those that name devices, which they do no harm.
        if matches!(operation, Open(..) | List(_) | Ioctl(_) | Truncate(_) | Execute(_) | ConnectUnix(_)) {
            return;
        }
        for path in operation.paths() {
            let path = self.real(path);
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(&self.root);
            if let Ok(folder) = folder.canonicalize() {
                assert!(
                    folder.starts_with(self.dir.path()) || !folder.is_dir(),
                    "{operation:?} leads out, to {folder:?}"
                );
            }
        }
    }

    /// The policy of a layer.
    pub fn policy(&self, layer: &Layer) -> Policy {
        let mut policy = Policy::new().unrestricted([layer.free]);
        if let Some(abi) = layer.abi.and_then(Abi::new) {
            policy = policy.abi(abi);
        }
        for (at, rights) in &layer.rules {
            policy = policy.rule(path(self.real(at)).rights(*rights).optional());
        }
        for (right, first, last) in &layer.ports {
            policy = port(policy, *right, Ports::from(*first..=*last));
        }
        policy
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

/// Without waiting for whoever is at the other end of a FIFO.
pub fn opened(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    open(path, flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::S_IRWXU)
}

/// The same, and that right on these ports.
pub fn port(policy: Policy, right: Rights, ports: Ports) -> Policy {
    match right {
        Rights::BIND_TCP => policy.bind_tcp(ports),
        Rights::CONNECT_TCP => policy.connect_tcp(ports),
        Rights::BIND_UDP => policy.bind_udp(ports),
        _ => policy.connect_udp(ports),
    }
}
