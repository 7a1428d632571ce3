//! Presets: what kinds of programs need, by name. They are looked up when a policy is enforced, and what does not
//! exist on a system is left out.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::decision::Grant;
use crate::error::{Error, quoted};
use crate::rights::Rights;
use crate::rule::{Ports, Rule, Target};
use crate::text::nearest;

/// A named list of rules.
///
/// ```
/// use palisade::{Policy, Preset};
/// let policy = Policy::new().preset(Preset::Dns).preset(Preset::Certs).connect_tcp(443);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// Shared libraries, and what the dynamic loader reads.
    Shared,
    /// Descriptors 0, 1 and 2 under their names, each with its own mode and no more; the harmless devices, and what
    /// C libraries read: time zones, locales, the log's socket.
    Stdio,
    /// The terminal that was inherited, its ioctls too, and the descriptions of terminals.
    Tty,
    /// Making pseudo terminals, and all that the user has.
    Pty,
    /// /tmp: read, write, create and remove.
    Tmp,
    /// What the machine is and does: processors, memory, disks.
    VmInfo,
    /// Looking up names: the resolver's files, its daemons' sockets, and port 53 by TCP and UDP. Not the modules that
    /// the C library loads when a name is first looked up: look one up before, or add [`Preset::Shared`].
    Dns,
    /// The certificates of authorities, wherever the links of their stores lead. Not what SSL_CERT_FILE and
    /// SSL_CERT_DIR name.
    Certs,
    /// The installed system, to read and execute, without the secrets of /etc.
    System,
}

type Entry = (Rights, &'static [&'static str]);

const R: Rights = Rights::R;
const RX: Rights = Rights::RX;
const DEVICE: Rights = Rights::READ_FILE.with(Rights::WRITE_FILE);
const TERMINAL: Rights = DEVICE.with(Rights::IOCTL_DEV);
const SOCKET: Rights = Rights::RESOLVE_UNIX;

const SHARED: &[Entry] = &[
    (DEVICE, &["/dev/null"]),
    (RX, &["/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32"]),
    (RX, &["/usr/libexec", "/usr/local/lib", "/usr/local/lib64", "/usr/local/libexec"]),
    (R, &["/etc/ld.so.conf", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf.d"]),
    (R, &["/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path"]),
];

const STDIO: &[Entry] = &[
    (DEVICE, &["/dev/null", "/dev/full"]),
    (R, &["/dev/zero", "/dev/random", "/dev/urandom", "/proc/self/fd", "/proc/self/cmdline"]),
    // What is linked with libselinux reads it first of all, as ls and cp are.
    (R, &["/proc/filesystems"]),
    (R, &["/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/usr/lib/locale", "/usr/share/locale"]),
    (R, &["/usr/share/zoneinfo", "/usr/share/common-licenses", "/usr/share/i18n"]),
    (R, &["/proc/sys/kernel/ngroups_max", "/proc/sys/kernel/cap_last_cap", "/proc/sys/vm/overcommit_memory"]),
    (SOCKET, &["/dev/log", "/run/systemd/journal/dev-log"]),
];

const TTY: &[Entry] = &[
    (TERMINAL, &["/dev/tty"]),
    (R, &["/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo"]),
];

const PTY: &[Entry] = &[(TERMINAL, &["/dev/ptmx"]), (TERMINAL.with(Rights::READ_DIR), &["/dev/pts"])];

const TMP: &[Entry] = &[(Rights::RW, &["/tmp"])];

const VMINFO: &[Entry] = &[
    (
        R,
        &["/proc/stat", "/proc/meminfo", "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/uptime"],
    ),
    (R, &["/proc/version", "/proc/self/maps", "/proc/sys/kernel/version", "/proc/sys/kernel/osrelease"]),
    (R, &["/sys/devices/system/cpu", "/sys/devices/system/node"]),
];

const DNS: &[Entry] = &[
    (R, &["/etc/hosts", "/etc/hostname", "/etc/host.conf", "/etc/services", "/etc/protocols"]),
    (R, &["/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf"]),
    (R, &["/run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/resolv.conf"]),
    (SOCKET, &["/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket", "/var/run/nscd/socket"]),
];

const CERTS: &[Entry] = &[
    (
        R,
        &[
            "/etc/ssl/certs",
            "/etc/pki/tls/certs",
            "/etc/pki/ca-trust/extracted",
            "/etc/ca-certificates/extracted",
        ],
    ),
    (R, &["/system/etc/security/cacerts"]),
    (R, &["/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem", "/etc/pki/tls/cert.pem", "/etc/ssl/cert.pem"]),
    (R, &["/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/usr/lib/ssl/openssl.cnf"]),
    (R, CERT_SOURCES),
];

/// Where distributions keep the files that the stores link to.
pub(crate) const CERT_SOURCES: &[&str] = &[
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki/ca-trust-source",
    "/usr/share/ca-certificates/trust-source",
];

/// Stores whose links are followed one by one, because they may lead anywhere (NixOS, an administrator's own).
const CERT_STORES: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];

const SYSTEM: &[Entry] = &[
    (RX, &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]),
    (RX, &["/nix/store", "/gnu/store", "/run/current-system/sw"]),
    (DEVICE, &["/dev/null", "/dev/full"]),
    (R, &["/dev/zero", "/dev/random", "/dev/urandom", "/proc/filesystems"]),
    (R, &["/etc/ld.so.conf", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf.d"]),
    (R, &["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hostname", "/etc/hosts", "/etc/services"]),
    (
        R,
        &[
            "/etc/protocols",
            "/etc/os-release",
            "/etc/lsb-release",
            "/etc/debian_version",
            "/etc/machine-info",
        ],
    ),
    (R, &["/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/etc/locale.conf", "/etc/default/locale"]),
    (RX, &["/etc/alternatives"]),
    (
        R,
        &["/etc/profile", "/etc/profile.d", "/etc/bash.bashrc", "/etc/bashrc", "/etc/inputrc", "/etc/shells"],
    ),
    (
        R,
        &[
            "/etc/gitconfig",
            "/etc/manpath.config",
            "/etc/mime.types",
            "/etc/magic",
            "/etc/terminfo",
            "/etc/fonts",
            "/etc/ImageMagick-6",
            "/etc/ImageMagick-7",
            "/etc/perl",
        ],
    ),
    (
        R,
        &[
            "/etc/python3",
            "/etc/python3.9",
            "/etc/python3.11",
            "/etc/python3.12",
            "/etc/python3.13",
            "/etc/python3.14",
        ],
    ),
    (R, &["/etc/ssl/openssl.cnf", "/etc/ssl/certs", "/etc/pki/tls/openssl.cnf", "/etc/pki/tls/certs"]),
];

impl Preset {
    /// All of them, in the order of the documentation.
    pub const ALL: [Preset; 9] = [
        Preset::Shared,
        Preset::Stdio,
        Preset::Tty,
        Preset::Pty,
        Preset::Tmp,
        Preset::VmInfo,
        Preset::Dns,
        Preset::Certs,
        Preset::System,
    ];

    /// Its name, as it is parsed.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Shared => "shared",
            Preset::Stdio => "stdio",
            Preset::Tty => "tty",
            Preset::Pty => "pty",
            Preset::Tmp => "tmp",
            Preset::VmInfo => "vminfo",
            Preset::Dns => "dns",
            Preset::Certs => "certs",
            Preset::System => "system",
        }
    }

    /// What it is for, in a few words.
    ///
    /// ```
    /// assert_eq!(palisade::Preset::Tmp.about(), "/tmp: read, write, create and remove");
    /// ```
    pub fn about(self) -> &'static str {
        match self {
            Preset::Shared => "Shared libraries, and what the dynamic loader reads",
            Preset::Stdio => {
                "Standard input, output and error by name, harmless devices, time zones and locales"
            }
            Preset::Tty => {
                "The terminal that was inherited, its ioctls too, and the descriptions of terminals"
            }
            Preset::Pty => "Making pseudo terminals, and all that the user has",
            Preset::Tmp => "/tmp: read, write, create and remove",
            Preset::VmInfo => "What the machine is and does: processors, memory, disks",
            Preset::Dns => "Looking up names: the resolver's files and sockets, and port 53 by TCP and UDP",
            Preset::Certs => "The certificates of authorities, wherever the links of their stores lead",
            Preset::System => "The installed system, to read and execute, without the secrets of /etc",
        }
    }

    /// The paths and ports that it grants, on any system: a path that does not exist is left out when it is enforced.
    /// What is found only then is in [`Preset::besides`].
    ///
    /// ```
    /// use palisade::{Grant, Preset, Rights};
    /// let grants = Preset::Tmp.grants();
    /// assert_eq!(grants, [Grant::Path { rights: Rights::RW, path: "/tmp".into() }]);
    /// ```
    pub fn grants(self) -> Vec<Grant> {
        let paths = self.rules().into_iter().flat_map(|rule| {
            let rights = rule.terms.rights;
            rule.targets.into_iter().filter_map(move |target| match target {
                Target::Path(path) => Some(Grant::Path { rights, path: path.to_path_buf() }),
                _ => None,
            })
        });
        let ports = self.ports().iter().map(|&(right, ports)| Grant::Port { right, ports });
        paths.chain(ports).collect()
    }

    /// What else it grants, in words: what the process has open, and where links lead.
    ///
    /// ```
    /// assert!(palisade::Preset::Tty.besides().is_some_and(|besides| besides.contains("if it is a terminal")));
    /// ```
    pub fn besides(self) -> Option<&'static str> {
        match self {
            Preset::Stdio => Some("what descriptors 0, 1 and 2 are open on: read or write, as each is open"),
            Preset::Tty => Some(
                "what descriptors 0, 1 and 2 are open on, if it is a terminal: read or write, as each is open, and ioctl_dev",
            ),
            Preset::Certs => {
                Some("each file that a link in /etc/ssl/certs or /etc/pki/tls/certs leads to: read")
            }
            _ => None,
        }
    }

    /// All that it allows somewhere.
    ///
    /// ```
    /// use palisade::{Preset, Rights};
    /// assert!(Preset::Dns.allows().contains(Rights::CONNECT_SEND_UDP));
    /// ```
    pub fn allows(self) -> Rights {
        let rules = self.rules();
        let ports = self.ports().iter().map(|(right, _)| *right);
        rules.iter().map(Rule::allows).chain(ports).collect()
    }

    pub(crate) fn rules(self) -> Vec<Rule> {
        let entries = match self {
            Preset::Shared => SHARED,
            Preset::Stdio => STDIO,
            Preset::Tty => TTY,
            Preset::Pty => PTY,
            Preset::Tmp => TMP,
            Preset::VmInfo => VMINFO,
            Preset::Dns => DNS,
            Preset::Certs => CERTS,
            Preset::System => SYSTEM,
        };
        let listed = entries.iter().map(|(rights, paths)| {
            let targets = paths.iter().map(|p| Target::Path(Path::new(p).into())).collect();
            Rule::of_preset(Some(self), targets, *rights)
        });
        let found = match self {
            Preset::Stdio => (0..=2).map(Target::Stdio).collect(),
            Preset::Tty => (0..=2).map(Target::Terminal).collect(),
            Preset::Certs => CERT_STORES.iter().map(|dir| Target::Links(dir)).collect(),
            _ => Vec::new(),
        };
        let found_rights = match self {
            Preset::Stdio => Rights::R | Rights::W,
            Preset::Tty => TERMINAL,
            _ => Rights::R,
        };
        listed.chain([Rule::of_preset(Some(self), found, found_rights)]).collect()
    }

    pub(crate) fn ports(self) -> &'static [(Rights, Ports)] {
        const DOMAIN: Ports = Ports { first: 53, last: 53 };
        const NONE_YET: Ports = Ports { first: 0, last: 0 };
        match self {
            Preset::Dns => &[
                (Rights::CONNECT_TCP, DOMAIN),
                (Rights::CONNECT_SEND_UDP, DOMAIN),
                (Rights::BIND_UDP, NONE_YET),
            ],
            _ => &[],
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(s: &str) -> Result<Preset, Error> {
        let names = || Preset::ALL.iter().map(|p| p.name());
        Preset::ALL.into_iter().find(|p| p.name() == s).ok_or_else(|| {
            let hint = nearest(s, names())
                .unwrap_or_else(|| format!("presets are {}", names().collect::<Vec<_>>().join(", ")));
            Error::invalid(format!("{} is no preset", quoted(s)), hint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_round() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
        }
        let error = "cert".parse::<Preset>().unwrap_err().to_string();
        assert_eq!(error, "\"cert\" is no preset; did you mean certs?");
    }

    #[test]
    fn what_a_preset_grants_is_all_that_its_rules_do() {
        for preset in Preset::ALL {
            let rules = preset.rules();
            let targets = rules.iter().flat_map(|rule| rule.targets.iter());
            let (paths, found): (Vec<_>, Vec<_>) =
                targets.partition(|target| matches!(target, Target::Path(_)));
            assert_eq!(preset.grants().len(), paths.len() + preset.ports().len(), "{preset}");
            assert_eq!(preset.besides().is_some(), !found.is_empty(), "{preset}");
        }
    }

    #[test]
    fn no_preset_grants_a_secret_or_a_whole_etc() {
        let secrets = [
            "/",
            "/etc",
            "/etc/shadow",
            "/etc/gshadow",
            "/etc/sudoers",
            "/etc/ssl",
            "/etc/ssl/private",
            "/etc/ssh",
            "/etc/pki/tls",
            "/etc/pki/tls/private",
            "/root",
            "/home",
            "/dev",
            "/proc",
            "/proc/self",
            "/sys",
            "/run",
            "/var",
            "/dev/console",
        ];
        for preset in Preset::ALL {
            for rule in preset.rules() {
                for target in rule.targets {
                    let Target::Path(path) = target else { continue };
                    assert!(path.is_absolute(), "{preset}: {path:?}");
                    for secret in secrets {
                        assert!(!Path::new(secret).starts_with(&path), "{preset}: {path:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_tty_and_pty_allow_device_ioctls_and_only_tmp_creates() {
        for preset in Preset::ALL {
            let all: Rights = preset.rules().iter().map(|r| r.terms.rights).collect();
            assert_eq!(
                all.contains(Rights::IOCTL_DEV),
                matches!(preset, Preset::Tty | Preset::Pty),
                "{preset}"
            );
            assert_eq!(all.intersects(Rights::C), preset == Preset::Tmp, "{preset}");
        }
    }
}
