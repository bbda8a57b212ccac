//! Counters that a PD publishes in its own region, and the reader at the other end.
//!
//! An entry is a name of at most [`NAME_LENGTH`] bytes and a value. Entries are never taken back.

use alloc::string::String;
use alloc::vec::Vec;

use crate::LayoutError;
use crate::memory::{OwnRegion, OwnWords, PeerRegion, PeerWords};

/// The most bytes of a counter's name.
pub const NAME_LENGTH: usize = 24;
/// The most counters of a PD.
pub const COUNTERS: usize = 64;
/// Bytes of the provider's region; the consumer has none.
pub const PROVIDER_SIZE: usize = 8 * COUNTERS * ENTRY_WORDS;

const NAME_WORDS: usize = NAME_LENGTH / 8;
const ENTRY_WORDS: usize = NAME_WORDS + 1;

/// The end of the PD whose counters they are.
#[derive(Debug)]
pub struct Publisher {
    entries: alloc::vec::IntoIter<OwnWords>,
}

impl Publisher {
    /// Publishes in the region.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] unless it has [`PROVIDER_SIZE`] bytes.
    pub fn new(mut own: OwnRegion) -> Result<Self, LayoutError> {
        let entries = (0..COUNTERS)
            .map(|_| own.words(ENTRY_WORDS))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            entries: entries.into_iter(),
        })
    }

    /// A new counter, which begins at 0, or `None` if there are [`COUNTERS`] already. A name that is too long is
    /// cut; it should be printable ASCII.
    pub fn counter(&mut self, name: &str) -> Option<Counter> {
        let words = self.entries.next()?;
        let mut padded = [0; NAME_LENGTH];
        let length = name.len().min(NAME_LENGTH);
        padded[..length].copy_from_slice(&name.as_bytes()[..length]);
        for (index, chunk) in padded.chunks_exact(8).enumerate().rev() {
            let word = chunk.try_into().map_or(0, u64::from_le_bytes);
            // The first word, which says that the entry is there, is published last.
            words.publish(index, word);
        }
        Some(Counter { words, value: 0 })
    }
}

/// A counter that this PD publishes.
#[derive(Debug)]
pub struct Counter {
    words: OwnWords,
    value: u64,
}

impl Counter {
    /// Adds to it; it wraps.
    pub fn add(&mut self, amount: u64) {
        self.set(self.value.wrapping_add(amount));
    }

    /// Gives it another value, for what is a level and not a count.
    pub fn set(&mut self, value: u64) {
        self.value = value;
        self.words.set(NAME_WORDS, value);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.value
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Reader {
    words: PeerWords,
}

impl Reader {
    /// Reads the peer's region.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] unless it has [`PROVIDER_SIZE`] bytes.
    pub fn new(mut peers: PeerRegion) -> Result<Self, LayoutError> {
        Ok(Self {
            words: peers.words(COUNTERS * ENTRY_WORDS)?,
        })
    }

    /// Names and values as they are now, at most [`COUNTERS`]. What is not printable ASCII in a name becomes `?`.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let mut counters = Vec::new();
        for entry in 0..COUNTERS {
            let first = entry * ENTRY_WORDS;
            let name: String = (0..NAME_WORDS)
                .flat_map(|word| self.words.load(first + word).to_le_bytes())
                .take_while(|&byte| byte != 0)
                .map(|byte| match byte {
                    b' '..=b'~' => byte.into(),
                    _ => '?',
                })
                .collect();
            if name.is_empty() {
                break;
            }
            counters.push((name, self.words.load(first + NAME_WORDS)));
        }
        counters
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::region_pair;

    #[test]
    fn counters_are_read_by_name() {
        let (own, peer) = region_pair(PROVIDER_SIZE);
        let mut publisher = Publisher::new(own).unwrap();
        let reader = Reader::new(peer).unwrap();
        let mut frames = publisher.counter("frames_received").unwrap();
        let mut open = publisher.counter("a name that is far too long").unwrap();
        frames.add(2);
        frames.add(3);
        open.set(7);
        let expected = [
            ("frames_received".into(), 5),
            ("a name that is far too l".into(), 7),
        ];
        assert_eq!(reader.counters(), expected);
    }

    #[test]
    fn there_is_an_end_to_counters() {
        let (own, peer) = region_pair(PROVIDER_SIZE);
        let mut publisher = Publisher::new(own).unwrap();
        for _ in 0..COUNTERS {
            publisher.counter("one").unwrap();
        }
        assert!(publisher.counter("more").is_none());
        assert_eq!(Reader::new(peer).unwrap().counters().len(), COUNTERS);
    }

    #[test]
    fn a_region_that_is_too_small_is_refused() {
        let (own, peer) = region_pair(PROVIDER_SIZE - 8);
        assert_eq!(Publisher::new(own).err(), Some(LayoutError::TooSmall));
        assert_eq!(Reader::new(peer).err(), Some(LayoutError::TooSmall));
    }

    #[test]
    fn hostile_names_are_made_printable() {
        let (mut own, peer) = region_pair(PROVIDER_SIZE);
        let words = own.words(COUNTERS * ENTRY_WORDS).unwrap();
        for index in 0..COUNTERS * ENTRY_WORDS {
            words.set(index, 0x0a1b_ff22_3c80_7f41);
        }
        let counters = Reader::new(peer).unwrap().counters();
        assert_eq!(counters.len(), COUNTERS);
        assert_eq!(counters[0].0, "A??<\"???".repeat(3));
    }
}
