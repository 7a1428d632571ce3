//! What an attacker tries who has taken over a program that confined itself.
//!
//! The twins of the examples share it. What there is to attack comes as words `KEY=VALUE`, made by the tests; each
//! attempt prints one line, `NAME: OK` or `NAME: EACCES` (the name of the error number).

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo, truncate};
use palisade::Policy;

/// What there is to attack, and where to tell what came of it.
pub struct Attacker {
    targets: HashMap<String, String>,
    out: Box<dyn Write>,
}

impl Attacker {
    /// The targets are the words of the command line, and standard output is told.
    #[allow(dead_code, reason = "a twin may hear of its targets otherwise")]
    pub fn from_arguments() -> Attacker {
        Attacker::new(std::env::args().skip(1), io::stdout())
    }

    /// The targets are these words, `KEY=VALUE` or a KEY alone.
    pub fn new(words: impl IntoIterator<Item = String>, out: impl Write + 'static) -> Attacker {
        let pair = |word: String| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (word, String::new()),
        };
        Attacker { targets: words.into_iter().map(pair).collect(), out: Box::new(out) }
    }

    /// Whether the word `free` was given: then the twin does not confine itself, to show that what it attempts works
    /// where nothing refuses it.
    #[allow(dead_code, reason = "a twin may be confined by another program")]
    pub fn is_free(&self) -> bool {
        self.targets.contains_key("free")
    }

    /// The value of a word.
    pub fn target(&self, key: &str) -> String {
        self.targets.get(key).unwrap_or_else(|| panic!("the word {key}=… is missing")).clone()
    }

    /// The value of a word that is a number: a port, a process.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> T {
        self.target(key).parse().unwrap_or_else(|_| panic!("the word {key}=… is no number"))
    }

    /// Tells what came of an attempt.
    pub fn attempt<T>(&mut self, name: &str, result: Result<T, impl Into<io::Error>>) {
        let outcome = match result.map_err(Into::into) {
            Ok(_) => "OK".to_owned(),
            Err(error) => match error.raw_os_error() {
                Some(errno) => format!("{:?}", Errno::from_raw(errno)),
                None => error.to_string(),
            },
        };
        writeln!(self.out, "{name}: {outcome}").expect("to tell what came of it");
    }

    /// All that is no different from example to example. It comes last, because its last attempt changes what the
    /// process may do.
    pub fn everything(&mut self) {
        self.files();
        self.other_programs();
        self.network();
        self.what_landlock_leaves_open();

        // A second sandbox is a further one: it gives nothing back.
        let anew = Policy::new().rwx("/").best_effort().enforce().map_err(io::Error::from);
        let secret = self.target("secret");
        self.attempt("read a secret after allowing itself all", anew.and_then(|_| fs::read(secret)));
    }

    fn files(&mut self) {
        let secret = PathBuf::from(self.target("secret"));
        let outside = PathBuf::from(self.target("outside"));
        let at = |name: &str| outside.join(name);

        self.attempt("read /etc/passwd", fs::read("/etc/passwd"));
        self.attempt("read /etc/shadow", fs::read("/etc/shadow"));
        self.attempt("read a program", fs::read("/bin/true"));
        self.attempt("read a secret", fs::read(&secret));
        self.attempt("read a secret through a symbolic link", fs::read(at("link")));
        self.attempt("read a secret through ..", fs::read(at("folder/../secret")));
        let in_thread = thread::scope(|s| s.spawn(|| fs::read(&secret)).join().expect("no panic"));
        self.attempt("read a secret in a new thread", in_thread);
        self.attempt("list /", fs::read_dir("/"));
        self.attempt("write to a file", OpenOptions::new().append(true).open(at("file")));
        self.attempt("truncate a file", truncate(&at("file"), 0));
        self.attempt("create a file", fs::write(at("new"), "new"));
        self.attempt("create a folder", fs::create_dir(at("new folder")));
        self.attempt("create a symbolic link", symlink(&secret, at("new symbolic link")));
        self.attempt("create a hard link", fs::hard_link(at("file"), at("new hard link")));
        self.attempt("create a FIFO", mkfifo(&at("new FIFO"), Mode::S_IRUSR));
        self.attempt("create a socket", UnixListener::bind(at("new socket")));
        self.attempt("rename a file", fs::rename(at("old"), at("renamed")));
        self.attempt("remove a file", fs::remove_file(at("file to remove")));
        self.attempt("remove a folder", fs::remove_dir(at("folder to remove")));
        self.attempt("execute /bin/true", Command::new("/bin/true").status());
    }

    /// Another program of the same user, which is outside of any sandbox, and the parent.
    fn other_programs(&mut self) {
        let other = Pid::from_raw(self.number("program"));
        let secret = self.target("secret");
        let of_other = |what: &str| Path::new("/proc").join(other.to_string()).join(what);

        self.attempt("read through the root of process 1", fs::read("/proc/1/root/etc/passwd"));
        self.attempt("read through a program's root", fs::read(of_other(&format!("root{secret}"))));
        self.attempt("read a program's environment", fs::read(of_other("environ")));
        // Ignored by default.
        self.attempt("signal a program", kill(other, Signal::SIGURG));
        let parent = Pid::from_raw(std::os::unix::process::parent_id() as i32);
        self.attempt("signal the parent", kill(parent, None));
    }

    fn network(&mut self) {
        let here = |port: u16| (Ipv4Addr::LOCALHOST, port);
        let abstract_name = SocketAddr::from_abstract_name(self.target("abstract"));

        self.attempt("connect by TCP", TcpStream::connect(here(self.number("tcp"))));
        self.attempt("bind a TCP port", TcpListener::bind(here(0)));
        let udp = UdpSocket::bind(here(0)).and_then(|s| s.send_to(b"sent", here(self.number("udp"))));
        self.attempt("send by UDP", udp);
        self.attempt("connect to a UNIX socket", UnixStream::connect(self.target("unix")));
        let abstract_socket = abstract_name.and_then(|name| UnixStream::connect_addr(&name));
        self.attempt("connect to an abstract UNIX socket", abstract_socket);
    }

    /// What SECURITY.md says is not refused.
    fn what_landlock_leaves_open(&mut self) {
        let secret = self.target("secret");
        self.attempt("see the size of a secret", fs::metadata(&secret));
        let changed = fs::set_permissions(&secret, fs::Permissions::from_mode(0o640));
        self.attempt("change the mode of a secret", changed);
    }
}
