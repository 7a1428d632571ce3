//! Where a program will start: what its closure depends on, on every system.

use std::ffi::OsStr;
use std::path::Path;

/// Where a program will start, and with which variables, as far as that decides which files it needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// PATH, in which `env` in the first line of a script looks; `None` if it is unset.
    pub path: Option<&'a OsStr>,
    /// LD_LIBRARY_PATH; `None` if it is unset.
    pub ld_library_path: Option<&'a OsStr>,
    /// The folder, if it is not the current one.
    pub dir: Option<&'a Path>,
}
