//! What the model answers, by tables: for any kernel, whatever this one is. That it is true is what tests/model shows.
#![cfg(target_os = "linux")]

mod views;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use palisade::{
    Abi, Decision, Domain, FileKind, Kernel, Open, Policy, Ports, Request, Rights, fd, path, ro, rw,
};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

fn kernel(abi: u32) -> Kernel {
    Kernel::new(Abi::new(abi).unwrap())
}

/// A tree that the tests only look at.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir_in(std::env::temp_dir().canonicalize().unwrap()).unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["in", "in/sub", "out", "moved"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["in/file", "in/sub/file", "out/file", "moved/file"] {
            fs::write(at(name), "text").unwrap();
        }
        symlink("../out", at("in/to_out")).unwrap();
        symlink(at("in/sub"), at("out/to_in")).unwrap();
        symlink("nothing", at("in/dangling")).unwrap();
        fs::hard_link(at("in/file"), at("out/same")).unwrap();
        drop(UnixListener::bind(at("in/socket")).unwrap());
        Tree(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The answer, with the tree's path left out.
fn said(tree: &Tree, policy: &Policy, abi: u32, request: &Request) -> String {
    let decision = policy.clone().best_effort().decide(&kernel(abi), request).unwrap();
    let root = format!("{}/", tree.0.path().canonicalize().unwrap().display());
    decision.to_string().replace(&root, "").replace(&format!("{}/", tree.0.path().display()), "")
}

#[test]
fn a_file_is_allowed_by_what_is_above_it_as_the_kernel_walks() {
    let tree = Tree::new();
    let policy = Policy::new().ro(tree.at("in")).rw(tree.at("out/same"));
    for (name, answer) in [
        ("in/file", "allowed by rwc:out/same"),
        ("in/sub/../socket", "allowed by r:in"),
        ("in/sub/file", "allowed by r:in"),
        ("in/new", "allowed by r:in"),
        // Through a link it is what the link leads to.
        ("in/to_out/file", "refused (EACCES): read_file is missing on out/file"),
        ("out/to_in/file", "allowed by r:in"),
        ("out/file", "refused (EACCES): read_file is missing on out/file"),
        ("in/dangling", "allowed by r:in"),
        // A rule on a file goes with it under each of its names.
        ("out/same", "allowed by rwc:out/same"),
        ("in/file/x", "cannot say: in/file is no folder"),
    ] {
        let answered = said(&tree, &policy, 7, &Request::read(tree.at(name)));
        assert_eq!(answered, answer, "{name}");
    }
    // To the root and back, and not further than the root.
    let above = Policy::new().ro("/etc");
    for path in ["/usr/../etc/hostname", "/../../etc/hostname"] {
        assert_eq!(said(&tree, &above, 7, &Request::read(path)), "allowed by r:/etc");
    }
    // The roots of these have the same number, each in its file system.
    let answer = said(&tree, &Policy::new().ro("/proc"), 7, &Request::read("/sys"));
    assert_eq!(answer, "refused (EACCES): read_dir is missing on /sys");
    let slash = Request::open(tree.at("in/to_out/"), Open::READ | Open::NO_FOLLOW);
    assert_eq!(said(&tree, &policy, 7, &slash), "refused (EACCES): read_dir is missing on out");
    let answer = said(&tree, &policy, 7, &Request::truncate(tree.at("in/to_out/file")));
    assert_eq!(answer, "refused (EACCES): truncate is missing on out/file");
    let new = Request::open(tree.at("in/new"), Open::WRITE | Open::CREATE | Open::TRUNCATE);
    assert_eq!(said(&tree, &policy, 7, &new), "refused (EACCES): write_file,make_reg is missing on in");
    let own = Policy::new().rule(path(tree.at("in/file")).rights(Rights::READ_FILE));
    let answer = said(&tree, &own, 7, &Request::read(tree.at("out/same")));
    assert_eq!(answer, "allowed by read_file:in/file");
}

#[test]
fn each_action_needs_its_right() {
    let tree = Tree::new();
    let at = |name: &str| tree.at(name);
    for (request, needs) in [
        (Request::read(at("in/file")), "read_file is missing on in/file"),
        (Request::read(at("in")), "read_dir is missing on in"),
        (Request::list(at("in")), "read_dir is missing on in"),
        (Request::list(at("in/none")), "read_dir is missing on in"),
        (Request::write(at("in/file")), "write_file is missing on in/file"),
        (Request::write(at("in/new")), "write_file,make_reg is missing on in"),
        (Request::create(at("in/new")), "write_file,make_reg is missing on in"),
        (
            Request::open(at("in/file"), Open::READ | Open::TRUNCATE),
            "read_file,truncate is missing on in/file",
        ),
        (Request::open(at("in"), Open::TEMPORARY | Open::WRITE), "write_file is missing on in"),
        (Request::truncate(at("in/file")), "truncate is missing on in/file"),
        (Request::mkdir(at("in/new")), "make_dir is missing on in"),
        (Request::symlink(at("in/new")), "make_sym is missing on in"),
        (Request::mknod(at("in/new"), FileKind::Fifo), "make_fifo is missing on in"),
        (Request::mknod(at("in/new"), FileKind::Socket), "make_sock is missing on in"),
        (Request::mknod(at("in/new"), FileKind::Regular), "make_reg is missing on in"),
        (Request::mknod(at("in/new"), FileKind::Char), "make_char is missing on in"),
        (Request::mknod(at("in/new"), FileKind::Block), "make_block is missing on in"),
        (Request::unlink(at("in/file")), "remove_file is missing on in"),
        (Request::unlink(at("in/to_out")), "remove_file is missing on in"),
        (Request::rmdir(at("in/sub")), "remove_dir is missing on in"),
        (Request::exec(at("in/file")), "execute,read_file is missing on in/file"),
        (Request::ioctl("/dev/zero"), "ioctl_dev is missing on /dev/zero"),
        (Request::connect_unix(at("in/socket")), "resolve_unix is missing on in/socket"),
        (Request::rename(at("in/file"), at("in/new")), "remove_file,make_reg is missing on in"),
        (Request::rename(at("in/file"), at("in/socket")), "remove_file,make_reg is missing on in"),
        (
            Request::exchange(at("in/file"), at("in/sub")),
            "remove_dir,remove_file,make_dir,make_reg is missing on in",
        ),
        (Request::link(at("in/file"), at("in/new")), "make_reg is missing on in"),
        (Request::bind_tcp(80), "bind_tcp is missing for port 80"),
        (Request::connect_tcp(80), "connect_tcp is missing for port 80"),
        (Request::bind_udp(53), "bind_udp is missing for port 53"),
        (Request::connect_udp(53, true), "connect_send_udp is missing for port 53"),
        (
            Request::connect_udp(53, false),
            "connect_send_udp is missing for port 53, bind_udp is missing for port 0",
        ),
    ] {
        let answer = said(&tree, &Policy::new(), 11, &request);
        assert_eq!(answer, format!("refused (EACCES): {needs}"), "{request}");
    }
    for (request, scope) in
        [(Request::connect_abstract(), "abstract_unix_socket"), (Request::signal(), "signal")]
    {
        let answer = said(&tree, &Policy::new(), 11, &request);
        assert_eq!(answer, format!("refused (EPERM): {scope} has no exceptions"));
    }
    for never in [Request::open(at("in/file"), Open::PATH), Request::ioctl(at("in/file"))] {
        assert_eq!(said(&tree, &Policy::new(), 11, &never), "allowed: Landlock never refuses it", "{never}");
    }
}

#[test]
fn what_a_kernel_lacks_is_allowed_and_said_to_be_open() {
    let tree = Tree::new();
    for (abi, request, what) in [
        (2, Request::truncate(tree.at("in/file")), "truncate is not restricted: needs ABI 3 (Linux 6.2)"),
        (3, Request::bind_tcp(1), "bind_tcp is not restricted: needs ABI 4 (Linux 6.7)"),
        (4, Request::ioctl("/dev/zero"), "ioctl_dev is not restricted: needs ABI 5 (Linux 6.10)"),
        (5, Request::signal(), "signal is not restricted: needs ABI 6 (Linux 6.12)"),
        (
            8,
            Request::connect_unix(tree.at("in/socket")),
            "resolve_unix is not restricted: needs ABI 9 (Linux 7.1)",
        ),
        (9, Request::bind_udp(1), "bind_udp is not restricted: needs ABI 10 (Linux 7.2)"),
    ] {
        assert_eq!(said(&tree, &Policy::new(), abi, &request), format!("allowed; {what}"));
        assert!(said(&tree, &Policy::new(), abi + 1, &request).starts_with("refused"), "{request}");
    }
    let alone = Policy::new().unrestricted(Rights::SIGNAL);
    let answer = said(&tree, &alone, 7, &Request::signal());
    assert_eq!(answer, "allowed; signal is not restricted: the policy leaves it alone");
}

#[test]
fn a_move_needs_refer_on_both_sides_and_gains_nothing() {
    let tree = Tree::new();
    let rename = |from: &str, to: &str| Request::rename(tree.at(from), tree.at(to));
    let (c, rwc) = (Rights::C, Rights::RW);
    let of = |from: Rights, to: Rights| {
        Policy::new().rule(path(tree.at("in")).rights(from)).rule(path(tree.at("out")).rights(to))
    };
    let here = rename("in/file", "out/new");
    for (policy, abi, answer) in [
        (of(rwc, rwc), 7, "allowed by rwc:in, rwc:out"),
        (of(rwc, c), 7, "allowed by rwc:in, c:out"),
        // It would be writable there, and is not here.
        (of(c | Rights::R, rwc), 7, "refused (EXDEV): write_file,truncate is missing on in/file"),
        (of(rwc, c - Rights::REFER), 7, "refused (EXDEV): refer is missing on out"),
        // What may not be made or removed outweighs it.
        (of(rwc, Rights::R), 7, "refused (EACCES): make_reg,refer is missing on out"),
        (of(c - Rights::REMOVE_FILE, c), 7, "refused (EACCES): remove_file is missing on in"),
        // Before ABI 2 it is refused whatever is allowed.
        (of(rwc, rwc), 1, "refused (EXDEV): refer has no exceptions"),
        (of(rwc, Rights::R), 1, "refused (EXDEV): refer has no exceptions"),
        (of(rwc, rwc).unrestricted(Rights::REFER), 7, "refused (EXDEV): refer has no exceptions"),
        (
            of(rwc, rwc).unrestricted(Rights::all()),
            7,
            "allowed; remove_file is not restricted: the policy leaves it alone; make_reg is not restricted: the policy leaves it alone; refer is not restricted: the policy leaves it alone",
        ),
    ] {
        assert_eq!(said(&tree, &policy, abi, &here), answer);
    }
    // Within one folder none of that matters, on any kernel.
    for abi in [1, 2, 7] {
        let answer = said(&tree, &of(c, c), abi, &rename("in/file", "in/new"));
        assert!(answer.starts_with("allowed by "), "{answer}");
    }
    // A file that brings its rights with it gains nothing.
    let own = of(c, rwc).rule(rw(tree.at("in/file")));
    assert_eq!(said(&tree, &own, 7, &here), "allowed by c:in, rwc:out");
}

#[test]
fn a_layer_can_only_take_away() {
    let tree = Tree::new();
    let domain = |policies: &[Policy]| {
        let plans = policies.iter().map(|policy| policy.clone().best_effort().plan(&kernel(7)).unwrap());
        Domain::new(plans).unwrap()
    };
    let (wide, narrow) = (Policy::new().rw(tree.at("")), Policy::new().ro(tree.at("in")));
    let write = Request::write(tree.at("in/file"));
    for (layers, layer) in [
        (vec![wide.clone()], None),
        (vec![wide.clone(), narrow.clone()], Some(2)),
        (vec![narrow.clone(), wide.clone()], Some(1)),
        (vec![narrow.clone(), narrow.clone()], Some(1)),
    ] {
        assert_eq!(domain(&layers).decide(&write).layer(), layer);
    }
    // Each layer's own rule is named.
    let decision = domain(&[wide.clone(), Policy::new().rw(tree.at("in"))]).decide(&write);
    let named: Vec<_> = decision.rules().map(|granted| (granted.layer, granted.grant.to_string())).collect();
    let root = tree.0.path().display();
    assert_eq!(named, [(1, format!("rwc:{root}/")), (2, format!("rwc:{root}/in"))]);
    let plans = |count| (0..count).map(|_| narrow.clone().plan(&kernel(7)).unwrap());
    assert!(Domain::new(plans(16)).is_ok());
    assert!(Domain::new(plans(17)).unwrap_err().is_too_many_layers());
    // One that is not on files takes moves between folders away all the same.
    let ports = Policy::new().unrestricted([Rights::FS, Rights::DEVICES, Rights::UNIX]);
    let rename = Request::rename(tree.at("in/file"), tree.at("out/new"));
    assert!(domain(std::slice::from_ref(&wide)).decide(&rename).is_allowed());
    let decision = domain(&[wide.clone(), ports.clone()]).decide(&rename);
    assert_eq!((decision.errno(), decision.layer()), (Some(nix::libc::EXDEV), Some(2)));
    assert!(decision.no_suggestion().is_some_and(|why| why.contains("leaves refer alone")));
    assert!(domain(&[ports]).decide(&rename).is_allowed());
    // And one that handles nothing is none.
    let nothing = Policy::new().unrestricted(Rights::all());
    assert!(domain(&[wide, nothing]).decide(&rename).is_allowed());
}

#[test]
fn what_is_suggested_is_the_least_and_does_it() {
    let tree = Tree::new();
    let suggested = |decision: &Decision| -> Vec<String> {
        let grants = decision.suggestions().map(|suggestion| suggestion.grant.to_string());
        grants.map(|grant| grant.replace(&format!("{}/", tree.0.path().display()), "")).collect()
    };
    let decide = |policy: &Policy, request: &Request| {
        policy.clone().best_effort().decide(&kernel(11), request).unwrap()
    };
    for (policy, request, least) in [
        (Policy::new(), Request::read(tree.at("in/file")), vec!["read_file:in/file"]),
        (Policy::new(), Request::read(tree.at("in/to_out/file")), vec!["read_file:out/file"]),
        (Policy::new(), Request::write(tree.at("in/new")), vec!["write_file,make_reg:in"]),
        (Policy::new(), Request::read(tree.at("in/no/such/file")), vec!["read_file:in"]),
        (
            Policy::new().ro(tree.at("in")).rw(tree.at("out")),
            Request::rename(tree.at("in/file"), tree.at("out/new")),
            vec!["remove_file,refer:in", "write_file,truncate:in/file"],
        ),
        (
            Policy::new(),
            Request::rename(tree.at("in/sub/file"), tree.at("in/new")),
            // On the folder above first, which serves for both.
            vec!["make_reg,refer:in", "remove_file:in/sub"],
        ),
        (Policy::new(), Request::connect_udp(53, false), vec!["connect_send_udp 53", "bind_udp 0"]),
        (Policy::new(), Request::signal(), vec!["signal unrestricted"]),
        (Policy::new().ro("/"), Request::read(tree.at("in/file")), vec![]),
    ] {
        assert_eq!(suggested(&decide(&policy, &request)), least, "{request}");
    }
}

#[test]
fn what_would_fail_all_the_same_is_noted() {
    let tree = Tree::new();
    let policy = Policy::new().rw(tree.at("")).best_effort();
    for (request, note) in [
        (Request::read(tree.at("in/file")), None),
        (Request::read(tree.at("in/none")), Some("does not exist now")),
        (Request::unlink(tree.at("in/none")), Some("does not exist now")),
        (Request::rename(tree.at("in/none"), tree.at("out/new")), Some("does not exist now")),
        (Request::rename(tree.at("in/file"), tree.at("none/new")), Some("has to be made first")),
        (Request::write(tree.at("none/new")), Some("has to be made first")),
        (Request::write(tree.at("in/new")), None),
        (Request::write(tree.at("in")), Some("EISDIR")),
        (Request::list(tree.at("in/file")), Some("ENOTDIR")),
        (Request::truncate(tree.at("in")), Some("EISDIR")),
        (Request::truncate("/dev/null"), Some("EINVAL")),
        (Request::link(tree.at("in/sub"), tree.at("in/new")), Some("EPERM")),
        (Request::rename(tree.at("in/file"), tree.at("out")), Some("EISDIR")),
        (Request::rename(tree.at("in/sub"), tree.at("out/file")), Some("ENOTDIR")),
        (Request::exec(tree.at("in")), Some("EACCES")),
        (Request::connect_unix(tree.at("in/file")), Some("ECONNREFUSED")),
        (Request::mknod(tree.at("in/socket"), FileKind::Socket), Some("EADDRINUSE")),
        (Request::mkdir(tree.at("in/sub")), Some("exists already")),
        (Request::create(tree.at("in/file")), Some("exists already")),
        (Request::mkdir(tree.at("in/none/new")), Some("does not exist now")),
        (Request::open(tree.at("in/to_out"), Open::READ | Open::NO_FOLLOW), Some("is a symbolic link")),
        (Request::rename(tree.at("in"), tree.at("in/sub/in")), Some("one is within the other")),
        (Request::rename(tree.at("in/file"), Path::new("/proc/x")), Some("on different mounts")),
    ] {
        let decision = policy.decide(&kernel(7), &request).unwrap();
        match (decision.note(), note) {
            (None, None) => {}
            (Some(found), Some(note)) if found.contains(note) => {}
            (found, _) => panic!("{request}: {found:?}"),
        }
    }
}

#[test]
fn what_cannot_be_known_is_not_guessed() {
    let tree = Tree::new();
    let policy = Policy::new().ro("/").best_effort();
    symlink("b", tree.at("a")).unwrap();
    symlink("a", tree.at("b")).unwrap();
    for (path, why) in [
        (PathBuf::from("/proc/self/exe"), "leads elsewhere for each process"),
        (PathBuf::from("/dev/stdin"), "leads elsewhere for each process"),
        (tree.at("a"), "too many symbolic links"),
        (tree.at("in/file/x"), "is no folder"),
        (tree.at("in/none/../file"), "does not exist, and so nothing is beside it"),
        (PathBuf::new(), "the path is empty"),
        (PathBuf::from("/a\0b"), "cannot be looked at"),
    ] {
        let decision = policy.decide(&kernel(7), &Request::read(&path)).unwrap();
        assert!(decision.cannot_say().is_some_and(|said| said.contains(why)), "{path:?}: {decision}");
        assert!(!decision.is_allowed() && !decision.is_refused() && decision.errno().is_none());
    }
    // What the policy itself lacks is an error, as it is where it is enforced.
    let error = Policy::new().ro(tree.at("none")).decide(&kernel(7), &Request::signal()).unwrap_err();
    assert!(error.is_missing_path());
    assert!(Policy::new().decide(&kernel(3), &Request::signal()).unwrap_err().is_unsupported());
}

#[test]
fn a_whiteout_is_made_by_the_right_of_its_kernel() {
    let tree = Tree::new();
    let whiteout = Request::mknod(tree.at("in/new"), FileKind::Whiteout);
    for (errata, right) in [(Some(0b1000), "make_reg"), (Some(0b0111), "make_char"), (None, "make_char")] {
        let kernel = kernel(7).with_errata(errata);
        let decision = Policy::new().decide(&kernel, &whiteout).unwrap();
        assert!(decision.to_string().contains(&format!(": {right} is missing")), "{decision}");
    }
}

#[test]
fn ports_are_within_their_ranges() {
    let policy = Policy::new().connect_tcp(8000..=8010).bind_tcp(0).connect_udp(53).bind_udp(Ports::ANY);
    let allowed = |request: &Request| policy.decide(&kernel(11), request).unwrap().is_allowed();
    for (port, yes) in [(7999, false), (8000, true), (8010, true), (8011, false), (0, false)] {
        assert_eq!(allowed(&Request::connect_tcp(port)), yes, "{port}");
    }
    let decision = policy.decide(&kernel(11), &Request::connect_tcp(8005)).unwrap();
    assert_eq!(decision.to_string(), "allowed by connect_tcp 8000-8010");
    assert!(allowed(&Request::bind_tcp(0)) && !allowed(&Request::bind_tcp(1)));
    assert!(allowed(&Request::connect_udp(53, false)) && !allowed(&Request::connect_udp(54, true)));
    assert!(allowed(&Request::bind_udp(1)));
}

#[test]
fn a_rule_by_descriptor_counts_and_one_on_a_pipe_is_none() {
    let tree = Tree::new();
    let of = |descriptor: std::os::fd::OwnedFd, rights| Policy::new().rule(fd(descriptor).rights(rights));
    let folder = of(fs::File::open(tree.at("in")).unwrap().into(), Rights::RO);
    let decide = |policy: &Policy| policy.decide(&kernel(7), &Request::read(tree.at("in/file"))).unwrap();
    assert!(decide(&folder).is_allowed());
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(decide(&of(socket.into(), Rights::READ_FILE | Rights::MAKE_REG)).is_refused());
}

#[test]
fn as_many_links_are_followed_as_the_kernel_does() {
    let tree = Tree::new();
    fs::write(tree.at("link0"), "text").unwrap();
    for n in 1..=41 {
        symlink(format!("link{}", n - 1), tree.at(&format!("link{n}"))).unwrap();
    }
    let policy = Policy::new().ro(tree.at(""));
    let decide = |n| policy.decide(&kernel(7), &Request::read(tree.at(&format!("link{n}")))).unwrap();
    for n in [1, 39, 40, 41] {
        let opened = fs::read(tree.at(&format!("link{n}"))).is_ok();
        assert_eq!(decide(n).is_allowed(), opened, "{n}");
        assert_eq!(decide(n).cannot_say().is_some(), !opened, "{n}");
    }
}

#[test]
fn what_proc_has_of_a_process_is_not_said_to_be_allowed() {
    let policy = Policy::new().ro("/proc");
    let decide = |policy: &Policy, path: &str| policy.decide(&kernel(7), &Request::read(path)).unwrap();
    assert!(decide(&policy, "/proc/1/environ").cannot_say().is_some());
    assert!(decide(&policy, "/proc/version").is_allowed());
    assert!(decide(&Policy::new(), "/proc/1/environ").is_refused());
}

#[test]
fn optional_rules_and_presets_count_as_they_are_there() {
    let tree = Tree::new();
    let policy = Policy::new().rule(ro(tree.at("none")).optional()).preset(palisade::Preset::System);
    let decide = |path: &Path| policy.decide(&kernel(7), &Request::read(path)).unwrap();
    assert!(decide(&tree.at("none")).is_refused());
    let domain = Domain::new([policy.plan(&kernel(7)).unwrap()]).unwrap();
    assert_eq!(domain.skipped().collect::<Vec<_>>(), [tree.at("none")]);
    let decision = decide(Path::new("/etc/passwd"));
    let granted: Vec<_> = decision.rules().map(|granted| granted.preset).collect();
    assert_eq!(granted, [Some(palisade::Preset::System)]);
}

/// A policy on the tree: for each folder and file nothing or some rights, and what is left alone.
fn any_policy(tree: &Tree) -> impl Strategy<Value = Policy> + use<> {
    let places = ["", "in", "in/sub", "in/file", "out", "out/file", "moved"];
    let places: Vec<PathBuf> = places.into_iter().map(|name| tree.at(name)).collect();
    let rights = vec![
        Rights::RO,
        Rights::RW,
        Rights::RWX,
        Rights::W,
        Rights::C,
        Rights::R | Rights::MAKE_REG | Rights::REMOVE_FILE,
    ];
    let alone =
        vec![Rights::empty(), Rights::FS, Rights::REFER, Rights::NET, Rights::SIGNAL, Rights::TRUNCATE];
    let rules = vec((select(places), select(rights)), 0..5);
    let port = proptest::option::of(0..4_u16);
    (rules, select(alone), port, 1..=11_u32).prop_map(|(rules, alone, port, abi)| {
        let policy = Policy::new().abi(Abi::new(abi).unwrap()).unrestricted(alone);
        let policy = rules.into_iter().fold(policy, |policy, (place, rights)| {
            let rights = if place.is_dir() { rights } else { Rights::READ_FILE };
            policy.rule(path(place).rights(rights))
        });
        let policy = port.map_or(policy.clone(), |port| policy.connect_tcp(port));
        policy.require_nothing()
    })
}

fn requests(tree: &Tree) -> Vec<Request> {
    let at = |name: &str| tree.at(name);
    let mut all = vec![Request::signal(), Request::connect_abstract(), Request::bind_tcp(2)];
    all.extend((0..4).map(Request::connect_tcp));
    for name in ["in/file", "in/sub/file", "out/file", "in/to_out/file", "in/new"] {
        let path = at(name);
        all.extend([
            Request::read(&path),
            Request::write(&path),
            Request::create(&path),
            Request::unlink(&path),
        ]);
        all.extend([Request::truncate(&path), Request::rename(&path, at("moved/new"))]);
        all.extend([Request::rename(&path, at("out/new")), Request::link(&path, at("in/sub/new"))]);
    }
    all.extend(["in", "in/sub", "out"].map(|name| Request::list(at(name))));
    all
}

#[test]
fn adding_a_policy_never_removes_what_is_handled_and_a_ceiling_never_allows() {
    let tree = Tree::new();
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let strategy = (any_policy(&tree), any_policy(&tree), select(vec![1, 2, 4, 7, 11]));
    let requests = requests(&tree);
    let counts = [const { Cell::new(0) }; 3];
    TestRunner::new(config)
        .run(&strategy, |(one, two, abi)| {
            let kernel = kernel(abi);
            let domain = |policies: &[Policy]| {
                Domain::new(policies.iter().map(|policy| policy.plan(&kernel).unwrap())).unwrap()
            };
            let (alone, other) = (domain(from_ref(&one)), domain(from_ref(&two)));
            let ceiling = two.clone().ceiling();
            let within = domain(&[one.clone(), ceiling.clone()]);
            let turned = domain(&[ceiling.clone(), one.clone()]);
            let joined = domain(&[one.clone().join(two.clone())]);
            let joined_turned = domain(&[two.clone().join(one.clone())]);
            let above = domain(&[ceiling]);
            let handled = one.plan(&kernel).unwrap().enforced() | two.plan(&kernel).unwrap().enforced();
            for request in &requests {
                let ask = |domain: &Domain| domain.decide(request).is_allowed();
                let (alone, other, above) = (ask(&alone), ask(&other), ask(&above));
                // A ceiling takes away what it refuses, and no more but for moves, of which each layer is asked together.
                prop_assert!(!ask(&within) || (alone && above), "{request}");
                prop_assert_eq!(
                    within.decide(request).errno(),
                    turned.decide(request).errno(),
                    "{}",
                    request
                );
                // What takes one right and neither allows is not allowed by both together.
                let text = request.to_string();
                let takes_one =
                    !["write", "create", "rename", "link"].iter().any(|word| text.starts_with(word));
                prop_assert!(!takes_one || alone || other || !ask(&joined), "{text}");
                prop_assert_eq!(ask(&joined), ask(&joined_turned), "{}", request);
                let decision = joined.decide(request);
                let open: Rights = decision.unrestricted().map(|(right, _)| right).collect();
                prop_assert!(!open.intersects(handled), "{request}: {open} is open");
                for (count, counts_now) in counts.iter().zip([ask(&within), ask(&joined), !alone]) {
                    count.set(count.get() + u32::from(counts_now));
                }
            }
            Ok(())
        })
        .unwrap();
    // Else nothing was tried.
    assert!(counts.iter().all(|count| count.get() > 1000), "{counts:?}");
}
