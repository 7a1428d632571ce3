//! A program and all it starts behave under `palisade learn` as ever, and how it ends is how palisade ends; a run that
//! somebody ends is written too, and marked.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::common::{Ran, User, can_probe, each_user, found};
use crate::learn::{learn, rules};
use crate::watched::{helper, run};
use crate::watched_ends::{JOBS, has_ended, until, watcher_of};

/// `bash -c SCRIPT` unconfined, in which "$@" is `palisade learn` with a file.
fn by_shell(user: &User, script: &str) -> Ran {
    let mut command = user.command("timeout");
    command.args(["-s", "KILL", "200", "bash", "-c", script, "bash"]).arg(user.binary());
    command.args(["learn", "-q", "-o", "p.toml"]);
    Ran::of(user, command)
}

/// Does the same under `palisade learn` and without, which is returned.
#[track_caller]
fn shells_alike(user: &User, script: &str) -> Ran {
    let mut plain = user.command("bash");
    plain.args(["-c", script, "bash", "env"]);
    let plain = Ran::of(user, plain);
    by_shell(user, script).said(plain.status.unwrap(), &plain.stdout, &plain.stderr);
    plain
}

fn policy(user: &User) -> String {
    fs::read_to_string(user.home().join("p.toml")).unwrap()
}

fn is_partial(user: &User) -> bool {
    policy(user).contains("\n# PARTIAL: it was ended before it was done, so that something may be missing.\n")
}

#[test]
fn learned_programs_do_the_same_as_ever() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        // What `watched.c` asks for is refused outside of its own folder.
        let ceiling = "include = [\"shared\"]\nunrestricted = [\"unix\", \"abstract\"]\n[fs]\nrw = [\".\"]\nrx = [\"watched\"]\n";
        user.file("ceiling.toml", ceiling);
        let options = "--preset shared --rw . --rx watched --unrestricted unix,abstract";
        for mode in [
            "interrupts",
            "timer",
            "queued",
            "stops",
            "threads",
            "starts",
            "hidden",
            "filters",
            "many",
            "narrow",
        ] {
            let plain = run(user, options, &["./watched", mode]);
            // A listener is nobody's who is watched.
            let expected = plain.stdout.replace("listener: EINVAL", "listener: EBUSY");
            let learned = learn(user, "-q -o p.toml --within ./ceiling.toml", &["./watched", mode]);
            let both = [
                (plain.status, plain.signal, expected.as_str()),
                (learned.status, learned.signal, &learned.stdout),
            ];
            assert_eq!(both[0], both[1], "{mode} as {}: {}", user.name, learned.stderr);
            assert!(plain.status == Some(0) || mode == "narrow", "{mode}: {}", plain.stderr);
        }
        // Without a ceiling.
        for mode in ["interrupts", "queued", "stops", "starts", "hidden"] {
            let mut free = user.command("./watched");
            free.arg(mode);
            let free = Ran::of(user, free);
            learn(user, "-q -o p.toml", &["./watched", mode]).said(0, &free.stdout, "");
        }
    });
}

#[test]
fn learned_programs_are_executed_or_fail_to_as_ever() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        user.file("ceiling.toml", "include = [\"shared\"]\n[fs]\nrwx = [\".\"]\n");
        let plain = run(user, "--preset shared --rwx .", &["./watched", "executes"]);
        assert_eq!(plain.status, Some(0), "{}", plain.stdout);
        learn(user, "-q -o p.toml --within ./ceiling.toml", &["./watched", "executes"]).said(
            0,
            &plain.stdout,
            "",
        );
    });
}

#[test]
fn learned_ends_are_command_s_own() {
    each_user(|user| {
        let all: String =
            [0, 1, 2, 124, 125, 126, 127, 128, 255].map(|status| format!("{status}\n")).concat();
        let script = r#"for i in 0 1 2 124 125 126 127 128 255; do "$@" sh -c "exit $i"; echo $?; done"#;
        by_shell(user, script).said(0, &all, "");
        assert!(!is_partial(user));
        assert!(policy(user).contains("\n# It ran unconfined, and ended with exit status 255.\n"));
        // Those that end a program.
        let signals = [1, 2, 3, 4, 6, 8, 9, 10, 11, 13, 14, 15, 24, 31, 34, 64];
        let words = signals.map(|signal| signal.to_string()).join(" ");
        let script =
            format!(r#"for i in {words}; do "$@" sh -c "ulimit -c 0; kill -$i \$\$"; echo $?; done"#);
        let expected: String = signals.map(|signal| format!("{}\n", 128 + signal)).concat();
        by_shell(user, &script).said(0, &expected, "");
        assert!(is_partial(user) && policy(user).contains("was ended by signal 64."), "{}", policy(user));
        // Of a child it is for COMMAND to know.
        by_shell(user, r#""$@" bash -c '(kill -9 $BASHPID); echo $?; true' 2>/dev/null"#)
            .said(0, "137\n", "");
        assert!(!is_partial(user));
    });
}

#[test]
fn learned_pipes_carry_and_close_as_ever() {
    each_user(|user| {
        shells_alike(user, r#"printf 'a\nb' | "$@" cat | cat; echo ${PIPESTATUS[@]}"#).said(
            0,
            "a\nb0 0 0\n",
            "",
        );
        shells_alike(user, r#""$@" yes | head -1; echo ${PIPESTATUS[0]}"#).said(0, "y\n141\n", "");
        shells_alike(user, r#""$@" sh -c 'echo to stderr >&2; exit 3' 2>&1 >/dev/null; echo $?"#);
        shells_alike(user, r#""$@" true >&- 2>&-; echo $?"#).said(0, "0\n", "");
        // Whoever reads what COMMAND writes sees it close what it closes, while it runs on.
        let mut command = user.command(user.binary());
        command.args(["learn", "-q", "-o", "p.toml", "--", "sh", "-c", "echo all; exec >&-; read x; exit 5"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = [0; 4];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"all\n");
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(5));
    });
}

#[test]
fn learned_command_starts_with_what_run_gives_it() {
    if !can_probe() {
        return;
    }
    each_user(|user| {
        user.probe();
        user.file("secret", "through\n");
        user.folder("d");
        for words in [
            "-- ./probe self",
            "--keep-fd 9,3 -- ./probe self 3<secret 5<secret 9<secret",
            "--keep-caps chown,kill -- ./probe self",
            "--clear-env --env A=1 --env HOME -- /usr/bin/env",
            "--chdir d -- pwd",
            "--keep-fd 9 -- sh -c 'read -r x <&9; echo $x' 9<secret",
        ] {
            let palisade = user.binary().display().to_string();
            let of = |how: &str| {
                let mut bash = user.command("bash");
                let script = format!("trap '' HUP USR2; {palisade} {how} {words} | grep -v ^pid:");
                bash.args(["-c", &script]);
                Ran::of(user, bash)
            };
            let plain = of(&format!("run -q {} --preset system --rx probe", user.go_on()));
            assert!(plain.works().stdout.lines().count() > 0, "{words}");
            of("learn -q -o p.toml").said(0, &plain.stdout, "");
        }
    });
}

#[test]
fn what_cannot_be_started_is_not_learned() {
    each_user(|user| {
        let text = user.file("text", "no program\n");
        user.file("closed", "#!/bin/sh\n");
        let mut chmod = user.command("chmod");
        chmod.arg("755").arg(&text);
        Ran::of(user, chmod).works();
        for (words, status) in [
            ("nosuch", 127),
            ("./nosuch", 127),
            ("./text", 126),
            ("./closed", 126),
            ("--keep-fd 77 true", 125),
            ("--chdir nosuch true", 125),
            ("--ro nosuch true", 125),
        ] {
            let plain = user.run(&format!("{} {words}", user.go_on()));
            let learned = user.palisade(["learn", "-q", "-o", "p.toml"].into_iter().chain(words.split(' ')));
            assert_eq!(plain.status, Some(status), "{words}");
            learned.said(status, "", &plain.stderr);
        }
        let names = fs::read_dir(user.home()).unwrap().count();
        assert_eq!(names, 2, "nothing is left over");
    });
}

#[test]
fn learn_cannot_be_watched_and_says_so() {
    if !found(&["strace"]) {
        return;
    }
    each_user(|user| {
        let cannot = "palisade: COMMAND cannot be watched: Operation not permitted (os error 1); is palisade watched itself, \
                      as by strace, or does a sandbox around it forbid ptrace?\n";
        let mut strace = user.command("strace");
        strace
            .args(["-f", "-o", "/dev/null"])
            .arg(user.binary())
            .args(["learn", "-q", "--", "touch", "made"]);
        Ran::of(user, strace).said(125, "", cannot);
        let palisade = user.binary().display().to_string();
        let inner = [palisade.as_str(), "learn", "-q", "--", "touch", "made"];
        learn(user, "-q -o p.toml", &inner).said(125, "", cannot);
        assert!(!user.home().join("made").exists());
    });
}

/// Whoever continues COMMAND can be one that it has started.
#[test]
fn a_command_that_stops_itself_goes_on() {
    each_user(|user| {
        let script = "(until grep -q '^State:.[tT]' /proc/$$/status; do :; done; kill -CONT $$) & kill -STOP $$; echo on";
        learn(user, "-q -o p.toml", &["sh", "-c", script]).said(0, "on\n", "");
        assert!(!policy(user).contains("[scope]"), "{}", policy(user));
    });
}

/// If it is alone palisade stops too, for whoever started it to see, and they go on together.
#[test]
fn a_command_that_stops_alone_goes_on_with_palisade() {
    each_user(|user| {
        let learning = Learning::of(user, "", "echo ready; kill -STOP $$; echo on");
        let stat = format!("/proc/{}/stat", learning.palisade.id());
        until(|| fs::read_to_string(&stat).unwrap().contains(") T "));
        learning.signal("-CONT");
        assert_eq!(learning.ended(), ("on\n".to_owned(), Some(0)));
        assert!(!is_partial(user));
    });
}

#[test]
fn learned_jobs_are_controlled_by_a_terminal() {
    if !found(&["perl", "python3", "timeout"]) {
        return;
    }
    each_user(|user| {
        let mut python = user.command("timeout");
        python.args(["-s", "KILL", "100", "python3", "-c", JOBS]).arg(user.binary());
        python.args(["learn", "-q", "-o", "p.toml"]);
        let expected = "Ctrl-Z stopped\ngot words\nfg exited 6\nCtrl-C exited 130 PARTIAL\n\
                        Ctrl-C with a trap exited 8 PARTIAL\ncaught 1\nCtrl-C that it goes on from exited 0\n\
                        Ctrl-backslash exited 131 PARTIAL\nhangup exited 129 PARTIAL\n";
        Ran::of(user, python).said(0, expected, "");
    });
}

/// `palisade learn`, of which COMMAND has said that it is ready.
struct Learning {
    palisade: Child,
    lines: BufReader<ChildStdout>,
}

impl Learning {
    fn of(user: &User, before: &str, script: &str) -> Learning {
        let mut command = user.command("bash");
        let start = format!(r#"{before} exec "$@" 2>err"#);
        command.args(["-c", &start, "bash"]).arg(user.binary()).args(["learn", "-o", "p.toml"]);
        command.args(["--fold", "exact", "--", "sh", "-c", script]).stdout(Stdio::piped());
        let mut palisade = command.spawn().unwrap();
        let lines = BufReader::new(palisade.stdout.take().unwrap());
        let mut learning = Learning { palisade, lines };
        assert_eq!(learning.line(), "ready\n");
        learning
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.args([name, &self.palisade.id().to_string()]).status().unwrap().success());
    }

    /// What it says until its end, and its status.
    fn ended(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (rest, self.palisade.wait().unwrap().code())
    }
}

fn err(user: &User) -> String {
    fs::read_to_string(user.home().join("err")).unwrap()
}

#[test]
fn signals_to_palisade_alone_are_passed_on_once() {
    each_user(|user| {
        for name in ["TERM", "INT", "HUP", "QUIT"] {
            let script = format!(
                "n=0; trap 'n=$((n+1))' {name}; echo ready; while [ $n = 0 ]; do sleep 0.01; done; sleep 0.05; echo $n; exit 4"
            );
            let learning = Learning::of(user, "", &script);
            learning.signal(&format!("-{name}"));
            assert_eq!(learning.ended(), ("1\n".to_owned(), Some(4)), "{name}");
            assert!(is_partial(user));
        }
        let learning = Learning::of(user, "", "cat /dev/null; echo ready; exec sleep 1000");
        learning.signal("-TERM");
        assert_eq!(learning.ended(), (String::new(), Some(143)));
        assert!(is_partial(user) && rules(&policy(user)).contains("/cat"));
        assert!(err(user).contains("palisade: PARTIAL: it was ended before it was done"), "{}", err(user));
    });
}

#[test]
fn signals_that_are_ignored_stay_ignored() {
    each_user(|user| {
        let script = "grep SigIgn /proc/self/status; echo ready; read x";
        let trap = "trap '' HUP INT QUIT TERM;";
        let mut plain = user.command("bash");
        plain.args(["-c", &format!("{trap} exec grep SigIgn /proc/self/status")]);
        let plain = Ran::of(user, plain);
        by_shell(user, &format!(r#"{trap} exec "$@" grep SigIgn /proc/self/status"#)).said(
            0,
            &plain.stdout,
            "",
        );
        let script =
            script.replace("grep SigIgn /proc/self/status; ", "").replace("read x", "cat fifo; exit 3");
        let mut mkfifo = user.command("mkfifo");
        mkfifo.arg("fifo");
        Ran::of(user, mkfifo).works();
        let learning = Learning::of(user, trap, &script);
        for name in ["-HUP", "-INT", "-QUIT", "-TERM"] {
            learning.signal(name);
        }
        fs::write(user.home().join("fifo"), "on\n").unwrap();
        assert_eq!(learning.ended(), ("on\n".to_owned(), Some(3)));
        assert!(!is_partial(user));
    });
}

#[test]
fn nothing_goes_on_when_palisade_is_killed() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let mut command = user.command(user.binary());
        command.args(["learn", "-q", "-o", "p.toml", "--", "./watched", "lives"]);
        let mut palisade = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(palisade.stdout.take().unwrap()).lines();
        let all: Vec<u32> = lines.take(4).map(|line| line.unwrap().parse().unwrap()).collect();
        assert!(all.iter().all(|process| watcher_of(*process) == palisade.id()));
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        until(|| all.iter().all(|process| has_ended(*process)));
        let left = fs::read_dir(user.home()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.into_iter().all(|name| name.to_string_lossy().starts_with("watched")));
    });
}

/// A daemon that reads a FIFO, and then a file that nobody else does.
fn daemon(user: &User) -> Learning {
    let mut mkfifo = user.command("mkfifo");
    mkfifo.arg("fifo");
    Ran::of(user, mkfifo).works();
    user.file("later", "");
    let daemon = "(setsid sh -c 'echo $$ >number; read x <fifo; cat later' >/dev/null 2>&1 &) ; \
                  until test -s number; do :; done; echo ready; exit 3";
    let learning = Learning::of(user, "", daemon);
    until(|| err(user).contains("palisade: COMMAND has ended, and a process ("));
    assert!(err(user).contains(") that it started runs on: "), "{}", err(user));
    assert!(!user.home().join("p.toml").exists());
    learning
}

#[test]
fn what_a_daemon_does_later_is_learned() {
    if !found(&["setsid", "mkfifo"]) {
        return;
    }
    each_user(|user| {
        let learning = daemon(user);
        fs::write(user.home().join("fifo"), "go on\n").unwrap();
        assert_eq!(learning.ended(), (String::new(), Some(3)));
        assert!(rules(&policy(user)).contains("\"~/later\"") && !is_partial(user), "{}", policy(user));
    });
}

#[test]
fn a_daemon_that_is_waited_for_can_be_ended() {
    if !found(&["setsid", "mkfifo"]) {
        return;
    }
    each_user(|user| {
        let learning = daemon(user);
        let number = fs::read_to_string(user.home().join("number")).unwrap();
        let number: u32 = number.trim().parse().unwrap();
        assert!(!has_ended(number));
        learning.signal("-INT");
        assert_eq!(learning.ended(), (String::new(), Some(3)));
        assert!(
            has_ended(number) && is_partial(user) && !rules(&policy(user)).contains("later"),
            "{}",
            policy(user)
        );
        let left: Vec<_> =
            fs::read_dir(user.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 5, "{left:?}");
    });
}
