//! The wirings of the protections, and the Microkit description that gives them what these say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use microkit_sdf as sdf;
use wiring::{Connection, Device, Dma, Domain, PortRange, Registers, Restart, Span, Value, Wiring};

use super::Contents;
use super::allocate::{Allocation, FIRST_ADDRESS, Region, Role};
use super::image::{self, Image};
use crate::board::{Interrupt, KernelKind};
use crate::plan::{Plan, pages};

/// Bytes of a page.
const PAGE: u64 = 0x1000;

/// The wiring of each protection.
pub(crate) fn wirings(
    plan: &Plan,
    images: &BTreeMap<String, Image>,
    allocation: &Allocation,
    contents: &Contents,
) -> Vec<Wiring> {
    let domains = domains(plan, images, allocation);
    let wiring = |index: usize| {
        let protection = &plan.protections[index];
        let data = contents[index].iter().enumerate();
        Wiring {
            name: protection.name.clone(),
            heap: allocation.span(&Role::Heap(index), index),
            connections: connections(plan, allocation, index),
            device: device(plan, allocation, index),
            data: data
                .map(|(place, (key, bytes))| {
                    let region = allocation.span(&Role::Data(index, place), index);
                    let span = Span {
                        // What is empty has no region.
                        address: region.map_or(FIRST_ADDRESS, |region| region.address),
                        size: bytes.len() as u64,
                    };
                    (key.clone(), span)
                })
                .collect(),
            config: protection.config.clone(),
            domains: if protection.program.domains {
                domains.clone()
            } else {
                Vec::new()
            },
            system: plan.name.clone(),
        }
    };
    (0..plan.protections.len()).map(wiring).collect()
}

fn domains(plan: &Plan, images: &BTreeMap<String, Image>, allocation: &Allocation) -> Vec<Domain> {
    let protections = plan.protections.iter().enumerate();
    protections
        .map(|(index, protection)| {
            let image = images.get(&protection.program.name);
            Domain {
                name: protection.name.clone(),
                program: protection.program.name.clone(),
                priority: protection.priority,
                memory: image.map_or(0, |image| image.memory)
                    + protection.stack
                    + protection.memory,
                child: allocation.children[index],
                entries: image.and_then(|image| image.entries),
                restart: protection.restart,
            }
        })
        .collect()
}

/// What each protection wipes and rebuilds when it starts over. Memory for devices' transfers is left alone: the device
/// may be at work there, and half a descriptor names an address that nobody chose.
pub(crate) fn restarts(
    plan: &Plan,
    images: &BTreeMap<String, Image>,
    allocation: &Allocation,
) -> Vec<Restart> {
    let protections = plan.protections.iter().enumerate();
    protections
        .map(|(index, protection)| {
            let own = |region: &&Region| match region.role {
                Role::Heap(owner) => owner == index,
                Role::FromProvider(c) => plan.connections[c].provider == index,
                Role::FromConsumer(c) => plan.connections[c].consumer == index,
                _ => false,
            };
            let regions = allocation.regions.iter().filter(own);
            let spans = regions.filter_map(|region| allocation.span(&region.role, index));
            let image = images.get(&protection.program.name);
            let (data_address, data) = image.map(|image| image.data.clone()).unwrap_or_default();
            let ipc_buffer = Span {
                address: plan.board.target.ipc_buffer(),
                size: PAGE,
            };
            let writable = image.iter().flat_map(|image| image.writable.clone());
            Restart {
                stack: Span {
                    address: plan.board.target.map_end(protection.stack),
                    size: protection.stack,
                },
                wiped: writable.chain(spans).chain([ipc_buffer]).collect(),
                data_address,
                data,
            }
        })
        .collect()
}

fn connections(plan: &Plan, allocation: &Allocation, protection: usize) -> Vec<Connection> {
    let mut found = Vec::new();
    for (index, connection) in plan.connections.iter().enumerate() {
        let (from_provider, from_consumer) = (Role::FromProvider(index), Role::FromConsumer(index));
        let pool = Role::Pool(index);
        let mut parameters = connection.parameters.clone();
        let (port, peer, role, own, peers, channel);
        if connection.consumer == protection {
            port = &connection.consumer_port;
            peer = connection.provider;
            role = wiring::Role::Consumer;
            (own, peers) = (from_consumer, from_provider);
            channel = allocation.channels[index].map(|(consumer, _)| consumer);
        } else if connection.provider == protection {
            port = &connection.provider_port;
            peer = connection.consumer;
            role = wiring::Role::Provider;
            (own, peers) = (from_provider, from_consumer);
            channel = allocation.channels[index].map(|(_, provider)| provider);
            if connection.interface.name == "pci" {
                parameters.extend(device_parameters(plan, peer));
            }
        } else {
            continue;
        }
        found.push(Connection {
            port: port.clone(),
            peer: plan.protections[peer].name.clone(),
            interface: connection.interface.name.to_string(),
            role,
            channel,
            own: allocation.span(&own, protection),
            peers: allocation.span(&peers, protection),
            pool: dma(allocation, &pool, protection),
            parameters,
        });
    }
    found
}

/// What the owner of PCI configuration space has to know of a protection's device.
fn device_parameters(plan: &Plan, protection: usize) -> Vec<(String, Value)> {
    let Some(device) = &plan.protections[protection].device else {
        return Vec::new();
    };
    let number = |value: u64| Value::Integer(value as i64);
    let bars = device.registers.iter().filter_map(|registers| {
        let bar = registers.bar?;
        Some(Value::List(vec![
            number(bar.into()),
            number(registers.address),
            number(registers.size),
        ]))
    });
    let mut parameters = vec![
        ("device".to_string(), Value::Text(device.name.clone())),
        ("bars".to_string(), Value::List(bars.collect())),
    ];
    if let Some(address) = device.pci_number() {
        parameters.push(("pci_address".into(), number(address.into())));
    }
    parameters
}

fn dma(allocation: &Allocation, role: &Role, protection: usize) -> Option<Dma> {
    Some(Dma {
        span: allocation.span(role, protection)?,
        physical: allocation.region(role)?.physical?,
    })
}

fn device(plan: &Plan, allocation: &Allocation, protection: usize) -> Option<Device> {
    let device = plan.protections[protection].device.as_ref()?;
    let registers = device.registers.iter().enumerate();
    let ports = device.ports.iter().enumerate();
    Some(Device {
        name: device.name.clone(),
        kind: device.kind.clone(),
        bus: device.bus.clone(),
        registers: registers
            .filter_map(|(place, registers)| {
                Some(Registers {
                    span: allocation.span(&Role::Registers(protection, place), protection)?,
                    physical: registers.address,
                    bar: registers.bar,
                })
            })
            .collect(),
        interrupts: allocation.interrupts[protection].clone(),
        ports: ports
            .map(|(id, &(base, size))| PortRange {
                id: id as u8,
                base,
                size,
            })
            .collect(),
        dma: dma(allocation, &Role::Transfers(protection), protection),
        pci_address: device.pci_number(),
        properties: device.properties.clone(),
    })
}

/// The Microkit description, and the prefill files that it names.
pub(crate) fn system(
    plan: &Plan,
    allocation: &Allocation,
    wirings: &[Wiring],
    restarts: &[Restart],
    contents: &Contents,
) -> (sdf::System, Vec<(PathBuf, Vec<u8>)>) {
    let mut prefills = Vec::new();
    let mut regions = Vec::new();
    let wirings = wirings.iter().zip(restarts);
    for (protection, (wiring, restart)) in plan.protections.iter().zip(wirings) {
        let name = format!("{}.wiring", protection.name);
        let bytes = wiring.to_bytes(restart);
        let path = prefill_path(&name);
        regions.push(sdf::MemoryRegion {
            comment: None,
            size: pages(bytes.len() as u64),
            page_size: Some(sdf::PageSize::Small),
            phys_addr: None,
            prefill: Some(path.clone()),
            name,
        });
        prefills.push((path, bytes));
    }
    if let Some(first) = regions.first_mut() {
        first.comment = Some("What each protection domain is told of its connections.".into());
    }
    let mut section = None;
    for region in &allocation.regions {
        let data = match region.role {
            Role::Data(protection, place) => Some(&contents[protection][place].1),
            _ => None,
        };
        let this = comment(plan, region);
        for part in region.parts() {
            let end = |data: &Vec<u8>| data.len().min((part.offset + part.size) as usize);
            let bytes = data.map(|data| data[part.offset as usize..end(data)].to_vec());
            let path = bytes.as_ref().map(|_| prefill_path(&part.name));
            regions.push(sdf::MemoryRegion {
                comment: (section.as_ref() != Some(&this)).then(|| this.clone()),
                name: part.name,
                size: part.size,
                page_size: Some(part.page_size),
                phys_addr: region.physical,
                prefill: path.clone(),
            });
            section = Some(this.clone());
            prefills.extend(path.zip(bytes));
        }
    }
    let system = sdf::System {
        comment: Some(format!(
            "The system {} for the board {}, made by Selkie from its description: change that, not this.",
            plan.name, plan.board.name
        )),
        memory_regions: regions,
        protection_domains: protection_domains(plan, allocation),
        channels: channels(plan, allocation),
        io_address_spaces: io_address_spaces(plan, allocation),
    };
    (system, prefills)
}

fn prefill_path(region: &str) -> PathBuf {
    PathBuf::from("regions").join(format!("{region}.bin"))
}

/// What a region is for, in words.
fn comment(plan: &Plan, region: &Region) -> String {
    let name = |index: usize| &plan.protections[index].name;
    match region.role {
        Role::Pool(c) | Role::FromProvider(c) | Role::FromConsumer(c) => {
            let connection = &plan.connections[c];
            format!(
                "{}: {} serves {}",
                connection.interface.name,
                name(connection.provider),
                name(connection.consumer)
            )
        }
        Role::Heap(p) | Role::Registers(p, _) | Role::Transfers(p) | Role::Data(p, _) => {
            format!("{}'s own", name(p))
        }
    }
}

fn protection_domains(plan: &Plan, allocation: &Allocation) -> Vec<sdf::ProtectionDomain> {
    let supervisor = plan.supervisor();
    let mut roots = Vec::new();
    let mut children = Vec::new();
    for index in 0..plan.protections.len() {
        let domain = protection_domain(plan, allocation, index);
        if domain.child.is_some() {
            children.push(domain);
        } else {
            roots.push(domain);
        }
    }
    if supervisor.is_some()
        && let [parent] = &mut roots[..]
    {
        parent.children = children;
    }
    roots
}

fn protection_domain(plan: &Plan, allocation: &Allocation, index: usize) -> sdf::ProtectionDomain {
    let protection = &plan.protections[index];
    let path = image::path(&protection.program.name);
    let mut domain = sdf::ProtectionDomain::new(protection.name.clone(), path);
    domain.comment = Some(protection.program.description.clone());
    domain.child = allocation.children[index].map(|id| sdf::Child {
        id,
        setvar_id: None,
    });
    domain.priority = protection.priority;
    domain.stack_size = protection.stack;
    if plan.board.kernel == KernelKind::Microkit {
        domain.budget = protection.scheduling.budget;
        domain.period = protection.scheduling.period;
        domain.passive = protection.scheduling.passive;
    }
    domain.maps.push(map(
        format!("{}.wiring", protection.name),
        FIRST_ADDRESS,
        sdf::Permissions::READ,
    ));
    domain.maps[0].setvar_vaddr = Some(wiring::SYMBOL.to_string());
    for region in &allocation.regions {
        for mapping in region.maps.iter().filter(|map| map.protection == index) {
            for part in region.parts() {
                let address = mapping.address + part.offset;
                let mut map = map(part.name, address, mapping.permissions);
                map.cached = region.cached;
                domain.maps.push(map);
            }
        }
    }
    domain.maps.sort_by_key(|map| map.vaddr);
    if let Some(device) = &protection.device {
        let vectors = allocation.vectors[index]..;
        let ids = allocation.interrupts[index].iter().zip(vectors);
        for (&interrupt, (&id, vector)) in device.interrupts.iter().zip(ids) {
            domain.irqs.push(sdf::Irq {
                id,
                source: source(interrupt, vector),
                setvar_id: None,
            });
        }
        for (id, &(address, size)) in device.ports.iter().enumerate() {
            domain.io_ports.push(sdf::IoPort {
                id: id as u8,
                address,
                size: size.into(),
                setvar_id: None,
                setvar_addr: None,
            });
        }
    }
    domain
}

fn source(interrupt: Interrupt, vector: u8) -> sdf::Interrupt {
    match interrupt {
        Interrupt::Pin {
            ioapic,
            pin,
            trigger,
            polarity,
        } => sdf::Interrupt::IoApic {
            ioapic,
            pin,
            trigger,
            polarity,
            vector,
        },
        Interrupt::Number { number, trigger } => sdf::Interrupt::Number {
            irq: number,
            trigger,
        },
    }
}

/// What each device behind an IOMMU may reach: the transfer memory of its driver and the buffers that the
/// driver shares, at their physical addresses, and nothing else.
fn io_address_spaces(plan: &Plan, allocation: &Allocation) -> Vec<sdf::IoAddressSpace> {
    if !plan.board.iommu {
        return Vec::new();
    }
    let mut spaces = Vec::new();
    for (index, protection) in plan.protections.iter().enumerate() {
        let device = protection.device.as_ref();
        let Some((device, peripheral)) = device.and_then(|d| Some((d, d.pci?))) else {
            continue;
        };
        let provided = plan.connections.iter().enumerate();
        let pools = provided.filter(|(_, connection)| connection.provider == index);
        let roles = pools.map(|(pool, _)| Role::Pool(pool));
        let maps: Vec<sdf::IoMap> = roles
            .chain([Role::Transfers(index)])
            .filter_map(|role| {
                let region = allocation.region(&role)?;
                Some(sdf::IoMap {
                    region: region.name.clone(),
                    address: region.physical?,
                    permissions: sdf::Permissions::READ_WRITE,
                })
            })
            .collect();
        if maps.is_empty() {
            continue;
        }
        spaces.push(sdf::IoAddressSpace {
            name: device.name.clone(),
            peripheral,
            // 0 is what VT-d uses for devices that are not translated.
            domain_id: spaces.len() as u64 + 1,
            maps,
        });
    }
    spaces
}

fn map(region: String, vaddr: u64, permissions: sdf::Permissions) -> sdf::Map {
    sdf::Map {
        region,
        vaddr,
        permissions,
        cached: true,
        setvar_vaddr: None,
        setvar_size: None,
        setvar_prefill_size: None,
    }
}

fn channels(plan: &Plan, allocation: &Allocation) -> Vec<sdf::Channel> {
    let connections = plan.connections.iter().zip(&allocation.channels);
    connections
        .filter_map(|(connection, ids)| {
            let (consumer, provider) = (*ids)?;
            let interface = connection.interface;
            let name = |index: usize| plan.protections[index].name.clone();
            Some(sdf::Channel {
                comment: Some(format!(
                    "{}: {} serves {}",
                    interface.name,
                    name(connection.provider),
                    name(connection.consumer)
                )),
                ends: [
                    sdf::End {
                        domain: name(connection.consumer),
                        id: consumer,
                        call: interface.calls,
                        notify: interface.consumer_notifies,
                        setvar_id: None,
                    },
                    sdf::End {
                        domain: name(connection.provider),
                        id: provider,
                        call: false,
                        notify: interface.provider_notifies,
                        setvar_id: None,
                    },
                ],
            })
        })
        .collect()
}
