//! Kernel objects and capabilities.

use crate::syscall::{BootInfo, invoke, slots};

/// A slot of the root task's table: a capability's name.
pub type Slot = u64;

/// Every slot of the root task's table has a name of 64 bits.
const DEPTH: u64 = 64;

const UNTYPED_RETYPE: u64 = 1;
const CNODE_REVOKE: u64 = 14;
const CNODE_DELETE: u64 = 15;
const CNODE_COPY: u64 = 17;
const CNODE_MINT: u64 = 18;
const PDPT_MAP: u64 = 28;
const PAGE_DIRECTORY_MAP: u64 = 30;
const PAGE_TABLE_MAP: u64 = 33;
const PAGE_MAP: u64 = 37;

const READ_WRITE: u64 = 3;
const ALL_RIGHTS: u64 = 7;

/// What memory is made into.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum ObjectType {
    /// A thread.
    Thread = 1,
    /// An endpoint.
    Endpoint = 2,
    /// A notification.
    Notification = 3,
    /// A page directory pointer table.
    Pdpt = 5,
    /// A frame of 4 KiB.
    Frame = 7,
    /// A page table.
    PageTable = 9,
    /// A page directory.
    PageDirectory = 10,
}

/// Memory and slots that are free.
pub struct Memory {
    untyped: Slot,
    /// The second largest piece, untouched.
    pub spare: Slot,
    next: Slot,
    end: Slot,
}

impl Memory {
    /// The free memory of the machine: the largest piece to make objects of, the next for the program.
    pub fn new(info: &BootInfo) -> Self {
        let [first, behind] = info.untyped;
        let memory = info.memory;
        let mut pieces = [(0, 0); 2];
        for (slot, piece) in (first..behind)
            .zip(memory)
            .filter(|(_, piece)| piece.is_device == 0)
        {
            if piece.size_bits > pieces[0].0 {
                pieces = [(piece.size_bits, slot), pieces[0]];
            } else if piece.size_bits > pieces[1].0 {
                pieces[1] = (piece.size_bits, slot);
            }
        }
        let [next, end] = info.empty;
        Self {
            untyped: pieces[0].1,
            spare: pieces[1].1,
            next,
            end,
        }
    }

    /// The first of `count` free slots in a row.
    pub fn slots(&mut self, count: u64) -> Slot {
        let first = self.next;
        self.next += count;
        assert!(self.next <= self.end, "no free slots");
        first
    }

    /// A new object.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn object(&mut self, object: ObjectType) -> Result<Slot, u64> {
        let slot = self.slots(1);
        Self::retype(self.untyped, object, slot, 1)?;
        Ok(slot)
    }

    /// Makes `count` objects of an untyped capability, into consecutive slots.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn retype(untyped: Slot, object: ObjectType, first: Slot, count: u64) -> Result<(), u64> {
        let arguments = [object as u64, 0, 0, 0, first, count];
        invoke(untyped, UNTYPED_RETYPE, &[slots::CNODE], &arguments).map(drop)
    }

    /// Puts what paging needs above a page at `address`.
    ///
    /// # Errors
    /// The kernel's error number, other than that a structure is there already.
    pub fn prepare(&mut self, address: u64) -> Result<(), u64> {
        const DELETE_FIRST: u64 = 8;
        for (object, label) in [
            (ObjectType::Pdpt, PDPT_MAP),
            (ObjectType::PageDirectory, PAGE_DIRECTORY_MAP),
            (ObjectType::PageTable, PAGE_TABLE_MAP),
        ] {
            let table = self.object(object)?;
            match invoke(table, label, &[slots::VSPACE], &[address, 0]) {
                Ok(_) | Err(DELETE_FIRST) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Maps a frame for reading and writing.
///
/// # Errors
/// The kernel's error number; 8 when something is mapped there already.
pub fn map(frame: Slot, address: u64) -> Result<(), u64> {
    invoke(frame, PAGE_MAP, &[slots::VSPACE], &[address, READ_WRITE, 0]).map(drop)
}

/// Copies a capability into a free slot.
///
/// # Errors
/// The kernel's error number.
pub fn copy(from: Slot, to: Slot) -> Result<(), u64> {
    let arguments = [to, DEPTH, from, DEPTH, ALL_RIGHTS];
    invoke(slots::CNODE, CNODE_COPY, &[slots::CNODE], &arguments).map(drop)
}

/// Copies a capability and gives the copy a badge.
///
/// # Errors
/// The kernel's error number.
pub fn mint(from: Slot, to: Slot, badge: u64) -> Result<(), u64> {
    let arguments = [to, DEPTH, from, DEPTH, ALL_RIGHTS, badge];
    invoke(slots::CNODE, CNODE_MINT, &[slots::CNODE], &arguments).map(drop)
}

/// Deletes a capability.
///
/// # Errors
/// The kernel's error number.
pub fn delete(slot: Slot) -> Result<(), u64> {
    invoke(slots::CNODE, CNODE_DELETE, &[], &[slot, DEPTH]).map(drop)
}

/// Deletes all capabilities that were made from this one.
///
/// # Errors
/// The kernel's error number.
pub fn revoke(slot: Slot) -> Result<(), u64> {
    invoke(slots::CNODE, CNODE_REVOKE, &[], &[slot, DEPTH]).map(drop)
}
