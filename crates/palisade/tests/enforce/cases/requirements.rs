//! What is required, what is lost, and what the kernel can take.

use std::fs::{self, File};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::kill;
use nix::unistd::getppid;
use palisade::{Abi, Covers, Kernel, Policy, Rights, path};

use super::{devices, net, unix};
use crate::harness::*;
use crate::sys;

cases![
    the_probe_says_what_the_kernel_says,
    what_is_required_holds_or_nothing_does,
    best_effort_says_what_is_lost,
    without_landlock_nothing_is_confined,
    categories_left_alone_are_unrestricted,
    nothing_left_to_restrict_confines_nobody,
    no_new_privs_is_set,
    the_17th_layer_is_an_error,
];

fn the_probe_says_what_the_kernel_says() {
    assert_eq!(Kernel::probe().abi().map_or(0, Abi::number), abi());
    let known = Abi::new(abi()).map_or(Rights::empty(), Abi::rights);
    assert_eq!(Kernel::probe().rights(), known);
    // Probing confines nobody.
    works(fs::read_dir("/"));
}

/// In a fork: whether it is confined, or an error that says it cannot be, and then free.
#[track_caller]
fn holds(policy: &Policy, holds: bool) {
    let file = fresh().join("f");
    put(&file, "");
    in_fork(|| match policy.enforce() {
        Ok(report) => {
            assert!(holds, "{report}");
            fails(Errno::EACCES, fs::read(&file));
        }
        Err(error) => {
            assert!(!holds && error.is_unsupported(), "{error}");
            works(fs::read(&file));
            works(net::bind(0));
        }
    });
}

fn what_is_required_holds_or_nothing_does() {
    let can = |rights: Rights| Kernel::probe().rights().contains(rights);
    for n in 1..=11 {
        let set = Abi::new(n).unwrap();
        // Refer is required by its set as what can be granted.
        holds(&Policy::for_abi(set), can(set.rights()));
    }
    holds(&Policy::new(), can(Rights::FS | Rights::TCP));
    holds(&Policy::new().strict(), can(Rights::all()));
    for (_, category) in Rights::CATEGORIES {
        holds(&Policy::new().require(category), can(category));
        holds(&Policy::new().require(category).require(Rights::EXECUTE), can(category | Rights::EXECUTE));
    }
    let error = Policy::new().strict().plan(&Kernel::probe()).err().map(|error| error.to_string());
    match abi() {
        0 => assert!(error.unwrap().starts_with("nothing can be confined: ")),
        1..10 => {
            let error = error.unwrap();
            let parts = ["bind_udp, connect_send_udp", "which the policy requires"];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        _ => assert_eq!(error, None),
    }
}

fn best_effort_says_what_is_lost() {
    in_fork(|| {
        // Each right, by the check of the report that each confinement here gets; and as text.
        let report = confine(&Policy::new());
        let lost: Vec<_> = report.lost().map(|lost| lost.to_string()).collect();
        let named = lost.contains(&"resolve_unix: needs ABI 9 (Linux 7.1)".to_owned());
        assert_eq!(named, (1..9).contains(&abi()), "{lost:?}");
        assert_eq!(report.to_string().contains("unix      NOT ENFORCED"), abi() < 9, "{report}");
        assert_eq!(lost.is_empty(), abi() >= 10, "{lost:?}");
    });
}

fn without_landlock_nothing_is_confined() {
    if abi() > 0 {
        // Here there is: the other side of the same.
        in_fork(|| assert_ne!(Policy::new().best_effort().enforce().unwrap().covers(), Covers::Nobody));
        return;
    }
    let error = Policy::for_abi(Abi::V1).enforce().unwrap_err();
    assert!(error.is_unsupported() && !error.hint().is_empty(), "{error}");
    assert!(Policy::new().enforce_thread().unwrap_err().is_unsupported());
    let outcome = Policy::new().ro("/no/such/path").best_effort().enforce().unwrap();
    assert_eq!((outcome.covers(), outcome.enforced()), (Covers::Nobody, Rights::empty()));
    let why = Kernel::probe().abi().unwrap_err().to_string();
    let text = outcome.to_string();
    assert!(text.starts_with("Nothing ") && text.lines().next().unwrap().contains(&why), "{text}");
    works(fs::read_dir("/"));
}

/// What is reached outside.
struct Servers {
    tcp: net::Listener,
    udp: UdpSocket,
    path: (UnixListener, PathBuf),
    name: unix::AbstractServer,
}

impl Servers {
    fn new() -> Servers {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Servers { tcp: net::Listener::new(), udp, path: unix::server(), name: unix::abstract_server() }
    }

    /// One operation for each category, and what is expected where nothing is allowed and `alone` is left alone.
    fn operations(&self, alone: Rights) -> Vec<Row> {
        let expect = |category: Rights, expect| if alone.contains(category) { WORKS } else { expect };
        let (tcp, udp) = (self.tcp.port(), self.udp.local_addr().unwrap());
        let (path, name) = (self.path.1.clone(), self.name.name.clone());
        vec![
            row("read", expect(Rights::FS, A), |d| fs::read(d.join("f"))),
            row("ioctl", expect(Rights::DEVICES, from(5, Errno::EACCES)), |_| {
                sys::ioctl(devices::zero()?, libc::FIONREAD).map_err(std::io::Error::from)
            })
            .free(Errno::ENOTTY),
            prepared("connect by path", expect(Rights::UNIX, from(9, Errno::EACCES)), move |_| {
                let path = path.clone();
                move || unix::connect(&path)
            }),
            row("connect by TCP", expect(Rights::TCP, from(4, Errno::EACCES)), move |_| net::connect(tcp)),
            row("connect by UDP", expect(Rights::UDP, from(10, Errno::EACCES)), move |_| {
                UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.connect(udp))
            }),
            prepared("connect by name", expect(Rights::ABSTRACT, from(6, Errno::EPERM)), move |_| {
                let name = name.clone();
                move || unix::connect_abstract(&name)
            }),
            row("signal", expect(Rights::SIGNAL, from(6, Errno::EPERM)), |_| kill(getppid(), None)),
        ]
    }
}

fn categories_left_alone_are_unrestricted() {
    let tree = |d: &Path| put(d.join("f"), "");
    let rule = path("/dev").rights(Rights::READ_FILE | Rights::WRITE_FILE);
    let servers = Servers::new();
    for (name, category) in Rights::CATEGORIES.into_iter().chain([("none", Rights::empty())]) {
        let policy = Policy::new().unrestricted(category).rule(rule.clone());
        check(tree, |_| policy.clone(), &servers.operations(category));
        let plan = policy.best_effort().plan(&Kernel::probe()).unwrap();
        assert!(!plan.requested().intersects(category), "{name}");
        assert!(plan.lost().all(|lost| !category.contains(lost.right())), "{name}");
    }
}

fn nothing_left_to_restrict_confines_nobody() {
    let report = Policy::new().unrestricted(Rights::all()).require(Rights::empty()).enforce().unwrap();
    assert_eq!(report.covers(), Covers::Nobody);
    works(File::open("/proc/self/status"));
    works(fs::read_dir("/"));
}

fn no_new_privs_is_set() {
    let set = || nix::sys::prctl::get_no_new_privs().unwrap();
    let before = set();
    for policy in [Policy::new(), Policy::new().unrestricted(Rights::FS)] {
        in_fork(|| {
            let report = confine(&policy);
            assert_eq!(set(), before || report.covers() != Covers::Nobody);
        });
        in_fork(|| {
            let outcome = policy.clone().best_effort().enforce_thread().unwrap();
            assert_eq!(set(), before || outcome.covers() != Covers::Nobody);
        });
    }
    assert_eq!(set(), before);
}

fn the_17th_layer_is_an_error() {
    let dir = fresh();
    put(dir.join("f"), "");
    in_fork(|| {
        for _ in 0..16 {
            confine(&Policy::new().ro(&dir));
        }
        works(fs::read(dir.join("f")));
        let result = Policy::new().best_effort().enforce();
        if abi() > 0 {
            let error = result.unwrap_err();
            assert!(error.is_too_many_layers() && error.errno() == Some(libc::E2BIG), "{error}");
            assert!(error.to_string().starts_with("16 Landlock layers are stacked on this process already"));
        }
        // What holds is what the sixteen say.
        works(fs::read(dir.join("f")));
        refused(Errno::EACCES, File::create(dir.join("new")));
    });
}
