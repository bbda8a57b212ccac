//! `GET /whoami`: who the client has proved to be.

use alloc::format;

use crate::clients::fingerprint;
use crate::request::Request;
use crate::response::Response;
use crate::server::Context;

/// Answers with the client's name (a `-` if it has none that can be told) and the SHA-256 digest of its
/// certificate, a line each; or says that it has shown none.
pub fn whoami<S>(_: &Request<'_>, context: Context<'_, S>) -> Response {
    let text = match context.peer {
        None => "no client certificate\n".into(),
        Some(peer) => format!("{}\n{}\n", peer.name().unwrap_or("-"), fingerprint(peer)),
    };
    // It is not the same for everybody.
    Response::text(text).with("Cache-Control", "no-store")
}
