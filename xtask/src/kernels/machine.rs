//! Builds what runs in the virtual machines, and runs it there, or here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::fetch::Kernel;
use super::{Task, find};
use crate::emulate::As;
use crate::guest::{BEGIN, END, JOBS, OVERLAY};

/// A machine that has not reported by then never will. It boots in a few seconds.
const LIMIT: Duration = Duration::from_secs(20 * 60);
const TO_BOOT: Duration = Duration::from_secs(90);
/// Under emulation of the processor a kernel hangs or panics now and then while it boots.
const TRIES: u32 = 3;
/// The ABI that has it.
const TSYNC: u32 = 8;
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is built: linked statically, for it runs in bare systems.
pub struct Built {
    pub xtask: PathBuf,
    pub enforce: PathBuf,
    pub syscalls: PathBuf,
    pub model: PathBuf,
    pub command: PathBuf,
    pub explained: PathBuf,
    pub palisade: PathBuf,
}

impl Built {
    pub fn new(root: &Path) -> Result<Built> {
        let cargo = |args: &[&str]| -> Result<Vec<Value>> {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            cargo.current_dir(root).args(args).args(["--profile", "kernels", "--target", TARGET]);
            cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
            cargo
                .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static")
                .env_remove("CARGO_ENCODED_RUSTFLAGS");
            let built = cargo.output().context("running cargo")?;
            ensure!(built.status.success(), "building the tests failed");
            String::from_utf8(built.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
        };
        let tests =
            "--all-features --test enforce --test syscalls --test model --test command --test explained";
        let tests: Vec<&str> = tests.split(' ').collect();
        let mut messages =
            cargo(&[&["test", "--no-run", "-p", "palisade", "-p", "palisade-cli"][..], &tests].concat())?;
        messages.extend(cargo(&["build", "-p", "xtask"])?);
        let executable = |name: &str| -> Result<PathBuf> {
            let of = |message: &Value| {
                let file = message["executable"].as_str()?;
                (message["target"]["name"] == name).then(|| PathBuf::from(file))
            };
            messages.iter().find_map(of).with_context(|| format!("cargo built no {name}"))
        };
        Ok(Built {
            xtask: executable("xtask")?,
            enforce: executable("enforce")?,
            syscalls: executable("syscalls")?,
            model: executable("model")?,
            command: executable("command")?,
            explained: executable("explained")?,
            palisade: executable("palisade")?,
        })
    }
}

/// What all machines have: an initramfs, but for what is one machine's own, and a disk.
pub struct Image {
    initramfs: PathBuf,
    disk: PathBuf,
}

/// The programs that the tests of the command run, and what they need besides their libraries.
const PROGRAMS: [&str; 10] = ["sh", "bash", "env", "cp", "cat", "true", "sleep", "touch", "setpriv", "tmux"];
const FILES: [&str; 3] = ["/etc/ld.so.cache", "/etc/os-release", "/usr/lib/locale/C.utf8"];
const ACCOUNTS: [(&str, &str); 2] = [
    ("etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
];

impl Image {
    pub fn new(work: &Path, built: &Built) -> Result<Image> {
        let staged = work.join("staged");
        if staged.exists() {
            fs::remove_dir_all(&staged)?;
        }
        // Whether the machine's own /bin is one of /usr or not: in the image it is.
        for dir in ["bin", "sbin", "lib", "lib64"] {
            fs::create_dir_all(staged.join("usr").join(dir))?;
            symlink(format!("usr/{dir}"), staged.join(dir))?;
        }
        fs::create_dir(staged.join("etc"))?;
        let stage = |from: &Path, to: &Path| {
            let to = staged.join(to.strip_prefix("/").unwrap_or(to));
            fs::create_dir_all(to.parent().context("a path in the image")?)?;
            // Where links lead need not be in the image.
            ran(Command::new("cp").arg("-rL").arg(from).arg(&to))
        };
        stage(&built.xtask, Path::new("init"))?;
        stage(&built.enforce, Path::new("enforce"))?;
        stage(&built.syscalls, Path::new("syscalls"))?;
        stage(&built.model, Path::new("model"))?;
        stage(&built.command, Path::new("command"))?;
        stage(&built.explained, Path::new("explained"))?;
        stage(&built.palisade, Path::new("palisade"))?;
        let probe = work.join("probe");
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/palisade-cli/tests/command/probe.c");
        ran(Command::new("cc").args(["-O1", "-o"]).args([&probe, &source]).arg("-lutil"))?;
        stage(&probe, Path::new("probe"))?;
        let mut files = closure(&built.palisade, &probe)?;
        for name in PROGRAMS {
            let found =
                ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name)).into_iter().find(|f| f.exists());
            files.extend(closure(&built.palisade, &found.with_context(|| format!("{name} is missing"))?)?);
        }
        files.remove(&probe);
        for file in files.into_iter().chain(FILES.map(PathBuf::from)) {
            stage(&file, &file)?;
        }
        for (file, text) in ACCOUNTS {
            fs::write(staged.join(file), text)?;
        }

        let initramfs = work.join("initramfs.cpio");
        pack(&staged, &initramfs)?;
        let disk = work.join("disk.ext4");
        File::create(&disk)?.set_len(128 << 20)?;
        ran(Command::new(find("mkfs.ext4").context("mkfs.ext4 is missing")?).args(["-q", "-F"]).arg(&disk))?;
        Ok(Image { initramfs, disk })
    }
}

fn ran(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// The files that a program needs to start, as palisade itself finds them.
fn closure(palisade: &Path, program: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut dry = Command::new(palisade);
    let said = dry.args(["run", "--best-effort", "--dry-run", "--json", "--"]).arg(program).output()?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said: Value = serde_json::from_slice(&said.stdout)?;
    let files = said["command"]["files"].as_array().context("a dry run lists files")?;
    Ok(files.iter().filter_map(|file| Some(PathBuf::from(file["path"].as_str()?))).collect())
}

/// Packs a folder, as root's, into an archive that the kernel unpacks.
fn pack(dir: &Path, archive: &Path) -> Result<()> {
    let script = r#"cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 >"$2""#;
    ran(Command::new("sh").args(["-c", script, "sh"]).args([dir, archive]))
}

/// What came of a task's jobs: of each its exit status (None if it did not end) and what it said.
pub type Finished = BTreeMap<String, (Option<i32>, String)>;

/// Boots a kernel, which runs the jobs.
pub fn boot(image: &Image, kernel: &Kernel, append: &str, task: &Task, dir: &Path) -> Result<Finished> {
    let own = dir.join("own");
    fs::create_dir_all(&own)?;
    if let Some(module) = &kernel.overlay {
        fs::copy(module, own.join(OVERLAY.trim_start_matches('/')))?;
    }
    let jobs: String = task.jobs.iter().map(|(name, line)| format!("{name} {line}\n")).collect();
    fs::write(own.join(JOBS.trim_start_matches('/')), jobs)?;
    let initramfs = dir.join("initramfs.cpio");
    pack(&own, &initramfs)?;
    // The kernel unpacks one archive after the other.
    io::copy(&mut File::open(&image.initramfs)?, &mut OpenOptions::new().append(true).open(&initramfs)?)?;

    let (console, said) = (dir.join("console"), dir.join("jobs"));
    let mut qemu = Command::new("qemu-system-x86_64");
    // Never KVM: on some machines it starts and then fails.
    qemu.args("-accel tcg -cpu max -M pc -m 512 -display none -nodefaults -no-reboot".split(' '));
    // From TSYNC on it is the kernel that confines all threads, which has to be tried with some that really run at once;
    // before, it is the library, which is tried so on this machine. A second processor costs half as much again.
    qemu.args(["-smp", if matches!(task.expected, As::Abi(TSYNC..)) { "2" } else { "1" }]);
    for log in [&console, &said] {
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
    }
    // A kind of disk that these kernels know without a module.
    qemu.arg("-drive").arg(format!("file={},format=raw,if=none,id=disk,snapshot=on", image.disk.display()));
    qemu.args(["-device", "nvme,drive=disk,serial=disk"]);
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initramfs);
    qemu.args(["-append", &format!("console=ttyS0 panic=-1 quiet {append}")]).stdin(Stdio::null());
    let mut tries = 1;
    let ended = loop {
        let ended = watched(&mut qemu, &said)?;
        if tries == TRIES || fs::metadata(&said)?.len() > 0 {
            break ended;
        }
        tries += 1;
        eprintln!("{}: the kernel hung or died before it ran anything; try {tries} of {TRIES}", task.title);
    };
    fs::remove_file(&initramfs)?;
    let finished = read(&fs::read(&said)?);
    if !ended
        || task.jobs.iter().any(|(name, _)| finished.get(name).is_none_or(|(status, _)| status.is_none()))
    {
        let console = last_lines(&String::from_utf8_lossy(&fs::read(&console)?));
        let why = if ended { "ended before all jobs were done" } else { "did not report in time" };
        bail!(
            "the machine {why}; its last words:{console}\nand of its jobs:{}",
            last_lines(&String::from_utf8_lossy(&fs::read(&said)?))
        );
    }
    Ok(finished)
}

/// Whether the machine has ended by itself. It is ended if it does not say anything soon, or takes too long.
fn watched(qemu: &mut Command, said: &Path) -> Result<bool> {
    fs::write(said, "")?;
    let mut machine = qemu.spawn().context("running qemu-system-x86_64")?;
    let start = Instant::now();
    loop {
        if let Some(status) = machine.try_wait()? {
            ensure!(status.success(), "qemu-system-x86_64 failed ({status})");
            return Ok(true);
        }
        let late = start.elapsed() > LIMIT || start.elapsed() > TO_BOOT && fs::metadata(said)?.len() == 0;
        if late {
            machine.kill()?;
            machine.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    format!("\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
}

/// Takes apart what the guest's jobs have said.
fn read(said: &[u8]) -> Finished {
    let said = String::from_utf8_lossy(said).replace('\r', "");
    let mut finished = Finished::new();
    let mut name = None;
    for line in said.lines() {
        if let Some(begun) = line.strip_prefix(BEGIN) {
            name = Some(begun.to_owned());
            finished.insert(begun.to_owned(), (None, String::new()));
            continue;
        }
        let Some(job) = name.as_ref().and_then(|name| finished.get_mut(name)) else { continue };
        if let Some(ended) = line.strip_prefix(END) {
            job.0 = ended.rsplit(' ').next().and_then(|status| status.parse().ok());
            name = None;
        } else {
            job.1 += line;
            job.1.push('\n');
        }
    }
    finished
}

/// Runs the jobs on this machine.
pub fn here(task: &Task, dir: &Path) -> Result<Finished> {
    let mut finished = Finished::new();
    for (name, line) in &task.jobs {
        let log = dir.join(name);
        let output = File::create(&log)?;
        let path = format!("PATH={}", std::env::var("PATH").unwrap_or_default());
        let limit = LIMIT.as_secs().to_string();
        let mut job = Command::new("timeout");
        job.args(["-k", "5", &limit, "env", "-i", &path]).args(line.split_whitespace()).current_dir("/");
        let status = job.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).status()?;
        finished
            .insert(name.clone(), (status.code(), String::from_utf8_lossy(&fs::read(&log)?).into_owned()));
    }
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn what_jobs_say_is_told_apart() {
        let said = "noise\r\n@@ begin a\r\none\r\n@@ end a 0\r\n@@ begin b\r\ntwo @@ end b 0\r\n@@ end b 101\r\n@@ begin c\r\nthree";
        let finished = read(said.as_bytes());
        let job = |name: &str| finished.get(name).map(|(status, said)| (*status, said.as_str()));
        assert_eq!(job("a"), Some((Some(0), "one\n")));
        assert_eq!(job("b"), Some((Some(101), "two @@ end b 0\n")));
        // It did not end.
        assert_eq!(job("c"), Some((None, "three\n")));
        assert_eq!(job("d"), None);
    }
}
