//! Addresses, page sizes and identifiers for a plan.

use std::collections::BTreeMap;

use microkit_sdf::{PageSize, Permissions};

use super::image::Image;
use super::{CompileError, Contents};
use crate::plan::{Plan, pages};

/// Where the regions of a protection begin; its program lies below.
pub(crate) const FIRST_ADDRESS: u64 = 0x2000_0000;

/// Unmapped bytes behind each region, so that running over its end is a fault.
const GUARD: u64 = 0x1000;

/// Space for the wiring, which comes first, at [`FIRST_ADDRESS`]: it is made when all else has its place.
const WIRING_SPACE: u64 = 0x10_0000;

/// The part of the free memory that large pages may take beyond what was asked for: they are mapped
/// five hundred times as fast, and one entry of the processor's translation buffer covers each.
const SPARE: u64 = 2;

/// A region and who maps it.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub name: String,
    pub role: Role,
    /// Size in bytes: a multiple of the page size.
    pub size: u64,
    pub page_size: PageSize,
    pub physical: Option<u64>,
    pub cached: bool,
    pub maps: Vec<Mapping>,
}

/// A protection's view of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub protection: usize,
    pub address: u64,
    pub permissions: Permissions,
}

/// What a region is for; the numbers are indices into the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Heap(usize),
    /// Written by the provider of a connection.
    FromProvider(usize),
    /// Written by the consumer of a connection.
    FromConsumer(usize),
    Pool(usize),
    /// Register memory of a protection's device, by its place in the board file.
    Registers(usize, usize),
    /// The transfer memory of a protection's driver.
    Transfers(usize),
    /// A protection's data, by its place in the plan.
    Data(usize, usize),
}

/// Everything that has an address or a number.
pub(crate) struct Allocation {
    pub regions: Vec<Region>,
    /// The channel identifiers at the consumer and at the provider of each connection that has a channel.
    pub channels: Vec<Option<(u8, u8)>>,
    /// The channel identifiers of each protection's interrupts.
    pub interrupts: Vec<Vec<u8>>,
    /// The vector of each protection's first interrupt; the others follow.
    pub vectors: Vec<u8>,
    /// The identifier of each protection as a child of the supervisor.
    pub children: Vec<Option<u8>>,
}

impl Allocation {
    /// The region of this role.
    pub fn region(&self, role: &Role) -> Option<&Region> {
        self.regions.iter().find(|region| region.role == *role)
    }

    /// Where a protection sees the region of this role.
    pub fn span(&self, role: &Role, protection: usize) -> Option<wiring::Span> {
        let region = self.region(role)?;
        let mut maps = region.maps.iter();
        let map = maps.find(|map| map.protection == protection)?;
        Some(wiring::Span {
            address: map.address,
            size: region.size,
        })
    }
}

/// Gives everything in a plan its place.
pub(crate) fn allocate(
    plan: &Plan,
    images: &BTreeMap<String, Image>,
    contents: &Contents,
) -> Result<Allocation, CompileError> {
    let mut collector = Collector {
        next_transfer: plan.board.dma_address,
        regions: Vec::new(),
    };
    collector.connections(plan);
    for (index, contents) in contents.iter().enumerate() {
        collector.protection(plan, index, contents);
    }
    let mut regions = collector.regions;
    let free = free_memory(plan, images, &regions)?;
    enlarge_pages(&mut regions, free / SPARE);
    place(&mut regions, plan.protections.len());
    let (channels, interrupts) = identifiers(plan);
    Ok(Allocation {
        regions,
        channels,
        vectors: vectors(&interrupts),
        interrupts,
        children: children(plan),
    })
}

/// The identifier of each protection as a child of the supervisor: from 0, in the order of the description.
fn children(plan: &Plan) -> Vec<Option<u8>> {
    let Some(supervisor) = plan.supervisor() else {
        return vec![None; plan.protections.len()];
    };
    let mut next = 0;
    let child = |index| {
        (index != supervisor).then(|| {
            next += 1;
            next - 1
        })
    };
    (0..plan.protections.len()).map(child).collect()
}

/// Collects the regions of a plan; where each is seen is decided afterwards.
struct Collector {
    /// The next free physical address for transfers.
    next_transfer: u64,
    regions: Vec<Region>,
}

impl Collector {
    fn connections(&mut self, plan: &Plan) {
        for (index, connection) in plan.connections.iter().enumerate() {
            let name = |suffix: &str| {
                format!(
                    "{}.{}.{suffix}_{}",
                    plan.protections[connection.consumer].name,
                    connection.consumer_port,
                    plan.protections[connection.provider].name
                )
            };
            let (consumer, provider) = (connection.consumer, connection.provider);
            let (read, write) = (Permissions::READ, Permissions::READ_WRITE);
            let sizes = connection.sizes;
            let pool = [(consumer, write), (provider, write)];
            self.transfers(name("pool"), Role::Pool(index), sizes.pool, &pool);
            let from_provider = [(provider, write), (consumer, read)];
            let role = Role::FromProvider(index);
            self.shared(name("from"), role, sizes.provider, &from_provider);
            let from_consumer = [(consumer, write), (provider, read)];
            let role = Role::FromConsumer(index);
            self.shared(name("to"), role, sizes.consumer, &from_consumer);
        }
    }

    fn protection(&mut self, plan: &Plan, index: usize, contents: &[(String, Vec<u8>)]) {
        let protection = &plan.protections[index];
        let name = &protection.name;
        let write = [(index, Permissions::READ_WRITE)];
        let heap = Role::Heap(index);
        self.shared(format!("{name}.heap"), heap, protection.memory, &write);
        if let Some(device) = &protection.device {
            for (place, registers) in device.registers.iter().enumerate() {
                let kind = match registers.bar {
                    Some(bar) => format!("bar{bar}"),
                    None => format!("registers{place}"),
                };
                self.add(
                    Region {
                        name: format!("{}.{kind}", device.name),
                        role: Role::Registers(index, place),
                        size: registers.size,
                        page_size: PageSize::Small,
                        physical: Some(registers.address),
                        cached: false,
                        maps: Vec::new(),
                    },
                    &write,
                );
            }
            let size = pages(protection.program.dma);
            self.transfers(format!("{name}.dma"), Role::Transfers(index), size, &write);
        }
        for (place, (key, bytes)) in contents.iter().enumerate() {
            let read = [(index, Permissions::READ)];
            let (role, size) = (Role::Data(index, place), pages(bytes.len() as u64));
            self.shared(format!("{name}.data.{key}"), role, size, &read);
        }
    }

    /// Memory from anywhere.
    fn shared(&mut self, name: String, role: Role, size: u64, maps: &[(usize, Permissions)]) {
        self.add(
            Region {
                name,
                role,
                size,
                page_size: PageSize::Small,
                physical: None,
                cached: true,
                maps: Vec::new(),
            },
            maps,
        );
    }

    /// Memory whose physical address is known, for devices' transfers.
    fn transfers(&mut self, name: String, role: Role, size: u64, maps: &[(usize, Permissions)]) {
        let physical = self.next_transfer;
        self.next_transfer += size;
        self.add(
            Region {
                name,
                role,
                size,
                page_size: PageSize::Small,
                physical: Some(physical),
                cached: true,
                maps: Vec::new(),
            },
            maps,
        );
    }

    fn add(&mut self, mut region: Region, maps: &[(usize, Permissions)]) {
        if region.size == 0 {
            return;
        }
        for &(protection, permissions) in maps {
            region.maps.push(Mapping {
                protection,
                address: 0,
                permissions,
            });
        }
        self.regions.push(region);
    }
}

/// Gives large pages to regions of half a large page and more, those that waste least first, while what they
/// waste stays within a limit in bytes.
fn enlarge_pages(regions: &mut [Region], limit: u64) {
    let large = PageSize::Large.bytes();
    let waste = |region: &Region| region.size.next_multiple_of(large) - region.size;
    let mut candidates: Vec<&mut Region> = regions
        .iter_mut()
        .filter(|region| region.physical.is_none() && region.size >= large / 2)
        // A heap is a budget: it gets what it was given, not more.
        .filter(|region| waste(region) == 0 || !matches!(region.role, Role::Heap(_)))
        .collect();
    candidates.sort_by_key(|region| waste(region));
    let mut wasted = 0;
    for region in candidates {
        wasted += waste(region);
        if wasted > limit {
            return;
        }
        region.size = region.size.next_multiple_of(large);
        region.page_size = PageSize::Large;
    }
}

/// Decides where each protection sees each region.
fn place(regions: &mut [Region], protections: usize) {
    let mut next = vec![FIRST_ADDRESS + WIRING_SPACE + GUARD; protections];
    for region in regions {
        for map in &mut region.maps {
            let next = &mut next[map.protection];
            map.address = next.next_multiple_of(region.page_size.bytes());
            *next = map.address + region.size + GUARD;
        }
    }
}

/// What programs, stacks and regions leave of the board's memory, in bytes.
fn free_memory(
    plan: &Plan,
    images: &BTreeMap<String, Image>,
    regions: &[Region],
) -> Result<u64, CompileError> {
    let programs = plan.protections.iter().map(|protection| {
        let image = images.get(&protection.program.name);
        image.map_or(0, |image| image.memory) + protection.stack
    });
    let allocated = regions.iter().filter(|region| region.physical.is_none());
    let needed = programs.chain(allocated.map(|region| region.size)).sum();
    let available = plan.board.available();
    available
        .checked_sub(needed)
        .ok_or_else(|| CompileError::Memory {
            needed,
            board: plan.board.name.clone(),
            available,
        })
}

/// The channel identifiers of connections and interrupts: in each protection from 0, in the order of the
/// description, connections first.
#[allow(clippy::type_complexity)]
fn identifiers(plan: &Plan) -> (Vec<Option<(u8, u8)>>, Vec<Vec<u8>>) {
    let mut next = vec![0u8; plan.protections.len()];
    let mut take = |protection: usize| {
        next[protection] += 1;
        next[protection] - 1
    };
    let connections = plan.connections.iter();
    let channels = connections
        .map(|connection| {
            let has_channel = connection.interface.has_channel();
            has_channel.then(|| (take(connection.consumer), take(connection.provider)))
        })
        .collect();
    let protections = plan.protections.iter().enumerate();
    let interrupts = protections
        .map(|(index, protection)| {
            let count = protection.device.as_ref().map_or(0, |d| d.interrupts.len());
            (0..count).map(|_| take(index)).collect()
        })
        .collect();
    (channels, interrupts)
}

/// The vector of each protection's first interrupt: vectors are unique in a system.
fn vectors(interrupts: &[Vec<u8>]) -> Vec<u8> {
    let mut next = 0;
    interrupts
        .iter()
        .map(|interrupts| {
            next += interrupts.len() as u8;
            next - interrupts.len() as u8
        })
        .collect()
}
