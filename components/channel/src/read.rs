//! The outcome of a read of words that the peer writes.

/// What a read gave, from a peer that has not violated the protocol. With `Result<Read<T>, PeerMisbehaved>` a caller has
/// to tell three outcomes apart: the value, the end of the session, and the end of the port. Were the last two one, a peer
/// that restarts at the wrong moment would be lost to its consumer permanently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Read<T> {
    /// The value, checked.
    Value(T),
    /// The peer has restarted, so what was read means nothing: it is of the incarnation before, or half of it is wiped.
    /// The port has not failed; it begins a session with the new incarnation.
    Restarted,
}

impl<T> Read<Option<T>> {
    /// Returns what there is to take: from a peer that has restarted, nothing now.
    pub(crate) fn available(self) -> Option<T> {
        match self {
            Self::Value(value) => value,
            Self::Restarted => None,
        }
    }
}
