//! Driver of the virtio network device (virtio 1.2, section 5.1).
//!
//! [`Driver`] moves frames between a device and the `packets` port of a stack, by interrupts alone. The frames
//! stay in the port's pool, where the device puts and finds them; the driver never reads or writes one.
//!
//! Both sides may be hostile. The device gets addresses from the pool and the driver's own memory only, and what
//! it returns is checked ([`virtio::Queue`]); when it misbehaves it is reset and set up anew, and given up after
//! too many times. What a stack may do is the `packets` port's business; one that misbehaves is heard no
//! more. The header that the device reads before a frame (section 5.1.6) lies in the driver's own memory and not
//! in the pool, so that a stack cannot ask the device for offloads that were never negotiated.
//!
//! Interrupts and notifications are few: one notification for all frames that are ready, an interrupt for the
//! first frame that arrives after the driver went to sleep, and one for sent frames only when so many
//! are under way that the stack may run out of buffers.
//!
//! Checksum offload is off. Receiving with `GUEST_CSUM` would mean to believe the device that a frame is intact, and
//! smoltcp's checksums cost little beside the rest.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), forbid(unsafe_code))]

extern crate alloc;

mod driver;
mod nic;
#[cfg(test)]
mod tests;

pub use driver::Driver;

use core::fmt;

use channel::PeerMisbehaved;
use virtio::{InitError, Misbehaviour};

/// The device's virtio type.
pub const DEVICE_TYPE: virtio::DeviceType = virtio::DeviceType::Network;

/// Bytes of memory of its own that the driver needs: two queues of 3 pages each, and a header.
pub const MEMORY: usize = 7 * 4096;

/// Why a device cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It cannot be set up.
    Init(InitError),
    /// It does not say its hardware address.
    NoAddress,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init(error) => error.fmt(f),
            Self::NoAddress => f.write_str("the device has no hardware address"),
        }
    }
}

impl core::error::Error for Error {}

impl From<InitError> for Error {
    fn from(error: InitError) -> Self {
        Self::Init(error)
    }
}

/// What an operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The link went up (`true`) or down.
    Link(bool),
    /// The device misbehaved; it was reset and works again.
    Recovered(Misbehaviour),
    /// The device misbehaved too often or could not be set up again: it is off for good.
    GivenUp(Misbehaviour),
    /// The stack misbehaved and is heard no more.
    Stack(PeerMisbehaved),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(true) => f.write_str("link up"),
            Self::Link(false) => f.write_str("link down"),
            Self::Recovered(what) => write!(f, "{what}; it was reset"),
            Self::GivenUp(what) => write!(f, "{what}; the device is off"),
            Self::Stack(what) => write!(f, "the stack misbehaved: {what}"),
        }
    }
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames given to the stack.
    pub received: u64,
    /// Frames given to the device.
    pub sent: u64,
    /// Frames that were lost to a device that misbehaved or is off, or that were empty.
    pub dropped: u64,
    /// Interrupts of the device.
    pub interrupts: u64,
    /// Notifications to the device.
    pub notifications: u64,
    /// Resets of a device that misbehaved.
    pub resets: u64,
}
