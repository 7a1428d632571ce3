//! The manual pages.

use std::fs;

use crate::common::{Ran, User, each_user, found};

/// The commands that `palisade --help` lists.
fn commands(user: &User) -> Vec<String> {
    let help = user.palisade(["--help"]).works().stdout.clone();
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Lines that go on are indented more.
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !["help", ""].contains(name)).map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_page() {
    each_user(|user| {
        user.palisade(["man", "--out", "share/man1"]).said(0, "", "");
        let page = |name: &str| fs::read_to_string(user.home().join("share/man1").join(name)).unwrap();
        user.palisade(["man"]).said(0, &page("palisade.1"), "");
        let commands = commands(user);
        assert!(commands.len() >= 5, "{commands:?}");
        for command in &commands {
            user.palisade(["man", command]).said(0, &page(&format!("palisade-{command}.1")), "");
        }
        let pages = fs::read_dir(user.home().join("share/man1")).unwrap().count();
        assert_eq!(pages, commands.len() + 1);
    });
}

#[test]
fn groff_has_nothing_to_warn_of() {
    if !found(&["groff"]) {
        return;
    }
    each_user(|user| {
        user.palisade(["man", "--out", "."]).said(0, "", "");
        for page in fs::read_dir(user.home()).unwrap() {
            let mut groff = user.command("groff");
            groff.args(["-man", "-ww", "-Tutf8"]).arg(page.unwrap().path());
            let ran = Ran::of(user, groff);
            assert!(ran.works().stdout.contains("palisade 0."), "{}", ran.stdout);
        }
    });
}

#[test]
fn what_is_no_command_and_where_nothing_can_be_written_is_said() {
    each_user(|user| {
        let ran = user.palisade(["man", "rnu"]);
        is_125(&ran, "\"rnu\" is no command; there are run, learn, why, status, ");
        let ran = user.palisade(["man", "\u{1b}[2J"]);
        is_125(&ran, "\"\\u{1b}[2J\" is no command");
        user.file("file", "");
        let ran = user.palisade(["man", "--out", "file/x"]);
        is_125(&ran, "file/x: cannot be written: Not a directory");
        is_125(&user.palisade(["man", "--out", "d", "run"]), "cannot be used with");
    });
}

fn is_125(ran: &Ran, message: &str) {
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
    assert!(ran.stderr.starts_with("palisade: ") && ran.stderr.contains(message), "{}", ran.stderr);
}
