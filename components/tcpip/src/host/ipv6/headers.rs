//! The IPv6 header and the extension headers after it (RFC 8200, sections 3 and 4).
//!
//! The chain is walked once, without recursion; a packet of n bytes has at most n / 8 headers, and [`MAX_HEADERS`] of
//! them are looked at.

use smoltcp::wire::Ipv6Address;

/// Length of the IPv6 header in bytes.
pub(crate) const HEADER: usize = 40;
/// Extension headers of one packet that are processed. RFC 8504, section 5.3, allows a host to have a limit; no
/// sensible packet has more than one of each of the five kinds and a second one of destination options.
const MAX_HEADERS: usize = 8;

/// Protocol numbers of the "Next Header" field that this host knows (RFC 8200, section 4).
pub(crate) mod next {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const NONE: u8 = 59;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
}

/// Where "Next Header" is in the IPv6 header; in extension headers it is the first byte.
const NEXT_HEADER: usize = 6;
/// Option types (RFC 8200, section 4.2; RFC 2711, section 2.1).
const PAD1: u8 = 0;
pub(crate) const PADN: u8 = 1;
pub(crate) const ROUTER_ALERT: u8 = 5;

/// A packet whose IPv6 header has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// Header and payload; the frame's padding is cut off.
    pub bytes: &'a [u8],
    /// Where it comes from.
    pub source: Ipv6Address,
    /// Where it goes.
    pub destination: Ipv6Address,
    /// How many more routers may forward it.
    pub hop_limit: u8,
}

/// The content of a packet after its extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// A segment, datagram or message of a protocol that this host has.
    Upper {
        /// [`next::TCP`], [`next::UDP`] or [`next::ICMPV6`].
        protocol: u8,
        /// The bytes after the last header.
        payload: &'a [u8],
        /// Whether a Router Alert option was among the hop-by-hop options (RFC 2711).
        router_alert: bool,
    },
    /// Nothing that this host has to look at: [`next::NONE`], or an option that wants the packet discarded.
    Nothing,
    /// A fragment of a longer packet. This host does not reassemble.
    Fragment,
    /// Lengths contradict each other.
    Malformed,
    /// A Parameter Problem message is due (RFC 4443, section 3.4).
    Problem(Problem),
}

/// The error in a packet: the fields of a Parameter Problem message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The kind (RFC 4443, section 3.4; RFC 8883, section 3).
    pub code: u8,
    /// Offset in bytes of what is wrong, from the beginning of the IPv6 header.
    pub pointer: u32,
    /// Whether the message is due even if the packet went to a multicast address.
    pub to_multicast: bool,
}

/// Codes of the Parameter Problem message.
pub(crate) mod problem {
    pub(crate) const ERRONEOUS_FIELD: u8 = 0;
    pub(crate) const UNKNOWN_NEXT_HEADER: u8 = 1;
    pub(crate) const UNKNOWN_OPTION: u8 = 2;
    /// RFC 8883, section 3.4.
    pub(crate) const TOO_MANY_HEADERS: u8 = 8;
}

impl<'a> Packet<'a> {
    /// Reads the payload of an Ethernet frame. Returns `None` if it is no IPv6 packet or shorter than it says.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let header = frame.get(..HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 {
            return None;
        }
        Some(Self {
            bytes: frame.get(..HEADER + length)?,
            source: address_at(header, 8)?,
            destination: address_at(header, 24)?,
            hop_limit: header[7],
        })
    }

    /// Walks the extension headers.
    pub fn content(&self) -> Content<'a> {
        let bytes = self.bytes;
        let mut router_alert = false;
        // Where the number of the next header is, and where that header begins.
        let (mut field, mut at) = (NEXT_HEADER, HEADER);
        for _ in 0..=MAX_HEADERS {
            let rest = &bytes[at..];
            let length = match bytes[field] {
                protocol @ (next::TCP | next::UDP | next::ICMPV6) => {
                    return Content::Upper {
                        protocol,
                        payload: rest,
                        router_alert,
                    };
                }
                next::NONE => return Content::Nothing,
                next::HOP_BY_HOP if field == NEXT_HEADER => {
                    match options(rest, at, &mut router_alert) {
                        Ok(length) => length,
                        Err(content) => return content,
                    }
                }
                next::DESTINATION_OPTIONS => match options(rest, at, &mut false) {
                    Ok(length) => length,
                    Err(content) => return content,
                },
                next::ROUTING => match routing(rest, at) {
                    Ok(length) => length,
                    Err(content) => return content,
                },
                next::FRAGMENT => match fragment(rest) {
                    Ok(length) => length,
                    Err(content) => return content,
                },
                _ => return trouble(problem::UNKNOWN_NEXT_HEADER, field),
            };
            (field, at) = (at, at + length);
        }
        // The last header that was walked exceeds the limit.
        trouble(problem::TOO_MANY_HEADERS, field)
    }

    /// Whether this is an ICMPv6 error message or a Redirect, which no error message answers (RFC
    /// 4443, section 2.4 e). A packet with an unknown header does not count as one, since the
    /// headers after it cannot be read.
    pub fn is_error(&self) -> bool {
        let (mut field, mut at) = (NEXT_HEADER, HEADER);
        while let Some(protocol) = self.bytes.get(field) {
            let Some(rest) = self.bytes.get(at..) else {
                return false;
            };
            let length = match *protocol {
                next::ICMPV6 => {
                    return matches!(rest, [0..=127 | super::message::REDIRECT, ..]);
                }
                next::FRAGMENT => 8,
                next::HOP_BY_HOP | next::DESTINATION_OPTIONS | next::ROUTING => match rest {
                    [_, length, ..] => header_length(*length),
                    _ => return false,
                },
                _ => return false,
            };
            (field, at) = (at, at + length);
        }
        false
    }
}

/// Reads an address out of a header that has one at this offset.
pub(crate) fn address_at(bytes: &[u8], offset: usize) -> Option<Ipv6Address> {
    let octets: [u8; 16] = bytes.get(offset..offset + 16)?.try_into().ok()?;
    Some(Ipv6Address::from_octets(octets))
}

/// Returns the length of an extension header in bytes, from its second byte.
fn header_length(field: u8) -> usize {
    (usize::from(field) + 1) * 8
}

fn trouble(code: u8, pointer: usize) -> Content<'static> {
    Content::Problem(Problem {
        code,
        pointer: pointer as u32,
        to_multicast: false,
    })
}

/// Reads hop-by-hop or destination options (RFC 8200, sections 4.2, 4.3 and 4.6). Returns the
/// header's length.
fn options<'a>(rest: &[u8], at: usize, router_alert: &mut bool) -> Result<usize, Content<'a>> {
    let [_, length, ..] = rest else {
        return Err(Content::Malformed);
    };
    let length = header_length(*length);
    let header = rest.get(..length).ok_or(Content::Malformed)?;
    let mut offset = 2;
    while offset < length {
        let kind = header[offset];
        if kind == PAD1 {
            offset += 1;
            continue;
        }
        let data = usize::from(*header.get(offset + 1).ok_or(Content::Malformed)?);
        let end = offset + 2 + data;
        if end > length {
            return Err(Content::Malformed);
        }
        match (kind, kind >> 6) {
            (ROUTER_ALERT, _) => *router_alert = data == 2,
            (PADN, _) | (_, 0b00) => {}
            (_, 0b01) => return Err(Content::Nothing),
            (_, action) => {
                return Err(Content::Problem(Problem {
                    code: problem::UNKNOWN_OPTION,
                    pointer: (at + offset) as u32,
                    to_multicast: action == 0b10,
                }));
            }
        }
        offset = end;
    }
    Ok(length)
}

/// Reads a routing header (RFC 8200, section 4.4). This host knows no type, so one that has
/// segments left is an error; type 0 must not be processed in any case (RFC 5095, section 3).
fn routing<'a>(rest: &[u8], at: usize) -> Result<usize, Content<'a>> {
    const ROUTING_TYPE: usize = 2;
    let [_, length, _, segments_left, ..] = rest else {
        return Err(Content::Malformed);
    };
    let length = header_length(*length);
    match (rest.len() < length, segments_left) {
        (true, _) => Err(Content::Malformed),
        (false, 0) => Ok(length),
        (false, _) => Err(trouble(problem::ERRONEOUS_FIELD, at + ROUTING_TYPE)),
    }
}

/// Reads a fragment header (RFC 8200, section 4.5). One with offset 0 and without more fragments
/// holds a whole packet, which is processed apart from all other fragments (RFC 6946, section 4).
fn fragment<'a>(rest: &[u8]) -> Result<usize, Content<'a>> {
    let [_, _, high, low, _, _, _, _, ..] = rest else {
        return Err(Content::Malformed);
    };
    // 13 bits of offset, 2 reserved bits, and the flag for more fragments.
    match u16::from_be_bytes([*high, *low]) & !0b110 {
        0 => Ok(8),
        _ => Err(Content::Fragment),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet of headers, each with its number, and 20 bytes of payload.
    fn packet(headers: &[(u8, &[u8])], last: u8) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let mut field = NEXT_HEADER;
        for (number, header) in headers {
            bytes[field] = *number;
            field = bytes.len();
            bytes.extend_from_slice(header);
        }
        bytes[field] = last;
        bytes.extend_from_slice(&[7; 20]);
        bytes[0] = 0x60;
        let length = (bytes.len() - HEADER) as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    fn content(headers: &[(u8, &[u8])], last: u8) -> String {
        let bytes = packet(headers, last);
        match Packet::parse(&bytes).unwrap().content() {
            Content::Upper {
                protocol,
                payload,
                router_alert,
            } => {
                assert_eq!(payload, [7; 20]);
                format!("{protocol} {router_alert}")
            }
            Content::Problem(problem) => format!(
                "problem {} {} {}",
                problem.code, problem.pointer, problem.to_multicast
            ),
            other => format!("{other:?}"),
        }
    }

    const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

    #[test]
    fn plain_segments_are_found() {
        assert_eq!(content(&[], next::TCP), "6 false");
        assert_eq!(content(&[], next::UDP), "17 false");
        assert_eq!(content(&[], next::ICMPV6), "58 false");
    }

    #[test]
    fn segments_behind_options_are_found_in_any_order() {
        let options = (next::DESTINATION_OPTIONS, &PADDING[..]);
        let hop = (next::HOP_BY_HOP, &[0, 0, 5, 2, 0, 0, 0, 0][..]);
        assert_eq!(content(&[options], next::TCP), "6 false");
        assert_eq!(content(&[hop], next::TCP), "6 true");
        assert_eq!(content(&[hop, options, options], next::TCP), "6 true");
        let routing = (next::ROUTING, &[0, 0, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(content(&[options, routing, options], next::TCP), "6 false");
    }

    #[test]
    fn hop_by_hop_options_stand_first_only() {
        let options = (next::DESTINATION_OPTIONS, &PADDING[..]);
        let hop = (next::HOP_BY_HOP, &PADDING[..]);
        assert_eq!(content(&[options, hop], next::TCP), "problem 1 40 false");
        assert_eq!(content(&[hop, hop], next::TCP), "problem 1 40 false");
    }

    #[test]
    fn atomic_fragments_are_whole_packets_and_others_are_not() {
        let fragment = |high, low| [0, 0xff, high, low, 0, 0, 0, 7];
        let content = |header: [u8; 8]| content(&[(next::FRAGMENT, &header)], next::TCP);
        assert_eq!(content(fragment(0, 0)), "6 false");
        // Reserved bits are ignored.
        assert_eq!(content(fragment(0, 6)), "6 false");
        assert_eq!(content(fragment(0, 1)), "Fragment");
        assert_eq!(content(fragment(0, 8)), "Fragment");
        assert_eq!(content(fragment(1, 0)), "Fragment");
    }

    #[test]
    fn routing_headers_with_segments_left_are_a_problem() {
        for kind in [0, 2, 3, 4, 253] {
            let header = [
                0, 2, kind, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ];
            let content = content(&[(next::ROUTING, &header)], next::TCP);
            assert_eq!(content, "problem 0 42 false", "type {kind}");
        }
    }

    #[test]
    fn the_action_bits_of_unknown_options_are_followed() {
        let content = |kind| {
            let header = [0, 0, kind, 2, 0, 0, 0, 0];
            content(&[(next::DESTINATION_OPTIONS, &header)], next::TCP)
        };
        assert_eq!(content(0b0001_1110), "6 false");
        assert_eq!(content(0b0101_1110), "Nothing");
        assert_eq!(content(0b1001_1110), "problem 2 42 true");
        assert_eq!(content(0b1101_1110), "problem 2 42 false");
    }

    #[test]
    fn unknown_headers_are_a_problem_at_their_number() {
        assert_eq!(content(&[], 253), "problem 1 6 false");
        // Authentication and encryption are not there (RFC 4302, RFC 4303).
        assert_eq!(content(&[], 50), "problem 1 6 false");
        assert_eq!(content(&[], 51), "problem 1 6 false");
        let options = (next::DESTINATION_OPTIONS, &PADDING[..]);
        assert_eq!(content(&[options], 132), "problem 1 40 false");
        assert_eq!(content(&[], next::NONE), "Nothing");
    }

    #[test]
    fn long_chains_end() {
        let options = (next::DESTINATION_OPTIONS, &PADDING[..]);
        assert_eq!(content(&[options; MAX_HEADERS], next::TCP), "6 false");
        let too_many = content(&[options; MAX_HEADERS + 1], next::TCP);
        assert_eq!(too_many, format!("problem 8 {} false", HEADER + 64));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_malformed() {
        let long = [0, 9, 1, 4, 0, 0, 0, 0];
        let options = [(next::DESTINATION_OPTIONS, &long[..])];
        assert_eq!(content(&options, next::TCP), "Malformed");
        let overrun = [0, 0, 1, 5, 0, 0, 0, 0];
        let options = [(next::DESTINATION_OPTIONS, &overrun[..])];
        assert_eq!(content(&options, next::TCP), "Malformed");
        let mut short = packet(&[], next::TCP);
        short[5] = 21;
        assert!(Packet::parse(&short).is_none());
        short[5] = 0;
        assert_eq!(Packet::parse(&short).unwrap().bytes.len(), HEADER);
        short[0] = 0x45;
        assert!(Packet::parse(&short).is_none());
    }

    #[test]
    fn errors_are_recognised_behind_headers() {
        let is_error = |headers: &[(u8, &[u8])], kind: u8| {
            let mut bytes = packet(headers, next::ICMPV6);
            let at = bytes.len() - 20;
            bytes[at] = kind;
            Packet::parse(&bytes).unwrap().is_error()
        };
        let unknown = (next::DESTINATION_OPTIONS, &[0, 0, 0xc9, 2, 0, 0, 0, 0][..]);
        assert!(is_error(&[], 1));
        assert!(is_error(&[unknown], 4));
        assert!(is_error(&[unknown], 137));
        assert!(!is_error(&[unknown], 128));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), number in 0u8..64) {
            if let Some(first) = bytes.first_mut() {
                *first = 0x60;
            }
            if bytes.len() >= HEADER {
                let length = (bytes.len() - HEADER) as u16;
                bytes[4..6].copy_from_slice(&length.to_be_bytes());
                bytes[NEXT_HEADER] = number;
            }
            if let Some(packet) = Packet::parse(&bytes) {
                packet.is_error();
                if let Content::Problem(problem) = packet.content() {
                    prop_assert!((problem.pointer as usize) <= bytes.len());
                }
            }
        }

        #[test]
        fn chains_of_known_headers_do_not_panic(headers in prop::collection::vec((prop::sample::select(vec![0u8, 43, 44, 60]), any::<[u8; 8]>()), 0..12), long in any::<bool>()) {
            let headers: Vec<(u8, Vec<u8>)> = headers
                .into_iter()
                .map(|(number, mut header)| {
                    if !long { header[1] = 0; }
                    (number, header.to_vec())
                })
                .collect();
            let headers: Vec<(u8, &[u8])> = headers.iter().map(|(number, header)| (*number, &header[..])).collect();
            let bytes = packet(&headers, next::TCP);
            let packet = Packet::parse(&bytes).unwrap();
            packet.content();
            packet.is_error();
        }
    }
}
