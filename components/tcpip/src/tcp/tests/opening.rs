//! Handshakes.

use smoltcp::time::Duration;

use super::script::*;
use crate::segment::{SegmentError, SegmentErrorKind};
use crate::tcp::header::Timestamps;
use crate::tcp::{self, Cookies, End, Flags, Options, Reaction, SequenceNumber, State};

fn connecting() -> (Script, Vec<Seen>) {
    let mut script = Script::new(4096);
    script.tcb.connect(&parameters(), script.now);
    let seen = script.transmit();
    (script, seen)
}

#[test]
fn a_connection_of_this_host_is_opened_in_three_steps() {
    let (mut script, seen) = connecting();
    assert_eq!((seen[0].flags, seen[0].seq), (SYN, 0));
    let options = &seen[0].header.options;
    assert_eq!(options.mss, Some(1460));
    assert!(options.sack_permitted && options.timestamps.is_some());
    assert_eq!(options.window_shift, Some(0));
    let seen = script.take(SYN_ACK, 0, 1, &[]);
    assert_eq!(script.tcb.state(), State::Established);
    assert_eq!((seen[0].flags, seen[0].seq, seen[0].ack), (ACK, 1, 1));
    // The peer offered no options, so none is used, and the MSS is the default one.
    assert_eq!(seen[0].header.options, Options::default());
    assert_eq!(spans(&script.write(&pattern(600))), [(1, 536), (537, 64)]);
}

/// RFC 9293, section 3.10.7.3.
#[test]
fn in_syn_sent_only_the_own_syn_is_acknowledged() {
    let (mut script, _) = connecting();
    for ack in [0, 2, 100] {
        let segment = script.segment(ACK, 0, ack, &[], Options::default());
        assert_eq!(script.react(&segment), Reaction::Reset);
        let reset = tcp::reset(&segment).unwrap().header;
        assert_eq!(
            (reset.flags, reset.sequence),
            (RST, SequenceNumber(OWN) + ack)
        );
        // A reset with such a number is ignored.
        assert_eq!(script.take(RST.with(ACK), 0, ack, &[]), []);
    }
    // So are one without ACK, and an ACK without SYN.
    assert_eq!(script.take(RST, 0, 0, &[]), []);
    assert_eq!(script.take(ACK, 0, 1, &[]), []);
    assert_eq!(script.tcb.state(), State::SynSent);
    script.take(RST.with(ACK), 0, 1, &[]);
    assert_eq!(
        (script.tcb.state(), script.tcb.end()),
        (State::Closed, Some(End::Reset))
    );
    assert!(script.tcb.is_silent());
}

/// RFC 9293, section 3.5, figure 8.
#[test]
fn both_sides_may_begin_at_once() {
    let (mut script, _) = connecting();
    let seen = script.take(SYN, 0, 0, &[]);
    assert_eq!(script.tcb.state(), State::SynReceived);
    assert_eq!((seen[0].flags, seen[0].seq, seen[0].ack), (SYN_ACK, 0, 1));
    script.take(SYN_ACK, 0, 1, &[]);
    assert_eq!(script.tcb.state(), State::Established);
    assert_eq!(spans(&script.write(b"abc")), [(1, 3)]);
}

#[test]
fn a_syn_is_sent_again_after_one_three_and_seven_seconds() {
    let (mut script, _) = connecting();
    let begin = script.now;
    for after in [1, 3, 7, 15] {
        let seen = script.deadline();
        assert_eq!(script.now, begin + Duration::from_secs(after));
        assert_eq!((seen[0].flags, seen[0].seq), (SYN, 0));
    }
    // RFC 6298, section 5.7, and RFC 6928, section 2: 3 s, one segment.
    script.take_with(SYN_ACK, 0, 1, &[], plain());
    assert_eq!(spans(&script.write(&pattern(4000))), [(1, MSS)]);
    let begin = script.now;
    script.deadline();
    assert_eq!(script.now, begin + Duration::from_secs(3));
}

#[test]
fn a_lost_syn_ack_is_sent_again_when_the_syn_is() {
    let mut script = Script::new(4096);
    let syn = script.segment(SYN, 0, 0, &[], plain());
    script.tcb.accept(&syn, &parameters(), script.now);
    assert_eq!(script.transmit().len(), 1);
    let seen = script.take_with(SYN, 0, 0, &[], plain());
    assert_eq!((seen[0].flags, seen[0].seq, seen[0].ack), (SYN_ACK, 0, 1));
    // In limited number.
    let more: usize = (0..50)
        .map(|_| script.take_with(SYN, 0, 0, &[], plain()).len())
        .sum();
    assert_eq!(more, 9);
}

/// RFC 9293, section 3.10.7.4, fifth check.
#[test]
fn in_syn_received_another_acknowledgement_is_answered_with_a_reset() {
    let mut script = Script::new(4096);
    let syn = script.segment(SYN, 0, 0, &[], plain());
    script.tcb.accept(&syn, &parameters(), script.now);
    script.transmit();
    for ack in [0, 2, 77] {
        let segment = script.segment(ACK, 1, ack, &[], Options::default());
        assert_eq!(script.react(&segment), Reaction::Reset);
    }
    assert_eq!(script.tcb.state(), State::SynReceived);
    script.take(RST, 1, 0, &[]);
    assert_eq!(script.tcb.state(), State::Closed);
}

/// The ACK of the handshake may carry data and FIN, or be lost and made up for by data.
#[test]
fn the_last_segment_of_a_handshake_may_carry_data() {
    let mut script = Script::new(4096);
    let syn = script.segment(SYN, 0, 0, &[], plain());
    script.tcb.accept(&syn, &parameters(), script.now);
    script.transmit();
    let seen = script.take(FIN_ACK, 1, 1, b"hello");
    assert_eq!(script.tcb.state(), State::CloseWait);
    assert_eq!(script.tcb.take_received(), 5);
    assert_eq!(script.rings.read(0, 5), b"hello");
    assert_eq!(seen[0].ack, 7);
}

#[test]
fn the_default_mss_depends_on_the_family() {
    for (address, mss) in [("10.0.0.2", 536), ("fd00::2", 1220)] {
        let mut script = Script::new(4096);
        let mut parameters = parameters();
        parameters.remote.addr = address.parse().unwrap();
        let syn = script.segment(SYN, 0, 0, &[], Options::default());
        script.tcb.accept(&syn, &parameters, script.now);
        assert_eq!(script.tcb.smss(), mss);
        assert_eq!(
            parameters.largest_mss(),
            if mss == 536 { 1460 } else { 1440 }
        );
    }
}

#[test]
fn window_scale_and_timestamps_are_used_if_both_sides_offer_them() {
    let mut script = Script::open(
        1 << 17,
        Options {
            window_shift: Some(3),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 7, echo: 0 }),
            ..plain()
        },
    );
    let seen = script.write(&pattern(4000));
    assert_eq!(spans(&seen), [(1, 1448), (1449, 1448), (2897, 1104)]);
    assert_eq!(seen[0].header.options.timestamps.unwrap().echo, 7);
    // 128 KiB in units of 4 bytes.
    assert_eq!(seen[0].window, 1 << 15);
    // The peer's window is 8 times as large as its field says.
    assert_eq!(script.tcb.send.window, 480_000);
}

#[test]
fn a_cookie_opens_a_connection_with_the_options_of_the_syn() {
    let script = Script::new(1 << 17);
    let offered = Options {
        mss: Some(1400),
        window_shift: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 55, echo: 0 }),
        ..Options::default()
    };
    for options in [offered, plain()] {
        let mut script = Script::new(script.tcb.capacity());
        let mut cookies = Cookies::new([5; 16]);
        let syn = script.segment(SYN, 0, 0, &[], options);
        let capacity = script.tcb.capacity();
        let answer =
            tcp::syn_cookie(&syn, &parameters(), capacity, &mut cookies, script.now).header;
        assert_eq!(
            (answer.flags, answer.acknowledgement.0),
            (SYN_ACK, PEER + 1)
        );
        assert_eq!(answer.options.window_shift, options.window_shift.map(|_| 2));

        script.now += Duration::from_secs(90);
        let mut ack = script.segment(ACK, 1, 0, b"hello", Options::default());
        ack.header.acknowledgement = answer.sequence + 1;
        ack.header.options.timestamps = answer.options.timestamps.map(|own| Timestamps {
            value: 56,
            echo: own.value,
        });
        let offer = cookies.check(&ack, script.now).expect("a good cookie");
        let limits = &mut script.limits;
        script
            .tcb
            .accept_cookie(&ack, &offer, &parameters(), limits, script.now);
        assert_eq!(script.tcb.state(), State::Established);
        assert_eq!(script.tcb.take_received(), 5);
        let with_timestamps = options.timestamps.is_some();
        assert_eq!(script.tcb.smss(), if with_timestamps { 1388 } else { 1460 });
        assert_eq!(
            script.tcb.send.window,
            if with_timestamps { 60_000 << 7 } else { 60_000 }
        );
        assert_eq!(script.tcb.sack, with_timestamps);
        // The time that the peer waited is no round trip.
        assert_eq!(script.tcb.rtt.timeout(), Duration::from_secs(1));
    }
}

fn error(sequence: u32, kind: SegmentErrorKind) -> SegmentError {
    SegmentError {
        local: local(),
        remote: remote(),
        sequence: SequenceNumber(OWN) + sequence,
        kind,
        reporter: remote().addr,
    }
}

/// RFC 5927, sections 4 and 5.2.
#[test]
fn icmp_errors_end_a_connection_only_while_it_is_opened_and_if_they_quote_what_is_in_flight() {
    use SegmentErrorKind::{Hard, Soft};
    let (mut script, _) = connecting();
    for ignored in [error(1, Hard), error(5000, Hard), error(0, Soft)] {
        assert_eq!(script.tcb.take_error(&ignored), None);
        assert_eq!(script.tcb.state(), State::SynSent);
    }
    script.tcb.take_error(&error(0, Hard));
    assert_eq!(script.tcb.end(), Some(End::Reset));

    let mut script = Script::plain(4096);
    script.write(b"abc");
    for kind in [Hard, Soft] {
        script.tcb.take_error(&error(1, kind));
        assert_eq!(script.tcb.state(), State::Established);
    }
}

/// RFC 1191, RFC 5927, section 7.
#[test]
fn a_narrow_path_makes_segments_shorter_if_the_error_quotes_what_is_in_flight() {
    use SegmentErrorKind::TooBig;
    let mut script = Script::plain(8192);
    assert_eq!(
        spans(&script.write(&pattern(2920))),
        [(1, 1460), (1461, 1460)]
    );
    assert_eq!(script.tcb.take_error(&error(2921, TooBig(1000))), None);
    assert_eq!(script.transmit(), []);
    assert_eq!(script.tcb.take_error(&error(1, TooBig(1040))), Some(1040));
    assert_eq!(
        spans(&script.transmit()),
        [(1, 1000), (1001, 1000), (2001, 920)]
    );
    // Not wider, and not too narrow.
    assert_eq!(script.tcb.take_error(&error(1, TooBig(1300))), None);
    assert_eq!(script.tcb.take_error(&error(1, TooBig(68))), Some(576));
    assert_eq!(script.transmit()[0].payload.len(), 536);
}

/// RFC 9293, section 3.10.7.1: for every combination of flags.
#[test]
fn segments_of_no_connection_are_answered_with_the_right_reset() {
    let script = Script::new(4096);
    let known = [Flags::FIN, Flags::SYN, Flags::RST, Flags::PSH, Flags::ACK];
    for bits in 0..32 {
        let mut flags = Flags::default();
        for (index, flag) in known.iter().enumerate() {
            if bits >> index & 1 == 1 {
                flags = flags.with(*flag);
            }
        }
        for payload in [&b""[..], b"four"] {
            let segment = script.segment(flags, 0, 9, payload, Options::default());
            let reset = tcp::reset(&segment).map(|reset| reset.header);
            let control = u32::from(flags.has(SYN)) + u32::from(flags.has(Flags::FIN));
            match reset {
                None => assert!(flags.has(RST)),
                Some(reset) if flags.has(ACK) => {
                    assert_eq!(reset.flags, RST);
                    assert_eq!(reset.sequence, SequenceNumber(OWN) + 9);
                }
                Some(reset) => {
                    assert_eq!(reset.flags, RST.with(ACK));
                    assert_eq!(reset.sequence, SequenceNumber(0));
                    let length = payload.len() as u32 + control;
                    assert_eq!(reset.acknowledgement, SequenceNumber(PEER) + length);
                }
            }
            assert_eq!(reset.is_none(), flags.has(RST));
        }
    }
}
