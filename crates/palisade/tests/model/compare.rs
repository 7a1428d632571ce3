//! Runs a round for real and holds the model's answers against the kernel's.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use palisade::{Abi, BestEffort, Decision, Domain, Grant, Granted, Kernel, Policy, Rights, path};

use crate::round::{Operation, ROOT, Round};
use crate::sys;
use crate::tally::Tally;
use crate::world::{Peers, World, port};

/// The model and the kernel disagree.
#[derive(Debug)]
pub struct Mismatch {
    pub kind: Kind,
    /// The number of the operation; none where it is about the policy.
    pub operation: Option<usize>,
    pub what: String,
}

/// What they disagree about: a case that is made smaller stays of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Policy,
    Outcome,
    Suggestion,
}

/// What a process answers that cannot confine itself.
const NOT_CONFINED: i32 = -1;

/// A process that is confined, and does what it is told.
struct Confined {
    stream: UnixStream,
    pid: Pid,
}

impl Confined {
    fn new(policies: &[BestEffort], round: &Round, world: &World, peers: &Peers) -> Confined {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let peer = ours.try_clone().expect("a descriptor");
        let pid = sys::fork(|| {
            drop(peer);
            let confined = policies.iter().all(|policy| policy.enforce_thread().is_ok());
            let mut number = [0; 4];
            while theirs.read_exact(&mut number).is_ok() {
                let answer = match confined {
                    true => world.perform(&round.operations[u32::from_ne_bytes(number) as usize], peers),
                    false => NOT_CONFINED,
                };
                if theirs.write_all(&answer.to_ne_bytes()).is_err() {
                    break;
                }
            }
        });
        Confined { stream: ours, pid }
    }

    fn perform(&mut self, operation: usize) -> i32 {
        self.stream.write_all(&(operation as u32).to_ne_bytes()).expect("to ask");
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer).expect("an answer");
        i32::from_ne_bytes(answer)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = waitpid(self.pid, None);
    }
}

pub struct Comparer<'a> {
    pub peers: &'a Peers,
    pub kernel: Kernel,
}

impl Comparer<'_> {
    /// Does a round; each operation by a process that is confined, and then, if that failed, by one that is not.
    pub fn run(&self, round: &Round, tally: &mut Tally) -> Option<Mismatch> {
        let world = World::new(round);
        let policies: Vec<Policy> = round.layers.iter().map(|layer| world.policy(layer)).collect();
        let policies: Vec<BestEffort> = policies.into_iter().map(Policy::best_effort).collect();
        let domain = self.domain(&policies);
        let mut confined = Confined::new(&policies, round, &world, self.peers);
        let mut moved = false;
        tally.seen.clear();
        for (number, operation) in round.operations.iter().enumerate() {
            let mismatch = |kind, what: String| {
                let what = what.replace(&*world.root.to_string_lossy(), ROOT);
                Some(Mismatch { kind, operation: Some(number), what })
            };
            let domain = match &domain {
                Ok(domain) => domain,
                // The kernel takes the policy no more than the model does.
                Err(_) if confined.perform(number) == NOT_CONFINED => {
                    tally.invalid += 1;
                    return None;
                }
                Err(error) => {
                    let what = format!("the model refuses a policy that was enforced: {error}");
                    return Some(Mismatch { kind: Kind::Policy, operation: None, what });
                }
            };
            let decision = domain.decide(&world.request(operation));
            let was_there = world.there(operation);
            let with = confined.perform(number);
            if with == NOT_CONFINED {
                let what = "a policy cannot be enforced that the model takes".to_owned();
                return Some(Mismatch { kind: Kind::Policy, operation: None, what });
            }
            world.undo(operation, was_there);
            let fails = decision.note().is_some_and(|note| note.ends_with("whatever is allowed"));
            let suggests = number == 0 && with != 0 && !fails && decision.suggestions().next().is_some();
            let mut without = 0;
            if suggests {
                match self.suggested(round, &decision, &world) {
                    Ok(outcome) => without = outcome,
                    Err(what) => return mismatch(Kind::Suggestion, what),
                }
                tally.suggestions += 1;
                if without != 0 {
                    world.undo(operation, was_there);
                }
            }
            if with != 0 && (!suggests || without != 0) {
                world.contains(operation);
                let free = world.perform(operation, self.peers);
                if suggests && free != without {
                    let (got, free) = (name(without), name(free));
                    let what = format!("with what is suggested: {got}; without a policy: {free}");
                    return mismatch(Kind::Suggestion, what);
                }
                without = free;
            }
            self.peers.drain();
            tally.seen.push((with, without));
            if decision.cannot_say().is_some() {
                tally.cannot_say(&decision);
                continue;
            }
            // What fails before Landlock is asked says nothing of the model.
            let asked = without == 0 || !comes_first(operation, without, &world);
            let expected = match decision.errno() {
                Some(errno) if asked => errno,
                _ => without,
            };
            let on_abi_1 = self.kernel.abi() == Ok(Abi::V1)
                && (decision.errno(), with) == (Some(nix::libc::EXDEV), nix::libc::EACCES);
            // A newer kernel that is made to look like ABI 1 says EACCES where both are true.
            if with != expected && !on_abi_1 {
                let text = format!(
                    "the model says \"{decision}\", so that {} is expected ({} without a policy); the kernel says {}",
                    name(expected),
                    name(without),
                    name(with)
                );
                return mismatch(Kind::Outcome, text);
            }
            tally.cases += 1;
            if asked {
                tally.count(operation, &decision, with, round, &world, moved);
            }
            moved |= with == 0 && matches!(operation, Operation::Rename(..) | Operation::Exchange(..));
        }
        None
    }

    fn domain(&self, policies: &[BestEffort]) -> palisade::Result<Domain> {
        let plans = policies.iter().map(|policy| policy.plan(&self.kernel)).collect::<Result<Vec<_>, _>>()?;
        Domain::new(plans)
    }

    /// With what the model suggests the operation is allowed, by the model and by the kernel, and without any right of
    /// it, it is not. How it ended.
    fn suggested(&self, round: &Round, decision: &Decision, world: &World) -> Result<i32, String> {
        let operation = &round.operations[0];
        let suggested: Vec<&Granted> = decision.suggestions().collect();
        let with = |without: Option<(usize, Rights)>| -> Vec<BestEffort> {
            let layers = round.layers.iter().enumerate().map(|(number, layer)| {
                let mut policy = world.policy(layer);
                for (at, granted) in suggested.iter().enumerate().filter(|(_, g)| g.layer == number + 1) {
                    let left_out =
                        without.filter(|(n, _)| *n == at).map_or(Rights::empty(), |(_, right)| right);
                    policy = grant(policy, &granted.grant, left_out);
                }
                policy.best_effort()
            });
            layers.collect()
        };
        let wider = with(None);
        let answer = self.domain(&wider).map_err(|error| format!("a suggestion is no policy: {error}"))?;
        let answer = answer.decide(&world.request(operation));
        // On an overlay it may be that it cannot be said.
        if answer.is_refused() {
            return Err(format!("what is suggested ({suggested:?}) does not do it: {answer}"));
        }
        for (at, granted) in suggested.iter().enumerate() {
            let Grant::Path { rights, .. } = &granted.grant else { continue };
            for right in rights.iter() {
                let narrower = self.domain(&with(Some((at, right)))).map_err(|error| error.to_string())?;
                if narrower.decide(&world.request(operation)).is_allowed() {
                    return Err(format!("{right} of what is suggested ({suggested:?}) is not needed"));
                }
            }
        }
        Ok(Confined::new(&wider, round, world, self.peers).perform(0))
    }
}

fn grant(policy: Policy, grant: &Grant, left_out: Rights) -> Policy {
    match grant {
        Grant::Path { rights, path: at } if !(*rights - left_out).is_empty() => {
            policy.rule(path(at).rights(*rights - left_out))
        }
        Grant::Port { right, ports } => port(policy, *right, *ports),
        Grant::Unrestricted(rights) => policy.unrestricted([*rights]),
        _ => policy,
    }
}

/// Whether a call that fails so without a policy fails before Landlock is asked.
fn comes_first(operation: &Operation, errno: i32, world: &World) -> bool {
    let errno = Errno::from_raw(errno);
    let real = |path: &Path| world.real(path);
    // Path leaves out a dot at the end, which it is asked for here.
    let dots = |path: &Path| path.ends_with("..") || path == Path::new(".");
    let ends_in_dots = operation.paths().iter().any(|path| dots(path));
    match (errno, operation) {
        (Errno::ENOENT | Errno::ELOOP | Errno::ENAMETOOLONG | Errno::EEXIST, _) => true,
        // Whether the thing is a folder at all is looked at last.
        (Errno::ENOTDIR, Operation::Rmdir(path)) => fs::symlink_metadata(real(path)).is_err(),
        (Errno::ENOTDIR, Operation::Rename(old, new) | Operation::Exchange(old, new)) => {
            let folder = real(new).parent().map(Path::to_owned).unwrap_or_default();
            let folder = if folder.as_os_str().is_empty() { world.root.clone() } else { folder };
            fs::symlink_metadata(real(old)).is_err() || !folder.is_dir()
        }
        (Errno::ENOTDIR, _) => true,
        (Errno::EISDIR, Operation::Unlink(_)) => ends_in_dots,
        (Errno::EISDIR, Operation::Rename(..)) => false,
        // Of a port that nobody can send to.
        (Errno::EINVAL, Operation::ConnectUdp { .. }) => false,
        (Errno::EISDIR | Errno::EINVAL | Errno::EXDEV | Errno::ECONNREFUSED, _) => true,
        (Errno::ENOTEMPTY, Operation::Rename(old, new)) => {
            let folder = world.root.join(real(old)).parent().and_then(|folder| folder.canonicalize().ok());
            let new = real(new).canonicalize().ok();
            folder.zip(new).is_some_and(|(folder, new)| folder.starts_with(new))
        }
        (Errno::ENOTEMPTY | Errno::EBUSY, _) => ends_in_dots,
        (Errno::EADDRINUSE, Operation::BindUnix(_)) => true,
        (Errno::EOPNOTSUPP, Operation::Open(..)) => true,
        // To open the device needs nothing here, and its driver is not there.
        (Errno::ENXIO, Operation::Ioctl(_)) => true,
        _ => false,
    }
}

pub fn name(errno: i32) -> String {
    match errno {
        0 => "success".to_owned(),
        errno => format!("{:?}", Errno::from_raw(errno)),
    }
}
