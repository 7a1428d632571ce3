//! One round as data: a tree, the layers of a policy, and what is then done. It can be made at random, and made smaller.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use palisade::{FileKind, Open, Rights};

use crate::random::Random;
use crate::tally::Tally;
use crate::world::DEPTH;

/// Paths are relative to the tree's root, which is the current folder; one that begins with this is absolute.
pub const ROOT: &str = "@";

#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Whether the tree has a file system of its own.
    pub apart: bool,
    pub tree: Vec<(PathBuf, What)>,
    pub layers: Vec<Layer>,
    pub operations: Vec<Operation>,
}

impl Round {
    /// Whether its tree has a thing of that kind.
    pub fn has(&self, is: impl Fn(&What) -> bool) -> bool {
        self.tree.iter().any(|(_, what)| is(what))
    }
}

/// What is made at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Dir,
    File,
    Fifo,
    Socket,
    Whiteout,
    Symlink(PathBuf),
    HardLink(PathBuf),
    /// That directory is mounted there.
    Bind(PathBuf),
}

/// A policy.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    pub abi: Option<u32>,
    pub free: Rights,
    pub rules: Vec<(PathBuf, Rights)>,
    pub ports: Vec<(Rights, u16, u16)>,
}

#[derive(Clone, Debug)]
pub enum Operation {
    Open(PathBuf, Open),
    List(PathBuf),
    Ioctl(PathBuf),
    Make(PathBuf, FileKind),
    BindUnix(PathBuf),
    Unlink(PathBuf),
    Rmdir(PathBuf),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Truncate(PathBuf),
    Execute(PathBuf),
    BindTcp(u16),
    ConnectTcp(u16),
    BindUdp(u16),
    /// By connect(2) or sendto(2); by a socket that is bound already, or not.
    ConnectUdp {
        port: u16,
        send: bool,
        bound: bool,
    },
    ConnectUnix(PathBuf),
    /// By a stream or by a datagram.
    ConnectAbstract {
        stream: bool,
    },
    Signal,
}

/// Names that are there, or are not, and that a program might get wrong.
const NAMES: [&[u8]; 14] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"f",
    b"two words",
    "\u{e4}\u{202e}".as_bytes(),
    b"new\nline",
    b"\x1b[31m",
    b"\xff\xfe",
    b"-x",
    b"..y",
    b"'\"`$(x)\\",
];

/// Outside of the tree. What is done is done for real, by root too: nothing else of the machine may be named.
const DEVICES: [&str; 3] = ["/dev/zero", "/dev/null", "/dev/full"];

pub struct Generator<'a> {
    pub random: &'a mut Random,
    /// Whether mounts can be made.
    pub mounts: bool,
    pub abi: u32,
    pub ports: &'a [u16],
    /// What occurred so far: what was rare is made more often.
    pub tally: &'a Tally,
}

impl Generator<'_> {
    pub fn round(&mut self, operations: usize) -> Round {
        let apart = self.mounts && self.random.percent(30);
        let mut round = Round { apart, tree: self.tree(), ..Round::default() };
        let layers = match self.random.below(20) {
            0..12 => 1,
            12..16 => 2,
            16..19 => 3,
            _ => self.random.within(4, 15),
        };
        // Few rules, and what is done is on what they are on: otherwise what is allowed is so by a rule far above.
        let few = layers == 1 && self.random.percent(62);
        for _ in 0..layers {
            let layer = if few { self.small_layer(&round) } else { self.layer(&round, layers) };
            round.layers.push(layer);
        }
        for _ in 0..operations {
            if let (true, Some(operation)) = (few && self.random.percent(60), self.pointed(&round)) {
                round.operations.push(operation);
                continue;
            }
            let candidates: Vec<Operation> = (0..4).map(|_| self.operation(&round)).collect();
            let rarest = candidates.into_iter().min_by_key(|operation| self.tally.of(operation, self.abi));
            round.operations.extend(rarest);
        }
        round
    }

    fn name(&mut self) -> &'static Path {
        // The first ones more often, so that names meet.
        let n = if self.random.percent(70) { 6 } else { NAMES.len() };
        let name: &[u8] = NAMES[self.random.below(n)];
        Path::new(OsStr::from_bytes(name))
    }

    fn tree(&mut self) -> Vec<(PathBuf, What)> {
        let mut tree: Vec<(PathBuf, What)> = Vec::new();
        let counts = [
            (What::Dir, self.random.within(2, 6)),
            (What::File, self.random.within(2, 6)),
            (What::Fifo, self.random.below(2)),
            (What::Socket, self.random.within(0, 2)),
            (What::Whiteout, usize::from(self.random.percent(15))),
            (What::Symlink(PathBuf::new()), self.random.within(1, 4)),
            (What::HardLink(PathBuf::new()), self.random.below(3)),
            (What::Bind(PathBuf::new()), usize::from(self.mounts && self.random.percent(35))),
        ];
        for (what, count) in counts {
            for _ in 0..count {
                let folder = self.of_kind(&tree, |what| *what == What::Dir).unwrap_or_default();
                let path = folder.join(self.name());
                if !matches!(what, What::Bind(_)) && tree.iter().any(|(p, _)| *p == path) {
                    continue;
                }
                match &what {
                    What::Symlink(_) => {
                        let target = self.link_target(&tree, &folder);
                        tree.push((path, What::Symlink(target)));
                    }
                    What::HardLink(_) => {
                        let old = |what: &What| !matches!(what, What::Dir | What::HardLink(_));
                        if let Some(old) = self.of_kind(&tree, old) {
                            tree.push((path, What::HardLink(old)));
                        }
                    }
                    What::Bind(_) => {
                        let dirs = |what: &What| *what == What::Dir;
                        if let (Some(from), Some(on)) = (self.of_kind(&tree, dirs), self.of_kind(&tree, dirs))
                        {
                            // Under it would be names for which something else is there then.
                            let leaf = |(path, what): &(PathBuf, What)| {
                                *what != What::Dir || *path == on || !path.starts_with(&on)
                            };
                            if from != on && tree.iter().all(leaf) {
                                tree.push((on, What::Bind(from)));
                            }
                        }
                    }
                    _ => tree.push((path, what.clone())),
                }
            }
        }
        tree
    }

    /// Into the tree, out of it, or to nothing.
    fn link_target(&mut self, tree: &[(PathBuf, What)], folder: &Path) -> PathBuf {
        let up: PathBuf = folder.components().map(|_| "..").collect();
        match self.random.below(10) {
            0 => PathBuf::from(*self.random.of(&DEVICES)),
            1 => self.name().to_owned(),
            2 => Path::new(ROOT).join(self.name()),
            3 => up.join("..").join(*self.random.of(&["", "beside", "beside/file"])),
            n => {
                let target = self.of_kind(tree, |_| true).unwrap_or_default();
                if n < 7 { up.join(target) } else { Path::new(ROOT).join(target) }
            }
        }
    }

    fn of_kind(&mut self, tree: &[(PathBuf, What)], is: impl Fn(&What) -> bool) -> Option<PathBuf> {
        let all: Vec<&PathBuf> = tree.iter().filter(|(_, what)| is(what)).map(|(path, _)| path).collect();
        (!all.is_empty()).then(|| (*self.random.of(&all)).clone())
    }

    /// A folder: of the tree, behind a link, or its root.
    fn folder(&mut self, round: &Round) -> PathBuf {
        let links = self.random.percent(5);
        let to_folder = |target: &Path| {
            let up = |c: &std::path::Component<'_>| c.as_os_str() == ".." || c.as_os_str() == ROOT;
            let within: PathBuf = target.components().skip_while(up).collect();
            round.tree.iter().any(|(path, what)| *what == What::Dir && within == *path)
        };
        let is = |what: &What| match what {
            What::Dir | What::Bind(_) => !links,
            What::Symlink(target) => links && to_folder(target),
            _ => false,
        };
        if self.random.percent(15) {
            return PathBuf::new();
        }
        let all = round.tree.iter().filter(|(_, what)| is(what));
        let all: Vec<&PathBuf> = all.map(|(path, _)| path).collect();
        if all.is_empty() { PathBuf::new() } else { (*self.random.of(&all)).clone() }
    }

    /// A path to open: of the tree, or a device.
    fn openable(&mut self, round: &Round, is: impl Fn(&What) -> bool) -> PathBuf {
        if self.random.percent(8) { PathBuf::from(*self.random.of(&DEVICES)) } else { self.path(round, is) }
    }

    /// A path to a thing of a kind, as a rule; and written in one of the many ways.
    fn path(&mut self, round: &Round, is: impl Fn(&What) -> bool) -> PathBuf {
        let ruled: Vec<&PathBuf> =
            round.layers.iter().flat_map(|l| l.rules.iter().map(|(path, _)| path)).collect();
        let path = match self.random.below(14) {
            10.. if !ruled.is_empty() => {
                let path = (*self.random.of(&ruled)).clone();
                // No device, for it could be removed, and not the tree as a whole.
                let within = path.is_relative() && path.file_name().is_some_and(|name| name != ROOT);
                if within { path } else { self.name().to_owned() }
            }
            1 => self.folder(round).join(self.name()),
            2 => self.of_kind(&round.tree, |_| true).unwrap_or_default(),
            _ => self.of_kind(&round.tree, is).unwrap_or_else(|| self.name().to_owned()),
        };
        self.written(round, path)
    }

    /// A path that is most likely new.
    fn new_path(&mut self, round: &Round) -> PathBuf {
        let path = self.folder(round).join(self.name());
        self.written(round, path)
    }

    fn written(&mut self, round: &Round, path: PathBuf) -> PathBuf {
        let mut path = path;
        if path.as_os_str().is_empty() {
            path = PathBuf::from(".");
        }
        match self.random.below(12) {
            0 => path = Path::new("./.").join(path),
            1 => {
                // In and out of the folder that it is in.
                if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                    let there = round.tree.iter().any(|(path, what)| path == parent && *what == What::Dir);
                    if let (Some(folder), true) = (parent.file_name(), there) {
                        path = parent.join("..").join(folder).join(".").join(name);
                    }
                }
            }
            2 if self.random.percent(1) => path = Path::new("nothing/..").join(path),
            _ => {}
        }
        if path.is_relative() && self.random.percent(50) {
            path = Path::new(ROOT).join(path);
        }
        path
    }

    fn rights(&mut self, dir: bool) -> Rights {
        let groups =
            [Rights::RO, Rights::RX, Rights::RW, Rights::RWX, Rights::R, Rights::W, Rights::X, Rights::C];
        let on_file = Rights::EXECUTE
            | Rights::WRITE_FILE
            | Rights::READ_FILE
            | Rights::TRUNCATE
            | Rights::IOCTL_DEV
            | Rights::RESOLVE_UNIX;
        let possible = if dir { Rights::FS | on_file } else { on_file };
        let all: Vec<Rights> = possible.iter().collect();
        match self.random.below(20) {
            0..8 => *self.random.of(&groups),
            8..10 => *self.random.of(&groups) | *self.random.of(&all),
            10..13 => *self.random.of(&all),
            13..15 => possible,
            // All but some.
            15..18 => {
                let without = self.random.within(1, 3);
                (0..without).fold(possible, |rights, _| rights - *self.random.of(&all))
            }
            _ => {
                let half: Rights = all.iter().copied().filter(|_| self.random.percent(50)).collect();
                if half.is_empty() { possible } else { half }
            }
        }
    }

    /// A folder that all is in: the tree's, the root of its file system, if it has one of its own, and what is above that.
    fn above(&mut self) -> PathBuf {
        let top = "../".repeat(DEPTH + 1);
        let above = [".", "..", "/", "/", "/", "/", ROOT, &top, &(top.clone() + "..")];
        PathBuf::from(*self.random.of(&above))
    }

    /// A layer that allows a kind of rule or two.
    fn small_layer(&mut self, round: &Round) -> Layer {
        let mut layer = Layer::default();
        if self.random.percent(60) {
            layer.free =
                *self.random.of(&[Rights::SIGNAL, Rights::ABSTRACT, Rights::SIGNAL | Rights::ABSTRACT]);
        }
        // What may be moved between two folders, and what is gained by that.
        let rare = self.tally.cases > 70 * self.tally.moves_refused();
        if self.random.percent(if rare { 40 } else { 5 }) {
            for rights in
                [Rights::RW, Rights::RWX, Rights::C | *self.random.of(&[Rights::R, Rights::W, Rights::X])]
            {
                if let Some(path) = self.of_kind(&round.tree, |what| *what == What::Dir) {
                    layer.rules.push((path, rights));
                }
            }
            // What is allowed above both is not gained; but see how the kernel compares.
            if self.random.percent(40) {
                let rights = *self.random.of(&[Rights::W, Rights::X, Rights::RWX, Rights::RWX]);
                layer.rules.push((self.above(), rights));
            }
            return layer;
        }
        for _ in 0..self.random.within(2, 5) {
            let (kind, file) = self.tally.rarest_rule();
            let is = |what: &What| {
                (*what == What::Dir) != file && !matches!(what, What::Symlink(_) | What::Bind(_))
            };
            let path = self.of_kind(&round.tree, is).unwrap_or("/dev/zero".into());
            let singles = [Rights::READ_FILE, Rights::WRITE_FILE, Rights::TRUNCATE, Rights::EXECUTE];
            let rights = match kind {
                "ro" => Rights::RO,
                "rx" => Rights::RX,
                "rw" => Rights::RW,
                "rwx" => Rights::RWX,
                "a letter" => *self.random.of(&[Rights::W, Rights::X]),
                "one right" => *self.random.of(&singles),
                _ => self.rights(!file && path.is_relative()),
            };
            layer.rules.push((path, rights));
        }
        for right in Rights::NET {
            if self.random.percent(50) {
                let port = self.port();
                layer.ports.push((right, port, port));
            }
        }
        layer
    }

    fn layer(&mut self, round: &Round, layers: usize) -> Layer {
        let mut layer = Layer::default();
        match self.random.below(10) {
            0 => layer.abi = Some(self.random.within(1, self.abi.max(1) as usize) as u32),
            1..4 => {
                let percent = *self.random.of(&[5, 20, 60]);
                layer.free = Rights::all().iter().filter(|_| self.random.percent(percent)).collect();
            }
            4 => {
                let kinds = [
                    Rights::NET,
                    Rights::FS | Rights::DEVICES | Rights::UNIX,
                    Rights::SIGNAL | Rights::ABSTRACT,
                ];
                layer.free = *self.random.of(&kinds);
                if self.random.percent(50) {
                    layer.free |= *self.random.of(&kinds);
                }
            }
            _ => {}
        }
        if self.random.percent(50) {
            layer.free |=
                *self.random.of(&[Rights::SIGNAL, Rights::ABSTRACT, Rights::SIGNAL | Rights::ABSTRACT]);
        }
        // Many layers allow nothing together unless each is wide.
        let wide = if layers > 2 { 97 } else { 75 };
        if self.random.percent(wide) {
            let rule = (self.above(), self.rights(true));
            layer.rules.push(rule);
        }
        for _ in 0..self.random.below(6) {
            let rule = match self.random.below(20) {
                0..3 => (PathBuf::from(*self.random.of(&DEVICES)), self.rights(false)),
                3..12 => {
                    let path = self.of_kind(&round.tree, |what| *what == What::Dir).unwrap_or(".".into());
                    (path, self.rights(true))
                }
                // What it is is known only when it is there: groups fit everything.
                12..15 => {
                    let path = self.path(round, |_| true);
                    (path, *self.random.of(&[Rights::RO, Rights::RX, Rights::RW, Rights::RWX, Rights::W]))
                }
                _ => {
                    let is = |what: &What| !matches!(what, What::Dir | What::Symlink(_) | What::Bind(_));
                    let path = self.of_kind(&round.tree, is).unwrap_or("/dev/zero".into());
                    (path, self.rights(false))
                }
            };
            layer.rules.push(rule);
        }
        for right in Rights::NET {
            for _ in 0..self.random.below(4) {
                let (one, other) = (*self.random.of(self.ports), *self.random.of(self.ports));
                let last = if self.random.percent(60) { one } else { other };
                layer.ports.push((right, one.min(last), one.max(last)));
            }
            if self.random.percent(40) {
                layer.ports.push((right, 0, 0));
            }
            if self.random.percent(5) {
                layer.ports.push((right, 0, u16::MAX));
            }
        }
        layer
    }

    /// Something that a rule is about.
    fn pointed(&mut self, round: &Round) -> Option<Operation> {
        let rules: Vec<&(PathBuf, Rights)> = round.layers.iter().flat_map(|layer| &layer.rules).collect();
        if rules.is_empty() {
            return None;
        }
        let (path, rights) = *self.random.of(&rules);
        let folder = round.tree.iter().any(|(at, what)| at == path && *what == What::Dir);
        let within = round.tree.iter().filter(|(at, what)| at.starts_with(path) && *what != What::Dir);
        let within: Vec<&PathBuf> = within.map(|(at, _)| at).collect();
        let file = match (folder, within.as_slice()) {
            (true, []) => path.join(self.name()),
            (true, within) => (*self.random.of(within)).clone(),
            (false, _) => path.clone(),
        };
        // Beside a file, for nothing is in it.
        let new = if folder { path } else { path.parent().unwrap_or(path) }.join(self.name());
        if new.is_absolute() {
            return Some(Operation::Ioctl(file));
        }
        let all: Vec<Rights> = rights.iter().collect();
        let right = match rights.contains(Rights::REFER) && self.random.percent(75) {
            true => Rights::REFER,
            false => *self.random.of(&all),
        };
        Some(match right {
            Rights::EXECUTE => Operation::Execute(file),
            Rights::WRITE_FILE => Operation::Open(file, Open::WRITE),
            Rights::TRUNCATE if self.random.percent(50) => Operation::Truncate(file),
            Rights::TRUNCATE => Operation::Open(file, Open::WRITE | Open::TRUNCATE),
            Rights::READ_DIR => Operation::List(path.clone()),
            Rights::IOCTL_DEV => Operation::Ioctl(file),
            Rights::RESOLVE_UNIX => Operation::ConnectUnix(file),
            Rights::MAKE_DIR => Operation::Make(new, FileKind::Dir),
            Rights::MAKE_SYM => Operation::Make(new, FileKind::Symlink),
            Rights::MAKE_FIFO => Operation::Make(new, FileKind::Fifo),
            Rights::MAKE_SOCK => Operation::BindUnix(new),
            Rights::MAKE_REG => Operation::Make(new, FileKind::Regular),
            Rights::MAKE_CHAR => Operation::Make(new, FileKind::Char),
            Rights::MAKE_BLOCK => Operation::Make(new, FileKind::Block),
            Rights::REMOVE_FILE if folder => Operation::Unlink(file),
            Rights::REMOVE_DIR if folder => Operation::Rmdir(file),
            Rights::REFER if folder => {
                let is_dir = |at: &PathBuf| round.tree.iter().any(|(p, what)| p == at && *what == What::Dir);
                let others = rules.iter().filter(|(other, rights)| {
                    other != path && is_dir(other) && rights.contains(Rights::REFER)
                });
                let others: Vec<_> = others.map(|(other, _)| other.join(self.name())).collect();
                let to =
                    if others.is_empty() { self.new_path(round) } else { self.random.of(&others).clone() };
                if self.random.percent(50) { Operation::Rename(file, to) } else { Operation::Link(file, to) }
            }
            _ => Operation::Open(file, Open::READ),
        })
    }

    fn operation(&mut self, round: &Round) -> Operation {
        use Operation::*;
        let file = |what: &What| matches!(what, What::File | What::HardLink(_));
        let dir = |what: &What| matches!(what, What::Dir | What::Bind(_));
        let any = |_: &What| true;
        match self.random.below(33) {
            0 => Open(self.openable(round, file), palisade::Open::READ),
            1 => Open(self.openable(round, file), palisade::Open::WRITE | palisade::Open::CREATE),
            2 => {
                let how = palisade::Open::WRITE | palisade::Open::CREATE | palisade::Open::EXCLUSIVE;
                Open(self.new_path(round), how)
            }
            3 | 4 => {
                let how = self.how();
                let path = if how.contains(palisade::Open::TEMPORARY) {
                    self.path(round, dir)
                } else {
                    self.openable(round, any)
                };
                Open(path, how)
            }
            5 => List(self.path(round, dir)),
            6 => {
                let device = PathBuf::from(*self.random.of(&DEVICES));
                Ioctl(if self.random.percent(80) { device } else { self.openable(round, any) })
            }
            7 => Make(self.new_path(round), FileKind::Dir),
            8 => Make(self.new_path(round), FileKind::Symlink),
            9 => Make(self.new_path(round), FileKind::Fifo),
            10 => Make(self.new_path(round), FileKind::Regular),
            11 => Make(self.new_path(round), FileKind::Char),
            12 => Make(self.new_path(round), FileKind::Block),
            13 => {
                let kind = *self.random.of(&[FileKind::Whiteout, FileKind::Socket]);
                Make(self.new_path(round), kind)
            }
            14 => BindUnix(self.new_path(round)),
            15 => Unlink(self.path(round, |what| *what != What::Dir)),
            16 => Rmdir(self.path(round, dir)),
            17 | 18 => {
                let new = if self.random.percent(70) { self.new_path(round) } else { self.path(round, any) };
                Rename(self.path(round, any), new)
            }
            19 => Exchange(self.path(round, any), self.path(round, any)),
            20 => Link(self.path(round, |what| *what != What::Dir), self.new_path(round)),
            21 => Truncate(self.openable(round, file)),
            22 | 31 => Execute(self.openable(round, file)),
            23 => BindTcp(self.port()),
            24 => ConnectTcp(self.port()),
            25 => BindUdp(self.port()),
            26 => ConnectUdp {
                port: self.port(),
                send: self.random.percent(50),
                bound: self.random.percent(50),
            },
            27 => ConnectUnix(self.openable(round, |what| *what == What::Socket)),
            28 => ConnectAbstract { stream: self.random.percent(50) },
            29 => {
                let how = palisade::Open::TEMPORARY | palisade::Open::WRITE;
                Open(self.path(round, dir), how)
            }
            30 => Signal,
            _ => Rename(self.path(round, file), self.new_path(round)),
        }
    }

    fn port(&mut self) -> u16 {
        if self.random.percent(20) { 0 } else { *self.random.of(self.ports) }
    }

    fn how(&mut self) -> Open {
        use palisade::Open as O;
        let mut how = *self.random.of(&[O::READ, O::WRITE, O::READ | O::WRITE, O::empty()]);
        if self.random.percent(8) {
            return O::TEMPORARY | *self.random.of(&[O::WRITE, O::READ | O::WRITE]);
        }
        for (flag, percent) in
            [(O::CREATE, 40), (O::EXCLUSIVE, 20), (O::TRUNCATE, 40), (O::NO_FOLLOW, 20), (O::PATH, 10)]
        {
            if self.random.percent(percent) {
                how |= flag;
            }
        }
        how
    }
}

impl Operation {
    /// Its kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Operation::Open(_, how) if how.contains(Open::PATH) => "open as a place",
            Operation::Open(_, how) if how.contains(Open::TEMPORARY) => "open a file without a name",
            Operation::Open(_, how) if how.contains(Open::CREATE | Open::EXCLUSIVE) => "create",
            Operation::Open(_, how) if how.contains(Open::TRUNCATE) => "open and truncate",
            Operation::Open(_, how) if how.contains(Open::WRITE) => "write",
            Operation::Open(_, how) if how.contains(Open::READ) => "read",
            Operation::Open(..) => "open for nothing",
            Operation::List(_) => "list",
            Operation::Ioctl(_) => "ioctl",
            Operation::Make(_, FileKind::Dir) => "mkdir",
            Operation::Make(_, FileKind::Symlink) => "symlink",
            Operation::Make(_, FileKind::Fifo) => "mkfifo",
            Operation::Make(_, FileKind::Regular) => "mknod of a file",
            Operation::Make(_, FileKind::Char) => "mknod of a character device",
            Operation::Make(_, FileKind::Block) => "mknod of a block device",
            Operation::Make(_, FileKind::Socket) => "mknod of a socket",
            Operation::Make(..) => "mknod of a whiteout",
            Operation::BindUnix(_) => "bind a UNIX socket",
            Operation::Unlink(_) => "unlink",
            Operation::Rmdir(_) => "rmdir",
            Operation::Rename(..) => "rename",
            Operation::Exchange(..) => "exchange",
            Operation::Link(..) => "link",
            Operation::Truncate(_) => "truncate",
            Operation::Execute(_) => "execute",
            Operation::BindTcp(_) => "bind TCP",
            Operation::ConnectTcp(_) => "connect TCP",
            Operation::BindUdp(_) => "bind UDP",
            Operation::ConnectUdp { send: true, .. } => "send UDP",
            Operation::ConnectUdp { .. } => "connect UDP",
            Operation::ConnectUnix(_) => "connect to a UNIX socket",
            Operation::ConnectAbstract { .. } => "connect to an abstract UNIX socket",
            Operation::Signal => "signal",
        }
    }

    /// The paths it is on.
    pub fn paths(&self) -> Vec<&Path> {
        match self {
            Operation::Open(path, _)
            | Operation::List(path)
            | Operation::Ioctl(path)
            | Operation::Make(path, _)
            | Operation::BindUnix(path)
            | Operation::Unlink(path)
            | Operation::Rmdir(path)
            | Operation::Truncate(path)
            | Operation::Execute(path)
            | Operation::ConnectUnix(path) => vec![path],
            Operation::Rename(one, other) | Operation::Exchange(one, other) | Operation::Link(one, other) => {
                vec![one, other]
            }
            _ => Vec::new(),
        }
    }
}
