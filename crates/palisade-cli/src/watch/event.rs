//! From a call that failed to an event: what it asked for in the program's own view, and what ordinary permissions say.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use palisade::{FileKind, Open, Program, Request, View};

use super::ordinary::{self, Identity};
use super::process_of;
use super::said::{At, Said, Unread};
use crate::sys::watch as sys;

/// A system call that failed for want of a permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of the process.
    pub process: i32,
    /// What it is called, as ps shows.
    pub name: OsString,
    /// The file that it executes.
    pub program: Option<PathBuf>,
    pub what: What,
    pub errno: i32,
    pub ordinary: Ordinary,
    /// Landlock was asked before ordinary permissions were.
    pub landlock_first: bool,
    /// It was to execute a program.
    pub executes: bool,
    /// What it asked for was another thing before the call than after it: another thread changes it.
    pub changed: bool,
}

/// What a call asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// What the model can be asked: the first is the call itself; the rest is what it executes and reads besides.
    Asked(Vec<Request>),
    /// What the filter closes.
    Closed(Closing),
    /// What Landlock refuses wherever files are restricted.
    Mount(&'static str),
    /// To look into another process, which is for the watcher alone.
    Trace,
    /// The rights of a program's owner or group (set-user-ID, set-group-ID), which it was executed without.
    SetId(PathBuf),
    /// What cannot be said exactly, and why.
    Unknown { what: String, why: &'static str },
}

/// What the filter closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    Socket {
        family: i32,
        kind: i32,
        protocol: i32,
    },
    /// To connect by the first send, to this port.
    FastOpen(Option<u16>),
    Typing,
    IoUring,
    /// By an old call that is closed as a whole.
    OldSocket,
}

/// What ordinary permissions say: owner, mode, capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordinary {
    Allow,
    /// They refuse it too, and why.
    Refuse(String),
    /// It cannot be known, and why.
    Unsure(&'static str),
}

/// The watcher's own rights, which are those of the program unless it changes them.
pub struct Watched {
    own: Option<Identity>,
}

pub const HIDDEN: &str = "the program hides its memory from others";
const GONE: &str = "the program has changed it meanwhile";

impl Watched {
    pub fn new() -> Watched {
        Watched { own: Identity::of("self") }
    }

    /// What the filter closes was asked for.
    pub fn closed(&self, thread: i32, said: Option<Said>, errno: i32) -> Event {
        Event { what: What::Closed(closing(said.as_ref())), errno, ..made(thread) }
    }

    /// A program is executed: whether it would have other rights if it were not confined.
    pub fn executed(&self, thread: i32) -> Option<Event> {
        let meta = std::fs::metadata(format!("/proc/{thread}/exe")).ok()?;
        let own = self.own.as_ref()?;
        let gains_user = meta.mode() & libc::S_ISUID != 0 && meta.uid() != own.files_user();
        // Without execution by the group it is no such program: inode(7).
        let set_group = libc::S_ISGID | libc::S_IXGRP;
        let gains_group = meta.mode() & set_group == set_group && meta.gid() != own.files_group();
        let event = made(thread);
        let path = event.program.clone().filter(|_| gains_user || gains_group)?;
        Some(Event { what: What::SetId(path), errno: libc::EPERM, ..event })
    }

    /// A call failed. `None` if that is no matter of permissions.
    pub fn event(&self, thread: i32, said: Said, errno: i32) -> Option<Event> {
        let moves = matches!(said, Said::Rename { .. } | Said::Link { .. });
        if errno == libc::EXDEV && !moves {
            return None;
        }
        let what = match what(thread, &said) {
            What::Asked(requests) => What::Asked(requests.into_iter().map(Request::resolved).collect()),
            what => what,
        };
        if let (libc::EXDEV, What::Asked(requests)) = (errno, &what) {
            if between_mounts(&said, &requests[0]) {
                return None;
            }
        }
        let ordinary = match &what {
            What::Asked(requests) => {
                let theirs = Identity::of(&thread.to_string());
                match (&self.own, &theirs) {
                    (Some(own), Some(theirs)) if own == theirs => {
                        match way_there(thread, &said, &requests[0]) {
                            Ordinary::Allow => ordinary::ask(own, &said, &requests[0]),
                            closed => closed,
                        }
                    }
                    (_, Some(_)) => Ordinary::Unsure("it has changed its user or its capabilities"),
                    _ => Ordinary::Unsure("it has ended"),
                }
            }
            What::Mount(_) => {
                let theirs = Identity::of(&thread.to_string());
                match theirs.is_some_and(|identity| identity.has(ordinary::CAP_SYS_ADMIN)) {
                    true => Ordinary::Allow,
                    false => {
                        Ordinary::Refuse("it takes a capability, CAP_SYS_ADMIN, which it has not".to_owned())
                    }
                }
            }
            _ => Ordinary::Allow,
        };
        let landlock_first = landlock_first(&said, &what);
        let executes = matches!(said, Said::Execute { .. });
        Some(Event { what, errno, ordinary, landlock_first, executes, ..made(thread) })
    }
}

/// What is closed of what was asked for.
pub fn closing(said: Option<&Said>) -> Closing {
    match said {
        Some(Said::Socket { family, kind, protocol }) => {
            const FLAGS: i32 = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            Closing::Socket { family: *family, kind: kind & !FLAGS, protocol: *protocol }
        }
        Some(Said::Connect { address, .. }) => Closing::FastOpen(port_of(address)),
        Some(Said::Ioctl { .. }) => Closing::Typing,
        Some(Said::IoUring) => Closing::IoUring,
        _ => Closing::OldSocket,
    }
}

/// Whether something was to be moved or linked from one mount to another, which the kernel refuses before it asks anybody.
fn between_mounts(said: &Said, request: &Request) -> bool {
    let from = match said {
        Said::Link { .. } => request.path(),
        _ => request.path().and_then(Path::parent),
    };
    let to = request.other_path().and_then(Path::parent);
    let mounts = from.and_then(mount_of).zip(to.and_then(mount_of));
    mounts.is_some_and(|(from, to)| from != to)
}

/// The number of the mount that a path is on.
fn mount_of(path: &Path) -> Option<String> {
    let place = File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path).ok()?;
    super::field_of(format!("/proc/self/fdinfo/{}", place.as_raw_fd()), "mnt_id:")
}

/// Whether a folder on the way may be entered, for a path that leads nobody knows where.
fn way_there(thread: i32, said: &Said, request: &Request) -> Ordinary {
    let paths = match said {
        Said::Open { at, .. }
        | Said::Make { at, .. }
        | Said::Symlink(at)
        | Said::Remove { at, .. }
        | Said::Truncate(at)
        | Said::TruncateOpen(at)
        | Said::Execute { at, .. } => vec![(at.clone(), request.path())],
        Said::Rename { from, to, .. } | Said::Link { from, to, .. } => {
            vec![(from.clone(), request.path()), (to.clone(), request.other_path())]
        }
        Said::Bind { address, .. } | Said::Connect { address, .. } => {
            let path =
                unix_path(address).map(|path| At { dir: libc::AT_FDCWD, path: Ok(path), in_root: false });
            path.map(|at| (at, request.path())).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let unknown = paths.into_iter().filter(|(_, leads)| leads.is_none());
    let asked = unknown.filter_map(|(at, _)| {
        let named = named(thread, &at).ok()?;
        let whole = named.whole().ok()?;
        Some(ordinary::entered(&named.root.join(whole.strip_prefix("/").unwrap_or(&whole))))
    });
    asked.into_iter().find(|answer| *answer != Ordinary::Allow).unwrap_or(Ordinary::Allow)
}

/// An event of whoever this is.
fn made(thread: i32) -> Event {
    let process = process_of(thread);
    let name = std::fs::read(format!("/proc/{process}/comm")).unwrap_or_default();
    let name = OsString::from_vec(name.strip_suffix(b"\n").unwrap_or(&name).to_vec());
    let program = std::fs::read_link(format!("/proc/{process}/exe")).ok();
    Event {
        process,
        name,
        program,
        what: What::Trace,
        errno: 0,
        ordinary: Ordinary::Allow,
        landlock_first: true,
        executes: false,
        changed: false,
    }
}

/// Whether the kernel asks Landlock before it looks at ordinary permissions (fs/namei.c, fs/open.c, net/, kernel/signal.c):
/// for what is new, removed or moved, and for ports. Folders on the way are entered before all else.
fn landlock_first(said: &Said, what: &What) -> bool {
    let path = match what {
        What::Asked(requests) => requests[0].path(),
        _ => None,
    };
    match said {
        Said::Open { flags, .. } => {
            let missing = || path.is_some_and(|path| std::fs::symlink_metadata(path).is_err());
            *flags as i32 & libc::O_CREAT != 0 && missing()
        }
        Said::Truncate(_) | Said::Execute { .. } | Said::Signal { .. } => false,
        Said::Connect { .. } => path.is_none(),
        _ => true,
    }
}

/// A path as the program names it, and from where: its root, and the folder in which a relative one begins.
struct Named {
    path: PathBuf,
    root: PathBuf,
    dir: PathBuf,
    thread: i32,
}

impl Named {
    fn view(&self) -> View {
        View::new(&self.root, &self.dir).of_process(process_of(self.thread).unsigned_abs())
    }

    /// The path from the root on.
    fn whole(&self) -> Result<PathBuf, &'static str> {
        if self.path.is_absolute() {
            return Ok(self.path.clone());
        }
        let dir = self.dir.strip_prefix(&self.root).map_err(|_| "it begins outside of the program's root")?;
        Ok(Path::new("/").join(dir).join(&self.path))
    }
}

/// Where a thread sees a path.
fn named(thread: i32, at: &At) -> Result<Named, &'static str> {
    let path = match &at.path {
        Ok(path) => PathBuf::from(path),
        Err(Unread::Hidden) => return Err(HIDDEN),
        Err(Unread::Nothing) => return Err(GONE),
    };
    let link =
        |name: &str| std::fs::read_link(format!("/proc/{thread}/{name}")).map_err(|error| no_link(&error));
    let dir = match at.dir {
        // What it is relative to does not matter then.
        _ if path.is_absolute() && !at.in_root => PathBuf::from("/"),
        libc::AT_FDCWD => link("cwd")?,
        fd => link(&format!("fd/{fd}"))?,
    };
    if path.as_os_str().is_empty() {
        // The descriptor itself (AT_EMPTY_PATH), which has its place whatever the root is.
        let link = PathBuf::from(format!("/proc/{thread}/fd/{}", at.dir));
        if at.dir != libc::AT_FDCWD && !is_same(&link, &dir) {
            // It has been removed, or is a memfd: what is there now is another, or nothing.
            return Err(NO_NAME);
        }
        return Ok(Named { path: dir, root: PathBuf::from("/"), dir: PathBuf::from("/"), thread });
    }
    if at.in_root {
        return Ok(Named { path, root: dir.clone(), dir, thread });
    }
    Ok(Named { path, root: link("root")?, dir, thread })
}

fn is_same(link: &Path, path: &Path) -> bool {
    let inode = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (std::fs::metadata(link), std::fs::symlink_metadata(path)) {
        (Ok(link), Ok(path)) => inode(link) == inode(path),
        _ => false,
    }
}

pub fn no_link(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => HIDDEN,
        _ => GONE,
    }
}

/// The words for what cannot be resolved.
fn unknown(said: &Said, why: &'static str) -> What {
    let path = |at: &At| at.path.as_ref().map_or("a path".to_owned(), |p| palisade::printable(p).to_string());
    let what = match said {
        Said::Open { at, .. } => format!("open {}", path(at)),
        Said::Make { at, .. } | Said::Symlink(at) => format!("make {}", path(at)),
        Said::Remove { at, .. } => format!("delete {}", path(at)),
        Said::Rename { from, to, .. } => format!("rename {} to {}", path(from), path(to)),
        Said::Link { from, to, .. } => format!("link {} as {}", path(from), path(to)),
        Said::Truncate(at) => format!("truncate {}", path(at)),
        Said::TruncateOpen(_) => "truncate an open file".to_owned(),
        Said::Execute { at, .. } => format!("execute {}", path(at)),
        Said::Ioctl { command, .. } => format!("control a device (ioctl {command:#x})"),
        Said::Bind { .. } => "bind a socket".to_owned(),
        Said::Connect { .. } => "connect or send by a socket".to_owned(),
        Said::Signal { process, .. } => format!("signal process {process}"),
        _ => "make a socket".to_owned(),
    };
    What::Unknown { what, why }
}

pub fn what(thread: i32, said: &Said) -> What {
    let asked = |request: Result<Request, &'static str>| match request {
        Ok(request) => What::Asked(vec![request]),
        Err(why) => unknown(said, why),
    };
    let at = |at: &At, make: &dyn Fn(&Path) -> Request| {
        asked(named(thread, at).map(|named| {
            let request = make(&named.path).seen_from(&named.view());
            match (request.path(), named.whole()) {
                // Which folder a relative one begins in is to be said at least.
                (None, Ok(whole)) => make(&whole).seen_from(&named.view()),
                _ => request,
            }
        }))
    };
    match said {
        Said::Open { at: place, flags } => at(place, &|path| Request::open(path, opened(*flags))),
        Said::Make { at: place, mode, device } => {
            let kind = match *mode as u32 & libc::S_IFMT {
                libc::S_IFCHR if *device as u32 == 0 => FileKind::Whiteout,
                libc::S_IFDIR => FileKind::Dir,
                libc::S_IFIFO => FileKind::Fifo,
                libc::S_IFSOCK => FileKind::Socket,
                libc::S_IFCHR => FileKind::Char,
                libc::S_IFBLK => FileKind::Block,
                _ => FileKind::Regular,
            };
            at(place, &|path| Request::mknod(path, kind))
        }
        Said::Symlink(place) => at(place, &|path| Request::symlink(path)),
        Said::Remove { at: place, dir: true } => at(place, &|path| Request::rmdir(path)),
        Said::Remove { at: place, dir: false } => at(place, &|path| Request::unlink(path)),
        Said::Truncate(place) | Said::TruncateOpen(place) => at(place, &|path| Request::truncate(path)),
        Said::Rename { from, to, exchange } => asked(two(thread, from, to, &|from, to| match exchange {
            true => Request::exchange(from, to),
            false => Request::rename(from, to),
        })),
        Said::Link { from, to, follow: false } => {
            asked(two(thread, from, to, &|from, to| Request::link(from, to)))
        }
        Said::Link { from, to, follow: true } => asked(
            followed(thread, from)
                .and_then(|from| two(thread, &from, to, &|from, to| Request::link(from, to))),
        ),
        Said::Execute { at: place, .. } => match named(thread, place) {
            Err(why) => unknown(said, why),
            Ok(named) => What::Asked(executed(Request::exec(&named.path).seen_from(&named.view()))),
        },
        Said::Bind { fd, address } => asked(bound(thread, *fd, address)),
        Said::Connect { fd, address, .. } => asked(connected(thread, *fd, address)),
        Said::Ioctl { fd, .. } => {
            let path = std::fs::read_link(format!("/proc/{thread}/fd/{fd}"));
            match path {
                Ok(path) if path.is_absolute() => What::Asked(vec![Request::ioctl(path)]),
                Ok(_) => unknown(said, "it is no file"),
                Err(error) => unknown(said, no_link(&error)),
            }
        }
        Said::Signal { .. } => What::Asked(vec![Request::signal()]),
        Said::Mount(what) => What::Mount(what),
        Said::Trace => What::Trace,
        Said::Socket { .. } | Said::IoUring | Said::OldSocket => {
            unknown(said, "it is closed by something else")
        }
    }
}

/// A request with two paths that are looked up from one place each.
fn two(
    thread: i32,
    from: &At,
    to: &At,
    make: &dyn Fn(&Path, &Path) -> Request,
) -> Result<Request, &'static str> {
    let (from, to) = (named(thread, from)?, named(thread, to)?);
    Ok(make(&from.whole()?, &to.whole()?).seen_from(&from.view()))
}

/// Where a path leads if its last name is a link, in the program's own view: what /proc/self is depends on it.
fn followed(thread: i32, at: &At) -> Result<At, &'static str> {
    let named = named(thread, at)?;
    let real = Request::read(&named.path).seen_from(&named.view());
    let within = real.path().and_then(|path| path.strip_prefix(&named.root).ok()).ok_or(NOWHERE)?;
    let path = Path::new("/").join(within).into_os_string();
    Ok(At { dir: at.dir, in_root: false, path: Ok(path) })
}

/// The file that is to be executed.
pub fn executes(thread: i32, said: &Said) -> Result<Request, &'static str> {
    let Said::Execute { at, .. } = said else { return Err(NOWHERE) };
    let named = named(thread, at)?;
    Ok(Request::exec(&named.path).seen_from(&named.view()).resolved())
}

/// The file, and what else is executed and read for it to start.
fn executed(request: Request) -> Vec<Request> {
    let mut all = vec![request];
    let program = all[0].path().and_then(|path| Program::find(path).ok());
    if let Some(program) = program {
        let files = program.files().filter(|(path, _)| *path != program.path());
        all.extend(files.map(|(path, rights)| match rights.contains(palisade::Rights::EXECUTE) {
            true => Request::exec(path),
            false => Request::read(path),
        }));
    }
    all
}

/// The flags of open(2), on x86 and in openat2(2).
pub fn opened(flags: u64) -> Open {
    let has = |flag: i32| flags & flag as u64 == flag as u64;
    let mode = match flags as i32 & libc::O_ACCMODE {
        libc::O_RDONLY => Open::READ,
        libc::O_WRONLY => Open::WRITE,
        libc::O_RDWR => Open::READ | Open::WRITE,
        _ => Open::empty(),
    };
    let rest = [
        (libc::O_CREAT, Open::CREATE),
        (libc::O_EXCL, Open::EXCLUSIVE),
        (libc::O_TRUNC, Open::TRUNCATE),
        (libc::O_TMPFILE, Open::TEMPORARY),
        (libc::O_NOFOLLOW, Open::NO_FOLLOW),
        (libc::O_PATH, Open::PATH),
        (libc::O_DIRECTORY, Open::DIRECTORY),
    ];
    let how = rest.into_iter().filter(|(flag, _)| has(*flag)).fold(mode, |all, (_, how)| all | how);
    // O_TMPFILE has the bit of O_DIRECTORY in it.
    if how.contains(Open::TEMPORARY) { how - Open::DIRECTORY } else { how }
}

const NOWHERE: &str = "where the link leads cannot be known";
const NO_NAME: &str = "its file has no name any more";
const NO_SOCKET: &str = "its socket cannot be looked at";
const NO_ADDRESS: &str = "its address cannot be read";

/// What an address begins with (sa_family).
fn family(address: &[u8]) -> Option<i32> {
    Some(i32::from(u16::from_ne_bytes([*address.first()?, *address.get(1)?])))
}

pub fn port_of(address: &[u8]) -> Option<u16> {
    [libc::AF_INET, libc::AF_INET6].contains(&family(address)?).then_some(())?;
    Some(u16::from_be_bytes([*address.get(2)?, *address.get(3)?]))
}

/// What an address is of, as far as it matters.
pub enum Address<'a> {
    Port,
    /// The path of a UNIX socket.
    Path,
    Abstract(&'a [u8]),
    /// Of another family, or there is none.
    None,
}

pub fn address_of(address: &[u8]) -> Address<'_> {
    match family(address) {
        Some(libc::AF_INET | libc::AF_INET6) => Address::Port,
        Some(libc::AF_UNIX) => match &address[2..] {
            // The kernel chooses a name.
            [] => Address::None,
            [0, name @ ..] => Address::Abstract(name),
            _ => Address::Path,
        },
        _ => Address::None,
    }
}

/// The address of a UNIX socket: its path, or nothing if it is abstract.
fn unix_path(address: &[u8]) -> Option<OsString> {
    let name = address.get(2..).filter(|name| name.first().is_some_and(|byte| *byte != 0))?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Some(OsString::from_vec(name[..end].to_vec()))
}

fn kind_of(thread: i32, fd: i32) -> Result<(OwnedFd, i32), &'static str> {
    let socket = sys::descriptor_of(thread, fd).map_err(|_| NO_SOCKET)?;
    let kind = sys::socket_option(&socket, libc::SO_TYPE).map_err(|_| NO_SOCKET)?;
    Ok((socket, kind))
}

fn bound(thread: i32, fd: i32, address: &[u8]) -> Result<Request, &'static str> {
    if let Some(port) = port_of(address) {
        let (_, kind) = kind_of(thread, fd)?;
        let udp = kind == libc::SOCK_DGRAM;
        return Ok(if udp { Request::bind_udp(port) } else { Request::bind_tcp(port) });
    }
    let path = unix_path(address).ok_or(NO_ADDRESS)?;
    let named = named(thread, &At { dir: libc::AT_FDCWD, in_root: false, path: Ok(path) })?;
    Ok(Request::mknod(&named.path, FileKind::Socket).seen_from(&named.view()))
}

fn connected(thread: i32, fd: i32, address: &[u8]) -> Result<Request, &'static str> {
    if let Some(port) = port_of(address) {
        let (socket, kind) = kind_of(thread, fd)?;
        if kind != libc::SOCK_DGRAM {
            return Ok(Request::connect_tcp(port));
        }
        let bound = sys::socket_name(&socket).ok().and_then(|name| port_of(&name));
        return Ok(Request::connect_udp(port, bound.is_some_and(|port| port != 0)));
    }
    if family(address) != Some(libc::AF_UNIX) {
        return Err(NO_ADDRESS);
    }
    match unix_path(address) {
        None => Ok(Request::connect_abstract()),
        Some(path) => {
            let named = named(thread, &At { dir: libc::AT_FDCWD, in_root: false, path: Ok(path) })?;
            Ok(Request::connect_unix(&named.path).seen_from(&named.view()))
        }
    }
}
