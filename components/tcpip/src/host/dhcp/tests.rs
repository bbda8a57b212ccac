//! The client against servers that are made up message by message.

use proptest::prelude::*;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use super::message::*;
use super::*;
use crate::host::ipv4::Route;

const HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);
const OWN: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
const SERVER: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
const OTHER: Ipv4Address = Ipv4Address::new(10, 0, 2, 254);

/// A message of a server.
#[derive(Clone)]
struct Answer {
    kind: u8,
    yours: Ipv4Address,
    options: Vec<(u8, Vec<u8>)>,
    file: Vec<u8>,
    sname: Vec<u8>,
}

impl Answer {
    fn new(kind: Kind) -> Self {
        Self {
            kind: kind as u8,
            yours: OWN,
            options: vec![
                (SERVER_IDENTIFIER, SERVER.octets().into()),
                (SUBNET_MASK, vec![255, 255, 255, 0]),
                (ROUTER, SERVER.octets().into()),
                (LEASE_TIME, 3600u32.to_be_bytes().into()),
            ],
            file: vec![],
            sname: vec![],
        }
    }

    fn with(mut self, code: u8, value: impl Into<Vec<u8>>) -> Self {
        self.options.retain(|(known, _)| *known != code);
        self.options.push((code, value.into()));
        self
    }

    fn without(mut self, code: u8) -> Self {
        self.options.retain(|(known, _)| *known != code);
        self
    }

    fn of(mut self, address: Ipv4Address) -> Self {
        self.yours = address;
        self
    }

    fn to_bytes(&self, transaction: u32) -> Vec<u8> {
        let mut bytes = vec![0; 240];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[4..8].copy_from_slice(&transaction.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.yours.octets());
        bytes[28..34].copy_from_slice(&HARDWARE.0);
        bytes[44..44 + self.sname.len()].copy_from_slice(&self.sname);
        bytes[108..108 + self.file.len()].copy_from_slice(&self.file);
        bytes[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        bytes.extend([53, 1, self.kind]);
        for (code, value) in &self.options {
            bytes.extend([*code, value.len() as u8]);
            bytes.extend(value);
        }
        bytes.push(255);
        bytes
    }
}

/// A message that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    /// In milliseconds.
    at: i64,
    kind: u8,
    transaction: u32,
    client: Ipv4Address,
    from: Ipv4Address,
    to: Option<Ipv4Address>,
    options: Vec<(u8, Vec<u8>)>,
}

impl Sent {
    fn option(&self, code: u8) -> Option<&[u8]> {
        let found = self.options.iter().find(|(known, _)| *known == code);
        found.map(|(_, value)| &value[..])
    }
}

/// The client, its clock, and what it wanted.
struct Lab {
    client: Client,
    now: Instant,
    sent: Vec<Sent>,
    leases: Vec<Lease>,
    lost: usize,
    notices: Vec<HostNotice>,
}

impl Lab {
    fn new() -> Self {
        let now = Instant::from_secs(100);
        let client = Client::new(HARDWARE, "https".into(), Random::new([3; 16]), now);
        let mut lab = Self {
            client,
            now,
            sent: vec![],
            leases: vec![],
            lost: 0,
            notices: vec![],
        };
        lab.client.poll(now);
        lab.collect();
        lab
    }

    /// A client that has the lease of [`Answer::new`].
    fn bound() -> Self {
        let mut lab = Self::new();
        lab.answer(&Answer::new(Kind::Offer));
        lab.answer(&Answer::new(Kind::Ack));
        assert_eq!(lab.leases.len(), 1);
        lab
    }

    fn answer(&mut self, answer: &Answer) {
        let bytes = answer.to_bytes(self.client.transaction);
        self.client.receive(&bytes, SERVER, self.now);
        self.collect();
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(deadline) = self.client.deadline().filter(|it| *it <= end) {
            self.now = deadline.max(self.now);
            self.client.poll(self.now);
            self.collect();
        }
        self.now = end;
    }

    fn collect(&mut self) {
        while let Some(output) = self.client.output() {
            match output {
                Output::Send { message, from, to } => {
                    let at = self.now.total_millis();
                    self.sent.push(parse(&message, (from, to), at));
                }
                Output::Bound(lease) => self.leases.push(lease),
                Output::Lost => self.lost += 1,
                Output::Notice(notice) => self.notices.push(notice),
            }
        }
    }

    fn last(&self) -> &Sent {
        self.sent.last().unwrap()
    }

    fn kinds(&self) -> Vec<u8> {
        self.sent.iter().map(|sent| sent.kind).collect()
    }

    /// Seconds between the messages, rounded down.
    fn gaps(&self) -> Vec<i64> {
        let pairs = self.sent.windows(2);
        pairs.map(|it| (it[1].at - it[0].at) / 1000).collect()
    }
}

fn parse(message: &[u8], (from, to): (Ipv4Address, Option<Ipv4Address>), at: i64) -> Sent {
    assert!(message.len() >= 300, "as long as BOOTP's");
    assert_eq!(message[..4], [1, 1, 6, 0]);
    assert_eq!(message[236..240], [0x63, 0x82, 0x53, 0x63]);
    let mut options = vec![];
    let mut rest = &message[240..];
    while let [code, length, tail @ ..] = rest
        && *code != 255
    {
        let (value, tail) = tail.split_at((*length).into());
        options.push((*code, value.to_vec()));
        rest = tail;
    }
    assert_eq!(rest[0], 255);
    let address = |at: usize| Ipv4Address::from(<[u8; 4]>::try_from(&message[at..at + 4]).unwrap());
    let sent = Sent {
        at,
        kind: 0,
        transaction: u32::from_be_bytes(message[4..8].try_into().unwrap()),
        client: address(12),
        from,
        to,
        options,
    };
    let kind = sent.option(53).unwrap()[0];
    Sent { kind, ..sent }
}

const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;

#[test]
fn discover_carries_what_servers_want_to_know() {
    let lab = Lab::new();
    let discover = lab.last();
    assert_eq!(
        (discover.kind, discover.from, discover.to),
        (DISCOVER, Ipv4Address::UNSPECIFIED, None)
    );
    assert_eq!(discover.option(12), Some(&b"https"[..]));
    assert_eq!(discover.option(61), Some(&[1, 2, 0, 0, 0, 0, 9][..]));
    assert_eq!(discover.option(57), Some(&[0x05, 0xdc][..]));
    let parameters = discover.option(55).unwrap();
    for code in [1, 3, 6, 15, 26, 28, 51, 54, 58, 59, 121] {
        assert!(parameters.contains(&code), "{code}");
    }
}

#[test]
fn offer_and_acknowledgment_give_a_lease() {
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    let request = lab.last().clone();
    assert_eq!(
        (request.kind, request.client, request.to),
        (REQUEST, Ipv4Address::UNSPECIFIED, None)
    );
    assert_eq!(request.option(50), Some(&OWN.octets()[..]));
    assert_eq!(request.option(54), Some(&SERVER.octets()[..]));
    assert_eq!(request.transaction, lab.sent[0].transaction);
    lab.answer(&Answer::new(Kind::Ack));
    let config = &lab.leases[0].config;
    assert_eq!(config.address, "10.0.2.15/24".parse().unwrap());
    assert_eq!(
        config.next_hop(Ipv4Address::new(8, 8, 8, 8), &[]),
        Some(SERVER)
    );
    assert_eq!(lab.notices, []);
}

#[test]
fn waits_for_a_server_longer_each_time() {
    let mut lab = Lab::new();
    lab.run(400);
    let gaps = lab.gaps();
    for (gap, expected) in gaps.iter().zip([4, 8, 16, 32, 64, 64, 64]) {
        assert!((expected - 1..=expected).contains(gap), "{gaps:?}");
    }
    assert!(gaps.len() >= 6);
    let random = lab
        .sent
        .windows(2)
        .any(|it| (it[1].at - it[0].at) % 1000 != 0);
    assert!(random, "each has a random part");
    assert!(lab.kinds().iter().all(|kind| *kind == DISCOVER));
    assert_eq!(lab.notices, [HostNotice::NoServer]);
}

#[test]
fn asks_four_times_for_an_offered_address_and_then_begins_again() {
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    lab.run(70);
    let expected = [DISCOVER, REQUEST, REQUEST, REQUEST, REQUEST, DISCOVER];
    assert_eq!(lab.kinds()[..6], expected);
    assert_ne!(lab.last().transaction, lab.sent[0].transaction);
}

#[test]
fn messages_for_others_are_ignored() {
    let mut lab = Lab::new();
    let offer = Answer::new(Kind::Offer);
    let transaction = lab.client.transaction;
    let good = offer.to_bytes(transaction);
    let other_transaction = offer.to_bytes(transaction.wrapping_add(1));
    let mut other_client = good.clone();
    other_client[33] ^= 1;
    let mut request = good.clone();
    request[0] = 1;
    let mut bootp = good.clone();
    bootp[236] = 0;
    for bytes in [
        &other_transaction,
        &other_client,
        &request,
        &bootp,
        &good[..200].to_vec(),
    ] {
        lab.client.receive(bytes, SERVER, lab.now);
        lab.collect();
        assert_eq!(lab.sent.len(), 1);
    }
    assert_eq!(lab.notices, []);
}

#[test]
fn the_first_of_several_routers_is_used() {
    let mut lab = Lab::new();
    let routers = [SERVER.octets(), OTHER.octets()].concat();
    lab.answer(&Answer::new(Kind::Offer));
    lab.answer(&Answer::new(Kind::Ack).with(ROUTER, routers));
    let config = &lab.leases[0].config;
    assert_eq!(
        config.next_hop(Ipv4Address::new(8, 8, 8, 8), &[]),
        Some(SERVER)
    );
}

#[test]
fn a_missing_mask_is_32_bits_with_a_router_and_of_the_class_without() {
    for (router, address, prefix) in [
        (true, OWN, 32),
        (false, OWN, 8),
        (false, Ipv4Address::new(172, 16, 0, 9), 16),
        (false, Ipv4Address::new(192, 168, 0, 9), 24),
    ] {
        let mut lab = Lab::new();
        let mut ack = Answer::new(Kind::Ack).without(SUBNET_MASK).of(address);
        if !router {
            ack = ack.without(ROUTER);
        }
        let offer = Answer {
            kind: 2,
            ..ack.clone()
        };
        lab.answer(&offer);
        lab.answer(&ack);
        assert_eq!(lab.leases[0].config.address.prefix_len(), prefix);
        let part = LeaseFlaw::NoMask(prefix);
        assert_eq!(
            lab.notices,
            [HostNotice::Flaw {
                server: SERVER,
                part
            }]
        );
    }
}

#[test]
fn offers_that_cannot_be_used_are_refused_with_the_reason() {
    let offer = || Answer::new(Kind::Offer);
    let address = |a, b, c, d| Ipv4Address::new(a, b, c, d);
    let cases = [
        (
            offer().of(address(127, 0, 0, 1)),
            LeaseRefusal::Address(address(127, 0, 0, 1)),
        ),
        (
            offer().of(address(0, 0, 0, 0)),
            LeaseRefusal::Address(address(0, 0, 0, 0)),
        ),
        (
            offer().of(address(224, 0, 0, 1)),
            LeaseRefusal::Address(address(224, 0, 0, 1)),
        ),
        (
            offer().of(address(240, 0, 0, 1)),
            LeaseRefusal::Address(address(240, 0, 0, 1)),
        ),
        (offer().of(BROADCAST), LeaseRefusal::Address(BROADCAST)),
        (
            offer().of(address(10, 0, 2, 255)),
            LeaseRefusal::Address(address(10, 0, 2, 255)),
        ),
        (
            offer().of(address(10, 0, 2, 0)),
            LeaseRefusal::Address(address(10, 0, 2, 0)),
        ),
        (
            offer().with(SUBNET_MASK, [255, 0, 255, 0]),
            LeaseRefusal::Mask(vec![255, 0, 255, 0]),
        ),
        (
            offer().with(SUBNET_MASK, [255, 255, 255]),
            LeaseRefusal::Mask(vec![255, 255, 255]),
        ),
        (
            offer().with(SUBNET_MASK, [0, 0, 0, 0]),
            LeaseRefusal::Mask(vec![0, 0, 0, 0]),
        ),
        (
            offer().with(LEASE_TIME, [0, 0, 0, 0]),
            LeaseRefusal::ShortLease(0),
        ),
        (
            offer().with(LEASE_TIME, [0, 0, 1]),
            LeaseRefusal::NoLeaseTime,
        ),
        (offer().without(LEASE_TIME), LeaseRefusal::NoLeaseTime),
        (
            offer().without(SERVER_IDENTIFIER),
            LeaseRefusal::NoServerIdentifier,
        ),
    ];
    for (offer, reason) in cases {
        let mut lab = Lab::new();
        lab.answer(&offer);
        assert_eq!(lab.kinds(), [DISCOVER], "{reason:?}");
        let expected = HostNotice::Refused {
            server: SERVER,
            reason: reason.clone(),
        };
        assert_eq!(lab.notices, [expected]);
        // The next server may be better.
        lab.answer(&Answer::new(Kind::Offer));
        assert_eq!(lab.kinds(), [DISCOVER, REQUEST], "{reason:?}");
    }
}

const BROADCAST: Ipv4Address = Ipv4Address::BROADCAST;

#[test]
fn an_unusable_acknowledgment_makes_the_client_wait_longer_each_time() {
    let mut lab = Lab::new();
    let mut discovers = vec![];
    while lab.now < Instant::from_secs(400) {
        if lab.last().kind == DISCOVER {
            discovers.push(lab.last().at / 1000);
            lab.answer(&Answer::new(Kind::Offer));
            lab.answer(&Answer::new(Kind::Ack).with(SUBNET_MASK, [255, 0, 255, 0]));
        }
        lab.run(1);
    }
    let gaps: Vec<_> = discovers.windows(2).map(|it| it[1] - it[0]).collect();
    assert!(gaps[0] <= 2 && gaps[1] >= 3 && gaps[4] >= 31, "{gaps:?}");
    assert!(discovers.len() < 10, "{gaps:?}");
    assert_eq!(lab.leases, []);
}

#[test]
fn an_acknowledgment_of_another_address_is_refused() {
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    let other = Ipv4Address::new(10, 0, 2, 16);
    lab.answer(&Answer::new(Kind::Ack).of(other));
    let reason = LeaseRefusal::OtherAddress(other);
    assert_eq!(
        lab.notices,
        [HostNotice::Refused {
            server: SERVER,
            reason
        }]
    );
    assert_eq!(lab.leases, []);
}

#[test]
fn a_renewal_without_mask_and_router_keeps_the_former_ones() {
    let mut lab = Lab::bound();
    lab.run(1800);
    let renewal = lab.last().clone();
    assert_eq!(
        (renewal.kind, renewal.client, renewal.from),
        (REQUEST, OWN, OWN)
    );
    assert_eq!(renewal.to, Some(SERVER), "to the server identifier");
    assert_eq!((renewal.option(50), renewal.option(54)), (None, None));
    assert_ne!(renewal.transaction, lab.sent[0].transaction);
    lab.answer(&Answer::new(Kind::Ack).without(SUBNET_MASK).without(ROUTER));
    assert_eq!(lab.leases.len(), 2);
    assert_eq!(lab.leases[1].config, lab.leases[0].config);
    lab.run(1700);
    assert_eq!(
        (lab.sent.len(), lab.lost),
        (3, 0),
        "renewed for another hour"
    );
}

#[test]
fn a_renewal_goes_to_the_server_identifier_whatever_the_source() {
    let mut lab = Lab::new();
    let identifier = Ipv4Address::new(10, 0, 2, 77);
    let known = |kind| Answer::new(kind).with(SERVER_IDENTIFIER, identifier.octets());
    lab.answer(&known(Kind::Offer));
    lab.answer(&known(Kind::Ack));
    lab.run(1800);
    assert_eq!(lab.last().to, Some(identifier));
}

#[test]
fn without_an_answer_any_server_is_asked_and_at_the_end_the_address_is_lost() {
    let mut lab = Lab::bound();
    lab.run(3599);
    assert_eq!(lab.lost, 0);
    // T1 at 1800 s, with some fuzz; half of what is left until T2 (3150 s), at least a minute; then the same until the end.
    let requests = lab.sent[2..].iter();
    let times: Vec<_> = requests
        .map(|it| (it.at / 1000 - 100, it.to.is_some()))
        .collect();
    assert!((1743..=1800).contains(&times[0].0), "{times:?}");
    assert!((2446..=2475).contains(&times[1].0), "{times:?}");
    let renewals = times.iter().filter(|(_, unicast)| *unicast).count();
    assert!(times.contains(&(3150, false)), "{times:?}");
    assert!(renewals <= 8 && times.len() <= 14, "{times:?}");
    let rebind = lab.last().clone();
    assert_eq!((rebind.client, rebind.from, rebind.to), (OWN, OWN, None));
    lab.run(2);
    assert_eq!(lab.lost, 1);
    assert!(lab.notices.contains(&HostNotice::Expired { address: OWN }));
    assert_eq!(lab.last().kind, DISCOVER);
}

#[test]
fn any_server_may_answer_while_rebinding() {
    let mut lab = Lab::bound();
    lab.run(3160);
    let other = Answer::new(Kind::Ack).with(SERVER_IDENTIFIER, OTHER.octets());
    lab.answer(&other);
    assert_eq!(lab.leases.len(), 2);
    assert_eq!(lab.leases[1].server, OTHER);
}

#[test]
fn the_servers_own_times_are_used_if_they_make_sense() {
    for (renewal, rebinding, expected) in [
        (600, 1200, 600),
        (3000, 1000, 500),
        (9000, 9000, 1800),
        (0, 0, 0),
    ] {
        let mut lab = Lab::new();
        lab.answer(&Answer::new(Kind::Offer));
        let ack = Answer::new(Kind::Ack)
            .with(RENEWAL_TIME, u32::to_be_bytes(renewal))
            .with(REBINDING_TIME, u32::to_be_bytes(rebinding));
        lab.answer(&ack);
        let times = lab.leases[0].times.unwrap();
        assert!(
            times.renew <= times.rebind && times.rebind < times.end,
            "{times:?}"
        );
        if expected > 500 {
            let fuzzy = expected - expected / 31..=expected;
            assert!(fuzzy.contains(&times.renew.secs()), "{times:?}");
        }
    }
}

#[test]
fn a_lease_without_end_is_never_renewed() {
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    lab.answer(&Answer::new(Kind::Ack).with(LEASE_TIME, [0xff; 4]));
    assert_eq!(lab.client.deadline(), None);
}

#[test]
fn a_denial_by_a_server_that_was_not_chosen_is_ignored() {
    let nak = || Answer::new(Kind::Nak).with(SERVER_IDENTIFIER, OTHER.octets());
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    lab.answer(&nak());
    lab.answer(&Answer::new(Kind::Ack));
    assert_eq!(lab.leases.len(), 1);
    lab.run(1800);
    lab.answer(&nak());
    assert_eq!((lab.lost, lab.sent.len()), (0, 3));
}

#[test]
fn an_acknowledgment_by_a_server_that_was_not_chosen_is_ignored() {
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    lab.answer(&Answer::new(Kind::Ack).with(SERVER_IDENTIFIER, OTHER.octets()));
    assert_eq!(lab.leases, []);
}

#[test]
fn denials_by_the_chosen_server_end_the_lease_and_do_not_flood() {
    let mut lab = Lab::bound();
    lab.run(1800);
    lab.answer(&Answer::new(Kind::Nak));
    assert_eq!(lab.lost, 1);
    assert!(lab.notices.contains(&HostNotice::Denied { server: SERVER }));
    let before = lab.sent.len();
    for _ in 0..300 {
        match lab.last().kind {
            DISCOVER => lab.answer(&Answer::new(Kind::Offer)),
            _ => lab.answer(&Answer::new(Kind::Nak)),
        }
        lab.run(1);
    }
    assert!(lab.sent.len() - before < 24, "{:?}", lab.gaps());
    assert_eq!(lab.lost, 1);
}

#[test]
fn offers_of_no_time_do_not_flood() {
    let mut lab = Lab::new();
    for _ in 0..300 {
        lab.answer(&Answer::new(Kind::Offer).with(LEASE_TIME, [0; 4]));
        lab.run(1);
    }
    assert!(lab.sent.len() < 9, "{:?}", lab.gaps());
}

#[test]
fn options_in_file_and_sname_are_read() {
    let mut answer = Answer::new(Kind::Ack)
        .without(SUBNET_MASK)
        .without(ROUTER)
        .with(52, [3]);
    answer.file = vec![1, 4, 255, 255, 255, 0, 255];
    answer.sname = vec![0, 3, 4, 10, 0, 2, 2, 255];
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    lab.answer(&answer);
    let config = &lab.leases[0].config;
    assert_eq!(config.address.prefix_len(), 24);
    assert_eq!(
        config.next_hop(Ipv4Address::new(8, 8, 8, 8), &[]),
        Some(SERVER)
    );
    assert_eq!(lab.notices, []);
}

#[test]
fn an_option_that_runs_past_the_end_is_refused() {
    let mut lab = Lab::new();
    let mut bytes = Answer::new(Kind::Offer).to_bytes(lab.client.transaction);
    bytes.pop();
    bytes.extend([6, 200, 1]);
    lab.client.receive(&bytes, SERVER, lab.now);
    lab.collect();
    let reason = LeaseRefusal::Malformed;
    assert_eq!(
        lab.notices,
        [HostNotice::Refused {
            server: SERVER,
            reason
        }]
    );
    assert_eq!(lab.sent.len(), 1);
}

#[test]
fn classless_routes_replace_the_router() {
    // 198.51.100.0/24 by way of 10.0.2.3, all else by way of 10.0.2.4, 192.0.2.0/25 on the link; split in two (RFC 3396).
    let routes = [
        24, 198, 51, 100, 10, 0, 2, 3, 0, 10, 0, 2, 4, 25, 192, 0, 2, 0, 0, 0, 0, 0,
    ];
    let mut answer = Answer::new(Kind::Ack);
    answer.options.push((CLASSLESS_ROUTES, routes[..5].into()));
    answer.options.push((CLASSLESS_ROUTES, routes[5..].into()));
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    lab.answer(&answer);
    let config = &lab.leases[0].config;
    let hop = |a, b, c, d| config.next_hop(Ipv4Address::new(a, b, c, d), &[]);
    assert_eq!(hop(198, 51, 100, 9), Some(Ipv4Address::new(10, 0, 2, 3)));
    assert_eq!(hop(8, 8, 8, 8), Some(Ipv4Address::new(10, 0, 2, 4)));
    assert_eq!(hop(192, 0, 2, 9), Some(Ipv4Address::new(192, 0, 2, 9)));
    let on_link = Route {
        destination: "192.0.2.0/25".parse().unwrap(),
        router: None,
    };
    assert!(config.routes.contains(&on_link));
}

#[test]
fn broken_classless_routes_leave_the_router() {
    let many = [8, 10, 10, 0, 2, 3].repeat(17);
    for routes in [
        vec![33, 1, 2],
        vec![24, 198, 51],
        vec![0, 127, 0, 0, 1],
        many,
    ] {
        let mut lab = Lab::new();
        lab.answer(&Answer::new(Kind::Offer));
        lab.answer(&Answer::new(Kind::Ack).with(CLASSLESS_ROUTES, routes));
        let config = &lab.leases[0].config;
        assert_eq!(
            config.next_hop(Ipv4Address::new(8, 8, 8, 8), &[]),
            Some(SERVER)
        );
        let part = LeaseFlaw::Routes;
        assert_eq!(
            lab.notices,
            [HostNotice::Flaw {
                server: SERVER,
                part
            }]
        );
    }
}

#[test]
fn routers_that_are_no_hosts_are_ignored() {
    let mut lab = Lab::new();
    lab.answer(&Answer::new(Kind::Offer));
    lab.answer(&Answer::new(Kind::Ack).with(ROUTER, [0, 0, 0, 0]));
    assert_eq!(lab.leases[0].config.routes, []);
    let part = LeaseFlaw::Router;
    assert_eq!(
        lab.notices,
        [HostNotice::Flaw {
            server: SERVER,
            part
        }]
    );
}

#[test]
fn the_mtu_is_used_unless_it_is_tiny() {
    for (mtu, expected) in [(1400u16, Some(1400)), (68, None)] {
        let mut lab = Lab::new();
        lab.answer(&Answer::new(Kind::Offer));
        lab.answer(&Answer::new(Kind::Ack).with(INTERFACE_MTU, mtu.to_be_bytes()));
        assert_eq!(lab.leases[0].config.mtu, expected);
    }
}

#[test]
fn a_link_that_is_back_has_the_lease_confirmed() {
    let mut lab = Lab::bound();
    lab.run(60);
    lab.client.link_up(lab.now);
    lab.client.poll(lab.now);
    lab.collect();
    let request = lab.last().clone();
    assert_eq!(
        (request.kind, request.client, request.to),
        (REQUEST, Ipv4Address::UNSPECIFIED, None)
    );
    assert_eq!(request.option(50), Some(&OWN.octets()[..]));
    assert_eq!(request.option(54), None);
    lab.answer(&Answer::new(Kind::Ack));
    assert_eq!((lab.leases.len(), lab.lost), (2, 0));
}

#[test]
fn a_link_to_another_network_ends_the_lease() {
    let mut lab = Lab::bound();
    lab.client.link_up(lab.now);
    lab.client.poll(lab.now);
    lab.answer(&Answer::new(Kind::Nak).with(SERVER_IDENTIFIER, OTHER.octets()));
    assert_eq!(lab.lost, 1);
    lab.run(2);
    assert_eq!(lab.last().kind, DISCOVER);
}

#[test]
fn without_a_server_the_lease_goes_on_after_the_link_was_down() {
    let mut lab = Lab::bound();
    lab.client.link_up(lab.now);
    lab.run(1700);
    assert_eq!(lab.kinds(), [DISCOVER, REQUEST, REQUEST, REQUEST]);
    assert_eq!(lab.lost, 0);
    lab.run(200);
    assert_eq!(lab.last().to, Some(SERVER), "renewed in time");
}

#[test]
fn an_address_that_another_host_has_is_declined() {
    let mut lab = Lab::bound();
    lab.client.decline(lab.now);
    lab.collect();
    let decline = lab.last().clone();
    assert_eq!(
        (decline.kind, decline.client, decline.to),
        (DECLINE, Ipv4Address::UNSPECIFIED, None)
    );
    assert_eq!(decline.option(50), Some(&OWN.octets()[..]));
    assert_eq!(decline.option(54), Some(&SERVER.octets()[..]));
    assert_eq!((decline.option(55), decline.option(57)), (None, None));
    lab.run(9);
    assert_eq!(lab.last().kind, DECLINE, "ten seconds at least");
    lab.run(2);
    assert_eq!(lab.last().kind, DISCOVER);
}

proptest! {
    /// Whatever servers send, the client does not flood the link and always has something to wait for.
    #[test]
    fn no_server_makes_the_client_flood(
        answers in prop::collection::vec((2u8..7, 0usize..8, any::<u8>(), any::<u32>(), any::<bool>()), 0..60),
    ) {
        let mut lab = Lab::new();
        let begin = lab.now;
        for (kind, change, byte, number, short) in answers {
            let mut answer = Answer::new(Kind::Ack);
            answer.kind = kind;
            let codes = [SERVER_IDENTIFIER, SUBNET_MASK, ROUTER, LEASE_TIME, RENEWAL_TIME, REBINDING_TIME, CLASSLESS_ROUTES, 52];
            let value = number.to_be_bytes();
            answer = answer.with(codes[change], if short { vec![byte] } else { value.to_vec() });
            lab.answer(&answer);
            lab.run(u64::from(byte % 4));
            let forever = lab.leases.last().is_some_and(|lease| lease.times.is_none());
            prop_assert!(lab.client.deadline().is_some() || forever);
        }
        lab.run(60);
        let seconds = (lab.now - begin).secs() as usize;
        prop_assert!(lab.sent.len() <= 8 + seconds, "{} in {seconds} s", lab.sent.len());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), valid in any::<bool>()) {
        let mut lab = Lab::new();
        let mut message = Answer::new(Kind::Offer).to_bytes(lab.client.transaction);
        if valid {
            message.truncate(243);
            message.extend(bytes);
        } else {
            message = bytes;
        }
        lab.client.receive(&message, SERVER, lab.now);
        lab.collect();
    }
}
