//! What virtio drivers share: the transport, the memory for transfers and the queues.
//!
//! The queues are those of the `virtio-drivers` crate. That crate trusts its device in places: it waits
//! without end for a reset, takes any identifier from the used ring for a caller to look up, and leaves lengths
//! to the caller. Here the device is a hostile peer. [`Queue`] knows what is outstanding and lets
//! the crate see an element of the used ring only if it is the return of something outstanding, of
//! a length that fits; all else is a [`Misbehaviour`], after which the driver resets the device and
//! begins anew. No wait on the device is without a bound.
//!
//! What this cannot do: keep a device from writing to memory that it was never given. Where no IOMMU confines
//! the device, nothing can.
//!
//! Specification: virtio 1.2 (OASIS, 2022).
#![cfg_attr(not(any(test, feature = "testing")), no_std)]

extern crate alloc;

mod memory;
mod queue;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod transport;

pub use memory::{Dma, Hal, Region, allocate, find, install};
pub use queue::{MAX_PARTS, Queue, Refused};
pub use transport::{
    AnyTransport, Areas, MmioTransport, PciTransport, QueueAreas, Reset, TransportError,
};
pub use virtio_drivers::Error;
pub use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};

use core::fmt;

/// Features that every driver here negotiates when they are offered (virtio 1.2, section 6).
pub mod features {
    /// The device follows the specification, not an earlier draft. Demanded.
    pub const VERSION_1: u64 = 1 << 32;
    /// The device's accesses go through an IOMMU, if there is one. Accepted, since the addresses
    /// that the builder hands out are the ones that the device has to use either way.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// Each side says after which element it wants to be notified.
    pub const EVENT_IDX: u64 = 1 << 29;
}

/// Why a device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitError {
    /// The device did not become quiet after a reset.
    Stuck,
    /// The device is older than virtio 1.0.
    Legacy,
    /// The device did not accept the features that it had offered.
    Features,
    /// A queue could not be set up: it is missing, too short or already in use, or there is no memory for it.
    Queue(Error),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck => f.write_str("the device does not reset"),
            Self::Legacy => f.write_str("the device does not offer virtio 1"),
            Self::Features => f.write_str("the device refuses the features that it offered"),
            Self::Queue(error) => write!(f, "a queue cannot be set up: {error}"),
        }
    }
}

impl core::error::Error for InitError {}

/// What a device did that no device may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It returned more than it was given, or took back a return.
    UsedIndex,
    /// It returned something that it does not have.
    Token(u32),
    /// It says that it wrote this many bytes, which is more than fit or less than must be.
    Length(u32),
    /// It asks for a reset (virtio 1.2, section 2.1.2).
    NeedsReset,
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsedIndex => f.write_str("the device returned more than it was given"),
            Self::Token(token) => write!(f, "the device returned {token}, which it does not have"),
            Self::Length(length) => write!(f, "the device returned an impossible length, {length}"),
            Self::NeedsReset => f.write_str("the device asks to be reset"),
        }
    }
}

impl core::error::Error for Misbehaviour {}

/// Resets a device and negotiates features, up to and without `DRIVER_OK` (virtio 1.2, section 3.1.1).
///
/// `wanted` are the features of the device's kind; the common ones come by themselves. Returns those that are
/// negotiated. Set up the queues then, and call [`start`].
///
/// # Errors
/// [`InitError`], and the device is told that the driver has given up.
pub fn negotiate<T: Transport + Reset>(transport: &mut T, wanted: u64) -> Result<u64, InitError> {
    transport.reset()?;
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let common = features::VERSION_1 | features::ACCESS_PLATFORM | features::EVENT_IDX;
    let accepted = transport.read_device_features() & (wanted | common);
    let result = if accepted & features::VERSION_1 == 0 {
        Err(InitError::Legacy)
    } else {
        transport.write_driver_features(accepted);
        let status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        if transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            Ok(accepted)
        } else {
            Err(InitError::Features)
        }
    };
    if result.is_err() {
        transport.set_status(DeviceStatus::FAILED);
    }
    result
}

/// Tells the device that its driver is ready.
pub fn start<T: Transport>(transport: &mut T) {
    transport.finish_init();
}

/// Whether the device says that it needs a reset.
///
/// # Errors
/// [`Misbehaviour::NeedsReset`] if it does.
pub fn check_status<T: Transport>(transport: &T) -> Result<(), Misbehaviour> {
    if transport
        .get_status()
        .contains(DeviceStatus::DEVICE_NEEDS_RESET)
    {
        return Err(Misbehaviour::NeedsReset);
    }
    Ok(())
}
