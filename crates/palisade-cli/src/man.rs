//! `palisade man`: the manual pages, made of what `--help` prints, so that neither can know more than the other.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use palisade::printable;

use crate::args::{Args, ManArgs};
use crate::{Failure, say};

const EXAMPLES: &str = "EXAMPLES";
const EXIT_STATUS: &str = "EXIT STATUS";

pub fn man(args: &ManArgs) -> Result<(), Failure> {
    let pages = pages().map_err(|error| Failure::new(format!("a manual page cannot be made: {error}")))?;
    if let Some(dir) = &args.out {
        return write(dir, &pages);
    }
    let name = args.subcommand.as_ref().map_or("palisade".to_owned(), |name| format!("palisade-{name}"));
    match pages.iter().find(|page| page.name == name) {
        Some(page) => say::print(&page.text),
        None => {
            let names: Vec<&str> =
                pages.iter().filter_map(|page| page.name.strip_prefix("palisade-")).collect();
            let given = printable(args.subcommand.as_deref().unwrap_or_default());
            Err(Failure::new(format!("\"{given}\" is no command; there are {}", names.join(", "))))
        }
    }
}

fn write(dir: &Path, pages: &[Page]) -> Result<(), Failure> {
    let failed =
        |path: &Path, error| Failure::new(format!("{}: cannot be written: {error}", printable(path)));
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for page in pages {
        let path = dir.join(format!("{}.1", page.name));
        std::fs::write(&path, &page.text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

struct Page {
    name: String,
    text: String,
}

/// Palisade itself, and each of its commands.
fn commands() -> Vec<Command> {
    let mut root = Args::command().disable_help_subcommand(true);
    root.build();
    [root.clone()].into_iter().chain(root.get_subcommands().cloned()).collect()
}

fn pages() -> std::io::Result<Vec<Page>> {
    let commands = commands();
    let names: Vec<String> = commands.iter().map(name).collect();
    commands.into_iter().map(|command| page(command, &names)).collect()
}

/// As `palisade-run`.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

fn page(mut command: Command, all: &[String]) -> std::io::Result<Page> {
    let name = name(&command);
    let usage = command.render_usage().to_string();
    // clap_mangen would name every option, and no value of any.
    let command = command.override_usage(usage.trim_start_matches("Usage:").trim().to_owned());
    let man = Man::new(command.clone());
    // Its own title leaves out the empty date, and what follows is then taken for one.
    let version = env!("CARGO_PKG_VERSION");
    let mut bytes = format!(".TH {name} 1 \"\" \"palisade {version}\" Palisade\n").into_bytes();
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut bytes)?;
    }
    let mut roff = Roff::new();
    for (heading, lines) in sections(&command) {
        section(&mut roff, &heading, &lines);
    }
    see_also(&mut roff, &name, all);
    roff.to_writer(&mut bytes)?;
    Ok(Page { name, text: ascii(&String::from_utf8_lossy(&bytes)) })
}

/// The sections of what `--help` ends with: each begins with a line that is not indented, as `Exit status:`.
fn sections(command: &Command) -> Vec<(String, Vec<String>)> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("  "), sections.last_mut()) {
            (Some(line), Some((_, lines))) => lines.push(line.to_owned()),
            _ if line.is_empty() => {}
            _ => sections.push((line.trim_end_matches(':').to_uppercase(), Vec::new())),
        }
    }
    sections
}

/// What is indented once more is a command, as all examples are; an exit status is one line with what it means.
fn section(roff: &mut Roff, heading: &str, lines: &[String]) {
    roff.control("SH", [heading]);
    if heading == EXIT_STATUS {
        for (status, meaning) in lines.iter().filter_map(|line| line.split_once("  ")) {
            roff.control("TP", []).text([bold(status)]).text([roman(meaning.trim())]);
        }
        return;
    }
    let is_command = |line: &String| heading == EXAMPLES || line.starts_with("  ");
    for (number, lines) in lines.chunk_by(|a, b| is_command(a) == is_command(b)).enumerate() {
        let commands = is_command(&lines[0]);
        if commands {
            roff.control("RS", ["4"]);
        }
        // The first follows its heading at once.
        if number > 0 {
            roff.control("PP", []);
        }
        if commands {
            roff.control("EX", []);
        }
        for line in lines {
            roff.text([roman(line.trim_start())]);
        }
        if commands {
            roff.control("EE", []).control("RE", []);
        }
    }
}

fn see_also(roff: &mut Roff, name: &str, all: &[String]) {
    roff.control("SH", ["SEE ALSO"]);
    let others = all.iter().filter(|other| *other != name).map(|other| (other.as_str(), "(1), "));
    for (page, section) in others.chain([("landlock", "(7), "), ("seccomp", "(2)")]) {
        roff.text([bold(page), roman(section)]);
    }
}

/// What is not ASCII as roff writes it, so that it does not matter how the page is read.
fn ascii(text: &str) -> String {
    let escaped = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => format!("\\[u{:04X}]", u32::from(c)),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(command: &Command, heading: &str) -> Vec<String> {
        let found = sections(command).into_iter().find(|(section, _)| section == heading);
        found.map(|(_, lines)| lines).unwrap_or_default()
    }

    /// Whoever adds a command writes them after its help.
    #[test]
    fn every_command_has_examples_that_parse_and_its_exit_status() {
        for command in commands() {
            let name = name(&command);
            let examples = lines_of(&command, EXAMPLES);
            assert!(!examples.is_empty(), "{name} --help has no \"Examples:\"");
            for example in examples {
                let words = example.split_whitespace().take_while(|word| !word.starts_with(['>', '|']));
                let parsed = Args::command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{name}: {example}: {}", parsed.unwrap_err());
            }
            let statuses = lines_of(&command, EXIT_STATUS);
            assert!(
                statuses.iter().any(|line| line.starts_with("125  ")),
                "{name} --help has no \"Exit status:\""
            );
            for line in statuses {
                let (status, meaning) = line.split_once("  ").unwrap_or_default();
                assert!(status == "N" || status.parse::<u8>().is_ok(), "{name}: {line}");
                assert!(!meaning.trim().is_empty(), "{name}: {line}");
            }
        }
    }

    #[test]
    fn a_page_has_every_section_and_every_visible_option() {
        let pages = pages().unwrap();
        for (command, page) in commands().iter().zip(&pages) {
            let headings = [
                ".SH NAME",
                ".SH SYNOPSIS",
                ".SH DESCRIPTION",
                ".SH OPTIONS",
                ".SH EXAMPLES",
                ".SH \"EXIT STATUS\"",
            ];
            for heading in headings.into_iter().chain([".SH \"SEE ALSO\""]) {
                let count = page.text.lines().filter(|line| *line == heading).count();
                assert_eq!(count, 1, "{}: {heading}", page.name);
            }
            let tags: Vec<&str> =
                page.text.lines().filter(|line| line.starts_with(['\\', '[', '<'])).collect();
            let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
            for option in visible.filter_map(|argument| argument.get_long()) {
                let option = format!("\\fB\\-\\-{}\\fR", option.replace('-', "\\-"));
                assert!(tags.iter().any(|line| line.contains(&option)), "{}: {option}", page.name);
            }
            for other in pages.iter().filter(|other| other.name != page.name) {
                let other = format!("\\fB{}\\fR(1)", other.name.replace('-', "\\-"));
                assert!(page.text.contains(&other), "{}: {other}", page.name);
            }
            assert!(page.text.is_ascii());
        }
    }
}
