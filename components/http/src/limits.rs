//! What a connection may take up: bytes and time.

/// Bounds on requests. Sizes are in bytes, times in milliseconds.
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

/// Most header fields of a request; more get 431. They are parsed into an array of this size, 32 bytes each
/// on the stack.
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

impl Limits {
    /// `head` within what the parser's offsets and the buffers can take.
    pub(crate) fn head(&self) -> usize {
        self.head.clamp(128, 64 * 1024)
    }
}
