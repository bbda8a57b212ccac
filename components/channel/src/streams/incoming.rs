//! The reading end of one byte ring.

use super::layout::Position;
use crate::PeerMisbehaved;
use crate::memory::PeerBytes;

/// What this side knows of the ring that the peer writes.
///
/// Counts: consumed ≤ taken ≤ seen ≤ consumed + size. The peer may overwrite what lies before `consumed`.
pub(super) struct Incoming {
    memory: PeerBytes,
    size: u32,
    origin: u32,
    /// What the peer has produced, as last seen and checked.
    seen: u32,
    taken: u32,
    consumed: u32,
    /// What was consumed when the peer's wish to be woken was last looked at.
    told: u32,
    /// The count at which the stream ends, once the peer has said so.
    end: Option<u32>,
}

/// What a look at the peer's count has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The count was taken over.
    Fine,
    /// The peer has produced bytes but not moved them to the front yet, as it was asked to.
    Unmoved,
}

impl Incoming {
    pub(super) fn new(memory: PeerBytes) -> Self {
        Self {
            size: memory.size() as u32,
            memory,
            origin: 0,
            seen: 0,
            taken: 0,
            consumed: 0,
            told: 0,
            end: None,
        }
    }

    /// Begins anew for another connection.
    pub(super) fn open(&mut self) {
        self.origin = 0;
        self.seen = 0;
        self.taken = 0;
        self.consumed = 0;
        self.told = 0;
        self.end = None;
    }

    pub(super) fn position(&self) -> Position {
        Position {
            count: self.consumed,
            origin: self.origin,
        }
    }

    /// Bytes that can be read now.
    pub(super) fn available(&self) -> u32 {
        self.seen.wrapping_sub(self.taken)
    }

    /// Whether the stream has ended and all of it was taken.
    pub(super) fn at_end(&self) -> bool {
        self.end == Some(self.taken)
    }

    /// Takes over the peer's count of produced bytes, after checks. `ended`: the peer had said before that the
    /// stream ends there.
    pub(super) fn update(&mut self, peer: Position, ended: bool) -> Result<Seen, PeerMisbehaved> {
        let room = self.size - self.seen.wrapping_sub(self.consumed);
        let arrived = peer.count.wrapping_sub(self.seen);
        if arrived > room {
            return Err(PeerMisbehaved::IndexJumped);
        }
        if self.end.is_some_and(|end| end != peer.count) {
            return Err(PeerMisbehaved::DataAfterEnd);
        }
        if ended {
            self.end = Some(peer.count);
        }
        if peer.origin == self.origin {
            self.seen = peer.count;
        } else if arrived > 0 {
            return Ok(Seen::Unmoved);
        }
        Ok(Seen::Fine)
    }

    /// The ring's memory as a stack asks for it, which reads it only.
    pub(super) fn lend(&self) -> &'static mut [u8] {
        self.memory.view_mut()
    }

    fn offset(&self) -> usize {
        (self.taken.wrapping_sub(self.origin) & (self.size - 1)) as usize
    }

    /// The bytes that can be read and lie together.
    pub(super) fn peek(&self) -> &[u8] {
        let start = self.offset();
        let length = (self.available() as usize).min(self.size as usize - start);
        self.memory.view(start, length)
    }

    /// Copies bytes out and takes them; says how many.
    pub(super) fn read(&mut self, target: &mut [u8]) -> u32 {
        let total = target.len().min(self.available() as usize);
        let target = &mut target[..total];
        let start = self.offset();
        let (first, second) = target.split_at_mut(total.min(self.size as usize - start));
        self.memory.copy_to(start, first);
        self.memory.copy_to(0, second);
        self.take(total)
    }

    /// Forgets what was not taken: the peer's memory does not hold it any more.
    pub(super) fn drop_untaken(&mut self) {
        self.seen = self.taken;
    }

    /// Moves the reading position by at most `bytes`; says by how many.
    pub(super) fn take(&mut self, bytes: usize) -> u32 {
        let bytes = bytes.min(self.available() as usize) as u32;
        self.taken = self.taken.wrapping_add(bytes);
        bytes
    }

    /// Lets the peer overwrite at most `bytes` taken bytes; says how many.
    pub(super) fn free(&mut self, bytes: usize) -> u32 {
        let held = self.taken.wrapping_sub(self.consumed);
        let bytes = bytes.min(held as usize) as u32;
        self.consumed = self.consumed.wrapping_add(bytes);
        bytes
    }

    /// Asks the peer to put the next byte at the ring's first place. Does nothing while bytes are taken and not
    /// freed; says whether the position has changed and must be published.
    pub(super) fn restart(&mut self) -> bool {
        let change = self.taken == self.consumed && self.origin != self.consumed;
        if change {
            self.origin = self.consumed;
            // What was seen behind it lies elsewhere until the peer has moved it.
            self.seen = self.taken;
        }
        change
    }

    /// Whether the peer is to be woken because `wake_at` was consumed since the last call.
    pub(super) fn passes(&mut self, wake_at: u32) -> bool {
        let told = core::mem::replace(&mut self.told, self.consumed);
        wake_at.wrapping_sub(told).wrapping_sub(1) < self.consumed.wrapping_sub(told)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::region_pair;

    fn ring(size: usize) -> Incoming {
        let (_, mut peer) = region_pair(size);
        Incoming::new(peer.bytes(size).unwrap())
    }

    fn at(count: u32, origin: u32) -> Position {
        Position { count, origin }
    }

    #[test]
    fn counts_that_go_back_or_beyond_the_ring_are_refused() {
        let mut ring = ring(256);
        assert_eq!(
            ring.update(at(257, 0), false),
            Err(PeerMisbehaved::IndexJumped)
        );
        assert_eq!(ring.update(at(256, 0), false), Ok(Seen::Fine));
        assert_eq!(
            ring.update(at(255, 0), false),
            Err(PeerMisbehaved::IndexJumped)
        );
        assert_eq!(ring.available(), 256);
    }

    #[test]
    fn after_a_restart_bytes_count_only_once_they_were_moved() {
        let mut ring = ring(256);
        ring.update(at(100, 0), false).unwrap();
        ring.take(100);
        assert!(!ring.restart(), "bytes are still held");
        ring.free(100);
        assert!(ring.restart());
        assert!(!ring.restart());
        assert_eq!(ring.update(at(110, 0), true), Ok(Seen::Unmoved));
        assert_eq!((ring.available(), ring.at_end()), (0, false));
        assert_eq!(ring.update(at(110, 100), true), Ok(Seen::Fine));
        assert_eq!((ring.available(), ring.peek().len()), (10, 10));
        ring.take(10);
        assert!(ring.at_end());
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let mut ring = ring(256);
        ring.update(at(5, 0), true).unwrap();
        assert_eq!(ring.update(at(5, 0), true), Ok(Seen::Fine));
        assert_eq!(
            ring.update(at(6, 0), true),
            Err(PeerMisbehaved::DataAfterEnd)
        );
    }

    #[test]
    fn a_wish_to_be_woken_is_met_when_its_count_is_passed() {
        let mut ring = ring(256);
        ring.update(at(200, 0), false).unwrap();
        ring.take(200);
        ring.free(71);
        assert!(!ring.passes(72));
        ring.free(1);
        assert!(ring.passes(72));
        ring.free(1);
        assert!(!ring.passes(72));
    }
}
