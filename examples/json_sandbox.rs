//! Runs a command in a sandbox that a JSON file describes.
//!
//! ```sh
//! cargo run -q -p palisade-examples --bin json_sandbox -- sandbox.json sort /srv/data/names
//! ```
//!
//! All that is not named in the file is refused, but for what the command needs to start (its libraries and such),
//! which is found and granted. Every key may be left out:
//!
//! ```json
//! {
//!   "paths": ["r:/usr/share", "rwc:/srv/data"],
//!   "optional_paths": ["f:r:/etc/app.conf"],
//!   "presets": ["dns", "certs"],
//!   "connect_tcp": [443, "8000-8010"],
//!   "bind_tcp": [8080],
//!   "connect_udp": ["any"],
//!   "bind_udp": [5353],
//!   "unrestricted": ["signal"],
//!   "require": ["fs", "tcp", "abstract"]
//! }
//! ```
//!
//! Paths are written as `palisade::Rule` parses them: rights, a colon, a path, which is looked up from the current folder.
//! `require` says what the kernel must be able to restrict (by default `fs` and `tcp`); if it cannot, the command is not
//! started. What else it cannot restrict is told on standard error.
//!
//! The program reads the file, confines *itself*, and then becomes the command (`exec`), instead of starting a confined
//! child (`palisade::CommandExt::confine`). So no free process stays behind, signals and the terminal reach the
//! command itself, and its exit status needs nobody to pass it on. It is 125 if nothing was started.

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::fs;
use std::marker::PhantomData;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::str::FromStr;

use palisade::{Policy, Ports, Preset, Program, Report, Rights, Rule, printable};
use serde::de::{self, Deserialize, Deserializer, Visitor};

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let (Some(file), Some(command)) = (words.next(), words.next()) else {
        eprintln!("usage: json_sandbox FILE.json COMMAND [ARGUMENT]...");
        return ExitCode::from(125);
    };
    let Err(error) = run(&file, &command, words);
    eprintln!("json_sandbox: {error}");
    ExitCode::from(125)
}

/// Returns only if it fails: else this process has become the command.
fn run(
    file: &OsStr,
    command: &OsStr,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Infallible, String> {
    let sandbox = Sandbox::read(file)?;
    let program = Program::find(command).map_err(|error| error.to_string())?;
    let report = confine(&sandbox, &program).map_err(|error| format!("{}: {error}", printable(file)))?;
    let lost: Vec<_> = report.lost().map(|lost| lost.to_string()).collect();
    if !lost.is_empty() {
        eprintln!("json_sandbox: not enforced: {}", lost.join("; "));
    }
    let error = Command::new(program.path()).arg0(command).args(arguments).exec();
    Err(format!("{}: cannot be started: {error}", printable(command)))
}

/// This process, and so the command that it becomes.
pub fn confine(sandbox: &Sandbox, program: &Program) -> Result<Report, String> {
    sandbox.policy().rules(program.rules()).enforce().map_err(|error| {
        // The library's hints are for whoever writes a policy in Rust; here it is written in JSON.
        let hint = match () {
            () if error.is_missing_path() => "; what may be missing belongs in \"optional_paths\"",
            () if error.is_unsupported() => "; \"require\" names what must be restricted",
            () => "",
        };
        format!("{}{hint}", error.message())
    })
}

/// The file. What is unknown in it is an error: a word that is misspelt must not be left out in silence.
#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Sandbox {
    paths: Vec<Text<Rule>>,
    optional_paths: Vec<Text<Rule>>,
    presets: Vec<Text<Preset>>,
    connect_tcp: Vec<Text<Ports>>,
    bind_tcp: Vec<Text<Ports>>,
    connect_udp: Vec<Text<Ports>>,
    bind_udp: Vec<Text<Ports>>,
    unrestricted: Vec<Text<Category>>,
    require: Option<Vec<Text<Category>>>,
}

impl Sandbox {
    /// Reads the file; an error says what is wrong in it, and where.
    pub fn read(file: &OsStr) -> Result<Sandbox, String> {
        let name = printable(file);
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: cannot be read: {error}"))?;
        // serde would take a list as the values of the keys, in their order, and so `[]` as an empty sandbox.
        if text.trim_start().starts_with('[') {
            return Err(format!("{name}: is a list: expected an object"));
        }
        serde_json::from_str(&text).map_err(|error| {
            let why = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let why = why.strip_suffix(&place).unwrap_or(&why);
            format!("{name}:{}:{}: {why}", error.line(), error.column())
        })
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::new()
            .rules(self.paths.iter().map(|rule| rule.0.clone()))
            .rules(self.optional_paths.iter().map(|rule| rule.0.clone().optional()))
            .unrestricted(self.unrestricted.iter().map(|category| category.0.0));
        policy = self.presets.iter().fold(policy, |policy, preset| policy.preset(preset.0));
        policy = self.connect_tcp.iter().fold(policy, |policy, port| policy.connect_tcp(port.0));
        policy = self.bind_tcp.iter().fold(policy, |policy, port| policy.bind_tcp(port.0));
        policy = self.connect_udp.iter().fold(policy, |policy, port| policy.connect_udp(port.0));
        policy = self.bind_udp.iter().fold(policy, |policy, port| policy.bind_udp(port.0));
        match &self.require {
            Some(categories) => policy.require(categories.iter().map(|category| category.0.0)),
            None => policy,
        }
    }
}

/// What the library parses from a text; a port may be written as a number.
struct Text<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<T>, D::Error> {
        deserializer.deserialize_any(Parse(PhantomData))
    }
}

/// Parses where the text is read: so that an error has its line.
struct Parse<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for Parse<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text or, for a port, a whole number from 0 to 65535")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
        text.parse().map(Text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<T>, E> {
        self.visit_str(&number.to_string())
    }
}

/// A category (as `fs` or `net`) or a single right.
struct Category(Rights);

impl FromStr for Category {
    type Err = palisade::Error;

    fn from_str(name: &str) -> Result<Category, palisade::Error> {
        Rights::named(name).map(Category)
    }
}
