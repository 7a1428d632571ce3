//! What holds of all rules, whatever was used: they allow it, none can be left out, the order does not matter, and what
//! nobody asked for stays closed.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What is there. Folders end with a slash.
const TREE: &[&str] = &[
    "home/u/.bashrc",
    "home/u/.config/app/1",
    "home/u/.config/app/2",
    "home/u/.config/app/3",
    "home/u/.config/app/4",
    "home/u/.config/app/deep/1",
    "home/u/.config/other/1",
    "home/u/.netrc",
    "home/u/.ssh/config",
    "home/u/.ssh/id_ed25519",
    "home/u/a",
    "home/u/b",
    "home/u/c",
    "home/u/d",
    "home/u/project/.git/HEAD",
    "home/u/project/.git/objects/1",
    "home/u/project/data/.env",
    "home/u/project/data/1",
    "home/u/project/data/2",
    "home/u/project/data/3",
    "home/u/project/data/4",
    "home/u/project/data/in/1",
    "home/u/project/data/in/2",
    "home/u/project/data/in/3",
    "home/u/project/data/in/4",
    "home/u/project/empty/",
    "home/u/project/src/1",
    "home/u/project/src/2",
    "home/u/project/src/3",
    "home/u/project/src/4",
    "home/u/project/src/deep/1",
    "home/u/project/src/deep/2",
    "home/u/project/tool",
    "opt/tool/lib/1",
    "opt/tool/lib/2",
    "opt/tool/lib/3",
    "opt/tool/lib/4",
    "opt/tool/server.key",
];
const SECRETS: &[&str] =
    &["home/u/.netrc", "home/u/.ssh/id_ed25519", "home/u/project/data/.env", "opt/tool/server.key"];
const DIR: &str = "home/u/project/";
/// Of the system: in /etc what everybody can read.
const OF_SYSTEM: &[&str] = &["/etc/passwd", "/etc/group", "/etc/hostname", "/etc/fstab"];

#[derive(Clone, Debug)]
enum Step {
    Read(&'static str),
    Write(&'static str),
    Truncate(&'static str),
    Execute(&'static str),
    List(&'static str),
    /// In a folder.
    Create(&'static str, u8),
    MakeFolder(&'static str, u8),
    /// What was made there, if it was.
    ReadMade(&'static str, u8),
    Delete(&'static str),
    Move(&'static str, &'static str, u8),
    Tcp(u16, bool),
    Udp(u16),
    Signal,
    Abstract,
}

fn folders() -> Vec<&'static str> {
    let folders = TREE.iter().filter_map(|path| Some(path.trim_end_matches('/').rsplit_once('/')?.0));
    let folders: BTreeSet<&str> = folders.chain(["home/u", "home/u/project/empty"]).collect();
    folders.into_iter().collect()
}

fn any_file() -> impl Strategy<Value = &'static str> {
    select(TREE.iter().copied().filter(|path| !path.ends_with('/')).collect::<Vec<_>>())
}

fn any_step() -> impl Strategy<Value = Step> {
    let readable = prop_oneof![8 => any_file(), 1 => select(OF_SYSTEM)];
    let folder = || select(folders());
    prop_oneof![
        8 => readable.prop_map(Step::Read),
        2 => any_file().prop_map(Step::Write),
        1 => any_file().prop_map(Step::Truncate),
        1 => any_file().prop_map(Step::Execute),
        2 => folder().prop_map(Step::List),
        2 => (folder(), 0..3_u8).prop_map(|(folder, n)| Step::Create(folder, n)),
        1 => (folder(), 0..3_u8).prop_map(|(folder, n)| Step::MakeFolder(folder, n)),
        1 => (folder(), 0..3_u8).prop_map(|(folder, n)| Step::ReadMade(folder, n)),
        1 => any_file().prop_map(Step::Delete),
        1 => (any_file(), folder(), 0..3_u8).prop_map(|(file, folder, n)| Step::Move(file, folder, n)),
        1 => (select(vec![80, 443, 8080]), any::<bool>()).prop_map(|(port, binds)| Step::Tcp(port, binds)),
        1 => select(vec![0, 53]).prop_map(Step::Udp),
        1 => Just(Step::Signal),
        1 => Just(Step::Abstract),
    ]
}

fn any_fold() -> impl Strategy<Value = Fold> {
    select(vec![Fold::Exact, Fold::Folder])
}

impl Step {
    /// Only what leaves all where it was.
    fn keeps(&self) -> bool {
        !matches!(self, Step::Delete(_) | Step::Move(..))
    }
}

fn new_name(folder: &str, n: u8) -> String {
    format!("{folder}/new{n}")
}

/// Does what can be done.
fn tree_of(steps: &[Step]) -> Tree {
    let mut tree = Tree::new(DIR, TREE);
    let by = ["/bin/one", "/bin/two"];
    for (n, step) in steps.iter().enumerate() {
        let by = by[n % 2];
        let there = |path: &str| tree.at(path).exists();
        match step {
            Step::Read(path) if there(path) => tree.reads(by, path),
            Step::Write(path) if there(path) => tree.opens(by, path, Open::WRITE),
            Step::Truncate(path) if there(path) => {
                tree.opens(by, path, Open::WRITE);
                tree.truncates(by, path);
            }
            Step::Execute(path) if there(path) => tree.executes(by, path),
            Step::List(folder) => tree.lists(by, folder),
            Step::Create(folder, n) if !tree.at(&new_name(folder, *n)).is_dir() => {
                tree.creates(by, &new_name(folder, *n));
            }
            Step::MakeFolder(folder, n) if !there(&new_name(folder, *n)) => {
                tree.makes_folder(by, &new_name(folder, *n));
            }
            Step::ReadMade(folder, n) if tree.at(&new_name(folder, *n)).is_file() => {
                tree.reads(by, &new_name(folder, *n));
            }
            Step::Delete(path) if there(path) => tree.deletes(by, path),
            Step::Move(path, folder, n) if there(path) && !there(&new_name(folder, *n)) => {
                tree.renames(by, path, &new_name(folder, *n));
            }
            Step::Tcp(port, true) => tree.asks(by, Request::bind_tcp(*port)),
            Step::Tcp(port, false) => tree.asks(by, Request::connect_tcp(*port)),
            Step::Udp(port) => tree.asks(by, Request::connect_udp(*port, false)),
            Step::Signal => tree.asks(by, Request::signal()),
            Step::Abstract => tree.asks(by, Request::connect_abstract()),
            _ => {}
        }
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was used is allowed by the text of the file, and by no less of it.
    #[test]
    fn the_rules_are_enough_and_none_is_too_many(steps in vec(any_step(), 1..24), fold in any_fold()) {
        let tree = tree_of(&steps);
        let lessons = tree.learned(fold);
        prop_assert_eq!(lessons.refused(&lessons.domain(&lessons.rules)), [""; 0], "{:?}", lessons.said());
        for left_out in 0..lessons.rules.len() {
            let others = lessons.rules.iter().enumerate().filter(|(n, _)| *n != left_out).map(|(_, rule)| rule);
            let refused = lessons.refused(&lessons.domain(others));
            prop_assert!(!refused.is_empty(), "rule {left_out} of {:?} is too many", lessons.said());
        }
    }

    /// Of single files no right is too many either.
    #[test]
    fn each_right_is_needed(steps in vec(any_step(), 1..12)) {
        let tree = tree_of(&steps);
        let lessons = tree.learned(Fold::Exact);
        for (n, rule) in lessons.rules.iter().enumerate() {
            let Granted::Path { path, rights } = &rule.what else { continue };
            // What is made is overwritten the next time.
            for right in (*rights - Rights::TRUNCATE).iter().filter(|right| *right != *rights) {
                let mut fewer = lessons.rules.clone();
                fewer[n].what = Granted::Path { path: path.clone(), rights: *rights - right };
                let refused = lessons.refused(&lessons.domain(&fewer));
                prop_assert!(!refused.is_empty(), "{right} of rule {n} of {:?} is too much", lessons.said());
            }
        }
    }

    #[test]
    fn the_order_does_not_matter(
        (steps, order) in vec(any_step().prop_filter("", Step::keeps), 1..16)
            .prop_flat_map(|steps| (Just(steps), Just((0..48).collect::<Vec<usize>>()).prop_shuffle())),
        fold in any_fold(),
    ) {
        let tree = tree_of(&steps);
        let mut seen = Seen::default();
        for used in order.into_iter().filter_map(|n| tree.used.get(n)) {
            seen.add(used.clone(), PROGRAM);
        }
        prop_assert_eq!(tree.learn(fold, &seen).said(), tree.learned(fold).said());
    }

    /// No secret can be read that was not, and no folder that has much else; but where files are made that are read.
    #[test]
    fn what_was_not_used_stays_closed(
        steps in vec(any_step().prop_filter("made and read", |step| !matches!(step, Step::ReadMade(..))), 1..24),
        fold in any_fold(),
    ) {
        let tree = tree_of(&steps);
        let lessons = tree.learned(fold);
        let domain = lessons.domain(&lessons.rules);
        let makes = |folder: &Path| steps.iter().any(|step| match step {
            Step::Create(made, _) => tree.at(made) == folder,
            _ => false,
        });
        for secret in SECRETS {
            let used = steps.iter().any(|step| match step {
                Step::Read(path) | Step::Execute(path) | Step::Move(path, ..) => path == secret,
                _ => false,
            });
            let at = tree.at(secret);
            if !used && at.exists() && !at.ancestors().any(makes) {
                let decision = domain.decide(&Request::read(&at));
                prop_assert!(decision.is_refused(), "{secret} can be read by {:?}", lessons.said());
            }
        }
        let secrets = SECRETS.iter().filter(|secret| tree.at(secret).exists());
        let secrets = secrets.flat_map(|secret| Path::new(secret).ancestors().skip(1));
        let above = tree.dir.ancestors().skip(1).map(Path::to_owned);
        let wide: BTreeSet<PathBuf> =
            secrets.map(|folder| tree.root.join(folder)).chain(above).chain(["/etc".into(), "/tmp".into()]).collect();
        for rule in &lessons.rules {
            let Granted::Path { path, rights } = &rule.what else { continue };
            let reads = rights.intersects(Rights::READ_FILE | Rights::EXECUTE);
            prop_assert!(!wide.contains(path) || !reads || makes(path), "{path:?} of {:?}", lessons.said());
        }
    }
}
