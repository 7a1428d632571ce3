//! The least policy with which a command runs again.

mod write;
