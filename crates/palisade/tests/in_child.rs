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

/// What a runner says; a child that is not the one that is meant goes no further.
fn message(result: std::thread::Result<()>) -> String {
    if std::env::var_os("PALISADE_TEST_CASE").is_some() && result.is_ok() {
        std::process::exit(0);
    }
    *result.expect_err("it must panic").downcast::<String>().expect("a message")
}

#[test]
fn a_case_that_fails_is_told_with_what_it_said() {
    let name = "a_case_that_fails_is_told_with_what_it_said";
    let text = message(catch_unwind(|| in_child(name, || panic!("for this reason"))));
    assert!(text.contains(name) && text.contains("for this reason"), "{text}");
    assert!(text.contains("exit status: 101"), "{text}");
}

#[test]
fn a_case_that_ends_the_process_fails() {
    let name = "a_case_that_ends_the_process_fails";
    let text = message(catch_unwind(|| in_child(name, || std::process::exit(0))));
    assert!(text.starts_with("a_case_that_ends_the_process_fails, in a child: the body ended"), "{text}");
}

#[test]
fn a_name_that_is_none_fails() {
    let text = message(catch_unwind(|| in_child("a_name_that_is_non", || ())));
    assert!(
        text.starts_with("in_child was given the name \"a_name_that_is_non\", and is called in no"),
        "{text}"
    );
}

#[test]
fn a_name_that_is_anothers_fails() {
    for name in ["below::in_a_module", "a_name_that_asks_for_another_fails"] {
        let text = message(catch_unwind(|| in_child(name, || ())));
        assert!(text.starts_with("in_child was given the name"), "{text}");
    }
}

/// Two that name each other start no chain of processes.
#[test]
fn a_name_that_asks_for_another_fails() {
    let text = message(catch_unwind(|| in_child("a_name_that_is_anothers_fails", || ())));
    // In the other's child it returns.
    assert!(text.starts_with("in_child was given the name"), "{text}");
}

#[test]
fn each_of_two_in_one_test_is_run() {
    let name = "each_of_two_in_one_test_is_run";
    in_child(name, || {});
    let text = message(catch_unwind(|| in_child(name, || panic!("the second"))));
    assert!(text.contains("the second"), "{text}");
}
