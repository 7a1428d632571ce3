//! What is said of made events: text and JSON. The policies are asked as on a kernel that is not this one, so that it is the
//! same on each.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use palisade::{Abi, Kernel, Open, Policy, Request};
use serde_json::Value;
use snapbox::{assert_data_eq, str};

use super::*;

mod rare;

/// COMMAND's own number.
const COMMAND: i32 = 7;

/// Folders `app`, in which COMMAND starts, and `data`, in a home.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["home/app", "home/data", "home/.ssh"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["app/in", "app/run", "data/one", "data/two", ".ssh/id_ed25519"] {
            fs::write(dir.path().join("home").join(file), "").unwrap();
        }
        Tree(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join("home").join(name)
    }

    /// Without what is another each time.
    fn printed(&self, text: &str) -> String {
        text.replace(self.at("").to_str().unwrap().trim_end_matches('/'), "/home/u")
    }

    /// All that a policy says of events, whose names are paths of this tree: text and JSON.
    fn explain(&self, policies: &[Policy], events: Vec<Event>, status: Status, left: usize) -> [String; 2] {
        let mut refusals = Refusals::default();
        for event in events {
            refusals.add(event);
        }
        self.ask(policies, |stack| {
            let explanation = explain(&refusals, stack);
            let ended = Ended { name: Path::new("cmd"), status, left, without_capabilities: false };
            let json: Value = serde_json::from_str(&as_json(&explanation, &ended)).unwrap();
            [for_people(&explanation, &ended, false), serde_json::to_string_pretty(&json).unwrap()]
                .map(|text| self.printed(&text))
        })
    }

    fn ask<T>(&self, policies: &[Policy], ask: impl FnOnce(&mut Stack<'_>) -> T) -> T {
        let plans = policies.iter().map(|policy| policy.plan(&Kernel::new(Abi::V6)).unwrap());
        let domain = Domain::new(plans.collect::<Vec<_>>()).unwrap();
        ask(&mut Stack {
            domain: &domain,
            program: COMMAND,
            ceilings: vec!["ceiling.toml".to_owned()],
            preset_allows: &|_, _| false,
            closes_io_uring: true,
            files: true,
            world: World {
                home: Some(self.at("")),
                dir: self.at("app"),
                is_dir: &|path| path.is_dir(),
                exists: &|path| path.symlink_metadata().is_ok(),
                is_new: &|path| path.ends_with("new"),
            },
        })
    }

    fn text(&self, policy: Policy, events: Vec<Event>) -> String {
        let [text, _] = self.explain(&[policy], events, Status::Exited(1), 0);
        text
    }
}

fn event(name: &str, what: What) -> Event {
    Event {
        process: COMMAND,
        name: name.into(),
        program: Some(Path::new("/usr/bin").join(name)),
        what,
        errno: libc::EACCES,
        ordinary: Ordinary::Allow,
        landlock_first: false,
        executes: false,
        changed: false,
    }
}

fn asking(name: &str, request: Request) -> Event {
    event(name, What::Asked(vec![request.resolved()]))
}

fn closed(name: &str, closing: Closing) -> Event {
    event(name, What::Closed(closing))
}

fn socket(family: i32, kind: i32) -> Closing {
    Closing::Socket { family, kind, protocol: 0 }
}

#[test]
fn nothing_was_refused() {
    let tree = Tree::new();
    let [text, json] = tree.explain(&[Policy::new()], vec![], Status::Exited(0), 0);
    assert_data_eq!(text, str!["refused nothing to cmd and what it started"]);
    assert_data_eq!(
        json,
        str![[r#"
{
  "command": "cmd",
  "exit_status": 0,
  "more": false,
  "options": [],
  "refusals": [],
  "signal": null,
  "still_running": 0
}
"#]]
    );
}

#[test]
fn it_failed_for_another_reason() {
    let tree = Tree::new();
    assert_data_eq!(
        tree.text(Policy::new(), vec![]),
        str!["refused nothing to cmd and what it started; it ended with exit status 1, for another reason"]
    );
    let [killed, json] = tree.explain(&[Policy::new()], vec![], Status::Killed(11), 0);
    assert_data_eq!(
        killed,
        str![
            "refused nothing to cmd and what it started; it was killed by signal 11 (SIGSEGV), for another reason"
        ]
    );
    assert_data_eq!(
        json,
        str![[r#"
{
  "command": "cmd",
  "exit_status": null,
  "more": false,
  "options": [],
  "refusals": [],
  "signal": 11,
  "still_running": 0
}
"#]]
    );
}

#[test]
fn one_thing_was_refused() {
    let tree = Tree::new();
    let events = || vec![asking("cat", Request::read(tree.at("data/one")))];
    let [text, json] = tree.explain(&[Policy::new()], events(), Status::Exited(1), 0);
    assert_data_eq!(
        text,
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  --ro /home/u/data/one
      cat (7): read /home/u/data/one (read_file)
To allow it, add: --ro /home/u/data/one
"#]]
    );
    assert_data_eq!(
        json,
        str![[r#"
{
  "command": "cmd",
  "exit_status": 1,
  "more": false,
  "options": [
    "--ro",
    "/home/u/data/one"
  ],
  "refusals": [
    {
      "asked": "read /home/u/data/one",
      "by": "landlock",
      "changed": false,
      "errno": "EACCES",
      "held": null,
      "name": "cat",
      "no_option": null,
      "options": [
        [
          "--ro",
          "/home/u/data/one"
        ]
      ],
      "other_path": null,
      "path": "/home/u/data/one",
      "processes": [
        7
      ],
      "program": "/usr/bin/cat",
      "times": 1,
      "why": "read_file is missing"
    }
  ],
  "signal": null,
  "still_running": 0
}
"#]]
    );
}

#[test]
fn many_files_of_a_folder() {
    let tree = Tree::new();
    let file = |n: i32| {
        let path = tree.at(&format!("data/{n}"));
        fs::write(&path, "").unwrap();
        asking("cc", Request::read(path))
    };
    let events = (1..=20).map(file).collect();
    assert_data_eq!(
        tree.text(Policy::new(), events),
        str![[r#"
refused to cmd and what it started: 20 things; it ended with exit status 1
  --ro /home/u/data
      cc (7): read /home/u/data/1 (read_file)
      cc (7): read /home/u/data/2 (read_file)
      cc (7): read /home/u/data/3 (read_file)
      cc (7): read /home/u/data/4 (read_file)
      cc (7): read /home/u/data/5 (read_file)
      and 15 more
To allow it, add: --ro /home/u/data
"#]]
    );
}

#[test]
fn several_programs() {
    let tree = Tree::new();
    let exec = |name: &str| Event { executes: true, ..asking(name, Request::exec(tree.at("app/run"))) };
    let events = vec![
        exec("sh"),
        Event { process: 8, ..exec("make") },
        Event { process: 9, ..exec("make") },
        Event { landlock_first: true, ..asking("ld", Request::create(tree.at("app/new"))) },
        asking("curl", Request::connect_tcp(443)),
        Event { errno: libc::EPERM, ..asking("kill", Request::signal()) },
    ];
    assert_data_eq!(
        tree.text(Policy::new(), events),
        str![[r#"
refused to cmd and what it started: 5 things; it ended with exit status 1
  --rx /home/u/app/run
      sh (7): execute /home/u/app/run (execute, read_file)
      make (8, 9): execute /home/u/app/run (execute, read_file), twice
  --rw /home/u/app
      ld (7): create /home/u/app/new (write_file, make_reg on /home/u/app)
  --connect-tcp 443
      curl (7): connect to TCP port 443 (connect_tcp)
  --unrestricted signal
      kill (7): signal a process outside: signal is restricted, and no rule makes an exception
To allow it, add: --rx /home/u/app/run --rw /home/u/app --connect-tcp 443 --unrestricted signal
"#]]
    );
}

#[test]
fn a_secret() {
    let tree = Tree::new();
    let events = || vec![asking("cat", Request::read(tree.at(".ssh/id_ed25519")))];
    let [text, json] = tree.explain(&[Policy::new()], events(), Status::Exited(1), 0);
    assert_data_eq!(
        text,
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  No option is proposed for
      cat (7): read /home/u/.ssh/id_ed25519 (read_file): sensitive (SSH keys): grant it by name if that is meant
"#]]
    );
    assert_data_eq!(
        json,
        str![[r#"
{
  "command": "cmd",
  "exit_status": 1,
  "more": false,
  "options": [],
  "refusals": [
    {
      "asked": "read /home/u/.ssh/id_ed25519",
      "by": "landlock",
      "changed": false,
      "errno": "EACCES",
      "held": "secret",
      "name": "cat",
      "no_option": "sensitive (SSH keys): grant it by name if that is meant",
      "options": [],
      "other_path": null,
      "path": "/home/u/.ssh/id_ed25519",
      "processes": [
        7
      ],
      "program": "/usr/bin/cat",
      "times": 1,
      "why": "read_file is missing"
    }
  ],
  "signal": null,
  "still_running": 0
}
"#]]
    );
}

#[test]
fn a_folder_that_is_too_wide() {
    let tree = Tree::new();
    let make = |at: &str| {
        let request = Request::open(tree.at(at), Open::WRITE | Open::CREATE);
        Event { landlock_first: true, ..asking("touch", request) }
    };
    let events = vec![make("file"), asking("ls", Request::list(tree.at(""))), make(".ssh/file")];
    assert_data_eq!(
        tree.text(Policy::new(), events),
        str![[r#"
refused to cmd and what it started: 3 things; it ended with exit status 1
  No option is proposed for
      touch (7): write /home/u/file (write_file, make_reg on /home/u): it takes write_file, make_reg on all of /home/u, where something is sensitive (SSH keys): grant the folder by name if that is meant, or make the file first and grant that alone, or use another folder
      ls (7): list /home/u (read_dir): it takes read_dir on all of /home/u, where something is sensitive (SSH keys): grant the folder by name if that is meant
      touch (7): write /home/u/.ssh/file (write_file, make_reg on /home/u/.ssh): sensitive (SSH keys): grant it by name if that is meant
"#]]
    );
}

#[test]
fn what_the_program_has_made() {
    let tree = Tree::new();
    fs::write(tree.at("app/new"), "").unwrap();
    let events = vec![Event { executes: true, ..asking("sh", Request::exec(tree.at("app/new"))) }];
    assert_data_eq!(
        tree.text(Policy::new(), events),
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  --rx /home/u/app
      sh (7): execute /home/u/app/new (execute, read_file)
To allow it, add: --rx /home/u/app
"#]]
    );
}

#[test]
fn permissions_refuse_it_too() {
    let tree = Tree::new();
    let make = Request::create(tree.at("data/file"));
    let no =
        Ordinary::Refuse("the folder /home/u/data may not be written (mode 0555, user 0, group 0)".into());
    // Who is asked first has refused it.
    let events = |landlock_first| {
        vec![Event { landlock_first, ordinary: no.clone(), ..asking("touch", make.clone()) }]
    };
    assert_data_eq!(
        tree.text(Policy::new(), events(true)),
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  No option is proposed for
      touch (7): create /home/u/data/file (write_file, make_reg on /home/u/data): ordinary permissions refuse it too: the folder /home/u/data may not be written (mode 0555, user 0, group 0)
"#]]
    );
    let [text, json] = tree.explain(&[Policy::new()], events(false), Status::Exited(1), 0);
    assert_data_eq!(
        text,
        str![[r#"
refused nothing to cmd and what it started; it ended with exit status 1, for another reason
  Not refused by this policy
      touch (7): create /home/u/data/file: the folder /home/u/data may not be written (mode 0555, user 0, group 0) (EACCES)
"#]]
    );
    assert_data_eq!(
        json,
        str![[r#"
{
  "command": "cmd",
  "exit_status": 1,
  "more": false,
  "options": [],
  "refusals": [
    {
      "asked": "create /home/u/data/file",
      "by": "permissions",
      "changed": false,
      "errno": "EACCES",
      "held": null,
      "name": "touch",
      "no_option": null,
      "options": [],
      "other_path": null,
      "path": "/home/u/data/file",
      "processes": [
        7
      ],
      "program": "/usr/bin/touch",
      "times": 1,
      "why": "the folder /home/u/data may not be written (mode 0555, user 0, group 0)"
    }
  ],
  "signal": null,
  "still_running": 0
}
"#]]
    );
}

#[test]
fn many_of_one_kind_are_counted() {
    let tree = Tree::new();
    let of_processes = (1..=8).map(|n| asking("top", Request::read(format!("/proc/{n}/stat"))));
    let not_ours = (1..=7).map(|n| {
        let why =
            Ordinary::Refuse(format!("the folder /closed/{n} may not be read (mode 0700, user 0, group 0)"));
        Event {
            ordinary: why,
            landlock_first: false,
            ..asking("find", Request::list(format!("/closed/{n}")))
        }
    });
    assert_data_eq!(
        tree.text(Policy::new(), of_processes.chain(not_ours).collect()),
        str![[r#"
refused to cmd and what it started: 8 things; it ended with exit status 1
  --ro /proc/self/stat
      top (7): read /proc/self/stat (read_file)
  No option is proposed for
      top (7): read /proc/1/stat (read_file): no option can name it, for it is another one each time
      top (7): read /proc/2/stat (read_file): no option can name it, for it is another one each time
      top (7): read /proc/3/stat (read_file): no option can name it, for it is another one each time
      top (7): read /proc/4/stat (read_file): no option can name it, for it is another one each time
      top (7): read /proc/5/stat (read_file): no option can name it, for it is another one each time
      and 2 more to top: no option can name it, for it is another one each time
  Not refused by this policy
      find (7): list /closed/1: the folder /closed/1 may not be read (mode 0700, user 0, group 0) (EACCES)
      find (7): list /closed/2: the folder /closed/2 may not be read (mode 0700, user 0, group 0) (EACCES)
      find (7): list /closed/3: the folder /closed/3 may not be read (mode 0700, user 0, group 0) (EACCES)
      find (7): list /closed/4: the folder /closed/4 may not be read (mode 0700, user 0, group 0) (EACCES)
      find (7): list /closed/5: the folder /closed/5 may not be read (mode 0700, user 0, group 0) (EACCES)
      and 2 more to find
To allow it, add: --ro /proc/self/stat
"#]]
    );
}

#[test]
fn capabilities_that_were_taken_away() {
    let tree = Tree::new();
    let refusals = Refusals::default();
    let text = |status| {
        tree.ask(&[Policy::new()], |stack| {
            let ended = Ended { name: Path::new("cmd"), status, left: 0, without_capabilities: true };
            for_people(&explain(&refusals, stack), &ended, false)
        })
    };
    assert_data_eq!(text(Status::Exited(0)), str!["refused nothing to cmd and what it started"]);
    assert_data_eq!(
        text(Status::Exited(1)),
        str![[r#"
refused nothing to cmd and what it started; it ended with exit status 1, for another reason
If it needs root's special rights (capabilities), palisade has taken them away: --keep-caps NAME keeps one, as dac_override (files of other users) or chown
"#]]
    );
}

#[test]
fn another_sandbox() {
    let tree = Tree::new();
    let events = vec![asking("cat", Request::read(tree.at("data/one")))];
    assert_data_eq!(
        tree.text(Policy::new().ro([tree.at("data")]), events),
        str![[r#"
refused nothing to cmd and what it started; it ended with exit status 1, for another reason
  Not refused by this policy
      cat (7): read /home/u/data/one: neither this policy nor ordinary permissions refuse it: another sandbox does, around palisade or the program's own, or a rule of the system's (EACCES)
"#]]
    );
}

#[test]
fn what_seccomp_closes() {
    let tree = Tree::new();
    let events = || {
        vec![
            closed("dig", socket(libc::AF_INET, libc::SOCK_DGRAM)),
            closed("ls", socket(libc::AF_UNIX, libc::SOCK_STREAM)),
            closed("curl", socket(libc::AF_INET6, libc::SOCK_STREAM)),
            closed("ping", socket(libc::AF_INET, libc::SOCK_RAW)),
            closed("curl", Closing::FastOpen(Some(443))),
            closed("fio", Closing::IoUring),
            Event { errno: libc::EPERM, ..closed("sh", Closing::Typing) },
            closed("old", Closing::OldSocket),
        ]
    };
    let [text, json] = tree.explain(&[Policy::new()], events(), Status::Exited(1), 0);
    assert_data_eq!(
        text,
        str![[r#"
refused to cmd and what it started: 8 things; it ended with exit status 1
  --preset dns
      dig (7): make a UDP socket: seccomp closes UDP sockets, which this kernel's Landlock cannot restrict
  No option is proposed for
      ls (7): make a UNIX socket: seccomp closes UNIX sockets, which this kernel's Landlock cannot restrict; often it is only to look up a name (nscd), and may fail; else --unix PATH of the socket opens them, here all
      curl (7): make a TCP socket: seccomp closes TCP sockets, which this kernel's Landlock cannot restrict; --connect-tcp PORT or --bind-tcp PORT opens them
      ping (7): make a raw socket: seccomp closes sockets of this kind, which this kernel's Landlock cannot restrict; only --no-backstop, which leaves all of this open, allows it
      curl (7): connect to TCP port 443 by TCP Fast Open: seccomp closes TCP Fast Open, which this kernel's Landlock cannot restrict; to connect first and then send is allowed, if the port is granted
      fio (7): use io_uring: seccomp closes io_uring, which this kernel's Landlock cannot restrict; only --no-backstop, which leaves all of this open, allows it
      sh (7): type into the terminal (TIOCSTI, TIOCLINUX): seccomp closes typing into the terminal, which this kernel's Landlock cannot restrict; nothing allows it: what is typed so is run by your shell, outside
      old (7): make a socket (socketcall): seccomp closes old calls that could make a closed socket, which this kernel's Landlock cannot restrict; only --no-backstop, which leaves all of this open, allows it
To allow it, add: --preset dns
"#]]
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    let of = |name: &str| {
        json["refusals"].as_array().unwrap().iter().map(|r| r[name].to_string()).collect::<Vec<_>>()
    };
    assert!(of("by").iter().all(|by| by == "\"seccomp\""));
    assert_data_eq!(
        of("asked").join("\n"),
        str![[r#"
"make a UDP socket"
"make a UNIX socket"
"make a TCP socket"
"make a raw socket"
"connect to TCP port 443 by TCP Fast Open"
"use io_uring"
"type into the terminal (TIOCSTI, TIOCLINUX)"
"make a socket (socketcall)"
"#]]
    );
}
