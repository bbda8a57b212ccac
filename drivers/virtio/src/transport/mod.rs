//! How a device's registers are reached: over PCI or in memory.

mod any;
mod mmio;
mod pci;

pub use any::AnyTransport;
pub use mmio::MmioTransport;
pub use pci::PciTransport;

use core::fmt;

use registers::Registers;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::InitError;

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
    /// The registers in memory begin with this, which is not virtio's magic value.
    NotVirtio(u32),
    /// The registers in memory have this version, which is not that of virtio 1.
    Version(u32),
    /// No device of the wanted type is there, but one of this type; 0 means that the place is empty.
    WrongType(u32),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "the device's {what} structure is missing"),
            Self::Misplaced(what) => write!(f, "the device's {what} structure is misplaced"),
            Self::NotVirtio(magic) => write!(f, "no virtio device: the registers hold {magic:#x}"),
            Self::Version(1) => f.write_str(
                "a legacy virtio device (QEMU gives virtio 1 with \
                 `-global virtio-mmio.force-legacy=false`)",
            ),
            Self::Version(version) => write!(f, "registers of unknown version {version}"),
            Self::WrongType(0) => f.write_str("no device is in this virtio slot"),
            Self::WrongType(id) => write!(f, "a virtio device of another type, {id}"),
        }
    }
}

impl core::error::Error for TransportError {}

/// Where a queue's areas are: what was given to `Transport::queue_set`.
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

/// Looks, within bounds, until the device says that its reset is done.
fn is_quiet(mut done: impl FnMut() -> bool) -> Result<(), InitError> {
    (0..RESET_LOOKS)
        .any(|_| done())
        .then_some(())
        .ok_or(InitError::Stuck)
}

/// Reads a field of the device configuration in its own width, or byte by byte if it has none (virtio 1.2, sections
/// 4.1.3.1 and 4.2.2.2).
fn read_field<T: FromBytes + IntoBytes>(registers: &impl Registers, at: usize) -> T {
    let mut value = T::new_zeroed();
    let bytes = value.as_mut_bytes();
    match bytes.len() {
        2 => bytes.copy_from_slice(&registers.read16(at).to_le_bytes()),
        4 => bytes.copy_from_slice(&registers.read32(at).to_le_bytes()),
        _ => (at..)
            .zip(bytes)
            .for_each(|(at, byte)| *byte = registers.read8(at)),
    }
    value
}

/// Writes a field of the device configuration, as [`read_field`] reads it.
fn write_field<T: IntoBytes + Immutable>(registers: &mut impl Registers, at: usize, value: &T) {
    match *value.as_bytes() {
        [a, b] => registers.write16(at, u16::from_le_bytes([a, b])),
        [a, b, c, d] => registers.write32(at, u32::from_le_bytes([a, b, c, d])),
        ref bytes => {
            (at..)
                .zip(bytes)
                .for_each(|(at, &byte)| registers.write8(at, byte));
        }
    }
}
