//! What the kernel answers to an invocation that it refuses.

use core::{fmt, result};

use crate::Word;

/// The result of an invocation.
pub type Result<T> = result::Result<T, Error>;

/// An error of the kernel (seL4 manual, `seL4_Error`).
#[derive(Debug, Clone, Copy, Eq, PartialEq)]
pub enum Error {
    /// A value was not acceptable.
    InvalidArgument,
    /// A capability was missing or of the wrong type.
    InvalidCapability,
    /// The operation is not allowed on this object or in this state.
    IllegalOperation,
    /// A value was out of range.
    RangeError,
    /// An address was not aligned.
    AlignmentError,
    /// A capability or a paging structure was not found.
    FailedLookup,
    /// The message was too short.
    TruncatedMessage,
    /// The destination is in use.
    DeleteFirst,
    /// The object has descendants.
    RevokeFirst,
    /// The untyped memory is too small.
    NotEnoughMemory,
    /// A number that the kernel does not document.
    Unknown(Word),
}

impl Error {
    /// The result that a reply's label stands for.
    pub(crate) fn from_label(label: Word) -> Result<()> {
        Err(match label {
            0 => return Ok(()),
            1 => Self::InvalidArgument,
            2 => Self::InvalidCapability,
            3 => Self::IllegalOperation,
            4 => Self::RangeError,
            5 => Self::AlignmentError,
            6 => Self::FailedLookup,
            7 => Self::TruncatedMessage,
            8 => Self::DeleteFirst,
            9 => Self::RevokeFirst,
            10 => Self::NotEnoughMemory,
            other => Self::Unknown(other),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InvalidArgument => "invalid argument",
            Self::InvalidCapability => "invalid capability",
            Self::IllegalOperation => "illegal operation",
            Self::RangeError => "out of range",
            Self::AlignmentError => "not aligned",
            Self::FailedLookup => "failed lookup",
            Self::TruncatedMessage => "truncated message",
            Self::DeleteFirst => "destination in use",
            Self::RevokeFirst => "object in use",
            Self::NotEnoughMemory => "not enough memory",
            Self::Unknown(label) => return write!(f, "kernel error {label}"),
        };
        f.write_str(text)
    }
}

impl core::error::Error for Error {}
