//! What is said of what was learned: the head of the file, the comment of each rule, and a summary.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use palisade::{Ports, Rights, printable};

use super::fold::Fold;
use super::rules::{Granted, Learned};
use super::seen::{One, Seen};
use crate::propose::{self, World, secrets};
use crate::quote;
use crate::watch::Status;

/// So many programs are named.
const NAMED: usize = 4;

/// The first line of each file that learn has made, by which it knows its own.
pub const FIRST: &str = "Written by palisade learn.";

/// How a run went.
pub struct Ran<'a> {
    pub command: &'a [OsString],
    pub within: Vec<String>,
    pub status: Status,
    pub partial: bool,
    pub fold: Fold,
}

impl Ran<'_> {
    /// As the rest of a sentence about COMMAND.
    pub fn ended(&self) -> String {
        match self.status {
            Status::Exited(status) => format!("ended with exit status {status}"),
            Status::Killed(signal) => format!("was ended by signal {signal}"),
        }
    }

    fn confined(&self) -> String {
        match self.within.as_slice() {
            [] => "unconfined".to_owned(),
            within => format!("within {}", within.join(" and ")),
        }
    }
}

/// The head of a new file.
pub fn head(ran: &Ran<'_>) -> String {
    let words: Vec<&std::ffi::OsStr> = ran.command.iter().map(OsString::as_os_str).collect();
    let folds = match ran.fold {
        Fold::Exact => "on each file for itself, with the rights that were used (--fold exact)",
        Fold::Folder => "presets, and folders of which many files were used in the same way (--fold folder)",
    };
    let mut lines = vec![
        FIRST.to_owned(),
        format!("COMMAND: {}", quote::words(words)),
        format!("It ran {}, and {}.", ran.confined(), ran.ended()),
        format!("Rules are {folds}."),
        "What COMMAND itself needs to start (its file, interpreter and libraries) palisade run finds, and is not here.".to_owned(),
    ];
    if ran.partial {
        lines.push(PARTIAL.to_owned());
    }
    lines.join("\n")
}

/// The text with one more run in its head, if that is of learn's own making and something has been added.
pub fn with_run(old: &str, text: String, ran: &Ran<'_>) -> String {
    let end = old.find("\n\n").filter(|_| text != old && old.starts_with(&format!("# {FIRST}")));
    let Some(end) = end.filter(|end| text.get(..*end) == old.get(..*end)) else { return text };
    let words = quote::words(ran.command);
    let partial = if ran.partial { format!(" {PARTIAL}") } else { String::new() };
    let line = format!("\n# Then: {words}\n# It ran {}, and {}.{partial}", ran.confined(), ran.ended());
    format!("{}{line}{}", &text[..end], &text[end..])
}

/// What is said of a run that was ended.
pub const PARTIAL: &str = "PARTIAL: it was ended before it was done, so that something may be missing.";

/// What a rule is for: by whom, for what, how often.
pub fn comment(rule: &Learned, used: &[&One]) -> String {
    let mut programs: BTreeMap<String, u64> = BTreeMap::new();
    for n in rule.uses.keys() {
        for (program, times) in &used[*n].by {
            *programs.entry(name_of(program)).or_default() += times;
        }
    }
    let times: u64 = programs.values().sum();
    // Who used it most comes first.
    let mut names: Vec<(&String, &u64)> = programs.iter().collect();
    names.sort_by(|(name, times), (other, more)| more.cmp(times).then(name.cmp(other)));
    let more = names.len().saturating_sub(NAMED);
    let mut names: Vec<String> = names.into_iter().take(NAMED).map(|(name, _)| name.clone()).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let times = match times {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        times => format!("{times} times"),
    };
    let rights: Rights = rule.uses.values().copied().collect();
    format!("{}: {}, {times}", names.join(", "), in_words(rights))
}

/// What rights were used for, in words.
fn in_words(rights: Rights) -> String {
    let word = |name: &str| match name {
        "read_file" => "read",
        "read_dir" => "list",
        "write_file" | "truncate" => "write",
        "refer" => "move",
        "ioctl_dev" => "control",
        "bind_tcp" => "listen",
        "bind_udp" => "receive",
        "connect_send_udp" => "send",
        "resolve_unix" | "connect_tcp" | "abstract_unix_socket" => "connect",
        name if name.starts_with("make_") => "make",
        name if name.starts_with("remove_") => "delete",
        "execute" => "execute",
        _ => "signal",
    };
    let mut words: Vec<&str> = Vec::new();
    for name in rights.names().map(word) {
        if !words.contains(&name) {
            words.push(name);
        }
    }
    // Of descriptor 0, 1 or 2 by its name nothing is known but that.
    if words.is_empty() { "open".to_owned() } else { words.join(", ") }
}

fn name_of(program: &Path) -> String {
    printable(program.file_name().unwrap_or(program.as_os_str())).to_string()
}

/// How much was seen.
pub fn extent(seen: &Seen) -> String {
    let all = seen.all();
    let programs: BTreeSet<&Path> = all.iter().flat_map(|one| one.by.keys().map(|path| &**path)).collect();
    let uses = if seen.uses == 1 { "one use".to_owned() } else { format!("{} uses", seen.uses) };
    let programs =
        if programs.len() == 1 { "one program".to_owned() } else { format!("{} programs", programs.len()) };
    format!("{uses} of {} things by {programs}", all.len())
}

/// What stands out of what is granted: lines of a summary.
pub fn outstanding(
    rules: &[Learned],
    seen: &Seen,
    used: &[&One],
    world: &World<'_>,
    hides: &dyn Fn(&Path) -> bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in rules {
        let who = comment(rule, used);
        match &rule.what {
            Granted::Path { path, rights } => {
                if let Some(why) = about(path, *rights, world, hides) {
                    let names: Vec<String> =
                        seen.of_others.iter().map(|name| printable(name).to_string()).collect();
                    let of_others = match path == Path::new("/proc") && !names.is_empty() {
                        true => format!(", of which it used {} of its children or others", names.join(", ")),
                        false => String::new(),
                    };
                    let made = match made_in(path, rule, used) {
                        made if made.is_empty() => String::new(),
                        made => format!(
                            "; to make {}, which a rule can be on alone if it is there before",
                            made.join(", ")
                        ),
                    };
                    lines.push(format!("{}: {why}{of_others} ({who}{made})", printable(path)));
                }
            }
            Granted::Ports { right, ports } => lines.push(port(*right, *ports, &who)),
            Granted::Unrestricted(rights) => {
                let what = if rights.contains(Rights::SIGNAL) {
                    "every process of yours can be signalled"
                } else {
                    "abstract sockets of all programs can be connected to"
                };
                lines.push(format!("{what} ({who})"));
            }
            Granted::Preset(_) => {}
        }
    }
    lines
}

fn port(right: Rights, ports: Ports, who: &str) -> String {
    let what = match right {
        Rights::CONNECT_TCP => "TCP port {}, at any address",
        Rights::BIND_TCP => "listens on TCP port {}",
        Rights::CONNECT_SEND_UDP => "UDP port {}, at any address",
        _ => "receives on UDP port {}",
    };
    let first: u16 = ports.to_string().parse().unwrap_or(0);
    let chosen = match first {
        CHOSEN_FIRST.. if [Rights::CONNECT_TCP, Rights::CONNECT_SEND_UDP].contains(&right) => {
            "; the kernel chooses such numbers, and may choose another the next time: \"any\" allows that"
        }
        _ => "",
    };
    format!("{} ({who}){chosen}", what.replace("{}", &ports.to_string()))
}

/// From this port on the kernel chooses (/proc/sys/net/ipv4/ip_local_port_range), as long as nobody changes it.
const CHOSEN_FIRST: u16 = 32768;

/// What is to be said of a path that is granted, if anything is.
fn about(path: &Path, rights: Rights, world: &World<'_>, hides: &dyn Fn(&Path) -> bool) -> Option<String> {
    if let Some(what) = secrets::sensitive(path, rights, world) {
        return Some(what.to_owned());
    }
    let names_alone = Rights::READ_DIR.contains(rights);
    if path == Path::new("/proc") {
        let what =
            if names_alone { "which processes there are" } else { "what the kernel says of all processes" };
        return Some(what.to_owned());
    }
    if !(world.is_dir)(path) {
        return None;
    }
    let reads = rights.intersects(Rights::READ_FILE);
    if reads && (hides(path) || propose::holds_secret(path, world)) {
        return Some("all in it can be read, and there are secrets in it".to_owned());
    }
    if !propose::too_wide(path, world) {
        return None;
    }
    Some(match (names_alone, reads, rights.intersects(Rights::RWX - Rights::RX)) {
        (true, ..) => "the names of all files in it and below can be seen".to_owned(),
        (_, true, true) => "all in it can be read and changed".to_owned(),
        (_, true, false) => "all in it can be read".to_owned(),
        _ => "all in it can be changed".to_owned(),
    })
}

/// The names of some of what was made right in a folder.
fn made_in(folder: &Path, rule: &Learned, used: &[&One]) -> Vec<String> {
    let makes = rule.uses.iter().filter(|(_, rights)| rights.intersects(Rights::MAKE_REG));
    let requests = makes.flat_map(|(n, _)| &used[*n].asked);
    let paths = requests.filter_map(|request| request.other_path().or(request.path()));
    let names: BTreeSet<_> =
        paths.filter(|path| path.parent() == Some(folder)).filter_map(Path::file_name).collect();
    let more = names.len().saturating_sub(NAMED);
    let mut names: Vec<String> =
        names.into_iter().take(NAMED).map(|name| printable(name).to_string()).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names
}

/// Files that were there, and that COMMAND would have made otherwise: what is granted on each is gone with it.
pub fn kept(rules: &[Learned], seen: &Seen) -> Option<String> {
    let is_kept =
        |rule: &&Learned| matches!(&rule.what, Granted::Path { path, .. } if seen.kept.contains(path));
    let names = rules.iter().filter(is_kept).filter_map(|rule| match &rule.what {
        Granted::Path { path, .. } => Some(printable(path).to_string()),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).cloned().chain((more > 0).then(|| format!("{more} more")));
    let shown: Vec<String> = shown.collect();
    (!names.is_empty()).then(|| {
        format!(
            "{}: there already, so that the rule is on that alone; COMMAND may want to make it anew: learn where it is not there, for a rule on its folder",
            shown.join(", ")
        )
    })
}

/// How many rules there are, and of what, in words.
pub fn rules_in_words(rules: &[Learned]) -> String {
    let presets: Vec<&str> = rules
        .iter()
        .filter_map(|rule| match rule.what {
            Granted::Preset(preset) => Some(preset.name()),
            _ => None,
        })
        .collect();
    let count = |of: &dyn Fn(&Granted) -> bool| rules.iter().filter(|rule| of(&rule.what)).count();
    let writes = Rights::RWX - Rights::RX;
    let counts = [
        (
            count(&|what| matches!(what, Granted::Path { rights, .. } if !rights.intersects(writes))),
            "to read or execute",
        ),
        (
            count(&|what| matches!(what, Granted::Path { rights, .. } if rights.intersects(writes))),
            "to write",
        ),
        (count(&|what| matches!(what, Granted::Ports { .. })), "for ports"),
        (count(&|what| matches!(what, Granted::Unrestricted(_))), "for all processes"),
    ];
    let mut parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !presets.is_empty() {
        let name = if presets.len() == 1 { "the preset" } else { "the presets" };
        parts.push(format!("{name} {}", presets.join(", ")));
    }
    let rules = if rules.len() == 1 { "one rule".to_owned() } else { format!("{} rules", rules.len()) };
    format!("{rules}: {}", parts.join("; "))
}
