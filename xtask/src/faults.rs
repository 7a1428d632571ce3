//! Builds the library with one fault each, which the tests have to find: by name, and each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::emulate;

/// A fault, and who finds it.
struct Fault {
    name: &'static str,
    file: &'static str,
    /// What is in the file once, and what takes its place.
    right: &'static str,
    wrong: &'static str,
    /// Tests of tests/plan.rs.
    plan: &'static [&'static str],
    /// Cases of tests/enforce, each as an ordinary user.
    enforce: &'static [&'static str],
    /// Whether it is tests/model that finds it.
    model: bool,
}

/// The ABI that the cases run on: one that has none of what came later.
const ABI: u32 = 7;

const FAULTS: [Fault; 13] = [
    Fault {
        name: "one bit wrong in the table",
        file: "src/uapi.rs",
        right: r#"fs(9, "make_sock", 1, DIR)"#,
        wrong: r#"fs(10, "make_sock", 1, DIR)"#,
        plan: &["each_right_is_enforced_from_the_abi_that_brought_it"],
        enforce: &["plan_is_true_of_each_right_alone", "files_are_refused_without_a_rule"],
        model: false,
    },
    Fault {
        name: "TSYNC used on ABI 7",
        file: "src/uapi.rs",
        right: "const TSYNC_ABI: u32 = 8;",
        wrong: "const TSYNC_ABI: u32 = 7;",
        plan: &[],
        enforce: &["enforce_covers_every_thread_or_is_an_error", "plan_is_true_of_all_but_one"],
        model: false,
    },
    Fault {
        name: "refer forgotten",
        file: "src/plan.rs",
        right: "let on_files = self.handled.fs_bits() != 0;",
        wrong: "let on_files = false;",
        plan: &["what_is_enforced_is_what_was_asked_and_the_kernel_has"],
        enforce: &["refer_left_alone_is_refused_all_the_same"],
        model: false,
    },
    Fault {
        name: "policies that are joined handle what both handle",
        file: "src/policy.rs",
        right: "let handled = self.handleable() | other.handleable();",
        wrong: "let handled = self.handleable() & other.handleable();",
        plan: &["joining_never_removes_what_is_handled_and_the_order_does_not_matter"],
        enforce: &["joining_never_removes_what_is_handled"],
        model: false,
    },
    Fault {
        name: "a lost right not reported",
        file: "src/plan.rs",
        right: "(self.requested - self.enforced).iter().filter_map(",
        wrong: "(self.requested - self.enforced).iter().skip(1).filter_map(",
        plan: &["what_is_requested_is_enforced_or_lost_and_never_both"],
        enforce: &["best_effort_says_what_is_lost"],
        model: false,
    },
    Fault {
        name: "ioctl_dev granted by rw",
        file: "src/rights.rs",
        right: "pub const RW: Rights = Rights::group(Rights::RO.group |",
        wrong: "pub const RW: Rights = Rights::group(1 << 15 | Rights::RO.group |",
        plan: &[],
        enforce: &["plan_is_true_of_what_groups_allow"],
        model: false,
    },
    model(
        "the model ignores refer",
        "src/domain.rs",
        "need.rights & (handled | Rights::REFER), extra)",
        "(need.rights - Rights::REFER) & handled, extra)",
    ),
    model(
        "the model takes truncate for write",
        "src/needs.rs",
        "if how.contains(Open::TRUNCATE) { Rights::TRUNCATE }",
        "if how.contains(Open::TRUNCATE) { Rights::WRITE_FILE }",
    ),
    model(
        "the model follows a symlinked folder wrongly",
        "src/place.rs",
        "if target.has_root() {",
        "if target.has_root() && self.to_do.is_empty() {",
    ),
    model(
        "the model forgets the rights of a parent",
        "src/domain.rs",
        "nodes.iter().any(|node| node.inode == *inode)",
        "nodes.iter().rev().take(1).any(|node| node.inode == *inode)",
    ),
    model(
        "the model forgets what is gained by a move",
        "src/domain.rs",
        "Lack::on_path(layer, &need, before - after, EXDEV)",
        "Lack::on_path(layer, &need, after - before - after, EXDEV)",
    ),
    model(
        "the model compares two folders by the root above their mount",
        "src/domain.rs",
        "(Some(root), Some(last)) if root.mount != last.mount =>",
        "(Some(root), Some(last)) if root.mount == 0 && last.mount != 0 =>",
    ),
    model(
        "the model asks the first layer alone",
        "src/domain.rs",
        "for layer in 0..self.layers.len() {\n            match needs",
        "for layer in 0..self.layers.len().min(1) {\n            match needs",
    ),
];

/// A fault of the model alone.
const fn model(name: &'static str, file: &'static str, right: &'static str, wrong: &'static str) -> Fault {
    Fault { name, file, right, wrong, plan: &[], enforce: &[], model: true }
}

/// As many operations as show each fault of the model with any seed; this is one.
const MODEL: [(&str, &str); 3] =
    [("PALISADE_CASES", "8000"), ("PALISADE_SEED", "1"), ("PALISADE_SCRIPTS", "0")];

impl Fault {
    /// The tests that have to find it, each with the binary that it is in.
    fn tests(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let plan = self.plan.iter().map(|test| ("plan", *test));
        let enforce = self.enforce.iter().map(|case| ("enforce", *case));
        plan.chain(enforce).chain(self.model.then_some(("model", "model")))
    }
}

pub fn run() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in the workspace")?;
    let here = emulate::here();
    ensure!(here >= ABI, "this needs Landlock ABI {ABI} (Linux 6.15) or newer; this kernel has {here}");
    let copy = root.join("target/faults");
    for old in ["crates", "examples", "xtask"] {
        // What was built stays.
        let old = copy.join(old);
        if old.exists() {
            fs::remove_dir_all(&old)?;
        }
    }
    // What is not yet committed too.
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = Command::new("git").current_dir(root).args(list).stderr(Stdio::inherit()).output()?;
    ensure!(files.status.success(), "git ls-files failed");
    for file in String::from_utf8(files.stdout)?.split_terminator('\0') {
        if root.join(file).exists() {
            let to = copy.join(file);
            fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
            fs::copy(root.join(file), to)?;
        }
    }

    let all: BTreeSet<_> = FAULTS.iter().flat_map(Fault::tests).collect();
    let tests = Tests::build(&copy, all.iter().map(|(target, _)| *target).collect())?;
    for (target, test) in all {
        let (passed, said) = tests.run(target, test)?;
        ensure!(passed == Some(true), "{test} has to pass without a fault:\n{said}");
    }
    let mut good = true;
    for fault in &FAULTS {
        let file = copy.join("crates/palisade").join(fault.file);
        let text = fs::read_to_string(&file)?;
        let places = text.matches(fault.right).count();
        ensure!(places == 1, "{}: {} has {places} times, not once: {}", fault.name, fault.file, fault.right);
        fs::write(&file, text.replace(fault.right, fault.wrong))?;
        let targets = fault.tests().map(|(target, _)| target).collect();
        let tests = Tests::build(&copy, targets).context(fault.name)?;
        let mut by = Vec::new();
        let tests_of_it = fault.tests().count();
        for (target, test) in fault.tests() {
            let (passed, said) = tests.run(target, test)?;
            match passed {
                None => bail!("{}: {test} did not run:\n{said}", fault.name),
                Some(false) => by.push(test),
                Some(true) => {
                    println!("FAILED  {}: {test} does not find it", fault.name);
                    good = false;
                }
            }
        }
        if by.len() == tests_of_it {
            println!("found  {}: by {}", fault.name, by.join(", "));
        }
        fs::write(&file, text)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tests by the name of their target, built with or without a fault.
struct Tests(BTreeMap<&'static str, PathBuf>);

impl Tests {
    fn build(workspace: &Path, targets: BTreeSet<&'static str>) -> Result<Tests> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["test", "--quiet", "--no-run", "-p", "palisade", "--all-features"]);
        cargo.args(targets.iter().flat_map(|target| ["--test", target]));
        cargo.arg("--message-format=json-render-diagnostics");
        // Apart from the developer's own: Cargo could not tell the two workspaces' libraries from each other.
        cargo.env("CARGO_TARGET_DIR", workspace.join("target"));
        let built = cargo.current_dir(workspace).stderr(Stdio::inherit()).output()?;
        ensure!(built.status.success(), "it does not build");
        let messages = String::from_utf8(built.stdout)?;
        let executable = |name: &str| {
            let of = |line: &str| {
                let message: Value = serde_json::from_str(line).ok()?;
                let file = message["executable"].as_str()?;
                (message["target"]["name"] == name).then(|| PathBuf::from(file))
            };
            messages.lines().find_map(of).with_context(|| format!("cargo built no {name}"))
        };
        let tests = targets.into_iter().map(|name| Ok((name, executable(name)?)));
        Ok(Tests(tests.collect::<Result<_>>()?))
    }

    /// Whether a test passed, and what it said; None if it did not run.
    fn run(&self, target: &str, test: &str) -> Result<(Option<bool>, String)> {
        let tests = &self.0[target];
        let mut emulated = Command::new(std::env::current_exe()?);
        emulated.args(["emulate", &ABI.to_string()]).arg(tests).envs(MODEL);
        let (mut command, name) = match target {
            "plan" => (Command::new(tests), test.to_owned()),
            "model" => (emulated, test.to_owned()),
            _ => (emulated, format!("user::{test}")),
        };
        let ran =
            command.args(["--color", "never", "--exact", &name]).env("PALISADE_PROCESSES", "1").output()?;
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        let ended =
            |how: &str| said.lines().any(|l| l.starts_with("test ") && l.contains(&name) && l.ends_with(how));
        let passed = match ran.status.success() {
            true if ended(" ok") => Some(true),
            false if ended(" FAILED") => Some(false),
            _ => None,
        };
        Ok((passed, said))
    }
}
