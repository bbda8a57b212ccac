//! The `sign` interface: signatures of TLS handshakes by the private keys of the vault PD.
//!
//! A client sends the *fields* of what is to be signed, never the bytes: the server builds the signed content
//! itself, so that nobody can have it sign something else. All arguments are 64-bit words; byte strings lie in
//! little-endian words, the last one padded with zeros.
//!
//! | label | request | answer |
//! |---|---|---|
//! | 1 | – | number of keys |
//! | 2 | key (0 to number - 1), offset | edition, length, the bytes of the key's public part from the offset on |
//! | 3 | identifier, scheme, role (0 server, 1 client), hash length, transcript hash | signature |
//! | 4 | identifier, scheme, client random (4), server random (4), curve, key length, public key | signature |
//!
//! 3 is the CertificateVerify message of TLS 1.3 (RFC 8446, section 4.4.3), 4 the ServerKeyExchange of TLS 1.2
//! (RFC 8422, section 5.4). A signature fills whole words but for ECDSA's, whose own length (X.690, section 8.1.3)
//! tells where it ends. The server notifies its clients when keys or certificates have changed.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::call::{Call, CallError, arguments, exact, pack, unpack};

/// Most words of a request or an answer: an RSA-4096 signature has as many.
pub const MAX_WORDS: usize = 64;

/// Most keys of a vault.
pub const MAX_KEYS: usize = 16;

/// Most bytes of a key's public part, certificate chain included.
pub const MAX_PUBLIC: usize = 64 * 1024;

/// Bytes of a public part in one answer, behind edition and length.
const CHUNK: usize = 8 * (MAX_WORDS - 2);

/// How often a client reads the keys anew when they change while it reads.
const ATTEMPTS: usize = 4;

const KEYS: u64 = 1;
const READ: u64 = 2;
const CERTIFICATE_VERIFY: u64 = 3;
const KEY_EXCHANGE: u64 = 4;

/// Names a key for ever: the first 8 bytes of the SHA-256 hash of its public key, little-endian. So nobody gets a
/// signature of a key that took the place of the one that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub u64);

/// What everybody may know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name in requests.
    pub id: KeyId,
    /// The signature schemes that the vault allows for it, preferred first (RFC 8446, section 4.2.3).
    pub schemes: Vec<u16>,
    /// The DNS names and addresses that its certificate is for.
    pub names: Vec<String>,
    /// X.509 certificates in DER, its own first.
    pub chain: Vec<Vec<u8>>,
}

/// The side of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The server.
    Server,
    /// The client.
    Client,
}

/// A hash over the handshake messages so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transcript {
    /// Of a suite with SHA-256.
    Sha256([u8; 32]),
    /// Of a suite with SHA-384.
    Sha384([u8; 48]),
}

impl Transcript {
    /// A hash of 32 or 48 bytes.
    pub fn new(hash: &[u8]) -> Option<Self> {
        let short = hash.try_into().map(Self::Sha256);
        short.or_else(|_| hash.try_into().map(Self::Sha384)).ok()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(hash) => hash,
            Self::Sha384(hash) => hash,
        }
    }
}

/// An ephemeral public key, in its curve's form (RFC 8422, section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// secp256r1, uncompressed.
    P256([u8; 65]),
    /// secp384r1, uncompressed.
    P384([u8; 97]),
    /// x25519.
    X25519([u8; 32]),
}

impl Share {
    /// A key of the curve with this number in the registry "TLS Supported Groups".
    ///
    /// # Errors
    /// [`SignError::Call`] for an unknown curve or a point that is not in uncompressed form, [`SignError::WrongLength`].
    pub fn new(curve: u16, key: &[u8]) -> Result<Self, SignError> {
        let share = match curve {
            23 => key.try_into().map(Self::P256),
            24 => key.try_into().map(Self::P384),
            29 => key.try_into().map(Self::X25519),
            _ => return Err(CallError::BadRequest.into()),
        };
        match share {
            Ok(Self::P256([first, ..]) | Self::P384([first, ..])) if first != 4 => {
                Err(CallError::BadRequest.into())
            }
            Ok(share) => Ok(share),
            Err(_) => Err(SignError::WrongLength),
        }
    }

    /// The curve's number.
    pub fn curve(&self) -> u16 {
        match self {
            Self::P256(_) => 23,
            Self::P384(_) => 24,
            Self::X25519(_) => 29,
        }
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::P256(key) => key,
            Self::P384(key) => key,
            Self::X25519(key) => key,
        }
    }
}

/// What can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The CertificateVerify message of TLS 1.3.
    CertificateVerify {
        /// Who proves that it has the key.
        role: Role,
        /// The hash up to the Certificate message.
        transcript: Transcript,
    },
    /// The ServerKeyExchange message of TLS 1.2.
    KeyExchange {
        /// The client's random bytes.
        client_random: [u8; 32],
        /// The server's random bytes.
        server_random: [u8; 32],
        /// The server's ephemeral key.
        share: Share,
    },
}

/// Why there is no signature, or no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignError {
    /// The call failed, as any call can.
    Call(CallError),
    /// The vault has no key of this name (any more).
    UnknownKey,
    /// The key's or the vault's policy does not allow this scheme here.
    SchemeRefused,
    /// This client may not sign as a TLS client.
    RoleRefused,
    /// A field has not the length that its kind has.
    WrongLength,
    /// More signatures than this client may have in a second.
    TooMany,
}

impl From<CallError> for SignError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<SignError> for u64 {
    /// The label that carries the error in an answer.
    fn from(error: SignError) -> Self {
        match error {
            SignError::Call(error) => error.label(),
            SignError::UnknownKey => 16,
            SignError::SchemeRefused => 17,
            SignError::RoleRefused => 18,
            SignError::WrongLength => 19,
            SignError::TooMany => 20,
        }
    }
}

impl SignError {
    fn of(label: u64) -> Self {
        match label {
            16 => Self::UnknownKey,
            17 => Self::SchemeRefused,
            18 => Self::RoleRefused,
            19 => Self::WrongLength,
            20 => Self::TooMany,
            other => Self::Call(CallError::of(other)),
        }
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call(error) => return error.fmt(f),
            Self::UnknownKey => "the vault has no such key",
            Self::SchemeRefused => "the vault refuses this signature scheme here",
            Self::RoleRefused => "the vault does not sign for a TLS client here",
            Self::WrongLength => "a field has the wrong length",
            Self::TooMany => "too many signatures in a second",
        })
    }
}

impl core::error::Error for SignError {}

/// The client's end.
#[derive(Clone)]
pub struct Sign {
    server: Arc<dyn Call + Send + Sync>,
}

impl Sign {
    /// A client of the server that `call` reaches.
    pub fn new(call: impl Call + Send + Sync + 'static) -> Self {
        Self {
            server: Arc::new(call),
        }
    }

    /// All keys that the vault has now.
    ///
    /// # Errors
    /// When the vault does not answer as asked, or its keys change faster than they can be read.
    pub fn keys(&self) -> Result<Vec<PublicKey>, SignError> {
        'attempts: for _ in 0..ATTEMPTS {
            let [count] = exact(&*self.server, KEYS, &[])?;
            if count > MAX_KEYS as u64 {
                return Err(CallError::Malformed.into());
            }
            let mut keys = Vec::new();
            let mut edition = None;
            for index in 0..count {
                match self.public_key(index, &mut edition)? {
                    Some(key) => keys.push(key),
                    None => continue 'attempts,
                }
            }
            return Ok(keys);
        }
        Err(CallError::Unavailable.into())
    }

    /// One public part; `None` if the keys changed meanwhile.
    fn public_key(
        &self,
        index: u64,
        edition: &mut Option<u64>,
    ) -> Result<Option<PublicKey>, SignError> {
        let mut bytes = Vec::new();
        loop {
            let mut words = [0; MAX_WORDS];
            let count = self.call(READ, &[index, bytes.len() as u64], &mut words)?;
            let &[now, length, ref chunk @ ..] = &words[..count] else {
                return Err(CallError::Malformed.into());
            };
            if *edition.get_or_insert(now) != now {
                return Ok(None);
            }
            let length = usize::try_from(length)
                .ok()
                .filter(|length| (1..=MAX_PUBLIC).contains(length))
                .ok_or(CallError::Malformed)?;
            let rest = length.saturating_sub(bytes.len()).min(CHUNK);
            if rest == 0 || chunk.len() != rest.div_ceil(8) {
                return Err(CallError::Malformed.into());
            }
            bytes.extend(unpack(chunk).take(rest));
            if bytes.len() == length {
                let key = PublicKey::from_bytes(&bytes).ok_or(CallError::Malformed)?;
                return Ok(Some(key));
            }
        }
    }

    /// A signature by this key.
    ///
    /// # Errors
    /// [`SignError`]; the vault says why.
    pub fn sign(&self, key: KeyId, scheme: u16, content: &Content) -> Result<Vec<u8>, SignError> {
        let mut request = [0; MAX_WORDS];
        let (label, count) = content.encode(key, scheme, &mut request);
        let mut words = [0; MAX_WORDS];
        let count = self.call(label, &request[..count], &mut words)?;
        let mut signature: Vec<u8> = unpack(&words[..count]).collect();
        if is_ecdsa(scheme) {
            let length = match signature[..] {
                // Both curves' signatures have a length of one byte.
                [0x30, length @ 0..0x80, ..] => 2 + usize::from(length),
                _ => return Err(CallError::Malformed.into()),
            };
            if length.div_ceil(8) != count {
                return Err(CallError::Malformed.into());
            }
            signature.truncate(length);
        }
        match signature.is_empty() {
            true => Err(CallError::Malformed.into()),
            false => Ok(signature),
        }
    }

    fn call(
        &self,
        label: u64,
        request: &[u64],
        words: &mut [u64; MAX_WORDS],
    ) -> Result<usize, SignError> {
        let reply = self.server.call(label, request, words);
        match reply.label {
            crate::OK if reply.count <= MAX_WORDS => Ok(reply.count),
            crate::OK => Err(CallError::Malformed.into()),
            other => Err(SignError::of(other)),
        }
    }
}

impl fmt::Debug for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sign").finish_non_exhaustive()
    }
}

/// Whether a scheme is one of ECDSA's, with SHA-256, SHA-384 or SHA-512.
fn is_ecdsa(scheme: u16) -> bool {
    matches!(scheme, 0x0403 | 0x0503 | 0x0603)
}

/// A request as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks for the number of keys: one word.
    Keys,
    /// Asks for a part of a key's public part; see [`encode_chunk`].
    Read {
        /// The key, counted from 0.
        key: usize,
        /// Where the part begins.
        offset: usize,
    },
    /// Asks for a signature.
    Sign {
        /// The key.
        key: KeyId,
        /// The scheme, as in TLS (RFC 8446, section 4.2.3).
        scheme: u16,
        /// What is to be signed.
        content: Content,
    },
}

impl Request {
    /// Checks a request.
    ///
    /// # Errors
    /// [`SignError::WrongLength`] for a hash or public key of a length that its kind does not have;
    /// [`CallError::BadRequest`] for everything else that is no request.
    pub fn decode(label: u64, words: &[u64]) -> Result<Self, SignError> {
        match label {
            KEYS => Ok(arguments(words).map(|[]| Self::Keys)?),
            READ => {
                let [key, offset] = arguments(words)?;
                let (key, offset) = (small(key)?, small(offset)?);
                Ok(Self::Read { key, offset })
            }
            CERTIFICATE_VERIFY => {
                let (&[key, scheme, role, length], hash) = split(words)?;
                let role = match role {
                    0 => Role::Server,
                    1 => Role::Client,
                    _ => return Err(CallError::BadRequest.into()),
                };
                let hash = octets(hash, length)?;
                let transcript = Transcript::new(&hash).ok_or(SignError::WrongLength)?;
                let content = Content::CertificateVerify { role, transcript };
                Self::sign(key, scheme, content)
            }
            KEY_EXCHANGE => {
                let (&[key, scheme], rest) = split(words)?;
                let (client_random, rest) = split::<4>(rest)?;
                let (server_random, rest) = split::<4>(rest)?;
                let (&[curve, length], share) = split(rest)?;
                let curve = u16::try_from(curve).map_err(|_| CallError::BadRequest)?;
                let content = Content::KeyExchange {
                    client_random: random(client_random),
                    server_random: random(server_random),
                    share: Share::new(curve, &octets(share, length)?)?,
                };
                Self::sign(key, scheme, content)
            }
            _ => Err(CallError::BadRequest.into()),
        }
    }

    fn sign(key: u64, scheme: u64, content: Content) -> Result<Self, SignError> {
        Ok(Self::Sign {
            key: KeyId(key),
            scheme: u16::try_from(scheme).map_err(|_| CallError::BadRequest)?,
            content,
        })
    }
}

impl Content {
    /// Writes the request's words; returns its label and how many words it has.
    fn encode(&self, key: KeyId, scheme: u16, words: &mut [u64; MAX_WORDS]) -> (u64, usize) {
        words[..2].copy_from_slice(&[key.0, scheme.into()]);
        match self {
            Self::CertificateVerify { role, transcript } => {
                let hash = transcript.as_bytes();
                words[2] = u64::from(*role == Role::Client);
                words[3] = hash.len() as u64;
                (CERTIFICATE_VERIFY, 4 + pack(hash, &mut words[4..]))
            }
            Self::KeyExchange {
                client_random,
                server_random,
                share,
            } => {
                pack(client_random, &mut words[2..6]);
                pack(server_random, &mut words[6..10]);
                let key = share.as_bytes();
                words[10..12].copy_from_slice(&[share.curve().into(), key.len() as u64]);
                (KEY_EXCHANGE, 12 + pack(key, &mut words[12..]))
            }
        }
    }
}

/// Writes the answer to [`Request::Read`] and says how many words it has.
///
/// # Errors
/// [`CallError::BadRequest`] when there is nothing at this offset.
pub fn encode_chunk(
    public: &[u8],
    edition: u64,
    offset: usize,
    words: &mut [u64; MAX_WORDS],
) -> Result<usize, SignError> {
    let rest = public
        .get(offset..)
        .filter(|rest| !rest.is_empty())
        .ok_or(CallError::BadRequest)?;
    words[..2].copy_from_slice(&[edition, public.len() as u64]);
    let chunk = &rest[..rest.len().min(CHUNK)];
    Ok(2 + pack(chunk, &mut words[2..]))
}

/// Writes a signature's words and says how many there are.
pub fn encode_signature(signature: &[u8], words: &mut [u64; MAX_WORDS]) -> usize {
    pack(signature, words)
}

impl PublicKey {
    /// The bytes that a server hands out: the identifier, then schemes, names and certificates, each list after its
    /// number, each name and certificate after its length.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.id.0.to_le_bytes().to_vec();
        bytes.push(self.schemes.len() as u8);
        bytes.extend(self.schemes.iter().flat_map(|scheme| scheme.to_le_bytes()));
        bytes.push(self.names.len() as u8);
        for name in &self.names {
            bytes.push(name.len() as u8);
            bytes.extend(name.bytes());
        }
        bytes.push(self.chain.len() as u8);
        for certificate in &self.chain {
            bytes.extend((certificate.len() as u32).to_le_bytes());
            bytes.extend(certificate);
        }
        bytes
    }

    /// Reads what [`PublicKey::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let id = KeyId(u64::from_le_bytes(array(bytes)?));
        let [schemes] = array(bytes)?;
        let schemes = (0..schemes).map(|_| Some(u16::from_le_bytes(array(bytes)?)));
        let schemes = schemes.collect::<Option<_>>()?;
        let [names] = array(bytes)?;
        let names = (0..names).map(|_| {
            let [length] = array(bytes)?;
            let name = core::str::from_utf8(take(bytes, length.into())?).ok()?;
            Some(name.into())
        });
        let names = names.collect::<Option<_>>()?;
        let [chain] = array(bytes)?;
        let chain = (0..chain).map(|_| {
            let length = u32::from_le_bytes(array(bytes)?);
            Some(take(bytes, length as usize)?.to_vec())
        });
        let chain = chain.collect::<Option<_>>()?;
        bytes.is_empty().then_some(Self {
            id,
            schemes,
            names,
            chain,
        })
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(first)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    take(bytes, N)?.try_into().ok()
}

/// The first `N` words, and the rest.
fn split<const N: usize>(words: &[u64]) -> Result<(&[u64; N], &[u64]), CallError> {
    words.split_first_chunk().ok_or(CallError::BadRequest)
}

/// A byte string of this length in exactly as many words as it needs.
fn octets(words: &[u64], length: u64) -> Result<Vec<u8>, SignError> {
    let length = small(length).map_err(|_| SignError::WrongLength)?;
    match words.len() == length.div_ceil(8) {
        true => Ok(unpack(words).take(length).collect()),
        false => Err(SignError::WrongLength),
    }
}

fn random(words: &[u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, value) in bytes.iter_mut().zip(unpack(words)) {
        *byte = value;
    }
    bytes
}

fn small(word: u64) -> Result<usize, CallError> {
    usize::try_from(word).map_err(|_| CallError::BadRequest)
}

/// Whether a name of a certificate is for this host: letter by letter, or with `*` for its first label (RFC 9525, section
/// 6.3).
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests;
