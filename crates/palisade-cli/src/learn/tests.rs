//! What the tests of learning share: a tree on the disk, what a program uses there, as the watcher tells it, and what is
//! learned from that and written.

mod programs;
mod properties;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::rc::Rc;

use palisade::{FileKind, Open};
use tempfile::TempDir;

use super::seen::Seen;
use super::write::Names;
use super::*;
use crate::watch::{Use, Used};

/// No process has it.
const PROGRAM: i32 = i32::MAX;

/// A tree, with a home in it, and what a program uses.
struct Tree {
    root: PathBuf,
    /// Where the program starts.
    dir: PathBuf,
    seen: Seen,
    /// The same, one by one.
    used: Vec<Used>,
    _removed: TempDir,
}

impl Tree {
    /// With these files, and all folders above. A folder ends with a slash.
    fn new(dir: &str, paths: &[&str]) -> Tree {
        let removed = tempfile::tempdir().unwrap();
        let root = removed.path().canonicalize().unwrap();
        for path in [dir, "home/u/"].iter().chain(paths) {
            let at = root.join(path);
            if path.ends_with('/') {
                fs::create_dir_all(at).unwrap();
            } else {
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, "").unwrap();
            }
        }
        let dir = root.join(dir).canonicalize().unwrap();
        Tree { root, dir, seen: Seen::default(), used: Vec::new(), _removed: removed }
    }

    /// A path of the tree, or of the system if it is whole.
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Something is used, by a program of this name.
    fn uses(&mut self, by: &str, what: Use) {
        self.makes(by, what, &[]);
    }

    /// The same, and now this is there that it has made or moved.
    fn makes(&mut self, by: &str, what: Use, made: &[&Path]) {
        let inode = |path: &&Path| path.symlink_metadata().map(|meta| (meta.dev(), meta.ino())).unwrap();
        let used = Used { program: Rc::from(Path::new(by)), what, made: made.iter().map(inode).collect() };
        self.seen.add(used.clone(), PROGRAM);
        self.used.push(used);
    }

    fn opens(&mut self, by: &str, path: &str, how: Open) {
        let path = self.at(path);
        let new = self.is_new(&path);
        self.uses(by, Use::Opened { path, how, new });
    }

    /// Whether it was made, or is in a folder that was.
    fn is_new(&self, path: &Path) -> bool {
        let made = |path: &Path| {
            path.symlink_metadata().is_ok_and(|meta| self.seen.is_made((meta.dev(), meta.ino())))
        };
        path.ancestors().any(made)
    }

    fn reads(&mut self, by: &str, path: &str) {
        self.opens(by, path, Open::READ);
    }

    fn lists(&mut self, by: &str, path: &str) {
        self.opens(by, path, Open::READ | Open::DIRECTORY);
    }

    fn executes(&mut self, by: &str, path: &str) {
        let at = self.at(path);
        let new = self.is_new(&at);
        self.uses(by, Use::Executed { request: Request::exec(at), new });
    }

    fn creates(&mut self, by: &str, path: &str) {
        let at = self.at(path);
        let how = Open::WRITE | Open::CREATE | Open::TRUNCATE;
        let request = Request::open(&at, how);
        if at.exists() && !self.is_new(&at) {
            return self.uses(by, Use::Kept(request));
        }
        fs::write(&at, "").unwrap();
        self.makes(by, Use::Asked(vec![request]), &[&at]);
    }

    fn makes_folder(&mut self, by: &str, path: &str) {
        let at = self.at(path);
        let request = Request::mkdir(&at);
        fs::create_dir(&at).unwrap();
        self.makes(by, Use::Asked(vec![request]), &[&at]);
    }

    fn deletes(&mut self, by: &str, path: &str) {
        let at = self.at(path);
        let request = Request::unlink(&at);
        fs::remove_file(&at).unwrap();
        self.uses(by, Use::Asked(vec![request]));
    }

    fn renames(&mut self, by: &str, from: &str, to: &str) {
        let (from, to) = (self.at(from), self.at(to));
        let request = Request::rename(&from, &to);
        fs::rename(&from, &to).unwrap();
        self.makes(by, Use::Asked(vec![request]), &[&to]);
    }

    fn truncates(&mut self, by: &str, path: &str) {
        let request = Request::truncate(self.at(path));
        self.uses(by, Use::OnOpen(request));
    }

    fn binds(&mut self, by: &str, path: &str) {
        let at = self.at(path);
        let all = vec![Request::mknod(&at, FileKind::Socket), Request::connect_unix(&at)];
        drop(UnixListener::bind(&at).unwrap());
        self.makes(by, Use::Asked(all), &[&at]);
    }

    fn asks(&mut self, by: &str, request: Request) {
        self.uses(by, Use::Asked(vec![request]));
    }

    /// What is learned of this.
    fn learn(&self, fold: Fold, seen: &Seen) -> Lessons<'_> {
        let exists = |path: &Path| path.canonicalize().is_ok_and(|leads| leads == path);
        let is_new = |path: &Path| self.is_new(path);
        let home = Some(self.at("home/u"));
        let dir = self.dir.clone();
        let world =
            World { home, dir, is_dir: &|path: &Path| path.is_dir(), exists: &exists, is_new: &is_new };
        let folders = Folders::new(&world);
        let newest = rules::newest();
        let presets = Presets::new(&newest);
        let (outcome, used) = {
            let used = seen.all();
            let lesson = Lesson {
                used: &used,
                base: &Policy::new(),
                world: &world,
                may_be_granted: &|folder| folders.may_be_granted(folder),
                preset_allows: &|preset, request| presets.allows(preset, request),
                fold,
                program: PROGRAM,
            };
            (rules::learn(&lesson).unwrap(), used.into_iter().cloned().collect())
        };
        Lessons { tree: self, rules: outcome.rules, not_learned: outcome.not_learned, used }
    }

    fn learned(&self, fold: Fold) -> Lessons<'_> {
        self.learn(fold, &self.seen)
    }
}

/// What was learned.
struct Lessons<'a> {
    tree: &'a Tree,
    rules: Vec<Learned>,
    not_learned: Vec<(usize, String)>,
    used: Vec<One>,
}

impl Lessons<'_> {
    /// The rules and what each is for; paths of the tree from its root on.
    fn said(&self) -> Vec<String> {
        let used: Vec<&One> = self.used.iter().collect();
        let granted = |rule: &Learned| match &rule.what {
            Granted::Preset(preset) => preset.name().to_owned(),
            Granted::Path { path, rights } => {
                let path = path.strip_prefix(&self.tree.root).map(Path::to_owned).unwrap_or(path.clone());
                format!("{rights}:{}", printable(if path == Path::new("") { Path::new(".") } else { &path }))
            }
            Granted::Ports { right, ports } => format!("{right}={ports}"),
            Granted::Unrestricted(rights) => rights.to_string(),
        };
        let said = |rule: &Learned| format!("{}  # {}", granted(rule), print::comment(rule, &used));
        self.rules.iter().map(said).collect()
    }

    fn named(&self) -> Names {
        Names {
            folder: self.tree.dir.clone(),
            dir: self.tree.dir.clone(),
            is_pwd: false,
            home: Some(self.tree.at("home/u")),
            variables: Vec::new(),
        }
    }

    /// What is allowed by the text of the file with these rules.
    fn domain<'r>(&self, rules: impl IntoIterator<Item = &'r Learned>) -> Domain {
        let line = |rule: &Learned| Line { what: says(&rule.what), comment: String::new() };
        let lines: Vec<Line> = rules.into_iter().map(line).collect();
        let text = write::write("", "", &lines, &self.named()).unwrap();
        let lookup = |name: &str| (name == "HOME").then(|| self.tree.at("home/u").into_os_string());
        let read = PolicyFile::parse(&text, &self.tree.dir, &lookup).unwrap();
        rules::domain(read.policy(), [].into_iter()).unwrap()
    }

    /// What of all that was used is refused.
    fn refused(&self, domain: &Domain) -> Vec<String> {
        let known = |n: usize| self.not_learned.iter().any(|(not, _)| *not == n);
        let used = self.used.iter().enumerate().filter(|(n, _)| !known(*n));
        let asked = used.flat_map(|(_, one)| one.asked.iter().map(move |request| (one, request)));
        let refused = asked.filter(|(one, request)| refuses(domain, one, request));
        refused.map(|(_, request)| request.to_string()).collect()
    }
}
