//! What a ClientHello that was refused offers: rustls' error does not always say why.

use rustls::{Error, PeerIncompatible};

const SUPPORTED_GROUPS: u16 = 10;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

/// A ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hello {
    tls12: bool,
    tls13: bool,
    supported_groups: bool,
}

/// rustls' error made more precise by the records that it was about.
///
/// rustls looks for signature algorithms before it looks at the version, and takes groups that are missing for
/// groups that do not fit.
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
        // A TLS 1.2 client without the extension means SHA-1 (RFC 5246, section 7.4.1.4.1).
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

/// Reads the ClientHello at the front of these records; `None` where there is none. rustls has brought its fragments
/// together behind the first record's header.
fn hello(records: &[u8]) -> Option<Hello> {
    const CLIENT_HELLO: u8 = 1;
    let mut message = Reader(records.get(5..)?);
    if message.take(1)? != [CLIENT_HELLO] {
        return None;
    }
    let mut body = Reader(message.vector(3)?);
    let version = body.number()?;
    body.take(32)?;
    // The session, the cipher suites, the compression methods.
    body.vector(1)?;
    body.vector(2)?;
    body.vector(1)?;
    let mut hello = Hello {
        tls12: version >= TLS12,
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

/// Takes fields from the front of a message.
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

    /// What lies behind a length of so many bytes.
    fn vector(&mut self, size: usize) -> Option<&'a [u8]> {
        let length = self.take(size)?.iter();
        self.take(length.fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }
}
