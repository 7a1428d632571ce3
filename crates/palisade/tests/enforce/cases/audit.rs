//! What the kernel's audit log gets of refusals: only its records tell whether log flags and `quiet` have arrived.
//!
//! Auditing is on or off for the whole machine. So these cases run as root alone, and where PALISADE_AUDIT is set (the
//! harness sees to that); a process that outlives them puts back what was. One thing stays until the next boot: once
//! auditing has been on, system calls of processes that are started later take a little longer.

mod explained;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::kill;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use palisade::{CommandExt, Kernel, Log, Policy, Rights, Rule, path};

use super::exec::{Program, program};
use super::net::Listener;
use super::unix::{abstract_server, connect_abstract};
use crate::harness::*;

pub use explained::trier;

use explained::audit_has_what_is_explained_and_nothing_else;

cases![
    audit_has_what_the_program_that_confined_itself_is_refused,
    audit_has_what_the_log_flags_say,
    audit_has_nothing_of_nested_layers_if_the_outer_one_says_so,
    audit_has_nothing_of_quiet_rights_at_quiet_paths,
    audit_has_nothing_of_quiet_scopes,
    audit_has_ports_also_where_their_rights_are_quiet,
    audit_has_what_is_explained_and_nothing_else,
];

const AUDIT_GET: u16 = 1000;
const AUDIT_SET: u16 = 1001;
/// A message of a test's.
const AUDIT_TEST: u16 = 1120;
const AUDIT_LANDLOCK_ACCESS: u16 = 1423;
const AUDIT_STATUS_ENABLED: u32 = 1;
/// The one group: all records.
const READLOG: u32 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;

fn netlink(groups: u32) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    let made = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkAudit);
    let made = made.expect("auditing in this kernel");
    bind(made.as_raw_fd(), &NetlinkAddr::new(0, groups)).expect("the right to read the audit log");
    // What never comes, as in a network namespace of its own, is to be told.
    setsockopt(&made, sockopt::ReceiveTimeout, &TimeVal::seconds(60)).expect("SO_RCVTIMEO");
    made
}

/// The kind of the next message, and what it says.
fn next(from: &OwnedFd) -> nix::Result<(u16, Vec<u8>)> {
    let mut message = vec![0; 9000];
    let length = recv(from.as_raw_fd(), &mut message, MsgFlags::empty())?;
    // The kernel's records have a wrong length in their header.
    let body = message[NLMSG_HEADER..length].to_vec();
    Ok((u16::from_ne_bytes([message[4], message[5]]), body))
}

fn word(body: &[u8], number: usize) -> u32 {
    u32::from_ne_bytes(body[4 * number..4 * number + 4].try_into().expect("four bytes"))
}

/// What the kernel answers; an error is one of the case.
fn ask(control: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = (NLMSG_HEADER + body.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([kind.to_ne_bytes(), (NLM_F_REQUEST | flags).to_ne_bytes()].concat());
    message.extend([0; 8]);
    message.extend(body);
    assert_eq!(send(control.as_raw_fd(), &message, MsgFlags::empty()), Ok(message.len()));
    let (answer, body) = next(control).expect("an answer");
    if answer == NLMSG_ERROR && word(&body, 0) != 0 {
        panic!("audit message {kind}: {}", Errno::from_raw((word(&body, 0) as i32).wrapping_neg()));
    }
    body
}

/// Whether auditing is on, and how many records were lost.
fn status(control: &OwnedFd) -> (u32, u32) {
    let status = ask(control, AUDIT_GET, 0, &[]);
    (word(&status, 1), word(&status, 6))
}

fn enable(control: &OwnedFd, enabled: u32) {
    ask(control, AUDIT_SET, NLM_F_ACK, &[AUDIT_STATUS_ENABLED.to_ne_bytes(), enabled.to_ne_bytes()].concat());
}

/// A helper: turns auditing on, says so, and puts back what was when its standard input ends.
pub fn keeper() -> ExitCode {
    // One at a time. Nobody else locks that, and it is there.
    let everywhere = File::open("/proc/sys/kernel").expect("/proc");
    let _lock = Flock::lock(everywhere, FlockArg::LockExclusive).expect("flock");
    let control = netlink(0);
    let (before, _) = status(&control);
    if before == 0 {
        enable(&control, 1);
    }
    // From here on nothing may panic: whoever has the other ends may be gone.
    let _ = io::stdout().write_all(b"1");
    let _ = io::stdout().flush();
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    if before == 0 {
        enable(&control, 0);
    }
    ExitCode::SUCCESS
}

/// Auditing, which is on until this is dropped or this process ends, and those that it forked.
struct Audit {
    /// What kills us does not reach it: neither the harness, nor the terminal.
    keeper: Child,
    line: Option<ChildStdin>,
    control: OwnedFd,
}

impl Audit {
    fn new() -> Audit {
        let mut command = Command::new("/proc/self/exe");
        command.arg("+audit").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut keeper = command.spawn().expect("a copy of this program");
        keeper.stdout.take().unwrap().read_exact(&mut [0]).expect("that auditing can be turned on");
        Audit { line: keeper.stdin.take(), keeper, control: netlink(0) }
    }

    /// Puts a record of our own behind all that are there.
    fn mark(&self, name: &str) -> String {
        let text = format!("palisade-{}-{name}", std::process::id());
        ask(&self.control, AUDIT_TEST, NLM_F_ACK, format!("{text}\0").as_bytes());
        format!("msg='{text}'")
    }

    /// What Landlock logs while `f` runs: of everybody. Again if the kernel lost some, for somebody may fill the log.
    fn records(&self, f: impl Fn()) -> Vec<String> {
        for round in 0..50 {
            let (log, (_, lost)) = (netlink(READLOG), status(&self.control));
            let begin = self.mark(&format!("begin-{round}"));
            f();
            let end = self.mark(&format!("end-{round}"));
            let Some(all) = read_until(&log, &end) else { continue };
            if status(&self.control).1 != lost {
                continue;
            }
            let ours = all.into_iter().skip_while(|(_, text)| !text.contains(&begin));
            return ours.filter(|(kind, _)| *kind == AUDIT_LANDLOCK_ACCESS).map(|(_, text)| text).collect();
        }
        panic!("audit records are lost all the time");
    }

    /// What blocked `object`, as a record names it, while `f` ran.
    fn blockers(&self, object: &str, f: impl Fn()) -> Vec<String> {
        blockers(&self.records(f), object)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        drop(self.line.take());
        let ended = self.keeper.wait();
        assert!(std::thread::panicking() || ended.is_ok_and(|status| status.success()), "auditing stays on");
    }
}

/// Each record before that one, with its kind; none if one did not fit.
fn read_until(log: &OwnedFd, end: &str) -> Option<Vec<(u16, String)>> {
    let mut all = Vec::new();
    loop {
        match next(log) {
            Ok((kind, text)) => all.push((kind, String::from_utf8_lossy(&text).into_owned())),
            Err(Errno::ENOBUFS) => return None,
            Err(errno) => panic!("no audit record comes ({errno}): is this the first network namespace?"),
        }
        if all.last().is_some_and(|(_, text)| text.contains(end)) {
            return Some(all);
        }
    }
}

fn blockers(records: &[String], object: &str) -> Vec<String> {
    let about = records.iter().filter(|record| record.split_whitespace().any(|word| word == object));
    let blockers = |record: &String| {
        let word = record.split_whitespace().find_map(|word| word.strip_prefix("blockers="));
        word.expect("blockers").to_owned()
    };
    about.map(blockers).collect()
}

/// As a record names a file.
fn object(path: &Path) -> String {
    format!("path=\"{}\"", path.display())
}

/// These, if the kernel's ABI is as new, and if `logged`.
fn since(first: u32, logged: bool, blockers: &[&'static str]) -> Vec<&'static str> {
    if abi() >= first && logged { blockers.to_vec() } else { Vec::new() }
}

/// Before this ABI Landlock logs nothing.
const LOG: u32 = 7;
/// Before this one nothing is quiet.
const QUIET: u32 = 10;

struct Setup {
    audit: Audit,
    program: Program,
    dir: PathBuf,
}

impl Setup {
    fn new() -> Setup {
        // As the kernel names it.
        let dir = fresh().canonicalize().unwrap();
        for file in ["granted", "one", "two"] {
            put(dir.join(file), "");
        }
        Setup { audit: Audit::new(), program: program(), dir }
    }

    /// Allows to start the program.
    fn policy(&self) -> Policy {
        self.program.grant(Policy::new().ro(self.dir.join("granted")))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn argument(&self, name: &str) -> String {
        format!("+read={}", self.at(name).display())
    }
}

fn audit_has_what_the_program_that_confined_itself_is_refused() {
    let setup = Setup::new();
    let (one, two) = (setup.at("one"), setup.at("two"));
    let records = setup.audit.records(|| {
        in_fork(|| {
            confine(&setup.policy());
            works(fs::read(setup.at("granted")));
            refused(Errno::EACCES, fs::read(&one));
            refused(Errno::EACCES, forked(|| fs::read(&one)));
            refused(Errno::EACCES, OpenOptions::new().read(true).write(true).open(&two));
            refused(Errno::EACCES, fs::create_dir(setup.at("new")));
        });
    });
    assert_eq!(blockers(&records, &object(&one)), since(LOG, true, &["fs.read_file"; 2]));
    assert_eq!(blockers(&records, &object(&two)), since(LOG, true, &["fs.write_file,fs.read_file"]));
    assert_eq!(blockers(&records, &object(&setup.dir)), since(LOG, true, &["fs.make_dir"]));
    assert_eq!(blockers(&records, &object(&setup.at("granted"))), since(LOG, false, &[]));
}

/// Confines itself to a policy, and does something.
type Way = fn(&Policy, &(dyn Fn() -> Outcome + Sync)) -> Outcome;

const WAYS: [(&str, Way); 4] = [
    ("enforce", |policy, then| {
        confine(policy);
        then()
    }),
    ("enforce, and another thread", |policy, then| {
        std::thread::scope(|scope| {
            let (confined, wait) = channel();
            let other = scope.spawn(move || {
                wait.recv().expect("to be told");
                then()
            });
            drop(policy.clone().best_effort().enforce().expect("enforced"));
            confined.send(()).expect("to tell");
            other.join().expect("a thread")
        })
    }),
    ("enforce_thread", |policy, then| {
        drop(policy.clone().best_effort().enforce_thread().expect("enforced"));
        then()
    }),
    ("restrict_self", |policy, then| {
        let plan = policy.clone().best_effort().plan(&Kernel::probe()).expect("a plan");
        plan.ruleset().expect("a ruleset").restrict_self().expect("confined");
        then()
    }),
];

fn audit_has_what_the_log_flags_say() {
    let setup = Setup::new();
    let (before, after) = (setup.at("one"), setup.at("two"));
    for (log, logged_before, logged_after) in [
        (Log::empty(), true, false),
        (Log::SAME_EXEC_OFF, false, false),
        (Log::NEW_EXEC_ON, true, true),
        (Log::SUBDOMAINS_OFF, true, false),
        (Log::all(), false, true),
    ] {
        let policy = setup.policy().log(log);
        for (name, way) in WAYS {
            let records = setup.audit.records(|| {
                refused(Errno::EACCES, forked(|| way(&policy, &|| outcome(fs::read(&before)))));
                let execute = || setup.program.execute(&setup.argument("two"));
                refused(Errno::EACCES, forked(|| way(&policy, &|| outcome(execute()))));
            });
            let logged = [&before, &after].map(|file| blockers(&records, &object(file)));
            let expected = [logged_before, logged_after].map(|logged| since(LOG, logged, &["fs.read_file"]));
            assert_eq!(logged, expected, "{log:?}, {name}");
        }
        // A child has executed another program when it begins.
        let logged = setup.audit.blockers(&object(&after), || {
            let mut command = Command::new(&setup.program.path);
            command.arg(setup.argument("two"));
            let status = command.confine(&policy.clone().require(Rights::empty())).unwrap().status();
            assert_eq!(status.unwrap().success(), abi() == 0);
        });
        assert_eq!(logged, since(LOG, logged_after, &["fs.read_file"]), "{log:?}, child");
    }
}

fn audit_has_nothing_of_nested_layers_if_the_outer_one_says_so() {
    let setup = Setup::new();
    let (outer, inner) = (setup.at("one"), setup.at("two"));
    for (log, of_inner) in [(Log::empty(), true), (Log::SUBDOMAINS_OFF, false)] {
        let records = setup.audit.records(|| {
            // Each refuses what the other allows.
            let layers = [setup.policy().log(log).ro(&inner), setup.policy().ro(&outer)];
            let read = || [&outer, &inner].map(|file| refused(Errno::EACCES, fs::read(file)));
            works(confined(layers, || Ok::<_, Errno>(read())));
        });
        assert_eq!(blockers(&records, &object(&outer)), since(LOG, true, &["fs.read_file"]), "{log:?}");
        assert_eq!(blockers(&records, &object(&inner)), since(LOG, of_inner, &["fs.read_file"]), "{log:?}");
    }
}

/// Refused by a scope, and by a right on ports.
const S: Expect = from(6, Errno::EPERM);
const N: Expect = from(4, Errno::EACCES);
const READ: Rights = Rights::READ_FILE;
const WRITE: Rights = Rights::WRITE_FILE;

fn audit_has_nothing_of_quiet_rights_at_quiet_paths() {
    let setup = Setup::new();
    mkdir(setup.at("quiet"));
    put(setup.at("quiet/file"), "");
    let (dir, file) = (setup.at("quiet"), setup.at("quiet/file"));
    let rule = || path(&dir).quiet();
    let open = |path: &Path, mode: Rights| {
        let read = mode.intersects(Rights::READ_FILE | Rights::READ_DIR);
        OpenOptions::new().read(read).write(mode.contains(WRITE)).open(path)
    };
    let named = |mode: Rights, logged: bool| {
        let blockers: Vec<_> = mode.names().map(|name| format!("fs.{name}")).collect();
        if abi() >= LOG && (logged || abi() < QUIET) { vec![blockers.join(",")] } else { Vec::new() }
    };
    // The rights that are quiet, a rule, what is opened and how, and whether that is logged.
    let rows: [(&str, Rights, Rule, &Path, Rights, bool); 13] = [
        ("a right that is quiet", READ, rule(), &file, READ, false),
        ("another right", READ, rule(), &file, WRITE, true),
        ("both at once", READ, rule(), &file, READ | WRITE, true),
        ("two that are quiet", Rights::FS, rule(), &file, READ | WRITE, false),
        ("another path", READ, rule(), &setup.at("one"), READ, true),
        ("the path itself", Rights::READ_DIR, rule(), &dir, Rights::READ_DIR, false),
        ("a rule that allows", READ, rule().rights(WRITE), &file, READ, false),
        ("a rule on a file", READ, path(&file).quiet(), &file, READ, false),
        ("one that allows", READ, path(&file).rights(Rights::W | Rights::C).quiet(), &file, READ, false),
        ("one with rights of directories", READ, path(&file).rights(Rights::C).quiet(), &file, READ, false),
        ("a rule that is not quiet", READ, path(&dir).rights(WRITE), &file, READ, true),
        ("no quiet right", Rights::empty(), rule(), &file, READ, true),
        ("no quiet right on files", Rights::SIGNAL, rule(), &file, READ, true),
    ];
    for (name, rights, rule, opened, mode, logged) in rows {
        let policy = setup.policy().quiet(rights).rule(rule);
        let got = setup.audit.blockers(&object(opened), || {
            refused(Errno::EACCES, confined(policy.clone(), || open(opened, mode)));
        });
        assert_eq!(got, named(mode, logged), "{name}");
    }
    let (quiet, loud) = (setup.policy().quiet(READ).rule(rule()), setup.policy());
    for (layers, logged) in [([&quiet, &loud], true), ([&loud, &quiet], false)] {
        let got = setup.audit.blockers(&object(&file), || {
            refused(Errno::EACCES, confined(layers.map(Policy::clone), || open(&file, READ)));
        });
        assert_eq!(got, named(READ, logged), "the inner layer decides");
    }
}

fn audit_has_nothing_of_quiet_scopes() {
    let setup = Setup::new();
    let (idle, server) = (idle(), abstract_server());
    let name: String = server.name.iter().map(|byte| format!("{byte:02X}")).collect();
    let (signal, socket) = (format!("opid={}", idle.0), format!("path=00{name}"));
    for (quiet, of_signal, of_socket) in [
        (Rights::empty(), true, true),
        (Rights::SIGNAL, false, true),
        (Rights::ABSTRACT, true, false),
        (Rights::SIGNAL | Rights::ABSTRACT, false, false),
    ] {
        let records = setup.audit.records(|| {
            in_fork(|| {
                confine(&Policy::new().quiet(quiet));
                expected(S, kill(idle.0, None));
                expected(S, connect_abstract(&server.name));
            });
        });
        let expect = |logged, blocker| since(LOG, logged || abi() < QUIET, &[blocker]);
        assert_eq!(blockers(&records, &signal), expect(of_signal, "scope.signal"), "{quiet}");
        assert_eq!(blockers(&records, &socket), expect(of_socket, "scope.abstract_unix_socket"), "{quiet}");
    }
}

fn audit_has_ports_also_where_their_rights_are_quiet() {
    let (setup, listener) = (Setup::new(), Listener::new());
    let port = format!("dest={}", listener.port());
    for quiet in [Rights::empty(), Rights::NET] {
        let policy = Policy::new().connect_tcp(listener.port() ^ 1).quiet(quiet);
        let connect = || super::net::connect(listener.port());
        let got = setup.audit.blockers(&port, || expected(N, confined(policy.clone(), connect)));
        assert_eq!(got, since(LOG, true, &["net.connect_tcp"]), "{quiet}");
    }
}
