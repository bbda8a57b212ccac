//! Link-layer addresses of neighbours, for ARP and Neighbor Discovery alike: the states and timers of RFC 4861, section
//! 7.3, which RFC 1122, section 2.3.2.1, allows for ARP ("unicast poll").
//!
//! Addresses that are being resolved have a table of their own with room for [`PENDING`] entries, so that a flood of
//! packets from forged neighbours displaces no resolved address (RFC 6583, section 6). Each has at most one request
//! in a second (RFC 1122, section 2.3.2.1), and all of them have the limit [`REQUEST_INTERVAL`], which hundreds of
//! neighbours at once do not reach. A stale entry needs no timer, so a silent host has none.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use super::limit::TokenBucket;
use super::random::Random;

/// Resolved addresses. When there are more, the one that was not used for longest is forgotten.
pub(crate) const RESOLVED: usize = 512;
/// Addresses that are being resolved. When there are more, the oldest is forgotten (RFC 6583, section 6.1).
pub(crate) const PENDING: usize = 256;
/// Bytes of packets that wait for resolution, in all. When there are more, those of the oldest entry are dropped.
pub(crate) const KEPT_BYTES: usize = 32 * 1024;
/// Requests without an answer until a neighbour counts as unreachable: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT
/// (RFC 4861, section 10).
const REQUESTS: u8 = 3;
/// All requests together: this many at once, and one more each interval.
const REQUEST_BURST: u32 = 512;
const REQUEST_INTERVAL: Duration = Duration::from_millis(1);
/// Between two requests for one address: RETRANS_TIMER (RFC 4861, section 10; RFC 1122, section 2.3.2.1).
const RETRANSMISSION: Duration = Duration::from_secs(1);
/// How long a confirmed neighbour counts as reachable: REACHABLE_TIME (RFC 4861, section 10).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long the upper layer may take to confirm a stale neighbour that is sent to: DELAY_FIRST_PROBE_TIME.
const DELAY: Duration = Duration::from_secs(5);
/// Steps in which the time of an entry's last use is noted.
const USE_STEP: Duration = Duration::from_secs(1);

/// The neighbours of one protocol.
pub(crate) struct Neighbours<A> {
    resolved: BTreeMap<A, Entry>,
    pending: BTreeMap<A, Pending>,
    /// The resolved ones, the most dispensable first: those that were never sent to, and then by last use.
    by_use: BTreeSet<(bool, Instant, A)>,
    /// The pending ones, the most dispensable first: those that no connection waits for, and then by age.
    by_age: BTreeSet<(bool, u64, A)>,
    /// Timers of both tables.
    timers: BTreeSet<(Instant, A)>,
    requests: TokenBucket,
    serial: u64,
    kept: usize,
    base_reachable: Duration,
    retransmission: Duration,
    random: Random,
}

/// A resolved address.
struct Entry {
    hardware: EthernetAddress,
    state: State,
    sent_to: bool,
    used: Instant,
}

/// RFC 4861, section 7.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reachable { until: Instant },
    Stale,
    Delay { until: Instant },
    Probe { next: Instant, sent: u8 },
}

/// An address that is being resolved: the state INCOMPLETE.
struct Pending {
    serial: u64,
    next: Instant,
    sent: u8,
    awaited: bool,
    packet: Option<Box<[u8]>>,
}

/// An action for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action<A> {
    /// Send a request for the address: to the known link-layer address, or to all.
    Ask {
        address: A,
        known: Option<EthernetAddress>,
    },
    /// The neighbour does not answer, or was forgotten for newer ones. Packets that waited are dropped.
    Failed { address: A, awaited: bool },
}

/// An address that was being resolved and now is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Solved {
    /// The packet that waited.
    pub packet: Option<Box<[u8]>>,
    /// Whether a connection waits.
    pub awaited: bool,
}

/// A neighbor advertisement or its equal (RFC 4861, section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// The target's link-layer address, if it is given.
    pub hardware: Option<EthernetAddress>,
    /// It answers a request of this host.
    pub solicited: bool,
    /// It replaces another known address.
    pub overrides: bool,
}

impl<A: Ord + Copy> Neighbours<A> {
    /// Returns an empty table.
    pub fn new(random: Random) -> Self {
        Self {
            resolved: BTreeMap::new(),
            pending: BTreeMap::new(),
            by_use: BTreeSet::new(),
            by_age: BTreeSet::new(),
            timers: BTreeSet::new(),
            requests: TokenBucket::new(REQUEST_BURST, REQUEST_INTERVAL),
            serial: 0,
            kept: 0,
            base_reachable: REACHABLE,
            retransmission: RETRANSMISSION,
            random,
        }
    }

    /// Takes the times that a router advertises (RFC 4861, section 6.3.4): at least 1 s between requests, and at most an
    /// hour of reachability.
    pub fn set_times(&mut self, reachable: Option<Duration>, retransmission: Option<Duration>) {
        if let Some(reachable) = reachable {
            self.base_reachable = reachable.min(Duration::from_secs(3600));
        }
        if let Some(time) = retransmission {
            self.retransmission = time.max(RETRANSMISSION).min(Duration::from_secs(60));
        }
    }

    /// Returns the neighbour's link-layer address, or starts to resolve it. With `awaited`, the end of the resolution is
    /// reported. Requests to send are due at [`Neighbours::poll`].
    pub fn resolve(&mut self, address: A, awaited: bool, now: Instant) -> Option<EthernetAddress> {
        if self.resolved.contains_key(&address) {
            return self.reuse(address, now);
        }
        match self.pending.get_mut(&address) {
            Some(pending) if awaited && !pending.awaited => {
                pending.awaited = true;
                self.by_age.remove(&(false, pending.serial, address));
                self.by_age.insert((true, pending.serial, address));
            }
            Some(_) => {}
            None => self.begin(address, awaited, now),
        }
        None
    }

    /// Keeps a packet for an address that is being resolved, in place of the one kept before (RFC 1122, section 2.3.2.2).
    pub fn keep(&mut self, address: A, packet: Box<[u8]>) {
        let Some(pending) = self.pending.get_mut(&address) else {
            return;
        };
        self.kept += packet.len();
        let before = pending.packet.replace(packet);
        self.kept -= before.map_or(0, |packet| packet.len());
        let oldest: alloc::vec::Vec<A> = match self.kept > KEPT_BYTES {
            true => self.by_age.iter().map(|(_, _, address)| *address).collect(),
            false => alloc::vec::Vec::new(),
        };
        for address in oldest {
            if self.kept <= KEPT_BYTES {
                return;
            }
            let packet = self.pending.get_mut(&address).and_then(|p| p.packet.take());
            self.kept -= packet.map_or(0, |packet| packet.len());
        }
    }

    /// Notes a neighbour's link-layer address from a packet that does not prove reachability: an
    /// ARP request, or the source link-layer address option (RFC 4861, section 7.2.3). With
    /// `create`, an address that is not known yet is noted too: the neighbour asked for this host
    /// and will have packets soon (RFC 826).
    pub fn heard(
        &mut self,
        address: A,
        hardware: EthernetAddress,
        create: bool,
        now: Instant,
    ) -> Option<Solved> {
        match self.resolved.get(&address) {
            Some(entry) if entry.hardware == hardware => None,
            Some(_) => {
                self.change(address, Some(hardware), State::Stale);
                None
            }
            None if create || self.pending.contains_key(&address) => {
                let solved = self.end(address);
                self.insert(address, hardware, State::Stale, solved.is_some(), now);
                solved
            }
            None => None,
        }
    }

    /// Notes what the neighbour advertises (RFC 4861, section 7.2.5). One that is not known is left unknown.
    pub fn advertised(
        &mut self,
        address: A,
        advertisement: Advertisement,
        now: Instant,
    ) -> Option<Solved> {
        let reachable = |this: &mut Self| State::Reachable {
            until: this.reachable_until(now),
        };
        let Some(entry) = self.resolved.get(&address) else {
            let hardware = advertisement.hardware?;
            let solved = self.end(address)?;
            let state = match advertisement.solicited {
                true => reachable(self),
                false => State::Stale,
            };
            self.insert(address, hardware, state, true, now);
            return Some(solved);
        };
        let differs = advertisement
            .hardware
            .is_some_and(|it| it != entry.hardware);
        if differs && !advertisement.overrides {
            if matches!(entry.state, State::Reachable { .. }) {
                self.change(address, None, State::Stale);
            }
        } else if advertisement.solicited {
            let state = reachable(self);
            self.change(address, advertisement.hardware, state);
        } else if differs {
            self.change(address, advertisement.hardware, State::Stale);
        }
        None
    }

    /// Whether a request for this address has no answer yet.
    pub fn is_asked(&self, address: A) -> bool {
        let probed = |entry: &Entry| matches!(entry.state, State::Probe { .. });
        self.pending.contains_key(&address) || self.resolved.get(&address).is_some_and(probed)
    }

    /// Notes that the upper layer made progress with the neighbour (RFC 4861, section 7.3.1).
    pub fn confirm(&mut self, address: A, now: Instant) {
        let recent = now + self.base_reachable / 4;
        let confirmed = |entry: &Entry| match entry.state {
            State::Reachable { until } => until > recent,
            _ => false,
        };
        if self
            .resolved
            .get(&address)
            .is_some_and(|entry| !confirmed(entry))
        {
            let until = self.reachable_until(now);
            self.change(address, None, State::Reachable { until });
        }
    }

    /// Returns the next thing that is due.
    pub fn poll(&mut self, now: Instant) -> Option<Action<A>> {
        let &(time, address) = self.timers.first()?;
        if time > now {
            return None;
        }
        match self.pending.contains_key(&address) {
            true => self.ask_all(address, now),
            false => self.ask_directly(address, now),
        }
    }

    /// Returns the next request for an address that is being resolved, or its failure.
    fn ask_all(&mut self, address: A, now: Instant) -> Option<Action<A>> {
        let pending = self.pending.get_mut(&address)?;
        if pending.sent == REQUESTS {
            let awaited = self.end(address).is_some_and(|solved| solved.awaited);
            return Some(Action::Failed { address, awaited });
        }
        if !self.requests.take(now) {
            return None;
        }
        self.timers.remove(&(pending.next, address));
        pending.sent += 1;
        pending.next = now + self.retransmission;
        self.timers.insert((pending.next, address));
        Some(Action::Ask {
            address,
            known: None,
        })
    }

    /// Returns the next request to a neighbour that was not confirmed in time.
    fn ask_directly(&mut self, address: A, now: Instant) -> Option<Action<A>> {
        let entry = self.resolved.get(&address)?;
        let known = Some(entry.hardware);
        let sent = match entry.state {
            State::Probe { sent, .. } => sent,
            _ => 0,
        };
        if sent == REQUESTS {
            self.forget(address);
            return Some(Action::Failed {
                address,
                awaited: true,
            });
        }
        if !self.requests.take(now) {
            return None;
        }
        let probe = State::Probe {
            next: now + self.retransmission,
            sent: sent + 1,
        };
        self.change(address, None, probe);
        Some(Action::Ask { address, known })
    }

    /// Returns when [`Neighbours::poll`] has something to do.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let (time, _) = self.timers.first()?;
        Some((*time).max(self.requests.next(now)))
    }

    /// Has every neighbour confirmed again before it counts as reachable, and asks again for those that are being
    /// resolved: the link was interrupted.
    pub fn doubt_all(&mut self, now: Instant) {
        self.timers.clear();
        for entry in self.resolved.values_mut() {
            entry.state = State::Stale;
        }
        for (address, pending) in &mut self.pending {
            (pending.sent, pending.next) = (0, now);
            self.timers.insert((now, *address));
        }
    }

    /// Forgets the neighbour.
    pub fn forget(&mut self, address: A) {
        if let Some(entry) = self.resolved.remove(&address) {
            self.by_use.remove(&(entry.sent_to, entry.used, address));
            if let Some(time) = entry.state.timer() {
                self.timers.remove(&(time, address));
            }
        }
    }

    /// Panics if the tables are too large or contradict each other.
    #[cfg(test)]
    pub fn check(&self)
    where
        A: core::fmt::Debug,
    {
        assert!(self.resolved.len() <= RESOLVED && self.pending.len() <= PENDING);
        let packets = self.pending.values().filter_map(|it| it.packet.as_ref());
        let kept: usize = packets.map(|packet| packet.len()).sum();
        assert!(kept == self.kept && kept <= KEPT_BYTES);
        let by_use = self.resolved.iter();
        let by_use: BTreeSet<_> = by_use.map(|(a, it)| (it.sent_to, it.used, *a)).collect();
        assert_eq!(by_use, self.by_use);
        let by_age = self.pending.iter();
        let by_age: BTreeSet<_> = by_age.map(|(a, it)| (it.awaited, it.serial, *a)).collect();
        assert_eq!(by_age, self.by_age);
        let mut timers: BTreeSet<_> = self.pending.iter().map(|(a, it)| (it.next, *a)).collect();
        let resolved = self.resolved.iter();
        timers.extend(resolved.filter_map(|(a, it)| Some((it.state.timer()?, *a))));
        assert_eq!(timers, self.timers);
    }

    fn reachable_until(&mut self, now: Instant) -> Instant {
        // RFC 4861, section 6.3.2: uniformly between MIN_RANDOM_FACTOR and MAX_RANDOM_FACTOR.
        let base = self.base_reachable;
        now + self.random.between(base / 2, base + base / 2)
    }

    fn reuse(&mut self, address: A, now: Instant) -> Option<EthernetAddress> {
        let entry = self.resolved.get_mut(&address)?;
        if !entry.sent_to || entry.used + USE_STEP <= now {
            self.by_use.remove(&(entry.sent_to, entry.used, address));
            (entry.sent_to, entry.used) = (true, now);
            self.by_use.insert((true, now, address));
        }
        let hardware = entry.hardware;
        let expired = match entry.state {
            State::Reachable { until } => until <= now,
            State::Stale => true,
            State::Delay { .. } | State::Probe { .. } => false,
        };
        if expired {
            let until = now + DELAY;
            self.change(address, None, State::Delay { until });
        }
        Some(hardware)
    }

    fn begin(&mut self, address: A, awaited: bool, now: Instant) {
        if self.pending.len() == PENDING
            && let Some(&(_, _, oldest)) = self.by_age.first()
        {
            // A connection that waits for it sends again by its own timer.
            self.end(oldest);
        }
        self.serial += 1;
        let pending = Pending {
            serial: self.serial,
            next: now,
            sent: 0,
            awaited,
            packet: None,
        };
        self.by_age.insert((awaited, pending.serial, address));
        self.timers.insert((now, address));
        self.pending.insert(address, pending);
    }

    /// Takes an address out of those that are being resolved.
    fn end(&mut self, address: A) -> Option<Solved> {
        let pending = self.pending.remove(&address)?;
        self.by_age
            .remove(&(pending.awaited, pending.serial, address));
        self.timers.remove(&(pending.next, address));
        self.kept -= pending.packet.as_ref().map_or(0, |packet| packet.len());
        Some(Solved {
            packet: pending.packet,
            awaited: pending.awaited,
        })
    }

    fn insert(
        &mut self,
        address: A,
        hardware: EthernetAddress,
        state: State,
        sent_to: bool,
        now: Instant,
    ) {
        if self.resolved.len() == RESOLVED
            && let Some(&(used, _, dispensable)) = self.by_use.first()
        {
            if used && !sent_to {
                return;
            }
            self.forget(dispensable);
        }
        let used = now;
        self.by_use.insert((sent_to, used, address));
        let entry = Entry {
            hardware,
            state,
            sent_to,
            used,
        };
        self.resolved.insert(address, entry);
    }

    fn change(&mut self, address: A, hardware: Option<EthernetAddress>, state: State) {
        let Some(entry) = self.resolved.get_mut(&address) else {
            return;
        };
        if let Some(time) = entry.state.timer() {
            self.timers.remove(&(time, address));
        }
        if let Some(time) = state.timer() {
            self.timers.insert((time, address));
        }
        entry.state = state;
        entry.hardware = hardware.unwrap_or(entry.hardware);
    }
}

impl State {
    /// Returns when something is due. The end of reachability is noticed when the entry is used.
    fn timer(self) -> Option<Instant> {
        match self {
            Self::Reachable { .. } | Self::Stale => None,
            Self::Delay { until } => Some(until),
            Self::Probe { next, .. } => Some(next),
        }
    }
}
