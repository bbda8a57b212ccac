//! From the wiring to a relay's options, and from the relay to log and counters.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use channel::PeerMisbehaved;
use channel::status::{Counter, Publisher};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tls::{ClientPolicy, Options};
use wiring::Wiring;

/// What the description chooses; `clients` is whose certificates clients have to show, if any.
pub fn options(wiring: &Wiring, clients: Option<ClientPolicy>) -> Options {
    Options {
        tls12: wiring.boolean("tls12").unwrap_or(true),
        server_cipher_order: wiring.boolean("server_cipher_order").unwrap_or(false),
        alpn: protocols(wiring.list("alpn").unwrap_or(&[])),
        ticket_period: ticket_period(wiring),
        clients,
    }
}

fn protocols(names: &[wiring::Value]) -> Vec<Vec<u8>> {
    let text = |name: &wiring::Value| match name {
        wiring::Value::Text(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    names.iter().filter_map(text).collect()
}

/// Seconds; the builder has checked the range.
fn ticket_period(wiring: &Wiring) -> u32 {
    let usual = Options::default().ticket_period;
    let configured = wiring.integer("ticket_period");
    configured.map_or(usual, |seconds| u32::try_from(seconds).unwrap_or(usual))
}

/// The wall clock for rustls.
#[derive(Debug)]
pub struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_nanos(
            pd::wall_clock()?,
        )))
    }
}

/// Takes one value out of the relay's counters.
type Value = fn(&tls::Counters) -> u64;

/// The relay's counters as the status page shows them.
pub struct Counters {
    published: Vec<(Counter, Value)>,
    misbehaved: bool,
}

impl Counters {
    /// Registers the counters with whoever reads this protection domain's status.
    pub fn new() -> Self {
        let names: [(&str, Value); 13] = [
            ("connections_open", |c| c.sessions),
            ("handshakes", |c| c.handshakes),
            ("resumed_handshakes", |c| c.resumed),
            ("failed_handshakes", |c| c.failed_handshakes),
            ("failed_sessions", |c| c.failed_sessions),
            ("refused", |c| c.refused),
            ("tickets_issued", |c| c.tickets.issued),
            ("tickets_refused", |c| c.tickets.refused),
            ("ticket_keys", |c| c.tickets.keys),
            ("payload_received", |c| c.copies.received),
            ("copied_in", |c| c.copies.receiving),
            ("payload_sent", |c| c.copies.sent),
            ("copied_out", |c| c.copies.sending),
        ];
        let mut published = Vec::new();
        if let Some(publisher) = pd::status("status") {
            let publisher: &'static mut Publisher = Box::leak(Box::new(publisher));
            for (name, value) in names {
                published.extend(publisher.counter(name).map(|counter| (counter, value)));
            }
        }
        Self {
            published,
            misbehaved: false,
        }
    }

    /// Publishes the present values.
    pub fn publish(&mut self, counters: tls::Counters) {
        for (counter, value) in &mut self.published {
            counter.set(value(&counters));
        }
    }

    /// Says once that a neighbour broke the protocol.
    pub fn misbehaved(&mut self, peer: PeerMisbehaved) {
        if !core::mem::replace(&mut self.misbehaved, true) {
            pd::error!("all sessions ended: {peer}");
        }
    }
}
