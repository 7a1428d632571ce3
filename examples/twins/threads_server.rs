//! `threads_server`, taken over in every thread it had when it confined itself.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

mod attack;
#[path = "../threads_server.rs"]
#[allow(dead_code, reason = "its main")]
mod example;

/// Blocking threads of the runtime.
const BLOCKING: usize = 3;

fn main() -> ExitCode {
    let mut attacker = attack::Attacker::from_arguments();
    match example::runtime().map_err(Into::into).and_then(|r| r.block_on(run(&mut attacker))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(attacker: &mut attack::Attacker) -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(attacker.target("folder"));
    let secret = attacker.target("secret");
    let port = attacker.number("tcp");

    // Each is met here before the process is confined, and held until it is: so each is another thread.
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let here = Arc::new(Barrier::new(workers + BLOCKING + 3));
    let confined = Arc::new(Barrier::new(workers + BLOCKING + 1));
    let attempts = move || (fs::read(&secret), TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    let held = {
        let (here, confined, attempts) = (here.clone(), confined.clone(), attempts.clone());
        move || {
            here.wait();
            confined.wait();
            attempts()
        }
    };

    let on_workers: Vec<_> = (0..workers)
        .map(|_| {
            let held = held.clone();
            tokio::spawn(async move { held() })
        })
        .collect();
    let blocking: Vec<_> = (0..BLOCKING).map(|_| tokio::task::spawn_blocking(held.clone())).collect();
    let running = {
        let (here, attempts) = (here.clone(), attempts.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            here.wait();
            while !stopped.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            attempts()
        });
        (thread, stop)
    };
    let reading = {
        let (here, attempts) = (here.clone(), attempts.clone());
        let (ours, mut its) = UnixStream::pair()?;
        let thread = thread::spawn(move || {
            here.wait();
            its.read_exact(&mut [0])?;
            io::Result::Ok(attempts())
        });
        (thread, ours)
    };

    here.wait();
    if !attacker.is_free() {
        if let Err(error) = example::confine(&folder) {
            eprintln!("not confined: {error}");
            // Nobody waits for the threads that are held.
            std::process::exit(1);
        }
    }
    confined.wait();
    running.1.store(true, Ordering::Release);
    (&reading.1).write_all(&[0])?;

    let mut tell = |who: &str, (read, connected): (io::Result<Vec<u8>>, io::Result<TcpStream>)| {
        attacker.attempt(&format!("read a secret in {who}"), read);
        attacker.attempt(&format!("connect by TCP in {who}"), connected);
    };
    for task in on_workers {
        tell("a worker", task.await?);
    }
    for task in blocking {
        tell("a blocking thread", task.await?);
    }
    tell("a thread that runs", running.0.join().expect("no panic"));
    tell("a thread that reads", reading.0.join().expect("no panic")?);
    attacker.attempt("read a file of the folder", fs::read(folder.join("hello")));
    attacker.attempt("write to a file of the folder", fs::write(folder.join("hello"), "Written to.\n"));
    attacker.everything();
    Ok(())
}
