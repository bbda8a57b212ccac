//! The default routers (RFC 4861, sections 5.2, 6.3.4 and 6.3.6; RFC 4191; RFC 8028).

use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv6Address;

use super::lifetime::{End, is_over};

/// Routers that are noted. More are not used.
pub(crate) const ROUTERS: usize = 8;
/// A router that did not answer is tried again at most this often while another one is used (RFC 4191, section 3.2).
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// The default routers, in the order in which they were found.
#[derive(Default)]
pub(crate) struct Routers(Vec<Router>);

struct Router {
    address: Ipv6Address,
    /// 1, 0 or -1 (RFC 4191, section 2.1).
    preference: i8,
    until: End,
    /// It was named by the description of the system, so that no advertisement removes it.
    configured: bool,
    /// When to try it again: it did not answer.
    silent: Option<Instant>,
    /// Whether it has sent an advertisement since the link came up.
    confirmed: bool,
}

impl Routers {
    /// Adds the router of the description.
    pub fn configure(&mut self, address: Ipv6Address) {
        self.0.push(Router {
            address,
            preference: 0,
            until: None,
            configured: true,
            silent: None,
            confirmed: true,
        });
    }

    /// Notes a router advertisement: how long its sender is a default router, and with which preference. It shows that the
    /// router is there, so it is tried again. Returns `false` if there are too many routers.
    pub fn advertised(
        &mut self,
        address: Ipv6Address,
        lifetime: Duration,
        preference: i8,
        now: Instant,
    ) -> bool {
        self.0.retain(|it| it.configured || !is_over(it.until, now));
        if let Some(router) = self.0.iter_mut().find(|it| it.address == address) {
            (router.silent, router.confirmed) = (None, true);
            if !router.configured {
                (router.until, router.preference) = (Some(now + lifetime), preference);
            }
        } else if lifetime != Duration::ZERO {
            if self.0.len() == ROUTERS {
                let Some(at) = self
                    .0
                    .iter()
                    .position(|it| it.silent.is_some() && !it.configured)
                else {
                    return false;
                };
                self.0.remove(at);
            }
            self.0.push(Router {
                address,
                preference,
                until: Some(now + lifetime),
                configured: false,
                silent: None,
                confirmed: true,
            });
        }
        if lifetime == Duration::ZERO {
            self.remove(address);
        }
        true
    }

    /// Removes a router that is one no longer (RFC 4861, section 7.2.5, and lifetime 0).
    pub fn remove(&mut self, address: Ipv6Address) {
        self.0.retain(|it| it.configured || it.address != address);
    }

    /// Returns the router for packets from one of the addresses that `advertisers` advertise: one that answers rather
    /// than one that does not, one that knows the source's prefix rather than another (RFC 8028, section 3.1, since
    /// others may drop such packets), then the one that is preferred, then the one that was found first.
    pub fn choose(&self, advertisers: &[Ipv6Address]) -> Option<Ipv6Address> {
        let key = |it: &Router| {
            // Among those that do not answer: the one that was tried longest ago, so that all are tried in turn.
            let silent = it.silent.map_or(i64::MAX, |next| -next.total_micros());
            let advertises = advertisers.contains(&it.address);
            (it.silent.is_none(), silent, advertises, it.preference)
        };
        let best = self
            .0
            .iter()
            .reduce(|best, it| if key(it) > key(best) { it } else { best });
        best.map(|it| it.address)
    }

    /// Returns the addresses of all.
    pub fn all(&self) -> impl Iterator<Item = Ipv6Address> {
        self.0.iter().map(|it| it.address)
    }

    /// Whether this is the address of a default router.
    pub fn contains(&self, address: Ipv6Address) -> bool {
        self.0.iter().any(|it| it.address == address)
    }

    /// Notes that a router does not answer. Returns whether it is one.
    pub fn failed(&mut self, address: Ipv6Address, now: Instant) -> bool {
        let router = self.0.iter_mut().find(|it| it.address == address);
        let known = router.is_some();
        if let Some(router) = router {
            router.silent = Some(now + PROBE_INTERVAL);
        }
        known
    }

    /// Notes that a router answered.
    pub fn answered(&mut self, address: Ipv6Address) {
        if let Some(router) = self.0.iter_mut().find(|it| it.address == address) {
            router.silent = None;
        }
    }

    /// Returns a router that did not answer and is to be asked again, if another one is used meanwhile.
    pub fn probe(&mut self, now: Instant) -> Option<Ipv6Address> {
        let due = |it: &&mut Router| it.silent.is_some_and(|next| next <= now);
        let router = self.0.iter_mut().find(due)?;
        router.silent = Some(now + PROBE_INTERVAL);
        Some(router.address)
    }

    /// Forgets routers whose lifetime is over. Returns whether the last one is gone.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|it| !is_over(it.until, now));
        before > 0 && self.0.is_empty()
    }

    /// Returns when [`Routers::expire`] or [`Routers::probe`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let times = self.0.iter().flat_map(|it| [it.until, it.silent]);
        times.flatten().min()
    }

    /// Notes that the link was interrupted and may be another one.
    pub fn doubt_all(&mut self) {
        for router in &mut self.0 {
            (router.confirmed, router.silent) = (router.configured, None);
        }
    }

    /// Drops the routers that have sent no advertisement since the link came up.
    pub fn drop_unconfirmed(&mut self) {
        self.0.retain(|it| it.confirmed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(number: u16) -> Ipv6Address {
        Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, number)
    }

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    const LIFETIME: Duration = Duration::from_secs(1800);

    #[test]
    fn lifetime_zero_removes_a_router() {
        let mut routers = Routers::default();
        routers.advertised(router(1), LIFETIME, 0, at(0));
        assert_eq!(routers.choose(&[]), Some(router(1)));
        routers.advertised(router(1), Duration::ZERO, 0, at(2));
        assert_eq!(routers.choose(&[]), None);
        routers.advertised(router(2), Duration::ZERO, 0, at(2));
        assert!(!routers.contains(router(2)));
    }

    #[test]
    fn a_lifetime_ends_by_a_timer() {
        let mut routers = Routers::default();
        routers.advertised(router(1), LIFETIME, 0, at(0));
        assert_eq!(routers.deadline(), Some(at(1800)));
        assert!(!routers.expire(at(1799)));
        assert_eq!(routers.choose(&[]), Some(router(1)));
        assert!(routers.expire(at(1800)));
        assert!(!routers.expire(at(1800)));
        assert_eq!(routers.choose(&[]), None);
    }

    #[test]
    fn preferred_routers_are_chosen() {
        let mut routers = Routers::default();
        for (number, preference) in [(1, -1), (2, 0), (3, 1), (4, 1)] {
            routers.advertised(router(number), LIFETIME, preference, at(0));
        }
        assert_eq!(routers.choose(&[]), Some(router(3)));
        routers.advertised(router(3), LIFETIME, -1, at(1));
        assert_eq!(routers.choose(&[]), Some(router(4)));
    }

    #[test]
    fn routers_that_know_the_source_are_chosen() {
        let mut routers = Routers::default();
        routers.advertised(router(1), LIFETIME, 1, at(0));
        routers.advertised(router(2), LIFETIME, 0, at(0));
        assert_eq!(routers.choose(&[router(2)]), Some(router(2)));
        assert_eq!(routers.choose(&[router(7)]), Some(router(1)));
        routers.failed(router(2), at(1));
        assert_eq!(routers.choose(&[router(2)]), Some(router(1)));
    }

    #[test]
    fn a_router_that_does_not_answer_is_replaced_and_tried_again() {
        let mut routers = Routers::default();
        routers.advertised(router(1), LIFETIME, 1, at(0));
        routers.advertised(router(2), LIFETIME, 0, at(0));
        assert!(routers.failed(router(1), at(10)));
        assert_eq!(routers.choose(&[]), Some(router(2)));
        assert_eq!(routers.probe(at(69)), None);
        assert_eq!(routers.deadline(), Some(at(70)));
        assert_eq!(routers.probe(at(70)), Some(router(1)));
        assert_eq!(routers.probe(at(70)), None);
        routers.answered(router(1));
        assert_eq!(routers.choose(&[]), Some(router(1)));
        assert!(!routers.failed(router(9), at(71)));
    }

    #[test]
    fn routers_are_tried_in_turn_if_none_answers() {
        let mut routers = Routers::default();
        for number in 1..=3 {
            routers.advertised(router(number), LIFETIME, 0, at(0));
        }
        let mut tried = vec![];
        for second in 1..=6 {
            let chosen = routers.choose(&[]).unwrap();
            routers.failed(chosen, at(second));
            tried.push(chosen);
        }
        let each: Vec<_> = [1, 2, 3, 1, 2, 3].map(router).into();
        assert_eq!(tried, each);
        routers.advertised(router(2), LIFETIME, 0, at(9));
        assert_eq!(routers.choose(&[]), Some(router(2)), "it is there");
    }

    #[test]
    fn the_number_of_routers_is_bounded() {
        let mut routers = Routers::default();
        for number in 0..100 {
            let noted = routers.advertised(router(number), LIFETIME, 1, at(0));
            assert_eq!(noted, usize::from(number) < ROUTERS, "{number}");
        }
        assert_eq!(routers.0.len(), ROUTERS);
        // One that does not answer makes room.
        routers.failed(router(0), at(1));
        assert!(routers.advertised(router(200), LIFETIME, 0, at(1)));
        assert!(!routers.contains(router(0)) && routers.contains(router(200)));
    }

    #[test]
    fn a_configured_router_stays() {
        let mut routers = Routers::default();
        routers.configure(router(1));
        routers.advertised(router(1), Duration::ZERO, 0, at(0));
        routers.remove(router(1));
        routers.expire(at(1_000_000));
        routers.doubt_all();
        routers.drop_unconfirmed();
        assert_eq!(routers.choose(&[]), Some(router(1)));
    }

    #[test]
    fn another_network_takes_the_routers_of_the_one_before() {
        let mut routers = Routers::default();
        routers.advertised(router(1), LIFETIME, 1, at(0));
        routers.advertised(router(2), LIFETIME, 0, at(0));
        routers.doubt_all();
        assert_eq!(routers.choose(&[]), Some(router(1)), "meanwhile");
        routers.advertised(router(2), LIFETIME, 0, at(1));
        routers.drop_unconfirmed();
        assert_eq!(routers.choose(&[]), Some(router(2)));
    }
}
