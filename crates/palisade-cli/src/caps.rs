//! The names of capabilities, capabilities(7).

/// In the kernel's order: the place is the number.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// All names that --keep-caps takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    ["all"].into_iter().chain(NAMES)
}

/// The set that a word of --keep-caps means, bit N for capability N: `all`, or a name with or without `cap_`.
pub fn parse(word: &str) -> Result<u64, String> {
    let name = word.to_ascii_lowercase();
    let name = name.strip_prefix("cap_").unwrap_or(&name);
    if name == "all" {
        return Ok(u64::MAX);
    }
    match NAMES.iter().position(|known| *known == name) {
        Some(number) => Ok(1 << number),
        None => Err("no such capability; they are named as in capabilities(7), or all".to_owned()),
    }
}

/// The word that means this set, as [`parse`] takes it.
pub fn word(set: u64) -> &'static str {
    NAMES.iter().enumerate().find(|(number, _)| set == 1 << number).map_or("all", |(_, name)| name)
}
