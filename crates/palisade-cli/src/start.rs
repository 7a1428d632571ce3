//! How COMMAND is started: what it is, what it starts with, and what it must not inherit.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use palisade::{Error, Program, Start, printable};

use crate::args::StartArgs;
use crate::policy::Policies;
use crate::{Failure, sys};

/// COMMAND was found and cannot be run.
pub const NOT_RUNNABLE: u8 = 126;
/// COMMAND was not found.
pub const NOT_FOUND: u8 = 127;

/// COMMAND, which was found.
pub struct Starting<'a> {
    args: &'a StartArgs,
    words: &'a [OsString],
    env: Vec<(OsString, OsString)>,
    pub program: Program,
    /// Nothing of what it needs to start is granted.
    alone: bool,
}

/// What execve(2) takes: the file, the words, the environment.
pub type Strings = (CString, Vec<CString>, Vec<CString>);

impl<'a> Starting<'a> {
    /// Looks COMMAND up, and what it needs to start if it is not to be `alone`.
    pub fn find(
        words: &'a [OsString],
        args: &'a StartArgs,
        policies: &Policies<'_>,
        alone: bool,
    ) -> Result<Starting<'a>, Failure> {
        let name = words.first().ok_or_else(|| Failure::new("COMMAND is missing"))?;
        if let Some(fd) = args.keep_fd.iter().find(|fd| !sys::is_open(i32::from(**fd))) {
            return Err(Failure::new(format!("--keep-fd {fd}: descriptor {fd} is not open")));
        }
        if let Some(dir) = &args.chdir {
            let found = std::fs::metadata(dir).and_then(|meta| match meta.is_dir() {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
            });
            found.map_err(|error| Failure::new(format!("--chdir {}: {error}", printable(dir))))?;
        }
        let env = environment(args, policies);
        let variable =
            |name: &str| env.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str());
        let start = Start {
            path: variable("PATH"),
            ld_library_path: variable("LD_LIBRARY_PATH"),
            dir: args.chdir.as_deref(),
        };
        let program = if alone { Program::find_alone(name) } else { Program::find_for(name, &start) };
        let program = program.map_err(|error| program_failure(&error))?;
        Ok(Starting { args, words, env, program, alone })
    }

    /// What to execute. COMMAND is relative to the present folder, which --chdir leaves.
    pub fn strings(&self) -> Result<Strings, Failure> {
        let path = match self.args.chdir {
            None => self.program.path().to_owned(),
            Some(_) => std::path::absolute(self.program.path())
                .map_err(|error| Failure::new(format!("the current folder cannot be found: {error}")))?,
        };
        let string = |text: &OsStr| {
            CString::new(text.as_bytes())
                .map_err(|_| Failure::new("an argument or variable has a NUL byte in it"))
        };
        let words = self.words.iter().map(|word| string(word));
        let variables = self.env.iter().map(|(name, value)| {
            let mut text = name.clone();
            text.push("=");
            text.push(value);
            string(&text)
        });
        Ok((
            string(path.as_os_str())?,
            words.collect::<Result<_, _>>()?,
            variables.collect::<Result<_, _>>()?,
        ))
    }

    /// Whether this process has capabilities that COMMAND is started without.
    pub fn gives_up_capabilities(&self) -> bool {
        crate::watch::has_capabilities_beyond(self.args.kept_capabilities())
    }

    /// What COMMAND must not inherit: the folder is changed, capabilities are given up, descriptors closed.
    pub fn hygiene(&self) -> Result<(), Failure> {
        let args = self.args;
        if let Some(dir) = &args.chdir {
            std::env::set_current_dir(dir)
                .map_err(|error| Failure::new(format!("--chdir {}: {error}", printable(dir))))?;
        }
        let failed = |what: &str, error: io::Error| Failure::new(format!("{what}: {error}"));
        let keep = args.kept_capabilities();
        if keep != u64::MAX {
            sys::keep_capabilities(keep).map_err(|e| failed("capabilities cannot be given up", e))?;
        }
        sys::close_on_exec_from(3).map_err(|e| failed("descriptors cannot be closed for COMMAND", e))?;
        for fd in &args.keep_fd {
            sys::keep_on_exec(i32::from(*fd)).map_err(|e| failed(&format!("--keep-fd {fd}"), e))?;
        }
        Ok(())
    }

    /// Becomes COMMAND, or says why not.
    pub fn execute(&self, (path, words, env): &Strings) -> Failure {
        self.not_executed(&sys::execute(path, words, env))
    }

    fn not_executed(&self, error: &io::Error) -> Failure {
        let path = printable(self.program.path());
        let message = match error.raw_os_error() {
            Some(libc::EACCES) if self.alone => format!(
                "{path}: may not be executed under this policy (EACCES); grant it, its interpreter and its libraries \
                 with --rx, or leave --no-program out"
            ),
            Some(libc::EACCES) => {
                let unresolved: String = self.program.unresolved().map(|line| format!("; {line}")).collect();
                format!("{path}: may not be executed (EACCES){unresolved}")
            }
            Some(libc::E2BIG) => format!("{path}: the arguments and the environment are too long (E2BIG)"),
            Some(libc::ENOEXEC) => format!("{path}: is no program for this machine (ENOEXEC)"),
            _ => format!("{path}: cannot be executed: {error}"),
        };
        Failure::new(message).code(NOT_RUNNABLE)
    }
}

/// The environment of COMMAND.
fn environment(args: &StartArgs, policies: &Policies<'_>) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| policies.passes(name, args.clear_env)).collect();
    for variable in &args.env {
        let value = variable.value.clone().or_else(|| std::env::var_os(&variable.name));
        if let Some(value) = value {
            env.retain(|(name, _)| *name != variable.name);
            env.push((variable.name.clone(), value));
        }
    }
    env.retain(|(name, _)| policies.is_within(name));
    env
}

fn program_failure(error: &Error) -> Failure {
    let code = if error.is_program_missing() { NOT_FOUND } else { NOT_RUNNABLE };
    Failure::new(error.to_string()).code(code)
}
