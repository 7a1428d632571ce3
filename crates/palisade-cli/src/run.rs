//! `palisade run`: confine a program, then become it.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use palisade::{
    Domain, Error, Kernel, Log, Lost, Plan, Program, Report, Request, Rights, Ruleset, Start, printable,
};
use serde_json::json;

use crate::args::{Explain, LogWhat, RunArgs};
use crate::backstop::{self, Closed, Watcher};
use crate::explain::Launch;
use crate::policy::Policies;
use crate::say::word_as_json;
use crate::{Failure, say, sys};

/// COMMAND was found and cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// COMMAND was not found.
const NOT_FOUND: u8 = 127;

pub fn run(args: RunArgs) -> Result<(), Failure> {
    let (name, rest) = args.command.split_first().ok_or_else(|| Failure::new("COMMAND is missing"))?;
    if let Some(fd) = args.keep_fd.iter().find(|fd| !sys::is_open(i32::from(**fd))) {
        return Err(Failure::new(format!("--keep-fd {fd}: descriptor {fd} is not open")));
    }
    if let Some(dir) = &args.chdir {
        let found = std::fs::metadata(dir).and_then(|meta| match meta.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        });
        found.map_err(|error| Failure::new(format!("--chdir {}: {error}", printable(dir))))?;
    }
    let kernel = Kernel::probe();
    let policies = Policies::read(&args.policy)?;
    let env = environment(&args, &policies);
    let variable = |name: &str| env.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str());
    let start = Start {
        path: variable("PATH"),
        ld_library_path: variable("LD_LIBRARY_PATH"),
        dir: args.chdir.as_deref(),
    };
    let program = if args.no_program { Program::find_alone(name) } else { Program::find_for(name, &start) };
    let program = program.map_err(|error| {
        let failure = program_failure(&error);
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

    let closure = if args.no_program { Vec::new() } else { program.rules() };
    let log = if args.log == LogWhat::All { Log::NEW_EXEC_ON } else { Log::empty() };
    let failed = |error: Error| policy_failure(&error, &policies, &kernel);
    let plans = policies.plans(&kernel, closure, log).map_err(failed)?;
    within(&policies, &plans, &program, args.no_program)?;
    let closes = policies.closed(&plans);
    let (plans, closed) = if args.no_backstop { (plans, Closed::default()) } else { close(plans, closes) };
    let told = Told { args: &args, policies: &policies, program: &program, closes, closed };
    if args.dry_run {
        return told.dry_run(&plans);
    }

    let path = absolute(&args, &program)?;
    let strings = c_strings(&path, name, rest, &env)?;
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
    hygiene(&args)?;
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
    let (path, words, env) = strings;
    let error = sys::execute(&path, &words, &env);
    Err(not_executed(&program, args.no_program, &error))
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
fn within(policies: &Policies<'_>, plans: &[Plan], program: &Program, alone: bool) -> Result<(), Failure> {
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

/// The environment of COMMAND.
fn environment(args: &RunArgs, policies: &Policies<'_>) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| policies.passes(name, args.clear_env)).collect();
    for variable in &args.env {
        let value = variable.value.clone().or_else(|| std::env::var_os(&variable.name));
        if let Some(value) = value {
            env.retain(|(name, _)| *name != variable.name);
            env.push((variable.name.clone(), value));
        }
    }
    env.retain(|(name, _)| policies.is_within(name));
    env
}

/// What to execute. COMMAND is relative to the present folder, which --chdir leaves.
fn absolute(args: &RunArgs, program: &Program) -> Result<std::path::PathBuf, Failure> {
    match args.chdir {
        None => Ok(program.path().to_owned()),
        Some(_) => std::path::absolute(program.path())
            .map_err(|error| Failure::new(format!("the current folder cannot be found: {error}"))),
    }
}

type Strings = (CString, Vec<CString>, Vec<CString>);

fn c_strings(
    path: &std::path::Path,
    name: &OsStr,
    args: &[OsString],
    env: &[(OsString, OsString)],
) -> Result<Strings, Failure> {
    let string = |text: &OsStr| {
        CString::new(text.as_bytes())
            .map_err(|_| Failure::new("an argument or variable has a NUL byte in it"))
    };
    let all = [name].into_iter().chain(args.iter().map(OsString::as_os_str)).map(string);
    let variables = env.iter().map(|(name, value)| {
        let mut text = name.clone();
        text.push("=");
        text.push(value);
        string(&text)
    });
    Ok((string(path.as_os_str())?, all.collect::<Result<_, _>>()?, variables.collect::<Result<_, _>>()?))
}

/// What COMMAND must not inherit: the folder is changed, capabilities are given up, descriptors closed.
fn hygiene(args: &RunArgs) -> Result<(), Failure> {
    if let Some(dir) = &args.chdir {
        std::env::set_current_dir(dir)
            .map_err(|error| Failure::new(format!("--chdir {}: {error}", printable(dir))))?;
    }
    let failed = |what: &str, error: io::Error| Failure::new(format!("{what}: {error}"));
    let keep = args.keep_caps.iter().fold(0, |all, caps| all | caps);
    if keep != u64::MAX {
        sys::keep_capabilities(keep).map_err(|e| failed("capabilities cannot be given up", e))?;
    }
    sys::close_on_exec_from(3).map_err(|e| failed("descriptors cannot be closed for COMMAND", e))?;
    for fd in &args.keep_fd {
        sys::keep_on_exec(i32::from(*fd)).map_err(|e| failed(&format!("--keep-fd {fd}"), e))?;
    }
    Ok(())
}

fn not_executed(program: &Program, no_program: bool, error: &io::Error) -> Failure {
    let path = printable(program.path());
    let message = match error.raw_os_error() {
        Some(libc::EACCES) if no_program => format!(
            "{path}: may not be executed under this policy (EACCES); grant it, its interpreter and its libraries \
             with --rx, or leave --no-program out"
        ),
        Some(libc::EACCES) => {
            let unresolved: String = program.unresolved().map(|line| format!("; {line}")).collect();
            format!("{path}: may not be executed (EACCES){unresolved}")
        }
        Some(libc::E2BIG) => format!("{path}: the arguments and the environment are too long (E2BIG)"),
        Some(libc::ENOEXEC) => format!("{path}: is no program for this machine (ENOEXEC)"),
        _ => format!("{path}: cannot be executed: {error}"),
    };
    Failure::new(message).code(NOT_RUNNABLE)
}

fn program_failure(error: &Error) -> Failure {
    let code = if error.is_program_missing() { NOT_FOUND } else { NOT_RUNNABLE };
    Failure::new(error.to_string()).code(code)
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
