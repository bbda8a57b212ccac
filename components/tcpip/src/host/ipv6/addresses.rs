//! The addresses of the host: stateless autoconfiguration (RFC 4862), duplicate address detection, and lifetimes.
//!
//! Addresses are optimistic (RFC 4429): they are used while duplicate address detection runs, and given up if another
//! host has them. A server on a machine that starts in less than a second is not to wait two seconds for its address.

use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv6Address, Ipv6Cidr};

use super::super::random::Random;
use super::address::{
    INTERFACE_ID_BITS, LINK_LOCAL, is_assignable, is_link_local, with_interface_id,
};
use super::lifetime::{End, end, is_later, is_over};
use super::message::{Lifetime, Nonce, PrefixInformation};
use super::select::Candidate;

/// Addresses that are formed from advertised prefixes. More prefixes are counted and logged.
pub(crate) const FORMED: usize = 16;
/// Routers that are noted for each address, for RFC 8028.
const ADVERTISERS: usize = 4;
/// The first solicitation of duplicate address detection waits up to this long: MAX_RTR_SOLICITATION_DELAY (RFC 4862,
/// section 5.4.2), so that hosts that start together do not send together.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Duplicate address detection of an address that another host has is repeated after this time, as for IPv4. Otherwise one
/// forged packet in the right second would take an address away until the link comes up again.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// A packet without authentication shortens a valid lifetime to no less than this (RFC 4862, section 5.5.3 e).
const TWO_HOURS: Duration = Duration::from_secs(2 * 3600);

/// The addresses, with room for the link-local one, a configured one and [`FORMED`] others.
pub(crate) struct Addresses {
    list: Vec<Entry>,
    hardware: EthernetAddress,
    random: Random,
    /// Between two solicitations: RetransTimer (RFC 4861, section 6.3.2).
    retransmission: Duration,
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The link-local address.
    LinkLocal,
    /// The description of the system.
    Configured,
    /// A prefix that a router advertised.
    Advertised,
}

struct Entry {
    address: Ipv6Cidr,
    origin: Origin,
    state: State,
    /// When the address becomes deprecated; `None` as well if it is.
    preferred: End,
    deprecated: bool,
    valid: End,
    /// Routers that advertise the prefix.
    advertisers: Vec<Ipv6Address>,
    /// Whether a router has advertised the prefix since the link came up.
    confirmed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Duplicate address detection runs.
    Detecting {
        /// When the next step is due.
        next: Instant,
        /// The nonce of the last solicitation, if one was sent.
        nonce: Option<Nonce>,
        /// Whether the address is used meanwhile; if not, another host had it.
        usable: bool,
    },
    /// No other host has it.
    Unique,
}

/// An action that is due for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask whether another host has the address.
    Detect {
        address: Ipv6Address,
        nonce: Nonce,
        /// Whether the address is used meanwhile.
        optimistic: bool,
    },
    /// No host has answered: tell all that the address is this host's.
    Announce {
        address: Ipv6Address,
        /// Another host had it before.
        regained: bool,
    },
    /// The valid lifetime is over; the host has the address no longer.
    Expired(Ipv6Address),
}

/// The result of taking an advertised prefix for addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formed {
    /// It says nothing for addresses, or contradicts itself (RFC 4862, section 5.5.3 a to d).
    Unusable,
    /// The lifetimes of the address with this prefix are noted.
    Known,
    /// The host has a new address.
    New(Ipv6Address),
    /// There are [`FORMED`] addresses already.
    Full,
}

/// A packet that speaks for another host with one of this host's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The address is known to be this host's: only logged.
    Defended,
    /// The address is given up.
    GivenUp,
    /// The link-local address is given up, and with it IPv6 on this link (RFC 4862, section 5.4.5).
    Disabled,
}

impl Addresses {
    /// No addresses.
    pub fn new(hardware: EthernetAddress, random: Random) -> Self {
        Self {
            list: Vec::new(),
            hardware,
            random,
            retransmission: Duration::from_secs(1),
        }
    }

    /// Takes the time between two solicitations that a router advertises.
    pub fn set_retransmission(&mut self, time: Duration) {
        self.retransmission = time;
    }

    /// Adds the link-local address.
    pub fn add_link_local(&mut self, now: Instant) {
        let address = with_interface_id(LINK_LOCAL.address(), self.hardware);
        let address = Ipv6Cidr::new(address, LINK_LOCAL.prefix_len());
        self.add(address, Origin::LinkLocal, (None, None), now);
    }

    /// Adds an address of the description, unless it is the link-local one.
    pub fn add_configured(&mut self, address: Ipv6Cidr, now: Instant) {
        if !self
            .list
            .iter()
            .any(|it| it.address.address() == address.address())
        {
            self.add(address, Origin::Configured, (None, None), now);
        }
    }

    /// Forms an address with an advertised prefix, or renews its lifetimes (RFC 4862, section 5.5.3).
    pub fn advertised(
        &mut self,
        information: &PrefixInformation,
        router: Ipv6Address,
        now: Instant,
    ) -> Formed {
        let PrefixInformation {
            prefix,
            autonomous,
            valid,
            preferred,
            ..
        } = *information;
        let usable = autonomous && preferred <= valid && !is_link_local(prefix.address());
        if !usable || prefix.prefix_len() + INTERFACE_ID_BITS != 128 {
            return Formed::Unusable;
        }
        let address = with_interface_id(prefix.address(), self.hardware);
        let known = |it: &&mut Entry| it.address.address() == address;
        if let Some(entry) = self.list.iter_mut().find(known) {
            if entry.origin == Origin::Advertised {
                entry.renew((preferred, valid), router, now);
            }
            return Formed::Known;
        }
        if valid == 0 || !is_assignable(address) || prefix.address().is_multicast() {
            return Formed::Unusable;
        }
        let formed = |it: &&Entry| it.origin == Origin::Advertised;
        if self.list.iter().filter(formed).count() == FORMED {
            return Formed::Full;
        }
        let lifetimes = (end(preferred, now), end(valid, now));
        let address = Ipv6Cidr::new(address, prefix.prefix_len());
        self.add(address, Origin::Advertised, lifetimes, now)
            .advertisers
            .push(router);
        Formed::New(address.address())
    }

    /// Whether the host has this address and may use it.
    pub fn has(&self, address: Ipv6Address) -> bool {
        self.usable().any(|it| it.address.address() == address)
    }

    /// Whether duplicate address detection of this address has ended well.
    pub fn is_unique(&self, address: Ipv6Address) -> bool {
        self.usable()
            .any(|it| it.address.address() == address && it.state == State::Unique)
    }

    /// Returns the addresses that the host may use.
    pub fn all(&self) -> impl Iterator<Item = Ipv6Cidr> {
        self.usable().map(|it| it.address)
    }

    /// Returns the addresses among which a source is chosen for packets that go to a router, or to a neighbour.
    pub fn candidates(&self, router: Option<Ipv6Address>) -> impl Iterator<Item = Candidate> {
        self.usable().map(move |it| Candidate {
            address: it.address,
            deprecated: it.deprecated || it.state != State::Unique,
            of_next_hop: router.is_some_and(|router| it.advertisers.contains(&router)),
        })
    }

    /// Returns an address from which neighbours may be asked: an optimistic one must not change what they know (RFC
    /// 4429, section 3.3). It is the link-local one, which is on the link in any case, once that is unique.
    pub fn asking(&self) -> Option<Ipv6Address> {
        let mut unique = self.usable().filter(|it| it.state == State::Unique);
        unique.next().map(|it| it.address.address())
    }

    /// Returns the routers that advertise the prefix of this address.
    pub fn advertisers(&self, address: Ipv6Address) -> &[Ipv6Address] {
        let entry = self.list.iter().find(|it| it.address.address() == address);
        entry.map_or(&[], |it| &it.advertisers)
    }

    /// Whether a claim of this address by another host matters: it is used, or a solicitation for it has no answer yet.
    pub fn is_watched(&self, address: Ipv6Address) -> bool {
        let detecting = |it: &Entry| matches!(it.state, State::Detecting { nonce: Some(_), .. });
        self.has(address)
            || self
                .list
                .iter()
                .any(|it| it.address.address() == address && detecting(it))
    }

    /// Returns the addresses of which [`Addresses::is_watched`] is true.
    pub fn watched(&self) -> impl Iterator<Item = Ipv6Address> {
        let addresses = self.list.iter().map(|it| it.address.address());
        addresses.filter(|it| self.is_watched(*it))
    }

    /// Whether IPv6 is off on this link because another host has the link-local address.
    pub fn is_disabled(&self) -> bool {
        // The link-local address is the first one, and never removed.
        let lost = |it: &Entry| it.origin == Origin::LinkLocal && it.state.is_lost();
        self.list.first().is_some_and(lost)
    }

    /// Takes a packet of another host that claims this address: a solicitation of its own duplicate address detection,
    /// with its nonce if it has one, or an advertisement. `None` if the address is not this host's, or the packet is
    /// this host's own that the link gave back (RFC 7527, section 4.2).
    pub fn claimed(
        &mut self,
        address: Ipv6Address,
        claimed_nonce: Option<Nonce>,
        now: Instant,
    ) -> Option<Conflict> {
        let known = |it: &&mut Entry| it.address.address() == address;
        let entry = self.list.iter_mut().find(known)?;
        let State::Detecting { nonce, usable, .. } = entry.state else {
            return Some(Conflict::Defended);
        };
        if claimed_nonce.is_some() && nonce == claimed_nonce {
            return None;
        }
        entry.state = State::Detecting {
            next: now + RETRY_INTERVAL,
            nonce: None,
            usable: false,
        };
        let conflict = match entry.origin {
            Origin::LinkLocal => Conflict::Disabled,
            Origin::Configured | Origin::Advertised => Conflict::GivenUp,
        };
        usable.then_some(conflict)
    }

    /// Returns the next thing that is due.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        for entry in &mut self.list {
            if is_over(entry.preferred, now) {
                (entry.preferred, entry.deprecated) = (None, true);
            }
        }
        if let Some(at) = self.list.iter().position(|it| is_over(it.valid, now)) {
            let expired = self.list.remove(at);
            return Some(Action::Expired(expired.address.address()));
        }
        let disabled = self.is_disabled();
        let due = |it: &&mut Entry| it.step(disabled).is_some_and(|next| next <= now);
        let entry = self.list.iter_mut().find(due)?;
        let address = entry.address.address();
        let State::Detecting { nonce, usable, .. } = entry.state else {
            return None;
        };
        if nonce.is_some() {
            entry.state = State::Unique;
            let regained = !usable;
            return Some(Action::Announce { address, regained });
        }
        let [nonce @ .., _, _] = self.random.next().to_be_bytes();
        entry.state = State::Detecting {
            next: now + self.retransmission,
            nonce: Some(nonce),
            usable,
        };
        Some(Action::Detect {
            address,
            nonce,
            optimistic: usable,
        })
    }

    /// When [`Addresses::poll`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let disabled = self.is_disabled();
        let times = self
            .list
            .iter()
            .flat_map(|it| [it.step(disabled), it.preferred, it.valid]);
        times.flatten().min()
    }

    /// Detects duplicates of all addresses again, because the link was interrupted and may be another one (RFC 4862,
    /// section 5.3); what was known of conflicts is forgotten. Addresses stay in use meanwhile.
    pub fn doubt_all(&mut self, now: Instant) {
        for at in 0..self.list.len() {
            let next = self.first_step(now);
            self.list[at].state = State::begin(next);
            self.list[at].confirmed = false;
        }
    }

    /// Drops the addresses whose prefixes no router has advertised since the link came up. Returns whether there were
    /// any.
    pub fn drop_unconfirmed(&mut self) -> bool {
        let before = self.list.len();
        self.list
            .retain(|it| it.confirmed || it.origin != Origin::Advertised);
        self.list.len() != before
    }

    fn usable(&self) -> impl Iterator<Item = &Entry> {
        let disabled = self.is_disabled();
        self.list
            .iter()
            .filter(move |it| !it.state.is_lost() && !disabled)
    }

    fn first_step(&mut self, now: Instant) -> Instant {
        now + self.random.between(Duration::ZERO, MAX_DELAY)
    }

    fn add(
        &mut self,
        address: Ipv6Cidr,
        origin: Origin,
        (preferred, valid): (End, End),
        now: Instant,
    ) -> &mut Entry {
        let next = self.first_step(now);
        self.list.push(Entry {
            address,
            origin,
            state: State::begin(next),
            preferred,
            deprecated: is_over(preferred, now),
            valid,
            advertisers: Vec::new(),
            confirmed: true,
        });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }
}

impl State {
    /// Duplicate address detection of an address that is used meanwhile.
    fn begin(next: Instant) -> Self {
        Self::Detecting {
            next,
            nonce: None,
            usable: true,
        }
    }

    /// Whether another host had the address.
    fn is_lost(self) -> bool {
        matches!(self, Self::Detecting { usable: false, .. })
    }
}

impl Entry {
    /// When the next step of duplicate address detection is due. Without IPv6 the link-local address alone is detected.
    fn step(&self, disabled: bool) -> Option<Instant> {
        match self.state {
            State::Detecting { next, .. } if !disabled || self.origin == Origin::LinkLocal => {
                Some(next)
            }
            State::Detecting { .. } | State::Unique => None,
        }
    }

    /// RFC 4862, section 5.5.3 e: anyone on the link can forge an advertisement, so it takes at most what is beyond two
    /// hours off a valid lifetime.
    fn renew(
        &mut self,
        (preferred, valid): (Lifetime, Lifetime),
        router: Ipv6Address,
        now: Instant,
    ) {
        self.confirmed = true;
        if !self.advertisers.contains(&router) {
            if self.advertisers.len() == ADVERTISERS {
                self.advertisers.remove(0);
            }
            self.advertisers.push(router);
        }
        let two_hours = Some(now + TWO_HOURS);
        let advertised = end(valid, now);
        if is_later(advertised, two_hours) || is_later(advertised, self.valid) {
            self.valid = advertised;
        } else if is_later(self.valid, two_hours) {
            self.valid = two_hours;
        }
        self.preferred = end(preferred, now);
        self.deprecated = is_over(self.preferred, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    const ROUTER: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const HOUR: u32 = 3600;

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn new() -> Addresses {
        Addresses::new(HARDWARE, Random::new([1; 16]))
    }

    fn information(prefix: &str, length: u8, valid: u32, preferred: u32) -> PrefixInformation {
        PrefixInformation {
            prefix: Ipv6Cidr::new(prefix.parse().unwrap(), length),
            on_link: true,
            autonomous: true,
            valid,
            preferred,
        }
    }

    fn formed(prefix: &str) -> Ipv6Address {
        with_interface_id(prefix.parse().unwrap(), HARDWARE)
    }

    fn texts(addresses: &Addresses) -> Vec<String> {
        addresses.all().map(|address| address.to_string()).collect()
    }

    /// Lets time pass; returns what was done and when.
    fn run(addresses: &mut Addresses, until: Instant) -> Vec<(Instant, Action)> {
        let mut done = vec![];
        while let Some(now) = addresses.deadline().filter(|now| *now <= until) {
            while let Some(action) = addresses.poll(now) {
                done.push((now, action));
            }
        }
        done
    }

    #[test]
    fn each_prefix_gives_an_address() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        for prefix in ["2001:db8:1::", "fd00:1::"] {
            let information = information(prefix, 64, HOUR, HOUR);
            let expected = Formed::New(formed(prefix));
            assert_eq!(addresses.advertised(&information, ROUTER, at(0)), expected);
            let known = addresses.advertised(&information, ROUTER, at(0));
            assert_eq!(known, Formed::Known);
        }
        let expected = [
            "fe80::5054:ff:fe12:3456/64",
            "2001:db8:1:0:5054:ff:fe12:3456/64",
            "fd00:1::5054:ff:fe12:3456/64",
        ];
        assert_eq!(texts(&addresses), expected);
    }

    #[test]
    fn prefixes_that_cannot_be_used_are_left_out() {
        let mut addresses = new();
        for unusable in [
            information("2001:db8::", 48, HOUR, HOUR),
            information("fe80::", 64, HOUR, HOUR),
            information("ff02::", 64, HOUR, HOUR),
            information("2001:db8::", 64, HOUR, HOUR + 1),
            information("2001:db8::", 64, 0, 0),
            PrefixInformation {
                autonomous: false,
                ..information("2001:db8::", 64, HOUR, HOUR)
            },
        ] {
            let result = addresses.advertised(&unusable, ROUTER, at(0));
            assert_eq!(result, Formed::Unusable, "{unusable:?}");
        }
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let mut addresses = new();
        let mut results = vec![];
        for number in 0..100 {
            let information = information(&format!("2001:db8:{number:x}::"), 64, HOUR, HOUR);
            results.push(addresses.advertised(&information, ROUTER, at(0)));
        }
        assert!(
            results[..FORMED]
                .iter()
                .all(|it| matches!(it, Formed::New(_)))
        );
        assert!(results[FORMED..].iter().all(|it| *it == Formed::Full));
        assert_eq!(addresses.all().count(), FORMED);
    }

    #[test]
    fn a_forged_advertisement_leaves_two_hours() {
        let mut addresses = new();
        let advertise = |addresses: &mut Addresses, valid, preferred, now| {
            let information = information("2001:db8:1::", 64, valid, preferred);
            addresses.advertised(&information, ROUTER, at(now));
            addresses.list[0].valid
        };
        // More than two hours remain: two hours are left.
        advertise(&mut addresses, 3 * HOUR, HOUR, 0);
        assert_eq!(advertise(&mut addresses, 0, 0, 10), Some(at(7210)));
        // Less than two hours remain: nothing changes, but the address is deprecated.
        assert_eq!(advertise(&mut addresses, 0, 0, 20), Some(at(7210)));
        assert_eq!(advertise(&mut addresses, 60, 60, 20), Some(at(7210)));
        // A longer lifetime than what remains counts, and so does one of more than two hours.
        assert_eq!(advertise(&mut addresses, 7200, 0, 100), Some(at(7300)));
        assert_eq!(advertise(&mut addresses, u32::MAX, 0, 100), None);
        assert_eq!(advertise(&mut addresses, 7201, 0, 100), Some(at(7301)));
        assert_eq!(advertise(&mut addresses, u32::MAX, 0, 100), None);
        assert_eq!(advertise(&mut addresses, 0, 0, 100), Some(at(7300)));
    }

    #[test]
    fn an_address_is_deprecated_and_then_gone_by_a_timer_of_its_own() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        let information = information("2001:db8:6::", 64, 12, 6);
        addresses.advertised(&information, ROUTER, at(0));
        run(&mut addresses, at(5));
        let deprecated = |addresses: &Addresses| -> Vec<bool> {
            addresses.candidates(None).map(|it| it.deprecated).collect()
        };
        assert_eq!(deprecated(&addresses), [false, false]);
        run(&mut addresses, at(6));
        assert_eq!(deprecated(&addresses), [false, true]);
        assert!(addresses.has(formed("2001:db8:6::")), "still answers");
        let expired = Action::Expired(formed("2001:db8:6::"));
        assert_eq!(run(&mut addresses, at(100)), [(at(12), expired)]);
        assert!(!addresses.has(formed("2001:db8:6::")));
        assert_eq!(addresses.deadline(), None);
    }

    #[test]
    fn detection_waits_a_random_time_asks_once_and_announces() {
        let mut first_steps = std::collections::BTreeSet::new();
        for key in 0..20 {
            let mut addresses = Addresses::new(HARDWARE, Random::new([key; 16]));
            addresses.add_link_local(at(10));
            let address = formed("fe80::");
            assert!(addresses.has(address) && !addresses.is_unique(address));
            let done = run(&mut addresses, at(100));
            let [
                (asked, Action::Detect { address: of, .. }),
                (announced, after),
            ] = done[..]
            else {
                panic!("{done:?}");
            };
            let regained = false;
            assert_eq!(
                (of, after),
                (address, Action::Announce { address, regained })
            );
            assert!(asked >= at(10) && asked < at(11), "{asked}");
            assert_eq!(announced - asked, Duration::from_secs(1));
            assert!(addresses.is_unique(address));
            first_steps.insert(asked);
        }
        assert!(first_steps.len() > 15, "{first_steps:?}");
    }

    #[test]
    fn an_address_that_another_host_has_is_given_up() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        let information = information("2001:db8:1::", 64, HOUR, HOUR);
        addresses.advertised(&information, ROUTER, at(0));
        let address = formed("2001:db8:1::");
        assert_eq!(
            addresses.claimed(address, None, at(1)),
            Some(Conflict::GivenUp)
        );
        assert_eq!(
            addresses.claimed(address, None, at(1)),
            None,
            "reported once"
        );
        assert!(!addresses.has(address));
        assert_eq!(texts(&addresses), ["fe80::5054:ff:fe12:3456/64"]);
        // The next advertisement does not bring it back, another link may.
        let again = addresses.advertised(&information, ROUTER, at(1));
        assert_eq!(again, Formed::Known);
        assert!(!addresses.has(address));
        addresses.doubt_all(at(2));
        assert!(addresses.has(address));
    }

    #[test]
    fn a_duplicate_link_local_address_ends_ipv6() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        let information = information("2001:db8:1::", 64, HOUR, HOUR);
        addresses.advertised(&information, ROUTER, at(0));
        let conflict = addresses.claimed(formed("fe80::"), Some([1; 6]), at(1));
        assert_eq!(conflict, Some(Conflict::Disabled));
        assert!(addresses.is_disabled());
        assert_eq!(texts(&addresses), [""; 0]);
        assert_eq!(addresses.candidates(None).count(), 0);
        assert_eq!(addresses.deadline(), Some(at(61)), "detected again");
    }

    /// One forged packet must not take an address away for longer than it is repeated.
    #[test]
    fn detection_of_a_lost_address_is_repeated_before_it_is_used() {
        for prefix in ["fe80::", "2001:db8:1::"] {
            let mut addresses = new();
            addresses.add_link_local(at(0));
            addresses.advertised(&information("2001:db8:1::", 64, HOUR, HOUR), ROUTER, at(0));
            run(&mut addresses, at(0));
            let address = formed(prefix);
            assert!(addresses.claimed(address, None, at(0)).is_some());
            assert!(!addresses.is_watched(address));
            run(&mut addresses, at(60));
            assert!(addresses.is_watched(address) && !addresses.has(address));
            // It is still there: the next attempt is a minute later.
            assert_eq!(addresses.claimed(address, None, at(60)), None);
            run(&mut addresses, at(119));
            assert!(!addresses.has(address));
            let done = run(&mut addresses, at(130));
            let regained = Action::Announce {
                address,
                regained: true,
            };
            assert!(done.contains(&(at(121), regained)), "{done:?}");
            assert!(addresses.is_unique(address));
        }
    }

    #[test]
    fn an_established_address_is_not_given_up() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        run(&mut addresses, at(10));
        let address = formed("fe80::");
        assert_eq!(
            addresses.claimed(address, None, at(1)),
            Some(Conflict::Defended)
        );
        assert!(addresses.has(address));
        assert_eq!(addresses.claimed(ROUTER, None, at(1)), None);
    }

    #[test]
    fn a_solicitation_that_the_link_gives_back_is_no_conflict() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        let now = addresses.deadline().unwrap();
        let Some(Action::Detect { address, nonce, .. }) = addresses.poll(now) else {
            panic!("no detection");
        };
        assert_eq!(addresses.claimed(address, Some(nonce), at(1)), None);
        assert!(addresses.has(address));
        let other = Some([nonce[0] ^ 1; 6]);
        assert_eq!(
            addresses.claimed(address, other, at(1)),
            Some(Conflict::Disabled)
        );
    }

    #[test]
    fn optimistic_addresses_do_not_ask_neighbours() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        assert_eq!(addresses.asking(), None);
        run(&mut addresses, at(10));
        assert_eq!(addresses.asking(), Some(formed("fe80::")));
    }

    #[test]
    fn another_network_takes_the_addresses_of_the_one_before() {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        for prefix in ["2001:db8:1::", "2001:db8:2::"] {
            addresses.advertised(&information(prefix, 64, HOUR, HOUR), ROUTER, at(0));
        }
        run(&mut addresses, at(10));
        addresses.doubt_all(at(20));
        assert_eq!(addresses.all().count(), 3, "in use meanwhile");
        addresses.advertised(&information("2001:db8:2::", 64, HOUR, HOUR), ROUTER, at(21));
        assert!(addresses.drop_unconfirmed());
        assert!(!addresses.has(formed("2001:db8:1::")));
        assert!(addresses.has(formed("2001:db8:2::")));
        assert!(addresses.has(formed("fe80::")));
        assert!(!addresses.drop_unconfirmed());
    }
}
