//! What is sent to a running vault over a line of its own: keys, certificates, and orders for certificate requests.
//!
//! A parcel is one line: [`CANCEL`], hexadecimal digits, line feed. So whatever an earlier sender did not finish is
//! forgotten. The vault answers with one line of text: `ok` and what a [`Receipt`] says, or `error` and what is wrong. The
//! digits are a [`Parcel`] in [postcard's format](https://postcard.jamesmunns.com/wire-format), and behind it the SHA-256 of
//! these bytes: a serial line loses bytes without saying so. The hash finds mistakes, not forgeries: whoever holds the line
//! is trusted with the keys.

use alloc::vec::Vec;
use core::fmt;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::vault::MAX_CHAIN;
use crate::{ChainError, KeyError, Taken};

/// Forgets what the line had so far (the control character CAN of ASCII).
pub const CANCEL: u8 = 0x18;

/// Most bytes of a parcel with its hash, and of a certificate request: an RSA-4096 key and a chain of several
/// certificates. As many keys of this size as a vault may have fit its heap.
pub const MAX_PARCEL: usize = 16 * 1024;

/// Most names in a parcel: public authorities put no more than 100 into a certificate.
pub const MAX_NAMES: usize = 128;

/// What is sent. In this order: a parcel's first byte says which it is, from 0.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub enum Parcel<'a> {
    /// A key with its certificates, and the private key in DER: PKCS#8 or PKCS#1.
    Key(#[serde(borrow)] Certificates<'a>, &'a [u8]),
    /// Certificates for a key that the vault has.
    Certificates(#[serde(borrow)] Certificates<'a>),
    /// An order for a certificate request: for the key at this place among the vault's.
    Request(u8),
}

/// What is shown of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates<'a> {
    /// The DNS names and IP addresses of the key's own certificate.
    #[serde(borrow)]
    pub names: heapless::Vec<&'a str, MAX_NAMES>,
    /// X.509 certificates in DER, the key's own first.
    #[serde(borrow)]
    pub chain: heapless::Vec<&'a [u8], MAX_CHAIN>,
}

/// What a vault did with a parcel. Its text stands behind `ok` in the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The vault has stored the key.
    Key(Taken),
    /// The vault has stored certificates for a key that it had.
    Certificates(Taken),
    /// It wrote a certificate request, in DER. The text is in hexadecimal digits.
    Request(Vec<u8>),
}

/// Why a vault does not do what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProvisionError {
    /// Not of this form.
    #[error("this is nothing in the form that is agreed on")]
    Malformed,
    /// Its hash is wrong: it was damaged on the way.
    #[error("it was damaged on the way")]
    Damaged,
    /// It, or the request, has more than [`MAX_PARCEL`] bytes.
    #[error("it has more than {MAX_PARCEL} bytes")]
    TooLong,
    /// The vault has as many keys as it may have, or no memory for another.
    #[error("the vault has as many keys as it may have, or no memory for another")]
    Full,
    /// The description allows no signature scheme that the key could sign in.
    #[error("the description allows no signature scheme of such a key")]
    SchemesRefused,
    /// The vault has no key at this place.
    #[error("the vault has no such key")]
    NoKey,
    /// Requests are written for keys that the vault has made; this is another.
    #[error("it is a key that the vault did not make: whoever made it can write the request")]
    NotMade,
    /// The private key.
    #[error("the key: {0}")]
    Key(KeyError),
    /// The certificate chain.
    #[error("the certificate chain: {0}")]
    Chain(ChainError),
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(taken) | Self::Certificates(taken) => taken.fmt(f),
            Self::Request(der) => write!(f, "{:x}", base16ct::HexDisplay(der)),
        }
    }
}

impl<'a> Parcel<'a> {
    /// Reads what a line held.
    ///
    /// # Errors
    /// [`ProvisionError::Malformed`], [`ProvisionError::Damaged`].
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, ProvisionError> {
        let end = bytes.len().checked_sub(SHA256_OUTPUT_LEN);
        let (bytes, hash) = bytes.split_at(end.ok_or(ProvisionError::Malformed)?);
        if digest(&SHA256, bytes).as_ref() != hash {
            return Err(ProvisionError::Damaged);
        }
        match postcard::take_from_bytes(bytes) {
            Ok((parcel, [])) if Self::is_plain(&parcel) => Ok(parcel),
            _ => Err(ProvisionError::Malformed),
        }
    }

    /// Names are written to the log.
    fn is_plain(&self) -> bool {
        match self {
            Self::Key(shown, _) | Self::Certificates(shown) => {
                let mut bytes = shown.names.iter().flat_map(|name| name.bytes());
                bytes.all(|byte| byte.is_ascii_graphic())
            }
            Self::Request(_) => true,
        }
    }
}

/// What comes over a line, gathered byte for byte.
#[derive(Default)]
pub struct Line {
    digits: Zeroizing<Vec<u8>>,
    too_long: bool,
}

impl Line {
    /// Takes one byte; at the end of a line that is not empty, what it held.
    ///
    /// # Errors
    /// [`ProvisionError::Malformed`] and [`ProvisionError::TooLong`], at the end of the line.
    pub fn push(&mut self, byte: u8) -> Option<Result<Zeroizing<Vec<u8>>, ProvisionError>> {
        match byte {
            CANCEL => *self = Self::default(),
            b'\n' => return core::mem::take(self).end(),
            _ if self.digits.len() == 2 * MAX_PARCEL => self.too_long = true,
            digit => {
                // All of it at once, so that a vector that grows leaves nothing behind.
                if self.digits.capacity() == 0 {
                    self.digits.reserve_exact(2 * MAX_PARCEL);
                }
                self.digits.push(digit);
            }
        }
        None
    }

    fn end(self) -> Option<Result<Zeroizing<Vec<u8>>, ProvisionError>> {
        if self.too_long {
            return Some(Err(ProvisionError::TooLong));
        }
        let bytes = base16ct::mixed::decode_vec(&self.digits);
        let bytes = bytes.map_err(|_| ProvisionError::Malformed);
        (!self.digits.is_empty()).then(|| bytes.map(Zeroizing::new))
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
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

    const SHOWN: &[u8] = b"\x02\x06a.test\x09192.0.2.1\x02\x05first\x03two";
    const KEY: u8 = 0;
    const CERTIFICATES: u8 = 1;
    const REQUEST: u8 = 2;

    fn shown() -> Certificates<'static> {
        Certificates {
            names: ["a.test", "192.0.2.1"].into_iter().collect(),
            chain: [&b"first"[..], b"two"].into_iter().collect(),
        }
    }

    fn key() -> Vec<u8> {
        sealed([&[KEY], SHOWN, b"\x04key!"].concat())
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
        // One name, certificate or byte too many, and lengths that nothing can have.
        let names = [&[CERTIFICATES, 129, 1], &[0; 130][..]].concat();
        let chain = [&[CERTIFICATES, 0, 17], &[0; 17][..]].concat();
        let endless = [&[CERTIFICATES][..], &[0xff; 9], &[1]].concat();
        for bytes in [
            vec![],
            vec![3, 0],
            vec![255, 0],
            vec![REQUEST],
            vec![REQUEST, 0, 0],
            [&[KEY], SHOWN].concat(),
            [&[CERTIFICATES], SHOWN, b"\x00"].concat(),
            [&[CERTIFICATES], &SHOWN[..SHOWN.len() - 1]].concat(),
            names,
            chain,
            endless,
            // Names that would write more than a name to the log.
            b"\x01\x01\x02a\n\x00".to_vec(),
            b"\x01\x01\x02\xc3\xa4\x00".to_vec(),
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
        let taken = Taken {
            names: vec!["a".into(), "b".into()],
            place: 0,
            count: 1,
            earlier: Vec::new(),
        };
        assert_eq!(format!("{}", Receipt::Key(taken)), "a, b; key 1 of 1");
        assert_eq!(
            format!("{}", Receipt::Request(vec![0x30, 0, 255])),
            "3000ff"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_with_a_right_hash_are_read_or_refused(kind in 0u8..4, bytes: Vec<u8>) {
            let bytes = sealed([&[kind], &bytes[..]].concat());
            match Parcel::from_bytes(&bytes) {
                Ok(Parcel::Key(shown, _) | Parcel::Certificates(shown)) => {
                    prop_assert!(shown.names.iter().all(|name| name.is_ascii()));
                }
                Ok(Parcel::Request(place)) => prop_assert_eq!(place, bytes[1]),
                Err(error) => prop_assert_eq!(error, ProvisionError::Malformed),
            }
        }
    }
}
