//! Which threads are covered.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;

use nix::errno::Errno;
use nix::sys::prctl::get_no_new_privs;
use palisade::{Covers, Kernel, Plan, Policy, Report};

use crate::harness::*;

cases![
    enforce_covers_every_thread_or_is_an_error,
    enforce_thread_leaves_the_others_free,
    enforce_on_one_thread_covers_what_it_starts,
    hole_enforce_thread_is_no_boundary_within_a_process,
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
        let before = get_no_new_privs();
        let (done, other) = beside_a_thread(Plan::enforce);
        match abi() {
            0 => {
                assert_eq!(done.unwrap().covers(), Covers::Nobody);
                works(other);
                works(fs::read(file));
            }
            1..8 => {
                let error = done.unwrap_err();
                assert!(error.is_several_threads(), "{error}");
                assert!(error.to_string().starts_with("this process has 2 threads"), "{error}");
                works(other);
                works(fs::read(file));
                assert_eq!(get_no_new_privs(), before);
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
