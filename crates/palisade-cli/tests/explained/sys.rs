//! System calls as they are, and unsafe code of this test.
#![allow(unsafe_code, reason = "system calls")]

use std::sync::atomic::{AtomicU64, Ordering};

use nix::Result;
use nix::errno::Errno;
use nix::libc::{self, c_long};

/// What is passed to a system call.
pub enum Arg<'a> {
    Number(i64),
    /// What the kernel reads.
    Read(&'a [u8]),
    /// What the kernel fills, no more than fits.
    Fill(&'a mut [u8]),
}

/// Any system call, none of which is passed more than it knows the length of.
pub fn call<const N: usize>(number: c_long, arguments: [Arg<'_>; N]) -> Result<i64> {
    let mut all = [0_i64; 6];
    for (word, argument) in all.iter_mut().zip(arguments) {
        *word = match argument {
            Arg::Number(number) => number,
            Arg::Read(bytes) => bytes.as_ptr().expose_provenance() as i64,
            Arg::Fill(bytes) => bytes.as_mut_ptr().expose_provenance() as i64,
        };
    }
    let [a, b, c, d, e, f] = all;
    // SAFETY: whoever names the call passes what it reads and fills, which lives until it returns.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// By sendmsg(2), or by sendmmsg(2) if `many`: one byte, to an address.
pub fn send(socket: i64, address: &[u8], many: bool) -> Result<()> {
    let byte = [b'x'];
    let part = libc::iovec { iov_base: byte.as_ptr().cast_mut().cast(), iov_len: 1 };
    // SAFETY: the structure is integers and pointers, for which zeros are good.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_hdr.msg_namelen = address.len() as u32;
    message.msg_hdr.msg_iov = (&raw const part).cast_mut();
    message.msg_hdr.msg_iovlen = 1;
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: all that is pointed to lives until the call returns, and the kernel fills but the length.
    Errno::result(unsafe {
        match many {
            true => libc::syscall(libc::SYS_sendmmsg, socket, &raw mut message, 1, flags),
            false => libc::syscall(libc::SYS_sendmsg, socket, &raw mut message.msg_hdr, flags),
        }
    })?;
    Ok(())
}

/// _LINUX_CAPABILITY_VERSION_3, this process
fn header() -> Vec<u8> {
    [0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat()
}

fn set_capabilities(all: &[u8; 24]) {
    // `int capset(cap_user_header_t, cap_user_data_t)`, capset(2)
    call(libc::SYS_capset, [Arg::Read(&header()), Arg::Read(all)]).expect("capset");
}

/// Gives up all capabilities for good.
pub fn give_up_capabilities() {
    set_capabilities(&[0; 24]);
}

/// Does something without capabilities.
pub fn without_capabilities<T>(f: impl FnOnce() -> T) -> T {
    let mut before = [0; 24];
    call(libc::SYS_capget, [Arg::Read(&header()), Arg::Fill(&mut before)]).expect("capget");
    let mut none = before;
    // Effective, permitted and inheritable, and once more for those from 32 on.
    [0..4, 12..16].into_iter().for_each(|effective| none[effective].fill(0));
    set_capabilities(&none);
    let result = f();
    set_capabilities(&before);
    result
}

/// A path that one thread writes while another uses it: a word that is read and written as one.
pub struct Shared(AtomicU64);

impl Shared {
    pub fn new(path: [u8; 7]) -> Shared {
        Shared(AtomicU64::new(Shared::word(path)))
    }

    fn word(path: [u8; 7]) -> u64 {
        let [a, b, c, d, e, f, g] = path;
        u64::from_ne_bytes([a, b, c, d, e, f, g, 0])
    }

    pub fn set(&self, path: [u8; 7]) {
        self.0.store(Shared::word(path), Ordering::Relaxed);
    }

    /// Opens it to read.
    pub fn open(&self) -> Result<()> {
        let (dir, flags) = (libc::AT_FDCWD, libc::O_RDONLY | libc::O_CLOEXEC);
        // SAFETY: it ends in a NUL byte whichever path is there, and lives until the call returns.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_openat, dir, self.0.as_ptr(), flags) })?;
        call(libc::SYS_close, [Arg::Number(fd)])?;
        Ok(())
    }
}
