//! From a policy to what one kernel is told: pure, without a system call.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::kernel::{Kernel, Unavailable};
use crate::policy::Policy;
use crate::report::describe;
use crate::rights::{Abi, Rights};
use crate::rule::{Ports, Rule, Target, Terms};
use crate::uapi::{LOG_ABI, Log, QUIET_ABI};

/// What a kernel will be told, and what of the policy it cannot do, and why: what [`Policy::plan`] makes.
///
/// The rights requested are all that the policy does not leave alone; each is either enforced (refused but where a
/// rule allows it) or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a plan does nothing until it is enforced"]
pub struct Plan {
    pub(crate) kernel: Kernel,
    pub(crate) requested: Rights,
    /// What the kernel is told to handle.
    pub(crate) handled: Rights,
    pub(crate) enforced: Rights,
    pub(crate) rules: Vec<PathRule>,
    pub(crate) ports: Vec<(Rights, Ports)>,
    pub(crate) quiet: Rights,
    pub(crate) log: Log,
    pub(crate) notes: Vec<String>,
}

/// One target, with all that the policy says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathRule {
    pub target: Target,
    pub terms: Terms,
}

/// A right that was requested and is not enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lost {
    right: Rights,
    why: std::result::Result<Abi, Unavailable>,
}

impl Lost {
    /// The right or scope: one alone.
    pub fn right(&self) -> Rights {
        self.right
    }

    /// The ABI that it needs, or why Landlock cannot be used at all.
    pub fn needs(&self) -> std::result::Result<Abi, Unavailable> {
        self.why
    }

    /// The reason alone, as in [`Lost`]'s text.
    pub(crate) fn why(&self) -> String {
        match self.why {
            Ok(abi) => format!("needs {abi}"),
            Err(unavailable) => unavailable.to_string(),
        }
    }
}

impl fmt::Display for Lost {
    /// As `bind_tcp: needs ABI 4 (Linux 6.7)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.right.names().next().unwrap_or_default(), self.why())
    }
}

impl Plan {
    pub(crate) fn new(policy: &Policy, kernel: &Kernel) -> Result<Plan> {
        let presets: Vec<Rule> = policy.presets.iter().flat_map(|p| p.rules()).collect();
        let preset_ports = policy.presets.iter().flat_map(|p| p.ports());
        let ports: Vec<(Rights, Ports)> = policy.ports.iter().chain(preset_ports).copied().collect();
        for rule in &policy.rules {
            check_rule(rule)?;
        }
        for (_, range) in &ports {
            range.check()?;
        }

        let any: Rights = ports.iter().filter(|(_, p)| *p == Ports::ANY).map(|(right, _)| *right).collect();
        let handleable = policy.abi.unwrap_or(Abi::LATEST).rights() - policy.unrestricted;
        let requested = handleable - any;
        let required = required(policy, handleable)? & requested;
        let handled = requested & kernel.rights();
        if !handled.contains(required) {
            return Err(unsupported(kernel, required - handled));
        }

        let mut plan = Plan {
            kernel: kernel.clone(),
            requested,
            handled,
            enforced: handled,
            rules: Vec::new(),
            ports: Vec::new(),
            quiet: Rights::empty(),
            log: Log::empty(),
            notes: Vec::new(),
        };
        for right in any.names() {
            plan.notes.push(format!("{right}: every port is allowed, so it is not restricted"));
        }
        if handled.is_empty() {
            return Ok(plan);
        }
        plan.refer(policy.rules.iter().chain(&presets));
        plan.logging(policy);
        plan.add_rules(policy.rules.iter().chain(&presets));
        for &(right, range) in &ports {
            if handled.contains(right) && !plan.ports.contains(&(right, range)) {
                plan.ports.push((right, range));
            }
        }
        let unfixed: Vec<_> = plan.kernel.unfixed().collect();
        for (number, what) in unfixed {
            if erratum_matters(number, handled) {
                plan.notes.push(format!("kernel erratum {number} is not fixed: {what}"));
            }
        }
        Ok(plan)
    }

    /// Renames across directories are refused in every layer on files that does not allow them, handled or not.
    fn refer<'a>(&mut self, mut rules: impl Iterator<Item = &'a Rule>) {
        let on_files = self.handled.fs_bits() != 0;
        if !on_files || self.handled.contains(Rights::REFER) {
            return;
        }
        let granted = rules.any(|rule| rule.terms.rights.contains(Rights::REFER));
        if self.requested.contains(Rights::REFER) {
            self.enforced |= Rights::REFER;
            if granted {
                self.notes.push(
                    "refer: renames and links across directories are refused (EXDEV) although a rule allows them; \
                     to allow them needs ABI 2 (Linux 5.19)"
                        .to_owned(),
                );
            }
        } else {
            self.notes.push(
                "refer: renames and links across directories are refused (EXDEV) although the policy leaves refer \
                 alone: Landlock refuses them wherever files are restricted and refer is not allowed"
                    .to_owned(),
            );
        }
    }

    fn logging(&mut self, policy: &Policy) {
        let abi = self.kernel.abi().map_or(0, Abi::number);
        if abi >= LOG_ABI {
            self.log = policy.log;
        } else if !policy.log.is_empty() {
            self.notes.push(format!("log flags: left out; they need {}", named(LOG_ABI)));
        }
        if abi >= QUIET_ABI {
            self.quiet = policy.quiet & self.handled;
        } else if !policy.quiet.is_empty() {
            self.notes.push(format!("quiet: left out; it needs {}", named(QUIET_ABI)));
        }
    }

    /// One rule for each path, kind and descriptor, with the rights that are handled.
    fn add_rules<'a>(&mut self, rules: impl Iterator<Item = &'a Rule>) {
        let mut seen: HashMap<(&Path, Option<crate::rule::Kind>), usize> = HashMap::new();
        for rule in rules {
            let terms = Terms {
                rights: rule.terms.rights & self.handled,
                quiet: rule.terms.quiet && !self.quiet.is_empty(),
                ..rule.terms
            };
            if terms.rights.is_empty() && !terms.quiet {
                continue;
            }
            for target in &rule.targets {
                if let Target::Path(path) = target {
                    if let Some(&at) = seen.get(&(path.as_path(), terms.kind)) {
                        let first = &mut self.rules[at].terms;
                        first.rights |= terms.rights;
                        first.quiet |= terms.quiet;
                        first.optional &= terms.optional;
                        first.preset &= terms.preset;
                        continue;
                    }
                    seen.insert((path, terms.kind), self.rules.len());
                }
                self.rules.push(PathRule { target: target.clone(), terms });
            }
        }
    }

    /// The kernel that the plan is for.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Every right that the policy does not leave alone.
    pub fn requested(&self) -> Rights {
        self.requested
    }

    /// The rights that are refused but where a rule allows them.
    pub fn enforced(&self) -> Rights {
        self.enforced
    }

    /// The rights that were requested and are not enforced, one by one, each with the reason.
    pub fn lost(&self) -> impl Iterator<Item = Lost> {
        let why = self.kernel.abi().err();
        (self.requested - self.enforced).iter().filter_map(move |right| {
            let abi = right.abi()?;
            Some(Lost { right, why: why.map_or(Ok(abi), Err) })
        })
    }

    /// What else a reader should know, as sentences.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }

    /// The plan for a child: rules for what /proc says of the caller are left out, for they would be the
    /// parent's.
    pub fn for_child(mut self) -> Plan {
        const OF_THE_CALLER: [&str; 5] =
            ["/proc/self", "/proc/thread-self", "/proc/net", "/proc/mounts", "/dev/fd"];
        let before = self.rules.len();
        self.rules.retain(|rule| match &rule.target {
            Target::Path(path) => !OF_THE_CALLER.iter().any(|own| path.starts_with(own)),
            _ => true,
        });
        if self.rules.len() < before {
            self.notes.push("rules below /proc/self are left out: they would be the parent's".to_owned());
        }
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kernel.abi(), self.handled.is_empty()) {
            (Err(why), _) => writeln!(f, "Nothing would be confined: {why}.")?,
            (Ok(_), true) => writeln!(f, "Nothing would be confined: nothing is left to restrict.")?,
            (Ok(abi), false) => writeln!(f, "Landlock {abi} would enforce:")?,
        }
        describe(f, self)
    }
}

fn named(abi: u32) -> String {
    Abi::new(abi).map_or(String::new(), |abi| abi.to_string())
}

fn check_rule(rule: &Rule) -> Result<()> {
    for target in &rule.targets {
        let Target::Path(path) = target else { continue };
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.is_empty() {
            return Err(Error::invalid("a rule has an empty path".to_owned(), "the current folder is ."));
        }
        if bytes.contains(&0) {
            return Err(Error::on_path(Kind::Invalid, path, "a path cannot contain a NUL byte", ""));
        }
    }
    let Some(first) = rule.targets.first() else { return Ok(()) };
    let rights = rule.terms.rights;
    if rights.is_empty() && !rule.terms.quiet {
        let hint = "add .rights(…), or use ro, rx, rw or rwx";
        return Err(Error::invalid(format!("the rule for {first} allows nothing"), hint));
    }
    if let Some(name) = (rights - Rights::of_paths()).names().next() {
        let hint = "ports have methods of their own, as bind_tcp; scopes have no exceptions";
        return Err(Error::invalid(format!("{name} is no right on a path (in the rule for {first})"), hint));
    }
    Ok(())
}

/// What has to hold.
fn required(policy: &Policy, handleable: Rights) -> Result<Rights> {
    let said = [policy.require.is_some(), policy.strict, policy.best_effort];
    if said.into_iter().filter(|said| *said).count() > 1 {
        let message = "what is required is said twice: require, strict and best effort exclude each other";
        return Err(Error::invalid(message.to_owned(), "say it once"));
    }
    if let Some(required) = policy.require {
        if let Some(name) = (required - handleable).names().next() {
            let message = format!("{name} is required, but the policy leaves it alone");
            return Err(Error::invalid(
                message,
                "require it or leave it alone (by ABI or unrestricted), not both",
            ));
        }
        return Ok(required);
    }
    Ok(match policy {
        Policy { best_effort: true, .. } => Rights::empty(),
        Policy { strict: true, .. } | Policy { abi: Some(_), .. } => handleable,
        _ => Rights::FS | Rights::TCP,
    })
}

fn unsupported(kernel: &Kernel, missing: Rights) -> Error {
    let hint = ".best_effort() goes on with what there is and reports what is lost; .require(…) names what must hold";
    match kernel.abi() {
        Err(why) => Error::new(Kind::Unsupported, format!("nothing can be confined: {why}"), why.help()),
        Ok(abi) => {
            let names: Vec<_> = missing.names().collect();
            let needed = missing.abi().map_or(String::new(), |abi| abi.to_string());
            let message = format!(
                "this kernel's Landlock, {abi}, cannot restrict {}, which the policy requires and which needs {needed}",
                names.join(", ")
            );
            Error::new(Kind::Unsupported, message, hint)
        }
    }
}

/// Whether what is handled is affected by an erratum that is not fixed.
fn erratum_matters(number: u32, handled: Rights) -> bool {
    match number {
        1 => handled.intersects(Rights::TCP),
        2 => handled.contains(Rights::SIGNAL),
        3 => handled.fs_bits() != 0,
        4 => handled.contains(Rights::MAKE_CHAR),
        _ => true,
    }
}
