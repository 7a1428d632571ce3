//! What it costs to build a policy of 1 to 1000 rules and to enforce it, next to the same in plain C (`rules.c`): run
//! `cargo bench --bench rules`. Needs a C compiler, `cc`.
//!
//! A time is from the paths as strings to the ruleset that binds; both run on one processor. Timings are no tests: the
//! aims are printed, and missing one is no failure.

#[cfg(target_os = "linux")]
mod beside;

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("there is Landlock on Linux alone");
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    match (std::env::var_os(linux::PATHS), std::env::args().any(|arg| arg == "--bench")) {
        (Some(list), _) => linux::enforce(list.as_ref()),
        (None, true) => linux::table(),
        // As `cargo test --benches` does.
        (None, false) => eprintln!("not timed: run cargo bench"),
    }
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;
    use std::process::Command;
    use std::time::Instant;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    use palisade::Policy;

    use crate::beside::{Beside, compare, directories, paths};

    /// Set for the process that is timed: a file of paths, one a line.
    pub const PATHS: &str = "PALISADE_BENCH_PATHS";

    /// Rules, rounds, and how many times as long as C it may take.
    const ROWS: [(usize, usize, f64); 4] = [(1, 400, 1.4), (10, 400, 1.4), (100, 400, 1.1), (1000, 100, 1.1)];

    /// The timed process, Palisade's side.
    pub fn enforce(list: &Path) {
        let paths = paths(list);
        let begin = Instant::now();
        let policy = Policy::new().ro(&paths).require([]);
        let report = policy.enforce().unwrap();
        println!("{}", begin.elapsed().as_nanos());
        drop((policy, report));
    }

    pub fn table() {
        let temp = tempfile::tempdir().unwrap();
        let c = temp.path().join("rules");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rules.c");
        let compiled = Command::new("cc").arg("-O2").arg("-o").arg(&c).arg(source).status();
        assert!(compiled.expect("cc can be run").success(), "rules.c does not compile");
        pin();

        println!("rules  rounds  palisade µs     C µs  ratio (quartiles)    aim");
        let mut missed = false;
        for (rules, rounds, aim) in ROWS {
            let list = directories(temp.path(), rules);
            let mut palisade = Command::new("/proc/self/exe");
            palisade.env(PATHS, &list);
            let mut plain = Command::new(&c);
            plain.arg(&list);

            let Beside { palisade, c, ratio, quartiles } = compare(&mut palisade, &mut plain, rounds);
            missed |= ratio > aim;
            println!(
                "{rules:>5}  {rounds:>6}  {palisade:>11.1}  {c:>7.1}  {ratio:>5.2} ({:.2}-{:.2})  {aim:.2} {}",
                quartiles[0],
                quartiles[1],
                if ratio > aim { "missed" } else { "met" },
            );
        }
        println!("{}", if missed { "An aim is missed." } else { "All aims are met." });
    }

    /// Runs on one processor from here on, as do the processes that are timed: the last of those allowed, as the
    /// first has most of the interrupts.
    fn pin() {
        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this).unwrap();
        let last = (0..CpuSet::count()).rev().find(|n| allowed.is_set(*n).unwrap_or(false)).unwrap();
        let mut one = CpuSet::new();
        one.set(last).unwrap();
        sched_setaffinity(this, &one).unwrap();
    }
}
