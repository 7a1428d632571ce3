//! What a program uses: calls that succeeded, as a policy is learned from them. What a call opened is read of the
//! descriptor that it got; what it changes is looked up before it is done, for afterwards it may be gone.

use std::collections::{HashMap, HashSet};
use std::fs::{FileType, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use palisade::{Open, Request};

use super::Call;
use super::event::{self, Closing, Event, What};
use super::said::Said;
use crate::sys::watch as sys;

/// A call that succeeded.
#[derive(Clone, Debug)]
pub struct Used {
    /// The file that it executes.
    pub program: Rc<Path>,
    pub what: Use,
    /// What was made by it, or was moved: two files in an exchange.
    pub made: Vec<Inode>,
}

/// A device and a number on it.
pub type Inode = (u64, u64);

/// What it used.
#[derive(Clone, Debug)]
pub enum Use {
    /// A file that was there was opened: where the kernel found it.
    Opened {
        path: PathBuf,
        how: Open,
        /// The program has made it itself, or moved it there.
        new: bool,
    },
    /// A program, or what is executed with it.
    Executed { request: Request, new: bool },
    /// All of this.
    Asked(Vec<Request>),
    /// A file was opened to be written, which would have been made if it had not been there before.
    Kept(Request),
    /// This of a file that is open. Whether it may be done was decided when that was opened.
    OnOpen(Request),
    /// Descriptor 0, 1 or 2 by its name, as /dev/stdout.
    Stdio,
    /// What the filter of `palisade run` closes, or closes where nothing is granted that it is for.
    Closed(Closing),
    /// An abstract name of its own, for which Landlock takes no right.
    OwnName,
    /// A pair of UNIX sockets that could send to others.
    Pair,
    /// This, which failed, but not for want of a permission, nor because there was nothing. Landlock would be asked first.
    Tried(String),
    /// What no program may that is confined.
    Mount(&'static str),
    /// The rights of a program's owner or group, which it was executed without.
    SetId(PathBuf),
    /// What cannot be said exactly, and why.
    Unknown { what: String, why: &'static str },
}

/// What is known of a call when it begins.
pub enum Before {
    /// It opens what is there, with these flags.
    Open(u64),
    /// It is about a descriptor.
    Descriptor(i32, OnOpen),
    /// It takes a name of an abstract socket.
    Name(Vec<u8>),
    Use(Box<Wanted>),
}

/// What is done with a file that is open.
#[derive(Clone, Copy)]
pub enum OnOpen {
    Control,
    Truncate,
}

impl OnOpen {
    fn request(self, path: &Path) -> Request {
        match self {
            OnOpen::Control => Request::ioctl(path),
            OnOpen::Truncate => Request::truncate(path),
        }
    }

    /// Whether it is restricted on a file of this kind.
    fn counts(self, kind: FileType) -> bool {
        match self {
            OnOpen::Control => kind.is_char_device() || kind.is_block_device(),
            OnOpen::Truncate => kind.is_file(),
        }
    }
}

/// What it uses if it succeeds, and makes.
pub struct Wanted {
    what: Use,
    makes: Makes,
}

/// What is made by a call.
pub enum Makes {
    Nothing,
    /// What the descriptor that it returns is open on, if that is here, or has no name.
    Opened(PathBuf),
    /// What is there then, each if it is not what was there before.
    At(Vec<(PathBuf, Option<Inode>)>),
}

/// What has to be remembered from call to call.
pub struct Uses {
    /// What descriptors 0, 1 and 2 are open on, which the program has too.
    stdio: Vec<PathBuf>,
    /// The program of each thread.
    known: HashMap<i32, Rc<Path>>,
    /// Programs of which the files that the kernel opens to start them have been told.
    started: HashSet<PathBuf>,
    /// Names of abstract sockets that the program has itself.
    own_names: HashSet<Vec<u8>>,
    /// What was made or moved.
    made: HashSet<Inode>,
    /// Where folders were made or moved to: what is in them was not there either.
    folders: HashSet<PathBuf>,
}

const O_CREAT: u64 = libc::O_CREAT as u64;
const O_PATH: u64 = libc::O_PATH as u64;
const O_TMPFILE: u64 = libc::O_TMPFILE as u64;
/// A call that a signal has ended, and that begins once more (linux/errno.h).
const ERESTARTSYS: i64 = 512;

/// How a call fails that comes to nothing wherever it is made: before Landlock is asked, or for want of a permission.
const FOUND_NOTHING: [i32; 10] = [
    libc::ENOENT,
    libc::ENOTDIR,
    libc::ELOOP,
    libc::ENAMETOOLONG,
    libc::EACCES,
    libc::EPERM,
    libc::EEXIST,
    libc::EFAULT,
    libc::EBADF,
    libc::EINTR,
];

impl Uses {
    pub fn new() -> Uses {
        let stdio = (0..=2).filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
        Uses {
            stdio: stdio.collect(),
            known: HashMap::new(),
            started: HashSet::new(),
            own_names: HashSet::new(),
            made: HashSet::new(),
            folders: HashSet::new(),
        }
    }

    /// A call begins. `None` if it needs nothing.
    pub fn begun<T>(
        &mut self,
        thread: i32,
        call: Call,
        arguments: [u64; 6],
        closed: bool,
        threads: &HashMap<i32, T>,
        said: impl FnOnce() -> Said,
    ) -> Option<Before> {
        if !closed {
            match call {
                Call::Open if arguments[1] & O_CREAT == 0 => return open(arguments[1]),
                Call::OpenAt if arguments[2] & (O_CREAT | O_TMPFILE) == 0 => return open(arguments[2]),
                Call::Ioctl => return Some(Before::Descriptor(arguments[0] as i32, OnOpen::Control)),
                Call::Ftruncate | Call::Ftruncate64 => {
                    return Some(Before::Descriptor(arguments[0] as i32, OnOpen::Truncate));
                }
                _ => {}
            }
        }
        let said = said();
        if closed {
            let what =
                if call == Call::SocketPair { Use::Pair } else { Use::Closed(event::closing(Some(&said))) };
            return uses(what);
        }
        match &said {
            Said::Open { flags, .. } if flags & O_CREAT == 0 && flags & O_TMPFILE != O_TMPFILE => {
                open(*flags)
            }
            Said::Open { flags, .. } => {
                let what = what(thread, &said);
                let path = path_of(&what, 0).unwrap_or(Path::new("")).to_owned();
                let there = path.symlink_metadata().ok().filter(|_| flags & O_TMPFILE != O_TMPFILE);
                let Some(meta) = there else { return Some(wanted(what, Makes::Opened(path))) };
                let writes = *flags as i32 & libc::O_ACCMODE != libc::O_RDONLY;
                let is_kept = writes && meta.is_file() && !self.made.contains(&(meta.dev(), meta.ino()));
                uses(match what {
                    Use::Asked(mut all) if is_kept && all.len() == 1 => Use::Kept(all.remove(0)),
                    what => what,
                })
            }
            Said::Execute { .. } => uses(match event::executes(thread, &said) {
                Ok(request) => self.executes(request),
                Err(why) => Use::Unknown { what: "execute a program".to_owned(), why },
            }),
            Said::Connect { address, .. } => match event::address_of(address) {
                event::Address::None => None,
                event::Address::Abstract(name) if self.own_names.contains(name) => None,
                _ => uses(what(thread, &said)),
            },
            Said::Bind { address, .. } => match event::address_of(address) {
                event::Address::None => None,
                event::Address::Abstract(name) => Some(Before::Name(name.to_owned())),
                event::Address::Port => uses(what(thread, &said)),
                event::Address::Path => Some(binds(what(thread, &said))),
            },
            Said::Signal { process, .. } => {
                let inside = match *process {
                    0 | -1 => true,
                    group @ ..0 => threads.keys().any(|of| sys::group_of(*of) == (-group) as i32),
                    thread => threads.contains_key(&(thread as i32)),
                };
                if inside { None } else { uses(Use::Asked(vec![Request::signal()])) }
            }
            Said::Link { to, follow: true, .. } => Some(match what(thread, &said) {
                // A file without a name (O_TMPFILE) gets one.
                Use::Unknown { .. } => {
                    makes(what(thread, &Said::Make { at: to.clone(), mode: libc::S_IFREG.into(), device: 0 }))
                }
                what => makes(what),
            }),
            Said::Make { .. } | Said::Symlink(_) | Said::Rename { .. } | Said::Link { .. } => {
                Some(makes(what(thread, &said)))
            }
            Said::Remove { .. } | Said::Truncate(_) | Said::Mount(_) => uses(what(thread, &said)),
            // The rest is closed, or was read above.
            _ => None,
        }
    }

    /// A call has returned this. `None` if it failed.
    pub fn done(
        &mut self,
        thread: i32,
        before: Before,
        returned: i64,
        said: impl FnOnce() -> Said,
    ) -> Option<Used> {
        let under_way = [libc::EINPROGRESS.into(), libc::EINTR.into(), ERESTARTSYS];
        let connects = |all: &[Request]| all.iter().all(|request| request.to_string().starts_with("connect"));
        let connects = match &before {
            Before::Use(wanted) => matches!(&wanted.what, Use::Asked(all) if connects(all)),
            _ => false,
        };
        let link = |fd: i32| format!("/proc/{thread}/fd/{fd}");
        if returned < 0 && !(connects && under_way.contains(&-returned)) {
            if FOUND_NOTHING.contains(&((-returned) as i32)) {
                return None;
            }
            let what = match before {
                Before::Open(_) => what(thread, &said()),
                Before::Descriptor(fd, on_open) => {
                    Use::Asked(vec![on_open.request(&std::fs::read_link(link(fd)).ok()?)])
                }
                Before::Name(_) => return None,
                Before::Use(wanted) => wanted.what,
            };
            let tried = match what {
                Use::Asked(all) => all.first()?.to_string(),
                Use::Kept(request) | Use::Executed { request, .. } => request.to_string(),
                _ => return None,
            };
            return Some(Used { program: self.who(thread), what: Use::Tried(tried), made: Vec::new() });
        }
        let (what, made) = match before {
            Before::Open(flags) => (self.opened(&link(returned as i32), flags, said)?, Vec::new()),
            Before::Descriptor(fd, on_open) => {
                let path = std::fs::read_link(link(fd)).ok().filter(|path| path.is_absolute())?;
                let kind = std::fs::metadata(link(fd)).ok()?.file_type();
                (on_open.counts(kind).then(|| Use::OnOpen(on_open.request(&path)))?, Vec::new())
            }
            Before::Name(name) => {
                self.own_names.insert(name);
                (Use::OwnName, Vec::new())
            }
            Before::Use(wanted) => {
                let Wanted { what, makes } = *wanted;
                let made: Vec<Inode> = match makes {
                    Makes::Nothing => Vec::new(),
                    Makes::Opened(path) => made_open(&link(returned as i32), &path).into_iter().collect(),
                    Makes::At(paths) => {
                        let changed = |(path, before): (PathBuf, Option<Inode>)| {
                            let meta = path.symlink_metadata().ok()?;
                            let inode = (meta.dev(), meta.ino());
                            (Some(inode) != before).then(|| {
                                self.folders.extend(meta.is_dir().then_some(path));
                                inode
                            })
                        };
                        paths.into_iter().filter_map(changed).collect()
                    }
                };
                self.made.extend(&made);
                (what, made)
            }
        };
        Some(Used { program: self.who(thread), what, made })
    }

    /// What was there has been opened.
    fn opened(&self, link: &str, flags: u64, said: impl FnOnce() -> Said) -> Option<Use> {
        let path = match std::fs::read_link(link) {
            Ok(path) if path.is_absolute() => path,
            Err(error) if event::no_link(&error) == event::HIDDEN => {
                return Some(Use::Unknown { what: "open a file".to_owned(), why: event::HIDDEN });
            }
            _ => return None,
        };
        if self.stdio.contains(&path) && is_by_descriptor(&said()) {
            return Some(Use::Stdio);
        }
        let meta = std::fs::metadata(link).ok()?;
        if is_nameless(&path, &meta) {
            return None;
        }
        let how = event::opened(flags);
        let new = self.is_new(&path, &meta);
        Some(Use::Opened { path, how, new })
    }

    /// Whether the program has made a file itself, or moved it there.
    fn is_new(&self, path: &Path, meta: &Metadata) -> bool {
        let in_new = || path.ancestors().any(|folder| self.folders.contains(folder));
        self.made.contains(&(meta.dev(), meta.ino())) || !self.folders.is_empty() && in_new()
    }

    fn executes(&self, request: Request) -> Use {
        let is_new = |path: &Path| path.metadata().is_ok_and(|meta| self.is_new(path, &meta));
        let new = request.path().is_some_and(is_new);
        Use::Executed { request, new }
    }

    /// A program is executed: what that took, and what the kernel has opened besides to start it.
    pub fn executed(&mut self, thread: i32, before: Option<Before>, gains: Option<Event>) -> Vec<Used> {
        let caller = self.who(thread);
        self.known.remove(&thread);
        let mut all = Vec::new();
        if let Some(Before::Use(wanted)) = before {
            all.push(wanted.what);
        }
        if let Some(Event { what: What::SetId(path), .. }) = gains {
            all.push(Use::SetId(path));
        }
        let program = self.who(thread);
        if self.started.insert(program.to_path_buf()) {
            let maps = std::fs::read_to_string(format!("/proc/{thread}/maps")).unwrap_or_default();
            let files: HashSet<&str> =
                maps.lines().filter_map(|line| Some(&line[line.find('/')?..])).collect();
            // What is not there by this name has another, or none any more, and was executed by a descriptor.
            let mut files: Vec<&str> = files.into_iter().filter(|file| Path::new(file).exists()).collect();
            files.sort_unstable();
            all.extend(files.into_iter().map(|file| self.executes(Request::exec(file))));
        }
        all.into_iter().map(|what| Used { program: caller.clone(), what, made: Vec::new() }).collect()
    }

    /// A thread begins, perhaps with the number of one that has ended.
    pub fn begins(&mut self, thread: i32) {
        self.known.remove(&thread);
    }

    /// The program of a thread.
    fn who(&mut self, thread: i32) -> Rc<Path> {
        let program = || std::fs::read_link(format!("/proc/{thread}/exe")).unwrap_or_default().into();
        self.known.entry(thread).or_insert_with(program).clone()
    }
}

fn open(flags: u64) -> Option<Before> {
    // Landlock refuses nobody a place alone.
    (flags & O_PATH == 0).then_some(Before::Open(flags))
}

fn uses(what: Use) -> Option<Before> {
    Some(wanted(what, Makes::Nothing))
}

fn wanted(what: Use, makes: Makes) -> Before {
    Before::Use(Box::new(Wanted { what, makes }))
}

/// What is made, or moved: what is at its paths then, and was not before.
fn makes(what: Use) -> Before {
    let paths = [path_of(&what, 1), path_of(&what, 0)].into_iter().flatten();
    let paths = paths.map(|path| (path.to_owned(), inode_of(path.symlink_metadata()))).collect();
    wanted(what, Makes::At(paths))
}

/// What was opened, if it is what was to be made: by then the path may be another, by which it was not there.
fn made_open(link: &str, path: &Path) -> Option<Inode> {
    let meta = std::fs::metadata(link).ok()?;
    let is_it = meta.nlink() == 0 || std::fs::read_link(link).is_ok_and(|opened| opened == path);
    inode_of(Ok(meta)).filter(|_| is_it)
}

/// Whether a file never had a name, as of memory (memfd_create(2)): the kernel says one that is at the root, where it is not.
/// Landlock lets everybody open it.
fn is_nameless(path: &Path, meta: &Metadata) -> bool {
    meta.nlink() == 0 && path.parent() == Some(Path::new("/"))
}

/// To bind a socket makes it; what is to connect to it is most often the program itself, of which nothing is asked
/// since Linux 7.1, but no UNIX socket can be made before where none is granted.
fn binds(what: Use) -> Before {
    match what {
        Use::Asked(mut all) => {
            let path = all.first().and_then(Request::path).map(Path::to_owned);
            all.extend(path.map(Request::connect_unix));
            makes(Use::Asked(all))
        }
        what => makes(what),
    }
}

fn what(thread: i32, said: &Said) -> Use {
    match event::what(thread, said) {
        What::Asked(all) => Use::Asked(all.into_iter().map(Request::resolved).collect()),
        What::Mount(what) => Use::Mount(what),
        What::Unknown { what, why } => Use::Unknown { what, why },
        What::Closed(closing) => Use::Closed(closing),
        What::SetId(path) => Use::SetId(path),
        What::Trace => Use::Unknown { what: "trace a process".to_owned(), why: "it is watched" },
    }
}

/// Where a path of what is asked for leads.
fn path_of(what: &Use, number: usize) -> Option<&Path> {
    let Use::Asked(all) = what else { return None };
    let request = all.first()?;
    if number == 0 { request.path() } else { request.other_path() }
}

fn inode_of(meta: std::io::Result<Metadata>) -> Option<Inode> {
    meta.ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Whether a file was opened as what a descriptor is open on.
fn is_by_descriptor(said: &Said) -> bool {
    const NAMES: [&str; 5] = ["/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"];
    let Said::Open { at, .. } = said else { return false };
    at.path.as_ref().is_ok_and(|path| NAMES.iter().any(|name| Path::new(path).starts_with(name)))
}
