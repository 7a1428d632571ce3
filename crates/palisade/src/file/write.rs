//! A policy as a file, and as options: the same, said in the other way.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

use super::Environment;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::preset::Preset;
use crate::rights::Rights;
use crate::rule::{Kind, Ports, Target, Terms};

/// The keys of `[fs]` and `[unix]` that grant a group, and their options.
const GROUPS: [(&str, &str, Rights); 5] = [
    ("ro", "--ro", Rights::RO),
    ("rx", "--rx", Rights::RX),
    ("rw", "--rw", Rights::RW),
    ("rwx", "--rwx", Rights::RWX),
    ("connect", "--unix", Rights::RESOLVE_UNIX),
];

const PORTS: [(&str, &str, Rights); 4] = [
    ("connect_tcp", "--connect-tcp", Rights::CONNECT_TCP),
    ("bind_tcp", "--bind-tcp", Rights::BIND_TCP),
    ("connect_udp", "--connect-udp", Rights::CONNECT_SEND_UDP),
    ("bind_udp", "--bind-udp", Rights::BIND_UDP),
];

/// The parts of a policy, in the order in which they are written.
struct Parts<'a> {
    /// Each once.
    presets: Vec<Preset>,
    /// For each of [`GROUPS`].
    groups: [Vec<&'a Path>; 5],
    /// All other rules on paths; those with the same terms stand together.
    allow: Vec<(Terms, Vec<&'a Path>)>,
    /// For each of [`PORTS`].
    ports: [Vec<Ports>; 4],
}

fn parts(policy: &Policy) -> Result<Parts<'_>> {
    let cannot = |what: &str| {
        let hint = "only what the command's options can say can be written";
        Err(Error::invalid(format!("{what} cannot be written in a policy file"), hint))
    };
    if !policy.quiet.is_empty() || !policy.log.is_empty() {
        return cannot("what is logged");
    }
    let mut parts = Parts {
        presets: Vec::new(),
        groups: Default::default(),
        allow: Vec::new(),
        ports: Default::default(),
    };
    for preset in &policy.presets {
        if !parts.presets.contains(preset) {
            parts.presets.push(*preset);
        }
    }
    for rule in &policy.rules {
        let terms = rule.terms;
        if terms.quiet {
            return cannot("a quiet rule");
        }
        let plain = !terms.optional && terms.kind.is_none();
        for target in &rule.targets {
            let Target::Path(path) = target else { return cannot("a rule on a descriptor") };
            match GROUPS.iter().position(|(.., rights)| plain && *rights == terms.rights) {
                Some(group) => parts.groups[group].push(path),
                None => match parts.allow.iter_mut().find(|(same, _)| *same == terms) {
                    Some((_, paths)) => paths.push(path),
                    None => parts.allow.push((terms, vec![path])),
                },
            }
        }
    }
    let sends = policy.ports.iter().any(|(right, _)| *right == Rights::CONNECT_SEND_UDP);
    for &(right, ports) in &policy.ports {
        // It comes with what sends.
        if right == Rights::BIND_UDP && ports == Ports::from(0) && sends {
            continue;
        }
        let list = PORTS.iter().zip(&mut parts.ports).find(|((.., known), _)| *known == right);
        if let Some((_, list)) = list {
            list.push(ports);
        }
    }
    Ok(parts)
}

/// What has to hold, if that is said: None is everything.
fn required(policy: &Policy) -> Option<Option<Rights>> {
    match policy.require {
        _ if policy.strict => Some(None),
        None if policy.all_of_abi => Some(None),
        said => said.map(Some),
    }
}

pub(super) fn args(policy: &Policy) -> Result<Vec<OsString>> {
    let parts = parts(policy)?;
    let mut words: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
    if let Some(abi) = policy.abi {
        add("--abi", abi.number().to_string().into());
    }
    match required(policy) {
        Some(Some(rights)) if !rights.is_empty() => add("--require", rights.short_names().join(",").into()),
        _ => {}
    }
    if !policy.unrestricted.is_empty() {
        add("--unrestricted", policy.unrestricted.short_names().join(",").into());
    }
    for preset in &parts.presets {
        add("--preset", preset.name().into());
    }
    for ((_, option, _), paths) in GROUPS.iter().zip(&parts.groups) {
        paths.iter().for_each(|path| add(option, path.into()));
    }
    for (terms, paths) in &parts.allow {
        for path in paths {
            let kind = match terms.kind {
                Some(Kind::File) => "f:",
                Some(Kind::Dir) => "d:",
                None => "",
            };
            let mut value = OsString::from(format!("{kind}{}:", terms.rights));
            value.push(path);
            add("--allow", value);
        }
    }
    for ((_, option, _), list) in PORTS.iter().zip(&parts.ports) {
        list.iter().for_each(|ports| add(option, ports.to_string().into()));
    }
    match required(policy) {
        Some(None) => words.push("--strict".into()),
        Some(Some(rights)) if rights.is_empty() => words.push("--best-effort".into()),
        _ => {}
    }
    if policy.rules.iter().any(|rule| rule.terms.optional) {
        words.push("--ignore-missing".into());
    }
    Ok(words)
}

pub(super) fn toml(policy: &Policy, environment: &Environment) -> Result<String> {
    let parts = parts(policy)?;
    let mut top = String::new();
    let mut line = |key: &str, value: String| {
        // A String takes all that is written.
        let _ = writeln!(top, "{key} = {value}");
    };
    let names = |rights: Rights| list(rights.short_names().into_iter().map(text));
    if !parts.presets.is_empty() {
        line("include", list(parts.presets.iter().map(|preset| text(preset.name()))));
    }
    if let Some(abi) = policy.abi {
        line("abi", abi.number().to_string());
    }
    match required(policy) {
        Some(None) => line("require", text("everything")),
        Some(Some(rights)) => line("require", names(rights)),
        None => {}
    }
    if !policy.unrestricted.is_empty() {
        line("unrestricted", names(policy.unrestricted));
    }

    let keys = |groups: &[(&str, &str, Rights)], lists: &[Vec<&Path>]| -> String {
        let lines = groups.iter().zip(lists).filter(|(_, paths)| !paths.is_empty());
        lines
            .map(|((key, ..), paths)| format!("{key} = {}\n", list(paths.iter().map(|path| word(path)))))
            .collect()
    };
    let mut sections = vec![top];
    let mut section = |name: &str, lines: String| {
        if !lines.is_empty() {
            sections.push(format!("{name}\n{lines}"));
        }
    };
    section("[fs]", keys(&GROUPS[..4], &parts.groups[..4]));
    for (terms, paths) in &parts.allow {
        let mut lines = format!("paths = {}\n", list(paths.iter().map(|path| word(path))));
        lines += &format!("rights = {}\n", text(&terms.rights.to_string()));
        if terms.optional {
            lines += "optional = true\n";
        }
        match terms.kind {
            Some(Kind::File) => lines += "kind = \"file\"\n",
            Some(Kind::Dir) => lines += "kind = \"dir\"\n",
            None => {}
        }
        section("[[fs.allow]]", lines);
    }
    let ports = PORTS.iter().zip(&parts.ports).filter(|(_, list)| !list.is_empty());
    let port = |ports: &Ports| match ports.to_string() {
        number if number.parse::<u16>().is_ok() => number,
        range => text(&range),
    };
    section(
        "[net]",
        ports.map(|((key, ..), ports)| format!("{key} = {}\n", list(ports.iter().map(port)))).collect(),
    );
    section("[unix]", keys(&GROUPS[4..], &parts.groups[4..]));
    let clear = if environment.clear { "clear = true\n" } else { "" };
    let pass = match environment.pass.as_slice() {
        [] => String::new(),
        names => format!("pass = {}\n", list(names.iter().map(|name| text(name)))),
    };
    section("[env]", format!("{clear}{pass}"));
    sections.retain(|section| !section.is_empty());
    if sections.is_empty() {
        return Ok("# Nothing is allowed.\n".to_owned());
    }
    Ok(sections.join("\n"))
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A path, in which nothing stands for something else.
fn word(path: &Path) -> String {
    match path.to_str() {
        Some(path) => {
            let here = if path.starts_with('~') { "./" } else { "" };
            text(&format!("{here}{}", path.replace('$', "$$")))
        }
        None => {
            let bytes = path.as_os_str().as_encoded_bytes().iter();
            format!("{{ bytes = {} }}", list(bytes.map(u8::to_string)))
        }
    }
}
