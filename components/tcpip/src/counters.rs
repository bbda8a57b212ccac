//! What the stack counts, for the status page.

use alloc::vec::Vec;

use channel::status::{Counter, Publisher};

/// Counts since the start. All only grow, except [`Counters::connections_open`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Bytes of TCP payload received in order.
    pub payload_received: u64,
    /// Bytes of TCP payload that the peers acknowledged.
    pub payload_sent: u64,
    /// Bytes copied on the way in: pool to private frame, private frame to the consumer's ring.
    pub copied_in: u64,
    /// Bytes copied on the way out: the consumer's ring to the pool.
    pub copied_out: u64,
    /// Connections that are established now.
    pub connections_open: u64,
    /// Connections that were ever established.
    pub connections_total: u64,
    /// Connections that ended by reset or time-out.
    pub connections_reset: u64,
    /// Handshakes begun by others.
    pub handshakes: u64,
    /// Handshakes given up: unanswered or reset.
    pub handshakes_failed: u64,
    /// SYN cookies sent, because slots were short.
    pub syn_cookies: u64,
    /// Segments with a good SYN cookie that no slot was free for. The peer repeats them.
    pub refused_full: u64,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Challenge ACKs sent (RFC 5961).
    pub challenges: u64,
    /// Resets sent for segments of no connection.
    pub resets_sent: u64,
    /// Frames that were too short, contradicted themselves, or had a wrong checksum.
    pub dropped_malformed: u64,
    /// Fragments of IP packets.
    pub dropped_fragment: u64,
    /// Frames with addresses that no honest frame has.
    pub dropped_martian: u64,
    /// Frames for other hosts, and packets of protocols that the stack does not have.
    pub dropped_other: u64,
    /// Replies that found no free buffer in the pool.
    pub dropped_no_buffer: u64,
    /// Peers (consumers, the driver) that broke the protocol of shared memory.
    pub misbehaved: u64,
    /// Times that the stack was woken.
    pub wakeups: u64,
}

impl Counters {
    /// Names, as the status page shows them, and values.
    pub fn entries(&self) -> [(&'static str, u64); 25] {
        [
            ("frames_received", self.frames_received),
            ("bytes_received", self.bytes_received),
            ("frames_sent", self.frames_sent),
            ("bytes_sent", self.bytes_sent),
            ("payload_received", self.payload_received),
            ("payload_sent", self.payload_sent),
            ("copied_in", self.copied_in),
            ("copied_out", self.copied_out),
            ("connections_open", self.connections_open),
            ("connections_total", self.connections_total),
            ("connections_reset", self.connections_reset),
            ("handshakes", self.handshakes),
            ("handshakes_failed", self.handshakes_failed),
            ("syn_cookies", self.syn_cookies),
            ("refused_full", self.refused_full),
            ("retransmissions", self.retransmissions),
            ("challenges", self.challenges),
            ("resets_sent", self.resets_sent),
            ("dropped_malformed", self.dropped_malformed),
            ("dropped_fragment", self.dropped_fragment),
            ("dropped_martian", self.dropped_martian),
            ("dropped_other", self.dropped_other),
            ("dropped_no_buffer", self.dropped_no_buffer),
            ("misbehaved", self.misbehaved),
            ("wakeups", self.wakeups),
        ]
    }
}

/// Counters that other protection domains can read.
#[derive(Debug, Default)]
pub(crate) struct Published(Vec<Counter>);

impl Published {
    /// Takes places for all of [`Counters::entries`].
    pub fn new(mut publisher: Publisher) -> Self {
        let entries = Counters::default().entries();
        Self(
            entries
                .iter()
                .map_while(|(name, _)| publisher.counter(name))
                .collect(),
        )
    }

    pub fn update(&mut self, counters: &Counters) {
        for (counter, (_, value)) in self.0.iter_mut().zip(counters.entries()) {
            if counter.value() != value {
                counter.set(value);
            }
        }
    }
}
