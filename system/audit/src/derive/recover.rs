//! A private key that nobody outside knows, taken from the memory of whoever holds it.
//!
//! A key that a system made for itself is to be searched for as well. Its holder's memory has it in the form that ring
//! computes with, and the certificate says which of all bytes there it is.

use num_bigint::BigUint;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::private_key::{P256, P384, order, scalar_forms};
use crate::Secret;

/// Windows with fewer different bytes are no scalar: the chance that one is has 13 zeros behind the point.
const MIN_DIFFERENT: usize = 12;

/// ring aligns its words.
const STEP: usize = 8;

/// The public key of a certificate.
pub(crate) struct PublicKey {
    algorithm: &'static EcdsaSigningAlgorithm,
    order: BigUint,
    /// 2^(8·bytes) inverted modulo the order.
    inverse: BigUint,
    /// Length of a scalar in bytes.
    bytes: usize,
    point: Vec<u8>,
}

impl PublicKey {
    /// The key of a certificate in DER; `None` unless it is for ECDSA on P-256 or P-384.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let key = certificate.public_key();
        let curve = key
            .algorithm
            .parameters
            .as_ref()?
            .as_oid()
            .ok()?
            .to_id_string();
        let (curve, algorithm, bytes) = match curve {
            curve if curve == P256.to_string() => (P256, &ECDSA_P256_SHA256_ASN1_SIGNING, 32),
            curve if curve == P384.to_string() => (P384, &ECDSA_P384_SHA384_ASN1_SIGNING, 48),
            _ => return None,
        };
        let order = order(curve)?;
        let radix: BigUint = (BigUint::from(1u8) << (8 * bytes)) % &order;
        Some(Self {
            algorithm,
            // The order is a prime.
            inverse: radix.modpow(&(&order - 2u8), &order),
            order,
            bytes,
            point: key.subject_public_key.data.to_vec(),
        })
    }

    /// The forms of the private key, if it is in this memory.
    pub(crate) fn private_key(&self, memory: &[u8]) -> Option<Vec<Secret>> {
        let last = (memory.len() + 1).checked_sub(self.bytes)?;
        (0..last)
            .step_by(STEP)
            .map(|at| &memory[at..at + self.bytes])
            .filter(|window| different(window) >= MIN_DIFFERENT)
            .find_map(|window| self.scalar(window))
            .map(|scalar| scalar_forms(&scalar, &self.order))
    }

    /// The scalar whose Montgomery form this is, if it is the private key.
    fn scalar(&self, window: &[u8]) -> Option<Vec<u8>> {
        let form = BigUint::from_bytes_le(window);
        if form >= self.order {
            return None;
        }
        let digits = (form * &self.inverse % &self.order).to_bytes_be();
        let mut scalar = vec![0; self.bytes - digits.len()];
        scalar.extend(digits);
        // ring compares the public key with the one that belongs to the scalar.
        EcdsaKeyPair::from_private_key_and_public_key(
            self.algorithm,
            &scalar,
            &self.point,
            &SystemRandom::new(),
        )
        .is_ok()
        .then_some(scalar)
    }
}

fn different(window: &[u8]) -> usize {
    let mut seen = [false; 256];
    window
        .iter()
        .for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    fn certificate(key: &KeyPair) -> Vec<u8> {
        let parameters = CertificateParams::new(vec!["localhost".into()]).unwrap();
        parameters.self_signed(key).unwrap().der().to_vec()
    }

    #[test]
    fn the_key_of_a_certificate_is_found_in_its_holders_memory() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let forms = super::super::private_key::forms(&der).unwrap();
            let form = forms
                .iter()
                .find(|form| form.kind == Kind::PrivateKeyForm)
                .unwrap();
            let mut memory = vec![0xa5; 4096];
            memory[800..800 + form.bytes.len()].copy_from_slice(&form.bytes);
            let public = PublicKey::of(&certificate(&key)).unwrap();
            assert_eq!(public.private_key(&memory), Some(forms));
            // Somebody else's key is not it.
            let other = PublicKey::of(&certificate(&KeyPair::generate_for(algorithm).unwrap()));
            assert_eq!(other.unwrap().private_key(&memory), None);
        }
    }

    #[test]
    fn other_certificates_have_no_such_key() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert!(PublicKey::of(&certificate(&key)).is_none());
        assert!(PublicKey::of(b"no certificate").is_none());
    }
}
