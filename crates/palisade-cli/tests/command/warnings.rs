//! What is warned of, where files of a policy and of others are what matters.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{User, each_user};

/// The warnings of `check`, without what is in front.
fn warnings(user: &User, policy: &str) -> Vec<String> {
    let ran = user.palisade(["check", policy]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let home = format!("{}/", user.home().display());
    ran.stderr.lines().map(|line| line.replace("palisade: warning: ", "").replace(&home, "")).collect()
}

#[test]
fn what_a_program_can_change_to_do_more_the_next_time_is_warned_of() {
    each_user(|user| {
        for folder in ["sub", "p", "p/out", "p/out/bin", "bin", ".config", ".config/palisade"] {
            user.folder(folder);
        }
        let change = |line: &str, what: &str, file: &str| {
            format!(
                "{line}: {what} has this policy in it ({file}): the program can change it, and do more the next time; keep it \
                 out of there (as in ~/.config/palisade, with ${{PWD}} in place of .), or name what is below"
            )
        };
        // What is included, and a name that is a link.
        user.file("sub/inc.toml", "");
        user.file("p.toml", "include = './sub/inc.toml'\nfs.rw = 'sub'\n");
        assert_eq!(warnings(user, "p.toml"), [change("p.toml:2:9", "sub", "sub/inc.toml")]);
        user.file(
            "bin/real.toml",
            "fs.rw = '../sub'\n".replace("../sub", &user.home().join("sub").display().to_string()).as_str(),
        );
        symlink("../bin/real.toml", user.home().join("sub/link.toml")).unwrap();
        assert_eq!(warnings(user, "sub/link.toml"), [change("sub/link.toml:1:9", "sub", "sub/link.toml")]);
        assert!(warnings(user, "bin/real.toml").is_empty());
        // A ceiling.
        user.file("sub/ceiling.toml", "include = 'system'\n");
        let ran = user.run("--preset system --rw sub --within sub/ceiling.toml -- true");
        let said = format!(
            "palisade: warning: {}\n",
            change("--rw sub", "sub", &user.home().join("sub/ceiling.toml").display().to_string())
        );
        ran.said(0, "", &said);
        user.run("--preset system --rw bin --within sub/ceiling.toml -- true").said(0, "", "");
        // A name that would be found before.
        user.file("p.toml", "include = './sub/inc.toml'\nfs.rwx = 'sub'\n");
        user.file(".config/palisade/mine.toml", "fs.rw = '~/.config/palisade'\n");
        assert_eq!(
            warnings(user, "mine")
                .iter()
                .map(|said| said.contains(".config/palisade/mine.toml)"))
                .collect::<Vec<_>>(),
            [true]
        );
        // A preset.
        let preset = "p.toml:1:12: the preset tmp lets the program change this policy (p.toml), and do more the next time; keep it \
                      elsewhere";
        user.file("p.toml", "include = ['tmp']\n");
        let in_tmp = user.home().canonicalize().unwrap().starts_with("/tmp");
        assert_eq!(warnings(user, "p.toml"), if in_tmp { vec![preset.to_owned()] } else { vec![] });
        // A link in the place of what has more rights.
        user.file("p.toml", "include = 'system'\nfs.rw = 'p/out'\nfs.rx = ['p/out/bin', 'bin']\n");
        let replaced = "p.toml:3:10: p/out/bin can be replaced by the program, by p/out (p.toml:2): with a link to anything, which \
                        has these rights the next time; keep it elsewhere";
        assert_eq!(warnings(user, "p.toml"), [replaced]);
    });
}

#[test]
fn pass_without_clear_is_warned_of_and_what_is_denied_fails() {
    each_user(|user| {
        user.file("p.toml", "[env]\npass = ['PATH']\n");
        let said = "p.toml:1:1: without clear = true all variables pass, and pass says nothing";
        assert_eq!(warnings(user, "p.toml"), [said]);
        let denied = user.palisade(["check", "--deny-warnings", "p.toml"]);
        assert_eq!((denied.status, denied.stdout.as_str()), (Some(1), "p.toml: valid, with 1 warning\n"));
        user.file("p.toml", "[env]\nclear = true\npass = ['PATH']\n");
        user.palisade(["check", "--deny-warnings", "p.toml"]).said(0, "p.toml: valid\n", "");
        fs::remove_file(user.home().join("p.toml")).unwrap();
        assert_eq!(user.palisade(["check", "p.toml"]).status, Some(125));
        user.file("p.toml", "x = 1\n");
        let json: serde_json::Value =
            serde_json::from_str(&user.palisade(["check", "--json", "p.toml", "offline"]).stdout).unwrap();
        assert_eq!(json[0]["problems"][0]["line"], 1);
        assert_eq!((&json[0]["valid"], &json[1]["valid"]), (&false.into(), &true.into()));
    });
}
