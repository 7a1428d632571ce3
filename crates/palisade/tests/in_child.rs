//! The helper for tests of confined programs, used as its users do.
#![cfg(target_os = "linux")]

use std::fs;
use std::panic::catch_unwind;

use palisade::test::in_child;
use palisade::{Abi, Kernel, Policy, Rights};

fn abi() -> u32 {
    Kernel::probe().abi().map_or(0, Abi::number)
}

#[test]
fn a_case_is_confined_and_its_runner_is_not() {
    in_child("a_case_is_confined_and_its_runner_is_not", || {
        let own = std::env::current_exe().unwrap();
        Policy::new().ro(&own).require(Rights::empty()).enforce().unwrap();
        assert!(fs::read(own).is_ok());
        assert_eq!(fs::read("/proc/version").is_err(), abi() > 0);
    });
    assert!(fs::read("/proc/version").is_ok());
}

mod below {
    use super::in_child;

    #[test]
    #[ignore = "to see that what is ignored runs when it is asked for"]
    fn in_a_module() {
        in_child("below::in_a_module", || {});
    }
}

fn message(result: std::thread::Result<()>) -> String {
    *result.expect_err("it must panic").downcast::<String>().expect("a message")
}

#[test]
fn a_case_that_fails_is_told_with_what_it_said() {
    let name = "a_case_that_fails_is_told_with_what_it_said";
    // In the child this panics, and so its test fails.
    if std::env::var_os("PALISADE_TEST_CASE").is_some() {
        return in_child(name, || panic!("for this reason"));
    }
    let text = message(catch_unwind(|| in_child(name, || unreachable!("not here"))));
    assert!(
        text.contains(name) && text.contains("for this reason") && text.contains("exit status: 101"),
        "{text}"
    );
}

#[test]
fn a_case_that_ends_the_process_fails() {
    let name = "a_case_that_ends_the_process_fails";
    if std::env::var_os("PALISADE_TEST_CASE").is_some() {
        return in_child(name, || std::process::exit(0));
    }
    let text = message(catch_unwind(|| in_child(name, || ())));
    assert!(text.starts_with("this body was not run to its end"), "{text}");
}

#[test]
fn a_name_that_is_none_fails() {
    let text = message(catch_unwind(|| in_child("a_name_that_is_non", || ())));
    assert!(
        text.starts_with("this body was not run to its end: is \"a_name_that_is_non\" the test"),
        "{text}"
    );
}

#[test]
fn a_name_that_is_anothers_fails() {
    let text = message(catch_unwind(|| in_child("below::in_a_module", || ())));
    assert!(text.starts_with("this body was not run to its end"), "{text}");
}
