//! What another process sees: where the kernel leads it, in a chroot too, and where its view says so.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::stat::{Mode, fstat};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, chroot};
use palisade::{Decision, Kernel, Open, Policy, Request, View};

use super::mounts::{can_mount, private_mounts};
use crate::harness::*;
use crate::sys;

cases![a_view_leads_where_the_kernel_does, what_is_mounted_elsewhere_is_not_taken_for_ours];

/// A root to be, `jail`, and what is beside it.
fn tree(d: &Path) {
    for dir in ["jail", "jail/sub", "jail/proc", "out"] {
        mkdir(d.join(dir));
    }
    for file in ["f", "jail/f", "jail/sub/f", "out/f"] {
        put(d.join(file), "text");
    }
    for (link, target) in [("absolute", "/sub/f"), ("above", "/../sub"), ("beside", "../../out/f")] {
        symlink(target, d.join("jail/sub").join(link)).unwrap();
    }
    symlink(d.join("jail/sub"), d.join("out/into")).unwrap();
}

/// A process that has opened each of these, and stays until this is dropped.
struct Other {
    pid: Pid,
    /// What it opened, by device and inode.
    opened: Vec<Result<(u64, u64), Errno>>,
    stays: UnixStream,
}

impl Other {
    /// In a folder, confined, and then in a chroot.
    fn new(root: Option<&Path>, dir: &Path, policy: Option<&Policy>, asked: &[(String, OFlag)]) -> Other {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let pid = sys::fork(|| {
            chdir(dir).unwrap();
            if let Some(policy) = policy {
                confine(policy);
            }
            if let Some(root) = root {
                chroot(root).unwrap();
            }
            let once = |(path, flags): &(String, OFlag)| {
                open(path.as_str(), *flags | OFlag::O_CLOEXEC, Mode::S_IRUSR)
            };
            let opened: Vec<nix::Result<OwnedFd>> = asked.iter().map(once).collect();
            let said = opened.iter().map(|opened| match opened {
                Ok(opened) => fstat(opened.as_fd()).map_or_else(
                    |errno| format!("{} 0 0\n", errno as i32),
                    |stat| format!("0 {} {}\n", stat.st_dev, stat.st_ino),
                ),
                Err(errno) => format!("{} 0 0\n", *errno as i32),
            });
            there.write_all((said.collect::<String>() + ".").as_bytes()).unwrap();
            // What is open keeps its inode's number, also in /proc.
            let _ = there.read(&mut [0]);
            0
        });
        let (mut said, mut byte) = (String::new(), [0]);
        while !said.ends_with('.') && here.read(&mut byte).unwrap() == 1 {
            said.push(char::from(byte[0]));
        }
        let opened = said.trim_end_matches('.').lines().map(|line| {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let errno = numbers[0] as i32;
            if errno == 0 { Ok((numbers[1], numbers[2])) } else { Err(Errno::from_raw(errno)) }
        });
        let opened: Vec<_> = opened.collect();
        assert_eq!(opened.len(), asked.len(), "the process ended too early");
        Other { pid, opened, stays: here }
    }

    /// As /proc has it.
    fn view(&self) -> View {
        let link = |name| fs::read_link(format!("/proc/{}/{name}", self.pid)).unwrap();
        View::new(link("root"), link("cwd")).of_process(self.pid.as_raw() as u32)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.stays.shutdown(std::net::Shutdown::Both);
        let _ = waitpid(self.pid, None);
    }
}

fn mount_proc(on: &Path) {
    mount(Some("proc"), on, Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
}

fn request(path: &str, flags: OFlag) -> Request {
    let pairs = [
        (OFlag::O_PATH, Open::PATH),
        (OFlag::O_NOFOLLOW, Open::NO_FOLLOW),
        (OFlag::O_CREAT, Open::WRITE | Open::CREATE),
        (OFlag::O_EXCL, Open::EXCLUSIVE),
    ];
    let how: Open = pairs.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, how)| how).collect();
    Request::open(path, if how.is_empty() { Open::READ } else { how })
}

/// Roots and folders of a process: as an ordinary user without a chroot.
fn processes(d: &Path) -> Vec<(Option<PathBuf>, PathBuf)> {
    let (free, jail) = (["jail/sub", "out"], ["jail", "jail/sub", "out", ""]);
    let mut all: Vec<_> = free.iter().map(|dir| (None, d.join(dir))).collect();
    if is_root() {
        all.extend(jail.iter().map(|dir| (Some(d.join("jail")), d.join(dir))));
    }
    all
}

fn a_view_leads_where_the_kernel_does() {
    let d = fresh();
    tree(&d);
    if is_root() && can_mount() {
        private_mounts().unwrap();
        mount_proc(&d.join("jail/proc"));
    }
    let (sub, out) = (File::open(d.join("jail/sub")).unwrap(), File::open(d.join("out")).unwrap());
    let (sub, out) = (sub.as_raw_fd(), out.as_raw_fd());
    // Not exe, which is from before these mounts.
    let paths = "/ . .. ../.. /.. f /f ./f ../f ../../f /../f /sub/f sub/f none none/x /none sub/none f/x f/.. none/.. \
        absolute above above/f beside /sub/absolute /sub/above/../f /sub/beside ../sub/absolute into into/f \
        ../out/into/f jail/f jail/../f ../jail/../f ../jail/../out/f /etc/passwd ../../../../../../../../etc/passwd \
        /proc/self /proc/self/comm /proc/thread-self/comm /proc/self/cwd /proc/self/cwd/../f /proc/self/root \
        /proc/self/root/f /proc/self/root/../f /proc/self/../version /proc/mounts /proc/net /proc/net/dev \
        /proc/fs/xfs/stat";
    let mut paths: Vec<String> = paths.split_whitespace().map(str::to_owned).collect();
    for (descriptor, names) in
        [(sub, ["", "/f", "/../f", "/absolute"]), (out, ["", "/f", "/../f", "/into/f"])]
    {
        paths.extend(names.map(|name| format!("/proc/self/fd/{descriptor}{name}")));
    }
    let mut asked = Vec::new();
    for path in paths {
        asked.extend([(path.clone(), OFlag::O_PATH), (path.clone(), OFlag::O_PATH | OFlag::O_NOFOLLOW)]);
        asked.push((path, OFlag::O_RDONLY));
    }
    for path in ["new1", "../new2", "/sub/new3", "above/new4", "../jail/../new5"] {
        asked.push((path.to_owned(), OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL));
    }

    let at = |path: &Path| {
        let found = fs::symlink_metadata(path).map_err(|error| error.errno())?;
        Ok((found.dev(), found.ino()))
    };
    for (root, dir) in processes(&d) {
        let free = Other::new(root.as_deref(), &dir, None, &asked);
        let view = free.view();
        let (mut led, mut failed) = (0, 0);
        for ((path, flags), opened) in asked.iter().zip(&free.opened) {
            let request = request(path, *flags).seen_from(&view);
            // Where it cannot be said, there has to be nothing. To open for reading fails for more reasons.
            let says = request.path().map(at);
            let fails = opened.is_err() && (says.is_none() || *flags == OFlag::O_RDONLY);
            assert!(
                fails || says == Some(*opened),
                "{path} {flags:?} from {view:?}: {says:?}, not {opened:?}"
            );
            led += u32::from(opened.is_ok());
            failed += u32::from(opened.is_err());
            if flags.contains(OFlag::O_CREAT) && opened.is_ok() {
                fs::remove_file(request.path().unwrap()).unwrap();
            }
        }
        assert!(led > 50 && failed > 20, "{view:?}: {led} {failed}");
        if abi() == 0 {
            continue;
        }
        let (mut allowed, mut refused) = (0, 0);
        for rule in ["", "jail", "jail/sub", "out"] {
            let policy = Policy::new().rw(d.join(rule));
            let other = Other::new(root.as_deref(), &dir, Some(&policy), &asked);
            let view = other.view();
            let decide = |request: &Request| -> Decision {
                policy.clone().best_effort().decide(&Kernel::probe(), request).unwrap()
            };
            for (((path, flags), opened), free) in asked.iter().zip(&other.opened).zip(&free.opened) {
                let request = request(path, *flags).seen_from(&view);
                let decision = decide(&request);
                let what = || format!("{path} {flags:?} from {view:?} by {rule}: {decision}, but {opened:?}");
                // What fails for another reason may do so before or after.
                if decision.is_refused() && free.is_ok() {
                    assert_eq!(opened.err(), Some(Errno::EACCES), "{}", what());
                    refused += 1;
                } else if decision.is_allowed() {
                    assert_eq!(opened.err(), free.err(), "{}", what());
                    allowed += u32::from(free.is_ok());
                }
                if flags.contains(OFlag::O_CREAT) && opened.is_ok() {
                    fs::remove_file(request.path().unwrap()).unwrap();
                }
            }
        }
        assert!(allowed > 100 && refused > 50, "{root:?} {dir:?}: {allowed} {refused}");
    }
}

fn what_is_mounted_elsewhere_is_not_taken_for_ours() {
    // /proc can only be mounted by root.
    if !is_root() || !can_mount() {
        return;
    }
    private_mounts().unwrap();
    let d = fresh();
    tree(&d);
    let seen = |request: Request, view: &View| {
        let request = request.seen_from(view);
        let decision = Policy::new().ro("/").best_effort().decide(&Kernel::probe(), &request).unwrap();
        decision.cannot_say().map(str::to_owned)
    };
    let child = Other::new(None, &d, None, &[]);
    assert_eq!(seen(Request::read("/proc/self/cwd"), &child.view()), None);
    // Its mounts are copies, with the same files.
    let other = sys::fork(|| {
        private_mounts().unwrap();
        chdir(&d).unwrap();
        raise(Signal::SIGSTOP).unwrap();
        0
    });
    waitpid(other, Some(WaitPidFlag::WUNTRACED)).unwrap();
    let view = View::new("/", &d).of_process(other.as_raw() as u32);
    let why = seen(Request::read("/proc/self/cwd"), &view);
    assert!(why.as_ref().is_some_and(|why| why.ends_with("which is no path to it")), "{why:?}");
    kill(other, Signal::SIGKILL).unwrap();
    waitpid(other, None).unwrap();
    // A /proc of other processes.
    in_fork(|| {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        let first = sys::fork_beside_threads(|| mount_proc(&d.join("jail/proc")));
        assert_eq!(waitpid(first, None), Ok(WaitStatus::Exited(first, 0)));
    });
    let jailed = View::new(d.join("jail"), &d).of_process(child.pid.as_raw() as u32);
    let why = seen(Request::read("/proc/self/comm"), &jailed);
    assert!(why.as_ref().is_some_and(|why| why.contains("other numbers")), "{why:?}");
}
