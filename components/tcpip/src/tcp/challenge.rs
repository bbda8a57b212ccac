//! Limits for replies that any sender can provoke: challenge ACKs (RFC 5961, sections 3.2, 4.2, 5.2 and 7) and resets.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;
use smoltcp::time::{Duration, Instant};

use crate::sequence::KEY_LENGTH;

/// Challenge ACKs that one connection sends within [`PERIOD`].
const CHALLENGES: u8 = 10;
/// The period of [`CHALLENGES`] (RFC 5961, section 7).
const PERIOD: Duration = Duration::from_secs(5);
/// The least limit for the challenge ACKs of all connections in a second.
const FEWEST_CHALLENGES: u32 = 500;
/// The range above [`FEWEST_CHALLENGES`] from which the limit is drawn for each second. A fixed
/// limit would let an attacker use it up on its own connection and so find out whether its guesses
/// on another one were answered (CVE-2016-5696).
const MORE_CHALLENGES: u32 = 1_000;
/// Resets for segments of no connection in a second: enough for a few thousand clients that still use connections from
/// before a restart, too few to be of use as a reflector.
const RESETS: u32 = 1_000;

/// The challenge ACKs that one connection may still send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenges {
    since: Option<Instant>,
    sent: u8,
}

impl Challenges {
    /// Whether the connection may send one now.
    pub fn take(&mut self, limits: &mut Limits, now: Instant) -> bool {
        if self.since.is_none_or(|since| since + PERIOD <= now) {
            *self = Self {
                since: Some(now),
                sent: 0,
            };
        }
        let granted = self.sent < CHALLENGES && limits.challenge(now);
        self.sent += u8::from(granted);
        granted
    }
}

/// The limits of the whole stack.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    key: [u8; KEY_LENGTH],
    second: i64,
    challenges: u32,
    resets: u32,
    /// Challenge ACKs sent since the start.
    pub challenges_sent: u64,
}

impl Limits {
    pub fn new(key: [u8; KEY_LENGTH]) -> Self {
        Self {
            key,
            second: i64::MIN,
            challenges: 0,
            resets: 0,
            challenges_sent: 0,
        }
    }

    /// Whether a reset for a segment of no connection may be sent now.
    pub fn reset(&mut self, now: Instant) -> bool {
        self.refill(now);
        take(&mut self.resets)
    }

    fn challenge(&mut self, now: Instant) -> bool {
        self.refill(now);
        let granted = take(&mut self.challenges);
        self.challenges_sent += u64::from(granted);
        granted
    }

    fn refill(&mut self, now: Instant) {
        if self.second != now.secs() {
            self.second = now.secs();
            let mut hasher = SipHasher24::new_with_key(&self.key);
            hasher.write_i64(self.second);
            self.challenges =
                FEWEST_CHALLENGES + (hasher.finish() % u64::from(MORE_CHALLENGES + 1)) as u32;
            self.resets = RESETS;
        }
    }
}

fn take(left: &mut u32) -> bool {
    let granted = *left > 0;
    *left = left.saturating_sub(1);
    granted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_connection_sends_ten_challenges_in_five_seconds() {
        let mut limits = Limits::new([1; 16]);
        let mut challenges = Challenges::default();
        let mut granted = |from: i64, to: i64| {
            (from..to)
                .filter(|tenth| challenges.take(&mut limits, Instant::from_millis(100 * tenth)))
                .count()
        };
        assert_eq!(granted(0, 50), 10);
        assert_eq!(granted(50, 100), 10);
    }

    #[test]
    fn the_limit_of_all_differs_from_second_to_second() {
        let mut limits = Limits::new([1; 16]);
        let granted: BTreeSet<usize> = (0..20)
            .map(|second| {
                let now = Instant::from_secs(second);
                (0..2000).filter(|_| limits.challenge(now)).count()
            })
            .collect();
        assert!(granted.len() > 15, "{granted:?}");
        assert!(granted.iter().all(|count| (500..=1500).contains(count)));
    }

    #[test]
    fn a_thousand_resets_are_sent_in_a_second() {
        let mut limits = Limits::new([1; 16]);
        let resets = (0..5000)
            .filter(|_| limits.reset(Instant::from_secs(1)))
            .count();
        assert_eq!(resets, 1000);
        assert!(limits.reset(Instant::from_secs(2)));
    }
}
