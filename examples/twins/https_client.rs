//! `https_client`, taken over right after it has confined itself: it is sent to another port, and tries the rest.

use std::fs::File;
use std::io;
use std::process::ExitCode;

use ureq::http::Uri;

mod attack;
#[path = "../https_client.rs"]
#[allow(dead_code, reason = "its main")]
mod example;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("not confined: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut attacker = attack::Attacker::from_arguments();
    let url: Uri = attacker.target("url").parse()?;
    let redirect: Uri = attacker.target("redirect").parse()?;
    let ca = attacker.target("ca");
    let (open, again) = (File::open(&ca)?, File::open(&ca)?);
    if !attacker.is_free() {
        example::confine(example::port(&url)?)?;
    }

    attacker.attempt("fetch a page", fetch(&url, open));
    attacker.attempt("fetch a page of another port by a redirect", fetch(&redirect, again));
    attacker.attempt("open the file of authorities again", File::open(ca));
    attacker.everything();
    Ok(())
}

fn fetch(url: &Uri, ca: File) -> io::Result<Vec<u8>> {
    let fetched = example::authorities(Some(("--ca".into(), ca))).and_then(|ca| example::fetch(url, &ca));
    fetched.map_err(|error| match error.downcast::<ureq::Error>() {
        Ok(error) => error.into_io(),
        Err(error) => io::Error::other(error.to_string()),
    })
}
