//! The tables of go-landlock's behaviour, row by row, with the same sets of rights as there.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::{getppid, mkfifo, truncate};
use palisade::{Abi, Kernel, Policy, Rights, path};

use super::net::{Held, Listener};
use super::unix;
use crate::harness::*;
use crate::sys;

cases![
    go_free,
    go_v1_none,
    go_v3_none,
    go_v1_rofiles,
    go_v1_rwfiles,
    go_v3_rwfiles,
    go_v1_rodirs,
    go_rwdirs,
    go_v2_rwdirs_with_refer,
    go_refer_to_where_more_is_granted,
    go_refer_then_a_layer_without_files,
    go_tcp_bind_alone,
    go_tcp_connect_alone,
    go_tcp_connect_granted,
    go_tcp_bind_granted,
    go_tcp_port_0,
    go_tcp_left_alone,
    go_scope_abstract,
    go_scope_signal,
    go_scopes_both,
    go_scopes_none,
    go_ioctl_dev,
    go_resolve_unix,
    go_downgrade,
];

const RO_FILES: [Rights; 2] = [Rights::EXECUTE, Rights::READ_FILE];
const RW_FILES: [Rights; 4] = [Rights::EXECUTE, Rights::READ_FILE, Rights::WRITE_FILE, Rights::TRUNCATE];
const RO_DIRS: [Rights; 3] = [Rights::EXECUTE, Rights::READ_FILE, Rights::READ_DIR];

fn rw_dirs() -> Rights {
    Rights::FS - Rights::REFER
}

fn set(rights: &[Rights]) -> Rights {
    rights.iter().copied().collect()
}

fn tree(d: &Path) {
    put(d.join("lolcat.txt"), "hi");
    put(d.join("renameme.txt"), "");
    mkdir(d.join("dst"));
}

/// The columns.
fn rows(expect: [Expect; 8]) -> Vec<Row> {
    let [read, list, create, cut, make, remove, fifo, rename] = expect;
    vec![
        row("read", read, |d| File::open(d.join("lolcat.txt"))),
        row("list", list, |d| fs::read_dir(d)),
        row("create with O_TRUNC", create, |d| {
            OpenOptions::new().write(true).create(true).truncate(true).open(d.join("lolcat.txt"))
        }),
        row("truncate", cut, |d| truncate(&d.join("lolcat.txt"), 1)),
        row("mkdir", make, |d| fs::create_dir(d.join("new"))),
        row("unlink", remove, |d| fs::remove_file(d.join("lolcat.txt"))),
        row("mkfifo", fifo, |d| mkfifo(&d.join("fifo"), Mode::S_IRWXU)),
        row("rename", rename, |d| fs::rename(d.join("renameme.txt"), d.join("dst/renameme.txt"))),
    ]
}

/// Truncating is refused, where it can be.
const T: Expect = from(3, Errno::EACCES);

fn go_free() {
    check(tree, |_| [], &rows([WORKS; 8]));
}

fn go_v1_none() {
    check(tree, |_| Policy::for_abi(Abi::V1), &rows([A, A, A, WORKS, A, A, A, A]));
}

fn go_v3_none() {
    check(tree, |_| Policy::for_abi(Abi::V3), &rows([A, A, A, T, A, A, A, A]));
}

fn on_file_and_dir(abi: Abi, rights: &[Rights], expect: [Expect; 8]) {
    let policy = |target: &Path| Policy::for_abi(abi).rule(path(target).rights(set(rights)));
    check(tree, |d| policy(&d.join("lolcat.txt")), &rows(expect));
    check(tree, policy, &rows(expect));
}

fn go_v1_rofiles() {
    on_file_and_dir(Abi::V1, &RO_FILES, [WORKS, A, A, WORKS, A, A, A, A]);
}

fn go_v1_rwfiles() {
    on_file_and_dir(Abi::V1, &RW_FILES, [WORKS, A, WORKS, WORKS, A, A, A, A]);
}

fn go_v3_rwfiles() {
    on_file_and_dir(Abi::V3, &RW_FILES, [WORKS, A, WORKS, WORKS, A, A, A, A]);
    on_file_and_dir(Abi::V3, &RO_FILES, [WORKS, A, A, T, A, A, A, A]);
}

fn go_v1_rodirs() {
    let policy = |d: &Path| Policy::for_abi(Abi::V1).rule(path(d).rights(set(&RO_DIRS)));
    check(tree, policy, &rows([WORKS, WORKS, A, WORKS, A, A, A, A]));
}

fn go_rwdirs() {
    for abi in [Abi::V1, Abi::V2, Abi::V3] {
        let policy = |d: &Path| Policy::for_abi(abi).rule(path(d).rights(rw_dirs()));
        check(tree, policy, &rows([WORKS, WORKS, WORKS, WORKS, WORKS, WORKS, WORKS, X]));
    }
}

fn go_v2_rwdirs_with_refer() {
    let policy = |d: &Path| Policy::for_abi(Abi::V2).rule(path(d).rights(rw_dirs() | Rights::REFER));
    check(tree, policy, &rows([WORKS, WORKS, WORKS, WORKS, WORKS, WORKS, WORKS, X.before(2)]));
}

fn two_dirs(d: &Path) {
    mkdir(d.join("a"));
    mkdir(d.join("b"));
    put(d.join("a/f"), "");
}

fn move_a_to_b(expect: Expect) -> [Row; 2] {
    [
        row("rename", expect, |d| fs::rename(d.join("a/f"), d.join("b/f"))),
        row("link", expect, |d| fs::hard_link(d.join("a/f"), d.join("b/f"))),
    ]
}

fn go_refer_to_where_more_is_granted() {
    let both = Rights::FS - Rights::EXECUTE;
    let policy = |more_in: &'static str| {
        move |d: &Path| {
            Policy::for_abi(Abi::V3)
                .rule(path([d.join("a"), d.join("b")]).rights(both))
                .rule(path(d.join(more_in)).rights(Rights::EXECUTE))
        }
    };
    check(two_dirs, policy("b"), &move_a_to_b(X));
    check(two_dirs, policy("a"), &move_a_to_b(X.before(2)));
}

fn go_refer_then_a_layer_without_files() {
    let files = |d: &Path| Policy::for_abi(Abi::V3).rw(d);
    let net = || Policy::for_abi(Abi::V4).unrestricted(Rights::FS);
    let scopes = || Policy::for_abi(Abi::V6).unrestricted([Rights::FS, Rights::TCP, Rights::DEVICES]);
    check(two_dirs, files, &move_a_to_b(X.before(2)));
    // Any further layer refuses, whatever it handles; below the ABI that has it there is no such layer.
    check(two_dirs, |d| [files(d), net()], &move_a_to_b(if abi() < 4 { X.before(2) } else { X }));
    check(two_dirs, |d| [files(d), scopes()], &move_a_to_b(if abi() < 6 { X.before(2) } else { X }));
    // A layer on files too, unless it allows refer.
    check(two_dirs, |d| [files(d), files(d)], &move_a_to_b(X.before(2)));
}

/// Refused by a right on TCP ports.
const N: Expect = from(4, Errno::EACCES);

fn tcp(policy: impl Fn(Policy, u16, u16) -> Policy, connect: Expect, bind: Expect, bind_0: Expect) {
    let (listener, held) = (Listener::new(), Held::new());
    let (c, b) = (listener.port(), held.port());
    let none = Policy::for_abi(Abi::V4).unrestricted(Rights::FS);
    check(
        |_| (),
        |_| policy(none.clone(), c, b),
        &[
            row("connect", connect, move |_| super::net::connect(c)),
            row("bind", bind, move |_| super::net::bind(b)),
            row("bind to port 0", bind_0, |_| super::net::bind(0)),
        ],
    );
}

fn go_tcp_bind_alone() {
    tcp(|p, _, _| p.unrestricted(Rights::CONNECT_TCP), WORKS, N, N);
}

fn go_tcp_connect_alone() {
    tcp(|p, _, _| p.unrestricted(Rights::BIND_TCP), N, WORKS, WORKS);
}

fn go_tcp_connect_granted() {
    tcp(|p, c, _| p.connect_tcp(c), WORKS, N, N);
}

fn go_tcp_bind_granted() {
    tcp(|p, _, b| p.bind_tcp(b), N, WORKS, N);
}

fn go_tcp_port_0() {
    tcp(|p, _, _| p.connect_tcp(0).bind_tcp(0), N, N, WORKS);
}

fn go_tcp_left_alone() {
    let listener = Listener::new();
    let port = listener.port();
    let policy = |_: &Path| Policy::for_abi(Abi::V4).unrestricted(Rights::NET);
    check(
        |d| put(d.join("f"), ""),
        policy,
        &[
            row("connect", WORKS, move |_| super::net::connect(port)),
            row("bind", WORKS, |_| super::net::bind(0)),
            row("read", A, |d| fs::read(d.join("f"))),
        ],
    );
}

fn scopes(scopes: Rights, dial: Expect, signal: Expect) {
    let server = unix::abstract_server();
    let name = server.name.clone();
    let others = Abi::V6.rights() - scopes;
    check(
        |_| (),
        |_| Policy::for_abi(Abi::V6).unrestricted(others),
        &[
            prepared("dial", dial, move |_| {
                let name = name.clone();
                move || unix::connect_abstract(&name)
            }),
            row("kill the parent", signal, |_| kill(getppid(), None)),
        ],
    );
}

/// Refused by a scope.
const S: Expect = from(6, Errno::EPERM);

fn go_scope_abstract() {
    scopes(Rights::ABSTRACT, S, WORKS);
}

fn go_scope_signal() {
    scopes(Rights::SIGNAL, WORKS, S);
}

fn go_scopes_both() {
    scopes(Rights::ABSTRACT | Rights::SIGNAL, S, S);
}

fn go_scopes_none() {
    scopes(Rights::empty(), WORKS, WORKS);
}

fn go_ioctl_dev() {
    let fionread = |expect| {
        row("FIONREAD", expect, |_| {
            let zero = OpenOptions::new().read(true).write(true).open("/dev/zero")?;
            sys::ioctl(zero, nix::libc::FIONREAD).map_err(std::io::Error::from)
        })
        .free(Errno::ENOTTY)
    };
    let rule = || path("/dev/zero").rights(Rights::READ_FILE | Rights::WRITE_FILE);
    let policy = || Policy::for_abi(Abi::V5);
    check(|_| (), |_| policy().rule(rule()), &[fionread(from(5, Errno::EACCES))]);
    check(|_| (), |_| policy().rule(rule().rights(Rights::IOCTL_DEV)), &[fionread(WORKS)]);
}

fn go_resolve_unix() {
    let (server, at) = unix::server();
    let rule = path(&at).rights(Rights::READ_FILE | Rights::WRITE_FILE);
    let dial = |expect| {
        let at = at.clone();
        prepared("connect", expect, move |_| {
            let at = at.clone();
            move || unix::connect(&at)
        })
    };
    let policy = || Policy::for_abi(Abi::V9).rule(rule.clone());
    check(|_| (), |_| policy(), &[dial(from(9, Errno::EACCES))]);
    check(|_| (), |_| policy().unix(&at), &[dial(WORKS)]);
    drop(server);
}

/// A pure function: for each ABI, what is enforced of the set of each other.
fn go_downgrade() {
    for set in (1..=11).map(|n| Abi::new(n).unwrap()) {
        let policy = Policy::for_abi(set)
            .rw("/a")
            .rule(path("/b").rights(Rights::TRUNCATE))
            .rule(path("/c").rights(Rights::IOCTL_DEV))
            .bind_tcp(1)
            .log(palisade::Log::NEW_EXEC_ON)
            .best_effort();
        for n in 1..=11 {
            let kernel = Abi::new(n).unwrap();
            let plan = policy.plan(&Kernel::new(kernel)).unwrap();
            // Each set is a fixed point; refer is refused on ABI 1 without being known there.
            let refer = if set >= Abi::V2 { Rights::REFER } else { Rights::empty() };
            let expected = set.min(kernel).rights() | refer;
            let names = |rights: Rights| rights.names().collect::<Vec<_>>();
            assert_eq!(names(plan.enforced()), names(expected), "{set} on {kernel}");
            let lost: Rights = plan.lost().map(|lost| lost.right()).collect();
            assert_eq!(names(lost), names(set.rights() - expected), "{set} on {kernel}");

            // A rule that is left without a right is left out, and the log flags are from 7 on.
            let shown = plan.to_string();
            let has = |text: &str| shown.contains(text);
            assert_eq!(has("    /b  "), set.min(kernel) >= Abi::V3, "{shown}");
            assert_eq!(has("    /c  "), set.min(kernel) >= Abi::V5, "{shown}");
            assert_eq!(has("port 1 "), set.min(kernel) >= Abi::V4, "{shown}");
            assert_eq!(has("log flags: left out"), n < 7, "{shown}");
            assert_eq!(has("although a rule allows them"), n < 2 && set >= Abi::V2, "{shown}");
        }
    }
}
