//! Kernels, from Debian's packages: unpacked, never installed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::Line;

/// A kernel to boot.
pub struct Kernel {
    pub release: String,
    pub image: PathBuf,
    /// The module of the overlay file system; the packages of some modules have gone from their suites.
    pub overlay: Option<PathBuf>,
}

/// What debian_fetch ends with where a suite has no such package.
const GONE: i32 = 3;

/// The newest kernel of a line; None if the suite has none any more.
pub fn kernel(root: &Path, work: &Path, line: &Line) -> Result<Option<Kernel>> {
    let Some(package) = package(root, line, line.kernel)? else { return Ok(None) };
    let modules = line.modules.map(|modules| self::package(root, line, modules)).transpose()?.flatten();
    let to = work.join("unpacked").join(line.name);
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(&to)?;
    for package in [Some(&package), modules.as_ref()].into_iter().flatten() {
        // There is ten times as much that is not needed. An archive that is cut short is an error here.
        let script = r#"dpkg-deb --fsys-tarfile "$1" >"$2/tar" &&
            tar -tf "$2/tar" >"$2/list" && grep "/vmlinuz\|/overlay\.ko" "$2/list" >"$2/wanted" &&
            tar -xf "$2/tar" -C "$2" -T "$2/wanted" && rm "$2/tar" "$2/list" "$2/wanted""#;
        let unpacked = Command::new("sh").args(["-c", script, "sh"]).args([package, &to]).status()?;
        ensure!(unpacked.success(), "unpacking {} failed", package.display());
    }
    let files = files(&to)?;
    let find =
        |name: &str| files.iter().find(|file| file.file_name().is_some_and(|f| starts(f, name))).cloned();
    let image = find("vmlinuz").with_context(|| format!("{} has no kernel", package.display()))?;
    let overlay = match find("overlay.ko") {
        Some(packed) if packed.extension().is_some_and(|extension| extension == "xz") => {
            ensure!(Command::new("xz").arg("-d").arg(&packed).status()?.success(), "xz failed");
            Some(packed.with_extension(""))
        }
        found => found,
    };
    ensure!(
        overlay.is_some() || modules.is_none() && line.modules.is_some(),
        "{} has no overlay.ko",
        line.name
    );
    if overlay.is_none() {
        eprintln!("so Linux {} is tested without an overlay file system", line.name);
    }
    // As linux-binary-7.3.4+deb13-cloud-amd64_7.3.4-1~bpo13+1_amd64.deb
    let version = package.file_name().and_then(|name| name.to_str()?.split('_').nth(1));
    let release = version.context("a package's name has its version")?.to_owned();
    Ok(Some(Kernel { release, image, overlay }))
}

fn starts(name: &OsStr, with: &str) -> bool {
    name.as_encoded_bytes().starts_with(with.as_bytes())
}

/// The newest package that matches; None if the suite has none. What was fetched before it is removed.
fn package(root: &Path, line: &Line, pattern: &str) -> Result<Option<PathBuf>> {
    let script = r#"set -euo pipefail; . .ci/apt; debian_fetch "$1" "$cache/kernels" "$2""#;
    let mut fetch = Command::new("bash");
    fetch.current_dir(root).args(["-c", script, "xtask kernels", line.suite, pattern]).stdin(Stdio::null());
    let fetched = fetch.stderr(Stdio::inherit()).output()?;
    match fetched.status.code() {
        Some(0) => {}
        Some(GONE) => return Ok(None),
        _ => bail!("fetching {pattern} of {} failed", line.suite),
    }
    let package = PathBuf::from(String::from_utf8(fetched.stdout)?.trim_end());
    let before = pattern.split('*').next().unwrap_or(pattern);
    for file in files(package.parent().context("a package is in a folder")?)? {
        if file != package && file.file_name().is_some_and(|name| starts(name, before)) {
            fs::remove_file(file)?;
        }
    }
    Ok(Some(package))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(self::files(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
