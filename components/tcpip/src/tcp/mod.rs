//! TCP (RFC 9293).

mod header;
mod number;

pub(crate) use header::{Flags, Header, Malformed, Options, Timestamps};
pub(crate) use number::SequenceNumber;
