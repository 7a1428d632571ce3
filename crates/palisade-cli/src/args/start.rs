//! What COMMAND starts with, the same for `run` and `learn`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::any_path;
use crate::caps;

/// What COMMAND starts with.
#[derive(clap::Args)]
pub struct StartArgs {
    /// Keep these capabilities, or all; by default root gives them all up
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = caps::parse, help_heading = "What COMMAND starts with")]
    pub keep_caps: Vec<u64>,

    /// Keep descriptor N open for COMMAND; by default those above 2 are closed
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "What COMMAND starts with")]
    pub keep_fd: Vec<u16>,

    /// Start COMMAND without the environment, but for what --env says
    #[arg(long, help_heading = "What COMMAND starts with")]
    pub clear_env: bool,

    /// Set a variable, or let it pass in spite of --clear-env
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "What COMMAND starts with",
          value_parser = OsStringValueParser::new().try_map(Variable::parse))]
    pub env: Vec<Variable>,

    /// Start COMMAND in DIR; grants and a COMMAND with a slash are relative to the present folder all the same
    #[arg(long, value_name = "DIR", help_heading = "What COMMAND starts with", value_parser = any_path())]
    pub chdir: Option<PathBuf>,
}

impl StartArgs {
    /// The capabilities that are kept: bit N for capability N.
    pub fn kept_capabilities(&self) -> u64 {
        self.keep_caps.iter().fold(0, |all, caps| all | caps)
    }

    /// The options again, as words.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        for caps in &self.keep_caps {
            words.extend(["--keep-caps".into(), caps::word(*caps).into()]);
        }
        for fd in &self.keep_fd {
            words.extend(["--keep-fd".into(), fd.to_string().into()]);
        }
        if self.clear_env {
            words.push("--clear-env".into());
        }
        for variable in &self.env {
            let mut word = variable.name.clone();
            if let Some(value) = &variable.value {
                word.push("=");
                word.push(value);
            }
            words.extend(["--env".into(), word]);
        }
        if let Some(dir) = &self.chdir {
            words.extend(["--chdir".into(), dir.into()]);
        }
        words
    }
}

/// A variable of COMMAND's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: OsString,
    /// Without a value it is the caller's own.
    pub value: Option<OsString>,
}

impl Variable {
    fn parse(text: OsString) -> Result<Variable, &'static str> {
        let bytes = text.as_bytes();
        let (name, value) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        if name.is_empty() || bytes.contains(&0) {
            return Err("a variable is NAME or NAME=VALUE");
        }
        let owned = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        Ok(Variable { name: owned(name), value: value.map(owned) })
    }
}
