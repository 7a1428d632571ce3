//! The model against the kernel: random trees, policies and operations. What [`Policy::decide`](palisade::Policy::decide)
//! says has to be what happens, to the error number.
//!
//! `PALISADE_CASES` says how many operations (40,000), `PALISADE_SEED` which ones (1: a run of CI is to say the same of the same code). It needs a
//! folder for temporary files and /dev; as root it makes bind mounts, in a mount namespace of its own, and does all of it
//! once more as an ordinary user.
//!
//! What disagrees is shown as a program in Python. Such a program is run for `PALISADE_SCRIPTS` of the rounds (10), and
//! has to see what was seen here.

#[cfg(target_os = "linux")]
mod compare;
#[cfg(target_os = "linux")]
mod perform;
#[cfg(target_os = "linux")]
mod random;
#[cfg(target_os = "linux")]
mod round;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod script;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod tally;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
