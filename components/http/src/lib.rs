//! A sans-IO HTTP/1.1 server (RFC 9110, RFC 9112) for one thread and no operating system.
//!
//! A [`Connection`] is a state machine. Whoever owns the transport gives it a [`Stream`] (received
//! bytes to look at, free space to write into) and calls [`Connection::work`] when bytes arrived,
//! when space became free, or when [`Connection::deadline`] has passed. All connections share a
//! [`Server`]: the [`Router`] with the dynamic paths, the static site ([`bundle::Bundle`]), the
//! [`Limits`] and the [`Counters`].
//!
//! Request heads are copied once into private memory before they are parsed, because a peer may still
//! write the memory that they arrive in. Request bodies are consumed where they lie, in a single pass.
//! Responses are written straight into the stream's free space.
//!
//! ```
//! use http::{Context, Limits, Request, Response, Router, Server};
//!
//! fn hello(request: &Request<'_>, _: Context<'_, ()>) -> Response {
//!     Response::text(format!("hello, {}\n", request.rest))
//! }
//!
//! let mut router = Router::new();
//! router.get("/hello/*", hello);
//! let server = Server::new((), router, None, Limits::default());
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod body;
pub mod bundle;
mod chunked;
mod conditional;
mod connection;
mod date;
mod framing;
mod head;
mod limits;
mod outgoing;
mod pace;
pub mod pages;
mod phase;
mod request;
mod response;
mod router;
mod server;
mod service;
mod stream;
mod target;

#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;

pub use connection::{Connection, Outcome};
pub use limits::Limits;
pub use request::{Method, Request, Version};
pub use response::{Body, Fill, Response, Status};
pub use router::{Router, Upload};
pub use server::{Context, Counters, Server};
pub use service::{Service, Turn};
pub use stream::Stream;
