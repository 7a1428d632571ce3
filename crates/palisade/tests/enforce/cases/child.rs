//! Confining a child that is spawned: `Command::confine`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::get_no_new_privs;
use palisade::{CommandExt, Confined, Covers, Kernel, Policy, Rights, path};

use super::exec::{Program, program};
use crate::harness::*;
use crate::sys::{self, Answer};

cases![
    child_is_confined_and_the_parent_free,
    child_is_confined_also_beside_other_threads,
    child_may_be_spawned_again,
    child_that_cannot_execute_is_an_error,
    child_policy_that_fails_spawns_nothing,
    child_gets_no_rule_for_what_is_the_parents_own,
    child_beyond_the_16th_layer_is_not_spawned,
    child_that_cannot_confine_itself_says_why,
    child_allocates_nothing_before_it_executes,
    child_keeps_what_the_command_says,
    child_with_another_user_is_confined,
    child_inherits_descriptors,
    child_of_a_fork_of_ones_own_is_confined,
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
    let refusal = confine_to(&mut setup.reading("granted"), read_only).status();
    if let Err(error) = &refusal {
        let (program, text) = (setup.program.path.display().to_string(), error.to_string());
        let start = format!("{program}: cannot be started (EACCES); the policy has to allow it");
        assert!(text.starts_with(&start) && error.kind() == io::ErrorKind::PermissionDenied, "{text}");
    }
    refused(Errno::EACCES, refusal);
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
            _ => {
                let error = result.unwrap_err();
                assert!(error.to_string().starts_with("16 Landlock layers are stacked"), "{error}");
                assert!(palisade_error(&error).is_too_many_layers());
            }
        }
        works(code(setup.reading("granted").status()));
    });
}

/// The library's error in that of starting a program.
#[track_caller]
fn palisade_error(error: &io::Error) -> &palisade::Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("an error of palisade's")
}

fn child_that_cannot_confine_itself_says_why() {
    let setup = Setup::new();
    for (call, why) in [(446, "landlock_restrict_self"), (libc::SYS_prctl, "no_new_privs cannot be set")] {
        in_fork(|| {
            sys::filter(call, Answer::Errno(Errno::EPERM));
            // From ABI 11 on one call does both.
            if abi() == 0 || (abi() >= 11 && call != 446) {
                return works(code(confine_to(&mut setup.reading("granted"), setup.policy()).status()));
            }
            let is_said = |error: &palisade::Error| {
                assert!(error.message().to_string().contains(why), "{error}");
                assert_eq!(error.errno(), Some(libc::EPERM));
            };
            let mut command = setup.reading("granted");
            for error in [
                confine_to(&mut command, setup.policy()).status().unwrap_err(),
                confine_to(&mut setup.reading("granted"), setup.policy()).spawn().unwrap_err(),
                confine_to(&mut setup.reading("granted"), setup.policy()).output().unwrap_err(),
            ] {
                is_said(palisade_error(&error));
            }
            // Started by the command itself, later: a number, which can be asked about.
            let error = command.status().unwrap_err();
            is_said(&palisade::Error::in_child(&error).unwrap());
            assert!(palisade::Error::in_child(&Errno::E2BIG.into()).is_none());
        });
    }
}

fn child_allocates_nothing_before_it_executes() {
    let setup = Setup::new();
    let mut command = setup.reading("other");
    sys::no_allocation(&mut command, true);
    confine_to(&mut command, setup.policy());
    sys::no_allocation(&mut command, false);
    refused(Errno::EACCES, code(command.status()));
    // What it would look like.
    sys::no_allocation(&mut command, true);
    sys::allocating(&mut command);
    assert_eq!(command.status().unwrap().code(), Some(sys::ALLOCATED));
}

/// Folder, environment and output are as for any command; a relative rule is the caller's.
fn child_keeps_what_the_command_says() {
    let setup = Setup::new();
    std::env::set_current_dir(&setup.dir).unwrap();
    mkdir("below");
    let mut command = Command::new(&setup.program.path);
    command.args(["+read=../granted"]).current_dir("below");
    let policy = setup.program.grant(Policy::new().ro("granted"));
    works(code(confine_to(&mut command, policy.clone()).status()));
    let mut listing = Command::new(&setup.program.path);
    listing.arg("+say").env_clear().env("SAID", "a word").current_dir("below");
    let output = confine_to(&mut listing, policy).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("a word {}/below", setup.dir.display()));
    assert!(output.status.success() && output.stderr.is_empty());
}

fn child_with_another_user_is_confined() {
    let setup = Setup::new();
    if !is_root() {
        return;
    }
    let program = setup.program.path.parent().unwrap();
    for folder in [program.parent().unwrap(), program, &setup.dir] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(&setup.program.path);
    command.arg("+user").uid(65534).gid(65533);
    assert_eq!(confine_to(&mut command, setup.policy()).status().unwrap().code(), Some(0));
    refused(Errno::EACCES, code(confine_to(setup.reading("other").uid(65534), setup.policy()).status()));
    works(code(confine_to(setup.reading("granted").uid(65534), setup.policy()).status()));
}

/// What [`CommandExt::confine`] says of what a child still has.
fn child_inherits_descriptors() {
    let setup = Setup::new();
    let open = fs::File::open(setup.dir.join("other")).unwrap();
    let mut command = Command::new(&setup.program.path);
    // Its standard input is a file that it may not open.
    command.arg("+read=/proc/self/fd/0").stdin(open);
    refused(Errno::EACCES, code(confine_to(&mut command, setup.policy()).status()));
    let mut command = Command::new(&setup.program.path);
    let open = fs::File::open(setup.dir.join("other")).unwrap();
    command.arg("+stdin").stdin(open);
    works(code(confine_to(&mut command, setup.policy()).status()));
}

/// [`palisade::Plan::ruleset`], for those who start processes by themselves.
fn child_of_a_fork_of_ones_own_is_confined() {
    let setup = Setup::new();
    let policy = setup.policy().require(Rights::empty());
    let ruleset = policy.plan(&Kernel::probe()).unwrap().for_child().ruleset().unwrap();
    assert_eq!(ruleset.report().covers(), Covers::NotYet);
    assert_eq!(ruleset.fd().is_some(), abi() > 0);
    for _ in 0..2 {
        in_fork(|| {
            works(fs::read(setup.dir.join("other")));
            ruleset.restrict_self().unwrap();
            refused(Errno::EACCES, fs::read(setup.dir.join("other")));
            works(fs::read(setup.dir.join("granted")));
        });
    }
    works(fs::read(setup.dir.join("other")));
    in_fork(|| {
        (0..16).for_each(|_| ruleset.restrict_self().unwrap());
        let full = ruleset.restrict_self();
        assert_eq!(full.is_err(), abi() > 0);
        if let Err(error) = full {
            assert!(palisade::Error::in_child(&error).unwrap().is_too_many_layers());
        }
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
