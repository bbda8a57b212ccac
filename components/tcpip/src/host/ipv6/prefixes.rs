//! The prefixes that are on the link: the Prefix List of RFC 4861, section 5.1. Addresses with another prefix are reached
//! through a router, whatever addresses the host itself has (RFC 5942, section 4).

use alloc::vec::Vec;

use smoltcp::time::Instant;
use smoltcp::wire::{Ipv6Address, Ipv6Cidr};

use super::address::{is_link_local, masked};
use super::lifetime::{End, end, is_over};
use super::message::PrefixInformation;

/// Prefixes that routers advertise. More are counted and logged.
pub(crate) const PREFIXES: usize = 16;

/// The prefixes of the link.
pub(crate) struct Prefixes {
    /// The prefix of the configured address.
    configured: Option<Ipv6Cidr>,
    advertised: Vec<Advertised>,
}

struct Advertised {
    prefix: Ipv6Cidr,
    valid: End,
    /// Whether a router has advertised it since the link came up.
    confirmed: bool,
}

impl Prefixes {
    /// The link-local prefix, and the one of the configured address.
    pub fn new(configured: Option<Ipv6Cidr>) -> Self {
        Self {
            configured: configured.map(masked),
            advertised: Vec::new(),
        }
    }

    /// Notes a prefix (RFC 4861, section 6.3.4). Returns `false` if there are too many.
    pub fn advertised(&mut self, information: &PrefixInformation, now: Instant) -> bool {
        let prefix = information.prefix;
        if !information.on_link
            || is_link_local(prefix.address())
            || prefix.address().is_multicast()
        {
            return true;
        }
        let valid = end(information.valid, now);
        let known = |it: &&mut Advertised| it.prefix == prefix;
        if let Some(entry) = self.advertised.iter_mut().find(known) {
            (entry.valid, entry.confirmed) = (valid, true);
            self.expire(now);
            return true;
        }
        if information.valid == 0 {
            return true;
        }
        let room = self.advertised.len() < PREFIXES;
        if room {
            self.advertised.push(Advertised {
                prefix,
                valid,
                confirmed: true,
            });
        }
        room
    }

    /// Whether this address is on the link, so that packets go to it without a router.
    pub fn contains(&self, address: Ipv6Address) -> bool {
        is_link_local(address)
            || self.configured.is_some_and(|it| it.contains_addr(&address))
            || self
                .advertised
                .iter()
                .any(|it| it.prefix.contains_addr(&address))
    }

    /// Forgets the prefixes whose lifetime is over.
    pub fn expire(&mut self, now: Instant) {
        self.advertised.retain(|it| !is_over(it.valid, now));
    }

    /// Returns when [`Prefixes::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.advertised.iter().filter_map(|it| it.valid).min()
    }

    /// Notes that the link was interrupted and may be another one.
    pub fn doubt_all(&mut self) {
        for entry in &mut self.advertised {
            entry.confirmed = false;
        }
    }

    /// Drops the prefixes that no router has advertised since the link came up.
    pub fn drop_unconfirmed(&mut self) {
        self.advertised.retain(|it| it.confirmed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn information(prefix: &str, length: u8, valid: u32) -> PrefixInformation {
        PrefixInformation {
            prefix: Ipv6Cidr::new(prefix.parse().unwrap(), length),
            on_link: true,
            autonomous: false,
            valid,
            preferred: valid,
        }
    }

    fn contains(prefixes: &mut Prefixes, address: &str, now: i64) -> bool {
        if prefixes
            .deadline()
            .is_some_and(|it| it <= Instant::from_secs(now))
        {
            prefixes.expire(Instant::from_secs(now));
        }
        prefixes.contains(address.parse().unwrap())
    }

    #[test]
    fn prefixes_of_any_length_are_on_link_until_their_end() {
        let mut prefixes = Prefixes::new(None);
        let now = Instant::from_secs(10);
        assert!(prefixes.advertised(&information("fd00:a::", 48, 60), now));
        assert!(prefixes.advertised(&information("2001:db8::77", 128, 60), now));
        for address in ["fe80::9", "fd00:a:0:7::1", "2001:db8::77"] {
            assert!(contains(&mut prefixes, address, 11), "{address}");
        }
        for address in ["2001:db8::78", "fd00:b::1"] {
            assert!(!contains(&mut prefixes, address, 11), "{address}");
        }
        assert!(!contains(&mut prefixes, "fd00:a:0:7::1", 70));
        assert!(contains(&mut prefixes, "fe80::9", 70));
    }

    #[test]
    fn a_prefix_without_the_flag_says_nothing() {
        let mut prefixes = Prefixes::new(None);
        let now = Instant::from_secs(10);
        let silent = PrefixInformation {
            on_link: false,
            ..information("2001:db8:5::", 64, 60)
        };
        assert!(prefixes.advertised(&silent, now));
        assert!(!contains(&mut prefixes, "2001:db8:5::99", 11));
        // Nor does it take back what another advertisement said (RFC 4861, section 6.3.4).
        prefixes.advertised(&information("2001:db8:5::", 64, 60), now);
        prefixes.advertised(&silent, now);
        assert!(contains(&mut prefixes, "2001:db8:5::99", 11));
    }

    #[test]
    fn lifetime_zero_takes_a_prefix_off_the_link_at_once() {
        let mut prefixes = Prefixes::new(Some(Ipv6Cidr::new("fd00::2".parse().unwrap(), 64)));
        let now = Instant::from_secs(10);
        prefixes.advertised(&information("2001:db8:5::", 64, u32::MAX), now);
        assert!(contains(&mut prefixes, "2001:db8:5::1", 1_000_000_000));
        prefixes.advertised(&information("2001:db8:5::", 64, 0), now);
        assert!(!contains(&mut prefixes, "2001:db8:5::1", 10));
        prefixes.advertised(&information("fd00::", 64, 0), now);
        assert!(contains(&mut prefixes, "fd00::9", 10), "configured");
        assert!(prefixes.advertised.is_empty());
    }

    #[test]
    fn the_number_of_prefixes_is_bounded() {
        let mut prefixes = Prefixes::new(None);
        let now = Instant::from_secs(10);
        let noted = (0..1000).filter(|number| {
            prefixes.advertised(&information(&format!("fd00:{number:x}::"), 64, 60), now)
        });
        assert_eq!(noted.count(), PREFIXES);
        assert_eq!(prefixes.advertised.len(), PREFIXES);
    }

    #[test]
    fn another_network_takes_the_prefixes_of_the_one_before() {
        let mut prefixes = Prefixes::new(None);
        let now = Instant::from_secs(10);
        for prefix in ["fd00:a::", "fd00:b::"] {
            prefixes.advertised(&information(prefix, 64, 60), now);
        }
        prefixes.doubt_all();
        prefixes.advertised(&information("fd00:b::", 64, 60), now);
        prefixes.drop_unconfirmed();
        assert!(!contains(&mut prefixes, "fd00:a::1", 11));
        assert!(contains(&mut prefixes, "fd00:b::1", 11));
    }
}
