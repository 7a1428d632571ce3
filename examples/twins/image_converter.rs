//! `image_converter`, taken over by the image that it decodes.

use std::fs::{self, OpenOptions};
use std::process::ExitCode;

mod attack;
#[path = "../image_converter.rs"]
#[allow(dead_code, reason = "only its confining is of use here")]
mod example;

fn main() -> ExitCode {
    let mut attacker = attack::Attacker::from_arguments();
    if !attacker.is_free() {
        if let Err(error) = example::confine() {
            eprintln!("not confined: {error}");
            return ExitCode::FAILURE;
        }
    }
    attacker.attempt("open the input anew", fs::File::open("/proc/self/fd/0"));
    attacker.attempt("open the input to write", OpenOptions::new().write(true).open("/proc/self/fd/0"));
    attacker.attempt("read its own program", fs::read("/proc/self/exe"));
    attacker.attempt("list its own folder", fs::read_dir("."));
    attacker.everything();
    ExitCode::SUCCESS
}
