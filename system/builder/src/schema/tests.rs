use std::fs;
use std::path::PathBuf;

use jsonschema::Validator;

use super::*;
use crate::diagnostics::Source;
use crate::toml::{self, Kind, Node};

fn root() -> PathBuf {
    crate::cli::root()
}

fn json_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Text(text) => json!(text),
        Kind::Integer(number) => json!(number),
        Kind::Boolean(boolean) => json!(boolean),
        Kind::List(nodes) => nodes.iter().map(json_of).collect(),
        Kind::Table(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), json_of(&entry.value)))
            .collect::<Map<String, Value>>()
            .into(),
        Kind::Other(_) => Value::Null,
    }
}

/// Returns the validator for the programs at `root`, without those whose manifests are wrong.
fn validator(root: &Path) -> Validator {
    let manifests = Manifests::find(root);
    let programs = manifests
        .names()
        .filter_map(|name| manifests.load(root, name)?.ok());
    jsonschema::draft7::new(&of(&programs.collect::<Vec<_>>())).unwrap()
}

/// Reads the description in a file; `None` if it is no TOML.
fn description(path: &Path) -> Option<Value> {
    let source = Source::read(path, &root()).ok()?;
    toml::parse(&source).ok().map(|document| json_of(&document))
}

/// Lists the files of a folder that end in `.toml`.
fn descriptions(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    assert!(!paths.is_empty(), "{folder}");
    paths
}

#[test]
fn the_file_is_what_the_command_prints() {
    let file = fs::read_to_string(root().join(FILE)).unwrap_or_default();
    assert!(
        file == text(&root()).unwrap(),
        "the schema has changed: ./selkie schema > {FILE}"
    );
}

#[test]
fn every_description_of_the_repository_fits_and_names_the_schema() {
    let validator = validator(&root());
    for path in [descriptions("system"), descriptions("tests/systems")].concat() {
        let description = description(&path).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&description)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
    }
    for path in descriptions("system") {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(
            first,
            "#:schema ./description.schema.json",
            "{}",
            path.display()
        );
    }
}

/// Files in `tests/golden` that break the schema, with the key that is wrong. Faults in the other files depend on a
/// board or on other PDs.
const FAULTS: [(&str, &str); 26] = [
    ("bad_size", "/protection/tcpip/memory"),
    ("config_choice_unknown", "/protection/tcpip/config/mode"),
    ("config_key_unknown", "/protection/tcpip/config"),
    ("config_list_of_numbers", "/protection/tcpip/config/dns/0"),
    ("config_missing", "/protection/site"),
    ("config_not_a_table", "/protection/tcpip/config"),
    ("config_type_wrong", "/protection/tcpip/config/ipv6"),
    (
        "config_value_out_of_range",
        "/protection/tcpip/config/ping_rate",
    ),
    ("connection_of_wrong_type", "/protection/tcpip/packets"),
    ("connection_without_from", "/protection/echo/streams"),
    ("data_folder_not_given", "/protection/site/data/site"),
    ("data_folder_unknown_key", "/protection/site/data/site"),
    ("data_not_given", "/protection/site"),
    ("data_unknown", "/protection/site/data"),
    ("keys_kind", "/protection/vault/data/keys"),
    ("keys_none", "/protection/vault/data/keys"),
    ("keys_without_key", "/protection/vault/data/keys"),
    ("list_for_one_connection", "/protection/tcpip/packets"),
    ("listen_port_out_of_range", "/protection/echo/streams"),
    ("missing_system_name", "/system"),
    ("name_invalid", "/protection"),
    ("not_a_power_of_two", "/protection/echo/streams"),
    ("priority_out_of_range", "/protection/echo/priority"),
    ("unknown_key", "/protection/echo"),
    ("unknown_key_of_system", "/system"),
    ("unknown_program", "/protection/echo/program"),
];

#[test]
fn faults_of_form_are_found_where_they_are() {
    let golden = root().join("system/builder/tests/golden");
    let validator = validator(&golden);
    let mut missed = Vec::new();
    for (case, place) in FAULTS {
        let description = description(&golden.join(format!("{case}.toml"))).unwrap();
        let places: Vec<String> = validator
            .iter_errors(&description)
            .map(|error| error.instance_path().to_string())
            .collect();
        if !places.iter().any(|found| found == place) {
            missed.push(format!("{case}: {places:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_key_of_a_protection_has_a_rule() {
    let manifests = Manifests::find(&root());
    let program = manifests.load(&root(), "tls").unwrap().unwrap();
    let program = Program {
        devices: manifests.load(&root(), "console").unwrap().unwrap().devices,
        ..program
    };
    for key in PROTECTION_KEYS {
        assert_ne!(protection_key(key, &program), Some(json!({})), "{key}");
    }
}

#[test]
fn a_programs_own_keys_are_completed() {
    let schema = schema(&root()).unwrap();
    let tls = &schema["definitions"]["program-tls"]["properties"];
    assert_eq!(tls["config"]["properties"]["tls12"]["type"], "boolean");
    assert!(tls["streams"]["oneOf"][1]["properties"]["listen"].is_object());
    let branches = schema["definitions"]["protection"]["allOf"]
        .as_array()
        .unwrap();
    assert!(branches.iter().any(|branch| {
        branch["if"]["properties"]["program"]["const"] == "tls"
            && branch["then"]["$ref"] == "#/definitions/program-tls"
    }));
}
