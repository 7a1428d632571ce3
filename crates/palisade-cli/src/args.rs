//! The command line, for clap.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use palisade::{Abi, Kernel, Log, Plan, Policy, Ports, Preset, Rights, Rule, path};

use crate::caps;

/// Confine a program to exactly the files, ports and sockets it needs.
///
/// Everything that this kernel's Landlock can deny is denied, but for what the options grant. No root is needed, and
/// nothing has to be set up. `palisade status` says what this kernel can enforce.
#[derive(Parser)]
#[command(name = "palisade", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Run(Box<RunArgs>),
    Status(StatusArgs),
}

/// Run COMMAND confined: it reads, writes, connects and signals only what you grant
///
/// COMMAND may always start: its own file, the interpreter of a script, the ELF interpreter and its libraries are found
/// and granted, single files only. Palisade then becomes COMMAND: same process, same terminal.
///
/// What this kernel cannot restrict stays open, and is named if an option is about it: see `palisade status`, or use
/// --strict. Programs that change the user, as sudo, run without their extra rights.
///
/// Exit status: COMMAND's own; 125 if palisade itself failed and nothing was started; 126 if COMMAND was found and
/// cannot be run; 127 if it was not found.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade run --ro /etc/os-release -- cat /etc/os-release
  palisade run --preset system,tmp --rwx . -- make
  palisade run --preset system,tty --ro . -- less README.md

\"Permission denied\"? Programs that start others need --preset system, those on a terminal --preset tty, and a new
file is made in a folder: grant that with --rw. To see what was refused:
  strace -f -e status=failed palisade run … 2>&1 | grep -E 'EACCES|EPERM|EXDEV'")]
pub struct RunArgs {
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Do not grant what COMMAND needs to start: name it all yourself
    #[arg(long)]
    pub no_program: bool,

    /// Do not close with seccomp what this kernel's Landlock leaves open
    #[arg(long)]
    pub no_backstop: bool,

    /// Keep these capabilities, or all; by default root gives them all up
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = caps::parse, help_heading = "What COMMAND starts with")]
    pub keep_caps: Vec<u64>,

    /// Keep descriptor N open for COMMAND; by default those above 2 are closed
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "What COMMAND starts with")]
    pub keep_fd: Vec<u16>,

    /// Start COMMAND without the environment, but for what --env says
    #[arg(long, help_heading = "What COMMAND starts with")]
    pub clear_env: bool,

    /// Set a variable, or let it pass in spite of --clear-env
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "What COMMAND starts with",
          value_parser = OsStringValueParser::new().try_map(Variable::parse))]
    pub env: Vec<Variable>,

    /// Start COMMAND in DIR; grants and a COMMAND with a slash are relative to the present folder all the same
    #[arg(long, value_name = "DIR", help_heading = "What COMMAND starts with", value_parser = any_path())]
    pub chdir: Option<PathBuf>,

    /// Whether the kernel's audit log gets what is refused to COMMAND
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "none",
        hide_possible_values = false,
        help_heading = "What COMMAND starts with"
    )]
    pub log: LogWhat,

    /// Print what would be enforced, and run nothing
    #[arg(long)]
    pub dry_run: bool,

    /// With --dry-run: print JSON
    #[arg(long, requires = "dry_run")]
    pub json: bool,

    /// Say on standard error what is enforced, what is not, and why
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Say nothing about what cannot be restricted or was skipped
    #[arg(short, long)]
    pub quiet: bool,

    /// The program, looked up in PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What of the refusals is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogWhat {
    /// Nothing
    None,
    /// Everything (Linux 6.15 or newer)
    All,
}

/// A variable of COMMAND's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: OsString,
    /// Without a value it is the caller's own.
    pub value: Option<OsString>,
}

impl Variable {
    fn parse(text: OsString) -> Result<Variable, &'static str> {
        let bytes = text.as_bytes();
        let (name, value) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        if name.is_empty() || bytes.contains(&0) {
            return Err("a variable is NAME or NAME=VALUE");
        }
        let owned = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        Ok(Variable { name: owned(name), value: value.map(owned) })
    }
}

/// Show what this kernel can enforce, and if it is nothing, how to turn it on
#[derive(clap::Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a policy is made of on the command line.
#[derive(clap::Args)]
pub struct PolicyArgs {
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
    ignore_missing: bool,

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
    require: Vec<Rights>,

    /// Fail unless Landlock can restrict everything; what seccomp closes does not count
    #[arg(long, help_heading = "What is handled and required", group = "required_rights")]
    strict: bool,

    /// Never fail for what this kernel cannot restrict: run even if that is all
    #[arg(long, help_heading = "What is handled and required", group = "required_rights")]
    best_effort: bool,
}

/// clap's own parser says of an empty path that it is missing.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl PolicyArgs {
    /// The plan for this kernel of the policy that the options say, with these rules and log flags besides.
    pub fn plan(&self, kernel: &Kernel, rules: Vec<Rule>, log: Log) -> palisade::Result<Plan> {
        let policy = self.policy().rules(rules).log(log);
        if self.best_effort {
            policy.best_effort().plan(kernel)
        } else if self.strict {
            policy.strict().plan(kernel)
        } else if self.require.is_empty() {
            policy.require(self.usually_required()).plan(kernel)
        } else {
            policy.require(self.require.iter().copied()).plan(kernel)
        }
    }

    /// What the options grant and leave alone.
    fn policy(&self) -> Policy {
        let groups = [
            (&self.ro, Rights::RO),
            (&self.rx, Rights::RX),
            (&self.rw, Rights::RW),
            (&self.rwx, Rights::RWX),
            (&self.unix, Rights::RESOLVE_UNIX),
        ];
        let rules =
            groups.into_iter().flat_map(|(paths, rights)| paths.iter().map(move |p| path(p).rights(rights)));
        let rules = rules.chain(self.allow.iter().cloned());
        let mut policy = Policy::new().unrestricted(self.unrestricted.iter().copied());
        for rule in rules {
            policy = policy.rule(if self.ignore_missing { rule.optional() } else { rule });
        }
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

    /// Whether `--require` says what has to hold.
    pub fn requires(&self) -> bool {
        !self.require.is_empty()
    }

    /// The rights that the options grant for every port, so that nothing of them is left to restrict.
    pub fn any_port(&self) -> Rights {
        let ports = [
            (&self.connect_tcp, Rights::CONNECT_TCP),
            (&self.bind_tcp, Rights::BIND_TCP),
            (&self.connect_udp, Rights::CONNECT_SEND_UDP),
            (&self.bind_udp, Rights::BIND_UDP),
        ];
        ports.into_iter().filter(|(ports, _)| ports.contains(&Ports::ANY)).map(|(_, right)| right).collect()
    }

    /// What has to hold unless an option says otherwise.
    pub fn usually_required(&self) -> Rights {
        let handled = self.abi.map_or(Rights::all(), Abi::rights);
        let alone: Rights = self.unrestricted.iter().copied().collect();
        ((Rights::FS | Rights::TCP) & handled) - alone
    }

    /// The rights that the options name, whatever for; of a preset those on ports, which it names too.
    pub fn named(&self) -> Rights {
        let ports = [
            (!self.connect_tcp.is_empty(), Rights::CONNECT_TCP),
            (!self.bind_tcp.is_empty(), Rights::BIND_TCP),
            (!self.connect_udp.is_empty(), Rights::CONNECT_SEND_UDP),
            (!self.bind_udp.is_empty(), Rights::BIND_UDP),
            // One that is skipped opens nothing.
            (self.unix.iter().any(|path| !self.ignore_missing || path.exists()), Rights::RESOLVE_UNIX),
        ];
        let ports = ports.into_iter().filter(|(named, _)| *named).map(|(_, right)| right);
        let presets = self.preset.iter().map(|preset| preset.allows() & Rights::NET);
        ports.chain(presets).chain(self.allow.iter().map(Rule::allows)).collect()
    }
}
