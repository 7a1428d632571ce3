//! What is written, to the letter; what it means is in `properties`.

mod properties;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use palisade::{PolicyFile, Rights};

use super::*;

fn names() -> Names {
    Names {
        folder: "/srv/app".into(),
        dir: "/srv/app".into(),
        is_pwd: true,
        home: Some("/home/u".into()),
        variables: vec![
            ("XDG_RUNTIME_DIR".into(), "/run/user/7".into()),
            ("XDG_CACHE_HOME".into(), "/run/user/7/cache".into()),
            ("XDG_DATA_HOME".into(), "/home/u/data".into()),
            ("XDG_STATE_HOME".into(), "/".into()),
        ],
    }
}

fn read(text: &str, names: &Names) -> PolicyFile {
    let variable = |name: &str| match name {
        "HOME" => names.home.as_ref().map(OsString::from),
        "PWD" => names.is_pwd.then(|| names.dir.clone().into()),
        _ => names.variables.iter().find(|(known, _)| known == name).map(|(_, folder)| folder.into()),
    };
    PolicyFile::parse(text, &names.folder, &variable).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn path(rights: &str, path: impl AsRef<OsStr>, comment: &str) -> Line {
    let rights = match rights {
        "ro" => Rights::RO,
        "rx" => Rights::RX,
        "rw" => Rights::RW,
        "rwx" => Rights::RWX,
        exact => exact.parse().unwrap(),
    };
    Line { what: Says::Path { path: path.as_ref().into(), rights }, comment: comment.into() }
}

fn ports(right: Rights, ports: &str, comment: &str) -> Line {
    Line { what: Says::Ports { right, ports: ports.parse().unwrap() }, comment: comment.into() }
}

fn include(name: &str, comment: &str) -> Line {
    Line { what: Says::Include(name.into()), comment: comment.into() }
}

fn unrestricted(names: &str, comment: &str) -> Line {
    let rights = names.split(',').map(|name| Rights::named(name).unwrap()).collect();
    Line { what: Says::Unrestricted(rights), comment: comment.into() }
}

fn merged(old: &str, lines: &[Line]) -> String {
    let new = write(old, "head", lines, &names()).unwrap_or_else(|error| panic!("{error}\n{old}"));
    read(&new, &names());
    new
}

#[test]
fn a_new_file_has_all_in_its_place() {
    let lines = [
        ports(Rights::CONNECT_TCP, "443", "git: 2 times"),
        path("ro", "/home/u/.gitconfig", "git: read, 3 times"),
        path("rw", "/srv/app", "git: written"),
        path("ro", "/etc/a-file-whose-name-is-longer-than-the-others", "cat: read"),
        path("rw,ioctl_dev", "/dev/tty", "git: written"),
        path("resolve_unix", "/run/user/7/bus", "git: connected"),
        include("system", "the programs"),
        unrestricted("signal,udp,tcp", "git: sent"),
        path("ro", "/etc/hosts", ""),
        path("read_dir", "/home/u", "sh: listed"),
        path("rwc,ioctl_dev", "/dev/pts", ""),
        path("rw,ioctl_dev", "/dev/ptmx", "sh"),
        ports(Rights::CONNECT_TCP, "8000-8010", ""),
        ports(Rights::BIND_UDP, "any", "ping"),
        path("rx", "/opt/tool", ""),
        path("rwx", "/srv/app/$x", ""),
        path("rwx", "/srv/app/~y", ""),
        path("rwx", OsStr::from_bytes(b"/srv/app/\xff"), "a name"),
        path("ro", "/etc/hosts", "once more"),
    ];
    let text = write("", "What git needs\n\nMade by hand", &lines, &names()).unwrap();
    read(&text, &names());
    assert_eq!(
        text,
        r#"# What git needs
#
# Made by hand

include = [
    "system",  # the programs
]
unrestricted = [
    "tcp",  # git: sent
    "udp",  # git: sent
]

[fs]
ro = [
    "~/.gitconfig",  # git: read, 3 times
    "/etc/a-file-whose-name-is-longer-than-the-others",  # cat: read
    "/etc/hosts",
]
rx = [
    "/opt/tool",
]
rw = [
    ".",  # git: written
]
rwx = [
    "$$x",
    "./~y",
    { bytes = [255] },  # a name
]

[[fs.allow]]
paths = [
    "/dev/tty",   # git: written
    "/dev/ptmx",  # sh
]
rights = "rw,ioctl_dev"

[[fs.allow]]
paths = [
    "~",  # sh: listed
]
rights = "read_dir"

[[fs.allow]]
paths = [
    "/dev/pts",
]
rights = "rwc,ioctl_dev"

[net]
connect_tcp = [
    443,          # git: 2 times
    "8000-8010",
]
bind_udp = [
    "any",  # ping
]

[unix]
connect = [
    "${XDG_RUNTIME_DIR}/bus",  # git: connected
]

[scope]
signal = "unrestricted"  # git: sent
"#
    );
}

#[test]
fn a_path_is_written_by_the_first_name_that_fits() {
    let project = names();
    let elsewhere = Names { folder: "/etc/palisade".into(), ..names() };
    let unsaid = Names { is_pwd: false, ..elsewhere.clone() };
    let below = Names { dir: "/srv/app/sub".into(), ..names() };
    let home = Names { folder: "/home/u".into(), dir: "/home/u".into(), ..names() };
    let above = Names { folder: "/home".into(), dir: "/home".into(), ..names() };
    let root = Names { folder: "/".into(), dir: "/".into(), home: Some("/".into()), ..names() };
    let nobody = Names { home: None, variables: Vec::new(), ..names() };
    let unset = Names { dir: "".into(), home: Some("".into()), ..names() };
    for (names, path, written) in [
        (&project, "/srv/app", r#"".""#),
        (&project, "/srv/app/src/a", r#""src/a""#),
        (&project, "/srv/application", r#""/srv/application""#),
        (&project, "/srv", r#""/srv""#),
        (&project, "/", r#""/""#),
        (&project, "/srv/app/~", r#""./~""#),
        (&project, "/srv/app/~/a", r#""./~/a""#),
        (&project, "/srv/app/${HOME}", r#""$${HOME}""#),
        (&project, "/a$b", r#""/a$$b""#),
        (&project, "/home/u", r#""~""#),
        (&project, "/home/u/~/$", r#""~/~/$$""#),
        (&project, "/home/user", r#""/home/user""#),
        (&project, "/home/u/data/a", r#""~/data/a""#),
        (&project, "/run/user/7", r#""${XDG_RUNTIME_DIR}""#),
        (&project, "/run/user/7/bus", r#""${XDG_RUNTIME_DIR}/bus""#),
        (&project, "/run/user/7/cache/a", r#""${XDG_CACHE_HOME}/a""#),
        (&project, "/run/user/77", r#""/run/user/77""#),
        (&project, "/a\"b\\c\n\u{202e}\u{e0041}", r#""/a\"b\\c\U0000000A\U0000202E\U000E0041""#),
        (&elsewhere, "/srv/app/src", r#""${PWD}/src""#),
        (&elsewhere, "/srv/app", r#""${PWD}""#),
        (&elsewhere, "/srv/apps", r#""/srv/apps""#),
        (&unsaid, "/srv/app/src", r#""/srv/app/src""#),
        (&below, "/srv/app/sub", r#""sub""#),
        (&below, "/srv/app/sub/a", r#""sub/a""#),
        (&below, "/srv/app/a", r#""/srv/app/a""#),
        (&home, "/home/u/a", r#""~/a""#),
        (&above, "/home/u/a", r#""~/a""#),
        (&above, "/home/v", r#""/home/v""#),
        (&root, "/a", r#""/a""#),
        (&nobody, "/srv/app/a", r#""a""#),
        (&nobody, "/home/u", r#""/home/u""#),
        (&unset, "/srv/app/a", r#""/srv/app/a""#),
    ] {
        assert_eq!(word(Path::new(path), names), written, "{path}");
    }
    for (path, written) in [
        (b"/srv/app/\xff/~".as_slice(), "{ bytes = [255, 47, 126] }"),
        (b"/home/u/\xff", "{ bytes = [47, 104, 111, 109, 101, 47, 117, 47, 255] }"),
    ] {
        assert_eq!(word(Path::new(OsStr::from_bytes(path)), &project), written);
    }
}

/// Before, what is added, after.
type Case = (&'static str, Vec<Line>, &'static str);

fn check(cases: impl IntoIterator<Item = Case>) {
    for (before, lines, after) in cases {
        let new = merged(before, &lines);
        assert_eq!(new, after, "{new}");
        assert_eq!(merged(&new, &lines), new, "nothing is added twice");
        // The same where lines end as on Windows, and where the last has no end.
        let windows = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(merged(&windows(before), &lines), windows(after));
        if let Some(open) = before.strip_suffix('\n').filter(|open| !open.ends_with('\n')) {
            assert_eq!(merged(open, &lines), after.strip_suffix('\n').unwrap(), "without a newline");
        }
    }
}

#[test]
fn lists_are_made_longer_however_they_are_written() {
    let x = || vec![path("ro", "/x", "cat"), path("ro", "/y", "")];
    check([
        ("[fs]\nro = []\n", x(), "[fs]\nro = [\n    \"/x\",  # cat\n    \"/y\",\n]\n"),
        ("[fs]\nro = [ ] # c\n", x(), "[fs]\nro = [\n    \"/x\",  # cat\n    \"/y\",\n] # c\n"),
        ("[fs]\nro = [\n]\n", x(), "[fs]\nro = [\n    \"/x\",  # cat\n    \"/y\",\n]\n"),
        (
            "[fs]\nro = [ # none\n  # at all\n  ]\n",
            x(),
            "[fs]\nro = [ # none\n  # at all\n    \"/x\",  # cat\n    \"/y\",\n  ]\n",
        ),
        (
            "[fs]\nro = [\"/a\", '/b']  # both\n",
            x(),
            "[fs]\nro = [\n    \"/a\", '/b',\n    \"/x\",  # cat\n    \"/y\",\n]  # both\n",
        ),
        (
            "[fs]\n  ro = [ \"/a\", ]\nrw = [\"/w\"]\n",
            x(),
            "[fs]\n  ro = [\n      \"/a\",\n      \"/x\",  # cat\n      \"/y\",\n  ]\nrw = [\"/w\"]\n",
        ),
        (
            "[fs]\nro = [\n\t\"/a\", # one, two\n\t\"/b\"   # ]\n\t# last\n]\n",
            x(),
            "[fs]\nro = [\n\t\"/a\", # one, two\n\t\"/b\",   # ]\n\t# last\n\t\"/x\",  # cat\n\t\"/y\",\n]\n",
        ),
        (
            "[fs]\nro = [\n  \"/a\",\n\n  \"/b\", # b\n\n]\n",
            x(),
            "[fs]\nro = [\n  \"/a\",\n\n  \"/b\", # b\n\n  \"/x\",  # cat\n  \"/y\",\n]\n",
        ),
        (
            "[fs]\nro = [\"/a\",\n      \"/b#,\"]\n",
            x(),
            "[fs]\nro = [\"/a\",\n      \"/b#,\",\n      \"/x\",  # cat\n      \"/y\",\n]\n",
        ),
        (
            "[fs]\nro = [\n  \"/a\" # a, b\n  , ]\n",
            x(),
            "[fs]\nro = [\n  \"/a\" # a, b\n  ,\n  \"/x\",  # cat\n  \"/y\",\n]\n",
        ),
        (
            "[fs]\nro = [\"/a\", # a\n\"/b\" # b\n] # c\n",
            x(),
            "[fs]\nro = [\"/a\", # a\n\"/b\", # b\n\"/x\",  # cat\n\"/y\",\n] # c\n",
        ),
        (
            "[fs]\nro = \"/a\" # a\nrw = \"/w\"\n",
            x(),
            "[fs]\nro = [\n    \"/a\", # a\n    \"/x\",  # cat\n    \"/y\",\n]\nrw = \"/w\"\n",
        ),
        (
            "[fs]\nro = { bytes = [47, 255] }\n",
            x(),
            "[fs]\nro = [\n    { bytes = [47, 255] },\n    \"/x\",  # cat\n    \"/y\",\n]\n",
        ),
        ("[fs]\nro = [\"/y\", '''/x''']\n", x(), "[fs]\nro = [\"/y\", '''/x''']\n"),
        ("[fs]\nro = \"\\u002fx\"\n", vec![path("ro", "/x", "cat")], "[fs]\nro = \"\\u002fx\"\n"),
        (
            "[fs]\nro = [ { bytes = [47, 0xff] }, {bytes=[46,47,255]}]\n",
            vec![path("ro", OsStr::from_bytes(b"/\xff"), ""), path("ro", "/z", "")],
            "[fs]\nro = [\n    { bytes = [47, 0xff] }, {bytes=[46,47,255]},\n    { bytes = [47, 255] },\n    \"/z\",\n]\n",
        ),
    ]);
}

#[test]
fn includes_ports_and_what_is_left_alone_are_added_too() {
    check([
        (
            "include = \"system\" # all\n",
            vec![include("system", "x"), include("tmp", "y")],
            "include = [\n    \"system\", # all\n    \"tmp\",  # y\n]\n",
        ),
        (
            "unrestricted = ['udp']\nabi = 6\n\n# The net\n[net]\nconnect_tcp = 443\nbind_tcp=\"any\"\n",
            vec![
                unrestricted("udp,signal,tcp", "all"),
                include("tmp", ""),
                ports(Rights::CONNECT_TCP, "443", ""),
                ports(Rights::CONNECT_TCP, "80", "wget"),
                ports(Rights::BIND_TCP, "any", ""),
                ports(Rights::BIND_UDP, "5-7", ""),
            ],
            "unrestricted = [\n    'udp',\n    \"tcp\",  # all\n]\nabi = 6\ninclude = [\n    \"tmp\",\n]\n\n# The net\n[net]\n\
             connect_tcp = [\n    443,\n    80,  # wget\n]\nbind_tcp=\"any\"\nbind_udp = [\n    \"5-7\",\n]\n\n\
             [scope]\nsignal = \"unrestricted\"  # all\n",
        ),
        (
            "[scope]\nsignal = \"unrestricted\"\n[env]\nclear = true\n",
            vec![unrestricted("signal", "a"), unrestricted("abstract", "b")],
            "[scope]\nsignal = \"unrestricted\"\nabstract = \"unrestricted\"  # b\n[env]\nclear = true\n",
        ),
    ]);
}

#[test]
fn tables_and_keys_that_are_missing_come_after_what_is_there() {
    let all = || {
        vec![
            include("tmp", "i"),
            path("ro", "/x", "r"),
            path("rw", "/y", ""),
            path("read_file", "/z", "a"),
            ports(Rights::BIND_TCP, "1", ""),
        ]
    };
    let net = "[net]\nbind_tcp = [\n    1,\n]\n";
    let keys = "ro = [\n    \"/x\",  # r\n]\nrw = [\n    \"/y\",\n]\n";
    let allow = "[[fs.allow]]\npaths = [\n    \"/z\",  # a\n]\nrights = \"read_file\"\n";
    let dotted = "fs.ro = [\n    \"/x\",  # r\n]\nfs.rw = [\n    \"/y\",\n]\n";
    let include = "include = [\n    \"tmp\",  # i\n]\n";
    let case = |before: &str, after: &str| {
        let after =
            [("INCLUDE", include), ("NET", net), ("DOTTED", dotted), ("KEYS", keys), ("ALLOW", allow)]
                .iter()
                .fold(after.to_owned(), |text, (name, what)| text.replace(&format!("{name}\n"), what));
        let (before, after) = (before.to_owned().leak(), after.leak());
        (&*before, all(), &*after)
    };
    check([
        case("# Nothing.\n", "# Nothing.\n\nINCLUDE\n\n[fs]\nKEYS\n\nALLOW\n\nNET\n"),
        case("# Nothing.\n\n", "# Nothing.\n\nINCLUDE\n\n[fs]\nKEYS\n\nALLOW\n\nNET\n"),
        case("abi = 6 # a\n# b\n", "abi = 6 # a\nINCLUDE\n# b\n\n[fs]\nKEYS\n\nALLOW\n\nNET\n"),
        case(
            "# Mine.\n\n# Env\n[env] # c\nclear = true\n",
            "# Mine.\n\nINCLUDE\n\n# Env\n[env] # c\nclear = true\n\n[fs]\nKEYS\n\nALLOW\n\nNET\n",
        ),
        case("# Mine.\n[env]\n", "# Mine.\nINCLUDE\n\n[env]\n\n[fs]\nKEYS\n\nALLOW\n\nNET\n"),
        // The keys of a table stay with it, and the comment of the next with that.
        case(
            "[fs] # mine\n# Net\n[net]\n",
            "INCLUDE\n\n[fs] # mine\nKEYS\n\nALLOW\n# Net\n[net]\nbind_tcp = [\n    1,\n]\n",
        ),
        case(
            "[fs]\nrx = [\n \"/a\"] # a\n# rwx = []\n\n[env]\n",
            "INCLUDE\n\n[fs]\nrx = [\n \"/a\"] # a\nKEYS\n# rwx = []\n\nALLOW\n\n[env]\n\nNET\n",
        ),
        case(
            "[[fs.allow]]\npaths = \"/a\" # a\nrights = \"r\"\n\n[env]\nclear = true\n",
            "INCLUDE\n\n[[fs.allow]]\npaths = \"/a\" # a\nrights = \"r\"\n\nALLOW\n\n[env]\nclear = true\n\n[fs]\nKEYS\n\nNET\n",
        ),
        // Those with the same rights stand together, but not with what is optional.
        case(
            "include = \"tmp\"\n[[fs.allow]]\nrights = \"read_file\" # f\npaths = \"/a\" # a\n[[fs.allow]]\npaths = []\n\
             rights = \"x\"\n[net]\nbind_tcp = 1\n[fs]\nro = \"/x\"\nrw = \"/y\"\n",
            "include = \"tmp\"\n[[fs.allow]]\nrights = \"read_file\" # f\npaths = [\n    \"/a\", # a\n    \"/z\",  # a\n]\n\
             [[fs.allow]]\npaths = []\nrights = \"x\"\n[net]\nbind_tcp = 1\n[fs]\nro = \"/x\"\nrw = \"/y\"\n",
        ),
        case(
            "include = \"tmp\"\n[[fs.allow]]\npaths = []\nrights = \"read_file\"\noptional = true\n",
            "include = \"tmp\"\n[[fs.allow]]\npaths = []\nrights = \"read_file\"\noptional = true\n\nALLOW\n\n[fs]\nKEYS\n\nNET\n",
        ),
        // One table alone.
        case(
            "[ fs.allow ] # one\npaths = \"/a\"\nrights = \"x\"\n",
            "INCLUDE\n\n[[ fs.allow ]] # one\npaths = \"/a\"\nrights = \"x\"\n\nALLOW\n\n[fs]\nKEYS\n\nNET\n",
        ),
        // Dotted keys.
        case(
            "fs.rx = \"/a\" # a\nabi = 6\n[env]\n",
            "fs.rx = \"/a\" # a\nabi = 6\nINCLUDE\nDOTTED\n[env]\n\nALLOW\n\nNET\n",
        ),
        case(
            "fs.allow = [{ paths = [], rights = \"x\" }]\n",
            "fs.allow = [\n    { paths = [], rights = \"x\" },\n    { paths = [\n        \"/z\",  # a\n    ], rights = \"read_file\" },\n]\n\
             INCLUDE\nDOTTED\n\nNET\n",
        ),
        case(
            "fs.ro = \"/a\" # a\n",
            "fs.ro = [\n    \"/a\", # a\n    \"/x\",  # r\n]\nINCLUDE\nfs.rw = [\n    \"/y\",\n]\n\nALLOW\n\nNET\n",
        ),
        // Braces.
        case(
            "fs = { allow.paths = [], allow.rights = \"read_file\" }\n",
            "fs = { allow.paths = [\n    \"/z\",  # a\n], allow.rights = \"read_file\", ro = [\n    \"/x\",  # r\n], rw = [\n    \
             \"/y\",\n] }\nINCLUDE\n\nNET\n",
        ),
        case(
            "fs = {} # f\n",
            "fs = { ro = [\n    \"/x\",  # r\n], rw = [\n    \"/y\",\n], allow = [\n    { paths = [\n        \"/z\",  # a\n    ], \
             rights = \"read_file\" },\n] } # f\nINCLUDE\n\nNET\n",
        ),
        case(
            "fs = { ro = \"/a\", allow = { paths = '/b', rights = \"read_file\" } }\n",
            "fs = { ro = [\n    \"/a\",\n    \"/x\",  # r\n], allow = { paths = [\n    '/b',\n    \"/z\",  # a\n], rights = \
             \"read_file\" }, rw = [\n    \"/y\",\n] }\nINCLUDE\n\nNET\n",
        ),
        case(
            "fs = { allow = { paths = [], rights = \"x\" }, }\n",
            "fs = { allow = [\n    { paths = [], rights = \"x\" },\n    { paths = [\n        \"/z\",  # a\n    ], rights = \
             \"read_file\" },\n], ro = [\n    \"/x\",  # r\n], rw = [\n    \"/y\",\n] }\nINCLUDE\n\nNET\n",
        ),
        case(
            "fs = {\n  rx = [] # x, y\n  # z\n}\n",
            "fs = {\n  rx = [], # x, y\n  # z\n  ro = [\n      \"/x\",  # r\n  ],\n  rw = [\n      \"/y\",\n  ],\n  allow = [\n      \
             { paths = [\n          \"/z\",  # a\n      ], rights = \"read_file\" },\n  ],\n}\nINCLUDE\n\nNET\n",
        ),
        case(
            "net = { connect_tcp = [1], \"bind_tcp\" = 2 }\n\"fs\".'ro' = '/x'\n",
            "net = { connect_tcp = [1], \"bind_tcp\" = [\n    2,\n    1,\n] }\n\"fs\".'ro' = '/x'\nINCLUDE\nfs.rw = [\n    \"/y\",\n]\n\nALLOW\n",
        ),
    ]);
}

#[test]
fn nothing_to_add_changes_nothing() {
    for text in [
        "# a\r\n[fs]\nro=[ '/a' ,]",
        "",
        "\n\n",
        "\u{feff}abi = 6\n",
        "fs.ro = []\nabi = 6\nfs.rw = []",
        "  [fs]\n\trx = \"\"\"\n/a\"\"\"  ",
    ] {
        assert_eq!(write(text, "", &[], &names()).unwrap(), text);
    }
    assert_eq!(write("", "a\u{202e}\n\n", &[], &names()).unwrap(), "# a\\u{202e}\n#\n");
    assert_eq!(
        merged("\u{feff}[net]\n", &[include("tmp", "")]),
        "\u{feff}include = [\n    \"tmp\",\n]\n\n[net]\n"
    );
}

#[test]
fn what_a_file_says_otherwise_is_an_error() {
    let lines = [
        include("tmp", ""),
        path("ro", "/x", ""),
        path("x", "/x", ""),
        ports(Rights::BIND_TCP, "1", ""),
        unrestricted("signal", ""),
    ];
    for (old, error) in [
        ("abi = 6\n[fs\n", "line 2 is no TOML: unclosed table, expected `]`"),
        ("\ninclude = 5", "line 2: include is no list"),
        ("fs = 5", "line 1: fs is no table"),
        ("[[fs]]\nro = []", "line 1: fs is no table"),
        ("\n[fs]\nro = 5", "line 3: fs.ro is no list"),
        ("[[fs.ro]]\nbytes = [47]", "line 1: fs.ro is no list"),
        ("[fs.ro]\nbytes = [47]", "line 1: fs.ro is no list"),
        ("[fs]\nallow = true", "line 2: fs.allow is no list"),
        (
            "fs.allow.paths = []\nfs.allow.rights = \"r\"",
            "line 1: fs.allow is written with dots; write it as [[fs.allow]] to add to it",
        ),
        ("[net]\nbind_tcp = true", "line 2: net.bind_tcp is no list"),
        ("[scope]\nsignal = \"on\"", "line 2: scope.signal is not \"unrestricted\""),
    ] {
        assert_eq!(write(old, "", &lines, &names()).unwrap_err(), error);
    }
}

#[test]
fn a_difference_is_shown_line_by_line_and_can_be_printed() {
    assert_eq!(diff("a\nb\n", "a\nb\n", "p.toml"), "");
    let old: String = (1..=12).map(|n| format!("{n}\n")).collect();
    let new = old.replace("2\n3", "2\n\u{1b}[2J\u{202e}\n3").replace("12\n", "twelve");
    assert_eq!(
        diff(&old, &new, "p\n.toml"),
        "--- p\\n.toml\n+++ p\\n.toml\n@@ -1,5 +1,6 @@\n 1\n 2\n+\\u{1b}[2J\\u{202e}\n 3\n 4\n 5\n@@ -9,4 +10,4 @@\n 9\n 10\n 11\n\
         -12\n+twelve\n\\ No newline at end of file\n"
    );
    assert_eq!(diff("", "a\r\n", "p"), "--- p\n+++ p\n@@ -0,0 +1 @@\n+a\n");
}
