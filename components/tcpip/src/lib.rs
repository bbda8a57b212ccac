//! The TCP/IP stack between a network driver's frames and the byte streams of other protection domains.
//!
//! [`Stack`] is sans-IO: it is given the time, does what is ready, and says when it wants to be woken. Frames
//! come and go through the `packets` interface of the crate `channel`, connections through `streams`.
//!
//! | module | duty |
//! |---|---|
//! | `wire` | the frame pool that the driver shares |
//! | `host` | IPv4 with ARP and DHCP, IPv6 with Neighbor Discovery and autoconfiguration, ICMP |
//! | `segment` | what IP and TCP hand to each other |
//! | `tcp` | one TCP connection over rings of shared memory, so that a payload byte is copied once each way |
//! | `connection` | one slot of a consumer: its TCP connection and the events for the consumer |
//! | `stack` | which frame belongs to which connection, whose turn it is, when to wake |
//! | [`sequence`], [`ports`] | initial sequence numbers by RFC 6528, ephemeral ports by RFC 6056 |
//!
//! Of smoltcp, its packet formats (`smoltcp::wire`) are used; `docs/design.md`, section 12, says why not its interface and its sockets.
//!
//! The cost of a segment does not grow with the number of connections. Whatever a network peer, the driver or a consumer
//! does, nothing here panics and nothing grows: memory is bounded by the slots that the consumers' connections have.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), forbid(unsafe_code))]
#![deny(unsafe_code)]

extern crate alloc;

mod connection;
mod counters;
mod host;
pub mod ports;
mod segment;
pub mod sequence;
mod settings;
mod stack;
mod tcp;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wire;

pub use counters::Counters;
pub use host::{HostNotice, Ipv6Notice, LeaseFlaw, LeaseRefusal};
pub use settings::{ConflictDetection, Ipv4Setting, Ipv6Setting, Policy, Settings, SettingsError};
pub use stack::{Consumer, Keys, Next, Notice, Stack, StackError};
