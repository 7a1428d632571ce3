//! Rules as the text of a policy file, and into a file that is there: what stands in it stays as it is.

mod old;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use palisade::{Ports, Rights, printable};
use similar::TextDiff;

use self::old::{Item, Merge, Old, Section};
use crate::quote::is_harmful;
use crate::say::printable_line;

/// A rule, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub what: Says,
    /// Stands beside it; may be empty.
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// A preset, or a policy as `include` names it.
    Include(String),
    /// The path is absolute, without links and without `..`.
    Path { path: PathBuf, rights: Rights },
    /// One of the four rights on ports.
    Ports { right: Rights, ports: Ports },
    /// Rights that are left alone.
    Unrestricted(Rights),
}

/// What paths are written by, so that the policy holds for another user and on another machine.
#[derive(Clone, Debug)]
pub struct Names {
    /// Where the file will be: relative paths begin there.
    pub folder: PathBuf,
    /// Where palisade was called.
    pub dir: PathBuf,
    /// The variable PWD says the same.
    pub is_pwd: bool,
    pub home: Option<PathBuf>,
    /// Variables that are folders.
    pub variables: Vec<(String, PathBuf)>,
}

/// What a file has: the table (none at the top), the key, and what it grants. In the order of a new file.
const KEYS: [(&str, &str, Option<Rights>); 13] = [
    ("", "include", None),
    ("", "unrestricted", None),
    ("fs", "ro", Some(Rights::RO)),
    ("fs", "rx", Some(Rights::RX)),
    ("fs", "rw", Some(Rights::RW)),
    ("fs", "rwx", Some(Rights::RWX)),
    ("net", "connect_tcp", Some(Rights::CONNECT_TCP)),
    ("net", "bind_tcp", Some(Rights::BIND_TCP)),
    ("net", "connect_udp", Some(Rights::CONNECT_SEND_UDP)),
    ("net", "bind_udp", Some(Rights::BIND_UDP)),
    ("unix", "connect", Some(Rights::RESOLVE_UNIX)),
    ("scope", "signal", Some(Rights::SIGNAL)),
    ("scope", "abstract", Some(Rights::ABSTRACT)),
];

/// Where something is said: at a key, or in a table of `[[fs.allow]]` with these rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Key(&'static str),
    Allow(Rights),
}

/// The text of `old` with the rules added; where that is empty, a new file, which begins with `head` as a comment.
///
/// # Errors
///
/// A sentence: `old` is no TOML, or has another kind of value where a rule belongs.
pub fn write(old: &str, head: &str, lines: &[Line], names: &Names) -> Result<String, String> {
    // A mark in front that says that a file is UTF-8 has to stay there.
    if let Some(rest) = old.strip_prefix('\u{feff}') {
        return write(rest, "", lines, names).map(|text| format!("\u{feff}{text}"));
    }
    let head = head.lines().map(|line| format!("# {}", printable_line(line)).trim_end().to_owned() + "\n");
    let mut text = if old.is_empty() { head.collect() } else { old.to_owned() };
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    // Each line has an end while others are put between.
    let open = !text.is_empty() && !text.ends_with('\n');
    if open {
        text += newline;
    }
    let old = Old::read(&text)?;
    let mut merge = Merge::new(&old);
    for section in sections(lines, names) {
        merge.section(&section)?;
    }
    let text = merge.text(newline);
    Ok(if open { text.strip_suffix(newline).unwrap_or(&text).to_owned() } else { text })
}

/// What is added, table by table.
fn sections(lines: &[Line], names: &Names) -> Vec<Section> {
    let mut lists: Vec<(Place, Vec<Item>)> = Vec::new();
    for line in lines {
        for (place, value) in said(&line.what, names) {
            let item = Item { value, comment: printable_line(&line.comment) };
            match lists.iter_mut().find(|(same, _)| *same == place) {
                Some((_, items)) if items.iter().any(|there| there.value == item.value) => {}
                Some((_, items)) => items.push(item),
                None => lists.push((place, vec![item])),
            }
        }
    }
    let at = |key| lists.iter().find(|(place, _)| *place == Place::Key(key)).map(|(_, items)| items.clone());
    let keys = |table| KEYS.iter().filter(move |(of, ..)| *of == table);
    let allow = |(place, items): &(Place, Vec<Item>)| match place {
        Place::Allow(rights) => Some((*rights, items.clone())),
        Place::Key(_) => None,
    };
    let section = |table| Section {
        table,
        keys: keys(table).filter_map(|(_, key, _)| Some((*key, at(key)?))).collect(),
        allow: lists.iter().filter(|_| table == "fs").filter_map(allow).collect(),
    };
    ["", "fs", "net", "unix", "scope"].map(section).into()
}

/// What a rule is in a file: where it is said, and the value.
fn said(what: &Says, names: &Names) -> Vec<(Place, String)> {
    let key =
        |rights: Rights| KEYS.iter().find(|(.., of)| *of == Some(rights)).map(|(_, key, _)| Place::Key(key));
    match what {
        Says::Include(name) => vec![(Place::Key("include"), quoted(name))],
        Says::Path { path, rights } => {
            vec![(key(*rights).unwrap_or(Place::Allow(*rights)), word(path, names))]
        }
        Says::Ports { right, ports } => {
            let value = match ports.to_string() {
                number if number.parse::<u16>().is_ok() => number,
                range => quoted(&range),
            };
            key(*right).map(|place| (place, value)).into_iter().collect()
        }
        Says::Unrestricted(rights) => {
            let place = |name| match name {
                "signal" | "abstract" => (Place::Key(name), quoted("unrestricted")),
                _ => (Place::Key("unrestricted"), quoted(name)),
            };
            rights.short_names().into_iter().map(place).collect()
        }
    }
}

/// A path, by the first of these that fits: from the folder of the file on, or of the caller, from home, from a variable; or as
/// it is.
fn word(path: &Path, names: &Names) -> String {
    let Names { folder, dir, is_pwd, home, variables } = names;
    let project = below(path, dir).filter(|_| !home.as_ref().is_some_and(|home| home.starts_with(dir)));
    let (beside, apart) = if dir.starts_with(folder) { (project, None) } else { (None, project) };
    let relative = beside.and_then(|_| path.strip_prefix(folder).ok());
    let at_dir = || apart.filter(|_| *is_pwd).map(|rest| ("${PWD}".to_owned(), rest));
    let at_home = || home.as_ref().and_then(|home| Some(("~".to_owned(), below(path, home)?)));
    let at_variable = || {
        let longest = variables.iter().filter(|(_, folder)| below(path, folder).is_some());
        let (name, folder) = longest.max_by_key(|(_, folder)| folder.components().count())?;
        Some((format!("${{{name}}}"), below(path, folder)?))
    };
    let here = relative.map(|rest| (".".to_owned(), rest));
    let (start, rest) =
        here.or_else(at_dir).or_else(at_home).or_else(at_variable).unwrap_or((String::new(), path));
    let Some(text) = rest.to_str() else {
        // Nothing stands for something else in these.
        let path = if start == "." { rest } else { path };
        let bytes: Vec<_> = path.as_os_str().as_encoded_bytes().iter().map(u8::to_string).collect();
        return format!("{{ bytes = [{}] }}", bytes.join(", "));
    };
    let text = text.replace('$', "$$");
    quoted(&match (start.as_str(), text.as_str()) {
        ("", _) => text,
        (_, "") => start,
        (".", _) if !text.starts_with('~') => text,
        _ => format!("{start}/{text}"),
    })
}

/// What of a path comes below a folder, which has to be one, and not all there is.
fn below<'p>(path: &'p Path, folder: &Path) -> Option<&'p Path> {
    path.strip_prefix(folder).ok().filter(|_| folder.is_absolute() && folder.parent().is_some())
}

/// A text as TOML. What would deceive who reads the file is escaped.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        _ if is_harmful(c) => format!("\\U{:08X}", u32::from(c)),
        _ => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// What was changed, for people: a unified diff, of which each line can be printed. Empty where nothing was.
pub fn diff(old: &str, new: &str, name: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut text = String::new();
    for hunk in diff.unified_diff().iter_hunks() {
        if text.is_empty() {
            text = format!("--- {0}\n+++ {0}\n", printable(name));
        }
        text += &format!("{}\n", hunk.header());
        for change in hunk.iter_changes() {
            let line = change.value();
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            text += &format!("{}{}\n", change.tag(), printable_line(line));
            if change.missing_newline() {
                text += "\\ No newline at end of file\n";
            }
        }
    }
    text
}
