//! What in a policy may not be what was meant.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::locate::{BUILT_IN, Variables, is_root, name_of_built_in, resolved};
use super::{Origin, Stated, What};
use crate::decision::Grant;
use crate::preset::Preset;
use crate::printable;
use crate::rights::Rights;
use crate::rule::{Ports, Rule, Target};

/// What may not be what was meant, and is no mistake: a rule that another makes useless, one that grants more than it
/// seems to, or less. As text: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Where it is said.
    pub origin: Origin,
    /// What may not be meant, and what to do.
    pub message: String,
    /// It is that a path does not exist, which is an error where the policy is enforced.
    pub missing: bool,
}

impl Warning {
    /// One of the caller's own.
    pub fn new(origin: Origin, message: String) -> Warning {
        Warning { origin, message, missing: false }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Line { file, line, column } => write!(f, "{file}:{line}:{column}: {}", self.message),
            words => write!(f, "{words}: {}", self.message),
        }
    }
}

/// Of more rules or ports than these nobody wants to know which is in vain, and it takes long to say.
const MOST: usize = 1000;

/// What lets a program change what is there, or put something new there.
fn changes(rights: Rights) -> bool {
    rights.intersects(Rights::WRITE_FILE | Rights::C | Rights::MAKE_CHAR | Rights::MAKE_BLOCK)
}

const SOCKETS: &str =
    "the sockets of every daemon, some of which do for a program what it may not; name those that are needed";

/// What others run, or believe: of the home folder, and of the system.
const TRUSTED_AT_HOME: [&str; 12] = [
    ".bashrc",
    ".bash_profile",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".ssh",
    ".gitconfig",
    ".config/fish",
    ".config/git",
    ".config/autostart",
    ".config/systemd",
    ".local/share/systemd",
];
const TRUSTED: [&str; 12] = [
    "/etc/passwd",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf.d",
    "/etc/profile.d",
    "/etc/cron.d",
    "/etc/systemd",
    "/etc/sudoers.d",
    "/var/spool/cron",
    "/boot",
    "/dev",
    "/sys",
    "/usr/lib",
];

fn whole_system(rights: Rights) -> String {
    if (rights & Rights::FS).is_empty() {
        return format!("/ has {SOCKETS}");
    }
    "/ is the whole system, with all keys and passwords in it; name the folders that are needed".to_owned()
}

/// A rule on a path, and where that leads.
struct OnPath<'a> {
    origin: &'a Origin,
    rights: Rights,
    path: &'a Path,
    real: PathBuf,
    optional: bool,
}

/// What makes another useless.
struct Wide {
    rights: Rights,
    real: PathBuf,
    name: String,
}

/// What a rule is held against.
struct World<'a> {
    home: Option<PathBuf>,
    /// The folders in which programs are looked up.
    in_path: Vec<PathBuf>,
    /// What decides what the policy is.
    read: &'a [&'a Path],
}

pub(super) fn warnings(stated: &[&Stated], read: &[&Path], variables: Variables<'_>) -> Vec<Warning> {
    let home = variables("HOME").map(|home| resolved(Path::new(&home)));
    let world = World { home, in_path: path_folders(variables), read };
    let on_paths: Vec<OnPath<'_>> = stated.iter().copied().filter_map(on_path).collect();
    let presets = if on_paths.is_empty() { Vec::new() } else { presets(stated) };
    let mut warnings = Vec::new();
    for (at, rule) in on_paths.iter().enumerate() {
        if let Some(message) = rule.missing() {
            warnings.push(Warning { origin: rule.origin.clone(), message, missing: true });
        }
        // By itself it lets files be moved that may be moved at all.
        if rule.rights == Rights::REFER {
            continue;
        }
        let mut messages = rule.dangers(&world);
        if !is_root(&rule.real) {
            messages.extend(rule.nothing_made());
            if on_paths.len() <= MOST {
                messages.extend(changed_above(rule, &on_paths));
                messages.extend(in_vain(at, &on_paths, &presets));
            }
        }
        warnings.extend(messages.into_iter().map(|message| Warning::new(rule.origin.clone(), message)));
    }
    let written = stated.iter().filter_map(|stated| Some((&stated.origin, by_preset(stated, read)?)));
    warnings.extend(written.map(|(origin, message)| Warning::new(origin.clone(), message)));
    warnings.extend(ports(stated));
    warnings
}

impl OnPath<'_> {
    fn missing(&self) -> Option<String> {
        let absent = std::fs::symlink_metadata(self.path)
            .is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory));
        if !absent || self.optional {
            return None;
        }
        let pattern = self.path.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte));
        let hint = match pattern {
            true => "there are no patterns: name the folder",
            false => "optional = true in [[fs.allow]] skips it; to have it made, grant its folder",
        };
        Some(format!("{} does not exist here; {hint}", printable(self.path)))
    }

    /// What it gives away besides what it is for.
    fn dangers(&self, world: &World<'_>) -> Vec<String> {
        if is_root(&self.real) {
            return vec![whole_system(self.rights)];
        }
        let path = printable(self.path);
        let mut dangers = Vec::new();
        // A built-in policy that has /tmp is not to be mended by who has a home there.
        let above = |home: &&PathBuf| home.starts_with(&self.real) && !is_built_in(self.origin);
        if let Some(home) = world.home.as_ref().filter(|home| **home == self.real || above(home)) {
            let is = if *home == self.real { "is" } else { "has in it" };
            dangers.push(format!(
                "{path} {is} your whole home folder, with the keys, passwords and settings in it; name the folders that are \
                 needed"
            ));
        }
        if self.real == Path::new("/proc") {
            dangers.push(
                "/proc has what every process is, and the system's settings; name the files that are needed"
                    .to_owned(),
            );
        }
        if self.rights.contains(Rights::RESOLVE_UNIX) && Path::new("/run").starts_with(&self.real) {
            dangers.push(format!("{path} has {SOCKETS}"));
        }
        if !changes(self.rights) {
            return dangers;
        }
        if let Some(file) = world.read.iter().find(|file| file.starts_with(&self.real)) {
            dangers.push(format!(
                "{path} has this policy in it ({}): the program can change it, and do more the next time; keep it out of there \
                 (as in ~/.config/palisade, with ${{PWD}} in place of .), or name what is below",
                printable(*file)
            ));
        }
        if let Some(folder) = world.in_path.iter().find(|folder| folder.starts_with(&self.real)) {
            dangers.push(format!(
                "{path} has programs in it that are found by PATH ({}): what the program puts there, others run unconfined",
                printable(folder)
            ));
        }
        if let Some(trusted) = self.trusted(world.home.as_deref()) {
            dangers.push(format!(
                "{path} lets the program change {}, by which others run what it writes, unconfined; name the folders that are \
                 needed",
                printable(&trusted)
            ));
        }
        dangers
    }

    /// What it lets be changed of what others run, or believe.
    fn trusted(&self, home: Option<&Path>) -> Option<PathBuf> {
        if home == Some(&self.real) {
            return None;
        }
        let at_home = TRUSTED_AT_HOME.iter().filter_map(|name| Some(home?.join(name)));
        let mut all = at_home.chain(TRUSTED.iter().map(PathBuf::from));
        // A device, as /dev/null, is written to without a thought.
        let below = |trusted: &Path| {
            self.real.starts_with(trusted) && (trusted != Path::new("/dev") || self.real == trusted)
        };
        all.find(|trusted| trusted.starts_with(&self.real) || below(trusted))
    }

    /// That it does less than it seems to.
    fn nothing_made(&self) -> Option<String> {
        let path = printable(self.path);
        if self.rights.is_empty() {
            return Some(format!("{path} is a file, to which nothing of this applies"));
        }
        let by_letter = self.rights.contains(Rights::WRITE_FILE)
            && !self.rights.only_exact().contains(Rights::WRITE_FILE);
        (by_letter && !self.rights.intersects(Rights::C) && self.real.is_dir()).then(|| {
            format!(
                "{path} is a folder, and {} lets no file be made or removed in it; for that add the letter c",
                self.rights
            )
        })
    }
}

/// That a preset lets the policy be changed.
fn by_preset(stated: &Stated, read: &[&Path]) -> Option<String> {
    let What::Preset(preset) = stated.what else { return None };
    let rules = preset.rules();
    let written = rules.iter().filter(|rule| changes(rule.allows())).flat_map(Rule::paths);
    let folders: Vec<PathBuf> = written.filter_map(|path| path.canonicalize().ok()).collect();
    let file = read.iter().find(|file| folders.iter().any(|folder| file.starts_with(folder)))?;
    Some(format!(
        "the preset {preset} lets the program change this policy ({}), and do more the next time; keep it elsewhere",
        printable(*file)
    ))
}

/// That another rule lets the program put a link where this one's path is, and does not give the same rights.
fn changed_above(rule: &OnPath<'_>, rules: &[OnPath<'_>]) -> Option<String> {
    let place = resolved(std::path::absolute(rule.path).ok()?.parent()?);
    let above = rules.iter().find(|above| {
        let replaces =
            above.rights.contains(Rights::MAKE_SYM) && above.rights.intersects(Rights::C - Rights::MAKE_SYM);
        replaces && place.starts_with(&above.real) && !above.rights.contains(rule.rights)
    })?;
    Some(format!(
        "{} can be replaced by the program, by {} ({}): with a link to anything, which has these rights the next time; keep it \
         elsewhere",
        printable(rule.path),
        printable(above.path),
        above.origin
    ))
}

fn on_path(stated: &Stated) -> Option<OnPath<'_>> {
    let What::Grant(Grant::Path { rights, path }) = &stated.what else { return None };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let real = resolved(&absolute);
    let rights = if real.is_dir() || !real.exists() { *rights } else { *rights & Rights::on_file() };
    Some(OnPath { origin: &stated.origin, rights, path, real, optional: stated.optional })
}

fn is_built_in(origin: &Origin) -> bool {
    let Origin::Line { file, .. } = origin else { return false };
    BUILT_IN.iter().any(|(name, _)| **file == *name_of_built_in(name))
}

/// The folders in which programs are looked up.
fn path_folders(variables: Variables<'_>) -> Vec<PathBuf> {
    let path = variables("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders.filter_map(|folder| folder.canonicalize().ok()).collect()
}

/// That all that a rule allows is allowed by another, of those that say the same an earlier one; or by a preset.
fn in_vain(at: usize, rules: &[OnPath<'_>], presets: &[Wide]) -> Option<String> {
    let rule = &rules[at];
    // A built-in policy is for any folder, and nobody can mend it.
    if rule.rights.is_empty() || is_built_in(rule.origin) {
        return None;
    }
    let covers = |rights: Rights, real: &Path| rights.contains(rule.rights) && rule.real.starts_with(real);
    let by_rule = rules.iter().enumerate().find(|(other_at, other)| {
        let same = other.rights == rule.rights && other.real == rule.real;
        *other_at != at
            && covers(other.rights, &other.real)
            && other.real.exists()
            && (!same || *other_at < at)
    });
    let wider = match by_rule {
        Some((_, other)) => format!("{} ({})", printable(other.path), other.origin),
        None => presets.iter().find(|wide| covers(wide.rights, &wide.real))?.name.clone(),
    };
    Some(format!("{} gets nothing here that {wider} does not give already", printable(rule.path)))
}

fn presets(stated: &[&Stated]) -> Vec<Wide> {
    let mut wide = Vec::new();
    for stated in stated {
        let What::Preset(preset) = stated.what else { continue };
        for rule in preset.rules() {
            for target in &rule.targets {
                if let Target::Path(path) = target {
                    if let Ok(real) = path.canonicalize() {
                        let name = format!("the preset {preset} ({})", printable(&**path));
                        wide.push(Wide { rights: rule.allows(), real, name });
                    }
                }
            }
        }
    }
    wide
}

/// A port that another line has. Those of presets nobody has written, and they overlap.
fn ports(stated: &[&Stated]) -> Vec<Warning> {
    let mut written: Vec<(Rights, Ports, &Origin)> = Vec::new();
    let mut by_preset: Vec<(Rights, Ports, Preset)> = Vec::new();
    for stated in stated {
        match &stated.what {
            What::Grant(Grant::Port { right, ports }) => written.push((*right, *ports, &stated.origin)),
            What::Preset(preset) => {
                by_preset.extend(preset.ports().iter().map(|(right, ports)| (*right, *ports, *preset)));
            }
            What::Grant(_) => {}
        }
    }
    if written.len() > MOST {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    for (at, (right, ports, origin)) in written.iter().enumerate() {
        let covers = |other: Rights, wide: Ports| {
            other == *right && wide.first <= ports.first && ports.last <= wide.last
        };
        let line = written.iter().enumerate().find(|(other_at, (other, wide, _))| {
            *other_at != at && covers(*other, *wide) && (wide != ports || *other_at < at)
        });
        let by = match line {
            Some((_, (.., line))) => Some(line.to_string()),
            None => by_preset
                .iter()
                .find(|(other, wide, _)| covers(*other, *wide))
                .map(|(.., preset)| format!("the preset {preset}")),
        };
        if let Some(by) = by {
            let message = format!("port {ports} is allowed by {by} already");
            warnings.push(Warning::new((*origin).clone(), message));
        }
    }
    warnings
}
