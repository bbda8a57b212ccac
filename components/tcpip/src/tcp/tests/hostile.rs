//! Forged and confused segments (RFC 5961, RFC 7323, section 5).

use proptest::prelude::*;
use smoltcp::time::Duration;

use super::script::*;
use crate::tcp::header::Timestamps;
use crate::tcp::{End, Flags, Options, SequenceNumber, State};

/// RFC 5961, section 3.2; RFC 9293, section 3.10.7.4.
#[test]
fn only_a_reset_with_the_next_number_counts() {
    let mut script = Script::plain(4096);
    for inside in [2, 101, 4096] {
        let seen = script.take(RST, inside, 0, &[]);
        assert_eq!(
            (seen.len(), seen[0].flags, seen[0].seq, seen[0].ack),
            (1, ACK, 1, 1)
        );
    }
    for outside in [0, 4097, 100_000] {
        assert_eq!(script.take(RST, outside, 0, &[]), []);
    }
    assert_eq!(script.tcb.state(), State::Established);
    assert_eq!(script.take(RST, 1, 0, &[]), []);
    assert_eq!(
        (script.tcb.state(), script.tcb.end()),
        (State::Closed, Some(End::Reset))
    );
}

/// RFC 5961, section 4.2.
#[test]
fn a_syn_on_a_connection_is_challenged() {
    let mut script = Script::plain(4096);
    for (flags, seq) in [(SYN, 1), (SYN, 0), (SYN, 100), (SYN, 100_000), (SYN_ACK, 5)] {
        let seen = script.take(flags, seq, 1, &[]);
        assert_eq!(
            (seen.len(), seen[0].flags, seen[0].seq, seen[0].ack),
            (1, ACK, 1, 1)
        );
        assert_eq!(script.tcb.state(), State::Established);
    }
}

/// RFC 5961, section 7.
#[test]
fn challenges_are_limited() {
    let mut script = Script::plain(4096);
    let challenged = |script: &mut Script| -> usize {
        (0..100).map(|_| script.take(SYN, 5, 1, &[]).len()).sum()
    };
    assert_eq!(challenged(&mut script), 10);
    script.now += Duration::from_secs(5);
    assert_eq!(challenged(&mut script), 10);
}

/// RFC 5961, section 5.2.
#[test]
fn data_with_an_impossible_acknowledgement_is_dropped_and_answered() {
    let mut script = Script::plain(4096);
    script.write(b"abc");
    for ack in [5, 10_000, 0u32.wrapping_sub(60_001)] {
        let seen = script.take(ACK, 1, ack, b"forged");
        assert_eq!(
            (seen.len(), seen[0].flags, seen[0].ack),
            (1, ACK, 1),
            "{ack}"
        );
        assert_eq!(script.tcb.take_received(), 0);
    }
    // An old one within the largest window is fine.
    script.take(ACK, 1, 0u32.wrapping_sub(50_000), b"old");
    assert_eq!(script.tcb.take_received(), 3);
    script.take(ACK, 4, 4, b"new");
    assert_eq!(script.tcb.take_received(), 3);
}

#[test]
fn segments_outside_of_the_window_are_answered_and_dropped() {
    let mut script = Script::plain(1024);
    let bytes = pattern(2000);
    for seq in [1025, 5000, 0u32.wrapping_sub(5000)] {
        let seen = script.take(ACK, seq, 1, &bytes[..10]);
        assert_eq!((seen.len(), seen[0].ack), (1, 1));
    }
    // Keep-alive probes with a byte and without.
    assert_eq!(script.take(ACK, 0, 1, b"x").len(), 1);
    assert_eq!(script.take(ACK, 0, 1, b"").len(), 1);
    // Of a segment that overlaps the window, the part inside is taken.
    script.take(ACK, 0u32.wrapping_sub(99), 1, &bytes);
    assert_eq!(script.tcb.take_received(), 1024);
    assert!(script.rings.read(0, 1024) == bytes[100..1124]);
}

#[test]
fn segments_without_ack_are_dropped() {
    let mut script = Script::plain(4096);
    assert_eq!(script.take(Flags::default(), 1, 0, b"abc"), []);
    assert_eq!(script.take(Flags::FIN, 1, 0, b""), []);
    assert_eq!(script.take(Flags::PSH, 1, 0, b"abc"), []);
    assert_eq!(
        (script.tcb.take_received(), script.tcb.state()),
        (0, State::Established)
    );
}

fn stamped(value: u32) -> Script {
    Script::open(
        4096,
        Options {
            timestamps: Some(Timestamps { value, echo: 0 }),
            ..plain()
        },
    )
}

/// RFC 7323, sections 3.2 and 5.3.
#[test]
fn an_old_timestamp_makes_a_segment_an_old_one() {
    let mut script = stamped(5);
    script.timestamp = Some(10);
    script.take(ACK, 1, 1, b"abc");
    script.timestamp = Some(9);
    let seen = script.take(ACK, 4, 1, b"old");
    assert_eq!((seen.len(), seen[0].ack), (1, 4));
    script.timestamp = None;
    assert_eq!(script.take(ACK, 4, 1, b"none"), []);
    assert_eq!(script.tcb.take_received(), 3);
    // A reset needs none (section 5.2).
    script.take(RST, 4, 0, &[]);
    assert_eq!(script.tcb.state(), State::Closed);
}

/// RFC 7323, section 5.5: after 24 days the clock says nothing.
#[test]
fn a_timestamp_is_forgotten_after_weeks() {
    let mut script = stamped(5);
    script.now += Duration::from_secs(25 * 24 * 3600);
    script.timestamp = Some(0x8000_0100);
    script.take(ACK, 1, 1, b"abc");
    assert_eq!(script.tcb.take_received(), 3);
}

/// RFC 7323, section 4.3: the echo is the timestamp of the first segment that is not acknowledged.
#[test]
fn the_echo_is_of_the_first_segment_of_several() {
    let mut script = stamped(5);
    script.timestamp = Some(20);
    assert_eq!(script.take(ACK, 1, 1, b"abc"), []);
    script.timestamp = Some(30);
    let seen = script.take(ACK, 4, 1, b"def");
    assert_eq!(seen[0].header.options.timestamps.unwrap().echo, 20);
    // Out of order: it is not taken over.
    script.timestamp = Some(40);
    let seen = script.take(ACK, 10, 1, b"jkl");
    assert_eq!(seen[0].header.options.timestamps.unwrap().echo, 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever arrives, nothing panics, the work is bounded, and only bytes within the window are taken.
    #[test]
    fn any_segments_do_no_damage(
        sack: bool,
        timestamps: bool,
        segments in prop::collection::vec(
            (0u8..32, -3000i64..3000, -3000i64..3000, any::<u16>(), 0usize..1500, any::<u32>(), 0u64..70_000),
            1..60,
        ),
    ) {
        let options = Options {
            sack_permitted: sack,
            window_shift: Some(14),
            timestamps: timestamps.then_some(Timestamps { value: 5, echo: 0 }),
            ..plain()
        };
        let mut script = Script::open(2048, options);
        for (index, (flags, seq, ack, window, length, noise, time)) in segments.iter().enumerate() {
            let known = [Flags::FIN, Flags::SYN, Flags::RST, Flags::PSH, Flags::ACK];
            let mut all = if index % 2 == 0 { Flags::ACK } else { Flags::default() };
            for (bit, flag) in known.iter().enumerate() {
                if flags >> bit & 1 == 1 {
                    all = all.with(*flag);
                }
            }
            script.window = *window;
            let payload = pattern(*length);
            let at = |offset: u32| SequenceNumber(OWN) + (*ack as u32).wrapping_add(offset);
            let options = Options {
                timestamps: (noise % 3 > 0).then_some(Timestamps { value: 5 + noise % 7, echo: *noise }),
                sack: [Some((at(0), at(noise % 3000))), Some((at(noise % 999), at(*noise))), None, None],
                ..Options::default()
            };
            let segment = script.segment(all, *seq as u32, *ack as u32, &payload, options);
            script.react(&segment);
            prop_assert!(script.transmit().len() < 60);
            if noise % 2 == 0 {
                script.write(&payload[..length / 2]);
            }
            if noise % 5 == 0 {
                let received = script.tcb.take_received();
                script.tcb.consume(received);
                script.tcb.take_acknowledged();
                script.transmit();
            }
            prop_assert!(script.tcb.unread() <= 2048);
            prop_assert!(script.pass(time / 8).len() < 60);
            if noise % 97 == 0 {
                script.tcb.close();
            }
            if noise % 89 == 0 {
                script.tcb.resume(script.now);
            }
        }
    }
}
