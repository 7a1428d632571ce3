//! Other processes, and what is never restricted at all.

use std::fs::{self, File};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::unistd::{Pid, getpid};
use palisade::{Policy, Rights};

use crate::harness::*;
use crate::sys;

cases![
    processes_outside_cannot_be_traced,
    processes_outside_hide_their_memory_and_files,
    hole_root_still_sees_the_memory_map_and_environment_outside,
    processes_of_the_same_sandbox_can_be_traced,
    a_nested_sandbox_cannot_trace_the_outer_one,
    confinement_cannot_be_undone,
    hole_keys_and_attributes_and_resources,
    hole_inotify_tells_what_may_not_be_listed,
    hole_system_v_ipc,
    hole_what_root_may_do_besides_files,
];

/// Refused wherever there is a sandbox.
const P: Expect = from(1, Errno::EPERM);

fn trace(pid: Pid) -> nix::Result<()> {
    ptrace::attach(pid)?;
    nix::sys::wait::waitpid(pid, None)?;
    ptrace::detach(pid, None)
}

/// Files of /proc may be read: what is then refused is not for lack of that.
fn proc(_: &Path) -> Policy {
    Policy::new().ro("/proc")
}

fn processes_outside_cannot_be_traced() {
    // A tracer outside would be the parent; this one is no relation but of the same user.
    let idle = idle();
    let pid = idle.0;
    let rows = |expect| {
        [
            row("ptrace", expect, move |_| trace(pid)),
            row("process_vm_readv", expect, move |_| sys::process_vm_readv(pid)),
        ]
    };
    check(|_| (), proc, &rows(P));
    // Whatever is restricted.
    check(|_| (), |_| Policy::new().unrestricted(Rights::all() - Rights::MAKE_SOCK), &rows(P));
    let net = |_: &Path| Policy::new().unrestricted(Rights::all() - Rights::NET);
    check(|_| (), net, &rows(from(4, Errno::EPERM)));
}

fn open(pid: Pid, name: &'static str, expect: Expect) -> Row {
    row(name, expect, move |_| File::open(format!("/proc/{pid}/{name}")))
}

fn link(pid: Pid, name: &'static str, expect: Expect) -> Row {
    row(name, expect, move |_| fs::read_link(format!("/proc/{pid}/{name}")))
}

fn processes_outside_hide_their_memory_and_files() {
    let idle = idle();
    let pid = idle.0;
    let mut rows = vec![
        open(pid, "mem", A),
        link(pid, "exe", A),
        link(pid, "cwd", A),
        link(pid, "root", A),
        link(pid, "ns/mnt", A),
        row("fd", A, move |_| fs::read_link(format!("/proc/{pid}/fd/0"))),
        row("a file below root", A, move |_| fs::metadata(format!("/proc/{pid}/root/."))),
        row("a file below cwd", A, move |_| fs::metadata(format!("/proc/{pid}/cwd/."))),
        // What is not secret stays to be seen.
        open(pid, "status", WORKS),
        open(pid, "cmdline", WORKS),
    ];
    if !is_root() {
        rows.extend([open(pid, "maps", A), open(pid, "environ", A), open(pid, "auxv", A)]);
    }
    check(|_| (), proc, &rows);
}

fn hole_root_still_sees_the_memory_map_and_environment_outside() {
    let idle = idle();
    let pid = idle.0;
    // A matter of the kernel's release, whatever its ABI: not so on 6.12, so on 6.18 and later.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let release: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    for file in ["maps", "environ"] {
        let read = || File::open(format!("/proc/{pid}/{file}"));
        works(forked(read));
        let got = confined(proc("".as_ref()), read);
        match release {
            (6, 13..18) => assert!(matches!(got, Ok(()) | Err(Errno::EACCES)), "{got:?}"),
            _ if is_root() && release >= (6, 18) => works(got),
            _ => refused(Errno::EACCES, got),
        }
    }
}

fn processes_of_the_same_sandbox_can_be_traced() {
    in_fork(|| {
        confine(&proc("".as_ref()));
        let inside = idle();
        works(trace(inside.0));
        works(fs::read(format!("/proc/{}/maps", inside.0)));
        works(fs::read_link(format!("/proc/{}/exe", inside.0)));
    });
}

fn a_nested_sandbox_cannot_trace_the_outer_one() {
    in_fork(|| {
        confine(&proc("".as_ref()));
        let outer = idle();
        let pid = outer.0;
        in_fork(|| {
            confine(&proc("".as_ref()));
            expected(P, trace(pid));
            refused(Errno::EACCES, fs::read_link(format!("/proc/{pid}/exe")));
        });
    });
}

fn confinement_cannot_be_undone() {
    let dir = fresh();
    put(dir.join("f"), "");
    in_fork(|| {
        confine(&Policy::new());
        refused(Errno::EACCES, fs::read(dir.join("f")));
        // Neither a policy that allows more, nor a new session, nor other privileges.
        confine(&Policy::new().rwx("/"));
        refused(Errno::EACCES, fs::read(dir.join("f")));
        confine(&Policy::new().unrestricted(Rights::FS));
        refused(Errno::EACCES, fs::read(dir.join("f")));
        nix::unistd::setsid().unwrap();
        refused(Errno::EACCES, fs::read(dir.join("f")));
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).is_ok() {
            refused(Errno::EACCES, fs::read(dir.join("f")));
        }
    });
}

fn hole_keys_and_attributes_and_resources() {
    let rows = [
        row("add_key", WORKS, |_| sys::add_key()).free_any(),
        row("prctl", WORKS, |_| nix::sys::prctl::set_name(c"other")),
        row("sched_setaffinity", WORKS, |_| {
            let all = nix::sched::sched_getaffinity(getpid())?;
            nix::sched::sched_setaffinity(getpid(), &all)
        }),
        row("umask", WORKS, |_| Ok::<_, Errno>(nix::sys::stat::umask(nix::sys::stat::Mode::empty()))),
        row("memfd_create", WORKS, |_| {
            nix::sys::memfd::memfd_create("m", nix::sys::memfd::MFdFlags::empty())
        }),
        row("userfaultfd", WORKS, |_| sys::descriptor(libc::SYS_userfaultfd, 1)).free_any(),
    ];
    check(|_| (), |_| Policy::new(), &rows);
}

fn hole_inotify_tells_what_may_not_be_listed() {
    let rows = [row("inotify", WORKS, |d| {
        let inotify = nix::sys::inotify::Inotify::init(nix::sys::inotify::InitFlags::empty())?;
        inotify.add_watch(d, nix::sys::inotify::AddWatchFlags::IN_CREATE)
    })];
    check(|_| (), |_| Policy::new(), &rows);
}

fn hole_system_v_ipc() {
    // Made outside, and never opened by the program that is confined.
    let Ok(memory) = sys::SharedMemory::new() else { return };
    let id = memory.0;
    check(|_| (), |_| Policy::new(), &[row("shmat", WORKS, move |_| sys::attach(id))]);
}

/// Harmless ones alone; loading modules and rebooting are not tried, but are as free as these.
fn hole_what_root_may_do_besides_files() {
    let private =
        || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS | nix::sched::CloneFlags::CLONE_NEWNET);
    let rows = [
        row("unshare", WORKS, move |_| private()),
        row("sethostname in a namespace of its own", WORKS, move |_| {
            private()?;
            nix::unistd::sethostname("palisade")
        }),
        row("bpf", WORKS, |_| sys::bpf_map()),
    ];
    if is_root() {
        check(|_| (), |_| Policy::new(), &rows);
    } else {
        check(|_| (), |_| Policy::new(), &rows.map(Row::free_any));
    }
}
