//! What `palisade run --explain` says, held against what the kernel did: the random trees, policies and operations of the
//! model's test, done by a program that is explained, and by one that is free.
//!
//! `PALISADE_CASES` says how many operations (3,000), `PALISADE_SEED` which ones. As root it does half of them as an
//! ordinary user. `PALISADE_BINARY` names the command, if it is not the one that was built with this.

#[cfg(target_os = "linux")]
mod expect;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod race;
#[cfg(target_os = "linux")]
#[path = "../../../palisade/tests/model/random.rs"]
mod random;
#[cfg(target_os = "linux")]
#[path = "../../../palisade/tests/model/round.rs"]
mod round;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
#[path = "../../../palisade/tests/model/tally.rs"]
mod tally;
#[cfg(target_os = "linux")]
mod worker;
#[cfg(target_os = "linux")]
#[path = "../../../palisade/tests/model/world.rs"]
mod world;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
