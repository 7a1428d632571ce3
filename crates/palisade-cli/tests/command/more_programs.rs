//! More real programs, each with the fewest options that work, and what is refused beside.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Ran, User, each_user, found};

const DENIED: &str = "Permission denied";

/// Unconfined.
fn plain(user: &User, words: &str) {
    let mut words = words.split_whitespace();
    let mut command = user.command(words.next().unwrap());
    command.args(words);
    Ran::of(user, command).works();
}

fn executable(user: &User, name: &str, content: &str) {
    let path = user.file(name, content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn git_clones_and_commits_where_it_may_write() {
    if !found(&["git"]) {
        return;
    }
    each_user(|user| {
        user.file(".gitconfig", "[user]\nname = A\nemail = a@example.org\n");
        user.file("secret", "hidden\n");
        for dir in ["from", "to"] {
            user.folder(dir);
        }
        plain(user, "git -C from init -q");
        user.file("from/f", "1\n");
        plain(user, "git -C from add f");
        plain(user, "git -C from commit -q -m first");

        let git = |grants: &str, args: &str| {
            user.run(&format!("--preset system --ro .gitconfig {grants} -- git {args}"))
        };
        git("--ro from --rw to", "clone -q from to/c").works();
        user.file("to/c/f", "2\n");
        git("--rw to", "-C to/c commit -q -a -m second").works();
        git("--rw to", "-C to/c log --format=%s").said(0, "second\nfirst\n", "");
        // Beside it: another target, a source that is not granted, the source's history, a file, a hook elsewhere.
        git("--ro from --rw to", "clone -q from other").refused(DENIED);
        git("--rw to", "clone -q from to/d").refused("");
        git("--ro from --rw to", "-C to/c push -q origin HEAD:refs/heads/new").refused("");
        git("--rw to", "-C to/c hash-object ../../secret").refused(DENIED);
        git("--rw to", "clone -q git://127.0.0.1:9/x to/e").refused(DENIED);
        let branches = fs::read_dir(user.home().join("from/.git/refs/heads")).unwrap().count();
        assert_eq!((branches, user.home().join("other").exists()), (1, false));
    });
}

#[test]
fn python_imports_ssl_and_sqlite3_and_reaches_nothing() {
    if !found(&["python3"]) {
        return;
    }
    each_user(|user| {
        user.folder("d");
        user.file("secret", "hidden");
        let python = |options: &str, script: &str| {
            user.script(&format!("--preset shared {options}"), "python3", script)
        };
        let both = "import ssl, sqlite3; ssl.create_default_context(); \
                    print(sqlite3.connect(':memory:').execute('select 6 * 7').fetchone()[0])";
        python("", both).said(0, "42\n", "");
        let table = |at: &str| {
            format!(
                "import sqlite3; c = sqlite3.connect('{at}'); c.execute('create table t (x)'); c.commit()"
            )
        };
        python("--rw d", &table("d/db")).works();
        python("--rw d", &table("db")).refused("unable to open database file");
        python("--rw d", "open('secret')").refused("[Errno 13]");
        let udp = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
                   s.sendto(b'x', ('127.0.0.1', 9))";
        python("", udp).refused("PermissionError: [Errno 13]");
        python("-q --connect-udp 9", udp).works();
        let mptcp = "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)";
        python("", mptcp).refused("PermissionError: [Errno 13]");
        let ssl = "import ssl, socket; ssl.create_default_context().wrap_socket(socket.create_connection(('127.0.0.1', 9)))";
        python("", ssl).refused("PermissionError: [Errno 13]");
        python("--connect-tcp 9", ssl).refused("ConnectionRefusedError");
        assert!(!user.home().join("db").exists());
    });
}

#[test]
fn sqlite3_keeps_to_its_folder() {
    if !found(&["sqlite3"]) {
        return;
    }
    each_user(|user| {
        user.folder("d");
        user.file("secret", "hidden\n");
        let sqlite =
            |db: &str, script: &str| user.palisade(["run", "--rw", "d", "--", "sqlite3", db, script]);
        sqlite("d/db", "create table t (x); insert into t values (42); select x from t").said(0, "42\n", "");
        sqlite("db", "create table t (x)").refused("unable to open database");
        sqlite("d/db", ".import secret t").refused("cannot open \"secret\"");
        sqlite("d/db", "attach 'other' as o; create table o.t (x)").refused("unable to open database");
        sqlite("d/db", "select writefile('other', 'x')").said(0, "\n", "");
        let shell = sqlite("d/db", ".shell cat secret");
        assert!(!shell.stdout.contains("hidden") && !shell.stderr.is_empty(), "{}", shell.stdout);
        assert!(!user.home().join("db").exists() && !user.home().join("other").exists());
    });
}

/// The toolchain that builds this test, in a folder of its own that everybody may enter: cargo, rustc and the libraries.
pub fn toolchain(base: &Path) -> tempfile::TempDir {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim_end());
    let to = tempfile::tempdir_in(base).unwrap();
    fs::set_permissions(to.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for dir in ["bin", "lib"] {
        fs::create_dir(to.path().join(dir)).unwrap();
    }
    // A toolchain of the distribution has all else of the system beside it.
    let entries = |dir: &str| fs::read_dir(sysroot.join(dir)).unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        ["cargo", "rustc", "rustlib"].contains(&&*name)
            || ["librustc_driver", "libLLVM"].iter().any(|start| name.starts_with(start))
    };
    for (from, into) in [("bin", "bin"), ("lib", "lib")] {
        let files: Vec<PathBuf> = entries(from).filter(ours).collect();
        let copy = |how: &str| {
            let mut cp = Command::new("cp");
            cp.arg(how).args(&files).arg(to.path().join(into)).stderr(Stdio::null());
            cp.status().unwrap().success()
        };
        // Links, where both are on one file system and the system permits.
        assert!(copy("-alf") || copy("-af"), "{files:?}");
    }
    assert!(to.path().join("bin/cargo").exists(), "no cargo beside rustc in {}", sysroot.display());
    to
}

#[test]
fn cargo_builds_a_crate_offline() {
    if !found(&["cc"]) {
        return;
    }
    let tools = toolchain(&std::env::temp_dir());
    let tools = tools.path().display();
    each_user(|user| {
        user.folder("crate");
        user.folder("crate/src");
        user.folder("cargo-home");
        user.file("secret", "hidden\n");
        user.file(
            "crate/Cargo.toml",
            "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
        );
        user.file("crate/src/main.rs", "fn main() { println!(\"{}\", 6 * 7); }\n");
        let home = user.home();
        let cargo = |args: &str| {
            user.run(&format!(
                "--preset system --rx {tools} --rw crate --rw cargo-home --env CARGO_HOME={0}/cargo-home \
                 --env TMPDIR={0}/cargo-home --env RUSTC={tools}/bin/rustc --chdir crate \
                 -- {tools}/bin/cargo {args}",
                home.display()
            ))
        };
        let built = cargo("build --offline --quiet");
        built.said(0, "", "");
        user.run("-- crate/target/debug/tiny").said(0, "42\n", "");
        // What it has built it may not run, nor may the build write elsewhere or include a secret.
        cargo("run --offline --quiet").refused(DENIED);
        let target = format!("build --offline --quiet --target-dir {}/other", home.display());
        cargo(&target).refused(DENIED);
        user.file("crate/src/main.rs", "fn main() { print!(include_str!(\"../../secret\")); }\n");
        cargo("build --offline --quiet").refused(DENIED);
        assert!(!home.join("other").exists());
    });
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TLS_SERVER: &str = r"
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '4')
        self.end_headers()
        self.wfile.write(b'tls\n')
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('ca.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

#[test]
fn curl_reaches_one_port_over_tls() {
    if !found(&["curl", "openssl", "python3"]) {
        return;
    }
    each_user(|user| {
        let mut openssl = user.command("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-keyout", "key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        let made = openssl.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut python = user.command("python3");
        let mut server = Server(python.args(["-c", TLS_SERVER]).stdout(Stdio::piped()).spawn().unwrap());
        let mut port = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim();
        user.file("secret", "hidden\n");

        let curl = |grants: &str, args: &str| {
            let timeout = "--connect-timeout 60 --max-time 120";
            user.run(&format!("-q {grants} -- curl -sS {timeout} --cacert ca.pem {args}"))
        };
        let usual = format!("--preset dns,certs --connect-tcp {port} --ro ca.pem");
        let url = format!("https://localhost:{port}/");
        curl(&usual, &url).said(0, "tls\n", "");
        // Without a name to look up UDP stays closed.
        let least = format!("--connect-tcp {port} --ro ca.pem --preset shared");
        curl(&least, &format!("--resolve localhost:{port}:127.0.0.1 {url}")).said(0, "tls\n", "");
        curl(&least, &format!("https://127.0.0.1:{port}/")).said(0, "tls\n", "");
        let with_udp = curl(&least, &format!("https://127.0.0.1:{port}/ tftp://127.0.0.1:{port}/x"));
        assert!(with_udp.status != Some(0) && with_udp.stdout == "tls\n", "{}", with_udp.stderr);

        // Other ports are closed, though somebody listens there: nothing arrives.
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        other.set_nonblocking(true).unwrap();
        let closed = other.local_addr().unwrap().port();
        for how in ["", "--mptcp", "--tcp-fastopen", "--http3"] {
            let refused = curl(&usual, &format!("{how} https://localhost:{closed}/"));
            // 2: this curl does not know the option.
            assert!(
                matches!(refused.status, Some(7) | Some(2)),
                "{how}: {:?} {}",
                refused.status,
                refused.stderr
            );
            assert_eq!(other.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "{how}");
        }
        // The system's own certificates are read, and do not vouch for this server; without the preset nothing is read.
        let authorities = |grants: &str| {
            user.run(&format!("-q {grants} --connect-tcp {port} -- curl -sS --max-time 120 {url}")).status
        };
        assert_eq!(authorities("--preset dns,certs"), Some(60));
        assert_eq!(authorities("--preset dns"), Some(77));
        // A file, and a write.
        let secret = user.home().join("secret").display().to_string();
        curl(&usual, &format!("file://{secret}")).refused("open file");
        curl(&usual, &format!("-o {secret} {url}")).refused("writing output");
        assert_eq!(fs::read_to_string(secret).unwrap(), "hidden\n");
    });
}

#[test]
fn pip_installs_a_local_wheel() {
    if !found(&["python3", "pip3"]) {
        return;
    }
    each_user(|user| {
        for dir in ["wheels", "out"] {
            user.folder(dir);
        }
        user.file("secret", "hidden\n");
        let wheel = "
import zipfile
with zipfile.ZipFile('wheels/tiny-1.0-py3-none-any.whl', 'w') as z:
    z.writestr('tiny.py', 'answer = 42\\n')
    info = 'tiny-1.0.dist-info/'
    z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')
    z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr(info + 'RECORD', 'tiny.py,,\\n' + info + 'METADATA,,\\n' + info + 'WHEEL,,\\n' + info + 'RECORD,,\\n')
";
        let mut python = user.command("python3");
        python.args(["-c", wheel]);
        Ran::of(user, python).works();
        let pip = |target: &str, index: &str| {
            user.run(&format!(
                "-q --preset shared --ro wheels --rw out --env TMPDIR=out --ignore-missing \
                 --ro /etc/debian_version --ro /etc/mime.types \
                 -- python3 -m pip install -q --isolated --no-deps --no-cache-dir --disable-pip-version-check \
                 --root-user-action=ignore --retries 0 --target {target} {index}"
            ))
        };
        let local = "--no-index --find-links wheels tiny";
        pip("out/t", local).said(0, "", "");
        let import = "import tiny; print(tiny.answer)";
        user.script("--preset shared --ro out/t --env PYTHONPATH=out/t", "python3", import)
            .said(0, "42\n", "");
        pip("elsewhere", local).refused(DENIED);
        pip("out/u", "--no-index -r secret").refused(DENIED);
        pip("out/v", "--index-url http://127.0.0.1:9/ tiny").refused("");
        assert!(!user.home().join("elsewhere").exists() && !user.home().join("out/v").exists());
    });
}

#[test]
fn scripts_start_through_env() {
    if !found(&["python3", "bash"]) {
        return;
    }
    each_user(|user| {
        user.file("secret", "hidden\n");
        executable(user, "py", "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])\nopen('secret')\n");
        let ran = user.run("--preset shared -- ./py a b");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), "['a', 'b']\n"));
        assert!(ran.stderr.contains("PermissionError: [Errno 13]"), "{}", ran.stderr);
        executable(user, "split", "#!/usr/bin/env -S bash -e\necho \"$-\" | grep -q e\n");
        executable(user, "sh", "#!/usr/bin/env -S A=1 bash -eu\necho $A-$1\nread -r x <secret\n");
        let ran = user.run("./sh x");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), "1-x\n"));
        assert!(ran.stderr.ends_with("secret: Permission denied\n"), "{}", ran.stderr);
        // What the script starts is not part of it.
        user.run("./split").refused(DENIED);
        // A script for a script for a shell.
        executable(user, "outer", &format!("#!{}/inner\n", user.home().display()));
        executable(user, "inner", "#!/bin/sh\necho inner runs $1\n");
        user.run("./outer").said(0, "inner runs ./outer\n", "");
    });
}

/// What a small program is refused, in C: says how opening a file, making one, TCP and UDP end.
const BESIDE: &str = r#"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

static void say(const char *name, long result)
{
    printf("%s: %s\n", name, result >= 0 ? "ok" : errno == EACCES ? "EACCES" : "another error");
}

int main(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = { htonl(0x7f000001) } };
    say("read", open("secret", O_RDONLY));
    say("write", open("new", O_WRONLY | O_CREAT, 0600));
    say("tcp", connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&to, sizeof to));
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    say("udp", udp < 0 ? -1 : sendto(udp, "x", 1, 0, (void *)&to, sizeof to));
    return 0;
}
"#;

#[test]
fn a_static_program_needs_its_one_file() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        user.file("beside.c", BESIDE);
        user.file("secret", "hidden\n");
        plain(user, "cc -static -o beside beside.c");
        let closed = "read: EACCES\nwrite: EACCES\ntcp: EACCES\nudp: EACCES\n";
        user.run("./beside").said(0, closed, "");
        let plan = user.run("--dry-run ./beside");
        let granted: Vec<&str> =
            plan.works().stdout.lines().filter(|l| l.starts_with("    ") && !l.contains("/dev/")).collect();
        assert_eq!(granted, ["    ./beside  execute, read_file"]);
        let opened = "read: ok\nwrite: EACCES\ntcp: another error\nudp: ok\n";
        user.run("-q --ro secret --connect-tcp 9 --connect-udp 9 ./beside").said(0, opened, "");
    });
}

/// 32-bit code by hand, for which no library is needed: opens `secret`, and makes a TCP, a UDP and an MPTCP socket.
#[cfg(target_arch = "x86_64")]
const I386: &str = r#"
.globl _start
.macro result digit
    cmp $0, %eax
    jl 1f
    movb $'+', %al
    jmp 2f
1:  neg %eax
    addb $'a' - 1, %al
2:  movb %al, text + \digit
.endm
.macro socket type protocol
    mov $359, %eax
    mov $2, %ebx
    mov $\type, %ecx
    mov $\protocol, %edx
    int $0x80
.endm
_start:
    mov $5, %eax
    mov $name, %ebx
    xor %ecx, %ecx
    int $0x80
    result 0
    socket 1 0
    result 1
    socket 2 0
    result 2
    socket 1 262
    result 3
    mov $4, %eax
    mov $1, %ebx
    mov $text, %ecx
    mov $5, %edx
    int $0x80
    mov $1, %eax
    xor %ebx, %ebx
    int $0x80
.data
text: .ascii "....\n"
name: .asciz "secret"
"#;

#[cfg(target_arch = "x86_64")]
#[test]
fn a_32_bit_program_is_confined_alike() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        user.file("i386.s", I386);
        user.file("secret", "hidden\n");
        plain(user, "cc -m32 -nostdlib -static -o i386 i386.s");
        let free = Ran::of(user, user.command("./i386"));
        if free.status != Some(0) {
            // This kernel runs none.
            assert_eq!(user.run("./i386").status, Some(126));
            return;
        }
        assert!(free.stdout.starts_with("+++"), "{}", free.stdout);
        // EACCES is 13, the letter m.
        let udp = if user.abi() < 10 { 'm' } else { '+' };
        user.run("./i386").said(0, &format!("m+{udp}m\n"), "");
        user.run("--ro secret ./i386").said(0, &format!("++{udp}m\n"), "");
        user.run("-q --connect-udp 9 ./i386").said(0, "m++m\n", "");
        user.run("-q --no-backstop ./i386").said(0, &free.stdout.replacen('+', "m", 1), "");
    });
}

/// A terminal of tmux's, 90 columns wide and 20 lines high.
pub struct Terminal<'a>(&'a User);

impl<'a> Terminal<'a> {
    pub fn start(user: &'a User, command: &str) -> Terminal<'a> {
        let terminal = Terminal(user);
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "20", command]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = self.0.command("tmux");
        tmux.env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/sh").args(["-S", "terminal"]).args(args);
        Ran::of(self.0, tmux).works().stdout.clone()
    }

    pub fn types(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until this line, but for blanks at its end, stands on the screen so many times.
    #[track_caller]
    pub fn shows(&self, line: &str, times: usize) {
        let start = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if screen.lines().filter(|l| l.trim_end() == line).count() == times {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no {line:?} as {} in\n{screen}", self.0.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.0.command("tmux").args(["-S", "terminal", "kill-server"]).output();
    }
}

#[test]
fn an_interactive_bash_stops_and_continues_programs() {
    if !found(&["tmux", "bash", "stty"]) {
        return;
    }
    each_user(|user| {
        user.file("secret", "hidden\n");
        // What is typed before cat has started would be shown, and taken, by bash.
        user.file("f", "started\n");
        let bash = format!(
            "PS1='ready> ' LC_ALL=C exec {} run --rx /usr/bin/cat --ro f --rx /usr/bin/stty --preset shared,tty -- bash --norc -i",
            user.binary().display()
        );
        let terminal = Terminal::start(user, &bash);
        terminal.shows("ready>", 1);
        terminal.types(&["stty size", "Enter"]);
        terminal.shows("20 90", 1);
        terminal.types(&["cat f -", "Enter"]);
        terminal.shows("started", 1);
        // What is typed is shown by the terminal, then by cat.
        terminal.types(&["one", "Enter"]);
        terminal.shows("one", 2);
        terminal.types(&["C-z"]);
        terminal.shows("[1]+  Stopped                 cat f -", 1);
        terminal.shows("ready>", 1);
        terminal.types(&["fg"]);
        terminal.shows("ready> fg", 1);
        terminal.types(&["Enter"]);
        terminal.shows("cat f -", 1);
        terminal.types(&["two", "Enter"]);
        terminal.shows("two", 2);
        terminal.types(&["C-c"]);
        terminal.shows("ready>", 1);
        terminal.types(&["cat secret; echo $?", "Enter"]);
        terminal.shows("cat: secret: Permission denied", 1);
        terminal.shows("1", 1);
        terminal.types(&["echo x > new", "Enter"]);
        terminal.shows("bash: new: Permission denied", 1);
        assert!(!user.home().join("new").exists());
    });
}

#[test]
fn palisade_run_stops_and_continues_as_a_job() {
    if !found(&["tmux", "bash"]) {
        return;
    }
    each_user(|user| {
        user.file("f", "started\n");
        let terminal = Terminal::start(user, "PS1='ready> ' LC_ALL=C exec bash --norc -i");
        terminal.shows("ready>", 1);
        terminal.types(&[&format!("p={}", user.binary().display()), "Enter"]);
        terminal.types(&["$p run --ro f cat f -", "Enter"]);
        terminal.shows("started", 1);
        terminal.types(&["one", "Enter"]);
        terminal.shows("one", 2);
        terminal.types(&["C-z"]);
        terminal.shows("[1]+  Stopped                 $p run --ro f cat f -", 1);
        terminal.shows("ready>", 1);
        terminal.types(&["fg"]);
        terminal.shows("ready> fg", 1);
        terminal.types(&["Enter"]);
        terminal.shows("$p run --ro f cat f -", 1);
        terminal.types(&["two", "Enter"]);
        terminal.shows("two", 2);
        terminal.types(&["C-c"]);
        terminal.shows("ready>", 1);
        terminal.types(&["echo status $?", "Enter"]);
        terminal.shows("status 130", 1);
    });
}
