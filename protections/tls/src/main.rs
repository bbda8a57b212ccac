//! The `tls` protection domain: TLS between the TCP stack and a service.
//!
//! Duties: makes handshakes, decrypts and encrypts, carries the ends of both directions over, and wipes the
//! stack that cryptography ran on after every handshake and every teardown.
//!
//! Prohibitions: it decrypts nothing in memory that another protection domain can see, since the TCP
//! stack must not read plaintext and must not change bytes behind the tag check. It has no private key: the vault
//! signs for it, and tells it when its keys have changed. It does not wait for the service or the stack: a peer that
//! does not move holds up only its own connection.
#![no_std]
#![no_main]

extern crate alloc;

mod glue;
mod keys;
mod terminator;
mod trust;

use alloc::sync::Arc;
use core::convert::Infallible;

use channel::sign::Sign;
use sel4_microkit::{Channel, ChannelSet, Handler, protection_domain};
use tls::VaultKeys;

use crate::keys::{ends, other_keys};
use crate::terminator::Terminator;

struct Tls {
    terminator: Terminator,
    sign: Sign,
    vault: Channel,
    keys: Arc<VaultKeys>,
}

#[protection_domain]
fn init() -> Tls {
    pd::wipe_released_memory();
    let sign = pd::sign("sign");
    let keys = other_keys(&sign, &VaultKeys::default()).unwrap_or_default();
    // Without a configuration that can be used there is nothing to serve.
    let (server, client) = ends(&keys).unwrap_or_else(|error| panic!("{error}"));
    let mut tls = Tls {
        terminator: Terminator::new(server, client),
        sign,
        vault: pd::server_channel("sign"),
        keys,
    };
    tls.work();
    tls
}

impl Handler for Tls {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if channels.contains(self.vault) {
            self.renew_keys();
        }
        self.terminator.hear(channels);
        self.work();
        Ok(())
    }
}

impl Tls {
    /// Rounds of bounded work until both streams are idle.
    fn work(&mut self) {
        let mut more = true;
        while more {
            more = self.terminator.turn();
            if self.keys.take_stale() {
                self.renew_keys();
            }
        }
    }

    /// Reads the vault's keys anew; the old ones stay when that fails, or when the new ones cannot be used.
    fn renew_keys(&mut self) {
        let Some(keys) = other_keys(&self.sign, &self.keys) else {
            return;
        };
        match ends(&keys) {
            Ok((server, client)) => {
                self.terminator.relay.replace(server, client);
                self.keys = keys;
            }
            Err(error) => pd::error!("{error}"),
        }
    }
}
