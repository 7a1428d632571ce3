//! Policy files: what is exchanged between reading one and enforcing it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use palisade::{Policy, PolicyFile};

use crate::harness::*;

cases![
    link_put_in_the_way_after_a_file_was_read_is_an_error,
    link_to_read_is_followed_where_it_leads_then,
    policy_of_a_file_is_enforced,
];

/// A file that says this in a folder that has the folder d and the file d/f in it, and the folder outside beside it.
fn policy(text: &str) -> (PathBuf, PolicyFile) {
    let dir = fresh();
    for folder in ["policy", "policy/d", "outside"] {
        mkdir(dir.join(folder));
    }
    put(dir.join("policy/d/f"), "inside");
    put(dir.join("outside/f"), "outside");
    let file = dir.join("policy/p.toml");
    put(&file, text);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    (dir, PolicyFile::read(file).expect("a policy"))
}

/// Puts a link in the place of what is there.
fn exchange(place: &Path, to: &Path) {
    fs::rename(place, place.with_extension("away")).unwrap();
    symlink(to, place).unwrap();
}

fn link_put_in_the_way_after_a_file_was_read_is_an_error() {
    let rules = [
        "fs.rw = 'd/f'",
        "fs.rwx = 'd/f'",
        "fs.allow = [{ paths = 'd/f', rights = 'w' }]",
        // That it may be missing does not let it lead elsewhere.
        "fs.allow = [{ paths = 'd/f', rights = 'write_file', optional = true, kind = 'file' }]",
        "fs.allow = [{ paths = 'd/f', rights = 'r,ioctl_dev' }]",
        "unix.connect = 'd/f'",
    ];
    // The last part, one in the middle, the folder of the policy itself; to what is outside, inside, or nowhere.
    for (place, to) in [
        ("policy/d/f", "outside/f"),
        ("policy/d", "outside"),
        ("policy", "policy.away"),
        ("policy/d", "policy/d.away"),
        ("policy/d/f", "outside/none"),
    ] {
        for rule in rules {
            let (dir, file) = policy(rule);
            exchange(&dir.join(place), &dir.join(to));
            if abi() == 0 {
                continue;
            }
            in_fork(|| {
                let error = file.policy().clone().best_effort().enforce().expect_err("an error");
                assert_eq!(error.errno(), Some(libc::ELOOP), "{rule}: {error}");
                assert_eq!(error.path(), Some(dir.join("policy/d/f").as_path()));
                assert!(
                    error.to_string().contains("has become a symbolic link, or leads through one"),
                    "{rule}: {error}"
                );
                // Nothing was confined.
                works(fs::write(dir.join("outside/f"), "free"));
            });
        }
    }
    // Joined with a rule of the program's own on the same path it is refused all the same.
    let (dir, file) = policy("fs.rw = 'd/f'");
    let place = dir.join("policy/d/f");
    exchange(&place, &dir.join("outside/f"));
    if abi() > 0 {
        let joined = Policy::new().rw(&place).join(file.policy().clone());
        let error = joined.best_effort().enforce().expect_err("an error");
        assert_eq!(error.errno(), Some(libc::ELOOP), "{error}");
    }
}

fn link_to_read_is_followed_where_it_leads_then() {
    let (dir, file) = policy("fs.ro = 'd/f'");
    exchange(&dir.join("policy/d/f"), &dir.join("outside/f"));
    in_fork(|| {
        confine(file.policy());
        works(fs::read(dir.join("outside/f")));
        refused(Errno::EACCES, fs::write(dir.join("outside/f"), ""));
        refused(Errno::EACCES, fs::read(dir.join("policy/p.toml")));
    });
}

fn policy_of_a_file_is_enforced() {
    let (dir, file) = policy("fs.rw = 'd'\nfs.ro = '../outside'");
    in_fork(|| {
        confine(file.policy());
        works(fs::write(dir.join("policy/d/new"), ""));
        works(fs::read(dir.join("outside/f")));
        refused(Errno::EACCES, fs::write(dir.join("outside/f"), ""));
        refused(Errno::EACCES, fs::write(dir.join("policy/p.toml"), ""));
        refused(Errno::EACCES, fs::read(dir.join("policy/p.toml")));
    });
}
