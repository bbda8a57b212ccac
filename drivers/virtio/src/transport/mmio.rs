//! A virtio device behind registers in memory (virtio 1.2, section 4.2).
//!
//! Of version 2 only. Version 1 is the legacy interface of drafts before virtio 1.0, with other queues and headers.

use registers::Registers;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    Areas, MAX_QUEUES, QueueAreas, Reset, TransportError, is_quiet, read_field, write_field,
};
use crate::InitError;

/// Offsets of the registers (section 4.2.2). All are accessed in words.
mod register {
    pub const MAGIC: usize = 0x000;
    pub const VERSION: usize = 0x004;
    pub const DEVICE_ID: usize = 0x008;
    pub const DEVICE_FEATURES: usize = 0x010;
    pub const DEVICE_FEATURES_SELECT: usize = 0x014;
    pub const DRIVER_FEATURES: usize = 0x020;
    pub const DRIVER_FEATURES_SELECT: usize = 0x024;
    pub const QUEUE_SELECT: usize = 0x030;
    pub const QUEUE_SIZE_MAX: usize = 0x034;
    pub const QUEUE_SIZE: usize = 0x038;
    pub const QUEUE_READY: usize = 0x044;
    pub const QUEUE_NOTIFY: usize = 0x050;
    pub const INTERRUPT_STATUS: usize = 0x060;
    pub const INTERRUPT_ACKNOWLEDGE: usize = 0x064;
    pub const STATUS: usize = 0x070;
    pub const QUEUE_DESCRIPTORS: usize = 0x080;
    pub const QUEUE_DRIVER: usize = 0x090;
    pub const QUEUE_DEVICE: usize = 0x0a0;
    pub const CONFIG_GENERATION: usize = 0x0fc;
    /// Device configuration, to the end of the registers.
    pub const CONFIG: usize = 0x100;
}

/// "virt".
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;

/// The registers of one device.
#[derive(Debug)]
pub struct MmioTransport<R> {
    registers: R,
    device_type: DeviceType,
    queues: [Option<QueueAreas>; MAX_QUEUES],
}

impl<R: Registers> MmioTransport<R> {
    /// The device behind `registers`, which must be of this type.
    ///
    /// # Errors
    /// [`TransportError`] when it is another, or none.
    pub fn new(registers: R, device_type: DeviceType) -> Result<Self, TransportError> {
        if registers.size() < register::CONFIG {
            return Err(TransportError::Misplaced("register"));
        }
        let magic = registers.read32(register::MAGIC);
        if magic != MAGIC {
            return Err(TransportError::NotVirtio(magic));
        }
        // An empty slot may say any version (section 4.2.2.2).
        let device = registers.read32(register::DEVICE_ID);
        if device != device_type as u32 {
            return Err(TransportError::WrongType(device));
        }
        let version = registers.read32(register::VERSION);
        if version != VERSION {
            return Err(TransportError::Version(version));
        }
        Ok(Self {
            registers,
            device_type,
            queues: [None; MAX_QUEUES],
        })
    }

    fn select(&mut self, queue: u16) {
        self.registers.write32(register::QUEUE_SELECT, queue.into());
    }

    fn write64(&mut self, offset: usize, value: u64) {
        self.registers.write32(offset, value as u32);
        self.registers.write32(offset + 4, (value >> 32) as u32);
    }

    /// The place of a field in the device configuration.
    fn field(&self, offset: usize, size: usize) -> Result<usize, Error> {
        let start = offset.checked_add(register::CONFIG);
        let end = start.and_then(|start| start.checked_add(size));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.registers.size() => Ok(start),
            _ => Err(Error::ConfigSpaceTooSmall),
        }
    }
}

impl<R: Registers> Reset for MmioTransport<R> {
    fn reset(&mut self) -> Result<(), InitError> {
        self.queues = [None; MAX_QUEUES];
        self.set_status(DeviceStatus::empty());
        is_quiet(|| self.registers.read32(register::STATUS) == 0)
    }
}

impl<R: Registers> Areas for MmioTransport<R> {
    fn areas(&self, queue: u16) -> Option<QueueAreas> {
        *self.queues.get(usize::from(queue))?
    }
}

impl<R: Registers> Transport for MmioTransport<R> {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        let mut half = |select| {
            self.registers
                .write32(register::DEVICE_FEATURES_SELECT, select);
            u64::from(self.registers.read32(register::DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.registers
                .write32(register::DRIVER_FEATURES_SELECT, select);
            self.registers.write32(register::DRIVER_FEATURES, half);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.registers.read32(register::QUEUE_SIZE_MAX)
    }

    fn notify(&mut self, queue: u16) {
        self.registers.write32(register::QUEUE_NOTIFY, queue.into());
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.registers.read32(register::STATUS))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.registers.write32(register::STATUS, status.bits());
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
        let Some(slot) = self.queues.get_mut(usize::from(queue)) else {
            // More queues than a driver here has: it stays off, `areas` has none, and `Queue` refuses it.
            return;
        };
        *slot = Some(QueueAreas { driver, device });
        self.select(queue);
        self.registers.write32(register::QUEUE_SIZE, size);
        self.write64(register::QUEUE_DESCRIPTORS, descriptors);
        self.write64(register::QUEUE_DRIVER, driver);
        self.write64(register::QUEUE_DEVICE, device);
        self.registers.write32(register::QUEUE_READY, 1);
    }

    // A queue is taken back by a reset of the device, as over PCI; `QUEUE_READY` would have to be waited for.
    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.registers.read32(register::QUEUE_READY) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let cause = self.registers.read32(register::INTERRUPT_STATUS);
        self.registers
            .write32(register::INTERRUPT_ACKNOWLEDGE, cause);
        InterruptStatus::from_bits_retain(cause)
    }

    fn read_config_generation(&self) -> u32 {
        self.registers.read32(register::CONFIG_GENERATION)
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
