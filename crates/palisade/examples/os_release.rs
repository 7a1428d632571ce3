//! Confines itself to one file, reads it, and is refused another.

use palisade::Policy;

fn main() -> palisade::Result<()> {
    let report = Policy::new().ro("/etc/os-release").enforce()?;
    print!("{report}");
    for path in ["/etc/os-release", "/etc/passwd"] {
        match std::fs::read(path) {
            Ok(bytes) => println!("{path}: {} bytes read", bytes.len()),
            Err(error) => println!("{path}: {error}"),
        }
    }
    Ok(())
}
