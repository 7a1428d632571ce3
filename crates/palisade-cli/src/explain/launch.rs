//! Starts the watcher of COMMAND, and says what it tells. COMMAND is the process that was called, with its number,
//! terminal, parent and signals; the watcher is another, which nobody has started that he could see.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::SystemTime;

use palisade::{Domain, Kernel, Plan, Rights, printable};

use super::{Ended, Refusals, Stack, explain};
use crate::args::{Explain, RunArgs};
use crate::backstop::{self, Closed, Watcher};
use crate::policy::Policies;
use crate::propose::{self, Presets, World};
use crate::sys::watch::{self as sys, Part};
use crate::watch::{self, Event, Reads, Told, Watch};
use crate::{Failure, say};

/// What is explained.
pub struct Launch<'a> {
    pub args: &'a RunArgs,
    pub policies: &'a Policies<'a>,
    pub kernel: &'a Kernel,
    pub plans: &'a [Plan],
    pub closed: Closed,
}

/// What the watcher answers if somebody listens to COMMAND's filters already, as some containers do (seccomp_unotify(2)).
/// He could let through what stops, so that the kernel has to refuse what is closed.
const ONLY_CALLS: i32 = -1;

/// Where it is said.
enum Out {
    StandardError,
    File(File),
}

impl Launch<'_> {
    /// Starts the watcher. Returns in the process that becomes COMMAND, once it is watched: what the watcher sees.
    pub fn start(&self) -> Result<Watcher, Failure> {
        if !watch::exists() {
            return Err(Failure::new("--explain is there on x86-64 alone so far"));
        }
        let program = std::process::id() as i32;
        if program == 1 {
            // With the first process of a container all others end, the watcher too.
            return Err(Failure::new(
                "--explain cannot watch process 1, with which the watcher would end: start palisade by another, as with docker run --init",
            ));
        }
        let out = match &self.args.output {
            None => Out::StandardError,
            Some(path) => Out::File(
                File::create(path)
                    .map_err(|error| Failure::new(format!("--output {}: {error}", printable(path))))?,
            ),
        };
        let failed = |error: io::Error| Failure::new(format!("the watcher cannot be started: {error}"));
        match sys::apart().map_err(failed)? {
            Part::New(line) => {
                self.watcher(program, line, out);
                sys::exit(0)
            }
            Part::Old(mut line) => {
                let mut number = [0; 4];
                line.read_exact(&mut number).map_err(failed)?;
                let watcher = i32::from_ne_bytes(number);
                sys::may_be_watched_by(watcher);
                line.write_all(&[0]).map_err(failed)?;
                line.read_exact(&mut number).map_err(failed)?;
                match i32::from_ne_bytes(number) {
                    0 => Ok(Watcher::OfAll(watcher)),
                    ONLY_CALLS => Ok(Watcher::OfCalls(watcher)),
                    errno => Err(Failure::new(format!(
                        "COMMAND cannot be watched: {}; is it watched already, as by strace, or does a sandbox around \
                         palisade forbid ptrace?",
                        io::Error::from_raw_os_error(errno)
                    ))),
                }
            }
        }
    }

    /// The other process.
    fn watcher(&self, program: i32, mut line: UnixStream, mut out: Out) {
        sys::block_signals();
        let done = self.prepare(program, &mut line, &out).and_then(|model| {
            drop(line);
            self.tell(program, &model, &mut out)
        });
        if let Err(error) = done {
            say::line(&format!("the watcher has ended, and with it COMMAND: {error}"));
        }
    }

    fn prepare(&self, program: i32, line: &mut UnixStream, out: &Out) -> io::Result<Model<'_>> {
        line.write_all(&(std::process::id() as i32).to_ne_bytes())?;
        line.read_exact(&mut [0])?;
        let seized = sys::seize(program);
        let listened_to = !sys::nobody_listens();
        let answer = match &seized {
            Err(error) => error.raw_os_error().unwrap_or(libc::EPERM),
            Ok(()) if listened_to => ONLY_CALLS,
            Ok(()) => 0,
        };
        line.write_all(&answer.to_ne_bytes())?;
        if seized.is_err() {
            // Which the other says.
            sys::exit(0);
        }
        // Descriptors 0, 1 and 2 are COMMAND's own still, and what the policy names is open; with the capabilities with which
        // the launcher looks at that too.
        let keep = self.args.start.kept_capabilities();
        let model = Model {
            listened_to,
            domain: Domain::new(self.plans.to_vec()).map_err(io::Error::from)?,
            presets: Presets::new(self.kernel),
            without_capabilities: watch::has_capabilities_beyond(keep),
        };
        if keep != u64::MAX {
            crate::sys::keep_capabilities(keep)?;
        }
        let null = OwnedFd::from(File::options().read(true).write(true).open("/dev/null")?);
        sys::put_in_place_of(&null, 0)?;
        sys::put_in_place_of(&null, 1)?;
        let kept: Vec<i32> = match out {
            Out::File(file) => vec![line.as_raw_fd(), file.as_raw_fd()],
            Out::StandardError => vec![line.as_raw_fd()],
        };
        std::mem::forget(null);
        // From here on nothing may be dropped that holds one of the others.
        sys::close_all_but(&kept);
        Ok(model)
    }

    fn tell(&self, program: i32, model: &Model<'_>, out: &mut Out) -> io::Result<()> {
        let begun = SystemTime::now();
        let (home, dir) = propose::home_and_dir(self.args.start.chdir.as_deref());
        let stack = Stack {
            domain: &model.domain,
            program,
            ceilings: self.policies.ceilings().map(|name| printable(name).to_string()).collect(),
            preset_allows: &|preset, request| model.presets.allows(preset, request),
            closes_io_uring: self.closed.io_uring,
            files: self.plans.iter().any(|plan| plan.enforced().intersects(Rights::FS)),
            world: World {
                home,
                dir,
                is_dir: &|path: &Path| path.is_dir(),
                exists: &|path: &Path| path.symlink_metadata().is_ok(),
                // Not every file system keeps when a file was made.
                is_new: &|path: &Path| {
                    let made = path.symlink_metadata().and_then(|metadata| metadata.created());
                    // Where a link leads that has taken its place since, nobody has asked for.
                    let leads = path.canonicalize();
                    made.is_ok_and(|made| made > begun) || leads.is_ok_and(|leads| leads != path)
                },
            },
        };
        let asks = |what: Explain| self.args.explain.as_ref().is_some_and(|all| all.contains(&what));
        let reads = if asks(Explain::Exact) { Reads::All } else { Reads::Failed };
        let (live, json) = (asks(Explain::Live), self.args.json);
        if model.listened_to && !self.args.quiet {
            say::line(
                "somebody listens to seccomp here, as some containers do: what seccomp closes is refused, but not seen",
            );
        }
        let backstop = backstop::filter(Closed { io_uring: true, ..self.closed });
        let watch = Watch { program, reads, backstop: &backstop };
        let name = self.args.command.first().map_or(OsString::new(), OsString::clone);
        let report = |refusals: &Refusals, status, left, again| {
            let without_capabilities = model.without_capabilities;
            let ended = Ended { name: Path::new(&name), status, left, without_capabilities };
            let explanation = explain(refusals, &stack);
            match json {
                true => super::as_json(&explanation, &ended),
                false => super::for_people(&explanation, &ended, again),
            }
        };
        let mut started = false;
        let mut refusals = Refusals::default();
        let mut end = None;
        watch::watch(&watch, |told| match told {
            Told::Started => started = true,
            Told::Refused(event) => {
                if refusals.add(event.clone()) && live && started {
                    one(event, &stack, json).into_iter().for_each(|line| out.say(&line, json));
                }
            }
            Told::Ended { status, left } => {
                end = Some(status);
                if started {
                    out.say(&report(&refusals, status, left, false), json);
                }
                refusals = Refusals::default();
            }
            Told::Used(_) | Told::Stopped | Told::Interrupted(_) => {}
        })?;
        if let (true, Some(status), false) = (started, end, refusals.all().is_empty()) {
            out.say(&report(&refusals, status, 0, true), json);
        }
        Ok(())
    }
}

/// One refusal as it happens.
fn one(event: Event, stack: &Stack<'_>, json: bool) -> Option<String> {
    let mut alone = Refusals::default();
    alone.add(event);
    let explanation = explain(&alone, stack);
    let explained = explanation.refusals.first()?;
    Some(match json {
        true => super::line_as_json(explained, &explanation.options),
        false => super::line_for_people(explained, &explanation.options),
    })
}

/// What is asked.
struct Model<'a> {
    listened_to: bool,
    domain: Domain,
    presets: Presets<'a>,
    without_capabilities: bool,
}

impl Out {
    fn say(&mut self, text: &str, json: bool) {
        // There is nobody left to tell if it cannot be written.
        let _ = match self {
            Out::StandardError if json => {
                say::on_standard_error(&format!("{text}\n"));
                Ok(())
            }
            Out::StandardError => {
                say::line(text);
                Ok(())
            }
            Out::File(file) => writeln!(file, "{text}").map_err(|error| {
                say::line(&format!("--output: what was refused cannot be written: {error}"))
            }),
        };
    }
}
