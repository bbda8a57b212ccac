//! The TCP/IP stack: smoltcp between a network driver's frames and the byte streams of other protection domains.
//!
//! [`Stack`] is sans-IO: it is given the time, does what is ready, and says when it wants to be woken. Frames
//! come and go through the `packets` interface of the crate `channel`, connections through `streams`.
//! IPv4 with ARP and DHCP, IPv6 with neighbor discovery and stateless autoconfiguration, ICMP echo and TCP
//! are smoltcp's. This crate adds what a server needs and smoltcp does not have:
//!
//! * any number of connections at a cost for each segment that does not grow with their number (`stack`, `inspect`);
//! * a backlog: a SYN takes a free slot when it comes, and a flood of them takes none from connections that
//!   are established (`stack`);
//! * initial sequence numbers by RFC 6528 ([`sequence`]) and ephemeral ports by RFC 6056 ([`ports`]);
//! * rings of shared memory as socket buffers, so that a payload byte is copied once each way (`connection`);
//! * bounded patience with peers and consumers that stop (`connection`).
//!
//! Whatever a network peer, the driver or a consumer does, nothing here panics and nothing grows: memory is
//! bounded by the slots that the consumers' connections have.
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
