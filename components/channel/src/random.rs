//! The `random` interface: bytes from the entropy PD.
//!
//! Label 1, one word: the number of bytes, 1 to [`MAX_BYTES`]. The answer holds them in little-endian words.

use alloc::boxed::Box;

use crate::call::{Call, CallError, Repeated, arguments, pack};

/// The most bytes that one call gives: half of the 64 message registers.
pub const MAX_BYTES: usize = 256;

const FILL: u64 = 1;
const MAX_WORDS: usize = MAX_BYTES / 8;

/// The client's end.
pub struct Random {
    server: Box<dyn Call>,
}

impl Random {
    /// A client of the server that `call` reaches.
    pub fn new(call: impl Call + 'static) -> Self {
        Self {
            server: Box::new(Repeated(call)),
        }
    }

    /// Fills `bytes`, with one call for every [`MAX_BYTES`].
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the server has not been seeded; then `bytes` must not be used.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), CallError> {
        fill(&*self.server, bytes)
    }
}

/// What [`Random::fill`] does, for a caller that has no heap yet.
///
/// # Errors
/// As [`Random::fill`].
pub fn fill(server: &dyn Call, bytes: &mut [u8]) -> Result<(), CallError> {
    let mut words = [0; MAX_WORDS];
    let outcome = bytes
        .chunks_mut(MAX_BYTES)
        .try_for_each(|chunk| fill_chunk(server, chunk, &mut words));
    crate::memory::wipe(&mut words);
    outcome
}

fn fill_chunk(server: &dyn Call, chunk: &mut [u8], words: &mut [u64]) -> Result<(), CallError> {
    let count = chunk.len().div_ceil(8);
    let reply = server.call(FILL, &[chunk.len() as u64], &mut words[..count]);
    if reply.label != crate::OK {
        return Err(CallError::of(reply.label));
    }
    if reply.count != count {
        return Err(CallError::Malformed);
    }
    for (bytes, word) in chunk.chunks_mut(8).zip(words.iter()) {
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
    Ok(())
}

/// A request as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks for this many bytes, 1 to [`MAX_BYTES`].
    Fill {
        /// The number of bytes.
        bytes: usize,
    },
}

impl Request {
    /// Checks a request.
    ///
    /// # Errors
    /// [`CallError::BadRequest`] for another label, word count or number of bytes.
    pub fn decode(label: u64, words: &[u64]) -> Result<Self, CallError> {
        let [bytes] = arguments(words)?;
        if label != FILL || bytes == 0 || bytes > MAX_BYTES as u64 {
            return Err(CallError::BadRequest);
        }
        Ok(Self::Fill {
            bytes: bytes as usize,
        })
    }
}

/// Writes the answer's words and says how many; bytes that `words` has no room for are left out.
pub fn encode(bytes: &[u8], words: &mut [u64]) -> usize {
    pack(bytes, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;

    /// Answers with the bytes 0, 1, 2, … of each call, and never more than `longest` words.
    struct Server {
        longest: usize,
        label: u64,
    }

    impl Call for Server {
        fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
            let Ok(Request::Fill { bytes }) = Request::decode(label, request) else {
                return Reply {
                    label: CallError::BadRequest.label(),
                    count: 0,
                };
            };
            let all: alloc::vec::Vec<u8> = (0..bytes).map(|i| i as u8).collect();
            Reply {
                label: self.label,
                count: encode(&all, reply).min(self.longest),
            }
        }
    }

    #[test]
    fn lengths_that_are_no_multiple_of_a_word_or_a_call_are_filled() {
        let random = Random::new(Server {
            longest: 64,
            label: crate::OK,
        });
        let mut bytes = [0xff; MAX_BYTES + 13];
        random.fill(&mut bytes).unwrap();
        let expected: alloc::vec::Vec<u8> = (0..=255).chain(0..13).collect();
        assert_eq!(bytes[..], expected[..]);
    }

    #[test]
    fn a_short_answer_and_an_error_are_told() {
        let short = Random::new(Server {
            longest: 1,
            label: crate::OK,
        });
        assert_eq!(short.fill(&mut [0; 16]), Err(CallError::Malformed));
        let unseeded = Random::new(Server {
            longest: 64,
            label: CallError::Unavailable.label(),
        });
        assert_eq!(unseeded.fill(&mut [0; 16]), Err(CallError::Unavailable));
    }

    #[test]
    fn wrong_requests_are_refused() {
        for (label, words) in [
            (2, &[1][..]),
            (1, &[0]),
            (1, &[257]),
            (1, &[]),
            (1, &[1, 1]),
        ] {
            assert_eq!(Request::decode(label, words), Err(CallError::BadRequest));
        }
    }
}
