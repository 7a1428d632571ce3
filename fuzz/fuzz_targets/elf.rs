//! The ELF parser, on files of any content. How it is run (cargo install cargo-fuzz):
//!
//!     mkdir -p fuzz/corpus/elf
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run elf fuzz/corpus/elf fuzz/seeds/elf -- -max_total_time=300
//!
//! What it finds is kept in fuzz/artifacts/elf, and `cargo fuzz run elf FILE` shows it again.
#![no_main]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// A file without a name.
static FILE: LazyLock<File> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("palisade-fuzz-elf-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
});

fuzz_target!(|data: &[u8]| {
    FILE.set_len(data.len() as u64).unwrap();
    FILE.write_all_at(data, 0).unwrap();
    let Ok(names) = palisade::Program::fuzz_elf(&FILE) else { return };
    assert!(data.starts_with(b"\x7fELF"));
    for name in names {
        assert!(!name.contains(&0) && name.len() < 64 << 10, "{name:?}");
        // It is in the file, every byte.
        assert!(name.is_empty() || data.windows(name.len()).any(|part| part == name), "{name:?}");
    }
});
