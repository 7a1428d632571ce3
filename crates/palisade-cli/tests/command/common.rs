//! Runs the command as whoever runs the tests, and if that is root, as an ordinary user too.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const NOBODY: u32 = 65534;

/// Names the compiled `probe.c`, where there is no compiler.
const PROBE: &str = "PALISADE_PROBE";

/// The first ABI that restricts TCP.
pub const TCP_ABI: u64 = 4;

/// Someone who runs the command, in a fresh folder of his own.
pub struct User {
    pub name: &'static str,
    uid: Option<u32>,
    dir: tempfile::TempDir,
    abi: OnceLock<u64>,
}

/// Does the same as each user.
pub fn each_user(test: impl Fn(&User)) {
    each_user_below(&std::env::temp_dir(), test);
}

/// As [`each_user`], with the folders below this one.
pub fn each_user_below(base: &Path, test: impl Fn(&User)) {
    let me = || User { name: "the caller", uid: None, dir: folder(base, None), abi: OnceLock::new() };
    test(&me());
    if tests_run_as_root() {
        let (uid, dir) = (Some(NOBODY), folder(base, Some(NOBODY)));
        test(&User { name: "an ordinary user", uid, dir, abi: OnceLock::new() });
    }
}

fn tests_run_as_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn folder(base: &Path, owner: Option<u32>) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(base).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The build's own folder may be closed to others. Another process copies: a descriptor of ours, open to write,
    // could be inherited by a neighbour's child, and make the copy busy.
    let palisade = std::env::var_os("PALISADE_BINARY").unwrap_or(env!("CARGO_BIN_EXE_palisade").into());
    let copied = Command::new("cp").arg(palisade).arg(dir.path().join("palisade")).status();
    assert!(copied.unwrap().success());
    fs::create_dir(dir.path().join("w")).unwrap();
    chown(dir.path().join("w"), owner, owner).unwrap();
    dir
}

impl User {
    pub fn is_root(&self) -> bool {
        self.uid.is_none() && tests_run_as_root()
    }

    /// His folder, in which everything runs.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("w")
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home().join(name);
        fs::write(&path, content).unwrap();
        chown(&path, self.uid, self.uid).unwrap();
        path
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.home().join(name);
        fs::create_dir(&path).unwrap();
        chown(&path, self.uid, self.uid).unwrap();
        path
    }

    /// Any program, unconfined.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.home()).env_clear().stdin(Stdio::null());
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home())
            .env("TMPDIR", self.home());
        command.env("LC_ALL", "C");
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// The binary `palisade`, which he may read and execute.
    pub fn binary(&self) -> PathBuf {
        self.dir.path().join("palisade")
    }

    /// Compiles `probe.c`, which says what is open to a program, as `probe` in his folder.
    pub fn probe(&self) -> PathBuf {
        if let Some(compiled) = std::env::var_os(PROBE) {
            let mut cp = self.command("cp");
            cp.arg(compiled).arg("probe");
            Ran::of(self, cp).works();
            return self.home().join("probe");
        }
        self.file("probe.c", include_str!("probe.c"));
        let mut cc = self.command("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-o", "probe", "probe.c", "-lutil"]);
        Ran::of(self, cc).works();
        self.home().join("probe")
    }

    /// The ABI of the kernel's Landlock, as `palisade status` says; 0 if there is none.
    pub fn abi(&self) -> u64 {
        *self.abi.get_or_init(|| {
            let mut status = self.command(self.binary());
            status.args(["status", "--json"]);
            let json: serde_json::Value = serde_json::from_str(&Ran::of(self, status).stdout).unwrap();
            json["abi"].as_u64().unwrap()
        })
    }

    /// The option without which nothing runs on this kernel, if it cannot restrict files and TCP.
    pub fn go_on(&self) -> &'static str {
        if self.abi() < TCP_ABI { "--best-effort" } else { "" }
    }

    /// `palisade` with these arguments.
    pub fn palisade<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command(self.binary());
        command.args(args);
        Ran::of(self, command)
    }

    /// `palisade run` with these words; none has a space in it.
    pub fn run(&self, words: &str) -> Ran {
        self.palisade(["run"].into_iter().chain(words.split_whitespace()))
    }

    /// `palisade run OPTIONS -- sh -c SCRIPT`
    pub fn script(&self, options: &str, shell: &str, script: &str) -> Ran {
        self.palisade(
            ["run"].into_iter().chain(options.split_whitespace()).chain(["--", shell, "-c", script]),
        )
    }
}

/// What came of a command.
pub struct Ran {
    pub status: Option<i32>,
    /// Which signal it died of.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    what: String,
}

impl Ran {
    pub fn of(user: &User, mut command: Command) -> Ran {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let what = format!("{command:?} as {}", user.name);
        let signal = status.signal();
        Ran { status: status.code(), signal, stdout: text(stdout), stderr: text(stderr), what }
    }

    /// It ended with this status and said exactly this.
    #[track_caller]
    pub fn said(&self, status: i32, stdout: &str, stderr: &str) -> &Ran {
        let ran = (self.status, self.stdout.as_str(), self.stderr.as_str());
        assert_eq!(ran, (Some(status), stdout, stderr), "{}", self.what);
        self
    }

    /// It went well, and said nothing on standard error.
    #[track_caller]
    pub fn works(&self) -> &Ran {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{}: {}", self.what, self.stdout);
        self
    }

    /// It failed, and said on standard error which rule of the kernel's it was.
    #[track_caller]
    pub fn refused(&self, words: &str) -> &Ran {
        assert!(
            self.status != Some(0) && self.stderr.contains(words),
            "{}: {:?} {}",
            self.what,
            self.status,
            self.stderr
        );
        assert!(!self.stderr.contains("palisade: "), "{}: {}", self.what, self.stderr);
        self
    }
}

/// Whether there is a way to [`User::probe`]; else as [`found`].
pub fn can_probe() -> bool {
    std::env::var_os(PROBE).is_some() || found(&["cc"])
}

/// Whether the tools that a test needs are there. If not it cannot run: that is a failure where everything has to run
/// (`CI` is set), and said in any case.
pub fn found(tools: &[&str]) -> bool {
    let there = |tool: &&&str| {
        ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|d| Path::new(d).join(tool).exists())
    };
    let missing: Vec<_> = tools.iter().filter(|tool| !there(tool)).collect();
    assert!(
        missing.is_empty() || std::env::var_os("CI").is_none(),
        "this test needs {missing:?}: install them"
    );
    if !missing.is_empty() {
        // Not by a macro, what that prints the test runner would keep to itself.
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        let line = format!("LEFT OUT: {test} needs {missing:?}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    missing.is_empty()
}
