//! A wiki: each page is a text file in one folder, and the server can open no other file. Should a request ever take
//! the server over, or just find a name that gets past its check, the kernel refuses to open it.
//!
//! ```sh
//! mkdir pages
//! cargo run -p palisade-examples --bin wiki -- pages 127.0.0.1:8080 wiki.sock
//! curl -X PUT -d 'Hello.' http://127.0.0.1:8080/welcome
//! curl http://127.0.0.1:8080/welcome
//! curl --unix-socket wiki.sock http://wiki/
//! ```
//!
//! When it confines: after both sockets listen, so that it needs no right to bind, and whoever takes it over has none.
//! (He can still listen without binding, on a port that the kernel chooses: SECURITY.md has that, and Multipath TCP.)
//! And before the first connection is accepted, for what comes in there is not to be trusted; and before tokio starts
//! its threads: each is then confined from its first instruction, on every kernel. A server whose threads are there first
//! is the example `threads_server`.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use axum::Router;
use axum::extract::{Path as Name, State};
use axum::http::StatusCode;
use axum::routing::get;
use palisade::{Policy, Rights, path, printable};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wiki: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let [pages, address, socket] = &args[..] else {
        return Err("usage: wiki FOLDER ADDRESS:PORT SOCKET".into());
    };
    let address = address.to_str().ok_or("the address is not UTF-8")?;
    let pages = PathBuf::from(pages);
    // Before there is a socket, which would stay behind.
    let found = fs::metadata(&pages).map_err(|e| format!("{}: {e}", printable(&pages)))?;
    if !found.is_dir() {
        return Err(format!("{}: is no directory", printable(&pages)).into());
    }
    let listeners = listen(address, socket.as_ref())?;

    // The library's hints are for whoever writes a policy; whoever starts a server wants to know what happened.
    confine(&pages).map_err(|error| error.message().to_string())?;

    writeln!(io::stdout(), "http://{}", listeners.0.local_addr()?)
        .map_err(|e| format!("standard output: {e}"))?;
    serve(listeners, Wiki { pages, is_name })?;
    Ok(())
}

/// What the server may do from here on: read, list and write the files of its folder, and make new ones. No links, no
/// folders, nothing removed or executed, and no right to bind a TCP port
/// or to connect to one.
pub fn confine(pages: &Path) -> palisade::Result<()> {
    let rights = Rights::RO | Rights::WRITE_FILE | Rights::TRUNCATE | Rights::MAKE_REG;
    Policy::new().rule(path(pages).rights(rights).dir()).enforce()?;
    Ok(())
}

/// All that has to be open before the server is confined.
pub fn listen(address: &str, socket: &Path) -> Result<(TcpListener, UnixListener), String> {
    let tcp = TcpListener::bind(address).map_err(|e| format!("{address}: {e}"))?;
    // Once confined we cannot remove our socket: the next of us does, if nobody answers there. Nor does anybody answer
    // at an ordinary file, which is not ours to remove.
    let is_socket = fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && UnixStream::connect(socket).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
        let _ = fs::remove_file(socket);
    }
    let unix = UnixListener::bind(socket).map_err(|e| format!("{}: {e}", printable(socket)))?;
    Ok((tcp, unix))
}

/// Serves on both sockets, for ever.
pub fn serve((tcp, unix): (TcpListener, UnixListener), wiki: Wiki) -> io::Result<()> {
    let routes = Router::new()
        .route("/", get(list))
        .route("/{name}", get(show).put(write).post(write))
        .with_state(wiki);
    // What tokio reads to know how many processors it may use is refused too; it has another way.
    tokio::runtime::Builder::new_multi_thread().enable_io().build()?.block_on(async {
        tcp.set_nonblocking(true)?;
        unix.set_nonblocking(true)?;
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        let unix = tokio::net::UnixListener::from_std(unix)?;
        let also = tokio::spawn(axum::serve(unix, routes.clone()).into_future());
        axum::serve(tcp, routes).await?;
        also.await?
    })
}

/// What each request is answered from.
#[derive(Clone)]
pub struct Wiki {
    /// The folder.
    pub pages: PathBuf,
    /// Which names a page may have.
    pub is_name: fn(&str) -> bool,
}

/// A name that can only be a file in the folder itself. The kernel would refuse most others: this is the first of two
/// walls, and the one that answers politely.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=100).contains(&name.len()) && name.chars().all(allowed)
}

impl Wiki {
    fn page(&self, name: &str) -> Result<PathBuf, StatusCode> {
        if !(self.is_name)(name) {
            return Err(StatusCode::BAD_REQUEST);
        }
        Ok(self.pages.join(name))
    }
}

async fn list(State(wiki): State<Wiki>) -> Result<String, StatusCode> {
    let mut entries = tokio::fs::read_dir(&wiki.pages).await.map_err(status)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(status)? {
        names.extend(entry.file_name().into_string().ok().filter(|name| (wiki.is_name)(name)));
    }
    names.sort();
    Ok(names.iter().map(|name| format!("{name}\n")).collect())
}

async fn show(State(wiki): State<Wiki>, Name(name): Name<String>) -> Result<String, StatusCode> {
    tokio::fs::read_to_string(wiki.page(&name)?).await.map_err(status)
}

/// axum takes no more than 2 MB.
async fn write(
    State(wiki): State<Wiki>,
    Name(name): Name<String>,
    text: String,
) -> Result<StatusCode, StatusCode> {
    tokio::fs::write(wiki.page(&name)?, text).await.map_err(status)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the visitor is told. What Landlock refuses is "Permission denied", as any other lack of a right.
fn status(error: io::Error) -> StatusCode {
    match error.kind() {
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
