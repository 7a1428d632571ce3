//! `palisade show`: a policy as a kernel gets it, or written in another form.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use palisade::{Error, Kernel, Log, Plan, Rights, printable};
use serde_json::json;

use crate::args::{Format, ShowArgs};
use crate::policy::Policies;
use crate::run::{self, policy_failure};
use crate::say::word_as_json;
use crate::{Failure, quote, say};

pub fn show(args: &ShowArgs) -> Result<(), Failure> {
    let policies = Policies::read(&args.policy)?;
    let text = match args.format {
        Format::Tree | Format::Json => {
            let here = Kernel::probe();
            let other = args.kernel.or(args.policy.abi()).filter(|abi| here.abi() != Ok(*abi));
            let kernel = other.map_or(here, Kernel::new);
            let failed = |error: Error| policy_failure(&error, &policies, &kernel);
            let plans = match policies.plans(&kernel, Vec::new(), Log::empty()) {
                // What would hold there can be shown all the same.
                Err(error) if error.is_unsupported() => {
                    say::line(&format!("palisade run would start nothing there: {}", failed(error).message));
                    policies.plans_if_nothing_is_required(&kernel).map_err(failed)?
                }
                plans => plans.map_err(failed)?,
            };
            let closed = policies.closed(&plans);
            let (plans, _) = run::close(plans, closed);
            if args.format == Format::Tree { tree(&policies, &plans) } else { json(&policies, &plans) }
        }
        Format::Toml | Format::Args => written(args, &policies)?,
    };
    say::print(&text)
}

/// The policy as a file or as options. Paths are whole, for nobody knows from where they will be read.
fn written(args: &ShowArgs, policies: &Policies<'_>) -> Result<String, Failure> {
    let policy = policies.policy().absolute();
    let policy =
        policy.map_err(|error| Failure::new(format!("the current folder cannot be found: {error}")))?;
    let failed = |error: Error| Failure::new(error.to_string());
    let ceilings: Vec<&OsStr> = policies.ceilings().flat_map(|name| [OsStr::new("--within"), name]).collect();
    if args.format == Format::Args {
        let words = policy.to_args().map_err(failed)?;
        // What a file says of itself alone an option says of all.
        let of_all =
            [("--best-effort", args.policy.best_effort), ("--ignore-missing", args.policy.ignore_missing)];
        for (option, given) in of_all {
            if !ceilings.is_empty() && !given && words.iter().any(|word| word == option) {
                say::line(&format!(
                    "{option} holds for --within too, which the policy by itself does not say"
                ));
            }
        }
        let environment = policies.environment();
        let clear = environment.clear.then_some("--clear-env");
        let passed = environment.pass.iter().filter(|_| environment.clear).flat_map(|name| ["--env", name]);
        let environment = clear.into_iter().chain(passed).map(OsStr::new);
        let words = words.iter().map(OsString::as_os_str).chain(ceilings).chain(environment);
        if policies.skips_some() {
            say::line("optional paths: --ignore-missing skips every path that does not exist, and names it");
        }
        return Ok(format!("{}\n", quote::words(words)));
    }
    if !ceilings.is_empty() {
        say::line(&format!("a ceiling is a file of its own, and left out: {}", quote::words(ceilings)));
    }
    policy.to_toml_with(&policies.environment()).map_err(failed)
}

fn json(policies: &Policies<'_>, plans: &[Plan]) -> String {
    let ceilings = policies.ceilings().zip(&plans[1..]);
    let within: Vec<_> =
        ceilings.map(|(name, plan)| json!({ "policy": word_as_json(name), "plan": plan })).collect();
    let environment = policies.environment();
    let value = json!({
        "plan": plans[0],
        "within": within,
        "environment": { "clear": environment.clear, "pass": environment.pass },
    });
    format!("{value:#}\n")
}

fn tree(policies: &Policies<'_>, plans: &[Plan]) -> String {
    let mut text = String::new();
    for (layer, plan) in plans.iter().enumerate() {
        if let Some(name) = policies.ceiling(layer) {
            text += &format!("\nAnd within {}:\n", printable(name));
        }
        text += &of_layer(policies, layer, plan);
    }
    let environment = policies.environment();
    if environment.clear {
        let passed = environment.pass.iter().map(|name| printable(name).to_string()).collect::<Vec<_>>();
        let passed = if passed.is_empty() { String::new() } else { format!(", but {}", passed.join(", ")) };
        text += &format!("\nNothing of the environment passes{passed}.\n");
    }
    text
}

fn of_layer(policies: &Policies<'_>, layer: usize, plan: &Plan) -> String {
    let mut text = match plan.kernel().abi() {
        Ok(abi) => format!("Landlock {abi} would enforce:\n"),
        Err(why) => format!("Nothing would be confined: {why}.\n"),
    };
    for (category, how) in plan.standing() {
        text += &format!("  {category:<9} {how}\n");
    }
    let mut root = Node::default();
    for (path, rights, preset) in plan.paths() {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let absent = path.symlink_metadata().is_err();
        // Nobody has named it.
        if absent && preset.is_some() {
            continue;
        }
        let mut by = policies.origins(layer, &path);
        by.extend(preset.map(|preset| format!("preset {preset}")));
        let absent = if absent { "  (not there)" } else { "" };
        root.insert(&path, format!("{rights}{absent}"), by.join(", "));
    }
    if !root.is_empty() {
        let all = plan.enforced().contains(Rights::READ_FILE | Rights::WRITE_FILE);
        let rest =
            if all { "what is not here is refused" } else { "of what is restricted the rest is refused" };
        text += &format!("\nFiles and folders, each with all below it; {rest}:\n");
        let mut lines = Vec::new();
        root.lines("/", "", "", &mut lines);
        text += &columns(&lines);
    }
    for (what, rights) in plan.besides_paths() {
        text += &format!("{what}  {rights}\n");
    }
    let ports: Vec<String> = plan.ports().map(|(right, ports)| format!("  {ports}  {right}\n")).collect();
    if !ports.is_empty() {
        text += "\nPorts, at any address:\n";
        text += &ports.concat();
    }
    if root.is_empty() && ports.is_empty() {
        text += "\nNothing is allowed of what is restricted.\n";
    }
    plan.notes().for_each(|note| text += &format!("note: {note}\n"));
    text
}

/// A folder of the tree, or a file.
#[derive(Default)]
struct Node {
    below: BTreeMap<OsString, Node>,
    /// What is allowed here, and by what.
    allowed: Option<(String, String)>,
}

impl Node {
    fn insert(&mut self, path: &Path, rights: String, by: String) {
        let mut node = self;
        for part in path.components().skip(1) {
            node = node.below.entry(part.as_os_str().to_owned()).or_default();
        }
        node.allowed = Some(match node.allowed.take() {
            None => (rights, by),
            Some((first, first_by)) => (format!("{first}; {rights}"), format!("{first_by}, {by}")),
        });
    }

    fn is_empty(&self) -> bool {
        self.below.is_empty() && self.allowed.is_none()
    }

    /// A line for it and each below: what is before the name, the name, what is allowed and by what. A folder with one
    /// thing in it, and nothing allowed, stands on the line of that.
    fn lines(&self, name: &str, first: &str, more: &str, lines: &mut Vec<[String; 3]>) {
        if let (None, Some((below, node)), 1) = (&self.allowed, self.below.iter().next(), self.below.len()) {
            let slash = if name.ends_with('/') { "" } else { "/" };
            return node.lines(&format!("{name}{slash}{}", printable(below)), first, more, lines);
        }
        let (rights, by) = self.allowed.clone().unwrap_or_default();
        lines.push([format!("{first}{name}"), rights, by]);
        let last = self.below.len().saturating_sub(1);
        for (at, (below, node)) in self.below.iter().enumerate() {
            let (branch, stem) = if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let below = printable(below).to_string();
            node.lines(&below, &format!("{more}{branch}"), &format!("{more}{stem}"), lines);
        }
    }
}

fn columns(lines: &[[String; 3]]) -> String {
    const WIDEST: usize = 48;
    let width = |at: usize| {
        let widths = lines.iter().map(|line| line[at].chars().count()).filter(|width| *width <= WIDEST);
        widths.max().unwrap_or_default()
    };
    let (names, rights) = (width(0), width(1));
    let line = |[name, allowed, by]: &[String; 3]| {
        let line = format!("{name:<names$}  {allowed:<rights$}  {by}");
        format!("{}\n", line.trim_end())
    };
    lines.iter().map(line).collect()
}
