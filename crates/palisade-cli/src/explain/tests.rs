//! What is said of made events: text and JSON. The policies are asked as on a kernel that is not this one, so that it is the
//! same on each.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use palisade::{Abi, Kernel, Open, Policy, Request};
use serde_json::Value;
use snapbox::{assert_data_eq, str};

use super::*;

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
  Not refused by palisade
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
  Not refused by palisade
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
  Not refused by palisade
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

#[test]
fn io_uring_is_closed_to_what_is_watched() {
    let tree = Tree::new();
    let mut refusals = Refusals::default();
    refusals.add(closed("fio", Closing::IoUring));
    refusals.add(Event { errno: libc::EPERM, ..event("strace", What::Trace) });
    let text = tree.ask(&[Policy::new()], |stack| {
        stack.closes_io_uring = false;
        let explanation = explain(&refusals, stack);
        for_people(
            &explanation,
            &Ended {
                name: Path::new("cmd"),
                status: Status::Exited(0),
                left: 0,
                without_capabilities: false,
            },
            false,
        )
    });
    assert_data_eq!(
        text,
        str![[r#"
refused to cmd and what it started: 2 things
  No option is proposed for
      fio (7): use io_uring: what goes through io_uring cannot be seen, so that it is refused to a program that is watched; without --explain it is allowed
      strace (7): watch a process (ptrace): a program that is watched cannot be watched by another; without --explain it is allowed
"#]]
    );
}

#[test]
fn mounts() {
    let tree = Tree::new();
    let mount = Event { errno: libc::EPERM, ..event("mount", What::Mount("mount a file system")) };
    let takes = Ordinary::Refuse("it takes a capability, CAP_SYS_ADMIN, which it has not".to_owned());
    assert_data_eq!(
        tree.text(Policy::new(), vec![mount.clone()]),
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  No option is proposed for
      mount (7): mount a file system: mounts cannot be changed where files are restricted; only --unrestricted fs, which leaves all files alone, allows it
"#]]
    );
    assert_data_eq!(
        tree.text(Policy::new(), vec![Event { ordinary: takes, ..mount }]),
        str![[r#"
refused nothing to cmd and what it started; it ended with exit status 1, for another reason
  Not refused by palisade
      mount (7): mount a file system: it takes a capability, CAP_SYS_ADMIN, which it has not (EPERM)
"#]]
    );
}

#[test]
fn a_ceiling() {
    let tree = Tree::new();
    let policies = [Policy::new().ro([tree.at("data")]), Policy::new()];
    let events = vec![asking("cat", Request::read(tree.at("data/one")))];
    let [text, json] = tree.explain(&policies, events, Status::Exited(1), 0);
    assert_data_eq!(
        text,
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  No option is proposed for
      cat (7): read /home/u/data/one (read_file in --within ceiling.toml): no option allows what a ceiling does not
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
      "asked": "read /home/u/data/one",
      "by": "landlock",
      "changed": false,
      "errno": "EACCES",
      "held": null,
      "name": "cat",
      "no_option": "no option allows what a ceiling does not",
      "options": [],
      "other_path": null,
      "path": "/home/u/data/one",
      "processes": [
        7
      ],
      "program": "/usr/bin/cat",
      "times": 1,
      "why": "read_file is missing in --within ceiling.toml"
    }
  ],
  "signal": null,
  "still_running": 0
}
"#]]
    );
}

#[test]
fn what_cannot_be_said() {
    let tree = Tree::new();
    let hidden =
        What::Unknown { what: "open a path".to_owned(), why: "the program hides its memory from others" };
    let [text, json] = tree.explain(&[Policy::new()], vec![event("ssh", hidden)], Status::Exited(1), 0);
    assert_data_eq!(
        text,
        str![[r#"
refused nothing to cmd and what it started as far as can be said; it ended with exit status 1
  Whether palisade refused it cannot be said for
      ssh (7): open a path: the program hides its memory from others (EACCES)
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
      "asked": "open a path",
      "by": "cannot-say",
      "changed": false,
      "errno": "EACCES",
      "held": null,
      "name": "ssh",
      "no_option": null,
      "options": [],
      "other_path": null,
      "path": null,
      "processes": [
        7
      ],
      "program": "/usr/bin/ssh",
      "times": 1,
      "why": "whether palisade refused it cannot be said: the program hides its memory from others"
    }
  ],
  "signal": null,
  "still_running": 0
}
"#]]
    );
}

#[test]
fn what_a_thread_changes_meanwhile_is_said_to_be_so() {
    let tree = Tree::new();
    let event = Event { changed: true, ..asking("cat", Request::read(tree.at("data/one"))) };
    let text = tree.text(Policy::new(), vec![event]);
    assert_data_eq!(
        text,
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  --ro /home/u/data/one
      cat (7): read /home/u/data/one, or another, for the program changes that meanwhile (read_file)
To allow it, add: --ro /home/u/data/one
"#]]
    );
}

#[test]
fn names_are_escaped_for_people_and_whole_in_json() {
    let tree = Tree::new();
    let path = tree.at("data").join(OsString::from_vec(b"a\x1b[1m\n\xff'".to_vec()));
    fs::write(&path, "").unwrap();
    let events = || vec![Event { name: "e\x1b[0m".into(), ..asking("x", Request::read(&path)) }];
    let [text, json] = tree.explain(&[Policy::new()], events(), Status::Exited(1), 0);
    // Not a snapshot, which takes \\ for /.
    assert_eq!(
        text,
        "refused to cmd and what it started: one thing; it ended with exit status 1\n  \
         --ro $'/home/u/data/a\\x1b[1m\\n\\xff\\''\n      \
         e\\u{1b}[0m (7): read /home/u/data/a\\u{1b}[1m\\n\\xff' (read_file)\n\
         To allow it, add: --ro $'/home/u/data/a\\x1b[1m\\n\\xff\\''"
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["refusals"][0]["name"], "e\u{1b}[0m");
    let bytes: Vec<u64> = path.into_os_string().into_vec().into_iter().map(u64::from).collect();
    assert_eq!(json["options"][1], serde_json::json!({ "bytes": bytes }));
}

#[test]
fn what_a_process_has_of_its_own_has_one_name() {
    let tree = Tree::new();
    // The last is another's.
    let number = std::process::id() as i32;
    let own =
        |process: i32, of: i32| Event { process, ..asking("ps", Request::read(format!("/proc/{of}/stat"))) };
    let mut refusals = Refusals::default();
    refusals.add(own(number, number));
    refusals.add(own(1, 1));
    refusals.add(own(number, 1));
    let texts: Vec<(usize, &str)> = refusals.all().iter().map(|r| (r.times, r.asked.as_str())).collect();
    assert_eq!(texts, [(2, "read /proc/self/stat"), (1, "read /proc/1/stat")]);
    let words = tree.ask(&[Policy::new()], |stack| {
        stack.program = number;
        let explanation = explain(&refusals, stack);
        let held = explanation.refusals[1].options
            == Err(NoOption::Held(Held::Fleeting { path: "/proc/1/stat".into() }));
        let line: Value =
            serde_json::from_str(&line_as_json(&explanation.refusals[1], &explanation.options)).unwrap();
        (propose::in_words(&explanation.options), held && line["held"] == "fleeting")
    });
    assert_eq!(words, (vec!["--ro".into(), "/proc/self/stat".into()], true));
}

#[test]
fn lines_as_it_happens() {
    let tree = Tree::new();
    let not = Ordinary::Refuse("the file /home/u/app/in may not be read (mode 0000, user 0, group 0)".into());
    let events = [
        asking("cat", Request::read(tree.at("data/one"))),
        asking("cat", Request::read(tree.at(".ssh/id_ed25519"))),
        Event { ordinary: not, ..asking("cat", Request::read(tree.at("app/in"))) },
        Event { landlock_first: true, ..asking("ld", Request::create(tree.at("app/out"))) },
    ];
    let lines = |json: bool| {
        let line = |event: &Event| {
            let mut one = Refusals::default();
            one.add(event.clone());
            let line = tree.ask(&[Policy::new()], |stack| {
                let explanation = explain(&one, stack);
                match json {
                    true => line_as_json(&explanation.refusals[0], &explanation.options),
                    false => line_for_people(&explanation.refusals[0], &explanation.options),
                }
            });
            tree.printed(&line)
        };
        events.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    assert_data_eq!(
        lines(false),
        str![[r#"
refused to cat (7): read /home/u/data/one (read_file): EACCES; add --ro /home/u/data/one
refused to cat (7): read /home/u/.ssh/id_ed25519 (read_file): EACCES; sensitive (SSH keys): grant it by name if that is meant
refused, not by palisade, to cat (7): read /home/u/app/in: EACCES: the file /home/u/app/in may not be read (mode 0000, user 0, group 0)
refused to ld (7): create /home/u/app/out (write_file, make_reg on /home/u/app): EACCES; add --rw /home/u/app
"#]]
    );
    assert_data_eq!(
        lines(true),
        str![[r#"
{"asked":"read /home/u/data/one","by":"landlock","changed":false,"errno":"EACCES","held":null,"name":"cat","no_option":null,"options":[["--ro","/home/u/data/one"]],"other_path":null,"path":"/home/u/data/one","processes":[7],"program":"/usr/bin/cat","times":1,"why":"read_file is missing"}
{"asked":"read /home/u/.ssh/id_ed25519","by":"landlock","changed":false,"errno":"EACCES","held":"secret","name":"cat","no_option":"sensitive (SSH keys): grant it by name if that is meant","options":[],"other_path":null,"path":"/home/u/.ssh/id_ed25519","processes":[7],"program":"/usr/bin/cat","times":1,"why":"read_file is missing"}
{"asked":"read /home/u/app/in","by":"permissions","changed":false,"errno":"EACCES","held":null,"name":"cat","no_option":null,"options":[],"other_path":null,"path":"/home/u/app/in","processes":[7],"program":"/usr/bin/cat","times":1,"why":"the file /home/u/app/in may not be read (mode 0000, user 0, group 0)"}
{"asked":"create /home/u/app/out","by":"landlock","changed":false,"errno":"EACCES","held":null,"name":"ld","no_option":null,"options":[["--rw","/home/u/app"]],"other_path":null,"path":"/home/u/app/out","processes":[7],"program":"/usr/bin/ld","times":1,"why":"write_file, make_reg are missing on /home/u/app"}
"#]]
    );
}

#[test]
fn processes_that_still_run() {
    let tree = Tree::new();
    let [one, _] = tree.explain(&[Policy::new()], vec![], Status::Exited(0), 1);
    assert_data_eq!(
        one,
        str![[r#"
refused nothing to cmd and what it started
a process that it started still runs on; what is refused to it is said when it has ended
"#]]
    );
    let events = vec![asking("cat", Request::read(tree.at("data/one")))];
    let [some, _] = tree.explain(&[Policy::new()], events, Status::Exited(0), 3);
    assert_data_eq!(
        some,
        str![[r#"
refused to cmd and what it started: one thing
  --ro /home/u/data/one
      cat (7): read /home/u/data/one (read_file)
To allow it, add: --ro /home/u/data/one
3 processes that it started still run on; what is refused to them is said when they have ended
"#]]
    );
}

#[test]
fn what_is_seen_after_the_end_is_said_so() {
    let tree = Tree::new();
    let mut refusals = Refusals::default();
    refusals.add(asking("daemon", Request::read(tree.at("data/one"))));
    let text = tree.ask(&[Policy::new()], |stack| {
        let ended =
            Ended { name: Path::new("cmd"), status: Status::Exited(0), left: 0, without_capabilities: false };
        for_people(&explain(&refusals, stack), &ended, true)
    });
    assert_data_eq!(
        tree.printed(&text),
        str![[r#"
refused to cmd and what it started after it had ended: one thing
  --ro /home/u/data/one
      daemon (7): read /home/u/data/one (read_file)
To allow it, add: --ro /home/u/data/one
"#]]
    );
}
