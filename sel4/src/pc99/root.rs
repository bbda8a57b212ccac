//! What only the root task does: making objects out of untyped memory and giving capabilities away.

use crate::pc99::abi::label;
use crate::{Cap, CapType, Result, WORD_SIZE, Word, cap};

/// Capabilities that the kernel gives the root task.
pub mod initial {
    use crate::cap;

    /// The root task's own thread.
    pub const THREAD: cap::Tcb = cap::Tcb::from_bits(1);
    /// The table that holds the root task's capabilities.
    pub const CNODE: cap::CNode = cap::CNode::from_bits(2);
    /// The root task's address space.
    pub const VSPACE: cap::VSpace = cap::VSpace::from_bits(3);
    /// The authority to claim interrupts.
    pub const IRQ_CONTROL: cap::IrqControl = cap::IrqControl::from_bits(4);
    /// The pool that address spaces get their identifiers from.
    pub const ASID_POOL: cap::AsidPool = cap::AsidPool::from_bits(6);
    /// All I/O ports.
    pub const IO_PORTS: cap::IoPort = cap::IoPort::from_bits(7);
    /// The first slot behind the capabilities at fixed places.
    pub const FIRST_FREE: u64 = 12;
}

/// A range of slots in the root task's table.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct SlotRegion {
    /// First slot.
    pub start: Word,
    /// Slot behind the last one.
    pub end: Word,
}

/// Untyped memory in the boot information.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct UntypedDescription {
    /// Physical address.
    pub physical: Word,
    padding: [u8; 2],
    /// log2 of the size in bytes.
    pub size_bits: u8,
    /// Not zero for memory that is not RAM, or that the kernel does not use: the kernel never touches it.
    pub is_device: u8,
}

/// What the kernel tells the root task (seL4 manual 5.0, section 9.1); rdi holds its address at the start.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    extra_length: Word,
    node_id: Word,
    node_count: Word,
    iommu_levels: Word,
    /// Address of the root task's IPC buffer.
    pub ipc_buffer: Word,
    /// Slots that are free.
    pub empty: SlotRegion,
    shared_frames: SlotRegion,
    /// Frames of the root task's image, in the order of their addresses.
    pub user_image_frames: SlotRegion,
    user_image_paging: SlotRegion,
    io_space: SlotRegion,
    extra_pages: SlotRegion,
    /// log2 of the number of slots in the root task's table.
    pub cnode_size_bits: u8,
    domain: Word,
    /// The processor's time stamp counter, in MHz.
    pub tsc_mhz: Word,
    /// Slots of the untyped memory.
    pub untyped: SlotRegion,
    untyped_list: [UntypedDescription; 320],
}

impl BootInfo {
    /// The untyped memory with the slots of its capabilities.
    pub fn untyped(&self) -> impl Iterator<Item = (Word, UntypedDescription)> {
        let SlotRegion { start, end } = self.untyped;
        let list = self.untyped_list;
        (start..end).zip(list)
    }
}

/// Kinds of objects that untyped memory is made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectType {
    /// Smaller untyped memory of 2^n bytes.
    Untyped(u8),
    /// A thread.
    Tcb,
    /// An endpoint.
    Endpoint,
    /// A notification.
    Notification,
    /// A capability table of 2^n slots.
    CNode(u8),
    /// A page directory pointer table: maps 512 GiB.
    Pdpt,
    /// The root of an address space.
    VSpace,
    /// A frame of 4 KiB.
    Frame4K,
    /// A frame of 2 MiB.
    Frame2M,
    /// A page table: maps 2 MiB.
    PageTable,
    /// A page directory: maps 1 GiB.
    PageDirectory,
}

impl ObjectType {
    /// log2 of the memory that an object takes, in bytes. It is aligned to as much.
    pub const fn size_bits(self) -> u8 {
        match self {
            Self::Untyped(bits) => bits,
            Self::Tcb => 11,
            Self::Endpoint => 4,
            Self::Notification => 5,
            Self::CNode(bits) => bits + super::abi::SLOT_BITS,
            Self::Pdpt | Self::VSpace | Self::Frame4K | Self::PageTable | Self::PageDirectory => 12,
            Self::Frame2M => 21,
        }
    }

    const fn number(self) -> Word {
        match self {
            Self::Untyped(_) => 0,
            Self::Tcb => 1,
            Self::Endpoint => 2,
            Self::Notification => 3,
            Self::CNode(_) => 4,
            Self::Pdpt => 5,
            Self::VSpace => 6,
            Self::Frame4K => 7,
            Self::Frame2M => 8,
            Self::PageTable => 9,
            Self::PageDirectory => 10,
        }
    }

    const fn parameter(self) -> Word {
        match self {
            Self::Untyped(bits) | Self::CNode(bits) => bits as Word,
            _ => 0,
        }
    }
}

/// Rights of a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapRights(Word);

impl CapRights {
    /// Everything.
    pub const ALL: Self = Self::new(true, true, true);

    /// Rights: pass capabilities on (and be answered to), read or receive, write or send.
    pub const fn new(grant: bool, read: bool, write: bool) -> Self {
        Self((grant as Word) << 2 | (read as Word) << 1 | write as Word)
    }
}

/// Most objects that one [`untyped_retype`](cap::Untyped::untyped_retype) makes.
pub const RETYPE_LIMIT: Word = 256;

impl cap::Untyped {
    /// Makes `count` (1 to [`RETYPE_LIMIT`]) objects; their capabilities go to the slots from `first` of the root
    /// task's table. RAM is zeroed when the first object is made of it.
    ///
    /// # Errors
    /// When the memory does not suffice or a slot is in use.
    pub fn untyped_retype(self, object: ObjectType, first: Word, count: Word) -> Result<()> {
        self.invoke(
            label::UNTYPED_RETYPE,
            &[initial::CNODE.bits()],
            &[object.number(), object.parameter(), 0, 0, first, count],
        )
    }
}

impl cap::CNode {
    /// Puts a copy of a capability of the root task's table into a slot of this table of 2^`depth` slots; with a
    /// badge (endpoints, notifications), a guard (tables) or a range (I/O ports).
    ///
    /// # Errors
    /// When the slot is in use, or there is no such capability or no such range.
    pub fn mint<T: CapType>(
        self,
        slot: Word,
        depth: u8,
        source: Cap<T>,
        rights: CapRights,
        data: Word,
    ) -> Result<()> {
        self.invoke(
            label::CNODE_MINT,
            &[initial::CNODE.bits()],
            &[
                slot,
                depth.into(),
                source.bits(),
                WORD_SIZE as Word,
                rights.0,
                data,
            ],
        )
    }

    /// Puts a copy of a capability of the root task's table into a slot of this table of 2^`depth` slots.
    ///
    /// # Errors
    /// When the slot is in use, or there is no such capability.
    pub fn copy<T: CapType>(
        self,
        slot: Word,
        depth: u8,
        source: Cap<T>,
        rights: CapRights,
    ) -> Result<()> {
        self.invoke(
            label::CNODE_COPY,
            &[initial::CNODE.bits()],
            &[
                slot,
                depth.into(),
                source.bits(),
                WORD_SIZE as Word,
                rights.0,
            ],
        )
    }

    /// Deletes the capability in a slot of this table.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn delete(self, slot: Word, depth: u8) -> Result<()> {
        self.invoke(label::CNODE_DELETE, &[], &[slot, depth.into()])
    }
}

/// The data of a minted table capability: a guard of this many zero bits.
pub const fn zero_guard(bits: usize) -> Word {
    (bits as Word) << 2
}

/// The data of a minted I/O port capability: a range of ports.
pub const fn port_range(first: u16, last: u16) -> Word {
    (first as Word) << 16 | last as Word
}

impl cap::AsidPool {
    /// Gives an address space its identifier; it must have one before anything is mapped.
    ///
    /// # Errors
    /// When it has one, or none are left.
    pub fn asid_pool_assign(self, vspace: cap::VSpace) -> Result<()> {
        self.invoke(label::ASID_POOL_ASSIGN, &[vspace.bits()], &[])
    }
}

/// The level of a paging structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Maps 512 GiB.
    Pdpt,
    /// Maps 1 GiB.
    PageDirectory,
    /// Maps 2 MiB.
    PageTable,
}

impl cap::TranslationTable {
    /// Maps a paging structure of this level.
    ///
    /// # Errors
    /// When one is there already, or the one above it is missing.
    pub fn table_map(self, level: Level, vspace: cap::VSpace, address: Word) -> Result<()> {
        let label = match level {
            Level::Pdpt => label::PDPT_MAP,
            Level::PageDirectory => label::PAGE_DIRECTORY_MAP,
            Level::PageTable => label::PAGE_TABLE_MAP,
        };
        self.invoke(label, &[vspace.bits()], &[address, 0])
    }
}

impl cap::Frame {
    /// Maps a frame. A capability maps in one place at a time; seL4 5.0.0 has no NX bit, so what is readable is
    /// executable.
    ///
    /// # Errors
    /// When something is mapped there, a paging structure is missing, or the address is not aligned.
    pub fn frame_map(
        self,
        vspace: cap::VSpace,
        address: Word,
        rights: CapRights,
        cached: bool,
    ) -> Result<()> {
        let attributes = if cached { 0 } else { UNCACHEABLE };
        self.invoke(
            label::PAGE_MAP,
            &[vspace.bits()],
            &[address, rights.0, attributes],
        )
    }

    /// Removes the mapping.
    ///
    /// # Errors
    /// When this is no frame.
    pub fn frame_unmap(self) -> Result<()> {
        self.invoke(label::PAGE_UNMAP, &[], &[])
    }

    /// The frame's physical address.
    ///
    /// # Errors
    /// When this is no frame.
    pub fn frame_get_address(self) -> Result<Word> {
        self.invoke(label::PAGE_GET_ADDRESS, &[], &[])?;
        Ok(crate::with_ipc_buffer(|buffer| buffer.msg_regs()[0]))
    }
}

/// Page attributes PCD and PWT.
const UNCACHEABLE: Word = 3;

/// An IOAPIC pin and how it signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApicPin {
    /// The IOAPIC's number.
    pub ioapic: Word,
    /// The pin.
    pub pin: Word,
    /// Level triggered (else edge).
    pub level: bool,
    /// Active low (else high).
    pub active_low: bool,
    /// The vector, 0 to 107; each pin needs one of its own.
    pub vector: Word,
}

impl cap::IrqControl {
    /// Claims an IOAPIC pin; the handler's capability goes into `slot` of the root task's table.
    ///
    /// # Errors
    /// When there is no such pin, or the vector or the slot is in use.
    pub fn irq_control_get_ioapic(self, pin: IoApicPin, slot: Word) -> Result<()> {
        self.invoke(
            label::IRQ_ISSUE_IOAPIC,
            &[initial::CNODE.bits()],
            &[
                slot,
                WORD_SIZE as Word,
                pin.ioapic,
                pin.pin,
                pin.level.into(),
                pin.active_low.into(),
                pin.vector,
            ],
        )
    }
}

/// How a thread is set up.
#[derive(Clone, Copy, Debug)]
pub struct ThreadSetup {
    /// Where faults go: a capability pointer in the thread's own capability space; 0 for nowhere.
    pub fault_endpoint: Word,
    /// 0 to 255, as are the priorities that it may give others.
    pub priority: u8,
    /// Its capability space.
    pub cspace: cap::CNode,
    /// The zero bits before an index into that table.
    pub guard_bits: usize,
    /// Its address space.
    pub vspace: cap::VSpace,
    /// Where it sees its IPC buffer.
    pub ipc_buffer: Word,
    /// The frame of the IPC buffer.
    pub ipc_buffer_frame: cap::Frame,
}

impl cap::Tcb {
    /// Sets a thread up. It may give no thread a priority: its maximum controlled priority is 0.
    ///
    /// # Errors
    /// When a capability is not what it should be.
    pub fn tcb_configure(self, setup: ThreadSetup) -> Result<()> {
        self.invoke(
            label::TCB_CONFIGURE,
            &[
                setup.cspace.bits(),
                setup.vspace.bits(),
                setup.ipc_buffer_frame.bits(),
            ],
            &[
                setup.fault_endpoint,
                setup.priority.into(),
                zero_guard(setup.guard_bits),
                0,
                setup.ipc_buffer,
            ],
        )
    }

    /// Delivers signals of this notification while the thread waits at an endpoint.
    ///
    /// # Errors
    /// When either is bound already.
    pub fn tcb_bind_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::TCB_BIND_NOTIFICATION, &[notification.bits()], &[])
    }
}

/// Names a thread in what a debug kernel prints; nothing, when the kernel prints nothing. The name is cut to 64 bytes.
pub fn debug_name_thread(thread: cap::Tcb, name: &str) {
    if crate::PRINTING {
        crate::ipc_buffer::with_ipc_buffer_mut(|buffer| {
            let bytes = buffer.msg_bytes_mut();
            let length = name.len().min(64);
            bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
            bytes[length] = 0;
        });
        super::syscall::debug_name_thread(thread.bits());
    }
}

/// What a debug kernel says is in a slot; none, when the kernel does not say. The numbers are the kernel's own
/// (`structures.bf` in its source): 0 is an empty slot.
pub fn debug_cap_identify(slot: Word) -> Option<Word> {
    crate::PRINTING.then(|| super::syscall::debug_cap_identify(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_information_has_the_kernels_layout() {
        // Eleven words, six of them slot regions' pairs, and single bytes without padding between.
        assert_eq!(core::mem::offset_of!(BootInfo, ipc_buffer), 32);
        assert_eq!(
            core::mem::offset_of!(BootInfo, cnode_size_bits),
            40 + 6 * 16
        );
        assert_eq!(core::mem::offset_of!(BootInfo, untyped), 40 + 6 * 16 + 17);
        assert_eq!(size_of::<UntypedDescription>(), 12);
        assert!(size_of::<BootInfo>() <= 4096);
    }

    #[test]
    fn guards_and_port_ranges_are_encoded_as_the_kernel_reads_them() {
        assert_eq!(zero_guard(55), 55 << 2);
        assert_eq!(port_range(0x3f8, 0x3ff), 0x3f8_03ff);
    }
}
