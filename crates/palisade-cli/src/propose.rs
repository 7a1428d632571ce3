//! From what was refused to the options that allow it: few, none wider than it has to be, and such that the program gets
//! further with them than to the next file of the same folder. Nothing here asks the system: what there is to be known of
//! it is in [`World`].

mod known;
mod options;
pub mod places;
pub mod secrets;
mod wide;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use palisade::{Grant, Preset, Rights};

pub use self::known::{Presets, home_and_dir};
pub use self::places::is_installed;
pub use self::secrets::holds_secret;
#[cfg(test)]
use self::secrets::secret;
pub use self::wide::too_wide;

/// What is to be known of the system.
pub struct World<'a> {
    /// The caller's own, without links; /root and each in /home is one too.
    pub home: Option<PathBuf>,
    /// The folder in which COMMAND starts, whole.
    pub dir: PathBuf,
    pub is_dir: &'a dyn Fn(&Path) -> bool,
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// Whether it was made since COMMAND was started, or is reached through a link now.
    pub is_new: &'a dyn Fn(&Path) -> bool,
}

/// What one refusal takes: all of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// On whole paths, without links.
    pub grants: Vec<Grant>,
    /// Whether it was to start a program.
    pub executes: bool,
}

/// The answer: each refusal is served by options, which together have all that it takes, or held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    pub options: Vec<Proposed>,
    /// Which refusals no option is proposed for, and each reason.
    pub held: Vec<(usize, Held)>,
}

/// An option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// As `--ro` and `/x`.
    pub words: Vec<OsString>,
    /// The refusals that it is for, in order.
    pub serves: Vec<usize>,
}

/// Why no option is proposed: whoever wants it has to say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A key, a password or the like; or the socket of a daemon that does anything for whoever reaches it.
    Secret { path: PathBuf, what: &'static str },
    /// These rights would have to be granted on a folder that has much else, and perhaps a secret.
    Wide { path: PathBuf, rights: Rights, holds: Option<&'static str> },
    /// No option could name it so that it is the same the next time: it is gone, or of a process.
    Fleeting { path: PathBuf },
}

/// Options as words of one command line. Presets are one option, as people write them.
pub fn in_words(options: &[Proposed]) -> Vec<OsString> {
    let (presets, others): (Vec<_>, Vec<_>) =
        options.iter().partition(|option| option.words[0] == "--preset");
    let names: Vec<OsString> = presets.iter().map(|option| option.words[1].clone()).collect();
    let presets =
        if names.is_empty() { Vec::new() } else { vec!["--preset".into(), names.join(OsStr::new(","))] };
    presets.into_iter().chain(others.iter().flat_map(|option| option.words.iter().cloned())).collect()
}

/// In which order presets are preferred: what is for one purpose before what is for many. `tmp` is proposed for one
/// reason alone.
const PREFERRED: [Preset; 8] = [
    Preset::Tty,
    Preset::Pty,
    Preset::Dns,
    Preset::Certs,
    Preset::VmInfo,
    Preset::Stdio,
    Preset::Shared,
    Preset::System,
];
const TMP: &str = "/tmp";

/// The options that allow what is wanted. `allowed_by` says whether a preset, added to the policy, would allow all of one
/// of them; their numbers are their places in `wanted`.
pub fn propose(wanted: &[Wanted], world: &World<'_>, allowed_by: &dyn Fn(Preset, usize) -> bool) -> Proposal {
    let asked = Asked::new(wanted, world, allowed_by);
    let mut presets = asked.chosen();
    let served = served(&presets);

    let mut held = asked.held.clone();
    let mut needs = options::Needs::new(|folder| asked.holds_back(folder).is_none(), world);
    for n in asked.open().filter(|n| !served.contains(n)) {
        let rest = asked.without(n, &mut presets);
        let reasons: Vec<Held> = rest.iter().filter_map(|grant| asked.reason(grant)).collect();
        if reasons.is_empty() {
            rest.iter().for_each(|grant| needs.add(grant, n));
        } else {
            // Half of what it takes would open something and allow nothing.
            for chosen in &mut presets {
                chosen.serves.remove(&n);
            }
            hold(&mut held, n, reasons);
        }
    }

    let chosen = presets.into_iter().filter(|chosen| !chosen.serves.is_empty()).map(|chosen| Proposed {
        words: vec!["--preset".into(), chosen.preset.name().into()],
        serves: chosen.serves.into_iter().collect(),
    });
    let options = chosen.chain(needs.options()).collect();
    held.sort_by_key(|(n, _)| *n);
    Proposal { options, held }
}

/// The presets that serve many of what is wanted, and each what it serves. None is for a secret, and none has programs to
/// execute or ports where none of that is wanted.
pub fn presets(
    wanted: &[Wanted],
    world: &World<'_>,
    allowed_by: &dyn Fn(Preset, usize) -> bool,
) -> Vec<(Preset, BTreeSet<usize>)> {
    let asked = Asked { same_kind: true, ..Asked::new(wanted, world, allowed_by) };
    let chosen = asked.chosen();
    chosen.into_iter().map(|chosen| (chosen.preset, chosen.serves)).collect()
}

fn hold(held: &mut Vec<(usize, Held)>, n: usize, reasons: Vec<Held>) {
    for reason in reasons {
        if !held.contains(&(n, reason.clone())) {
            held.push((n, reason));
        }
    }
}

/// What presets are for.
fn served(presets: &[Chosen]) -> BTreeSet<usize> {
    presets.iter().flat_map(|chosen| chosen.serves.iter().copied()).collect()
}

struct Asked<'a> {
    wanted: &'a [Wanted],
    world: &'a World<'a>,
    allowed_by: &'a dyn Fn(Preset, usize) -> bool,
    /// Whether a preset may have nothing of a kind that is not wanted.
    same_kind: bool,
    /// That were wanted, wherever they are; with which rights, and what they are.
    secrets: BTreeMap<PathBuf, (Rights, &'static str)>,
    /// For them.
    held: Vec<(usize, Held)>,
    /// What was found of folders.
    folders: RefCell<BTreeMap<PathBuf, Option<Option<&'static str>>>>,
}

/// A preset that is proposed.
struct Chosen {
    preset: Preset,
    grants: Vec<Grant>,
    serves: BTreeSet<usize>,
}

impl<'a> Asked<'a> {
    fn new(
        wanted: &'a [Wanted],
        world: &'a World<'a>,
        allowed_by: &'a dyn Fn(Preset, usize) -> bool,
    ) -> Asked<'a> {
        let mut secrets: BTreeMap<PathBuf, (Rights, &'static str)> = BTreeMap::new();
        let mut held = Vec::new();
        for (n, wanted) in wanted.iter().enumerate() {
            let mut reasons = Vec::new();
            for grant in &wanted.grants {
                let Grant::Path { path, rights } = grant else { continue };
                let Some(what) = secrets::sensitive(path, *rights, world) else { continue };
                secrets.entry(path.clone()).or_insert((Rights::empty(), what)).0 |= *rights;
                reasons.push(Held::Secret { path: path.clone(), what });
            }
            hold(&mut held, n, reasons);
        }
        Asked { wanted, world, allowed_by, same_kind: false, secrets, held, folders: RefCell::default() }
    }

    /// What is not held.
    fn open(&self) -> impl Iterator<Item = usize> {
        let held: BTreeSet<usize> = self.held.iter().map(|(n, _)| *n).collect();
        (0..self.wanted.len()).filter(move |n| !held.contains(n))
    }

    /// Whether a preset would give a secret away that the program asks for.
    fn betrays(&self, preset: Preset) -> bool {
        let grants = preset.grants();
        let gives = |path: &Path, asked: Rights| {
            let on = |grant: &Grant| match grant {
                Grant::Path { path: at, rights } => path.starts_with(at) && rights.intersects(asked),
                _ => false,
            };
            grants.iter().any(on)
        };
        self.secrets.iter().any(|(path, (asked, _))| gives(path, *asked))
            || self.held.iter().any(|(n, _)| (self.allowed_by)(preset, *n))
    }

    fn chosen(&self) -> Vec<Chosen> {
        let mut presets = self.presets();
        self.add_tmp(&mut presets);
        self.prune(&mut presets);
        presets
    }

    fn presets(&self) -> Vec<Chosen> {
        let mut left: BTreeSet<usize> = self.open().collect();
        let mut chosen = Vec::new();
        for preset in PREFERRED {
            // To look one up takes long.
            if self.same_kind && !self.is_of_their_kind(preset, &left) {
                continue;
            }
            let serves: BTreeSet<usize> =
                left.iter().copied().filter(|n| (self.allowed_by)(preset, *n)).collect();
            if self.is_worth(preset, &serves) && !self.betrays(preset) {
                left.retain(|n| !serves.contains(n));
                chosen.push(Chosen { preset, grants: preset.grants(), serves });
            }
        }
        chosen
    }

    fn is_worth(&self, preset: Preset, serves: &BTreeSet<usize>) -> bool {
        let mut distinct: Vec<&[Grant]> = Vec::new();
        for n in serves {
            let grants = self.wanted[*n].grants.as_slice();
            if !distinct.contains(&grants) {
                distinct.push(grants);
            }
        }
        if self.same_kind && !self.is_of_their_kind(preset, serves) {
            return false;
        }
        let terminal = |n: &usize| self.wanted[*n].grants.iter().any(is_terminal);
        match preset {
            Preset::System => distinct.len() >= 4 || serves.iter().any(|n| self.wanted[*n].executes),
            Preset::Tty | Preset::Pty => distinct.len() >= 2 || serves.iter().any(terminal),
            _ => distinct.len() >= 2,
        }
    }

    /// Whether programs or ports are among what is wanted, if the preset has such.
    fn is_of_their_kind(&self, preset: Preset, serves: &BTreeSet<usize>) -> bool {
        let rights = |grant: &Grant| match grant {
            Grant::Path { rights, .. } => *rights,
            Grant::Port { right, .. } => *right,
            _ => Rights::empty(),
        };
        let wanted: Rights = serves.iter().flat_map(|n| &self.wanted[*n].grants).map(rights).collect();
        let kinds = [Rights::EXECUTE, Rights::NET].into_iter();
        let mut kinds = kinds.filter(|kind| preset.allows().intersects(*kind));
        kinds.all(|kind| wanted.intersects(kind))
    }

    /// Adds `tmp` if something is made or removed right in /tmp, whose name will be another the next time.
    fn add_tmp(&self, presets: &mut Vec<Chosen>) {
        let served = served(presets);
        let left: Vec<usize> = self.open().filter(|n| !served.contains(n)).collect();
        let tmp = Preset::Tmp.grants();
        // What is held for another reason is none to open /tmp for.
        let sensible = |grant: &Grant| {
            is_given(&tmp, grant)
                || presets.iter().any(|c| is_given(&c.grants, grant))
                || self.reason(grant).is_none()
        };
        let makes = |n: &&usize| {
            let grants = &self.wanted[**n].grants;
            let grants: Vec<Grant> = grants.iter().map(|grant| self.placed(grant)).collect();
            grants.iter().any(makes_in_tmp) && grants.iter().all(sensible)
        };
        if !left.iter().any(|n| makes(&n)) || self.betrays(Preset::Tmp) {
            return;
        }
        let serves = left.into_iter().filter(|n| (self.allowed_by)(Preset::Tmp, *n)).collect();
        presets.push(Chosen { preset: Preset::Tmp, grants: tmp, serves });
    }

    /// Leaves out a preset of which others allow all that it is for: `system` has much of the smaller ones.
    fn prune(&self, presets: &mut Vec<Chosen>) {
        let mut at = 0;
        while at < presets.len() {
            let other = |n: usize| {
                let mut others = (0..presets.len()).filter(|other| *other != at);
                others.find(|other| (self.allowed_by)(presets[*other].preset, n))
            };
            let moved: Option<Vec<(usize, usize)>> =
                presets[at].serves.iter().map(|n| Some((*n, other(*n)?))).collect();
            match moved {
                // One that has nothing yet is for a part of something.
                Some(moved) if !moved.is_empty() => {
                    for (n, other) in moved {
                        presets[other].serves.insert(n);
                    }
                    presets.remove(at);
                }
                _ => at += 1,
            }
        }
    }

    /// What of a refusal the presets do not give, those that give some being noted as serving it.
    fn without(&self, n: usize, presets: &mut [Chosen]) -> Vec<Grant> {
        let mut rest = Vec::new();
        for grant in &self.wanted[n].grants {
            match presets.iter_mut().find(|chosen| is_given(&chosen.grants, grant)) {
                Some(chosen) => {
                    chosen.serves.insert(n);
                }
                None => rest.push(self.placed(grant)),
            }
        }
        rest
    }

    fn placed(&self, grant: &Grant) -> Grant {
        places::placed(grant, self.world, |folder| self.holds_back(folder).is_none())
    }

    /// Why a grant is not proposed.
    fn reason(&self, grant: &Grant) -> Option<Held> {
        let Grant::Path { rights, path } = grant else { return None };
        if wide::is_fleeting(path, self.world) {
            return Some(Held::Fleeting { path: path.clone() });
        }
        if !(self.world.is_dir)(path) {
            return None;
        }
        let holds = self.holds_back(path)?;
        let listed = is_listing(*rights) && wide::may_be_listed(path, self.world);
        (!listed).then(|| Held::Wide { path: path.clone(), rights: *rights, holds })
    }

    /// Whether a folder is not granted as a whole, and the secret in it, if it is for that.
    fn holds_back(&self, folder: &Path) -> Option<Option<&'static str>> {
        if let Some(known) = self.folders.borrow().get(folder) {
            return *known;
        }
        let mut wanted = self.secrets.iter().filter(|(path, _)| path.starts_with(folder));
        let wanted = wanted.next().map(|(_, (_, what))| *what);
        let holds = wanted.or_else(|| secrets::held_in(folder, self.world, false));
        let found = (holds.is_some() || too_wide(folder, self.world)).then_some(holds);
        self.folders.borrow_mut().insert(folder.to_owned(), found);
        found
    }
}

/// Whether a preset, by its own list, has all of a grant.
pub fn is_given(grants: &[Grant], grant: &Grant) -> bool {
    grants.iter().any(|given| match (given, grant) {
        (Grant::Path { rights: given, path: at }, Grant::Path { rights, path }) => {
            given.contains(*rights) && path.starts_with(at)
        }
        (given, grant) => given == grant,
    })
}

fn is_listing(rights: Rights) -> bool {
    Rights::READ_DIR.contains(rights)
}

fn makes_in_tmp(grant: &Grant) -> bool {
    let makes = |rights: Rights| !is_listing(rights) && Rights::RW.contains(rights);
    matches!(grant, Grant::Path { rights, path } if path == Path::new(TMP) && makes(*rights))
}

fn is_terminal(grant: &Grant) -> bool {
    let Grant::Path { path, .. } = grant else { return false };
    path.starts_with("/dev/pts") || ["/dev/tty", "/dev/ptmx"].iter().any(|at| path == Path::new(at))
}

#[cfg(test)]
mod tests;
