//! Keys that nobody outside knows, taken from the memory of whoever holds them.
//!
//! A private key that a system made for itself is to be searched for as well. Its holder's memory has it in the form that ring
//! computes with, and the certificate says which of all bytes there it is.
//! The key that a system seals its session tickets with is known by opening one of them.

use num_bigint::BigUint;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use rustls::SignatureAlgorithm;

use super::private_key::{EC, ED25519, P256, P384, RSA, order, scalar_forms};
use crate::{Kind, Secret};

/// The kind of key that a certificate in DER is for; `None` for one that Selkie does not use.
pub(crate) fn algorithm(certificate: &[u8]) -> Option<SignatureAlgorithm> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let kind = certificate.public_key().algorithm.algorithm.to_id_string();
    match kind {
        kind if kind == RSA.to_string() => Some(SignatureAlgorithm::RSA),
        kind if kind == EC.to_string() => Some(SignatureAlgorithm::ECDSA),
        kind if kind == ED25519.to_string() => Some(SignatureAlgorithm::ED25519),
        _ => None,
    }
}

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

/// A ticket: the name of its key, a nonce, and what is sealed with ChaCha20-Poly1305, the name being authenticated too
/// (`components/tls/src/tickets.rs`).
const TICKET_KEY: usize = 32;
const TICKET_NAME: usize = 16;

/// The key lies beside its name: at most so many bytes before or behind it.
const NEAR: usize = 128;

/// The key that this ticket was sealed with, if it is in this memory.
pub(crate) fn ticket_key(memory: &[u8], ticket: &[u8]) -> Option<Secret> {
    let name = ticket.get(..TICKET_NAME)?;
    let places = (0..memory.len()).filter(|at| memory[*at..].starts_with(name));
    let near = places.flat_map(|at| {
        let part = &memory[at.saturating_sub(NEAR)..memory.len().min(at + NEAR)];
        part.windows(TICKET_KEY)
    });
    near.filter(|window| different(window) >= MIN_DIFFERENT)
        .find(|window| opens(window, ticket).is_some())
        .map(|key| Secret::new(Kind::TicketKey, "ticket key", key))
}

fn opens(key: &[u8], ticket: &[u8]) -> Option<()> {
    let (name, rest) = ticket.split_at_checked(TICKET_NAME)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let nonce = Nonce::assume_unique_for_key(*nonce);
    key.open_in_place(nonce, Aad::from(name), &mut sealed.to_vec())
        .map(drop)
        .ok()
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
    fn the_key_of_a_ticket_is_found_beside_its_name() {
        let key: Vec<u8> = (0..32).map(|byte: u8| byte.wrapping_mul(37)).collect();
        let (name, nonce) = ([7; TICKET_NAME], [9; NONCE_LEN]);
        let mut sealed = b"a session".to_vec();
        let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).unwrap());
        let nonce_once = Nonce::assume_unique_for_key(nonce);
        cipher
            .seal_in_place_append_tag(nonce_once, Aad::from(name), &mut sealed)
            .unwrap();
        let ticket = [&name[..], &nonce, &sealed].concat();
        for at in [0, 501, 4096 - 48] {
            let mut memory = vec![0xa5; 4096];
            memory[at..at + 16].copy_from_slice(&name);
            memory[at + 16..at + 48].copy_from_slice(&key);
            let found = ticket_key(&memory, &ticket).unwrap();
            assert_eq!((found.kind, &found.bytes), (Kind::TicketKey, &key));
            memory[at + 40] ^= 1;
            assert_eq!(ticket_key(&memory, &ticket), None);
        }
        assert_eq!(ticket_key(&[0; 4096], &ticket[..8]), None);
    }

    #[test]
    fn other_certificates_have_no_such_key() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert!(PublicKey::of(&certificate(&key)).is_none());
        assert_eq!(
            algorithm(&certificate(&key)),
            Some(SignatureAlgorithm::ED25519)
        );
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(
            algorithm(&certificate(&key)),
            Some(SignatureAlgorithm::ECDSA)
        );
        assert_eq!(algorithm(b"no certificate"), None);
        assert!(PublicKey::of(b"no certificate").is_none());
    }
}
