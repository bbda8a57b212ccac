//! Source address selection (RFC 6724, section 5), as far as a host with one interface and no temporary addresses
//! needs it: the rules 1, 2, 3, 5.5, 6 and 8. Rules 4 (home addresses), 5 (interfaces) and 7 (temporary addresses)
//! never decide.

use smoltcp::wire::{Ipv6Address, Ipv6Cidr};

use super::address::{common_prefix, scope};

/// An address that could be the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// The address with the length of its prefix.
    pub address: Ipv6Cidr,
    /// Whether its preferred lifetime is over. An optimistic address counts as deprecated too (RFC 4429, section 3.1).
    pub deprecated: bool,
    /// Whether the router that packets would go to advertises its prefix (RFC 8028, section 3.1).
    pub of_next_hop: bool,
}

/// Returns the best source for packets to `destination`.
pub(crate) fn source(
    candidates: impl Iterator<Item = Candidate>,
    destination: Ipv6Address,
) -> Option<Ipv6Address> {
    candidates
        .reduce(
            |best, candidate| match key(&candidate, destination) > key(&best, destination) {
                true => candidate,
                false => best,
            },
        )
        .map(|candidate| candidate.address.address())
}

/// Returns the key of a candidate; a larger key is a better source.
fn key(
    candidate: &Candidate,
    destination: Ipv6Address,
) -> (bool, (bool, i16), bool, bool, bool, u8) {
    let address = candidate.address.address();
    let (own, wanted) = (i16::from(scope(address)), i16::from(scope(destination)));
    // Rule 2: the smallest scope that reaches the destination; if none does, the largest.
    let reach = match own >= wanted {
        true => (true, -own),
        false => (false, own),
    };
    let common = common_prefix(address, destination).min(candidate.address.prefix_len());
    (
        address == destination,
        reach,
        !candidate.deprecated,
        candidate.of_next_hop,
        label(address) == label(destination),
        common,
    )
}

/// The default policy table (RFC 6724, section 2.1), longest prefixes first.
const LABELS: [(Ipv6Cidr, u8); 8] = [
    (
        Ipv6Cidr::new(Ipv6Address::new(0, 0, 0, 0, 0, 0, 0, 1), 128),
        0,
    ),
    (
        Ipv6Cidr::new(Ipv6Address::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        4,
    ),
    (
        Ipv6Cidr::new(Ipv6Address::new(0, 0, 0, 0, 0, 0, 0, 0), 96),
        3,
    ),
    (
        Ipv6Cidr::new(Ipv6Address::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
        5,
    ),
    (
        Ipv6Cidr::new(Ipv6Address::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        2,
    ),
    (
        Ipv6Cidr::new(Ipv6Address::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16),
        12,
    ),
    (
        Ipv6Cidr::new(Ipv6Address::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
        11,
    ),
    (
        Ipv6Cidr::new(Ipv6Address::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
        13,
    ),
];
const LABEL_OF_ALL_OTHERS: u8 = 1;

fn label(address: Ipv6Address) -> u8 {
    let entry = LABELS
        .iter()
        .find(|(prefix, _)| prefix.contains_addr(&address));
    entry.map_or(LABEL_OF_ALL_OTHERS, |(_, label)| *label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str) -> Candidate {
        let deprecated = text.ends_with('!');
        Candidate {
            address: Ipv6Cidr::new(text.trim_end_matches('!').parse().unwrap(), 64),
            deprecated,
            of_next_hop: false,
        }
    }

    fn best(candidates: &[&str], destination: &str) -> String {
        let candidates = candidates.iter().map(|text| candidate(text));
        source(candidates, destination.parse().unwrap())
            .map_or("none".into(), |address| address.to_string())
    }

    /// The examples of RFC 6724, section 10.1, that a host like this one can meet, and the rules one by one.
    #[test]
    fn follows_the_rules() {
        for (candidates, destination, expected) in [
            (
                &["fe80::1", "2001:db8:1::1"][..],
                "2001:db8:1::1",
                "2001:db8:1::1",
            ),
            (
                &["fe80::1", "2001:db8:1::1"][..],
                "2001:db8:9::1",
                "2001:db8:1::1",
            ),
            (&["2001:db8:1::1", "fe80::1"][..], "fe80::2", "fe80::1"),
            (&["2001:db8:1::1", "fe80::1"][..], "ff02::1", "fe80::1"),
            (
                &["2001:db8:1::1", "fe80::1"][..],
                "ff05::1",
                "2001:db8:1::1",
            ),
            // No address reaches: the widest scope.
            (&["fe80::1"][..], "2001:db8:1::1", "fe80::1"),
            // Rule 3, but not before rule 2.
            (
                &["2001:db8:1::1!", "2001:db8:2::1"][..],
                "2001:db8:1::9",
                "2001:db8:2::1",
            ),
            (
                &["2001:db8:1::1!", "fe80::1"][..],
                "2001:db8:1::9",
                "2001:db8:1::1",
            ),
            // Rule 6: unique local addresses for unique local destinations.
            (&["fd00::1", "2001:db8:2::1"][..], "fd77::9", "fd00::1"),
            (
                &["fd00::1", "2001:db8:2::1"][..],
                "2600::9",
                "2001:db8:2::1",
            ),
            (
                &["2002:c633:6401::1", "2001:db8:1::1"][..],
                "2002:a:b::1",
                "2002:c633:6401::1",
            ),
            // Rule 8.
            (
                &["2001:db8:1::1", "2001:db8:2::1"][..],
                "2001:db8:2::7",
                "2001:db8:2::1",
            ),
            (
                &["2001:db8:1::1", "2001:db8:2::1"][..],
                "2001:db8:1::7",
                "2001:db8:1::1",
            ),
            (&[][..], "2001:db8:1::7", "none"),
        ] {
            assert_eq!(
                best(candidates, destination),
                expected,
                "{candidates:?} to {destination}"
            );
        }
    }

    #[test]
    fn prefers_the_prefix_of_the_next_hop() {
        let mut candidates = [candidate("2001:db8:1::1"), candidate("2001:db8:2::1")];
        let destination = "2001:db8:2:1::7".parse().unwrap();
        let before = source(candidates.into_iter(), destination);
        assert_eq!(before, Some(candidates[1].address.address()));
        candidates[0].of_next_hop = true;
        let after = source(candidates.into_iter(), destination);
        assert_eq!(after, Some(candidates[0].address.address()));
    }

    /// Bits beyond a prefix do not identify a network.
    #[test]
    fn compares_no_more_bits_than_the_prefix_has() {
        let of = |text: &str| Candidate {
            address: Ipv6Cidr::new(text.parse().unwrap(), 48),
            ..candidate("::2")
        };
        let candidates = [of("2001:db8:1:8::1"), of("2001:db8:1:7::1")];
        let chosen = source(candidates.into_iter(), "2001:db8:1:7::9".parse().unwrap());
        assert_eq!(chosen, Some(candidates[0].address.address()));
    }
}
