//! From grants that may be proposed to few options that grant little more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use palisade::{Grant, Ports, Rights};

use super::{Proposed, World};
use crate::why;

/// So many of one folder are one option on the folder.
const MANY: usize = 4;

/// In the order in which they are proposed.
const GROUPS: [(&str, Rights); 4] =
    [("--ro", Rights::RO), ("--rx", Rights::RX), ("--rw", Rights::RW), ("--rwx", Rights::RWX)];
const PORTS: [Rights; 4] =
    [Rights::CONNECT_TCP, Rights::BIND_TCP, Rights::CONNECT_SEND_UDP, Rights::BIND_UDP];

/// Which refusals ask for which rights.
type Askers = Vec<(usize, Rights)>;

/// What is to be granted.
pub struct Needs<'a> {
    /// Whether a folder may be granted as a whole.
    may_be_granted: Box<dyn Fn(&Path) -> bool + 'a>,
    world: &'a World<'a>,
    paths: BTreeMap<PathBuf, Askers>,
    ports: Vec<(usize, Rights, (u16, u16))>,
    alone: Askers,
}

/// What is granted on a path.
#[derive(Clone)]
struct Item {
    rights: Rights,
    askers: Askers,
}

type Items = BTreeMap<PathBuf, Item>;

impl<'a> Needs<'a> {
    pub fn new(may_be_granted: impl Fn(&Path) -> bool + 'a, world: &'a World<'a>) -> Needs<'a> {
        let may_be_granted = Box::new(may_be_granted);
        Needs { may_be_granted, world, paths: BTreeMap::new(), ports: Vec::new(), alone: Vec::new() }
    }

    pub fn add(&mut self, grant: &Grant, n: usize) {
        match grant {
            Grant::Path { rights, path } => self.paths.entry(path.clone()).or_default().push((n, *rights)),
            Grant::Port { right, ports } => self.ports.push((n, *right, ends(*ports))),
            Grant::Unrestricted(rights) => self.alone.push((n, *rights)),
            _ => {}
        }
    }

    pub fn options(self) -> Vec<Proposed> {
        let (mut groups, mut exact, mut unix) = (Items::new(), Items::new(), Items::new());
        for (path, askers) in &self.paths {
            let (to_groups, to_exact) = self.parts(path, all(askers));
            for (items, part) in
                [(&mut groups, to_groups), (&mut exact, to_exact), (&mut unix, Rights::RESOLVE_UNIX)]
            {
                let askers = only(askers, part);
                if !askers.is_empty() {
                    items.insert(path.clone(), Item { rights: all(&askers), askers });
                }
            }
        }
        self.fold(&mut groups, &mut exact);
        settle(&mut unix);

        let grouped = GROUPS.iter().flat_map(|(option, group)| {
            let items = groups.iter().filter(|(_, item)| same(item.rights, *group));
            items.map(|(path, item)| proposed([(*option).into(), path.into()], &item.askers))
        });
        let exact = exact.iter().map(|(path, item)| proposed(why::exactly(item.rights, path), &item.askers));
        let unix = unix.iter().map(|(path, item)| proposed(["--unix".into(), path.into()], &item.askers));
        let paths: Vec<Proposed> = grouped.chain(exact).chain(unix).collect();

        let alone = all(&self.alone);
        let alone = (!alone.is_empty()).then(|| proposed(why::unrestricted(alone), &self.alone));
        paths.into_iter().chain(self.of_ports()).chain(alone).collect()
    }

    /// Which of the rights on a path are granted by a group, and which by their names.
    fn parts(&self, path: &Path, rights: Rights) -> (Rights, Rights) {
        let (grouped, named) = (rights & Rights::RWX, rights - Rights::RWX - Rights::RESOLVE_UNIX);
        if !(self.world.is_dir)(path) {
            // A device: one option says it all.
            return if named.is_empty() { (grouped, named) } else { (Rights::empty(), grouped | named) };
        }
        // Of a folder that is too wide only the names are read.
        let listed = same(grouped, Rights::READ_DIR) && !(self.may_be_granted)(path);
        if listed { (Rights::empty(), grouped | named) } else { (grouped, named) }
    }

    /// Makes groups of the rights, and one option of many that are in one folder.
    fn fold(&self, groups: &mut Items, exact: &mut Items) {
        loop {
            settle_both(groups, exact);
            let found = self.to_fold(groups, exact);
            if found.is_empty() {
                return;
            }
            for (folder, group) in found {
                let is_folded = |path: &Path, item: &Item| {
                    path.parent() == Some(folder.as_path()) && same(item.rights, group)
                };
                let folded: Vec<PathBuf> = below(groups, &folder)
                    .filter(|(path, item)| is_folded(path, item))
                    .map(|(path, _)| path.clone())
                    .collect();
                let askers =
                    folded.iter().filter_map(|path| groups.remove(path)).flat_map(|item| item.askers);
                let askers = askers.collect();
                groups.insert(folder, Item { rights: group, askers });
            }
        }
    }

    /// The folders of which many want the same group: all of the deepest, for a program can have thousands.
    fn to_fold(&self, groups: &Items, exact: &Items) -> Vec<(PathBuf, Rights)> {
        let mut many: BTreeMap<(usize, &Path, usize), usize> = BTreeMap::new();
        for (path, item) in groups {
            let group = GROUPS.iter().position(|(_, group)| same(*group, item.rights));
            if let (Some(folder), Some(group)) = (path.parent(), group) {
                *many.entry((folder.components().count(), folder, group)).or_default() += 1;
            }
        }
        let may = |folder: &Path, group: Rights| {
            // What is right below the root, as /data, may be a whole disk.
            let named = folder == self.world.dir || folder.components().count() > 2;
            // Nothing that is only read is to be written or executed.
            let same_use = |(_, item): (&PathBuf, &Item)| (group - Rights::RO - uses(item.rights)).is_empty();
            let all = || below(groups, folder).chain(below(exact, folder));
            named && (self.may_be_granted)(folder) && all().all(same_use)
        };
        let found = many.iter().rev().filter(|(_, count)| **count >= MANY);
        let mut found = found
            .map(|((depth, folder, group), _)| (*depth, *folder, GROUPS[*group].1))
            .filter(|(_, folder, group)| may(folder, *group))
            .peekable();
        let deepest = found.peek().map(|(depth, ..)| *depth);
        let found = found.take_while(|(depth, ..)| Some(*depth) == deepest);
        let mut all: Vec<(PathBuf, Rights)> =
            found.map(|(_, folder, group)| (folder.to_owned(), group)).collect();
        // What else is wanted of a folder may be had already when that is done.
        all.dedup_by(|second, first| second.0 == first.0);
        all
    }

    fn of_ports(&self) -> Vec<Proposed> {
        let of = |right: Rights| self.ports.iter().filter(move |(_, of, _)| same(*of, right));
        let sends: BTreeSet<usize> = of(Rights::CONNECT_SEND_UDP).map(|(n, ..)| *n).collect();
        // It brings the port of its own that sending takes.
        let brought = |right: Rights, ports: (u16, u16)| {
            !sends.is_empty() && same(right, Rights::BIND_UDP) && ports == (0, 0)
        };
        let mut options = Vec::new();
        for right in PORTS {
            let wanted: Vec<_> = of(right).filter(|(_, right, ports)| !brought(*right, *ports)).collect();
            let Some(value) = listed(wanted.iter().map(|(.., ports)| *ports)) else { continue };
            let mut askers: Askers = wanted.iter().map(|(n, right, _)| (*n, *right)).collect();
            if same(right, Rights::CONNECT_SEND_UDP) {
                let bound = of(Rights::BIND_UDP).filter(|(_, right, ports)| brought(*right, *ports));
                askers.extend(bound.map(|(n, right, _)| (*n, *right)));
            }
            options.push(proposed([why::of_port(right).into(), value.into()], &askers));
        }
        options
    }
}

/// What is at a path, and below it.
fn below<'a>(items: &'a Items, folder: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Item)> {
    items
        .range::<Path, _>((Bound::Included(folder), Bound::Unbounded))
        .take_while(move |(path, _)| path.starts_with(folder))
}

fn proposed(words: [OsString; 2], askers: &[(usize, Rights)]) -> Proposed {
    let serves: BTreeSet<usize> = askers.iter().map(|(n, _)| *n).collect();
    Proposed { words: words.into(), serves: serves.into_iter().collect() }
}

fn all(askers: &[(usize, Rights)]) -> Rights {
    askers.iter().map(|(_, rights)| *rights).collect()
}

fn only(askers: &[(usize, Rights)], part: Rights) -> Askers {
    askers.iter().map(|(n, rights)| (*n, *rights & part)).filter(|(_, rights)| !rights.is_empty()).collect()
}

/// Whether two sets have the same rights, however each came by them.
fn same(one: Rights, other: Rights) -> bool {
    one.contains(other) && other.contains(one)
}

/// The least group that has these rights.
fn group(rights: Rights) -> Rights {
    let least = GROUPS.iter().find(|(_, group)| group.contains(rights));
    least.map_or(Rights::RWX, |(_, group)| *group)
}

/// What is done with these rights, in groups: whoever makes a file writes it.
fn uses(rights: Rights) -> Rights {
    group(rights & Rights::RWX)
}

/// Grants each path what nothing above it does.
fn settle_both(groups: &mut Items, exact: &mut Items) {
    settle_by(groups, exact, true);
    settle_by(exact, groups, false);
}

fn settle(items: &mut Items) {
    settle_by(items, &mut Items::new(), false);
}

/// Leaves out what is granted above, by these items themselves or by others; in groups, if `grouped`. Who asks for it is
/// then served by that.
fn settle_by(items: &mut Items, others: &mut Items, grouped: bool) {
    let mut kept = Items::new();
    for (path, item) in std::mem::take(items) {
        let mut left: Askers = item.askers;
        for above in path.ancestors() {
            for above in [&mut kept, &mut *others].into_iter().filter_map(|items| items.get_mut(above)) {
                above.askers.extend(only(&left, above.rights));
                left = left.into_iter().map(|(n, rights)| (n, rights - above.rights)).collect();
            }
        }
        left.retain(|(_, rights)| !rights.is_empty());
        if !left.is_empty() {
            let rights = if grouped { group(all(&left)) } else { all(&left) };
            kept.insert(path, Item { rights, askers: left });
        }
    }
    *items = kept;
}

/// The first and the last.
fn ends(ports: Ports) -> (u16, u16) {
    let text = ports.to_string();
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => (first, last),
        _ => (0, u16::MAX),
    }
}

/// Ports as an option takes them: three or more in a row are a range.
fn listed(ports: impl Iterator<Item = (u16, u16)>) -> Option<String> {
    let sorted: BTreeSet<(u16, u16)> = ports.collect();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for (first, last) in sorted {
        match ranges.last_mut() {
            Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
            _ => ranges.push((first, last)),
        }
    }
    let said = |(first, last): &(u16, u16)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => Ports::from(*first..=*last).to_string(),
    };
    (!ranges.is_empty()).then(|| ranges.iter().map(said).collect::<Vec<_>>().join(","))
}
