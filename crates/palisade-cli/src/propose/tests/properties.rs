//! What holds of every proposal, whatever was refused.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

const FOLDERS: &[&str] = &[
    "/",
    "/tmp",
    "/tmp/x",
    "/etc",
    "/etc/fonts",
    "/etc/ssl",
    "/usr/share/app",
    "/usr/share/app/a",
    "/home/u",
    "/home/u/.config",
    "/home/u/.config/app",
    "/home/u/.ssh",
    "/home/u/.cargo",
    "/srv/app",
    "/srv/app/a",
    "/srv/app/b",
    "/srv/app/c",
    "/srv/app/d",
    "/srv/app/a/deep",
    "/srv",
    "/var/lib/app",
    "/proc",
    "/data",
    "/run/user/1000",
    "/home/u/Documents",
    "/dev",
    "/srv/secret",
    "/srv/app/.git",
    "/srv/app/.git/refs",
    "/home/u/node_modules",
    "/opt/py/lib/python3.12",
    "/usr/share/app2/a",
    "/sys/fs/cgroup/a",
];
const FILES: &[&str] = &[
    "1",
    "2",
    "3",
    "4",
    "5",
    "id_rsa",
    ".env",
    "known_hosts",
    "credentials.toml",
    "shadow",
    "bus",
    "a b",
    "tty",
];
/// Whole paths of which presets have some.
const OTHERS: &[&str] = &[
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/passwd",
    "/etc/group",
    "/usr/bin/ls",
    "/usr/bin/cc",
    "/usr/lib/x.so",
    "/usr/lib/y.so",
    "/usr/share/zoneinfo/UTC",
    "/etc/localtime",
    "/proc/stat",
    "/proc/meminfo",
    "/dev/tty",
    "/dev/pts/3",
    "/dev/null",
    "/proc/7/stat",
    "/run/docker.sock",
    "/etc/ssl/certs/a.pem",
    "/etc/ssl/openssl.cnf",
];

fn any_rights(of: &'static [&'static str]) -> impl Strategy<Value = Rights> {
    subsequence(of, 1..=of.len().min(3)).prop_map(|names| names.join(",").parse().unwrap())
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let on_folder = any_rights(&[
        "read_dir",
        "make_reg",
        "make_dir",
        "remove_file",
        "write_file",
        "read_file",
        "refer",
        "execute",
        "make_char",
        "truncate",
    ]);
    let on_file =
        || any_rights(&["read_file", "write_file", "truncate", "execute", "ioctl_dev", "resolve_unix"]);
    let folder =
        (on_folder, select(FOLDERS)).prop_map(|(rights, path)| Grant::Path { rights, path: path.into() });
    let listed = select(FOLDERS).prop_map(|path| Grant::Path { rights: Rights::READ_DIR, path: path.into() });
    let file = (on_file(), select(FOLDERS), select(FILES))
        .prop_map(|(rights, folder, name)| Grant::Path { rights, path: Path::new(folder).join(name) });
    let read = (select(FOLDERS), select(FILES)).prop_map(|(folder, name)| Grant::Path {
        rights: Rights::READ_FILE,
        path: Path::new(folder).join(name),
    });
    let other =
        (on_file(), select(OTHERS)).prop_map(|(rights, path)| Grant::Path { rights, path: path.into() });
    let listen =
        (select(vec!["connect_tcp", "bind_tcp", "connect_send_udp", "bind_udp"]), 0..9_u16, 0..3_u16);
    let port = listen.prop_map(|(right, first, more)| Grant::Port {
        right: right.parse().unwrap(),
        ports: (first..=first + more).into(),
    });
    let alone =
        select(vec!["signal", "abstract"]).prop_map(|name| Grant::Unrestricted(Rights::named(name).unwrap()));
    prop_oneof![3 => folder, 1 => listed, 3 => file, 4 => read, 3 => other, 2 => port, 1 => alone]
}

fn any_wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let one =
        (vec(any_grant(), 1..3), any::<bool>()).prop_map(|(grants, executes)| Wanted { grants, executes });
    vec(one, 0..30)
}

/// With what is wanted, some of which the program has made.
fn system(wanted: &[Wanted], made: usize) -> System {
    let folders: Vec<String> = FOLDERS.iter().map(|folder| format!("{folder}/")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let mut system = System::new("/srv/app").with(&folders).having(wanted);
    let paths = wanted.iter().flat_map(|wanted| &wanted.grants).filter_map(|grant| match grant {
        Grant::Path { path, .. } => Some(path.clone()),
        _ => None,
    });
    let root = |path: &PathBuf| path.parent().is_none();
    system.new.extend(paths.step_by(made).filter(|path| !root(path)));
    system
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn all_is_served_or_held_and_no_option_is_too_wide_or_a_secret(wanted in any_wanted(), made in 1..9_usize) {
        let system = system(&wanted, made);
        assert_sound(&system, &wanted, &system.propose(&wanted));
    }

    #[test]
    fn no_option_is_covered_by_another(wanted in any_wanted(), made in 1..9_usize) {
        let proposal = system(&wanted, made).propose(&wanted);
        let presets = proposal.options.iter().filter(|option| option.words[0] == "--preset").count();
        let grants: Vec<Vec<Grant>> =
            proposal.options.iter().skip(presets).map(|option| given_by(&option.words).0).collect();
        for (at, option) in grants.iter().enumerate() {
            let others: Vec<Grant> =
                grants.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, g)| g.clone()).collect();
            for grant in option.iter().filter(|grant| matches!(grant, Grant::Path { .. })) {
                prop_assert!(!is_granted(&others, Rights::empty(), grant), "{grant:?}: {proposal:?}");
            }
        }
    }

    #[test]
    fn the_order_of_refusals_does_not_matter(
        (wanted, shuffled) in any_wanted().prop_flat_map(|wanted| {
            let numbered: Vec<(usize, Wanted)> = wanted.iter().cloned().enumerate().collect();
            (Just(wanted), Just(numbered).prop_shuffle())
        }),
        made in 1..9_usize,
    ) {
        let system = system(&wanted, made);
        let proposal = system.propose(&wanted);
        let (numbers, again): (Vec<usize>, Vec<Wanted>) = shuffled.into_iter().unzip();
        let mut again = system.propose(&again);
        for option in &mut again.options {
            option.serves.iter_mut().for_each(|n| *n = numbers[*n]);
            option.serves.sort_unstable();
        }
        again.held.iter_mut().for_each(|(n, _)| *n = numbers[*n]);
        again.held.sort_by_key(|(n, _)| *n);
        prop_assert_eq!(again, proposal);
    }

    #[test]
    fn what_is_proposed_is_not_refused_again(wanted in any_wanted(), made in 1..9_usize) {
        // The program tries again: only what is held is refused, and nothing new is proposed.
        let system = system(&wanted, made);
        let proposal = system.propose(&wanted);
        let said = Said::read(&in_words(&proposal.options));
        let again: Vec<Wanted> = wanted.into_iter().filter(|wanted| !said.allow(wanted)).collect();
        let held: BTreeSet<usize> = proposal.held.iter().map(|(n, _)| *n).collect();
        prop_assert!(again.len() <= held.len());
        prop_assert_eq!(in_words(&system.propose(&again).options), Vec::<OsString>::new());
    }
}
