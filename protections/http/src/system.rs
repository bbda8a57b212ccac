//! From the wiring to a service, and from the status regions to the status page.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use channel::PeerMisbehaved;
use channel::status::Reader;
use http::bundle::Bundle;
use http::pages::status::{self, Domain, Observed, Report};
use http::pages::{self, MAX_DIGEST};
use http::{Clients, Counters, Limits, LogFormat, Router, Server, Service};
use wiring::{Value, Wiring};

/// What the status page knows.
pub struct System {
    wiring: &'static Wiring,
    /// By the name of the protection domain that publishes.
    readers: Vec<(String, Reader)>,
    misbehaved: bool,
}

/// The service that the wiring describes. A service of your own adds its paths to the router here.
///
/// # Panics
/// When the site's region is not a bundle: then there is nothing to serve.
pub fn service() -> Service<System> {
    let wiring = pd::wiring();
    let mut router = Router::new();
    router.get("/bytes/*", pages::bytes);
    router.post("/digest", MAX_DIGEST, pages::digest);
    router.get("/whoami", pages::whoami);
    status::add(&mut router);

    let site = wiring
        .data("site")
        .is_ok()
        .then(|| Bundle::new(pd::data("site")).unwrap_or_else(|error| panic!("the site: {error}")));
    pd::info!("{} files", site.map_or(0, |site| site.files().count()));
    let system = System {
        wiring,
        readers: pd::status_readers("status"),
        misbehaved: false,
    };
    let mut server = Server::new(system, router, site, limits(wiring));
    server.set_clients(clients(wiring));
    if let Ok(policy) = wiring.text("policy") {
        server.set_policy(Some(policy).filter(|policy| !policy.is_empty()));
    }
    let port = wiring.integer("redirect_https").ok();
    server.set_https_port(port.and_then(|port| u16::try_from(port).ok()));
    server.set_transport_policy(transport_policy(wiring));
    if let Some(format) = log_format(wiring) {
        let rate = wiring.integer("access_log_rate").ok();
        let rate = rate.and_then(|rate| u32::try_from(rate).ok());
        server.set_access_log(format, rate.unwrap_or(1), |line| pd::info!("{line}"));
    }
    if let (Some(unix), Ok(now)) = (pd::wall_clock(), pd::time().now()) {
        server.set_clock(now / 1_000_000, unix / 1_000_000);
    }
    Service::new(server, pd::streams_consumer("streams")).with_memory(pd::has_room)
}

/// Whom the description names.
fn clients(wiring: &Wiring) -> Clients {
    let named = wiring.list("clients").unwrap_or(&[]).iter();
    Clients::new(
        named
            .filter_map(|name| match name {
                Value::Text(name) => Some(name.clone()),
                _ => None,
            })
            .collect(),
    )
}

/// Returns the value of `Strict-Transport-Security`; computed once.
fn transport_policy(wiring: &Wiring) -> Option<&'static str> {
    let seconds = wiring.integer("hsts").ok().filter(|seconds| *seconds > 0)?;
    let subdomains = match wiring.boolean("hsts_subdomains") {
        Ok(true) => "; includeSubDomains",
        _ => "",
    };
    Some(format!("max-age={seconds}{subdomains}").leak())
}

fn log_format(wiring: &Wiring) -> Option<LogFormat> {
    match wiring.text("access_log") {
        Ok("combined") => Some(LogFormat::Combined),
        Ok("json") => Some(LogFormat::Json),
        _ => None,
    }
}

fn limits(wiring: &Wiring) -> Limits {
    let usual = Limits::default();
    let number = |key, usual| {
        let configured = wiring.integer(key).ok();
        configured
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(usual)
    };
    Limits {
        idle_time: number("idle_time", usual.idle_time),
        head_time: number("head_time", usual.head_time),
        stall_time: number("stall_time", usual.stall_time),
        // A description can enlarge one without the other.
        memory: usize::try_from(number("memory", usual.memory as u64))
            .unwrap_or(usual.memory)
            .min(pd::heap_size() / 2),
        ..usual
    }
}

impl System {
    /// Says once that the provider of the connections broke the protocol.
    pub fn misbehaved(&mut self, peer: PeerMisbehaved) {
        if !core::mem::replace(&mut self.misbehaved, true) {
            pd::error!("all connections ended: {peer}");
        }
    }

    fn counters(&self, name: &str, own: &Counters) -> Vec<(String, u64)> {
        if name == self.wiring.name {
            return own
                .entries()
                .map(|(name, value)| (name.to_string(), value))
                .into();
        }
        let reader = self.readers.iter().find(|(peer, _)| peer == name);
        reader.map_or_else(Vec::new, |(_, reader)| reader.counters())
    }
}

impl Observed for System {
    fn report(&mut self, own: &Counters, now: u64) -> Report {
        let domain = |domain: &wiring::Domain| Domain {
            name: domain.name.clone(),
            program: domain.program.clone(),
            priority: domain.priority,
            memory: domain.memory,
            counters: self.counters(&domain.name, own),
        };
        Report {
            title: self.wiring.text("title").unwrap_or_default().to_string(),
            uptime: now,
            domains: self.wiring.domains.iter().map(domain).collect(),
        }
    }
}
