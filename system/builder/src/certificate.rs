//! The identity of a TLS server: the user's PEM files, or a development certificate of our own making; and the
//! authorities that it trusts.
//!
//! Either way the server's private key ends in a prefilled memory region of the image. That is for development:
//! whoever has the image has the key, and copies of it stay in the machine's memory.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tls::{Authorities, Identity, Origin};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long a development certificate is valid.
const DEVELOPMENT_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// A development certificate is made anew when it has less than this left.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The kinds of key that a development certificate can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256 with SHA-256 (RFC 8446, section 4.2.3).
    EcdsaP256,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// Why there is no identity.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file is not PEM, or holds nothing of the kind.
    #[error("{}: {problem}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate and the key do not fit each other, or rustls knows no use for them.
    #[error("{} and {} cannot serve TLS: {problem}", chain.display(), key.display())]
    Unusable {
        /// The certificate file.
        chain: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        problem: String,
    },
    /// The certificate cannot be made.
    #[error("no development certificate: {0}")]
    Making(#[from] rcgen::Error),
}

/// The identity in two PEM files: the chain with the server's certificate first, and its key.
///
/// # Errors
/// [`CertificateError`] when a file is missing or malformed, or when the two do not fit each other.
pub fn from_files(chain: &Path, key: &Path) -> Result<Identity, CertificateError> {
    read(Origin::Files, chain, key)
}

/// A self-signed certificate for `localhost`, `127.0.0.1` and `::1` and further DNS `names`; made on the first
/// use, and kept in `folder` with its key so that an exception in a browser stays good.
///
/// # Errors
/// [`CertificateError`] when the files cannot be written or read.
pub fn development(
    folder: &Path,
    kind: KeyKind,
    names: &[String],
) -> Result<Identity, CertificateError> {
    let (chain, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    match read(Origin::Development, &chain, &key) {
        Ok(identity) if is_current(&identity, kind, names) => Ok(identity),
        _ => {
            make(&chain, &key, kind, names)?;
            read(Origin::Development, &chain, &key)
        }
    }
}

/// The certificates of authorities in a PEM file.
///
/// # Errors
/// [`CertificateError`] when the file is missing or malformed, or when one of them cannot be a trust anchor.
pub fn authorities(path: &Path) -> Result<Authorities, CertificateError> {
    let (first, others) = certificates(path)?;
    let all = std::iter::once(first).chain(others);
    Authorities::new(all.map(|certificate| certificate.to_vec()).collect()).map_err(|error| {
        CertificateError::Pem {
            path: path.to_owned(),
            problem: error.to_string(),
        }
    })
}

/// The first certificate in a PEM file, and all others.
fn certificates(
    path: &Path,
) -> Result<(CertificateDer<'static>, Vec<CertificateDer<'static>>), CertificateError> {
    let mut all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(path, "certificate", error))?
        .into_iter();
    match all.next() {
        Some(first) => Ok((first, all.collect())),
        None => Err(CertificateError::Pem {
            path: path.to_owned(),
            problem: "no certificate in it; expected a line `-----BEGIN CERTIFICATE-----`".into(),
        }),
    }
}

fn read(origin: Origin, chain: &Path, key: &Path) -> Result<Identity, CertificateError> {
    let (first, others) = certificates(chain)?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| pem_error(key, "private key", error))?;
    let names = names_of(&first);
    let der = std::iter::once(first)
        .chain(others)
        .map(|certificate| certificate.to_vec())
        .collect();
    let identity = Identity::new(origin, names, der, private.secret_der().to_vec());
    let clock = std::sync::Arc::new(rustls::time_provider::DefaultTimeProvider);
    match tls::server(&identity, tls::Options::default(), clock) {
        Ok(_) => Ok(identity),
        Err(error) => Err(CertificateError::Unusable {
            chain: chain.to_owned(),
            key: key.to_owned(),
            problem: error.to_string(),
        }),
    }
}

fn pem_error(path: &Path, kind: &str, error: rustls::pki_types::pem::Error) -> CertificateError {
    let path = path.to_owned();
    match error {
        rustls::pki_types::pem::Error::Io(error) => CertificateError::File { path, error },
        error => CertificateError::Pem {
            path,
            problem: format!("no {kind} in it: {error:?}"),
        },
    }
}

/// The DNS names and addresses that the certificate is for (RFC 5280, section 4.2.1.6).
fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(alternatives)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
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
    alternatives
        .value
        .general_names
        .iter()
        .filter_map(name)
        .collect()
}

fn is_current(identity: &Identity, kind: KeyKind, names: &[String]) -> bool {
    let Some(Ok((_, certificate))) = identity
        .chain
        .first()
        .map(|der| X509Certificate::from_der(der))
    else {
        return false;
    };
    let end = certificate.validity().not_after.timestamp();
    let latest = SystemTime::now() + RENEW_BEFORE;
    let needed = latest
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let algorithm = certificate.public_key().algorithm.algorithm.to_id_string();
    let expected = match kind {
        KeyKind::EcdsaP256 => "1.2.840.10045.2.1",
        KeyKind::Ed25519 => "1.3.101.112",
    };
    u64::try_from(end).is_ok_and(|end| end > needed)
        && algorithm == expected
        && names.iter().all(|name| identity.names.contains(name))
}

fn make(chain: &Path, key: &Path, kind: KeyKind, names: &[String]) -> Result<(), CertificateError> {
    let pair = KeyPair::generate_for(match kind {
        KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
    })?;
    let mut subjects = vec!["localhost".to_owned()];
    subjects.extend(names.iter().filter(|name| *name != "localhost").cloned());
    let mut params = CertificateParams::new(subjects)?;
    params
        .subject_alt_names
        .push(SanType::IpAddress([127, 0, 0, 1].into()));
    params
        .subject_alt_names
        .push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Selkie development certificate");
    // A day's grace for a guest whose clock is behind.
    params.not_before = (SystemTime::now() - Duration::from_secs(24 * 3600)).into();
    params.not_after = (SystemTime::now() + DEVELOPMENT_VALIDITY).into();
    let certificate = params.self_signed(&pair)?;
    write(chain, &certificate.pem(), 0o644)?;
    write(key, &pair.serialize_pem(), 0o600)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let failed = |error| CertificateError::File {
        path: path.to_owned(),
        error,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // A new file each time, so that the mode is right from its first byte on.
    if path.exists() {
        fs::remove_file(path).map_err(failed)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_development_certificate_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["selkie.test".to_owned()];
        let first = development(folder.path(), KeyKind::EcdsaP256, &names).unwrap();
        assert_eq!(
            first.names,
            ["localhost", "selkie.test", "127.0.0.1", "::1"]
        );
        let mode = fs::metadata(folder.path().join("key.pem"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(development(folder.path(), KeyKind::EcdsaP256, &names).unwrap() == first);
    }

    #[test]
    fn it_is_made_anew_for_another_key_or_name_and_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let first = development(folder.path(), KeyKind::EcdsaP256, &[]).unwrap();
        let second = development(folder.path(), KeyKind::Ed25519, &[]).unwrap();
        assert!(first != second);
        let third = development(folder.path(), KeyKind::Ed25519, &["a.test".into()]).unwrap();
        assert!(second != third);
        fs::write(folder.path().join("key.pem"), "nonsense").unwrap();
        assert!(development(folder.path(), KeyKind::Ed25519, &[]).unwrap() != third);
    }

    #[test]
    fn wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (
            folder.path().join("chain.pem"),
            folder.path().join("other.pem"),
        );
        let error = from_files(&chain, &key).unwrap_err().to_string();
        assert!(
            error.contains("chain.pem") && error.contains("No such file"),
            "{error}"
        );
        fs::write(&chain, "no PEM").unwrap();
        let error = from_files(&chain, &key).unwrap_err().to_string();
        assert!(error.contains("-----BEGIN CERTIFICATE-----"), "{error}");
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        development(&one, KeyKind::EcdsaP256, &[]).unwrap();
        development(&two, KeyKind::EcdsaP256, &[]).unwrap();
        let error = from_files(&one.join("certificate.pem"), &two.join("key.pem")).unwrap_err();
        assert!(
            matches!(error, CertificateError::Unusable { .. }),
            "{error}"
        );
    }
}
