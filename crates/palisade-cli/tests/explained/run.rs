//! The tests: what is explained, as rounds in both ways, with the options that are proposed; and what is learned.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use palisade::{Abi, Domain, Kernel, Open, Rights};
use serde_json::Value;

use crate::expect::{Asked, Expected, Said, said};
use crate::process::{Process, Programs, words};
use crate::random::Random;
use crate::round::{Generator, Operation, Round, What};
use crate::tally::Tally;
use crate::worker::{self, Given, WAYS, Way};
use crate::world::{Peers, World, opened};
use crate::{learned, race, sys};

const TESTS: [&str; 2] = ["explained", "learned"];
/// Before the name of one that is done by this very process.
const ALONE: &str = "--alone";
/// The ordinary user, nobody's number nearly everywhere.
const USER: u32 = 65534;
/// Operations on one tree.
const OPERATIONS: usize = 8;
/// What is proposed is tried for one round in so many.
const PROPOSED: usize = 2;
/// So often one thing after another is granted.
const TRIES: usize = 6;
/// So many mismatches are shown.
const SHOWN: usize = 10;

/// When the watcher reads what a call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Exact,
    Default,
}

impl How {
    pub fn option(self) -> &'static str {
        match self {
            How::Exact => "--explain=exact",
            How::Default => "--explain",
        }
    }
}

/// What came of it, for one way of explaining.
#[derive(Default)]
struct Count {
    refused: usize,
    named: usize,
    missed: usize,
    wrong_cause: usize,
    unsaid: usize,
    /// What was said and did not happen.
    more: usize,
}

#[derive(Default)]
struct Proposals {
    tried: usize,
    worked: usize,
    /// Held back, or without an option.
    none: usize,
}

/// A round, what of its tree is closed to some, and by which calls it is done.
struct Case {
    round: Round,
    closing: u64,
    ways: u64,
}

pub struct Test {
    pub programs: Programs,
    pub peers: Peers,
    kernel: Kernel,
    pub dir: PathBuf,
}

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => otherwise,
    }
}

pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [who @ ("--worker" | "--free"), root, bound] => {
            let number = |text: &str| text.parse().expect("a descriptor");
            if who == "--free" {
                sys::give_up_capabilities();
            }
            worker::main(&Given { root: number(root), bound: number(bound) });
            return ExitCode::SUCCESS;
        }
        ["--race", name] => {
            race::run(name);
            return ExitCode::SUCCESS;
        }
        // Cargo asks what tests there are.
        _ if words.contains(&"--list") => {
            TESTS.iter().for_each(|name| println!("{name}: test"));
            return ExitCode::SUCCESS;
        }
        [ALONE, name] => return test(name),
        _ => {}
    }
    // Each in a process of its own, which becomes an ordinary user.
    let named = |name: &&str| !words.iter().any(|word| TESTS.contains(word)) || words.contains(name);
    let passed = |name: &&str| {
        let status = Command::new("/proc/self/exe").args([ALONE, name]).status();
        status.expect("it can be started").success()
    };
    let failed = TESTS.iter().filter(|name| named(name)).filter(|name| !passed(name)).count();
    ExitCode::from(u8::from(failed > 0))
}

/// One test.
fn test(name: &str) -> ExitCode {
    let (cases, seed) = (number("PALISADE_CASES", 3000) as usize, number("PALISADE_SEED", 1));
    umask(Mode::empty());
    let root = geteuid().is_root();
    let mounts = root && apart();
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    if root {
        // Who removes it in the end.
        chown(dir.path(), Some(USER), Some(USER)).expect("chown");
    }
    let (programs, kernel) = (Programs::new(dir.path()), Kernel::probe());
    let abi = kernel.abi().map_or(0, Abi::number);
    println!(
        "{cases} operations of seed {seed}, on ABI {abi}, {} bind mounts",
        if mounts { "with" } else { "without" }
    );
    let test = Test { programs, peers: Peers::new(), kernel, dir: dir.path().to_owned() };
    let good = match name {
        "learned" => learned::all(&test, cases, seed, mounts),
        _ => test.all(cases, seed, abi, mounts),
    };
    println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(!good))
}

pub fn become_user() {
    setgroups(&[]).expect("setgroups");
    setgid(Gid::from_raw(USER)).expect("setgid");
    setuid(Uid::from_raw(USER)).expect("setuid");
    // Or /proc would hide this process from itself.
    nix::sys::prctl::set_dumpable(true).expect("PR_SET_DUMPABLE");
}

/// Mounts of this process are its own.
fn apart() -> bool {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && mount(None::<&str>, "/", None::<&str>, private, None::<&str>).is_ok()
}

/// What is closed to some by its mode or its owner, and open again when this is dropped.
pub struct Closed(Vec<(OwnedFd, u32)>);

const MODES: [u32; 8] = [0, 0o100, 0o300, 0o400, 0o500, 0o555, 0o644, 0o1777];

impl Closed {
    pub fn new(world: &World, round: &Round, random: &mut Random) -> Closed {
        let mut closed = Vec::new();
        if !random.percent(35) {
            return Closed(closed);
        }
        for (path, what) in &round.tree {
            if matches!(what, What::Symlink(_) | What::Bind(_)) || !random.percent(30) {
                continue;
            }
            let Ok(at) = opened(&world.root.join(path), OFlag::O_PATH | OFlag::O_NOFOLLOW) else { continue };
            let name = name_of(&at);
            let before = fs::metadata(&name).expect("to look at it").permissions();
            // Another name of a link.
            if before.mode() & nix::libc::S_IFMT == nix::libc::S_IFLNK {
                continue;
            }
            if geteuid().is_root() && random.percent(40) {
                chown(&name, Some(USER), Some(USER)).expect("chown");
            }
            fs::set_permissions(&name, fs::Permissions::from_mode(*random.of(&MODES))).expect("chmod");
            closed.push((at, before.mode()));
        }
        Closed(closed)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        for (at, mode) in &self.0 {
            fs::set_permissions(name_of(at), fs::Permissions::from_mode(*mode)).expect("chmod");
        }
    }
}

fn name_of(at: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", at.as_raw_fd()))
}

impl Test {
    pub fn abi(&self) -> u32 {
        self.kernel.abi().map_or(0, Abi::number)
    }

    fn all(&self, cases: usize, seed: u64, abi: u32, mounts: bool) -> bool {
        let (mut random, mut tally) = (Random::new(seed), Tally::default());
        let (mut exact, mut default) = (Count::default(), Count::default());
        let mut proposals = Proposals::default();
        let mut problems: Vec<String> = Vec::new();
        let root = geteuid().is_root();
        let mut good = root.then(|| self.races(&mut problems)).is_none_or(|good| good);
        let mut rounds = 0;
        while tally.cases < cases {
            if root && tally.cases >= cases / 2 && geteuid().is_root() {
                println!("As root {} operations; from here on as an ordinary user", tally.cases);
                become_user();
                good &= self.races(&mut problems);
            }
            let mounts = mounts && geteuid().is_root();
            let ports = &self.peers.ports;
            let mut round =
                Generator { random: &mut random, mounts, abi, ports, tally: &tally }.round(OPERATIONS);
            // Of a ceiling more is allowed than of a layer of the library's, to the program and to move.
            round.layers.truncate(1);
            if let Some(operation) = across(&round) {
                round.operations.push(operation);
                // With these Landlock refuses it with the same error number.
                let rule = (PathBuf::from("."), Rights::MAKE_REG | Rights::REMOVE_FILE);
                round.layers[0].rules.extend(random.percent(50).then_some(rule));
            }
            let (closing, ways) = (random.below(1 << 30) as u64, random.below(1 << 30) as u64);
            let case = Case { round, closing, ways };
            rounds += 1;
            let found = problems.len();
            self.round(&case, How::Exact, &mut exact, &mut tally, &mut problems);
            self.round(&case, How::Default, &mut default, &mut Tally::default(), &mut problems);
            if rounds % PROPOSED == 0 {
                self.proposal(&case, &mut proposals, &mut problems);
            }
            if problems.len() > found && found < SHOWN {
                println!("In this round (PALISADE_SEED={seed}): {:#?}", case.round);
                problems[found..].iter().for_each(|problem| println!("MISMATCH: {problem}"));
            }
        }
        for (how, count) in [("exact", &exact), ("default", &default)] {
            println!(
                "{how}: {} operations, {} refused, {} named, {} missed, {} named that did not happen, {} with the wrong cause, \
                 {} times \"cannot say\"",
                tally.cases,
                count.refused,
                count.named,
                count.missed,
                count.more,
                count.wrong_cause,
                count.unsaid
            );
        }
        let Proposals { tried, worked, none } = proposals;
        println!("{tried} proposals tried, {worked} worked; for {none} there was none");
        tally.print();
        // No failure: that is the model's test to see to.
        tally.rare(cases / 200, abi, mounts).iter().for_each(|rare| println!("  seldom: {rare}"));
        let enough = exact.refused * 10 > tally.cases || abi == 0;
        for count in [&exact, &default] {
            if count.unsaid * 100 > count.refused {
                println!("\"cannot say\" is the answer to more than one in a hundred");
                good = false;
            }
        }
        if !enough {
            println!("Fewer than one in ten was refused");
        }
        if problems.len() > SHOWN {
            println!("{} mismatches", problems.len());
        }
        good && enough && problems.is_empty()
    }

    /// What was said, and the options that make it all possible; the first line, for the program starts nothing.
    pub fn output(&self) -> (PathBuf, impl FnOnce() -> Vec<Said>) {
        let path = self.dir.join(format!("said-{}", geteuid()));
        let read = path.clone();
        (path, move || {
            let text = fs::read_to_string(&read).expect("what is explained");
            let first = text.lines().next().expect("a line");
            let json: Value = serde_json::from_str(first).expect("JSON");
            said(&json)
        })
    }

    fn options(world: &World, round: &Round) -> Option<Vec<OsString>> {
        let mut options = world.policy(&round.layers[0]).to_args().ok()?;
        for option in ["--best-effort", "--ignore-missing"] {
            if !options.iter().any(|word| word == option) {
                options.push(option.into());
            }
        }
        Some(options)
    }

    fn domain(&self, world: &World, round: &Round) -> Option<Domain> {
        let plan = world.policy(&round.layers[0]).best_effort().plan(&self.kernel).ok()?;
        Domain::new([plan]).ok()
    }

    fn round(&self, case: &Case, how: How, count: &mut Count, tally: &mut Tally, problems: &mut Vec<String>) {
        let Case { round, closing, ways } = case;
        let world = World::new(round);
        let (Some(domain), Some(policy)) = (self.domain(&world, round), Test::options(&world, round)) else {
            tally.invalid += 1;
            return;
        };
        let _closed = Closed::new(&world, round, &mut Random::new(*closing));
        let mut ways = Random::new(*ways);
        let (out, said) = self.output();
        let options: [OsString; 4] = [how.option().into(), "--json".into(), "--output".into(), out.into()];
        let options = [&options[..], &policy].concat();
        let Some(mut confined) = Process::confined(&self.programs, &world, &self.peers, &options) else {
            tally.invalid += 1;
            return;
        };
        let mut free = Process::free(&self.programs, &world, &self.peers);
        let mut expected: Vec<(Expected, String)> = Vec::new();
        let mut moved = false;
        tally.seen.clear();
        for operation in &round.operations {
            let way = *ways.of(&WAYS);
            let operation = &as_creat(operation, way);
            let asked = Asked::new(operation, &world, |request| domain.decide(request));
            let was_there = world.there(operation);
            let words = words(operation, way, &world, &self.peers);
            let with = confined.perform(&words);
            world.undo(operation, was_there);
            let mut without = 0;
            if with.0 != 0 {
                world.contains(operation);
                (without, _) = free.perform(&words);
            }
            self.peers.drain();
            tally.seen.push((with.0, without));
            match asked.decision().cannot_say() {
                Some(_) => tally.cannot_say(asked.decision()),
                None => tally.cases += 1,
            }
            if without == 0 || without != with.0 {
                tally.count(operation, asked.decision(), with.0, round, &world, moved);
            }
            moved |= with.0 == 0 && matches!(operation, Operation::Rename(..) | Operation::Exchange(..));
            if let Some(one) = asked.expected(operation, with, without) {
                let about =
                    format!("{operation:?} by {way:?}: {with:?}, free {without}; {}", asked.decision());
                expected.push((one, about));
            }
        }
        confined.end();
        free.end();
        let said = said().into_iter().filter(|said| !of_start(said)).collect();
        compare(how, expected, said, count, problems);
    }

    /// What is proposed for the first operation of a round, and then for what still fails, until it gets as far as it does
    /// without a policy.
    fn proposal(&self, case: &Case, count: &mut Proposals, problems: &mut Vec<String>) {
        let Case { round, closing, ways } = case;
        let (operation, way) = (&round.operations[0], *Random::new(*ways).of(&WAYS));
        let once = |world: &World, mut process: Process| {
            let outcome = process.perform(&words(operation, way, world, &self.peers));
            process.end();
            self.peers.drain();
            outcome.0
        };
        let without = {
            let world = World::new(round);
            let _closed = Closed::new(&world, round, &mut Random::new(*closing));
            world.contains(operation);
            once(&world, Process::free(&self.programs, &world, &self.peers))
        };
        let world = World::new(round);
        let (Some(_), Some(mut policy)) = (self.domain(&world, round), Test::options(&world, round)) else {
            return;
        };
        let _closed = Closed::new(&world, round, &mut Random::new(*closing));
        let mut added: Vec<OsString> = Vec::new();
        for _ in 0..TRIES {
            let (out, said) = self.output();
            let explain: [OsString; 4] =
                [How::Exact.option().into(), "--json".into(), "--output".into(), out.into()];
            let options = [&explain[..], &policy].concat();
            let was_there = world.there(operation);
            let confined = Process::confined(&self.programs, &world, &self.peers, &options);
            let Some(confined) = confined else { return };
            let with = once(&world, confined);
            if with == without {
                if !added.is_empty() {
                    count.tried += 1;
                    count.worked += 1;
                }
                return;
            }
            world.undo(operation, was_there);
            let said: Vec<Said> = said().into_iter().filter(|said| !of_start(said)).collect();
            let more: Vec<OsString> =
                said.iter().flat_map(|said| said.options.iter().flatten()).cloned().collect();
            if more.is_empty() {
                count.none += 1;
                return;
            }
            added.extend_from_slice(&more);
            policy.extend(more);
        }
        count.tried += 1;
        problems.push(format!("{operation:?} by {way:?} does not end with {without} with {added:?} either"));
    }

    /// Threads that disturb each other; whether none was missed that must not be.
    fn races(&self, problems: &mut Vec<String>) -> bool {
        let found = problems.len();
        for how in [How::Exact, How::Default] {
            race::rounds(self, how, problems);
        }
        problems[found..].iter().for_each(|problem| println!("MISMATCH: {problem}"));
        problems.len() == found
    }
}

/// To move something between two mounts, which is nobody's refusal.
fn across(round: &Round) -> Option<Operation> {
    let (mounted, _) = round.tree.iter().find(|(_, what)| matches!(what, What::Bind(_)))?;
    let outside = |(path, what): &&(PathBuf, What)| *what == What::File && !path.starts_with(mounted);
    let (file, _) = round.tree.iter().find(outside)?;
    Some(Operation::Rename(file.clone(), mounted.join("moved")))
}

/// An operation that is to be done by creat(2), where that is the oldest call that does nearly the same.
fn as_creat(operation: &Operation, way: Way) -> Operation {
    match operation {
        Operation::Open(path, how) if way == Way::Old && *how == Open::WRITE | Open::CREATE => {
            Operation::Open(path.clone(), *how | Open::TRUNCATE)
        }
        other => other.clone(),
    }
}

/// Whether it is what Rust's library reads when a program starts.
fn of_start(said: &Said) -> bool {
    let path = said.refusal.path.as_deref();
    path.is_some_and(|path| path.starts_with("/proc") && path.ends_with("maps"))
}

/// Each refusal is named, and nothing else.
fn compare(
    how: How,
    expected: Vec<(Expected, String)>,
    mut said: Vec<Said>,
    count: &mut Count,
    problems: &mut Vec<String>,
) {
    count.refused += expected.len();
    for (one, about) in expected {
        let same = |said: &Said| said.times > 0 && one.refusal.is(&said.refusal);
        let right = |said: &Said| {
            one.by.contains(&said.by.as_str()) || said.by == "cannot-say" && one.unsaid.is_some()
        };
        let at = said.iter().position(|said| same(said) && right(said)).or(said.iter().position(same));
        let Some(at) = at else {
            count.missed += 1;
            problems.push(format!("{how:?}: {about}: not named: {one:?}"));
            continue;
        };
        let named = &mut said[at];
        named.times -= 1;
        count.named += 1;
        if named.by == "cannot-say" {
            count.unsaid += 1;
        }
        if !right(named) {
            count.wrong_cause += 1;
            problems.push(format!("{how:?}: {about}: should be by {:?}, and is {named:?}", one.by));
        }
    }
    for said in said.into_iter().filter(|said| said.times > 0) {
        count.more += said.times as usize;
        problems.push(format!("{how:?}: nobody saw {said:?}"));
    }
}
