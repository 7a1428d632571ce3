//! Where a path leads, for this process or for another: what is at it, and every folder above, up to the root. Looked at
//! by name, without opening anything; what cannot be known so is said.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::printable;
use crate::sys;

/// What a rule is tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub device: (u32, u32),
    pub number: u64,
}

/// Something that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub inode: Inode,
    pub mount: u64,
    pub kind: FileKind,
    /// How many names it has.
    pub names: u32,
}

/// File systems in which an inode does not tell all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Proc,
    Overlay,
    Other,
}

/// The kinds of files, as a new one can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A whiteout of an overlay: the character device 0:0.
    Whiteout,
}

/// From where a process sees files: its root, the folder where its relative paths begin, and which process it is. What
/// it asks for is looked up from there by [`Request::seen_from`](crate::Request::seen_from).
///
/// ```
/// use palisade::{Request, View};
/// let jailed = View::new("/usr", "/usr/bin");
/// # if cfg!(target_os = "linux") {
/// let request = Request::read("../../../lib/none").seen_from(&jailed);
/// assert_eq!(request.path(), Some("/usr/lib/none".as_ref()));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    root: PathBuf,
    dir: PathBuf,
    process: Option<u32>,
}

impl View {
    /// A process with this root, whose relative paths begin in `dir`. Both are whole paths without links, as this process
    /// sees them: what links in /proc/PID say, or of `dir` that of a descriptor, for openat(2). `root` is `/` unless the
    /// process is in a chroot; its mounts have to be those of this process. They are looked at with each request, and
    /// "cannot say" is the answer where either is no folder any more.
    pub fn new(root: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> View {
        View { root: root.into(), dir: dir.into(), process: None }
    }

    /// It is this process, by the number that this process knows it by: /proc/self leads to it, and /proc/thread-self to
    /// its main thread. Links that /proc has of processes (`exe`, `cwd`, `fd/0`) then lead to the file, if it has a path;
    /// without it, where they lead cannot be said.
    ///
    /// ```
    /// use palisade::{Request, View};
    /// # if cfg!(target_os = "linux") {
    /// let view = View::new("/", "/usr").of_process(std::process::id());
    /// let request = Request::read("/proc/self/exe").seen_from(&view);
    /// assert_eq!(request.path(), std::env::current_exe().ok().as_deref());
    /// # }
    /// ```
    pub fn of_process(self, process: u32) -> View {
        View { process: Some(process), ..self }
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Without links and dots, from the root.
    path: PathBuf,
    /// What is there of it, the root first.
    nodes: Vec<Node>,
    /// How many names at its end are not there.
    missing: usize,
    /// Why it may be refused although rules allow it.
    unsure: Option<Unsure>,
}

/// Why rules that allow something may not be all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsure {
    /// It is in a process's folder in /proc.
    Process,
    /// It is reached through what /proc has of another process.
    Through,
    /// It is a file with several names on an overlay, where a rule is on one of them.
    Names,
}

/// The inode in which each proc file system begins.
const PROC_ROOT: u64 = 1;

/// As many symbolic links the kernel follows in one path.
const MAX_LINKS: usize = 40;

impl Place {
    /// Looks where `path` leads now, for this process, or for one that sees it from elsewhere; whether a link as its last
    /// name is followed depends on what is to be done there.
    pub fn find(path: &Path, follow: bool, view: Option<&View>) -> Result<Place, String> {
        if path.as_os_str().is_empty() {
            return Err("the path is empty".to_owned());
        }
        let mut to_do: Vec<OsString> = names(path);
        if path.is_relative() && view.is_none() {
            to_do.extend(names(&current_dir()?));
        }
        let root = match view {
            None => Place::at(Path::new("/"))?,
            Some(view) => Place::folder_at(&view.root, "the process's root")?,
        };
        let place = match view {
            Some(view) if path.is_relative() => Place::folder_at(&view.dir, "the process's folder")?,
            _ => root.clone(),
        };
        let process = view.and_then(|view| view.process);
        let mut walk = Walk { place, to_do, follow, links: 0, root, process, through_other: false };
        while let Some(name) = walk.to_do.pop() {
            walk.step(name)?;
        }
        let mut place = walk.place;
        let ends_in_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if ends_in_folder && place.kind().is_some_and(|kind| kind != FileKind::Dir) {
            return Err(is_no_folder(&place.path));
        }
        place.unsure = if walk.through_other { Some(Unsure::Through) } else { place.why_unsure() };
        Ok(place)
    }

    /// What is at a path that is said to be whole and without links, whatever the view; nothing else will do.
    fn at(path: &Path) -> Result<Place, String> {
        let mut place = Place { path: PathBuf::new(), nodes: Vec::new(), missing: 0, unsure: None };
        let whole = |name| matches!(name, Component::RootDir | Component::Normal(_));
        if !path.has_root() || !path.components().all(whole) {
            return Err(format!("{} is no whole path", printable(path)));
        }
        for name in path.components() {
            if place.nodes.last().is_some_and(|node| node.kind == FileKind::Symlink) {
                return Err(is_link(&place.path));
            }
            place.path.push(name);
            place.nodes.push(sys::look(&place.path).map_err(|errno| match errno {
                _ if is_not_found(errno) => format!("{} does not exist", printable(&place.path)),
                _ => unseen(&place.path, errno),
            })?);
        }
        Ok(place)
    }

    /// The same for what a process has as its root or its current folder.
    fn folder_at(path: &Path, what: &str) -> Result<Place, String> {
        let folder = |place: Place| match place.kind() {
            Some(FileKind::Dir) => Ok(place),
            Some(FileKind::Symlink) => Err(is_link(path)),
            _ => Err(is_no_folder(path)),
        };
        let not_there = |why| format!("{what} is not where it was said to be: {why}");
        Place::at(path).and_then(folder).map_err(not_there)
    }

    fn why_unsure(&self) -> Option<Unsure> {
        let folder = self.path.parent().filter(|_| self.missing == 0)?;
        match sys::file_system_of(folder) {
            FileSystem::Proc => {
                let of_process = self.path.components().any(|name| is_number(name.as_os_str()));
                of_process.then_some(Unsure::Process)
            }
            FileSystem::Overlay if self.node().kind != FileKind::Dir && self.node().names > 1 => {
                Some(Unsure::Names)
            }
            _ => None,
        }
    }

    /// Why it may be refused although rules allow it.
    pub fn unsure(&self) -> Option<Unsure> {
        self.unsure
    }

    /// What it is; `None` if there is nothing.
    pub fn kind(&self) -> Option<FileKind> {
        (self.missing == 0).then(|| self.node().kind)
    }

    /// It, or the nearest folder above that there is.
    pub fn node(&self) -> Node {
        // There is always the root.
        self.nodes[self.nodes.len() - 1]
    }

    /// What is there from the root down to it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What is there from the root down to its folder.
    pub fn folder(&self) -> &[Node] {
        let exists = usize::from(self.missing == 0 && self.nodes.len() > 1);
        &self.nodes[..self.nodes.len() - exists]
    }

    /// Whether something is mounted on it.
    pub fn is_mount_point(&self) -> bool {
        let folder = self.folder().last().map(|node| node.mount);
        self.missing == 0 && folder != Some(self.node().mount)
    }

    /// The path, without links and dots.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many names at its end are not there.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// The path of one of its nodes, by their number from the root.
    pub fn path_of(&self, node: usize) -> PathBuf {
        self.path.components().take(node + 1).collect()
    }
}

/// On the way to a place.
struct Walk {
    place: Place,
    /// The names to come, the next one last.
    to_do: Vec<OsString>,
    /// Whether a link as the last name is followed.
    follow: bool,
    links: usize,
    /// Where absolute paths begin, and from where `..` does not lead up.
    root: Place,
    /// Which process it is, if that is known.
    process: Option<u32>,
    /// Whether it came through a link of another process's.
    through_other: bool,
}

impl Walk {
    fn step(&mut self, name: OsString) -> Result<(), String> {
        let place = &mut self.place;
        if place.missing > 0 {
            if name == ".." {
                return Err(format!(
                    "{} does not exist, and so nothing is beside it",
                    printable(&place.path)
                ));
            }
            place.path.push(name);
            place.missing += 1;
            return Ok(());
        }
        if place.kind() != Some(FileKind::Dir) {
            return Err(is_no_folder(&place.path));
        }
        if name == ".." {
            // Who is outside of its root passes it by, and gets to the real one.
            if place.nodes.len() > 1 && place.path != self.root.path {
                place.nodes.pop();
                place.path.pop();
            }
            return Ok(());
        }
        let path = place.path.join(&name);
        let node = match sys::look(&path) {
            Ok(node) => node,
            Err(errno) if is_not_found(errno) => {
                place.path = path;
                place.missing = 1;
                return Ok(());
            }
            Err(errno) => return Err(unseen(&path, errno)),
        };
        if node.kind == FileKind::Symlink && (self.follow || !self.to_do.is_empty()) {
            self.links += 1;
            if self.links > MAX_LINKS {
                return Err(format!("{}: too many symbolic links", printable(&path)));
            }
            let target = match sys::file_system_of(&place.path) {
                FileSystem::Proc => self.link_of_proc(&path, &name)?,
                _ => Some(read_link(&path)?),
            };
            let Some(target) = target else { return Ok(()) };
            if target.has_root() {
                self.place = self.root.clone();
            }
            self.to_do.extend(names(&target));
            return Ok(());
        }
        place.nodes.push(node);
        place.path = path;
        Ok(())
    }

    /// What a link in /proc says; `None` if it has led to a place at once, as those to a process's files do.
    fn link_of_proc(&mut self, path: &Path, name: &OsStr) -> Result<Option<PathBuf>, String> {
        let folder = &self.place;
        let device = folder.node().inode.device;
        // Where the file system begins. Where a part of it is mounted, whose that is cannot be seen.
        let top = folder.nodes.iter().position(|node| node.inode == Inode { device, number: PROC_ROOT });
        let (Some(process), Some(top)) = (self.process, top) else {
            return Err(format!("{} leads elsewhere for each process", printable(path)));
        };
        let (top, below) = (folder.path_of(top), folder.path.components().nth(top + 1));
        if below.is_some_and(|below| is_number(below.as_os_str())) {
            let of_it = top.join(process.to_string());
            self.through_other |= !folder.path.starts_with(of_it) || !has_our_numbers(&top);
            self.place = led(path)?;
            return Ok(None);
        }
        let own = match name.to_str().filter(|_| below.is_none()) {
            Some("self") => process.to_string(),
            Some("thread-self") => format!("{process}/task/{process}"),
            // As any link: mounts, net.
            _ => return read_link(path).map(Some),
        };
        if !has_our_numbers(&top) {
            return Err(format!("processes have other numbers in {}", printable(&top)));
        }
        if sys::look(&top.join(process.to_string())).is_err() {
            return Err(format!("{}: process {process} has ended", printable(path)));
        }
        Ok(Some(PathBuf::from(own)))
    }
}

/// Where a link leads that /proc has of a process's files. The kernel knows without its text, which is for who reads it,
/// and need not be a path.
fn led(link: &Path) -> Result<Place, String> {
    let text = read_link(link)?;
    let same = |there: &Place| {
        let node = there.node();
        sys::look_through(link).is_ok_and(|led| (led.inode, led.mount) == (node.inode, node.mount))
    };
    let place = Place::at(&text).ok().filter(same);
    place.ok_or_else(|| format!("{} leads to {}, which is no path to it", printable(link), printable(&text)))
}

/// Whether a name in /proc is that of a process.
fn is_number(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether a proc file system has the numbers of processes that this process knows them by.
fn has_our_numbers(proc: &Path) -> bool {
    let this = std::process::id().to_string();
    std::fs::read_link(proc.join("self")).is_ok_and(|link| link.as_os_str() == &*this)
}

/// The names of a path, the last first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// That of this process.
fn current_dir() -> Result<PathBuf, String> {
    let dir =
        std::env::current_dir().map_err(|error| format!("the current folder cannot be found: {error}"))?;
    if !dir.has_root() {
        return Err("the current folder cannot be reached from the root".to_owned());
    }
    if sys::look(&dir) != sys::look(Path::new(".")) {
        return Err(format!("the current folder is not what is at {} now", printable(&dir)));
    }
    Ok(dir)
}

fn read_link(path: &Path) -> Result<PathBuf, String> {
    std::fs::read_link(path).map_err(|error| format!("{} cannot be read: {error}", printable(path)))
}

fn is_not_found(errno: i32) -> bool {
    io::Error::from_raw_os_error(errno).kind() == io::ErrorKind::NotFound
}

fn is_no_folder(path: &Path) -> String {
    format!("{} is no folder", printable(path))
}

fn is_link(path: &Path) -> String {
    format!("{} is a symbolic link", printable(path))
}

fn unseen(path: &Path, errno: i32) -> String {
    let why = match errno {
        0 => "only on Linux can be seen what is there".to_owned(),
        libc::EACCES => "permission denied; ask as somebody who may".to_owned(),
        _ => io::Error::from_raw_os_error(errno).to_string(),
    };
    format!("{} cannot be looked at: {why}", printable(path))
}
