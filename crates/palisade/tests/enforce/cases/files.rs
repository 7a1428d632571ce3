//! Files and directories: what is refused, what never is, and what an open descriptor keeps.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, openat, renameat2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, makedev, mknod, utimensat};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{AccessFlags, access, chdir, chown, chroot, fchdir, ftruncate, mkfifo, truncate};
use palisade::{Policy, Rights, path};

use super::unix;
use crate::harness::*;
use crate::sys;

cases![
    files_are_refused_without_a_rule,
    directory_opened_before_opens_nothing_new,
    opened_descriptors_keep_their_rights,
    descriptors_from_outside_keep_their_rights,
    hole_metadata_is_not_restricted,
    truncate_is_fixed_when_a_file_is_opened,
    truncate_right_travels_with_the_descriptor,
    truncating_when_opening_needs_truncate,
    creat_over_a_file_needs_write_file_and_truncate,
    rights_add_up_from_the_file_to_the_root,
    a_rule_below_takes_nothing_away,
    layers_intersect,
    a_file_replaced_by_rename_loses_its_rule,
    chroot_does_not_lead_out,
];

fn tree(d: &Path) {
    mkdir(d.join("sub"));
    mkdir(d.join("empty"));
    put(d.join("f"), "text");
    put(d.join("g"), "text");
    put(d.join("sub/h"), "text");
    symlink("f", d.join("link")).unwrap();
}

/// Nothing is allowed, everything is handled.
fn nothing(_: &Path) -> Policy {
    Policy::new()
}

pub fn read(name: &'static str, expect: Expect) -> Row {
    row(&format!("read {name}"), expect, move |d| fs::read(d.join(name)))
}

fn write(d: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).open(d)
}

/// Truncating is refused, where it can be.
const T: Expect = from(3, Errno::EACCES);

fn files_are_refused_without_a_rule() {
    let mut rows = vec![
        read("f", A),
        row("write", A, |d| write(&d.join("f"))),
        row("append", A, |d| OpenOptions::new().append(true).open(d.join("f"))),
        row("read through a link", A, |d| fs::read(d.join("link"))),
        row("list", A, |d| fs::read_dir(d)),
        row("truncate", T, |d| truncate(&d.join("f"), 0)),
        row("create", A, |d| File::create_new(d.join("new"))),
        row("create without a name", A, |d| open(d, OFlag::O_TMPFILE | OFlag::O_RDWR, Mode::S_IRWXU)),
        row("unlink", A, |d| fs::remove_file(d.join("f"))),
        row("rmdir", A, |d| fs::remove_dir(d.join("empty"))),
        row("mkdir", A, |d| fs::create_dir(d.join("new"))),
        row("rename", A, |d| fs::rename(d.join("f"), d.join("new"))),
        row("rename to another directory", A, |d| fs::rename(d.join("f"), d.join("sub/new"))),
        row("exchange", A, |d| {
            let (f, g) = (d.join("f"), d.join("g"));
            renameat2(AT_FDCWD, &f, AT_FDCWD, &g, RenameFlags::RENAME_EXCHANGE)
        }),
        row("link", A, |d| fs::hard_link(d.join("f"), d.join("new"))),
        row("symlink", A, |d| symlink("f", d.join("new"))),
        row("bind", A, |d| UnixListener::bind(d.join("new"))),
        row("mkfifo", A, |d| mkfifo(&d.join("new"), Mode::S_IRWXU)),
        row("mknod", A, |d| mknod(&d.join("new"), SFlag::S_IFREG, Mode::S_IRWXU, 0)),
    ];
    let device =
        |name, kind| row(name, A, move |d| mknod(&d.join("new"), kind, Mode::S_IRWXU, makedev(1, 3)));
    if is_root() {
        rows.push(device("mknod of a character device", SFlag::S_IFCHR));
        rows.push(device("mknod of a block device", SFlag::S_IFBLK));
    }
    check(tree, nothing, &rows);
}

fn directory_opened_before_opens_nothing_new() {
    let opened = |flags| {
        prepared("openat", A, move |d| {
            let dir = open(d, flags, Mode::empty()).unwrap();
            move || openat(&dir, "f", OFlag::O_RDONLY, Mode::empty())
        })
    };
    let beside = prepared("openat of the directory itself", A, |d| {
        let dir = open(d, OFlag::O_PATH, Mode::empty()).unwrap();
        move || openat(&dir, ".", OFlag::O_RDONLY, Mode::empty())
    });
    let rows = [opened(OFlag::O_RDONLY | OFlag::O_DIRECTORY), opened(OFlag::O_PATH), beside];
    check(tree, nothing, &rows);
}

fn opened_descriptors_keep_their_rights() {
    let opened = |d: &Path| OpenOptions::new().read(true).write(true).open(d.join("f")).unwrap();
    let again = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
    let rows = [
        prepared("read", WORKS, move |d| {
            let mut file = opened(d);
            move || file.read(&mut [0; 4])
        }),
        prepared("write", WORKS, move |d| {
            let mut file = opened(d);
            move || file.write(b"more")
        }),
        prepared("ftruncate", WORKS, move |d| {
            let file = opened(d);
            move || ftruncate(&file, 1)
        }),
        prepared("list", WORKS, |d| {
            let mut dir = Dir::open(d, OFlag::O_RDONLY, Mode::empty()).unwrap();
            move || dir.iter().try_for_each(|entry| entry.map(drop))
        }),
        prepared("map to execute", WORKS, move |d| {
            let file = opened(d);
            move || sys::map_executable(&file)
        }),
        // Opening it once more is opening its path.
        prepared("open again in /proc/self/fd", A, move |d| {
            let file = opened(d);
            move || File::open(again(&file))
        }),
        prepared("open again to write", A, move |d| {
            let file = opened(d);
            move || write(again(&file).as_ref())
        }),
    ];
    check(tree, nothing, &rows);
}

fn descriptors_from_outside_keep_their_rights() {
    let dir = fresh();
    tree(&dir);
    let (here, there) = unix::pair();
    unix::send_fd(&here, File::options().read(true).write(true).open(dir.join("f")).unwrap());
    works(confined(Policy::new(), || {
        let mut file = File::from(unix::receive_fd(&there));
        file.rewind()?;
        file.write_all(b"new")?;
        ftruncate(&file, 1)?;
        Ok::<(), std::io::Error>(())
    }));
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"n");
}

fn hole_metadata_is_not_restricted() {
    let c = |path: &Path| std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    let chroot_row = row("chroot", WORKS, chroot);
    let rows = [
        row("open with O_PATH", WORKS, |d| open(&d.join("f"), OFlag::O_PATH, Mode::empty())),
        row("stat", WORKS, |d| fs::metadata(d.join("f"))),
        row("lstat", WORKS, |d| fs::symlink_metadata(d.join("link"))),
        row("access", WORKS, |d| access(&d.join("f"), AccessFlags::R_OK | AccessFlags::W_OK)),
        row("stat of what is not there", WORKS, |d| fs::metadata(d.join("no"))).free(Errno::ENOENT),
        row("readlink", WORKS, |d| fs::read_link(d.join("link"))),
        row("statvfs", WORKS, statvfs),
        row("chdir", WORKS, |d| chdir(&d.join("sub"))),
        prepared("fchdir", WORKS, |d| {
            let dir = open(d, OFlag::O_PATH, Mode::empty()).unwrap();
            move || fchdir(&dir)
        }),
        row("chmod", WORKS, |d| fs::set_permissions(d.join("f"), fs::Permissions::from_mode(0o777))),
        row("fchmodat of a directory", WORKS, |d| {
            fchmodat(AT_FDCWD, &d.join("sub"), Mode::S_IRWXU, FchmodatFlags::FollowSymlink)
        }),
        row("chown", WORKS, |d| {
            chown(&d.join("f"), Some(nix::unistd::getuid()), Some(nix::unistd::getgid()))
        }),
        row("utime", WORKS, |d| {
            let zero = TimeSpec::new(0, 0);
            utimensat(AT_FDCWD, &d.join("f"), &zero, &zero, UtimensatFlags::FollowSymlink)
        }),
        // Not every file system has them.
        row("setxattr", WORKS, move |d| sys::setxattr(&c(&d.join("f")), c"user.palisade")).free_any(),
        row("getxattr", WORKS, move |d| sys::getxattr(&c(&d.join("f")), c"user.palisade")).free_any(),
        if is_root() { chroot_row } else { chroot_row.free(Errno::EPERM) },
        row("unshare", WORKS, |_| unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_FILES)),
        row("unshare of the user namespace", WORKS, |_| unshare(CloneFlags::CLONE_NEWUSER)).free_any(),
    ];
    check(tree, nothing, &rows);
}

/// Writing is allowed on `f`, truncating is not.
fn write_alone(d: &Path) -> Policy {
    Policy::new().rule(path(d.join("f")).rights(Rights::WRITE_FILE))
}

fn truncate_is_fixed_when_a_file_is_opened() {
    let rows = [
        row("open, then ftruncate", T, |d| ftruncate(write(&d.join("f"))?, 1).map_err(std::io::Error::from)),
        prepared("ftruncate of what was opened before", WORKS, |d| {
            let file = write(&d.join("f")).unwrap();
            move || ftruncate(&file, 1)
        }),
        row("truncate", T, |d| truncate(&d.join("f"), 1)),
    ];
    check(tree, write_alone, &rows);
}

fn truncate_right_travels_with_the_descriptor() {
    let dir = fresh();
    tree(&dir);
    let (here, there) = unix::pair();
    works(confined(write_alone(&dir), || {
        unix::send_fd(&there, &write(&dir.join("f"))?);
        Ok::<(), std::io::Error>(())
    }));
    // This process is free, but the descriptor was opened by one that was not.
    expected(T, ftruncate(unix::receive_fd(&here), 1));
    works(truncate(&dir.join("f"), 1));
}

fn truncating_when_opening_needs_truncate() {
    let cut = |expect| {
        row("O_RDONLY | O_TRUNC", expect, |d| {
            open(&d.join("f"), OFlag::O_RDONLY | OFlag::O_TRUNC, Mode::empty())
        })
    };
    let with = |rights| move |d: &Path| Policy::new().rule(path(d.join("f")).rights(rights));
    check(tree, with(Rights::READ_FILE), &[cut(T)]);
    check(tree, with(Rights::READ_FILE | Rights::WRITE_FILE), &[cut(T)]);
    check(tree, with(Rights::READ_FILE | Rights::TRUNCATE), &[cut(WORKS)]);
    check(tree, with(Rights::TRUNCATE), &[cut(A)]);
}

fn creat_over_a_file_needs_write_file_and_truncate() {
    let creat = |expect| row("creat", expect, |d| File::create(d.join("f")));
    let with = |rights| move |d: &Path| Policy::new().rule(path(d.join("f")).rights(rights));
    check(tree, with(Rights::WRITE_FILE), &[creat(T)]);
    check(tree, with(Rights::TRUNCATE | Rights::READ_FILE), &[creat(A)]);
    check(tree, with(Rights::WRITE_FILE | Rights::TRUNCATE), &[creat(WORKS)]);
    // A new one needs make_reg of its directory too.
    let new = |expect| row("creat", expect, |d| File::create(d.join("new")));
    let dir = |rights| move |d: &Path| Policy::new().rule(path(d).rights(rights));
    check(tree, dir(Rights::WRITE_FILE | Rights::TRUNCATE), &[new(A)]);
    check(tree, dir(Rights::MAKE_REG), &[new(A)]);
    check(tree, dir(Rights::WRITE_FILE | Rights::MAKE_REG), &[new(WORKS)]);
}

fn rights_add_up_from_the_file_to_the_root() {
    let policy = |d: &Path| Policy::new().ro(d).rule(path(d.join("sub/h")).rights(Rights::WRITE_FILE));
    let both = |name: &'static str, expect| {
        row(name, expect, move |d| OpenOptions::new().read(true).write(true).open(d.join(name)))
    };
    check(tree, policy, &[both("sub/h", WORKS), both("f", A), read("f", WORKS)]);
}

fn a_rule_below_takes_nothing_away() {
    let policy = |d: &Path| Policy::new().rw(d).rule(path(d.join("sub")).rights(Rights::READ_DIR));
    check(tree, policy, &[read("sub/h", WORKS), row("write", WORKS, |d| write(&d.join("sub/h")))]);
}

fn layers_intersect() {
    let first = |d: &Path| Policy::new().ro([d.join("f"), d.join("sub")]);
    let second = |d: &Path| Policy::new().ro([d.join("g"), d.join("sub")]);
    let write_too = |d: &Path| Policy::new().rw(d);
    let rows = [read("f", A), read("g", A), read("sub/h", WORKS)];
    check(tree, |d| [first(d), second(d)], &rows);
    let rows = [read("g", A), read("f", WORKS), row("write", A, |d| write(&d.join("f")))];
    check(tree, |d| [first(d), write_too(d)], &rows);
    check(tree, |d| [write_too(d), first(d)], &rows);
}

fn a_file_replaced_by_rename_loses_its_rule() {
    for (rule, expect) in [("f", A), ("", WORKS)] {
        let dir = fresh();
        tree(&dir);
        in_fork(|| {
            let outside = outside(|| fs::rename(dir.join("g"), dir.join("f")).unwrap());
            confine(&Policy::new().ro(dir.join(rule)));
            works(fs::read(dir.join("f")));
            outside.ask();
            expected(expect, fs::read(dir.join("f")));
        });
    }
}

fn chroot_does_not_lead_out() {
    if !is_root() {
        fails(Errno::EPERM, chroot("."));
        return;
    }
    let dir = fresh();
    tree(&dir);
    in_fork(|| {
        confine(&Policy::new().ro(dir.join("sub")));
        works(chroot(&dir));
        works(fs::read("/sub/h"));
        refused(Errno::EACCES, fs::read("/f"));
    });
}
