//! Tables of what a policy file says, and of what may not be meant.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::keys::{KEYS, Key, Takes};
use super::locate::{self, Expanded, expand};
use super::parse::Word;
use super::*;

/// No variable is set but these.
fn variables(name: &str) -> Option<OsString> {
    match name {
        "HOME" => Some("/home/me".into()),
        "RUN" => Some("/run/user/1/".into()),
        "ODD" => Some(OsStr::from_bytes(b"/\xff").to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<PolicyFile> {
    PolicyFile::parse(text, Path::new("/srv/app"), &variables)
}

#[track_caller]
fn good(text: &str) -> PolicyFile {
    read(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[track_caller]
fn toml(text: &str) -> String {
    good(text).policy().to_toml_with(good(text).environment()).unwrap()
}

/// The mistakes, each as `LINE:COLUMN: MESSAGE; HINT`.
fn mistakes(text: &str) -> Vec<String> {
    let Err(error) = read(text) else { return Vec::new() };
    let said = |problem: &Problem| {
        let (line, column) = problem.place().unwrap();
        let hint = if problem.hint().is_empty() { String::new() } else { format!("; {}", problem.hint()) };
        format!("{line}:{column}: {}{hint}", problem.message())
    };
    error.problems().iter().map(said).collect()
}

/// Each key that takes a value, with the text that has to stand before it.
fn each_key(mut act: impl FnMut(&str, &'static Key)) {
    for key in KEYS {
        let Takes::Table(keys) = key.takes else {
            act("", key);
            continue;
        };
        for inner in keys {
            let Takes::Tables(keys) = inner.takes else {
                act(&format!("[{}]\n", key.name), inner);
                continue;
            };
            for last in keys {
                let others = [("paths", "paths = \"/usr\"\n"), ("rights", "rights = \"r\"\n")];
                let others = others.iter().filter(|(name, _)| *name != last.name).map(|(_, line)| *line);
                act(&format!("[[{}.{}]]\n{}", key.name, inner.name, others.collect::<String>()), last);
            }
        }
    }
}

#[test]
fn each_key_changes_what_the_file_says() {
    let mut keys = 0;
    each_key(|before, key| {
        let values: &[&str] = match (key.name, key.takes) {
            ("include", _) => &["\"dns\"", "[\"dns\"]"],
            (_, Takes::Abi) => &["4"],
            (_, Takes::Required) => &["[]", "\"udp\"", "\"everything\""],
            (_, Takes::Categories) => &["\"udp\""],
            (_, Takes::Paths) => &["\"/etc\"", "[\"/etc\"]", "{ bytes = [47, 255] }"],
            (_, Takes::Ports) => &["7", "\"7-9\"", "\"any\"", "[7]"],
            (_, Takes::Variables) => &["\"PATH\""],
            (_, Takes::Rights) => &["\"w\"", "\"ioctl_dev\""],
            (_, Takes::Flag) => &["true"],
            (_, Takes::Word(words)) => match words {
                ["unrestricted"] => &["\"unrestricted\""],
                ["file", "dir"] => &["\"file\"", "\"dir\""],
                _ => panic!("{words:?}: try them"),
            },
            _ => panic!("{}: try it", key.name),
        };
        // Without the key; of those that have to be there it is another value.
        let without = match key.name {
            "paths" => format!("{before}paths = \"/usr\"\n"),
            "rights" => format!("{before}rights = \"r\"\n"),
            _ => before.to_owned(),
        };
        let said = |text: &str| {
            let file = good(text);
            format!("{:?} {:?}", file.policy(), file.environment())
        };
        let mut all = vec![said(&without)];
        for value in values {
            let with = said(&format!("{before}{} = {value}\n", key.name));
            assert_ne!(with, all[0], "{before}{} = {value}", key.name);
            // A value alone and in a list are the same; all others differ.
            assert!(!all.contains(&with) || value.starts_with('['), "{before}{} = {value}", key.name);
            all.push(with);
        }
        keys += 1;
    });
    assert_eq!(keys, 21, "keys in the table");
}

#[test]
fn each_key_takes_its_own_type_and_no_other() {
    let values = [
        ("text", "\"x\""),
        ("a number", "7"),
        ("a number with a fraction", "1.5"),
        ("true or false", "true"),
        ("a date", "1979-05-27"),
        ("a list", "[]"),
        ("a list", "[[]]"),
        ("a number with a fraction", "[1.5]"),
        ("a table", "{}"),
    ];
    let wrong = |takes: Takes, kind: &str, value: &str| match takes {
        Takes::Abi => kind != "a number",
        Takes::Includes | Takes::Categories | Takes::Required | Takes::Variables => {
            kind != "text" && value != "[]"
        }
        Takes::Paths => kind != "text" && kind != "a table" && value != "[]",
        Takes::Ports => kind != "text" && kind != "a number" && value != "[]",
        Takes::Rights | Takes::Word(_) => kind != "text",
        Takes::Flag => kind != "true or false",
        Takes::Table(_) => kind != "a table",
        Takes::Tables(_) => kind != "a table" && value != "[]",
    };
    let check = |before: &str, key: &Key| {
        for (kind, value) in values {
            // Where one alone stands for a list, what is in a list is looked at.
            let whole = matches!(
                key.takes,
                Takes::Abi | Takes::Rights | Takes::Word(_) | Takes::Flag | Takes::Table(_)
            );
            let kind = if whole && value.starts_with('[') { "a list" } else { kind };
            let text = format!("{before}{} = {value}\n", key.name);
            let said = mistakes(&text);
            let of_type = said.iter().any(|said| {
                said.contains(&format!(": {} takes ", key.name))
                    && said.ends_with(&format!(", and this is {kind}"))
            });
            assert_eq!(of_type, wrong(key.takes, kind, value), "{text}{said:?}");
        }
    };
    each_key(check);
    KEYS.iter().filter(|key| matches!(key.takes, Takes::Table(_))).for_each(|key| check("", key));
    check("[fs]\n", &Key { name: "allow", takes: Takes::Tables(&[]), doc: "" });
    assert_eq!(mistakes("abi = \"6\""), ["1:7: abi takes a number, as 6, and this is text"]);
    assert_eq!(
        mistakes("[fs]\nro = [\"/etc\", 7]"),
        ["2:15: ro takes a list of paths, as [\"/etc\", \"~/.gitconfig\"], and this is a number"]
    );
}

#[test]
fn each_mistake_is_said_with_its_place_and_what_was_meant() {
    let bytes = "this is no path; a path that is no UTF-8 is { bytes = [47, 255] }, each from 1 to 255";
    let ports = "a port is a number from 0 to 65535, a range N-M, or any";
    let on_path =
        "is no right on a path; ports stand in [net], as connect_tcp = [443]; signal and abstract in [scope]";
    for (text, said) in [
        ("inlcude = []", "1:1: \"inlcude\" is no key of a policy; did you mean include?".to_owned()),
        ("\n  abi = 0", "2:9: \"0\" is no ABI version; a number from 1 to 11".to_owned()),
        ("abi = -1", "1:7: \"-1\" is no ABI version; a number from 1 to 11".to_owned()),
        ("require = [\"fs\", \"tpc\"]", "1:18: \"tpc\" is no category and no right; did you mean tcp?".to_owned()),
        ("require = \"all\"", "1:11: \"all\" is no category and no right; categories are fs, devices, unix, tcp, udp, net, abstract and signal".to_owned()),
        ("require = [\"everything\"]", "1:12: \"everything\" is no category and no right; categories are fs, devices, unix, tcp, udp, net, abstract and signal".to_owned()),
        ("unrestricted = \"sginal\"", "1:16: \"sginal\" is no category and no right; did you mean signal?".to_owned()),
        ("[fs]\nrox = \"/\"", "2:1: \"rox\" is no key of [fs]; did you mean ro?".to_owned()),
        ("[fs]\nread = \"/\"", "2:1: \"read\" is no key of [fs]; its keys are ro, rx, rw, rwx, allow".to_owned()),
        ("net.conect_tcp = 1", "1:5: \"conect_tcp\" is no key of [net]; did you mean connect_tcp?".to_owned()),
        ("[unix]\nbind = \"/x\"", "2:1: \"bind\" is no key of [unix]; its keys are connect".to_owned()),
        ("[scope]\nsignals = \"unrestricted\"", "2:1: \"signals\" is no key of [scope]; did you mean signal?".to_owned()),
        ("[scope]\nsignal = \"unrestriced\"", "2:10: \"unrestriced\" is no word for signal; did you mean unrestricted?".to_owned()),
        ("[scope]\nabstract = \"yes\"", "2:12: \"yes\" is no word for abstract; abstract takes \"unrestricted\"".to_owned()),
        ("[env]\nclaer = true", "2:1: \"claer\" is no key of [env]; did you mean clear?".to_owned()),
        ("[env]\npass = [\"PATH\", \"A=B\"]", "2:17: \"A=B\" is no name of a variable; as PATH, without a value".to_owned()),
        ("[env]\npass = \"\"", "2:8: \"\" is no name of a variable; as PATH, without a value".to_owned()),
        ("[fs]\nro = [\"\"]", "2:7: a path is empty; the folder of this file is \".\"".to_owned()),
        ("[fs]\nro = \"/\\u0000\"", "2:6: a path cannot contain a NUL byte".to_owned()),
        ("[fs]\nro = {}", format!("2:6: {bytes}")),
        ("[fs]\nro = { bytes = [] }", format!("2:6: {bytes}")),
        ("[fs]\nro = { bytes = [0] }", format!("2:6: {bytes}")),
        ("[fs]\nro = [\"/x\", { bytes = [256] }]", format!("2:13: {bytes}")),
        ("[fs]\nro = { bytes = [-1] }", format!("2:6: {bytes}")),
        ("[fs]\nro = { bytes = [\"a\"] }", format!("2:6: {bytes}")),
        ("[fs]\nro = { bytes = [47], more = 1 }", format!("2:6: {bytes}")),
        ("[fs]\nro = { byte = [47] }", format!("2:6: {bytes}")),
        ("[net]\nbind_tcp = 65536", "2:12: \"65536\" is no port; ".to_owned() + ports),
        ("[net]\nbind_tcp = -1", "2:12: \"-1\" is no port; ".to_owned() + ports),
        ("[net]\nbind_tcp = [1, \"x\"]", "2:16: \"x\" is no port; ".to_owned() + ports),
        ("[net]\nbind_udp = \"9-1\"", "2:12: the port range 9-1 is empty; did you mean 1-9?".to_owned()),
        ("[[fs.allow]]\nrights = \"r\"", "1:1: [[fs.allow]] has no paths; as paths = [\"/dev/tty\"]".to_owned()),
        ("[[fs.allow]]\npaths = \"/x\"\nrights = \"raed_file\"", "3:10: \"raed_file\" is no right; did you mean read_file?".to_owned()),
        ("[[fs.allow]]\npaths = \"/x\"\nrights = \"r,connect_tcp\"", format!("3:10: connect_tcp {on_path}")),
        ("[[fs.allow]]\npaths = \"/x\"\nrights = \"signal\"", format!("3:10: signal {on_path}")),
        ("[[fs.allow]]\npaths = \"/x\"\nrights = \"r\"\nkind = \"folder\"", "4:8: \"folder\" is no word for kind; kind takes \"file\" or \"dir\"".to_owned()),
        ("[[fs.allow]]\npaths = \"/x\"\nrights = \"r\"\nopt = true", "4:1: \"opt\" is no key of [[fs.allow]]; its keys are paths, rights, optional, kind".to_owned()),
        ("[fs]\nro = \"ä/${X}\"", "2:6: $ is here no variable; a variable is written ${NAME}, at the beginning of a path; $ itself is $$".to_owned()),
        ("[fs]\nro = [\"äöü\", \"${X}\"]", "2:14: ${X} is not set; set the variable, or write the path out".to_owned()),
        ("include = [\"nosuch-x\"]", String::new()),
    ] {
        let found = mistakes(text);
        match said.is_empty() {
            true => assert!(found[0].starts_with("1:12: there is no policy named \"nosuch-x\"; "), "{found:?}"),
            false => assert_eq!(found, [said], "{text}"),
        }
    }
}

#[test]
fn all_mistakes_are_said_at_once_from_the_top_to_the_end() {
    let text = "abi = 0\nx = 1\n[fs]\nro = [7, \"${X}\", \"\"]\nrw = \"../y\"\n[[fs.allow]]\npaths = 1\n[net]\nbind_tcp = [1, \"a\", 70000]\n[env]\nclear = 1\n";
    let places: Vec<String> =
        mistakes(text).iter().map(|said| said.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["1:7", "2:1", "4:7", "4:10", "4:18", "5:6", "6:1", "7:9", "9:16", "9:21", "11:9"]);
    // What is no TOML hides none of the rest, before it and after.
    let broken = format!("{}end =\n[fs\nlast = 1\n", text.replace("x = 1", "x ="));
    let found = mistakes(&broken);
    // But of a line that is broken, of which nobody knows what it would say.
    for said in mistakes(text).iter().filter(|said| !said.starts_with("2:")) {
        assert!(found.contains(said), "{said}: {found:#?}");
    }
    let syntax: Vec<&str> = found
        .iter()
        .filter_map(|said| said.split_once(": this is no TOML: "))
        .map(|(place, _)| place)
        .collect();
    assert_eq!(syntax, ["2:4", "12:6", "13:4"], "{found:#?}");
    assert!(found.iter().any(|said| said.starts_with("14:1: \"last\" is no key")), "{found:#?}");
    let duplicate = mistakes("[fs]\nro = \"/a\"\nro = 7\n");
    assert!(duplicate[0].starts_with("3:1: this is no TOML: duplicate key"), "{duplicate:?}");
    assert!(duplicate[0].ends_with("; it is there before: put all of it there"), "{duplicate:?}");
    let bracket = mistakes("[fs]\nro = [\"/etc/hosts\"\nrw = [\"/tmp\"]\n");
    assert_eq!(bracket.len(), 1, "{bracket:?}");
    assert!(bracket[0].ends_with("is a ] or a \" missing, here or in the line before?"), "{bracket:?}");
}

#[test]
fn one_alone_may_stand_for_a_list() {
    for (alone, list) in [
        ("include = \"dns\"", "include = [\"dns\"]"),
        ("require = \"udp\"", "require = [\"udp\"]"),
        ("unrestricted = \"udp\"", "unrestricted = [\"udp\"]"),
        ("fs.ro = \"/a\"", "fs.ro = [\"/a\"]"),
        ("fs.rw = { bytes = [0x2f, 0o377] }", "fs.rw = [{ bytes = [47, 255] }]"),
        ("net.bind_tcp = 1", "net.bind_tcp = [1]"),
        ("net.bind_tcp = \"1-2\"", "net.bind_tcp = [\"1-2\"]"),
        ("env.pass = \"A\"", "env.pass = [\"A\"]"),
        ("fs.allow = { paths = \"/a\", rights = \"r\" }", "[[fs.allow]]\npaths = [\"/a\"]\nrights = \"r\""),
    ] {
        assert_eq!(toml(alone), toml(list), "{alone}");
    }
}

#[test]
fn what_is_required_is_what_is_said() {
    let required = |text: &str| toml(text).lines().next().unwrap_or_default().to_owned();
    for (text, line) in [
        ("", "# Nothing is allowed."),
        ("require = []", "require = []"),
        ("require = \"everything\"", "require = \"everything\""),
        ("require = [\"tcp\", \"read_file\"]", "require = [\"read_file\", \"tcp\"]"),
    ] {
        assert_eq!(required(text), line, "{text}");
    }
}

#[test]
fn ports_are_numbers_ranges_and_any() {
    for (written, ports) in [
        ("0", "0"),
        ("65535", "65535"),
        ("\"443\"", "443"),
        ("\"0-65535\"", "0-65535"),
        ("\"8000-8010\"", "8000-8010"),
        ("\"any\"", "any"),
    ] {
        for key in ["connect_tcp", "bind_tcp", "connect_udp", "bind_udp"] {
            let file = good(&format!("net.{key} = {written}"));
            let What::Grant(Grant::Port { ports: granted, .. }) = file.stated().next().unwrap().what else {
                panic!("{key} = {written} grants no port")
            };
            assert_eq!(granted, ports.parse().unwrap(), "{key} = {written}");
        }
    }
}

#[test]
fn a_path_is_where_its_beginning_says() {
    let text = |path: &str| Word::Text(path.to_owned());
    for (word, path, relative) in [
        (text("/etc"), "/etc", false),
        (text("//etc/./x"), "//etc/./x", false),
        (text("."), "/srv/app", true),
        (text("./"), "/srv/app", true),
        (text("data"), "/srv/app/data", true),
        (text("./a/./b"), "/srv/app/a/b", true),
        (text("../x"), "/srv/app/../x", true),
        (text("~"), "/home/me", false),
        (text("~/"), "/home/me", false),
        (text("~/x"), "/home/me/x", false),
        (text("~//etc"), "/home/me/etc", false),
        (text("${HOME}/x"), "/home/me/x", false),
        (text("${RUN}"), "/run/user/1", false),
        (text("${RUN}/bus"), "/run/user/1/bus", false),
        (text("${RUN}//bus"), "/run/user/1/bus", false),
        (text("$$"), "/srv/app/$", true),
        (text("/$${HOME}"), "/${HOME}", false),
        (text("~/$$x"), "/home/me/$x", false),
        (text("./~"), "/srv/app/~", true),
        (Word::Bytes("/~/${HOME}$$".into()), "/~/${HOME}$$", false),
        (Word::Bytes("~".into()), "/srv/app/~", true),
        (Word::Bytes("${HOME}".into()), "/srv/app/${HOME}", true),
    ] {
        let expanded = expand(&word, Path::new("/srv/app"), &variables);
        assert_eq!(expanded, Ok(Expanded { path: PathBuf::from(path), relative }), "{word:?}");
    }
    let odd = expand(&text("${ODD}/x"), Path::new("/srv/app"), &variables).unwrap();
    assert_eq!(odd.path, Path::new(OsStr::from_bytes(b"/\xff/x")));
}

#[test]
fn the_users_policies_come_before_the_systems() {
    let folders = |config: Option<&str>, home: Option<&str>| {
        let of = |name: &str| match name {
            "XDG_CONFIG_HOME" => config.map(OsString::from),
            "HOME" => home.map(OsString::from),
            _ => None,
        };
        locate::folders(&of).iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    for (config, home, searched) in [
        (None, Some("/home/me"), "/home/me/.config/palisade /etc/palisade"),
        (Some("/conf"), Some("/home/me"), "/conf/palisade /etc/palisade"),
        (Some("/conf"), None, "/conf/palisade /etc/palisade"),
        (Some("conf"), Some("/home/me"), "/home/me/.config/palisade /etc/palisade"),
        (Some(""), Some("/home/me"), "/home/me/.config/palisade /etc/palisade"),
        (None, None, "/etc/palisade"),
        (None, Some(""), "/etc/palisade"),
        (None, Some("/"), "/etc/palisade"),
        (None, Some("home"), "/etc/palisade"),
        (None, Some("/home/../etc"), "/etc/palisade"),
    ] {
        assert_eq!(folders(config, home), searched, "{config:?} {home:?}");
    }
}

/// A folder with the home folder, one of programs, a file, and the policy in it.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["home/me/work", "bin", "policy", "d"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["policy/p.toml", "d/f"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        World { dir }
    }

    /// What is warned of, in which D stands for the folder.
    fn warnings(&self, text: &str) -> Vec<String> {
        let dir = self.dir.path().canonicalize().unwrap();
        let (shown, of) = (dir.display().to_string(), dir.clone());
        let variables = move |name: &str| match name {
            "HOME" => Some(of.join("home/me").into_os_string()),
            "PATH" => Some(format!("relative:{0}/none:{0}/bin", of.display()).into()),
            _ => None,
        };
        let file = PolicyFile::parse(&text.replace("D/", &format!("{shown}/")), &dir, &variables).unwrap();
        let stated: Vec<&Stated> = file.stated().collect();
        let policy = dir.join("policy/p.toml");
        let warnings = advice::warnings(&stated, &[&policy], &variables);
        let said = |warning: &Warning| {
            let Origin::Line { column, .. } = &warning.origin else { panic!("{warning}") };
            // As mistakes are, and shorter here.
            let text = warning.to_string();
            assert!(text.starts_with(&format!("{}:{column}: ", warning.origin)), "{text}");
            text.replacen(&format!(":{column}: "), ": ", 1).replace(&shown, "D")
        };
        warnings.iter().map(said).collect()
    }
}

#[test]
fn what_may_not_be_meant_is_warned_of_where_it_is_and_nowhere_else() {
    let world = World::new();
    let system = "/ is the whole system, with all keys and passwords in it; name the folders that are needed";
    let home = |is: &str| {
        format!(
            "{is} your whole home folder, with the keys, passwords and settings in it; name the folders that are needed"
        )
    };
    let proc = "/proc has what every process is, and the system's settings; name the files that are needed";
    let policy = |path: &str| {
        format!(
            "{path} has this policy in it (D/policy/p.toml): the program can change it, and do more the next time; keep it out of there (as in ~/.config/palisade, with ${{PWD}} in place of .), or name what is below"
        )
    };
    let programs = |path: &str| {
        format!(
            "{path} has programs in it that are found by PATH (D/bin): what the program puts there, others run unconfined"
        )
    };
    let letters = |path: &str, rights: &str| {
        format!(
            "{path} is a folder, and {rights} lets no file be made or removed in it; for that add the letter c"
        )
    };
    let missing = |path: &str| {
        format!(
            "{path} does not exist here; optional = true in [[fs.allow]] skips it; to have it made, grant its folder"
        )
    };
    let sockets = |path: &str| {
        format!(
            "{path} has the sockets of every daemon, some of which do for a program what it may not; name those that are needed"
        )
    };
    let trusted = |path: &str, what: &str| {
        format!(
            "{path} lets the program change {what}, by which others run what it writes, unconfined; name the folders that are needed"
        )
    };
    let allow =
        |rights: &str, path: &str| format!("fs.allow = [{{ rights = '{rights}', paths = '{path}' }}]");
    let none = Vec::new;
    for (text, said) in [
        ("fs.ro = '/'".to_owned(), vec![system.to_owned()]),
        ("fs.rwx = '/usr/..'".to_owned(), vec![system.to_owned()]),
        ("unix.connect = '/'".to_owned(), vec![sockets("/")]),
        (
            "unix.connect = ['/run', '/run/dbus']".to_owned(),
            vec![
                sockets("/run"),
                "/run/dbus gets nothing here that /run (policy.toml:1) does not give already".to_owned(),
            ],
        ),
        (
            "fs.rw = '~/.ssh'".to_owned(),
            vec![missing("D/home/me/.ssh"), trusted("D/home/me/.ssh", "D/home/me/.ssh")],
        ),
        (
            "fs.rw = '~/.config/autostart/x'".to_owned(),
            vec![
                trusted("D/home/me/.config/autostart/x", "D/home/me/.config/autostart"),
                missing("D/home/me/.config/autostart/x"),
            ],
        ),
        ("fs.ro = ['/etc', '/dev']".to_owned(), none()),
        ("fs.rw = '/etc'".to_owned(), vec![trusted("/etc", "/etc/passwd")]),
        ("fs.rw = '/dev'".to_owned(), vec![trusted("/dev", "/dev")]),
        ("fs.rw = '/dev/null'".to_owned(), none()),
        (allow("c", "d/f"), vec!["D/d/f is a file, to which nothing of this applies".to_owned()]),
        (
            "fs.ro = 'd/*.c'".to_owned(),
            vec!["D/d/*.c does not exist here; there are no patterns: name the folder".to_owned()],
        ),
        ("fs.ro = '~'".to_owned(), vec![home("D/home/me is")]),
        ("fs.ro = 'D/home'".to_owned(), vec![home("D/home has in it")]),
        ("fs.ro = ['~/work', 'd']".to_owned(), none()),
        ("fs.ro = '/proc'".to_owned(), vec![proc.to_owned()]),
        ("fs.ro = '/proc/sys/..'".to_owned(), vec![proc.to_owned()]),
        ("fs.ro = '/proc/cpuinfo'".to_owned(), none()),
        ("fs.rw = 'policy'".to_owned(), vec![policy("D/policy")]),
        ("fs.rw = 'policy/p.toml'".to_owned(), vec![policy("D/policy/p.toml")]),
        (allow("remove_file", "policy"), vec![policy("D/policy")]),
        ("fs.rx = 'policy'".to_owned(), none()),
        ("fs.rwx = 'bin'".to_owned(), vec![programs("D/bin")]),
        (allow("make_reg", "D/bin"), vec![programs("D/bin")]),
        ("fs.rx = 'bin'".to_owned(), none()),
        ("fs.rw = 'd'".to_owned(), none()),
        (allow("rw", "d"), vec![letters("D/d", "rw")]),
        (allow("w", "d"), vec![letters("D/d", "w")]),
        (allow("rwc", "d"), none()),
        (allow("rw,make_reg", "d"), none()),
        (allow("rw", "d/f"), none()),
        // By name it is meant.
        (allow("read_file,write_file", "d"), none()),
        ("fs.ro = 'none'".to_owned(), vec![missing("D/none")]),
        ("fs.ro = 'd/f/x'".to_owned(), vec![missing("D/d/f/x")]),
        ("fs.allow = [{ rights = 'r', paths = 'none', optional = true }]".to_owned(), none()),
    ] {
        let found = world.warnings(&text);
        let mut found: Vec<&str> = found.iter().map(|warning| warning.split_once(": ").unwrap().1).collect();
        let mut said: Vec<&str> = said.iter().map(String::as_str).collect();
        found.sort();
        said.sort();
        assert_eq!(found, said, "{text}");
    }
}

#[test]
fn what_gives_nothing_is_warned_of_once() {
    let world = World::new();
    for (text, said) in [
        (
            "fs.ro = 'd'\nfs.rw = 'd'",
            vec!["policy.toml:1: D/d gets nothing here that D/d (policy.toml:2) does not give already"],
        ),
        (
            "fs.rw = 'd'\nfs.ro = 'd/f'",
            vec!["policy.toml:2: D/d/f gets nothing here that D/d (policy.toml:1) does not give already"],
        ),
        (
            "fs.ro = ['d',\n'd/../d']",
            vec!["policy.toml:2: D/d/../d gets nothing here that D/d (policy.toml:1) does not give already"],
        ),
        ("fs.ro = 'd'\nfs.rx = 'd/f'", vec![]),
        ("fs.ro = 'd'\nunix.connect = 'd'", vec![]),
        // Its name begins alike.
        ("fs.ro = ['d', 'policy']", vec![]),
        ("net.bind_tcp = 1\nnet.connect_tcp = 1", vec![]),
        ("net.bind_tcp = 1\nnet.bind_udp = 1", vec![]),
        ("net.bind_tcp = ['1-9',\n3]", vec!["policy.toml:2: port 3 is allowed by policy.toml:1 already"]),
        ("net.bind_tcp = [3,\n'1-9']", vec!["policy.toml:1: port 3 is allowed by policy.toml:2 already"]),
        ("net.bind_tcp = [3,\n3]", vec!["policy.toml:2: port 3 is allowed by policy.toml:1 already"]),
        ("net.bind_tcp = ['1-3',\n'3-5']", vec![]),
        (
            "net.bind_tcp = ['1-3',\n'any']",
            vec!["policy.toml:1: port 1-3 is allowed by policy.toml:2 already"],
        ),
        (
            "include = 'dns'\nnet.connect_tcp = 53",
            vec!["policy.toml:2: port 53 is allowed by the preset dns already"],
        ),
        ("include = 'dns'\nnet.connect_tcp = 54", vec![]),
        ("include = ['dns', 'system', 'shared']", vec![]),
    ] {
        assert_eq!(world.warnings(text), said, "{text}");
    }
    let useless = world.warnings("include = 'system'\nfs.ro = '/usr'");
    assert_eq!(
        useless,
        ["policy.toml:2: /usr gets nothing here that the preset system (/usr) does not give already"]
    );
}
