//! A round as a program in Python that anybody can run, and that needs nothing of this library.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::geteuid;
use palisade::{FileKind, Open, Rights};

use crate::round::{Layer, Operation, ROOT, Round, What};
use crate::world::Peers;

/// The same for all rounds; what is of one round stands in place of this line.
const PROGRAM: &str = include_str!("script.py");
const CASE: &str = "# THE CASE\n";

/// What a right is called, and the ABI that brought it. Its place is its bit. The library's table is not asked.
type Table = &'static [(&'static str, Rights, u32)];
const FS: Table = &[
    ("execute", Rights::EXECUTE, 1),
    ("write_file", Rights::WRITE_FILE, 1),
    ("read_file", Rights::READ_FILE, 1),
    ("read_dir", Rights::READ_DIR, 1),
    ("remove_dir", Rights::REMOVE_DIR, 1),
    ("remove_file", Rights::REMOVE_FILE, 1),
    ("make_char", Rights::MAKE_CHAR, 1),
    ("make_dir", Rights::MAKE_DIR, 1),
    ("make_reg", Rights::MAKE_REG, 1),
    ("make_sock", Rights::MAKE_SOCK, 1),
    ("make_fifo", Rights::MAKE_FIFO, 1),
    ("make_block", Rights::MAKE_BLOCK, 1),
    ("make_sym", Rights::MAKE_SYM, 1),
    ("refer", Rights::REFER, 2),
    ("truncate", Rights::TRUNCATE, 3),
    ("ioctl_dev", Rights::IOCTL_DEV, 5),
    ("resolve_unix", Rights::RESOLVE_UNIX, 9),
];
const NET: Table = &[
    ("bind_tcp", Rights::BIND_TCP, 4),
    ("connect_tcp", Rights::CONNECT_TCP, 4),
    ("bind_udp", Rights::BIND_UDP, 10),
    ("connect_send_udp", Rights::CONNECT_SEND_UDP, 10),
];
const SCOPES: Table =
    &[("abstract_unix_socket", Rights::ABSTRACT_UNIX_SOCKET, 6), ("signal", Rights::SIGNAL, 6)];

/// The program for a kernel of that ABI, 0 if it has no Landlock.
pub fn script(round: &Round, peers: &Peers, abi: u32) -> String {
    let mut case = String::new();
    let listener = peers.ports[0];
    let listens = round.operations.iter().any(|o| matches!(o, Operation::ConnectTcp(p) if *p == listener));
    let root = if geteuid().is_root() { "True" } else { "False" };
    let apart = if round.apart { "True  # a file system of its own" } else { "False" };
    let _ = writeln!(case, "ABI = {abi}\nAS_ROOT = {root}\nAPART = {apart}");
    let _ = writeln!(case, "LISTENER = {}  # a TCP port", if listens { listener } else { 0 });
    let comma = |item: String| format!("{item},");
    let tree = round.tree.iter().map(|(path, what)| comma(made(path, what))).collect();
    let layers = round.layers.iter().filter_map(|layer| told(layer, abi)).map(comma).collect();
    let operations = round.operations.iter().map(done).map(comma).collect();
    for (name, lines) in [("TREE", tree), ("LAYERS", layers), ("OPERATIONS", operations)] {
        let _ = writeln!(case, "{name} = {}", list(lines, ""));
    }
    PROGRAM.replace(CASE, &case)
}

/// Lines as a list that begins on a line with that indentation.
fn list(lines: Vec<String>, indentation: &str) -> String {
    if lines.is_empty() {
        return "[]".to_owned();
    }
    let lines: String = lines.into_iter().map(|line| format!("{indentation}    {line}\n")).collect();
    format!("[\n{lines}{indentation}]")
}

fn made(path: &Path, what: &What) -> String {
    let (kind, other) = match what {
        What::Dir => ("dir", None),
        What::File => ("file", None),
        What::Fifo => ("fifo", None),
        What::Socket => ("socket", None),
        What::Whiteout => ("whiteout", None),
        What::Symlink(target) => ("symlink", Some(target)),
        What::HardLink(old) => ("hard link", Some(old)),
        What::Bind(from) => ("bind mount", Some(from)),
    };
    let other = other.map_or(String::new(), |other| format!(", {}", bytes(other)));
    format!("(\"{kind}\", {}{other})", bytes(path))
}

/// What the library is to tell the kernel of a layer; nothing if nothing is handled.
fn told(layer: &Layer, abi: u32) -> Option<String> {
    let abi = layer.abi.map_or(abi, |of_policy| of_policy.min(abi));
    // A right to every port leaves ports alone.
    let every = layer.ports.iter().filter(|(_, first, last)| (*first, *last) == (0, u16::MAX));
    let free = every.fold(layer.free, |free, (right, ..)| free | *right);
    let handled = |table: Table| -> Vec<usize> {
        let handles = |at: &usize| table[*at].2 <= abi && !free.contains(table[*at].1);
        (0..table.len()).filter(handles).collect()
    };
    let (fs, net, scoped) = (handled(FS), handled(NET), handled(SCOPES));
    if [&fs, &net, &scoped].iter().all(|bits| bits.is_empty()) {
        return None;
    }
    let mut text = "{\n".to_owned();
    for (name, table, handled) in [("fs", FS, &fs), ("net", NET, &net), ("scoped", SCOPES, &scoped)] {
        let _ = writeln!(text, "        \"{name}\": {:#x},  # {}", number(handled), names(table, handled));
    }
    let paths = layer.rules.iter().filter_map(|(path, rights)| {
        let allowed: Vec<usize> = fs.iter().copied().filter(|at| rights.contains(FS[*at].1)).collect();
        let (bits, names) = (number(&allowed), names(FS, &allowed));
        (!allowed.is_empty()).then(|| format!("({}, {bits:#x}),  # {names}", bytes(path)))
    });
    let ports = layer.ports.iter().filter_map(|(right, first, last)| {
        let at = net.iter().copied().find(|at| NET[*at].1 == *right)?;
        Some(format!("({first}, {last}, {:#x}),  # {}", number(&[at]), NET[at].0))
    });
    for (name, rules) in [("paths", paths.collect()), ("ports", ports.collect())] {
        let _ = writeln!(text, "        \"{name}\": {},", list(rules, "        "));
    }
    Some(text + "    }")
}

fn number(bits: &[usize]) -> u64 {
    bits.iter().fold(0, |all, bit| all | 1 << bit)
}

/// In the shorter way.
fn names(table: Table, bits: &[usize]) -> String {
    let joined = |within: bool| {
        let all = (0..table.len()).filter(|at| bits.contains(at) == within).map(|at| table[at].0);
        all.collect::<Vec<_>>().join(", ")
    };
    match (bits.len(), table.len() - bits.len()) {
        (0, _) => "nothing".to_owned(),
        (_, 0) => "all".to_owned(),
        (those, others) if others < those => format!("all but {}", joined(false)),
        _ => joined(true),
    }
}

fn done(operation: &Operation) -> String {
    let (name, more) = match operation {
        Operation::Open(_, how) => ("open", flags(*how)),
        Operation::List(_) => ("open", "\"O_RDONLY\", \"O_DIRECTORY\"".to_owned()),
        Operation::Ioctl(_) => ("ioctl", String::new()),
        Operation::Make(_, FileKind::Dir) => ("mkdir", String::new()),
        Operation::Make(_, FileKind::Symlink) => ("symlink", String::new()),
        Operation::Make(_, kind) => {
            let kind = match kind {
                FileKind::Fifo => "\"S_IFIFO\"",
                FileKind::Char => "\"S_IFCHR\", 1, 3",
                FileKind::Whiteout => "\"S_IFCHR\", 0, 0",
                FileKind::Block => "\"S_IFBLK\", 250, 7",
                FileKind::Socket => "\"S_IFSOCK\"",
                _ => "\"S_IFREG\"",
            };
            ("mknod", kind.to_owned())
        }
        Operation::BindUnix(_) => ("bind_unix", String::new()),
        Operation::Unlink(_) => ("unlink", String::new()),
        Operation::Rmdir(_) => ("rmdir", String::new()),
        Operation::Rename(..) => ("rename", String::new()),
        Operation::Exchange(..) => ("exchange", String::new()),
        Operation::Link(..) => ("link", String::new()),
        Operation::Truncate(_) => ("truncate", String::new()),
        Operation::Execute(_) => ("execve", String::new()),
        Operation::BindTcp(port) => ("bind_tcp", port.to_string()),
        Operation::ConnectTcp(port) => ("connect_tcp", port.to_string()),
        Operation::BindUdp(port) => ("bind_udp", port.to_string()),
        Operation::ConnectUdp { port, send, bound } => {
            let bound = if *bound { ", \"bound\"" } else { "" };
            (if *send { "send_udp" } else { "connect_udp" }, format!("{port}{bound}"))
        }
        Operation::ConnectUnix(_) => ("connect_unix", String::new()),
        Operation::ConnectAbstract { stream: true } => ("connect_abstract_stream", String::new()),
        Operation::ConnectAbstract { stream: false } => ("connect_abstract_datagram", String::new()),
        Operation::Signal => ("signal_parent", String::new()),
    };
    let paths = operation.paths().into_iter().map(bytes);
    let all: Vec<String> = paths.chain((!more.is_empty()).then_some(more)).collect();
    // With a comma at the end also what stands alone is a tuple.
    format!("(\"{name}\", {})", all.join(", "))
}

fn flags(how: Open) -> String {
    let mode = match (how.contains(Open::READ), how.contains(Open::WRITE)) {
        (true, true) => "\"O_RDWR\"",
        (true, false) => "\"O_RDONLY\"",
        (false, true) => "\"O_WRONLY\"",
        // Neither to read nor to write.
        (false, false) => "\"O_WRONLY\", \"O_RDWR\"",
    };
    let others = [
        (Open::CREATE, "\"O_CREAT\""),
        (Open::EXCLUSIVE, "\"O_EXCL\""),
        (Open::TRUNCATE, "\"O_TRUNC\""),
        (Open::TEMPORARY, "\"O_TMPFILE\""),
        (Open::NO_FOLLOW, "\"O_NOFOLLOW\""),
        (Open::PATH, "\"O_PATH\""),
    ];
    let others = others.into_iter().filter(|(flag, _)| how.contains(*flag)).map(|(_, name)| name);
    std::iter::once(mode).chain(others).collect::<Vec<_>>().join(", ")
}

/// As Python writes it, whatever is in it.
fn bytes(path: &Path) -> String {
    let mut text = String::from("b\"");
    // As it is made absolute here, to the byte.
    if let Ok(rest) = path.strip_prefix(ROOT) {
        text += if rest.as_os_str().is_empty() { "@" } else { "@/" };
        escape(&mut text, rest);
    } else {
        escape(&mut text, path);
    }
    text + "\""
}

fn escape(text: &mut String, path: &Path) {
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
}
