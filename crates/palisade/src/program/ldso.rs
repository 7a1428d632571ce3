//! Where a loader finds libraries: the search orders of glibc and of musl, and glibc's cache.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use object::elf;

use super::elf::{Arch, Elf};
use super::{Files, Search};
use crate::text::printable;

/// Names one closure may ask for, all objects together.
const MAX_NAMES: usize = 4096;

/// Folders in one search path.
const MAX_FOLDERS: usize = 256;

type Folders = Rc<[Vec<u8>]>;

/// A loaded object.
struct Link {
    elf: Rc<Elf>,
    path: PathBuf,
    /// $ORIGIN.
    origin: Vec<u8>,
    rpath: Folders,
    runpath: Folders,
    /// The object that asked for it.
    by: Option<usize>,
}

struct Linker<'a> {
    files: &'a mut Files,
    arch: Arch,
    musl: bool,
    /// What $LIB stands for.
    lib: Vec<u8>,
    library_path: Folders,
    cache: Option<Cache>,
    defaults: Folders,
    links: Vec<Link>,
    /// Files that are links, by their index in `files`.
    linked: HashSet<usize>,
    /// Names that need no further search: asked for before, or the SONAME of a loaded object.
    known: HashSet<Vec<u8>>,
    /// Whether a folder has glibc-hwcaps in it.
    hwcaps: HashMap<Vec<u8>, bool>,
}

/// Adds the libraries of `program`, which `loader` is going to load, to `files`.
pub(super) fn libraries(
    files: &mut Files,
    program: (&Path, Rc<Elf>),
    loader: (&Path, usize, &Elf),
    search: &Search,
) {
    let (path, elf) = program;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (loader_path, loader_index, loader_elf) = loader;
    let real_loader = real(loader_path);
    let musl = [loader_path, &real_loader].iter().any(|p| is_musl(p));
    let folder = real_loader.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes().to_vec();
    // A loader is installed where its libraries are: what follows the prefix is what it has built in as $LIB.
    let lib = folder.split(|b| *b == b'/').position(|part| part.starts_with(b"lib"));
    let lib = match lib {
        Some(at) => folder.split(|b| *b == b'/').skip(at).collect::<Vec<_>>().join(&b'/'),
        None => b"lib".to_vec(),
    };

    let mut linker = Linker {
        arch: elf.arch,
        musl,
        lib,
        library_path: Folders::default(),
        cache: None,
        defaults: Folders::default(),
        links: Vec::new(),
        linked: HashSet::from([loader_index]),
        known: HashSet::from([loader_path.as_os_str().as_bytes().to_vec()]),
        hwcaps: HashMap::new(),
        files,
    };
    linker.known.extend(loader_elf.soname.clone());
    linker.link(path, real(path), elf, None);
    if let Some(list) = search.ld_library_path.filter(|list| !list.is_empty()) {
        let separators: &[u8] = if musl { b":\n" } else { b":;" };
        linker.library_path = linker.folders(list.as_bytes(), separators, &linker.links[0].origin);
    }
    if musl {
        linker.defaults = linker.musl_folders(loader_path);
    } else {
        linker.defaults = default_folders(&linker.lib, folder, linker.arch);
        let cache = linker.files.data(Path::new("/etc/ld.so.cache"));
        linker.cache = cache.and_then(Cache::new);
        if let Some(list) = linker.files.data(Path::new("/etc/ld.so.preload")) {
            for line in list.split(|b| *b == b'\n') {
                let line = line.split(|b| *b == b'#').next().unwrap_or_default();
                for name in line.split(|b| b" \t:".contains(b)).filter(|name| !name.is_empty()) {
                    linker.need(0, name);
                }
            }
        }
    }
    // Breadth first, as loaders do: the list grows while it is walked.
    let mut next = 0;
    while let Some(link) = linker.links.get(next) {
        let elf = link.elf.clone();
        for name in &elf.needed {
            linker.need(next, name);
        }
        next += 1;
    }
}

fn is_musl(loader: &Path) -> bool {
    loader.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-musl-"))
}

/// The folders built into glibc's loader, of every distribution; a library of another architecture is passed over.
fn default_folders(lib: &[u8], loader: Vec<u8>, arch: Arch) -> Folders {
    let triplet = match (arch.machine, arch.is_64) {
        (elf::EM_X86_64, true) => "x86_64-linux-gnu",
        (elf::EM_X86_64, false) => "x86_64-linux-gnux32",
        (elf::EM_386, _) => "i386-linux-gnu",
        (elf::EM_AARCH64, _) => "aarch64-linux-gnu",
        (elf::EM_ARM, _) => "arm-linux-gnueabihf",
        (elf::EM_RISCV, true) => "riscv64-linux-gnu",
        (elf::EM_S390, true) => "s390x-linux-gnu",
        (elf::EM_PPC64, _) => "powerpc64le-linux-gnu",
        _ => "",
    };
    let mut folders = vec![[b"/", lib].concat(), [b"/usr/", lib].concat(), loader];
    for parent in ["/lib", "/usr/lib"] {
        if !triplet.is_empty() {
            folders.push(format!("{parent}/{triplet}").into());
        }
        if arch.is_64 {
            folders.push(format!("{parent}64").into());
        }
        folders.push(parent.into());
    }
    distinct(folders.into_iter()).into()
}

fn distinct(list: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen = HashSet::new();
    list.filter(|item| seen.insert(item.clone())).collect()
}

impl Linker<'_> {
    /// `path` as it was opened; `named` is where $ORIGIN comes from: resolved for the program, as given for libraries.
    fn link(&mut self, path: &Path, named: PathBuf, elf: Rc<Elf>, by: Option<usize>) {
        let named = std::path::absolute(&named).unwrap_or(named);
        let origin = named.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes().to_vec();
        let list = |list: &Option<Vec<u8>>| match list {
            Some(list) if !list.is_empty() => self.folders(list, b":", &origin),
            _ => Folders::default(),
        };
        // Where there is a RUNPATH, RPATH is ignored.
        let rpath = if elf.runpath.is_none() { list(&elf.rpath) } else { Folders::default() };
        let runpath = list(&elf.runpath);
        self.known.extend(elf.soname.clone());
        self.links.push(Link { elf, path: path.to_owned(), origin, rpath, runpath, by });
    }

    /// A list of folders, its variables replaced; an empty one is the current folder.
    fn folders(&self, list: &[u8], separators: &[u8], origin: &[u8]) -> Folders {
        let parts = list.split(|b| separators.contains(b)).take(MAX_FOLDERS);
        let parts = parts.flat_map(|part| self.expand(part, origin));
        distinct(parts.map(|part| if part.is_empty() { b".".to_vec() } else { part })).into()
    }

    /// Replaces $ORIGIN, $LIB and $PLATFORM, of which there may be several; all else stays as it is.
    fn expand(&self, text: &[u8], origin: &[u8]) -> Vec<Vec<u8>> {
        let platforms: &[&[u8]] = match self.arch.machine {
            _ if !text.contains(&b'$') => return vec![text.to_vec()],
            elf::EM_X86_64 => &[b"haswell", b"xeon_phi", b"x86_64"],
            elf::EM_386 => &[b"i686", b"i586"],
            elf::EM_AARCH64 => &[b"aarch64"],
            _ => &[b"$PLATFORM"],
        };
        let with = |platform: &[u8]| {
            let mut out = Vec::new();
            let mut rest = text;
            while let Some((first, tail)) = rest.split_first() {
                let token = if *first == b'$' { token(tail) } else { None };
                let (value, length): (&[u8], usize) = match token {
                    Some(("ORIGIN", length)) => (origin, length),
                    Some(("LIB", length)) => (&self.lib, length),
                    Some((_, length)) => (platform, length),
                    None => (&rest[..1], 0),
                };
                out.extend_from_slice(value);
                if out.len() > libc::PATH_MAX as usize {
                    break; // no such path can exist
                }
                rest = &tail[length..];
            }
            out
        };
        distinct(platforms.iter().map(|platform| with(platform)))
    }

    /// Finds the library that the object `by` asks for, and adds it.
    fn need(&mut self, by: usize, name: &[u8]) {
        if self.musl && is_musl_libc(name) {
            return;
        }
        let names = self.expand(name, &self.links[by].origin);
        if names.iter().any(|name| self.known.contains(name)) || name.is_empty() {
            return;
        }
        if self.known.len() > MAX_NAMES || !self.files.may_probe() {
            return self.files.too_many();
        }
        let mut why = None;
        let found = names.iter().any(|name| self.find(by, name, &mut why));
        self.known.extend(names);
        if !found {
            let path = PathBuf::from(OsStr::from_bytes(name));
            let asker = printable(&self.links[by].path).to_string();
            let why = match why {
                Some(why) => {
                    format!("is a library that {asker} asks for; it is not granted, because it {why}")
                }
                None => format!(
                    "is a library that {asker} asks for, and is in none of the folders searched for it"
                ),
            };
            self.files.note(path, why);
        }
    }

    fn find(&mut self, by: usize, name: &[u8], why: &mut Option<String>) -> bool {
        if name.contains(&b'/') {
            return self.try_path(by, name, why);
        }
        let (library_path, defaults) = (self.library_path.clone(), self.defaults.clone());
        let chain: Vec<usize> = std::iter::successors(Some(by), |at| self.links[*at].by).collect();
        if self.musl {
            // musl makes no difference between RPATH and RUNPATH: both are inherited.
            return self.try_folders(by, &library_path, name, why)
                || chain.iter().any(|at| {
                    let link = &self.links[*at];
                    let own = if link.elf.runpath.is_some() { &link.runpath } else { &link.rpath }.clone();
                    self.try_folders(by, &own, name, why)
                })
                || self.try_folders(by, &defaults, name, why);
        }
        let inherits = self.links[by].elf.runpath.is_none();
        let by_rpath = inherits
            && chain.iter().any(|at| {
                let rpath = self.links[*at].rpath.clone();
                self.try_folders(by, &rpath, name, why)
            });
        let runpath = self.links[by].runpath.clone();
        if by_rpath
            || self.try_folders(by, &library_path, name, why)
            || self.try_folders(by, &runpath, name, why)
        {
            return true;
        }
        let no_default = self.links[by].elf.no_default;
        let cached = self.cache.as_ref().map(|cache| cache.lookup(name, self.arch)).unwrap_or_default();
        let is_default = |path: &[u8]| {
            defaults
                .iter()
                .any(|folder| path.strip_prefix(folder.as_slice()).is_some_and(|p| p.starts_with(b"/")))
        };
        cached.iter().any(|path| !(no_default && is_default(path)) && self.try_path(by, path, why))
            || !no_default && self.try_folders(by, &defaults, name, why)
    }

    fn try_folders(&mut self, by: usize, folders: &[Vec<u8>], name: &[u8], why: &mut Option<String>) -> bool {
        folders.iter().any(|folder| {
            if self.has_hwcaps(folder) {
                let levels = levels(self.arch);
                let found = levels.iter().any(|level| {
                    let path = [folder, b"/glibc-hwcaps/".as_slice(), level.as_bytes(), b"/", name].concat();
                    self.try_path(by, &path, why)
                });
                if found {
                    return true;
                }
            }
            self.try_path(by, &[folder, b"/".as_slice(), name].concat(), why)
        })
    }

    fn has_hwcaps(&mut self, folder: &[u8]) -> bool {
        if self.musl || levels(self.arch).is_empty() {
            return false;
        }
        if let Some(known) = self.hwcaps.get(folder) {
            return *known;
        }
        let path = self.files.at_start(folder).join("glibc-hwcaps");
        let is = self.files.may_probe() && path.is_dir();
        self.hwcaps.insert(folder.to_vec(), is);
        is
    }

    fn try_path(&mut self, by: usize, path: &[u8], why: &mut Option<String>) -> bool {
        let path = self.files.at_start(path);
        match self.files.library(&path, self.arch) {
            Ok((index, elf)) => {
                if self.linked.insert(index) {
                    self.link(&path, path.clone(), elf, Some(by));
                }
                true
            }
            Err(None) => false,
            Err(reason) => {
                *why = reason;
                false
            }
        }
    }

    /// musl's folders: those in a file of /etc, or the three built in.
    fn musl_folders(&mut self, loader: &Path) -> Folders {
        let name = loader.file_name().unwrap_or_default().as_bytes();
        let name = name.split(|b| *b == b'.').next().unwrap_or(name);
        // musl looks for it beside whatever folder the program names; there it could be a link to anything.
        let installed = [Path::new("/lib"), Path::new("/usr/lib")].map(Some).contains(&loader.parent());
        let list = Path::new("/etc").join(OsStr::from_bytes(&[name, b".path"].concat()));
        let list = if is_musl(loader) && installed { self.files.data(&list) } else { None };
        let list = list.unwrap_or_else(|| b"/lib:/usr/local/lib:/usr/lib".to_vec());
        distinct(list.split(|b| b":\n".contains(b)).filter(|part| !part.is_empty()).map(<[u8]>::to_vec))
            .into()
    }
}

/// The name behind a `$`, and how long it is written.
pub(super) fn token(text: &[u8]) -> Option<(&'static str, usize)> {
    ["ORIGIN", "LIB", "PLATFORM"].into_iter().find_map(|name| {
        if text.strip_prefix(b"{").and_then(|t| t.strip_prefix(name.as_bytes())?.strip_prefix(b"}")).is_some()
        {
            return Some((name, name.len() + 2));
        }
        let rest = text.strip_prefix(name.as_bytes())?;
        let ends = rest.first().is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_');
        ends.then_some((name, name.len()))
    })
}

/// Names that musl answers with itself.
fn is_musl_libc(name: &[u8]) -> bool {
    let reserved = ["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];
    name.strip_prefix(b"lib").is_some_and(|rest| reserved.iter().any(|r| rest.starts_with(r.as_bytes())))
}

/// The subfolders of glibc-hwcaps that this processor can use, the best first.
pub(super) fn levels(arch: Arch) -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    if arch.machine == elf::EM_X86_64 {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("cmpxchg16b") && has!("popcnt") && has!("sse3") && has!("ssse3") && has!("sse4.2");
        let v3 = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("fma") && has!("lzcnt");
        let v4 =
            has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
        const ALL: &[&str] = &["x86-64-v4", "x86-64-v3", "x86-64-v2"];
        return match (v2, v3 && has!("movbe"), v4) {
            (true, true, true) => ALL,
            (true, true, false) => &ALL[1..],
            (true, false, _) => &ALL[2..],
            _ => &[],
        };
    }
    let _ = arch;
    &[]
}

/// /etc/ld.so.cache, of the format that begins with "glibc-ld.so.cache1.1".
pub(super) struct Cache {
    bytes: Vec<u8>,
    /// Where that format begins: behind the older one, if both are there.
    base: usize,
    count: usize,
}

impl Cache {
    const MAGIC: &'static [u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;

    pub(super) fn new(bytes: Vec<u8>) -> Option<Cache> {
        let mut cache = Cache { bytes, base: 0, count: 0 };
        if cache.bytes.starts_with(b"ld.so-1.7.0\0") {
            // A header of 16 bytes, entries of 12, then the next multiple of 8.
            let old = (cache.number(12)? as usize).checked_mul(12)?.checked_add(16)?;
            cache.base = old.checked_next_multiple_of(8)?;
        }
        if !cache.bytes.get(cache.base..)?.starts_with(Cache::MAGIC) {
            return None;
        }
        let room = cache.bytes.len().checked_sub(cache.base + Cache::HEADER)?;
        cache.count = cache.number(cache.base + 20)? as usize;
        (cache.count <= room / Cache::ENTRY).then_some(cache)
    }

    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn text(&self, at: usize) -> Option<&[u8]> {
        let text = self.bytes.get(at..)?;
        let text = &text[..text.len().min(libc::PATH_MAX as usize)];
        Some(&text[..text.iter().position(|b| *b == 0)?])
    }

    /// Where the library `name` is, the best first.
    pub(super) fn lookup(&self, name: &[u8], arch: Arch) -> Vec<Vec<u8>> {
        let mut found: Vec<(usize, &[u8])> =
            (0..self.count).filter_map(|index| self.entry(index, name, arch)).collect();
        found.sort_by_key(|(rank, _)| *rank); // stable
        found.into_iter().map(|(_, path)| path.to_vec()).collect()
    }

    /// The path of an entry, if it is for `name`, and its rank.
    fn entry(&self, index: usize, name: &[u8], arch: Arch) -> Option<(usize, &[u8])> {
        let at = self.base + Cache::HEADER + index * Cache::ENTRY;
        let key = self.base.checked_add(self.number(at + 4)? as usize)?;
        let bytes = self.bytes.get(key..)?.strip_prefix(name)?;
        let flags = self.number(at)?;
        if *bytes.first()? != 0 || cache_flags(arch).is_some_and(|wanted| wanted != flags) {
            return None;
        }
        let path = self.text(self.base.checked_add(self.number(at + 8)? as usize)?)?;
        let (low, high) = (self.number(at + 16)?, self.number(at + 20)?);
        let (low, high) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        // The bits of the upper half that are no level of the instruction set: 62 alone means an index in the lower.
        let rank = match high & !0x3ff {
            0x4000_0000 => {
                let level = self.hwcap(low)?;
                levels(arch).iter().position(|known| known.as_bytes() == level)?
            }
            0 if low == 0 => usize::MAX - 1,
            _ => usize::MAX, // hardware names as they were before glibc 2.33
        };
        Some((rank, path))
    }

    /// The name of a subfolder of glibc-hwcaps, from the extensions behind the entries.
    fn hwcap(&self, index: u32) -> Option<&[u8]> {
        let extensions = self.number(self.base + 32)? as usize;
        if self.number(extensions)? != 0xeaa4_2174 {
            return None;
        }
        let sections = self.number(extensions.checked_add(4)?)?.min(16) as usize;
        let section =
            (0..sections).map(|i| extensions + 8 + i * 16).find(|at| self.number(*at) == Some(1))?;
        let (offset, size) = (self.number(section + 8)? as usize, self.number(section + 12)? as usize);
        let index = (index as usize).checked_mul(4).filter(|at| *at < size)?;
        self.text(self.number(offset.checked_add(index)?)? as usize)
    }
}

/// The flags of a cache entry for this architecture; None where they are not known, and the library itself tells.
fn cache_flags(arch: Arch) -> Option<u32> {
    Some(match (arch.machine, arch.is_64) {
        (elf::EM_X86_64, true) => 0x0303,
        (elf::EM_X86_64, false) => 0x0803,
        (elf::EM_386, _) => 0x0003,
        (elf::EM_AARCH64, true) => 0x0a03,
        (elf::EM_S390, true) => 0x0403,
        (elf::EM_PPC64, true) => 0x0503,
        _ => return None,
    })
}
