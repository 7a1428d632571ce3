//! The parser of policy files: it takes any text, what it says can be printed, and what it took it can write and read again.
//! How it is run: see script.rs.
#![no_main]

use std::ffi::OsString;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use palisade::{Abi, Error, Kernel, Policy, PolicyFile};

fn read(text: &str) -> Result<PolicyFile, Error> {
    let variables = |name: &str| match name {
        "HOME" => Some(OsString::from("/home/me")),
        "ROOT" => Some("/".into()),
        "HERE" => Some("here".into()),
        _ => None,
    };
    PolicyFile::parse(text, Path::new("/srv/project"), &variables)
}

fuzz_target!(|text: &str| {
    let file = match read(text) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.problems().is_empty());
            // Not those of a file that it includes.
            for problem in error.problems().iter().filter(|problem| problem.file() == "policy.toml") {
                let (line, column) = problem.place().expect("a place");
                let shown = text.split('\n').nth(line - 1).expect("a line");
                assert!(column <= shown.chars().count() + 1, "{problem}");
                assert!(!problem.to_string().chars().any(|c| c.is_control() && c != '\n'), "{problem:?}");
                assert!(problem.to_string().lines().count() == 3, "{problem}");
            }
            return;
        }
    };
    let policy = file.policy();
    let written = policy.to_toml_with(file.environment()).expect("all that is read can be written");
    let again = read(&written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again.environment(), file.environment());
    assert_eq!(again.policy().to_toml_with(again.environment()).expect("again"), written);
    assert_eq!(words(again.policy()), words(policy));
    for abi in 1..=Abi::LATEST.number() {
        let plan = |policy: &Policy| {
            let kernel = Kernel::new(Abi::new(abi).expect("an ABI"));
            policy.plan(&kernel).map(|plan| (plan.requested(), plan.enforced())).map_err(|error| error.to_string())
        };
        assert_eq!(plan(again.policy()), plan(policy), "ABI {abi}: {written}");
    }
});

fn words(policy: &Policy) -> Vec<OsString> {
    policy.to_args().expect("all that is read can be written")
}
