//! Memory: regions, where they are mapped, the paging structures for that, and data pages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use initialiser_spec::{
    CNODE_BITS, DATA_PAGE, Domain, Fill, Grant, Level, Map, PageBits, Region, Table, Writer,
};
use microkit_sdf::{MemoryRegion, PageSize, ProtectionDomain, System};

use super::{ImageError, TARGET};
use crate::elf::{Executable, Segment};

const PAGE: u64 = DATA_PAGE as u64;

/// Kernel memory of a PD in bytes: capability table, root of the address space, thread, notification, endpoint.
const KERNEL_OBJECTS: u64 = (1 << (CNODE_BITS + 5)) + 4096 + 2048 + 32 + 16;

/// Everything but the capabilities.
pub(super) struct Layout {
    writer: Writer,
    data: Vec<u8>,
    /// Read-only program memory that is there already, by place and content: two PDs that run the same program
    /// share it.
    shared: HashMap<(u64, Vec<u8>), usize>,
    /// The maps of each region, until they are put side by side.
    maps: Vec<Vec<Map>>,
}

impl Layout {
    pub(super) fn new(
        system: &System,
        programs: &[Executable],
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Self, ImageError> {
        let mut layout = Self {
            writer: Writer::default(),
            data: Vec::new(),
            shared: HashMap::new(),
            maps: Vec::new(),
        };
        let domains = system.domains();
        for (index, ((domain, _), program)) in (0..).zip(domains.iter().zip(programs)) {
            check_overlap(system, domain, program)?;
            layout.add_domain(domain, program);
            for segment in &program.segments {
                layout.add_segment(index, domain, program, segment);
            }
            layout.add_stack(index, domain);
        }
        for region in &system.memory_regions {
            layout.add_region(system, region, read)?;
        }
        layout.arrange();
        Ok(layout)
    }

    /// RAM in bytes for everything that is not part of the image and at no fixed address.
    pub(super) fn memory(&self) -> u64 {
        let regions: u64 = self
            .writer
            .regions
            .iter()
            .filter(|region| {
                region.physical.is_none() && !matches!(region.fill, Fill::Pages { .. })
            })
            .map(Region::bytes)
            .sum();
        let domains = self.writer.domains.len() as u64;
        regions + self.writer.tables.len() as u64 * PAGE + domains * (KERNEL_OBJECTS + PAGE)
    }

    /// What belongs to each PD alone: program, stack, IPC buffer, kernel objects, paging structures.
    pub(super) fn own_memory(
        &self,
        system: &System,
        programs: &[Executable],
    ) -> BTreeMap<String, u64> {
        let domains = system.domains();
        (0_u32..)
            .zip(domains.iter().zip(programs))
            .map(|(index, ((domain, _), program))| {
                let tables = &self.writer.tables;
                let tables = tables.iter().filter(|table| table.domain == index).count() as u64;
                let program: u64 = program
                    .segments
                    .iter()
                    .map(|segment| segment.page_end() - segment.page_start())
                    .sum();
                let own = program + domain.stack_size + KERNEL_OBJECTS + (1 + tables) * PAGE;
                (domain.name.clone(), own)
            })
            .collect()
    }

    /// The specification, and on the next page boundary the data pages.
    pub(super) fn into_bytes(mut self, grants: Vec<Grant>) -> Vec<u8> {
        self.writer.grants = grants;
        let mut bytes = self.writer.to_bytes();
        bytes.resize(bytes.len().next_multiple_of(DATA_PAGE), 0);
        bytes.extend(self.data);
        bytes
    }

    fn add_domain(&mut self, domain: &ProtectionDomain, program: &Executable) {
        let name = self.writer.name(&domain.name);
        self.writer.domains.push(Domain {
            name,
            entry: program.entry,
            stack_top: TARGET.stack_top(),
            ipc_buffer: TARGET.ipc_buffer(),
            priority: domain.priority,
            has_parent: domain.child.is_some(),
        });
    }

    fn add_segment(
        &mut self,
        index: u32,
        domain: &ProtectionDomain,
        program: &Executable,
        segment: &Segment,
    ) {
        let kind = match (segment.write, segment.execute) {
            (true, _) => "data",
            (false, true) => "code",
            (false, false) => "constants",
        };
        let name = format!("{}: {kind}", domain.name);
        let start = segment.page_start();
        let mut content = vec![0; (segment.address - start) as usize];
        content.extend(program.content(segment));
        if segment.file_size == 0 {
            content.clear();
        }
        content.resize(content.len().next_multiple_of(DATA_PAGE), 0);
        let length = content.len() as u64;
        let map = |address| Map {
            domain: index,
            address,
            write: segment.write,
            cached: true,
        };
        if length > 0 && segment.write {
            self.add_pages(&name, content, vec![map(start)]);
        } else if length > 0 {
            match self.shared.get(&(start, content.clone())) {
                Some(region) => self.maps[*region].push(map(start)),
                None => {
                    let region = self.add_pages(&name, content.clone(), vec![map(start)]);
                    self.shared.insert((start, content), region);
                }
            }
        }
        let zeroed = (segment.page_end() - start).saturating_sub(length);
        let name = format!("{}: zeroed {kind}", domain.name);
        self.add_zeroed(&name, zeroed, vec![map(start + length)]);
    }

    fn add_stack(&mut self, index: u32, domain: &ProtectionDomain) {
        let map = Map {
            domain: index,
            address: TARGET.map_end(domain.stack_size),
            write: true,
            cached: true,
        };
        let name = format!("{}: stack", domain.name);
        self.add_zeroed(&name, domain.stack_size, vec![map]);
    }

    /// A region of the description. One that nobody maps is left out.
    fn add_region(
        &mut self,
        system: &System,
        region: &MemoryRegion,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<(), ImageError> {
        let maps = maps_of(system, region);
        if maps.is_empty() {
            return Ok(());
        }
        let content = match &region.prefill {
            Some(path) => read_file(&region.name, path, read)?,
            None => Vec::new(),
        };
        let length = content.len() as u64;
        if length > region.size {
            return Err(ImageError::Prefill {
                region: region.name.clone(),
                content: length,
                size: region.size,
            });
        }
        let page_bits = match system.page_size(region) {
            PageSize::Small => PageBits::Small,
            PageSize::Large => PageBits::Large,
        };
        if page_bits == PageBits::Small && region.phys_addr.is_none() {
            let pages = length.next_multiple_of(PAGE);
            let behind = maps
                .iter()
                .map(|map| Map {
                    address: map.address + pages,
                    ..*map
                })
                .collect();
            if length > 0 {
                self.add_pages(&region.name, content, maps);
            }
            self.add_zeroed(&region.name, region.size - pages, behind);
        } else {
            let fill = if length == 0 {
                Fill::Zero
            } else {
                let first = self.add_data(content);
                Fill::Copy { first, length }
            };
            self.push(
                &region.name,
                region.size,
                page_bits,
                region.phys_addr,
                fill,
                maps,
            );
        }
        Ok(())
    }

    fn add_zeroed(&mut self, name: &str, bytes: u64, maps: Vec<Map>) {
        if bytes > 0 {
            self.push(name, bytes, PageBits::Small, None, Fill::Zero, maps);
        }
    }

    /// A region that is made of data pages; returns its place in the list.
    fn add_pages(&mut self, name: &str, content: Vec<u8>, maps: Vec<Map>) -> usize {
        let bytes = (content.len() as u64).next_multiple_of(PAGE);
        let first = self.add_data(content);
        self.push(
            name,
            bytes,
            PageBits::Small,
            None,
            Fill::Pages { first },
            maps,
        )
    }

    /// Adds data pages; returns the number of the first.
    fn add_data(&mut self, content: Vec<u8>) -> u64 {
        let first = (self.data.len() / DATA_PAGE) as u64;
        self.data.extend(content);
        self.data
            .resize(self.data.len().next_multiple_of(DATA_PAGE), 0);
        first
    }

    fn push(
        &mut self,
        name: &str,
        bytes: u64,
        page_bits: PageBits,
        physical: Option<u64>,
        fill: Fill,
        maps: Vec<Map>,
    ) -> usize {
        let name = self.writer.name(name);
        self.writer.regions.push(Region {
            name,
            pages: bytes >> page_bits.bits(),
            page_bits,
            physical,
            fill,
            first_map: 0,
            maps: 0,
        });
        self.maps.push(maps);
        self.maps.len() - 1
    }

    /// Puts regions at fixed addresses first, then large pages, and lists maps and paging structures accordingly.
    fn arrange(&mut self) {
        let mut regions: Vec<(Region, Vec<Map>)> = self
            .writer
            .regions
            .drain(..)
            .zip(self.maps.drain(..))
            .collect();
        regions.sort_by_key(|(region, _)| {
            (
                region.physical.unwrap_or(u64::MAX),
                region.page_bits == PageBits::Small,
            )
        });
        let mut tables = BTreeSet::new();
        for domain in 0..self.writer.domains.len() as u32 {
            add_tables(
                &mut tables,
                domain,
                TARGET.ipc_buffer(),
                PAGE,
                PageBits::Small,
            );
        }
        for (mut region, maps) in regions {
            region.first_map = self.writer.maps.len() as u32;
            region.maps = maps.len() as u32;
            for map in &maps {
                let bytes = region.bytes();
                add_tables(
                    &mut tables,
                    map.domain,
                    map.address,
                    bytes,
                    region.page_bits,
                );
            }
            self.writer.regions.push(region);
            self.writer.maps.extend(maps);
        }
        self.writer.tables = tables
            .into_iter()
            .map(|(level, domain, address)| Table {
                level,
                domain,
                address,
            })
            .collect();
    }
}

/// Reads a file for a PD or a region.
pub(super) fn read_file(
    owner: &str,
    path: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, ImageError> {
    read(path).map_err(|error| ImageError::File {
        owner: owner.into(),
        path: path.into(),
        error,
    })
}

/// The paging structures that a mapping needs.
fn add_tables(
    tables: &mut BTreeSet<(Level, u32, u64)>,
    domain: u32,
    address: u64,
    bytes: u64,
    page_bits: PageBits,
) {
    for level in Level::ALL {
        if level == Level::PageTable && page_bits == PageBits::Large {
            continue;
        }
        let first = address >> level.bits();
        let last = (address + bytes - 1) >> level.bits();
        tables.extend((first..=last).map(|number| (level, domain, number << level.bits())));
    }
}

fn maps_of(system: &System, region: &MemoryRegion) -> Vec<Map> {
    (0..)
        .zip(system.domains())
        .flat_map(|(index, (domain, _))| domain.maps.iter().map(move |map| (index, map)))
        .filter(|(_, map)| map.region == region.name)
        .map(|(index, map)| Map {
            domain: index,
            address: map.vaddr,
            write: map.permissions.write,
            cached: map.cached,
        })
        .collect()
}

/// Regions must not lie where the program is, nor the program where the stack is.
fn check_overlap(
    system: &System,
    domain: &ProtectionDomain,
    program: &Executable,
) -> Result<(), ImageError> {
    let overlaps = |address: u64, size: u64| {
        program
            .segments
            .iter()
            .any(|segment| segment.page_start() < address + size && address < segment.page_end())
    };
    let overlap = |region: &str, address: u64| {
        Err(ImageError::Overlap {
            domain: domain.name.clone(),
            region: region.into(),
            address,
            program_end: program.end(),
        })
    };
    for map in &domain.maps {
        let size = system.region(&map.region).map_or(0, |region| region.size);
        if overlaps(map.vaddr, size) {
            return overlap(&map.region, map.vaddr);
        }
    }
    let stack = TARGET.map_end(domain.stack_size);
    if program.end() > stack {
        return overlap("stack", stack);
    }
    Ok(())
}
