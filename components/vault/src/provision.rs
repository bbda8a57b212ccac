//! Keys that are sent to a running vault over a line of its own.
//!
//! A key with its chain and names is one line: [`CANCEL`], hexadecimal digits, line feed. So whatever an earlier sender
//! did not finish is forgotten. The vault answers with one line of text, `ok` and the names or `error` and what is
//! wrong. The digits are these bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | [`FORMAT`] |
//! | 1 | number of names; then each name after its length (1 byte) |
//! | 1 | number of certificates; then each, in DER, after its length (2 bytes, little-endian) |
//! | 2 | length of the private key, little-endian; then the key: PKCS#8 or PKCS#1 in DER |
//! | 32 | SHA-256 of all bytes before: a serial line loses bytes without saying so |
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

/// First byte of the encoding.
pub const FORMAT: u8 = 1;

/// Most bytes of a parcel: an RSA-4096 key and a chain of several certificates. As many keys of this size as a vault
/// may have fit its heap.
pub const MAX_PARCEL: usize = 16 * 1024;

/// A key as it is sent.
#[derive(PartialEq, Eq)]
pub struct Parcel<'a> {
    /// The DNS names and IP addresses of its certificate.
    pub names: Vec<String>,
    /// X.509 certificates in DER, the key's own first.
    pub chain: Vec<&'a [u8]>,
    /// The private key in DER: PKCS#8 or PKCS#1.
    pub key: &'a [u8],
}

/// Why a key that was sent is not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisionError {
    /// Not of this form.
    Malformed,
    /// Its hash is wrong: it was damaged on the way.
    Damaged,
    /// It has more than [`MAX_PARCEL`] bytes, or a part that is longer than its length can say.
    TooLong,
    /// The vault has as many keys as it may have.
    Full,
    /// The description allows no signature scheme that the key could sign in.
    SchemesRefused,
    /// The private key.
    Key(KeyError),
    /// The certificate chain.
    Chain(ChainError),
}

impl fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("this is no key in the form that is agreed on"),
            Self::Damaged => f.write_str("it was damaged on the way"),
            Self::TooLong => write!(f, "key and chain have more than {MAX_PARCEL} bytes"),
            Self::Full => f.write_str("the vault has as many keys as it may have"),
            Self::SchemesRefused => {
                f.write_str("the description allows no signature scheme of such a key")
            }
            Self::Key(error) => write!(f, "the key: {error}"),
            Self::Chain(error) => write!(f, "the certificate chain: {error}"),
        }
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
        if byte(bytes)? != FORMAT.into() {
            return None;
        }
        let names = (0..byte(bytes)?).map(|_| {
            let length = byte(bytes)?;
            let name = core::str::from_utf8(take(bytes, length)?).ok()?;
            // Names are written to the log.
            name.bytes()
                .all(|byte| byte.is_ascii_graphic())
                .then(|| name.into())
        });
        let names = names.collect::<Option<_>>()?;
        let chain = (0..byte(bytes)?).map(|_| part(bytes));
        let chain = chain.collect::<Option<_>>()?;
        let key = part(bytes)?;
        Some(Self { names, chain, key })
    }

    /// The line that sends it.
    ///
    /// # Errors
    /// [`ProvisionError::TooLong`].
    pub fn to_line(&self) -> Result<Zeroizing<String>, ProvisionError> {
        // As large as it may become, so that nothing is moved and left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PARCEL));
        let total = self.names.iter().map(String::len).sum::<usize>()
            + self.chain.iter().map(|der| der.len()).sum::<usize>()
            + self.key.len();
        let short = |length: usize| u8::try_from(length).map_err(|_| ProvisionError::TooLong);
        let overhead = 5 + SHA256_OUTPUT_LEN + self.names.len() + 2 * self.chain.len();
        if total + overhead > MAX_PARCEL {
            return Err(ProvisionError::TooLong);
        }
        bytes.extend([FORMAT, short(self.names.len())?]);
        for name in &self.names {
            bytes.push(short(name.len())?);
            bytes.extend(name.bytes());
        }
        bytes.push(short(self.chain.len())?);
        for part in self.chain.iter().chain([&self.key]) {
            // Less than MAX_PARCEL, as all of them together.
            bytes.extend((part.len() as u16).to_le_bytes());
            bytes.extend(*part);
        }
        let hash = digest(&SHA256, &bytes);
        bytes.extend(hash.as_ref());
        let mut line = Zeroizing::new(String::with_capacity(2 * MAX_PARCEL + 2));
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 0xf)]);
        line.push(CANCEL.into());
        line.extend(
            bytes
                .iter()
                .flat_map(|byte| [digit(byte >> 4), digit(*byte)]),
        );
        line.push('\n');
        Ok(line)
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
    let (low, high) = (byte(bytes)?, byte(bytes)?);
    take(bytes, high << 8 | low)
}

fn byte(bytes: &mut &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some((*first).into())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
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

    fn parcel() -> Parcel<'static> {
        Parcel {
            names: vec!["a.test".into(), "192.0.2.1".into()],
            chain: vec![&[0x30; 300], &[7; 5]],
            key: &[9; 40],
        }
    }

    #[test]
    fn a_parcel_comes_out_as_it_went_in() {
        let line = parcel().to_line().unwrap();
        let received = received(line.as_bytes());
        let [Ok(bytes)] = &received[..] else {
            panic!("{received:?}");
        };
        assert!(Parcel::from_bytes(bytes) == Ok(parcel()));
    }

    #[test]
    fn a_line_that_broke_off_does_not_spoil_the_next() {
        let line = parcel().to_line().unwrap();
        let text = [&line.as_bytes()[..50], line.as_bytes()].concat();
        let received = received(&text);
        let [Ok(bytes)] = &received[..] else {
            panic!("{received:?}");
        };
        assert!(Parcel::from_bytes(bytes) == Ok(parcel()));
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
    fn a_parcel_that_is_too_long_is_not_sent() {
        let key = [0; MAX_PARCEL];
        let long = Parcel {
            key: &key,
            ..parcel()
        };
        assert_eq!(long.to_line().err(), Some(ProvisionError::TooLong));
        let overhead = 5 + SHA256_OUTPUT_LEN + 2 + 4 + 6 + 9 + 305;
        let longest = Parcel {
            key: &key[overhead..],
            ..parcel()
        };
        let line = longest.to_line().unwrap();
        assert_eq!(line.len(), 2 * MAX_PARCEL + 2);
    }

    #[test]
    fn every_damaged_bit_is_found() {
        let line = parcel().to_line().unwrap();
        let bytes = received(line.as_bytes()).remove(0).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = Parcel::from_bytes(&damaged).err();
            assert_eq!(error, Some(ProvisionError::Damaged), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_with_a_right_hash_are_read_or_refused(mut bytes: Vec<u8>) {
            if let Some(first) = bytes.first_mut() {
                *first = FORMAT;
            }
            let hash = digest(&SHA256, &bytes);
            bytes.extend(hash.as_ref());
            if let Ok(parcel) = Parcel::from_bytes(&bytes) {
                let line = parcel.to_line().unwrap();
                prop_assert_eq!(received(line.as_bytes()), [Ok(bytes)]);
            }
        }
    }
}
