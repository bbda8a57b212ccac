//! Handlers that any service can add to its [`crate::Router`].

mod bytes;
mod digest;
pub mod status;
mod whoami;

pub use bytes::{MAX_BYTES, bytes, pattern};
pub use digest::{MAX_DIGEST, digest};
pub use whoami::whoami;
