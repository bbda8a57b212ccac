//! A machine's physical memory and the address spaces in it.
//!
//! The address spaces are read out of the machine's own paging structures, not out of what the builder meant to set up:
//! what a protection domain can reach is what the processor lets it reach. A root is known by what it translates to: a
//! program's code, at the addresses where the program has it.

use std::collections::BTreeMap;
use std::io;

use selkie_qemu::MemoryFile;

use crate::paging::{Entry, Paging};

/// Size of a page in bytes.
pub(crate) const PAGE: u64 = 4096;

const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// A thread's object: 2 KiB in the release configuration of all kernels here (`seL4_TCBBits`), capability slots of 32 bytes first;
/// the second one is the address space's.
pub(crate) const THREAD: u64 = 2048;
const VSPACE_SLOT: u64 = 32;

/// What physical memory held at one moment.
pub(crate) struct Memory {
    start: u64,
    end: u64,
    /// The pages that hold anything but zeros, by address; such as follow each other together.
    parts: Vec<(u64, Vec<u8>)>,
}

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

impl Memory {
    /// The memory of a machine that stands still; it begins at this address.
    pub(crate) fn read(file: &MemoryFile, start: u64) -> io::Result<Self> {
        let mut memory = Self {
            start,
            end: start + file.size()?,
            parts: Vec::new(),
        };
        file.read(|offset, bytes| memory.add(start + offset, bytes))?;
        Ok(memory)
    }

    /// Adds whole pages, by ascending address.
    fn add(&mut self, start: u64, bytes: &[u8]) {
        for (address, page) in (start..)
            .step_by(PAGE as usize)
            .zip(bytes.chunks(PAGE as usize))
        {
            if *page == ZEROS {
                continue;
            }
            match self.parts.last_mut() {
                Some((start, part)) if *start + part.len() as u64 == address => part.extend(page),
                _ => self.parts.push((address, page.to_vec())),
            }
        }
    }

    /// All that is not zero, by ascending address.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let parts = self.parts.iter();
        parts.map(|(start, part)| (*start, part.as_slice()))
    }

    /// The page at a physical address, which is a multiple of its size.
    pub(crate) fn page(&self, address: u64) -> Option<&[u8]> {
        if !(self.start..self.end).contains(&address) {
            return None;
        }
        let next = self.parts.partition_point(|part| part.0 <= address);
        let held = next.checked_sub(1).and_then(|index| {
            let (start, part) = &self.parts[index];
            let offset = usize::try_from(address - start).ok()?;
            part.get(offset..offset + PAGE as usize)
        });
        Some(held.unwrap_or(&ZEROS))
    }

    /// The word at a physical address, which is a multiple of its size.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        let page = self.page(address & !(PAGE - 1))?;
        let offset = (address % PAGE) as usize;
        let bytes = page.get(offset..offset + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The roots of address spaces that have all of this, by virtual address.
    pub(crate) fn roots(&self, paging: &Paging, content: &[(u64, Vec<u8>)]) -> Vec<u64> {
        let fits = |root: &u64| {
            let mut content = content.iter();
            content.all(|(address, bytes)| self.has(paging, *root, *address, bytes))
        };
        self.blocks(paging.alignment).filter(fits).collect()
    }

    /// The address space of this root.
    pub(crate) fn space(&self, paging: &Paging, root: u64) -> Space {
        let mut space = Space::default();
        self.visit(paging, &mut space, root, paging.root, (0, true));
        space
    }

    /// The threads' objects, with the root of each one's address space, if it is one of these.
    pub(crate) fn threads(
        &self,
        paging: &Paging,
        is_root: impl Fn(u64) -> bool,
    ) -> BTreeMap<u64, u64> {
        let thread = |object: u64| {
            let slot = object + VSPACE_SLOT;
            let root = paging.root_of([self.word(slot)?, self.word(slot + 8)?])?;
            is_root(root).then_some((object, root))
        };
        self.blocks(THREAD).filter_map(thread).collect()
    }

    /// Addresses of blocks of this size that hold anything but zeros.
    fn blocks(&self, size: u64) -> impl Iterator<Item = u64> {
        self.parts.iter().flat_map(move |(start, part)| {
            let first = start / size;
            (first..(start + part.len() as u64).div_ceil(size)).map(move |number| number * size)
        })
    }

    /// Whether an address space has these bytes at a virtual address.
    fn has(&self, paging: &Paging, root: u64, address: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut at = address;
        while !rest.is_empty() {
            let offset = at % PAGE;
            let (part, after) = rest.split_at(rest.len().min((PAGE - offset) as usize));
            let page = self
                .translate(paging, root, at - offset)
                .and_then(|page| self.page(page));
            if !page.is_some_and(|page| page[offset as usize..].starts_with(part)) {
                return false;
            }
            (rest, at) = (after, at + part.len() as u64);
        }
        true
    }

    /// The physical address of a page.
    fn translate(&self, paging: &Paging, root: u64, address: u64) -> Option<u64> {
        let mut table = root;
        for level in (0..=paging.root).rev() {
            let bytes = PAGE << (9 * level);
            let entries = paging.entries(level);
            let index = address / bytes;
            let index = if level == paging.root {
                index
            } else {
                index % entries
            };
            if index >= entries {
                return None;
            }
            match paging.entry(self.word(table + 8 * index)?, level) {
                Entry::Nothing => return None,
                Entry::Table(next) => table = next.physical,
                Entry::Page(page) => return Some(page.physical + address % bytes),
            }
        }
        None
    }

    /// Adds what a paging structure maps, from this virtual address on, and whether it may be written at all.
    fn visit(
        &self,
        paging: &Paging,
        space: &mut Space,
        table: u64,
        level: u32,
        (base, write): (u64, bool),
    ) {
        let bytes = PAGE << (9 * level);
        let size = 8 * paging.entries(level);
        space
            .tables
            .extend((table..table + size).step_by(PAGE as usize));
        for index in 0..paging.entries(level) {
            let Some(entry) = self.word(table + 8 * index) else {
                return;
            };
            let address = base + index * bytes;
            match paging.entry(entry, level) {
                Entry::Nothing => {}
                Entry::Table(next) => {
                    let below = (address, write && next.write);
                    self.visit(paging, space, next.physical, level - 1, below);
                }
                Entry::Page(page) => {
                    let pages = (0..bytes).step_by(PAGE as usize).map(|offset| {
                        let page = Page {
                            physical: page.physical + offset,
                            write: write && page.write,
                        };
                        (address + offset, page)
                    });
                    space.pages.extend(pages);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use microkit_sdf::Architecture;

    const PAGES: usize = 16;

    /// What a machine of an architecture has in its paging structures: the address where its memory begins, the root and
    /// each structure below it with the level of its entries, and the entry for a structure and for a page that may be
    /// written or not.
    struct Example {
        architecture: Architecture,
        start: u64,
        levels: u32,
        table: fn(u64) -> u64,
        page: fn(u64, bool) -> u64,
        /// The first two words of a capability to a root.
        capability: fn(u64) -> [u64; 2],
    }

    const EXAMPLES: [Example; 3] = [
        Example {
            architecture: Architecture::X86_64,
            start: 0,
            levels: 4,
            table: |address| address | 7,
            page: |address, write| address | if write { 7 } else { 5 },
            capability: |root| [9 << 59, 0xffff_ff80_0000_0000 + root],
        },
        Example {
            architecture: Architecture::Aarch64,
            start: 0x4000_0000,
            levels: 3,
            table: |address| address | 3,
            page: |address, write| address | 0x77f | if write { 0x80 } else { 0 },
            capability: |root| [9 << 59 | 1 << 58, 7 << 48 | (0x80_0000_0000 + root)],
        },
        Example {
            architecture: Architecture::Riscv64,
            start: 0x8000_0000,
            levels: 3,
            table: |address| address >> 2 | 1,
            page: |address, write| address >> 2 | if write { 0xdf } else { 0xdb },
            capability: |root| [3 << 59, 7 << 48 | (0x40_0000_0000 + root) << 9],
        },
    ];

    /// Where all of them map a page: each level has another index.
    const ADDRESS: u64 = 3 << 30 | 2 << 21 | 1 << 12;

    /// As many pages, all but those at the ends used.
    struct Machine<'a> {
        example: &'a Example,
        bytes: Vec<u8>,
    }

    impl<'a> Machine<'a> {
        fn new(example: &'a Example) -> Self {
            let bytes = vec![0; PAGES * PAGE as usize];
            Self { example, bytes }
        }

        fn address(&self, page: u64) -> u64 {
            self.example.start + page * PAGE
        }

        fn set(&mut self, page: u64, offset: u64, bytes: &[u8]) {
            self.bytes[(page * PAGE + offset) as usize..][..bytes.len()].copy_from_slice(bytes);
        }

        /// Makes the pages from `root` on an address space that has the page `content` at [`ADDRESS`].
        fn map(&mut self, root: u64, content: u64, write: bool) {
            // The root may take two pages.
            let mut tables = vec![root, root + 2, root + 3, root + 4];
            tables.truncate(self.example.levels as usize);
            for (level, table) in (0..self.example.levels).rev().zip(&tables) {
                let entry = match tables.get(tables.len() - level as usize) {
                    Some(next) if level > 0 => (self.example.table)(self.address(*next)),
                    _ => (self.example.page)(self.address(content), write),
                };
                let index = ADDRESS >> (12 + 9 * level) & 0x1ff;
                self.set(*table, 8 * index, &entry.to_le_bytes());
            }
        }

        fn memory(&self) -> Memory {
            let mut memory = Memory {
                start: self.example.start,
                end: self.address(PAGES as u64),
                parts: Vec::new(),
            };
            memory.add(self.example.start, &self.bytes);
            memory
        }
    }

    #[test]
    fn address_spaces_are_found_by_what_they_have_and_walked() {
        for example in &EXAMPLES {
            let paging = Paging::of(example.architecture);
            let mut machine = Machine::new(example);
            for (root, content, text) in [(2, 8, b"selkie"), (10, 9, b"others")] {
                machine.map(root, content, content == 9);
                machine.set(content, 4090, text);
            }
            let memory = machine.memory();
            for (root, content, text) in [(2, 8, b"selkie"), (10, 9, b"others")] {
                let known = [(ADDRESS + 4090, text.to_vec())];
                let root = machine.address(root);
                assert_eq!(memory.roots(paging, &known), [root], "{text:?}");
                let space = memory.space(paging, root);
                let page = Page {
                    physical: machine.address(content),
                    write: content == 9,
                };
                assert_eq!(space.pages, [(ADDRESS, page)].into());
                let tables = example.levels as usize - 1 + (paging.alignment / PAGE) as usize;
                assert_eq!(space.tables.len(), tables);
                assert_eq!(space.tables[0], root);
            }
            for known in [
                (ADDRESS + 4090, b"selkie, too far".to_vec()),
                (ADDRESS + 4089, b"selkie".to_vec()),
                (ADDRESS - PAGE, vec![0]),
                (1 << 60, vec![0]),
            ] {
                assert_eq!(memory.roots(paging, &[known]), [0; 0]);
            }
        }
    }

    #[test]
    fn threads_are_found_by_their_address_space() {
        for example in &EXAMPLES {
            let paging = Paging::of(example.architecture);
            let mut machine = Machine::new(example);
            let (root, other) = (machine.address(2), machine.address(5));
            for (offset, root) in [(0, root), (THREAD, other)] {
                for (word, slot) in (example.capability)(root).iter().zip([32, 40]) {
                    machine.set(9, offset + slot, &word.to_le_bytes());
                }
            }
            let threads = machine.memory().threads(paging, |found| found == root);
            assert_eq!(threads, [(machine.address(9), root)].into());
        }
    }

    #[test]
    fn large_pages_are_many_small_ones() {
        // 2 MiB at 4 MiB, whose entry has bits where a small page has its address.
        for (architecture, entry) in [
            (Architecture::X86_64, 0x40_1087),
            (Architecture::Aarch64, 0x40_0efd),
            (Architecture::Riscv64, 0x40_0000 >> 2 | 0xdf),
        ] {
            let entry = Paging::of(architecture).entry(entry, 1);
            let page = Page {
                physical: 0x40_0000,
                write: true,
            };
            assert_eq!(entry, Entry::Page(page), "{architecture:?}");
        }
    }

    #[test]
    fn memory_that_was_never_used_is_zero_and_what_is_outside_is_not_there() {
        let mut machine = Machine::new(&EXAMPLES[1]);
        machine.set(3, 8, &[1]);
        machine.set(4, 0, &[1]);
        machine.set(7, 0, &[1]);
        let memory = machine.memory();
        let parts: Vec<_> = memory
            .parts()
            .map(|(start, part)| (start, part.len()))
            .collect();
        let page = PAGE as usize;
        assert_eq!(
            parts,
            [(machine.address(3), 2 * page), (machine.address(7), page)]
        );
        assert_eq!(memory.word(machine.address(3) + 8), Some(1));
        assert_eq!(memory.word(machine.address(5)), Some(0));
        assert_eq!(memory.page(machine.address(15)), Some(&ZEROS[..]));
        assert_eq!(memory.word(machine.address(16)), None);
        assert_eq!(memory.word(0), None);
    }
}
