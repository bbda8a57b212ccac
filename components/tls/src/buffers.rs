//! Bytes that wait in private memory, wiped when they are gone.

use alloc::vec::Vec;

use rustls::unbuffered::EncodeError;
use zeroize::Zeroizing;

use crate::established::{HEADER, MAX_PLAINTEXT, MAX_PROTECTED_TLS12, MAX_PROTECTED_TLS13};
use crate::{Below, Error, Fault};

/// Most bytes of unfinished handshake messages that a session keeps. The largest flight of a client
/// is its certificate chain; rustls itself stops at 64 KiB a message.
const MAX_HANDSHAKE: usize = 80 * 1024;

/// Content types of records (RFC 8446, section 5.1); alert and handshake are between them.
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;

/// Received bytes in private memory: one record, behind handshake messages that are not complete yet.
#[derive(Default)]
pub(crate) struct Incoming {
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
    /// Where the record begins that is being filled.
    record: usize,
}

impl Incoming {
    /// Reads from below until a whole record lies here; false when there is not enough yet. Not a byte
    /// of the record behind it is taken, so that nothing has to be moved afterwards.
    pub(crate) fn fill(&mut self, below: &mut impl Below) -> bool {
        loop {
            let missing = self.missing();
            if missing == 0 {
                return true;
            }
            let end = self.filled + missing;
            if self.buffer.len() < end {
                // Reserves only what is needed, so that a session's memory has the bound that the
                // check for free memory relies on.
                let more = end - self.buffer.len();
                self.buffer.reserve_exact(more);
                self.buffer.resize(end, 0);
            }
            let count = below.read(&mut self.buffer[self.filled..end]).min(missing);
            if count == 0 {
                return false;
            }
            self.filled += count;
        }
    }

    /// Bytes that the header or the record still lacks. A header that cannot be one counts as a whole
    /// record: whoever parses it will say what is wrong.
    fn missing(&self) -> usize {
        let record = &self.buffer[self.record..self.filled];
        let Some(&[typ, major, _, high, low]) = record.first_chunk::<HEADER>() else {
            return HEADER - record.len();
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let plausible = (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&typ)
            && major == 3
            && length <= MAX_PROTECTED_TLS12;
        match plausible {
            true => (HEADER + length).saturating_sub(record.len()),
            false => 0,
        }
    }

    /// Checks from the header whether the record can be part of a handshake. rustls is less strict:
    /// an unencrypted record must not be longer than the maximum plaintext, and an encrypted one is
    /// never empty (RFC 8446, sections 5.1 and 5.2).
    pub(crate) fn check_handshake(&self) -> Result<(), Fault> {
        let record = &self.buffer[self.record..self.filled];
        let Some(&[typ, _, _, high, low]) = record.first_chunk::<HEADER>() else {
            return Ok(());
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        match typ {
            APPLICATION_DATA if length == 0 => Err(Fault::UnexpectedMessage),
            APPLICATION_DATA if length > MAX_PROTECTED_TLS13 => Err(Fault::TooLong),
            CHANGE_CIPHER_SPEC..APPLICATION_DATA if length > MAX_PLAINTEXT => Err(Fault::TooLong),
            _ => Ok(()),
        }
    }

    /// All that has arrived, for rustls.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.filled]
    }

    /// The record that [`Incoming::fill`] completed.
    pub(crate) fn record(&mut self) -> Result<&mut [u8], Fault> {
        let record = &mut self.buffer[self.record..self.filled];
        let header = record.first_chunk::<HEADER>().ok_or(Fault::Malformed)?;
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        match length {
            _ if length > MAX_PROTECTED_TLS12 => Err(Fault::TooLong),
            _ if record.len() != HEADER + length => Err(Fault::UnexpectedMessage),
            _ => Ok(record),
        }
    }

    /// Returns the record that [`Incoming::fill`] completed, if no bytes that rustls has not
    /// consumed precede it.
    pub(crate) fn only_record(&self) -> Option<&[u8]> {
        (self.record == 0).then_some(&self.buffer[..self.filled])
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
        self.record = 0;
    }

    /// Drops bytes that rustls is done with.
    pub(crate) fn discard(&mut self, count: usize) {
        let count = count.min(self.filled);
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
        self.record = self.record.saturating_sub(count);
    }

    /// The next record goes behind what rustls has kept.
    pub(crate) fn expect_more(&mut self) -> Result<(), Error> {
        self.record = self.filled;
        match self.filled > MAX_HANDSHAKE {
            true => Err(Error::HandshakeTooLarge),
            false => Ok(()),
        }
    }
}

/// Iterator over complete records that follow one another.
pub(crate) struct Records<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let &[_, _, _, high, low] = self.0.first_chunk::<HEADER>()?;
        let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
        let (record, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(record)
    }
}

/// Bytes on their way, wiped when they are gone.
#[derive(Default)]
pub(crate) struct Queue {
    bytes: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends what rustls encodes, in a buffer of the size that rustls asks for. Returns the
    /// appended bytes.
    pub(crate) fn encode(
        &mut self,
        mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> &[u8] {
        let start = self.bytes.len();
        if let Err(EncodeError::InsufficientSize(error)) = encode(&mut []) {
            self.bytes.resize(start + error.required_size, 0);
            let written = encode(&mut self.bytes[start..]).unwrap_or(0);
            self.bytes.truncate(start + written);
        }
        &self.bytes[start..]
    }

    /// Hands the bytes to a writer that says how many it took.
    pub(crate) fn drain(&mut self, mut write: impl FnMut(&[u8]) -> usize) {
        if self.is_empty() {
            return;
        }
        let rest = &self.bytes[self.taken..];
        self.taken += write(rest).min(rest.len());
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests;
