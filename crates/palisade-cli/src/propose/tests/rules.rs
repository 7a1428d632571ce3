//! One rule at a time: what was refused, and the options for it.

use super::*;

/// What is there, what was refused, the options, and what is held.
type Row = (&'static [&'static str], &'static [&'static str], &'static str, &'static [&'static str]);

fn hold(name: &str, rows: &[Row]) {
    for (there, wanted, words, held) in rows {
        let system = System::new("/srv/app").with(there);
        check(&format!("{name}: {wanted:?}"), &system, wanted, words, held);
    }
}

#[test]
fn rights_on_a_path_become_one_option() {
    hold(
        "paths",
        &[
            (&[], &[], "", &[]),
            (&[], &["read_file:/srv/app/a"], "--ro /srv/app/a", &[]),
            (&[], &["read_dir:/srv/app"], "--ro /srv/app", &[]),
            // Of a file that is made there.
            (&["/srv/x/"], &["read_file:/srv/x"], "--ro /srv/x", &[]),
            (&[], &["execute,read_file:/srv/app/run"], "--rx /srv/app/run", &[]),
            (&[], &["execute:/srv/app/run"], "--rx /srv/app/run", &[]),
            (&[], &["write_file:/srv/app/log"], "--rw /srv/app/log", &[]),
            (&[], &["truncate:/srv/app/log"], "--rw /srv/app/log", &[]),
            (&[], &["write_file,make_reg:/srv/x"], "--rw /srv/x", &[]),
            (&[], &["remove_dir:/srv/x"], "--rw /srv/x", &[]),
            (&[], &["refer,remove_file:/srv/x refer,make_reg:/srv/y"], "--rw /srv/x --rw /srv/y", &[]),
            (&[], &["read_file:/srv/a", "execute:/srv/a"], "--rx /srv/a", &[]),
            (&[], &["execute:/srv/a", "write_file:/srv/a"], "--rwx /srv/a", &[]),
            (&[], &["ioctl_dev,read_file:/dev/x"], "--allow read_file,ioctl_dev:/dev/x", &[]),
            (&[], &["read_file:/dev/x", "ioctl_dev:/dev/x"], "--allow read_file,ioctl_dev:/dev/x", &[]),
            (&[], &["make_char,make_reg:/srv/x"], "--rw /srv/x --allow make_char:/srv/x", &[]),
            (&[], &["make_block:/srv/x"], "--allow make_block:/srv/x", &[]),
            (&[], &["resolve_unix:/run/app/s"], "--unix /run/app/s", &[]),
            (&["/run/app/"], &["resolve_unix:/run/app"], "--unix /run/app", &[]),
        ],
    );
}

#[test]
fn what_is_covered_is_left_out() {
    hold(
        "covered",
        &[
            (&[], &["read_dir:/srv/app", "read_file:/srv/app/a/b"], "--ro /srv/app", &[]),
            (&[], &["make_reg:/srv/app", "truncate:/srv/app/a", "read_dir:/srv/app/d"], "--rw /srv/app", &[]),
            (&[], &["read_dir:/srv/app", "write_file:/srv/app/a"], "--ro /srv/app --rw /srv/app/a", &[]),
            // The folder has the writing.
            (&[], &["make_reg:/srv/app", "execute:/srv/app/a"], "--rx /srv/app/a --rw /srv/app", &[]),
            (
                &[],
                &["read_dir:/srv/app", "read_file,ioctl_dev:/srv/app/a"],
                "--ro /srv/app --allow ioctl_dev:/srv/app/a",
                &[],
            ),
            (&[], &["read_dir:/var/lib", "read_dir:/var/lib/app"], "--allow read_dir:/var/lib", &[]),
            (&[], &["read_dir:/var", "read_dir:/var/lib"], "--allow read_dir:/var", &[]),
            (
                &["/run/app/", "/run/other/s"],
                &["resolve_unix:/run/app", "resolve_unix:/run/app/s", "resolve_unix:/run/other/s"],
                "--unix /run/app --unix /run/other/s",
                &[],
            ),
            // A folder's name is not that of another.
            (&[], &["read_dir:/srv/app", "read_file:/srv/app2"], "--ro /srv/app --ro /srv/app2", &[]),
        ],
    );
}

#[test]
fn many_of_a_folder_become_the_folder() {
    hold(
        "many",
        &[
            (
                &[],
                &["read_file:/opt/a/1", "read_file:/opt/a/2", "read_file:/opt/a/3"],
                "--ro /opt/a/1 --ro /opt/a/2 --ro /opt/a/3",
                &[],
            ),
            (
                &[],
                &["read_file:/opt/a/1", "read_file:/opt/a/2", "read_file:/opt/a/3", "read_file:/opt/a/4"],
                "--ro /opt/a",
                &[],
            ),
            (
                &[],
                &["execute:/opt/a/1", "execute:/opt/a/2", "execute:/opt/a/3", "execute:/opt/a/4"],
                "--rx /opt/a",
                &[],
            ),
            (
                &[],
                &["write_file:/opt/a/1", "write_file:/opt/a/2", "write_file:/opt/a/3", "write_file:/opt/a/4"],
                "--rw /opt/a",
                &[],
            ),
            // What is only read is neither written nor executed after.
            (
                &[],
                &[
                    "write_file:/opt/a/1",
                    "write_file:/opt/a/2",
                    "write_file:/opt/a/3",
                    "write_file:/opt/a/4",
                    "read_file:/opt/a/5",
                ],
                "--ro /opt/a/5 --rw /opt/a/1 --rw /opt/a/2 --rw /opt/a/3 --rw /opt/a/4",
                &[],
            ),
            (
                &[],
                &[
                    "execute:/opt/a/1",
                    "execute:/opt/a/2",
                    "execute:/opt/a/3",
                    "execute:/opt/a/4",
                    "read_file:/opt/a/b/5",
                ],
                "--ro /opt/a/b/5 --rx /opt/a/1 --rx /opt/a/2 --rx /opt/a/3 --rx /opt/a/4",
                &[],
            ),
            // What is written is written all the same.
            (
                &[],
                &[
                    "read_file:/opt/a/1",
                    "read_file:/opt/a/2",
                    "read_file:/opt/a/3",
                    "read_file:/opt/a/4",
                    "write_file:/opt/a/5",
                ],
                "--ro /opt/a --rw /opt/a/5",
                &[],
            ),
            // Upwards, but not to what is too wide.
            (
                &[],
                &["read_dir:/opt/a/1", "read_dir:/opt/a/2", "read_dir:/opt/a/3", "read_dir:/opt/a/4"],
                "--ro /opt/a",
                &[],
            ),
            (
                &[],
                &[
                    "read_dir:/opt/a/x/1",
                    "read_dir:/opt/a/x/2",
                    "read_dir:/opt/a/x/3",
                    "read_dir:/opt/a/x/4",
                    "read_dir:/opt/a/1",
                    "read_dir:/opt/a/2",
                    "read_dir:/opt/a/3",
                ],
                "--ro /opt/a",
                &[],
            ),
            (
                &[],
                &["read_dir:/opt/1", "read_dir:/opt/2", "read_dir:/opt/3", "read_dir:/opt/4"],
                "--ro /opt/1 --ro /opt/2 --ro /opt/3 --ro /opt/4",
                &[],
            ),
            // A disk of its own, for all that is known.
            (
                &[],
                &["read_dir:/data/1", "read_dir:/data/2", "read_dir:/data/3", "read_dir:/data/4"],
                "--ro /data/1 --ro /data/2 --ro /data/3 --ro /data/4",
                &[],
            ),
            // Nor where a secret is, or one is asked for.
            (
                &["/opt/a/id_rsa"],
                &["read_file:/opt/a/1", "read_file:/opt/a/2", "read_file:/opt/a/3", "read_file:/opt/a/4"],
                "--ro /opt/a/1 --ro /opt/a/2 --ro /opt/a/3 --ro /opt/a/4",
                &[],
            ),
            (
                &[],
                &[
                    "read_file:/opt/a/1",
                    "read_file:/opt/a/2",
                    "read_file:/opt/a/3",
                    "read_file:/opt/a/4",
                    "read_file:/opt/a/b/x.key",
                ],
                "--ro /opt/a/1 --ro /opt/a/2 --ro /opt/a/3 --ro /opt/a/4",
                &["secret /opt/a/b/x.key: a private key"],
            ),
        ],
    );
}

#[test]
fn many_of_the_present_folder_become_it() {
    let wanted = ["read_file:/data/1", "read_file:/data/2", "read_file:/data/3", "read_file:/data/4"];
    check("the present folder", &System::new("/data"), &wanted, "--ro /data", &[]);
}

#[test]
fn what_is_made_in_a_wide_folder_is_held() {
    hold(
        "wide",
        &[
            (&[], &["make_reg:/home/u"], "", &["wide /home/u"]),
            (&[], &["make_dir:/home/u/.config"], "", &["wide /home/u/.config"]),
            (&[], &["write_file,make_reg:/etc"], "", &["wide /etc"]),
            (&[], &["read_file:/etc"], "", &["wide /etc"]),
            (&[], &["ioctl_dev:/dev"], "", &["wide /dev"]),
            (&[], &["resolve_unix:/run"], "", &["wide /run"]),
            (
                &["/run/docker.sock"],
                &["resolve_unix:/run"],
                "",
                &["wide /run: a daemon that starts containers as root"],
            ),
            (&["/etc/shadow"], &["make_reg:/etc"], "", &["wide /etc: the system's passwords"]),
            (
                &["/srv/app/.env"],
                &["make_reg:/srv/app"],
                "",
                &["wide /srv/app: keys and passwords of a project"],
            ),
            (&[], &["read_dir:/etc"], "--allow read_dir:/etc", &[]),
            (&[], &["read_dir:/home/u"], "", &["wide /home/u"]),
            (&[], &["read_dir:/"], "", &["wide /"]),
            // The listing goes along with what is made there.
            (&[], &["read_dir:/etc", "make_reg:/etc"], "--allow read_dir:/etc", &["wide /etc"]),
            // Half of a move is of no use.
            (&[], &["remove_file:/srv/app make_reg:/home/u"], "", &["wide /home/u"]),
            (
                &[],
                &["remove_file:/tmp make_reg:/home/u", "read_file:/tmp/a"],
                "--ro /tmp/a",
                &["wide /tmp", "wide /home/u"],
            ),
        ],
    );
}

#[test]
fn what_is_made_in_tmp_takes_its_preset() {
    hold(
        "tmp",
        &[
            (&[], &["make_dir:/tmp"], "--preset tmp", &[]),
            (&[], &["make_reg,write_file:/tmp", "read_file:/tmp/x/y"], "--preset tmp", &[]),
            (&[], &["read_file:/tmp/x", "write_file:/tmp/y"], "--ro /tmp/x --rw /tmp/y", &[]),
            (&[], &["read_dir:/tmp"], "--allow read_dir:/tmp", &[]),
            (&[], &["make_reg:/var/tmp"], "", &["wide /var/tmp"]),
            (&[], &["execute,make_reg:/tmp"], "", &["wide /tmp"]),
            (&[], &["make_reg:/tmp", "execute:/tmp/x"], "--preset tmp --rx /tmp/x", &[]),
            (&[], &["refer,remove_file:/tmp refer,make_reg:/srv/app"], "--preset tmp --rw /srv/app", &[]),
            (&[], &["make_reg:/tmp/x"], "--rw /tmp/x", &[]),
            // It has no sockets.
            (
                &[],
                &["make_reg:/tmp", "resolve_unix:/tmp/tmux-0/default"],
                "--preset tmp",
                &["secret /tmp/tmux-0/default: other terminals, in which anything can be typed"],
            ),
            (
                &[],
                &["make_reg:/tmp", "read_file:/tmp/x/id_rsa"],
                "",
                &["wide /tmp: a private key", "secret /tmp/x/id_rsa: a private key"],
            ),
        ],
    );
}

#[test]
fn presets_are_for_two_or_for_what_they_alone_give() {
    hold(
        "presets",
        &[
            (&[], &["read_file:/etc/hosts"], "--ro /etc/hosts", &[]),
            (&[], &["read_file:/etc/hosts", "read_file:/etc/hosts"], "--ro /etc/hosts", &[]),
            (&[], &["read_file:/etc/hosts", "read_file:/etc/resolv.conf"], "--preset dns", &[]),
            (&[], &["connect_send_udp=53 bind_udp=0"], "--connect-udp 53", &[]),
            (&[], &["connect_send_udp=53 bind_udp=0", "read_file:/etc/resolv.conf"], "--preset dns", &[]),
            (&[], &["read_file,write_file:/dev/tty"], "--preset tty", &[]),
            (&[], &["ioctl_dev:/dev/tty"], "--preset tty", &[]),
            (&[], &["read_file,write_file,ioctl_dev:/dev/ptmx"], "--preset pty", &[]),
            (&[], &["read_file,write_file:/dev/pts/7"], "--preset pty", &[]),
            (&[], &["read_file:/usr/share/terminfo/x/xterm"], "--ro /usr/share/terminfo", &[]),
            (&[], &["read_file:/etc/ssl/openssl.cnf", "read_dir:/etc/ssl/certs"], "--preset certs", &[]),
            (&[], &["read_file:/proc/stat", "read_file:/proc/meminfo"], "--preset vminfo", &[]),
            (&[], &["read_file:/etc/localtime", "read_file:/dev/urandom"], "--preset stdio", &[]),
            (&[], &["read_file:/usr/lib/a.so", "read_file:/usr/lib/b.so"], "--preset shared", &[]),
            (&[], &["exec: execute,read_file:/usr/bin/ls"], "--preset system", &[]),
            (&[], &["execute,read_file:/usr/bin/ls"], "--rx /usr/bin/ls", &[]),
            (&[], &["exec: execute,read_file:/srv/app/run"], "--rx /srv/app/run", &[]),
            (
                &[],
                &["read_file:/usr/share/a/1", "read_file:/usr/share/a/2", "read_file:/usr/share/b"],
                "--ro /usr/share/a --ro /usr/share/b",
                &[],
            ),
            (
                &[],
                &[
                    "read_file:/usr/share/a",
                    "read_file:/etc/passwd",
                    "read_file:/etc/group",
                    "read_file:/etc/os-release",
                ],
                "--preset system",
                &[],
            ),
            // It has what the smaller ones were for.
            (
                &[],
                &[
                    "exec: execute:/usr/bin/ls",
                    "read_file:/usr/lib/a.so",
                    "read_file:/usr/lib/b.so",
                    "read_file:/etc/hosts",
                    "read_file:/etc/services",
                ],
                "--preset system",
                &[],
            ),
            (
                &[],
                &["exec: execute:/usr/bin/ls", "read_file:/etc/hosts", "read_file:/etc/resolv.conf"],
                "--preset dns,system",
                &[],
            ),
        ],
    );
}

#[test]
fn ports_are_sorted_and_rows_of_them_are_ranges() {
    hold(
        "ports",
        &[
            (&[], &["connect_tcp=443", "connect_tcp=80", "connect_tcp=443"], "--connect-tcp 80,443", &[]),
            (&[], &["bind_tcp=81", "bind_tcp=80"], "--bind-tcp 80,81", &[]),
            (&[], &["bind_tcp=82", "bind_tcp=80", "bind_tcp=81", "bind_tcp=90"], "--bind-tcp 80-82,90", &[]),
            (&[], &["bind_tcp=7-9", "bind_tcp=8-12"], "--bind-tcp 7-12", &[]),
            (&[], &["connect_tcp=65535", "connect_tcp=any"], "--connect-tcp any", &[]),
            (&[], &["connect_tcp=65534-65535", "bind_tcp=0"], "--connect-tcp 65534,65535 --bind-tcp 0", &[]),
            (&[], &["connect_send_udp=123 bind_udp=0"], "--connect-udp 123", &[]),
            (&[], &["bind_udp=0"], "--bind-udp 0", &[]),
            (
                &[],
                &["connect_send_udp=123", "bind_udp=0", "bind_udp=68"],
                "--connect-udp 123 --bind-udp 68",
                &[],
            ),
            (&[], &["signal", "abstract", "signal"], "--unrestricted abstract,signal", &[]),
        ],
    );
}

#[test]
fn options_are_in_order() {
    let wanted = [
        "signal",
        "bind_tcp=1",
        "connect_tcp=2",
        "resolve_unix:/run/app/s",
        "ioctl_dev:/dev/x",
        "write_file,execute:/srv/app/e",
        "write_file:/srv/app/d",
        "write_file:/srv/app/c",
        "execute:/srv/app/b",
        "read_file:/srv/app/z",
        "read_file:/srv/app/a",
        "make_reg:/tmp",
        "ioctl_dev:/dev/tty",
    ];
    let words = "--preset tty,tmp --ro /srv/app/a --ro /srv/app/z --rx /srv/app/b --rw /srv/app/c --rw /srv/app/d \
                 --rwx /srv/app/e --allow ioctl_dev:/dev/x --unix /run/app/s --connect-tcp 2 --bind-tcp 1 \
                 --unrestricted signal";
    check("order", &System::new("/srv/app"), &wanted, words, &[]);
}

#[test]
fn what_is_gone_or_of_a_process_is_held() {
    let system = System::new("/srv/app");
    let wanted = all_wanted(&["read_file:/proc/7/stat", "read_file:/proc/7/gone"]);
    let proposal = system.clone().with(&["/proc/7/stat"]).propose(&wanted);
    let reasons: Vec<String> = proposal.held.iter().map(|(_, held)| reason(held)).collect();
    assert_eq!(reasons, ["fleeting /proc/7/stat", "fleeting /proc/7/gone"]);
    assert_eq!(proposal.options, []);
}

#[test]
fn each_option_says_whom_it_serves() {
    let wanted = all_wanted(&[
        "make_reg:/srv/app",
        "read_file:/etc/hosts",
        "write_file:/srv/app/a",
        "connect_send_udp=53 bind_udp=0",
        "refer,remove_file:/srv/app/b refer,make_reg:/srv/x",
    ]);
    let proposal = System::new("/srv/app").having(&wanted).propose(&wanted);
    let said: Vec<(String, Vec<usize>)> =
        proposal.options.into_iter().map(|option| (quote::words(option.words), option.serves)).collect();
    let expected = [("--preset dns", vec![1, 3]), ("--rw /srv/app", vec![0, 2, 4]), ("--rw /srv/x", vec![4])];
    assert_eq!(said, expected.map(|(words, serves)| (words.to_owned(), serves)));
}

#[test]
fn a_shell_takes_the_words_as_they_are_meant() {
    let paths = ["/srv/app/a b", "/srv/app/it's", "/srv/app/$HOME", "/srv/app/\u{1b}[1m", "/srv/app/a,b:c"];
    let wanted: Vec<Wanted> = [Rights::WRITE_FILE, Rights::IOCTL_DEV, Rights::RESOLVE_UNIX]
        .into_iter()
        .flat_map(|rights| paths.map(|path| Grant::Path { rights, path: path.into() }))
        .map(|grant| Wanted { grants: vec![grant], executes: false })
        .collect();
    // So few that none is folded.
    for wanted in wanted.chunks(3) {
        let words = in_words(&System::new("/srv/other").having(wanted).propose(wanted).options);
        let script = format!("printf '%s\\0' {}", quote::words(&words));
        let out = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        let expected: Vec<u8> =
            words.iter().flat_map(|word| [word.as_encoded_bytes(), b"\0"].concat()).collect();
        assert_eq!(out.stdout, expected);
        assert!(wanted.iter().all(|wanted| Said::read(&words).allow(wanted)), "{words:?}");
    }
}
