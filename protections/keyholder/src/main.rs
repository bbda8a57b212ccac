//! `keyholder` is the `tls` protection domain without a vault: its own sources but for the key, which lies in its own
//! memory and signs as rustls has it. The tests measure against it what the vault costs; no system serves with it.
//!
//! Duties: as `tls`, with the first key of its data, which is from a file.
//!
//! Prohibitions: as `tls`, but for the key.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../tls/src/glue.rs"]
mod glue;
#[path = "../../tls/src/terminator.rs"]
mod terminator;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use sel4_microkit::{ChannelSet, Handler, protection_domain};
use vault::{Entry, Keyring};

use crate::glue::{WallClock, options};
use crate::terminator::Terminator;

struct Keyholder(Terminator);

#[protection_domain]
fn init() -> Keyholder {
    pd::wipe_released_memory();
    let key = Arc::new(SingleCertAndKey::from(first_key()));
    let server = tls::server(key, options(pd::wiring(), None), Arc::new(WallClock));
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let mut keyholder = Keyholder(Terminator::new(server, None));
    keyholder.work();
    keyholder
}

impl Handler for Keyholder {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        self.0.hear(channels);
        self.work();
        Ok(())
    }
}

impl Keyholder {
    /// Rounds of bounded work until both streams are idle.
    fn work(&mut self) {
        while self.0.turn() {}
    }
}

/// The first key of the data, with its certificates.
///
/// # Panics
/// When it is not from a file, or rustls cannot use it.
fn first_key() -> CertifiedKey {
    let keyring = Keyring::from_bytes(pd::data("keys")).unwrap_or_else(|error| panic!("{error}"));
    let Some(Entry::Prefilled { chain, key, .. }) = keyring.0.first() else {
        panic!("the key is not from a file");
    };
    let key = PrivateKeyDer::try_from(&key[..]).unwrap_or_else(|error| panic!("{error}"));
    let key = any_supported_type(&key).unwrap_or_else(|error| panic!("{error}"));
    let chain: Vec<_> = chain.iter().cloned().map(CertificateDer::from).collect();
    CertifiedKey::new(chain, key)
}
