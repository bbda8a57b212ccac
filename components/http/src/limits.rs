//! What a connection may take up: bytes and time.

/// Bounds on requests. Sizes are in bytes, times in milliseconds. While few connections are free,
/// the times are shorter: in steps of one eighth, down to 1 s idle, 2 s for a head and 5 s without
/// progress ([`crate::Service`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request line, its line break included; longer ones get 414. RFC 9112, section 3, asks for at
    /// least 8,000 octets.
    pub line: usize,
    /// Request line and header section together; larger ones get 431. At most 64 KiB is used.
    pub head: usize,
    /// A request body that nothing reads is skipped up to this size, so that the connection can be
    /// kept; a larger one closes the connection.
    pub skipped_body: u64,
    /// All memory that connections hold: buffers of unfinished heads and generated pages that are
    /// being sent. A request for which none is left gets 503.
    pub memory: usize,
    /// From a request's first byte to the end of its header section, then 408.
    pub head_time: u64,
    /// Between two requests on a kept connection, then it is closed. Also the time for the first.
    pub idle_time: u64,
    /// Without any progress in a body or a response; a body gets 408, a response is given up.
    pub stall_time: u64,
    /// Least average rate of bodies and responses in bytes a second, after `stall_time`. Whoever
    /// stays below holds memory for nothing.
    pub least_rate: u64,
    /// How long input is still thrown away after the last response, so that the peer's TCP does not
    /// discard the response because of a reset (RFC 9112, section 9.6).
    pub linger_time: u64,
}

/// Maximum number of header fields of a request; more get 431. They are parsed into an array of
/// this size, 32 bytes each, on the stack.
pub(crate) const MAX_FIELDS: usize = 100;

/// Most bytes that one call of `Connection::work` moves before others get their turn.
pub(crate) const TURN: usize = 256 * 1024;

/// Least cost of one step of work, so that many small requests end a turn as well.
pub(crate) const STEP: usize = 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 8 * 1024 + 256,
            head: 16 * 1024,
            skipped_body: 64 * 1024,
            memory: 1024 * 1024,
            head_time: 10_000,
            idle_time: 30_000,
            stall_time: 60_000,
            least_rate: 1024,
            linger_time: 2_000,
        }
    }
}

/// The shortage of connections: 0 while at least a quarter of them is free, [`Pressure::MOST`] when
/// none is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pressure(u64);

impl Pressure {
    /// None is free.
    pub(crate) const MOST: Self = Self(8);

    /// Returns the pressure with `open` of `slots` connections in use.
    pub(crate) fn new(open: usize, slots: usize) -> Self {
        let free = slots.saturating_sub(open) as u64;
        let quarter = (slots as u64 / 4).max(1);
        Self(Self::MOST.0 - (free.min(quarter) * Self::MOST.0) / quarter)
    }

    /// Shortens a time in proportion to the free connections, but not below `least`, unless it was
    /// below before.
    pub(crate) fn shorten(self, time: u64, least: u64) -> u64 {
        let shorter =
            u128::from(time) * u128::from(Self::MOST.0 - self.0) / u128::from(Self::MOST.0);
        (shorter as u64).max(least.min(time))
    }
}

impl Limits {
    /// Returns the limits under this pressure. An honest client whose answer is delayed still has
    /// the time to send its first request (1 s) and a whole head (2 s), and to retransmit a lost
    /// segment (5 s).
    pub(crate) fn under(&self, pressure: Pressure) -> Self {
        Self {
            idle_time: pressure.shorten(self.idle_time, 1_000),
            head_time: pressure.shorten(self.head_time, 2_000),
            stall_time: pressure.shorten(self.stall_time, 5_000),
            linger_time: pressure.shorten(self.linger_time, 250),
            ..*self
        }
    }

    /// `head` within what the parser's offsets and the buffers can take.
    pub(crate) fn head(&self) -> usize {
        self.head.clamp(128, 64 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_shrink_with_the_free_connections() {
        let usual = Limits::default();
        let under = |open| usual.under(Pressure::new(open, 256));
        for open in [0, 100, 192] {
            assert_eq!(under(open), usual, "{open}");
        }
        assert_eq!(under(224).stall_time, 30_000);
        assert_eq!(under(224).idle_time, 15_000);
        let least = under(256);
        assert_eq!(least.idle_time, 1_000);
        assert_eq!(least.head_time, 2_000);
        assert_eq!(least.stall_time, 5_000);
        assert_eq!(least.linger_time, 250);
        assert_eq!((least.memory, least.head), (usual.memory, usual.head));
        let mut last = usual.stall_time;
        for open in 0..=300 {
            assert!(under(open).stall_time <= last);
            last = under(open).stall_time;
        }
        assert_eq!(Pressure::new(1, 1), Pressure::MOST);
        assert_eq!(Pressure::new(0, 1), Pressure::default());
        assert_eq!(Pressure::new(0, 0), Pressure::MOST);
    }

    #[test]
    fn a_time_that_was_short_does_not_grow() {
        let short = Limits {
            idle_time: 100,
            ..Limits::default()
        };
        assert_eq!(short.under(Pressure::MOST).idle_time, 100);
        assert_eq!(Pressure::new(14, 16).shorten(u64::MAX, 1), u64::MAX / 2);
    }
}
