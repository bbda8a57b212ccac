//! The secrets of a stack.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::sequence::KEY_LENGTH;

/// Randomness that the stack needs at its start, from the entropy protection domain.
#[derive(Clone)]
pub struct Keys {
    /// Keys the initial sequence numbers.
    pub sequence: [u8; KEY_LENGTH],
    /// Keys the ephemeral ports.
    pub ports: [u8; KEY_LENGTH],
    /// The keys of everything else are derived from it: SYN cookies, timestamps, limits, the host's random numbers.
    pub others: [u8; KEY_LENGTH],
}

/// The purpose of a derived key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Host,
    Cookies,
    Timestamps,
    Limits,
}

impl Keys {
    /// Random bytes that make the keys.
    pub const LENGTH: usize = 3 * KEY_LENGTH;

    /// Returns the key for a purpose: two outputs of SipHash-2-4, which is a pseudorandom function.
    pub(super) fn derive(&self, purpose: Purpose) -> [u8; KEY_LENGTH] {
        let mut key = [0; KEY_LENGTH];
        for (half, bytes) in key.chunks_exact_mut(8).enumerate() {
            let mut hasher = SipHasher24::new_with_key(&self.others);
            hasher.write_u8(purpose as u8);
            hasher.write_u8(half as u8);
            bytes.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        key
    }
}

impl From<[u8; Self::LENGTH]> for Keys {
    fn from(random: [u8; Self::LENGTH]) -> Self {
        let key = |index: usize| {
            let mut key = [0; KEY_LENGTH];
            key.copy_from_slice(&random[index * KEY_LENGTH..][..KEY_LENGTH]);
            key
        };
        Self {
            sequence: key(0),
            ports: key(1),
            others: key(2),
        }
    }
}
