//! Private keys that sign TLS handshakes and nothing else.
//!
//! A [`Vault`] holds keys and answers the requests of the [`sign`](channel::sign) interface. What it signs it builds
//! itself from the request's fields, so it signs no bytes of anybody's choice. A request that its policy does not
//! allow is an error value, which the caller counts. No private key, and nothing that depends on one but a signature,
//! leaves it.
//!
//! It does no I/O: it is told the time, and takes random bytes from ring's `SystemRandom`. Whoever calls it has to
//! see to memory: ring leaves key material in freed memory and on the stack (docs/design.md, section 8).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod certificate;
mod content;
mod error;
mod key;
mod keyring;
mod limit;
pub mod provision;
mod taken;
mod vault;

pub use certificate::Subject;
pub use error::{ChainError, KeyError, VaultError};
pub use key::Scheme;
pub use keyring::{Entry, Keyring, Kind};
pub use taken::{Earlier, Taken};
pub use vault::{Client, Vault};
