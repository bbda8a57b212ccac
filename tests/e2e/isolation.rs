//! A protection domain that reaches for what is not its own is stopped and named, and the service goes on.
//!
//! The systems of `tests/systems/` are the HTTP system with one more PD, `intruder`, whose configuration says
//! what it tries.

use std::time::Duration;

use libtest_mimic::Trial;
use selkie::cli::Protocol;
use selkie_tests::system::System;
use selkie_tests::{Outcome, client, data, ensure};

use crate::trial;

/// Systems with what the report of the fault must say besides the PD's name.
const INTRUSIONS: &[(&str, &str)] = &[
    ("intruder-reads-a-peer", "read"),
    ("intruder-reads-a-device", "read"),
    ("intruder-writes-its-code", "write"),
];

pub fn trials() -> Vec<Trial> {
    INTRUSIONS
        .iter()
        .map(|&(system, access)| {
            trial(format!("isolation::{system}"), move || {
                stopped(system, access)
            })
        })
        .collect()
}

fn stopped(name: &str, access: &str) -> Outcome {
    let system = System::boot(name)?;
    let line = system.wait_for_line(0, "intruder", Duration::from_secs(30))?;
    let log = system.guest.serial().text();
    let named = log
        .lines()
        .any(|line| line.contains("intruder") && line.contains("fault") && line.contains(access));
    ensure(named, || format!("no fault report (`{line}`) in:\n{log}"))?;
    let endpoint = system.endpoint(Protocol::Http)?;
    for _ in 0..3 {
        let response = client::get(&mut client::connect(endpoint)?, "/bytes/20000")?;
        ensure(response.body == data::generated(20_000), || {
            "other bytes".into()
        })?;
    }
    Ok(())
}
