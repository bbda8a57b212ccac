//! Where everything lies in the two regions of a `streams` connection.
//!
//! Both regions have alike: epochs, bell, ready bits, slots, messages. The provider's has the descriptions of the
//! opened connections behind its epochs, and each ends with one byte ring for every slot.

use crate::memory::{LINE, OwnRegion, OwnWords, PeerRegion, PeerWords};
use crate::{LayoutError, doorbell, epoch, ready, ring};

/// Words of a slot: its state, bytes produced, bytes consumed, and the count at which to wake the producer.
pub(super) const SLOT_WORDS: usize = 4;
/// Words that describe an opened connection: addresses and token, then the identity of the peer, if it is known.
pub(super) const OPENED_WORDS: usize = 4 + IDENTITY_WORDS;
/// A digest of 32 bytes and a name of up to 64.
pub(super) const IDENTITY_WORDS: usize = 4 + 8;
/// Words of a request or an answer.
pub(super) const MESSAGE: usize = 4;
/// Requests that may wait for their answer at one time.
pub(super) const REQUESTS: usize = 16;

const PAGE: usize = 4096;

/// How many connections there are at one time, and how large their rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    connections: usize,
    buffer: usize,
}

impl Layout {
    /// `connections` slots (1 to 1024), each with a ring of `buffer` bytes (a power of two, 256 to 2^20) in each
    /// direction.
    ///
    /// # Errors
    /// [`LayoutError::OutOfRange`] for other numbers.
    pub const fn new(connections: usize, buffer: usize) -> Result<Self, LayoutError> {
        let size = buffer.is_power_of_two() && buffer >= 256 && buffer <= 1 << 20;
        if connections == 0 || connections > 1024 || !size {
            return Err(LayoutError::OutOfRange);
        }
        Ok(Self {
            connections,
            buffer,
        })
    }

    /// Slots for connections.
    pub const fn connections(&self) -> usize {
        self.connections
    }

    /// Bytes of a ring.
    pub const fn buffer(&self) -> usize {
        self.buffer
    }

    /// Bytes of the region that the provider writes.
    pub const fn provider_size(&self) -> usize {
        let opened = OPENED_WORDS * self.connections;
        (8 * (self.common_words() + opened)).next_multiple_of(PAGE) + self.rings()
    }

    /// Bytes of the region that the consumer writes.
    pub const fn consumer_size(&self) -> usize {
        (8 * self.common_words()).next_multiple_of(PAGE) + self.rings()
    }

    const fn rings(&self) -> usize {
        self.connections * self.buffer
    }

    const fn common_words(&self) -> usize {
        epoch::WORDS
            + doorbell::WORDS
            + ready::words(self.connections)
            + self.slot_words()
            + ring::producer_words(REQUESTS, MESSAGE)
            + ring::consumer_words()
    }

    pub(super) const fn slot_words(&self) -> usize {
        (SLOT_WORDS * self.connections).next_multiple_of(LINE)
    }

    /// Words between the end of what both regions have, or the descriptions, and the page where the rings begin.
    pub(super) const fn padding(&self, opened: bool) -> usize {
        let words = self.common_words()
            + if opened {
                OPENED_WORDS * self.connections
            } else {
                0
            };
        words.next_multiple_of(PAGE / 8) - words
    }
}

/// The words of one's own slots.
pub(super) struct OwnSlots(OwnWords);

/// The words of the peer's slots.
pub(super) struct PeerSlots(PeerWords);

/// A word of a slot.
#[derive(Clone, Copy)]
pub(super) enum Word {
    /// Generation and flags.
    State,
    /// Bytes put into the own ring, and its origin.
    Produced,
    /// Bytes of the peer's ring that may be overwritten, and the origin asked for.
    Consumed,
    /// The count of consumed bytes at which the peer is to be woken.
    WakeAt,
}

impl OwnSlots {
    pub(super) fn new(layout: &Layout, own: &mut OwnRegion) -> Result<Self, LayoutError> {
        own.words(layout.slot_words()).map(Self)
    }

    /// Publishes the word with everything that was written before.
    pub(super) fn publish(&self, slot: usize, word: Word, value: u64) {
        self.0.publish(slot * SLOT_WORDS + word as usize, value);
    }
}

impl PeerSlots {
    pub(super) fn new(layout: &Layout, peers: &mut PeerRegion) -> Result<Self, LayoutError> {
        peers.words(layout.slot_words()).map(Self)
    }

    pub(super) fn load(&self, slot: usize, word: Word) -> u64 {
        self.0.load(slot * SLOT_WORDS + word as usize)
    }
}

/// A count of bytes (it wraps) and the count whose byte lies at offset 0 of the ring, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) count: u32,
    pub(super) origin: u32,
}

impl Position {
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.origin) << 32 | u64::from(self.count)
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self {
            count: word as u32,
            origin: (word >> 32) as u32,
        }
    }
}

/// A slot's generation and flags, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) generation: u32,
    pub(super) flags: u32,
}

impl State {
    /// The provider has opened the connection; the consumer has taken note of it.
    pub(super) const OPEN: u32 = 1;
    /// No more bytes than those produced so far will come from this side.
    pub(super) const END: u32 = 2;
    /// Provider: both directions have ended in order.
    pub(super) const CLOSED: u32 = 4;
    /// Provider: the connection was cut. Consumer: cut it.
    pub(super) const RESET: u32 = 8;
    /// Consumer: the slot may be used again.
    pub(super) const RELEASED: u32 = 16;
    /// Of the provider's flags: it neither reads nor writes any more.
    pub(super) const OVER: u32 = Self::CLOSED | Self::RESET;

    pub(super) fn to_word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.flags)
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self {
            generation: (word >> 32) as u32,
            flags: word as u32,
        }
    }

    pub(super) fn has(self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}
