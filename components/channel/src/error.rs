//! What can be wrong with a peer, and with a region.

use core::fmt;

/// What a peer did that its protocol does not allow.
///
/// The endpoint that reports it finds no more work: it neither reads from nor notifies that peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A ring index went back, or forward by more than the ring holds.
    IndexJumped,
    /// A descriptor names a buffer that the pool does not have.
    NoSuchBuffer,
    /// A descriptor names a buffer that the peer does not own: it was used twice or never given.
    NotItsBuffer,
    /// A descriptor's length is longer than a buffer.
    TooLong,
    /// A connection's state lost a flag, or changed without being opened.
    WrongState,
    /// A connection carries a generation that does not follow from the one before.
    WrongGeneration,
    /// Bytes were added to a stream after its end.
    DataAfterEnd,
    /// A byte ring was restarted where the protocol does not allow it.
    WrongRestart,
    /// A message of an unknown kind, or an answer to something that was not asked.
    UnknownMessage,
    /// The identity of a connection's peer has a name that is too long or not plain.
    MalformedIdentity,
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IndexJumped => "a ring index jumped",
            Self::NoSuchBuffer => "a descriptor names no buffer of the pool",
            Self::NotItsBuffer => "a descriptor names a buffer that the peer does not own",
            Self::TooLong => "a descriptor's length is longer than a buffer",
            Self::WrongState => "a connection's state went back",
            Self::WrongGeneration => "a connection's generation jumped",
            Self::DataAfterEnd => "bytes came after the end of a stream",
            Self::WrongRestart => "a byte ring was restarted out of turn",
            Self::UnknownMessage => "a message is of an unknown kind",
            Self::MalformedIdentity => "a peer's identity is malformed",
        })
    }
}

impl core::error::Error for PeerMisbehaved {}

/// Why memory or sizes do not make an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A count or size is not in the range that the layout's constructor states.
    OutOfRange,
    /// A region is smaller than the layout asks for.
    TooSmall,
    /// A region does not begin at a multiple of 8.
    Unaligned,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "a count or size is out of range",
            Self::TooSmall => "a memory region is too small",
            Self::Unaligned => "a memory region is not aligned to 8 bytes",
        })
    }
}

impl core::error::Error for LayoutError {}
