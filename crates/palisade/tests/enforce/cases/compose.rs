//! Policies together: joined in one layer, or stacked.

use std::fs::{self, OpenOptions};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::getppid;
use palisade::{Abi, Policy, Rights, path, ro, rw};

use crate::harness::*;

cases![
    joining_never_removes_what_is_handled,
    a_ceiling_never_allows_and_its_order_does_not_matter,
    a_ceiling_refuses_no_move_where_it_lets_files_be_made,
    a_ceiling_that_handles_no_files_refuses_no_move,
];

fn tree(d: &Path) {
    for dir in ["a", "b"] {
        mkdir(d.join(dir));
        put(d.join(dir).join("f"), "");
    }
}

type Operation = (&'static str, fn(&Path, u16) -> Outcome);

const OPERATIONS: [Operation; 10] = [
    ("read", |d, _| outcome(fs::read(d.join("a/f")))),
    ("list", |d, _| outcome(fs::read_dir(d.join("b")))),
    ("write", |d, _| outcome(OpenOptions::new().write(true).open(d.join("b/f")))),
    ("create", |d, _| outcome(fs::write(d.join("a/new"), ""))),
    ("mkdir", |d, _| outcome(fs::create_dir(d.join("b/new")))),
    ("unlink", |d, _| outcome(fs::remove_file(d.join("a/f")))),
    ("move", |d, _| outcome(fs::rename(d.join("a/f"), d.join("b/new")))),
    ("connect", |_, port| outcome(TcpStream::connect(("127.0.0.1", port)))),
    ("bind", |_, _| outcome(TcpListener::bind(("127.0.0.1", 0)))),
    ("signal", |_, _| outcome(kill(getppid(), None))),
];

/// What each operation comes to, in a tree of its own.
fn outcomes(port: u16, layers: &dyn Fn(&Path) -> Vec<Policy>) -> Vec<(&'static str, Outcome)> {
    let each = |(name, operation): Operation| {
        let dir = fresh();
        tree(&dir);
        (name, confined(layers(&dir), || operation(&dir, port)))
    };
    OPERATIONS.into_iter().map(each).collect()
}

type Made = fn(&Path, u16) -> Policy;

const POLICIES: [Made; 6] = [
    |_, _| Policy::new(),
    |d, port| Policy::new().rw(d.join("a")).connect_tcp(port),
    |d, _| Policy::new().rw(d).bind_tcp(0).unrestricted(Rights::SIGNAL),
    |d, _| Policy::new().abi(Abi::V3).ro(d).rule(path(d.join("b")).rights(Rights::W | Rights::C)),
    |_, _| Policy::new().unrestricted([Rights::FS, Rights::DEVICES]),
    |d, port| Policy::new().rule(path(d).rights(Rights::FS - Rights::REFER)).connect_tcp(port).bind_tcp(0),
];

fn joining_never_removes_what_is_handled() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    // Each leaves alone much, and grants what no operation is about.
    let loose: [Made; 3] = [
        |_, _| Policy::new().abi(Abi::V1).rule(ro("/proc").optional()),
        |_, _| Policy::new().unrestricted(Rights::all()).connect_tcp(1),
        |_, _| Policy::new().unrestricted([Rights::NET, Rights::SIGNAL, Rights::REFER]),
    ];
    for (at, made) in POLICIES.iter().enumerate() {
        let alone = outcomes(port, &|d| vec![made(d, port)]);
        for (with, other) in loose.iter().enumerate() {
            for joined in [
                outcomes(port, &|d| vec![made(d, port).join(other(d, port))]),
                outcomes(port, &|d| vec![other(d, port).join(made(d, port))]),
            ] {
                for ((name, alone), (_, joined)) in alone.iter().zip(&joined) {
                    // What is refused stays so. What was left alone may be refused now, by the other.
                    assert!(
                        alone.is_ok() || joined.is_err(),
                        "{name}, {at} with {with}: {alone:?}, {joined:?}"
                    );
                }
            }
        }
    }
}

fn a_ceiling_never_allows_and_its_order_does_not_matter() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    for (at, made) in POLICIES.iter().enumerate() {
        let alone = outcomes(port, &|d| vec![made(d, port)]);
        for (over, ceiling) in POLICIES.iter().enumerate() {
            let within = outcomes(port, &|d| vec![made(d, port), ceiling(d, port).ceiling()]);
            let turned = outcomes(port, &|d| vec![ceiling(d, port).ceiling(), made(d, port)]);
            assert_eq!(within, turned, "{at} and {over}");
            for ((name, alone), (_, within)) in alone.iter().zip(&within) {
                assert!(
                    alone.is_ok() || within.is_err(),
                    "{name}, {at} within {over}: {alone:?}, {within:?}"
                );
            }
        }
    }
}

/// A move between folders under these layers, in a folder and on another mount, if there is one.
fn moved(layers: &dyn Fn(&Path) -> Vec<Policy>) -> Vec<Outcome> {
    let shm = tempfile::tempdir_in("/dev/shm").ok();
    let dirs: Vec<PathBuf> =
        [fresh()].into_iter().chain(shm.iter().map(|dir| dir.path().to_owned())).collect();
    let moved = |dir: &PathBuf| {
        tree(dir);
        confined(layers(dir), || fs::rename(dir.join("a/f"), dir.join("b/new")))
    };
    dirs.iter().map(moved).collect()
}

fn a_ceiling_refuses_no_move_where_it_lets_files_be_made() {
    let making = |d: &Path| {
        let rights = Rights::R | Rights::W | Rights::MAKE_REG | Rights::REMOVE_FILE;
        Policy::new().rule(path(d).rights(rights))
    };
    let within = moved(&|d| vec![Policy::new().rw(d), making(d).ceiling()]);
    let stacked = moved(&|d| vec![Policy::new().rw(d), making(d)]);
    let not_made = moved(&|d| vec![Policy::new().rw(d), Policy::new().ro(d).ceiling()]);
    for outcome in within {
        // On ABI 1 no layer lets it.
        assert_eq!(outcome, from_to(1, 1, Errno::EXDEV), "on ABI {}", abi());
    }
    for outcome in stacked {
        assert_eq!(outcome, from_to(1, u32::MAX, Errno::EXDEV), "on ABI {}", abi());
    }
    for outcome in not_made {
        assert!(abi() == 0 || outcome.is_err());
    }
}

fn a_ceiling_that_handles_no_files_refuses_no_move() {
    let offline = || Policy::new().unrestricted([Rights::FS, Rights::DEVICES, Rights::UNIX]);
    for outcome in moved(&|d| vec![Policy::new().rule(rw(d)), offline().ceiling()]) {
        assert_eq!(outcome, from_to(1, 1, Errno::EXDEV), "on ABI {}", abi());
    }
    // Below ABI 4 it is no layer at all.
    for outcome in moved(&|d| vec![Policy::new().rw(d), offline()]) {
        let refused = abi() == 1 || abi() >= 4;
        assert_eq!(outcome, if refused { Err(Errno::EXDEV) } else { Ok(()) }, "on ABI {}", abi());
    }
}

/// That it fails on these ABIs, and works on others and where there is no Landlock.
fn from_to(first: u32, last: u32, errno: Errno) -> Outcome {
    if (first..=last).contains(&abi()) { Err(errno) } else { Ok(()) }
}
