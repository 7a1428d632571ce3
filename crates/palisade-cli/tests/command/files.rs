//! Policy files that cannot be trusted, or cannot be read: nothing is run, and what is wrong is said exactly.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Ran, User, each_user, found};

/// The mistakes of a policy, as `run` says them: nothing was run.
#[track_caller]
pub fn mistakes(ran: &Ran, mistakes: &[&str]) {
    let last = match mistakes.len() {
        1 => "this mistake in a policy".to_owned(),
        number => format!("these {number} mistakes in policies"),
    };
    let said: String = mistakes.iter().map(|mistake| format!("palisade: {mistake}\n")).collect();
    ran.said(125, "", &format!("{said}palisade: nothing was run, for {last}\n"));
}

/// What `run` says of a policy that is given by -p.
pub fn run_by(user: &User, policy: &str) -> Ran {
    user.palisade(["run", "-p", policy, "--", "echo", "ran"])
}

/// It is taken, and nothing is said of it.
#[track_caller]
pub fn is_valid(user: &User, policy: &str) {
    user.palisade(["check", policy]).said(0, &format!("{policy}: valid\n"), "");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Gives a file to somebody else, if whoever tests may do that.
fn give(path: &Path, uid: u32) -> bool {
    chown(path, Some(uid), Some(uid)).is_ok()
}

fn uid(user: &User) -> u32 {
    fs::metadata(user.home()).unwrap().uid()
}

/// Runs it by `timeout`, as what waits would wait without end.
fn in_time(user: &User, script: &str) -> Ran {
    let mut command = user.command("timeout");
    command.args(["30", "bash", "-c", script, "bash"]).arg(user.binary());
    Ran::of(user, command)
}

#[test]
fn a_file_of_another_user_is_refused_and_one_of_roots_is_not() {
    each_user(|user| {
        let file = user.file("p.toml", "");
        is_valid(user, "./p.toml");
        if !give(&file, 12345) {
            return;
        }
        let me = uid(user);
        let hint = format!(
            "who could change it; a policy belongs to root or to you (user {me}); read it, and make a copy of your own"
        );
        mistakes(&run_by(user, "./p.toml"), &[&format!("./p.toml: belongs to user 12345, {hint}")]);
        user.file("mine.toml", "include = \"./p.toml\"\n");
        mistakes(
            &run_by(user, "./mine.toml"),
            &[&format!(
                "./mine.toml:1:11: p.toml belongs to user 12345, {hint}\n  1 | include = \"./p.toml\"\n    |           ^^^^^^^^^^"
            )],
        );
        let ran = user.run("--within ./p.toml -- echo ran");
        mistakes(&ran, &[&format!("./p.toml: belongs to user 12345, {hint}")]);
        if user.is_root() {
            give(&file, 65534);
            mistakes(&run_by(user, "./p.toml"), &[&format!("./p.toml: belongs to user 65534, {hint}")]);
        }
        give(&file, 0);
        is_valid(user, "./p.toml");
    });
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    each_user(|user| {
        let file = user.file("p.toml", "");
        for refused in [0o664, 0o646, 0o666, 0o620, 0o602, 0o777, 0o4664] {
            mode(&file, refused);
            let said = format!(
                "./p.toml: can be written by others (its mode is {refused:04o}); chmod go-w takes that away"
            );
            mistakes(&run_by(user, "./p.toml"), &[&said]);
        }
        for taken in [0o644, 0o600, 0o400, 0o755] {
            mode(&file, taken);
            is_valid(user, "./p.toml");
        }
        // Root reads all the same.
        mode(&file, 0);
        if !user.is_root() {
            let said = "./p.toml: cannot be read: Permission denied (os error 13)";
            mistakes(&run_by(user, "./p.toml"), &[said]);
        }
    });
}

#[test]
fn only_a_regular_file_is_read_and_none_is_waited_for() {
    if !found(&["bash", "timeout", "mkfifo"]) {
        return;
    }
    each_user(|user| {
        user.folder("d");
        in_time(user, "mkfifo pipe").works();
        let _socket = UnixListener::bind(user.home().join("socket")).unwrap();
        let other = "is a pipe, a device or the like, and a policy is a regular file";
        for (policy, said) in [
            ("./d", "is a folder, and a policy is a regular file"),
            ("/", "is a folder, and a policy is a regular file"),
            ("./pipe", other),
            ("./socket", other),
            ("/dev/null", other),
            ("/dev/zero", other),
            ("/dev/stdin", other),
            ("./none", "does not exist; a name is given without ./"),
            ("./none.toml", "does not exist"),
            ("./d/none.toml", "does not exist"),
            ("/dev/null/x", "does not exist"),
        ] {
            let ran = in_time(user, &format!("\"$1\" run -p {policy} -- echo ran < /dev/null"));
            mistakes(&ran, &[&format!("{policy}: {said}")]);
        }
        let piped = in_time(user, "echo | \"$1\" run -p /dev/stdin -- echo ran");
        mistakes(&piped, &[&format!("/dev/stdin: {other}")]);
        let substituted = in_time(user, "\"$1\" run -p <(echo) -- echo ran");
        assert!(
            substituted.stderr.starts_with("palisade: /dev/fd/") && substituted.stderr.contains(other),
            "{}",
            substituted.stderr
        );
        assert_eq!((substituted.status, substituted.stdout.as_str()), (Some(125), ""));
        // What is redirected is a file all the same, and looked at as any other.
        let file = user.file("p.toml", "");
        in_time(user, "\"$1\" check /dev/stdin < p.toml").said(0, "/dev/stdin: valid\n", "");
        mode(&file, 0o666);
        let written = "/dev/stdin: can be written by others (its mode is 0666); chmod go-w takes that away";
        mistakes(&in_time(user, "\"$1\" run -p /dev/stdin -- echo ran < p.toml"), &[written]);
        mistakes(&run_by(user, ""), &["\"\": does not exist"]);
    });
}

#[test]
fn more_than_1_mib_is_not_read_whatever_size_a_file_claims() {
    each_user(|user| {
        let most = format!("#{}\n", "x".repeat((1 << 20) - 2));
        user.file("most.toml", &most);
        is_valid(user, "./most.toml");
        let larger = "is larger than 1 MiB, the most that a policy can have";
        user.file("more.toml", &format!("{most}\n"));
        mistakes(&run_by(user, "./more.toml"), &[&format!("./more.toml: {larger}")]);
        let sparse = user.file("sparse.toml", "");
        File::options().write(true).open(sparse).unwrap().set_len(1 << 40).unwrap();
        mistakes(&run_by(user, "./sparse.toml"), &[&format!("./sparse.toml: {larger}")]);
        // It claims to be empty.
        let symbols = "/proc/kallsyms";
        if fs::read(symbols).is_ok_and(|text| text.len() > 1 << 20) {
            mistakes(&run_by(user, symbols), &[&format!("{symbols}: {larger}")]);
        }
        let ran = run_by(user, "/proc/self/environ");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
        assert!(ran.stderr.starts_with("palisade: /proc/self/environ:1:"), "{}", ran.stderr);
        is_harmless(&ran);
    });
}

/// Nothing that a terminal takes for more than text.
#[track_caller]
pub fn is_harmless(ran: &Ran) {
    let odd = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
    };
    assert!(!ran.stderr.contains(odd) && !ran.stdout.contains(odd), "{:?} {:?}", ran.stdout, ran.stderr);
}

#[test]
fn what_is_no_text_is_refused() {
    each_user(|user| {
        let path = user.file("p.toml", "");
        fs::write(&path, b"# one\nfs.ro = [\"/\xff\"]\n").unwrap();
        let hint = "TOML is UTF-8; a path that is not can be written as { bytes = [47, 255] }";
        mistakes(&run_by(user, "./p.toml"), &[&format!("./p.toml: is no UTF-8, in line 2; {hint}")]);
        fs::write(&path, b"[fs]\nro = [\"/etc\0/x\"]\n").unwrap();
        let ran = run_by(user, "./p.toml");
        assert_eq!(ran.status, Some(125));
        assert!(ran.stderr.contains("palisade: ./p.toml:2:12: this is no TOML: "), "{}", ran.stderr);
        is_harmless(&ran);
        fs::write(&path, b"[fs]\nro = [\"/etc\\u0000/x\"]\n").unwrap();
        mistakes(
            &run_by(user, "./p.toml"),
            &[
                "./p.toml:2:7: a path cannot contain a NUL byte\n  2 | ro = [\"/etc\\\\u0000/x\"]\n    |       ^^^^^^^^^^^^^^^",
            ],
        );
    });
}

#[test]
fn a_link_is_followed_to_what_can_be_trusted_alone() {
    each_user(|user| {
        user.folder("d");
        user.folder("d/data");
        user.file("d/p.toml", "fs.ro = [\"data\"]\n");
        symlink("d/p.toml", user.home().join("link.toml")).unwrap();
        // Relative to where the file is.
        is_valid(user, "./link.toml");
        symlink("none.toml", user.home().join("dangling.toml")).unwrap();
        mistakes(&run_by(user, "./dangling.toml"), &["./dangling.toml: does not exist"]);
        symlink("loop.toml", user.home().join("loop.toml")).unwrap();
        let said = "./loop.toml: cannot be read: Too many levels of symbolic links (os error 40)";
        mistakes(&run_by(user, "./loop.toml"), &[said]);

        // The attacker's own link to a file of his, where everybody may put one.
        let sticky = user.folder("sticky");
        let evil = user.file("sticky/evil.toml", "fs.rw = [\"/\"]\n");
        symlink("evil.toml", sticky.join("p.toml")).unwrap();
        mode(&sticky, 0o1777);
        if !give(&evil, 12345) || std::os::unix::fs::lchown(sticky.join("p.toml"), Some(12345), None).is_err()
        {
            return;
        }
        let ran = run_by(user, "sticky/p.toml");
        let why = ["belongs to user 12345, who could change it", "Permission denied"];
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
        assert!(why.iter().any(|why| ran.stderr.contains(why)), "{}", ran.stderr);
    });
}

#[test]
fn a_file_that_is_exchanged_while_it_is_read_is_never_the_attackers() {
    each_user(|user| {
        let home = user.home();
        for (folder, port) in [("one", 1), ("two", 2), ("evil", 3)] {
            user.folder(folder);
            user.file(&format!("{folder}/p.toml"), &format!("net.bind_tcp = {port}\nfs.ro = '.'\n"));
        }
        if !give(&home.join("evil/p.toml"), 12345) {
            return;
        }
        let whole = |(folder, port): (&str, u8)| {
            format!("[fs]\nro = [\"{}\"]\n\n[net]\nbind_tcp = [{port}]\n", home.join(folder).display())
        };
        let whole = [("one", 1), ("two", 2)].map(whole);
        symlink("one/p.toml", home.join("p.toml")).unwrap();
        let over = AtomicBool::new(false);
        let outcomes: Vec<Ran> = std::thread::scope(|scope| {
            scope.spawn(|| {
                for folder in ["evil", "one", "two"].iter().cycle() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    symlink(format!("{folder}/p.toml"), home.join("next")).unwrap();
                    fs::rename(home.join("next"), home.join("p.toml")).unwrap();
                }
            });
            let show = || user.palisade(["show", "--format", "toml", "-p", "./p.toml"]);
            let outcomes = (0..200).map(|_| show()).collect();
            over.store(true, Ordering::Relaxed);
            outcomes
        });
        for ran in outcomes {
            match ran.status {
                Some(0) => assert!(whole.contains(&ran.stdout), "{}", ran.stdout),
                _ => assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), "")),
            }
        }
    });
}

#[test]
fn an_included_file_leaves_nothing_alone_however_deep() {
    each_user(|user| {
        user.file("one.toml", "include = [\"./p.toml\"]\n");
        user.file("two.toml", "include = [\"./one.toml\"]\n");
        let hint = "say it in the file that includes this one, or give this one with -p";
        let loose = "cannot be in a file that is included: it would loosen the other";
        for (text, what, place, marked) in [
            ("abi = 4", "abi", "7", "      ^"),
            ("unrestricted = [\"net\"]", "unrestricted", "17", "                ^^^^^"),
            ("unrestricted = \"udp\"", "unrestricted", "16", "               ^^^^^"),
            ("scope.signal = \"unrestricted\"", "unrestricted", "16", "               ^^^^^^^^^^^^^^"),
            ("scope.abstract = \"unrestricted\"", "unrestricted", "18", "                 ^^^^^^^^^^^^^^"),
        ] {
            user.file("p.toml", &format!("{text}\n"));
            let said = format!("p.toml:1:{place}: {what} {loose}; {hint}\n  1 | {text}\n    | {marked}");
            for by in ["./one.toml", "./two.toml"] {
                mistakes(&run_by(user, by), &[&said]);
            }
            is_valid(user, "./p.toml");
        }
        for text in ["[env]\nclear = true\n", "[env]\npass = [\"PATH\"]\n", "[env]\n"] {
            user.file("p.toml", text);
            for by in ["./one.toml", "./two.toml"] {
                let said = format!("p.toml:1:1: [env] {loose}; {hint}\n  1 | [env]\n    | ^^^^^");
                mistakes(&run_by(user, by), &[&said]);
            }
        }
        user.file("p.toml", "include = [\"offline\"]\n");
        let ran = run_by(user, "./two.toml");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
        assert!(
            ran.stderr.contains("the built-in policy offline:") && ran.stderr.contains(loose),
            "{}",
            ran.stderr
        );
        // To require less than usual is no way either.
        user.file("p.toml", "require = []\n");
        let ran = user.palisade(["show", "--format", "toml", "-p", "./two.toml"]);
        ran.said(0, "require = [\"fs\", \"tcp\"]\n", "");
    });
}

#[test]
fn files_that_include_one_another_are_a_circle_and_a_file_twice_is_none() {
    each_user(|user| {
        let home = user.home();
        user.file("self.toml", "include = \"./self.toml\"\n");
        let hint = "take one of them out";
        let marked =
            |text: &str| format!("\n  1 | include = {text}\n    |           {}", "^".repeat(text.len()));
        mistakes(
            &run_by(user, "./self.toml"),
            &[&format!(
                "./self.toml:1:11: this goes round in a circle: ./self.toml includes self.toml; {hint}{}",
                marked("\"./self.toml\"")
            )],
        );
        user.file("a.toml", "include = \"./b.toml\"\n");
        user.file("b.toml", "include = \"./link.toml\"\n");
        symlink("a.toml", home.join("link.toml")).unwrap();
        mistakes(
            &run_by(user, "./a.toml"),
            &[&format!(
                "b.toml:1:11: this goes round in a circle: ./a.toml includes b.toml includes link.toml; {hint}{}",
                marked("\"./link.toml\"")
            )],
        );
        user.folder(".config");
        user.folder(".config/palisade");
        user.file(".config/palisade/round.toml", "include = \"round\"\n");
        let shown = home.join(".config/palisade/round.toml");
        let shown = shown.display();
        mistakes(
            &run_by(user, "round"),
            &[&format!(
                "{shown}:1:11: this goes round in a circle: {shown} includes {shown}; {hint}{}",
                marked("\"round\"")
            )],
        );

        // A hard link is the same file by another name, and is not read without end.
        user.file("hard.toml", "include = \"./other.toml\"\n");
        fs::hard_link(home.join("hard.toml"), home.join("other.toml")).unwrap();
        let ran = run_by(user, "./hard.toml");
        assert_eq!(ran.status, Some(125));
        assert!(ran.stderr.contains("this goes round in a circle"), "{}", ran.stderr);

        user.file("leaf.toml", "net.connect_tcp = [443]\n");
        user.file(
            "twice.toml",
            "include = [\"./leaf.toml\", \"./leaf.toml\", \"./mid.toml\", \"dns\", \"dns\"]\n",
        );
        user.file("mid.toml", "include = [\"./leaf.toml\"]\n");
        let ran = user.palisade(["show", "--format", "toml", "-p", "./twice.toml"]);
        assert_eq!(ran.works().stdout.matches("443").count(), 1, "{}", ran.stdout);
    });
}

#[test]
fn files_include_one_another_32_deep_and_no_deeper() {
    each_user(|user| {
        user.folder("deep");
        for at in 1..40 {
            user.file(&format!("deep/{at}.toml"), &format!("include = \"./{}.toml\"\n", at + 1));
        }
        user.file("deep/32.toml", "fs.ro = [\"/usr\"]\n");
        is_valid(user, "deep/1.toml");
        user.file("deep/32.toml", "include = \"./33.toml\"\n");
        mistakes(
            &run_by(user, "deep/1.toml"),
            &[
                "deep/32.toml:1:11: files include one another more than 32 deep\n  1 | include = \"./33.toml\"\n    |           ^^^^^^^^^^^",
            ],
        );
    });
}

#[test]
fn what_is_included_and_cannot_be_read_is_said_of_the_line_that_includes_it() {
    each_user(|user| {
        user.folder("d");
        let text = "include = [\n  \"./none.toml\",\n  \"d\",\n  \"./d\",\n  \"/dev/zero\",\n  \"\",\n  \"~/../${X}\",\n]\n";
        user.file("p.toml", text);
        let ran = run_by(user, "./p.toml");
        let lines: Vec<&str> =
            ran.stderr.lines().filter(|line| line.starts_with("palisade: ./p.toml:")).collect();
        let known = "known are build, offline, readonly, ";
        assert_eq!(lines[0], "palisade: ./p.toml:2:3: none.toml does not exist");
        assert!(
            lines[1].starts_with(&format!("palisade: ./p.toml:3:3: there is no policy named \"d\"; {known}"))
        );
        assert_eq!(lines[2], "palisade: ./p.toml:4:3: d is a folder, and a policy is a regular file");
        assert_eq!(
            lines[3],
            "palisade: ./p.toml:5:3: /dev/zero is a pipe, a device or the like, and a policy is a regular file"
        );
        assert!(lines[4].starts_with("palisade: ./p.toml:6:3: "), "{}", lines[4]);
        assert!(lines[5].starts_with("palisade: ./p.toml:7:3: $ is here no variable"), "{}", lines[5]);
        assert_eq!((ran.status, ran.stdout.as_str(), lines.len()), (Some(125), "", 6));
    });
}

#[test]
fn the_mistakes_of_each_file_stand_together() {
    each_user(|user| {
        user.file("p.toml", "include = [\"./one.toml\", \"./two.toml\"]\nlast = 1\n");
        user.file("one.toml", "a = 1\n\nb = 1\n");
        user.file("two.toml", "\nc = 1\n");
        let ran = run_by(user, "./p.toml");
        let places: Vec<&str> = ran
            .stderr
            .lines()
            .filter_map(|line| Some(line.strip_prefix("palisade: ")?.split_once(": ")?.0))
            .collect();
        assert_eq!(places, ["./p.toml:2:1", "one.toml:1:1", "one.toml:3:1", "two.toml:2:1"]);
    });
}

#[test]
fn no_file_takes_the_place_of_a_name_that_is_built_in() {
    each_user(|user| {
        let work = user.folder("work");
        user.folder(".config");
        user.folder(".config/palisade");
        for name in ["build", "offline", "readonly", "system", "dns", "tty"] {
            for place in ["work", ".config/palisade"] {
                for end in ["", ".toml"] {
                    user.file(&format!("{place}/{name}{end}"), "this is broken\n");
                }
            }
            for option in ["-p", "--within"] {
                let mut show = user.command(user.binary());
                show.current_dir(&work).args(["show", option, name]);
                let ran = Ran::of(user, show);
                assert!(!ran.stderr.contains("no TOML"), "{}", ran.stderr);
            }
            user.file("work/p.toml", &format!("include = [\"{name}\"]\n"));
            let mut run = user.command(user.binary());
            run.current_dir(&work).args(["show", "-p", "./p.toml"]);
            let ran = Ran::of(user, run);
            assert!(!ran.stderr.contains("no TOML"), "{}", ran.stderr);
        }
    });
}

#[test]
fn a_name_is_looked_up_in_the_users_folder_and_a_broken_file_there_is_an_error() {
    each_user(|user| {
        user.folder(".config");
        let folder = user.folder(".config/palisade");
        let file = user.file(".config/palisade/mine.toml", "net.connect_tcp = [443]\n");
        let shown = file.display().to_string();
        let toml = |name: &str| user.palisade(["show", "--format", "toml", "-p", name]);
        toml("mine").said(0, "[net]\nconnect_tcp = [443]\n", "");
        mode(&file, 0o666);
        let written =
            format!("mine: {shown} can be written by others (its mode is 0666); chmod go-w takes that away");
        mistakes(&run_by(user, "mine"), &[&written]);
        fs::remove_file(&file).unwrap();
        symlink("none", &file).unwrap();
        mistakes(&run_by(user, "mine"), &[&format!("mine: {shown} does not exist")]);
        fs::remove_file(&file).unwrap();
        if !user.is_root() {
            mode(&folder, 0);
            let closed = format!("mine: {shown} cannot be read: Permission denied (os error 13)");
            mistakes(&run_by(user, "mine"), &[&closed]);
            mode(&folder, 0o755);
        }

        // A relative XDG_CONFIG_HOME is none; an absolute one is in place of ~/.config.
        user.folder("xdg");
        user.folder("xdg/palisade");
        user.file("xdg/palisade/mine.toml", "net.connect_tcp = [1]\n");
        user.file(".config/palisade/mine.toml", "net.connect_tcp = [2]\n");
        let by = |xdg: &Path| {
            let mut show = user.command(user.binary());
            show.env("XDG_CONFIG_HOME", xdg).args(["show", "--format", "toml", "-p", "mine"]);
            Ran::of(user, show)
        };
        by(Path::new("xdg")).said(0, "[net]\nconnect_tcp = [2]\n", "");
        by(Path::new("")).said(0, "[net]\nconnect_tcp = [2]\n", "");
        by(&user.home().join("xdg")).said(0, "[net]\nconnect_tcp = [1]\n", "");

        for odd in ["-", "n0ne", "..", "Mine", "mine.toml", "a/mine", "../mine"] {
            assert_eq!(run_by(user, odd).status, Some(125), "{odd}");
        }
    });
}
