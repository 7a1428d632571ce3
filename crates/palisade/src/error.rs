//! The one error type.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::rights::Rights;
use crate::text::printable;

/// What went wrong, on which path or port, and what to do about it.
///
/// The text is one line: what happened, the errno's name where a system call failed, and after a semicolon what
/// to do. Only what is wrong with a policy file takes more lines. Nothing was confined when an error is returned, unless [`Error::is_partial`]; `no_new_privs`, which takes no
/// right away but those of set-user-ID programs, may have been set.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    hint: String,
    errno: Option<i32>,
    path: Option<PathBuf>,
    rights: Rights,
    #[cfg(feature = "file")]
    problems: Vec<crate::file::Problem>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What is required cannot be enforced here.
    Unsupported,
    /// A path does not exist.
    MissingPath,
    /// A path cannot be used as the rule asks.
    Path,
    /// The policy contradicts itself or makes no sense.
    Invalid,
    /// Sixteen layers are there already.
    Layers,
    /// Another thread cannot be confined, and nothing was.
    Threads,
    /// Some threads are confined, and others are not.
    Partial,
    /// A program is not there.
    #[cfg_attr(not(feature = "program"), allow(dead_code, reason = "made by the closure of a program alone"))]
    ProgramMissing,
    /// A program is there and cannot be run.
    #[cfg_attr(not(feature = "program"), allow(dead_code, reason = "made by the closure of a program alone"))]
    ProgramUnusable,
    /// A system call failed for another reason.
    System,
}

/// Shorthand for results with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: Kind, message: String, hint: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message,
            hint: hint.into(),
            errno: None,
            path: None,
            rights: Rights::empty(),
            #[cfg(feature = "file")]
            problems: Vec::new(),
        }))
    }

    /// All that is wrong with a policy file.
    #[cfg(feature = "file")]
    pub(crate) fn of_file(problems: Vec<crate::file::Problem>) -> Error {
        let message: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let mut error = Error::invalid(message.join("\n"), "");
        error.0.problems = problems;
        error
    }

    pub(crate) fn invalid(message: String, hint: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, message, hint)
    }

    /// An error about `path`, which begins the message.
    pub(crate) fn on_path(
        kind: Kind,
        path: &Path,
        message: impl fmt::Display,
        hint: impl Into<String>,
    ) -> Error {
        let mut error = Error::new(kind, format!("{}: {message}", printable(path)), hint);
        error.0.path = Some(path.to_owned());
        error
    }

    pub(crate) fn with_errno(mut self, errno: i32) -> Error {
        self.0.errno = Some(errno);
        self
    }

    pub(crate) fn with_rights(mut self, rights: Rights) -> Error {
        self.0.rights = rights;
        self
    }

    /// What is required cannot be enforced here: the kernel is too old, or Landlock is not built in, turned off,
    /// refused by a seccomp filter, or this is not Linux.
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == Kind::Unsupported
    }

    /// A path that a rule names does not exist. [`Rule::optional`](crate::Rule::optional) makes that no error.
    ///
    /// ```no_run
    /// if let Err(error) = palisade::Policy::new().ro("/etc/app.conf").enforce() {
    ///     assert!(error.is_missing_path(), "{error}");
    /// }
    /// ```
    pub fn is_missing_path(&self) -> bool {
        self.0.kind == Kind::MissingPath
    }

    /// The policy contradicts itself or a word in it is unknown, on every kernel.
    ///
    /// ```
    /// let error = "rq".parse::<palisade::Rights>().unwrap_err();
    /// assert!(error.is_invalid());
    /// ```
    pub fn is_invalid(&self) -> bool {
        self.0.kind == Kind::Invalid
    }

    /// Sixteen layers are stacked on this thread already; the kernel takes no more.
    pub fn is_too_many_layers(&self) -> bool {
        self.0.kind == Kind::Layers
    }

    /// Another thread of this process could not be confined along, and so nothing was. Below ABI 8 (Linux 7.0) each
    /// thread has to confine itself; one that blocks the signals for real time, whose seccomp filter refuses, or that has
    /// unshared its descriptors does not.
    pub fn is_several_threads(&self) -> bool {
        self.0.kind == Kind::Threads
    }

    /// Some threads have been confined and others could not be: the process must end, and do nothing else. Below ABI 8
    /// (Linux 7.0) alone; [`Policy::abort_if_partial`](crate::Policy::abort_if_partial) ends it at once.
    ///
    /// ```no_run
    /// if let Err(error) = palisade::Policy::new().enforce() {
    ///     eprintln!("not confined: {error}");
    ///     std::process::exit(1); // also what is_partial() asks for
    /// }
    /// ```
    pub fn is_partial(&self) -> bool {
        self.0.kind == Kind::Partial
    }

    /// The program that was named is not there.
    pub fn is_program_missing(&self) -> bool {
        self.0.kind == Kind::ProgramMissing
    }

    /// The program that was named is there, and cannot be run: a directory, not executable, or broken.
    pub fn is_program_unusable(&self) -> bool {
        self.0.kind == Kind::ProgramUnusable
    }

    /// What is wrong with a policy file, if that is the error: all of it. Needs the feature `file`.
    ///
    /// ```
    /// let error = palisade::PolicyFile::read("/no/such/file.toml").unwrap_err();
    /// assert_eq!(error.problems()[0].message(), "does not exist");
    /// ```
    #[cfg(feature = "file")]
    pub fn problems(&self) -> &[crate::file::Problem] {
        &self.0.problems
    }

    /// The path that the error is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The rights that are required and cannot be restricted here, if that is the error.
    pub fn rights(&self) -> Rights {
        self.0.rights
    }

    /// The error number of the system call that failed.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// What happened, without what to do about it.
    pub fn message(&self) -> impl fmt::Display + '_ {
        Message(self)
    }

    /// What to do about it, for a programmer; may be empty.
    ///
    /// ```
    /// let error = "raed_file".parse::<palisade::Rights>().unwrap_err();
    /// assert_eq!(error.message().to_string(), "\"raed_file\" is no right");
    /// assert_eq!(error.hint(), "did you mean read_file?");
    /// ```
    pub fn hint(&self) -> &str {
        &self.0.hint
    }
}

struct Message<'a>(&'a Error);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.0.message)?;
        match self.0.0.errno {
            Some(errno) => write!(f, " ({})", errno_name(errno)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(f)?;
        match self.hint() {
            "" => Ok(()),
            hint => write!(f, "; {hint}"),
        }
    }
}

impl fmt::Debug for Error {
    /// As the text: what `main` shows that returns this error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.0.kind {
            Kind::Unsupported => io::ErrorKind::Unsupported,
            Kind::MissingPath | Kind::ProgramMissing => io::ErrorKind::NotFound,
            Kind::Invalid => io::ErrorKind::InvalidInput,
            _ => {
                error.errno().map_or(io::ErrorKind::Other, |errno| io::Error::from_raw_os_error(errno).kind())
            }
        };
        io::Error::new(kind, error)
    }
}

/// The path and the OS error of an [`io::Error`], as an error on that path.
pub(crate) fn io_on_path(path: &Path, doing: &str, error: &io::Error) -> Error {
    let made = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::on_path(
            Kind::MissingPath,
            path,
            "does not exist",
            "a rule for what may be missing is made .optional(), as in ro(path).optional()",
        ),
        io::ErrorKind::PermissionDenied => {
            let hint =
                "ordinary permissions refuse this, or an outer sandbox; Landlock has not been asked yet";
            Error::on_path(Kind::Path, path, format_args!("cannot be {doing}"), hint)
        }
        _ => Error::on_path(Kind::Path, path, format_args!("cannot be {doing}"), ""),
    };
    match error.raw_os_error() {
        Some(errno) => made.with_errno(errno),
        None => made,
    }
}

/// The name of an error number, as `EACCES`; else the system's text.
pub(crate) fn errno_name(errno: i32) -> String {
    const NAMES: [(i32, &str); 25] = [
        (libc::E2BIG, "E2BIG"),
        (libc::EACCES, "EACCES"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EBADF, "EBADF"),
        (libc::EBUSY, "EBUSY"),
        (libc::EFAULT, "EFAULT"),
        (libc::EINTR, "EINTR"),
        (libc::EINVAL, "EINVAL"),
        (libc::EIO, "EIO"),
        (libc::EISDIR, "EISDIR"),
        (libc::ELOOP, "ELOOP"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ENFILE, "ENFILE"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOENT, "ENOENT"),
        (libc::ENOEXEC, "ENOEXEC"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::ENXIO, "ENXIO"),
        (libc::EPERM, "EPERM"),
        (libc::EROFS, "EROFS"),
        (libc::ETXTBSY, "ETXTBSY"),
        (libc::EXDEV, "EXDEV"),
    ];
    match NAMES.iter().find(|(n, _)| *n == errno) {
        Some((_, name)) => (*name).to_owned(),
        None if errno == linux_only::EBADFD => "EBADFD".to_owned(),
        None if errno == linux_only::EOPNOTSUPP => "EOPNOTSUPP".to_owned(),
        None => io::Error::from_raw_os_error(errno).to_string(),
    }
}

/// Numbers that libc does not have everywhere; 0 is no error's.
mod linux_only {
    #[cfg(target_os = "linux")]
    pub(super) use libc::{EBADFD, EOPNOTSUPP};
    #[cfg(not(target_os = "linux"))]
    pub(super) const EBADFD: i32 = 0;
    #[cfg(not(target_os = "linux"))]
    pub(super) const EOPNOTSUPP: i32 = 0;
}

/// A word as it is quoted in an error.
pub(crate) fn quoted(word: &(impl AsRef<OsStr> + ?Sized)) -> String {
    format!("\"{}\"", printable(word))
}
