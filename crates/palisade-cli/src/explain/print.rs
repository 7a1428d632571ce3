//! What is explained, as text and as JSON.

use std::ffi::OsStr;

use palisade::{Rights, printable};
use serde_json::{Value, json};

use super::{Cause, Ended, Explained, Explanation, NoOption};
use crate::propose::{self, Held, Proposed};
use crate::quote;
use crate::say::word_as_json;
use crate::watch::Status;

/// So many refusals that one option serves are shown.
const SHOWN: usize = 5;

/// So many processes are named.
const NAMED: usize = 3;

/// One refusal: who, what, and the right that is missing.
fn what(explained: &Explained<'_>) -> String {
    let refusal = explained.refusal;
    let times = match refusal.times {
        1 => String::new(),
        2 => ", twice".to_owned(),
        times => format!(", {times} times"),
    };
    let processes: Vec<String> = refusal.processes.iter().take(NAMED).map(i32::to_string).collect();
    let others = if refusal.processes.len() > NAMED { ", …" } else { "" };
    let missing = match &explained.cause {
        Cause::Policy { missing, .. } if is_plain(missing) => {
            // Which port it is has been said.
            let missing = missing.split(" for port ").next().unwrap_or(missing);
            format!(" ({})", missing.replace(" is missing", "").replace(" are missing", ""))
        }
        _ => String::new(),
    };
    let name = printable(&refusal.event.name);
    let changed = match refusal.event.changed {
        true => ", or another, for the program changes that meanwhile",
        false => "",
    };
    format!("{name} ({}{others}): {}{changed}{missing}{times}", processes.join(", "), refusal.asked)
}

/// Rights that are missing, and perhaps on what; no whole story.
fn is_plain(missing: &str) -> bool {
    let rights = missing.split(" is missing").next().and_then(|words| words.split(" are missing").next());
    !missing.starts_with("to ")
        && rights.is_some_and(|rights| rights.len() < missing.len() && !rights.contains(':'))
        && missing.matches(" missing").count() == 1
}

fn why(explained: &Explained<'_>) -> String {
    match &explained.cause {
        Cause::Policy { missing, .. } => missing.clone(),
        Cause::Filter(what) => format!("seccomp closes {what}, which this kernel's Landlock cannot restrict"),
        Cause::Always(why) | Cause::Watching(why) => (*why).to_owned(),
        Cause::NoNewRights => "nothing that is confined gains rights by being executed".to_owned(),
        Cause::Permissions(why) => why.clone(),
        Cause::Other => {
            "neither this policy nor ordinary permissions refuse it: another sandbox does, around \
                         palisade or the program's own, or a rule of the system's"
                .to_owned()
        }
        Cause::Unsure(why) => format!("whether palisade refused it cannot be said: {why}"),
    }
}

/// What there is to say besides.
fn why_besides(explained: &Explained<'_>) -> Option<String> {
    match &explained.cause {
        Cause::Policy { missing, .. } if is_plain(missing) => None,
        _ => Some(why(explained)),
    }
}

fn why_no_option(why: &NoOption) -> Option<String> {
    match why {
        NoOption::NotOurs => None,
        NoOption::Because(why) => Some(why.clone()),
        NoOption::Held(Held::Secret { what, .. }) => {
            Some(format!("sensitive ({what}): grant it by name if that is meant"))
        }
        NoOption::Held(Held::Wide { path, rights, holds }) => {
            let holds =
                holds.map_or(String::new(), |what| format!(", where something is sensitive ({what})"));
            let makes = !(*rights - Rights::RX).is_empty();
            let else_do = match makes {
                // What is moved or linked there from another folder takes both folders.
                true if rights.contains(Rights::REFER) => ", or use another folder",
                true if rights.contains(Rights::MAKE_DIR) => {
                    ", or make that one first and grant it alone, or use another folder"
                }
                true => ", or make the file first and grant that alone, or use another folder",
                false => "",
            };
            Some(format!(
                "it takes {} on all of {}{holds}: grant the folder by name if that is meant{else_do}",
                rights.names().collect::<Vec<_>>().join(", "),
                printable(path)
            ))
        }
        NoOption::Held(Held::Fleeting { .. }) => {
            Some("no option can name it, for it is another one each time".to_owned())
        }
    }
}

fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::EXDEV => "EXDEV",
        libc::EACCES => "EACCES",
        _ => "error",
    }
}

fn with_errno(explained: &Explained<'_>, why: &str) -> String {
    format!("{why} ({})", errno_name(explained.refusal.event.errno))
}

/// How it ended, if not well.
fn failed(status: Status) -> Option<String> {
    match status {
        Status::Exited(0) => None,
        Status::Exited(status) => Some(format!("it ended with exit status {status}")),
        Status::Killed(signal) => Some(format!("it was killed by signal {signal}{}", signal_name(signal))),
    }
}

/// The name of a signal that programs often end by.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => " (SIGHUP)",
        libc::SIGINT => " (SIGINT)",
        libc::SIGQUIT => " (SIGQUIT)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGPIPE => " (SIGPIPE)",
        libc::SIGALRM => " (SIGALRM)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGSYS => " (SIGSYS)",
        _ => "",
    }
}

/// Whether the reason names what is refused, so that no two are the same.
fn has_reason_of_its_own(explained: &Explained<'_>) -> bool {
    explained.besides.is_some() || !explained.cause.is_palisade()
}

/// One refusal as it happens, in one line.
pub fn line_for_people(explained: &Explained<'_>, options: &[Proposed]) -> String {
    let event = &explained.refusal.event;
    let why = why_besides(explained).map_or(String::new(), |why| format!(": {why}"));
    let line = format!("{}: {}{why}", what(explained), errno_name(event.errno));
    let add = match &explained.options {
        Ok(all) => {
            let words: Vec<_> = all.iter().flat_map(|at| &options[*at].words).collect();
            if words.is_empty() { None } else { Some(format!("add {}", quote::words(words))) }
        }
        Err(why) => why_no_option(why),
    };
    let perhaps = explained.cause.is_palisade() || matches!(explained.cause, Cause::Unsure(_));
    let by = if perhaps { "refused to" } else { "refused, not by this policy, to" };
    match add {
        Some(add) => format!("{by} {line}; {add}"),
        None => format!("{by} {line}"),
    }
}

/// All of it, at the end.
pub fn for_people(explanation: &Explanation<'_>, ended: &Ended<'_>, again: bool) -> String {
    let name = printable(ended.name);
    let all = &explanation.refusals;
    let ours: Vec<&Explained<'_>> = all.iter().filter(|explained| explained.cause.is_palisade()).collect();
    let is_unsure = |explained: &&Explained<'_>| matches!(explained.cause, Cause::Unsure(_));
    let others = all.iter().filter(|explained| !explained.cause.is_palisade());
    let (unsure, others): (Vec<&Explained<'_>>, Vec<&Explained<'_>>) = others.partition(is_unsure);
    let mut lines = Vec::new();
    let how = failed(ended.status).map_or(String::new(), |how| format!("; {how}"));
    let later = if again { " after it had ended" } else { "" };
    lines.push(match (ours.len(), failed(ended.status)) {
        (0, _) if !unsure.is_empty() => {
            format!("refused nothing to {name} and what it started{later} as far as can be said{how}")
        }
        (0, Some(how)) if !again => {
            format!("refused nothing to {name} and what it started; {how}, for another reason")
        }
        (0, _) => format!("refused nothing to {name} and what it started{later}"),
        (1, _) => format!("refused to {name} and what it started{later}: one thing{how}"),
        (n, _) => format!("refused to {name} and what it started{later}: {n} things{how}"),
    });
    for (at, Proposed { words, .. }) in explanation.options.iter().enumerate() {
        // Of several options that one takes it stands under the first.
        let under =
            |explained: &&&Explained<'_>| matches!(&explained.options, Ok(of) if of.first() == Some(&at));
        let serves = |explained: &&&Explained<'_>| matches!(&explained.options, Ok(of) if of.contains(&at));
        let first: Vec<_> = ours.iter().filter(under).collect();
        let all = if first.is_empty() { ours.iter().filter(serves).collect() } else { first };
        lines.push(format!("  {}", quote::words(words)));
        for explained in all.iter().take(SHOWN) {
            let why = why_besides(explained).map_or(String::new(), |why| format!(": {why}"));
            lines.push(format!("      {}{why}", what(explained)));
        }
        if all.len() > SHOWN {
            lines.push(format!("      and {} more", all.len() - SHOWN));
        }
    }
    let mut section = |title: &str, some: Vec<(&Explained<'_>, String)>| {
        if !some.is_empty() {
            lines.push(format!("  {title}"));
        }
        // Of one kind, as what /proc has of each process, it is the first that are told, so that they do not fill the screen.
        let mut kinds: Vec<(&OsStr, String, usize)> = Vec::new();
        for (explained, why) in some {
            let name = explained.refusal.event.name.as_os_str();
            let reason = if has_reason_of_its_own(explained) { String::new() } else { format!(": {why}") };
            let at = kinds.iter().position(|(of, because, _)| *of == name && *because == reason);
            let at = at.unwrap_or(kinds.len());
            if at == kinds.len() {
                kinds.push((name, reason, 0));
            }
            kinds[at].2 += 1;
            if kinds[at].2 <= SHOWN {
                lines.push(format!("      {}: {why}", what(explained)));
            }
        }
        for (name, reason, n) in kinds.iter().filter(|(.., n)| *n > SHOWN) {
            lines.push(format!("      and {} more to {}{reason}", n - SHOWN, printable(name)));
        }
    };
    let without = ours.iter().filter_map(|explained| {
        let because = explained.options.as_ref().err().and_then(why_no_option)?;
        Some((*explained, why_besides(explained).map_or(because.clone(), |why| format!("{why}; {because}"))))
    });
    section("No option is proposed for", without.collect());
    let unsure = unsure.iter().map(|explained| match &explained.cause {
        Cause::Unsure(why) => (*explained, with_errno(explained, why)),
        _ => (*explained, with_errno(explained, &why(explained))),
    });
    section("Whether palisade refused it cannot be said for", unsure.collect());
    let others = others.iter().map(|explained| (*explained, with_errno(explained, &why(explained))));
    section("Not refused by this policy", others.collect());
    if explanation.more {
        lines.push("  There were more, which are not listed.".to_owned());
    }
    if ours.is_empty() && ended.without_capabilities && failed(ended.status).is_some() && !again {
        lines.push(
            "If it needs root's special rights (capabilities), palisade has taken them away: --keep-caps NAME keeps one, as \
             dac_override (files of other users) or chown"
                .to_owned(),
        );
    }
    if !explanation.options.is_empty() {
        lines.push(format!("To allow it, add: {}", quote::words(propose::in_words(&explanation.options))));
    }
    match ended.left {
        0 => {}
        1 => lines.push(
            "a process that it started still runs on; what is refused to it is said when it has ended"
                .to_owned(),
        ),
        n => lines.push(format!(
            "{n} processes that it started still run on; what is refused to them is said when they have ended"
        )),
    }
    lines.join("\n")
}

fn refusal_as_json(explained: &Explained<'_>, options: &[Proposed]) -> Value {
    let event = &explained.refusal.event;
    let words =
        |words: &Vec<std::ffi::OsString>| words.iter().map(|word| word_as_json(word)).collect::<Value>();
    let (options, no_option) = match &explained.options {
        Ok(all) => (all.iter().map(|at| words(&options[*at].words)).collect::<Vec<_>>(), None),
        Err(why) => (Vec::new(), why_no_option(why)),
    };
    let (path, other) = match &event.what {
        crate::watch::What::Asked(requests) => (requests[0].path(), requests[0].other_path()),
        _ => (None, None),
    };
    let held = match &explained.options {
        Err(NoOption::Held(Held::Secret { .. })) => Some("secret"),
        Err(NoOption::Held(Held::Wide { .. })) => Some("wide"),
        Err(NoOption::Held(Held::Fleeting { .. })) => Some("fleeting"),
        _ => None,
    };
    json!({
        "name": word_as_json(&event.name),
        "program": event.program.as_ref().map(|path| word_as_json(path.as_os_str())),
        "processes": explained.refusal.processes,
        "times": explained.refusal.times,
        "asked": explained.refusal.asked,
        "changed": event.changed,
        "path": path.map(|path| word_as_json(path.as_os_str())),
        "other_path": other.map(|path| word_as_json(path.as_os_str())),
        "errno": errno_name(event.errno),
        "by": explained.cause.name(),
        "why": why(explained),
        "options": options,
        "no_option": no_option,
        "held": held,
    })
}

/// One refusal as it happens, as a line of JSON.
pub fn line_as_json(explained: &Explained<'_>, options: &[Proposed]) -> String {
    refusal_as_json(explained, options).to_string()
}

/// All of it, at the end, as a line of JSON.
pub fn as_json(explanation: &Explanation<'_>, ended: &Ended<'_>) -> String {
    let (exited, signal) = match ended.status {
        Status::Exited(status) => (Some(status), None),
        Status::Killed(signal) => (None, Some(signal)),
    };
    let all = explanation.refusals.iter().map(|explained| refusal_as_json(explained, &explanation.options));
    let value = json!({
        "command": word_as_json(ended.name.as_os_str()),
        "exit_status": exited,
        "signal": signal,
        "still_running": ended.left,
        "refusals": all.collect::<Vec<_>>(),
        "options": propose::in_words(&explanation.options).iter().map(|word| word_as_json(word)).collect::<Vec<_>>(),
        "more": explanation.more,
    });
    value.to_string()
}
