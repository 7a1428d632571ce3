//! Rules: what is allowed on a path or a descriptor, and on ports.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(unix)]
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use crate::error::{Error, quoted};
use crate::preset::Preset;
use crate::rights::Rights;

/// What is allowed below one or more paths, or on an open descriptor.
///
/// Made by [`ro`], [`rx`], [`rw`], [`rwx`], [`path`] or [`fd`], or from text: `RIGHTS:PATH` as in `rw:/srv`, where
/// `f:` or `d:` in front insists on a file or a directory.
///
/// A rule holds for the file or directory itself, and all that is below it. It is tied to the file (the inode) that
/// is there when it is enforced: a file that is later replaced by another loses its rule, one in a directory with
/// a rule does not. Symbolic links are followed.
///
/// ```
/// use palisade::{Rights, Rule, path};
/// let rule: Rule = "d:rw:/srv/app".parse()?;
/// assert_eq!(rule, path("/srv/app").rights(Rights::R | Rights::W).dir());
/// # Ok::<(), palisade::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a rule does nothing until a policy has it"]
pub struct Rule {
    pub(crate) targets: Vec<Target>,
    pub(crate) terms: Terms,
}

/// What a rule says of each of its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Terms {
    pub rights: Rights,
    pub optional: bool,
    pub kind: Option<Kind>,
    pub quiet: bool,
    /// No part of the path may be a symbolic link when it is opened.
    pub no_links: bool,
    /// From a preset: what cannot be opened is left out, without a word.
    pub preset: bool,
    /// Which preset, if it has a name.
    pub from: Option<Preset>,
}

/// What a rule insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    File,
    Dir,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Path(Arc<Path>),
    #[cfg(unix)]
    Fd(Arc<Descriptor>),
    /// Each file that a symbolic link in this directory leads to; nothing else of it.
    Links(&'static str),
    /// The file that descriptor 0, 1 or 2 is open on, with no more than the descriptor's own mode.
    Stdio(i32),
    /// The same, if it is a terminal.
    Terminal(i32),
}

/// A shared descriptor. Two are equal if they are the same one.
#[cfg(unix)]
#[derive(Debug)]
pub struct Descriptor {
    pub fd: OwnedFd,
    /// What it was opened as, if that is known: for messages alone.
    pub name: Option<PathBuf>,
}

#[cfg(unix)]
impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.fd.as_raw_fd() == other.fd.as_raw_fd() && self.name == other.name
    }
}

#[cfg(unix)]
impl Eq for Descriptor {}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Path(path) => crate::printable(&**path).fmt(f),
            #[cfg(unix)]
            Target::Fd(descriptor) => match &descriptor.name {
                Some(name) => crate::printable(name).fmt(f),
                None => write!(f, "descriptor {}", descriptor.fd.as_raw_fd()),
            },
            Target::Links(dir) => write!(f, "{dir} (where its links lead)"),
            Target::Stdio(n) => write!(f, "descriptor {n} (as it is open)"),
            Target::Terminal(n) => write!(f, "descriptor {n} (if it is a terminal)"),
        }
    }
}

impl Rule {
    fn of(targets: Vec<Target>, rights: Rights) -> Rule {
        Rule { targets, terms: Terms { rights, ..Terms::default() } }
    }

    #[cfg(all(feature = "program", target_os = "linux"))]
    pub(crate) fn opened(fd: OwnedFd, name: PathBuf, rights: Rights) -> Rule {
        Rule::of(vec![Target::Fd(Arc::new(Descriptor { fd, name: Some(name) }))], rights)
    }

    pub(crate) fn of_preset(from: Option<Preset>, targets: Vec<Target>, rights: Rights) -> Rule {
        let terms = Terms { rights, optional: true, preset: true, from, ..Terms::default() };
        Rule { targets, terms }
    }

    /// What the rule allows.
    ///
    /// ```
    /// assert_eq!(palisade::rx("/usr").allows(), palisade::Rights::RX);
    /// ```
    pub fn allows(&self) -> Rights {
        self.terms.rights
    }

    /// The paths it is on; none of a rule on a descriptor.
    ///
    /// ```
    /// assert_eq!(palisade::ro(["/a", "/b"]).paths().count(), 2);
    /// ```
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.targets.iter().filter_map(|target| match target {
            Target::Path(path) => Some(&**path),
            _ => None,
        })
    }

    /// Allows these rights too; they add to those that the rule has.
    ///
    /// An exact right that only a directory can have ([`Rights::READ_DIR`], say) is an error on a file; the groups
    /// and letters leave it out there.
    pub fn rights(mut self, rights: Rights) -> Rule {
        self.terms.rights |= rights;
        self
    }

    /// A path that does not exist is left out, and the report lists it. Without this it is an error.
    ///
    /// ```
    /// let policy = palisade::Policy::new().rule(palisade::ro("/etc/app.conf").optional());
    /// ```
    pub fn optional(mut self) -> Rule {
        self.terms.optional = true;
        self
    }

    /// Insists that each path is no directory when it is opened: one swapped in opens nothing.
    ///
    /// ```
    /// let policy = palisade::Policy::new().rule(palisade::rw("/var/lib/app/state").file());
    /// ```
    pub fn file(mut self) -> Rule {
        self.terms.kind = Some(Kind::File);
        self
    }

    /// Insists that each path is a directory.
    pub fn dir(mut self) -> Rule {
        self.terms.kind = Some(Kind::Dir);
        self
    }

    /// Refusals at and below these paths are not logged, for the rights that [`Policy::quiet`](crate::Policy::quiet)
    /// names, whatever the rule allows. What needs several rights is logged if one that is refused is not among them.
    /// ABI 10 (Linux 7.2); on an older kernel it changes nothing.
    pub fn quiet(mut self) -> Rule {
        self.terms.quiet = true;
        self
    }
}

/// Read files and list directories, below each path.
///
/// ```
/// let policy = palisade::Policy::new().rule(palisade::ro(["/etc/hosts", "/srv/data"]).optional());
/// ```
pub fn ro(paths: impl Paths) -> Rule {
    path(paths).rights(Rights::RO)
}

/// Read and execute.
pub fn rx(paths: impl Paths) -> Rule {
    path(paths).rights(Rights::RX)
}

/// Read, write, create, remove and rename; no device nodes.
pub fn rw(paths: impl Paths) -> Rule {
    path(paths).rights(Rights::RW)
}

/// All of [`rw`], and execute.
pub fn rwx(paths: impl Paths) -> Rule {
    path(paths).rights(Rights::RWX)
}

/// A rule on these paths that allows what [`Rule::rights`] then adds.
///
/// ```
/// use palisade::{Rights, path};
/// let terminal = path("/dev/tty").rights(Rights::READ_FILE | Rights::WRITE_FILE | Rights::IOCTL_DEV);
/// ```
pub fn path(paths: impl Paths) -> Rule {
    Rule::of(paths.into_targets(), Rights::empty())
}

/// A rule on an open descriptor, of any mode (O_PATH is enough); it allows what [`Rule::rights`] then adds.
///
/// A pipe or a socket needs no rule, and gets none.
///
/// ```
/// use palisade::{Policy, Rights, fd};
/// let rule = fd(std::fs::File::open("/")?).rights(Rights::RO);
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(unix)]
pub fn fd(fd: impl Into<OwnedFd>) -> Rule {
    Rule::of(vec![Target::Fd(Arc::new(Descriptor { fd: fd.into(), name: None }))], Rights::empty())
}

/// `RIGHTS:PATH`, as `rw:/srv` or `f:r:/etc/hosts`; `f:` and `d:` insist on a file or a directory. The rights are letters,
/// of which `c` creates and removes, or the kernel's names: `rw:/srv` is read and write, and `rwc:/srv` what
/// [`rw`] allows.
impl FromStr for Rule {
    type Err = Error;

    fn from_str(s: &str) -> Result<Rule, Error> {
        Rule::parse(OsStr::new(s))
    }
}

impl Rule {
    /// From `RIGHTS:PATH` as [`FromStr`] does, where the path need not be UTF-8.
    pub fn parse(text: &OsStr) -> Result<Rule, Error> {
        let malformed = || {
            Error::invalid(
                format!("{} is no rule", quoted(text)),
                "a rule is RIGHTS:PATH, as rw:/srv or f:r:/etc/hosts",
            )
        };
        let bytes = text.as_encoded_bytes();
        let (kind, bytes) = match bytes {
            [b'f', b':', rest @ ..] => (Some(Kind::File), rest),
            [b'd', b':', rest @ ..] => (Some(Kind::Dir), rest),
            _ => (None, bytes),
        };
        let colon = bytes.iter().position(|b| *b == b':').ok_or_else(malformed)?;
        let rights = std::str::from_utf8(&bytes[..colon]).map_err(|_| malformed())?.parse()?;
        let mut rule = path(suffix(text, bytes.len() - colon - 1)).rights(rights);
        rule.terms.kind = kind;
        Ok(rule)
    }
}

/// The last `len` bytes of a text, what is before them ending in an ASCII character.
#[cfg(unix)]
fn suffix(text: &OsStr, len: usize) -> &OsStr {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    OsStr::from_bytes(&bytes[bytes.len() - len..])
}

#[cfg(not(unix))]
fn suffix(text: &OsStr, len: usize) -> OsString {
    let text = text.to_string_lossy();
    OsString::from(text.get(text.len().saturating_sub(len)..).unwrap_or_default())
}

/// One path or several: what [`ro`] and its like take.
pub trait Paths: sealed::Sealed {
    #[doc(hidden)]
    fn into_targets(self) -> Vec<Target>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! one_path {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}
        impl Paths for $type {
            fn into_targets(self) -> Vec<Target> {
                let path: &Path = self.as_ref();
                vec![Target::Path(path.into())]
            }
        }
    )*};
}
one_path!(
    &str,
    String,
    &String,
    &OsStr,
    OsString,
    &OsString,
    &Path,
    PathBuf,
    &PathBuf,
    Cow<'_, Path>,
    Box<Path>
);

impl<P: AsRef<Path>, const N: usize> sealed::Sealed for [P; N] {}
impl<P: AsRef<Path>, const N: usize> Paths for [P; N] {
    fn into_targets(self) -> Vec<Target> {
        self.as_slice().into_targets()
    }
}

impl<P: AsRef<Path>, const N: usize> sealed::Sealed for &[P; N] {}
impl<P: AsRef<Path>, const N: usize> Paths for &[P; N] {
    fn into_targets(self) -> Vec<Target> {
        self.as_slice().into_targets()
    }
}

impl<P: AsRef<Path>> sealed::Sealed for &[P] {}
impl<P: AsRef<Path>> Paths for &[P] {
    fn into_targets(self) -> Vec<Target> {
        self.iter().map(|p| Target::Path(p.as_ref().into())).collect()
    }
}

impl<P: AsRef<Path>> sealed::Sealed for Vec<P> {}
impl<P: AsRef<Path>> Paths for Vec<P> {
    fn into_targets(self) -> Vec<Target> {
        self.as_slice().into_targets()
    }
}

impl<P: AsRef<Path>> sealed::Sealed for &Vec<P> {}
impl<P: AsRef<Path>> Paths for &Vec<P> {
    fn into_targets(self) -> Vec<Target> {
        self.as_slice().into_targets()
    }
}

/// A port, a range of ports, or all of them; as text `443`, `8000-8010` or `any`.
///
/// Port 0 is a port: to bind it is to let the kernel choose one. `any` includes it.
///
/// ```
/// use palisade::Ports;
/// assert_eq!("8000-8010".parse::<Ports>()?, Ports::from(8000..=8010));
/// assert_eq!("any".parse::<Ports>()?, Ports::ANY);
/// # Ok::<(), palisade::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Ports {
    /// Every port. The kernel has no such rule, so the right is then left alone altogether.
    pub const ANY: Ports = Ports { first: 0, last: u16::MAX };
}

impl From<u16> for Ports {
    fn from(port: u16) -> Ports {
        Ports { first: port, last: port }
    }
}

impl From<std::ops::RangeInclusive<u16>> for Ports {
    /// An empty range makes the policy invalid.
    fn from(range: std::ops::RangeInclusive<u16>) -> Ports {
        Ports { first: *range.start(), last: *range.end() }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            &Ports::ANY => f.write_str("any"),
            Ports { first, last } if first == last => write!(f, "{first}"),
            Ports { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for Ports {
    type Err = Error;

    fn from_str(s: &str) -> Result<Ports, Error> {
        if s == "any" {
            return Ok(Ports::ANY);
        }
        let (first, last) = s.split_once('-').unwrap_or((s, s));
        let port = |text: &str| {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten().ok_or_else(
                || {
                    let hint = "a port is a number from 0 to 65535, a range N-M, or any";
                    Error::invalid(format!("{} is no port", quoted(s)), hint)
                },
            )
        };
        let ports = Ports { first: port(first)?, last: port(last)? };
        ports.check()?;
        Ok(ports)
    }
}

impl Ports {
    pub(crate) fn check(self) -> Result<(), Error> {
        if self.first <= self.last {
            return Ok(());
        }
        let turned = Ports { first: self.last, last: self.first };
        Err(Error::invalid(format!("the port range {self} is empty"), format!("did you mean {turned}?")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed_whole() {
        for (text, rule) in [
            ("r:/a", ro("/a")),
            ("rw:/a:b", path("/a:b").rights(Rights::R | Rights::W)),
            ("d:rwxc:/a", rwx("/a").dir()),
            ("f:read_file,execute:a b", path("a b").rights(Rights::READ_FILE | Rights::EXECUTE).file()),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap(), rule, "{text}");
        }
        for (text, error) in [
            ("/a", "\"/a\" is no rule; a rule is RIGHTS:PATH"),
            ("", "\"\" is no rule"),
            ("x:", ""),
            ("q:/a", "\"q\" is no right; "),
            ("f:/a", "\"f:/a\" is no rule"),
            (":/a", "\"\" is no right"),
        ] {
            match text.parse::<Rule>() {
                Err(e) => assert!(!error.is_empty() && e.to_string().starts_with(error), "{text}: {e}"),
                Ok(rule) => assert_eq!((text, rule), ("x:", path("").rights(Rights::X))),
            }
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_path_in_a_rule_need_not_be_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let rule = Rule::parse(OsStr::from_bytes(b"r:/\xff\n")).unwrap();
        assert_eq!(rule, ro(OsStr::from_bytes(b"/\xff\n")));
    }

    #[test]
    fn ports_are_parsed_whole() {
        for (text, first, last) in
            [("0", 0, 0), ("65535", 65535, 65535), ("80-90", 80, 90), ("any", 0, 65535)]
        {
            assert_eq!(text.parse::<Ports>().unwrap(), Ports { first, last });
        }
        for text in ["", "-", "65536", "+1", "a", "1-", "-1", "1-2-3", "90-80", " 1", "ANY"] {
            assert!(text.parse::<Ports>().unwrap_err().is_invalid(), "{text}");
        }
        let turned = "90-80".parse::<Ports>().unwrap_err().to_string();
        assert_eq!(turned, "the port range 90-80 is empty; did you mean 80-90?");
    }
}
