//! A protection domain that does what it must not is stopped and named, and the service goes on.
//!
//! The system is `tests/systems/intruder.toml`: HTTP, with one more PD, whose configuration says what it tries.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;
use microkit_sdf::{Architecture, System as Description};
use selkie::cli::{Protocol, root};
use selkie_tests::system::{System, built};
use selkie_tests::{Failed, Outcome, client, data, ensure, ground};

use crate::trial;

const NAME: &str = "intruder";

/// What the intruder tries, at what address, and what the supervisor must say of it.
struct Attack {
    name: &'static str,
    attack: &'static str,
    address: fn(&Description) -> Result<u64, Failed>,
    report: &'static str,
}

impl Attack {
    /// What is said on this board: to aarch64 and riscv64 an instruction of the kernel's is an undefined one.
    fn report_here(&self) -> &'static str {
        match (self.attack, ground().board.target.architecture) {
            ("privileged", Architecture::Aarch64 | Architecture::Riscv64) => {
                "undefined instruction"
            }
            // The processor does not tell whether something is mapped there.
            ("write", Architecture::Riscv64) if self.report.contains("only read") => {
                "intruder wrote to 0x20000000, which it may not"
            }
            _ => self.report,
        }
    }
}

const ATTACKS: &[Attack] = &[
    at(
        "reads_a_peers_memory",
        "read",
        heap_of_a_peer,
        "intruder read 0x",
    ),
    at(
        "writes_to_a_peers_memory",
        "write",
        heap_of_a_peer,
        "intruder wrote to 0x",
    ),
    at("reads_a_device", "read", registers, "intruder read 0x"),
    at(
        "writes_to_a_device",
        "write",
        registers,
        "intruder wrote to 0x",
    ),
    at(
        "writes_to_its_wiring",
        "write",
        own_wiring,
        "which it may only read",
    ),
    at("writes_to_its_code", "code", nowhere, "its own code"),
    at("jumps_to_nothing", "null", nowhere, "jumped to 0x0"),
    at(
        "overflows_its_stack",
        "stack",
        nowhere,
        "the stack is too small",
    ),
    at(
        "uses_a_capability_it_has_not",
        "capability",
        nowhere,
        "does not have",
    ),
    at(
        "stops_the_processor",
        "privileged",
        nowhere,
        "protection rule",
    ),
    at("forges_a_fault", "forge", nowhere, "sent this itself"),
    at("panics", "panic", nowhere, "intruder panicked"),
];

const fn at(
    name: &'static str,
    attack: &'static str,
    address: fn(&Description) -> Result<u64, Failed>,
    report: &'static str,
) -> Attack {
    Attack {
        name,
        attack,
        address,
        report,
    }
}

pub fn trials() -> Vec<Trial> {
    ATTACKS
        .iter()
        .map(|attack| trial(format!("isolation::{}", attack.name), || stopped(attack)))
        .collect()
}

fn stopped(attack: &Attack) -> Outcome {
    let system = System::boot(&variant(attack)?.to_string_lossy())?;
    let report = attack.report_here();
    system.wait_for_line(0, report, Duration::from_secs(30))?;
    let log = system.guest.serial().text();
    ensure(!log.contains("attack succeeded"), || log.clone())?;
    let report = log.lines().find(|line| line.contains(report));
    ensure(
        report.is_some_and(|line| line.contains("supervisor")),
        || log.clone(),
    )?;
    let endpoint = system.endpoint(Protocol::Http)?;
    for _ in 0..3 {
        let response = client::get(&mut client::connect(endpoint)?, "/bytes/20000")?;
        ensure(response.body == data::generated(20_000), || {
            system_log(&system)
        })?;
    }
    Ok(())
}

fn system_log(system: &System) -> String {
    format!(
        "other bytes came; the log:\n{}",
        system.guest.serial().text()
    )
}

/// The description in which the intruder does this.
fn variant(attack: &Attack) -> Result<PathBuf, Failed> {
    let peaceful = built(NAME)?;
    let text = fs::read_to_string(peaceful.folder.join(format!("{NAME}.system")))?;
    let description = microkit_sdf::parse(&text, &ground().board.target, &[&peaceful.folder])
        .map_err(|error| error.to_string())?;
    let address = (attack.address)(&description)?;
    let text = fs::read_to_string(root().join(format!("tests/systems/{NAME}.toml")))?;
    let text = text
        .replace(
            "attack = \"none\", address = \"0x0\"",
            &format!("attack = \"{}\", address = \"{address:#x}\"", attack.attack),
        )
        .replace(
            &format!("name = \"{NAME}\""),
            &format!("name = \"{NAME}-{}\"", attack.name.replace('_', "-")),
        );
    let folder = root().join("target/selkie/tests/systems");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{NAME}-{}.toml", attack.name));
    fs::write(&file, text)?;
    Ok(file)
}

fn nowhere(_: &Description) -> Result<u64, Failed> {
    Ok(0)
}

/// An address at which another PD has its heap, and the intruder nothing.
fn heap_of_a_peer(description: &Description) -> Result<u64, Failed> {
    foreign(description, |domain, region| {
        domain != NAME && region.ends_with(".heap")
    })
}

/// An address at which the network driver has its device's registers, and the intruder nothing.
fn registers(description: &Description) -> Result<u64, Failed> {
    foreign(description, |_, region| region.starts_with("net0."))
}

/// An address of somebody else's mapping at which the intruder maps nothing.
fn foreign(description: &Description, wanted: impl Fn(&str, &str) -> bool) -> Result<u64, Failed> {
    let own: Vec<(u64, u64)> = mappings(description)
        .filter(|(domain, ..)| *domain == NAME)
        .map(|(_, _, address, size)| (address, address + size))
        .collect();
    mappings(description)
        .filter(|(domain, region, ..)| wanted(domain, region))
        .flat_map(|(_, _, address, size)| (address..address + size).step_by(4096))
        .find(|address| own.iter().all(|(from, to)| address < from || address >= to))
        .ok_or_else(|| "the intruder has something at each such address".into())
}

/// Where the intruder reads its own wiring.
fn own_wiring(description: &Description) -> Result<u64, Failed> {
    mappings(description)
        .find(|(domain, region, ..)| *domain == NAME && region.ends_with(".wiring"))
        .map(|(_, _, address, _)| address)
        .ok_or_else(|| "the intruder has no wiring".into())
}

/// Every mapping: domain, region, address and size.
fn mappings(description: &Description) -> impl Iterator<Item = (&str, &str, u64, u64)> {
    description.domains().into_iter().flat_map(|(domain, _)| {
        domain.maps.iter().filter_map(|map| {
            let region = description.region(&map.region)?;
            Some((
                domain.name.as_str(),
                map.region.as_str(),
                map.vaddr,
                region.size,
            ))
        })
    })
}
