//! Where files and paths are: names of policies, what is trusted of a file, and what a path as it is written stands for.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use super::parse::Word;
use crate::error::quoted;
use crate::preset::Preset;
use crate::printable;
use crate::text::nearest;

/// The most that is read of a file, in bytes.
const MOST: u64 = 1 << 20;

/// What is there for everybody, and cannot be shadowed: the name, and the file.
pub(super) const BUILT_IN: &[(&str, &str)] = &[
    ("build", include_str!("../../policies/build.toml")),
    ("offline", include_str!("../../policies/offline.toml")),
    ("readonly", include_str!("../../policies/readonly.toml")),
];

/// What was wrong, and what to do.
pub(super) type Refused = (String, String);

fn refused<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Refused> {
    Err((message.into(), hint.into()))
}

/// The variables of the environment.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A policy file, read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// As it is shown.
    pub name: String,
    pub text: String,
    /// The folder that relative paths are relative to, without links.
    pub folder: PathBuf,
    /// Where the file is, without links; none of one that is built in.
    pub path: Option<PathBuf>,
    /// What decides that this is read: the file, and the names by which it was found, or would be found before.
    pub decides: Vec<PathBuf>,
}

impl Source {
    /// Whether both are the same file.
    pub fn is(&self, other: &Source) -> bool {
        self.path == other.path && (self.path.is_some() || self.name == other.name)
    }
}

/// What a name or the path of a file leads to.
pub(super) enum Found {
    Policy(Source),
    Preset(Preset),
}

/// Whether a word is a name, and not a file.
pub(super) fn is_name(word: &OsStr) -> bool {
    let bytes = word.as_encoded_bytes();
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// What a name stands for: what is built in, a preset, a file of the user's, a file of the system's.
pub(super) fn named(name: &str, beside: &Path, variables: Variables<'_>) -> Result<Found, Refused> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        let folder = std::env::current_dir().and_then(|dir| dir.canonicalize());
        let folder =
            folder.map_err(|error| ("the current folder cannot be found".to_owned(), error.to_string()))?;
        let (name, text) = (name_of_built_in(name), (*text).to_owned());
        return Ok(Found::Policy(Source { name, text, folder, path: None, decides: Vec::new() }));
    }
    if let Some(preset) = Preset::ALL.into_iter().find(|preset| preset.name() == name) {
        return Ok(Found::Preset(preset));
    }
    let folders = folders(variables);
    for folder in &folders {
        let path = folder.join(format!("{name}.toml"));
        // Where that cannot be seen it is not taken to be missing, or another would take its place.
        let found = path.symlink_metadata();
        let missing =
            found.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory));
        if !missing {
            let named = |(message, hint)| (format!("{} {message}", printable(&path)), hint);
            let mut source = open(&path).map_err(named)?;
            let before = folders.iter().take_while(|other| *other != folder);
            source.decides.extend(before.map(|folder| resolved(&folder.join(format!("{name}.toml")))));
            return Ok(Found::Policy(source));
        }
    }
    let file = format!("{name}.toml");
    if beside.join(&file).exists() {
        let hint = format!("there is a file {file}: a file is given as ./{file}");
        return refused(format!("there is no policy named {}", quoted(name)), hint);
    }
    let known = names(variables);
    let hint = nearest(name, known.iter().map(String::as_str)).unwrap_or_else(|| {
        let folders: Vec<_> = folders.iter().map(|folder| printable(folder).to_string()).collect();
        format!(
            "known are {}; looked for {name}.toml in {}; a file is given as ./{name}",
            known.join(", "),
            folders.join(" and ")
        )
    });
    refused(format!("there is no policy named {}", quoted(name)), hint)
}

/// What a built-in policy is called where it is shown.
pub(super) fn name_of_built_in(name: &str) -> String {
    format!("the built-in policy {name}")
}

/// Every name that there is, in the order in which they are looked up.
pub(super) fn names(variables: Variables<'_>) -> Vec<String> {
    let mut names: Vec<String> = super::PolicyFile::built_in_names().map(str::to_owned).collect();
    let files = folders(variables).into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut found: Vec<String> = files
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
        .filter(|name| is_name(OsStr::new(name)))
        .collect();
    found.sort();
    for name in found {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The user's folder of policies, and the system's.
pub(super) fn folders(variables: Variables<'_>) -> Vec<PathBuf> {
    let of_user = match variables("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute())
    {
        Some(folder) => Some(folder),
        None => folder_of("HOME", variables).ok().map(|home| home.join(".config")),
    };
    let of_user = of_user.map(|folder| folder.join("palisade"));
    of_user.into_iter().chain([PathBuf::from("/etc/palisade")]).collect()
}

/// Opens and reads a file that can be trusted: nobody else could have written it.
pub(super) fn open(path: &Path) -> Result<Source, Refused> {
    let not_opened = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            ("does not exist".to_owned(), meant_instead_of(path).unwrap_or_default())
        }
        _ => (format!("cannot be read: {error}"), String::new()),
    };
    // Once before, for to open a device alone may do something.
    regular(&std::fs::metadata(path).map_err(not_opened)?)?;
    let mut file = open_to_read(path).map_err(not_opened)?;
    let opened = file.metadata().map_err(not_opened)?;
    regular(&opened)?;
    if opened.len() > MOST {
        return refused("is larger than 1 MiB, the most that a policy can have", "");
    }
    check_owner(&opened)?;
    // Links are followed by the kernel, which has its own guards; this is to know where they led.
    let real = path.canonicalize().map_err(not_opened)?;
    if !is_same(&opened, &real) {
        return refused("was replaced while it was read", "try again");
    }
    let mut bytes = Vec::new();
    (&mut file).take(MOST + 1).read_to_end(&mut bytes).map_err(not_opened)?;
    if bytes.len() as u64 > MOST {
        return refused("is larger than 1 MiB, the most that a policy can have", "");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let hint = "TOML is UTF-8; a path that is not can be written as { bytes = [47, 255] }";
        (format!("is no UTF-8, in line {line}"), hint.to_owned())
    })?;
    let folder = real.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut decides = vec![real.clone()];
    let given = std::path::absolute(path).unwrap_or_default();
    if let (Some(above), Some(name)) = (given.parent(), given.file_name()) {
        decides.push(resolved(above).join(name));
    }
    Ok(Source { name: printable(path).to_string(), text, folder, path: Some(real), decides })
}

/// What may be meant by the path of a file that is not there.
fn meant_instead_of(path: &Path) -> Option<String> {
    let given = path.to_str()?;
    if given.contains(',') {
        return Some("each policy is given by an option of its own, as -p system -p dns".to_owned());
    }
    let folder = path.parent()?;
    let near = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(near).ok()?.flatten();
    let file = path.file_name()?.to_str()?;
    // Not itself, a link that leads nowhere; and no name that is more than it looks.
    let is_meant = |name: &String| name != file && printable(name).to_string() == *name;
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_meant);
    let names: Vec<String> = names.collect();
    let with_end = names.iter().find(|name| **name == format!("{file}.toml"));
    if let Some(name) = with_end {
        return Some(format!("did you mean {}?", printable(&folder.join(name))));
    }
    if path.strip_prefix("./").is_ok_and(|name| is_name(name.as_os_str())) {
        return Some("a name is given without ./".to_owned());
    }
    let lower = given.to_ascii_lowercase();
    let built_in = super::PolicyFile::built_in_names().find(|name| *name == lower);
    let policies = names.iter().map(String::as_str).filter(|name| name.ends_with(".toml"));
    built_in.map(|name| format!("did you mean {name}?")).or_else(|| nearest(file, policies))
}

fn regular(file: &std::fs::Metadata) -> Result<(), Refused> {
    let what = if file.is_dir() { "a folder" } else { "a pipe, a device or the like" };
    if file.is_file() { Ok(()) } else { refused(format!("is {what}, and a policy is a regular file"), "") }
}

#[cfg(unix)]
fn open_to_read(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // What is no regular file is not waited for, and no terminal is taken.
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(not(unix))]
fn open_to_read(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// Off Unix owners are another matter, and nothing is enforced.
#[cfg(not(unix))]
fn check_owner(_file: &std::fs::Metadata) -> Result<(), Refused> {
    Ok(())
}

#[cfg(unix)]
fn check_owner(file: &std::fs::Metadata) -> Result<(), Refused> {
    use std::os::unix::fs::MetadataExt;
    let caller = crate::sys::effective_user();
    if file.uid() != 0 && file.uid() != caller {
        let message = format!(
            "belongs to user {}, who could change it; a policy belongs to root or to you (user {caller})",
            file.uid()
        );
        return refused(message, "read it, and make a copy of your own");
    }
    if file.mode() & 0o022 != 0 {
        let mode = file.mode() & 0o7777;
        return refused(
            format!("can be written by others (its mode is {mode:04o})"),
            "chmod go-w takes that away",
        );
    }
    Ok(())
}

#[cfg(unix)]
fn is_same(opened: &std::fs::Metadata, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()))
}

#[cfg(not(unix))]
fn is_same(_opened: &std::fs::Metadata, _path: &Path) -> bool {
    true
}

/// A path, and whether it was written relative to the file's folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub path: PathBuf,
    pub relative: bool,
}

/// What a path as it is written stands for: ~ and ${VAR} at its beginning are folders, $$ is $, and a relative one begins in
/// the file's folder.
pub(super) fn expand(word: &Word, folder: &Path, variables: Variables<'_>) -> Result<Expanded, Refused> {
    let written = match word {
        Word::Bytes(bytes) => PathBuf::from(bytes),
        Word::Text(text) => {
            let (start, rest) = match beginning(text)? {
                Some((variable, rest)) => (Some(folder_of(variable, variables)?), rest),
                None => (None, text.as_str()),
            };
            let rest = plain(rest)?;
            match start {
                Some(start) if rest.is_empty() => start,
                Some(start) => start.join(rest.trim_start_matches('/')),
                None => PathBuf::from(rest),
            }
        }
    };
    let relative = !written.is_absolute();
    let path = if relative { below(folder, &written) } else { written };
    Ok(Expanded { path, relative })
}

/// As [`Path::join`], but that . is the folder itself.
fn below(folder: &Path, path: &Path) -> PathBuf {
    let mut joined = folder.to_owned();
    joined.extend(path.components().filter(|part| *part != Component::CurDir));
    joined
}

/// The variable that a path begins with, and the rest.
fn beginning(text: &str) -> Result<Option<(&str, &str)>, Refused> {
    let (variable, rest) = match text.strip_prefix("${") {
        Some(after) => match after.split_once('}') {
            Some(parts) => parts,
            None => return refused("${ has no }", "a variable is written ${HOME}, and $ itself $$"),
        },
        None => match text.strip_prefix('~') {
            Some(rest) => ("HOME", rest),
            None => return Ok(None),
        },
    };
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return refused(format!("{} is no name of a variable", quoted(variable)), "as ${HOME}");
    }
    if rest.is_empty() || rest.starts_with('/') {
        return Ok(Some((variable, rest)));
    }
    match text.starts_with('~') {
        true => refused(
            "~ is your own home folder, and stands alone or before a /",
            "write another user's folder out; a file whose name begins with ~ is ./~…",
        ),
        false => refused(
            "a variable is a whole folder, and stands alone or before a /",
            "as ${XDG_RUNTIME_DIR}/bus",
        ),
    }
}

/// The text with $$ as $.
fn plain(text: &str) -> Result<String, Refused> {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '$' && rest.next_if_eq(&'$').is_none() {
            let hint = "a variable is written ${NAME}, at the beginning of a path; $ itself is $$";
            return refused("$ is here no variable", hint);
        }
        plain.push(c);
    }
    Ok(plain)
}

/// The folder that a variable names, which is no wider than it looks.
fn folder_of(variable: &str, variables: Variables<'_>) -> Result<PathBuf, Refused> {
    let shown =
        || if variable == "HOME" { "~ (HOME)".to_owned() } else { format!("${{{}}}", printable(variable)) };
    let hint = "set the variable, or write the path out";
    let Some(value) = variables(variable) else {
        return refused(format!("{} is not set", shown()), hint);
    };
    let folder = PathBuf::from(&value);
    if value.is_empty() {
        return refused(format!("{} is empty", shown()), hint);
    }
    if !folder.is_absolute() || folder.components().any(|part| part == Component::ParentDir) {
        return refused(format!("{} is {}, which is no whole path", shown(), quoted(&value)), hint);
    }
    if is_root(&folder) {
        return refused(format!("{} is {}, the whole system", shown(), quoted(&value)), hint);
    }
    Ok(folder)
}

/// Whether a folder is /, by whatever name.
pub(super) fn is_root(folder: &Path) -> bool {
    folder.parent().is_none()
        || folder.canonicalize().is_ok_and(|real| real.parent().is_none() || same_as_root(&real))
}

#[cfg(unix)]
fn same_as_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    of(folder).is_some_and(|found| Some(found) == of(Path::new("/")))
}

#[cfg(not(unix))]
fn same_as_root(_folder: &Path) -> bool {
    false
}

/// Where a path leads, without links: of what is not there yet, as far as it is.
pub(super) fn resolved(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let Ok(real) = above.canonicalize() {
            let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

/// Whether a path leads out of a folder, which has no links itself.
pub(super) fn leads_out(resolved: &Path, folder: &Path) -> bool {
    !resolved.starts_with(folder) || resolved.components().any(|part| part == Component::ParentDir)
}

/// Whether a path, resolved as far as it leads, has a link in it: one that leads to what is not there, or nowhere.
pub(super) fn has_dangling_link(resolved: &Path) -> bool {
    resolved.ancestors().any(Path::is_symlink)
}
