//! A device of which only the wiring knows how it is reached.

use registers::Registers;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Areas, MmioTransport, PciTransport, QueueAreas, Reset};
use crate::InitError;

/// Either transport. (`Transport` has generic methods, so it cannot be a trait object.)
#[derive(Debug)]
pub enum AnyTransport<R> {
    /// Over PCI.
    Pci(PciTransport<R>),
    /// In memory.
    Mmio(MmioTransport<R>),
}

/// The same call on whichever it is.
macro_rules! on {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self {
            AnyTransport::Pci(transport) => transport.$method($($argument),*),
            AnyTransport::Mmio(transport) => transport.$method($($argument),*),
        }
    };
}

impl<R: Registers> Reset for AnyTransport<R> {
    fn reset(&mut self) -> Result<(), InitError> {
        on!(self, reset())
    }
}

impl<R: Registers> Areas for AnyTransport<R> {
    fn areas(&self, queue: u16) -> Option<QueueAreas> {
        on!(self, areas(queue))
    }
}

impl<R: Registers> Transport for AnyTransport<R> {
    fn device_type(&self) -> DeviceType {
        on!(self, device_type())
    }
    fn read_device_features(&mut self) -> u64 {
        on!(self, read_device_features())
    }
    fn write_driver_features(&mut self, features: u64) {
        on!(self, write_driver_features(features));
    }
    fn max_queue_size(&mut self, queue: u16) -> u32 {
        on!(self, max_queue_size(queue))
    }
    fn notify(&mut self, queue: u16) {
        on!(self, notify(queue));
    }
    fn get_status(&self) -> DeviceStatus {
        on!(self, get_status())
    }
    fn set_status(&mut self, status: DeviceStatus) {
        on!(self, set_status(status));
    }
    fn set_guest_page_size(&mut self, size: u32) {
        on!(self, set_guest_page_size(size));
    }
    fn requires_legacy_layout(&self) -> bool {
        on!(self, requires_legacy_layout())
    }
    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        on!(self, queue_set(queue, size, descriptors, driver, device));
    }
    fn queue_unset(&mut self, queue: u16) {
        on!(self, queue_unset(queue));
    }
    fn queue_used(&mut self, queue: u16) -> bool {
        on!(self, queue_used(queue))
    }
    fn ack_interrupt(&mut self) -> InterruptStatus {
        on!(self, ack_interrupt())
    }
    fn read_config_generation(&self) -> u32 {
        on!(self, read_config_generation())
    }
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        on!(self, read_config_space(offset))
    }
    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<(), Error> {
        on!(self, write_config_space(offset, value))
    }
}
