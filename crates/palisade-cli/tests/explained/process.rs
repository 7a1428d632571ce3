//! A program that does operations when it is told to: free, or under palisade.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::sys::stat::{SFlag, makedev};
use palisade::{FileKind, Open};
use serde_json::Value;

use crate::round::Operation;
use crate::worker::{STEPS, Step, WAYS, Way};
use crate::world::{Peers, World, opened};

/// The programs, in a folder that everybody can read, and where the outcome is written.
pub struct Programs {
    pub palisade: PathBuf,
    pub worker: PathBuf,
}

impl Programs {
    pub fn new(dir: &Path) -> Programs {
        let palisade = std::env::var_os("PALISADE_BINARY").unwrap_or(env!("CARGO_BIN_EXE_palisade").into());
        let copied = |from: &Path, name: &str| {
            let to = dir.join(name);
            std::fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
            to
        };
        Programs {
            palisade: copied(Path::new(&palisade), "palisade"),
            worker: copied(Path::new("/proc/self/exe"), "worker"),
        }
    }
}

/// Descriptors that it is given.
struct Kept {
    root: OwnedFd,
    bound: OwnedFd,
}

impl Kept {
    fn new(root: &Path, peers: &Peers) -> Kept {
        let root = opened(root, OFlag::O_PATH).expect("the tree's root");
        let bound = OwnedFd::from(peers.bound.try_clone().expect("a descriptor"));
        for fd in [&root, &bound] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).expect("to be inherited");
        }
        Kept { root, bound }
    }

    fn numbers(&self) -> [RawFd; 2] {
        [self.root.as_raw_fd(), self.bound.as_raw_fd()]
    }
}

pub struct Process {
    child: Child,
}

/// How an operation ended: 0 or an error number, and by which of its calls.
pub type Outcome = (i32, Step);

impl Process {
    /// Without a policy, but without capabilities too, as under `palisade run`.
    pub fn free(programs: &Programs, world: &World, peers: &Peers) -> Process {
        let kept = Kept::new(&world.root, peers);
        let mut command = Command::new(&programs.worker);
        command.arg("--free").args(kept.numbers().map(|fd| fd.to_string()));
        Process::start(command, world).expect("it begins")
    }

    /// `palisade run OPTIONS`. None if it cannot open what the policy names.
    pub fn confined(
        programs: &Programs,
        world: &World,
        peers: &Peers,
        options: &[OsString],
    ) -> Option<Process> {
        let closed = |said: String| {
            let closed = said.contains("ordinary permissions refuse this");
            assert!(closed && said.starts_with("exit status: 125"), "{said}");
        };
        Process::under("run", programs, world, peers, options).map_err(closed).ok()
    }

    /// `palisade SUBCOMMAND OPTIONS`; or how it ended, if it did not start the program, and what it said.
    pub fn under(
        subcommand: &str,
        programs: &Programs,
        world: &World,
        peers: &Peers,
        options: &[OsString],
    ) -> Result<Process, String> {
        let kept = Kept::new(&world.root, peers);
        let mut command = Command::new(&programs.palisade);
        command.args([subcommand, "-q"]).args(options);
        let numbers = kept.numbers().map(|fd| fd.to_string());
        command.args(numbers.iter().map(|fd| format!("--keep-fd={fd}")));
        command.arg("--").arg(&programs.worker).arg("--worker").args(numbers);
        Process::start(command, world)
    }

    fn start(mut command: Command, world: &World) -> Result<Process, String> {
        command.current_dir(&world.root).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a program can be started");
        if child.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 5]).is_ok() {
            return Ok(Process { child });
        }
        let ended = child.wait_with_output().expect("wait");
        Err(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr)))
    }

    pub fn perform(&mut self, words: &[Vec<u8>]) -> Outcome {
        let text = words.join(&b"\0"[..]);
        let line = self.child.stdin.as_mut().expect("a pipe");
        let told = line.write_all(&(text.len() as u32).to_ne_bytes()).and_then(|()| line.write_all(&text));
        let mut answer = [0; 8];
        let answered =
            told.and_then(|()| self.child.stdout.as_mut().expect("a pipe").read_exact(&mut answer));
        answered.unwrap_or_else(|error| panic!("no answer ({error}): it ended with {:?}", self.child.wait()));
        let [errno, step] =
            [0, 4].map(|at| i32::from_ne_bytes(answer[at..at + 4].try_into().expect("four bytes")));
        (errno, STEPS[step as usize])
    }

    /// There is nothing more to do.
    pub fn end(self) {
        self.ended().unwrap_or_else(|said| panic!("it ended with {said}"));
    }

    /// The same; or how it ended, if not well, and what it said.
    pub fn ended(mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        let ended = self.child.wait_with_output().expect("wait");
        let said = String::from_utf8_lossy(&ended.stderr);
        match ended.status.success() && said.is_empty() {
            true => Ok(()),
            false => Err(format!("{}: {said}", ended.status)),
        }
    }
}

/// What to tell it.
pub fn words(operation: &Operation, way: Way, world: &World, peers: &Peers) -> Vec<Vec<u8>> {
    let path = |path: &Path| world.real(path).into_os_string().into_vec();
    let number = |number: i64| number.to_string().into_bytes();
    let (name, rest): (&str, Vec<Vec<u8>>) = match operation {
        Operation::Open(at, how) => ("open", vec![number(flags(*how)), path(at)]),
        Operation::List(at) => ("open", vec![number(flags(Open::READ | Open::DIRECTORY)), path(at)]),
        Operation::Ioctl(at) => ("ioctl", vec![path(at)]),
        Operation::Make(at, FileKind::Dir) => ("mkdir", vec![path(at)]),
        Operation::Make(at, FileKind::Symlink) => ("symlink", vec![path(at)]),
        Operation::Make(at, kind) => {
            let (kind, device) = match kind {
                FileKind::Fifo => (SFlag::S_IFIFO, 0),
                FileKind::Char => (SFlag::S_IFCHR, makedev(1, 3)),
                FileKind::Whiteout => (SFlag::S_IFCHR, makedev(0, 0)),
                // A number that no driver has.
                FileKind::Block => (SFlag::S_IFBLK, makedev(250, 7)),
                FileKind::Socket => (SFlag::S_IFSOCK, 0),
                _ => (SFlag::S_IFREG, 0),
            };
            let mode = i64::from(kind.bits() | 0o700);
            ("mknod", vec![number(mode), number(device as i64), path(at)])
        }
        Operation::BindUnix(at) => ("bind-unix", vec![path(at)]),
        Operation::Unlink(at) => ("unlink", vec![path(at)]),
        Operation::Rmdir(at) => ("rmdir", vec![path(at)]),
        Operation::Rename(old, new) => ("rename", vec![path(old), path(new)]),
        Operation::Exchange(one, other) => ("exchange", vec![path(one), path(other)]),
        Operation::Link(old, new) => ("link", vec![path(old), path(new)]),
        Operation::Truncate(at) => ("truncate", vec![path(at)]),
        Operation::Execute(at) => ("execute", vec![path(at)]),
        Operation::BindTcp(port) => {
            ("bind-port", [libc::SOCK_STREAM.into(), i64::from(*port)].map(number).into())
        }
        Operation::BindUdp(port) => {
            ("bind-port", [libc::SOCK_DGRAM.into(), i64::from(*port)].map(number).into())
        }
        Operation::ConnectTcp(port) => ("connect-tcp", vec![number((*port).into())]),
        Operation::ConnectUdp { port, send, bound } => {
            ("udp", [i64::from(*send), i64::from(*bound), i64::from(*port)].map(number).into())
        }
        Operation::ConnectUnix(at) => ("connect-unix", vec![path(at)]),
        Operation::ConnectAbstract { stream } => {
            let (kind, end): (_, &[u8]) = match stream {
                true => (libc::SOCK_STREAM, b"-stream"),
                false => (libc::SOCK_DGRAM, b"-datagram"),
            };
            ("connect-abstract", vec![number(kind.into()), [&peers.name, end].concat()])
        }
        Operation::Signal => ("signal", vec![number(peers.pid.as_raw().into())]),
    };
    let way = WAYS.iter().position(|of| *of == way).expect("a way") as i64;
    [vec![name.as_bytes().to_vec(), number(way)], rest].concat()
}

/// Without waiting for whoever is at the other end of a FIFO.
fn flags(how: Open) -> i64 {
    let mode = match (how.contains(Open::READ), how.contains(Open::WRITE)) {
        (true, true) => libc::O_RDWR,
        (true, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        // Neither to read nor to write.
        (false, false) => libc::O_ACCMODE,
    };
    let others = [
        (Open::CREATE, libc::O_CREAT),
        (Open::EXCLUSIVE, libc::O_EXCL),
        (Open::TRUNCATE, libc::O_TRUNC),
        (Open::TEMPORARY, libc::O_TMPFILE),
        (Open::NO_FOLLOW, libc::O_NOFOLLOW),
        (Open::PATH, libc::O_PATH),
        (Open::DIRECTORY, libc::O_DIRECTORY),
    ];
    let others = others.into_iter().filter(|(flag, _)| how.contains(*flag)).map(|(_, flag)| flag);
    (others.fold(mode, |all, flag| all | flag) | libc::O_NONBLOCK | libc::O_CLOEXEC).into()
}

/// A word of JSON: text, or bytes where they are no UTF-8.
pub fn word(value: &Value) -> Option<OsString> {
    if let Some(text) = value.as_str() {
        return Some(text.into());
    }
    let bytes: Option<Vec<u8>> =
        value["bytes"].as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
    Some(OsString::from_vec(bytes?))
}
