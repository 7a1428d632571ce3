//! Where a path leads: what is at it, and every folder above, up to the root. Looked at by name, without opening
//! anything; what cannot be known so is said.

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
    /// It is a file with several names on an overlay, where a rule is on one of them.
    Names,
}

/// As many symbolic links the kernel follows in one path.
const MAX_LINKS: usize = 40;

impl Place {
    /// Looks where `path` leads now, from the current folder; whether a link as its last name is followed depends on
    /// what is to be done there.
    pub fn find(path: &Path, follow: bool) -> Result<Place, String> {
        if path.as_os_str().is_empty() {
            return Err("the path is empty".to_owned());
        }
        let mut to_do: Vec<OsString> = names(path);
        if path.is_relative() {
            let dir = std::env::current_dir().map_err(|error| no_current_dir(&error))?;
            if !dir.has_root() {
                return Err("the current folder cannot be reached from the root".to_owned());
            }
            if sys::look(&dir) != sys::look(Path::new(".")) {
                return Err(format!("the current folder is not what is at {} now", printable(&dir)));
            }
            to_do.extend(names(&dir));
        }
        let mut place = Place { path: PathBuf::from("/"), nodes: Vec::new(), missing: 0, unsure: None };
        place.nodes.push(sys::look(&place.path).map_err(|errno| unseen(&place.path, errno))?);
        let mut links = 0;
        while let Some(name) = to_do.pop() {
            place.step(name, &mut to_do, follow, &mut links)?;
        }
        let ends_in_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if ends_in_folder && place.kind().is_some_and(|kind| kind != FileKind::Dir) {
            return Err(format!("{} is no folder", printable(&place.path)));
        }
        place.unsure = place.why_unsure();
        Ok(place)
    }

    fn why_unsure(&self) -> Option<Unsure> {
        let folder = self.path.parent().filter(|_| self.missing == 0)?;
        match sys::file_system_of(folder) {
            FileSystem::Proc => {
                let number = |name: &OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
                let of_process = self.path.components().any(|c| number(c.as_os_str()));
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

    fn step(
        &mut self,
        name: OsString,
        to_do: &mut Vec<OsString>,
        follow: bool,
        links: &mut usize,
    ) -> Result<(), String> {
        if self.missing > 0 {
            if name == ".." {
                return Err(format!("{} does not exist, and so nothing is beside it", printable(&self.path)));
            }
            self.path.push(name);
            self.missing += 1;
            return Ok(());
        }
        if self.kind() != Some(FileKind::Dir) {
            return Err(format!("{} is no folder", printable(&self.path)));
        }
        if name == ".." {
            if self.nodes.len() > 1 {
                self.nodes.pop();
                self.path.pop();
            }
            return Ok(());
        }
        let path = self.path.join(&name);
        let node = match sys::look(&path) {
            Ok(node) => node,
            Err(errno) if io::Error::from_raw_os_error(errno).kind() == io::ErrorKind::NotFound => {
                self.path = path;
                self.missing = 1;
                return Ok(());
            }
            Err(errno) => return Err(unseen(&path, errno)),
        };
        if node.kind == FileKind::Symlink && (follow || !to_do.is_empty()) {
            *links += 1;
            if *links > MAX_LINKS {
                return Err(format!("{}: too many symbolic links", printable(&path)));
            }
            if sys::file_system_of(&self.path) == FileSystem::Proc {
                return Err(format!("{} leads elsewhere for each process", printable(&path)));
            }
            let target = std::fs::read_link(&path)
                .map_err(|error| format!("{} cannot be read: {error}", printable(&path)))?;
            if target.has_root() {
                self.nodes.truncate(1);
                self.path = PathBuf::from("/");
            }
            to_do.extend(names(&target));
            return Ok(());
        }
        self.nodes.push(node);
        self.path = path;
        Ok(())
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

/// The names of a path, the last first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn no_current_dir(error: &io::Error) -> String {
    format!("the current folder cannot be found: {error}")
}

fn unseen(path: &Path, errno: i32) -> String {
    let why = match errno {
        0 => "only on Linux can be seen what is there".to_owned(),
        libc::EACCES => "permission denied; ask as somebody who may".to_owned(),
        _ => io::Error::from_raw_os_error(errno).to_string(),
    };
    format!("{} cannot be looked at: {why}", printable(path))
}
