//! The backstop: a seccomp filter that closes what this kernel's Landlock leaves open of a restricted category, and
//! the two ioctls that type into a terminal. From what is to be closed to the filter's instructions: pure.
//!
//! A filter sees numbers and arguments, never what a pointer points at. Arguments that the kernel takes as `int` are
//! compared in their low 32 bits, for it ignores the others. Each system-call ABI of the architecture is covered, or
//! refused as a whole (x32, and any that is unknown).

use std::ops::BitOr;

use libc::{EACCES, ENOSYS, EPERM, c_int};
use palisade::{Plan, Rights};

use crate::watch::calls::{self, Call};

/// What the filter closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Sockets of all families but those that the next fields let through.
    pub families: bool,
    /// TCP sockets too.
    pub tcp: bool,
    /// UDP sockets too.
    pub udp: bool,
    /// UNIX sockets, and pairs of them that could send to a third.
    pub unix: bool,
    /// Streams of another protocol than TCP, as Multipath TCP.
    pub other_streams: bool,
    /// Connecting by the first send (TCP Fast Open).
    pub fast_open: bool,
    /// io_uring, which makes system calls that no filter sees.
    pub io_uring: bool,
    /// TIOCSTI and TIOCLINUX.
    pub typing: bool,
}

impl Closed {
    /// What Landlock leaves open of the categories that `plan` restricts; `granted` are the rights that the options
    /// grant somewhere, for a filter cannot tell ports and paths apart: what is granted once is open.
    pub fn of(plan: &Plan, granted: Rights) -> Closed {
        let (restricted, enforced) = (plan.requested(), plan.enforced());
        let open = |category: Rights| {
            let (asked, held) = (restricted.intersects(category), enforced.contains(restricted & category));
            !asked || held || granted.intersects(category)
        };
        let net = restricted.intersects(Rights::NET);
        let unix = !open(Rights::UNIX);
        Closed {
            families: net,
            tcp: !open(Rights::TCP),
            udp: !open(Rights::UDP),
            unix,
            other_streams: restricted.intersects(Rights::TCP),
            // The kernel that restricts UDP is the first that looks at these too.
            fast_open: restricted.contains(Rights::CONNECT_TCP)
                && !plan.kernel().rights().intersects(Rights::UDP),
            io_uring: net || unix,
            typing: false,
        }
    }

    /// The rights that need no Landlock, because the filter leaves no way to use them.
    pub fn rights(self) -> Rights {
        let closed = [
            (self.tcp, Rights::TCP),
            (self.udp, Rights::UDP),
            (self.unix, Rights::UNIX),
            (self.unix, Rights::ABSTRACT),
        ];
        closed.into_iter().filter(|(closed, _)| *closed).map(|(_, rights)| rights).collect()
    }

    /// Whether the filter has anything to do with sockets.
    pub fn any_socket(self) -> bool {
        self.families || self.unix
    }
}

impl BitOr for Closed {
    type Output = Closed;

    /// What either closes.
    fn bitor(self, other: Closed) -> Closed {
        Closed {
            families: self.families || other.families,
            tcp: self.tcp || other.tcp,
            udp: self.udp || other.udp,
            unix: self.unix || other.unix,
            other_streams: self.other_streams || other.other_streams,
            fast_open: self.fast_open || other.fast_open,
            io_uring: self.io_uring || other.io_uring,
            typing: self.typing || other.typing,
        }
    }
}

/// The system calls that a filter looks at, by number, in one ABI; 0 where there is none (no such call is number 0
/// in any of these).
struct Abi {
    audit_arch: u32,
    socket: u32,
    socketpair: u32,
    sendto: u32,
    sendmsg: u32,
    sendmmsg: u32,
    socketcall: u32,
    ioctl: u32,
    x32: bool,
}

const IO_URING_SETUP: u32 = 425;
const X32_BIT: u32 = 0x4000_0000;

const fn abi(
    audit_arch: u32,
    [socket, socketpair, sendto, sendmsg, sendmmsg, socketcall, ioctl]: [u32; 7],
) -> Abi {
    Abi { audit_arch, socket, socketpair, sendto, sendmsg, sendmmsg, socketcall, ioctl, x32: false }
}

/// x86-64, with x32; i386.
const X86_64: &[Abi] = &[
    Abi { x32: true, ..abi(0xc000_003e, [41, 53, 44, 46, 307, 0, 16]) },
    abi(0x4000_0003, [359, 360, 369, 370, 345, 102, 54]),
];
/// aarch64; 32-bit ARM.
const AARCH64: &[Abi] = &[
    abi(0xc000_00b7, [198, 199, 206, 211, 269, 0, 29]),
    abi(0x4000_0028, [281, 288, 290, 296, 374, 102, 54]),
];
/// No filter is made for other architectures, and what it would close is said to be open.
const ABIS: &[Abi] = match () {
    () if cfg!(target_endian = "big") => &[],
    () if cfg!(target_arch = "x86_64") => X86_64,
    () if cfg!(target_arch = "aarch64") => AARCH64,
    () => &[],
};

/// Whether there is a backstop on this architecture.
pub const fn exists() -> bool {
    !ABIS.is_empty()
}

/// One instruction of a classic BPF program (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const TRACE: u32 = 0x7ff0_0000 | WATCHED as u32;

/// What the filter says to the watcher when a call stops (SECCOMP_RET_DATA), so that he can tell it from one of the program's
/// own that says the same.
pub const WATCHED: u16 = 0x7061;

/// Offsets in `struct seccomp_data`; of an argument the low word.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(n: u32) -> u32 {
    16 + 8 * n
}

const fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn refuse(errno: c_int) -> Instruction {
    op(RETURN, ERRNO | errno as u32)
}

const fn allow() -> Instruction {
    op(RETURN, ALLOW)
}

/// `if A == k { then }`, which falls through if not, or if `then` does not return.
fn if_equal(k: u32, then: Vec<Instruction>) -> Vec<Instruction> {
    branch(IF_EQUAL, k, then)
}

fn branch(code: u16, k: u32, then: Vec<Instruction>) -> Vec<Instruction> {
    let over = u8::try_from(then.len()).expect("blocks are far shorter than 256 instructions");
    let mut all = vec![Instruction { code, jt: 0, jf: over, k }];
    all.extend(then);
    all
}

/// The filter; empty if there is nothing to close.
pub fn filter(closed: Closed) -> Vec<Instruction> {
    if closed == Closed::default() || !exists() {
        return Vec::new();
    }
    for_abis(ABIS, closed, Watcher::None)
}

/// The filter of a program that is watched: each call that Landlock decides on stops for the watcher (SECCOMP_RET_TRACE),
/// and so does what is closed, if the watcher is to see and to refuse that. Without a watcher what stops fails. io_uring is
/// closed in any case, for what goes through it would not be seen; and so are listeners (seccomp_unotify(2)), which
/// come before whoever watches, and could let through what he would refuse.
///
/// Nor are the watcher's own limits (prlimit(2)) the program's to set, which takes no more than to be the same user: one who
/// can open no file says of nothing who refused it, and one who can write none says nothing.
pub fn watched_filter(closed: Closed, watcher: Watcher) -> Vec<Instruction> {
    for_abis(ABIS, Closed { io_uring: true, ..closed }, watcher)
}

/// What the program's watcher sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// There is none.
    None,
    /// The calls that Landlock decides on; what is closed the kernel refuses. With the watcher's number.
    OfCalls(i32),
    /// What is closed too, which the watcher refuses.
    OfAll(i32),
}

/// What a filter says of a call: the error number if it refuses it. For the watcher, who is asked in its place.
pub fn refuses(filter: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> Option<c_int> {
    match verdict(filter, arch, number, arguments) {
        ALLOW => None,
        refused => Some((refused & 0xffff) as c_int),
    }
}

/// What a filter returns.
fn verdict(filter: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        NUMBER => number,
        ARCH => arch,
        _ => (arguments[(offset as usize - 16) / 8] >> (8 * (offset % 8))) as u32,
    };
    let (mut at, mut a) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = filter[at];
        at += 1;
        match code {
            LOAD => a = load(k),
            AND => a &= k,
            JUMP => at += k as usize,
            IF_EQUAL => at += usize::from(if a == k { jt } else { jf }),
            IF_ANY_BIT => at += usize::from(if a & k != 0 { jt } else { jf }),
            RETURN => return k,
            _ => unreachable!("there is no such instruction: {code:#x}"),
        }
    }
}

fn for_abis(abis: &[Abi], closed: Closed, watcher: Watcher) -> Vec<Instruction> {
    let mut all = vec![op(LOAD, ARCH)];
    for abi in abis {
        let block = of_abi(abi, closed, watcher);
        // A conditional jump reaches 255 instructions, and a block may be longer.
        all.push(Instruction { code: IF_EQUAL, jt: 1, jf: 0, k: abi.audit_arch });
        all.push(op(JUMP, block.len() as u32));
        all.extend(block);
    }
    all.push(refuse(ENOSYS));
    all
}

fn of_abi(abi: &Abi, closed: Closed, watcher: Watcher) -> Vec<Instruction> {
    let mut on_number: Vec<(u32, Vec<Instruction>)> = Vec::new();
    let mut on = |number: u32, wanted: bool, then: Vec<Instruction>| {
        if wanted && number != 0 {
            on_number.push((number, then));
        }
    };
    on(abi.socket, closed.any_socket(), socket(closed));
    on(abi.socketpair, closed.any_socket(), socketpair(closed));
    on(abi.sendto, closed.fast_open, fast_open(3));
    on(abi.sendmsg, closed.fast_open, fast_open(2));
    on(abi.sendmmsg, closed.fast_open, fast_open(3));
    on(abi.socketcall, closed.any_socket() || closed.fast_open, socketcall(closed));
    on(abi.ioctl, closed.typing, typing());
    on(IO_URING_SETUP, closed.io_uring, vec![refuse(EPERM)]);
    if let Watcher::OfAll(_) = watcher {
        on_number.iter_mut().for_each(|(_, block)| stop_what_is_refused(block));
    }
    if let Watcher::OfCalls(process) | Watcher::OfAll(process) = watcher {
        watch(abi.audit_arch, &mut on_number);
        if let Some(prlimit) = calls::prlimit(abi.audit_arch) {
            on_number.push((prlimit, no_limits_of(process)));
        }
        if let Some(seccomp) = calls::seccomp(abi.audit_arch) {
            on_number.push((seccomp, no_listener()));
        }
    }

    let mut all = vec![op(LOAD, NUMBER)];
    if abi.x32 {
        all.extend(branch(IF_ANY_BIT, X32_BIT, vec![refuse(ENOSYS)]));
    }
    on_number.into_iter().for_each(|(number, then)| all.extend(if_equal(number, then)));
    all.push(allow());
    all
}

fn stop_what_is_refused(block: &mut [Instruction]) {
    for instruction in block.iter_mut().filter(|i| i.code == RETURN && i.k != ALLOW) {
        instruction.k = TRACE;
    }
}

/// seccomp(operation, flags, args): as if there were a listener already, of which there can be one alone.
fn no_listener() -> Vec<Instruction> {
    const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
    let mut all = vec![op(LOAD, argument(1))];
    all.extend(branch(IF_ANY_BIT, NEW_LISTENER, vec![refuse(libc::EBUSY)]));
    all.push(allow());
    all
}

/// prlimit64(pid, …). In a name space of processes of its own a program does not see the watcher, so that he has no other number.
fn no_limits_of(process: i32) -> Vec<Instruction> {
    let mut all = vec![op(LOAD, argument(0))];
    all.extend(if_equal(process as u32, vec![refuse(EPERM)]));
    all.push(allow());
    all
}

/// Stops each call that is watched, where nothing else is done with it.
fn watch(arch: u32, on_number: &mut Vec<(u32, Vec<Instruction>)>) {
    for (call, number) in calls::of(arch) {
        let stop = || vec![op(RETURN, TRACE)];
        let unless = |argument_number, code, k| {
            let mut block = vec![op(LOAD, argument(argument_number))];
            block.extend(branch(code, k, vec![allow()]));
            block.extend(stop());
            block
        };
        let block = match call {
            // What they are refused is all that is watched of them.
            Call::Socket | Call::SocketPair | Call::IoUringSetup => continue,
            // Landlock refuses nobody a place alone.
            Call::Open => unless(1, IF_ANY_BIT, libc::O_PATH as u32),
            Call::OpenAt => unless(2, IF_ANY_BIT, libc::O_PATH as u32),
            // On a connected socket, as most are.
            Call::SendTo => {
                let mut block = vec![op(LOAD, argument(4))];
                block.extend(branch(IF_ANY_BIT, u32::MAX, stop()));
                block.push(op(LOAD, argument(4) + 4));
                block.extend(branch(IF_ANY_BIT, u32::MAX, stop()));
                block.push(allow());
                block
            }
            Call::Ioctl => {
                let mut block = vec![op(LOAD, argument(1))];
                calls::FREE_IOCTLS.iter().for_each(|free| block.extend(if_equal(*free, vec![allow()])));
                block.extend(stop());
                block
            }
            _ => stop(),
        };
        match on_number.iter_mut().find(|(of, _)| *of == number) {
            // What closes some of them lets the others through at its end.
            Some((_, closing)) => {
                closing.pop();
                closing.extend(block);
            }
            None => on_number.push((number, block)),
        }
    }
}

/// socket(domain, type, protocol)
fn socket(closed: Closed) -> Vec<Instruction> {
    let protocols = |some: &[c_int]| {
        let mut all = vec![op(LOAD, argument(2))];
        some.iter().for_each(|protocol| all.extend(if_equal(*protocol as u32, vec![allow()])));
        all.push(refuse(EACCES));
        all
    };
    let mut inet = vec![op(LOAD, argument(1)), op(AND, 0xf)];
    if !closed.tcp {
        let streams = match closed.other_streams {
            true => protocols(&[0, libc::IPPROTO_TCP]),
            false => protocols(&[0, libc::IPPROTO_TCP, libc::IPPROTO_MPTCP]),
        };
        inet.extend(if_equal(libc::SOCK_STREAM as u32, streams));
    }
    if !closed.udp {
        inet.extend(if_equal(libc::SOCK_DGRAM as u32, protocols(&[0, libc::IPPROTO_UDP])));
    }
    inet.push(refuse(EACCES));

    let mut all = vec![op(LOAD, argument(0))];
    if closed.unix {
        all.extend(if_equal(libc::AF_UNIX as u32, vec![refuse(EACCES)]));
    }
    if !closed.families {
        all.push(allow());
        return all;
    }
    all.extend(if_equal(libc::AF_UNIX as u32, vec![allow()]));
    all.extend(if_equal(libc::AF_INET as u32, inet.clone()));
    all.extend(if_equal(libc::AF_INET6 as u32, inet));
    all.extend(if_equal(libc::AF_NETLINK as u32, protocols(&[libc::NETLINK_ROUTE])));
    all.push(refuse(EACCES));
    all
}

/// socketpair(domain, type, …): one end of a pair of datagram sockets can send to any other socket by its path, so
/// only pairs that are connected for good are left.
fn socketpair(closed: Closed) -> Vec<Instruction> {
    let mut unix = Vec::new();
    if closed.unix {
        unix.extend([op(LOAD, argument(1)), op(AND, 0xf)]);
        unix.extend(if_equal(libc::SOCK_STREAM as u32, vec![allow()]));
        unix.extend(if_equal(libc::SOCK_SEQPACKET as u32, vec![allow()]));
        unix.push(refuse(EACCES));
    } else {
        unix.push(allow());
    }
    let mut all = vec![op(LOAD, argument(0))];
    all.extend(if_equal(libc::AF_UNIX as u32, unix));
    all.push(if closed.families { refuse(EACCES) } else { allow() });
    all
}

fn fast_open(flags: u32) -> Vec<Instruction> {
    let mut all = vec![op(LOAD, argument(flags))];
    all.extend(branch(IF_ANY_BIT, libc::MSG_FASTOPEN as u32, vec![refuse(EACCES)]));
    all.push(allow());
    all
}

/// socketcall(call, args): the arguments are in memory, so that a call is refused as a whole if anything of it would
/// be. Programs that are not very old use the calls proper.
fn socketcall(closed: Closed) -> Vec<Instruction> {
    const SOCKET: u32 = 1;
    const SOCKETPAIR: u32 = 8;
    const SENDS: [u32; 3] = [11, 16, 20]; // SENDTO, SENDMSG, SENDMMSG
    let mut all = vec![op(LOAD, argument(0))];
    let mut refused = |call| all.extend(if_equal(call, vec![refuse(EACCES)]));
    if closed.any_socket() {
        refused(SOCKET);
        refused(SOCKETPAIR);
    }
    if closed.fast_open {
        SENDS.into_iter().for_each(refused);
    }
    all.push(allow());
    all
}

/// ioctl(fd, request, …)
fn typing() -> Vec<Instruction> {
    const TIOCSTI: u32 = 0x5412;
    const TIOCLINUX: u32 = 0x541c;
    let mut all = vec![op(LOAD, argument(1))];
    all.extend(if_equal(TIOCSTI, vec![refuse(EPERM)]));
    all.extend(if_equal(TIOCLINUX, vec![refuse(EPERM)]));
    all.push(allow());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do, for a system call with these numbers; an error number, or 0.
    fn run(filter: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        refuses(filter, arch, number, arguments).unwrap_or(0) as u32
    }

    const ALL: Closed = Closed {
        families: true,
        tcp: false,
        udp: true,
        unix: true,
        other_streams: true,
        fast_open: true,
        io_uring: true,
        typing: true,
    };
    const GARBAGE: u64 = 0xdead_0000_0000_0000;

    /// The tables of architectures that these tests do not run on are tested here alone.
    #[test]
    fn each_abi_of_each_architecture_is_covered_alike() {
        let (eacces, eperm) = (EACCES as u32, EPERM as u32);
        for abis in [X86_64, AARCH64] {
            let filter = for_abis(abis, ALL, Watcher::None);
            assert!(filter.len() < 400);
            for abi in abis {
                let call = |number, first: [u64; 4]| {
                    let low = [first[0], first[1], first[2], first[3], 0, 0];
                    let seen = run(&filter, abi.audit_arch, number, low);
                    // Bits that the kernel ignores change nothing.
                    assert_eq!(run(&filter, abi.audit_arch, number, low.map(|a| a | GARBAGE)), seen);
                    seen
                };
                let (unix, inet, inet6) = (libc::AF_UNIX as u64, libc::AF_INET as u64, libc::AF_INET6 as u64);
                let (stream, dgram, flags) = (1, 2, (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64);
                for family in [inet, inet6] {
                    assert_eq!(call(abi.socket, [family, stream | flags, 0, 0]), 0);
                    assert_eq!(call(abi.socket, [family, stream, 6, 0]), 0);
                    assert_eq!(call(abi.socket, [family, stream, 262, 0]), eacces);
                    assert_eq!(call(abi.socket, [family, dgram | flags, 0, 0]), eacces);
                    assert_eq!(call(abi.socket, [family, 3, 1, 0]), eacces);
                }
                assert_eq!(call(abi.socket, [unix, stream, 0, 0]), eacces);
                assert_eq!(call(abi.socket, [16, 3, 0, 0]), 0);
                assert_eq!(call(abi.socket, [16, 3, 9, 0]), eacces);
                assert_eq!(call(abi.socketpair, [unix, stream | flags, 0, 0]), 0);
                assert_eq!(call(abi.socketpair, [unix, dgram, 0, 0]), eacces);
                assert_eq!(call(abi.socketpair, [unix, 3, 0, 0]), eacces);
                assert_eq!(call(abi.socketpair, [30, stream, 0, 0]), eacces);
                let open = libc::MSG_FASTOPEN as u64;
                for (number, flags_at) in [(abi.sendto, 3), (abi.sendmsg, 2), (abi.sendmmsg, 3)] {
                    let mut arguments = [0; 4];
                    assert_eq!(call(number, arguments), 0);
                    arguments[flags_at] = open | 0x4000;
                    assert_eq!(call(number, arguments), eacces);
                }
                assert_eq!(call(abi.ioctl, [0, 0x5412, 0, 0]), eperm);
                assert_eq!(call(abi.ioctl, [0, 0x541c, 0, 0]), eperm);
                assert_eq!(call(abi.ioctl, [0, 0x5413, 0, 0]), 0);
                assert_eq!(call(IO_URING_SETUP, [0; 4]), eperm);
                assert_eq!(call(1, [0; 4]), 0);
                if abi.socketcall != 0 {
                    let refused = |n| call(abi.socketcall, [n, 0, 0, 0]) == eacces;
                    assert_eq!((1..=20).filter(|n| refused(*n)).collect::<Vec<_>>(), [1, 8, 11, 16, 20]);
                }
                if abi.x32 {
                    assert_eq!(run(&filter, abi.audit_arch, X32_BIT | 39, [0; 6]), ENOSYS as u32);
                }
            }
            assert_eq!(run(&filter, 0x1234, 1, [0; 6]), ENOSYS as u32);
        }
    }

    #[test]
    fn what_is_not_closed_is_open() {
        let arch = X86_64[0].audit_arch;
        let only = |closed| for_abis(X86_64, closed, Watcher::None);
        let typing = only(Closed { typing: true, ..Closed::default() });
        assert_eq!(run(&typing, arch, 41, [2, 2, 0, 0, 0, 0]), 0);
        let unix = only(Closed { unix: true, ..Closed::default() });
        assert_eq!(run(&unix, arch, 41, [17, 3, 0, 0, 0, 0]), 0);
        assert_eq!(run(&unix, arch, 41, [1, 1, 0, 0, 0, 0]), EACCES as u32);
        let udp = only(Closed { udp: false, ..ALL });
        assert_eq!(run(&udp, arch, 41, [2, 2, 17, 0, 0, 0]), 0);
        assert_eq!(run(&udp, arch, 41, [2, 2, 136, 0, 0, 0]), EACCES as u32);
        assert_eq!(filter(Closed::default()), []);
    }
}
