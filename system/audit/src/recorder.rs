//! A rustls provider that keeps every secret that passes through it.
//!
//! It stands around ring's: the key exchanges, HKDF (RFC 8446, section 7.1) and the PRF of TLS 1.2 are the places
//! through which everything secret of a session goes, so that nothing depends on what rustls chooses to log.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::tls12::Prf;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup, hash, hmac as rustls_hmac,
};
use rustls::{
    CipherSuite, Error, NamedGroup, ProtocolVersion, SupportedCipherSuite, Tls12CipherSuite,
    Tls13CipherSuite,
};

use crate::derive::{self, Aead, Hash, hmac, states};
use crate::{Kind, Secret};

/// The secrets of one session, as they come up.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Secret>>>);

impl Record {
    /// All that has come up so far.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn push(&self, secrets: impl IntoIterator<Item = Secret>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            if !all.contains(&secret) {
                all.push(secret);
            }
        }
    }

    /// A secret, and the states of an HMAC with it.
    fn push_hmac_key(&self, hash: Hash, secret: Secret) {
        let states = states(hash, &secret.bytes);
        let name = &secret.name;
        let states = ["inner", "outer"]
            .into_iter()
            .zip(states)
            .map(|(which, state)| {
                Secret::new(
                    Kind::HmacState,
                    format!("{name}, {which} HMAC state"),
                    state,
                )
            });
        let states: Vec<Secret> = states.collect();
        self.push([secret]);
        self.push(states);
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} secrets)", self.secrets().len())
    }
}

/// ring's provider with this one cipher suite, recording. What rustls asks to live for ever does: a few hundred bytes
/// for each session.
pub(crate) fn provider(suite: SupportedCipherSuite, record: &Record) -> CryptoProvider {
    let plain = rustls::crypto::ring::default_provider();
    CryptoProvider {
        cipher_suites: vec![recording(suite, record)],
        kx_groups: plain
            .kx_groups
            .iter()
            .map(|&group| {
                leak(Group {
                    group,
                    record: record.clone(),
                }) as &dyn SupportedKxGroup
            })
            .collect(),
        ..plain
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn recording(suite: SupportedCipherSuite, record: &Record) -> SupportedCipherSuite {
    let schedule = Schedule {
        hash: hash_of(suite),
        aead: aead_of(suite.suite()),
        record: record.clone(),
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => SupportedCipherSuite::Tls13(leak(Tls13CipherSuite {
            common: common(&suite.common),
            hkdf_provider: leak(RecordingHkdf {
                hkdf: suite.hkdf_provider,
                schedule,
            }),
            aead_alg: suite.aead_alg,
            quic: None,
        })),
        SupportedCipherSuite::Tls12(suite) => SupportedCipherSuite::Tls12(leak(Tls12CipherSuite {
            common: common(&suite.common),
            prf_provider: leak(RecordingPrf {
                prf: suite.prf_provider,
                suite,
                schedule,
            }),
            kx: suite.kx,
            sign: suite.sign,
            aead_alg: suite.aead_alg,
        })),
    }
}

fn common(common: &rustls::crypto::CipherSuiteCommon) -> rustls::crypto::CipherSuiteCommon {
    rustls::crypto::CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    }
}

fn hash_of(suite: SupportedCipherSuite) -> Hash {
    let common = match suite {
        SupportedCipherSuite::Tls13(suite) => &suite.common,
        SupportedCipherSuite::Tls12(suite) => &suite.common,
    };
    match common.hash_provider.algorithm() {
        hash::HashAlgorithm::SHA384 => Hash::Sha384,
        // ring's suites have these two.
        _ => Hash::Sha256,
    }
}

fn aead_of(suite: CipherSuite) -> Aead {
    match suite {
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Aead::ChaCha20Poly1305,
        _ => Aead::AesGcm,
    }
}

/// A key exchange group.
#[derive(Debug)]
struct Group {
    group: &'static dyn SupportedKxGroup,
    record: Record,
}

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Exchange {
            exchange: self.group.start()?,
            record: self.record.clone(),
        }))
    }

    fn ffdhe_group(&self) -> Option<rustls::ffdhe_groups::FfdheGroup<'static>> {
        self.group.ffdhe_group()
    }

    fn name(&self) -> NamedGroup {
        self.group.name()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.group.usable_for_version(version)
    }
}

/// A key exchange under way.
struct Exchange {
    exchange: Box<dyn ActiveKeyExchange>,
    record: Record,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let name = format!("{:?}", self.exchange.group());
        let secret = self.exchange.complete(peer)?;
        let bytes = secret.secret_bytes();
        self.record
            .push([Secret::new(Kind::SharedSecret, name, bytes)]);
        Ok(secret)
    }

    fn pub_key(&self) -> &[u8] {
        self.exchange.pub_key()
    }

    fn group(&self) -> NamedGroup {
        self.exchange.group()
    }
}

/// What the secrets of a suite are put to.
#[derive(Clone)]
struct Schedule {
    hash: Hash,
    aead: Aead,
    record: Record,
}

impl Schedule {
    /// What HKDF-Extract gives (RFC 5869, section 2.2).
    fn extracted(&self, salt: Option<&[u8]>, input: &[u8]) {
        let zeros = vec![0; self.hash.len()];
        let extracted = hmac(self.hash, salt.unwrap_or(&zeros), input);
        let secret = Secret::new(Kind::ScheduleSecret, "extracted secret", extracted);
        self.record.push_hmac_key(self.hash, secret);
    }

    /// What HKDF-Expand-Label gave (RFC 8446, section 7.1); `iv` is the last one, whose key came before it.
    fn expanded(&self, info: &[&[u8]], output: &[u8], key: &Mutex<Vec<u8>>) {
        let info = info.concat();
        let length = info.get(2).map_or(0, |length| usize::from(*length));
        let label = info.get(3..3 + length).unwrap_or_default();
        let label = String::from_utf8_lossy(label)
            .trim_start_matches("tls13 ")
            .to_string();
        let mut key = key.lock().unwrap_or_else(PoisonError::into_inner);
        match label.as_str() {
            "key" => *key = output.to_vec(),
            "iv" => self
                .record
                .push(derive::aead("TLS 1.3", self.aead, &key, output)),
            _ => {
                let kind = match label.as_str() {
                    "finished" => Kind::FinishedKey,
                    "exp master" => Kind::ExporterSecret,
                    "res master" | "resumption" => Kind::ResumptionSecret,
                    "derived" => Kind::ScheduleSecret,
                    _ => Kind::TrafficSecret,
                };
                let secret = Secret::new(kind, format!("`{label}`"), output);
                self.record.push_hmac_key(self.hash, secret);
            }
        }
    }
}

struct RecordingHkdf {
    hkdf: &'static dyn Hkdf,
    schedule: Schedule,
}

impl RecordingHkdf {
    fn expander(&self, expander: Box<dyn HkdfExpander>) -> Box<dyn HkdfExpander> {
        Box::new(Expander {
            expander,
            schedule: self.schedule.clone(),
            key: Mutex::default(),
        })
    }
}

impl Hkdf for RecordingHkdf {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        let expander = self.hkdf.extract_from_zero_ikm(salt);
        match salt {
            // Without a pre-shared key the first secret of the schedule is a constant, and so is what is derived from it.
            None => expander,
            Some(_) => {
                let zeros = vec![0; self.schedule.hash.len()];
                self.schedule.extracted(salt, &zeros);
                self.expander(expander)
            }
        }
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.schedule.extracted(salt, secret);
        self.expander(self.hkdf.extract_from_secret(salt, secret))
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        self.expander(self.hkdf.expander_for_okm(okm))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> rustls_hmac::Tag {
        self.hkdf.hmac_sign(key, message)
    }
}

struct Expander {
    expander: Box<dyn HkdfExpander>,
    schedule: Schedule,
    /// The key that was expanded, for the IV that is expanded next.
    key: Mutex<Vec<u8>>,
}

impl HkdfExpander for Expander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        self.expander.expand_slice(info, output)?;
        self.schedule.expanded(info, output, &self.key);
        Ok(())
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        let block = self.expander.expand_block(info);
        self.schedule.expanded(info, block.as_ref(), &self.key);
        block
    }

    fn hash_len(&self) -> usize {
        self.expander.hash_len()
    }
}

struct RecordingPrf {
    prf: &'static dyn Prf,
    suite: &'static Tls12CipherSuite,
    schedule: Schedule,
}

impl Prf for RecordingPrf {
    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        exchange: Box<dyn ActiveKeyExchange>,
        peer: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), Error> {
        self.prf
            .for_key_exchange(output, exchange, peer, label, seed)?;
        let secret = Secret::new(Kind::MasterSecret, "master secret", output.as_slice());
        self.schedule
            .record
            .push_hmac_key(self.schedule.hash, secret);
        Ok(())
    }

    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        self.prf.for_secret(output, secret, label, seed);
        if label == b"key expansion" {
            self.key_block(output);
        }
    }
}

impl RecordingPrf {
    /// RFC 5246, section 6.3.
    fn key_block(&self, block: &[u8]) {
        let shape = self.suite.aead_alg.key_block_shape();
        let (keys, ivs) = block.split_at((2 * shape.enc_key_len).min(block.len()));
        let record = &self.schedule.record;
        record.push([Secret::new(Kind::KeyBlock, "key block", keys)]);
        let keys = keys.chunks(shape.enc_key_len.max(1));
        let ivs = ivs.chunks(shape.fixed_iv_len.max(1));
        for ((who, key), iv) in ["client", "server"].into_iter().zip(keys).zip(ivs) {
            let name = format!("TLS 1.2 {who}");
            record.push(derive::aead(&name, self.schedule.aead, key, iv));
        }
    }
}
