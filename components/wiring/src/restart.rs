//! What a protection domain (PD) has to know in order to start over: what to wipe, and what to rebuild.
//!
//! It lies behind the encoded [`Wiring`](crate::Wiring), in a form that is read without allocating: the program that
//! reads it has lost its memory. As the wiring it is in read-only memory, so that nothing that went wrong in the PD
//! can have changed it.

use alloc::vec::Vec;

use crate::{Span, Wiring, WiringError};

/// What a PD wipes, and the first content of its writable data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restart {
    /// The stack.
    pub stack: Span,
    /// All other memory that the PD alone writes and that may hold secrets. Of a region that another PD reads the first
    /// line is wiped first, with a barrier behind it.
    pub wiped: Vec<Span>,
    /// Where the program's writable data begins.
    pub data_address: u64,
    /// What the program's file has there.
    pub data: Vec<u8>,
}

/// Bytes in front of the spans: their count, the length of the data, the data's address, the stack.
const HEAD: usize = 16 + SPAN;
const SPAN: usize = 16;

impl Restart {
    /// The bytes that [`Image::of`] reads.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.wiped.len() as u32).to_le_bytes());
        bytes.extend((self.data.len() as u32).to_le_bytes());
        bytes.extend(self.data_address.to_le_bytes());
        for span in [self.stack].iter().chain(&self.wiped) {
            bytes.extend(span.address.to_le_bytes());
            bytes.extend(span.size.to_le_bytes());
        }
        bytes.extend(&self.data);
        bytes
    }
}

/// A [`Restart`] as it lies in the wiring region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    stack: Span,
    spans: &'a [u8],
    data_address: u64,
    data: &'a [u8],
}

impl<'a> Image<'a> {
    /// The restart image in a wiring region.
    ///
    /// # Errors
    /// [`WiringError::Malformed`] when the bytes are not a wiring of this format.
    pub fn of(region: &'a [u8]) -> Result<Self, WiringError> {
        Self::parse(region).ok_or(WiringError::Malformed)
    }

    fn parse(region: &'a [u8]) -> Option<Self> {
        let start = Wiring::restart_of(region.first_chunk()?).ok()?;
        let bytes = region.get(start..)?;
        let (count, length) = (number(bytes, 0)?, number(bytes, 4)?);
        let spans = bytes.get(HEAD..HEAD.checked_add(count.checked_mul(SPAN)?)?)?;
        let data = bytes.get(HEAD + spans.len()..)?.get(..length)?;
        Some(Self {
            stack: span(bytes.get(16..)?)?,
            spans,
            data_address: word(bytes, 8)?,
            data,
        })
    }

    /// The stack, which is wiped last.
    pub fn stack(&self) -> Span {
        self.stack
    }

    /// What is wiped before it, in this order.
    pub fn wiped(&self) -> impl Iterator<Item = Span> + use<'a> {
        self.spans.chunks_exact(SPAN).filter_map(span)
    }

    /// Address and first content of the program's writable data.
    pub fn data(&self) -> (u64, &'a [u8]) {
        (self.data_address, self.data)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

fn span(bytes: &[u8]) -> Option<Span> {
    Some(Span {
        address: word(bytes, 0)?,
        size: word(bytes, 8)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart() -> Restart {
        let span = |address, size| Span { address, size };
        Restart {
            stack: span(0x7fff_0000, 0x4000),
            wiped: [span(0x30_0000, 0x1000), span(0x2000_0000, 0x20_0000)].into(),
            data_address: 0x30_0010,
            data: b"first content".to_vec(),
        }
    }

    #[test]
    fn what_was_written_is_read_from_the_page() {
        let (wiring, restart) = (Wiring::new("tls"), restart());
        let mut page = wiring.to_bytes(&restart);
        page.resize(4096, 0);
        let image = Image::of(&page).unwrap();
        assert_eq!(image.stack(), restart.stack);
        assert_eq!(image.wiped().collect::<Vec<_>>(), restart.wiped);
        assert_eq!(image.data(), (0x30_0010, &b"first content"[..]));
        assert_eq!(Wiring::from_bytes(&page), Ok(wiring));
    }

    #[test]
    fn a_region_that_is_cut_short_is_refused() {
        let bytes = Wiring::new("tls").to_bytes(&restart());
        for length in 0..bytes.len() {
            assert_eq!(Image::of(&bytes[..length]), Err(WiringError::Malformed));
        }
    }
}
