//! `palisade run`: confine a program, then become it.

use palisade::{
    Domain, Error, Kernel, Log, Lost, Plan, Program, Report, Request, Rights, Ruleset, printable,
};
use serde_json::json;

use crate::args::{Explain, LogWhat, RunArgs};
use crate::backstop::{self, Closed, Watcher};
use crate::explain::Launch;
use crate::policy::Policies;
use crate::say::word_as_json;
use crate::start::{NOT_FOUND, NOT_RUNNABLE, Starting};
use crate::{Failure, say, sys};

pub fn run(args: RunArgs) -> Result<(), Failure> {
    let kernel = Kernel::probe();
    let policies = Policies::read(&args.policy)?;
    let starting = Starting::find(&args.command, &args.start, &policies, args.no_program);
    let starting = starting.map_err(|failure| {
        let name = &args.command[0];
        match <Explain as clap::ValueEnum>::from_str(&name.to_string_lossy(), false) {
            Ok(_) if args.explain.is_some() && failure.code == NOT_FOUND => Failure {
                message: format!(
                    "{}; if it is to say when, write --explain={}",
                    failure.message,
                    printable(name)
                ),
                ..failure
            },
            _ => failure,
        }
    })?;

    let program = &starting.program;
    let closure = if args.no_program { Vec::new() } else { program.rules() };
    let log = if args.log == LogWhat::All { Log::NEW_EXEC_ON } else { Log::empty() };
    let failed = |error: Error| policy_failure(&error, &policies, &kernel);
    let plans = policies.plans(&kernel, closure, log).map_err(failed)?;
    within(&policies, &plans, program, args.no_program)?;
    let closes = policies.closed(&plans);
    let (plans, closed) = if args.no_backstop { (plans, Closed::default()) } else { close(plans, closes) };
    let told = Told { args: &args, policies: &policies, program, closes, closed };
    if args.dry_run {
        return told.dry_run(&plans);
    }

    let strings = starting.strings()?;
    sys::set_no_new_privs().map_err(|e| Failure::new(format!("no_new_privs cannot be set: {e}")))?;
    // All paths are opened before the first layer confines us.
    let closed = Closed { typing: true, ..closed };
    let plans_to_explain = if args.explain.is_some() { plans.clone() } else { Vec::new() };
    let rulesets: Vec<Ruleset> =
        plans.into_iter().map(Plan::ruleset).collect::<Result<_, _>>().map_err(failed)?;
    let watcher = if args.explain.is_some() {
        let (policies, plans) = (&policies, &plans_to_explain);
        Launch { args: &args, policies, kernel: &kernel, plans, closed }.start()?
    } else {
        Watcher::None
    };
    let reports: Vec<Report> =
        rulesets.into_iter().map(Ruleset::enforce).collect::<Result<_, _>>().map_err(failed)?;
    told.tell(&reports);
    starting.hygiene()?;
    let filter = match watcher {
        Watcher::None => backstop::filter(closed),
        watcher => backstop::watched_filter(closed, watcher),
    };
    // Empty where there is no backstop for this architecture, which has been said.
    if !filter.is_empty() {
        sys::install_filter(&filter).map_err(|error| {
            let hint = if args.no_backstop { "" } else { "; --no-backstop leaves out all but the least" };
            Failure::new(format!("the seccomp filter cannot be installed: {error}{hint}"))
        })?;
    }
    Err(starting.execute(&strings))
}

/// The plans, which say what the backstop closes of what is lost to Landlock; and what it closes.
pub fn close(plans: Vec<Plan>, closed: Closed) -> (Vec<Plan>, Closed) {
    if !backstop::exists() {
        return (plans, Closed::default());
    }
    let how = [
        (closed.tcp, Rights::TCP, "seccomp: no TCP socket can be made"),
        (closed.udp, Rights::UDP, "seccomp: no UDP socket can be made"),
        (closed.unix, Rights::UNIX | Rights::ABSTRACT, "seccomp: no UNIX socket can be made"),
    ];
    let close = |plan: Plan| {
        let lost: Rights = plan.lost().map(|lost| lost.right()).collect();
        let closes = how.into_iter().filter(|(closed, rights, _)| *closed && lost.intersects(*rights));
        closes.fold(plan, |plan, (_, rights, by)| plan.closed_by(rights & lost, by))
    };
    (plans.into_iter().map(close).collect(), closed)
}

/// That each ceiling lets COMMAND start: what it needs is granted in the policy's own layer alone.
pub fn within(
    policies: &Policies<'_>,
    plans: &[Plan],
    program: &Program,
    alone: bool,
) -> Result<(), Failure> {
    for (plan, name) in plans[1..].iter().zip(policies.ceilings()) {
        let failed = |error: Error| policy_failure(&error, policies, plan.kernel());
        let domain = Domain::new([plan.clone()]).map_err(failed)?;
        for (path, rights) in program.files().filter(|(path, _)| !alone || *path == program.path()) {
            let read = rights.contains(Rights::READ_FILE).then(|| Request::read(path));
            let execute = rights.contains(Rights::EXECUTE).then(|| Request::exec(path));
            let refused = |request: &Request| domain.decide(request).is_refused();
            if let Some(request) = read.into_iter().chain(execute).find(refused) {
                let what = if path == program.path() { "" } else { ", which it needs to start" };
                let message = format!(
                    "{}: --within {} does not allow to {request}{what}; allow that in it, as with rx",
                    printable(program.path()),
                    printable(name)
                );
                return Err(Failure::new(message).code(NOT_RUNNABLE));
            }
        }
    }
    Ok(())
}

/// The same error, with the line of a file that it is about, and the option that helps in place of the method.
pub fn policy_failure(error: &Error, policies: &Policies<'_>, kernel: &Kernel) -> Failure {
    let line = error.path().and_then(|path| policies.line_of(path));
    let hint = if error.is_missing_path() {
        match line {
            Some(_) => "if COMMAND is to make it, grant its folder; \"optional = true\" in [[fs.allow]], or --ignore-missing, skips what \
                 does not exist"
                .to_owned(),
            None => "if COMMAND is to make it, grant its folder; --ignore-missing skips what does not exist"
                .to_owned(),
        }
    } else if error.is_unsupported() {
        match kernel.abi() {
            Err(why) => {
                format!("{}; --best-effort runs COMMAND all the same, its files not confined", why.help())
            }
            Ok(_) if policies.args.requires() => {
                format!("leave {} out of --require to go on without", error.rights().short_names().join(","))
            }
            Ok(_) if policies.has_files() => "--best-effort goes on whatever is open".to_owned(),
            Ok(_) => format!(
                "--unrestricted {} leaves these open and goes on; --best-effort goes on whatever is open",
                error.rights().short_names().join(",")
            ),
        }
    } else if error.is_several_threads() || error.is_too_many_layers() {
        String::new()
    } else {
        error.hint().to_owned()
    };
    let line = line.map_or(String::new(), |line| format!("{line}: "));
    let message = format!("{line}{}", error.message());
    Failure::new(if hint.is_empty() { message } else { format!("{message}; {hint}") })
}

/// What is said of a launch.
struct Told<'a> {
    args: &'a RunArgs,
    policies: &'a Policies<'a>,
    program: &'a Program,
    /// What the backstop would close, and what it closes.
    closes: Closed,
    closed: Closed,
}

impl Told<'_> {
    /// One line on what is open although an option names it, one for what was skipped, and warnings; under -v all reports.
    fn tell(&self, reports: &[Report]) {
        if self.args.quiet {
            return;
        }
        self.policies.warnings().iter().for_each(|warning| say::line(&format!("warning: {warning}")));
        if self.args.verbose {
            self.program.unresolved().for_each(say::line);
            for (at, report) in reports.iter().enumerate() {
                if let Some(name) = self.policies.ceiling(at) {
                    say::line(&format!("And within {}:", printable(name)));
                }
                report.to_string().lines().for_each(say::line);
            }
            backstop_notes(self.closed).iter().for_each(|note| say::line(&format!("  note: {note}")));
            return;
        }
        if let Some(line) = self.open_line(reports) {
            say::line(&line);
        }
        let skipped =
            reports.iter().flat_map(Report::skipped).filter(|path| !self.policies.may_be_missing(path));
        let skipped: Vec<String> = skipped.map(|path| printable(path).to_string()).collect();
        if !skipped.is_empty() {
            say::line(&format!("skipped, for it does not exist: {}", skipped.join(", ")));
        }
    }

    /// What this kernel leaves open although an option or a file names it, or although it is required unless something
    /// else is said; and with --no-backstop, what that leaves open.
    fn open_line(&self, reports: &[Report]) -> Option<String> {
        let mut open: Vec<String> = Vec::new();
        for (layer, report) in reports.iter().enumerate() {
            open.extend(
                self.open(layer, report.plan())
                    .into_iter()
                    .filter(|line| !open.contains(line))
                    .collect::<Vec<_>>(),
            );
        }
        if self.closes != self.closed {
            open.extend(besides(self.closes).into_iter().map(str::to_owned));
        }
        match reports.first()?.plan().kernel().abi() {
            Err(why) => Some(format!("FILES ARE NOT CONFINED: {why}; to change that: {}", why.help())),
            Ok(_) if open.is_empty() => None,
            Ok(_) => Some(format!("NOT RESTRICTED, so open whatever is granted: {}", open.join(", "))),
        }
    }

    /// What of a layer is open.
    fn open(&self, layer: usize, plan: &Plan) -> Vec<String> {
        // What is granted once opens the whole category, where only a filter could close it.
        let named = self.policies.named(layer);
        let whole = [Rights::TCP, Rights::UDP, Rights::UNIX | Rights::ABSTRACT].into_iter();
        let opened: Rights = whole.filter(|category| named.intersects(*category)).collect();
        let expected = named | opened | Rights::FS | Rights::TCP;
        let expected = if self.closes == self.closed { expected } else { expected | self.closes.rights() };
        let is_open =
            |lost: &Lost| expected.contains(lost.right()) && !self.closed.rights().contains(lost.right());
        let mut open: Vec<String> = plan.lost().filter(is_open).map(|lost| lost.to_string()).collect();
        if layer == 0 {
            let alone = named - plan.requested() - self.policies.any_port();
            open.extend(alone.iter().map(|right| format!("{right}: {}", self.policies.left_alone_by(right))));
        }
        open
    }

    fn dry_run(&self, plans: &[Plan]) -> Result<(), Failure> {
        let failed = |error: Error| policy_failure(&error, self.policies, plans[0].kernel());
        let reports: Vec<Report> = plans.iter().map(Plan::check).collect::<Result<_, _>>().map_err(failed)?;
        if !self.args.quiet {
            self.policies.warnings().iter().for_each(|warning| say::line(&format!("warning: {warning}")));
        }
        let within = || self.policies.ceilings().zip(&reports[1..]);
        let text = if self.args.json {
            let within: Vec<_> = within()
                .map(|(name, report)| json!({ "policy": word_as_json(name), "report": report }))
                .collect();
            let value = json!({
                "command": self.program,
                "report": reports[0],
                "within": within,
                "seccomp": backstop_notes(self.closed),
            });
            format!("{value:#}\n")
        } else {
            let mut text = format!("{} would run.\n{}", printable(self.program.path()), reports[0]);
            within().for_each(|(name, report)| text += &format!("And within {}:\n{report}", printable(name)));
            let unresolved = self.program.unresolved().map(str::to_owned);
            backstop_notes(self.closed)
                .into_iter()
                .chain(unresolved)
                .for_each(|line| text += &format!("  note: {line}\n"));
            text
        };
        say::print(&text)
    }
}

/// What the backstop closes besides whole rights.
fn besides(closed: Closed) -> Vec<&'static str> {
    [
        (closed.other_streams, "Multipath TCP and other streams than TCP"),
        (closed.fast_open, "connecting by TCP Fast Open"),
        (closed.families, "sockets of other families (raw, packet, vsock, most of netlink)"),
        (closed.io_uring, "io_uring"),
    ]
    .into_iter()
    .filter(|(closed, _)| *closed)
    .map(|(_, what)| what)
    .collect()
}

fn backstop_notes(closed: Closed) -> Vec<String> {
    if !backstop::exists() {
        return vec![
            "seccomp closes nothing on this architecture, not even typing into the terminal".to_owned(),
        ];
    }
    let besides = besides(closed);
    let mut notes = vec!["refused by seccomp: typing into the terminal (TIOCSTI, TIOCLINUX)".to_owned()];
    if !besides.is_empty() {
        notes.push(format!("refused by seccomp: {}", besides.join("; ")));
    }
    notes
}
