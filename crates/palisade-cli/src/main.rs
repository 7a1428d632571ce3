//! The command `palisade`: glue between the command line and the library.

mod args;
mod backstop;
mod caps;
mod run;
mod say;
mod status;
mod sys;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// Palisade's own failures, usage errors included.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    let done = match Args::try_parse() {
        Ok(Args { command: Command::Run(args) }) => run::run(*args),
        Ok(Args { command: Command::Status(args) }) => status::status(&args),
        Err(error) => return usage(&error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say::line(&failure.message);
            ExitCode::from(failure.code)
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
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        };
    }
    let text = error.render().to_string();
    say::line(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(FAILED)
}
