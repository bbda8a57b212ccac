//! The forms that keys take in memory while they are in use.

mod aes;
pub(crate) mod ed25519;
mod hmac;
mod poly1305;
pub(crate) mod private_key;
pub(crate) mod recover;

pub(crate) use hmac::{Hash, hmac, states};

use crate::{Kind, Secret};

/// Records for which the Poly1305 keys are derived.
const RECORDS: u64 = 8;

/// What an AEAD is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aead {
    /// AES-GCM (NIST SP 800-38D), with a key of 16 or 32 bytes.
    AesGcm,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

/// An AEAD's key and what is computed from it.
pub(crate) fn aead(name: &str, aead: Aead, key: &[u8], iv: &[u8]) -> Vec<Secret> {
    let mut secrets = vec![Secret::new(Kind::AeadKey, format!("{name} key"), key)];
    // The four secret bytes of a TLS 1.2 nonce would be found by chance (RFC 5288, section 3).
    if iv.len() >= 12 {
        secrets.push(Secret::new(Kind::Iv, format!("{name} iv"), iv));
    }
    match aead {
        Aead::AesGcm => {
            let schedule = aes::round_keys(key);
            let h = aes::encrypt_zero(&schedule);
            secrets.push(Secret::new(
                Kind::RoundKeys,
                format!("{name} round keys"),
                schedule[key.len()..].to_vec(),
            ));
            secrets.push(Secret::new(
                Kind::RoundKeys,
                format!("{name} round keys, halves of bytes apart"),
                aes::halves_apart(&schedule),
            ));
            for (form, bytes) in aes::ghash_forms(h) {
                secrets.push(Secret::new(Kind::GhashKey, format!("{name} {form}"), bytes));
            }
        }
        Aead::ChaCha20Poly1305 => {
            for sequence in 0..RECORDS {
                let name = format!("{name} Poly1305 key of record {sequence}");
                let bytes = poly1305::one_time_key(key, iv, sequence);
                secrets.extend(bytes.map(|bytes| Secret::new(Kind::Poly1305Key, name, bytes)));
            }
        }
    }
    secrets
}
