//! The one effect: a plan becomes a ruleset, and the ruleset binds a process, a thread or a child.
//!
//! System calls: for each rule open, add_rule and close (one more add_rule on what is no directory, if the rule has
//! rights of directories); besides create_ruleset, prctl (before ABI 11), restrict_self and close, and for
//! [`Policy::enforce`](crate::Policy::enforce) the two queries of `Kernel::probe` and, below ABI 8, a look at whether
//! other threads run. tests/syscalls counts them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::domain::Known;
use crate::error::{Error, Kind as ErrorKind, Result, io_on_path};
use crate::place::FileKind;
use crate::plan::{PathRule, Plan};
use crate::preset::CERT_SOURCES;
use crate::report::{Covers, Report};
use crate::rights::{Abi, Rights};
use crate::rule::{Kind, Target, Terms};
use crate::sys::threads::{Call, Failure, restrict_all};
use crate::sys::{self, Errno};
use crate::uapi::{ADD_RULE_QUIET, MAX_LAYERS, NO_NEW_PRIVS_ABI, RESTRICT_SELF_NO_NEW_PRIVS};
use crate::uapi::{RESTRICT_SELF_TSYNC, RulesetAttr, TSYNC_ABI};

impl Plan {
    /// Confines the whole process, as [`Policy::enforce`](crate::Policy::enforce).
    pub fn enforce(self) -> Result<Report> {
        self.ruleset()?.enforce()
    }

    /// Confines the calling thread alone, as [`Policy::enforce_thread`](crate::Policy::enforce_thread).
    pub fn enforce_thread(self) -> Result<Report> {
        self.ruleset()?.restrict(0, Covers::Thread)
    }

    /// Does all that [`Plan::enforce`] does but for the last step: opens every path, makes the ruleset, and confines
    /// nobody. What would be an error is one here.
    pub fn check(&self) -> Result<Report> {
        Ok(self.clone().ruleset()?.report)
    }

    /// Opens every path and makes the ruleset, for those who fork by themselves, and confine the child.
    ///
    /// ```
    /// use palisade::{Kernel, Policy};
    /// let plan = Policy::new().best_effort().plan(&Kernel::probe())?.for_child();
    /// let ruleset = plan.ruleset()?; // here, before fork: it opens files and allocates
    /// let in_the_child = move || ruleset.restrict_self(); // after fork: two system calls
    /// # Ok::<(), palisade::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`Policy::enforce`](crate::Policy::enforce), but for threads and layers.
    pub fn ruleset(self) -> Result<Ruleset> {
        let (no_new_privs, flags) = (self.abi() < NO_NEW_PRIVS_ABI, self.restrict_flags());
        if self.handled.is_empty() {
            let report =
                Report { plan: self, covers: Covers::NotYet, skipped: Vec::new(), notes: Vec::new() };
            return Ok(Ruleset { fd: None, no_new_privs, flags, report });
        }
        let (fd, LeftOut { skipped, notes, changed }) = self.draft()?;
        let report = Report { plan: self.with_changed(&changed), covers: Covers::NotYet, skipped, notes };
        Ok(Ruleset { fd: Some(fd), no_new_privs, flags, report })
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

    fn restrict_flags(&self) -> u32 {
        // From ABI 11 on it needs no call of its own.
        self.log.bits() | if self.abi() < NO_NEW_PRIVS_ABI { 0 } else { RESTRICT_SELF_NO_NEW_PRIVS }
    }
}

/// A plan's ruleset as the kernel has it, open in this process: what [`Plan::ruleset`] makes.
#[derive(Debug)]
pub struct Ruleset {
    /// None where this kernel can enforce nothing of the plan.
    fd: Option<OwnedFd>,
    no_new_privs: bool,
    flags: u32,
    report: Report,
}

impl Ruleset {
    /// Confines the calling thread, and all that it starts: after fork(2) that is the whole child.
    ///
    /// Two system calls (one from ABI 11, none where [`Ruleset::fd`] is none). It is async-signal-safe, allocates
    /// nothing, and may be called between fork and exec, any number of times.
    ///
    /// # Errors
    ///
    /// The thread is not confined, and must not go on to what was to be confined. The error is a number, which takes no
    /// memory; [`Error::in_child`] says what it means.
    pub fn restrict_self(&self) -> io::Result<()> {
        let Some(fd) = &self.fd else { return Ok(()) };
        call_both(fd.as_fd(), self.no_new_privs, self.flags)
            .map_err(|(call, errno)| io::Error::from_raw_os_error(offset(call) + errno))
    }

    /// Confines the whole process, as [`Policy::enforce`](crate::Policy::enforce). Whoever stacks several policies makes the
    /// rulesets of all first: under one policy the paths of the next may be out of reach.
    ///
    /// ```no_run
    /// use palisade::{Kernel, Policy};
    /// let (kernel, outer, inner) = (Kernel::probe(), Policy::new().ro("/"), Policy::new().ro("/usr"));
    /// let rulesets = [outer.plan(&kernel)?.ruleset()?, inner.plan(&kernel)?.ruleset()?];
    /// for ruleset in rulesets {
    ///     eprint!("{}", ruleset.enforce()?);
    /// }
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn enforce(self) -> Result<Report> {
        let plan = &self.report.plan;
        if plan.abi() >= TSYNC_ABI {
            return self.restrict(RESTRICT_SELF_TSYNC, Covers::AllThreads);
        }
        let Some(fd) = &self.fd else { return self.restrict(0, Covers::Nobody) };
        // Where a seccomp filter refuses the question, the threads are listed.
        if sys::alone() == Some(true) {
            return self.restrict(0, Covers::OnlyThread);
        }
        let (abi, end) = (plan.abi(), plan.abort_if_partial);
        let threads = restrict_all(fd.as_fd(), self.no_new_privs, self.flags, end)
            .map_err(|failure| not_all(abi, failure))?;
        if threads == 1 {
            return Ok(Report { covers: Covers::OnlyThread, ..self.report });
        }
        let mut report = Report { covers: Covers::EachThread, ..self.report };
        report.notes.push(own_domains(threads, report.enforced()));
        Ok(report)
    }

    /// The descriptor, which is closed on exec.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(OwnedFd::as_fd)
    }

    /// What will hold for whoever confines himself to it.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn restrict(self, flags: u32, covers: Covers) -> Result<Report> {
        let Some(fd) = &self.fd else { return Ok(Report { covers: Covers::Nobody, ..self.report }) };
        call_both(fd.as_fd(), self.no_new_privs, self.flags | flags)
            .map_err(|(call, errno)| refused(call, errno))?;
        Ok(Report { covers, ..self.report })
    }
}

fn call_both(
    ruleset: BorrowedFd<'_>,
    no_new_privs: bool,
    flags: u32,
) -> std::result::Result<(), (Call, Errno)> {
    if no_new_privs {
        sys::set_no_new_privs().map_err(|errno| (Call::NoNewPrivs, errno))?;
    }
    sys::restrict_self(ruleset.as_raw_fd(), flags).map_err(|errno| (Call::RestrictSelf, errno))
}

/// From a child comes no more than a number. No system call has one as large: that of execve, which may come instead,
/// cannot be taken for ours.
fn offset(call: Call) -> i32 {
    match call {
        Call::NoNewPrivs => 157_000,
        Call::RestrictSelf => 446_000,
    }
}

impl Error {
    /// What it was, if starting a program failed because the child could not confine itself: nothing was run then. `None`
    /// if it failed for another reason, as that the program is not there.
    ///
    /// [`Confined`](crate::Confined) says it by itself; this is for a [`Command`](std::process::Command) that is started
    /// later, for tokio's, and for [`Ruleset::restrict_self`].
    ///
    /// ```
    /// let error = std::io::Error::from_raw_os_error(446_007); // what the child sends
    /// assert!(palisade::Error::in_child(&error).is_some_and(|error| error.is_too_many_layers()));
    /// ```
    pub fn in_child(error: &io::Error) -> Option<Error> {
        let number = error.raw_os_error()?;
        let call = [Call::NoNewPrivs, Call::RestrictSelf];
        let call = call.into_iter().find(|call| (1..1000).contains(&number.saturating_sub(offset(*call))))?;
        Some(refused(call, number - offset(call)))
    }
}

/// What each thread's having a domain of its own means.
fn own_domains(threads: u32, enforced: Rights) -> String {
    let mut text = format!(
        "each of the {threads} threads has a Landlock domain of its own, and what a thread starts is in that of the thread: \
         it cannot trace what another thread starts"
    );
    if enforced.contains(Rights::SIGNAL) {
        text.push_str(", nor signal it");
    }
    if enforced.contains(Rights::ABSTRACT) {
        text.push_str(", nor connect to abstract UNIX sockets made by another thread");
    }
    text.push_str("; to avoid that, enforce before starting threads");
    if enforced.contains(Rights::SIGNAL) {
        text.push_str(", or leave signals unrestricted");
    }
    text
}

/// Why not every thread is confined, each with its own sentence.
fn not_all(abi: u32, failure: Failure) -> Error {
    let why = format!("this kernel's Landlock, ABI {abi}, confines one thread at a time");
    let enforce_before = "enforce before starting threads, or on Linux 7.0, which confines all at once";
    let threads = |message: String, hint: &str| {
        Error::new(ErrorKind::Threads, format!("nothing was confined: {message}"), hint)
    };
    match failure {
        Failure::Start(errno) => {
            let hint = "raise the limit of open files (ulimit -n)";
            threads(format!("two descriptors more are needed, for {why}"), hint).with_errno(errno)
        }
        Failure::List(error) => {
            let hint = "enforce before starting threads; or mount /proc, and allow ro(\"/proc\") in the policy that is \
                        there already";
            threads(format!("the threads of this process cannot be listed, and {why}: {error}"), hint)
        }
        Failure::Send(errno) => {
            let hint = match errno {
                libc::EAGAIN => "too many signals are queued (ulimit -i); enforce before starting threads",
                _ => enforce_before,
            };
            threads(format!("a thread cannot be signalled, and {why}"), hint).with_errno(errno)
        }
        Failure::Silent { tid, signal, blocked: Some(true) } => threads(
            format!(
                "{} blocks signal {signal} and others, by one of which it is to be stopped, and {why}",
                named(tid)
            ),
            "have it not block those for real time, or enforce before starting threads, or on Linux 7.0",
        ),
        Failure::Silent { tid, blocked: None, .. } => threads(
            format!(
                "thread {tid} did not stop in time when it was signalled, and {why}; an earlier policy hides what it is"
            ),
            "it may be a worker of the kernel's for io_uring: allow ro(\"/proc\") in the earlier policy, or enforce once",
        ),
        Failure::Apart { tid } => threads(
            format!(
                "{} has descriptors of its own (unshare with CLONE_FILES), the ruleset's not among them, and {why}",
                named(tid)
            ),
            "enforce before it has",
        ),
        Failure::Silent { tid, .. } => threads(
            format!("{} did not stop in time when it was signalled, and {why}", named(tid)),
            "it may wait in the kernel, or be held by a debugger: try again later, or enforce before starting threads",
        ),
        Failure::Refused { tid, call, errno: 0 } => threads(
            format!(
                "a seccomp filter of {} answers {} in the kernel's place, and {why}",
                named(tid),
                name(call)
            ),
            "allow it in that filter, or enforce before the filter is installed",
        ),
        Failure::Refused { tid, call, errno } => threads(
            format!("a seccomp filter of {} refuses {}, and {why}", named(tid), name(call)),
            "allow it in that filter, or enforce before the filter is installed",
        )
        .with_errno(errno),
        Failure::Caller { call, errno } => refused(call, errno),
        Failure::Partial { tid, errno } => {
            let reason = match errno {
                Some(libc::E2BIG) => format!("it has {MAX_LAYERS} Landlock layers already"),
                Some(_) => "the kernel refused".to_owned(),
                None => "it did not answer".to_owned(),
            };
            let message = format!(
                "this process must end: {} could not be confined ({reason}), and other threads have been",
                named(tid)
            );
            let hint = ".abort_if_partial() ends it at once; enforce before starting threads";
            let error = Error::new(ErrorKind::Partial, message, hint);
            match errno {
                Some(errno) => error.with_errno(errno),
                None => error,
            }
        }
    }
}

fn name(call: Call) -> &'static str {
    match call {
        Call::NoNewPrivs => "prctl(PR_SET_NO_NEW_PRIVS)",
        Call::RestrictSelf => "landlock_restrict_self",
    }
}

/// A thread for people: its number, and the name it has given itself.
fn named(tid: i32) -> String {
    match std::fs::read(format!("/proc/self/task/{tid}/comm")) {
        Ok(name) => {
            let name = String::from_utf8_lossy(name.trim_ascii_end()).into_owned();
            format!("thread {tid} ({})", crate::printable(&name))
        }
        Err(_) => format!("thread {tid}"),
    }
}

/// Why the calling thread cannot be confined, each with its own sentence.
fn refused(call: Call, errno: Errno) -> Error {
    let (kind, message, hint) = match (call, errno) {
        (Call::NoNewPrivs, _) => (
            ErrorKind::System,
            "no_new_privs cannot be set, without which nobody may confine himself".to_owned(),
            "a seccomp filter refuses prctl(2); allow PR_SET_NO_NEW_PRIVS in it",
        ),
        (_, libc::E2BIG) => (
            ErrorKind::Layers,
            format!(
                "{MAX_LAYERS} Landlock layers are stacked on this process already, which is the most there can be"
            ),
            "confine it fewer times: put what several policies allow into one",
        ),
        (_, libc::EPERM | libc::ENOSYS | libc::EACCES) => (
            ErrorKind::System,
            "the kernel, or a seccomp filter, refuses landlock_restrict_self".to_owned(),
            "allow system call 446 in the seccomp profile of the container or service",
        ),
        (_, libc::EBADF | libc::EBADFD) => (
            ErrorKind::System,
            "landlock_restrict_self does not find the ruleset".to_owned(),
            "something has closed its descriptor, or put another in its place: a closure of pre_exec, before this one?",
        ),
        (_, libc::EINVAL) => (
            ErrorKind::System,
            "landlock_restrict_self refuses its flags: the plan was made for another kernel".to_owned(),
            "plan with Kernel::probe()",
        ),
        _ => (ErrorKind::System, "landlock_restrict_self failed".to_owned(), ""),
    };
    Error::new(kind, message, hint).with_errno(errno)
}

/// Where rules go: to the kernel, or, for [`Domain`](crate::Domain), on a list.
enum Sink<'a> {
    Kernel(BorrowedFd<'a>),
    List(&'a mut Vec<Known>),
}

impl Sink<'_> {
    /// Adds the rule of this number in the plan.
    fn add_path(
        &mut self,
        at: usize,
        path: BorrowedFd<'_>,
        rights: Rights,
        flags: u32,
    ) -> std::result::Result<(), Errno> {
        match self {
            Sink::Kernel(ruleset) => sys::add_path(*ruleset, path, rights.fs_bits(), flags),
            Sink::List(known) => {
                if sys::is_nowhere(path) {
                    return Err(libc::EBADFD);
                }
                let node = sys::look_at(path)?;
                if node.kind != FileKind::Dir && !Rights::on_file().contains(rights) {
                    return Err(libc::EINVAL);
                }
                known.push(Known { rule: at, inode: node.inode, rights });
                Ok(())
            }
        }
    }
}

/// What adding rules left out or found.
#[derive(Default)]
struct LeftOut {
    skipped: Vec<PathBuf>,
    notes: Vec<String>,
    /// Rules, by their place in the plan, that were added with fewer rights than planned, or with none.
    changed: Vec<(usize, Rights)>,
}

/// Rules that are being added.
struct Draft<'a> {
    sink: Sink<'a>,
    left_out: LeftOut,
    /// The rule that is being added, by its place in the plan.
    at: usize,
    /// Where paths get their NUL byte.
    name: Vec<u8>,
}

impl Plan {
    /// The ruleset of a plan that handles something.
    fn draft(&self) -> Result<(OwnedFd, LeftOut)> {
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
        let ruleset = fd.as_fd();
        for &(right, ports) in &self.ports {
            for port in ports.first..=ports.last {
                sys::add_port(ruleset, port, right.net_bits(), 0).map_err(|errno| {
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
        let left_out = self.add_all(Sink::Kernel(ruleset))?;
        Ok((fd, left_out))
    }

    /// Each rule of the plan on a path or a descriptor, as it is added.
    fn add_all(&self, sink: Sink<'_>) -> Result<LeftOut> {
        let mut draft = Draft { sink, left_out: LeftOut::default(), at: 0, name: Vec::new() };
        for (at, rule) in self.rules.iter().enumerate() {
            draft.at = at;
            let added = draft.add(rule)?;
            if added != rule.terms.rights {
                draft.left_out.changed.push((at, added));
            }
        }
        Ok(draft.left_out)
    }

    /// What [`Plan::enforce`] would add rules for, inode by inode, and what it would skip; confines nobody.
    pub(crate) fn known(&self) -> Result<(Vec<Known>, Vec<PathBuf>)> {
        let mut known = Vec::new();
        let skipped = self.add_all(Sink::List(&mut known))?.skipped;
        Ok((known, skipped))
    }
}

impl Draft<'_> {
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
        match sys::open_path(path, terms.kind == Some(Kind::Dir), terms.no_links, &mut self.name) {
            Ok(fd) => self.add_opened(fd.as_fd(), path, terms),
            Err(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP) if terms.preset => {
                Ok(Rights::empty())
            }
            Err(libc::ENOTDIR) if terms.kind == Some(Kind::Dir) && std::fs::exists(path).unwrap_or(false) => {
                Err(wrong_kind(path, "is no directory, and the rule insists on one"))
            }
            Err(libc::ENOENT | libc::ENOTDIR) if terms.optional => {
                self.left_out.skipped.push(path.to_owned());
                Ok(Rights::empty())
            }
            Err(libc::ELOOP) if terms.no_links => Err(Error::on_path(
                ErrorKind::Path,
                path,
                "has become a symbolic link, or leads through one",
                "what the policy names relative to its own file may not lead elsewhere; is that meant, name the whole path",
            )
            .with_errno(libc::ELOOP)),
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
        match self.sink.add_path(self.at, fd, rights, flags) {
            Ok(()) => Ok(rights),
            // A pipe, a socket, a memfd: Landlock never restricts it.
            Err(libc::EBADFD) => {
                if !terms.preset {
                    self.left_out.notes.push(format!(
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
            let added = if terms.quiet { "" } else { "; no rule was added" };
            self.left_out.notes.push(format!(
                "{}: no directory, so that nothing of {} applies to it{added}",
                crate::printable(path),
                terms.rights
            ));
            if !terms.quiet {
                return Ok(rights);
            }
        }
        self.sink.add_path(self.at, fd, rights, flags).map_err(|errno| failed(path, errno))?;
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
            let Ok(fd) = sys::open_path(&path, false, false, &mut self.name) else { continue };
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
