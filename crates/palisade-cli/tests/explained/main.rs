//! What `palisade run --explain` says, and what `palisade learn` wrote, held against what the kernel did: the random trees,
//! policies and operations of the model's test. They are done by a program that is explained, and by one that is free; and
//! by one from which is learned, and again under what was.
//!
//! `PALISADE_CASES` says how many operations (3,000 of each), `PALISADE_SEED` which ones. As root it does half of them as an
//! ordinary user. `explained` or `learned` as an argument is one of the two alone. `PALISADE_BINARY` names the command, if it is not the one that was built with this.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod expect;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod learned;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod process;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod race;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../../../palisade/tests/model/random.rs"]
mod random;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../../../palisade/tests/model/round.rs"]
mod round;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod run;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../../../palisade/tests/model/tally.rs"]
mod tally;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod worker;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../../../palisade/tests/model/world.rs"]
mod world;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {}
