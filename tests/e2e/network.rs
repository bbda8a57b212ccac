//! ping and IPv6 over a TAP interface, in a network namespace of the test's own.
//!
//! Skipped, with the reason, where the machine does not let the test make one.

use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use selkie_tests::namespace::{INTERFACE, Namespace};
use selkie_tests::system::{Options, System, Tap};
use selkie_tests::{data, ensure};

/// The address of `tests/systems/static.toml`, whose IPv6 address is made from the device's MAC address
/// (RFC 4291, appendix A).
const GUEST: &str = "192.168.77.2";
const GUEST_LINK_LOCAL: &str = "fe80::5054:ff:fe12:3456";
const HOST: &str = "192.168.77.1/24";

pub fn trials() -> Vec<Trial> {
    vec![Trial::ignorable_test("network::tap", tap)]
}

fn tap() -> Result<Completion, Failed> {
    let namespace = match Namespace::with_tap(&[HOST]) {
        Ok(namespace) => namespace,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let options = Options {
        tap: Some(Tap {
            interface: INTERFACE.into(),
            enter: namespace.enter(),
        }),
        ..Options::default()
    };
    let system = System::boot_with("static", &options)?;
    let scoped = format!("{GUEST_LINK_LOCAL}%{INTERFACE}");
    let checks = || -> Result<(), Failed> {
        // The interface's own IPv6 address may be used once nobody else has claimed it (RFC 4862, section 5.4).
        for address in [GUEST, &scoped] {
            wait_for_ping(&namespace, address)?;
        }
        ping(
            &namespace,
            &["-4", "-c", "10", "-i", "0.2", "-s", "1000", GUEST],
        )?;
        ping(
            &namespace,
            &["-6", "-c", "10", "-i", "0.2", "-s", "1000", &scoped],
        )?;
        fetch(&namespace, &format!("http://{GUEST}"))?;
        fetch(
            &namespace,
            &format!("http://[{GUEST_LINK_LOCAL}%25{INTERFACE}]"),
        )
    };
    checks().map_err(|error| system.failure(error.message().unwrap_or("no message")))?;
    Ok(Completion::Completed)
}

fn wait_for_ping(namespace: &Namespace, address: &str) -> Result<(), Failed> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let words = ["ping", "-n", "-c", "1", "-W", "1", address];
        let output = namespace.run(&words, b"", Duration::from_secs(5))?;
        if output.code == Some(0) {
            return Ok(());
        }
        ensure(Instant::now() < end, || {
            format!("no answer to ping: {}{}", output.text(), output.err)
        })?;
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// All packets must come back.
fn ping(namespace: &Namespace, options: &[&str]) -> Result<(), Failed> {
    let mut words = vec!["ping", "-n"];
    words.extend(options);
    let output = namespace
        .run(&words, b"", Duration::from_secs(30))?
        .good()?;
    ensure(output.text().contains(" 0% packet loss"), || output.text())
}

/// A megabyte by HTTP, every byte compared.
fn fetch(namespace: &Namespace, base: &str) -> Result<(), Failed> {
    let length = 1 << 20;
    let url = format!("{base}/bytes/{length}");
    let words = ["curl", "-sS", "-g", "--noproxy", "*", &url];
    let got = namespace
        .run(&words, b"", Duration::from_secs(60))?
        .good()?
        .out;
    ensure(got == data::generated(length), || {
        format!("{url}: {} other bytes", got.len())
    })
}
