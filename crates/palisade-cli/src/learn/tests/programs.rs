//! The rules of programs as there are, to the letter.

use super::*;

/// Holds the rules against what is expected, and against all that was used.
fn check(tree: &Tree, fold: Fold, expected: &[&str]) {
    let lessons = tree.learned(fold);
    assert_eq!(lessons.said(), expected, "{fold:?}");
    assert_eq!(lessons.refused(&lessons.domain(&lessons.rules)), [""; 0], "{fold:?}");
    assert_eq!(lessons.not_learned, []);
}

#[test]
fn a_compiler() {
    let headers = ["a", "b", "c", "d", "e"].map(|name| format!("opt/cc/include/{name}.h"));
    let mut paths: Vec<&str> = headers.iter().map(String::as_str).collect();
    paths.extend(["srv/project/src/main.c", "srv/project/src/lib.h", "opt/cc/bin/ld", "home/u/.netrc"]);
    let mut tree = Tree::new("srv/project/", &paths);
    tree.reads("/opt/cc", "srv/project/src/main.c");
    tree.reads("/opt/cc", "srv/project/src/lib.h");
    headers.iter().for_each(|header| tree.reads("/opt/cc", header));
    tree.creates("/opt/cc", "srv/project/a.o");
    tree.executes("/opt/cc", "opt/cc/bin/ld");
    tree.reads("/opt/ld", "srv/project/a.o");
    tree.creates("/opt/ld", "srv/project/a.out");
    tree.truncates("/opt/ld", "srv/project/a.out");
    tree.deletes("/opt/cc", "srv/project/a.o");
    check(
        &tree,
        Fold::Folder,
        &[
            "rx:opt/cc/bin/ld  # cc: execute, read, once",
            "r:opt/cc/include  # cc: read, 5 times",
            "rw,remove_file,make_reg:srv/project  # cc, ld: write, read, delete, make, 7 times",
        ],
    );
    check(
        &tree,
        Fold::Exact,
        &[
            "execute,read_file:opt/cc/bin/ld  # cc: execute, read, once",
            "read_file:opt/cc/include/a.h  # cc: read, once",
            "read_file:opt/cc/include/b.h  # cc: read, once",
            "read_file:opt/cc/include/c.h  # cc: read, once",
            "read_file:opt/cc/include/d.h  # cc: read, once",
            "read_file:opt/cc/include/e.h  # cc: read, once",
            "write_file,read_file,remove_file,make_reg,truncate:srv/project  # cc, ld: write, read, delete, make, 7 times",
        ],
    );
}

#[test]
fn a_server() {
    let files =
        ["etc/app/app.conf", "etc/app/server.key", "var/log/app/app.log", "srv/app/index.html", "run/app/"];
    let mut tree = Tree::new("srv/app/", &files);
    tree.reads("/bin/serve", "etc/app/app.conf");
    tree.reads("/bin/serve", "etc/app/server.key");
    tree.opens("/bin/serve", "var/log/app/app.log", Open::WRITE);
    tree.binds("/bin/serve", "run/app/app.sock");
    tree.asks("/bin/serve", Request::bind_tcp(8080));
    for _ in 0..3 {
        tree.reads("/bin/serve", "srv/app/index.html");
    }
    tree.asks("/bin/resolve", Request::connect_udp(53, false));
    tree.asks("/bin/serve", Request::signal());
    check(
        &tree,
        Fold::Folder,
        &[
            "r:etc/app/app.conf  # serve: read, once",
            "r:etc/app/server.key  # serve: read, once",
            "remove_file,make_sock:run/app  # serve: make, once",
            "r:srv/app/index.html  # serve: read, 3 times",
            "w:var/log/app/app.log  # serve: write, once",
            "resolve_unix:run/app  # serve: connect, once",
            "bind_tcp=8080  # serve: listen, once",
            "connect_send_udp=53  # resolve: send, once",
            "signal  # serve: signal, once",
        ],
    );
    check(
        &tree,
        Fold::Exact,
        &[
            "read_file:etc/app/app.conf  # serve: read, once",
            "read_file:etc/app/server.key  # serve: read, once",
            "make_sock:run/app  # serve: make, once",
            "read_file:srv/app/index.html  # serve: read, 3 times",
            "write_file:var/log/app/app.log  # serve: write, once",
            "resolve_unix:run/app  # serve: connect, once",
            "bind_tcp=8080  # serve: listen, once",
            "connect_send_udp=53  # resolve: send, once",
            "signal  # serve: signal, once",
        ],
    );
}

#[test]
fn an_editor() {
    let files = ["home/u/.vimrc", "home/u/.ssh/id_ed25519", "home/u/notes/todo", "home/u/notes/other"];
    let mut tree = Tree::new("home/u/notes/", &files);
    tree.reads("/bin/edit", "home/u/.vimrc");
    tree.lists("/bin/edit", "home/u/notes");
    tree.creates("/bin/edit", "home/u/notes/.todo.swp");
    tree.reads("/bin/edit", "home/u/notes/todo");
    tree.creates("/bin/edit", "home/u/notes/todo.new");
    tree.renames("/bin/edit", "home/u/notes/todo.new", "home/u/notes/todo");
    tree.deletes("/bin/edit", "home/u/notes/.todo.swp");
    check(
        &tree,
        Fold::Folder,
        &[
            "r:home/u/.vimrc  # edit: read, once",
            "rw,remove_file,make_reg:home/u/notes  # edit: write, read, list, delete, make, 6 times",
        ],
    );
    check(
        &tree,
        Fold::Exact,
        &[
            "read_file:home/u/.vimrc  # edit: read, once",
            "write_file,read_dir,remove_file,make_reg,truncate:home/u/notes  # edit: write, list, delete, make, 5 times",
            "read_file:home/u/notes/todo  # edit: read, once",
        ],
    );
}

/// One that writes right into its home reads nothing there.
#[test]
fn a_shell() {
    let files = ["home/u/.bashrc", "home/u/.bash_history", "home/u/.ssh/id_ed25519", "home/u/.ssh/config"];
    let mut tree = Tree::new("home/u/", &files);
    tree.reads("/bin/bash", "home/u/.bashrc");
    tree.reads("/bin/bash", "home/u/.bash_history");
    tree.opens("/bin/bash", "home/u/.bash_history", Open::WRITE);
    tree.truncates("/bin/bash", "home/u/.bash_history");
    tree.reads("/bin/ssh", "home/u/.ssh/config");
    tree.creates("/bin/bash", "home/u/out");
    check(
        &tree,
        Fold::Folder,
        &[
            "write_file,make_reg,truncate:home/u  # bash: write, make, 3 times",
            "r:home/u/.bash_history  # bash: read, once",
            "r:home/u/.bashrc  # bash: read, once",
            "r:home/u/.ssh/config  # ssh: read, once",
        ],
    );
    check(
        &tree,
        Fold::Exact,
        &[
            "write_file,make_reg,truncate:home/u  # bash: write, make, 3 times",
            "read_file:home/u/.bash_history  # bash: read, once",
            "read_file:home/u/.bashrc  # bash: read, once",
            "read_file:home/u/.ssh/config  # ssh: read, once",
        ],
    );
}

/// Of what a program makes no rule has the name, but the folder; of what it reads and removes too.
#[test]
fn a_build() {
    let mut tree =
        Tree::new("srv/project/", &["srv/project/src/a", "srv/project/src/b", "srv/project/old/x"]);
    tree.lists("/bin/make", "srv/project/src");
    tree.reads("/bin/make", "srv/project/src/a");
    tree.reads("/bin/make", "srv/project/src/b");
    tree.reads("/bin/make", "srv/project/old/x");
    tree.deletes("/bin/make", "srv/project/old/x");
    tree.makes_folder("/bin/make", "srv/project/out");
    tree.makes_folder("/bin/make", "srv/project/out/deep");
    tree.creates("/bin/make", "srv/project/out/deep/a");
    tree.lists("/bin/make", "srv/project/out");
    tree.executes("/bin/make", "srv/project/out/deep/a");
    check(
        &tree,
        Fold::Folder,
        &[
            "rwx,remove_dir,remove_file,make_dir,make_reg:srv/project  # make: execute, write, read, list, delete, make, 10 times",
        ],
    );
    check(
        &tree,
        Fold::Exact,
        &[
            "execute,write_file,read_file,read_dir,make_dir,make_reg,truncate:srv/project  # make: execute, write, read, list, make, 9 times",
            "remove_file:srv/project/old  # make: delete, once",
        ],
    );
}

/// A folder with a secret is granted file by file, however many are read.
#[test]
fn a_secret_beside() {
    let files = ["srv/app/conf/a", "srv/app/conf/b", "srv/app/conf/c", "srv/app/conf/d", "srv/app/conf/.env"];
    let mut tree = Tree::new("srv/app/", &files);
    ["a", "b", "c", "d"].iter().for_each(|name| tree.reads("/bin/app", &format!("srv/app/conf/{name}")));
    tree.lists("/bin/app", "srv/app/conf");
    check(
        &tree,
        Fold::Folder,
        &[
            "read_dir:srv/app/conf  # app: list, once",
            "r:srv/app/conf/a  # app: read, once",
            "r:srv/app/conf/b  # app: read, once",
            "r:srv/app/conf/c  # app: read, once",
            "r:srv/app/conf/d  # app: read, once",
        ],
    );
    check(
        &tree,
        Fold::Exact,
        &[
            "read_dir:srv/app/conf  # app: list, once",
            "read_file:srv/app/conf/a  # app: read, once",
            "read_file:srv/app/conf/b  # app: read, once",
            "read_file:srv/app/conf/c  # app: read, once",
            "read_file:srv/app/conf/d  # app: read, once",
        ],
    );
}

/// Nothing that is only read is written because much beside it is.
#[test]
fn a_database() {
    let files = ["srv/app/db/1", "srv/app/db/2", "srv/app/db/3", "srv/app/db/4", "srv/app/db/schema"];
    let mut tree = Tree::new("srv/app/", &files);
    files[..4].iter().for_each(|file| tree.opens("/bin/db", file, Open::WRITE));
    tree.reads("/bin/db", "srv/app/db/schema");
    let writes = files[..4].iter().map(|file| format!("w:{file}  # db: write, once"));
    let rules: Vec<String> = writes.chain(["r:srv/app/db/schema  # db: read, once".to_owned()]).collect();
    assert_eq!(tree.learned(Fold::Folder).said(), rules);
}

/// What is moved from the home to where it can be read is no reason to read all of the home.
#[test]
fn a_move_out_of_the_home() {
    let files = ["home/u/.netrc", "home/u/file", "srv/app/.git/HEAD"];
    let mut tree = Tree::new("srv/app/", &files);
    tree.reads("/bin/git", "srv/app/.git/HEAD");
    tree.renames("/bin/mv", "home/u/file", "srv/app/.git/file");
    let lessons = tree.learned(Fold::Folder);
    assert_eq!(lessons.said(), ["r:srv/app/.git  # git: read, once"]);
    assert!(
        lessons.not_learned[0].1.starts_with("in its new place it can be read"),
        "{:?}",
        lessons.not_learned
    );
}

/// What has become a link, or a folder, is not granted by its name; nor what is gone from a folder that has much else.
#[test]
fn what_is_not_there_any_more() {
    let files =
        ["srv/app/data/link", "srv/app/data/folder", "srv/app/data/secret", "srv/app/list/x", "home/u/gone"];
    let mut tree = Tree::new("srv/app/", &files);
    tree.reads("/bin/app", "srv/app/data/link");
    tree.reads("/bin/app", "srv/app/data/folder");
    tree.lists("/bin/app", "srv/app/list");
    tree.reads("/bin/app", "home/u/gone");
    for gone in ["srv/app/data/link", "srv/app/data/folder", "home/u/gone", "srv/app/list/x"] {
        fs::remove_file(tree.at(gone)).unwrap();
    }
    symlink(tree.at("srv/app/data/secret"), tree.at("srv/app/data/link")).unwrap();
    fs::create_dir(tree.at("srv/app/data/folder")).unwrap();
    fs::remove_dir(tree.at("srv/app/list")).unwrap();
    fs::write(tree.at("srv/app/list"), "").unwrap();
    let made = ["srv/app/data/folder", "srv/app/list"].map(|path| tree.at(path));
    tree.makes("/bin/app", Use::Pair, &[&made[0], &made[1]]);
    let gone = "it is gone, and all that is where it was is too much to grant";
    let rules = ["read_dir:srv/app  # app: list, once", "r:srv/app/data  # app: read, twice"];
    for (fold, rules) in
        [(Fold::Folder, rules), (Fold::Exact, [rules[0], "read_file:srv/app/data  # app: read, twice"])]
    {
        let lessons = tree.learned(fold);
        assert_eq!(lessons.said(), rules);
        assert_eq!(lessons.refused(&lessons.domain(&lessons.rules)), [""; 0]);
        let why: Vec<&str> = lessons.not_learned.iter().map(|(_, why)| why.as_str()).collect();
        assert_eq!(why, [gone]);
    }
}
