//! Which clients are served.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use channel::streams::PeerIdentity;

/// Who is served: everybody, or those with a certificate that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients(Vec<String>);

impl Clients {
    /// Clients by the name in their certificate, spelled as there, or by its SHA-256 digest in lower-case
    /// hexadecimal digits. Without any, everybody is served.
    pub fn new(named: Vec<String>) -> Self {
        Self(named)
    }

    pub(crate) fn admit(&self, peer: Option<&PeerIdentity>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some(peer) = peer else {
            return false;
        };
        let digest = fingerprint(peer);
        let is_named = |name: &String| Some(name.as_str()) == peer.name() || *name == digest;
        self.0.iter().any(is_named)
    }
}

/// The digest of a certificate in hexadecimal digits.
pub(crate) fn fingerprint(peer: &PeerIdentity) -> String {
    let mut text = String::with_capacity(64);
    for byte in peer.digest() {
        // Writing into a String does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_admitted_by_name_or_digest() {
        let peer = PeerIdentity::new([0xab; 32], "a.example");
        let nameless = PeerIdentity::new([0xab; 32], "");
        let everybody = Clients::default();
        assert!(everybody.admit(None) && everybody.admit(Some(&peer)));
        let by_name = Clients::new(alloc::vec!["b.example".into(), "a.example".into()]);
        assert!(by_name.admit(Some(&peer)));
        assert!(!by_name.admit(Some(&nameless)) && !by_name.admit(None));
        let by_digest = Clients::new(alloc::vec!["ab".repeat(32)]);
        assert!(by_digest.admit(Some(&peer)) && by_digest.admit(Some(&nameless)));
        assert!(!by_digest.admit(Some(&PeerIdentity::new([0xac; 32], "a.example"))));
    }
}
