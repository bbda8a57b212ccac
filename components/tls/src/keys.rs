//! A server's keys, which are in the vault: this protection domain knows certificates only.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use channel::CallError;
use channel::sign::{Content, KeyId, PublicKey, Role, Share, Sign, SignError, Transcript, covers};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// In front of the context string of TLS 1.3 (RFC 8446, section 4.4.3).
const PADDING: [u8; 64] = [0x20; 64];
const SERVER: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const CLIENT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

/// The keys of a vault, as they were when they were read, and which of them a client gets.
#[derive(Debug, Default)]
pub struct VaultKeys {
    keys: Vec<NamedKey>,
    stale: Arc<AtomicBool>,
}

#[derive(Debug)]
struct NamedKey {
    names: Vec<String>,
    certified: Arc<CertifiedKey>,
}

impl VaultKeys {
    /// Reads the keys of the vault.
    ///
    /// # Errors
    /// When the vault does not answer.
    pub fn read(sign: &Sign) -> Result<Self, SignError> {
        let stale = Arc::new(AtomicBool::new(false));
        let named = |key: PublicKey| {
            let schemes = key.schemes.iter().map(|scheme| (*scheme).into()).collect();
            let chain = key.chain.into_iter().map(CertificateDer::from).collect();
            let key = VaultKey {
                sign: sign.clone(),
                id: key.id,
                schemes,
                stale: stale.clone(),
            };
            CertifiedKey::new(chain, Arc::new(key))
        };
        // A key may be waiting for its certificate.
        let keys = sign.keys()?.into_iter().filter(|key| !key.chain.is_empty());
        Ok(Self {
            keys: keys
                .map(|key| NamedKey {
                    names: key.names.clone(),
                    certified: Arc::new(named(key)),
                })
                .collect(),
            stale,
        })
    }

    /// The names that the keys' certificates are for, key by key.
    pub fn names(&self) -> impl Iterator<Item = &[String]> {
        self.keys.iter().map(|key| &key.names[..])
    }

    /// The keys' own certificates, in DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        let own = self
            .keys
            .iter()
            .filter_map(|key| key.certified.cert.first());
        own.map(AsRef::as_ref)
    }

    /// Whether the vault has been found to have started over, or to have other keys than these, since this was asked
    /// last: then they are to be read anew.
    pub fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::Relaxed)
    }

    /// Whether these are the same keys, with the same names and certificates.
    pub fn are(&self, others: &Self) -> bool {
        let same = |(one, other): (&NamedKey, &NamedKey)| {
            one.names == other.names && one.certified.cert == other.certified.cert
        };
        self.keys.len() == others.keys.len() && self.keys.iter().zip(&others.keys).all(same)
    }

    /// The first key for this name whose certificate the client can verify; for no name, or one that no
    /// certificate has, the first of all that it can.
    fn choose(&self, name: Option<&str>, offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&NamedKey| key.certified.key.choose_scheme(offered).is_some();
        let named = |key: &&NamedKey| {
            name.is_some_and(|name| key.names.iter().any(|pattern| covers(pattern, name)))
        };
        let mut fitting = self.keys.iter().filter(fits);
        let found = fitting.clone().find(named).or_else(|| fitting.next());
        found.map(|key| key.certified.clone())
    }
}

impl ResolvesServerCert for VaultKeys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

impl ResolvesClientCert for VaultKeys {
    fn resolve(&self, _: &[&[u8]], offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.choose(None, offered)
    }

    /// Also with no keys now: there may be some later.
    fn has_certs(&self) -> bool {
        true
    }
}

/// One key in the vault.
#[derive(Clone, Debug)]
struct VaultKey {
    sign: Sign,
    id: KeyId,
    /// What the vault signs in with it, preferred first.
    schemes: Vec<SignatureScheme>,
    stale: Arc<AtomicBool>,
}

impl SigningKey for VaultKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self
            .schemes
            .iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(VaultSigner {
            key: self.clone(),
            scheme: *scheme,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.schemes.first() {
            Some(SignatureScheme::ED25519) => SignatureAlgorithm::ED25519,
            Some(
                SignatureScheme::ECDSA_NISTP256_SHA256 | SignatureScheme::ECDSA_NISTP384_SHA384,
            ) => SignatureAlgorithm::ECDSA,
            _ => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct VaultSigner {
    key: VaultKey,
    scheme: SignatureScheme,
}

impl Signer for VaultSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = content(message).and_then(|content| {
            let VaultKey { sign, id, .. } = &self.key;
            sign.sign(*id, self.scheme.into(), &content)
        });
        signature.map_err(|error| {
            if matches!(
                error,
                SignError::UnknownKey | SignError::Call(CallError::Restarted)
            ) {
                self.key.stale.store(true, Ordering::Relaxed);
            }
            rustls::Error::General(format!("no signature: {error}"))
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// The fields of what rustls wants to have signed; the vault puts the bytes together again.
fn content(message: &[u8]) -> Result<Content, SignError> {
    if let Some(rest) = message.strip_prefix(&PADDING) {
        let (role, hash) = if let Some(hash) = rest.strip_prefix(SERVER) {
            (Role::Server, hash)
        } else if let Some(hash) = rest.strip_prefix(CLIENT) {
            (Role::Client, hash)
        } else {
            return Err(SignError::WrongLength);
        };
        let transcript = Transcript::new(hash).ok_or(SignError::WrongLength)?;
        return Ok(Content::CertificateVerify { role, transcript });
    }
    key_exchange(message).unwrap_or(Err(SignError::WrongLength))
}

/// The ServerKeyExchange of TLS 1.2 behind both random values (RFC 8422, section 5.4); `None` for anything shorter.
fn key_exchange(message: &[u8]) -> Option<Result<Content, SignError>> {
    let (client_random, rest) = message.split_first_chunk()?;
    let (server_random, rest) = rest.split_first_chunk()?;
    let (&[3, high, low, length], key) = rest.split_first_chunk()? else {
        return None;
    };
    if key.len() != usize::from(length) {
        return None;
    }
    let share = Share::new(u16::from_be_bytes([high, low]), key);
    Some(share.map(|share| Content::KeyExchange {
        client_random: *client_random,
        server_random: *server_random,
        share,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_certificates_mean_them() {
        assert!(covers("selkie.test", "Selkie.TEST"));
        assert!(covers("*.selkie.test", "www.selkie.test"));
        assert!(!covers("*.selkie.test", "selkie.test"));
        assert!(!covers("*.selkie.test", "a.b.selkie.test"));
        assert!(!covers("selkie.test", "www.selkie.test"));
        assert!(!covers("*.", "test"));
    }

    #[test]
    fn only_what_tls_signs_has_fields() {
        let mut verify = PADDING.to_vec();
        verify.extend(SERVER);
        assert_eq!(content(&verify), Err(SignError::WrongLength));
        verify.extend([1; 32]);
        assert!(content(&verify).is_ok());
        verify.push(1);
        assert_eq!(content(&verify), Err(SignError::WrongLength));
        let mut exchange = alloc::vec![7; 64];
        exchange.extend([3, 0, 29, 32]);
        assert_eq!(content(&exchange), Err(SignError::WrongLength));
        exchange.extend([1; 32]);
        assert!(content(&exchange).is_ok());
        exchange[66] = 30;
        assert!(content(&exchange).is_err());
        for length in 0..70 {
            assert!(content(&alloc::vec![3; length]).is_err());
        }
    }
}
