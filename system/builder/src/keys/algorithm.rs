//! The kinds of key that a vault signs with, and the names of others.

use pkcs8::der::asn1::ObjectIdentifier;
use x509_parser::prelude::X509Certificate;

/// The kinds that a vault signs with, for messages.
pub(super) const SUPPORTED: &str =
    "a vault signs with ECDSA on P-256 and P-384, Ed25519, and RSA with 2048 to 4096 bits";

/// `id-ecPublicKey` (RFC 5480, section 2.1.1).
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `rsaEncryption` (RFC 8017, appendix C).
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-Ed25519` (RFC 8410, section 3).
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// `secp256r1` (RFC 5480, section 2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// `secp384r1` (RFC 5480, section 2.1.1.1).
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Kinds of key and curves that tools offer and a vault does not sign with.
const OTHERS: [(&str, &str); 10] = [
    ("1.3.132.0.35", "P-521"),
    ("1.3.132.0.33", "P-224"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.101.113", "Ed448"),
    ("1.3.101.110", "X25519"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.113549.1.3.1", "Diffie-Hellman"),
];

/// The public key of a certificate.
pub(super) struct Public<'a> {
    /// The curve, if it is on one.
    pub curve: Option<ObjectIdentifier>,
    /// The point, if it is on a curve.
    pub key: Option<&'a [u8]>,
}

impl<'a> Public<'a> {
    pub fn of(certificate: &'a X509Certificate<'_>) -> Self {
        let public = certificate.public_key();
        let algorithm = &public.algorithm;
        let curve = || {
            let parameters = algorithm.parameters.as_ref()?.as_oid().ok()?;
            ObjectIdentifier::new(&parameters.to_id_string()).ok()
        };
        let on_curve = algorithm.algorithm.to_id_string() == EC.to_string();
        Self {
            curve: if on_curve { curve() } else { None },
            key: on_curve.then_some(&public.subject_public_key.data),
        }
    }
}

/// Bytes of a private key on a curve that a vault signs with.
pub(super) fn scalar_length(curve: ObjectIdentifier) -> Option<usize> {
    match curve {
        P256 => Some(32),
        P384 => Some(48),
        _ => None,
    }
}

/// Checks that a vault supports the public key algorithm of a certificate.
///
/// # Errors
/// The kind, and those that would be right.
pub(super) fn check(certificate: &X509Certificate<'_>) -> Result<(), String> {
    const WHAT: &str = "the first certificate's key";
    let public = certificate.public_key();
    let oid = ObjectIdentifier::new(&public.algorithm.algorithm.to_id_string());
    let oid = oid.map_err(|error| format!("{WHAT} is of no known kind: {error}"))?;
    match oid {
        ED25519 => Ok(()),
        EC => match Public::of(certificate).curve {
            Some(curve) if scalar_length(curve).is_some() => Ok(()),
            Some(curve) => Err(unsupported(WHAT, curve)),
            None => Err(format!("{WHAT} is on a curve without a name; {SUPPORTED}")),
        },
        RSA => match public.parsed() {
            Ok(x509_parser::public_key::PublicKey::RSA(key)) => rsa_size(WHAT, key.modulus),
            _ => Err(format!("{WHAT} is damaged")),
        },
        other => Err(unsupported(WHAT, other)),
    }
}

/// Checks the size of an RSA modulus, in bytes with the highest first.
///
/// # Errors
/// The size in bits, and those that would be right.
pub(super) fn rsa_size(what: &str, modulus: &[u8]) -> Result<(), String> {
    let start = modulus.iter().position(|byte| *byte != 0);
    let digits = &modulus[start.unwrap_or(modulus.len())..];
    let unused = digits
        .first()
        .map_or(0, |first| first.leading_zeros() as usize);
    let bits = digits.len() * 8 - unused;
    if (2048..=4096).contains(&bits) {
        Ok(())
    } else {
        Err(format!("{what} is RSA with {bits} bits; {SUPPORTED}"))
    }
}

/// Returns the message that a vault does not sign with a key of this kind or on this curve.
pub(super) fn unsupported(what: &str, oid: ObjectIdentifier) -> String {
    let text = oid.to_string();
    let name = OTHERS.iter().find(|(known, _)| *known == text);
    let name = name.map_or_else(
        || format!("of the kind {text}"),
        |(_, name)| (*name).to_owned(),
    );
    format!("{what} is {name}; {SUPPORTED}")
}
