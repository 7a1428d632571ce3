//! Executing programs. They are copies of this one, which does little if its argument says so (`helper`).

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::unistd::{execv, fexecve};
use palisade::{Policy, Rights, path};

use crate::harness::*;
use crate::sys;

cases![
    execve_needs_execute_and_read_on_the_program,
    execve_needs_execute_and_read_on_the_elf_interpreter,
    execve_needs_read_on_the_libraries,
    execve_needs_execute_on_the_script_interpreter,
    hole_execute_does_not_cover_mapping,
    hole_execute_does_not_cover_the_loader,
    hole_execute_does_not_cover_a_memfd,
    confinement_is_inherited_by_exec,
    confinement_is_inherited_by_fork,
];

/// What a copy of this program does if its first argument is one of these: `+exit=N` ends with that status,
/// `+read=PATH` with the error number of reading that file, `+stdin` with that of reading its standard input,
/// `+descriptors` with the number of those that are open, `+user` with 0 if it is user 65534 in group 65533, `+say`
/// prints SAID and the current folder, `+audit` keeps auditing on, and `+try=WORDS` does much of which some is refused.
pub fn helper() -> Option<ExitCode> {
    let argument = std::env::args().nth(1)?;
    if let Some(code) = argument.strip_prefix("+exit=") {
        return Some(ExitCode::from(code.parse::<u8>().unwrap()));
    }
    if argument == "+descriptors" {
        return Some(ExitCode::from(fs::read_dir("/proc/self/fd").unwrap().count() as u8));
    }
    match &*argument {
        "+audit" => return Some(super::audit::keeper()),
        "+user" => {
            let is = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            return Some(ExitCode::from(u8::from(is != (65534, 65533))));
        }
        "+stdin" => {
            let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            return Some(ExitCode::from(outcome(read).err().map_or(0, |errno| errno as u8)));
        }
        "+say" => {
            let (said, dir) = (std::env::var("SAID").unwrap(), std::env::current_dir().unwrap());
            print!("{said} {}", dir.display());
            return Some(ExitCode::SUCCESS);
        }
        _ => {}
    }
    if let Some(words) = argument.strip_prefix("+try=") {
        return Some(super::audit::trier(words));
    }
    let path = argument.strip_prefix("+read=")?;
    let errno = outcome(fs::read(path)).err().map_or(0, |errno| errno as i32);
    Some(ExitCode::from(errno as u8))
}

/// A copy of this program, and the files that it needs in order to start.
pub struct Program {
    pub path: PathBuf,
    /// None if it is linked statically.
    pub loader: Option<PathBuf>,
    pub libraries: Vec<PathBuf>,
}

pub fn program() -> Program {
    let path = fresh().join("program");
    put_program(&path, &fs::read("/proc/self/exe").unwrap());
    let own = fs::read_link("/proc/self/exe").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    let mut libraries: Vec<_> = mapped.filter(|file| *file != own).collect();
    libraries.sort();
    libraries.dedup();
    let is_loader = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with("ld-");
    let loader = libraries.iter().position(is_loader).map(|at| libraries.remove(at));
    Program { path, loader, libraries }
}

impl Program {
    /// Allows to start it.
    pub fn grant(&self, policy: Policy) -> Policy {
        self.grant_loader(policy.rx(&self.path), Rights::RX).ro(&self.libraries)
    }

    fn grant_loader(&self, policy: Policy, rights: Rights) -> Policy {
        match &self.loader {
            Some(loader) => policy.rule(path(loader).rights(rights)),
            None => policy,
        }
    }

    /// Becomes the program.
    pub fn execute(&self, argument: &str) -> nix::Result<()> {
        execute(&[&self.path, Path::new(argument)])
    }
}

pub fn execute(arguments: &[&Path]) -> nix::Result<()> {
    let c = |path: &&Path| CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    let arguments: Vec<_> = arguments.iter().map(c).collect();
    execv(&arguments[0], &arguments).map(drop)
}

const NONE: Rights = Rights::empty();
const READ: Rights = Rights::READ_FILE;
const EXECUTE: Rights = Rights::EXECUTE;

/// A rule, unless it would be one without rights.
fn rule(policy: Policy, target: &Path, rights: Rights) -> Policy {
    if rights.is_empty() { policy } else { policy.rule(path(target).rights(rights)) }
}

fn execve_needs_execute_and_read_on_the_program() {
    let program = program();
    for (rights, expect) in [(NONE, A), (READ, A), (EXECUTE, A), (READ | EXECUTE, WORKS)] {
        let policy = program.grant_loader(Policy::new().ro(&program.libraries), Rights::RX);
        let policy = rule(policy, &program.path, rights);
        expected(expect, confined(policy, || program.execute("+exit=0")));
    }
    works(forked(|| program.execute("+exit=0")));
    assert_eq!(forked(|| program.execute("+exit=7")), Err(Errno::from_raw(7)));
}

fn execve_needs_execute_and_read_on_the_elf_interpreter() {
    let program = program();
    // A program that is linked statically has none.
    let Some(loader) = &program.loader else { return };
    for (rights, expect) in [(NONE, A), (READ, A), (EXECUTE, A), (READ | EXECUTE, WORKS)] {
        let policy = rule(Policy::new().ro(&program.libraries).rx(&program.path), loader, rights);
        expected(expect, confined(policy, || program.execute("+exit=0")));
    }
}

fn execve_needs_read_on_the_libraries() {
    let program = program();
    let bare = || program.grant_loader(Policy::new().rx(&program.path), Rights::RX);
    works(confined(program.grant(Policy::new()), || program.execute("+exit=0")));
    if !program.libraries.is_empty() && abi() > 0 {
        // The loader's own words, and its status.
        assert_eq!(confined(bare(), || program.execute("+exit=0")), Err(Errno::from_raw(127)));
    }
}

fn execve_needs_execute_on_the_script_interpreter() {
    let program = program();
    let script = fresh().join("script");
    put_program(&script, format!("#!{} +exit=0\n", program.path.display()).as_bytes());
    let run = |of_script, of_interpreter| {
        let policy = program.grant_loader(Policy::new().ro(&program.libraries), Rights::RX);
        let policy = rule(rule(policy, &script, of_script), &program.path, of_interpreter);
        confined(policy, || execute(&[&script]))
    };
    works(run(READ | EXECUTE, READ | EXECUTE));
    for (of_script, of_interpreter) in [
        (READ | EXECUTE, NONE),
        (READ | EXECUTE, READ),
        (READ | EXECUTE, EXECUTE),
        (EXECUTE, READ | EXECUTE),
        (READ, READ | EXECUTE),
    ] {
        refused(Errno::EACCES, run(of_script, of_interpreter));
    }
}

/// The program may be read, not executed.
fn readable(program: &Program) -> Policy {
    program.grant_loader(Policy::new().ro(&program.libraries).ro(&program.path), Rights::RX)
}

fn hole_execute_does_not_cover_mapping() {
    let program = program();
    works(confined(readable(&program), || sys::map_executable(open_to_read(&program.path)?)));
}

fn open_to_read(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_RDONLY, Mode::empty())
}

fn hole_execute_does_not_cover_the_loader() {
    let program = program();
    refused(Errno::EACCES, confined(readable(&program), || program.execute("+exit=0")));
    let Some(loader) = &program.loader else { return };
    works(confined(readable(&program), || execute(&[loader, &program.path, Path::new("+exit=0")])));
}

fn hole_execute_does_not_cover_a_memfd() {
    let program = program();
    works(confined(readable(&program), || {
        let mut memfd = File::from(memfd_create("program", MFdFlags::MFD_CLOEXEC)?);
        let bytes = fs::read(&program.path).map_err(|e| e.errno())?;
        memfd.write_all(&bytes).map_err(|e| e.errno())?;
        fexecve(&memfd, &[c"program", c"+exit=0"], &[] as &[CString; 0])
    }));
}

fn confinement_is_inherited_by_exec() {
    let program = program();
    let dir = fresh();
    put(dir.join("granted"), "");
    put(dir.join("other"), "");
    let policy = || program.grant(Policy::new().ro(dir.join("granted")));
    let read = |file: &str| format!("+read={}", dir.join(file).display());
    works(confined(policy(), || program.execute(&read("granted"))));
    refused(Errno::EACCES, confined(policy(), || program.execute(&read("other"))));
    works(forked(|| program.execute(&read("other"))));
}

fn confinement_is_inherited_by_fork() {
    let dir = fresh();
    in_fork(|| {
        confine(&Policy::new());
        refused(Errno::EACCES, forked(|| fs::read_dir(&dir)));
        refused(Errno::EACCES, forked(|| forked(|| fs::read_dir(&dir))));
        let thread = std::thread::spawn(move || refused(Errno::EACCES, fs::read_dir(dir)));
        thread.join().unwrap();
    });
}
