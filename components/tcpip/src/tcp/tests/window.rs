//! Windows and ACKs (RFC 9293, sections 3.8.6 and 3.8.6.3; RFC 5681, section 4.2).

use smoltcp::time::Duration;

use super::script::*;

/// RFC 9293, section 3.8.6.1.
#[test]
fn a_closed_window_is_probed_with_growing_pauses_without_end() {
    let mut script = Script::plain(4096);
    script.window = 0;
    script.take(ACK, 1, 1, &[]);
    assert_eq!(script.write(b"abc"), []);
    let mut at = script.now;
    for pause in [200, 400, 800, 1600, 3200] {
        let seen = script.deadline();
        assert_eq!(spans(&seen), [(1, 1)]);
        assert_eq!(script.now, at + Duration::from_millis(pause));
        at = script.now;
        // The peer refuses the byte.
        assert_eq!(script.take(ACK, 1, 1, &[]), []);
    }
    // As long as it answers, the connection stays open (MUST-37).
    for _ in 0..200 {
        let probes = script.deadline();
        script.take(ACK, 1, 1, &[]);
        assert!(probes.len() <= 2);
    }
    script.window = 1000;
    assert_eq!(spans(&script.take(ACK, 1, 1, &[])), [(1, 3)]);
}

/// The peer takes the probe's byte and opens the window.
#[test]
fn a_probe_may_be_taken() {
    let mut script = Script::plain(4096);
    script.window = 0;
    script.take(ACK, 1, 1, &[]);
    script.write(b"abc");
    script.deadline();
    assert_eq!(script.take(ACK, 1, 2, &[]), []);
    assert_eq!(spans(&script.deadline()), [(2, 1)]);
    script.window = 1000;
    assert_eq!(spans(&script.take(ACK, 1, 3, &[])), [(3, 1)]);
}

/// The peer shrinks its window below the data in flight.
#[test]
fn a_shrunken_window_is_no_loss() {
    let mut script = Script::plain(8192);
    script.write(&pattern(3000));
    script.window = 0;
    script.take(ACK, 1, 1461, &[]);
    let seen = script.deadline();
    assert_eq!(spans(&seen), [(1461, 1)]);
    script.window = 60_000;
    assert_eq!(
        spans(&script.take(ACK, 1, 1461, &[])),
        [(1461, 1460), (2921, 80)]
    );
}

/// A FIN waits for the window as data does.
#[test]
fn a_fin_waits_for_the_window() {
    let mut script = Script::plain(4096);
    script.window = 3;
    script.take(ACK, 1, 1, &[]);
    assert_eq!(
        script.write(b"abc")[0].flags,
        ACK.with(crate::tcp::Flags::PSH)
    );
    script.tcb.close();
    assert_eq!(script.transmit(), []);
    script.window = 0;
    script.take(ACK, 1, 4, &[]);
    let seen = script.deadline();
    assert_eq!((seen[0].flags, seen[0].seq), (FIN_ACK, 4));
}

/// Silly window syndrome, the sender's side: RFC 9293, section 3.8.6.2.1.
#[test]
fn small_windows_are_not_filled_with_small_segments() {
    let mut script = Script::plain(8192);
    script.window = 1500;
    script.take(ACK, 1, 1, &[]);
    assert_eq!(spans(&script.write(&pattern(4000))), [(1, MSS)]);
    script.window = 100;
    assert_eq!(script.take(ACK, 1, 1461, &[]), []);
    // After a pause what fits is sent (the override time-out).
    assert_eq!(spans(&script.deadline()), [(1461, 100)]);
}

/// The receiver's side: RFC 9293, section 3.8.6.2.2.
#[test]
fn the_window_grows_by_a_segment_at_least() {
    let mut script = Script::plain(8192);
    for index in 0..5 {
        script.take(ACK, 1 + index * 1460, 1, &pattern(1460));
    }
    let seen = script.take(ACK, 7301, 1, &pattern(892));
    assert_eq!((seen[0].ack, seen[0].window), (8193, 0));
    script.tcb.take_received();
    script.tcb.consume(1000);
    assert_eq!(script.transmit(), []);
    script.tcb.consume(460);
    assert_eq!(script.transmit()[0].window, 1460);
    // An open window is announced again when a quarter of the ring is free.
    script.tcb.consume(1000);
    assert_eq!(script.transmit(), []);
    script.tcb.consume(1500);
    assert_eq!(script.transmit()[0].window, 3960);
}

/// The right edge of the window never moves to the left (RFC 9293, section 3.8.6).
#[test]
fn the_window_never_shrinks() {
    let mut script = Script::plain(1024);
    let mut edge = 0;
    for index in 0..100 {
        let seen = script.take(ACK, 1 + index * 10, 1, &pattern(10));
        for seen in seen {
            assert!(seen.ack + u32::from(seen.window) >= edge);
            edge = seen.ack + u32::from(seen.window);
        }
        if index % 3 == 0 {
            let received = script.tcb.take_received();
            script.tcb.consume(received / 2);
        }
    }
}

#[test]
fn every_second_segment_is_acknowledged_at_once_and_one_alone_after_40_ms() {
    let mut script = Script::plain(8192);
    let begin = script.now;
    assert_eq!(script.take(ACK, 1, 1, b"abc"), []);
    assert_eq!(script.take(ACK, 4, 1, b"def")[0].ack, 7);
    assert_eq!(script.take(ACK, 7, 1, b"ghi"), []);
    assert_eq!(script.deadline()[0].ack, 10);
    assert_eq!(script.now, begin + Duration::from_millis(40));
    // Data takes it along.
    assert_eq!(script.take(ACK, 10, 1, b"jkl"), []);
    assert_eq!(script.write(b"answer")[0].ack, 13);
    assert_eq!(script.pass(150), []);
}

/// RFC 5681, section 4.2.
#[test]
fn segments_out_of_order_and_those_that_fill_a_gap_are_acknowledged_at_once() {
    let mut script = Script::plain(8192);
    assert_eq!(script.take(ACK, 4, 1, b"def")[0].ack, 1);
    assert_eq!(script.take(ACK, 10, 1, b"jkl")[0].ack, 1);
    assert_eq!(script.take(ACK, 1, 1, b"abc")[0].ack, 7);
    assert_eq!(script.take(ACK, 7, 1, b"ghi")[0].ack, 13);
    assert_eq!(script.take(ACK, 1, 1, b"abc")[0].ack, 13, "repeated");
}

/// While the receive window is closed, ACKs count (RFC 9293, section 3.10.7.4).
#[test]
fn a_closed_receive_window_lets_acknowledgements_pass() {
    let mut script = Script::plain(1024);
    script.take(ACK, 1, 1, &pattern(1024));
    script.write(b"abc");
    let seen = script.take(ACK, 1025, 4, b"more");
    assert_eq!((seen[0].ack, seen[0].window), (1025, 0));
    assert_eq!(script.tcb.take_acknowledged(), 3);
    assert_eq!(script.tcb.take_received(), 1024);
}

/// `docs/memory.md` counts 1 KiB of the heap for each slot that was ever used.
#[test]
fn a_block_is_smaller_than_a_kibibyte() {
    assert!(
        size_of::<crate::tcp::Tcb>() <= 800,
        "{}",
        size_of::<crate::tcp::Tcb>()
    );
}
