//! The parameters of a new connection, and what follows from its addresses, its ring and the time.

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint};

use super::SequenceNumber;
use super::header::{HEADER_LENGTH, MAX_WINDOW_SHIFT};

/// The parameters of a new connection that the stack decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// Address and port of this host.
    pub local: IpEndpoint,
    /// Address and port of the peer.
    pub remote: IpEndpoint,
    /// The initial sequence number (RFC 6528).
    pub number: SequenceNumber,
    /// Added to the clock of the timestamps, so that they reveal nothing about other connections
    /// (RFC 7323, section 7.1).
    pub timestamp_offset: u32,
    /// The longest IP packet between this host and the peer, in bytes.
    pub mtu: u16,
}

impl Parameters {
    /// Returns the MSS that this host announces: the payload of the longest packet without options.
    pub fn largest_mss(&self) -> u16 {
        payload_room(self.mtu, self.remote.addr)
    }
}

/// Returns the bytes of a packet that are left for payload and TCP options.
pub(super) fn payload_room(mtu: u16, remote: IpAddress) -> u16 {
    let ip = match remote {
        IpAddress::Ipv4(_) => 20,
        IpAddress::Ipv6(_) => 40,
    };
    mtu.saturating_sub(ip + HEADER_LENGTH as u16)
}

/// Returns the shift with which a window of the whole ring fits into 16 bits.
pub(super) fn window_shift(capacity: usize) -> u8 {
    (0..MAX_WINDOW_SHIFT)
        .find(|shift| capacity >> shift <= 65_535)
        .unwrap_or(MAX_WINDOW_SHIFT)
}

/// Returns the value for a timestamps option: milliseconds (RFC 7323, section 5.4) from an offset of the connection's.
pub(super) fn timestamp_clock(offset: u32, now: Instant) -> u32 {
    (now.total_millis() as u32).wrapping_add(offset)
}

/// A peer's timestamp that is older than this says nothing (RFC 7323, section 5.5).
pub(super) const TIMESTAMP_LIFETIME: Duration = Duration::from_secs(24 * 24 * 60 * 60);
