//! The system calls, one thin wrapper each. Unsafe code is here and nowhere else in this crate.

#[cfg(target_os = "linux")]
#[path = "sys/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "sys/other.rs"]
mod imp;

#[cfg(target_os = "linux")]
pub(crate) mod threads;

pub(crate) use imp::*;
