//! Initial sequence numbers by RFC 6528, and how smoltcp is made to use them.
//!
//! smoltcp draws the initial sequence number (ISN) of a connection from a small permuted congruential
//! generator that it seeds once for each `Interface`; whoever sees a few of its outputs can compute the
//! rest. It offers no hook for another choice, but two facts make one: the seed is public configuration,
//! and a socket that handles a SYN (or is told to connect) needs an interface only for that one
//! step. So the stack makes a short-lived interface for each new connection, whose seed is computed
//! backwards from the wanted ISN ([`seed_for`]). smoltcp is pinned to one version, and the tests compare the
//! sequence number on the wire; should a later version change its generator, the ISN would still depend
//! on a keyed hash of the connection, and those tests would fail.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpEndpoint};

/// Length in bytes of the keys of this crate's keyed hashes.
pub const KEY_LENGTH: usize = 16;

/// One tick of the clock that RFC 6528 adds to the hash, in microseconds (section 3: the 4 µs timer of
/// RFC 793).
const TICK_MICROSECONDS: i64 = 4;

/// The initial sequence number of a connection: a 4 µs clock plus SipHash-2-4 over the connection's
/// addresses and ports (RFC 6528, section 3).
///
/// Someone who may open connections of their own learns nothing of another connection's numbers, and
/// a connection between the same endpoints starts ahead of its predecessor.
pub fn initial_sequence_number(
    key: &[u8; KEY_LENGTH],
    local: IpEndpoint,
    remote: IpEndpoint,
    now: Instant,
) -> u32 {
    let mut hasher = SipHasher24::new_with_key(key);
    write_endpoint(&mut hasher, local);
    write_endpoint(&mut hasher, remote);
    let ticks = now.total_micros() / TICK_MICROSECONDS;
    (hasher.finish() as u32).wrapping_add(ticks as u32)
}

/// The `random_seed` with which a new interface of smoltcp 0.14.0 gives `number` to its first connection.
///
/// The generator steps `state = state * MULTIPLIER + INCREMENT` and returns the state shifted right by 29
/// when its top three bits are zero. A new interface first draws the identifier of its IPv4 fragments,
/// again until it is not zero; the connection's number is the next draw.
pub fn seed_for(number: u32) -> u64 {
    // Any low 29 bits give the same output; take the first for which the draw before is not repeated.
    for low_bits in 0..1 << 29 {
        let before = step_back(u64::from(number) << 29 | low_bits);
        if sixteen_bits(before) != 0 {
            return step_back(before);
        }
    }
    unreachable!("one in 65536 states gives a zero identifier, not all of them")
}

const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;
const INCREMENT: u64 = 0x7590_ef39;

fn step_back(state: u64) -> u64 {
    state
        .wrapping_sub(INCREMENT)
        .wrapping_mul(inverse(MULTIPLIER))
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each step doubles the correct bits.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut correct_bits = 3;
    while correct_bits < 64 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        correct_bits *= 2;
    }
    inverse
}

fn sixteen_bits(state: u64) -> u16 {
    let number = (state >> (29 - (state >> 61))) as u32;
    (number ^ (number >> 16)) as u16
}

/// Feeds an endpoint into a hash, so that no two different endpoints feed the same bytes.
pub(crate) fn write_endpoint(hasher: &mut impl Hasher, endpoint: IpEndpoint) {
    write_address(hasher, endpoint.addr);
    hasher.write(&endpoint.port.to_be_bytes());
}

/// Feeds an address into a hash.
pub(crate) fn write_address(hasher: &mut impl Hasher, address: IpAddress) {
    match address {
        IpAddress::Ipv4(address) => {
            hasher.write(&[4]);
            hasher.write(&address.octets());
        }
        IpAddress::Ipv6(address) => {
            hasher.write(&[6]);
            hasher.write(&address.octets());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> (IpEndpoint, IpEndpoint) {
        (
            IpEndpoint::new(IpAddress::v4(10, 0, 0, 1), 443),
            IpEndpoint::new(IpAddress::v4(10, 0, 0, 2), 50000),
        )
    }

    #[test]
    fn every_part_of_the_connection_changes_the_number() {
        let (local, remote) = endpoints();
        let now = Instant::from_secs(1);
        let number = initial_sequence_number(&[7; 16], local, remote, now);
        let other_port = IpEndpoint::new(remote.addr, 50001);
        let other_address = IpEndpoint::new(IpAddress::v4(10, 0, 0, 3), 50000);
        for (key, local, remote) in [
            ([8; 16], local, remote),
            ([7; 16], local, other_port),
            ([7; 16], local, other_address),
            ([7; 16], remote, local),
        ] {
            assert_ne!(initial_sequence_number(&key, local, remote, now), number);
        }
    }

    #[test]
    fn the_number_of_one_connection_advances_every_four_microseconds() {
        let (local, remote) = endpoints();
        let at =
            |micros| initial_sequence_number(&[7; 16], local, remote, Instant::from_micros(micros));
        assert_eq!(at(4_000_000).wrapping_sub(at(0)), 1_000_000);
        // The clock wraps after about 4.8 hours, the number with it.
        let wrap = (1i64 << 32) * TICK_MICROSECONDS;
        assert_eq!(at(wrap + 8).wrapping_sub(at(0)), 2);
    }

    #[test]
    fn the_multiplier_is_inverted() {
        assert_eq!(MULTIPLIER.wrapping_mul(inverse(MULTIPLIER)), 1);
    }

    #[test]
    fn a_seed_leads_through_the_identifier_to_the_number() {
        for number in [0, 1, 0x8000_0000, u32::MAX, 0x1234_5678] {
            let step = |state: u64| state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
            let identifier = step(seed_for(number));
            assert_ne!(sixteen_bits(identifier), 0);
            let state = step(identifier);
            assert_eq!((state >> (29 - (state >> 61))) as u32, number);
        }
    }
}
