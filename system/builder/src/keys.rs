//! PEM files: private keys for a vault's prefilled region, and authorities' certificates.
//!
//! A key in the image is for development: whoever has the image has the key.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tls::Authorities;
use vault::{Entry, Keyring, Scheme, Vault, VaultError};
use x509_parser::error::X509Error;
use x509_parser::extensions::SubjectAlternativeName;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

/// Why files make no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// A file cannot be read.
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
    /// The vault would refuse them.
    #[error("{} and {}: {problem}", chain.display(), key.display())]
    Unusable {
        /// The certificate file.
        chain: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What the vault says.
        problem: String,
    },
}

/// The key in two PEM files: the chain with the key's own certificate first, and the private key.
///
/// # Errors
/// [`KeyFileError`] when a file is missing or malformed, or when the two do not fit each other.
pub fn from_files(chain: &Path, key: &Path) -> Result<Entry, KeyFileError> {
    let certificates = read_chain(chain)?;
    let key = read_fitting_key(chain, &certificates, key)?;
    Ok(Entry::Prefilled {
        names: names_of(&certificates[0]),
        chain: certificates,
        key,
    })
}

/// The private key of a PEM file that these certificates are for. `chain` is the file that they come from.
///
/// # Errors
/// [`KeyFileError`] when the file is missing or malformed, or when a vault would not take the key with them.
pub fn read_fitting_key(
    chain: &Path,
    certificates: &[Vec<u8>],
    key: &Path,
) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let der = read_key(key)?;
    let entry = Entry::Prefilled {
        names: Vec::new(),
        chain: certificates.to_vec(),
        key: der.clone(),
    };
    match tried(&Keyring(vec![entry])) {
        Ok(()) => Ok(der),
        Err(error) => Err(KeyFileError::Unusable {
            chain: chain.to_owned(),
            key: key.to_owned(),
            problem: error.to_string(),
        }),
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

/// The certificates of a PEM file, in DER: a key's own, which is valid now, and behind each the one of who signed it.
///
/// # Errors
/// [`KeyFileError`] when the file is missing or malformed, or holds no such chain.
pub fn read_whole_chain(path: &Path) -> Result<Vec<Vec<u8>>, KeyFileError> {
    let wrong = |problem: String| KeyFileError::Pem {
        path: path.to_owned(),
        problem,
    };
    let chain = read_chain(path)?;
    let mut parsed: Vec<X509Certificate<'_>> = Vec::new();
    for (index, der) in chain.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => parsed.push(certificate),
            Err(error) => return Err(wrong(format!("certificate {}: {error}", index + 1))),
        }
    }
    let (first, validity) = (&parsed[0], parsed[0].validity());
    if !validity.is_valid() {
        let (from, to) = (validity.not_before, validity.not_after);
        let problem = format!("its first certificate is not valid now, but from {from} to {to}");
        return Err(wrong(problem));
    }
    if alternative_names(first).is_empty() {
        let problem = "its first certificate is for no DNS name or address (subjectAltName)";
        return Err(wrong(problem.into()));
    }
    for (index, pair) in parsed.windows(2).enumerate() {
        if !signed_by(&pair[0], &pair[1]) {
            let (number, next) = (index + 1, index + 2);
            return Err(wrong(format!(
                "it is no chain: certificate {number} is not signed by certificate {next}"
            )));
        }
    }
    Ok(chain)
}

/// Whether the names fit and the signature is right. A signature in a scheme that is not known here (that of an old
/// root's, say) is taken for right: clients judge it.
fn signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer() == issuer.subject()
        && matches!(
            certificate.verify_signature(Some(issuer.public_key())),
            Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm)
        )
}

/// The certificates of authorities in a PEM file.
///
/// # Errors
/// [`KeyFileError`] when the file is missing or malformed, or when one of them cannot be a trust anchor.
pub fn authorities(path: &Path) -> Result<Authorities, KeyFileError> {
    Authorities::new(read_chain(path)?).map_err(|error| KeyFileError::Pem {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

/// The certificates of a PEM file, in DER; at least one.
fn read_chain(path: &Path) -> Result<Vec<Vec<u8>>, KeyFileError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(path, "certificate", error))?;
    if certificates.is_empty() {
        return Err(KeyFileError::Pem {
            path: path.to_owned(),
            problem: "no certificate in it; expected a line `-----BEGIN CERTIFICATE-----`".into(),
        });
    }
    Ok(certificates.iter().map(|der| der.to_vec()).collect())
}

/// The private key of a PEM file in a form that the vault reads: PKCS#8 or PKCS#1.
fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    // A file that cannot be read is told apart from one with the wrong contents.
    fs::metadata(path).map_err(|error| KeyFileError::File {
        path: path.to_owned(),
        error,
    })?;
    match PrivateKeyDer::from_pem_file(path) {
        Ok(PrivateKeyDer::Sec1(_)) => Err(KeyFileError::Pem {
            path: path.to_owned(),
            problem: "the key is in SEC 1 form; `openssl pkcs8 -topk8 -nodes` makes PKCS#8 of it"
                .into(),
        }),
        Ok(key) => Ok(key.secret_der().to_vec().into()),
        Err(error) => Err(pem_error(path, "private key", error)),
    }
}

/// The DNS names and addresses that the certificate is for (RFC 5280, section 4.2.1.6).
pub fn names_of(certificate: &[u8]) -> Vec<String> {
    let parsed = X509Certificate::from_der(certificate);
    parsed.map_or_else(|_| Vec::new(), |(_, parsed)| alternative_names(&parsed))
}

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

fn pem_error(path: &Path, kind: &str, error: rustls::pki_types::pem::Error) -> KeyFileError {
    let path = path.to_owned();
    match error {
        rustls::pki_types::pem::Error::Io(error) => KeyFileError::File { path, error },
        error => KeyFileError::Pem {
            path,
            problem: format!("no {kind} in it: {error:?}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, pair: &rcgen::KeyPair, name: &str) -> (PathBuf, PathBuf) {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(pair).unwrap();
        let (chain, key) = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        );
        fs::write(&chain, certificate.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        (chain, key)
    }

    #[test]
    fn every_kind_of_key_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
        ] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let (chain, key) = files(folder.path(), &pair, "selkie.test");
            let Entry::Prefilled {
                ref chain,
                ref names,
                ..
            } = from_files(&chain, &key).unwrap()
            else {
                panic!("files make a prefilled key");
            };
            assert_eq!(
                (chain.len(), &names[..]),
                (1, &["selkie.test".to_owned()][..])
            );
        }
    }

    #[test]
    fn a_chain_is_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chain.pem");
        let pair = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = |name: &str| {
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params
        };
        let authority = rcgen::CertifiedIssuer::self_signed(params("authority.test"), pair());
        let authority = authority.unwrap();
        // Of the same name, but with another key.
        let impostor = params("authority.test").self_signed(&pair()).unwrap();
        let leaf = params("leaf.test").signed_by(&pair(), &authority).unwrap();
        let read = |certificates: &[&rcgen::Certificate]| {
            let text: String = certificates.iter().map(|one| one.pem()).collect();
            fs::write(&file, text).unwrap();
            read_whole_chain(&file).map_err(|error| error.to_string())
        };
        assert_eq!(read(&[&leaf, authority.as_ref()]).unwrap().len(), 2);
        assert_eq!(names_of(&read(&[&leaf]).unwrap()[0]), ["leaf.test"]);
        for wrong in [[authority.as_ref(), &leaf], [&leaf, &impostor]] {
            let error = read(&wrong).unwrap_err();
            assert!(error.contains("certificate 1 is not signed"), "{error}");
        }
        let nameless = rcgen::CertificateParams::default();
        let nameless = nameless.self_signed(&pair()).unwrap();
        assert!(read(&[&nameless]).unwrap_err().contains("subjectAltName"));
        let mut old = params("old.test");
        old.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let old = old.self_signed(&pair()).unwrap();
        assert!(read(&[&old]).unwrap_err().contains("not valid now"));
        fs::write(
            &file,
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        let error = read_whole_chain(&file).unwrap_err().to_string();
        assert!(error.contains("certificate 1: "), "{error}");
    }

    #[test]
    fn files_that_do_not_fit_are_explained() {
        let folder = tempfile::tempdir().unwrap();
        let pair = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let (chain, key) = files(folder.path(), &pair(), "one");
        let (_, other) = files(folder.path(), &pair(), "other");
        let said = |chain: &Path, key: &Path| from_files(chain, key).err().unwrap().to_string();
        assert!(said(&chain, &other).contains("is for another key"));
        assert!(said(&key, &key).contains("no certificate in it"));
        assert!(said(&chain, &chain).contains("no private key in it"));
        assert!(said(&chain, Path::new("/nowhere")).starts_with("/nowhere: "));
        fs::write(
            &key,
            "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n",
        )
        .unwrap();
        assert!(said(&chain, &key).contains("topk8"));
    }
}
