//! What COMMAND does: each operation that it is told to, by system calls of its own, and how it ended.

use std::io::{self, Read, Write};
use std::os::fd::RawFd;

use nix::Result;
use nix::errno::Errno;
use nix::libc;

use crate::sys::{self, Arg};

/// By which calls: the oldest, those with a folder's descriptor, or the newest. The latter two from another folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Old,
    At,
    New,
}

pub const WAYS: [Way; 3] = [Way::Old, Way::At, Way::New];

/// Which call of an operation an outcome is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Itself,
    /// The socket, which is made first.
    Socket,
    /// To open the device.
    Opening,
    /// None: what was asked for cannot be said to the kernel.
    None,
    /// Landlock was asked, and let it through; then it failed, as always.
    Passed,
}

pub const STEPS: [Step; 5] = [Step::Itself, Step::Socket, Step::Opening, Step::None, Step::Passed];

/// Descriptors that this process was given: the tree's root, and a socket that somebody bound.
pub struct Given {
    pub root: RawFd,
    pub bound: RawFd,
}

/// Does what it is told to, until there is no more.
pub fn main(given: &Given) {
    let (mut told, mut answers) = (io::stdin().lock(), io::stdout().lock());
    answers.write_all(b"begun").and_then(|()| answers.flush()).expect("to answer");
    let mut length = [0; 4];
    while told.read_exact(&mut length).is_ok() {
        let mut said = vec![0; u32::from_ne_bytes(length) as usize];
        told.read_exact(&mut said).expect("the whole operation");
        let words: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        let (errno, step) = match perform(&words, given) {
            Ok(()) => (0, Step::Itself),
            Err((_, Step::Passed)) => (0, Step::Passed),
            Err((errno, step)) => (errno as i32, step),
        };
        let answer = [errno.to_ne_bytes(), (step as i32).to_ne_bytes()].concat();
        answers.write_all(&answer).and_then(|()| answers.flush()).expect("to answer");
    }
}

fn number(word: &[u8]) -> i64 {
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).expect("a number")
}

type Outcome = std::result::Result<(), (Errno, Step)>;

fn perform(words: &[&[u8]], given: &Given) -> Outcome {
    let [name, way, rest @ ..] = words else { panic!("an operation has a name and a way") };
    let way = WAYS[number(way) as usize];
    let text = |at: usize| [rest[at], b"\0"].concat();
    let n = |at: usize| Arg::Number(number(rest[at]));
    let dir = || Arg::Number(given.root.into());
    let zero = || Arg::Number(0);
    // Without a descriptor these paths lead elsewhere.
    let by_path = [&b"truncate"[..], b"bind-unix", b"connect-unix"].contains(name);
    match way == Way::Old || by_path {
        true => sys::call(libc::SYS_fchdir, [dir()]),
        false => sys::call(libc::SYS_chdir, [Arg::Read(b"/\0")]),
    }
    .expect("to change the folder");
    let itself = |result: Result<i64>| result.map(drop).map_err(|errno| (errno, Step::Itself));
    match *name {
        b"open" => itself(opened(way, number(rest[0]), &text(1), given).map(closed)),
        b"ioctl" => {
            let how = i64::from(libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_CLOEXEC);
            let fd = opened(way, how, &text(0), given).map_err(|errno| (errno, Step::Opening))?;
            // TCGETS: only terminals know it.
            let command = Arg::Number(libc::TCGETS as i64);
            let done = sys::call(libc::SYS_ioctl, [Arg::Number(fd), command, Arg::Fill(&mut [0; 256])]);
            closed(fd);
            match done {
                // The device knows no such command.
                Err(Errno::ENOTTY) => Err((Errno::ENOTTY, Step::Passed)),
                other => itself(other),
            }
        }
        b"entropy" => {
            let fd = opened(way, i64::from(libc::O_ACCMODE | libc::O_CLOEXEC), b"/dev/urandom\0", given);
            let fd = fd.map_err(|errno| (errno, Step::Opening))?;
            // RNDGETENTCNT, random(4)
            let done = sys::call(
                libc::SYS_ioctl,
                [Arg::Number(fd), Arg::Number(0x8004_5200), Arg::Fill(&mut [0; 4])],
            );
            closed(fd);
            itself(done)
        }
        b"mkdir" => itself(match way {
            Way::Old => sys::call(libc::SYS_mkdir, [Arg::Read(&text(0)), Arg::Number(0o700)]),
            _ => sys::call(libc::SYS_mkdirat, [dir(), Arg::Read(&text(0)), Arg::Number(0o700)]),
        }),
        b"symlink" => itself(match way {
            Way::Old => sys::call(libc::SYS_symlink, [Arg::Read(b"target\0"), Arg::Read(&text(0))]),
            _ => sys::call(libc::SYS_symlinkat, [Arg::Read(b"target\0"), dir(), Arg::Read(&text(0))]),
        }),
        b"mknod" => itself(match way {
            Way::Old => sys::call(libc::SYS_mknod, [Arg::Read(&text(2)), n(0), n(1)]),
            _ => sys::call(libc::SYS_mknodat, [dir(), Arg::Read(&text(2)), n(0), n(1)]),
        }),
        b"unlink" => itself(match way {
            Way::Old => sys::call(libc::SYS_unlink, [Arg::Read(&text(0))]),
            _ => sys::call(libc::SYS_unlinkat, [dir(), Arg::Read(&text(0)), zero()]),
        }),
        b"rmdir" => itself(match way {
            Way::Old => sys::call(libc::SYS_rmdir, [Arg::Read(&text(0))]),
            _ => {
                let flags = Arg::Number(libc::AT_REMOVEDIR.into());
                sys::call(libc::SYS_unlinkat, [dir(), Arg::Read(&text(0)), flags])
            }
        }),
        b"rename" => itself(match way {
            Way::Old => sys::call(libc::SYS_rename, [Arg::Read(&text(0)), Arg::Read(&text(1))]),
            Way::At => {
                sys::call(libc::SYS_renameat, [dir(), Arg::Read(&text(0)), dir(), Arg::Read(&text(1))])
            }
            Way::New => sys::call(
                libc::SYS_renameat2,
                [dir(), Arg::Read(&text(0)), dir(), Arg::Read(&text(1)), zero()],
            ),
        }),
        b"exchange" => {
            let dir = || match way {
                Way::Old => Arg::Number(libc::AT_FDCWD.into()),
                _ => dir(),
            };
            let flags = Arg::Number(libc::RENAME_EXCHANGE.into());
            itself(sys::call(
                libc::SYS_renameat2,
                [dir(), Arg::Read(&text(0)), dir(), Arg::Read(&text(1)), flags],
            ))
        }
        b"link" => itself(match way {
            Way::Old => sys::call(libc::SYS_link, [Arg::Read(&text(0)), Arg::Read(&text(1))]),
            _ => {
                sys::call(libc::SYS_linkat, [dir(), Arg::Read(&text(0)), dir(), Arg::Read(&text(1)), zero()])
            }
        }),
        b"truncate" => itself(sys::call(libc::SYS_truncate, [Arg::Read(&text(0)), Arg::Number(1)])),
        b"ftruncate" => {
            let how = i64::from(libc::O_WRONLY | libc::O_NONBLOCK | libc::O_CLOEXEC);
            let fd = opened(way, how, &text(0), given).map_err(|errno| (errno, Step::Opening))?;
            let done = sys::call(libc::SYS_ftruncate, [Arg::Number(fd), Arg::Number(1)]);
            closed(fd);
            itself(done)
        }
        b"may-execute" => {
            let none = || Arg::Read(&[0; 8]);
            // AT_EXECVE_CHECK (linux/fcntl.h), since Linux 6.14: nothing is executed.
            let path = text(0);
            let words = [dir(), Arg::Read(&path), none(), none(), Arg::Number(0x10000)];
            itself(sys::call(libc::SYS_execveat, words))
        }
        b"execute" => {
            let none = || Arg::Read(&[0; 8]);
            let done = match way {
                Way::Old => sys::call(libc::SYS_execve, [Arg::Read(&text(0)), none(), none()]),
                _ => sys::call(libc::SYS_execveat, [dir(), Arg::Read(&text(0)), none(), none(), zero()]),
            };
            match done {
                // It is no program.
                Err(Errno::ENOEXEC) => Err((Errno::ENOEXEC, Step::Passed)),
                other => itself(other),
            }
        }
        b"bind-unix" => with_socket(libc::AF_UNIX, libc::SOCK_DGRAM, |socket| {
            let address = unix(rest[0])?;
            itself(bound(socket, &address))
        }),
        b"connect-unix" => with_socket(libc::AF_UNIX, libc::SOCK_DGRAM, |socket| {
            let address = unix(rest[0])?;
            itself(connected(socket, &address))
        }),
        b"connect-abstract" => with_socket(libc::AF_UNIX, number(rest[0]) as i32, |socket| {
            let address = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"\0", rest[1]].concat();
            itself(connected(socket, &address))
        }),
        b"bind-port" => with_socket(libc::AF_INET, number(rest[0]) as i32, |socket| {
            // To an address where nobody is, beside the peers'.
            itself(bound(socket, &inet(2, rest[1])))
        }),
        b"connect-tcp" => with_socket(libc::AF_INET, libc::SOCK_STREAM, |socket| {
            match connected(socket, &inet(1, rest[0])) {
                Err(Errno::EINPROGRESS) => Ok(()),
                // Nobody listens.
                Err(Errno::ECONNREFUSED) => Err((Errno::ECONNREFUSED, Step::Passed)),
                other => itself(other),
            }
        }),
        b"udp" => {
            let (send, by_bound, address) = (rest[0] == b"1", rest[1] == b"1", inet(1, rest[2]));
            let send = |socket: i64| {
                let done = match (send, way) {
                    (false, _) => connected(socket, &address),
                    (true, Way::Old) => {
                        let (length, byte) = (Arg::Number(address.len() as i64), Arg::Read(b"x"));
                        let words =
                            [Arg::Number(socket), byte, Arg::Number(1), zero(), Arg::Read(&address), length];
                        sys::call(libc::SYS_sendto, words)
                    }
                    (true, way) => sys::send(socket, &address, way == Way::New).map(|()| 0),
                };
                match done {
                    // What came back of an earlier one.
                    Err(Errno::ECONNREFUSED) => Err((Errno::ECONNREFUSED, Step::Passed)),
                    other => itself(other),
                }
            };
            match by_bound {
                true => send(given.bound.into()),
                false => with_socket(libc::AF_INET, libc::SOCK_DGRAM, send),
            }
        }
        b"signal" => {
            let pid = || n(0);
            itself(match way {
                Way::Old => sys::call(libc::SYS_kill, [pid(), zero()]),
                Way::At => sys::call(libc::SYS_tgkill, [pid(), pid(), zero()]),
                Way::New => {
                    let fd = sys::call(libc::SYS_pidfd_open, [pid(), zero()]);
                    let fd = fd.map_err(|errno| (errno, Step::None))?;
                    let done = [Arg::Number(fd), zero(), zero(), zero()];
                    let done = sys::call(libc::SYS_pidfd_send_signal, done);
                    closed(fd);
                    done
                }
            })
        }
        name => panic!("no operation is called {:?}", String::from_utf8_lossy(name)),
    }
}

fn opened(way: Way, flags: i64, path: &[u8], given: &Given) -> Result<i64> {
    let mode = || Arg::Number(0o700);
    let creates =
        i64::from(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC | libc::O_NONBLOCK | libc::O_CLOEXEC);
    let makes = flags & i64::from(libc::O_CREAT) != 0
        || flags & i64::from(libc::O_TMPFILE) == i64::from(libc::O_TMPFILE);
    match way {
        Way::Old if flags == creates => sys::call(libc::SYS_creat, [Arg::Read(path), mode()]),
        Way::Old => sys::call(libc::SYS_open, [Arg::Read(path), Arg::Number(flags), mode()]),
        Way::At => {
            let dir = Arg::Number(given.root.into());
            sys::call(libc::SYS_openat, [dir, Arg::Read(path), Arg::Number(flags), mode()])
        }
        Way::New => {
            let mode = if makes { 0o700 } else { 0 };
            let how = [flags, mode, 0].map(i64::to_ne_bytes).concat();
            let (dir, size) = (Arg::Number(given.root.into()), Arg::Number(how.len() as i64));
            sys::call(libc::SYS_openat2, [dir, Arg::Read(path), Arg::Read(&how), size])
        }
    }
}

fn closed(fd: i64) -> i64 {
    // Who opened it has no more use for it.
    let _ = sys::call(libc::SYS_close, [Arg::Number(fd)]);
    0
}

fn with_socket(family: i32, kind: i32, then: impl FnOnce(i64) -> Outcome) -> Outcome {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let words = [Arg::Number(family.into()), Arg::Number(kind.into()), Arg::Number(0)];
    let socket = sys::call(libc::SYS_socket, words).map_err(|errno| (errno, Step::Socket))?;
    let done = then(socket);
    closed(socket);
    done
}

fn bound(socket: i64, address: &[u8]) -> Result<i64> {
    let length = Arg::Number(address.len() as i64);
    sys::call(libc::SYS_bind, [Arg::Number(socket), Arg::Read(address), length])
}

fn connected(socket: i64, address: &[u8]) -> Result<i64> {
    let length = Arg::Number(address.len() as i64);
    sys::call(libc::SYS_connect, [Arg::Number(socket), Arg::Read(address), length])
}

/// `struct sockaddr_un`, unix(7)
fn unix(path: &[u8]) -> std::result::Result<Vec<u8>, (Errno, Step)> {
    if path.len() > 107 {
        return Err((Errno::ENAMETOOLONG, Step::None));
    }
    Ok([&(libc::AF_UNIX as u16).to_ne_bytes()[..], path, b"\0"].concat())
}

/// `struct sockaddr_in`, ip(7): 127.0.0.LAST
fn inet(last: u8, port: &[u8]) -> Vec<u8> {
    let port = (number(port) as u16).to_be_bytes();
    [&(libc::AF_INET as u16).to_ne_bytes()[..], &port, &[127, 0, 0, last], &[0; 8]].concat()
}
