//! Congestion control.

/// A congestion controller: it decides how many bytes may be under way. All sizes are in bytes.
pub(super) trait Controller {
    /// Returns the congestion window.
    fn window(&self) -> u32;
    /// Notes that new data was acknowledged outside of loss recovery, and the window had kept the
    /// sender back.
    fn acknowledged(&mut self, bytes: u32, mss: u32);
    /// Notes that a segment is considered lost; `flight` bytes were under way.
    fn lost(&mut self, flight: u32, mss: u32);
    /// Loss recovery is over; `flight` bytes are under way.
    fn recovered(&mut self, flight: u32, mss: u32);
    /// Notes that the retransmission time-out passed. `first`: for these bytes it did not pass
    /// before.
    fn timed_out(&mut self, flight: u32, mss: u32, first: bool);
    /// Notes that nothing was sent for longer than the retransmission time-out.
    fn idle(&mut self, mss: u32);
}

/// The controller of a connection. CUBIC (RFC 9438) can join as another variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Congestion {
    NewReno(NewReno),
}

impl Congestion {
    /// Returns the controller of a new connection. `lossy`: the SYN was sent more than once.
    pub fn new(mss: u32, lossy: bool) -> Self {
        Self::NewReno(NewReno::new(mss, lossy))
    }

    fn as_dyn(&mut self) -> &mut dyn Controller {
        match self {
            Self::NewReno(controller) => controller,
        }
    }
}

impl Controller for Congestion {
    fn window(&self) -> u32 {
        match self {
            Self::NewReno(controller) => controller.window(),
        }
    }

    fn acknowledged(&mut self, bytes: u32, mss: u32) {
        self.as_dyn().acknowledged(bytes, mss);
    }

    fn lost(&mut self, flight: u32, mss: u32) {
        self.as_dyn().lost(flight, mss);
    }

    fn recovered(&mut self, flight: u32, mss: u32) {
        self.as_dyn().recovered(flight, mss);
    }

    fn timed_out(&mut self, flight: u32, mss: u32, first: bool) {
        self.as_dyn().timed_out(flight, mss, first);
    }

    fn idle(&mut self, mss: u32) {
        self.as_dyn().idle(mss);
    }
}

/// Slow start, congestion avoidance and NewReno's reaction to loss (RFC 5681, RFC 6582).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewReno {
    window: u32,
    /// Slow start below it.
    threshold: u32,
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465, section 2.1).
    counted: u32,
}

/// The window never grows beyond it: more than any ring, far from an overflow.
const LARGEST_WINDOW: u32 = 1 << 30;

impl NewReno {
    fn new(mss: u32, lossy: bool) -> Self {
        Self {
            // RFC 6928, section 2: one segment if SYN or SYN|ACK was lost.
            window: if lossy { mss } else { initial_window(mss) },
            threshold: LARGEST_WINDOW,
            counted: 0,
        }
    }
}

/// Returns the initial window, about ten segments (RFC 6928, section 2).
fn initial_window(mss: u32) -> u32 {
    (10 * mss).min(14_600.max(2 * mss))
}

/// Returns half of the flight size, at least two segments (RFC 5681, equation 4).
fn half(flight: u32, mss: u32) -> u32 {
    (flight / 2).max(2 * mss)
}

impl Controller for NewReno {
    fn window(&self) -> u32 {
        self.window
    }

    fn acknowledged(&mut self, bytes: u32, mss: u32) {
        let growth = if self.window < self.threshold {
            // Two segments at most for each ACK, since receivers acknowledge every second one (RFC 3465, section 2.2).
            bytes.min(2 * mss)
        } else {
            self.counted = self.counted.saturating_add(bytes);
            let grows = self.counted >= self.window;
            self.counted -= if grows { self.window } else { 0 };
            if grows { mss } else { 0 }
        };
        self.window = self.window.saturating_add(growth).min(LARGEST_WINDOW);
    }

    fn lost(&mut self, flight: u32, mss: u32) {
        self.threshold = half(flight, mss);
        self.window = self.threshold;
        self.counted = 0;
    }

    fn recovered(&mut self, flight: u32, mss: u32) {
        // RFC 6582, section 3.2, step 3, option 1: no burst when little is under way.
        self.window = self.threshold.min(flight.max(mss).saturating_add(mss));
    }

    fn timed_out(&mut self, flight: u32, mss: u32, first: bool) {
        if first {
            self.threshold = half(flight, mss);
        }
        self.window = mss;
        self.counted = 0;
    }

    fn idle(&mut self, mss: u32) {
        // RFC 5681, section 4.1.
        self.window = self.window.min(initial_window(mss));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1460;

    #[test]
    fn the_initial_window_is_that_of_rfc_6928() {
        assert_eq!(Congestion::new(1460, false).window(), 14_600);
        assert_eq!(Congestion::new(536, false).window(), 5_360);
        assert_eq!(Congestion::new(9000, false).window(), 18_000);
        assert_eq!(Congestion::new(1460, true).window(), 1_460);
    }

    #[test]
    fn slow_start_doubles_and_avoidance_adds_a_segment_for_each_window() {
        let mut control = NewReno::new(MSS, false);
        for _ in 0..10 {
            control.acknowledged(MSS, MSS);
        }
        assert_eq!(control.window, 20 * MSS);
        control.lost(20 * MSS, MSS);
        assert_eq!(control.window, 10 * MSS);
        for _ in 0..10 {
            control.acknowledged(MSS, MSS);
        }
        assert_eq!(control.window, 11 * MSS);
        for _ in 0..11 {
            control.acknowledged(MSS, MSS);
        }
        assert_eq!(control.window, 12 * MSS);
    }

    /// An ACK for much data lets the window grow by two segments (RFC 3465, against ACK division in reverse).
    #[test]
    fn one_acknowledgement_lets_slow_start_grow_by_two_segments() {
        let mut control = NewReno::new(MSS, false);
        control.acknowledged(10 * MSS, MSS);
        assert_eq!(control.window, 12 * MSS);
    }

    #[test]
    fn a_timeout_leaves_one_segment_and_halves_once() {
        let mut control = NewReno::new(MSS, false);
        control.timed_out(16 * MSS, MSS, true);
        control.timed_out(MSS, MSS, false);
        assert_eq!((control.window, control.threshold), (MSS, 8 * MSS));
        control.timed_out(MSS, MSS, true);
        assert_eq!(control.threshold, 2 * MSS);
    }

    #[test]
    fn after_a_pause_the_window_is_the_initial_one() {
        let mut control = NewReno::new(MSS, false);
        control.window = 100 * MSS;
        control.idle(MSS);
        assert_eq!(control.window, 10 * MSS);
        control.window = 3 * MSS;
        control.idle(MSS);
        assert_eq!(control.window, 3 * MSS);
    }

    #[test]
    fn recovery_ends_without_a_burst() {
        let mut control = NewReno::new(MSS, false);
        control.lost(40 * MSS, MSS);
        control.recovered(MSS, MSS);
        assert_eq!(control.window, 2 * MSS);
        control.lost(40 * MSS, MSS);
        control.recovered(30 * MSS, MSS);
        assert_eq!(control.window, 20 * MSS);
    }

    #[test]
    fn nothing_overflows() {
        let mut control = NewReno::new(MSS, false);
        for _ in 0..1000 {
            control.acknowledged(u32::MAX, 65_535);
            control.lost(u32::MAX, 65_535);
        }
        assert!(control.window <= LARGEST_WINDOW || control.window == u32::MAX / 2);
    }
}
