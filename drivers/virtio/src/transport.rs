//! A virtio device behind PCI registers (virtio 1.2, section 4.1).

use core::fmt;

use pci::{Virtio, Window};
use registers::Registers;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::InitError;

/// Offsets in the common configuration (section 4.1.4.3).
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub const DEVICE_FEATURE: usize = 0x04;
    pub const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub const DRIVER_FEATURE: usize = 0x0c;
    pub const DEVICE_STATUS: usize = 0x14;
    pub const CONFIG_GENERATION: usize = 0x15;
    pub const QUEUE_SELECT: usize = 0x16;
    pub const QUEUE_SIZE: usize = 0x18;
    pub const QUEUE_ENABLE: usize = 0x1c;
    pub const QUEUE_NOTIFY_OFF: usize = 0x1e;
    pub const QUEUE_DESC: usize = 0x20;
    pub const QUEUE_DRIVER: usize = 0x28;
    pub const QUEUE_DEVICE: usize = 0x30;
    pub const SIZE: u32 = 0x38;
}

/// Queues that a driver here uses at most: a network device's two.
const MAX_QUEUES: usize = 2;

/// Looks at the status before a reset counts as failed. Devices reset at once or within some
/// microseconds; each look takes at least a hundred nanoseconds.
const RESET_LOOKS: u32 = 100_000;

/// Why a device's registers cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// A structure that is needed is missing, or not in the BAR that is mapped.
    Missing(&'static str),
    /// A structure is too short, unaligned, or sticks out of the mapped memory.
    Misplaced(&'static str),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "the device's {what} structure is missing"),
            Self::Misplaced(what) => write!(f, "the device's {what} structure is misplaced"),
        }
    }
}

impl core::error::Error for TransportError {}

/// Where a queue's areas are: what was given to [`Transport::queue_set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAreas {
    /// Physical address of the available ring.
    pub driver: u64,
    /// Physical address of the used ring.
    pub device: u64,
}

/// A transport that remembers where queues are.
pub trait Areas {
    /// The areas of a queue that has been set up since the last reset.
    fn areas(&self, queue: u16) -> Option<QueueAreas>;
}

/// A transport whose reset has an end.
pub trait Reset {
    /// Resets the device and waits until it says that it is.
    ///
    /// # Errors
    /// [`InitError::Stuck`] when it does not within bounds.
    fn reset(&mut self) -> Result<(), InitError>;
}

/// The registers of one device.
#[derive(Debug)]
pub struct PciTransport<R> {
    registers: R,
    device_type: DeviceType,
    common: usize,
    isr: usize,
    notify: (usize, usize),
    notify_multiplier: usize,
    device: Option<(usize, usize)>,
    queues: [Option<ActiveQueue>; MAX_QUEUES],
}

#[derive(Clone, Copy, Debug)]
struct ActiveQueue {
    areas: QueueAreas,
    /// Offset of its notification register.
    notify: usize,
}

impl<R: Registers> PciTransport<R> {
    /// The device of a kind whose BAR `bar` is behind `registers`, with its structures as `layout` says.
    ///
    /// # Errors
    /// [`TransportError`] when the layout does not fit; it comes from the device and is not trusted.
    pub fn new(
        registers: R,
        bar: u8,
        layout: &Virtio,
        device_type: DeviceType,
    ) -> Result<Self, TransportError> {
        let place = |what, window: Option<Window>, length, align| {
            let window = window
                .filter(|w| w.bar == bar)
                .ok_or(TransportError::Missing(what))?;
            let end = u64::from(window.offset) + u64::from(window.length);
            let fits = window.length >= length
                && window.offset.is_multiple_of(align)
                && end <= registers.size() as u64;
            let place = (window.offset as usize, window.length as usize);
            if fits {
                Ok(place)
            } else {
                Err(TransportError::Misplaced(what))
            }
        };
        let common = place("common configuration", layout.common, common::SIZE, 4)?.0;
        let isr = place("interrupt status", layout.isr, 1, 1)?.0;
        let notify = place("notification", layout.notify, 2, 2)?;
        let device = match layout.device {
            Some(window) => Some(place("device configuration", Some(window), 1, 4)?),
            None => None,
        };
        Ok(Self {
            registers,
            device_type,
            common,
            isr,
            notify,
            notify_multiplier: layout.notify_multiplier as usize,
            device,
            queues: [None; MAX_QUEUES],
        })
    }

    fn read16(&self, offset: usize) -> u16 {
        self.registers.read16(self.common + offset)
    }

    fn select(&mut self, queue: u16) {
        self.registers
            .write16(self.common + common::QUEUE_SELECT, queue);
    }

    fn write64(&mut self, offset: usize, value: u64) {
        self.registers.write32(self.common + offset, value as u32);
        self.registers
            .write32(self.common + offset + 4, (value >> 32) as u32);
    }

    /// The register that notifies of the selected queue (section 4.1.4.4). The device says where it is, so it
    /// may lie outside: then there is none.
    fn notify_register(&self) -> Option<usize> {
        let steps = usize::from(self.read16(common::QUEUE_NOTIFY_OFF));
        let offset = steps.checked_mul(self.notify_multiplier)?;
        (offset.checked_add(2)? <= self.notify.1).then_some(self.notify.0 + offset)
    }

    /// The place of a field in the device configuration.
    fn field(&self, offset: usize, size: usize) -> Result<usize, Error> {
        let (start, length) = self.device.ok_or(Error::ConfigSpaceMissing)?;
        match offset.checked_add(size) {
            Some(end) if end <= length => Ok(start + offset),
            _ => Err(Error::ConfigSpaceTooSmall),
        }
    }
}

impl<R: Registers> Reset for PciTransport<R> {
    fn reset(&mut self) -> Result<(), InitError> {
        self.queues = [None; MAX_QUEUES];
        self.set_status(DeviceStatus::empty());
        // Section 4.1.4.3.2: the reset is done when the status reads 0.
        let status = self.common + common::DEVICE_STATUS;
        (0..RESET_LOOKS)
            .any(|_| self.registers.read8(status) == 0)
            .then_some(())
            .ok_or(InitError::Stuck)
    }
}

impl<R: Registers> Areas for PciTransport<R> {
    fn areas(&self, queue: u16) -> Option<QueueAreas> {
        self.queues
            .get(usize::from(queue))?
            .map(|active| active.areas)
    }
}

impl<R: Registers> Transport for PciTransport<R> {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        let mut half = |select| {
            self.registers
                .write32(self.common + common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.registers.read32(self.common + common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.registers
                .write32(self.common + common::DRIVER_FEATURE_SELECT, select);
            self.registers
                .write32(self.common + common::DRIVER_FEATURE, half);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        u32::from(self.read16(common::QUEUE_SIZE))
    }

    fn notify(&mut self, queue: u16) {
        if let Some(Some(active)) = self.queues.get(usize::from(queue)) {
            self.registers.write16(active.notify, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        let status = self.registers.read8(self.common + common::DEVICE_STATUS);
        DeviceStatus::from_bits_retain(status.into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.registers
            .write8(self.common + common::DEVICE_STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        self.select(queue);
        let notify = self.notify_register();
        if let (Some(slot), Some(notify)) = (self.queues.get_mut(usize::from(queue)), notify) {
            *slot = Some(ActiveQueue {
                areas: QueueAreas { driver, device },
                notify,
            });
        } else {
            // A queue that cannot be notified stays off: `areas` has none, and `Queue` refuses it.
            return;
        }
        self.registers
            .write16(self.common + common::QUEUE_SIZE, size as u16);
        self.write64(common::QUEUE_DESC, descriptors);
        self.write64(common::QUEUE_DRIVER, driver);
        self.write64(common::QUEUE_DEVICE, device);
        self.registers
            .write16(self.common + common::QUEUE_ENABLE, 1);
    }

    // A queue of a PCI device is only unset by a reset of the device (section 4.1.4.3.2).
    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.read16(common::QUEUE_ENABLE) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // Reading clears it and lowers the line (section 4.1.4.5).
        InterruptStatus::from_bits_retain(self.registers.read8(self.isr).into())
    }

    fn read_config_generation(&self) -> u32 {
        self.registers
            .read8(self.common + common::CONFIG_GENERATION)
            .into()
    }

    // Fields are read in their own width (section 4.1.3.1), others byte by byte.
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let at = self.field(offset, size_of::<T>())?;
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        match bytes.len() {
            2 => bytes.copy_from_slice(&self.registers.read16(at).to_le_bytes()),
            4 => bytes.copy_from_slice(&self.registers.read32(at).to_le_bytes()),
            _ => (at..)
                .zip(bytes)
                .for_each(|(at, byte)| *byte = self.registers.read8(at)),
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<(), Error> {
        let at = self.field(offset, size_of::<T>())?;
        match *value.as_bytes() {
            [a, b] => self.registers.write16(at, u16::from_le_bytes([a, b])),
            [a, b, c, d] => self.registers.write32(at, u32::from_le_bytes([a, b, c, d])),
            ref bytes => {
                (at..)
                    .zip(bytes)
                    .for_each(|(at, &byte)| self.registers.write8(at, byte));
            }
        }
        Ok(())
    }
}
