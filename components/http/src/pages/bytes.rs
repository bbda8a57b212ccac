//! `/bytes/N`: N bytes that a client can check.

use alloc::boxed::Box;

use crate::request::Request;
use crate::response::{Body, Response, Status};
use crate::server::Context;

/// The largest N: 1 GiB.
pub const MAX_BYTES: u64 = 1 << 30;

/// Odd, so that it permutes the words; the golden ratio of 2^64, so that neighbours differ widely.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Answers `GET` at a pattern such as `/bytes/*`: as many bytes of the [`pattern`] as the path says, at
/// most [`MAX_BYTES`]. A number without meaning is 404.
pub fn bytes<S>(request: &Request<'_>, _: Context<'_, S>) -> Response {
    let is_number = request.rest.bytes().all(|byte| byte.is_ascii_digit());
    match request.rest.parse() {
        Ok(length @ ..=MAX_BYTES) if is_number => {
            let fill = Box::new(pattern);
            let body = Body::Generated { length, fill };
            Response::new(Status::OK, "application/octet-stream", body)
                .with("Cache-Control", "no-store")
        }
        _ => Response::error(Status::NOT_FOUND),
    }
}

/// Writes the bytes of the pattern from this position on. The eight bytes at the positions 8·i to 8·i+7
/// are the 64-bit number (i + 1) · 0x9e3779b97f4a7c15 modulo 2^64, least significant byte first: no two
/// words within 2^64 are equal, so a byte that is lost, repeated or moved is seen.
pub fn pattern(position: u64, out: &mut [u8]) {
    let word = |index: u64| index.wrapping_add(1).wrapping_mul(FACTOR).to_le_bytes();
    let lead = (position.wrapping_neg() % 8) as usize;
    let (head, rest) = out.split_at_mut(lead.min(out.len()));
    let skipped = (position % 8) as usize;
    for (to, from) in head.iter_mut().zip(&word(position / 8)[skipped..]) {
        *to = *from;
    }
    let mut index = (position + lead as u64) / 8;
    let mut words = rest.chunks_exact_mut(8);
    for to in &mut words {
        to.copy_from_slice(&word(index));
        index += 1;
    }
    let tail = words.into_remainder();
    let last = word(index);
    tail.copy_from_slice(&last[..tail.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    #[test]
    fn the_documented_words() {
        let mut out = [0; 16];
        pattern(0, &mut out);
        assert_eq!(out[..8], 0x9e37_79b9_7f4a_7c15_u64.to_le_bytes());
        assert_eq!(out[8..], 0x3c6e_f372_fe94_f82a_u64.to_le_bytes());
    }

    proptest! {
        #[test]
        fn pieces_join(cut in 0usize..100, end in 0usize..100) {
            let mut whole = vec![0; 100];
            pattern(0, &mut whole);
            let (cut, end) = (cut.min(end), cut.max(end));
            let mut piece = vec![0; end - cut];
            pattern(cut as u64, &mut piece);
            prop_assert_eq!(&piece, &whole[cut..end]);
        }
    }
}
