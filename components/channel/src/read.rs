//! The outcome of a read of words that the peer writes.

/// The result of a read from a peer that has not violated the protocol. With `Result<Read<T>,
/// PeerMisbehaved>` a caller distinguishes three outcomes: the value, the end of the session, and
/// the failure of the port. A restart of the peer during a read ends the session only; it must not
/// fail the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Read<T> {
    /// The value, checked.
    Value(T),
    /// The peer has restarted, so the words that were read are invalid: they are of the previous
    /// incarnation, or partly wiped. The port has not failed; it begins a session with the new
    /// incarnation.
    Restarted,
}

impl<T> Read<Option<T>> {
    /// Returns the value; `None` if the peer has restarted.
    pub(crate) fn available(self) -> Option<T> {
        match self {
            Self::Value(value) => value,
            Self::Restarted => None,
        }
    }
}
