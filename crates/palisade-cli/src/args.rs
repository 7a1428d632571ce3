//! The command line, for clap.

mod policy;
mod start;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use palisade::Abi;

pub use self::policy::PolicyArgs;
pub use self::start::StartArgs;
use crate::learn::Fold;

/// Confine a program to exactly the files, ports and sockets it needs.
///
/// Everything that this kernel's Landlock can deny is denied, but for what the options grant. No root is needed, and
/// nothing has to be set up. `palisade status` says what this kernel can enforce.
#[derive(Parser)]
#[command(
    name = "palisade",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  palisade status
  palisade run --preset system,tmp --rwx . -- make
  palisade why --preset system,tmp --rwx . write ~/.profile

Exit status:
  N    of run: COMMAND's own; of why: the answer; else 0
  125  palisade itself failed, or was called wrongly: nothing was started"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Run(Box<RunArgs>),
    Learn(Box<LearnArgs>),
    Why(Box<WhyArgs>),
    Status(StatusArgs),
    Check(CheckArgs),
    Show(Box<ShowArgs>),
    Presets(PresetsArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Run COMMAND confined: it reads, writes, connects and signals only what you grant
///
/// COMMAND may always start: its own file, the interpreter of a script, the ELF interpreter and its libraries are found
/// and granted, single files only. Palisade then becomes COMMAND: same process, same terminal.
///
/// What this kernel cannot restrict stays open, and is named if an option is about it: see `palisade status`, or use
/// --strict. Programs that change the user, as sudo, run without their extra rights.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade run --ro /etc/os-release -- cat /etc/os-release
  palisade run --preset system,tmp --rwx . -- make
  palisade run --preset system,tty --ro . -- less README.md
  palisade run --explain --preset system -- ./build.sh

Permission denied?
  Programs that start others need --preset system, those on a terminal --preset tty, and a new file
  is made in a folder: grant that with --rw. To ask which option allows something:
    palisade why --preset system --ro . write out.txt
  To see what was refused, and which options would allow it:
    palisade run --explain -- make

Exit status:
  N    COMMAND's own
  125  palisade itself failed, or was called wrongly: nothing was started
  126  COMMAND was found and cannot be run
  127  COMMAND was not found")]
pub struct RunArgs {
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Do not grant what COMMAND needs to start: name it all yourself
    #[arg(long)]
    pub no_program: bool,

    /// Do not close with seccomp what this kernel's Landlock leaves open
    #[arg(long)]
    pub no_backstop: bool,

    #[command(flatten)]
    pub start: StartArgs,

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
    #[arg(long, group = "said")]
    pub dry_run: bool,

    /// Say what is refused to COMMAND and to what it starts, by whom, and the option that would allow it
    ///
    /// end (which it is without WHEN) says it when COMMAND has ended, live also as it happens. exact reads what each system
    /// call asks for also before it is done, and says if another thread has changed it meanwhile; it takes longer. COMMAND
    /// runs as ever, but cannot be watched by another, as strace, nor use io_uring.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, value_delimiter = ',',
          default_missing_value = "end", conflicts_with = "dry_run", group = "said", help_heading = "Explaining")]
    pub explain: Option<Vec<Explain>>,

    /// With --explain: write it to FILE, not to standard error
    #[arg(short, long, value_name = "FILE", requires = "explain", help_heading = "Explaining", value_parser = any_path())]
    pub output: Option<PathBuf>,

    /// With --dry-run or --explain: print JSON, with --explain to standard error or --output
    #[arg(long, requires = "said")]
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

/// When and how refusals are explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Explain {
    /// When COMMAND has ended
    End,
    /// As it happens, and when COMMAND has ended
    Live,
    /// From arguments that are read before each call
    Exact,
}

/// Watch COMMAND, and write the least policy with which it runs again
///
/// COMMAND runs as `palisade run` would start it, but nothing is refused to it, except what a policy that --within names
/// refuses. What it and all it starts use is written as a policy file: what they opened, made, executed, connected to. What
/// they looked for and did not find is no need, so let it do all that you want to allow.
///
/// Read the file before you use it, for it allows what COMMAND did, whatever that was. Each rule says who used it, and for
/// what. What stands out, as a key or your whole home, is named at the end.
///
/// Paths below the current folder are relative to the file, if that is there or above, and begin with ${PWD} if not; those
/// in your home begin with ~, and XDG folders elsewhere with their variable, so that the policy holds for other users too.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade learn -o make.toml -- make
  palisade learn --from make.toml -- make install
  palisade learn --from make.toml --diff -- make test
  palisade learn -o app.toml --verify -- ./app --once
  palisade run -p ./make.toml -- make

Exit status:
  N    COMMAND's own, 128+N if signal N ended it
  0    with --verify: the policy holds; with --diff: nothing would change
  1    with --verify: it does not hold; with --diff: something would change
  125  palisade itself failed, or was called wrongly: no policy was written
  126  COMMAND was found and cannot be run
  127  COMMAND was not found")]
pub struct LearnArgs {
    /// Write the policy to FILE; without it to that of --from, or to standard output
    ///
    /// It is written when COMMAND and all it started have ended; if it is new, for its owner alone (mode 0600). A file that
    /// learn did not write is not replaced: --from adds to it.
    #[arg(short, long, value_name = "FILE", help_heading = "Learning", value_parser = any_path())]
    pub output: Option<PathBuf>,

    /// Add to this policy file what it lacks; its comments and order stay, and all of it if it lacks nothing
    #[arg(long, value_name = "FILE", help_heading = "Learning", value_parser = any_path())]
    pub from: Option<PathBuf>,

    /// How wide the rules are
    #[arg(long, value_name = "HOW", default_value = "folder", help_heading = "Learning")]
    pub fold: Fold,

    /// Run COMMAND again, confined by the policy, and say whether it holds, and what is missing
    #[arg(long, help_heading = "Learning")]
    pub verify: bool,

    /// Show what would change in the file, and write nothing
    #[arg(long, conflicts_with = "verify", help_heading = "Learning")]
    pub diff: bool,

    #[command(flatten)]
    pub start: StartArgs,

    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Say nothing but what is wrong
    #[arg(short, long)]
    pub quiet: bool,

    /// The program, looked up in PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Say whether `palisade run` with these options would allow something, and which option decides
///
/// Take the grants of your `palisade run` (not what is about the program, as --env), and in place of the program say what
/// it does, as `write /etc/hosts`. The answer names the option that allows it, or the least that you would have to add.
/// Nothing is run or changed.
///
/// This is about palisade alone: whether a file's owner and permissions allow it is another question, on which there is a
/// note at most. Paths are looked up now, from the present folder.
///
/// What is proposed is the least that allows it; on a folder it holds for all that is in it. A program that needs more of
/// a folder is easier served with --ro, --rx or --rw for it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade why --preset system --rw build write build/out.o
  palisade why --rw a --rw b rename a/file b/file
  palisade why --program ./deploy.sh --preset system exec ./deploy.sh
  palisade why --connect-tcp 443 connect-udp 53

Exit status:
  0    allowed
  1    refused
  3    it cannot be said, and why
  125  palisade itself failed, or was called wrongly")]
pub struct WhyArgs {
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Grant what COMMAND needs to start besides, as palisade run COMMAND does; without this, no program's files are granted
    #[arg(long, value_name = "COMMAND", help_heading = "What is asked about")]
    pub program: Option<OsString>,

    /// Ask about palisade run --no-program, which grants nothing but what you name
    #[arg(long, conflicts_with = "program", help_heading = "What is asked about")]
    pub no_program: bool,

    /// Ask about palisade run --no-backstop, which closes nothing with seccomp
    #[arg(long, help_heading = "What is asked about")]
    pub no_backstop: bool,

    /// Ask about a kernel with Landlock ABI N, not this one
    ///
    /// `palisade status` says which this one has. --abi N asks about such a kernel too, and also about a policy that leaves
    /// alone what is newer, as palisade run --abi N does on any kernel.
    #[arg(long, value_name = "N", help_heading = "What is asked about")]
    pub kernel: Option<Abi>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// What the program does
    #[arg(value_name = "ACTION")]
    pub action: Action,

    /// The path or the port that it does it to; for rename, exchange and link a second path
    #[arg(value_name = "TARGET")]
    pub targets: Vec<OsString>,
}

/// What a program may do, as `why` is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Open a file to read it
    Read,
    /// Open a file to write to it, and make it if it is not there
    Write,
    /// List a folder
    List,
    /// Make a new file
    Create,
    /// Make a folder
    Mkdir,
    /// Make a FIFO (a named pipe)
    Mkfifo,
    /// Make a symbolic link; TARGET is its name
    Symlink,
    /// Delete a file, a link or an empty folder
    Delete,
    /// Rename or move TARGET to a second path, and replace what is there
    Rename,
    /// Exchange TARGET and a second path
    Exchange,
    /// Give TARGET a second name (a hard link)
    Link,
    /// Change the length of a file, as overwriting it does
    Truncate,
    /// Execute a program or a script, by path or by a name in PATH
    Exec,
    /// Control a device by ioctl
    Ioctl,
    /// Bind a TCP socket to a port, as servers do
    BindTcp,
    /// Connect to a TCP port, at any address
    ConnectTcp,
    /// Receive on a UDP port
    BindUdp,
    /// Send to a UDP port, at any address
    ConnectUdp,
    /// Make a UNIX socket to listen on
    BindUnix,
    /// Connect to a UNIX socket, as that of a server outside
    ConnectUnix,
    /// Connect to an abstract UNIX socket outside; needs no TARGET
    ConnectAbstract,
    /// Signal a process outside; needs no TARGET
    Signal,
}

impl Action {
    /// As it is given.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// Show what this kernel can enforce, and if it is nothing, how to turn it on
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade status
  palisade status --json

Exit status:
  0    whatever this kernel can enforce
  125  palisade itself failed, or was called wrongly")]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Find what is wrong with policy files, and what may not be meant
///
/// Every mistake of a file is shown at once, with its line. Warnings are about what is allowed and may be more, or less,
/// than you think; a policy that has some is valid.
#[derive(clap::Args)]
#[command(after_help = r#"Examples:
  palisade check palisade.toml
  palisade check --deny-warnings policies/*.toml
  palisade check --schema

A policy file:
  include = ["system", "./team.toml"]  # presets and policies by name, and files
  [fs]
  ro = ["~/.gitconfig", "${XDG_RUNTIME_DIR}/app"]
  rw = ["data"]                        # relative to this file; rx and rwx likewise
  [[fs.allow]]
  paths = ["/dev/tty"]
  rights = "rw,ioctl_dev"              # letters, and the names of palisade run --help
  optional = true                      # skipped where it does not exist
  [net]
  connect_tcp = [443, "8000-8010"]     # bind_tcp, connect_udp and bind_udp likewise; or "any"
  [unix]
  connect = ["/run/app.sock"]
  [env]
  clear = true
  pass = ["PATH", "LANG"]
  And at the top: abi, require and unrestricted, as the options of these names. In a policy that is
  built in, . is the current folder.

Exit status:
  0    all are valid
  1    all are valid, and there are warnings, under --deny-warnings
  125  one is not valid; or palisade itself failed, or was called wrongly"#)]
pub struct CheckArgs {
    /// Fail if there are warnings
    #[arg(long)]
    pub deny_warnings: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Print the JSON Schema of policy files, for editors, and check nothing
    #[arg(long, conflicts_with = "files")]
    pub schema: bool,

    /// Policy files, or policies by name
    #[arg(required_unless_present = "schema", value_name = "FILE|NAME")]
    pub files: Vec<OsString>,
}

/// Show a policy as a kernel gets it, or written in another form
///
/// Take the grants of your `palisade run` (not what is about the program, as --env). The tree says what is restricted, what is allowed where, and which option or line
/// allows it; --kernel N says it of another kernel. toml and args write the policy as a file and as options; paths are whole
/// there, and if they lead through a link that is followed, where a file that names them relatively would refuse it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade show -p palisade.toml
  palisade show --preset system --rw build --kernel 4
  palisade show --preset system,tmp --rwx . --format toml

Exit status:
  0    shown
  125  palisade itself failed, or was called wrongly, as with a policy that has mistakes")]
pub struct ShowArgs {
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Show what a kernel with Landlock ABI N would enforce, not this one
    ///
    /// --abi N shows that too, and also a policy that leaves alone what is newer.
    #[arg(long, value_name = "N", help_heading = "What is shown")]
    pub kernel: Option<Abi>,

    /// In which form
    #[arg(long, value_name = "FORMAT", default_value = "tree", help_heading = "What is shown")]
    pub format: Format,
}

/// The form in which a policy is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Tree,
    /// A policy file; includes and ceilings are not kept apart
    Toml,
    /// For programs: what the kernel is told, layer by layer
    Json,
    /// Options of palisade run
    Args,
}

/// List the presets and the built-in policies, or show one of them
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade presets
  palisade presets system
  palisade presets dns --json
  palisade presets build

Exit status:
  0    listed
  125  palisade itself failed, or was called wrongly, as with a NAME that is none")]
pub struct PresetsArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// The preset to show: each path with its rights, whether it is on this system, and each port; or the policy, as a file
    #[arg(id = "preset_name", value_name = "NAME")]
    pub name: Option<String>,
}

/// Print the script by which a shell completes the words of palisade
///
/// Commands, options, presets, rights, files and programs complete with TAB. bash reads the script from
/// ~/.local/share/bash-completion/completions/palisade, where bash-completion is installed; fish from
/// ~/.config/fish/completions/palisade.fish; zsh from a file _palisade in a folder of $fpath. Of elvish it belongs to
/// rc.elv. All of them ask the palisade that is in PATH.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade completions bash > ~/.local/share/bash-completion/completions/palisade
  palisade completions fish > ~/.config/fish/completions/palisade.fish
  palisade completions zsh > ~/.zfunc/_palisade
  palisade completions elvish >> ~/.config/elvish/rc.elv

Exit status:
  0    printed
  125  palisade itself failed, or was called wrongly")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(required_unless_present = "complete")]
    pub shell: Option<Shell>,

    /// What the scripts ask: what may the last of these words become?
    #[arg(long, hide = true, conflicts_with = "shell")]
    pub complete: bool,

    #[arg(last = true, hide = true, requires = "complete")]
    pub words: Vec<OsString>,
}

/// A shell that there is a script for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Zsh,
}

/// Print the manual page of palisade, or of one of its commands
///
/// The pages are made of what --help prints, in the format of man.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  palisade man run | man -l -
  palisade man --out ~/.local/share/man/man1

Exit status:
  0    printed or written
  125  palisade itself failed, or was called wrongly")]
pub struct ManArgs {
    /// Write all pages to this folder, and make it if it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "subcommand", value_parser = any_path())]
    pub out: Option<PathBuf>,

    /// The command whose page is printed, as run
    #[arg(value_name = "SUBCOMMAND")]
    pub subcommand: Option<String>,
}

/// clap's own parser says of an empty path that it is missing.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
