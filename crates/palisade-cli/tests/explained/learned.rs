//! What `palisade learn` wrote, held against what was done when it was learned: random operations on a random tree, and the
//! same again under the policy, on a tree that is the same again. What succeeded has to succeed; nothing else is claimed.
//!
//! Left out are whiteouts, for a policy that is learned is for the newest kernel, where they take another right than before
//! (erratum 4); and abstract sockets of others, which `palisade run` closes with all UNIX sockets where none is granted by
//! its path.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

use nix::unistd::geteuid;
use palisade::{FileKind, PolicyFile};

use crate::expect::Said;
use crate::process::{Outcome, Process, words};
use crate::random::Random;
use crate::round::{Generator, Operation, ROOT, Round, What};
use crate::run::{Closed, Test, become_user};
use crate::tally::Tally;
use crate::worker::{Step, WAYS, Way};
use crate::world::World;

/// Operations on one tree: many, for what one makes another uses.
const OPERATIONS: usize = 16;
/// So many mismatches are made smaller and shown.
const SHOWN: usize = 5;

/// What is done, and how wide the rules are that are learned from it.
#[derive(Clone, Debug)]
struct Case {
    round: Round,
    operations: Vec<(Operation, Way)>,
    /// What of the tree is closed to some.
    closing: u64,
    fold: &'static str,
}

#[derive(Default)]
struct Count {
    operations: usize,
    succeeded: usize,
    policies: usize,
    rules: usize,
}

/// As many operations as that. Whether all that was learned holds.
pub fn all(test: &Test, cases: usize, seed: u64, mounts: bool) -> bool {
    let (mut random, root) = (Random::new(seed), geteuid().is_root());
    let mut counts = [("folder", Count::default()), ("exact", Count::default())];
    let (mut done, mut found) = (0, 0);
    while done < cases {
        if root && done >= cases / 2 && geteuid().is_root() {
            println!("As root {done} operations; from here on as an ordinary user");
            become_user();
        }
        counts.rotate_left(1);
        let (fold, count) = &mut counts[0];
        let case = Case::new(&mut random, test, mounts && geteuid().is_root(), fold);
        done += case.operations.len();
        if let Err(mismatch) = test.learned(&case, count) {
            found += 1;
            if found <= SHOWN {
                let (case, mismatch) = test.smaller(case, mismatch);
                println!("In this round (PALISADE_SEED={seed}): {:?}", case.round.tree);
                case.operations.iter().for_each(|(operation, way)| println!("  {operation:?} by {way:?}"));
                println!("MISMATCH: {mismatch}");
            }
        }
    }
    for (fold, Count { operations, succeeded, policies, rules }) in &counts {
        println!(
            "learned, --fold {fold}: {operations} operations, {succeeded} succeeded, and again under {policies} policies of \
             {rules} rules together"
        );
    }
    let enough = counts.iter().all(|(_, count)| count.succeeded * 3 > count.operations);
    if !enough {
        println!("Fewer than one in three succeeded");
    }
    println!("{found} mismatches");
    enough && found == 0
}

impl Case {
    fn new(random: &mut Random, test: &Test, mounts: bool, fold: &'static str) -> Case {
        let (tally, ports, abi) = (Tally::default(), &test.peers.ports, test.abi());
        let mut round = Generator { random, mounts, abi, ports, tally: &tally }.round(OPERATIONS);
        // Of a policy that operations are pointed at.
        round.layers.clear();
        round.tree.retain(|(_, what)| *what != What::Whiteout);
        let mut operations: Vec<(Operation, Way)> = Vec::new();
        // Of those that are made at random most go into themselves.
        let mut folders = round.tree.iter().filter(|(_, what)| *what == What::Dir).map(|(path, _)| path);
        let folder = folders.next_back().filter(|_| random.percent(30));
        let moved = folder.map(|folder| Operation::Rename(folder.clone(), folder.with_file_name("moved")));
        operations.extend(moved.map(|operation| (operation, Way::At)));
        for operation in std::mem::take(&mut round.operations) {
            if matches!(operation, Operation::Make(_, FileKind::Whiteout) | Operation::ConnectAbstract { .. })
            {
                continue;
            }
            let mut moves = operations.iter().filter_map(|(earlier, _)| followed(&operation, earlier));
            let moved = if random.percent(50) { moves.next_back() } else { None };
            operations.push((moved.unwrap_or(operation), *random.of(&WAYS)));
        }
        Case { round, operations, closing: random.below(1 << 30) as u64, fold }
    }

    /// The same with one thing less.
    fn candidates(&self) -> impl Iterator<Item = Case> {
        let operations = (0..self.operations.len()).map(|n| {
            let mut case = self.clone();
            case.operations.remove(n);
            case
        });
        let tree = (0..self.round.tree.len()).rev().map(|n| {
            let mut case = self.clone();
            case.round.tree.remove(n);
            case
        });
        operations.chain(tree)
    }
}

impl Test {
    /// Learns, and does it again under what was learned; or what is wrong.
    fn learned(&self, case: &Case, count: &mut Count) -> Result<(), String> {
        let file = self.policy_file();
        let options = ["--fold".into(), case.fold.into(), "--output".into(), file.clone().into()];
        let before = self.once("learn", &options, case)?;
        let read = PolicyFile::read(&file).map_err(|error| error.to_string())?;
        count.policies += 1;
        count.rules += read.stated().count();
        count.operations += before.len();
        count.succeeded += before.iter().filter(|outcome| succeeded(**outcome)).count();
        let text = fs::read_to_string(&file).expect("what was learned");
        let options = ["--policy".into(), file.into()];
        let after = self.once("run", &options, case).map_err(|said| format!("{said}\n{text}"))?;
        let outcomes = case.operations.iter().zip(before.into_iter().zip(after));
        let wrong = outcomes.filter(|(_, (before, after))| succeeded(*before) && after.0 != 0);
        let wrong: Vec<String> = wrong
            .map(|((operation, way), (_, after))| {
                format!("{operation:?} by {way:?} succeeded, and now {after:?}")
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let refused = self.refused(&options, case);
        Err(format!("{}\n{refused:#?}\n{text}", wrong.join("\n")))
    }

    fn policy_file(&self) -> PathBuf {
        self.dir.join(format!("learned-{}.toml", geteuid()))
    }

    /// Does it once, on a new tree that is always at the same place.
    fn once(&self, subcommand: &str, options: &[OsString], case: &Case) -> Result<Vec<Outcome>, String> {
        let name = format!("palisade-learned-{}", process::id());
        let dir = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let world = World::at(dir, &case.round);
        let _closed = Closed::new(&world, &case.round, &mut Random::new(case.closing));
        let failed = |said: String| format!("palisade {subcommand} ended with {said}");
        let process = Process::under(subcommand, &self.programs, &world, &self.peers, options);
        let mut process = process.map_err(failed)?;
        let perform = |(operation, way): &(Operation, Way)| {
            world.contains(operation);
            let was_there = world.there(operation);
            let outcome = process.perform(&self.words_of(operation, *way, &world));
            if outcome.0 != 0 {
                world.undo(operation, was_there);
            }
            self.peers.drain();
            outcome
        };
        let outcomes = case.operations.iter().map(perform).collect();
        process.ended().map_err(failed)?;
        Ok(outcomes)
    }

    /// What to tell the program: what always fails tells nothing of what is learned, so that it does something alike.
    fn words_of(&self, operation: &Operation, way: Way, world: &World) -> Vec<Vec<u8>> {
        let mut words = words(operation, way, world, &self.peers);
        let instead: Option<&[u8]> = match operation {
            Operation::Execute(_) => Some(b"may-execute"),
            Operation::Ioctl(path) if path.is_absolute() => Some(b"entropy"),
            Operation::Truncate(_) if way != Way::Old => Some(b"ftruncate"),
            _ => None,
        };
        words[0] = instead.map_or(words[0].clone(), <[u8]>::to_vec);
        words
    }

    /// What is refused under the policy.
    fn refused(&self, policy: &[OsString], case: &Case) -> Result<Vec<Said>, String> {
        let (out, said) = self.output();
        let explain = ["--explain", "--json", "--output"].map(OsString::from);
        self.once("run", &[&explain[..], &[out.into()], policy].concat(), case)?;
        Ok(said())
    }

    /// With as little as shows a mismatch.
    fn smaller(&self, mut case: Case, mut mismatch: String) -> (Case, String) {
        let found = |case: Case| Some((self.learned(&case, &mut Count::default()).err()?, case));
        loop {
            let smaller = case.candidates().find_map(found);
            let Some((what, smaller)) = smaller else { return (case, mismatch) };
            (case, mismatch) = (smaller, what);
        }
    }
}

/// What uses something in a folder uses it where the folder was moved to.
fn followed(operation: &Operation, earlier: &Operation) -> Option<Operation> {
    let (Operation::Rename(from, to) | Operation::Exchange(from, to)) = earlier else { return None };
    let plain = |path: &Path| path.strip_prefix(ROOT).unwrap_or(path).to_owned();
    let moved = |path: &Path| {
        let rest = plain(path).strip_prefix(plain(from)).ok()?.to_owned();
        Some(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
    };
    Some(match operation {
        Operation::Open(path, how) => Operation::Open(moved(path)?, *how),
        Operation::List(path) => Operation::List(moved(path)?),
        Operation::Execute(path) => Operation::Execute(moved(path)?),
        Operation::Truncate(path) => Operation::Truncate(moved(path)?),
        Operation::Unlink(path) => Operation::Unlink(moved(path)?),
        _ => return None,
    })
}

fn succeeded(outcome: Outcome) -> bool {
    outcome == (0, Step::Itself)
}
