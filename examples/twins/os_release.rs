//! `os_release`, taken over right after it has confined itself.

use std::fs;
use std::process::ExitCode;

mod attack;
#[path = "../os_release.rs"]
#[allow(dead_code, reason = "its main")]
mod example;

fn main() -> ExitCode {
    let mut attacker = attack::Attacker::from_arguments();
    if !attacker.is_free() {
        if let Err(error) = example::confine() {
            eprintln!("not confined: {error}");
            return ExitCode::FAILURE;
        }
    }
    attacker.attempt("read the one file", fs::read("/etc/os-release"));
    attacker.attempt("write to the one file", fs::OpenOptions::new().write(true).open("/etc/os-release"));
    attacker.everything();
    ExitCode::SUCCESS
}
