//! The closure of a program as rules.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Closure, Fault, FaultKind, Search, closure, command};
use crate::error::{Error, Kind, Result};
use crate::rights::Rights;
use crate::rule::{Rule, Target};
use crate::start::Start;
use crate::sys;

/// A program that was found, and the files it needs in order to start: itself, the interpreter of a script, the ELF
/// interpreter and the libraries. They are found by reading; nothing is run.
///
/// What the program opens once it runs is not among them: its data, plug-ins, other programs.
///
/// Needs the feature `program`.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let program = palisade::Program::find("sh")?;
/// assert!(program.files().any(|(path, _)| path == program.path()));
/// # }
/// # Ok::<(), palisade::Error>(())
/// ```
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    rules: Vec<Rule>,
    unresolved: Vec<String>,
}

fn failed(fault: Fault) -> Error {
    let (kind, hint) = match fault.kind {
        FaultKind::NotFound => (Kind::ProgramMissing, ""),
        FaultKind::NotRunnable => (Kind::ProgramUnusable, ""),
    };
    Error::on_path(kind, &fault.path, fault.why, hint)
}

impl Program {
    /// Finds a program: a path, or a name without a slash, which is looked up in this process's PATH.
    ///
    /// The files are opened here and now, and granted through those descriptors: what is swapped later gets nothing.
    ///
    /// # Errors
    ///
    /// [`Error::is_program_missing`], or [`Error::is_program_unusable`]: a directory, a file that may not be
    /// executed, a broken one, a script whose interpreter is missing.
    pub fn find(name: impl AsRef<OsStr>) -> Result<Program> {
        let path = std::env::var_os("PATH");
        let ld_library_path = std::env::var_os("LD_LIBRARY_PATH");
        let start = Start { path: path.as_deref(), ld_library_path: ld_library_path.as_deref(), dir: None };
        Program::find_for(name, &start)
    }

    /// As [`Program::find`], for a program that will start elsewhere or with other variables than this process has.
    /// The name itself is looked up in this process's PATH and folder all the same.
    ///
    /// # Errors
    ///
    /// As of [`Program::find`].
    pub fn find_for(name: impl AsRef<OsStr>, start: &Start<'_>) -> Result<Program> {
        let path = std::env::var_os("PATH");
        let search = Search {
            path: path.as_deref(),
            path_at_start: start.path,
            ld_library_path: start.ld_library_path,
            dir: start.dir,
            may_execute: &sys::may_execute,
        };
        let Closure { command, files, unresolved } = closure(name.as_ref(), &search).map_err(failed)?;
        let rule = |file: super::File| {
            let rights = if file.role.executes() { Rights::X | Rights::READ_FILE } else { Rights::READ_FILE };
            Rule::opened(file.fd, file.path, rights)
        };
        Ok(Program {
            path: command,
            rules: files.into_iter().map(rule).collect(),
            unresolved: unresolved.iter().map(ToString::to_string).collect(),
        })
    }

    /// Finds the program alone, as [`Program::find`] does: it has no files, and they are not looked for.
    ///
    /// # Errors
    ///
    /// As of [`Program::find`], as far as the path and the permissions tell: the file is not read.
    pub fn find_alone(name: impl AsRef<OsStr>) -> Result<Program> {
        let path = std::env::var_os("PATH");
        let search = Search {
            path: path.as_deref(),
            path_at_start: None,
            ld_library_path: None,
            dir: None,
            may_execute: &sys::may_execute,
        };
        let path = command(name.as_ref(), &search).map_err(failed)?;
        Ok(Program { path, rules: Vec::new(), unresolved: Vec::new() })
    }

    /// What to execute: the path as it was found, its symbolic links unresolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files it needs, and what it may do with each.
    pub fn files(&self) -> impl Iterator<Item = (&Path, Rights)> {
        self.rules.iter().filter_map(|rule| match rule.targets.as_slice() {
            [Target::Fd(descriptor)] => Some((descriptor.name.as_deref()?, rule.terms.rights)),
            _ => None,
        })
    }

    /// What the program names and does not get, each with the reason, as sentences: a library that was not found, a
    /// file that is none.
    pub fn unresolved(&self) -> impl Iterator<Item = &str> {
        self.unresolved.iter().map(String::as_str)
    }

    /// What [`Policy::program`](crate::Policy::program) adds: a rule for each file, and the devices that harm nobody
    /// (/dev/null; zero, full, random and urandom to read).
    pub fn rules(&self) -> Vec<Rule> {
        self.rules.iter().cloned().chain(Program::devices()).collect()
    }

    /// What of [`Program::rules`] is the same for every program: the devices.
    pub fn devices() -> Vec<Rule> {
        let null = Rights::READ_FILE | Rights::WRITE_FILE;
        let device =
            |path: &str, rights| Rule::of_preset(None, vec![Target::Path(Path::new(path).into())], rights);
        let sources = ["/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
        let sources = sources.map(|path| device(path, Rights::READ_FILE));
        [device("/dev/null", null)].into_iter().chain(sources).collect()
    }
}
