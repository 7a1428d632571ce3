//! The examples that read, convert and start programs, run as their users would, and their twins.

mod common;

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use common::{Attacks, NEVER, Ran, User, World, abi, each_user, enforces, soon};
use image::{DynamicImage, ImageFormat, RgbImage};
use palisade::{Kernel, Policy};

/// Arguments: none.
const NONE: [&str; 0] = [];

/// How an error ends if standard output takes nothing.
const FULL: &str = ": standard output: No space left on device (os error 28)\n";

#[test]
fn os_release_reads_one_file() {
    each_user(|user| {
        let ran = user.run(env!("CARGO_BIN_EXE_os_release"), NONE);
        if !enforces() {
            ran.cannot_be_confined(1);
            return;
        }
        let text = ran.works().text();
        let size = fs::read("/etc/os-release").unwrap().len();
        let end =
            format!("/etc/os-release: {size} bytes read\n/etc/passwd: Permission denied (os error 13)\n");
        assert!(text.starts_with("This process (") && text.ends_with(&end), "{text}");
        let untold = format!("os_release{FULL}");
        user.run_to_full(env!("CARGO_BIN_EXE_os_release"), NONE).said(1, "", &untold);
    });
}

#[test]
fn os_release_twin_reads_that_file_alone() {
    each_user(|user| {
        Attacks::check(user, env!("CARGO_BIN_EXE_os_release_twin"), |world| {
            let write = if user.is_root() { "OK" } else { "EACCES" };
            let attacks = world.attacks();
            let attacks = attacks.and("read the one file", "OK", NEVER, "");
            (vec![], attacks.and("write to the one file", write, 1, "EACCES"))
        });
    });
}

/// An image in one of the formats that are understood.
fn picture(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(13, 7, |x, y| [x as u8 * 19, y as u8 * 36, 99].into());
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const FORMATS: [ImageFormat; 3] = [ImageFormat::Bmp, ImageFormat::Jpeg, ImageFormat::Png];

#[track_caller]
fn is_png_of(png: &[u8], original: &[u8]) {
    assert_eq!(image::guess_format(png).unwrap(), ImageFormat::Png);
    assert_eq!(image::load_from_memory(png).unwrap(), image::load_from_memory(original).unwrap());
}

fn image_converter(user: &User, input: &[u8]) -> Ran {
    let mut command = user.command(user.binary(env!("CARGO_BIN_EXE_image_converter")));
    command.stdin(File::open(user.file("input", input)).unwrap());
    Ran::of(user, command)
}

#[test]
fn image_converter_converts() {
    each_user(|user| {
        for format in FORMATS {
            let original = picture(format);
            let ran = image_converter(user, &original);
            if enforces() {
                is_png_of(&ran.works().stdout, &original);
            } else {
                ran.cannot_be_confined(1);
            }
        }
    });
}

#[test]
fn image_converter_is_confined_before_it_reads() {
    each_user(|user| {
        let mut command = user.command(user.binary(env!("CARGO_BIN_EXE_image_converter")));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        // Which is set where a process confines itself, and not taken back. Until then it gets nothing to read.
        let confined = || fs::read_to_string(&status).unwrap().contains("\nNoNewPrivs:\t1\n");
        if enforces() {
            assert!(soon(confined), "as {}: it waits to read, and is not confined", user.name);
        }
        let written = child.stdin.take().unwrap().write_all(&picture(ImageFormat::Bmp));
        assert_eq!(child.wait().unwrap().success(), enforces());
        assert!(written.is_ok() || !enforces());
    });
}

#[test]
fn image_converter_says_what_is_wrong_with_an_image() {
    each_user(|user| {
        let cut = &picture(ImageFormat::Png)[..60];
        for (input, words) in [(&b"no image"[..], "format could not be determined"), (cut, "end of file")] {
            let ran = image_converter(user, input);
            if enforces() {
                ran.failed(1, words);
            } else {
                ran.cannot_be_confined(1);
            }
        }
    });
}

#[test]
fn image_converter_says_how_it_is_used() {
    each_user(|user| {
        let program = env!("CARGO_BIN_EXE_image_converter");
        let usage = "usage: image_converter <IMAGE >PNG\n";
        user.run(program, ["a.png"]).said(1, "", usage);
        let mut at_a_terminal = user.command(user.binary(program));
        at_a_terminal.stdin(File::open("/dev/ptmx").unwrap());
        Ran::of(user, at_a_terminal).said(1, "", usage);
        let mut to_a_terminal = user.command("sh");
        to_a_terminal.args(["-c", "exec \"$0\" > /dev/ptmx"]).arg(user.binary(program));
        Ran::of(user, to_a_terminal).said(1, "", usage);
    });
}

#[test]
fn image_converter_twin_gets_nothing() {
    each_user(|user| {
        Attacks::check(user, env!("CARGO_BIN_EXE_image_converter_twin"), |world| {
            let attacks = world
                .attacks()
                .and("open the input anew", "OK", 1, "EACCES")
                .and("open the input to write", "OK", 1, "EACCES")
                .and("read its own program", "OK", 1, "EACCES")
                .and("list its own folder", "OK", 1, "EACCES");
            (vec![], attacks)
        });
    });
}

/// Runs a command in a sandbox, which the text describes.
fn json_sandbox(user: &User, sandbox: &str, command: &[&str]) -> Ran {
    let file = user.file("sandbox.json", sandbox);
    user.run(env!("CARGO_BIN_EXE_json_sandbox"), [file.to_str().unwrap()].iter().chain(command))
}

/// What a program says of a policy that restricts all, on this kernel.
fn lost(program: &str) -> String {
    let plan = Policy::new().best_effort().plan(&Kernel::probe()).unwrap();
    let lost: Vec<_> = plan.lost().map(|lost| lost.to_string()).collect();
    if lost.is_empty() {
        return String::new();
    }
    format!("{program}: not enforced: {}\n", lost.join("; "))
}

#[test]
fn json_sandbox_lets_a_command_do_what_the_file_names() {
    each_user(|user| {
        user.folder("data");
        user.file("data/names", "b\na\n");
        let sandbox = r#"{
            "paths": ["r:data"],
            "optional_paths": ["rw:missing"],
            "connect_tcp": [443, "8000-8010"],
            "connect_udp": ["any"]
        }"#;
        let sorted = json_sandbox(user, sandbox, &["sort", "data/names"]);
        if !enforces() {
            sorted.cannot_be_confined(125);
            return;
        }
        assert_eq!((sorted.status, sorted.text().as_str()), (Some(0), "a\nb\n"), "{}", sorted.stderr);

        let refused = json_sandbox(user, sandbox, &["cat", "/etc/passwd"]);
        refused.failed(1, "cat: /etc/passwd: Permission denied");
        json_sandbox(user, "{}", &["cat", "data/names"]).failed(1, "cat: data/names: Permission denied");
        // The letters are without c.
        user.folder("kept");
        let create = json_sandbox(user, r#"{"paths": ["rw:kept"]}"#, &["sh", "-c", ": > kept/new"]);
        assert!(create.status != Some(0) && create.stderr.contains("Permission denied"), "{}", create.stderr);
        let create = json_sandbox(user, r#"{"paths": ["rwc:kept"]}"#, &["sh", "-c", ": > kept/new"]);
        create.said(0, "", &lost("json_sandbox"));
    });
}

#[test]
fn json_sandbox_becomes_the_command() {
    each_user(|user| {
        let ran = json_sandbox(user, "{}", &["sh", "-c", "echo $0; exit 7", "argument"]);
        if enforces() {
            ran.said(7, "argument\n", &lost("json_sandbox"));
        } else {
            ran.cannot_be_confined(125);
        }
    });
}

#[test]
fn json_sandbox_takes_presets() {
    each_user(|user| {
        let words = ["sh", "-c", "cat /etc/passwd > /dev/null; cat secret"];
        user.file("secret", "a secret");
        let alone = json_sandbox(user, "{}", &words);
        let ran = json_sandbox(user, r#"{"presets": ["system"]}"#, &words);
        if !enforces() {
            ran.cannot_be_confined(125);
            return;
        }
        // Without it the shell can start no other program.
        alone.failed(126, "cat: Permission denied");
        ran.said(1, "", &format!("{}cat: secret: Permission denied\n", lost("json_sandbox")));
    });
}

#[test]
fn json_sandbox_requires_what_the_file_says() {
    each_user(|user| {
        // Nothing is required: it goes on with what there is, and says so.
        json_sandbox(user, r#"{"require": []}"#, &["echo", "runs"]).said(0, "runs\n", &lost("json_sandbox"));
        for (category, since) in [("fs", 3), ("tcp", 4), ("signal", 6), ("udp", 10)] {
            let ran = json_sandbox(user, &format!(r#"{{"require": ["{category}"]}}"#), &["echo", "runs"]);
            if abi() >= since {
                ran.said(0, "runs\n", &lost("json_sandbox"));
            } else if abi() > 0 {
                ran.failed(125, &format!("needs ABI {since} "))
                    .failed(125, "; \"require\" names what must be restricted\n");
            } else {
                ran.failed(125, "Landlock");
            }
        }
        let all = r#"["fs", "devices", "unix", "tcp", "udp", "abstract", "signal"]"#;
        let free = json_sandbox(user, &format!(r#"{{"unrestricted": {all}}}"#), &["cat", "/etc/passwd"]);
        assert_eq!(free.works().stdout, fs::read("/etc/passwd").unwrap());
    });
}

#[test]
fn json_sandbox_says_what_is_wrong_with_the_file() {
    each_user(|user| {
        for (sandbox, error) in [
            ("", ":1:0: EOF while parsing a value\n"),
            ("{\n  \"paths\": [\"r:/usr\",]\n}", ":2:22: trailing comma\n"),
            (
                "{\n  \"path\": []\n}",
                ":2:8: unknown field `path`, expected one of `paths`, `optional_paths`, ",
            ),
            (
                "{\n  \"paths\": [\"/usr\"]\n}",
                ":2:18: \"/usr\" is no rule; a rule is RIGHTS:PATH, as rw:/srv",
            ),
            ("{\n  \"paths\": [\n    \"rq:/usr\"\n  ]\n}", ":3:13: \"rq\" is no right; rights are letters "),
            (
                "{\n  \"paths\": \"r:/usr\"\n}",
                ":2:19: invalid type: string \"r:/usr\", expected a sequence\n",
            ),
            ("{\"presets\": [\"cert\"]}", ":1:19: \"cert\" is no preset; did you mean certs?\n"),
            ("{\"require\": [\"tpc\"]}", ":1:18: \"tpc\" is no category and no right; did you mean tcp?\n"),
            ("{\"bind_tcp\": [70000]}", ":1:19: \"70000\" is no port; a port is a number from 0 to 65535, "),
            ("{\"bind_tcp\": [\"90-80\"]}", ":1:21: the port range 90-80 is empty; did you mean 80-90?\n"),
            (
                "{\"bind_tcp\": [true]}",
                ":1:18: invalid type: boolean `true`, expected a text or, for a port, ",
            ),
            (
                "{\"bind_tcp\": [-1]}",
                " `-1`, expected a text or, for a port, a whole number from 0 to 65535\n",
            ),
            ("{\"bind_tcp\": [44.5]}", " `44.5`, expected a text or, for a port, a whole number "),
            ("[]", ": is a list: expected an object\n"),
            (" [[\"r:/usr\"]]", ": is a list: expected an object\n"),
            ("5", ":1:1: invalid type: integer `5`, expected an object\n"),
        ] {
            let ran = json_sandbox(user, sandbox, &["echo", "runs"]);
            ran.failed(125, error);
            assert!(
                ran.stderr.starts_with("json_sandbox: /") && ran.stderr.ends_with('\n'),
                "{}",
                ran.stderr
            );
            assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        }
        for (sandbox, error) in [
            (
                r#"{"paths": ["r:missing"]}"#,
                "missing: does not exist (ENOENT); what may be missing belongs in \"optional_paths\"\n",
            ),
            (
                r#"{"paths": ["d:r:sandbox.json"]}"#,
                "sandbox.json: is no directory, and the rule insists on one\n",
            ),
        ] {
            let ran = json_sandbox(user, sandbox, &["echo", "runs"]);
            if enforces() {
                ran.failed(125, error);
            } else {
                ran.cannot_be_confined(125);
            }
        }
        let program = env!("CARGO_BIN_EXE_json_sandbox");
        let not_there =
            "json_sandbox: missing.json: cannot be read: No such file or directory (os error 2)\n";
        user.run(program, ["missing.json", "echo"]).said(125, "", not_there);
        user.run(program, ["missing.json"]).failed(125, "usage: ");
        let no_command = "json_sandbox: nothing-like-it: is not found in any folder of PATH\n";
        json_sandbox(user, "{}", &["nothing-like-it"]).said(125, "", no_command);
    });
}

#[test]
fn json_sandbox_takes_the_file_of_its_documentation() {
    each_user(|user| {
        let lines = include_str!("../json_sandbox.rs").lines().map(|line| line.trim_start_matches("//!"));
        let text = lines.skip_while(|line| *line != " ```json").skip(1).take_while(|line| *line != " ```");
        let text: String = text.collect();
        let text = text.replace("r:/usr/share", "r:/usr").replace("/srv/data", ".");
        let ran = json_sandbox(user, &text, &["echo", "runs"]);
        if abi() >= 6 {
            assert_eq!((ran.status, ran.text().as_str()), (Some(0), "runs\n"), "{}", ran.stderr);
        } else {
            ran.failed(125, if abi() > 0 { "needs ABI 6" } else { "Landlock" });
        }
    });
}

/// What the sandbox of the twin grants: a folder to read and write in, and a port.
struct Granted {
    port: TcpListener,
    words: Vec<String>,
}

impl Granted {
    fn new(user: &User, world: &World) -> Granted {
        let folder = world.outside().with_extension("granted");
        let name = folder.file_name().unwrap().to_str().unwrap();
        user.folder(name);
        user.file(&format!("{name}/file"), "granted");
        user.file(&format!("{name}/other"), "granted");
        std::os::unix::fs::symlink(world.secret(), folder.join("link")).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = port.local_addr().unwrap().port();
        let text = format!(r#"{{"paths": ["rw:{}"], "connect_tcp": [{number}]}}"#, folder.display());
        let sandbox = user.file(&format!("{name}.json"), text);
        let words = vec![
            format!("sandbox={}", sandbox.display()),
            format!("granted={}", folder.display()),
            format!("granted_port={number}"),
        ];
        Granted { port, words }
    }

    fn attacks(world: &World) -> Attacks {
        world
            .attacks()
            .and("read what is granted", "OK", NEVER, "")
            .and("write to what is granted", "OK", NEVER, "")
            .and("create a file where writing is granted", "OK", 1, "EACCES")
            .and("remove a file where writing is granted", "OK", 1, "EACCES")
            .and("read a secret through what is granted", "OK", 1, "EACCES")
            .and("connect to the granted port", "OK", NEVER, "")
    }
}

#[test]
fn json_sandbox_twin_gets_what_the_file_names() {
    each_user(|user| {
        // Open until the twin has run.
        let ports = std::cell::RefCell::new(Vec::new());
        Attacks::check(user, env!("CARGO_BIN_EXE_json_sandbox_twin"), |world| {
            let granted = Granted::new(user, world);
            ports.borrow_mut().push(granted.port);
            (granted.words, Granted::attacks(world))
        });
    });
}

#[test]
fn json_sandbox_confines_a_hostile_command() {
    each_user(|user| {
        let world = World::new(user);
        let granted = Granted::new(user, &world);
        let sandbox = granted.words[0].strip_prefix("sandbox=").unwrap();
        // The twin does not confine itself here: the sandbox is all that holds it.
        let twin = user.binary(env!("CARGO_BIN_EXE_json_sandbox_twin"));
        let mut command = user.command(user.binary(env!("CARGO_BIN_EXE_json_sandbox")));
        command.arg(sandbox).arg(twin).arg("free").args(world.words()).args(&granted.words);
        let ran = Ran::of(user, command);
        if enforces() {
            ran.said(0, &Granted::attacks(&world).confined(), &lost("json_sandbox"));
        } else {
            ran.cannot_be_confined(125);
        }
    });
}

/// Runs `convert_each` on files, with `converter` in the place of `image_converter`.
fn convert_each(user: &User, converter: &str, files: &[&str]) -> Ran {
    user.binary_as(converter, "image_converter");
    user.run(env!("CARGO_BIN_EXE_convert_each"), files)
}

#[test]
fn convert_each_converts_each() {
    each_user(|user| {
        let names = FORMATS.map(|format| format!("a picture.{}", format.extensions_str()[0]));
        for (name, format) in names.iter().zip(FORMATS) {
            user.file(name, picture(format));
        }
        let converter = env!("CARGO_BIN_EXE_image_converter");
        let ran = convert_each(user, converter, &names.each_ref().map(String::as_str));
        if !enforces() {
            ran.cannot_be_confined(1);
            return;
        }
        let told: String = names.iter().map(|name| format!("{name}: converted to {name}.png\n")).collect();
        ran.said(0, &told, &lost("convert_each"));
        for (name, format) in names.iter().zip(FORMATS) {
            let png = fs::read(user.home().join(format!("{name}.png"))).unwrap();
            is_png_of(&png, &picture(format));
        }
    });
}

#[test]
fn convert_each_goes_on_when_it_cannot_tell() {
    each_user(|user| {
        let names = ["a.bmp", "b.bmp"].map(|name| user.file(name, picture(ImageFormat::Bmp)));
        user.binary_as(env!("CARGO_BIN_EXE_image_converter"), "image_converter");
        let ran = user.run_to_full(env!("CARGO_BIN_EXE_convert_each"), &names);
        if !enforces() {
            ran.cannot_be_confined(1);
            return;
        }
        let untold = format!("convert_each{FULL}");
        ran.said(1, "", &format!("{}{untold}{untold}", lost("convert_each")));
        for name in names {
            let png = fs::read(name.with_extension("bmp.png")).unwrap();
            is_png_of(&png, &picture(ImageFormat::Bmp));
        }
    });
}

#[test]
fn convert_each_goes_on_when_one_fails() {
    each_user(|user| {
        user.file("broken", "no image");
        user.file("there.bmp", picture(ImageFormat::Bmp));
        user.file("there.bmp.png", "kept");
        user.file("good.jpg", picture(ImageFormat::Jpeg));
        let files = ["mis\u{1b}sing", "broken", "there.bmp", "good.jpg"];
        let ran = convert_each(user, env!("CARGO_BIN_EXE_image_converter"), &files);
        let exists = |name: &str| user.home().join(name).exists();
        assert!(!exists("mis\u{1b}sing.png") && !exists("broken.png"));
        assert_eq!(fs::read(user.home().join("there.bmp.png")).unwrap(), b"kept");
        if !enforces() {
            ran.cannot_be_confined(1);
            return;
        }
        let stderr = lost("convert_each")
            + "mis\\u{1b}sing: failed: No such file or directory (os error 2)\n"
            + "broken: failed: exit status: 1: image_converter: The image format could not be determined\n"
            + "there.bmp: failed: there.bmp.png: is there already, and is not overwritten: remove it first\n";
        ran.said(1, "good.jpg: converted to good.jpg.png\n", &stderr);
        is_png_of(&fs::read(user.home().join("good.jpg.png")).unwrap(), &picture(ImageFormat::Jpeg));
    });
}

#[test]
fn convert_each_needs_the_converter_beside_it() {
    each_user(|user| {
        let ran = user.run(env!("CARGO_BIN_EXE_convert_each"), ["a.jpg"]);
        ran.failed(1, "/image_converter: is not found: there is no such file; this builds it: ")
            .failed(1, ": cargo build -p palisade-examples --bins\n");
        user.run(env!("CARGO_BIN_EXE_convert_each"), NONE).said(1, "", "usage: convert_each FILE...\n");
    });
}

#[test]
fn convert_each_is_not_harmed_by_a_hostile_converter() {
    each_user(|user| {
        let twin = env!("CARGO_BIN_EXE_convert_each_twin");
        let exploit = |world: &World| user.file("exploit", format!("attack\n{}\n", world.words().join("\n")));
        let attacks = |world: &World| {
            world
                .attacks()
                .and("read its own program", "OK", NEVER, "")
                .and("open the input anew", "OK", 1, "EACCES")
                .and("open the input to write", "OK", 1, "EACCES")
                .and("open the output to read", "OK", 1, "EACCES")
                .and("list its own folder", "OK", 1, "EACCES")
        };

        let world = World::new(user);
        let mut command = user.command("sh");
        command.args(["-c", "exec \"$0\" < \"$1\" > output"]).arg(user.binary(twin)).arg(exploit(&world));
        Ran::of(user, command).said(1, "", &attacks(&world).free());

        let world = World::new(user);
        exploit(&world);
        user.file("before.bmp", picture(ImageFormat::Bmp));
        user.file("after.jpg", picture(ImageFormat::Jpeg));
        let ran = convert_each(user, twin, &["before.bmp", "exploit", "after.jpg"]);
        if !enforces() {
            ran.cannot_be_confined(1);
            return;
        }
        // Its parent is `convert_each`, which is the same user's.
        let confined = attacks(&world).but("signal the parent", "OK", 6, "EPERM").confined();
        let told = "before.bmp: converted to before.bmp.png\nafter.jpg: converted to after.jpg.png\n";
        let failed = confined.trim_end().replace('\n', "\\n");
        ran.said(1, told, &format!("{}exploit: failed: exit status: 1: {failed}\n", lost("convert_each")));
        let there = |name: &str| Path::new(&user.home()).join(name).exists();
        assert!(there("before.bmp.png") && there("after.jpg.png") && !there("exploit.png"));
    });
}
