//! Retransmission and congestion (RFC 6298, RFC 5681, RFC 6582, RFC 6675, RFC 3042).

use smoltcp::time::Duration;

use super::script::*;
use crate::segment::Sent;
use crate::tcp::State;
use crate::tcp::congestion::Controller;

const SEGMENT: u32 = MSS as u32;

/// The number of the first byte of a segment.
fn nth(segment: u32) -> u32 {
    1 + segment * SEGMENT
}

/// A connection that has sent ten segments.
fn ten(sack: bool) -> Script {
    let mut script = match sack {
        true => Script::with_sack(1 << 16),
        false => Script::plain(1 << 16),
    };
    let seen = script.write(&pattern(40 * MSS));
    assert_eq!(seen.len(), 10, "the initial window (RFC 6928)");
    script
}

#[test]
fn slow_start_sends_two_segments_for_each_acknowledged_one() {
    let mut script = ten(false);
    assert_eq!(
        spans(&script.take(ACK, 1, nth(1), &[])),
        [(nth(10), MSS), (nth(11), MSS)]
    );
    assert_eq!(script.take(ACK, 1, nth(3), &[]).len(), 4);
}

/// RFC 3042, RFC 5681, section 3.2.
#[test]
fn the_third_duplicate_acknowledgement_brings_the_lost_segment() {
    let mut script = ten(false);
    script.pass(50);
    // Two new segments while it is not clear.
    assert_eq!(spans(&script.take(ACK, 1, 1, &[])), [(nth(10), MSS)]);
    assert_eq!(spans(&script.take(ACK, 1, 1, &[])), [(nth(11), MSS)]);
    assert_eq!(spans(&script.take(ACK, 1, 1, &[])), [(nth(0), MSS)]);
    // Half of the flight: 6 segments; each further duplicate means that one has left.
    let sent: Vec<_> = (0..9).flat_map(|_| script.take(ACK, 1, 1, &[])).collect();
    assert_eq!(
        spans(&sent),
        [
            (nth(12), MSS),
            (nth(13), MSS),
            (nth(14), MSS),
            (nth(15), MSS),
            (nth(16), MSS),
            (nth(17), MSS)
        ]
    );
    // Everything that was sent before the loss has arrived.
    script.take(ACK, 1, nth(12), &[]);
    assert!(script.tcb.recovery.fast.is_none());
    assert!(script.tcb.congestion.window() <= 6 * SEGMENT);
}

/// RFC 6582, section 3.2, step 3.
#[test]
fn a_partial_acknowledgement_brings_the_next_lost_segment() {
    let mut script = ten(false);
    for _ in 0..3 {
        script.take(ACK, 1, 1, &[]);
    }
    let seen = script.take(ACK, 1, nth(4), &[]);
    assert_eq!(spans(&seen)[0], (nth(4), MSS));
    let seen = script.take(ACK, 1, nth(7), &[]);
    assert_eq!(spans(&seen)[0], (nth(7), MSS));
}

/// RFC 5681, section 2: these are no duplicates.
#[test]
fn window_updates_data_and_idle_acknowledgements_are_no_duplicates() {
    let mut script = ten(false);
    for window in 0..5 {
        script.window = 50_000 + window;
        assert_eq!(script.take(ACK, 1, 1, &[]), []);
    }
    for number in 0..5 {
        let seen = script.take(ACK, 1 + number, 1, b"x");
        assert!(seen.iter().all(|seen| seen.payload.is_empty()));
    }
    let mut script = Script::plain(4096);
    for _ in 0..5 {
        assert_eq!(script.take(ACK, 1, 1, &[]), []);
    }
}

/// RFC 6675: two lost segments are sent again in one round trip.
#[test]
fn sack_tells_what_is_lost() {
    let mut script = ten(true);
    // Segments 1 and 4 are lost.
    script.take(ACK, 1, nth(1), &[]);
    let sent: Vec<_> = [
        vec![(nth(2), nth(3))],
        vec![(nth(2), nth(4))],
        vec![(nth(5), nth(6)), (nth(2), nth(4))],
        vec![(nth(5), nth(7)), (nth(2), nth(4))],
        vec![(nth(5), nth(8)), (nth(2), nth(4))],
        vec![(nth(5), nth(9)), (nth(2), nth(4))],
        vec![(nth(5), nth(10)), (nth(2), nth(4))],
        vec![(nth(5), nth(11)), (nth(2), nth(4))],
        vec![(nth(5), nth(12)), (nth(2), nth(4))],
    ]
    .iter()
    .flat_map(|blocks| script.take_sack(nth(1), blocks))
    .collect();
    let again: Vec<_> = spans(&sent)
        .into_iter()
        .filter(|(seq, _)| *seq < nth(12))
        .collect();
    assert_eq!(again, [(nth(1), MSS), (nth(4), MSS)]);
    // Partial ACKs bring nothing else again.
    let seen = script.take_sack(nth(4), &[(nth(5), nth(12))]);
    assert!(spans(&seen).iter().all(|(seq, _)| *seq >= nth(12)));
}

/// Blocks that lie where nothing was sent, or whose end precedes the start, are ignored.
#[test]
fn impossible_sack_blocks_are_ignored() {
    let mut script = ten(true);
    let bad = [
        (nth(50), nth(60)),
        (nth(3), nth(2)),
        (1, nth(4)),
        (0, 0),
        (nth(3), nth(11)),
    ];
    for block in bad {
        for _ in 0..4 {
            assert_eq!(script.take_sack(1, &[block]), []);
        }
    }
    assert!(script.tcb.recovery.fast.is_none());
}

#[test]
fn blocks_received_out_of_order_are_reported() {
    let mut script = Script::with_sack(8192);
    let at = |seen: &Seen, index: usize| {
        seen.header.options.sack[index].map(|(start, end)| {
            let from = |number: crate::tcp::SequenceNumber| number.0 - PEER;
            (from(start), from(end))
        })
    };
    let seen = script.take(ACK, 11, 1, b"abc");
    assert_eq!((at(&seen[0], 0), at(&seen[0], 1)), (Some((11, 14)), None));
    let seen = script.take(ACK, 21, 1, b"abc");
    assert_eq!(
        (at(&seen[0], 0), at(&seen[0], 1)),
        (Some((21, 24)), Some((11, 14)))
    );
    let seen = script.take(ACK, 1, 1, &pattern(10));
    assert_eq!((seen[0].ack, at(&seen[0], 0)), (14, Some((21, 24))));
    let seen = script.take(ACK, 14, 1, &pattern(7));
    assert_eq!((seen[0].ack, at(&seen[0], 0)), (24, None));
}

/// RFC 6298, section 5; RFC 5681, section 3.1.
#[test]
fn a_timeout_sends_one_segment_again_and_waits_twice_as_long() {
    let mut script = ten(false);
    let begin = script.now;
    let seen = script.deadline();
    assert_eq!(script.now, begin + Duration::from_millis(200));
    assert_eq!(spans(&seen), [(1, MSS)]);
    let seen = script.deadline();
    assert_eq!(script.now, begin + Duration::from_millis(600));
    assert_eq!(spans(&seen), [(1, MSS)]);
    // Slow start from there on.
    let seen = script.take(ACK, 1, nth(1), &[]);
    assert_eq!(spans(&seen), [(nth(1), MSS), (nth(2), MSS)]);
    assert_eq!(script.tcb.take_retransmissions(), 4);
    // The ACK of everything: nothing is sent twice.
    let seen = script.take(ACK, 1, nth(10), &[]);
    assert_eq!(spans(&seen)[0].0, nth(10));
}

/// A time-out does not repeat bytes that the peer has reported.
#[test]
fn a_timeout_spares_what_was_reported() {
    let mut script = ten(true);
    script.take_sack(1, &[(nth(1), nth(3))]);
    script.deadline();
    let seen = script.take(ACK, 1, nth(3), &[]);
    assert_eq!(spans(&seen), [(nth(3), MSS), (nth(4), MSS), (nth(5), MSS)]);
    let mut script = ten(true);
    script.take_sack(1, &[(nth(2), nth(4))]);
    script.deadline();
    let seen = script.take_sack(nth(1), &[(nth(2), nth(4))]);
    assert_eq!(spans(&seen), [(nth(1), MSS), (nth(4), MSS)]);
}

/// Karn's algorithm (RFC 6298, section 3).
#[test]
fn the_round_trip_is_not_measured_from_what_was_sent_twice() {
    let mut script = Script::plain(8192);
    script.write(b"abc");
    script.deadline();
    script.pass(3);
    script.take(ACK, 1, 4, &[]);
    // Only the handshake's measurement counts, which took no time.
    assert_eq!(script.tcb.rtt.timeout(), Duration::from_millis(200));
    script.write(b"def");
    script.now += Duration::from_millis(500);
    script.take(ACK, 1, 7, &[]);
    assert!(script.tcb.rtt.timeout() > Duration::from_millis(200));
}

/// RFC 5681, section 4.1.
#[test]
fn after_a_pause_the_initial_window_counts() {
    let mut script = ten(false);
    for segment in 1..=40 {
        script.take(ACK, 1, nth(segment), &[]);
    }
    assert!(script.tcb.congestion.window() > 12 * SEGMENT);
    script.pass(2000);
    script.tcb.take_acknowledged();
    assert_eq!(script.write(&pattern(40 * MSS)).len(), 10);
}

/// The link was down: what was lost is sent at once when it is back, with short time-outs.
#[test]
fn a_link_that_is_back_brings_retransmission_at_once() {
    let mut script = ten(false);
    script.sent = Sent::Done;
    script.pass(8_000);
    script.tcb.resume(script.now);
    let seen = script.transmit();
    assert_eq!(spans(&seen)[0], (1, MSS));
    let begin = script.now;
    script.deadline();
    assert_eq!(script.now, begin + Duration::from_millis(200));
    // Also a SYN|ACK's.
    let mut script = Script::new(4096);
    let syn = script.segment(SYN, 0, 0, &[], plain());
    script.tcb.accept(&syn, &parameters(), script.now);
    script.transmit();
    script.pass(4_000);
    script.tcb.resume(script.now);
    assert_eq!(script.transmit()[0].flags, SYN_ACK);
}

#[test]
fn what_waits_for_a_neighbour_is_sent_when_it_is_found() {
    let mut script = Script::plain(4096);
    script.sent = Sent::Resolving;
    assert_eq!(script.write(b"abc").len(), 1);
    assert_eq!(script.transmit(), []);
    assert!(script.tcb.is_resolving());
    script.sent = Sent::Done;
    script.tcb.resolved();
    assert_eq!(spans(&script.transmit()), [(1, 3)]);
    // Without news it is tried again after a second.
    let mut script = Script::plain(4096);
    script.sent = Sent::Resolving;
    script.write(b"abc");
    script.sent = Sent::Done;
    assert_eq!(spans(&script.pass(1000)), [(1, 3)]);
}

/// A network without a route is as good as one that loses everything.
#[test]
fn what_cannot_be_sent_is_sent_again_later() {
    let mut script = Script::plain(4096);
    script.sent = Sent::Unreachable;
    assert_eq!(script.write(b"abc").len(), 1);
    assert_eq!(
        script
            .pass(119_000)
            .iter()
            .filter(|seen| seen.seq == 1)
            .count(),
        9
    );
    script.sent = Sent::Done;
    assert_eq!(script.tcb.state(), State::Established);
}

#[test]
fn without_a_buffer_nothing_is_taken_for_sent() {
    let mut script = Script::plain(4096);
    script.sent = Sent::NoBuffer;
    script.write(b"abc");
    script.sent = Sent::Done;
    let seen = script.transmit();
    assert_eq!(spans(&seen), [(1, 3)]);
    assert_eq!(script.tcb.take_retransmissions(), 0);
}
