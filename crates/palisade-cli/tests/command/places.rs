//! Where the paths of a policy file lead: variables, links, and words that are meant to deceive who reads them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::common::{Ran, User, each_user};
use crate::files::{is_harmless, is_valid, mistakes, run_by};

/// What `run` says of a policy where variables are set, or taken away.
fn with(user: &User, policy: &str, variables: &[(&str, Option<&OsStr>)]) -> Ran {
    let mut run = user.command(user.binary());
    run.args(["run", "-p", policy, "--", "echo", "ran"]);
    for (name, value) in variables {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    Ran::of(user, run)
}

/// The one mistake of a policy with this path in it.
fn about(path: &str, message: &str) -> String {
    let width = path.chars().count() + 2;
    format!("./p.toml:2:7: {message}\n  2 | ro = [\"{path}\"]\n    |       {}", "^".repeat(width))
}

#[test]
fn a_variable_that_is_wider_than_it_looks_is_refused() {
    each_user(|user| {
        symlink("/", user.home().join("root")).unwrap();
        let link = user.home().join("root");
        let long = user.home().join("root/./usr/..");
        let set = "set the variable, or write the path out";
        let whole = |value: &OsStr, what: &str| format!("is \"{}\", {what}; {set}", value.to_str().unwrap());
        let values: Vec<(Option<&OsStr>, String)> =
            vec![(None, format!("is not set; {set}")), (Some(OsStr::new("")), format!("is empty; {set}"))];
        let root = ["/", "//", "/.", "/./", "///.", "/proc/self/root", link.to_str().unwrap()];
        let odd =
            ["relative", ".", "..", "./x", "/../", "/..", "/usr/..", "/usr/../", long.to_str().unwrap()];
        let root = root.map(OsStr::new).map(|value| (Some(value), whole(value, "the whole system")));
        let odd = odd.map(OsStr::new).map(|value| (Some(value), whole(value, "which is no whole path")));
        for (value, said) in values.into_iter().chain(root).chain(odd) {
            for (path, variable, shown) in [
                ("~", "HOME", "~ (HOME)"),
                ("~/x", "HOME", "~ (HOME)"),
                ("${HOME}", "HOME", "~ (HOME)"),
                ("${VAR}", "VAR", "${VAR}"),
                ("${VAR}/x", "VAR", "${VAR}"),
            ] {
                user.file("p.toml", &format!("[fs]\nro = [\"{path}\"]\n"));
                let ran = with(user, "./p.toml", &[(variable, value)]);
                mistakes(&ran, &[&about(path, &format!("{shown} {said}"))]);
                user.file("a.toml", "include = \"./p.toml\"\n");
                let ran = with(user, "./a.toml", &[(variable, value)]);
                assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{}", ran.stderr);
            }
        }
        let hostile = OsStr::from_bytes(b"/x\xff\x1b[2J\n/..");
        let ran = with(user, "./p.toml", &[("VAR", Some(hostile))]);
        let shown = format!("${{VAR}} is \"/x\\xff\\u{{1b}}[2J\\n/..\", which is no whole path; {set}");
        mistakes(&ran, &[&about("${VAR}/x", &shown)]);
    });
}

#[test]
fn a_variable_stands_at_the_beginning_and_alone() {
    each_user(|user| {
        let alone = "a variable is a whole folder, and stands alone or before a /; as ${XDG_RUNTIME_DIR}/bus";
        let own = "~ is your own home folder, and stands alone or before a /; write another user's folder out; a file whose name begins with ~ is ./~…";
        let here = "$ is here no variable; a variable is written ${NAME}, at the beginning of a path; $ itself is $$";
        let open = "${ has no }; a variable is written ${HOME}, and $ itself $$";
        for (path, said) in [
            ("~root", own),
            ("~root/x", own),
            ("~~", own),
            ("~$", own),
            ("${HOME}x", alone),
            ("${HOME}.d/x", alone),
            ("${HOME}${HOME}", alone),
            ("${HOME}$$", alone),
            ("$HOME", here),
            ("$HOME/x", here),
            ("/a/${HOME}", here),
            ("a/${HOME}/b", here),
            ("~/${HOME}", here),
            ("$$$", here),
            ("x$", here),
            ("${", open),
            ("${HOME", open),
            ("${HOME/x", open),
            ("${}", "\"\" is no name of a variable; as ${HOME}"),
            ("${}/x", "\"\" is no name of a variable; as ${HOME}"),
            ("${A=B}", "\"A=B\" is no name of a variable; as ${HOME}"),
            ("${${HOME}}", alone),
        ] {
            user.file("p.toml", &format!("[fs]\nro = [\"{path}\"]\n"));
            mistakes(&run_by(user, "./p.toml"), &[&about(path, said)]);
        }
        // A name of several dollars, a tilde in the middle: as they are written.
        for (path, name) in [
            ("$$", "$"),
            ("$$HOME", "$HOME"),
            ("$${HOME}", "${HOME}"),
            ("a$$b$$$$", "a$b$$"),
            ("./~", "~"),
            ("x~", "x~"),
            ("*", "*"),
        ] {
            user.file(name, "");
            user.file("p.toml", &format!("[fs]\nro = [\"{path}\"]\n"));
            is_valid(user, "./p.toml");
            let ran = user.palisade(["show", "--format", "toml", "-p", "./p.toml"]);
            let whole = user.home().join(name).display().to_string().replace('$', "$$");
            ran.said(0, &format!("[fs]\nro = [\"{whole}\"]\n"), "");
        }
    });
}

#[test]
fn a_relative_path_to_write_to_stays_in_the_folder_of_its_file() {
    each_user(|user| {
        let home = user.home();
        let folder = user.folder("policy");
        user.folder("policy/d");
        user.folder("outside");
        user.file("outside/file", "");
        // Its name begins as that of the folder does.
        user.folder("policy2");
        for (link, to) in [
            ("absolute", home.join("outside")),
            ("relative", "../outside".into()),
            ("chain", "chain2".into()),
            ("chain2", "d/up".into()),
            ("d/up", "../../outside".into()),
            ("dangling", home.join("nothing")),
            ("round", "round".into()),
            ("within", "d".into()),
        ] {
            symlink(to, folder.join(link)).unwrap();
        }
        let (inside, out) = (folder.display(), home.join("outside"));
        let (home, out) = (home.display(), out.display());
        let leads = |to: &str| {
            format!(
                "this leads to {to}, out of the folder of the file, {inside}; if that is meant, write the whole path"
            )
        };
        let dangling = "this leads through a symbolic link to what does not exist; make it first; or write the whole path";
        let refused = [
            ("..", leads(&home.to_string())),
            ("../policy2", leads(&format!("{home}/policy2"))),
            ("../outside/file", leads(&format!("{out}/file"))),
            ("d/../../outside", leads(&out.to_string())),
            ("./d/.././../outside", leads(&out.to_string())),
            ("absolute", leads(&out.to_string())),
            ("relative", leads(&out.to_string())),
            ("relative/file", leads(&format!("{out}/file"))),
            ("chain", leads(&out.to_string())),
            ("chain/file", leads(&format!("{out}/file"))),
            ("d/up", leads(&out.to_string())),
            ("d/up/not/there", leads(&format!("{out}/not/there"))),
            ("absolute/not/there", leads(&format!("{out}/not/there"))),
            ("not/../../outside", leads(&format!("{inside}/not/../../outside"))),
            ("not/there/../../x", leads(&format!("{inside}/not/there/../../x"))),
            ("dangling", dangling.to_owned()),
            ("dangling/x", dangling.to_owned()),
            ("round", dangling.to_owned()),
        ];
        let allow = |rights: &str, path: &str| {
            format!("[[fs.allow]]\nrights = \"{rights}\"\npaths = {path}\noptional = true\n")
        };
        for (path, said) in &refused {
            let bytes: Vec<String> = path.bytes().map(|byte| byte.to_string()).collect();
            let bytes = format!("{{ bytes = [{}] }}", bytes.join(", "));
            let quoted = format!("\"{path}\"");
            for text in [
                format!("fs.rw = {quoted}\n"),
                format!("fs.rwx = {quoted}\n"),
                format!("fs.rw = {bytes}\n"),
                format!("unix.connect = {quoted}\n"),
                allow("w", &quoted),
                allow("c", &quoted),
                allow("r,ioctl_dev", &quoted),
                allow("resolve_unix", &quoted),
                allow("read_file,make_char", &quoted),
                allow("truncate", &bytes),
            ] {
                user.file("policy/p.toml", &text);
                for policy in ["policy/p.toml", "./a.toml"] {
                    user.file("a.toml", "include = \"policy/p.toml\"\n");
                    let ran = run_by(user, policy);
                    assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{text}");
                    assert!(ran.stderr.contains(&format!(": {said}\n")), "{text}: {said}: {}", ran.stderr);
                }
            }
            for text in [format!("fs.ro = {quoted}\n"), format!("fs.rx = {bytes}\n"), allow("rx", &quoted)] {
                user.file("policy/p.toml", &text);
                assert_eq!(user.palisade(["check", "policy/p.toml"]).status, Some(0), "{text}");
            }
        }
        for path in [".", "./", "d", "d/..", "within", "../policy/d", "absolute/../policy/d"] {
            user.file("policy/p.toml", &format!("fs.allow = [{{ paths = \"{path}\", rights = \"rwc\" }}]\n"));
            let ran = user.palisade(["check", "policy/p.toml"]);
            assert_eq!(
                (ran.status, ran.stderr.contains("leads")),
                (Some(0), false),
                "{path}: {}",
                ran.stderr
            );
        }
        // The whole path may lead anywhere.
        user.file("policy/p.toml", &format!("fs.rw = \"{out}\"\n"));
        is_valid(user, "policy/p.toml");
    });
}

#[test]
fn a_policy_that_is_built_in_gives_neither_the_home_folder_nor_the_system() {
    each_user(|user| {
        let home = user.home();
        let deep = user.folder("deep");
        for (folder, home) in [
            ("/".as_ref(), home.clone()),
            (home.as_path(), home.clone()),
            (home.parent().unwrap(), home.clone()),
            (home.as_path(), deep.clone()),
            (home.as_path(), home.join("./deep/..")),
        ] {
            let mut run = user.command(user.binary());
            run.current_dir(folder).env("HOME", home).args(["run", "-p", "build", "--", "echo", "ran"]);
            let ran = Ran::of(user, run);
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{folder:?}");
            let said = format!(
                "\".\" is here {}, the current folder; go to the folder of your project",
                folder.display()
            );
            assert!(ran.stderr.contains(&said), "{}", ran.stderr);
        }
        let mut run = user.command(user.binary());
        run.current_dir("/").env_remove("HOME").args(["run", "-p", "readonly", "--", "echo", "ran"]);
        let ran = Ran::of(user, run);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
        assert!(ran.stderr.contains("\".\" is here /, the current folder"), "{}", ran.stderr);
        let mut check = user.command(user.binary());
        check.current_dir(deep).args(["check", "build"]);
        Ran::of(user, check).said(0, "build: valid\n", "");
    });
}

#[test]
fn what_a_hostile_file_says_is_shown_harmless_and_marked_where_it_stands() {
    each_user(|user| {
        let cases: [(&str, &str); 9] = [
            ("\u{9b}\u{1b}]0;x\u{7}", r"\u{9b}\u{1b}]0;x\u{7}"),
            ("\u{202e}\u{2066}evil", r"\u{202e}\u{2066}evil"),
            ("a\u{200b}\u{feff}", r"a\u{200b}\u{feff}"),
            ("a\u{2028}b", r"a\u{2028}b"),
            ("a\tb", r"a\tb"),
            ("a\\\\b", r"a\\\\b"),
            ("\u{85}", r"\u{85}"),
            ("äöü", "äöü"),
            ("\u{1f980}\u{e0041}", "\u{1f980}\\u{e0041}"),
        ];
        for (raw, shown) in cases {
            // What TOML does not take as it is.
            let raw = raw.replace(['\u{1b}', '\u{7}'], "");
            let shown = shown.replace(r"\u{1b}", "").replace(r"\u{7}", "");
            user.file(
                "p.toml",
                &format!("[fs]\n'{raw}' = 1 #{raw}\n\"{raw}\" = 1\nro = ['{raw}', 7] #{raw}\n"),
            );
            let ran = run_by(user, "./p.toml");
            is_harmless(&ran);
            let marked = format!(
                "  4 | ro = ['{shown}', 7] #{shown}\n    | {}^\n",
                " ".repeat(shown.chars().count() + 10)
            );
            assert!(ran.stderr.contains(&marked), "{raw:?}: {}", ran.stderr);
            let column = raw.chars().count() + 11;
            assert!(
                ran.stderr.contains(&format!("./p.toml:4:{column}: ro takes a list of paths")),
                "{}",
                ran.stderr
            );
            let keys =
                format!("  2 | '{shown}' = 1 #{shown}\n    | {}\n", "^".repeat(shown.chars().count() + 2));
            assert!(ran.stderr.contains(&keys), "{raw:?}: {}", ran.stderr);
        }
        // By an escape of TOML's, in each place in which a word can be.
        for word in [r"\u001b[2J\u0007", r"\u202e", r"\n\npalisade: all is well", r"\r\t\b", r"\u009b"] {
            let text = format!(
                "require = \"{word}\"\nunrestricted = [\"{word}\"]\ninclude = [\"{word}\", \"./{word}\"]\n\"{word}\" = 1\n\
                 [fs]\nro = [\"{word}\", \"${{{word}}}\", \"~{word}\"]\nrw = [\"../{word}\"]\n[[fs.allow]]\nrights = \"{word}\"\n\
                 paths = []\nkind = \"{word}\"\n[net]\nbind_tcp = \"{word}\"\n[scope]\nsignal = \"{word}\"\n[env]\npass = \"{word}=\"\n"
            );
            user.file("p.toml", &text);
            let ran = run_by(user, "./p.toml");
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
            is_harmless(&ran);
            assert!(!ran.stderr.contains("\npalisade: all is well"), "{}", ran.stderr);
            let places = ran.stderr.lines().filter(|line| line.starts_with("palisade: ./p.toml:")).count();
            assert_eq!(places, 13, "{}", ran.stderr);
        }
    });
}

#[test]
fn names_of_files_are_shown_harmless() {
    each_user(|user| {
        let name = "\u{1b}]0;x\u{7}\u{202e}\npalisade: all is well.toml";
        let shown = r"\u{1b}]0;x\u{7}\u{202e}\npalisade: all is well.toml";
        user.file(name, "x = 1\n");
        let hint = "its keys are include, abi, require, unrestricted, fs, net, unix, scope, env";
        let mistake = format!("{shown}:1:1: \"x\" is no key of a policy; {hint}\n  1 | x = 1\n    | ^");
        mistakes(&run_by(user, name), &[&mistake]);
        mistakes(&run_by(user, &format!("{name}x")), &[&format!("{shown}x: does not exist")]);
        // Warnings, skipped paths and refusals, each with names of the attacker's.
        user.file(name, "[[fs.allow]]\npaths = [\"no\\u001b\\n\"]\nrights = \"r\"\noptional = true\n");
        let long = format!("{name}x");
        for args in [
            vec!["run", "-p", name, "--", "true"],
            vec!["run", "-v", "-p", name, "--", "true"],
            vec!["run", "--dry-run", "-p", name, "--within", name, "--", "true"],
            vec!["run", "--within", name, "--", "true"],
            vec!["show", "-p", name],
            vec!["check", name],
            vec!["check", &long],
            vec!["why", "-p", name, "read", "/etc/passwd"],
        ] {
            is_harmless(&user.palisade(args));
        }
    });
}

#[test]
fn a_long_line_is_shown_in_part_with_the_mark_below_the_mistake() {
    each_user(|user| {
        let many = "\"/usr\", ".repeat(3000);
        user.file("p.toml", &format!("fs.ro = [{many}7, {many}]\n"));
        let (before, after) = (&many[many.len() - 36..], &many[..33]);
        let column = 10 + many.len();
        mistakes(
            &run_by(user, "./p.toml"),
            &[&format!(
                "./p.toml:1:{column}: ro takes a list of paths, as [\"/etc\", \"~/.gitconfig\"], and this is a number\n  1 | …{before}7, {after}…\n    | {}^",
                " ".repeat(37)
            )],
        );
        // As many mistakes as a file can have are found in time.
        user.file("p.toml", &format!("fs.ro = [\n{}]\n", "7,\n".repeat(20_000)));
        let ran = run_by(user, "./p.toml");
        assert!(ran.stderr.ends_with("nothing was run, for these 20000 mistakes in policies\n"));
    });
}
