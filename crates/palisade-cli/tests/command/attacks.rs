//! A program that is explained can neither do more than one that is not, nor have another thing said of it. `attack.c` tries.

use std::fs::File;

use crate::common::{Ran, TCP_ABI, User, each_user, found};

/// Whether programs are watched here, and can be confined as these tests have it.
fn can_attack(user: &User) -> bool {
    cfg!(target_arch = "x86_64") && user.abi() >= TCP_ABI
}

fn compiled(user: &User) -> String {
    user.file("attack.c", include_str!("attack.c"));
    let mut cc = user.command("cc");
    cc.args(["-O1", "-Wall", "-o", "attack", "attack.c"]);
    Ran::of(user, cc).works();
    user.home().join("attack").to_str().unwrap().to_owned()
}

/// For each user and both ways to explain: what there is to attack with, and the options.
fn each_way(test: impl Fn(&User, &str, &[&str])) {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        if !can_attack(user) {
            return;
        }
        let attack = compiled(user);
        for explain in ["--explain", "--explain=exact"] {
            test(user, &attack, &["run", explain]);
        }
    });
}

fn attack(user: &User, options: &[&str], grants: &[&str], words: &[&str]) -> Ran {
    user.palisade([options, grants, &["--"], words].concat())
}

fn contains(ran: &Ran, words: &str) {
    assert!(ran.stderr.contains(words), "{words}: {}{}", ran.stdout, ran.stderr);
}

#[test]
fn registers_that_cannot_be_written_back_do_not_stop_the_watcher() {
    each_way(|user, program, options| {
        let ran = attack(user, options, &[], &[program, "selector"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), "13\n"), "{}", ran.stderr);
        contains(&ran, "make a packet socket");
    });
}

#[test]
fn old_calls_with_whole_registers_are_read_as_the_kernel_does() {
    each_way(|user, program, options| {
        let (real, other) = (user.file("real", ""), user.file("other", ""));
        let words = [program, "whole registers", real.to_str().unwrap(), other.to_str().unwrap()];
        let ran = attack(user, options, &[], &words);
        // Where the kernel has no such calls at all, the program is killed or told so.
        if ran.stdout == "13\n" {
            contains(&ran, &format!("read {}", real.display()));
            assert!(!ran.stderr.contains("/other"), "{}", ran.stderr);
        }
    });
}

#[test]
fn truncating_an_open_file_is_seen() {
    each_way(|user, program, options| {
        let file = user.file("file", "x");
        let grant = format!("write_file:{}", file.display());
        let ran =
            attack(user, options, &["--allow", &grant], &[program, "ftruncate", file.to_str().unwrap()]);
        assert_eq!(ran.stdout, "13\n", "{}", ran.stderr);
        contains(&ran, &format!("truncate {} (truncate)", file.display()));
    });
}

#[test]
fn a_link_of_proc_that_is_followed_is_the_programs_own() {
    each_way(|user, program, options| {
        let (file, name) = (user.file("file", ""), user.home().join("name"));
        let mut command = user.command(user.binary());
        let words = [options, &["--", program, "followed link", name.to_str().unwrap()]].concat();
        command.args(words).stdin(File::open(&file).unwrap());
        let ran = Ran::of(user, command);
        assert_ne!(ran.stdout, "0\n", "{}", ran.stderr);
        contains(&ran, &format!("link {} as {}", file.display(), name.display()));
    });
}

#[test]
fn a_path_with_a_root_of_its_own_is_named_whole() {
    each_way(|user, program, options| {
        let file = user.file("file", "");
        let home = user.home();
        let ran = attack(user, options, &[], &[program, "in root", home.to_str().unwrap(), "/../file"]);
        assert_eq!(ran.stdout, "13\n", "{}", ran.stderr);
        contains(&ran, &format!("read {} (read_file)", file.display()));
    });
}

#[test]
fn the_watchers_limits_are_not_the_programs_to_set() {
    each_way(|user, program, options| {
        let file = user.file("file", "");
        let ran = attack(user, options, &["--ro", "/proc"], &[program, "limits", file.to_str().unwrap()]);
        assert_eq!(ran.stdout, "1\n13\n", "{}", ran.stderr);
        contains(&ran, &format!("--ro {}", file.display()));
    });
}

#[test]
fn a_filter_of_the_programs_own_that_speaks_as_the_watchers_opens_nothing() {
    each_way(|user, program, options| {
        let ran = attack(user, options, &[], &[program, "own filter"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), "38\n"), "{}", ran.stderr);
    });
}

#[test]
fn what_a_link_has_taken_the_place_of_is_not_proposed() {
    each_user(|user| {
        if !can_attack(user) {
            return;
        }
        let (secret, work) = (user.file("id_rsa", "key"), user.folder("work"));
        std::fs::copy("/bin/true", work.join("tool")).unwrap();
        // Made before, it is none of what COMMAND made.
        std::os::unix::fs::symlink(&secret, work.join("link")).unwrap();
        let (tool, link) = (work.join("tool"), work.join("link"));
        let script = format!("{}; mv -f {} {}", tool.display(), link.display(), tool.display());
        let options = ["run", "--explain", "--rx", "/usr", "--rw", work.to_str().unwrap()];
        let ran = user.palisade([&options[..], &["--", "sh", "-c", &script]].concat());
        contains(&ran, &format!("execute {}", tool.display()));
        assert!(tool.is_symlink(), "{}", ran.stderr);
        assert!(!ran.stderr.contains(&format!("--rx {}\n", tool.display())), "{}", ran.stderr);
    });
}

#[test]
fn a_home_behind_a_link_is_a_home() {
    each_user(|user| {
        if !can_attack(user) {
            return;
        }
        let home = user.folder("home");
        user.folder("home/.aws");
        let (secret, link) = (user.file("home/.aws/credentials", "key"), user.home().join("link"));
        std::os::unix::fs::symlink(&home, &link).unwrap();
        let mut command = user.command(user.binary());
        command.args(["run", "--explain", "--rx", "/usr", "--", "cat"]).arg(&secret).env("HOME", &link);
        let ran = Ran::of(user, command);
        contains(&ran, "sensitive (credentials of a cloud)");
    });
}

#[test]
fn what_is_run_outside_is_not_proposed_to_be_written() {
    each_user(|user| {
        if !can_attack(user) {
            return;
        }
        user.folder(".ssh");
        for name in [".bashrc", ".ssh/config"] {
            let file = user.file(name, "");
            let script = format!("echo x >> {}", file.display());
            let ran = user.palisade(["run", "--explain", "--", "sh", "-c", &script]);
            contains(&ran, &format!("write {}", file.display()));
            contains(&ran, "run outside");
            assert!(!ran.stderr.contains(&format!("--rw {}", file.display())), "{}", ran.stderr);
        }
    });
}
