//! The header of a segment: flags, numbers and options, from and to bytes (RFC 9293, sections 3.1 and 3.2).
//!
//! smoltcp's `TcpRepr` is not used: it drops segments with two control flags, which RFC 9293, section 3.10.7, gives an
//! answer, and it carries three SACK blocks where four fit.

use smoltcp::wire::TcpPacket;

use super::SequenceNumber;

/// Bytes of a header without options.
pub(crate) const HEADER_LENGTH: usize = 20;
/// Bytes that the timestamps option takes, with its padding.
pub(crate) const TIMESTAMPS_LENGTH: usize = 12;
/// The most SACK blocks in one header.
pub(crate) const SACK_BLOCKS: usize = 4;
/// The highest shift of a window (RFC 7323, section 2.3).
pub(crate) const MAX_WINDOW_SHIFT: u8 = 14;

/// A segment with contradictory lengths or port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The control bits that this TCP uses, as they lie in byte 13 of the header. URG is ignored: RFC 6093, section 6, advises
/// against the urgent mechanism, and the bytes stay in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const PSH: Self = Self(0x08);
    pub const ACK: Self = Self(0x10);
    const KNOWN: u8 = 0x1f;

    /// Returns the flags of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The timestamps option (RFC 7323, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the clock of the other side, as last received.
    pub echo: u32,
}

/// Start and end of a block of bytes; the end is the number after the last byte.
pub(crate) type Block = (SequenceNumber, SequenceNumber);

/// The options of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Maximum segment size in bytes; only with SYN (RFC 9293, section 3.7.1).
    pub mss: Option<u16>,
    /// Shift of the windows, at most 14; only with SYN (RFC 7323, section 2.2).
    pub window_shift: Option<u8>,
    /// The sender takes SACK options; only with SYN (RFC 2018, section 2).
    pub sack_permitted: bool,
    /// Blocks received out of order (RFC 2018, section 3).
    pub sack: [Option<Block>; SACK_BLOCKS],
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
}

/// The header of a segment, without ports and checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// Control bits.
    pub flags: Flags,
    /// Number of the first byte, or of SYN or FIN.
    pub sequence: SequenceNumber,
    /// The number that is expected next; valid with ACK.
    pub acknowledgement: SequenceNumber,
    /// The window as it is in the header, not shifted.
    pub window: u16,
    /// Options.
    pub options: Options,
}

/// A header with its ports: source, destination.
pub(crate) type Parsed<'a> = (Header, (u16, u16), &'a [u8]);

impl Header {
    /// Returns the header, the ports and the payload of a segment.
    ///
    /// # Errors
    /// [`Malformed`] if the lengths contradict each other or a port is 0.
    pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Malformed> {
        let packet = TcpPacket::new_checked(bytes).map_err(|_| Malformed)?;
        let ports = (packet.src_port(), packet.dst_port());
        if ports.0 == 0 || ports.1 == 0 {
            return Err(Malformed);
        }
        let header = Self {
            flags: Flags(bytes[13] & Flags::KNOWN),
            sequence: SequenceNumber(packet.seq_number().0 as u32),
            acknowledgement: SequenceNumber(packet.ack_number().0 as u32),
            window: packet.window_len(),
            options: Options::parse(packet.options()),
        };
        Ok((header, ports, packet.payload()))
    }

    /// Returns the length of the header in bytes, a multiple of 4.
    pub fn length(&self) -> usize {
        HEADER_LENGTH + self.options.length()
    }

    /// Writes the header into the first [`Header::length`] bytes, with a checksum of zero.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn emit(&self, (source, destination): (u16, u16), buffer: &mut [u8]) {
        let length = self.length();
        let bytes = &mut buffer[..length];
        let acknowledgement = match self.flags.has(Flags::ACK) {
            true => self.acknowledgement.0,
            false => 0,
        };
        bytes[0..2].copy_from_slice(&source.to_be_bytes());
        bytes[2..4].copy_from_slice(&destination.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.sequence.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
        bytes[12] = (length as u8 / 4) << 4;
        bytes[13] = self.flags.0;
        bytes[14..16].copy_from_slice(&self.window.to_be_bytes());
        bytes[16..HEADER_LENGTH].fill(0);
        self.options.emit(&mut bytes[HEADER_LENGTH..]);
    }
}

mod kind {
    pub const END: u8 = 0;
    pub const PADDING: u8 = 1;
    pub const MSS: u8 = 2;
    pub const WINDOW_SHIFT: u8 = 3;
    pub const SACK_PERMITTED: u8 = 4;
    pub const SACK: u8 = 5;
    pub const TIMESTAMPS: u8 = 8;
}

impl Options {
    /// Reads options. Unknown ones are passed over (RFC 9293, section 3.2); an option with an impossible length hides
    /// what comes after it and nothing else.
    fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let [kind, rest @ ..] = bytes {
            match *kind {
                kind::END => break,
                kind::PADDING => bytes = rest,
                kind => {
                    let Some(&length) = rest.first() else { break };
                    let Some(body) = bytes.get(2..usize::from(length)) else {
                        break;
                    };
                    options.take(kind, body);
                    bytes = &bytes[usize::from(length)..];
                }
            }
        }
        options
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (kind::MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (kind::WINDOW_SHIFT, &[shift]) => {
                self.window_shift = Some(shift.min(MAX_WINDOW_SHIFT));
            }
            (kind::SACK_PERMITTED, []) => self.sack_permitted = true,
            (kind::SACK, blocks) if blocks.len() % 8 == 0 => {
                for (target, block) in self.sack.iter_mut().zip(blocks.chunks_exact(8)) {
                    *target = Some((number(block, 0), number(block, 4)));
                }
            }
            (kind::TIMESTAMPS, body) if body.len() == 8 => {
                self.timestamps = Some(Timestamps {
                    value: number(body, 0).0,
                    echo: number(body, 4).0,
                });
            }
            _ => {}
        }
    }

    /// Returns their length in bytes with padding: each option is aligned to 4 bytes.
    fn length(&self) -> usize {
        let blocks = self.sack.iter().flatten().count();
        4 * usize::from(self.mss.is_some())
            + 4 * usize::from(self.window_shift.is_some())
            + 4 * usize::from(self.sack_permitted)
            + TIMESTAMPS_LENGTH * usize::from(self.timestamps.is_some())
            + if blocks > 0 { 4 + 8 * blocks } else { 0 }
    }

    fn emit(&self, mut bytes: &mut [u8]) {
        let mut put = |word: [u8; 4]| {
            let (here, rest) = core::mem::take(&mut bytes).split_at_mut(4);
            here.copy_from_slice(&word);
            bytes = rest;
        };
        const PAD: u8 = kind::PADDING;
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put([kind::MSS, 4, high, low]);
        }
        if let Some(shift) = self.window_shift {
            put([PAD, kind::WINDOW_SHIFT, 3, shift]);
        }
        if self.sack_permitted {
            put([PAD, PAD, kind::SACK_PERMITTED, 2]);
        }
        if let Some(timestamps) = self.timestamps {
            put([PAD, PAD, kind::TIMESTAMPS, 10]);
            put(timestamps.value.to_be_bytes());
            put(timestamps.echo.to_be_bytes());
        }
        let blocks = self.sack.iter().flatten().count();
        if blocks > 0 {
            put([PAD, PAD, kind::SACK, 2 + 8 * blocks as u8]);
            for (start, end) in self.sack.iter().flatten() {
                put(start.0.to_be_bytes());
                put(end.0.to_be_bytes());
            }
        }
    }
}

/// Returns the number at an offset of an option's body, whose length was checked.
fn number(body: &[u8], offset: usize) -> SequenceNumber {
    let bytes = body[offset..offset + 4].try_into().unwrap_or_default();
    SequenceNumber(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> impl Strategy<Value = Options> {
        let timestamps =
            (any::<u32>(), any::<u32>()).prop_map(|(value, echo)| Timestamps { value, echo });
        let syn = (
            prop::option::of(any::<u16>()),
            prop::option::of(0..=MAX_WINDOW_SHIFT),
            any::<bool>(),
            prop::option::of(timestamps.clone()),
        );
        let blocks = prop::collection::vec((any::<u32>(), any::<u32>()), 0..=3);
        let other = (blocks, prop::option::of(timestamps));
        prop_oneof![
            syn.prop_map(|(mss, window_shift, sack_permitted, timestamps)| Options {
                mss,
                window_shift,
                sack_permitted,
                timestamps,
                ..Options::default()
            }),
            other.prop_map(|(blocks, timestamps)| {
                let mut blocks = blocks.into_iter();
                Options {
                    sack: core::array::from_fn(|_| {
                        let (start, end) = blocks.next()?;
                        Some((SequenceNumber(start), SequenceNumber(end)))
                    }),
                    timestamps,
                    ..Options::default()
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            options in options(),
            flags in 0u8..32,
            sequence: u32,
            acknowledgement: u32,
            window: u16,
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let flags = Flags(flags);
            let header = Header {
                flags,
                sequence: SequenceNumber(sequence),
                acknowledgement: SequenceNumber(if flags.has(Flags::ACK) { acknowledgement } else { 0 }),
                window,
                options,
            };
            let mut bytes = vec![0xff; header.length()];
            header.emit((80, 40000), &mut bytes);
            bytes.extend(&payload);
            prop_assert_eq!(Header::parse(&bytes), Ok((header, (80, 40000), &payload[..])));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), length in 0u8..16) {
            let mut bytes = bytes;
            if let Some(offset) = bytes.get_mut(12) {
                *offset = length << 4;
            }
            let _ = Header::parse(&bytes);
        }
    }

    #[test]
    fn options_after_an_impossible_length_are_ignored_and_unknown_ones_passed_over() {
        let parse = |bytes: &[u8]| Options::parse(bytes);
        assert_eq!(parse(&[99, 4, 0, 0, 2, 4, 1, 2]).mss, Some(0x102));
        for length in [0, 1, 9] {
            assert_eq!(parse(&[2, 4, 1, 2, 3, length, 7]).window_shift, None);
            assert_eq!(parse(&[2, 4, 1, 2, 3, length, 7]).mss, Some(0x102));
        }
        assert_eq!(parse(&[2, 3, 1, 2]).mss, None);
        assert_eq!(parse(&[0, 2, 4, 1, 2]).mss, None);
        assert_eq!(parse(&[3, 3, 200]).window_shift, Some(14));
        // Four SACK blocks and one that is cut off.
        let mut sack = vec![5, 34];
        sack.extend(1..=32);
        assert_eq!(parse(&sack).sack.iter().flatten().count(), 4);
        assert_eq!(parse(&[5, 7, 0, 0, 0, 0, 0]).sack, [None; 4]);
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let mut bytes = vec![0; 24];
        Header::default().emit((80, 40000), &mut bytes);
        assert!(Header::parse(&bytes).is_ok());
        assert!(Header::parse(&bytes[..19]).is_err());
        for offset in [0, 4, 7, 15] {
            bytes[12] = offset << 4;
            assert!(Header::parse(&bytes).is_err(), "{offset}");
        }
        bytes[12] = 5 << 4;
        bytes[1] = 0;
        assert!(Header::parse(&bytes).is_err());
    }

    /// The urgent bit and the bits of ECN are not used.
    #[test]
    fn unknown_flags_are_ignored() {
        let mut bytes = vec![0; 20];
        Header {
            flags: Flags::ACK,
            ..Header::default()
        }
        .emit((80, 40000), &mut bytes);
        bytes[13] |= 0xe0;
        assert_eq!(Header::parse(&bytes).unwrap().0.flags, Flags::ACK);
    }
}
