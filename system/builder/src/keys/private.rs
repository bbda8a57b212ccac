//! Private keys, in the forms that tools write them, as a vault reads them.
//!
//! A vault (with ring) reads PKCS#8 (RFC 5958) and, for RSA, PKCS#1 (RFC 8017, appendix A.1.2). An elliptic curve's key must
//! have its public key in it, which the standards leave open; where it is left out, it is taken from the certificate.

use std::path::Path;

use pkcs8::der::asn1::{AnyRef, ObjectIdentifier};
use pkcs8::der::{Decode, Encode};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfo};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use super::KeyFileError;
use super::algorithm::{self, Public};
use super::pem::{self, Section};

/// Reads the private key of a PEM file, for a certificate with this public key.
///
/// # Errors
/// [`KeyFileError`]: there is no key or more than one, or it is encrypted, or of a kind that a vault does not sign with.
pub(super) fn read(path: &Path, public: &Public<'_>) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let sections = pem::sections(path)?;
    chosen(&sections, path)
        .and_then(|key| converted(key, &sections, public))
        .map_err(|problem| KeyFileError::Pem {
            path: path.to_owned(),
            problem,
        })
}

/// Returns the only private key among the sections; an encrypted one is an error.
fn chosen<'a>(sections: &'a [Section], path: &Path) -> Result<&'a Section, String> {
    let mut keys = sections.iter().filter(|section| section.is_private_key());
    let Some(key) = keys.next() else {
        return Err(format!(
            "no private key in it, but {}; expected a line `-----BEGIN PRIVATE KEY-----`",
            pem::listed(sections)
        ));
    };
    let more = keys.count();
    if more > 0 {
        return Err(format!(
            "there are {} private keys in it; leave the one that belongs to the certificate",
            more + 1
        ));
    }
    let file = pem::quoted(path);
    if key.encrypted {
        return Err(format!(
            "the private key is encrypted; `openssl pkey -in {file} -out decrypted.key` asks for the passphrase and decrypts it"
        ));
    }
    match key.label.as_str() {
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => Ok(key),
        "OPENSSH PRIVATE KEY" => Err(format!(
            "the private key is in OpenSSH's form; `ssh-keygen -p -m PKCS8 -f {file}` changes the file to PKCS#8"
        )),
        other => Err(format!(
            "it holds `{other}`, which no certificate of TLS is for; {}",
            algorithm::SUPPORTED
        )),
    }
}

fn converted(
    key: &Section,
    sections: &[Section],
    public: &Public<'_>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    match key.label.as_str() {
        "EC PRIVATE KEY" => {
            let before = sections
                .iter()
                .find(|section| section.label == "EC PARAMETERS");
            let given =
                before.and_then(|section| ObjectIdentifier::from_der(&section.contents).ok());
            sec1(&key.contents, given, public)
        }
        "RSA PRIVATE KEY" => {
            rsa(&key.contents)?;
            Ok(key.contents.clone())
        }
        _ => pkcs8(&key.contents, public),
    }
}

fn pkcs8(der: &[u8], public: &Public<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
    let info = PrivateKeyInfo::from_der(der).map_err(|error| damaged("PKCS#8", error))?;
    match info.algorithm.oid {
        algorithm::EC => {
            let curve = info.algorithm.parameters_oid().ok();
            sec1(info.private_key, curve, public)
        }
        algorithm::RSA => {
            rsa(info.private_key)?;
            Ok(der.to_vec().into())
        }
        algorithm::ED25519 => Ok(der.to_vec().into()),
        other => Err(algorithm::unsupported("the private key", other)),
    }
}

/// Checks that a vault signs with an RSA key of this size.
fn rsa(der: &[u8]) -> Result<(), String> {
    let key = pkcs1::RsaPrivateKey::from_der(der).map_err(|error| damaged("PKCS#1", error))?;
    algorithm::rsa_size("the private key", key.modulus.as_bytes())
}

/// Converts a key on a curve (SEC 1, appendix C.4; RFC 5915) to PKCS#8. `given` is the curve that is named outside of
/// the key.
fn sec1(
    der: &[u8],
    given: Option<ObjectIdentifier>,
    public: &Public<'_>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let key = EcPrivateKey::from_der(der).map_err(|error| {
        format!(
            "{}; if its curve is written out, `openssl ec -in FILE -param_enc named_curve -out named.key` names it",
            damaged("SEC 1", error)
        )
    })?;
    let named = key.parameters.and_then(EcParameters::named_curve);
    let curve = named.or(given).or(public.curve);
    let curve = curve.ok_or("the private key does not say on which curve it is")?;
    let length = algorithm::scalar_length(curve)
        .ok_or_else(|| algorithm::unsupported("the private key", curve))?;
    // Some tools leave out leading zeros.
    let digits = key.private_key;
    let Some(missing) = length.checked_sub(digits.len()) else {
        return Err(format!(
            "the private key has {} bytes, more than its curve",
            digits.len()
        ));
    };
    let mut scalar = Zeroizing::new(vec![0; length]);
    scalar[missing..].copy_from_slice(digits);
    let whole = EcPrivateKey {
        private_key: &scalar,
        parameters: None,
        public_key: key.public_key.or(public.key),
    };
    let encoded = |error| damaged("SEC 1", error);
    let inner = Zeroizing::new(whole.to_der().map_err(encoded)?);
    let algorithm = AlgorithmIdentifierRef {
        oid: algorithm::EC,
        parameters: Some(AnyRef::from(&curve)),
    };
    let outer = PrivateKeyInfo::new(algorithm, &inner).to_der();
    Ok(outer.map_err(encoded)?.into())
}

fn damaged(form: &str, error: pkcs8::der::Error) -> String {
    format!("the private key is damaged: not {form} ({error})")
}
