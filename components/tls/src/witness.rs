//! Observes a handshake, so that it can be ended with an alert of the caller's choice.
//!
//! rustls' unbuffered API encrypts only the alerts that rustls chooses. After the ServerHello an
//! alert must be encrypted. Therefore this end's traffic secret is copied when rustls derives it,
//! and wiped after the handshake.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use ring::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CipherSuite, KeyLog, PeerIncompatible, SupportedCipherSuite, Tls12CipherSuite,
};
use spin::Mutex;
use zeroize::Zeroizing;

use crate::buffers::Records;
use crate::established::HEADER;
use crate::{Fault, hello};

/// Labels of the key log format (`rustls::KeyLog`).
const MASTER_SECRET: &str = "CLIENT_RANDOM";
const SERVER_SECRET: &str = "SERVER_TRAFFIC_SECRET_0";
const CLIENT_SECRET: &str = "CLIENT_HANDSHAKE_TRAFFIC_SECRET";

/// Bytes of early data, with the tags, that a server skips: a full record, as in rustls.
const MAX_EARLY_DATA: usize = 1 << 14;

/// Length of the nonce of all ciphers in bytes (RFC 8446, section 5.3).
const NONCE: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const SERVER_HELLO: u8 = 2;

/// The role of this end in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Server,
    Client,
}

/// An observer of the secrets and records of a rustls handshake.
pub(crate) struct Witness {
    end: End,
    /// The keys that rustls selects from; only at a server.
    keys: Option<Arc<dyn ResolvesServerCert>>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// The reason why no key matches the client's offer, if none does.
    without_key: Option<PeerIncompatible>,
    /// TLS 1.3: the secret that protects this end's first encrypted records; at a server, its
    /// handshake messages.
    traffic: Option<Zeroizing<Vec<u8>>>,
    /// TLS 1.2: the client's random value and the master secret.
    master: Option<([u8; 32], Zeroizing<Vec<u8>>)>,
    server_random: Option<[u8; 32]>,
    /// Whether the records after which the secret applies have been sent: the next record must be
    /// encrypted.
    traffic_in_use: bool,
    master_in_use: bool,
    /// TLS 1.3 at a server: the secret that protects the client's handshake messages.
    client: Option<Zeroizing<Vec<u8>>>,
    /// Bytes of early data that may still arrive, if the client has announced any.
    early_data: Option<usize>,
}

impl Witness {
    pub(crate) fn server(keys: Arc<dyn ResolvesServerCert>) -> Arc<Self> {
        Self::new(End::Server, Some(keys))
    }

    pub(crate) fn client() -> Arc<Self> {
        Self::new(End::Client, None)
    }

    fn new(end: End, keys: Option<Arc<dyn ResolvesServerCert>>) -> Arc<Self> {
        Arc::new(Self {
            end,
            keys,
            notes: Mutex::default(),
        })
    }

    /// Wipes all secrets after the handshake; rustls may keep the witness.
    pub(crate) fn forget(&self) {
        *self.notes.lock() = Notes::default();
    }

    /// Returns the reason why the vault has no key for this client, if it has none.
    pub(crate) fn without_key(&self) -> Option<PeerIncompatible> {
        self.notes.lock().without_key.clone()
    }

    /// Inspects records that are sent to the peer.
    pub(crate) fn sent(&self, records: &[u8]) {
        let mut notes = self.notes.lock();
        notes.traffic_in_use |= notes.traffic.is_some();
        for record in Records(records) {
            notes.server_hello(record);
            notes.master_in_use |= record[0] == CHANGE_CIPHER_SPEC && notes.master.is_some();
        }
    }

    /// Inspects a ClientHello that rustls has accepted.
    pub(crate) fn accepted(&self, records: &[u8]) {
        if self.end == End::Server
            && let Some(offers) = hello::offers_early_data(records)
        {
            self.notes.lock().early_data = offers.then_some(MAX_EARLY_DATA);
        }
    }

    /// Returns whether a record is early data, which is refused and skipped (RFC 8446, section
    /// 4.2.10): every record that does not decrypt, until the first that does. rustls does the
    /// same, but keeps each such record in its input and counts it again with the next one.
    ///
    /// # Errors
    /// [`Fault::Decrypt`] when the early data exceeds the limit.
    pub(crate) fn skips(
        &self,
        record: &[u8],
        suite: Option<SupportedCipherSuite>,
    ) -> Result<bool, Fault> {
        let mut notes = self.notes.lock();
        let (Some(left), Some(secret), Some(suite)) = (notes.early_data, &notes.client, suite)
        else {
            return Ok(false);
        };
        let [APPLICATION_DATA, _, _, _, _, payload @ ..] = record else {
            return Ok(false);
        };
        if opens(suite.suite(), secret, record) {
            notes.early_data = None;
            return Ok(false);
        }
        notes.early_data = Some(left.checked_sub(payload.len()).ok_or(Fault::Decrypt)?);
        Ok(true)
    }

    /// Inspects records that are received from the peer.
    pub(crate) fn received(&self, records: &[u8]) {
        let mut notes = self.notes.lock();
        Records(records).for_each(|record| notes.server_hello(record));
    }

    /// Returns the record with a fatal alert, or with `close_notify`; `None` if it cannot be
    /// encrypted.
    pub(crate) fn alert(
        &self,
        description: AlertDescription,
        suite: Option<SupportedCipherSuite>,
    ) -> Option<Vec<u8>> {
        let message = message(description);
        let notes = self.notes.lock();
        // A client that has received the ServerHello knows that the server has the keys as well,
        // even if the rest was invalid.
        let in_use = notes.traffic_in_use || self.end == End::Client;
        match (&notes.traffic, &notes.master, suite) {
            (Some(secret), _, Some(suite)) if in_use => seal_tls13(suite.suite(), secret, message),
            (_, Some((random, master)), Some(SupportedCipherSuite::Tls12(suite)))
                if notes.master_in_use =>
            {
                let seed = [notes.server_random?, *random].concat();
                seal_tls12(self.end, suite, master, &seed, message)
            }
            _ => Some(record(ALERT, &message)),
        }
    }
}

impl Notes {
    /// Copies the random value from a ServerHello (RFC 5246, section 7.4.1.3).
    fn server_hello(&mut self, record: &[u8]) {
        if let [
            HANDSHAKE,
            _,
            _,
            _,
            _,
            SERVER_HELLO,
            _,
            _,
            _,
            _,
            _,
            rest @ ..,
        ] = record
            && let Some(random) = rest.first_chunk()
        {
            self.server_random = Some(*random);
        }
    }
}

impl KeyLog for Witness {
    fn log(&self, label: &str, random: &[u8], secret: &[u8]) {
        let secret = Zeroizing::new(secret.to_vec());
        let mut notes = self.notes.lock();
        match (label, self.end) {
            (MASTER_SECRET, _) => {
                notes.master = random.try_into().ok().map(|random| (random, secret));
            }
            (SERVER_SECRET, End::Server) | (CLIENT_SECRET, End::Client) => {
                notes.traffic = Some(secret);
            }
            (CLIENT_SECRET, End::Server) => notes.client = Some(secret),
            _ => {}
        }
    }

    fn will_log(&self, label: &str) -> bool {
        match self.end {
            End::Server => matches!(label, MASTER_SECRET | SERVER_SECRET | CLIENT_SECRET),
            End::Client => matches!(label, MASTER_SECRET | CLIENT_SECRET),
        }
    }
}

impl ResolvesServerCert for Witness {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has removed the schemes that match no common cipher suite.
        let reason = match hello.signature_schemes() {
            [] => PeerIncompatible::NoCipherSuitesInCommon,
            _ => PeerIncompatible::NoSignatureSchemesInCommon,
        };
        let key = self.keys.as_ref().and_then(|keys| keys.resolve(hello));
        self.notes.lock().without_key = key.is_none().then_some(reason);
        key
    }
}

/// Does not print the secrets.
impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

fn message(description: AlertDescription) -> [u8; 2] {
    const WARNING: u8 = 1;
    const FATAL: u8 = 2;
    let level = match description {
        AlertDescription::CloseNotify => WARNING,
        _ => FATAL,
    };
    [level, description.into()]
}

fn record(typ: u8, payload: &[u8]) -> Vec<u8> {
    let mut record = header(typ, payload.len()).to_vec();
    record.extend(payload);
    record
}

fn header(typ: u8, length: usize) -> [u8; HEADER] {
    let [high, low] = (length as u16).to_be_bytes();
    [typ, 3, 3, high, low]
}

/// Encrypts an alert as the first record under a traffic secret (RFC 8446, section 5.2).
fn seal_tls13(suite: CipherSuite, secret: &[u8], message: [u8; 2]) -> Option<Vec<u8>> {
    let (key, nonce) = first_key(suite, secret)?;
    let mut payload = [message.as_slice(), &[ALERT]].concat();
    let header = header(APPLICATION_DATA, payload.len() + key.algorithm().tag_len());
    let sealed = key.seal_in_place_append_tag(nonce, Aad::from(header), &mut payload);
    sealed.ok().map(|()| record(APPLICATION_DATA, &payload))
}

/// Returns whether a record decrypts as the first under a traffic secret.
fn opens(suite: CipherSuite, secret: &[u8], record: &[u8]) -> bool {
    let (header, payload) = record.split_at(HEADER);
    // Decrypted in a copy: rustls still needs the record afterwards.
    let mut payload = Zeroizing::new(payload.to_vec());
    first_key(suite, secret).is_some_and(|(key, nonce)| {
        let opened = key.open_in_place(nonce, Aad::from(header), &mut payload);
        opened.is_ok()
    })
}

/// Returns the key under a traffic secret, and the nonce of its first record (RFC 8446, sections
/// 5.3 and 7.3).
fn first_key(suite: CipherSuite, secret: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let (cipher, hash) = match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => (&AES_128_GCM, HKDF_SHA256),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => (&AES_256_GCM, HKDF_SHA384),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => (&CHACHA20_POLY1305, HKDF_SHA256),
        _ => return None,
    };
    let secret = Prk::new_less_safe(hash, secret);
    // HkdfLabel with an empty context: length, label, and context (RFC 8446, section 7.1).
    let key_length = [0, cipher.key_len() as u8];
    let key_label: [&[u8]; 4] = [&key_length, &[9], b"tls13 key", &[0]];
    let key = LessSafeKey::new(secret.expand(&key_label, cipher).ok()?.into());
    let iv_label: [&[u8]; 4] = [&[0, NONCE as u8], &[8], b"tls13 iv", &[0]];
    let mut nonce = [0; NONCE];
    let material = secret.expand(&iv_label, Bytes(NONCE)).ok()?;
    material.fill(&mut nonce).ok()?;
    Some((key, Nonce::assume_unique_for_key(nonce)))
}

/// Encrypts an alert as the record after Finished (RFC 5246, sections 6.2.3.3 and 6.3; RFC 5288,
/// section 3; RFC 7905, section 2).
fn seal_tls12(
    end: End,
    suite: &Tls12CipherSuite,
    master: &[u8],
    seed: &[u8],
    message: [u8; 2],
) -> Option<Vec<u8>> {
    /// Finished had sequence number 0.
    const SEQUENCE: u64 = 1;
    let cipher = cipher(suite)?;
    let shape = suite.aead_alg.key_block_shape();
    let (key, fixed) = (shape.enc_key_len, shape.fixed_iv_len);
    let length = 2 * (key + fixed) + shape.explicit_nonce_len;
    let mut block = Zeroizing::new(alloc::vec![0; length]);
    let derive = suite.prf_provider;
    derive.for_secret(&mut block, master, b"key expansion", seed);
    let own = usize::from(end == End::Server);
    let (keys, rest) = block.split_at(2 * key);
    let (fixed_ivs, explicit) = rest.split_at(2 * fixed);
    let own_key = UnboundKey::new(cipher, &keys[own * key..][..key]).ok()?;
    let mut nonce = [0; NONCE];
    let iv = [&fixed_ivs[own * fixed..][..fixed], explicit].concat();
    nonce.copy_from_slice(iv.get(..NONCE)?);
    let sequence = SEQUENCE.to_be_bytes();
    let counted = nonce[NONCE - sequence.len()..].iter_mut().zip(sequence);
    counted.for_each(|(byte, number)| *byte ^= number);
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&sequence);
    aad[8..].copy_from_slice(&header(ALERT, message.len()));
    let mut payload = message.to_vec();
    LessSafeKey::new(own_key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut payload,
        )
        .ok()?;
    let sent = &nonce[NONCE - explicit.len()..];
    Some(record(ALERT, &[sent, &payload].concat()))
}

fn cipher(suite: &Tls12CipherSuite) -> Option<&'static Algorithm> {
    Some(match suite.common.suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => &AES_128_GCM,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => &AES_256_GCM,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => &CHACHA20_POLY1305,
        _ => return None,
    })
}

/// The number of bytes that HKDF returns.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}
