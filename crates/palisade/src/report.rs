//! What holds now, right by right.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::plan::{Lost, Plan};
use crate::preset::Preset;
use crate::printable;
use crate::rights::Rights;
use crate::rule::{Ports, Target};

/// What holds after a policy was enforced: as sentences ([`Display`](fmt::Display)), and right by right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub(crate) plan: Plan,
    pub(crate) covers: Covers,
    pub(crate) skipped: Vec<PathBuf>,
    pub(crate) notes: Vec<String>,
}

/// Whom an enforcement covers; everything started later by who is covered is covered too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Covers {
    /// Nobody yet: the plan was only checked.
    NotYet,
    /// Nobody: there was nothing that this kernel could enforce.
    Nobody,
    /// The calling thread alone.
    Thread,
    /// The whole process, which has one thread.
    OnlyThread,
    /// The whole process: the kernel confined all its threads at once (TSYNC, ABI 8).
    AllThreads,
    /// The whole process: each of its threads confined itself, because this kernel confines one at a time (below ABI 8).
    /// Each has a domain of its own, and what a thread starts later is in that of the thread; a note says what that means.
    EachThread,
}

impl Report {
    /// The plan that was carried out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whom it covers.
    pub fn covers(&self) -> Covers {
        self.covers
    }

    /// Every right that the policy does not leave alone.
    pub fn requested(&self) -> Rights {
        self.plan.requested()
    }

    /// The rights that are refused but where a rule allows them.
    pub fn enforced(&self) -> Rights {
        self.plan.enforced()
    }

    /// The rights that were requested and are not enforced, each with the reason.
    ///
    /// ```
    /// # use palisade::*;
    /// # fn show(report: &Report) {
    /// for lost in report.lost() {
    ///     eprintln!("not enforced: {lost}"); // as "bind_tcp: needs ABI 4 (Linux 6.7)"
    /// }
    /// # }
    /// ```
    pub fn lost(&self) -> impl Iterator<Item = Lost> {
        self.plan.lost()
    }

    /// Paths of [optional](crate::Rule::optional) rules that do not exist.
    pub fn skipped(&self) -> impl Iterator<Item = &Path> {
        self.skipped.iter().map(PathBuf::as_path)
    }

    /// What else a reader should know, as sentences.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.plan.notes().chain(self.notes.iter().map(String::as_str))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.covers {
            Covers::NotYet => return self.plan.fmt(f).and_then(|()| self.left_out(f)),
            Covers::Nobody => "Nothing is confined",
            Covers::Thread => "This thread alone is confined",
            Covers::OnlyThread => "This process (its one thread) is confined",
            Covers::AllThreads => "This process (all its threads) is confined",
            Covers::EachThread => "This process (each of its threads) is confined",
        };
        match (self.covers, self.plan.kernel.abi()) {
            (_, Err(why)) => writeln!(f, "{who}: {why}.")?,
            (Covers::Nobody, Ok(_)) => writeln!(f, "{who}: nothing is left to restrict.")?,
            (_, Ok(abi)) => writeln!(f, "{who} by Landlock {abi}:")?,
        }
        describe(f, &self.plan)?;
        self.left_out(f)
    }
}

impl Report {
    fn left_out(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for path in &self.skipped {
            writeln!(f, "  skipped: {} does not exist", printable(path))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

impl Plan {
    /// How much of each category would be enforced, in words: its name, and as "enforced" or "NOT ENFORCED: needs ABI 6 (Linux
    /// 6.12)".
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy};
    /// let plan = Policy::new().plan(&Kernel::new(Abi::V6))?;
    /// assert!(plan.standing().any(|(category, how)| category == "tcp" && how == "enforced"));
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn standing(&self) -> impl Iterator<Item = (&'static str, String)> {
        let standing = |(name, category)| (name, Standing { plan: self, category }.to_string());
        Rights::CATEGORIES.into_iter().map(standing)
    }

    /// What rules would allow on paths, as they are named: the path, the rights in the words that a kernel of this plan's can
    /// restrict, and the preset that the rule is from.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy};
    /// let plan = Policy::new().rw("/srv").plan(&Kernel::new(Abi::V6))?;
    /// let (path, rights, _) = plan.paths().next().unwrap();
    /// assert_eq!((path.to_str(), rights.as_str()), (Some("/srv"), "read, write, create, remove and rename"));
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn paths(&self) -> impl Iterator<Item = (&Path, String, Option<Preset>)> {
        self.rules.iter().filter(|rule| !rule.terms.rights.is_empty()).filter_map(|rule| match &rule.target {
            Target::Path(path) => {
                Some((&**path, rule.terms.rights.in_words_of(self.handled), rule.terms.from))
            }
            _ => None,
        })
    }

    /// What else rules would allow, as "descriptor 1 (as it is open)": what it is on, and the rights in words.
    pub fn besides_paths(&self) -> impl Iterator<Item = (String, String)> {
        let others = self.rules.iter().filter(|rule| !matches!(rule.target, Target::Path(_)));
        let others = others.filter(|rule| !rule.terms.rights.is_empty());
        others.map(|rule| (rule.target.to_string(), rule.terms.rights.in_words_of(self.handled)))
    }

    /// The ports that rules would allow, each with its right.
    pub fn ports(&self) -> impl Iterator<Item = (Rights, Ports)> {
        self.ports.iter().copied()
    }
}

/// The lines that plan and report share: each category, what is allowed, and the notes.
pub(crate) fn describe(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    for (name, standing) in plan.standing() {
        writeln!(f, "  {name:<9} {standing}")?;
    }
    let mut rules = plan.rules.iter().filter(|rule| !rule.terms.rights.is_empty()).peekable();
    if rules.peek().is_some() || !plan.ports.is_empty() {
        writeln!(f, "  allowed:")?;
    }
    for rule in rules {
        writeln!(f, "    {}  {}", rule.target, rule.terms.rights.in_words_of(plan.handled))?;
    }
    for (right, ports) in &plan.ports {
        writeln!(f, "    port {ports}  {right}")?;
    }
    plan.notes().try_for_each(|note| writeln!(f, "  note: {note}"))
}

/// How much of a category is enforced, in words.
struct Standing<'a> {
    plan: &'a Plan,
    category: Rights,
}

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requested, enforced) = (self.plan.requested & self.category, self.plan.enforced & self.category);
        let lost = || self.plan.lost().filter(|lost| self.category.contains(lost.right()));
        if requested.is_empty() {
            return f.write_str("not restricted: the policy leaves it alone");
        }
        if enforced.is_empty() {
            let Some(first) = lost().next() else { return Ok(()) };
            let by = self.plan.closer(first.right());
            return match by.filter(|by| lost().all(|lost| self.plan.closer(lost.right()) == Some(*by))) {
                Some(by) => write!(f, "closed by {by} (Landlock: {})", first.why()),
                None => write!(f, "NOT ENFORCED: {}", first.why()),
            };
        }
        f.write_str("enforced")?;
        let alone: Vec<_> = (self.category - requested).names().collect();
        if !alone.is_empty() {
            write!(f, ", but {} left alone", alone.join(", "))?;
        }
        let mut word = ", but";
        for lost in lost() {
            match self.plan.closer(lost.right()) {
                Some(by) => write!(f, "{word} {lost}: closed by {by}")?,
                None => write!(f, "{word} NOT {lost}")?,
            }
            word = ",";
        }
        Ok(())
    }
}

/// What came of a [best effort](crate::Policy::best_effort): a [`Report`] that has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a best effort may enforce nothing at all: look at lost()"]
pub struct Outcome(pub(crate) Report);

impl Deref for Outcome {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "serde")]
mod json {
    use serde::ser::{Serialize, SerializeMap, Serializer};

    use super::*;
    use crate::kernel::Kernel;
    use crate::plan::PathRule;
    use crate::text::serialize_path;

    impl Serialize for Kernel {
        /// `abi` (0 if there is none), `linux`, `unavailable`, `errata`.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("abi", &self.abi().map_or(0, |abi| abi.number()))?;
            map.serialize_entry("linux", &self.abi().ok().and_then(|abi| abi.linux()))?;
            map.serialize_entry("unavailable", &self.abi().err())?;
            map.serialize_entry("errata", &self.errata())?;
            map.end()
        }
    }

    impl Serialize for Lost {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("right", &self.right().names().next())?;
            map.serialize_entry("needs_abi", &self.needs().ok())?;
            map.serialize_entry("linux", &self.needs().ok().and_then(|abi| abi.linux()))?;
            map.serialize_entry("why", &self.why())?;
            map.end()
        }
    }

    struct Bytes<'a>(&'a Path);

    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serialize_path(self.0, serializer)
        }
    }

    impl Serialize for PathRule {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            let path = match &self.target {
                Target::Path(path) => Some(&**path),
                #[cfg(unix)]
                Target::Fd(descriptor) => descriptor.name.as_deref(),
                _ => None,
            };
            match path {
                Some(path) => map.serialize_entry("path", &Bytes(path))?,
                None => map.serialize_entry("descriptor", &self.target.to_string())?,
            }
            map.serialize_entry("rights", &self.terms.rights)?;
            map.serialize_entry("optional", &self.terms.optional)?;
            map.end()
        }
    }

    /// `path`; `files`, each with its `path` and `rights`; `unresolved`, as sentences.
    #[cfg(feature = "program")]
    impl Serialize for crate::Program {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            struct File<'a>(&'a Path, Rights);
            impl Serialize for File<'_> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut map = serializer.serialize_map(None)?;
                    map.serialize_entry("path", &Bytes(self.0))?;
                    map.serialize_entry("rights", &self.1)?;
                    map.end()
                }
            }
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("path", &Bytes(self.path()))?;
            map.serialize_entry("files", &self.files().map(|(p, r)| File(p, r)).collect::<Vec<_>>())?;
            map.serialize_entry("unresolved", &self.unresolved().collect::<Vec<_>>())?;
            map.end()
        }
    }

    struct Port(Rights, Ports);

    impl Serialize for Port {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("ports", &self.1.to_string())?;
            map.serialize_entry("rights", &self.0)?;
            map.end()
        }
    }

    #[derive(serde::Serialize)]
    struct Closed<'a> {
        rights: Rights,
        by: &'a str,
    }

    fn entries<M: SerializeMap>(map: &mut M, plan: &Plan) -> Result<(), M::Error> {
        map.serialize_entry("kernel", &plan.kernel)?;
        map.serialize_entry("requested", &plan.requested)?;
        map.serialize_entry("enforced", &plan.enforced)?;
        map.serialize_entry("lost", &plan.lost().collect::<Vec<_>>())?;
        let closed = plan.closed.iter().map(|(rights, by)| Closed { rights: *rights, by });
        map.serialize_entry("closed", &closed.collect::<Vec<_>>())?;
        let rules: Vec<_> = plan.rules.iter().filter(|rule| !rule.terms.rights.is_empty()).collect();
        map.serialize_entry("paths", &rules)?;
        map.serialize_entry("ports", &plan.ports.iter().map(|&(r, p)| Port(r, p)).collect::<Vec<_>>())
    }

    impl Serialize for Plan {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            entries(&mut map, self)?;
            map.serialize_entry("notes", &self.notes().collect::<Vec<_>>())?;
            map.end()
        }
    }

    impl Serialize for Report {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("covers", &self.covers)?;
            entries(&mut map, &self.plan)?;
            map.serialize_entry("skipped", &self.skipped.iter().map(|p| Bytes(p)).collect::<Vec<_>>())?;
            map.serialize_entry("notes", &self.notes().collect::<Vec<_>>())?;
            map.end()
        }
    }
}
