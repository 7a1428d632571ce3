//! The command `palisade`, as root (if the tests run as root) and as an ordinary user.

mod cli;
mod common;
mod programs;
