//! Real programs of this machine, and handmade hostile ones.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::script::{env, shebang};
use super::*;

mod forged;

use forged::{Forged, granted};

/// A folder of one test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("palisade-closure-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn script(&self, name: &str, first: &str) -> PathBuf {
        self.file(name, format!("{first}\n"), 0o755)
    }

    /// Compiles `int ID(void)` into a library or program.
    fn gcc(&self, output: &str, arguments: &[&str]) -> PathBuf {
        let path = self.0.join(output);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let source =
            self.file(&format!("{}.c", output.replace('/', "_")), "int main(void) { return 0; }\n", 0o644);
        let done = Command::new("gcc")
            .current_dir(&self.0)
            .arg(source)
            .arg("-o")
            .arg(&path)
            .args(arguments)
            .output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn by_mode(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o111 != 0)
}

fn search() -> Search<'static> {
    Search { path: None, path_at_start: None, ld_library_path: None, dir: None, may_execute: &by_mode }
}

fn find(command: impl AsRef<OsStr>) -> Result<Closure, Fault> {
    closure(command.as_ref(), &search())
}

fn inode(path: &Path) -> (u64, u64) {
    let meta = fs::metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    (meta.dev(), meta.ino())
}

fn inodes(closure: &Closure, wanted: impl Fn(Role) -> bool) -> BTreeSet<(u64, u64)> {
    closure.files.iter().filter(|f| wanted(f.role)).map(|f| inode(&f.path)).collect()
}

fn paths(closure: &Closure, role: Role) -> Vec<&Path> {
    closure.files.iter().filter(|f| f.role == role).map(|f| f.path.as_path()).collect()
}

fn notes(closure: &Closure) -> String {
    closure.unresolved.iter().map(|u| format!("{u}\n")).collect()
}

/// What the real loader says that it loads; only ever asked about programs that are trusted.
fn loader_says(program: &Path, library_path: Option<&OsStr>) -> BTreeSet<(u64, u64)> {
    let mut command = Command::new(program);
    command.env("LD_TRACE_LOADED_OBJECTS", "1").env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
    if let Some(list) = library_path {
        command.env("LD_LIBRARY_PATH", list);
    }
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let files = text.lines().filter_map(|line| {
        assert!(!line.contains("not found"), "{line}");
        let path = line.split("=>").last()?.split_whitespace().next()?;
        path.starts_with('/').then(|| inode(Path::new(path)))
    });
    files.collect()
}

#[track_caller]
fn as_loader_says(program: &Path, library_path: Option<&OsStr>) -> Closure {
    let found = closure(program.as_os_str(), &Search { ld_library_path: library_path, ..search() }).unwrap();
    let loaded = inodes(&found, |role| matches!(role, Role::Library | Role::Loader));
    assert_eq!(loaded, loader_says(program, library_path), "{program:?}: {found:#?}");
    assert_eq!(found.unresolved, [], "{program:?}");
    found
}

#[track_caller]
fn refused(command: impl AsRef<OsStr>, kind: FaultKind, part: &str) {
    let fault = find(command.as_ref()).unwrap_err();
    assert!(fault.kind == kind && fault.why.contains(part), "{:?}: {fault:?}", command.as_ref());
}

const BAD: FaultKind = FaultKind::NotRunnable;

#[test]
fn real_programs_as_their_loader_says() {
    let found = as_loader_says(Path::new("/bin/ls"), None);
    assert_eq!(found.command, Path::new("/bin/ls"));
    assert_eq!(found.files[0].role, Role::Program);
    assert_eq!(paths(&found, Role::Loader).len(), 1);
    assert!(paths(&found, Role::Data).contains(&Path::new("/etc/ld.so.cache")));
    as_loader_says(&std::env::current_exe().unwrap(), None);

    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(PathBuf::from(text.trim())).filter(|path| path.is_absolute())
    };
    as_loader_says(&output("gcc", &["-print-prog-name=cc1"]).unwrap(), None);
    let others = [
        output("python3", &["-c", "import sys; print(sys.executable)"]),
        output("sh", &["-c", "command -v git"]),
        output("sh", &["-c", "command -v curl"]),
        output("rustc", &["--print=sysroot"]).map(|root| root.join("bin/rustc")),
    ];
    for program in others.into_iter().flatten().filter(|p| fs::read(p).unwrap().starts_with(b"\x7fELF")) {
        as_loader_says(&program, None);
    }
}

#[test]
fn every_descriptor_is_of_its_path_and_closed_on_exec() {
    let found = find("/bin/ls").unwrap();
    for file in &found.files {
        let file_inode = fs::File::from(file.fd.try_clone().unwrap()).metadata().unwrap().ino();
        assert_eq!(file_inode, inode(&file.path).1, "{:?}", file.path);
        let info =
            fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&file.fd)));
        let flags = info
            .unwrap()
            .lines()
            .find_map(|l| l.strip_prefix("flags:").map(|f| f.trim().to_owned()))
            .unwrap();
        let flags = i32::from_str_radix(&flags, 8).unwrap();
        assert_eq!((flags & libc::O_CLOEXEC, flags & libc::O_ACCMODE), (libc::O_CLOEXEC, libc::O_RDONLY));
    }
    let unique = inodes(&found, |_| true);
    assert_eq!(unique.len(), found.files.len());
}

#[test]
fn path_is_searched_as_execvp_does() {
    let folder = Folder::new();
    folder.file("a/dir/x", "", 0o644);
    fs::create_dir(folder.0.join("a/tool")).unwrap();
    folder.file("b/tool", "#!/bin/sh\n", 0o644);
    let tool = folder.file("c/tool", "#!/bin/sh\n", 0o755);
    let list = |parts: &[&str]| parts.iter().map(|p| folder.0.join(p)).collect::<Vec<_>>();
    let path = |parts: &[&str]| std::env::join_paths(list(parts)).unwrap();
    let find_in = |name: &str, path: &OsStr| {
        closure(OsStr::new(name), &Search { path: Some(path), path_at_start: Some(path), ..search() })
    };

    assert_eq!(find_in("tool", &path(&["nowhere", "a", "b", "c"])).unwrap().command, tool);
    let fault = find_in("tool", &path(&["b"])).unwrap_err();
    assert!(
        fault.kind == BAD && fault.path == folder.0.join("b/tool") && fault.why.contains("nobody"),
        "{fault:?}"
    );
    let fault = find_in("tool", &path(&["a"])).unwrap_err();
    assert!(fault.kind == BAD && fault.why.contains("directory"), "{fault:?}");
    for name in ["absent", "", "nul\0"] {
        assert_eq!(find_in(name, &path(&["a", "b", "c"])).unwrap_err().kind, FaultKind::NotFound, "{name:?}");
    }
    std::os::unix::fs::symlink("loop", folder.0.join("loop")).unwrap();
    assert_eq!(find_in("tool", &path(&["loop"])).unwrap_err().kind, FaultKind::NotFound);
    // An empty element is the current folder; without PATH there is a default.
    assert_eq!(
        look_up(OsStr::new("Cargo.toml"), Some(OsStr::new("")), Path::new(""), &search()).unwrap_err().kind,
        BAD
    );
    assert_eq!(find("ls").unwrap().command, Path::new("/bin/ls"));
    assert_eq!(find("/nonexistent/ls").unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(find("/bin/ls/ls").unwrap_err().kind, FaultKind::NotFound);
    // Executable by somebody, but not by this user: the next one is taken.
    let others = |path: &Path| by_mode(path) && !path.starts_with(folder.0.join("c"));
    folder.file("d/tool", "#!/bin/sh\n", 0o755);
    let path = path(&["c", "d"]);
    let search = Search { path: Some(&path), may_execute: &others, ..search() };
    assert_eq!(closure(OsStr::new("tool"), &search).unwrap().command, folder.0.join("d/tool"));
}

#[test]
fn what_is_no_program_has_its_own_sentence() {
    let folder = Folder::new();
    let fifo = folder.0.join("fifo");
    assert!(Command::new("mkfifo").args(["-m", "755"]).arg(&fifo).status().unwrap().success());
    refused(&fifo, BAD, "is a FIFO");
    refused(&folder.0, BAD, "is a directory");
    refused("/dev/null", BAD, "is a device");
    refused(folder.file("empty", "", 0o755), BAD, "empty file");
    refused(folder.file("text", "echo hello\n", 0o755), BAD, "#!/bin/sh");
    refused(folder.file("data", "\x01\0\x02", 0o755), BAD, "neither");
    refused(folder.file("plain", "#!/bin/sh\n", 0o644), BAD, "nobody");
    refused(folder.file("elf", "\x7fELF", 0o755), BAD, "broken ELF");
    refused(format!("/{}", "x/".repeat(3000)), BAD, "ENAMETOOLONG");
    std::os::unix::fs::symlink("loop", folder.0.join("loop")).unwrap();
    refused(folder.0.join("loop"), BAD, "cannot be opened (ELOOP)");
    refused(folder.gcc("object.o", &["-c"]), BAD, "nobody");
    fs::set_permissions(folder.0.join("object.o"), fs::Permissions::from_mode(0o755)).unwrap();
    refused(folder.0.join("object.o"), BAD, "object file");
}

#[test]
fn first_lines_as_the_kernel_reads_them() {
    let long = |n: usize| format!("#!/{}", "a".repeat(n)).into_bytes();
    let ok = |name: &'static str, argument: Option<&'static str>| Ok((name, argument));
    for (line, wanted) in [
        ("#!/bin/sh\nx", ok("/bin/sh", None)),
        ("#! \t/bin/sh \t\n", ok("/bin/sh", None)),
        ("#!/bin/sh -e  -x \n", ok("/bin/sh", Some("-e  -x"))),
        ("#!/bin/sh", ok("/bin/sh", None)),
        ("#!/bin/sh\r\n", ok("/bin/sh\r", None)),
        ("#!/bin/sh\0-x\n", ok("/bin/sh", None)),
        ("#!/bin/sh a\0b\n", ok("/bin/sh", Some("a"))),
        ("#!sh", ok("sh", None)),
        ("#!", Err(())),
        ("#!\n/bin/sh", Err(())),
        ("#! \t \n", Err(())),
    ] {
        let text = |b| std::str::from_utf8(b).unwrap();
        let got =
            shebang(line.as_bytes()).map(|(name, argument)| (text(name), argument.map(text))).map_err(|_| ());
        assert_eq!(got, wanted, "{line:?}");
    }
    // 255 bytes are read; a name that may go on behind them is refused, an argument is cut.
    let whole = |mut line: Vec<u8>| {
        line.resize(HEAD_SIZE.max(line.len()), b'a');
        shebang(&line[..HEAD_SIZE])
            .map(|(name, argument)| (name.len(), argument.map(<[u8]>::len)))
            .map_err(|_| ())
    };
    assert_eq!(whole(long(400)), Err(()));
    assert_eq!(whole([long(251).as_slice(), b"\n"].concat()), Ok((252, None)));
    assert_eq!(whole([long(100).as_slice(), b" b"].concat()), Ok((101, Some(255 - 104))));
    assert_eq!(shebang(&long(200)).map(|(name, _)| name.len()), Ok(201));
}

const HEAD_SIZE: usize = script::HEAD;

#[test]
fn arguments_of_env() {
    let name = |argument: &str| env(Some(argument.as_bytes())).map(|e| String::from_utf8(e.name).unwrap());
    for (argument, wanted) in [
        ("python3", "python3"),
        ("python3 -u", "python3 -u"),
        ("-S python3 -u", "python3"),
        ("-Spython3 -u", "python3"),
        ("-vS python3", "python3"),
        ("-S -i -u HOME A=b 'my tool' x", "my tool"),
        ("-S -uHOME -- tool", "tool"),
        ("-S --unset=HOME --chdir /tmp tool", "tool"),
        ("--split-string=-i tool", "tool"),
        (r#"-S "a\_b"\_c"#, "a b"),
        (r"-S a'\b'", r"a\b"),
        ("-S tool # comment", "tool"),
    ] {
        assert_eq!(name(argument).as_deref(), Ok(wanted), "{argument:?}");
    }
    for argument in ["-S ${TOOL}", "-S 'open", "-x tool", "--nope", "A=b", "-u", r"-S \q"] {
        assert!(name(argument).is_err(), "{argument:?}");
    }
    assert!(env(None).is_err());
    let path = |argument: &str| env(Some(argument.as_bytes())).unwrap().path;
    assert_eq!(path("-S PATH=/x tool"), Some(Some(b"/x".to_vec())));
    assert_eq!(path("-S -i tool"), Some(None));
    assert_eq!(path("-S -u PATH tool"), Some(None));
    assert_eq!(path("-S A=1 tool"), None);
}

#[test]
fn scripts() {
    let folder = Folder::new();
    let found = find(folder.script("plain", "#!/bin/sh -e")).unwrap();
    assert_eq!(paths(&found, Role::Script), [folder.0.join("plain")]);
    assert_eq!(paths(&found, Role::Interpreter), [Path::new("/bin/sh")]);
    assert_eq!(paths(&found, Role::Loader).len(), 1);
    let libc = |found: &Closure| paths(found, Role::Library).iter().any(|p| p.ends_with("libc.so.6"));
    assert!(libc(&found));

    // Through env: env itself and what it starts, which may be a script in turn.
    let inner = folder.script("bin/inner", "#!/bin/cat");
    let path = folder.0.join("bin");
    let with_path =
        Search { path: Some(path.as_os_str()), path_at_start: Some(path.as_os_str()), ..search() };
    for line in ["#!/usr/bin/env inner", "#!/usr/bin/env -S -u X A=b inner -v"] {
        let outer = folder.script("outer", line);
        let found = closure(outer.as_os_str(), &with_path).unwrap();
        assert_eq!(paths(&found, Role::Script), [outer.as_path(), &inner]);
        assert_eq!(paths(&found, Role::Interpreter), [Path::new("/usr/bin/env"), Path::new("/bin/cat")]);
    }
    let found =
        find(folder.script("own-path", &format!("#!/usr/bin/env -S PATH={} inner", path.display()))).unwrap();
    assert!(paths(&found, Role::Interpreter).contains(&Path::new("/bin/cat")));
    // What is a library of one program and is executed as another has the right to be.
    let ls = find("/bin/ls").unwrap();
    let libc_path = paths(&ls, Role::Library).into_iter().find(|p| p.ends_with("libc.so.6")).unwrap();
    let found = find(folder.script("libc", &format!("#!/usr/bin/env {}", libc_path.display()))).unwrap();
    assert!(paths(&found, Role::Interpreter).contains(&libc_path), "{found:#?}");
    let found = find(folder.script("unknown", "#!/usr/bin/env -S ${X}")).unwrap();
    assert_eq!(paths(&found, Role::Interpreter), [Path::new("/usr/bin/env")]);
    assert!(notes(&found).contains("not granted"), "{}", notes(&found));
    refused(folder.script("absent", "#!/usr/bin/env no-such-tool"), BAD, "no-such-tool, which is not found");
    refused(folder.script("words", "#!/usr/bin/env sh -x"), BAD, "env -S");

    refused(folder.script("gone", "#!/no/such"), BAD, "/no/such, which does not exist");
    refused(folder.script("windows", "#!/bin/sh\r"), BAD, "Windows");
    refused(folder.script("nothing", "#!"), BAD, "names no interpreter");
    let key = folder.file("id_rsa", "-----BEGIN", 0o600);
    refused(folder.script("key", &format!("#!{}", key.display())), BAD, "nobody has the permission");
    let text = folder.file("note", "some text\n", 0o755);
    refused(folder.script("on-text", &format!("#!{}", text.display())), BAD, "text without");
}

#[test]
fn at_most_four_scripts() {
    let folder = Folder::new();
    for n in (0..5).rev() {
        let next = folder.0.join(format!("s{}", n + 1));
        let next = if n == 4 { "/bin/sh".into() } else { next.display().to_string() };
        folder.script(&format!("s{n}"), &format!("#!{next}"));
    }
    assert_eq!(paths(&find(folder.0.join("s1")).unwrap(), Role::Script).len(), 4);
    refused(folder.0.join("s0"), BAD, "at most 4");
    let own = folder.0.join("own");
    refused(folder.script("own", &format!("#!{}", own.display())), BAD, "at most 4");
    refused(
        folder.script("own-env", &format!("#!/usr/bin/env {}", folder.0.join("own-env").display())),
        BAD,
        "at most",
    );
}

#[test]
fn relative_names_begin_where_the_program_starts() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("/bin/sh", folder.0.join("shell")).unwrap();
    let script = folder.script("script", "#!./shell");
    refused(&script, BAD, "does not exist");
    let found = closure(script.as_os_str(), &Search { dir: Some(&folder.0), ..search() }).unwrap();
    assert_eq!(inodes(&found, |r| r == Role::Interpreter), BTreeSet::from([inode(Path::new("/bin/sh"))]));
}

/// A chain of small libraries: `top` needs `mid`, which needs `leaf`; each call links as told.
fn small(folder: &Folder, output: &str, arguments: &[&str]) -> PathBuf {
    let soname = format!("-Wl,-soname,{}", Path::new(output).file_name().unwrap().to_str().unwrap());
    let all = [&["-shared", "-nostdlib", "-fPIC", "-Wl,--no-as-needed", &soname], arguments].concat();
    folder.gcc(output, &all)
}

#[test]
fn search_orders_as_their_loader_says() {
    let folder = Folder::new();
    let here = folder.0.to_str().unwrap().to_owned();
    for place in ["one", "two"] {
        small(&folder, &format!("{place}/libleaf.so"), &[]);
    }
    let leaf = "one/libleaf.so";
    // RUNPATH serves the object's own libraries alone, RPATH also those of its libraries.
    small(&folder, "one/libmid.so", &[leaf]);
    small(&folder, "own/libmid.so", &[leaf, "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../two"]);
    let base = ["-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", "-Wl,-rpath-link,one"];
    let program =
        |name: &str, mid: &str, more: &[&str]| folder.gcc(name, &[&base[..], &[mid], more].concat());

    let rpath = program("rpath", "one/libmid.so", &["-Wl,--disable-new-dtags,-rpath,${ORIGIN}/one"]);
    let found = as_loader_says(&rpath, None);
    assert!(paths(&found, Role::Library).contains(&folder.0.join(leaf).as_path()), "{found:#?}");
    // LD_LIBRARY_PATH is behind RPATH and before RUNPATH.
    let two = folder.0.join("two");
    as_loader_says(&rpath, Some(two.as_os_str()));
    let runpath =
        program("runpath", "own/libmid.so", &["-Wl,--enable-new-dtags,-rpath,$ORIGIN/own:$ORIGIN/one"]);
    let found = as_loader_says(&runpath, None);
    assert!(paths(&found, Role::Library).iter().any(|p| inode(p) == inode(&two.join("libleaf.so"))));
    let one = folder.0.join("one");
    let found = as_loader_says(&runpath, Some(one.as_os_str()));
    assert!(paths(&found, Role::Library).iter().any(|p| inode(p) == inode(&one.join("libleaf.so"))));
    let found = as_loader_says(&runpath, Some(OsStr::new(&format!("{here}/nowhere;{here}/one:"))));
    assert!(paths(&found, Role::Library).iter().any(|p| inode(p) == inode(&one.join("libleaf.so"))));
    // RUNPATH is not inherited: the leaf of a plain libmid.so is not found, by either.
    let plain = program("plain", "one/libmid.so", &["-Wl,--enable-new-dtags,-rpath,$ORIGIN/one"]);
    let found = find(&plain).unwrap();
    assert!(notes(&found).starts_with("libleaf.so: is a library that"), "{found:#?}");
    let traced = Command::new(&plain).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap().stdout;
    assert!(String::from_utf8(traced).unwrap().contains("libleaf.so => not found"));
    // $ORIGIN is the folder of the program itself, not of a link to it.
    std::os::unix::fs::symlink(&rpath, folder.0.join("own/link")).unwrap();
    let found = as_loader_says(&folder.0.join("own/link"), None);
    assert_eq!(found.command, folder.0.join("own/link"));
    // An object with a RUNPATH inherits no RPATH, and its own counts for nothing.
    small(&folder, "deaf/libmid.so", &[leaf, "-Wl,--enable-new-dtags,-rpath,/nonexistent"]);
    let deaf = program(
        "deaf-program",
        "deaf/libmid.so",
        &["-Wl,--disable-new-dtags,-rpath,$ORIGIN/deaf:$ORIGIN/one"],
    );
    assert!(notes(&find(&deaf).unwrap()).starts_with("libleaf.so: "));
    let traced = Command::new(&deaf).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap().stdout;
    assert!(String::from_utf8(traced).unwrap().contains("libleaf.so => not found"));
    let forged = Forged::new().needs("libleaf.so").entry(15, one.as_os_str().as_bytes());
    assert_eq!(granted(&find(folder.file("forged", forged.bytes(), 0o755)).unwrap()).len(), 1);
    let forged = forged.entry(29, b"/nonexistent");
    assert_eq!(granted(&find(folder.file("forged", forged.bytes(), 0o755)).unwrap()).len(), 0);
    let one_bytes = one.as_os_str().as_bytes();
    let forged = Forged::new().needs("libmid.so").entry(15, one_bytes).entry(29, one_bytes);
    assert_eq!(
        granted(&find(folder.file("forged", forged.bytes(), 0o755)).unwrap()).len(),
        1,
        "libmid.so alone"
    );
    // What has the SONAME that is asked for is not searched for.
    small(&folder, "one/other.so", &[]);
    let soname = ["-Wl,--disable-new-dtags,-rpath,$ORIGIN/one", "one/other.so"];
    let soname = program("soname", "one/libmid.so", &soname);
    let without = as_loader_says(&soname, None);
    fs::copy(two.join("libleaf.so"), one.join("other.so")).unwrap();
    assert_eq!(granted(&as_loader_says(&soname, None)).len() + 1, granted(&without).len());
    // $LIB, $PLATFORM and a library by its path.
    let lib = program(
        "lib",
        "two/libleaf.so",
        &["-Wl,-rpath,$ORIGIN/no:$ORIGIN/$LIB:$ORIGIN/${PLATFORM}x:$ORIGIN/two"],
    );
    as_loader_says(&lib, None);
    small(&folder, "two/libslash.so", &["-Wl,-soname,/nonexistent/libslash.so"]);
    folder.gcc("by-path", &["-Wl,--no-as-needed", &format!("{here}/two/libslash.so")]);
    assert!(notes(&find(folder.0.join("by-path")).unwrap()).contains("/nonexistent/libslash.so"));
    // A folder with variants for better processors.
    for level in ["x86-64-v2", "x86-64-v3", "x86-64-v4"] {
        let hwcaps = folder.0.join("two/glibc-hwcaps").join(level);
        fs::create_dir_all(&hwcaps).unwrap();
        fs::copy(two.join("libleaf.so"), hwcaps.join("libleaf.so")).unwrap();
        as_loader_says(&lib, None);
    }
    // One of another architecture in the way is passed over.
    let mut other = fs::read(two.join("libleaf.so")).unwrap();
    other[18] ^= 0xff;
    folder.file("no/libleaf.so", other, 0o755);
    as_loader_says(&lib, None);
}

#[test]
fn cycles_end() {
    let folder = Folder::new();
    small(&folder, "liba.so", &[]);
    small(&folder, "libb.so", &["liba.so", "-Wl,-rpath,$ORIGIN"]);
    small(&folder, "liba.so", &["libb.so", "-Wl,-rpath,$ORIGIN"]);
    let program = folder.gcc("cycle", &["-Wl,--no-as-needed", "liba.so", "-Wl,-rpath,$ORIGIN"]);
    as_loader_says(&program, None);
}

#[test]
fn a_static_program_is_one_file() {
    let folder = Folder::new();
    let found = find(folder.gcc("static", &["-static"])).unwrap();
    assert_eq!(found.files.len(), 1, "{found:#?}");
    let found = find(folder.gcc("static-pie", &["-static-pie"])).unwrap();
    assert_eq!(found.files.len(), 1, "{found:#?}");
}

#[test]
fn variables_in_search_paths() {
    use super::ldso::token;
    for (text, wanted) in [
        ("ORIGIN/x", Some(("ORIGIN", 6))),
        ("{ORIGIN}x", Some(("ORIGIN", 8))),
        ("LIB", Some(("LIB", 3))),
        ("PLATFORM:", Some(("PLATFORM", 8))),
        ("ORIGINAL", None),
        ("{ORIGIN", None),
        ("", None),
        ("HOME", None),
    ] {
        assert_eq!(token(text.as_bytes()), wanted, "{text}");
    }
}

/// A cache of glibc with these entries (flags, name, path, hwcap), and names of hwcaps.
fn cache(old: bool, entries: &[(u32, &str, &str, u64)], hwcaps: &[&str]) -> Vec<u8> {
    let mut file = Vec::new();
    if old {
        file.extend(b"ld.so-1.7.0\0");
        file.extend(1u32.to_ne_bytes());
        file.extend([0; 12]);
        file.resize(file.len().next_multiple_of(8), 0);
    }
    let base = file.len();
    let texts_at = 48 + entries.len() * 24;
    let mut texts = Vec::new();
    let add = |texts: &mut Vec<u8>, text: &str| {
        let at = texts_at + texts.len();
        texts.extend(text.as_bytes());
        texts.push(0);
        at as u32
    };
    let mut table = Vec::new();
    for (flags, name, path, hwcap) in entries {
        for word in [*flags, add(&mut texts, name), add(&mut texts, path), 0] {
            table.extend(word.to_ne_bytes());
        }
        table.extend(hwcap.to_ne_bytes());
    }
    let names: Vec<u32> = hwcaps.iter().map(|name| base as u32 + add(&mut texts, name)).collect();
    texts.resize(texts.len().next_multiple_of(4), 0);
    let extensions = (base + texts_at + texts.len()) as u32;
    file.extend(b"glibc-ld.so.cache1.1");
    for word in [entries.len() as u32, texts.len() as u32, 2, extensions, 0, 0, 0] {
        file.extend(word.to_ne_bytes());
    }
    file.extend(table);
    file.extend(texts);
    for word in [0xeaa4_2174, 1, 1, 0, extensions + 24, names.len() as u32 * 4] {
        file.extend(u32::to_ne_bytes(word));
    }
    names.iter().for_each(|at| file.extend(at.to_ne_bytes()));
    file
}

#[test]
fn the_cache_of_glibc() {
    use super::ldso::{Cache, levels};
    use object::elf as e;
    let arch = |is_64, machine| Arch { is_64, little: true, machine };
    let (x64, x32, i386) = (arch(true, e::EM_X86_64), arch(false, e::EM_X86_64), arch(false, e::EM_386));
    let entries = [
        (0x0303, "libx.so.1", "/lib64/libx.so.1", 0),
        (0x0303, "libx.so.1", "/lib64/v2/libx.so.1", 1 << 62),
        (0x0303, "libx.so.1", "/lib64/nonsense/libx.so.1", 1 << 62 | 1),
        (0x0303, "libx.so.1", "/lib64/no-name/libx.so.1", 1 << 62 | 7),
        (0x0003, "libx.so.1", "/lib32/libx.so.1", 0),
        (0x0803, "libx.so.1", "/libx32/libx.so.1", 0),
        (0x0303, "libx.so", "/lib64/libx.so", 0),
    ];
    for old in [false, true] {
        let bytes = cache(old, &entries, &["x86-64-v2", "quantum"]);
        let cache = Cache::new(bytes.clone()).unwrap();
        let look = |name: &str, arch| -> Vec<String> {
            cache.lookup(name.as_bytes(), arch).into_iter().map(|p| String::from_utf8(p).unwrap()).collect()
        };
        let best: &[&str] = if levels(x64).contains(&"x86-64-v2") { &["/lib64/v2/libx.so.1"] } else { &[] };
        assert_eq!(look("libx.so.1", x64), [best, &["/lib64/libx.so.1"]].concat());
        assert_eq!(look("libx.so.1", i386), ["/lib32/libx.so.1"]);
        assert_eq!(look("libx.so.1", x32), ["/libx32/libx.so.1"]);
        assert_eq!(look("libx.so", x64), ["/lib64/libx.so"]);
        for name in ["libx", "libx.so.1.0", "", "x"] {
            assert_eq!(look(name, x64), [""; 0], "{name}");
        }
        // Cut off or changed anywhere: no panic.
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] = 0xff;
            for bytes in [bytes[..at].to_vec(), changed] {
                if let Some(cache) = Cache::new(bytes) {
                    cache.lookup(b"libx.so.1", x64);
                }
            }
        }
    }
    assert!(Cache::new(Vec::new()).is_none());
    assert!(Cache::new(b"ld.so-1.7.0\0\xff\xff\xff\xff".to_vec()).is_none());
}

/// A program that may be executed but not read is granted, and what is not known is told. Root reads everything, so
/// this is done by a copy of this test as another user.
#[test]
fn a_program_that_may_not_be_read() {
    const TOLD: &str = "PALISADE_TEST_UNREADABLE";
    if let Some(program) = std::env::var_os(TOLD) {
        let fault = find(&program).unwrap_err();
        assert_eq!(fault.kind, FaultKind::NotRunnable);
        assert!(fault.why.starts_with("may be executed but not read by this user"), "{}", fault.why);
        return;
    }
    let folder = Folder::new();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.file("secret", fs::read("/bin/ls").unwrap(), 0o111);
    // By cp: a file that this process wrote may be busy still, in the child of another test.
    let test = folder.0.join("test");
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&test).status().unwrap().success());
    let mut command = Command::new(test);
    command
        .current_dir("/")
        .env(TOLD, &program)
        .args(["--exact", "program::tests::a_program_that_may_not_be_read"]);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        use std::os::unix::process::CommandExt;
        command.gid(65534).uid(65534);
    }
    let done = command.output().unwrap();
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("1 passed"), "{done:?}");
}

#[test]
fn musl_searches_otherwise() {
    let folder = Folder::new();
    // A loader of musl's name, in a prefix of its own.
    let loader = folder.file("lib/ld-musl-x86_64.so.1", Forged::new().bytes(), 0o755);
    let leaf = folder.file("special/libleaf.so", Forged::new().bytes(), 0o755);
    let mut forged = Forged::new().needs("libc.musl-x86_64.so.1").needs("libleaf.so");
    forged.interp = [loader.as_os_str().as_bytes(), b"\0"].concat();
    let program = folder.file("program", forged.bytes(), 0o755);
    assert!(notes(&find(&program).unwrap()).starts_with("libleaf.so: "));
    // It would look in this file, which is the program's own and may be a link to anything: it grants nothing.
    let secret = folder.file("secret", leaf.parent().unwrap().as_os_str().as_bytes(), 0o600);
    fs::create_dir(folder.0.join("etc")).unwrap();
    std::os::unix::fs::symlink(&secret, folder.0.join("etc/ld-musl-x86_64.path")).unwrap();
    let found = find(&program).unwrap();
    assert_eq!(paths(&found, Role::Library), Vec::<&Path>::new());
    assert_eq!(paths(&found, Role::Data), Vec::<&Path>::new());
    assert!(notes(&found).starts_with("libleaf.so: "));
}

#[test]
fn a_file_that_is_swapped_is_not_opened() {
    let folder = Folder::new();
    let (program, secret) = (folder.file("program", "#!/bin/sh", 0o755), folder.file("secret", "#!", 0o600));
    let looked = Looked::at(&program).unwrap();
    assert!(looked.open(&program).is_ok());
    fs::rename(&secret, &program).unwrap();
    assert_eq!(looked.open(&program).unwrap_err().to_string(), CHANGED);
}

#[test]
fn files_that_the_kernel_makes_up_are_not_read() {
    for path in ["/proc/version", "/proc/self/maps", "/sys/kernel/uevent_seqnum"] {
        let why = Looked::at(Path::new(path)).map(drop).unwrap_err().unwrap();
        assert!(why.starts_with("lies where the kernel makes files up"), "{path}: {why}");
    }
    let folder = Folder::new();
    let program = folder.file("program", Forged::new().needs("/proc/version").bytes(), 0o755);
    assert!(!find(&program).unwrap().files.iter().any(|file| file.path.starts_with("/proc")));
}
