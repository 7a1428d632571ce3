//! Where real programs are tried: the folder in which a user works, in a home that has secrets.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::common::{Ran, User};

/// Homes are here, and not in /tmp, which many programs write to.
pub const BASE: &str = "/var/tmp";
pub const WORK: &str = "src/project";

pub fn in_work(user: &User, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = user.command(program);
    command.current_dir(user.home().join(WORK)).env_remove("TMPDIR").env("TERM", "xterm");
    command
}

/// Unconfined.
pub fn shell(user: &User, script: &str) -> Ran {
    let mut sh = in_work(user, "sh");
    sh.args(["-c", script]);
    Ran::of(user, sh)
}

/// The inputs as they were, by a script, and secrets at these places in the home.
pub fn fresh<S: AsRef<Path>>(user: &User, inputs: &str, secrets: &[S]) {
    for entry in fs::read_dir(user.home()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    folders(user, Path::new(WORK));
    let made = shell(user, inputs);
    assert_eq!(made.status, Some(0), "{inputs}: {}{}", made.stdout, made.stderr);
    for secret in secrets {
        folders(user, secret.as_ref().parent().unwrap());
        user.file(secret.as_ref().to_str().unwrap(), "machine example.org password hidden\n");
    }
}

/// The folder, and those above it in the home.
fn folders(user: &User, folder: &Path) {
    let missing = |folder: &&Path| !user.home().join(folder).exists();
    let mut missing: Vec<&Path> = folder.ancestors().filter(missing).collect();
    missing.reverse();
    missing.iter().for_each(|folder| drop(user.folder(folder.to_str().unwrap())));
}

/// How it ended, what it said, and what came of it.
pub fn outcome(user: &User, ran: &Ran, result: &str) -> (Option<i32>, String, String) {
    (ran.status, ran.stdout.clone(), shell(user, result).stdout)
}

/// An HTTP server of one file and one repository, which ends with the tests.
pub struct Server {
    pub address: String,
    _files: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Server {
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("f"), "served\n").unwrap();
        let script = "git init -q -b main r && echo 1 > r/f && git -C r add f && \
            git -C r -c user.name=A -c user.email=a@example.org commit -q -m first && \
            git clone -q --bare r from.git && git -C from.git update-server-info";
        // Without git there is nothing to clone, and nobody who could.
        let _ = Command::new("sh").args(["-c", script]).current_dir(files.path()).output();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let root = files.path().to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = serve(&root, client);
            }
        });
        Server { address, _files: files }
    }
}

fn serve(root: &Path, mut client: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let (status, body) = match fs::read(root.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    client.write_all(head.as_bytes())?;
    client.write_all(&body)
}
