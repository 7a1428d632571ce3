//! What enforcing a policy does, seen by the process that did it: every claim and every hole that SECURITY.md names.
//!
//! One binary with a harness of its own, which may be linked statically and run in a bare system: it needs /proc,
//! /dev with devpts, a directory for temporary files, and the loopback interface.

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    harness::main(cases::ALL)
}

#[cfg(not(target_os = "linux"))]
fn main() {}
