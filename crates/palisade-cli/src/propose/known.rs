//! What the system has of what is proposed: the presets, each as if it were a policy, and the caller's folders.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use palisade::{Domain, Kernel, Policy, Preset, Request};

/// The presets, each as if it were a policy. They are looked up when they are first asked, for that takes long; but those
/// that are about descriptors 0, 1 and 2, which are COMMAND's own at the beginning alone.
pub struct Presets<'a> {
    kernel: &'a Kernel,
    known: RefCell<Vec<(Preset, Option<Domain>)>>,
}

impl<'a> Presets<'a> {
    pub fn new(kernel: &'a Kernel) -> Presets<'a> {
        let presets = Presets { kernel, known: RefCell::default() };
        [Preset::Stdio, Preset::Tty].into_iter().for_each(|preset| presets.look_up(preset));
        presets
    }

    fn look_up(&self, preset: Preset) {
        let policy = Policy::new().preset(preset).require_nothing();
        let domain = policy.plan(self.kernel).and_then(|plan| Domain::new([plan])).ok();
        self.known.borrow_mut().push((preset, domain));
    }

    /// Whether a preset by itself allows a request.
    pub fn allows(&self, preset: Preset, request: &Request) -> bool {
        if !self.known.borrow().iter().any(|(known, _)| *known == preset) {
            self.look_up(preset);
        }
        let known = self.known.borrow();
        let domain = known.iter().find(|(known, _)| *known == preset).and_then(|(_, domain)| domain.as_ref());
        domain.is_some_and(|domain| domain.decide(request).is_allowed())
    }
}

/// The caller's home, and the folder in which COMMAND starts: without links, which a home often has on its way (/home is
/// /var/home), as what is used is named.
pub fn home_and_dir(chdir: Option<&Path>) -> (Option<PathBuf>, PathBuf) {
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let dir = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let dir = chdir.map_or(dir.clone(), |chdir| real(dir.join(chdir)));
    (home.map(real), dir)
}
