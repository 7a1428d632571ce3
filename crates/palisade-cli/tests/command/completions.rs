//! What TAB offers: asked of palisade itself, and typed in each shell.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Ran, User, each_user, found};

/// What is there to be completed.
fn prepare(user: &User) {
    for folder in ["sub", "sub/deep", "tmp", ".config", ".config/palisade"] {
        user.folder(folder);
    }
    for file in [
        "plain",
        "a b",
        "it's",
        "sub/run.sh",
        "sub/text",
        "x\u{1b}[2J",
        ".hidden",
        ".config/palisade/team.toml",
    ] {
        user.file(file, "#!/bin/sh\n");
    }
    fs::set_permissions(user.home().join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The words that are offered for the last of these; a space parts them, and the last may be empty.
fn offered(user: &User, line: &str) -> Vec<String> {
    let asked = ["completions", "--complete", "--", "palisade"].into_iter().chain(line.split(' '));
    let ran = user.palisade(asked);
    ran.works().stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn names_rights_paths_and_programs_are_offered() {
    each_user(|user| {
        prepare(user);
        for (line, expected) in [
            ("pre", "presets"),
            ("run --pres", "--preset"),
            ("run --preset s", "shared stdio system"),
            ("run --preset system,t", "system,tty system,tmp"),
            ("run --preset=system,t", "--preset=system,tty --preset=system,tmp"),
            ("why --preset ce", "certs"),
            ("presets ce", "certs"),
            ("run --allow rw,ioc", "rw,ioctl_dev:"),
            ("run --allow f:rw", "f:rw:"),
            ("run --allow mak", "make_char: make_dir: make_reg: make_sock: make_fifo: make_block: make_sym:"),
            ("run --allow connect", ""),
            ("run --allow read_file:su", "read_file:sub/"),
            ("run --allow d:r,write_file:sub/te", "d:r,write_file:sub/text"),
            ("run --require n", "net"),
            ("run --unrestricted fs,bind_", "fs,bind_tcp fs,bind_udp"),
            ("run --keep-caps net_b", "net_bind_service net_broadcast"),
            ("run --keep-caps al", "all"),
            ("run --abi 1", "1 10 11"),
            ("why --kernel 1", "1 10 11"),
            ("run --log n", "none"),
            ("run --ro sub/", "sub/deep/ sub/run.sh sub/text"),
            ("run --ro=sub/t", "--ro=sub/text"),
            ("run --ro .h", ".hidden"),
            ("run -p te", "team"),
            ("run --policy bui", "build"),
            ("show --within t", "tty tmp team tmp/"),
            ("why -p sub/", "sub/run.sh sub/text sub/deep/"),
            ("check ./pl", "./plain"),
            ("check off", "offline"),
            ("run --chdir sub/d", "sub/deep/"),
            // Of files only those that can be executed.
            ("run sub/", "sub/run.sh sub/deep/"),
            ("why --program sub/r", "sub/run.sh"),
            ("why conn", "connect-tcp connect-udp connect-unix connect-abstract"),
            ("why write sub/te", "sub/text"),
            ("man wh", "why"),
            ("completions z", "zsh"),
            // What follows COMMAND is its own, whatever it looks like.
            ("run --ro . cat pl", "plain"),
            ("run -- cat --preset t", "tmp/"),
            ("run cat --ver", ""),
            ("run --ro . -- cat sub/t", "sub/text"),
        ] {
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(offered(user, line), expected, "{line}");
        }
        let programs = offered(user, "run cat");
        assert!(programs.contains(&"cat".to_owned()), "{programs:?}");
        assert!(programs.iter().all(|name| name.starts_with("cat")), "{programs:?}");
        let rights = offered(user, "run --allow ");
        assert!(rights.starts_with(&["r:", "w:", "x:", "c:"].map(str::to_owned)), "{rights:?}");
    });
}

#[test]
fn what_harms_a_terminal_is_not_offered() {
    each_user(|user| {
        prepare(user);
        assert_eq!(offered(user, "run --ro x"), [""; 0]);
        assert_eq!(offered(user, "run -- cat x"), [""; 0]);
        let all = user.palisade(["completions", "--complete", "--", "palisade", "run", "--ro", ""]);
        assert!(all.works().stdout.contains("plain\t\n") && !all.stdout.contains('\u{1b}'), "{}", all.stdout);
    });
}

/// Nothing of the environment makes palisade do anything but what it is told.
#[test]
fn no_variable_makes_a_run_a_completion() {
    each_user(|user| {
        for variable in ["COMPLETE", "_CLAP_COMPLETE_INDEX", "COMP_LINE"] {
            let mut run = user.command(user.binary());
            run.env(variable, "bash").args(["run", "--", "printenv", variable]);
            Ran::of(user, run).said(0, "bash\n", "");
        }
        for usage in
            [&["--complete", "bash", "--", "palisade"][..], &["--", "palisade"], &["--complete", "x"]]
        {
            let ran = user.palisade(["completions"].iter().chain(usage));
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{usage:?}");
        }
        user.palisade(["completions", "--complete"]).said(0, "", "");
    });
}

/// Lines that are typed, TAB included, and the words that palisade is then called with.
const TYPED: [(&str, &str); 17] = [
    (r"run --pres", "run --preset"),
    (r"run --preset syst", "run --preset system"),
    (r"run --preset system,tt", "run --preset system,tty"),
    (r"run --preset=system,tt", "run --preset=system,tty"),
    // Beside a folder of that name.
    (r"run --preset tm", "run --preset tmp"),
    (r"run --allow read_file:su", "run --allow read_file:sub/"),
    (r"run --allow read_file:sub/te", "run --allow read_file:sub/text"),
    (r"run --allow rw:/etc/pass", "run --allow rw:/etc/passwd"),
    (r"run --ro ~/sub/te", "run --ro HOME/sub/text"),
    (r"run --ro a", "run --ro a b"),
    (r"run --ro=a", "run --ro=a b"),
    (r"run --allow r:a", "run --allow r:a b"),
    (r"run --ro it", "run --ro it's"),
    (r#"run --ro "a"#, "run --ro a b"),
    (r"run -- cat pl", "run -- cat plain"),
    (r"why --preset=tmp write sub/te", "why --preset=tmp write sub/text"),
    (r"man compl", "man completions"),
];

/// What the shell calls, in place of palisade itself: a line of its words.
const CALLED: &str = r#"palisade() { called=$(printf '<%s>' "$@"); echo "$called" >> called; }"#;

/// Types `first`, and each of the lines with TAB at its end, which calls palisade as it should.
fn types(user: &User, mut shell: Command, first: &str) {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", user.binary().parent().unwrap().display());
    shell.env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{first}\n{CALLED}").unwrap();
    let called = user.file("called", "");
    // The last goes on after a word, where there must be no space.
    let lines = TYPED.map(|(line, words)| (format!("{line}\t"), words)).into_iter();
    for (line, words) in lines.chain([("run --allow rw,ioc\t/x".to_owned(), "run --allow rw,ioctl_dev:/x")]) {
        writeln!(input, "palisade {line}").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // One after the other: a shell may drop what is typed while it is busy.
        let said = loop {
            let said = fs::read_to_string(&called).unwrap();
            if said.ends_with('\n') || Instant::now() > deadline {
                break said;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        fs::write(&called, "").unwrap();
        let words = words.replace("a b", "a\0b").replace("HOME", user.home().to_str().unwrap());
        let expected: String = words
            .split(' ')
            .map(|word| format!("<{}>", word.replace('\0', " ")))
            .chain(["\n".into()])
            .collect();
        if said != expected {
            child.kill().unwrap();
        }
        assert_eq!(said, expected, "{line}");
    }
    drop(input);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn bash_completes() {
    each_user(|user| {
        prepare(user);
        let mut bash = user.command("bash");
        bash.args(["--norc", "--noprofile", "-i"]);
        types(user, bash, "source <(command palisade completions bash)");
    });
}

/// zsh edits lines on a terminal alone.
#[test]
fn zsh_completes() {
    if !found(&["zsh", "script"]) {
        return;
    }
    each_user(|user| {
        prepare(user);
        let mut script = user.command("script");
        script.args(["-qec", "zsh -f -i", "/dev/null"]).env("TERM", "dumb");
        types(
            user,
            script,
            "autoload -U compinit; compinit -u -D; source <(command palisade completions zsh)",
        );
    });
}

#[test]
fn fish_completes() {
    if !found(&["fish"]) {
        return;
    }
    each_user(|user| {
        prepare(user);
        for (line, expected) in [
            ("palisade run --preset system,t", "system,tty system,tmp"),
            ("palisade run --allow read_file:sub/te", "read_file:sub/text"),
            ("palisade run --ro=sub/te", "--ro=sub/text"),
            ("palisade run --ro . -- cat pl", "plain"),
            ("palisade man compl", "completions"),
        ] {
            let mut fish = user.command("fish");
            let path = format!("{}:/usr/bin:/bin", user.binary().parent().unwrap().display());
            let script = "palisade completions fish | source; complete -C $argv[1]";
            fish.env("PATH", path).args(["--no-config", "-c", script, line]);
            let ran = Ran::of(user, fish);
            let words: Vec<&str> = ran.stdout.lines().map(|line| line.split('\t').next().unwrap()).collect();
            assert_eq!(words.join(" "), expected, "{line}: {}", ran.stderr);
        }
    });
}
