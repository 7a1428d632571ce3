//! What a program may ask of the kernel, as a value that can be decided on.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::place::{FileKind, Place, View};
use crate::rights::Rights;

bitflags::bitflags! {
    /// How a file is opened: what of the flags of open(2) decides.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Open: u32 {
        /// For reading (`O_RDONLY` or `O_RDWR`); a directory, to list it.
        const READ = 1 << 0;
        /// For writing (`O_WRONLY` or `O_RDWR`).
        const WRITE = 1 << 1;
        /// A file that is not there is made (`O_CREAT`).
        const CREATE = 1 << 2;
        /// It must not be there (`O_EXCL`, with [`Open::CREATE`]).
        const EXCLUSIVE = 1 << 3;
        /// What is in it is dropped (`O_TRUNC`).
        const TRUNCATE = 1 << 4;
        /// The path is of the folder in which a file without a name is made (`O_TMPFILE`).
        const TEMPORARY = 1 << 5;
        /// A link as its last name is not followed (`O_NOFOLLOW`).
        const NO_FOLLOW = 1 << 6;
        /// It is opened as a place alone (`O_PATH`), which Landlock never refuses.
        const PATH = 1 << 7;
        /// It has to be a directory (`O_DIRECTORY`).
        const DIRECTORY = 1 << 8;
    }
}

/// One request to the kernel, as [`Policy::decide`](crate::Policy::decide) answers it.
///
/// A path is looked up when the request is made: through symbolic links and `..`, from the current folder if it is
/// relative, as the kernel would for this process; for another, by [`Request::seen_from`]. What is not there is taken
/// for a regular file in the folder where it would be.
///
/// ```
/// use palisade::{Open, Request};
/// assert_eq!(Request::read("/etc/passwd").to_string(), "read /etc/passwd");
/// let log = Request::open("/var/log/app", Open::WRITE | Open::CREATE);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Open { at: Target, how: Open, device: bool },
    Make { at: Target, kind: FileKind },
    Remove { at: Target, dir: bool },
    Rename { from: Target, to: Target, exchange: bool },
    Link { from: Target, to: Target },
    Truncate(Target),
    Execute(Target),
    Port { right: Rights, port: u16, bound: bool },
    ConnectUnix(Target),
    Scope(Rights),
}

/// A path as it was asked for, and where it leads, or why that cannot be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub asked: PathBuf,
    /// Whether a link as its last name is followed.
    follow: bool,
    pub place: Result<Place, String>,
}

impl Target {
    fn new(path: impl AsRef<Path>, follow: bool) -> Target {
        let asked = path.as_ref().to_owned();
        let place = Place::find(&asked, follow, None);
        Target { asked, follow, place }
    }

    fn path(&self) -> Option<&Path> {
        self.place.as_ref().ok().map(Place::path)
    }
}

impl Action {
    /// Its paths, as it was asked for.
    pub fn targets(&self) -> [Option<&Target>; 2] {
        match self {
            Action::Open { at, .. } | Action::Make { at, .. } | Action::Remove { at, .. } => [Some(at), None],
            Action::Truncate(at) | Action::Execute(at) | Action::ConnectUnix(at) => [Some(at), None],
            Action::Rename { from, to, .. } | Action::Link { from, to } => [Some(from), Some(to)],
            Action::Port { .. } | Action::Scope(_) => [None, None],
        }
    }

    fn targets_mut(&mut self) -> [Option<&mut Target>; 2] {
        match self {
            Action::Open { at, .. } | Action::Make { at, .. } | Action::Remove { at, .. } => [Some(at), None],
            Action::Truncate(at) | Action::Execute(at) | Action::ConnectUnix(at) => [Some(at), None],
            Action::Rename { from, to, .. } | Action::Link { from, to } => [Some(from), Some(to)],
            Action::Port { .. } | Action::Scope(_) => [None, None],
        }
    }
}

const FOLLOW: bool = true;
const NO_FOLLOW: bool = false;

impl Request {
    fn of(action: Action) -> Request {
        Request { action }
    }

    /// To open a file or a directory.
    pub fn open(path: impl AsRef<Path>, how: Open) -> Request {
        let exclusive = how.contains(Open::CREATE | Open::EXCLUSIVE);
        // A slash at its end, the kernel follows a link all the same.
        let bytes = path.as_ref().as_os_str().as_encoded_bytes();
        let slash = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
        let at = Target::new(path, slash || !exclusive && !how.contains(Open::NO_FOLLOW));
        Request::of(Action::Open { at, how, device: false })
    }

    /// To open for reading: a file, or a directory to list it.
    pub fn read(path: impl AsRef<Path>) -> Request {
        Request::open(path, Open::READ)
    }

    /// To list a directory.
    pub fn list(path: impl AsRef<Path>) -> Request {
        Request::open(path, Open::READ | Open::DIRECTORY)
    }

    /// To open for writing, and to make the file if it is not there.
    pub fn write(path: impl AsRef<Path>) -> Request {
        Request::open(path, Open::WRITE | Open::CREATE)
    }

    /// To make a new file and write to it.
    pub fn create(path: impl AsRef<Path>) -> Request {
        Request::open(path, Open::WRITE | Open::CREATE | Open::EXCLUSIVE)
    }

    /// To open a device and control it by ioctl(2), but for the few commands that are always allowed. Needs no right
    /// to read or write.
    pub fn ioctl(path: impl AsRef<Path>) -> Request {
        Request::of(Action::Open { at: Target::new(path, FOLLOW), how: Open::empty(), device: true })
    }

    /// To make a directory.
    pub fn mkdir(path: impl AsRef<Path>) -> Request {
        Request::mknod(path, FileKind::Dir)
    }

    /// To make a symbolic link at this path, wherever it leads.
    pub fn symlink(path: impl AsRef<Path>) -> Request {
        Request::mknod(path, FileKind::Symlink)
    }

    /// To make a file of this kind: [`FileKind::Socket`] is what bind(2) makes, [`FileKind::Regular`] what mknod(2)
    /// does.
    pub fn mknod(path: impl AsRef<Path>, kind: FileKind) -> Request {
        Request::of(Action::Make { at: Target::new(path, NO_FOLLOW), kind })
    }

    /// To remove a file, or a symbolic link, and not what it leads to.
    pub fn unlink(path: impl AsRef<Path>) -> Request {
        Request::of(Action::Remove { at: Target::new(path, NO_FOLLOW), dir: false })
    }

    /// To remove an empty directory.
    pub fn rmdir(path: impl AsRef<Path>) -> Request {
        Request::of(Action::Remove { at: Target::new(path, NO_FOLLOW), dir: true })
    }

    /// To rename, and replace what is there.
    pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Request {
        let (from, to) = (Target::new(from, NO_FOLLOW), Target::new(to, NO_FOLLOW));
        Request::of(Action::Rename { from, to, exchange: false })
    }

    /// To exchange two (`RENAME_EXCHANGE`).
    pub fn exchange(one: impl AsRef<Path>, other: impl AsRef<Path>) -> Request {
        let (from, to) = (Target::new(one, NO_FOLLOW), Target::new(other, NO_FOLLOW));
        Request::of(Action::Rename { from, to, exchange: true })
    }

    /// To give a file a second name (a hard link).
    pub fn link(file: impl AsRef<Path>, name: impl AsRef<Path>) -> Request {
        let (from, to) = (Target::new(file, NO_FOLLOW), Target::new(name, NO_FOLLOW));
        Request::of(Action::Link { from, to })
    }

    /// To change the length of a file by its path (truncate(2)).
    pub fn truncate(path: impl AsRef<Path>) -> Request {
        Request::of(Action::Truncate(Target::new(path, FOLLOW)))
    }

    /// To execute a file. Its interpreter is executed too, by a request of its own.
    pub fn exec(path: impl AsRef<Path>) -> Request {
        Request::of(Action::Execute(Target::new(path, FOLLOW)))
    }

    /// To bind a TCP socket to a port.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy, Request};
    /// let policy = Policy::new().bind_tcp(8080);
    /// assert!(policy.decide(&Kernel::new(Abi::V4), &Request::bind_tcp(8080))?.is_allowed());
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn bind_tcp(port: u16) -> Request {
        Request::port(Rights::BIND_TCP, port, false)
    }

    /// To connect a TCP socket to a port.
    pub fn connect_tcp(port: u16) -> Request {
        Request::port(Rights::CONNECT_TCP, port, false)
    }

    /// To bind a UDP socket to a port.
    pub fn bind_udp(port: u16) -> Request {
        Request::port(Rights::BIND_UDP, port, false)
    }

    /// To connect a UDP socket to a port, or to send to it. One that is not `bound` is bound by that, to a port that the
    /// kernel chooses, which needs bind_udp for port 0.
    pub fn connect_udp(port: u16, bound: bool) -> Request {
        Request::port(Rights::CONNECT_SEND_UDP, port, bound)
    }

    fn port(right: Rights, port: u16, bound: bool) -> Request {
        Request::of(Action::Port { right, port, bound })
    }

    /// To connect or send to a UNIX socket by its path, of a server that is not confined by the same policy.
    pub fn connect_unix(path: impl AsRef<Path>) -> Request {
        Request::of(Action::ConnectUnix(Target::new(path, FOLLOW)))
    }

    /// To connect or send to an abstract UNIX socket, of a server that is not confined by the same policy.
    pub fn connect_abstract() -> Request {
        Request::of(Action::Scope(Rights::ABSTRACT_UNIX_SOCKET))
    }

    /// To signal a process that is not confined by the same policy.
    pub fn signal() -> Request {
        Request::of(Action::Scope(Rights::SIGNAL))
    }

    /// The same of a process that sees files from there: its paths are looked up once more, now.
    pub fn seen_from(mut self, view: &View) -> Request {
        for target in self.action.targets_mut().into_iter().flatten() {
            target.place = Place::find(&target.asked, target.follow, Some(view));
        }
        self
    }

    /// The same, said by where its paths lead, so that two that name one file differently are equal. What cannot be known
    /// stays as it was asked for.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(palisade::Request::list("/etc/../").resolved().to_string(), "list /");
    /// ```
    pub fn resolved(mut self) -> Request {
        for target in self.action.targets_mut().into_iter().flatten() {
            if let Ok(place) = &target.place {
                target.asked = place.path().to_owned();
            }
        }
        self
    }

    /// Where its path leads, the first if it has two: without links and dots, as this process sees it. A link as its last
    /// name stands for itself where the request does not follow it. `None` if it has no path, or if that cannot be known.
    ///
    /// ```
    /// # if cfg!(target_os = "linux") {
    /// let request = palisade::Request::read("/usr/../usr/./none");
    /// assert_eq!(request.path(), Some("/usr/none".as_ref()));
    /// # }
    /// ```
    pub fn path(&self) -> Option<&Path> {
        self.action.targets()[0].and_then(Target::path)
    }

    /// The same of its second path: the new one of [`Request::rename`] and [`Request::link`], the other of
    /// [`Request::exchange`].
    pub fn other_path(&self) -> Option<&Path> {
        self.action.targets()[1].and_then(Target::path)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::printable(&self.asked).fmt(f)
    }
}

impl fmt::Display for Request {
    /// As the rest of a sentence: `read /etc/passwd`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Open { at, device: true, .. } => write!(f, "use ioctl on {at}"),
            Action::Open { at, how, .. } => {
                let verb = match (how.contains(Open::READ), how.contains(Open::WRITE)) {
                    _ if how.contains(Open::PATH) => "open as a place",
                    _ if how.contains(Open::READ | Open::DIRECTORY) => "list",
                    _ if how.contains(Open::TEMPORARY) => "make a file without a name in",
                    _ if how.contains(Open::CREATE | Open::EXCLUSIVE) => "create",
                    (true, true) => "read and write",
                    (_, true) => "write",
                    (true, _) => "read",
                    _ => "open",
                };
                write!(f, "{verb} {at}")
            }
            Action::Make { at, kind } => {
                let what = match kind {
                    FileKind::Regular => "create",
                    FileKind::Dir => "make the folder",
                    FileKind::Symlink => "make the symbolic link",
                    FileKind::Fifo => "make the FIFO",
                    FileKind::Socket => "bind a UNIX socket to",
                    FileKind::Char => "make the character device",
                    FileKind::Block => "make the block device",
                    FileKind::Whiteout => "make the whiteout",
                };
                write!(f, "{what} {at}")
            }
            Action::Remove { at, dir: true } => write!(f, "remove the folder {at}"),
            Action::Remove { at, .. } => write!(f, "delete {at}"),
            Action::Rename { from, to, exchange: true } => write!(f, "exchange {from} and {to}"),
            Action::Rename { from, to, .. } => write!(f, "rename {from} to {to}"),
            Action::Link { from, to } => write!(f, "link {from} as {to}"),
            Action::Truncate(at) => write!(f, "truncate {at}"),
            Action::Execute(at) => write!(f, "execute {at}"),
            Action::Port { right, port, .. } => match *right {
                Rights::BIND_TCP => write!(f, "bind TCP port {port}"),
                Rights::CONNECT_TCP => write!(f, "connect to TCP port {port}"),
                Rights::BIND_UDP => write!(f, "bind UDP port {port}"),
                _ => write!(f, "send to UDP port {port}"),
            },
            Action::ConnectUnix(at) => write!(f, "connect to the UNIX socket {at}"),
            Action::Scope(Rights::SIGNAL) => f.write_str("signal a process outside"),
            Action::Scope(_) => f.write_str("connect to an abstract UNIX socket outside"),
        }
    }
}
