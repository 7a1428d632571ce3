//! Converts images to PNG, FILE to FILE.png, each in a confined process of its own; this one stays free.
//!
//! ```sh
//! cargo build -p palisade-examples --bins
//! cargo run -q -p palisade-examples --bin convert_each -- photo.jpg drawing.bmp
//! ```
//!
//! A program that has much to do with files cannot give them all up. It can give the dangerous work to a child that has
//! nothing: here `image_converter`, which lies beside this program. The parent opens both files, and the child gets them
//! as standard input and output. So the policy holds no more than what the child needs to start, and is enforced
//! between fork and exec: the child is confined before its first instruction, whether it confines itself or not.
//!
//! An image that takes its converter over can write its own output and no other file. It can also run forever or fill
//! the disk, which Landlock does not limit.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use palisade::{CommandExt, Kernel, Policy, Program, Start, printable};

/// As much as a converter may say of what went wrong, in bytes.
const MESSAGE: u64 = 8192;

fn main() -> ExitCode {
    let files: Vec<OsString> = env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: convert_each FILE...");
        return ExitCode::FAILURE;
    }
    match convert_each(&files) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("convert_each: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all of them were converted; each is told.
fn convert_each(files: &[OsString]) -> Result<bool, Box<dyn Error>> {
    let converter = env::current_exe()?.with_file_name("image_converter");
    let policy = confinement(&converter)?;
    let mut all = true;
    for file in files {
        match convert(&converter, &policy, file) {
            Ok(output) => {
                let (file, output) = (printable(file), printable(&output));
                // That it cannot be told is no reason to leave the remaining files.
                if let Err(error) = writeln!(io::stdout(), "{file}: converted to {output}") {
                    eprintln!("convert_each: standard output: {error}");
                    all = false;
                }
            }
            Err(error) => {
                eprintln!("{}: failed: {error}", printable(file));
                all = false;
            }
        }
    }
    Ok(all)
}

/// What a converter may do: start. It gets no variable of ours, so none decides where its libraries are found.
fn confinement(converter: &Path) -> Result<Policy, Box<dyn Error>> {
    let program = Program::find_for(converter, &Start::default()).map_err(|error| {
        let hint = if error.is_program_missing() {
            "; this builds it: cargo build -p palisade-examples --bins"
        } else {
            ""
        };
        format!("{}{hint}", error.message())
    })?;
    let policy = Policy::new().rules(program.rules());
    // A child reports nothing. So it is tried here, once for all: an error if this kernel cannot restrict files and TCP
    // ports, and what else it cannot restrict is told.
    let report = policy.plan(&Kernel::probe())?.for_child().check()?;
    let lost: Vec<_> = report.lost().map(|lost| lost.to_string()).collect();
    if !lost.is_empty() {
        eprintln!("convert_each: not enforced: {}", lost.join("; "));
    }
    Ok(policy)
}

fn convert(converter: &Path, policy: &Policy, file: &OsStr) -> Result<OsString, Box<dyn Error>> {
    let input = File::open(file)?;
    let mut output = file.to_owned();
    output.push(".png");
    // Nothing that is there already is overwritten, be it a link to somewhere else.
    let png = File::create_new(&output).map_err(|error| {
        let name = printable(&output);
        match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("{name}: is there already, and is not overwritten: remove it first")
            }
            _ => format!("{name}: {error}"),
        }
    })?;
    let converted = run(converter, policy, input, png);
    if converted.is_err() {
        fs::remove_file(&output)?;
    }
    converted.map(|()| output)
}

fn run(converter: &Path, policy: &Policy, input: File, output: File) -> Result<(), Box<dyn Error>> {
    let mut child = Command::new(converter)
        .env_clear()
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .confine(policy)?
        .spawn()?;
    let mut message = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(MESSAGE).read_to_end(&mut message)?;
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    // The words of a program that an attacker may have taken over: not to reach the terminal as they are.
    let message = String::from_utf8_lossy(&message);
    Err(format!("{status}: {}", printable(message.trim_end())).into())
}
