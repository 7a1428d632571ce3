//! The JSON Schema of policy files, made from the table by which the library parses them.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use palisade::{Abi, KEYS, Key, PolicyFile, Rights, Takes};
use serde_json::{Map, Value, json};

const FILE: &str = "crates/palisade-cli/policy.schema.json";

/// Whether the committed one is current; or writes it.
pub fn run(write: bool) -> Result<ExitCode> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
    if write {
        fs::write(&path, text()).with_context(|| format!("{FILE} cannot be written"))?;
    } else if fs::read_to_string(&path).ok().as_deref() != Some(&text()) {
        eprintln!("{FILE} is not current: cargo xtask schema --write");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn text() -> String {
    let mut schema = table(KEYS, &[]);
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A policy of Palisade",
        "description": "What a program may do; all else that Landlock can restrict is refused.",
    });
    if let (Some(schema), Value::Object(head)) = (schema.as_object_mut(), head) {
        schema.extend(head);
    }
    format!("{schema:#}\n")
}

fn table(keys: &[Key], required: &[&str]) -> Value {
    let of_key = |key: &Key| {
        let mut schema = takes(key.takes);
        schema["description"] = json!(key.doc);
        (key.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = keys.iter().map(of_key).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn takes(takes: Takes) -> Value {
    match takes {
        Takes::Abi => json!({ "type": "integer", "minimum": 1, "examples": [Abi::LATEST.number()] }),
        Takes::Includes => {
            let names: Vec<_> = PolicyFile::built_in_names().collect();
            one_or_more(json!({ "type": "string", "minLength": 1, "examples": names }))
        }
        Takes::Paths => {
            let byte = json!({ "type": "integer", "minimum": 1, "maximum": 255 });
            let bytes = json!({
                "type": "object",
                "properties": { "bytes": { "type": "array", "items": byte, "minItems": 1 } },
                "required": ["bytes"],
                "additionalProperties": false,
            });
            one_or_more(json!({ "anyOf": [{ "type": "string", "minLength": 1 }, bytes] }))
        }
        Takes::Ports => {
            let number = json!({ "type": "integer", "minimum": 0, "maximum": u16::MAX });
            let text = json!({ "type": "string", "pattern": "^(any|[0-9]+(-[0-9]+)?)$", "examples": ["any", "8000-8010"] });
            one_or_more(json!({ "anyOf": [number, text] }))
        }
        Takes::Categories => one_or_more(category()),
        Takes::Required => json!({ "anyOf": [{ "const": "everything" }, one_or_more(category())] }),
        Takes::Variables => one_or_more(json!({ "type": "string", "pattern": "^[^=]+$" })),
        Takes::Rights => {
            let of_paths = Rights::FS | Rights::DEVICES | Rights::UNIX;
            let names: Vec<_> = of_paths.names().collect();
            let one = format!("([rwxc]+|{})", names.join("|"));
            json!({ "type": "string", "pattern": format!("^{one}(,{one})*$"), "examples": ["rw,ioctl_dev"] })
        }
        Takes::Word(words) => json!({ "enum": words }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Table(keys) => table(keys, &[]),
        Takes::Tables(keys) => {
            one_or_more(table(keys, &keys.iter().take(2).map(|key| key.name).collect::<Vec<_>>()))
        }
    }
}

fn category() -> Value {
    let categories = Rights::CATEGORIES.into_iter().map(|(name, _)| name).chain(["net"]);
    let rights = Rights::all();
    let mut names: Vec<&str> = categories.collect();
    let more: Vec<&str> = rights.names().filter(|name| !names.contains(name)).collect();
    names.extend(more);
    json!({ "enum": names })
}

/// A list, or one of its elements.
fn one_or_more(element: Value) -> Value {
    json!({ "anyOf": [{ "type": "array", "items": element }, element] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_current() {
        assert_eq!(run(false).unwrap(), ExitCode::SUCCESS, "cargo xtask schema --write");
    }

    /// A file, and whether it is a policy.
    const FILES: &[(&str, bool)] = &[
        ("", true),
        (
            "include = [\"system\", \"./team.toml\"]\nabi = 6\nrequire = [\"fs\", \"tcp\"]\nunrestricted = \"udp\"",
            true,
        ),
        ("require = \"everything\"", true),
        ("require = []", true),
        ("require = \"all\"", false),
        ("requre = [\"fs\"]", false),
        ("abi = 0", false),
        ("abi = \"6\"", false),
        ("include = [5]", false),
        ("include = [\"\"]", false),
        ("[fs]\nro = [\"/etc\", { bytes = [47, 255] }]\nrx = \"/usr\"\nrw = []\nrwx = [\"/opt\"]", true),
        ("[fs]\nro = [{ bytes = [0] }]", false),
        ("[fs]\nro = [{ bytes = [] }]", false),
        ("[fs]\nro = [{ byte = [47] }]", false),
        ("[fs]\nro = [\"\"]", false),
        ("[fs]\nro = 5", false),
        ("[fs]\nread = \"/etc\"", false),
        ("[[fs.allow]]\npaths = [\"/a\"]\nrights = \"rw,ioctl_dev\"\noptional = true\nkind = \"file\"", true),
        ("[[fs.allow]]\npaths = \"/a\"\nrights = \"read_file,x\"", true),
        ("[fs]\nallow = { paths = \"/a\", rights = \"r\" }", true),
        ("[[fs.allow]]\npaths = [\"/a\"]", false),
        ("[[fs.allow]]\nrights = \"r\"", false),
        ("[[fs.allow]]\npaths = [\"/a\"]\nrights = \"bind_tcp\"", false),
        ("[[fs.allow]]\npaths = [\"/a\"]\nrights = \"rz\"", false),
        ("[[fs.allow]]\npaths = [\"/a\"]\nrights = \"\"", false),
        ("[[fs.allow]]\npaths = [\"/a\"]\nrights = \"r\"\nkind = \"folder\"", false),
        ("[[fs.allow]]\npaths = [\"/a\"]\nrights = \"r\"\noptional = 1", false),
        (
            "[net]\nconnect_tcp = [443, \"8000-8010\"]\nbind_tcp = \"any\"\nconnect_udp = 0\nbind_udp = [65535]",
            true,
        ),
        ("[net]\nbind_tcp = [65536]", false),
        ("[net]\nbind_tcp = [-1]", false),
        ("[net]\nbind_tcp = \"http\"", false),
        ("[net]\nbind_tcp = 4.5", false),
        ("[unix]\nconnect = [\"/run/x\"]", true),
        ("[unix]\nbind = [\"/run/x\"]", false),
        ("[scope]\nsignal = \"unrestricted\"\nabstract = \"unrestricted\"", true),
        ("[scope]\nsignal = true", false),
        ("[env]\nclear = true\npass = [\"PATH\", \"TERM\"]", true),
        ("[env]\nclear = \"yes\"", false),
        ("[env]\npass = [\"A=B\"]", false),
        ("[env]\npass = [\"\"]", false),
    ];

    #[test]
    fn the_schema_takes_what_the_library_takes() {
        let schema: Value = serde_json::from_str(&text()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let home = |name: &str| (name == "HOME").then(|| "/home/me".into());
        let built_in = PolicyFile::built_in().iter().map(|(_, text)| (*text, true));
        for (file, valid) in FILES.iter().copied().chain(built_in) {
            let value: Value = toml::from_str(file).unwrap();
            assert_eq!(validator.is_valid(&value), valid, "the schema: {file}");
            // What it includes is not there.
            let alone = file.replace(", \"./team.toml\"", "");
            let parsed = PolicyFile::parse(&alone, Path::new("/srv/project"), &home);
            assert_eq!(parsed.is_ok(), valid, "the library: {file}: {:?}", parsed.err());
        }
    }
}
