//! All that a program used, each thing once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use palisade::{Domain, Open, Request};

use crate::watch::{Closing, Inode, Use, Used};

/// Something that was used, by whom and how often.
#[derive(Clone, Debug)]
pub struct One {
    /// All of these.
    pub asked: Vec<Request>,
    pub kind: Kind,
    /// The files of the programs.
    pub by: BTreeMap<Rc<Path>, u64>,
}

/// What is to be known of it besides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file that was there before.
    There,
    /// What may have been made by the program itself.
    Made,
    /// A file that is open, and counts if the program opened it.
    OnOpen,
    /// Descriptor 0, 1 or 2 by its name.
    Stdio,
    /// What the kernel has of another process.
    OfOthers { lists: bool, writes: bool },
}

/// What no policy allows, or what could not be seen: as the rest of a sentence, and why.
pub type Note = (String, String);

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    all: Vec<One>,
    /// The places of files that were opened, by how, kind, and path.
    files: HashMap<(Open, Kind), HashMap<PathBuf, usize>>,
    /// The places of what else was asked for. What is said alike can be another thing: a file that is there by now.
    others: HashMap<(Vec<String>, Kind), Vec<usize>>,
    /// What was made or moved.
    made: HashSet<Inode>,
    /// Where something was made, or opened that may have been.
    changed: HashSet<PathBuf>,
    pub notes: BTreeSet<Note>,
    /// What was tried, and failed for another reason than that it was refused.
    pub tried: BTreeSet<String>,
    /// What the kernel has of other processes than COMMAND's, of which something was opened: names in their folders.
    pub of_others: BTreeSet<PathBuf>,
    /// Files that were written, and would have been made if they had not been there.
    pub kept: BTreeSet<PathBuf>,
    /// UDP sockets were made, which `palisade run` closes where nothing is granted that they are for and the kernel
    /// cannot restrict them.
    pub udp: bool,
    /// The same of pairs of UNIX sockets.
    pub pairs: bool,
    /// The same of UNIX sockets with abstract names of the program's own.
    pub own_names: bool,
    /// How many uses there were.
    pub uses: u64,
}

impl Seen {
    /// Adds a use. `program` is the number of COMMAND's own process, which palisade will become when it is run.
    pub fn add(&mut self, used: Used, program: i32) {
        if !matches!(used.what, Use::Tried(_)) {
            self.uses += 1;
        }
        self.made.extend(used.made);
        let by = used.program;
        match used.what {
            Use::Opened { path, how, new } => {
                let of_others = of_others(&path, program);
                let kind = if let Some(name) = of_others {
                    self.of_others.insert(name);
                    Kind::OfOthers { lists: path.is_dir(), writes: how.contains(Open::WRITE) }
                } else if new {
                    Kind::Made
                } else {
                    Kind::There
                };
                // Each process has its own, which come and go.
                let path = if matches!(kind, Kind::OfOthers { .. }) { PathBuf::from("/proc") } else { path };
                let files = self.files.entry((how, kind.clone())).or_default();
                // To list folders below takes nothing that to list the one above has not taken.
                let lists = how.contains(Open::READ | Open::DIRECTORY);
                let mut known = path.ancestors().take(if lists { usize::MAX } else { 1 });
                let known = known.find_map(|path| files.get(path));
                let at = known.copied().unwrap_or_else(|| {
                    self.all.push(One { asked: vec![Request::open(&path, how)], kind, by: BTreeMap::new() });
                    files.insert(path, self.all.len() - 1);
                    self.all.len() - 1
                });
                self.count(at, by);
            }
            Use::Executed { request, new } => {
                let kind = if new { Kind::Made } else { Kind::There };
                self.add_asked(vec![request], kind, by);
            }
            Use::Asked(asked) => self.add_asked(asked, Kind::Made, by),
            Use::Kept(request) => {
                self.kept.extend(request.path().map(Path::to_owned));
                self.add_asked(vec![request], Kind::Made, by);
            }
            Use::OnOpen(request) => self.add_asked(vec![request], Kind::OnOpen, by),
            Use::Stdio => self.add_asked(Vec::new(), Kind::Stdio, by),
            Use::Tried(what) => {
                self.tried.insert(what);
            }
            Use::Pair => self.pairs = true,
            Use::OwnName => self.own_names = true,
            // Which of them is for what is seen when it is used.
            Use::Closed(Closing::Socket { family: libc::AF_UNIX, .. }) => {}
            Use::Closed(Closing::Socket {
                kind: libc::SOCK_DGRAM, protocol: 0 | libc::IPPROTO_UDP, ..
            }) => {
                self.udp = true;
            }
            Use::Closed(closing) => self.note(&format!("use {}", crate::explain::closed(&closing)), CLOSED),
            Use::Mount(what) => self.note(what, NO_MOUNTS),
            Use::SetId(path) => self.note(&format!("execute {}", palisade::printable(&path)), NO_RIGHTS),
            Use::Unknown { what, why } => self.note(&what, why),
        }
    }

    /// Adds what there is to say besides.
    pub fn note(&mut self, what: &str, why: &str) {
        self.notes.insert((what.to_owned(), why.to_owned()));
    }

    /// Leaves out what a ceiling refuses, which therefore cannot have been: what was asked for was changed while it was read.
    /// What the kernel has of COMMAND, in the folder `own`, it sees in another place than palisade.
    pub fn keep_within(&mut self, ceilings: &Domain, own: &Path) {
        let is_own = |request: &Request| request.path().is_some_and(|path| path.starts_with(own));
        let is_refused = |request: &Request| !is_own(request) && ceilings.decide(request).is_refused();
        let (refused, kept) = std::mem::take(&mut self.all)
            .into_iter()
            .partition::<Vec<One>, _>(|one| one.asked.iter().any(is_refused));
        self.all = kept;
        for request in refused.iter().flat_map(|one| &one.asked).filter(|request| is_refused(request)) {
            self.note(&format!("seemed to {request}"), NOT_WITHIN);
        }
    }

    fn add_asked(&mut self, asked: Vec<Request>, kind: Kind, by: Rc<Path>) {
        if kind == Kind::Made {
            self.changed.extend(asked.iter().filter_map(Request::path).map(Path::to_owned));
        }
        let text = asked.iter().map(ToString::to_string).collect();
        let alike = self.others.entry((text, kind.clone())).or_default();
        let known = alike.iter().copied().find(|at| self.all[*at].asked == asked);
        let at = known.unwrap_or_else(|| {
            alike.push(self.all.len());
            self.all.push(One { asked, kind, by: BTreeMap::new() });
            self.all.len() - 1
        });
        self.count(at, by);
    }

    fn count(&mut self, at: usize, by: Rc<Path>) {
        *self.all[at].by.entry(by).or_default() += 1;
    }

    /// What was used, in an order that does not depend on when.
    pub fn all(&self) -> Vec<&One> {
        let counts = |one: &&One| one.kind != Kind::OnOpen || self.opens(one);
        let mut all: Vec<&One> = self.all.iter().filter(counts).collect();
        all.sort_by_cached_key(|one| {
            (one.asked.iter().map(ToString::to_string).collect::<Vec<_>>(), format!("{:?}", one.kind))
        });
        all
    }

    fn opens(&self, one: &One) -> bool {
        let opened = |path: &Path| {
            self.changed.contains(path) || self.files.values().any(|files| files.contains_key(path))
        };
        one.asked.iter().filter_map(Request::path).any(opened)
    }

    /// Whether a file was made or moved by the program.
    pub fn is_made(&self, inode: Inode) -> bool {
        self.made.contains(&inode)
    }
}

const CLOSED: &str = "palisade run refuses that whatever is granted, unless --no-backstop leaves it open";
const NOT_WITHIN: &str = "--within refuses that, so that it was something else, changed meanwhile";
const NO_MOUNTS: &str = "no program may that is confined";
const NO_RIGHTS: &str = "it is set-user-ID or set-group-ID, and confined programs never gain the rights of its owner or group, nor did this one";

/// What a path in /proc is of another process than this: the first name in its folder.
fn of_others(path: &Path, program: i32) -> Option<PathBuf> {
    let mut rest = path.strip_prefix("/proc").ok()?.iter();
    let process: i32 = rest.next()?.to_str()?.parse().ok()?;
    (process != program).then(|| rest.next().map(PathBuf::from).unwrap_or_default())
}
