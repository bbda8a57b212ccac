//! A virtio device behind PCI registers (virtio 1.2, section 4.1).

use pci::{Virtio, Window};
use registers::Registers;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    Areas, MAX_QUEUES, QueueAreas, Reset, TransportError, is_quiet, read_field, write_field,
};
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
        is_quiet(|| self.registers.read8(status) == 0)
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

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let at = self.field(offset, size_of::<T>())?;
        Ok(read_field(&self.registers, at))
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<(), Error> {
        let at = self.field(offset, size_of::<T>())?;
        write_field(&mut self.registers, at, &value);
        Ok(())
    }
}
