use super::*;

const HARDWARE: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const ROUTER: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const HOUR: u32 = 3600;

fn at(seconds: i64) -> Instant {
    Instant::from_secs(seconds)
}

fn new() -> Addresses {
    Addresses::new(HARDWARE, Random::new([1; 16]))
}

fn information(prefix: &str, length: u8, valid: u32, preferred: u32) -> PrefixInformation {
    PrefixInformation {
        prefix: Ipv6Cidr::new(prefix.parse().unwrap(), length),
        on_link: true,
        autonomous: true,
        valid,
        preferred,
    }
}

fn formed(prefix: &str) -> Ipv6Address {
    with_interface_id(prefix.parse().unwrap(), HARDWARE)
}

fn texts(addresses: &Addresses) -> Vec<String> {
    addresses.all().map(|address| address.to_string()).collect()
}

/// Lets time pass; returns what was done and when.
fn run(addresses: &mut Addresses, until: Instant) -> Vec<(Instant, Action)> {
    let mut done = vec![];
    while let Some(now) = addresses.deadline().filter(|now| *now <= until) {
        while let Some(action) = addresses.poll(now) {
            done.push((now, action));
        }
    }
    done
}

#[test]
fn each_prefix_gives_an_address() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    for prefix in ["2001:db8:1::", "fd00:1::"] {
        let information = information(prefix, 64, HOUR, HOUR);
        let expected = Formed::New(formed(prefix));
        assert_eq!(addresses.advertised(&information, ROUTER, at(0)), expected);
        let known = addresses.advertised(&information, ROUTER, at(0));
        assert_eq!(known, Formed::Known);
    }
    let expected = [
        "fe80::5054:ff:fe12:3456/64",
        "2001:db8:1:0:5054:ff:fe12:3456/64",
        "fd00:1::5054:ff:fe12:3456/64",
    ];
    assert_eq!(texts(&addresses), expected);
}

#[test]
fn prefixes_that_cannot_be_used_are_left_out() {
    let mut addresses = new();
    for unusable in [
        information("2001:db8::", 48, HOUR, HOUR),
        information("fe80::", 64, HOUR, HOUR),
        information("ff02::", 64, HOUR, HOUR),
        information("2001:db8::", 64, HOUR, HOUR + 1),
        information("2001:db8::", 64, 0, 0),
        PrefixInformation {
            autonomous: false,
            ..information("2001:db8::", 64, HOUR, HOUR)
        },
    ] {
        let result = addresses.advertised(&unusable, ROUTER, at(0));
        assert_eq!(result, Formed::Unusable, "{unusable:?}");
    }
}

#[test]
fn the_number_of_addresses_is_bounded() {
    let mut addresses = new();
    let mut results = vec![];
    for number in 0..100 {
        let information = information(&format!("2001:db8:{number:x}::"), 64, HOUR, HOUR);
        results.push(addresses.advertised(&information, ROUTER, at(0)));
    }
    assert!(
        results[..FORMED]
            .iter()
            .all(|it| matches!(it, Formed::New(_)))
    );
    assert!(results[FORMED..].iter().all(|it| *it == Formed::Full));
    assert_eq!(addresses.all().count(), FORMED);
}

#[test]
fn a_forged_advertisement_leaves_two_hours() {
    let mut addresses = new();
    let advertise = |addresses: &mut Addresses, valid, preferred, now| {
        let information = information("2001:db8:1::", 64, valid, preferred);
        addresses.advertised(&information, ROUTER, at(now));
        addresses.list[0].valid
    };
    // More than two hours remain: two hours are left.
    advertise(&mut addresses, 3 * HOUR, HOUR, 0);
    assert_eq!(advertise(&mut addresses, 0, 0, 10), Some(at(7210)));
    // Less than two hours remain: nothing changes, but the address is deprecated.
    assert_eq!(advertise(&mut addresses, 0, 0, 20), Some(at(7210)));
    assert_eq!(advertise(&mut addresses, 60, 60, 20), Some(at(7210)));
    // A longer lifetime than what remains counts, and so does one of more than two hours.
    assert_eq!(advertise(&mut addresses, 7200, 0, 100), Some(at(7300)));
    assert_eq!(advertise(&mut addresses, u32::MAX, 0, 100), None);
    assert_eq!(advertise(&mut addresses, 7201, 0, 100), Some(at(7301)));
    assert_eq!(advertise(&mut addresses, u32::MAX, 0, 100), None);
    assert_eq!(advertise(&mut addresses, 0, 0, 100), Some(at(7300)));
}

#[test]
fn an_address_is_deprecated_and_then_gone_by_a_timer_of_its_own() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    let information = information("2001:db8:6::", 64, 12, 6);
    addresses.advertised(&information, ROUTER, at(0));
    run(&mut addresses, at(5));
    let deprecated = |addresses: &Addresses| -> Vec<bool> {
        addresses.candidates(None).map(|it| it.deprecated).collect()
    };
    assert_eq!(deprecated(&addresses), [false, false]);
    run(&mut addresses, at(6));
    assert_eq!(deprecated(&addresses), [false, true]);
    assert!(addresses.has(formed("2001:db8:6::")), "still answers");
    let expired = Action::Expired(formed("2001:db8:6::"));
    assert_eq!(run(&mut addresses, at(100)), [(at(12), expired)]);
    assert!(!addresses.has(formed("2001:db8:6::")));
    assert_eq!(addresses.deadline(), None);
}

#[test]
fn detection_waits_a_random_time_asks_once_and_announces() {
    let mut first_steps = std::collections::BTreeSet::new();
    for key in 0..20 {
        let mut addresses = Addresses::new(HARDWARE, Random::new([key; 16]));
        addresses.add_link_local(at(10));
        let address = formed("fe80::");
        assert!(addresses.has(address) && !addresses.is_unique(address));
        let done = run(&mut addresses, at(100));
        let [
            (asked, Action::Detect { address: of, .. }),
            (announced, after),
        ] = done[..]
        else {
            panic!("{done:?}");
        };
        let regained = false;
        assert_eq!(
            (of, after),
            (address, Action::Announce { address, regained })
        );
        assert!(asked >= at(10) && asked < at(11), "{asked}");
        assert_eq!(announced - asked, Duration::from_secs(1));
        assert!(addresses.is_unique(address));
        first_steps.insert(asked);
    }
    assert!(first_steps.len() > 15, "{first_steps:?}");
}

#[test]
fn an_address_that_another_host_has_is_given_up() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    let information = information("2001:db8:1::", 64, HOUR, HOUR);
    addresses.advertised(&information, ROUTER, at(0));
    let address = formed("2001:db8:1::");
    assert_eq!(
        addresses.claimed(address, None, at(1)),
        Some(Conflict::GivenUp)
    );
    assert_eq!(
        addresses.claimed(address, None, at(1)),
        None,
        "reported once"
    );
    assert!(!addresses.has(address));
    assert_eq!(texts(&addresses), ["fe80::5054:ff:fe12:3456/64"]);
    // The next advertisement does not bring it back, another link may.
    let again = addresses.advertised(&information, ROUTER, at(1));
    assert_eq!(again, Formed::Known);
    assert!(!addresses.has(address));
    addresses.doubt_all(at(2));
    assert!(addresses.has(address));
}

#[test]
fn a_duplicate_link_local_address_ends_ipv6() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    let information = information("2001:db8:1::", 64, HOUR, HOUR);
    addresses.advertised(&information, ROUTER, at(0));
    let conflict = addresses.claimed(formed("fe80::"), Some([1; 6]), at(1));
    assert_eq!(conflict, Some(Conflict::Disabled));
    assert!(addresses.is_disabled());
    assert_eq!(texts(&addresses), [""; 0]);
    assert_eq!(addresses.candidates(None).count(), 0);
    assert_eq!(addresses.deadline(), Some(at(61)), "detected again");
}

/// One forged packet must not take an address away for longer than it is repeated.
#[test]
fn detection_of_a_lost_address_is_repeated_before_it_is_used() {
    for prefix in ["fe80::", "2001:db8:1::"] {
        let mut addresses = new();
        addresses.add_link_local(at(0));
        addresses.advertised(&information("2001:db8:1::", 64, HOUR, HOUR), ROUTER, at(0));
        run(&mut addresses, at(0));
        let address = formed(prefix);
        assert!(addresses.claimed(address, None, at(0)).is_some());
        assert!(!addresses.is_watched(address));
        run(&mut addresses, at(60));
        assert!(addresses.is_watched(address) && !addresses.has(address));
        // It is still there: the next attempt is a minute later.
        assert_eq!(addresses.claimed(address, None, at(60)), None);
        run(&mut addresses, at(119));
        assert!(!addresses.has(address));
        let done = run(&mut addresses, at(130));
        let regained = Action::Announce {
            address,
            regained: true,
        };
        assert!(done.contains(&(at(121), regained)), "{done:?}");
        assert!(addresses.is_unique(address));
    }
}

#[test]
fn an_established_address_is_not_given_up() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    run(&mut addresses, at(10));
    let address = formed("fe80::");
    assert_eq!(
        addresses.claimed(address, None, at(1)),
        Some(Conflict::Defended)
    );
    assert!(addresses.has(address));
    assert_eq!(addresses.claimed(ROUTER, None, at(1)), None);
}

#[test]
fn a_solicitation_that_the_link_gives_back_is_no_conflict() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    let now = addresses.deadline().unwrap();
    let Some(Action::Detect { address, nonce, .. }) = addresses.poll(now) else {
        panic!("no detection");
    };
    assert_eq!(addresses.claimed(address, Some(nonce), at(1)), None);
    assert!(addresses.has(address));
    let other = Some([nonce[0] ^ 1; 6]);
    assert_eq!(
        addresses.claimed(address, other, at(1)),
        Some(Conflict::Disabled)
    );
}

#[test]
fn optimistic_addresses_do_not_ask_neighbours() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    assert_eq!(addresses.asking(), None);
    run(&mut addresses, at(10));
    assert_eq!(addresses.asking(), Some(formed("fe80::")));
}

#[test]
fn another_network_takes_the_addresses_of_the_one_before() {
    let mut addresses = new();
    addresses.add_link_local(at(0));
    for prefix in ["2001:db8:1::", "2001:db8:2::"] {
        addresses.advertised(&information(prefix, 64, HOUR, HOUR), ROUTER, at(0));
    }
    run(&mut addresses, at(10));
    addresses.doubt_all(at(20));
    assert_eq!(addresses.all().count(), 3, "in use meanwhile");
    addresses.advertised(&information("2001:db8:2::", 64, HOUR, HOUR), ROUTER, at(21));
    assert!(addresses.drop_unconfirmed());
    assert!(!addresses.has(formed("2001:db8:1::")));
    assert!(addresses.has(formed("2001:db8:2::")));
    assert!(addresses.has(formed("fe80::")));
    assert!(!addresses.drop_unconfirmed());
}
