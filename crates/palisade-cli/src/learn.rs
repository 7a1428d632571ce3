//! `palisade learn`: watch COMMAND, and write the least policy with which it runs again. What was seen is kept by `seen`,
//! `rules` makes the least rules of it (pure), `write` the text of the file.

mod fold;
mod launch;
mod output;
mod print;
mod rules;
mod seen;
#[cfg(test)]
mod tests;
mod verify;
mod write;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade::{
    Domain, Grant, Kernel, Log, Policy, PolicyFile, Request, Rights, Rule, View, What, printable,
};

pub use self::fold::Fold;
use self::launch::{Launch, Watched};
use self::output::Output;
use self::print::Ran;
use self::rules::{Granted, Learned, Lesson};
use self::seen::{Kind, One};
use self::write::{Line, Names, Says};
use crate::args::LearnArgs;
use crate::policy::Policies;
use crate::propose::{self, Presets, World, secrets};
use crate::run::{policy_failure, within};
use crate::start::Starting;
use crate::watch::{self, Status};
use crate::{Failure, say};

/// What --verify says of a policy that does not hold, and --diff of one that would change.
const NOT_SO: u8 = 1;

pub fn learn(args: &LearnArgs) -> Result<u8, Failure> {
    if !watch::exists() {
        return Err(Failure::new("learn is there on x86-64 alone so far"));
    }
    let file = Target::of(args)?;
    let policies = Policies::read(&args.policy)?;
    refuse_what_is_for_run(args)?;
    let starting = Starting::find(&args.command, &args.start, &policies, false)?;
    // Not before --keep-fd was looked at, or its descriptor could be taken for the caller's.
    let output = file.output(args)?;
    let kernel = Kernel::probe();
    let failed = |error| policy_failure(&error, &policies, &kernel);
    let given = given(&policies, &file);
    let base = given.clone().rules(starting.program.rules());
    if file.from.is_some() || !policies.stated().is_empty() {
        // What is given has to be there.
        rules::domain(&base, [].into_iter()).map_err(failed)?;
    }
    let plans = if args.policy.within.is_empty() {
        vec![given.clone().require_nothing().plan(&kernel).map_err(failed)?]
    } else {
        policies.plans(&kernel, starting.program.rules(), Log::empty()).map_err(failed)?
    };
    within(&policies, &plans, &starting.program, false)?;
    let ceilings = Domain::new(plans[1..].to_vec()).map_err(failed)?;
    // Descriptors 0, 1 and 2 are COMMAND's own too.
    let newest = rules::newest();
    let presets = Presets::new(&newest);
    let within: Vec<String> = policies.ceilings().map(|name| printable(name).to_string()).collect();
    if !args.quiet {
        say::line(&match within.as_slice() {
            [] if starting.gives_up_capabilities() => {
                "learning: COMMAND runs UNCONFINED, and may do all that you may, but for root's capabilities, which palisade run takes away too (--keep-caps)".to_owned()
            }
            [] => "learning: COMMAND runs UNCONFINED, and may do all that you may".to_owned(),
            all => format!("learning: COMMAND runs within {}", all.join(" and ")),
        });
    }
    let launch = Launch { args, policies: &policies, kernel: &kernel, starting: &starting, plans: &plans };
    let mut watched = match launch.watch()? {
        Ok(watched) => watched,
        Err(code) => return Ok(code),
    };
    watched.seen.keep_within(&ceilings, &watched.own());

    let (home, dir) = propose::home_and_dir(args.start.chdir.as_deref());
    let is_made = |path: &Path| {
        let made = |path: &Path| {
            path.symlink_metadata().is_ok_and(|meta| watched.seen.is_made((meta.dev(), meta.ino())))
        };
        path.ancestors().any(made)
    };
    let world = World {
        home,
        dir,
        is_dir: &|path: &Path| path.is_dir(),
        // Nothing can be granted on a link, nor does what has become one lead to where it did.
        exists: &|path: &Path| path.canonicalize().is_ok_and(|leads| leads == path),
        is_new: &is_made,
    };
    let folders = Folders::new(&world);
    let used = watched.seen.all();
    let lesson = Lesson {
        used: &used,
        base: &base,
        world: &world,
        may_be_granted: &|folder| folders.may_be_granted(folder) && is_within(folder, &ceilings),
        preset_allows: &|preset, request| presets.allows(preset, request),
        fold: args.fold,
        program: watched.program,
    };
    let outcome = rules::learn(&lesson)
        .map_err(|error| Failure::new(format!("nothing can be learned: {error}; no policy was written")))?;
    let ran = Ran {
        command: &args.command,
        within,
        status: watched.status,
        partial: watched.partial,
        fold: args.fold,
    };
    let text = file.text(&policies, &outcome.rules, &used, &ran, &world)?;
    let written = as_written(&text, &file.folder, starting.program.rules()).map_err(|error| {
        Failure::new(format!("what was learned is no policy: {error}; nothing was written"))
    })?;
    let told = Told { args, watched: &watched, used: &used, outcome: &outcome, ran: &ran };
    if args.diff {
        let name = file.path.as_deref().map_or("policy".to_owned(), |path| printable(path).to_string());
        say::print(&write::diff(&file.old, &text, &name))?;
        told.tell(&file, &lesson, &folders, &written);
        return Ok(if text == file.old { 0 } else { NOT_SO });
    }
    if let Some(error) = output.as_ref().and_then(|output| output.write(&text).err()) {
        // What was learned is not to be lost.
        say::print(&text)?;
        let name = file.path.as_deref().map(|path| printable(path).to_string()).unwrap_or_default();
        return Err(Failure::new(format!(
            "{name} cannot be written: {error}; the policy was written to standard output"
        )));
    }
    if output.is_none() {
        say::print(&text)?;
    }
    told.tell(&file, &lesson, &folders, &written);
    told.check(&written.domain);
    match &file.path {
        Some(path) if args.verify => verify::verify(args, path, &watched, &outcome.rules),
        _ => Ok(match watched.status {
            Status::Exited(status) => status as u8,
            Status::Killed(signal) => 128_u8.wrapping_add(signal as u8),
        }),
    }
}

/// What options and --from grant already.
fn given(policies: &Policies<'_>, file: &Target) -> Policy {
    match &file.from {
        None => policies.policy(),
        // What it leaves alone stays so: joining would restrict it.
        Some(from) if policies.args.policy.is_empty() => policies.args.add_to(from.policy().clone()),
        Some(from) => from.policy().clone().join(policies.policy()),
    }
}

/// What is about how `palisade run` goes on is no part of what COMMAND needs.
fn refuse_what_is_for_run(args: &LearnArgs) -> Result<(), Failure> {
    let policy = &args.policy;
    let said = [
        (policy.abi().is_some(), "--abi"),
        (policy.requires(), "--require"),
        (policy.strict, "--strict"),
        (policy.best_effort, "--best-effort"),
    ];
    match said.iter().find(|(said, _)| *said) {
        Some((_, option)) => Err(Failure::new(format!(
            "{option} is for palisade run: what is learned holds on every kernel, as far as each can restrict it"
        ))),
        None => Ok(()),
    }
}

/// Whether ceilings let all be read that is in a folder, or may come there.
fn is_within(folder: &Path, ceilings: &Domain) -> bool {
    let any = folder.join(".palisade");
    [Request::list(folder), Request::read(any)].iter().all(|request| !ceilings.decide(request).is_refused())
}

/// Which folders may be granted as a whole, each looked at once.
struct Folders<'a> {
    world: &'a World<'a>,
    known: RefCell<BTreeMap<PathBuf, bool>>,
}

/// In a folder with more than this nobody has looked at all.
const MANY_FILES: usize = 20_000;

impl<'a> Folders<'a> {
    fn new(world: &'a World<'a>) -> Folders<'a> {
        Folders { world, known: RefCell::default() }
    }

    fn may_be_granted(&self, folder: &Path) -> bool {
        if let Some(known) = self.known.borrow().get(folder) {
            return *known;
        }
        let may = !propose::too_wide(folder, self.world) && !self.hides_secret(folder);
        self.known.borrow_mut().insert(folder.to_owned(), may);
        may
    }

    /// Whether there is a file in it, however deep, that is a secret by its name, or so much that nobody can tell. What was
    /// installed there has names like that in its tests.
    fn hides_secret(&self, folder: &Path) -> bool {
        if secrets::is_installed(folder) || folder.ancestors().any(propose::is_installed) {
            return false;
        }
        let mut left = vec![folder.to_owned()];
        let mut looked = 0;
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                looked += 1;
                let path = entry.path();
                if looked > MANY_FILES || secrets::is_named_so(&path, self.world) {
                    return true;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !propose::is_installed(&path) {
                    left.push(path);
                }
            }
        }
        false
    }
}

/// Where the policy is written, and what is there.
struct Target {
    /// Standard output, if there is none.
    path: Option<PathBuf>,
    /// Where relative paths begin.
    folder: PathBuf,
    from: Option<PolicyFile>,
    /// What is added to.
    old: String,
}

impl Target {
    fn of(args: &LearnArgs) -> Result<Target, Failure> {
        let path = args.output.clone().or_else(|| args.from.clone()).filter(|path| path.as_os_str() != "-");
        if args.verify && path.is_none() {
            return Err(Failure::new("--verify takes a file, to run COMMAND with: name it by --output"));
        }
        let (from, old) = match &args.from {
            None => (None, String::new()),
            Some(from) => {
                let file = PolicyFile::read(from).map_err(|error| {
                    crate::policy::say_mistakes(&error);
                    Failure::new(
                        "nothing was run, for what is wrong with the file of --from; without it a new file is written",
                    )
                })?;
                let text = fs::read_to_string(from)
                    .map_err(|error| Failure::new(format!("--from {}: {error}", printable(from))))?;
                (Some(file), text)
            }
        };
        let beside = |path: &Path| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
        };
        // Where it is put from standard output nobody knows: no path of its begins there.
        let folder = path.as_deref().map_or(PathBuf::from("/etc/palisade"), beside);
        Ok(Target { path, folder, from, old })
    }

    /// Where it is written to: nowhere, or to standard output, if there is none.
    fn output(&self, args: &LearnArgs) -> Result<Option<Output>, Failure> {
        let Some(path) = self.path.as_deref().filter(|_| !args.diff) else { return Ok(None) };
        let real = |path: &Path| fs::canonicalize(path).ok();
        let added_to = args.from.as_deref().is_some_and(|from| real(from) == real(path));
        Output::find(path, added_to).map(Some)
    }

    /// The text of the file.
    fn text(
        &self,
        policies: &Policies<'_>,
        rules: &[Learned],
        used: &[&One],
        ran: &Ran<'_>,
        world: &World<'_>,
    ) -> Result<String, Failure> {
        const XDG: [&str; 5] =
            ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"];
        let folder = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())?;
            // Others are written without links, as they were used.
            (path.canonicalize().ok()? == path).then(|| (name.to_owned(), path))
        };
        let dir = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let names = Names {
            folder: self.folder.clone(),
            is_pwd: std::env::var_os("PWD").is_some_and(|pwd| pwd == dir),
            dir,
            home: world.home.clone(),
            variables: XDG.into_iter().filter_map(folder).collect(),
        };
        let learned =
            rules.iter().map(|rule| Line { what: says(&rule.what), comment: print::comment(rule, used) });
        let lines: Vec<Line> = given_lines(policies).into_iter().chain(learned).collect();
        let written = write::write(&self.old, &print::head(ran), &lines, &names);
        let added =
            |text: String| if lines.is_empty() { text } else { print::with_run(&self.old, text, ran) };
        written.map(added).map_err(|why| Failure::new(format!("the policy cannot be written: {why}")))
    }
}

/// What options grant, as lines of the file.
fn given_lines(policies: &Policies<'_>) -> Vec<Line> {
    let line = |what| Line { what, comment: "given to palisade learn".to_owned() };
    let files = policies.args.policy.iter().map(|name| {
        let path = Path::new(name);
        let name = match PolicyFile::is_name(name) {
            true => name.clone(),
            false => path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string(),
        };
        Says::Include(name.to_string_lossy().into_owned())
    });
    let options = policies.args.stated().into_iter().filter_map(|stated| match stated.what {
        What::Preset(preset) => Some(Says::Include(preset.name().to_owned())),
        What::Grant(Grant::Path { rights, path }) => {
            Some(Says::Path { path: path.canonicalize().unwrap_or(path), rights })
        }
        What::Grant(Grant::Port { right, ports }) => Some(Says::Ports { right, ports }),
        What::Grant(_) => None,
    });
    let alone = policies.args.left_alone();
    let alone = (!alone.is_empty()).then_some(Says::Unrestricted(alone));
    files.chain(options).chain(alone).map(line).collect()
}

fn says(granted: &Granted) -> Says {
    match granted {
        Granted::Preset(preset) => Says::Include(preset.name().to_owned()),
        Granted::Path { path, rights } => Says::Path { path: path.clone(), rights: *rights },
        Granted::Ports { right, ports } => Says::Ports { right: *right, ports: *ports },
        Granted::Unrestricted(rights) => Says::Unrestricted(*rights),
    }
}

/// What is said in the end.
struct Told<'a> {
    args: &'a LearnArgs,
    watched: &'a Watched,
    used: &'a [&'a One],
    outcome: &'a rules::Outcome,
    ran: &'a Ran<'a>,
}

impl Told<'_> {
    fn tell(&self, file: &Target, lesson: &Lesson<'_>, folders: &Folders<'_>, written: &Written) {
        if self.args.quiet {
            return;
        }
        let place = match &file.path {
            Some(path) if self.args.diff => format!("{}, not written", printable(path)),
            Some(path) => printable(path).to_string(),
            None => "the policy".to_owned(),
        };
        let extent = print::extent(&self.watched.seen);
        let rules = match (self.outcome.rules.as_slice(), &file.from) {
            ([], None) => "no rule is needed".to_owned(),
            ([], Some(_)) => "nothing has to be added".to_owned(),
            (rules, _) => print::rules_in_words(rules),
        };
        say::line(&format!("{place}: {rules} ({extent})"));
        match self.watched.status {
            _ if self.watched.partial => say::line(print::PARTIAL),
            Status::Exited(0) => {}
            _ => say::line(&format!(
                "COMMAND {}: what it would do if it did not fail is not in the policy",
                self.ran.ended()
            )),
        }
        let hides = |folder: &Path| folders.hides_secret(folder);
        let mut lines =
            print::outstanding(&self.outcome.rules, &self.watched.seen, self.used, lesson.world, &hides);
        lines.sort();
        lines.extend(file.path.as_deref().filter(|path| is_writable(path, &written.domain)).map(|path| {
            format!(
                "{} itself: COMMAND can change it, and do more the next time; keep it where COMMAND does not write",
                printable(path)
            )
        }));
        lines.extend(print::kept(&self.outcome.rules, &self.watched.seen));
        if !lines.is_empty() {
            say::line(&format!("what stands out:\n  {}", lines.join("\n  ")));
        }
        if let (Some(path), 1.., false) = (&file.path, written.warnings, self.args.diff) {
            let warnings = if written.warnings == 1 {
                "a warning".to_owned()
            } else {
                format!("{} warnings", written.warnings)
            };
            say::line(&format!(
                "palisade run will have {warnings} of it, which palisade check {} shows",
                printable(path)
            ));
        }
        let grants = |right: Rights| {
            let of = |rule: &Learned| match &rule.what {
                Granted::Ports { right: granted, .. } => right.contains(*granted),
                Granted::Path { rights, .. } => rights.intersects(right),
                Granted::Preset(preset) => preset.allows().intersects(right & Rights::NET),
                Granted::Unrestricted(rights) => rights.intersects(right),
            };
            self.outcome.rules.iter().any(of)
        };
        let seen = &self.watched.seen;
        let unused = [
            (seen.udp && !grants(Rights::UDP), "make UDP sockets and send nothing", "UDP", "7.2"),
            (seen.pairs && !grants(Rights::UNIX), "make pairs of UNIX sockets", "UNIX", "7.1"),
            (
                (seen.own_names || grants(Rights::ABSTRACT)) && !grants(Rights::UNIX),
                "use abstract UNIX sockets",
                "UNIX",
                "7.1",
            ),
        ];
        let mut notes: Vec<String> = seen.notes.iter().map(|(what, why)| format!("{what}: {why}")).collect();
        for (_, what, kind, linux) in unused.iter().filter(|(unused, ..)| *unused) {
            notes.push(format!(
                "{what}: before Linux {linux} palisade run closes them where nothing is granted that {kind} sockets are for"
            ));
        }
        for (n, why) in &self.outcome.not_learned {
            notes.push(format!("{}: {why}", asked(self.used[*n])));
        }
        if !notes.is_empty() {
            say::line(&format!("COMMAND did what no rule allows:\n  {}", notes.join("\n  ")));
        }
    }

    /// Holds the file as it was written, and what COMMAND needs to start, against all that was used.
    fn check(&self, domain: &Domain) {
        // What the kernel has of COMMAND is gone with it.
        let own = self.watched.own();
        let is_own = |request: &Request| request.path().is_some_and(|path| path.starts_with(&own));
        let refuses = |one: &One, request: &Request| !is_own(request) && refuses(domain, one, request);
        let refused = self.used.iter().enumerate().filter(|(n, one)| {
            let known = self.outcome.not_learned.iter().any(|(other, _)| other == n);
            !known
                && matches!(one.kind, Kind::There | Kind::Made)
                && one.asked.iter().any(|request| refuses(one, request))
        });
        let refused: Vec<String> = refused.map(|(_, one)| asked(one)).collect();
        if !refused.is_empty() {
            say::line(&format!("the policy would still refuse:\n  {}", refused.join("\n  ")));
        }
    }
}

/// Whether what was asked for is refused: what was there before also by the name alone, for it may have been replaced since.
fn refuses(domain: &Domain, one: &One, request: &Request) -> bool {
    let refused = |request: &Request| domain.decide(request).is_refused();
    let replaced = || one.kind == Kind::There && !refused(&request.clone().seen_from(&View::new("/", "/")));
    refused(request) && !replaced()
}

/// What the policy allows as it is written.
fn as_written(text: &str, folder: &Path, closure: Vec<Rule>) -> palisade::Result<Written> {
    let read = PolicyFile::parse(text, folder, &|name| std::env::var_os(name))?;
    let domain = rules::domain(&read.policy().clone().rules(closure), [].into_iter())?;
    Ok(Written { domain, warnings: read.warnings().len() })
}

/// The policy, as it is written.
struct Written {
    domain: Domain,
    /// How many there are of what may not be meant.
    warnings: usize,
}

fn is_writable(path: &Path, domain: &Domain) -> bool {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    domain.decide(&Request::write(path)).is_allowed()
}

fn asked(one: &One) -> String {
    one.asked.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
