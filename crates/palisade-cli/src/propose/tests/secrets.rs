//! The tables of secrets: each row says something that no other does, and no more.

use super::*;
use crate::propose::secrets::{HARMLESS, NAMES, SOCKETS, Spot, placed};

fn system() -> System {
    System::new("/srv/app")
}

fn is_secret(system: &System, path: &str) -> bool {
    system.ask(|world| secret(Path::new(path), world)).is_some()
}

/// What a pattern stands for, in this home.
fn example(pattern: &str, home: &str) -> String {
    pattern.replace('~', home).replace('*', "some").replace('#', "42")
}

/// The same place with another name, that a pattern with a star at one end does not fit either.
fn beside(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap();
    format!("{folder}/not{name}.html")
}

#[test]
fn each_row_finds_its_example_in_every_home_and_not_the_neighbour() {
    let own = System { home: Some("/srv/users/u".into()), ..system() };
    for &(pattern, what) in placed() {
        for home in ["/srv/users/u", "/root", "/home/u", "/var/lib/app"] {
            let path = example(pattern, home);
            let said = own.ask(|world| secret(Path::new(&path), world));
            assert_eq!(said, Some(what), "{path}");
            assert!(is_secret(&own, &format!("{path}/below")), "{path}");
            assert!(!is_secret(&own, &beside(&path)), "{path}");
        }
        let elsewhere = example(pattern, "/srv/elsewhere");
        let anywhere = NAMES.iter().any(|(name, _)| elsewhere.ends_with(&format!("/{name}")));
        assert_eq!(is_secret(&own, &elsewhere), !pattern.starts_with('~') || anywhere, "{elsewhere}");
    }
    for (name, what) in NAMES {
        let path = example(name, "");
        let path = format!("/srv/app/{path}");
        assert_eq!(own.ask(|world| secret(Path::new(&path), world)), Some(*what), "{path}");
        assert!(!is_secret(&own, &beside(&path)), "{path}");
        // Installed for everybody, or no file.
        assert!(!is_secret(&own, &path.replace("/srv", "/usr/share")), "{path}");
        assert!(is_secret(&own, &path.replace("/srv", "/usr/local/etc")), "{path}");
        assert!(!is_secret(&own.clone().with(&[&format!("{path}/")]), &path), "{path}");
    }
}

#[test]
fn no_row_says_what_another_does() {
    system().ask(|world| {
        for &(pattern, _) in placed() {
            let path = example(pattern, "/home/u");
            let saying: Vec<_> =
                placed().filter(|(row, _)| Spot::of(Path::new(&path), world).is_below(row)).collect();
            assert_eq!(saying.len(), 1, "{path}: {saying:?}");
        }
    });
}

#[test]
fn a_folder_holds_what_is_below_it_and_there() {
    for &(pattern, what) in placed() {
        let path = example(pattern, "/home/u");
        let system = system().with(&[&path]);
        for folder in Path::new(&path).ancestors().skip(1) {
            assert!(system.ask(|world| holds_secret(folder, world)), "{folder:?} has {what}");
        }
        assert!(system.ask(|world| holds_secret(Path::new(&path), world)));
        assert!(
            !system.ask(|world| holds_secret(&Path::new(&path).with_file_name("other"), world)),
            "{path}"
        );
    }
    for (name, _) in NAMES.iter().filter(|(name, _)| !name.contains('*')) {
        let system = system().with(&[&format!("/srv/app/{name}")]);
        assert!(system.ask(|world| holds_secret(Path::new("/srv/app"), world)), "{name}");
    }
    let empty = system().with(&["/srv/app/notes", "/home/u/.cargo/", "/home/u/.docker/", "/etc/docker/"]);
    for folder in ["/srv/app", "/srv", "/home/u/.cargo", "/home/u/.docker", "/etc/docker"] {
        assert!(!empty.ask(|world| holds_secret(Path::new(folder), world)), "{folder}");
    }
}

#[test]
fn what_everybody_knows_to_be_secret_is_and_its_neighbours_are_not() {
    let found = [
        "/home/u/.ssh",
        "/home/u/.ssh/id_ed25519",
        "/root/.ssh/authorized_keys",
        "/home/u/.ssh/work",
        "/home/u/.gnupg/private-keys-v1.d/x.key",
        "/home/u/.aws/credentials",
        "/home/other/.azure/msal.json",
        "/home/u/.config/gcloud/credentials.db",
        "/home/u/.kube/config",
        "/home/u/.docker/config.json",
        "/home/u/.netrc",
        "/home/u/.git-credentials",
        "/home/u/.config/git/credentials",
        "/home/u/.config/gh/hosts.yml",
        "/home/u/.npmrc",
        "/home/u/.pypirc",
        "/home/u/.cargo/credentials.toml",
        "/home/u/.pgpass",
        "/home/u/.my.cnf",
        "/home/u/.vault-token",
        "/home/u/.password-store/bank.gpg",
        "/home/u/.local/share/keyrings/login.keyring",
        "/home/u/.mozilla/firefox/x.default/key4.db",
        "/home/u/.config/google-chrome/Default/Cookies",
        "/home/u/.thunderbird/x/logins.json",
        "/home/u/.bash_history",
        "/home/u/.zsh_history",
        "/home/u/.python_history",
        "/home/u/.bitcoin/wallet.dat",
        "/etc/shadow",
        "/etc/gshadow-",
        "/etc/sudoers.d/me",
        "/etc/ssl/private/me.pem",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/krb5.keytab",
        "/proc/1/environ",
        "/proc/77/mem",
        "/dev/sda1",
        "/var/lib/postgresql/.pgpass",
        "/srv/www/privkey.pem",
        "/srv/www/server-key.pem",
        "/srv/www/tls.key",
        "/srv/www/.env",
        "/srv/www/.env.production",
        "/srv/deploy/id_rsa",
        "/srv/deploy/service-account-1.json",
        "/srv/deploy/credentials.json",
        "/srv/deploy/ID_RSA",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/podman/podman.sock",
        "/run/user/1000/podman/podman.sock",
        "/run/containerd/containerd.sock",
        "/run/dbus/system_bus_socket",
        "/run/user/1000/bus",
        "/tmp/tmux-1000/default",
        "/run/screen/S-u/1.pts",
        "/run/user/1000/systemd/private",
        "/run/user/1000/gnupg/S.gpg-agent",
        "/tmp/ssh-XX/agent.7",
        "/run/user/1000/keyring/ssh",
        "/run/libvirt/libvirt-sock",
        "/run/snapd.socket",
        "/var/run/secrets/token",
    ];
    let none = [
        "/home/u/.ssh/known_hosts",
        "/home/u/.ssh/config",
        "/home/u/.ssh/id_ed25519.pub",
        "/root/.ssh/config.d/a",
        "/home/u/.config/git/config",
        "/home/u/.gitconfig",
        "/home/u/.config/gh/config.yml",
        "/home/u/.kube/cache",
        "/home/u/.docker/contexts",
        "/home/u/.cargo/config.toml",
        "/home/u/.bashrc",
        "/home/u/.local/share/app",
        "/home/u/.cache/mozilla",
        "/etc/passwd",
        "/etc/group",
        "/etc/ssl/openssl.cnf",
        "/etc/ssl/certs/ca.key",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/etc/ssh/ssh_config",
        "/etc/krb5.conf",
        "/proc/self/environ",
        "/proc/1/stat",
        "/proc/meminfo",
        "/dev/null",
        "/dev/shm/x",
        "/srv/www/fullchain.pem",
        "/srv/www/cert.pem",
        "/srv/www/.env.example",
        "/srv/www/monkey",
        "/srv/www/package.json",
        "/usr/lib/python3/test/key.pem",
        "/usr/share/doc/x/id_rsa",
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/postgresql/.s.PGSQL.5432",
        "/run/mysqld/mysqld.sock",
        "/run/user/1000/wayland-0",
        "/run/user/1000/pulse/native",
        "/run/nscd/socket",
    ];
    let system = system();
    for path in found {
        assert!(is_secret(&system, path), "{path}");
    }
    for path in none {
        assert!(!is_secret(&system, path), "{path}");
    }
    for pattern in HARMLESS {
        assert!(!is_secret(&system, &example(pattern, "/home/u")), "{pattern}");
        assert!(is_secret(&system, &beside(&example(pattern, "/home/u"))), "{pattern}");
    }
}

#[test]
fn no_preset_grants_what_is_secret() {
    system().ask(|world| {
        for preset in Preset::ALL {
            for grant in preset.grants() {
                let Grant::Path { path, .. } = grant else { continue };
                assert_eq!(secret(&path, world), None, "{preset}: {path:?}");
            }
        }
    });
}

#[test]
fn a_secret_of_each_kind_is_held_and_named() {
    for &(pattern, what) in placed() {
        let path = example(pattern, "/home/u");
        let right =
            if SOCKETS.iter().any(|(socket, _)| *socket == pattern) { "resolve_unix" } else { "read_file" };
        let texts = [format!("{right}:{path}")];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        check(pattern, &system(), &texts, "", &[&format!("secret {path}: {what}")]);
    }
}
