//! Which folders are never granted as a whole.

use std::path::{Component, Path};

use super::secrets::lists_secrets;
use super::{World, holds_secret};

/// Folders that have something of many programs or of all users, and so more than one program needs.
const SHARED: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/media",
    "/mnt",
    "/nix",
    "/opt",
    "/proc",
    "/proc/sys",
    "/root",
    "/run",
    "/run/media",
    "/run/user",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/share",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Folders of which each in it is so.
const EACH_IN: &[&str] = &["/home", "/media", "/run/media", "/run/user", "/var/run/user"];

/// The same of a home.
const OF_A_HOME: &[&str] = &[
    "",
    ".cache",
    ".config",
    ".local",
    ".local/bin",
    ".local/lib",
    ".local/share",
    ".local/state",
    ".var",
    ".var/app",
    "bin",
    "snap",
    "Desktop",
    "Documents",
    "Downloads",
    "Music",
    "Pictures",
    "Public",
    "Templates",
    "Videos",
];

/// Whether a folder is not to be granted as a whole: it is shared by many programs or users, it is a home, what many
/// programs have in one, what a user keeps there, or above a home or the present folder; or it holds a secret.
pub fn too_wide(folder: &Path, world: &World<'_>) -> bool {
    is_wide(folder, world) || holds_secret(folder, world)
}

pub(super) fn is_wide(folder: &Path, world: &World<'_>) -> bool {
    let of_a_home = |home: &Path| OF_A_HOME.iter().any(|place| folder == home.join(place));
    SHARED.iter().any(|place| folder == Path::new(place))
        || folder.parent().is_some_and(|above| EACH_IN.iter().any(|place| above == Path::new(place)))
        || is_above_home(folder, world)
        || (folder != world.dir && world.dir.starts_with(folder))
        || folder.ancestors().filter(|home| is_home(home, world)).any(of_a_home)
}

fn is_home(path: &Path, world: &World<'_>) -> bool {
    let own = world.home.as_deref() == Some(path);
    own || path == Path::new("/root") || path.parent() == Some(Path::new("/home"))
}

fn is_above_home(folder: &Path, world: &World<'_>) -> bool {
    let own = world.home.as_deref().is_some_and(|home| home.starts_with(folder));
    own || Path::new("/root").starts_with(folder) || Path::new("/home").starts_with(folder)
}

/// Whether `--allow read_dir` may be proposed on a folder that is too wide: then all names below can be read, and nothing
/// else. That is little in /etc, /proc or /dev, whose names are much the same everywhere. It is too much in a home and
/// above one, for what files a user has is the user's own; and where there are secrets of a user, as the names of accounts
/// are in a folder of passwords.
pub(super) fn may_be_listed(folder: &Path, world: &World<'_>) -> bool {
    !is_home(folder, world) && !is_above_home(folder, world) && !lists_secrets(folder, world)
}

/// Whether no option could name a path so that it is there again the next time, and is the same: it is gone, it is in the
/// folder of a process, which has another number then, or leads through a link of /proc or through "..".
pub(super) fn is_fleeting(path: &Path, world: &World<'_>) -> bool {
    if !is_plain(path) || !(world.exists)(path) {
        return true;
    }
    let Ok(rest) = path.strip_prefix("/proc") else { return false };
    let names: Vec<&str> = rest.iter().map(|name| name.to_str().unwrap_or_default()).collect();
    let number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    match names.as_slice() {
        [process, ..] if number(process) => true,
        ["self" | "thread-self", below @ ..] => {
            let task = below.first() == Some(&"task");
            let link = below.iter().any(|name| matches!(*name, "root" | "cwd" | "exe" | "map_files"));
            task || link || (below.len() > 1 && below[0] == "fd")
        }
        _ => false,
    }
}

/// Whether it is from the root on, without "..".
pub(super) fn is_plain(path: &Path) -> bool {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(plain)
}
