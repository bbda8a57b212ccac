//! HMAC, and the states that an implementation keeps instead of the key.

use sha2_host::digest::generic_array::GenericArray;
use sha2_host::{compress256, compress512};

/// Initial states (FIPS 180-4, section 5.3).
const SHA256: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const SHA384: [u64; 8] = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];

/// The hash of a cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
}

impl Hash {
    /// Length of a digest in bytes.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    fn algorithm(self) -> ring::hmac::Algorithm {
        match self {
            Self::Sha256 => ring::hmac::HMAC_SHA256,
            Self::Sha384 => ring::hmac::HMAC_SHA384,
        }
    }
}

/// HMAC (RFC 2104).
pub(crate) fn hmac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(hash.algorithm(), key);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

/// The inner and the outer state for a key that is no longer than a block: little-endian words, as the machine's
/// memory has them.
pub(crate) fn states(hash: Hash, key: &[u8]) -> [Vec<u8>; 2] {
    [0x36, 0x5c].map(|pad| match hash {
        Hash::Sha256 => {
            let block: [u8; 64] = padded(key, pad);
            let mut state = SHA256;
            compress256(&mut state, &[GenericArray::clone_from_slice(&block)]);
            state.iter().flat_map(|word| word.to_le_bytes()).collect()
        }
        Hash::Sha384 => {
            let block: [u8; 128] = padded(key, pad);
            let mut state = SHA384;
            compress512(&mut state, &[GenericArray::clone_from_slice(&block)]);
            state.iter().flat_map(|word| word.to_le_bytes()).collect()
        }
    })
}

fn padded<const N: usize>(key: &[u8], pad: u8) -> [u8; N] {
    core::array::from_fn(|index| key.get(index).copied().unwrap_or(0) ^ pad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2_host::{Digest, Sha256};

    /// From the states alone the HMAC of an empty message comes out as it should.
    #[test]
    fn an_hmac_follows_from_its_states() {
        let key = b"a key";
        let mut words = states(Hash::Sha256, key).map(|state| {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(state.chunks(4)) {
                *word = u32::from_le_bytes(bytes.try_into().unwrap());
            }
            words
        });
        let finish = |state: &mut [u32; 8], message: &[u8]| -> Vec<u8> {
            let mut block = [0; 64];
            block[..message.len()].copy_from_slice(message);
            block[message.len()] = 0x80;
            let bits = 8 * (64 + message.len() as u64);
            block[56..].copy_from_slice(&bits.to_be_bytes());
            compress256(state, &[GenericArray::clone_from_slice(&block)]);
            state.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        let inner = finish(&mut words[0], b"");
        let outer = finish(&mut words[1], &inner);
        assert_eq!(outer, hmac(Hash::Sha256, key, b""));
    }

    #[test]
    fn the_initial_states_are_those_of_the_standard() {
        let mut state = SHA256;
        let mut block = [0; 64];
        block[0] = 0x80;
        compress256(&mut state, &[GenericArray::clone_from_slice(&block)]);
        let digest: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(digest, Sha256::digest(b"").to_vec());
        let mut state = SHA384;
        let mut block = [0; 128];
        block[0] = 0x80;
        compress512(&mut state, &[GenericArray::clone_from_slice(&block)]);
        let digest: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(digest[..48], sha2_host::Sha384::digest(b"")[..]);
    }
}
