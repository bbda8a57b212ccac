//! What the vault writes about keys of its own: self-signed certificates (RFC 5280) and requests for certificates of an
//! authority (PKCS#10, RFC 2986).
//!
//! Written in DER (X.690) by hand: the vault parses no certificate, and an encoder of all of X.509 would be half
//! as large as the rest of it. Object identifiers are in their encoded form.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use ring::rand::{SecureRandom, SystemRandom};

use crate::key::{Key, Scheme};
use crate::{KeyError, Kind};

/// How long a self-signed certificate is valid, in seconds: 825 days are the most that some clients accept.
const VALIDITY: u64 = 825 * DAY;

/// How long before now it is valid already, in seconds: for clients whose clock is behind.
const GRACE: u64 = DAY;

const DAY: u64 = 24 * 3600;

/// The first second of 2050 (since 1970).
const YEAR_2050: u64 = 2_524_608_000;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// A field of a structure, numbered.
const FIELD_0: u8 = 0xa0;
const FIELD_3: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// RFC 2985, section 5.4.2.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 29, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 29, 19];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 29, 37];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 34];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The longest common name (RFC 5280, appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// A key, with what is written about it.
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a Key,
    pub(crate) kind: Kind,
    /// DNS names and addresses.
    pub(crate) names: &'a [String],
}

impl Subject<'_> {
    /// A self-signed certificate. `now` is in seconds since 1970.
    pub(crate) fn self_signed(&self, now: u64) -> Result<Vec<u8>, KeyError> {
        let mut serial = [0; 16];
        SystemRandom::new()
            .fill(&mut serial)
            .map_err(|_| KeyError::NoRandomness)?;
        // Positive, and of the same length always (RFC 5280, section 4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let name = self.name();
        let validity = [
            time(now.saturating_sub(GRACE)),
            time(now.saturating_add(VALIDITY)),
        ];
        self.signed(&[
            tlv(FIELD_0, &tlv(INTEGER, &[2])),
            tlv(INTEGER, &serial),
            self.signature_algorithm(),
            name.clone(),
            sequence(&validity),
            name,
            self.public_key(),
            tlv(FIELD_3, &self.extensions()),
        ])
    }

    /// A request for a certificate with the extensions of the self-signed one.
    pub(crate) fn request(&self) -> Result<Vec<u8>, KeyError> {
        let extensions = [
            tlv(IDENTIFIER, EXTENSION_REQUEST),
            tlv(SET, &self.extensions()),
        ];
        self.signed(&[
            tlv(INTEGER, &[0]),
            self.name(),
            self.public_key(),
            tlv(FIELD_0, &sequence(&extensions)),
        ])
    }

    /// A body, how it is signed, and the signature.
    fn signed(&self, body: &[Vec<u8>]) -> Result<Vec<u8>, KeyError> {
        let body = sequence(body);
        let scheme = match self.kind {
            Kind::EcdsaP256 => Scheme::EcdsaSecp256r1Sha256,
            Kind::EcdsaP384 => Scheme::EcdsaSecp384r1Sha384,
            Kind::Ed25519 => Scheme::Ed25519,
        };
        let signature = self.key.sign(scheme, &body);
        let signature = bit_string(&signature.map_err(|_| KeyError::NoRandomness)?);
        Ok(sequence(&[body, self.signature_algorithm(), signature]))
    }

    /// A common name, for people; clients look at the alternative names only (RFC 9525, section 2).
    fn name(&self) -> Vec<u8> {
        let fits = |name: &&String| name.len() <= MAX_COMMON_NAME;
        let name = self.names.first().filter(fits);
        let name = name.map_or("vault", String::as_str);
        let common = [
            tlv(IDENTIFIER, COMMON_NAME),
            tlv(UTF8_STRING, name.as_bytes()),
        ];
        sequence(&[tlv(SET, &sequence(&common))])
    }

    fn extensions(&self) -> Vec<u8> {
        let names: Vec<Vec<u8>> = self.names.iter().map(|name| general_name(name)).collect();
        let usage = [tlv(IDENTIFIER, SERVER_AUTH), tlv(IDENTIFIER, CLIENT_AUTH)];
        sequence(&[
            // Critical; its empty value says that this is no certificate authority.
            sequence(&[
                tlv(IDENTIFIER, BASIC_CONSTRAINTS),
                tlv(BOOLEAN, &[0xff]),
                tlv(OCTET_STRING, &sequence(&[])),
            ]),
            extension(EXTENDED_KEY_USAGE, &usage),
            extension(ALTERNATIVE_NAME, &names),
        ])
    }

    /// RFC 5480, section 2; RFC 8410, section 4.
    fn public_key(&self) -> Vec<u8> {
        let algorithm = match self.kind {
            Kind::EcdsaP256 => [tlv(IDENTIFIER, EC_PUBLIC_KEY), tlv(IDENTIFIER, P256)].concat(),
            Kind::EcdsaP384 => [tlv(IDENTIFIER, EC_PUBLIC_KEY), tlv(IDENTIFIER, P384)].concat(),
            Kind::Ed25519 => tlv(IDENTIFIER, ED25519),
        };
        sequence(&[tlv(SEQUENCE, &algorithm), bit_string(self.key.public())])
    }

    /// RFC 5758, section 3.2; RFC 8410, section 3: all without parameters.
    fn signature_algorithm(&self) -> Vec<u8> {
        let identifier = match self.kind {
            Kind::EcdsaP256 => ECDSA_SHA256,
            Kind::EcdsaP384 => ECDSA_SHA384,
            Kind::Ed25519 => ED25519,
        };
        sequence(&[tlv(IDENTIFIER, identifier)])
    }
}

/// An extension that is not critical and whose value is a sequence.
fn extension(identifier: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
    sequence(&[
        tlv(IDENTIFIER, identifier),
        tlv(OCTET_STRING, &sequence(parts)),
    ])
}

/// A DNS name or an address (RFC 5280, section 4.2.1.6).
fn general_name(name: &str) -> Vec<u8> {
    match name.parse() {
        Ok(IpAddr::V4(address)) => tlv(IP_ADDRESS, &address.octets()),
        Ok(IpAddr::V6(address)) => tlv(IP_ADDRESS, &address.octets()),
        Err(_) => tlv(DNS_NAME, name.as_bytes()),
    }
}

/// Until 2049 with two digits of the year, later with four (RFC 5280, section 4.1.2.5).
fn time(seconds: u64) -> Vec<u8> {
    let (year, month, day) = date(seconds / DAY);
    let second = seconds % DAY;
    let mut digits = Vec::new();
    let mut two =
        |number: u64| digits.extend([b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
    if seconds >= YEAR_2050 {
        two(year / 100 % 100);
    }
    for number in [
        year % 100,
        month,
        day,
        second / 3600,
        second / 60 % 60,
        second % 60,
    ] {
        two(number);
    }
    digits.push(b'Z');
    match seconds >= YEAR_2050 {
        true => tlv(GENERALIZED_TIME, &digits),
        false => tlv(UTC_TIME, &digits),
    }
}

/// Year, month and day of the Gregorian calendar, from days since 1970. Counted from the first of March of year 0,
/// leap days come last in a year, in four years, in a century and in four centuries.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (month, next) = match month {
        0..10 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    (era * 400 + year + next, month, day - first + 1)
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    // No bits of the last byte are unused.
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

/// Tag, length and value (X.690, section 8.1), for values of at most 65535 bytes.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let [.., high, low] = value.len().to_be_bytes();
    let mut bytes = match (high, low) {
        (0, 0..0x80) => alloc::vec![tag, low],
        (0, _) => alloc::vec![tag, 0x81, low],
        _ => alloc::vec![tag, 0x82, high, low],
    };
    bytes.extend(value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_781, (2026, 11, 24)),
            (29_219, (2049, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "day {days}");
        }
    }

    #[test]
    fn times_have_the_form_of_their_century() {
        assert_eq!(time(951_827_696)[2..], *b"000229123456Z");
        assert_eq!(time(YEAR_2050 - 1)[2..], *b"491231235959Z");
        assert_eq!(time(YEAR_2050)[2..], *b"20500101000000Z");
        assert_eq!(time(YEAR_2050)[0], GENERALIZED_TIME);
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        assert_eq!(tlv(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
    }
}
