//! An io_uring of a few entries, io_uring(7), by system calls.

use std::ffi::{CString, c_int};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::Result;
use nix::errno::Errno;
use nix::libc;

use super::{check, own};

/// `struct io_uring_params` is 30 words; these are the places of some.
const FLAGS: usize = 2;
const SQ_TAIL: usize = 11;
const SQ_MASK: usize = 12;
const SQ_ARRAY: usize = 16;
const CQ_HEAD: usize = 20;
const CQ_TAIL: usize = 21;
const CQ_MASK: usize = 22;
const CQES: usize = 25;

const SETUP_SQPOLL: u32 = 2;
const OPENAT: u8 = 18;
const READ: u8 = 22;
const ASYNC: u8 = 16;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const REGISTER_PERSONALITY: u32 = 9;

/// `struct io_uring_sqe`, as far as it is used here.
#[repr(C)]
#[derive(Default)]
struct Request {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: c_int,
    offset: u64,
    address: u64,
    length: u32,
    open_flags: u32,
    user_data: u64,
    buffer: u16,
    personality: u16,
    rest: [u32; 5],
}

/// A ring; it is not unmapped, for it lives as long as the process of a test.
pub struct Ring {
    fd: OwnedFd,
    params: [u32; 30],
    rings: *mut u8,
    requests: *mut Request,
}

impl Ring {
    /// None where the kernel has no io_uring, or it is turned off.
    pub fn new() -> Option<Ring> {
        Ring::with(0)
    }

    /// One that a thread of the kernel's looks at.
    pub fn polled() -> Option<Ring> {
        Ring::with(SETUP_SQPOLL)
    }

    fn with(flags: u32) -> Option<Ring> {
        let mut params = [0_u32; 30];
        params[FLAGS] = flags;
        // SAFETY: the structure is as large as the kernel's.
        let fd = check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) }).ok()?;
        let fd = own(fd as c_int);
        let map = |offset: i64| {
            let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            // SAFETY: a new mapping at an address of the kernel's choice.
            let at = unsafe { libc::mmap(ptr::null_mut(), 4096, access, shared, fd.as_raw_fd(), offset) };
            assert_ne!(at, libc::MAP_FAILED);
            at
        };
        let (rings, requests) = (map(0).cast(), map(0x1000_0000).cast());
        Some(Ring { fd, params, rings, requests })
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel says where in the mapping its words are; it changes them at any time.
        unsafe { AtomicU32::from_ptr(self.rings.add(offset as usize).cast()) }
    }

    fn submit(&self, request: Request) {
        let tail = self.word(self.params[SQ_TAIL]);
        let at = tail.load(Ordering::Acquire);
        let slot = at & self.word(self.params[SQ_MASK]).load(Ordering::Relaxed);
        // SAFETY: the slot is within the mapping, and the kernel does not look at it before the tail has moved.
        unsafe { self.requests.add(slot as usize).write(request) };
        self.word(self.params[SQ_ARRAY] + 4 * slot).store(slot, Ordering::Relaxed);
        tail.store(at.wrapping_add(1), Ordering::Release);
        self.enter(1, 0);
    }

    fn enter(&self, submit: u32, wait: u32) {
        let flags = ENTER_GETEVENTS | if self.params[FLAGS] == 0 { 0 } else { ENTER_SQ_WAKEUP };
        let (fd, none) = (self.fd.as_raw_fd(), ptr::null::<u8>());
        // SAFETY: no memory is passed.
        let done = unsafe { libc::syscall(libc::SYS_io_uring_enter, fd, submit, wait, flags, none, 0) };
        assert!(done >= 0 || Errno::last() == Errno::EINTR, "io_uring_enter: {}", Errno::last());
    }

    /// What came of the one request that is under way.
    fn answer(&self) -> Result<c_int> {
        let head = self.word(self.params[CQ_HEAD]);
        let at = head.load(Ordering::Acquire);
        while self.word(self.params[CQ_TAIL]).load(Ordering::Acquire) == at {
            self.enter(0, 1);
        }
        let slot = at & self.word(self.params[CQ_MASK]).load(Ordering::Relaxed);
        // An entry is 16 bytes: user_data, result, flags.
        let result = self.word(self.params[CQES] + 16 * slot + 8).load(Ordering::Acquire) as i32;
        head.store(at.wrapping_add(1), Ordering::Release);
        if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(result) }
    }

    /// Opens a file to read it, by the ring: as ourselves (0), or as who a personality says.
    pub fn open(&self, file: &Path, personality: u16) -> Result<()> {
        let name = CString::new(file.as_os_str().as_encoded_bytes()).expect("a path");
        let (address, open_flags) = (name.as_ptr() as u64, libc::O_CLOEXEC as u32);
        let fd = libc::AT_FDCWD;
        self.submit(Request { opcode: OPENAT, fd, address, open_flags, personality, ..Request::default() });
        drop(own(self.answer()?));
        Ok(())
    }

    /// Reads from a pipe that is empty, so that a worker of the kernel's waits for it.
    pub fn block_a_worker(&self, pipe: &impl AsFd) {
        let byte = Box::leak(Box::new(0_u8));
        let (fd, address) = (pipe.as_fd().as_raw_fd(), ptr::from_mut(byte) as u64);
        self.submit(Request { opcode: READ, flags: ASYNC, fd, address, length: 1, ..Request::default() });
    }

    /// Registers who we are now.
    pub fn personality(&self) -> u16 {
        let (fd, none) = (self.fd.as_raw_fd(), ptr::null::<u8>());
        // SAFETY: no memory is passed.
        let id = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_PERSONALITY, none, 0) };
        check(id).expect("a personality") as u16
    }
}
