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
    /// Solicit the address, to find another host that has it.
    Detect {
        address: Ipv6Address,
        nonce: Nonce,
        /// Whether the address is used meanwhile.
        optimistic: bool,
    },
    /// No host has answered: announce the address to all nodes.
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
    /// Returns an empty list of addresses.
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

    /// Returns when [`Addresses::poll`] has something to do.
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
    /// Begins duplicate address detection of an address that is used meanwhile.
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
    /// Returns when the next step of duplicate address detection is due. Without IPv6 the
    /// link-local address alone is detected.
    fn step(&self, disabled: bool) -> Option<Instant> {
        match self.state {
            State::Detecting { next, .. } if !disabled || self.origin == Origin::LinkLocal => {
                Some(next)
            }
            State::Detecting { .. } | State::Unique => None,
        }
    }

    /// Renews the lifetimes. Any host on the link can forge an advertisement, so an advertisement
    /// cannot reduce a valid lifetime below two hours (RFC 4862, section 5.5.3 e).
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
mod tests;
