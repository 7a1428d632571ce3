//! How COMMAND starts and ends for who called it, watched (`run --explain`) as unwatched: its number, status, pipes,
//! terminal; and that the report is there before the end is known.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Ran, User, can_probe, each_user, found};
use crate::watched::{EXPLAIN, alike, helper};

/// `bash -c SCRIPT` unconfined, in which "$@" is `palisade run` with these words.
fn by_shell(user: &User, script: &str, words: &[&str]) -> Ran {
    let mut command = user.command("bash");
    command.args(["-c", script, "bash"]).arg(user.binary()).args(["run", "-q"]);
    command.args(user.go_on().split_whitespace()).args(words);
    Ran::of(user, command)
}

/// Does the same with and without a watcher.
#[track_caller]
fn shells_alike(user: &User, script: &str, words: &[&str]) -> Ran {
    let plain = by_shell(user, script, words);
    for explain in EXPLAIN {
        let words: Vec<&str> = explain.split_whitespace().chain(words.iter().copied()).collect();
        by_shell(user, script, &words).said(plain.status.unwrap(), &plain.stdout, &plain.stderr);
    }
    plain
}

/// `palisade run --explain` with these words.
fn explained(user: &User, words: &[&str]) -> Command {
    let mut command = user.command(user.binary());
    command.args(["run", "--explain", "-q"]).args(user.go_on().split_whitespace()).args(words);
    command
}

/// Who watches a process.
pub fn watcher_of(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    line.trim().parse().unwrap()
}

/// Whether a process has ended, also if nobody has taken its end yet.
pub fn has_ended(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Until this is so, which fails if it never is.
#[track_caller]
pub fn until(mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(200), "it waits for ever");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn watched_ends_are_the_callers_to_see() {
    each_user(|user| {
        let all = (0..256).map(|status| format!("{status}\n")).collect::<String>();
        let script = r#"for i in {0..255}; do "$@" sh -c "exit $i"; echo $?; done"#;
        by_shell(user, script, &["--explain", "--output", "report"]).said(0, &all, "");
        // All but those that stop.
        let kills = r#"for i in {1..18} 23 {24..31} {34..64}; do "$@" sh -c "kill -$i \$\$" 2>/dev/null; echo $i $?; done 2>/dev/null"#;
        let ran = shells_alike(user, kills, &[]);
        assert!(ran.stdout.contains("9 137\n10 138\n11 139\n"), "{}", ran.stdout);
        let child =
            "sh -c 'kill -TERM $$'; echo $?; sh -c 'kill -SEGV $$'; echo $?; sh -c 'kill -9 $$'; echo $?";
        let ran = alike(user, "--preset system", &["bash", "-c", &format!("({child}) 2>/dev/null")]);
        ran.said(0, "143\n139\n137\n", "");
        let mut killed = explained(user, &["sh", "-c", "kill -KILL $$"]);
        killed.stderr(Stdio::null());
        let status = killed.status().unwrap();
        assert_eq!((status.signal(), status.code()), (Some(9), None));
    });
}

#[test]
fn watched_command_is_the_process_that_was_called() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let mut command = explained(user, &["--rx", "watched", "--", "./watched", "family"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let number = child.id();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let own = std::process::id();
        let expected = format!("wait: ECHILD\nwait for a stop: ECHILD\nparent: {own}\nown: {number}\n");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.ends_with("\npending:\n"), "{said}");
        // As its caller has left them, also where the end of a child would stay to be seen.
        for explain in [&[][..], &["--explain", "--output", "report"]] {
            let mut blocked = user.command("./watched");
            blocked.arg("blocked").arg(user.binary()).args(["run", "-q"]).args(explain);
            blocked.args(user.go_on().split_whitespace());
            blocked.args(["--rx", "watched", "--", "./watched", "family"]);
            let ran = Ran::of(user, blocked);
            assert!(ran.works().stdout.ends_with("\npending:\n"), "{explain:?} {}", ran.stdout);
        }
    });
}

#[test]
fn watched_command_starts_with_the_same() {
    if !can_probe() {
        return;
    }
    each_user(|user| {
        user.probe();
        user.file("secret", "through\n");
        for script in [
            r#"exec "$@" ./probe self"#,
            r#"trap "" HUP USR2 CHLD; exec "$@" ./probe self"#,
            r#"exec "$@" --keep-fd 9,3 ./probe self 3<secret 5<secret 9<secret"#,
            r#"exec "$@" --keep-caps chown,kill ./probe self"#,
            r#"exec "$@" ./probe self <&-"#,
            r#"./probe blocked "$@" ./probe self"#,
        ] {
            let numbered = format!("{script} | grep -v ^pid:");
            let ran = shells_alike(user, &numbered.replace("exec ", ""), &[]);
            assert!(ran.stdout.contains("descriptors: 0 1 2"), "{script}: {}", ran.stdout);
        }
        let read = r#""$@" --keep-fd 9 -- sh -c 'read -r x <&9; echo "$x"' 9<secret"#;
        shells_alike(user, read, &[]).said(0, "through\n", "");
    });
}

#[test]
fn watched_pipes_carry_and_close_as_ever() {
    each_user(|user| {
        let through = r#"printf 'a\nb' | "$@" cat | cat; echo ${PIPESTATUS[@]}"#;
        shells_alike(user, through, &[]).said(0, "a\nb0 0 0\n", "");
        shells_alike(user, r#""$@" yes | head -1; echo ${PIPESTATUS[0]}"#, &[]).said(0, "y\n141\n", "");
        shells_alike(user, r#""$@" cat <&-; echo $?"#, &[]);
        shells_alike(user, r#""$@" true >&- 2>&-; echo $?"#, &[]).said(0, "0\n", "");
        shells_alike(user, r#""$@" sh -c 'echo to stderr >&2; exit 3' 2>&1 >/dev/null; echo $?"#, &[]).said(
            0,
            "to stderr\n3\n",
            "",
        );

        // Nobody but COMMAND holds what it closes.
        let mut command = explained(user, &["--", "sh", "-c", "exec >&-; read x; exit 5"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut all = String::new();
        child.stdout.take().unwrap().read_to_string(&mut all).unwrap();
        child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
        assert_eq!((child.wait().unwrap().code(), all.as_str()), (Some(5), ""));
    });
}

#[test]
fn watcher_holds_nothing_of_the_callers_but_standard_error() {
    each_user(|user| {
        user.file("open", "");
        for (output, expected) in [(&[][..], 3), (&["--output", "report"], 4)] {
            let script = r#"exec "$@" sh -c 'echo started; read x' 7<open 8<open"#;
            let mut command = user.command("bash");
            command.args(["-c", script, "bash"]).arg(user.binary()).args(["run", "-q", "--explain"]);
            command.args(user.go_on().split_whitespace()).args(output);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut started = [0; 8];
            child.stdout.as_mut().unwrap().read_exact(&mut started).unwrap();
            let (own, watcher) = (child.id(), watcher_of(child.id()));
            if user.is_root() || may_look(watcher) {
                let open = |process: u32, fd: u32| fs::read_link(format!("/proc/{process}/fd/{fd}")).unwrap();
                let all = fs::read_dir(format!("/proc/{watcher}/fd")).unwrap();
                let all: BTreeSet<_> =
                    all.map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect();
                let count = fs::read_dir(format!("/proc/{watcher}/fd")).unwrap().count();
                assert_eq!(count, expected, "{all:?}");
                assert_eq!(
                    [0, 1].map(|fd| open(watcher, fd)),
                    ["/dev/null"; 2].map(std::path::PathBuf::from)
                );
                assert_eq!(open(watcher, 2), open(own, 2));
            }
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    });
}

fn may_look(process: u32) -> bool {
    fs::read_dir(format!("/proc/{process}/fd")).is_ok()
}

#[test]
fn watched_ends_are_reported_before_anybody_knows_them() {
    each_user(|user| {
        for end in ["exit 4", "kill -9 $$", "kill -SEGV $$", "exec true", "sh -c 'kill -9 $PPID'"] {
            let script = format!("cat /etc/shadow 2>/dev/null; {end}");
            let again = r#"for i in {1..10}; do "$@" 2>err; grep -m 1 /etc/shadow err; done 2>/dev/null"#;
            let words = ["--explain", "--rx", "/bin", "--rx", "/usr/bin", "--preset", "shared"];
            let words = [&words[..], &["--", "sh", "-c", &script]].concat();
            let said = by_shell(user, again, &words).stdout;
            assert_eq!(said.lines().count(), 10, "{end}: {said}");
        }
    });
}

#[test]
fn watched_or_not_what_cannot_start_says_the_same() {
    if !found(&["strace", "unshare"]) {
        return;
    }
    each_user(|user| {
        user.file("text", "no program\n");
        user.file("closed", "#!/bin/sh\n");
        let mode = "chmod 755 text";
        Ran::of(user, {
            let mut sh = user.command("sh");
            sh.args(["-c", mode]);
            sh
        })
        .works();
        for words in [
            "nosuch",
            "./nosuch",
            "./text",
            "./closed",
            "--keep-fd 77 true",
            "--chdir nosuch true",
            "--ro nosuch true",
            "--no-program true",
        ] {
            let (plain, watched) = (user.run(&format!("{} {words}", user.go_on())), |explain: &str| {
                user.run(&format!("{} {explain} {words}", user.go_on()))
            });
            assert!(plain.status >= Some(125), "{words}: {:?}", plain.status);
            for explain in ["--explain", "--explain=live --json"] {
                watched(explain).said(plain.status.unwrap(), "", &plain.stderr);
            }
        }
        let palisade = user.binary().display().to_string();
        let again = format!("{palisade} run --explain -- touch made");
        let cannot = "palisade: COMMAND cannot be watched: Operation not permitted (os error 1); is it watched already, \
                      as by strace, or does a sandbox around palisade forbid ptrace?\n";
        let refused = |program: &str, args: &str, message: &str| {
            let mut command = user.command(program);
            command.args(args.split_whitespace()).args(again.split_whitespace());
            Ran::of(user, command).said(125, "", message);
        };
        refused("strace", "-f -o trace", cannot);
        let first = "palisade: --explain cannot watch process 1, with which the watcher would end: start palisade by another, \
                     as with docker run --init\n";
        if user.is_root() {
            refused("unshare", "-pf", first);
        } else if Ran::of(user, {
            let mut c = user.command("unshare");
            c.args(["-Upf", "true"]);
            c
        })
        .status
            == Some(0)
        {
            refused("unshare", "-Upf", first);
        }
        let nested = user.run(&format!(
            "{} --explain --output report --preset system --rx {palisade} -- {again}",
            user.go_on()
        ));
        nested.said(125, "", cannot);
        assert!(!user.home().join("made").exists());
    });
}

#[test]
fn watched_daemons_live_on_and_are_heard_later() {
    if !found(&["setsid", "mkfifo"]) {
        return;
    }
    each_user(|user| {
        let mut mkfifo = user.command("mkfifo");
        mkfifo.arg("fifo");
        Ran::of(user, mkfifo).works();
        let daemon =
            "(setsid sh -c 'read x <fifo; cat /etc/shadow; echo done >out' >/dev/null 2>&1 &); exit 3";
        let err = File::create(user.home().join("err")).unwrap();
        let words = ["--preset", "system", "--rw", ".", "--", "sh", "-c", daemon];
        let status = explained(user, &words).stderr(err).status().unwrap();
        // It has been seen while the other waits.
        assert_eq!(status.code(), Some(3));
        let said = || fs::read_to_string(user.home().join("err")).unwrap();
        let first = said();
        assert!(first.contains("that it started still run"), "{first}");
        assert!(!user.home().join("out").exists());
        fs::write(user.home().join("fifo"), "go on\n").unwrap();
        until(|| said().contains("after it had ended"));
        until(|| said().contains("shadow"));
        assert_eq!(fs::read_to_string(user.home().join("out")).unwrap(), "done\n");
    });
}

#[test]
fn watched_programs_are_ended_by_timeout() {
    if !found(&["timeout"]) {
        return;
    }
    each_user(|user| {
        for (signal, status) in [("TERM", 124), ("INT", 124), ("KILL", 137)] {
            let mut timeout = user.command("bash");
            let script = format!(r#"timeout -s {signal} 0.3 "$@"; echo $?"#);
            timeout.args(["-c", &script, "bash"]).arg(user.binary()).args([
                "run",
                "-q",
                "--explain",
                "--output",
                "report",
            ]);
            timeout.args(user.go_on().split_whitespace()).args(["--", "sleep", "100"]);
            assert_eq!(Ran::of(user, timeout).stdout, format!("{status}\n"));
        }
    });
}

/// A shell with job control, of which each step is taken when the one before has been seen. What is learned of a job is in
/// p.toml.
pub const JOBS: &str = r#"
import fcntl, os, signal, sys, termios
master, slave = os.openpty()
asked, keys = os.pipe()
shell = os.fork()
if shell == 0:
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    # As shells do.
    signal.signal(signal.SIGHUP, lambda *_: os.killpg(job, signal.SIGHUP))
    out = os.dup(1)
    def say(*words): os.write(out, (" ".join(map(str, words)) + "\n").encode())
    def start(script):
        ready, tell = os.pipe()
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(slave, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.dup2(slave, 0)
            os.dup2(tell, 9)
            os.set_inheritable(9, True)
            os.execv(sys.argv[1], sys.argv[1:] + ["--keep-fd", "9", "--", "sh", "-c", script])
        os.close(tell)
        assert os.read(ready, 6) == b"ready\n"
        os.close(ready)
        return job
    def ended(job, what):
        status = os.waitpid(job, os.WUNTRACED)[1]
        if what != "hangup": os.tcsetpgrp(slave, os.getpgrp())
        partial = ["PARTIAL"] if os.path.exists("p.toml") and "PARTIAL" in open("p.toml").read() else []
        if os.WIFSTOPPED(status): say(what, "stopped")
        elif os.WIFSIGNALED(status): say(what, "killed", os.WTERMSIG(status))
        else: say(what, "exited", os.WEXITSTATUS(status), *partial)
    def typed(key):
        os.write(keys, key)
    job = start("echo ready >&9; read x; echo got $x; exit 6")
    typed(b"\x1a")
    ended(job, "Ctrl-Z")
    os.tcsetpgrp(slave, job)
    os.killpg(job, signal.SIGCONT)
    typed(b"words\n")
    ended(job, "fg")
    job = start("echo ready >&9; (sleep 1000); sleep 1000")
    typed(b"\x03")
    ended(job, "Ctrl-C")
    job = start("trap 'exit 8' INT; echo ready >&9; while :; do sleep 0.1; done")
    typed(b"\x03")
    ended(job, "Ctrl-C with a trap")
    counts = "$SIG{INT} = sub { $n++ }; open F, q(>&=9); syswrite F, qq(ready\\n); select undef, undef, undef, 0.1 until $n; "
    job = start("exec perl -e '" + counts + "select undef, undef, undef, 0.1; print qq(caught $n\\n)'")
    typed(b"\x03")
    ended(job, "Ctrl-C that it goes on from")
    job = start("echo ready >&9; sleep 1000")
    typed(b"\x1c")
    ended(job, "Ctrl-backslash")
    job = start("echo ready >&9; exec sleep 1000")
    os.write(keys, b"H")
    ended(job, "hangup")
    os._exit(0)
# Who types holds the other end, and closes it for H.
os.close(slave)
os.close(keys)
while typed := os.read(asked, 100):
    if typed == b"H": os.close(master)
    else: os.write(master, typed)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1]))
"#;

#[test]
fn watched_jobs_are_controlled_by_a_terminal() {
    if !found(&["perl", "python3", "timeout"]) {
        return;
    }
    each_user(|user| {
        let jobs = |explain: &str| {
            let mut python = user.command("timeout");
            python.args(["100", "python3", "-c", JOBS]).arg(user.binary()).args(["run", "-q"]);
            python.args(user.go_on().split_whitespace()).args(explain.split_whitespace());
            python.args(["--preset", "system", "--preset", "tty"]);
            Ran::of(user, python)
        };
        let expected = "Ctrl-Z stopped\ngot words\nfg exited 6\nCtrl-C killed 2\nCtrl-C with a trap exited 8\n\
                        caught 1\nCtrl-C that it goes on from exited 0\nCtrl-backslash killed 3\nhangup killed 1\n";
        for explain in ["", EXPLAIN[0], EXPLAIN[1]] {
            jobs(explain).said(0, expected, "");
        }
    });
}
