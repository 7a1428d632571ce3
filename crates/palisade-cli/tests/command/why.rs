//! What `palisade why` answers. Most is asked about a kernel that is not this one, so that it is the same on each.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::common::{Ran, User, each_user};
use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

/// What is asked about: folders `inbox`, `archive` and `bin` with something in them, a script, and a socket.
fn prepare(user: &User) -> UnixListener {
    for folder in ["inbox", "archive", "bin", "empty", ".ssh"] {
        user.folder(folder);
    }
    for file in
        ["inbox/letter", "inbox/other", "archive/old", "app.conf", "deploy.sh", ".ssh/authorized_keys"]
    {
        user.file(file, "#!/bin/sh\n");
    }
    fs::set_permissions(user.home().join("deploy.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    UnixListener::bind(user.home().join("docker.sock")).unwrap()
}

/// `palisade why` with these words; none has a space in it.
fn why(user: &User, words: &str) -> Ran {
    user.palisade(["why"].into_iter().chain(words.split_whitespace()))
}

/// The same with `--json`, and its exit status.
fn asked(user: &User, words: &[OsString]) -> (i32, Value) {
    let ran = user.palisade(["why".into(), "--json".into()].iter().chain(words));
    let status = ran.status.unwrap();
    assert!(status < 4 && ran.stderr.is_empty(), "{words:?}: {}", ran.stderr);
    (status, serde_json::from_str(&ran.stdout).unwrap())
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

/// Words of a JSON answer, which may be bytes.
fn from_json(list: &Value) -> Option<Vec<OsString>> {
    let word = |value: &Value| match value.as_str() {
        Some(text) => OsString::from(text),
        None => {
            let bytes = value["bytes"].as_array().unwrap().iter();
            OsString::from_vec(bytes.map(|byte| byte.as_u64().unwrap() as u8).collect())
        }
    };
    Some(list.as_array()?.iter().map(word).collect())
}

/// His folder as everybody's, in what is printed.
fn at_home(user: &User, text: &str) -> String {
    text.replace(user.home().canonicalize().unwrap().to_str().unwrap(), "/home/me")
}

#[test]
fn ten_questions_a_user_would_ask() {
    each_user(|user| {
        let _server = prepare(user);
        let questions = [
            // Why can my program not overwrite its settings?
            "--kernel 7 --preset system --ro . write app.conf",
            // May the build write to ~/.ssh?
            "--kernel 7 --preset system --rwx bin write .ssh/authorized_keys",
            // May letters be moved to the archive? And if the inbox is there to read only?
            "--kernel 7 --rw inbox --rw archive rename inbox/letter archive/letter",
            "--kernel 7 --ro inbox --rw archive rename inbox/letter archive/letter",
            // Both can be written, and still?
            "--kernel 7 --rw inbox --rwx bin rename inbox/letter bin/letter",
            // Names are found, why is there no connection?
            "--kernel 7 --preset dns,certs connect-tcp 443",
            // Why do names of hosts not work on the old server? And what if they may?
            "--kernel 7 --connect-tcp 443 connect-udp 53",
            "--kernel 7 --preset dns connect-udp 53",
            // May it use Docker? It must not.
            "--kernel 9 --rw . connect-unix docker.sock",
            // Can it kill other programs?
            "--kernel 7 --preset system signal 1",
            // It does not start my script.
            "--kernel 7 --preset system exec ./deploy.sh",
            // It may read and write there, and cannot delete.
            "--kernel 7 --allow rw:inbox delete inbox/letter",
            // It is to make a file that is not there yet.
            "--kernel 7 --ro inbox write inbox/2030/letter",
            // Can it read what is piped to it?
            "--kernel 7 read /dev/stdin",
        ];
        let mut said = String::new();
        for question in questions {
            let ran = why(user, question);
            assert_eq!(ran.stderr, "", "{question}");
            said += &format!("$ palisade why {question}\n{}= {}\n\n", ran.stdout, ran.status.unwrap());
        }
        assert_data_eq!(
            at_home(user, &said),
            str![[r#"
$ palisade why --kernel 7 --preset system --ro . write app.conf
Refused (EACCES): to write app.conf, write_file is missing on /home/me/app.conf.
To allow it, add: --allow write_file:/home/me/app.conf
Note: to overwrite what is in it, as > does in a shell, takes truncate too; for all of it add: --allow write_file,truncate:/home/me/app.conf
= 1

$ palisade why --kernel 7 --preset system --rwx bin write .ssh/authorized_keys
Refused (EACCES): to write .ssh/authorized_keys, write_file is missing on /home/me/.ssh/authorized_keys.
To allow it, add: --allow write_file:/home/me/.ssh/authorized_keys
Note: to overwrite what is in it, as > does in a shell, takes truncate too; for all of it add: --allow write_file,truncate:/home/me/.ssh/authorized_keys
= 1

$ palisade why --kernel 7 --rw inbox --rw archive rename inbox/letter archive/letter
Allowed: rename inbox/letter to archive/letter, by --rw inbox and --rw archive
= 0

$ palisade why --kernel 7 --ro inbox --rw archive rename inbox/letter archive/letter
Refused (EACCES): to rename inbox/letter to archive/letter, remove_file, refer are missing on /home/me/inbox.
To allow it, add: --allow remove_file,refer:/home/me/inbox --allow write_file,truncate:/home/me/inbox/letter
Note: a file may gain no rights by a move: what the new folder allows has to be allowed in the old one too
Note: what is granted on a folder holds for all that is in it
= 1

$ palisade why --kernel 7 --rw inbox --rwx bin rename inbox/letter bin/letter
Refused (EXDEV): to rename inbox/letter to bin/letter, /home/me/inbox/letter would get rights that it has not where it is: execute.
To allow it, add: --allow execute:/home/me/inbox/letter
Note: mv, as others that know EXDEV, then copies the file and deletes the old one
= 1

$ palisade why --kernel 7 --preset dns,certs connect-tcp 443
Refused (EACCES): to connect to TCP port 443, connect_tcp is missing for port 443.
To allow it, add: --connect-tcp 443
= 1

$ palisade why --kernel 7 --connect-tcp 443 connect-udp 53
Refused (EACCES): to send to UDP port 53, no UDP sockets can be made: seccomp closes them, for this kernel's Landlock cannot restrict them, which needs ABI 10 (Linux 7.2).
To allow it, add: --connect-udp 53
Note: UDP sockets are open altogether on this kernel as soon as one is granted: seccomp cannot tell them apart
= 1

$ palisade why --kernel 7 --preset dns connect-udp 53
Allowed: send to UDP port 53, because nothing restricts bind_udp, connect_send_udp: needs ABI 10 (Linux 7.2)
Note: UDP sockets are open altogether on this kernel as soon as one is granted: seccomp cannot tell them apart
= 0

$ palisade why --kernel 9 --rw . connect-unix docker.sock
Refused (EACCES): to connect to the UNIX socket docker.sock, resolve_unix is missing on /home/me/docker.sock.
To allow it, add: --unix /home/me/docker.sock
= 1

$ palisade why --kernel 7 --preset system signal 1
Refused (EPERM): to signal a process outside, signal is restricted, and no rule makes an exception.
To allow it, add: --unrestricted signal
Note: a program may always signal what it has started itself
= 1

$ palisade why --kernel 7 --preset system exec ./deploy.sh
Refused (EACCES): to execute ./deploy.sh, execute, read_file are missing on /home/me/deploy.sh.
To allow it, add: --rx /home/me/deploy.sh
= 1

$ palisade why --kernel 7 --allow rw:inbox delete inbox/letter
Refused (EACCES): to delete inbox/letter, remove_file is missing on /home/me/inbox.
To allow it, add: --allow remove_file:/home/me/inbox
Note: what is granted on a folder holds for all that is in it
= 1

$ palisade why --kernel 7 --ro inbox write inbox/2030/letter
Refused (EACCES): to write inbox/2030/letter, write_file, make_reg are missing on /home/me/inbox.
No option allows it: the folder that inbox/2030/letter would be in does not exist now, and has to be made first
= 1

$ palisade why --kernel 7 read /dev/stdin
Cannot say: read /dev/stdin: /proc/self leads elsewhere for each process
= 3


"#]]
        );
    });
}

/// Each action, so that something refuses it where nothing is granted.
const ACTIONS: &[&str] = &[
    "read app.conf",
    "read nosuch",
    "write app.conf",
    "write new",
    "list inbox",
    "create new",
    "create inbox/a/b/c",
    "mkdir new",
    "mkfifo new",
    "symlink new",
    "delete app.conf",
    "delete empty",
    "delete nosuch",
    "rename inbox/letter inbox/new",
    "rename inbox/letter archive/old",
    "rename inbox archive/inbox",
    "exchange inbox/letter archive/old",
    "exchange inbox/letter empty",
    "link inbox/letter archive/new",
    "truncate app.conf",
    "exec ./deploy.sh",
    "exec bin/nosuch",
    "exec cat",
    "ioctl /dev/tty",
    "bind-tcp 0",
    "connect-tcp 443",
    "bind-udp 65535",
    "connect-udp 53",
    "bind-unix new.sock",
    "connect-unix docker.sock",
    "connect-unix nosuch.sock",
    "connect-abstract",
    "connect-abstract @name",
    "signal",
    "signal 1234",
];

#[test]
fn what_is_proposed_allows_it() {
    each_user(|user| {
        let _server = prepare(user);
        let policies =
            ["", "--ro . --connect-udp 1", "--rw inbox --rwx archive --bind-tcp 1", "--no-backstop"];
        for action in ACTIONS {
            for policy in policies {
                for kernel in [1, 3, 5, 7, 9, 10] {
                    let question = format!("--best-effort --kernel {kernel} {policy}");
                    let (status, answer) = asked(user, &words(&format!("{question} {action}")));
                    let decision = answer["decision"].as_str().unwrap();
                    assert_eq!(
                        decision,
                        if status == 0 { "allowed" } else { "refused" },
                        "{question} {action}"
                    );
                    assert_eq!(answer["abi"], kernel);
                    let Some(add) = from_json(&answer["suggestion"]) else {
                        let moved =
                            ["rename", "exchange", "link"].iter().any(|word| action.starts_with(word));
                        let why = answer["no_option"].as_str();
                        let never = why.is_some() && moved && kernel == 1;
                        // It would fail all the same.
                        let moot = why.is_some_and(|why| {
                            why.ends_with("whatever is allowed")
                                || why.ends_with("made first")
                                || why.starts_with("it does not exist; is it spelt right?")
                        });
                        assert!(status == 0 || never || moot, "{question} {action}: {answer:#}");
                        continue;
                    };
                    let again: Vec<OsString> =
                        words(&question).into_iter().chain(add).chain(words(action)).collect();
                    assert_eq!(asked(user, &again).0, 0, "{again:?} after {answer:#}");
                }
            }
        }
    });
}

/// On this kernel, whatever it is.
#[test]
fn what_is_said_is_what_happens() {
    each_user(|user| {
        let _server = prepare(user);
        for (options, action, script) in [
            ("", "read app.conf", "cat app.conf"),
            ("--ro .", "read app.conf", "cat app.conf"),
            ("--ro .", "write app.conf", "echo >>app.conf"),
            ("--rw .", "write app.conf", "echo >>app.conf"),
            ("--ro .", "write new", "echo >new"),
            ("--rw .", "write new", "echo >new"),
            ("--ro .", "list inbox", "ls inbox"),
            ("--ro .", "mkdir new-folder", "mkdir new-folder"),
            ("--rw .", "mkdir new-folder", "mkdir new-folder"),
            ("--allow rw:.", "delete empty", "rmdir empty"),
            ("--rw .", "delete empty", "rmdir empty"),
            ("--rw .", "symlink new-link", "ln -s nowhere new-link"),
            ("--ro .", "symlink other-link", "ln -s nowhere other-link"),
            ("", "exec ./deploy.sh", "./deploy.sh"),
            ("--rx deploy.sh", "exec ./deploy.sh", "./deploy.sh"),
            ("", "write /dev/null", "echo >/dev/null"),
            ("", "write /dev/zero", "echo >/dev/zero"),
            // By a link in the kernel's own call, not by copying.
            ("--rw inbox --rw archive", "link inbox/other archive/other", "ln inbox/other archive/other"),
            ("--rw inbox --ro archive", "link inbox/other archive/again", "ln inbox/other archive/again"),
            ("--ro inbox --rwx bin", "link inbox/other bin/other", "ln inbox/other bin/other"),
        ] {
            let options = format!("{} --preset system {options}", user.go_on());
            let said = why(user, &format!("{options} {action}"));
            let done = user.script(&options, "sh", script);
            assert_eq!(
                said.status,
                done.status.map(|status| i32::from(status != 0)),
                "{options} {action}: {}{}",
                said.stdout,
                done.stderr
            );
        }
    });
}

#[test]
fn without_a_grant_all_is_refused_that_the_kernel_can_refuse() {
    each_user(|user| {
        let _server = prepare(user);
        for action in ACTIONS {
            let (status, answer) = asked(user, &words(&format!("--kernel 10 {action}")));
            assert_eq!(
                (status, &answer["layer"], &answer["backstop"]),
                (1, &json!(1), &json!(false)),
                "{action}"
            );
            assert!(!answer["missing"].as_array().unwrap().is_empty(), "{action}");
        }
    });
}

#[test]
fn what_is_skipped_and_what_is_no_folder_is_noted() {
    each_user(|user| {
        let _server = prepare(user);
        for (question, note) in [
            ("--ignore-missing --ro nowhere --ro . read app.conf", "skipped, for it does not exist: nowhere"),
            (
                "--ro . list app.conf",
                "app.conf is no folder, and so it fails with ENOTDIR whatever is allowed",
            ),
        ] {
            let what = if question.contains("list") { "list" } else { "read" };
            let allowed = format!("Allowed: {what} app.conf, by --ro .\n");
            why(user, &format!("--kernel 10 {question}")).said(0, &format!("{allowed}Note: {note}\n"), "");
        }
        // Nothing is proposed where nothing would help.
        why(user, "--kernel 10 mkdir inbox").said(
            1,
            "Refused (EACCES): to make the folder inbox, make_dir is missing on DIR.\n\
             No option allows it: inbox exists already, and so it fails with EEXIST whatever is allowed\n"
                .replace("DIR", &user.home().to_string_lossy())
                .as_str(),
            "",
        );
    });
}

#[test]
fn what_ordinary_permissions_refuse_is_noted() {
    each_user(|user| {
        let _server = prepare(user);
        let file = user.home().join("app.conf");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o200)).unwrap();
        let (status, answer) = asked(user, &words("--kernel 7 --ro . read app.conf"));
        let notes = answer["notes"].to_string();
        assert!(status == 0 && notes.contains("(mode 200, owner "), "{answer:#}");
        let (_, answer) = asked(user, &words("--kernel 7 --rw . write app.conf"));
        assert_eq!(answer["notes"], json!([]));
    });
}

#[test]
fn the_option_that_allows_it_is_named() {
    each_user(|user| {
        let _server = prepare(user);
        for (question, answer) in [
            ("--ro inbox read inbox/letter", "read inbox/letter, by --ro inbox"),
            ("--ro . --rx inbox list inbox", "list inbox, by --rx inbox"),
            ("--rox . read app.conf", "read app.conf, by --rx ."),
            ("--rw inbox delete inbox/letter", "delete inbox/letter, by --rw inbox"),
            ("--rwx . mkdir new", "make the folder new, by --rwx ."),
            // Two options for the same path are one rule for the kernel.
            ("--ro . --allow d:make_dir:. mkdir new", "make the folder new, by --allow d:make_dir:."),
            ("--ro . --allow make_dir:. mkdir new", "make the folder new, by --allow make_dir:."),
            (
                "--allow r:. --allow rw:app.conf truncate app.conf",
                "truncate app.conf, by --allow rw:app.conf",
            ),
            (
                "--rw inbox --rw archive link inbox/letter archive/new",
                "link inbox/letter as archive/new, by --rw inbox and --rw archive",
            ),
            ("--preset system read /etc/passwd", "read /etc/passwd, by --preset system (/etc/passwd)"),
            ("--preset tty ioctl /dev/tty", "use ioctl on /dev/tty, by --preset tty (/dev/tty)"),
            ("write /dev/null", "write /dev/null, by what every COMMAND is granted (/dev/null)"),
            (
                "--preset tmp --ro /tmp write /tmp/no-such-file-of-ours",
                "write /tmp/no-such-file-of-ours, by --preset tmp (/tmp)",
            ),
            (
                "--program ./deploy.sh exec ./deploy.sh",
                "execute ./deploy.sh, by what ./deploy.sh needs to start",
            ),
            ("--connect-tcp 80,443 connect-tcp 443", "connect to TCP port 443, by --connect-tcp 443"),
            ("--bind-tcp 8000-8010 bind-tcp 8001", "bind TCP port 8001, by --bind-tcp 8000-8010"),
            ("--connect-tcp any connect-tcp 443", "connect to TCP port 443, by --connect-tcp any"),
            ("--connect-udp 53 connect-udp 53", "send to UDP port 53, by --connect-udp 53"),
            ("--connect-udp any connect-udp 53", "send to UDP port 53, by --connect-udp any"),
            ("--preset dns connect-udp 53", "send to UDP port 53, by --preset dns"),
            ("--bind-udp 5353 bind-udp 5353", "bind UDP port 5353, by --bind-udp 5353"),
            ("--unix . connect-unix docker.sock", "connect to the UNIX socket docker.sock, by --unix ."),
            (
                "--unrestricted signal signal",
                "signal a process outside, because nothing restricts signal: left alone by --unrestricted",
            ),
        ] {
            why(user, &format!("--kernel 10 {question}")).said(0, &format!("Allowed: {answer}\n"), "");
        }
    });
}

#[test]
fn what_nothing_restricts_is_never_called_granted() {
    each_user(|user| {
        let _server = prepare(user);
        for (question, answer) in [
            (
                "--kernel 4 signal",
                "signal a process outside, because nothing restricts signal: needs ABI 6 (Linux 6.12)",
            ),
            (
                "--kernel 9 --no-backstop bind-udp 5353",
                "bind UDP port 5353, because nothing restricts bind_udp: needs ABI 10 (Linux 7.2)",
            ),
            (
                "--kernel 10 --abi 9 bind-udp 5353",
                "bind UDP port 5353, because nothing restricts bind_udp: left alone by --abi",
            ),
            (
                "--kernel 2 --best-effort truncate app.conf",
                "truncate app.conf, because nothing restricts truncate: needs ABI 3 (Linux 6.2)",
            ),
        ] {
            why(user, question).said(0, &format!("Allowed: {answer}\n"), "");
            let (_, json) = asked(user, &words(question));
            assert_eq!(
                (json["rule"].as_array().unwrap().len(), json["unrestricted"].as_array().unwrap().len()),
                (0, 1)
            );
        }
    });
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
#[test]
fn what_seccomp_closes_is_said_to_be_closed_by_seccomp() {
    each_user(|user| {
        let _server = prepare(user);
        for (question, sockets, add) in [
            ("--kernel 3 --best-effort connect-tcp 443", "TCP", json!(["--connect-tcp", "443"])),
            ("--kernel 3 --best-effort bind-tcp 80", "TCP", json!(["--bind-tcp", "80"])),
            ("--kernel 9 connect-udp 53", "UDP", json!(["--connect-udp", "53"])),
            ("--kernel 9 bind-udp 0", "UDP", json!(["--bind-udp", "0"])),
            ("--kernel 5 connect-abstract", "UNIX", json!(["--unrestricted", "unix"])),
            ("--kernel 8 connect-abstract", "UNIX", json!(["--unrestricted", "unix,abstract"])),
        ] {
            let (status, answer) = asked(user, &words(question));
            assert_eq!(
                (status, &answer["errno"], &answer["layer"]),
                (1, &json!("EACCES"), &Value::Null),
                "{question}"
            );
            assert_eq!((&answer["backstop"], &answer["suggestion"]), (&json!(true), &add), "{question}");
            let said = why(user, question).stdout;
            let because = format!("no {sockets} sockets can be made: seccomp closes them");
            assert!(said.contains(&because), "{said}");
            assert_eq!(
                why(user, &question.replace("--kernel", "--no-backstop --kernel")).status,
                Some(i32::from(question == "--kernel 8 connect-abstract"))
            );
        }
        // One that is granted opens all, which is said; abstract ones are still the kernel's to refuse.
        let said = why(user, "--kernel 8 --unix inbox connect-unix docker.sock");
        said.said(
            0,
            "Allowed: connect to the UNIX socket docker.sock, because nothing restricts resolve_unix: needs ABI 9 (Linux 7.1)\n\
             Note: UNIX sockets are open altogether on this kernel as soon as one is granted: seccomp cannot tell them apart\n",
            "",
        );
        let (status, answer) = asked(user, &words("--kernel 8 --unix inbox connect-abstract"));
        assert_eq!((status, &answer["errno"]), (1, &json!("EPERM")));
        assert_eq!(answer["suggestion"], json!(["--unrestricted", "abstract"]));
        // A socket is a file too.
        let (_, answer) = asked(user, &words("--kernel 8 --unix inbox bind-unix new.sock"));
        assert_eq!(answer["missing"][0]["rights"], json!(["make_sock"]));
    });
}

#[test]
fn a_program_is_executed_with_all_that_the_kernel_executes_for_it() {
    each_user(|user| {
        let _server = prepare(user);
        user.file("run", "#!./deploy.sh\n");
        fs::set_permissions(user.home().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        let ran = why(user, "--kernel 7 --preset system --rx run exec ./run");
        let said = "\
Refused (EACCES): to execute ./run, which needs to execute ./deploy.sh: execute, read_file are missing on /home/me/deploy.sh.
To allow it, add: --rx /home/me/deploy.sh
";
        assert_eq!((ran.status, at_home(user, &ran.stdout).as_str()), (Some(1), said));
        // What only has to be read is named too: without it nothing starts.
        let (_, answer) = asked(user, &words("--kernel 7 exec cat"));
        let notes = answer["notes"].as_array().unwrap();
        assert!(notes.iter().any(|note| note.as_str().unwrap().contains("libc.so")), "{answer:#}");
        assert!(
            answer["suggestion"]
                .as_array()
                .unwrap()
                .iter()
                .all(|word| !word.as_str().unwrap().contains("libc.so"))
        );
        // What cannot be executed is not said to be refused.
        why(user, "--kernel 7 --rx . exec ./app.conf").said(
            0,
            "Allowed: execute ./app.conf, by --rx .\n\
             Note: it cannot be started: ./app.conf: is not executable: nobody has the permission to execute it\n",
            "",
        );
    });
}

#[test]
fn what_is_proposed_can_be_pasted() {
    each_user(|user| {
        let _server = prepare(user);
        let names: [&[u8]; 4] = [b"a b", b"it's $HOME", b"a\nb\x1b[2J", b"\xff\\"];
        for name in names {
            let name = OsStr::from_bytes(name);
            let path = user.home().join(name);
            fs::write(&path, "").unwrap();
            let question: Vec<&OsStr> =
                ["why", "--kernel", "7", "read"].map(OsStr::new).into_iter().chain([name]).collect();
            let ran = user.palisade(&question);
            assert!(!ran.stdout.contains('\u{1b}'), "{:?}", ran.stdout);
            let line = ran.stdout.lines().find_map(|line| line.strip_prefix("To allow it, add: ")).unwrap();
            let mut shell = user.command("bash");
            let script = format!("exec \"$0\" why --kernel 7 {line} read \"$1\"");
            shell.args(["-c".as_ref(), OsStr::new(&script), user.binary().as_os_str(), name]);
            let ran = Ran::of(user, shell);
            ran.works();
            assert!(ran.stdout.contains(", by --ro "), "{}", ran.stdout);
        }
        let (_, answer) = asked(user, &["read".into(), OsString::from_vec(b"\xff\\".to_vec())]);
        assert_eq!(answer["request"]["targets"], json!([{ "bytes": [255, 92] }]));
        assert!(from_json(&answer["suggestion"]).unwrap()[1].as_bytes().ends_with(b"/\xff\\"));
    });
}

#[test]
fn abi_asks_about_a_kernel_that_has_it_and_says_so_if_this_one_is_another() {
    each_user(|user| {
        let _server = prepare(user);
        for abi in 4..=10 {
            let (status, answer) = asked(user, &words(&format!("--abi {abi} --connect-tcp 1 connect-tcp 1")));
            assert_eq!((status, &answer["abi"]), (0, &json!(abi)));
            let other = usize::from(user.abi() != abi);
            assert_eq!(answer["notes"].as_array().unwrap().len(), other, "{answer:#}");
        }
    });
}

#[test]
fn json_says_all_of_it() {
    each_user(|user| {
        let _server = prepare(user);
        let ran = user.palisade([
            "why",
            "--json",
            "--kernel",
            "2",
            "--best-effort",
            "--rw",
            "inbox",
            "write",
            "inbox/letter",
        ]);
        assert_data_eq!(
            ran.stdout.as_str(),
            str![[r#"
{
  "abi": 2,
  "backstop": false,
  "decision": "allowed",
  "errno": null,
  "layer": null,
  "missing": [],
  "no_option": null,
  "notes": [],
  "request": {
    "action": "write",
    "targets": [
      "inbox/letter"
    ]
  },
  "rule": [
    {
      "option": [
        "--rw",
        "inbox"
      ],
      "path": "inbox",
      "preset": null,
      "rights": [
        "write_file",
        "read_file",
        "read_dir",
        "remove_dir",
        "remove_file",
        "make_dir",
        "make_reg",
        "make_sock",
        "make_fifo",
        "make_sym",
        "refer"
      ],
      "text": "--rw inbox"
    }
  ],
  "suggestion": null,
  "unrestricted": [],
  "why": null
}

"#]]
        );
        let ran = why(user, "--json --kernel 7 --ro inbox mkdir inbox/new");
        assert_data_eq!(
            at_home(user, &ran.stdout),
            str![[r#"
{
  "abi": 7,
  "backstop": false,
  "decision": "refused",
  "errno": "EACCES",
  "layer": 1,
  "missing": [
    {
      "path": "/home/me/inbox",
      "rights": [
        "make_dir"
      ]
    }
  ],
  "no_option": null,
  "notes": [
    "what is granted on a folder holds for all that is in it"
  ],
  "request": {
    "action": "mkdir",
    "targets": [
      "inbox/new"
    ]
  },
  "rule": [],
  "suggestion": [
    "--allow",
    "make_dir:/home/me/inbox"
  ],
  "unrestricted": [],
  "why": null
}

"#]]
        );
        let (status, answer) = asked(user, &words("--kernel 7 read /proc/self/exe"));
        assert_eq!((status, &answer["decision"]), (3, &json!("cannot-say")));
        assert_eq!(answer["why"], "/proc/self leads elsewhere for each process");
    });
}

#[test]
fn mistakes_are_told_on_standard_error_and_are_125() {
    each_user(|user| {
        let _server = prepare(user);
        let help = "\n\nFor more information, try 'palisade why --help'.\n";
        for (question, message) in [
            ("rename inbox/letter", "rename takes two paths, and is given inbox/letter"),
            ("read", "read takes one path, and is given nothing"),
            ("read a b", "read takes one path, and is given a b"),
            ("exec ls -- -l", "exec takes one program, without its arguments, and is given ls -l"),
            ("signal 1 2", "signal takes nothing, or the number of a process, and is given 1 2"),
            (
                "connect-tcp example.org:443",
                "\"example.org:443\" is no port; connect-tcp takes a number from 0 to 65535, without an address: ports are granted at any",
            ),
            (
                "bind-udp 65536",
                "\"65536\" is no port; bind-udp takes a number from 0 to 65535, without an address: ports are granted at any",
            ),
        ] {
            why(user, question).said(125, "", &format!("palisade: {message}{help}"));
        }
        for (question, message) in [
            ("", "the following required arguments were not provided"),
            ("raed x", "a similar value exists: 'read'"),
            ("exec nosuch", "nosuch: is not found in any folder of PATH"),
            ("--program nosuch read x", "--program: nosuch: is not found in any folder of PATH"),
            (
                "--ro nosuch read x",
                "nosuch: does not exist (ENOENT); if COMMAND is to make it, grant its folder",
            ),
            ("--kernel 3 read x", "cannot restrict bind_tcp, connect_tcp, which the policy requires"),
            ("--kernel 0 read x", "\"0\" is no ABI version"),
        ] {
            let ran = why(user, question);
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{question}");
            assert!(ran.stderr.starts_with("palisade: ") && ran.stderr.contains(message), "{}", ran.stderr);
        }
        user.palisade(["why", "read", ""]).said(
            125,
            "",
            &format!("palisade: a TARGET is empty; the present folder is .{help}"),
        );
        assert_eq!(why(user, "--kernel 7 --no-program write /dev/null").status, Some(1));
        assert_eq!(why(user, "--no-program --program cat write /dev/null").status, Some(125));
        why(user, "--kernel 7 --ro nosuch --ignore-missing --ro app.conf read app.conf").works();
        assert_eq!(why(user, "--help").works().stderr, "");
    });
}
