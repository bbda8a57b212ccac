//! TLS between the two streams, wherever the server's keys are.

use core::fmt;

use crypto_stack::CryptoStack;
use sel4_microkit::{Channel, ChannelSet};
use tls::{Client, Journal, Relay, Server};

use crate::glue::Counters;

/// Bytes of stack for cryptography: rustls with ring reaches about 20 KiB deep.
const CRYPTO_STACK: usize = 96 * 1024;

/// The relay and its environment: a stack that is wiped, the time, its counters, and the log of
/// failed sessions.
pub struct Terminator {
    stack: CryptoStack,
    /// Makes the handshakes and carries what comes after them.
    pub relay: Relay,
    time: channel::time::Time,
    clock: Channel,
    counters: Counters,
    journal: Journal,
    alarm: Option<u64>,
    last: u64,
}

impl Terminator {
    /// Between the streams of the wiring.
    pub fn new(server: Server, client: Option<Client>) -> Self {
        let (below, above) = (
            pd::streams_consumer("streams"),
            pd::streams_provider("clients"),
        );
        Self {
            stack: CryptoStack::new(CRYPTO_STACK),
            relay: Relay::new(server, below, above)
                .with_client(client)
                .with_memory(pd::has_room),
            time: pd::time(),
            clock: pd::server_channel("time"),
            counters: Counters::new(),
            journal: Journal::default(),
            alarm: None,
            last: 0,
        }
    }

    /// Takes note of notifications. The clock's mean that no alarm is set: it came, or the clock has started over.
    pub fn hear(&mut self, channels: ChannelSet) {
        if channels.contains(self.clock) {
            self.alarm = None;
        }
    }

    /// A turn of bounded work. Returns whether there is more to do; if not, a notification comes when there is.
    pub fn turn(&mut self) -> bool {
        let now = self.now();
        let (relay, journal) = (&mut self.relay, &mut self.journal);
        let mut write = |line: fmt::Arguments<'_>| pd::info!("{line}");
        journal.expire(now, &mut write);
        let turn = self.stack.run(|| {
            relay.poll(now, &mut |peer, report| {
                journal.note(now, peer, &report, &mut write);
            })
        });
        self.counters.publish(self.relay.counters());
        let turn = match turn {
            Ok(turn) => turn,
            Err(peer) => {
                wipe(&mut self.stack);
                self.counters.misbehaved(peer);
                return false;
            }
        };
        if turn.wipe {
            wipe(&mut self.stack);
        }
        let deadlines = [turn.deadline, self.journal.deadline()];
        self.set_alarm(deadlines.into_iter().flatten().min(), now);
        turn.more || !self.relay.sleep()
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
