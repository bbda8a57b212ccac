//! Handing out untyped memory.
//!
//! The kernel hands out an untyped block from its beginning to its end and zeroes a block of RAM as a whole when
//! the first object is made of it. So general allocation takes the fullest block that the objects fit in: large
//! blocks stay untouched, and booting costs the time for the memory that is used and not for the machine's.
//!
//! To reach a fixed address, what lies before it in its block is made into smaller blocks (*fillers*), which are handed
//! out later like any other. Fixed addresses are taken first, while the blocks that hold them are whole.
//!
//! ```
//! use initialiser_spec::memory::{Block, Pool, Step};
//!
//! let mut pool = Pool::<16>::new();
//! pool.add(Block::new(100, 0x10_0000, 20, false)).unwrap();
//! // 0x14_0000 to be reached: a filler of 256 KiB, then the frame.
//! assert_eq!(pool.at(0x14_0000, 12, 1), Ok(Step::Filler { slot: 100, base: 0x10_0000, bits: 18, device: false }));
//! assert_eq!(pool.at(0x14_0000, 12, 1), Ok(Step::Objects { slot: 100, count: 1 }));
//! ```

/// An untyped block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    slot: u64,
    base: u64,
    bits: u8,
    device: bool,
    used: u64,
}

impl Block {
    /// A block of 2^`bits` bytes at a physical address, nothing of it handed out, whose capability is in `slot`.
    pub const fn new(slot: u64, base: u64, bits: u8, device: bool) -> Self {
        Self {
            slot,
            base,
            bits,
            device,
            used: 0,
        }
    }

    const EMPTY: Self = Self::new(0, 0, 0, true);

    fn size(&self) -> u64 {
        1 << self.bits
    }

    fn end(&self) -> u64 {
        self.base + self.size()
    }

    /// The first address that is not handed out.
    fn next(&self) -> u64 {
        self.base + self.used
    }

    /// How many objects of 2^`bits` bytes fit.
    fn fits(&self, bits: u8) -> u64 {
        let start = self.used.next_multiple_of(1 << bits);
        self.size().saturating_sub(start) >> bits
    }

    fn take(&mut self, bits: u8, count: u64) {
        self.used = self.used.next_multiple_of(1 << bits) + (count << bits);
    }
}

/// What to do next to get objects at a fixed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a smaller block out of the one in `slot`, [`add`](Pool::add) it, and ask again.
    Filler {
        /// The slot of the block's capability.
        slot: u64,
        /// The physical address of the smaller block.
        base: u64,
        /// log2 of its size.
        bits: u8,
        /// Whether the memory is a device's.
        device: bool,
    },
    /// Make `count` objects out of the block in `slot`: they lie at the address that was asked for.
    Objects {
        /// The slot of the block's capability.
        slot: u64,
        /// The number of objects, at least 1; fewer than asked for when the block ends.
        count: u64,
    },
}

/// Why there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No block of untyped memory holds this address: the machine has nothing there, or the kernel uses it.
    Absent {
        /// The physical address.
        address: u64,
    },
    /// Something else was made of the memory at this address.
    Taken {
        /// The physical address.
        address: u64,
    },
    /// No block is free that such an object fits in.
    Exhausted,
    /// There are more blocks than the pool has room for.
    Full,
}

/// Untyped memory, in at most `N` blocks.
pub struct Pool<const N: usize> {
    blocks: [Block; N],
    count: usize,
}

impl<const N: usize> Pool<N> {
    /// An empty pool.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            blocks: [Block::EMPTY; N],
            count: 0,
        }
    }

    /// Adds a block.
    ///
    /// # Errors
    /// [`Unavailable::Full`].
    pub fn add(&mut self, block: Block) -> Result<(), Unavailable> {
        let place = self.blocks.get_mut(self.count).ok_or(Unavailable::Full)?;
        *place = block;
        self.count += 1;
        Ok(())
    }

    /// Takes RAM for up to `count` (at least 1) objects of 2^`bits` bytes: the slot of the block to make them of, and
    /// how many fit there, at least one.
    ///
    /// # Errors
    /// [`Unavailable::Exhausted`].
    pub fn take(&mut self, bits: u8, count: u64) -> Result<(u64, u64), Unavailable> {
        let block = self.blocks[..self.count]
            .iter_mut()
            .filter(|block| !block.device && block.fits(bits) > 0)
            .min_by_key(|block| block.size() - block.used)
            .ok_or(Unavailable::Exhausted)?;
        let count = count.min(block.fits(bits));
        block.take(bits, count);
        Ok((block.slot, count))
    }

    /// The next step towards `count` (at least 1) objects of 2^`bits` bytes at a fixed physical address.
    ///
    /// # Errors
    /// [`Unavailable::Absent`] or [`Unavailable::Taken`].
    pub fn at(&mut self, address: u64, bits: u8, count: u64) -> Result<Step, Unavailable> {
        let mut error = Unavailable::Absent { address };
        for block in &mut self.blocks[..self.count] {
            if !(block.base..block.end()).contains(&address) {
                continue;
            }
            if block.next() > address || block.end() - address < 1 << bits {
                // A filler that was made of this block may hold the address.
                error = Unavailable::Taken { address };
                continue;
            }
            if block.next() < address {
                return Ok(filler(block, address));
            }
            let count = count.min(block.fits(bits));
            block.take(bits, count);
            return Ok(Step::Objects {
                slot: block.slot,
                count,
            });
        }
        Err(error)
    }

    /// The free RAM in bytes.
    pub fn free(&self) -> u64 {
        self.blocks[..self.count]
            .iter()
            .filter(|block| !block.device)
            .map(|block| block.size() - block.used)
            .sum()
    }

    /// The slots of blocks of RAM in a range of physical addresses of which nothing was handed out: what they hold
    /// was not zeroed.
    pub fn untouched(&self, range: core::ops::Range<u64>) -> impl Iterator<Item = u64> {
        self.blocks[..self.count]
            .iter()
            .filter(move |block| {
                !block.device
                    && block.used == 0
                    && block.base < range.end
                    && block.end() > range.start
            })
            .map(|block| block.slot)
    }
}

/// The largest aligned block that begins where the block's free part does and ends at `address` or before.
fn filler(block: &mut Block, address: u64) -> Step {
    let base = block.next();
    let bits = (base.trailing_zeros()).min((address - base).ilog2()) as u8;
    block.take(bits, 1);
    Step::Filler {
        slot: block.slot,
        base,
        bits,
        device: block.device,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_blocks_are_used_up_first() {
        let mut pool = Pool::<4>::new();
        pool.add(Block::new(1, 1 << 24, 24, false)).unwrap();
        pool.add(Block::new(2, 1 << 13, 13, false)).unwrap();
        pool.add(Block::new(3, 1 << 40, 40, true)).unwrap();
        assert_eq!(pool.take(12, 3), Ok((2, 2)));
        assert_eq!(pool.take(12, 1), Ok((1, 1)));
        assert_eq!(pool.take(21, 9), Ok((1, 7)), "the first 2 MiB are begun");
        assert_eq!(pool.take(12, 1), Err(Unavailable::Exhausted));
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn a_region_goes_on_in_the_next_block() {
        let mut pool = Pool::<4>::new();
        pool.add(Block::new(1, 0x4000, 14, false)).unwrap();
        pool.add(Block::new(2, 0x8000, 15, false)).unwrap();
        let objects = |slot, count| Ok(Step::Objects { slot, count });
        assert_eq!(pool.at(0x4000, 12, 6), objects(1, 4));
        assert_eq!(pool.at(0x8000, 12, 2), objects(2, 2));
        assert_eq!(
            pool.at(0x8000, 12, 1),
            Err(Unavailable::Taken { address: 0x8000 })
        );
        assert_eq!(
            pool.at(0x1_0000, 12, 1),
            Err(Unavailable::Absent { address: 0x1_0000 })
        );
    }

    #[test]
    fn only_blocks_that_nothing_was_made_of_are_untouched() {
        let mut pool = Pool::<4>::new();
        pool.add(Block::new(1, 0x4000, 14, false)).unwrap();
        pool.add(Block::new(2, 0x8000, 15, false)).unwrap();
        pool.add(Block::new(3, 0x1_0000, 16, true)).unwrap();
        pool.take(12, 1).unwrap();
        assert_eq!(pool.untouched(0..0x8000).collect::<Vec<_>>(), []);
        assert_eq!(pool.untouched(0..u64::MAX).collect::<Vec<_>>(), [2]);
    }

    /// A kernel that knows only what it is told: it hands out each block from the beginning.
    #[derive(Default)]
    struct Kernel {
        /// Slot, base, end, next.
        blocks: Vec<(u64, u64, u64, u64)>,
    }

    impl Kernel {
        fn make(&mut self, slot: u64, bits: u8, count: u64) -> u64 {
            let block = self
                .blocks
                .iter_mut()
                .find(|block| block.0 == slot)
                .unwrap();
            let start = block.3.next_multiple_of(1 << bits);
            block.3 = start + (count << bits);
            assert!(block.3 <= block.2, "the block is exhausted");
            start
        }
    }

    proptest! {
        /// Whatever is asked for: objects at fixed addresses lie there, and nothing overlaps.
        #[test]
        fn objects_lie_where_asked_and_never_overlap(
            fixed in prop::collection::btree_set(0_u64..64, 0..6),
            general in prop::collection::vec((4_u8..17, 1_u64..20), 0..20),
        ) {
            const BASE: u64 = 0x100_0000;
            let mut pool = Pool::<256>::new();
            let mut kernel = Kernel::default();
            for (slot, base, bits) in [(1, BASE, 18), (2, BASE + 0x4_0000, 16)] {
                pool.add(Block::new(slot, base, bits, false)).unwrap();
                kernel.blocks.push((slot, base, base + (1 << bits), base));
            }
            let mut next_slot = 3;
            let mut made = vec![];
            for page in fixed {
                let address = BASE + page * 4096;
                loop {
                    match pool.at(address, 12, 1).unwrap() {
                        Step::Filler { slot, base, bits, device } => {
                            prop_assert_eq!(kernel.make(slot, bits, 1), base);
                            pool.add(Block::new(next_slot, base, bits, device)).unwrap();
                            kernel.blocks.push((next_slot, base, base + (1 << bits), base));
                            next_slot += 1;
                        }
                        Step::Objects { slot, count } => {
                            prop_assert_eq!(count, 1);
                            prop_assert_eq!(kernel.make(slot, 12, 1), address);
                            made.push((address, address + 4096));
                            break;
                        }
                    }
                }
            }
            for (bits, count) in general {
                if let Ok((slot, count)) = pool.take(bits, count) {
                    let start = kernel.make(slot, bits, count);
                    made.push((start, start + (count << bits)));
                }
            }
            made.sort_unstable();
            prop_assert!(made.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{made:?}");
        }
    }
}
