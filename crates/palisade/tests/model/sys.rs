//! Unsafe code of this test.
#![allow(unsafe_code, reason = "fork and ioctl")]

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use nix::Result;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{ForkResult, Pid};

/// A child that runs `f` and then ends; it is killed when this process ends.
pub fn fork(f: impl FnOnce()) -> Pid {
    let parent = nix::unistd::getpid();
    // SAFETY: this process has one thread, so that the child may do what the parent may.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            if nix::unistd::getppid() == parent {
                f();
            }
            // SAFETY: ends the process, without what the parent registered to run at exit.
            unsafe { libc::_exit(0) }
        }
    }
}

/// `ioctl(fd, TCGETS, buffer)`, ioctl(2): only terminals know it, so that anything else answers ENOTTY.
pub fn ioctl(fd: impl AsFd) -> Result<()> {
    let mut buffer = [0_u8; 256];
    // SAFETY: the buffer is larger than what TCGETS fills.
    Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TCGETS, buffer.as_mut_ptr()) })?;
    Ok(())
}

/// `renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)`, renameat2(2)
pub fn exchange(one: &CStr, other: &CStr) -> Result<()> {
    let (dir, flags) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    // SAFETY: both strings are live and end in a NUL byte.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_renameat2, dir, one.as_ptr(), dir, other.as_ptr(), flags)
    })?;
    Ok(())
}
