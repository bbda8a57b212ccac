//! Reading a request's body of either framing.

use crate::chunked::{Chunked, Step};
use crate::framing::BodyLength;

#[derive(Debug)]
pub(crate) struct BodyReader {
    framing: BodyFraming,
    /// Content bytes that may still come.
    allowed: u64,
}

#[derive(Debug)]
enum BodyFraming {
    Known { left: u64 },
    Chunked(Chunked),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    Malformed,
    TooLarge,
}

impl BodyReader {
    pub(crate) fn new(length: BodyLength, largest: u64) -> Self {
        let framing = match length {
            BodyLength::None | BodyLength::Known(0) => BodyFraming::Ended,
            BodyLength::Known(left) => BodyFraming::Known { left },
            BodyLength::Chunked => BodyFraming::Chunked(Chunked::new()),
        };
        Self {
            framing,
            allowed: largest,
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.framing, BodyFraming::Ended)
    }

    /// Gives content to the sink until the input or the body ends: (bytes taken, bytes of content).
    /// Every byte of the input is looked at once.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(usize, usize), BodyError> {
        let (mut taken, mut content) = (0, 0);
        while taken < input.len() {
            let rest = &input[taken..];
            let (data, length) = match &mut self.framing {
                BodyFraming::Ended => break,
                BodyFraming::Known { left } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= length as u64;
                    if *left == 0 {
                        self.framing = BodyFraming::Ended;
                    }
                    (&rest[..length], length)
                }
                BodyFraming::Chunked(decoder) => {
                    match decoder.step(rest).map_err(|_| BodyError::Malformed)? {
                        Step::Nothing => (&rest[..0], rest.len()),
                        Step::Data(data, length) => (data, length),
                        Step::End(length) => {
                            self.framing = BodyFraming::Ended;
                            (&rest[..0], length)
                        }
                    }
                }
            };
            taken += length;
            content += data.len();
            let allowed = self.allowed.checked_sub(data.len() as u64);
            self.allowed = allowed.ok_or(BodyError::TooLarge)?;
            if !data.is_empty() {
                sink(data);
            }
        }
        Ok((taken, content))
    }
}
