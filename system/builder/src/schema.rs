//! A JSON Schema of system descriptions, from the tables that the builder reads descriptions by: the keys of a protection,
//! the parameters of each interface, and what each program's manifest declares.
//!
//! Editors complete and check descriptions with it. It is as strict as a description's form allows; what depends on a board
//! or on other protections is left to `selkie check`.
//!
//! The draft is 7 (<https://json-schema.org/draft-07>): the newest that editors' TOML extensions know.

#[cfg(test)]
mod tests;

use std::path::Path;

use channel::sign::MAX_KEYS;
use microkit_sdf::{MAX_NAME_LENGTH, MAX_PRIORITY};
use serde_json::{Map, Value, json};
use wiring::{Role, Value as Configured};

use crate::diagnostics::Diagnostics;
use crate::interface::{Interface, ParameterKind};
use crate::manifest::{Data, DataKind, Key, KeyKind, Manifests, PROTECTION_KEYS, Port, Program};
use crate::plan::{KEY_KINDS, TIME_RANGE};

/// The file of the repository that holds the schema.
pub const FILE: &str = "system/description.schema.json";

/// Returns the schema of descriptions, with the programs of the workspace at `root`.
///
/// # Errors
/// The faults of the programs' manifests.
pub fn schema(root: &Path) -> Result<Value, Diagnostics> {
    let manifests = Manifests::find(root);
    let (mut programs, mut problems) = (Vec::new(), Vec::new());
    for name in manifests.names() {
        match manifests.load(root, name) {
            Some(Ok(program)) => programs.push(program),
            Some(Err(found)) => problems.extend(found),
            None => {}
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics::new(problems));
    }
    Ok(of(&programs))
}

fn of(programs: &[Program]) -> Value {
    let mut definitions = Map::new();
    definitions.insert("name".into(), name());
    definitions.insert("size".into(), size());
    definitions.insert("protection".into(), protection(programs));
    for program in programs {
        definitions.insert(definition(program), program_schema(program));
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A Selkie system",
        "description": "A system description: docs/descriptions.md",
        "type": "object",
        "additionalProperties": false,
        "required": ["system", "protection"],
        "properties": {
            "system": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": {
                    "name": described(reference("name"), "names the output folder and the .system file"),
                    "memory": described(
                        reference("size"),
                        "memory of the machine in bytes, or with K, M or G; left out: the board's",
                    ),
                    "complete": {
                        "description": "whether nothing of the board file is added",
                        "type": "boolean", "default": false,
                    },
                },
            },
            "protection": {
                "description": "the protection domains (PDs), by name",
                "type": "object",
                "minProperties": 1,
                "propertyNames": reference("name"),
                "additionalProperties": reference("protection"),
            },
        },
        "definitions": definitions,
    })
}

/// Returns the schema as the text of [`FILE`].
///
/// # Errors
/// As [`schema`].
pub fn text(root: &Path) -> Result<String, Diagnostics> {
    Ok(format!("{:#}\n", schema(root)?))
}

fn name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[a-z][a-z0-9_-]*$",
        "maxLength": MAX_NAME_LENGTH,
        "not": { "const": "monitor" },
    })
}

fn size() -> Value {
    json!({
        "oneOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+[KMG]?$" },
        ],
    })
}

/// Returns the schema of a PD, whose keys depend on its program.
fn protection(programs: &[Program]) -> Value {
    let names: Vec<&str> = programs
        .iter()
        .map(|program| program.name.as_str())
        .collect();
    let branches: Vec<Value> = programs
        .iter()
        .map(|program| {
            json!({
                "if": { "properties": { "program": { "const": program.name } }, "required": ["program"] },
                "then": reference(&definition(program)),
            })
        })
        .collect();
    json!({
        "type": "object",
        "required": ["program"],
        "properties": {
            "program": { "description": PROGRAM, "enum": names },
        },
        "allOf": branches,
    })
}

const PROGRAM: &str = "the program that it runs: a folder of protections/";

/// Returns the schema of a PD that runs this program.
fn program_schema(program: &Program) -> Value {
    let mut properties = Map::new();
    let mut required = vec!["program"];
    for key in PROTECTION_KEYS {
        if let Some(value) = protection_key(key, program) {
            properties.insert(key.into(), value);
        }
    }
    let config = program.config.iter();
    if config
        .clone()
        .any(|key| !key.optional && key.default.is_none())
    {
        required.push("config");
    }
    if program.data.iter().any(is_required) {
        required.push("data");
    }
    let mut devices = program.devices.iter();
    if devices.next().is_some() && !program.device_optional {
        required.push("device");
    }
    let consumers = program
        .ports
        .iter()
        .filter(|port| port.role == Role::Consumer);
    for port in consumers {
        properties.insert(port.name.clone(), port_schema(port));
        if !port.optional && !port.interface.common {
            required.push(&port.name);
        }
    }
    json!({
        "description": program.description,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// Returns the schema of a key of every PD; `None` if PDs with this program do not have it.
fn protection_key(key: &str, program: &Program) -> Option<Value> {
    let time = |text: &str| {
        let (min, max) = TIME_RANGE;
        json!({ "description": text, "type": "integer", "minimum": min, "maximum": max })
    };
    Some(match key {
        "program" => json!({ "description": PROGRAM, "const": program.name }),
        "priority" => json!({
            "description": "higher is more urgent; left out: it follows from the connections",
            "type": "integer", "minimum": 0, "maximum": MAX_PRIORITY,
        }),
        "budget" => {
            time("microseconds that it may run in each period (MCS kernels); left out: 1000")
        }
        "period" => {
            time("microseconds, not less than the budget (MCS kernels); left out: the budget")
        }
        "passive" => json!({
            "description": "whether it answers on its callers' time (MCS kernels)",
            "type": "boolean", "default": program.passive,
        }),
        "memory" => described(
            reference("size"),
            "heap in bytes, or with K, M or G; left out: what the program and its connections need",
        ),
        "stack" => described(
            reference("size"),
            &format!(
                "stack in bytes, or with K or M, 4K to 16M; left out: {}",
                program.stack
            ),
        ),
        "device" if program.devices.is_empty() => return None,
        "device" => {
            let kinds: Vec<String> = program.devices.iter().map(ToString::to_string).collect();
            json!({
                "description": format!("a device of the board, of the kind {}", kinds.join(" or ")),
                "type": "string",
            })
        }
        "config" => keys_table("the program's configuration", &program.config),
        "data" => data_table(&program.data),
        "restart" => json!({
            "description": "whether it restarts after a fault",
            "type": "boolean", "default": program.restart,
            "enum": if program.restart { json!([true, false]) } else { json!([false]) },
        }),
        // Not reached: a test compares the keys. A key without a rule takes everything.
        _ => json!({}),
    })
}

fn keys_table(text: &str, keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.clone(), key_schema(key)))
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| !key.optional && key.default.is_none())
        .map(|key| key.name.as_str())
        .collect();
    json!({
        "description": text,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn key_schema(key: &Key) -> Value {
    let text = |choices: &[String]| match choices {
        [] => json!({ "type": "string" }),
        choices => json!({ "type": "string", "enum": choices }),
    };
    let mut schema = match &key.kind {
        KeyKind::Text(choices) => text(choices),
        KeyKind::Integer(min, max) => {
            let mut schema = json!({ "type": "integer" });
            for (bound, value, none) in [("minimum", min, i64::MIN), ("maximum", max, i64::MAX)] {
                if *value != none {
                    schema[bound] = json!(value);
                }
            }
            schema
        }
        KeyKind::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
        KeyKind::HeaderValue => json!({ "type": "string" }),
        KeyKind::Boolean => json!({ "type": "boolean" }),
        KeyKind::List(choices) => json!({ "type": "array", "items": text(choices) }),
    };
    schema["description"] = json!(key.help);
    if let Some(default) = &key.default {
        schema["default"] = plain(default);
    }
    schema
}

fn plain(value: &Configured) -> Value {
    match value {
        Configured::Text(text) => json!(text),
        Configured::Integer(number) => json!(number),
        Configured::Boolean(boolean) => json!(boolean),
        Configured::List(values) => values.iter().map(plain).collect(),
    }
}

/// Returns true if a description must give data.
fn is_required(data: &Data) -> bool {
    let given = matches!(
        data.kind,
        DataKind::Folder | DataKind::File | DataKind::Authorities
    );
    given && !data.optional
}

fn data_table(data: &[Data]) -> Value {
    let given = data.iter().filter(|data| data.kind != DataKind::Symbols);
    let properties: Map<String, Value> = given
        .map(|data| (data.name.clone(), data_schema(data.kind)))
        .collect();
    let required = data.iter().filter(|data| is_required(data));
    let required: Vec<&str> = required.map(|data| data.name.as_str()).collect();
    json!({
        "description": "the data that the program reads; paths are relative to the description",
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn data_schema(kind: DataKind) -> Value {
    match kind {
        DataKind::Folder => json!({
            "description": "a folder of files",
            "oneOf": [{ "type": "string" }, folder()],
        }),
        DataKind::File => json!({ "description": "a file", "type": "string" }),
        DataKind::Authorities => json!({
            "description": "a PEM file with the certificates of authorities",
            "type": "string",
        }),
        DataKind::Keys => json!({
            "description": "where the private keys come from",
            "oneOf": [
                key_source(),
                { "type": "array", "items": key_source(), "minItems": 1, "maxItems": MAX_KEYS },
            ],
        }),
        DataKind::Symbols => json!(false),
    }
}

/// Returns the schema of a site: its folder, and the rules for its paths and files (docs/site.md).
fn folder() -> Value {
    let texts = |text: &str| json!({ "description": text, "type": "object", "additionalProperties": { "type": "string" } });
    let page = |text: &str| json!({ "description": text, "type": "string" });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["folder"],
        "properties": {
            "folder": { "description": "the folder", "type": "string" },
            "follow_links": {
                "description": "whether links that lead out of the folder are meant: their targets are served",
                "type": "boolean", "default": false,
            },
            "not_found": page("the file for paths that are not found"),
            "fallback": page("the file that stands for all paths that are not found"),
            "listing": {
                "description": "whether folders without an index.html get a page that lists them",
                "type": "boolean", "default": false,
            },
            "types": texts("media types, by the extension of a file's name"),
            "cache": texts("values of Cache-Control, by path"),
            "headers": {
                "description": "header fields, by path",
                "type": "object",
                "additionalProperties": { "type": "object", "additionalProperties": { "type": "string" } },
            },
            "redirects": {
                "description": "targets, by path",
                "type": "object",
                "additionalProperties": { "oneOf": [{ "type": "string" }, {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["to"],
                    "properties": {
                        "to": { "description": "the target", "type": "string" },
                        "status": {
                            "description": "the status of the response",
                            "enum": [301, 302, 303, 307, 308], "default": 301,
                        },
                    },
                }] },
            },
            "rewrites": texts("paths of files, by path"),
        },
    })
}

/// Returns the schema of a private key's source.
fn key_source() -> Value {
    let kinds = KEY_KINDS.map(|(name, _)| name);
    json!({
        "oneOf": [
            {
                "description": "a key that the vault makes at its start",
                "type": "object",
                "additionalProperties": false,
                "required": ["make"],
                "properties": {
                    "make": { "description": "the kind of key", "enum": kinds },
                    "names": {
                        "description": "DNS names and IP addresses for its certificate",
                        "type": "array", "items": { "type": "string" },
                    },
                    "self_signed": {
                        "description": "whether it has a self-signed certificate until it gets an authority's",
                        "type": "boolean", "default": true,
                    },
                },
            },
            {
                "description": "a key from files, in the boot image: for development",
                "type": "object",
                "additionalProperties": false,
                "required": ["chain", "key"],
                "properties": {
                    "chain": { "description": "PEM file with the certificates, the key's own first", "type": "string" },
                    "key": { "description": "PEM file with the private key", "type": "string" },
                },
            },
        ],
    })
}

/// Returns the schema of a consumer's port.
fn port_schema(port: &Port) -> Value {
    let mut forms = peer(port.interface);
    if port.many {
        forms.push(json!({ "type": "array", "items": { "oneOf": forms } }));
    }
    json!({
        "description": format!("the protection that provides `{}`", port.interface.name),
        "oneOf": forms,
    })
}

/// Returns the schemas of a provider's name, alone or with parameters.
fn peer(interface: &Interface) -> Vec<Value> {
    let mut properties = Map::new();
    properties.insert("from".into(), described(reference("name"), "the provider"));
    for parameter in interface.parameters {
        properties.insert(parameter.name.into(), parameter_schema(parameter.kind));
    }
    vec![
        reference("name"),
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["from"],
            "properties": properties,
        }),
    ]
}

fn parameter_schema(kind: ParameterKind) -> Value {
    match kind {
        ParameterKind::Ports => {
            let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
            json!({ "oneOf": [port, { "type": "array", "items": port }] })
        }
        ParameterKind::Number(min, max, default) => {
            json!({ "type": "integer", "minimum": min, "maximum": max, "default": default })
        }
        ParameterKind::PowerOfTwo(min, max, default) => {
            let powers = (0..63).map(|shift| 1_i64 << shift);
            let powers: Vec<i64> = powers.filter(|power| (min..=max).contains(power)).collect();
            json!({ "type": "integer", "enum": powers, "default": default })
        }
        ParameterKind::Flag => json!({ "type": "boolean", "default": false }),
    }
}

fn definition(program: &Program) -> String {
    format!("program-{}", program.name)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// Adds a description to a schema. Draft 7 ignores keywords beside `$ref`, so the schema is in a list of one.
fn described(schema: Value, text: &str) -> Value {
    json!({ "description": text, "allOf": [schema] })
}
