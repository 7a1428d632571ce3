//! Runs examples and their twins as whoever runs the tests, and if that is root, as an ordinary user too; and knows
//! what must come of each attack.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use palisade::{Abi, Kernel};

const NOBODY: u32 = 65534;
/// What takes as long hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// The ABI of this kernel's Landlock; 0 if it has none.
pub fn abi() -> u32 {
    Kernel::probe().abi().map_or(0, Abi::number)
}

/// Whether this kernel can restrict files and TCP, which `Policy::new()` requires.
pub fn enforces() -> bool {
    abi() >= 4
}

/// Waits until something is so; false if it is not for very long.
pub fn soon(mut so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !so() {
        if start.elapsed() > LIMIT {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Someone who runs programs, with a folder of his own.
pub struct User {
    pub name: &'static str,
    uid: Option<u32>,
    dir: tempfile::TempDir,
}

/// Does the same as each user.
pub fn each_user(test: impl Fn(&User)) {
    test(&User::new("the caller", None));
    if tests_run_as_root() {
        test(&User::new("an ordinary user", Some(NOBODY)));
    }
}

fn tests_run_as_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

impl User {
    fn new(name: &'static str, uid: Option<u32>) -> User {
        let dir = tempfile::Builder::new().prefix("palisade-").tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let user = User { name, uid, dir };
        fs::create_dir(user.home()).unwrap();
        user.owns(&user.home());
        fs::create_dir(user.dir.path().join("bin")).unwrap();
        user
    }

    /// Whether he is root.
    pub fn is_root(&self) -> bool {
        self.uid.is_none() && tests_run_as_root()
    }

    /// Whether he is another than who runs the tests.
    pub fn is_other(&self) -> bool {
        self.uid.is_some()
    }

    /// His folder, in which everything runs.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn owns(&self, path: &Path) {
        chown(path, self.uid, self.uid).unwrap();
    }

    /// A file of his, below his folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home().join(name);
        fs::write(&path, content).unwrap();
        self.owns(&path);
        path
    }

    /// A folder of his, below his folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.home().join(name);
        fs::create_dir(&path).unwrap();
        self.owns(&path);
        path
    }

    /// A copy of a program (`env!("CARGO_BIN_EXE_…")`) that he can reach, under its own name.
    pub fn binary(&self, program: &str) -> PathBuf {
        self.binary_as(program, Path::new(program).file_name().unwrap())
    }

    /// A copy of a program that he can reach, under a name that no other has. All are in the same folder.
    pub fn binary_as(&self, program: &str, name: impl AsRef<OsStr>) -> PathBuf {
        let copy = self.dir.path().join("bin").join(name.as_ref());
        // Another process copies: a descriptor of ours that is open to write could be inherited by a neighbour's
        // child, and make the copy busy.
        let copy_it =
            || Command::new("cp").arg(program).arg(&copy).status().is_ok_and(|status| status.success());
        assert!(copy.exists() || fs::hard_link(program, &copy).is_ok() || copy_it(), "{program}");
        copy
    }

    /// Any program, as he would start it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.home()).env_clear().stdin(Stdio::null());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C").env("HOME", self.home());
        if let Some(uid) = self.uid {
            // Without his groups: that is what std does for root.
            command.uid(uid).gid(uid);
        }
        command
    }

    /// Runs one of the programs of this package to its end.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command(self.binary(program));
        command.args(args);
        Ran::of(self, command)
    }

    /// The same, where nothing can be written to standard output.
    pub fn run_to_full<S: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command("sh");
        command.args(["-c", "exec \"$0\" \"$@\" > /dev/full"]).arg(self.binary(program)).args(args);
        Ran::of(self, command)
    }
}

/// What came of a command.
pub struct Ran {
    /// None if it died of a signal.
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    what: String,
}

impl Ran {
    /// Runs it to its end.
    #[track_caller]
    pub fn of(user: &User, mut command: Command) -> Ran {
        // Files, so that no pipe fills up.
        let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let what = format!("{command:?} as {} on ABI {}", user.name, abi());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut status = None;
        if !soon(|| {
            status = child.try_wait().unwrap();
            status.is_some()
        }) {
            let _ = child.kill();
            panic!("{what} hangs: {}{}", lossy(&content(&mut out)), lossy(&content(&mut err)));
        }
        let (stdout, stderr) = (content(&mut out), lossy(&content(&mut err)));
        Ran { status: status.unwrap().code(), stdout, stderr, what }
    }

    /// Its standard output, as text.
    pub fn text(&self) -> String {
        lossy(&self.stdout)
    }

    /// It ended with this status and said exactly this.
    #[track_caller]
    pub fn said(&self, status: i32, stdout: &str, stderr: &str) -> &Ran {
        let ran = (self.status, self.text(), self.stderr.as_str());
        assert_eq!(ran, (Some(status), stdout.to_owned(), stderr), "{}", self.what);
        self
    }

    /// It went well, and said nothing on standard error.
    #[track_caller]
    pub fn works(&self) -> &Ran {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{}: {}", self.what, self.text());
        self
    }

    /// It failed with this status, nothing on standard output, and these words on standard error.
    #[track_caller]
    pub fn failed(&self, status: i32, words: &str) -> &Ran {
        assert_eq!(
            (self.status, self.text()),
            (Some(status), String::new()),
            "{}: {}",
            self.what,
            self.stderr
        );
        assert!(self.stderr.contains(words), "{}: {}", self.what, self.stderr);
        self
    }

    /// It failed because this kernel cannot do what a policy requires.
    #[track_caller]
    pub fn cannot_be_confined(&self, status: i32) -> &Ran {
        assert!(!enforces());
        // Where there is Landlock the error says what is missing; else why there is none.
        self.failed(status, if abi() > 0 { "needs ABI 4 (Linux 6.7)" } else { "Landlock" })
    }
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a twin finds to attack: files and a program of the same user, and servers of the test.
pub struct World {
    user_is_other: bool,
    secret: PathBuf,
    outside: PathBuf,
    tcp: TcpListener,
    udp: UdpSocket,
    unix: UnixListener,
    abstract_socket: UnixListener,
    abstract_name: String,
    program: Child,
}

impl World {
    /// A new one, in a new folder of the user's.
    pub fn new(user: &User) -> World {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let name = format!("outside-{number}");
        let outside = user.folder(&name);
        let at = |file: &str| format!("{name}/{file}");
        let secret = user.file(&at("secret"), "a secret");
        for file in ["file", "old", "file to remove"] {
            user.file(&at(file), file);
        }
        for folder in ["folder", "folder to remove"] {
            user.folder(&at(folder));
        }
        symlink(&secret, outside.join("link")).unwrap();

        let unix = UnixListener::bind(outside.join("socket")).unwrap();
        user.owns(&outside.join("socket"));
        let abstract_name = format!("palisade-examples-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();

        // A program that waits for its input to end, so that it ends with the test, whatever happens.
        let mut cat = user.command("cat");
        let mut program = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Once it answers it is what it will be: a program of that user's, which he may look at.
        program.stdin.as_mut().unwrap().write_all(b".").unwrap();
        program.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();

        World {
            user_is_other: user.is_other(),
            secret,
            outside,
            tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            udp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            unix,
            abstract_socket: UnixListener::bind_addr(&address).unwrap(),
            abstract_name,
            program,
        }
    }

    /// A file that is not the example's to read; it lies in [`World::outside`].
    pub fn secret(&self) -> &Path {
        &self.secret
    }

    /// A folder that is not the example's.
    pub fn outside(&self) -> &Path {
        &self.outside
    }

    /// The words that tell a twin all this.
    pub fn words(&self) -> Vec<String> {
        vec![
            format!("secret={}", self.secret.display()),
            format!("outside={}", self.outside.display()),
            format!("program={}", self.program.id()),
            format!("tcp={}", self.tcp.local_addr().unwrap().port()),
            format!("udp={}", self.udp.local_addr().unwrap().port()),
            format!("unix={}", self.outside.join("socket").display()),
            format!("abstract={}", self.abstract_name),
        ]
    }

    /// What must come of `Attacker::everything` in a program whose policy grants none of it.
    pub fn attacks(&self) -> Attacks {
        let free = |path: &str| match File::open(path) {
            Ok(_) if self.user_is_other => "EACCES",
            Ok(_) => "OK",
            Err(error) if error.raw_os_error() == Some(13) => "EACCES",
            Err(error) => panic!("{path}: {error}"),
        };
        let parent = if self.user_is_other { "EPERM" } else { "OK" };
        let mut all = Attacks(Vec::new());
        for (name, free, abi, errno) in [
            ("read /etc/passwd", "OK", 1, "EACCES"),
            ("read /etc/shadow", free("/etc/shadow"), 1, "EACCES"),
            ("read a program", "OK", 1, "EACCES"),
            ("read a secret", "OK", 1, "EACCES"),
            ("read a secret through a symbolic link", "OK", 1, "EACCES"),
            ("read a secret through ..", "OK", 1, "EACCES"),
            ("read a secret in a new thread", "OK", 1, "EACCES"),
            ("list /", "OK", 1, "EACCES"),
            ("write to a file", "OK", 1, "EACCES"),
            ("truncate a file", "OK", 3, "EACCES"),
            ("create a file", "OK", 1, "EACCES"),
            ("create a folder", "OK", 1, "EACCES"),
            ("create a symbolic link", "OK", 1, "EACCES"),
            ("create a hard link", "OK", 1, "EACCES"),
            ("create a FIFO", "OK", 1, "EACCES"),
            ("create a socket", "OK", 1, "EACCES"),
            ("rename a file", "OK", 1, "EACCES"),
            ("remove a file", "OK", 1, "EACCES"),
            ("remove a folder", "OK", 1, "EACCES"),
            ("execute /bin/true", "OK", 1, "EACCES"),
            ("read through the root of process 1", free("/proc/1/root/etc/passwd"), 1, "EACCES"),
            ("read through a program's root", "OK", 1, "EACCES"),
            ("read a program's environment", "OK", 1, "EACCES"),
            ("signal a program", "OK", 6, "EPERM"),
            ("signal the parent", parent, 6, "EPERM"),
            ("connect by TCP", "OK", 4, "EACCES"),
            ("bind a TCP port", "OK", 4, "EACCES"),
            ("send by UDP", "OK", 10, "EACCES"),
            ("connect to a UNIX socket", "OK", 9, "EACCES"),
            ("connect to an abstract UNIX socket", "OK", 6, "EPERM"),
            ("see the size of a secret", "OK", NEVER, ""),
            ("change the mode of a secret", "OK", NEVER, ""),
            ("read a secret after allowing itself all", "OK", 1, "EACCES"),
        ] {
            all.0.push(Attack { name, free, abi, errno });
        }
        all
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What no kernel refuses.
pub const NEVER: u32 = u32::MAX;

struct Attack {
    name: &'static str,
    /// What comes of it where it is free.
    free: &'static str,
    /// The ABI from which on it is refused.
    abi: u32,
    errno: &'static str,
}

/// What must come of attacks.
pub struct Attacks(Vec<Attack>);

impl Attacks {
    /// First this one, which is the example's own.
    pub fn and(mut self, name: &'static str, free: &'static str, abi: u32, errno: &'static str) -> Attacks {
        let own = self.0.iter().position(|a| a.name == "read /etc/passwd").unwrap_or(self.0.len());
        self.0.insert(own, Attack { name, free, abi, errno });
        self
    }

    /// Here this one comes out otherwise, confined and free.
    pub fn but(mut self, name: &'static str, free: &'static str, abi: u32, errno: &'static str) -> Attacks {
        let attack = self.0.iter_mut().find(|a| a.name == name).expect("an attack of this name");
        *attack = Attack { name, free, abi, errno };
        self
    }

    /// Of this one, which the example grants, comes the same as where it is free.
    pub fn granted(mut self, name: &'static str) -> Attacks {
        self.0.iter_mut().find(|a| a.name == name).expect("an attack of this name").abi = NEVER;
        self
    }

    /// What a twin prints on this kernel if it is confined.
    pub fn confined(&self) -> String {
        self.lines(|a| if abi() >= a.abi { a.errno } else { a.free })
    }

    /// What a twin prints if it is not.
    pub fn free(&self) -> String {
        self.lines(|a| a.free)
    }

    fn lines(&self, outcome: impl Fn(&Attack) -> &str) -> String {
        self.0.iter().fold(String::new(), |mut lines, a| {
            let _ = writeln!(lines, "{}: {}", a.name, outcome(a));
            lines
        })
    }

    /// Runs a twin free, where every attempt works, and confined, each in a world of its own. `prepare` says which
    /// words it gets besides the world's, and what must come of its attempts.
    #[track_caller]
    pub fn check(user: &User, twin: &str, prepare: impl Fn(&World) -> (Vec<String>, Attacks)) {
        for free in [true, false] {
            let world = World::new(user);
            let (mut words, attacks) = prepare(&world);
            words.extend(world.words());
            if free {
                words.push("free".to_owned());
            }
            let ran = user.run(twin, words);
            match (free, enforces()) {
                (true, _) => ran.said(0, &attacks.free(), ""),
                (false, true) => ran.said(0, &attacks.confined(), ""),
                (false, false) => ran.cannot_be_confined(1),
            };
        }
    }
}

/// Whether the tools that a test needs are there. If not it cannot run: that is a failure where everything has to run
/// (`CI` is set), and said in any case.
pub fn found(tools: &[&str]) -> bool {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"];
    let there = |tool: &str| folders.iter().any(|folder| Path::new(folder).join(tool).exists());
    let missing: Vec<_> = tools.iter().filter(|tool| !there(tool)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "this test needs {missing:?}: install them");
    let thread = std::thread::current();
    let line = format!("LEFT OUT: {} needs {missing:?}\n", thread.name().unwrap_or_default());
    // Not by a macro: the test runner would keep to itself what that prints.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}
