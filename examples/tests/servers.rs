//! The examples that listen and connect, run as their users would, and their twins.

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use common::{Attacks, NEVER, Ran, User, World, abi, each_user, enforces, found, soon};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A program that runs until this is dropped.
struct Server {
    child: Child,
    stderr: File,
    /// What it said before it listened.
    said: String,
    /// The line after that.
    address: String,
}

impl Server {
    /// Starts a program, and waits until it prints the line, beginning so, that says where it listens.
    #[track_caller]
    fn start(user: &User, program: &str, words: &[String], line: &str) -> Server {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut command = user.command(user.binary(program));
        command.args(words).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let mut server = Server { child, stderr, said: String::new(), address: String::new() };
        let listens = || {
            let ended = server.child.try_wait().unwrap();
            server.said = content(&stdout);
            let complete = server.said.ends_with('\n');
            if let Some(last) = server.said.lines().last().filter(|last| complete && last.starts_with(line)) {
                server.address = last.to_owned();
            }
            ended.is_some() || !server.address.is_empty()
        };
        let known = soon(listens) && !server.address.is_empty();
        assert!(known, "{command:?}: {}{}", server.said, content(&server.stderr));
        server.said.truncate(server.said.len() - server.address.len() - 1);
        server
    }
}

/// What a file has, without moving its position, which a program shares.
fn content(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

/// What curl got: the body, and the status after it.
fn curl(user: &User, args: &[&str]) -> String {
    let mut command = user.command("curl");
    command.args(["--silent", "--show-error", "--write-out", "%{http_code}"]).args(args);
    Ran::of(user, command).works().text()
}

#[test]
fn wiki_serves_its_pages_and_nothing_else() {
    if !found(&["curl"]) {
        return;
    }
    each_user(|user| {
        let program = env!("CARGO_BIN_EXE_wiki");
        let args = words(["pages", "127.0.0.1:0", "wiki.sock"]);
        let pages = user.folder("pages");
        user.file("pages/start", "Welcome.\n");
        let secret = user.file("secret", "a secret");
        let upload = user.file("upload", "Uploaded.\n");
        symlink(&secret, pages.join("link")).unwrap();
        if !enforces() {
            user.run(program, args).cannot_be_confined(1);
            return;
        }
        let server = Server::start(user, program, &args, "http://127.0.0.1:");
        let url = |path: &str| format!("{}{path}", server.address);
        let still_serves = || {
            assert_eq!(curl(user, &[&url("/start")]), "Welcome.\n200");
            assert_eq!(curl(user, &["--unix-socket", "wiki.sock", "http://wiki/start"]), "Welcome.\n200");
        };
        still_serves();

        assert_eq!(curl(user, &["--upload-file", upload.to_str().unwrap(), &url("/uploaded")]), "204");
        assert_eq!(curl(user, &["--request", "PUT", "--data", "Put.", &url("/put")]), "204");
        let posted = ["--data", "Posted.", "--unix-socket", "wiki.sock", "http://wiki/put"];
        assert_eq!(curl(user, &posted), "204");
        assert_eq!(curl(user, &[&url("/uploaded")]), "Uploaded.\n200");
        assert_eq!(fs::read_to_string(pages.join("put")).unwrap(), "Posted.");
        assert_eq!(curl(user, &[&url("/")]), "link\nput\nstart\nuploaded\n200");
        assert_eq!(curl(user, &[&url("/missing")]), "404");

        for (path, status) in [
            ("/../secret", "404"),
            ("/start/../../secret", "404"),
            ("/..%2Fsecret", "400"),
            ("/%2e%2e%2fsecret", "400"),
            ("/%2Fetc%2Fpasswd", "400"),
            ("/..", "400"),
            ("/start%00", "400"),
            // A name that passes the check: this the kernel refuses.
            ("/link", "403"),
        ] {
            assert_eq!(curl(user, &["--path-as-is", &url(path)]), status, "{path}");
            let put = ["--path-as-is", "--request", "PUT", "--data", "overwritten", &url(path)];
            assert_eq!(curl(user, &put), status, "PUT {path}");
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "a secret");
        still_serves();

        // Its socket is its own as long as it runs, and the next one's then.
        user.run(program, &args).failed(1, "wiki.sock: Address already in use");
        // What is no socket is not its own, though nobody answers there either.
        symlink("wiki.sock", user.home().join("link.sock")).unwrap();
        for name in ["upload", "link.sock"] {
            let error = format!("wiki: {name}: Address already in use (os error 98)\n");
            user.run(program, ["pages", "127.0.0.1:0", name]).said(1, "", &error);
        }
        assert_eq!(fs::read_to_string(&upload).unwrap(), "Uploaded.\n");
        let other = |folder| user.run(program, [folder, "127.0.0.1:0", "other.sock"]);
        other("missing").said(1, "", "wiki: missing: No such file or directory (os error 2)\n");
        other("upload").said(1, "", "wiki: upload: is no directory\n");
        assert!(!user.home().join("other.sock").exists());
        user.run_to_full(program, ["pages", "127.0.0.1:0", "full.sock"]).said(
            1,
            "",
            "wiki: standard output: No space left on device (os error 28)\n",
        );
        user.run(program, ["pages"]).failed(1, "usage: wiki");
        drop(server);
        // A link to a socket at which nobody answers.
        user.run(program, ["pages", "127.0.0.1:0", "link.sock"])
            .failed(1, "link.sock: Address already in use");
        Server::start(user, program, &args, "http://127.0.0.1:");
    });
}

#[test]
fn wiki_twin_is_kept_to_its_pages() {
    if !found(&["curl"]) {
        return;
    }
    each_user(|user| {
        let program = env!("CARGO_BIN_EXE_wiki_twin");
        for free in [true, false] {
            let world = World::new(user);
            let name = world.outside().file_name().unwrap().to_str().unwrap();
            user.file(&format!("{name}/loose"), "loose");
            let pages = user.folder(&format!("pages of {name}"));
            for page in ["start", "old"] {
                user.file(&format!("pages of {name}/{page}"), "A page.\n");
            }
            symlink(world.secret(), pages.join("link")).unwrap();
            let attacks = world
                .attacks()
                .and("read a page", "OK", NEVER, "")
                .and("write to a page", "OK", NEVER, "")
                .and("create a page", "OK", NEVER, "")
                .and("execute a page", "OK", 1, "EACCES")
                .and("read a secret through a page", "OK", 1, "EACCES")
                .and("write to a secret through a page", "OK", 1, "EACCES")
                .and("read a secret through the pages' ..", "OK", 1, "EACCES")
                .and("make a page of a secret by a symbolic link", "OK", 1, "EACCES")
                .and("make a page of a secret by a hard link", "OK", 1, "EXDEV")
                .and("make a page of a file by renaming", "OK", 1, "EACCES")
                .and("create a folder among the pages", "OK", 1, "EACCES")
                .and("rename a page", "OK", 1, "EACCES")
                .and("remove a page", "OK", 1, "EACCES");
            let mut args = world.words();
            args.push(format!("pages={}", pages.display()));
            args.push(format!("socket={}", user.home().join(format!("{name}.sock")).display()));
            if free {
                args.push("free".to_owned());
            } else if !enforces() {
                user.run(program, args).cannot_be_confined(1);
                continue;
            }

            let server = Server::start(user, program, &args, "http://127.0.0.1:");
            assert_eq!(server.said, if free { attacks.free() } else { attacks.confined() });
            let status = |path: &str, more: &[&str]| {
                let url = format!("{}{path}", server.address);
                curl(user, &[&["--path-as-is", &url], more].concat())
            };
            // The server lets any name through; the kernel does not.
            let absolute = format!("/{}", world.secret().to_str().unwrap().replace('/', "%2F"));
            for path in ["/link", &format!("/..%2F{name}%2Fsecret"), &absolute] {
                assert_eq!(status(path, &[]), if free { "a secret200" } else { "403" }, "{path}");
            }
            let file = format!("/..%2F{name}%2Ffile");
            assert_eq!(status(&file, &["--request", "PUT", "--data", "!"]), if free { "204" } else { "403" });
            let written = fs::read_to_string(world.outside().join("file")).unwrap();
            // The attacker who is free has truncated it before.
            assert_eq!(written, if free { "!" } else { "file" });
            assert_eq!(status("/start", &[]), "Written to.\n200");
        }
    });
}

#[test]
fn threads_server_serves_its_folder_and_nothing_else() {
    each_user(|user| {
        let program = env!("CARGO_BIN_EXE_threads_server");
        let args = words(["public", "127.0.0.1:0"]);
        let public = user.folder("public");
        user.file("public/hello", "Hello.\n");
        let secret = user.file("secret", "a secret");
        symlink(&secret, public.join("link")).unwrap();
        if !enforces() {
            user.run(program, args).cannot_be_confined(1);
            return;
        }
        let server = Server::start(user, program, &args, "127.0.0.1:");
        let who = if abi() < 8 { "each of its threads" } else { "all its threads" };
        let report = content(&server.stderr);
        assert!(report.starts_with(&format!("This process ({who}) is confined")), "{report}");
        let ask = |name: &str| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
            writeln!(stream, "{name}").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        // More at a time than it has workers.
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    assert_eq!(ask("hello"), "Hello.\n");
                    for name in ["link", "../secret", secret.to_str().unwrap(), "/etc/passwd"] {
                        assert_eq!(ask(name), "error: Permission denied (os error 13)\n", "{name}");
                    }
                    assert_eq!(ask("missing"), "error: No such file or directory (os error 2)\n");
                });
            }
        });
        assert_eq!(ask("hello"), "Hello.\n");

        let file = user.run(program, ["public/hello", "127.0.0.1:0"]);
        file.failed(1, "/public/hello: is no directory, and the rule insists on one\n");
        user.run_to_full(program, &args)
            .failed(1, "threads_server: standard output: No space left on device (os error 28)\n");
    });
}

#[test]
fn threads_server_twin_is_confined_in_every_thread() {
    each_user(|user| {
        let folder = user.folder("public");
        user.file("public/hello", "Hello.\n");
        let twin = env!("CARGO_BIN_EXE_threads_server_twin");
        Attacks::check(user, twin, |world| {
            let threads = [
                ("read a secret in a worker", "connect by TCP in a worker", 4),
                ("read a secret in a blocking thread", "connect by TCP in a blocking thread", 3),
                ("read a secret in a thread that runs", "connect by TCP in a thread that runs", 1),
                ("read a secret in a thread that reads", "connect by TCP in a thread that reads", 1),
            ];
            let mut attacks = world.attacks();
            for (read, connect, times) in threads {
                for _ in 0..times {
                    attacks = attacks.and(read, "OK", 1, "EACCES").and(connect, "OK", 4, "EACCES");
                }
            }
            let attacks = attacks.and("read a file of the folder", "OK", NEVER, "").and(
                "write to a file of the folder",
                "OK",
                1,
                "EACCES",
            );
            (vec![format!("folder={}", folder.display())], attacks)
        });
    });
}

/// An HTTPS server for `localhost` in this process, on a port of its own.
struct Https {
    port: u16,
    connections: Arc<AtomicU32>,
}

impl Https {
    /// `/hello` is a page; `/redirect` leads to that of the other port.
    fn start(certificate: &Path, key: &Path, other: u16) -> Https {
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let config = Arc::new(config);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicU32::new(0));
        let counted = connections.clone();
        // It ends with the tests.
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let config = config.clone();
                // A client that does not trust us, or gives up, is an error here.
                thread::spawn(move || answer(stream?, config, other));
            }
        });
        Https { port, connections }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}

fn answer(stream: TcpStream, config: Arc<rustls::ServerConfig>, other: u16) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = rustls::StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let head = if request.starts_with(b"GET /redirect ") {
        format!("HTTP/1.1 302 Found\r\nLocation: https://localhost:{other}/hello")
    } else {
        "HTTP/1.1 200 OK".to_owned()
    };
    write!(tls, "{head}\r\nContent-Length: 7\r\nConnection: close\r\n\r\nHello.\n")?;
    tls.conn.send_close_notify();
    tls.flush()?;
    tls.sock.shutdown(Shutdown::Write)
}

/// A certificate for `localhost` that is its own authority, and its key.
fn certificate(user: &User) -> (PathBuf, PathBuf) {
    let config = "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n\
        [name]\nCN = only for these tests\n[extensions]\nsubjectAltName = DNS:localhost\nbasicConstraints = CA:FALSE\n";
    user.file("openssl.cnf", config);
    let mut openssl = user.command("openssl");
    openssl.args("req -x509 -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:prime256v1".split(' '));
    openssl.args("-nodes -days 36500 -keyout key.pem -out ca.pem".split(' '));
    let ran = Ran::of(user, openssl);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    (user.home().join("ca.pem"), user.home().join("key.pem"))
}

#[test]
fn https_client_fetches_from_one_port() {
    if !found(&["openssl"]) {
        return;
    }
    each_user(|user| {
        let program = env!("CARGO_BIN_EXE_https_client");
        let (ca, key) = certificate(user);
        let other = Https::start(&ca, &key, 0);
        let server = Https::start(&ca, &key, other.port);
        let with_ca = |path: &str| user.run(program, ["--ca", "ca.pem", &server.url(path)]);
        if !enforces() {
            with_ca("/hello").cannot_be_confined(1);
            return;
        }
        with_ca("/hello").said(0, "Hello.\n", "");
        with_ca("/redirect").failed(1, "Permission denied (os error 13)");
        assert_eq!(other.connections.load(Ordering::SeqCst), 0);
        // The system's authorities are not ours.
        user.run(program, [server.url("/hello")]).failed(1, "invalid peer certificate: UnknownIssuer");
        user.run(program, ["--ca", "missing.pem", &server.url("/hello")])
            .failed(1, "missing.pem: No such file");
        user.file("empty.pem", "no certificate");
        user.run(program, ["--ca", "empty.pem", &server.url("/hello")]).said(
            1,
            "",
            "https_client: empty.pem: no certificate in it\n",
        );
        // Nobody listens there.
        user.run(program, ["https://localhost:1/"]).said(
            1,
            "",
            "https_client: https://localhost:1/: io: Connection refused (os error 111)\n",
        );
        user.run_to_full(program, ["--ca", "ca.pem", &server.url("/hello")]).said(
            1,
            "",
            "https_client: standard output: No space left on device (os error 28)\n",
        );
        user.run(program, ["http://localhost/"]).failed(1, "not an https URL");
        user.run(program, [""; 0]).failed(1, "usage: https_client");
    });
}

#[test]
fn https_client_twin_reaches_one_port() {
    if !found(&["openssl"]) {
        return;
    }
    each_user(|user| {
        let (ca, key) = certificate(user);
        let other = Https::start(&ca, &key, 0);
        let server = Https::start(&ca, &key, other.port);
        let words = vec![
            format!("url={}", server.url("/hello")),
            format!("redirect={}", server.url("/redirect")),
            format!("ca={}", ca.display()),
        ];
        Attacks::check(user, env!("CARGO_BIN_EXE_https_client_twin"), |world| {
            let attacks = world
                .attacks()
                .and("fetch a page", "OK", NEVER, "")
                .and("fetch a page of another port by a redirect", "OK", 4, "EACCES")
                .and("open the file of authorities again", "OK", 1, "EACCES");
            (words.clone(), attacks)
        });
        // By the one who was free.
        assert_eq!(other.connections.load(Ordering::SeqCst), 1);
    });
}
