//! What is searched for.

use std::fmt;

/// What a secret is for. The control has to find each kind that the sessions had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The result of a key exchange (RFC 8446, section 7.4; RFC 8422, section 5.10).
    SharedSecret,
    /// A traffic secret of TLS 1.3, of the handshake or of application data (RFC 8446, section 7.1).
    TrafficSecret,
    /// The exporter secret (RFC 8446, section 7.5).
    ExporterSecret,
    /// The resumption secret, and the pre-shared keys made of it (RFC 8446, section 4.6.1).
    ResumptionSecret,
    /// An intermediate value of the key schedule: what HKDF extracts, and the salts derived from it.
    ScheduleSecret,
    /// The key of a Finished message (RFC 8446, section 4.4.4).
    FinishedKey,
    /// The master secret of TLS 1.2 (RFC 5246, section 8.1).
    MasterSecret,
    /// The key block of TLS 1.2 (RFC 5246, section 6.3).
    KeyBlock,
    /// A key of an AEAD.
    AeadKey,
    /// The secret part of nonces, where it has at least twelve bytes.
    Iv,
    /// The round keys of AES behind the key itself (FIPS 197, section 5.2).
    RoundKeys,
    /// The key of GHASH and its powers, as ring's tables hold them (NIST SP 800-38D, section 6.4).
    GhashKey,
    /// The key of Poly1305 for one record (RFC 8439, section 2.6).
    Poly1305Key,
    /// A SHA-2 state behind the padded key of an HMAC (RFC 2104, section 4), as words of the machine.
    HmacState,
    /// Application data that the client sent.
    Request,
    /// Application data that the service sent.
    Response,
    /// The key that session tickets are sealed with.
    TicketKey,
    /// A private key: scalar, seed or primes and exponents.
    PrivateKey,
    /// A private key in the forms that ring computes with.
    PrivateKeyForm,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 19] = [
        Self::SharedSecret,
        Self::TrafficSecret,
        Self::ExporterSecret,
        Self::ResumptionSecret,
        Self::ScheduleSecret,
        Self::FinishedKey,
        Self::MasterSecret,
        Self::KeyBlock,
        Self::AeadKey,
        Self::Iv,
        Self::RoundKeys,
        Self::GhashKey,
        Self::Poly1305Key,
        Self::HmacState,
        Self::Request,
        Self::Response,
        Self::TicketKey,
        Self::PrivateKey,
        Self::PrivateKeyForm,
    ];

    /// Whether it is a part of a long-term private key, not of a session.
    pub fn is_private_key(self) -> bool {
        matches!(self, Self::PrivateKey | Self::PrivateKeyForm)
    }

    /// Whether it is what a session carried, not what it is sealed with.
    pub fn is_plaintext(self) -> bool {
        matches!(self, Self::Request | Self::Response)
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedSecret => "shared secret",
            Self::TrafficSecret => "traffic secret",
            Self::ExporterSecret => "exporter secret",
            Self::ResumptionSecret => "resumption secret",
            Self::ScheduleSecret => "key schedule secret",
            Self::FinishedKey => "finished key",
            Self::MasterSecret => "master secret",
            Self::KeyBlock => "key block",
            Self::AeadKey => "AEAD key",
            Self::Iv => "IV",
            Self::RoundKeys => "AES round keys",
            Self::GhashKey => "GHASH key",
            Self::Poly1305Key => "Poly1305 key",
            Self::HmacState => "HMAC state",
            Self::Request => "request",
            Self::Response => "response",
            Self::TicketKey => "ticket key",
            Self::PrivateKey => "private key",
            Self::PrivateKeyForm => "private key as ring computes with it",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Bytes that must not be found.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// What it is for.
    pub kind: Kind,
    /// Which one it is, for people.
    pub name: String,
    /// The bytes, in the order of the specification that defines them.
    pub bytes: Vec<u8>,
}

impl Secret {
    /// A secret.
    pub fn new(kind: Kind, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            name: name.into(),
            bytes: bytes.into(),
        }
    }
}

/// Without the bytes: a failing test must not print them.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, {} bytes)",
            self.name,
            self.kind,
            self.bytes.len()
        )
    }
}
