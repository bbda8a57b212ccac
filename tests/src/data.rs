//! Bytes to send and to expect.

use sha2_host::{Digest, Sha256};

/// The body of `/bytes/N`: the little-endian words (i + 1) · 0x9e3779b97f4a7c15, cut to `length` bytes.
pub fn generated(length: usize) -> Vec<u8> {
    (1..)
        .flat_map(|i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(length)
        .collect()
}

/// Bytes without a pattern, the same for the same seed (xorshift64*).
pub fn random(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::from_fn(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        Some(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes())
    })
    .flatten()
    .take(length)
    .collect()
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(generated(9)[..8], 0x9e37_79b9_7f4a_7c15_u64.to_le_bytes());
        assert_eq!(generated(9).len(), 9);
        assert_ne!(random(64, 1), random(64, 3));
    }
}
