//! Which keys a vault has and where they come from, as the builder hands it to the vault protection domain.

use alloc::string::String;
use alloc::vec::Vec;

use channel::sign::MAX_KEYS;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::VaultError;

/// First byte of the encoding.
const FORMAT: u8 = 3;

/// The keys of a vault, in the order of the description: the first is for clients that ask for no name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring(pub Vec<Entry>);

/// Where a key comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// Made by the vault at its start.
    Made {
        /// What is made.
        kind: Kind,
        /// DNS names and IP addresses for its certificate.
        names: Vec<String>,
        /// What its certificate and its requests say: a [`Subject`](crate::Subject), encoded.
        subject: Vec<u8>,
        /// Whether it has a self-signed certificate until it gets another. If not, it is not in use until then.
        self_signed: bool,
    },
    /// Given by the builder, for development: the boot image holds the key.
    Prefilled {
        /// The DNS names and IP addresses in its certificate.
        names: Vec<String>,
        /// X.509 certificates in DER, the key's own first.
        chain: Vec<Vec<u8>>,
        /// The private key in DER: PKCS#8 or PKCS#1.
        key: Zeroizing<Vec<u8>>,
    },
}

/// The kinds of key that a vault can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl Keyring {
    /// The bytes of a prefilled region.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![FORMAT];
        bytes.extend(
            postcard::to_allocvec(self).expect("encoding into a Vec fails only for unsized lists"),
        );
        bytes
    }

    /// Reads the keys; bytes behind them (the rest of the page) are ignored.
    ///
    /// # Errors
    /// [`VaultError::Malformed`], also for more than 16 keys.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let Some((&FORMAT, rest)) = bytes.split_first() else {
            return Err(VaultError::Malformed);
        };
        match postcard::take_from_bytes::<Self>(rest) {
            Ok((keyring, _)) if keyring.0.len() <= MAX_KEYS => Ok(keyring),
            _ => Err(VaultError::Malformed),
        }
    }
}
