//! `wiki`, taken over right after it has confined itself; then it serves, and takes any name for a page's.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

mod attack;
#[path = "../wiki.rs"]
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
    let pages = PathBuf::from(attacker.target("pages"));
    let listeners = example::listen("127.0.0.1:0", Path::new(&attacker.target("socket")))?;
    if !attacker.is_free() {
        example::confine(&pages)?;
    }

    let secret = attacker.target("secret");
    let loose = Path::new(&attacker.target("outside")).join("loose");
    let up = Path::new("..").join(Path::new(&secret).strip_prefix(pages.parent().unwrap_or(&pages))?);
    let at = |name: &str| pages.join(name);
    attacker.attempt("read a page", fs::read(at("start")));
    attacker.attempt("write to a page", fs::write(at("start"), "Written to.\n"));
    attacker.attempt("create a page", fs::write(at("new"), "#!/bin/sh\n"));
    fs::set_permissions(at("new"), Permissions::from_mode(0o755))?;
    attacker.attempt("execute a page", Command::new(at("new")).status());
    attacker.attempt("read a secret through a page", fs::read(at("link")));
    attacker.attempt("write to a secret through a page", OpenOptions::new().append(true).open(at("link")));
    attacker.attempt("read a secret through the pages' ..", fs::read(pages.join(up)));
    attacker.attempt("make a page of a secret by a symbolic link", symlink(&secret, at("symbolic")));
    attacker.attempt("make a page of a secret by a hard link", fs::hard_link(&secret, at("hard")));
    attacker.attempt("make a page of a file by renaming", fs::rename(loose, at("renamed")));
    attacker.attempt("create a folder among the pages", fs::create_dir(at("folder")));
    attacker.attempt("rename a page", fs::rename(at("old"), at("older")));
    attacker.attempt("remove a page", fs::remove_file(at("new")));
    attacker.everything();

    println!("http://{}", listeners.0.local_addr()?);
    example::serve(listeners, example::Wiki { pages, is_name: |_| true })?;
    Ok(())
}
