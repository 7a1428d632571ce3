//! To test a program that confines itself: each case in a process of its own.
//!
//! What is enforced cannot be undone, and covers every thread: a test that enforces in the test runner confines all the
//! tests after it. [`in_child`] runs it in another process, with the test's own assertions.

use std::env;
use std::panic::Location;
use std::process::Command;

/// Names the test whose body this process is to run, and where it is in the source.
const CASE: &str = "PALISADE_TEST_CASE";

/// Runs a test's body in a child: this test program once more, with that one test. It fails if the body panics, if it
/// ends the process, and if `name` is not that of the test it is called in. What comes after it in the test runs in the
/// runner alone.
///
/// `name` is the test's name as `cargo test` prints it, with the modules that it is in, as `tests::settings_are_read`. It
/// returns when nobody has the child's output open any more: when all that the body has started has ended. Not for
/// tests that should panic: a wrong name panics too.
///
/// ```no_run
/// #[test]
/// fn settings_are_all_that_is_read() {
///     palisade::test::in_child("settings_are_all_that_is_read", || {
///         palisade::Policy::new().ro("/etc/os-release").enforce().unwrap();
///         assert!(std::fs::read("/etc/os-release").is_ok());
///         assert!(std::fs::read("/etc/passwd").is_err());
///     });
/// }
/// ```
///
/// # Panics
///
/// The body panicked; what it printed is in the message.
#[track_caller]
pub fn in_child(name: &str, body: impl FnOnce()) {
    let this = format!("{name} at {}", Location::caller());
    let (begun, through) = (format!("palisade: begun: {this}"), format!("palisade: through: {this}"));
    if let Some(case) = env::var_os(CASE) {
        // Another's child, should the name be another's, starts no more.
        if case == *this {
            println!("{begun}");
            body();
            println!("{through}");
            // What follows in the test is the runner's.
            std::process::exit(0);
        }
        return;
    }
    let program = env::current_exe().expect("the path of this test program");
    let arguments = [name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"];
    let child = Command::new(program).args(arguments).env(CASE, &this).output();
    let output = child.expect("the test program can be started once more");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}, in a child: {}\n{said}{errors}", output.status);
    assert!(
        said.contains(&begun),
        "in_child was given the name {name:?}, and is called in no test of that name (a name has its modules, as \
         tests::{name})\n{said}{errors}"
    );
    assert!(said.contains(&through), "{name}, in a child: the body ended the process\n{said}{errors}");
}
