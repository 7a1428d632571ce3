//! What it costs to be watched: `palisade run --explain` and `--explain=exact` beside the same run unwatched, `palisade learn`
//! beside the bare program, and strace with a filter (`--seccomp-bpf`): run `cargo bench -p palisade-cli --bench explain`. What of the programs and of
//! strace is not installed is left out, and said.
//!
//! Each time is of everything that was started, watchers too: processor time, and the time until the program has ended.
//! All take turns, and a ratio is the median of the rounds' ratios. Timings are no tests.

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
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use nix::errno::Errno;
    use nix::sys::prctl::set_child_subreaper;
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    use nix::sys::wait::wait;

    const GRANTS: [&str; 6] = ["--rx", "/", "--rw", "/dev", "--rw", "/tmp"];
    /// What Landlock decides on, for strace.
    const GOVERNED: &str = "trace=open,openat,openat2,creat,truncate,mkdir,mkdirat,mknod,mknodat,unlink,unlinkat,rmdir,\
                            rename,renameat,renameat2,link,linkat,symlink,symlinkat,execve,execveat,bind,connect,sendto,\
                            sendmsg,sendmmsg,ioctl,kill,tkill,tgkill,socket";

    struct Program {
        words: &'static [&'static str],
        rounds: usize,
    }

    const PROGRAMS: [Program; 4] = [
        Program { words: &["/usr/bin/python3", "-c", "pass"], rounds: 40 },
        Program { words: &["cargo", "--version"], rounds: 40 },
        Program { words: &["find", "/usr/share/doc"], rounds: 20 },
        // Nearly everything that it does is governed, which is the worst that can be.
        Program {
            words: &["/usr/bin/python3", "-c", "for n in range(5000): open('/dev/null').close()"],
            rounds: 10,
        },
    ];

    struct Row {
        name: &'static str,
        command: Command,
        /// The row that it is held against.
        beside: usize,
    }

    #[derive(Clone, Copy)]
    struct Cost {
        processor: f64,
        until: f64,
    }

    pub fn compare() {
        // Watchers are nobody's children, and are counted all the same.
        set_child_subreaper(true).unwrap();
        let strace = is_there("strace");
        if !strace {
            println!("strace is not installed, and left out");
        }
        println!(
            "{:<58}{:>16}{:>16}",
            "× the same unwatched (strace and learn: bare), median", "processor", "until the end"
        );
        for Program { words, rounds } in PROGRAMS {
            if !is_there(words[0]) {
                println!("{} is not installed, and left out", words[0]);
                continue;
            }
            let palisade = |options: &[&str]| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
                command.args(["run", "--quiet"]).args(options).args(GRANTS).arg("--").args(words);
                command
            };
            let mut bare = Command::new(words[0]);
            bare.args(&words[1..]);
            let mut learn = Command::new(env!("CARGO_BIN_EXE_palisade"));
            learn.args(["learn", "--quiet", "--output", "/dev/null", "--"]).args(words);
            let mut rows = vec![
                Row { name: "bare", command: bare, beside: 0 },
                Row { name: "palisade learn", command: learn, beside: 0 },
                Row { name: "palisade run", command: palisade(&[]), beside: 0 },
                Row {
                    name: "palisade run --explain",
                    command: palisade(&["--explain", "--output", "/dev/null"]),
                    beside: 2,
                },
                Row {
                    name: "palisade run --explain=exact",
                    command: palisade(&["--explain=exact", "--output", "/dev/null"]),
                    beside: 2,
                },
            ];
            if strace {
                let mut command = Command::new("strace");
                command.args(["-f", "--seccomp-bpf", "-e", GOVERNED, "-o", "/dev/null"]).args(words);
                rows.push(Row { name: "strace -f --seccomp-bpf", command, beside: 0 });
            }
            let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); rows.len()];
            for round in 0..rounds {
                for turn in 0..rows.len() {
                    let at = (round + turn) % rows.len();
                    costs[at].push(cost(&mut rows[at].command));
                }
            }
            println!("{}", words.join(" "));
            for (Row { name, beside, .. }, all) in rows.iter().zip(&costs) {
                let ratio = |of: fn(&Cost) -> f64| {
                    median(
                        all.iter()
                            .zip(&costs[*beside])
                            .map(|(this, unwatched)| of(this) / of(unwatched))
                            .collect(),
                    )
                };
                let until = median(all.iter().map(|cost| cost.until).collect());
                println!(
                    "  {name:<38}{:>12.1} ms{:>16.2}{:>16.2}",
                    until * 1000.0,
                    ratio(|cost| cost.processor),
                    ratio(|cost| cost.until)
                );
            }
        }
    }

    /// Runs it until nothing that it has started is left.
    fn cost(command: &mut Command) -> Cost {
        let spent = || {
            let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
            (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (before, begin) = (spent(), Instant::now());
        let status = command.status().unwrap();
        let until = begin.elapsed().as_secs_f64();
        assert!(status.success(), "{command:?}: {status}");
        while wait() != Err(Errno::ECHILD) {}
        Cost { processor: spent() - before, until }
    }

    fn median(mut all: Vec<f64>) -> f64 {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }

    fn is_there(program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }
}
