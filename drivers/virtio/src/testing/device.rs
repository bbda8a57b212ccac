use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::rc::Rc;

use pci::{Virtio, Window};

use super::Guest;
use crate::{AnyTransport, DeviceType, MmioTransport, PciTransport};

/// The structures of [`FakeDevice`] in BAR 4, as QEMU places them.
pub const LAYOUT: Virtio = Virtio {
    common: window(COMMON),
    isr: window(ISR),
    device: window(DEVICE),
    notify: window(NOTIFY),
    notify_multiplier: 4,
};

const COMMON: usize = 0;
pub(super) const ISR: usize = 0x1000;
pub(super) const DEVICE: usize = 0x2000;
pub(super) const NOTIFY: usize = 0x3000;

const fn window(offset: usize) -> Option<Window> {
    Some(Window {
        bar: 4,
        offset: offset as u32,
        length: 0x1000,
    })
}

/// A virtio device with its registers over PCI or in memory. It does nothing to a queue that is not set up. Clones are
/// the same device: one goes to the driver, one stays with the test.
#[derive(Clone, Debug)]
pub struct FakeDevice {
    pub(super) state: Rc<RefCell<State>>,
    pub(super) bus: Bus,
    guest: Guest,
}

/// How a driver reaches the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// As [`LAYOUT`] says.
    Pci,
    /// As virtio 1.2, section 4.2.2 says.
    Mmio,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) device_type: u32,
    pub(super) features: u64,
    pub(super) accepted: u64,
    pub(super) feature_select: [u32; 2],
    pub(super) status: u8,
    pub(super) isr: u8,
    pub(super) queue_select: usize,
    pub(super) queues: Vec<FakeQueue>,
    pub(super) config: Vec<u8>,
    /// Counts the changes of the configuration (virtio 1.2, section 2.5.3).
    pub(super) generation: u8,
    /// The configuration after its first byte has been read.
    pub(super) next_config: Option<Vec<u8>>,
    /// Resets so far.
    resets: u32,
    /// Whether the device forgets to become quiet.
    pub(super) stuck: bool,
    pub(super) refuses_features: bool,
    /// What registers read as, by offset, whatever they hold.
    lies: BTreeMap<usize, u32>,
    /// Whether the driver may have been told wrong places for single registers, and so accesses some that there are not.
    pub(super) tolerant: bool,
    /// Whether all of its places may be wrong: then what reaches the device may be nonsense, too.
    misled: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeQueue {
    pub(super) max: u16,
    pub(super) size: u16,
    pub(super) enabled: u16,
    pub(super) notify_offset: u16,
    /// Physical addresses of the descriptors, the available and the used ring.
    pub(super) areas: [u64; 3],
    next_available: u16,
    used: u16,
    /// Identifiers that were taken and not returned.
    held: BTreeSet<u16>,
    /// Whether the device lied since the reset: what it finds in memory may be nonsense then.
    lied: bool,
    pub(super) notifications: u32,
    interrupts: u32,
}

/// What the driver made available: the chain's first descriptor and its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The identifier to return.
    pub id: u16,
    /// The parts in order.
    pub parts: Vec<Part>,
}

/// A descriptor's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Physical address.
    pub address: u64,
    /// Length in bytes.
    pub length: u32,
    /// Whether the device may write there.
    pub writable: bool,
}

impl FakeDevice {
    /// A device over PCI with these features, configuration bytes, and queues of at most these sizes.
    pub fn new(guest: Guest, features: u64, config: &[u8], queues: &[u16]) -> Self {
        let queues = (0..)
            .zip(queues)
            .map(|(n, &max)| FakeQueue {
                max,
                notify_offset: n,
                ..FakeQueue::default()
            })
            .collect();
        let state = State {
            device_type: 0,
            features,
            accepted: 0,
            feature_select: [0; 2],
            status: 0,
            isr: 0,
            queue_select: 0,
            queues,
            config: config.to_vec(),
            generation: 0,
            next_config: None,
            resets: 0,
            stuck: false,
            refuses_features: false,
            lies: BTreeMap::new(),
            tolerant: false,
            misled: false,
        };
        Self {
            state: Rc::new(RefCell::new(state)),
            bus: Bus::Pci,
            guest,
        }
    }

    /// A driver's way to this device, which says that it is of this type.
    ///
    /// # Panics
    /// When the transport refuses it.
    pub fn transport(&self, bus: Bus, device_type: DeviceType) -> AnyTransport<FakeDevice> {
        let device = self.on(bus, device_type as u32);
        match bus {
            Bus::Pci => PciTransport::new(device, 4, &LAYOUT, device_type).map(AnyTransport::Pci),
            Bus::Mmio => MmioTransport::new(device, device_type).map(AnyTransport::Mmio),
        }
        .expect("the registers are right")
    }

    /// The same device with registers on this bus, where it says that it is of this type.
    pub fn on(&self, bus: Bus, device_type: u32) -> FakeDevice {
        self.state.borrow_mut().device_type = device_type;
        FakeDevice {
            bus,
            ..self.clone()
        }
    }

    /// Says that the driver was told wrong places: from now on registers that there are not read as 0, writes to them are
    /// lost, and a queue whose memory is nowhere does nothing. Otherwise all this is a mistake of the driver and panics.
    pub fn mislead(&self) {
        let mut state = self.state.borrow_mut();
        (state.tolerant, state.misled) = (true, true);
    }

    /// From now on the register at this offset reads as `value`, whatever it holds; or, without one, tells the truth.
    pub fn lie(&self, offset: usize, value: Option<u32>) {
        let mut state = self.state.borrow_mut();
        state.tolerant = true;
        match value {
            Some(value) => state.lies.insert(offset, value),
            None => state.lies.remove(&offset),
        };
    }

    /// The features that the driver accepted.
    pub fn accepted(&self) -> u64 {
        self.state.borrow().accepted
    }
    /// The status register.
    pub fn status(&self) -> u8 {
        self.state.borrow().status
    }
    /// Sets bits of the status register, as a device may.
    pub fn raise_status(&self, bits: u8) {
        self.state.borrow_mut().status |= bits;
    }
    /// Resets since the start.
    pub fn resets(&self) -> u32 {
        self.state.borrow().resets
    }
    /// From now on resets have no end.
    pub fn get_stuck(&self) {
        self.state.borrow_mut().stuck = true;
    }
    /// From now on no features are good enough.
    pub fn refuse_features(&self) {
        self.state.borrow_mut().refuses_features = true;
    }
    /// Places a queue's notification register wrongly.
    pub fn misplace_notification(&self, queue: usize, offset: u16) {
        self.state.borrow_mut().queues[queue].notify_offset = offset;
    }
    /// Changes the device configuration and says so.
    pub fn configure(&self, offset: usize, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        state.config[offset..][..bytes.len()].copy_from_slice(bytes);
        state.generation = state.generation.wrapping_add(1);
        state.isr |= 2;
    }
    /// Changes the device configuration as soon as the driver has read the first byte of it, and says so before.
    pub fn configure_during_read(&self, offset: usize, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let mut next = state.config.clone();
        next[offset..][..bytes.len()].copy_from_slice(bytes);
        state.next_config = Some(next);
        state.isr |= 2;
    }
    /// Notifications that the driver sent for a queue.
    pub fn notifications(&self, queue: usize) -> u32 {
        self.state.borrow().queues[queue].notifications
    }
    /// Interrupts that the driver wanted for a queue.
    pub fn interrupts(&self, queue: usize) -> u32 {
        self.state.borrow().queues[queue].interrupts
    }

    /// Takes the next chain that the driver made available. None also if the device lied and finds nonsense.
    ///
    /// # Panics
    /// When the chain has memory that is not for transfers.
    pub fn next(&self, queue: usize) -> Option<Chain> {
        let state = &mut *self.state.borrow_mut();
        let misled = state.misled;
        let q = &mut state.queues[queue];
        if !self.works(q, misled) || self.read16(q.areas[1] + 2) == q.next_available {
            return None;
        }
        let lied = q.lied || misled;
        let slot = q.next_available % q.size;
        let id = self.read16(q.areas[1] + 4 + 2 * u64::from(slot));
        q.next_available = q.next_available.wrapping_add(1);
        let mut parts = Vec::new();
        let mut descriptor = id;
        loop {
            let at = q.areas[0] + 16 * u64::from(descriptor);
            let nonsense = descriptor >= q.size || parts.len() >= usize::from(q.size);
            if lied && nonsense {
                return None;
            }
            assert!(!nonsense, "a chain without end or outside of the table");
            let field: [u8; 16] = self.read(at, 16).try_into().expect("16 bytes");
            let word = |from: usize| u16::from_le_bytes([field[from], field[from + 1]]);
            let part = Part {
                address: u64::from_le_bytes(field[..8].try_into().expect("8 bytes")),
                length: u32::from_le_bytes(field[8..12].try_into().expect("4 bytes")),
                writable: word(12) & 2 != 0,
            };
            if lied && !self.guest.contains(part.address, part.length as usize) {
                return None;
            }
            self.guest.at(part.address, part.length as usize);
            parts.push(part);
            if word(12) & 1 == 0 {
                q.held.insert(id);
                return Some(Chain { id, parts });
            }
            descriptor = word(14);
        }
    }

    /// Says after which element the driver shall notify next: the next one, as a device that sleeps does.
    pub fn want_notification(&self, queue: usize) {
        let state = self.state.borrow();
        let q = &state.queues[queue];
        if !self.works(q, state.misled) {
            return;
        }
        self.write(
            q.areas[2] + 4 + 8 * u64::from(q.size),
            &q.next_available.to_le_bytes(),
        );
    }

    /// Returns an element, true or not, and interrupts if the driver wants it.
    pub fn give(&self, queue: usize, id: u32, length: u32) {
        let state = &mut *self.state.borrow_mut();
        let misled = state.misled;
        let q = &mut state.queues[queue];
        if !self.works(q, misled) {
            return;
        }
        let at = q.areas[2] + 4 + 8 * u64::from(q.used % q.size);
        self.write(at, &id.to_le_bytes());
        self.write(at + 4, &length.to_le_bytes());
        q.lied |= u16::try_from(id).is_ok_and(|id| !q.held.remove(&id)) || id > u16::MAX.into();
        let before = q.used;
        q.used = q.used.wrapping_add(1);
        self.write(q.areas[2] + 2, &q.used.to_le_bytes());
        let wanted = if state.accepted & crate::features::EVENT_IDX != 0 {
            self.read16(q.areas[1] + 4 + 2 * u64::from(q.size)) == before
        } else {
            self.read16(q.areas[1]) & 1 == 0
        };
        if wanted {
            q.interrupts += 1;
            state.isr |= 1;
        }
    }

    /// Claims that this many elements have been returned in all.
    pub fn claim(&self, queue: usize, used: u16) {
        let mut state = self.state.borrow_mut();
        if !self.works(&state.queues[queue], state.misled) {
            return;
        }
        state.queues[queue].used = used;
        state.queues[queue].lied = true;
        self.write(state.queues[queue].areas[2] + 2, &used.to_le_bytes());
    }

    /// Overwrites all of a queue's memory that the device can reach: descriptors and both rings.
    pub fn scribble(&self, queue: usize, mut byte: impl FnMut() -> u8) {
        let mut state = self.state.borrow_mut();
        let misled = state.misled;
        let q = &mut state.queues[queue];
        if !self.works(q, misled) {
            return;
        }
        q.lied = true;
        let size = usize::from(q.size);
        for (area, length) in q.areas.iter().zip(lengths(size)) {
            let bytes: Vec<u8> = (0..length).map(|_| byte()).collect();
            self.write(*area, &bytes);
        }
    }

    /// Whether a queue is set up.
    fn works(&self, q: &FakeQueue, misled: bool) -> bool {
        let inside = || {
            let mut areas = q.areas.iter().zip(lengths(q.size.into()));
            q.size > 0 && areas.all(|(area, length)| self.guest.contains(*area, length))
        };
        q.enabled != 0 && (!misled || inside())
    }

    /// Writes to the guest's memory.
    pub fn write(&self, physical: u64, bytes: &[u8]) {
        let at = self.guest.at(physical, bytes.len());
        // SAFETY: `at` is valid for so many bytes of the leaked memory.
        unsafe { at.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    /// Reads the guest's memory.
    pub fn read(&self, physical: u64, size: usize) -> Vec<u8> {
        let at = self.guest.at(physical, size);
        // SAFETY: `at` is valid for so many bytes of the leaked memory.
        unsafe { core::slice::from_raw_parts(at.as_ptr(), size) }.to_vec()
    }

    fn read16(&self, physical: u64) -> u16 {
        let bytes = self.read(physical, 2);
        u16::from_le_bytes([bytes[0], bytes[1]])
    }
}

impl State {
    pub(super) fn lie(&self, offset: usize) -> Option<u32> {
        self.lies.get(&offset).copied()
    }

    /// The queue that the driver has selected and writes to.
    pub(super) fn chosen(&mut self) -> Option<&mut FakeQueue> {
        let tolerant = self.tolerant;
        let queue = self.queue();
        assert!(queue.is_some() || tolerant, "a queue that does not exist");
        queue
    }

    /// A register that there is not.
    pub(super) fn unknown(&self, access: &str, offset: usize) {
        assert!(self.tolerant, "{access} at {offset:#x}");
    }

    pub(super) fn queue(&mut self) -> Option<&mut FakeQueue> {
        self.queues.get_mut(self.queue_select)
    }

    pub(super) fn reset(&mut self) {
        self.resets += 1;
        self.isr = 0;
        for queue in &mut self.queues {
            let FakeQueue {
                max,
                notify_offset,
                notifications,
                interrupts,
                ..
            } = *queue;
            *queue = FakeQueue {
                max,
                notify_offset,
                notifications,
                interrupts,
                ..FakeQueue::default()
            };
        }
    }
}

/// Bytes of the descriptors, the available and the used ring (virtio 1.2, section 2.7).
fn lengths(size: usize) -> [usize; 3] {
    [16 * size, 6 + 2 * size, 6 + 8 * size]
}
