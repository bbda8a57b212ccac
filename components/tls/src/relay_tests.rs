//! The relay between both ends of real streams, with rustls' own client behind the TCP stack.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::io::{Read, Write};

use channel::streams::{
    ConnectionId, Consumer, ConsumerEvent, Layout, Opened, Provider, ProviderEvent,
};
use channel::testing::streams_pair;
use rustls::ClientConnection;
use rustls::time_provider::DefaultTimeProvider;

use crate::tests::{client, keys};
use crate::*;

#[path = "memory_tests.rs"]
mod memory;

const SECOND: u64 = 1_000_000_000;

#[test]
fn data_flows_both_ways_and_both_ends_close_in_order() {
    let mut world = World::new(4);
    let mut one = world.connect(0);
    let service = world.handshake(&mut one);
    one.client.writer().write_all(b"question").unwrap();
    world.run(&mut one);
    let mut buffer = [0; 64];
    let count = world.service.read(service, &mut buffer);
    assert_eq!(&buffer[..count], b"question");
    world.service.write(service, b"answer");
    world.service.close(service);
    world.run(&mut one);
    assert_eq!(one.received, b"answer");
    assert!(world.tcp.at_end(one.id), "close_notify is followed by FIN");
    one.client.send_close_notify();
    world.run(&mut one);
    world.tcp.finish(one.id);
    world.tcp.closed(one.id);
    world.run(&mut one);
    assert_eq!(world.ends(), [("closed", service)]);
    assert_eq!(world.relay.counters().sessions, 0);
    assert_eq!(world.relay.counters().handshakes, 1);
}

#[test]
fn a_client_that_closes_first_is_answered_and_costs_nothing_meanwhile() {
    let mut world = World::new(2);
    let mut one = world.connect(0);
    let service = world.handshake(&mut one);
    one.client.writer().write_all(b"the last question").unwrap();
    one.client.send_close_notify();
    world.run(&mut one);
    assert_eq!(world.service.readable(service), 17);
    // Nobody moves now: the relay has to come to rest, or `poll` here would not return.
    world.poll();
    world.service.consume(service, 17);
    assert!(world.service.at_end(service));
    world.service.write(service, b"the last answer");
    world.service.close(service);
    world.run(&mut one);
    assert_eq!(one.received, b"the last answer");
    assert!(world.tcp.at_end(one.id));
}

#[test]
fn slots_are_used_again() {
    let mut world = World::new(2);
    for round in 0..20 {
        let mut one = world.connect(round % 2);
        let service = world.handshake(&mut one);
        world.service.abort(service);
        world.service.release(service);
        world.run(&mut one);
        assert_eq!(world.relay.counters().sessions, 0);
        world.drain_tcp();
    }
    assert_eq!(world.relay.counters().handshakes, 20);
}

#[test]
fn a_session_waits_for_a_slot_of_the_service() {
    let mut world = World::new(2);
    let (mut one, mut two) = (world.connect(0), world.connect(1));
    let first = world.handshake(&mut one);
    let second = world.handshake(&mut two);
    // The TCP connection of the first goes, and a third comes before the service has let go of its slot.
    world.tcp.reset(one.id);
    world.run(&mut two);
    world.drain_tcp();
    let mut three = world.connect(0);
    for _ in 0..8 {
        world.run(&mut three);
    }
    assert!(!three.client.is_handshaking());
    assert_eq!(world.opened(), []);
    assert_eq!(world.ends(), [("reset", first)]);
    world.service.release(first);
    world.run(&mut three);
    assert_eq!(world.opened().len(), 1);
    assert_ne!(first, second);
}

#[test]
fn silent_clients_lose_their_slot() {
    let mut world = World::new(2);
    world.connect(0);
    world.poll();
    assert_eq!(world.relay.counters().sessions, 1);
    world.now += 11 * SECOND;
    world.poll();
    assert_eq!(world.relay.counters().sessions, 0);
    assert_eq!(world.relay.counters().failed_handshakes, 1);
    assert_eq!(world.reports, ["timed out"]);
}

#[test]
fn an_end_without_close_notify_is_reported_and_resets_the_service() {
    let mut world = World::new(2);
    let mut one = world.connect(0);
    let service = world.handshake(&mut one);
    one.client.writer().write_all(b"half a requ").unwrap();
    world.run(&mut one);
    world.tcp.finish(one.id);
    world.run(&mut one);
    assert_eq!(world.reports.last(), Some(&"truncated"));
    assert_eq!(world.ends(), [("reset", service)]);
}

#[test]
fn a_failed_handshake_ends_with_an_alert_and_a_fin() {
    let mut world = World::new(2);
    let mut one = world.connect(0);
    world.tcp.write(one.id, b"GET / HTTP/1.1\r\n\r\n");
    world.poll();
    let mut alert = [0; 64];
    assert_eq!(world.tcp.read(one.id, &mut alert), 7);
    assert_eq!(alert[..6], [21, 3, 3, 0, 2, 2]);
    world.poll();
    assert!(world.tcp.at_end(one.id));
    assert_eq!(world.reports, ["failed"]);
    world.now += 11 * SECOND;
    world.run(&mut one);
    assert_eq!(world.relay.counters().sessions, 0);
}

#[test]
fn a_service_that_does_not_read_holds_up_its_own_connection_only() {
    let mut world = World::new(2);
    let (mut one, mut two) = (world.connect(0), world.connect(1));
    let _stuck = world.handshake(&mut one);
    let lively = world.handshake(&mut two);
    one.client.set_buffer_limit(None);
    one.client.writer().write_all(&[7; 200_000]).unwrap();
    for _ in 0..50 {
        world.run(&mut one);
    }
    assert!(one.client.wants_write(), "the window should be closed");
    two.client.writer().write_all(b"still here").unwrap();
    world.run(&mut two);
    assert_eq!(world.service.readable(lively), 10);
}

#[test]
fn ticket_keys_change_on_time_though_nobody_connects() {
    let (_tcp, mut relay, _service) = ends(1, Options::default());
    let mut turn = |now| relay.poll(now, &mut |_, _| {}).unwrap();
    let quiet = |deadline, wipe| Turn {
        more: false,
        deadline: Some(deadline),
        wipe,
    };
    assert_eq!(turn(SECOND), quiet(3601 * SECOND, true));
    assert_eq!(turn(3600 * SECOND), quiet(3601 * SECOND, false));
    assert_eq!(turn(3601 * SECOND), quiet(7201 * SECOND, true));
    assert_eq!(relay.counters().tickets.keys, 2);
}

/// One client and its TCP connection.
struct One {
    client: ClientConnection,
    id: ConnectionId,
    received: Vec<u8>,
}

/// The TCP stack's and the service's end of a relay.
struct World {
    tcp: Provider,
    relay: Relay,
    service: Consumer,
    events: Vec<ConsumerEvent>,
    reports: Vec<&'static str>,
    now: u64,
    /// The relay's allocations: the bytes it kept in total, and the largest temporary allocation of
    /// one poll.
    kept: isize,
    most: isize,
}

impl World {
    fn new(connections: usize) -> Self {
        let (tcp, relay, service) = ends(connections, Options::default());
        Self {
            tcp,
            relay,
            service,
            events: vec![],
            reports: vec![],
            now: SECOND,
            kept: 0,
            most: 0,
        }
    }

    fn connect(&mut self, slot: usize) -> One {
        let peer = SocketAddr::from(([10, 0, 2, 2], 4000 + slot as u16));
        let opened = Opened {
            peer,
            local_port: 443,
            token: None,
            identity: None,
            confidential: false,
        };
        let id = self.tcp.open(slot, &opened).unwrap();
        One {
            client: client(None, &[]),
            id,
            received: vec![],
        }
    }

    fn handshake(&mut self, one: &mut One) -> ConnectionId {
        for _ in 0..8 {
            self.run(one);
        }
        assert!(!one.client.is_handshaking());
        let opened = self.opened();
        assert_eq!(opened.len(), 1);
        opened[0]
    }

    /// Carries bytes between the client and the relay until both are quiet.
    fn run(&mut self, one: &mut One) {
        for _ in 0..20 {
            let mut ready = vec![];
            while one.client.wants_write() && self.tcp.writable(one.id) > 0 {
                ready.clear();
                let mut limited = Limited {
                    room: self.tcp.writable(one.id),
                    bytes: &mut ready,
                };
                if one.client.write_tls(&mut limited).unwrap_or(0) == 0 {
                    break;
                }
                assert_eq!(self.tcp.write(one.id, &ready), ready.len());
            }
            self.poll();
            let mut buffer = vec![0; 32 * 1024];
            let count = self.tcp.read(one.id, &mut buffer);
            let mut bytes = &buffer[..count];
            while !bytes.is_empty() && one.client.read_tls(&mut bytes).unwrap() > 0 {
                let _ = one.client.process_new_packets();
                let _ = one.client.reader().read_to_end(&mut one.received);
            }
        }
    }

    fn poll(&mut self) {
        self.tcp.flush();
        self.service.flush();
        let reports = &mut self.reports;
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 1000, "the relay does not come to rest");
            let mut report = |_: SocketAddr, report: Report<'_>| match report {
                Report::Opened(_) => {}
                Report::Failed(_) => reports.push("failed"),
                Report::TimedOut => reports.push("timed out"),
                Report::Truncated => reports.push("truncated"),
            };
            let (turn, used) = heap_meter::measure(|| self.relay.poll(self.now, &mut report));
            self.kept += used.kept;
            self.most = self.most.max(used.most);
            let turn = turn.unwrap();
            if !turn.more && self.relay.sleep() {
                break;
            }
        }
        while let Some(event) = self.service.next_event().unwrap() {
            self.events.push(event);
        }
        self.service.sleep();
        self.drain_tcp();
    }

    fn opened(&mut self) -> Vec<ConnectionId> {
        let (opened, rest) = self
            .events
            .drain(..)
            .partition::<Vec<_>, _>(|event| matches!(event, ConsumerEvent::Opened(..)));
        self.events = rest;
        let id = |event: &ConsumerEvent| match event {
            ConsumerEvent::Opened(id, _) => Some(*id),
            _ => None,
        };
        opened.iter().filter_map(id).collect()
    }

    fn ends(&self) -> Vec<(&'static str, ConnectionId)> {
        let end = |event: &ConsumerEvent| match event {
            ConsumerEvent::Closed(id) => Some(("closed", *id)),
            ConsumerEvent::Reset(id) => Some(("reset", *id)),
            _ => None,
        };
        self.events.iter().filter_map(end).collect()
    }

    /// What the stack does with the events of its end.
    fn drain_tcp(&mut self) {
        while let Some(event) = self.tcp.next_event().unwrap() {
            if let ProviderEvent::Aborted(id) = event {
                self.tcp.reset(id);
            }
        }
        self.tcp.sleep();
    }
}

/// The TCP stack's end, a relay and the service's end.
pub(crate) fn ends(connections: usize, options: Options) -> (Provider, Relay, Consumer) {
    let layout = Layout::new(connections, 16 * 1024).unwrap();
    let (tcp, below, _) = streams_pair(layout).unwrap();
    let (above, service, _) = streams_pair(layout).unwrap();
    let time = Arc::new(DefaultTimeProvider);
    let server = server(keys(vault::Kind::EcdsaP256), options, time).unwrap();
    (tcp, Relay::new(server, below, above), service)
}

/// Takes no more bytes than the ring has room for.
struct Limited<'a> {
    room: usize,
    bytes: &'a mut Vec<u8>,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = bytes.len().min(self.room - self.bytes.len());
        self.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
