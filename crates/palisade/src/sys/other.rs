//! Everywhere else: there is nothing to call.
#![cfg_attr(unix, allow(unsafe_code, reason = "system calls"))]

use crate::kernel::Unavailable;
use crate::place::{FileSystem, Node};
use crate::rights::Abi;

pub(crate) fn abi() -> Result<Abi, Unavailable> {
    Err(Unavailable::NotLinux)
}

pub(crate) fn errata() -> Option<u32> {
    None
}

/// What is at a path: here nothing that a rule could be on.
pub(crate) fn look(_path: &std::path::Path) -> Result<Node, i32> {
    Err(0)
}

pub(crate) fn look_through(_path: &std::path::Path) -> Result<Node, i32> {
    Err(0)
}

pub(crate) fn file_system_of(_dir: &std::path::Path) -> FileSystem {
    FileSystem::Other
}

/// `uid_t geteuid(void)`
#[cfg(all(feature = "file", unix))]
pub(crate) fn effective_user() -> u32 {
    // SAFETY: no memory is passed, and it cannot fail.
    unsafe { libc::geteuid() }
}
