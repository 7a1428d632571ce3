//! What the tests of proposals share: a system that is made up, refusals as text, and what options grant by their own word.

mod places;
mod programs;
mod properties;
mod rules;
mod secrets;
mod wide;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::Parser;
use palisade::{Grant, Ports, Preset, Rights, Stated, What};

use super::*;
use crate::args::{Args, Command, PolicyArgs};
use crate::quote;

/// Rights that are on folders alone.
fn of_folders() -> Rights {
    "c,read_dir,make_char,make_block".parse().unwrap()
}

/// What is there.
#[derive(Clone, Default)]
pub struct System {
    pub home: Option<PathBuf>,
    pub dir: PathBuf,
    dirs: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    /// Made since.
    new: BTreeSet<PathBuf>,
}

impl System {
    pub fn new(dir: &str) -> System {
        let mut system = System { home: Some("/home/u".into()), dir: dir.into(), ..System::default() };
        for folder in [dir, "/home/u", "/root", "/etc", "/usr", "/proc", "/dev", "/run", "/tmp"] {
            system.add(Path::new(folder), true);
        }
        system
    }

    /// With this, and all folders above. A folder ends with a slash.
    pub fn with(mut self, paths: &[&str]) -> System {
        paths.iter().for_each(|path| self.add(Path::new(path), path.ends_with('/')));
        self
    }

    /// With these, that the program has made.
    pub fn making(mut self, paths: &[&str]) -> System {
        self.new.extend(paths.iter().map(PathBuf::from));
        self.with(paths)
    }

    pub fn add(&mut self, path: &Path, is_dir: bool) {
        self.dirs.extend(path.ancestors().skip(usize::from(!is_dir)).map(Path::to_owned));
        if !is_dir {
            self.files.insert(path.to_owned());
        }
    }

    pub fn ask<T>(&self, ask: impl FnOnce(&World<'_>) -> T) -> T {
        let is_dir = |path: &Path| self.dirs.contains(path);
        let exists = |path: &Path| self.dirs.contains(path) || self.files.contains(path);
        let is_new = |path: &Path| self.new.contains(path);
        let (home, dir) = (self.home.clone(), self.dir.clone());
        ask(&World { home, dir, is_dir: &is_dir, exists: &exists, is_new: &is_new })
    }

    /// With what is wanted there.
    pub fn having(mut self, wanted: &[Wanted]) -> System {
        for grant in wanted.iter().flat_map(|wanted| &wanted.grants) {
            if let Grant::Path { rights, path } = grant {
                let is_dir = self.dirs.contains(path) || rights.intersects(of_folders());
                self.add(path, is_dir);
            }
        }
        self
    }

    pub fn propose(&self, wanted: &[Wanted]) -> Proposal {
        self.ask(|world| propose(wanted, world, &|preset, n| preset_allows(preset, &wanted[n])))
    }
}

/// As `read_file:/x`, `connect_tcp=443` or `signal`, several with blanks; `exec:` in front if it starts a program.
pub fn wanted(text: &str) -> Wanted {
    let (executes, text) = text.strip_prefix("exec: ").map_or((false, text), |rest| (true, rest));
    Wanted { grants: text.split(' ').map(grant).collect(), executes }
}

pub fn all_wanted(texts: &[&str]) -> Vec<Wanted> {
    texts.iter().map(|text| wanted(text)).collect()
}

fn grant(text: &str) -> Grant {
    if let Some((rights, path)) = text.split_once(':') {
        return Grant::Path { rights: rights.parse().unwrap(), path: path.into() };
    }
    match text.split_once('=') {
        Some((right, ports)) => Grant::Port { right: right.parse().unwrap(), ports: ports.parse().unwrap() },
        None => Grant::Unrestricted(Rights::named(text).unwrap()),
    }
}

/// Whether all of it is in the list of a preset.
fn preset_allows(preset: Preset, wanted: &Wanted) -> bool {
    static LISTS: LazyLock<Vec<(Preset, Vec<Grant>)>> =
        LazyLock::new(|| Preset::ALL.iter().map(|preset| (*preset, preset.grants())).collect());
    let list = LISTS.iter().find(|(listed, _)| *listed == preset).map(|(_, grants)| grants.as_slice());
    wanted.grants.iter().all(|grant| is_granted(list.unwrap_or_default(), Rights::empty(), grant))
}

/// Whether all of it is granted by these together.
fn is_granted(given: &[Grant], alone: Rights, grant: &Grant) -> bool {
    let all: Rights = match grant {
        Grant::Path { path, .. } => {
            let on = |given: &Grant| match given {
                Grant::Path { rights, path: at } if path.starts_with(at) => Some(*rights),
                _ => None,
            };
            given.iter().filter_map(on).collect()
        }
        Grant::Port { right, ports } => {
            let of: BTreeSet<u16> = given.iter().flat_map(|given| numbers_of(given, *right)).collect();
            return numbers(*ports).all(|port| of.contains(&port));
        }
        _ => alone,
    };
    let (Grant::Path { rights, .. } | Grant::Unrestricted(rights)) = grant else { return false };
    all.contains(*rights)
}

fn numbers_of(grant: &Grant, of: Rights) -> Vec<u16> {
    match grant {
        Grant::Port { right, ports } if right.contains(of) => numbers(*ports).collect(),
        _ => Vec::new(),
    }
}

fn numbers(ports: Ports) -> impl Iterator<Item = u16> {
    let text = ports.to_string().replace("any", "0-65535");
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    first.parse().unwrap()..=last.parse().unwrap()
}

/// The options, read as the command reads them.
pub struct Said {
    pub args: PolicyArgs,
    stated: Vec<Stated>,
}

impl Said {
    pub fn read(words: &[OsString]) -> Said {
        let line = [OsString::from("palisade"), "show".into()].into_iter().chain(words.iter().cloned());
        let Ok(Args { command: Command::Show(args) }) = Args::try_parse_from(line) else {
            panic!("no options: {}", quote::words(words))
        };
        let args = args.policy;
        Said { stated: args.stated(), args }
    }

    /// What is granted by name, without presets.
    pub fn own(&self) -> Vec<Grant> {
        let own = self.stated.iter().filter_map(|stated| match &stated.what {
            What::Grant(grant) => Some(grant.clone()),
            _ => None,
        });
        own.collect()
    }

    /// All that is granted.
    pub fn grants(&self) -> Vec<Grant> {
        let sends = self.own().iter().any(|grant| !numbers_of(grant, Rights::CONNECT_SEND_UDP).is_empty());
        let bound = sends.then(|| grant("bind_udp=0"));
        let presets = self.args.presets().iter().flat_map(|preset| preset.grants());
        self.own().into_iter().chain(presets).chain(bound).collect()
    }

    pub fn allow(&self, wanted: &Wanted) -> bool {
        let given = self.grants();
        wanted.grants.iter().all(|grant| is_granted(&given, self.alone(), grant))
    }

    fn alone(&self) -> Rights {
        Rights::all().iter().filter(|right| self.args.leaves_alone(*right)).collect()
    }
}

/// What one option grants, and what it leaves alone: read here, for the command takes its time.
pub fn given_by(words: &[OsString]) -> (Vec<Grant>, Rights) {
    let (option, value) = (words[0].to_str().unwrap(), &words[1]);
    let on = |rights: Rights| vec![Grant::Path { rights, path: value.into() }];
    let text = || value.to_str().unwrap().split(',');
    let of = |right: Rights| -> Vec<Grant> {
        text().map(|ports| Grant::Port { right, ports: ports.parse().unwrap() }).collect()
    };
    let grants = match option {
        "--preset" => value.to_str().unwrap().parse::<Preset>().unwrap().grants(),
        "--ro" => on(Rights::RO),
        "--rx" => on(Rights::RX),
        "--rw" => on(Rights::RW),
        "--rwx" => on(Rights::RWX),
        "--unix" => on(Rights::RESOLVE_UNIX),
        "--allow" => vec![grant(value.to_str().unwrap())],
        "--connect-tcp" => of(Rights::CONNECT_TCP),
        "--bind-tcp" => of(Rights::BIND_TCP),
        "--connect-udp" => [of(Rights::CONNECT_SEND_UDP), vec![grant("bind_udp=0")]].concat(),
        "--bind-udp" => of(Rights::BIND_UDP),
        "--unrestricted" => {
            return (Vec::new(), text().map(|name| Rights::named(name).unwrap()).collect());
        }
        other => panic!("no option: {other}"),
    };
    (grants, Rights::empty())
}

/// A reason, as text.
pub fn reason(held: &Held) -> String {
    match held {
        Held::Secret { path, what } => format!("secret {}: {what}", path.to_str().unwrap()),
        Held::Wide { path, holds: None, .. } => format!("wide {}", path.to_str().unwrap()),
        Held::Wide { path, holds: Some(what), .. } => format!("wide {}: {what}", path.to_str().unwrap()),
        Held::Fleeting { path } => format!("fleeting {}", path.to_str().unwrap()),
    }
}

/// Holds a proposal against what is expected of it, and against what no proposal may do.
pub fn check(name: &str, system: &System, texts: &[&str], words: &str, held: &[&str]) {
    let wanted = all_wanted(texts);
    let system = system.clone().having(&wanted);
    let proposal = system.propose(&wanted);
    assert_eq!(quote::words(in_words(&proposal.options)), words, "{name}");
    let reasons: Vec<String> = proposal.held.iter().map(|(_, held)| reason(held)).collect();
    assert_eq!(reasons, held, "{name}");
    assert_sound(&system, &wanted, &proposal);
}

/// Each refusal is served by options that allow it, or held; no option grants what none may.
pub fn assert_sound(system: &System, wanted: &[Wanted], proposal: &Proposal) {
    let said = Said::read(&in_words(&proposal.options));
    let each: Vec<(Vec<Grant>, Rights)> =
        proposal.options.iter().map(|option| given_by(&option.words)).collect();
    // As the command reads them.
    let text = |grants: &[Grant]| grants.iter().map(|grant| format!("{grant:?}")).collect::<BTreeSet<_>>();
    let together: Vec<Grant> = each.iter().flat_map(|(grants, _)| grants.clone()).collect();
    assert_eq!(text(&together), text(&said.grants()), "{proposal:?}");
    assert_eq!(each.iter().map(|(_, alone)| *alone).collect::<Rights>(), said.alone());
    for (n, wanted) in wanted.iter().enumerate() {
        let serving = proposal.options.iter().zip(&each).filter(|(option, _)| option.serves.contains(&n));
        let (given, alone): (Vec<&[Grant]>, Vec<Rights>) =
            serving.map(|(_, (grants, alone))| (grants.as_slice(), *alone)).unzip();
        let is_held = proposal.held.iter().any(|(held, _)| *held == n);
        assert_eq!(is_held, given.is_empty(), "{wanted:?}: {proposal:?}");
        let (given, alone) = (given.concat(), alone.into_iter().collect());
        let allowed = wanted.grants.iter().all(|grant| is_granted(&given, alone, grant));
        assert!(is_held || allowed, "{wanted:?}: {proposal:?}");
    }
    for option in &proposal.options {
        assert!(!option.serves.is_empty() && option.serves.is_sorted(), "{option:?}");
    }
    system.ask(|world| {
        for granted in said.own() {
            let Grant::Path { rights, path } = granted else { continue };
            assert_eq!(secret(&path, world), None, "{proposal:?}");
            let listed = Rights::READ_DIR.contains(rights);
            assert!(listed || !(world.is_dir)(&path) || !too_wide(&path, world), "{path:?}: {proposal:?}");
        }
        for (n, held) in &proposal.held {
            let Held::Secret { path, .. } = held else { continue };
            let asked = wanted[*n].grants.iter().filter_map(|grant| match grant {
                Grant::Path { rights, path: at } if at == path => Some(*rights),
                _ => None,
            });
            let asked: Rights = asked.collect();
            for granted in said.grants() {
                let Grant::Path { rights, path: at } = granted else { continue };
                assert!(!rights.intersects(asked) || !path.starts_with(&at), "{path:?}: {proposal:?}");
            }
        }
    });
}
