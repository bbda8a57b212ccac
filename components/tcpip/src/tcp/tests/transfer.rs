//! Bytes arrive once and in order, whatever the network does.

use proptest::prelude::*;

use super::network::{Faults, between};
use crate::tcp::End;

const GOOD: Faults = Faults {
    lost: 0,
    repeated: 0,
    reordered: 0,
    delay: 1,
};

#[test]
fn both_directions_work_at_once_over_a_good_network() {
    let mut network = between(1 << 15, [1_000_000, 700_000], GOOD, 7);
    network.run();
    assert!(network.is_complete());
    for side in &mut network.sides {
        assert_eq!(side.tcb.end(), Some(End::Orderly));
        assert_eq!(side.tcb.take_retransmissions(), 0);
    }
}

/// One ACK for every two segments, and few window updates.
#[test]
fn a_bulk_transfer_costs_few_acknowledgements() {
    let mut network = between(1 << 16, [1_448_000, 0], GOOD, 7);
    network.run();
    assert!(network.is_complete());
    assert!(network.sent < 1650, "{} segments", network.sent);
}

/// A user that takes a byte at a time is no reason for small segments.
#[test]
fn a_slow_reader_gets_no_silly_windows() {
    let mut network = between(4096, [100_000, 0], GOOD, 7);
    network.sides[1].appetite = 100;
    network.run();
    assert!(network.is_complete());
    // Probes of the closed window among them: the reader moves only when something arrives.
    assert!(network.sent < 500, "{} segments", network.sent);
}

/// 1 % loss and 40 ms of delay: SACK recovers without time-outs.
#[test]
fn loss_on_a_long_path_is_made_up_for() {
    let faults = Faults {
        lost: 1,
        delay: 20,
        ..GOOD
    };
    let mut network = between(1 << 18, [4 << 20, 0], faults, 12345);
    let time = network.run();
    assert!(network.is_complete());
    assert!(time.secs() < 60, "{time}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bytes_survive_loss_repetition_and_disorder(
        first in 0usize..40_000,
        second in 0usize..40_000,
        size in 8u32..16,
        lost in 0u64..15,
        repeated in 0u64..15,
        reordered in 0u64..40,
        delay in 0u64..50,
        appetite in 50usize..5000,
        seed: u64,
    ) {
        let faults = Faults { lost, repeated, reordered, delay };
        let mut network = between(1 << size, [first, second], faults, seed);
        network.sides[(seed % 2) as usize].appetite = appetite;
        network.run();
        // With 15 % of loss a handshake or an end may be given up; then what has arrived is right all the same.
        for (side, other) in [(0, 1), (1, 0)] {
            let (read, data) = (&network.sides[side].read, &network.sides[other].data);
            prop_assert!(data.starts_with(read));
        }
        let orderly = network.sides.iter().all(|side| side.tcb.end() == Some(End::Orderly));
        prop_assert!(!orderly || network.is_complete());
        prop_assert!(orderly || lost > 0, "{:?}", network.sides.each_ref().map(|side| side.tcb.end()));
    }
}
