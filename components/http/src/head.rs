//! The private memory that a request's head is copied to, and where the head ends.

use alloc::vec::Vec;

use crate::budget::{Budget, Share};
use crate::limits::Limits;
use crate::response::Status;

/// Enough for the heads of browsers without large cookies.
const SMALL: usize = 2048;

/// Factor by which a buffer grows.
const GROWTH: usize = 4;

/// Bytes copied from the stream and not yet used. It takes memory when bytes come and grows in steps, up
/// to the limit on heads.
#[derive(Debug, Default)]
pub(crate) struct HeadBuffer {
    /// Its capacity is the size that `share` was taken for.
    bytes: Vec<u8>,
    start: usize,
    filled: usize,
    /// Bytes from `start` that were looked at, and of them those before the current line.
    scanned: usize,
    line: usize,
    share: Option<Share>,
}

/// What a buffer has of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    Partial,
    /// All of it: its length with the empty line.
    Complete(usize),
    Refused(Status),
}

impl HeadBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.filled
    }

    /// All bytes.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.filled]
    }

    /// The first bytes, at most as many as there are.
    pub(crate) fn first(&mut self, length: usize) -> &mut [u8] {
        let end = self.filled.min(self.start + length);
        &mut self.bytes[self.start..end]
    }

    /// Releases the share of the memory if these are all bytes of the buffer, so that a response
    /// can take it. The caller must remove the bytes next.
    pub(crate) fn release_share(&mut self, length: usize) {
        if self.start + length >= self.filled {
            self.share = None;
        }
    }

    /// Takes the first bytes off, at most as many as there are. An empty buffer gives its memory back:
    /// a peer that reads a response slowly, or is idle, holds none.
    pub(crate) fn remove(&mut self, length: usize) {
        self.start = self.filled.min(self.start + length);
        (self.scanned, self.line) = (0, 0);
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Space for more bytes; none if the memory for it is used up. A full buffer of the limit's size is
    /// refused by [`HeadBuffer::scan`] before.
    pub(crate) fn space(&mut self, limits: &Limits, budget: &Budget) -> Option<&mut [u8]> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled == self.bytes.len() {
            let size = SMALL.max(self.bytes.len() * GROWTH).min(limits.head());
            let share = budget.take(size)?;
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(size).ok()?;
            bytes.extend_from_slice(&self.bytes[..self.filled]);
            bytes.resize(size, 0);
            self.bytes = bytes;
            self.share = Some(share);
        }
        Some(&mut self.bytes[self.filled..])
    }

    /// The first bytes of the space were written, at most as many as there are.
    pub(crate) fn filled(&mut self, length: usize) {
        self.filled = self.bytes.len().min(self.filled + length);
    }

    /// Looks for the end of the head, at each byte once. Lines end with CR LF only; a bare LF is where
    /// parsers differ, and so refused.
    pub(crate) fn scan(&mut self, limits: &Limits) -> Scan {
        self.skip_empty_lines();
        let bytes = &self.bytes[self.start..self.filled];
        // No method begins so. A peer that speaks another protocol, such as TLS, is answered now and not
        // after the time limit.
        if bytes
            .first()
            .is_some_and(|byte| !byte.is_ascii_graphic() && *byte != b'\r')
        {
            return Scan::Refused(Status::BAD_REQUEST);
        }
        while let Some(found) = find(b'\n', &bytes[self.scanned..]) {
            let at = self.scanned + found;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Scan::Refused(Status::BAD_REQUEST);
            }
            if at == self.line + 1 {
                return Scan::Complete(at + 1);
            }
            self.line = at + 1;
            self.scanned = at + 1;
        }
        self.scanned = bytes.len();
        if self.line == 0 && bytes.len() >= limits.line {
            return Scan::Refused(Status::URI_TOO_LONG);
        }
        if bytes.len() >= limits.head() {
            return Scan::Refused(Status::FIELDS_TOO_LARGE);
        }
        Scan::Partial
    }

    /// Empty lines before a request are ignored (RFC 9112, section 2.2).
    fn skip_empty_lines(&mut self) {
        while self.scanned <= 1 && self.rest().starts_with(b"\r\n") {
            self.remove(2);
        }
    }
}

/// The first place of a byte. Eight bytes are looked at together, since this sees every byte of every
/// head.
fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let pattern = ONES * u64::from(byte);
    let (words, _) = bytes.as_chunks::<8>();
    let has_it = |word: &[u8; 8]| {
        let zero_where_equal = u64::from_le_bytes(*word) ^ pattern;
        zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7) != 0
    };
    let from = words.iter().position(has_it).unwrap_or(words.len()) * 8;
    let rest = bytes.get(from..)?;
    rest.iter()
        .position(|&other| other == byte)
        .map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::find;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_place_is_found(bytes in prop::collection::vec(9u8..12, 0..40)) {
            prop_assert_eq!(find(b'\n', &bytes), bytes.iter().position(|&byte| byte == b'\n'));
        }
    }
}
