//! Round-trip time and retransmission time-out (RFC 6298).

use smoltcp::time::Duration;

/// The time-out before the first measurement (RFC 6298, section 2.1).
const INITIAL: Duration = Duration::from_secs(1);
/// The time-out after a handshake in which the SYN was sent again (section 5.7).
const AFTER_LOST_SYN: Duration = Duration::from_secs(3);
/// The shortest time-out. RFC 6298, section 2.4, says 1 s, for clocks of 500 ms and receivers that delay ACKs as long.
/// This clock counts microseconds and receivers in use delay by 40 to 200 ms; common systems use 200 ms too.
const SHORTEST: Duration = Duration::from_millis(200);
/// The longest (section 2.5).
const LONGEST: Duration = Duration::from_secs(60);
/// The clock's granularity: the timestamps option counts milliseconds.
const GRANULARITY: u64 = 1_000;

/// The estimate for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rtt {
    /// Smoothed round-trip time and its variation in microseconds.
    measured: Option<(u64, u64)>,
    /// Without back-off.
    timeout: Duration,
    /// How often the time-out has doubled.
    doublings: u8,
}

impl Rtt {
    pub fn new() -> Self {
        Self {
            measured: None,
            timeout: INITIAL,
            doublings: 0,
        }
    }

    /// Returns the retransmission time-out.
    pub fn timeout(&self) -> Duration {
        let micros = self.timeout.total_micros() << self.doublings.min(16);
        Duration::from_micros(micros).min(LONGEST)
    }

    /// Whether the time-out has doubled since the last acknowledgement.
    pub fn is_backed_off(&self) -> bool {
        self.doublings > 0
    }

    /// Doubles the time-out (section 5.5).
    pub fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(16);
    }

    /// Takes the doubling back: new data was acknowledged, or the link is back.
    pub fn restore(&mut self) {
        self.doublings = 0;
    }

    /// Takes a measurement over (section 2).
    pub fn measure(&mut self, sample: Duration) {
        let sample = sample.min(LONGEST).total_micros();
        let (smoothed, variation) = match self.measured {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => {
                let difference = smoothed.abs_diff(sample);
                let variation = (3 * variation + difference) / 4;
                ((7 * smoothed + sample) / 8, variation)
            }
        };
        self.measured = Some((smoothed, variation));
        let timeout = smoothed + GRANULARITY.max(4 * variation);
        self.timeout = Duration::from_micros(timeout).clamp(SHORTEST, LONGEST);
    }

    /// Takes note that the handshake is over and its SYN was sent more than once. Without a
    /// measurement, the time-out is longer then (section 5.7).
    pub fn handshake_was_lossy(&mut self) {
        self.doublings = 0;
        if self.measured.is_none() {
            self.timeout = AFTER_LOST_SYN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(rtt: &Rtt) -> u64 {
        rtt.timeout().total_millis()
    }

    #[test]
    fn the_first_measurement_sets_three_times_the_round_trip() {
        let mut rtt = Rtt::new();
        assert_eq!(milliseconds(&rtt), 1000);
        rtt.measure(Duration::from_millis(100));
        assert_eq!(milliseconds(&rtt), 300);
        // RTTVAR = 3/4 * 50 + 1/4 * 40, SRTT = 7/8 * 100 + 1/8 * 140.
        rtt.measure(Duration::from_millis(140));
        assert_eq!(milliseconds(&rtt), 105 + 4 * 47 + 2);
    }

    #[test]
    fn the_timeout_has_bounds_and_doubles() {
        let mut rtt = Rtt::new();
        rtt.measure(Duration::from_micros(100));
        assert_eq!(milliseconds(&rtt), 200);
        rtt.back_off();
        rtt.back_off();
        assert_eq!(milliseconds(&rtt), 800);
        for _ in 0..300 {
            rtt.back_off();
        }
        assert_eq!(milliseconds(&rtt), 60_000);
        rtt.restore();
        assert_eq!(milliseconds(&rtt), 200);
        rtt.measure(Duration::from_secs(1_000_000));
        assert!(milliseconds(&rtt) <= 60_000);
    }

    #[test]
    fn a_lossy_handshake_without_a_measurement_starts_with_three_seconds() {
        let mut rtt = Rtt::new();
        rtt.back_off();
        rtt.handshake_was_lossy();
        assert_eq!(milliseconds(&rtt), 3000);
        rtt.measure(Duration::from_millis(100));
        rtt.handshake_was_lossy();
        assert_eq!(milliseconds(&rtt), 300);
    }
}
