//! What it costs to launch /bin/true through `palisade run`, next to an empty Rust program built alike that does
//! nothing but execute it, and to executing it with nothing between: run `cargo bench -p palisade-cli --bench launch`.
//! Needs `taskset` of util-linux.
//!
//! Each time is of a whole process, from its start to its end. All take turns on one processor, and a ratio is the
//! median of the rounds' ratios, so that a busy machine disturbs it little. Timings are no tests: the aims are printed,
//! and missing one is no failure.

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("there is Landlock on Linux alone");
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--bench") {
        linux::compare();
    } else {
        // As `cargo test --benches` does.
        eprintln!("not timed: run cargo bench");
    }
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Instant;

    const ROUNDS: usize = 1000;
    const WARM_UP: usize = 20;

    const TARGET: &str = "/bin/true";
    /// Five rules; with /bin or with the closure it is six or more.
    const RULES: [&str; 10] =
        ["--rx", "/usr", "--rx", "/lib", "--ro", "/etc", "--ro", "/proc", "--rw", "/tmp"];

    const EMPTY: &str = r#"
        use std::os::unix::process::CommandExt;
        fn main() {
            let error = std::process::Command::new("/bin/true").exec();
            panic!("{error}");
        }
    "#;
    /// What `[profile.release]` says in the workspace's Cargo.toml.
    const ALIKE: [&str; 4] = ["-Copt-level=3", "-Clto=thin", "-Ccodegen-units=1", "-Cstrip=debuginfo"];

    struct Row {
        name: &'static str,
        command: Command,
        /// How many times as long as the empty program it may take.
        aim: Option<f64>,
    }

    pub fn compare() {
        let temp = tempfile::tempdir().unwrap();
        let empty = compile(temp.path());
        pin();
        let run = |options: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.args(["run", "--quiet"]).args(options).args(RULES).args(["--", TARGET]);
            command
        };
        let row = |name, command, aim| Row { name, command, aim };
        let mut rows = [
            row("an empty Rust program", Command::new(&empty), None),
            row("nothing between", Command::new(TARGET), None),
            row("palisade, 6 rules", run(&["--no-program", "--rx", "/bin"]), Some(1.15)),
            row("  without backstop", run(&["--no-program", "--no-backstop", "--rx", "/bin"]), None),
            row("palisade, 5 rules and the closure", run(&[]), Some(1.5)),
            row("  without backstop", run(&["--no-backstop"]), None),
        ];

        let mut times = vec![Vec::new(); rows.len()];
        for round in 0..ROUNDS + WARM_UP {
            // Each is as often the first as the last.
            for turn in 0..rows.len() {
                let at = (round + turn) % rows.len();
                let time = time(&mut rows[at].command);
                if round >= WARM_UP {
                    times[at].push(time);
                }
            }
        }

        println!("{ROUNDS} rounds, µs{:>32}  × the empty program (quartiles)    aim", "median (quartiles)");
        let ratios = |all: &[f64]| all.iter().zip(&times[0]).map(|(a, b)| a / b).collect::<Vec<f64>>();
        for (row, all) in rows.iter().zip(&times) {
            let ([low, middle, high], [least, ratio, most]) =
                (quartiles(all.clone()), quartiles(ratios(all)));
            let aim = row.aim.map(|aim| format!("{aim:.2} {}", if ratio > aim { "missed" } else { "met" }));
            println!(
                "{:<38}{middle:>5.0} ({low:.0}-{high:.0})  {ratio:>8.2} ({least:.2}-{most:.2})  {:>16}",
                row.name,
                aim.unwrap_or_default(),
            );
        }
    }

    /// The empty program, by the compiler that cargo uses.
    fn compile(temp: &Path) -> PathBuf {
        let (source, program) = (temp.join("empty.rs"), temp.join("empty"));
        fs::write(&source, EMPTY).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let mut command = Command::new(rustc);
        command.args(["--edition=2024", "-o"]).arg(&program).args(ALIKE).arg(&source);
        assert!(command.status().expect("rustc can be run").success(), "the empty program does not compile");
        program
    }

    /// Runs on one processor from here on, as do the processes that are timed: the last of those allowed, as the
    /// first has most of the interrupts.
    fn pin() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        let last = allowed.trim().rsplit([',', '-']).next().unwrap();
        let mut taskset = Command::new("taskset");
        taskset.args(["--cpu-list", "--pid", last, &std::process::id().to_string()]);
        let done = taskset.output().expect("taskset can be run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// How long a program takes, in microseconds.
    fn time(command: &mut Command) -> f64 {
        let begin = Instant::now();
        let status = command.status().unwrap();
        let time = begin.elapsed();
        assert!(status.success(), "{command:?}: {status}");
        time.as_nanos() as f64 / 1000.0
    }

    fn quartiles(mut all: Vec<f64>) -> [f64; 3] {
        all.sort_by(f64::total_cmp);
        [0.25, 0.5, 0.75].map(|part| all[(all.len() as f64 * part) as usize])
    }
}
