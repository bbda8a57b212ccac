//! Where private keys can flow: what a system's memory lets through, whatever its programs do.
//!
//! A *keeper* holds private keys and no sessions: a vault. Nobody else may map memory that it writes or that its keys
//! lie in at start. So no chain of shared memory, over however many protection domains, can lead from it to the
//! network; what it says it says in message registers, to whom it has a channel. The one exception is its log,
//! which it writes and the console reads: that is named wherever a flow is described.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use microkit_sdf::{Map, MemoryRegion, ProtectionDomain, System};

use crate::manifest::Holding;
use crate::plan::Plan;

/// What the domains of a system are, as far as flows of keys depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Those that hold private keys and nothing of sessions.
    pub keepers: BTreeSet<String>,
    /// Those that hold private keys and speak with the network themselves: nothing isolates these keys.
    pub exposed: BTreeSet<String>,
    /// Those that drive a network device.
    pub network: BTreeSet<String>,
    /// The regions that keepers write their log to.
    pub logs: BTreeSet<String>,
}

impl Roles {
    /// The roles in a planned system.
    pub fn of(plan: &Plan) -> Self {
        let mut roles = Self::default();
        for protection in &plan.protections {
            let holds = |what| protection.program.holds.contains(&what);
            let name = || protection.name.clone();
            match (holds(Holding::Keys), holds(Holding::Sessions)) {
                (true, false) => drop(roles.keepers.insert(name())),
                (true, true) => drop(roles.exposed.insert(name())),
                _ => {}
            }
            let kind = protection.device.as_ref().map_or("", |device| &device.kind);
            if kind.ends_with("-net") {
                roles.network.insert(name());
            }
        }
        let logs = plan
            .connections
            .iter()
            .filter(|c| c.interface.name == "log");
        for connection in logs {
            let consumer = &plan.protections[connection.consumer].name;
            let provider = &plan.protections[connection.provider].name;
            let region = format!("{consumer}.{}.to_{provider}", connection.consumer_port);
            if roles.keepers.contains(consumer) {
                roles.logs.insert(region);
            }
        }
        roles
    }
}

/// Every way in which a system lets private keys out of their keepers; empty for a sound one.
pub fn leaks(system: &System, roles: &Roles) -> Vec<String> {
    let mut leaks = Vec::new();
    for (domain, _) in system.domains() {
        if !roles.keepers.contains(&domain.name) {
            continue;
        }
        let keeper = &domain.name;
        for map in own_memory(system, domain) {
            let how = if map.permissions.write {
                "writes"
            } else {
                "has its keys in"
            };
            if roles.logs.contains(&map.region) {
                continue;
            }
            for other in others(system, domain, &map.region) {
                leaks.push(format!(
                    "`{keeper}` {how} `{}`, which `{other}` maps too",
                    map.region
                ));
            }
        }
        if roles.network.contains(keeper) {
            leaks.push(format!("`{keeper}` drives a network device"));
        }
        leaks.extend(chain(system, roles, keeper));
    }
    leaks
}

/// What keepers share with whom, for people.
pub fn describe(system: &System, roles: &Roles) -> String {
    let mut text = String::new();
    for (domain, parent) in system.domains() {
        let keeper = &domain.name;
        if !roles.keepers.contains(keeper) {
            continue;
        }
        let own: Vec<&str> = own_memory(system, domain)
            .map(|map| map.region.as_str())
            .collect();
        let (logs, own): (Vec<&str>, Vec<&str>) = own
            .into_iter()
            .partition(|region| roles.logs.contains(*region));
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "{keeper} keeps private keys");
        let mut line = |what: &str, values: &[String]| {
            if !values.is_empty() {
                let _ = writeln!(text, "  {what:<12} {}", values.join(", "));
            }
        };
        let quoted = |names: Vec<&str>| names.into_iter().map(str::to_string).collect::<Vec<_>>();
        line("its own", &quoted(own));
        let logs: Vec<String> = logs
            .iter()
            .map(|region| {
                format!(
                    "{region}, read by {}",
                    others(system, domain, region).join(", ")
                )
            })
            .collect();
        line("log", &logs);
        let (calls, called) = calls(system, keeper);
        line("answers", &called);
        line("calls", &calls);
        let parent = parent.map(|parent| system.domains()[parent].0.name.clone());
        line("watched by", &parent.into_iter().collect::<Vec<_>>());
    }
    for exposed in &roles.exposed {
        let _ = writeln!(
            text,
            "{exposed} holds private keys together with TLS sessions: nothing isolates them"
        );
    }
    if roles.keepers.is_empty() && roles.exposed.is_empty() {
        let _ = writeln!(text, "no protection domain holds private keys");
    }
    for leak in leaks(system, roles) {
        let _ = writeln!(text, "leak: {leak}");
    }
    text
}

/// The memory that a keeper writes, or that is filled for it at start.
fn own_memory<'a>(
    system: &'a System,
    domain: &'a ProtectionDomain,
) -> impl Iterator<Item = &'a Map> {
    domain.maps.iter().filter(|map| {
        let filled = system
            .region(&map.region)
            .is_some_and(|region| region.prefill.is_some());
        map.permissions.write || filled
    })
}

/// The other domains that map a region, or another region of the same physical memory, and the devices that reach it.
fn others(system: &System, domain: &ProtectionDomain, region: &str) -> Vec<String> {
    let aliases: BTreeSet<&str> = match system.region(region) {
        Some(region) => system
            .memory_regions
            .iter()
            .filter(|other| overlap(region, other))
            .map(|other| other.name.as_str())
            .collect(),
        None => BTreeSet::new(),
    };
    let maps = |other: &ProtectionDomain| other.maps.iter().any(|m| aliases.contains(&*m.region));
    let domains = system.domains().into_iter().map(|(other, _)| other);
    let domains = domains
        .filter(|other| other.name != domain.name && maps(other))
        .map(|other| other.name.clone());
    let devices = system.io_address_spaces.iter();
    let devices = devices
        .filter(|space| space.maps.iter().any(|map| aliases.contains(&*map.region)))
        .map(|space| space.name.clone());
    domains.chain(devices).collect()
}

/// Whether two regions are, in part, the same memory.
fn overlap(one: &MemoryRegion, other: &MemoryRegion) -> bool {
    let range = |region: &MemoryRegion| Some((region.phys_addr?, region.phys_addr? + region.size));
    match (range(one), range(other)) {
        _ if one.name == other.name => true,
        (Some((start, end)), Some((other_start, other_end))) => {
            start < other_end && other_start < end
        }
        _ => false,
    }
}

/// The shortest chain of memory from a keeper to the network, if there is one: each domain writes what the next reads.
fn chain(system: &System, roles: &Roles, keeper: &str) -> Option<String> {
    let domains = system.domains();
    let mut from: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut queue = VecDeque::from([keeper]);
    while let Some(name) = queue.pop_front() {
        if name != keeper && roles.network.contains(name) {
            return Some(format!(
                "memory leads from it to the network: {}",
                path(&from, name)
            ));
        }
        let (domain, _) = domains.iter().find(|(domain, _)| domain.name == name)?;
        for map in domain.maps.iter().filter(|map| map.permissions.write) {
            if name == keeper && roles.logs.contains(&map.region) {
                continue;
            }
            for (reader, _) in &domains {
                let reads = reader.maps.iter().any(|other| other.region == map.region);
                if reads && reader.name != keeper && !from.contains_key(&*reader.name) {
                    from.insert(&reader.name, (name, &map.region));
                    queue.push_back(&reader.name);
                }
            }
        }
    }
    None
}

fn path(from: &BTreeMap<&str, (&str, &str)>, last: &str) -> String {
    let mut path = format!("`{last}`");
    let mut at = last;
    while let Some((writer, region)) = from.get(at) {
        // A domain reads what it writes itself, too.
        if *writer == at {
            break;
        }
        path = format!("`{writer}` → {region} → {path}");
        at = writer;
    }
    path
}

/// Whom a domain calls, and who calls it.
fn calls(system: &System, name: &str) -> (Vec<String>, Vec<String>) {
    let ends = || system.channels.iter().map(|channel| &channel.ends);
    let other = |ends: &[microkit_sdf::End; 2], caller: bool| -> Option<String> {
        let [one, two] = ends;
        let (own, peer) = match () {
            () if one.domain == name => (one, two),
            () if two.domain == name => (two, one),
            () => return None,
        };
        let calls = if caller { own.call } else { peer.call };
        calls.then(|| peer.domain.clone())
    };
    (
        ends().filter_map(|ends| other(ends, true)).collect(),
        ends().filter_map(|ends| other(ends, false)).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use microkit_sdf::{Permissions, ProtectionDomain};

    fn roles() -> Roles {
        Roles {
            keepers: ["vault".to_string()].into(),
            network: ["nic".to_string()].into(),
            logs: ["vault.log.to_console".to_string()].into(),
            ..Roles::default()
        }
    }

    /// A system in which each of these maps these regions; `w` after a region's name: writing.
    fn system(domains: &[(&str, &[&str])]) -> System {
        let mut system = System::default();
        for (name, regions) in domains {
            let mut domain = ProtectionDomain::new(*name, format!("{name}.elf"));
            for region in *regions {
                let (region, permissions) = match region.strip_suffix(" w") {
                    Some(region) => (region, Permissions::READ_WRITE),
                    None => (*region, Permissions::READ),
                };
                domain.maps.push(Map {
                    region: region.into(),
                    vaddr: 0x2000_0000,
                    permissions,
                    cached: true,
                    setvar_vaddr: None,
                    setvar_size: None,
                    setvar_prefill_size: None,
                });
                if system.region(region).is_none() {
                    system.memory_regions.push(MemoryRegion {
                        comment: None,
                        name: region.into(),
                        size: 0x1000,
                        page_size: None,
                        phys_addr: None,
                        prefill: region.ends_with("keys").then(|| "keys.bin".into()),
                    });
                }
            }
            system.protection_domains.push(domain);
        }
        system
    }

    #[test]
    fn a_keeper_may_read_what_others_write_and_write_its_log() {
        let system = system(&[
            (
                "vault",
                &["heap w", "keys", "vault.log.to_console w", "consoles"],
            ),
            ("console", &["vault.log.to_console", "consoles w"]),
            ("nic", &["consoles"]),
        ]);
        assert_eq!(leaks(&system, &roles()), Vec::<String>::new());
        let text = describe(&system, &roles());
        assert!(text.contains("its own      heap, keys"), "{text}");
        assert!(
            text.contains("log          vault.log.to_console, read by console"),
            "{text}"
        );
    }

    #[test]
    fn keys_that_another_maps_are_a_leak() {
        let system = system(&[("vault", &["keys"]), ("tls", &["keys"])]);
        let leak = "`vault` has its keys in `keys`, which `tls` maps too";
        assert_eq!(leaks(&system, &roles()), [leak]);
    }

    #[test]
    fn memory_that_leads_to_the_network_is_named_link_by_link() {
        let system = system(&[
            ("vault", &["a w"]),
            ("tls", &["a", "b w"]),
            ("tcpip", &["b", "pool w"]),
            ("nic", &["pool w"]),
        ]);
        let found = leaks(&system, &roles());
        assert_eq!(found[0], "`vault` writes `a`, which `tls` maps too");
        assert_eq!(
            found[1],
            "memory leads from it to the network: `vault` → a → `tls` → b → `tcpip` → pool → `nic`"
        );
    }

    #[test]
    fn two_regions_of_the_same_physical_memory_are_one() {
        let mut system = system(&[("vault", &["own w"]), ("nic", &["dma w"])]);
        system.memory_regions[0].phys_addr = Some(0x10_0000);
        system.memory_regions[1].phys_addr = Some(0x10_0000);
        let leak = "`vault` writes `own`, which `nic` maps too";
        assert_eq!(leaks(&system, &roles()), [leak]);
    }

    #[test]
    fn a_keeper_has_no_network_device() {
        let mut roles = roles();
        roles.network.insert("vault".into());
        let leak = "`vault` drives a network device";
        assert_eq!(leaks(&system(&[("vault", &["heap w"])]), &roles), [leak]);
    }
}
