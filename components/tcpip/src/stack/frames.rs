//! Received frames: which connection they belong to, and what becomes of those that belong to none.

use smoltcp::time::Instant;

use super::{Place, Stack};
use crate::connection::Endpoints;
use crate::inspect::{self, Drop, Frame, Segment};
use crate::sequence::{initial_sequence_number, seed_for};

/// Frames taken in before connections get their turns: as many as one publication should cover.
const FRAMES_A_ROUND: usize = 64;

impl Stack {
    pub(super) fn take_frames(&mut self, now: Instant) {
        for _ in 0..FRAMES_A_ROUND {
            let frame = match self.wire.receive() {
                _ if self.driver_lost => return,
                Ok(None) => return,
                Ok(Some(frame)) => {
                    self.counters.frames_received += 1;
                    self.counters.bytes_received += frame.len() as u64;
                    inspect::inspect(frame)
                }
                Err(_) => return self.lose_driver(),
            };
            self.take_frame(frame, now);
        }
    }

    fn take_frame(&mut self, frame: Frame, now: Instant) {
        match frame {
            Frame::Segment(segment) => self.take_segment(segment, now),
            Frame::Resolution | Frame::Other | Frame::ListenerQuery { .. } => {
                if let Frame::ListenerQuery { delay } = frame {
                    self.network.expect_report(now, delay);
                }
                self.resolved |= frame == Frame::Resolution;
                self.network.receive(&mut self.wire, now);
                self.host_deadline = Some(now);
            }
            Frame::Dropped(Drop::Malformed) => self.counters.dropped_malformed += 1,
            Frame::Dropped(Drop::Fragment) => self.counters.dropped_fragment += 1,
            Frame::Dropped(Drop::Martian) => self.counters.dropped_martian += 1,
        }
    }

    fn take_segment(&mut self, segment: Segment, now: Instant) {
        if !self.network.is_own(segment.local.addr) || self.network.is_own(segment.remote.addr) {
            self.counters.dropped_martian += 1;
            return;
        }
        self.counters.copied_in += segment.payload as u64;
        let endpoints = (segment.local, segment.remote);
        match self.table.get(&endpoints).copied() {
            // RFC 9293, section 3.6.1: a new connection between the same endpoints may end TIME-WAIT.
            Some(place) if segment.opens && self.is_time_wait(place) => {
                self.with(place, now, |connection, _| connection.silence());
                self.open(endpoints, now);
            }
            Some(place) => {
                self.with(place, now, |connection, cx| {
                    connection.receive(&segment, cx)
                });
                self.schedule(place);
            }
            None if segment.opens => self.open(endpoints, now),
            None => self.network.refuse(&mut self.wire, now),
        }
    }

    /// A peer asks for a connection.
    fn open(&mut self, endpoints: Endpoints, now: Instant) {
        let (local, remote) = endpoints;
        let Some(&client) = self.listeners.get(&local.port) else {
            return self.network.refuse(&mut self.wire, now);
        };
        self.counters.handshakes += 1;
        let Some(slot) = self.claim(client) else {
            // The peer repeats its SYN; perhaps a slot is free by then.
            self.counters.refused_full += 1;
            return;
        };
        let place = Place { client, slot };
        let number = initial_sequence_number(&self.sequence_key, local, remote, now);
        let mut seeded = self
            .network
            .with_seed(seed_for(number), &mut self.wire, now);
        let accepted = self.with(place, now, |connection, cx| {
            connection.accept(endpoints, &mut seeded, cx.wire, now)
        });
        if accepted == Some(true) {
            self.table.insert(endpoints, place);
            self.schedule(place);
        }
    }
}
