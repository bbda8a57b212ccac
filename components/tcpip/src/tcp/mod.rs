//! TCP (RFC 9293): one connection is a [`Tcb`], a sans-IO state machine over the two rings that it shares with its user.
//!
//! | file | duty |
//! |---|---|
//! | `number`, `header`, `ring` | sequence numbers, the format of segments, the user's memory |
//! | `state`, `parameters`, `tcb`, `user` | states; the block of a connection and how it begins; the calls of its user |
//! | `receive`, `assembler` | a segment arrives: checks, text, FIN; what is out of order |
//! | `acknowledge`, `recovery`, `sack`, `congestion`, `rtt` | ACKs, loss, windows, time-outs |
//! | `transmit`, `emit`, `timers` | the next segment; its header and window; timers |
//! | `error` | ICMP errors, changes of the link |
//! | `cookie`, `challenge`, `reply` | SYN cookies, limits for provoked replies, replies without a connection |
//!
//! Received payload is copied once, from the private frame to its place in the receive ring, in order or not. Payload to
//! send is read once for each transmission, when the frame is built. `docs/tcp.md` lists what of the RFCs is met where.

mod acknowledge;
mod assembler;
mod challenge;
mod congestion;
mod cookie;
mod emit;
mod error;
mod header;
mod number;
mod parameters;
mod receive;
mod recovery;
mod reply;
mod ring;
mod rtt;
mod sack;
mod state;
mod tcb;
#[cfg(test)]
mod tests;
mod timers;
mod transmit;
mod user;

pub(crate) use challenge::Limits;
pub(crate) use cookie::{Cookies, Offer};
#[cfg(test)]
pub(crate) use header::Options;
pub(crate) use header::{Flags, Header, Malformed};
pub(crate) use number::SequenceNumber;
pub(crate) use parameters::Parameters;
pub(crate) use receive::Reaction;
pub(crate) use reply::{reset, syn_cookie};
pub(crate) use state::State;
pub(crate) use tcb::{End, Tcb};
pub(crate) use transmit::Transmitted;
