//! What is seldom: names that are hostile, what changes, what lives on.

use super::*;

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
      strace (7): watch a process (ptrace): a program that is watched cannot be watched by another; without --explain it is allowed among what the program has started
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
  Not refused by this policy
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
  No option is proposed for
      cat (7): read /home/u/data/one, or another, for the program changes that meanwhile (read_file): it may not be what was asked for
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
refused, not by this policy, to cat (7): read /home/u/app/in: EACCES: the file /home/u/app/in may not be read (mode 0000, user 0, group 0)
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

#[test]
fn rights_that_a_program_would_gain() {
    let tree = Tree::new();
    let su = || Event { errno: libc::EPERM, ..event("su", What::SetId("/usr/bin/su".into())) };
    assert_data_eq!(
        tree.text(Policy::new(), vec![su()]),
        str![[r#"
refused to cmd and what it started: one thing; it ended with exit status 1
  No option is proposed for
      su (7): have the rights of the owner or group of /usr/bin/su: nothing that is confined gains rights by being executed; no option changes that
"#]]
    );
}

#[test]
fn what_the_preset_for_a_udp_socket_allows_needs_no_option_of_its_own() {
    let tree = Tree::new();
    let (file, other) = (tree.at("data/one"), tree.at("data/two"));
    let socket = Closing::Socket { family: libc::AF_INET, kind: libc::SOCK_DGRAM, protocol: 0 };
    let mut refusals = Refusals::default();
    refusals.add(closed("dig", socket));
    refusals.add(asking("dig", Request::read(&file)));
    refusals.add(asking("dig", Request::read(&other)));
    let text = tree.ask(&[Policy::new()], |stack| {
        stack.preset_allows = &|preset, request| {
            preset == Preset::Dns && request.path().is_some_and(|path| path.ends_with("data/one"))
        };
        let ended =
            Ended { name: Path::new("cmd"), status: Status::Exited(1), left: 0, without_capabilities: false };
        for_people(&explain(&refusals, stack), &ended, false)
    });
    assert_data_eq!(
        tree.printed(&text),
        str![[r#"
refused to cmd and what it started: 3 things; it ended with exit status 1
  --ro /home/u/data/two
      dig (7): read /home/u/data/two (read_file)
  --preset dns
      dig (7): make a UDP socket: seccomp closes UDP sockets, which this kernel's Landlock cannot restrict
      dig (7): read /home/u/data/one (read_file)
To allow it, add: --preset dns --ro /home/u/data/two
"#]]
    );
}
