//! Presets: each gives what it says, and no more.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{dup2_stdin, dup2_stdout, pipe, read, write};
use palisade::{Kernel, Policy, Preset, Report};

use super::{devices, mounts, net};
use crate::harness::*;
use crate::sys;

cases![
    presets_never_fail_and_say_nothing,
    stdio_preset_takes_pipes,
    stdio_preset_reopens_as_far_as_it_is_open,
    stdio_preset_of_a_directory_opens_nothing_below,
    stdio_preset_gives_no_ioctl,
    tty_preset_is_the_inherited_terminal_alone,
    tty_preset_of_a_file_opens_nothing,
    pty_preset_makes_terminals,
    tmp_preset_writes_there_alone,
    vminfo_preset_reads_what_it_lists,
    dns_preset_is_port_53_alone,
    certs_preset_follows_links,
    system_presets_hide_secrets,
];

fn confine_with(preset: Preset) -> Report {
    confine(&Policy::new().preset(preset))
}

fn presets_never_fail_and_say_nothing() {
    let all = Preset::ALL.into_iter().fold(Policy::new(), Policy::preset);
    for policy in Preset::ALL.map(|preset| Policy::new().preset(preset)).into_iter().chain([all]) {
        in_fork(|| {
            sys::close_stdin();
            let report = confine(&policy);
            assert_eq!(report.skipped().count(), 0);
            // What this kernel has to be said of without any preset is no matter of theirs.
            let plan = Policy::new().rwx("/").best_effort().plan(&Kernel::probe()).unwrap();
            assert!(report.notes().all(|note| plan.notes().any(|n| n == note)), "{report}");
            refused(Errno::EACCES, fs::read_dir("/"));
        });
    }
}

fn stdio_preset_takes_pipes() {
    let (reader, writer) = pipe().unwrap();
    let (result, output) = pipe().unwrap();
    in_fork(|| {
        dup2_stdin(&reader).unwrap();
        dup2_stdout(&output).unwrap();
        assert_eq!(confine_with(Preset::Stdio).skipped().count(), 0);
        works(write(&writer, b"x"));
        works(std::io::stdin().read_exact(&mut [0]));
        works(OpenOptions::new().write(true).open("/proc/self/fd/1").and_then(|mut out| out.write_all(b"y")));
    });
    assert_eq!(read(&result, &mut [0]), Ok(1));
}

/// The file of descriptor 0 or 1, opened by its name once more.
fn again(number: i32, options: &OpenOptions) -> std::io::Result<File> {
    options.open(format!("/proc/self/fd/{number}"))
}

fn to_read() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

fn to_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}

fn stdio_preset_reopens_as_far_as_it_is_open() {
    let dir = fresh();
    let file = dir.join("f");
    put(&file, "text");
    put(dir.join("other"), "");
    let mut both = to_read();
    both.write(true);
    let mut path = to_read();
    path.custom_flags(libc::O_PATH);
    for (mode, reads, writes) in
        [(to_read(), WORKS, A), (to_write(), A, WORKS), (both, WORKS, WORKS), (path, A, A)]
    {
        in_fork(|| {
            let opened = mode.open(&file).unwrap();
            dup2_stdin(&opened).unwrap();
            dup2_stdout(&opened).unwrap();
            drop(opened);
            confine_with(Preset::Stdio);
            for number in [0, 1] {
                expected(reads, again(number, &to_read()));
                expected(writes, again(number, &to_write()));
                expected(writes, again(number, to_write().truncate(true)));
            }
            expected(reads, fs::read(&file));
            refused(Errno::EACCES, fs::read(dir.join("other")));
        });
    }
}

fn stdio_preset_of_a_directory_opens_nothing_below() {
    let dir = fresh();
    put(dir.join("f"), "");
    in_fork(|| {
        dup2_stdin(File::open(&dir).unwrap()).unwrap();
        confine_with(Preset::Stdio);
        refused(Errno::EACCES, again(0, &to_read()));
        refused(Errno::EACCES, fs::read(dir.join("f")));
        refused(Errno::EACCES, fs::read_dir(&dir));
    });
}

/// Refused by the right ioctl_dev.
const I: Expect = from(5, Errno::EACCES);

fn size(terminal: &Path) -> std::io::Result<()> {
    sys::ioctl(devices::open_terminal(terminal)?, libc::TIOCGWINSZ)?;
    Ok(())
}

fn stdio_preset_gives_no_ioctl() {
    let (_master, at) = devices::terminal();
    in_fork(|| {
        dup2_stdin(devices::open_terminal(&at).unwrap()).unwrap();
        confine_with(Preset::Stdio);
        works(devices::open_terminal(&at));
        expected(I, size(&at));
    });
}

fn tty_preset_is_the_inherited_terminal_alone() {
    let ((_one, inherited), (_two, other)) = (devices::terminal(), devices::terminal());
    in_fork(|| {
        dup2_stdin(devices::open_terminal(&inherited).unwrap()).unwrap();
        works(devices::open_terminal(&other));
        confine_with(Preset::Tty);
        works(size(&inherited));
        works(size("/proc/self/fd/0".as_ref()));
        refused(Errno::EACCES, devices::open_terminal(&other));
        refused(Errno::EACCES, fs::read_dir("/dev/pts"));
    });
    // One that is only to be read stays so.
    in_fork(|| {
        dup2_stdin(File::open(&inherited).unwrap()).unwrap();
        confine_with(Preset::Tty);
        works(File::open(&inherited));
        refused(Errno::EACCES, devices::open_terminal(&inherited));
    });
}

fn tty_preset_of_a_file_opens_nothing() {
    let file = fresh().join("f");
    put(&file, "");
    in_fork(|| {
        dup2_stdin(to_read().write(true).open(&file).unwrap()).unwrap();
        confine_with(Preset::Tty);
        refused(Errno::EACCES, again(0, &to_read()));
        refused(Errno::EACCES, fs::read(&file));
    });
}

fn pty_preset_makes_terminals() {
    in_fork(|| {
        confine_with(Preset::Pty);
        let (_master, at) = devices::terminal();
        works(size(&at));
        refused(Errno::EACCES, File::open("/dev/zero"));
    });
}

fn tmp_preset_writes_there_alone() {
    let dir = tempfile::tempdir_in("/tmp").expect("/tmp");
    put(dir.path().join("f"), "");
    in_fork(|| {
        confine_with(Preset::Tmp);
        works(fs::create_dir(dir.path().join("new")));
        works(fs::write(dir.path().join("new/f"), ""));
        expected(X.before(2), fs::rename(dir.path().join("f"), dir.path().join("new/g")));
        works(fs::remove_file(dir.path().join("new/f")));
        refused(Errno::EACCES, fs::read("/proc/self/status"));
        refused(Errno::EACCES, fs::read_dir("/"));
    });
}

fn vminfo_preset_reads_what_it_lists() {
    in_fork(|| {
        confine_with(Preset::VmInfo);
        for file in ["meminfo", "cpuinfo", "stat", "self/maps"] {
            works(fs::read(format!("/proc/{file}")));
        }
        for file in ["filesystems", "self/environ", "self/status", "cmdline"] {
            refused(Errno::EACCES, fs::read(format!("/proc/{file}")));
        }
    });
}

fn dns_preset_is_port_53_alone() {
    let (tcp, udp) = (net::Listener::new(), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let (tcp_port, udp_port) = (tcp.port(), udp.local_addr().unwrap().port());
    let send = |port| {
        move |_: &Path| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.connect((Ipv4Addr::LOCALHOST, port))
    };
    let rows = [
        // Whether anybody answers is another matter.
        row("TCP to port 53", WORKS, |_| net::connect(53)).free_any(),
        row("TCP to another", from(4, Errno::EACCES), move |_| net::connect(tcp_port)),
        row("TCP bind", from(4, Errno::EACCES), |_| net::bind(0)),
        row("UDP to port 53", WORKS, send(53)),
        row("UDP to another", from(10, Errno::EACCES), send(udp_port)),
    ];
    check(|_| (), |_| Policy::new().preset(Preset::Dns), &rows);
}

fn certs_preset_follows_links() {
    let store = Path::new("/etc/ssl/certs");
    let dir = fresh();
    mkdir(dir.join("store"));
    mkdir(dir.join("elsewhere"));
    for file in ["store/own.pem", "elsewhere/ca.pem", "elsewhere/key.pem", "elsewhere/beside"] {
        put(dir.join(file), "");
    }
    for (target, link) in
        [("elsewhere/ca.pem", "ca.pem"), ("elsewhere", "to_a_directory"), ("elsewhere/missing", "dangling")]
    {
        symlink(dir.join(target), dir.join("store").join(link)).unwrap();
    }
    symlink("own.pem", dir.join("store/hash.0")).unwrap();
    in_fork(|| {
        let mounted = store.is_dir() && mounts::can_mount();
        if mounted {
            mounts::private_mounts().unwrap();
            mounts::bind_mount(&dir.join("store"), store).unwrap();
        }
        confine_with(Preset::Certs);
        if mounted {
            for file in ["own.pem", "ca.pem", "hash.0"] {
                works(fs::read(store.join(file)));
            }
            works(fs::read_dir(store));
            works(fs::read(dir.join("elsewhere/ca.pem")));
            // A link to a directory would give all that is in it.
            refused(Errno::EACCES, fs::read(store.join("to_a_directory/key.pem")));
            refused(Errno::EACCES, File::create(store.join("new")));
        }
        refused(Errno::EACCES, fs::read(dir.join("elsewhere/key.pem")));
        refused(Errno::EACCES, fs::read_dir(dir.join("elsewhere")));
    });
}

fn system_presets_hide_secrets() {
    // Without a name: nothing is left of it.
    let create = |dir: &&str| to_write().custom_flags(libc::O_TMPFILE).open(dir);
    for preset in [Preset::Shared, Preset::System] {
        in_fork(|| {
            // What is there, and open to this user.
            let mut libraries = vec!["/usr/lib", "/lib"];
            libraries.retain(|dir| fs::read_dir(dir).is_ok());
            let mut writable = libraries.clone();
            writable.retain(|dir| create(dir).is_ok());
            let mut secrets = vec!["/etc/shadow", "/etc/ssl/private", "/root", "/etc", "/proc/self/environ"];
            secrets.retain(|secret| File::open(secret).is_ok());
            confine_with(preset);
            works(OpenOptions::new().write(true).open("/dev/null"));
            libraries.iter().for_each(|dir| works(fs::read_dir(dir)));
            writable.iter().for_each(|dir| refused(Errno::EACCES, create(dir)));
            secrets.iter().for_each(|secret| refused(Errno::EACCES, File::open(secret)));
        });
    }
}
