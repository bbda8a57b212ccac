//! Ephemeral ports by RFC 6056, algorithm 4 (double-hash port selection).

use core::hash::Hasher;
use core::ops::RangeInclusive;

use siphasher::sip::SipHasher24;
use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::sequence::{KEY_LENGTH, write_address, write_endpoint};

/// The ports to choose from: the dynamic ports of RFC 6335, section 6.
const RANGE: RangeInclusive<u16> = 49152..=65535;

/// How many counters the destinations share (RFC 6056, section 3.3.4 recommends at least 10).
const COUNTERS: usize = 16;

/// Chooses the local ports of outgoing connections.
pub struct EphemeralPorts {
    key: [u8; KEY_LENGTH],
    counters: [u16; COUNTERS],
}

impl EphemeralPorts {
    /// A chooser whose sequence nobody without the key can foresee.
    pub fn new(key: [u8; KEY_LENGTH]) -> Self {
        let mut hasher = SipHasher24::new_with_key(&key);
        let counters = core::array::from_fn(|_| {
            hasher.write(b"counter");
            hasher.finish() as u16
        });
        Self { key, counters }
    }

    /// A port for a connection from `local` to `remote` that `is_free` accepts; `None` if all are taken.
    pub fn choose(
        &mut self,
        local: IpAddress,
        remote: IpEndpoint,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let ports = RANGE.end() - RANGE.start() + 1;
        let offset = self.hash(b"offset", local, remote);
        let index = self.hash(b"index", local, remote) as usize % COUNTERS;
        for _ in 0..ports {
            let step = offset.wrapping_add(u64::from(self.counters[index]));
            self.counters[index] = self.counters[index].wrapping_add(1);
            let port = RANGE.start() + (step % u64::from(ports)) as u16;
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }

    fn hash(&self, purpose: &[u8], local: IpAddress, remote: IpEndpoint) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(purpose);
        write_address(&mut hasher, local);
        write_endpoint(&mut hasher, remote);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LOCAL: IpAddress = IpAddress::v4(10, 0, 0, 1);

    fn remote(port: u16) -> IpEndpoint {
        IpEndpoint::new(IpAddress::v4(10, 0, 0, 2), port)
    }

    #[test]
    fn one_destination_gets_every_port_before_one_repeats() {
        let mut ports = EphemeralPorts::new([1; 16]);
        let chosen: BTreeSet<u16> = (0..16384)
            .map(|_| ports.choose(LOCAL, remote(80), |_| true).unwrap())
            .collect();
        assert_eq!(chosen.len(), 16384);
        assert!(chosen.iter().all(|port| RANGE.contains(port)));
    }

    #[test]
    fn destinations_and_keys_have_sequences_of_their_own() {
        let first = |key, to| EphemeralPorts::new(key).choose(LOCAL, to, |_| true);
        let firsts: BTreeSet<_> = (1..=100).map(|port| first([1; 16], remote(port))).collect();
        assert!(firsts.len() > 90, "{} different ports", firsts.len());
        assert_ne!(first([1; 16], remote(80)), first([2; 16], remote(80)));
    }

    #[test]
    fn taken_ports_are_passed_over_and_the_search_ends() {
        let mut ports = EphemeralPorts::new([1; 16]);
        assert_eq!(
            ports.choose(LOCAL, remote(80), |port| port == 50000),
            Some(50000)
        );
        assert_eq!(ports.choose(LOCAL, remote(80), |_| false), None);
    }
}
