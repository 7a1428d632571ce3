//! `json_sandbox`, taken over when it has confined itself and before it becomes the command; or, with the word `free`, the
//! command itself.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::ExitCode;

use palisade::Program;

mod attack;
#[path = "../json_sandbox.rs"]
#[allow(dead_code, reason = "its main")]
mod example;

fn main() -> ExitCode {
    let mut attacker = attack::Attacker::from_arguments();
    if !attacker.is_free() {
        if let Err(error) = confine(&attacker.target("sandbox")) {
            eprintln!("not confined: {error}");
            return ExitCode::FAILURE;
        }
    }
    let granted = attacker.target("granted");
    let at = |name: &str| Path::new(&granted).join(name);
    attacker.attempt("read what is granted", fs::read(at("file")));
    attacker.attempt("write to what is granted", OpenOptions::new().append(true).open(at("file")));
    attacker.attempt("create a file where writing is granted", fs::write(at("new"), ""));
    attacker.attempt("remove a file where writing is granted", fs::remove_file(at("other")));
    attacker.attempt("read a secret through what is granted", fs::read(at("link")));
    let port: u16 = attacker.number("granted_port");
    attacker.attempt("connect to the granted port", TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    attacker.everything();
    ExitCode::SUCCESS
}

fn confine(file: &str) -> Result<(), String> {
    let sandbox = example::Sandbox::read(OsStr::new(file))?;
    let program = Program::find("cat").map_err(|error| error.to_string())?;
    example::confine(&sandbox, &program)?;
    Ok(())
}
