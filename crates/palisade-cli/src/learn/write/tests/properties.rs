//! What holds of every file, whatever is added to it.

use std::collections::BTreeSet;

use palisade::{Grant, Preset, What};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

const FOLDERS: [&str; 9] = [
    "/palisade-test",
    "/palisade-test/app",
    "/palisade-test/app/src",
    "/palisade-test/u",
    "/palisade-test/u/.config",
    "/palisade-run/7",
    "/palisade-run/7/cache",
    "/palisade-test/$x",
    "/palisade-test/~",
];
const HOSTILE: [&[u8]; 20] = [
    b"\n",
    b"\r\n",
    b"a\n[net]\nconnect_tcp = \"any\"\n",
    b"\"]\nrw = [\"/",
    b"\"",
    b"'",
    b"'''",
    b"\"\"\"",
    b"#",
    b"# x",
    b"]",
    b"},",
    b"\\",
    b"\\u0041",
    b"~",
    b"${HOME}",
    b"$",
    b"\xff\n#",
    "\u{202e}\u{2028}\u{85}\u{7f}\u{1b}[2J".as_bytes(),
    "\u{feff}\u{1f600}e\u{301}".as_bytes(),
];

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        select(HOSTILE.as_slice()).prop_map(<[u8]>::to_vec),
        vec(select(HOSTILE.as_slice()), 1..4).prop_map(|parts| parts.concat()),
        "[a-z.]{1,50}".prop_map(String::into_bytes),
        vec(any::<u8>(), 1..6),
    ]
}

/// The name of a file.
fn any_name() -> impl Strategy<Value = OsString> {
    let fits = |name: &Vec<u8>| name != b"." && name != b".." && !name.contains(&0) && !name.contains(&b'/');
    any_bytes().prop_filter("no name", fits).prop_map(|name| OsStr::from_bytes(&name).to_owned())
}

fn any_comment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any_bytes().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        any::<String>(),
    ]
}

fn any_path_rights() -> impl Strategy<Value = Rights> {
    let groups = select(vec![Rights::RO, Rights::RX, Rights::RW, Rights::RWX, Rights::RESOLVE_UNIX]);
    let names = vec!["r", "w", "x", "c", "read_file", "execute", "ioctl_dev", "resolve_unix", "make_reg"];
    let exact = subsequence(names, 1..3).prop_map(|names| names.join(",").parse().unwrap());
    prop_oneof![groups, exact]
}

fn any_says() -> impl Strategy<Value = Says> {
    let path = (select(FOLDERS.as_slice()), vec(any_name(), 0..3), any_path_rights()).prop_map(
        |(folder, names, rights)| {
            let mut path = PathBuf::from(folder);
            path.extend(names);
            Says::Path { path, rights }
        },
    );
    let on_ports = [Rights::CONNECT_TCP, Rights::BIND_TCP, Rights::CONNECT_SEND_UDP, Rights::BIND_UDP];
    let ports = prop_oneof![
        (1..9_u16).prop_map(Ports::from),
        (1..9_u16, 0..9_u16).prop_map(|(first, more)| Ports::from(first..=first + more)),
        Just(Ports::ANY),
    ];
    let ports = (select(on_ports.to_vec()), ports).prop_map(|(right, ports)| Says::Ports { right, ports });
    let preset = select(Preset::ALL.to_vec()).prop_map(|preset| Says::Include(preset.name().to_owned()));
    let names = Rights::all().iter().collect::<Vec<_>>();
    let alone = subsequence(names, 1..4).prop_map(|rights| Says::Unrestricted(rights.into_iter().collect()));
    prop_oneof![6 => path, 2 => ports, 1 => preset, 1 => alone]
}

fn any_lines() -> impl Strategy<Value = Vec<Line>> {
    vec((any_says(), any_comment()).prop_map(|(what, comment)| Line { what, comment }), 0..12)
}

fn any_names() -> impl Strategy<Value = Names> {
    let folder = || select(FOLDERS.as_slice()).prop_map(PathBuf::from);
    let variables = vec((select(vec!["XDG_A", "XDG_B"]), folder()), 0..3).prop_map(|mut variables| {
        variables.dedup_by_key(|(name, _)| *name);
        variables.truncate(2);
        variables.into_iter().map(|(name, folder)| (name.to_owned(), folder)).collect()
    });
    let home = proptest::option::of(prop_oneof![4 => folder(), 1 => Just(PathBuf::from("/"))]);
    (folder(), folder(), any::<bool>(), home, variables)
        .prop_map(|(folder, dir, is_pwd, home, variables)| Names { folder, dir, is_pwd, home, variables })
}

/// What a policy grants, in no order.
fn granted(file: &PolicyFile) -> BTreeSet<String> {
    let stated = file.stated().map(|stated| match &stated.what {
        What::Grant(grant) => format!("{grant:?} {}", stated.optional),
        What::Preset(preset) => preset.name().to_owned(),
    });
    let words = file.policy().to_args().unwrap();
    let alone = words.iter().position(|word| word == "--unrestricted").map(|at| words[at + 1].clone());
    let alone = alone.map(|names| names.into_string().unwrap()).unwrap_or_default();
    let alone = alone.split(',').filter(|name| !name.is_empty());
    stated.chain(alone.flat_map(|name| names_of(Rights::named(name).unwrap()))).collect()
}

fn names_of(rights: Rights) -> Vec<String> {
    rights.names().map(|name| format!("{name} is left alone")).collect()
}

fn meant(lines: &[Line]) -> BTreeSet<String> {
    let meant = lines.iter().flat_map(|line| match &line.what {
        Says::Include(name) => vec![name.clone()],
        Says::Path { path, rights } => {
            vec![format!("{:?} false", Grant::Path { rights: *rights, path: path.clone() })]
        }
        Says::Ports { right, ports } => {
            vec![format!("{:?} false", Grant::Port { right: *right, ports: *ports })]
        }
        Says::Unrestricted(rights) => names_of(*rights),
    });
    meant.collect()
}

/// A file as somebody could have written it, by numbers: each decides how one thing looks.
struct Hand {
    numbers: std::vec::IntoIter<u8>,
    items: usize,
    comments: usize,
}

impl Hand {
    fn pick(&mut self, of: u8) -> u8 {
        self.numbers.next().unwrap_or(0) % of
    }

    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# number {} ], }} \"", self.comments)
    }

    fn maybe_comment(&mut self) -> String {
        if self.pick(2) == 0 { String::new() } else { format!("  {}", self.comment()) }
    }

    fn blank(&mut self) -> String {
        match self.pick(5) {
            0 => "\n".to_owned(),
            1 => format!("{}\n", self.comment()),
            2 => format!("\n  {}\n\n", self.comment()),
            _ => String::new(),
        }
    }

    fn item(&mut self, key: &str) -> String {
        self.items += 1;
        let number = self.items;
        match key {
            "include" => format!("'{}'", Preset::ALL[number % Preset::ALL.len()]),
            "unrestricted" => "\"truncate\"".to_owned(),
            "connect_tcp" | "bind_tcp" | "connect_udp" | "bind_udp" => match self.pick(3) {
                0 => format!("\"{number}-{}\"", number + 5),
                _ => number.to_string(),
            },
            _ => match self.pick(5) {
                0 => format!("'/old#,/{number}'"),
                1 => format!("\"\"\"\n/old,\\\"/{number}\"\"\""),
                2 => format!("{{ bytes = [47, 255, {}] }}", number % 200 + 48),
                _ => format!("\"/old/{number}\""),
            },
        }
    }

    fn list(&mut self, key: &str) -> String {
        let items: Vec<String> = (0..self.pick(4)).map(|_| self.item(key)).collect();
        match (self.pick(7), items.as_slice()) {
            (0, []) => "[]".to_owned(),
            (1, []) => "[ \n]".to_owned(),
            (_, []) => format!("[ {}\n\n {}\n  ]", self.comment(), self.comment()),
            (0, [one]) => one.clone(),
            (1, _) => format!("[{}]", items.join(", ")),
            (2, _) => format!("[ {} , ]", items.join(",")),
            (3, _) => format!("[{}\n{}\t]", self.maybe_comment(), self.rows(&items, "\t", true)),
            (4, _) => format!("[\n{}]", self.rows(&items, "  ", false)),
            (5, _) => format!("[{} {}\n , ]", items.join(", "), self.comment()),
            _ => {
                let rows = self.rows(&items, "", true);
                format!("[\n{rows}\n{}\n{}]", self.comment(), self.blank())
            }
        }
    }

    fn rows(&mut self, items: &[String], before: &str, comma: bool) -> String {
        let mut rows = String::new();
        for (at, item) in items.iter().enumerate() {
            let comma = if comma || at + 1 < items.len() { "," } else { "" };
            rows += &format!("{}{before}{item}{comma}{}\n", self.blank(), self.maybe_comment());
        }
        rows
    }

    fn entry(&mut self) -> Vec<(&'static str, String)> {
        let rights = ["\"r\"", "'read_file'", "\"rw,ioctl_dev\"", "\"execute\""][usize::from(self.pick(4))];
        let mut keys = vec![("paths", self.list("paths")), ("rights", rights.to_owned())];
        if self.pick(4) == 0 {
            keys.push(("optional", "true".to_owned()));
        }
        if self.pick(2) == 0 {
            keys.reverse();
        }
        keys
    }

    fn braces(&mut self, keys: &[(&str, String)]) -> String {
        let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        match self.pick(4) {
            0 => format!("{{ {}, }}", keys.join(", ")),
            1 => format!("{{\n{}}}", self.rows(&keys, "   ", false)),
            _ => format!("{{ {} }}", keys.join(", ")),
        }
    }

    fn file(mut self) -> String {
        let (mut top, mut sections) = (self.blank(), Vec::new());
        for key in ["include", "unrestricted"] {
            if self.pick(3) == 0 {
                top += &format!("{key} = {}{}\n{}", self.list(key), self.maybe_comment(), self.blank());
            }
        }
        for (table, keys) in [
            ("fs", &["ro", "rx", "rw", "rwx"][..]),
            ("net", &["connect_tcp", "bind_tcp", "connect_udp", "bind_udp"]),
            ("unix", &["connect"]),
            ("scope", &["signal", "abstract"]),
        ] {
            let mut said: Vec<(&str, String)> = Vec::new();
            for key in keys {
                if self.pick(2) == 0 {
                    let value = if table == "scope" { "'unrestricted'".to_owned() } else { self.list(key) };
                    said.push((key, value));
                }
            }
            let entries = if table == "fs" { self.pick(4) } else { 0 };
            let mut entries: Vec<_> = (0..entries).map(|_| self.entry()).collect();
            let form = self.pick(4);
            // In braces, with dots and in a list of braces where the number says so; else below headers.
            if !entries.is_empty() && (form == 0 || self.pick(4) == 0) {
                let entries: Vec<String> = entries.drain(..).map(|entry| self.braces(&entry)).collect();
                let list = match (entries.as_slice(), self.pick(2)) {
                    ([one], 0) => one.clone(),
                    _ => format!("[{}]", entries.join(", ")),
                };
                said.push(("allow", list));
            }
            match form {
                0 if said.is_empty() => {}
                0 => top += &format!("{table} = {}{}\n", self.braces(&said), self.maybe_comment()),
                1 => {
                    for (key, value) in said {
                        top += &format!("{table}.{key} = {value}{}\n{}", self.maybe_comment(), self.blank());
                    }
                }
                _ if said.is_empty() && self.pick(2) == 0 => {}
                _ => {
                    let mut section = format!("{}[{table}]{}\n", self.blank(), self.maybe_comment());
                    for (key, value) in said {
                        section += &format!("{key} = {value}{}\n{}", self.maybe_comment(), self.blank());
                    }
                    sections.push(section);
                }
            }
            let alone = entries.len() == 1 && self.pick(2) == 0;
            for entry in entries {
                let header = if alone { "[fs.allow]" } else { "[[fs.allow]]" };
                let mut section = format!("{}{header}{}\n", self.blank(), self.maybe_comment());
                for (key, value) in entry {
                    section += &format!("{key} = {value}{}\n{}", self.maybe_comment(), self.blank());
                }
                sections.push(section);
            }
        }
        if self.pick(3) == 0 {
            sections.reverse();
        }
        top + &sections.concat()
    }
}

fn any_old() -> impl Strategy<Value = String> {
    vec(any::<u8>(), 0..150)
        .prop_map(|numbers| Hand { numbers: numbers.into_iter(), items: 0, comments: 0 }.file())
}

/// The comments of a file in their order, each with what stands before it on its line: the last word, or its last sign.
fn comments(text: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = text.split("# number ").collect();
    let pairs = parts.windows(2).filter_map(|pair| {
        let number: String = pair[1].chars().take_while(char::is_ascii_digit).collect();
        let line = pair[0].rsplit('\n').next().unwrap_or_default();
        let before = line.trim().trim_end_matches(',').trim_end();
        let word = match before.ends_with([']', '}']) {
            true => &before[before.len() - 1..],
            false => before.rsplit([' ', '\t', '[']).next().unwrap_or_default(),
        };
        (!number.is_empty()).then(|| (number, word.to_owned()))
    });
    pairs.collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_new_file_grants_what_it_was_to_and_no_more(lines in any_lines(), head in any_comment(), names in any_names()) {
        let text = write("", &head, &lines, &names).unwrap();
        prop_assert_eq!(granted(&read(&text, &names)), meant(&lines), "{}", text);
    }

    #[test]
    fn comments_and_names_do_nothing(lines in any_lines(), head in any_comment(), old in any_old()) {
        let names = names();
        let text = write(&old, &head, &lines, &names).unwrap();
        let bare: Vec<Line> = lines.iter().map(|line| Line { comment: String::new(), ..line.clone() }).collect();
        let without = write(&old, "", &bare, &names).unwrap();
        let (said, bare) = (read(&text, &names), read(&without, &names));
        prop_assert_eq!(said.policy(), bare.policy(), "{}", text);
        let harmful = |c: &char| is_harmful(*c) && !matches!(c, '\n' | '\t');
        prop_assert_eq!(text.chars().find(harmful), None, "{}", text);
        for word in ["connect_tcp = \"any\"", "rw = [\"/\"]"] {
            prop_assert!(!text.lines().any(|line| line == word), "{}", text);
        }
    }

    #[test]
    fn a_file_that_is_there_keeps_all_and_gets_what_is_new(lines in any_lines(), old in any_old(), last in any::<bool>()) {
        let names = names();
        let mut old = old;
        if last && old.ends_with('\n') {
            old.pop();
        }
        let before = read(&old, &names);
        let text = write(&old, "", &lines, &names).unwrap();
        let both: BTreeSet<String> = granted(&before).union(&meant(&lines)).cloned().collect();
        prop_assert_eq!(granted(&read(&text, &names)), both, "{}\n-> {}", old, text);
        let (now, then) = (comments(&text), comments(&old));
        prop_assert_eq!(now.len(), then.len(), "{}\n-> {}", old, text);
        for ((now, beside), (then, was)) in now.iter().zip(&then) {
            // In braces that of one value alone is beside the list that it is now in.
            prop_assert!(now == then && (beside == was || beside == "]"), "{then}: {old}\n-> {text}");
        }
        prop_assert_eq!(write(&text, "", &lines, &names).unwrap(), text.clone(), "twice");
        // Lines are changed where what gets longer begins or ends, and nowhere else.
        let longer: BTreeSet<String> = lines.iter().flat_map(|line| said(&line.what, &names))
            .map(|(place, _)| format!("{place:?}")).collect();
        let changed = TextDiff::from_lines(&old, &text).iter_all_changes()
            .filter(|change| change.tag() == similar::ChangeTag::Delete).count();
        prop_assert!(changed <= 2 * longer.len(), "{}\n-> {}", old, text);
    }
}
