//! `palisade run`: confine a program, then become it.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use palisade::{Error, Kernel, Log, Lost, Plan, Program, Report, Rights, Start, printable};
use serde_json::json;

use crate::args::{LogWhat, PolicyArgs, RunArgs};
use crate::backstop::{self, Closed};
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
    let env = environment(&args);
    let variable = |name: &str| env.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str());
    let start = Start {
        path: variable("PATH"),
        ld_library_path: variable("LD_LIBRARY_PATH"),
        dir: args.chdir.as_deref(),
    };
    let program = if args.no_program { Program::find_alone(name) } else { Program::find_for(name, &start) };
    let program = program.map_err(|error| program_failure(&error))?;

    let closure = if args.no_program { Vec::new() } else { program.rules() };
    let log = if args.log == LogWhat::All { Log::NEW_EXEC_ON } else { Log::empty() };
    let plan = args
        .policy
        .plan(&kernel, closure, log)
        .map_err(|error| policy_failure(&error, &args.policy, &kernel))?;
    let closes = Closed::of(&plan, args.policy.named());
    let (plan, closed) = if args.no_backstop { (plan, Closed::default()) } else { close(plan, closes) };
    if args.dry_run {
        return dry_run(&args, &plan, &program, closed);
    }

    let path = absolute(&args, &program)?;
    let strings = c_strings(&path, name, rest, &env)?;
    sys::set_no_new_privs().map_err(|e| Failure::new(format!("no_new_privs cannot be set: {e}")))?;
    let report = plan.enforce().map_err(|error| policy_failure(&error, &args.policy, &kernel))?;
    tell(&args, &report, &program, closes, closed);
    hygiene(&args)?;
    let filter = backstop::filter(Closed { typing: true, ..closed });
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

/// The plan, which says what the backstop closes of what is lost to Landlock; and what it closes.
fn close(plan: Plan, closed: Closed) -> (Plan, Closed) {
    if !backstop::exists() {
        return (plan, Closed::default());
    }
    let lost: Rights = plan.lost().map(|lost| lost.right()).collect();
    let how = [
        (closed.tcp, Rights::TCP, "seccomp: no TCP socket can be made"),
        (closed.udp, Rights::UDP, "seccomp: no UDP socket can be made"),
        (closed.unix, Rights::UNIX | Rights::ABSTRACT, "seccomp: no UNIX socket can be made"),
    ];
    let closes = how.into_iter().filter(|(closed, rights, _)| *closed && lost.intersects(*rights));
    let plan = closes.fold(plan, |plan, (_, rights, by)| plan.closed_by(rights & lost, by));
    (plan, closed)
}

/// The environment of COMMAND.
fn environment(args: &RunArgs) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> =
        if args.clear_env { Vec::new() } else { std::env::vars_os().collect() };
    for variable in &args.env {
        let value = variable.value.clone().or_else(|| std::env::var_os(&variable.name));
        if let Some(value) = value {
            env.retain(|(name, _)| *name != variable.name);
            env.push((variable.name.clone(), value));
        }
    }
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

/// The same error, with the option that helps in place of the method.
pub fn policy_failure(error: &Error, policy: &PolicyArgs, kernel: &Kernel) -> Failure {
    let hint = if error.is_missing_path() {
        "if COMMAND is to make it, grant its folder; --ignore-missing skips what does not exist".to_owned()
    } else if error.is_unsupported() {
        match kernel.abi() {
            Err(why) => {
                format!("{}; --best-effort runs COMMAND all the same, its files not confined", why.help())
            }
            Ok(_) if policy.requires() => {
                format!("leave {} out of --require to go on without", short_names(error.rights()).join(","))
            }
            Ok(_) => format!(
                "--unrestricted {} leaves these open and goes on; --best-effort goes on whatever is open",
                short_names(error.rights()).join(",")
            ),
        }
    } else if error.is_several_threads() || error.is_too_many_layers() {
        String::new()
    } else {
        error.hint().to_owned()
    };
    let message = error.message();
    Failure::new(if hint.is_empty() { message.to_string() } else { format!("{message}; {hint}") })
}

/// Rights as --unrestricted takes them: whole categories by their names.
pub fn short_names(rights: Rights) -> Vec<&'static str> {
    let name = |(name, category): (&'static str, Rights)| match rights.contains(category) {
        true => vec![name],
        false => (category & rights).names().collect(),
    };
    Rights::CATEGORIES.into_iter().flat_map(name).collect()
}

/// One line on what is open although an option names it, one for what was skipped; under -v the whole report.
fn tell(args: &RunArgs, report: &Report, program: &Program, closes: Closed, closed: Closed) {
    if args.verbose {
        program.unresolved().for_each(say::line);
        report.to_string().lines().for_each(say::line);
        backstop_notes(closed).iter().for_each(|note| say::line(&format!("  note: {note}")));
        return;
    }
    if args.quiet {
        return;
    }
    if let Some(line) = open_line(args, report.plan(), closes, closed) {
        say::line(&line);
    }
    let skipped: Vec<String> = report.skipped().map(|path| printable(path).to_string()).collect();
    if !skipped.is_empty() {
        say::line(&format!("skipped, for it does not exist: {}", skipped.join(", ")));
    }
}

/// What this kernel leaves open although an option names it, or although it is required unless an option says
/// otherwise; and with --no-backstop, what that leaves open.
fn open_line(args: &RunArgs, plan: &Plan, closes: Closed, closed: Closed) -> Option<String> {
    // What is granted once opens the whole category, where only a filter could close it.
    let named = args.policy.named();
    let whole = [Rights::TCP, Rights::UDP, Rights::UNIX | Rights::ABSTRACT].into_iter();
    let opened: Rights = whole.filter(|category| named.intersects(*category)).collect();
    let expected = named | opened | args.policy.usually_required();
    let expected = if closes == closed { expected } else { expected | closes.rights() };
    let lost: Vec<Lost> = plan
        .lost()
        .filter(|lost| expected.contains(lost.right()) && !closed.rights().contains(lost.right()))
        .collect();
    let mut open: Vec<String> = lost.iter().map(ToString::to_string).collect();
    let alone = args.policy.named() - plan.requested() - args.policy.any_port();
    open.extend(alone.names().map(|name| format!("{name}: left alone by --unrestricted or --abi")));
    if closes != closed {
        open.extend(besides(closes).into_iter().map(str::to_owned));
    }
    match plan.kernel().abi() {
        Err(why) => Some(format!("FILES ARE NOT CONFINED: {why}; to change that: {}", why.help())),
        Ok(_) if open.is_empty() => None,
        Ok(_) => Some(format!("NOT RESTRICTED, so open whatever is granted: {}", open.join(", "))),
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

fn dry_run(args: &RunArgs, plan: &Plan, program: &Program, closed: Closed) -> Result<(), Failure> {
    let report = plan.check().map_err(|error| policy_failure(&error, &args.policy, plan.kernel()))?;
    let text = if args.json {
        let value = json!({ "command": program, "report": report, "seccomp": backstop_notes(closed) });
        format!("{value:#}\n")
    } else {
        let mut text = format!("{} would run.\n{report}", printable(program.path()));
        let unresolved = program.unresolved().map(str::to_owned);
        backstop_notes(closed)
            .into_iter()
            .chain(unresolved)
            .for_each(|line| text += &format!("  note: {line}\n"));
        text
    };
    say::print(&text)
}
