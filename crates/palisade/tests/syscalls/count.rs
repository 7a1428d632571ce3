//! The tests, and what they count.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libc::c_long;
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::wait::WaitStatus;
use palisade::{Kernel, Policy};

use crate::sys;

/// Set for the child that is traced.
const TRACED: &str = "PALISADE_TEST_TRACED";

pub fn main() -> ExitCode {
    if std::env::var_os(TRACED).is_some() {
        return traced();
    }
    let arguments = Arguments::from_args();
    // The tests need a kernel with Landlock, any ABI.
    let ignored = Kernel::probe().abi().is_err();
    let test = |name: &str, run: fn()| {
        let run = move || {
            run();
            Ok::<(), Failed>(())
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    let tests = vec![
        test("three_calls_for_each_directory", three_calls_for_each_directory),
        test("one_more_for_each_file", one_more_for_each_file),
        test("a_path_given_twice_is_one_rule", a_path_given_twice_is_one_rule),
        test("each_path_is_opened_once_and_only_as_a_path", each_path_is_opened_once_and_only_as_a_path),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// The child: reads below each path of the command line are allowed. Alone on its main thread, as ABI 7 and older
/// need it, which is why this test has no harness.
fn traced() -> ExitCode {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    mark();
    let policy = paths.iter().fold(Policy::new(), |policy, path| policy.ro(path)).best_effort();
    let outcome = policy.enforce();
    mark();
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A system call that nothing else makes here.
fn mark() {
    let _parent = parent_id();
}

fn three_calls_for_each_directory() {
    let base = tempfile::tempdir().unwrap();
    for n in [0, 1, 10, 100] {
        trace(&directories(base.path(), n)).check(n, n);
    }
}

/// A group has rights that a file cannot have. The kernel says which it is, by refusing the first rule.
fn one_more_for_each_file() {
    let base = tempfile::tempdir().unwrap();
    for n in [1, 10] {
        let mut paths = directories(base.path(), 5);
        paths.extend(files(base.path(), n));
        trace(&paths).check(5 + n, 5 + 2 * n);
    }
}

fn a_path_given_twice_is_one_rule() {
    let base = tempfile::tempdir().unwrap();
    let paths = directories(base.path(), 10);
    let twice: Vec<_> = paths.iter().chain(paths.iter().rev()).cloned().collect();
    trace(&twice).check(10, 10);
}

fn each_path_is_opened_once_and_only_as_a_path() {
    let base = tempfile::tempdir().unwrap();
    let mut paths = directories(base.path(), 10);
    paths.extend(files(base.path(), 10));
    let opened = trace(&paths).opened;
    assert_eq!(opened.iter().map(|(path, _)| path).collect::<Vec<_>>(), paths.iter().collect::<Vec<_>>());
    for (path, flags) in opened {
        // O_LARGEFILE is the C library's own business.
        assert_eq!(flags & !libc::O_LARGEFILE, libc::O_PATH | libc::O_CLOEXEC, "{}", path.display());
    }
}

fn directories(base: &Path, n: usize) -> Vec<PathBuf> {
    (0..n).map(|i| base.join(format!("dir{i}"))).inspect(|path| fs::create_dir_all(path).unwrap()).collect()
}

fn files(base: &Path, n: usize) -> Vec<PathBuf> {
    (0..n).map(|i| base.join(format!("file{i}"))).inspect(|path| fs::write(path, "").unwrap()).collect()
}

/// What a child did between its marks.
#[derive(Default)]
struct Counted {
    calls: BTreeMap<&'static str, usize>,
    memory: usize,
    opened: Vec<(PathBuf, i32)>,
}

impl Counted {
    /// Asserts every system call there was, for so many paths and rules.
    fn check(&self, paths: usize, rules: usize) {
        let abi = Kernel::probe().abi().unwrap().number();
        let expected = [
            ("open", paths),
            ("landlock_add_rule", rules),
            // The paths' and the ruleset's.
            ("close", paths + 1),
            // The ruleset, and the kernel's version and errata.
            ("landlock_create_ruleset", 3),
            ("landlock_restrict_self", 1),
            // no_new_privs, which restrict_self sets from ABI 11 on.
            ("prctl", usize::from(abi < 11)),
            // The number of threads, which does not matter from ABI 8 on. /proc is asked if unshare is refused, as by
            // the seccomp filter of a container.
            ("threads", if abi >= 8 { 0 } else { self.calls.get("threads").map_or(1, |n| *n.min(&2)) }),
        ];
        let expected = expected.into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(self.calls, expected, "{paths} paths, {rules} rules, ABI {abi}");
        assert!(self.memory <= 8 + paths / 10, "{} system calls for memory, {paths} paths", self.memory);
    }
}

fn trace(paths: &[PathBuf]) -> Counted {
    let mut counted = Counted::default();
    let mut marks = 0;
    let mut child = Command::new("/proc/self/exe");
    let ended = sys::trace(child.env(TRACED, "1").args(paths), |call, memory| {
        let name = name(call.number);
        match name {
            "getppid" => marks += 1,
            _ if marks != 1 => {}
            "memory" => counted.memory += 1,
            // The standard library looks at each descriptor before it closes it, in a debug build.
            "fcntl" if cfg!(debug_assertions) && call.args[1] == libc::F_GETFD as u64 => {}
            name => *counted.calls.entry(name).or_default() += 1,
        }
        if marks == 1 && name == "open" {
            let [path, flags] = if call.number == libc::SYS_openat { [1, 2] } else { [0, 1] };
            counted.opened.push((read_path(memory, call.args[path]), call.args[flags] as i32));
        }
    });
    assert!(matches!(ended.expect("the child can be traced"), WaitStatus::Exited(_, 0)), "the child failed");
    assert_eq!(marks, 2);
    counted
}

fn read_path(memory: &File, address: u64) -> PathBuf {
    let mut bytes = [0; 4096];
    // Less, if the memory ends there.
    let read = memory.read_at(&mut bytes, address).unwrap();
    let end = bytes[..read].iter().position(|byte| *byte == 0).expect("the path ends");
    PathBuf::from(OsStr::from_bytes(&bytes[..end]))
}

/// The name of a system call; those that come to the same have one.
fn name(number: c_long) -> &'static str {
    const OPEN: &[c_long] = &[
        libc::SYS_openat,
        #[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
        libc::SYS_open,
    ];
    const THREADS: &[c_long] = &[
        libc::SYS_unshare,
        libc::SYS_statx,
        #[cfg(target_pointer_width = "64")]
        libc::SYS_newfstatat,
        #[cfg(any(target_arch = "x86", target_arch = "arm"))]
        libc::SYS_fstatat64,
        #[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
        libc::SYS_stat,
        #[cfg(any(target_arch = "x86", target_arch = "arm"))]
        libc::SYS_stat64,
    ];
    const MEMORY: &[c_long] = &[
        libc::SYS_brk,
        #[cfg(not(target_arch = "arm"))]
        libc::SYS_mmap,
        #[cfg(any(target_arch = "x86", target_arch = "arm"))]
        libc::SYS_mmap2,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
    ];
    match number {
        libc::SYS_getppid => "getppid",
        libc::SYS_close => "close",
        libc::SYS_fcntl => "fcntl",
        #[cfg(any(target_arch = "x86", target_arch = "arm"))]
        libc::SYS_fcntl64 => "fcntl",
        libc::SYS_prctl => "prctl",
        444 => "landlock_create_ruleset",
        445 => "landlock_add_rule",
        446 => "landlock_restrict_self",
        n if OPEN.contains(&n) => "open",
        n if THREADS.contains(&n) => "threads",
        n if MEMORY.contains(&n) => "memory",
        n => format!("system call {n}").leak(),
    }
}
