extern crate std;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Bytes that look random enough for the tests: a linear congruential generator's upper bits.
fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (seed >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn seeded(sources: usize) -> Entropy {
    let mut entropy = Entropy::new(sources);
    for source in 0..sources {
        entropy
            .absorb(source, &noise(source as u64, STARTUP))
            .unwrap();
    }
    assert!(entropy.is_seeded());
    entropy
}

fn output(entropy: &mut Entropy) -> [u8; 32] {
    let mut out = [0; 32];
    entropy.fill(&mut out).unwrap();
    out
}

#[test]
fn nothing_is_given_out_before_every_source_was_heard() {
    let mut entropy = Entropy::new(2);
    let mut out = [0x55; 8];
    entropy.absorb(0, &noise(1, 2 * STARTUP)).unwrap();
    assert_eq!((entropy.wanted(0), entropy.wanted(1)), (0, STARTUP));
    entropy.absorb(1, &noise(2, STARTUP - 1)).unwrap();
    entropy.absorb(2, &noise(2, STARTUP)).unwrap();
    assert_eq!(entropy.fill(&mut out), Err(Unseeded));
    assert_eq!(out, [0x55; 8]);
    assert_eq!(entropy.wanted(1), 1);
    entropy.absorb(1, &[7]).unwrap();
    assert_eq!(entropy.fill(&mut out), Ok(()));
}

#[test]
fn each_source_changes_the_output() {
    let mut outputs = std::collections::HashSet::new();
    for (first, second) in [(1, 2), (1, 3), (3, 2), (2, 1)] {
        let mut entropy = Entropy::new(2);
        entropy.absorb(0, &noise(first, STARTUP)).unwrap();
        entropy.absorb(1, &noise(second, STARTUP)).unwrap();
        assert!(outputs.insert(output(&mut entropy)));
    }
}

#[test]
fn a_reseed_is_due_after_a_mebibyte_and_changes_the_output() {
    let mut entropy = seeded(2);
    let mut same = seeded(2);
    assert!(!entropy.wants_noise());
    for e in [&mut entropy, &mut same] {
        for _ in 0..16 {
            e.fill(&mut [0; 1 << 16]).unwrap();
        }
        assert!(e.wants_noise());
    }
    entropy.absorb(0, &noise(9, RESEED)).unwrap();
    assert!(entropy.wants_noise(), "the second source is missing");
    entropy.absorb(1, &noise(8, RESEED)).unwrap();
    assert!(!entropy.wants_noise());
    assert_ne!(output(&mut entropy), output(&mut same));
}

#[test]
fn a_source_that_fails_keeps_the_first_seed_away_until_it_is_healthy() {
    let mut entropy = Entropy::new(2);
    entropy.absorb(0, &noise(1, STARTUP)).unwrap();
    assert_eq!(
        entropy.absorb(1, &[0; STARTUP]),
        Err(HealthFailure::Repetition)
    );
    assert!(!entropy.is_seeded());
    entropy.absorb(1, &noise(2, STARTUP)).unwrap();
    assert!(entropy.is_seeded());
}

#[test]
fn a_source_that_fails_later_does_not_stop_the_others() {
    let mut entropy = seeded(2);
    assert_eq!(entropy.absorb(1, &[3; 20]), Err(HealthFailure::Repetition));
    entropy.given = RESEED_AFTER;
    entropy.absorb(0, &noise(5, RESEED)).unwrap();
    assert!(!entropy.wants_noise());
    assert_eq!(
        entropy.wanted(1),
        STARTUP,
        "it has to pass the start-up tests anew"
    );
}

#[test]
fn a_source_that_is_lost_is_not_waited_for_after_the_first_seed() {
    let mut entropy = seeded(2);
    entropy.refresh();
    entropy.lose(0);
    entropy.absorb(1, &noise(5, RESEED)).unwrap();
    assert!(!entropy.wants_noise());
    let mut entropy = Entropy::new(2);
    entropy.lose(0);
    entropy.absorb(1, &noise(5, STARTUP)).unwrap();
    assert!(!entropy.is_seeded());
}

#[test]
fn constant_and_lopsided_sources_fail() {
    let mut tests = HealthTests::default();
    tests.check(&[9; 10]).unwrap();
    assert_eq!(tests.check(&[9]), Err(HealthFailure::Repetition));
    // One byte in six is the first one of the window; never twice in a row.
    let lopsided: Vec<u8> = (0..512u32)
        .map(|i| if i % 6 == 0 { 1 } else { (i % 251) as u8 | 4 })
        .collect();
    assert_eq!(
        HealthTests::default().check(&lopsided),
        Err(HealthFailure::Proportion)
    );
    let rare: Vec<u8> = (0..5120u32)
        .map(|i| if i % 7 == 0 { 1 } else { (i % 251) as u8 | 4 })
        .collect();
    assert_eq!(HealthTests::default().check(&rare), Ok(()));
}

#[test]
fn a_healthy_source_passes_for_long() {
    assert_eq!(HealthTests::default().check(&noise(42, 1 << 20)), Ok(()));
}

proptest! {
    /// Where the noise is cut into pieces does not matter to the tests.
    #[test]
    fn tests_do_not_see_where_noise_is_cut(
        bytes in proptest::collection::vec(0u8..4, 0..1000),
        cut in any::<proptest::sample::Index>(),
    ) {
        let whole = HealthTests::default().check(&bytes);
        let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut tests = HealthTests::default();
        prop_assert_eq!(tests.check(left).and_then(|()| tests.check(right)), whole);
    }
}
