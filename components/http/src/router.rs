//! Which handler answers which path.
//!
//! A handler is a plain function over the request and a [`Context`] with the service's own state `S`.
//! A pattern is a path, or a path that ends in `/*` and stands for everything below it.
//!
//! ```
//! use http::{Context, Request, Response, Router, Status, Upload};
//!
//! /// The service's own state.
//! struct Shop { visitors: u64 }
//!
//! fn visit(_: &Request<'_>, context: Context<'_, Shop>) -> Response {
//!     context.state.visitors += 1;
//!     Response::text(format!("visitor {}\n", context.state.visitors))
//! }
//!
//! /// Counts the bytes of a body.
//! struct Count(u64);
//! impl Upload for Count {
//!     fn data(&mut self, bytes: &[u8]) {
//!         self.0 += bytes.len() as u64;
//!     }
//!     fn finish(self: Box<Self>) -> Response {
//!         Response::text(format!("{} bytes\n", self.0))
//!     }
//! }
//!
//! fn count(request: &Request<'_>, _: Context<'_, Shop>) -> Result<Box<dyn Upload>, Response> {
//!     match request.rest {
//!         "bytes" => Ok(Box::new(Count(0))),
//!         _ => Err(Response::error(Status::NOT_FOUND)),
//!     }
//! }
//!
//! let mut router = Router::new();
//! router.get("/visit", visit);
//! router.post("/count/*", 1024 * 1024, count); // bodies of at most 1 MiB
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::request::{Method, Request};
use crate::response::Response;
use crate::server::Context;

/// Takes a request's body and answers when it is complete.
pub trait Upload {
    /// The next bytes of the body. They may lie in memory that the peer still writes: look at every
    /// byte once, or copy.
    fn data(&mut self, bytes: &[u8]);

    /// The body is complete.
    fn finish(self: Box<Self>) -> Response;
}

/// Answers a `GET` (and `HEAD`) request.
pub type Get<S> = fn(&Request<'_>, Context<'_, S>) -> Response;

/// Begins with the body of a `POST` request, or answers at once without reading it.
pub type Post<S> = fn(&Request<'_>, Context<'_, S>) -> Result<Box<dyn Upload>, Response>;

/// The dynamic paths of a service with the state `S`.
#[derive(Debug)]
pub struct Router<S> {
    routes: Vec<Route<S>>,
}

#[derive(Debug)]
struct Route<S> {
    pattern: &'static str,
    handler: Handler<S>,
}

#[derive(Debug)]
pub(crate) enum Handler<S> {
    Get(Get<S>),
    /// With the largest body in bytes.
    Post(u64, Post<S>),
}

/// What the router knows of a path.
pub(crate) enum Found<'r, 'p, S> {
    /// The handler, and what the pattern's `*` stands for.
    Handler(&'r Handler<S>, &'p str),
    /// The path exists, but for these methods only.
    Only(Allow),
    Nothing,
}

/// The methods that a path has, for the `Allow` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allow {
    pub(crate) get: bool,
    pub(crate) post: bool,
}

impl<S> Router<S> {
    /// No paths.
    pub fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Answers `GET` and `HEAD` at the pattern. The first pattern that fits a path wins.
    pub fn get(&mut self, pattern: &'static str, handler: Get<S>) {
        self.add(pattern, Handler::Get(handler));
    }

    /// Answers `POST` at the pattern, with bodies of at most `largest` bytes; larger ones get 413.
    pub fn post(&mut self, pattern: &'static str, largest: u64, handler: Post<S>) {
        self.add(pattern, Handler::Post(largest, handler));
    }

    fn add(&mut self, pattern: &'static str, handler: Handler<S>) {
        self.routes.push(Route { pattern, handler });
    }

    pub(crate) fn find<'p>(&self, method: Method, path: &'p str) -> Found<'_, 'p, S> {
        let mut allow = Allow::default();
        for route in &self.routes {
            let Some(rest) = rest(route.pattern, path) else {
                continue;
            };
            match (&route.handler, method) {
                (Handler::Get(_), Method::Get | Method::Head)
                | (Handler::Post(..), Method::Post) => return Found::Handler(&route.handler, rest),
                (Handler::Get(_), _) => allow.get = true,
                (Handler::Post(..), _) => allow.post = true,
            }
        }
        match allow == Allow::default() {
            true => Found::Nothing,
            false => Found::Only(allow),
        }
    }
}

impl<S> Default for Router<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl Allow {
    pub(crate) const GET: Self = Self {
        get: true,
        post: false,
    };

    /// The value of an `Allow` field.
    pub(crate) fn value(self) -> String {
        let mut value = String::new();
        for (has, methods) in [(self.get, "GET, HEAD, "), (self.post, "POST, ")] {
            if has {
                value.push_str(methods);
            }
        }
        value.push_str("OPTIONS");
        value
    }
}

/// What `*` stands for if the path fits the pattern; empty for a pattern without one.
fn rest<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.strip_prefix(prefix),
        None => (pattern == path).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert_eq!(rest("/a", "/a"), Some(""));
        assert_eq!(rest("/a", "/a/"), None);
        assert_eq!(rest("/a/*", "/a/b/c"), Some("b/c"));
        assert_eq!(rest("/a/*", "/a/"), Some(""));
        assert_eq!(rest("/a/*", "/a"), None);
    }

    #[test]
    fn methods_of_a_path_are_gathered() {
        fn get(_: &Request<'_>, _: Context<'_, ()>) -> Response {
            Response::text("")
        }
        fn post(_: &Request<'_>, _: Context<'_, ()>) -> Result<Box<dyn Upload>, Response> {
            Err(Response::text(""))
        }
        let mut router = Router::new();
        router.get("/a", get);
        router.post("/*", 1, post);
        let allow = |method, path| match router.find(method, path) {
            Found::Handler(..) => "handler".into(),
            Found::Only(allow) => allow.value(),
            Found::Nothing => "nothing".into(),
        };
        assert_eq!(allow(Method::Head, "/a"), "handler");
        assert_eq!(allow(Method::Post, "/a"), "handler");
        assert_eq!(allow(Method::Put, "/a"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(allow(Method::Get, "/b"), "POST, OPTIONS");
        assert_eq!(allow(Method::Options, "*"), "nothing");
    }
}
