//! What a policy file may say: one table, by which it is parsed, and its JSON Schema made.

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What it is for, as a sentence.
    pub doc: &'static str,
}

/// What a key takes. Where it is a list, one alone may stand without brackets.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A version of Landlock's ABI.
    Abi,
    /// A list of names of policies and presets, and of files.
    Includes,
    /// A list of paths.
    Paths,
    /// A list of ports, ranges and `any`.
    Ports,
    /// A list of categories and rights.
    Categories,
    /// The same, or `everything`.
    Required,
    /// A list of names of variables.
    Variables,
    /// Letters and names of rights, with commas.
    Rights,
    /// One of these words.
    Word(&'static [&'static str]),
    /// true or false.
    Flag,
    /// A table.
    Table(&'static [Key]),
    /// A list of tables, in each of which the first two keys have to be.
    Tables(&'static [Key]),
}

const fn key(name: &'static str, takes: Takes, doc: &'static str) -> Key {
    Key { name, takes, doc }
}

const UNRESTRICTED: Takes = Takes::Word(&["unrestricted"]);

/// The keys of a policy file.
pub const KEYS: &[Key] = &[
    key(
        "include",
        Takes::Includes,
        "Policies whose grants are added: presets, built-in policies and those of the configuration folders by name, and files by \
         path.",
    ),
    key(
        "abi",
        Takes::Abi,
        "Restrict what this version of Landlock can and no more, so that a newer kernel tightens nothing.",
    ),
    key(
        "require",
        Takes::Required,
        "What has to be restricted, or nothing is run: categories or rights, or \"everything\". Without it fs and tcp.",
    ),
    key("unrestricted", Takes::Categories, "Categories or rights that are left alone."),
    key("fs", Takes::Table(FS), "Files and folders."),
    key("net", Takes::Table(NET), "TCP and UDP, at any address."),
    key("unix", Takes::Table(UNIX), "UNIX sockets that have a path."),
    key("scope", Takes::Table(SCOPE), "What reaches other programs."),
    key("env", Takes::Table(ENV), "The environment of the program, where palisade starts it."),
];

const FS: &[Key] = &[
    key("ro", Takes::Paths, "Read below these paths."),
    key("rx", Takes::Paths, "Read and execute below these paths."),
    key("rw", Takes::Paths, "Read, write, create, remove and rename below these paths."),
    key("rwx", Takes::Paths, "All of rw, and execute, below these paths."),
    key("allow", Takes::Tables(ALLOW), "Exact rights on paths."),
];

const ALLOW: &[Key] = &[
    key("paths", Takes::Paths, "The paths."),
    key(
        "rights",
        Takes::Rights,
        "Letters (r read, w write, x execute, c create and remove) or the kernel's names, with commas.",
    ),
    key(
        "optional",
        Takes::Flag,
        "Whether paths that do not exist are skipped. Without it they are an error.",
    ),
    key("kind", Takes::Word(&["file", "dir"]), "What each path has to be, if that matters."),
];

const NET: &[Key] = &[
    key("connect_tcp", Takes::Ports, "Connect to these TCP ports."),
    key("bind_tcp", Takes::Ports, "Listen on these TCP ports; 0 lets the kernel choose one."),
    key("connect_udp", Takes::Ports, "Send to these UDP ports."),
    key("bind_udp", Takes::Ports, "Receive on these UDP ports."),
];

const UNIX: &[Key] = &[key("connect", Takes::Paths, "Connect to the UNIX sockets at or below these paths.")];

const SCOPE: &[Key] = &[
    key("signal", UNRESTRICTED, "Whether programs outside may be signalled."),
    key("abstract", UNRESTRICTED, "Whether abstract UNIX sockets of programs outside may be connected to."),
];

const ENV: &[Key] = &[
    key("clear", Takes::Flag, "Whether the program starts without the caller's environment."),
    key("pass", Takes::Variables, "Variables that pass all the same."),
];

/// What is often looked for where it is not: the key, and where it is.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("ro", "it belongs in [fs]"),
    ("rx", "it belongs in [fs]"),
    ("rw", "it belongs in [fs]"),
    ("rwx", "it belongs in [fs]"),
    ("allow", "it is [[fs.allow]]"),
    ("optional", "it belongs in [[fs.allow]], with paths and rights"),
    ("paths", "it belongs in [[fs.allow]], with rights"),
    ("rights", "it belongs in [[fs.allow]], with paths"),
    ("kind", "it belongs in [[fs.allow]], with paths and rights"),
    ("connect_tcp", "it belongs in [net]"),
    ("bind_tcp", "it belongs in [net]"),
    ("connect_udp", "it belongs in [net]"),
    ("bind_udp", "it belongs in [net]"),
    ("connect", "it belongs in [unix]"),
    ("signal", "it belongs in [scope]"),
    ("abstract", "it belongs in [scope]"),
    ("clear", "it belongs in [env]"),
    ("pass", "it belongs in [env]"),
    ("preset", "presets are included: include = [\"system\"]"),
    ("presets", "presets are included: include = [\"system\"]"),
    ("policy", "other policies are included: include = [\"./team.toml\"]"),
    ("strict", "it is require = \"everything\""),
    ("best_effort", "it is require = []"),
];
