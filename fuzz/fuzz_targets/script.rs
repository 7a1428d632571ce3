//! The first line of a script, which has to be read as the kernel reads it; and the arguments of `env` in it. How it
//! is run (cargo install cargo-fuzz):
//!
//!     mkdir -p fuzz/corpus/script
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run script fuzz/corpus/script fuzz/seeds/script -- -max_total_time=300
//!
//! What it finds is kept in fuzz/artifacts/script, and `cargo fuzz run script FILE` shows it again.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// What the kernel reads of a script, and pads with zero bytes.
const BUFFER: usize = 256;

fuzz_target!(|data: &[u8]| {
    let mut script = b"#!".to_vec();
    script.extend(data);
    script.truncate(BUFFER);
    assert_eq!(
        palisade::Program::fuzz_script(&script),
        load_script(&script),
        "{:?}",
        script.escape_ascii().to_string()
    );
    // As the argument of env, whatever the kernel makes of it.
    if let Some(env) = palisade::Program::fuzz_env(data) {
        assert!(env.len() <= data.len());
    }
});

/// `load_script` of the kernel's fs/binfmt_script.c, as literally as can be: the interpreter and its argument. An
/// empty name, which it tries to open in vain, is none; an empty argument, which names nothing, neither.
fn load_script(script: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut buf = [0; BUFFER];
    buf[..script.len()].copy_from_slice(script);
    let spacetab = |c: u8| c == b' ' || c == b'\t';
    let next_non_spacetab = |first: usize, last: usize| (first..=last).find(|at| !spacetab(buf[*at]));
    let next_terminator =
        |first: usize, last: usize| (first..=last).find(|at| spacetab(buf[*at]) || buf[*at] == 0);

    let buf_end = BUFFER - 1;
    // strnchr ends at a zero byte.
    let text = buf.iter().position(|b| *b == 0).unwrap_or(BUFFER);
    let mut i_end = match buf[..text].iter().position(|b| *b == b'\n') {
        Some(end) => end,
        None => {
            let start = next_non_spacetab(2, buf_end)?;
            next_terminator(start, buf_end)?;
            buf_end
        }
    };
    while spacetab(buf[i_end - 1]) {
        i_end -= 1;
    }
    let i_name = next_non_spacetab(2, i_end).filter(|name| *name != i_end)?;
    let i_sep = next_terminator(i_name, i_end);
    let i_arg = i_sep.filter(|sep| buf[*sep] != 0).and_then(|sep| next_non_spacetab(sep, i_end));
    buf[i_end] = 0;
    if let (Some(_), Some(sep)) = (i_arg, i_sep) {
        buf[sep] = 0;
    }
    let string = |at: usize| buf[at..].split(|b| *b == 0).next().unwrap().to_vec();
    let name = string(i_name);
    (!name.is_empty()).then(|| (name, i_arg.map(string).filter(|argument| !argument.is_empty())))
}
