//! Overlay file systems and their whiteouts.

use std::fs;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, mknod};
use palisade::{Kernel, Policy, Rights, path};

use super::mounts::private_mounts;
use crate::harness::*;

cases![
    overlay_is_apart_from_its_layers,
    overlay_removal_needs_no_right_to_make,
    whiteouts_are_devices_until_erratum_4_is_fixed,
];

/// Mounts an overlay on `merged`, for this process alone.
fn overlay(dir: &Path) -> nix::Result<()> {
    private_mounts()?;
    // Not every file system can be the upper layer.
    let on = dir.join("layers");
    mkdir(&on);
    mount(Some("none"), &on, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    for layer in ["lower", "upper", "work"] {
        mkdir(on.join(layer));
    }
    mkdir(dir.join("merged"));
    put(on.join("lower/f"), "");
    let layer = |name: &str| format!("{name}dir={}", on.join(name.trim_end_matches("dir")).display());
    let options = ["lower", "upper", "work"].map(layer).join(",");
    mount(Some("overlay"), &dir.join("merged"), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
}

/// Whether root can mount one here: the kernel may not have it.
pub fn can_overlay() -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    is_root() && forked(|| overlay(dir.path())).is_ok()
}

fn overlay_is_apart_from_its_layers() {
    for (granted, through_merged, through_lower) in
        [("merged", WORKS, A), ("layers/lower", A, WORKS), ("layers", A, WORKS)]
    {
        in_fork(|| {
            let dir = fresh();
            overlay(&dir).unwrap();
            confine(&Policy::new().ro(dir.join(granted)));
            expected(through_merged, fs::read(dir.join("merged/f")));
            expected(through_lower, fs::read(dir.join("layers/lower/f")));
        });
    }
}

/// The whiteout that takes the place of a file of the lower layer is the file system's, not the program's.
fn overlay_removal_needs_no_right_to_make() {
    for (granted, expect) in [(Rights::REMOVE_FILE, WORKS), (Rights::all() - Rights::REMOVE_FILE, A)] {
        in_fork(|| {
            let dir = fresh();
            overlay(&dir).unwrap();
            let granted = granted & (Rights::FS | Rights::DEVICES | Rights::UNIX);
            confine(&Policy::new().rule(path(dir.join("merged")).rights(granted)));
            expected(expect, fs::remove_file(dir.join("merged/f")));
        });
    }
}

/// What stands for a removed file in the layer of an overlay: a device of the number 0:0, which anybody may make.
fn whiteouts_are_devices_until_erratum_4_is_fixed() {
    let fixed = Kernel::probe().unfixed().all(|(number, _)| number != 4);
    for (granted, expect) in [(Rights::MAKE_CHAR, !fixed), (Rights::MAKE_REG, fixed)] {
        let expect = if expect { WORKS } else { A };
        let granted = move |dir: &Path| Policy::new().rule(path(dir).rights(granted));
        check(
            |_| (),
            granted,
            &[row("mknod", expect, |d| mknod(&d.join("w"), SFlag::S_IFCHR, Mode::empty(), 0))],
        );
    }
    // To leave one behind is part of a rename, which removes a file and makes one.
    let renamed = |dir: &Path| {
        let (from, to) = (dir.join("f"), dir.join("g"));
        renameat2(AT_FDCWD, &from, AT_FDCWD, &to, RenameFlags::RENAME_WHITEOUT)
    };
    let granted = |dir: &Path| Policy::new().rule(path(dir).rights(Rights::MAKE_REG | Rights::REMOVE_FILE));
    check(|dir| put(dir.join("f"), ""), granted, &[row("rename", WORKS, renamed)]);
}
