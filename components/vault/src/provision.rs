//! What is sent to a running vault over a line of its own: keys, certificates, and orders for certificate requests.
//!
//! A parcel is one line: [`CANCEL`], hexadecimal digits, line feed. So whatever an earlier sender did not finish is
//! forgotten. The vault answers with one line of text: `ok` and what a [`Receipt`] says, or `error` and what is wrong. The
//! digits are these bytes:
//!
//! | parcel | bytes | what |
//! |---|---|---|
//! | all | 1 | [`KEY`], [`CERTIFICATES`] or [`REQUEST`] |
//! | `KEY`, `CERTIFICATES` | 1 | number of names; then each name after its length (1 byte) |
//! | | 1 | number of certificates; then each, in DER, after its length (2 bytes, little-endian) |
//! | `KEY` | 2 | length of the private key, little-endian; then the key: PKCS#8 or PKCS#1 in DER |
//! | `REQUEST` | 1 | the key that a request is wanted for: its place among the vault's keys, from 0 |
//! | all | 32 | SHA-256 of all bytes before: a serial line loses bytes without saying so |
//!
//! The hash finds mistakes, not forgeries: whoever holds the line is trusted with the keys.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use zeroize::{Zeroize, Zeroizing};

use crate::{ChainError, KeyError};

/// Forgets what the line had so far (the control character CAN of ASCII).
pub const CANCEL: u8 = 0x18;

/// First byte of a key with its certificates.
pub const KEY: u8 = 1;
/// First byte of certificates for a key that the vault has.
pub const CERTIFICATES: u8 = 2;
/// First byte of an order for a certificate request.
pub const REQUEST: u8 = 3;

/// Most bytes of a parcel, and of a certificate request: an RSA-4096 key and a chain of several certificates. As many
/// keys of this size as a vault may have fit its heap.
pub const MAX_PARCEL: usize = 16 * 1024;

/// What is sent.
#[derive(PartialEq, Eq)]
pub enum Parcel<'a> {
    /// A key with its certificates, and the private key in DER: PKCS#8 or PKCS#1.
    Key(Certificates<'a>, &'a [u8]),
    /// Certificates for a key that the vault has.
    Certificates(Certificates<'a>),
    /// An order for a certificate request: for the key at this place among the vault's.
    Request(u8),
}

/// What is shown of a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificates<'a> {
    /// The DNS names and IP addresses of the key's own certificate.
    pub names: Vec<String>,
    /// X.509 certificates in DER, the key's own first.
    pub chain: Vec<&'a [u8]>,
}

/// What a vault did with a parcel. Its text stands behind `ok` in the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It has the key for these names.
    Key(String),
    /// It has certificates for these names.
    Certificates(String),
    /// It wrote a certificate request, in DER. The text is in hexadecimal digits.
    Request(Vec<u8>),
}

/// Why a vault does not do what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisionError {
    /// Not of this form.
    Malformed,
    /// Its hash is wrong: it was damaged on the way.
    Damaged,
    /// It, or the request, has more than [`MAX_PARCEL`] bytes, or a part that is longer than its length can say.
    TooLong,
    /// The vault has as many keys as it may have.
    Full,
    /// The description allows no signature scheme that the key could sign in.
    SchemesRefused,
    /// The vault has no key at this place.
    NoKey,
    /// Requests are written for keys of the kinds that the vault makes; this is an RSA key.
    OtherKind,
    /// The private key.
    Key(KeyError),
    /// The certificate chain.
    Chain(ChainError),
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(names) | Self::Certificates(names) => f.write_str(names),
            Self::Request(der) => der.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "this is nothing in the form that is agreed on",
            Self::Damaged => "it was damaged on the way",
            Self::TooLong => return write!(f, "it has more than {MAX_PARCEL} bytes"),
            Self::Full => "the vault has as many keys as it may have",
            Self::SchemesRefused => "the description allows no signature scheme of such a key",
            Self::NoKey => "the vault has no such key",
            Self::OtherKind => {
                "it is an RSA key; requests are written for the kinds of key that the vault makes"
            }
            Self::Key(error) => return write!(f, "the key: {error}"),
            Self::Chain(error) => return write!(f, "the certificate chain: {error}"),
        })
    }
}

impl core::error::Error for ProvisionError {}

impl<'a> Parcel<'a> {
    /// Reads what a line held.
    ///
    /// # Errors
    /// [`ProvisionError::Malformed`], [`ProvisionError::Damaged`].
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, ProvisionError> {
        let end = bytes.len().checked_sub(SHA256_OUTPUT_LEN);
        let (mut bytes, hash) = bytes.split_at(end.ok_or(ProvisionError::Malformed)?);
        if digest(&SHA256, bytes).as_ref() != hash {
            return Err(ProvisionError::Damaged);
        }
        Self::parts(&mut bytes)
            .filter(|_| bytes.is_empty())
            .ok_or(ProvisionError::Malformed)
    }

    fn parts(bytes: &mut &'a [u8]) -> Option<Self> {
        Some(match byte(bytes)? {
            KEY => Self::Key(Certificates::parts(bytes)?, part(bytes)?),
            CERTIFICATES => Self::Certificates(Certificates::parts(bytes)?),
            REQUEST => Self::Request(byte(bytes)?),
            _ => return None,
        })
    }
}

impl<'a> Certificates<'a> {
    fn parts(bytes: &mut &'a [u8]) -> Option<Self> {
        let names = (0..byte(bytes)?).map(|_| {
            let length = byte(bytes)?;
            let name = core::str::from_utf8(take(bytes, length.into())?).ok()?;
            // Names are written to the log.
            name.bytes()
                .all(|byte| byte.is_ascii_graphic())
                .then(|| name.into())
        });
        let names = names.collect::<Option<_>>()?;
        let chain = (0..byte(bytes)?).map(|_| part(bytes));
        let chain = chain.collect::<Option<_>>()?;
        Some(Self { names, chain })
    }
}

/// What comes over a line, gathered byte for byte.
#[derive(Default)]
pub struct Line {
    bytes: Zeroizing<Vec<u8>>,
    /// The first digit of a byte.
    half: Option<u8>,
    /// Why the line that comes is none; what comes until its end is thrown away.
    wrong: Option<ProvisionError>,
}

impl Line {
    /// Takes one byte; at the end of a line that is not empty, what it held.
    ///
    /// # Errors
    /// [`ProvisionError::Malformed`] and [`ProvisionError::TooLong`], at the end of the line.
    pub fn push(&mut self, byte: u8) -> Option<Result<Zeroizing<Vec<u8>>, ProvisionError>> {
        match byte {
            CANCEL => {
                *self = Self::default();
                return None;
            }
            b'\n' => return self.end(),
            _ if self.wrong.is_some() => return None,
            _ => {}
        }
        let digit = char::from(byte).to_digit(16);
        match (digit, self.half.take()) {
            (None, _) => self.spoil(ProvisionError::Malformed),
            (Some(digit), None) => self.half = Some(digit as u8),
            (Some(_), Some(_)) if self.bytes.len() == MAX_PARCEL => {
                self.spoil(ProvisionError::TooLong);
            }
            (Some(digit), Some(high)) => {
                // All of it at once, so that a vector that grows leaves nothing behind.
                if self.bytes.capacity() == 0 {
                    self.bytes.reserve_exact(MAX_PARCEL);
                }
                self.bytes.push(high << 4 | digit as u8);
            }
        }
        None
    }

    fn spoil(&mut self, error: ProvisionError) {
        self.bytes.zeroize();
        self.half.zeroize();
        self.wrong = Some(error);
    }

    fn end(&mut self) -> Option<Result<Zeroizing<Vec<u8>>, ProvisionError>> {
        let line = core::mem::take(self);
        match (line.wrong, line.half) {
            (Some(error), _) => Some(Err(error)),
            (None, Some(_)) => Some(Err(ProvisionError::Malformed)),
            (None, None) => (!line.bytes.is_empty()).then_some(Ok(line.bytes)),
        }
    }
}

/// A byte string behind its length of 2 bytes.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_le_bytes([byte(bytes)?, byte(bytes)?]);
    take(bytes, length.into())
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    type Received = Vec<Result<Vec<u8>, ProvisionError>>;

    fn received(text: &[u8]) -> Received {
        let mut line = Line::default();
        let results = text.iter().filter_map(|byte| line.push(*byte));
        results
            .map(|result| result.map(|bytes| bytes.to_vec()))
            .collect()
    }

    fn line(bytes: &[u8]) -> Vec<u8> {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        let digits = digits.collect::<String>();
        [&[CANCEL], digits.as_bytes(), b"\n"].concat()
    }

    /// A parcel's bytes with their hash.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let hash = digest(&SHA256, &bytes);
        bytes.extend(hash.as_ref());
        bytes
    }

    const SHOWN: &[u8] = b"\x02\x06a.test\x09192.0.2.1\x02\x05\x00first\x03\x00two";

    fn shown() -> Certificates<'static> {
        Certificates {
            names: vec!["a.test".into(), "192.0.2.1".into()],
            chain: vec![b"first", b"two"],
        }
    }

    fn key() -> Vec<u8> {
        sealed([&[KEY], SHOWN, b"\x04\x00key!"].concat())
    }

    #[test]
    fn parcels_of_every_kind_are_read() {
        let parcel = Parcel::Key(shown(), b"key!");
        assert!(Parcel::from_bytes(&key()) == Ok(parcel));
        let certificates = sealed([&[CERTIFICATES], SHOWN].concat());
        let parcel = Parcel::Certificates(shown());
        assert!(Parcel::from_bytes(&certificates) == Ok(parcel));
        let request = sealed(vec![REQUEST, 7]);
        assert!(Parcel::from_bytes(&request) == Ok(Parcel::Request(7)));
    }

    #[test]
    fn what_is_no_parcel_is_malformed() {
        let malformed = Some(ProvisionError::Malformed);
        for bytes in [
            vec![],
            vec![0, 0],
            vec![4, 0],
            vec![REQUEST],
            vec![REQUEST, 0, 0],
            [&[KEY], SHOWN].concat(),
            [&[CERTIFICATES], SHOWN, b"\x00"].concat(),
            [&[CERTIFICATES], &SHOWN[..SHOWN.len() - 1]].concat(),
            // Names that would write more than a name to the log.
            b"\x02\x01\x02a\n\x00".to_vec(),
            b"\x02\x01\x02\xc3\xa4\x00".to_vec(),
        ] {
            assert_eq!(Parcel::from_bytes(&sealed(bytes)).err(), malformed);
        }
        assert_eq!(Parcel::from_bytes(b"short").err(), malformed);
    }

    #[test]
    fn a_line_that_broke_off_does_not_spoil_the_next() {
        let line = line(&key());
        let text = [&line[..50], &line].concat();
        assert_eq!(received(&text), [Ok(key())]);
    }

    #[test]
    fn what_is_no_line_is_said_once_at_its_end() {
        let malformed: Received = vec![Err(ProvisionError::Malformed)];
        assert_eq!(received(b"hello world\n"), malformed);
        assert_eq!(received(b"abc\n"), malformed);
        assert_eq!(received(b"\n\n\n"), Received::new());
        let long = [vec![b'0'; 2 * MAX_PARCEL + 2], vec![b'\n']].concat();
        assert_eq!(received(&long), [Err(ProvisionError::TooLong)]);
        let most = [vec![b'0'; 2 * MAX_PARCEL], vec![b'\n']].concat();
        assert_eq!(received(&most), [Ok(vec![0; MAX_PARCEL])]);
    }

    #[test]
    fn every_damaged_bit_is_found() {
        let bytes = key();
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = Parcel::from_bytes(&damaged).err();
            assert_eq!(error, Some(ProvisionError::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_receipt_is_one_line_of_text() {
        assert_eq!(format!("{}", Receipt::Key("a, b".into())), "a, b");
        assert_eq!(
            format!("{}", Receipt::Request(vec![0x30, 0, 255])),
            "3000ff"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_with_a_right_hash_are_read_or_refused(kind in 0u8..5, bytes: Vec<u8>) {
            let bytes = sealed([&[kind], &bytes[..]].concat());
            match Parcel::from_bytes(&bytes) {
                Ok(Parcel::Key(shown, _) | Parcel::Certificates(shown)) => {
                    prop_assert!(shown.names.iter().all(|name| name.len() <= 255));
                }
                Ok(Parcel::Request(place)) => prop_assert_eq!(place, bytes[1]),
                Err(error) => prop_assert_eq!(error, ProvisionError::Malformed),
            }
        }
    }
}
