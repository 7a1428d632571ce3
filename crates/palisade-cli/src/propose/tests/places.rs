//! What is granted on a folder because the file is another one the next time, or never the last.

use super::*;

/// What is there, what the program has made since, what was refused, the options, and what is held.
type Row = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

fn hold(rows: &[Row]) {
    for (there, made, wanted, words, held) in rows {
        let system = System::new("/home/u/app").with(there).making(made);
        check(&format!("{wanted:?}"), &system, wanted, words, held);
    }
}

#[test]
fn what_the_program_has_made_is_named_by_its_folder() {
    const RUN: &[&str] = &["exec: execute,read_file:/home/u/app/a.out"];
    hold(&[
        (&["/home/u/app/a.out"], &[], RUN, "--rx /home/u/app/a.out", &[]),
        (&[], &["/home/u/app/a.out"], RUN, "--rx /home/u/app", &[]),
        (
            &[],
            &["/home/u/app/o/", "/home/u/app/o/b/", "/home/u/app/o/b/run"],
            &["exec: execute,read_file:/home/u/app/o/b/run"],
            "--rx /home/u/app",
            &[],
        ),
        (&[], &["/home/u/app/s"], &["resolve_unix:/home/u/app/s"], "--unix /home/u/app", &[]),
        (&[], &["/tmp/x1"], &["read_file:/tmp/x1"], "--preset tmp", &[]),
        // The folder would be a home, or one with a secret.
        (&[], &["/home/u/new"], &["read_file:/home/u/new"], "", &["wide /home/u"]),
        (
            &["/home/u/app/.env"],
            &["/home/u/app/new"],
            &["read_file:/home/u/app/new"],
            "",
            &["wide /home/u/app: keys and passwords of a project"],
        ),
    ]);
}

#[test]
fn what_is_gone_is_named_by_its_folder() {
    let system = System::new("/home/u/app");
    let proposal = |text: &str| system.propose(&all_wanted(&[text]));
    let options = proposal("exec: execute:/home/u/app/conftest").options;
    assert_eq!(quote::words(in_words(&options)), "--rx /home/u/app");
    let held = proposal("read_file:/home/u/gone").held;
    assert_eq!(held.iter().map(|(_, held)| reason(held)).collect::<Vec<_>>(), ["wide /home/u"]);
}

#[test]
fn folders_that_are_one_thing_are_granted_whole() {
    hold(&[
        (&[], &[], &["read_file:/home/u/app/.git/HEAD"], "--ro /home/u/app/.git", &[]),
        (&[], &[], &["read_dir:/home/u/app/.git/refs"], "--ro /home/u/app/.git", &[]),
        (&[], &[], &["read_file:/home/u/app/node_modules/a/b.js"], "--ro /home/u/app/node_modules", &[]),
        (&[], &[], &["read_file:/opt/py/lib/python3.12/os.py"], "--ro /opt/py/lib/python3.12", &[]),
        (&[], &[], &["read_file:/usr/share/perl/5.36.0/JSON/PP.pm"], "--ro /usr/share/perl", &[]),
        (
            &[],
            &[],
            &["read_file:/usr/lib/x86_64-linux-gnu/perl-base/strict.pm"],
            "--ro /usr/lib/x86_64-linux-gnu/perl-base",
            &[],
        ),
        (&[], &[], &["read_file:/sys/fs/cgroup/user.slice/s-3.scope/memory.max"], "--ro /sys/fs/cgroup", &[]),
        // A file, not a folder; to write; what is not one thing; and one with a secret.
        (&[], &[], &["read_file:/home/u/app/.git"], "--ro /home/u/app/.git", &[]),
        (&[], &[], &["write_file:/home/u/app/.git/config"], "--rw /home/u/app/.git/config", &[]),
        (&[], &[], &["read_file:/usr/lib/os-release"], "--ro /usr/lib/os-release", &[]),
        (&[], &[], &["read_file:/usr/lib/x86_64-linux-gnu/a.so"], "--ro /usr/lib/x86_64-linux-gnu/a.so", &[]),
        (
            &["/home/u/node_modules/.env"],
            &[],
            &["read_file:/home/u/node_modules/a/b.js"],
            "--ro /home/u/node_modules/a/b.js",
            &[],
        ),
    ]);
}
