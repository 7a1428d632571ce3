//! `palisade run --explain`: from what was refused to a program to who refused it, and to the options that would allow
//! it. Pure: what the watcher saw and the policy go in, text or JSON comes out.

mod launch;
mod print;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use palisade::{Decision, Domain, Grant, Granted, Preset, Request, printable};

use crate::propose::{self, Held, Proposed, Wanted, World};
use crate::watch::{Closing, Event, Ordinary, Status, What};
use crate::why::lacking;

pub use launch::Launch;
pub use print::{as_json, for_people, line_as_json, line_for_people};

/// What refusals are held against.
pub struct Stack<'a> {
    pub domain: &'a Domain,
    /// The number of COMMAND's process.
    pub program: i32,
    /// The names of the ceilings, of which the first is layer 2.
    pub ceilings: Vec<String>,
    /// Whether a preset by itself allows a request.
    pub preset_allows: &'a dyn Fn(Preset, &Request) -> bool,
    /// Whether io_uring is closed to whoever is not watched, too.
    pub closes_io_uring: bool,
    /// Whether files are restricted.
    pub files: bool,
    pub world: World<'a>,
}

/// A refusal, and how often it was seen.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub event: Event,
    pub times: usize,
    /// What was asked for, as the rest of a sentence.
    pub asked: String,
    /// Each process once, the first ones.
    pub processes: Vec<i32>,
}

/// So many processes are named.
const PROCESSES: usize = 8;
/// So many refusals are kept.
const MOST: usize = 10_000;

/// All refusals, each once.
#[derive(Default)]
pub struct Refusals {
    all: Vec<Refusal>,
    /// The place of each.
    places: HashMap<Kind, usize>,
    /// Some were not kept.
    pub more: bool,
}

/// What two refusals have in common that are said as one.
type Kind = (OsString, Option<PathBuf>, String, i32, bool, bool);

impl Refusals {
    /// Adds one. Whether it is the first of its kind.
    pub fn add(&mut self, event: Event) -> bool {
        let asked = asked_by(&event);
        let Event { name, program, errno, landlock_first, changed, .. } = &event;
        let kind = (name.clone(), program.clone(), asked.clone(), *errno, *landlock_first, *changed);
        if let Some(old) = self.places.get(&kind).map(|at| &mut self.all[*at]) {
            old.times += 1;
            if !old.processes.contains(&event.process) && old.processes.len() < PROCESSES {
                old.processes.push(event.process);
            }
            return false;
        }
        if self.all.len() == MOST {
            self.more = true;
            return false;
        }
        self.places.insert(kind, self.all.len());
        self.all.push(Refusal { processes: vec![event.process], event, times: 1, asked });
        true
    }

    pub fn all(&self) -> &[Refusal] {
        &self.all
    }
}

/// Who refused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The policy, by Landlock: what is missing.
    Policy { missing: String, decisions: Vec<Decision> },
    /// The policy, by the filter, for what Landlock cannot restrict on this kernel: what is closed.
    Filter(&'static str),
    /// Landlock, wherever files are restricted.
    Always(&'static str),
    /// That nothing that is confined gains rights (no_new_privs).
    NoNewRights,
    /// That it is watched.
    Watching(&'static str),
    /// Owner, mode or capabilities.
    Permissions(String),
    /// Something that palisade has no part in, and does not see.
    Other,
    /// It cannot be said, and why.
    Unsure(String),
}

impl Cause {
    /// As JSON names it.
    pub fn name(&self) -> &'static str {
        match self {
            Cause::Policy { .. } => "landlock",
            Cause::Filter(_) => "seccomp",
            Cause::Always(_) => "landlock",
            Cause::NoNewRights => "no-new-privs",
            Cause::Watching(_) => "explain",
            Cause::Permissions(_) => "permissions",
            Cause::Other => "other",
            Cause::Unsure(_) => "cannot-say",
        }
    }

    pub fn is_palisade(&self) -> bool {
        !matches!(self, Cause::Permissions(_) | Cause::Other | Cause::Unsure(_))
    }
}

/// Why no option is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoOption {
    /// It is none of palisade's.
    NotOurs,
    Held(Held),
    /// Whatever is granted, this is.
    Because(String),
}

/// A refusal, and what there is to say of it.
pub struct Explained<'a> {
    pub refusal: &'a Refusal,
    pub cause: Cause,
    /// Permissions would refuse it too, and why.
    pub besides: Option<String>,
    /// The options that allow it, by their place in [`Explanation::options`]; or why there are none.
    pub options: Result<Vec<usize>, NoOption>,
}

/// All that there is to say.
pub struct Explanation<'a> {
    pub refusals: Vec<Explained<'a>>,
    /// What to add, option by option.
    pub options: Vec<Proposed>,
    pub more: bool,
}

/// How COMMAND ended, and what it is.
pub struct Ended<'a> {
    pub name: &'a Path,
    pub status: Status,
    /// How many processes run on.
    pub left: usize,
    /// Palisade has taken capabilities away that it would have had.
    pub without_capabilities: bool,
}

/// Says of each refusal who it was, and what would allow it.
pub fn explain<'a>(refusals: &'a Refusals, stack: &Stack<'_>) -> Explanation<'a> {
    let mut explained: Vec<Explained<'a>> = refusals
        .all()
        .iter()
        .filter_map(|refusal| {
            let cause = cause(&refusal.event, stack)?;
            let besides = match &refusal.event.ordinary {
                Ordinary::Refuse(why) if cause.is_palisade() => Some(why.clone()),
                _ => None,
            };
            Some(Explained { refusal, cause, besides, options: Err(NoOption::NotOurs) })
        })
        .collect();
    let mut wanted: Vec<(usize, Wanted)> = Vec::new();
    for (at, explained) in explained.iter_mut().enumerate() {
        match wants(explained, stack) {
            Ok(wants) => wanted.push((at, wants)),
            Err(why) => explained.options = Err(why),
        }
    }
    let options = propose(&mut explained, wanted, stack);
    Explanation { refusals: explained, options, more: refusals.more }
}

/// What is proposed for all that is wanted: each refusal learns its options.
fn propose(
    explained: &mut [Explained<'_>],
    wanted: Vec<(usize, Wanted)>,
    stack: &Stack<'_>,
) -> Vec<Proposed> {
    let allows = |preset: Preset, place: usize| {
        let allowed =
            |request| stack.domain.decide(request).is_allowed() || (stack.preset_allows)(preset, request);
        matches!(&explained[place].refusal.event.what, What::Asked(all) if all.iter().all(allowed))
    };
    // Which port a UDP socket is for nobody knows yet. As soon as one is granted the filter lets all through.
    let udp = |e: &Explained<'_>| matches!(&e.refusal.event.what, What::Closed(closing) if is_udp(closing));
    let by_udp: Vec<usize> = (0..explained.len()).filter(|place| udp(&explained[*place])).collect();
    let by_dns = |place: usize| !by_udp.is_empty() && allows(Preset::Dns, place);
    let (named, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(place, _)| by_dns(*place));
    let (places, wanted): (Vec<usize>, Vec<Wanted>) = wanted.into_iter().unzip();
    let allowed_by = |preset: Preset, at: usize| allows(preset, places[at]);
    let proposal = propose::propose(&wanted, &stack.world, &allowed_by);
    for &place in &places {
        explained[place].options = Ok(Vec::new());
    }
    let mut options: Vec<Proposed> = Vec::new();
    for proposed in proposal.options {
        for &at in &proposed.serves {
            if let Ok(all) = &mut explained[places[at]].options {
                all.push(options.len());
            }
        }
        options.push(proposed);
    }
    for (at, held) in proposal.held {
        explained[places[at]].options = Err(NoOption::Held(held));
    }
    let dns: Vec<OsString> = vec!["--preset".into(), Preset::Dns.name().into()];
    let by_dns: Vec<usize> = by_udp.into_iter().chain(named.into_iter().map(|(place, _)| place)).collect();
    if !by_dns.is_empty() {
        let at = options.iter().position(|option| option.words == dns).unwrap_or(options.len());
        if at == options.len() {
            options.push(Proposed { words: dns, serves: Vec::new() });
        }
        by_dns.into_iter().for_each(|place| explained[place].options = Ok(vec![at]));
    }
    options
}

const INET: [i32; 2] = [libc::AF_INET, libc::AF_INET6];

fn is_udp(closing: &Closing) -> bool {
    matches!(closing, Closing::Socket { family, kind: libc::SOCK_DGRAM, .. } if INET.contains(family))
}

fn is_tcp(closing: &Closing) -> bool {
    const PROTOCOLS: [i32; 2] = [0, libc::IPPROTO_TCP];
    matches!(closing, Closing::Socket { family, kind: libc::SOCK_STREAM, protocol }
        if INET.contains(family) && PROTOCOLS.contains(protocol))
}

/// What would have to be granted; or why no grant helps.
fn wants(explained: &Explained<'_>, stack: &Stack<'_>) -> Result<Wanted, NoOption> {
    let event = &explained.refusal.event;
    if !explained.cause.is_palisade() {
        return Err(NoOption::NotOurs);
    }
    if event.changed {
        return Err(NoOption::Because("it may not be what was asked for".to_owned()));
    }
    if let Some(why) = &explained.besides {
        return Err(NoOption::Because(format!("ordinary permissions refuse it too: {why}")));
    }
    match (&explained.cause, &event.what) {
        (Cause::Policy { decisions, .. }, What::Asked(_)) => granting(decisions, event, stack),
        (Cause::NoNewRights, _) => Err(NoOption::Because("no option changes that".to_owned())),
        (_, What::Trace) => Err(NoOption::Because(
            "without --explain it is allowed among what the program has started".to_owned(),
        )),
        (Cause::Watching(_), _) => Err(NoOption::Because("without --explain it is allowed".to_owned())),
        (_, What::Closed(closing)) => Err(NoOption::Because(opened_by(closing).to_owned())),
        _ => Err(NoOption::Because(
            "only --unrestricted fs, which leaves all files alone, allows it".to_owned(),
        )),
    }
}

fn granting(decisions: &[Decision], event: &Event, stack: &Stack<'_>) -> Result<Wanted, NoOption> {
    let refused = || decisions.iter().filter(|decision| decision.is_refused());
    if let Some(why) = refused().find_map(Decision::no_suggestion) {
        return Err(NoOption::Because(why.to_owned()));
    }
    let grants: Vec<Granted> = refused().flat_map(Decision::suggestions).cloned().collect();
    if grants.iter().any(|granted| granted.layer > 1) {
        return Err(NoOption::Because("no option allows what a ceiling does not".to_owned()));
    }
    let grants = grants.into_iter().map(|granted| match granted.grant {
        // Palisade becomes COMMAND, so that what is its own then is its own now.
        Grant::Path { rights, path } if event.process == stack.program => {
            let own = path.strip_prefix(format!("/proc/{}", event.process));
            Grant::Path { rights, path: own.map_or(path.clone(), |rest| Path::new("/proc/self").join(rest)) }
        }
        grant => grant,
    });
    Ok(Wanted { grants: grants.collect(), executes: event.executes })
}

/// What opens what the filter closes, where no option can be named exactly.
fn opened_by(closing: &Closing) -> &'static str {
    match closing {
        Closing::Socket { family: libc::AF_UNIX, .. } => {
            "often it is only to look up a name (nscd), and may fail; else --unix PATH of the socket opens them, here all"
        }
        closing if is_tcp(closing) => "--connect-tcp PORT or --bind-tcp PORT opens them",
        Closing::FastOpen(_) => "to connect first and then send is allowed, if the port is granted",
        Closing::Typing => "nothing allows it: what is typed so is run by your shell, outside",
        Closing::IoUring | Closing::Socket { .. } | Closing::OldSocket => {
            "only --no-backstop, which leaves all of this open, allows it"
        }
    }
}

/// What seccomp closes, as the object of a sentence.
pub fn closed(closing: &Closing) -> &'static str {
    match closing {
        Closing::Socket { family: libc::AF_UNIX, .. } => "UNIX sockets",
        closing if is_udp(closing) => "UDP sockets",
        closing if is_tcp(closing) => "TCP sockets",
        Closing::Socket { .. } => "sockets of this kind",
        Closing::FastOpen(_) => "TCP Fast Open",
        Closing::Typing => "typing into the terminal",
        Closing::IoUring => "io_uring",
        Closing::OldSocket => "old calls that could make a closed socket",
    }
}

/// Who refused it; `None` if it is no matter of permissions after all.
fn cause(event: &Event, stack: &Stack<'_>) -> Option<Cause> {
    let permissions = match &event.ordinary {
        // They never say EXDEV.
        Ordinary::Refuse(why) if event.errno != libc::EXDEV => Some(Cause::Permissions(why.clone())),
        _ => None,
    };
    Some(match &event.what {
        What::Closed(Closing::IoUring) if !stack.closes_io_uring => Cause::Watching(
            "what goes through io_uring cannot be seen, so that it is refused to a program that is watched",
        ),
        What::Closed(closing) => Cause::Filter(closed(closing)),
        What::SetId(_) => Cause::NoNewRights,
        What::Trace => Cause::Watching("a program that is watched cannot be watched by another"),
        What::Mount(_) => match permissions {
            Some(permissions) => permissions,
            None if stack.files && event.errno == libc::EPERM => {
                Cause::Always("mounts cannot be changed where files are restricted")
            }
            None => Cause::Other,
        },
        What::Unknown { why, .. } => Cause::Unsure((*why).to_owned()),
        What::Asked(requests) => {
            let decisions: Vec<Decision> = requests.iter().map(|r| stack.domain.decide(r)).collect();
            let decisive = decisions.iter().find(|decision| !decision.is_allowed()).unwrap_or(&decisions[0]);
            let refused = decisive.is_refused() && decisive.errno() == Some(event.errno);
            match (refused, permissions) {
                // They were asked first, and would not have been asked otherwise.
                (true, Some(permissions)) if !event.landlock_first => permissions,
                (true, _) => {
                    let missing = missing(decisive, requests, &decisions, stack);
                    Cause::Policy { missing, decisions }
                }
                (false, Some(permissions)) => permissions,
                (false, None) => match decisive.cannot_say() {
                    Some(why) => Cause::Unsure(why.to_owned()),
                    // Between two mounts, which is nobody's refusal.
                    None if event.errno == libc::EXDEV => return None,
                    None => Cause::Other,
                },
            }
        }
    })
}

/// What is missing, as the end of a sentence.
fn missing(decisive: &Decision, requests: &[Request], decisions: &[Decision], stack: &Stack<'_>) -> String {
    let at = decisions.iter().position(|decision| decision == decisive).unwrap_or(0);
    let along = if at == 0 { String::new() } else { format!("to {}: ", requests[at]) };
    let lacking = lacking(decisive);
    // What has just been named need not be named again.
    let itself = requests[at].path().map_or(String::new(), |path| format!(" on {}", printable(path)));
    let lacking = lacking.strip_suffix(&itself).unwrap_or(&lacking);
    let ceiling = decisive.layer().filter(|layer| *layer > 1).and_then(|layer| stack.ceilings.get(layer - 2));
    let ceiling = ceiling.map_or(String::new(), |name| format!(" in --within {name}"));
    format!("{along}{lacking}{ceiling}")
}

/// What was asked for, as the rest of a sentence. What a process has of its own in /proc has one name for all.
fn asked_by(event: &Event) -> String {
    asked(&event.what).replace(&format!(" /proc/{}/", event.process), " /proc/self/")
}

fn asked(what: &What) -> String {
    match what {
        What::Asked(requests) => requests[0].to_string(),
        What::Closed(closing) => match closing {
            Closing::Socket { family, kind, protocol } => socket_name(*family, *kind, *protocol),
            Closing::FastOpen(Some(port)) => format!("connect to TCP port {port} by TCP Fast Open"),
            Closing::FastOpen(None) => "connect by TCP Fast Open".to_owned(),
            Closing::Typing => "type into the terminal (TIOCSTI, TIOCLINUX)".to_owned(),
            Closing::IoUring => "use io_uring".to_owned(),
            Closing::OldSocket => "make a socket (socketcall)".to_owned(),
        },
        What::Mount(what) => (*what).to_owned(),
        What::SetId(path) => format!("have the rights of the owner or group of {}", printable(path)),
        What::Trace => "watch a process (ptrace)".to_owned(),
        What::Unknown { what, .. } => printable(what).to_string(),
    }
}

fn socket_name(family: i32, kind: i32, protocol: i32) -> String {
    let name = match (family, kind, protocol) {
        (libc::AF_UNIX, ..) => "make a UNIX socket",
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => "make a UDP socket",
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => "make a TCP socket",
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) => {
            "make a Multipath TCP socket"
        }
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_RAW, _) => "make a raw socket",
        (libc::AF_NETLINK, ..) => "make a netlink socket",
        (libc::AF_PACKET, ..) => "make a packet socket",
        (libc::AF_VSOCK, ..) => "make a vsock socket",
        _ => return format!("make a socket (family {family}, type {kind}, protocol {protocol})"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
