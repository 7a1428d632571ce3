//! The enforcement tests on every kernel that can be had, each in a virtual machine, and under the emulator for those
//! that cannot.

mod fetch;
mod machine;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Instant;
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};

use crate::emulate::{self, As, NEWEST};
use fetch::Kernel;
use machine::{Built, Finished, Image};
use table::Row;

#[derive(clap::Args)]
pub struct Options {
    /// Install what is missing, as root on Debian.
    #[arg(long)]
    install: bool,
    /// Write docs/kernels.md.
    #[arg(long)]
    write: bool,
    /// Only the row with this title, as in the table; may be repeated. No proof of the rest.
    #[arg(long, value_name = "TITLE", conflicts_with = "write")]
    only: Vec<String>,
    /// How many run at a time; as many as there are processors, unless it is said.
    #[arg(long, value_name = "N")]
    at_once: Option<usize>,
}

/// A line of kernels in a suite of Debian's.
struct Line {
    name: &'static str,
    suite: &'static str,
    /// The package that has the kernel: the newest that matches.
    kernel: &'static str,
    /// The package that has its modules, if that is another.
    modules: Option<&'static str>,
    expected: As,
}

/// Which Landlock each has to have. On the last one that there is others are emulated.
const LINES: [Line; 8] = [
    image("5.10", "bullseye-security", "linux-image-5.10.*-cloud-amd64", As::None),
    image("6.1", "bookworm-security", "linux-image-6.1.*-cloud-amd64", As::Abi(2)),
    image("6.12", "trixie-security", "linux-image-6.12.*-cloud-amd64", As::Abi(6)),
    binary("6.19", "linux-binary-6.19.*-cloud-amd64", "linux-modules-6.19.*-cloud-amd64", As::Abi(7)),
    binary("7.0", "linux-binary-7.0.*-cloud-amd64", "linux-modules-7.0.*-cloud-amd64", As::Abi(8)),
    binary("7.1", "linux-binary-7.1.*-cloud-amd64", "linux-modules-7.1.*-cloud-amd64", As::Abi(9)),
    binary("7.2", "linux-binary-7.2.*-cloud-amd64", "linux-modules-7.2.*-cloud-amd64", As::Abi(10)),
    binary("7.3", "linux-binary-7.3.*-cloud-amd64", "linux-modules-7.3.*-cloud-amd64", As::Abi(11)),
];

const fn image(name: &'static str, suite: &'static str, kernel: &'static str, expected: As) -> Line {
    Line { name, suite, kernel, modules: None, expected }
}

const fn binary(name: &'static str, kernel: &'static str, modules: &'static str, expected: As) -> Line {
    Line { name, suite: "trixie-backports", kernel, modules: Some(modules), expected }
}

/// Fewer are no proof that it works on every kernel.
const FEWEST: usize = 5;

/// Emulated on this machine, or on the newest kernel where this one is too old: no kernel of these can be had, or the
/// emulator is what makes the difference. And what it is to say of errata, which has to be true of the kernel underneath
/// where a test depends on it.
const HERE: [(As, Option<&str>); 7] = [
    (As::None, None),
    (As::Off, None),
    (As::Filtered, None),
    (As::Abi(1), Some("none")),
    (As::Abi(3), Some("0x4")),
    (As::Abi(4), None),
    (As::Abi(5), None),
];
/// Emulated on the newest kernel, newer than any that the library knows; and which tests run.
const NEWER: [(As, &str); 2] = [(As::Abi(12), "enforce"), (As::Abi(99), "plan")];

/// What the names of jobs begin with that print answers; as whom, follows.
const ANSWERS: &str = "answers:";
const SYSCALLS: &str = "syscalls";
/// The model against this kernel, for so many operations.
const MODEL: &str = "model";
const OPERATIONS: u32 = 2000;
/// What is explained against this kernel, for so many.
const EXPLAINED: &str = "explained";
const EXPLAINED_OPERATIONS: u32 = 100;
/// What is learned, and held against what was done, for as many: where everything that is learned is restricted.
const LEARNED: &str = "learned";
const LEARNED_ABI: u32 = 10;
/// The tests of the command that run everywhere: of what depends on the kernel.
const COMMAND: &str = "backstop hygiene::descriptors";

/// Something to run, of which a row comes.
struct Task<'a> {
    title: String,
    expected: As,
    place: Place<'a>,
    how: How,
    /// Names, and lines for the guest or for this machine: assignments and words.
    jobs: Vec<(String, String)>,
}

enum Place<'a> {
    /// A virtual machine, and what is added to its kernel's command line.
    Machine(&'a Kernel, &'static str),
    Here,
    Nowhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Real,
    /// By choice.
    Emulated,
    /// For the real one has gone from its suite.
    Gone,
}

impl Task<'_> {
    /// The name of its folder of logs.
    fn file(&self) -> String {
        self.title.replace([' ', ',', '='], "_")
    }
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in the workspace")?;
    ensure!(cfg!(target_arch = "x86_64"), "the kernels are those of x86_64, and so has this machine to be");
    tools(options.install)?;
    let work = root.join("target/kernels");
    fs::create_dir_all(&work)?;

    eprintln!("Building the tests, linked statically");
    let built = Built::new(root)?;
    let image = Image::new(&work, &built)?;
    eprintln!("Fetching the kernels");
    let kernels = LINES.iter().map(|line| fetch::kernel(root, &work, line)).collect::<Result<Vec<_>>>()?;
    let mut tasks = tasks(&kernels, &built);
    let titles: Vec<&str> = tasks.iter().map(|task| task.title.as_str()).collect();
    for only in &options.only {
        ensure!(
            titles.contains(&only.as_str()),
            "there is no row {only}; the rows are: {}",
            titles.join("; ")
        );
    }
    tasks.retain(|task| options.only.is_empty() || options.only.contains(&task.title));

    let spaced = [&built.xtask, &work].into_iter().find(|path| path.to_string_lossy().contains(' '));
    ensure!(spaced.is_none(), "the paths of what is built may not have spaces in them: {spaced:?}");
    let at_once = options.at_once.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from));
    let queue: Mutex<VecDeque<(usize, &Task)>> = Mutex::new(tasks.iter().enumerate().collect());
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                while let Some((n, task)) = { queue.lock().unwrap().pop_front() } {
                    let start = Instant::now();
                    let finished = finish(task, &image, &work);
                    let row = Row::new(task, finished, start.elapsed());
                    eprintln!("{}", row.said());
                    done.lock().unwrap().insert(n, row);
                }
            });
        }
    });
    let mut rows: Vec<Row> = done.into_inner().unwrap().into_values().collect();
    table::compare(&mut rows);
    let table = table::text(&rows);
    print!("\n{table}");
    for row in &rows {
        for problem in &row.problems {
            println!("\n{}: {problem}", row.title);
        }
    }
    let good = rows.iter().all(|row| row.problems.is_empty());
    println!("\n{} rows; every job's output is in {}", rows.len(), work.display());
    let code = if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !options.only.is_empty() {
        return Ok(code);
    }
    let real = table::real_kernels(&rows);
    ensure!(real >= FEWEST, "{real} real kernels were tested, and fewer than {FEWEST} prove nothing");
    if good {
        let page = table::document(&rows)?;
        fs::write(work.join("kernels.md"), &page)?;
        if options.write {
            fs::write(root.join("docs/kernels.md"), page)?;
        }
    }
    Ok(code)
}

/// The programs that are needed, and the packages that they are in.
fn tools(install: bool) -> Result<()> {
    const TOOLS: [(&str, &str); 11] = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("cpio", "cpio"),
        ("xz", "xz-utils"),
        ("mkfs.ext4", "e2fsprogs"),
        ("cc", "gcc"),
        ("dpkg-deb", "dpkg"),
        ("setpriv", "util-linux"),
        ("tmux", "tmux"),
        ("bash", "bash"),
        ("tar", "tar"),
        ("gpgv", "gpgv"),
    ];
    ensure!(
        find("apt-get").is_some(),
        "the kernels are Debian's, fetched with its apt, and there is no apt-get here"
    );
    let missing =
        || -> Vec<&str> { TOOLS.iter().filter(|(tool, _)| find(tool).is_none()).map(|(_, p)| *p).collect() };
    let lacking = missing();
    if lacking.is_empty() {
        return Ok(());
    }
    let packages = lacking.join(" ");
    ensure!(install, "install these packages (Debian's names), or give --install as root: {packages}");
    let apt = |words: &[&str]| -> Result<()> {
        let status = Command::new("apt-get").args(words).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "apt-get {} failed", words.join(" "));
        Ok(())
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"][..], &lacking].concat())?;
    ensure!(missing().is_empty(), "still missing after installing {packages}");
    Ok(())
}

/// Looks a program up in PATH, and where root's programs are.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// All that runs, the slowest first.
fn tasks<'a>(kernels: &'a [Option<Kernel>], built: &Built) -> Vec<Task<'a>> {
    let newest = kernels.iter().rev().find_map(Option::as_ref);
    let mut tasks = Vec::new();
    let on_newest = || newest.map_or(Place::Nowhere, |newest| Place::Machine(newest, ""));
    let emulated = |title: String, kernel: As, tests: &str, how: How| {
        let overlay = newest.is_some_and(|newest| newest.overlay.is_some());
        let jobs = in_guest(kernel, &format!("/init emulate {kernel} -- "), tests, overlay);
        Task { title, expected: kernel, place: on_newest(), how, jobs }
    };
    let mut line = |title: &str, kernel: &'a Option<Kernel>, append, expected| {
        // Where there is no Landlock all of it runs on this machine, which is ten times as fast.
        let tests = if matches!(expected, As::Abi(_)) { "" } else { "enforce" };
        tasks.push(match kernel {
            Some(kernel) => {
                let jobs = in_guest(expected, "", tests, kernel.overlay.is_some());
                let place = Place::Machine(kernel, append);
                Task { title: title.to_owned(), expected, place, how: How::Real, jobs }
            }
            None => emulated(title.to_owned(), expected, tests, How::Gone),
        });
    };
    for (Line { name, expected, .. }, kernel) in LINES.iter().zip(kernels) {
        line(name, kernel, "", *expected);
        if *name == "6.12" {
            line("6.12, lsm=capability", kernel, "lsm=capability", As::Off);
        }
    }
    for (kernel, tests) in NEWER {
        tasks.push(emulated(format!("emulated: {}", kernel.name()), kernel, tests, How::Emulated));
    }
    // What the emulator answers where it can pass for any.
    let all = [As::None, As::Off, As::Filtered].into_iter().chain((1..=NEWEST).map(As::Abi));
    let jobs =
        all.map(|kernel| (format!("{ANSWERS}{kernel}"), format!("/init emulate {kernel} -- /init answers")));
    let title = "the emulator".to_owned();
    let (expected, place) = (As::Abi(NEWEST), on_newest());
    tasks.push(Task { title, expected, place, how: How::Emulated, jobs: jobs.collect() });
    for (kernel, errata) in HERE {
        if matches!(kernel, As::Abi(abi) if abi > emulate::here()) {
            tasks.push(emulated(format!("emulated: {}", kernel.name()), kernel, "", How::Emulated));
            continue;
        }
        let errata = errata.map_or(String::new(), |errata| format!("--errata {errata} "));
        let emulate = format!("{} emulate {errata}{kernel} --", built.xtask.display());
        let job = |name: &str, environment: &str, program: &Path, words: &str| {
            (name.to_owned(), format!("{environment} {emulate} {} {words}", program.display()))
        };
        let palisade = format!("CI=1 PALISADE_BINARY={}", built.palisade.display());
        let jobs = [
            job(&format!("{ANSWERS}{kernel}"), "", &built.xtask, "answers"),
            job("enforce", "PALISADE_PROCESSES=1", &built.enforce, "--color never"),
            job(SYSCALLS, "", &built.syscalls, "--color never"),
            job(MODEL, &model_environment("/tmp"), &built.model, ""),
            job("command", &palisade, &built.command, &format!("--color never {COMMAND}")),
        ];
        let jobs = jobs.into_iter().filter(|(name, _)| runs(kernel, name)).collect();
        let title = format!("emulated here: {}", kernel.name());
        tasks.push(Task { title, expected: kernel, place: Place::Here, how: How::Emulated, jobs });
    }
    tasks
}

/// The jobs of a virtual machine. Most cases have their files on a disk; in memory and on an overlay those of plans.
fn in_guest(kernel: As, before: &str, tests: &str, overlay: bool) -> Vec<(String, String)> {
    let job = |name: &str, environment: &str, words: String| {
        (name.to_owned(), format!("{environment} {before}{words} --color never"))
    };
    let enforce = |name: &str, dir: &str, filter: &str| {
        let environment =
            format!("PALISADE_PROCESSES=1 PALISADE_AUDIT=1 PALISADE_BINARY=/palisade TMPDIR=/{dir}");
        job(name, &environment, format!("/enforce {filter}"))
    };
    // Once it was turned on, auditing makes what runs later slower.
    let all = format!("{tests} --skip audit_");
    let command = "CI=1 PALISADE_BINARY=/palisade PALISADE_PROBE=/probe TMPDIR=/tmp";
    let mut jobs = vec![
        (format!("{ANSWERS}{kernel}"), format!("{before}/init answers")),
        enforce("enforce", "ext4", &all),
        enforce("enforce-tmpfs", "tmp", "plan_is_true_of_all_but_one"),
        job(SYSCALLS, "", "/syscalls".to_owned()),
        job(MODEL, &model_environment("/ext4"), "/model".to_owned()),
        job("command", command, format!("/command {COMMAND}")),
    ];
    if overlay {
        jobs.push(enforce("enforce-overlay", "overlay", "plan_is_true_of_all_but_one"));
    }
    jobs.push(enforce("probe", "tmp", "the_probe_says_what_the_kernel_says"));
    if before.is_empty() {
        // The emulator listens to seccomp, which nobody else can then: what that closes is not seen.
        let environment =
            format!("PALISADE_CASES={EXPLAINED_OPERATIONS} PALISADE_BINARY=/palisade TMPDIR=/ext4");
        for what in [EXPLAINED, LEARNED] {
            jobs.push(job(what, &environment, format!("/explained {what}")));
        }
        // What is logged is the kernel's underneath.
        jobs.push(enforce("audit", "tmp", "audit_"));
    }
    jobs.retain(|(name, _)| runs(kernel, name));
    jobs
}

fn model_environment(dir: &str) -> String {
    // In the machines there is no Python.
    format!("PALISADE_CASES={OPERATIONS} PALISADE_SCRIPTS=0 TMPDIR={dir}")
}

/// Where there is no Landlock there are no calls to count.
fn runs(kernel: As, job: &str) -> bool {
    match job {
        SYSCALLS => matches!(kernel, As::Abi(_)),
        LEARNED => matches!(kernel, As::Abi(abi) if abi >= LEARNED_ABI),
        _ => true,
    }
}

fn finish(task: &Task, image: &Image, work: &Path) -> Result<Finished> {
    let dir = work.join(task.file());
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    match &task.place {
        Place::Machine(kernel, append) => machine::boot(image, kernel, append, task, &dir),
        Place::Here => machine::here(task, &dir),
        Place::Nowhere => bail!("this kernel has gone from its suite, and so has the one to emulate it on"),
    }
}
