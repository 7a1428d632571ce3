//! `palisade learn --verify`: COMMAND once more, under what was learned, by the very command that its user will run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use palisade::{Rights, printable};
use serde_json::Value;

use super::NOT_SO;
use super::launch::Watched;
use super::rules::{Granted, Learned};
use crate::args::LearnArgs;
use crate::sys::{self, learn as signals};
use crate::watch::Status;
use crate::{Failure, quote, say};

/// Runs it. The exit status says whether the policy holds.
pub fn verify(args: &LearnArgs, file: &Path, watched: &Watched, rules: &[Learned]) -> Result<u8, Failure> {
    let before = watched.status;
    if !args.quiet {
        say::line(&format!("verifying: COMMAND runs again, confined by {}", printable(file)));
    }
    let failed = |error: std::io::Error| Failure::new(format!("COMMAND cannot be run again: {error}"));
    let mut report = nameless().map_err(failed)?;
    let mut words: Vec<OsString> =
        ["run", "--quiet", "--explain", "--json", "--output"].map(OsString::from).into();
    words.push(format!("/proc/self/fd/{}", report.as_raw_fd()).into());
    // With a slash, or it could be taken for a name.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    words.extend(["--policy".into(), file.clone().into()]);
    for within in &args.policy.within {
        words.extend(["--within".into(), within.clone()]);
    }
    words.extend(args.start.words());
    words.push("--".into());
    words.extend(args.command.iter().cloned());
    signals::stop_as_others_do();
    let mut child = Command::new("/proc/self/exe").args(&words).spawn().map_err(failed)?;
    signals::leave_signals_to(child.id() as i32).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    signals::child_has_ended();
    let after = match (status.code(), status.signal()) {
        (Some(code), _) => Status::Exited(code),
        (_, signal) => Status::Killed(signal.unwrap_or_default()),
    };
    let mut said = String::new();
    report.read_to_string(&mut said).map_err(failed)?;
    let report: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if report.is_empty() {
        return Err(Failure::new(format!(
            "the policy does not hold: COMMAND did not start under it ({})",
            ended(after)
        )));
    }
    let needed = |refusal: &&Value| is_needed(refusal, watched, rules);
    let refusals = report.iter().filter_map(|report| report["refusals"].as_array()).flatten();
    let missing: Vec<String> = refusals.filter(needed).map(missing).collect();
    let same = before == after;
    if missing.is_empty() && same {
        if !args.quiet {
            let failed = if after == Status::Exited(0) {
                ""
            } else {
                "; what it would do if it did not fail is not in the policy"
            };
            say::line(&format!(
                "verified: nothing was refused that it had used, and COMMAND {} again{failed}",
                ended(after)
            ));
        }
        return Ok(0);
    }
    let mut lines = Vec::new();
    if !same {
        lines.push(format!("COMMAND {}; before it {}", ended(after), ended(before)));
    }
    if missing.is_empty() {
        lines.push(
            "nothing was refused that it had used: it may be that what the first run has made was there already; if so, remove that, and see by palisade run --explain"
                .to_owned(),
        );
    }
    if !missing.is_empty() {
        lines.extend(missing);
        lines.push(format!(
            "palisade learn --from {} -- COMMAND adds what it uses if it does so again",
            printable(&file)
        ));
    }
    say::line(&format!("the policy does not hold:\n  {}", lines.join("\n  ")));
    Ok(NOT_SO)
}

fn ended(status: Status) -> String {
    match status {
        Status::Exited(status) => format!("ended with exit status {status}"),
        Status::Killed(signal) => format!("was ended by signal {signal}"),
    }
}

/// Whether a refusal is palisade's, and of what succeeded before.
fn is_needed(refusal: &Value, watched: &Watched, rules: &[Learned]) -> bool {
    let word = |key: &str| refusal[key].as_str().unwrap_or_default();
    let ours = ["landlock", "seccomp"].contains(&word("by"));
    let is_unix = |rule: &Learned| match rule.what {
        Granted::Path { rights, .. } | Granted::Unrestricted(rights) => {
            rights.intersects(Rights::UNIX | Rights::ABSTRACT)
        }
        _ => false,
    };
    // Made to look for a daemon that was not there, as that of names (nscd).
    let used = watched.seen.pairs || watched.seen.own_names || rules.iter().any(is_unix);
    let unused = word("asked") == "make a UNIX socket" && !used;
    ours && !unused && !watched.seen.tried.contains(word("asked"))
}

/// A refusal, and the options that would allow it.
fn missing(refusal: &Value) -> String {
    let word = |key: &str| refusal[key].as_str().unwrap_or_default();
    let options = refusal["options"].as_array().cloned().unwrap_or_default();
    let options: Vec<String> = options
        .iter()
        .filter_map(Value::as_array)
        .map(|words| quote::words(words.iter().filter_map(Value::as_str)))
        .collect();
    let helps = match (options.as_slice(), refusal["no_option"].as_str()) {
        ([], Some(why)) => format!("; {why}"),
        ([], None) => String::new(),
        (options, _) => format!("; {} would allow it", options.join(" ")),
    };
    format!("{} was refused to {}: {}{helps}", word("name"), word("asked"), word("why"))
}

/// A file without a name, so that COMMAND cannot change what is said of it.
fn nameless() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!(".palisade-learn.{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    sys::keep_on_exec(file.as_raw_fd())?;
    Ok(file)
}
