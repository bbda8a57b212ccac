//! AES key schedules, and the tables of GHASH.

use aes::Block;
use aes::hazmat::{cipher_round, inv_mix_columns};

/// The reduction polynomial of GHASH, bits reversed, behind its leading term.
const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;

/// The round keys, the key itself first (FIPS 197, section 5.2). The key has 16 or 32 bytes.
pub(super) fn round_keys(key: &[u8]) -> Vec<u8> {
    let words = key.len() / 4;
    let rounds = words + 6;
    let mut schedule = key.to_vec();
    let mut constant = 1u8;
    for index in words..4 * (rounds + 1) {
        let mut word = [0; 4];
        word.copy_from_slice(&schedule[4 * (index - 1)..]);
        if index % words == 0 {
            word.rotate_left(1);
            word = substitute(word);
            word[0] ^= constant;
            constant = constant << 1 ^ if constant & 0x80 == 0 { 0 } else { 0x1b };
        } else if words > 6 && index % words == 4 {
            word = substitute(word);
        }
        let back: Vec<u8> = schedule[4 * (index - words)..][..4].to_vec();
        schedule.extend(word.iter().zip(back).map(|(a, b)| a ^ b));
    }
    schedule
}

/// Round keys as ring keeps them where the processor has no instructions for AES (`aes_nohw.c`): of each block the lower
/// halves of all bytes, then the upper ones.
pub(super) fn halves_apart(schedule: &[u8]) -> Vec<u8> {
    let blocks = schedule.chunks(16);
    let half = |block: &[u8], shift: u32| -> Vec<u8> {
        let pairs = block.chunks(2);
        pairs
            .map(|pair| pair[0] >> shift & 15 | (pair[1] >> shift & 15) << 4)
            .collect()
    };
    blocks
        .flat_map(|block| [half(block, 0), half(block, 4)].concat())
        .collect()
}

/// `SubWord` of FIPS 197: in a block of four equal columns a round's `ShiftRows` changes nothing.
fn substitute(word: [u8; 4]) -> [u8; 4] {
    let mut block = Block::default();
    block
        .chunks_mut(4)
        .for_each(|column| column.copy_from_slice(&word));
    cipher_round(&mut block, &Block::default());
    inv_mix_columns(&mut block);
    [block[0], block[1], block[2], block[3]]
}

/// The key of GHASH: the encryption of the zero block (NIST SP 800-38D, section 6.4).
pub(super) fn encrypt_zero(schedule: &[u8]) -> u128 {
    let keys: Vec<&[u8]> = schedule.chunks(16).collect();
    let mut block = Block::clone_from_slice(keys[0]);
    for key in &keys[1..keys.len() - 1] {
        cipher_round(&mut block, Block::from_slice(key));
    }
    // The last round mixes no columns.
    cipher_round(&mut block, &Block::default());
    inv_mix_columns(&mut block);
    let last = keys[keys.len() - 1];
    let bytes: [u8; 16] = core::array::from_fn(|index| block[index] ^ last[index]);
    u128::from_be_bytes(bytes)
}

/// GHASH's key, and what tables for a carry-less multiplier hold: its first powers, each times x, as little-endian
/// numbers (ring's `gcm_init_clmul`), in the two orders of halves.
pub(super) fn ghash_forms(h: u128) -> Vec<(String, [u8; 16])> {
    let mut forms = vec![("H".into(), h.to_be_bytes())];
    let doubled = h << 1 ^ if h >> 127 == 0 { 0 } else { POLYNOMIAL };
    let mut power = doubled;
    for exponent in 1..=4 {
        forms.push((format!("table, H^{exponent}"), power.to_le_bytes()));
        forms.push((
            format!("table, H^{exponent}, halves exchanged"),
            power.rotate_left(64).to_le_bytes(),
        ));
        power = multiply(power, doubled);
    }
    forms
}

/// The product a·b·x^-128 in GHASH's field, bits reversed (RFC 8452, section 3, `dot`).
fn multiply(a: u128, b: u128) -> u128 {
    (0..128).fold(0, |sum, bit| {
        let sum = sum ^ if b >> bit & 1 == 0 { 0 } else { a };
        // Division by x: the polynomial makes an odd number even, and its leading term comes in at the top.
        if sum & 1 == 0 {
            sum >> 1
        } else {
            (sum ^ POLYNOMIAL) >> 1 | 1 << 127
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
            .collect()
    }

    /// FIPS 197, appendices A.1 and A.3: the last round keys.
    #[test]
    fn round_keys_are_those_of_the_standard() {
        let short = round_keys(&hex("2b7e151628aed2a6abf7158809cf4f3c"));
        assert_eq!(short.len(), 176);
        assert_eq!(short[160..], hex("d014f9a8c9ee2589e13f0cc8b6630ca6"));
        let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        let long = round_keys(&hex(key));
        assert_eq!(long.len(), 240);
        assert_eq!(long[224..], hex("fe4890d1e6188d0b046df344706c631e"));
    }

    /// ring 0.17.14, `aes_nohw_compact_block`: its comments number the halves.
    #[test]
    fn halves_of_round_keys_are_apart() {
        let block: Vec<u8> = (0..16).map(|low| (15 - low) << 4 | low).collect();
        let apart = halves_apart(&block);
        assert_eq!(apart, hex("1032547698badcfeefcdab8967452301"));
        assert_eq!(halves_apart(&[block, vec![0; 16]].concat())[16..], [0; 16]);
    }

    /// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 1.
    #[test]
    fn the_key_of_ghash_is_that_of_the_specification() {
        let h = encrypt_zero(&round_keys(&[0; 16]));
        assert_eq!(h, 0x66e9_4bd4_ef8a_2c3b_884c_fa59_ca34_2b2e);
    }

    /// RFC 8452, appendix A: a dot product.
    #[test]
    fn products_are_those_of_polyval() {
        let a = u128::from_le_bytes(hex("66e94bd4ef8a2c3b884cfa59ca342b2e").try_into().unwrap());
        let b = u128::from_le_bytes(hex("ff000000000000000000000000000000").try_into().unwrap());
        let dot = multiply(a, b).to_le_bytes();
        assert_eq!(dot.to_vec(), hex("ebe563401e7e91ea3ad6426b8140c394"));
    }
}
