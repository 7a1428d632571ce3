//! Renames and links across directories.

use std::fs;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use palisade::{Policy, Rights, path};

use crate::harness::*;

cases![
    refer_is_needed_at_source_and_destination,
    refer_is_not_needed_within_a_directory,
    refer_left_alone_is_refused_all_the_same,
    refer_without_a_layer_on_files_is_free,
    refer_comes_after_make_and_remove,
    refer_moves_directories_too,
    refer_lets_no_file_gain_rights,
];

fn tree(d: &Path) {
    for dir in ["a", "b", "a/dir"] {
        mkdir(d.join(dir));
    }
    for file in ["a/f", "a/g", "b/other"] {
        put(d.join(file), "");
    }
}

fn across(expect: Expect) -> Vec<Row> {
    vec![
        row("rename", expect, |d| fs::rename(d.join("a/f"), d.join("b/f"))),
        row("link", expect, |d| fs::hard_link(d.join("a/f"), d.join("b/f"))),
        row("exchange", expect, |d| {
            let (f, other) = (d.join("a/f"), d.join("b/other"));
            renameat2(AT_FDCWD, &f, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE)
        }),
    ]
}

fn within(expect: Expect) -> Vec<Row> {
    vec![
        row("rename within", expect, |d| fs::rename(d.join("a/f"), d.join("a/new"))),
        row("replace within", expect, |d| fs::rename(d.join("a/f"), d.join("a/g"))),
        row("link within", expect, |d| fs::hard_link(d.join("a/f"), d.join("a/new"))),
    ]
}

/// All of files but refer.
const ALL: fn() -> Rights = || Rights::FS - Rights::REFER;

fn with_refer_on(dirs: &'static [&'static str]) -> impl Fn(&Path) -> Policy {
    move |d| {
        let both = Policy::new().rule(path([d.join("a"), d.join("b")]).rights(ALL()));
        dirs.iter().fold(both, |policy, dir| policy.rule(path(d.join(dir)).rights(Rights::REFER)))
    }
}

fn refer_is_needed_at_source_and_destination() {
    check(tree, with_refer_on(&[]), &across(X));
    check(tree, with_refer_on(&["a"]), &across(X));
    check(tree, with_refer_on(&["b"]), &across(X));
    check(tree, with_refer_on(&["a", "b"]), &across(X.before(2)));
    check(tree, with_refer_on(&["."]), &across(X.before(2)));
}

fn refer_is_not_needed_within_a_directory() {
    check(tree, with_refer_on(&[]), &within(WORKS));
    let two = |d: &Path| Policy::new().rule(path(d.join("a")).rights(Rights::MAKE_REG | Rights::REMOVE_FILE));
    check(tree, two, &within(WORKS));
}

fn refer_left_alone_is_refused_all_the_same() {
    let alone = |d: &Path| Policy::new().unrestricted(Rights::REFER).rule(path(d).rights(ALL()));
    check(tree, alone, &across(X));
    // Also where hardly anything of files is restricted, and neither making nor removing.
    let all_but = |right: Rights| move |_: &Path| Policy::new().unrestricted(Rights::all() - right);
    check(tree, all_but(Rights::READ_FILE), &across(X));
    check(tree, all_but(Rights::READ_FILE), &within(WORKS));
    let plan =
        Policy::new().unrestricted(Rights::REFER).best_effort().plan(&palisade::Kernel::probe()).unwrap();
    assert_eq!(plan.notes().any(|note| note.starts_with("refer: ")), abi() > 0, "{plan}");
}

fn refer_without_a_layer_on_files_is_free() {
    check(tree, |_| Policy::new().unrestricted(Rights::all() - Rights::NET), &across(WORKS));
    check(tree, |_| Policy::new().unrestricted(Rights::all() - Rights::SIGNAL), &across(WORKS));
}

fn refer_comes_after_make_and_remove() {
    let lacking = |right: Rights, dir: &'static str| {
        move |d: &Path| {
            let other = if dir == "a" { "b" } else { "a" };
            Policy::new()
                .rule(path(d.join(dir)).rights(ALL() - right))
                .rule(path(d.join(other)).rights(ALL()))
        }
    };
    // EACCES wins over EXDEV.
    check(tree, lacking(Rights::MAKE_REG, "b"), &across(A));
    check(tree, lacking(Rights::REMOVE_FILE, "a"), &[across(A).remove(0), across(A).remove(2)]);
    check(tree, lacking(Rights::REMOVE_FILE, "a"), &[across(X).remove(1)]);
}

fn refer_moves_directories_too() {
    let mv = |expect| row("rename", expect, |d| fs::rename(d.join("a/dir"), d.join("b/dir")));
    check(tree, with_refer_on(&["."]), &[mv(X.before(2))]);
    check(tree, with_refer_on(&["a"]), &[mv(X)]);
    let no_dirs = |d: &Path| Policy::new().rule(path(d).rights(Rights::FS - Rights::MAKE_DIR));
    check(tree, no_dirs, &[mv(A)]);
}

fn refer_lets_no_file_gain_rights() {
    // Where it goes everything is allowed; where it is, one right less.
    for right in [Rights::EXECUTE, Rights::READ_FILE, Rights::WRITE_FILE] {
        let policy = move |d: &Path| {
            Policy::new()
                .rule(path(d.join("a")).rights(Rights::FS - right))
                .rule(path(d.join("b")).rights(Rights::FS))
        };
        check(tree, policy, &across(X));
        let back = move |d: &Path| {
            Policy::new()
                .rule(path(d.join("a")).rights(Rights::FS))
                .rule(path(d.join("b")).rights(Rights::FS - right))
        };
        check(tree, back, &across(X.before(2))[..2]);
    }
}
