//! `POST /digest`: the SHA-256 of what was sent.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::Write;

use sha2::{Digest, Sha256};

use crate::request::Request;
use crate::response::Response;
use crate::router::Upload;
use crate::server::Context;

/// The largest body in bytes that [`digest`] is meant for: 1 GiB.
pub const MAX_DIGEST: u64 = 1 << 30;

/// Answers `POST` with the SHA-256 of the body: 64 hexadecimal digits and a line break. The body is
/// hashed where it lies, in a single pass.
///
/// # Errors
/// None: every body has a digest.
pub fn digest<S>(_: &Request<'_>, _: Context<'_, S>) -> Result<Box<dyn Upload>, Response> {
    Ok(Box::new(Hash(Sha256::new())))
}

struct Hash(Sha256);

impl Upload for Hash {
    fn data(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> Response {
        let mut text = String::with_capacity(65);
        for byte in self.0.finalize() {
            // Writing into a String does not fail.
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        text.push('\n');
        Response::text(text)
    }
}
