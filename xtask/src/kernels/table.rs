//! What came of it: rows, and the table of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::machine::{Finished, last_lines};
use super::{ANSWERS, EXPLAINED, EXPLAINED_OPERATIONS, How, LEARNED, MODEL, OPERATIONS, Place, Task};
use crate::emulate::{As, LINUX, NEWEST};

/// So many answers are there at least, also where there is no Landlock.
const LEAST: usize = 300;

/// A line of the table.
pub struct Row {
    pub title: String,
    /// The kernel's release; None where it is this machine's.
    pub release: Option<String>,
    pub how: How,
    pub expected: As,
    /// What the kernel said when it was asked for its version, and its errata.
    seen: String,
    errata: String,
    /// The tests, as the lines of results say.
    passed: u32,
    failed: u32,
    ignored: u32,
    /// Operations of which the model says what the kernel did.
    operations: u32,
    took: Duration,
    /// By whom they claim to be.
    answers: BTreeMap<String, String>,
    pub problems: Vec<String>,
}

impl Row {
    pub fn new(task: &Task, finished: Result<Finished>, took: Duration) -> Row {
        let release = match &task.place {
            Place::Machine(kernel, _) => Some(kernel.release.clone()),
            Place::Here | Place::Nowhere => None,
        };
        let mut row = Row {
            title: task.title.clone(),
            release,
            how: task.how,
            expected: task.expected,
            seen: String::new(),
            errata: String::new(),
            passed: 0,
            failed: 0,
            ignored: 0,
            operations: 0,
            took,
            answers: BTreeMap::new(),
            problems: Vec::new(),
        };
        match finished {
            Ok(finished) => {
                let missing = task.jobs.iter().filter(|(name, _)| !finished.contains_key(name));
                row.problems.extend(missing.map(|(name, _)| format!("{name} did not run")));
                finished.into_iter().for_each(|(name, (status, said))| row.job(name, status, said));
            }
            Err(error) => row.problems.push(format!("{error:#}")),
        }
        row
    }

    fn job(&mut self, name: String, status: Option<i32>, said: String) {
        if status != Some(0) {
            let status = status.map_or("no exit status".to_owned(), |status| format!("exit status {status}"));
            self.problems.push(format!("{name} ended with {status}:{}", last_lines(&said)));
        }
        if name == MODEL {
            let compared = |line: &str| line.split_once(" operations, ")?.0.parse().ok();
            self.operations = said.lines().find_map(compared).unwrap_or(0);
            if self.operations < OPERATIONS {
                let done = self.operations;
                self.problems.push(format!("{name}: {done} operations compared:{}", last_lines(&said)));
            }
            return;
        }
        if name == EXPLAINED {
            let done = |line: &str| line.strip_prefix("exact: ")?.split_once(' ')?.0.parse().ok();
            let done: u32 = said.lines().find_map(done).unwrap_or(0);
            if done < EXPLAINED_OPERATIONS {
                self.problems.push(format!("{name}: {done} operations explained:{}", last_lines(&said)));
            }
            return;
        }
        if name == LEARNED {
            let done = |line: &str| {
                line.strip_prefix("learned, ")?.split([':', ' ']).find_map(|n| n.parse::<u32>().ok())
            };
            let done: u32 = said.lines().filter_map(done).sum();
            if done < EXPLAINED_OPERATIONS {
                self.problems.push(format!("{name}: {done} operations learned from:{}", last_lines(&said)));
            }
            return;
        }
        let Some(kernel) = name.strip_prefix(ANSWERS) else {
            let mut counts = [0; 3];
            for line in said.lines().filter(|line| line.starts_with("test result:")) {
                for (count, what) in counts.iter_mut().zip(["passed", "failed", "ignored"]) {
                    let words: Vec<&str> = line.split([' ', ';', '.']).collect();
                    let number =
                        words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse().ok());
                    *count += number.unwrap_or(0);
                }
            }
            if counts[0] == 0 {
                self.problems.push(format!("{name}: no test passed:{}", last_lines(&said)));
            }
            self.passed += counts[0];
            self.failed += counts[1];
            self.ignored += counts[2];
            return;
        };
        let value = |name: &str| {
            said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("nothing").to_owned()
        };
        let seen = value("version: ");
        if seen != kernel.parse().map_or(String::new(), As::version) {
            self.problems.push(format!("it should be {kernel}, and says {seen}"));
        }
        self.seen = seen;
        self.errata = value("errata: ").parse::<u32>().map_or("-".to_owned(), |fixed| format!("{fixed:#x}"));
        if !self.answers.is_empty() {
            // Many kernels in turn.
            (self.seen, self.errata) = ("all".to_owned(), String::new());
        }
        let release = value("release: ");
        if self.how == How::Real && !release.starts_with(self.title.split(',').next().unwrap_or_default()) {
            self.problems.push(format!("it is Linux {release}"));
        }
        if said.lines().count() < LEAST {
            self.problems.push(format!("{name}: less than {LEAST} answers:{}", last_lines(&said)));
        }
        // Errata are not of an ABI: they come with updates.
        let rest =
            said.lines().filter(|line| !line.starts_with("errata: ") && !line.starts_with("release: "));
        self.answers.insert(kernel.to_owned(), rest.map(|line| format!("{line}\n")).collect());
    }

    /// One line, as soon as it is known.
    pub fn said(&self) -> String {
        let how = if self.problems.is_empty() { "ok" } else { "FAILED" };
        format!("{how}  {} ({} s)", self.title, self.took.as_secs())
    }
}

/// Whoever claims to be the same kernel has to answer the same: the emulator as the real one.
pub fn compare(rows: &mut [Row]) {
    let mut first: BTreeMap<String, (String, String)> = BTreeMap::new();
    let (real, emulated): (Vec<_>, Vec<_>) = rows.iter_mut().partition(|row| row.how == How::Real);
    for row in real.into_iter().chain(emulated) {
        for (kernel, answers) in &row.answers {
            let (of, expected) =
                first.entry(kernel.clone()).or_insert_with(|| (row.title.clone(), answers.clone()));
            let differ: Vec<String> = (expected.lines().zip(answers.lines()))
                .filter(|(expected, found)| expected != found)
                .map(|(expected, found)| format!("{found}, but in {of}: {expected}"))
                .collect();
            if !differ.is_empty() || expected.lines().count() != answers.lines().count() {
                let what =
                    format!("answers as {kernel} differ in {} lines:\n{}", differ.len(), differ.join("\n"));
                row.problems.push(what);
            }
        }
    }
}

/// How many kernels were booted and found good.
pub fn real_kernels(rows: &[Row]) -> usize {
    let good = rows.iter().filter(|row| row.how == How::Real && row.problems.is_empty());
    good.filter_map(|row| row.release.as_ref()).collect::<BTreeSet<_>>().len()
}

const HEAD: [&str; 9] =
    ["kernel", "release", "Landlock", "seen", "errata", "passed", "failed", "left out", "model"];

fn cells(row: &Row) -> [String; 9] {
    let release = match (row.how, &row.release) {
        (How::Real, Some(release)) => release.clone(),
        (How::Emulated, Some(release)) => format!("emulated on {release}"),
        (How::Emulated, None) => "emulated".to_owned(),
        (How::Real | How::Gone, _) => "emulated only".to_owned(),
    };
    let (seen, counts) = (row.seen.clone(), [row.passed, row.failed, row.ignored].map(|n| n.to_string()));
    let [passed, failed, ignored] = counts;
    let (title, kernel, errata) = (row.title.clone(), row.expected.name(), row.errata.clone());
    [title, release, kernel, seen, errata, passed, failed, ignored, row.operations.to_string()]
}

fn lines<const N: usize>(rows: &[[String; N]]) -> String {
    let mut text = String::new();
    let widths: Vec<usize> =
        (0..N).map(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0)).collect();
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if n == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
    text
}

pub fn text(rows: &[Row]) -> String {
    let head = HEAD.map(str::to_owned);
    lines(&std::iter::once(head).chain(rows.iter().map(cells)).collect::<Vec<_>>())
}

/// docs/kernels.md
pub fn document(rows: &[Row]) -> Result<String> {
    let date = std::process::Command::new("date").args(["-u", "+%F"]).output()?;
    let date = String::from_utf8(date.stdout)?;
    let mut summary = vec![["Landlock".to_owned(), "Linux".to_owned(), "tested on".to_owned()]];
    let kernels = [As::None, As::Off].into_iter().chain((1..=NEWEST).map(As::Abi));
    for kernel in kernels {
        let mut on = rows.iter().filter(|row| row.expected == kernel && row.passed > 0).peekable();
        let any = on.peek().is_some();
        let on = match on.find(|row| row.how == How::Real).and_then(|row| row.release.as_ref()) {
            Some(release) => format!("Linux {release}"),
            None if any => "emulated only".to_owned(),
            None => "nothing".to_owned(),
        };
        let since = match kernel {
            As::Abi(abi) => LINUX[abi as usize - 1],
            _ => "",
        };
        summary.push([kernel.name(), since.to_owned(), on]);
    }
    Ok(format!(
        "\
# The kernels that Palisade is tested on

Written by `cargo xtask kernels --write` on {date}
Each change is tested so. This page is what came of it on that day: not a promise, a record.

{}
Emulated means: a kernel of another version, which by a supervisor (`cargo xtask emulate`) answers Landlock's three system
calls as that version would. What is then enforced is what the kernel underneath enforces. The emulator's answers to some
500 calls are compared, line by line, with those of each real kernel in the table; not what is said of errata, which come with updates.

## Each run

Real kernels are Debian's, booted in a virtual machine; \"emulated here\" is on the machine that ran the tests. \"seen\" is what
the kernel answered when it was asked for its version, \"errata\" those that it says it has fixed. The tests are those of
enforcement (crates/palisade/tests/enforce), each as root and as an ordinary user, those of what the command closes with seccomp
(crates/palisade-cli/tests/command/backstop.rs), on real ones what it explains (crates/palisade-cli/tests/explained), and where there
is Landlock those that count system calls. \"left out\" are those that could not run there: of auditing outside of virtual machines, of overlays where the kernel has none. Of a kernel
without Landlock a part of them is run in a machine, and all of them emulated. \"model\" is how many random operations were
done of which `Policy::decide` said beforehand how they end (crates/palisade/tests/model).

{}",
        lines(&summary),
        text(rows)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERS_OF_2: &str = "version: 2\nerrata: 12\nfs bit 14: EINVAL\n";
    const PASSED: &str = "test a ... ok\n\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n";

    fn task(jobs: &[(&str, Option<i32>, &str)]) -> Task<'static> {
        let jobs = jobs.iter().map(|(name, ..)| ((*name).to_owned(), String::new())).collect();
        Task { title: "a".to_owned(), expected: As::Abi(2), place: Place::Here, how: How::Emulated, jobs }
    }

    fn row(jobs: &[(&str, Option<i32>, &str)]) -> Row {
        let rest = |name: &str| "a: ok\n".repeat(if name.starts_with(ANSWERS) { LEAST } else { 0 });
        let finished = jobs.iter().map(|(name, status, said)| {
            let said = (*said).to_owned() + &rest(name);
            ((*name).to_owned(), (*status, said))
        });
        Row::new(&task(jobs), Ok(finished.collect()), Duration::ZERO)
    }

    #[test]
    fn a_row_counts_tests_and_has_no_problem() {
        let row =
            row(&[("answers:2", Some(0), ANSWERS_OF_2), ("b", Some(0), PASSED), ("c", Some(0), PASSED)]);
        assert_eq!(row.problems, [""; 0]);
        assert_eq!((row.seen.as_str(), row.errata.as_str()), ("2", "0xc"));
        assert_eq!((row.passed, row.failed, row.ignored), (6, 0, 2));
    }

    #[test]
    fn whatever_went_wrong_is_a_problem() {
        for (job, problem) in [
            (("answers:3", Some(0), ANSWERS_OF_2), "it should be 3, and says 2"),
            (("answers:2", Some(1), ANSWERS_OF_2), "answers:2 ended with exit status 1"),
            (("enforce", Some(101), PASSED), "enforce ended with exit status 101"),
            (("enforce", None, PASSED), "enforce ended with no exit status"),
            (
                ("enforce", Some(0), "test result: ok. 0 passed; 0 failed; 9 ignored;"),
                "enforce: no test passed",
            ),
            (("enforce", Some(0), ""), "enforce: no test passed"),
            (("model", Some(0), "1999 operations, 1 suggestions tried"), "model: 1999 operations compared"),
            (("model", Some(0), ""), "model: 0 operations compared"),
            (("model", Some(1), "2000 operations, 1 suggestions tried"), "model ended with exit status 1"),
        ] {
            let problems = row(&[job]).problems;
            assert!(problems.len() == 1 && problems[0].starts_with(problem), "{job:?}: {problems:?}");
        }
        let jobs = task(&[("b", Some(0), PASSED)]);
        let problems = |finished| Row::new(&jobs, finished, Duration::ZERO).problems;
        assert_eq!(problems(Err(anyhow::anyhow!("hung"))), ["hung"]);
        assert_eq!(problems(Ok(Finished::new())), ["b did not run"]);
    }

    #[test]
    fn real_kernels_are_counted_once_and_if_they_are_good() {
        let row = |release: &str, real: bool, said: &str| Row {
            release: Some(release.to_owned()),
            how: if real { How::Real } else { How::Gone },
            ..row(&[("enforce", Some(0), said)])
        };
        let rows = [
            row("1", true, PASSED),
            row("1", true, PASSED),
            row("2", true, ""),
            row("3", false, PASSED),
            row("4", true, PASSED),
        ];
        assert_eq!(real_kernels(&rows), 2);
    }

    #[test]
    fn the_page_says_what_was_real_and_what_emulated() {
        let of = |expected: As, how: How, release: &str| Row {
            expected,
            how,
            release: Some(release.to_owned()),
            ..row(&[("enforce", Some(0), PASSED)])
        };
        let rows = [
            of(As::Abi(2), How::Gone, "9"),
            of(As::Abi(3), How::Emulated, "9"),
            of(As::Abi(3), How::Real, "1"),
        ];
        let page = document(&rows).unwrap();
        let tested = |abi: &str| {
            let line = page.lines().find(|line| line.starts_with(&format!("| {abi} ")))?;
            line.split('|').nth(3).map(|cell| cell.trim().to_owned())
        };
        assert_eq!(tested("ABI 1").as_deref(), Some("nothing"));
        assert_eq!(tested("ABI 2").as_deref(), Some("emulated only"));
        assert_eq!(tested("ABI 3").as_deref(), Some("Linux 1"));
    }

    #[test]
    fn whoever_claims_to_be_the_same_kernel_has_to_answer_the_same() {
        let answers = |said: &str| row(&[("answers:2", Some(0), said)]);
        let problems = |other: &str| {
            let mut rows = [answers(ANSWERS_OF_2), answers(other)];
            compare(&mut rows);
            rows[1].problems.len()
        };
        assert_eq!(problems(ANSWERS_OF_2), 0);
        // Errata come with updates.
        assert_eq!(problems("version: 2\nerrata: 8\nfs bit 14: EINVAL\n"), 0);
        assert_eq!(problems("version: 2\nerrata: 12\nfs bit 14: ok\n"), 1);
        assert_eq!(problems("version: 2\nerrata: 12\n"), 1);
    }
}
