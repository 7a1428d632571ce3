//! The model: what a stack of policies answers, without being enforced.
//!
//! It does what the kernel does (security/landlock/{fs,net,task}.c): for a file, walk from it up to the root and add up
//! what rules allow on the way, in each layer apart. tests/model compares both, operation by operation.

use std::path::{Path, PathBuf};

use crate::decision::{Answer, Decision, Grant, Granted};
use crate::error::{Error, Kind, Result};
use crate::kernel::Kernel;
use crate::needs::{Need, Needs};
use crate::place::{FileKind, Inode, Node, Place, Unsure};
use crate::plan::Plan;
use crate::policy::{BestEffort, Policy};
use crate::request::Request;
use crate::rights::Rights;
use crate::rule::{Ports, Target as RuleTarget};
use crate::uapi::{MAX_LAYERS, REFER_ABI, WHITEOUT_ERRATUM};

/// A rule's rights on an inode, as the kernel is told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The rule's place in the plan.
    pub rule: usize,
    pub inode: Inode,
    pub rights: Rights,
}

/// One or several policies, as they would confine a program one after the other: what the kernel calls a domain, as a
/// value that can be asked.
///
/// ```
/// use palisade::{Abi, Domain, Kernel, Policy, Request};
/// let kernel = Kernel::new(Abi::V7);
/// let (outer, inner) = (Policy::new().ro("/"), Policy::new().ro("/usr"));
/// let domain = Domain::new([outer.plan(&kernel)?, inner.plan(&kernel)?])?;
/// # if cfg!(target_os = "linux") {
/// assert_eq!(domain.decide(&Request::read("/etc/passwd")).layer(), Some(2));
/// # }
/// # Ok::<(), palisade::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Domain {
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    plan: Plan,
    known: Vec<Known>,
    skipped: Vec<PathBuf>,
}

impl Policy {
    /// Whether the kernel would allow what a program asks, under this policy alone: by which rule, or what is missing
    /// and which rule would allow it. Any kernel can be asked about; the paths are those of this system. Nothing is
    /// enforced.
    ///
    /// It speaks of Landlock alone. Whether ordinary permissions allow it, and whether it would fail for another
    /// reason (as that a file is not there), is a different question, which [`Decision::note`] answers in part.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Policy, Request};
    /// let policy = Policy::new().ro("/etc");
    /// let kernel = Kernel::new(Abi::V7);
    /// # if cfg!(target_os = "linux") {
    /// assert!(policy.decide(&kernel, &Request::read("/etc/passwd"))?.is_allowed());
    /// let decision = policy.decide(&kernel, &Request::mkdir("/etc/new"))?;
    /// assert_eq!(decision.to_string(), "refused (EACCES): make_dir is missing on /etc");
    /// assert_eq!(decision.suggestions().next().unwrap().grant.to_string(), "make_dir:/etc");
    /// # }
    /// # Ok::<(), palisade::Error>(())
    /// ```
    ///
    /// # What it cannot say
    ///
    /// The answer is then [`Decision::cannot_say`], with the reason, and never a guess:
    ///
    /// - a path through a link of /proc, as /dev/stdin or /proc/self/exe, which leads elsewhere for each process, unless
    ///   [`View::of_process`](crate::View::of_process) says for which;
    /// - a path that this process cannot look at itself, or one through a file that is no directory;
    /// - whether what rules allow of a process's folder in /proc is allowed: it has other guards too;
    /// - whether a rule is on a file with several names on an overlay: each name there is a file of its own to the kernel;
    /// - any path, off Linux.
    ///
    /// It is asked of the system as it is now, and of the current folder and the root of this process, or of those that
    /// [`Request::seen_from`] names. What is not asked for at all: descriptors that are open already (they keep the rights they were opened with); a directory
    /// that was moved out of its bind mount while it was open (erratum 3); peers within the same policy, which are
    /// always reached; where this process is in a chroot, a rule by descriptor on a folder outside of it, and rules on its root in moves between
    /// folders of another mount; Multipath TCP, SMC and SCTP (erratum 1); `RENAME_WHITEOUT`; ptrace and mounting.
    ///
    /// # Errors
    ///
    /// As of [`Policy::enforce`], but for those of confining itself: a policy that could not be enforced there, or that
    /// names what does not exist, decides nothing.
    pub fn decide(&self, kernel: &Kernel, request: &Request) -> Result<Decision> {
        self.plan(kernel)?.decide(request)
    }
}

impl BestEffort {
    /// As [`Policy::decide`].
    pub fn decide(&self, kernel: &Kernel, request: &Request) -> Result<Decision> {
        self.plan(kernel)?.decide(request)
    }
}

impl Plan {
    /// As [`Policy::decide`], on the kernel that the plan is for.
    pub fn decide(&self, request: &Request) -> Result<Decision> {
        Ok(Domain::new([self.clone()])?.decide(request))
    }
}

/// What a layer would have to allow, and does not.
struct Lack {
    layer: usize,
    rights: Rights,
    errno: i32,
    what: Lacking,
}

enum Lacking {
    /// A rule here or above.
    Path {
        inode: Inode,
        path: PathBuf,
    },
    Port(u16),
    Scope,
    /// No rule could allow it, and why.
    Never(&'static str),
}

const EACCES: i32 = 13;
const EPERM: i32 = 1;
const EXDEV: i32 = 18;

/// What is allowed besides, to try out a suggestion.
#[derive(Default)]
struct Extra {
    paths: Vec<OnPath>,
    /// Ports and scopes.
    others: Vec<Granted>,
}

struct OnPath {
    layer: usize,
    inode: Inode,
    rights: Rights,
    path: PathBuf,
}

impl Domain {
    /// What these plans do together, the first being enforced first. The paths of their rules are looked up now, as
    /// [`Plan::enforce`] would; but a file that is removed later may leave its number to another, which the rule
    /// is then taken to be on.
    ///
    /// # Errors
    ///
    /// As of [`Plan::check`]; and more than 16 layers.
    pub fn new(plans: impl IntoIterator<Item = Plan>) -> Result<Domain> {
        let layer = |plan: Plan| {
            let (known, skipped) = plan.known()?;
            Ok(Layer { plan, known, skipped })
        };
        let layers: Vec<Layer> = plans.into_iter().map(layer).collect::<Result<_>>()?;
        // One that handles nothing is none.
        if layers.iter().filter(|layer| !layer.plan.handled.is_empty()).count() > MAX_LAYERS as usize {
            let message = format!("there can be no more than {MAX_LAYERS} Landlock layers");
            return Err(Error::new(Kind::Layers, message, "put what several policies allow into one"));
        }
        Ok(Domain { layers })
    }

    /// Paths of [optional](crate::Rule::optional) rules that do not exist.
    pub fn skipped(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().flat_map(|layer| layer.skipped.iter().map(PathBuf::as_path))
    }

    /// Decides a request, as [`Policy::decide`]: pure, without a system call.
    pub fn decide(&self, request: &Request) -> Decision {
        let mut note = None;
        let needs = match Needs::of(&request.action, self.to_make_whiteout(), &mut note) {
            Ok(needs) => needs,
            Err(why) => return Decision { answer: Answer::CannotSay(why), note },
        };
        let lacks = self.lacks(&needs, &Extra::default());
        let Some(first) = lacks.first() else {
            let answer = match self.unsure(request, &needs) {
                Some(why) => Answer::CannotSay(why.to_owned()),
                None => self.allowed(&needs),
            };
            return Decision { answer, note };
        };
        // A right that is missing outweighs what would be gained by a move.
        let errno = if lacks.iter().any(|lack| lack.errno == EACCES) { EACCES } else { first.errno };
        let layer = lacks.iter().map(|lack| lack.layer).min().unwrap_or_default() + 1;
        let missing = lacks.iter().map(Lack::granted).collect();
        Decision { answer: Answer::Refused { errno, layer, missing, suggestion: self.suggest(&needs) }, note }
    }

    /// Why it may be refused although rules allow it.
    fn unsure(&self, request: &Request, needs: &Needs<'_>) -> Option<&'static str> {
        let guarded = "rules allow it, but what /proc has of a process has other guards too";
        // Whatever is done there, and also what takes no right.
        let mut places = request.action.targets().into_iter().flatten().flat_map(|target| &target.place);
        if places.any(|place| place.unsure() == Some(Unsure::Through)) {
            return Some(guarded);
        }
        let on = |place: &Place| {
            let ruled = |layer: &Layer| layer.known.iter().any(|known| known.inode == place.node().inode);
            match place.unsure()? {
                Unsure::Process | Unsure::Through => Some(guarded),
                Unsure::Names if self.layers.iter().any(ruled) => Some(
                    "on an overlay each name of a file is a file of its own to a rule, which cannot be seen from outside",
                ),
                Unsure::Names => None,
            }
        };
        match needs {
            Needs::Path(need) if need.nodes.len() == need.place.nodes().len() => on(need.place),
            Needs::Refer { taken, .. } => taken.iter().find_map(|place| on(place)),
            _ => None,
        }
    }

    fn abi(&self) -> u32 {
        self.layers.first().and_then(|layer| layer.plan.kernel().abi().ok()).map_or(0, |abi| abi.number())
    }

    /// The right to make a whiteout of an overlay on this kernel.
    fn to_make_whiteout(&self) -> Rights {
        let mut kernels = self.layers.iter().map(|layer| layer.plan.kernel());
        let unfixed = kernels.any(|k| k.unfixed().any(|(number, _)| number == WHITEOUT_ERRATUM));
        if unfixed { Rights::MAKE_CHAR } else { Rights::MAKE_REG }
    }

    /// What is not allowed, layer by layer; first what is nearest to the root.
    fn lacks(&self, needs: &Needs<'_>, extra: &Extra) -> Vec<Lack> {
        let mut lacks = Vec::new();
        for layer in 0..self.layers.len() {
            match needs {
                Needs::Nothing => {}
                Needs::Path(need) => {
                    let rights = need.rights & self.layers[layer].plan.handled;
                    let missing = self.missing(layer, need.nodes, rights, extra);
                    lacks.extend(Lack::on_path(layer, need, missing, EACCES));
                }
                Needs::Refer { from, to, .. } => self.lacks_to_refer(layer, from, to, extra, &mut lacks),
                Needs::Ports(ports) => {
                    for &(right, port) in
                        ports.iter().filter(|(right, port)| !self.allows(layer, *right, *port))
                    {
                        let extra = extra.others.iter().any(|granted| granted.is_port(layer, right, port));
                        if !extra {
                            lacks.push(Lack {
                                layer,
                                rights: right,
                                errno: EACCES,
                                what: Lacking::Port(port),
                            });
                        }
                    }
                }
                Needs::Scope(scope) => {
                    let alone = extra.others.iter().any(|granted| granted.layer == layer + 1);
                    if self.layers[layer].plan.handled.contains(*scope) && !alone {
                        lacks.push(Lack { layer, rights: *scope, errno: EPERM, what: Lacking::Scope });
                    }
                }
            }
        }
        if let (Needs::Refer { from, to, taken }, []) = (needs, lacks.as_slice()) {
            // The kernel stops where it finds everything allowed on both sides.
            if [from, to].into_iter().all(|need| self.allows_all(need, extra)) {
                return lacks;
            }
            for layer in 0..self.layers.len() {
                for (place, way) in taken.iter().zip([(from, to), (to, from)]) {
                    lacks.extend(self.gained(layer, place, way, extra));
                }
            }
        }
        lacks
    }

    fn lacks_to_refer(
        &self,
        layer: usize,
        from: &Need<'_>,
        to: &Need<'_>,
        extra: &Extra,
        lacks: &mut Vec<Lack>,
    ) {
        if !self.layers.iter().any(|layer| layer.plan.handled.fs_bits() != 0) {
            return;
        }
        let handled = self.layers[layer].plan.handled;
        if handled.is_empty() {
            // Nothing is enforced then, not even an empty layer.
            return;
        }
        let never = |why| Lack { layer, rights: Rights::REFER, errno: EXDEV, what: Lacking::Never(why) };
        if self.abi() < REFER_ABI {
            if handled.fs_bits() != 0 {
                lacks.push(never("no rule can allow it before ABI 2 (Linux 5.19)"));
            }
            return;
        }
        let mut both = [from, to];
        both.sort_by_key(|need| need.nodes.len());
        for need in both {
            let missing = self.missing(layer, need.nodes, need.rights & (handled | Rights::REFER), extra);
            let errno = if (missing - Rights::REFER).is_empty() { EXDEV } else { EACCES };
            lacks.extend(Lack::on_path(layer, need, missing & handled, errno));
        }
        if !handled.contains(Rights::REFER) {
            lacks.push(never("a policy that leaves refer alone has no rule that could allow it"));
        }
    }

    /// What a file could be used for in its new place, and could not in the old one.
    fn gained(
        &self,
        layer: usize,
        taken: &Place,
        way: (&Need<'_>, &Need<'_>),
        extra: &Extra,
    ) -> Option<Lack> {
        let mut rights = self.layers[layer].plan.handled & Rights::of_paths();
        if taken.kind() != Some(FileKind::Dir) {
            rights = rights & Rights::on_file();
        }
        let itself = &taken.nodes()[taken.folder().len()..];
        let (old, new) = (compared(way.0.nodes), compared(way.1.nodes));
        let before = self.missing(layer, old, self.missing(layer, itself, rights, extra), extra);
        let after = self.missing(layer, new, rights, extra);
        // No rule can be on a symbolic link itself.
        let nodes = if taken.kind() == Some(FileKind::Symlink) { taken.folder() } else { taken.nodes() };
        let need = Need { place: taken, nodes, rights };
        Lack::on_path(layer, &need, before - after, EXDEV)
    }

    /// Whether every layer allows there all that it handles.
    fn allows_all(&self, need: &Need<'_>, extra: &Extra) -> bool {
        (0..self.layers.len()).all(|layer| {
            let handled = self.layers[layer].plan.handled & Rights::of_paths();
            self.missing(layer, need.nodes, handled, extra).is_empty()
        })
    }

    /// Which of these rights no rule of the layer allows on any of these nodes.
    fn missing(&self, layer: usize, nodes: &[Node], rights: Rights, extra: &Extra) -> Rights {
        let known = self.layers[layer].known.iter().map(|known| (known.inode, known.rights));
        let extra = extra.paths.iter().filter(|extra| extra.layer == layer);
        let extra = extra.map(|extra| (extra.inode, extra.rights));
        known
            .chain(extra)
            .filter(|(inode, _)| nodes.iter().any(|node| node.inode == *inode))
            .fold(rights, |left, (_, allowed)| left - allowed)
    }

    /// Whether a layer leaves a port alone, or a rule allows it.
    fn allows(&self, layer: usize, right: Rights, port: u16) -> bool {
        let plan = &self.layers[layer].plan;
        !plan.handled.contains(right) || plan.ports.iter().any(|rule| covers(rule, right, port))
    }

    /// The rules by which all that is needed is allowed, the nearest first; and what of it is not restricted.
    fn allowed(&self, needs: &Needs<'_>) -> Answer {
        let (mut by, mut needed) = (Vec::new(), Rights::empty());
        for (number, layer) in self.layers.iter().enumerate() {
            let paths: &[&Need<'_>] = match needs {
                Needs::Path(need) => &[need],
                Needs::Refer { from, to, .. } => &[from, to],
                _ => &[],
            };
            for need in paths {
                needed |= need.rights;
                let mut left = need.rights & layer.plan.handled;
                for node in need.nodes.iter().rev() {
                    for known in layer.known.iter().filter(|known| known.inode == node.inode) {
                        if known.rights.intersects(left) {
                            by.push(layer.granted(number, known));
                            left = left - known.rights;
                        }
                    }
                }
            }
            match needs {
                Needs::Ports(ports) => {
                    for (right, port) in ports {
                        needed |= *right;
                        let rule = layer.plan.ports.iter().find(|rule| covers(rule, *right, *port));
                        by.extend(rule.map(|&(right, ports)| Granted {
                            layer: number + 1,
                            grant: Grant::Port { right, ports },
                            preset: None,
                        }));
                    }
                }
                Needs::Scope(scope) => needed |= *scope,
                _ => {}
            }
        }
        let mut unique: Vec<Granted> = Vec::new();
        for granted in by {
            if !unique.contains(&granted) {
                unique.push(granted);
            }
        }
        let handled: Rights = self.layers.iter().map(|layer| layer.plan.handled).collect();
        let open = (needed - handled).iter().map(|right| (right, self.why_open(right))).collect();
        Answer::Allowed { by: unique, open }
    }

    /// Why no layer restricts a right.
    fn why_open(&self, right: Rights) -> String {
        let mut lost = self.layers.iter().flat_map(|layer| layer.plan.lost());
        match lost.find(|lost| lost.right() == right) {
            Some(lost) => lost.why(),
            None => "the policy leaves it alone".to_owned(),
        }
    }

    /// The least rules that would allow it; or why none would.
    fn suggest(&self, needs: &Needs<'_>) -> std::result::Result<Vec<Granted>, &'static str> {
        let mut extra = Extra::default();
        // Each rule can show what it takes to be lacking next: that on one folder, what a file gains in it. Each is
        // needed once in a layer, on either side or on what is moved, so that there is an end to it.
        for _ in 0..=8 * self.layers.len() {
            let Some(lack) = self.lacks(needs, &extra).into_iter().next() else {
                self.narrow(needs, &mut extra);
                return Ok(extra.granted());
            };
            match lack.what {
                Lacking::Never(why) => return Err(why),
                Lacking::Path { inode, path } => {
                    extra.paths.push(OnPath { layer: lack.layer, inode, rights: lack.rights, path });
                }
                Lacking::Port(_) | Lacking::Scope => extra.others.push(lack.granted()),
            }
        }
        Err("no rules were found that would allow it")
    }

    /// Leaves out what was lacking before the rest was allowed, and is not any more.
    fn narrow(&self, needs: &Needs<'_>, extra: &mut Extra) {
        for at in 0..extra.paths.len() {
            for right in extra.paths[at].rights {
                let before = extra.paths[at].rights;
                extra.paths[at].rights = before - right;
                if !self.lacks(needs, extra).is_empty() {
                    extra.paths[at].rights = before;
                }
            }
        }
    }
}

impl Layer {
    /// A rule, as it is shown.
    fn granted(&self, number: usize, known: &Known) -> Granted {
        let rule = &self.plan.rules[known.rule];
        let path = match &rule.target {
            RuleTarget::Path(path) => path.to_path_buf(),
            #[cfg(unix)]
            RuleTarget::Fd(descriptor) if descriptor.name.is_some() => {
                descriptor.name.clone().unwrap_or_default()
            }
            other => PathBuf::from(other.to_string()),
        };
        let grant = Grant::Path { rights: rule.terms.rights, path };
        Granted { layer: number + 1, grant, preset: rule.terms.from }
    }
}

impl Extra {
    /// One rule for each path.
    fn granted(self) -> Vec<Granted> {
        let mut all: Vec<OnPath> = Vec::new();
        for new in self.paths.into_iter().filter(|on_path| !on_path.rights.is_empty()) {
            match all.iter_mut().find(|old| old.layer == new.layer && old.path == new.path) {
                Some(old) => old.rights |= new.rights,
                None => all.push(new),
            }
        }
        let paths = all.into_iter().map(|OnPath { layer, rights, path, .. }| Granted {
            layer: layer + 1,
            grant: Grant::Path { rights, path },
            preset: None,
        });
        paths.chain(self.others).collect()
    }
}

impl Granted {
    fn is_port(&self, layer: usize, right: Rights, port: u16) -> bool {
        let port = Ports { first: port, last: port };
        self.layer == layer + 1 && self.grant == Grant::Port { right, ports: port }
    }
}

impl Lack {
    fn on_path(layer: usize, need: &Need<'_>, rights: Rights, errno: i32) -> Option<Lack> {
        let node = need.nodes.last()?;
        let path = need.place.path_of(need.nodes.len() - 1);
        let what = Lacking::Path { inode: node.inode, path };
        (!rights.is_empty()).then_some(Lack { layer, rights, errno, what })
    }

    /// What would allow it.
    fn granted(&self) -> Granted {
        let grant = match &self.what {
            Lacking::Path { path, .. } => Grant::Path { rights: self.rights, path: path.clone() },
            Lacking::Port(port) => Grant::Port { right: self.rights, ports: Ports::from(*port) },
            Lacking::Scope | Lacking::Never(_) => Grant::Unrestricted(self.rights),
        };
        Granted { layer: self.layer + 1, grant, preset: None }
    }
}

/// The nodes by which the kernel compares two places: it does so before it comes to the root, whose rules then do not
/// count, unless the root is that of their own mount, with which it begins.
fn compared(nodes: &[Node]) -> &[Node] {
    match (nodes.first(), nodes.last()) {
        (Some(root), Some(last)) if root.mount != last.mount => &nodes[1..],
        _ => nodes,
    }
}

fn covers(rule: &(Rights, Ports), right: Rights, port: u16) -> bool {
    let (allowed, Ports { first, last }) = *rule;
    allowed.contains(right) && (first..=last).contains(&port)
}
