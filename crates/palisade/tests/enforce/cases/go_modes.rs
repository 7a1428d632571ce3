//! The modes of shoenig's module: the letters, and what they do on a file or a directory.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::truncate;
use palisade::{Abi, Policy, Rule};

use crate::harness::*;

cases![
    mode_w_writes_and_does_not_read,
    mode_r_on_a_file_is_that_file_alone,
    mode_r_on_a_directory_is_that_subtree,
    mode_rw_neither_creates_nor_removes,
    mode_rwc_creates_and_removes,
    mode_rwc_on_a_file_does_not_remove_it,
    mode_links_lead_no_further,
];

fn tree(d: &Path) {
    for dir in ["in", "in/sub", "out"] {
        mkdir(d.join(dir));
    }
    for file in ["in/f", "in/sibling", "in/sub/deep", "out/secret"] {
        put(d.join(file), "text");
    }
    symlink("../out/secret", d.join("in/link")).unwrap();
    fs::hard_link(d.join("out/secret"), d.join("in/hard")).unwrap();
}

/// What that module has: ABI 3, one rule given as text, as in `d:rw` for `in`.
fn rule(mode: &'static str, path: &'static str) -> impl Fn(&Path) -> Policy {
    move |d| {
        let rule: Rule = format!("{mode}:{}", d.join(path).display()).parse().unwrap();
        Policy::for_abi(Abi::V3).rule(rule)
    }
}

fn read(path: &'static str, expect: Expect) -> Row {
    row(&format!("read {path}"), expect, move |d| fs::read(d.join(path)))
}

fn write(path: &'static str, expect: Expect) -> Row {
    row(&format!("write {path}"), expect, move |d| OpenOptions::new().write(true).open(d.join(path)))
}

fn cut(path: &'static str, expect: Expect) -> Row {
    row(&format!("truncate {path}"), expect, move |d| truncate(&d.join(path), 1))
}

fn create(path: &'static str, expect: Expect) -> Row {
    row(&format!("create {path}"), expect, move |d| File::create_new(d.join(path)))
}

fn remove(path: &'static str, expect: Expect) -> Row {
    row(&format!("remove {path}"), expect, move |d| fs::remove_file(d.join(path)))
}

/// Truncating is refused, where it can be.
const T: Expect = from(3, Errno::EACCES);

fn mode_w_writes_and_does_not_read() {
    let rows = [read("in/f", A), write("in/f", WORKS), cut("in/f", WORKS), write("out/secret", A)];
    check(tree, rule("f:w", "in/f"), &rows);
    check(tree, rule("d:w", "in"), &rows);
}

fn mode_r_on_a_file_is_that_file_alone() {
    let rows = [read("in/f", WORKS), read("in/sibling", A), write("in/f", A), cut("in/f", T)];
    check(tree, rule("f:r", "in/f"), &rows);
}

fn mode_r_on_a_directory_is_that_subtree() {
    let rows = [
        read("in/f", WORKS),
        read("in/sub/deep", WORKS),
        row("list in/sub", WORKS, |d| fs::read_dir(d.join("in/sub"))),
        read("out/secret", A),
        row("list out", A, |d| fs::read_dir(d.join("out"))),
        row("list the parent", A, |d| fs::read_dir(d)),
        write("in/f", A),
        cut("in/f", T),
    ];
    check(tree, rule("d:r", "in"), &rows);
}

fn mode_rw_neither_creates_nor_removes() {
    let rows = [
        read("in/f", WORKS),
        write("in/f", WORKS),
        cut("in/f", WORKS),
        create("in/new", A),
        remove("in/f", A),
    ];
    check(tree, rule("d:rw", "in"), &rows);
}

fn mode_rwc_creates_and_removes() {
    let rows = [
        create("in/new", WORKS),
        create("in/sub/new", WORKS),
        remove("in/f", WORKS),
        row("mkdir", WORKS, |d| fs::create_dir(d.join("in/dir"))),
        row("rename", X.before(2), |d| fs::rename(d.join("in/f"), d.join("in/sub/f"))),
        create("out/new", A),
        remove("out/secret", A),
    ];
    check(tree, rule("d:rwc", "in"), &rows);
}

fn mode_rwc_on_a_file_does_not_remove_it() {
    let rows = [
        read("in/f", WORKS),
        write("in/f", WORKS),
        remove("in/f", A),
        row("rename", A, |d| fs::rename(d.join("in/f"), d.join("in/new"))),
    ];
    check(tree, rule("f:rwc", "in/f"), &rows);
}

fn mode_links_lead_no_further() {
    let rows = [
        read("in/link", A),
        row("make a symbolic link", WORKS, |d| symlink("../out/secret", d.join("in/new"))),
        row("make a hard link", X, |d| fs::hard_link(d.join("out/secret"), d.join("in/new"))),
        read("in/hard", WORKS),
    ];
    check(tree, rule("d:rwc", "in"), &rows);
}
