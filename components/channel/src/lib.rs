//! Channels between protection domains (PDs) that do not trust each other.
//!
//! Every connection has one memory region each way: a side writes its own region and maps its peer's
//! read-only. So nobody can overwrite a side's own state, and everything in the peer's region is
//! hostile: it is loaded once, checked, and then used. An index out of range, a count that jumps, a
//! descriptor used twice is [`PeerMisbehaved`]: never a panic, never an access out of bounds, never a
//! loop without end. From then on the endpoint finds no work and its `sleep` says that it is idle, so the
//! PD goes on serving its other channels.
//!
//! | module | between | what it carries |
//! |---|---|---|
//! | [`packets`] | network driver and stack | frames in a DMA pool |
//! | [`streams`] | a lower and an upper layer | connections as pairs of byte rings |
//! | [`log`] | a PD and the console | lines, lossy |
//! | [`status`] | a PD and the status page | named counters |
//! | [`random`], [`time`], [`pci`], [`sign`] | a PD and a server | protected procedure calls in message registers |
//!
//! The roles of an interface are different types, so the wrong one does not compile:
//!
//! ```compile_fail,E0599
//! fn accept(port: &mut channel::streams::Consumer, peer: &channel::streams::Opened) {
//!     let _ = port.open(0, peer); // only a provider opens slots
//! }
//! ```
//!
//! ```compile_fail,E0308
//! fn send(driver: &mut channel::packets::Driver, frame: channel::packets::ReceiveBuffer) {
//!     driver.transmitted(frame); // a receive buffer does not go back as a transmit buffer
//! }
//! ```
//!
//! # Notifications and sleep
//!
//! A side that has handled everything calls `sleep`: it publishes what it still has, sets its sleep flag,
//! looks once more, and returns `true` if it may go back to its receive point. A side that publishes
//! notifies only a peer whose flag is set. The flag's store and the second look are separated by a
//! sequentially consistent fence, as are the publication and the look at the peer's flag, so one of the
//! two always sees the other (`tests/models/sleep.pml` checks that, and loom checks this code).
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "testing", loom))]
extern crate std;

pub mod copies;
pub mod log;
pub mod memory;
pub mod packets;
pub mod pci;
pub mod random;
pub mod sign;
pub mod status;
pub mod streams;
#[cfg(any(test, feature = "testing", loom))]
pub mod testing;
pub mod time;
pub mod uptime;

mod call;
mod doorbell;
mod epoch;
mod error;
mod read;
mod ready;
mod ring;

pub use call::{Call, CallError, OK, Reply};
pub use error::{LayoutError, PeerMisbehaved};

/// Wakes the peer of one channel.
pub trait Notify {
    /// Signals the peer's notification; it coalesces with signals that the peer has not taken yet.
    fn notify(&self);
}

impl<F: Fn()> Notify for F {
    fn notify(&self) {
        self();
    }
}
