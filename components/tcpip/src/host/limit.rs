//! Rate limits.

use smoltcp::time::{Duration, Instant};

/// A token bucket: `burst` events at once, and one more each `interval` (RFC 1812, section 4.3.2.8).
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    interval: Duration,
    burst: u32,
    /// When the bucket is full again, if nothing is taken meanwhile.
    full: Instant,
}

impl TokenBucket {
    /// Returns a full bucket.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            interval,
            burst,
            full: Instant::ZERO,
        }
    }

    /// Takes a token. Returns whether there was one.
    pub fn take(&mut self, now: Instant) -> bool {
        let available = self.next(now) <= now;
        if available {
            self.full = self.full.max(now) + self.interval;
        }
        available
    }

    /// Returns when there is a token: `now` or later.
    pub fn next(&self, now: Instant) -> Instant {
        let depth = Duration::from_micros(
            self.interval.total_micros() * u64::from(self.burst.saturating_sub(1)),
        );
        let earliest = Instant::from_micros(self.full.total_micros() - depth.total_micros() as i64);
        earliest.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_burst_and_then_one_for_each_interval() {
        let mut bucket = TokenBucket::new(3, Duration::from_millis(100));
        let at = Instant::from_millis;
        let taken = |bucket: &mut TokenBucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, at(1000)), 3);
        assert_eq!(bucket.next(at(1000)), at(1100));
        assert_eq!(taken(&mut bucket, at(1099)), 0);
        assert_eq!(taken(&mut bucket, at(1100)), 1);
        assert_eq!(taken(&mut bucket, at(1350)), 2);
        assert_eq!(taken(&mut bucket, at(9000)), 3);
    }
}
