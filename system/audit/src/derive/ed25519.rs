//! An Ed25519 key that nobody outside knows (RFC 8032, section 5.1), taken from the memory of a running system.
//!
//! Its holder signs with a scalar and a prefix, which the seed was expanded to. The public key tells which bytes are the scalar.
//! The prefix makes the nonce of a signature, and who has the scalar can compute a signature's nonce: so one signature tells which
//! bytes are the prefix. Both together tell which bytes are the seed, wherever one was left.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use sha2_host::{Digest, Sha512};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::private_key::{ED25519, seed_forms};
use crate::{Kind, Secret, Signed};

/// Length of a scalar, a prefix, a seed and an encoded point in bytes.
const BYTES: usize = 32;

/// Windows with fewer different bytes are neither: the chance that one is has nine zeros behind the point.
const MIN_DIFFERENT: usize = 20;

/// The public key of a certificate.
pub(crate) struct PublicKey([u8; BYTES]);

/// What signs.
pub(crate) struct Expanded {
    scalar: [u8; BYTES],
    prefix: [u8; BYTES],
    /// The nonce of the signature by which the prefix is known. With it the scalar follows from the signature.
    nonce: [u8; BYTES],
}

impl PublicKey {
    /// The key of a certificate in DER; `None` unless it is for Ed25519 (RFC 8410, section 4).
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let key = certificate.public_key();
        if key.algorithm.algorithm.to_id_string() != ED25519.to_string() {
            return None;
        }
        let point: &[u8] = &key.subject_public_key.data;
        point.try_into().ok().map(Self)
    }

    /// The private key, if it is in this memory. The signature is one of the key's.
    pub(crate) fn expanded(&self, memory: &[Vec<u8>], signed: &Signed) -> Option<Expanded> {
        let find = |wanted: &dyn Fn(&[u8; BYTES]) -> bool| {
            let mut all = memory.iter().flat_map(|part| windows(part));
            all.find_map(|(_, window)| wanted(window).then_some(*window))
        };
        let scalar = find(&|window| self.is_of(window))?;
        let nonce = self.nonce(&scalar, signed)?;
        let prefix = find(&|window| nonce_of(window, &signed.message) == nonce)?;
        Some(Expanded {
            scalar,
            prefix,
            nonce: nonce.to_bytes(),
        })
    }

    /// Whether this is the scalar. It has some bits set and some cleared (RFC 8032, section 5.1.5), which saves most of the work.
    fn is_of(&self, scalar: &[u8; BYTES]) -> bool {
        let clamped = scalar[0] & 7 == 0 && scalar[BYTES - 1] & 0xc0 == 0x40;
        let point = || EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(*scalar));
        clamped && point().compress().to_bytes() == self.0
    }

    /// The nonce of a signature by this scalar: `S = r + k s`, for r (RFC 8032, section 5.1.6).
    fn nonce(&self, scalar: &[u8; BYTES], signed: &Signed) -> Option<Scalar> {
        let (point, sum) = signed.signature.split_first_chunk::<BYTES>()?;
        let sum: [u8; BYTES] = sum.try_into().ok()?;
        let hash = Sha512::new()
            .chain_update(point)
            .chain_update(self.0)
            .chain_update(&signed.message);
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let scalar = Scalar::from_bytes_mod_order(*scalar);
        let nonce = Scalar::from_bytes_mod_order(sum) - challenge * scalar;
        let belongs = EdwardsPoint::mul_base(&nonce).compress() == CompressedEdwardsY(*point);
        belongs.then_some(nonce)
    }
}

/// RFC 8032, section 5.1.6, step 2.
fn nonce_of(prefix: &[u8; BYTES], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(prefix).chain_update(message);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

impl Expanded {
    /// All forms of the key; with the seed, if it was left in one of these parts of memory, which begin at multiples of 8.
    pub(crate) fn forms<'a>(&self, memory: impl IntoIterator<Item = &'a [u8]>) -> Vec<Secret> {
        let form = |name, bytes: &[u8]| Secret::new(Kind::PrivateKeyForm, name, bytes);
        let mut forms = match memory.into_iter().find_map(|part| self.seed(part)) {
            Some(seed) => seed_forms(&seed),
            None => vec![
                form("Ed25519 scalar", &self.scalar),
                form("Ed25519 prefix", &self.prefix),
            ],
        };
        forms.push(form("Ed25519 nonce of a signature", &self.nonce));
        forms
    }

    /// As it is at any address, or as SHA-512 on a little-endian machine reads it: words of 8 bytes backwards.
    fn seed(&self, memory: &[u8]) -> Option<[u8; BYTES]> {
        windows(memory).find_map(|(at, window)| {
            if self.is_from(window) {
                return Some(*window);
            }
            let mut turned = *window;
            turned.chunks_mut(8).for_each(<[u8]>::reverse);
            (at.is_multiple_of(8) && self.is_from(&turned)).then_some(turned)
        })
    }

    /// Whether the key was expanded from this. Clamping changes the first and the last byte of the scalar.
    fn is_from(&self, seed: &[u8; BYTES]) -> bool {
        let hash = Sha512::digest(seed);
        let (scalar, prefix) = hash.split_at(BYTES);
        prefix == self.prefix && scalar[1..BYTES - 1] == self.scalar[1..BYTES - 1]
    }
}

/// The windows of a memory that could be random, each with its offset.
fn windows(memory: &[u8]) -> impl Iterator<Item = (usize, &[u8; BYTES])> {
    let mut bytes = Bytes::default();
    let first = memory.iter().take(BYTES - 1);
    first.for_each(|byte| bytes.add(*byte));
    let random = move |(_, window): &(usize, &[u8; BYTES])| {
        bytes.add(window[BYTES - 1]);
        let random = bytes.different >= MIN_DIFFERENT;
        bytes.remove(window[0]);
        random
    };
    let windows = memory.windows(BYTES).enumerate();
    let windows = windows.filter_map(|(at, window)| Some((at, window.first_chunk()?)));
    windows.filter(random)
}

/// How often each byte is in a window.
struct Bytes {
    counts: [u8; 256],
    different: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self {
            counts: [0; 256],
            different: 0,
        }
    }
}

impl Bytes {
    fn add(&mut self, byte: u8) {
        let count = &mut self.counts[usize::from(byte)];
        self.different += usize::from(*count == 0);
        *count += 1;
    }

    fn remove(&mut self, byte: u8) {
        let count = &mut self.counts[usize::from(byte)];
        *count -= 1;
        self.different -= usize::from(*count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
    use ring::signature::Ed25519KeyPair;

    const DOCUMENT_SEED: usize = 16;

    /// A key that ring made: its PKCS#8 document, its certificate, a signature, and the bytes of what ring signs with.
    struct Made {
        document: Vec<u8>,
        certificate: Vec<u8>,
        signed: Signed,
        expanded: Vec<u8>,
    }

    fn certificate(key: &KeyPair) -> Vec<u8> {
        let parameters = CertificateParams::new(vec!["localhost".into()]).unwrap();
        parameters.self_signed(key).unwrap().der().to_vec()
    }

    fn made() -> Made {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let document = key.serialize_der();
        let pair = Ed25519KeyPair::from_pkcs8(&document).unwrap();
        let message = b"what a handshake signs".to_vec();
        let forms = seed_forms(&document[DOCUMENT_SEED..][..BYTES]);
        let bytes = |name: &str| forms.iter().find(|form| form.name == name).unwrap();
        let parts = ["Ed25519 scalar", "Ed25519 prefix"];
        Made {
            certificate: certificate(&key),
            signed: Signed {
                signature: pair.sign(&message).as_ref().to_vec(),
                message,
            },
            expanded: parts.map(|name| bytes(name).bytes.clone()).concat(),
            document,
        }
    }

    fn names(forms: &[Secret]) -> Vec<&str> {
        forms.iter().map(|form| form.name.as_str()).collect()
    }

    #[test]
    fn the_key_of_a_certificate_is_found_in_its_holders_memory() {
        let made = made();
        let public = PublicKey::of(&made.certificate).unwrap();
        for at in [0, 501, 4096 - 64] {
            let mut memory = vec![0xa5; 4096];
            memory[at..at + 64].copy_from_slice(&made.expanded);
            let memory = [vec![0; 4096], memory];
            let expanded = public.expanded(&memory, &made.signed).unwrap();
            let forms = expanded.forms(memory.iter().map(Vec::as_slice));
            let without_seed = ["scalar", "prefix", "nonce of a signature"];
            let without_seed = without_seed.map(|name| format!("Ed25519 {name}"));
            assert_eq!(names(&forms), without_seed);
            assert_eq!(forms[0].bytes, made.expanded[..BYTES]);
            assert_eq!(forms[1].bytes, made.expanded[BYTES..]);
        }
        let mut memory = vec![0; 4096];
        // The key is wiped, or somebody else's, or the signature is.
        assert!(public.expanded(&[memory.clone()], &made.signed).is_none());
        let other = self::made();
        memory[800..864].copy_from_slice(&other.expanded);
        assert!(public.expanded(&[memory.clone()], &made.signed).is_none());
        memory[800..864].copy_from_slice(&made.expanded);
        assert!(public.expanded(&[memory.clone()], &other.signed).is_none());
        // Without the prefix nothing is known to be the key's.
        memory[840] ^= 1;
        assert!(public.expanded(&[memory], &made.signed).is_none());
    }

    #[test]
    fn a_seed_is_found_wherever_it_was_left() {
        let made = made();
        let public = PublicKey::of(&made.certificate).unwrap();
        let own = [made.expanded.clone()];
        let expanded = public.expanded(&own, &made.signed).unwrap();
        let turned: Vec<u8> = made.document[DOCUMENT_SEED..][..BYTES]
            .chunks(8)
            .flat_map(|word| word.iter().rev().copied())
            .collect();
        let seed = &made.document[DOCUMENT_SEED..][..BYTES];
        // In a document at an odd address, at the very end, and as SHA-512 reads it.
        for (at, bytes) in [
            (4097, made.document.as_slice()),
            (5000, seed),
            (1 << 14, seed),
            (8192, &turned),
        ] {
            let mut memory = vec![0; (1 << 14) + BYTES];
            memory[at..at + bytes.len()].copy_from_slice(bytes);
            let forms = expanded.forms([&[1, 2, 3][..], &memory]);
            assert_eq!(forms[0].name, "Ed25519 seed");
            assert_eq!(
                (forms[0].kind, &forms[0].bytes[..]),
                (Kind::PrivateKey, seed)
            );
            assert_eq!(forms.len(), 5);
            let first = at + bytes.len() / 2;
            memory[first] ^= 1;
            let forms = expanded.forms([&memory[..]]);
            assert_eq!(forms[0].name, "Ed25519 scalar", "at {at}");
        }
    }

    #[test]
    fn other_certificates_have_no_such_key() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(PublicKey::of(&certificate(&key)).is_none());
        assert!(PublicKey::of(b"no certificate").is_none());
    }
}
