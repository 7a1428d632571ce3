//! `palisade check`: what is wrong with policy files, and what may not be meant.

use std::ffi::OsStr;

use palisade::{Abi, Error, Kernel, Origin, PolicyFile, Warning, printable};
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::say::word_as_json;
use crate::{FAILED, Failure, say};

/// There are warnings, and they are denied.
const WARNED: u8 = 1;

const SCHEMA: &str = include_str!("../policy.schema.json");

pub fn check(args: &CheckArgs) -> Result<u8, Failure> {
    if args.schema {
        return say::print(SCHEMA).map(|()| 0);
    }
    let checked: Vec<Checked<'_>> = args.files.iter().map(|name| Checked::new(name)).collect();
    if args.json {
        let all: Value = checked.iter().map(Checked::as_json).collect();
        say::print(&format!("{all:#}\n"))?;
    } else {
        checked.iter().try_for_each(Checked::say)?;
    }
    Ok(match () {
        () if checked.iter().any(|file| file.found.is_err()) => FAILED,
        () if args.deny_warnings && checked.iter().any(Checked::is_warned) => WARNED,
        () => 0,
    })
}

/// A file, and what was found.
struct Checked<'a> {
    name: &'a OsStr,
    found: Result<Vec<Warning>, Error>,
}

impl Checked<'_> {
    fn new(name: &OsStr) -> Checked<'_> {
        let found = PolicyFile::find(name).and_then(|file| {
            // What contradicts itself does so on every kernel.
            match file.policy().plan(&Kernel::new(Abi::LATEST)) {
                Err(error) if error.is_invalid() => Err(error),
                Ok(plan) if plan.requested().is_empty() => {
                    let message = "nothing at all is restricted".to_owned();
                    let origin = Origin::Words(printable(name).to_string().into());
                    Ok([Warning::new(origin, message)].into_iter().chain(file.warnings()).collect())
                }
                _ => Ok(file.warnings()),
            }
        });
        Checked { name, found }
    }

    fn is_warned(&self) -> bool {
        self.found.as_ref().is_ok_and(|warnings| !warnings.is_empty())
    }

    fn say(&self) -> Result<(), Failure> {
        let name = printable(self.name);
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let summary = match &self.found {
            Ok(warnings) => {
                warnings.iter().for_each(|warning| say::line(&format!("warning: {warning}")));
                match warnings.len() {
                    0 => "valid".to_owned(),
                    number => format!("valid, with {}", count(number, "warning")),
                }
            }
            Err(error) if error.problems().is_empty() => {
                say::line(&format!("{name}: {error}"));
                count(1, "mistake")
            }
            Err(error) => {
                error.problems().iter().for_each(|problem| say::line(&problem.to_string()));
                count(error.problems().len(), "mistake")
            }
        };
        say::print(&format!("{name}: {summary}\n"))
    }

    fn as_json(&self) -> Value {
        let problem = |file: &str, place: Option<(usize, usize)>, message: &str, hint: &str| {
            json!({
                "file": file,
                "line": place.map(|(line, _)| line),
                "column": place.map(|(_, column)| column),
                "message": message,
                "hint": Some(hint).filter(|hint| !hint.is_empty()),
            })
        };
        let problems: Vec<Value> = match &self.found {
            Ok(_) => Vec::new(),
            Err(error) if error.problems().is_empty() => {
                let name = printable(self.name).to_string();
                vec![problem(&name, None, &error.message().to_string(), error.hint())]
            }
            Err(error) => {
                error.problems().iter().map(|p| problem(p.file(), p.place(), p.message(), p.hint())).collect()
            }
        };
        let warnings: Vec<Value> = self.found.iter().flatten().map(warning_as_json).collect();
        json!({
            "policy": word_as_json(self.name),
            "valid": self.found.is_ok(),
            "problems": problems,
            "warnings": warnings,
        })
    }
}

fn warning_as_json(warning: &Warning) -> Value {
    let (file, line, column) = match &warning.origin {
        Origin::Line { file, line, column } => (file, Some(line), Some(column)),
        Origin::Words(words) => (words, None, None),
    };
    json!({ "file": &**file, "line": line, "column": column, "message": warning.message })
}
