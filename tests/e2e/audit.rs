//! Secrets stay where they belong: `selkie audit`, as a person runs it.

use std::time::Duration;

use libtest_mimic::{Completion, Trial};
use selkie::cli::root;
use selkie_tests::{Failed, Outcome, ensure, ground, program};
use serde_json::Value;

use crate::trial;

/// Sessions with the system as it is for use: three of each suite, version, kind of handshake and ending.
const SESSIONS: &str = "108";

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
    let search = Trial::ignorable_test("audit::secrets", || {
        if ground().is_microkit() {
            let reason = "memory of other boards than pc99 cannot be searched";
            return Ok(Completion::ignored_with(reason));
        }
        secrets().map(|()| Completion::Completed)
    });
    vec![trial("audit::flow", flow), search]
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

fn secrets() -> Outcome {
    let script = root().join("selkie").to_string_lossy().into_owned();
    let words = [
        script.as_str(),
        "audit",
        "secrets",
        "--json",
        "--sessions",
        SESSIONS,
    ];
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
