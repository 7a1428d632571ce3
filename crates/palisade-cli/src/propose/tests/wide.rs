//! Which folders are too wide, and which of those may be listed.

use super::*;
use crate::propose::wide::{is_fleeting, may_be_listed};

const WIDE: &[&str] = &[
    "/",
    "/home",
    "/home/u",
    "/home/other",
    "/root",
    "/etc",
    "/tmp",
    "/var",
    "/var/tmp",
    "/usr",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/run/user",
    "/run/user/1000",
    "/opt",
    "/srv",
    "/mnt",
    "/media",
    "/media/u",
    "/boot",
    "/usr/lib",
    "/usr/local/bin",
    "/var/lib",
    "/home/u/.config",
    "/home/u/.local",
    "/home/u/.local/share",
    "/home/u/.cache",
    "/root/.cache",
    "/home/other/.config",
    "/home/u/Documents",
    "/home/u/Downloads",
    "/home/other/Pictures",
    "/home/u/src",
    "/home/u/.ssh",
    "/srv/u",
    "/srv/u/.config",
];

const NARROW: &[&str] = &[
    "/home/u/src/app",
    "/home/u/src/app/lib",
    "/home/u/src-other",
    "/etc/fonts",
    "/tmp/work",
    "/var/lib/app",
    "/usr/share/app",
    "/usr/lib/app",
    "/home/u/.config/app",
    "/home/u/.local/share/app",
    "/home/u/.cache/app",
    "/home/u/Documents/taxes",
    "/opt/app",
    "/srv/www",
    "/mnt/disk",
    "/media/u/stick",
    "/run/user/1000/app",
    "/run/app",
    "/data",
    "/etc/ssh/ssh_config.d",
];

fn system() -> System {
    System::new("/home/u/src/app")
}

#[test]
fn a_folder_of_many_is_too_wide_and_one_of_an_application_is_not() {
    for (home, wide) in [(Some("/home/u"), false), (Some("/srv/u"), true)] {
        let system = System { home: home.map(PathBuf::from), ..system() };
        system.ask(|world| {
            for folder in WIDE {
                let expected = wide || !folder.starts_with("/srv/u");
                assert_eq!(too_wide(Path::new(folder), world), expected, "{folder}");
            }
            for folder in NARROW {
                assert!(!too_wide(Path::new(folder), world), "{folder}");
            }
        });
    }
}

#[test]
fn the_present_folder_is_wide_where_any_would_be() {
    for (dir, wide) in [
        ("/srv/app", false),
        ("/data", false),
        ("/home/u", true),
        ("/home/u/Documents", true),
        ("/tmp", true),
    ] {
        System::new(dir).ask(|world| assert_eq!(too_wide(Path::new(dir), world), wide, "{dir}"));
    }
}

#[test]
fn a_folder_with_a_secret_is_too_wide() {
    let folder = "/home/u/.cargo";
    system().with(&["/home/u/.cargo/config.toml"]).ask(|world| assert!(!too_wide(Path::new(folder), world)));
    system().with(&["/home/u/.cargo/credentials.toml"]).ask(|world| {
        assert!(too_wide(Path::new(folder), world));
        assert!(!too_wide(Path::new("/home/u/.cargo/registry"), world));
    });
    system().with(&["/home/u/src/app/.env"]).ask(|world| assert!(too_wide(&world.dir, world)));
    // The folder of an environment of Python.
    system().with(&["/home/u/src/app/.env/"]).ask(|world| assert!(!too_wide(&world.dir, world)));
}

#[test]
fn what_is_above_a_home_is_too_wide_wherever_it_is() {
    let system = System { home: Some("/data/users/u".into()), ..system() };
    system.ask(|world| {
        for folder in ["/data", "/data/users", "/data/users/u"] {
            assert!(
                too_wide(Path::new(folder), world) && !may_be_listed(Path::new(folder), world),
                "{folder}"
            );
            assert!(!holds_secret(Path::new(folder), world), "{folder}");
        }
        assert!(!too_wide(Path::new("/data/other"), world));
    });
    let system = system.with(&["/data/users/u/.netrc", "/data/users/u/.aws/"]);
    system.ask(|world| assert!(holds_secret(Path::new("/data"), world)));
}

#[test]
fn a_wide_folder_is_listed_unless_its_names_are_the_users_own() {
    let system = system().with(&["/home/u/.config/gcloud/", "/etc/shadow", "/home/u/.local/share/app/"]);
    system.ask(|world| {
        for (folder, listed) in [
            ("/", false),
            ("/home", false),
            ("/home/u", false),
            ("/home/other", false),
            ("/root", false),
            ("/home/u/.config", false),
            ("/home/u/.local/share", true),
            ("/home/u/.cache", true),
            ("/etc", true),
            ("/proc", true),
            ("/dev", true),
            ("/run", true),
            ("/tmp", true),
            ("/var/lib", true),
        ] {
            assert!(too_wide(Path::new(folder), world), "{folder}");
            assert_eq!(may_be_listed(Path::new(folder), world), listed, "{folder}");
        }
    });
}

#[test]
fn no_option_names_what_is_another_the_next_time() {
    let there = [
        "/proc/7/stat",
        "/proc/self/stat",
        "/proc/self/fd/3",
        "/proc/self/root/etc",
        "/proc/self/task/7/stat",
        "/proc/thread-self/cwd",
        "/proc/self/fd/",
        "/proc/sys/kernel/osrelease",
        "/etc/hosts",
        "/proc/7up",
    ];
    let lasting =
        ["/proc/self/stat", "/proc/self/fd/", "/proc/sys/kernel/osrelease", "/etc/hosts", "/proc/7up"];
    system().with(&there).ask(|world| {
        for path in there {
            assert_eq!(is_fleeting(Path::new(path), world), !lasting.contains(&path), "{path}");
        }
        for path in ["/etc/gone", "etc/hosts", "/etc/../etc/hosts"] {
            assert!(is_fleeting(Path::new(path), world), "{path}");
        }
    });
}
