//! When routers are solicited (RFC 4861, section 6.3.7, with the back-off of RFC 7559, so that a router that appears
//! hours later, or an advertisement that got lost, is found).

use smoltcp::time::{Duration, Instant};

use super::super::random::Random;

/// The first solicitation waits up to this long: MAX_RTR_SOLICITATION_DELAY (RFC 4861, section 10).
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Between the first two solicitations: IRT (RFC 7559, section 2).
const FIRST: Duration = Duration::from_secs(4);
/// The longest time between two: MRT (RFC 7559, section 2).
const LONGEST: Duration = Duration::from_secs(3600);

/// The times of router solicitations.
pub(crate) struct Solicitations {
    next: Option<Instant>,
    /// The time that follows the next solicitation, without its random part.
    interval: Option<Duration>,
    /// Whether the next solicitation is the last one.
    answered: bool,
    random: Random,
}

impl Solicitations {
    /// Returns the state in which no solicitation is due.
    pub fn new(random: Random) -> Self {
        Self {
            next: None,
            interval: None,
            answered: false,
            random,
        }
    }

    /// Begins to solicit, or begins again.
    pub fn start(&mut self, now: Instant) {
        (self.interval, self.answered) = (None, false);
        self.next = Some(now + self.random.between(Duration::ZERO, MAX_DELAY));
    }

    /// Ends soliciting: a router has sent an advertisement and is a default router. One
    /// solicitation is sent in any case, since an advertisement that nothing solicited may be
    /// incomplete (RFC 4861, section 6.3.7).
    pub fn stop(&mut self) {
        match self.interval {
            None => self.answered = true,
            Some(_) => self.next = None,
        }
    }

    /// Returns whether a solicitation is due; the time of the next one is set.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            let base = match self.interval {
                None => FIRST,
                Some(last) => last + last,
            };
            // RFC 8415, section 15: RAND is between -0.1 and 0.1, here and below.
            let base = base.min(LONGEST);
            let tenth = base / 10;
            let interval = base - tenth + self.random.between(Duration::ZERO, tenth + tenth);
            self.interval = Some(interval);
            self.next = (!self.answered).then(|| now + interval);
        }
        due
    }

    /// Returns when [`Solicitations::poll`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Solicitations {
        let mut solicitations = Solicitations::new(Random::new([3; 16]));
        assert_eq!(solicitations.deadline(), None);
        solicitations.start(Instant::from_secs(100));
        solicitations
    }

    #[test]
    fn routers_are_asked_at_growing_intervals_without_end() {
        let mut solicitations = started();
        let mut times = vec![];
        for _ in 0..20 {
            let now = solicitations.deadline().unwrap();
            assert!(!solicitations.poll(now - Duration::from_micros(1)));
            assert!(solicitations.poll(now));
            times.push(now);
        }
        assert!(times[0] - Instant::from_secs(100) < Duration::from_secs(1));
        let intervals: Vec<u64> = times
            .windows(2)
            .map(|it| (it[1] - it[0]).total_millis())
            .collect();
        assert!((3600..=4400).contains(&intervals[0]), "{intervals:?}");
        for pair in intervals[..9].windows(2) {
            let growth = pair[1] * 100 / pair[0];
            assert!((180..=220).contains(&growth), "{intervals:?}");
        }
        let longest = intervals[12..]
            .iter()
            .all(|it| (3_240_000..=3_960_000).contains(it));
        assert!(longest, "{intervals:?}");
    }

    #[test]
    fn an_advertisement_before_the_first_solicitation_leaves_one() {
        let mut solicitations = started();
        solicitations.stop();
        let now = solicitations.deadline().unwrap();
        assert!(solicitations.poll(now));
        assert_eq!(solicitations.deadline(), None);
    }

    #[test]
    fn an_answer_ends_it_and_a_new_link_begins_again() {
        let mut solicitations = started();
        let now = solicitations.deadline().unwrap();
        assert!(solicitations.poll(now));
        solicitations.stop();
        assert_eq!(solicitations.deadline(), None);
        assert!(!solicitations.poll(Instant::from_secs(1000)));
        solicitations.start(Instant::from_secs(1000));
        let now = solicitations.deadline().unwrap();
        assert!(solicitations.poll(now));
        let next = solicitations.deadline().unwrap();
        assert!((3600..=4400).contains(&(next - now).total_millis()));
    }
}
