//! `palisade run`: confine a program, then become it.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use palisade::{Error, Kernel, Lost, Plan, Program, Report, Rights, printable};
use serde_json::json;

use crate::args::{PolicyArgs, RunArgs};
use crate::{Failure, say};

/// COMMAND was found and cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// COMMAND was not found.
const NOT_FOUND: u8 = 127;

pub fn run(args: RunArgs) -> Result<(), Failure> {
    let (name, rest) = args.command.split_first().ok_or_else(|| Failure::new("COMMAND is missing"))?;
    let kernel = Kernel::probe();
    let program = Program::find(name).map_err(|error| program_failure(&error))?;
    let policy = args.policy.policy();
    let policy = if args.no_program { policy } else { policy.rules(program.rules()) };
    let plan = policy.plan(&kernel).map_err(|error| policy_failure(&error, &kernel))?;
    if args.dry_run {
        return dry_run(&args, &plan, &program);
    }
    let report = plan.enforce().map_err(|error| policy_failure(&error, &kernel))?;
    tell(&args, &report, &program);
    Err(become_program(&program, name, rest))
}

/// Only returns if it fails.
fn become_program(program: &Program, name: &OsStr, args: &[OsString]) -> Failure {
    let error = Command::new(program.path()).arg0(name).args(args).exec();
    let path = printable(program.path());
    let message = match error.raw_os_error() {
        Some(libc::EACCES) => format!(
            "{path}: may not be executed under this policy, or by ordinary permissions (EACCES); \
             grant it, its interpreter and its libraries with --rx, or leave --no-program out"
        ),
        Some(libc::E2BIG) => format!("{path}: the arguments and the environment are too long (E2BIG)"),
        _ => format!("{path}: cannot be executed: {error}"),
    };
    Failure::new(message).code(NOT_RUNNABLE)
}

fn program_failure(error: &Error) -> Failure {
    let code = if error.is_program_missing() { NOT_FOUND } else { NOT_RUNNABLE };
    Failure::new(error.to_string()).code(code)
}

/// The same error, with the option that helps in place of the method.
fn policy_failure(error: &Error, kernel: &Kernel) -> Failure {
    let hint = if error.is_missing_path() {
        "--ignore-missing skips what does not exist".to_owned()
    } else if error.is_unsupported() {
        match kernel.abi() {
            Err(why) => {
                format!("{}; --best-effort runs COMMAND all the same, confined by nothing", why.help())
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
fn short_names(rights: Rights) -> Vec<&'static str> {
    let name = |(name, category): (&'static str, Rights)| match rights.contains(category) {
        true => vec![name],
        false => (category & rights).names().collect(),
    };
    Rights::CATEGORIES.into_iter().flat_map(name).collect()
}

/// What the options name, or what is required unless they say otherwise, and this kernel does not restrict.
fn open_though_named(args: &PolicyArgs, plan: &Plan) -> Vec<Lost> {
    let expected = args.named() | args.usually_required();
    plan.lost().filter(|lost| expected.contains(lost.right())).collect()
}

/// One line on what is open although an option names it, one for what was skipped; under -v the whole report.
fn tell(args: &RunArgs, report: &Report, program: &Program) {
    if args.verbose {
        for unresolved in program.unresolved() {
            say::line(unresolved);
        }
        for line in report.to_string().lines() {
            say::line(line);
        }
        return;
    }
    if args.quiet {
        return;
    }
    if let Some(line) = open_line(&open_though_named(&args.policy, report.plan()), report.plan()) {
        say::line(&line);
    }
    let skipped: Vec<String> = report.skipped().map(|path| printable(path).to_string()).collect();
    if !skipped.is_empty() {
        say::line(&format!("skipped, for it does not exist: {}", skipped.join(", ")));
    }
}

fn open_line(lost: &[Lost], plan: &Plan) -> Option<String> {
    let newest = lost.iter().filter_map(|lost| lost.needs().ok()).max();
    match (lost, plan.kernel().abi(), newest) {
        ([], ..) => None,
        (_, Err(why), _) => Some(format!("NOTHING IS CONFINED: {why}; to change that: {}", why.help())),
        (_, _, newest) => {
            let names: Vec<String> = lost.iter().map(ToString::to_string).collect();
            let newest = newest.map_or(String::new(), |abi| format!("; all of it needs {abi}"));
            let newest = if lost.len() > 1 { newest } else { String::new() };
            Some(format!(
                "NOT RESTRICTED by this kernel, so open whatever is granted: {}{newest}",
                names.join(", ")
            ))
        }
    }
}

fn dry_run(args: &RunArgs, plan: &Plan, program: &Program) -> Result<(), Failure> {
    let report = plan.check().map_err(|error| policy_failure(&error, plan.kernel()))?;
    let unresolved: Vec<&str> = program.unresolved().collect();
    let text = if args.json {
        let value = json!({ "command": program, "report": report });
        format!("{value:#}\n")
    } else {
        let mut text = format!("{} would run.\n{report}", printable(program.path()));
        unresolved.iter().for_each(|line| text += &format!("  note: {line}\n"));
        text
    };
    say::print(&text)
}
