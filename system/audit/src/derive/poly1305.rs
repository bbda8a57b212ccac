//! The keys of Poly1305.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

/// The key for the record of this number: the first half of ChaCha20's block 0 under the record's nonce
/// (RFC 8439, section 2.6; RFC 8446, section 5.3). `None` when key or IV have another length than the AEAD's.
pub(super) fn one_time_key(key: &[u8], iv: &[u8], sequence: u64) -> Option<[u8; 32]> {
    let key: [u8; 32] = key.try_into().ok()?;
    let mut nonce: [u8; 12] = iv.try_into().ok()?;
    let number = sequence.to_be_bytes();
    nonce[4..]
        .iter_mut()
        .zip(number)
        .for_each(|(byte, number)| *byte ^= number);
    let mut block = [0; 32];
    ChaCha20::new(&key.into(), &nonce.into()).apply_keystream(&mut block);
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.6.2.
    #[test]
    fn the_key_is_that_of_the_specification() {
        let key: [u8; 32] = core::array::from_fn(|index| 0x80 + index as u8);
        let iv = [0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7];
        let block = one_time_key(&key, &iv, 0).unwrap();
        assert_eq!(block[..4], [0x8a, 0xd5, 0xa0, 0x8b]);
        assert_eq!(block[28..], [0xfd, 0xd1, 0xa6, 0x46]);
        assert_ne!(one_time_key(&key, &iv, 1).unwrap(), block);
        assert!(one_time_key(&key, &iv[1..], 0).is_none());
    }
}
