//! /etc/ld.so.cache, of any content. How it is run (cargo install cargo-fuzz):
//!
//!     mkdir -p fuzz/corpus/cache
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run cache fuzz/corpus/cache fuzz/seeds/cache -- -max_total_time=300
//!
//! What it finds is kept in fuzz/artifacts/cache, and `cargo fuzz run cache FILE` shows it again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for name in [b"libx.so.1".as_slice(), b"x", b""] {
        let paths = palisade::Program::fuzz_cache(data, name);
        assert!(paths.len() <= data.len() / 24);
        for path in paths {
            assert!(!path.contains(&0) && path.len() < 4096, "{path:?}");
            assert!(path.is_empty() || data.windows(path.len()).any(|part| part == path), "{path:?}");
        }
    }
});
