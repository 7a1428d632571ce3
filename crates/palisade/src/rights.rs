//! Sets of rights, and ABI versions.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};
use std::str::FromStr;

use crate::error::{Error, quoted};
use crate::text::nearest;
use crate::uapi::{NET_SHIFT, RIGHTS, SCOPE_SHIFT, VERSIONS};

/// A version of the kernel's Landlock interface.
///
/// Rights are added by version and never taken away, so a newer version can enforce all that an older one can.
///
/// ```
/// use palisade::Abi;
/// assert_eq!(Abi::V4.linux(), Some("6.7"));
/// assert!(Abi::V4 < Abi::LATEST);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Abi(u32);

impl Abi {
    /// Linux 5.13: files and directories.
    pub const V1: Abi = Abi(1);
    /// Linux 5.19: adds refer.
    pub const V2: Abi = Abi(2);
    /// Linux 6.2: adds truncate.
    pub const V3: Abi = Abi(3);
    /// Linux 6.7: adds bind_tcp and connect_tcp.
    pub const V4: Abi = Abi(4);
    /// Linux 6.10: adds ioctl_dev.
    pub const V5: Abi = Abi(5);
    /// Linux 6.12: adds the scopes abstract_unix_socket and signal.
    pub const V6: Abi = Abi(6);
    /// Linux 6.15: adds audit records and their flags ([`Log`](crate::Log)).
    pub const V7: Abi = Abi(7);
    /// Linux 7.0: confines all threads in one call.
    pub const V8: Abi = Abi(8);
    /// Linux 7.1: adds resolve_unix.
    pub const V9: Abi = Abi(9);
    /// Linux 7.2: adds bind_udp, connect_send_udp and quiet rules.
    pub const V10: Abi = Abi(10);
    /// Linux 7.3: sets no_new_privs in the same call.
    pub const V11: Abi = Abi(11);
    /// The newest version this library knows.
    pub const LATEST: Abi = Abi(VERSIONS.len() as u32);

    /// Version `n`; `None` for 0, which is no version. A number above [`Abi::LATEST`] is a kernel newer than this
    /// library, of which what [`Abi::LATEST`] has is used.
    pub const fn new(n: u32) -> Option<Abi> {
        if n == 0 { None } else { Some(Abi(n)) }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The Linux release that brought this version; `None` above [`Abi::LATEST`].
    pub fn linux(self) -> Option<&'static str> {
        VERSIONS.get(self.0 as usize - 1).map(|v| v.linux)
    }

    /// Every right and scope that this version can restrict, of those this library knows.
    pub fn rights(self) -> Rights {
        Rights::exact(RIGHTS.iter().filter(|r| r.abi <= self.0).fold(0, |set, r| set | r.bit))
    }

    /// The size of `landlock_ruleset_attr` in bytes to pass to such a kernel.
    pub(crate) fn attr_size(self) -> usize {
        VERSIONS[(self.0 as usize).min(VERSIONS.len()) - 1].attr_size
    }
}

impl fmt::Display for Abi {
    /// As `ABI 4 (Linux 6.7)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.linux() {
            Some(linux) => write!(f, "ABI {} (Linux {linux})", self.0),
            None => write!(
                f,
                "ABI {} (newer than this palisade, which uses what ABI {} has)",
                self.0,
                Abi::LATEST.0
            ),
        }
    }
}

impl FromStr for Abi {
    type Err = Error;

    fn from_str(s: &str) -> Result<Abi, Error> {
        s.parse().ok().and_then(Abi::new).ok_or_else(|| {
            Error::invalid(
                format!("{} is no ABI version", quoted(s)),
                format!("a number from 1 to {}", Abi::LATEST.0),
            )
        })
    }
}

/// A set of rights: what a rule allows on a path, or what a policy, a plan or a report is about.
///
/// The constants in capitals that the kernel's documentation has too are single rights, and *exact*: a rule that
/// puts one on a file which a file cannot have (as [`Rights::READ_DIR`]) is an error. The groups [`Rights::RO`] to
/// [`Rights::RWX`] and the letters [`Rights::R`] to [`Rights::C`] leave out on a file what it cannot have.
///
/// As text: letters (`r`, `w`, `x`, `c`, in any mix) and the kernel's names, with commas.
///
/// ```
/// use palisade::Rights;
/// let tty: Rights = "rw,ioctl_dev".parse()?;
/// assert!(tty.contains(Rights::READ_FILE | Rights::IOCTL_DEV));
/// assert_eq!(tty.to_string(), "rw,ioctl_dev");
/// # Ok::<(), palisade::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights {
    exact: u64,
    /// Left out on a file where a file cannot have it.
    group: u64,
}

macro_rules! single {
    ($($(#[$doc:meta])* $name:ident = $shift:expr;)*) => {
        $($(#[$doc])* pub const $name: Rights = Rights::exact(1 << ($shift));)*
    };
}

impl Rights {
    single! {
        /// Execute a file with execve(2). Not a boundary against code: what can be read can be run through an
        /// interpreter.
        EXECUTE = 0;
        /// Open a file for writing.
        WRITE_FILE = 1;
        /// Open a file for reading.
        READ_FILE = 2;
        /// Open or list a directory.
        READ_DIR = 3;
        /// Remove or rename an empty directory out of the one the rule is on.
        REMOVE_DIR = 4;
        /// Remove or rename a file.
        REMOVE_FILE = 5;
        /// Make a character device.
        MAKE_CHAR = 6;
        /// Make a directory.
        MAKE_DIR = 7;
        /// Make a regular file, by any means.
        MAKE_REG = 8;
        /// Make a UNIX socket (bind(2)).
        MAKE_SOCK = 9;
        /// Make a FIFO.
        MAKE_FIFO = 10;
        /// Make a block device.
        MAKE_BLOCK = 11;
        /// Make a symbolic link.
        MAKE_SYM = 12;
        /// Rename or link across directories. ABI 2 (Linux 5.19); refused wherever it is not allowed, always on ABI 1.
        REFER = 13;
        /// Truncate a file. ABI 3 (Linux 6.2).
        TRUNCATE = 14;
        /// Use ioctl(2) on a device that is opened later. ABI 5 (Linux 6.10).
        IOCTL_DEV = 15;
        /// Connect or send to a UNIX socket by its path. ABI 9 (Linux 7.1).
        RESOLVE_UNIX = 16;
        /// Bind a TCP socket to a port. ABI 4 (Linux 6.7).
        BIND_TCP = NET_SHIFT;
        /// Connect a TCP socket to a port. ABI 4 (Linux 6.7).
        CONNECT_TCP = NET_SHIFT + 1;
        /// Bind a UDP socket to a port, also by a first send or connect (port 0). ABI 10 (Linux 7.2).
        BIND_UDP = NET_SHIFT + 2;
        /// Connect a UDP socket to a port or send to one. ABI 10 (Linux 7.2).
        CONNECT_SEND_UDP = NET_SHIFT + 3;
        /// Connect or send to an abstract UNIX socket that was made outside. A scope: it has no exceptions. ABI 6
        /// (Linux 6.12).
        ABSTRACT_UNIX_SOCKET = SCOPE_SHIFT;
        /// Signal a process outside. A scope: it has no exceptions. ABI 6 (Linux 6.12).
        SIGNAL = SCOPE_SHIFT + 1;
    }

    /// The letter `r`: read_file, read_dir.
    pub const R: Rights = Rights::RO;
    /// The letter `w`: write_file, truncate.
    pub const W: Rights = Rights::group(Rights::WRITE_FILE.exact | Rights::TRUNCATE.exact);
    /// The letter `x`: execute.
    pub const X: Rights = Rights::group(Rights::EXECUTE.exact);
    /// The letter `c`: make_reg, make_dir, make_sym, make_sock, make_fifo, remove_file, remove_dir, refer.
    pub const C: Rights = Rights::group(
        Rights::MAKE_REG.exact
            | Rights::MAKE_DIR.exact
            | Rights::MAKE_SYM.exact
            | Rights::MAKE_SOCK.exact
            | Rights::MAKE_FIFO.exact
            | Rights::REMOVE_FILE.exact
            | Rights::REMOVE_DIR.exact
            | Rights::REFER.exact,
    );

    /// The group of [`ro`](crate::ro): read.
    pub const RO: Rights = Rights::group(Rights::READ_FILE.exact | Rights::READ_DIR.exact);
    /// The group of [`rx`](crate::rx): read and execute.
    pub const RX: Rights = Rights::group(Rights::RO.group | Rights::X.group);
    /// The group of [`rw`](crate::rw): read, write, create, remove and rename; no devices.
    pub const RW: Rights = Rights::group(Rights::RO.group | Rights::W.group | Rights::C.group);
    /// The group of [`rwx`](crate::rwx): all of [`Rights::RW`], and execute.
    pub const RWX: Rights = Rights::group(Rights::RW.group | Rights::X.group);

    /// The category `fs`: files and directories, execute to truncate.
    pub const FS: Rights = Rights::exact((1 << 15) - 1);
    /// The category `devices`: ioctl_dev.
    pub const DEVICES: Rights = Rights::IOCTL_DEV;
    /// The category `unix`: resolve_unix.
    pub const UNIX: Rights = Rights::RESOLVE_UNIX;
    /// The category `tcp`: bind_tcp, connect_tcp.
    pub const TCP: Rights = Rights::exact(Rights::BIND_TCP.exact | Rights::CONNECT_TCP.exact);
    /// The category `udp`: bind_udp, connect_send_udp.
    pub const UDP: Rights = Rights::exact(Rights::BIND_UDP.exact | Rights::CONNECT_SEND_UDP.exact);
    /// The category `net`: tcp and udp.
    pub const NET: Rights = Rights::exact(Rights::TCP.exact | Rights::UDP.exact);
    /// The category `abstract`: abstract_unix_socket.
    pub const ABSTRACT: Rights = Rights::ABSTRACT_UNIX_SOCKET;

    /// The categories by name, in the order in which they are shown; `net`, which is tcp and udp, is left out.
    pub const CATEGORIES: [(&'static str, Rights); 7] = [
        ("fs", Rights::FS),
        ("devices", Rights::DEVICES),
        ("unix", Rights::UNIX),
        ("tcp", Rights::TCP),
        ("udp", Rights::UDP),
        ("abstract", Rights::ABSTRACT),
        ("signal", Rights::SIGNAL),
    ];

    const LETTERS: [(char, Rights); 4] =
        [('r', Rights::R), ('w', Rights::W), ('x', Rights::X), ('c', Rights::C)];

    pub(crate) const fn exact(bits: u64) -> Rights {
        Rights { exact: bits, group: 0 }
    }

    const fn group(bits: u64) -> Rights {
        Rights { exact: 0, group: bits }
    }

    /// Both sets together, where `|` cannot be used: in constants.
    pub(crate) const fn with(self, other: Rights) -> Rights {
        Rights { exact: self.exact | other.exact, group: self.group | other.group }
    }

    /// No right.
    pub const fn empty() -> Rights {
        Rights::exact(0)
    }

    /// Every right and scope this library knows.
    pub fn all() -> Rights {
        Abi::LATEST.rights()
    }

    /// The category (as `fs`, `tcp`, `net`) or the single right (as `truncate`) of this name.
    ///
    /// ```
    /// use palisade::Rights;
    /// assert_eq!(Rights::named("tcp")?, Rights::BIND_TCP | Rights::CONNECT_TCP);
    /// # Ok::<(), palisade::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Rights, Error> {
        let known = || {
            let rights = RIGHTS.iter().map(|r| (r.name, Rights::exact(r.bit)));
            Rights::CATEGORIES.into_iter().chain([("net", Rights::NET)]).chain(rights)
        };
        known().find(|(n, _)| *n == name).map(|(_, rights)| rights).ok_or_else(|| {
            let hint = nearest(name, known().map(|(n, _)| n)).unwrap_or_else(|| {
                "categories are fs, devices, unix, tcp, udp, net, abstract and signal".to_owned()
            });
            Error::invalid(format!("{} is no category and no right", quoted(name)), hint)
        })
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.bits() == 0
    }

    /// Whether every right of `other` is in this set.
    ///
    /// ```
    /// use palisade::Rights;
    /// assert!(Rights::RW.contains(Rights::REFER) && !Rights::RWX.intersects(Rights::DEVICES));
    /// ```
    pub const fn contains(self, other: Rights) -> bool {
        self.bits() & other.bits() == other.bits()
    }

    /// Whether any right of `other` is in this set.
    pub const fn intersects(self, other: Rights) -> bool {
        self.bits() & other.bits() != 0
    }

    /// The rights one by one, in the kernel's order: file system, network, scopes.
    pub fn iter(self) -> impl Iterator<Item = Rights> {
        RIGHTS.iter().map(|r| Rights::exact(r.bit)).filter(move |r| self.contains(*r))
    }

    /// The kernel's names of the rights.
    ///
    /// ```
    /// use palisade::Rights;
    /// assert_eq!(Rights::RX.names().collect::<Vec<_>>(), ["execute", "read_file", "read_dir"]);
    /// ```
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        RIGHTS.iter().filter(move |r| self.bits() & r.bit != 0).map(|r| r.name)
    }

    /// Whole categories by their names, and what else there is by the kernel's: as [`Rights::named`] takes them.
    ///
    /// ```
    /// use palisade::Rights;
    /// assert_eq!((Rights::TCP | Rights::TRUNCATE).short_names(), ["truncate", "tcp"]);
    /// ```
    pub fn short_names(self) -> Vec<&'static str> {
        let name = |(name, category): (&'static str, Rights)| match self.contains(category) {
            true => vec![name],
            false => (category & self).names().collect(),
        };
        Rights::CATEGORIES.into_iter().flat_map(name).collect()
    }

    /// In words for people: what the letters stand for, where all that a letter stands for is there; else by name.
    ///
    /// ```
    /// use palisade::Rights;
    /// assert_eq!((Rights::RX | Rights::IOCTL_DEV).in_words(), "read, execute, ioctl_dev");
    /// assert_eq!(Rights::READ_FILE.in_words(), "read_file");
    /// ```
    pub fn in_words(self) -> String {
        self.in_words_of(Rights::all())
    }

    /// The same, where a letter stands for what of it is handled.
    pub(crate) fn in_words_of(self, handled: Rights) -> String {
        let words = [
            (Rights::R, "read"),
            (Rights::W, "write"),
            (Rights::X, "execute"),
            (Rights::C, "create, remove and rename"),
        ];
        let mut left = self;
        let mut found = Vec::new();
        for (letter, word) in words {
            let letter = letter & handled;
            // Where refer alone is handled, nothing is created by it.
            if letter - Rights::REFER != Rights::empty() && self.contains(letter) {
                found.push(word);
                left = left - letter;
            }
        }
        found.extend(left.names());
        found.join(", ")
    }

    /// The ABI from which all of these can be restricted; `None` for the empty set.
    ///
    /// ```
    /// use palisade::{Abi, Rights};
    /// assert_eq!((Rights::TCP | Rights::TRUNCATE).abi(), Some(Abi::V4));
    /// ```
    pub fn abi(self) -> Option<Abi> {
        RIGHTS.iter().filter(|r| self.bits() & r.bit != 0).map(|r| r.abi).max().and_then(Abi::new)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.exact | self.group
    }

    /// What a rule on something that is no directory can carry.
    pub(crate) fn on_file() -> Rights {
        Rights::exact(RIGHTS.iter().filter(|r| r.on_file).fold(0, |set, r| set | r.bit))
    }

    /// The rights of a path: all that are neither of a port nor a scope.
    pub(crate) fn of_paths() -> Rights {
        Rights::exact(RIGHTS.iter().fold(0, |set, r| set | r.bit) & ((1 << NET_SHIFT) - 1))
    }

    /// Only those that were asked for by name, not by a group or a letter.
    pub(crate) const fn only_exact(self) -> Rights {
        Rights::exact(self.exact)
    }

    pub(crate) const fn fs_bits(self) -> u64 {
        self.bits() & ((1 << NET_SHIFT) - 1)
    }

    pub(crate) const fn net_bits(self) -> u64 {
        (self.bits() >> NET_SHIFT) & ((1 << (SCOPE_SHIFT - NET_SHIFT)) - 1)
    }

    pub(crate) const fn scope_bits(self) -> u64 {
        self.bits() >> SCOPE_SHIFT
    }
}

impl BitOr for Rights {
    type Output = Rights;

    fn bitor(self, other: Rights) -> Rights {
        self.with(other)
    }
}

impl BitOrAssign for Rights {
    fn bitor_assign(&mut self, other: Rights) {
        *self = *self | other;
    }
}

impl BitAnd for Rights {
    type Output = Rights;

    /// What of the left side is in the right side too.
    fn bitand(self, other: Rights) -> Rights {
        Rights { exact: self.exact & other.bits(), group: self.group & other.bits() }
    }
}

impl Sub for Rights {
    type Output = Rights;

    fn sub(self, other: Rights) -> Rights {
        Rights { exact: self.exact & !other.bits(), group: self.group & !other.bits() }
    }
}

impl FromIterator<Rights> for Rights {
    fn from_iter<I: IntoIterator<Item = Rights>>(sets: I) -> Rights {
        sets.into_iter().fold(Rights::empty(), |all, set| all | set)
    }
}

impl IntoIterator for Rights {
    type Item = Rights;
    type IntoIter = std::vec::IntoIter<Rights>;

    /// As [`Rights::iter`].
    fn into_iter(self) -> Self::IntoIter {
        self.iter().collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Display for Rights {
    /// In the form that is parsed: letters for what came by groups or letters, then names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items: Vec<String> = Vec::new();
        let (mut letters, mut left) = (String::new(), self.bits());
        for (letter, rights) in Rights::LETTERS {
            if self.group & rights.group == rights.group {
                letters.push(letter);
                left &= !rights.group | self.exact;
            }
        }
        if !letters.is_empty() {
            items.push(letters);
        }
        items.extend(Rights::exact(left).names().map(str::to_owned));
        f.write_str(&items.join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

impl FromStr for Rights {
    type Err = Error;

    fn from_str(s: &str) -> Result<Rights, Error> {
        s.split(',').map(one).collect()
    }
}

/// A run of letters, or one name.
fn one(word: &str) -> Result<Rights, Error> {
    let letter = |c| Rights::LETTERS.iter().find(|(l, _)| *l == c).map(|(_, rights)| *rights);
    if let (false, Some(rights)) = (word.is_empty(), word.chars().map(letter).collect()) {
        return Ok(rights);
    }
    if let Some(right) = RIGHTS.iter().find(|r| r.name == word) {
        return Ok(Rights::exact(right.bit));
    }
    const MEANT: [(&str, &str); 8] = [
        ("read", "r"),
        ("write", "w"),
        ("exec", "x"),
        ("run", "x"),
        ("create", "c"),
        ("delete", "c"),
        ("all", "rwxc"),
        ("*", "rwxc"),
    ];
    let meant = MEANT.iter().find(|(meant, _)| *meant == word.trim().to_ascii_lowercase());
    if let Some((_, letters)) = meant {
        return Err(Error::invalid(
            format!("{} is no right", quoted(word)),
            format!("did you mean {letters}?"),
        ));
    }
    let hint = nearest(word, RIGHTS.iter().map(|r| r.name)).unwrap_or_else(|| {
        "rights are letters (r read, w write, x execute, c create and remove) or the kernel's names, with commas \
         and no blanks"
            .to_owned()
    });
    Err(Error::invalid(format!("{} is no right", quoted(word)), hint))
}

#[cfg(feature = "serde")]
impl serde::Serialize for Rights {
    /// As a list of the kernel's names.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stand_where_the_table_says() {
        for right in &RIGHTS {
            assert_eq!(Rights::named(right.name).unwrap().bits(), right.bit);
        }
        let names: Vec<_> = Rights::all().names().collect();
        assert_eq!(names.len(), 23);
        let constants = [
            ("execute", Rights::EXECUTE),
            ("write_file", Rights::WRITE_FILE),
            ("read_file", Rights::READ_FILE),
            ("read_dir", Rights::READ_DIR),
            ("remove_dir", Rights::REMOVE_DIR),
            ("remove_file", Rights::REMOVE_FILE),
            ("make_char", Rights::MAKE_CHAR),
            ("make_dir", Rights::MAKE_DIR),
            ("make_reg", Rights::MAKE_REG),
            ("make_sock", Rights::MAKE_SOCK),
            ("make_fifo", Rights::MAKE_FIFO),
            ("make_block", Rights::MAKE_BLOCK),
            ("make_sym", Rights::MAKE_SYM),
            ("refer", Rights::REFER),
            ("truncate", Rights::TRUNCATE),
            ("ioctl_dev", Rights::IOCTL_DEV),
            ("resolve_unix", Rights::RESOLVE_UNIX),
            ("bind_tcp", Rights::BIND_TCP),
            ("connect_tcp", Rights::CONNECT_TCP),
            ("bind_udp", Rights::BIND_UDP),
            ("connect_send_udp", Rights::CONNECT_SEND_UDP),
            ("abstract_unix_socket", Rights::ABSTRACT_UNIX_SOCKET),
            ("signal", Rights::SIGNAL),
        ];
        for ((name, right), known) in constants.into_iter().zip(names) {
            assert_eq!((name, Rights::named(name).unwrap()), (known, right));
        }
    }

    #[test]
    fn categories_part_all_rights() {
        let mut seen = Rights::empty();
        for (name, category) in Rights::CATEGORIES {
            assert!(!seen.intersects(category), "{name} overlaps");
            seen |= category;
        }
        assert_eq!(seen, Rights::all());
    }

    #[test]
    fn groups_hold_what_the_documentation_says() {
        let devices = Rights::MAKE_CHAR | Rights::MAKE_BLOCK | Rights::IOCTL_DEV | Rights::RESOLVE_UNIX;
        assert_eq!(Rights::RWX.bits(), (Rights::of_paths() - devices).bits());
        assert_eq!(Rights::RWX - Rights::X, Rights::RW);
        assert_eq!(Rights::RX - Rights::X, Rights::RO);
        assert_eq!(Rights::R | Rights::W | Rights::C, Rights::RW);
    }

    #[test]
    fn each_abi_adds_what_the_kernel_added() {
        let added = |n: u32| {
            let before = Abi::new(n - 1).map_or(Rights::empty(), Abi::rights);
            (Abi::new(n).unwrap().rights() - before).to_string()
        };
        let first = "execute,write_file,read_file,read_dir,remove_dir,remove_file,make_char,make_dir,make_reg,\
                     make_sock,make_fifo,make_block,make_sym";
        assert_eq!(added(1), first);
        assert_eq!(added(2), "refer");
        assert_eq!(added(3), "truncate");
        assert_eq!(added(4), "bind_tcp,connect_tcp");
        assert_eq!(added(5), "ioctl_dev");
        assert_eq!(added(6), "abstract_unix_socket,signal");
        assert_eq!((added(7), added(8)), (String::new(), String::new()));
        assert_eq!(added(9), "resolve_unix");
        assert_eq!(added(10), "bind_udp,connect_send_udp");
        assert_eq!((added(11), added(99)), (String::new(), String::new()));
    }

    #[test]
    fn text_goes_round() {
        for text in ["r", "rwxc", "rw,ioctl_dev", "x,read_dir", "execute,read_file", "wx,make_char,refer"] {
            assert_eq!(text.parse::<Rights>().unwrap().to_string(), text);
        }
        assert_eq!("cr".parse::<Rights>().unwrap(), Rights::R | Rights::C);
        for (text, message) in [
            ("", "\"\" is no right"),
            ("r,", "\"\" is no right"),
            ("rz", "\"rz\" is no right"),
            ("raed_file", "\"raed_file\" is no right; did you mean read_file?"),
            ("fs", "\"fs\" is no right"),
        ] {
            let error = text.parse::<Rights>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_found_or_the_nearest_is_named() {
        assert_eq!(Rights::named("net").unwrap(), Rights::NET);
        assert_eq!(Rights::named("truncate").unwrap(), Rights::TRUNCATE);
        let error = Rights::named("tpc").unwrap_err().to_string();
        assert_eq!(error, "\"tpc\" is no category and no right; did you mean tcp?");
    }
}
