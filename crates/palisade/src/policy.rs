//! A policy: what is allowed. Plain data, on any system.

use crate::error::Result;
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::preset::Preset;
use crate::report::{Outcome, Report};
use crate::rights::{Abi, Rights};
use crate::rule::{Paths, Ports, Rule, Target, ro, rw, rwx, rx};
use crate::uapi::Log;

/// What a program may do; all else that Landlock can restrict is refused.
///
/// A policy is built up from grants, in any order, and then enforced, once and for good, on the process or thread
/// that calls, or on a child ([`CommandExt`](crate::CommandExt)):
///
/// ```no_run
/// use palisade::{Abi, Policy, Preset, rw};
/// let outcome = Policy::for_abi(Abi::V5)
///     .rx(["/usr", "/bin"])
///     .rule(rw("/tmp").optional())
///     .bind_tcp(8080)
///     .preset(Preset::Dns)
///     .best_effort()
///     .enforce()?;
/// for lost in outcome.lost() {
///     eprintln!("not enforced: {lost}");
/// }
/// # Ok::<(), palisade::Error>(())
/// ```
///
/// # What is required
///
/// A kernel may not be able to restrict all that a policy handles. What has to hold is said once, and where it
/// cannot, [`Policy::enforce`] is an error and nothing is confined; what else is lost is in the [`Report`].
///
/// | | handles | requires |
/// |---|---|---|
/// | [`Policy::new`] | all that this library knows | `fs` and `tcp`: Linux 6.7 or newer |
/// | [`Policy::for_abi`] | what that ABI has | all of it |
/// | [`Policy::require`] | | the categories or rights named, instead |
/// | [`Policy::strict`] | | everything handled |
/// | [`Policy::best_effort`] | | nothing |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a policy does nothing until it is enforced"]
pub struct Policy {
    pub(crate) abi: Option<Abi>,
    /// All that this ABI has is required, unless something else is said.
    pub(crate) all_of_abi: bool,
    pub(crate) rules: Vec<Rule>,
    pub(crate) ports: Vec<(Rights, Ports)>,
    pub(crate) presets: Vec<Preset>,
    pub(crate) unrestricted: Rights,
    pub(crate) require: Option<Rights>,
    pub(crate) strict: bool,
    pub(crate) best_effort: bool,
    pub(crate) abort_if_partial: bool,
    pub(crate) quiet: Rights,
    pub(crate) log: Log,
    pub(crate) ceiling: bool,
}

impl Policy {
    /// Allows nothing, handles everything this library knows, and requires `fs` and `tcp`.
    ///
    /// After an upgrade of this library or of the kernel more may be refused than before;
    /// [`Policy::for_abi`] excludes that.
    pub fn new() -> Policy {
        Policy::default()
    }

    /// Allows nothing, handles what this ABI has, and requires all of it: no surprise on upgrade.
    pub fn for_abi(abi: Abi) -> Policy {
        Policy { abi: Some(abi), all_of_abi: true, ..Policy::default() }
    }

    /// Handles only what this ABI has, and leaves what is required as it is: `fs` and `tcp`, as far as that ABI has them,
    /// unless something else is said.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy};
    /// assert!(Policy::new().abi(Abi::V6).plan(&Kernel::new(Abi::V4)).is_ok());
    /// assert!(Policy::for_abi(Abi::V6).plan(&Kernel::new(Abi::V4)).is_err());
    /// ```
    pub fn abi(mut self, abi: Abi) -> Policy {
        self.abi = Some(abi);
        self
    }

    /// Allows to read files and list directories below each path.
    pub fn ro(self, paths: impl Paths) -> Policy {
        self.rule(ro(paths))
    }

    /// Allows to read and execute below each path.
    pub fn rx(self, paths: impl Paths) -> Policy {
        self.rule(rx(paths))
    }

    /// Allows to read, write, create, remove and rename below each path; no device nodes.
    pub fn rw(self, paths: impl Paths) -> Policy {
        self.rule(rw(paths))
    }

    /// Allows all of [`Policy::rw`], and to execute.
    pub fn rwx(self, paths: impl Paths) -> Policy {
        self.rule(rwx(paths))
    }

    /// Adds a rule. Rights on one path add up.
    pub fn rule(mut self, rule: Rule) -> Policy {
        match self.rules.last_mut() {
            // One rule on two paths says the same as two rules, and takes less memory.
            Some(last) if last.terms == rule.terms => last.targets.extend(rule.targets),
            _ => self.rules.push(rule),
        }
        self
    }

    /// Adds several rules.
    pub fn rules(self, rules: impl IntoIterator<Item = Rule>) -> Policy {
        rules.into_iter().fold(self, Policy::rule)
    }

    /// Needs the feature `program`. Allows what a program needs in order to start, found as [`Program::find`](crate::Program::find) does: single
    /// files only, and the devices that harm nobody.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use palisade::{CommandExt, Policy};
    /// fn convert() -> std::io::Result<()> {
    ///     let policy = Policy::new().program("convert")?.ro("in.png").rw("out/");
    ///     Command::new("convert").args(["in.png", "out/o.jpg"]).confine(&policy)?.status()?; // the child alone
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`Program::find`](crate::Program::find).
    #[cfg(feature = "program")]
    pub fn program(self, name: impl AsRef<std::ffi::OsStr>) -> Result<Policy> {
        Ok(self.rules(crate::Program::find(name)?.rules()))
    }

    /// Allows to connect TCP sockets to a port, a range (`8000..=8010`) or [`Ports::ANY`], at any address.
    ///
    /// ```
    /// use palisade::{Policy, Ports};
    /// let policy = Policy::new().connect_tcp(443).connect_tcp(8000..=8010).bind_tcp(Ports::ANY);
    /// ```
    pub fn connect_tcp(self, ports: impl Into<Ports>) -> Policy {
        self.port(Rights::CONNECT_TCP, ports)
    }

    /// Allows to bind TCP sockets to a port; 0 lets the kernel choose one.
    pub fn bind_tcp(self, ports: impl Into<Ports>) -> Policy {
        self.port(Rights::BIND_TCP, ports)
    }

    /// Allows to connect UDP sockets to a port and to send to it. It brings `bind_udp` for port 0, which the kernel
    /// asks for when a socket that is not bound sends or connects. ABI 10 (Linux 7.2).
    pub fn connect_udp(self, ports: impl Into<Ports>) -> Policy {
        self.port(Rights::CONNECT_SEND_UDP, ports).port(Rights::BIND_UDP, 0)
    }

    /// Allows to bind UDP sockets to a port. ABI 10 (Linux 7.2).
    pub fn bind_udp(self, ports: impl Into<Ports>) -> Policy {
        self.port(Rights::BIND_UDP, ports)
    }

    fn port(mut self, right: Rights, ports: impl Into<Ports>) -> Policy {
        self.ports.push((right, ports.into()));
        self
    }

    /// Allows to connect and send to the UNIX sockets at or below each path. ABI 9 (Linux 7.1).
    ///
    /// ```
    /// let policy = palisade::Policy::new().unix("/run/dbus/system_bus_socket");
    /// ```
    pub fn unix(self, paths: impl Paths) -> Policy {
        self.rule(crate::rule::path(paths).rights(Rights::RESOLVE_UNIX))
    }

    /// Adds what a preset allows.
    pub fn preset(mut self, preset: Preset) -> Policy {
        self.presets.push(preset);
        self
    }

    /// Leaves these categories or rights alone: they are not restricted.
    ///
    /// ```
    /// use palisade::{Policy, Rights};
    /// let policy = Policy::new().unrestricted(Rights::NET);
    /// ```
    pub fn unrestricted(mut self, rights: impl IntoIterator<Item = Rights>) -> Policy {
        self.unrestricted |= rights.into_iter().collect();
        self
    }

    /// Requires these categories or rights, and no others: where one cannot be restricted, enforcing is an error.
    /// Several calls add up.
    ///
    /// ```
    /// use palisade::{Policy, Rights};
    /// let policy = Policy::new().require([Rights::FS, Rights::SIGNAL]);
    /// ```
    pub fn require(mut self, rights: impl IntoIterator<Item = Rights>) -> Policy {
        let rights: Rights = rights.into_iter().collect();
        self.require = Some(self.require.unwrap_or_default() | rights);
        self
    }

    /// Requires everything that the policy handles, [`Policy::require`] or not.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy};
    /// assert!(Policy::new().strict().plan(&Kernel::new(Abi::V9)).is_err_and(|error| error.is_unsupported()));
    /// ```
    pub fn strict(mut self) -> Policy {
        self.strict = true;
        self
    }

    /// Takes back what was said to be required, as by a file: nothing is. Prefer [`Policy::best_effort`], whose result has to
    /// be looked at.
    ///
    /// ```
    /// use palisade::{Kernel, Policy, Unavailable};
    /// let plan = Policy::new().strict().require_nothing().plan(&Kernel::unavailable(Unavailable::NotBuilt))?;
    /// assert_eq!(plan.lost().count(), 23);
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn require_nothing(self) -> Policy {
        Policy { require: Some(Rights::empty()), strict: false, all_of_abi: false, ..self }
    }

    /// Makes each rule that is there [optional](Rule::optional): what does not exist is skipped, and the report names it.
    ///
    /// ```
    /// let policy = palisade::Policy::new().ro(["/etc/one.conf", "/etc/other.conf"]).ignore_missing();
    /// ```
    pub fn ignore_missing(mut self) -> Policy {
        self.rules.iter_mut().for_each(|rule| rule.terms.optional = true);
        self
    }

    /// Makes each relative path absolute, by the current folder; links stay as they are.
    ///
    /// # Errors
    ///
    /// The current folder cannot be found; as of [`std::path::absolute`].
    pub fn absolute(mut self) -> std::io::Result<Policy> {
        for target in self.rules.iter_mut().flat_map(|rule| &mut rule.targets) {
            if let Target::Path(path) = target {
                *path = std::path::absolute(&**path)?.into();
            }
        }
        Ok(self)
    }

    /// Requires nothing: enforces what the kernel can, and succeeds even where that is nothing at all. Look at the
    /// [`Outcome`]. It is said last, after all that the policy allows.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy};
    /// let plan = Policy::new().best_effort().plan(&Kernel::new(Abi::V9))?;
    /// assert_eq!(plan.lost().next().unwrap().to_string(), "bind_udp: needs ABI 10 (Linux 7.2)");
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn best_effort(mut self) -> BestEffort {
        self.best_effort = true;
        BestEffort(self)
    }

    /// Ends the process at once, with a message and SIGABRT, if [`Policy::enforce`] confines some of its threads and
    /// cannot confine the others, before any of those goes on. Without it that is an error ([`Error::is_partial`](crate::Error::is_partial)), and
    /// it is the caller who has to end the process.
    ///
    /// It can happen below ABI 8 (Linux 7.0) alone, and hardly there: whether each thread can be reached, and could confine
    /// itself, is found out before any is confined. What is left is a thread that has 16 layers of its own.
    ///
    /// ```
    /// let policy = palisade::Policy::new().ro("/srv/data").abort_if_partial();
    /// ```
    pub fn abort_if_partial(mut self) -> Policy {
        self.abort_if_partial = true;
        self
    }

    /// Keeps refusals of these rights out of the kernel's audit log: of file rights where a rule is [`Rule::quiet`], of
    /// scopes everywhere; those of ports are logged all the same, and a note says so. Where several layers refuse, the
    /// innermost decides. ABI 10 (Linux 7.2).
    ///
    /// ```
    /// use palisade::{Policy, Rights, ro};
    /// let policy = Policy::new().quiet([Rights::WRITE_FILE]).rule(ro("/etc").quiet());
    /// ```
    pub fn quiet(mut self, rights: impl IntoIterator<Item = Rights>) -> Policy {
        self.quiet |= rights.into_iter().collect();
        self
    }

    /// Sets what the kernel's audit log gets. ABI 7 (Linux 6.15).
    ///
    /// ```
    /// use palisade::{Log, Policy};
    /// let policy = Policy::new().log(Log::NEW_EXEC_ON);
    /// ```
    pub fn log(mut self, log: Log) -> Policy {
        self.log |= log;
        self
    }

    /// Both policies in one layer: what either allows is allowed, what either handles is handled, and what either requires
    /// is required. So joining another policy never leaves more alone; but a right granted for [`Ports::ANY`] is not
    /// restricted, as always. The order does not matter.
    ///
    /// To take away from a policy what another does not allow, stack both: enforce one, and then the other.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy, Rights};
    /// let old = Policy::new().abi(Abi::V4).ro("/srv");
    /// let joined = old.join(Policy::new().unrestricted(Rights::NET).ro("/etc"));
    /// let plan = joined.plan(&Kernel::new(Abi::LATEST))?;
    /// assert!(plan.enforced().contains(Rights::TCP | Rights::SIGNAL) && !plan.enforced().intersects(Rights::UDP));
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn join(self, other: Policy) -> Policy {
        let handled = self.handleable() | other.handleable();
        let abi = self.abi.zip(other.abi).map(|(one, two)| one.max(two));
        let require = match (self.explicitly_required(), other.explicitly_required()) {
            (None, None) => None,
            (one, two) => {
                Some(one.unwrap_or(self.usually_required()) | two.unwrap_or(other.usually_required()))
            }
        };
        let joined = Policy {
            abi,
            all_of_abi: false,
            unrestricted: abi.map_or(Rights::all(), Abi::rights) - handled,
            require,
            strict: self.strict || other.strict,
            abort_if_partial: self.abort_if_partial || other.abort_if_partial,
            quiet: self.quiet | other.quiet,
            log: self.log | other.log,
            ceiling: self.ceiling && other.ceiling,
            ..self
        };
        let mut joined = joined.rules(other.rules);
        joined.ports.extend(other.ports);
        joined.presets.extend(other.presets);
        joined
    }

    /// All that it does not leave alone.
    pub(crate) fn handleable(&self) -> Rights {
        self.abi.unwrap_or(Abi::LATEST).rights() - self.unrestricted
    }

    /// What has to hold if nothing is said.
    pub(crate) fn usually_required(&self) -> Rights {
        (Rights::FS | Rights::TCP) & self.handleable()
    }

    /// What has to hold because something was said, but for `strict`.
    fn explicitly_required(&self) -> Option<Rights> {
        self.require.or_else(|| self.all_of_abi.then(|| self.handleable()))
    }

    /// A ceiling over other policies, as `palisade run --within` stacks one: it takes away what it does not allow, and does
    /// not refuse by itself (`EXDEV`) to move a file from one folder to another, where it allows to take it away and to
    /// make it.
    ///
    /// The kernel refuses such moves in each layer that does not allow refer, also in one that handles no files. So this
    /// allows refer wherever it allows to make or remove something, and everywhere, if it leaves refer alone.
    ///
    /// ```
    /// use palisade::{Policy, Rights};
    /// let offline = Policy::new().unrestricted([Rights::FS, Rights::DEVICES]).ceiling();
    /// ```
    pub fn ceiling(mut self) -> Policy {
        self.ceiling = true;
        self
    }

    /// What `kernel` would be told, what would be lost there, and why. No system call is made: any kernel can be
    /// asked about.
    ///
    /// # Errors
    ///
    /// What is required cannot be restricted there, or the policy contradicts itself.
    pub fn plan(&self, kernel: &Kernel) -> Result<Plan> {
        Plan::new(self, kernel)
    }

    /// Confines the whole process: all its threads, now and for good, and everything it starts from here on.
    ///
    /// On ABI 8 (Linux 7.0) and newer the kernel does that in one step. Before that each thread confines itself: all are
    /// stopped by a signal, of those for real time one that has no handler, and when all stand, they confine themselves.
    /// Threads that wait in a system call that signals interrupt (poll, epoll_wait, sleep) see EINTR. Each thread has a
    /// domain of its own then, and a note in the report says what that means. Best is to enforce before starting threads:
    /// see [the guide](crate::guide#when-to-enforce).
    ///
    /// Processes that were started before are others, and stay as they are.
    ///
    /// # Errors
    ///
    /// As of [`Policy::plan`]; and a path that cannot be opened, the 17th layer, a seccomp filter that refuses; below ABI 8
    /// a thread that blocks the signals for real time, for more than a second, or whose own filter refuses. Then nothing is confined;
    /// but see [`Error::is_partial`](crate::Error::is_partial).
    ///
    /// ```no_run
    /// let report = palisade::Policy::new().ro("/srv/data").enforce()?;
    /// eprint!("{report}");
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn enforce(&self) -> Result<Report> {
        self.plan(&Kernel::probe())?.enforce()
    }

    /// Confines the calling thread alone, and the threads and processes it starts from here on.
    ///
    /// Other threads of the process stay free, and share its memory: code that breaks out of this thread into
    /// another is not confined. It keeps honest code from mistakes, not a hostile one in. From ABI 8 (Linux 7.0) on
    /// [`Policy::enforce`] on another thread replaces what this one is confined to by what that one is.
    ///
    /// # Errors
    ///
    /// As of [`Policy::enforce`], but that other threads do not matter.
    ///
    /// ```no_run
    /// std::thread::spawn(|| palisade::Policy::new().ro("/srv/data").enforce_thread());
    /// ```
    pub fn enforce_thread(&self) -> Result<Report> {
        self.plan(&Kernel::probe())?.enforce_thread()
    }
}

/// A policy that requires nothing: what came of it has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a policy does nothing until it is enforced"]
pub struct BestEffort(Policy);

impl BestEffort {
    /// As [`Policy::plan`].
    pub fn plan(&self, kernel: &Kernel) -> Result<Plan> {
        self.0.plan(kernel)
    }

    /// As [`Policy::enforce`], but that the kernel lacks something is no error.
    pub fn enforce(&self) -> Result<Outcome> {
        self.0.enforce().map(Outcome)
    }

    /// As [`Policy::enforce_thread`], but that the kernel lacks something is no error.
    pub fn enforce_thread(&self) -> Result<Outcome> {
        self.0.enforce_thread().map(Outcome)
    }
}
