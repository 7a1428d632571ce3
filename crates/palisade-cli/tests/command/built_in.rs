//! The built-in policies, with real programs: what they do there, and that they reach nothing else. The same works
//! without palisade.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use crate::common::{Ran, TCP_ABI, User, each_user, each_user_below, found};
use crate::more_programs::toolchain;

/// Secrets of the user's, in his home, and what is in each.
const SECRETS: [&str; 12] = [
    ".ssh/id_ed25519",
    ".gnupg/private",
    ".aws/credentials",
    ".config/gh/hosts.yml",
    ".config/git/credentials",
    ".mozilla/cookies",
    ".cargo/credentials.toml",
    ".netrc",
    ".bash_history",
    ".bashrc",
    "other/secret",
    "secret",
];
const HIDDEN: &str = "hidden\n";

/// Where folders are that no policy opens: /tmp is open to `build`.
const OUTSIDE_OF_TMP: &str = "/var/tmp";

/// Calls what it is given with each user, in whose home are secrets and a project.
fn each_owner(test: impl Fn(&User)) {
    each_user_below(Path::new(OUTSIDE_OF_TMP), |user| {
        for dir in [
            ".ssh",
            ".gnupg",
            ".aws",
            ".config",
            ".config/gh",
            ".config/git",
            ".mozilla",
            ".cargo",
            "other",
            "project",
        ] {
            user.folder(dir);
        }
        for secret in SECRETS {
            user.file(secret, HIDDEN);
        }
        user.file(".gitconfig", "[user]\nname = A\nemail = a@example.org\n");
        test(user);
        for secret in SECRETS {
            assert_eq!(fs::read_to_string(user.home().join(secret)).unwrap(), HIDDEN, "{secret}");
        }
    });
}

/// A shell in the project, where `$0` is the home: unconfined, or by a policy.
fn shell(user: &User, policy: Option<&str>, script: &str) -> Ran {
    let mut command = user.command(if policy.is_some() { user.binary() } else { "/bin/sh".into() });
    if let Some(options) = policy {
        command.args(["run", "-p"]).args(options.split_whitespace()).args(["--", "/bin/sh"]);
    }
    command.args(["-c", script]).arg(user.home());
    command.current_dir(user.home().join("project")).env_remove("TMPDIR").env("TOKEN", "hidden");
    Ran::of(user, command)
}

/// What a shell says is refused inside and works outside.
#[track_caller]
fn only_outside(user: &User, policy: &str, script: &str, words: &str) {
    shell(user, Some(policy), script).refused(words);
    let free = shell(user, None, script);
    assert_eq!(free.status, Some(0), "{script}: {}", free.stderr);
}

/// Nothing of the home is read, but the project.
fn reads_no_secret(user: &User, policy: &str) {
    for secret in SECRETS {
        let path = user.home().join(secret).display().to_string();
        let script = format!("cat {path}");
        shell(user, Some(policy), &script).said(1, "", &format!("cat: {path}: Permission denied\n"));
        shell(user, None, &script).said(0, HIDDEN, "");
    }
    let home = user.home().display().to_string();
    let listed = format!("ls: cannot open directory '{home}': Permission denied\n");
    shell(user, Some(policy), "ls $0").said(2, "", &listed);
    symlink(user.home().join("secret"), user.home().join("project/link")).unwrap();
    only_outside(user, policy, "cat link", "cat: link: Permission denied");
    fs::remove_file(user.home().join("project/link")).unwrap();
    let shared = shared_folder(OUTSIDE_OF_TMP);
    only_outside(user, policy, &format!("cat {}/f", shared.path().display()), "Permission denied");
    only_outside(user, policy, "cat /proc/$PPID/cmdline", "Permission denied");
    for dir in ["/", "/etc", "/var", "/proc", "/run", "/dev", "/home", "/sys"] {
        only_outside(user, policy, &format!("ls {dir}"), "Permission denied");
    }
    if user.is_root() {
        for script in ["cat /etc/shadow", "cat /proc/$PPID/environ", "ls /root"] {
            only_outside(user, policy, script, "Permission denied");
        }
    }
}

/// A folder that everybody may write, with a file.
fn shared_folder(base: &str) -> tempfile::TempDir {
    let shared = tempfile::tempdir_in(base).unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(shared.path().join("f"), HIDDEN).unwrap();
    shared
}

/// Nothing is written into the home, nor elsewhere.
fn writes_nothing_outside(user: &User, policy: &str) {
    let shared = shared_folder(OUTSIDE_OF_TMP);
    let beside = format!("touch {}/new", shared.path().display());
    for script in [
        "touch $0/new",
        "mkdir $0/new",
        "mkfifo $0/new",
        "cp f $0/new",
        "ln f $0/new",
        "ln -s f $0/new",
        "mv f $0/new",
        "cp $0/secret new",
        "ln $0/secret new",
        "mv $0/secret new",
        "rm $0/secret",
        "echo x >>$0/.bashrc",
        "echo x >$0/.ssh/id_ed25519",
        &beside,
    ] {
        user.file("project/f", "");
        let refused = shell(user, Some(policy), script);
        // Links and moves are refused as between file systems, where nothing else is in the way.
        let words =
            ["Permission denied", "cross-device link"].iter().any(|words| refused.stderr.contains(words));
        assert!(refused.status != Some(0) && words, "{script}: {:?} {}", refused.status, refused.stderr);
        assert_eq!(fs::read_to_string(user.home().join("secret")).unwrap(), HIDDEN, "{script}");
        shell(user, None, script).said(0, "", "");
        for made in ["new", "project/new"].map(|made| user.home().join(made)) {
            let _ = fs::remove_file(&made).or_else(|_| fs::remove_dir(&made));
        }
        for secret in ["secret", ".bashrc", ".ssh/id_ed25519"] {
            user.file(secret, HIDDEN);
        }
    }
}

/// Servers outside, and a program.
struct Outside {
    tcp: TcpListener,
    udp: UdpSocket,
    _unix: UnixListener,
    _abstract: UnixListener,
    name: String,
}

impl Outside {
    fn new(user: &User) -> Outside {
        let path = user.home().join("project/daemon");
        let unix = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let name = format!("palisade-test-{}", path.display());
        Outside {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            _unix: unix,
            _abstract: UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            name,
        }
    }

    /// Python that reaches for each of them, and ends with an error if it is refused.
    fn tries(&self) -> Vec<(&'static str, String)> {
        let port = |address: std::io::Result<std::net::SocketAddr>| address.unwrap().port();
        let (tcp, udp) = (port(self.tcp.local_addr()), port(self.udp.local_addr()));
        let name = &self.name;
        vec![
            ("tcp", format!("socket.create_connection(('127.0.0.1', {tcp}))")),
            ("a server", "socket.create_server(('127.0.0.1', 0))".to_owned()),
            (
                "tcp fast open",
                format!("socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', {tcp}))"),
            ),
            ("mptcp", format!("socket.socket(2, 1, 262).connect(('127.0.0.1', {tcp}))")),
            ("udp", format!("socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {udp}))")),
            ("udp6", format!("socket.socket(10, 2).sendto(b'x', ('::ffff:127.0.0.1', {udp}))")),
            ("unix", "socket.socket(1, 1).connect('daemon')".to_owned()),
            ("abstract", format!("socket.socket(1, 1).connect('\\0{name}')")),
        ]
    }
}

/// No connection, datagram or message leaves, whoever listens.
fn reaches_no_server(user: &User, policy: &str) {
    let outside = Outside::new(user);
    let python = |policy: Option<&str>, python: &str| {
        shell(user, policy, &format!("exec python3 -c \"import socket; {python}\""))
    };
    for (name, code) in outside.tries() {
        python(Some(policy), &code).refused("PermissionError: [Errno ");
        let free = python(None, &code);
        // This machine may have no MPTCP, IPv6 or Fast Open.
        let optional = ["mptcp", "udp6", "tcp fast open"].contains(&name);
        assert!(free.status == Some(0) || optional, "{name}: {}", free.stderr);
    }
    // Raw and packet sockets take a capability outside.
    for code in ["socket.socket(2, 3, 1)", "socket.socket(17, 3, 3)", "socket.socket(2, 2, 1)"] {
        python(Some(policy), code).refused("PermissionError: [Errno 13] Permission denied");
    }
    fs::remove_file(user.home().join("project/daemon")).unwrap();
}

/// A signal to a program outside.
fn signals(user: &User, policy: &str) -> Ran {
    let mut outside = user.command("sleep").arg("1000").spawn().unwrap();
    let script = format!("kill -0 {}", outside.id());
    let (free, confined) = (shell(user, None, &script), shell(user, Some(policy), &script));
    outside.kill().unwrap();
    outside.wait().unwrap();
    free.said(0, "", "");
    confined
}

/// With the option without which nothing runs on this kernel.
fn go_on(user: &User, policy: &str) -> String {
    let quiet = if user.abi() < TCP_ABI { "-q" } else { "" };
    format!("{policy} {quiet} {}", user.go_on())
}

#[test]
fn build_compiles_here_and_reaches_nothing_else() {
    if !found(&["cc", "make", "python3", "git"]) {
        return;
    }
    each_owner(|user| {
        let policy = &go_on(user, "build");
        let build = |script: &str| shell(user, Some(policy), script);
        user.file("project/hello.c", "#include <stdio.h>\nint main(void) { return puts(\"built\") < 0; }\n");
        user.file("project/Makefile", "hello: hello.c\n\t@cc -o hello hello.c\n\t@./hello\n");
        build("make").said(0, "built\n", "");
        build("make -s -B -j4").said(0, "built\n", "");
        user.file("project/m.py", "print('compiled')\n");
        build("python3 -m compileall -q . && python3 __pycache__/m.*.pyc").said(0, "compiled\n", "");
        build("python3 -m venv --without-pip venv && venv/bin/python -c 'print(1)'").said(0, "1\n", "");
        build("git init -q && git add hello.c && git commit -qm first && git status -s hello.c")
            .said(0, "", "");
        user.file("project/hello.c", "#include \"../secret\"\n");
        build("git diff --stat --format= | tail -1").said(
            0,
            " 1 file changed, 1 insertion(+), 2 deletions(-)\n",
            "",
        );
        build("make").refused("../secret: Permission denied");
        build("d=$(mktemp -d) && cp /bin/true $d && $d/true && rm -r $d").said(0, "", "");

        reads_no_secret(user, policy);
        writes_nothing_outside(user, policy);
    });
}

#[test]
fn build_reaches_no_network_no_daemon_and_no_program() {
    if !found(&["python3"]) {
        return;
    }
    each_owner(|user| {
        let policy = &go_on(user, "build");
        reaches_no_server(user, policy);
        if user.abi() >= 6 {
            signals(user, policy).refused("Operation not permitted");
        }
    });
}

#[test]
fn build_runs_what_rustup_installed_and_reads_no_credentials() {
    if !found(&["cc"]) {
        return;
    }
    let tools = toolchain(Path::new(OUTSIDE_OF_TMP));
    each_owner(|user| {
        for dir in [".cargo/bin", ".cargo/registry", ".rustup", "project/src"] {
            user.folder(dir);
        }
        symlink(tools.path(), user.home().join(".rustup/toolchains")).unwrap();
        for tool in ["cargo", "rustc"] {
            symlink(tools.path().join("bin").join(tool), user.home().join(".cargo/bin").join(tool)).unwrap();
        }
        user.file(".cargo/config.toml", "[build]\ntarget-dir = \"out\"\n");
        user.file(".cargo/.package-cache", "");
        user.file(".cargo/registry/source", "downloaded\n");
        user.file(
            "project/Cargo.toml",
            "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        );
        user.file("project/src/main.rs", "fn main() { println!(\"{}\", 6 * 7); }\n");
        let policy = &go_on(user, "build");
        let path = "PATH=$HOME/.cargo/bin:$PATH";
        let cargo = |args: &str| shell(user, Some(policy), &format!("{path} cargo {args} --offline --quiet"));
        cargo("run --target-dir target").said(0, "42\n", "");
        cargo("build").refused("Permission denied");
        let source = format!("fn main() {{ print!(include_str!({:?})); }}\n", user.home().join(SECRETS[6]));
        user.file("project/src/main.rs", &source);
        cargo("build --target-dir target").refused("Permission denied");
        shell(user, None, &format!("{path} cargo run --offline --quiet --target-dir target"))
            .said(0, HIDDEN, "");

        shell(user, Some(policy), "cat $0/.cargo/registry/source").said(0, "downloaded\n", "");
        for script in [
            "echo x >>$0/.cargo/registry/source",
            "touch $0/.cargo/bin/new",
            "touch $0/.cargo/registry/new",
            "echo >>$0/.cargo/config.toml",
            "echo >>$0/.gitconfig",
            "touch $0/.rustup/toolchains/new",
        ] {
            shell(user, Some(policy), script).refused("Permission denied");
        }
    });
}

/// As its head says.
#[test]
fn build_does_not_protect_from_what_is_left_in_the_folder_and_in_tmp_nor_from_chmod() {
    if !found(&["git"]) {
        return;
    }
    each_owner(|user| {
        let policy = &go_on(user, "build");
        let build = |script: &str| shell(user, Some(policy), script);
        build("git init -q && git config core.fsmonitor 'echo x >>$HOME/ran; false'").said(0, "", "");
        // The hook runs, confined as git is.
        assert!(build("git status -s").stderr.contains("ran: Permission denied"));
        assert!(!user.home().join("ran").exists());
        shell(user, None, "git status -s").works();
        assert!(user.home().join("ran").exists());
        let shared = shared_folder("/tmp");
        build(&format!("cat {}/f", shared.path().display())).said(0, HIDDEN, "");
        build("chmod 666 $0/secret && stat -c %a $0/secret; echo $TOKEN").said(0, "666\nhidden\n", "");
    });
}

#[test]
fn offline_takes_the_network_and_daemons_and_nothing_else() {
    if !found(&["python3", "cc", "make"]) {
        return;
    }
    each_owner(|user| {
        let policy = &go_on(user, "offline");
        reaches_no_server(user, policy);
        signals(user, policy).said(0, "", "");
        let offline = |script: &str| shell(user, Some(policy), script);
        offline("cat $0/secret && cp $0/secret $0/copy && mv $0/copy . && rm copy").said(0, HIDDEN, "");
        offline("ls /proc/self/fd | wc -l && printf 'b\\na\\n' | sort").works();
        user.file("project/hello.c", "int main(void) { return 0; }\n");
        offline("make -s hello && ./hello && mkdir a b && mv hello a && mv a/hello b && rm -r a b")
            .said(0, "", "");
        let pool = "import multiprocessing as m; print(m.Pool(2).map(abs, [-1, 2]))";
        offline(&format!("python3 -c '{pool}'")).said(0, "[1, 2]\n", "");
        offline("python3 -c 'import os, pty; os.write(pty.openpty()[0], b\"x\")'").said(0, "", "");
        // As its head says: what it writes, others run; and it can be connected to at a port that the kernel chooses.
        offline("cp $0/.bashrc b && echo >>$0/.bashrc && cat b >$0/.bashrc").said(0, "", "");
        if user.abi() >= TCP_ABI {
            offline("python3 -c 'import socket; socket.socket().listen()'").said(0, "", "");
        }
    });
}

#[test]
fn readonly_reads_the_system_and_this_folder_and_no_secret() {
    if !found(&["python3", "git"]) {
        return;
    }
    each_owner(|user| {
        let policy = &go_on(user, "readonly");
        let readonly = |script: &str| shell(user, Some(policy), script);
        user.file("project/f", "here\n");
        readonly("grep -r here . && find . -name f && ls && cat <f >/dev/null").said(
            0,
            "./f:here\n./f\nf\n",
            "",
        );
        readonly("grep -q root /etc/passwd && ls /usr/bin >/dev/null").said(0, "", "");
        readonly("python3 -c 'print(open(\"f\").read(), end=\"\")'").said(0, "here\n", "");
        shell(user, None, "git init -q && git add f && git commit -qm first").works();
        let with_settings = format!("{policy} --ro {}/.gitconfig", user.home().display());
        shell(user, Some(&with_settings), "git log --format=%s && git status -s").said(0, "first\n", "");
        readonly("echo ${TOKEN-unset} $HOME").said(0, &format!("unset {}\n", user.home().display()), "");

        reads_no_secret(user, policy);
        let shared = shared_folder("/tmp");
        only_outside(user, policy, &format!("cat {}/f", shared.path().display()), "Permission denied");
    });
}

#[test]
fn readonly_writes_nothing() {
    each_owner(|user| {
        let policy = &go_on(user, "readonly");
        writes_nothing_outside(user, policy);
        let shared = shared_folder("/tmp");
        let tmp = format!("touch {}/new", shared.path().display());
        for script in ["touch new", "mkdir d", "cp /bin/true t", "echo x >>f", "rm f", &tmp] {
            user.file("project/f", "");
            only_outside(user, policy, script, "Permission denied");
        }
        // As its head says: modes are no content.
        shell(user, Some(policy), "chmod 666 $0/secret && stat -c %a $0/secret").said(0, "666\n", "");
    });
}

#[test]
fn readonly_reaches_no_network_no_daemon_and_no_program() {
    if !found(&["python3"]) {
        return;
    }
    each_owner(|user| {
        let policy = &go_on(user, "readonly");
        reaches_no_server(user, policy);
        if user.abi() >= 6 {
            signals(user, policy).refused("Operation not permitted");
        }
    });
}

#[test]
fn built_in_policies_say_nothing_in_a_project_and_are_refused_where_none_can_be() {
    each_user(|user| {
        let project: PathBuf = user.folder("project");
        for policy in ["build", "offline", "readonly"] {
            let run = |dir: &Path| {
                let mut command = user.command(user.binary());
                command
                    .args(["run", "-p", policy])
                    .args(user.go_on().split_whitespace())
                    .args(["--", "true"]);
                Ran::of(user, {
                    command.current_dir(dir);
                    command
                })
            };
            if user.abi() >= TCP_ABI {
                run(&project).said(0, "", "");
            }
            if policy == "offline" {
                continue;
            }
            for dir in [
                user.home().as_path(),
                user.home().parent().unwrap(),
                Path::new("/"),
                Path::new("/etc"),
                Path::new("/home"),
            ] {
                let refused = run(dir);
                let words = "the current folder; go to the folder of your project first (cd)\n";
                assert!(refused.status == Some(125) && refused.stderr.contains(words), "{}", refused.stderr);
            }
        }
    });
}
