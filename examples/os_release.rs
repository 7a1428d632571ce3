//! The smallest program that confines itself: from one line on it can read one file, and nothing else.
//!
//! ```sh
//! cargo run -p palisade-examples --bin os_release
//! ```
//!
//! It confines itself first of all, for it needs nothing before. What holds then is printed, right by right: what this
//! kernel cannot restrict is named there.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use palisade::{Policy, Report};

fn main() -> ExitCode {
    let told = match confine() {
        Ok(report) => tell(&report).map_err(|error| format!("standard output: {error}")),
        Err(error) => Err(error.to_string()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("os_release: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What holds, and what comes of reading.
fn tell(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{report}")?;
    for path in ["/etc/os-release", "/etc/passwd"] {
        match fs::read(path) {
            Ok(bytes) => writeln!(out, "{path}: {} bytes read", bytes.len())?,
            Err(error) => writeln!(out, "{path}: {error}")?,
        }
    }
    Ok(())
}

/// The whole process, for good; an error if this kernel cannot restrict files and TCP ports.
pub fn confine() -> palisade::Result<Report> {
    Policy::new().ro("/etc/os-release").enforce()
}
