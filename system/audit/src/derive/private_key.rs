//! A private key and the forms that ring computes with.

use num_bigint::BigUint;
use pkcs8::ObjectIdentifier;
use rustls::pki_types::PrivateKeyDer;
use sha2_host::{Digest, Sha512};

use crate::{Kind, Secret};

/// Object identifiers (RFC 5480, section 2.1; RFC 8410, section 3; RFC 8017, appendix C).
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The orders of the groups (FIPS 186-4, appendix D.1.2).
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384_ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
                          581a0db248b0a77aecec196accc52973";

/// All forms of a private key; `None` for one of a kind that Selkie does not use.
pub(crate) fn forms(key: &PrivateKeyDer<'_>) -> Option<Vec<Secret>> {
    match key {
        PrivateKeyDer::Pkcs8(der) => {
            let info = pkcs8::PrivateKeyInfo::try_from(der.secret_pkcs8_der()).ok()?;
            match info.algorithm.oid {
                EC => elliptic(info.private_key, info.algorithm.parameters_oid().ok()),
                ED25519 => ed25519(info.private_key),
                RSA => rsa(info.private_key),
                _ => None,
            }
        }
        PrivateKeyDer::Sec1(der) => elliptic(der.secret_sec1_der(), None),
        PrivateKeyDer::Pkcs1(der) => rsa(der.secret_pkcs1_der()),
        _ => None,
    }
}

/// RFC 5915.
fn elliptic(der: &[u8], curve: Option<ObjectIdentifier>) -> Option<Vec<Secret>> {
    let key = sec1::EcPrivateKey::try_from(der).ok()?;
    let named = || {
        key.parameters
            .and_then(|parameters| parameters.named_curve())
    };
    let order = order(curve.or_else(named)?)?;
    Some(scalar_forms(key.private_key, &order))
}

/// The order of the group that a curve has.
pub(super) fn order(curve: ObjectIdentifier) -> Option<BigUint> {
    let order = match curve {
        P256 => P256_ORDER,
        P384 => P384_ORDER,
        _ => return None,
    };
    BigUint::parse_bytes(order.as_bytes(), 16)
}

/// A scalar, big-endian, and what ring makes of it.
pub(super) fn scalar_forms(scalar: &[u8], order: &BigUint) -> Vec<Secret> {
    let number = BigUint::from_bytes_be(scalar);
    vec![
        Secret::new(Kind::PrivateKey, "ECDSA scalar", scalar),
        montgomery("ECDSA scalar", &number, order, scalar.len()),
    ]
}

/// The key is an octet string within an octet string (RFC 8410, section 7).
fn ed25519(der: &[u8]) -> Option<Vec<Secret>> {
    let [0x04, 32, seed @ ..] = der else {
        return None;
    };
    Some(seed_forms(seed))
}

/// A seed, and what it is expanded to (RFC 8032, section 5.1.5).
pub(super) fn seed_forms(seed: &[u8]) -> Vec<Secret> {
    let mut expanded = Sha512::digest(seed);
    let unclamped = expanded[..32].to_vec();
    expanded[0] &= 0xf8;
    expanded[31] = expanded[31] & 0x7f | 0x40;
    vec![
        Secret::new(Kind::PrivateKey, "Ed25519 seed", seed),
        Secret::new(Kind::PrivateKeyForm, "Ed25519 scalar", &expanded[..32]),
        Secret::new(
            Kind::PrivateKeyForm,
            "Ed25519 scalar before clamping",
            unclamped,
        ),
        Secret::new(Kind::PrivateKeyForm, "Ed25519 prefix", &expanded[32..]),
    ]
}

/// RFC 8017, appendix A.1.2.
fn rsa(der: &[u8]) -> Option<Vec<Secret>> {
    let key = pkcs1::RsaPrivateKey::try_from(der).ok()?;
    let parts = [
        ("RSA d", key.private_exponent),
        ("RSA p", key.prime1),
        ("RSA q", key.prime2),
        ("RSA dp", key.exponent1),
        ("RSA dq", key.exponent2),
        ("RSA qinv", key.coefficient),
    ];
    let mut secrets: Vec<Secret> = parts
        .iter()
        .map(|(name, number)| Secret::new(Kind::PrivateKey, *name, number.as_bytes()))
        .collect();
    let (p, q) = (key.prime1.as_bytes(), key.prime2.as_bytes());
    let inverse = BigUint::from_bytes_be(key.coefficient.as_bytes());
    for (name, prime) in [("RSA p", p), ("RSA q", q)] {
        let (modulus, bytes) = (BigUint::from_bytes_be(prime), prime.len());
        let r = BigUint::from(1u8) << (8 * bytes);
        // ring keeps the last one with each prime, and makes it from the others.
        for (power, exponent) in [("R", 1u8), ("R²", 2), ("R³", 3)] {
            let number = r.modpow(&BigUint::from(exponent), &modulus);
            secrets.push(little_endian(
                &format!("{power} mod {name}"),
                &number,
                bytes,
            ));
        }
    }
    secrets.push(montgomery(
        "RSA qinv",
        &inverse,
        &BigUint::from_bytes_be(p),
        p.len(),
    ));
    Some(secrets)
}

/// The number times 2^(8·bytes), modulo the modulus: little-endian words.
fn montgomery(name: &str, number: &BigUint, modulus: &BigUint, bytes: usize) -> Secret {
    let product = (number << (8 * bytes)) % modulus;
    little_endian(&format!("{name}, Montgomery form"), &product, bytes)
}

fn little_endian(name: &str, number: &BigUint, bytes: usize) -> Secret {
    let mut limbs = number.to_bytes_le();
    limbs.resize(bytes, 0);
    Secret::new(Kind::PrivateKeyForm, name, limbs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use rustls::pki_types::PrivatePkcs8KeyDer;

    fn names(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<(String, usize)> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let forms = forms(&der).unwrap();
        forms
            .into_iter()
            .map(|form| (form.name, form.bytes.len()))
            .collect()
    }

    #[test]
    fn keys_of_all_kinds_are_taken_apart() {
        let scalar = |length| {
            let names = ["ECDSA scalar", "ECDSA scalar, Montgomery form"];
            names.map(|name| (name.to_string(), length)).to_vec()
        };
        assert_eq!(names(&PKCS_ECDSA_P256_SHA256), scalar(32));
        assert_eq!(names(&PKCS_ECDSA_P384_SHA384), scalar(48));
        let ed25519 = names(&PKCS_ED25519);
        assert_eq!(ed25519.len(), 4);
        assert!(ed25519.iter().all(|(_, length)| *length == 32));
    }

    /// 7 · 2^256 mod 2^256 − 1 is 7.
    #[test]
    fn montgomery_forms_are_little_endian() {
        let modulus = (BigUint::from(1u8) << 256) - 1u8;
        let form = montgomery("x", &BigUint::from(7u8), &modulus, 32);
        assert_eq!((form.bytes[0], form.bytes.len()), (7, 32));
        assert!(form.bytes[1..].iter().all(|byte| *byte == 0));
    }
}
