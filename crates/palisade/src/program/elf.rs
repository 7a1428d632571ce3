//! One ELF object: what it asks of the kernel and of its loader. The file is hostile: every offset and size in it is
//! a claim, and is read with a bounded `pread` or not at all.

use std::fs;
use std::os::unix::fs::FileExt;

use object::elf::{self, FileHeader32, FileHeader64};
use object::pod;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endian, Endianness};

/// The kernel takes no larger table of program headers.
const MAX_HEADERS: usize = 64 << 10;
/// Thousands of entries; the largest real programs have a few hundred.
const MAX_DYNAMIC: u64 = 64 << 10;
/// The names of all libraries of one object, together.
const MAX_NAMES: usize = 256 << 10;
const MAX_SEARCH_PATH: usize = 32 << 10;

/// What a program, its loader and its libraries have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arch {
    pub(super) is_64: bool,
    pub(super) little: bool,
    pub(super) machine: elf::Machine,
}

/// What one object says of itself.
#[derive(Debug)]
pub(super) struct Elf {
    pub(super) arch: Arch,
    /// A program or a library, linked: no object file, no core dump (which holds a process's secrets).
    pub(super) linked: bool,
    /// It has a dynamic section: all libraries do.
    pub(super) dynamic: bool,
    /// PT_INTERP.
    pub(super) interp: Option<Vec<u8>>,
    /// DT_NEEDED, DT_FILTER and DT_AUXILIARY, in order.
    pub(super) needed: Vec<Vec<u8>>,
    pub(super) soname: Option<Vec<u8>>,
    pub(super) rpath: Option<Vec<u8>>,
    pub(super) runpath: Option<Vec<u8>>,
    /// DF_1_NODEFLIB: the default folders are not searched.
    pub(super) no_default: bool,
}

/// Why an object cannot be used: the rest of a sentence that began with its name.
pub(super) type Broken = &'static str;

const TRUNCATED: Broken = "is a broken ELF file: it ends before what its header promises";

/// Whether a file that begins so is an ELF file.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(&elf::ELFMAG)
}

/// Reads an object.
pub(super) fn parse(file: &fs::File) -> Result<Elf, Broken> {
    let mut head = vec![0; 1024];
    let got = read_some(file, 0, &mut head)?;
    head.truncate(got);
    if !is_elf(&head) {
        return Err("is not an ELF file");
    }
    match head.get(4).map(|class| elf::FileClass(*class)) {
        Some(elf::ELFCLASS64) => object::<FileHeader64<Endianness>>(file, &head),
        Some(elf::ELFCLASS32) => object::<FileHeader32<Endianness>>(file, &head),
        _ => Err("is a broken ELF file: neither of 32 nor of 64 bits"),
    }
}

fn object<H: FileHeader<Endian = Endianness>>(file: &fs::File, head: &[u8]) -> Result<Elf, Broken> {
    let (header, _) = pod::from_bytes::<H>(head).map_err(|()| TRUNCATED)?;
    if !header.is_supported() {
        return Err("is a broken ELF file: of an unknown version or byte order");
    }
    let e = header.endian().map_err(|_| TRUNCATED)?;
    let kind = header.e_type(e);
    let mut found = Elf {
        arch: Arch { is_64: header.is_type_64(), little: e.is_little_endian(), machine: header.e_machine(e) },
        linked: kind == elf::ET_EXEC || kind == elf::ET_DYN,
        dynamic: false,
        interp: None,
        needed: Vec::new(),
        soname: None,
        rpath: None,
        runpath: None,
        no_default: false,
    };
    if !found.linked {
        return Ok(found);
    }
    let count = usize::from(header.e_phnum(e));
    let size = count * size_of::<H::ProgramHeader>();
    if usize::from(header.e_phentsize(e)) != size_of::<H::ProgramHeader>()
        || !(1..=MAX_HEADERS).contains(&size)
    {
        return Err("is a broken ELF file: its table of program headers is of a size that cannot be");
    }
    let table = read(file, header.e_phoff(e).into(), size)?;
    let (headers, _) = pod::slice_from_bytes::<H::ProgramHeader>(&table, count).map_err(|()| TRUNCATED)?;

    // The kernel goes by the first PT_INTERP, the loader by the last PT_DYNAMIC.
    if let Some(interp) = headers.iter().find(|h| h.p_type(e) == elf::PT_INTERP) {
        let size = interp.p_filesz(e).into();
        if !(2..=libc::PATH_MAX as u64).contains(&size) {
            return Err("is a broken ELF file: the name of its loader is of a size that cannot be");
        }
        let mut name = read(file, interp.p_offset(e).into(), size as usize)?;
        if name.last() != Some(&0) {
            return Err("is a broken ELF file: the name of its loader has no end");
        }
        name.truncate(name.iter().position(|b| *b == 0).unwrap_or(0));
        found.interp = Some(name);
    }
    let loads: Vec<_> = headers.iter().filter(|h| h.p_type(e) == elf::PT_LOAD).collect();
    // Addresses in the dynamic section are those in memory; where segments overlap, the last is on top.
    let offset = |address: u64| {
        let load = loads.iter().rfind(|h| {
            let start = h.p_vaddr(e).into();
            address >= start && address - start < h.p_filesz(e).into()
        });
        load.and_then(|h| h.p_offset(e).into().checked_add(address - h.p_vaddr(e).into()))
            .ok_or("is a broken ELF file: it points at memory that it does not load")
    };
    let Some(dynamic) = headers.iter().rfind(|h| h.p_type(e) == elf::PT_DYNAMIC) else { return Ok(found) };
    found.dynamic = true;
    let size = dynamic.p_filesz(e).into().min(MAX_DYNAMIC) as usize;
    let count = size / size_of::<H::Dyn>();
    let table = read(file, offset(dynamic.p_vaddr(e).into())?, count * size_of::<H::Dyn>())?;
    let (entries, _) = pod::slice_from_bytes::<H::Dyn>(&table, count).map_err(|()| TRUNCATED)?;
    let end = entries.iter().position(|d| d.tag(e) == elf::DT_NULL).unwrap_or(count);
    let entries = &entries[..end];
    let last = |tag| entries.iter().rfind(|d| d.tag(e) == tag).map(|d| d.val(e));

    found.no_default = last(elf::DT_FLAGS_1).is_some_and(|flags| flags & elf::DF_1_NODEFLIB.0 != 0);
    let strings = match last(elf::DT_STRTAB) {
        Some(address) => offset(address)?,
        None => return Ok(found),
    };
    let text = |at: u64, limit| string(file, strings.checked_add(at).ok_or(TRUNCATED)?, limit);
    let mut room = MAX_NAMES;
    for entry in entries {
        if matches!(entry.tag(e), elf::DT_NEEDED | elf::DT_FILTER | elf::DT_AUXILIARY) {
            let name = text(entry.val(e), libc::PATH_MAX as usize)?;
            room =
                room.checked_sub(name.len() + 1).ok_or("is an ELF file that names far too many libraries")?;
            found.needed.push(name);
        }
    }
    found.soname = last(elf::DT_SONAME).map(|at| text(at, libc::PATH_MAX as usize)).transpose()?;
    found.rpath = last(elf::DT_RPATH).map(|at| text(at, MAX_SEARCH_PATH)).transpose()?;
    found.runpath = last(elf::DT_RUNPATH).map(|at| text(at, MAX_SEARCH_PATH)).transpose()?;
    Ok(found)
}

/// As many bytes as there are, up to the length of `buffer`.
pub(super) fn read_some(file: &fs::File, at: u64, buffer: &mut [u8]) -> Result<usize, Broken> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], at.checked_add(got as u64).ok_or(TRUNCATED)?) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // An offset past what a file can have.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Err(TRUNCATED),
            Err(_) => return Err("cannot be read"),
        }
    }
    Ok(got)
}

fn read(file: &fs::File, at: u64, size: usize) -> Result<Vec<u8>, Broken> {
    let mut buffer = vec![0; size];
    if read_some(file, at, &mut buffer)? < size { Err(TRUNCATED) } else { Ok(buffer) }
}

/// A string that ends with a zero byte.
fn string(file: &fs::File, mut at: u64, limit: usize) -> Result<Vec<u8>, Broken> {
    let mut text = Vec::new();
    let mut chunk = [0; 256];
    while text.len() < limit {
        let got = read_some(file, at, &mut chunk)?;
        if got == 0 {
            return Err(TRUNCATED);
        }
        if let Some(end) = chunk[..got].iter().position(|b| *b == 0) {
            text.extend_from_slice(&chunk[..end]);
            return Ok(text);
        }
        text.extend_from_slice(&chunk[..got]);
        at = at.checked_add(got as u64).ok_or(TRUNCATED)?;
    }
    Err("is a broken ELF file: a name in it is too long")
}
