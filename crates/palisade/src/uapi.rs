//! What the kernel's `include/uapi/linux/landlock.h` says, for ABI 1 to 11: the one table of rights, versions,
//! flags and structures. Whatever depends on an ABI version asks here.
//!
//! Rights of all three kinds share one `u64`: file system rights keep their bits (0 and up), network rights are
//! moved up by [`NET_SHIFT`], scopes by [`SCOPE_SHIFT`].

pub(crate) const NET_SHIFT: u32 = 32;
pub(crate) const SCOPE_SHIFT: u32 = 48;

/// One right or scope: its bit in the shared `u64`, the kernel's name, the ABI that brought it, and whether a
/// rule on something that is no directory may carry it.
pub(crate) struct Right {
    pub bit: u64,
    pub name: &'static str,
    pub abi: u32,
    pub on_file: bool,
}

const fn fs(bit: u32, name: &'static str, abi: u32, on_file: bool) -> Right {
    Right { bit: 1 << bit, name, abi, on_file }
}

const fn net(bit: u32, name: &'static str, abi: u32) -> Right {
    Right { bit: 1 << (bit + NET_SHIFT), name, abi, on_file: false }
}

const fn scope(bit: u32, name: &'static str, abi: u32) -> Right {
    Right { bit: 1 << (bit + SCOPE_SHIFT), name, abi, on_file: false }
}

const FILE: bool = true;
const DIR: bool = false;

pub(crate) const RIGHTS: [Right; 23] = [
    fs(0, "execute", 1, FILE),
    fs(1, "write_file", 1, FILE),
    fs(2, "read_file", 1, FILE),
    fs(3, "read_dir", 1, DIR),
    fs(4, "remove_dir", 1, DIR),
    fs(5, "remove_file", 1, DIR),
    fs(6, "make_char", 1, DIR),
    fs(7, "make_dir", 1, DIR),
    fs(8, "make_reg", 1, DIR),
    fs(9, "make_sock", 1, DIR),
    fs(10, "make_fifo", 1, DIR),
    fs(11, "make_block", 1, DIR),
    fs(12, "make_sym", 1, DIR),
    fs(13, "refer", 2, DIR),
    fs(14, "truncate", 3, FILE),
    fs(15, "ioctl_dev", 5, FILE),
    fs(16, "resolve_unix", 9, FILE),
    net(0, "bind_tcp", 4),
    net(1, "connect_tcp", 4),
    net(2, "bind_udp", 10),
    net(3, "connect_send_udp", 10),
    scope(0, "abstract_unix_socket", 6),
    scope(1, "signal", 6),
];

/// One ABI version: the Linux release that brought it and the size of `landlock_ruleset_attr` it knows.
pub(crate) struct Version {
    pub linux: &'static str,
    pub attr_size: usize,
}

const fn version(linux: &'static str, attr_size: usize) -> Version {
    Version { linux, attr_size }
}

/// ABI 1 is the first entry.
pub(crate) const VERSIONS: [Version; 11] = [
    version("5.13", 8),
    version("5.19", 8),
    version("6.2", 8),
    version("6.7", 16),
    version("6.10", 16),
    version("6.12", 24),
    version("6.15", 24),
    version("7.0", 24),
    version("7.1", 24),
    version("7.2", 48),
    version("7.3", 48),
];

/// The ABI from which a rule can allow refer; before, it is refused wherever files are restricted.
pub(crate) const REFER_ABI: u32 = 2;
/// The erratum about making a whiteout of an overlay.
pub(crate) const WHITEOUT_ERRATUM: u32 = 4;
/// The ABI that brought the flags LOG_* of `landlock_restrict_self`.
pub(crate) const LOG_ABI: u32 = 7;
/// The ABI that brought the flag TSYNC of `landlock_restrict_self`.
pub(crate) const TSYNC_ABI: u32 = 8;
/// The ABI that brought the flag QUIET of `landlock_add_rule` and the `quiet_*` fields.
pub(crate) const QUIET_ABI: u32 = 10;
/// The ABI that brought the flag NO_NEW_PRIVS of `landlock_restrict_self`.
pub(crate) const NO_NEW_PRIVS_ABI: u32 = 11;
/// Layers that can be stacked on one thread; the next one is E2BIG.
pub(crate) const MAX_LAYERS: u32 = 16;

/// One erratum: the ABI it concerns, what stays wrong where it is not fixed, and the same as a plan's note. Bit N-1
/// is erratum N.
pub(crate) struct Erratum {
    pub abi: u32,
    pub unfixed: &'static str,
    pub note: &'static str,
}

macro_rules! erratum {
    ($number:literal, $abi:literal, $unfixed:literal) => {
        Erratum {
            abi: $abi,
            unfixed: $unfixed,
            note: concat!("kernel erratum ", $number, " is not fixed: ", $unfixed),
        }
    };
}

pub(crate) const ERRATA: [Erratum; 4] = [
    erratum!(1, 4, "MPTCP, SMC and SCTP sockets are restricted by the TCP rights too"),
    erratum!(2, 6, "threads of one process that are confined apart cannot signal each other"),
    erratum!(3, 1, "a directory moved out of its bind mount while open may keep too many rights"),
    erratum!(4, 1, "making a whiteout of an overlay (a device 0:0) needs make_char, and not make_reg"),
];

/// System calls and flags: all of it is Linux's alone.
#[cfg(target_os = "linux")]
mod calls {
    pub(crate) const SYS_CREATE_RULESET: libc::c_long = 444;
    pub(crate) const SYS_ADD_RULE: libc::c_long = 445;
    pub(crate) const SYS_RESTRICT_SELF: libc::c_long = 446;

    pub(crate) const CREATE_RULESET_VERSION: u32 = 1 << 0;
    pub(crate) const CREATE_RULESET_ERRATA: u32 = 1 << 1;
    pub(crate) const RULE_PATH_BENEATH: libc::c_int = 1;
    pub(crate) const RULE_NET_PORT: libc::c_int = 2;
    pub(crate) const ADD_RULE_QUIET: u32 = 1 << 0;
    pub(crate) const RESTRICT_SELF_TSYNC: u32 = 1 << 3;
    pub(crate) const RESTRICT_SELF_NO_NEW_PRIVS: u32 = 1 << 4;
}
#[cfg(target_os = "linux")]
pub(crate) use calls::*;

bitflags::bitflags! {
    /// What the kernel's audit log gets of this layer's refusals: flags of `landlock_restrict_self`. Needs ABI 7
    /// (Linux 6.15); on an older kernel, which logs nothing, they are left out and the report says so.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Log: u32 {
        /// Refusals of the program that confines itself are not logged; by default they are, until it executes another.
        const SAME_EXEC_OFF = 1 << 0;
        /// Refusals after an execve are logged too; by default they are not.
        const NEW_EXEC_ON = 1 << 1;
        /// Refusals of layers that are stacked later, inside this one, are not logged.
        const SUBDOMAINS_OFF = 1 << 2;
    }
}

/// `struct landlock_ruleset_attr`; a kernel of an older ABI is given its beginning.
#[repr(C)]
#[derive(Default)]
pub(crate) struct RulesetAttr {
    pub handled_access_fs: u64,
    pub handled_access_net: u64,
    pub scoped: u64,
    pub quiet_access_fs: u64,
    pub quiet_access_net: u64,
    pub quiet_scoped: u64,
}

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
pub(crate) struct PathBeneathAttr {
    pub allowed_access: u64,
    pub parent_fd: i32,
}

/// `struct landlock_net_port_attr`; the port is in host order.
#[repr(C)]
pub(crate) struct NetPortAttr {
    pub allowed_access: u64,
    pub port: u64,
}

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<RulesetAttr>() == 48);
    assert!(offset_of!(RulesetAttr, handled_access_fs) == 0);
    assert!(offset_of!(RulesetAttr, handled_access_net) == 8);
    assert!(offset_of!(RulesetAttr, scoped) == 16);
    assert!(offset_of!(RulesetAttr, quiet_access_fs) == 24);
    assert!(offset_of!(RulesetAttr, quiet_access_net) == 32);
    assert!(offset_of!(RulesetAttr, quiet_scoped) == 40);
    assert!(size_of::<PathBeneathAttr>() == 12);
    assert!(offset_of!(PathBeneathAttr, parent_fd) == 8);
    assert!(size_of::<NetPortAttr>() == 16);
    assert!(offset_of!(NetPortAttr, port) == 8);
    assert!(VERSIONS[VERSIONS.len() - 1].attr_size == size_of::<RulesetAttr>());
};
