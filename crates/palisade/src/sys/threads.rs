//! Confining every thread of this process where the kernel confines one at a time (before TSYNC, ABI 8).
//!
//! Each thread is stopped by a signal, says that it could confine itself, and waits. When all of them stand, nobody can
//! start another, so that none is missed; and no signal is sent after one is confined, which erratum 2 would refuse.
//! Then the caller confines itself, and after it all the others, each with its own call. Up to there a failure lets
//! everybody go as they were; after it some threads are confined and others are not.
//!
//! While threads stand they may hold any lock, that of malloc too: until they are let go the caller takes none and
//! allocates nothing. What runs in the handler makes system calls and touches atomics, and nothing else.
#![allow(unsafe_code, reason = "signals and system calls")]

mod signal;

use std::ffi::{CStr, c_int, c_long};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicUsize};
use std::time::{Duration, Instant};

use super::imp::{
    Errno, check, close_kept_by_parent, getdents, inode, is_broken, kept_tasks, links, open_tasks, pipe,
    read_at, restrict_self, rewind, set_no_new_privs,
};
use signal::{Handler, Masked, queue};

/// Why not all threads are confined.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No descriptor is to be had; nothing was done.
    Start(Errno),
    /// The threads cannot be listed; nothing was done.
    List(io::Error),
    /// The signal cannot be sent; nobody is confined.
    Send(Errno),
    /// A thread did not stop; nobody is confined. Whether it blocks the signal, if that can be known.
    Silent { tid: i32, signal: i32, blocked: Option<bool> },
    /// A thread does not share this one's descriptors, the ruleset among them; nobody is confined.
    Apart { tid: i32 },
    /// In a thread no_new_privs or restrict_self is refused before it did anything; nobody is confined.
    Refused { tid: i32, call: Call, errno: Errno },
    /// The caller cannot confine itself; nobody is confined.
    Caller { call: Call, errno: Errno },
    /// A thread could not confine itself (no error number: it did not say), and others have.
    Partial { tid: i32, errno: Option<Errno> },
}

/// One of the two calls that a thread confines itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    NoNewPrivs,
    RestrictSelf,
}

/// How long each round waits, in milliseconds, for the next thread to stop. A thread may be held up by one that stands
/// and holds a lock, so that everybody is let go after a while, and it is tried again: soon, for where threads start and
/// end all the time that is likely, and then with more patience.
const PATIENCE: [u64; 12] = [10, 20, 20, 50, 50, 100, 100, 200, 400, 800, 1600, 3200];
/// A thread that blocks the signal after a round as long as this, and did after the one before, does so for good.
const BLOCKED: u64 = 800;
/// How long a thread that stands may take to confine itself.
const LAST: Duration = Duration::from_secs(10);

// Words have the number of the round in their upper bits, so that a thread that comes late is never counted in the
// next round, and what they are about in the lower ones. There are at most 2^22 threads.
const ROUND: u32 = !(ONE_ROUND - 1);
const ONE_ROUND: u32 = 1 << 22;
const COUNT: u32 = ONE_ROUND - 1;

/// What threads that stand wait on.
static GATE: AtomicU32 = AtomicU32::new(LEAVE);
const GATHER: u32 = 1;
const GO: u32 = 2;
const LEAVE: u32 = 3;

/// How many threads stand, and how many of them are through.
static STANDING: AtomicU32 = AtomicU32::new(0);
static THROUGH: AtomicU32 = AtomicU32::new(0);
/// The number of either that the caller waits for.
static TARGET: AtomicU32 = AtomicU32::new(0);

static RULESET: AtomicI32 = AtomicI32::new(-1);
/// A descriptor made after the ruleset's, and its inode, which no other has: who finds it there finds the ruleset too.
static MARK: AtomicI32 = AtomicI32::new(-1);
static MARK_INODE: AtomicUsize = AtomicUsize::new(0);
static FLAGS: AtomicU32 = AtomicU32::new(0);
static NO_NEW_PRIVS: AtomicBool = AtomicBool::new(false);

/// Whether a round has failed: a thread may come late from it and stand in another, with a second signal on its way.
static LATE: AtomicBool = AtomicBool::new(false);

/// The threads that were signalled. A table is never freed: a thread may come late.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());

struct Slot {
    /// 0 if the slot is free.
    tid: AtomicI32,
    /// The round, and what is known of the thread in it.
    state: AtomicU32,
}

const UNSENT: u32 = 0;
const SENT: u32 = 1;
const STANDS: u32 = 2;
const CONFINED: u32 = 3;
/// These with an error number.
const NO_PRCTL: u32 = 1 << 14;
const NO_RESTRICT: u32 = 2 << 14;
const LEFT_FREE: u32 = 3 << 14;
const APART: u32 = 4 << 14;
const ERRNO: u32 = (1 << 14) - 1;

struct Table(Box<[Slot]>);

impl Table {
    /// The slot of a thread; a free one, if it has none; none if all are taken.
    fn slot(&self, tid: i32) -> Option<&Slot> {
        let start = tid as usize % self.0.len();
        let (before, after) = self.0.split_at(start);
        let mut slots = after.iter().chain(before);
        slots.find(|slot| matches!(slot.tid.load(SeqCst), 0) || slot.tid.load(SeqCst) == tid)
    }

    /// The threads of which something is known in this round.
    fn of(&self, round: u32) -> impl Iterator<Item = (i32, u32)> {
        self.0.iter().filter_map(move |slot| {
            let state = slot.state.load(SeqCst);
            (state & ROUND == round).then(|| (slot.tid.load(SeqCst), state & COUNT))
        })
    }
}

/// `long futex(uint32_t *word, FUTEX_WAIT_PRIVATE, uint32_t expected, const struct timespec *)`, futex(2)
fn wait_on(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    // The structure of this system call has longs on every architecture.
    let time = limit.map(|t| [t.as_secs() as c_long, c_long::from(t.subsec_nanos() as i32)]);
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the time are live, and only read.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wait, expected, time) };
}

/// How often a thread gives way before it sleeps.
const YIELDS: u32 = 32;

/// As [`wait_on`], but the first [`YIELDS`] times by sched_yield(2), which lets those run that are waited for: to sleep
/// and be woken costs both sides more. Not without end: it gives no way to a thread of lower priority.
fn wait_near(word: &AtomicU32, expected: u32, limit: Option<Duration>, yields: &mut u32) {
    if *yields == YIELDS {
        return wait_on(word, expected, limit);
    }
    *yields += 1;
    // SAFETY: no memory is passed.
    unsafe { libc::sched_yield() };
}

/// `long futex(uint32_t *word, FUTEX_WAKE_PRIVATE, int how_many)`, futex(2)
fn wake(word: &AtomicU32) {
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word is only an address to the kernel.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wake, c_int::MAX) };
}

/// `pid_t gettid(void)`, gettid(2)
fn gettid() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

fn getpid() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::getpid() }
}

/// `int tgkill(pid_t tgid, pid_t tid, int sig)`, tgkill(2): to a thread of this process.
fn tgkill(tid: i32, signal: c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_tgkill, getpid(), tid, signal) })?;
    Ok(())
}

/// Counts the calling thread in this round, if it is still on; how many there are then.
fn count_in(word: &AtomicU32, round: u32) -> Option<u32> {
    let count = |now: u32| (now & ROUND == round).then_some(now + 1);
    word.fetch_update(SeqCst, SeqCst, count).ok().map(|before| (before & COUNT) + 1)
}

fn count_in_and_tell(word: &AtomicU32, round: u32) -> bool {
    let count = count_in(word, round);
    if count.is_some_and(|count| count >= TARGET.load(SeqCst)) {
        wake(word);
    }
    count.is_some()
}

/// What a thread does when it is signalled.
fn stand() {
    let gate = GATE.load(SeqCst);
    let round = gate & ROUND;
    // SAFETY: tables are leaked, so that whichever this is, it lives.
    let table = unsafe { TABLE.load(SeqCst).as_ref() };
    let tid = gettid();
    let slot = table.and_then(|table| table.slot(tid)).filter(|slot| slot.tid.load(SeqCst) == tid);
    let Some(slot) = slot.filter(|_| gate == round | GATHER) else {
        return; // The round that it was signalled for is over.
    };
    let state = match could_confine() {
        Ok(()) => STANDS,
        Err(None) => APART,
        Err(Some((Call::NoNewPrivs, errno))) => NO_PRCTL | errno as u32 & ERRNO,
        Err(Some((Call::RestrictSelf, errno))) => NO_RESTRICT | errno as u32 & ERRNO,
    };
    // Of a later round, if this thread comes late: then it must not look as if it stood.
    if slot.state.compare_exchange(round | SENT, round | state, SeqCst, SeqCst).is_err()
        || !count_in_and_tell(&STANDING, round)
    {
        return;
    }
    let mut yields = 0;
    while GATE.load(SeqCst) == gate {
        wait_near(&GATE, gate, None, &mut yields);
    }
    // After GO the caller waits until every thread is through, so that none can find a later gate here.
    if GATE.load(SeqCst) != round | GO {
        return;
    }
    let done = restrict_in_use();
    if let Err(errno) = done {
        slot.state.store(round | LEFT_FREE | errno as u32 & ERRNO, SeqCst);
    } else {
        slot.state.store(round | CONFINED, SeqCst);
    }
    count_in_and_tell(&THROUGH, round);
    // Until all are through: they would take processors from those that are not, and who could not confine itself may
    // go on only if the caller does.
    let mut yields = 0;
    while GATE.load(SeqCst) == round | GO {
        wait_near(&GATE, round | GO, None, &mut yields);
    }
}

/// Sets no_new_privs, and asks whether restrict_self gets through to the kernel, for a seccomp filter may be in the way;
/// and whether the ruleset's number is the ruleset here (none, if it is not), for a thread may have unshared its
/// descriptors.
fn could_confine() -> Result<(), Option<(Call, Errno)>> {
    if inode(MARK.load(SeqCst)) != Some(MARK_INODE.load(SeqCst)) {
        return Err(None);
    }
    if NO_NEW_PRIVS.load(SeqCst) {
        set_no_new_privs().map_err(|errno| Some((Call::NoNewPrivs, errno)))?;
    }
    // No kernel knows these flags, and they are what it looks at first.
    match restrict_self(-1, u32::MAX) {
        Err(libc::EINVAL) => Ok(()),
        Err(errno) => Err(Some((Call::RestrictSelf, errno))),
        Ok(()) => Err(Some((Call::RestrictSelf, 0))),
    }
}

fn restrict_in_use() -> Result<(), Errno> {
    restrict_self(RULESET.load(SeqCst), FLAGS.load(SeqCst))
}

/// Confines every thread of this process. Says how many there were.
///
/// With `end` the process is ended at once, with a message and SIGABRT, where only some could be confined.
pub(crate) fn restrict_all(
    ruleset: BorrowedFd<'_>,
    no_new_privs: bool,
    flags: u32,
    end: bool,
) -> Result<u32, Failure> {
    let _turn = Turn::take();
    let (mark, _other_end) = pipe().map_err(Failure::Start)?;
    MARK.store(mark.as_raw_fd(), SeqCst);
    MARK_INODE.store(inode(mark.as_raw_fd()).unwrap_or(0), SeqCst);
    RULESET.store(ruleset.as_raw_fd(), SeqCst);
    FLAGS.store(flags, SeqCst);
    NO_NEW_PRIVS.store(no_new_privs, SeqCst);
    let (mut slots, mut blocked_before) = (0, 0);
    for (tries, patience) in PATIENCE.into_iter().enumerate() {
        let mut round = Round::new(slots).map_err(Failure::List)?;
        let failure = match round.run(Duration::from_millis(patience), tries, end) {
            Ok(threads) => {
                keep(round.tasks);
                return Ok(threads);
            }
            Err(Trouble::Full) => {
                slots = 4 * round.table.0.len();
                continue;
            }
            Err(Trouble::Failed(failure)) => failure,
        };
        let last = patience == PATIENCE[PATIENCE.len() - 1];
        match failure {
            Failure::Silent { tid, signal, .. } => {
                let blocked = blocks(tid, signal);
                let is_blocked = blocked == Some(true);
                if last || (is_blocked && tid == blocked_before && patience >= BLOCKED) {
                    return Err(Failure::Silent { tid, signal, blocked });
                }
                // The C library blocks all signals while it starts a thread, or ends one.
                blocked_before = if is_blocked { tid } else { 0 };
            }
            // The limit of queued signals may be others' doing.
            Failure::Send(libc::EAGAIN) if !last => {}
            failure => return Err(failure),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Failure::List(io::Error::other("threads are started faster than they can be counted")))
}

/// A descriptor of /proc/self/task, or -1: what was just confined may not open it once more, for the next policy.
static KEPT: AtomicI32 = AtomicI32::new(-1);

/// What is kept, if it is still what it was.
fn kept() -> Option<OwnedFd> {
    let number = KEPT.load(SeqCst);
    // Nothing is, as long as nobody was confined: /proc need not be asked, which costs as much as a rule.
    if number < 0 { None } else { kept_tasks(number) }
}

fn keep(tasks: OwnedFd) {
    if kept().is_none() {
        close_kept_by_parent(KEPT.load(SeqCst));
        KEPT.store(tasks.into_raw_fd(), SeqCst);
    }
}

/// Whether a thread blocks a signal, as /proc has it, if that may be read.
fn blocks(tid: i32, signal: i32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal - 1) & 1 == 1)
}

/// The one call of [`restrict_all`] that runs. Not a mutex: in a fork made meanwhile nobody would ever unlock it.
struct Turn;

/// The thread that has it, or 0.
static TURN: AtomicI32 = AtomicI32::new(0);

impl Turn {
    fn take() -> Turn {
        let me = gettid();
        loop {
            let Err(other) = TURN.compare_exchange(0, me, SeqCst, SeqCst) else { return Turn };
            // A copy of what a thread of the process had that this one was forked from.
            let copied = other == me || tgkill(other, 0) == Err(libc::ESRCH);
            if copied && TURN.compare_exchange(other, me, SeqCst, SeqCst).is_ok() {
                return Turn;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.store(0, SeqCst);
    }
}

enum Trouble {
    /// There are more threads than slots.
    Full,
    Failed(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failed(failure)
    }
}

/// One try, with all that is opened and allocated before anybody stops.
struct Round {
    number: u32,
    table: &'static Table,
    tasks: OwnedFd,
    /// For getdents64, whose records are aligned to 8 bytes. Small, so that the first threads stop while the kernel
    /// still lists the others, which takes it about as long; and to touch new pages costs more than to ask again.
    listing: [u64; 128],
    sent: u32,
}

/// What a look at all threads finds.
#[derive(Default)]
struct Seen {
    listed: u32,
    standing: u32,
    /// Those that need not stand, this thread among them.
    excused: u32,
    /// One that does not stand, and should.
    silent: i32,
}

impl Round {
    fn new(slots: usize) -> io::Result<Round> {
        let tasks = kept().map_or_else(open_tasks, Ok)?;
        let threads = links(tasks.as_fd()).map_err(io::Error::from_raw_os_error)?;
        let slots = slots.max(4 * threads as usize + 64);
        // SAFETY: tables are leaked, so that whichever this is, it lives.
        let table = match unsafe { TABLE.load(SeqCst).as_ref() } {
            Some(table) if table.0.len() >= slots => table,
            _ => {
                let free = || Slot { tid: AtomicI32::new(0), state: AtomicU32::new(0) };
                Box::leak(Box::new(Table(std::iter::repeat_with(free).take(slots).collect())))
            }
        };
        let number = (GATE.load(SeqCst) & ROUND).wrapping_add(ONE_ROUND);
        Ok(Round { number, table, tasks, listing: [0; 128], sent: 0 })
    }

    /// How many threads the kernel counts.
    fn threads(&self) -> Result<u32, Trouble> {
        links(self.tasks.as_fd()).map_err(|errno| Failure::List(io::Error::from_raw_os_error(errno)).into())
    }

    /// Allocates nothing: from the first signal on somebody may hold malloc's lock.
    fn run(&mut self, patience: Duration, tries: usize, end: bool) -> Result<u32, Trouble> {
        for slot in &self.table.0 {
            slot.tid.store(0, SeqCst);
            slot.state.store(self.number.wrapping_sub(ONE_ROUND) | UNSENT, SeqCst);
        }
        TABLE.store(ptr::from_ref(self.table).cast_mut(), SeqCst);
        STANDING.store(self.number, SeqCst);
        THROUGH.store(self.number, SeqCst);
        TARGET.store(COUNT, SeqCst);
        // A handler of the program's must not run here while everybody else stands.
        let mask = Masked::all();
        let handler = Handler::install(&mask.0, tries).map_err(Failure::Send)?;
        GATE.store(self.number | GATHER, SeqCst);
        let standing = self.gather(handler.signal, patience);
        if standing.is_err() {
            LATE.store(true, SeqCst);
        }
        handler.put_back(LATE.load(SeqCst));
        let done = standing.and_then(|standing| {
            self.confine_caller()?;
            self.go(standing, end)
        });
        GATE.store(self.number | LEAVE, SeqCst);
        wake(&GATE);
        done
    }

    /// Stops every thread but this one, and says how many these are.
    ///
    /// That it is all of them shows when the kernel counts as many threads as stand, and this one: they can neither end
    /// nor start another. Some never stand, and need not ([`needs_nothing`]); then each thread that is listed has to be
    /// known, and as many be listed as are counted.
    fn gather(&mut self, signal: c_int, patience: Duration) -> Result<u32, Trouble> {
        let mut tick = Duration::from_millis(1);
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let counted = self.threads()?;
            let stuck = STANDING.load(SeqCst) & COUNT == before && tick > Duration::from_millis(1);
            let seen = self.signal_all(signal, stuck)?;
            let standing = wait_for(&STANDING, self.sent, tick);
            let now = self.threads()?;
            // One that stood may have ended, by its seccomp filter: it is counted where it stood, and nowhere else.
            if now <= standing + 1 || stuck {
                let alive = self.alive();
                let known = seen.standing + seen.excused;
                if now == alive + 1
                    || (stuck && seen.standing == alive && [seen.listed, known, now] == [counted; 3])
                {
                    return Ok(alive);
                }
            }
            if standing > before {
                (before, since) = (standing, Instant::now());
            } else if since.elapsed() > patience {
                return Err(Failure::Silent { tid: seen.silent, signal, blocked: None }.into());
            }
            tick = (2 * tick).min(Duration::from_millis(20));
        }
    }

    /// How many of those that stand are still there.
    fn alive(&self) -> u32 {
        let standing = self.table.of(self.number).filter(|(_, state)| *state > SENT);
        standing.filter(|(tid, _)| tgkill(*tid, 0) != Err(libc::ESRCH)).count() as u32
    }

    /// Signals each thread that has not been, and says what is known of all.
    fn signal_all(&mut self, signal: c_int, closely: bool) -> Result<Seen, Trouble> {
        let (round, me, mut seen) = (self.number, gettid(), Seen::default());
        rewind(self.tasks.as_fd());
        loop {
            let bytes = getdents(self.tasks.as_fd(), &mut self.listing)
                .map_err(|errno| Failure::List(io::Error::from_raw_os_error(errno)))?;
            if bytes == 0 {
                return Ok(seen);
            }
            for tid in tids(&self.listing, bytes) {
                seen.listed += 1;
                if tid == me {
                    seen.excused += 1;
                    continue;
                }
                let slot = self.table.slot(tid).ok_or(Trouble::Full)?;
                if slot.tid.load(SeqCst) == 0 {
                    // In this order: from the second on the thread may find it.
                    slot.state.store(round | UNSENT, SeqCst);
                    slot.tid.store(tid, SeqCst);
                }
                match slot.state.load(SeqCst) & COUNT {
                    UNSENT => {
                        slot.state.store(round | SENT, SeqCst);
                        seen.silent = tid;
                        match queue(tid, signal) {
                            Ok(()) => self.sent += 1,
                            // It has ended; its number may be another's when it is seen again.
                            Err(libc::ESRCH) => slot.state.store(round | UNSENT, SeqCst),
                            Err(errno) => return Err(Failure::Send(errno).into()),
                        }
                    }
                    SENT if closely && needs_nothing(self.tasks.as_fd(), tid) => seen.excused += 1,
                    SENT => seen.silent = tid,
                    _ => seen.standing += 1,
                }
            }
        }
    }

    fn confine_caller(&self) -> Result<(), Trouble> {
        for (tid, state) in self.table.of(self.number) {
            let errno = (state & ERRNO) as i32;
            let call = match state & !ERRNO {
                APART => return Err(Failure::Apart { tid }.into()),
                NO_PRCTL => Call::NoNewPrivs,
                NO_RESTRICT => Call::RestrictSelf,
                _ => continue,
            };
            return Err(Failure::Refused { tid, call, errno }.into());
        }
        if NO_NEW_PRIVS.load(SeqCst) {
            set_no_new_privs().map_err(|errno| Failure::Caller { call: Call::NoNewPrivs, errno })?;
        }
        restrict_in_use().map_err(|errno| Failure::Caller { call: Call::RestrictSelf, errno }.into())
    }

    /// Lets all who stand confine themselves.
    fn go(&self, standing: u32, end: bool) -> Result<u32, Trouble> {
        TARGET.store(standing, SeqCst);
        GATE.store(self.number | GO, SeqCst);
        wake(&GATE);
        let tick = Duration::from_millis(20);
        let (mut before, mut since) = (0, Instant::now());
        let free = || {
            let mut states = self.table.of(self.number);
            states.find(|(tid, state)| *state == STANDS && tgkill(*tid, 0) != Err(libc::ESRCH))
        };
        while before < standing && free().is_some() {
            let through = wait_for(&THROUGH, standing, tick);
            if through > before {
                (before, since) = (through, Instant::now());
            } else if since.elapsed() > LAST {
                // Once more: the whole process may have been stopped for as long.
                before = wait_for(&THROUGH, standing, tick);
                break;
            }
        }
        let mut left = self.table.of(self.number).filter(|(_, state)| *state & !ERRNO == LEFT_FREE);
        let left = match left.next() {
            Some((tid, state)) => Some((tid, Some((state & ERRNO) as i32))),
            None if before == standing => None,
            None => free().map(|(tid, _)| (tid, None)),
        };
        match left {
            None => Ok(standing + 1),
            Some((tid, errno)) if end => end_process(tid, errno),
            Some((tid, errno)) => Err(Failure::Partial { tid, errno }.into()),
        }
    }
}

/// Waits until a word counts so many, for a while; how many it counts then.
fn wait_for(word: &AtomicU32, count: u32, limit: Duration) -> u32 {
    TARGET.store(count, SeqCst);
    let (start, mut yields) = (Instant::now(), 0);
    loop {
        let now = word.load(SeqCst);
        let left = limit.saturating_sub(start.elapsed());
        if now & COUNT >= count || left.is_zero() {
            return now & COUNT;
        }
        wait_near(word, now, Some(left), &mut yields);
    }
}

/// A message, and SIGABRT.
fn end_process(tid: i32, errno: Option<Errno>) -> ! {
    let mut text = [0_u8; 200];
    let mut rest = &mut text[..];
    let _ = write!(rest, "thread {tid} could not be confined (error {}) and others were", errno.unwrap_or(0));
    let _ = writeln!(rest, ": this process is ended, as its policy asks for");
    let length = 200 - rest.len();
    // SAFETY: the message is live and as long as is said; the structure is valid when zeroed, and says SIG_DFL.
    unsafe {
        libc::write(2, text.as_ptr().cast(), length);
        let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        libc::sigaction(libc::SIGABRT, &default, ptr::null_mut());
        libc::abort()
    }
}

/// The threads' numbers in what getdents64 has filled: records of `d_ino` (8 bytes), `d_off` (8), `d_reclen` (2),
/// `d_type` (1), and `d_name`, which ends in a NUL byte.
fn tids(listing: &[u64], bytes: usize) -> impl Iterator<Item = i32> {
    // SAFETY: integers are plain bytes, and this is as many as the slice has.
    let listing = unsafe { std::slice::from_raw_parts(listing.as_ptr().cast::<u8>(), size_of_val(listing)) };
    let mut rest = listing.get(..bytes).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes([*rest.get(16)?, *rest.get(17)?]).into();
        let name = rest.get(19..length)?;
        rest = rest.get(length..)?;
        Some(name)
    })
    .filter_map(|name| {
        let end = name.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&name[..end]).ok()?.parse().ok()
    })
}

/// Whether a thread that does not stop need not: it has ended (a main thread that did stays in the list), or is a worker
/// of the kernel's for io_uring, which runs nothing of the program's, and each request as who made it.
fn needs_nothing(tasks: BorrowedFd<'_>, tid: i32) -> bool {
    const PF_IO_WORKER: u32 = 0x10;
    let (mut stat, mut exe, mut text) = ([0_u8; 32], [0_u8; 32], [0_u8; 512]);
    let (Some(stat), Some(exe)) = (name(&mut stat, tid, "stat"), name(&mut exe, tid, "exe")) else {
        return false;
    };
    let length = match read_at(tasks, stat, &mut text) {
        Ok(length) => length,
        // An earlier policy refuses to open it.
        Err(libc::EACCES) => return is_broken(tasks, exe),
        Err(_) => return false,
    };
    // `tid (name) state ppid pgrp session tty tpgid flags …`; the name may have anything in it.
    let Some(end) = text[..length].iter().rposition(|byte| *byte == b')') else { return false };
    let mut fields = text[end + 1..length].split(|byte| *byte == b' ').skip(1);
    let ended = matches!(fields.next(), Some(b"Z" | b"X"));
    let flags = fields.nth(5).and_then(|flags| std::str::from_utf8(flags).ok()?.parse::<u32>().ok());
    ended || flags.is_some_and(|flags| flags & PF_IO_WORKER != 0)
}

/// The name of a file of a thread's, in a buffer.
fn name<'a>(buffer: &'a mut [u8], tid: i32, file: &str) -> Option<&'a CStr> {
    write!(&mut *buffer, "{tid}/{file}\0").ok()?;
    CStr::from_bytes_until_nul(buffer).ok()
}
