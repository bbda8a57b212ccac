//! SYN cookies (RFC 4987, section 3.6): handshakes that take no memory until they are complete.
//!
//! When slots run short, the sequence number of a SYN|ACK holds what the stack would have to remember:
//!
//! | bits | content |
//! |---|---|
//! | 31–29 | index of the maximum segment size |
//! | 28–26 | the interval of 64 s, modulo 8 |
//! | 25–0 | SipHash-2-4 of endpoints, the peer's number, interval and index, under the interval's key |
//!
//! If the peer offers timestamps, the low five bits of the own one hold its window scale and whether it takes SACK
//! options; it comes back as TSecr. A cookie is good in its interval and the next two: for 128 to 192 s. An attacker
//! that guesses one, in 22 million tries on average, has opened one connection from a forged address.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;
use smoltcp::time::Instant;
use smoltcp::wire::IpEndpoint;

use super::SequenceNumber;
use super::header::{Options, Timestamps};
use crate::segment::Segment;
use crate::sequence::{KEY_LENGTH, write_endpoint};

/// The sizes that a cookie can hold; the largest that is not above the peer's is taken.
const SIZES: [u16; 8] = [216, 536, 1220, 1300, 1360, 1400, 1440, 1460];
/// Seconds of an interval.
const INTERVAL: i64 = 64;
/// Intervals in which a cookie is good after its own.
const LATER_INTERVALS: i64 = 2;
const HASH_BITS: u32 = 26;
/// In a timestamp: the window scale, or 15 for none, and SACK.
const OPTION_BITS: u32 = 5;
const NO_SCALE: u32 = 15;

/// Makes cookies and checks them.
pub(crate) struct Cookies {
    key: [u8; KEY_LENGTH],
    /// When the last cookie was made: later than all of them, none is looked for.
    last: Option<Instant>,
}

/// The options that a peer with a good cookie offered in its SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Bytes.
    pub mss: u16,
    /// Without timestamps, none.
    pub window_shift: Option<u8>,
    /// Without timestamps, no.
    pub sack_permitted: bool,
}

impl Cookies {
    pub fn new(key: [u8; KEY_LENGTH]) -> Self {
        Self { key, last: None }
    }

    /// Returns the sequence number for a SYN|ACK in answer to a SYN.
    pub fn make(&mut self, syn: &Segment<'_>, now: Instant) -> SequenceNumber {
        self.last = Some(now);
        let offered = syn.header.options.mss.unwrap_or(SIZES[1]);
        let index = SIZES.iter().rposition(|size| *size <= offered).unwrap_or(0) as u32;
        let interval = interval(now);
        let endpoints = (syn.local, syn.remote);
        let hash = self.hash(endpoints, syn.header.sequence, interval, index);
        SequenceNumber(index << 29 | (interval as u32 & 7) << HASH_BITS | hash)
    }

    /// Returns what the peer offered if a segment acknowledges a cookie that is still good.
    pub fn check(&self, segment: &Segment<'_>, now: Instant) -> Option<Offer> {
        let newest = interval(now);
        self.last
            .filter(|last| newest - interval(*last) <= LATER_INTERVALS)?;
        let cookie = (segment.header.acknowledgement - 1).0;
        let index = cookie >> 29;
        let age = (newest as u32).wrapping_sub(cookie >> HASH_BITS) & 7;
        let interval = newest - i64::from(age);
        if i64::from(age) > LATER_INTERVALS {
            return None;
        }
        let endpoints = (segment.local, segment.remote);
        let hash = self.hash(endpoints, segment.header.sequence - 1, interval, index);
        if hash != cookie & ((1 << HASH_BITS) - 1) {
            return None;
        }
        let (window_shift, sack_permitted) = match segment.header.options.timestamps {
            Some(timestamps) => unpack(timestamps.echo),
            None => (None, false),
        };
        Some(Offer {
            mss: SIZES[index as usize],
            window_shift,
            sack_permitted,
        })
    }

    fn hash(
        &self,
        (local, remote): (IpEndpoint, IpEndpoint),
        peers: SequenceNumber,
        interval: i64,
        index: u32,
    ) -> u32 {
        // Each interval has a key of its own.
        let mut key = [0; KEY_LENGTH];
        for (half, bytes) in key.chunks_exact_mut(8).enumerate() {
            let mut hasher = SipHasher24::new_with_key(&self.key);
            hasher.write_i64(interval);
            hasher.write_u8(half as u8);
            bytes.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        let mut hasher = SipHasher24::new_with_key(&key);
        write_endpoint(&mut hasher, local);
        write_endpoint(&mut hasher, remote);
        hasher.write_u32(peers.0);
        hasher.write_u32(index);
        hasher.finish() as u32 & ((1 << HASH_BITS) - 1)
    }
}

fn interval(now: Instant) -> i64 {
    now.secs() / INTERVAL
}

/// Returns the timestamps for the SYN|ACK with a cookie, if the peer offers them: a clock at most 31 ms slow whose low
/// bits hold the other options of its SYN.
pub(super) fn pack(clock: u32, offered: &Options) -> Option<Timestamps> {
    let echo = offered.timestamps?.value;
    let scale = offered.window_shift.map_or(NO_SCALE, u32::from);
    let bits = scale | u32::from(offered.sack_permitted) << 4;
    let mask = (1 << OPTION_BITS) - 1;
    let packed = (clock & !mask) | bits;
    let value = match bits > clock & mask {
        true => packed.wrapping_sub(mask + 1),
        false => packed,
    };
    Some(Timestamps { value, echo })
}

fn unpack(echo: u32) -> (Option<u8>, bool) {
    let scale = echo & NO_SCALE;
    let shift = (scale != NO_SCALE).then_some(scale as u8);
    (shift, echo & 1 << 4 != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smoltcp::wire::IpAddress;

    use super::*;
    use crate::tcp::{Flags, Header};

    fn syn(mss: Option<u16>, sequence: u32) -> Segment<'static> {
        Segment {
            local: IpEndpoint::new(IpAddress::v4(10, 0, 0, 1), 443),
            remote: IpEndpoint::new(IpAddress::v4(10, 0, 0, 2), 40000),
            header: Header {
                flags: Flags::SYN,
                sequence: SequenceNumber(sequence),
                options: Options {
                    mss,
                    ..Options::default()
                },
                ..Header::default()
            },
            payload: &[],
        }
    }

    fn ack(syn: &Segment<'static>, cookie: SequenceNumber) -> Segment<'static> {
        let mut segment = *syn;
        segment.header.flags = Flags::ACK;
        segment.header.sequence += 1;
        segment.header.acknowledgement = cookie + 1;
        segment.header.options = Options::default();
        segment
    }

    #[test]
    fn a_cookie_is_good_for_two_minutes_and_not_for_four() {
        let mut cookies = Cookies::new([1; 16]);
        for start in [0, 63, 64, 1000, 1_000_000] {
            let syn = syn(Some(1460), 77);
            let cookie = cookies.make(&syn, Instant::from_secs(start));
            // Another one keeps the search for cookies going.
            cookies.make(&syn, Instant::from_secs(start + 240));
            let good = |after| {
                cookies
                    .check(&ack(&syn, cookie), Instant::from_secs(start + after))
                    .is_some()
            };
            assert!(good(0) && good(120) && good(128));
            assert!(!good(193) && !good(240) && !good(512 + 128 + 64));
        }
    }

    #[test]
    fn each_part_of_the_handshake_counts() {
        let mut cookies = Cookies::new([1; 16]);
        let now = Instant::from_secs(100);
        let syn = syn(Some(1400), 77);
        let cookie = cookies.make(&syn, now);
        let good = ack(&syn, cookie);
        assert_eq!(cookies.check(&good, now).unwrap().mss, 1400);
        let mut others = [good; 4];
        others[0].remote.port += 1;
        others[1].local.port += 1;
        others[2].header.sequence += 1;
        others[3].header.acknowledgement += 1;
        for other in others {
            assert_eq!(cookies.check(&other, now), None);
        }
        for bit in 0..32 {
            let mut forged = good;
            forged.header.acknowledgement = SequenceNumber(cookie.0 ^ 1 << bit) + 1;
            assert_eq!(cookies.check(&forged, now), None, "bit {bit}");
        }
    }

    #[test]
    fn without_cookies_no_acknowledgement_is_one() {
        let mut made = Cookies::new([1; 16]);
        let syn = syn(None, 1);
        let cookie = made.make(&syn, Instant::ZERO);
        assert_eq!(
            Cookies::new([1; 16]).check(&ack(&syn, cookie), Instant::ZERO),
            None
        );
    }

    proptest! {
        #[test]
        fn the_size_is_never_above_what_was_offered(mss in 216u16.., sequence: u32) {
            let mut cookies = Cookies::new([3; 16]);
            let syn = syn(Some(mss), sequence);
            let cookie = cookies.make(&syn, Instant::ZERO);
            let offer = cookies.check(&ack(&syn, cookie), Instant::ZERO).unwrap();
            prop_assert!(offer.mss <= mss);
            prop_assert!(offer.mss == 1460 || mss < 1460);
        }

        #[test]
        fn a_timestamp_brings_the_options_back(clock: u32, shift in prop::option::of(0u8..15), sack: bool) {
            let offered = Options {
                window_shift: shift,
                sack_permitted: sack,
                timestamps: Some(Timestamps { value: 5, echo: 0 }),
                ..Options::default()
            };
            let packed = pack(clock, &offered).unwrap();
            prop_assert_eq!(unpack(packed.value), (shift, sack));
            prop_assert!(clock.wrapping_sub(packed.value) < 32);
            prop_assert_eq!(packed.echo, 5);
        }
    }
}
