//! The whole test: as many rounds as are asked for, and what to show where one fails.

use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use palisade::{Abi, Kernel};

use crate::compare::{Comparer, Mismatch, name};
use crate::random::Random;
use crate::round::{Generator, Round};
use crate::script::script;
use crate::tally::Tally;
use crate::world::Peers;

/// The ordinary user, nobody's number nearly everywhere.
const USER: u32 = 65534;
/// Operations on one tree: few, so that there are many trees.
const OPERATIONS: usize = 7;
/// Of so many cases each kind has to occur as often.
const ENOUGH: (usize, usize) = (20_000, 200);

fn number(name: &str, otherwise: impl FnOnce() -> u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => otherwise(),
    }
}

pub fn main() -> ExitCode {
    // Cargo asks what tests there are, or for one: there is one, and it has no name.
    if std::env::args().any(|arg| arg == "--list") {
        println!("model: test");
        return ExitCode::SUCCESS;
    }
    let cases = number("PALISADE_CASES", || 40_000) as usize;
    let seed = number("PALISADE_SEED", || 1);
    umask(Mode::empty());
    let root = geteuid().is_root();
    let mounts = root && apart();
    let peers = Peers::new();
    let comparer = Comparer { peers: &peers, kernel: Kernel::probe() };
    let abi = comparer.kernel.abi().map_or(0, Abi::number);
    println!(
        "{cases} operations of seed {seed}, on ABI {abi}, {} bind mounts",
        if mounts { "with" } else { "without" }
    );
    let scripts = match number("PALISADE_SCRIPTS", || 10) as usize {
        scripts if scripts > 0 && !python() => {
            println!("There is no python3: the program that shows a mismatch is not tried.");
            if std::env::var_os("CI").is_some() {
                return ExitCode::FAILURE;
            }
            0
        }
        scripts => scripts,
    };
    let mut tried = 0;
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    while tally.cases < cases {
        if root && tally.cases >= cases / 2 && geteuid().is_root() {
            println!(
                "As root {} operations; from here on as an ordinary user, without bind mounts",
                tally.cases
            );
            become_user();
        }
        let mounts = mounts && geteuid().is_root();
        let ports = &peers.ports;
        let round = Generator { random: &mut random, mounts, abi, ports, tally: &tally }.round(OPERATIONS);
        if let Some(mismatch) = comparer.run(&round, &mut tally) {
            show(&comparer, round, mismatch);
            println!(
                "This was of PALISADE_SEED={seed}, after {} operations.\ntest model ... FAILED",
                tally.cases
            );
            return ExitCode::FAILURE;
        }
        // Evenly among all rounds, but those whose policy is not taken.
        if tried < scripts && tried * cases <= tally.cases * scripts && !tally.seen.is_empty() {
            tried += 1;
            if let Err(difference) = try_script(&script(&round, &peers, abi), &tally.seen) {
                println!("{difference}\nThis was of PALISADE_SEED={seed}, after {} operations.", tally.cases);
                return ExitCode::FAILURE;
            }
        }
    }
    tally.print();
    println!("{tried} rounds were done by a program in Python too, and ended the same way");
    let mut good = true;
    if cases >= ENOUGH.0 {
        for rare in tally.rare(ENOUGH.1, abi, mounts) {
            println!("TOO RARE: {rare}");
            good = false;
        }
        // Of files with several names the model says less on an overlay.
        let overlay =
            statfs(&std::env::temp_dir()).is_ok_and(|fs| fs.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        if overlay {
            println!("On an overlay: that it cannot be said may be the answer as often as it is.");
        } else if tally.unsaid() * 100 > tally.cases {
            println!("\"cannot say\" is the answer to more than one in a hundred");
            good = false;
        }
    }
    println!("test model ... {}", if good { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(!good))
}

fn become_user() {
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

/// The same with as little as shows it, as a program that anybody can run.
fn show(comparer: &Comparer<'_>, round: Round, mismatch: Mismatch) {
    println!("\nMISMATCH: {}", mismatch.what);
    let (round, mismatch) = smaller(comparer, round, mismatch);
    println!("The least that shows it: {round:#?}\n{}\n", mismatch.what);
    println!("As a program, which says what the kernel does (save it, and run it with python3):\n");
    let abi = comparer.kernel.abi().map_or(0, Abi::number);
    println!("# {}\n{}", mismatch.what, script(&round, comparer.peers, abi));
}

fn python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Whether the program says of each operation what was seen here.
fn try_script(script: &str, seen: &[(i32, i32)]) -> Result<(), String> {
    let output = Command::new("python3").args(["-I", "-c", script]).output();
    let output = output.map_err(|error| format!("python3 cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let here = seen.iter().map(|(with, without)| match with {
        0 => "confined: success".to_owned(),
        _ => format!("confined: {}; not confined: {}", name(*with), name(*without)),
    });
    let here: Vec<String> = here.collect();
    let same = |(line, here): (&str, &String)| line.ends_with(&format!("): {here}"));
    if said.lines().count() == here.len() && said.lines().zip(&here).all(same) {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let here = here.join("\n");
    Err(format!("{script}\nThis program says\n{said}{errors}and here was seen\n{here}"))
}

/// Leaves out what can be, for as long as something can.
fn smaller(comparer: &Comparer<'_>, mut round: Round, mut mismatch: Mismatch) -> (Round, Mismatch) {
    if let Some(last) = mismatch.operation {
        round.operations.truncate(last + 1);
    }
    let mut again = true;
    while again {
        again = false;
        for candidate in candidates(&round) {
            let found = comparer.run(&candidate, &mut Tally::default());
            if let Some(found) = found.filter(|found| found.kind == mismatch.kind) {
                (round, mismatch, again) = (candidate, found, true);
                break;
            }
        }
    }
    (round, mismatch)
}

/// The round with one thing less.
fn candidates(round: &Round) -> Vec<Round> {
    let mut all = Vec::new();
    let mut but = |change: &dyn Fn(&mut Round)| {
        let mut smaller = round.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    if round.apart {
        but(&|r| r.apart = false);
    }
    for n in 0..round.operations.len() {
        but(&|r| drop(r.operations.remove(n)));
    }
    for n in 0..round.layers.len() {
        but(&|r| drop(r.layers.remove(n)));
    }
    for n in (0..round.tree.len()).rev() {
        but(&|r| drop(r.tree.remove(n)));
    }
    for (n, layer) in round.layers.iter().enumerate() {
        for rule in 0..layer.rules.len() {
            but(&|r| drop(r.layers[n].rules.remove(rule)));
            for right in layer.rules[rule].1.iter().filter(|_| layer.rules[rule].1.names().count() > 1) {
                but(&|r| r.layers[n].rules[rule].1 = layer.rules[rule].1 - right);
            }
        }
        for port in 0..layer.ports.len() {
            but(&|r| {
                r.layers[n].ports.remove(port);
            });
        }
        if layer.abi.is_some() {
            but(&|r| r.layers[n].abi = None);
        }
        for right in layer.free.iter() {
            but(&|r| r.layers[n].free = layer.free - right);
        }
    }
    all
}
