//! The plan against the truth: what it says is enforced the running kernel refuses, and nothing else, whatever
//! kernel that is.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno::{self, EACCES, EPERM, EXDEV};
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, getpid, mkfifo, truncate};
use palisade::{Kernel, Plan, Policy, Rights, path};

use super::{exec, net, unix};
use crate::harness::*;
use crate::sys;

cases![
    plan_is_true_of_each_right_alone,
    plan_is_true_of_all_but_one,
    plan_is_true_of_random_sets,
    plan_is_true_of_what_rules_allow,
    plan_is_true_of_what_groups_allow,
];

const ZERO: &str = "/dev/zero";
/// An address where the ports of the servers are free.
const BESIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NONE: Rights = Rights::empty();

/// What the operations are on: new for each plan, and outside of what that confines.
struct Site {
    dir: PathBuf,
    tcp: net::Listener,
    udp: UdpSocket,
    /// It is bound, so that to connect it needs no right to bind.
    sender: UdpSocket,
    name: unix::AbstractServer,
    _server: UnixListener,
    process: Pid,
}

impl Site {
    fn new() -> Site {
        let dir = fresh();
        for sub in ["empty", "from", "to"] {
            mkdir(dir.join(sub));
        }
        put_program(dir.join("file"), b"text");
        put(dir.join("other"), "");
        put(dir.join("from/file"), "");
        let udp = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Site {
            tcp: net::Listener::new(),
            udp: udp(),
            sender: udp(),
            name: unix::abstract_server(),
            _server: UnixListener::bind(dir.join("server")).unwrap(),
            process: getpid(),
            dir,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn udp_port(&self) -> u16 {
        self.udp.local_addr().unwrap().port()
    }

    /// Allows these rights to the operations below.
    fn grant(&self, mut policy: Policy, rights: Rights) -> Policy {
        for right in rights {
            policy = match right {
                Rights::BIND_TCP => policy.bind_tcp(self.tcp.port()),
                Rights::CONNECT_TCP => policy.connect_tcp(self.tcp.port()),
                Rights::BIND_UDP => policy.bind_udp(self.udp_port()),
                Rights::CONNECT_SEND_UDP => policy.connect_udp(self.udp_port()),
                Rights::IOCTL_DEV => policy.rule(path(ZERO).rights(right)),
                Rights::ABSTRACT_UNIX_SOCKET | Rights::SIGNAL => policy,
                _ => policy.rule(path(&self.dir).rights(right)),
            };
        }
        policy
    }
}

/// An operation that needs one right, and how it is refused without it.
struct Probe {
    right: Rights,
    errno: Errno,
    /// It needs these too, and is refused with EACCES without one of them, whatever else it lacks.
    also: Rights,
    operation: fn(&Site) -> Outcome,
}

fn probe(right: Rights, errno: Errno, operation: fn(&Site) -> Outcome) -> Probe {
    Probe { right, errno, also: NONE, operation }
}

fn node(site: &Site, kind: SFlag) -> Outcome {
    mknod(&site.at(&format!("{kind:?}")), kind, Mode::S_IRUSR, makedev(1, 3))
}

/// One for each right, in the kernel's order. What one does is in no other's way.
fn probes() -> Vec<Probe> {
    let mut probes = vec![
        // No program: the kernel says so (ENOEXEC) after it has asked Landlock.
        probe(Rights::EXECUTE, EACCES, |s| exec::execute(&[&s.at("file")])),
        probe(Rights::WRITE_FILE, EACCES, |s| outcome(OpenOptions::new().write(true).open(s.at("file")))),
        probe(Rights::READ_FILE, EACCES, |s| outcome(File::open(s.at("file")))),
        probe(Rights::READ_DIR, EACCES, |s| outcome(fs::read_dir(s.at("from")))),
        probe(Rights::REMOVE_DIR, EACCES, |s| outcome(fs::remove_dir(s.at("empty")))),
        probe(Rights::REMOVE_FILE, EACCES, |s| outcome(fs::remove_file(s.at("other")))),
        // Landlock is asked before an ordinary user is told that only root may.
        probe(Rights::MAKE_CHAR, EACCES, |s| node(s, SFlag::S_IFCHR)),
        probe(Rights::MAKE_DIR, EACCES, |s| outcome(fs::create_dir(s.at("dir")))),
        probe(Rights::MAKE_REG, EACCES, |s| node(s, SFlag::S_IFREG)),
        probe(Rights::MAKE_SOCK, EACCES, |s| outcome(UnixListener::bind(s.at("socket")))),
        probe(Rights::MAKE_FIFO, EACCES, |s| mkfifo(&s.at("fifo"), Mode::S_IRUSR)),
        probe(Rights::MAKE_BLOCK, EACCES, |s| node(s, SFlag::S_IFBLK)),
        probe(Rights::MAKE_SYM, EACCES, |s| outcome(symlink("to", s.at("link")))),
        probe(Rights::REFER, EXDEV, |s| outcome(fs::rename(s.at("from/file"), s.at("to/file")))),
        probe(Rights::TRUNCATE, EACCES, |s| truncate(&s.at("file"), 1)),
        // Opened neither to read nor to write, for ioctl(2) alone.
        probe(Rights::IOCTL_DEV, EACCES, |_| {
            outcome(sys::ioctl(open(ZERO, OFlag::O_ACCMODE, Mode::empty())?, libc::FIONREAD))
        }),
        probe(Rights::RESOLVE_UNIX, EACCES, |s| outcome(unix::connect(&s.at("server")))),
        probe(Rights::BIND_TCP, EACCES, |s| outcome(TcpListener::bind((BESIDE, s.tcp.port())))),
        probe(Rights::CONNECT_TCP, EACCES, |s| outcome(net::connect(s.tcp.port()))),
        probe(Rights::BIND_UDP, EACCES, |s| outcome(UdpSocket::bind((BESIDE, s.udp_port())))),
        probe(Rights::CONNECT_SEND_UDP, EACCES, |s| outcome(s.sender.connect(s.udp.local_addr().unwrap()))),
        probe(Rights::ABSTRACT_UNIX_SOCKET, EPERM, |s| outcome(unix::connect_abstract(&s.name.name))),
        probe(Rights::SIGNAL, EPERM, |s| kill(s.process, None)),
    ];
    for probe in &mut probes {
        probe.also = match probe.right {
            Rights::EXECUTE => Rights::READ_FILE,
            Rights::REFER => Rights::REMOVE_FILE | Rights::MAKE_REG,
            _ => NONE,
        };
    }
    probes
}

/// What has to be refused under this plan, whose rules allow `granted`.
fn refused(plan: &Plan, granted: Rights) -> Rights {
    let refused = plan.enforced() - granted;
    // Each layer that restricts anything on files refuses what refer is about, unless it handles and allows it; and
    // ABI 1 cannot allow it.
    let on_files = plan.enforced().intersects(Rights::FS | Rights::DEVICES | Rights::UNIX);
    let allowed = plan.enforced() & plan.kernel().rights() & granted;
    if !on_files || allowed.contains(Rights::REFER) {
        return refused;
    }
    let told = plan.notes().any(|note| note.starts_with("refer: "));
    assert!(refused.contains(Rights::REFER) || told, "{plan}");
    refused | Rights::REFER
}

/// What has to come of an operation that has the outcome `free` where nothing is confined, and `got` now.
fn expected(probe: &Probe, refused: Rights, kernel: &Kernel, free: Outcome, got: Outcome) -> Outcome {
    // ABI 1 looks at the directories first (Linux 5.13, hook_path_rename); where it is emulated the kernel does not.
    let first = probe.right == Rights::REFER && !kernel.rights().contains(Rights::REFER);
    if refused.intersects(probe.also) && !(first && got == Err(EXDEV)) {
        Err(EACCES)
    } else if refused.contains(probe.right) {
        Err(probe.errno)
    } else {
        free
    }
}

/// The operations, and what comes of them in this process, which is free.
struct Truth(Vec<(Probe, Outcome)>);

impl Truth {
    fn new() -> Truth {
        let (probes, site) = (probes(), Site::new());
        assert_eq!(probes.iter().map(|probe| probe.right).collect::<Rights>(), Rights::all());
        let free = |probe: Probe| {
            let free = (probe.operation)(&site);
            assert!(free != Err(probe.errno), "{:?} when free: {free:?}", probe.right);
            (probe, free)
        };
        Truth(probes.into_iter().map(free).collect())
    }

    /// All operations in a fork that is confined to this policy, whose rules allow `granted`.
    #[track_caller]
    fn of(&self, policy: impl Fn(&Site) -> Policy, granted: Rights) {
        let site = Site::new();
        let plan = policy(&site).best_effort().plan(&Kernel::probe()).unwrap();
        let refused = refused(&plan, granted);
        in_fork(|| {
            let report = plan.clone().enforce().expect("enforced");
            assert_eq!(report.enforced(), plan.enforced());
            let mut wrong = String::new();
            for (probe, free) in &self.0 {
                let got = (probe.operation)(&site);
                let expected = expected(probe, refused, plan.kernel(), *free, got);
                if got != expected {
                    let _ = writeln!(wrong, "{}: {got:?}; expected {expected:?}", probe.right);
                }
            }
            assert!(wrong.is_empty(), "{wrong}{report}");
        });
    }

    /// Nothing is allowed, and all is handled but what is left alone.
    #[track_caller]
    fn of_all_but(&self, alone: Rights) {
        self.of(|_| Policy::new().unrestricted(alone), NONE);
    }

    /// The same with rules that allow these rights; no rule allows a scope.
    #[track_caller]
    fn of_all_but_with_rules(&self, alone: Rights, granted: Rights) {
        let granted = granted - (Rights::ABSTRACT | Rights::SIGNAL);
        self.of(|site| site.grant(Policy::new().unrestricted(alone), granted), granted);
    }
}

fn plan_is_true_of_each_right_alone() {
    let truth = Truth::new();
    for right in Rights::all() {
        truth.of_all_but(Rights::all() - right);
    }
}

fn plan_is_true_of_all_but_one() {
    let truth = Truth::new();
    truth.of_all_but(NONE);
    for right in Rights::all() {
        truth.of_all_but(right);
    }
}

/// Sets of rights by chance. PALISADE_SEED, which is told if the case fails, makes the same ones again.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let given = std::env::var("PALISADE_SEED").map(|seed| seed.parse().expect("a number"));
        let seed = given.unwrap_or_else(|_| RandomState::new().hash_one(0));
        println!("PALISADE_SEED={seed}");
        Random(seed)
    }

    /// splitmix64
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// About half of all.
    fn half(&mut self) -> Rights {
        let bits = self.number();
        Rights::all().iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, right)| right).collect()
    }

    /// Few, half or nearly all.
    fn rights(&mut self) -> Rights {
        let (a, b) = (self.half(), self.half());
        match self.number() % 3 {
            0 => a & b,
            1 => a,
            _ => a | b,
        }
    }
}

fn plan_is_true_of_random_sets() {
    let (truth, mut random) = (Truth::new(), Random::new());
    for _ in 0..40 {
        let (alone, granted) = (random.rights(), random.rights());
        truth.of_all_but(alone);
        truth.of_all_but_with_rules(alone, granted);
    }
}

fn plan_is_true_of_what_rules_allow() {
    let truth = Truth::new();
    truth.of_all_but_with_rules(NONE, Rights::all());
    for right in Rights::all() {
        let others = Rights::all() - right;
        truth.of_all_but_with_rules(others, right);
        truth.of_all_but_with_rules(right, others);
        truth.of_all_but_with_rules(NONE, right);
        truth.of_all_but_with_rules(NONE, others);
    }
}

fn plan_is_true_of_what_groups_allow() {
    let truth = Truth::new();
    let read = Rights::READ_FILE | Rights::READ_DIR;
    let write = Rights::WRITE_FILE | Rights::TRUNCATE;
    let make = Rights::MAKE_REG | Rights::MAKE_DIR | Rights::MAKE_SYM | Rights::MAKE_SOCK | Rights::MAKE_FIFO;
    let create = make | Rights::REMOVE_FILE | Rights::REMOVE_DIR | Rights::REFER;
    for (group, rights) in [
        (Rights::R, read),
        (Rights::W, write),
        (Rights::X, Rights::EXECUTE),
        (Rights::C, create),
        (Rights::RO, read),
        (Rights::RX, read | Rights::EXECUTE),
        (Rights::RW, read | write | create),
        (Rights::RWX, read | write | create | Rights::EXECUTE),
    ] {
        // The device too: no group allows its ioctls.
        truth.of(|site| Policy::new().rule(path([&*site.dir, Path::new(ZERO)]).rights(group)), rights);
    }
}
