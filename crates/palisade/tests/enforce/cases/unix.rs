//! UNIX sockets, by path and by abstract name, and signals: the scopes.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::unistd::{Pid, getpid, getppid};
use palisade::{Policy, Rights};

use crate::harness::*;

cases![
    unix_socket_by_path_is_refused_from_abi_9,
    hole_unix_socket_by_path_before_abi_9,
    unix_socket_of_the_same_sandbox_is_reachable,
    abstract_socket_outside_is_refused,
    abstract_socket_of_the_same_sandbox_is_reachable,
    signals_to_the_outside_are_refused,
    signals_within_the_sandbox_work,
    a_nested_sandbox_cannot_signal_the_outer_one,
    opened_unix_connections_keep_working,
];

/// A server at a path of its own.
pub fn server() -> (UnixListener, PathBuf) {
    let at = fresh().join("socket");
    (UnixListener::bind(&at).expect("a UNIX socket"), at)
}

pub fn connect(at: &Path) -> std::io::Result<UnixStream> {
    UnixStream::connect(at)
}

/// A server with an abstract name of its own.
pub struct AbstractServer {
    pub name: Vec<u8>,
    _listener: UnixListener,
}

pub fn abstract_server() -> AbstractServer {
    // The directory's name is unique.
    let name = fresh().into_os_string().into_encoded_bytes();
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    AbstractServer { name, _listener: UnixListener::bind_addr(&address).expect("an abstract socket") }
}

pub fn connect_abstract(name: &[u8]) -> std::io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
}

pub fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a socket pair")
}

/// Hands a descriptor to whoever has the other end.
pub fn send_fd(through: &UnixStream, fd: impl AsFd) {
    let fds = [fd.as_fd().as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    let sent = sendmsg::<()>(through.as_raw_fd(), &[IoSlice::new(&[0])], &message, MsgFlags::empty(), None);
    assert_eq!(sent, Ok(1));
}

pub fn receive_fd(through: &UnixStream) -> OwnedFd {
    let (mut byte, mut space) = ([0], nix::cmsg_space!(i32));
    let mut parts = [IoSliceMut::new(&mut byte)];
    let got = recvmsg::<()>(through.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
    let got = got.expect("a message");
    for message in got.cmsgs().expect("control messages") {
        if let ControlMessageOwned::ScmRights(fds) = message {
            return crate::sys::own(fds[0]);
        }
    }
    panic!("no descriptor came");
}

/// Refused by the right resolve_unix.
const U: Expect = from(9, Errno::EACCES);
/// Refused by a scope.
const S: Expect = from(6, Errno::EPERM);

fn dial(at: &Path, expect: Expect) -> Row {
    let at = at.to_owned();
    prepared("connect", expect, move |_| {
        let at = at.clone();
        move || connect(&at)
    })
}

fn send(at: &Path, expect: Expect) -> Row {
    let at = at.to_owned();
    prepared("send", expect, move |_| {
        let at = at.clone();
        move || UnixDatagram::unbound()?.send_to(b"x", at)
    })
}

fn unix_socket_by_path_is_refused_from_abi_9() {
    let (_stream, stream) = server();
    let datagram = fresh().join("socket");
    let _socket = UnixDatagram::bind(&datagram).unwrap();
    check(|_| (), |_| Policy::new(), &[dial(&stream, U), send(&datagram, U)]);
    let granted = Policy::new().unix([&stream, &datagram]);
    check(|_| (), |_| granted.clone(), &[dial(&stream, WORKS), send(&datagram, WORKS)]);
    // The right is one on the path, and reading and writing there are others.
    let others = Policy::new().rw([&stream, &datagram]);
    check(|_| (), |_| others.clone(), &[dial(&stream, U), send(&datagram, U)]);
    // A rule on a directory counts for what is below it.
    let above = Policy::new().unix(stream.parent().unwrap());
    check(|_| (), |_| above.clone(), &[dial(&stream, WORKS), send(&datagram, U)]);
}

fn hole_unix_socket_by_path_before_abi_9() {
    let (_server, at) = server();
    check(|_| (), |_| Policy::new(), &[dial(&at, U)]);
    let lost = Policy::new().best_effort().plan(&palisade::Kernel::probe()).unwrap();
    assert_eq!(lost.lost().any(|lost| lost.right() == Rights::RESOLVE_UNIX), abi() < 9);
}

fn unix_socket_of_the_same_sandbox_is_reachable() {
    let dir = fresh();
    in_fork(|| {
        confine(&Policy::new().rw(&dir));
        let _server = UnixListener::bind(dir.join("socket")).unwrap();
        works(connect(&dir.join("socket")));
        // One made by a process that is confined further is reachable from here, not the other way round.
        in_fork(|| {
            confine(&Policy::new().rw(&dir));
            expected(U, connect(&dir.join("socket")));
        });
    });
}

fn abstract_socket_outside_is_refused() {
    let server = abstract_server();
    let name = fresh().into_os_string().into_encoded_bytes();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _socket = UnixDatagram::bind_addr(&address).unwrap();
    let connect = server.name.clone();
    let rows = [
        prepared("connect", S, move |_| {
            let name = connect.clone();
            move || connect_abstract(&name)
        }),
        prepared("send", S, move |_| {
            let address = address.clone();
            move || UnixDatagram::unbound()?.send_to_addr(b"x", &address)
        }),
    ];
    check(|_| (), |_| Policy::new(), &rows);
}

fn abstract_socket_of_the_same_sandbox_is_reachable() {
    in_fork(|| {
        confine(&Policy::new().rw(fresh()));
        let server = abstract_server_named(b"palisade-same", getpid());
        works(connect_abstract(&server.name));
        in_fork(|| {
            confine(&Policy::new());
            expected(S, connect_abstract(&server.name));
        });
    });
}

/// Where no directory can be made any more.
fn abstract_server_named(name: &[u8], pid: Pid) -> AbstractServer {
    let name = [name, pid.to_string().as_bytes()].concat();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    AbstractServer { name, _listener: UnixListener::bind_addr(&address).unwrap() }
}

fn signals_to_the_outside_are_refused() {
    let idle = idle();
    let pid = idle.0;
    let rows = [
        row("a signal to the parent", S, |_| kill(getppid(), None)),
        row("a signal to another", S, move |_| kill(pid, None)),
        row("a signal to oneself", WORKS, |_| kill(getpid(), None)),
    ];
    check(|_| (), |_| Policy::new(), &rows);
}

fn signals_within_the_sandbox_work() {
    in_fork(|| {
        confine(&Policy::new());
        let child = idle();
        works(kill(child.0, None));
    });
}

fn a_nested_sandbox_cannot_signal_the_outer_one() {
    in_fork(|| {
        confine(&Policy::new());
        let outer = idle();
        let (pid, me) = (outer.0, getpid());
        in_fork(|| {
            confine(&Policy::new());
            expected(S, kill(pid, None));
            expected(S, kill(me, None));
        });
    });
}

fn opened_unix_connections_keep_working() {
    let (server, at) = server();
    let mut here = connect(&at).unwrap();
    let (mut there, _) = server.accept().unwrap();
    works(confined(Policy::new(), || std::io::Write::write_all(&mut here, b"x")));
    works(std::io::Read::read_exact(&mut there, &mut [0]));
}
