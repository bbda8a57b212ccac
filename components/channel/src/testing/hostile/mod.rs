//! Endpoints against a peer that writes anything into every word it shares, at every moment.
//!
//! Each function plays one endpoint, the *victim*, against an honest peer whose memory an attacker changes before
//! any of the victim's loads. `script` says what all three do, so that a property test or a fuzzer can drive
//! them. They panic when the victim does what it must not: take too many steps, give a buffer twice, count more
//! bytes than a ring holds, or find work after it has reported [`PeerMisbehaved`](crate::PeerMisbehaved).

mod attacker;
mod log;
mod packets;
mod streams;

pub use log::{log_reader, log_writer};
pub use packets::{packets_driver, packets_stack};
pub use streams::{streams_consumer, streams_provider};

use attacker::{Attack, Guarded};
