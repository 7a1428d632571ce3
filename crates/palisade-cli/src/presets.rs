//! `palisade presets`: what can be granted by name, and what each name grants.

use palisade::{Error, Grant, PolicyFile, Preset, printable};
use serde_json::{Value, json};

use crate::args::PresetsArgs;
use crate::{Failure, say};

/// What has a name, whatever gave it.
struct Named {
    name: &'static str,
    about: &'static str,
    grants: Vec<Grant>,
    /// What else it grants, in words.
    besides: Option<&'static str>,
}

impl From<Preset> for Named {
    fn from(preset: Preset) -> Named {
        Named {
            name: preset.name(),
            about: preset.about(),
            grants: preset.grants(),
            besides: preset.besides(),
        }
    }
}

pub fn presets(args: &PresetsArgs) -> Result<(), Failure> {
    let text = match &args.name {
        Some(name) => match PolicyFile::built_in().iter().find(|(built_in, _)| built_in == name) {
            Some((_, text)) if !args.json => (*text).to_owned(),
            Some(policy) => pretty(&policy_as_json(policy)),
            None => {
                let preset: Preset = name.parse().map_err(|error: Error| Failure::new(error.to_string()))?;
                let named = Named::from(preset);
                if args.json { pretty(&named.as_json()) } else { named.for_people() }
            }
        },
        None => {
            let presets: Vec<Named> = Preset::ALL.into_iter().map(Named::from).collect();
            if args.json {
                let policies = PolicyFile::built_in().iter().map(policy_as_json);
                pretty(&policies.chain(presets.iter().map(Named::as_json)).collect())
            } else {
                list(&presets)
            }
        }
    };
    say::print(&text)
}

fn list(presets: &[Named]) -> String {
    let policies: Vec<(&str, &str)> =
        PolicyFile::built_in().iter().map(|(name, text)| (*name, about(text))).collect();
    let presets: Vec<(&str, &str)> = presets.iter().map(|named| (named.name, named.about)).collect();
    let known: Vec<&str> = PolicyFile::built_in_names().collect();
    let names = PolicyFile::names();
    let found: Vec<(&str, &str)> =
        names.iter().filter(|name| !known.contains(&name.as_str())).map(|name| (name.as_str(), "")).collect();
    let all = [
        ("Presets, for --preset, and include in a policy file:", &presets),
        ("Policies, for -p and --within:", &policies),
        ("And in the configuration folders:", &found),
    ];
    let width =
        all.iter().flat_map(|(_, list)| list.iter()).map(|(name, _)| name.len()).max().unwrap_or_default();
    let section = |(title, list): &(&str, &Vec<(&str, &str)>)| {
        let line =
            |(name, about): &(&str, &str)| format!("{}\n", format!("  {name:<width$}  {about}").trim_end());
        format!("{title}\n{}", list.iter().map(line).collect::<String>())
    };
    let sections: Vec<String> = all.iter().filter(|(_, list)| !list.is_empty()).map(section).collect();
    sections.join("\n")
}

/// What a policy is for: the beginning of its first line.
fn about(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("# ").split(':').next().unwrap_or_default()
}

fn policy_as_json((name, text): &(&str, &str)) -> Value {
    json!({ "name": name, "about": about(text), "policy": text })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

impl Named {
    fn for_people(&self) -> String {
        let mut text = format!("{}\n", self.about);
        for grant in &self.grants {
            let line = match grant {
                Grant::Path { rights, path } => {
                    let absent = if path.exists() { "" } else { "  (not found here, so left out)" };
                    format!("{}  {}{absent}", printable(path), rights.in_words())
                }
                Grant::Port { right, ports } => format!("port {ports}  {right}"),
                other => other.to_string(),
            };
            text += &format!("  {line}\n");
        }
        text + &self.besides.map_or(String::new(), |besides| format!("  {besides}\n"))
    }

    fn as_json(&self) -> Value {
        let path = |grant: &Grant| match grant {
            Grant::Path { rights, path } => {
                Some(json!({ "path": path, "rights": rights, "exists": path.exists() }))
            }
            _ => None,
        };
        let port = |grant: &Grant| match grant {
            Grant::Port { right, ports } => Some(json!({ "ports": ports.to_string(), "rights": right })),
            _ => None,
        };
        json!({
            "name": self.name,
            "about": self.about,
            "paths": self.grants.iter().filter_map(path).collect::<Vec<_>>(),
            "ports": self.grants.iter().filter_map(port).collect::<Vec<_>>(),
            "besides": self.besides,
        })
    }
}
