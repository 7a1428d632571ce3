//! Which threads are covered. Before ABI 8 each is signalled and confines itself: what can go wrong with that is here too.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use palisade::{Covers, Error, Policy, Report, ro};

use super::unix::{abstract_server, connect_abstract};
use crate::harness::*;
use crate::sys;
use crate::sys::{Answer, Ring};

cases![
    enforce_covers_every_thread_or_is_an_error,
    enforce_may_be_repeated_beside_threads,
    enforce_may_be_called_by_several_threads_at_once,
    enforce_thread_leaves_the_others_free,
    enforce_on_one_thread_covers_what_it_starts,
    enforce_covers_threads_when_the_main_one_has_ended,
    enforce_covers_threads_beside_workers_of_io_uring,
    a_thread_that_waits_goes_on_waiting,
    a_thread_that_blocks_signals_is_named_and_nobody_is_confined,
    a_thread_that_blocks_some_signals_is_no_error,
    a_thread_whose_filter_refuses_is_named_and_nobody_is_confined,
    a_thread_that_dies_when_it_is_signalled_is_no_error,
    a_thread_that_dies_when_it_stands_is_not_counted,
    a_thread_with_descriptors_of_its_own_is_named_and_nobody_is_confined,
    a_thread_with_16_layers_leaves_a_process_that_must_end,
    a_thread_that_fails_late_ends_the_process_if_that_is_asked_for,
    handlers_of_the_program_are_put_back_and_miss_no_signal,
    a_signal_that_the_program_waits_for_is_left_alone,
    processes_forked_meanwhile_can_confine_themselves,
    forks_keep_no_descriptors_of_their_parents,
    threads_have_domains_of_their_own_before_abi_8,
    hole_children_that_were_started_before_stay_free,
    hole_enforce_replaces_what_a_thread_confined_itself_to,
    hole_enforce_thread_is_no_boundary_within_a_process,
    hole_a_filter_that_answers_in_the_kernels_place_is_believed,
    hole_io_uring_that_was_set_up_before,
    no_open_succeeds_after_enforce_returned,
    no_open_succeeds_after_enforce_returned_in_a_storm_of_threads,
];

fn file() -> PathBuf {
    let file = fresh().join("f");
    put(&file, "");
    file
}

/// A thread that does what it is asked to.
struct Worker(Sender<Box<dyn FnOnce() + Send>>);

impl Worker {
    fn named(name: &str) -> Worker {
        let (send, work) = channel::<Box<dyn FnOnce() + Send>>();
        let run = move || work.iter().for_each(|f| f());
        thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread");
        Worker(send)
    }

    fn ask<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, answer) = channel();
        self.start(move || send.send(f()).expect("somebody waits"));
        answer.recv().expect("an answer")
    }

    fn start(&self, f: impl FnOnce() + Send + 'static) {
        self.0.send(Box::new(f)).expect("the thread runs");
    }

    fn read(&self, file: &Path) -> Outcome {
        let file = file.to_owned();
        self.ask(|| outcome(fs::read(file)))
    }
}

/// Nothing is allowed, and nothing required.
fn enforce() -> Result<Report, Error> {
    Policy::new().best_effort().enforce().map(|outcome| Report::clone(&outcome))
}

/// How several threads are covered.
fn covers() -> Covers {
    if abi() < 8 { Covers::EachThread } else { Covers::AllThreads }
}

fn enforce_covers_every_thread_or_is_an_error() {
    for threads in [1, 2, 30] {
        in_fork(|| {
            let file = file();
            let workers: Vec<_> = (0..threads).map(|_| Worker::named("worker")).collect();
            workers.iter().for_each(|worker| works(worker.read(&file)));
            let report = enforce().unwrap();
            check_report(&report, covers());
            for worker in &workers {
                refused(Errno::EACCES, worker.read(&file));
                assert_eq!(worker.ask(|| nix::sys::prctl::get_no_new_privs().unwrap()), abi() > 0);
            }
            refused(Errno::EACCES, fs::read(file));
            let note = format!("each of the {} threads has a Landlock domain of its own", threads + 1);
            assert_eq!(report.to_string().contains(&note), (1..8).contains(&abi()), "{report}");
        });
    }
}

/// What is confined already may not list its threads any more.
fn enforce_may_be_repeated_beside_threads() {
    in_fork(|| {
        let (first, second) = (file(), file());
        let workers = [Worker::named("one"), Worker::named("two")];
        let allowing = |files: &[&PathBuf]| {
            let policy = files.iter().fold(Policy::new(), |policy, file| policy.ro(*file));
            check_report(&policy.best_effort().enforce().unwrap(), covers());
        };
        allowing(&[&first, &second]);
        let late = Worker::named("late");
        workers.iter().chain([&late]).for_each(|worker| works(worker.read(&first)));
        allowing(&[&second]);
        for worker in workers.iter().chain([&late]) {
            refused(Errno::EACCES, worker.read(&first));
            works(worker.read(&second));
        }
    });
}

fn enforce_may_be_called_by_several_threads_at_once() {
    in_fork(|| {
        let files: Vec<_> = (0..6).map(|_| file()).collect();
        let workers: Vec<_> = (0..4).map(|_| Worker::named("worker")).collect();
        let (send, reports) = channel();
        for (i, worker) in workers.iter().enumerate() {
            // Each leaves out one file.
            let others = files.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, file)| ro(file));
            let (policy, send) = (Policy::new().rules(others), send.clone());
            worker
                .start(move || send.send(policy.best_effort().enforce().map(|o| Report::clone(&o))).unwrap());
        }
        drop(send);
        let reports: Vec<_> = reports.iter().collect();
        assert_eq!(reports.len(), 4);
        reports.into_iter().for_each(|report| check_report(&report.unwrap(), covers()));
        for worker in &workers {
            files[..4].iter().for_each(|file| refused(Errno::EACCES, worker.read(file)));
            files[4..].iter().for_each(|file| works(worker.read(file)));
        }
    });
}

fn enforce_thread_leaves_the_others_free() {
    in_fork(|| {
        let file = file();
        let other = Worker::named("other");
        check_report(&Policy::new().best_effort().enforce_thread().unwrap(), Covers::Thread);
        works(other.read(&file));
        refused(Errno::EACCES, fs::read(file));
    });
}

fn enforce_on_one_thread_covers_what_it_starts() {
    in_fork(|| {
        let file = file();
        confine(&Policy::new());
        refused(Errno::EACCES, Worker::named("started").read(&file));
    });
}

/// The main thread that has ended stays among the threads, and answers no signal.
fn enforce_covers_threads_when_the_main_one_has_ended() {
    in_fork(|| {
        let file = file();
        let main = nix::unistd::gettid();
        let other = Worker::named("other");
        thread::spawn(move || {
            let stat = format!("/proc/self/task/{main}/stat");
            while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
                thread::yield_now();
            }
            let done = std::panic::catch_unwind(|| {
                for _ in 0..2 {
                    check_report(&enforce().unwrap(), covers());
                    refused(Errno::EACCES, other.read(&file));
                    refused(Errno::EACCES, fs::read(&file));
                }
            });
            sys::exit(if done.is_ok() { 0 } else { 1 });
        });
        sys::end_thread();
    });
}

/// The kernel's workers are among the threads, and block every signal.
fn enforce_covers_threads_beside_workers_of_io_uring() {
    in_fork(|| {
        let file = file();
        let other = Worker::named("other");
        let Some(ring) = Ring::new() else { return println!("no io_uring here") };
        let (pipe, _end) = nix::unistd::pipe().unwrap();
        let tasks = || fs::read_dir("/proc/self/task").unwrap().count();
        let before = tasks();
        ring.block_a_worker(&pipe);
        while tasks() == before {
            thread::yield_now();
        }
        check_report(&enforce().unwrap(), covers());
        refused(Errno::EACCES, other.read(&file));
        refused(Errno::EACCES, fs::read(&file));
        // Also what is asked of a worker now.
        refused(Errno::EACCES, ring.open(&file, 0));
    });
}

fn a_thread_that_waits_goes_on_waiting() {
    in_fork(|| {
        let (pipe, end) = nix::unistd::pipe().unwrap();
        let other = Worker::named("other");
        let (send, answer) = channel();
        let tid = other.ask(nix::unistd::gettid);
        other.start(move || send.send(nix::unistd::read(&pipe, &mut [0; 8])).unwrap());
        while sys::call_of(tid) != Some(nix::libc::SYS_read) {
            thread::yield_now();
        }
        check_report(&enforce().unwrap(), covers());
        nix::unistd::write(&end, b"1").unwrap();
        assert_eq!(answer.recv().unwrap(), Ok(1));
    });
}

/// Nobody is confined, and the error says whose fault that is.
#[track_caller]
fn is_refused_for(error: &Error, thread: &str, why: &str) {
    let text = error.to_string();
    assert!(error.is_several_threads() && !error.is_partial(), "{text}");
    assert!(
        text.starts_with("nothing was confined: ") && text.contains(thread) && text.contains(why),
        "{text}"
    );
}

fn a_thread_that_blocks_signals_is_named_and_nobody_is_confined() {
    in_fork(|| {
        let file = file();
        let (other, deaf) = (Worker::named("other"), Worker::named("deaf"));
        deaf.ask(|| SigSet::all().thread_block().unwrap());
        let done = enforce();
        if (1..8).contains(&abi()) {
            is_refused_for(&done.unwrap_err(), "(deaf) blocks signal", "ABI");
            [&other, &deaf].into_iter().for_each(|worker| works(worker.read(&file)));
            works(fs::read(&file));
        } else {
            check_report(&done.unwrap(), covers());
            refused(Errno::EACCES, deaf.read(&file));
        }
        // Nothing waits for it that would kill it now.
        deaf.ask(|| SigSet::all().thread_unblock().unwrap());
        check_report(&enforce().unwrap(), covers());
        [&other, &deaf].into_iter().for_each(|worker| refused(Errno::EACCES, worker.read(&file)));
    });
}

/// It may wait for one of them; another is taken then.
fn a_thread_that_blocks_some_signals_is_no_error() {
    in_fork(|| {
        let file = file();
        let other = Worker::named("other");
        other.ask(|| (0..5).for_each(|i| sys::block(nix::libc::SIGRTMAX() - i)));
        check_report(&enforce().unwrap(), covers());
        refused(Errno::EACCES, other.read(&file));
        refused(Errno::EACCES, fs::read(&file));
    });
}

fn a_thread_whose_filter_refuses_is_named_and_nobody_is_confined() {
    // The last answers in the kernel's place that it is done.
    for (call, errno, why) in [
        (446, Errno::EPERM, "refuses landlock_restrict_self"),
        (nix::libc::SYS_prctl, Errno::EPERM, "refuses prctl(PR_SET_NO_NEW_PRIVS)"),
        (446, Errno::UnknownErrno, "answers landlock_restrict_self in the kernel's place"),
    ] {
        in_fork(|| {
            let file = file();
            let (other, filtered) = (Worker::named("other"), Worker::named("filtered"));
            filtered.ask(move || sys::filter(call, Answer::Errno(errno)));
            let done = enforce();
            if (1..8).contains(&abi()) {
                let error = done.unwrap_err();
                is_refused_for(&error, "(filtered)", why);
                assert_eq!(error.errno(), Some(errno as i32).filter(|errno| *errno != 0));
                [&other, &filtered].into_iter().for_each(|worker| works(worker.read(&file)));
                works(fs::read(&file));
            } else {
                check_report(&done.unwrap(), covers());
                refused(Errno::EACCES, filtered.read(&file));
            }
        });
    }
}

fn a_thread_that_dies_when_it_is_signalled_is_no_error() {
    in_fork(|| {
        let file = file();
        let (other, dying) = (Worker::named("other"), Worker::named("dying"));
        dying.ask(|| sys::filter(446, Answer::EndThread));
        check_report(&enforce().unwrap(), covers());
        refused(Errno::EACCES, other.read(&file));
    });
}

/// Of two threads one takes no signal for a while, and one ends where it should wait. They use no futex, by which threads
/// wait for each other: it is what the filter is on.
fn a_thread_that_dies_when_it_stands_is_not_counted() {
    in_fork(|| {
        let nap = || thread::sleep(std::time::Duration::from_millis(1));
        let (ready, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let is_ready = ready.clone();
        thread::spawn(move || {
            sys::filter(nix::libc::SYS_futex, Answer::EndThread);
            is_ready.fetch_add(1, SeqCst);
            loop {
                nap();
            }
        });
        let (file, is_ready, go_on) = (file(), ready.clone(), stop.clone());
        let theirs = file.clone();
        let masked = thread::spawn(move || {
            SigSet::all().thread_block().unwrap();
            is_ready.fetch_add(1, SeqCst);
            (0..60).for_each(|_| nap());
            SigSet::all().thread_unblock().unwrap();
            while !go_on.load(SeqCst) {
                nap();
            }
            outcome(fs::read(theirs))
        });
        while ready.load(SeqCst) < 2 {
            nap();
        }
        check_report(&enforce().unwrap(), covers());
        stop.store(true, SeqCst);
        refused(Errno::EACCES, masked.join().unwrap());
        refused(Errno::EACCES, fs::read(&file));
    });
}

/// The ruleset's number is something else there: be it another ruleset.
fn a_thread_with_descriptors_of_its_own_is_named_and_nobody_is_confined() {
    for with_ruleset in [false, true] {
        in_fork(|| {
            let file = file();
            let (other, apart) = (Worker::named("other"), Worker::named("apart"));
            apart.ask(move || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
                let wide = Policy::new().rwx("/").best_effort().plan(&palisade::Kernel::probe()).unwrap();
                // At whatever number the next is.
                (0..20).for_each(|_| {
                    with_ruleset.then(|| std::mem::forget(wide.clone().ruleset().unwrap()));
                });
            });
            let done = enforce();
            if (1..8).contains(&abi()) {
                is_refused_for(&done.unwrap_err(), "(apart)", "descriptors of its own");
                works(apart.read(&file));
                works(other.read(&file));
                works(fs::read(&file));
            } else {
                check_report(&done.unwrap(), covers());
                refused(Errno::EACCES, apart.read(&file));
            }
        });
    }
}

/// Whether it has 16 layers the kernel says only when it is too late.
fn a_thread_with_16_layers_leaves_a_process_that_must_end() {
    in_fork(|| {
        let file = file();
        let (other, full) = (Worker::named("other"), Worker::named("full"));
        full.ask(|| {
            let layer = || Policy::new().rwx("/").best_effort().enforce_thread().map(drop);
            (0..16).for_each(|_| layer().unwrap());
        });
        let done = enforce();
        if (1..8).contains(&abi()) {
            let (error, text) = (done.as_ref().unwrap_err(), done.as_ref().unwrap_err().to_string());
            assert!(error.is_partial() && !error.is_several_threads(), "{text}");
            assert!(text.starts_with("this process must end: thread "), "{text}");
            assert!(text.contains("16 Landlock layers") && text.contains("abort_if_partial"), "{text}");
            works(full.read(&file));
        } else {
            // The kernel gives it the domain of the others.
            check_report(&done.unwrap(), covers());
            refused(Errno::EACCES, full.read(&file));
        }
        refused(Errno::EACCES, other.read(&file));
        refused(Errno::EACCES, fs::read(&file));
    });
}

fn a_thread_that_fails_late_ends_the_process_if_that_is_asked_for() {
    let mut said = tempfile::tempfile().unwrap();
    let pid = sys::fork(|| {
        nix::unistd::dup2_stderr(&said).unwrap();
        // A handler of the program's own must not run any more.
        sys::end_on(Signal::SIGABRT);
        let other = Worker::named("other");
        // It answers as the kernel does when it is asked, and refuses all the same.
        other.ask(|| sys::filter(446, Answer::Errno(Errno::EINVAL)));
        let report = Policy::new().abort_if_partial().best_effort().enforce();
        i32::from(!report.is_ok_and(|report| report.covers() == covers() || abi() == 0))
    });
    let ended = waitpid(pid, None).unwrap();
    if (1..8).contains(&abi()) {
        assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGABRT, _)), "{ended:?}");
        let mut text = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut text).unwrap();
        let (start, end) = ("thread ", "and others were: this process is ended, as its policy asks for\n");
        assert!(text.starts_with(start) && text.ends_with(end), "{text}");
    } else {
        assert_eq!(ended, WaitStatus::Exited(pid, 0));
    }
}

fn handlers_of_the_program_are_put_back_and_miss_no_signal() {
    const FOREIGN: i32 = 3000;
    const OWN: i32 = 300;
    // With a thread that does not stop there is time enough for every signal to come meanwhile.
    for deaf in [false, true] {
        in_fork(|| {
            let realtime = || nix::libc::SIGRTMIN()..=nix::libc::SIGRTMAX();
            let any = move |i| nix::libc::SIGRTMIN() + i % realtime().count() as i32;
            realtime().for_each(sys::count_signals);
            let before: Vec<_> = realtime().map(sys::handler).collect();
            let workers = [Worker::named("one"), Worker::named("two")];
            if deaf {
                workers[0].ask(|| SigSet::all().thread_block().unwrap());
            }
            // Somebody else sends each of them, again and again, and so does a thread to itself.
            let me = nix::unistd::getpid();
            let sender = sys::fork_beside_threads(|| (0..FOREIGN).for_each(|i| sys::send(me, any(i))));
            workers[1].start(move || {
                let own = nix::unistd::gettid();
                (0..OWN).for_each(|i| sys::tgkill(own, any(i)).unwrap());
            });
            for _ in 0..if deaf { 1 } else { 16 } {
                let done = enforce();
                match deaf && (1..8).contains(&abi()) {
                    true => is_refused_for(&done.unwrap_err(), "thread", "blocks signal"),
                    false => check_report(&done.unwrap(), covers()),
                }
            }
            assert_eq!(waitpid(sender, None), Ok(WaitStatus::Exited(sender, 0)));
            while sys::counted() < (FOREIGN + OWN) as usize {
                thread::yield_now();
            }
            assert_eq!(realtime().map(sys::handler).collect::<Vec<_>>(), before);
            // A thread that came late to a try may have a handler called once more for it.
            let more = sys::counted() - (FOREIGN + OWN) as usize;
            assert!(more <= 16, "{more} signals that nobody sent");
        });
    }
}

/// Who waits for a signal blocks it, and has no handler.
fn a_signal_that_the_program_waits_for_is_left_alone() {
    in_fork(|| {
        let last = nix::libc::SIGRTMAX();
        sys::block(last);
        let waiter = Worker::named("waiter");
        let (send, answer) = channel();
        waiter.start(move || send.send(sys::wait_for(last)).unwrap());
        check_report(&enforce().unwrap(), covers());
        sys::send(nix::unistd::getpid(), last);
        assert_eq!(answer.recv().unwrap(), last);
    });
}

/// A fork has one thread, and a copy of all memory: of the state of an enforcement that is under way. A thread that does
/// not stop sees to it that one is, for long, with a moment between its tries to fork in.
fn processes_forked_meanwhile_can_confine_themselves() {
    in_fork(|| {
        let file = file();
        let (forking, deaf) = (Worker::named("forking"), Worker::named("deaf"));
        deaf.ask(|| SigSet::all().thread_block().unwrap());
        let (send, answer) = channel();
        let (theirs, stop) = (file.clone(), Arc::new(AtomicBool::new(false)));
        let go_on = stop.clone();
        forking.start(move || {
            let mut forks = 0;
            while !go_on.load(SeqCst) || forks < 20 {
                let pid = sys::fork_beside_threads(|| {
                    let beside = Worker::named("beside");
                    check_report(&enforce().unwrap(), covers());
                    refused(Errno::EACCES, beside.read(&theirs));
                });
                assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
                forks += 1;
            }
            send.send(()).unwrap();
        });
        let done = Policy::new().rwx("/").best_effort().enforce();
        if (1..8).contains(&abi()) {
            is_refused_for(&done.unwrap_err(), "(deaf)", "blocks signal");
        } else {
            check_report(&done.unwrap(), covers());
        }
        stop.store(true, SeqCst);
        answer.recv().unwrap();
    });
}

/// What is kept open for the next policy is kept once, in a child of a child too.
fn forks_keep_no_descriptors_of_their_parents() {
    fn generation(left: u32, descriptors: usize) {
        let _beside = Worker::named("beside");
        check_report(&Policy::new().rwx("/").best_effort().enforce().unwrap(), covers());
        let now = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(left == 4 || now == descriptors, "{now}, not {descriptors}");
        if left > 0 {
            let pid = sys::fork_beside_threads(|| generation(left - 1, now));
            assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
        }
    }
    in_fork(|| generation(4, 0));
}

fn threads_have_domains_of_their_own_before_abi_8() {
    in_fork(|| {
        let (one, two) = (Worker::named("one"), Worker::named("two"));
        check_report(&Policy::new().rwx("/").best_effort().enforce().unwrap(), covers());
        let server = one.ask(abstract_server);
        let name = server.name.clone();
        let scoped = (6..8).contains(&abi());
        let apart = if scoped { Err(Errno::EPERM) } else { Ok(()) };
        assert_eq!(two.ask(move || outcome(connect_abstract(&name))), apart);
        let name = server.name.clone();
        works(one.ask(move || outcome(connect_abstract(&name))));
        // A child of one thread, and another that signals it.
        let child = one.ask(|| sys::fork_beside_threads(nix::unistd::pause));
        assert_eq!(two.ask(move || outcome(nix::sys::signal::kill(child, None))), apart);
        works(one.ask(move || outcome(nix::sys::signal::kill(child, Signal::SIGKILL))));
        waitpid(child, None).unwrap();
        // Threads themselves may be signalled, unless the erratum is there.
        let tid = one.ask(nix::unistd::gettid);
        if !palisade::Kernel::probe().unfixed().any(|(number, _)| number == 2) {
            works(two.ask(move || sys::tgkill(tid, 0)));
        }
    });
}

fn hole_children_that_were_started_before_stay_free() {
    let file = file();
    let started = outside(|| works(fs::read(&file)));
    confine(&Policy::new());
    refused(Errno::EACCES, fs::read(&file));
    started.ask();
}

/// The kernel gives every thread the domain of the one that enforces.
fn hole_enforce_replaces_what_a_thread_confined_itself_to() {
    in_fork(|| {
        let file = file();
        let strict = Worker::named("strict");
        strict.ask(|| Policy::new().best_effort().enforce_thread().map(drop).unwrap());
        refused(Errno::EACCES, strict.read(&file));
        check_report(&Policy::new().ro(&file).best_effort().enforce().unwrap(), covers());
        expected(from(1, Errno::EACCES).before(8), strict.read(&file));
    });
}

fn hole_enforce_thread_is_no_boundary_within_a_process() {
    in_fork(|| {
        let file = file();
        // A thread that is free does what a confined one asks for.
        let free = Worker::named("free");
        check_report(&Policy::new().best_effort().enforce_thread().unwrap(), Covers::Thread);
        refused(Errno::EACCES, fs::read(&file));
        works(free.read(&file));
    });
}

fn hole_a_filter_that_answers_in_the_kernels_place_is_believed() {
    in_fork(|| {
        let file = file();
        sys::filter(446, Answer::Errno(Errno::UnknownErrno));
        confine(&Policy::new());
        works(fs::read(&file));
    });
}

/// A ring remembers who set it up: for the kernel's thread that looks for requests, and for those that name him.
fn hole_io_uring_that_was_set_up_before() {
    in_fork(|| {
        let file = file();
        let (Some(ring), Some(polled)) = (Ring::new(), Ring::polled()) else {
            return println!("no io_uring here");
        };
        let before = ring.personality();
        // The kernel's thread is none of this process's own.
        confine(&Policy::new());
        refused(Errno::EACCES, fs::read(&file));
        refused(Errno::EACCES, ring.open(&file, 0));
        works(ring.open(&file, before));
        works(polled.open(&file, 0));
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
                let report = enforce().unwrap();
                seen.returned.store(true, SeqCst);
                check_report(&report, covers());
                running.into_iter().for_each(|thread| thread.join().unwrap());
                seen.check(threads);
            });
        }
    }
}

fn no_open_succeeds_after_enforce_returned_in_a_storm_of_threads() {
    /// Opens the file, starts the next, and ends. Who started is known to who joins them all: glibc 2.36 sometimes
    /// crashes when it detaches a thread that has just ended.
    fn one_of_a_chain(seen: Arc<Seen>, file: PathBuf, started: Sender<thread::JoinHandle<()>>) {
        seen.open(&file);
        thread::yield_now();
        if !seen.stop.load(SeqCst) {
            let to = started.clone();
            let next = thread::spawn(|| one_of_a_chain(seen, file, started));
            to.send(next).expect("somebody joins");
        }
    }
    let file = file();
    for chains in [1, 4, 32] {
        for _ in 0..processes() {
            in_fork(|| {
                let seen = Arc::new(Seen::default());
                let (started, threads) = channel();
                for _ in 0..chains {
                    let (seen, file, to) = (seen.clone(), file.clone(), started.clone());
                    started.send(thread::spawn(|| one_of_a_chain(seen, file, to))).unwrap();
                }
                drop(started);
                let joining = thread::spawn(move || threads.iter().for_each(|thread| thread.join().unwrap()));
                while seen.opened_before.load(SeqCst) < 10 * chains {
                    thread::yield_now();
                }
                let report = enforce().unwrap();
                seen.returned.store(true, SeqCst);
                check_report(&report, covers());
                let refused = || seen.refused_after.load(SeqCst) + seen.opened_after.load(SeqCst);
                while refused() < 10 * chains {
                    thread::yield_now();
                }
                seen.stop.store(true, SeqCst);
                joining.join().unwrap();
                seen.check(chains);
            });
        }
    }
}
