//! `palisade learn` by what it prints and writes: the file, and what is learned and what is not.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use palisade::{Grant, PolicyFile, What};

use crate::common::{Ran, User, each_user, found};

/// What each file that is learned begins with.
const FIRST: &str = "# Written by palisade learn.\n";

/// `palisade learn` with these words, in a folder.
fn learn_in(user: &User, folder: &Path, options: &str, command: &[&str]) -> Ran {
    let mut timeout = user.command("timeout");
    // What waits for ever has failed.
    timeout.args(["-s", "KILL", "200"]).arg(user.binary()).arg("learn").args(options.split_whitespace());
    timeout.arg("--").args(command).current_dir(folder);
    Ran::of(user, timeout)
}

/// The same in his own folder.
pub fn learn(user: &User, options: &str, command: &[&str]) -> Ran {
    learn_in(user, &user.home(), options, command)
}

/// The policy of a script, each file for itself.
#[track_caller]
fn exact(user: &User, script: &str) -> String {
    let ran = learn(user, "-q --fold exact", &["sh", "-c", script]);
    assert_eq!(ran.stderr, "", "{script}");
    rules(&ran.stdout).to_owned()
}

fn text(user: &User, name: &str) -> String {
    fs::read_to_string(user.home().join(name)).unwrap()
}

/// What comes after the head of a new file, in which COMMAND stands.
pub fn rules(policy: &str) -> &str {
    policy.split_once("\n\n").map_or("", |(_, rules)| rules)
}

/// The names in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

/// Compiles `learn.c` as `learn` in his folder.
fn helper(user: &User) {
    user.file("learn.c", include_str!("learn.c"));
    let mut cc = user.command("cc");
    cc.args(["-O1", "-Wall", "-Werror", "-pthread", "-o", "learn", "learn.c"]);
    Ran::of(user, cc).works();
}

/// It failed before anything was run, and said this.
#[track_caller]
fn not_run(user: &User, ran: &Ran, words: &str) {
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("palisade: ") && ran.stderr.contains(words), "{}", ran.stderr);
    assert!(!user.home().join("made").exists(), "{words}");
}

/// The paths that a policy grants, looked at from a folder.
fn paths(text: &str, folder: &Path) -> BTreeSet<PathBuf> {
    let home = folder.to_owned().into_os_string();
    let file = PolicyFile::parse(text, folder, &|name| (name == "HOME").then(|| home.clone())).unwrap();
    let stated = file.stated().filter_map(|stated| match &stated.what {
        What::Grant(Grant::Path { path, .. }) => Some(folder.join(path)),
        _ => None,
    });
    stated.collect()
}

#[test]
fn learned_file_is_for_its_owner_and_replaced_as_a_whole() {
    each_user(|user| {
        let path = user.home().join("p.toml");
        let mode = |name: &str| fs::metadata(user.home().join(name)).unwrap().mode() & 0o7777;
        learn(user, "-q -o p.toml", &["true"]).works();
        assert_eq!(mode("p.toml"), 0o600);
        assert!(text(user, "p.toml").starts_with(FIRST));
        // Whoever has the old one open or by another name keeps it; the new one is as readable.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::hard_link(&path, user.home().join("old")).unwrap();
        let old = text(user, "old");
        learn(user, "-q -o p.toml", &["cat", "/etc/passwd"]);
        assert_eq!((mode("p.toml"), text(user, "old")), (0o644, old.clone()));
        assert_ne!(text(user, "p.toml"), old);
        // The file that a link leads to is replaced, and the link stays.
        symlink("p.toml", user.home().join("link")).unwrap();
        learn(user, "-q -o link", &["true"]).works();
        assert!(fs::symlink_metadata(user.home().join("link")).unwrap().is_symlink());
        assert_eq!(text(user, "p.toml"), old);
        assert_eq!(names(&user.home()), ["link", "old", "p.toml"].map(String::from).into());
    });
}

#[test]
fn learned_file_and_its_temporary_are_not_there_while_command_runs() {
    each_user(|user| {
        let ran = learn(user, "-q -o p.toml", &["ls", "-A"]);
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
        assert_eq!(names(&user.home()), ["p.toml".to_owned()].into());
    });
}

#[test]
fn what_learn_has_not_written_is_not_replaced() {
    each_user(|user| {
        let make = ["touch", "made"];
        user.file("mine", "[fs]\n");
        let ran = learn(user, "-o mine", &make);
        not_run(user, &ran, "was not written by palisade learn: --from mine adds to it, or remove it");
        for (name, why) in [
            (".", "is a folder"),
            ("nosuch/p.toml", "no file can be made in nosuch: No such file or directory"),
        ] {
            not_run(user, &learn(user, &format!("-o {name}"), &make), &format!("{name}: {why}"));
        }
        let empty = user.palisade(["learn", "-o", "", "--", "touch", "made"]);
        not_run(user, &empty, "is no name of a file; nothing was run");
        if !user.is_root() {
            let ran = learn(user, "-o ../p.toml", &make);
            not_run(user, &ran, "../p.toml: no file can be made in ..: Permission denied");
        }
        assert_eq!(text(user, "mine"), "[fs]\n");
        assert_eq!(names(&user.home()), ["mine".to_owned()].into());
    });
}

/// COMMAND is confined, palisade is not: by what it makes of the names it cannot have palisade write elsewhere.
#[test]
fn confined_command_cannot_lead_the_file_elsewhere() {
    each_user(|user| {
        let box_ = user.folder("box");
        user.file("ceiling.toml", "include = [\"system\"]\n[fs]\nrw = [\"box\"]\n");
        let mine = user.file("mine", "mine\n");
        let target = mine.display();
        let within = |script: &str| {
            let ran = learn_in(user, &box_, "-q -o s/p.toml --within ../ceiling.toml", &["sh", "-c", script]);
            assert_eq!(text(user, "mine"), "mine\n", "{script}");
            assert_eq!(fs::metadata(&mine).unwrap().mode() & 0o777, 0o644, "{script}");
            ran
        };
        let lost = "palisade: s/p.toml cannot be written: it was made or changed while COMMAND ran; the policy was \
                    written to standard output\n";
        let fresh = || {
            let _ = fs::remove_dir_all(&box_);
            user.folder("box");
            user.folder("box/s");
        };
        for script in [
            format!("ln -s {target} s/p.toml"),
            "echo made >s/p.toml".to_owned(),
            "mkdir s/p.toml".to_owned(),
        ] {
            fresh();
            let ran = within(&script);
            assert_eq!((ran.status, ran.stderr.as_str()), (Some(125), lost), "{script}");
            assert!(ran.stdout.starts_with(FIRST), "{script}: {}", ran.stdout);
        }
        // What was there, and was changed, is not replaced either.
        fresh();
        let old = user.file("box/s/p.toml", FIRST);
        assert_eq!(within("echo changed >>s/p.toml").stderr, lost);
        assert_eq!(fs::read_to_string(old).unwrap(), format!("{FIRST}changed\n"));
        // The folder is the one that it was, wherever it is by now.
        fresh();
        within(&format!("mv s t; ln -s {} s", user.home().display())).works();
        assert!(box_.join("t/p.toml").exists() && !user.home().join("p.toml").exists());
        // The name of the temporary file is taken.
        fresh();
        within(&format!("for i in 0 1 2; do ln -s {target} s/.palisade-learn-$PPID-$i; done")).works();
        assert!(fs::read_to_string(box_.join("s/p.toml")).unwrap().starts_with(FIRST));
    });
}

#[test]
fn what_is_added_to_keeps_its_text_and_its_time() {
    each_user(|user| {
        user.file("a", "");
        user.file("b", "");
        let old = "# mine\ninclude = 'system'\n\n[fs]\nro = [ 'a' ]  # why\n# end\n";
        let path = user.file("p.toml", old);
        let begin = |name: &str| fs::metadata(user.home().join(name)).unwrap().mtime_nsec();
        let before = begin("p.toml");
        let ran = learn(user, "--from p.toml", &["cat", "a"]);
        assert!(ran.stderr.contains("p.toml: nothing has to be added"), "{}", ran.stderr);
        assert_eq!((text(user, "p.toml").as_str(), begin("p.toml")), (old, before));
        learn(user, "-q --from p.toml", &["cat", "a", "b"]).works();
        let new = text(user, "p.toml");
        let mut rest = new.lines();
        for line in ["# mine", "include = 'system'", "[fs]", "# end"] {
            assert!(rest.any(|other| other == line), "{line} in {new}");
        }
        assert!(new.contains("# why") && !new.contains(FIRST), "{new}");
        let both = ["a", "b"].map(|name| user.home().join(name));
        assert!(both.iter().all(|path| paths(&new, &user.home()).contains(path)), "{new}");
        // To another file.
        let inode = fs::metadata(&path).unwrap().ino();
        learn(user, "-q --from p.toml -o q.toml", &["cat", "a"]).works();
        assert_eq!((text(user, "q.toml"), fs::metadata(&path).unwrap().ino()), (new.clone(), inode));
        let again = learn(user, "-q --from p.toml -o q.toml", &["cat", "a"]);
        assert!(again.stderr.contains("was not written by palisade learn"), "{}", again.stderr);
    });
}

#[test]
fn what_run_would_not_read_is_not_added_to() {
    each_user(|user| {
        let make = ["touch", "made"];
        user.file("broken.toml", "[fs]\nro = x\nnosuch = 1\n");
        fs::set_permissions(user.file("open.toml", ""), Permissions::from_mode(0o666)).unwrap();
        for name in ["broken.toml", "open.toml", "nosuch.toml"] {
            let run = user.run(&format!("-p ./{name} -- true"));
            let ran = learn(user, &format!("--from ./{name}"), &make);
            not_run(user, &ran, "nothing was run, for what is wrong with the file of --from");
            // All but the last line is the same.
            let mistakes = |said: &str| said.rsplit_once("palisade: ").unwrap().0.to_owned();
            assert_eq!(mistakes(&ran.stderr), mistakes(&run.stderr), "{name}");
        }
        assert!(text(user, "broken.toml").starts_with("[fs]\nro = x\n"));
    });
}

#[test]
fn a_diff_is_shown_and_nothing_written() {
    each_user(|user| {
        user.file("a", "");
        let old = "include = [\"system\"]\n";
        user.file("p.toml", old);
        let ran = learn(user, "-q --from p.toml --diff", &["cat", "a"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(1), ""), "{}", ran.stdout);
        assert!(ran.stdout.starts_with("--- p.toml\n+++ p.toml\n@@ "), "{}", ran.stdout);
        let added = ran.stdout.lines().filter(|line| line.starts_with('+')).any(|line| line.contains("/a\""));
        assert!(added, "{}", ran.stdout);
        learn(user, "-q --from p.toml --diff", &["true"]).said(0, "", "");
        assert_eq!(text(user, "p.toml"), old);
        // Against nothing; a file that is not there is not made.
        let new = learn(user, "-q -o new.toml --diff", &["cat", "a"]);
        assert_eq!(new.status, Some(1));
        assert!(new.stdout.contains("\n+# Written by palisade learn.\n"), "{}", new.stdout);
        assert_eq!(names(&user.home()), ["a", "p.toml"].map(String::from).into());
    });
}

#[test]
fn what_is_given_stands_in_the_file_and_is_not_learned_again() {
    each_user(|user| {
        user.folder("d");
        user.file("d/a", "");
        let given = "--preset system --ro d --connect-tcp 443 --unrestricted signal";
        let ran = learn(user, &format!("-q {given}"), &["sh", "-c", "cat d/a; kill -0 $PPID"]);
        ran.works();
        let expected = "include = [\n    \"system\",  # given to palisade learn\n]\n\n\
                        [fs]\nro = [\n    \"~/d\",  # given to palisade learn\n]\n\n\
                        [net]\nconnect_tcp = [\n    443,  # given to palisade learn\n]\n\n\
                        [scope]\nsignal = \"unrestricted\"  # given to palisade learn\n";
        assert_eq!(ran.stdout.split_once("\n\n").unwrap().1, expected);
        user.file("base.toml", "[fs]\nro = [\"d\"]\n");
        let ran = learn(user, "-q -p ./base.toml -p tmp", &["cat", "d/a"]);
        let base = user.home().join("base.toml");
        let expected = format!(
            "include = [\n    \"{}\",  # given to palisade learn\n    \"tmp\",{}  # given to palisade learn\n]\n",
            base.display(),
            " ".repeat(base.as_os_str().len() - 3)
        );
        assert_eq!(ran.works().stdout.split_once("\n\n").unwrap().1, expected);
        not_run(user, &learn(user, "--ro nosuch", &["touch", "made"]), "nosuch");
    });
}

#[test]
fn what_is_for_run_is_refused() {
    each_user(|user| {
        for option in ["--abi 3", "--require net", "--strict", "--best-effort"] {
            let name = option.split(' ').next().unwrap();
            let ran = learn(user, option, &["touch", "made"]);
            not_run(
                user,
                &ran,
                &format!("{name} is for palisade run: what is learned holds on every kernel"),
            );
        }
        let ran = learn(user, "--verify", &["touch", "made"]);
        not_run(user, &ran, "--verify takes a file, to run COMMAND with: name it by --output");
    });
}

#[test]
fn what_came_to_nothing_is_not_learned() {
    each_user(|user| {
        user.folder("there");
        user.file("closed", "");
        fs::set_permissions(user.home().join("closed"), Permissions::from_mode(0o000)).unwrap();
        let nothing = "test -e nosuch; cat nosuch; mkdir there; rmdir nosuch; rm -f nosuch; : <nosuch; \
                       ln -s x there/nosuch/y; mv nosuch other; cd nosuch";
        let policy = exact(user, &format!("exec 2>/dev/null; {nothing}; :"));
        assert!(!policy.contains("~") && !policy.contains("[scope]"), "{policy}");
        for word in ["make", "remove", "write", "refer", "truncate"] {
            let rights = policy.lines().any(|line| line.starts_with("rights") && line.contains(word));
            assert!(!rights, "{word} in {policy}");
        }
        if !user.is_root() {
            let policy = exact(user, "cat closed 2>/dev/null; : 2>/dev/null >/etc/passwd; :");
            assert!(!policy.contains("~/closed") && !policy.contains("/etc/passwd"), "{policy}");
        }
        // Or else it would show nothing.
        let policy = exact(user, "mkdir new; : >new/file; rm new/file; rmdir new");
        assert!(policy.contains("\"~\"") && policy.contains("remove_file"), "{policy}");
    });
}

#[test]
fn signals_and_abstract_names_are_learned_if_they_are_of_others() {
    if !found(&["perl"]) {
        return;
    }
    each_user(|user| {
        let policy = exact(user, "sleep 100 & kill $!; kill -0 $$; wait; :");
        assert!(!policy.contains("[scope]"), "{policy}");
        let policy = exact(user, "kill -0 $PPID");
        assert!(policy.contains("[scope]\nsignal = \"unrestricted\"  # "), "{policy}");

        let name = format!("palisade-learn-{}-{}", std::process::id(), user.is_root());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _outside = UnixListener::bind_addr(&address).unwrap();
        let perl = |script: &str| {
            let script = format!(
                "use Socket; sub n {{ sockaddr_un(\"\\0\" . shift) }} \
                                  sub new {{ socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die $!; $s }} {script}"
            );
            let ran = learn(user, "-q --fold exact", &["perl", "-e", &script]);
            assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{script}");
            rules(&ran.stdout).to_owned()
        };
        let own = perl(&format!(
            "my $s = new(); bind($s, n('{name}-own')) or die; listen($s, 1); connect(new(), n('{name}-own')) or die"
        ));
        assert!(!own.contains("[scope]"), "{own}");
        let line = "[scope]\nabstract = \"unrestricted\"  # perl: connect, once\n";
        let other = perl(&format!("connect(new(), n('{name}')) or die"));
        assert!(other.contains(line), "{other}");
        // A name that it tried to take, and did not get, is of another.
        let taken = perl(&format!("bind(new(), n('{name}')) and die; connect(new(), n('{name}')) or die"));
        assert!(taken.contains(line), "{taken}");
    });
}

#[test]
fn ports_and_unix_sockets_are_learned() {
    if !found(&["perl"]) {
        return;
    }
    each_user(|user| {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = user.home().join("outside.sock");
        let _outside = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
        let ports = [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()];
        let script = "use Socket; my ($t, $u) = @ARGV; my $at = sub { sockaddr_in(shift, inet_aton('127.0.0.1')) }; \
            socket(my $a, AF_INET, SOCK_STREAM, 0); connect($a, $at->($t)) or die $!; \
            socket(my $b, AF_INET, SOCK_DGRAM, 0); send($b, 'x', 0, $at->($u)) or die $!; \
            socket(my $c, AF_UNIX, SOCK_STREAM, 0); connect($c, sockaddr_un('outside.sock')) or die $!; \
            socket(my $d, AF_INET, SOCK_STREAM, 0); bind($d, $at->(0)) or die $!; listen($d, 1) or die $!";
        let words = ["perl", "-e", script, &ports[0].to_string(), &ports[1].to_string()];
        let ran = learn(user, "-q --fold exact", &words);
        assert_eq!(ran.works().stderr, "");
        let policy = &ran.stdout;
        for lines in [
            format!("connect_tcp = [\n    {},  # perl: connect, once\n]", ports[0]),
            format!("connect_udp = [\n    {},  # perl: send, once\n]", ports[1]),
            "bind_tcp = [\n    0,  # perl: listen, once\n]".to_owned(),
            "[unix]\nconnect = [\n    \"~/outside.sock\",  # perl: connect, once\n]".to_owned(),
        ] {
            assert!(policy.contains(&lines), "{lines} in {policy}");
        }
    });
}

#[test]
fn hostile_names_are_granted_as_they_are_and_printed_harmlessly() {
    each_user(|user| {
        let work = user.folder("work");
        let files: [&[u8]; 8] = [
            b"a\n]\nrw = [\"..\"",
            b"b\"], rw = [\"..",
            b"c # d",
            b"d\\",
            "e\u{202e}gpj.exe".as_bytes(),
            b"f\xff\xfe",
            b"~",
            b"${HOME}",
        ];
        let all: Vec<PathBuf> = files.iter().map(|name| work.join(OsStr::from_bytes(name))).collect();
        all.iter().for_each(|path| fs::write(path, "").unwrap());
        // The name of a program is in comments.
        let name = "p\nro = [\"..\"] # \u{1b}[2J\u{202e}";
        fs::copy("/bin/cat", user.folder("tools").join(name)).unwrap();
        let script = "for f in *; do read -r x <\"$f\"; done; \"../tools/$1\" *exe";
        for fold in ["exact", "folder"] {
            let ran = learn_in(
                user,
                &work,
                &format!("--fold {fold} -o ../{fold}.toml"),
                &["sh", "-c", script, "sh", name],
            );
            assert_eq!(ran.status, Some(0), "{}", ran.stderr);
            let harmful = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
            let policy = text(user, &format!("{fold}.toml"));
            assert!(!ran.stderr.contains(harmful), "{:?}", ran.stderr);
            assert!(!policy.contains(harmful), "{policy:?}");
            let granted = paths(&policy, &user.home());
            if fold == "exact" {
                let below = granted.iter().filter(|path| path.starts_with(&work) && **path != work);
                assert_eq!(
                    below.cloned().collect::<BTreeSet<_>>(),
                    all.iter().cloned().collect(),
                    "{policy}"
                );
            }
            // Nothing is wider than the folder, and nothing may be changed.
            assert!(!policy.contains("write_file") && !policy.contains("\nrw"), "{policy}");
            assert!(!granted.iter().any(|path| work.starts_with(path) && *path != work), "{policy}");
        }
    });
}

#[test]
fn paths_are_written_by_what_they_are_for() {
    each_user(|user| {
        for name in ["home", "home/project", "home/project/sub", "home/.config", "run"] {
            user.folder(name);
        }
        for name in ["home/project/a", "home/project/sub/b", "home/c", "run/d", "e"] {
            user.file(name, "");
        }
        let home = user.home();
        let mut command = user.command(user.binary());
        let words = ["learn", "-q", "--fold", "exact", "-o", "p.toml", "--", "cat"];
        let files = ["a", "sub/b", "../c", "../../run/d", "../../e"];
        command.args(words).args(files).current_dir(home.join("home/project"));
        command.env("HOME", home.join("home")).env("XDG_RUNTIME_DIR", home.join("run"));
        Ran::of(user, command).works();
        let policy = text(user, "home/project/p.toml");
        let outside = home.join("e").display().to_string();
        for path in ["a", "sub/b", "~/c", "${XDG_RUNTIME_DIR}/d", &outside] {
            assert!(policy.contains(&format!("    \"{path}\",")), "{path} in {policy}");
        }
    });
}

#[test]
fn what_stands_out_is_said() {
    each_user(|user| {
        user.folder(".ssh");
        user.file(".ssh/id_ed25519", "");
        user.file("plain", "");
        let ran = learn(user, "-o p.toml", &["cat", "plain", ".ssh/id_ed25519"]);
        let (_, stands_out) = ran.stderr.split_once("palisade: what stands out:\n").unwrap();
        let key = user.home().join(".ssh/id_ed25519");
        assert!(stands_out.contains(&format!("  {}: ", key.display())), "{stands_out}");
        assert!(!stands_out.contains("plain"), "{stands_out}");
        assert!(
            ran.stderr.contains("palisade: learning: COMMAND runs UNCONFINED, and may do all that you may")
        );
        learn(user, "-q -o p.toml", &["cat", "plain", ".ssh/id_ed25519"]).works();
    });
}

#[test]
fn what_a_ceiling_refuses_fails_and_is_not_learned() {
    each_user(|user| {
        user.file("mine", "mine\n");
        user.file("secret", "secret\n");
        user.file("ceiling.toml", "include = [\"system\"]\n[fs]\nro = [\"mine\"]\n");
        let script = "cat mine; cat secret; : >made; kill -0 $PPID";
        let ran = learn(user, "-o p.toml --within ./ceiling.toml", &["sh", "-c", script]);
        assert_eq!(ran.stdout, "mine\n");
        assert!(ran.stderr.contains("cat: secret: Permission denied"), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("palisade: learning: COMMAND runs within ./ceiling.toml\n"),
            "{}",
            ran.stderr
        );
        let policy = text(user, "p.toml");
        assert!(
            policy.contains("~/mine") && policy.contains("# It ran within ./ceiling.toml, and "),
            "{policy}"
        );
        let none = ["secret", "made", "[scope]"];
        assert!(!none.iter().any(|word| rules(&policy).contains(word)), "{policy}");
    });
}

/// Before Linux 7.1 all UNIX sockets are closed where none is granted by its path, also those of abstract names.
#[test]
fn abstract_names_that_no_rule_can_open_are_said() {
    each_user(|user| {
        if user.abi() >= 9 {
            return;
        }
        let script = r#"use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die $!; bind($s, pack("Sa*", AF_UNIX, "\0own-$$")) or die $!"#;
        let ran = learn(user, "-o p.toml --verify", &["perl", "-e", script]);
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains("  use abstract UNIX sockets: before Linux 7.1 "), "{}", ran.stderr);
        assert!(ran.stderr.contains(" was refused to make a UNIX socket: seccomp closes "), "{}", ran.stderr);
        assert!(!ran.stderr.contains("nothing was refused"), "{}", ran.stderr);
    });
}

#[test]
fn folders_are_not_granted_beyond_a_ceiling() {
    each_user(|user| {
        user.folder("d");
        ["1", "2", "3", "4", "5"].iter().for_each(|name| drop(user.file(&format!("d/{name}"), "")));
        user.file(
            "ceiling.toml",
            "include = [\"system\"]\n[fs]\nro = [\"d/1\", \"d/2\", \"d/3\", \"d/4\"]\n",
        );
        let reads = ["cat", "d/1", "d/2", "d/3", "d/4"];
        learn(user, "-q -o within.toml --within ./ceiling.toml", &reads).works();
        learn(user, "-q -o free.toml", &reads).works();
        let (within, free) = (text(user, "within.toml"), text(user, "free.toml"));
        assert!(within.contains("\"~/d/4\"") && !within.contains("\"~/d\""), "{within}");
        assert!(free.contains("\"~/d\"") && !free.contains("~/d/"), "{free}");
    });
}

/// A thread changes the path between the watcher's look at it and the kernel's.
#[test]
fn what_a_ceiling_refuses_is_not_learned_by_a_race() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        for name in ["secret", "box", "box/ab", "box/ab/cd"] {
            user.folder(name);
        }
        helper(user);
        user.file("ceiling.toml", "include = [\"system\"]\n[fs]\nrw = [\"box\"]\nrx = [\"learn\"]\n");
        let ran = learn(user, "-o p.toml --within ./ceiling.toml", &["./learn", "race"]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        let policy = text(user, "p.toml");
        let granted = paths(&policy, &user.home());
        assert!(granted.iter().all(|path| path.starts_with(user.home().join("box"))), "{policy}");
        assert!(!granted.is_empty(), "{policy}");
        assert!(ran.stderr.contains("  seemed to make the folder "), "{}", ran.stderr);
        assert!(!names(&user.home().join("secret")).contains("abcdef"));
    });
}

/// Which the kernel says to be in a place where it is not.
#[test]
fn a_file_of_memory_takes_no_rule() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user);
        let ran = learn(user, "-q --fold exact", &["./learn", "memory"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
        let granted = paths(&ran.stdout, &user.home());
        assert_eq!(granted, BTreeSet::new(), "{}", ran.stdout);
        let verified = learn(user, "-q -o p.toml --verify", &["./learn", "memory"]);
        assert_eq!(verified.status, Some(0), "{}", verified.stderr);
    });
}

#[test]
fn what_cannot_be_seen_is_said() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        crate::watched::helper(user, &[]);
        let ran = learn(user, "-o p.toml", &["./watched", "hidden"]);
        ran.said(0, "hidden, own: ok\nhidden, refused: ok\n", &ran.stderr);
        let hidden = "\n  open a file: the program hides its memory from others\n";
        // Root may look all the same.
        let learned = text(user, "p.toml").contains("watched.c");
        assert_eq!(
            (learned, ran.stderr.contains(hidden)),
            (user.is_root(), !user.is_root()),
            "{}",
            ran.stderr
        );
    });
}

#[test]
fn a_policy_that_holds_is_verified() {
    each_user(|user| {
        user.file("a", "a\n");
        let ran = learn(user, "-o p.toml --verify", &["sh", "-c", "cat a; exit 3"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), "a\na\n"), "{}", ran.stderr);
        let (_, said) =
            ran.stderr.split_once("palisade: verifying: COMMAND runs again, confined by p.toml\n").unwrap();
        let verified = "palisade: verified: nothing was refused that it had used, and COMMAND ended with exit status 3 again";
        assert!(said.starts_with(verified), "{said}");
        learn(user, "-q -o p.toml --verify", &["sh", "-c", "cat a; kill -9 $$"]).said(0, "a\na\n", "");
        assert_eq!(names(&user.home()), ["a", "p.toml"].map(String::from).into());
    });
}

#[test]
fn a_policy_that_does_not_hold_is_said_to_lack_what_was_missing() {
    each_user(|user| {
        user.file("other", "");
        let script = "cat /dev/null; if test -e marker; then cat other; else : >marker; fi";
        let ran = learn(user, "-q -o p.toml --verify", &["sh", "-c", script]);
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        let (_, said) = ran.stderr.split_once("palisade: the policy does not hold:\n").unwrap();
        let other = user.home().join("other").display().to_string();
        assert!(
            said.starts_with("  COMMAND ended with exit status 1; before it ended with exit status 0\n"),
            "{said}"
        );
        let missing = format!("  cat was refused to read {other}: ");
        let line = said.lines().find(|line| line.starts_with(&missing));
        let helps = format!("; --ro {other} would allow it");
        assert!(line.is_some_and(|line| line.ends_with(&helps)), "{said}");
        // The file stays, for what it is worth.
        assert!(text(user, "p.toml").starts_with(FIRST));
    });
}

/// Both runs start with the same.
#[test]
fn command_is_verified_with_the_same_options() {
    each_user(|user| {
        let folder = user.folder("d");
        let script = "pwd; echo $A $HOME; cat <&7; grep Sig /proc/self/status | grep -v SigQ";
        let words = format!(
            r#"exec "$@" -q -o p.toml --verify --chdir d --clear-env --env A=1 --env PATH --keep-fd 7 -- sh -c '{script}' 7</dev/null"#
        );
        let mut bash = user.command("bash");
        bash.args(["-c", &words, "bash"]).arg(user.binary()).arg("learn");
        let ran = Ran::of(user, bash);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        let (first, second) = lines.split_at(lines.len() / 2);
        assert_eq!(first[..2], [folder.to_str().unwrap(), "1"]);
        // Those that are ignored, of which the C library has two for itself, signals 32 and 33.
        let without = |line: &&str| match line.strip_prefix("SigIgn:\t") {
            Some(set) => (u64::from_str_radix(set, 16).unwrap() & !(0b11 << 31)).to_string(),
            None => line.to_string(),
        };
        assert_eq!(
            first.iter().map(without).collect::<Vec<_>>(),
            second.iter().map(without).collect::<Vec<_>>()
        );
    });
}

/// What a terminal has sent during the first run is of that.
#[test]
fn a_stop_that_command_has_not_followed_does_not_stop_the_second_run() {
    each_user(|user| {
        let script = "test -e marker || kill -TSTP $PPID; : >marker; echo ran";
        let ran = learn(user, "-q -o p.toml --verify", &["sh", "-c", script]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), "ran\nran\n"), "{}", ran.stderr);
    });
}

/// What it has read is not what is there then.
#[test]
fn a_link_that_command_has_put_is_not_granted() {
    each_user(|user| {
        for name in ["box", ".ssh"] {
            user.folder(name);
        }
        user.file("box/a", "");
        user.file(".ssh/id_rsa", "");
        user.file("ceiling.toml", "include = [\"system\"]\n[fs]\nrw = [\"box\"]\n");
        for fold in ["exact", "folder"] {
            let _ = fs::remove_file(user.home().join("box/a"));
            user.file("box/a", "");
            let script = "read x <box/a; ln -sf ../.ssh/id_rsa box/a";
            let options = format!("-q -o {fold}.toml --fold {fold} --within ./ceiling.toml");
            let ran = learn(user, &options, &["sh", "-c", script]);
            // What is read is nothing.
            assert!(ran.status.is_some(), "{}", ran.stderr);
            let policy = text(user, &format!("{fold}.toml"));
            assert!(!rules(&policy).contains("box/a"), "{policy}");
            let read = user.run(&format!("-q {} -p ./{fold}.toml -- cat box/a", user.go_on()));
            read.refused("Permission denied");
        }
    });
}

/// One that was there before, and is gone: nothing else of the home is executed or read for that.
#[test]
fn program_that_removes_itself_is_no_reason_to_grant_the_home() {
    each_user(|user| {
        let copy = |name: &str| fs::copy("/bin/true", user.home().join(name)).unwrap();
        copy("tool");
        learn(user, "-q --fold exact -o p.toml", &["sh", "-c", "./tool && rm tool"]).works();
        copy("other");
        let ran = user.palisade(["run", "-q", "-p", "./p.toml", "--", "sh", "-c", "./other"]);
        assert_eq!(ran.status, Some(126), "{}{}", ran.stderr, text(user, "p.toml"));
    });
}
