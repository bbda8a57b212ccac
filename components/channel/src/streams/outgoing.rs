//! The writing end of one byte ring.

use super::layout::Position;
use crate::PeerMisbehaved;
use crate::memory::{OwnBytes, wipe_spent};

/// What this side knows of the ring that it writes.
pub(super) struct Outgoing {
    /// The ring, unless it was lent.
    memory: Option<OwnBytes>,
    size: u32,
    produced: u32,
    origin: u32,
    /// What the peer has consumed, as last seen and checked.
    consumed: u32,
    /// Of that, what the holder of a lent ring was not told yet.
    untold: u32,
    /// The count of consumed bytes that the user waits for.
    wanted: Option<u32>,
    /// What the peer is done with is overwritten.
    confidential: bool,
}

/// What a look at the peer's count has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that the peer has to know.
    Fine,
    /// The ring begins at another byte now and holds some: the position has to be published.
    Moved,
}

impl Outgoing {
    pub(super) fn new(memory: OwnBytes) -> Self {
        Self {
            size: memory.size() as u32,
            memory: Some(memory),
            produced: 0,
            origin: 0,
            consumed: 0,
            untold: 0,
            wanted: None,
            confidential: false,
        }
    }

    /// Begins anew for another connection.
    pub(super) fn open(&mut self, confidential: bool) {
        self.wipe_rest();
        self.confidential = confidential;
        self.produced = 0;
        self.origin = 0;
        self.consumed = 0;
        self.untold = 0;
        self.wanted = None;
    }

    pub(super) fn position(&self) -> Position {
        Position {
            count: self.produced,
            origin: self.origin,
        }
    }

    /// Bytes that can be written now.
    pub(super) fn free(&self) -> u32 {
        self.size - self.used()
    }

    /// Bytes that the peer has not consumed.
    pub(super) fn used(&self) -> u32 {
        self.produced.wrapping_sub(self.consumed)
    }

    /// Takes over the peer's count of consumed bytes, after checks.
    pub(super) fn update(&mut self, peer: Position) -> Result<Seen, PeerMisbehaved> {
        let freed = peer.count.wrapping_sub(self.consumed);
        if freed > self.used() {
            return Err(PeerMisbehaved::IndexJumped);
        }
        self.wipe(freed);
        let moved = peer.origin != self.origin;
        if moved {
            self.restart(peer)?;
        }
        self.consumed = peer.count;
        self.untold = self.untold.wrapping_add(freed);
        let unread = self.used() > 0;
        Ok(if moved && unread {
            Seen::Moved
        } else {
            Seen::Fine
        })
    }

    /// Whether what the peer is done with is overwritten.
    pub(super) fn is_confidential(&self) -> bool {
        self.confidential
    }

    /// Overwrites everything that the peer has not consumed, which it will not read any more.
    pub(super) fn wipe_rest(&mut self) {
        self.wipe(self.used());
        self.consumed = self.produced;
    }

    /// Overwrites the next `bytes` bytes behind the consumed ones, if they are confidential.
    fn wipe(&mut self, bytes: u32) {
        let Some(memory) = self.memory.as_mut().filter(|_| self.confidential) else {
            return;
        };
        let start = self.consumed.wrapping_sub(self.origin) & (self.size - 1);
        let first = bytes.min(self.size - start);
        wipe_spent(memory.slice_mut(start as usize, first as usize));
        wipe_spent(memory.slice_mut(0, (bytes - first) as usize));
    }

    /// Moves the unread bytes to the front, as the peer asks: it has read all before them.
    fn restart(&mut self, peer: Position) -> Result<(), PeerMisbehaved> {
        let Some(memory) = self.memory.as_mut().filter(|_| peer.origin == peer.count) else {
            return Err(PeerMisbehaved::WrongRestart);
        };
        if self.produced != peer.count {
            let first = peer.count.wrapping_sub(self.origin) & (self.size - 1);
            memory
                .slice_mut(0, self.size as usize)
                .rotate_left(first as usize);
        }
        self.origin = peer.origin;
        Ok(())
    }

    /// The free bytes that lie together behind the last one; none if the ring is lent.
    pub(super) fn free_slice(&mut self) -> &mut [u8] {
        let start = self.produced.wrapping_sub(self.origin) & (self.size - 1);
        let length = self.free().min(self.size - start);
        match &mut self.memory {
            Some(memory) => memory.slice_mut(start as usize, length as usize),
            None => &mut [],
        }
    }

    /// Counts `bytes` more as written, at most those that are free; says how many.
    pub(super) fn advance(&mut self, bytes: usize) -> u32 {
        let bytes = bytes.min(self.free() as usize) as u32;
        self.produced = self.produced.wrapping_add(bytes);
        bytes
    }

    /// Gives the ring's memory away for ever.
    pub(super) fn lend(&mut self) -> Option<OwnBytes> {
        self.memory.take()
    }

    /// The bytes consumed since the last call.
    pub(super) fn take_untold(&mut self) -> u32 {
        core::mem::take(&mut self.untold)
    }

    /// Waits until `bytes` are free; the count of consumed bytes at which they are.
    pub(super) fn want(&mut self, bytes: usize) -> u32 {
        let bytes = bytes.clamp(1, self.size as usize) as u32;
        let at = self.produced.wrapping_add(bytes).wrapping_sub(self.size);
        self.wanted = Some(at);
        at
    }

    /// Whether the user waits for room.
    pub(super) fn waits(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether what the user waits for has come.
    pub(super) fn is_granted(&self) -> bool {
        self.wanted
            .is_some_and(|at| self.produced.wrapping_sub(at) >= self.used())
    }

    /// As [`Outgoing::is_granted`]; the user then waits no more.
    pub(super) fn take_granted(&mut self) -> bool {
        let granted = self.is_granted();
        if granted {
            self.wanted = None;
        }
        granted
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::region_pair;

    fn ring(size: usize) -> Outgoing {
        let (mut own, _) = region_pair(size);
        Outgoing::new(own.bytes(size).unwrap())
    }

    fn fill(ring: &mut Outgoing, bytes: &[u8]) {
        for &byte in bytes {
            ring.free_slice()[0] = byte;
            assert_eq!(ring.advance(1), 1);
        }
    }

    fn at(count: u32, origin: u32) -> Position {
        Position { count, origin }
    }

    #[test]
    fn a_restart_moves_unread_bytes_to_the_front() {
        let mut ring = ring(256);
        fill(&mut ring, &[1; 250]);
        assert_eq!(ring.update(at(250, 0)), Ok(Seen::Fine));
        fill(&mut ring, &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(ring.update(at(250, 250)), Ok(Seen::Moved));
        assert_eq!(ring.position(), at(260, 250));
        let memory = ring.memory.as_mut().unwrap().slice_mut(0, 10);
        assert_eq!(memory, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(ring.free_slice().len(), 246);
    }

    #[test]
    fn a_restart_of_an_empty_ring_needs_no_word_to_the_peer() {
        let mut ring = ring(256);
        fill(&mut ring, &[1; 100]);
        assert_eq!(ring.update(at(100, 100)), Ok(Seen::Fine));
        assert_eq!(ring.free_slice().len(), 256);
    }

    #[test]
    fn restarts_elsewhere_and_jumping_counts_are_refused() {
        let mut ring = ring(256);
        fill(&mut ring, &[1; 100]);
        assert_eq!(ring.update(at(101, 0)), Err(PeerMisbehaved::IndexJumped));
        assert_eq!(ring.update(at(50, 49)), Err(PeerMisbehaved::WrongRestart));
        assert_eq!(ring.update(at(50, 0)), Ok(Seen::Fine));
        assert_eq!(ring.update(at(49, 0)), Err(PeerMisbehaved::IndexJumped));
        ring.lend();
        assert_eq!(ring.update(at(60, 60)), Err(PeerMisbehaved::WrongRestart));
    }

    fn content(ring: &mut Outgoing) -> std::vec::Vec<u8> {
        ring.memory.as_mut().unwrap().slice_mut(0, 256).to_vec()
    }

    #[test]
    fn confidential_bytes_are_overwritten_as_they_are_consumed() {
        let mut ring = ring(256);
        ring.open(true);
        fill(&mut ring, &[1; 200]);
        ring.update(at(150, 0)).unwrap();
        assert_eq!(content(&mut ring)[..150], [0; 150]);
        assert_eq!(content(&mut ring)[150..200], [1; 50]);
        // Around the ring's end.
        fill(&mut ring, &[2; 156]);
        ring.update(at(306, 0)).unwrap();
        let rest = content(&mut ring);
        assert!(rest[50..100].iter().all(|byte| *byte == 2));
        assert!(rest[..50].iter().chain(&rest[100..]).all(|byte| *byte == 0));
        // A ring that restarts moves what is left, and nothing of it stays behind.
        ring.update(at(306, 306)).unwrap();
        assert_eq!(content(&mut ring)[..50], [2; 50]);
        assert_eq!(content(&mut ring)[50..], [0; 206]);
        ring.wipe_rest();
        assert_eq!(content(&mut ring), [0; 256]);
    }

    #[test]
    fn the_next_connection_finds_nothing_of_a_confidential_one() {
        for confidential in [false, true] {
            let mut ring = ring(256);
            ring.open(confidential);
            fill(&mut ring, &[1; 250]);
            ring.update(at(10, 0)).unwrap();
            ring.open(false);
            let clean = content(&mut ring) == [0; 256];
            assert_eq!(clean, confidential);
            assert_eq!(ring.free_slice().len(), 256);
        }
    }

    #[test]
    fn room_that_was_waited_for_is_granted_once() {
        let mut ring = ring(256);
        fill(&mut ring, &[1; 200]);
        assert_eq!(ring.want(128), 72);
        assert!(!ring.take_granted());
        ring.update(at(71, 0)).unwrap();
        assert!(!ring.take_granted());
        ring.update(at(72, 0)).unwrap();
        assert!(ring.take_granted());
        assert!(!ring.take_granted());
    }
}
