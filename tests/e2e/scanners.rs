//! Scans of the HTTPS system by sslyze and testssl.sh. Skipped, with the reason, if a scanner is not installed:
//! `./selkie test` installs testssl.sh from Debian and sslyze from PyPI, into `target/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use selkie::cli::{Endpoint, Protocol, SSLYZE, root};
use selkie::settings::Configuration;
use selkie_tests::{ensure, ground, program};

use crate::SYSTEMS;

/// testssl.sh makes several hundred connections, one after the other.
const PATIENCE: Duration = Duration::from_secs(480);

/// The findings of a scanner, by their names.
type Scan = fn(&Endpoint, &Path) -> Result<BTreeSet<String>, Failed>;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &'static str, program: PathBuf, scan: Scan| {
        Trial::ignorable_test(format!("scanners::{name}"), move || {
            run(name, &program, scan)
        })
    };
    vec![
        trial("sslyze", root().join(SSLYZE), sslyze),
        trial("testssl", "/usr/bin/testssl".into(), testssl),
    ]
}

fn run(name: &str, program: &Path, scan: Scan) -> Result<Completion, Failed> {
    if !program.exists() {
        let reason = format!("there is no {}", program.display());
        return Ok(Completion::ignored_with(reason));
    }
    let ground = ground();
    if ground.is_microkit() || ground.configuration != Configuration::Release {
        let reason =
            "the programs are the same everywhere: pc99 in release configuration is scanned";
        return Ok(Completion::ignored_with(reason));
    }
    let system = SYSTEMS.system("https")?;
    let found = scan(system.endpoint(Protocol::Https)?, program)
        .map_err(|error| system.failure(error.message().unwrap_or("no message")))?;
    judge(
        name,
        &found,
        &fs::read_to_string(root().join("tests/scanner-findings.txt"))?,
    )?;
    Ok(Completion::Completed)
}

/// Compares findings with the list of accepted ones, which has a line `SCANNER FINDING: REASON` for each.
fn judge(scanner: &str, found: &BTreeSet<String>, list: &str) -> Result<(), Failed> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter_map(|line| line.strip_prefix(scanner)?.trim().split_once(": "));
    let accepted: Vec<(&str, &str)> = lines.collect();
    let is_known = |finding: &str| accepted.iter().any(|(known, _)| *known == finding);
    let new: Vec<&String> = found.iter().filter(|finding| !is_known(finding)).collect();
    ensure(new.is_empty(), || {
        format!(
            "{scanner} complains of {new:?}, for which tests/scanner-findings.txt has no reason"
        )
    })?;
    let gone = accepted
        .iter()
        .find(|(known, reason)| !reason.ends_with("(sometimes)") && !found.contains(*known));
    ensure(gone.is_none(), || {
        format!(
            "{scanner} no longer complains of {gone:?}: take it out of tests/scanner-findings.txt"
        )
    })
}

/// Runs all scans of sslyze, which must end without an error, and compares with Mozilla's "intermediate" profile.
fn sslyze(endpoint: &Endpoint, program: &Path) -> Result<BTreeSet<String>, Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("result.json");
    let json = format!("--json_out={}", file.display());
    let address = endpoint.address().to_string();
    let words = [
        program.as_os_str(),
        "--mozilla_config=intermediate".as_ref(),
        json.as_ref(),
        address.as_ref(),
    ];
    let text = program::run(&words, b"", PATIENCE)?.text();
    let result: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)
        .map_err(|error| format!("{error} in sslyze's result; it said:\n{text}"))?;
    let scans = result["server_scan_results"][0]["scan_result"].as_object();
    let scans = scans.ok_or_else(|| format!("no scan has a result; sslyze said:\n{text}"))?;
    ensure(
        scans.contains_key("robot") && scans.contains_key("tls_1_3_cipher_suites"),
        || format!("not the scans that were expected: {:?}", scans.keys()),
    )?;
    for (name, scan) in scans {
        let status = scan["status"].as_str().unwrap_or_default();
        ensure(matches!(status, "COMPLETED" | "NOT_SCHEDULED"), || {
            format!(
                "the scan {name} ended with {status}: {}",
                scan["error_trace"]
            )
        })?;
    }
    let (_, verdict) = text
        .split_once("Mozilla's \"intermediate\" configuration")
        .ok_or_else(|| format!("no verdict on the profile in:\n{text}"))?;
    let complaints = verdict
        .lines()
        .filter_map(|line| line.trim().strip_prefix("* "));
    let names = complaints.filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.to_owned()).collect())
}

/// Scans protocols, ciphers, the server's defaults, its headers and all vulnerabilities that testssl.sh knows.
fn testssl(endpoint: &Endpoint, program: &Path) -> Result<BTreeSet<String>, Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("result.json");
    let (json, address) = (file.display().to_string(), endpoint.address().to_string());
    let mut words = vec![program.display().to_string()];
    let options = "--quiet --warnings batch --color 0 -p -s -f -P -S -h -U --jsonfile";
    words.extend(options.split(' ').map(str::to_owned));
    words.extend([json, address]);
    let text = program::run(&words, b"", PATIENCE)?.text();
    let result: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&file)?)
        .map_err(|error| format!("{error} in testssl's result; it said:\n{text}"))?;
    ensure(result.len() > 60, || {
        format!("only {} results; testssl said:\n{text}", result.len())
    })?;
    let mut found = BTreeSet::new();
    for line in &result {
        let field = |name: &str| line[name].as_str().unwrap_or_default();
        if !matches!(field("severity"), "OK" | "INFO") {
            // With several certificates the name has a suffix after a space.
            let name = field("id").split(' ').next().unwrap_or_default();
            found.insert(name.to_owned());
        }
    }
    Ok(found)
}
