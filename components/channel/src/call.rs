//! Protected procedure calls in message registers.

use core::fmt;

/// Calls the server at the other end of one channel.
///
/// The server has a higher priority and answers before the caller runs on.
pub trait Call {
    /// Sends `label` and `request` (at most 64 words) and waits for the answer, whose words are written to
    /// the beginning of `reply`; words that `reply` has no room for are dropped.
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply;
}

impl<C: Call + ?Sized> Call for &C {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        (**self).call(label, request, reply)
    }
}

/// A server whose requests may be made twice: one that was restarted during a call is asked again by its caller, and it is the
/// new life that answers. It is asked once more only, since the request may be what it does not survive.
pub(crate) struct Repeated<C>(pub C);

impl<C: Call> Call for Repeated<C> {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        let answer = self.0.call(label, request, reply);
        match answer.label == CallError::Restarted.label() {
            true => self.0.call(label, request, reply),
            false => answer,
        }
    }
}

/// The answer to a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// [`OK`] or the label of a [`CallError`].
    pub label: u64,
    /// How many words of the reply buffer were written.
    pub count: usize,
}

/// The label of an answer without error.
pub const OK: u64 = 0;

/// Why a call was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The server does not know this request or its arguments are out of range.
    BadRequest,
    /// The server cannot do it now, for instance because it has not been seeded.
    Unavailable,
    /// The server was restarted during the call.
    Restarted,
    /// The server's answer has not the form that the request asks for.
    Malformed,
}

impl CallError {
    /// The label that carries the error in an answer.
    pub const fn label(self) -> u64 {
        match self {
            Self::BadRequest => 1,
            Self::Unavailable => 2,
            Self::Restarted => 3,
            Self::Malformed => 4,
        }
    }

    pub(crate) const fn of(label: u64) -> Self {
        match label {
            1 => Self::BadRequest,
            2 => Self::Unavailable,
            3 => Self::Restarted,
            _ => Self::Malformed,
        }
    }
}

impl From<CallError> for u64 {
    fn from(error: CallError) -> Self {
        error.label()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest => "the server refused the request",
            Self::Unavailable => "the server cannot answer now",
            Self::Restarted => "the server was restarted during the call",
            Self::Malformed => "the server's answer is malformed",
        })
    }
}

impl core::error::Error for CallError {}

/// Calls, and wants exactly `N` words back.
pub(crate) fn exact<const N: usize>(
    server: &dyn Call,
    label: u64,
    request: &[u64],
) -> Result<[u64; N], CallError> {
    let mut words = [0; N];
    let reply = server.call(label, request, &mut words);
    match reply.label {
        OK if reply.count == N => Ok(words),
        OK => Err(CallError::Malformed),
        other => Err(CallError::of(other)),
    }
}

/// The first `N` words of a request with exactly as many.
pub(crate) fn arguments<const N: usize>(words: &[u64]) -> Result<[u64; N], CallError> {
    words.try_into().map_err(|_| CallError::BadRequest)
}

/// Writes bytes as little-endian words, the last one padded with zeros, and says how many; bytes that `words` has no
/// room for are left out.
pub(crate) fn pack(bytes: &[u8], words: &mut [u64]) -> usize {
    let mut count = 0;
    for (chunk, word) in bytes.chunks(8).zip(words.iter_mut()) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_le_bytes(padded);
        count += 1;
    }
    count
}

/// The bytes of little-endian words.
pub(crate) fn unpack(words: &[u64]) -> impl Iterator<Item = u8> {
    words.iter().flat_map(|word| word.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// Does not survive so many calls.
    struct Fragile(Cell<u32>);

    impl Call for Fragile {
        fn call(&self, _: u64, request: &[u64], reply: &mut [u64]) -> Reply {
            let lives = self.0.get();
            self.0.set(lives.saturating_sub(1));
            let label = match lives {
                0 => OK,
                _ => CallError::Restarted.label(),
            };
            reply.copy_from_slice(request);
            Reply {
                label,
                count: request.len(),
            }
        }
    }

    #[test]
    fn who_was_restarted_is_asked_once_more() {
        let ask = |faults| {
            let server = Repeated(Fragile(Cell::new(faults)));
            exact(&server, 1, &[7])
        };
        assert_eq!(ask(0), Ok([7]));
        assert_eq!(ask(1), Ok([7]));
        assert_eq!(ask(2), Err(CallError::Restarted));
    }
}
