//! `palisade why`: would `palisade run` allow that, and by which option; if not, with which. Nothing is enforced: the
//! library's model is asked, and before it what the backstop closes, for a socket comes before all that is done to it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use palisade::{
    Abi, Decision, Domain, FileKind, Grant, Granted, Kernel, Log, Open, Plan, Policy, Ports, Preset, Program,
    Request, Rights, printable,
};
use serde_json::{Value, json};

use crate::args::{Action, WhyArgs};
use crate::backstop::{self, Closed};
use crate::policy::Policies;
use crate::run::policy_failure;
use crate::say::word_as_json;
use crate::{Failure, quote, say, sys};

const ALLOWED: u8 = 0;
const REFUSED: u8 = 1;
const CANNOT_SAY: u8 = 3;

pub fn why(args: &WhyArgs) -> Result<u8, Failure> {
    check_targets(args)?;
    let policies = Policies::read(&args.policy)?;
    let here = Kernel::probe();
    // Where this one is of that ABI, its errata are known.
    let other = args.kernel.or(args.policy.abi()).filter(|abi| here.abi() != Ok(*abi));
    let kernel = other.map_or(here, Kernel::new);
    let program = args.program.as_ref().map(Program::find).transpose();
    let program = program.map_err(|error| Failure::new(format!("--program: {error}")))?;
    let granted = match &program {
        Some(program) => program.rules(),
        None if args.no_program => Vec::new(),
        None => Program::devices(),
    };
    let failed = |error| policy_failure(&error, &policies, &kernel);
    let plans = policies.plans(&kernel, granted, Log::empty()).map_err(failed)?;
    let domain = Domain::new(plans.clone()).map_err(failed)?;
    let answer = Asked { args, policies: &policies, plans, domain, program }.answer()?;
    say::print(&if args.json { answer.as_json(args, &kernel) } else { answer.for_people() })?;
    Ok(answer.status())
}

fn check_targets(args: &WhyArgs) -> Result<(), Failure> {
    let (takes, least, most) = match args.action {
        Action::Rename | Action::Exchange | Action::Link => ("two paths", 2, 2),
        Action::BindTcp | Action::ConnectTcp | Action::BindUdp | Action::ConnectUdp => ("one port", 1, 1),
        Action::ConnectAbstract => ("nothing, or the name of a socket", 0, 1),
        Action::Signal => ("nothing, or the number of a process", 0, 1),
        Action::Exec => ("one program, without its arguments", 1, 1),
        _ => ("one path", 1, 1),
    };
    if args.targets.iter().any(|target| target.is_empty()) {
        return Err(usage("a TARGET is empty; the present folder is .".to_owned()));
    }
    if (least..=most).contains(&args.targets.len()) {
        return Ok(());
    }
    let given = if args.targets.is_empty() { "nothing".to_owned() } else { quote::words(&args.targets) };
    Err(usage(format!("{} takes {takes}, and is given {given}", args.action.name())))
}

fn usage(message: String) -> Failure {
    Failure::new(format!("{message}\n\nFor more information, try 'palisade why --help'."))
}

/// A question, and what it is asked of.
struct Asked<'a> {
    args: &'a WhyArgs,
    policies: &'a Policies<'a>,
    /// Of the policy, and of each ceiling.
    plans: Vec<Plan>,
    domain: Domain,
    program: Option<Program>,
}

/// Options, as words of a command line.
type Words = Vec<OsString>;

struct Answer {
    /// What was asked, as the rest of a sentence.
    request: String,
    verdict: Verdict,
    notes: Vec<String>,
}

enum Verdict {
    Allowed {
        by: Vec<By>,
        /// What nothing restricts, and why.
        open: Vec<(Rights, String)>,
    },
    Refused {
        errno: i32,
        /// None if it is seccomp that refuses it.
        layer: Option<usize>,
        why: String,
        missing: Vec<Granted>,
        /// What to add, or why nothing helps.
        add: Result<Words, String>,
    },
    CannotSay(String),
}

/// A rule that allows something, and where it is from.
struct By {
    grant: Grant,
    preset: Option<Preset>,
    /// The options that gave it; empty if it is of a program.
    options: Words,
    text: String,
}

impl Asked<'_> {
    fn target(&self, number: usize) -> &OsStr {
        self.args.targets.get(number).map_or(OsStr::new(""), OsString::as_os_str)
    }

    fn answer(&self) -> Result<Answer, Failure> {
        let mut notes: Vec<String> = self.another_kernel().into_iter().collect();
        let skipped = self.domain.skipped().filter(|path| !self.policies.may_be_missing(path));
        let skipped: Vec<String> = skipped.map(|path| printable(path).to_string()).collect();
        if !skipped.is_empty() {
            notes.push(format!("skipped, for it does not exist: {}", skipped.join(", ")));
        }
        let (first, more) = self.requests(&mut notes)?;
        let request = first.to_string();
        let all: Vec<(Request, Decision)> = [first]
            .into_iter()
            .chain(more)
            .map(|request| (request.clone(), self.domain.decide(&request)))
            .collect();
        let (decisive, decision) = all.iter().find(|(_, decision)| !decision.is_allowed()).unwrap_or(&all[0]);
        // Of a program all that there is to say of its file has been said.
        if self.args.action != Action::Exec {
            notes.extend(decision.note().map(str::to_owned));
        }

        let verdict = if let Some((sockets, rights)) = self.closed(self.policies.closed(&self.plans)) {
            let needs = rights.abi().map_or(String::new(), |abi| format!(", which needs {abi}"));
            let why = format!(
                "no {sockets} can be made: seccomp closes them, for this kernel's Landlock cannot restrict \
                 them{needs}"
            );
            let add = match self.policies.closing(&self.plans, |closed| self.closed(closed).is_some()) {
                Some(name) => {
                    Err(format!("--within {} does not allow it, whatever else is granted", printable(name)))
                }
                None => Ok(self.to_open(decisive, decision)?),
            };
            notes.extend(self.opened());
            Verdict::Refused { errno: libc::EACCES, layer: None, why, missing: Vec::new(), add }
        } else if let Some(why) = decision.cannot_say() {
            Verdict::CannotSay(why.to_owned())
        } else if let Some(errno) = decision.errno() {
            let what = decisive.to_string();
            let along = if what == request { String::new() } else { format!("which needs to {what}: ") };
            let missing = decision.missing().cloned().collect();
            notes.extend(about(self.args.action, decision).map(str::to_owned));
            notes.extend(self.opened());
            let add = self.suggestion(&all);
            if add.is_ok() && wider(decision) {
                notes.push("what is granted on a folder holds for all that is in it".to_owned());
            }
            Verdict::Refused {
                errno,
                layer: decision.layer(),
                why: format!("{along}{}{}", lacking(decision), self.ceiling_refusing(decision)),
                missing,
                add,
            }
        } else {
            notes.extend(self.opened());
            notes.extend(self.ordinary());
            self.allowed(&all)?
        };
        if self.args.action == Action::Write && decision.note().is_none() {
            notes.extend(self.to_overwrite());
        }
        Ok(Answer { request, verdict, notes })
    }

    /// That `--abi` asks about a kernel that this one cannot stand for.
    fn another_kernel(&self) -> Option<String> {
        let abi = self.args.policy.abi().filter(|_| self.args.kernel.is_none())?;
        let here = Kernel::probe().abi();
        let this =
            here.map_or_else(|why| why.to_string(), |abi| format!("this one has ABI {}", abi.number()));
        (here != Ok(abi)).then(|| format!("this is about a kernel with {abi}; {this}"))
    }

    /// What the kernel is asked for, and what it takes besides.
    fn requests(&self, notes: &mut Vec<String>) -> Result<(Request, Vec<Request>), Failure> {
        let (path, other) = (self.target(0), self.target(1));
        let is_dir = || std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        let request = match self.args.action {
            Action::Exec => return self.to_execute(notes),
            Action::Read => Request::read(path),
            Action::List => Request::list(path),
            Action::Write => Request::write(path),
            Action::Create => Request::create(path),
            Action::Mkdir => Request::mkdir(path),
            Action::Mkfifo => Request::mknod(path, FileKind::Fifo),
            Action::Symlink => Request::symlink(path),
            Action::Delete if is_dir() => Request::rmdir(path),
            Action::Delete => Request::unlink(path),
            Action::Rename => Request::rename(path, other),
            Action::Exchange => Request::exchange(path, other),
            Action::Link => Request::link(path, other),
            Action::Truncate => Request::truncate(path),
            Action::Ioctl => Request::ioctl(path),
            Action::BindTcp => Request::bind_tcp(self.port()?),
            Action::ConnectTcp => Request::connect_tcp(self.port()?),
            Action::BindUdp => Request::bind_udp(self.port()?),
            Action::ConnectUdp => Request::connect_udp(self.port()?, false),
            Action::BindUnix => Request::mknod(path, FileKind::Socket),
            Action::ConnectUnix => Request::connect_unix(path),
            Action::ConnectAbstract => Request::connect_abstract(),
            Action::Signal => Request::signal(),
        };
        Ok((request, Vec::new()))
    }

    fn port(&self) -> Result<u16, Failure> {
        let text = self.target(0).to_str().unwrap_or_default();
        let port = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        port.ok_or_else(|| {
            let (target, name) = (printable(self.target(0)), self.args.action.name());
            usage(format!(
                "\"{target}\" is no port; {name} takes a number from 0 to 65535, without an address: ports \
                 are granted at any"
            ))
        })
    }

    /// The program, and all that is executed in order to start it.
    fn to_execute(&self, notes: &mut Vec<String>) -> Result<(Request, Vec<Request>), Failure> {
        let name = self.target(0);
        let program = match Program::find(name) {
            Ok(program) => program,
            Err(error) if !name.as_bytes().contains(&b'/') => return Err(Failure::new(error.to_string())),
            // Whether it would be refused can be said all the same.
            Err(error) => {
                notes.push(format!("it cannot be started: {error}"));
                return Ok((Request::exec(name), Vec::new()));
            }
        };
        notes.extend(program.unresolved().map(str::to_owned));
        let executes = |rights: Rights| rights.contains(Rights::EXECUTE);
        let read = program.files().filter(|(_, rights)| !executes(*rights));
        let read: Vec<Decision> = read.map(|(path, _)| self.domain.decide(&Request::read(path))).collect();
        let add = options(read.iter().flat_map(Decision::suggestions));
        if !add.is_empty() {
            notes.push(format!(
                "it also reads its libraries to start, which is refused; for them add: {}",
                quote::words(add)
            ));
        }
        let more = program.files().filter(|(path, rights)| executes(*rights) && *path != program.path());
        Ok((Request::exec(program.path()), more.map(|(path, _)| Request::exec(path)).collect()))
    }

    /// The sockets that the action needs, if they are among what is closed; and what would restrict them better.
    fn closed(&self, closed: Closed) -> Option<(&'static str, Rights)> {
        if self.args.no_backstop || !backstop::exists() {
            return None;
        }
        match self.args.action {
            Action::BindTcp | Action::ConnectTcp if closed.tcp => Some(("TCP sockets", Rights::TCP)),
            Action::BindUdp | Action::ConnectUdp if closed.udp => Some(("UDP sockets", Rights::UDP)),
            Action::BindUnix | Action::ConnectUnix | Action::ConnectAbstract if closed.unix => {
                Some(("UNIX sockets", Rights::UNIX))
            }
            _ => None,
        }
    }

    /// That seccomp leaves all open because something is granted.
    fn opened(&self) -> Option<String> {
        let (sockets, _) = self.closed(self.policies.closed_if_nothing_is_granted(&self.plans))?;
        Some(format!(
            "{sockets} are open altogether on this kernel as soon as one is granted: seccomp cannot tell them apart"
        ))
    }

    /// What opens the sockets that seccomp closes, and allows the rest.
    fn to_open(&self, request: &Request, decision: &Decision) -> Result<Words, Failure> {
        let request = match self.args.action {
            // No option grants one of them, and UNIX sockets have to be open besides.
            Action::ConnectAbstract => {
                let alone = if decision.is_refused() { "unix,abstract" } else { "unix" };
                return Ok(vec!["--unrestricted".into(), alone.into()]);
            }
            Action::BindUnix => Request::connect_unix(self.target(0)),
            _ => request.clone(),
        };
        let newest = Policy::new().decide(&Kernel::new(Abi::LATEST), &request);
        let newest = newest.map_err(|error| Failure::new(error.to_string()))?;
        Ok(options(newest.suggestions().chain(decision.suggestions())))
    }

    /// Which ceiling it is that refuses, as the end of a sentence.
    fn ceiling_refusing(&self, decision: &Decision) -> String {
        let name = decision.layer().and_then(|layer| self.policies.ceiling(layer - 1));
        name.map_or(String::new(), |name| format!(" (by --within {})", printable(name)))
    }

    /// What allows all that is refused.
    fn suggestion(&self, all: &[(Request, Decision)]) -> Result<Words, String> {
        let refused = || all.iter().map(|(_, decision)| decision);
        let moot = |note: &&str| note.ends_with("whatever is allowed") || note.ends_with("made first");
        if let Some(note) = refused().filter_map(Decision::note).find(moot) {
            return Err(note.to_owned());
        }
        // Whoever has misspelt a path is not to open the folder for it.
        if refused().filter_map(Decision::note).any(|note| note.contains("does not exist now")) {
            return Err(
                "it does not exist; is it spelt right? If it is made later, its folder has to be granted"
                    .to_owned(),
            );
        }
        let above =
            refused().flat_map(Decision::suggestions).find_map(|g| self.policies.ceiling(g.layer - 1));
        if let Some(name) = above {
            return Err(format!("--within {} does not allow it, whatever else is granted", printable(name)));
        }
        match refused().find_map(Decision::no_suggestion) {
            Some(why) if self.plans[0].requested().contains(Rights::REFER) => Err(why.to_owned()),
            Some(_) => Err(
                "Landlock refuses every move to another folder where --unrestricted or --abi leaves refer \
                            alone"
                    .to_owned(),
            ),
            None => Ok(options(refused().flat_map(Decision::suggestions))),
        }
    }

    fn allowed(&self, all: &[(Request, Decision)]) -> Result<Verdict, Failure> {
        let (mut by, mut open) = (Vec::new(), Vec::new());
        for (request, decision) in all {
            // Where nothing is allowed, all that it needs is missing.
            let bare = self.alone(Policy::new(), request)?;
            let needed = bare.missing().map(|granted| rights(&granted.grant)).collect();
            for granted in decision.rules() {
                by.push(self.by(granted, needed, request)?);
            }
            for (right, why) in decision.unrestricted() {
                if self.policies.any_port().contains(right) {
                    by.push(self.by_port(0, right, palisade::Ports::ANY));
                } else {
                    open.push((right, self.why_open(right, why)));
                }
            }
        }
        Ok(Verdict::Allowed { by, open })
    }

    /// What another policy would say on the same kernel.
    fn alone(&self, policy: Policy, request: &Request) -> Result<Decision, Failure> {
        let decision = policy.best_effort().decide(self.plans[0].kernel(), request);
        decision.map_err(|error| Failure::new(error.to_string()))
    }

    /// Where a rule is from.
    fn by(&self, granted: &Granted, needed: Rights, request: &Request) -> Result<By, Failure> {
        let grant = granted.grant.clone();
        let made = |preset, options, text| By { grant: grant.clone(), preset, options, text };
        let of_preset = |preset: Preset, place: String| {
            let options = vec!["--preset".into(), preset.name().into()];
            let text = format!("{} ({place})", quote::words(&options));
            made(Some(preset), options, text)
        };
        let path = match &granted.grant {
            Grant::Path { path, .. } => path,
            Grant::Port { right, ports } => return Ok(self.by_port(granted.layer, *right, *ports)),
            other => return Ok(made(None, Vec::new(), other.to_string())),
        };
        let place = printable(path).to_string();
        let layer = granted.layer - 1;
        if let Some(preset) = granted.preset {
            let mut by = of_preset(preset, place);
            let said = self.policies.saying(layer, preset);
            if let Some(origin) = said.filter(|_| !self.args.policy.presets().contains(&preset)) {
                (by.text, by.options) = (format!("{origin} (the preset {preset})"), Vec::new());
            }
            return Ok(by);
        }
        let options = if layer == 0 { self.args.policy.granting(path, needed) } else { Vec::new() };
        let lines = self.policies.lines_granting(layer, path, needed);
        if !options.is_empty() || !lines.is_empty() {
            let words = [quote::words(&options)].into_iter().filter(|words| !words.is_empty());
            let text = words.chain(lines).collect::<Vec<_>>().join(" and ");
            return Ok(made(None, options, text));
        }
        if let Some(program) = self.program.as_ref().filter(|p| p.files().any(|(file, _)| file == path)) {
            let text = format!("what {} needs to start", printable(program.path()));
            return Ok(made(None, Vec::new(), text));
        }
        if self.alone(Policy::new().rules(Program::devices()), request)?.is_allowed() {
            return Ok(made(None, Vec::new(), format!("what every COMMAND is granted ({place})")));
        }
        // The rule of a preset, and an option for the same path that grants something else.
        for preset in self.args.policy.presets() {
            if self.alone(Policy::new().preset(*preset), request)?.is_allowed() {
                return Ok(of_preset(*preset, place));
            }
        }
        Ok(made(None, Vec::new(), grant.to_string()))
    }

    /// What grants a right on ports.
    fn by_port(&self, layer: usize, right: Rights, ports: Ports) -> By {
        let layer = layer.saturating_sub(1);
        let options = if layer == 0 { self.args.policy.granting_ports(right, ports) } else { Vec::new() };
        let line = self.policies.line_granting_ports(layer, right, ports).filter(|_| options.is_empty());
        let text = line.unwrap_or_else(|| quote::words(&options));
        By { grant: Grant::Port { right, ports }, preset: None, options, text }
    }

    fn why_open(&self, right: Rights, why: &str) -> String {
        if self.plans[0].requested().contains(right) {
            why.to_owned()
        } else {
            self.policies.left_alone_by(right)
        }
    }

    /// That it would be refused all the same, by what palisade has no part in, or only by what it gives up.
    fn ordinary(&self) -> Option<String> {
        let (bit, what) = match self.args.action {
            Action::Read | Action::List => (4, "read"),
            Action::Write | Action::Truncate => (2, "written"),
            Action::BindTcp | Action::BindUdp => {
                let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok()?;
                let privileged =
                    self.port().is_ok_and(|port| (1..first.trim().parse().unwrap_or(1024)).contains(&port));
                return privileged.then(|| {
                    "this port takes a capability besides, which palisade run gives up without --keep-caps \
                     net_bind_service"
                        .to_owned()
                });
            }
            _ => return None,
        };
        let file = std::fs::metadata(self.target(0)).ok()?;
        let mode = file.mode() & 0o7777;
        // Whoever may be in the group is not asked: that can be said for sure alone.
        let bits = if file.uid() == sys::user() { mode >> 6 } else { mode >> 3 | mode };
        let root = if sys::user() == 0 {
            "; palisade run gives up what root may besides, without --keep-caps"
        } else {
            ""
        };
        (bits & bit == 0).then(|| {
            format!(
                "by its own permissions (mode {mode:03o}, owner {}) it may not be {what}, which is not palisade's doing{root}",
                file.uid()
            )
        })
    }

    /// What it takes to drop what is in the file, which most programs do that write one.
    fn to_overwrite(&self) -> Option<String> {
        let overwrite = Request::open(self.target(0), Open::WRITE | Open::CREATE | Open::TRUNCATE);
        let decision = self.domain.decide(&overwrite);
        decision.missing().find(|granted| rights(&granted.grant).contains(Rights::TRUNCATE))?;
        let add = quote::words(options(decision.suggestions()));
        Some(format!(
            "to overwrite what is in it, as > does in a shell, takes truncate too; for all of it add: {add}"
        ))
    }
}

/// Whether what is suggested opens more than was asked about.
fn wider(decision: &Decision) -> bool {
    decision.suggestions().any(|granted| matches!(&granted.grant, Grant::Path { path, .. } if path.is_dir()))
}

/// What else there is to know of a refusal.
fn about(action: Action, decision: &Decision) -> Option<&'static str> {
    let all = |granted: &mut dyn Iterator<Item = &Granted>| -> Rights {
        granted.map(|g| rights(&g.grant)).collect()
    };
    let (missing, added) = (all(&mut decision.missing()), all(&mut decision.suggestions()));
    match action {
        Action::Signal => Some("a program may always signal what it has started itself"),
        Action::ConnectAbstract => {
            Some("a program may always reach the sockets of what it has started itself")
        }
        Action::Rename if decision.errno() == Some(libc::EXDEV) => {
            Some("mv, as others that know EXDEV, then copies the file and deletes the old one")
        }
        Action::Rename | Action::Exchange | Action::Link if !missing.contains(added) => Some(
            "a file may gain no rights by a move: what the new folder allows has to be allowed in the old one too",
        ),
        _ => None,
    }
}

/// What is missing, as the end of a sentence.
pub fn lacking(decision: &Decision) -> String {
    let is = |rights: &Rights| if rights.iter().count() > 1 { "are" } else { "is" };
    let lacking = decision.missing().map(|granted| match &granted.grant {
        Grant::Path { rights, path }
            if decision.errno() == Some(libc::EXDEV) && !rights.contains(Rights::REFER) =>
        {
            format!("{} would get rights that it has not where it is: {}", printable(path), names(*rights))
        }
        Grant::Path { rights, path } => {
            format!("{} {} missing on {}", names(*rights), is(rights), printable(path))
        }
        Grant::Port { right, ports } => format!("{} is missing for port {ports}", names(*right)),
        // No right that an option could grant: refused by the kernel wherever files are restricted.
        Grant::Unrestricted(Rights::REFER) => {
            "a move to another folder takes refer, which nothing grants here".to_owned()
        }
        other => format!("{} is restricted, and no rule makes an exception", names(rights(other))),
    });
    let mut said: Vec<String> = Vec::new();
    for what in lacking {
        // Several layers may lack the same.
        if !said.contains(&what) {
            said.push(what);
        }
    }
    said.join(", ")
}

fn names(rights: Rights) -> String {
    rights.names().collect::<Vec<_>>().join(", ")
}

fn rights(grant: &Grant) -> Rights {
    match grant {
        Grant::Path { rights, .. } | Grant::Unrestricted(rights) => *rights,
        Grant::Port { right, .. } => *right,
        _ => Rights::empty(),
    }
}

/// The options that grant just this, each path and port once.
fn options<'a>(granted: impl Iterator<Item = &'a Granted>) -> Words {
    let mut all: Vec<[OsString; 2]> = Vec::new();
    for granted in granted {
        let option = option(&granted.grant);
        if !all.contains(&option) {
            all.push(option);
        }
    }
    // It brings the port of its own that sending takes.
    if all.iter().any(|[option, _]| option == "--connect-udp") {
        all.retain(|option| *option != ["--bind-udp", "0"]);
    }
    all.concat()
}

fn option(grant: &Grant) -> [OsString; 2] {
    match grant {
        Grant::Path { rights, path } => {
            let file = !path.is_dir();
            let group = match () {
                () if *rights == Rights::RESOLVE_UNIX => Some("--unix"),
                () if file && *rights == Rights::READ_FILE => Some("--ro"),
                () if file && *rights == Rights::READ_FILE | Rights::EXECUTE => Some("--rx"),
                () => None,
            };
            if let Some(group) = group {
                return [group.into(), path.into()];
            }
            exactly(*rights, path)
        }
        Grant::Port { right, ports } => [of_port(*right).into(), ports.to_string().into()],
        other => unrestricted(rights(other)),
    }
}

/// The option that grants just these rights on a path.
pub fn exactly(rights: Rights, path: &Path) -> [OsString; 2] {
    let mut value = OsString::from(rights.names().collect::<Vec<_>>().join(","));
    value.push(":");
    value.push(path);
    ["--allow".into(), value]
}

/// The option that grants a right on ports.
pub fn of_port(right: Rights) -> &'static str {
    match right {
        Rights::BIND_TCP => "--bind-tcp",
        Rights::CONNECT_TCP => "--connect-tcp",
        Rights::BIND_UDP => "--bind-udp",
        _ => "--connect-udp",
    }
}

/// The option that leaves rights alone.
pub fn unrestricted(rights: Rights) -> [OsString; 2] {
    ["--unrestricted".into(), rights.short_names().join(",").into()]
}

impl Answer {
    fn status(&self) -> u8 {
        match self.verdict {
            Verdict::Allowed { .. } => ALLOWED,
            Verdict::Refused { .. } => REFUSED,
            Verdict::CannotSay(_) => CANNOT_SAY,
        }
    }

    fn for_people(&self) -> String {
        let request = &self.request;
        let mut lines = match &self.verdict {
            Verdict::CannotSay(why) => vec![format!("Cannot say: {request}: {why}")],
            Verdict::Allowed { by, open } => vec![allowed(request, by, open)],
            Verdict::Refused { errno, why, add, .. } => {
                let add = match add {
                    Ok(words) if words.is_empty() => None,
                    Ok(words) => Some(format!("To allow it, add: {}", quote::words(words))),
                    Err(why) => Some(format!("No option allows it: {why}")),
                };
                let refused = format!("Refused ({}): to {request}, {why}.", errno_name(*errno));
                [refused].into_iter().chain(add).collect()
            }
        };
        let said = |note: &&String| !lines.iter().any(|line| line.ends_with(note.as_str()));
        let notes: Vec<String> = self.notes.iter().filter(said).map(|note| format!("Note: {note}")).collect();
        lines.extend(notes);
        lines.join("\n") + "\n"
    }

    fn as_json(&self, args: &WhyArgs, kernel: &Kernel) -> String {
        let (mut by, mut open, mut missing): (&[By], &[(Rights, String)], &[Granted]) = (&[], &[], &[]);
        let (mut errno, mut layer, mut backstop, mut cannot_say) = (None, None, false, None);
        let (mut add, mut no_option) = (None, None);
        let decision = match &self.verdict {
            Verdict::Allowed { by: rules, open: rights } => {
                (by, open) = (rules, rights);
                "allowed"
            }
            Verdict::Refused {
                errno: number, layer: refusing, missing: lacking, add: suggestion, ..
            } => {
                (errno, layer, backstop, missing) =
                    (Some(errno_name(*number)), *refusing, refusing.is_none(), lacking);
                match suggestion {
                    Ok(words) => add = Some(words).filter(|words| !words.is_empty()),
                    Err(why) => no_option = Some(why),
                }
                "refused"
            }
            Verdict::CannotSay(why) => {
                cannot_say = Some(why);
                "cannot-say"
            }
        };
        let value = json!({
            "decision": decision,
            "request": { "action": args.action.name(), "targets": words_as_json(&args.targets) },
            "errno": errno,
            "rule": by.iter().map(By::as_json).collect::<Vec<_>>(),
            "missing": missing.iter().map(|granted| grant_as_json(&granted.grant)).collect::<Vec<_>>(),
            "suggestion": add.map(|words| words_as_json(words)),
            "no_option": no_option,
            "layer": layer,
            "backstop": backstop,
            "unrestricted": open.iter().map(open_as_json).collect::<Vec<_>>(),
            "notes": self.notes,
            "why": cannot_say,
            "abi": kernel.abi().map_or(0, Abi::number),
        });
        format!("{value:#}\n")
    }
}

fn allowed(request: &str, by: &[By], open: &[(Rights, String)]) -> String {
    // Rights with the same reason stand together.
    let mut reasons: Vec<(&str, Rights)> = Vec::new();
    for (right, why) in open {
        match reasons.iter_mut().find(|(reason, _)| reason == why) {
            Some((_, rights)) => *rights |= *right,
            None => reasons.push((why, *right)),
        }
    }
    let open: Vec<String> =
        reasons.iter().map(|(why, rights)| format!("{}: {why}", names(*rights))).collect();
    let mut rules: Vec<&str> = Vec::new();
    for By { text, .. } in by {
        if !rules.contains(&text.as_str()) {
            rules.push(text);
        }
    }
    match (rules.join(" and "), open.join("; ")) {
        (by, open) if by.is_empty() && open.is_empty() => {
            format!("Allowed: {request}: Landlock never refuses it")
        }
        (by, open) if open.is_empty() => format!("Allowed: {request}, by {by}"),
        (by, open) if by.is_empty() => format!("Allowed: {request}, because nothing restricts {open}"),
        (by, open) => format!("Allowed: {request}, by {by}; and nothing restricts {open}"),
    }
}

impl By {
    fn as_json(&self) -> Value {
        let mut value = grant_as_json(&self.grant);
        value["option"] = if self.options.is_empty() { Value::Null } else { words_as_json(&self.options) };
        value["preset"] = json!(self.preset.map(Preset::name));
        value["text"] = json!(self.text);
        value
    }
}

fn open_as_json((right, why): &(Rights, String)) -> Value {
    json!({ "right": right.names().next(), "why": why })
}

fn grant_as_json(grant: &Grant) -> Value {
    match grant {
        Grant::Path { rights, path } => json!({ "rights": rights, "path": word_as_json(path.as_os_str()) }),
        Grant::Port { right, ports } => json!({ "rights": right, "port": ports.to_string() }),
        other => json!({ "rights": rights(other) }),
    }
}

fn words_as_json(words: &[OsString]) -> Value {
    words.iter().map(|word| word_as_json(word)).collect()
}

fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EXDEV => "EXDEV",
        libc::EPERM => "EPERM",
        _ => "EACCES",
    }
}
