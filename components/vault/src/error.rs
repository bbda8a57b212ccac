//! Why a key or a certificate cannot be used.

use core::fmt;

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not PKCS#8 (RFC 5958) or PKCS#1 (RFC 8017) of a kind that the vault knows, or damaged.
    Malformed,
    /// The random number generator is not seeded.
    NoRandomness,
}

/// Why a certificate chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// There is no certificate in it, or more than 16.
    Count,
    /// The first certificate is for another key.
    OtherKey,
    /// The chain is longer than clients of the vault read.
    TooLong,
}

/// Why there is no vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// The keys' region is not one of this format.
    Malformed,
    /// A key, counted from 0.
    Key(usize, KeyError),
    /// A key's certificate chain.
    Chain(usize, ChainError),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not a PKCS#8 or PKCS#1 key of P-256, P-384, Ed25519 or RSA with 2048 to 4096 bits",
            Self::NoRandomness => "there are no random numbers",
        })
    }
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "it has no certificate, or more than 16",
            Self::OtherKey => "its first certificate is for another key",
            Self::TooLong => "it is too long",
        })
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the region of the keys is malformed"),
            Self::Key(index, error) => write!(f, "key {index}: {error}"),
            Self::Chain(index, error) => write!(f, "the certificate chain of key {index}: {error}"),
        }
    }
}

impl core::error::Error for KeyError {}
impl core::error::Error for ChainError {}
impl core::error::Error for VaultError {}
