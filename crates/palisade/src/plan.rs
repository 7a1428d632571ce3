//! From a policy to what one kernel is told: pure, without a system call.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use crate::error::{Error, Kind, Result};
use crate::kernel::{Kernel, Unavailable};
use crate::policy::Policy;
use crate::report::describe;
use crate::rights::{Abi, Rights};
use crate::rule::{Ports, Rule, Target, Terms, path};
use crate::uapi::{ERRATA, LOG_ABI, Log, QUIET_ABI};

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
    /// What something else closes, and what that is.
    pub(crate) closed: Vec<(Rights, String)>,
    pub(crate) abort_if_partial: bool,
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
        let handleable = policy.handleable();
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
            closed: Vec::new(),
            abort_if_partial: policy.abort_if_partial,
        };
        for right in any.names() {
            plan.notes.push(format!("{right}: every port is allowed, so it is not restricted"));
        }
        for (right, range) in policy.ports.iter().filter(|(right, _)| !handleable.contains(*right)) {
            let right = right.names().next().unwrap_or_default();
            plan.notes.push(format!(
                "{right} {range}: needs no rule, for the policy leaves {right} alone: every port is open"
            ));
        }
        for rule in
            policy.rules.iter().filter(|rule| !rule.terms.rights.intersects(handleable) && !rule.terms.quiet)
        {
            for target in &rule.targets {
                plan.notes
                    .push(format!("{target}: needs no rule, for the policy leaves alone all that it allows"));
            }
        }
        if handled.is_empty() {
            return Ok(plan);
        }
        if policy.ceiling && kernel.rights().contains(Rights::REFER) {
            let raised = plan.raise(policy.rules.iter().chain(&presets));
            plan.logging(policy);
            plan.add_rules(raised.iter());
        } else {
            plan.refer(policy.rules.iter().chain(&presets));
            plan.logging(policy);
            plan.add_rules(policy.rules.iter().chain(&presets));
        }
        for &(right, range) in &ports {
            if handled.contains(right) && !plan.ports.contains(&(right, range)) {
                plan.ports.push((right, range));
            }
        }
        Ok(plan)
    }

    /// The rules of a ceiling, which is to refuse no move across directories for want of refer alone.
    fn raise<'a>(&mut self, rules: impl Iterator<Item = &'a Rule>) -> Vec<Rule> {
        if !self.handled.contains(Rights::REFER) {
            self.handled |= Rights::REFER;
            return rules.cloned().chain([path("/").rights(Rights::REFER)]).collect();
        }
        let raised = rules.cloned().map(|mut rule| {
            if rule.terms.rights.intersects(Rights::C | Rights::MAKE_CHAR | Rights::MAKE_BLOCK) {
                // As by a group: where a path is a file, it has no such right.
                rule.terms.rights |= Rights::C & Rights::REFER;
            }
            rule
        });
        raised.collect()
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
                 alone: Landlock refuses them as long as it restricts anything on files, devices or UNIX sockets"
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
            self.quiet = (policy.quiet & self.handled) - Rights::NET;
            let ports = policy.quiet & self.handled & Rights::NET;
            if !ports.is_empty() {
                self.notes.push(format!(
                    "quiet: refusals of {ports} are logged all the same: a rule for a port cannot be quiet"
                ));
            }
        } else if !policy.quiet.is_empty() {
            self.notes.push(format!("quiet: left out; it needs {}", named(QUIET_ABI)));
        }
    }

    /// One rule for each path, kind and descriptor, with the rights that are handled. Paths are compared as they are
    /// written: /a/ insists on a directory, and /a does not.
    fn add_rules<'a>(&mut self, rules: impl Iterator<Item = &'a Rule> + Clone) {
        const FREE: u32 = u32::MAX;
        let lost = self.requested - self.handled;
        let count: usize = rules.clone().map(|rule| rule.targets.len()).sum();
        self.rules.reserve_exact(count);
        // A hash table of the rules' numbers. Std's takes eight times the memory, which is fresh, and touching a fresh
        // page costs as much as a rule; it also asks the kernel for random keys.
        let mut table = vec![FREE; (2 * count).next_power_of_two()];
        for rule in rules {
            let terms = Terms {
                rights: rule.terms.rights & self.handled,
                // The kernel takes no quiet rule (EINVAL) where no right of its kind is quiet.
                quiet: rule.terms.quiet && self.quiet.fs_bits() != 0,
                ..rule.terms
            };
            // A path that the user named has to exist, also where the kernel lacks all that it is named for.
            let lacking = rule.terms.rights.intersects(lost) || rule.terms.quiet;
            if terms.rights.is_empty() && !terms.quiet && (terms.preset || !lacking) {
                continue;
            }
            for target in &rule.targets {
                if let Target::Path(path) = target {
                    let name = path.as_os_str();
                    let same = |rule: &PathRule| {
                        let named = matches!(&rule.target, Target::Path(path) if path.as_os_str() == name);
                        named && rule.terms.kind == terms.kind
                    };
                    let mut hasher = DefaultHasher::new();
                    hasher.write(name.as_encoded_bytes());
                    let mut slot = hasher.finish() as usize % table.len();
                    while table[slot] != FREE && !same(&self.rules[table[slot] as usize]) {
                        slot = (slot + 1) % table.len();
                    }
                    if table[slot] != FREE {
                        let first = &mut self.rules[table[slot] as usize].terms;
                        first.rights |= terms.rights;
                        first.quiet |= terms.quiet;
                        first.optional &= terms.optional;
                        first.no_links |= terms.no_links;
                        first.preset &= terms.preset;
                        first.from = first.from.filter(|_| first.preset);
                        continue;
                    }
                    table[slot] = self.rules.len() as u32;
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
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy, Rights};
    /// let plan = Policy::new().plan(&Kernel::new(Abi::V6))?;
    /// assert!(plan.enforced().contains(Rights::SIGNAL) && !plan.enforced().intersects(Rights::UDP));
    /// # Ok::<(), palisade::Error>(())
    /// ```
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
        let errata = self.kernel.unfixed().filter(|(number, _)| self.erratum_matters(*number));
        let errata = errata.map(|(number, _)| ERRATA[number as usize - 1].note);
        self.notes.iter().map(String::as_str).chain(errata)
    }

    /// Whether an erratum that is not fixed changes what happens under this plan.
    fn erratum_matters(&self, number: u32) -> bool {
        match number {
            1 => self.handled.intersects(Rights::TCP),
            2 => self.handled.contains(Rights::SIGNAL),
            3 => self.handled.fs_bits() != 0,
            4 => {
                // Few programs make whiteouts, and those that may make devices are among them.
                self.rules.iter().any(|rule| rule.terms.rights.contains(Rights::MAKE_CHAR))
            }
            _ => true,
        }
    }

    /// Notes that something else closes these rights altogether, as a seccomp filter of the caller's; `by` is the end
    /// of a sentence that begins with "closed by". They stay lost to Landlock ([`Plan::lost`]); the texts say both.
    ///
    /// ```
    /// # use palisade::*;
    /// let plan = Policy::new().best_effort().plan(&Kernel::new(Abi::V7))?;
    /// let plan = plan.closed_by(Rights::UDP, "seccomp: no UDP socket can be made");
    /// assert!(plan.to_string().contains("udp       closed by seccomp: no UDP socket can be made"));
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn closed_by(mut self, rights: Rights, by: impl Into<String>) -> Plan {
        self.closed.push((rights, by.into()));
        self
    }

    /// What closes a right that is lost to Landlock, if [`Plan::closed_by`] has been told.
    pub(crate) fn closer(&self, right: Rights) -> Option<&str> {
        self.closed.iter().find(|(rights, _)| rights.contains(right)).map(|(_, by)| by.as_str())
    }

    /// The plan for a child: rules for the caller's own standard descriptors, and for what /proc says of the caller,
    /// are left out, for they would be the parent's.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy};
    /// let plan = Policy::new().ro("/proc/self/maps").plan(&Kernel::new(Abi::V6))?.for_child();
    /// assert!(plan.notes().any(|note| note.ends_with("they would be the parent's")));
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn for_child(mut self) -> Plan {
        const OF_THE_CALLER: [&str; 8] = [
            "/proc/self",
            "/proc/thread-self",
            "/proc/net",
            "/proc/mounts",
            "/dev/fd",
            "/dev/stdin",
            "/dev/stdout",
            "/dev/stderr",
        ];
        let before = self.rules.len();
        self.rules.retain(|rule| match &rule.target {
            Target::Path(path) => !OF_THE_CALLER.iter().any(|own| path.starts_with(own)),
            Target::Stdio(_) | Target::Terminal(_) => false,
            _ => true,
        });
        if self.rules.len() < before {
            let what = "rules for the caller's own standard descriptors and /proc/self are left out";
            self.notes.push(format!("{what}: they would be the parent's"));
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
    if policy.best_effort && (policy.require.is_some() || policy.strict) {
        let message = "what is required is said twice: a best effort excludes require and strict";
        return Err(Error::invalid(message.to_owned(), "say it once"));
    }
    if let Some(required) = policy.require.filter(|_| !policy.strict) {
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
        Policy { strict: true, .. } | Policy { all_of_abi: true, .. } => handleable,
        _ => policy.usually_required(),
    })
}

fn unsupported(kernel: &Kernel, missing: Rights) -> Error {
    let hint = ".best_effort() goes on with what there is and reports what is lost; .require(…) names what must hold";
    let error = match kernel.abi() {
        Err(why) => Error::new(Kind::Unsupported, format!("nothing can be confined: {why}"), why.help()),
        Ok(abi) => {
            let names: Vec<_> = missing.names().collect();
            let needed = missing.abi().map_or(String::new(), |abi| abi.to_string());
            let message = format!(
                "this kernel's Landlock, {abi}, cannot restrict {}, which the policy requires; that needs {needed}",
                names.join(", ")
            );
            Error::new(Kind::Unsupported, message, hint)
        }
    };
    error.with_rights(missing)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rule::{ro, rw};
    use crate::{BestEffort, Preset};

    fn kernel(abi: u32) -> Kernel {
        Kernel::new(Abi::new(abi).unwrap())
    }

    fn lost(plan: &Plan) -> Vec<String> {
        plan.lost().map(|lost| lost.to_string()).collect()
    }

    fn named(names: &str) -> Rights {
        names.split(',').map(|name| Rights::named(name).unwrap()).collect()
    }

    #[test]
    fn each_abi_loses_what_came_later_and_says_which_brings_it() {
        let policy = Policy::new().best_effort();
        for (abi, names) in [
            (1, "truncate,ioctl_dev,resolve_unix,net,abstract,signal"),
            (2, "truncate,ioctl_dev,resolve_unix,net,abstract,signal"),
            (3, "ioctl_dev,resolve_unix,net,abstract,signal"),
            (4, "ioctl_dev,resolve_unix,udp,abstract,signal"),
            (5, "resolve_unix,udp,abstract,signal"),
            (6, "resolve_unix,udp"),
            (7, "resolve_unix,udp"),
            (8, "resolve_unix,udp"),
            (9, "udp"),
        ] {
            let plan = policy.plan(&kernel(abi)).unwrap();
            assert_eq!(plan.requested() - plan.enforced(), named(names), "{abi}");
            assert_eq!(plan.lost().map(|lost| lost.right()).collect::<Rights>(), named(names), "{abi}");
            assert!(plan.lost().all(|lost| lost.needs().unwrap().number() > abi), "{abi}");
        }
        for abi in [10, 11, 12, 99] {
            let plan = policy.plan(&kernel(abi)).unwrap();
            assert_eq!((lost(&plan), plan.enforced()), (vec![], Rights::all()));
        }
        let plan = policy.plan(&kernel(3)).unwrap();
        assert_eq!(lost(&plan)[2], "bind_tcp: needs ABI 4 (Linux 6.7)");
    }

    #[test]
    fn the_set_of_each_abi_is_a_fixed_point_there_and_on_every_newer_one() {
        for abi in 1..=11 {
            for on in abi..=12 {
                let plan = Policy::for_abi(Abi::new(abi).unwrap()).plan(&kernel(on)).unwrap();
                assert_eq!(plan.handled, Abi::new(abi).unwrap().rights());
                assert_eq!(lost(&plan).len(), 0);
            }
        }
    }

    #[test]
    fn what_is_required_decides_and_nothing_else() {
        let refused = |policy: Policy, abi| policy.plan(&kernel(abi)).is_err_and(|e| e.is_unsupported());
        for abi in 1..=11 {
            assert_eq!(refused(Policy::new(), abi), abi < 4, "new on {abi}");
            assert_eq!(refused(Policy::new().strict(), abi), abi < 10, "strict on {abi}");
            assert_eq!(refused(Policy::for_abi(Abi::V6), abi), abi < 6, "for_abi on {abi}");
            assert_eq!(refused(Policy::new().require(Rights::SIGNAL), abi), abi < 6, "require on {abi}");
            assert_eq!(
                refused(Policy::new().require([Rights::FS, Rights::UDP]), abi),
                abi < 10,
                "two on {abi}"
            );
            let apart = Policy::new().require(Rights::UDP).ro("/a").require(Rights::FS);
            assert_eq!(refused(apart, abi), abi < 10, "in two calls on {abi}");
            assert!(Policy::new().best_effort().plan(&kernel(abi)).is_ok(), "best effort on {abi}");
            let free = Policy::new().unrestricted([Rights::NET, Rights::REFER, Rights::TRUNCATE]);
            assert!(!refused(free, abi), "unrestricted on {abi}");
            let any = Policy::new().connect_tcp(Ports::ANY).bind_tcp(0..=u16::MAX);
            assert_eq!(refused(any, abi), abi < 3, "any port on {abi}");
        }
    }

    #[test]
    fn without_landlock_everything_is_lost_for_that_reason() {
        use Unavailable::*;
        for why in [NotBuilt, DisabledAtBoot, Filtered, NotLinux] {
            let kernel = Kernel::unavailable(why);
            let plan = Policy::new().ro("/a").best_effort().plan(&kernel).unwrap();
            assert_eq!((plan.enforced(), plan.lost().count()), (Rights::empty(), 23));
            assert_eq!(lost(&plan)[0], format!("execute: {why}"));
            assert!(plan.to_string().starts_with(&format!("Nothing would be confined: {why}.\n")));
            let error = Policy::new().plan(&kernel).unwrap_err();
            assert!(error.is_unsupported());
            assert_eq!(error.to_string(), format!("nothing can be confined: {why}; {}", why.help()));
        }
    }

    #[test]
    fn what_is_required_is_said_once() {
        for policy in [
            Policy { best_effort: true, ..Policy::new().strict() },
            Policy { best_effort: true, ..Policy::new().require(Rights::FS) },
        ] {
            let error = policy.plan(&kernel(11)).unwrap_err();
            assert!(error.is_invalid() && error.to_string().starts_with("what is required is said twice"));
        }
        let both = Policy::new().require(Rights::FS).strict();
        assert!(both.plan(&kernel(9)).unwrap_err().is_unsupported());
        for policy in [
            Policy::for_abi(Abi::V3).require(Rights::TCP),
            Policy::new().unrestricted(Rights::BIND_TCP).require(Rights::TCP),
        ] {
            let error = policy.plan(&kernel(11)).unwrap_err();
            assert!(error.is_invalid());
            assert!(
                error.to_string().starts_with("bind_tcp is required, but the policy leaves it alone"),
                "{error}"
            );
        }
    }

    #[test]
    fn refer_on_abi_1_holds_by_itself_and_is_an_error_only_where_it_is_required() {
        let note = |policy: &BestEffort| {
            let plan = policy.plan(&kernel(1)).unwrap();
            assert!(plan.enforced().contains(Rights::REFER) && !plan.handled.contains(Rights::REFER));
            assert!(!lost(&plan).iter().any(|l| l.starts_with("refer")));
            plan.notes().any(|note| note.contains("renames and links across directories are refused (EXDEV)"))
        };
        assert!(note(&Policy::new().rw("/a").best_effort()));
        assert!(!note(&Policy::new().ro("/a").best_effort()));
        let error = Policy::new().require(Rights::REFER).plan(&kernel(1)).unwrap_err();
        assert_eq!((error.is_unsupported(), error.rights()), (true, Rights::REFER), "{error}");
        assert!(Policy::new().require(Rights::READ_FILE).plan(&kernel(1)).is_ok());
        // Left alone, it is refused all the same.
        let alone = Policy::new().unrestricted(Rights::REFER).plan(&kernel(7)).unwrap();
        assert!(!alone.enforced().contains(Rights::REFER));
        assert!(alone.notes().any(|note| note.contains("although the policy leaves refer alone")));
        let no_files = Policy::new().unrestricted(Rights::FS | Rights::DEVICES | Rights::UNIX);
        assert_eq!(no_files.plan(&kernel(7)).unwrap().notes().count(), 0);
    }

    #[test]
    fn rules_on_one_path_are_one_with_rights_that_add_up() {
        let policy = Policy::new()
            .ro("/a")
            .rule(path("/a").rights(Rights::IOCTL_DEV).optional())
            .rule(path(["/b", "/a"]).rights(Rights::W))
            .rule(ro("/a").dir());
        let plan = policy.plan(&kernel(7)).unwrap();
        let shown: Vec<_> = plan.rules.iter().map(|r| format!("{} {}", r.target, r.terms.rights)).collect();
        assert_eq!(shown, ["/a rw,ioctl_dev", "/b w", "/a r"]);
        assert!(!plan.rules[0].terms.optional);
        // A right that this kernel lacks is left out, and a rule that has no other.
        let old = policy.best_effort().plan(&kernel(2)).unwrap();
        let shown: Vec<_> = old.rules.iter().map(|r| format!("{} {}", r.target, r.terms.rights)).collect();
        assert_eq!(shown, ["/a r,write_file", "/b write_file", "/a r"]);
        let unix = Policy::new().unix("/s").plan(&kernel(7)).unwrap();
        assert_eq!((unix.rules.len(), unix.rules[0].terms.rights), (1, Rights::empty()));
        assert!(!unix.to_string().contains("/s"), "only the path is looked at");
        // One that is opened without links stays so, in either order.
        let mut pinned = ro("/a");
        pinned.terms.no_links = true;
        for policy in [Policy::new().rw("/a").rule(pinned.clone()), Policy::new().rule(pinned).rw("/a")] {
            let plan = policy.plan(&kernel(7)).unwrap();
            assert!(plan.rules.len() == 1 && plan.rules[0].terms.no_links);
        }
        let preset = Policy::new().preset(Preset::Dns).plan(&kernel(7)).unwrap();
        assert!(preset.rules.iter().all(|rule| !rule.terms.rights.is_empty()));
    }

    #[test]
    fn a_ceiling_allows_refer_where_it_allows_to_make_or_remove_and_nowhere_else() {
        let made = path("/made").rights(Rights::MAKE_REG);
        let removed = path("/removed").rights(Rights::REMOVE_FILE);
        let written = path("/written").rights(Rights::W);
        let policy = Policy::new().ro("/read").rules([made, removed, written]).ceiling();
        let plan = policy.plan(&kernel(7)).unwrap();
        let refers = |plan: &Plan| -> Vec<String> {
            let rules = plan.rules.iter().filter(|rule| rule.terms.rights.contains(Rights::REFER));
            rules.map(|rule| rule.target.to_string()).collect()
        };
        assert_eq!(refers(&plan), ["/made", "/removed"]);
        let alone =
            Policy::new().unrestricted([Rights::FS, Rights::DEVICES]).ceiling().plan(&kernel(7)).unwrap();
        assert_eq!(
            (refers(&alone), alone.requested().contains(Rights::REFER)),
            (vec!["/".to_owned()], false)
        );
        // Where no rule can allow it, or nothing is a ceiling, there is none.
        assert!(refers(&policy.require_nothing().plan(&kernel(1)).unwrap()).is_empty());
        assert!(
            refers(&Policy::new().rule(path("/a").rights(Rights::MAKE_REG)).plan(&kernel(7)).unwrap())
                .is_empty()
        );
    }

    #[test]
    fn ports_are_rules_and_any_port_is_no_restriction() {
        let policy =
            Policy::new().connect_tcp(80).connect_tcp(80).bind_tcp(1..=3).connect_udp(53).bind_tcp(0);
        let shown = |abi| {
            let plan = policy.clone().best_effort().plan(&kernel(abi)).unwrap();
            plan.ports.iter().map(|(right, ports)| format!("{right} {ports}")).collect::<Vec<_>>()
        };
        assert_eq!(shown(3), [""; 0]);
        assert_eq!(shown(7), ["connect_tcp 80", "bind_tcp 1-3", "bind_tcp 0"]);
        let all = ["connect_tcp 80", "bind_tcp 1-3", "connect_send_udp 53", "bind_udp 0", "bind_tcp 0"];
        assert_eq!(shown(10), all);
        let any = Policy::new().connect_tcp(Ports::ANY).connect_tcp(80).plan(&kernel(7)).unwrap();
        assert!(!any.requested().contains(Rights::CONNECT_TCP) && any.ports.is_empty());
        assert!(
            any.notes().any(|note| note == "connect_tcp: every port is allowed, so it is not restricted")
        );
    }

    #[test]
    fn a_grant_of_what_is_left_alone_is_noted() {
        let policy = Policy::new().unrestricted([Rights::TCP, Rights::FS]).connect_tcp(443).ro("/etc");
        let plan = policy.plan(&kernel(7)).unwrap();
        let notes: Vec<_> = plan.notes().filter(|note| note.contains("needs no rule")).collect();
        assert!(notes[0].starts_with("connect_tcp 443: ") && notes[1].starts_with("/etc: "), "{notes:?}");
        assert!(plan.rules.is_empty() && plan.ports.is_empty());
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_an_error_on_every_kernel() {
        let empty_range = Ports { first: 2, last: 1 };
        for (policy, message) in [
            (Policy::new().ro(""), "a rule has an empty path; the current folder is ."),
            (Policy::new().ro("/a\0b"), "/a\\u{0}b: a path cannot contain a NUL byte"),
            (Policy::new().rule(path("/a")), "the rule for /a allows nothing; "),
            (
                Policy::new().rule(path("/a").rights(Rights::TCP)),
                "bind_tcp is no right on a path (in the rule for /a)",
            ),
            (Policy::new().rule(path("/a").rights(Rights::SIGNAL)), "signal is no right on a path"),
            (Policy::new().bind_udp(empty_range), "the port range 2-1 is empty; did you mean 1-2?"),
        ] {
            for kernel in [kernel(1), kernel(11), Kernel::unavailable(Unavailable::NotLinux)] {
                let error = policy.clone().best_effort().plan(&kernel).unwrap_err();
                assert!(error.is_invalid() && error.to_string().starts_with(message), "{error}");
            }
        }
    }

    #[test]
    fn log_and_quiet_are_left_out_with_a_note_where_they_are_unknown() {
        let policy = Policy::new().log(Log::NEW_EXEC_ON).quiet([Rights::READ_FILE, Rights::SIGNAL]);
        let policy = policy.rule(rw("/a").quiet()).best_effort();
        for (abi, log, quiet, notes) in [(6, false, false, 2), (7, true, false, 1), (10, true, true, 0)] {
            let plan = policy.plan(&kernel(abi)).unwrap();
            assert_eq!((plan.log.is_empty(), plan.quiet.is_empty()), (!log, !quiet));
            assert_eq!((plan.rules[0].terms.quiet, plan.notes().count()), (quiet, notes), "{abi}");
        }
    }

    #[test]
    fn no_rule_is_quiet_where_scopes_alone_are() {
        let policy = Policy::new().quiet([Rights::SIGNAL]).rule(rw("/a").quiet()).rule(path("/b").quiet());
        let plan = policy.best_effort().plan(&kernel(10)).unwrap();
        assert_eq!(plan.quiet, Rights::SIGNAL);
        // Both paths have to exist, all the same.
        assert_eq!(plan.rules.iter().map(|rule| rule.terms.quiet).collect::<Vec<_>>(), [false; 2]);
    }

    #[test]
    fn a_port_is_never_quiet_and_a_note_says_so() {
        let policy = Policy::new().quiet([Rights::READ_FILE, Rights::CONNECT_TCP]).best_effort();
        let plan = policy.plan(&kernel(10)).unwrap();
        let note =
            "quiet: refusals of connect_tcp are logged all the same: a rule for a port cannot be quiet";
        assert_eq!((plan.quiet, plan.notes().collect::<Vec<_>>()), (Rights::READ_FILE, vec![note]));
    }

    #[test]
    fn a_child_gets_no_rule_that_would_be_the_parents() {
        let paths = ["/proc/self/maps", "/dev/fd", "/proc/selfish", "/dev/fdx", "/proc"];
        let plan = Policy::new().ro(paths).plan(&kernel(7)).unwrap().for_child();
        let left: Vec<_> = plan.rules.iter().map(|rule| rule.target.to_string()).collect();
        assert_eq!(left, ["/proc/selfish", "/dev/fdx", "/proc"]);
        assert_eq!(plan.notes().count(), 1);
        // Its standard descriptors are not the parent's either.
        let presets = Policy::new().preset(Preset::Stdio).preset(Preset::Tty).ro("/dev/stdin");
        let plan = presets.plan(&kernel(7)).unwrap().for_child();
        let of_the_parent = |rule: &PathRule| match &rule.target {
            Target::Path(path) => path.starts_with("/dev/stdin"),
            other => matches!(other, Target::Stdio(_) | Target::Terminal(_)),
        };
        assert!(!plan.rules.iter().any(of_the_parent) && plan.notes().count() == 1);
    }

    #[test]
    fn unfixed_errata_are_told_where_they_matter_and_cost_nothing() {
        let old = kernel(6).with_errata(Some(0));
        let numbers = |policy: Policy| -> Vec<String> {
            let plan = policy.plan(&old).unwrap();
            assert_eq!(plan.enforced(), plan.requested() & old.rights());
            plan.notes()
                .filter_map(|n| n.strip_prefix("kernel erratum ").map(|n| n[..1].to_owned()))
                .collect()
        };
        assert_eq!(numbers(Policy::new()), ["1", "2", "3"]);
        assert_eq!(numbers(Policy::new().rw("/a")), ["1", "2", "3"]);
        // The last matters where a rule allows to make devices.
        let devices = || path("/a").rights(Rights::RW | Rights::MAKE_CHAR);
        assert_eq!(numbers(Policy::new().rule(devices())), ["1", "2", "3", "4"]);
        let files = Rights::FS | Rights::DEVICES | Rights::UNIX;
        assert_eq!(numbers(Policy::new().unrestricted(files)), ["1", "2"]);
        assert_eq!(
            numbers(Policy::new().rule(devices()).unrestricted([Rights::NET, Rights::SIGNAL])),
            ["3", "4"]
        );
    }

    #[test]
    fn presets_are_part_of_the_plan() {
        let plan = Policy::new().preset(Preset::Dns).plan(&kernel(10)).unwrap();
        assert!(
            plan.rules.iter().any(|rule| rule.target == Target::Path(Path::new("/etc/resolv.conf").into()))
        );
        let ports: Vec<_> = plan.ports.iter().map(|(right, ports)| format!("{right} {ports}")).collect();
        assert_eq!(ports, ["connect_tcp 53", "connect_send_udp 53", "bind_udp 0"]);
        assert!(
            plan.rules
                .iter()
                .all(|rule| rule.terms.optional && rule.terms.preset && rule.terms.from == Some(Preset::Dns))
        );
    }

    #[test]
    fn a_plan_reads_as_sentences() {
        let policy = Policy::new().ro("/a\u{1b}").rw("/b").unrestricted(Rights::NET).best_effort();
        let plan = policy.plan(&kernel(2)).unwrap();
        let text = "\
Landlock ABI 2 (Linux 5.19) would enforce:
  fs        enforced, but NOT truncate: needs ABI 3 (Linux 6.2)
  devices   NOT ENFORCED: needs ABI 5 (Linux 6.10)
  unix      NOT ENFORCED: needs ABI 9 (Linux 7.1)
  tcp       not restricted: the policy leaves it alone
  udp       not restricted: the policy leaves it alone
  abstract  NOT ENFORCED: needs ABI 6 (Linux 6.12)
  signal    NOT ENFORCED: needs ABI 6 (Linux 6.12)
  allowed:
    /a\\u{1b}  read
    /b  read, write, create, remove and rename
";
        assert_eq!(plan.to_string(), text);
    }
}
