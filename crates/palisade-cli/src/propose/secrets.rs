//! What is never proposed: keys, passwords and the like, and the sockets of daemons that do anything for whoever reaches
//! them. Where they are is what firejail (disable-common), AppArmor (private-files-strict) and scanners of repositories
//! (gitleaks, trufflehog) agree on, and what a program could leave the sandbox with.
//!
//! In a pattern `~` is any home, `*` in a name is any text, and a name `#` is any number. What is below is meant too.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use palisade::Rights;

use super::World;

/// Where it is, and what it is.
pub(super) type Row = (&'static str, &'static str);

const CLOUD: &str = "credentials of a cloud";
const REGISTRY: &str = "a key to publish packages with";
const PASSWORDS: &str = "saved passwords";
const BROWSER: &str = "a browser's profile, with its passwords and sessions";
const MAIL: &str = "mail, and the passwords for it";
const CHAT: &str = "a messenger's session";
const HISTORY: &str = "what was typed before, passwords among it";
const WALLET: &str = "a wallet";
const KEY: &str = "a private key";
const SYSTEM_PASSWORDS: &str = "the system's passwords";
const NETWORK: &str = "keys of networks";
const DISK: &str = "a whole disk, with all files on it";
const MEMORY: &str = "the memory of others";
const TYPED: &str = "all that is typed";
const DISPLAY: &str = "the key to the screen and the keyboard";

/// Of a user.
pub(super) const HOMES: &[Row] = &[
    ("~/.ssh", "SSH keys"),
    ("~/.gnupg", "GnuPG keys"),
    ("~/.aws", CLOUD),
    ("~/.azure", CLOUD),
    ("~/.boto", CLOUD),
    ("~/.oci", CLOUD),
    ("~/.passwd-s3fs", CLOUD),
    ("~/.s3cfg", CLOUD),
    ("~/.config/doctl", CLOUD),
    ("~/.config/gcloud", CLOUD),
    ("~/.config/hcloud", CLOUD),
    ("~/.config/rclone", CLOUD),
    ("~/.terraform.d/credentials.tfrc.json", CLOUD),
    ("~/.terraformrc", CLOUD),
    ("~/.kube/config", "the key to a cluster"),
    ("~/.docker/config.json", "passwords of container registries"),
    ("~/.config/containers/auth.json", "passwords of container registries"),
    ("~/.git-credential-cache", PASSWORDS),
    ("~/.cache/git/credential", PASSWORDS),
    ("~/.config/git/credentials", PASSWORDS),
    ("~/.config/gh/hosts.yml", "the key to a GitHub account"),
    ("~/.config/github-copilot", "the key to a GitHub account"),
    ("~/.config/hub", "the key to a GitHub account"),
    ("~/.config/glab-cli/config.yml", "the key to a GitLab account"),
    ("~/.npmrc", REGISTRY),
    ("~/.yarnrc.yml", REGISTRY),
    ("~/.cargo/credentials", REGISTRY),
    ("~/.cargo/credentials.toml", REGISTRY),
    ("~/.gem/credentials", REGISTRY),
    ("~/.local/share/gem/credentials", REGISTRY),
    ("~/.composer/auth.json", REGISTRY),
    ("~/.config/composer/auth.json", REGISTRY),
    ("~/.m2/settings.xml", REGISTRY),
    ("~/.m2/settings-security.xml", REGISTRY),
    ("~/.gradle/gradle.properties", REGISTRY),
    ("~/.nuget/NuGet/NuGet.Config", REGISTRY),
    ("~/.cache/huggingface/token", REGISTRY),
    ("~/.kaggle/kaggle.json", REGISTRY),
    ("~/.claude/.credentials.json", "the key to an account"),
    ("~/.codex/auth.json", "the key to an account"),
    ("~/.my.cnf", "passwords of databases"),
    ("~/.mylogin.cnf", "passwords of databases"),
    ("~/.vault-token", "the key to a vault"),
    ("~/.password-store", PASSWORDS),
    ("~/.local/share/keyrings", PASSWORDS),
    ("~/.gnome2/keyrings", PASSWORDS),
    ("~/.local/share/kwalletd", PASSWORDS),
    ("~/.kde/share/apps/kwallet", PASSWORDS),
    ("~/.kde4/share/apps/kwallet", PASSWORDS),
    ("~/.config/1Password", PASSWORDS),
    ("~/.config/Bitwarden", PASSWORDS),
    ("~/.config/op", PASSWORDS),
    ("~/.davfs2/secrets", PASSWORDS),
    ("~/.smbcredentials", PASSWORDS),
    ("~/.pki", KEY),
    ("~/.local/share/pki", KEY),
    ("~/.config/sops/age", KEY),
    ("~/.putty", KEY),
    ("~/.mozilla", BROWSER),
    ("~/.config/mozilla", BROWSER),
    ("~/.librewolf", BROWSER),
    ("~/.config/google-chrome", BROWSER),
    ("~/.config/google-chrome-beta", BROWSER),
    ("~/.config/google-chrome-unstable", BROWSER),
    ("~/.config/chromium", BROWSER),
    ("~/.config/BraveSoftware", BROWSER),
    ("~/.config/microsoft-edge", BROWSER),
    ("~/.config/opera", BROWSER),
    ("~/.config/vivaldi", BROWSER),
    ("~/snap/firefox", BROWSER),
    ("~/snap/chromium", BROWSER),
    ("~/.var/app/org.mozilla.firefox", BROWSER),
    ("~/.var/app/com.google.Chrome", BROWSER),
    ("~/.var/app/org.chromium.Chromium", BROWSER),
    ("~/.var/app/com.brave.Browser", BROWSER),
    ("~/.thunderbird", MAIL),
    ("~/snap/thunderbird", MAIL),
    ("~/.var/app/org.mozilla.Thunderbird", MAIL),
    ("~/.config/evolution", MAIL),
    ("~/.local/share/evolution", MAIL),
    ("~/.fetchmailrc", MAIL),
    ("~/.mbsyncrc", MAIL),
    ("~/.msmtprc", MAIL),
    ("~/.config/msmtp", MAIL),
    ("~/.offlineimaprc", MAIL),
    ("~/.config/Signal", CHAT),
    ("~/.config/Slack", CHAT),
    ("~/.config/discord", CHAT),
    ("~/.config/Element", CHAT),
    ("~/.local/share/TelegramDesktop", CHAT),
    ("~/.*_history", HISTORY),
    ("~/.histfile", HISTORY),
    ("~/.history", HISTORY),
    ("~/.local/share/fish/fish_history", HISTORY),
    ("~/.bitcoin", WALLET),
    ("~/.config/Exodus", WALLET),
    ("~/.config/solana", WALLET),
    ("~/.dogecoin", WALLET),
    ("~/.electrum", WALLET),
    ("~/.ethereum", WALLET),
    ("~/.litecoin", WALLET),
    ("~/.zcash", WALLET),
    ("~/.Xauthority", DISPLAY),
    ("~/.ICEauthority", DISPLAY),
];

/// Of the system.
pub(super) const SYSTEM: &[Row] = &[
    ("/etc/shadow", SYSTEM_PASSWORDS),
    ("/etc/shadow-", SYSTEM_PASSWORDS),
    ("/etc/gshadow", SYSTEM_PASSWORDS),
    ("/etc/gshadow-", SYSTEM_PASSWORDS),
    ("/etc/security/opasswd", SYSTEM_PASSWORDS),
    ("/etc/sudoers", "who may become root"),
    ("/etc/sudoers.d", "who may become root"),
    ("/etc/ssl/private", KEY),
    ("/etc/pki/tls/private", KEY),
    ("/etc/letsencrypt/accounts", KEY),
    ("/etc/letsencrypt/keys", KEY),
    ("/etc/ssh/ssh_host_*_key", KEY),
    ("/etc/krb5.keytab", KEY),
    ("/etc/cryptsetup-keys.d", KEY),
    ("/etc/docker/key.json", KEY),
    ("/etc/kubernetes/admin.conf", "the key to a cluster"),
    ("/etc/kubernetes/pki", "the key to a cluster"),
    ("/etc/rancher/k3s/k3s.yaml", "the key to a cluster"),
    ("/etc/NetworkManager/system-connections", NETWORK),
    ("/etc/wireguard", NETWORK),
    ("/etc/wpa_supplicant", NETWORK),
    ("/etc/ipsec.secrets", NETWORK),
    ("/etc/ipsec.d/private", NETWORK),
    ("/etc/ppp/*-secrets", NETWORK),
    ("/etc/boto.cfg", CLOUD),
    ("/etc/davfs2/secrets", PASSWORDS),
    ("/etc/exim4/passwd.client", PASSWORDS),
    ("/etc/mysql/debian.cnf", PASSWORDS),
    ("/etc/postfix/sasl_passwd", PASSWORDS),
    ("/etc/postfix/sasl_passwd.db", PASSWORDS),
    ("/var/lib/samba/private", PASSWORDS),
    ("/var/lib/sss/secrets", PASSWORDS),
    ("/var/lib/systemd/credential.secret", KEY),
    ("/run/secrets", "secrets of a container or a service"),
    ("/run/credentials", "secrets of a container or a service"),
    ("/run/user/*/containers/auth.json", "passwords of container registries"),
    ("/run/user/*/gdm/Xauthority", DISPLAY),
    ("/dev/sd*", DISK),
    ("/dev/vd*", DISK),
    ("/dev/xvd*", DISK),
    ("/dev/nvme*", DISK),
    ("/dev/mmcblk*", DISK),
    ("/dev/dm-*", DISK),
    ("/dev/mem", MEMORY),
    ("/dev/kmem", MEMORY),
    ("/dev/port", MEMORY),
    ("/proc/kcore", MEMORY),
    ("/proc/#/mem", MEMORY),
    ("/proc/#/environ", "the variables of another process, keys among them"),
    ("/dev/input", TYPED),
    ("/dev/uinput", TYPED),
];

const CONTAINERS: &str = "a daemon that starts containers as root";
const MACHINES: &str = "a daemon that starts machines";
const BUS: &str = "the bus, by which other programs are told what to do";
const MULTIPLEXER: &str = "other terminals, in which anything can be typed";
const EDITOR: &str = "a program that executes what it is told";
const AGENT: &str = "an agent that uses private keys";
const SYSTEMD: &str = "systemd, which starts anything";

/// Sockets of daemons, and the folders that have nothing else.
pub(super) const SOCKETS: &[Row] = &[
    ("/run/docker.sock", CONTAINERS),
    ("/run/podman", CONTAINERS),
    ("/run/containerd", CONTAINERS),
    ("/run/crio", CONTAINERS),
    ("/run/incus", CONTAINERS),
    ("/run/k3s", CONTAINERS),
    ("/run/lxd", CONTAINERS),
    ("/var/lib/incus/unix.socket", CONTAINERS),
    ("/var/lib/lxd/unix.socket", CONTAINERS),
    ("/var/snap/lxd/common/lxd/unix.socket", CONTAINERS),
    ("/run/user/*/docker.sock", "a daemon that starts containers"),
    ("/run/user/*/podman", "a daemon that starts containers"),
    ("~/.docker/desktop/docker.sock", "a daemon that starts containers"),
    ("~/.docker/run/docker.sock", "a daemon that starts containers"),
    ("/run/libvirt", MACHINES),
    ("/run/user/*/libvirt", MACHINES),
    ("/run/snapd.socket", "a daemon that installs programs"),
    ("/run/snapd-snap.socket", "a daemon that installs programs"),
    ("/run/dbus/system_bus_socket", BUS),
    ("/run/user/*/bus", BUS),
    ("/run/user/*/dbus-1", BUS),
    ("/tmp/dbus-*", BUS),
    ("/run/systemd/private", SYSTEMD),
    ("/run/user/*/systemd/private", SYSTEMD),
    ("/tmp/tmux-*", MULTIPLEXER),
    ("/run/screen", MULTIPLEXER),
    ("/run/screens", MULTIPLEXER),
    ("~/.screen", MULTIPLEXER),
    ("/tmp/emacs*", EDITOR),
    ("/run/user/*/emacs", EDITOR),
    ("/run/user/*/nvim*", EDITOR),
    ("/run/user/*/vscode-ipc-*", EDITOR),
    ("/tmp/vscode-ipc-*", EDITOR),
    ("/run/user/*/i3", EDITOR),
    ("/run/user/*/sway-ipc*", EDITOR),
    ("/run/user/*/gnupg", AGENT),
    ("/run/user/*/gcr", AGENT),
    ("/run/user/*/keyring", AGENT),
    ("/run/user/*/openssh_agent", AGENT),
    ("/run/user/*/ssh-agent*", AGENT),
    ("/tmp/ssh-*", AGENT),
    ("/tmp/.X11-unix", "the screen and the keyboard"),
];

/// Files that are secret wherever they are: names.
pub(super) const NAMES: &[Row] = &[
    ("id_rsa", KEY),
    ("id_dsa", KEY),
    ("id_ecdsa", KEY),
    ("id_ecdsa_sk", KEY),
    ("id_ed25519", KEY),
    ("id_ed25519_sk", KEY),
    ("*.key", KEY),
    ("*.ppk", KEY),
    ("*.p12", KEY),
    ("*.pfx", KEY),
    ("*.jks", KEY),
    ("*.keystore", KEY),
    ("*.ovpn", NETWORK),
    ("key.pem", KEY),
    ("*-key.pem", KEY),
    ("*_key.pem", KEY),
    ("*.key.pem", KEY),
    ("privkey*.pem", KEY),
    ("private*.pem", KEY),
    ("*.kdb", PASSWORDS),
    ("*.kdbx", PASSWORDS),
    (".env", "keys and passwords of a project"),
    (".env.*", "keys and passwords of a project"),
    ("*.env", "keys and passwords of a project"),
    ("secrets.env", "keys and passwords of a project"),
    ("secrets.json", "keys and passwords of a project"),
    ("secrets.toml", "keys and passwords of a project"),
    ("secrets.yaml", "keys and passwords of a project"),
    ("secrets.yml", "keys and passwords of a project"),
    (".netrc", PASSWORDS),
    ("_netrc", PASSWORDS),
    (".git-credentials", PASSWORDS),
    (".htpasswd", PASSWORDS),
    (".pgpass", "passwords of databases"),
    (".pypirc", REGISTRY),
    ("credentials.json", CLOUD),
    ("client_secret*.json", CLOUD),
    ("service-account*.json", CLOUD),
    ("service_account*.json", CLOUD),
    ("terraform.tfstate", CLOUD),
    ("terraform.tfstate.backup", CLOUD),
    ("wallet.dat", WALLET),
];

/// Of those above, what is none.
pub(super) const HARMLESS: &[&str] =
    &["~/.ssh/known_hosts", "~/.ssh/known_hosts.old", "~/.ssh/config", "~/.ssh/config.d", "~/.ssh/*.pub"];
pub(super) const HARMLESS_NAMES: &[&str] =
    &[".env.example", ".env.sample", ".env.template", ".env.dist", ".env.defaults"];

/// What everybody has who installs it: no name there makes a secret.
pub(super) const INSTALLED: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/snap",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
];

const STARTED: &str = "what is written there is run outside";

/// What may be read, and not written: commands in it are run by what is not confined.
pub(super) const RUN_OUTSIDE: &[Row] = &[
    ("~/.bash_aliases", STARTED),
    ("~/.bash_login", STARTED),
    ("~/.bash_logout", STARTED),
    ("~/.bash_profile", STARTED),
    ("~/.bashrc", STARTED),
    ("~/.config/autostart", STARTED),
    ("~/.config/environment.d", STARTED),
    ("~/.config/fish", STARTED),
    ("~/.config/git/config", STARTED),
    ("~/.config/systemd", STARTED),
    ("~/.emacs", STARTED),
    ("~/.emacs.d", STARTED),
    ("~/.gitconfig", STARTED),
    ("~/.local/bin", STARTED),
    ("~/.local/share/applications", STARTED),
    ("~/.local/share/systemd", STARTED),
    ("~/.profile", STARTED),
    ("~/.ssh", STARTED),
    ("~/.tmux.conf", STARTED),
    ("~/.vimrc", STARTED),
    ("~/.xinitrc", STARTED),
    ("~/.xprofile", STARTED),
    ("~/.xsession", STARTED),
    ("~/.zlogin", STARTED),
    ("~/.zprofile", STARTED),
    ("~/.zshenv", STARTED),
    ("~/.zshrc", STARTED),
    ("/etc/bash.bashrc", STARTED),
    ("/etc/cron*", STARTED),
    ("/etc/ld.so.preload", STARTED),
    ("/etc/profile", STARTED),
    ("/etc/profile.d", STARTED),
    ("/etc/systemd", STARTED),
    ("/var/spool/cron", STARTED),
];
/// Of those above, what is run by nobody: what ssh writes itself.
const NOT_RUN: [&str; 2] = ["~/.ssh/known_hosts", "~/.ssh/known_hosts.old"];

/// As [`secret`], for these rights: what is no secret may be run by others, once it is written.
pub fn sensitive(path: &Path, rights: Rights, world: &World<'_>) -> Option<&'static str> {
    let written = || {
        let spot = Spot::of(path, world);
        let run = RUN_OUTSIDE.iter().find(|(pattern, _)| spot.is_below(pattern));
        run.filter(|_| !NOT_RUN.iter().any(|pattern| spot.is_below(pattern))).map(|(_, what)| *what)
    };
    let writes = !(rights - Rights::RX).is_empty();
    secret(path, world).or_else(|| if writes { written() } else { None })
}

/// What is at a path, or above it, if it is a secret or the socket of a daemon that does anything for whoever reaches it.
pub fn secret(path: &Path, world: &World<'_>) -> Option<&'static str> {
    let path = &run(path);
    let spot = Spot::of(path, world);
    if HARMLESS.iter().any(|pattern| spot.is_below(pattern)) {
        return None;
    }
    let placed = placed().find(|(pattern, _)| spot.is_below(pattern));
    placed.map(|(_, what)| *what).or_else(|| by_name(path, world))
}

/// Whether a file is a secret by its name.
pub fn is_named_so(path: &Path, world: &World<'_>) -> bool {
    by_name(path, world).is_some()
}

/// Whether a folder has a secret or such a socket in it, as far as can be known without looking into every folder.
pub fn holds_secret(folder: &Path, world: &World<'_>) -> bool {
    held_in(folder, world, true).is_some()
}

/// What of it. Where more than one name would fit, it is taken to exist if `guess`.
pub(super) fn held_in(folder: &Path, world: &World<'_>, guess: bool) -> Option<&'static str> {
    let folder = &run(folder);
    if let Some(what) = secret(folder, world) {
        return Some(what);
    }
    let spot = Spot::of(folder, world);
    let named = || {
        let plain = |name: &&Row| !name.0.contains('*') && !is_installed(folder);
        let there = |(name, _): &&Row| {
            let path = folder.join(name);
            (world.exists)(&path) && !(world.is_dir)(&path)
        };
        NAMES.iter().filter(plain).find(there)
    };
    placed().find(|(pattern, _)| spot.has(pattern, world, guess)).or_else(named).map(|(_, what)| *what)
}

/// Whether the names alone of what is below tell what nobody is to know, as of which accounts there are passwords.
pub(super) fn lists_secrets(folder: &Path, world: &World<'_>) -> bool {
    let spot = Spot::of(folder, world);
    HOMES.iter().any(|(pattern, _)| spot.has(pattern, world, false))
}

/// All but the names.
pub(super) fn placed() -> impl Iterator<Item = &'static Row> {
    [HOMES, SYSTEM, SOCKETS].into_iter().flatten()
}

fn by_name(path: &Path, world: &World<'_>) -> Option<&'static str> {
    let name = path.file_name()?.as_bytes();
    let said = |pattern: &str| fits(pattern.as_bytes(), name);
    // A folder of that name is none: .env is what many call the folder of a Python environment.
    if is_installed(path) || HARMLESS_NAMES.iter().any(|name| said(name)) || (world.is_dir)(path) {
        return None;
    }
    NAMES.iter().find(|(pattern, _)| said(pattern)).map(|(_, what)| *what)
}

/// Whether it is where everybody has the same.
pub fn is_installed(path: &Path) -> bool {
    INSTALLED.iter().any(|place| path.starts_with(place)) && !path.starts_with("/usr/local")
}

/// /var/run is /run.
fn run(path: &Path) -> PathBuf {
    match path.strip_prefix("/var/run") {
        Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from("/run"),
        Ok(rest) => Path::new("/run").join(rest),
        Err(_) => path.to_owned(),
    }
}

/// Folders in which every folder is a home: /var/lib has those of daemons.
const HOMES_IN: [&str; 2] = ["/home", "/var/lib"];

/// Where a path is, so that patterns can be held against it.
pub(super) struct Spot<'a> {
    path: &'a Path,
    names: Vec<&'a OsStr>,
    /// How many of the names are a home.
    homes: Vec<usize>,
}

impl<'a> Spot<'a> {
    pub(super) fn of(path: &'a Path, world: &World<'_>) -> Spot<'a> {
        let name = |part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        };
        let names: Vec<&OsStr> = path.components().filter_map(name).collect();
        let is_home = |at: &Path| {
            let among = |all: &str| at.parent() == Some(Path::new(all));
            world.home.as_deref() == Some(at)
                || at == Path::new("/root")
                || HOMES_IN.iter().any(|all| among(all))
        };
        let homes = path.ancestors().enumerate().filter(|(_, at)| is_home(at));
        let homes = homes.map(|(below, _)| names.len() - below).collect();
        Spot { path, names, homes }
    }

    /// The names of the path from where a pattern begins, and those of the pattern.
    fn rests(&self, pattern: &'static str) -> impl Iterator<Item = &[&'a OsStr]> {
        let homes =
            self.homes.iter().map(|home| &self.names[*home..]).filter(move |_| pattern.starts_with('~'));
        homes.chain((!pattern.starts_with('~')).then_some(self.names.as_slice()))
    }

    /// Whether it is what a pattern says, or below it.
    pub(super) fn is_below(&self, pattern: &'static str) -> bool {
        self.rests(pattern).any(|rest| {
            let mut rest = rest.iter();
            parts(pattern).all(|part| rest.next().is_some_and(|name| is_like(part, name)))
        })
    }

    /// Whether something below this folder is what a pattern says, and exists, or may.
    fn has(&self, pattern: &'static str, world: &World<'_>, guess: bool) -> bool {
        let below = |rest: &[&OsStr]| {
            let mut parts = parts(pattern);
            let fits = rest.iter().all(|name| parts.next().is_some_and(|part| is_like(part, name)));
            fits && exists(self.path, parts, world, guess)
        };
        // Other homes are where every folder above is too wide.
        let home_below = |home: &Path| home != self.path && home.starts_with(self.path);
        let in_home = |home: &Path| home_below(home) && exists(home, parts(pattern), world, guess);
        self.rests(pattern).any(below)
            || (pattern.starts_with('~') && world.home.as_deref().is_some_and(in_home))
    }
}

/// The names of a pattern, but for that of the home.
fn parts(pattern: &'static str) -> impl Iterator<Item = &'static str> {
    pattern.split('/').skip(1)
}

fn exists(folder: &Path, parts: impl Iterator<Item = &'static str>, world: &World<'_>, guess: bool) -> bool {
    let mut path = folder.to_owned();
    for part in parts {
        if part == "#" || part.contains('*') {
            return guess && (world.exists)(&path);
        }
        path.push(part);
    }
    path != folder && (world.exists)(&path)
}

fn is_like(part: &str, name: &OsStr) -> bool {
    match part {
        "#" => !name.is_empty() && name.as_bytes().iter().all(u8::is_ascii_digit),
        _ => fits(part.as_bytes(), name.as_bytes()),
    }
}

/// Whether a name is that of a pattern, in which * stands for any text.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| fits(rest, &name[at..])),
        ([p, pattern @ ..], [n, name @ ..]) => p.eq_ignore_ascii_case(n) && fits(pattern, name),
        _ => pattern.is_empty() && name.is_empty(),
    }
}
