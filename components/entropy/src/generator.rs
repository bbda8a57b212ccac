//! ChaCha20 with fast key erasure.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const KEY: usize = 32;

/// A generator of random bytes.
///
/// For each request ChaCha20 (RFC 8439) runs under the key with a nonce of zero; the first 32 bytes of its
/// output become the next key, the rest is given out. The old key is wiped before anything is returned, so
/// from a stolen state nothing can be computed of what was given out before.
pub struct Generator {
    key: Zeroizing<[u8; KEY]>,
}

impl Generator {
    /// A generator whose output depends on `seed` alone.
    pub fn new(seed: &[u8; KEY]) -> Self {
        Self {
            key: Zeroizing::new(*seed),
        }
    }

    /// Fills `bytes`, up to 256 GiB.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let mut stream = ChaCha20::new((&*self.key).into(), &[0; 12].into());
        let mut next = Zeroizing::new([0; KEY]);
        stream.apply_keystream(&mut *next);
        bytes.fill(0);
        stream.apply_keystream(bytes);
        self.key = next;
    }

    /// Mixes a new seed into the key: who knows only one of the two knows nothing of what follows.
    pub fn mix(&mut self, seed: &[u8; KEY]) {
        let mut hash = Sha256::new_with_prefix(b"selkie entropy mix 1");
        hash.update(*self.key);
        hash.update(seed);
        hash.finalize_into((&mut *self.key).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }

    extern crate std;
    use std::vec::Vec;

    /// RFC 8439, appendix A.1, test vector 1 (key and nonce zero, block 0): its first half becomes the key, its
    /// second half and block 1 (test vector 2) are given out.
    #[test]
    fn the_output_is_the_key_stream_behind_the_next_key() {
        let mut generator = Generator::new(&[0; 32]);
        let mut out = [0xff; 96];
        generator.fill(&mut out);
        let expected = bytes(
            "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586\
             9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
        );
        assert_eq!(out[..], expected[..]);
        let key = bytes("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7");
        assert_eq!(generator.key[..], key[..]);
    }

    #[test]
    fn requests_of_any_size_give_one_new_key_each() {
        let mut generator = Generator::new(&[7; 32]);
        let mut keys = std::collections::HashSet::new();
        for length in [0, 1, 31, 32, 33, 256, 10_000] {
            generator.fill(&mut std::vec![0; length]);
            assert!(keys.insert(*generator.key), "a key came twice");
        }
    }

    #[test]
    fn a_mixed_in_seed_changes_everything_after_it() {
        let fill = |seed: Option<&[u8; 32]>| {
            let mut generator = Generator::new(&[1; 32]);
            seed.into_iter().for_each(|seed| generator.mix(seed));
            let mut out = [0; 32];
            generator.fill(&mut out);
            out
        };
        assert_ne!(fill(None), fill(Some(&[0; 32])));
        assert_ne!(fill(Some(&[2; 32])), fill(Some(&[0; 32])));
        assert_eq!(fill(Some(&[2; 32])), fill(Some(&[2; 32])));
    }
}
