//! Real programs under `palisade run`, each with the fewest options that work, and what is refused beside.

use std::fs;

use crate::common::{each_user, found};

const DENIED: &str = "Permission denied";

#[test]
fn cat_reads_one_file_and_no_other() {
    each_user(|user| {
        let secret = user.file("secret", "hidden\n");
        user.file("in", "hello\n");
        user.run("--ro in -- cat in").said(0, "hello\n", "");
        user.run("--ro in -- cat secret").said(1, "", "cat: secret: Permission denied\n");
        user.run("--ro in -- cat /etc/passwd").said(1, "", "cat: /etc/passwd: Permission denied\n");
        user.run(&format!("--ro in -- cp in {}", secret.display())).refused(DENIED);
        assert_eq!(fs::read_to_string(secret).unwrap(), "hidden\n");
    });
}

#[test]
fn ls_lists_one_folder_and_no_other() {
    each_user(|user| {
        user.folder("d");
        user.file("d/in", "");
        user.folder("e");
        let listed = user.run("--ro d -- ls -l d");
        listed.works();
        assert!(listed.stdout.ends_with(" in\n"), "{}", listed.stdout);
        user.run("--ro d -- ls -l e").said(2, "", "ls: cannot open directory 'e': Permission denied\n");
        user.run("--ro d -- ls ..").refused(DENIED);
        user.run("--ro d -- touch d/new").refused(DENIED);
    });
}

#[test]
fn git_log_reads_the_repository_and_writes_nothing() {
    if !found(&["git"]) {
        return;
    }
    each_user(|user| {
        let git = |args: &str| {
            let mut command = user.command("git");
            command
                .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
                .args(args.split_whitespace());
            assert!(command.output().unwrap().status.success(), "git {args}");
        };
        user.folder("r");
        git("-C r init -q");
        user.file("r/f", "1\n");
        git("-C r add f");
        git("-C r commit -q -m first");
        user.file("secret", "");
        user.file(".gitconfig", "");
        user.run("--ro r --ro .gitconfig -- git -C r log --format=%s").said(0, "first\n", "");
        user.run("--ro r --ro .gitconfig -- git -C r --no-pager show --format=%s --stat").works();
        user.run("--ro r --ro .gitconfig -- git -C r tag v1").refused(DENIED);
        user.run("--ro r --ro .gitconfig -- git hash-object secret").refused(DENIED);
    });
}

#[test]
fn python_computes_and_reaches_nothing() {
    if !found(&["python3"]) {
        return;
    }
    each_user(|user| {
        user.file("secret", "hidden");
        let python = |script| user.script("--preset shared", "python3", script);
        python("import json; print(json.dumps([1]))").said(0, "[1]\n", "");
        python("open('secret')").refused("PermissionError: [Errno 13] Permission denied: 'secret'");
        python("open('new', 'w')").refused("PermissionError: [Errno 13] Permission denied: 'new'");
        python("import os; os.listdir('/etc')").refused("PermissionError: [Errno 13]");
        python("import os; os.execv('/bin/cat', ['cat'])").refused("PermissionError: [Errno 13]");
        let listen = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0))";
        python(listen).refused("PermissionError: [Errno 13] Permission denied");
        let connect = "import socket; s = socket.socket(); s.connect(('127.0.0.1', 9))";
        python(connect).refused("PermissionError: [Errno 13] Permission denied");
        user.script("--preset shared --bind-tcp 0", "python3", listen).works();
        user.script("--preset shared --connect-tcp 9", "python3", connect).refused("ConnectionRefusedError");
        assert!(!user.home().join("new").exists());
    });
}

#[test]
fn gcc_compiles_in_one_folder() {
    if !found(&["gcc"]) {
        return;
    }
    each_user(|user| {
        user.folder("d");
        user.file("d/t.c", "#include <stdio.h>\nint main(void) { return puts(\"built\") < 0; }\n");
        user.file("d/bad.c", "#include \"../secret\"\n");
        user.file("secret", "int hidden;\n");
        let gcc = |args: &str| {
            let options = "run --preset system --rw d -- env TMPDIR=d gcc";
            user.palisade(options.split_whitespace().chain(args.split_whitespace()))
        };
        gcc("-o d/t d/t.c").works();
        user.run("--rx d/t -- d/t").said(0, "built\n", "");
        gcc("-c -o d/bad.o d/bad.c").refused(DENIED);
        gcc("-o t d/t.c").refused(DENIED);
        assert!(!user.home().join("t").exists());
    });
}

#[test]
fn tar_packs_what_it_may_read_where_it_may_write() {
    if !found(&["tar"]) {
        return;
    }
    each_user(|user| {
        user.folder("in");
        user.file("in/f", "packed\n");
        user.file("secret", "hidden\n");
        user.folder("out");
        user.run("--ro in --rw out -- tar -cf out/a.tar in").works();
        user.run("--rw out -- tar -C out -xf out/a.tar").works();
        assert_eq!(fs::read_to_string(user.home().join("out/in/f")).unwrap(), "packed\n");
        user.run("--ro in --rw out -- tar -cf out/b.tar in secret")
            .refused("secret: Cannot open: Permission denied");
        user.run("--ro in --rw out -- tar -cf b.tar in").refused(DENIED);
    });
}

#[test]
fn a_bash_pipeline_runs_the_installed_system() {
    if !found(&["bash"]) {
        return;
    }
    each_user(|user| {
        user.file("in", "b\na\nb\n");
        user.folder("out");
        user.file("secret", "hidden\n");
        let bash = |script| user.script("--preset system --ro in --rw out", "bash", script);
        bash("sort in | uniq | tr a-z A-Z > out/done; cat out/done").said(0, "A\nB\n", "");
        bash("cat secret | tr a-z A-Z").said(0, "", "cat: secret: Permission denied\n");
        bash("echo x > new").refused(DENIED);
        bash("kill -0 $PPID").refused("Operation not permitted");
        let copied = "cp /bin/true out/t; chmod +x out/t; out/t";
        bash(copied).said(126, "", "bash: line 1: out/t: Permission denied\n");
    });
}
