//! A tracer: runs a program and shows each of its system calls. Unsafe code of this test is here.
#![allow(unsafe_code, reason = "ptrace(2)")]

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::c_long;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A system call as it begins.
pub struct Call {
    pub number: c_long,
    pub args: [u64; 6],
}

/// `struct ptrace_syscall_info`, ptrace(2), as far as the beginning of a call fills it; the same on every
/// architecture. (The libc crate has it for glibc alone.)
#[repr(C)]
#[derive(Default)]
struct Info {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    number: u64,
    args: [u64; 6],
}

const GET_SYSCALL_INFO: u32 = 0x420e;
const SYSCALL_INFO_ENTRY: u8 = 1;

/// Runs a program to its end and gives each of its first thread's system calls to `seen`, with its memory, as
/// /proc has it.
pub fn trace(command: &mut Command, mut seen: impl FnMut(&Call, &File)) -> io::Result<WaitStatus> {
    // SAFETY: between fork and exec the closure makes one system call; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let pid = Pid::from_raw(command.spawn()?.id() as libc::pid_t);
    // Waiting for one process by its number: others of this program have their own tracers.
    let mut status = waitpid(pid, Some(WaitPidFlag::__WALL))?;
    ptrace::setoptions(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL)?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    loop {
        let mut signal = None;
        match status {
            WaitStatus::PtraceSyscall(_) => {
                if let Some(call) = beginning(pid)? {
                    seen(&call, &memory);
                }
            }
            // The first stop is execve's, a SIGTRAP that nobody sent.
            WaitStatus::Stopped(_, nix::sys::signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, sent) => signal = Some(sent),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(status),
            _ => {}
        }
        ptrace::syscall(pid, signal)?;
        status = waitpid(pid, Some(WaitPidFlag::__WALL))?;
    }
}

/// The call that a stopped process is about to make; `None` at its end.
fn beginning(pid: Pid) -> io::Result<Option<Call>> {
    let mut info = Info::default();
    // SAFETY: the kernel writes at most the size that it is given, to a structure of that size, all of whose bytes
    // may have any value.
    let filled = unsafe {
        libc::ptrace(GET_SYSCALL_INFO as _, pid.as_raw(), size_of::<Info>(), std::ptr::from_mut(&mut info))
    };
    match filled {
        -1 => Err(io::Error::last_os_error()),
        _ if info.op != SYSCALL_INFO_ENTRY => Ok(None),
        _ => Ok(Some(Call { number: info.number as c_long, args: info.args })),
    }
}
