//! Path MTUs that ICMP reported (RFC 1191, RFC 8201).

use alloc::collections::BTreeMap;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpAddress;

/// Destinations whose path is known to carry less than the link. When there are more, the one that expires first goes.
const PATHS: usize = 256;
/// How long a reduced value holds (RFC 1191, section 6.3).
const LIFETIME: Duration = Duration::from_secs(600);
/// The least IPv4 path MTU that is accepted, in bytes: forged reports could otherwise cut a stream to pieces (RFC 5927,
/// section 7). Packets for links that carry less are sent without the DF flag, so that routers fragment them.
pub(crate) const MIN_IPV4: u16 = 552;
/// The least IPv6 path MTU (RFC 8201, section 4).
pub(crate) const MIN_IPV6: u16 = 1280;
/// Plateaus for routers that do not say what they carry (RFC 1191, section 7.1).
const PLATEAUS: [u16; 7] = [32000, 17914, 8166, 4352, 2002, 1492, 1006];

/// The path to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The longest IP packet in bytes.
    pub mtu: u16,
    /// Whether routers may fragment: the path carries less than [`MIN_IPV4`].
    pub fragments: bool,
    expires: Instant,
}

/// The paths.
#[derive(Default)]
pub(crate) struct Paths(BTreeMap<IpAddress, Path>);

impl Paths {
    /// Returns what is known of the path to `destination`.
    pub fn get(&self, destination: IpAddress, now: Instant) -> Option<Path> {
        let path = self.0.get(&destination).copied();
        path.filter(|path| path.expires > now)
    }

    /// Notes a report that packets of more than `mtu` bytes do not reach `destination`. A larger value than the known one
    /// is ignored: paths get wider by time only (RFC 1191, section 6.3).
    pub fn reduce(&mut self, destination: IpAddress, mtu: u16, now: Instant) {
        let least = match destination {
            IpAddress::Ipv4(_) => MIN_IPV4,
            IpAddress::Ipv6(_) => MIN_IPV6,
        };
        if self.get(destination, now).is_some_and(|it| it.mtu <= mtu) {
            return;
        }
        if self.0.len() == PATHS && !self.0.contains_key(&destination) {
            let first = self.0.iter().min_by_key(|(_, path)| path.expires);
            if let Some(first) = first.map(|(destination, _)| *destination) {
                self.0.remove(&first);
            }
        }
        let path = Path {
            mtu: mtu.max(least),
            fragments: mtu < least,
            expires: now + LIFETIME,
        };
        self.0.insert(destination, path);
    }

    /// Forgets all paths, since the host is on another network.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Returns the MTU that a report "fragmentation needed" means: the next hop's, or without one the plateau below the
/// length of the packet that was too long (RFC 1191, sections 4 and 5).
pub(crate) fn reported_mtu(next_hop: u16, packet_length: u16) -> u16 {
    let below = PLATEAUS.into_iter().find(|it| *it < packet_length);
    match next_hop {
        0 => below.unwrap_or(MIN_IPV4),
        mtu => mtu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(number: u16) -> IpAddress {
        let [high, low] = number.to_be_bytes();
        IpAddress::v4(198, 51, high, low)
    }

    #[test]
    fn a_path_gets_narrower_and_recovers_after_ten_minutes() {
        let mut paths = Paths::default();
        let now = Instant::from_secs(5);
        paths.reduce(destination(1), 1400, now);
        paths.reduce(destination(1), 1450, now);
        assert_eq!(paths.get(destination(1), now).map(|p| p.mtu), Some(1400));
        assert_eq!(paths.get(destination(2), now), None);
        assert_eq!(paths.get(destination(1), now + LIFETIME), None);
    }

    #[test]
    fn values_below_the_bound_let_routers_fragment() {
        let mut paths = Paths::default();
        let now = Instant::ZERO;
        paths.reduce(destination(1), 68, now);
        let path = paths.get(destination(1), now).unwrap();
        assert_eq!((path.mtu, path.fragments), (552, true));
        let six = IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        paths.reduce(six, 100, now);
        assert_eq!(paths.get(six, now).map(|p| p.mtu), Some(1280));
    }

    #[test]
    fn memory_is_bounded() {
        let mut paths = Paths::default();
        for number in 0..2000 {
            let now = Instant::from_millis(i64::from(number));
            paths.reduce(destination(number), 1000, now);
        }
        assert_eq!(paths.0.len(), PATHS);
        assert!(
            paths
                .get(destination(1999), Instant::from_secs(2))
                .is_some()
        );
    }

    #[test]
    fn a_report_without_a_value_means_the_next_plateau() {
        assert_eq!(reported_mtu(1400, 1500), 1400);
        assert_eq!(reported_mtu(0, 1500), 1492);
        assert_eq!(reported_mtu(0, 1492), 1006);
        assert_eq!(reported_mtu(0, 600), 552);
    }
}
