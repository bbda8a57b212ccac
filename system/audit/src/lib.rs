//! Searches the memory of a running system for the secrets that passed through it.
//!
//! ```text
//! Client (rustls, recording)  ── secrets, and the forms they take in use ──┐
//! QEMU ── Snapshot: all physical memory, vector registers ─────────────────┼─ Index::search ─→ Finding
//! .system, programs, kernel ── Layout: whose memory is where ──────────────┘
//! ```
//!
//! The client knows what the server knows: everything secret of a session follows from the handshake. So a
//! [`Client`] derives it all, [`Snapshot::take`] writes down what the machine holds at one moment, and
//! [`Snapshot::search`] says which of it is where.

mod client;
mod content;
mod derive;
mod hello;
mod memory;
mod paging;
mod place;
mod recorder;
mod search;
mod secret;
mod snapshot;
mod trust;

pub use client::{Client, Ending, Session};
pub use place::{Layout, LayoutError, Place};
pub use search::{Hit, Index, Order};
pub use secret::{Kind, Secret};
pub use snapshot::{Finding, Snapshot, SnapshotError};
pub use trust::{AnyCertificate, Signed};

/// All forms of a private key; `None` for one of a kind that Selkie does not use.
pub fn private_key(key: &rustls::pki_types::PrivateKeyDer<'_>) -> Option<Vec<Secret>> {
    derive::private_key::forms(key)
}

/// The kind of key that a certificate in DER is for; `None` for one that Selkie does not use.
pub fn algorithm(certificate: &[u8]) -> Option<rustls::SignatureAlgorithm> {
    derive::recover::algorithm(certificate)
}
