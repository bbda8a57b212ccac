//! Secrets stay where they belong: `selkie audit`, as a person runs it.

use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use selkie::cli::root;
use selkie_tests::{Failed, Outcome, ensure, ground, program};
use serde_json::Value;

use crate::trial;
use crate::vault::RSA;

/// Sessions with the system as it is for use: each suite, version, kind of handshake and ending with each of the keys.
const SESSIONS: &str = "180";

/// Keys that the system makes for itself, and the names that pick them.
const MADE: [(&str, &str); 3] = [
    (
        r#"{ make = "ecdsa-p256", names = ["p256.test"] }"#,
        "p256.test",
    ),
    (
        r#"{ make = "ecdsa-p384", names = ["p384.test"] }"#,
        "p384.test",
    ),
    (
        r#"{ make = "ed25519", names = ["made.test"] }"#,
        "made.test",
    ),
];

/// Keys that it has from files.
const FROM_FILES: [(&str, &str); 2] = [
    (r#"{ chain = "rsa.pem", key = "rsa.key" }"#, "rsa.test"),
    (
        r#"{ chain = "ed25519.pem", key = "ed25519.key" }"#,
        "ed25519.test",
    ),
];

/// What the sessions of the audit have.
const KINDS: [&str; 19] = [
    "shared secret",
    "traffic secret",
    "exporter secret",
    "resumption secret",
    "key schedule secret",
    "finished key",
    "master secret",
    "key block",
    "AEAD key",
    "IV",
    "AES round keys",
    "GHASH key",
    "Poly1305 key",
    "HMAC state",
    "request",
    "response",
    "ticket key",
    "private key",
    "private key as ring computes with it",
];

pub fn trials() -> Vec<Trial> {
    vec![trial("audit::flow", flow), trial("audit::secrets", secrets)]
}

/// Nobody but the vault reaches its keys.
fn flow() -> Outcome {
    let script = root().join("selkie").to_string_lossy().into_owned();
    let board = ground().board.name.as_str();
    let words = [script.as_str(), "audit", "flow", "https", "--board", board];
    let output = program::run(&words, b"", Duration::from_secs(900))?.good()?;
    let text = output.text();
    for expected in ["vault keeps private keys", "answers      tls"] {
        ensure(text.contains(expected), || text.clone())?;
    }
    ensure(!text.contains("leak"), || text.clone())
}

/// Whether keys from files are sure to be the holder's alone. On the boards of the Microkit SDK it is the SDK's initialiser
/// that decides what becomes of the loaded image.
fn has_keys_from_files() -> bool {
    !ground().is_microkit()
}

/// The keys of the system, and the names that pick them.
fn keys() -> Vec<(&'static str, &'static str)> {
    let from_files = FROM_FILES.iter().filter(|_| has_keys_from_files());
    MADE.iter().chain(from_files).copied().collect()
}

/// The HTTPS system with these keys: its description, and the files of private keys.
fn system() -> Result<(String, Vec<String>), Failed> {
    let folder = root().join("target/selkie/tests/systems/audit");
    let folder = folder.join(&ground().board.name);
    fs::create_dir_all(&folder)?;
    let mut files = Vec::new();
    for (name, pair) in [
        ("rsa", KeyPair::try_from(RSA)?),
        ("ed25519", KeyPair::generate_for(&PKCS_ED25519)?),
    ] {
        let params = CertificateParams::new(vec![format!("{name}.test")])?;
        let (chain, key) = (format!("{name}.pem"), folder.join(format!("{name}.key")));
        fs::write(folder.join(chain), params.self_signed(&pair)?.pem())?;
        fs::write(&key, pair.serialize_pem())?;
        if has_keys_from_files() {
            files.push(key.display().to_string());
        }
    }
    let text = fs::read_to_string(root().join("system/https.toml"))?;
    let shipped = text
        .lines()
        .find(|line| line.starts_with("data = { keys ="));
    let shipped = shipped.ok_or("the HTTPS system has no keys of its own")?;
    let list: Vec<&str> = keys().into_iter().map(|(key, _)| key).collect();
    let site = root().join("system/site");
    let text = text
        .replace("name = \"https\"", "name = \"audit\"")
        .replace(
            shipped,
            &format!("data = {{ keys = [{}] }}", list.join(", ")),
        )
        .replace("site = \"site\"", &format!("site = \"{}\"", site.display()));
    let file = folder.join("audit.toml");
    fs::write(&file, text)?;
    Ok((file.display().to_string(), files))
}

fn secrets() -> Outcome {
    let script = root().join("selkie").to_string_lossy().into_owned();
    let (system, files) = system()?;
    let mut words = vec![
        script.as_str(),
        "audit",
        "secrets",
        &system,
        "--board",
        &ground().board.name,
        "--json",
        "--sessions",
        SESSIONS,
    ];
    words.extend(files.iter().flat_map(|key| ["--key", key]));
    words.extend(keys().into_iter().flat_map(|(_, name)| ["--name", name]));
    let output = program::run(&words, b"", Duration::from_secs(900))?;
    let report: Value = serde_json::from_slice(&output.out)
        .map_err(|error| format!("{error}: {}\n{}", output.text(), output.err))?;
    ensure(report["passed"] == true && output.code == Some(0), || {
        format!("{report:#}")
    })?;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    ensure(number(&report["sessions"]) >= 100, || {
        report["sessions"].to_string()
    })?;
    for kind in KINDS {
        ensure(number(&report["control"]["found"][kind]) > 0, || {
            format!("the control has no {kind}: {}", report["control"]["found"])
        })?;
    }
    let from_files = FORMS_FROM_FILES.iter().filter(|_| has_keys_from_files());
    for form in FORMS_OF_MADE.iter().chain(from_files).copied() {
        let found = report["control"]["private_keys"].as_array();
        ensure(found.is_some_and(|all| all.contains(&form.into())), || {
            format!("the search does not know {form}: {found:?}")
        })?;
    }
    for (moment, kind) in LEFT_AT {
        left_at(&report["control"], moment, kind)?;
        ensure(
            moments(&report).any(|looked| looked["moment"] == moment),
            || format!("nobody looked {moment}"),
        )?;
    }
    rings(&report["control"])?;
    in_use(&report)
}

/// What of the private keys the search must find with their holder: that ring keeps them so is not documented.
/// The seed of the Ed25519 key is what the control leaves.
const FORMS_OF_MADE: [&str; 5] = [
    "p256.test: ECDSA scalar, Montgomery form",
    "p384.test: ECDSA scalar, Montgomery form",
    "made.test: Ed25519 scalar",
    "made.test: Ed25519 prefix",
    "made.test: Ed25519 seed",
];

/// As [`FORMS_OF_MADE`], of the keys from files.
const FORMS_FROM_FILES: [&str; 11] = [
    "RSA d",
    "RSA p",
    "RSA q",
    "RSA dp",
    "RSA dq",
    "RSA qinv",
    "R³ mod RSA p",
    "R³ mod RSA q",
    "RSA qinv, Montgomery form",
    "Ed25519 seed",
    "Ed25519 scalar",
];

/// What the control leaves at some moments, so that the search could have found it then.
const LEFT_AT: [(&str, &str); 3] = [
    ("after the ticket key's change", "ticket key"),
    ("after a fault of tls", "ticket key"),
    ("after a fault of tls", "AEAD key"),
];

fn left_at(control: &Value, moment: &str, kind: &str) -> Outcome {
    let looked = moments(control).filter(|looked| looked["moment"] == moment);
    let mut places = looked.flat_map(|looked| looked["places"].as_array().into_iter().flatten());
    let left = places.any(|place| place["kind"] == kind && place["allowed"] == false);
    ensure(left, || {
        format!("the control has no {kind} {moment}: {control:#}")
    })
}

/// Without wiping both directions leave plaintext in the memory that `tls` and its service share.
fn rings(control: &Value) -> Outcome {
    for kind in ["request", "response"] {
        let mut places = places(control).filter(|place| place["kind"] == kind);
        let shared = places.any(|place| {
            let name = place["place"].as_str().unwrap_or_default();
            place["allowed"] == false && name.starts_with("site, tls: ")
        });
        ensure(shared, || {
            format!("the control leaves no {kind} in a ring: {control:#}")
        })?;
    }
    Ok(())
}

fn moments(report: &Value) -> impl Iterator<Item = &Value> {
    report["moments"].as_array().into_iter().flatten()
}

fn places(report: &Value) -> impl Iterator<Item = &Value> {
    moments(report).flat_map(|moment| moment["places"].as_array().into_iter().flatten())
}

/// While they are in use secrets are found, in the `tls` protection domain.
fn in_use(report: &Value) -> Result<(), Failed> {
    let keys =
        places(report).filter(|place| place["kind"] == "AEAD key" && place["allowed"] == true);
    let mut keys = keys.filter_map(|place| place["place"].as_str());
    ensure(
        keys.next().is_some_and(|place| place.starts_with("tls: ")),
        || format!("no AEAD key is in use: {report:#}"),
    )
}
