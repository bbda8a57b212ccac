//! TLS servers, and clients, without I/O.
//!
//! rustls makes the handshake ([`Session`] drives its unbuffered API). Once it is complete the record
//! layer is [`Established`]'s: rustls' own record layer copies each received payload into a buffer of its
//! own before it hands it out, and a payload byte may be copied once only on its way through this protection
//! domain (docs/design.md, section 6). The cryptography stays rustls' and ring's in both halves.
//!
//! A session reads and writes through two traits, [`Below`] (the TCP connection) and [`Above`] (the
//! service), so it runs over shared-memory streams in a protection domain and over plain vectors in a test.
//! [`Relay`] joins the two streams of a protection domain with one session a connection.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod alerts;
mod authorities;
mod buffers;
mod config;
mod ends;
mod error;
mod established;
mod handshake;
mod hello;
mod journal;
mod keys;
mod outward;
mod peer;
mod provider;
mod relay;
mod session;
mod strict;
mod tickets;
mod trust;
mod witness;

pub use authorities::{Authorities, AuthoritiesError};
pub use config::{ALPN_HTTP_1_1, ClientPolicy, ConfigError, Options, Server, server};
pub use error::{Error, Fault};
pub use established::Established;
pub use journal::Journal;
pub use keys::VaultKeys;
pub use outward::{Client, ClientOptions, client};
pub use relay::{Counters, Relay, Report, Turn};
pub use session::{Above, Below, Copies, Session, Stage};
pub use tickets::{MAX_TICKET_PERIOD, TicketCounters, Tickets};
pub use trust::Trust;

#[cfg(test)]
mod alert_tests;
#[cfg(test)]
mod client_certificate_tests;
#[cfg(test)]
mod outward_tests;
#[cfg(test)]
mod relay_tests;
#[cfg(test)]
mod resumption_tests;
#[cfg(test)]
mod tests;
