//! The secrets of a stack.

use crate::sequence::KEY_LENGTH;

/// Randomness that the stack needs at its start, from the entropy protection domain.
#[derive(Clone)]
pub struct Keys {
    /// Keys the initial sequence numbers.
    pub sequence: [u8; KEY_LENGTH],
    /// Keys the ephemeral ports.
    pub ports: [u8; KEY_LENGTH],
    /// Seeds what need not be secret: identifiers of DHCP transactions, delays.
    pub seed: u64,
}

impl Keys {
    /// Random bytes that make the keys.
    pub const LENGTH: usize = 2 * KEY_LENGTH + 8;
}

impl From<[u8; Self::LENGTH]> for Keys {
    fn from(random: [u8; Self::LENGTH]) -> Self {
        let mut keys = Self {
            sequence: [0; KEY_LENGTH],
            ports: [0; KEY_LENGTH],
            seed: 0,
        };
        let (sequence, rest) = random.split_at(KEY_LENGTH);
        let (ports, seed) = rest.split_at(KEY_LENGTH);
        keys.sequence.copy_from_slice(sequence);
        keys.ports.copy_from_slice(ports);
        keys.seed = seed
            .iter()
            .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        keys
    }
}
