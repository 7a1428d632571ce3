//! Builds the library with one fault each, which the tests have to find: by name, and each of them.

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
}

/// The ABI that the cases run on: one that has none of what came later.
const ABI: u32 = 7;

const FAULTS: [Fault; 5] = [
    Fault {
        name: "one bit wrong in the table",
        file: "src/uapi.rs",
        right: r#"fs(9, "make_sock", 1, DIR)"#,
        wrong: r#"fs(10, "make_sock", 1, DIR)"#,
        plan: &["each_right_is_enforced_from_the_abi_that_brought_it"],
        enforce: &["plan_is_true_of_each_right_alone", "files_are_refused_without_a_rule"],
    },
    Fault {
        name: "TSYNC used on ABI 7",
        file: "src/uapi.rs",
        right: "const TSYNC_ABI: u32 = 8;",
        wrong: "const TSYNC_ABI: u32 = 7;",
        plan: &[],
        enforce: &["enforce_covers_every_thread_or_is_an_error", "plan_is_true_of_all_but_one"],
    },
    Fault {
        name: "refer forgotten",
        file: "src/plan.rs",
        right: "let on_files = self.handled.fs_bits() != 0;",
        wrong: "let on_files = false;",
        plan: &["what_is_enforced_is_what_was_asked_and_the_kernel_has"],
        enforce: &["refer_left_alone_is_refused_all_the_same"],
    },
    Fault {
        name: "a lost right not reported",
        file: "src/plan.rs",
        right: "(self.requested - self.enforced).iter().filter_map(",
        wrong: "(self.requested - self.enforced).iter().skip(1).filter_map(",
        plan: &["what_is_requested_is_enforced_or_lost_and_never_both"],
        enforce: &["best_effort_says_what_is_lost"],
    },
    Fault {
        name: "ioctl_dev granted by rw",
        file: "src/rights.rs",
        right: "pub const RW: Rights = Rights::group(Rights::RO.group |",
        wrong: "pub const RW: Rights = Rights::group(1 << 15 | Rights::RO.group |",
        plan: &[],
        enforce: &["plan_is_true_of_what_groups_allow"],
    },
];

impl Fault {
    /// The tests that have to find it, each with the binary that it is in.
    fn tests(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let plan = self.plan.iter().map(|test| ("plan", *test));
        plan.chain(self.enforce.iter().map(|case| ("enforce", *case)))
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

    let tests = Tests::build(&copy)?;
    for (target, test) in FAULTS.iter().flat_map(Fault::tests) {
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
        let tests = Tests::build(&copy).context(fault.name)?;
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

/// The tests, built with or without a fault.
struct Tests {
    plan: PathBuf,
    enforce: PathBuf,
}

impl Tests {
    fn build(workspace: &Path) -> Result<Tests> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["test", "--quiet", "--no-run", "-p", "palisade", "--all-features"]);
        cargo.args(["--test", "plan", "--test", "enforce", "--message-format=json-render-diagnostics"]);
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
        Ok(Tests { plan: executable("plan")?, enforce: executable("enforce")? })
    }

    /// Whether a test passed, and what it said; None if it did not run.
    fn run(&self, target: &str, test: &str) -> Result<(Option<bool>, String)> {
        let (mut command, name) = if target == "plan" {
            (Command::new(&self.plan), test.to_owned())
        } else {
            let mut emulated = Command::new(std::env::current_exe()?);
            emulated.args(["emulate", &ABI.to_string()]).arg(&self.enforce);
            (emulated, format!("user::{test}"))
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
