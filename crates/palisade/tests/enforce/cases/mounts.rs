//! Mounts: none can be made or changed, and rules hold in all that were made before.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid, pivot_root};
use palisade::{Policy, Rights};

use crate::harness::*;
use crate::sys;

cases![
    mounts_cannot_be_changed,
    mounts_cannot_be_changed_even_where_all_files_are_granted,
    mounts_are_free_without_a_layer_on_files,
    bind_mounts_show_the_same_rules,
];

/// Mounts of its own for this process: as root, or as an ordinary user in a user namespace.
pub fn private_mounts() -> nix::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    let user = if is_root() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    unshare(CloneFlags::CLONE_NEWNS | user)?;
    if !is_root() {
        let write = |file, text: String| fs::write(file, text).map_err(|e| e.errno());
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

/// Whether that can be had here.
pub fn can_mount() -> bool {
    forked(private_mounts).is_ok()
}

pub fn bind_mount(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

fn tree(d: &Path) {
    for dir in ["a", "b", "m", "n"] {
        mkdir(d.join(dir));
    }
    put(d.join("a/f"), "");
}

fn tmpfs(on: &Path) -> nix::Result<()> {
    mount(Some("none"), on, Some("tmpfs"), MsFlags::empty(), None::<&str>)
}

/// Operations in a process with mounts of its own, and a tmpfs on `m`.
fn rows(expect: Expect) -> Vec<Row> {
    let can = can_mount();
    let row = |name: &str, operation: fn(&Path) -> nix::Result<()>| {
        let row = prepared(name, expect, move |d| {
            let d = d.to_owned();
            if can {
                private_mounts().unwrap();
                tmpfs(&d.join("m")).unwrap();
                mkdir(d.join("m/old"));
            }
            move || operation(&d)
        });
        // An ordinary user without namespaces is refused by the kernel's first look.
        if can { row } else { row.free(Errno::EPERM) }
    };
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_NOEXEC;
    let mut rows = vec![
        row("mount", |d| tmpfs(&d.join("n"))),
        row("bind mount", |d| bind_mount(&d.join("a"), &d.join("b"))),
        row("move", move |d| {
            mount(Some(&d.join("m")), &d.join("n"), None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        }),
        row("umount", |d| umount2(&d.join("m"), MntFlags::MNT_DETACH)),
        row("move_mount", |d| sys::mount_by_descriptor(&d.join("n"))),
    ];
    rows.push(prepared("remount", expect, move |d| {
        let d = d.to_owned();
        if can {
            private_mounts().unwrap();
            tmpfs(&d.join("m")).unwrap();
        }
        move || mount(None::<&str>, &d.join("m"), None::<&str>, remount, None::<&str>)
    }));
    if !can {
        rows.pop();
    }
    // Not where the first file system is an initramfs, which cannot be exchanged.
    rows.push(row("pivot_root", |d| pivot_root(&d.join("m"), &d.join("m/old"))).free_any());
    rows
}

/// Refused wherever files are restricted.
const P: Expect = from(1, Errno::EPERM);

fn mounts_cannot_be_changed() {
    check(tree, |_| Policy::new(), &rows(P));
}

fn mounts_cannot_be_changed_even_where_all_files_are_granted() {
    check(tree, |_| Policy::new().rwx("/"), &rows(P));
    // One right on files is enough.
    check(tree, |_| Policy::new().unrestricted(Rights::all() - Rights::MAKE_SOCK), &rows(P));
}

fn mounts_are_free_without_a_layer_on_files() {
    check(tree, |_| Policy::new().unrestricted(Rights::all() - Rights::NET - Rights::SIGNAL), &rows(WORKS));
}

fn bind_mounts_show_the_same_rules() {
    let can = can_mount();
    // b is a; what is read is a/f and b/f.
    for (granted, through_a, through_b) in [("a", WORKS, WORKS), ("b", WORKS, WORKS), ("b/..", WORKS, WORKS)]
    {
        in_fork(|| {
            let dir = fresh();
            tree(&dir);
            if !can {
                fails(Errno::EPERM, bind_mount(&dir.join("a"), &dir.join("b")));
                return;
            }
            private_mounts().unwrap();
            bind_mount(&dir.join("a"), &dir.join("b")).unwrap();
            confine(&Policy::new().ro(dir.join(granted)));
            expected(through_a, fs::read(dir.join("a/f")));
            expected(through_b, fs::read(dir.join("b/f")));
        });
    }
    // What is mounted below a directory belongs to it; where it came from does not.
    in_fork(|| {
        if !can {
            return;
        }
        let (dir, elsewhere) = (fresh(), fresh());
        tree(&dir);
        put(elsewhere.join("f"), "");
        private_mounts().unwrap();
        bind_mount(&elsewhere, &dir.join("b")).unwrap();
        confine(&Policy::new().ro(&dir));
        works(fs::read(dir.join("b/f")));
        refused(Errno::EACCES, fs::read(elsewhere.join("f")));
    });
}
