//! Requests as another process sees them: where their paths lead, and what is answered.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use palisade::{Open, Policy, Request, View};

use super::{Tree, kernel, requests, said};

/// Where a request's paths lead, with the tree's path left out.
fn led(tree: &Tree, request: &Request) -> [Option<String>; 2] {
    let root = tree.0.path().canonicalize().unwrap();
    [request.path(), request.other_path()].map(|path| {
        let path = path?;
        Some(path.strip_prefix(&root).unwrap_or(path).display().to_string())
    })
}

/// A process in the tree's `in`, which it has as its root, that is somewhere else or there.
fn jailed(tree: &Tree, dir: &str) -> View {
    View::new(tree.at("in"), tree.at(dir))
}

#[test]
fn another_process_sees_a_path_from_its_own_root_and_folder() {
    let tree = Tree::new();
    symlink("/sub/file", tree.at("in/absolute")).unwrap();
    symlink("/../sub", tree.at("in/sub/above")).unwrap();
    let beyond = format!("in{}/sub", tree.at("in").display());
    for (dir, path, leads) in [
        ("in", "/file", "in/file"),
        ("in", "/sub/../none/x", "in/none/x"),
        ("in/sub", "file", "in/sub/file"),
        ("in/sub", "./none", "in/sub/none"),
        ("in/sub", "../file", "in/file"),
        ("in/sub", "/file", "in/file"),
        ("out", "/sub/file", "in/sub/file"),
        // Not above its root.
        ("in/sub", "../../../file", "in/file"),
        ("in", "..", "in"),
        ("in", "/..", "in"),
        ("in", "/../out/file", "in/out/file"),
        ("in", "to_out/file", "in/out/file"),
        // Links begin at its root, wherever they are.
        ("in", "absolute", "in/sub/file"),
        ("in/sub", "above/file", "in/sub/file"),
        ("out", "to_in", &beyond),
        // Outside of its root it gets to the real one, but not through its own.
        ("out", "file", "out/file"),
        ("out", "../moved/file", "moved/file"),
        ("out", "../../../../../../../../etc/passwd", "/etc/passwd"),
        ("", "in/../out/file", "in/out/file"),
        ("out", "../in/to_out/file", "in/out/file"),
    ] {
        let request = Request::read(path);
        let seen = request.clone().seen_from(&jailed(&tree, dir));
        assert_eq!(led(&tree, &seen), [Some(leads.to_owned()), None], "{path} in {dir}");
        assert_eq!(seen.to_string(), request.to_string());
    }
    let outside = View::new("/", tree.at("in"));
    for (path, leads) in [("to_out/file", "out/file"), ("../out/to_in/file", "in/sub/file")] {
        assert_eq!(led(&tree, &Request::read(path).seen_from(&outside))[0].as_deref(), Some(leads));
    }
    // It is also said how many links are too many there.
    symlink("/loop", tree.at("in/loop")).unwrap();
    let policy = Policy::new();
    let answer = said(&tree, &policy, 7, &Request::read("/loop").seen_from(&jailed(&tree, "in")));
    assert_eq!(answer, "cannot say: in/loop: too many symbolic links");
}

#[test]
fn rules_above_the_root_of_another_process_count() {
    let tree = Tree::new();
    let refused = "refused (EACCES): read_file is missing on in/sub/file";
    for (rule, answer) in
        [("in/sub", "allowed by r:in/sub"), ("in", "allowed by r:in"), ("out", refused), ("moved", refused)]
    {
        for (dir, path) in [("out", "/sub/file"), ("in", "sub/file"), ("in/sub", "file")] {
            let request = Request::read(path).seen_from(&jailed(&tree, dir));
            assert_eq!(said(&tree, &Policy::new().ro(tree.at(rule)), 7, &request), answer, "{rule} {path}");
        }
    }
    let request = Request::mkdir("/sub/new").seen_from(&jailed(&tree, "in"));
    assert!(Policy::new().rw("/").decide(&kernel(7), &request).unwrap().is_allowed());
    let decision = Policy::new().decide(&kernel(7), &request).unwrap();
    let suggested: Vec<_> = decision.suggestions().map(|granted| granted.grant.to_string()).collect();
    assert_eq!(suggested, [format!("make_dir:{}", tree.at("in/sub").display())]);
}

#[test]
fn links_are_followed_for_another_process_as_for_this_one() {
    let tree = Tree::new();
    symlink("/sub/file", tree.at("in/link")).unwrap();
    symlink("/sub", tree.at("in/folder")).unwrap();
    let (file, link) = ("in/sub/file", "in/link");
    for (request, leads) in [
        (Request::read("/link"), [Some(file), None]),
        (Request::write("/link"), [Some(file), None]),
        (Request::ioctl("/link"), [Some(file), None]),
        (Request::truncate("/link"), [Some(file), None]),
        (Request::exec("/link"), [Some(file), None]),
        (Request::connect_unix("/link"), [Some(file), None]),
        (Request::open("/folder/", Open::READ | Open::NO_FOLLOW), [Some("in/sub"), None]),
        (Request::open("/link", Open::READ | Open::NO_FOLLOW), [Some(link), None]),
        (Request::create("/link"), [Some(link), None]),
        (Request::mkdir("/link"), [Some(link), None]),
        (Request::symlink("/link"), [Some(link), None]),
        (Request::unlink("link"), [Some(link), None]),
        (Request::rmdir("link"), [Some(link), None]),
        (Request::rename("/link", "folder/new"), [Some(link), Some("in/sub/new")]),
        (Request::exchange("/folder/file", "/link"), [Some(file), Some(link)]),
        (Request::link("link", "/folder/../new"), [Some(link), Some("in/new")]),
        (Request::rename("/file/x", "link"), [None, Some(link)]),
        (Request::rename("link", "/file/x"), [Some(link), None]),
        (Request::connect_tcp(1), [None, None]),
        (Request::signal(), [None, None]),
    ] {
        let seen = request.clone().seen_from(&jailed(&tree, "in"));
        let leads = leads.map(|path| path.map(str::to_owned));
        assert_eq!(led(&tree, &seen), leads, "{request}");
    }
    // From where this process is, nothing is different.
    let here = View::new("/", std::env::current_dir().unwrap());
    let names = ["Cargo.toml", "../none", "/proc/version", "/proc/self/exe", "/dev/stdin"].map(Request::read);
    for request in requests(&tree).into_iter().chain(names) {
        assert_eq!(request.clone().seen_from(&here), request);
    }
}

#[test]
fn a_root_or_folder_that_is_not_there_is_no_guess() {
    let tree = Tree::new();
    symlink(tree.at("in"), tree.at("link")).unwrap();
    let at = |name: &str| tree.at(name);
    let (gone, file, no_link) = ("none does not exist", "in/file is no folder", "link is a symbolic link");
    let policy = Policy::new().rw("/");
    let is = |request: &str, root: PathBuf, dir: PathBuf, why: Option<&str>| {
        let request = Request::read(request).seen_from(&View::new(root, dir));
        let answer = said(&tree, &policy, 7, &request);
        let why = why.map(|why| format!("is not where it was said to be: {why}"));
        assert_eq!(answer.contains("cannot say"), why.is_some(), "{answer}");
        assert!(answer.ends_with(&why.unwrap_or_default()), "{answer}");
        assert_eq!(request.path().is_none(), answer.contains("cannot say"));
    };
    for (name, why) in
        [("none", gone), ("none/x", gone), ("in/file", file), ("link", no_link), ("link/sub", no_link)]
    {
        // Where relative paths begin matters to them alone.
        is("x", at("in"), at(name), Some(why));
        is("/x", at("in"), at(name), None);
        is("x", at(name), at("in"), Some(why));
        is("/x", at(name), at("in"), Some(why));
    }
    for dir in ["", "in", "(unreachable)/in", "/usr/../usr"] {
        let why = format!("{dir} is no whole path");
        let why = if dir.is_empty() { "is no whole path" } else { &why };
        let request = Request::read("x").seen_from(&View::new("/", dir));
        assert!(said(&tree, &policy, 7, &request).contains(why), "{request}");
    }
}

#[test]
fn proc_has_links_for_the_process_that_is_seen() {
    let tree = Tree::new();
    let this = std::process::id();
    let view = View::new("/", tree.at("in")).of_process(this);
    let opened = |name: &str, flags| {
        let flags = OFlag::O_CLOEXEC | flags;
        nix::fcntl::open(&tree.at(name), flags, nix::sys::stat::Mode::empty()).unwrap()
    };
    let number = |descriptor: &OwnedFd| descriptor.as_raw_fd();
    symlink("/sub/file", tree.at("in/absolute")).unwrap();
    symlink("/proc/self/cwd", tree.at("in/via")).unwrap();
    let (file, same) = (opened("in/sub/file", OFlag::O_RDONLY), opened("out/same", OFlag::O_RDONLY));
    let folder = opened("in/sub", OFlag::O_PATH);
    let link = opened("in/to_out", OFlag::O_PATH | OFlag::O_NOFOLLOW);
    let own = std::env::current_exe().unwrap().canonicalize().unwrap().display().to_string();
    let here = std::env::current_dir().unwrap().join("Cargo.toml").display().to_string();
    for (path, leads) in [
        ("/proc/self/status".to_owned(), format!("/proc/{this}/status")),
        ("/proc/thread-self/comm".to_owned(), format!("/proc/{this}/task/{this}/comm")),
        ("/proc/mounts".to_owned(), format!("/proc/{this}/mounts")),
        ("/proc/self/exe".to_owned(), own.clone()),
        (format!("/proc/{this}/exe"), own),
        ("/proc/self/cwd/Cargo.toml".to_owned(), here.clone()),
        ("via/Cargo.toml".to_owned(), here),
        ("/proc/self/root/etc/passwd".to_owned(), "/etc/passwd".to_owned()),
        (format!("/proc/self/fd/{}", number(&file)), "in/sub/file".to_owned()),
        (format!("/proc/self/task/../fd/{}", number(&file)), "in/sub/file".to_owned()),
        // Of two names the one that it was opened by.
        (format!("/proc/self/fd/{}", number(&same)), "out/same".to_owned()),
        (format!("/proc/self/fd/{}/../file", number(&folder)), "in/file".to_owned()),
        // What it leads to is not followed any further.
        (format!("/proc/self/fd/{}", number(&link)), "in/to_out".to_owned()),
    ] {
        let seen = Request::read(&path).seen_from(&view);
        assert_eq!(led(&tree, &seen)[0].as_ref(), Some(&leads), "{path}");
        let unknown = Request::read(&path).seen_from(&View::new("/", tree.at("in")));
        let said = said(&tree, &Policy::new(), 7, &unknown);
        assert!(said.starts_with("cannot say") && said.ends_with("for each process"), "{said}");
    }
    // A link that is not followed is itself.
    for (path, leads) in
        [("/proc/self", "/proc/self".to_owned()), ("/proc/self/exe", format!("/proc/{this}/exe"))]
    {
        assert_eq!(led(&tree, &Request::unlink(path).seen_from(&view))[0].as_ref(), Some(&leads));
    }
    let to_file = Request::read(format!("/proc/self/fd/{}", number(&file))).seen_from(&view);
    assert_eq!(said(&tree, &Policy::new().ro(tree.at("in/sub")), 7, &to_file), "allowed by r:in/sub");
    assert!(said(&tree, &Policy::new().ro("/proc"), 7, &to_file).starts_with("refused"));
    // By a descriptor into its root, where it is held again.
    let jailed = View::new(tree.at("in"), format!("/proc/{this}/fd")).of_process(this);
    let number = number(&folder);
    for (path, leads) in
        [(format!("{number}/../../file"), "in/file"), (format!("{number}/../absolute"), "in/sub/file")]
    {
        assert_eq!(led(&tree, &Request::read(path).seen_from(&jailed))[0].as_deref(), Some(leads));
    }
}

#[test]
fn what_has_no_path_in_proc_is_not_guessed() {
    let tree = Tree::new();
    let this = std::process::id();
    let view = View::new("/", "/").of_process(this);
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    let names = ["in/gone", "in/replaced", "in/gone_folder/file"];
    fs::create_dir(tree.at("in/gone_folder")).unwrap();
    let [gone, replaced, below] = names.map(|name| fs::File::create(tree.at(name)).unwrap());
    fs::remove_file(tree.at("in/gone")).unwrap();
    fs::remove_file(tree.at("in/replaced")).unwrap();
    fs::write(tree.at("in/replaced (deleted)"), "").unwrap();
    fs::rename(tree.at("in/gone_folder"), tree.at("moved/to")).unwrap();
    let policy = Policy::new().rw("/");
    let answer = |view: &View, path: &str| said(&tree, &policy, 7, &Request::read(path).seen_from(view));
    for (descriptor, text) in [
        (reader.as_raw_fd(), "pipe:["),
        (gone.as_raw_fd(), "in/gone (deleted), which is no path to it"),
        (replaced.as_raw_fd(), "in/replaced (deleted), which is no path to it"),
    ] {
        let link = format!("/proc/self/fd/{descriptor}");
        let answer = answer(&view, &link);
        let begins = format!("cannot say: /proc/{this}/fd/{descriptor} leads to ");
        assert!(answer.starts_with(&begins) && answer.contains(text), "{answer}");
    }
    // A file that was moved has its new path there.
    let moved = Request::read(format!("/proc/self/fd/{}", below.as_raw_fd())).seen_from(&view);
    assert_eq!(led(&tree, &moved)[0].as_deref(), Some("moved/to/file"));

    // What is another's may be closed to it, whatever rules allow; what they refuse is refused.
    let waits = Command::new("cat").stdin(Stdio::piped()).current_dir(tree.at("in")).spawn();
    let mut other = waits.unwrap();
    let (id, guards) =
        (other.id(), "cannot say: rules allow it, but what /proc has of a process has other guards too");
    let path = format!("/proc/{id}/cwd/file");
    let place = Request::open(&path, Open::PATH);
    for request in [Request::read(&path), place, Request::rename(&path, tree.at("in/new"))] {
        let request = request.seen_from(&view);
        assert_eq!(led(&tree, &request)[0].as_deref(), Some("in/file"));
        assert_eq!(said(&tree, &policy, 7, &request), guards, "{request}");
    }
    let refused = said(&tree, &Policy::new().ro("/proc"), 7, &Request::read(&path).seen_from(&view));
    assert_eq!(refused, "refused (EACCES): read_file is missing on in/file");
    let its_own = View::new("/", "/").of_process(id);
    assert_eq!(answer(&its_own, &path), "allowed by rwc:/");
    assert_eq!(answer(&its_own, "/proc/self/cwd/file"), "allowed by rwc:/");
    assert_eq!(answer(&its_own, "/proc/self/../version"), "allowed by rwc:/");
    other.kill().unwrap();
    other.wait().unwrap();
    let ended = format!("cannot say: /proc/self: process {id} has ended");
    assert_eq!(answer(&its_own, "/proc/self/status"), ended);
}
