//! Confining a child that is spawned: `Command::confine`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::sys::prctl::get_no_new_privs;
use palisade::{CommandExt, Confined, Policy, Rights, path};

use super::exec::{Program, program};
use crate::harness::*;

cases![
    child_is_confined_and_the_parent_free,
    child_is_confined_also_beside_other_threads,
    child_may_be_spawned_again,
    child_that_cannot_execute_is_an_error,
    child_policy_that_fails_spawns_nothing,
    child_gets_no_rule_for_what_is_the_parents_own,
    child_beyond_the_16th_layer_is_not_spawned,
    child_leaves_no_descriptor_open,
];

struct Setup {
    program: Program,
    dir: PathBuf,
}

impl Setup {
    fn new() -> Setup {
        let dir = fresh();
        put(dir.join("granted"), "");
        put(dir.join("other"), "");
        Setup { program: program(), dir }
    }

    fn policy(&self) -> Policy {
        self.program.grant(Policy::new().ro(self.dir.join("granted")))
    }

    /// What reads a file, and ends with the error number of that.
    fn reading(&self, file: &str) -> Command {
        let mut command = Command::new(&self.program.path);
        command.arg(format!("+read={}", self.dir.join(file).display()));
        command
    }
}

/// A policy that goes on wherever it is.
fn confine_to(command: &mut Command, policy: Policy) -> Confined<'_> {
    command.confine(&policy.require(Rights::empty())).expect("a ruleset")
}

fn code(status: io::Result<ExitStatus>) -> Outcome {
    match status.expect("spawned").code() {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw(code)),
        None => panic!("killed"),
    }
}

fn child_is_confined_and_the_parent_free() {
    let (setup, before) = (Setup::new(), get_no_new_privs());
    works(code(setup.reading("other").status()));
    works(code(confine_to(&mut setup.reading("granted"), setup.policy()).status()));
    refused(Errno::EACCES, code(confine_to(&mut setup.reading("other"), setup.policy()).status()));
    works(fs::read(setup.dir.join("other")));
    works(code(setup.reading("other").status()));
    assert_eq!(get_no_new_privs(), before);
    // What is required is, here too.
    let strict = setup.reading("granted").confine(&setup.policy().strict()).map(drop);
    assert_eq!(strict.is_err_and(|error| error.is_unsupported()), abi() < 10);
}

fn child_is_confined_also_beside_other_threads() {
    let setup = Setup::new();
    let (_end, wait) = channel::<()>();
    std::thread::spawn(move || wait.iter().for_each(drop));
    refused(Errno::EACCES, code(confine_to(&mut setup.reading("other"), setup.policy()).status()));
    works(fs::read(setup.dir.join("other")));
}

fn child_may_be_spawned_again() {
    let setup = Setup::new();
    let (mut granted, mut other) = (setup.reading("granted"), setup.reading("other"));
    confine_to(&mut granted, setup.policy());
    confine_to(&mut other, setup.policy());
    for _ in 0..2 {
        works(code(granted.status()));
        refused(Errno::EACCES, code(other.status()));
    }
    // Two policies on one command are two layers.
    confine_to(&mut granted, setup.program.grant(Policy::new()));
    refused(Errno::EACCES, code(granted.status()));
}

fn child_that_cannot_execute_is_an_error() {
    let setup = Setup::new();
    let mut missing = Command::new(setup.dir.join("missing"));
    fails(Errno::ENOENT, confine_to(&mut missing, setup.policy()).status());
    refused(Errno::EACCES, confine_to(&mut setup.reading("granted"), Policy::new()).status());
    let read_only = Policy::new().ro(&setup.program.path);
    refused(Errno::EACCES, confine_to(&mut setup.reading("granted"), read_only).status());
}

fn child_policy_that_fails_spawns_nothing() {
    let setup = Setup::new();
    let policy = setup.policy().ro(setup.dir.join("missing")).require(Rights::empty());
    let mut command = setup.reading("other");
    let error = command.confine(&policy).map(drop);
    assert_eq!(error.is_err_and(|error| error.is_missing_path()), abi() > 0);
    // The command is as it was: unconfined.
    works(code(command.status()));
}

fn child_gets_no_rule_for_what_is_the_parents_own() {
    let setup = Setup::new();
    let of_parent = format!("/proc/{}/status", nix::unistd::getpid());
    let read = |file: &str| {
        let mut command = Command::new(&setup.program.path);
        command.arg(format!("+read={file}"));
        command
    };
    let policy = || setup.policy().ro(["/proc/self", "/proc/thread-self"]);
    refused(Errno::EACCES, code(confine_to(&mut read(&of_parent), policy()).status()));
    refused(Errno::EACCES, code(confine_to(&mut read("/proc/self/status"), policy()).status()));
    // What is said of all is.
    let all = setup.policy().rule(path("/proc").rights(Rights::RO));
    works(code(confine_to(&mut read("/proc/self/status"), all).status()));
}

fn child_beyond_the_16th_layer_is_not_spawned() {
    let setup = Setup::new();
    in_fork(|| {
        let all = || Policy::new().rwx("/").unrestricted(Rights::all() - Rights::FS);
        (0..16).for_each(|_| drop(confine(&all())));
        let result = confine_to(&mut setup.reading("granted"), all()).status();
        match abi() {
            0 => works(code(result)),
            _ => assert!(result.unwrap_err().to_string().starts_with("16 Landlock layers are stacked")),
        }
        works(code(setup.reading("granted").status()));
    });
}

fn child_leaves_no_descriptor_open() {
    let setup = Setup::new();
    let count = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    let mut command = setup.reading("granted");
    confine_to(&mut command, setup.policy());
    works(code(command.status()));
    drop(command);
    let _ = setup.reading("granted").confine(&Policy::new().ro("/no/such/path").require(Rights::empty()));
    assert_eq!(count(), before);
    // Nor does the child have one that it was not given.
    let mut listing = Command::new(&setup.program.path);
    listing.arg("+descriptors");
    let free = code(listing.status());
    assert_eq!(code(confine_to(&mut listing, setup.policy().ro("/proc")).status()), free);
}
