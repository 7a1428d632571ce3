//! Off Linux: programs are not looked into, for nothing can be granted to them.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::kernel::Unavailable;
use crate::rights::Rights;
use crate::rule::Rule;
use crate::start::Start;

/// A program that was found, and the files it needs in order to start.
#[derive(Debug)]
pub struct Program(std::convert::Infallible);

impl Program {
    /// An error: only on Linux there is something to find.
    pub fn find(_name: impl AsRef<OsStr>) -> Result<Program> {
        let why = Unavailable::NotLinux;
        Err(Error::new(Kind::Unsupported, format!("no program can be confined: {why}"), why.help()))
    }

    /// An error: only on Linux there is something to find.
    pub fn find_for(name: impl AsRef<OsStr>, _start: &Start<'_>) -> Result<Program> {
        Program::find(name)
    }

    /// An error: only on Linux there is something to find.
    pub fn find_alone(name: impl AsRef<OsStr>) -> Result<Program> {
        Program::find(name)
    }

    /// There is no such program; any type serves.
    fn never<T>(&self) -> T {
        match self.0 {}
    }

    /// What to execute.
    pub fn path(&self) -> &Path {
        match self.0 {}
    }

    /// The files it needs, and what it may do with each.
    pub fn files(&self) -> impl Iterator<Item = (&Path, Rights)> {
        self.never::<std::iter::Empty<_>>()
    }

    /// What the program names and does not get.
    pub fn unresolved(&self) -> impl Iterator<Item = &str> {
        self.never::<std::iter::Empty<_>>()
    }

    /// What [`Policy::program`](crate::Policy::program) adds.
    pub fn rules(&self) -> Vec<Rule> {
        match self.0 {}
    }

    /// None: only on Linux there is something to grant.
    pub fn devices() -> Vec<Rule> {
        Vec::new()
    }
}
