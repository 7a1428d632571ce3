//! The closure of a program of any content: whatever it names, it gets no key. How it is run (cargo install
//! cargo-fuzz):
//!
//!     mkdir -p fuzz/corpus/program
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run program fuzz/corpus/program fuzz/seeds/program -- -max_total_time=300
//!
//! What it finds is kept in fuzz/artifacts/program, and `cargo fuzz run program FILE` shows it again.
#![no_main]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use palisade::{Program, Start};

/// Where the program is, and beside it the key, by names that are short enough to be hit upon.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join("palisade-fuzz-program");
    fs::create_dir_all(&folder).unwrap();
    for key in ["k", "lib.so"] {
        fs::write(folder.join(key), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        fs::set_permissions(folder.join(key), Permissions::from_mode(0o755)).unwrap();
    }
    folder
});

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.join(format!("program-{}", std::process::id()));
    fs::write(&path, data).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let start = Start { path: Some(OsStr::new("/bin:.")), dir: Some(&FOLDER), ..Start::default() };
    let Ok(program) = Program::find_for(&path, &start) else { return };
    let files: Vec<&Path> = program.files().map(|(path, _)| path).collect();
    assert!(files.len() <= 300);
    for file in &files[1..] {
        assert!(may_be_granted(file), "{file:?} of {files:?}");
    }
});

/// Whether a file is one of the loader's, or an ELF file.
fn may_be_granted(file: &Path) -> bool {
    static KNOWN: LazyLock<Mutex<HashMap<PathBuf, bool>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap();
    *known.entry(file.to_owned()).or_insert_with(|| {
        let mut head = Vec::new();
        File::open(file).unwrap().take(4).read_to_end(&mut head).unwrap();
        // A script names its interpreter, which may be a script itself.
        head == b"\x7fELF"
            || head.starts_with(b"#!")
            || file.starts_with("/etc/ld.so.cache")
            || file.starts_with("/etc/ld.so.preload")
    })
}
