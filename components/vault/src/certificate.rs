//! What the vault writes about keys of its own: self-signed certificates (RFC 5280) and requests for certificates of an
//! authority (PKCS#10, RFC 2986). Nearly all of it the builder has written before; the vault puts the key, the time,
//! a serial number and the signature to it.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use der::asn1::Any;
use der::{DateTime, Encode, Tag};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::KeyError;
use crate::key::Key;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Validity of a self-signed certificate: public authorities may issue for 200 days since March
/// 2026 (CA/Browser Forum, Baseline Requirements, section 6.3.2), so clients may reject longer
/// validities in the future.
const VALIDITY: Duration = DAY.saturating_mul(199);

/// How long before now it is valid already: for clients whose clock is behind.
const GRACE: Duration = DAY;

/// Maximum age of a certificate before it is renewed. More than a third of its validity is left
/// then.
const MAX_AGE: Duration = DAY.saturating_mul(131);

/// Version 3 of a certificate, and the only one of a request, in DER.
const CERTIFICATE_VERSION: &[u8] = &[0xa0, 3, 2, 1, 2];
const REQUEST_VERSION: &[u8] = &[2, 1, 0];

/// The serial number of a certificate is 16 bytes: tag and length in DER.
const SERIAL: [u8; 2] = [2, 16];

/// What the certificates and requests of a key say whichever key is made, each part in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject<'a> {
    /// Whose key it is: a `Name` (RFC 5280, section 4.1.2.4).
    pub name: &'a [u8],
    /// The algorithm of the public key: an `AlgorithmIdentifier` (RFC 5280, section 4.1.1.2).
    pub key_algorithm: &'a [u8],
    /// The algorithm of the key's signatures: another.
    pub signature_algorithm: &'a [u8],
    /// The `extensions` of a `TBSCertificate`, with their tag.
    pub extensions: &'a [u8],
    /// The `attributes` of a `CertificationRequestInfo`, with their tag.
    pub attributes: &'a [u8],
}

impl<'a> Subject<'a> {
    /// As a keyring has it.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("encoding into a Vec fails only for unsized lists")
    }

    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Result<Self, KeyError> {
        postcard::from_bytes(bytes).map_err(|_| KeyError::NoCertificate)
    }

    /// A self-signed certificate. `now` is in seconds since 1970.
    pub(crate) fn self_signed(&self, key: &Key, now: u64) -> Result<Vec<u8>, KeyError> {
        let mut serial = [0; 16];
        let random = SystemRandom::new().fill(&mut serial);
        random.map_err(|_| KeyError::NoRandomness)?;
        // Of the same length always, and positive (RFC 5280, section 4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let from = Duration::from_secs(now).saturating_sub(GRACE);
        let (from, until) = (time(from)?, time(from.saturating_add(VALIDITY))?);
        let body = [
            CERTIFICATE_VERSION,
            &SERIAL,
            &serial,
            self.signature_algorithm,
            self.name,
            &der(Tag::Sequence, &[&from, &until])?,
            self.name,
            &self.public_key(key)?,
            self.extensions,
        ];
        self.signed(key, &body)
    }

    /// A request for a certificate with the extensions of the self-signed one.
    pub(crate) fn request(&self, key: &Key) -> Result<Vec<u8>, KeyError> {
        let public = self.public_key(key)?;
        self.signed(key, &[REQUEST_VERSION, self.name, &public, self.attributes])
    }

    /// A body, how it is signed, and the signature.
    fn signed(&self, key: &Key, body: &[&[u8]]) -> Result<Vec<u8>, KeyError> {
        let body = der(Tag::Sequence, body)?;
        let scheme = key.schemes().next().ok_or(KeyError::NoCertificate)?;
        let signature = key.sign(scheme, &body);
        let signature = bit_string(&signature.map_err(|_| KeyError::NoRandomness)?)?;
        der(
            Tag::Sequence,
            &[&body, self.signature_algorithm, &signature],
        )
    }

    /// RFC 5280, section 4.1.2.7.
    fn public_key(&self, key: &Key) -> Result<Vec<u8>, KeyError> {
        let key = bit_string(key.public())?;
        der(Tag::Sequence, &[self.key_algorithm, &key])
    }
}

/// Returns whether a certificate that was issued at `written` must be renewed: its last third has
/// begun, or it is not valid yet because the clock has been set back. Both times are in seconds
/// since 1970.
pub(crate) fn is_due(written: u64, now: u64) -> bool {
    let [earliest, latest] = [GRACE, MAX_AGE].map(|time| time.as_secs());
    now.saturating_add(earliest) < written || now >= written.saturating_add(latest)
}

/// Until 2049 with two digits of the year, later with four (RFC 5280, section 4.1.2.5).
fn time(since_1970: Duration) -> Result<Vec<u8>, KeyError> {
    let time = DateTime::from_unix_duration(since_1970)?;
    let (year, month, day) = (time.year(), time.month(), time.day());
    let (hour, minute, second) = (time.hour(), time.minutes(), time.seconds());
    let digits = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    match year {
        ..2050 => der(Tag::UtcTime, &[&digits.as_bytes()[2..]]),
        _ => der(Tag::GeneralizedTime, &[digits.as_bytes()]),
    }
}

fn bit_string(bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
    // No bits of the last byte are unused.
    der(Tag::BitString, &[&[0], bytes])
}

fn der(tag: Tag, parts: &[&[u8]]) -> Result<Vec<u8>, KeyError> {
    Ok(Any::new(tag, parts.concat())?.to_der()?)
}

impl From<der::Error> for KeyError {
    fn from(_: der::Error) -> Self {
        Self::NoCertificate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_before_a_third_of_its_validity_is_left() {
        const NOW: u64 = 1_800_000_000;
        assert!(MAX_AGE + GRACE < VALIDITY * 2 / 3);
        let day = DAY.as_secs();
        for (age, due) in [(0, false), (131 * day - 1, false), (131 * day, true)] {
            assert_eq!(is_due(NOW, NOW + age), due, "{age}");
        }
        assert!(!is_due(NOW, NOW - day) && is_due(NOW, NOW - day - 1));
        // The clock had not been set when the certificate was issued.
        assert!(is_due(0, NOW));
    }

    #[test]
    fn times_have_the_form_of_their_century() {
        const YEAR_2050: u64 = 2_524_608_000;
        let time = |seconds| time(Duration::from_secs(seconds)).unwrap();
        assert_eq!(time(951_827_696), *b"\x17\x0d000229123456Z");
        assert_eq!(time(YEAR_2050 - 1), *b"\x17\x0d491231235959Z");
        assert_eq!(time(YEAR_2050), *b"\x18\x0f20500101000000Z");
    }
}
