//! The first process in a virtual machine: makes a system of what is in the initramfs, runs the jobs that are listed
//! there, and turns the machine off. The console has the kernel's words; the second serial port has the jobs'.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sys;

/// One job in a line: its name, assignments to the environment, and the words of a command.
pub const JOBS: &str = "/jobs";
/// The module of the overlay file system, if this kernel's is there.
pub const OVERLAY: &str = "/overlay.ko";
const OUT: &str = "/dev/ttyS1";
/// What begins the lines that are about jobs.
pub const BEGIN: &str = "@@ begin ";
pub const END: &str = "@@ end ";
/// What a job's exit status is if it cannot be run.
const CANNOT: i32 = 127;

pub fn main() -> ! {
    if let Err(error) = system().and_then(|()| jobs()) {
        eprintln!("xtask: {error:#}");
        // Where the jobs' output is read, so that this is not taken for a kernel that hung.
        if let Ok(mut out) = OpenOptions::new().write(true).open(OUT) {
            let _ = writeln!(out, "xtask: {error:#}");
        }
    }
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    std::process::exit(1)
}

fn mounted(what: &str, on: &str, options: &str) -> Result<()> {
    mount(Some(what), mkdir(on)?, Some(what), MsFlags::empty(), Some(options))
        .with_context(|| format!("mounting {on}"))
}

fn system() -> Result<()> {
    mounted("proc", "/proc", "")?;
    mounted("sysfs", "/sys", "")?;
    mounted("devtmpfs", "/dev", "")?;
    mounted("devpts", "/dev/pts", "")?;
    mounted("tmpfs", "/dev/shm", "mode=1777")?;
    mounted("tmpfs", "/tmp", "mode=1777")?;
    for (to, link) in [("fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")] {
        symlink(format!("/proc/self/{to}"), format!("/dev/{link}"))?;
    }
    let inet = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    sys::loopback_up(&inet).context("turning the loopback interface on")?;
    // The tests' folders: in memory, on a disk, and on an overlay of a folder on the disk over one in memory.
    mount(Some("/dev/nvme0n1"), mkdir("/ext4")?, Some("ext4"), MsFlags::empty(), None::<&str>)
        .context("the disk")?;
    fs::set_permissions("/ext4", fs::Permissions::from_mode(0o1777))?;
    if Path::new(OVERLAY).exists() {
        sys::load_module(File::open(OVERLAY)?).context(OVERLAY)?;
        for dir in ["/tmp/lower", "/ext4/upper", "/ext4/work"] {
            fs::set_permissions(mkdir(dir)?, fs::Permissions::from_mode(0o1777))?;
        }
        mounted("overlay", "/overlay", "lowerdir=/tmp/lower,upperdir=/ext4/upper,workdir=/ext4/work")?;
    }
    Ok(())
}

fn mkdir(dir: &str) -> Result<&str> {
    fs::create_dir_all(dir).context(dir.to_owned())?;
    Ok(dir)
}

fn jobs() -> Result<()> {
    let mut out = OpenOptions::new().write(true).open(OUT).context("the second serial port")?;
    for line in fs::read_to_string(JOBS)?.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().context("an empty line")?;
        let rest: Vec<&str> = words.collect();
        writeln!(out, "{BEGIN}{name}")?;
        let (assigned, command) = rest.split_at(rest.iter().take_while(|word| word.contains('=')).count());
        let program = command.first().context("a job without a command")?;
        let mut command = Command::new(program);
        command.args(&rest[assigned.len() + 1..]).current_dir("/").env_clear();
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(assigned.iter().filter_map(|a| a.split_once('=')));
        let status = run(command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out.try_clone()?));
        writeln!(out, "{END}{name} {}", status?)?;
    }
    Ok(())
}

/// The exit status; then nothing that the job started goes on.
fn run(command: &mut Command) -> Result<i32> {
    let job = match command.spawn() {
        Ok(job) => Pid::from_raw(job.id() as i32),
        Err(_) => return Ok(CANNOT),
    };
    let mut status = CANNOT;
    loop {
        // All orphans are this process's.
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == job => status = code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == job => status = 128 + signal as i32,
            Ok(_) => continue,
            Err(Errno::ECHILD) => return Ok(status),
            Err(errno) => return Err(errno.into()),
        }
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
