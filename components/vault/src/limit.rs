//! At most so many signatures a second.

const SECOND: u64 = 1_000_000_000;

/// A token bucket that holds the signatures of one second.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    /// Nanoseconds that one signature costs.
    cost: u64,
    /// Nanoseconds that are saved up, at most a second.
    saved: u64,
    last: u64,
}

impl Limit {
    /// `rate` signatures a second, 1 to 10^9; the bucket is full at first.
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            cost: SECOND / u64::from(rate.max(1)),
            saved: SECOND,
            last: 0,
        }
    }

    /// Whether there may be a signature at this time (monotonic nanoseconds); a time that goes back saves nothing.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        let passed = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        self.saved = self.saved.saturating_add(passed).min(SECOND);
        let rest = self.saved.checked_sub(self.cost);
        self.saved = rest.unwrap_or(self.saved);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_second_at_once_then_one_at_a_time() {
        let mut limit = Limit::new(100);
        let burst = (0..1000).filter(|_| limit.take(5)).count();
        assert_eq!(burst, 100);
        assert!(!limit.take(5 + SECOND / 100 - 1));
        assert!(limit.take(5 + SECOND / 100));
        assert!(!limit.take(5 + SECOND / 100));
        let later = (0..1000).filter(|_| limit.take(100 * SECOND)).count();
        assert_eq!(later, 100);
    }

    #[test]
    fn a_clock_that_goes_back_saves_nothing() {
        let mut limit = Limit::new(1);
        assert!(limit.take(10 * SECOND));
        assert!(!limit.take(0));
        assert!(!limit.take(10 * SECOND));
        assert!(limit.take(11 * SECOND));
    }
}
