//! What a policy is made of on the command line, the same for `run`, `learn`, `why` and `show`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use palisade::{Abi, Grant, Policy, Ports, Preset, Rights, Rule, Stated, What, path};

use super::any_path;
use crate::quote;

/// What a policy is made of on the command line.
#[derive(clap::Args)]
pub struct PolicyArgs {
    /// Add what a policy file allows, or a policy by its NAME: see `palisade presets`
    ///
    /// A NAME (of a-z, 0-9 and -) is a policy that is built in (build, offline, readonly), a preset, or NAME.toml in
    /// ~/.config/palisade or /etc/palisade. All else is a file; one in this folder is ./FILE or FILE.toml.
    #[arg(short, long, value_name = "FILE|NAME", help_heading = "Policies")]
    pub policy: Vec<OsString>,

    /// Stay within this policy too, whatever else is granted: it can only take away
    ///
    /// What COMMAND needs to start has to be allowed by it as well.
    #[arg(long, value_name = "FILE|NAME", help_heading = "Policies")]
    pub within: Vec<OsString>,

    /// Read below PATH: a file, or a folder and all in it
    #[arg(long, value_name = "PATH", help_heading = "Grants", value_parser = any_path())]
    ro: Vec<PathBuf>,

    /// Read and execute below PATH
    #[arg(long, visible_alias = "rox", value_name = "PATH", help_heading = "Grants", value_parser = any_path())]
    rx: Vec<PathBuf>,

    /// Read, write, create, remove and rename below PATH
    #[arg(long, value_name = "PATH", help_heading = "Grants", value_parser = any_path())]
    rw: Vec<PathBuf>,

    /// All of --rw, and execute
    #[arg(long, value_name = "PATH", help_heading = "Grants", value_parser = any_path())]
    rwx: Vec<PathBuf>,

    /// Exact rights: letters (r read, w write, x execute, c create and remove) or the kernel's names, with commas
    ///
    /// The names: execute, write_file, read_file, read_dir, remove_dir, remove_file, make_char, make_dir, make_reg,
    /// make_sock, make_fifo, make_block, make_sym, refer, truncate, ioctl_dev, resolve_unix.
    #[arg(long, value_name = "RIGHTS:PATH", help_heading = "Grants",
          value_parser = OsStringValueParser::new().try_map(|text| Rule::parse(&text)))]
    allow: Vec<Rule>,

    /// Connect to a TCP port at any address: a number, N-M, or any
    #[arg(long, value_name = "PORT", value_delimiter = ',', help_heading = "Grants")]
    connect_tcp: Vec<Ports>,

    /// Listen on a TCP port; 0 lets the kernel choose one
    #[arg(long, value_name = "PORT", value_delimiter = ',', help_heading = "Grants")]
    bind_tcp: Vec<Ports>,

    /// Send to a UDP port at any address
    #[arg(long, value_name = "PORT", value_delimiter = ',', help_heading = "Grants")]
    connect_udp: Vec<Ports>,

    /// Receive on a UDP port
    #[arg(long, value_name = "PORT", value_delimiter = ',', help_heading = "Grants")]
    bind_udp: Vec<Ports>,

    /// Connect to the UNIX sockets at or below PATH
    #[arg(long, value_name = "PATH", help_heading = "Grants", value_parser = any_path())]
    unix: Vec<PathBuf>,

    /// What kinds of programs need: shared, stdio, tty, pty, tmp, vminfo, dns, certs, system
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Grants")]
    preset: Vec<Preset>,

    /// Skip granted paths that do not exist, and name them
    #[arg(long, help_heading = "Grants")]
    pub ignore_missing: bool,

    /// Leave a category or right alone: fs, devices, unix, tcp, udp, net, abstract, signal
    #[arg(long, value_name = "CATEGORY", value_delimiter = ',', value_parser = Rights::named,
          help_heading = "What is handled and required")]
    unrestricted: Vec<Rights>,

    /// Restrict what Landlock ABI N can and no more, so that a newer kernel tightens nothing
    #[arg(long, value_name = "N", help_heading = "What is handled and required")]
    abi: Option<Abi>,

    /// Fail unless Landlock can restrict these categories or rights [default: fs,tcp]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = Rights::named,
          help_heading = "What is handled and required", group = "required_rights")]
    pub require: Vec<Rights>,

    /// Fail unless Landlock can restrict everything; what seccomp closes does not count
    #[arg(long, help_heading = "What is handled and required", group = "required_rights")]
    pub strict: bool,

    /// Never fail for what this kernel cannot restrict: run even if that is all
    #[arg(long, help_heading = "What is handled and required", group = "required_rights")]
    pub best_effort: bool,
}

impl PolicyArgs {
    /// What the options grant and leave alone, besides a policy.
    pub fn add_to(&self, policy: Policy) -> Policy {
        let groups = self.groups().into_iter();
        let rules = groups.flat_map(|(_, paths, rights)| paths.iter().map(move |p| path(p).rights(rights)));
        let policy = policy.unrestricted(self.unrestricted.iter().copied());
        let mut policy = policy.rules(rules.chain(self.allow.iter().cloned()));
        for preset in &self.preset {
            policy = policy.preset(*preset);
        }
        policy = self.connect_tcp.iter().fold(policy, |policy, ports| policy.connect_tcp(*ports));
        policy = self.bind_tcp.iter().fold(policy, |policy, ports| policy.bind_tcp(*ports));
        policy = self.connect_udp.iter().fold(policy, |policy, ports| policy.connect_udp(*ports));
        policy = self.bind_udp.iter().fold(policy, |policy, ports| policy.bind_udp(*ports));
        match self.abi {
            Some(abi) => policy.abi(abi),
            None => policy,
        }
    }

    /// What the options grant, one by one.
    pub fn stated(&self) -> Vec<Stated> {
        let stated = |what, option: &str, value: &OsStr| {
            Stated::elsewhere(what, self.ignore_missing, &quote::words([OsStr::new(option), value]))
        };
        let on_path = |option: &str, value: &OsStr, path: &Path, rights: Rights| {
            stated(What::Grant(Grant::Path { rights, path: path.to_owned() }), option, value)
        };
        let groups = self.groups().into_iter();
        let mut all: Vec<Stated> = groups
            .flat_map(|(option, paths, rights)| paths.iter().map(move |p| (option, p, rights)))
            .map(|(option, p, rights)| on_path(option, p.as_os_str(), p, rights))
            .collect();
        for rule in &self.allow {
            for path in rule.paths() {
                let mut value = OsString::from(format!("{}:", rule.allows()));
                value.push(path);
                all.push(on_path("--allow", &value, path, rule.allows()));
            }
        }
        for (option, list, right) in self.ports() {
            let port = |ports: &Ports| (What::Grant(Grant::Port { right, ports: *ports }), ports.to_string());
            all.extend(list.iter().map(port).map(|(what, value)| stated(what, option, OsStr::new(&value))));
        }
        let preset = |preset: &Preset| stated(What::Preset(*preset), "--preset", OsStr::new(preset.name()));
        all.extend(self.preset.iter().map(preset));
        all
    }

    /// The options that take a path, and what each grants there.
    fn groups(&self) -> [(&'static str, &[PathBuf], Rights); 5] {
        [
            ("--ro", &self.ro, Rights::RO),
            ("--rx", &self.rx, Rights::RX),
            ("--rw", &self.rw, Rights::RW),
            ("--rwx", &self.rwx, Rights::RWX),
            ("--unix", &self.unix, Rights::RESOLVE_UNIX),
        ]
    }

    /// The options that take a port, and for which right.
    fn ports(&self) -> [(&'static str, &[Ports], Rights); 4] {
        [
            ("--connect-tcp", &self.connect_tcp, Rights::CONNECT_TCP),
            ("--bind-tcp", &self.bind_tcp, Rights::BIND_TCP),
            ("--connect-udp", &self.connect_udp, Rights::CONNECT_SEND_UDP),
            ("--bind-udp", &self.bind_udp, Rights::BIND_UDP),
        ]
    }

    /// The options that grant any of these rights on just this path, as words.
    pub fn granting(&self, at: &Path, rights: Rights) -> Vec<OsString> {
        let groups = self.groups().into_iter().filter(|(_, paths, granted)| {
            granted.intersects(rights) && paths.iter().any(|p| p.as_os_str() == at.as_os_str())
        });
        let mut words: Vec<OsString> =
            groups.flat_map(|(option, ..)| [option.into(), at.as_os_str().to_owned()]).collect();
        for rule in self.allow.iter().filter(|rule| rule.allows().intersects(rights)) {
            let plain = || path(at).rights(rule.allows());
            let kinds = [("", plain()), ("f:", plain().file()), ("d:", plain().dir())];
            if let Some((kind, _)) = kinds.iter().find(|(_, same)| same == rule) {
                let mut value = OsString::from(format!("{kind}{}:", rule.allows()));
                value.push(at);
                words.extend(["--allow".into(), value]);
            }
        }
        words
    }

    /// The option that grants a right on just these ports, as words.
    pub fn granting_ports(&self, right: Rights, ports: Ports) -> Vec<OsString> {
        let words = |option: &str, value: String| vec![option.into(), value.into()];
        if let Some((option, ..)) = self.ports().iter().find(|(_, p, r)| *r == right && p.contains(&ports)) {
            return words(option, ports.to_string());
        }
        // To send by UDP takes a port of one's own, which the kernel chooses.
        match self.connect_udp.first() {
            Some(sent) if right == Rights::BIND_UDP => words("--connect-udp", sent.to_string()),
            _ => {
                let preset = self.preset.iter().find(|preset| preset.allows().contains(right));
                preset.map_or(Vec::new(), |preset| words("--preset", preset.to_string()))
            }
        }
    }

    /// Whether `--unrestricted` leaves a right alone.
    pub fn leaves_alone(&self, right: Rights) -> bool {
        self.unrestricted.iter().any(|alone| alone.contains(right))
    }

    /// What `--unrestricted` names.
    pub fn left_alone(&self) -> Rights {
        self.unrestricted.iter().copied().collect()
    }

    /// What `--preset` names.
    pub fn presets(&self) -> &[Preset] {
        &self.preset
    }

    /// The version that `--abi` names.
    pub fn abi(&self) -> Option<Abi> {
        self.abi
    }

    /// Whether `--require` says what has to hold.
    pub fn requires(&self) -> bool {
        !self.require.is_empty()
    }
}
