//! Which threads are covered.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::channel;
use std::thread;

use nix::errno::Errno;
use palisade::{Covers, Kernel, Plan, Policy, Report};

use crate::harness::*;

cases![
    enforce_covers_every_thread_or_is_an_error,
    enforce_thread_leaves_the_others_free,
    enforce_on_one_thread_covers_what_it_starts,
    hole_enforce_thread_is_no_boundary_within_a_process,
    no_open_succeeds_after_enforce_returned,
    no_open_succeeds_after_enforce_returned_in_a_storm_of_threads,
];

fn file() -> PathBuf {
    let file = fresh().join("f");
    put(&file, "");
    file
}

/// What enforcing gives while another thread is there, and what that thread can read then.
fn beside_a_thread(
    enforce: impl FnOnce(Plan) -> palisade::Result<Report>,
) -> (palisade::Result<Report>, Outcome) {
    let file = file();
    let (go, wait) = channel();
    let other = thread::spawn(move || {
        wait.recv().unwrap();
        outcome(fs::read(file))
    });
    let done = enforce(Policy::new().best_effort().plan(&Kernel::probe()).unwrap());
    go.send(()).unwrap();
    (done, other.join().unwrap())
}

fn enforce_covers_every_thread_or_is_an_error() {
    in_fork(|| {
        let file = file();
        let (done, other) = beside_a_thread(Plan::enforce);
        match abi() {
            0 => {
                assert_eq!(done.unwrap().covers(), Covers::Nobody);
                works(other);
                works(fs::read(file));
            }
            1..8 => {
                assert_eq!(done.unwrap().covers(), Covers::EachThread);
                fails(Errno::EACCES, other);
                fails(Errno::EACCES, fs::read(file));
            }
            _ => {
                assert_eq!(done.unwrap().covers(), Covers::AllThreads);
                fails(Errno::EACCES, other);
                fails(Errno::EACCES, fs::read(file));
            }
        }
    });
}

fn enforce_thread_leaves_the_others_free() {
    in_fork(|| {
        let file = file();
        let (done, other) = beside_a_thread(Plan::enforce_thread);
        check_report(&done.unwrap(), Covers::Thread);
        works(other);
        refused(Errno::EACCES, fs::read(file));
    });
}

fn enforce_on_one_thread_covers_what_it_starts() {
    in_fork(|| {
        let file = file();
        confine(&Policy::new());
        let started = thread::spawn(move || outcome(fs::read(file)));
        refused(Errno::EACCES, started.join().unwrap());
    });
}

fn hole_enforce_thread_is_no_boundary_within_a_process() {
    in_fork(|| {
        let file = file();
        let (send, work) = channel::<PathBuf>();
        let (answer, answers) = channel();
        // A thread that is free does what a confined one asks for.
        thread::spawn(move || work.iter().for_each(|path| answer.send(outcome(fs::read(path))).unwrap()));
        let report = Policy::new().best_effort().enforce_thread().unwrap();
        check_report(&report, Covers::Thread);
        refused(Errno::EACCES, fs::read(&file));
        send.send(file).unwrap();
        works(answers.recv().unwrap());
    });
}

/// Processes for each number of threads. PALISADE_PROCESSES has it run longer than each time.
fn processes() -> usize {
    std::env::var("PALISADE_PROCESSES").map_or(20, |n| n.parse().unwrap())
}

/// What threads that open a refused file all the time have seen.
#[derive(Default)]
struct Seen {
    returned: AtomicBool,
    stop: AtomicBool,
    opened_before: AtomicUsize,
    opened_after: AtomicUsize,
    refused_after: AtomicUsize,
    else_refused: AtomicUsize,
}

impl Seen {
    /// Opens the file; whether that was after enforce() had returned.
    fn open(&self, file: &Path) -> bool {
        let after = self.returned.load(SeqCst);
        let count = match outcome(File::open(file)) {
            Ok(()) if after => &self.opened_after,
            Ok(()) => &self.opened_before,
            Err(Errno::EACCES) if after => &self.refused_after,
            Err(Errno::EACCES) => return after,
            Err(_) => &self.else_refused,
        };
        count.fetch_add(1, SeqCst);
        after
    }

    fn check(&self, threads: usize) {
        let refused = if abi() == 0 { &self.opened_after } else { &self.refused_after };
        assert!(refused.load(SeqCst) >= threads, "{} of {threads}", refused.load(SeqCst));
        assert!(self.opened_before.load(SeqCst) >= threads);
        assert_eq!(self.else_refused.load(SeqCst), 0);
        if abi() > 0 {
            assert_eq!(self.opened_after.load(SeqCst), 0, "opened after enforce() had returned");
        }
    }
}

fn no_open_succeeds_after_enforce_returned() {
    let file = file();
    for threads in [1, 8, 64, 256] {
        for _ in 0..processes() {
            in_fork(|| {
                let seen = Arc::new(Seen::default());
                let run = |_| {
                    let (seen, file) = (seen.clone(), file.clone());
                    thread::spawn(move || {
                        // The caller is one of many that want the processor.
                        while !seen.open(&file) {
                            thread::yield_now();
                        }
                    })
                };
                let running: Vec<_> = (0..threads).map(run).collect();
                while seen.opened_before.load(SeqCst) < 10 * threads {
                    thread::yield_now();
                }
                let report = Policy::new().best_effort().enforce().unwrap();
                seen.returned.store(true, SeqCst);
                check_report(&report, if abi() < 8 { Covers::EachThread } else { Covers::AllThreads });
                running.into_iter().for_each(|thread| thread.join().unwrap());
                seen.check(threads);
            });
        }
    }
}

fn no_open_succeeds_after_enforce_returned_in_a_storm_of_threads() {
    /// Opens the file, starts the next, and ends.
    fn one_of_a_chain(seen: Arc<Seen>, file: PathBuf) {
        seen.open(&file);
        if !seen.stop.load(SeqCst) {
            thread::spawn(|| one_of_a_chain(seen, file));
        }
    }
    let file = file();
    for chains in [1, 4, 32] {
        for _ in 0..processes() {
            in_fork(|| {
                let seen = Arc::new(Seen::default());
                for _ in 0..chains {
                    let (seen, file) = (seen.clone(), file.clone());
                    thread::spawn(|| one_of_a_chain(seen, file));
                }
                while seen.opened_before.load(SeqCst) < 10 * chains {
                    thread::yield_now();
                }
                let report = Policy::new().best_effort().enforce().unwrap();
                seen.returned.store(true, SeqCst);
                check_report(&report, if abi() < 8 { Covers::EachThread } else { Covers::AllThreads });
                let refused = || seen.refused_after.load(SeqCst) + seen.opened_after.load(SeqCst);
                while refused() < 10 * chains {
                    thread::yield_now();
                }
                seen.stop.store(true, SeqCst);
                seen.check(chains);
            });
        }
    }
}
