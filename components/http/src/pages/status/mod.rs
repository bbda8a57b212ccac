//! `/status` and `/status.json`: what the system is made of and what it does.
//!
//! ```
//! use http::pages::status::{self, Observed, Report};
//! use http::{Counters, Router};
//!
//! struct System;
//! impl Observed for System {
//!     fn report(&mut self, _: &Counters, now: u64) -> Report {
//!         Report { title: "demo".into(), uptime: now, domains: Vec::new() }
//!     }
//! }
//!
//! let mut router = Router::<System>::new();
//! status::add(&mut router);
//! ```

mod html;
mod json;

use alloc::string::String;
use alloc::vec::Vec;

use crate::request::Request;
use crate::response::{Body, Response, Status};
use crate::router::Router;
use crate::server::{Context, Counters};

/// A state that knows the system around it.
pub trait Observed {
    /// The state of things at `now` milliseconds; `counters` are the HTTP server's own.
    fn report(&mut self, counters: &Counters, now: u64) -> Report;
}

/// What the pages show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The page's heading.
    pub title: String,
    /// Milliseconds since the start.
    pub uptime: u64,
    /// Its protection domains.
    pub domains: Vec<Domain>,
}

/// One protection domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// Its name in the system description.
    pub name: String,
    /// The program it runs.
    pub program: String,
    /// Its priority, 0 to 254.
    pub priority: u8,
    /// Memory of its own in bytes.
    pub memory: u64,
    /// Names and values of its counters; none if it publishes none. Those called `payload_received`,
    /// `copied_in`, `payload_sent` and `copied_out` are bytes, and give [`Report::copies`];
    /// `connections_open` is how many connections it has now.
    pub counters: Vec<(String, u64)>,
}

/// Copies per payload byte, in hundredths; none if no payload was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Of what the system received.
    pub received: Option<u64>,
    /// Of what it sent.
    pub sent: Option<u64>,
}

/// Adds `/status`, `/status.json` and `/status.css`.
pub fn add<S: Observed>(router: &mut Router<S>) {
    router.get("/status", page);
    router.get("/status.json", data);
    router.get("/status.css", style);
}

impl Report {
    /// The sum over all protection domains of (bytes copied / payload bytes), each of its own.
    pub fn copies(&self) -> Copies {
        let sum = |copied, payload| {
            let ratios = self
                .domains
                .iter()
                .filter_map(|domain| domain.ratio(copied, payload));
            ratios.fold(None, |sum: Option<u64>, ratio| {
                Some(sum.unwrap_or(0).saturating_add(ratio))
            })
        };
        Copies {
            received: sum("copied_in", "payload_received"),
            sent: sum("copied_out", "payload_sent"),
        }
    }
}

impl Domain {
    fn counter(&self, name: &str) -> Option<u64> {
        self.counters
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| *value)
    }

    /// Hundredths, rounded to the nearest.
    fn ratio(&self, copied: &str, payload: &str) -> Option<u64> {
        let (copied, payload) = (self.counter(copied)?, self.counter(payload)?);
        let hundredths = u128::from(copied) * 100 + u128::from(payload) / 2;
        let ratio = hundredths.checked_div(u128::from(payload))?;
        Some(u64::try_from(ratio).unwrap_or(u64::MAX))
    }
}

fn page<S: Observed>(_: &Request<'_>, context: Context<'_, S>) -> Response {
    let report = context.state.report(context.counters, context.now);
    Response::html(html::render(&report, context.counters))
        .with("Content-Security-Policy", POLICY)
        .with("Cache-Control", "no-store")
}

fn data<S: Observed>(_: &Request<'_>, context: Context<'_, S>) -> Response {
    let report = context.state.report(context.counters, context.now);
    Response::json(json::render(&report)).with("Cache-Control", "no-store")
}

fn style<S>(_: &Request<'_>, _: Context<'_, S>) -> Response {
    let body = Body::Fixed(include_bytes!("style.css"));
    Response::new(Status::OK, "text/css; charset=utf-8", body).with("Cache-Control", "max-age=300")
}

/// The page loads its own style sheet and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn example() -> Report {
        let domain = |name: &str, counters: &[(&str, u64)]| Domain {
            name: name.into(),
            program: name.into(),
            priority: 200,
            memory: 0x12_3456,
            counters: counters.iter().map(|(n, v)| ((*n).into(), *v)).collect(),
        };
        Report {
            title: "a\"<b>".into(),
            uptime: 93_784_005,
            domains: [
                domain("nic", &[]),
                domain(
                    "tcpip",
                    &[
                        ("payload_received", 3),
                        ("copied_in", 5),
                        ("payload_sent", 0),
                        ("copied_out", 1),
                    ],
                ),
                domain(
                    "tls",
                    &[
                        ("payload_received", 10),
                        ("copied_in", 20),
                        ("connections_open", 7),
                    ],
                ),
            ]
            .into(),
        }
    }

    #[test]
    fn copies_are_ratios_summed_over_domains() {
        let copies = example().copies();
        assert_eq!((copies.received, copies.sent), (Some(167 + 200), None));
    }
}
