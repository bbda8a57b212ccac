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
mod trust;

use alloc::sync::Arc;
use core::convert::Infallible;

use channel::sign::Sign;
use crypto_stack::CryptoStack;
use glue::{Counters, describe, ends, other_keys, relay};
use sel4_microkit::{Channel, ChannelSet, Handler, protection_domain};
use tls::{Relay, VaultKeys};

/// Bytes of stack for cryptography: rustls with ring reaches about 20 KiB deep.
const CRYPTO_STACK: usize = 96 * 1024;

struct Tls {
    stack: CryptoStack,
    relay: Relay,
    sign: Sign,
    vault: Channel,
    keys: Arc<VaultKeys>,
    time: channel::time::Time,
    counters: Counters,
    alarm: Option<u64>,
    last: u64,
}

#[protection_domain]
fn init() -> Tls {
    pd::wipe_released_memory();
    let sign = pd::sign("sign");
    let keys = other_keys(&sign, &VaultKeys::default()).unwrap_or_default();
    let (time, counters) = (pd::time(), Counters::new());
    let mut tls = Tls {
        stack: CryptoStack::new(CRYPTO_STACK),
        relay: relay(&keys),
        sign,
        vault: pd::server_channel("sign"),
        keys,
        time,
        counters,
        alarm: None,
        last: 0,
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
        self.work();
        Ok(())
    }
}

impl Tls {
    /// Rounds of bounded work until both streams are idle.
    fn work(&mut self) {
        loop {
            let now = self.now();
            let relay = &mut self.relay;
            let turn = self.stack.run(|| relay.poll(now, &mut describe));
            self.counters.publish(self.relay.counters());
            if self.keys.take_stale() {
                self.renew_keys();
            }
            match turn {
                Ok(turn) => {
                    if turn.wipe {
                        wipe(&mut self.stack);
                    }
                    self.set_alarm(turn.deadline, now);
                    if !turn.more && self.relay.sleep() {
                        return;
                    }
                }
                Err(peer) => {
                    wipe(&mut self.stack);
                    return self.counters.misbehaved(peer);
                }
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
                self.relay.replace(server, client);
                self.keys = keys;
            }
            Err(error) => pd::error!("{error}"),
        }
    }

    /// Monotonic nanoseconds; should the clock refuse, the time stands still and no session expires.
    fn now(&mut self) -> u64 {
        self.last = self.time.now().unwrap_or(self.last);
        self.last
    }

    /// Calls the clock only for a deadline that is earlier than the alarm that is set.
    fn set_alarm(&mut self, deadline: Option<u64>, now: u64) {
        self.alarm = self.alarm.filter(|alarm| *alarm > now);
        if let Some(deadline) = deadline
            && self.alarm.is_none_or(|alarm| deadline < alarm)
            && self.time.set_alarm(Some(deadline)).is_ok()
        {
            self.alarm = Some(deadline);
        }
    }
}

/// Wipes what cryptography has left: its stack, the vector registers, and the kernel's copy of those.
fn wipe(stack: &mut CryptoStack) {
    stack.wipe();
    sel4_microkit::save_vector_registers();
}
