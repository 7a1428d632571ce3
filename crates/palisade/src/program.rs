//! The closure of a program: the single files that it needs in order to start.
//!
//! They are found by reading, never by running anything: the program is hostile, and so may be all that it names.
//! Each file is looked at before it is read, and is read only if it is still the same; the descriptor that was read is
//! the one to grant, so nothing can be put in its place in between. Granted are the program; of a script the interpreters that its first line names, also through `env`;
//! of an ELF program its loader and, breadth first, the libraries of libraries, if they are ELF files of its class
//! and machine; and the files that the loader itself reads. All else that a program names grants nothing and is told.
//!
//! Not part of the closure is what a program opens once it runs: what it gets from `dlopen` (plug-ins, character
//! sets of gconv, name services that are not built into libc), its data, LD_PRELOAD and LD_AUDIT, and the programs
//! that it starts, which includes those of a script that is a wrapper. Formats that binfmt_misc adds are not known.

mod elf;
mod grant;
mod ldso;
mod script;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::errno_name;
use crate::text::printable;
use elf::{Arch, Elf};
pub use grant::Program;

const MAX_SCRIPTS: usize = 4;
const MAX_OBJECTS: usize = 256;
/// Looks at the file system, so that no program can keep us busy; an opened file counts as many.
const MAX_PROBES: usize = 100_000;
const OPENED: usize = 64;
/// The largest data file that is read: ld.so.cache has tens of kilobytes, at most a few megabytes.
const MAX_DATA: u64 = 16 << 20;
/// Where `execvp` looks if PATH is unset.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What the search depends on, besides the file system.
pub(crate) struct Search<'a> {
    /// PATH to look a bare name up in (None: the variable is unset).
    pub(crate) path: Option<&'a OsStr>,
    /// PATH as the program will have it, in which `env` in a script looks.
    pub(crate) path_at_start: Option<&'a OsStr>,
    /// LD_LIBRARY_PATH (None if it does not reach the program).
    pub(crate) ld_library_path: Option<&'a OsStr>,
    /// The folder that the program starts in, where it is not the current one: relative names in a `#!` line, a
    /// RUNPATH or LD_LIBRARY_PATH begin there. COMMAND and its PATH do not.
    pub(crate) dir: Option<&'a Path>,
    /// Whether this process may execute a file: access(2) with X_OK, for the effective user.
    pub(crate) may_execute: &'a dyn Fn(&Path) -> bool,
}

/// What a program needs in order to start.
#[derive(Debug)]
pub(crate) struct Closure {
    /// What to execute: the path as found, symbolic links and all.
    pub(crate) command: PathBuf,
    /// The files, the program first.
    pub(crate) files: Vec<File>,
    /// What the program names and does not get.
    pub(crate) unresolved: Vec<Unresolved>,
}

/// One file of a closure.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it was found; relative paths are relative to the current folder.
    pub(crate) path: PathBuf,
    /// The descriptor that was read.
    pub(crate) fd: OwnedFd,
    /// What it is for.
    pub(crate) role: Role,
}

/// What a file of a closure is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The ELF file that is executed.
    Program,
    /// A script, which its interpreter reads.
    Script,
    /// The ELF file that a script names in its first line, or `env` there.
    Interpreter,
    /// The ELF interpreter: the loader of libraries.
    Loader,
    /// A shared library.
    Library,
    /// What the loader reads to find libraries.
    Data,
}

impl Role {
    /// Whether the file must be executable; all must be readable.
    pub(crate) fn executes(self) -> bool {
        !matches!(self, Role::Library | Role::Data)
    }
}

/// Something that the program names and that was not found, or that grants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// The name, as it was given.
    pub(crate) path: PathBuf,
    /// The rest of a sentence that begins with the name.
    pub(crate) why: String,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", printable(&self.path), self.why)
    }
}

/// Why there is no closure.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Which exit status it stands for.
    pub(crate) kind: FaultKind,
    /// The file that it is about.
    pub(crate) path: PathBuf,
    /// The rest of a sentence that begins with the path.
    pub(crate) why: String,
}

/// The two ways in which a program cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// There is no such program: 127.
    NotFound,
    /// It is there and cannot be run: 126.
    NotRunnable,
}

/// Finds the closure of a command: a path, or without a slash a name to look up in PATH.
pub(crate) fn closure(command: &OsStr, search: &Search) -> Result<Closure, Fault> {
    let path = look_up(command, search.path, Path::new(""), search)?;
    let mut files = Files { dir: search.dir.unwrap_or(Path::new("")).to_owned(), ..Files::default() };
    files.start(&path, Role::Program, search)?;
    Ok(Closure { command: path, files: files.list, unresolved: files.unresolved })
}

/// Finds a command alone, as [`closure`] does, and nothing of what it needs.
pub(crate) fn command(command: &OsStr, search: &Search) -> Result<PathBuf, Fault> {
    let path = look_up(command, search.path, Path::new(""), search)?;
    program(&path, search)
        .map_err(|why| not_runnable(&path, why.unwrap_or("is not found: there is no such file".into())))?;
    Ok(path)
}

fn not_runnable(path: &Path, why: impl Into<String>) -> Fault {
    Fault { kind: FaultKind::NotRunnable, path: path.to_owned(), why: why.into() }
}

/// Where a command is, as `execvp` would look for it.
fn look_up(name: &OsStr, path: Option<&OsStr>, dir: &Path, search: &Search) -> Result<PathBuf, Fault> {
    let not_found = |why: &str| Fault { kind: FaultKind::NotFound, path: name.into(), why: why.into() };
    if name.as_bytes().contains(&0) {
        return Err(not_found("is not found: no name has a zero byte in it"));
    }
    if name.as_bytes().contains(&b'/') {
        return match fs::metadata(dir.join(name)) {
            Err(error) if is_missing(&error) => Err(not_found("is not found: there is no such file")),
            _ => Ok(dir.join(name)),
        };
    }
    if name.is_empty() {
        return Err(not_found("is not found: the name of the program is empty"));
    }
    let mut refused = None;
    for folder in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|b| *b == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let candidate = dir.join(OsStr::from_bytes(folder)).join(name);
        match program(&candidate, search) {
            Ok(_) => return Ok(candidate),
            // What cannot even be reached, in a folder that is closed to this user, may not be there at all.
            Err(Some(why)) if candidate.exists() => refused = refused.or(Some((candidate, why))),
            Err(_) => {}
        }
    }
    match (refused, path) {
        (Some((candidate, why)), _) => Err(not_runnable(&candidate, why)),
        (None, Some(_)) => Err(not_found("is not found in any folder of PATH")),
        (None, None) => {
            Err(not_found("is not found in /bin or /usr/bin, where programs are searched without PATH"))
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A file that may be executed; else why not, the rest of a sentence; None if there is no file.
fn program(path: &Path, search: &Search) -> Result<Metadata, Option<String>> {
    let meta = regular(path)?;
    if meta.mode() & 0o111 == 0 {
        return Err(Some("is not executable: nobody has the permission to execute it".into()));
    }
    if !(search.may_execute)(path) {
        return Err(Some("may not be executed by this user".into()));
    }
    Ok(meta)
}

/// A regular file. It is looked at before it is opened: merely opening a device can have effects.
fn regular(path: &Path) -> Result<Metadata, Option<String>> {
    match fs::metadata(path) {
        Ok(meta) => is_regular(meta),
        Err(error) if is_missing(&error) => Err(None),
        Err(error) => Err(Some(cannot_open(&error))),
    }
}

fn is_regular(meta: Metadata) -> Result<Metadata, Option<String>> {
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(meta),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(Some(format!("is {what}, not a file with a program")))
}

fn cannot_open(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => format!("cannot be opened ({})", errno_name(errno)),
        None => error.to_string(),
    }
}

const CHANGED: &str = "is no longer the file that it was";

/// A file that was looked at through a descriptor of its own, which does not open it yet: reading some files, as those
/// of /proc, has effects.
struct Looked {
    /// As long as this is open no other file gets the same number.
    _held: fs::File,
    meta: Metadata,
}

impl Looked {
    /// A regular file, of a file system that keeps files; else why not, None if there is none.
    fn at(path: &Path) -> Result<Looked, Option<String>> {
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
        let fd = opened.map_err(|error| (!is_missing(&error)).then(|| cannot_open(&error)))?;
        let meta = is_regular(fd.metadata().map_err(|error| Some(cannot_open(&error)))?)?;
        if crate::sys::is_made_up(fd.as_fd()) {
            return Err(Some(
                "lies where the kernel makes files up, as /proc, not where programs are kept".into(),
            ));
        }
        Ok(Looked { _held: fd, meta })
    }

    /// The same file, to read; what has taken its place meanwhile is not opened in its stead.
    fn open(&self, path: &Path) -> io::Result<fs::File> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let meta = file.metadata()?;
        if (meta.dev(), meta.ino()) != (self.meta.dev(), self.meta.ino()) {
            return Err(io::Error::other(CHANGED));
        }
        Ok(file)
    }
}

/// The files found so far.
#[derive(Default)]
struct Files {
    list: Vec<File>,
    /// What was parsed of the file at the same place in the list.
    elves: Vec<Option<Rc<Elf>>>,
    /// Places in the list, by device and inode.
    seen: HashMap<(u64, u64), usize>,
    unresolved: Vec<Unresolved>,
    scripts: usize,
    objects: usize,
    probes: usize,
    too_many: bool,
    dir: PathBuf,
}

impl Files {
    /// A path that is relative to the folder that the program starts in.
    fn at_start(&self, path: &[u8]) -> PathBuf {
        self.dir.join(OsStr::from_bytes(path))
    }

    fn note(&mut self, path: PathBuf, why: String) {
        let note = Unresolved { path, why };
        if !self.unresolved.contains(&note) {
            self.unresolved.push(note);
        }
    }

    /// Whether the search may go on.
    fn may_probe(&self) -> bool {
        self.probes < MAX_PROBES && self.objects < MAX_OBJECTS
    }

    /// Says, once, that the search ended early.
    fn too_many(&mut self) {
        if !std::mem::replace(&mut self.too_many, true) {
            let path = self.list[0].path.clone();
            self.note(path, format!("needs more libraries than the {MAX_OBJECTS} that are looked for"));
        }
    }

    fn add(&mut self, path: &Path, fd: fs::File, meta: &Metadata, role: Role, elf: Option<Rc<Elf>>) -> usize {
        let index = *self.seen.entry((meta.dev(), meta.ino())).or_insert(self.list.len());
        if index < self.list.len() {
            self.raise(index, role);
        } else {
            self.objects += usize::from(elf.is_some());
            self.list.push(File { path: path.to_owned(), fd: fd.into(), role });
            self.elves.push(elf);
        }
        index
    }

    /// A file with two roles has the one that grants more.
    fn raise(&mut self, index: usize, role: Role) {
        let file = &mut self.list[index];
        if role.executes() && !file.role.executes() {
            file.role = role;
        }
    }

    /// Adds what is needed to execute the file at `path`.
    fn start(&mut self, path: &Path, role: Role, search: &Search) -> Result<(), Fault> {
        let gone = "is not found: there is no such file";
        program(path, search).map_err(|why| not_runnable(path, why.unwrap_or(gone.into())))?;
        let looked = Looked::at(path).map_err(|why| not_runnable(path, why.unwrap_or(gone.into())))?;
        // Asked once more of the file that is granted: by its path another may have been asked.
        if looked.meta.mode() & 0o111 == 0 {
            return Err(not_runnable(path, CHANGED));
        }
        let file = match looked.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let why =
                    "may be executed but not read by this user, so that what it needs to start is not known";
                return Err(not_runnable(path, why));
            }
            Err(error) => return Err(not_runnable(path, cannot_open(&error))),
        };
        let meta = looked.meta;
        let mut head = [0; script::HEAD];
        let got = elf::read_some(&file, 0, &mut head).map_err(|why| not_runnable(path, why))?;
        let head = &head[..got];
        if elf::is_elf(head) {
            self.start_elf(path, file, &meta, role, search)
        } else if head.starts_with(b"#!") {
            self.start_script(path, file, &meta, head, search)
        } else if head.is_empty() {
            Err(not_runnable(path, "is an empty file, not a program"))
        } else if head.contains(&0) {
            Err(not_runnable(path, "is neither an ELF program nor a script"))
        } else {
            Err(not_runnable(
                path,
                "is a text without a first line such as #!/bin/sh, which would say what runs it",
            ))
        }
    }

    fn start_script(
        &mut self,
        path: &Path,
        file: fs::File,
        meta: &Metadata,
        head: &[u8],
        search: &Search,
    ) -> Result<(), Fault> {
        if self.scripts == MAX_SCRIPTS {
            let why = format!(
                "is a script, run by a script, and so on: at most {MAX_SCRIPTS} may follow one another"
            );
            return Err(not_runnable(path, why));
        }
        self.scripts += 1;
        self.add(path, file, meta, Role::Script, None);
        let (name, argument) = script::shebang(head).map_err(|why| not_runnable(path, why))?;
        let interpreter = self.at_start(name);
        let shown = printable(OsStr::from_bytes(name));
        program(&interpreter, search).map_err(|why| {
            let why = match why {
                Some(why) => format!("is a script for {shown}, which {why}"),
                None if name.ends_with(b"\r") => {
                    format!("is a script for {shown}, which does not exist: its lines end as on Windows")
                }
                None => format!("is a script for {shown}, which does not exist"),
            };
            not_runnable(path, why)
        })?;
        self.start(&interpreter, Role::Interpreter, search)?;
        if interpreter.file_name() != Some(OsStr::new("env")) {
            return Ok(());
        }
        let env = match script::env(argument) {
            Ok(env) => env,
            Err(why) => {
                self.note(path.to_owned(), format!("{why}: the program that it starts is not granted"));
                return Ok(());
            }
        };
        let variable = env.path.map(|path| path.map(OsString::from_vec));
        let variable = variable.as_ref().map_or(search.path_at_start, |path| path.as_deref());
        let dir = env.chdir.map_or(self.dir.clone(), |dir| self.at_start(&dir));
        let found = look_up(OsStr::from_bytes(&env.name), variable, &dir, search).map_err(|fault| {
            let spaced = fault.kind == FaultKind::NotFound && env.name.contains(&b' ');
            let hint = if spaced { " (only env -S splits words)" } else { "" };
            not_runnable(
                path,
                format!("is a script for {}, which {}{hint}", printable(&fault.path), fault.why),
            )
        })?;
        self.start(&found, Role::Interpreter, search)
    }

    fn start_elf(
        &mut self,
        path: &Path,
        file: fs::File,
        meta: &Metadata,
        role: Role,
        search: &Search,
    ) -> Result<(), Fault> {
        let elf = Rc::new(elf::parse(&file).map_err(|why| not_runnable(path, why))?);
        if !elf.linked {
            return Err(not_runnable(
                path,
                "is an ELF file but not a program: an object file or a core dump",
            ));
        }
        self.add(path, file, meta, role, Some(elf.clone()));
        let Some(name) = &elf.interp else { return Ok(()) };
        let loader = self.at_start(name);
        let shown = printable(OsStr::from_bytes(name));
        let fault = |why: String| not_runnable(path, format!("is to be loaded by {shown}, which {why}"));
        program(&loader, search).map_err(|why| {
            fault(
                why.unwrap_or("does not exist; was it made for another distribution or architecture?".into()),
            )
        })?;
        let (index, loaded) = self
            .object(&loader, elf.arch, Role::Loader)
            .map_err(|why| fault(why.unwrap_or("does not exist".into())))?;
        ldso::libraries(self, (path, elf), (&loader, index, &loaded), search);
        Ok(())
    }

    /// Adds a library of this architecture; else why it grants nothing, None if it does not exist.
    fn library(&mut self, path: &Path, arch: Arch) -> Result<(usize, Rc<Elf>), Option<String>> {
        if !self.may_probe() {
            return Err(Some("is one too many".into()));
        }
        let (index, elf) = self.object(path, arch, Role::Library)?;
        Ok((index, elf))
    }

    fn object(&mut self, path: &Path, arch: Arch, role: Role) -> Result<(usize, Rc<Elf>), Option<String>> {
        self.probes += 1;
        if path.as_os_str().len() >= libc::PATH_MAX as usize {
            return Err(None);
        }
        let meta = regular(path)?;
        let known = self.seen.get(&(meta.dev(), meta.ino())).copied();
        let known = known.and_then(|index| Some((index, self.elves[index].clone()?)));
        if let Some((index, elf)) = known {
            suits(&elf, arch, role)?;
            self.raise(index, role);
            return Ok((index, elf));
        }
        self.probes += OPENED;
        let looked = Looked::at(path)?;
        let (file, meta) = (looked.open(path).map_err(|error| Some(cannot_open(&error)))?, looked.meta);
        let elf = Rc::new(elf::parse(&file).map_err(|why| Some(why.into()))?);
        suits(&elf, arch, role)?;
        Ok((self.add(path, file, &meta, role, Some(elf.clone())), elf))
    }

    /// Adds a file that the loader reads, if it is there, and reads it.
    fn data(&mut self, path: &Path) -> Option<Vec<u8>> {
        let looked = Looked::at(path).ok()?;
        let (file, meta) = (looked.open(path).ok()?, looked.meta);
        let mut bytes = vec![0; meta.len().min(MAX_DATA) as usize];
        let got = elf::read_some(&file, 0, &mut bytes).ok()?;
        bytes.truncate(got);
        self.add(path, file, &meta, Role::Data, None);
        Some(bytes)
    }
}

/// Whether a loader would take this object beside others of `arch`.
fn suits(elf: &Elf, arch: Arch, role: Role) -> Result<(), Option<String>> {
    let why = match () {
        () if elf.arch != arch => "is an ELF file of another architecture",
        () if !elf.linked || role == Role::Library && !elf.dynamic => "is an ELF file but not a library",
        () => return Ok(()),
    };
    Err(Some(why.into()))
}

/// The parsers alone, for the fuzz targets in fuzz/.
mod fuzz {
    #![allow(unexpected_cfgs, reason = "cargo-fuzz sets it")]

    #[cfg(fuzzing)]
    impl super::Program {
        /// All names in an ELF file.
        #[doc(hidden)]
        pub fn fuzz_elf(file: &std::fs::File) -> Result<Vec<Vec<u8>>, &'static str> {
            let elf = super::elf::parse(file)?;
            let others = [elf.interp, elf.soname, elf.rpath, elf.runpath];
            Ok(elf.needed.into_iter().chain(others.into_iter().flatten()).collect())
        }

        /// The interpreter of a script that begins so, and its argument.
        #[doc(hidden)]
        pub fn fuzz_script(head: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
            let (name, argument) = super::script::shebang(head).ok()?;
            Some((name.to_vec(), argument.map(<[u8]>::to_vec)))
        }

        /// The program that `env` starts.
        #[doc(hidden)]
        pub fn fuzz_env(argument: &[u8]) -> Option<Vec<u8>> {
            super::script::env(Some(argument)).ok().map(|env| env.name)
        }

        /// Where a cache of such content says that a library is.
        #[doc(hidden)]
        pub fn fuzz_cache(bytes: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
            let (is_64, little, machine) = (true, true, object::elf::EM_X86_64);
            let cache = super::ldso::Cache::new(bytes.to_vec());
            cache.map(|cache| cache.lookup(name, super::Arch { is_64, little, machine })).unwrap_or_default()
        }
    }
}
