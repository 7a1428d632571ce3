//! Converts an image (PNG, JPEG or BMP) from standard input to PNG on standard output, and can do nothing else.
//!
//! ```sh
//! cargo run -q -p palisade-examples --bin image_converter < photo.jpg > photo.png
//! ```
//!
//! Images come from anywhere, and decoders have bugs. This program is confined before it reads the first byte, without a
//! single rule: standard input and output are open already, and what is open stays usable. Whoever takes the decoder
//! over has these two; he can open no file, connect by no plain TCP and start no installed program. What this kernel
//! cannot restrict (before Linux 7.2 UDP, for one) is in the report that `enforce` returns; what Landlock leaves open
//! on every kernel (Multipath TCP, modes and owners of files, and more) is in SECURITY.md.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use image::ImageFormat;
use palisade::{Policy, Report};

fn main() -> ExitCode {
    // Who names a file expects it to be read; at a terminal it would wait for an image, or print one.
    if env::args_os().len() > 1 || io::stdin().is_terminal() || io::stdout().is_terminal() {
        eprintln!("usage: image_converter <IMAGE >PNG");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image_converter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    confine()?;
    convert(io::stdin().lock(), io::stdout().lock())
}

/// This process is granted nothing at all from here on.
pub fn confine() -> palisade::Result<Report> {
    Policy::new().enforce()
}

/// The output is written only once all of the input has been understood.
pub fn convert(mut input: impl Read, mut output: impl Write) -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let image = image::load_from_memory(&bytes)?;
    let mut png = io::Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png)?;
    output.write_all(png.get_ref())?;
    output.flush()?;
    Ok(())
}
