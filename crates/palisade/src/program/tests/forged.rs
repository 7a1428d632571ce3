//! Programs that no linker makes: what their tables name, and what is broken in them.

use super::*;

/// A hostile program, byte by byte: a loader, dynamic entries, strings.
pub(super) struct Forged {
    pub(super) interp: Vec<u8>,
    pub(super) dynamic: Vec<(u64, u64)>,
    pub(super) strings: Vec<u8>,
    /// More segments: address, offset, size.
    pub(super) loads: Vec<(usize, usize, usize)>,
    pub(super) machine: u16,
    pub(super) kind: u16,
}

const DYNAMIC_AT: usize = 0x1000;

impl Forged {
    pub(super) fn new() -> Forged {
        let interp = find("/bin/ls").unwrap();
        let interp = [paths(&interp, Role::Loader)[0].as_os_str().as_bytes(), b"\0"].concat();
        let real = fs::read("/bin/ls").unwrap();
        let machine = u16::from_le_bytes([real[18], real[19]]);
        Forged { interp, dynamic: Vec::new(), strings: vec![0], loads: Vec::new(), machine, kind: 3 }
    }

    pub(super) fn entry(mut self, tag: u64, text: &[u8]) -> Forged {
        self.dynamic.push((tag, self.strings.len() as u64));
        self.strings.extend_from_slice(text);
        self.strings.push(0);
        self
    }

    pub(super) fn needs(self, name: &str) -> Forged {
        self.entry(1, name.as_bytes())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        for word in [0u64, 64, 0] {
            file.extend(word.to_le_bytes()); // entry, program headers, sections
        }
        file.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 3 + self.loads.len() as u16, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let strings_at = DYNAMIC_AT + (self.dynamic.len() + 2) * 16;
        let size = strings_at + self.strings.len();
        let interp_at = 64 + (3 + self.loads.len()) * 56;
        let segments = [
            (3u32, interp_at, interp_at, self.interp.len()),
            (1, 0, 0, size),
            (2, DYNAMIC_AT, DYNAMIC_AT, (self.dynamic.len() + 2) * 16),
        ];
        let more = self.loads.iter().map(|(address, offset, size)| (1, *offset, *address, *size));
        for (kind, offset, address, size) in segments.into_iter().chain(more) {
            file.extend(kind.to_le_bytes());
            file.extend(4u32.to_le_bytes());
            for word in [offset, address, address, size, size, 1] {
                file.extend((word as u64).to_le_bytes());
            }
        }
        file.extend(&self.interp);
        file.resize(DYNAMIC_AT.max(file.len()), 0);
        for (tag, value) in self.dynamic.iter().copied().chain([(5, strings_at as u64), (0, 0)]) {
            file.extend(tag.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        file.extend(&self.strings);
        file
    }
}

/// A forged program with no library has this many files: itself, the loader, and what the loader reads.
pub(super) fn granted(found: &Closure) -> BTreeSet<(u64, u64)> {
    inodes(found, |role| role == Role::Library)
}

#[test]
fn what_a_program_names_grants_only_libraries() {
    let folder = Folder::new();
    let key = folder.file("id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o755);
    let fifo = folder.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut core = Forged::new();
    core.kind = 4;
    let core = folder.file("core", core.bytes(), 0o755);
    let mut foreign = Forged::new();
    foreign.machine ^= 0xff;
    let foreign = folder.file("foreign.so", foreign.bytes(), 0o755);
    let cut = Forged::new().bytes();
    let cut = folder.file("cut.so", &cut[..DYNAMIC_AT + 3], 0o755);
    std::os::unix::fs::symlink(&key, folder.0.join("libkey.so")).unwrap();

    let shadow = Path::new("/etc/shadow").to_owned();
    let passwd = Path::new("/etc/passwd").to_owned();
    let zero = Path::new("/dev/zero").to_owned();
    let names =
        [&key, &fifo, &core, &foreign, &cut, &shadow, &passwd, &zero, &folder.0, &folder.0.join("absent.so")];
    for name in names {
        let name = name.to_str().unwrap();
        let found = find(folder.file("needs", Forged::new().needs(name).bytes(), 0o755)).unwrap();
        assert_eq!(granted(&found), BTreeSet::new(), "{name}: {found:#?}");
        assert!(found.unresolved.len() == 1 && found.unresolved[0].path == Path::new(name), "{found:#?}");
    }
    // The same by way of a search path.
    for tag in [15, 29] {
        let forged = Forged::new().needs("libkey.so").entry(tag, folder.0.as_os_str().as_bytes());
        let found = find(folder.file("searched", forged.bytes(), 0o755)).unwrap();
        assert_eq!(granted(&found), BTreeSet::new(), "{found:#?}");
        assert!(notes(&found).contains("not an ELF file"), "{}", notes(&found));
    }
    // The same forged program does get what is a library.
    let found = find(folder.file("fine", Forged::new().needs("libc.so.6").bytes(), 0o755)).unwrap();
    assert_eq!((granted(&found).len(), notes(&found).as_str()), (1, ""));

    // As its loader: the program cannot run, and nothing is granted.
    for (name, part) in [
        (&key, "not an ELF file"),
        (&core, "not a library"),
        (&foreign, "another architecture"),
        (&cut, "broken ELF"),
        (&folder.0, "a directory"),
        (&passwd, "nobody has the permission"),
        (&folder.0.join("absent"), "does not exist"),
    ] {
        let mut forged = Forged::new();
        forged.interp = [name.as_os_str().as_bytes(), b"\0"].concat();
        refused(folder.file("loaded", forged.bytes(), 0o755), BAD, part);
    }
}

#[test]
fn broken_tables_are_refused_or_grant_nothing() {
    let folder = Folder::new();
    let good = Forged::new().needs("libc.so.6").entry(15, b"/tmp:$ORIGIN").entry(14, b"me");
    let bytes = good.bytes();
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        folder.file(&format!("broken{}", NEXT.fetch_add(1, Ordering::Relaxed)), bytes, 0o755)
    };
    let header = |n: usize| 64 + n * 56;
    for (what, program) in [
        ("class", with(4, &[9])),
        ("byte order", with(5, &[9])),
        ("headers beyond the end", with(32, &u64::MAX.to_le_bytes())),
        ("headers far beyond the end", with(32, &(1u64 << 62).to_le_bytes())),
        ("no headers", with(56, &0u16.to_le_bytes())),
        ("giant count of headers", with(56, &u16::MAX.to_le_bytes())),
        ("odd size of headers", with(54, &57u16.to_le_bytes())),
        ("name of the loader beyond the end", with(header(0) + 8, &u64::MAX.to_le_bytes())),
        ("giant name of the loader", with(header(0) + 32, &u64::MAX.to_le_bytes())),
        ("name of the loader without end", with(header(0) + 32, &4u64.to_le_bytes())),
        ("dynamic section not loaded", with(header(2) + 16, &(1u64 << 40).to_le_bytes())),
        ("giant dynamic section", with(header(2) + 32, &u64::MAX.to_le_bytes())),
        ("strings not loaded", with(DYNAMIC_AT + 3 * 16 + 8, &u64::MAX.to_le_bytes())),
        ("name beyond the end", with(DYNAMIC_AT + 8, &(u64::MAX / 2).to_le_bytes())),
        ("offset that overflows", with(DYNAMIC_AT + 8, &u64::MAX.to_le_bytes())),
    ] {
        let fault = closure(program.as_os_str(), &search());
        assert!(
            fault.as_ref().is_err_and(|f| f.kind == BAD && f.why.contains("broken ELF")),
            "{what}: {fault:?}"
        );
    }
    // Cut off anywhere, or any byte changed: no panic, and nothing but libraries.
    let check = |bytes: &[u8]| {
        if let Ok(found) = find(folder.file("cut", bytes, 0o755)) {
            for file in &found.files[1..] {
                assert!(fs::read(&file.path).unwrap().starts_with(b"\x7fELF") || file.role == Role::Data);
            }
        }
    };
    let interesting = (0..300).chain(DYNAMIC_AT..bytes.len());
    for at in interesting {
        check(&bytes[..at]);
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            check(&bytes);
        }
    }
    // Overlapping segments: the last one counts, as in memory.
    let mut forged = Forged::new().needs("libc.so.6").needs("libm.so.6");
    forged.dynamic.pop();
    let strings_at = DYNAMIC_AT + 3 * 16;
    forged.loads = vec![(strings_at, strings_at + "libc.so.6 ".len(), 11)];
    let found = find(folder.file("overlap", forged.bytes(), 0o755)).unwrap();
    let libraries = paths(&found, Role::Library);
    assert!(libraries[0].ends_with("libm.so.6"), "{found:#?}");
}

#[test]
fn a_program_cannot_keep_us_busy() {
    let folder = Folder::new();
    let started = std::time::Instant::now();
    // Thousands of names, in hundreds of folders.
    let folders: Vec<String> = (0..250).map(|n| format!("/tmp/absent/{n}")).collect();
    let mut forged = Forged::new().entry(15, folders.join(":").as_bytes());
    for n in 0..3000 {
        forged = forged.needs(&format!("lib{n}.so"));
    }
    let found = find(folder.file("many", forged.bytes(), 0o755)).unwrap();
    assert!(notes(&found).contains("more libraries than"), "{}", found.unresolved.len());
    // A chain of more objects than are granted.
    for n in 0..300 {
        let forged = Forged::new().entry(15, b"$ORIGIN").needs(&format!("chain{}.so", n + 1));
        folder.file(&format!("chain{n}.so"), forged.bytes(), 0o755);
    }
    let found = find(folder.0.join("chain0.so")).unwrap();
    assert_eq!(granted(&found).len() + 2, MAX_OBJECTS, "with the program and its loader");
    assert_eq!(found.unresolved.len(), 1, "{}", notes(&found));
    // A file of a terabyte whose tables claim all of it.
    let path = folder.file("sparse", Forged::new().needs("libc.so.6").bytes(), 0o755);
    let sparse = OpenOptions::new().write(true).open(&path).unwrap();
    if sparse.set_len(1 << 40).is_ok() {
        use std::os::unix::fs::FileExt;
        sparse.write_all_at(&(1u64 << 40).to_le_bytes(), 64 + 2 * 56 + 32).unwrap();
        drop(sparse);
        assert_eq!(granted(&find(&path).unwrap()).len(), 1);
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
