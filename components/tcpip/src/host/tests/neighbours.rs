//! The neighbour table by itself: RFC 4861, section 7.3, with numbers for addresses.

use proptest::prelude::*;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use crate::host::neighbours::*;
use crate::host::random::Random;

type Table = Neighbours<u32>;

fn table() -> Table {
    Neighbours::new(Random::new([5; 16]))
}

fn hardware(number: u32) -> EthernetAddress {
    let [a, b, c, d] = number.to_be_bytes();
    EthernetAddress([2, 1, a, b, c, d])
}

fn at(milliseconds: i64) -> Instant {
    Instant::from_millis(milliseconds)
}

fn reply(number: u32) -> Advertisement {
    Advertisement {
        hardware: Some(hardware(number)),
        solicited: true,
        overrides: true,
    }
}

fn due(table: &mut Table, now: Instant) -> Vec<Action<u32>> {
    core::iter::from_fn(|| table.poll(now)).collect()
}

/// All actions until a time, with the milliseconds at which they come.
fn run(table: &mut Table, from: i64, to: i64) -> Vec<(i64, Action<u32>)> {
    let (mut now, mut actions) = (at(from), vec![]);
    loop {
        actions.extend(
            due(table, now)
                .into_iter()
                .map(|it| (now.total_millis(), it)),
        );
        match table.deadline(now).filter(|next| *next <= at(to)) {
            Some(next) => now = next,
            None => return actions,
        }
        table.check();
    }
}

fn ask(address: u32) -> Action<u32> {
    Action::Ask {
        address,
        known: None,
    }
}

fn probe(address: u32) -> Action<u32> {
    Action::Ask {
        address,
        known: Some(hardware(address)),
    }
}

/// A neighbour that has just answered.
fn resolved(address: u32, now: Instant) -> Table {
    let mut table = table();
    table.resolve(address, false, now);
    due(&mut table, now);
    table.advertised(address, reply(address), now);
    table
}

#[test]
fn asks_three_times_a_second_apart_and_gives_up() {
    let mut table = table();
    assert_eq!(table.resolve(1, true, at(0)), None);
    table.resolve(1, true, at(10));
    let failed = Action::Failed {
        address: 1,
        awaited: true,
    };
    assert_eq!(
        run(&mut table, 10, 60_000),
        [(10, ask(1)), (1010, ask(1)), (2010, ask(1)), (3010, failed)]
    );
    assert_eq!(table.deadline(at(60_000)), None);
}

#[test]
fn each_address_has_a_request_of_its_own_at_once() {
    let mut table = table();
    for address in 0..PENDING as u32 {
        table.resolve(address, false, at(0));
    }
    assert_eq!(due(&mut table, at(0)).len(), PENDING);
    assert_eq!(due(&mut table, at(999)), []);
}

#[test]
fn an_answer_hands_back_the_packet_that_waited_last() {
    let mut table = table();
    table.resolve(1, false, at(0));
    table.keep(1, Box::from(*b"first"));
    table.keep(1, Box::from(*b"last"));
    due(&mut table, at(0));
    let solved = table.advertised(1, reply(1), at(5)).unwrap();
    assert_eq!(solved.packet.as_deref(), Some(&b"last"[..]));
    assert!(!solved.awaited);
    assert_eq!(table.resolve(1, false, at(6)), Some(hardware(1)));
    assert_eq!(table.deadline(at(6)), None);
}

#[test]
fn a_neighbour_that_asks_is_known_without_a_request() {
    let mut table = table();
    assert_eq!(table.heard(1, hardware(1), true, at(0)), None);
    assert_eq!(table.resolve(1, false, at(1)), Some(hardware(1)));
    // Once sent to, it has to be confirmed within five seconds.
    assert_eq!(table.deadline(at(1)), Some(at(5001)));
}

#[test]
fn unasked_replies_create_nothing() {
    let mut table = table();
    assert_eq!(table.advertised(1, reply(1), at(0)), None);
    assert_eq!(table.heard(1, hardware(1), false, at(0)), None);
    assert_eq!(table.resolve(1, false, at(0)), None);
}

#[test]
fn a_reachable_neighbour_is_probed_only_when_it_is_sent_to_later() {
    let mut table = resolved(1, at(0));
    assert_eq!(run(&mut table, 0, 3_600_000), [], "no timer of its own");
    assert_eq!(table.resolve(1, false, at(3_600_000)), Some(hardware(1)));
    let failed = Action::Failed {
        address: 1,
        awaited: true,
    };
    assert_eq!(
        run(&mut table, 3_600_000, 3_700_000),
        [
            (3_605_000, probe(1)),
            (3_606_000, probe(1)),
            (3_607_000, probe(1)),
            (3_608_000, failed)
        ]
    );
    assert_eq!(table.resolve(1, false, at(3_700_000)), None, "forgotten");
}

#[test]
fn progress_of_the_upper_layer_confirms() {
    let mut table = resolved(1, at(0));
    for second in (100..200).step_by(4) {
        let now = at(second * 1000);
        table.resolve(1, false, now);
        table.confirm(1, now);
        assert_eq!(table.deadline(now), None);
        assert_eq!(due(&mut table, now), []);
    }
}

#[test]
fn an_answer_to_a_probe_confirms() {
    let mut table = resolved(1, at(0));
    table.resolve(1, false, at(100_000));
    assert_eq!(due(&mut table, at(105_000)), [probe(1)]);
    assert!(table.is_asked(1));
    table.advertised(1, reply(1), at(105_001));
    assert_eq!(table.deadline(at(105_001)), None);
}

/// RFC 4861, section 7.2.5, I, and the state machine of appendix C.
#[test]
fn another_address_replaces_only_if_it_may() {
    let moved = |solicited, overrides| Advertisement {
        hardware: Some(hardware(9)),
        solicited,
        overrides,
    };
    let mut table = resolved(1, at(0));
    table.advertised(1, moved(true, false), at(1));
    assert_eq!(table.resolve(1, false, at(2)), Some(hardware(1)));
    assert!(table.deadline(at(2)).is_some(), "it has to be confirmed");
    table.advertised(1, moved(false, true), at(3));
    assert_eq!(table.resolve(1, false, at(4)), Some(hardware(9)));
    assert!(table.deadline(at(4)).is_some());
    table.heard(1, hardware(1), false, at(5));
    assert_eq!(table.resolve(1, false, at(6)), Some(hardware(1)));
}

#[test]
fn pending_addresses_displace_no_resolved_one() {
    let mut table = table();
    for address in 0..RESOLVED as u32 {
        table.heard(address, hardware(address), true, at(0));
    }
    for address in 10_000..20_000 {
        table.resolve(address, false, at(1));
        table.keep(address, Box::from([0; 100]));
        table.poll(at(1));
    }
    for address in 0..RESOLVED as u32 {
        assert_eq!(
            table.resolve(address, false, at(2)),
            Some(hardware(address))
        );
    }
}

#[test]
fn of_the_pending_ones_the_oldest_is_replaced_but_not_what_a_connection_waits_for() {
    let mut table = table();
    table.resolve(1, true, at(0));
    table.resolve(2, false, at(0));
    for address in 100..100 + PENDING as u32 - 1 {
        table.resolve(address, false, at(1));
    }
    due(&mut table, at(1));
    assert_eq!(
        table.advertised(2, reply(2), at(2)),
        None,
        "it was the oldest"
    );
    assert!(table.advertised(1, reply(1), at(2)).unwrap().awaited);
    assert!(table.advertised(100, reply(100), at(2)).is_some());
}

#[test]
fn of_the_resolved_ones_the_least_used_is_replaced() {
    let mut table = table();
    for address in 0..RESOLVED as u32 {
        table.heard(address, hardware(address), true, at(0));
    }
    for address in (0..RESOLVED as u32).filter(|address| *address != 77) {
        table.resolve(address, false, at(2000));
    }
    table.heard(9000, hardware(9000), true, at(3000));
    assert_eq!(
        table.resolve(77, false, at(3001)),
        None,
        "it was never used"
    );
    assert_eq!(table.resolve(9000, false, at(3002)), Some(hardware(9000)));
    // All are used now: one that only asks displaces none of them.
    table.heard(9001, hardware(9001), true, at(4000));
    assert_eq!(table.resolve(9001, false, at(4001)), None);
    assert_eq!(table.resolve(0, false, at(4002)), Some(hardware(0)));
}

#[test]
fn after_the_link_was_down_all_have_to_be_confirmed() {
    let mut table = resolved(1, at(0));
    table.resolve(2, false, at(10));
    run(&mut table, 10, 2100);
    table.doubt_all(at(2100));
    assert_eq!(due(&mut table, at(2100)), [ask(2)]);
    assert_eq!(table.resolve(1, false, at(2100)), Some(hardware(1)));
    assert_eq!(table.deadline(at(2200)), Some(at(3100)));
    assert_eq!(run(&mut table, 2200, 7100).last(), Some(&(7100, probe(1))));
}

#[test]
fn all_requests_together_have_a_limit() {
    let mut table = table();
    let mut sent = 0;
    for millisecond in 0..1000 {
        for address in 0..20 {
            table.resolve(millisecond as u32 * 100 + address, false, at(millisecond));
        }
        sent += due(&mut table, at(millisecond)).len();
    }
    assert!((1000..1600).contains(&sent), "{sent}");
}

#[derive(Clone, Debug)]
enum Step {
    Resolve(u32, bool),
    Keep(u32, usize),
    Heard(u32, u32, bool),
    Advertised(u32, Option<u32>, bool, bool),
    Confirm(u32),
    DoubtAll,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let address = 0u32..2000;
    prop_oneof![
        8 => (address.clone(), any::<bool>()).prop_map(|(a, b)| Step::Resolve(a, b)),
        4 => (address.clone(), 0usize..1500).prop_map(|(a, b)| Step::Keep(a, b)),
        8 => (address.clone(), 0u32..3, any::<bool>()).prop_map(|(a, b, c)| Step::Heard(a, b, c)),
        8 => (address.clone(), any::<Option<u32>>(), any::<bool>(), any::<bool>())
            .prop_map(|(a, b, c, d)| Step::Advertised(a, b, c, d)),
        2 => address.prop_map(Step::Confirm),
        1 => Just(Step::DoubtAll),
        4 => (0u64..3000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever happens, the tables are bounded and agree with each other.
    #[test]
    fn tables_stay_bounded_and_consistent(steps in prop::collection::vec(step(), 0..3000)) {
        let (mut table, mut now) = (table(), at(0));
        for (count, step) in steps.into_iter().enumerate() {
            match step {
                Step::Resolve(address, awaited) => drop(table.resolve(address, awaited, now)),
                Step::Keep(address, size) => table.keep(address, vec![0; size].into()),
                Step::Heard(address, number, create) => drop(table.heard(address, hardware(number), create, now)),
                Step::Advertised(address, number, solicited, overrides) => {
                    let hardware = number.map(hardware);
                    table.advertised(address, Advertisement { hardware, solicited, overrides }, now);
                }
                Step::Confirm(address) => table.confirm(address, now),
                Step::DoubtAll => table.doubt_all(now),
                Step::Wait(time) => {
                    now += Duration::from_millis(time);
                    due(&mut table, now);
                }
            }
            if count % 64 == 0 {
                table.check();
            }
        }
        table.check();
    }
}
