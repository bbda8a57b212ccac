//! One private key.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use channel::CallError;
use channel::sign::{KeyId, SignError};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding,
};
use zeroize::Zeroizing;

use crate::{KeyError, Kind};

/// A signature scheme of TLS (RFC 8446, section 4.2.3) that the vault knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the RFC")]
pub enum Scheme {
    EcdsaSecp256r1Sha256 = 0x0403,
    EcdsaSecp384r1Sha384 = 0x0503,
    Ed25519 = 0x0807,
    RsaPssRsaeSha256 = 0x0804,
    RsaPssRsaeSha384 = 0x0805,
    RsaPssRsaeSha512 = 0x0806,
    RsaPkcs1Sha256 = 0x0401,
    RsaPkcs1Sha384 = 0x0501,
    RsaPkcs1Sha512 = 0x0601,
}

impl Scheme {
    /// All schemes with their names in the RFC; for each kind of key the preferred one first.
    pub const ALL: [(&str, Self); 9] = [
        ("ecdsa_secp256r1_sha256", Self::EcdsaSecp256r1Sha256),
        ("ecdsa_secp384r1_sha384", Self::EcdsaSecp384r1Sha384),
        ("ed25519", Self::Ed25519),
        ("rsa_pss_rsae_sha256", Self::RsaPssRsaeSha256),
        ("rsa_pss_rsae_sha384", Self::RsaPssRsaeSha384),
        ("rsa_pss_rsae_sha512", Self::RsaPssRsaeSha512),
        ("rsa_pkcs1_sha256", Self::RsaPkcs1Sha256),
        ("rsa_pkcs1_sha384", Self::RsaPkcs1Sha384),
        ("rsa_pkcs1_sha512", Self::RsaPkcs1Sha512),
    ];

    /// The scheme of this name in the RFC.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|&(_, scheme)| scheme)
    }

    /// The scheme with this number in TLS's registry.
    pub fn numbered(number: u16) -> Option<Self> {
        let mut all = Self::ALL.into_iter().map(|(_, scheme)| scheme);
        all.find(|scheme| scheme.number() == number)
    }

    /// Its number in TLS's registry.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// Whether TLS 1.3 allows it in CertificateVerify: PKCS#1 v1.5 it does not (RFC 8446, section 4.4.3).
    pub fn in_tls13(self) -> bool {
        !matches!(
            self,
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512
        )
    }

    fn rsa(self) -> Option<&'static dyn RsaEncoding> {
        Some(match self {
            Self::RsaPssRsaeSha256 => &signature::RSA_PSS_SHA256,
            Self::RsaPssRsaeSha384 => &signature::RSA_PSS_SHA384,
            Self::RsaPssRsaeSha512 => &signature::RSA_PSS_SHA512,
            Self::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
            Self::RsaPkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
            Self::RsaPkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
            _ => return None,
        })
    }
}

/// A key pair. It lies in the heap, so that a key that moves leaves no copies of what is secret.
pub(crate) struct Key {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    EcdsaP256(Box<EcdsaKeyPair>),
    EcdsaP384(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Rsa(Box<rsa::KeyPair>),
}

impl Key {
    /// A new key.
    pub(crate) fn made(kind: Kind) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm| EcdsaKeyPair::generate_pkcs8(algorithm, &random);
        let encoded = match kind {
            Kind::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Kind::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Kind::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
        };
        let encoded = encoded.map_err(|_| KeyError::NoRandomness)?;
        // ring's document is not wiped when it is dropped, and lies in a frame that is wiped with its stack only later.
        let encoded = Zeroizing::new(encoded.as_ref().to_vec());
        Self::from_der(&encoded)
    }

    /// The key in PKCS#8 (RFC 5958) or PKCS#1 (RFC 8017, appendix A.1.2) form.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, der, &random).map(Box::new)
        };
        let pair = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(Pair::EcdsaP256)
            .or_else(|_| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Pair::EcdsaP384))
            .or_else(|_| {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
                pair.map(|pair| Pair::Ed25519(Box::new(pair)))
            })
            .or_else(|_| {
                let pair = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
                pair.map(|pair| Pair::Rsa(Box::new(pair)))
            })
            .map_err(|_| KeyError::Malformed)?;
        Ok(Self { pair, random })
    }

    /// The public key as it lies in a certificate's bit string (RFC 5480, RFC 8410, RFC 8017).
    pub(crate) fn public(&self) -> &[u8] {
        match &self.pair {
            Pair::EcdsaP256(pair) | Pair::EcdsaP384(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    pub(crate) fn id(&self) -> KeyId {
        let hash = digest(&SHA256, self.public());
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_ref()[..8]);
        KeyId(u64::from_le_bytes(id))
    }

    /// The schemes that this key can sign in, preferred first.
    pub(crate) fn schemes(&self) -> impl Iterator<Item = Scheme> {
        let all = Scheme::ALL.into_iter().map(|(_, scheme)| scheme);
        all.filter(|scheme| match self.pair {
            Pair::EcdsaP256(_) => *scheme == Scheme::EcdsaSecp256r1Sha256,
            Pair::EcdsaP384(_) => *scheme == Scheme::EcdsaSecp384r1Sha384,
            Pair::Ed25519(_) => *scheme == Scheme::Ed25519,
            Pair::Rsa(_) => scheme.rsa().is_some(),
        })
    }

    /// A signature, in constant time as far as the key is concerned: that is ring's promise.
    pub(crate) fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let unavailable = SignError::Call(CallError::Unavailable);
        match (&self.pair, scheme) {
            (Pair::EcdsaP256(pair), Scheme::EcdsaSecp256r1Sha256)
            | (Pair::EcdsaP384(pair), Scheme::EcdsaSecp384r1Sha384) => {
                let signature = pair.sign(&self.random, message);
                Ok(signature.map_err(|_| unavailable)?.as_ref().to_vec())
            }
            (Pair::Ed25519(pair), Scheme::Ed25519) => Ok(pair.sign(message).as_ref().to_vec()),
            (Pair::Rsa(pair), scheme) => {
                let encoding = scheme.rsa().ok_or(SignError::SchemeRefused)?;
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &self.random, message, &mut signature)
                    .map_err(|_| unavailable)?;
                Ok(signature)
            }
            _ => Err(SignError::SchemeRefused),
        }
    }
}
