//! Single-producer single-consumer rings of fixed-size messages.
//!
//! The producer's region holds the messages and the count of messages written (`tail`), the consumer's
//! the count of messages taken (`head`). Each side keeps its own count privately and only ever writes it out.

use crate::memory::{LINE, OwnRegion, OwnWords, PeerRegion, PeerWords};
use crate::{LayoutError, PeerMisbehaved};

/// Words in the producer's region of a ring of `capacity` messages.
pub(crate) const fn producer_words(capacity: usize, message: usize) -> usize {
    (LINE + capacity * message).next_multiple_of(LINE)
}

/// Words in the consumer's region.
pub(crate) const fn consumer_words() -> usize {
    LINE
}

/// The writing end, for messages of `WORDS` words. The capacity is a power of two.
pub(crate) struct Producer<const WORDS: usize> {
    tail: OwnWords,
    messages: OwnWords,
    head: PeerWords,
    capacity: u64,
    written: u64,
    taken: u64,
}

impl<const WORDS: usize> Producer<WORDS> {
    pub(crate) fn new(
        capacity: usize,
        own: &mut OwnRegion,
        peer: &mut PeerRegion,
    ) -> Result<Self, LayoutError> {
        Ok(Self {
            tail: own.words(LINE)?,
            messages: own.words(producer_words(capacity, WORDS) - LINE)?,
            head: peer.words(consumer_words())?,
            capacity: capacity as u64,
            written: 0,
            taken: 0,
        })
    }

    /// Begins anew, with a consumer that does so too.
    pub(crate) fn reset(&mut self) {
        (self.written, self.taken) = (0, 0);
        self.tail.publish(0, 0);
    }

    /// How many messages the consumer has not taken yet.
    pub(crate) fn used(&mut self) -> Result<usize, PeerMisbehaved> {
        let head = self.head.load(0);
        if head.wrapping_sub(self.taken) > self.written - self.taken {
            return Err(PeerMisbehaved::IndexJumped);
        }
        self.taken = head;
        Ok((self.written - head) as usize)
    }

    /// Writes and publishes a message; `false` when the ring is full.
    pub(crate) fn push(&mut self, message: [u64; WORDS]) -> Result<bool, PeerMisbehaved> {
        if self.written - self.taken == self.capacity && self.used()? as u64 == self.capacity {
            return Ok(false);
        }
        let first = (self.written & (self.capacity - 1)) as usize * WORDS;
        for (offset, word) in message.into_iter().enumerate() {
            self.messages.set(first + offset, word);
        }
        self.written += 1;
        self.tail.publish(0, self.written);
        Ok(true)
    }
}

/// The reading end.
pub(crate) struct Consumer<const WORDS: usize> {
    head: OwnWords,
    tail: PeerWords,
    messages: PeerWords,
    capacity: u64,
    written: u64,
    taken: u64,
}

impl<const WORDS: usize> Consumer<WORDS> {
    pub(crate) fn new(
        capacity: usize,
        own: &mut OwnRegion,
        peer: &mut PeerRegion,
    ) -> Result<Self, LayoutError> {
        Ok(Self {
            head: own.words(consumer_words())?,
            tail: peer.words(LINE)?,
            messages: peer.words(producer_words(capacity, WORDS) - LINE)?,
            capacity: capacity as u64,
            written: 0,
            taken: 0,
        })
    }

    /// Begins anew, with a producer that does so too.
    pub(crate) fn reset(&mut self) {
        (self.written, self.taken) = (0, 0);
        self.head.publish(0, 0);
    }

    /// Whether a message waits that has not been seen yet.
    pub(crate) fn has_more(&self) -> bool {
        self.taken != self.written || self.tail.load(0) != self.written
    }

    /// Copies the next message out.
    pub(crate) fn pop(&mut self) -> Result<Option<[u64; WORDS]>, PeerMisbehaved> {
        if self.taken == self.written {
            let tail = self.tail.load(0);
            if tail.wrapping_sub(self.taken) > self.capacity {
                return Err(PeerMisbehaved::IndexJumped);
            }
            self.written = tail;
            if self.taken == tail {
                return Ok(None);
            }
        }
        let first = (self.taken & (self.capacity - 1)) as usize * WORDS;
        let message = core::array::from_fn(|offset| self.messages.load(first + offset));
        // No wrap: a count of 2^64 messages is out of reach, and a hostile tail is at most `capacity` ahead.
        self.taken += 1;
        self.head.publish(0, self.taken);
        Ok(Some(message))
    }
}
