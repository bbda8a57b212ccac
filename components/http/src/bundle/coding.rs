//! Content codings of the precompressed files beside a file.

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `zstd` (RFC 8878), in a file with the suffix `.zst`.
    Zstd,
    /// `br` (RFC 7932), in a file with the suffix `.br`.
    Brotli,
    /// `gzip` (RFC 1952), in a file with the suffix `.gz`.
    Gzip,
}

impl Coding {
    /// All codings, in order of preference: the first is used if the client prefers several equally
    /// and their files have the same size.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The name in `Accept-Encoding` and `Content-Encoding`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the suffix that the name of an encoded file has.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }

    /// Returns whether the bytes can be a file in this coding. Checks only the beginning and the
    /// end: `zstd` and `gzip` have a magic number, and `gzip` ends in the length of the file.
    /// Brotli has neither.
    pub fn fits(self, bytes: &[u8], file: &[u8]) -> bool {
        match self {
            Self::Zstd => bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
            Self::Brotli => !bytes.is_empty(),
            Self::Gzip => {
                let length = (file.len() as u32).to_le_bytes();
                bytes.starts_with(&[0x1f, 0x8b, 8]) && bytes.ends_with(&length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_file_is_known_by_its_mark_and_length() {
        let file = [b'a'; 258];
        let gzip = b"\x1f\x8b\x08......\x02\x01\0\0";
        assert!(Coding::Gzip.fits(gzip, &file));
        assert!(!Coding::Gzip.fits(gzip, &file[1..]));
        assert!(!Coding::Gzip.fits(b"plain\x02\x01\0\0", &file));
        assert!(Coding::Zstd.fits(b"\x28\xb5\x2f\xfd", &file) && !Coding::Zstd.fits(gzip, &file));
        assert!(Coding::Brotli.fits(b"a", &file) && !Coding::Brotli.fits(b"", &file));
    }
}
