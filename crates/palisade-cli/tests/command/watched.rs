//! A program and all it starts behave watched (`run --explain`) as unwatched. `watched.c` does what could differ.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Ran, User, each_user, found};

/// Compiles `watched.c` as `watched` in his folder.
pub fn helper(user: &User, options: &[&str]) {
    user.file("watched.c", include_str!("watched.c"));
    let mut cc = user.command("cc");
    cc.args(["-O1", "-Wall", "-Werror", "-pthread", "-o", "watched", "watched.c"]).args(options);
    Ran::of(user, cc).works();
}

/// So that nothing but COMMAND writes to standard error.
pub const EXPLAIN: [&str; 2] = ["--explain --output report", "--explain=live,exact --output report"];

/// `palisade run` with these options and words.
pub fn run(user: &User, options: &str, command: &[&str]) -> Ran {
    let options = ["-q", user.go_on()].into_iter().chain(options.split_whitespace());
    let options = options.filter(|word| !word.is_empty());
    let mut timeout = user.command("timeout");
    // What waits for ever has failed.
    timeout.args(["-s", "KILL", "200"]).arg(user.binary()).arg("run").args(options).arg("--").args(command);
    Ran::of(user, timeout)
}

/// It does the same watched and unwatched, which is returned.
#[track_caller]
pub fn alike(user: &User, options: &str, command: &[&str]) -> Ran {
    let plain = run(user, options, command);
    for explain in EXPLAIN {
        let watched = run(user, &format!("{explain} {options}"), command);
        let both = [&watched, &plain].map(|ran| (ran.status, ran.signal, &ran.stdout, &ran.stderr));
        assert_eq!(both[0], both[1], "{explain} {command:?} as {}", user.name);
    }
    plain
}

/// To end a thread takes a library that no program names (pthread_exit).
const OPTIONS: &str = "--preset shared --rw . --rx watched --unrestricted unix,abstract";

/// What `watched.c` says in this mode is the same watched and unwatched, and this.
#[track_caller]
fn says(user: &User, mode: &str, expected: &str) {
    let ran = alike(user, OPTIONS, &["./watched", mode]);
    ran.said(0, expected, "");
}

fn each(mode: &str, expected: &str) {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        says(user, mode, expected);
    });
}

#[test]
fn watched_calls_that_wait_are_interrupted_and_restarted_as_ever() {
    let mut expected = String::new();
    for (call, ended) in [("open", "exited 0"), ("read", "exited 0"), ("connect", "killed 9")] {
        expected += &format!("{call}, interrupted: EINTR\n{call}, interrupted: killed 9\n");
        expected += &format!("{call}, restarted: ok\n{call}, restarted: signals came\n");
        expected += &format!("{call}, restarted: {ended}\n");
    }
    each("interrupts", &expected);
}

#[test]
fn watched_calls_that_do_not_wait_are_not_interrupted() {
    each("timer", "not opened: 0\nrefused: 1000\nticks: some\n");
}

#[test]
fn watched_programs_get_what_comes_with_a_signal() {
    let queued = |value| format!("value: {value}\nfrom the child: yes\nby sigqueue: yes\nit: exited 0\n");
    let rest = "from a thread: yes\nby tgkill: yes\nbreakpoint: 1 times, of the kernel: yes\n";
    each("queued", &format!("{}{}{rest}", queued(4711), queued(4712)));
}

#[test]
fn watched_children_stop_and_go_on_and_end_for_their_parent() {
    let expected = "\
        stopped: code 5, status 19, of it: yes\n\
        to wait for more: ok\n\
        continued: code 6, status 18, of it: yes\n\
        stopped again: code 5, status 19, of it: yes\n\
        ended: code 1, status 7, of it: yes\n\
        another: code 5, status 19, of it: yes\n\
        killed while it is stopped: code 2, status 9, of it: yes\n\
        a third: code 5, status 19, of it: yes\n\
        ended by a signal that waited: code 2, status 15, of it: yes\n\
        a zombie: code 1, status 5, of it: yes\n\
        a zombie can be signalled: ok\n\
        a zombie still: code 1, status 5, of it: yes\n\
        it is gone: ESRCH\n\
        a child that nobody waits for: ECHILD\n";
    each("stops", expected);
}

#[test]
fn watched_threads_open_and_execute_and_outlive_the_first() {
    let expected = "\
        as expected: 9700\n\
        from a thread\n\
        a thread that executes: exited 11\n\
        from a thread\n\
        a thread that executes: exited 11\n\
        after the leader: ok\n\
        refused after the leader: EACCES\n\
        without its leader: exited 3\n";
    each("threads", expected);
}

#[test]
fn watched_processes_start_in_every_way() {
    let expected = "\
        started\n\
        vfork: exited 11\n\
        vfork that fails: exited 2\n\
        started\n\
        posix_spawn: exited 11\n\
        posix_spawn: ENOENT\n\
        clone: exited 4\n\
        clone with the same memory: exited 4\n\
        clone to be traced: exited 4\n\
        clone3: exited 4\n\
        one that ends with SIGUSR1: ECHILD\n\
        of a clone: ok\n\
        one that ends without a signal: ok\n\
        it exited 6\n";
    each("starts", expected);
}

#[test]
fn watched_programs_are_executed_or_fail_to_as_ever() {
    if !found(&["cc"]) {
        return;
    }
    let expected = "\
        nosuch: ENOENT\n\
        text: ENOEXEC\n\
        closed: EACCES\n\
        lost: ENOENT\n\
        below a file: ENOTDIR\n\
        a folder: EACCES\n\
        too long: E2BIG\n\
        no address: EFAULT\n\
        refused: EACCES\n\
        ./inner\n\
        a script of a script: exited 11\n\
        executed\n\
        execveat: exited 11\n\
        hidden, own: ok\n\
        hidden, refused: EACCES\n\
        a program that cannot be read: exited 0\n";
    each_user(|user| {
        helper(user, &[]);
        // It changes modes, which takes none of palisade's rights.
        let ran = alike(user, "--rw . --rx .", &["./watched", "executes"]);
        ran.said(0, expected, "");
    });
}

#[test]
fn watched_programs_may_hide_their_memory() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        says(user, "hidden", "hidden, own: ok\nhidden, refused: EACCES\n");
        let explained = user.run("--explain --rw . --rx watched -- ./watched hidden");
        assert!(explained.stderr.contains("watched ("), "{}", explained.stderr);
        for words in
            ["Whether palisade refused it cannot be said", "the program hides its memory from others"]
        {
            assert!(explained.stderr.contains(words), "{}", explained.stderr);
        }
    });
}

#[test]
fn watched_filters_of_the_programs_own_hold_as_ever() {
    let socket = "socket: EACCES\nsocket, once more: EACCES\n";
    let trace = format!("a filter that says trace: ok\n{socket}");
    let expected = format!(
        "a filter: ok\nmkdir: EROFS\nown: ok\nrefused: EACCES\n{trace}{trace}a filter that logs: ok\n\
         socket: EACCES\nin a thread, open: ok\nin a thread, socket: EACCES\n\
         a filter that says trace to open: ok\nown: ENOSYS\nrefused: ENOSYS\na filter that kills: killed 31\n"
    );
    each("filters", &expected);
}

#[test]
fn watched_calls_of_i386_do_the_same() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let mut free = user.command("./watched");
        free.arg("narrow");
        if Ran::of(user, free).signal.is_some() {
            assert!(std::env::var_os("CI").is_none(), "this needs a kernel with 32-bit system calls");
            return;
        }
        let expected = |listener| {
            format!(
                "own: ok\nrefused: EACCES\nmkdir: EEXIST\nsocket: EACCES\nsocket, tcp: ok\nsignal: ok\n\
                 listener: {listener}\n"
            )
        };
        let options = "--rw . --rx watched";
        run(user, options, &["./watched", "narrow"]).said(0, &expected("EINVAL"), "");
        for explain in EXPLAIN {
            let watched = run(user, &format!("{explain} {options}"), &["./watched", "narrow"]);
            watched.said(0, &expected("EBUSY"), "");
            let report = fs::read_to_string(user.home().join("report")).unwrap();
            assert!(report.contains("read /etc/passwd (read_file)"), "{report}");
        }
    });
}

#[test]
fn watched_thousands_of_processes_and_threads_run() {
    each("many", "as expected: 2000\n");
}

#[test]
fn watched_programs_that_are_static_do_the_same() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &["-static"]);
        for mode in ["queued", "stops", "threads", "starts", "filters"] {
            let ran = alike(user, "--rw . --rx watched", &["./watched", mode]);
            assert_eq!(ran.status, Some(0), "{mode}: {}", ran.stdout);
            assert!(!ran.stdout.contains("FAILED"), "{mode}: {}", ran.stdout);
        }
    });
}

#[test]
fn watched_languages_with_a_runtime_run_as_ever() {
    if !found(&["perl", "python3", "bash"]) {
        return;
    }
    let python = r#"
import concurrent.futures, multiprocessing, os, subprocess
def refused(_):
    try: open("/etc/passwd")
    except PermissionError: return 1
    return 0
with concurrent.futures.ThreadPoolExecutor(8) as pool: print(sum(pool.map(refused, range(200))))
print(subprocess.run(["sh", "-c", "exit 3"]).returncode, subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
children = [os.fork() for _ in range(1)]
if not children[0]: os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
try: os.waitpid(-1, 0)
except ChildProcessError: print("no more")
"#;
    let perl = r#"$| = 1; for (1..20) { fork || exit $_ } my $n = 0; while (wait > 0) { $n += $? >> 8 } print "$n\n";
        print open(my $f, "<", "/etc/passwd") ? "open" : $!, "\n"; print `echo out; exit 4`, $? >> 8, "\n";
        system "kill -15 \$\$"; print $?, "\n";"#;
    let bash = r#"exec 2>/dev/null; set -m; sleep 1000 & kill -STOP %1; kill -KILL %1; wait %1; echo $?; (exit 7) & wait $!; echo $?
        trap 'echo trapped' USR1; kill -USR1 $$; echo a | cat | cat; echo "${PIPESTATUS[@]}"; cat <(echo b) 2>&1"#;
    each_user(|user| {
        let python = alike(user, "--preset system --ro .", &["python3", "-c", python]);
        // The preset allows /etc/passwd, or not.
        assert!(python.stdout.ends_with("3 -9\n9\nno more\n"), "{} {}", python.stdout, python.stderr);
        let perl = alike(user, "--preset shared --rx /bin --rx /usr/bin", &["perl", "-e", perl]);
        perl.said(0, "210\nPermission denied\nout\n4\n15\n", "");
        let bash = alike(user, "--preset system --rw .", &["bash", "-c", bash]);
        assert!(bash.stdout.starts_with("137\n7\ntrapped\na\n0 0 0\n"), "{} {}", bash.stdout, bash.stderr);
    });
}

#[test]
fn watched_roots_and_user_namespaces_are_as_ever() {
    if !found(&["cc", "unshare"]) {
        return;
    }
    each_user(|user| {
        helper(user, &["-static"]);
        alike(user, "--preset system --rw . --rx watched", &["unshare", "-Ur", "./watched", "queued"]);
        alike(user, "--preset system --rw . --rx watched", &["unshare", "-Urpf", "./watched", "stops"]);
        if !user.is_root() {
            return;
        }
        user.folder("r");
        user.folder("r/etc");
        for name in ["watched", "watched.c"] {
            fs::copy(user.home().join(name), user.home().join("r").join(name)).unwrap();
        }
        fs::write(user.home().join("r/etc/passwd"), "").unwrap();
        fs::set_permissions(user.home().join("r/watched"), fs::Permissions::from_mode(0o755)).unwrap();
        let options = "--keep-caps sys_chroot --rx r/watched --ro r/watched.c";
        let inside = ["/usr/sbin/chroot", "r", "./watched", "filters"];
        let ran = alike(user, options, &inside);
        assert!(ran.stdout.contains("own: ok\nrefused: EACCES\n"), "{} {}", ran.stdout, ran.stderr);
        let report = fs::read_to_string(user.home().join("report")).unwrap();
        let path = user.home().join("r/etc/passwd");
        assert!(report.contains(&format!("--ro {}", path.display())), "{report}");
    });
}

/// Where somebody listens to filters already the kernel refuses what is closed.
#[test]
fn watched_below_a_listener_all_is_closed_too() {
    if !found(&["cc"]) {
        return;
    }
    each_user(|user| {
        helper(user, &[]);
        let binary = user.binary();
        let options = format!("--rw . --rx watched {}", user.go_on());
        let plain = run(user, &options, &["./watched", "filters"]);
        let mut listened = user.command("./watched");
        listened.arg("listened").arg(&binary).args(["run", "-q", "--explain", "--output", "report"]);
        listened.args(options.split_whitespace()).args(["--", "./watched", "filters"]);
        Ran::of(user, listened).said(0, &plain.stdout, "");
        let report = fs::read_to_string(user.home().join("report")).unwrap();
        // What is closed is not seen.
        assert!(!report.contains("socket"), "{report}");
        assert!(report.contains("read /etc/passwd (read_file)"), "{report}");
    });
}
