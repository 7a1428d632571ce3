//! Several policies: files that are joined with -p, and ceilings that are stacked with --within.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;

use crate::common::{Ran, User, each_user, found};
use crate::files::is_valid;

/// The text of a policy as `show` says it, for these options.
fn shown(user: &User, options: &str) -> String {
    let words = ["show", "--format", "toml"].into_iter().chain(options.split_whitespace());
    user.palisade(words).works().stdout.clone()
}

#[test]
fn a_ceiling_that_does_not_let_the_command_start_is_named_with_what_lacks() {
    each_user(|user| {
        user.file("f", "");
        let script = user.file("script", "#!/bin/sh\necho ran\n");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        user.file("none.toml", "");
        user.file("read.toml", "fs.ro = \"/\"\n");
        user.file("system.toml", "include = \"system\"\n");
        user.file("alone.toml", "fs.rx = \"/usr/bin\"\n");
        let all = "--rx / --rw .";
        for (options, command, path, lacks) in [
            ("", "echo ran", "/usr/bin/echo", "to read /usr/bin/echo; "),
            ("none", "echo ran", "/usr/bin/echo", "to read /usr/bin/echo; "),
            ("read", "echo ran", "/usr/bin/echo", "to execute /usr/bin/echo; "),
            ("alone", "echo ran", "/usr/bin/echo", ", which it needs to start; "),
            ("system", "./script", "./script", "to read ./script; "),
        ] {
            let name = if options.is_empty() { "none" } else { options };
            for more in ["", "--dry-run", "--best-effort"] {
                let ran = user.run(&format!("-q {all} --within ./{name}.toml {more} -- {command}"));
                assert_eq!((ran.status, ran.stdout.as_str()), (Some(126), ""), "{}", ran.stderr);
                let start = format!("palisade: {path}: --within ./{name}.toml does not allow to ");
                assert!(ran.stderr.starts_with(&start) && ran.stderr.contains(lacks), "{}", ran.stderr);
                assert!(ran.stderr.ends_with("; allow that in it, as with rx\n"), "{}", ran.stderr);
            }
        }
        user.run(&format!("-q {} --within ./system.toml -- echo ran", user.go_on())).said(0, "ran\n", "");
        // The second of two ceilings.
        let ran = user.run("-q --within ./system.toml --within ./none.toml -- echo ran");
        assert_eq!((ran.status, ran.stderr.contains("--within ./none.toml")), (Some(126), true));
        // A ceiling that cannot be read, or names what is missing, is palisade's own failure.
        assert_eq!(user.run("--within nosuch -- echo ran").status, Some(125));
        user.file("missing.toml", "include = \"system\"\nfs.ro = \"not/there\"\n");
        let ran = user.run("--within ./missing.toml -- echo ran");
        let missing = format!(
            "palisade: ./missing.toml:2: {}: does not exist (ENOENT); if COMMAND is to make it, grant its folder; \"optional = true\" in [[fs.allow]], or --ignore-missing, skips what does not exist\n",
            user.home().join("not/there").display()
        );
        ran.said(125, "", &missing);
    });
}

/// What each of these comes to: a line of its name, if it works.
const OPERATIONS: &str = "
    try() { name=$1; shift; ( eval \"$@\" ) >/dev/null 2>&1 && echo $name; }
    try read 'cat d/f'
    try write 'echo x >> d/f'
    try create ': > d/new'
    try delete 'rm d/old'
    try mkdir 'mkdir d/folder'
    try list 'ls d'
    try outside 'cat outside/f'
    try execute 'd/tool'
    try connect ': < /dev/tcp/127.0.0.1/'$1
    try signal \"kill -0 $2\"
    exit 0";

#[test]
fn a_ceiling_takes_away_and_never_gives() {
    if !found(&["bash", "sleep"]) {
        return;
    }
    each_user(|user| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let outside = user.command("sleep").arg("600").spawn().unwrap();
        let mut outside = Stopped(outside);
        user.folder("d");
        user.folder("outside");
        user.file("outside/f", "");
        for (name, text) in [
            ("nothing", "include = 'system'".to_owned()),
            ("readonly", "include = 'system'\nfs.ro = 'd'".to_owned()),
            ("write", "include = 'system'\nfs.allow = [{ paths = 'd', rights = 'r,write_file' }]".to_owned()),
            (
                "all",
                format!(
                    "include = 'system'\nfs.rwx = 'd'\nfs.ro = 'outside'\nnet.connect_tcp = {port}\nscope.signal = 'unrestricted'"
                ),
            ),
            ("net", format!("include = 'system'\nunrestricted = ['fs', 'signal']\nnet.connect_tcp = {port}")),
            ("wide", "unrestricted = ['fs', 'net', 'signal', 'abstract', 'devices', 'unix']".to_owned()),
        ] {
            user.file(&format!("{name}.toml"), &format!("{text}\n"));
            // That nothing is restricted is warned of, and no mistake.
            if name != "wide" {
                is_valid(user, &format!("./{name}.toml"));
            }
        }
        let said = "palisade: warning: ./wide.toml: nothing at all is restricted\n";
        user.palisade(["check", "./wide.toml"]).said(0, "./wide.toml: valid, with 1 warning\n", said);
        let work = |options: &str| {
            let _ = fs::remove_dir_all(user.home().join("d"));
            user.folder("d");
            user.file("d/f", "");
            user.file("d/old", "");
            let tool = user.file("d/tool", "#!/bin/sh\n");
            fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
            let mut words = vec!["run", "-q"];
            words.extend(options.split_whitespace().chain(user.go_on().split_whitespace()));
            let (port, pid) = (port.to_string(), outside.0.id().to_string());
            words.extend(["--", "bash", "-c", OPERATIONS, "bash", &port, &pid]);
            let ran = user.palisade(words);
            ran.works().stdout.lines().map(str::to_owned).collect::<Vec<String>>()
        };
        let policies = [
            "-p ./all.toml",
            "-p ./net.toml",
            "-p ./readonly.toml",
            "-p system --rw d --connect-tcp any",
            "-p ./wide.toml",
        ];
        for policy in policies {
            let without = work(policy);
            assert!(!without.is_empty(), "{policy}");
            for ceilings in
                ["nothing", "readonly", "write", "all", "net", "wide", "offline", "all write", "net all"]
            {
                let within: String = ceilings
                    .split(' ')
                    .map(|name| match name {
                        "offline" => " --within offline".to_owned(),
                        _ => format!(" --within ./{name}.toml"),
                    })
                    .collect();
                let with = work(&format!("{policy}{within}"));
                let more: Vec<_> = with.iter().filter(|done| !without.contains(done)).collect();
                assert!(more.is_empty(), "{policy}{within} as {}: {more:?}", user.name);
            }
        }
        if user.abi() >= 6 {
            let all = "read write create delete mkdir list outside execute connect signal";
            for (ceiling, left) in [
                ("./wide.toml", all),
                ("./all.toml", all),
                ("./net.toml", all),
                ("offline", "read write create delete mkdir list outside execute signal"),
                ("./readonly.toml", "read list"),
                ("./write.toml", "read write list"),
                ("./nothing.toml", ""),
            ] {
                let with = work(&format!("-p ./all.toml --within {ceiling}")).join(" ");
                assert_eq!(with, left, "{ceiling} as {}", user.name);
            }
        }
        outside.0.kill().unwrap();
    });
}

/// A child that does not outlive the test.
struct Stopped(std::process::Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_ceiling_lets_files_be_moved_where_it_lets_them_be_made() {
    if !found(&["perl"]) {
        return;
    }
    each_user(|user| {
        let made = "rights = 'r,w,make_reg,remove_file'";
        user.file("made.toml", &format!("include = 'system'\nfs.allow = [{{ paths = 'd', {made} }}]\n"));
        user.file(
            "two.toml",
            &format!("include = 'system'\nfs.allow = [{{ paths = ['d/a', 'd/b'], {made} }}]\n"),
        );
        user.file(
            "one.toml",
            &format!("include = 'system'\nfs.ro = 'd'\nfs.allow = [{{ paths = 'd/a', {made} }}]\n"),
        );
        user.file("read.toml", "include = 'system'\nfs.ro = 'd'\n");
        user.folder("d");
        user.folder("d/a");
        user.folder("d/b");
        // rename, and nothing in its place, as mv would copy.
        let moves = "rename('d/a/f', 'd/b/f') or die \"$!\\n\"";
        let links = "link('d/a/f', 'd/b/f') or die \"$!\\n\"";
        let perl = |options: &str, script: &str| {
            let _ = fs::remove_file(user.home().join("d/b/f"));
            user.file("d/a/f", "");
            let words = ["run", "-q"].into_iter().chain(options.split_whitespace());
            user.palisade(words.chain(user.go_on().split_whitespace()).chain(["--", "perl", "-e", script]))
        };
        for script in [moves, links] {
            for ceiling in [
                "",
                "--within offline",
                "--within ./made.toml",
                "--within ./two.toml",
                "--within offline --within ./made.toml",
            ] {
                if ceiling.is_empty() || user.abi() >= 2 {
                    perl(&format!("-p system --rw d {ceiling}"), script).said(0, "", "");
                }
            }
            if user.abi() == 0 {
                continue;
            }
            // What may not be made there is refused; and a ceiling gives no move to a policy that has none.
            for options in [
                "-p system --rw d --within ./one.toml",
                "-p system --rw d --within ./read.toml",
                "-p ./one.toml --within ./made.toml",
                "-p ./one.toml --within offline",
            ] {
                perl(options, script).refused("");
            }
            perl("-p system --allow r,w,make_reg,remove_file:d --within ./made.toml", script)
                .refused("ross-device link");
        }
    });
}

#[test]
fn what_a_ceiling_does_not_grant_is_closed_although_the_policy_grants_it() {
    if !found(&["bash", "perl"]) {
        return;
    }
    each_user(|user| {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        let unix = user.home().join("socket");
        let _server = UnixListener::bind(&unix).unwrap();
        fs::set_permissions(&unix, fs::Permissions::from_mode(0o777)).unwrap();
        user.file(
            "grants.toml",
            &format!("include = 'system'\nnet.connect_udp = {port}\nunix.connect = 'socket'\n"),
        );
        user.file("ceiling.toml", "include = 'system'\n");
        user.file("offline.toml", "unrestricted = ['fs', 'devices', 'signal', 'tcp']\n");
        user.file("open.toml", "unrestricted = ['fs', 'devices', 'signal', 'net', 'unix', 'abstract']\n");
        let send = format!("echo x > /dev/udp/127.0.0.1/{port}");
        let connect = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un('socket')) or die \"$!\\n\"";
        let run = |options: &str, command: &[&str]| {
            let words = ["run", "-q"].into_iter().chain(options.split_whitespace());
            user.palisade(
                words.chain(user.go_on().split_whitespace()).chain(["--"]).chain(command.iter().copied()),
            )
        };
        for command in [["bash", "-c", send.as_str()], ["perl", "-e", connect]] {
            for options in [
                "-p ./grants.toml",
                "-p ./grants.toml --within ./open.toml",
                "-p ./grants.toml --within ./grants.toml",
            ] {
                run(options, &command).said(0, "", "");
            }
            for ceiling in ["./ceiling.toml", "./offline.toml"] {
                run(&format!("-p ./grants.toml --within {ceiling}"), &command).refused("Permission denied");
                let both = format!(
                    "-p ./grants.toml --within ./open.toml --within {ceiling} --within ./grants.toml"
                );
                run(&both, &command).refused("Permission denied");
            }
            run("-p ./ceiling.toml --within ./grants.toml", &command).refused("Permission denied");
            // What options grant and leave alone is no more to a ceiling.
            for options in [
                format!("--preset system --connect-udp {port} --unix socket"),
                "-p ./grants.toml --unrestricted net,unix,abstract,signal,devices --abi 1".to_owned(),
                "--best-effort --unrestricted fs,net,unix,abstract,signal,devices".to_owned(),
            ] {
                run(&options, &command).said(0, "", "");
                run(&format!("{options} --within ./ceiling.toml"), &command).refused("Permission denied");
            }
        }
        // What is skipped opens nothing.
        user.file(
            "missing.toml",
            "include = 'system'\nfs.allow = [{ paths = 'none', rights = 'resolve_unix', optional = true }]\n",
        );
        run("-p ./missing.toml", &["perl", "-e", connect]).refused("Permission denied");
        for options in ["--connect-udp 53", "--unrestricted udp"] {
            let why = user.palisade(["why"].into_iter().chain(options.split(' ')).chain([
                "--kernel",
                "7",
                "--within",
                "./ceiling.toml",
                "connect-udp",
                "53",
            ]));
            let said =
                "No option allows it: --within ./ceiling.toml does not allow it, whatever else is granted\n";
            assert!(why.status == Some(1) && why.stdout.contains(said), "{}", why.stdout);
        }
    });
}

#[test]
fn the_environment_passes_what_a_policy_lets_pass_and_every_ceiling() {
    each_user(|user| {
        for (name, text) in [
            ("clear", "clear = true"),
            ("path", "clear = true\npass = ['PATH']"),
            ("term", "clear = true\npass = ['TERM', 'UNSET']"),
            ("only_pass", "pass = ['TERM']"),
            ("none", ""),
        ] {
            user.file(&format!("{name}.toml"), &format!("include = 'system'\n[env]\n{text}\n"));
        }
        let names = |options: &str| {
            let mut run = user.command(user.binary());
            run.env("TERM", "vt100").env("SECRET", "x");
            run.args(["run", "-q"]).args(options.split_whitespace()).args(user.go_on().split_whitespace());
            run.args(["--", "/usr/bin/env"]);
            let ran = Ran::of(user, run);
            let mut names: Vec<&str> =
                ran.works().stdout.lines().map(|line| line.split('=').next().unwrap()).collect();
            names.sort_unstable();
            names.join(" ")
        };
        let all = "HOME LC_ALL PATH SECRET TERM TMPDIR";
        for (options, passes) in [
            ("-p system", all),
            ("-p ./none.toml", all),
            ("-p ./only_pass.toml", all),
            ("-p ./clear.toml", ""),
            ("-p ./path.toml", "PATH"),
            ("-p ./path.toml -p ./term.toml", "PATH TERM"),
            ("-p ./term.toml -p ./path.toml", "PATH TERM"),
            ("-p ./path.toml -p ./none.toml", "PATH"),
            ("-p ./none.toml -p ./path.toml", "PATH"),
            ("-p ./path.toml -p ./only_pass.toml", "PATH TERM"),
            ("-p ./path.toml --env SECRET --env NEW=1", "NEW PATH SECRET"),
            ("-p ./none.toml --clear-env", ""),
            ("-p ./path.toml --clear-env", "PATH"),
            ("-p system --within ./none.toml --env NEW=1", "HOME LC_ALL NEW PATH SECRET TERM TMPDIR"),
            ("-p system --within ./only_pass.toml", all),
            ("-p system --within ./clear.toml", ""),
            ("-p system --within ./path.toml --env NEW=1 --env PATH=/usr/bin --env SECRET", "PATH"),
            ("-p ./term.toml --within ./path.toml", ""),
            ("-p ./path.toml --within ./path.toml --within ./term.toml", ""),
        ] {
            assert_eq!(names(options), passes, "{options}");
        }
    });
}

#[test]
fn files_together_restrict_all_that_any_restricts_in_any_order() {
    each_user(|user| {
        user.file("old.toml", "abi = 4\nfs.ro = '/usr'\n");
        user.file("new.toml", "fs.ro = '/etc'\n");
        user.file("udp.toml", "unrestricted = ['udp']\n");
        user.file("net.toml", "unrestricted = ['net', 'signal']\nnet.connect_tcp = 443\n");
        user.file("require.toml", "require = ['signal']\n");
        user.file("nothing.toml", "require = []\n");
        user.file("everything.toml", "require = 'everything'\n");
        let both = |one: &str, two: &str| {
            let [ab, ba] = [(one, two), (two, one)].map(|(a, b)| {
                let text = shown(user, &format!("-p ./{a}.toml -p ./{b}.toml"));
                let mut lines: Vec<String> =
                    text.lines().take_while(|line| !line.starts_with('[')).map(str::to_owned).collect();
                lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
                lines.join("; ")
            });
            assert_eq!(ab, ba, "{one} {two}");
            ab
        };
        for (one, two, top) in [
            ("old", "new", ""),
            ("udp", "new", ""),
            ("udp", "net", "unrestricted = [\"udp\"]"),
            ("net", "net", "unrestricted = [\"tcp\", \"udp\", \"signal\"]"),
            ("old", "old", "abi = 4"),
            ("new", "require", "require = [\"fs\", \"tcp\", \"signal\"]"),
            ("nothing", "nothing", "require = []"),
            ("nothing", "new", "require = [\"fs\", \"tcp\"]"),
            ("nothing", "require", "require = [\"signal\"]"),
            ("nothing", "everything", "require = \"everything\""),
        ] {
            assert_eq!(both(one, two), top, "{one} {two}");
        }
        // Options have the last word.
        for (options, line) in [
            ("-p ./new.toml --abi 4", "abi = 4\n"),
            ("-p ./old.toml --abi 6", "abi = 6\n"),
            ("-p ./old.toml -p ./new.toml --abi 5", "abi = 5\n"),
            ("-p ./new.toml --unrestricted udp", "unrestricted = [\"udp\"]\n"),
            ("-p ./udp.toml -p ./new.toml --unrestricted signal", "unrestricted = [\"signal\"]\n"),
            ("-p ./udp.toml --unrestricted signal", "unrestricted = [\"udp\", \"signal\"]\n"),
            ("-p ./everything.toml --best-effort", "require = []\n"),
            ("-p ./nothing.toml --strict", "require = \"everything\"\n"),
            ("-p ./nothing.toml --require udp", "require = [\"udp\"]\n"),
        ] {
            assert!(shown(user, options).starts_with(line), "{options}: {}", shown(user, options));
        }
    });
}

/// A policy that someone else wrote is a ceiling no more than it is a policy.
#[test]
fn a_ceiling_is_trusted_as_a_policy_is() {
    each_user(|user| {
        let file = user.file("p.toml", "include = 'system'\n");
        if chown(&file, Some(12345), Some(12345)).is_err() {
            return;
        }
        for options in ["-p ./p.toml", "--within ./p.toml", "-p system --within ./p.toml"] {
            let ran = user.run(&format!("{options} -- echo ran"));
            assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
            assert!(ran.stderr.contains("belongs to user 12345"), "{}", ran.stderr);
        }
    });
}
