//! Policy files: a policy that is kept, reviewed and shared, as TOML.

mod advice;
mod keys;
mod locate;
mod parse;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod write;

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use advice::Warning;
#[doc(hidden)]
pub use keys::{KEYS, Key, Takes};

use self::locate::{Found, Refused, Source, Variables};
use self::parse::{Allowed, Document};
use crate::decision::Grant;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::preset::Preset;
use crate::printable;
use crate::rights::Rights;
use crate::rule::{Ports, path};

/// Folders that are nobody's project, and have the secrets of many.
const NO_PROJECT: [&str; 10] =
    ["/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/usr", "/var"];

/// How deep files may include one another.
const DEEPEST: usize = 32;
/// PATH_MAX.
const LONGEST: usize = 4096;

/// A policy file, read and resolved: the [`Policy`] that it says, and where it says what.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("palisade-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let path = dir.join("app.toml");
/// std::fs::write(&path, "[fs]\nro = [\"/etc\"]\nrw = [\"data\"]\n\n[net]\nconnect_tcp = [443]\n")?;
/// # #[cfg(unix)] std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
/// let file = palisade::PolicyFile::read(&path)?;
/// assert_eq!(file.stated().count(), 3);
/// assert_eq!(file.stated().next().unwrap().origin.to_string(), format!("{}:2", path.display()));
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # What is in it
///
/// ```toml
/// include = ["system", "./team.toml"] # presets and policies by name, and files
/// abi = 6                             # restrict what this ABI has, and no more
/// require = ["fs", "tcp"]             # or it is an error; "everything", or [] for nothing
/// unrestricted = ["udp"]              # left alone
///
/// [fs]
/// ro = ["/etc", "~/.gitconfig"]       # rx, rw and rwx likewise
/// rw = ["."]                          # the folder of this file
///
/// [[fs.allow]]
/// paths = ["/dev/tty", { bytes = [47, 255] }]
/// rights = "rw,ioctl_dev"
/// optional = true                     # what does not exist is skipped
///
/// [net]
/// connect_tcp = [443, "8000-8010"]    # bind_tcp, connect_udp and bind_udp likewise
/// bind_tcp = "any"
///
/// [unix]
/// connect = ["/run/dbus/system_bus_socket"]
///
/// [scope]
/// signal = "unrestricted"             # and abstract
///
/// [env]                               # where the command `palisade` starts the program
/// clear = true
/// pass = ["PATH", "TERM"]
/// ```
///
/// All that the library knows is handled unless the file says otherwise, so that a short file is a strict one.
///
/// A path begins with /, with ~ or a variable (`${XDG_RUNTIME_DIR}/bus`), or in the folder of the file (of a built-in
/// policy: in the current folder). `$$` is a $. One that is no UTF-8 is `{ bytes = […] }`.
///
/// What is included adds grants, and what it requires; it cannot leave anything alone (`abi`, `unrestricted`, `[scope]`) nor
/// change the environment.
///
/// # What is refused
///
/// - a file that is no regular file, is larger than 1 MiB, belongs to neither root nor the caller, or can be written by its
///   group or others;
/// - a variable, or ~, that is not set, empty, relative or /;
/// - the current folder in a built-in policy, where it is your home folder or one above it, or one of the system's, as /etc;
/// - a relative path with rights to more than read and execute that leads out of the folder of the file, by .. or by a
///   symbolic link. One that is put there later, before the policy is enforced, is refused then.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    policy: Policy,
    environment: Environment,
    stated: Vec<Stated>,
    /// The files that were read, and the names by which they were found.
    read: Vec<PathBuf>,
    /// Where it lets variables pass that pass all the same.
    idle: Option<Origin>,
}

/// What a policy file says of the environment in which a program is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// The caller's environment does not pass.
    pub clear: bool,
    /// Variables that pass all the same.
    pub pass: Vec<String>,
}

/// Something that a policy grants, and where that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stated {
    /// What is granted.
    pub what: What,
    /// Whether a path may be missing.
    pub optional: bool,
    /// Where it is said.
    pub origin: Origin,
}

/// What is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Rights on a path, or on ports.
    Grant(Grant),
    /// All that a preset has.
    Preset(Preset),
}

/// Where something is said: a line of a file, or an option. As text it is `policy.toml:3`, or the option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    Line {
        /// The file, as it is shown.
        file: Arc<str>,
        /// The line, from 1 on.
        line: usize,
        /// The column, in characters from 1 on.
        column: usize,
    },
    /// Elsewhere, as this says: as on a command line.
    Words(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line { file, line, .. } => write!(f, "{file}:{line}"),
            Origin::Words(words) => f.write_str(words),
        }
    }
}

impl Stated {
    /// What an option, or a program by itself, grants besides; for [`PolicyFile::warnings_with`].
    pub fn elsewhere(what: What, optional: bool, words: &str) -> Stated {
        Stated { what, optional, origin: Origin::Words(words.into()) }
    }
}

/// A mistake in a policy file. As text: where, what, what to do, and the line, with the place marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: Arc<str>,
    /// None where it is about the file as a whole.
    place: Option<Place>,
    message: String,
    hint: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    /// The line, and how much before the place and in it, made harmless to print.
    shown: String,
    before: usize,
    width: usize,
}

impl Problem {
    /// The file, as it is shown.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line and the column, in characters, both from 1 on; none where the file as a whole is meant.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it; may be empty.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = if self.hint.is_empty() { String::new() } else { format!("; {}", self.hint) };
        let Some(place) = &self.place else { return write!(f, "{}: {}{hint}", self.file, self.message) };
        let Place { line, column, shown, before, width } = place;
        writeln!(f, "{}:{line}:{column}: {}{hint}", self.file, self.message)?;
        let number = line.to_string();
        writeln!(f, "  {number} | {shown}")?;
        let (margin, lead) = (" ".repeat(number.len()), " ".repeat(*before));
        write!(f, "  {margin} | {lead}{}", "^".repeat(*width))
    }
}

/// A text, and where its lines begin.
struct Lines<'t> {
    file: Arc<str>,
    text: &'t str,
    starts: Vec<usize>,
    /// A byte, where its line begins, and how many characters are between: what comes next is mostly near.
    counted: Cell<(usize, usize, usize)>,
}

impl<'t> Lines<'t> {
    fn new(file: &str, text: &'t str) -> Lines<'t> {
        let starts = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { file: file.into(), text, starts, counted: Cell::default() }
    }

    /// The line of a byte and its number from 1 on, and the byte in it.
    fn line(&self, byte: usize) -> (usize, &'t str, usize) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let number = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[number - 1];
        let end = self.starts.get(number).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        (number, line.trim_end_matches('\r'), byte - start)
    }

    /// The column of a byte in the line that begins there, from 1 on.
    fn column(&self, start: usize, byte: usize) -> usize {
        let (counted, of, characters) = self.counted.get();
        let (from, before) = if of == start && counted <= byte { (counted, characters) } else { (start, 0) };
        let characters = before + self.text[from..byte].chars().count();
        self.counted.set((byte, start, characters));
        characters + 1
    }

    fn problem(&self, at: &Range<usize>, message: String, hint: String) -> Problem {
        /// As much of a line is shown on each side of the place.
        const SHOWN: usize = 36;
        let (number, line, byte) = self.line(at.start);
        let byte = byte.min(line.len());
        let (before, after) = line.split_at(byte);
        let length = at.end.saturating_sub(at.start).min(after.len());
        let end = (0..=length).rev().find(|end| after.is_char_boundary(*end)).unwrap_or(0);
        let clip = |text: &str| -> String { text.chars().take(SHOWN).collect() };
        let (skipped, _) = before.char_indices().rev().take(SHOWN).last().unwrap_or_default();
        let cut = if skipped > 0 { "…" } else { "" };
        let lead = format!("{cut}{}", printable(&before[skipped..]));
        let more = if after.chars().nth(SHOWN).is_some() { "…" } else { "" };
        let place = Place {
            line: number,
            column: self.column(self.starts[number - 1], self.starts[number - 1] + byte),
            shown: format!("{lead}{}{more}", printable(&clip(after))),
            before: lead.chars().count(),
            width: printable(&clip(&after[..end])).to_string().chars().count().max(1),
        };
        Problem { file: self.file.clone(), place: Some(place), message, hint }
    }

    fn origin(&self, at: &Range<usize>) -> Origin {
        let (line, text, byte) = self.line(at.start);
        let start = self.starts[line - 1];
        let column = self.column(start, start + byte.min(text.len()));
        Origin::Line { file: self.file.clone(), line, column }
    }
}

impl Policy {
    /// The policy that a file says; [`PolicyFile`] has what can be in it, and what is refused. Needs the feature `file`.
    ///
    /// ```no_run
    /// palisade::Policy::from_file("/etc/palisade/app.toml")?.enforce()?;
    /// # Ok::<(), palisade::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// All that is wrong with it at once, each with file, line and column ([`Error::problems`]).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Policy> {
        Ok(PolicyFile::read(path)?.policy)
    }

    /// The policy as a file: what [`PolicyFile`] reads as the same policy. Paths are written as they are, so that relative
    /// ones mean the folder of the file then.
    ///
    /// ```
    /// use palisade::Policy;
    /// let text = Policy::new().ro("/etc").connect_tcp(443).to_toml()?;
    /// assert_eq!(text, "[fs]\nro = [\"/etc\"]\n\n[net]\nconnect_tcp = [443]\n");
    /// # Ok::<(), palisade::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It has what a file cannot say: a rule on a descriptor, a quiet rule, flags of the log.
    pub fn to_toml(&self) -> Result<String> {
        self.to_toml_with(&Environment::default())
    }

    /// As [`Policy::to_toml`], and what a file says of the environment.
    ///
    /// # Errors
    ///
    /// As of [`Policy::to_toml`].
    pub fn to_toml_with(&self, environment: &Environment) -> Result<String> {
        write::toml(self, environment)
    }

    /// The policy as options of the command `palisade run`.
    ///
    /// ```
    /// use palisade::Policy;
    /// let words = Policy::new().ro("/etc").connect_tcp(443).to_args()?;
    /// assert_eq!(words, ["--ro", "/etc", "--connect-tcp", "443"]);
    /// # Ok::<(), palisade::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`Policy::to_toml`].
    pub fn to_args(&self) -> Result<Vec<OsString>> {
        write::args(self)
    }
}

impl PolicyFile {
    /// Reads a file, and all that it includes.
    ///
    /// # Errors
    ///
    /// All that is wrong at once ([`Error::problems`]).
    pub fn read(path: impl AsRef<Path>) -> Result<PolicyFile> {
        PolicyFile::load(path.as_ref().as_os_str(), false, &|name| std::env::var_os(name))
    }

    /// Reads what the command's `-p` is given. A name (of a-z, 0-9 and -) is a built-in policy (`build`, `offline`,
    /// `readonly`), else a preset, else NAME.toml in ~/.config/palisade (or `${XDG_CONFIG_HOME}/palisade`), else in
    /// /etc/palisade. All else is a file.
    ///
    /// ```
    /// let file = palisade::PolicyFile::find("offline")?;
    /// # if cfg!(unix) {
    /// assert!(file.policy().to_toml()?.contains("unrestricted = ["));
    /// # }
    /// # Ok::<(), palisade::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`PolicyFile::read`].
    pub fn find(name: impl AsRef<OsStr>) -> Result<PolicyFile> {
        PolicyFile::load(name.as_ref(), true, &|name| std::env::var_os(name))
    }

    /// Every name that [`PolicyFile::find`] knows here.
    pub fn names() -> Vec<String> {
        locate::names(&|name| std::env::var_os(name))
    }

    /// The built-in policies: the name, and the text.
    ///
    /// ```
    /// assert_eq!(palisade::PolicyFile::built_in()[0].0, "build");
    /// ```
    pub fn built_in() -> &'static [(&'static str, &'static str)] {
        locate::BUILT_IN
    }

    /// The names that are there everywhere: of built-in policies, and of presets.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        let presets = Preset::ALL.into_iter().map(Preset::name);
        locate::BUILT_IN.iter().map(|(name, _)| *name).chain(presets)
    }

    /// Whether a word is a name to [`PolicyFile::find`], and not a file.
    pub fn is_name(word: impl AsRef<OsStr>) -> bool {
        locate::is_name(word.as_ref())
    }

    fn load(word: &OsStr, names: bool, variables: Variables<'_>) -> Result<PolicyFile> {
        let found = match word.to_str().filter(|word| names && locate::is_name(OsStr::new(word))) {
            Some(name) => locate::named(name, Path::new(""), variables),
            None => locate::open(Path::new(word)).map(Found::Policy),
        };
        match found {
            Ok(Found::Policy(source)) => PolicyFile::of(source, variables),
            Ok(Found::Preset(preset)) => Ok(PolicyFile {
                policy: Policy::new().preset(preset),
                environment: Environment::default(),
                stated: vec![Stated::elsewhere(What::Preset(preset), false, &format!("the preset {preset}"))],
                read: Vec::new(),
                idle: None,
            }),
            Err((message, hint)) => {
                let file = if word.is_empty() { "\"\"".into() } else { printable(word).to_string().into() };
                Err(Error::of_file(vec![Problem { file, place: None, message, hint }]))
            }
        }
    }

    /// The policy that a text says, as a file in a folder does.
    #[doc(hidden)]
    pub fn parse(
        text: &str,
        folder: &Path,
        variables: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<PolicyFile> {
        let folder = folder.to_owned();
        PolicyFile::of(
            Source {
                name: "policy.toml".to_owned(),
                text: text.to_owned(),
                folder,
                path: None,
                decides: Vec::new(),
            },
            variables,
        )
    }

    fn of(source: Source, variables: Variables<'_>) -> Result<PolicyFile> {
        let mut reader = Reader {
            variables,
            problems: Vec::new(),
            above: Vec::new(),
            done: Vec::new(),
            file: PolicyFile {
                policy: Policy::new(),
                environment: Environment::default(),
                stated: Vec::new(),
                read: Vec::new(),
                idle: None,
            },
            required: None,
        };
        reader.read(source);
        let Reader { problems, mut file, required, .. } = reader;
        if !problems.is_empty() {
            return Err(Error::of_file(problems));
        }
        if let Some(required) = required {
            file.policy = file.policy.require(required);
        }
        Ok(file)
    }

    /// What it says.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it says of the environment.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What it grants, one by one, and where that is said.
    pub fn stated(&self) -> impl Iterator<Item = &Stated> {
        self.stated.iter()
    }

    /// What decides that it is read, it and what it includes: each file without links, and the names by which it was found,
    /// or would be found before. Whoever can change one of them can change the policy.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.read.iter().map(PathBuf::as_path)
    }

    /// What in it may not be what was meant: see [`Warning`].
    pub fn warnings(&self) -> Vec<Warning> {
        PolicyFile::warnings_with(&[self], &[], &[])
    }

    /// What may not be what was meant where these files, and what else is stated, are one policy. `apart` are files that are
    /// to be kept from change too, as those of ceilings.
    pub fn warnings_with(files: &[&PolicyFile], besides: &[Stated], apart: &[&PolicyFile]) -> Vec<Warning> {
        let stated: Vec<&Stated> = files.iter().flat_map(|file| &file.stated).chain(besides).collect();
        let read: Vec<&Path> = files.iter().chain(apart).flat_map(|file| file.files()).collect();
        let idle = files.iter().filter_map(|file| file.idle.clone());
        let message = "without clear = true all variables pass, and pass says nothing";
        let idle = idle.map(|origin| Warning::new(origin, message.to_owned()));
        let variables = |name: &str| std::env::var_os(name);
        advice::warnings(&stated, &read, &variables).into_iter().chain(idle).collect()
    }
}

/// A file that is being read, and what it includes.
struct Reader<'a> {
    variables: Variables<'a>,
    problems: Vec<Problem>,
    /// The files that include this one, the outermost first.
    above: Vec<Source>,
    done: Vec<Source>,
    file: PolicyFile,
    /// None while nobody says what is required.
    required: Option<Rights>,
}

impl Reader<'_> {
    fn read(&mut self, source: Source) {
        let text = source.text.clone();
        let lines = Lines::new(&source.name, &text);
        let (document, mistakes) = parse::parse(&text);
        let first = self.problems.len();
        let wrong = mistakes.into_iter().map(|m| lines.problem(&m.at, m.message, m.hint));
        self.problems.extend(wrong);
        self.file.read.extend(source.decides.clone());
        let included = !self.above.is_empty();
        if included {
            self.no_loosening(&document, &lines);
        } else {
            self.handled(&document);
            let idle = document.env.as_ref().filter(|_| !document.clear && !document.pass.is_empty());
            self.file.idle = idle.map(|at| lines.origin(at));
        }
        self.requires(&document, included);
        for allowed in &document.allowed {
            self.allow(allowed, &source, &lines);
        }
        for port in &document.ports {
            self.ports(port.value.0, port.value.1, lines.origin(&port.at));
        }
        self.above.push(source);
        for include in &document.include {
            if let Err((message, hint)) = self.include(&include.value, lines.origin(&include.at)) {
                self.problems.push(lines.problem(&include.at, message, hint));
            }
        }
        self.done.extend(self.above.pop());
        // Those of a file stand together, from its top to its end, and then those of what it includes, as they were found.
        let order = |problem: &Problem| match problem.file == lines.file {
            true => (false, problem.place()),
            false => (true, None),
        };
        self.problems[first..].sort_by_key(order);
    }

    /// What only the file itself can say.
    fn handled(&mut self, document: &Document) {
        let policy = std::mem::take(&mut self.file.policy);
        let alone = document.unrestricted.iter().map(|rights| rights.value);
        let policy = policy.unrestricted(alone);
        self.file.policy = match &document.abi {
            Some(abi) => policy.abi(abi.value),
            None => policy,
        };
        self.file.environment = Environment { clear: document.clear, pass: document.pass.clone() };
    }

    fn no_loosening(&mut self, document: &Document, lines: &Lines<'_>) {
        let loose = document.abi.iter().map(|abi| (&abi.at, "abi"));
        let loose = loose.chain(document.unrestricted.iter().map(|rights| (&rights.at, "unrestricted")));
        let loose = loose.chain(document.env.iter().map(|at| (at, "[env]")));
        let problem = |(at, what): (&Range<usize>, &str)| {
            let hint = "say it in the file that includes this one, or give this one with -p";
            lines.problem(
                at,
                format!("{what} cannot be in a file that is included: it would loosen the other"),
                hint.to_owned(),
            )
        };
        self.problems.extend(loose.map(problem));
    }

    fn requires(&mut self, document: &Document, included: bool) {
        let Some(require) = &document.require else { return };
        match require.value {
            None => self.file.policy.strict = true,
            Some(rights) => {
                // What a file that includes this one says nothing of is required as usual.
                let usual = if included { self.file.policy.usually_required() } else { Rights::empty() };
                self.required = Some(self.required.unwrap_or(usual) | rights);
            }
        }
    }

    fn allow(&mut self, allowed: &Allowed, source: &Source, lines: &Lines<'_>) {
        match self.place(allowed, source) {
            Ok((place, no_links)) => {
                let mut rule = path(&place).rights(allowed.rights);
                rule.terms.optional = allowed.optional;
                rule.terms.kind = allowed.kind;
                rule.terms.no_links = no_links;
                let policy = std::mem::take(&mut self.file.policy);
                self.file.policy = policy.rule(rule);
                let grant = Grant::Path { rights: allowed.rights, path: place };
                let origin = lines.origin(&allowed.path.at);
                self.file.stated.push(Stated {
                    what: What::Grant(grant),
                    optional: allowed.optional,
                    origin,
                });
            }
            Err((message, hint)) => self.problems.push(lines.problem(&allowed.path.at, message, hint)),
        }
    }

    /// Where a path leads, and whether it may have no symbolic links in it.
    fn place(&self, allowed: &Allowed, source: &Source) -> std::result::Result<(PathBuf, bool), Refused> {
        let expanded = locate::expand(&allowed.path.value, &source.folder, self.variables)?;
        // The kernel takes none, and to look for one part by part takes long.
        if expanded.path.as_os_str().len() >= LONGEST {
            return Err((format!("this path is longer than {} bytes", LONGEST - 1), String::new()));
        }
        if !expanded.relative {
            return Ok((expanded.path, false));
        }
        if source.path.is_none() {
            let home = (self.variables)("HOME").map(PathBuf::from);
            let wide = locate::is_root(&expanded.path)
                || NO_PROJECT.iter().any(|folder| expanded.path == Path::new(folder))
                || home.is_some_and(|home| locate::resolved(&home).starts_with(&expanded.path));
            if wide {
                let message =
                    format!("{} is here {}, the current folder", "\".\"", printable(&expanded.path));
                return Err((message, "go to the folder of your project first (cd)".to_owned()));
            }
        }
        let reads = Rights::READ_FILE | Rights::READ_DIR | Rights::EXECUTE;
        if reads.contains(allowed.rights) {
            return Ok((expanded.path, false));
        }
        let resolved = locate::resolved(&expanded.path);
        if locate::leads_out(&resolved, &source.folder) {
            let message = format!(
                "this leads to {}, out of the folder of the file, {}",
                printable(&resolved),
                printable(&source.folder)
            );
            return Err((message, "if that is meant, write the whole path".to_owned()));
        }
        if locate::has_dangling_link(&resolved) {
            let message = "this leads through a symbolic link to what does not exist";
            return Err((message.to_owned(), "make it first; or write the whole path".to_owned()));
        }
        Ok((resolved, true))
    }

    fn ports(&mut self, key: &str, ports: Ports, origin: Origin) {
        let policy = std::mem::take(&mut self.file.policy);
        let (policy, right) = match key {
            "connect_tcp" => (policy.connect_tcp(ports), Rights::CONNECT_TCP),
            "bind_tcp" => (policy.bind_tcp(ports), Rights::BIND_TCP),
            "connect_udp" => (policy.connect_udp(ports), Rights::CONNECT_SEND_UDP),
            _ => (policy.bind_udp(ports), Rights::BIND_UDP),
        };
        self.file.policy = policy;
        self.file.stated.push(Stated {
            what: What::Grant(Grant::Port { right, ports }),
            optional: false,
            origin,
        });
    }

    fn include(&mut self, word: &str, origin: Origin) -> std::result::Result<(), Refused> {
        let folder = self.above.last().map_or(Path::new("."), |source| &source.folder);
        let found = if locate::is_name(OsStr::new(word)) {
            locate::named(word, folder, self.variables)?
        } else {
            let file = locate::expand(&parse::Word::Text(word.to_owned()), folder, self.variables)?.path;
            // Shown as short as it can be found.
            let here = std::env::current_dir().ok();
            let shown = here
                .and_then(|here| file.strip_prefix(here).ok().map(Path::to_owned))
                .unwrap_or(file.clone());
            let found =
                locate::open(&file).map(|source| Source { name: printable(&shown).to_string(), ..source });
            Found::Policy(
                found.map_err(|(message, hint)| (format!("{} {message}", printable(&shown)), hint))?,
            )
        };
        let source = match found {
            Found::Policy(source) => source,
            Found::Preset(preset) => {
                if self.file.policy.presets.contains(&preset) {
                    return Ok(());
                }
                let policy = std::mem::take(&mut self.file.policy);
                self.file.policy = policy.preset(preset);
                self.file.stated.push(Stated { what: What::Preset(preset), optional: false, origin });
                return Ok(());
            }
        };
        if let Some(at) = self.above.iter().position(|above| above.is(&source)) {
            let mut names: Vec<&str> = self.above[at..].iter().map(|above| above.name.as_str()).collect();
            names.push(&source.name);
            return Err((
                format!("this goes round in a circle: {}", names.join(" includes ")),
                "take one of them out".to_owned(),
            ));
        }
        if self.above.len() == DEEPEST {
            return Err((format!("files include one another more than {DEEPEST} deep"), String::new()));
        }
        if !self.done.iter().any(|done| done.is(&source)) {
            self.read(source);
        }
        Ok(())
    }
}
