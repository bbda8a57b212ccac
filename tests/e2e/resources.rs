//! What the systems need: memory, image, copies, notifications, and rest when nobody asks.

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Trial};
use microkit_sdf::Architecture;
use selkie::cli::{Built, Endpoint, Protocol};
use selkie_tests::system::System;
use selkie_tests::{Failed, Outcome, client, data, ensure, ground};
use serde_json::Value;

use crate::{SYSTEMS, trial};

/// The most bytes that a system's boot image may have: initialiser, protection domains and site, and on pc99 the kernel.
const IMAGE: u64 = 3_000_000;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("resources::image", image),
        Trial::ignorable_test("resources::memory", memory),
        trial("resources::copies", copies),
        trial("resources::notifications", notifications),
        trial("resources::idle", idle),
        trial("resources::capture", capture),
    ]
}

/// What `/status.json` says.
#[derive(Debug)]
pub struct Status(Value);

/// Asks for the status.
pub fn status(endpoint: &Endpoint) -> Result<Status, Failed> {
    let body = client::curl(endpoint, "/status.json", &[])?.out;
    Ok(Status(serde_json::from_slice(&body).map_err(|error| {
        format!("{error} in {}", String::from_utf8_lossy(&body))
    })?))
}

impl Status {
    /// The protection domains' names.
    pub fn domains(&self) -> Vec<String> {
        let domains = self.0["domains"].as_array().into_iter().flatten();
        domains
            .filter_map(|domain| domain["name"].as_str().map(str::to_string))
            .collect()
    }

    /// A counter of a protection domain.
    pub fn counter(&self, domain: &str, name: &str) -> Result<u64, Failed> {
        let domains = self.0["domains"].as_array().into_iter().flatten();
        domains
            .filter(|entry| entry["name"] == domain)
            .find_map(|entry| entry["counters"][name].as_u64())
            .ok_or_else(|| format!("no counter `{name}` of `{domain}` in {}", self.0).into())
    }

    /// Milliseconds since the start.
    pub fn uptime(&self) -> Result<u64, Failed> {
        let uptime = self.0["uptime_ms"].as_u64();
        uptime.ok_or_else(|| format!("no uptime in {}", self.0).into())
    }

    /// Copies per payload byte, `received` or `sent`.
    fn copies(&self, direction: &str) -> Result<f64, Failed> {
        self.0["copies_per_payload_byte"][direction]
            .as_f64()
            .ok_or_else(|| format!("no copies `{direction}` in {}", self.0).into())
    }
}

fn image() -> Outcome {
    for name in ["https", "http", "echo"] {
        let system = SYSTEMS.system(name)?;
        let size = own_size(&system.built)?;
        println!("measured: the boot image of {name} has {size} bytes");
        ensure(size <= IMAGE, || {
            format!("{name}: {size} bytes are more than {IMAGE}")
        })?;
    }
    Ok(())
}

/// Bytes of the boot image; on a board of the Microkit SDK, those beyond the SDK's own loader and kernel.
fn own_size(built: &Built) -> Result<u64, Failed> {
    let report: Value = serde_json::from_slice(&fs::read(built.folder.join("report.json"))?)?;
    let given = report["boot"]["sdk"]["loader_and_kernel"].as_u64();
    Ok(built.image_size.saturating_sub(given.unwrap_or(0)))
}

/// The tests' systems run in 64 MiB where the kernel does not fix another amount: QEMU itself says how much it is. Where
/// the kernel does, what the protection domains themselves take is said.
fn memory() -> Result<Completion, Failed> {
    let system = SYSTEMS.system("https")?;
    if ground().board.target.architecture != Architecture::X86_64 {
        let own: u64 = system.built.domains.iter().map(|d| d.memory).sum();
        println!("measured: the protection domains of https have {own} bytes of their own");
        return Ok(Completion::ignored_with(
            "the SDK's kernel fixes this machine's memory",
        ));
    }
    let answer = system
        .guest
        .qmp()?
        .execute("query-memory-size-summary", Value::Null)
        .map_err(selkie_qemu::Error::from)?;
    ensure(answer["base-memory"] == 64 << 20, || answer.to_string())?;
    Ok(Completion::Completed)
}

/// At most one copy a trust boundary, over HTTPS and in both directions.
fn copies() -> Outcome {
    let system = System::boot("https")?;
    let endpoint = system.endpoint(Protocol::Https)?;
    client::curl(endpoint, "/bytes/8388608", &["-o", "/dev/null"])?;
    let sent = data::random(8 << 20, 21);
    client::curl_with_input(endpoint, "/digest", &["--data-binary", "@-"], &sent)?;
    let status = status(endpoint)?;
    for direction in ["received", "sent"] {
        let copies = status.copies(direction)?;
        println!("measured: {copies} copies a byte {direction} over HTTPS");
        ensure((1.0..=4.0).contains(&copies), || {
            system
                .failure(&format!("{copies} copies a byte {direction}"))
                .message()
                .unwrap_or_default()
                .to_string()
        })?;
    }
    Ok(())
}

/// In a bulk transfer one wake-up of the stack, and one interrupt, serve at least eight packets.
fn notifications() -> Outcome {
    let system = SYSTEMS.system("https")?;
    let endpoint = system.endpoint(Protocol::Https)?;
    let sent = data::random(8 << 20, 22);
    let upload = ["--data-binary", "@-"];
    let down = || client::curl(endpoint, "/bytes/8388608", &["-o", "/dev/null"]).map(drop);
    let up = || client::curl_with_input(endpoint, "/digest", &upload, &sent).map(drop);
    let transfers: [(&str, &dyn Fn() -> Outcome); 2] = [("down", &down), ("up", &up)];
    for (name, transfer) in transfers {
        let before = status(endpoint)?;
        transfer()?;
        let after = status(endpoint)?;
        let grown = |domain: &str, counter: &str| -> Result<u64, Failed> {
            Ok(after.counter(domain, counter)? - before.counter(domain, counter)?)
        };
        let packets = grown("nic", "frames_received")? + grown("nic", "frames_sent")?;
        let wakeups = grown("tcpip", "wakeups")?;
        let interrupts = grown("nic", "interrupts")?;
        let kicks = grown("nic", "device_notifications")?;
        println!(
            "measured: 8 MiB {name} over HTTPS: {packets} packets, {wakeups} wake-ups of tcpip, {interrupts} interrupts, \
             {kicks} notifications to the device"
        );
        for (what, count) in [("wake-ups", wakeups), ("interrupts", interrupts)] {
            ensure(count * 8 <= packets, || {
                format!("{name}: {count} {what} for {packets} packets")
            })?;
        }
    }
    Ok(())
}

/// A system that nobody asks does not work. The processor time is measured and said; what is asserted is
/// that nothing is woken up.
fn idle() -> Outcome {
    let system = System::boot("https")?;
    let endpoint = system.endpoint(Protocol::Https)?;
    // What booting left behind (router advertisements, abandoned connections) is over by then.
    std::thread::sleep(Duration::from_secs(10));
    let earlier = status(endpoint)?;
    let process = system.guest.process().pid;
    let (before, start) = (ticks(process)?, Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let used = (ticks(process)? - before) as f64 / TICKS_PER_SECOND;
    let share = 100.0 * used / start.elapsed().as_secs_f64();
    let later = status(endpoint)?;
    let grown = |domain: &str, counter: &str| -> Result<u64, Failed> {
        Ok(later.counter(domain, counter)? - earlier.counter(domain, counter)?)
    };
    let wakeups = grown("tcpip", "wakeups")?;
    let interrupts = grown("nic", "interrupts")?;
    println!(
        "measured: idle for 20 s: {share:.2} % of a processor, {wakeups} wake-ups of tcpip, {interrupts} interrupts of nic \
         (one question for the status among them)"
    );
    // The question itself takes some tens; polling would take thousands.
    ensure(wakeups < 200 && interrupts < 200, || {
        "something polls".into()
    })
}

/// User and system time in clock ticks (proc(5), `/proc/PID/stat`, fields 14 and 15).
fn ticks(process: u32) -> Result<u64, Failed> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times: Result<Vec<u64>, _> = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect();
    Ok(times?.iter().sum())
}

/// Linux reports times in hundredths of a second on every architecture that QEMU runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// `--pcap`'s file is one that tshark reads, with the frames of a request.
fn capture() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("capture.pcap");
    let options = selkie_tests::system::Options {
        pcap: Some(file.clone()),
        ..Default::default()
    };
    let system = System::boot_with("http", &options)?;
    client::curl(system.endpoint(Protocol::Http)?, "/bytes/5", &[])?;
    // QEMU writes the file's last frames when it ends.
    system.guest.quit(Duration::from_secs(5));
    let file = file.to_string_lossy().into_owned();
    let words = [
        "tshark",
        "-r",
        &file,
        "-Y",
        "http.request",
        "-T",
        "fields",
        "-e",
        "http.request.uri",
    ];
    let seen = selkie_tests::program::run(&words, b"", Duration::from_secs(60))?.good()?;
    ensure(seen.text().lines().any(|uri| uri == "/bytes/5"), || {
        seen.text()
    })
}
