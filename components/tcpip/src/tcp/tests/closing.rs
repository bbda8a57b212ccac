//! Ends of connections.

use smoltcp::time::Duration;

use super::script::*;
use crate::tcp::{End, State};

#[test]
fn the_own_side_closes_first() {
    let mut script = Script::plain(4096);
    script.write(b"last");
    script.tcb.close();
    let seen = script.transmit();
    assert_eq!((seen[0].flags, seen[0].seq), (FIN_ACK, 5));
    assert_eq!(script.tcb.state(), State::FinWait1);
    assert_eq!(script.take(ACK, 1, 6, &[]), []);
    assert_eq!(script.tcb.state(), State::FinWait2);
    assert_eq!(script.tcb.take_acknowledged(), 4);
    // The other direction is open.
    script.take(ACK, 1, 6, b"more");
    assert_eq!(script.tcb.take_received(), 4);
    let seen = script.take(FIN_ACK, 5, 6, &[]);
    assert_eq!(script.tcb.state(), State::TimeWait);
    assert!(script.tcb.is_finished());
    assert_eq!((seen[0].seq, seen[0].ack), (6, 6));
    // The FIN comes again, and TIME-WAIT begins again.
    script.pass(9_000);
    assert_eq!(script.take(FIN_ACK, 5, 6, &[]).len(), 1);
    script.pass(9_000);
    assert_eq!(script.tcb.state(), State::TimeWait);
    script.pass(1_000);
    assert_eq!(
        (script.tcb.state(), script.tcb.end()),
        (State::Closed, Some(End::Orderly))
    );
    assert!(script.tcb.is_silent());
}

#[test]
fn the_peer_closes_first() {
    let mut script = Script::plain(4096);
    let seen = script.take(FIN_ACK, 1, 1, b"bye");
    assert_eq!(seen[0].ack, 5);
    assert_eq!(script.tcb.state(), State::CloseWait);
    assert_eq!(spans(&script.write(b"rest")), [(1, 4)]);
    script.tcb.close();
    assert_eq!(script.tcb.state(), State::LastAck);
    assert_eq!(script.transmit()[0].flags, FIN_ACK);
    script.take(ACK, 5, 6, &[]);
    assert_eq!(
        (script.tcb.state(), script.tcb.end()),
        (State::Closed, Some(End::Orderly))
    );
}

/// RFC 9293, section 3.6, figure 13.
#[test]
fn both_sides_close_at_once() {
    let mut script = Script::plain(4096);
    script.tcb.close();
    script.transmit();
    let seen = script.take(FIN_ACK, 1, 1, &[]);
    assert_eq!(script.tcb.state(), State::Closing);
    assert_eq!(seen[0].ack, 2);
    script.take(ACK, 2, 2, &[]);
    assert_eq!(script.tcb.state(), State::TimeWait);
}

#[test]
fn one_segment_may_acknowledge_the_fin_and_bring_the_other() {
    let mut script = Script::plain(4096);
    script.tcb.close();
    script.transmit();
    script.take(FIN_ACK, 1, 2, &[]);
    assert_eq!(script.tcb.state(), State::TimeWait);
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut script = Script::plain(4096);
    script.tcb.close();
    assert_eq!(script.transmit().len(), 1);
    // At the third duplicate ACK, and at each time-out.
    let again: Vec<_> = (0..5).flat_map(|_| script.take(ACK, 1, 1, &[])).collect();
    assert_eq!((again.len(), again[0].flags), (1, FIN_ACK));
    for _ in 0..3 {
        let seen = script.deadline();
        assert_eq!((seen[0].flags, seen[0].seq), (FIN_ACK, 1));
    }
}

/// RFC 9293, section 3.10.7.4: what lies beyond the window is cut off, and the FIN with it.
#[test]
fn a_fin_beyond_the_window_is_cut_off() {
    let mut script = Script::plain(1024);
    let bytes = pattern(1025);
    for length in [1025, 1024] {
        let seen = script.take(FIN_ACK, 1, 1, &bytes[..length]);
        assert_eq!((seen[0].ack, seen[0].window), (1025, 0));
        assert_eq!(script.tcb.state(), State::Established);
    }
    assert_eq!(script.tcb.take_received(), 1024);
    script.tcb.consume(1024);
    assert_eq!(script.transmit()[0].window, 1024);
    let seen = script.take(FIN_ACK, 1025, 1, &bytes[1024..]);
    assert_eq!(seen[0].ack, 1027);
    assert_eq!(script.tcb.take_received(), 1);
    assert!(script.tcb.is_finished());
}

#[test]
fn a_fin_behind_a_gap_waits_for_what_is_missing() {
    let mut script = Script::plain(4096);
    let bytes = pattern(200);
    let seen = script.take(FIN_ACK, 101, 1, &bytes[100..]);
    assert_eq!(seen[0].ack, 1);
    assert!(!script.tcb.is_finished());
    let seen = script.take(ACK, 1, 1, &bytes[..100]);
    assert_eq!(seen[0].ack, 202);
    assert!(script.tcb.is_finished());
    assert_eq!(script.tcb.take_received(), 200);
    assert!(script.rings.read(0, 200) == bytes);
}

#[test]
fn a_fin_behind_repeated_bytes_counts() {
    let mut script = Script::plain(4096);
    script.take(ACK, 1, 1, b"abc");
    assert_eq!(script.take(FIN_ACK, 1, 1, b"abc")[0].ack, 5);
    assert!(script.tcb.is_finished());
}

#[test]
fn nothing_after_the_fin_is_taken() {
    let mut script = Script::plain(4096);
    script.take(ACK, 4, 1, b"later");
    script.take(FIN_ACK, 1, 1, b"abc");
    assert_eq!(script.tcb.take_received(), 3);
    assert!(script.tcb.is_finished());
    let seen = script.take(ACK, 5, 1, b"more");
    assert_eq!((seen[0].ack, script.tcb.take_received()), (5, 0));
}

#[test]
fn an_aborted_connection_sends_one_reset() {
    let mut script = Script::plain(4096);
    script.write(b"abc");
    script.tcb.abort();
    assert!(!script.tcb.is_silent());
    let seen = script.transmit();
    assert_eq!(
        (seen.len(), seen[0].flags, seen[0].seq),
        (1, RST.with(ACK), 4)
    );
    assert!(script.tcb.is_silent());
    assert_eq!(script.tcb.end(), Some(End::Aborted));
}

#[test]
fn a_silent_peer_is_probed_and_given_up() {
    let mut script = Script::plain(4096);
    assert_eq!(script.pass(44_000), []);
    let seen = script.pass(1_000);
    assert_eq!((seen.len(), seen[0].flags, seen[0].seq), (1, ACK, 0));
    assert_eq!(seen[0].payload, []);
    script.take(ACK, 1, 1, &[]);
    assert_eq!(script.pass(45_000).len(), 1);
    let seen = script.pass(74_000);
    assert_eq!(seen.len(), 1);
    let seen = script.pass(1_000);
    assert_eq!(seen[0].flags, RST.with(ACK));
    assert_eq!(script.tcb.end(), Some(End::TimedOut));
}

/// Data that is never acknowledged is sent again for the user timeout, each time later.
#[test]
fn a_peer_that_vanishes_is_given_up_after_two_minutes() {
    let mut script = Script::plain(4096);
    script.pass(10_000);
    script.take(ACK, 1, 1, &[]);
    script.write(b"abc");
    let seen = script.pass(119_000);
    assert!(seen.iter().filter(|seen| seen.seq == 1).count() >= 6);
    assert_eq!(script.tcb.state(), State::Established);
    script.pass(2_000);
    assert_eq!(script.tcb.end(), Some(End::TimedOut));
}

/// RFC 9293, section 3.6.1; RFC 6191.
#[test]
fn a_later_syn_may_end_time_wait() {
    let mut script = Script::plain(4096);
    script.tcb.close();
    script.transmit();
    script.take(FIN_ACK, 1, 2, &[]);
    let syn = |seq| script.segment(SYN, seq, 0, &[], plain());
    assert!(script.tcb.yields_to(&syn(100)));
    assert!(!script.tcb.yields_to(&syn(1)));
    let old = syn(1);
    assert_eq!(
        script.take_with(SYN, 1, 0, &[], old.header.options).len(),
        1
    );
    assert_eq!(script.tcb.state(), State::TimeWait);
}

#[test]
fn time_does_not_end_a_connection_whose_timers_slept() {
    let mut script = Script::plain(4096);
    // The machine was paused.
    script.now += Duration::from_secs(600);
    script.tcb.expire(script.now);
    assert_eq!(script.tcb.state(), State::Established);
    assert_eq!(script.transmit().len(), 1, "a probe");
}
