//! Tests of the heap memory that a session takes: it stays within the bound in the manifest of the
//! program `tls`, and sessions are refused when memory is short.

use super::*;

#[global_allocator]
static HEAP: heap_meter::Meter = heap_meter::Meter;

const MANIFEST: &str = include_str!("../../../protections/tls/Cargo.toml");

/// Heap bytes for each connection at the port to the stack, from the manifest.
fn promised() -> isize {
    heap_meter::size_in(MANIFEST, "streams", "per_connection").unwrap() as isize
}

/// The client has sent more than the service reads, and the service more than the client reads.
#[test]
fn an_open_session_takes_at_most_what_the_manifest_says() {
    let mut world = World::new(4);
    let mut ones = vec![];
    for slot in 0..4 {
        let mut one = world.connect(slot);
        let service = world.handshake(&mut one);
        ones.push((one, service));
    }
    let idle = world.kept / 4;
    for (one, service) in &mut ones {
        one.client.writer().write_all(&[1; 64 * 1024]).unwrap();
        for _ in 0..8 {
            let mut ready = vec![];
            let room = world.tcp.writable(one.id);
            let mut limited = Limited {
                room,
                bytes: &mut ready,
            };
            one.client.write_tls(&mut limited).unwrap();
            world.tcp.write(one.id, &ready);
            world.service.write(*service, &[2; 16 * 1024]);
            world.poll();
        }
    }
    let full = world.kept / 4;
    std::println!("idle {idle}, full {full}, one poll {}", world.most);
    assert!(idle < full && full <= promised(), "{idle}, {full} bytes");
}

#[test]
fn one_step_of_a_handshake_fits_the_room_that_is_checked() {
    let mut world = World::new(1);
    let mut one = world.connect(0);
    world.handshake(&mut one);
    let room = crate::relay::HANDSHAKE_ROOM as isize;
    assert!(world.most <= room / 4, "{} bytes", world.most);
}

#[test]
fn without_memory_a_connection_is_cut_and_the_next_one_served() {
    let mut world = World::new(2);
    let free = Arc::new(core::sync::atomic::AtomicBool::new(false));
    let is_free = free.clone();
    let relay = core::mem::replace(&mut world.relay, ends(2, Options::default()).1);
    world.relay = relay.with_memory(move |_| is_free.load(core::sync::atomic::Ordering::Relaxed));
    world.connect(0);
    world.poll();
    assert_eq!(world.relay.counters().sessions, 0);
    assert_eq!(world.relay.counters().refused, 1);
    world.drain_tcp();
    free.store(true, core::sync::atomic::Ordering::Relaxed);
    let mut one = world.connect(0);
    world.handshake(&mut one);
    assert_eq!(world.relay.counters().handshakes, 1);
}

#[test]
fn without_memory_an_open_session_ends_with_an_alert() {
    let mut world = World::new(1);
    let free = Arc::new(core::sync::atomic::AtomicBool::new(true));
    let is_free = free.clone();
    let relay = core::mem::replace(&mut world.relay, ends(1, Options::default()).1);
    world.relay = relay.with_memory(move |_| is_free.load(core::sync::atomic::Ordering::Relaxed));
    let mut one = world.connect(0);
    let service = world.handshake(&mut one);
    free.store(false, core::sync::atomic::Ordering::Relaxed);
    one.client.writer().write_all(b"question").unwrap();
    world.run(&mut one);
    assert_eq!(world.relay.counters().refused, 1);
    assert_eq!(world.ends(), [("reset", service)]);
    assert_eq!(world.reports, ["failed"]);
    assert!(one.client.process_new_packets().is_err(), "the alert came");
}
