//! Replies for which no connection is needed.

use smoltcp::time::Instant;
use smoltcp::wire::IpEndpoint;

use super::cookie::{self, Cookies};
use super::header::{Flags, Header, Options};
use super::parameters::{Parameters, timestamp_clock, window_shift};
use crate::segment::{Outgoing, Segment};

/// Returns the reset for a segment that belongs to no connection, or that a handshake cannot take (RFC 9293, sections
/// 3.5.2 and 3.10.7.1); `None` for a reset.
pub(crate) fn reset(segment: &Segment<'_>) -> Option<Outgoing<'static>> {
    let received = &segment.header;
    if received.flags.has(Flags::RST) {
        return None;
    }
    let header = match received.flags.has(Flags::ACK) {
        true => Header {
            flags: Flags::RST,
            sequence: received.acknowledgement,
            ..Header::default()
        },
        false => Header {
            flags: Flags::RST.with(Flags::ACK),
            acknowledgement: received.sequence + segment.length(),
            ..Header::default()
        },
    };
    Some(reply(segment.local, segment.remote, header))
}

/// Returns the SYN|ACK with a cookie for a SYN. `parameters` are those that a connection would get.
pub(crate) fn syn_cookie(
    syn: &Segment<'_>,
    parameters: &Parameters,
    capacity: usize,
    cookies: &mut Cookies,
    now: Instant,
) -> Outgoing<'static> {
    let offered = &syn.header.options;
    let timestamps = cookie::pack(timestamp_clock(parameters.timestamp_offset, now), offered);
    // Without timestamps the peer's scale would be forgotten, and then none may be used (RFC 7323, section 2.2).
    let scales = timestamps.is_some() && offered.window_shift.is_some();
    let header = Header {
        flags: Flags::SYN.with(Flags::ACK),
        sequence: cookies.make(syn, now),
        acknowledgement: syn.header.sequence + 1,
        window: capacity.min(65_535) as u16,
        options: Options {
            mss: Some(parameters.largest_mss()),
            window_shift: scales.then(|| window_shift(capacity)),
            sack_permitted: timestamps.is_some() && offered.sack_permitted,
            timestamps,
            ..Options::default()
        },
    };
    reply(syn.local, syn.remote, header)
}

fn reply(local: IpEndpoint, remote: IpEndpoint, header: Header) -> Outgoing<'static> {
    Outgoing {
        local,
        remote,
        header,
        payload: [&[], &[]],
    }
}
