//! rustls' cipher suites with stricter checks of the encrypted records of a handshake.
//!
//! rustls ignores a record without content, and treats a Finished of the wrong length as one that
//! does not verify. RFC 8446 requires `unexpected_message` (section 5.4) and `decode_error`
//! (section 6.2).

use alloc::boxed::Box;
use alloc::vec::Vec;

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::{CipherSuiteCommon, ring};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, InvalidMessage, SupportedCipherSuite,
    Tls12CipherSuite, Tls13CipherSuite,
};
use spin::Once;

const FINISHED: u8 = 20;

/// Length of a handshake message's header in bytes (RFC 8446, section 4).
const MESSAGE_HEADER: usize = 4;

/// Length of verify_data in TLS 1.2 in bytes (RFC 5246, section 7.4.9).
const VERIFY_DATA_TLS12: usize = 12;

/// Returns the suites of rustls' ring provider in its order.
pub(crate) fn cipher_suites() -> Vec<SupportedCipherSuite> {
    static SUITES: Once<Vec<SupportedCipherSuite>> = Once::new();
    let suites = SUITES.call_once(|| ring::ALL_CIPHER_SUITES.iter().map(strict).collect());
    suites.clone()
}

/// Returns a suite with `'static` lifetime, which rustls requires.
fn strict(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: Box::leak(Box::new(Strict13 {
                    aead: suite.aead_alg,
                    finished: suite.common.hash_provider.output_len(),
                })),
                quic: None,
            })))
        }
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: Box::leak(Box::new(Strict12 {
                    aead: suite.aead_alg,
                })),
            })))
        }
    }
}

fn common(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon { ..*common }
}

struct Strict13 {
    aead: &'static dyn Tls13AeadAlgorithm,
    /// Length of verify_data in bytes: that of the suite's hash.
    finished: usize,
}

impl Tls13AeadAlgorithm for Strict13 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.aead.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        let decrypter = self.aead.decrypter(key, iv);
        Box::new(StrictDecrypter {
            decrypter,
            messages: Messages::new(self.finished),
        })
    }

    fn key_len(&self) -> usize {
        self.aead.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.aead.extract_keys(key, iv)
    }
}

struct Strict12 {
    aead: &'static dyn Tls12AeadAlgorithm,
}

impl Tls12AeadAlgorithm for Strict12 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        self.aead.encrypter(key, iv, extra)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        let decrypter = self.aead.decrypter(key, iv);
        Box::new(StrictDecrypter {
            decrypter,
            messages: Messages::new(VERIFY_DATA_TLS12),
        })
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.aead.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.aead.extract_keys(key, iv, explicit)
    }
}

struct StrictDecrypter {
    decrypter: Box<dyn MessageDecrypter>,
    messages: Messages,
}

impl MessageDecrypter for StrictDecrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let plain = self.decrypter.decrypt(message, sequence)?;
        match plain.typ {
            ContentType::Alert | ContentType::Handshake if plain.payload.is_empty() => {
                return Err(InvalidMessage::InvalidEmptyPayload.into());
            }
            ContentType::Handshake => self.messages.follow(plain.payload)?,
            _ => {}
        }
        Ok(plain)
    }
}

/// Position in the sequence of handshake messages that the records carry.
struct Messages {
    /// Length of verify_data in bytes.
    finished: usize,
    /// The header of the next message, as far as it has been received.
    header: [u8; MESSAGE_HEADER],
    filled: usize,
    /// Bytes of the current message that are still missing.
    rest: usize,
}

impl Messages {
    fn new(finished: usize) -> Self {
        Self {
            finished,
            header: [0; MESSAGE_HEADER],
            filled: 0,
            rest: 0,
        }
    }

    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let missing = (MESSAGE_HEADER - self.filled).min(bytes.len());
            let (part, others) = bytes.split_at(missing);
            self.header[self.filled..][..missing].copy_from_slice(part);
            self.filled += missing;
            bytes = others;
            if self.filled == MESSAGE_HEADER {
                self.begin()?;
            }
        }
        Ok(())
    }

    /// Begins a message whose header is complete.
    fn begin(&mut self) -> Result<(), Error> {
        let [typ, high, middle, low] = self.header;
        self.filled = 0;
        self.rest = u32::from_be_bytes([0, high, middle, low]) as usize;
        match (typ, self.rest.cmp(&self.finished)) {
            (FINISHED, core::cmp::Ordering::Less) => Err(InvalidMessage::MissingData("Finished")),
            (FINISHED, core::cmp::Ordering::Greater) => {
                Err(InvalidMessage::TrailingData("Finished"))
            }
            _ => Ok(()),
        }
        .map_err(Error::from)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const CERTIFICATE: u8 = 11;

    #[test]
    fn the_suites_are_rings() {
        let ours = cipher_suites().into_iter().map(|suite| suite.suite());
        let rings = ring::ALL_CIPHER_SUITES.iter().map(|suite| suite.suite());
        assert!(ours.eq(rings));
    }

    #[test]
    fn a_finished_has_its_length_wherever_records_end() {
        for (length, fits) in [
            (0, false),
            (31, false),
            (32, true),
            (33, false),
            (256, false),
        ] {
            // After a message whose body looks like a Finished of another length.
            let mut bytes = vec![CERTIFICATE, 0, 0, 5, FINISHED, 0, 0, 1, 0];
            let [.., high, low] = u32::to_be_bytes(length);
            bytes.extend([FINISHED, 0, high, low]);
            bytes.extend(vec![0; length as usize]);
            for size in 1..20 {
                let mut messages = Messages::new(32);
                let all = bytes
                    .chunks(size)
                    .try_for_each(|part| messages.follow(part));
                assert_eq!(all.is_ok(), fits, "{length} bytes in records of {size}");
            }
        }
    }
}
