//! The policy that options and files say together, and the ceilings over it: each a layer of its own.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use palisade::{
    Environment, Error, Grant, Kernel, Log, Origin, Plan, Policy, PolicyFile, Ports, Preset, Result, Rights,
    Rule, Stated, What, printable,
};

use crate::args::PolicyArgs;
use crate::backstop::Closed;
use crate::{Failure, say};

/// The kernel takes 16, and who starts us may have some.
const MANY_LAYERS: usize = 12;

/// The options, and the files that they name, read.
pub struct Policies<'a> {
    pub args: &'a PolicyArgs,
    files: Vec<PolicyFile>,
    ceilings: Vec<(OsString, PolicyFile)>,
}

impl<'a> Policies<'a> {
    /// Reads every file, and says all that is wrong with any.
    pub fn read(args: &'a PolicyArgs) -> std::result::Result<Policies<'a>, Failure> {
        let mut mistakes = 0;
        let mut read = |name: &OsString| match PolicyFile::find(name) {
            Ok(file) => Some(file),
            Err(error) => {
                mistakes += say_mistakes(&error);
                None
            }
        };
        let files = args.policy.iter().filter_map(&mut read).collect();
        let ceilings = args.within.iter().filter_map(|name| Some((name.clone(), read(name)?))).collect();
        match mistakes {
            0 => Ok(Policies { args, files, ceilings }),
            1 => Err(Failure::new("nothing was run, for this mistake in a policy")),
            _ => Err(Failure::new(format!("nothing was run, for these {mistakes} mistakes in policies"))),
        }
    }

    /// The plans for a kernel: of the policy, with these rules besides, and of each ceiling.
    pub fn plans(&self, kernel: &Kernel, rules: Vec<Rule>, log: Log) -> Result<Vec<Plan>> {
        self.layers(rules).map(|policy| policy.log(log).plan(kernel)).collect()
    }

    /// The same, whatever the kernel lacks.
    pub fn plans_if_nothing_is_required(&self, kernel: &Kernel) -> Result<Vec<Plan>> {
        self.layers(Vec::new()).map(|policy| policy.require_nothing().plan(kernel)).collect()
    }

    fn layers(&self, rules: Vec<Rule>) -> impl Iterator<Item = Policy> {
        let ceilings = self.ceilings.iter().map(|(_, file)| {
            let policy = self.as_required(file.policy().clone().ceiling());
            if self.args.ignore_missing { policy.ignore_missing() } else { policy }
        });
        [self.policy().rules(rules)].into_iter().chain(ceilings)
    }

    /// What files and options say together, without ceilings. Where several files do not agree on what is restricted, it is
    /// all of it; an option has the last word.
    pub fn policy(&self) -> Policy {
        let files = self.files.iter().map(|file| file.policy().clone());
        let policy = self.args.add_to(files.reduce(Policy::join).unwrap_or_default());
        let policy = if self.args.ignore_missing { policy.ignore_missing() } else { policy };
        self.as_required(if self.args.requires() {
            policy.require(self.args.require.clone())
        } else {
            policy
        })
    }

    fn as_required(&self, policy: Policy) -> Policy {
        match self.args {
            PolicyArgs { best_effort: true, .. } => policy.require_nothing(),
            PolicyArgs { strict: true, .. } => policy.strict(),
            _ => policy,
        }
    }

    /// The names of the ceilings, in the order of their layers: the first is layer 1, counted from 0.
    pub fn ceilings(&self) -> impl Iterator<Item = &OsStr> {
        self.ceilings.iter().map(|(name, _)| name.as_os_str())
    }

    /// The name of a layer that is a ceiling; layer 0 is the policy.
    pub fn ceiling(&self, layer: usize) -> Option<&OsStr> {
        layer.checked_sub(1).and_then(|at| self.ceilings.get(at)).map(|(name, _)| name.as_os_str())
    }

    /// What the policy's files and options grant, one by one.
    pub fn stated(&self) -> Vec<Stated> {
        let files = self.files.iter().flat_map(PolicyFile::stated).cloned();
        files.chain(self.args.stated()).collect()
    }

    /// What may not be what was meant. A path that does not exist is an error, or is said to be skipped.
    pub fn warnings(&self) -> Vec<String> {
        let files: Vec<&PolicyFile> = self.files.iter().collect();
        let ceilings: Vec<&PolicyFile> = self.ceilings.iter().map(|(_, file)| file).collect();
        let warnings = PolicyFile::warnings_with(&files, &self.args.stated(), &ceilings);
        let mut warnings: Vec<String> =
            warnings.iter().filter(|warning| !warning.missing).map(ToString::to_string).collect();
        let layers = self.ceilings.len() + 1;
        if layers > MANY_LAYERS {
            warnings.push(format!(
                "{layers} layers: the kernel takes 16 in all, those of who starts palisade and of what COMMAND starts included; put \
                 what several ceilings say into one"
            ));
        }
        warnings
    }

    /// What is closed with seccomp: what any layer restricts and the kernel cannot. `granted` says for each layer what is
    /// granted somewhere.
    fn closed_by(&self, plans: &[Plan], granted: impl Fn(usize) -> Rights) -> Closed {
        let closed = plans.iter().enumerate().map(|(layer, plan)| Closed::of(plan, granted(layer)));
        closed.fold(Closed::default(), |all, closed| all | closed)
    }

    /// The first ceiling that has something closed with seccomp, which the policy alone would not.
    pub fn closing(&self, plans: &[Plan], is_closed: impl Fn(Closed) -> bool) -> Option<&OsStr> {
        let closes = |layer: usize| is_closed(Closed::of(&plans[layer], self.named(layer)));
        if closes(0) {
            return None;
        }
        (1..plans.len()).find(|layer| closes(*layer)).and_then(|layer| self.ceiling(layer))
    }

    /// What is closed with seccomp.
    pub fn closed(&self, plans: &[Plan]) -> Closed {
        self.closed_by(plans, |layer| self.named(layer))
    }

    /// The same of the ceilings alone.
    pub fn closed_within(&self, plans: &[Plan]) -> Closed {
        let closed = (1..plans.len()).map(|layer| Closed::of(&plans[layer], self.named(layer)));
        closed.fold(Closed::default(), |all, closed| all | closed)
    }

    /// What would be closed if nothing were granted.
    pub fn closed_if_nothing_is_granted(&self, plans: &[Plan]) -> Closed {
        self.closed_by(plans, |_| Rights::empty())
    }

    /// The rights that a layer names, whatever for; of groups and of presets only those that have a name of their own.
    pub fn named(&self, layer: usize) -> Rights {
        let options = if layer == 0 { self.args.stated() } else { Vec::new() };
        let stated = self.files_of(layer).flat_map(PolicyFile::stated);
        stated.chain(&options).map(|stated| self.named_by(stated)).collect()
    }

    fn named_by(&self, stated: &Stated) -> Rights {
        let groups = [Rights::RO, Rights::RX, Rights::RW, Rights::RWX];
        match &stated.what {
            What::Grant(Grant::Path { rights, path }) => {
                // One that is skipped opens nothing.
                let skipped = (stated.optional || self.args.ignore_missing) && !path.exists();
                if skipped || groups.contains(rights) { Rights::empty() } else { *rights }
            }
            What::Grant(Grant::Port { right, .. }) => *right,
            What::Grant(_) => Rights::empty(),
            What::Preset(preset) => preset.allows() & Rights::NET,
        }
    }

    /// The rights that are granted for every port, so that nothing of them is left to restrict.
    pub fn any_port(&self) -> Rights {
        let any = |stated: &Stated| match stated.what {
            What::Grant(Grant::Port { right, ports: Ports::ANY }) => Some(right),
            _ => None,
        };
        self.stated().iter().filter_map(any).collect()
    }

    /// The line of a layer's files that names a preset.
    pub fn saying(&self, layer: usize, preset: Preset) -> Option<String> {
        let mut stated = self.files_of(layer).flat_map(PolicyFile::stated);
        stated.find(|stated| stated.what == What::Preset(preset)).map(|stated| stated.origin.to_string())
    }

    /// The files of a layer, counted from 0: those of the policy, or one that is a ceiling.
    fn files_of(&self, layer: usize) -> impl Iterator<Item = &PolicyFile> {
        let ceiling = layer.checked_sub(1).and_then(|at| self.ceilings.get(at)).map(|(_, file)| file);
        self.files.iter().filter(move |_| layer == 0).chain(ceiling)
    }

    /// The lines of files that grant any of these rights on just this path, in one of the layers.
    pub fn lines_granting(&self, layer: usize, at: &Path, rights: Rights) -> Vec<String> {
        let grants = |stated: &&Stated| match &stated.what {
            What::Grant(Grant::Path { rights: granted, path }) => granted.intersects(rights) && path == at,
            _ => false,
        };
        let lines = self.files_of(layer).flat_map(PolicyFile::stated).filter(grants);
        lines.map(|stated| stated.origin.to_string()).collect()
    }

    /// The line of a file that grants a right on just these ports, in one of the layers.
    pub fn line_granting_ports(&self, layer: usize, right: Rights, ports: Ports) -> Option<String> {
        let grants = |stated: &&Stated| match &stated.what {
            What::Grant(Grant::Port { right: granted, ports: of }) => {
                // To send by UDP takes a port of one's own, which the kernel chooses.
                let sends = *granted == Rights::CONNECT_SEND_UDP && right == Rights::BIND_UDP;
                (*granted == right && *of == ports) || (sends && ports == Ports::from(0))
            }
            What::Preset(preset) => preset.allows().contains(right),
            _ => false,
        };
        self.files_of(layer).flat_map(PolicyFile::stated).find(grants).map(|stated| stated.origin.to_string())
    }

    /// The lines and options of a layer that are about just this path.
    pub fn origins(&self, layer: usize, at: &Path) -> Vec<String> {
        let options = if layer == 0 { self.args.stated() } else { Vec::new() };
        let named = |stated: &&Stated| match &stated.what {
            What::Grant(Grant::Path { path, .. }) => std::path::absolute(path).is_ok_and(|path| path == at),
            _ => false,
        };
        let mut origins: Vec<String> = Vec::new();
        let all = self.files_of(layer).flat_map(PolicyFile::stated).chain(&options);
        for origin in all.filter(named).map(|stated| stated.origin.to_string()) {
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        origins
    }

    /// What the files say of the environment, as one file would.
    pub fn environment(&self) -> Environment {
        let mut all = Environment::default();
        for environment in self.files.iter().map(PolicyFile::environment) {
            all.clear |= environment.clear;
            all.pass.extend(
                environment.pass.iter().filter(|name| !all.pass.contains(name)).cloned().collect::<Vec<_>>(),
            );
        }
        all
    }

    /// What the files say of a path, ceilings included.
    fn said_of(&self, at: &Path) -> Vec<&Stated> {
        let all = self.files.iter().chain(self.ceilings.iter().map(|(_, file)| file));
        let named =
            |stated: &&Stated| matches!(&stated.what, What::Grant(Grant::Path { path, .. }) if path == at);
        all.flat_map(PolicyFile::stated).filter(named).collect()
    }

    /// Where a path is named, for an error about it.
    pub fn line_of(&self, at: &Path) -> Option<&Origin> {
        self.said_of(at).first().map(|stated| &stated.origin)
    }

    /// Whether a file says itself that a path may be missing.
    pub fn may_be_missing(&self, at: &Path) -> bool {
        self.said_of(at).iter().any(|stated| stated.optional)
    }

    /// What leaves a right alone, as the end of a sentence.
    pub fn left_alone_by(&self, right: Rights) -> String {
        if self.args.leaves_alone(right) {
            return "left alone by --unrestricted".to_owned();
        }
        match self.args.abi() {
            Some(abi) if !abi.rights().contains(right) => "left alone by --abi".to_owned(),
            _ => {
                let names: Vec<_> = self.args.policy.iter().map(|name| printable(name).to_string()).collect();
                format!("left alone by {}", names.join(" and "))
            }
        }
    }

    /// Whether some paths may be missing and others not, which options cannot say.
    pub fn skips_some(&self) -> bool {
        let is_path = |stated: &&Stated| matches!(stated.what, What::Grant(Grant::Path { .. }));
        let stated = self.stated();
        let (optional, needed): (Vec<_>, Vec<_>) =
            stated.iter().filter(is_path).partition(|stated| stated.optional);
        !optional.is_empty() && !needed.is_empty()
    }

    /// Whether files have a say in what has to hold.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty() || !self.ceilings.is_empty()
    }

    /// Whether a variable of the caller's passes to COMMAND by what the policy says.
    pub fn passes(&self, name: &OsStr, clear: bool) -> bool {
        let mut all = self.files.iter().map(PolicyFile::environment);
        let cleared = clear || all.clone().any(|environment| environment.clear);
        !cleared || all.any(|environment| is_passed(environment, name))
    }

    /// Whether each ceiling lets a variable pass, whoever sets it.
    pub fn is_within(&self, name: &OsStr) -> bool {
        let mut all = self.ceilings.iter().map(|(_, file)| file.environment());
        all.all(|environment| !environment.clear || is_passed(environment, name))
    }
}

/// Says all that is wrong with a file, and how much that is.
pub fn say_mistakes(error: &Error) -> usize {
    error.problems().iter().for_each(|problem| say::line(&problem.to_string()));
    error.problems().len()
}

fn is_passed(environment: &Environment, name: &OsStr) -> bool {
    environment.pass.iter().any(|passed| OsStr::new(passed) == name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use clap::Parser;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;
    use crate::args::{Args, Command};

    /// The policy that options say.
    fn policy(words: &[OsString]) -> Policy {
        let words = [OsString::from("palisade"), "show".into()].into_iter().chain(words.iter().cloned());
        let Ok(Args { command: Command::Show(args) }) = Args::try_parse_from(words) else {
            panic!("no options of show")
        };
        let Ok(policies) = Policies::read(&args.policy) else { panic!("no policy") };
        policies.policy()
    }

    /// Absolute, with everything in it that means something to TOML, to a policy file, to a shell or to --allow.
    fn any_path() -> impl Strategy<Value = OsString> {
        let parts = [
            "a", "b c", "~", "$", "${HOME}", "$$", "é", "\"", "'", "\\", "\n", "\t", "\u{1b}", "#", "=", ",",
            ":", "..", "-", "[", "{", "\u{202e}",
        ];
        let parts = parts.map(|part| part.as_bytes().to_vec()).into_iter().chain([vec![0xff], vec![0xc3]]);
        vec(select(parts.collect::<Vec<_>>()), 1..4)
            .prop_map(|parts| OsString::from_vec([b"/".to_vec(), parts.join(&b'/')].concat()))
    }

    fn with(
        option: &'static str,
        value: impl Strategy<Value = OsString> + 'static,
        most: usize,
    ) -> BoxedStrategy<Vec<OsString>> {
        let each = move |values: Vec<OsString>| {
            values.into_iter().flat_map(|value| [option.into(), value]).collect()
        };
        vec(value, 0..=most).prop_map(each).boxed()
    }

    fn names(all: &'static [&'static str]) -> impl Strategy<Value = OsString> {
        subsequence(all, 1..=all.len()).prop_map(|names| names.join(",").into())
    }

    fn any_ports() -> impl Strategy<Value = OsString> {
        let range = (any::<u16>(), 1..9_u16).prop_map(|(first, more)| match first.checked_add(more) {
            Some(last) => format!("{first}-{last}"),
            None => first.to_string(),
        });
        prop_oneof![any::<u16>().prop_map(|port| port.to_string()), range, Just("any".to_owned())]
            .prop_map(OsString::from)
    }

    fn any_allowed() -> impl Strategy<Value = OsString> {
        let kind = select(vec!["", "f:", "d:"]);
        let letters = select(vec!["r", "w", "rw", "x", "c", "rwx", "rwxc"]);
        let names = names(&[
            "execute",
            "write_file",
            "read_dir",
            "make_char",
            "make_reg",
            "ioctl_dev",
            "resolve_unix",
        ]);
        let rights = prop_oneof![
            letters.clone().prop_map(OsString::from),
            names,
            letters.prop_map(|letters| OsString::from(format!("{letters},ioctl_dev"))),
        ];
        (kind, rights, any_path()).prop_map(|(kind, rights, path)| {
            let mut value = OsString::from(kind);
            value.push(rights);
            value.push(":");
            value.push(path);
            value
        })
    }

    fn any_args() -> impl Strategy<Value = Vec<OsString>> {
        const RIGHTS: &[&str] =
            &["fs", "devices", "unix", "tcp", "udp", "abstract", "signal", "refer", "truncate"];
        const PRESETS: &[&str] =
            &["shared", "stdio", "tty", "pty", "tmp", "vminfo", "dns", "certs", "system"];
        let required = prop_oneof![
            Just(Vec::new()),
            Just(vec![OsString::from("--strict")]),
            Just(vec!["--best-effort".into()]),
            names(RIGHTS).prop_map(|names| vec!["--require".into(), names]),
        ];
        let missing = select(vec![vec![], vec![OsString::from("--ignore-missing")]]);
        let parts: Vec<BoxedStrategy<Vec<OsString>>> = vec![
            with("--abi", (1..12_u32).prop_map(|abi| abi.to_string().into()), 1),
            with("--unrestricted", names(RIGHTS), 2),
            with("--preset", names(PRESETS), 2),
            with("--ro", any_path(), 3),
            with("--rx", any_path(), 3),
            with("--rw", any_path(), 3),
            with("--rwx", any_path(), 3),
            with("--unix", any_path(), 2),
            with("--allow", any_allowed(), 4),
            with("--connect-tcp", any_ports(), 3),
            with("--bind-tcp", any_ports(), 3),
            with("--connect-udp", any_ports(), 2),
            with("--bind-udp", any_ports(), 2),
            required.boxed(),
            missing.boxed(),
        ];
        parts.prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn options_become_a_file_and_the_same_options_again(args in any_args()) {
            let said = policy(&args);
            let words = said.to_args().unwrap();
            let file = said.to_toml().unwrap();
            let read = PolicyFile::parse(&file, Path::new("/elsewhere"), &|_| None);
            let read = read.unwrap_or_else(|error| panic!("{error}\n{file}"));
            prop_assert_eq!(read.policy().to_args().unwrap(), words.clone(), "{}", file);
            prop_assert_eq!(read.policy().to_toml().unwrap(), file);
            // The options that are written say the same as those that were given, on every kernel.
            let again = policy(&words);
            prop_assert_eq!(again.to_args().unwrap(), words);
            for abi in 1..12 {
                let plan = |policy: &Policy| {
                    let kernel = Kernel::new(palisade::Abi::new(abi).unwrap());
                    policy.plan(&kernel).map(|plan| plan.to_string()).map_err(|error| error.to_string())
                };
                let sorted = |plan: std::result::Result<String, String>| {
                    plan.map(|text| {
                        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                        lines.sort();
                        lines.dedup();
                        lines
                    })
                };
                let expected = sorted(plan(&said));
                prop_assert_eq!(&sorted(plan(&again)), &expected);
                prop_assert_eq!(&sorted(plan(read.policy())), &expected);
            }
        }
    }
}
