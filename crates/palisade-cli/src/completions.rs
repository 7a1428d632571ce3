//! `palisade completions`: what TAB offers. The script of each shell asks palisade itself, at each TAB, by
//! `palisade completions --complete -- WORDS`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::{Arg, ArgMatches, CommandFactory, ValueHint};
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter, complete,
};
use palisade::{Abi, PolicyFile, Preset, Rights};

use crate::args::{Args, CompletionsArgs, Shell};
use crate::{Failure, caps, quote, say, status};

pub fn completions(args: CompletionsArgs) -> Result<(), Failure> {
    say::print(&match args.shell {
        Some(Shell::Bash) => include_str!("completions/palisade.bash").to_owned(),
        Some(Shell::Elvish) => include_str!("completions/palisade.elv").to_owned(),
        Some(Shell::Fish) => include_str!("completions/palisade.fish").to_owned(),
        Some(Shell::Zsh) => include_str!("completions/palisade.zsh").to_owned(),
        None => lines(&offered(args.words)),
    })
}

/// One line each, a word and after a tab what it means. What would do something to a terminal is left out: a word that
/// is escaped would be another one.
fn lines(candidates: &[CompletionCandidate]) -> String {
    let line = |candidate: &CompletionCandidate| {
        let word = candidate.get_value().to_str().filter(|word| !word.chars().any(quote::is_harmful))?;
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        Some(format!("{word}\t{}\n", help.lines().next().unwrap_or_default()))
    };
    candidates.iter().filter_map(line).collect()
}

/// What the last of these words may become. The first is palisade.
fn offered(words: Vec<OsString>) -> Vec<CompletionCandidate> {
    let Some((last, before)) = words.split_last() else { return Vec::new() };
    let mut found = if are_in_command(before) {
        PathCompleter::any().complete(last)
    } else {
        let mut command = Args::command().mut_subcommands(|c| c.mut_args(completing));
        let index = before.len();
        complete(&mut command, words, index, std::env::current_dir().ok().as_deref()).unwrap_or_default()
    };
    if found.iter().any(|candidate| !candidate.is_hide_set()) {
        found.retain(|candidate| !candidate.is_hide_set());
    }
    found
}

/// Whether COMMAND is among these words. What follows it is its own, which the engine does not know.
fn are_in_command(words: &[OsString]) -> bool {
    let matches = Args::command().ignore_errors(true).try_get_matches_from(words);
    let has = |matches: &ArgMatches| matches.try_contains_id("command").unwrap_or(false);
    matches.is_ok_and(|matches| matches.subcommand().is_some_and(|(_, matches)| has(matches)))
}

/// The values of an argument, which is known by its name in `args`.
fn completing(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "preset" | "preset_name" => arg.add(ArgValueCandidates::new(presets)),
        "unrestricted" | "require" => arg.add(ArgValueCandidates::new(categories_and_rights)),
        "allow" => arg.add(ArgValueCompleter::new(rules)),
        "abi" | "kernel" => arg.add(ArgValueCandidates::new(versions)),
        "keep_caps" => {
            arg.add(ArgValueCandidates::new(|| caps::names().map(CompletionCandidate::new).collect()))
        }
        "command" | "program" => arg.add(ArgValueCompleter::new(programs)),
        "policy" | "within" | "files" => arg.add(ArgValueCompleter::new(policies)),
        "subcommand" => arg.add(ArgValueCandidates::new(subcommands)),
        "targets" => arg.value_hint(ValueHint::AnyPath),
        _ => arg,
    }
}

fn candidate(word: impl Into<OsString>, help: impl Into<String>) -> CompletionCandidate {
    CompletionCandidate::new(word).help(Some(help.into().into()))
}

fn presets() -> Vec<CompletionCandidate> {
    Preset::ALL.into_iter().map(|preset| candidate(preset.name(), preset.about())).collect()
}

fn categories_and_rights() -> Vec<CompletionCandidate> {
    let categories = status::ABOUT.into_iter().chain([("net", "TCP and UDP ports")]);
    let rights = Rights::all().names().map(CompletionCandidate::new);
    categories.map(|(name, about)| candidate(name, about)).chain(rights).collect()
}

fn versions() -> Vec<CompletionCandidate> {
    let all = (1..=Abi::LATEST.number()).filter_map(Abi::new);
    all.map(|abi| candidate(abi.number().to_string(), abi.to_string())).collect()
}

fn subcommands() -> Vec<CompletionCandidate> {
    let about = |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    Args::command().get_subcommands().map(|command| candidate(command.get_name(), about(command))).collect()
}

/// `RIGHTS:PATH`, where `f:` or `d:` may stand in front: rights with commas, then a path.
fn rules(typed: &OsStr) -> Vec<CompletionCandidate> {
    let bytes = typed.as_bytes();
    let kind = if bytes.starts_with(b"f:") || bytes.starts_with(b"d:") { 2 } else { 0 };
    if let Some(colon) = bytes[kind..].iter().position(|b| *b == b':') {
        let (rights, path) = bytes.split_at(kind + colon + 1);
        let paths = PathCompleter::any().complete(OsStr::from_bytes(path));
        return paths.into_iter().map(|path| path.add_prefix(OsStr::from_bytes(rights))).collect();
    }
    let start = bytes.iter().rposition(|b| *b == b',').map_or(kind, |comma| comma + 1);
    let (before, word) = (OsStr::from_bytes(&bytes[..start]), String::from_utf8_lossy(&bytes[start..]));
    let letters = match word.chars().all(|c| "rwxc".contains(c)) {
        true if word.is_empty() => vec!["r", "w", "x", "c"],
        true => vec![&*word],
        false => Vec::new(),
    };
    let in_words = |letters: &str| letters.parse::<Rights>().map_or(String::new(), Rights::in_words);
    let names = (Rights::FS | Rights::DEVICES | Rights::UNIX).names().filter(|name| name.starts_with(&*word));
    let letters = letters.into_iter().map(|letters| candidate(format!("{letters}:"), in_words(letters)));
    let all = letters.chain(names.map(|name| CompletionCandidate::new(format!("{name}:"))));
    all.map(|rights| rights.add_prefix(before)).collect()
}

/// Programs in PATH, and below folders.
fn programs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if typed.as_bytes().contains(&b'/') {
        return PathCompleter::any().filter(executable).complete(typed);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let files = std::env::split_paths(&path).filter_map(|dir| dir.read_dir().ok()).flatten().flatten();
    let mut names: Vec<OsString> = files
        .filter(|file| file.file_name().as_bytes().starts_with(typed.as_bytes()) && executable(&file.path()))
        .map(|file| file.file_name())
        .collect();
    names.sort();
    names.dedup();
    let folders = PathCompleter::any().filter(|_| false).complete(typed);
    names.into_iter().map(CompletionCandidate::new).chain(folders).collect()
}

/// Policies by name, and files.
fn policies(typed: &OsStr) -> Vec<CompletionCandidate> {
    let about = |name: &str| match Preset::ALL.into_iter().find(|preset| preset.name() == name) {
        Some(preset) => preset.about(),
        None if PolicyFile::built_in().iter().any(|(built_in, _)| *built_in == name) => "Built in",
        None => "",
    };
    let names = PolicyFile::names().into_iter().filter(|name| name.as_bytes().starts_with(typed.as_bytes()));
    let names = names.map(|name| candidate(&name, about(&name)));
    names.chain(PathCompleter::file().complete(typed)).collect()
}
