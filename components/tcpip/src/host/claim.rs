//! IPv4 address conflict detection (RFC 5227).

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use super::random::Random;
use crate::settings::ConflictDetection;

/// RFC 5227, section 1.1.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const PROBES: u8 = 3;
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// How long a fixed address that another host uses is left alone (RATE_LIMIT_INTERVAL).
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The claim to one address.
pub(super) struct Claim {
    address: Ipv4Address,
    phase: Phase,
    next: Option<Instant>,
    /// When a conflict was answered last.
    defended: Option<Instant>,
    random: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not to be used yet; this many probes were sent.
    Probing(u8),
    /// In use; this many announcements were sent.
    Announcing(u8),
}

/// A step that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Broadcast an ARP probe.
    Probe(Ipv4Address),
    /// No host uses the address: it may be used from now on.
    Use(Ipv4Address),
    /// Broadcast an ARP announcement.
    Announce(Ipv4Address),
}

/// The consequence of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Another host has the address; it may not be used (section 2.1.1).
    Taken,
    /// Announce the address once more (section 2.4 c: a server does not give its address up).
    Defend,
    /// The last announcement is less than 10 s ago: two hosts that both defend must not flood the link.
    Endure,
}

impl Claim {
    /// Claims an address: it may be used at once and is announced, or it is probed first.
    pub fn new(
        address: Ipv4Address,
        detection: ConflictDetection,
        mut random: Random,
        now: Instant,
    ) -> Self {
        let (phase, next) = match detection {
            ConflictDetection::Announce => (Phase::Announcing(0), now),
            ConflictDetection::Probe => {
                let wait = random.between(Duration::ZERO, PROBE_WAIT);
                (Phase::Probing(0), now + wait)
            }
        };
        Self {
            address,
            phase,
            next: Some(next),
            defended: None,
            random,
        }
    }

    /// Returns the address.
    pub fn address(&self) -> Ipv4Address {
        self.address
    }

    /// Whether the address may be used.
    pub fn is_usable(&self) -> bool {
        matches!(self.phase, Phase::Announcing(_))
    }

    /// Announces the address again, since the link was interrupted. An address in use stays in use, so that connections
    /// survive.
    pub fn announce_again(&mut self, now: Instant) {
        if self.is_usable() {
            (self.phase, self.next) = (Phase::Announcing(0), Some(now));
        }
    }

    /// Probes again later: the address is the only one that this host may have.
    pub fn retry_later(&mut self, now: Instant) {
        (self.phase, self.next) = (Phase::Probing(0), Some(now + RETRY_INTERVAL));
    }

    /// Returns the next step that is due.
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        self.next.filter(|next| *next <= now)?;
        match self.phase {
            Phase::Probing(PROBES) => {
                (self.phase, self.next) = (Phase::Announcing(0), Some(now));
                Some(Step::Use(self.address))
            }
            Phase::Probing(sent) => {
                let wait = match sent + 1 {
                    PROBES => ANNOUNCE_WAIT,
                    _ => self.random.between(PROBE_MIN, PROBE_MAX),
                };
                (self.phase, self.next) = (Phase::Probing(sent + 1), Some(now + wait));
                Some(Step::Probe(self.address))
            }
            Phase::Announcing(sent) => {
                let next = (sent + 1 < ANNOUNCEMENTS).then_some(now + ANNOUNCE_INTERVAL);
                (self.phase, self.next) = (Phase::Announcing(sent + 1), next);
                Some(Step::Announce(self.address))
            }
        }
    }

    /// Returns when [`Claim::poll`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Takes a conflict: another host uses the address, or with `probes` is about to.
    pub fn conflict(&mut self, probes: bool, now: Instant) -> Option<Conflict> {
        if !self.is_usable() {
            return Some(Conflict::Taken);
        }
        if probes {
            // The reply to the probe defends the address.
            return None;
        }
        let recent = |time: Instant| now < time + DEFEND_INTERVAL;
        if self.defended.is_some_and(recent) {
            return Some(Conflict::Endure);
        }
        self.defended = Some(now);
        Some(Conflict::Defend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);

    fn claim(detection: ConflictDetection) -> Claim {
        Claim::new(ADDRESS, detection, Random::new([7; 16]), Instant::ZERO)
    }

    fn steps(claim: &mut Claim) -> Vec<(f64, Step)> {
        let mut steps = vec![];
        while let Some(at) = claim.deadline() {
            let step = claim.poll(at).expect("a deadline is a step");
            steps.push((at.total_micros() as f64 / 1e6, step));
        }
        steps
    }

    #[test]
    fn announces_twice_two_seconds_apart() {
        let mut claim = claim(ConflictDetection::Announce);
        assert!(claim.is_usable());
        let announce = Step::Announce(ADDRESS);
        assert_eq!(steps(&mut claim), [(0.0, announce), (2.0, announce)]);
    }

    #[test]
    fn probes_three_times_before_use() {
        let mut claim = claim(ConflictDetection::Probe);
        assert!(!claim.is_usable());
        let steps = steps(&mut claim);
        let kinds: Vec<_> = steps.iter().map(|(_, step)| *step).collect();
        let (probe, announce) = (Step::Probe(ADDRESS), Step::Announce(ADDRESS));
        let expected = [probe, probe, probe, Step::Use(ADDRESS), announce, announce];
        assert_eq!(kinds, expected);
        let gap = |index: usize| steps[index + 1].0 - steps[index].0;
        assert!(steps[0].0 < 1.0);
        assert!((1.0..2.0).contains(&gap(0)) && (1.0..2.0).contains(&gap(1)));
        assert_eq!((gap(2), gap(3), gap(4)), (2.0, 0.0, 2.0));
    }

    #[test]
    fn an_address_that_is_probed_is_given_up() {
        let mut claim = claim(ConflictDetection::Probe);
        let now = Instant::from_secs(1);
        assert_eq!(claim.conflict(true, now), Some(Conflict::Taken));
        claim.retry_later(now);
        assert_eq!(claim.deadline(), Some(Instant::from_secs(61)));
    }

    #[test]
    fn an_address_in_use_is_defended_once_in_ten_seconds() {
        let mut claim = claim(ConflictDetection::Announce);
        let mut at = |seconds| claim.conflict(false, Instant::from_secs(seconds));
        assert_eq!(at(1), Some(Conflict::Defend));
        assert_eq!(at(2), Some(Conflict::Endure));
        assert_eq!(at(10), Some(Conflict::Endure));
        assert_eq!(at(11), Some(Conflict::Defend));
        assert_eq!(claim.conflict(true, Instant::from_secs(12)), None);
    }
}
