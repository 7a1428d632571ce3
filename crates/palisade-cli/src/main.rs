//! The command `palisade`: glue between the command line and the library.

#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "under test the runner has the main"))]

mod args;
mod backstop;
mod caps;
mod check;
mod completions;
mod explain;
mod learn;
mod man;
mod policy;
mod presets;
mod propose;
mod quote;
mod run;
mod say;
mod show;
mod start;
mod status;
mod sys;
mod watch;
mod why;

use std::ffi::OsString;

use clap::Parser;

use crate::args::{Args, Command};

/// Palisade's own failures, usage errors included.
const FAILED: u8 = 125;

/// From the words of the command line to the exit status. [`sys::main`] calls it.
fn command(words: Vec<OsString>) -> u8 {
    let done = match Args::try_parse_from(words) {
        Ok(Args { command: Command::Run(args) }) => run::run(*args).map(|()| 0),
        Ok(Args { command: Command::Learn(args) }) => learn::learn(&args),
        Ok(Args { command: Command::Why(args) }) => why::why(&args),
        Ok(Args { command: Command::Status(args) }) => status::status(&args).map(|()| 0),
        Ok(Args { command: Command::Check(args) }) => check::check(&args),
        Ok(Args { command: Command::Show(args) }) => show::show(&args).map(|()| 0),
        Ok(Args { command: Command::Presets(args) }) => presets::presets(&args).map(|()| 0),
        Ok(Args { command: Command::Completions(args) }) => completions::completions(args).map(|()| 0),
        Ok(Args { command: Command::Man(args) }) => man::man(&args).map(|()| 0),
        Err(error) => return usage(&error),
    };
    match done {
        Ok(status) => status,
        Err(failure) => {
            say::line(&failure.message);
            failure.code
        }
    }
}

/// What ends the command, and with which exit status.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: FAILED }
    }

    fn code(self, code: u8) -> Failure {
        Failure { code, ..self }
    }
}

/// Help and version go to standard output and are no failure; all else is palisade's own.
fn usage(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => 0,
            Err(_) => FAILED,
        };
    }
    let text = error.render().to_string();
    say::line(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    FAILED
}
