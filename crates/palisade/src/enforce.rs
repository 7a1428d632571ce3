//! The one effect: a plan becomes a ruleset, and the ruleset binds a process, a thread or a child.
//!
//! System calls: for each rule open, add_rule and close (one more add_rule on what is no directory, if the rule has
//! rights of directories); besides create_ruleset, prctl (before ABI 11), restrict_self and close, and for
//! [`Policy::enforce`](crate::Policy::enforce) the two queries of `Kernel::probe` and, below ABI 8, a look at whether
//! other threads run. tests/syscalls counts them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind as ErrorKind, Result, io_on_path};
use crate::plan::{PathRule, Plan};
use crate::preset::CERT_SOURCES;
use crate::report::{Covers, Report};
use crate::rights::{Abi, Rights};
use crate::rule::{Kind, Target, Terms};
use crate::sys::{self, Errno};
use crate::uapi::{ADD_RULE_QUIET, MAX_LAYERS, NO_NEW_PRIVS_ABI, RESTRICT_SELF_NO_NEW_PRIVS};
use crate::uapi::{RESTRICT_SELF_TSYNC, RulesetAttr, TSYNC_ABI};

impl Plan {
    /// Confines the whole process, as [`Policy::enforce`](crate::Policy::enforce).
    pub fn enforce(self) -> Result<Report> {
        let (flags, covers) = if self.abi() >= TSYNC_ABI {
            (RESTRICT_SELF_TSYNC, Covers::AllThreads)
        } else {
            if !self.handled.is_empty() {
                self.check_alone()?;
            }
            (0, Covers::OnlyThread)
        };
        self.confine(flags, covers)
    }

    /// Confines the calling thread alone, as [`Policy::enforce_thread`](crate::Policy::enforce_thread).
    pub fn enforce_thread(self) -> Result<Report> {
        self.confine(0, Covers::Thread)
    }

    /// Does all that [`Plan::enforce`] does but for the last step: opens every path, makes the ruleset, and confines
    /// nobody. What would be an error is one here.
    pub fn check(&self) -> Result<Report> {
        if self.handled.is_empty() {
            let (skipped, notes) = (Vec::new(), Vec::new());
            return Ok(Report { plan: self.clone(), covers: Covers::NotYet, skipped, notes });
        }
        let Ruleset { skipped, notes, changed, .. } = self.ruleset()?;
        Ok(Report { plan: self.clone().with_changed(&changed), covers: Covers::NotYet, skipped, notes })
    }

    fn confine(self, flags: u32, covers: Covers) -> Result<Report> {
        if self.handled.is_empty() {
            return Ok(Report { plan: self, covers: Covers::Nobody, skipped: Vec::new(), notes: Vec::new() });
        }
        let Ruleset { fd, skipped, notes, changed, .. } = self.ruleset()?;
        if self.prctl() {
            sys::set_no_new_privs().map_err(|errno| {
                let message = "no_new_privs cannot be set, without which nobody may confine himself";
                let hint = "a seccomp filter refuses prctl(2); allow PR_SET_NO_NEW_PRIVS in it";
                Error::new(ErrorKind::System, message.to_owned(), hint).with_errno(errno)
            })?;
        }
        sys::restrict_self(fd.as_fd(), self.restrict_flags() | flags).map_err(refused)?;
        Ok(Report { plan: self.with_changed(&changed), covers, skipped, notes })
    }

    /// The plan with the rules as they were added: a report names no other.
    fn with_changed(mut self, changed: &[(usize, Rights)]) -> Plan {
        for &(at, rights) in changed {
            self.rules[at].terms.rights = rights;
        }
        if !changed.is_empty() {
            self.rules.retain(|rule| !rule.terms.rights.is_empty() || rule.terms.quiet);
        }
        self
    }

    fn abi(&self) -> u32 {
        self.kernel.abi().map_or(0, Abi::number)
    }

    /// Whether no_new_privs is set by a call of its own, which ABI 11 makes needless.
    pub(crate) fn prctl(&self) -> bool {
        self.abi() < NO_NEW_PRIVS_ABI
    }

    pub(crate) fn restrict_flags(&self) -> u32 {
        self.log.bits() | if self.prctl() { 0 } else { RESTRICT_SELF_NO_NEW_PRIVS }
    }

    fn check_alone(&self) -> Result<()> {
        // A thread that has just ended is still counted for a moment.
        for _ in 0..20 {
            match sys::alone() {
                Some(true) => return Ok(()),
                Some(false) => std::thread::sleep(Duration::from_micros(200)),
                None => break,
            }
        }
        let threads = sys::threads().map_err(|error| {
            let hint = "mount /proc, or use enforce_thread() for one thread; Linux 7.0 needs neither";
            let message = format!("the threads of this process cannot be counted: {error}");
            Error::new(ErrorKind::Threads, message, hint)
        })?;
        if threads == 1 && sys::alone().is_none() {
            return Ok(());
        }
        let hint =
            "enforce before starting threads, or confine one with enforce_thread(); Linux 7.0 confines all";
        let message = format!(
            "this process has {threads} threads, and this kernel's Landlock, ABI {}, confines one at a time",
            self.abi()
        );
        Err(Error::new(ErrorKind::Threads, message, hint))
    }
}

/// Why restrict_self was refused, each with its own sentence.
fn refused(errno: Errno) -> Error {
    let (kind, message, hint) = match errno {
        libc::E2BIG => (
            ErrorKind::Layers,
            format!(
                "{MAX_LAYERS} Landlock layers are stacked on this process already, which is the most there can be"
            ),
            "confine it fewer times: put what several policies allow into one",
        ),
        libc::EPERM | libc::ENOSYS | libc::EACCES => (
            ErrorKind::System,
            "the kernel, or a seccomp filter, refuses landlock_restrict_self".to_owned(),
            "allow system call 446 in the seccomp profile of the container or service",
        ),
        libc::EINVAL => (
            ErrorKind::System,
            "landlock_restrict_self refuses its flags: the plan was made for another kernel".to_owned(),
            "plan with Kernel::probe()",
        ),
        _ => (ErrorKind::System, "landlock_restrict_self failed".to_owned(), ""),
    };
    Error::new(kind, message, hint).with_errno(errno)
}

/// A ruleset as the kernel has it, and what was left out of it.
pub(crate) struct Ruleset {
    pub fd: OwnedFd,
    pub skipped: Vec<PathBuf>,
    pub notes: Vec<String>,
    /// Rules, by their place in the plan, that were added with fewer rights than planned, or with none.
    changed: Vec<(usize, Rights)>,
    /// Where paths get their NUL byte.
    name: Vec<u8>,
}

impl Plan {
    /// The ruleset of a plan that handles something.
    pub(crate) fn ruleset(&self) -> Result<Ruleset> {
        let (handled, quiet) = (self.handled, self.quiet);
        let attr = RulesetAttr {
            handled_access_fs: handled.fs_bits(),
            handled_access_net: handled.net_bits(),
            scoped: handled.scope_bits(),
            quiet_access_fs: quiet.fs_bits(),
            quiet_access_net: quiet.net_bits(),
            quiet_scoped: quiet.scope_bits(),
        };
        let abi = self.kernel.abi().unwrap_or(Abi::V1);
        let fd = sys::create_ruleset(&attr, abi.attr_size()).map_err(|errno| {
            let (message, hint) = match errno {
                libc::EINVAL | libc::E2BIG => {
                    ("this kernel does not know what the plan handles", "plan with Kernel::probe()")
                }
                _ => (
                    "no Landlock ruleset can be made",
                    "a seccomp filter may refuse system call 444; allow it",
                ),
            };
            Error::new(ErrorKind::System, message.to_owned(), hint).with_errno(errno)
        })?;
        let mut ruleset =
            Ruleset { fd, skipped: Vec::new(), notes: Vec::new(), changed: Vec::new(), name: Vec::new() };
        for (at, rule) in self.rules.iter().enumerate() {
            let added = ruleset.add(rule)?;
            if added != rule.terms.rights {
                ruleset.changed.push((at, added));
            }
        }
        for &(right, ports) in &self.ports {
            for port in ports.first..=ports.last {
                sys::add_port(ruleset.fd.as_fd(), port, right.net_bits(), 0).map_err(|errno| {
                    let name = right.names().next().unwrap_or_default();
                    let hint = match errno {
                        libc::EAFNOSUPPORT => "this kernel was built without TCP/IP: leave the port out",
                        _ => "",
                    };
                    let message = format!("port {port}: no rule for {name} can be added");
                    Error::new(ErrorKind::System, message, hint).with_errno(errno)
                })?;
            }
        }
        Ok(ruleset)
    }
}

impl Ruleset {
    /// Adds what a rule allows, and says what of it was added: nothing, where it is skipped or needs no rule.
    fn add(&mut self, rule: &PathRule) -> Result<Rights> {
        match &rule.target {
            Target::Path(path) => self.add_path(path, &rule.terms),
            Target::Fd(descriptor) => {
                let shown = descriptor.name.clone().unwrap_or_else(|| PathBuf::from(rule.target.to_string()));
                self.add_opened(descriptor.fd.as_fd(), &shown, &rule.terms)
            }
            Target::Links(dir) => self.add_links(Path::new(dir), &rule.terms),
            Target::Stdio(number) => self.add_stdio(*number, &rule.terms, false),
            Target::Terminal(number) => self.add_stdio(*number, &rule.terms, true),
        }
    }

    fn add_path(&mut self, path: &Path, terms: &Terms) -> Result<Rights> {
        match sys::open_path(path, terms.kind == Some(Kind::Dir), &mut self.name) {
            Ok(fd) => self.add_opened(fd.as_fd(), path, terms),
            Err(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP) if terms.preset => {
                Ok(Rights::empty())
            }
            Err(libc::ENOTDIR) if terms.kind == Some(Kind::Dir) && std::fs::exists(path).unwrap_or(false) => {
                Err(wrong_kind(path, "is no directory, and the rule insists on one"))
            }
            Err(libc::ENOENT | libc::ENOTDIR) if terms.optional => {
                self.skipped.push(path.to_owned());
                Ok(Rights::empty())
            }
            Err(errno) => Err(io_on_path(path, "opened", &std::io::Error::from_raw_os_error(errno))),
        }
    }

    fn add_opened(&mut self, fd: BorrowedFd<'_>, path: &Path, terms: &Terms) -> Result<Rights> {
        if terms.kind.is_some() {
            let is_dir = sys::file_type(fd).map_err(|errno| failed(path, errno))? == libc::S_IFDIR;
            match (terms.kind, is_dir) {
                (Some(Kind::File), true) => {
                    return Err(wrong_kind(path, "is a directory, and the rule insists on a file"));
                }
                (Some(Kind::Dir), false) => {
                    return Err(wrong_kind(path, "is no directory, and the rule insists on one"));
                }
                _ => {}
            }
        }
        let flags = if terms.quiet { ADD_RULE_QUIET } else { 0 };
        let rights = terms.rights;
        if rights.is_empty() && !terms.quiet {
            return Ok(rights);
        }
        match sys::add_path(self.fd.as_fd(), fd, rights.fs_bits(), flags) {
            Ok(()) => Ok(rights),
            // A pipe, a socket, a memfd: Landlock never restricts it.
            Err(libc::EBADFD) => {
                if !terms.preset {
                    self.notes.push(format!(
                        "{}: a pipe, a socket or the like, which Landlock does not restrict: it needs no rule",
                        crate::printable(path)
                    ));
                }
                Ok(Rights::empty())
            }
            // The kernel's way to say that this is no directory.
            Err(libc::EINVAL) if !Rights::on_file().contains(rights) => self.add_file(fd, path, terms, flags),
            Err(errno) => Err(failed(path, errno)),
        }
    }

    fn add_file(&mut self, fd: BorrowedFd<'_>, path: &Path, terms: &Terms, flags: u32) -> Result<Rights> {
        let exact = terms.rights.only_exact() - Rights::on_file();
        if let (Some(name), false) = (exact.names().next(), terms.preset) {
            let message = format!("is no directory, and only a directory can have {name}");
            let hint =
                format!("leave {name} out, or use a group or letters, which leave it out by themselves");
            return Err(Error::on_path(ErrorKind::Path, path, message, hint).with_errno(libc::EINVAL));
        }
        let rights = terms.rights & Rights::on_file();
        if rights.is_empty() {
            self.notes.push(format!(
                "{}: no directory, so that nothing of {} applies to it; no rule was added",
                crate::printable(path),
                terms.rights
            ));
            return Ok(rights);
        }
        sys::add_path(self.fd.as_fd(), fd, rights.fs_bits(), flags).map_err(|errno| failed(path, errno))?;
        Ok(rights)
    }

    /// Each file that a link in a directory leads to. Links to a neighbour lead to nothing new, and those into the
    /// places where distributions keep such files have a rule.
    fn add_links(&mut self, dir: &Path, terms: &Terms) -> Result<Rights> {
        let mut added = Rights::empty();
        let Ok(entries) = std::fs::read_dir(dir) else { return Ok(added) };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(target) = std::fs::read_link(&path) else { continue };
            let beside = target.components().count() == 1;
            if beside || CERT_SOURCES.iter().any(|known| target.starts_with(known)) {
                continue;
            }
            let Ok(fd) = sys::open_path(&path, false, &mut self.name) else { continue };
            if sys::file_type(fd.as_fd()) == Ok(libc::S_IFREG) {
                added |= self.add_opened(fd.as_fd(), &path, terms)?;
            }
        }
        Ok(added)
    }

    /// What descriptor 0, 1 or 2 is open on. A directory is left out: a rule on it would reach below it, which the
    /// descriptor alone does not.
    fn add_stdio(&mut self, number: i32, terms: &Terms, only_terminal: bool) -> Result<Rights> {
        let added = sys::with_inherited(number, |fd, mode| {
            let readable = matches!(mode, libc::O_RDONLY | libc::O_RDWR);
            let writable = matches!(mode, libc::O_WRONLY | libc::O_RDWR);
            let mut rights = terms.rights & Rights::on_file();
            if !readable {
                rights = rights - Rights::R;
            }
            if !writable {
                rights = rights - Rights::W;
            }
            let kind = sys::file_type(fd);
            if rights.is_empty() || kind == Ok(libc::S_IFDIR) || (only_terminal && !sys::is_terminal(fd)) {
                return Ok(Rights::empty());
            }
            self.add_opened(fd, &PathBuf::from(format!("descriptor {number}")), &Terms { rights, ..*terms })
        });
        added.unwrap_or(Ok(Rights::empty()))
    }
}

fn wrong_kind(path: &Path, message: &str) -> Error {
    Error::on_path(ErrorKind::Path, path, message, "")
}

fn failed(path: &Path, errno: Errno) -> Error {
    Error::on_path(ErrorKind::Path, path, "no rule can be added for it", "").with_errno(errno)
}
