//! From single grants to few: rights are rounded to what people read, what is granted above is left out, and many files of
//! one folder become the folder, where that grants nothing of another kind.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use palisade::Rights;

/// How wide what was used becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fold {
    /// Each file, with the very rights that were used
    Exact,
    /// Presets, and folders of which many files were used in the same way
    Folder,
}

impl Fold {
    /// From how many files of a folder on it is granted, tried in this order.
    pub fn steps(self) -> &'static [usize] {
        match self {
            Fold::Exact => &[usize::MAX],
            Fold::Folder => &[4, 3, 2],
        }
    }
}

/// What is granted on a path, and which uses take which rights of it.
#[derive(Clone, Debug, Default)]
pub struct Item {
    pub rights: Rights,
    pub uses: BTreeMap<usize, Rights>,
}

impl Item {
    fn add(&mut self, uses: BTreeMap<usize, Rights>) {
        uses.into_iter().for_each(|(n, rights)| *self.uses.entry(n).or_default() |= rights);
    }
}

pub type Items = BTreeMap<PathBuf, Item>;

/// What is to be known of folders.
pub struct Folders<'a> {
    pub is_dir: &'a dyn Fn(&Path) -> bool,
    /// Whether a folder may be granted as a whole.
    pub may_be_granted: &'a dyn Fn(&Path) -> bool,
    /// The one in which COMMAND starts.
    pub dir: &'a Path,
}

/// Adds a grant for a use.
pub fn add(items: &mut Items, path: &Path, rights: Rights, n: usize) {
    let item = items.entry(path.to_owned()).or_default();
    item.rights |= rights;
    *item.uses.entry(n).or_default() |= rights;
}

/// Makes few of many: from `many` files of one folder on it is granted.
pub fn fold(items: &mut Items, folders: &Folders<'_>, fold: Fold, many: usize) {
    if fold == Fold::Exact {
        return settle(items, &|rights, _| rights);
    }
    let rounded = |rights, path: &Path| round(rights, path, folders);
    loop {
        settle(items, &rounded);
        let found = to_fold(items, folders, many);
        if found.is_empty() {
            return;
        }
        for (folder, rights) in found {
            let in_it = |path: &Path, item: &Item| path.parent() == Some(&folder) && item.rights == rights;
            let folded: Vec<PathBuf> = below(items, &folder)
                .filter(|(path, item)| in_it(path, item))
                .map(|(path, _)| path.clone())
                .collect();
            let folded: Vec<Item> = folded.iter().filter_map(|path| items.remove(path)).collect();
            let item = items.entry(folder.clone()).or_default();
            item.rights = round(item.rights | rights, &folder, folders);
            folded.into_iter().for_each(|folded| item.add(folded.uses));
        }
    }
}

/// What is made is removed, or made again, the next time.
const UNMADE: [(Rights, Rights); 5] = [
    (Rights::MAKE_REG, Rights::REMOVE_FILE),
    (Rights::MAKE_SYM, Rights::REMOVE_FILE),
    (Rights::MAKE_SOCK, Rights::REMOVE_FILE),
    (Rights::MAKE_FIFO, Rights::REMOVE_FILE),
    (Rights::MAKE_DIR, Rights::REMOVE_DIR),
];
/// Who uses so many of the rights to create and to remove uses them all.
const ALL_OF_C: usize = 4;

/// The rights in the words of a policy: letters, as far as they say no more. Of a folder that is not granted as a whole only
/// what was used.
fn round(rights: Rights, path: &Path, folders: &Folders<'_>) -> Rights {
    let is_dir = (folders.is_dir)(path);
    // To see names is not to read files.
    if is_dir && Rights::READ_DIR.contains(rights) {
        return Rights::READ_DIR;
    }
    if is_dir && !(folders.may_be_granted)(path) {
        return rights;
    }
    let letters = [Rights::R, Rights::W, Rights::X].into_iter().filter(|letter| letter.intersects(rights));
    let letters: Rights = letters.collect();
    let named = rights - Rights::RWX;
    let creates = rights & Rights::C;
    let creates = if creates.names().count() < ALL_OF_C {
        let unmade = UNMADE.into_iter().filter(|(made, _)| creates.contains(*made));
        creates | unmade.map(|(_, removed)| removed).collect()
    } else {
        Rights::C
    };
    [letters, creates, named].into_iter().filter(|part| !part.is_empty()).collect()
}

/// Leaves out what is granted above; who needs it is then served by that.
fn settle(items: &mut Items, rounded: &dyn Fn(Rights, &Path) -> Rights) {
    let mut kept = Items::new();
    for (path, item) in std::mem::take(items) {
        let mut uses = item.uses;
        for above in path.ancestors().skip(1) {
            let Some(above) = kept.get_mut(above) else { continue };
            let served = uses.iter().map(|(n, rights)| (*n, *rights & above.rights));
            let served = served.filter(|(_, rights)| !rights.is_empty()).collect();
            above.add(served);
            uses = uses.into_iter().map(|(n, rights)| (n, rights - above.rights)).collect();
        }
        uses.retain(|_, rights| !rights.is_empty());
        if !uses.is_empty() {
            let rights = rounded(uses.values().copied().collect(), &path);
            kept.insert(path, Item { rights, uses });
        }
    }
    *items = kept;
}

/// The deepest folders of which many files have the same rights, and those: all of them, for a program can have thousands.
fn to_fold(items: &Items, folders: &Folders<'_>, many: usize) -> Vec<(PathBuf, Rights)> {
    let mut counts: BTreeMap<(usize, &Path), Vec<(Rights, usize)>> = BTreeMap::new();
    for (path, item) in items {
        let Some(folder) = path.parent() else { continue };
        let counts = counts.entry((folder.components().count(), folder)).or_default();
        match counts.iter_mut().find(|(rights, _)| *rights == item.rights) {
            Some((_, count)) => *count += 1,
            None => counts.push((item.rights, 1)),
        }
    }
    let may = |folder: &Path, rights: Rights| {
        // What is right below the root, as /data, may be a whole disk.
        let named = folder == folders.dir || folder.components().count() > 2;
        // Nothing that is only read is to be written or executed.
        let beyond = rights - Rights::RO;
        let same_use = |(_, item): (&PathBuf, &Item)| (beyond - item.rights).is_empty();
        named && (folders.may_be_granted)(folder) && below(items, folder).all(same_use)
    };
    let found = counts.iter().rev().flat_map(|((depth, folder), counts)| {
        let many = counts.iter().filter(|(_, count)| *count >= many);
        many.map(move |(rights, _)| (*depth, *folder, *rights))
    });
    let mut found = found.filter(|(_, folder, rights)| may(folder, *rights)).peekable();
    let deepest = found.peek().map(|(depth, ..)| *depth);
    let found = found.take_while(|(depth, ..)| Some(*depth) == deepest);
    let mut found: Vec<(PathBuf, Rights)> =
        found.map(|(_, folder, rights)| (folder.to_owned(), rights)).collect();
    // What else is wanted of a folder may be had when that is done.
    found.dedup_by(|second, first| second.0 == first.0);
    found
}

/// What is at a path, and below it.
fn below<'a>(items: &'a Items, folder: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Item)> {
    items
        .range::<Path, _>((Bound::Included(folder), Bound::Unbounded))
        .take_while(move |(path, _)| path.starts_with(folder))
}
