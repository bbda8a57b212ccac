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

/// A region and who maps it.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub name: String,
    pub role: Role,
    /// Size in bytes, whole small pages.
    pub size: u64,
    /// How many of these bytes, from the beginning, are in large pages; the others are in small ones.
    pub large: u64,
    pub physical: Option<u64>,
    pub cached: bool,
    pub maps: Vec<Mapping>,
}

/// What is one memory region for Microkit: a region's large pages, or its small ones.
pub(crate) struct Part {
    pub name: String,
    /// Bytes of the region before it.
    pub offset: u64,
    pub size: u64,
    pub page_size: PageSize,
}

impl Region {
    /// The parts, which follow each other in every protection's view.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let small = match self.large {
            0 => self.name.clone(),
            _ => format!("{}.rest", self.name),
        };
        let part = |name, offset, size, page_size| Part {
            name,
            offset,
            size,
            page_size,
        };
        let parts = [
            part(self.name.clone(), 0, self.large, PageSize::Large),
            part(small, self.large, self.size - self.large, PageSize::Small),
        ];
        parts.into_iter().filter(|part| part.size > 0)
    }
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
        next_transfer: first_transfer(plan),
        regions: Vec::new(),
    };
    collector.connections(plan);
    for (index, contents) in contents.iter().enumerate() {
        collector.protection(plan, index, contents);
    }
    let mut regions = collector.regions;
    check_memory(plan, images, &regions)?;
    enlarge_pages(&mut regions);
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

/// Returns the first address of DMA memory, which is at the end of the window. The SDK's initialiser allocates free
/// memory by rising address. It skips the rest of a block if no object is small enough to fill the gap before the next
/// large page. The window ends at a large page, so that no gap follows the DMA memory. With DMA memory in the middle of
/// the window, up to 14 MiB of a machine with 64 were lost, and a system with 256 connections did not start.
fn first_transfer(plan: &Plan) -> u64 {
    let (address, size) = (plan.board.dma_address, plan.board.dma_size);
    address + size.saturating_sub(plan.transfer_memory())
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
                        large: 0,
                        physical: Some(registers.address),
                        cached: false,
                        maps: Vec::new(),
                    },
                    &write,
                );
            }
            let size = pages(protection.transfer_memory());
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
                large: 0,
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
                large: 0,
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

/// Gives large pages to what fills them. They are mapped five hundred times as fast, one entry of the processor's
/// translation buffer covers each, and Microkit's image has a record of a hundred bytes and more for every page.
fn enlarge_pages(regions: &mut [Region]) {
    let large = PageSize::Large.bytes();
    for region in regions {
        if region.physical.is_none() {
            region.large = region.size / large * large;
        }
    }
}

/// Decides where each protection sees each region.
fn place(regions: &mut [Region], protections: usize) {
    let mut next = vec![FIRST_ADDRESS + WIRING_SPACE + GUARD; protections];
    for region in regions {
        for map in &mut region.maps {
            let next = &mut next[map.protection];
            map.address = match region.large {
                0 => *next,
                _ => next.next_multiple_of(PageSize::Large.bytes()),
            };
            *next = map.address + region.size + GUARD;
        }
    }
}

/// Checks that programs, stacks and regions fit the board's memory.
fn check_memory(
    plan: &Plan,
    images: &BTreeMap<String, Image>,
    regions: &[Region],
) -> Result<(), CompileError> {
    let programs = plan.protections.iter().map(|protection| {
        let image = images.get(&protection.program.name);
        image.map_or(0, |image| image.memory) + protection.stack
    });
    let allocated = regions.iter().filter(|region| region.physical.is_none());
    let needed: u64 = programs.chain(allocated.map(|region| region.size)).sum();
    let available = plan.board.available();
    if needed > available {
        return Err(CompileError::Memory {
            needed,
            board: plan.board.name.clone(),
            available,
            larger: plan.board.larger(needed).map(|help| format!("\n{help}")),
        });
    }
    Ok(())
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
