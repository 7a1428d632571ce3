//! From what a program used to the least rules that allow it. Pure: what there is to be known of the system is in
//! [`World`] and in the requests, which were looked up when they were made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use palisade::{Abi, Decision, Domain, Grant, Kernel, Policy, Ports, Preset, Request, Rights, path};

use super::fold::{self, Fold, Folders, Items};
use super::seen::{Kind, One};
use crate::propose::{self, Wanted, World, places};

/// What is to be learned from.
pub struct Lesson<'a> {
    /// What was used.
    pub used: &'a [&'a One],
    /// What is allowed whatever is learned: what COMMAND needs to start, and what was given.
    pub base: &'a Policy,
    pub world: &'a World<'a>,
    /// Whether a folder may be granted as a whole: it is not too wide, and no secret is in it.
    pub may_be_granted: &'a dyn Fn(&Path) -> bool,
    /// Whether a preset by itself allows a request.
    pub preset_allows: &'a dyn Fn(Preset, &Request) -> bool,
    pub fold: Fold,
    /// The number of COMMAND's process.
    pub program: i32,
}

/// A rule, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    pub what: Granted,
    /// The uses, by their places in [`Lesson::used`], and the rights that each takes of it.
    pub uses: BTreeMap<usize, Rights>,
}

/// What is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    Preset(Preset),
    Path { path: PathBuf, rights: Rights },
    Ports { right: Rights, ports: Ports },
    Unrestricted(Rights),
}

/// The rules, and the uses that none of them allows, with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub rules: Vec<Learned>,
    pub not_learned: Vec<(usize, String)>,
}

/// So many rules at most, where folding helps.
const MOST: usize = 60;

/// So many times what is moved may bring rights to where other things are moved from.
const MOVES: usize = 8;

/// Why a move is not learned.
const MOVED: &str =
    "in its new place it can be read, and to let all be read where it was is too much to grant";

/// The newest kernel restricts all that there is: a policy for it stays right after an upgrade.
pub fn newest() -> Kernel {
    Kernel::new(Abi::LATEST)
}

/// Learns.
pub fn learn(lesson: &Lesson<'_>) -> palisade::Result<Outcome> {
    let mut wants = Wants::of(lesson)?;
    let mut rules = wants.few(lesson);
    for _ in 0..MOVES {
        if !wants.add_moves(lesson, &rules)? {
            break;
        }
        rules = wants.few(lesson);
    }
    for rule in &mut rules {
        let below = rule.uses.iter().filter_map(|(n, rights)| Some((*rights, wants.below.get(n)?)));
        let below: Vec<(usize, Rights)> =
            below.flat_map(|(rights, all)| all.iter().map(move |n| (*n, rights))).collect();
        rule.uses.extend(below);
    }
    Ok(Outcome { rules, not_learned: wants.not_learned })
}

/// What is allowed by these rules and the base together.
pub fn domain<'a>(base: &Policy, rules: impl Iterator<Item = &'a Granted>) -> palisade::Result<Domain> {
    let policy = rules.fold(base.clone(), |policy, rule| match rule {
        Granted::Preset(preset) => policy.preset(*preset),
        Granted::Path { path: at, rights } => policy.rule(path(at).rights(*rights)),
        Granted::Ports { right: Rights::CONNECT_TCP, ports } => policy.connect_tcp(*ports),
        Granted::Ports { right: Rights::BIND_TCP, ports } => policy.bind_tcp(*ports),
        Granted::Ports { right: Rights::CONNECT_SEND_UDP, ports } => policy.connect_udp(*ports),
        Granted::Ports { ports, .. } => policy.bind_udp(*ports),
        Granted::Unrestricted(rights) => policy.unrestricted([*rights]),
    });
    Domain::new([policy.require_nothing().plan(&newest())?])
}

/// What each use takes.
struct Wants<'a> {
    /// The grants that each lacks, where they belong; nothing if it lacks none, or if another has it served.
    grants: Vec<Vec<Grant>>,
    /// What of each is refused without.
    refused: Vec<Vec<&'a Request>>,
    /// Uses of the same rights below what another uses, which whatever serves that serves too.
    below: BTreeMap<usize, Vec<usize>>,
    stdio: BTreeSet<usize>,
    not_learned: Vec<(usize, String)>,
}

/// A preset, and what it is for.
type Chosen = (Preset, BTreeSet<usize>);

impl<'a> Wants<'a> {
    fn of(lesson: &Lesson<'a>) -> palisade::Result<Wants<'a>> {
        let base = domain(lesson.base, [].into_iter())?;
        let mut wants = Wants {
            grants: Vec::new(),
            refused: Vec::new(),
            below: BTreeMap::new(),
            stdio: BTreeSet::new(),
            not_learned: Vec::new(),
        };
        for (n, one) in lesson.used.iter().enumerate() {
            let (mut grants, mut refused) = (Vec::new(), Vec::new());
            match one.kind {
                Kind::Stdio => {
                    wants.stdio.insert(n);
                }
                Kind::OfOthers { lists, writes } => grants.push(of_others(lists, writes)),
                _ => {
                    for request in &one.asked {
                        let decision = base.decide(request);
                        if decision.is_allowed() {
                            continue;
                        }
                        let placed = |lacking: Vec<Grant>| -> Result<Vec<Grant>, String> {
                            lacking.into_iter().map(|grant| lesson.placed(grant, one)).collect()
                        };
                        match lacking(&decision).and_then(placed) {
                            Ok(placed) => grants.extend(placed),
                            Err(why) => wants.not_learned.push((n, why)),
                        }
                        refused.push(request);
                    }
                }
            }
            wants.grants.push(grants);
            wants.refused.push(refused);
        }
        wants.gather();
        Ok(wants)
    }

    /// Finds what is used below what is used in the same way.
    fn gather(&mut self) {
        let mut alone: BTreeMap<PathBuf, (Rights, usize)> = BTreeMap::new();
        let mut order: Vec<usize> = (0..self.grants.len()).collect();
        let only_path = |grants: &[Grant]| match grants {
            [Grant::Path { path, rights }] => Some((path.clone(), *rights)),
            _ => None,
        };
        order.sort_by_cached_key(|n| only_path(&self.grants[*n]).map(|(path, _)| path));
        for n in order {
            let Some((path, rights)) = only_path(&self.grants[n]) else { continue };
            let same =
                path.ancestors().find_map(|above| alone.get(above).filter(|(above, _)| *above == rights));
            match same {
                Some((_, above)) => {
                    self.below.entry(*above).or_default().push(n);
                    self.grants[n].clear();
                }
                None => {
                    alone.insert(path, (rights, n));
                }
            }
        }
    }

    /// The presets that serve many uses, each with those. Where each file is granted by itself only those that name what has
    /// another name the next time.
    fn presets(&self, lesson: &Lesson<'_>) -> Vec<Chosen> {
        let places: Vec<usize> = (0..self.grants.len()).filter(|n| !self.grants[*n].is_empty()).collect();
        let wanted: Vec<Wanted> = places
            .iter()
            .map(|n| &self.grants[*n])
            .map(|grants| Wanted { grants: grants.clone(), executes: grants.iter().any(executes) })
            .collect();
        let allowed_by = |preset: Preset, at: usize| {
            let all = &self.refused[places[at]];
            // To look a preset up takes long, and is left out if nothing of its list is wanted.
            let near = |grant: &Grant| match grant {
                Grant::Path { path, .. } => is_listed(preset, path),
                _ => preset.allows().intersects(Rights::NET),
            };
            !all.is_empty()
                && self.grants[places[at]].iter().all(near)
                && all.iter().all(|request| (lesson.preset_allows)(preset, request))
        };
        let chosen = propose::presets(&wanted, lesson.world, &allowed_by).into_iter();
        let mut chosen: Vec<Chosen> = chosen
            .map(|(preset, serves)| (preset, serves.into_iter().map(|at| places[at]).collect()))
            .collect();
        chosen
            .retain(|(preset, _)| lesson.fold == Fold::Folder || [Preset::Tty, Preset::Pty].contains(preset));
        if !self.stdio.is_empty() {
            match chosen.iter_mut().find(|(preset, _)| *preset == Preset::Stdio) {
                Some((_, serves)) => serves.extend(&self.stdio),
                None => chosen.push((Preset::Stdio, self.stdio.clone())),
            }
        }
        chosen
    }

    /// The rules, if so many files of a folder make it one.
    fn rules(&self, lesson: &Lesson<'_>, presets: &[Chosen], many: usize) -> Vec<Learned> {
        let (mut files, mut sockets) = (Items::new(), Items::new());
        let mut ports: Vec<(Rights, Ports, BTreeSet<usize>)> = Vec::new();
        let mut alone: BTreeMap<usize, Rights> = BTreeMap::new();
        let given: Vec<(Vec<Grant>, &BTreeSet<usize>)> =
            presets.iter().map(|(preset, serves)| (preset.grants(), serves)).collect();
        for (n, grants) in self.grants.iter().enumerate() {
            if given.iter().any(|(_, serves)| serves.contains(&n)) {
                continue;
            }
            for grant in grants.iter().filter(|grant| !given.iter().any(|(g, _)| propose::is_given(g, grant)))
            {
                match grant {
                    Grant::Path { path, rights } => {
                        let socket = *rights & Rights::RESOLVE_UNIX;
                        let rest = *rights - Rights::RESOLVE_UNIX;
                        for (items, rights) in [(&mut files, rest), (&mut sockets, socket)] {
                            if !rights.is_empty() {
                                fold::add(items, path, rights, n);
                            }
                        }
                    }
                    Grant::Port { right, ports: of } => {
                        match ports.iter_mut().find(|(r, p, _)| r == right && p == of) {
                            Some((.., uses)) => {
                                uses.insert(n);
                            }
                            None => ports.push((*right, *of, BTreeSet::from([n]))),
                        }
                    }
                    Grant::Unrestricted(rights) => *alone.entry(n).or_default() |= *rights,
                    _ => {}
                }
            }
        }
        let (is_dir, may_be_granted) = (lesson.world.is_dir, lesson.may_be_granted);
        let folders = Folders { is_dir, may_be_granted, dir: &lesson.world.dir };
        fold::fold(&mut files, &folders, lesson.fold, many);
        fold::fold(&mut sockets, &folders, Fold::Exact, many);

        let of_presets = presets.iter().map(|(preset, serves)| Learned {
            what: Granted::Preset(*preset),
            uses: serves.iter().map(|n| (*n, self.rights(*n))).collect(),
        });
        let of_paths = files.into_iter().chain(sockets).map(|(path, item)| Learned {
            what: Granted::Path { path, rights: item.rights },
            uses: item.uses,
        });
        ports.sort_by_key(|(right, ports, _)| (right.short_names(), ports.to_string()));
        let sends = ports.iter().any(|(right, ..)| *right == Rights::CONNECT_SEND_UDP);
        // It brings the port of its own that sending takes.
        ports.retain(|(right, ports, _)| !(sends && *right == Rights::BIND_UDP && *ports == Ports::from(0)));
        let of_ports = ports.into_iter().map(|(right, ports, uses)| Learned {
            what: Granted::Ports { right, ports },
            uses: uses.into_iter().map(|n| (n, right)).collect(),
        });
        let rights: Rights = alone.values().copied().collect();
        let of_scopes =
            (!alone.is_empty()).then_some(Learned { what: Granted::Unrestricted(rights), uses: alone });
        of_presets.chain(of_paths).chain(of_ports).chain(of_scopes).collect()
    }

    /// All rights that a use lacks.
    fn rights(&self, n: usize) -> Rights {
        let rights = |grant: &Grant| match grant {
            Grant::Path { rights, .. } | Grant::Unrestricted(rights) => *rights,
            Grant::Port { right, .. } => *right,
            _ => Rights::empty(),
        };
        self.grants[n].iter().map(rights).collect()
    }

    /// The rules, with as little folded as gives few.
    fn few(&self, lesson: &Lesson<'_>) -> Vec<Learned> {
        let presets = self.presets(lesson);
        let mut found: Option<Vec<Learned>> = None;
        for many in lesson.fold.steps() {
            let rules = self.rules(lesson, &presets, *many);
            if found.as_ref().is_none_or(|found| rules.len() < found.len()) {
                found = Some(rules);
            }
            if found.as_ref().is_some_and(|found| found.len() <= MOST) {
                break;
            }
        }
        found.unwrap_or_default()
    }

    /// Adds what is lacking where something is moved or linked from, for it may not have more rights in its new place: which
    /// it has there depends on all rules. Whether anything was lacking.
    fn add_moves(&mut self, lesson: &Lesson<'_>, rules: &[Learned]) -> palisade::Result<bool> {
        if !self.refused.iter().flatten().any(|request| request.other_path().is_some()) {
            return Ok(false);
        }
        let domain = domain(lesson.base, rules.iter().map(|rule| &rule.what))?;
        let mut lacked = false;
        for (n, one) in lesson.used.iter().enumerate() {
            if self.not_learned.iter().any(|(not, _)| *not == n) {
                continue;
            }
            for request in self.refused[n].iter().filter(|request| request.other_path().is_some()) {
                let decision = domain.decide(request);
                let Ok(lacking) = lacking(&decision) else { continue };
                let lacking: Vec<Grant> =
                    lacking.into_iter().filter_map(|grant| lesson.moved(grant, one)).collect();
                if lacking.iter().any(|grant| self.is_too_much(lesson, grant)) {
                    self.not_learned.push((n, MOVED.to_owned()));
                    // Half of what it takes would open something and allow nothing.
                    self.grants[n].clear();
                    lacked = true;
                    break;
                }
                lacked |= !lacking.is_empty();
                self.grants[n].extend(lacking);
            }
        }
        Ok(lacked)
    }

    /// Whether that lets all be read of a folder that is not granted as a whole, and in which nothing is made.
    fn is_too_much(&self, lesson: &Lesson<'_>, grant: &Grant) -> bool {
        let Grant::Path { path, rights } = grant else { return false };
        let makes = |grant: &Grant| matches!(grant, Grant::Path { path: at, rights } if at == path && rights.contains(Rights::MAKE_REG));
        rights.intersects(Rights::READ_FILE | Rights::EXECUTE)
            && (lesson.world.is_dir)(path)
            && !(lesson.may_be_granted)(path)
            && !self.grants.iter().flatten().any(makes)
    }
}

impl Lesson<'_> {
    /// A grant where it belongs: what the program makes itself is not there yet when it starts the next time. Or why there is
    /// no such place.
    fn placed(&self, grant: Grant, one: &One) -> Result<Grant, String> {
        let Grant::Path { path, rights } = grant else { return Ok(grant) };
        let own = path.strip_prefix(format!("/proc/{}", self.program));
        if let Ok(rest) = own {
            return Ok(Grant::Path { path: own_process(rest), rights });
        }
        // What is kept there is for the next time.
        let keeps = rights.contains(Rights::MAKE_REG) && is_cache(&path, self.world);
        let rights = if keeps { rights | Rights::READ_FILE } else { rights };
        // By then it is there, and is overwritten.
        let overwritten = rights.contains(Rights::MAKE_REG | Rights::WRITE_FILE);
        let rights = if overwritten { rights | Rights::TRUNCATE } else { rights };
        // What was there may be gone by now, or a folder be there instead of a file.
        let is_dir = (self.world.is_dir)(&path);
        let stays = (self.world.exists)(&path) && is_dir == rights.contains(Rights::READ_DIR);
        let was_there = one.kind == Kind::There;
        let lasting = if was_there && stays { None } else { places::lasting(&path, self.world) };
        if was_there && lasting.is_some_and(|folder| !(self.may_be_granted)(folder)) {
            return Err("it is gone, and all that is where it was is too much to grant".to_owned());
        }
        let path = lasting.map_or(path.clone(), Path::to_owned);
        Ok(match self.fold {
            Fold::Exact => Grant::Path { path, rights },
            Fold::Folder => places::whole_of(&Grant::Path { path, rights }, self.world, self.may_be_granted),
        })
    }

    /// A grant on what is moved, where it belongs: other files are moved from that folder the next time.
    fn moved(&self, grant: Grant, one: &One) -> Option<Grant> {
        Some(match self.placed(grant, one).ok()? {
            Grant::Path { path, rights } if self.fold == Fold::Folder => {
                let folder = path.parent().filter(|_| !(self.world.is_dir)(&path));
                let folder = folder.filter(|folder| (self.may_be_granted)(folder)).map(Path::to_owned);
                Grant::Path { path: folder.unwrap_or(path), rights }
            }
            grant => grant,
        })
    }
}

/// Whether programs keep there what they have made already, as Python what it has compiled.
fn is_cache(path: &Path, world: &World<'_>) -> bool {
    let of_home = world.home.as_ref().is_some_and(|home| path.starts_with(home.join(".cache")));
    of_home || path.iter().any(|name| name == "__pycache__")
}

/// What the kernel has of COMMAND's own process; what it has of each thread and descriptor has a number, which is another
/// the next time.
fn own_process(rest: &Path) -> PathBuf {
    let number = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    let lasting: PathBuf = rest.iter().take_while(|name| !number(name)).collect();
    Path::new("/proc/self").join(lasting)
}

/// What the kernel has of other processes, which have other numbers the next time.
fn of_others(lists: bool, writes: bool) -> Grant {
    let writes = if writes { Rights::WRITE_FILE } else { Rights::empty() };
    let reads = if lists { Rights::READ_DIR } else { Rights::READ_FILE };
    Grant::Path { path: "/proc".into(), rights: reads | writes }
}

/// Whether a preset has a path by its list, or may have it, for it is about what descriptors are open on.
fn is_listed(preset: Preset, path: &Path) -> bool {
    let above = |grant: &Grant| matches!(grant, Grant::Path { path: at, .. } if path.starts_with(at));
    [Preset::Stdio, Preset::Tty].contains(&preset) || preset.grants().iter().any(above)
}

fn executes(grant: &Grant) -> bool {
    matches!(grant, Grant::Path { rights, .. } if rights.contains(Rights::EXECUTE))
}

/// What a use lacks; or why no rule would allow it.
fn lacking(decision: &Decision) -> Result<Vec<Grant>, String> {
    match (decision.no_suggestion(), decision.cannot_say()) {
        (Some(why), _) | (_, Some(why)) => Err(why.to_owned()),
        _ => Ok(decision.suggestions().map(|granted| granted.grant.clone()).collect()),
    }
}
