//! Memory: frames, what they hold, and where they are mapped.

use initialiser_spec::{Fill, Level, Map, PageBits, Region, Spec};
use sel4::pc99::root::{self, CapRights, ObjectType, initial};
use sel4::{WORD_SIZE, cap};

use crate::Image;
use crate::domains::Domains;
use crate::failure::Failure;
use crate::machine::Machine;

/// Where the initialiser maps a frame that it fills: far from its image.
const WINDOW: u64 = 0x10_0000_0000;

/// Makes the frames of all regions at fixed physical addresses, while the memory is whole. They lie side by side in the
/// order of the regions; returns the first slot.
pub(crate) fn frames_at_fixed_addresses(
    machine: &mut Machine<'_>,
    spec: &Spec<'static>,
) -> Result<u64, Failure> {
    let fixed = || spec.regions().filter(|region| region.physical.is_some());
    let first = machine.slots(fixed().map(|region| region.pages).sum())?;
    let mut slot = first;
    for region in fixed() {
        if let Some(physical) = region.physical {
            let name = spec.name(region.name);
            machine.make_at(frame(region.page_bits), physical, region.pages, slot, name)?;
        }
        slot += region.pages;
    }
    Ok(first)
}

/// Makes the frames of the other regions, fills and maps all of them.
pub(crate) fn map(
    machine: &mut Machine<'_>,
    spec: &Spec<'static>,
    image: &Image,
    domains: &Domains,
    fixed: u64,
) -> Result<(), Failure> {
    let mut fixed = fixed;
    let mut window = Window::new(machine, spec)?;
    for region in spec.regions() {
        let first = match (region.physical, region.fill) {
            (Some(_), _) => {
                let first = fixed;
                fixed += region.pages;
                first
            }
            (None, Fill::Pages { first }) => take_pages(spec, image, &region, first)?,
            (None, Fill::Zero | Fill::Copy { .. }) => machine.make(
                frame(region.page_bits),
                region.pages,
                spec.name(region.name),
            )?,
        };
        if let Fill::Copy {
            first: page,
            length,
        } = region.fill
        {
            let name = spec.name(region.name);
            image
                .consume(page, length, |bytes| {
                    window.fill(spec, &region, first, bytes)
                })
                .ok_or(Failure::DataPages(name))??;
        }
        map_region(machine, spec, domains, &region, first)?;
    }
    Ok(())
}

fn frame(bits: PageBits) -> ObjectType {
    match bits {
        PageBits::Small => ObjectType::Frame4K,
        PageBits::Large => ObjectType::Frame2M,
    }
}

/// Takes data pages out of this address space; returns the slot of the first frame.
fn take_pages(
    spec: &Spec<'static>,
    image: &Image,
    region: &Region,
    first: u64,
) -> Result<u64, Failure> {
    let slot = image
        .frames(first, region.pages)
        .ok_or(Failure::DataPages(spec.name(region.name)))?;
    for frame in slot..slot + region.pages {
        cap::Frame::from_bits(frame)
            .frame_unmap()
            .map_err(|reason| refused(spec, region, frame, reason))?;
    }
    Ok(slot)
}

/// Maps a region wherever it is seen. A frame's capability is good for one mapping, so each further one takes copies.
fn map_region(
    machine: &mut Machine<'_>,
    spec: &Spec<'static>,
    domains: &Domains,
    region: &Region,
    first: u64,
) -> Result<(), Failure> {
    for (index, map) in spec.maps(region).enumerate() {
        let frames = if index == 0 {
            first
        } else {
            copy_frames(machine, spec, region, first)?
        };
        for page in 0..region.pages {
            map_page(
                domains,
                &map,
                frames + page,
                page << region.page_bits.bits(),
            )
            .map_err(|reason| refused(spec, region, map.address, reason))?;
        }
    }
    Ok(())
}

fn copy_frames(
    machine: &mut Machine<'_>,
    spec: &Spec<'static>,
    region: &Region,
    first: u64,
) -> Result<u64, Failure> {
    let copies = machine.slots(region.pages)?;
    for page in 0..region.pages {
        initial::CNODE
            .copy(
                copies + page,
                WORD_SIZE as u8,
                cap::Frame::from_bits(first + page),
                CapRights::ALL,
            )
            .map_err(|reason| refused(spec, region, first + page, reason))?;
    }
    Ok(copies)
}

fn map_page(domains: &Domains, map: &Map, frame: u64, offset: u64) -> sel4::Result<()> {
    cap::Frame::from_bits(frame).frame_map(
        domains.vspace(map.domain),
        map.address + offset,
        CapRights::new(false, true, map.write),
        map.cached,
    )
}

/// A place in this address space where frames are mapped to be filled.
struct Window {
    /// The paging structures are there.
    open: bool,
}

impl Window {
    /// Makes the window if any region needs it.
    fn new(machine: &mut Machine<'_>, spec: &Spec<'static>) -> Result<Self, Failure> {
        let needed = spec
            .regions()
            .any(|region| matches!(region.fill, Fill::Copy { .. }));
        if needed {
            // Small pages at WINDOW, large ones at the next 2 MiB.
            for (object, level) in [
                (ObjectType::Pdpt, root::Level::Pdpt),
                (ObjectType::PageDirectory, root::Level::PageDirectory),
                (ObjectType::PageTable, root::Level::PageTable),
            ] {
                let slot = machine.make(object, 1, "initialiser")?;
                let mapped = cap::TranslationTable::from_bits(slot).table_map(
                    level,
                    initial::VSPACE,
                    WINDOW,
                );
                // The kernel has made the first level for the image already.
                match mapped {
                    Ok(()) => {}
                    Err(sel4::Error::DeleteFirst) if level == root::Level::Pdpt => {}
                    Err(reason) => {
                        return Err(Failure::Refused {
                            what: "window",
                            name: "initialiser",
                            at: WINDOW,
                            reason,
                        });
                    }
                }
            }
        }
        Ok(Self { open: needed })
    }

    /// Copies bytes into the frames of a region; the rest of them is left.
    fn fill(
        &mut self,
        spec: &Spec<'static>,
        region: &Region,
        first: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        debug_assert!(self.open);
        let address = match region.page_bits {
            PageBits::Small => WINDOW,
            PageBits::Large => WINDOW + (1 << Level::PageTable.bits()),
        };
        let size = 1 << region.page_bits.bits();
        for (slot, chunk) in (first..first + region.pages).zip(bytes.chunks(size)) {
            let frame = cap::Frame::from_bits(slot);
            frame
                .frame_map(initial::VSPACE, address, CapRights::ALL, true)
                .map_err(|reason| refused(spec, region, slot, reason))?;
            // SAFETY: a frame of `size` bytes is mapped at `address`, and nothing else is there.
            let memory = unsafe { core::slice::from_raw_parts_mut(address as *mut u8, size) };
            memory[..chunk.len()].copy_from_slice(chunk);
            frame
                .frame_unmap()
                .map_err(|reason| refused(spec, region, slot, reason))?;
        }
        Ok(())
    }
}

fn refused(spec: &Spec<'static>, region: &Region, at: u64, reason: sel4::Error) -> Failure {
    Failure::Refused {
        what: "mapping",
        name: spec.name(region.name),
        at,
        reason,
    }
}
