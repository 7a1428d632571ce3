//! Rules: what they are tied to, what they insist on, and what is an error.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use palisade::{Abi, Covers, Error, Kernel, Log, Policy, Preset, Rights, Rule, fd, path, ro, rw};

use crate::harness::*;

cases![
    group_on_a_file_leaves_out_what_only_directories_have,
    exact_right_of_directories_on_a_file_is_an_error,
    insisting_on_a_file_or_a_directory,
    missing_path_is_an_error_that_names_it,
    missing_path_of_an_optional_rule_is_skipped_and_listed,
    path_that_permissions_refuse_is_an_error,
    rights_on_one_path_add_up,
    rules_follow_symbolic_links,
    rule_from_a_descriptor,
    rule_on_a_pipe_or_a_socket_is_none,
    failed_enforce_leaves_the_process_free,
    checking_a_plan_confines_nobody,
    no_descriptor_is_left_open,
    quiet_and_log_never_fail,
];

fn tree() -> PathBuf {
    let dir = fresh();
    mkdir(dir.join("d"));
    put(dir.join("d/below"), "text");
    put(dir.join("f"), "text");
    put(dir.join("g"), "text");
    symlink("d", dir.join("to_d")).unwrap();
    symlink("f", dir.join("to_f")).unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    dir
}

/// The error of enforcing, after which this process is as free as before; none where there is no Landlock, and so
/// nothing to be told.
fn error(policy: Policy) -> Option<Error> {
    let result = policy.best_effort().enforce();
    if abi() == 0 {
        drop(result.unwrap());
        return None;
    }
    let error = result.expect_err("an error");
    let probe = fresh().join("free");
    put(&probe, "");
    works(fs::remove_file(probe));
    Some(error)
}

#[track_caller]
fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    assert!(parts.iter().all(|part| text.contains(part)) && !text.contains('\n'), "{text}");
}

fn group_on_a_file_leaves_out_what_only_directories_have() {
    let dir = tree();
    let (f, g) = (dir.join("f"), dir.join("g"));
    for rule in [rw(&f), format!("rwxc:{}", f.display()).parse().unwrap(), ro(&f).rights(Rights::W)] {
        in_fork(|| {
            confine(&Policy::new().rule(rule));
            works(OpenOptions::new().read(true).write(true).truncate(true).open(&f));
            refused(Errno::EACCES, fs::remove_file(&f));
        });
        put(&f, "text");
        assert!(g.exists());
    }
    // Where nothing is left there is no rule, and the report says so.
    in_fork(|| {
        let report = confine(&Policy::new().rule(path(&f).rights(Rights::C)));
        let told =
            report.notes().any(|note| note.contains("nothing of") && note.contains("no rule was added"));
        assert_eq!(told, abi() > 0, "{report}");
        refused(Errno::EACCES, fs::read(&f));
    });
}

fn exact_right_of_directories_on_a_file_is_an_error() {
    let file = tree().join("f");
    for (right, name) in
        [(Rights::READ_DIR, "read_dir"), (Rights::MAKE_REG, "make_reg"), (Rights::REMOVE_FILE, "remove_file")]
    {
        let policy = Policy::new().rule(path(&file).rights(right | Rights::READ_FILE));
        let Some(error) = error(policy) else { return };
        says(&error, &[file.to_str().unwrap(), name, "only a directory can have", "EINVAL"]);
        assert_eq!((error.path(), error.errno()), (Some(file.as_path()), Some(libc::EINVAL)));
        assert!(!error.is_missing_path());
    }
    // One that this kernel does not know is lost already.
    let truncate = Policy::for_abi(Abi::V1).rule(path(&file).rights(Rights::REFER | Rights::READ_FILE));
    in_fork(|| drop(confine(&truncate)));
}

fn insisting_on_a_file_or_a_directory() {
    let dir = tree();
    let at = |name: &str| dir.join(name);
    for name in ["f", "to_f"] {
        let Some(error) = error(Policy::new().rule(rw(at(name)).dir())) else { return };
        says(&error, &[at(name).to_str().unwrap(), "is no directory, and the rule insists on one"]);
        in_fork(|| {
            confine(&Policy::new().rule(ro(at(name)).file()));
            works(fs::read(at("f")));
        });
    }
    for name in ["d", "to_d"] {
        // Also if the rule is optional: it is there.
        let error = error(Policy::new().rule(rw(at(name)).file().optional())).unwrap();
        says(&error, &[at(name).to_str().unwrap(), "is a directory, and the rule insists on a file"]);
        in_fork(|| {
            confine(&Policy::new().rule(ro(at(name)).dir()));
            works(fs::read(at("d/below")));
        });
    }
    let swapped = error(Policy::new().rule(rw(at("f")).dir().optional())).unwrap();
    says(&swapped, &["is no directory"]);
    // As text, and from a descriptor.
    let text: Rule = format!("f:r:{}", at("d").display()).parse().unwrap();
    says(&error(Policy::new().rule(text)).unwrap(), &["insists on a file"]);
    let opened = fd(File::open(at("d")).unwrap()).rights(Rights::RO).file();
    says(&error(Policy::new().rule(opened)).unwrap(), &["insists on a file"]);
    let opened = fd(File::open(at("f")).unwrap()).rights(Rights::RO).dir();
    says(&error(Policy::new().rule(opened)).unwrap(), &["insists on one"]);
}

const MISSING: [(&str, i32); 3] =
    [("missing", libc::ENOENT), ("f/below", libc::ENOTDIR), ("dangling", libc::ENOENT)];

fn missing_path_is_an_error_that_names_it() {
    let dir = tree();
    for (name, errno) in MISSING {
        let missing = dir.join(name);
        for rule in [ro(&missing), rw(&missing).file(), ro([&dir, &missing]), path(&missing).quiet()] {
            let Some(error) = error(Policy::new().rule(rule)) else { return };
            assert!(error.is_missing_path());
            assert_eq!((error.path(), error.errno()), (Some(missing.as_path()), Some(errno)));
            says(&error, &[missing.to_str().unwrap(), "does not exist"]);
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
        }
    }
}

fn missing_path_of_an_optional_rule_is_skipped_and_listed() {
    let dir = tree();
    in_fork(|| {
        let missing = MISSING.map(|(name, _)| dir.join(name));
        let report = confine(&Policy::new().rule(ro(&missing[..]).optional()).ro(dir.join("f")));
        let skipped: Vec<&Path> = report.skipped().collect();
        assert_eq!(
            skipped,
            if abi() > 0 { missing.each_ref().map(|p| p.as_path()).to_vec() } else { vec![] }
        );
        let told = report.to_string().matches("does not exist").count();
        assert_eq!(told, skipped.len(), "{report}");
        works(fs::read(dir.join("f")));
        refused(Errno::EACCES, fs::read(dir.join("g")));
    });
}

fn path_that_permissions_refuse_is_an_error() {
    let dir = tree();
    if is_root() {
        return;
    }
    fs::set_permissions(dir.join("d"), PermissionsExt::from_mode(0o000)).unwrap();
    // Not as if it were missing.
    let error = error(Policy::new().rule(ro(dir.join("d/below")).optional()));
    fs::set_permissions(dir.join("d"), PermissionsExt::from_mode(0o700)).unwrap();
    let Some(error) = error else { return };
    assert!(!error.is_missing_path());
    says(&error, &["d/below", "cannot be opened", "EACCES"]);
}

fn rights_on_one_path_add_up() {
    let dir = tree();
    let f = dir.join("f");
    let write = path(&f).rights(Rights::WRITE_FILE);
    let by_link = path(dir.join("to_f")).rights(Rights::WRITE_FILE);
    let by_file = fd(File::open(&f).unwrap()).rights(Rights::WRITE_FILE);
    for other in [write, by_link, by_file] {
        in_fork(|| {
            confine(&Policy::new().ro(&f).rule(other));
            works(OpenOptions::new().read(true).write(true).open(&f));
        });
    }
}

fn rules_follow_symbolic_links() {
    let dir = tree();
    in_fork(|| {
        confine(&Policy::new().ro([dir.join("to_f"), dir.join("to_d")]));
        works(fs::read(dir.join("f")));
        works(fs::read(dir.join("to_f")));
        works(fs::read(dir.join("d/below")));
        refused(Errno::EACCES, fs::read(dir.join("g")));
    });
}

fn rule_from_a_descriptor() {
    for (flags, name, below) in [
        (libc::O_PATH, "f", "moved"),
        (libc::O_RDONLY, "f", "moved"),
        (libc::O_PATH, "d", "moved/below"),
        (libc::O_DIRECTORY, "d", "moved/below"),
    ] {
        in_fork(|| {
            let dir = tree();
            let opened = OpenOptions::new().read(true).custom_flags(flags).open(dir.join(name)).unwrap();
            // Another file has the name by now.
            fs::rename(dir.join(name), dir.join("moved")).unwrap();
            put(dir.join(name), "new");
            confine(&Policy::new().rule(fd(opened).rights(Rights::RO)));
            works(fs::read(dir.join(below)));
            refused(Errno::EACCES, fs::read(dir.join(name)));
        });
    }
}

fn rule_on_a_pipe_or_a_socket_is_none() {
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    let (socket, _other) = super::unix::pair();
    for rule in [fd(reader), fd(socket)] {
        in_fork(|| {
            let report = confine(&Policy::new().rule(rule.rights(Rights::R | Rights::W)));
            let told = report.notes().any(|note| note.contains("it needs no rule"));
            assert_eq!(told, abi() > 0, "{report}");
        });
    }
}

fn failed_enforce_leaves_the_process_free() {
    let dir = tree();
    // After rules that could be added.
    let failing = || Policy::new().ro(dir.join("f")).connect_tcp(1).ro(dir.join("missing"));
    let Some(first) = error(failing()) else { return };
    assert!(first.is_missing_path());
    let done = |p: Policy| p.best_effort().enforce_thread().map(drop);
    assert!(done(failing()).unwrap_err().is_missing_path());
    works(fs::read(dir.join("g")));
    works(super::net::bind(0));
    works(forked(|| super::exec::program().execute("+exit=0")));
    // What cannot be planned does not get as far.
    assert!(error(Policy::new().ro("")).unwrap().is_invalid());
    // A plan for a newer kernel than this one.
    let newest = Policy::new().plan(&Kernel::new(Abi::LATEST)).unwrap();
    if abi() < 10 {
        assert!(newest.enforce().is_err());
    }
    works(fs::read(dir.join("g")));
}

fn checking_a_plan_confines_nobody() {
    let dir = tree();
    let plan = |policy: Policy| policy.best_effort().plan(&Kernel::probe()).unwrap();
    let report = plan(Policy::new().ro(dir.join("f"))).check().unwrap();
    assert_eq!(report.covers(), Covers::NotYet);
    works(fs::read(dir.join("g")));
    let missing = plan(Policy::new().ro(dir.join("missing"))).check();
    assert_eq!(missing.is_err_and(|error| error.is_missing_path()), abi() > 0);
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn no_descriptor_is_left_open() {
    let dir = tree();
    let before = descriptors();
    for _ in 0..3 {
        let _ = Policy::new().ro([dir.join("f"), dir.join("missing")]).best_effort().enforce();
        let _ = Policy::new().rule(rw(dir.join("d")).file()).best_effort().enforce();
        let _ = Policy::new().rule(path(dir.join("f")).rights(Rights::READ_DIR)).best_effort().enforce();
        let _ = Policy::new().ro(&dir).strict().plan(&Kernel::new(Abi::LATEST)).unwrap().check();
        if abi() == 0 {
            return;
        }
        assert_eq!(descriptors(), before);
    }
    let mut policy =
        Policy::new().ro("/proc").rule(rw([&dir, Path::new("no")]).optional()).connect_tcp(1..=9);
    for preset in Preset::ALL {
        policy = policy.preset(preset);
    }
    confine(&policy);
    assert_eq!(descriptors(), before);
}

fn quiet_and_log_never_fail() {
    let dir = tree();
    for log in [Log::SAME_EXEC_OFF, Log::NEW_EXEC_ON, Log::SUBDOMAINS_OFF, Log::all()] {
        in_fork(|| {
            let report = confine(&Policy::new().log(log).ro(dir.join("f")));
            let left_out = report.notes().any(|note| note.starts_with("log flags: left out"));
            assert_eq!(left_out, (1..7).contains(&abi()), "{report}");
            refused(Errno::EACCES, fs::read(dir.join("g")));
        });
    }
    for quiet in [Rights::READ_FILE | Rights::CONNECT_TCP | Rights::SIGNAL, Rights::NET, Rights::SIGNAL] {
        let of_directories = path(dir.join("f")).rights(Rights::C);
        for rule in [ro(dir.join("f")), path(dir.join("g")), rw(dir.join("f")), of_directories] {
            in_fork(|| {
                let report = confine(&Policy::new().quiet(quiet).rule(rule.quiet()).ro(dir.join("f")));
                let left_out = report.notes().any(|note| note.starts_with("quiet: left out"));
                assert_eq!(left_out, (1..10).contains(&abi()), "{report}");
                works(fs::read(dir.join("f")));
                refused(Errno::EACCES, fs::read(dir.join("g")));
            });
        }
    }
}
