//! Devices: ioctl(2) on what is opened later, what is exempt, and terminals.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::setsid;
use palisade::{Policy, Rights, path};

use crate::harness::*;
use crate::sys;

cases![
    ioctl_dev_covers_devices_opened_later,
    ioctl_dev_covers_terminals_opened_later,
    hole_ioctls_that_are_exempt,
    hole_ioctl_on_devices_opened_before,
    hole_ioctl_on_other_files,
    hole_tiocsti_on_an_inherited_terminal,
];

fn devices(_: &Path) -> Policy {
    Policy::new().rule(path("/dev").rights(Rights::READ_FILE | Rights::WRITE_FILE))
}

pub fn zero() -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/zero")
}

fn on_zero(name: &str, expect: Expect, request: u64) -> Row {
    row(name, expect, move |_| sys::ioctl(zero()?, request).map_err(std::io::Error::from))
}

/// Refused by the right ioctl_dev.
const I: Expect = from(5, Errno::EACCES);

fn ioctl_dev_covers_devices_opened_later() {
    let rows = |expect| {
        [
            on_zero("FIONREAD", expect, libc::FIONREAD).free(Errno::ENOTTY),
            on_zero("TCGETS", expect, libc::TCGETS).free(Errno::ENOTTY),
            on_zero("BLKGETSIZE64", expect, 0x8008_1272).free(Errno::ENOTTY),
            on_zero("no request of any driver", expect, 0x1234_5678).free(Errno::ENOTTY),
        ]
    };
    check(|_| (), devices, &rows(I));
    let granted = path("/dev/zero").rights(Rights::IOCTL_DEV);
    check(|_| (), |d| devices(d).rule(granted.clone()), &rows(WORKS));
    check(|_| (), |d| devices(d).unrestricted(Rights::DEVICES), &rows(WORKS));
}

/// A new pseudo terminal.
pub fn terminal() -> (PtyMaster, PathBuf) {
    let flags = nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY;
    let master = posix_openpt(flags).expect("/dev/ptmx, and /dev/pts mounted");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname_r(&master).expect("ptsname");
    (master, name.into())
}

pub fn open_terminal(at: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(at)
}

fn ioctl_dev_covers_terminals_opened_later() {
    let (_master, at) = terminal();
    let size = |expect| {
        let at = at.clone();
        prepared("TIOCGWINSZ", expect, move |_| {
            let at = at.clone();
            move || sys::ioctl(open_terminal(&at)?, libc::TIOCGWINSZ).map_err(std::io::Error::from)
        })
    };
    check(|_| (), devices, &[size(I)]);
    let granted = path(&at).rights(Rights::IOCTL_DEV);
    check(|_| (), |d| devices(d).rule(granted.clone()), &[size(WORKS)]);
}

fn hole_ioctls_that_are_exempt() {
    let mut rows: Vec<Row> = [
        ("FIOCLEX", libc::FIOCLEX),
        ("FIONCLEX", libc::FIONCLEX),
        ("FIONBIO", libc::FIONBIO),
        ("FIOASYNC", libc::FIOASYNC),
        ("FIGETBSZ", 2),
        ("FS_IOC_FIEMAP", 0xc020_660b),
        ("FICLONE", 0x4004_9409),
        ("FICLONERANGE", 0x4020_940d),
        ("FIDEDUPERANGE", 0xc018_9436),
        ("FS_IOC_GETFSUUID", 0x8011_1500),
        ("FS_IOC_GETFSSYSFSPATH", 0x8081_1501),
        ("FIOQSIZE", 0x5460),
    ]
    .into_iter()
    // What they answer depends on the file system; that it is not EACCES, and the same, is what counts.
    .map(|(name, request)| on_zero(name, WORKS, request).free_any())
    .collect();
    for (name, request) in [("FIFREEZE", 0xc004_5877), ("FITHAW", 0xc004_5878)] {
        // Never as root: that would freeze a file system. The kernel's own refusal is another.
        let operation = move |_: &Path| {
            let zero = zero()?;
            if is_root() {
                become_user();
            }
            sys::ioctl(zero, request).map_err(std::io::Error::from)
        };
        rows.push(row(name, WORKS, operation).free(Errno::EPERM));
    }
    check(|_| (), devices, &rows);
}

fn hole_ioctl_on_devices_opened_before() {
    let (_master, at) = terminal();
    let rows = [
        prepared("FIONREAD", WORKS, |_| {
            let zero = zero().unwrap();
            move || sys::ioctl(zero, libc::FIONREAD)
        })
        .free(Errno::ENOTTY),
        prepared("TIOCGWINSZ", WORKS, move |_| {
            let terminal = open_terminal(&at).unwrap();
            move || sys::ioctl(terminal, libc::TIOCGWINSZ)
        }),
    ];
    check(|_| (), |_| Policy::new(), &rows);
}

fn hole_ioctl_on_other_files() {
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    let rows = [
        row("FIONREAD of a file", WORKS, |d| {
            sys::ioctl(File::open(d.join("f"))?, libc::FIONREAD).map_err(std::io::Error::from)
        }),
        prepared("FIONREAD of a pipe", WORKS, move |_| {
            let reader = reader.try_clone().unwrap();
            move || sys::ioctl(reader, libc::FIONREAD)
        }),
    ];
    check(|d| put(d.join("f"), "text"), |d| Policy::new().ro(d), &rows);
}

fn hole_tiocsti_on_an_inherited_terminal() {
    let (_master, at) = terminal();
    // What an administrator may have turned off, for all but root.
    let off = std::fs::read("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|text| text.starts_with(b"0"));
    let inherited = prepared("TIOCSTI", WORKS, {
        let at = at.clone();
        move |_| {
            let terminal = open_terminal(&at).unwrap();
            setsid().unwrap();
            sys::ioctl_number(&terminal, libc::TIOCSCTTY, 0).unwrap();
            move || sys::ioctl_with(&terminal, libc::TIOCSTI, &mut [b'x'; 4096])
        }
    });
    let opened_later = prepared("TIOCSTI on what is opened later", I, move |_| {
        let terminal = open_terminal(&at).unwrap();
        setsid().unwrap();
        sys::ioctl_number(&terminal, libc::TIOCSCTTY, 0).unwrap();
        let at = at.clone();
        move || {
            let again = open_terminal(&at)?;
            sys::ioctl_with(&again, libc::TIOCSTI, &mut [b'x'; 4096]).map_err(std::io::Error::from)
        }
    });
    for row in [inherited, opened_later] {
        let row = if off && !is_root() { row.free(Errno::EIO) } else { row };
        check(|_| (), devices, &[row]);
    }
}
