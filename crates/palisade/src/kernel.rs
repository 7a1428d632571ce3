//! What a kernel can enforce, as a value.

use std::fmt;

use crate::rights::{Abi, Rights};
use crate::sys;
use crate::uapi;

/// A kernel, as far as Landlock goes: the running one ([`Kernel::probe`]), or any other, described by hand to see
/// what a policy would do there.
///
/// ```
/// use palisade::{Abi, Kernel, Policy, Rights};
/// let old = Kernel::new(Abi::V3);
/// let plan = Policy::new().best_effort().plan(&old)?;
/// assert!(plan.lost().any(|lost| lost.right() == Rights::BIND_TCP));
/// # Ok::<(), palisade::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    state: std::result::Result<Abi, Unavailable>,
    errata: Option<u32>,
}

/// Why Landlock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Unavailable {
    /// The kernel was built without it, or is older than Linux 5.13 (ENOSYS).
    NotBuilt,
    /// It is built in, and left out of the list of security modules at boot (EOPNOTSUPP).
    DisabledAtBoot,
    /// A seccomp filter refuses its system calls, as some containers' do.
    Filtered,
    /// This is not Linux.
    NotLinux,
}

impl Unavailable {
    /// What to do about it, as a sentence.
    pub fn help(self) -> &'static str {
        match self {
            Unavailable::NotBuilt => {
                "run Linux 5.13 or newer (6.7 for TCP) with CONFIG_SECURITY_LANDLOCK=y, as most distributions build it"
            }
            Unavailable::DisabledAtBoot => {
                "add landlock to the lsm= list on the kernel's command line (see /sys/kernel/security/lsm) and reboot"
            }
            Unavailable::Filtered => {
                "allow system calls 444, 445 and 446 (landlock_*) in the seccomp profile of the container or service"
            }
            Unavailable::NotLinux => "run it on Linux 5.13 or newer; only Linux has Landlock",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unavailable::NotBuilt => "this kernel has no Landlock",
            Unavailable::DisabledAtBoot => "Landlock is turned off on this system",
            Unavailable::Filtered => "a seccomp filter refuses Landlock here",
            Unavailable::NotLinux => "this system is not Linux",
        })
    }
}

impl Kernel {
    /// The running kernel. Two system calls that change nothing; where the kernel seems to have no Landlock,
    /// /proc/self/status is read too, to tell a seccomp filter from that.
    ///
    /// ```
    /// if let Err(why) = palisade::Kernel::probe().abi() {
    ///     eprintln!("{why}: {}", why.help());
    /// }
    /// ```
    pub fn probe() -> Kernel {
        match sys::abi() {
            Ok(abi) => Kernel { state: Ok(abi), errata: sys::errata() },
            Err(why) => Kernel::unavailable(why),
        }
    }

    /// A kernel of this ABI, with every erratum fixed that this library knows.
    ///
    /// ```
    /// use palisade::{Abi, Kernel, Rights};
    /// assert!(Kernel::new(Abi::V4).rights().contains(Rights::TCP));
    /// ```
    pub fn new(abi: Abi) -> Kernel {
        let all = uapi::ERRATA.iter().enumerate().filter(|(_, e)| e.abi <= abi.number());
        Kernel { state: Ok(abi), errata: Some(all.fold(0, |bits, (n, _)| bits | 1 << n)) }
    }

    /// A kernel whose Landlock cannot be used.
    ///
    /// ```
    /// use palisade::{Kernel, Rights, Unavailable};
    /// assert_eq!(Kernel::unavailable(Unavailable::NotBuilt).rights(), Rights::empty());
    /// ```
    pub fn unavailable(why: Unavailable) -> Kernel {
        Kernel { state: Err(why), errata: None }
    }

    /// The same kernel with these errata fixed: bit N-1 is erratum N. `None` for a kernel that cannot be asked,
    /// as any that got no fix.
    pub fn with_errata(mut self, errata: Option<u32>) -> Kernel {
        self.errata = errata;
        self
    }

    /// The ABI, or why there is none.
    pub fn abi(&self) -> std::result::Result<Abi, Unavailable> {
        self.state
    }

    /// The errata that are fixed, bit N-1 for erratum N, as the kernel says; `None` if it cannot be asked.
    pub fn errata(&self) -> Option<u32> {
        self.errata
    }

    /// Every right and scope that this kernel can restrict, of those this library knows.
    pub fn rights(&self) -> Rights {
        self.state.map_or(Rights::empty(), Abi::rights)
    }

    /// What is known to be wrong on this kernel: an erratum's number and what follows from it. A kernel that
    /// cannot be asked has fixed none.
    ///
    /// ```
    /// use palisade::{Abi, Kernel};
    /// let old = Kernel::new(Abi::V6).with_errata(Some(0b0001));
    /// assert_eq!(old.unfixed().map(|(number, _)| number).collect::<Vec<_>>(), [2, 3, 4]);
    /// ```
    pub fn unfixed(&self) -> impl Iterator<Item = (u32, &'static str)> {
        let (abi, fixed) = (self.state.map_or(0, Abi::number), self.errata.unwrap_or(0));
        let applies = move |(n, e): &(usize, &uapi::Erratum)| e.abi <= abi && fixed & (1 << n) == 0;
        uapi::ERRATA.iter().enumerate().filter(applies).map(|(n, e)| (n as u32 + 1, e.unfixed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errata_are_of_their_abi_and_later() {
        let unfixed =
            |abi, errata| Kernel::new(abi).with_errata(errata).unfixed().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(unfixed(Abi::V1, None), [3, 4]);
        assert_eq!(unfixed(Abi::V4, Some(0)), [1, 3, 4]);
        assert_eq!(unfixed(Abi::V6, Some(0b11)), [3, 4]);
        assert_eq!(unfixed(Abi::V11, Some(0b1111)), [0; 0]);
        assert_eq!(unfixed(Abi::V11, Some(u32::MAX)), [0; 0]);
        for n in 1..=12 {
            assert_eq!(Kernel::new(Abi::new(n).unwrap()).unfixed().count(), 0);
        }
        assert_eq!(Kernel::unavailable(Unavailable::NotBuilt).unfixed().count(), 0);
    }

    #[test]
    fn probing_twice_says_the_same() {
        assert_eq!(Kernel::probe(), Kernel::probe());
    }
}
