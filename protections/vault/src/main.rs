//! `vault` holds the private keys of the system and signs TLS handshakes with them.
//!
//! Duties:
//!
//! - At its start it generates its keys from the entropy PD's random numbers, or loads those that
//!   the builder gave it.
//! - If it has a serial line of its own, it receives keys and certificates over it, and sends
//!   certificate requests for its keys.
//! - It renews its self-signed certificates before they expire.
//! - It signs what its policy allows.
//! - It wipes the stack that it used after each signature and each key.
//!
//! After a fault it restarts: it generates its keys again, and those that it received are lost.
//!
//! It must never sign bytes of a client's choice: it builds what is signed from a request's fields. It must
//! never let a private key, or anything that depends on one but a signature, leave its memory: it shares no
//! memory with its clients, and writes names and counts to the log only. It calls `clock` and `entropy`, which
//! are more trusted, and waits for nobody else, nor for the line.
#![no_std]
#![no_main]

extern crate alloc;

mod clients;
mod line;

use channel::sign::{MAX_WORDS, SignError};
use crypto_stack::CryptoStack;
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, MessageInfo, protection_domain};

use crate::clients::{Clients, open};
use crate::line::Port;

/// Bytes of stack for cryptography: ring's ECDSA and X.509 reach about 20 KiB deep, RSA-4096 with its window tables
/// about 40 KiB.
const CRYPTO_STACK: usize = 64 * 1024;

/// Time between two checks of the certificates' age, in nanoseconds.
const LOOK: u64 = 12 * 3600 * 1_000_000_000;

struct Vault {
    stack: CryptoStack,
    vault: vault::Vault,
    clients: Clients,
    port: Option<Port>,
    time: channel::time::Time,
    clock: Channel,
}

#[protection_domain]
fn init() -> Vault {
    pd::wipe_released_memory();
    let mut stack = CryptoStack::new(CRYPTO_STACK);
    let clients = Clients::new();
    let vault = on_stack(&mut stack, || open(&clients));
    let port = Port::open();
    // A vault that starts over has other keys than before, which they know.
    clients.tell();
    let vault = Vault {
        stack,
        vault,
        clients,
        port,
        time: pd::time(),
        clock: pd::server_channel("time"),
    };
    vault.set_alarm();
    vault
}

/// Runs code that handles keys on a stack, and then wipes the stack, the vector registers and the
/// kernel's copy of those.
fn on_stack<T>(stack: &mut CryptoStack, work: impl FnOnce() -> T) -> T {
    let done = stack.run(work);
    stack.wipe();
    sel4_microkit::save_vector_registers();
    done
}

impl Handler for Vault {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if let Some(port) = self.port.as_mut().filter(|port| port.rang(channels)) {
            let (stack, vault) = (&mut self.stack, &mut self.vault);
            if port.work(|sent| on_stack(stack, || line::obey(vault, sent))) {
                self.clients.tell();
            }
        }
        // The alarm has expired, or the clock has restarted and lost it.
        if channels.contains(self.clock) {
            self.renew();
            self.set_alarm();
        }
        Ok(())
    }

    fn protected(&mut self, from: Channel, info: MessageInfo) -> Result<MessageInfo, Infallible> {
        let message = pd::request(&info);
        let mut words = [0; MAX_WORDS];
        let answer = self.answer(from, message.label, &message.words, &mut words);
        if let Err(error) = answer {
            self.clients.refused(from, error);
        }
        Ok(pd::answer(answer, &words))
    }
}

impl Vault {
    fn answer(
        &mut self,
        from: Channel,
        label: u64,
        request: &[u64],
        words: &mut [u64; MAX_WORDS],
    ) -> Result<usize, SignError> {
        let client = self.clients.index(from);
        let now = self.time.now()?;
        let vault = &mut self.vault;
        on_stack(&mut self.stack, || {
            vault.answer(client, label, request, now, words)
        })
    }

    /// Renews the certificates that are due. Without a clock that knows the date, they stay
    /// unchanged.
    fn renew(&mut self) {
        let Some(now) = pd::wall_clock() else {
            return;
        };
        let vault = &mut self.vault;
        match on_stack(&mut self.stack, || vault.renew(now / 1_000_000_000)) {
            Ok(true) => {
                pd::info!("wrote its keys' certificates anew");
                self.clients.tell();
            }
            Ok(false) => {}
            Err(error) => pd::error!("no new certificates: {error}"),
        }
    }

    fn set_alarm(&self) {
        let due = self.time.now().map(|now| now.saturating_add(LOOK));
        if let Err(error) = due.and_then(|due| self.time.set_alarm(Some(due))) {
            pd::error!("certificates will not be written anew: {error}");
        }
    }
}
