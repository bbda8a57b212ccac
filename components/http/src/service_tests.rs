//! A service over a port whose other end the test holds.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use std::vec::Vec;

use channel::streams::{ConnectionId, Layout, Opened, PeerIdentity, Provider, ProviderEvent};
use channel::testing::streams_pair;

use crate::{Clients, Limits, Router, Server, Service, pages};

const SECOND: u64 = 1_000_000_000;

#[global_allocator]
static HEAP: heap_meter::Meter = heap_meter::Meter;

const MANIFEST: &str = include_str!("../../../protections/http/Cargo.toml");

struct Port {
    service: Service<()>,
    provider: Provider,
    now: u64,
}

impl Port {
    fn new() -> Self {
        Self::with(4)
    }

    /// Creates a port with this many slots.
    fn with(slots: usize) -> Self {
        let layout = Layout::new(slots, 512).unwrap();
        let (provider, consumer, _) = streams_pair(layout).unwrap();
        let mut router = Router::new();
        router.get("/bytes/*", pages::bytes);
        router.post("/digest", pages::MAX_DIGEST, pages::digest);
        router.get("/whoami", pages::whoami);
        let server = Server::new((), router, None, Limits::default());
        Self {
            service: Service::new(server, consumer),
            provider,
            now: 0,
        }
    }

    fn open(&mut self) -> ConnectionId {
        self.open_for(None)
    }

    fn open_for(&mut self, identity: Option<PeerIdentity>) -> ConnectionId {
        let slot = self.provider.free_slot().unwrap();
        let opened = Opened {
            peer: "192.0.2.1:5000".parse().unwrap(),
            local_port: 80,
            token: None,
            identity,
            confidential: false,
        };
        self.provider.open(slot, &opened).unwrap()
    }

    /// Lets the service work until it sleeps; the deadline that it told.
    fn run(&mut self) -> Option<u64> {
        self.provider.flush();
        for _ in 0..10_000 {
            let turn = self.service.poll(self.now).unwrap();
            if !turn.more {
                return turn.deadline;
            }
        }
        panic!("the service does not come to rest");
    }

    /// What the service sends on a connection, until it sends no more.
    fn hear(&mut self, id: ConnectionId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            self.run();
            self.events();
            let mut some = [0; 300];
            let length = self.provider.read(id, &mut some);
            if length == 0 {
                return all;
            }
            all.extend_from_slice(&some[..length]);
        }
    }

    fn ask(&mut self, id: ConnectionId, request: &str) -> String {
        assert_eq!(self.provider.write(id, request.as_bytes()), request.len());
        String::from_utf8(self.hear(id)).unwrap()
    }

    fn events(&mut self) -> Vec<ProviderEvent> {
        let mut events = Vec::new();
        loop {
            while let Some(event) = self.provider.next_event().unwrap() {
                events.push(event);
            }
            if self.provider.sleep() {
                return events;
            }
        }
    }
}

#[test]
fn a_response_larger_than_the_ring_arrives_whole() {
    let mut port = Port::new();
    let (one, two) = (port.open(), port.open());
    port.provider
        .write(one, b"GET /bytes/100000 HTTP/1.1\r\nHost: h\r\n\r\n");
    let second = port.ask(two, "GET /bytes/0 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(second.starts_with("HTTP/1.1 200 OK\r\n"));
    let first = port.hear(one);
    let mut expected = [0; 100_000];
    pages::pattern(0, &mut expected);
    assert!(first.ends_with(&expected));
    assert_eq!(port.service.server().counters.connections_open, 2);
}

#[test]
fn a_body_larger_than_the_ring_is_taken() {
    let mut port = Port::new();
    let id = port.open();
    port.ask(
        id,
        "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n",
    );
    let mut left = 50_000;
    while left > 0 {
        left -= port.provider.write(id, &[b'a'; 700][..left.min(700)]);
        port.run();
        port.events();
    }
    let answer = String::from_utf8(port.hear(id)).unwrap();
    // head -c 50000 /dev/zero | tr '\0' a | sha256sum
    let digest = "77a0f923b96d18567b52376c56638acc5f030009735888bc47f2da5b4b65e3af";
    assert!(
        answer.ends_with(&std::format!("\r\n\r\n{digest}\n")),
        "{answer}"
    );
}

#[test]
fn an_idle_connection_is_closed_and_its_slot_released() {
    let mut port = Port::new();
    let id = port.open();
    port.ask(id, "GET /bytes/1 HTTP/1.1\r\nHost: h\r\n\r\n");
    let deadline = port.run().unwrap();
    assert_eq!(deadline, 30 * SECOND);
    port.now = deadline;
    port.run();
    assert!(port.events().contains(&ProviderEvent::HalfClosed(id)));
    // The peer never finishes: after lingering and closing the slot is free again.
    port.now += 2 * SECOND;
    port.run();
    port.now += 15 * SECOND;
    port.run();
    let events = port.events();
    assert!(events.contains(&ProviderEvent::Released(id)), "{events:?}");
    assert_eq!(port.service.server().counters.connections_open, 0);
    assert_eq!(port.run(), None);
}

#[test]
fn a_closed_or_reset_connection_is_released() {
    let mut port = Port::new();
    let (closed, reset) = (port.open(), port.open());
    port.ask(closed, "GET /bytes/1 HTTP/1.0\r\n\r\n");
    port.provider.write(reset, b"GET /");
    port.run();
    port.provider.finish(closed);
    port.provider.closed(closed);
    port.provider.reset(reset);
    port.run();
    let events = port.events();
    for id in [closed, reset] {
        assert!(events.contains(&ProviderEvent::Released(id)), "{events:?}");
    }
    assert_eq!(port.service.server().counters.connections_open, 0);
    let again = port.open();
    let answer = port.ask(again, "GET /bytes/0 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
}

const ONE: &str = "GET /bytes/1 HTTP/1.1\r\nHost: h\r\n\r\n";

/// Of 32 slots, the last two are kept free: the connections that are idle the longest are closed.
#[test]
fn kept_connections_make_room_for_new_ones() {
    let mut port = Port::with(32);
    let mut kept = Vec::new();
    for number in 0..30 {
        port.now = number * SECOND / 10;
        let id = port.open();
        assert!(port.ask(id, ONE).starts_with("HTTP/1.1 200"));
        kept.push(id);
    }
    assert_eq!(port.service.server().counters.made_room, 0);
    // The first one is busy again, so the second is idle the longest.
    port.now += SECOND / 10;
    port.ask(kept[0], ONE);
    port.now += SECOND / 10;
    let new = port.open();
    port.run();
    let events = port.events();
    assert!(
        events.contains(&ProviderEvent::HalfClosed(kept[1])),
        "{events:?}"
    );
    let closed = events
        .iter()
        .filter(|event| matches!(event, ProviderEvent::HalfClosed(_)));
    assert_eq!(closed.count(), 1, "{events:?}");
    assert_eq!(port.service.server().counters.made_room, 1);
    // While that one is being closed, no other has to be closed.
    port.run();
    assert_eq!(port.service.server().counters.made_room, 1);
    assert!(port.ask(new, ONE).starts_with("HTTP/1.1 200"));
}

/// A client that sends nothing has 30 s while there is room, and 1 s when there is none.
#[test]
fn silent_connections_have_less_time_when_slots_are_short() {
    let mut port = Port::with(16);
    let ids: Vec<_> = (0..12).map(|_| port.open()).collect();
    assert_eq!(port.run(), Some(30 * SECOND));
    let more: Vec<_> = (0..4).map(|_| port.open()).collect();
    assert_eq!(port.run(), Some(SECOND));
    port.now = SECOND;
    port.run();
    let events = port.events();
    for id in ids.iter().chain(&more) {
        assert!(
            events.contains(&ProviderEvent::HalfClosed(*id)),
            "{events:?}"
        );
    }
    // Connections whose peer does not close them are released soon after.
    port.now += SECOND / 4;
    port.run();
    port.now += SECOND;
    port.run();
    assert_eq!(port.service.server().counters.connections_open, 0);
    // With room again, a new connection has its full time.
    port.events();
    port.open();
    assert_eq!(port.run(), Some(port.now + 30 * SECOND));
}

/// A response that makes no progress is aborted after 60 s, or sooner when few slots are free.
#[test]
fn stalled_responses_have_less_time_when_slots_are_short() {
    let mut port = Port::with(16);
    let mut stalled = Vec::new();
    for _ in 0..14 {
        let id = port.open();
        let request = b"GET /bytes/100000 HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(port.provider.write(id, request), request.len());
        stalled.push(id);
        port.run();
    }
    // Half of a quarter of the slots is free, so the time is halved.
    port.now = 30 * SECOND - 1_000_000;
    port.run();
    assert_eq!(port.service.server().counters.timeouts, 0);
    port.now = 30 * SECOND;
    port.run();
    assert_eq!(port.service.server().counters.timeouts, 14);
    let events = port.events();
    for id in stalled {
        assert!(events.contains(&ProviderEvent::Released(id)), "{events:?}");
    }
}

/// What the crate's documentation says of an idle connection.
#[test]
fn a_connections_state_is_small() {
    assert!(size_of::<crate::Connection>() <= 400);
}

#[test]
fn a_client_is_told_who_it_is() {
    let mut port = Port::new();
    let known = PeerIdentity::new([0xab; 32], "a.example");
    for (identity, expected) in [
        (None, "no client certificate\n".into()),
        (Some(known), format!("a.example\n{}\n", "ab".repeat(32))),
    ] {
        let id = port.open_for(identity);
        let answer = port.ask(id, "GET /whoami HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(answer.contains("Cache-Control: no-store\r\n"), "{answer}");
        assert!(answer.ends_with(&expected), "{answer}");
    }
}

#[test]
fn clients_that_are_not_named_are_refused_everything() {
    let mut port = Port::new();
    let clients = Clients::new(vec!["a.example".into()]);
    port.service.server().set_clients(clients);
    let [known, other] = ["a.example", "b.example"].map(|name| PeerIdentity::new([1; 32], name));
    for (identity, status) in [(Some(known), "200"), (Some(other), "403"), (None, "403")] {
        for request in [
            "GET /bytes/1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        ] {
            let id = port.open_for(identity);
            let answer = port.ask(id, request);
            assert_eq!(answer.get(9..12), Some(status), "{answer}");
            port.provider.reset(id);
            port.run();
            port.events();
        }
    }
}

/// Besides heads and pages, which are counted, and the buffers of the port.
#[test]
fn a_connection_takes_at_most_what_the_manifest_says() {
    let mut port = Port::new();
    let ids: Vec<ConnectionId> = (0..4)
        .map(|_| port.open_for(Some(PeerIdentity::new([1; 32], "a client"))))
        .collect();
    port.provider.flush();
    let ((), opened) = heap_meter::measure(|| _ = port.run());
    ids.iter().for_each(|id| {
        port.provider
            .write(*id, b"GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n");
    });
    let ((), answered) = heap_meter::measure(|| _ = port.run());
    let each = (opened.kept + answered.kept) / 4;
    let promised = heap_meter::size_in(MANIFEST, "streams", "per_connection").unwrap();
    let of_port = channel::streams::HEAP_PER_CONNECTION as isize;
    assert!(
        each > 0 && each + of_port <= promised as isize,
        "{each} bytes"
    );
}

#[test]
fn without_memory_a_connection_is_cut_and_the_next_one_served() {
    let mut port = Port::new();
    let free = std::rc::Rc::new(core::cell::Cell::new(false));
    let is_free = free.clone();
    let other = Port::new().service;
    let service = core::mem::replace(&mut port.service, other);
    port.service = service.with_memory(move |_| is_free.get());
    let refused = port.open();
    port.run();
    let events: Vec<_> = core::iter::from_fn(|| port.provider.next_event().unwrap()).collect();
    assert!(
        events.contains(&ProviderEvent::Released(refused)),
        "{events:?}"
    );
    assert_eq!(port.service.server().counters.refused, 1);
    free.set(true);
    let id = port.open();
    port.provider
        .write(id, b"GET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    port.run();
    assert_eq!(port.service.server().counters.responses[0], 1);
}
