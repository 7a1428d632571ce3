//! A server whose threads are there before it confines itself: tokio has started its workers, and blocking threads
//! beside them, when `enforce()` is called inside the running runtime. All of them are confined.
//!
//! A line from a client is the name of a file in the server's folder; the answer is the file.
//!
//! ```sh
//! mkdir public; echo Hello. >public/hello
//! cargo run -p palisade-examples --bin threads_server -- public 127.0.0.1:7070
//! bash -c 'exec 3<>/dev/tcp/127.0.0.1/7070; echo hello >&3; cat <&3'
//! ```
//!
//! When it confines: as late as it can, after all that the runtime and the libraries of a large program do when they
//! start, and before the first client is accepted. On Linux 7.0 and newer the kernel confines all threads at once; before
//! that the library stops each by a signal, of which tokio notices nothing, and has it confine itself. If one cannot be
//! stopped, `enforce()` is an error, nobody is confined, and nothing is served. Where a program can confine itself before
//! it has threads, as the example `wiki`, that is simpler.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, io};

use palisade::{Policy, Report, printable, ro};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let served = runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("threads_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The threads: four workers at once, blocking ones as they are needed.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(4).enable_io().build()
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let [folder, address] = &args[..] else {
        return Err("usage: threads_server FOLDER ADDRESS:PORT".into());
    };
    let address = address.to_str().ok_or("the address is not UTF-8")?;
    let listener = TcpListener::bind(address).await.map_err(|e| format!("{address}: {e}"))?;
    // tokio asks for files in blocking threads.
    let found = tokio::fs::canonicalize(folder).await;
    let folder = found.map_err(|e| format!("{}: {e}", printable(folder)))?;

    // The library's hints are for whoever writes a policy; whoever starts a server wants to know what happened.
    let report = confine(&folder).map_err(|error| error.message().to_string())?;
    eprint!("{report}");

    writeln!(io::stdout(), "{}", listener.local_addr()?).map_err(|e| format!("standard output: {e}"))?;
    loop {
        let (client, _) = listener.accept().await?;
        let folder = folder.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(client, folder).await {
                eprintln!("threads_server: a client: {error}");
            }
        });
    }
}

/// From here on the whole process may read its folder, and nothing else; a file in the folder's place is an error.
/// Should the kernel refuse one thread when others are confined already, the process ends at once: no thread goes on free.
pub fn confine(folder: &Path) -> palisade::Result<Report> {
    Policy::new().rule(ro(folder).dir()).abort_if_partial().enforce()
}

/// Answers one line. The name is not checked, so that it is seen that the kernel refuses what is outside the folder; a
/// server for others should check it too, as the example `wiki` does.
async fn answer(client: TcpStream, folder: PathBuf) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut name = String::new();
    (&mut client).take(4096).read_line(&mut name).await?;
    let answer = match tokio::fs::read(folder.join(name.trim_end())).await {
        Ok(bytes) => bytes,
        Err(error) => format!("error: {error}\n").into_bytes(),
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}
