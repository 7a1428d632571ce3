//! What the command prints and how it ends.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Ran, each_user};
use snapbox::{assert_data_eq, str};

/// The part of a message that palisade says first.
fn first_line(ran: &Ran) -> &str {
    ran.stderr.lines().next().unwrap_or_default()
}

#[test]
fn exit_status_is_the_commands_own_or_palisades() {
    each_user(|user| {
        user.run("true").said(0, "", "");
        user.run("-- false").said(1, "", "");
        assert_eq!(user.script("", "sh", "exit 42").status, Some(42));
        assert_eq!(user.script("", "sh", "kill -9 $$").status, None);
        user.run("nosuch").said(127, "", "palisade: nosuch: is not found in any folder of PATH\n");
        assert_eq!(user.run("./nosuch").status, Some(127));
        assert_eq!(user.run("/").status, Some(126));
        user.file("text", "no program\n");
        assert_eq!(user.run("./text").status, Some(126));
        fs::set_permissions(user.home().join("text"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(user.run("./text").status, Some(126));
        for usage in
            ["", "--nosuch true", "--ro", "--abi 0 true", "--abi x true", "--json true", "-v -q true"]
        {
            let ran = user.run(usage);
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{usage}");
            assert!(ran.stderr.starts_with("palisade: "), "{usage}: {}", ran.stderr);
        }
        assert_eq!(user.palisade(["nosuch"]).status, Some(125));
        assert_eq!(user.palisade(["--help"]).status, Some(0));
        assert_eq!(user.palisade(["run", "--help"]).status, Some(0));
    });
}

#[test]
fn the_command_keeps_its_arguments_its_name_and_the_environment() {
    each_user(|user| {
        user.script("", "sh", "echo $0").said(0, "sh\n", "");
        user.palisade(["run", "--", "printf", "%s|", "--ro", "-v", "", "a b"]).said(0, "--ro|-v||a b|", "");
        user.palisade(["run", "printf", "%s|", "--ro", "--", "x"]).said(0, "--ro|--|x|", "");
        user.run("printenv HOME").said(0, &format!("{}\n", user.home().display()), "");
    });
}

#[test]
fn a_mistake_is_named_with_what_was_meant() {
    each_user(|user| {
        for (args, message) in [
            ("--preset dnz true", "\"dnz\" is no preset; did you mean dns?"),
            ("--allow raed_file:/ true", "\"raed_file\" is no right; did you mean read_file?"),
            ("--allow /etc true", "\"/etc\" is no rule; a rule is RIGHTS:PATH, as rw:/srv or f:r:/etc/hosts"),
            ("--connect-tcp 70000 true", "\"70000\" is no port; a port is a number from 0 to 65535"),
            ("--bind-tcp 9-1 true", "the port range 9-1 is empty; did you mean 1-9?"),
            ("--require tpc true", "\"tpc\" is no category and no right; did you mean tcp?"),
            ("--abi 0 true", "\"0\" is no ABI version"),
            ("--strict --best-effort true", "cannot be used with"),
            ("--require udp --abi 4 true", "bind_udp is required, but the policy leaves it alone"),
            ("--allow connect_tcp:/ true", "connect_tcp is no right on a path (in the rule for /)"),
        ] {
            let ran = user.run(args);
            assert_eq!(ran.status, Some(125), "{args}");
            assert!(ran.stderr.contains(message), "{args}: {}", ran.stderr);
        }
        let ran = user.palisade(["run", "--ro", "", "true"]);
        ran.said(125, "", "palisade: a rule has an empty path; the current folder is .\n");
    });
}

#[test]
fn a_missing_path_is_an_error_unless_it_is_to_be_ignored_and_then_named() {
    each_user(|user| {
        user.file("f", "");
        user.file("a,b", "");
        user.run("--ro a,b true").said(0, "", "");
        let missing = "palisade: no/such: does not exist (ENOENT); if COMMAND is to make it, grant its folder; --ignore-missing skips what does not exist\n";
        user.run("--ro no/such true").said(125, "", missing);
        user.run("--ro no/such --dry-run true").said(125, "", missing);
        let below = "palisade: f/x: does not exist (ENOTDIR); if COMMAND is to make it, grant its folder; --ignore-missing skips what does not exist\n";
        user.run("--ro f/x true").said(125, "", below);
        let skipped = "palisade: skipped, for it does not exist: no/such, f/x\n";
        user.run("--ro no/such --rw f/x --ignore-missing true").said(0, "", skipped);
        user.run("--ro no/such --rw f/x --ignore-missing -q true").said(0, "", "");
        assert_eq!(user.run("--ignore-missing nosuch").status, Some(127));
    });
}

#[test]
fn names_are_printed_without_harm_and_work_as_they_are() {
    each_user(|user| {
        let name = "\u{1b}]0;x\u{7}\n";
        user.file(name, "odd\n");
        user.palisade(["run", "--ro", name, "cat", name]).said(0, "odd\n", "");
        let ran = user.palisade(["run", "--ro", &format!("{name}/x"), "cat"]);
        assert_eq!(
            first_line(&ran),
            r"palisade: \u{1b}]0;x\u{7}\n/x: does not exist (ENOTDIR); if COMMAND is to make it, grant its folder; --ignore-missing skips what does not exist"
        );
        let bytes = OsStr::from_bytes(b"\xff-");
        let ran = user.palisade([OsStr::new("run"), OsStr::new("--ro"), bytes, OsStr::new("true")]);
        assert!(first_line(&ran).starts_with(r"palisade: \xff-: does not exist"), "{}", ran.stderr);
        for args in
            [["run", "--preset", name, "true"], ["run", "--require", name, "true"], ["run", name, "x", "y"]]
        {
            let ran = user.palisade(args);
            assert!(!ran.stderr.contains(['\u{1b}', '\u{7}']), "{:?}", ran.stderr);
        }
        let ran = user.palisade(["run", "--dry-run", "--ro", name, "true"]);
        assert!(ran.stdout.contains(r"\u{1b}]0;x\u{7}\n  read"), "{}", ran.stdout);
    });
}

#[test]
fn a_dry_run_prints_the_plan_and_runs_nothing() {
    each_user(|user| {
        user.folder("d");
        let ran = user.run("--dry-run --ro d --connect-tcp 80,8000-8010 --abi 5 -- touch d/new");
        ran.works();
        assert_data_eq!(
            ran.stdout.as_str(),
            str![[r#"
/usr/bin/touch would run.
Landlock ABI [..] (Linux [..]) would enforce:
  fs        enforced
  devices   enforced
  unix      not restricted: the policy leaves it alone
  tcp       enforced
  udp       not restricted: the policy leaves it alone
  abstract  not restricted: the policy leaves it alone
  signal    not restricted: the policy leaves it alone
  allowed:
    d  read
    /usr/bin/touch  execute, read_file
...
    /dev/urandom  read_file
    port 80  connect_tcp
    port 8000-8010  connect_tcp
...
"#]]
        );
        assert!(!user.home().join("d/new").exists());
        let json = user.run("--dry-run --json --ro d --abi 5 -- touch d/new");
        json.works();
        for part in
            ["\"abi\": ", "\"files\": [", "\"path\": \"/usr/bin/touch\"", "\"lost\": [", "\"enforced\": ["]
        {
            assert!(json.stdout.contains(part), "{part}: {}", json.stdout);
        }
    });
}

#[test]
fn verbose_says_on_standard_error_what_holds() {
    each_user(|user| {
        // The rules that were added, and no others.
        user.file("f", "");
        let ran = user.run("-v --rw f --ro missing --ignore-missing --preset system true");
        assert!(ran.stderr.contains("palisade:     f  write, read_file\n"), "{}", ran.stderr);
        assert!(ran.stderr.contains("skipped: missing does not exist"), "{}", ran.stderr);
        for absent in ["    missing  ", "    /gnu/store  "] {
            assert!(!ran.stderr.contains(absent), "{}", ran.stderr);
        }
        let ran = user.run("-v --abi 4 true");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), ""));
        assert!(ran.stderr.lines().all(|line| line.starts_with("palisade: ")), "{}", ran.stderr);
        assert!(ran.stderr.contains("is confined by Landlock ABI "), "{}", ran.stderr);
        assert!(ran.stderr.contains("palisade:   tcp       enforced\n"), "{}", ran.stderr);
        assert!(ran.stderr.contains("palisade:   signal    not restricted: the policy leaves it alone\n"));
    });
}

#[test]
fn what_is_named_and_cannot_be_restricted_is_one_line() {
    each_user(|user| {
        for alone in ["--abi 3", "--unrestricted net"] {
            let ran = user.run(&format!("{alone} --connect-tcp 443 true"));
            let line = "palisade: NOT RESTRICTED, so open whatever is granted: connect_tcp: left alone by \
                        --unrestricted or --abi\n";
            ran.said(0, "", line);
        }
        let open = user.abi() < 10;
        let ran = user.run("--connect-udp 53 --unix / true");
        assert_eq!((ran.status, ran.stderr.lines().count()), (Some(0), usize::from(open)), "{}", ran.stderr);
        assert!(!open || ran.stderr.contains("NOT RESTRICTED"), "{}", ran.stderr);
        assert!(!open || ran.stderr.contains("connect_send_udp: needs ABI 10 (Linux 7.2)"), "{}", ran.stderr);
        user.run("-q --connect-udp 53 --unix / true").said(0, "", "");
        user.run("--connect-tcp 53 true").said(0, "", "");
    });
}

#[test]
fn what_is_required_and_cannot_be_restricted_is_an_error_that_names_the_option() {
    each_user(|user| {
        let ran = user.run("--strict true");
        let missing = match user.abi() {
            ..=8 => "unix,udp",
            9 => "udp",
            10.. => "",
        };
        if missing.is_empty() {
            ran.said(0, "", "");
        } else {
            let option =
                format!("; --unrestricted {missing} leaves these open and goes on; --best-effort goes on");
            assert!(ran.status == Some(125) && ran.stderr.contains(&option), "{}", ran.stderr);
            user.run(&format!("--strict --unrestricted {missing} true")).said(0, "", "");
        }
        user.run("--best-effort -q true").said(0, "", "");
    });
}

#[test]
fn without_the_closure_nothing_starts_but_what_is_granted() {
    each_user(|user| {
        let ran = user.run("--no-program true");
        assert_eq!(ran.status, Some(126));
        assert!(ran.stderr.contains("/true: may not be executed under this policy"), "{}", ran.stderr);
        user.run("--no-program --preset system true").said(0, "", "");
    });
}

#[test]
fn status_says_what_this_kernel_can_enforce() {
    each_user(|user| {
        let ran = user.palisade(["status"]);
        ran.works();
        assert_data_eq!(
            ran.stdout.as_str(),
            str![[r#"
This kernel (Linux [..]) can confine programs: Landlock ABI [..] (Linux [..]).

  fs        files and folders          yes
  devices   ioctl on devices           [..]
  unix      UNIX sockets by path       [..]
  tcp       TCP ports                  yes
  udp       UDP ports                  [..]
  abstract  abstract UNIX sockets      [..]
  signal    signals to other programs  [..]
...
"#]]
        );
    });
}
