//! A machine's physical memory and the address spaces in it.
//!
//! The address spaces are read out of the machine's own paging structures (Intel SDM, volume 3, section 4.5), not out of
//! what the builder meant to set up: what a protection domain can reach is what the processor lets it reach.

use std::collections::BTreeMap;

/// Size of a page in bytes.
pub(crate) const PAGE: u64 = 4096;

/// Physical addresses in the entries of paging structures.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;

/// Where seL4 5.0.0 on x86_64 maps all physical memory.
const KERNEL_WINDOW: u64 = 0xffff_ff80_0000_0000;

/// The type of a capability to an address space, in the highest five bits of its first word.
const PML4_CAPABILITY: u64 = 9;

/// A thread's object: 2 KiB, capability slots of 32 bytes first; the second one is the address space's.
pub(crate) const THREAD: u64 = 2048;
const VSPACE_SLOT: u64 = 32;

/// Where the registers begin in a thread's object, behind 16 slots: the FXSAVE area, 512 bytes, then the others.
pub(crate) const THREAD_REGISTERS: u64 = 512;

/// What physical memory held at one moment.
pub(crate) struct Memory<'a>(pub &'a [u8]);

/// A page of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Its physical address.
    pub physical: u64,
    /// Whether the program may write it.
    pub write: bool,
}

/// An address space's user half: the pages by virtual address, and the physical addresses of its paging structures.
#[derive(Debug, Default)]
pub(crate) struct Space {
    pub pages: BTreeMap<u64, Page>,
    pub tables: Vec<u64>,
}

impl Memory<'_> {
    /// The word at a physical address.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        let bytes = self.bytes(address, 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The bytes at a physical address.
    pub(crate) fn bytes(&self, address: u64, length: u64) -> Option<&[u8]> {
        let start = usize::try_from(address).ok()?;
        self.0
            .get(start..start.checked_add(usize::try_from(length).ok()?)?)
    }

    /// The address spaces: the roots that share the kernel's half with the one in use.
    pub(crate) fn spaces(&self, cr3: u64) -> BTreeMap<u64, Space> {
        let kernel = |root: u64| -> Option<Vec<u64>> {
            (256..512)
                .map(|index| Some(self.word(root + 8 * index)? & (ADDRESS | PRESENT)))
                .collect()
        };
        let Some(reference) = kernel(cr3 & ADDRESS) else {
            return BTreeMap::new();
        };
        if reference.iter().all(|entry| entry & PRESENT == 0) {
            return BTreeMap::new();
        }
        (0..self.0.len() as u64 / PAGE)
            .map(|number| number * PAGE)
            .filter(|root| kernel(*root).as_ref() == Some(&reference))
            .map(|root| (root, self.space(root)))
            .collect()
    }

    fn space(&self, root: u64) -> Space {
        let mut space = Space {
            tables: vec![root],
            ..Space::default()
        };
        self.visit(&mut space, root, 3, 0, true, 256);
        space
    }

    /// Adds what a paging structure maps. Level 3 is the root; `entries` bounds the user's half there.
    fn visit(
        &self,
        space: &mut Space,
        table: u64,
        level: u32,
        base: u64,
        write: bool,
        entries: u64,
    ) {
        let bytes = PAGE << (9 * level);
        for index in 0..entries {
            let Some(entry) = self.word(table + 8 * index) else {
                return;
            };
            if entry & PRESENT == 0 {
                continue;
            }
            let (virt, write) = (base + index * bytes, write && entry & WRITE != 0);
            let physical = entry & ADDRESS;
            if level == 0 {
                space.pages.insert(virt, Page { physical, write });
            } else if level == 1 && entry & LARGE != 0 {
                let physical = physical & !(bytes - 1);
                for offset in (0..bytes).step_by(PAGE as usize) {
                    let page = Page {
                        physical: physical + offset,
                        write,
                    };
                    space.pages.insert(virt + offset, page);
                }
            } else if level == 2 && entry & LARGE != 0 {
                // This kernel maps no pages of 1 GiB for programs.
            } else {
                space.tables.push(physical);
                self.visit(space, physical, level - 1, virt, write, 512);
            }
        }
    }

    /// The threads' objects, with the root of each one's address space.
    pub(crate) fn threads(&self, roots: &BTreeMap<u64, Space>) -> BTreeMap<u64, u64> {
        let thread = |object: u64| {
            let kind = self.word(object + VSPACE_SLOT)? >> 59;
            let root = self
                .word(object + VSPACE_SLOT + 8)?
                .checked_sub(KERNEL_WINDOW)?;
            (kind == PML4_CAPABILITY && roots.contains_key(&root)).then_some((object, root))
        };
        (0..self.0.len() as u64 / THREAD)
            .filter_map(|number| thread(number * THREAD))
            .collect()
    }

    /// The physical address that a pointer of the kernel means.
    pub(crate) fn of_kernel(pointer: u64) -> Option<u64> {
        pointer.checked_sub(KERNEL_WINDOW)
    }
}

impl Space {
    /// The bytes at a virtual address, as far as they are mapped.
    pub(crate) fn read(&self, memory: &Memory<'_>, address: u64, length: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut at = address;
        while at < address + length {
            let start = at & !(PAGE - 1);
            let page = self.pages.get(&start)?;
            let end = (start + PAGE).min(address + length);
            bytes.extend(memory.bytes(page.physical + (at - start), end - at)?);
            at = end;
        }
        Some(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Memory in which page 1 is a root, with this kernel half, that maps `virt` to page 5 through pages 2 to 4.
    pub(crate) fn machine(virt: u64, write: bool) -> Vec<u8> {
        let mut memory = vec![0; 16 * PAGE as usize];
        let mut set = |address: u64, value: u64| {
            memory[address as usize..][..8].copy_from_slice(&value.to_le_bytes());
        };
        let flags = 4 | PRESENT | WRITE;
        for (level, page) in [(3, 1), (2, 2), (1, 3)] {
            let index = virt >> (12 + 9 * level) & 0x1ff;
            set(page * PAGE + 8 * index, ((page + 1) * PAGE) | flags);
        }
        let last = (5 * PAGE) | 4 | PRESENT | if write { WRITE } else { 0 };
        set(4 * PAGE + 8 * (virt >> 12 & 0x1ff), last);
        // The kernel's half, here and in a second root without anything else.
        for root in [1, 7] {
            set(root * PAGE + 8 * 511, (8 * PAGE) | 3);
        }
        // A thread at page 9, whose address space the first root is.
        set(9 * PAGE + 32, PML4_CAPABILITY << 59);
        set(9 * PAGE + 40, KERNEL_WINDOW + PAGE);
        memory
    }

    #[test]
    fn address_spaces_are_found_and_walked() {
        let bytes = machine(0x20_0000, false);
        let memory = Memory(&bytes);
        let spaces = memory.spaces((7 * PAGE) | 0x18);
        assert_eq!(spaces.keys().copied().collect::<Vec<_>>(), [PAGE, 7 * PAGE]);
        let space = &spaces[&PAGE];
        let page = Page {
            physical: 5 * PAGE,
            write: false,
        };
        assert_eq!(space.pages, [(0x20_0000, page)].into());
        assert_eq!(space.tables, [PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE]);
        assert!(spaces[&(7 * PAGE)].pages.is_empty());
        assert_eq!(memory.threads(&spaces), [(9 * PAGE, PAGE)].into());
    }

    #[test]
    fn virtual_memory_is_read_through_the_tables() {
        let mut bytes = machine(0x7fff_0000_1000, true);
        bytes[5 * PAGE as usize + 4090..][..6].copy_from_slice(b"selkie");
        let memory = Memory(&bytes);
        let space = &memory.spaces(PAGE)[&PAGE];
        let read = |address, length| space.read(&memory, address, length);
        assert_eq!(read(0x7fff_0000_1000 + 4090, 6).unwrap(), b"selkie");
        assert_eq!(read(0x7fff_0000_1000 + 4090, 7), None);
        assert!(space.pages[&0x7fff_0000_1000].write);
    }

    #[test]
    fn memory_without_paging_has_no_address_spaces() {
        assert!(Memory(&[0; 8192]).spaces(0).is_empty());
        assert!(Memory(&[0; 8192]).spaces(1 << 40).is_empty());
    }
}
