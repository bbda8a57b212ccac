//! Frames, drivers and consumers that mean harm.

use proptest::prelude::*;

use super::{converse, pattern};
use crate::settings::{Ipv4Setting, Ipv6Setting, Settings};
use crate::stack::Notice;
use crate::testing::world::{Program, World, settings};
use crate::testing::{PEER_MAC, STACK, frames};

/// Valid frames of every kind that the stack understands.
fn seeds() -> Vec<Vec<u8>> {
    let prefix = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let echo = smoltcp::wire::Icmpv4Repr::EchoRequest {
        ident: 7,
        seq_no: 9,
        data: b"abcdefgh",
    };
    vec![
        frames::syn(40000, 80),
        frames::arp_reply(PEER_MAC),
        frames::arp_request(PEER_MAC),
        frames::router_advertisement(prefix, 64),
        frames::icmpv4(&echo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Frames with some bytes changed, cut or lengthened: nothing panics, and the service goes on.
    #[test]
    fn damaged_frames_do_no_damage(
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec((0usize..120, any::<u8>()), 0..6), 0usize..1600),
            1..60,
        ),
    ) {
        let settings = Settings { ipv6: Ipv6Setting::Automatic, ..settings() };
        let mut world = World::with(settings, &[(Program::Echo, 80, 4, 1024)]);
        world.run(1);
        for (seed, changes, length) in &damage {
            let mut frame = seed.get(&seeds()).clone();
            for (position, value) in changes {
                if let Some(byte) = frame.get_mut(*position) {
                    *byte = *value;
                }
            }
            if *length > 0 {
                frame.resize(*length, 0xa5);
            }
            world.inject(&frame);
        }
        world.run(20_000);
        let bytes = pattern(2000);
        prop_assert!(converse(&mut world, 45000, &bytes) == bytes);
    }

    /// DHCP clients read frames before there is an address.
    #[test]
    fn noise_before_there_is_an_address_does_no_damage(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..40),
    ) {
        let settings = Settings { ipv4: Ipv4Setting::Dhcp, ipv6: Ipv6Setting::Automatic, ..Settings::NONE };
        let mut world = World::with(settings, &[(Program::Echo, 80, 4, 1024)]);
        world.run(1);
        for frame in &noise {
            world.inject(frame);
        }
        world.run(1000);
        prop_assert!(world.stack.counters().frames_received as usize >= noise.len());
    }
}

#[test]
fn dropped_frames_are_counted_by_reason() {
    let mut world = World::new(Program::Echo, 1, 1024);
    world.run(1);
    let mut fragment = frames::syn(40000, 80);
    fragment[20] = 0x20;
    let mut martian = frames::syn(40000, 80);
    martian[26] = 127;
    frames::mend(&mut fragment);
    frames::mend(&mut martian);
    world.inject(&fragment);
    world.inject(&martian);
    world.inject(&fragment[..20]);
    world.settle();
    let counters = world.stack.counters();
    assert_eq!(
        (
            counters.dropped_fragment,
            counters.dropped_martian,
            counters.dropped_malformed
        ),
        (1, 1, 1)
    );
}

/// `Ipv4Setting` is what decides whether the fixed address is there.
#[test]
fn without_addresses_nothing_is_answered() {
    let settings = Settings {
        ipv4: Ipv4Setting::Off,
        ipv6: Ipv6Setting::Off,
        ..Settings::NONE
    };
    let mut world = World::with(settings, &[(Program::Echo, 80, 1, 1024)]);
    for frame in seeds() {
        world.inject(&frame);
    }
    world.run(1000);
    assert_eq!(world.stack.counters().frames_sent, 0);
}

/// A consumer that fills its memory with anything loses its connections; the others do not notice.
#[test]
fn a_consumer_gone_mad_harms_nobody_else() {
    for word in [
        u64::MAX,
        1,
        0x0000_0001_ffff_ffff,
        0xffff_ffff_0000_0001,
        0x5a5a_5a5a_5a5a_5a5a,
    ] {
        let services = [(Program::Sleep, 81, 4, 1024), (Program::Echo, 80, 4, 1024)];
        let mut world = World::with(settings(), &services);
        let mad = world.host.connect(40000, (STACK.into(), 81));
        let other = world.host.connect(40001, (STACK.into(), 80));
        world.run(100);
        assert!(world.host.tcp(mad).may_send() && world.host.tcp(other).may_send());
        // Behind the word with its epoch, which would say that it has started over.
        world.services[0].memory.scribble_from(1, word);
        world.host.tcp(mad).send_slice(b"anybody there?").unwrap();
        world.run(1000);
        let notices: Vec<_> = std::iter::from_fn(|| world.stack.notice()).collect();
        let named = Notice::ConsumerMisbehaved("service81".into());
        assert!(notices.contains(&named), "{word:x}: {notices:?}");
        assert!(
            !world.host.tcp(mad).is_open(),
            "{word:x}: its connection is reset"
        );
        let refused = world.host.connect(40002, (STACK.into(), 81));
        world.run(100);
        assert!(
            !world.host.tcp(refused).is_open(),
            "{word:x}: nobody listens there any more"
        );
        assert!(world.host.tcp(other).may_send());
        let bytes = pattern(5000);
        assert!(converse(&mut world, 45000, &bytes) == bytes);
    }
}

/// A consumer whose epoch changes has started over, as far as anybody can tell: its connections are reset, and until it
/// joins there are no new ones.
#[test]
fn a_consumer_whose_epoch_changes_has_no_connections() {
    let services = [(Program::Sleep, 81, 4, 1024), (Program::Echo, 80, 4, 1024)];
    let mut world = World::with(settings(), &services);
    let mut all: Vec<_> = (0..4)
        .map(|port| world.host.connect(40000 + port, (STACK.into(), 81)))
        .collect();
    world.run(100);
    for word in [0, 1, u64::MAX] {
        world.services[0].memory.scribble(word);
        all.push(
            world
                .host
                .connect(41000 + (word as u16 & 7), (STACK.into(), 81)),
        );
        for handle in &all {
            let socket = world.host.tcp(*handle);
            let _ = socket.send_slice(b"anybody there?");
        }
        world.run(1000);
        for handle in &all {
            assert!(!world.host.tcp(*handle).is_open(), "{word:x}");
        }
    }
    let bytes = pattern(5000);
    assert!(converse(&mut world, 45000, &bytes) == bytes);
}

/// A driver that does the same ends the network and nothing else. The first of its words says what life it leads and which one
/// of the stack's it has joined: one that has joined none has told the stack nothing that could be wrong.
#[test]
fn a_driver_gone_mad_is_survived() {
    for (word, misbehaved) in [
        (u64::MAX, 0),
        (1, 0),
        (0x0000_0001_ffff_ffff, 1),
        (0xffff_ffff_0000_0001, 1),
        (0x5a5a_5a5a_5a5a_5a5a, 0),
    ] {
        for (first, misbehaved) in [(0, misbehaved), (1, 1)] {
            let mut world = World::new(Program::Echo, 4, 1024);
            world.host.connect(40000, (STACK.into(), 80));
            world.run(100);
            world.driver_memory.scribble_from(first, word);
            for second in 1..200 {
                world.stack.run(world.now + second * 1_000_000_000);
            }
            let counters = world.stack.counters();
            assert_eq!(counters.misbehaved, misbehaved, "{word:x} from {first}");
            assert_eq!(
                counters.connections_open, 0,
                "{word:x}: its peer was silent"
            );
        }
    }
}
