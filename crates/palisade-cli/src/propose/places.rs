//! Where a grant belongs if not on the very file: what a program makes itself is not there yet when it starts the next time,
//! and some folders are one thing, of which the next file is wanted as soon as one was read.

use std::path::{Path, PathBuf};

use palisade::{Grant, Rights};

use super::{World, wide};

/// Folders that are one thing, wherever they are: the file in them that is read is never the last one.
const WHOLE: [&str; 2] = [".git", "node_modules"];

/// The names in it are of sessions, services or containers, and others when these start again.
const OF_SESSIONS: &str = "/sys/fs/cgroup";

/// Folders in which each folder is of one program or for one purpose.
const EACH_IN: [&str; 7] =
    ["/usr/share", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/lib", "/lib64"];

/// The grant as it is proposed. `may_be_granted` says whether a folder may be granted as a whole.
pub(super) fn placed(grant: &Grant, world: &World<'_>, may_be_granted: impl Fn(&Path) -> bool) -> Grant {
    let Grant::Path { path, rights } = grant else { return grant.clone() };
    let path = lasting(path, world).unwrap_or(path).to_owned();
    within(&Grant::Path { path, rights: *rights }, world, is_one_of_many, may_be_granted)
}

/// The same, of what was there before: what is read of a folder that is one thing is granted on that.
pub fn whole_of(grant: &Grant, world: &World<'_>, may_be_granted: impl Fn(&Path) -> bool) -> Grant {
    within(grant, world, is_one_thing, may_be_granted)
}

/// What is read of such a folder is granted on that.
fn within(
    grant: &Grant,
    world: &World<'_>,
    is_whole: fn(&Path) -> bool,
    may_be_granted: impl Fn(&Path) -> bool,
) -> Grant {
    let Grant::Path { path, rights } = grant else { return grant.clone() };
    let reads = (*rights - Rights::RO).is_empty();
    let whole =
        if reads { whole(path, world, is_whole).filter(|folder| may_be_granted(folder)) } else { None };
    Grant::Path { path: whole.unwrap_or_else(|| path.to_owned()), rights: *rights }
}

/// The nearest folder above that was there before the program was, if the path was not.
pub fn lasting<'a>(path: &'a Path, world: &World<'_>) -> Option<&'a Path> {
    let is_new = |path: &Path| !(world.exists)(path) || (world.is_new)(path);
    if !wide::is_plain(path) || path.starts_with("/proc") || !is_new(path) {
        return None;
    }
    path.ancestors().find(|folder| !is_new(folder) && (world.is_dir)(folder))
}

/// Where package managers put what they have fetched, from which folder of theirs on.
const PACKAGES: [(&str, &str); 7] = [
    ("node_modules", ""),
    ("site-packages", ""),
    ("dist-packages", ""),
    ("toolchains", ".rustup"),
    ("registry", ".cargo"),
    ("mod", "pkg"),
    ("repository", ".m2"),
];

/// Whether a folder has programs and libraries that were installed, and nothing of the user's own.
pub fn is_installed(folder: &Path) -> bool {
    let name =
        |folder: &Path| folder.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let above = folder.parent().map_or(String::new(), name);
    let name = name(folder);
    let packages = PACKAGES.iter().any(|(of, within)| name == *of && (within.is_empty() || above == *within));
    packages || (name.starts_with("python3") && above == "lib")
}

/// The folder that is one thing, and has this in it.
fn whole(path: &Path, world: &World<'_>, is_whole: fn(&Path) -> bool) -> Option<PathBuf> {
    if path.starts_with("/proc") {
        return None;
    }
    let found = path.ancestors().filter(|folder| is_whole(folder)).last()?;
    // One that is too wide is none, nor is what only looks so.
    ((world.is_dir)(found) && !wide::is_wide(found, world)).then(|| found.to_owned())
}

/// Of which the next file is wanted as soon as one was read.
fn is_one_thing(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    WHOLE.contains(&name) || (name.starts_with("python3") && is_installed(folder))
}

/// The same, or one of those that each program has for itself.
fn is_one_of_many(folder: &Path) -> bool {
    let above = folder.parent().unwrap_or(Path::new("/"));
    is_one_thing(folder) || folder == Path::new(OF_SESSIONS) || (has_each(above) && !has_each(folder))
}

/// Whether each folder in it is one thing: /usr/lib has one more of that kind for each architecture.
fn has_each(folder: &Path) -> bool {
    let among = |folder: &Path| EACH_IN.iter().any(|place| folder == Path::new(place));
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let of_architecture = name.contains("-linux-") && folder.parent().is_some_and(among);
    among(folder) || of_architecture
}
