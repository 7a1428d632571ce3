//! Threads that change what another one is refused while it is refused it: the memory that has the path, and what is there
//! by that name. How many refusals are missed, and how many named wrongly. Every one has to be counted, in both ways of
//! explaining; for what was asked there is no more than what was in memory when it was read.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::errno::Errno;

use crate::expect::Said;
use crate::run::{How, Test};
use crate::sys;

/// So often a thread tries.
const TIMES: usize = 1000;
/// What threads race for.
const RACES: [&str; 2] = ["memory", "name"];

/// What COMMAND does, in its current folder: it prints how often each was refused.
pub fn run(race: &str) {
    match race {
        "memory" => memory(),
        "name" => name(),
        other => panic!("there is no race {other}"),
    }
}

/// One path of two is refused, and another thread writes now this and now that one over it.
fn memory() {
    let path = sys::Shared::new(*b"closed\0");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                path.set(*b"opened\0");
                path.set(*b"closed\0");
            }
        });
        let refused = (0..TIMES).filter(|_| path.open() == Err(Errno::EACCES)).count();
        over.store(true, Ordering::Relaxed);
        println!("{refused}");
    });
}

/// A file may be made and removed, and neither be written nor moved to another folder. Threads do all of it to one name.
fn name() {
    let tries: [fn() -> std::io::Result<()>; 5] = [
        || fs::File::options().write(true).create(true).truncate(false).open("free/name").map(drop),
        || fs::File::options().write(true).open("free/name").map(drop),
        || fs::remove_file("free/name"),
        || fs::rename("free/name", "free/other"),
        || fs::rename("free/name", "beside/name"),
    ];
    let refused = thread::scope(|scope| {
        let threads = tries.map(|operation| {
            scope.spawn(move || {
                let refused = |_: &usize| {
                    let errno = operation().err().and_then(|error| error.raw_os_error());
                    [Some(nix::libc::EACCES), Some(nix::libc::EXDEV)].contains(&errno)
                };
                (0..TIMES).filter(refused).count()
            })
        });
        threads.map(|thread| thread.join().expect("a thread")).iter().sum::<usize>()
    });
    println!("{refused}");
}

/// Each race once.
pub fn rounds(test: &Test, how: How, problems: &mut Vec<String>) {
    for race in RACES {
        let dir = tempfile::Builder::new().prefix("palisade-race-").tempdir().expect("a folder");
        let at = |name: &str| dir.path().canonicalize().expect("its path").join(name);
        for folder in ["free", "beside"] {
            fs::create_dir(at(folder)).expect("mkdir");
        }
        for file in ["opened", "closed"] {
            fs::write(at(file), "").expect("write");
            fs::set_permissions(at(file), fs::Permissions::from_mode(0o644)).expect("chmod");
        }
        let (out, said) = test.output();
        let option = |rights: &str, path: &Path| {
            let mut word = OsString::from(rights);
            word.push(path);
            [OsString::from("--allow"), word]
        };
        let mut command = Command::new(&test.programs.palisade);
        command.args(["run", "-q", "--best-effort", "--json", how.option(), "--output"]).arg(out);
        command.args(option("read_file:", &at("opened")));
        command.args(option("make_reg,remove_file:", &at("free")));
        command.args(option("make_reg:", &at("beside")));
        command.arg("--").arg(&test.programs.worker).args(["--race", race]);
        command.current_dir(dir.path()).env_clear().stdin(Stdio::null());
        let output = command.output().expect("palisade can be run");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let refused: usize = text.trim().parse().expect("a number");
        let of_start = |said: &Said| said.refusal.asked.contains("/proc/");
        let said: Vec<Said> = said().into_iter().filter(|said| !of_start(said)).collect();
        let times = |is: &dyn Fn(&Said) -> bool| -> usize {
            said.iter().filter(|said| is(said)).map(|said| said.times as usize).sum()
        };
        let named = times(&|_| true);
        let wrong = times(&|said| {
            let opened = said.refusal.path.as_deref() == Some(&at("opened"));
            opened || !["landlock", "cannot-say"].contains(&said.by.as_str())
        });
        let unsaid = times(&|said| said.by == "cannot-say");
        println!(
            "{how:?}, threads that race for the {race}: {refused} refused, {named} named, {wrong} of them wrongly, {unsaid} \
             times \"cannot say\""
        );
        if named != refused {
            problems.push(format!("{how:?}, {race}: {refused} refused, and {named} named: {said:#?}"));
        }
        let there_is_landlock = test.abi() > 0;
        if (refused == 0) == there_is_landlock {
            problems.push(format!("{how:?}, {race}: {refused} were refused"));
        }
    }
}
