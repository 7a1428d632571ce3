//! What the documents promise of themselves: docs/from-go-landlock.md has every name of both Go modules, what they say
//! of the command's options there is, each claim of SECURITY.md has its test, and docs/kernels.md each ABI.

use std::fs;
use std::path::Path;

use palisade::Abi;

/// Every function, option, mode, preset, tool and example of both modules.
const NAMES: &[&str] = &[
    // landlock-lsm/go-landlock
    "`landlock.V1`",
    "`landlock.V9`",
    "`V2`",
    "`V3`",
    "`V4`",
    "`V5`",
    "`V6`",
    "`V7`",
    "`V8`",
    "`.BestEffort()`",
    "`NewConfig`",
    "`MustConfig`",
    "`AccessFSSet`",
    "`AccessNetSet`",
    "`ScopedSet`",
    "`.RestrictPaths(…)`",
    "`.RestrictNet(…)`",
    "`.RestrictScoped()`",
    "`.Restrict(…)`",
    "`RODirs(…)`",
    "`RWDirs(…)`",
    "`ROFiles(…)`",
    "`RWFiles(…)`",
    "`PathAccess(set, …)`",
    "`.WithRefer()`",
    "`.WithIoctlDev()`",
    "`.WithResolveUnix()`",
    "`.IgnoreIfMissing()`",
    "`CompositeRule`",
    "`BindTCP(p)`",
    "`ConnectTCP(p)`",
    "`DisableLoggingForOriginatingProcess`",
    "`EnableLoggingForSubprocesses`",
    "`DisableLoggingForSubdomains`",
    "`String()`",
    "psx",
    "TSYNC",
    "`landlock-restrict -ro`",
    "`-rw`",
    "`-rofiles`",
    "`-rwfiles`",
    "`+refer`",
    "`+ioctl_dev`",
    "`+resolve_unix`",
    "`-1` … `-9`",
    "`-strict`",
    "`-v`",
    "`-l`",
    "`landlock-restrict-net`",
    "`landlock-restrict-scoped`",
    "`landlock-abi-version`",
    "image converter",
    "JSON-configured sandbox",
    "wiki web server",
    "`lltest`",
    "non-Linux",
    // shoenig/go-landlock
    "`New(paths…)`",
    "`Locker`",
    "`.Lock(Safety)`",
    "`File(path, mode)`",
    "`Dir(path, mode)`",
    "`ParsePath(\"d:rw:/path\")`",
    "mode `r`",
    "mode `w`",
    "mode `x`",
    "mode `c`",
    "`Mandatory`",
    "`OnlySupported`",
    "`OnlyAvailable`",
    "`Try`",
    "`Detect()`",
    "`Available()`",
    "`Shared()`",
    "`Stdio()`",
    "`TTY()`",
    "`Tmp()`",
    "`VMInfo()`",
    "`DNS()`",
    "`Certs()`",
];

#[test]
fn every_name_of_both_go_modules_has_its_counterpart() {
    let page = include_str!("../../../docs/from-go-landlock.md");
    // Only tables and the closing list map a name to ours.
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() >= 1).collect();
    let missing: Vec<_> = NAMES.iter().filter(|name| !rows.iter().any(|row| row.contains(**name))).collect();
    assert!(missing.is_empty(), "not in docs/from-go-landlock.md: {missing:?}");
}

/// What is said of our own command in a document: whatever follows `palisade` in code, up to the program's own words,
/// and code in the last column of a table that begins with an option.
fn said_of_the_command(page: &str) -> Vec<&str> {
    let mut said = Vec::new();
    let mut block = false;
    for line in page.lines() {
        let fence = line.starts_with("```");
        block ^= fence;
        let ours = line.trim_end_matches(" |").rsplit(" | ").next().filter(|_| line.starts_with('|'));
        let spans = if block { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        let after = spans.iter().filter_map(|code| Some(code.split_once("palisade ")?.1));
        said.extend(after.filter(|code| !code.starts_with("--"))); // `cargo -p palisade --…`
        let column = ours.into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
        said.extend(column.filter(|code| code.starts_with("--")));
    }
    said.into_iter().map(|code| code.split(" -- ").next().unwrap_or(code)).collect()
}

#[test]
fn every_option_that_a_document_names_exists() {
    let args = concat!(
        include_str!("../../palisade-cli/src/args.rs"),
        include_str!("../../palisade-cli/src/args/policy.rs"),
        include_str!("../../palisade-cli/src/args/start.rs"),
    );
    let exists = |option: &str| {
        let name = &option[2..];
        let field = format!("{}: ", name.replace('-', "_"));
        let alias = format!("alias = \"{name}\"");
        let defined = args.lines().any(|line| {
            let line = line.trim_start();
            line.strip_prefix("pub ").unwrap_or(line).starts_with(&field) || line.contains(&alias)
        });
        defined || option == "--help"
    };
    let pages = [
        ("README.md", include_str!("../../../README.md")),
        ("docs/from-go-landlock.md", include_str!("../../../docs/from-go-landlock.md")),
        ("docs/from-other-tools.md", include_str!("../../../docs/from-other-tools.md")),
    ];
    for (name, page) in pages {
        let words = said_of_the_command(page).into_iter().flat_map(|code| code.split([' ', '=', ',']));
        let options: Vec<&str> = words.filter(|w| w.len() > 2 && w.starts_with("--")).collect();
        let missing: Vec<_> = options.iter().filter(|option| !exists(option)).collect();
        assert!(missing.is_empty() && options.len() > 5, "{name} names options that are none: {missing:?}");
    }
}

/// The text of every test that enforces, of the library and of the command, and of those of plans.
fn tests_that_show() -> String {
    fn read(dir: &Path, all: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut all = String::new();
    read(&crates.join("palisade/tests/enforce"), &mut all);
    read(&crates.join("palisade-cli/tests/command"), &mut all);
    all.push_str(include_str!("plan.rs"));
    all
}

fn is_name(word: &str) -> bool {
    word.contains('_') && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[test]
fn every_claim_of_security_md_has_its_test_and_every_hole_its_claim() {
    let page = include_str!("../../../SECURITY.md");
    let (tests, named): (String, Vec<&str>) =
        (tests_that_show(), page.split('`').skip(1).step_by(2).filter(|w| is_name(w)).collect());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty() && named.len() > 50, "SECURITY.md names tests that are none: {missing:?}");
    let holes = tests.split("fn hole_").skip(1).filter_map(|rest| rest.split('(').next());
    let untold: Vec<_> = holes.filter(|hole| !named.contains(&format!("hole_{hole}").as_str())).collect();
    assert!(untold.is_empty(), "SECURITY.md does not name these holes: {untold:?}");

    // Each line of what is and is not refused ends with its test; but for a few, which no test can show.
    let claims = page.split("## What is refused").nth(1).unwrap();
    let untested =
        ["The environment, with", "Time, memory,", "The kernel itself:", "Errata that this kernel"];
    for claim in claims.split("\n- ").skip(1) {
        let claim = claim.split("\n\n").next().unwrap();
        let tested = claim.trim_end().ends_with('`');
        assert!(tested || untested.iter().any(|start| claim.starts_with(start)), "no test: {claim}");
    }
}

#[test]
fn kernels_md_says_of_each_abi_what_it_was_tested_on() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kernels.md"));
    let page = page.expect("docs/kernels.md, which cargo xtask kernels --write makes");
    let tested = |name: &str| {
        let line = page.lines().find(|line| line.split('|').nth(1).is_some_and(|cell| cell.trim() == name));
        line.is_some_and(|line| line.contains("Linux") || line.contains("emulated only"))
    };
    assert!(tested("no Landlock") && tested("off at boot"));
    for abi in 1..=Abi::LATEST.number() {
        assert!(tested(&format!("ABI {abi}")), "{abi}");
    }
}

#[test]
#[cfg(feature = "file")]
fn the_readmes_policy_is_one() {
    let readme = include_str!("../../../README.md");
    let (_, after) = readme.split_once("```toml\n# palisade.toml\n").expect("a policy");
    let (policy, _) = after.split_once("```").expect("its end");
    let home = |name: &str| (name == "HOME").then(|| "/home/me".into());
    let file = palisade::PolicyFile::parse(policy, Path::new("/srv/project"), &home);
    assert!(file.unwrap_or_else(|error| panic!("{error}")).stated().count() > 5);
}
