//! Time for a PD that may not call any other PD: the clock publishes the value of the processor's
//! counter at a time, and the reader computes the time from its own reading of that counter.
//!
//! The reader has a higher priority than the clock, so it can interrupt a write of the clock.
//! Therefore there are two slots, and the clock writes the one that the index does not name. Two
//! readings, the first and the latest, give the counter's frequency.

use crate::LayoutError;
use crate::memory::{OwnRegion, OwnWords, PeerRegion, PeerWords};

/// Words: the index, the first reading, and two slots. A reading is a count and a time.
const WORDS: usize = 7;
const FIRST: usize = 1;
const SLOTS: [usize; 2] = [3, 5];

/// Bytes of the provider's region; the consumer has none.
pub const PROVIDER_SIZE: usize = 8 * WORDS;

/// Counts between two readings that give a frequency: 4 ms at 1 GHz.
const ENOUGH: u64 = 1 << 22;

/// The clock's endpoint.
#[derive(Debug)]
pub struct Publisher {
    words: OwnWords,
    slot: usize,
    begun: bool,
}

impl Publisher {
    /// Publishes in the region.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] unless it has [`PROVIDER_SIZE`] bytes.
    pub fn new(mut own: OwnRegion) -> Result<Self, LayoutError> {
        Ok(Self {
            words: own.words(WORDS)?,
            slot: 0,
            begun: false,
        })
    }

    /// Publishes that the counter stood at `count` at `time`, in nanoseconds since the start.
    pub fn publish(&mut self, count: u64, time: u64) {
        if !self.begun {
            self.write(FIRST, count, time);
            self.begun = true;
        }
        self.slot ^= 1;
        self.write(SLOTS[self.slot], count, time);
        self.words.publish(0, self.slot as u64 + 1);
    }

    fn write(&self, place: usize, count: u64, time: u64) {
        self.words.set(place, count);
        self.words.set(place + 1, time);
    }
}

/// The reader's endpoint.
#[derive(Debug)]
pub struct Reader {
    words: PeerWords,
}

impl Reader {
    /// Reads the clock's region.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] unless it has [`PROVIDER_SIZE`] bytes.
    pub fn new(mut peers: PeerRegion) -> Result<Self, LayoutError> {
        Ok(Self {
            words: peers.words(WORDS)?,
        })
    }

    /// Returns the nanoseconds since the start; `count` reads the counter. Returns 0 while nothing
    /// is published, and does not read the counter then, since the kernel may forbid that. If the
    /// clock publishes wrong numbers, the returned times are wrong.
    pub fn now(&self, count: impl FnOnce() -> u64) -> u64 {
        let index = self.words.load(0);
        if index == 0 {
            return 0;
        }
        let (first_count, first_time) = self.reading(FIRST);
        let (last_count, last_time) = self.reading(SLOTS[usize::from(index == 2)]);
        let counts = last_count.wrapping_sub(first_count);
        if counts < ENOUGH {
            return last_time;
        }
        let since = u128::from(count().wrapping_sub(last_count));
        let times = u128::from(last_time.saturating_sub(first_time));
        let passed = since * times / u128::from(counts);
        last_time.saturating_add(passed.try_into().unwrap_or(u64::MAX))
    }

    fn reading(&self, place: usize) -> (u64, u64) {
        (self.words.load(place), self.words.load(place + 1))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::region_pair;
    use proptest::prelude::*;

    fn pair() -> (Publisher, Reader) {
        let (own, peer) = region_pair(PROVIDER_SIZE);
        (Publisher::new(own).unwrap(), Reader::new(peer).unwrap())
    }

    #[test]
    fn the_time_goes_on_with_the_counter() {
        let (mut clock, reader) = pair();
        let forbidden = || panic!("the counter is read before the clock has read it");
        assert_eq!(reader.now(forbidden), 0);
        // A counter of 2 GHz that stood at 10^12 at 5 ms.
        let count = |time: u64| 1_000_000_000_000 + 2 * (time - 5_000_000);
        clock.publish(count(5_000_000), 5_000_000);
        assert_eq!(reader.now(|| count(6_000_000)), 5_000_000);
        for time in [1_000_000_000, 1_500_000_000, 60_000_000_000] {
            clock.publish(count(time), time);
            assert_eq!(reader.now(|| count(time)), time);
            let hour = time + 3_600_000_000_000;
            assert_eq!(reader.now(|| count(hour)), hour);
        }
    }

    #[test]
    fn a_write_under_way_is_not_read() {
        let (mut clock, reader) = pair();
        clock.publish(0, 0);
        clock.publish(1 << 30, 1 << 30);
        // As `publish` begins: the slot that the index does not name.
        clock.write(SLOTS[clock.slot ^ 1], u64::MAX, u64::MAX);
        assert_eq!(reader.now(|| 1 << 31), 1 << 31);
    }

    proptest! {
        #[test]
        fn any_words_give_a_time(words in proptest::array::uniform7(any::<u64>()), count: u64) {
            let (own, peer) = region_pair(PROVIDER_SIZE);
            let (mut own, reader) = (own, Reader::new(peer).unwrap());
            let written = own.words(WORDS).unwrap();
            for (index, word) in words.into_iter().enumerate() {
                written.set(index, word);
            }
            reader.now(|| count);
        }
    }
}
