//! The file that the policy is written to. It is found before COMMAND runs, and kept by the descriptor of its folder: COMMAND,
//! which may be confined where palisade is not, cannot lead elsewhere what is written after its end.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use palisade::printable;

use super::print;
use crate::Failure;

/// Where the policy goes.
pub enum Output {
    /// What is no file, as a pipe, is written to.
    Open(File),
    /// A file that may be made or replaced.
    Named(Box<Named>),
}

pub struct Named {
    folder: File,
    name: OsString,
    /// What is there before COMMAND runs.
    there: Option<Metadata>,
}

impl Output {
    /// Finds it. It is not there, learn has written it, or it is `added_to`; what a link leads to is what is replaced.
    pub fn find(path: &Path, added_to: bool) -> Result<Output, Failure> {
        let refused = |why: String| Failure::new(format!("{}: {why}; nothing was run", printable(path)));
        let there = match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => return Err(refused("is a folder".to_owned())),
            Ok(meta) if !meta.is_file() => {
                let open = File::options().write(true).open(path);
                return open.map(Output::Open).map_err(|error| refused(error.to_string()));
            }
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(refused(error.to_string())),
        };
        if there.is_some() && !added_to {
            let old = fs::read(path).map_err(|error| refused(error.to_string()))?;
            if !old.starts_with(format!("# {}", print::FIRST).as_bytes()) {
                return Err(refused(format!(
                    "is there, and was not written by palisade learn: --from {} adds to it, or remove it",
                    printable(path)
                )));
            }
        }
        let real = if there.is_some() { fs::canonicalize(path).ok() } else { None };
        let path = real.as_deref().unwrap_or(path);
        let name = path.file_name().ok_or_else(|| refused("is no name of a file".to_owned()))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let open = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(folder);
        let may = crate::sys::watch::may(folder, libc::W_OK | libc::X_OK);
        let folder = may.and(open).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => format!("; mkdir -p {} makes it", printable(folder)),
                _ => String::new(),
            };
            refused(format!("no file can be made in {}: {error}{hint}", printable(folder)))
        })?;
        Ok(Output::Named(Box::new(Named { folder, name: name.to_owned(), there })))
    }

    /// Writes it.
    pub fn write(&self, text: &str) -> io::Result<()> {
        match self {
            Output::Open(file) => (&mut &*file).write_all(text.as_bytes()),
            Output::Named(named) => named.write(text),
        }
    }
}

impl Named {
    /// A reader finds the old one or the new one, whole.
    fn write(&self, text: &str) -> io::Result<()> {
        let path = self.at(&self.name);
        match path.symlink_metadata() {
            Ok(now) if self.there.as_ref().is_none_or(|there| !is_same(there, &now)) => {
                return Err(io::Error::other("it was made or changed while COMMAND ran"));
            }
            Ok(_) if fs::read(&path)? == text.as_bytes() => return Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (mut file, temporary) = self.temporary()?;
        let written = file.write_all(text.as_bytes()).and_then(|()| {
            if let Some(there) = &self.there {
                file.set_permissions(Permissions::from_mode(there.mode() & 0o755))?;
            }
            file.sync_all()?;
            fs::rename(&temporary, path)
        });
        written.inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    /// A new file beside it, of a name that nobody has taken.
    fn temporary(&self) -> io::Result<(File, PathBuf)> {
        let mut number = 0;
        loop {
            let path = self.at(format!(".palisade-learn-{}-{number}", std::process::id()).as_ref());
            match File::options().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                made => return Ok((made?, path)),
            }
        }
    }

    /// A name in the folder, wherever that is by now.
    fn at(&self, name: &std::ffi::OsStr) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(name)
    }
}

/// Whether a file is still the same, and nobody has written to it.
fn is_same(old: &Metadata, new: &Metadata) -> bool {
    let what = |meta: &Metadata| (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    what(old) == what(new)
}
