//! PEM files: private keys for a vault's prefilled region or its serial line, and authorities' certificates.
//!
//! A key in the image is for development: anyone with the image has the key. The checks are the same for `check`,
//! `build`, `run` and `provision`.

mod algorithm;
mod chain;
mod pem;
mod private;

use std::path::{Path, PathBuf};

use thiserror::Error;
use tls::Authorities;
use vault::{ChainError, Entry, Keyring, Scheme, Vault, VaultError};
use x509_parser::extensions::SubjectAlternativeName;
use x509_parser::prelude::{ASN1Time, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::files::ReadError;
use algorithm::Public;
pub use chain::Chain;

/// Why files make no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: ReadError,
    },
    /// A file is not PEM, or holds nothing of the kind, or nothing that can be used.
    #[error("{}: {problem}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The two files do not belong together, or the vault would refuse them.
    #[error("{} and {}: {problem}", chain.display(), key.display())]
    Unusable {
        /// The certificate file.
        chain: PathBuf,
        /// The key file.
        key: PathBuf,
        /// The problem.
        problem: String,
    },
}

/// A key that was read from files.
#[derive(Clone)]
pub struct FromFiles {
    /// The key with its chain.
    pub entry: Entry,
    /// Warnings, each with a file's path.
    pub warnings: Vec<String>,
}

/// Reads a key from two PEM files: the chain, with the key's own certificate first, and the private key. Both are
/// checked as of now.
///
/// # Errors
/// [`KeyFileError`] when a file is missing or malformed, when the two do not fit each other, or when no client would
/// accept the certificates.
pub fn from_files(chain: &Path, key: &Path) -> Result<FromFiles, KeyFileError> {
    let chain = Chain::read(chain, ASN1Time::now())?;
    let key = read_fitting_key(&chain, key)?;
    Ok(FromFiles {
        entry: Entry::Prefilled {
            names: chain.names,
            chain: chain.certificates,
            key,
        },
        warnings: chain.warnings,
    })
}

/// Reads the private key for these certificates from a PEM file, in a form that a vault reads: PKCS#8 or PKCS#1.
///
/// # Errors
/// [`KeyFileError`] when the file is missing or malformed, or when a vault would not take the key with them.
pub fn read_fitting_key(chain: &Chain, key: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let unusable = |problem: String| KeyFileError::Unusable {
        chain: chain.file.clone(),
        key: key.to_owned(),
        problem,
    };
    let parsed = chain::parsed(&chain.certificates).map_err(unusable)?;
    let der = private::read(key, &Public::of(&parsed[0]))?;
    match fits(&chain.certificates, &der) {
        Ok(()) => Ok(der),
        Err(VaultError::Chain(_, ChainError::OtherKey)) => {
            Err(unusable(other_key(&chain.certificates, key, &parsed)))
        }
        Err(error) => Err(unusable(error.to_string())),
    }
}

fn fits(certificates: &[Vec<u8>], key: &Zeroizing<Vec<u8>>) -> Result<(), VaultError> {
    tried(&Keyring(vec![Entry::Prefilled {
        names: Vec::new(),
        chain: certificates.to_vec(),
        key: key.clone(),
    }]))
}

/// Describes the problem of a key that does not match the first certificate; it may match another one.
fn other_key(certificates: &[Vec<u8>], key: &Path, parsed: &[X509Certificate<'_>]) -> String {
    let its_own = parsed.iter().enumerate().skip(1).find(|(index, one)| {
        let der = private::read(key, &Public::of(one));
        der.is_ok_and(|der| fits(&certificates[*index..], &der).is_ok())
    });
    match its_own {
        Some((index, _)) => format!(
            "the key belongs to certificate {} of the chain; it must belong to the first",
            index + 1
        ),
        None => "the first certificate is for another key".into(),
    }
}

/// Whether a vault can begin with these keys.
///
/// # Errors
/// What it says.
pub fn tried(keyring: &Keyring) -> Result<(), VaultError> {
    let all = Scheme::ALL.map(|(_, scheme)| scheme);
    Vault::new(keyring, &all, &[], 0).map(|_| ())
}

/// The certificates of authorities in a PEM file.
///
/// # Errors
/// [`KeyFileError`] when the file is missing or malformed, or when one of them cannot be a trust anchor.
pub fn authorities(path: &Path) -> Result<Authorities, KeyFileError> {
    Authorities::new(chain::certificates(path)?).map_err(|error| KeyFileError::Pem {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

/// Returns the DNS names and addresses that a certificate is for (RFC 5280, section 4.2.1.6).
fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    match certificate.subject_alternative_name() {
        Ok(Some(alternatives)) => names(alternatives.value),
        _ => Vec::new(),
    }
}

/// The DNS names and addresses among a subject's names.
pub fn names(alternatives: &SubjectAlternativeName<'_>) -> Vec<String> {
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    };
    alternatives.general_names.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests;
