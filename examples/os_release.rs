//! The smallest program that confines itself: from one line on it can read one file, and nothing else.
//!
//! ```sh
//! cargo run -p palisade-examples --bin os_release
//! ```
//!
//! It confines itself first of all, for it needs nothing before. What holds then is printed, right by right: what this
//! kernel cannot restrict is named there.

use palisade::{Policy, Report};

fn main() -> palisade::Result<()> {
    let report = confine()?;
    print!("{report}");
    for path in ["/etc/os-release", "/etc/passwd"] {
        match std::fs::read(path) {
            Ok(bytes) => println!("{path}: {} bytes read", bytes.len()),
            Err(error) => println!("{path}: {error}"),
        }
    }
    Ok(())
}

/// The whole process, for good; an error if this kernel cannot restrict files and TCP ports.
pub fn confine() -> palisade::Result<Report> {
    Policy::new().ro("/etc/os-release").enforce()
}
