//! What `palisade run --explain` says, against what the kernel logs of the same: both have to name the same refusals.
//! `PALISADE_BINARY` names the command, which is of another package.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;

use super::{Audit, LOG};
use crate::cases::exec::program;
use crate::cases::net::{self, Listener};
use crate::cases::unix::{self, abstract_server, connect_abstract};
use crate::harness::*;
use crate::sys;

const BINARY: &str = "PALISADE_BINARY";

/// What is done in a folder, by its paths, and where some of it is granted.
type Try = fn(&Path) -> Outcome;

/// What is done in two folders, of which one is granted.
const TRIES: [Try; 18] = [
    |dir| outcome(File::open(dir.join("file"))),
    |dir| outcome(OpenOptions::new().write(true).open(dir.join("file"))),
    |dir| outcome(OpenOptions::new().read(true).write(true).open(dir.join("file"))),
    |dir| outcome(OpenOptions::new().write(true).truncate(true).open(dir.join("file"))),
    |dir| outcome(nix::unistd::truncate(&dir.join("file"), 0)),
    |dir| outcome(File::create(dir.join("new"))),
    |dir| outcome(OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(dir)),
    |dir| outcome(fs::read_dir(dir)),
    |dir| outcome(fs::create_dir(dir.join("new folder"))),
    |dir| outcome(mkfifo(&dir.join("fifo"), Mode::S_IRWXU)),
    |dir| outcome(mknod(&dir.join("node"), SFlag::S_IFREG, Mode::S_IRWXU, 0)),
    |dir| outcome(symlink("file", dir.join("link"))),
    |dir| outcome(UnixDatagram::bind(dir.join("bound"))),
    |dir| outcome(fs::rename(dir.join("one"), dir.join("two"))),
    |dir| outcome(fs::remove_file(dir.join("removed"))),
    |dir| outcome(fs::remove_dir(dir.join("empty"))),
    |dir| outcome(Command::new(dir.join("program")).arg("+exit=0").status()),
    |dir| outcome(unix::connect(&dir.join("socket"))),
];

/// A helper: tries all of it, and ends with how many were refused. Its words are the folder, ports that are granted and
/// not, the number of a process outside, and the name of an abstract socket.
pub fn trier(words: &str) -> ExitCode {
    let words: Vec<&str> = words.split(':').collect();
    let number = |at: usize| words[at].parse::<u16>().expect("a number");
    let dir = Path::new(words[0]);
    let mut all: Vec<Outcome> = Vec::new();
    for folder in ["free", "closed"] {
        all.extend(TRIES.iter().map(|operation| operation(&dir.join(folder))));
    }
    for (from, to) in [("free", "closed"), ("closed", "free"), ("free", "also free")] {
        all.push(outcome(fs::rename(dir.join(from).join("moved"), dir.join(to).join("here"))));
        all.push(outcome(fs::hard_link(dir.join(from).join("file"), dir.join(to).join("linked"))));
    }
    for port in [number(1), number(2)] {
        all.push(outcome(net::connect(port)));
    }
    all.push(outcome(net::bind(number(2) ^ 1)));
    for port in [number(1), number(2)] {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0");
        all.push(outcome(udp.and_then(|udp| udp.connect(("127.0.0.1", port)))));
    }
    all.push(outcome(kill(Pid::from_raw(words[3].parse().expect("a number")), None)));
    all.push(outcome(connect_abstract(words[4].as_bytes())));
    let device = File::open("/dev/zero").map_err(|error| error.errno());
    all.push(outcome(device.and_then(|device| sys::ioctl(&device, libc::TCGETS))));
    all.push(outcome(mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>)));
    all.push(outcome(umount2("/proc", MntFlags::MNT_DETACH)));
    let refused = |outcome: &&Outcome| matches!(outcome, Err(Errno::EACCES | Errno::EPERM | Errno::EXDEV));
    ExitCode::from(all.iter().filter(refused).count() as u8)
}

/// What both name: a right, and what it is on.
type Pair = (String, String);

/// As the kernel has it: `fs.make_reg path="/tmp/closed"`, a pair for each right.
fn logged(record: &str) -> Vec<Pair> {
    let word = |name: &str| record.split_whitespace().find_map(|word| word.strip_prefix(name));
    let blockers = word("blockers=").expect("blockers").split(',');
    // The last field of these names: an address is before its port.
    let object = if let Some(path) = word("path=").or(word("name=")) {
        let path = text(path);
        // A file without a name, which is explained by its folder.
        match path.strip_suffix(" (deleted)").and_then(|path| path.rsplit_once('/')) {
            Some((folder, _)) => folder.to_owned(),
            None => path,
        }
    } else if let Some(port) = word("dest=").or(word("src=")) {
        port.to_owned()
    } else {
        word("opid=").expect("an object").to_owned()
    };
    blockers.map(|right| (right.to_owned(), object.clone())).collect()
}

/// A string of a record: in quotes, or as hexadecimal digits.
fn text(word: &str) -> String {
    if let Some(quoted) = word.strip_prefix('"') {
        return quoted.trim_end_matches('"').to_owned();
    }
    let digits: Vec<char> = word.chars().collect();
    let byte = |two: &[char]| u8::from_str_radix(&two.iter().collect::<String>(), 16).expect("digits");
    String::from_utf8_lossy(&digits.chunks(2).map(byte).collect::<Vec<_>>()).into_owned()
}

/// What of a refusal that is explained the kernel can have logged: on each object that it may name for it, each right.
struct Explained {
    rights: BTreeSet<String>,
    objects: Vec<String>,
    /// From one folder to another: of that the log names all that differs between the two, and not what is missing.
    moves: bool,
    said: String,
}

impl Explained {
    fn new(refusal: &Value, outside: &str, server: &str) -> Explained {
        let said = refusal.to_string();
        let text = |key: &str| refusal[key].as_str().unwrap_or_default().to_owned();
        let (asked, why) = (text("asked"), text("why"));
        let words: BTreeSet<&str> = why.split([' ', ',']).collect();
        let named = |(ours, theirs): &(&str, &str)| words.contains(ours).then(|| (*theirs).to_owned());
        let mut rights: BTreeSet<String> = RIGHTS.iter().filter_map(named).collect();
        let paths = [text("path"), text("other_path")].into_iter().filter(|path| !path.is_empty());
        let folder = |path: &String| Path::new(path).parent().map(|folder| folder.display().to_string());
        let mut objects: Vec<String> = paths.flat_map(|path| [folder(&path), Some(path)]).flatten().collect();
        objects.extend(asked.rsplit_once(" port ").map(|(_, port)| port.to_owned()));
        if asked.starts_with("signal") {
            objects.push(outside.to_owned());
        }
        if asked.contains("abstract") {
            objects.push(server.to_owned());
        }
        if asked.contains("mount") {
            rights.insert("fs.change_topology".to_owned());
        }
        let moves = refusal["other_path"].is_string();
        Explained { rights, objects, moves, said }
    }

    /// Whether records are about this, those of one refusal.
    fn matches(&self, records: &[Pair]) -> bool {
        match records.iter().any(|(right, _)| right == "fs.refer") {
            true => self.moves && records.iter().all(|(_, object)| self.objects.contains(object)),
            false => records.iter().all(|pair| self.is(pair)),
        }
    }

    fn is(&self, (right, object): &Pair) -> bool {
        let anywhere = right == "fs.change_topology";
        self.rights.contains(right) && (anywhere || self.objects.contains(object))
    }
}

/// Rights as the command names them, and as the log does.
const RIGHTS: [(&str, &str); 23] = [
    ("execute", "fs.execute"),
    ("write_file", "fs.write_file"),
    ("read_file", "fs.read_file"),
    ("read_dir", "fs.read_dir"),
    ("remove_dir", "fs.remove_dir"),
    ("remove_file", "fs.remove_file"),
    ("make_char", "fs.make_char"),
    ("make_dir", "fs.make_dir"),
    ("make_reg", "fs.make_reg"),
    ("make_sock", "fs.make_sock"),
    ("make_fifo", "fs.make_fifo"),
    ("make_block", "fs.make_block"),
    ("make_sym", "fs.make_sym"),
    ("refer", "fs.refer"),
    ("truncate", "fs.truncate"),
    ("ioctl_dev", "fs.ioctl_dev"),
    ("resolve_unix", "fs.resolve_unix"),
    ("bind_tcp", "net.bind_tcp"),
    ("connect_tcp", "net.connect_tcp"),
    ("bind_udp", "net.bind_udp"),
    ("connect_send_udp", "net.connect_send_udp"),
    ("abstract_unix_socket", "scope.abstract_unix_socket"),
    ("signal", "scope.signal"),
];

/// A tree of which half is granted.
fn tree(dir: &Path) {
    for folder in ["free", "also free", "closed"].map(|folder| dir.join(folder)) {
        mkdir(&folder);
        for file in ["file", "one", "removed", "moved"] {
            put(folder.join(file), "");
        }
        mkdir(folder.join("empty"));
        put_program(folder.join("program"), &fs::read("/proc/self/exe").expect("this program"));
    }
}

pub fn audit_has_what_is_explained_and_nothing_else() {
    let Some(palisade) = std::env::var_os(BINARY) else {
        panic!("set {BINARY}: this runs the command, which is of another package");
    };
    let audit = Audit::new();
    let dir = fresh().canonicalize().unwrap();
    tree(&dir);
    let sockets = ["free", "closed"].map(|folder| UnixListener::bind(dir.join(folder).join("socket")));
    let (granted, refused, idle, server) = (Listener::new(), Listener::new(), idle(), abstract_server());
    let name = String::from_utf8(server.name.clone()).unwrap();
    let (said, program) = (dir.join("said"), program());
    let records = audit.records(|| {
        let mut command = Command::new(&palisade);
        command.args(["run", "-q", "--best-effort", "--explain=exact", "--log", "all", "--json", "--output"]);
        command
            .arg(&said)
            .args(["--keep-caps", "sys_admin", "--ro", "/dev/zero", "--rwx"])
            .arg(dir.join("free"));
        command.arg("--rwx").arg(dir.join("also free")).arg("--unix").arg(dir.join("free/socket"));
        let port = granted.port().to_string();
        command.args(["--connect-tcp", &port, "--connect-udp", &port, "--"]).arg(&program.path);
        let (dir, other, idle) = (dir.display(), refused.port(), idle.0);
        command.arg(format!("+try={dir}:{port}:{other}:{idle}:{name}"));
        let output = command.output().expect("palisade can be run");
        let code = output.status.code().unwrap_or_default();
        let expected = if abi() == 0 { 0..1 } else { 15..50 };
        assert!(expected.contains(&code), "{code}: {}", String::from_utf8_lossy(&output.stderr));
    });
    drop(sockets);
    let text = fs::read_to_string(&said).expect("what is explained");
    let json: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    let all = json["refusals"].as_array().expect("refusals").iter();
    let ours = all.filter(|refusal| refusal["by"] == "landlock");
    let outside = idle.0.to_string();
    let explained: Vec<Explained> =
        ours.map(|refusal| Explained::new(refusal, &outside, &format!("\0{name}"))).collect();
    if abi() < LOG {
        assert_eq!(records, Vec::<String>::new());
        return;
    }
    // Those of one refusal have one number.
    let mut refusals: BTreeMap<&str, Vec<Pair>> = BTreeMap::new();
    for record in &records {
        let number = record.split_whitespace().next().expect("a number");
        refusals.entry(number).or_default().extend(logged(record));
    }
    let mut wrong = String::new();
    for (number, pairs) in &refusals {
        if !explained.iter().any(|explained| explained.matches(pairs)) {
            wrong += &format!("not explained: {number} {pairs:?}\n");
        }
    }
    for explained in &explained {
        if !refusals.values().any(|pairs| explained.matches(pairs)) {
            wrong += &format!("not logged: {}\n", explained.said);
        }
    }
    println!("{} records, {} refusals explained", records.len(), explained.len());
    assert!(wrong.is_empty() && explained.len() > 20, "{} explained:\n{wrong}", explained.len());
}
