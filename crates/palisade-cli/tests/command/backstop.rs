//! What this kernel's Landlock leaves open of a restricted category is closed with seccomp, in every system-call ABI,
//! and said to be closed by seccomp. `probe.c` makes the system calls.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::common::{Ran, TCP_ABI, User, can_probe, each_user, found};

type Lines = BTreeMap<String, String>;

/// The first kernel that restricts UNIX sockets by path, and the first that restricts UDP and TCP Fast Open.
const UNIX_ABI: u64 = 9;
const UDP_ABI: u64 = 10;

const TCP: &[&str] = &["tcp", "tcp by number", "tcp6"];
const MPTCP: &[&str] = &["mptcp", "mptcp6", "mptcp, high bits"];
/// No TCP in any form, so closed as long as UDP is.
const OTHER_STREAMS: &[&str] = &["smc", "sctp"];
const UDP: &[&str] = &["udp", "udp by number", "udp6", "udp, high bits"];
const UDP_SENDS: &[&str] = &["udp sendto", "udp sendmmsg"];
const UNIX: &[&str] = &[
    "unix",
    "unix packets",
    "unix datagrams",
    "unix, high bits",
    "pair of datagrams",
    "pair of raw datagrams",
    "pair of datagrams, high bits",
];
const PAIRS: &[&str] = &["pair of streams", "pair of packets"];
const FAMILIES: &[&str] = &[
    "smc family",
    "sctp packets",
    "udplite",
    "ping",
    "ping6",
    "raw",
    "raw6, high bits",
    "packet",
    "packet, high bits",
    "vsock",
    "crypto",
    "netlink audit",
    "netlink audit, high bits",
    "pair of tipc",
];
const FAST_OPEN: &[&str] =
    &["fast open by sendto", "fast open by sendmsg", "fast open by sendmmsg", "fast open, high bits"];
const SENDS: &[&str] = &["sendto, not connected", "sendmsg, not connected"];
const TYPING: &[&str] = &["tiocsti", "tiocsti, high bits", "tioclinux"];

/// So that COMMAND is watched, and nothing else is on standard error.
const EXPLAIN: [&str; 2] = ["--explain --output report", "--explain=live,exact --output report"];

/// Servers outside, and the probe that tries them.
struct Outside<'a> {
    user: &'a User,
    abi: u64,
    tcp: TcpListener,
    udp: UdpSocket,
    _unix: UnixListener,
}

impl<'a> Outside<'a> {
    fn new(user: &'a User) -> Outside<'a> {
        assert!(found(&["setpriv"]) && can_probe());
        user.probe();
        let path = user.home().join("socket");
        let unix = UnixListener::bind(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        Outside {
            user,
            abi: user.abi(),
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            _unix: unix,
        }
    }

    fn ports(&self) -> [String; 2] {
        [self.tcp.local_addr().unwrap(), self.udp.local_addr().unwrap()].map(|a| a.port().to_string())
    }

    fn arguments(&self, mode: &str) -> Vec<String> {
        let [tcp, udp] = self.ports();
        vec!["./probe".to_owned(), mode.to_owned(), tcp, udp, "socket".to_owned()]
    }

    /// What the probe meets unconfined, but without capabilities.
    fn free(&self, mode: &str) -> Lines {
        let mut command = self.user.command(if self.user.is_root() { "setpriv" } else { "env" });
        if self.user.is_root() {
            command.args(["--bounding-set=-all", "--inh-caps=-all"]);
        }
        command.args(self.arguments(mode));
        lines(Ran::of(self.user, command).works())
    }

    /// What it meets under `palisade run` with these options, where T and U stand for the ports; watched it meets the same,
    /// but that io_uring is closed, where it could not be seen.
    fn confined(&self, options: &str, mode: &str) -> Lines {
        let plain = self.run("", options, mode);
        if cfg!(target_arch = "x86_64") {
            for explain in EXPLAIN {
                let mut watched = self.run(explain, options, mode);
                assert_eq!(watched["io_uring"], "EPERM", "{explain} {options}, {mode}");
                watched.insert("io_uring".to_owned(), plain["io_uring"].clone());
                assert_eq!(watched, plain, "{explain} {options}, {mode}, {}", self.user.name);
            }
        }
        plain
    }

    fn run(&self, explain: &str, options: &str, mode: &str) -> Lines {
        let [tcp, udp] = self.ports();
        let options =
            options.split_whitespace().chain(self.user.go_on().split_whitespace()).map(|word| match word {
                "T" => tcp.clone(),
                "U" => udp.clone(),
                _ => word.to_owned(),
            });
        let run = ["run", "-q"].into_iter().chain(explain.split_whitespace()).map(str::to_owned);
        let run = run.chain(options).chain(["--".to_owned()]);
        lines(self.user.palisade(run.chain(self.arguments(mode))).works())
    }
}

fn lines(ran: &Ran) -> Lines {
    let line = |line: &str| line.split_once(": ").map(|(name, what)| (name.to_owned(), what.to_owned()));
    let lines: Lines = ran.stdout.lines().map(|l| line(l).unwrap()).collect();
    assert!(lines.len() > 40, "{}", ran.stdout);
    lines
}

/// The lines that are expected.
struct Expected {
    free: Lines,
    lines: Lines,
}

impl Expected {
    /// Without any option.
    fn usual(free: Lines, abi: u64) -> Expected {
        let mut this = Expected { free, lines: Lines::new() };
        let below = |first: u64| if abi < first { "EACCES" } else { "ok" };
        this.set("ok", &[PAIRS, &["netlink route"]]);
        this.set(
            "EACCES",
            &[MPTCP, OTHER_STREAMS, UDP_SENDS, FAMILIES, FAST_OPEN, &["tcp connect", "unix connect"]],
        );
        this.set(below(TCP_ABI), &[TCP]);
        this.set(below(UDP_ABI), &[UDP]);
        this.set(below(UNIX_ABI), &[UNIX]);
        this.set("EPERM", &[TYPING, &["io_uring"]]);
        this.set(if abi < TCP_ABI { "EACCES" } else { "EPIPE" }, &[SENDS]);
        this
    }

    /// Any TCP is granted: where Landlock does not restrict it all is open, for a filter cannot tell ports apart.
    fn granted_tcp(&mut self, abi: u64) {
        if abi < TCP_ABI {
            self.open(&[TCP, SENDS, &["tcp connect"]]);
        }
    }

    fn set(&mut self, what: &str, names: &[&[&str]]) {
        for name in names.iter().flat_map(|names| names.iter()) {
            self.lines.insert((*name).to_owned(), what.to_owned());
        }
    }

    /// These are as without palisade.
    fn open(&mut self, names: &[&[&str]]) {
        for name in names.iter().flat_map(|names| names.iter()) {
            self.lines.insert((*name).to_owned(), self.free[*name].clone());
        }
    }

    #[track_caller]
    fn met(&self, found: &Lines, what: &str) {
        let differ = |name: &&String| found.get(*name) != self.lines.get(*name);
        let wrong: Vec<String> = found
            .keys()
            .chain(self.lines.keys())
            .filter(differ)
            .map(|name| format!("{name}: {:?}, not {:?}", found.get(name), self.lines.get(name)))
            .collect();
        assert!(wrong.is_empty(), "{what}: {wrong:#?}");
    }
}

/// The system-call ABIs that look alike to the probe. A kernel without i386 calls ends the probe; where everything has to
/// run (`CI` is set) that is a failure.
fn modes(outside: &Outside<'_>) -> Vec<&'static str> {
    if !cfg!(target_arch = "x86_64") {
        return vec!["native"];
    }
    let mut command = outside.user.command("./probe");
    command.args(["int80"]);
    let there = Ran::of(outside.user, command).status.is_some();
    assert!(there || std::env::var_os("CI").is_none(), "this needs a kernel with 32-bit system calls");
    if there { vec!["native", "int80"] } else { vec!["native"] }
}

#[test]
fn backstop_closes_what_landlock_leaves_open() {
    each_user(|user| {
        let outside = Outside::new(user);
        for mode in modes(&outside) {
            let free = outside.free(mode);
            // Or else a refusal below would show nothing.
            for name in
                [TCP, UDP, UDP_SENDS, UNIX, PAIRS, &["tcp connect", "unix connect", "netlink audit"]].concat()
            {
                assert_eq!(free[name], "ok", "{name} as {}, {mode}", user.name);
            }
            Expected::usual(free, outside.abi)
                .met(&outside.confined("", mode), &format!("{mode}, {}", user.name));
        }
    });
}

#[test]
fn backstop_opens_what_is_granted_and_no_more() {
    each_user(|user| {
        let outside = Outside::new(user);
        let abi = outside.abi;
        for mode in modes(&outside) {
            let free = outside.free(mode);
            let check = |options: &str, change: &dyn Fn(&mut Expected)| {
                let mut expected = Expected::usual(free.clone(), abi);
                change(&mut expected);
                let what = format!("{options}, {mode}, {}", user.name);
                expected.met(&outside.confined(options, mode), &what);
            };
            check("--connect-udp U", &|e| e.open(&[UDP, UDP_SENDS]));
            check("--connect-udp 1", &|e| {
                e.open(&[UDP]);
                if abi < UDP_ABI {
                    e.open(&[UDP_SENDS]);
                }
            });
            check("--preset dns --ignore-missing", &|e| {
                e.granted_tcp(abi);
                e.open(&[UDP]);
                if abi < UDP_ABI {
                    e.open(&[UDP_SENDS]);
                }
            });
            check("--unix socket", &|e| e.open(&[UNIX, &["unix connect"]]));
            check("--unix probe", &|e| {
                e.open(&[UNIX]);
                if abi < UNIX_ABI {
                    e.open(&[&["unix connect"]]);
                }
            });
            check("--connect-tcp T", &|e| {
                e.granted_tcp(abi);
                e.open(&[&["tcp connect"]]);
                // The kernel that restricts UDP sees these connections too, and knows that they are granted.
                if abi >= UDP_ABI {
                    e.open(&[FAST_OPEN]);
                }
            });
            // Where every port is granted nothing is left to get around.
            check("--connect-tcp any", &|e| {
                e.granted_tcp(abi);
                e.open(&[FAST_OPEN, &["tcp connect"]]);
            });
            check("--connect-tcp any --bind-tcp any", &|e| {
                e.granted_tcp(abi);
                e.open(&[MPTCP, FAST_OPEN, &["tcp connect"]]);
            });
            check("--bind-tcp any", &|e| e.granted_tcp(abi));
        }
    });
}

#[test]
fn backstop_leaves_alone_what_is_unrestricted() {
    each_user(|user| {
        let outside = Outside::new(user);
        let abi = outside.abi;
        for mode in modes(&outside) {
            let free = outside.free(mode);
            let check = |options: &str, change: &dyn Fn(&mut Expected)| {
                let mut expected = Expected::usual(free.clone(), abi);
                change(&mut expected);
                let what = format!("{options}, {mode}, {}", user.name);
                expected.met(&outside.confined(options, mode), &what);
            };
            check("--unrestricted udp", &|e| e.open(&[UDP, UDP_SENDS]));
            check("--unrestricted unix", &|e| e.open(&[UNIX, &["unix connect"]]));
            check("--unrestricted tcp", &|e| {
                e.granted_tcp(abi);
                e.open(&[MPTCP, FAST_OPEN, &["tcp connect"]]);
            });
            let net = |e: &mut Expected| {
                e.open(&[
                    TCP,
                    SENDS,
                    MPTCP,
                    OTHER_STREAMS,
                    FAST_OPEN,
                    UDP,
                    UDP_SENDS,
                    FAMILIES,
                    &["tcp connect", "netlink route"],
                ]);
            };
            check("--unrestricted net", &|e| {
                net(e);
                if abi >= UNIX_ABI {
                    e.open(&[&["io_uring"]]);
                }
            });
            check("--unrestricted net,unix", &|e| {
                net(e);
                e.open(&[UNIX, &["unix connect", "io_uring"]]);
            });
        }
    });
}

/// The arguments of these calls are in memory, where no filter sees them.
#[cfg(target_arch = "x86_64")]
#[test]
fn backstop_refuses_socketcall_as_a_whole() {
    each_user(|user| {
        let outside = Outside::new(user);
        if !modes(&outside).contains(&"int80") {
            return;
        }
        let free = outside.free("socketcall");
        let made = [TCP, MPTCP, OTHER_STREAMS, UDP, FAMILIES, UNIX, &["netlink route"]].concat();
        let check = |options: &str, change: &dyn Fn(&mut Expected)| {
            let mut expected = Expected::usual(free.clone(), outside.abi);
            expected.set("EACCES", &[&made, PAIRS]);
            if outside.abi < UDP_ABI {
                expected.set("EACCES", &[SENDS]);
            }
            change(&mut expected);
            expected.met(&outside.confined(options, "socketcall"), &format!("{options}, {}", user.name));
        };
        check("", &|_| ());
        check("--unrestricted net,unix", &|e| {
            e.open(&[&made, PAIRS, SENDS, FAST_OPEN, UDP_SENDS]);
            e.open(&[&["tcp connect", "unix connect", "io_uring"]]);
        });
    });
}

/// A filter outside answers x32 calls with ESTALE, so that it shows, also on a kernel without them, if palisade's lets
/// any through.
#[cfg(target_arch = "x86_64")]
#[test]
fn backstop_refuses_every_x32_call() {
    each_user(|user| {
        let outside = Outside::new(user);
        let calls = |options: &[&str]| {
            let mut command = user.command("./probe");
            command.args(["outer".as_ref(), user.binary().as_os_str()]).args(["run", "-q"]);
            command.args(user.go_on().split_whitespace());
            command.args(options).args(outside.arguments("x32"));
            let mut lines = lines(Ran::of(user, command).works());
            // Not those whose sockets, made by native calls, the filter does not let be.
            let mut without = [UDP_SENDS, &["tcp connect", "unix connect"]].concat();
            if outside.abi < TCP_ABI {
                without.extend([FAST_OPEN, SENDS].concat());
            }
            lines.retain(|name, _| !without.contains(&name.as_str()));
            lines
        };
        let watched = EXPLAIN[0].split_whitespace().collect::<Vec<_>>();
        for options in [&[][..], &["--no-backstop"], &["--unrestricted", "net,unix"], &watched] {
            for (name, what) in calls(options) {
                assert_eq!(what, "ENOSYS", "{name}, {options:?}");
            }
        }
    });
}

#[test]
fn no_backstop_says_what_is_open_and_opens_it_but_not_typing() {
    each_user(|user| {
        let outside = Outside::new(user);
        for mode in modes(&outside) {
            let mut expected = Expected::usual(outside.free(mode), outside.abi);
            expected.open(&[MPTCP, OTHER_STREAMS, FAMILIES, &["netlink route", "io_uring"]]);
            expected.granted_tcp(outside.abi);
            if outside.abi < UDP_ABI {
                expected.open(&[UDP, UDP_SENDS, FAST_OPEN]);
            }
            if outside.abi < UNIX_ABI {
                expected.open(&[UNIX, &["unix connect"]]);
            }
            let met = outside.confined("--no-backstop", mode);
            // The mending of this has come to older kernels too, as Debian's 6.12, and nothing tells.
            if (TCP_ABI..UDP_ABI).contains(&outside.abi) && met[FAST_OPEN[0]] == "EACCES" {
                expected.set("EACCES", &[FAST_OPEN]);
            }
            expected.met(&met, mode);
        }
        let below = |abi: u64| outside.abi < abi;
        let (unix, udp, tcp) = (below(UNIX_ABI), below(UDP_ABI), below(TCP_ABI));
        let open = [
            (below(3), "truncate: needs ABI 3 (Linux 6.2)"),
            (unix, "resolve_unix: needs ABI 9 (Linux 7.1)"),
            (tcp, "bind_tcp: needs ABI 4 (Linux 6.7)"),
            (tcp, "connect_tcp: needs ABI 4 (Linux 6.7)"),
            (udp, "bind_udp: needs ABI 10 (Linux 7.2)"),
            (udp, "connect_send_udp: needs ABI 10 (Linux 7.2)"),
            (below(6), "abstract_unix_socket: needs ABI 6 (Linux 6.12)"),
            (true, "Multipath TCP and other streams than TCP"),
            (udp, "connecting by TCP Fast Open"),
            (true, "sockets of other families (raw, packet, vsock, most of netlink)"),
            (true, "io_uring"),
        ];
        let open: Vec<&str> = open.into_iter().filter(|(open, _)| *open).map(|(_, what)| what).collect();
        let run = |words: &str| user.run(&format!("{} {words}", user.go_on()));
        run("--no-backstop -q -- true").said(0, "", "");
        let (with, without) = (run("-- true"), run("--no-backstop -- true"));
        if outside.abi == 0 {
            for said in [with, without] {
                assert!(said.stderr.starts_with("palisade: FILES ARE NOT CONFINED: "), "{}", said.stderr);
            }
            return;
        }
        without.said(
            0,
            "",
            &format!("palisade: NOT RESTRICTED, so open whatever is granted: {}\n", open.join(", ")),
        );
        let truncate = format!("palisade: NOT RESTRICTED, so open whatever is granted: {}\n", open[0]);
        with.said(0, "", if below(3) { &truncate } else { "" });
    });
}

/// How a category is said to hold: what is open to Landlock on this kernel is never said to be enforced.
#[test]
fn what_seccomp_closes_is_said_to_be_closed_by_seccomp() {
    each_user(|user| {
        let abi = user.abi();
        let run = |words: &str| user.run(&format!("{} {words}", user.go_on()));
        let dry = run("--dry-run true").works().stdout.clone();
        // Where there is no Landlock the plan begins with the reason.
        let reason = dry.lines().find_map(|line| line.strip_prefix("Nothing would be confined: "));
        let category = |first: u64, linux: &str, what: &str| match (abi >= first, reason) {
            (true, _) => "enforced".to_owned(),
            (false, None) => format!(
                "closed by seccomp: no {what} socket can be made (Landlock: needs ABI {first} (Linux {linux}))"
            ),
            (false, Some(reason)) => {
                let reason = reason.trim_end_matches('.');
                format!("closed by seccomp: no {what} socket can be made (Landlock: {reason})")
            }
        };
        let unix = category(UNIX_ABI, "7.1", "UNIX");
        let udp = category(UDP_ABI, "7.2", "UDP");
        let tcp = category(TCP_ABI, "6.7", "TCP");
        let fast_open = if abi < UDP_ABI { "connecting by TCP Fast Open; " } else { "" };
        let rest = format!(
            "refused by seccomp: Multipath TCP and other streams than TCP; {fast_open}\
             sockets of other families (raw, packet, vsock, most of netlink); io_uring"
        );
        let typing = "refused by seccomp: typing into the terminal (TIOCSTI, TIOCLINUX)";
        let verbose = run("-v true").stderr.replace("palisade: ", "");
        for said in [&verbose, &dry] {
            for line in [
                format!("  unix      {unix}\n"),
                format!("  udp       {udp}\n"),
                format!("  tcp       {tcp}\n"),
                format!("  note: {typing}\n"),
                format!("  note: {rest}\n"),
            ] {
                assert!(said.contains(&line), "{line:?} in {said}");
            }
        }
        // What is granted is open, and said to be.
        let options = "--dry-run --unix /dev --connect-udp any --connect-tcp 1";
        let granted = run(&format!("{options} true")).works().stdout.clone();
        assert!(!granted.contains("closed by seccomp"), "{granted}");
        assert!(abi >= UNIX_ABI || granted.contains("  unix      NOT ENFORCED: "), "{granted}");
        assert!(abi >= UDP_ABI || granted.contains("  udp       NOT ENFORCED: "), "{granted}");
        let without = run("--dry-run --no-backstop true").works().stdout.clone();
        assert!(!without.contains("closed by seccomp") && !without.contains(&rest), "{without}");
        assert!(without.contains(typing), "{without}");

        let json = run("--dry-run --json true");
        let json: serde_json::Value = serde_json::from_str(&json.works().stdout).unwrap();
        assert_eq!(json["seccomp"], serde_json::json!([typing, rest]));
        let report = &json["report"];
        for (right, first, by) in [
            ("resolve_unix", UNIX_ABI, "seccomp: no UNIX socket can be made"),
            ("bind_udp", UDP_ABI, "seccomp: no UDP socket can be made"),
            ("connect_send_udp", UDP_ABI, "seccomp: no UDP socket can be made"),
            ("bind_tcp", TCP_ABI, "seccomp: no TCP socket can be made"),
            ("connect_tcp", TCP_ABI, "seccomp: no TCP socket can be made"),
        ] {
            let has = |list: &serde_json::Value| list.as_array().unwrap().contains(&right.into());
            let closed = report["closed"].as_array().unwrap();
            let closed = closed.iter().find(|closed| has(&closed["rights"])).map(|closed| &closed["by"]);
            assert_eq!(has(&report["enforced"]), abi >= first, "{right}: {report}");
            assert_eq!(closed, (abi < first).then(|| by.into()).as_ref(), "{right}: {report}");
        }
    });
}

/// A server of tmux's, which would run anything for whoever reaches its socket.
struct Tmux<'a>(&'a User);

impl<'a> Tmux<'a> {
    fn start(user: &'a User) -> Tmux<'a> {
        let tmux = Tmux(user);
        tmux.ask(&["-f", "/dev/null", "new-session", "-d", "sleep 1000"]).works();
        tmux
    }

    fn ask(&self, args: &[&str]) -> Ran {
        let mut command = self.0.command("tmux");
        command.env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/sh").args(["-S", "socket"]).args(args);
        Ran::of(self.0, command)
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.0.command("tmux").args(["-S", "socket", "kill-server"]).output();
    }
}

#[test]
fn a_daemon_outside_cannot_be_asked_to_run_a_program() {
    if !found(&["tmux"]) {
        return;
    }
    each_user(|user| {
        let _tmux = Tmux::start(user);
        user.folder("d");
        let ask = |options: &str, file: &str| {
            let command = format!(
                "--preset system --rw d --env LC_ALL=C.UTF-8 {} {options} -- tmux -S socket run-shell",
                user.go_on()
            );
            let shell = format!("touch {}", user.home().join(file).display());
            user.palisade(["run", "-q"].into_iter().chain(command.split_whitespace()).chain([shell.as_str()]))
        };
        let refused = ask("", "by-default");
        assert_eq!(refused.status, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.ends_with("socket (Permission denied)\n"), "{}", refused.stderr);
        assert!(!user.home().join("by-default").exists());
        ask("--unix socket", "granted").said(0, "", "");
        assert!(user.home().join("granted").exists());
        if user.abi() < UNIX_ABI {
            // Nothing but the backstop is in the way.
            ask("--no-backstop", "open").said(0, "", "");
            assert!(user.home().join("open").exists());
        }
    });
}

#[test]
fn a_program_outside_gets_no_signal() {
    each_user(|user| {
        if user.abi() < 6 {
            return;
        }
        let mut outside = user.command("sleep").arg("1000").spawn().unwrap();
        let kill = format!("kill -TERM {}", outside.id());
        let refused = user.script("", "bash", &kill);
        let free = user.script("--unrestricted signal", "bash", &format!("kill -0 {}", outside.id()));
        let alive = outside.try_wait().unwrap().is_none();
        outside.kill().unwrap();
        outside.wait().unwrap();
        refused.refused("Operation not permitted");
        free.said(0, "", "");
        assert!(alive);
        let inside = user.script("", "bash", "(kill -TERM $BASHPID) 2>&1; exit $?");
        assert_eq!(inside.status, Some(143), "{}", inside.stderr);
    });
}
