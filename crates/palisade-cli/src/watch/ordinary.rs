//! What ordinary permissions say of a call that failed: owner, mode, lists, mounts and capabilities. The kernel is asked
//! itself (access(2)) where it can be, for which the watcher has the rights of the program, and no more.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use palisade::{Request, printable};

use super::event::Ordinary;
use super::field_of;
use super::said::Said;
use crate::sys::watch as sys;

pub const CAP_DAC_OVERRIDE: u32 = 1;
pub const CAP_FOWNER: u32 = 3;
pub const CAP_KILL: u32 = 5;
pub const CAP_NET_BIND_SERVICE: u32 = 10;
pub const CAP_SYS_ADMIN: u32 = 21;
pub const CAP_MKNOD: u32 = 27;

/// By whose rights a process acts, as /proc says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Real, effective, saved, and of files.
    users: Vec<u32>,
    groups: [String; 2],
    capabilities: u64,
}

impl Identity {
    /// Of a process, by the name of its folder in /proc.
    pub fn of(process: &str) -> Option<Identity> {
        let path = format!("/proc/{process}/status");
        let field = |name| field_of(&path, name);
        let users = field("Uid:")?.split_whitespace().map_while(|id| id.parse().ok()).collect();
        let capabilities = u64::from_str_radix(&field("CapEff:")?, 16).ok()?;
        Some(Identity { users, groups: [field("Gid:")?, field("Groups:")?], capabilities })
    }

    pub fn has(&self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }

    /// Whether it has capabilities that are not in a set.
    pub fn has_beyond(&self, set: u64) -> bool {
        self.capabilities & !set != 0
    }

    pub fn files_user(&self) -> u32 {
        self.users.last().copied().unwrap_or(u32::MAX)
    }

    pub fn files_group(&self) -> u32 {
        self.groups[0].split_whitespace().last().and_then(|group| group.parse().ok()).unwrap_or(u32::MAX)
    }
}

/// Asks for what a call asked for, as `own`, who has the same rights.
pub fn ask(own: &Identity, said: &Said, request: &Request) -> Ordinary {
    let capability = match said {
        Said::Signal { .. } => (CAP_KILL, "kill"),
        Said::Remove { .. } | Said::Rename { .. } => (CAP_FOWNER, "dac_override,fowner"),
        // These say it themselves.
        Said::Make { .. } | Said::Bind { .. } => return asked(own, said, request),
        _ => (CAP_DAC_OVERRIDE, "dac_override"),
    };
    match asked(own, said, request) {
        Ordinary::Refuse(why) if own.files_user() == 0 && !own.has(capability.0) => {
            Ordinary::Refuse(format!(
                "{why}; root may all the same, but palisade takes that away: --keep-caps {} keeps it",
                capability.1
            ))
        }
        ordinary => ordinary,
    }
}

fn asked(own: &Identity, said: &Said, request: &Request) -> Ordinary {
    let (path, other) = (request.path(), request.other_path());
    match said {
        Said::Open { flags, .. } => {
            let Some(path) = path else { return Ordinary::Allow };
            let flags = *flags as i32;
            let exists = std::fs::symlink_metadata(path).is_ok();
            if flags & libc::O_CREAT != 0 && !exists {
                return in_folder(path);
            }
            if flags & libc::O_TMPFILE == libc::O_TMPFILE {
                return may(path, libc::W_OK | libc::X_OK);
            }
            // The fourth mode (neither to read nor to write) takes both.
            let mode = flags & libc::O_ACCMODE;
            let (reads, writes) = (mode != libc::O_WRONLY, mode != libc::O_RDONLY);
            let writes = writes || flags & libc::O_TRUNC != 0;
            let mode = if reads { libc::R_OK } else { 0 } | if writes { libc::W_OK } else { 0 };
            may(path, mode)
        }
        Said::Truncate(_) => path.map_or(Ordinary::Allow, |path| may(path, libc::W_OK)),
        Said::Execute { .. } => path.map_or(Ordinary::Allow, executed),
        Said::Connect { .. } => path.map_or(Ordinary::Allow, |path| may(path, libc::W_OK)),
        Said::Make { mode, device, .. } => {
            let folder = path.map_or(Ordinary::Allow, in_folder);
            first_refusal([folder, made(own, *mode as u32, *device as u32)])
        }
        Said::Symlink(_) => path.map_or(Ordinary::Allow, in_folder),
        // A socket's path, or a port.
        Said::Bind { address, .. } => match path {
            Some(path) => in_folder(path),
            None => port(own, address),
        },
        Said::Remove { .. } => path.map_or(Ordinary::Allow, |path| removed(own, path)),
        Said::Rename { .. } => {
            let (Some(from), Some(to)) = (path, other) else { return Ordinary::Allow };
            first_refusal([removed(own, from), removed(own, to)])
        }
        Said::Link { .. } => other.map_or(Ordinary::Allow, in_folder),
        Said::Signal { process, .. } => signal(own, *process),
        _ => Ordinary::Allow,
    }
}

fn first_refusal(all: [Ordinary; 2]) -> Ordinary {
    let [first, second] = all;
    if first == Ordinary::Allow { second } else { first }
}

const WORDS: [(i32, &str); 3] = [(libc::R_OK, "read"), (libc::W_OK, "written"), (libc::X_OK, "executed")];

/// Whether all folders on the way to a path may be entered.
pub fn entered(path: &Path) -> Ordinary {
    may(path, libc::F_OK)
}

fn may(path: &Path, mode: i32) -> Ordinary {
    let Err(error) = sys::may(path, mode) else { return Ordinary::Allow };
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Ordinary::Refuse(why(path, mode)),
        // It would fail too, but not so.
        _ => Ordinary::Allow,
    }
}

/// Why a path is refused, the nearest folder to the root first.
fn why(path: &Path, mode: i32) -> String {
    let closed = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    let closed = closed.filter(|folder| is_refused(&sys::may(folder, libc::X_OK))).last();
    if let Some(folder) = closed {
        return format!("the folder {} may not be entered ({})", printable(folder), owner(folder));
    }
    let words = WORDS.iter().filter(|(bit, _)| mode & bit != 0 && is_refused(&sys::may(path, *bit)));
    let words: Vec<&str> = words.map(|(_, word)| *word).collect();
    let done = if words.is_empty() { "used so".to_owned() } else { words.join(" or ") };
    let it = if path.is_dir() { "the folder" } else { "the file" };
    format!("{it} {} may not be {done} ({})", printable(path), owner(path))
}

fn is_refused(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EACCES))
}

fn owner(path: &Path) -> String {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => format!("mode {:04o}, user {}, group {}", meta.mode() & 0o7777, meta.uid(), meta.gid()),
        Err(_) => "its owner and mode cannot be seen".to_owned(),
    }
}

/// A file to execute, which has to be a regular one.
fn executed(path: &Path) -> Ordinary {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Ordinary::Refuse(format!("{} is no regular file", printable(path))),
        _ => may(path, libc::X_OK),
    }
}

/// A device takes a capability, but for a whiteout.
fn made(own: &Identity, mode: u32, device: u32) -> Ordinary {
    let is_device = match mode & libc::S_IFMT {
        libc::S_IFCHR => device != 0,
        kind => kind == libc::S_IFBLK,
    };
    if is_device && !own.has(CAP_MKNOD) {
        return Ordinary::Refuse(
            "to make a device takes a capability, which --keep-caps mknod keeps for root".to_owned(),
        );
    }
    Ordinary::Allow
}

/// Something new, in its folder.
fn in_folder(path: &Path) -> Ordinary {
    path.parent().map_or(Ordinary::Allow, |folder| may(folder, libc::W_OK | libc::X_OK))
}

/// Something that is there is removed, or replaced.
fn removed(own: &Identity, path: &Path) -> Ordinary {
    let Some(folder) = path.parent() else { return Ordinary::Allow };
    let (Ok(at), Ok(above)) = (std::fs::symlink_metadata(path), std::fs::symlink_metadata(folder)) else {
        return in_folder(path);
    };
    let me = own.files_user();
    let sticky = above.mode() & libc::S_ISVTX != 0;
    if sticky && at.uid() != me && above.uid() != me && !own.has(CAP_FOWNER) {
        return Ordinary::Refuse(format!(
            "{} belongs to user {}, and in {} everybody may remove only what is theirs",
            printable(path),
            at.uid(),
            printable(folder)
        ));
    }
    in_folder(path)
}

fn port(own: &Identity, address: &[u8]) -> Ordinary {
    let Some(port) = super::event::port_of(address) else { return Ordinary::Allow };
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = first.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024_u16);
    if (1..first).contains(&port) && !own.has(CAP_NET_BIND_SERVICE) {
        return Ordinary::Refuse(format!(
            "ports below {first} take a capability, which --keep-caps net_bind_service keeps for root"
        ));
    }
    Ordinary::Allow
}

fn signal(own: &Identity, process: i64) -> Ordinary {
    if process <= 0 {
        return Ordinary::Unsure("it is for a whole group of processes");
    }
    let Some(theirs) = Identity::of(&process.to_string()) else {
        return Ordinary::Unsure("the process has ended");
    };
    // Real or effective of who signals, real or saved of who is signalled: kill(2).
    let of = |identity: &Identity, which: [usize; 2]| which.map(|n| identity.users.get(n).copied());
    let same = of(own, [0, 1]).iter().any(|user| of(&theirs, [0, 2]).contains(user));
    if same || own.has(CAP_KILL) {
        return Ordinary::Allow;
    }
    Ordinary::Refuse(format!("process {process} is another user's"))
}
