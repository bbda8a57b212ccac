//! What a stack tells: why it cannot start, and what an operator may want to read.

use alloc::string::String;
use core::fmt;

use crate::host::HostNotice;
use crate::settings::SettingsError;
use crate::wire::MIN_FRAME;

/// Why a stack cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackError {
    /// The pool's frames are shorter than IPv6 allows: their size in bytes.
    FrameSize(usize),
    /// The consumers' parameters contradict each other.
    Settings(SettingsError),
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameSize(size) => {
                write!(
                    f,
                    "frames of {size} bytes are too short; at least {MIN_FRAME} are needed"
                )
            }
            Self::Settings(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StackError {}

/// Something that an operator may want to read in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The host's addresses, comma-separated, after a change.
    Addresses(String),
    /// Something about addresses and the link.
    Host(HostNotice),
    /// A consumer broke the protocol; its connections were reset.
    ConsumerMisbehaved(String),
    /// The driver broke the protocol; the network is gone.
    DriverMisbehaved,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addresses) if addresses.is_empty() => f.write_str("no address"),
            Self::Addresses(addresses) => write!(f, "addresses: {addresses}"),
            Self::Host(notice) => notice.fmt(f),
            Self::ConsumerMisbehaved(name) => {
                write!(
                    f,
                    "`{name}` broke the streams protocol; its connections were reset"
                )
            }
            Self::DriverMisbehaved => {
                f.write_str("the driver broke the packets protocol; no network")
            }
        }
    }
}
