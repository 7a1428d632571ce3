//! What it costs to confine every thread of a process with 8, 64 and 256 other threads, next to the same in C with
//! libpsx (`threads.c`), which is what go-landlock does: run `cargo bench --bench threads`. Needs a C compiler, `cc`,
//! and libpsx (Debian: libcap-dev).
//!
//! A time is from the paths as strings to all threads confined, which is verified afterwards in each of them. The other
//! threads wait on a condition variable, or are busy calling sched_yield. Timings are no tests: the aims are printed,
//! and missing one is no failure.

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
    let args: Vec<_> = std::env::args().skip(1).collect();
    match &*args {
        [what, list, others, how] if what == linux::ENFORCE => {
            linux::enforce(list.as_ref(), others.parse().unwrap(), how == linux::BUSY);
            ExitCode::SUCCESS
        }
        args if args.iter().any(|arg| arg == "--bench") => linux::table(),
        // As `cargo test --benches` does.
        _ => {
            eprintln!("not timed: run cargo bench");
            ExitCode::SUCCESS
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::ErrorKind;
    use std::path::Path;
    use std::process::{Command, ExitCode};
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::{Condvar, Mutex};
    use std::thread;
    use std::time::Instant;

    use palisade::{Abi, Kernel, Policy};

    use crate::beside::{Beside, compare, directories, paths};

    /// The processes that are timed, either side's, are told this, a file of paths, how many other threads there are,
    /// and what these do.
    pub const ENFORCE: &str = "enforce";
    pub const BUSY: &str = "busy";
    const WAITING: &str = "waiting";

    const OTHERS: [u32; 3] = [8, 64, 256];
    /// Rules, and how many times as long as C it may take.
    const AIMS: [(usize, f64); 2] = [(5, 1.2), (100, 1.1)];
    const ROUNDS: usize = 100;

    /// Nobody who is confined may open it.
    const REFUSED: &str = "/etc/passwd";

    static STARTED: Mutex<u32> = Mutex::new(0);
    static ONE_MORE: Condvar = Condvar::new();
    static ON: Condvar = Condvar::new();
    static OVER: AtomicBool = AtomicBool::new(false);

    /// The timed process, Palisade's side.
    pub fn enforce(list: &Path, others: u32, busy: bool) {
        let paths = paths(list);
        File::open(REFUSED).unwrap();
        let threads: Vec<_> = (0..others).map(|_| thread::spawn(move || run(busy))).collect();
        drop(ONE_MORE.wait_while(STARTED.lock().unwrap(), |started| *started < others).unwrap());

        let begin = Instant::now();
        let plan = Policy::new().ro(&paths).require([]).plan(&Kernel::probe()).unwrap();
        let report = plan.enforce().unwrap();
        let time = begin.elapsed();

        let started = STARTED.lock().unwrap();
        OVER.store(true, SeqCst);
        ON.notify_all();
        drop(started);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_confined();
        println!("{}", time.as_nanos());
        drop(report);
    }

    fn run(busy: bool) {
        let mut started = STARTED.lock().unwrap();
        *started += 1;
        ONE_MORE.notify_one();
        drop(ON.wait_while(started, |_| !busy && !OVER.load(SeqCst)).unwrap());
        while !OVER.load(SeqCst) {
            thread::yield_now();
        }
        assert_confined();
    }

    fn assert_confined() {
        assert_eq!(File::open(REFUSED).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    pub fn table() -> ExitCode {
        let temp = tempfile::tempdir().unwrap();
        let c = temp.path().join("threads");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/threads.c");
        let compiled = Command::new("cc")
            .args(["-O2", "-o"])
            .arg(&c)
            .arg(source)
            .args(["-lpsx", "-lpthread", "-Wl,-wrap,pthread_create"])
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            eprintln!("threads.c cannot be compiled: this needs cc and libpsx (Debian: gcc, libcap-dev)");
            return ExitCode::FAILURE;
        }
        if Kernel::probe().abi().is_ok_and(|abi| abi >= Abi::V8) {
            println!(
                "On this kernel, ABI 8 or newer, Palisade has the kernel confine all threads at once: no signals."
            );
        }

        println!("threads           rules  rounds  palisade µs     C µs  ratio (quartiles)    aim");
        let mut missed = false;
        for how in [WAITING, BUSY] {
            for (rules, aim) in AIMS {
                for others in OTHERS {
                    let list = directories(temp.path(), rules);
                    let (mut palisade, mut plain) = (Command::new("/proc/self/exe"), Command::new(&c));
                    for command in [&mut palisade, &mut plain] {
                        command.arg(ENFORCE).arg(&list).arg(others.to_string()).arg(how);
                    }
                    let Beside { palisade, c, ratio, quartiles } = compare(&mut palisade, &mut plain, ROUNDS);
                    missed |= ratio > aim;
                    println!(
                        "{others:>7}, {how:<7}  {rules:>5}  {ROUNDS:>6}  {palisade:>11.1}  {c:>7.1}  \
                         {ratio:>5.2} ({:.2}-{:.2})  {aim:.2} {}",
                        quartiles[0],
                        quartiles[1],
                        if ratio > aim { "missed" } else { "met" },
                    );
                }
            }
        }
        println!("{}", if missed { "An aim is missed." } else { "All aims are met." });
        ExitCode::SUCCESS
    }
}
