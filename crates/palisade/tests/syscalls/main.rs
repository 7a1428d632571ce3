//! Counts the system calls of enforcing: for each rule on a directory three (open, add_rule, close), and a small
//! constant besides.
//!
//! A child builds a policy and enforces it between two getppid(2), while this process traces it. Allocating may take
//! system calls too, now and then; they are counted apart.

#[cfg(target_os = "linux")]
mod count;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(target_os = "linux")]
use count::main;

#[cfg(not(target_os = "linux"))]
fn main() {}
