//! From a request to the rights it takes, and on what: what the kernel asks for in the hook that the request comes to.

use crate::place::{FileKind, Node, Place};
use crate::printable;
use crate::request::{Action, Open, Target};
use crate::rights::Rights;

/// What a request needs.
pub(crate) enum Needs<'a> {
    Nothing,
    /// Rights on something and what is above it.
    Path(Need<'a>),
    /// To take a file from one directory to another.
    Refer {
        from: Need<'a>,
        to: Need<'a>,
        /// What is taken there, and in an exchange what is taken back.
        taken: Vec<&'a Place>,
    },
    Ports(Vec<(Rights, u16)>),
    Scope(Rights),
}

/// Rights on the last of these nodes, of which each is in the one before.
#[derive(Clone, Copy)]
pub(crate) struct Need<'a> {
    pub place: &'a Place,
    pub nodes: &'a [Node],
    pub rights: Rights,
}

impl<'a> Needs<'a> {
    /// What the kernel asks for, in the hook that the request comes to.
    /// `whiteout` is the right to make one on that kernel.
    pub fn of(action: &'a Action, whiteout: Rights, note: &mut Option<String>) -> Result<Needs<'a>, String> {
        let to_make = |kind| to_make(kind, whiteout);
        let one = |place: &'a Place, nodes: &'a [Node], rights| Needs::Path(Need { place, nodes, rights });
        Ok(match action {
            Action::Open { how, .. } if how.contains(Open::PATH) => Needs::Nothing,
            Action::Open { at, device: true, .. } => {
                let place = at.place()?;
                match place.kind() {
                    Some(FileKind::Char | FileKind::Block | FileKind::Whiteout) | None => {
                        at.note_if_missing(place, note);
                        one(place, place.nodes(), Rights::IOCTL_DEV)
                    }
                    Some(_) => {
                        *note = Some(format!("{at} is no device, and ioctl is refused on devices alone"));
                        Needs::Nothing
                    }
                }
            }
            Action::Open { at, how, .. } => {
                let place = at.place()?;
                let (nodes, rights) = opened(at, place, *how, note);
                if rights.is_empty() { Needs::Nothing } else { one(place, nodes, rights) }
            }
            Action::Make { at, kind } => {
                let place = at.place()?;
                at.note_if_there(place, note);
                if *kind == FileKind::Socket && place.missing() == 0 {
                    *note = Some(at.fails("exists already", "EADDRINUSE"));
                }
                one(place, place.folder(), to_make(*kind))
            }
            Action::Remove { at, dir } => {
                let place = at.place()?;
                at.note_if_missing(place, note);
                one(place, place.folder(), if *dir { Rights::REMOVE_DIR } else { Rights::REMOVE_FILE })
            }
            Action::Rename { from, to, exchange } => {
                let (old, new) = (from.place()?, to.place()?);
                from.note_if_missing(old, note);
                let kind = old.kind().unwrap_or(FileKind::Regular);
                let (mut at_old, mut at_new) = (to_remove(kind), to_make(kind));
                let replaced = match new.kind() {
                    None if *exchange => {
                        to.note_if_missing(new, note);
                        Some(FileKind::Regular)
                    }
                    None => {
                        to.note_if_there(new, note);
                        None
                    }
                    kind => kind,
                };
                if let Some(kind) = replaced {
                    at_new |= to_remove(kind);
                    if *exchange {
                        at_old |= to_make(kind);
                    }
                }
                match (replaced, kind) {
                    (Some(FileKind::Dir), kind) if !exchange && kind != FileKind::Dir => {
                        *note = Some(to.fails("is a folder", "EISDIR"));
                    }
                    (Some(replaced), FileKind::Dir) if !exchange && replaced != FileKind::Dir => {
                        *note = Some(to.fails("is no folder", "ENOTDIR"));
                    }
                    _ => {}
                }
                let back = exchange.then_some(new);
                taken([old, new], [at_old, at_new], [Some(old), back].into_iter().flatten(), note)?
            }
            Action::Link { from, to } => {
                let (old, new) = (from.place()?, to.place()?);
                from.note_if_missing(old, note);
                to.note_if_there(new, note);
                if old.kind() == Some(FileKind::Dir) {
                    *note = Some(from.fails("is a folder", "EPERM"));
                }
                let make = to_make(old.kind().unwrap_or(FileKind::Regular));
                taken([old, new], [Rights::empty(), make], [old].into_iter(), note)?
            }
            Action::Truncate(at) => {
                let place = at.place()?;
                at.note_if_missing(place, note);
                match place.kind() {
                    None | Some(FileKind::Regular) => {}
                    Some(FileKind::Dir) => *note = Some(at.fails("is a folder", "EISDIR")),
                    Some(_) => *note = Some(at.fails("is no regular file", "EINVAL")),
                }
                one(place, place.nodes(), Rights::TRUNCATE)
            }
            Action::Execute(at) => {
                let place = at.place()?;
                at.note_if_missing(place, note);
                if !matches!(place.kind(), None | Some(FileKind::Regular)) {
                    *note = Some(at.fails("is no regular file", "EACCES"));
                }
                one(place, place.nodes(), Rights::EXECUTE | Rights::READ_FILE)
            }
            Action::ConnectUnix(at) => {
                let place = at.place()?;
                at.note_if_missing(place, note);
                if !matches!(place.kind(), None | Some(FileKind::Socket)) {
                    *note = Some(at.fails("is no socket", "ECONNREFUSED"));
                }
                one(place, place.nodes(), Rights::RESOLVE_UNIX)
            }
            // A socket that is not bound is bound to port 0 by its first connect or send.
            Action::Port { right: Rights::CONNECT_SEND_UDP, port, bound: false } => {
                Needs::Ports(vec![(Rights::CONNECT_SEND_UDP, *port), (Rights::BIND_UDP, 0)])
            }
            Action::Port { right, port, .. } => Needs::Ports(vec![(*right, *port)]),
            Action::Scope(scope) => Needs::Scope(*scope),
        })
    }
}

/// The right to make a file of a kind.
fn to_make(kind: FileKind, whiteout: Rights) -> Rights {
    match kind {
        FileKind::Regular => Rights::MAKE_REG,
        FileKind::Dir => Rights::MAKE_DIR,
        FileKind::Symlink => Rights::MAKE_SYM,
        FileKind::Fifo => Rights::MAKE_FIFO,
        FileKind::Socket => Rights::MAKE_SOCK,
        FileKind::Block => Rights::MAKE_BLOCK,
        FileKind::Char => Rights::MAKE_CHAR,
        FileKind::Whiteout => whiteout,
    }
}

/// The right to remove what is of a kind.
fn to_remove(kind: FileKind) -> Rights {
    if kind == FileKind::Dir { Rights::REMOVE_DIR } else { Rights::REMOVE_FILE }
}

/// What open(2) asks for, and on what.
fn opened<'a>(at: &Target, place: &'a Place, how: Open, note: &mut Option<String>) -> (&'a [Node], Rights) {
    let modes = [(Open::READ, Rights::READ_FILE), (Open::WRITE, Rights::WRITE_FILE)];
    let mode: Rights =
        modes.into_iter().filter(|(mode, _)| how.contains(*mode)).map(|(_, right)| right).collect();
    let made = if how.contains(Open::CREATE) { Rights::MAKE_REG } else { Rights::empty() };
    let emptied = if how.contains(Open::TRUNCATE) { Rights::TRUNCATE } else { Rights::empty() };
    match place.kind() {
        // Made without a name, it is in the folder all the same.
        _ if how.contains(Open::TEMPORARY) => (place.nodes(), mode),
        Some(_) if how.contains(Open::CREATE | Open::EXCLUSIVE) => {
            at.note_if_there(place, note);
            (place.folder(), mode | made)
        }
        Some(FileKind::Dir) => {
            if how.intersects(Open::WRITE | Open::CREATE | Open::TRUNCATE) {
                *note = Some(at.fails("is a folder", "EISDIR"));
            }
            let list = how.contains(Open::READ);
            (place.nodes(), if list { Rights::READ_DIR } else { mode })
        }
        Some(_) if how.contains(Open::DIRECTORY) => {
            *note = Some(at.fails("is no folder", "ENOTDIR"));
            (place.nodes(), mode)
        }
        Some(FileKind::Regular) => (place.nodes(), mode | emptied),
        Some(FileKind::Symlink) => {
            *note = Some(at.fails("is a symbolic link", "ELOOP"));
            (place.folder(), mode)
        }
        Some(_) => (place.nodes(), mode),
        None if how.contains(Open::CREATE) => {
            at.note_if_there(place, note);
            (place.nodes(), mode | made)
        }
        None => {
            at.note_if_missing(place, note);
            let list = how.contains(Open::READ | Open::DIRECTORY);
            (place.nodes(), if list { Rights::READ_DIR } else { mode | emptied })
        }
    }
}

/// What it takes to give a file another place.
fn taken<'a>(
    [old, new]: [&'a Place; 2],
    [at_old, at_new]: [Rights; 2],
    taken: impl Iterator<Item = &'a Place>,
    note: &mut Option<String>,
) -> Result<Needs<'a>, String> {
    let (from, to) = (old.folder(), new.folder());
    if let (Some(one), Some(other)) = (from.last(), to.last()) {
        if one == other && old.missing() <= 1 && new.missing() <= 1 {
            return Ok(Needs::Path(Need { place: new, nodes: to, rights: at_old | at_new }));
        }
        let into = |folder: &[Node], moved: &Place| {
            moved.missing() == 0
                && moved.folder().len() < moved.nodes().len()
                && folder.starts_with(moved.nodes())
        };
        if into(to, old) || into(from, new) {
            *note = Some("one is within the other, and so it fails whatever is allowed".to_owned());
        }
        if one.mount != other.mount {
            *note = Some(
                "the two are on different mounts, and so it fails with EXDEV whatever is allowed".to_owned(),
            );
        }
    }
    let from = Need { place: old, nodes: from, rights: at_old | Rights::REFER };
    let to = Need { place: new, nodes: to, rights: at_new | Rights::REFER };
    let taken: Vec<&Place> = taken.collect();
    match taken.iter().find(|place| place.is_mount_point()) {
        Some(place) => {
            Err(format!("{} is a mount point, under which cannot be seen", printable(place.path())))
        }
        None => Ok(Needs::Refer { from, to, taken }),
    }
}

impl Target {
    fn place(&self) -> Result<&Place, String> {
        self.place.as_ref().map_err(Clone::clone)
    }

    /// Why it would fail all the same.
    fn fails(&self, why: &str, errno: &str) -> String {
        format!("{self} {why}, and so it fails with {errno} whatever is allowed")
    }

    fn note_if_missing(&self, place: &Place, note: &mut Option<String>) {
        if place.missing() == 1 {
            *note = Some(format!("{self} does not exist now; this is for a file that is made there"));
        }
        self.note_without_folder(place, note);
    }

    fn note_if_there(&self, place: &Place, note: &mut Option<String>) {
        if place.missing() == 0 {
            *note = Some(self.fails("exists already", "EEXIST"));
        }
        self.note_without_folder(place, note);
    }

    fn note_without_folder(&self, place: &Place, note: &mut Option<String>) {
        if place.missing() > 1 {
            *note = Some(format!(
                "the folder that {self} would be in does not exist now, and has to be made first"
            ));
        }
    }
}
