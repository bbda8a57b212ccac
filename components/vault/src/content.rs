//! The bytes that TLS signs.

use alloc::vec::Vec;

use channel::sign::{Content, Role};

/// In front of the context string (RFC 8446, section 4.4.3).
const PADDING: [u8; 64] = [0x20; 64];
const SERVER: &[u8] = b"TLS 1.3, server CertificateVerify";
const CLIENT: &[u8] = b"TLS 1.3, client CertificateVerify";

/// ECCurveType `named_curve` (RFC 8422, section 5.4).
const NAMED_CURVE: u8 = 3;

/// What is signed for a content.
pub(crate) fn signed(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    match content {
        Content::CertificateVerify { role, transcript } => {
            bytes.extend(PADDING);
            bytes.extend(match role {
                Role::Server => SERVER,
                Role::Client => CLIENT,
            });
            bytes.push(0);
            bytes.extend(transcript.as_bytes());
        }
        Content::KeyExchange {
            client_random,
            server_random,
            share,
        } => {
            let key = share.as_bytes();
            bytes.extend(client_random);
            bytes.extend(server_random);
            bytes.push(NAMED_CURVE);
            bytes.extend(share.curve().to_be_bytes());
            bytes.push(key.len() as u8);
            bytes.extend(key);
        }
    }
    bytes
}
