//! The emulator, on this machine: what a command sees under it, and how it ends.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Exit status, standard output and standard error of `xtask` with these words.
fn xtask(words: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(XTASK).args(words.split(' ')).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// What a kernel answers that is asked for its version and errata, under the emulator with these options.
fn versions(options: &str) -> Vec<String> {
    let (status, said, error) = xtask(&format!("emulate {options} -- {XTASK} answers"));
    assert_eq!((status, error.as_str()), (Some(0), ""), "{options}");
    said.lines().skip(1).take(2).map(str::to_owned).collect()
}

/// This kernel's ABI, 0 if it has none.
fn here() -> u32 {
    let (_, said, _) = xtask("answers");
    said.lines().find_map(|line| line.strip_prefix("version: ")?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_command_sees_the_kernel_that_is_asked_for() {
    assert_eq!(versions("none"), ["version: ENOSYS", "errata: ENOSYS"]);
    assert_eq!(versions("off"), ["version: EOPNOTSUPP", "errata: EOPNOTSUPP"]);
    assert_eq!(versions("filtered"), ["version: EPERM", "errata: EPERM"]);
    for abi in 1..=here() {
        assert_eq!(versions(&abi.to_string())[0], format!("version: {abi}"));
        assert_eq!(versions(&format!("--errata 0x5 {abi}"))[1], "errata: 5");
        assert_eq!(versions(&format!("--errata none {abi}"))[1], "errata: EINVAL");
    }
}

#[test]
fn this_kernel_emulated_answers_as_it_does() {
    let here = here();
    if here > 0 {
        assert_eq!(xtask(&format!("emulate {here} -- {XTASK} answers")), xtask("answers"));
    }
}

#[test]
fn an_older_kernel_cannot_pass_for_a_newer() {
    let here = here();
    if here < 11 {
        let (status, _, error) = xtask(&format!("emulate {} true", here + 1));
        assert_eq!(status, Some(125));
        assert!(error.ends_with(&format!("not for ABI {}\n", here + 1)), "{error}");
    }
}

#[test]
fn it_ends_as_the_command_does() {
    let status = |words: &str| xtask(words).0;
    assert_eq!(status("emulate none true"), Some(0));
    assert_eq!(status("emulate none -- sh -c exit\t7"), Some(7));
    assert_eq!(status("emulate off -- sh -c kill\t-9\t$$"), Some(137));
    assert_eq!(status("emulate none /no/such/program"), Some(127));
    assert_eq!(status("emulate 0 true"), Some(2));
    let (nested, _, error) = xtask(&format!("emulate none {XTASK} emulate none true"));
    assert_eq!((nested, error.as_str()), (Some(125), "xtask: one emulator cannot run in another\n"));
}
