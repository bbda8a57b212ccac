//! Connections between a lower layer (the provider) and an upper one (the consumer).
//!
//! A connection has a slot: a byte ring each way, and a state each way. The provider opens slots, for connections
//! that came in and for those that the consumer asked for; a slot is used again once the consumer has released
//! it. [`ConnectionId`] holds the slot's generation, so an identifier of a connection that is gone does nothing.
//!
//! A side's state of a slot only ever gains flags within one generation, and a bit for each slot says that
//! something has changed. So an event needs no room anywhere, none can be lost, and a wake-up touches only the
//! connections with news.
//!
//! ```text
//! provider                                       consumer
//! open ─────────────────── Opened ─────────────▶
//! write, commit ────────── Readable ───────────▶ read, peek + consume
//!      ◀────────────────── Writable ──────────── (only if the writer waits for room)
//! finish (peer sent FIN) ─ HalfClosed ─────────▶
//!      ◀────────────────── Readable ──────────── write, commit
//!      ◀────────────────── HalfClosed ────────── close
//! closed / reset ───────── Closed / Reset ─────▶
//!      ◀────────────────── Aborted ───────────── abort
//!      ◀────────────────── Released ──────────── release
//! ```
//!
//! # When a side starts over
//!
//! The other one is told that every connection has ended ([`ConsumerEvent::Reset`], [`ProviderEvent::Released`]) and,
//! once it has released them, that the two can begin anew ([`ConsumerEvent::Started`], [`ProviderEvent::Started`],
//! which also come at the first start). Identifiers and requests of before then mean nothing any more.
//!
//! # A round of work
//!
//! ```
//! # use channel::streams::{Consumer, ConsumerEvent};
//! # fn round(port: &mut Consumer) -> Result<(), channel::PeerMisbehaved> {
//! loop {
//!     while let Some(event) = port.next_event()? {
//!         if let ConsumerEvent::Closed(id) | ConsumerEvent::Reset(id) = event {
//!             port.release(id);
//!         }
//!     }
//!     if port.sleep() {
//!         return Ok(()); // back to the receive point
//!     }
//! }
//! # }
//! ```
//!
//! `next_event` gives what had changed when the round began, and so comes to an end whatever the peer does.
//! A PD with several ports handles each of them in every round, so that a busy one cannot starve another.
//!
//! # Confidential connections
//!
//! The provider can open a connection as [`confidential`](Opened::confidential). Only the writer of a ring can wipe it, so
//! each side overwrites what its peer has consumed as soon as it learns of that: at the next look at the connection. What was
//! never consumed it overwrites when the connection is over and its peer reads no more: the provider when the slot was
//! released, the consumer when it releases one that is closed or reset. A consumer that releases a slot before that
//! wakes up once more for it, when the provider has taken note.
//!
//! # Ring positions
//!
//! Counts run freely (32 bits, wrapping) and begin at 0 when a connection is opened. The byte of count *c* lies at
//! (*c* − origin) mod size, where the origin is 0 until the reader asks for a restart
//! ([`Provider::restart`]): then the writer moves what is unread to the ring's first place.

mod consumer;
mod data;
mod identity;
mod incoming;
mod layout;
mod opened;
mod outgoing;
mod port;
mod provider;
mod roles;
mod round;
mod session;

pub use consumer::{Consumer, ConsumerEvent};
pub use identity::PeerIdentity;
pub use layout::Layout;
pub use opened::{Opened, Refusal};
pub use provider::{NotFree, Provider, ProviderEvent, SocketMemory};

use core::fmt;

use roles::both_roles;

/// Bytes of heap that either end takes for each connection of its layout, whether it is open or not.
pub const HEAP_PER_CONNECTION: usize = 192;

/// Names one connection of one port, as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    slot: u16,
    generation: u32,
    session: u32,
}

impl ConnectionId {
    /// The slot, below the layout's number of connections.
    pub fn slot(self) -> usize {
        self.slot.into()
    }

    /// How many connections the slot has had since both sides were last there together, this one included (it wraps).
    pub fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// As many requests as may wait for an answer do so already, or the provider has not started yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;
