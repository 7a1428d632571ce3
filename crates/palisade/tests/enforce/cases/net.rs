//! TCP and UDP ports, and what the network leaves open.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, NetlinkAddr, SockProtocol, SockType, SockaddrIn, VsockAddr, listen,
    sendto, setsockopt, sockopt,
};
use palisade::{Kernel, Policy, Ports, Rights};

use crate::harness::*;
use crate::sys;

cases![
    tcp_is_refused_but_where_granted,
    tcp_ports_are_those_of_any_address,
    tcp_port_ranges,
    tcp_any_port_leaves_connect_alone,
    opened_tcp_sockets_keep_working,
    hole_tcp_fast_open,
    hole_listen_without_bind,
    hole_mptcp,
    hole_udp_before_abi_10,
    udp_is_granted_by_port,
    hole_ping_and_raw_sockets,
    hole_netlink,
    hole_vsock,
    hole_other_protocols,
];

/// A socket that accepts connections on a port of the loopback interface.
pub struct Listener(TcpListener);

impl Listener {
    pub fn new() -> Listener {
        Listener(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback"))
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }
}

/// A port that nobody takes but who shares it (SO_REUSEPORT), as `bind` does.
pub struct Held(OwnedFd);

impl Held {
    pub fn new() -> Held {
        Held(bind(0).expect("loopback"))
    }

    pub fn port(&self) -> u16 {
        port(&self.0)
    }
}

fn port(socket: &OwnedFd) -> u16 {
    nix::sys::socket::getsockname::<SockaddrIn>(socket.as_raw_fd()).expect("an address").port()
}

fn local(port: u16) -> SockaddrIn {
    SockaddrIn::new(127, 0, 0, 1, port)
}

pub fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

pub fn bind(port: u16) -> nix::Result<OwnedFd> {
    bind_kind(libc::SOCK_STREAM, 0, port)
}

fn bind_kind(kind: i32, protocol: i32, port: u16) -> nix::Result<OwnedFd> {
    let socket = sys::socket(libc::AF_INET, kind, protocol)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &local(port))?;
    Ok(socket)
}

/// Refused by a right on TCP ports.
const N: Expect = from(4, Errno::EACCES);
/// Refused by a right on UDP ports.
const D: Expect = from(10, Errno::EACCES);

/// Nothing is allowed, everything is handled.
fn nothing(rows: &[Row]) {
    check(|_| (), |_| Policy::new(), rows);
}

fn tcp_is_refused_but_where_granted() {
    let (one, other, held) = (Listener::new(), Listener::new(), Held::new());
    let (c, o, b) = (one.port(), other.port(), held.port());
    let connect_to = |port, expect| row("connect", expect, move |_| connect(port));
    let bind_to = |port, expect| row("bind", expect, move |_| bind(port));
    nothing(&[connect_to(c, N), bind_to(b, N), bind_to(0, N)]);
    let rows = [connect_to(c, WORKS), connect_to(o, N), bind_to(b, N), bind_to(c, N).free(Errno::EADDRINUSE)];
    check(|_| (), |_| Policy::new().connect_tcp(c), &rows);
    let rows = [connect_to(c, N), bind_to(b, WORKS), bind_to(0, N)];
    check(|_| (), |_| Policy::new().bind_tcp(b), &rows);
}

fn tcp_ports_are_those_of_any_address() {
    let one = Listener::new();
    let c = one.port();
    let anywhere =
        move |address: Ipv4Addr, expect| row("connect", expect, move |_| TcpStream::connect((address, c)));
    // 0.0.0.0 is this machine too; nobody listens at 127.0.0.2, and the policy lets that be found out.
    let rows = [
        anywhere(Ipv4Addr::UNSPECIFIED, WORKS),
        anywhere(Ipv4Addr::new(127, 0, 0, 2), WORKS).free(Errno::ECONNREFUSED),
    ];
    check(|_| (), |_| Policy::new().connect_tcp(c), &rows);
    // IPv6, where there is any.
    let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let s = six.local_addr().unwrap().port();
    let to = move |expect| row("connect", expect, move |_| TcpStream::connect((Ipv6Addr::LOCALHOST, s)));
    nothing(&[to(N)]);
    check(|_| (), |_| Policy::new().connect_tcp(s), &[to(WORKS)]);
}

fn tcp_port_ranges() {
    let (one, other) = (Listener::new(), Listener::new());
    let (low, high) = (one.port().min(other.port()), one.port().max(other.port()));
    let to = |port, expect| row("connect", expect, move |_| connect(port));
    let range = |from: u16, to: u16| move |_: &std::path::Path| Policy::new().connect_tcp(from..=to);
    check(|_| (), range(low, high), &[to(low, WORKS), to(high, WORKS)]);
    check(|_| (), range(low - 2, low), &[to(low, WORKS), to(high, N)]);
    check(|_| (), range(low + 1, high), &[to(low, N), to(high, WORKS)]);
    check(|_| (), range(low, high - 1), &[to(low, WORKS), to(high, N)]);
}

fn tcp_any_port_leaves_connect_alone() {
    let listener = Listener::new();
    let port = listener.port();
    let policy = Policy::new().connect_tcp(Ports::ANY);
    let rows = [row("connect", WORKS, move |_| connect(port)), row("bind", N, |_| bind(0))];
    check(|_| (), |_| policy.clone(), &rows);
    let plan = policy.best_effort().plan(&Kernel::probe()).unwrap();
    assert!(!plan.requested().contains(Rights::CONNECT_TCP));
    assert!(plan.notes().any(|note| note.contains("connect_tcp: every port is allowed")), "{plan}");
}

fn opened_tcp_sockets_keep_working() {
    let listener = Listener::new();
    let mut stream = connect(listener.port()).unwrap();
    works(confined(Policy::new(), || {
        let (mut accepted, _) = listener.0.accept()?;
        stream.write_all(b"x")?;
        accepted.read_exact(&mut [0])
    }));
    // One that was bound before may listen.
    let held = bind(0).unwrap();
    works(confined(Policy::new(), || listen(&held, Backlog::new(1).unwrap())));
}

fn hole_tcp_fast_open() {
    let listener = Listener::new();
    let port = listener.port();
    let send = move || {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
        let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
        sendto(socket.as_raw_fd(), b"x", &local(port), flags)
    };
    works(forked(send));
    let sent = confined(Policy::new(), send);
    match abi() {
        0..4 => works(sent),
        // Closed in Linux 7.2, and in some stable releases of older ones (6.12.117, not 6.18.44).
        4..10 => assert!(matches!(sent, Ok(()) | Err(Errno::EACCES)), "{sent:?}"),
        _ => fails(Errno::EACCES, sent),
    }
}

fn hole_listen_without_bind() {
    nothing(&[row("listen", WORKS, |_| {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
        listen(&socket, Backlog::new(1).unwrap())?;
        // It has a port, and a process outside may connect.
        if port(&socket) == 0 { Err(Errno::EADDRNOTAVAIL) } else { Ok(()) }
    })]);
}

fn hole_mptcp() {
    let listener = Listener::new();
    let port = listener.port();
    // Some kernels restrict it too: erratum 1. Not every kernel has it.
    let expect = if Kernel::probe().unfixed().any(|(number, _)| number == 1) { N } else { WORKS };
    let there = sys::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP);
    let Ok(_) = there else {
        let error = there.unwrap_err();
        assert!(matches!(error, Errno::EPROTONOSUPPORT | Errno::ENOPROTOOPT), "{error}");
        return;
    };
    nothing(&[
        row("connect", expect, move |_| {
            let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?;
            nix::sys::socket::connect(socket.as_raw_fd(), &local(port))
        }),
        row("bind", expect, |_| bind_kind(libc::SOCK_STREAM, libc::IPPROTO_MPTCP, 0)),
    ]);
}

fn udp_rows(port: u16, connect: Expect, send: Expect, bind: Expect) -> [Row; 3] {
    let unbound = || sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
    [
        row("connect", connect, move |_| nix::sys::socket::connect(unbound()?.as_raw_fd(), &local(port))),
        row("send", send, move |_| sendto(unbound()?.as_raw_fd(), b"x", &local(port), MsgFlags::empty())),
        row("bind", bind, |_| bind_kind(libc::SOCK_DGRAM, 0, 0)),
    ]
}

fn hole_udp_before_abi_10() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    nothing(&udp_rows(port, D, D, D));
}

fn udp_is_granted_by_port() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (s, o) = (server.local_addr().unwrap().port(), other.local_addr().unwrap().port());
    // It brings what sending needs: a port of the kernel's choice.
    check(|_| (), |_| Policy::new().connect_udp(s), &udp_rows(s, WORKS, WORKS, WORKS));
    check(|_| (), |_| Policy::new().connect_udp(s), &udp_rows(o, D, D, WORKS));
    check(|_| (), |_| Policy::new().bind_udp(0), &udp_rows(s, D, D, WORKS));
    check(|_| (), |_| Policy::new().unrestricted(Rights::UDP), &udp_rows(s, WORKS, WORKS, WORKS));
}

fn hole_ping_and_raw_sockets() {
    let echo = |kind| {
        move |_: &std::path::Path| {
            let socket = sys::socket(libc::AF_INET, kind, libc::IPPROTO_ICMP)?;
            sendto(socket.as_raw_fd(), &[8, 0, 0xf7, 0xff, 0, 0, 0, 0], &local(0), MsgFlags::empty())
        }
    };
    let raw = row("a raw socket", WORKS, echo(libc::SOCK_RAW));
    nothing(&[
        if is_root() { raw } else { raw.free(Errno::EPERM) },
        // Who may is the administrator's choice.
        row("a ping socket", WORKS, echo(libc::SOCK_DGRAM)).free_any(),
        row("a packet socket", WORKS, |_| {
            sys::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(0x0003_u16.to_be()))
        })
        .free_any(),
    ]);
}

fn hole_netlink() {
    nothing(&[row("netlink", WORKS, |_| {
        let route = nix::sys::socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            nix::sys::socket::SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        nix::sys::socket::bind(route.as_raw_fd(), &NetlinkAddr::new(0, 0))
    })]);
}

fn hole_vsock() {
    // A port of the kernel's choice; a virtual machine's host could connect to it.
    nothing(&[row("bind", WORKS, |_| {
        let socket = sys::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)?;
        let any = VsockAddr::new(libc::VMADDR_CID_ANY, libc::VMADDR_PORT_ANY);
        nix::sys::socket::bind(socket.as_raw_fd(), &any)
    })
    .free_any()]);
}

fn hole_other_protocols() {
    let kinds = [
        ("SCTP", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        ("UDP-Lite", libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        ("AF_ALG", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        ("TIPC", libc::AF_TIPC, libc::SOCK_STREAM, 0),
    ];
    let rows = kinds.map(|(name, domain, kind, protocol)| {
        row(name, WORKS, move |_| sys::socket(domain, kind, protocol)).free_any()
    });
    nothing(&rows);
}
