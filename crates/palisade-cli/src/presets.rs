//! `palisade presets`: what can be granted by name, and what each name grants.

use palisade::{Error, Grant, Preset, printable};
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
        Some(name) => {
            let preset: Preset = name.parse().map_err(|error: Error| Failure::new(error.to_string()))?;
            let named = Named::from(preset);
            if args.json { pretty(&named.as_json()) } else { named.for_people() }
        }
        None => {
            let all: Vec<Named> = Preset::ALL.into_iter().map(Named::from).collect();
            if args.json { pretty(&all.iter().map(Named::as_json).collect()) } else { list(&all) }
        }
    };
    say::print(&text)
}

fn list(all: &[Named]) -> String {
    let width = all.iter().map(|named| named.name.len()).max().unwrap_or_default();
    all.iter().map(|Named { name, about, .. }| format!("{name:<width$}  {about}\n")).collect()
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
