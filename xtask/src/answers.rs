//! What a kernel answers to Landlock's system calls: one line for each of a few hundred, right and wrong, so that the
//! emulator can be compared with real kernels.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::emulate::{ERRATA, VERSION};
use crate::sys::{self, ADD_RULE, CREATE_RULESET, RESTRICT_SELF};

/// `struct landlock_ruleset_attr`, and zeros after it.
type Attr = [u64; 1024];

fn attr(fields: [u64; 7]) -> Attr {
    let mut attr = [0; 1024];
    attr[..7].copy_from_slice(&fields);
    attr
}

/// A ruleset, or why there is none. Descriptors are left open for no longer than a line.
fn ruleset(fields: [u64; 7], size: u64) -> nix::Result<OwnedFd> {
    let attr = attr(fields);
    let fd = sys::landlock(CREATE_RULESET, [attr.as_ptr() as u64, size, 0, 0])?;
    Ok(sys::owned(fd as i32))
}

fn word<T>(result: nix::Result<T>) -> String {
    result.map_or_else(|errno| format!("{errno:?}"), |_| "ok".to_owned())
}

/// Prints all of it; the files that rules need are made in a folder for temporary files.
pub fn print() -> Result<()> {
    let dir = tempfile::tempdir()?;
    println!("release: {}", nix::sys::utsname::uname()?.release().to_string_lossy());
    for line in queries().into_iter().chain(rulesets()).chain(rules(dir.path())?).chain(restrictions()) {
        println!("{line}");
    }
    Ok(())
}

fn queries() -> Vec<String> {
    let ask = |[at, size, flags]: [u64; 3]| sys::landlock(CREATE_RULESET, [at, size, flags, 0]);
    let number = |result: nix::Result<i64>| result.map_or_else(|e| format!("{e:?}"), |n| n.to_string());
    let some = attr([1, 0, 0, 0, 0, 0, 0]);
    let some = some.as_ptr() as u64;
    let mut lines = vec![
        format!("version: {}", number(ask([0, 0, VERSION]))),
        format!("errata: {}", number(ask([0, 0, ERRATA]))),
    ];
    for flags in [3, 4, 5, 1 << 31] {
        lines.push(format!("create_ruleset flags {flags:#x}: {}", word(ask([0, 0, flags]))));
    }
    for flags in [VERSION, ERRATA] {
        lines.push(format!("query {flags} with a size: {}", word(ask([0, 8, flags]))));
        lines.push(format!("query {flags} with a structure: {}", word(ask([some, 0, flags]))));
        lines.push(format!("query {flags} with both: {}", word(ask([some, 8, flags]))));
    }
    lines
}

fn rulesets() -> Vec<String> {
    let mut lines = Vec::new();
    for size in [0, 7, 8, 9, 15, 16, 23, 24, 25, 32, 40, 47, 48, 56, 4096, 4097] {
        lines.push(format!("size {size}: {}", word(ruleset([1, 0, 0, 0, 0, 0, 0], size))));
    }
    for (n, name) in ["fs", "net", "scoped"].into_iter().enumerate() {
        for bit in (0..20).chain([31, 32, 63]) {
            let mut fields = [0; 7];
            fields[n] = 1 << bit;
            lines.push(format!("{name} bit {bit}: {}", word(ruleset(fields, 48))));
            fields[n + 3] = 1 << bit;
            lines.push(format!("{name} bit {bit}, quiet: {}", word(ruleset(fields, 48))));
        }
    }
    for n in 1..7 {
        let mut fields = [1, 0, 0, 0, 0, 0, 0];
        fields[n] = 1;
        for size in [8, 8 * n as u64, 8 * n as u64 + 1, 8 * n as u64 + 8, 56] {
            lines.push(format!("field {n}, size {size}: {}", word(ruleset(fields, size))));
        }
        fields[n] = 1 << 40;
        lines.push(format!("field {n} with an unknown bit: {}", word(ruleset(fields, 8 * n as u64 + 8))));
    }
    lines.push(format!("unknown bit and unknown field: {}", word(ruleset([1 << 40, 0, 0, 0, 0, 0, 1], 56))));
    lines.push(format!("quiet, not handled: {}", word(ruleset([1, 0, 0, 2, 0, 0, 0], 48))));
    lines.push(format!("nothing: {}", word(ruleset([0; 7], 48))));
    for (name, at) in [("null", 0), ("unmapped", 8)] {
        let asked = sys::landlock(CREATE_RULESET, [at, 48, 0, 0]);
        lines.push(format!("structure at {name}: {}", word(asked)));
    }
    lines
}

/// A ruleset of all that this kernel has of the two kinds that take rules, and of quiet rights.
fn widest() -> nix::Result<OwnedFd> {
    let fs = (13..=17).rev().map(|bits| (1 << bits) - 1);
    let nets = fs.flat_map(|fs| [0b1111, 0b11, 0].map(|net| (fs, net)));
    let all = nets.flat_map(|(fs, net)| [(fs, net, fs, net), (fs, net, 0, 0)]);
    let found = all
        .into_iter()
        .find_map(|(fs, net, quiet_fs, quiet_net)| ruleset([fs, net, 0, quiet_fs, quiet_net, 0, 0], 48).ok());
    found.ok_or(Errno::ENOSYS)
}

fn rules(dir: &Path) -> Result<Vec<String>> {
    let file = dir.join("file");
    fs::write(&file, "")?;
    let path = |path: &Path| open(path, OFlag::O_PATH, Mode::empty()).context("cannot open a path");
    let (dir, file) = (path(dir)?, path(&file)?);
    let pipe = nix::unistd::pipe()?.0;
    let null = File::open("/dev/null")?;
    let Ok(ruleset) = widest() else {
        let answer = word(sys::landlock(ADD_RULE, [u64::MAX, 1, 0, 0]));
        return Ok(vec![format!("add_rule: {answer}")]);
    };
    let ruleset = ruleset.as_raw_fd() as u64;

    let mut lines = Vec::new();
    let mut add = |name: &str, [ruleset, kind, access, about, flags]: [u64; 5]| {
        // Of a path: rights, and a descriptor in the next four bytes. Of a port: rights and the port.
        let attr = [access, about];
        let answer = sys::landlock(ADD_RULE, [ruleset, kind, attr.as_ptr() as u64, flags]);
        lines.push(format!("{name}: {}", word(answer)));
    };
    let fd = |fd: &dyn AsRawFd| fd.as_raw_fd() as u32 as u64;
    for flags in [1, 2, 3, 1 << 31] {
        add(&format!("path, flags {flags:#x}"), [ruleset, 1, 1, fd(&dir), flags]);
        add(&format!("port, flags {flags:#x}"), [ruleset, 2, 1, 80, flags]);
        add(&format!("path, no rights, flags {flags:#x}"), [ruleset, 1, 0, fd(&dir), flags]);
        add(&format!("no ruleset, flags {flags:#x}"), [0xffff_ffff, 1, 1, fd(&dir), flags]);
    }
    for kind in 0..4 {
        add(&format!("type {kind}"), [ruleset, kind, 1, if kind == 2 { 80 } else { fd(&dir) }, 0]);
        add(&format!("type {kind}, no rights"), [ruleset, kind, 0, if kind == 2 { 80 } else { fd(&dir) }, 0]);
        add(&format!("type {kind}, no ruleset"), [0xffff_ffff, kind, 1, fd(&dir), 0]);
        add(&format!("type {kind}, no such ruleset"), [1000, kind, 1, fd(&dir), 0]);
        add(&format!("type {kind}, another file for a ruleset"), [fd(&null), kind, 1, fd(&dir), 0]);
    }
    for bit in 0..18 {
        add(&format!("folder, bit {bit}"), [ruleset, 1, 1 << bit, fd(&dir), 0]);
        add(&format!("file, bit {bit}"), [ruleset, 1, 1 << bit, fd(&file), 0]);
        add(&format!("port, bit {bit}"), [ruleset, 2, 1 << bit, 80, 0]);
    }
    add("pipe", [ruleset, 1, 4, fd(&pipe), 0]);
    add("no path", [ruleset, 1, 4, 0xffff_ffff, 0]);
    for port in [0, 65535, 65536, u64::MAX] {
        add(&format!("port {port}"), [ruleset, 2, 1, port, 0]);
    }
    for kind in [1, 2] {
        let answer = sys::landlock(ADD_RULE, [ruleset, kind, 8, 0]);
        lines.push(format!("rule of type {kind} at no memory: {}", word(answer)));
    }
    Ok(lines)
}

/// Each in a process of its own that has no_new_privs, without which it is root's alone.
fn restrictions() -> Vec<String> {
    let ruleset = ruleset([1 << 3, 0, 0, 0, 0, 0, 0], 8);
    let fds = [
        ("ruleset", ruleset.as_ref().map_or(1000, |fd| fd.as_raw_fd() as u64)),
        ("-1", 0xffff_ffff),
        ("0", 0),
    ];
    let mut lines = Vec::new();
    for (name, fd) in fds {
        for flags in (0..64).chain([1 << 31]) {
            let answer = sys::in_fork(|| {
                let _ = nix::sys::prctl::set_no_new_privs();
                let answer = sys::landlock(RESTRICT_SELF, [fd, flags, 0, 0]);
                answer.map_or_else(|errno| errno as u8, |_| 0)
            });
            let answer = answer
                .map_or_else(Err, |code| if code == 0 { Ok(()) } else { Err(Errno::from_raw(code.into())) });
            lines.push(format!("restrict_self {name}, flags {flags:#x}: {}", word(answer)));
        }
    }
    lines
}
