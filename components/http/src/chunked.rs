//! The chunked transfer coding, decoding (RFC 9112, section 7.1).

/// Most bytes of chunk extensions and trailer fields in one message; both are thrown away.
const MAX_EXTRA: u32 = 4096;

/// A decoder that looks at every byte of its input once, so the input may lie in shared memory.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    extra: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk's size, after this many digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the extensions of the chunk of this size.
    Extension {
        size: u64,
    },
    /// After the carriage return behind size and extensions.
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// Before the carriage return (`true`) or line feed behind a chunk's data.
    DataEnd {
        carriage_return: bool,
    },
    /// In the trailer section; whether the line has no bytes so far.
    Trailer {
        empty: bool,
    },
    /// After a trailer line's carriage return.
    TrailerEnd {
        empty: bool,
    },
    Done,
}

/// What one step of decoding found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// All of the input was taken; nothing is in it.
    Nothing,
    /// Content, and how many bytes of the input were taken up to its end.
    Data(&'a [u8], usize),
    /// The body ended after this many bytes of the input.
    End(usize),
}

/// The coding is malformed or wasteful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            extra: 0,
        }
    }

    /// Decodes until content, the end, or the end of the input.
    pub(crate) fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, BadChunk> {
        for (at, byte) in input.iter().enumerate() {
            match self.state {
                State::Data { left } => {
                    let rest = &input[at..];
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.state = match left - take as u64 {
                        0 => State::DataEnd {
                            carriage_return: true,
                        },
                        left => State::Data { left },
                    };
                    return Ok(Step::Data(&rest[..take], at + take));
                }
                State::Done => return Ok(Step::End(at)),
                state => self.state = self.next(state, *byte)?,
            }
            if self.state == State::Done {
                return Ok(Step::End(at + 1));
            }
        }
        Ok(match self.state {
            State::Done => Step::End(0),
            _ => Step::Nothing,
        })
    }

    fn next(&mut self, state: State, byte: u8) -> Result<State, BadChunk> {
        Ok(match (state, byte) {
            (State::Size { digits: 1.., size }, b'\r') => State::SizeEnd { size },
            (State::Size { digits: 1.., size }, b';' | b' ' | b'\t') => State::Extension { size },
            // 15 digits: no overflow, and more than any limit on bodies.
            (
                State::Size {
                    size,
                    digits: digits @ 0..15,
                },
                _,
            ) => {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
                State::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Extension { .. }, _) => self.skip(byte, state)?,
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailer { empty: true },
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (
                State::DataEnd {
                    carriage_return: true,
                },
                b'\r',
            ) => State::DataEnd {
                carriage_return: false,
            },
            (
                State::DataEnd {
                    carriage_return: false,
                },
                b'\n',
            ) => State::Size { size: 0, digits: 0 },
            (State::Trailer { empty }, b'\r') => State::TrailerEnd { empty },
            (State::Trailer { .. }, _) => self.skip(byte, State::Trailer { empty: false })?,
            (State::TrailerEnd { empty: true }, b'\n') => State::Done,
            (State::TrailerEnd { empty: false }, b'\n') => State::Trailer { empty: true },
            _ => return Err(BadChunk),
        })
    }

    fn skip(&mut self, byte: u8, state: State) -> Result<State, BadChunk> {
        self.extra += 1;
        if self.extra > MAX_EXTRA || (byte.is_ascii_control() && byte != b'\t') {
            return Err(BadChunk);
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Decodes input that comes in pieces of this size: content and how many bytes were taken.
    fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, Option<usize>), BadChunk> {
        let mut decoder = Chunked::new();
        let mut content = Vec::new();
        let mut at = 0;
        while at < input.len() {
            let end = input.len().min(at + piece);
            match decoder.step(&input[at..end])? {
                Step::Nothing => at = end,
                Step::Data(data, taken) => {
                    content.extend_from_slice(data);
                    at += taken;
                }
                Step::End(taken) => return Ok((content, Some(at + taken))),
            }
        }
        Ok((content, None))
    }

    #[test]
    fn a_body_in_pieces_of_any_size() {
        let input =
            b"4\r\nWiki\r\n6;a=\"b\"\r\npedia \r\nE \r\nin \r\n\r\nchunks.\r\n0\r\nT: x\r\n\r\nGET";
        for piece in 1..=input.len() {
            let (content, taken) = decode(input, piece).unwrap();
            assert_eq!(content, b"Wikipedia in \r\n\r\nchunks.");
            assert_eq!(taken, Some(input.len() - 3), "pieces of {piece}");
        }
    }

    #[test]
    fn malformed_bodies() {
        for bad in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"0x1\r\n",
            b"1\nA",
            b"1\r\nAB",
            b"1\r\nA\n",
            b"1\r\nA\rB",
            b"1;a\nb\r\n",
            b"0\r\n\n",
            b"0\r\nA\nB",
            b"0\r\n\rX",
            b"1111111111111111\r\n",
            b" 1\r\n",
        ] {
            assert_eq!(decode(bad, 64), Err(BadChunk), "{bad:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let mut input = b"1;".to_vec();
        input.extend([b'a'; MAX_EXTRA as usize + 1]);
        assert_eq!(decode(&input, 64), Err(BadChunk));
        let mut input = b"0\r\n".to_vec();
        input.extend(b"a: b\r\n".repeat(MAX_EXTRA as usize / 4 + 1));
        assert_eq!(decode(&input, 64), Err(BadChunk));
    }

    proptest! {
        #[test]
        fn any_content_round_trips(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10), piece in 1usize..70) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend(std::format!("{:x}\r\n", chunk.len()).bytes());
                input.extend(chunk);
                input.extend(b"\r\n");
            }
            input.extend(b"0\r\n\r\n");
            prop_assert_eq!(decode(&input, piece), Ok((chunks.concat(), Some(input.len()))));
        }

        #[test]
        fn pieces_do_not_matter(input in "[0-3\r\n;a]{0,60}", piece in 1usize..10) {
            prop_assert_eq!(decode(input.as_bytes(), piece), decode(input.as_bytes(), 100));
        }
    }
}
