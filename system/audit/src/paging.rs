//! How the processors of an architecture translate addresses, and what seL4 makes of that.

use std::ops::Range;

use microkit_sdf::Architecture;

use crate::memory::{PAGE, Page};

/// An architecture's paging structures, as seL4 uses them for programs. Each has 512 entries of 8 bytes, the root may have
/// more.
pub(crate) struct Paging {
    /// The level of the root. Entries of level 0 are pages of 4 KiB.
    pub root: u32,
    /// Size and alignment of the root in bytes.
    pub alignment: u64,
    /// Entries of the root that are the program's; the others, if any, are the kernel's own.
    entries: u64,
    /// Reads an entry of a level.
    entry: fn(u64, u32) -> Entry,
    /// Where the kernel has all physical memory.
    window: u64,
    /// The type of a capability to a root, in the highest five bits of its first word.
    capability: u64,
    /// The kernel's pointer to the root, out of the second word.
    pointer: fn(u64) -> u64,
    /// Where the vector registers are among a thread's registers, in bytes.
    pub vectors: Range<u64>,
    /// Where the others are: of the kernels that have them at several places, all of these.
    pub general: Range<u64>,
}

/// An entry of a paging structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing is mapped.
    Nothing,
    /// The structure of the next lower level.
    Table(Page),
    /// Memory; above level 0, several pages of 4 KiB.
    Page(Page),
}

impl Paging {
    /// That of an architecture.
    pub(crate) fn of(architecture: Architecture) -> &'static Self {
        match architecture {
            Architecture::X86_64 => &X86_64,
            Architecture::Aarch64 => &AARCH64,
            Architecture::Riscv64 => &RISCV64,
        }
    }

    /// How many entries of a structure of this level are the program's.
    pub(crate) fn entries(&self, level: u32) -> u64 {
        match level == self.root {
            true => self.entries,
            false => PAGE / 8,
        }
    }

    /// What an entry of a level means.
    pub(crate) fn entry(&self, entry: u64, level: u32) -> Entry {
        (self.entry)(entry, level)
    }

    /// The root that a capability is for, by the first two words of it.
    pub(crate) fn root_of(&self, capability: [u64; 2]) -> Option<u64> {
        let [first, second] = capability;
        let root = self.of_kernel((self.pointer)(second))?;
        (first >> 59 == self.capability).then_some(root)
    }

    /// The physical address that a pointer of the kernel means.
    pub(crate) fn of_kernel(&self, pointer: u64) -> Option<u64> {
        pointer.checked_sub(self.window)
    }
}

/// Intel SDM, volume 3, section 4.5, with four levels; seL4's own half is the upper one.
const X86_64: Paging = Paging {
    root: 3,
    alignment: PAGE,
    entries: 256,
    entry: |entry, level| {
        let (present, write, large) = (1, 1 << 1, 1 << 7);
        let leaf = level == 0 || level < 3 && entry & large != 0;
        let page = Page {
            physical: aligned(entry & ADDRESS, if leaf { level } else { 0 }),
            write: entry & write != 0,
        };
        match (entry & present != 0, leaf) {
            (false, _) => Entry::Nothing,
            (true, true) => Entry::Page(page),
            (true, false) => Entry::Table(page),
        }
    },
    window: 0xffff_ff80_0000_0000,
    capability: 9,
    pointer: |word| word,
    vectors: 0..512,
    // Behind 512 bytes of FXSAVE, or 576 of XSAVE.
    general: 512..768,
};

/// Arm ARM (DDI 0487), chapter D8: stage 2 with pages of 4 KiB and addresses of 40 bits, since seL4 runs at EL2 on all
/// boards of the Microkit SDK. The root is two structures of the first level behind each other.
const AARCH64: Paging = Paging {
    root: 2,
    alignment: 2 * PAGE,
    entries: 1024,
    entry: |entry, level| {
        let page = |level, write| Page {
            physical: aligned(entry & ADDRESS & 0xffff_ffff_ffff, level),
            write,
        };
        // Bit 7: the upper one of S2AP.
        let write = entry & (1 << 7) != 0;
        match (entry & 3, level) {
            (3, 0) => Entry::Page(page(0, write)),
            (3, _) => Entry::Table(page(0, true)),
            (1, 1..) => Entry::Page(page(level, write)),
            _ => Entry::Nothing,
        }
    },
    window: 0x80_0000_0000,
    capability: 9,
    pointer: |word| word & 0xffff_ffff_ffff,
    vectors: 304..816,
    general: 0..296,
};

/// RISC-V privileged architecture, section "Sv39"; seL4's own half is the upper one.
const RISCV64: Paging = Paging {
    root: 2,
    alignment: PAGE,
    entries: 256,
    entry: |entry, level| {
        let (valid, write, kinds) = (1, 1 << 2, 7 << 1);
        let page = |level, write| Page {
            physical: aligned((entry >> 10 & 0xfff_ffff_ffff) * PAGE, level),
            write,
        };
        match (entry & valid != 0, entry & kinds != 0) {
            (false, _) => Entry::Nothing,
            (true, true) => Entry::Page(page(level, entry & write != 0)),
            (true, false) if level > 0 => Entry::Table(page(0, true)),
            (true, false) => Entry::Nothing,
        }
    },
    window: 0xffff_ffc0_0000_0000,
    capability: 3,
    pointer: |word| word >> 9 & 0x7f_ffff_ffff | 0xffff_ff80_0000_0000,
    vectors: 0..0,
    // The floating-point registers behind them, one by one: each holds as many bytes.
    general: 0..536,
};

/// Physical addresses in entries of x86_64.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The address of a page of a level: the lowest bits may mean other things.
fn aligned(address: u64, level: u32) -> u64 {
    address & !((PAGE << (9 * level)) - 1)
}
