//! The machine's memory and the slots for capabilities to what is made of it.

use initialiser_spec::memory::{Block, Pool, Step, Unavailable};
use initialiser_spec::{CNODE_BITS, Fill, Spec};
use sel4::pc99::root::{BootInfo, ObjectType, RETYPE_LIMIT, initial};
use sel4::{WORD_SIZE, cap};

use crate::failure::Failure;

/// Blocks of untyped memory: at most 320 from the kernel, and up to 40 for each region at a fixed address.
pub(crate) type Blocks = Pool<640>;

pub(crate) struct Machine<'a> {
    pool: &'a mut Blocks,
    /// The first free slot.
    next_slot: u64,
    /// The slot behind the last free one; slots of smaller blocks are taken from here downwards, so that those
    /// of a region's frames lie side by side.
    end_slot: u64,
}

impl<'a> Machine<'a> {
    /// Takes over what the kernel tells of. The pool is the caller's because it is large: it should be moved nowhere.
    pub(crate) fn new(boot: &BootInfo, pool: &'a mut Blocks) -> Result<Self, Failure> {
        for (slot, block) in boot.untyped() {
            let block = Block::new(slot, block.physical, block.size_bits, block.is_device != 0);
            pool.add(block).map_err(|reason| Failure::Unavailable {
                what: "untyped memory",
                name: "machine",
                reason,
            })?;
        }
        let empty = boot.empty;
        Ok(Self {
            pool,
            next_slot: empty.start,
            end_slot: empty.end,
        })
    }

    /// The free RAM in bytes.
    pub(crate) fn free(&self) -> u64 {
        self.pool.free()
    }

    /// Compares what the system needs with what is there, so that the message can say how much is missing.
    pub(crate) fn check_memory(&self, spec: &Spec) -> Result<(), Failure> {
        const PER_DOMAIN: u64 = (1 << (CNODE_BITS + 5)) // capability table
            + 4096 // root of the address space
            + 4096 // IPC buffer
            + 2048 // thread
            + 48; // endpoint, notification
        let regions: u64 = spec
            .regions()
            .filter(|region| {
                !matches!(region.fill, Fill::Pages { .. }) && region.physical.is_none()
            })
            .map(|region| region.bytes())
            .sum();
        let needed =
            regions + spec.tables().len() as u64 * 4096 + spec.domains().len() as u64 * PER_DOMAIN;
        let available = self.free();
        if needed > available {
            return Err(Failure::Memory { needed, available });
        }
        Ok(())
    }

    /// Free slots side by side.
    pub(crate) fn slots(&mut self, count: u64) -> Result<u64, Failure> {
        let first = self.next_slot;
        if self.end_slot - first < count {
            return Err(Failure::Slots);
        }
        self.next_slot += count;
        Ok(first)
    }

    /// Makes objects; their capabilities lie side by side from the returned slot on.
    pub(crate) fn make(
        &mut self,
        object: ObjectType,
        count: u64,
        name: &'static str,
    ) -> Result<u64, Failure> {
        let first = self.slots(count)?;
        let mut done = 0;
        while done < count {
            let wanted = (count - done).min(RETYPE_LIMIT);
            let (block, made) = self
                .pool
                .take(object.size_bits(), wanted)
                .map_err(|reason| unavailable(name, reason))?;
            retype(block, object, first + done, made, name)?;
            done += made;
        }
        Ok(first)
    }

    /// Makes objects at a fixed physical address; their capabilities go to the slots from `first` on.
    pub(crate) fn make_at(
        &mut self,
        object: ObjectType,
        address: u64,
        count: u64,
        first: u64,
        name: &'static str,
    ) -> Result<(), Failure> {
        let bits = object.size_bits();
        let mut done = 0;
        while done < count {
            let wanted = (count - done).min(RETYPE_LIMIT);
            let step = self
                .pool
                .at(address + (done << bits), bits, wanted)
                .map_err(|reason| unavailable(name, reason))?;
            match step {
                Step::Objects { slot, count } => {
                    retype(slot, object, first + done, count, name)?;
                    done += count;
                }
                Step::Filler {
                    slot,
                    base,
                    bits,
                    device,
                } => self.make_filler(slot, base, bits, device, name)?,
            }
        }
        Ok(())
    }

    /// Zeroes the blocks of RAM in this range of physical addresses that nothing was made of: the kernel does so when
    /// the first object is made.
    pub(crate) fn zero(&mut self, range: core::ops::Range<u64>) {
        /// Blocks are powers of two, so a range has few.
        const MOST: usize = 64;
        let mut slots = [0; MOST];
        let mut count = 0;
        for (place, slot) in slots.iter_mut().zip(self.pool.untouched(range)) {
            *place = slot;
            count += 1;
        }
        let Ok(place) = self.slots(1) else {
            return;
        };
        for slot in &slots[..count] {
            // Nobody uses the object, and a block that is too small for it holds nothing either.
            let _ = cap::Untyped::from_bits(*slot).untyped_retype(ObjectType::Untyped(4), place, 1);
            let _ = initial::CNODE.delete(place, WORD_SIZE as u8);
        }
    }

    /// The slots of the smaller blocks that were made.
    pub(crate) fn fillers(&self, boot: &BootInfo) -> core::ops::Range<u64> {
        self.end_slot..boot.empty.end
    }

    fn make_filler(
        &mut self,
        parent: u64,
        base: u64,
        bits: u8,
        device: bool,
        name: &'static str,
    ) -> Result<(), Failure> {
        if self.end_slot == self.next_slot {
            return Err(Failure::Slots);
        }
        self.end_slot -= 1;
        let slot = self.end_slot;
        retype(parent, ObjectType::Untyped(bits), slot, 1, name)?;
        self.pool
            .add(Block::new(slot, base, bits, device))
            .map_err(|reason| unavailable(name, reason))
    }
}

fn retype(
    block: u64,
    object: ObjectType,
    first: u64,
    count: u64,
    name: &'static str,
) -> Result<(), Failure> {
    cap::Untyped::from_bits(block)
        .untyped_retype(object, first, count)
        .map_err(|reason| Failure::Refused {
            what: "making objects",
            name,
            at: first,
            reason,
        })
}

fn unavailable(name: &'static str, reason: Unavailable) -> Failure {
    Failure::Unavailable {
        what: "memory",
        name,
        reason,
    }
}

/// Stops this thread for ever: the last thing that it does.
pub(crate) fn stop() -> ! {
    loop {
        // A thread can always suspend itself; there is nobody to tell if not.
        let _ = initial::THREAD.tcb_suspend();
    }
}
