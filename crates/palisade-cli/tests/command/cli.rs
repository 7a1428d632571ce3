//! What the command prints and how it ends.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::common::{Ran, each_user, found};
use snapbox::{assert_data_eq, str};

fn joined(parts: [&OsStr; 2]) -> OsString {
    parts.into_iter().collect()
}

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
            let option = &alone[..alone.find(' ').unwrap()];
            let line = format!(
                "palisade: NOT RESTRICTED, so open whatever is granted: connect_tcp: left alone by {option}\n"
            );
            ran.said(0, "", &line);
        }
        let open = user.abi() < 10;
        let ran = user.run("--connect-udp 53 --unix /dev true");
        assert_eq!((ran.status, ran.stderr.lines().count()), (Some(0), usize::from(open)), "{}", ran.stderr);
        assert!(!open || ran.stderr.contains("NOT RESTRICTED"), "{}", ran.stderr);
        assert!(!open || ran.stderr.contains("connect_send_udp: needs ABI 10 (Linux 7.2)"), "{}", ran.stderr);
        user.run("-q --connect-udp 53 --unix /dev true").said(0, "", "");
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

/// What is there and is no program that can be run: each has its sentence, and nothing is started.
#[test]
fn what_cannot_be_run_is_said_and_is_126() {
    if !found(&["cc", "mkfifo"]) {
        return;
    }
    each_user(|user| {
        let plain = |name: &str, mode: u32, content: &[u8]| {
            fs::write(user.file(name, ""), content).unwrap();
            fs::set_permissions(user.home().join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        user.folder("folder");
        plain("data", 0o644, b"#!/bin/sh\n");
        plain("text", 0o755, b"echo started\n");
        plain("empty", 0o755, b"");
        plain("cut", 0o755, b"\x7fELF");
        plain("short", 0o755, &fs::read("/bin/sh").unwrap()[..600]);
        plain("lost", 0o755, b"#!/no/such\n");
        plain("lost-by-env", 0o755, b"#!/usr/bin/env no-such\n");
        plain("nameless", 0o755, b"#!\n");
        plain("by-folder", 0o755, b"#!/tmp\n");
        let mut fifo = user.command("mkfifo");
        fifo.args(["-m", "755", "fifo"]);
        assert!(fifo.status().unwrap().success());
        symlink("loop", user.home().join("loop")).unwrap();
        // A program whose loader does not exist.
        user.file("t.c", "int main(void) { return 0; }\n");
        let mut cc = user.command("cc");
        cc.args(["-o", "no-loader", "t.c", "-Wl,--dynamic-linker=/no/such/loader"]);
        assert!(cc.status().unwrap().success());
        for (name, sentence) in [
            ("folder", "is a directory, not a file with a program"),
            ("data", "is not executable: nobody has the permission to execute it"),
            ("text", "is a text without a first line such as #!/bin/sh, which would say what runs it"),
            ("empty", "is an empty file, not a program"),
            ("cut", "is a broken ELF file: neither of 32 nor of 64 bits"),
            ("short", "is a broken ELF file: it ends before what its header promises"),
            ("lost", "is a script for /no/such, which does not exist"),
            ("lost-by-env", "is a script for no-such, which is not found in any folder of PATH"),
            ("nameless", "has a first line that begins with #! and names no interpreter"),
            ("by-folder", "is a script for /tmp, which is a directory, not a file with a program"),
            ("fifo", "is a FIFO, not a file with a program"),
            ("loop", "cannot be opened (ELOOP)"),
        ] {
            let message = format!("palisade: ./{name}: {sentence}\n");
            user.run(&format!("./{name}")).said(126, "", &message);
            user.run(&format!("--preset system ./{name}")).said(126, "", &message);
            user.run(&format!("--dry-run ./{name}")).said(126, "", &message);
        }
        let ran = user.run("./no-loader");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(126), ""));
        assert!(ran.stderr.contains("/no/such/loader"), "{}", ran.stderr);
        for (name, sentence) in [
            ("./nosuch", "./nosuch: is not found: there is no such file"),
            ("./folder/x", "./folder/x: is not found: there is no such file"),
            ("./text/x", "./text/x: is not found: there is no such file"),
        ] {
            user.run(name).said(127, "", &format!("palisade: {sentence}\n"));
        }
        user.palisade(["run", ""]).said(
            127,
            "",
            "palisade: : is not found: the name of the program is empty\n",
        );
    });
}

/// Permitted to execute, not to read: nobody can say then what its interpreter would be.
#[test]
fn a_script_that_cannot_be_read_is_126() {
    each_user(|user| {
        if user.is_root() {
            return;
        }
        user.file("script", "#!/bin/sh\necho started\n");
        let mode = |mode| fs::set_permissions(user.home().join("script"), fs::Permissions::from_mode(mode));
        mode(0o755).unwrap();
        user.run("./script").said(0, "started\n", "");
        mode(0o311).unwrap();
        let ran = user.run("./script");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(126), ""), "{}", ran.stderr);
        assert!(
            first_line(&ran).starts_with("palisade: ./script: may be executed but not read"),
            "{}",
            ran.stderr
        );
    });
}

#[test]
fn the_17th_layer_is_refused_and_nothing_starts() {
    each_user(|user| {
        user.folder("d");
        let palisade = user.binary().display().to_string();
        let nested = |times: usize| {
            let layer = ["run", "-q", "--preset", "system", "--rx", &palisade, "--rw", "d", "--", &palisade];
            let layers: Vec<&str> = layer.into_iter().cycle().take(layer.len() * times - 1).collect();
            user.palisade(layers.into_iter().chain(["touch", "d/new"]))
        };
        let message = "palisade: 16 Landlock layers are stacked on this process already, which is the most there \
                       can be (E2BIG)\n";
        nested(17).said(125, "", message);
        assert!(!user.home().join("d/new").exists());
        nested(16).said(0, "", "");
        assert!(user.home().join("d/new").exists());
    });
}

#[test]
fn any_name_works_for_command_and_paths() {
    each_user(|user| {
        let names =
            [&b"-dash"[..], b"--ro", b"line\nbreak", b"\x1b]0;x\x07", b"not \xff UTF-8", b" ", b"a,b=c:d"];
        for name in names.map(OsStr::from_bytes) {
            let dotted = joined([OsStr::new("./"), name]);
            let path = user.home().join(name);
            fs::write(&path, "#!/bin/sh\necho \"$1\" started\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            let run = OsStr::new("run");
            user.palisade([run, OsStr::new("--"), &dotted, OsStr::new("--x")]).said(0, "--x started\n", "");
            // By PATH, where the name has no slash.
            let mut command = user.command(user.binary());
            command.env("PATH", user.home()).args([run, OsStr::new("--"), name, OsStr::new("y")]);
            Ran::of(user, command).said(0, "y started\n", "");
            // As a path that is granted, also if it begins with a dash.
            fs::write(&path, "content").unwrap();
            let cat = [OsStr::new("--"), OsStr::new("cat"), &dotted];
            let granted = joined([OsStr::new("--ro="), name]);
            user.palisade([run, &granted].into_iter().chain(cat)).said(0, "content", "");
            user.palisade([run, OsStr::new("--ro"), &dotted].into_iter().chain(cat)).said(0, "content", "");
            let letters = joined([OsStr::new("--allow=r:"), name]);
            user.palisade([run, &letters].into_iter().chain(cat)).said(0, "content", "");
            let refused = user.palisade([run].into_iter().chain(cat));
            assert_eq!((refused.status, refused.stdout.as_str()), (Some(1), ""));
            // Printed without harm.
            let dry = user.palisade([run, OsStr::new("--dry-run"), &granted, OsStr::new("true")]);
            let odd = |c: char| c.is_control() && c != '\n';
            assert!(!dry.works().stdout.contains(odd), "{:?}", dry.stdout);
            let not = user.palisade([run, OsStr::new("--"), &dotted]);
            assert_eq!(not.status, Some(126));
            assert!(!not.stderr.contains(odd) && not.stderr.lines().count() == 1, "{:?}", not.stderr);
        }
    });
}

/// Bad values of options are palisade's own failures, and start nothing.
#[test]
fn bad_input_starts_nothing() {
    each_user(|user| {
        user.folder("d");
        for (args, message) in [
            ("--ro", "a value is required for '--ro <PATH>' but none was supplied"),
            ("--connect-tcp=-1", "\"-1\" is no port; a port is a number from 0 to 65535"),
            ("--bind-udp 65536", "\"65536\" is no port; a port is a number from 0 to 65535"),
            ("--connect-udp 1,x", "\"x\" is no port; a port is a number from 0 to 65535"),
            ("--connect-tcp=", "\"\" is no port; a port is a number from 0 to 65535"),
            ("--unrestricted tpc", "\"tpc\" is no category and no right; did you mean tcp?"),
            ("--allow q:/", "\"q\" is no right"),
            ("--rwx nosuch", "nosuch: does not exist (ENOENT)"),
            ("--ignore-missing --ro=", "a rule has an empty path; the current folder is ."),
            ("--json", "--dry-run"),
            ("--verbose --quiet", "cannot be used with"),
            ("--nosuch", "unexpected argument '--nosuch' found"),
        ] {
            let ran = user.run(&format!("{args} --rw d -- touch d/new"));
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{args}: {}", ran.stderr);
            assert!(
                ran.stderr.starts_with("palisade: ") && ran.stderr.contains(message),
                "{args}: {}",
                ran.stderr
            );
            assert!(!user.home().join("d/new").exists(), "{args}");
        }
        user.run("--rw d -- touch d/new").said(0, "", "");
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

#[test]
fn what_a_program_names_grants_no_other_file() {
    if !found(&["gcc"]) {
        return;
    }
    let (loader, arch) = match std::env::consts::ARCH {
        "x86_64" => ("/lib64/ld-linux-x86-64.so.2", "x86_64"),
        _ => ("/lib/ld-linux-aarch64.so.1", "aarch64"),
    };
    each_user(|user| {
        user.file("secret", "hidden\n");
        user.file("p.c", "int main(void) { return 0; }\n");
        // A loader of its own choice, beside which musl's would look for a list of folders: here a link to the secret.
        let own = format!("x/lib/ld-musl-{arch}.so.1");
        for folder in ["x", "x/lib", "x/etc"] {
            user.folder(folder);
        }
        symlink(loader, user.home().join(&own)).unwrap();
        symlink("../../secret", user.home().join(format!("x/etc/ld-musl-{arch}.path"))).unwrap();
        let mut gcc = user.command("gcc");
        gcc.args(["-o", "evil", "p.c", &format!("-Wl,--dynamic-linker={own}")]);
        assert!(gcc.output().unwrap().status.success());
        let planned = user.run("--dry-run --json ./evil");
        assert!(planned.works().stdout.contains(&own), "{}", planned.stdout);
        for hidden in ["secret", ".path"] {
            assert!(!planned.stdout.contains(hidden), "{}", planned.stdout);
        }
        // A loader that is none, and a script whose interpreter is none.
        let mut gcc = user.command("gcc");
        gcc.args(["-o", "evil", "p.c", "-Wl,--dynamic-linker=secret"]);
        assert!(gcc.output().unwrap().status.success());
        assert_eq!(user.run("./evil secret").status, Some(126));
    });
}
