//! What it costs to build a policy of 1 to 1000 rules and to enforce it, next to the same in plain C (`rules.c`): run
//! `cargo bench --bench rules`. Needs a C compiler, `cc`.
//!
//! Each time is of a fresh process, taken in it, from the paths as strings to the ruleset that binds. The two take
//! turns on one processor, and the ratio is the median of the rounds' ratios, so that a busy machine disturbs it
//! little. Timings are no tests: the aims are printed, and missing one is no failure.

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
        (None, true) => linux::compare(),
        // As `cargo test --benches` does.
        (None, false) => eprintln!("not timed: run cargo bench"),
    }
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, File};
    use std::io::{BufRead, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Instant;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    use palisade::Policy;

    /// Set for the process that is timed: a file of paths, one a line.
    pub const PATHS: &str = "PALISADE_BENCH_PATHS";

    /// Rules, rounds, and how many times as long as C it may take.
    const ROWS: [(usize, usize, f64); 4] = [(1, 400, 1.4), (10, 400, 1.4), (100, 400, 1.1), (1000, 100, 1.1)];
    const WARM_UP: usize = 5;

    /// The timed process, Palisade's side.
    pub fn enforce(list: &Path) {
        let lines = BufReader::new(File::open(list).unwrap()).lines();
        let paths = lines.collect::<Result<Vec<String>, _>>().unwrap();
        let begin = Instant::now();
        let policy = Policy::new().ro(&paths).require([]);
        let report = policy.enforce().unwrap();
        println!("{}", begin.elapsed().as_nanos());
        drop((policy, report));
    }

    pub fn compare() {
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

            let mut times = [Vec::new(), Vec::new(), Vec::new()];
            for round in 0..rounds + WARM_UP {
                let (a, b) = if round % 2 == 0 {
                    let a = time(&mut palisade);
                    (a, time(&mut plain))
                } else {
                    let b = time(&mut plain);
                    (time(&mut palisade), b)
                };
                if round >= WARM_UP {
                    for (all, one) in times.iter_mut().zip([a, b, a / b]) {
                        all.push(one);
                    }
                }
            }
            times.iter_mut().for_each(|all| all.sort_by(f64::total_cmp));
            let [a, b, ratios] = &times;
            let at = |all: &[f64], part: f64| all[(all.len() as f64 * part) as usize];
            let ratio = at(ratios, 0.5);
            missed |= ratio > aim;
            println!(
                "{rules:>5}  {rounds:>6}  {:>11.1}  {:>7.1}  {ratio:>5.2} ({:.2}-{:.2})  {aim:.2} {}",
                at(a, 0.5) / 1000.0,
                at(b, 0.5) / 1000.0,
                at(ratios, 0.25),
                at(ratios, 0.75),
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

    /// Distinct directories, three levels down, and the file that lists them.
    fn directories(temp: &Path, n: usize) -> PathBuf {
        let mut list = String::new();
        for i in 0..n {
            let path = temp.join(format!("{n}/{}/{}/{}", i / 100, i / 10 % 10, i % 10));
            fs::create_dir_all(&path).unwrap();
            list.push_str(&format!("{}\n", path.display()));
        }
        let file = temp.join(format!("{n}.txt"));
        fs::write(&file, list).unwrap();
        file
    }

    /// What a process says of its own time, in nanoseconds.
    fn time(command: &mut Command) -> f64 {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }
}
