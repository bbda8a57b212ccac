//! TCP segments, as the IP layer ([`host`](crate::host)) and TCP ([`tcp`](crate::tcp)) hand them to each other.

use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::tcp::{Flags, Header, Malformed, SequenceNumber};

/// A received segment. The IP layer has checked its addresses: `local` is an address of this host, `remote` is a unicast
/// address that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    /// The address and port that the segment was sent to.
    pub local: IpEndpoint,
    /// The address and port that the segment was sent from.
    pub remote: IpEndpoint,
    /// Header and options.
    pub header: Header,
    /// Payload, in private memory.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment, the payload of an IP packet between two unicast addresses of one family, whose checksum is right.
    ///
    /// # Errors
    /// [`Malformed`] if its lengths contradict each other or a port is 0.
    pub fn parse(
        source: IpAddress,
        destination: IpAddress,
        bytes: &'a [u8],
    ) -> Result<Self, Malformed> {
        let (header, (from, to), payload) = Header::parse(bytes)?;
        Ok(Self {
            local: IpEndpoint::new(destination, to),
            remote: IpEndpoint::new(source, from),
            header,
            payload,
        })
    }

    /// Returns the numbers that the payload and FIN take.
    pub fn text_length(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.header.flags.has(Flags::FIN))
    }

    /// Returns SEG.LEN: the numbers that the payload, SYN and FIN take.
    pub fn length(&self) -> u32 {
        self.text_length() + u32::from(self.header.flags.has(Flags::SYN))
    }
}

/// A segment to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    /// The address and port of this host.
    pub local: IpEndpoint,
    /// Where the segment goes.
    pub remote: IpEndpoint,
    /// Header and options.
    pub header: Header,
    /// The payload, in two parts since a ring may wrap. It may lie in memory that another PD writes: it is read once.
    pub payload: [&'a [u8]; 2],
}

impl Outgoing<'_> {
    /// Returns the length of the segment in bytes: header, options and payload.
    pub fn length(&self) -> usize {
        self.header.length() + self.payload_length()
    }

    /// Returns the length of the payload in bytes.
    pub fn payload_length(&self) -> usize {
        self.payload[0].len() + self.payload[1].len()
    }

    /// Writes the header, with a checksum of 0, into the first bytes of a buffer: as many as its length.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn emit_header(&self, buffer: &mut [u8]) {
        self.header
            .emit((self.local.port, self.remote.port), buffer);
    }
}

/// The result of sending a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is on its way to the driver.
    Done,
    /// The link-layer address of the next hop is not known yet; resolution has begun. Nothing was sent or kept: the
    /// caller tries again when the host reports [`Resolution::Found`](crate::host::Resolution).
    Resolving,
    /// There is no route, no source address, or the next hop does not answer.
    Unreachable,
    /// The pool has no free buffer.
    NoBuffer,
}

/// An ICMP error that quotes a segment of this host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentError {
    /// This host's address and port, from the quoted segment.
    pub local: IpEndpoint,
    /// The peer's address and port, from the quoted segment.
    pub remote: IpEndpoint,
    /// The sequence number of the quoted segment; RFC 5927, section 4: an error counts only if it is in flight.
    pub sequence: SequenceNumber,
    /// The kind of the error.
    pub kind: SegmentErrorKind,
    /// The address of the host or router that sent the error.
    pub reporter: IpAddress,
}

/// The kind of an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentErrorKind {
    /// Network or host unreachable, time exceeded and their kind: a hint (RFC 1122, section 4.2.3.9; RFC 5461).
    Soft,
    /// Protocol or port unreachable, administratively prohibited: hard in RFC 1122, treated as soft once a connection is
    /// established (RFC 5927, section 5.2).
    Hard,
    /// The packet was too big for a link of this MTU, in bytes of IP packet (RFC 1191, RFC 8201).
    TooBig(u16),
}
