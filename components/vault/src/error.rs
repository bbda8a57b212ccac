//! Why a key or a certificate cannot be used.

use thiserror::Error;

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not PKCS#8 (RFC 5958) or PKCS#1 (RFC 8017) of a kind that the vault knows, or damaged.
    #[error(
        "it is not a PKCS#8 or PKCS#1 key of P-256, P-384, Ed25519 or RSA with 2048 to 4096 bits"
    )]
    Malformed,
    /// The random number generator is not seeded.
    #[error("there are no random numbers")]
    NoRandomness,
    /// What is to be written about the key is longer than DER has lengths for, or the time is behind the year 9999.
    #[error("no certificate can be written for it")]
    NoCertificate,
}

/// Why a certificate chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChainError {
    /// There is no certificate in it, or more than 16.
    #[error("it has no certificate, or more than 16")]
    Count,
    /// The first certificate is for another key.
    #[error("its first certificate is for another key")]
    OtherKey,
    /// The chain is longer than clients of the vault read.
    #[error("it is too long")]
    TooLong,
}

/// Why there is no vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VaultError {
    /// The keys' region is not one of this format.
    #[error("the region of the keys is malformed")]
    Malformed,
    /// A key, counted from 0; in the text from 1, as in descriptions and in `selkie request`.
    #[error("key {}: {}", .0 + 1, .1)]
    Key(usize, KeyError),
    /// A key's certificate chain.
    #[error("the certificate chain of key {}: {}", .0 + 1, .1)]
    Chain(usize, ChainError),
}
