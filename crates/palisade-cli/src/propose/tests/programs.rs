//! What real programs are refused, and what is proposed to them.

use super::*;

#[test]
fn git_clones_into_the_present_folder() {
    check(
        "git clone",
        &System::new("/home/u/src"),
        &[
            "make_dir:/home/u/src",
            "read_file:/home/u/.gitconfig",
            "read_file:/home/u/.config/git/config",
            "exec: execute,read_file:/usr/lib/git-core/git-remote-https",
            "exec: execute,read_file:/usr/bin/dash",
            "read_file:/usr/share/git-core/templates/description",
            "read_dir:/usr/share/git-core/templates",
            "read_file:/etc/ssl/certs/ca-certificates.crt",
            "read_file:/etc/resolv.conf",
            "read_file:/etc/hosts",
            "connect_send_udp=53 bind_udp=0",
            "connect_tcp=443",
            "read_file:/home/u/.git-credentials",
        ],
        "--preset dns,system --ro /home/u/.config/git/config --ro /home/u/.gitconfig --rw /home/u/src \
         --connect-tcp 443",
        &["secret /home/u/.git-credentials: saved passwords"],
    );
}

#[test]
fn python_makes_an_environment() {
    check(
        "python3 -m venv .env",
        &System::new("/home/u/src/app").with(&["/home/u/src/app/.env/bin/"]),
        &[
            "make_dir:/home/u/src/app",
            "make_dir:/home/u/src/app/.env",
            "make_sym:/home/u/src/app/.env/bin",
            "write_file,make_reg:/home/u/src/app/.env",
            "exec: execute,read_file:/home/u/src/app/.env/bin/python3",
            "exec: execute,read_file:/usr/bin/python3.13",
            "read_dir:/usr/lib/python3.13",
            "read_file:/usr/lib/python3.13/venv/__main__.py",
            "make_dir:/tmp",
            "read_file:/dev/urandom",
        ],
        "--preset system,tmp --rx /home/u/src/app/.env/bin/python3 --rw /home/u/src/app",
        &[],
    );
}

#[test]
fn gcc_compiles() {
    check(
        "gcc -o a.out a.c",
        &System::new("/home/u/src/app"),
        &[
            "read_file:/home/u/src/app/a.c",
            "exec: execute,read_file:/usr/libexec/gcc/x86_64-linux-gnu/14/cc1",
            "exec: execute,read_file:/usr/bin/as",
            "read_file:/usr/include/stdio.h",
            "make_reg,write_file:/tmp",
            "remove_file:/tmp",
            "write_file,make_reg:/home/u/src/app",
        ],
        "--preset system,tmp --rw /home/u/src/app",
        &[],
    );
}

#[test]
fn curl_fetches() {
    check(
        "curl https://example.org",
        &System::new("/home/u"),
        &[
            "read_file:/etc/ssl/openssl.cnf",
            "read_file:/etc/ssl/certs/ca-certificates.crt",
            "read_file:/etc/nsswitch.conf",
            "read_file:/etc/hosts",
            "read_file:/etc/resolv.conf",
            "connect_send_udp=53 bind_udp=0",
            "connect_tcp=443",
            "read_file:/home/u/.curlrc",
            "read_file:/home/u/.netrc",
        ],
        "--preset dns,certs --ro /home/u/.curlrc --connect-tcp 443",
        &["secret /home/u/.netrc: saved passwords"],
    );
}

#[test]
fn tar_unpacks_into_a_folder() {
    let wanted = [
        "read_file:/home/u/Downloads/app.tar.gz",
        "exec: execute,read_file:/usr/bin/gzip",
        "make_dir:/home/u/src/out",
        "write_file,make_reg:/home/u/src/out",
        "make_sym:/home/u/src/out",
        "read_file:/etc/passwd",
        "read_file:/etc/group",
    ];
    let words = "--preset system --ro /home/u/Downloads/app.tar.gz --rw /home/u/src/out";
    check("tar -C out", &System::new("/home/u/src"), &wanted, words, &[]);
    let wanted = ["make_dir:/home/u", "read_file:/home/u/app.tar.gz"];
    check("tar at home", &System::new("/home/u"), &wanted, "--ro /home/u/app.tar.gz", &["wide /home/u"]);
}

#[test]
fn sqlite_makes_a_database_and_its_journal() {
    let words = "--rw /srv/app";
    let made = ["write_file,read_file,make_reg:/srv/app", "remove_file:/srv/app"];
    check("sqlite3 new.db", &System::new("/srv/app"), &made, words, &[]);
    // The database is there; its journal is not.
    let written = ["write_file,read_file:/srv/app/old.db", "write_file,read_file,make_reg:/srv/app"];
    check("sqlite3 old.db", &System::new("/srv/app"), &written, words, &[]);
    // Only read: no journal.
    check(
        "sqlite3 -readonly",
        &System::new("/srv/app"),
        &["read_file:/srv/app/old.db"],
        "--ro /srv/app/old.db",
        &[],
    );
}

#[test]
fn vim_edits_in_a_terminal() {
    check(
        "vim notes",
        &System::new("/home/u/src/app"),
        &[
            "read_file,write_file:/dev/tty",
            "ioctl_dev:/dev/pts/3",
            "read_file:/usr/share/terminfo/x/xterm-256color",
            "read_file:/usr/share/vim/vim91/defaults.vim",
            "read_file:/usr/share/vim/vim91/syntax/syntax.vim",
            "read_dir:/usr/share/vim/vim91/plugin",
            "read_file:/etc/vim/vimrc",
            "read_file:/home/u/.vimrc",
            "read_file:/home/u/.viminfo",
            "write_file,make_reg:/home/u",
            "write_file,make_reg:/home/u/src/app",
            "remove_file:/home/u/src/app",
            "resolve_unix:/tmp/.X11-unix/X0",
        ],
        "--preset tty,pty --ro /etc/vim/vimrc --ro /home/u/.viminfo --ro /home/u/.vimrc \
         --ro /usr/share/vim --rw /home/u/src/app",
        &["wide /home/u", "secret /tmp/.X11-unix/X0: the screen and the keyboard"],
    );
}

#[test]
fn a_program_reads_twenty_files_of_a_folder() {
    let wanted: Vec<String> = (0..20).map(|n| format!("read_file:/home/u/photos/{n:02}.jpg")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    check("photos", &System::new("/home/u/src"), &wanted, "--ro /home/u/photos", &[]);
    // Where everything is, each is named.
    let wanted: Vec<String> = (0..20).map(|n| format!("read_file:/home/u/Pictures/{n:02}.jpg")).collect();
    let words: Vec<String> = (0..20).map(|n| format!("--ro /home/u/Pictures/{n:02}.jpg")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    check("Pictures", &System::new("/home/u/src"), &wanted, &words.join(" "), &[]);
}

#[test]
fn an_application_has_its_folders_in_a_home() {
    check(
        "app",
        &System::new("/home/u/src"),
        &[
            "read_file:/home/u/.config/app/app.toml",
            "make_reg,write_file:/home/u/.config/app",
            "refer,remove_file:/home/u/.config/app refer,make_reg:/home/u/.cache/app",
            "read_dir:/home/u/.local/share/app",
            "make_dir:/home/u/.local/state",
            "read_dir:/home/u/.config",
        ],
        "--ro /home/u/.local/share/app --rw /home/u/.cache/app --rw /home/u/.config/app --allow read_dir:/home/u/.config",
        &["wide /home/u/.local/state"],
    );
}

#[test]
fn cargo_is_not_given_the_folder_of_its_key() {
    let cargo = System::new("/home/u/src/app").with(&["/home/u/.cargo/credentials.toml"]);
    check(
        "cargo build",
        &cargo,
        &[
            "make_reg,write_file:/home/u/.cargo",
            "read_dir:/home/u/.cargo/registry",
            "make_dir:/home/u/src/app",
            "read_file:/home/u/.cargo/credentials.toml",
        ],
        "--ro /home/u/.cargo/registry --rw /home/u/src/app",
        &[
            "wide /home/u/.cargo: a key to publish packages with",
            "secret /home/u/.cargo/credentials.toml: a key to publish packages with",
        ],
    );
}

#[test]
fn a_daemon_is_reached_unless_it_does_anything() {
    check(
        "sockets",
        &System::new("/srv/app"),
        &[
            "resolve_unix:/run/postgresql/.s.PGSQL.5432",
            "resolve_unix:/run/docker.sock",
            "resolve_unix:/run/dbus/system_bus_socket",
            "resolve_unix:/tmp/tmux-1000/default",
            "resolve_unix:/run/user/1000/bus",
            "resolve_unix:/run/user/1000/pulse/native",
        ],
        "--unix /run/postgresql/.s.PGSQL.5432 --unix /run/user/1000/pulse/native",
        &[
            "secret /run/docker.sock: a daemon that starts containers as root",
            "secret /run/dbus/system_bus_socket: the bus, by which other programs are told what to do",
            "secret /tmp/tmux-1000/default: other terminals, in which anything can be typed",
            "secret /run/user/1000/bus: the bus, by which other programs are told what to do",
        ],
    );
}

#[test]
fn ssh_gets_what_is_no_key() {
    check(
        "ssh host",
        &System::new("/home/u/src"),
        &[
            "read_file:/home/u/.ssh/config",
            "read_file:/home/u/.ssh/known_hosts",
            "read_file:/home/u/.ssh/id_ed25519",
            "read_file:/home/u/.ssh/id_ed25519.pub",
            "read_file:/home/u/.ssh/id_rsa.pub",
            "make_reg,write_file:/home/u/.ssh",
            "connect_tcp=22",
        ],
        "--ro /home/u/.ssh/config --ro /home/u/.ssh/id_ed25519.pub --ro /home/u/.ssh/id_rsa.pub \
         --ro /home/u/.ssh/known_hosts --connect-tcp 22",
        &["secret /home/u/.ssh/id_ed25519: SSH keys", "secret /home/u/.ssh: SSH keys"],
    );
}
