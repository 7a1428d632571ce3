//! Runs a command as if this kernel's Landlock were older, newer, missing, turned off or refused by a filter.
//!
//! A supervisor answers Landlock's three system calls as the other kernel would, where that differs, and lets all else
//! through to this kernel. So what is enforced, and how many layers there can be, stays this kernel's. It knows nothing
//! of the library: its tables are its own, and `xtask kernels` compares its answers with those of real kernels.
//!
//! A process that outlives the command has no supervisor, and gets ENOSYS. One emulator cannot run in another. A call
//! that is interrupted by a signal whose handler does not restart calls fails with EINTR, as no real one does. The library
//! sees a filter where there is no Landlock, and says so; only a real kernel shows what it says without.

use std::ffi::OsString;
use std::fmt;
use std::io::IoSliceMut;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};

use crate::sys::{self, ADD_RULE, Answer, CREATE_RULESET, Filter, RESTRICT_SELF};

pub const VERSION: u64 = 1 << 0;
pub const ERRATA: u64 = 1 << 1;
const QUIET: u64 = 1 << 0;
const NET_PORT: u64 = 2;

/// The newest ABI that is known here.
pub const NEWEST: u32 = 11;
/// The Linux release that brought each ABI.
pub const LINUX: [&str; NEWEST as usize] =
    ["5.13", "5.19", "6.2", "6.7", "6.10", "6.12", "6.15", "7.0", "7.1", "7.2", "7.3"];
/// For each erratum the ABI that has it.
const ERRATA_OF: [u32; 4] = [4, 6, 1, 1];

/// What to pass for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// A kernel without Landlock.
    None,
    /// One that has it, but turned off at boot.
    Off,
    /// Whatever kernel, behind a seccomp filter that refuses the calls.
    Filtered,
    /// A kernel with this ABI.
    Abi(u32),
}

impl fmt::Display for As {
    /// As it is given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            As::None => f.write_str("none"),
            As::Off => f.write_str("off"),
            As::Filtered => f.write_str("filtered"),
            As::Abi(abi) => abi.fmt(f),
        }
    }
}

impl As {
    /// For a table.
    pub fn name(self) -> String {
        match self {
            As::None => "no Landlock".to_owned(),
            As::Off => "off at boot".to_owned(),
            As::Filtered => "filtered".to_owned(),
            As::Abi(abi) => format!("ABI {abi}"),
        }
    }

    /// What comes of asking such a kernel for its version.
    pub fn version(self) -> String {
        match self {
            As::None => "ENOSYS".to_owned(),
            As::Off => "EOPNOTSUPP".to_owned(),
            As::Filtered => "EPERM".to_owned(),
            As::Abi(abi) => abi.to_string(),
        }
    }
}

impl FromStr for As {
    type Err = String;

    fn from_str(text: &str) -> Result<As, String> {
        match text {
            "none" => Ok(As::None),
            "off" => Ok(As::Off),
            "filtered" => Ok(As::Filtered),
            number => match number.parse() {
                Ok(abi) if abi > 0 => Ok(As::Abi(abi)),
                _ => Err("it is none, off, filtered, or the number of an ABI".to_owned()),
            },
        }
    }
}

/// What a kernel answers that is asked for its errata: those that are fixed, or None if it does not know the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errata(pub Option<u32>);

impl FromStr for Errata {
    type Err = String;

    fn from_str(text: &str) -> Result<Errata, String> {
        let bits = match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None if text == "none" => return Ok(Errata(None)),
            None => text.parse(),
        };
        bits.map(|bits| Errata(Some(bits)))
            .map_err(|_| "it is a number as 0x3, bit N-1 for erratum N, or none".into())
    }
}

/// This kernel's ABI; 0 if it has none.
pub fn here() -> u32 {
    sys::landlock(CREATE_RULESET, [0, 0, VERSION, 0]).unwrap_or(0) as u32
}

/// Runs a command and ends as it did.
pub fn run(kernel: As, errata: Option<Errata>, command: &[OsString]) -> Result<ExitCode> {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]);
    if kernel == As::Filtered {
        sys::filter(Filter::Refuse).context("cannot install a seccomp filter")?;
        eprintln!("xtask: cannot run {:?}: {}", command[0], child.exec());
        return Ok(ExitCode::from(127));
    }
    let errata = match kernel {
        As::Abi(abi) => {
            let here = here();
            ensure!(
                abi <= here || here >= NEWEST,
                "this kernel's Landlock (ABI {here}; 0 is none) can pass for an older one, and from ABI {NEWEST} on for \
                 a newer one; not for ABI {abi}"
            );
            let fixed = sys::landlock(CREATE_RULESET, [0, 0, ERRATA, 0]).ok();
            let of_abi = ERRATA_OF.iter().enumerate().filter(|(_, of)| **of <= abi);
            let mask: u32 = of_abi.map(|(bit, _)| 1 << bit).sum();
            errata.unwrap_or(Errata(fixed.map(|bits| bits as u32 & mask)))
        }
        _ => Errata(None),
    };

    // A filter is the thread's that installs it and of what that starts; the descriptor is the whole process's.
    let (sender, listener) = mpsc::channel();
    thread::spawn(move || {
        let installed = sys::filter(Filter::Notify);
        let failed = installed.is_err();
        let _ = sender.send(installed);
        if failed {
            return;
        }
        let status = child.status().unwrap_or_else(|error| {
            eprintln!("xtask: cannot run {:?}: {error}", child.get_program());
            std::process::exit(127)
        });
        std::process::exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
    });
    let listener = match listener.recv()? {
        Err(Errno::EBUSY) => bail!("one emulator cannot run in another"),
        listener => listener.context("cannot install a seccomp filter")?.context("no listener")?,
    };
    loop {
        // Either fails if the caller has died meanwhile.
        let Ok(notice) = sys::receive(&listener) else { continue };
        let asked = Asked { caller: notice.thread, call: notice.call, args: notice.args };
        let _ = sys::send(&listener, &notice, answer(kernel, errata, &asked));
    }
}

/// A system call, and who makes it.
struct Asked {
    caller: nix::unistd::Pid,
    call: i64,
    args: [u64; 6],
}

impl Asked {
    /// An argument that is an int.
    fn int(&self, n: usize) -> u64 {
        self.args[n] & 0xffff_ffff
    }

    /// The caller's memory; None where there is none, and EPERM where it may not be read, as another user's.
    fn memory(&self, at: u64, len: u64) -> Result<Option<Vec<u8>>, Errno> {
        let (base, len) = (at as usize, len as usize);
        let mut bytes = vec![0; len];
        let local = &mut [IoSliceMut::new(&mut bytes)];
        match process_vm_readv(self.caller, local, &[RemoteIoVec { base, len }]) {
            Ok(read) => Ok((read == len).then_some(bytes)),
            Err(Errno::EFAULT) => Ok(None),
            Err(errno) => {
                eprintln!(
                    "xtask: cannot look into process {}: {errno}; its call fails with EPERM",
                    self.caller
                );
                Err(Errno::EPERM)
            }
        }
    }

    fn is_ruleset(&self, fd: u64) -> bool {
        std::fs::read_link(format!("/proc/{}/fd/{fd}", self.caller))
            .is_ok_and(|to| to.as_os_str() == "anon_inode:[landlock-ruleset]")
    }
}

fn answer(kernel: As, errata: Errata, asked: &Asked) -> Answer {
    let abi = match kernel {
        As::None => return Answer::Error(Errno::ENOSYS),
        As::Off => return Answer::Error(Errno::EOPNOTSUPP),
        As::Filtered => return Answer::Error(Errno::EPERM),
        As::Abi(abi) => abi,
    };
    match asked.call {
        CREATE_RULESET => create_ruleset(abi, errata, asked),
        ADD_RULE => add_rule(abi, asked),
        RESTRICT_SELF => restrict_self(abi, asked),
        _ => Answer::Kernel,
    }
}

fn create_ruleset(abi: u32, errata: Errata, asked: &Asked) -> Answer {
    let [attr, size, ..] = asked.args;
    let flags = asked.int(2);
    if flags != 0 {
        return match (flags, attr | size, errata.0) {
            (VERSION, 0, _) => Answer::Value(abi.into()),
            (ERRATA, 0, Some(fixed)) => Answer::Value(fixed.into()),
            _ => Answer::Error(Errno::EINVAL),
        };
    }
    if !(8..=4096).contains(&size) {
        return Answer::Kernel;
    }
    let attr = match asked.memory(attr, size) {
        Ok(Some(attr)) => attr,
        Ok(None) => return Answer::Kernel,
        Err(errno) => return Answer::Error(errno),
    };
    let known: usize = match abi {
        ..4 => 8,
        4..6 => 16,
        6..10 => 24,
        10.. => 48,
    };
    if attr.iter().skip(known).any(|byte| *byte != 0) {
        return Answer::Error(Errno::E2BIG);
    }
    let field =
        |n: usize| attr.get(8 * n..8 * n + 8).map_or(0, |f| u64::from_ne_bytes(f.try_into().unwrap()));
    let fs = match abi {
        1 => 13,
        2 => 14,
        3..5 => 15,
        5..9 => 16,
        _ => 17,
    };
    let net = if abi < 10 { 2 } else { 4 };
    // What is beyond the structure's known part is zero.
    if field(0) >> fs != 0 || field(1) >> net != 0 {
        return Answer::Error(Errno::EINVAL);
    }
    Answer::Kernel
}

fn add_rule(abi: u32, asked: &Asked) -> Answer {
    let quiet = if abi < 10 { 0 } else { QUIET };
    if asked.int(3) & !quiet != 0 {
        return Answer::Error(Errno::EINVAL);
    }
    // The ruleset is looked at before the type of rule is.
    if abi < 4 && asked.int(1) == NET_PORT && asked.is_ruleset(asked.int(0)) {
        return Answer::Error(Errno::EINVAL);
    }
    Answer::Kernel
}

fn restrict_self(abi: u32, asked: &Asked) -> Answer {
    let known = match abi {
        ..7 => 0,
        7 => 0b111,
        8..11 => 0b1111,
        _ => 0b11111,
    };
    if asked.int(1) & !known != 0 {
        return Answer::Error(Errno::EINVAL);
    }
    Answer::Kernel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_and_errata_are_read_as_they_are_written() {
        for kernel in [As::None, As::Off, As::Filtered, As::Abi(1), As::Abi(99)] {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        for wrong in ["0", "-1", "", "None", "1.0"] {
            assert!(wrong.parse::<As>().is_err(), "{wrong}");
        }
        assert_eq!("none".parse(), Ok(Errata(None)));
        assert_eq!("0xf".parse(), Ok(Errata(Some(15))));
        assert_eq!("3".parse(), Ok(Errata(Some(3))));
        assert!("f".parse::<Errata>().is_err());
    }
}
