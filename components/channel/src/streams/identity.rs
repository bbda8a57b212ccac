//! Who is at the other end of a connection.

use core::fmt;

use super::layout::IDENTITY_WORDS;

/// The other end's identity, as the provider has verified it: for TLS, that of its certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    digest: [u8; 32],
    name: [u8; PeerIdentity::MAX_NAME],
    length: usize,
}

impl PeerIdentity {
    /// Longest name in bytes.
    pub const MAX_NAME: usize = 64;

    /// The SHA-256 digest of a certificate (DER), and a name of its holder. A name that is longer than
    /// [`PeerIdentity::MAX_NAME`], or has other characters than visible ASCII, is left out: cut or changed it could
    /// be another's.
    pub fn new(digest: [u8; 32], name: &str) -> Self {
        let mut identity = Self {
            digest,
            name: [0; Self::MAX_NAME],
            length: 0,
        };
        if let Some(place) = identity.name.get_mut(..name.len())
            && is_visible(name.as_bytes())
        {
            place.copy_from_slice(name.as_bytes());
            identity.length = name.len();
        }
        identity
    }

    /// The SHA-256 digest of the certificate.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The name, if there is one that can be told.
    pub fn name(&self) -> Option<&str> {
        let name = core::str::from_utf8(&self.name[..self.length]).ok()?;
        (!name.is_empty()).then_some(name)
    }

    pub(super) fn name_length(&self) -> usize {
        self.length
    }

    pub(super) fn to_words(self) -> [u64; IDENTITY_WORDS] {
        let mut words = [0; IDENTITY_WORDS];
        let bytes = self.digest.chunks(8).chain(self.name.chunks(8));
        for (word, bytes) in words.iter_mut().zip(bytes) {
            *word = u64::from_le_bytes(core::array::from_fn(|index| bytes[index]));
        }
        words
    }

    /// `None` for what [`PeerIdentity::new`] would not have made.
    pub(super) fn from_words(words: [u64; IDENTITY_WORDS], length: usize) -> Option<Self> {
        let mut bytes = [0; 8 * IDENTITY_WORDS];
        for (place, word) in bytes.chunks_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let (digest, name) = bytes.split_first_chunk()?;
        let (used, rest) = name.split_at_checked(length)?;
        let plausible = is_visible(used) && rest.iter().all(|&byte| byte == 0);
        plausible.then_some(Self {
            digest: *digest,
            name: name.try_into().ok()?,
            length,
        })
    }
}

/// Nothing that could end a line or hide in one.
fn is_visible(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = u64::from_be_bytes(core::array::from_fn(|index| self.digest[index]));
        write!(f, "PeerIdentity({:?}, {digest:016x}…)", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_their_words() {
        let digest = core::array::from_fn(|index| index as u8);
        for name in [
            "",
            "a",
            "client.example",
            core::str::from_utf8(&[b'x'; 64]).unwrap(),
        ] {
            let identity = PeerIdentity::new(digest, name);
            assert_eq!(identity.name().unwrap_or(""), name);
            assert_eq!(identity.digest(), &digest);
            let read = PeerIdentity::from_words(identity.to_words(), name.len());
            assert_eq!(read, Some(identity));
        }
    }

    #[test]
    fn names_that_cannot_be_told_whole_are_left_out() {
        let long = [b'x'; 65];
        for name in [
            "two words",
            "line\n",
            "ümlaut",
            core::str::from_utf8(&long).unwrap(),
        ] {
            assert_eq!(PeerIdentity::new([7; 32], name).name(), None);
        }
    }

    #[test]
    fn words_that_are_no_identity_are_none() {
        let words = PeerIdentity::new([7; 32], "name").to_words();
        assert_eq!(PeerIdentity::from_words(words, 65), None);
        assert_eq!(PeerIdentity::from_words(words, usize::MAX), None);
        assert_eq!(PeerIdentity::from_words(words, 5), None, "a zero byte");
        assert_eq!(PeerIdentity::from_words(words, 3), None, "a byte too many");
    }
}
