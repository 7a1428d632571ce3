//! `palisade status`: what this kernel can enforce.

use palisade::{Kernel, Rights};
use serde_json::json;

use crate::args::StatusArgs;
use crate::{Failure, backstop, say};

/// What each category is, for a reader who does not know Landlock.
pub const ABOUT: [(&str, &str); 7] = [
    ("fs", "files and folders"),
    ("devices", "ioctl on devices"),
    ("unix", "UNIX sockets by path"),
    ("tcp", "TCP ports"),
    ("udp", "UDP ports"),
    ("abstract", "abstract UNIX sockets"),
    ("signal", "signals to other programs"),
];

pub fn status(args: &StatusArgs) -> Result<(), Failure> {
    let kernel = Kernel::probe();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = if args.json { as_json(&kernel, release.trim()) } else { for_people(&kernel, release.trim()) };
    say::print(&text)
}

/// What of a category this kernel cannot restrict, each right with what it needs.
fn missing(kernel: &Kernel, category: Rights) -> Vec<(&'static str, u32, &'static str)> {
    (category - kernel.rights())
        .iter()
        .filter_map(|right| {
            let abi = right.abi()?;
            Some((right.names().next()?, abi.number(), abi.linux()?))
        })
        .collect()
}

fn for_people(kernel: &Kernel, release: &str) -> String {
    let mut text = match kernel.abi() {
        Ok(abi) => format!("This kernel (Linux {release}) can confine programs: Landlock {abi}.\n\n"),
        Err(why) => format!(
            "This kernel (Linux {release}) cannot confine programs: {why}.\nTo change that: {}.\n\n",
            why.help()
        ),
    };
    for ((name, category), (_, about)) in Rights::CATEGORIES.into_iter().zip(ABOUT) {
        let missing = missing(kernel, category);
        let needs = |m: &(&str, u32, &str)| format!("{} needs Linux {} (ABI {})", m.0, m.2, m.1);
        let answer = match (kernel.abi(), missing.as_slice()) {
            (Err(_), _) => "no".to_owned(),
            (_, []) => "yes".to_owned(),
            (_, [(_, abi, linux), ..]) if !kernel.rights().intersects(category) => {
                let closed = match name {
                    "unix" | "udp" if backstop::exists() => {
                        "; palisade run closes it with seccomp, unless granted"
                    }
                    _ => "",
                };
                format!("no: needs Linux {linux} (ABI {abi}){closed}")
            }
            (_, some) => format!("yes, but {}", some.iter().map(needs).collect::<Vec<_>>().join(", ")),
        };
        text += &format!("  {name:<9} {about:<26} {answer}");
        text.push('\n');
    }
    for (number, what) in kernel.unfixed() {
        text += &format!("\nErratum {number} of this kernel is not fixed: {what}.");
    }
    if kernel.unfixed().next().is_some() {
        text.push('\n');
    }
    text
}

fn as_json(kernel: &Kernel, release: &str) -> String {
    let categories: serde_json::Map<_, _> = Rights::CATEGORIES
        .into_iter()
        .map(|(name, category)| {
            let missing: Vec<_> = missing(kernel, category)
                .into_iter()
                .map(|(right, abi, linux)| json!({ "right": right, "abi": abi, "linux": linux }))
                .collect();
            let rights = category & kernel.rights();
            let seccomp = rights.is_empty() && matches!(name, "unix" | "udp") && backstop::exists();
            let value = json!({
                "enforceable": !rights.is_empty(),
                "rights": rights,
                "missing": missing,
                "closed_by_seccomp_unless_granted": seccomp,
            });
            (name.to_owned(), value)
        })
        .collect();
    let unfixed: Vec<_> =
        kernel.unfixed().map(|(number, what)| json!({ "number": number, "what": what })).collect();
    let value = json!({
        "abi": kernel.abi().map_or(0, |abi| abi.number()),
        "linux": kernel.abi().ok().and_then(|abi| abi.linux()),
        "running": release,
        "unavailable": kernel.abi().err(),
        "why": kernel.abi().err().map(|why| why.to_string()),
        "help": kernel.abi().err().map(|why| why.help()),
        "errata": kernel.errata(),
        "unfixed": unfixed,
        "categories": categories,
    });
    format!("{value:#}\n")
}
