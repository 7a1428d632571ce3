//! What is explained, as text and as JSON.

use palisade::printable;
use serde_json::{Value, json};

use super::{Cause, Ended, Explained, Explanation, NoOption, asked};
use crate::propose::{self, Held, Proposed};
use crate::quote;
use crate::say::word_as_json;
use crate::watch::Status;

/// So many refusals that one option serves are shown.
const SHOWN: usize = 5;

/// One refusal, as the rest of a line.
fn what(explained: &Explained<'_>) -> String {
    let event = &explained.refusal.event;
    let processes: Vec<String> = explained.refusal.processes.iter().map(i32::to_string).collect();
    let times = match explained.refusal.times {
        1 => String::new(),
        2 => ", twice".to_owned(),
        times => format!(", {times} times"),
    };
    format!("{} ({}): {}{times}", printable(&event.name), processes.join(", "), asked(&event.what))
}

fn why(explained: &Explained<'_>) -> String {
    match &explained.cause {
        Cause::Policy { missing, .. } => missing.clone(),
        Cause::Filter(why) => format!("{why}: seccomp closes what this kernel's Landlock cannot restrict"),
        Cause::Always(why) | Cause::Watching(why) => (*why).to_owned(),
        Cause::Permissions(why) => why.clone(),
        Cause::Other => {
            "neither this policy nor ordinary permissions refuse it: another sandbox does, around \
                         palisade or the program's own, or a rule of the system's"
                .to_owned()
        }
        Cause::Unsure(why) => format!("whether palisade refused it cannot be said: {why}"),
    }
}

fn why_no_option(why: &NoOption) -> Option<String> {
    match why {
        NoOption::NotOurs => None,
        NoOption::Because(why) => Some(why.clone()),
        NoOption::Held(Held::Secret { path, what }) => {
            Some(format!("{} is {what}: grant it by name if that is meant", printable(path)))
        }
        NoOption::Held(Held::Wide { path, rights, .. }) => Some(format!(
            "it would take {} on {}, with all that is in it: make the file first and grant that alone, or use another \
             folder",
            rights.names().collect::<Vec<_>>().join(", "),
            printable(path)
        )),
        NoOption::Held(Held::Fleeting { path }) => {
            Some(format!("{} is another one each time", printable(path)))
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

/// How it ended, if not well.
fn failed(status: Status) -> Option<String> {
    match status {
        Status::Exited(0) => None,
        Status::Exited(status) => Some(format!("it ended with exit status {status}")),
        Status::Killed(signal) => Some(format!("it was killed by signal {signal}")),
    }
}

/// One refusal as it happens, in one line.
pub fn line_for_people(explained: &Explained<'_>, options: &[Proposed]) -> String {
    let line =
        format!("{}: {} ({})", what(explained), why(explained), errno_name(explained.refusal.event.errno));
    let add = match &explained.options {
        Ok(all) => {
            let words: Vec<_> = all.iter().flat_map(|at| &options[*at].words).collect();
            if words.is_empty() { None } else { Some(format!("add {}", quote::words(words))) }
        }
        Err(why) => why_no_option(why),
    };
    let by = if explained.cause.is_palisade() { "refused to" } else { "refused, not by palisade, to" };
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
    let others: Vec<&Explained<'_>> = all.iter().filter(|explained| !explained.cause.is_palisade()).collect();
    let mut lines = Vec::new();
    let how = failed(ended.status).map_or(String::new(), |how| format!("; {how}"));
    let later = if again { " after it had ended" } else { "" };
    lines.push(match (ours.len(), failed(ended.status)) {
        (0, Some(how)) if !again => {
            format!("palisade refused nothing to {name} and what it started; {how}, for another reason")
        }
        (0, _) => format!("palisade refused nothing to {name} and what it started{later}"),
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
            lines.push(format!("      {}: {}", what(explained), why(explained)));
        }
        if all.len() > SHOWN {
            lines.push(format!("      and {} more", all.len() - SHOWN));
        }
    }
    let mut section = |title: &str, some: Vec<(&&Explained<'_>, String)>| {
        if !some.is_empty() {
            lines.push(format!("  {title}"));
        }
        for (explained, why) in some {
            lines.push(format!("      {}: {why}", what(explained)));
        }
    };
    let without = ours.iter().filter_map(|explained| {
        let because = explained.options.as_ref().err().and_then(why_no_option)?;
        Some((explained, format!("{}; {because}", why(explained))))
    });
    section("No option is proposed for", without.collect());
    let not_ours = others.iter().map(|explained| {
        (explained, format!("{} ({})", why(explained), errno_name(explained.refusal.event.errno)))
    });
    section("Not refused by palisade", not_ours.collect());
    if explanation.more {
        lines.push("  There were more, which are not listed.".to_owned());
    }
    if !explanation.options.is_empty() {
        lines.push(format!("To allow it, add: {}", quote::words(propose::in_words(&explanation.options))));
    }
    if ended.left > 0 {
        let (processes, run) = if ended.left == 1 { ("process", "runs") } else { ("processes", "run") };
        lines.push(format!(
            "{} {processes} that it started still {run} on; what is refused to them is said when they have ended",
            ended.left
        ));
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
        Err(NoOption::Held(_)) => Some("wide"),
        _ => None,
    };
    json!({
        "name": word_as_json(&event.name),
        "program": event.program.as_ref().map(|path| word_as_json(path.as_os_str())),
        "processes": explained.refusal.processes,
        "times": explained.refusal.times,
        "asked": asked(&event.what),
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
