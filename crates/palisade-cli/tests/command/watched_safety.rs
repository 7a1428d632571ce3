//! That COMMAND is watched (`run --explain`) weakens nothing: what is closed stays closed, nobody goes on unwatched, the
//! watcher is out of reach, and what is printed deceives nobody.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::common::{Ran, User, each_user, found};
use crate::watched::{EXPLAIN, helper, run};
use crate::watched_ends::{has_ended, until, watcher_of};

/// What `watched.c` says in this mode, watched in each way.
#[track_caller]
fn says(user: &User, mode: &[&str], expected: &str) {
    for explain in EXPLAIN {
        let options = format!("{explain} --rw . --rx watched --ro /proc");
        run(user, &options, &[&["./watched"], mode].concat()).said(0, expected, "");
    }
}

fn report(user: &User) -> String {
    fs::read_to_string(user.home().join("report")).unwrap()
}

#[test]
fn watched_programs_cannot_listen_to_filters() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        // Or else it would show nothing.
        run(user, "--rx watched", &["./watched", "listener"]).said(
            0,
            "listener: ok\nlistener, with TSYNC: EBUSY\n",
            "",
        );
        says(user, &["listener"], "listener: EBUSY\nlistener, with TSYNC: EBUSY\n");
    });
}

/// Also a process that the watcher does not see cannot be watched by another, who would let it through.
#[test]
fn unwatched_children_can_do_nothing() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let expected = "\
            open: ENOSYS\n\
            refused: ENOSYS\n\
            socket: ENOSYS\n\
            tcp: ok\n\
            execve: ENOSYS\n\
            to be traced: ENOSYS\n\
            its child, open: ENOSYS\n\
            untraced: exited 0\n\
            to trace it: EPERM\n\
            socket of one that the program traces: ENOSYS\n\
            to attach to another: EPERM\n\
            another: killed 9\n";
        says(user, &["untraced"], expected);
        let traces =
            "watch a process (ptrace), twice: a program that is watched cannot be watched by another";
        assert!(report(user).contains(traces), "{}", report(user));
    });
}

#[test]
fn watcher_is_out_of_reach() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let scoped = user.abi() >= 6;
        let signals = ["signal 0", "kill", "stop", "tgkill", "sigqueue", "kill by pidfd"];
        let looks = ["its descriptors", "seize", "attach", "its memory"];
        let entries = ["mem", "environ", "auxv", "fd/2", "cwd/.", "root/.", "exe", "maps", "syscall"];
        for explain in EXPLAIN {
            let options = format!("{explain} --rw . --rx watched --ro /proc");
            let ran = run(user, &options, &["./watched", "attacks", if scoped { "1" } else { "0" }]);
            let refused = |name: &str| {
                let line = ran.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                assert!(matches!(line, Some("EPERM" | "EACCES")), "{name}: {line:?} as {}", user.name);
            };
            ran.works();
            signals.into_iter().filter(|_| scoped).chain(looks).chain(entries).for_each(refused);
        }
    });
}

#[test]
fn watcher_has_the_capabilities_of_command_and_no_more() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        for keep in ["", "--keep-caps chown,net_bind_service", "--keep-caps all"] {
            let options = format!("{} {keep} --rw . --rx watched --ro /proc", EXPLAIN[0]);
            let ran = run(user, &options, &["./watched", "capabilities"]);
            let lines: Vec<&str> = ran.works().stdout.lines().collect();
            assert_eq!(lines.len(), 14, "{}", ran.stdout);
            assert_eq!(lines[..7], lines[7..], "{keep} as {}", user.name);
        }
    });
}

/// COMMAND, three more that it has started, and their watcher.
fn family(user: &User) -> (Child, Vec<u32>, u32) {
    let mut command: Command = user.command(user.binary());
    command.args(["run", "--explain", "-q"]).args(user.go_on().split_whitespace());
    command.args(["--rx", "watched", "--", "./watched", "lives"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let all: Vec<u32> = lines.take(4).map(|line| line.unwrap().parse().unwrap()).collect();
    let watcher = watcher_of(child.id());
    assert!(all.contains(&child.id()) && watcher != 0);
    assert!(all.iter().all(|process| watcher_of(*process) == watcher));
    (child, all, watcher)
}

fn signal(process: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

#[test]
fn nothing_goes_on_when_its_watcher_is_killed() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let (mut child, all, watcher) = family(user);
        // What is meant for all of a service does not end the watcher, which would end COMMAND before its time.
        for name in ["-TERM", "-INT", "-HUP", "-PIPE", "-USR1", "-ALRM", "-QUIT"] {
            signal(watcher, name);
        }
        // The watcher is still there if COMMAND's next call is answered, and the one after.
        let calls = || {
            let stat = fs::read_to_string(format!("/proc/{watcher}/stat")).unwrap();
            let rest = stat.rsplit_once(") ").unwrap().1.to_owned();
            let times: Vec<u64> = rest.split(' ').skip(11).take(2).map(|n| n.parse().unwrap()).collect();
            times[0] + times[1]
        };
        let before = calls();
        until(|| calls() > before + 1);
        assert!(!has_ended(watcher) && all.iter().all(|process| !has_ended(*process)));

        signal(watcher, "-KILL");
        until(|| all.iter().all(|process| has_ended(*process)));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    });
}

#[test]
fn what_is_killed_leaves_the_others_watched() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let (mut child, all, watcher) = family(user);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let others: Vec<u32> = all.into_iter().filter(|process| *process != child.id()).collect();
        assert!(others.iter().all(|process| watcher_of(*process) == watcher));
        others.iter().for_each(|process| signal(*process, "-KILL"));
        until(|| has_ended(watcher));
    });
}

#[test]
fn what_changes_while_it_is_asked_for_is_counted() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        for explain in EXPLAIN {
            let options = format!("{explain} --json --rw . --rx watched");
            run(user, &options, &["./watched", "changes"]).said(0, "refused: 1000\n", "");
            let last = report(user).lines().last().unwrap().to_owned();
            let json: Value = serde_json::from_str(&last).unwrap();
            let times = json["refusals"].as_array().unwrap().iter().map(|refusal| {
                let path = refusal["path"].as_str().unwrap();
                assert!(["/etc/passwd", "/etc/passwx", "/etc/xasswd"].contains(&path), "{path}");
                refusal["times"].as_u64().unwrap()
            });
            assert_eq!(times.sum::<u64>(), 1000, "{explain}: {last}");
        }
    });
}

#[test]
fn hostile_names_are_printed_harmlessly() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let options = format!("-q {} --rw . --rx watched", user.go_on());
        for explain in ["--explain", "--explain=live"] {
            let ran = user.run(&format!("{explain} {options} -- ./watched names"));
            let said = &ran.stderr;
            let harmful = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
            assert!(!said.contains(harmful), "{said:?}");
            let named = said.lines().filter(|line| line.contains(r"a\n\u{1b}[1m\xff\u{202e} ("));
            // Seven names, of which five are shown at the end, and one of 4095 bytes.
            let live = if explain == "--explain" { 0 } else { 8 };
            assert!((live + 5..=live + 6).contains(&named.count()), "{said}");
            let alone = said.lines().filter(|line| line.starts_with("palisade: "));
            let expected = if explain == "--explain" { 1 } else { 9 };
            assert_eq!(alone.count(), expected, "{said}");
            assert!(!said.lines().any(|line| line.starts_with("palisade: refused nothing")), "{said}");
        }
        for explain in ["--explain", "--explain=live"] {
            let ran = user.run(&format!("{explain} --json {options} -- ./watched names"));
            let lines: Vec<Value> =
                ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), if explain == "--explain" { 1 } else { 9 });
            let refusals = lines.last().unwrap()["refusals"].as_array().unwrap();
            let paths: Vec<&Value> = refusals.iter().map(|refusal| &refusal["path"]).collect();
            for path in [
                json!("/etc/a\npalisade: refused nothing"),
                json!("/etc/\u{1b}[2J\u{1b}]0;x\u{7}"),
                json!("/etc/\u{202e}gpj.exe"),
                json!({ "bytes": b"/etc/\xff\xfe" }),
                json!("/etc/\"}],\"x\":[{\""),
                json!("/etc/ \\n'$(x)`"),
                json!("/etc/\r\t\u{7f}"),
            ] {
                assert!(paths.contains(&&path), "{path} in {paths:?}");
            }
            let name = json!({ "bytes": b"a\n\x1b[1m\xff\xe2\x80\xae" });
            assert!(refusals.iter().all(|refusal| refusal["name"] == name), "{refusals:?}");
        }
    });
}

#[test]
fn the_report_is_whole_although_nobody_waits_for_it() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let script = r#"{ "$@"; echo ended; } 2>&1 >/dev/null | { head -c 1; cat; }"#;
        let mut command = user.command("bash");
        command.args(["-c", script, "bash"]).arg(user.binary()).args(["run", "--explain", "--json", "-q"]);
        command.args(user.go_on().split_whitespace());
        command.args(["--rx", "watched", "--", "./watched", "floods"]);
        let ran = Ran::of(user, command);
        assert_eq!(ran.stdout.matches("make the folder /etc/0").count(), 600, "{}", ran.stdout.len());
    });
}

/// What another sandbox within refuses is not said to be this policy's.
#[test]
fn refusals_of_a_sandbox_within_are_not_this_policys() {
    each_user(|user| {
        if user.abi() == 0 {
            return;
        }
        user.file("secret", "");
        let palisade = user.binary().display().to_string();
        let within =
            format!("{palisade} run -q --ro /etc/hostname {} -- cat secret /etc/shadow", user.go_on());
        let options = format!("--json --preset system --rw . --rx {palisade}");
        let options = format!("{} {options}", EXPLAIN[0]);
        let ran = run(user, &options, &within.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        let json: Value = serde_json::from_str(report(user).lines().last().unwrap()).unwrap();
        let by = |path: &str| {
            let refusals = json["refusals"].as_array().unwrap();
            let one =
                refusals.iter().find(|refusal| refusal["path"].as_str().is_some_and(|p| p.ends_with(path)));
            one.map(|refusal| refusal["by"].clone())
        };
        assert_eq!(by("/secret"), Some(json!("other")), "{json}");
        assert!(by("/etc/shadow").is_some(), "{json}");
    });
}
