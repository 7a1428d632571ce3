//! Runs each case in a process of its own, and what cases share.
//!
//! A case is named in the environment of a copy of this program, which runs it before it has a second thread. Run by
//! root, each case runs as root and as an ordinary user. A case stays free as a rule: it forks, and the fork confines
//! itself, so that one case sees many policies, and is itself what is outside.

use std::fmt::Debug;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, chown, geteuid, setgid, setgroups, setuid};
use palisade::{Covers, Kernel, Policy, Report, Rights};

use crate::cases::can_overlay;
use crate::sys;

const CASE: &str = "PALISADE_CASE";
const DIR: &str = "PALISADE_CASE_DIR";
/// Has to be set for the cases named audit_…, which root alone can run: they turn the machine's auditing on.
const AUDIT: &str = "PALISADE_AUDIT";
/// A case that takes as long hangs.
const LIMIT: Duration = Duration::from_secs(600);
/// The ordinary user: nobody's number nearly everywhere, but no name is looked up.
const USER: u32 = 65534;
/// What a fork ends with if it panics; no error number is as high.
const PANICKED: i32 = 254;

/// A name and what it runs.
pub type Case = (&'static str, fn());

/// The cases of a module, each named as its function.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub const CASES: &[crate::harness::Case] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use cases;

/// The whole program: a helper of a case, or a case, if one is named in the environment, or else the runner of all.
pub fn main(cases: &[&[Case]]) -> ExitCode {
    if let Some(code) = crate::cases::helper() {
        return code;
    }
    let cases: Vec<Case> = cases.concat();
    if let Ok(name) = std::env::var(CASE) {
        let (_, run) = cases.iter().find(|(n, _)| name.ends_with(&format!("::{n}"))).expect("a case's name");
        if name.starts_with("user::") && geteuid().is_root() {
            become_user();
        }
        // Now: a fork made while another thread asks would wait for the answer without end.
        abi();
        run();
        return ExitCode::SUCCESS;
    }
    let root = geteuid().is_root();
    let mut trials = Vec::new();
    for (case, _) in cases {
        let (audits, overlay) = (case.starts_with("audit_"), case.starts_with("overlay_"));
        for who in if audits || overlay { &["root"][..] } else { &["root", "user"] } {
            let name = format!("{who}::{case}");
            let cannot = (*who == "root" && !root) || (audits && !may_audit()) || (overlay && !can_overlay());
            trials.push(Trial::test(name.clone(), move || run(&name, root)).with_ignored_flag(cannot));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn may_audit() -> bool {
    std::env::var_os(AUDIT).is_some()
}

/// Gives up root for good, and stays visible to itself in /proc.
pub fn become_user() {
    setgroups(&[]).expect("setgroups");
    setgid(Gid::from_raw(USER)).expect("setgid");
    setuid(Uid::from_raw(USER)).expect("setuid");
    nix::sys::prctl::set_dumpable(true).expect("PR_SET_DUMPABLE");
}

/// One case in its process; what it prints is shown if it fails.
fn run(name: &str, root: bool) -> Result<(), Failed> {
    if name.starts_with("root::") && !root {
        return Err("only root can run this".into());
    }
    if name.starts_with("root::audit_") && !may_audit() {
        return Err(
            format!("this turns the machine's auditing on for a moment: set {AUDIT} if it may").into()
        );
    }
    let dir = tempfile::Builder::new().prefix("palisade-").tempdir()?;
    if root && name.starts_with("user::") {
        chown(dir.path(), Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))?;
    }
    let mut output = tempfile::tempfile()?;
    let mut child = Command::new("/proc/self/exe")
        .env(CASE, name)
        .env(DIR, dir.path())
        .env("RUST_BACKTRACE", "0")
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if start.elapsed() > LIMIT => {
                child.kill()?;
                break child.wait()?;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    output.rewind()?;
    output.read_to_string(&mut said)?;
    Err(format!("{status}\n{said}").into())
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The ABI of this kernel, as it says itself and not as the library has it; 0 if it has none. One that is newer than
/// the library is held to what the newest known one does.
pub fn abi() -> u32 {
    static ASKED: OnceLock<u32> = OnceLock::new();
    *ASKED.get_or_init(sys::landlock_abi)
}

/// A new directory for this case.
pub fn fresh() -> PathBuf {
    let within = std::env::var_os(DIR).expect("a case has a directory");
    tempfile::tempdir_in(within).expect("a new directory").keep()
}

/// Writes a file.
pub fn put(path: impl AsRef<Path>, text: &str) {
    fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()));
}

pub fn mkdir(path: impl AsRef<Path>) {
    fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()));
}

/// Writes a program that is executable.
pub fn put_program(path: impl AsRef<Path>, bytes: &[u8]) {
    fs::write(&path, bytes).expect("a program can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program can be made executable");
}

/// What became of an operation.
pub type Outcome = Result<(), Errno>;

/// The error number of what failed.
pub trait Failure: Debug {
    fn errno(&self) -> Errno;
}

impl Failure for Errno {
    fn errno(&self) -> Errno {
        *self
    }
}

impl Failure for io::Error {
    fn errno(&self) -> Errno {
        let palisade = || self.get_ref()?.downcast_ref::<palisade::Error>()?.errno();
        let errno = self.raw_os_error().or_else(palisade);
        Errno::from_raw(errno.unwrap_or_else(|| panic!("no error of the system: {self:?}")))
    }
}

pub fn outcome<T, E: Failure>(result: Result<T, E>) -> Outcome {
    result.map(drop).map_err(|e| e.errno())
}

/// What is expected of an operation in a confined process, by the kernel's ABI: refused from one version on, and
/// (seldom) up to before another.
#[derive(Clone, Copy)]
pub struct Expect {
    from: u32,
    before: u32,
    errno: Errno,
}

pub const WORKS: Expect = from(u32::MAX, Errno::UnknownErrno);
/// EACCES wherever there is Landlock.
pub const A: Expect = from(1, Errno::EACCES);
/// EXDEV wherever there is Landlock.
pub const X: Expect = from(1, Errno::EXDEV);

/// Refused from this ABI on.
pub const fn from(abi: u32, errno: Errno) -> Expect {
    Expect { from: abi, before: u32::MAX, errno }
}

impl Expect {
    /// And no longer refused from this ABI on.
    pub const fn before(self, abi: u32) -> Expect {
        Expect { before: abi, ..self }
    }

    /// The outcome on this kernel of what has the other outcome where it is free.
    fn here(self, free: Outcome) -> Outcome {
        if (self.from..self.before).contains(&abi()) { Err(self.errno) } else { free }
    }
}

#[track_caller]
pub fn works<T, E: Failure>(result: Result<T, E>) {
    assert_eq!(outcome(result), Ok(()));
}

/// Refused with this error number on every kernel.
#[track_caller]
pub fn fails<T, E: Failure>(errno: Errno, result: Result<T, E>) {
    assert_eq!(outcome(result), Err(errno));
}

/// Refused where there is Landlock; works elsewhere.
#[track_caller]
pub fn refused<T, E: Failure>(errno: Errno, result: Result<T, E>) {
    expected(from(1, errno), result);
}

#[track_caller]
pub fn expected<T, E: Failure>(expect: Expect, result: Result<T, E>) {
    assert_eq!(outcome(result), expect.here(Ok(())), "on ABI {}", abi());
}

type After = Box<dyn FnOnce() -> Outcome>;

/// An operation, what is expected of it when it is confined, and when it is free.
pub struct Row {
    name: String,
    expect: Expect,
    free: Option<Outcome>,
    prepare: Box<dyn Fn(&Path) -> After>,
}

/// An operation in a directory.
pub fn row<T, E: Failure>(
    name: &str,
    expect: Expect,
    operation: impl Fn(&Path) -> Result<T, E> + Copy + 'static,
) -> Row {
    prepared(name, expect, move |dir| {
        let dir = dir.to_owned();
        move || operation(&dir)
    })
}

/// An operation on what was opened before the process confined itself.
pub fn prepared<T, E: Failure, F: FnOnce() -> Result<T, E> + 'static>(
    name: &str,
    expect: Expect,
    prepare: impl Fn(&Path) -> F + 'static,
) -> Row {
    let prepare = move |dir: &Path| -> After {
        let operation = prepare(dir);
        Box::new(move || outcome(operation()))
    };
    Row { name: name.to_owned(), expect, free: Some(Ok(())), prepare: Box::new(prepare) }
}

impl Row {
    /// Where it is free, it fails with this.
    pub fn free(self, errno: Errno) -> Row {
        Row { free: Some(Err(errno)), ..self }
    }

    /// What comes of it where it is free depends on the kernel and the file system; only the same must come of it
    /// where it is confined and not refused.
    pub fn free_any(self) -> Row {
        Row { free: None, ..self }
    }
}

/// One policy, or several that are stacked.
pub trait Layers {
    fn layers(self) -> Vec<Policy>;
}

impl Layers for Policy {
    fn layers(self) -> Vec<Policy> {
        vec![self]
    }
}

impl Layers for Vec<Policy> {
    fn layers(self) -> Vec<Policy> {
        self
    }
}

impl<const N: usize> Layers for [Policy; N] {
    fn layers(self) -> Vec<Policy> {
        self.into()
    }
}

/// Each operation twice, each time in a new process and a new directory that `tree` fills: free, then confined.
#[track_caller]
pub fn check<L: Layers>(tree: impl Fn(&Path), policy: impl Fn(&Path) -> L, rows: &[Row]) {
    let mut wrong = String::new();
    for row in rows {
        let once = |layers: &dyn Fn(&Path) -> Vec<Policy>| {
            let dir = fresh();
            tree(&dir);
            forked(|| {
                let operation = (row.prepare)(&dir);
                layers(&dir).iter().for_each(|policy| drop(confine(policy)));
                operation()
            })
        };
        let free = once(&|_| Vec::new());
        let confined = once(&|dir| policy(dir).layers());
        let expected = row.expect.here(free);
        if row.free.is_some_and(|f| f != free) || expected != confined {
            let _ = writeln!(
                wrong,
                "{}: free {free:?}, confined {confined:?}; expected {:?}, {expected:?}",
                row.name, row.free
            );
        }
    }
    assert!(wrong.is_empty(), "on ABI {}:\n{wrong}", abi());
}

/// What comes of `f` in a fork of this process.
#[track_caller]
pub fn forked<T, E: Failure>(f: impl FnOnce() -> Result<T, E>) -> Outcome {
    let pid = sys::fork(|| match catch_unwind(AssertUnwindSafe(|| outcome(f()))) {
        Ok(Ok(())) => 0,
        Ok(Err(errno)) => errno as i32,
        Err(_) => PANICKED,
    });
    match waitpid(pid, None).expect("waitpid") {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, code) if code != PANICKED => Err(Errno::from_raw(code)),
        other => panic!("a fork failed: {other:?}"),
    }
}

/// What comes of `f` in a fork that confines itself first.
#[track_caller]
pub fn confined<L: Layers, T, E: Failure>(layers: L, f: impl FnOnce() -> Result<T, E>) -> Outcome {
    forked(|| {
        layers.layers().iter().for_each(|policy| drop(confine(policy)));
        f()
    })
}

/// Runs `f`, which panics if something is wrong, in a fork.
#[track_caller]
pub fn in_fork(f: impl FnOnce()) {
    works(forked(|| {
        f();
        Ok::<(), Errno>(())
    }));
}

/// Confines this process to what this kernel can enforce of the policy, and checks what the report says of that.
#[track_caller]
pub fn confine(policy: &Policy) -> Report {
    let outcome = policy.clone().best_effort().enforce().expect("enforced");
    check_report(&outcome, if abi() < 8 { Covers::OnlyThread } else { Covers::AllThreads });
    Report::clone(&outcome)
}

/// Each right that was requested is enforced or reported as lost, as the kernel's ABI has it or not.
#[track_caller]
pub fn check_report(report: &Report, covers: Covers) {
    let known: Rights = report.requested().iter().filter(|r| r.abi().unwrap().number() <= abi()).collect();
    let on_files = known.intersects(Rights::FS | Rights::IOCTL_DEV | Rights::RESOLVE_UNIX);
    for right in report.requested() {
        // What refer refuses is refused wherever files are restricted.
        let enforced = known.contains(right) || (right == Rights::REFER && on_files);
        assert_eq!(report.enforced().contains(right), enforced, "{right}");
        let lost = report.lost().find(|lost| lost.right() == right);
        assert_eq!(lost.is_some(), !enforced, "{right}");
        if let Some(lost) = lost {
            let needs = Kernel::probe().abi().and(Ok(right.abi().unwrap()));
            assert_eq!(lost.needs(), needs, "{right}");
        }
    }
    assert_eq!(report.covers(), if known.is_empty() { Covers::Nobody } else { covers }, "{report}");
}

/// A process that does nothing, until this is dropped.
pub struct Idle(pub Pid);

/// A fork of this process that waits: outside of what this process confines later.
pub fn idle() -> Idle {
    Idle(sys::fork(|| {
        sys::allow_any_tracer();
        loop {
            nix::unistd::pause();
        }
    }))
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// A free process that does one thing when it is asked to.
pub struct Outside {
    pid: Pid,
    line: UnixStream,
}

pub fn outside(f: impl FnOnce()) -> Outside {
    let (line, mut theirs) = UnixStream::pair().expect("a socket pair");
    let pid = sys::fork(|| {
        theirs.read_exact(&mut [0]).expect("to be asked");
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(()) => 0,
            Err(_) => PANICKED,
        }
    });
    Outside { pid, line }
}

impl Outside {
    /// Has it done, and waits for that.
    pub fn ask(mut self) {
        self.line.write_all(&[0]).expect("to ask");
        assert_eq!(waitpid(self.pid, None).expect("waitpid"), WaitStatus::Exited(self.pid, 0));
    }
}
