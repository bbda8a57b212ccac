//! Initial sequence numbers by RFC 6528.

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
}
