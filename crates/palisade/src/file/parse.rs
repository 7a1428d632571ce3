//! From text to what it says, with where it says it: pure, all mistakes at once.

use std::ffi::OsString;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{ELSEWHERE, KEYS, Key, Takes};
use crate::error::{Error, quoted};
use crate::rights::{Abi, Rights};
use crate::rule::{Kind, Ports};
use crate::text::nearest;

/// Something, and the bytes of the text where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub value: T,
    pub at: Range<usize>,
}

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub at: Range<usize>,
    pub message: String,
    pub hint: String,
}

/// What a file says: paths as they are written, and no other file read.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub include: Vec<At<String>>,
    pub abi: Option<At<Abi>>,
    /// None is everything.
    pub require: Option<At<Option<Rights>>>,
    pub unrestricted: Vec<At<Rights>>,
    pub allowed: Vec<Allowed>,
    pub ports: Vec<At<(&'static str, Ports)>>,
    /// Where the table stands, if it is there.
    pub env: Option<Range<usize>>,
    pub clear: bool,
    pub pass: Vec<String>,
}

/// Rights on a path.
#[derive(Debug)]
pub(super) struct Allowed {
    pub path: At<Word>,
    pub rights: Rights,
    pub optional: bool,
    pub kind: Option<Kind>,
}

/// A path as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// In which ~ and ${VAR} stand for something.
    Text(String),
    /// Taken as it is.
    Bytes(OsString),
}

pub(super) fn parse(text: &str) -> (Document, Vec<Mistake>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut parser = Parser { document: Document::default(), mistakes: Vec::new() };
    // What one slip breaks is said once for each line, and what is then made of the line is not looked at.
    let mut broken: Vec<Range<usize>> = Vec::new();
    for error in errors {
        let at = error.span().unwrap_or(0..0);
        if !broken.iter().any(|line| line.contains(&at.start)) {
            broken.push(line_of(text, at.start));
            parser.mistake(
                &at,
                format!("this is no TOML: {}", error.message()),
                syntax_hint(error.message()),
            );
        }
    }
    let said = parser.mistakes.len();
    // What a file with a mistake in its form says is looked at all the same.
    parser.file(table.get_ref());
    let meant = |mistake: &Mistake| !broken.iter().any(|line| line.contains(&mistake.at.start));
    let found = parser.mistakes.split_off(said);
    parser.mistakes.extend(found.into_iter().filter(meant));
    // A table is in the order of its keys.
    parser.document.allowed.sort_by_key(|allowed| allowed.path.at.start);
    parser.document.ports.sort_by_key(|ports| ports.at.start);
    parser.mistakes.sort_by_key(|mistake| mistake.at.start);
    parser.mistakes.dedup();
    (parser.document, parser.mistakes)
}

/// The bytes of the line of a byte, and the one after it.
fn line_of(text: &str, byte: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let byte = byte.min(bytes.len());
    let start = bytes[..byte].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let end = bytes[byte..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| byte + at);
    start..end + 1
}

fn syntax_hint(message: &str) -> &'static str {
    match message {
        _ if message.contains("duplicate key") => "it is there before: put all of it there",
        _ if message.contains("must be quoted") => "a word or path is written \"in quotes\"",
        _ if message.contains("comma") || message.contains("unclosed") => {
            "is a ] or a \" missing, here or in the line before?"
        }
        _ => "",
    }
}

struct Parser {
    document: Document,
    mistakes: Vec<Mistake>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Parser {
    fn mistake(&mut self, at: &Range<usize>, message: String, hint: impl Into<String>) {
        self.mistakes.push(Mistake { at: at.clone(), message, hint: hint.into() });
    }

    /// A word that the library cannot make sense of.
    fn error(&mut self, at: &Range<usize>, error: &Error) {
        self.mistake(at, error.message().to_string(), error.hint());
    }

    fn wrong_type(&mut self, key: &Key, value: &Value<'_>) {
        let message =
            format!("{} takes {}, and this is {}", key.name, takes(key.takes), type_of(value.get_ref()));
        self.mistake(&value.span(), message, "");
    }

    fn file(&mut self, table: &DeTable<'_>) {
        self.table(KEYS, "a policy", table, |parser, key, value| {
            match (key.name, key.takes, value.get_ref()) {
                ("include", ..) => {
                    let include = parser.texts(key, value);
                    parser.document.include.extend(include);
                }
                ("abi", ..) => parser.abi(key, value),
                ("require", ..) => parser.required(key, value),
                ("unrestricted", ..) => {
                    let rights = parser.rights(key, value);
                    parser.document.unrestricted.extend(rights);
                }
                (_, Takes::Table(keys), DeValue::Table(table)) => {
                    parser.section(key.name, keys, value, table)
                }
                _ => parser.wrong_type(key, value),
            }
        });
    }

    fn section(&mut self, name: &str, keys: &'static [Key], section: &Value<'_>, table: &DeTable<'_>) {
        if name == "env" {
            self.document.env = Some(section.span());
        }
        self.table(keys, &format!("[{name}]"), table, |parser, key, value| match key.takes {
            Takes::Paths => {
                let rights = match key.name {
                    "ro" => Rights::RO,
                    "rx" => Rights::RX,
                    "rw" => Rights::RW,
                    "rwx" => Rights::RWX,
                    _ => Rights::RESOLVE_UNIX,
                };
                let allowed = parser.paths(key, value).into_iter();
                let allowed = allowed.map(|path| Allowed { path, rights, optional: false, kind: None });
                parser.document.allowed.extend(allowed);
            }
            Takes::Tables(keys) => each(value).for_each(|value| match value.get_ref() {
                DeValue::Table(table) => parser.allow(keys, value, table),
                _ => parser.wrong_type(key, value),
            }),
            Takes::Ports => each(value).for_each(|value| parser.port(key, value)),
            Takes::Word(_) => {
                if parser.word(key, value).is_some() {
                    let right = if key.name == "signal" { Rights::SIGNAL } else { Rights::ABSTRACT };
                    parser.document.unrestricted.push(At { value: right, at: value.span() });
                }
            }
            Takes::Flag => parser.document.clear = parser.flag(key, value),
            Takes::Variables => parser.variables(key, value),
            _ => parser.wrong_type(key, value),
        });
    }

    /// Does `act` with each key that is known.
    fn table(
        &mut self,
        keys: &'static [Key],
        place: &str,
        table: &DeTable<'_>,
        mut act: impl FnMut(&mut Parser, &'static Key, &Value<'_>),
    ) {
        for (name, value) in table.iter() {
            match keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => act(self, key, value),
                None => {
                    let elsewhere = ELSEWHERE.iter().find(|(key, _)| *key == name.get_ref().as_ref());
                    let elsewhere = elsewhere.map(|(_, where_it_is)| (*where_it_is).to_owned());
                    let near = || nearest(name.get_ref(), keys.iter().map(|key| key.name));
                    let hint = elsewhere.or_else(near).unwrap_or_else(|| {
                        let names: Vec<_> = keys.iter().map(|key| key.name).collect();
                        format!("its keys are {}", names.join(", "))
                    });
                    self.mistake(
                        &name.span(),
                        format!("{} is no key of {place}", quoted(name.get_ref().as_ref())),
                        hint,
                    );
                }
            }
        }
    }

    fn allow(&mut self, keys: &'static [Key], entry: &Value<'_>, table: &DeTable<'_>) {
        let (mut paths, mut rights, mut optional, mut kind) = (None, None, false, None);
        self.table(keys, "[[fs.allow]]", table, |parser, key, value| match key.takes {
            Takes::Paths => paths = Some(parser.paths(key, value)),
            Takes::Rights => rights = Some(parser.path_rights(key, value)),
            Takes::Flag => optional = parser.flag(key, value),
            _ => {
                let word = parser.word(key, value);
                kind = word.map(|word| if word == "file" { Kind::File } else { Kind::Dir });
            }
        });
        for (missing, key, example) in [
            (paths.is_none(), &keys[0], "paths = [\"/dev/tty\"]"),
            (rights.is_none(), &keys[1], "rights = \"rw\""),
        ] {
            if missing {
                self.mistake(
                    &entry.span(),
                    format!("[[fs.allow]] has no {}", key.name),
                    format!("as {example}"),
                );
            }
        }
        if let (Some(paths), Some(Some(rights))) = (paths, rights) {
            let allowed = paths.into_iter().map(|path| Allowed { path, rights, optional, kind });
            self.document.allowed.extend(allowed);
        }
    }

    fn text(&mut self, key: &Key, value: &Value<'_>) -> Option<At<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.clone().into_owned(), at: value.span() }),
            _ => {
                self.wrong_type(key, value);
                None
            }
        }
    }

    fn texts(&mut self, key: &Key, value: &Value<'_>) -> Vec<At<String>> {
        each(value).filter_map(|value| self.text(key, value)).collect()
    }

    fn flag(&mut self, key: &Key, value: &Value<'_>) -> bool {
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            _ => {
                self.wrong_type(key, value);
                false
            }
        }
    }

    /// One of the words that the key takes.
    fn word(&mut self, key: &Key, value: &Value<'_>) -> Option<&'static str> {
        let Takes::Word(words) = key.takes else { return None };
        let text = self.text(key, value)?;
        let known = words.iter().copied().find(|word| *word == text.value);
        if known.is_none() {
            let hint = nearest(&text.value, words.iter().copied())
                .unwrap_or_else(|| format!("{} takes {}", key.name, takes(key.takes)));
            self.mistake(&text.at, format!("{} is no word for {}", quoted(&text.value), key.name), hint);
        }
        known
    }

    fn abi(&mut self, key: &Key, value: &Value<'_>) {
        let DeValue::Integer(number) = value.get_ref() else { return self.wrong_type(key, value) };
        match number.to_string().parse() {
            Ok(abi) => self.document.abi = Some(At { value: abi, at: value.span() }),
            Err(error) => self.error(&value.span(), &error),
        }
    }

    fn rights(&mut self, key: &Key, value: &Value<'_>) -> Vec<At<Rights>> {
        let mut all = Vec::new();
        for text in self.texts(key, value) {
            match Rights::named(&text.value) {
                Ok(rights) => all.push(At { value: rights, at: text.at }),
                Err(error) => self.error(&text.at, &error),
            }
        }
        all
    }

    fn required(&mut self, key: &Key, value: &Value<'_>) {
        let everything = matches!(value.get_ref(), DeValue::String(word) if word == "everything");
        let required = if everything { None } else { Some(self.rights(key, value)) };
        let rights = required.map(|rights| rights.into_iter().map(|rights| rights.value).collect());
        self.document.require = Some(At { value: rights, at: value.span() });
    }

    fn path_rights(&mut self, key: &Key, value: &Value<'_>) -> Option<Rights> {
        let text = self.text(key, value)?;
        match text.value.parse::<Rights>() {
            Ok(rights) => match (rights - Rights::of_paths()).names().next() {
                None => Some(rights),
                Some(name) => {
                    let hint = "ports stand in [net], as connect_tcp = [443]; signal and abstract in [scope]";
                    self.mistake(&text.at, format!("{name} is no right on a path"), hint);
                    None
                }
            },
            Err(error) => {
                self.error(&text.at, &error);
                None
            }
        }
    }

    fn port(&mut self, key: &'static Key, value: &Value<'_>) {
        let ports = match value.get_ref() {
            DeValue::Integer(number) => number.to_string().parse::<Ports>(),
            DeValue::String(text) => text.parse(),
            _ => return self.wrong_type(key, value),
        };
        match ports {
            Ok(ports) => self.document.ports.push(At { value: (key.name, ports), at: value.span() }),
            Err(error) => self.error(&value.span(), &error),
        }
    }

    fn variables(&mut self, key: &Key, value: &Value<'_>) {
        for text in self.texts(key, value) {
            if text.value.is_empty() || text.value.contains(['=', '\0']) {
                self.mistake(
                    &text.at,
                    format!("{} is no name of a variable", quoted(&text.value)),
                    "as PATH, without a value",
                );
            } else {
                self.document.pass.push(text.value);
            }
        }
    }

    fn paths(&mut self, key: &Key, value: &Value<'_>) -> Vec<At<Word>> {
        let mut all = Vec::new();
        for value in each(value) {
            let word = match value.get_ref() {
                DeValue::String(text) => Word::Text(text.clone().into_owned()),
                DeValue::Table(table) => match bytes(table) {
                    Some(bytes) => Word::Bytes(bytes),
                    None => {
                        let is = |key: &str| matches!(key, "path" | "paths" | "rights" | "optional" | "kind");
                        let hint = if table.iter().any(|(name, _)| is(name.get_ref())) {
                            "what may be missing stands in [[fs.allow]], with paths, rights and optional = true"
                        } else {
                            "a path that is no UTF-8 is { bytes = [47, 255] }, each from 1 to 255"
                        };
                        self.mistake(&value.span(), "this is no path".to_owned(), hint);
                        continue;
                    }
                },
                _ => {
                    self.wrong_type(key, value);
                    continue;
                }
            };
            match &word {
                Word::Text(text) if text.is_empty() => {
                    self.mistake(
                        &value.span(),
                        "a path is empty".to_owned(),
                        "the folder of this file is \".\"",
                    );
                }
                Word::Text(text) if text.contains('\0') => {
                    self.mistake(&value.span(), "a path cannot contain a NUL byte".to_owned(), "");
                }
                _ => all.push(At { value: word, at: value.span() }),
            }
        }
        all
    }
}

/// The elements of a list; one alone may stand without brackets.
fn each<'a, 't>(value: &'a Value<'t>) -> Box<dyn Iterator<Item = &'a Value<'t>> + 'a> {
    match value.get_ref() {
        DeValue::Array(list) => Box::new(list.iter()),
        _ => Box::new(std::iter::once(value)),
    }
}

/// `{ bytes = […] }`
fn bytes(table: &DeTable<'_>) -> Option<OsString> {
    let mut entries = table.iter();
    let (name, value) = entries.next()?;
    let DeValue::Array(list) = value.get_ref() else { return None };
    if name.get_ref() != "bytes" || entries.next().is_some() {
        return None;
    }
    let byte = |value: &Value<'_>| match value.get_ref() {
        DeValue::Integer(number) => {
            u8::from_str_radix(number.as_str(), number.radix()).ok().filter(|byte| *byte != 0)
        }
        _ => None,
    };
    let bytes: Vec<u8> = list.iter().map(byte).collect::<Option<_>>()?;
    if bytes.is_empty() { None } else { os_string(bytes) }
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    Some(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}

/// What a key takes, as the rest of a sentence.
fn takes(takes: Takes) -> String {
    match takes {
        Takes::Abi => "a number, as 6",
        Takes::Includes => "a list of names and files, as [\"system\", \"./team.toml\"]",
        Takes::Paths => "a list of paths, as [\"/etc\", \"~/.gitconfig\"]",
        Takes::Ports => "a list of ports, as [443, \"8000-8010\"], or \"any\"",
        Takes::Categories => "a list of categories and rights, as [\"udp\"]",
        Takes::Required => "a list of categories and rights, as [\"fs\", \"tcp\"], or \"everything\"",
        Takes::Variables => "a list of names of variables, as [\"PATH\"]",
        Takes::Rights => "rights, as \"rw,ioctl_dev\"",
        Takes::Flag => "true or false",
        Takes::Table(_) => "a table",
        Takes::Tables(_) => "tables, each as [[fs.allow]]",
        Takes::Word(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            return words.join(" or ");
        }
    }
    .to_owned()
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
