//! The command `palisade`, as root (if the tests run as root) and as an ordinary user.

mod attacks;
mod backstop;
mod built_in;
mod ceilings;
mod cli;
mod common;
mod completions;
mod files;
mod hygiene;
#[cfg(target_arch = "x86_64")]
mod learn;
#[cfg(target_arch = "x86_64")]
mod learn_ends;
mod learned;
mod man;
mod more_programs;
mod places;
mod presets;
mod programs;
mod rounds;
mod warnings;
#[cfg(target_arch = "x86_64")]
mod watched;
#[cfg(target_arch = "x86_64")]
mod watched_ends;
#[cfg(target_arch = "x86_64")]
mod watched_safety;
mod why;
mod work;
