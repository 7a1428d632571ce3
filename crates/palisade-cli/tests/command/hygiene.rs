//! What COMMAND starts with: no privileges, no foreign descriptors, the environment and folder that the options say, and
//! the caller's process, signals and terminal.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use crate::common::{Ran, User, can_probe, each_user, found};

/// What `probe self` prints.
fn lines(ran: &Ran) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, what) = line.split_once(':').unwrap();
        (name.to_owned(), what.trim_start().to_owned())
    };
    ran.works().stdout.lines().map(line).collect()
}

fn number(lines: &BTreeMap<String, String>, name: &str) -> u64 {
    u64::from_str_radix(&lines[name], 16).unwrap()
}

/// `sh -c SCRIPT` unconfined, in which "$@" is `palisade run` with these words.
fn by_shell(user: &User, script: &str, words: &str) -> Ran {
    let mut command = user.command("sh");
    command.args(["-c", script, "sh"]).arg(user.binary()).arg("run");
    // That files are not confined is another test's.
    let go_on = if user.go_on().is_empty() { &[][..] } else { &["-q", user.go_on()] };
    command.args(go_on).args(words.split_whitespace());
    Ran::of(user, command)
}

/// An executable file in the user's folder.
fn tool(user: &User, name: &str, content: &str) {
    let path = user.file(name, content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A usage error, which is followed by a hint of clap's.
#[track_caller]
fn usage(ran: &Ran, message: &str) {
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().next(), Some(message));
}

const SETS: [&str; 4] = ["effective", "permitted", "inheritable", "ambient"];

#[test]
fn no_privileges_are_kept() {
    if !can_probe() {
        return;
    }
    each_user(|user| {
        user.probe();
        let root = user.is_root();
        let mut outside = user.command("./probe");
        outside.arg("self");
        let outside = lines(&Ran::of(user, outside));
        assert_eq!(outside["no_new_privs"], "0", "or else it shows nothing that it is 1 inside");
        for options in ["", "--no-backstop -q", "--unrestricted fs,devices,net,unix,abstract,signal"] {
            let inside = lines(&user.run(&format!("{options} -- ./probe self")));
            assert_eq!(inside["no_new_privs"], "1");
            assert_eq!(SETS.map(|set| number(&inside, set)), [0; 4], "as {}", user.name);
            // Only who has capabilities can take them out of this set, and only he needs to.
            assert!(!root || number(&inside, "bounding") == 0, "{inside:?}");
        }
    });
}

#[test]
fn keep_caps_keeps_what_it_names() {
    if !can_probe() {
        return;
    }
    each_user(|user| {
        user.probe();
        let mut outside = user.command("./probe");
        outside.arg("self");
        let outside = lines(&Ran::of(user, outside));
        let caps = |options: &str| {
            let inside = lines(&user.run(&format!("{options} -- ./probe self")));
            assert_eq!(inside["no_new_privs"], "1");
            ["effective", "permitted", "bounding", "inheritable", "ambient"].map(|set| number(&inside, set))
        };
        let (chown, bind) = (1 << 0, 1 << 10);
        let has = number(&outside, "effective");
        if user.is_root() {
            let kept = (chown | bind) & has;
            assert_eq!(caps("--keep-caps chown,CAP_NET_BIND_SERVICE"), [kept, kept, kept, 0, 0]);
            assert_eq!(caps("--keep-caps chown --keep-caps net_bind_service"), [kept, kept, kept, 0, 0]);
            let bounding = number(&outside, "bounding");
            assert_eq!(caps("--keep-caps all"), [has, has, bounding, 0, 0]);
        } else {
            assert_eq!(caps("--keep-caps all")[..2], [0, 0]);
        }
        let unknown = "no such capability; they are named as in capabilities(7), or all";
        for word in ["nosuch", "cap_", "0"] {
            usage(
                &user.run(&format!("--keep-caps chown,{word} -- touch new")),
                &format!("palisade: invalid value '{word}' for '--keep-caps <NAME>': {unknown}"),
            );
        }
        assert!(!user.home().join("new").exists());
    });
}

/// An ordinary user may have been given capabilities that outlive execve.
#[test]
fn ambient_capabilities_are_given_up() {
    if !found(&["cc", "setpriv"]) {
        return;
    }
    each_user(|user| {
        if !user.is_root() {
            return;
        }
        user.probe();
        let probe = |confined: bool, options: &[&str]| {
            let mut command = user.command("setpriv");
            command.args(["--reuid=65534", "--clear-groups", "--inh-caps=+chown", "--ambient-caps=+chown"]);
            if confined {
                command.arg(user.binary()).arg("run").args(options).arg("--");
            }
            command.args(["./probe", "self"]);
            let lines = lines(&Ran::of(user, command));
            SETS.map(|set| number(&lines, set))
        };
        assert_eq!(probe(false, &[]), [1; 4]);
        assert_eq!(probe(true, &[]), [0; 4]);
        assert_eq!(probe(true, &["--keep-caps", "chown"]), [1; 4]);
        assert_eq!(probe(true, &["--keep-caps", "kill"]), [0; 4]);
    });
}

#[test]
fn descriptors_above_2_are_closed_but_those_to_keep() {
    if !can_probe() {
        return;
    }
    each_user(|user| {
        user.probe();
        user.file("secret", "through\n");
        let opened = r#"exec "$@" 3<secret 5<secret 9<secret"#;
        let descriptors = |words: &str| lines(&by_shell(user, opened, words))["descriptors"].clone();
        assert_eq!(descriptors("./probe self"), "0 1 2");
        assert_eq!(descriptors("--keep-fd 5 ./probe self"), "0 1 2 5");
        assert_eq!(descriptors("--keep-fd 9,3 ./probe self"), "0 1 2 3 9");
        assert_eq!(descriptors("--keep-fd 9 --keep-fd 2 ./probe self"), "0 1 2 9");
        let read = |words: &str| {
            let script = format!(r#"{opened} -- sh -c 'read -r x <&9; echo "$x"'"#);
            by_shell(user, &script, words)
        };
        read("--keep-fd 9").said(0, "through\n", "");
        assert_ne!(read("").stdout, "through\n");

        let closed = "palisade: --keep-fd 77: descriptor 77 is not open\n";
        by_shell(user, opened, "--keep-fd 9,77 touch new").said(125, "", closed);
        by_shell(user, opened, "--keep-fd 77 --dry-run touch new").said(125, "", closed);
        usage(
            &user.run("--keep-fd 70000 touch new"),
            "palisade: invalid value '70000' for '--keep-fd <N>': 70000 is not in 0..=65535",
        );
        assert!(!user.home().join("new").exists());
    });
}

#[test]
fn nothing_is_typed_into_the_terminal() {
    if !can_probe() {
        return;
    }
    each_user(|user| {
        user.probe();
        // What the ioctls answer, on a terminal that is the controlling one. What is typed is echoed in between.
        let typed = |confined: Option<&str>, abi: &[&str]| {
            let mut command = user.command("./probe");
            command.arg("pty");
            if let Some(options) = confined {
                command.arg(user.binary()).arg("run").args(options.split_whitespace()).arg("--");
            }
            command.args(["./probe", "typing"]).args(abi);
            let ran = Ran::of(user, command);
            let answers: Vec<String> = ["tiocsti: ", "tiocsti, high bits: ", "tioclinux: "]
                .into_iter()
                .map(|name| {
                    let line = ran.works().stdout.lines().find_map(|line| Some(line.split_once(name)?.1));
                    line.unwrap_or_else(|| panic!("{name} in {}", ran.stdout)).trim().to_owned()
                })
                .collect();
            answers
        };
        let abis: &[&[&str]] = if cfg!(target_arch = "x86_64") { &[&[], &["int80"]] } else { &[&[]] };
        let legacy = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
        if user.is_root() || legacy.is_ok_and(|legacy| legacy.trim() == "1") {
            assert_eq!(typed(None, &[])[..2], ["ok", "ok"]);
        }
        for options in [
            "",
            "--preset tty",
            "--rw /dev --no-backstop -q",
            "--unrestricted fs,devices,net,unix,abstract,signal --keep-caps all",
            "--keep-fd 0,1,2",
        ] {
            for abi in abis {
                assert_eq!(typed(Some(options), abi), ["EPERM"; 3], "{options} {abi:?} as {}", user.name);
            }
        }
    });
}

#[test]
fn the_environment_is_what_the_options_say() {
    each_user(|user| {
        let home = user.home();
        user.run("--clear-env -- env").said(0, "", "");
        let said = format!("HOME={}\nA=1\nEMPTY=\n", home.display());
        user.run("--clear-env --env HOME --env A=1 --env EMPTY= --env UNSET -- env").said(0, &said, "");
        user.run("--env A=1 --env HOME=/x --env A=b=c -- printenv A HOME LC_ALL").said(0, "b=c\n/x\nC\n", "");
        // The caller's value takes the place of one that was set before.
        user.run("--env LC_ALL=X --env LC_ALL -- printenv LC_ALL").said(0, "C\n", "");
        let odd = OsStr::from_bytes(b"--env=A=\n-x ");
        user.palisade([OsStr::new("run"), odd, OsStr::new("printenv"), OsStr::new("A")])
            .said(0, "\n-x \n", "");
        let words = [OsStr::new("run"), OsStr::from_bytes(b"--env=A=\xff")];
        let equal = ["sh", "-c", r#"test "$A" = "$1""#, "sh"].map(OsStr::new);
        user.palisade(words.into_iter().chain(equal).chain([OsStr::from_bytes(b"\xff")])).said(0, "", "");
        for word in ["=x", "=", ""] {
            let message = format!(
                "palisade: invalid value '{word}' for '--env <NAME[=VALUE]>': a variable is NAME or NAME=VALUE"
            );
            usage(&user.palisade(["run", "--env", word, "touch", "new"]), &message);
        }
        assert!(!home.join("new").exists());
    });
}

#[test]
fn chdir_moves_command_alone() {
    each_user(|user| {
        user.folder("d");
        user.file("f", "outside\n");
        user.file("d/f", "inside\n");
        user.file("d/g", "inside\n");
        tool(user, "tool", "#!/bin/sh\npwd\nread -r x <f && echo $x\n");
        tool(user, "d/tool", "#!/bin/sh\necho the wrong one\n");
        let said = format!("{}\ninside\n", user.home().join("d").display());
        user.run("--chdir d --ro d/f -- ./tool").said(0, &said, "");
        user.run("--chdir d --ro d/f -- cat f").said(0, "inside\n", "");
        user.run("--chdir d --ro f -- cat f").said(1, "", "cat: f: Permission denied\n");
        user.run("--chdir d --ro f -- cat ../f").said(0, "outside\n", "");
        let missing = "palisade: --chdir nosuch: No such file or directory (os error 2)\n";
        user.run("--chdir nosuch --rw d -- touch d/new").said(125, "", missing);
        let file = "palisade: --chdir f: Not a directory (os error 20)\n";
        user.run("--chdir f --rw d -- touch d/new").said(125, "", file);
        assert!(!user.home().join("d/new").exists());
        let escaped = user.palisade(["run", "--chdir", "\u{1b}x\n", "true"]);
        escaped.said(125, "", "palisade: --chdir \\u{1b}x\\n: No such file or directory (os error 2)\n");
    });
}

#[test]
fn command_is_looked_up_once_in_the_callers_path() {
    each_user(|user| {
        let bin = |name: &str| user.folder(name).display().to_string();
        let (one, two) = (bin("one"), bin("two"));
        for dir in ["one", "two"] {
            tool(user, &format!("{dir}/tool"), &format!("#!/bin/sh\necho {dir} $PATH\n"));
            tool(user, &format!("{dir}/interpreter"), &format!("#!/bin/sh\necho {dir} runs $1\n"));
        }
        tool(user, "script", "#!/usr/bin/env interpreter\n");
        let run = |words: &str| {
            let mut command = user.command(user.binary());
            command.env("PATH", format!("{one}:/usr/bin:/bin")).arg("run").args(words.split_whitespace());
            Ran::of(user, command)
        };
        run("tool").said(0, &format!("one {one}:/usr/bin:/bin\n"), "");
        run(&format!("--env PATH={two} -- tool")).said(0, &format!("one {two}\n"), "");
        let cleared = run("--clear-env -- tool");
        assert!(cleared.works().stdout.starts_with("one "), "{}", cleared.stdout);
        run("./script").said(0, "one runs ./script\n", "");
        run(&format!("--env PATH={two}:/bin -- ./script")).said(0, "two runs ./script\n", "");
        let nosuch = run(&format!("--env PATH={two} -- nosuch"));
        nosuch.said(127, "", "palisade: nosuch: is not found in any folder of PATH\n");
        // A first file that nobody may execute is passed over.
        user.file("one/late", "#!/bin/sh\n");
        tool(user, "two/late", "#!/bin/sh\necho late\n");
        let mut command = user.command(user.binary());
        command.env("PATH", format!("{one}:{two}")).args(["run", "late"]);
        Ran::of(user, command).said(0, "late\n", "");
    });
}

#[test]
fn palisade_becomes_command() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        symlink("/bin/sh", user.home().join("link")).unwrap();
        user.palisade(["run", "./link", "-c", "echo $0"]).said(0, "./link\n", "");
        user.palisade(["run", "/bin/../bin/sh", "-c", "echo $0"]).said(0, "/bin/../bin/sh\n", "");
        for options in [&["run", "--"][..], &["run", "-v", "--log", "all", "--"]] {
            let mut command = user.command(user.binary());
            command.args(options).args(["sh", "-c", "echo $$"]).stdout(Stdio::piped()).stderr(Stdio::null());
            let child = command.spawn().unwrap();
            let pid = child.id();
            let output = child.wait_with_output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{pid}\n"));
        }
    });
}

#[test]
fn signals_are_as_the_caller_left_them() {
    if !can_probe() {
        return;
    }
    each_user(|user| {
        user.probe();
        let probe = lines(&user.run("./probe self"));
        assert_eq!((probe["ignored"].as_str(), probe["blocked"].as_str()), ("", ""));
        let ignored = |script: &str| lines(&by_shell(user, script, "./probe self"))["ignored"].clone();
        assert_eq!(ignored(r#"trap "" HUP USR2; exec "$@""#), "1 12");
        assert_eq!(ignored(r#"trap "" PIPE; exec "$@""#), "13");
        let mut blocked = user.command("./probe");
        blocked.arg("blocked").arg(user.binary()).args(["run", "./probe", "self"]);
        assert_eq!(lines(&Ran::of(user, blocked))["blocked"], "10");
        // A reader that goes away ends the writer, inside and outside.
        let inside = "yes | head -1; echo ${PIPESTATUS[0]}";
        user.script("--preset system", "bash", inside).said(0, "y\n141\n", "");
        let mut outside = user.command("bash");
        outside.args(["-c", r#""$@" | head -1; echo ${PIPESTATUS[0]}"#, "bash"]);
        outside.arg(user.binary()).args(["run", "yes"]);
        Ran::of(user, outside).said(0, "y\n141\n", "");
    });
}

#[test]
fn death_by_signal_is_death_by_signal_and_input_passes() {
    each_user(|user| {
        let ended = |script: &str| {
            let mut command = user.command("bash");
            command.args(["-c", r#""$@" 2>/dev/null; echo $?"#, "bash"]).arg(user.binary());
            command.args(["run", "sh", "-c", script]);
            Ran::of(user, command).stdout
        };
        assert_eq!(ended("kill -TERM $$"), "143\n");
        assert_eq!(ended("kill -KILL $$"), "137\n");
        assert_eq!(ended("exit 143"), "143\n");
        assert_eq!(user.script("", "sh", "kill -TERM $$").signal, Some(15));
        assert_eq!(user.script("", "sh", "exit 143").signal, None);
        by_shell(user, r#"printf 'a\nb' | "$@""#, "cat").said(0, "a\nb", "");
        by_shell(user, r#""$@" <&-"#, "true").said(0, "", "");
        by_shell(user, r#""$@" >&- 2>&-"#, "true").said(0, "", "");
    });
}

#[test]
fn log_is_none_or_all() {
    each_user(|user| {
        user.run("--log none -- true").said(0, "", "");
        user.run("true").said(0, "", "");
        if user.abi() >= 7 {
            user.run("--log all -- true").said(0, "", "");
        }
        usage(&user.run("--log some -- true"), "palisade: invalid value 'some' for '--log <WHAT>'");
    });
}

#[test]
fn hole_what_is_left_running_reads_the_terminal() {
    if !found(&["python3", "setsid"]) {
        return;
    }
    let script = r#"
import os, pty, subprocess, sys, time
master, slave = pty.openpty()
left = "exec 3<&0; setsid head -n 1 <&3 >got & exit 0"
subprocess.run(sys.argv[1:] + ["sh", "-c", left], stdin=slave, check=True)
os.write(master, b"typed later\n")
while not os.path.exists("got") or not open("got").read():
    time.sleep(0.01)
print(open("got").read(), end="")
"#;
    each_user(|user| {
        let mut python = user.command("timeout");
        python
            .args(["60", "python3", "-c", script])
            .arg(user.binary())
            .args(["run", "-q", "--preset", "system", "--rw", "."]);
        python.args(user.go_on().split_whitespace());
        Ran::of(user, python).said(0, "typed later\n", "");
    });
}
