//! What `palisade presets` lists.

use std::path::Path;

use crate::common::each_user;
use serde_json::Value;
use snapbox::{assert_data_eq, str};

#[test]
fn every_preset_is_listed_with_what_it_is_for() {
    each_user(|user| {
        let ran = user.palisade(["presets"]);
        assert_data_eq!(
            ran.works().stdout.as_str(),
            str![[r#"
Presets, for --preset, and include in a policy file:
  shared    Shared libraries, and what the dynamic loader reads
  stdio     Standard input, output and error by name, harmless devices, time zones and locales
  tty       The terminal that was inherited, its ioctls too, and the descriptions of terminals
  pty       Making pseudo terminals, and all that the user has
  tmp       /tmp: read, write, create and remove
  vminfo    What the machine is and does: processors, memory, disks
  dns       Looking up names: the resolver's files and sockets, and port 53 by TCP and UDP
  certs     The certificates of authorities, wherever the links of their stores lead
  system    The installed system, to read and execute, without the secrets of /etc

Policies, for -p and --within:
  build     Compiles in the current folder, without network
  offline   Takes the network away, and nothing else
  readonly  Reads the installed system and the current folder, and writes nothing

"#]]
        );
    });
}

#[test]
fn a_preset_is_shown_with_all_that_it_grants() {
    each_user(|user| {
        let tty =
            user.palisade(["presets", "tty"]).works().stdout.replace("  (not found here, so left out)", "");
        assert_data_eq!(
            tty,
            str![[r#"
The terminal that was inherited, its ioctls too, and the descriptions of terminals
  /dev/tty  write_file, read_file, ioctl_dev
  /etc/terminfo  read
  /lib/terminfo  read
  /usr/lib/terminfo  read
  /usr/share/terminfo  read
  what descriptors 0, 1 and 2 are open on, if it is a terminal: read or write, as each is open, and ioctl_dev

"#]]
        );
        let dns = user.palisade(["presets", "dns"]);
        let ports = "  port 53  connect_tcp\n  port 53  connect_send_udp\n  port 0  bind_udp\n";
        assert!(dns.works().stdout.ends_with(ports), "{}", dns.stdout);
        let tmp = user.palisade(["presets", "tmp"]);
        assert!(tmp.stdout.ends_with("  /tmp  read, write, create, remove and rename\n"), "{}", tmp.stdout);
    });
}

#[test]
fn a_built_in_policy_is_shown_as_the_file_it_is() {
    each_user(|user| {
        let text = include_str!("../../../palisade/policies/build.toml");
        user.palisade(["presets", "build"]).said(0, text, "");
        // As a file it is the same, but that its . is the folder of the file.
        user.folder("p");
        user.file("p/copy.toml", &user.palisade(["presets", "readonly"]).stdout);
        user.palisade(["check", "p/copy.toml"]).said(0, "p/copy.toml: valid\n", "");
    });
}

#[test]
fn what_is_not_on_this_system_is_marked() {
    each_user(|user| {
        let mut absent = 0;
        for line in user.palisade(["presets", "system"]).works().stdout.lines().skip(1) {
            let path = Path::new(line.split_whitespace().next().unwrap());
            assert_eq!(line.ends_with("  (not found here, so left out)"), !path.exists(), "{line}");
            absent += usize::from(!path.exists());
        }
        assert!(absent > 0, "no system has all of /lib32, /nix/store, /gnu/store");
    });
}

#[test]
fn json_has_what_run_would_enforce() {
    each_user(|user| {
        let all: Value = serde_json::from_str(&user.palisade(["presets", "--json"]).works().stdout).unwrap();
        let (policies, presets): (Vec<_>, Vec<_>) =
            all.as_array().unwrap().iter().partition(|named| named.get("policy").is_some());
        assert_eq!((policies.len(), presets.len()), (3, 9));
        for preset in presets {
            let name = preset["name"].as_str().unwrap();
            let shown = user.palisade(["presets", "--json", name]);
            assert_eq!(serde_json::from_str::<Value>(&shown.works().stdout).unwrap(), *preset);
            let run = user.run(&format!("--dry-run --json --best-effort --preset {name} true"));
            let run: Value = serde_json::from_str(&run.stdout).unwrap();
            // What the kernel cannot restrict is in no rule of its plan.
            let abi = run["report"]["kernel"]["abi"].as_u64().unwrap();
            let planned = run["report"]["paths"].as_array().unwrap();
            for path in preset["paths"].as_array().unwrap() {
                let needs = match path["rights"].to_string() {
                    rights if rights.contains("resolve_unix") => 9,
                    rights if rights.contains("ioctl_dev") => 5,
                    _ => 3,
                };
                // A file has no right of folders.
                let rights = path["rights"].as_array().unwrap();
                let among = |p: &Value| p["rights"].as_array().unwrap().iter().all(|r| rights.contains(r));
                let enforced = planned.iter().any(|p| p["path"] == path["path"] && among(p));
                assert!(abi < needs || path["exists"] == enforced, "{name}: {path}");
            }
        }
    });
}

#[test]
fn a_name_that_is_none_is_an_error_with_the_nearest() {
    each_user(|user| {
        let message = "palisade: \"cert\" is no preset; did you mean certs?\n";
        user.palisade(["presets", "cert"]).said(125, "", message);
        let ran = user.palisade(["presets", "\u{1b}[2J"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(125), ""));
        assert!(
            !ran.stderr.contains('\u{1b}') && ran.stderr.contains("presets are shared, "),
            "{}",
            ran.stderr
        );
    });
}
