//! What occurred, and how often.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use palisade::{Abi, Decision, Grant, Rights};

use crate::round::{Operation, Round, What};
use crate::world::World;

#[derive(Default)]
pub struct Tally {
    pub cases: usize,
    /// Policies that neither takes.
    pub invalid: usize,
    pub suggestions: usize,
    /// How the operations of the last round ended, with its policy and without; the latter only where it failed.
    pub seen: Vec<(i32, i32)>,
    unsaid: BTreeMap<String, usize>,
    /// Of each operation: how often it was allowed, and refused.
    operations: BTreeMap<&'static str, [usize; 2]>,
    errnos: BTreeMap<String, usize>,
    /// By what kind of rule it was allowed, and which right was missing.
    rules: BTreeMap<String, usize>,
    rights: BTreeMap<&'static str, usize>,
    circumstances: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub fn cannot_say(&mut self, decision: &Decision) {
        self.cases += 1;
        let why = decision.cannot_say().unwrap_or_default();
        // Without the path that it begins with.
        let reasons =
            ["is no folder", "under which cannot be seen", "nothing is beside it", "too many symbolic links"];
        let why = reasons.into_iter().find(|reason| why.ends_with(reason)).unwrap_or(why);
        *self.unsaid.entry(why.to_owned()).or_default() += 1;
    }

    pub fn count(
        &mut self,
        operation: &Operation,
        decision: &Decision,
        outcome: i32,
        round: &Round,
        world: &World,
        moved: bool,
    ) {
        self.operations.entry(operation.kind()).or_default()[usize::from(decision.is_refused())] += 1;
        if decision.is_refused() {
            *self.errnos.entry(format!("{:?}", Errno::from_raw(outcome))).or_default() += 1;
        }
        let mut rule = |kind: String| *self.rules.entry(kind).or_default() += 1;
        for granted in decision.rules() {
            match &granted.grant {
                Grant::Path { rights, path } => {
                    let on = match fs::metadata(path) {
                        Ok(meta) if meta.is_dir() => "a folder",
                        _ if path.starts_with("/dev") => "a device",
                        _ => "a file",
                    };
                    rule(format!("{} on {on}", kind_of(*rights)));
                }
                Grant::Port { right, ports } => {
                    let range = if ports.to_string().contains('-') { "a range" } else { "a port" };
                    rule(format!("{right} on {range}"));
                }
                _ => {}
            }
        }
        for right in decision.missing().flat_map(|missing| match &missing.grant {
            Grant::Path { rights, .. } | Grant::Unrestricted(rights) => rights.names(),
            Grant::Port { right, .. } => right.names(),
            _ => Rights::empty().names(),
        }) {
            *self.rights.entry(right).or_default() += 1;
        }
        let places: Vec<_> = operation.paths().into_iter().map(|path| world.real(path)).collect();
        let inside = |what: fn(&What) -> bool| {
            let under = round.tree.iter().filter(|(_, w)| what(w)).map(|(at, _)| world.root.join(at));
            let under: Vec<_> = under.collect();
            places.iter().any(|place| {
                let place = world.root.join(place);
                under.iter().any(|at| place.starts_with(at))
            })
        };
        let bytes = |byte: fn(u8) -> bool| {
            operation.paths().iter().any(|path| path.as_os_str().as_encoded_bytes().iter().any(|b| byte(*b)))
        };
        let layers = round.layers.len();
        for (what, holds) in [
            ("through a symbolic link", inside(|what| matches!(what, What::Symlink(_)))),
            ("in a bind mount", inside(|what| matches!(what, What::Bind(_)))),
            ("in a file system of its own", round.apart),
            ("with a bind mount elsewhere", round.has(|what| matches!(what, What::Bind(_)))),
            (
                "a file with several names",
                places
                    .iter()
                    .any(|p| fs::symlink_metadata(p).is_ok_and(|meta| !meta.is_dir() && meta.nlink() > 1)),
            ),
            (
                "with a dot-dot",
                operation.paths().iter().any(|path| path.components().any(|c| c.as_os_str() == "..")),
            ),
            ("an odd name", bytes(|byte| !(byte.is_ascii_alphanumeric() || b"/.@-_".contains(&byte)))),
            ("on what does not exist", decision.note().is_some_and(|note| note.contains("does not exist"))),
            ("after something was moved", moved),
            ("under 1 layer", layers == 1),
            ("under 2 layers", layers == 2),
            ("under 3 layers", layers == 3),
            ("under 4 to 15 layers", layers > 3),
            (
                "with rules in each other",
                round.layers.iter().any(|layer| {
                    layer.rules.iter().any(|(one, _)| {
                        layer.rules.iter().any(|(other, _)| one != other && other.starts_with(one))
                    })
                }),
            ),
            ("of an older ABI", round.layers.iter().any(|layer| layer.abi.is_some())),
            ("with something left alone", round.layers.iter().any(|layer| !layer.free.is_empty())),
            (
                "a layer without files",
                round
                    .layers
                    .iter()
                    .any(|layer| layer.free.contains(Rights::FS | Rights::DEVICES | Rights::UNIX)),
            ),
            ("a layer without refer", round.layers.iter().any(|layer| layer.free.contains(Rights::REFER))),
        ] {
            if holds {
                *self.circumstances.entry(what).or_default() += 1;
            }
        }
    }

    /// How often such an operation was what it was least of: allowed, or refused.
    pub fn of(&self, operation: &Operation, abi: u32) -> usize {
        let [allowed, refused] = self.operations.get(operation.kind()).copied().unwrap_or_default();
        if refusable(operation.kind(), abi) { allowed.min(refused) } else { allowed }
    }

    /// How often a move was refused with EXDEV.
    pub fn moves_refused(&self) -> usize {
        self.errnos.get("EXDEV").copied().unwrap_or(0)
    }

    /// The kind of rule by which the least was allowed so far, and whether it is on a file.
    pub fn rarest_rule(&self) -> (&'static str, bool) {
        let all = RULES.into_iter().flat_map(|kind| [(kind, true), (kind, false)]);
        let count = |kind: &str, file| {
            let on = if file { "a file" } else { "a folder" };
            self.rules.get(&format!("{kind} on {on}")).copied().unwrap_or(0)
        };
        all.min_by_key(|(kind, file)| count(kind, *file)).unwrap_or(("ro", true))
    }

    pub fn unsaid(&self) -> usize {
        self.unsaid.values().sum()
    }

    /// What occurred less often than so many times, of all that has to.
    pub fn rare(&self, least: usize, abi: u32, mounts: bool) -> Vec<String> {
        let mut rare = Vec::new();
        let mut need = |what: String, count: usize| {
            // Of an operation each outcome half as often, so that the operation occurs as often as is asked for.
            let least = if what.ends_with("ed") { least / 2 } else { least };
            if count < least {
                rare.push(format!("{what}: {count}"));
            }
        };
        for (operation, [allowed, refused]) in &self.operations {
            need(format!("{operation}, allowed"), *allowed);
            if refusable(operation, abi) {
                need(format!("{operation}, refused"), *refused);
            }
        }
        need(format!("operations of {KINDS} kinds"), if self.operations.len() == KINDS { least } else { 0 });
        if abi == 0 {
            return rare;
        }
        let rights = rights(abi);
        for errno in ["EACCES", "EXDEV"].into_iter().chain((abi >= 6).then_some("EPERM")) {
            need(errno.to_owned(), self.errnos.get(errno).copied().unwrap_or(0));
        }
        for right in rights.names().filter(|name| abi > 1 || *name != "refer") {
            need(format!("{right} is missing"), self.rights.get(right).copied().unwrap_or(0));
        }
        for kind in RULES {
            for on in ["a file", "a folder"] {
                let kind = format!("{kind} on {on}");
                need(kind.clone(), self.rules.get(&kind).copied().unwrap_or(0));
            }
        }
        for (circumstance, count) in &self.circumstances {
            if mounts || !(circumstance.contains("mount") || circumstance.contains("of its own")) {
                need((*circumstance).to_owned(), *count);
            }
        }
        rare
    }

    pub fn print(&self) {
        let unsaid = self.unsaid();
        println!(
            "{} operations, {} suggestions tried, {} policies that cannot be enforced, {unsaid} times \"cannot say\"",
            self.cases, self.suggestions, self.invalid
        );
        for (operation, [allowed, refused]) in &self.operations {
            println!("  {operation:36} {allowed:7} allowed {refused:7} refused");
        }
        let lists: [Vec<(String, usize)>; 4] = [
            self.errnos.iter().map(|(k, v)| (k.clone(), *v)).collect(),
            self.rights.iter().map(|(k, v)| (format!("{k} is missing"), *v)).collect(),
            self.rules.iter().map(|(k, v)| (format!("by {k}"), *v)).collect(),
            self.circumstances.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(),
        ];
        for (what, count) in lists.into_iter().flatten() {
            println!("  {what:36} {count:7}");
        }
        for (why, count) in &self.unsaid {
            println!("  cannot say, {why}: {count}");
        }
    }
}

/// The kinds of rules, by what they allow.
const RULES: [&str; 7] = ["ro", "rx", "rw", "rwx", "a letter", "one right", "several rights"];
/// As many kinds of operations there are.
const KINDS: usize = 33;

/// A group, a letter, or what else.
fn kind_of(rights: Rights) -> &'static str {
    let names = |rights: Rights| rights.names().collect::<Vec<_>>();
    let groups = [("ro", Rights::RO), ("rx", Rights::RX), ("rw", Rights::RW), ("rwx", Rights::RWX)];
    if let Some((name, _)) = groups.iter().find(|(_, group)| names(*group) == names(rights)) {
        return name;
    }
    match rights {
        _ if [Rights::W, Rights::X, Rights::C].iter().any(|letter| names(*letter) == names(rights)) => {
            "a letter"
        }
        _ if rights.names().count() == 1 => "one right",
        _ => "several rights",
    }
}

fn rights(abi: u32) -> Rights {
    Abi::new(abi).map_or(Rights::empty(), Abi::rights)
}

/// Whether Landlock of that ABI ever refuses it.
fn refusable(operation: &str, abi: u32) -> bool {
    let can = |right: Rights| rights(abi).contains(right);
    match operation {
        "open as a place" | "open for nothing" => false,
        "ioctl" => can(Rights::IOCTL_DEV),
        "truncate" => can(Rights::TRUNCATE),
        "bind TCP" | "connect TCP" => can(Rights::TCP),
        "bind UDP" | "connect UDP" | "send UDP" => can(Rights::UDP),
        "connect to a UNIX socket" => can(Rights::UNIX),
        "connect to an abstract UNIX socket" => can(Rights::ABSTRACT),
        "signal" => can(Rights::SIGNAL),
        _ => abi > 0,
    }
}
