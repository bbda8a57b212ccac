//! Random numbers for transaction identifiers and delays.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;
use smoltcp::time::Duration;

use crate::sequence::KEY_LENGTH;

/// A generator: SipHash-2-4 of a counter under a secret key, so that the numbers seen so far do not
/// reveal later ones.
#[derive(Clone)]
pub(crate) struct Random {
    key: [u8; KEY_LENGTH],
    counter: u64,
}

impl Random {
    /// Returns a generator. No other generator may have its key.
    pub fn new(key: [u8; KEY_LENGTH]) -> Self {
        Self { key, counter: 0 }
    }

    /// Returns a generator whose numbers are independent of this one's.
    pub fn fork(&mut self) -> Self {
        let mut key = [0; KEY_LENGTH];
        for half in key.chunks_exact_mut(8) {
            half.copy_from_slice(&self.next().to_le_bytes());
        }
        Self::new(key)
    }

    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.counter);
        self.counter += 1;
        hasher.finish()
    }

    /// Returns a time of at least `least` and less than `most`, in microseconds' steps.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.total_micros().saturating_sub(least.total_micros());
        least + Duration::from_micros(self.next() % span.max(1))
    }
}
