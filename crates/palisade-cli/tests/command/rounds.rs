//! From nothing to working: each program starts with no grant, and gets what `run --explain` proposes and nothing else, until
//! it does what it does unconfined. In how many rounds is in the table, that no proposal opens too much is a test.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Ran, User, each_user_below, found};
use crate::work::{BASE, Server, WORK, fresh, in_work, outcome};

/// What a program does, and in how many rounds it can.
struct Program {
    name: &'static str,
    tools: &'static [&'static str],
    /// A script that makes the inputs, unconfined.
    inputs: &'static str,
    /// SERVER stands for the address of an HTTP server.
    command: &'static [&'static str],
    /// A script that shows what came of it, unconfined.
    result: &'static str,
    /// So many times options are added, at most.
    rounds: usize,
}

const REPOSITORY: &str = "printf '[user]\\nname = A\\nemail = a@example.org\\n' > ~/.gitconfig; git init -q -b main from; \
    echo 1 > from/f; git -C from add f; git -C from commit -q -m first";
const FOLDER: &str = "mkdir in; for i in 1 2 3 4 5 6; do echo $i > in/$i; touch -d 2020-01-01 in/$i; done";
const LINES: &str = "printf 'b\\na\\nb\\n' > in";
const HELLO: &str =
    "printf '#include <stdio.h>\\nint main(void) { return puts(\"hello\") < 0; }\\n' > hello.c";
const PROJECT: &str = "mkdir include; for i in 1 2 3 4 5 6 7 8 9; do echo \"int f$i(void);\" > include/h$i.h; \
    printf '#include \"h%d.h\"\\nint f%d(void) { return %d; }\\n' $i $i $i > s$i.c; \
    echo \"#include \\\"h$i.h\\\"\" >> main.c; done; \
    echo 'int main(void) { return f1() + f9() - 10; }' >> main.c; \
    printf 'CC = gcc\\nCFLAGS = -Iinclude\\nprog: main.o s1.o s2.o s3.o s4.o s5.o s6.o s7.o s8.o s9.o\\n\\t$(CC) -o $@ $^\\n' \
    > Makefile";
const PIPES: &str = "printf 'b\\na\\nb\\n' > in; \
    printf '#!/bin/sh\\nset -e\\nsort in | uniq -c | sed \"s/^ *//\" | tee out\\nwc -l < out\\n' > run.sh; chmod +x run.sh";
const PERL: &str = "my ($h, $n) = tempfile(UNLINK => 1); open my $f, '<', 'in' or die; my @l = <$f>; print $h @l; \
    print encode_json([scalar @l]), \"\\n\"";
const NODE: &str =
    "const fs = require('fs'); fs.writeFileSync('out', fs.readFileSync('in', 'utf8').toUpperCase())";
const VENV: &str = "/usr/bin/python3 -m venv --without-pip v && v/bin/python -c \
    'import json, sys; print(json.dumps(sys.prefix != sys.base_prefix))'";
const SQL: &str = "create table t (x); insert into t values (42); select x from t";

const PROGRAMS: &[Program] = &[
    Program {
        name: "git clone, by path",
        tools: &["git"],
        inputs: REPOSITORY,
        command: &["git", "clone", "-q", "from", "to"],
        result: "cat to/f",
        rounds: 4,
    },
    Program {
        name: "git clone, by http",
        tools: &["git"],
        inputs: "printf '[user]\\nname = A\\n' > ~/.gitconfig",
        command: &["git", "clone", "-q", "http://SERVER/from.git", "to"],
        result: "cat to/f",
        rounds: 4,
    },
    Program {
        name: "git commit",
        tools: &["git"],
        inputs: REPOSITORY,
        command: &["git", "-C", "from", "commit", "-q", "--allow-empty", "-m", "second"],
        result: "git -C from log --format=%s",
        rounds: 2,
    },
    Program {
        name: "python",
        tools: &["python3"],
        inputs: LINES,
        command: &["/usr/bin/python3", "-c", "import json, re; print(json.dumps(len(open('in').read())))"],
        result: ":",
        rounds: 2,
    },
    Program {
        name: "python3 -m venv, and python in it",
        tools: &["python3"],
        inputs: ":",
        command: &["sh", "-c", VENV],
        result: "ls v",
        rounds: 2,
    },
    Program {
        name: "gcc hello.c && ./a.out",
        tools: &["gcc"],
        inputs: HELLO,
        command: &["sh", "-c", "gcc hello.c && ./a.out"],
        result: "./a.out",
        rounds: 5,
    },
    Program {
        name: "gcc, with temporary files in the folder",
        tools: &["env", "gcc"],
        inputs: HELLO,
        command: &["env", "TMPDIR=.", "gcc", "hello.c"],
        result: "./a.out",
        rounds: 2,
    },
    Program {
        name: "a test program that is removed",
        tools: &["gcc", "rm"],
        inputs: HELLO,
        command: &["sh", "-c", "gcc -o conftest hello.c; ./conftest && rm conftest"],
        result: "ls",
        rounds: 5,
    },
    Program {
        name: "make -j2",
        tools: &["gcc", "make"],
        inputs: PROJECT,
        command: &["make", "-s", "-j2"],
        result: "./prog && echo linked",
        rounds: 4,
    },
    Program {
        name: "curl",
        tools: &["curl"],
        inputs: ":",
        command: &["curl", "-s", "-S", "-o", "got", "http://SERVER/f"],
        result: "cat got",
        rounds: 2,
    },
    Program {
        name: "sqlite3",
        tools: &["sqlite3"],
        inputs: ":",
        command: &["sqlite3", "db", SQL],
        result: "sqlite3 db 'select x from t'",
        rounds: 1,
    },
    Program {
        name: "tar -c",
        tools: &["tar", "gzip"],
        inputs: FOLDER,
        command: &["tar", "-czf", "a.tar.gz", "in"],
        result: "tar -tzf a.tar.gz",
        rounds: 2,
    },
    Program {
        name: "tar -x",
        tools: &["tar", "gzip"],
        inputs: "mkdir in; echo 1 > in/f; tar -czf a.tar.gz in; rm -r in",
        command: &["tar", "-xzf", "a.tar.gz"],
        result: "cat in/f",
        rounds: 3,
    },
    Program {
        name: "perl",
        tools: &["perl"],
        inputs: LINES,
        command: &["perl", "-MJSON::PP", "-MFile::Temp=tempfile", "-e", PERL],
        result: ":",
        rounds: 4,
    },
    Program {
        name: "node",
        tools: &["node"],
        inputs: LINES,
        command: &["node", "-e", NODE],
        result: "cat out",
        rounds: 3,
    },
    Program {
        name: "a script with pipes",
        tools: &["sed", "sort", "tee", "uniq", "wc"],
        inputs: PIPES,
        command: &["./run.sh"],
        result: "cat out",
        rounds: 2,
    },
    Program {
        name: "ls -l",
        tools: &["ls"],
        inputs: FOLDER,
        command: &["ls", "-l", "in"],
        result: ":",
        rounds: 1,
    },
    Program {
        name: "less, in a terminal",
        tools: &["less", "script"],
        inputs: LINES,
        command: &["script", "-qec", "less -FX in", "/dev/null"],
        result: ":",
        rounds: 3,
    },
    Program {
        name: "vim",
        tools: &["vim"],
        inputs: LINES,
        command: &["vim", "-es", "-c", "%s/a/z/", "-c", "wq", "-c", "cq", "in"],
        result: "cat in",
        rounds: 2,
    },
];

/// No program may need more.
const MOST: usize = 6;

/// What is in a home, and nobody has asked for.
const SECRETS: [&str; 8] = [
    ".ssh/id_ed25519",
    ".aws/credentials",
    ".netrc",
    ".bash_history",
    ".git-credentials",
    ".gnupg/secring.gpg",
    ".config/gh/hosts.yml",
    ".npmrc",
];

/// Never granted as a whole, but by a preset.
const TOO_WIDE: [&str; 14] = [
    "/",
    "/etc",
    "/tmp",
    "/var/tmp",
    "/var",
    "/usr",
    "/proc",
    "/dev",
    "/run",
    "/usr/lib",
    "/usr/share",
    "/home",
    "/root",
    "/sys",
];

fn program(name: &str) -> &'static Program {
    PROGRAMS.iter().find(|program| program.name == name).unwrap()
}

/// Once with these options: what it proposes besides.
fn explained(user: &User, options: &[String], command: &[String]) -> (Ran, Vec<String>) {
    let output = user.home().join("explained.json");
    let mut palisade = in_work(user, user.binary());
    palisade.args(["run", "-q", "--explain", "--json", "--output"]).arg(&output);
    palisade.args(options).arg("--").args(command);
    let ran = Ran::of(user, palisade);
    let text = fs::read_to_string(&output).unwrap_or_default();
    let json: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{options:?}: {text}{}", ran.stderr));
    let words = json["options"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
    (ran, words.collect())
}

/// What options open by name.
fn paths(options: &[String]) -> Vec<PathBuf> {
    let path = |pair: &[String]| match pair[0].as_str() {
        "--ro" | "--rx" | "--rw" | "--rwx" | "--unix" => Some(PathBuf::from(&pair[1])),
        "--allow" => pair[1].split_once(':').map(|(_, path)| PathBuf::from(path)),
        _ => None,
    };
    options.chunks(2).filter_map(path).collect()
}

fn from_nothing(name: &str) {
    let program = program(name);
    if cfg!(not(target_arch = "x86_64")) || !found(program.tools) {
        return;
    }
    let server = Server::start();
    let command: Vec<String> =
        program.command.iter().map(|word| word.replace("SERVER", &server.address)).collect();
    each_user_below(Path::new(BASE), |user| {
        if user.abi() < crate::common::TCP_ABI {
            return;
        }
        fresh(user, program.inputs, &SECRETS);
        let mut plain = in_work(user, &command[0]);
        plain.args(&command[1..]);
        let expected = outcome(user, &Ran::of(user, plain), program.result);
        assert_eq!(expected.0, Some(0), "{name}: {expected:?}");

        let mut options: Vec<String> = Vec::new();
        let mut rounds = 0;
        loop {
            fresh(user, program.inputs, &SECRETS);
            let (ran, proposed) = explained(user, &options, &command);
            let got = outcome(user, &ran, program.result);
            if got == expected {
                break;
            }
            assert!(
                !proposed.is_empty() && rounds < MOST,
                "{name} as {}, stuck after {rounds} rounds with {options:?}: {got:?} {}",
                user.name,
                ran.stderr
            );
            rounds += 1;
            options.extend(proposed);
        }
        println!("{name} as {}: {rounds} rounds: {}", user.name, options.join(" "));
        assert!(rounds <= program.rounds, "{name}: {rounds} rounds: {options:?}");
        opens_no_secret(user, &options);
    });
}

/// Nothing opens a folder with a secret in it, so that the program does not get any further: whose it is has to say so.
#[test]
fn a_project_with_a_secret_is_not_opened() {
    if cfg!(not(target_arch = "x86_64")) || !found(&["sh", "cat"]) {
        return;
    }
    each_user_below(Path::new(BASE), |user| {
        if user.abi() < crate::common::TCP_ABI {
            return;
        }
        let command = ["sh", "-c", "/bin/cat in > out"].map(String::from);
        let mut options: Vec<String> = Vec::new();
        let ran = loop {
            fresh(user, "echo 1 > in; echo KEY=1 > .env", &SECRETS);
            let (ran, proposed) = explained(user, &options, &command);
            if proposed.is_empty() {
                break ran;
            }
            options.extend(proposed);
        };
        assert_eq!(ran.status, Some(2), "{options:?}");
        let mut again = in_work(user, user.binary());
        again.args(["run", "-q", "--explain"]).args(&options).arg("--").args(&command);
        let said = Ran::of(user, again).stderr;
        let folder = user.home().join(WORK);
        let held = format!(
            "it takes write_file, make_reg on all of {}, where something is sensitive (keys and passwords of a project): \
             grant the folder by name if that is meant",
            folder.display()
        );
        assert!(said.contains(&held), "{said}");
        assert!(paths(&options).iter().all(|path| !folder.starts_with(path)), "{options:?}");
        opens_no_secret(user, &options);
    });
}

fn opens_no_secret(user: &User, options: &[String]) {
    for path in paths(options) {
        let wide = TOO_WIDE.iter().any(|wide| path == Path::new(wide)) || user.home().starts_with(&path);
        assert!(!wide, "{path:?} is too wide: {options:?}");
    }
    for secret in SECRETS {
        let secret = user.home().join(secret);
        let mut cat = in_work(user, user.binary());
        cat.args(["run", "-q"]).args(options).args(["--", "cat"]).arg(&secret);
        let cat = Ran::of(user, cat);
        let (status, stdout) = (cat.status, cat.stdout.as_str());
        assert_eq!((status, stdout), (Some(1), ""), "{secret:?}: {options:?} {}", cat.stderr);
    }
}

#[test]
fn the_table_has_no_program_that_takes_too_many_rounds() {
    assert!(PROGRAMS.iter().all(|program| program.rounds <= MOST));
}

#[test]
fn git_clones_a_folder() {
    from_nothing("git clone, by path");
}

#[test]
fn git_clones_by_http() {
    from_nothing("git clone, by http");
}

#[test]
fn git_commits() {
    from_nothing("git commit");
}

#[test]
fn python_reads_a_file() {
    from_nothing("python");
}

#[test]
fn python_makes_an_environment() {
    from_nothing("python3 -m venv, and python in it");
}

#[test]
fn gcc_compiles_what_is_run() {
    from_nothing("gcc hello.c && ./a.out");
}

#[test]
fn gcc_keeps_to_its_folder() {
    from_nothing("gcc, with temporary files in the folder");
}

#[test]
fn what_is_made_run_and_removed() {
    from_nothing("a test program that is removed");
}

#[test]
fn make_builds_a_project() {
    from_nothing("make -j2");
}

#[test]
fn curl_fetches_a_file() {
    from_nothing("curl");
}

#[test]
fn sqlite3_makes_a_database() {
    from_nothing("sqlite3");
}

#[test]
fn tar_packs_a_folder() {
    from_nothing("tar -c");
}

#[test]
fn tar_unpacks() {
    from_nothing("tar -x");
}

#[test]
fn perl_uses_modules_and_a_temporary_file() {
    from_nothing("perl");
}

#[test]
fn node_reads_and_writes() {
    from_nothing("node");
}

#[test]
fn a_script_runs_its_pipes() {
    from_nothing("a script with pipes");
}

#[test]
fn ls_lists() {
    from_nothing("ls -l");
}

#[test]
fn less_shows_a_file_in_a_terminal() {
    from_nothing("less, in a terminal");
}

#[test]
fn vim_edits_a_file() {
    from_nothing("vim");
}
