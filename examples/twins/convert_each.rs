//! The converter that `convert_each` starts, taken over by one of its images; put in the place of `image_converter`.
//!
//! It does not confine itself: what holds is what `convert_each` confined it to. An honest image is converted; one that
//! begins with `attack` tells what to attack, one word a line.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::process::ExitCode;

mod attack;
#[path = "../image_converter.rs"]
#[allow(dead_code, reason = "only its converting is of use here")]
mod example;

fn main() -> ExitCode {
    let mut image = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut image) {
        eprintln!("standard input: {error}");
        return ExitCode::FAILURE;
    }
    match String::from_utf8(image) {
        Ok(text) if text.starts_with("attack\n") => attack(text.lines().skip(1)),
        not_text => {
            let image = not_text.map_or_else(|error| error.into_bytes(), String::into_bytes);
            match example::convert(image.as_slice(), io::stdout()) {
                Ok(()) => return ExitCode::SUCCESS,
                Err(error) => eprintln!("{error}"),
            }
        }
    }
    ExitCode::FAILURE
}

fn attack<'a>(words: impl Iterator<Item = &'a str>) {
    // Standard output is the file to be written.
    let mut attacker = attack::Attacker::new(words.map(str::to_owned), io::stderr());
    attacker.attempt("read its own program", fs::read("/proc/self/exe"));
    attacker.attempt("open the input anew", fs::File::open("/proc/self/fd/0"));
    attacker.attempt("open the input to write", OpenOptions::new().write(true).open("/proc/self/fd/0"));
    attacker.attempt("open the output to read", fs::File::open("/proc/self/fd/1"));
    attacker.attempt("list its own folder", fs::read_dir("."));
    attacker.everything();
}
