//! Parses a ClientHello that was refused: rustls' error does not always state the reason.

use rustls::{Error, PeerIncompatible};

use crate::buffers::Records;
use crate::established::HEADER;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

const SUPPORTED_GROUPS: u16 = 10;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
const SSL3: u16 = 0x0300;
const FALLBACK_SCSV: u16 = 0x5600;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

/// A ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hello {
    tls12: bool,
    tls13: bool,
    supported_groups: bool,
    early_data: bool,
    fallback: bool,
}

/// Returns whether a ClientHello begins here whose `legacy_version` is that of SSL 3.0 or less.
/// rustls ignores that field when supported_versions is present, but such a client must be refused
/// (RFC 8446, appendix D.5).
pub(crate) fn is_of_ssl(records: &[u8]) -> bool {
    let handshake = Records(records).take_while(|record| record[0] == HANDSHAKE);
    let mut bytes = handshake.flat_map(|record| &record[HEADER..]);
    if bytes.next() != Some(&CLIENT_HELLO) {
        return false;
    }
    // After the length.
    match (bytes.nth(3), bytes.next()) {
        (Some(&major), Some(&minor)) => u16::from_be_bytes([major, minor]) <= SSL3,
        _ => false,
    }
}

/// Returns whether the client has fallen back from TLS 1.3, possibly because of an active attack
/// (RFC 7507, section 3).
pub(crate) fn is_fallback(records: &[u8]) -> bool {
    hello(records).is_some_and(|hello| hello.fallback && !hello.tls13)
}

/// Returns whether the ClientHello here announces early data (RFC 8446, section 4.2.10); `None` if
/// there is no ClientHello.
pub(crate) fn offers_early_data(records: &[u8]) -> Option<bool> {
    hello(records).map(|hello| hello.early_data)
}

/// Makes rustls' error more precise, by the records that caused it.
///
/// rustls checks the signature algorithms before it checks the version, and treats missing groups
/// like groups that do not match.
pub(crate) fn precise(error: Error, records: &[u8]) -> Error {
    use PeerIncompatible as Peer;
    let Error::PeerIncompatible(reason) = &error else {
        return error;
    };
    let Some(hello) = hello(records) else {
        return error;
    };
    let precise = match reason {
        Peer::SignatureAlgorithmsExtensionRequired if !hello.tls12 && !hello.tls13 => {
            Peer::Tls12NotOfferedOrEnabled
        }
        // A TLS 1.2 client without the extension supports only SHA-1 (RFC 5246, section 7.4.1.4.1).
        Peer::SignatureAlgorithmsExtensionRequired if !hello.tls13 => {
            Peer::NoSignatureSchemesInCommon
        }
        Peer::NoKxGroupsInCommon if hello.tls13 && !hello.supported_groups => {
            Peer::NamedGroupsExtensionRequired
        }
        _ => return error,
    };
    precise.into()
}

/// Reads the ClientHello at the front of these records; `None` if there is none. rustls has joined
/// its fragments after the first record's header.
fn hello(records: &[u8]) -> Option<Hello> {
    let mut message = Reader(records.get(HEADER..)?);
    if message.take(1)? != [CLIENT_HELLO] {
        return None;
    }
    let mut body = Reader(message.vector(3)?);
    let version = body.number()?;
    body.take(32)?;
    // The session ID, the cipher suites, the compression methods.
    body.vector(1)?;
    let mut suites = body.vector(2)?.chunks_exact(2);
    body.vector(1)?;
    let mut hello = Hello {
        tls12: version >= TLS12,
        fallback: suites.any(|suite| suite == FALLBACK_SCSV.to_be_bytes()),
        ..Hello::default()
    };
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(body.vector(2)?);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let mut content = Reader(extensions.vector(2)?);
        match kind {
            SUPPORTED_GROUPS => hello.supported_groups = true,
            EARLY_DATA => hello.early_data = true,
            SUPPORTED_VERSIONS => {
                let versions = content.vector(1)?;
                let offers = |wanted: u16| {
                    let mut versions = versions.chunks_exact(2);
                    versions.any(|version| version == wanted.to_be_bytes())
                };
                (hello.tls12, hello.tls13) = (offers(TLS12), offers(TLS13));
            }
            _ => {}
        }
    }
    Some(hello)
}

/// A reader of fields from the front of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Reads a vector whose length field has so many bytes.
    fn vector(&mut self, size: usize) -> Option<&'a [u8]> {
        let length = self.take(size)?.iter();
        self.take(length.fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }
}
