//! The server's certificate chain and private key, as the builder hands them to the TLS protection domain.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// First byte of the encoding.
const FORMAT: u8 = 1;

/// Largest total of a chain and key in bytes; keeps a damaged region from exhausting the heap.
const MAX_BYTES: usize = 256 * 1024;

/// A certificate chain with its private key. The key is wiped when the value is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Where it comes from.
    pub origin: Origin,
    /// The names in the end-entity certificate, for the log.
    pub names: Vec<String>,
    /// X.509 certificates in DER, end entity first (RFC 8446, section 4.4.2).
    pub chain: Vec<Vec<u8>>,
    /// The private key in DER: PKCS#8 (RFC 5958), SEC 1 or PKCS#1.
    key: Vec<u8>,
}

/// Where an identity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Made by the builder, self-signed: for development.
    Development,
    /// PEM files that the system description names.
    Files,
}

/// Why an identity cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// Not an encoded identity of this format.
    Malformed,
    /// No certificate.
    EmptyChain,
    /// The key is in none of the known forms.
    UnknownKeyForm,
}

impl Identity {
    /// An identity from DER; takes the key over, so that the only copy is wiped with it.
    pub fn new(origin: Origin, names: Vec<String>, chain: Vec<Vec<u8>>, key: Vec<u8>) -> Self {
        Self {
            origin,
            names,
            chain,
            key,
        }
    }

    /// The bytes of a prefilled region. They hold the private key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![FORMAT];
        bytes.extend(
            postcard::to_allocvec(self).expect("encoding into a Vec fails only for unsized lists"),
        );
        bytes
    }

    /// Reads an identity; bytes behind it (the rest of the page) are ignored.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`], and [`IdentityError::EmptyChain`] for one without certificates.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let Some((&FORMAT, rest)) = bytes.split_first() else {
            return Err(IdentityError::Malformed);
        };
        let rest = &rest[..rest.len().min(MAX_BYTES)];
        let (identity, _) =
            postcard::take_from_bytes::<Self>(rest).map_err(|_| IdentityError::Malformed)?;
        match identity.chain.is_empty() {
            true => Err(IdentityError::EmptyChain),
            false => Ok(identity),
        }
    }

    /// The chain in the form that rustls takes.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.chain
            .iter()
            .map(|der| CertificateDer::from(der.clone()))
            .collect()
    }

    /// The key in the form that rustls takes. rustls wipes what it is given.
    ///
    /// # Errors
    /// [`IdentityError::UnknownKeyForm`].
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        PrivateKeyDer::try_from(self.key.clone()).map_err(|_| IdentityError::UnknownKeyForm)
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl ZeroizeOnDrop for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("origin", &self.origin)
            .field("names", &self.names)
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the certificate region is malformed",
            Self::EmptyChain => "the certificate chain is empty",
            Self::UnknownKeyForm => "the private key is neither PKCS#8, SEC 1 nor PKCS#1",
        })
    }
}

impl core::error::Error for IdentityError {}
