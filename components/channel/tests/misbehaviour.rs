//! Each thing that a peer may not do, done once: the error says what it was, and stays.
#![cfg(not(loom))]

use channel::PeerMisbehaved;
use channel::log;
use channel::memory::{OwnRegion, OwnWords, PeerRegion};
use channel::packets::{self, Driver, Stack};
use channel::streams::{self, Consumer, ConsumerEvent, Provider, ProviderEvent};
use channel::testing::{Bell, pool_pair, region_pair, with_hook};

/// A victim's own region, what it reads, and the words of that.
fn victim(own: usize, peers: usize) -> (OwnRegion, PeerRegion, OwnWords) {
    let (own, _) = region_pair(own);
    let (mut attackers, peer) = region_pair(peers);
    (own, peer, attackers.words(peers / 8).unwrap())
}

/// Words of a cache line: every index has one for itself.
const LINE: usize = 8;

/// The first word of a peer's region in its first life, and when it has joined the victim's.
const ALONE: u64 = 1 << 32;
const JOINED: u64 = 1 << 32 | 1;

/// A driver and the words of its stack, in which a line is: epochs, bell, two heads, then tail and descriptors of the
/// receive-free and the transmit-full ring.
fn driver() -> (Driver, OwnWords) {
    let layout = packets::Layout::new(4, 256).unwrap();
    let (own, peer, words) = victim(layout.provider_size(), layout.consumer_size());
    words.set(0, ALONE);
    let driver = Driver::new(layout, own, peer, pool_pair(layout).0, Bell::default()).unwrap();
    words.publish(0, JOINED);
    (driver, words)
}

const DRIVER_SEES_FREE: usize = 4 * LINE;
const DRIVER_SEES_FULL: usize = 6 * LINE;

/// Puts descriptors into a ring of four.
fn post(words: &OwnWords, ring: usize, descriptors: &[(u64, u64)]) {
    for (place, (index, length)) in descriptors.iter().enumerate() {
        words.set(ring + LINE + place, index | length << 32);
    }
    words.publish(ring, descriptors.len() as u64);
}

fn transmit_error(descriptors: &[(u64, u64)]) -> Option<PeerMisbehaved> {
    let (mut driver, words) = driver();
    post(&words, DRIVER_SEES_FULL, descriptors);
    for _ in descriptors {
        if let Err(misbehaved) = driver.next_transmit() {
            assert_eq!(driver.next_transmit(), Err(misbehaved));
            assert!(driver.sleep(true));
            return Some(misbehaved);
        }
    }
    None
}

#[test]
fn a_driver_checks_every_descriptor() {
    assert_eq!(transmit_error(&[(4, 240), (7, 0)]), None);
    assert_eq!(transmit_error(&[(4, 241)]), Some(PeerMisbehaved::TooLong));
    assert_eq!(
        transmit_error(&[(4, u32::MAX.into())]),
        Some(PeerMisbehaved::TooLong)
    );
    for index in [0, 3, 8, u32::MAX.into()] {
        assert_eq!(
            transmit_error(&[(index, 60)]),
            Some(PeerMisbehaved::NoSuchBuffer)
        );
    }
    assert_eq!(
        transmit_error(&[(5, 60), (5, 60)]),
        Some(PeerMisbehaved::NotItsBuffer)
    );
}

#[test]
fn a_driver_takes_no_buffer_back_that_it_did_not_give() {
    let (mut driver, words) = driver();
    for _ in 0..4 {
        driver.take_receive_buffer().unwrap().unwrap();
    }
    post(&words, DRIVER_SEES_FREE, &[(0, 0)]);
    assert_eq!(
        driver.take_receive_buffer(),
        Err(PeerMisbehaved::NotItsBuffer)
    );
}

#[test]
fn a_driver_sees_an_index_jump() {
    let (mut driver, words) = driver();
    words.publish(DRIVER_SEES_FULL, 5);
    assert_eq!(driver.next_transmit(), Err(PeerMisbehaved::IndexJumped));
}

#[test]
fn a_stack_checks_every_descriptor() {
    for (descriptor, misbehaved) in [
        ((0, 241), PeerMisbehaved::TooLong),
        ((4, 60), PeerMisbehaved::NoSuchBuffer),
    ] {
        let layout = packets::Layout::new(4, 256).unwrap();
        let (own, peer, words) = victim(layout.consumer_size(), layout.provider_size());
        words.set(0, ALONE);
        let mut stack =
            Stack::new(layout, own, peer, pool_pair(layout).1, Bell::default()).unwrap();
        words.publish(0, JOINED);
        post(&words, 2 * LINE, &[descriptor]);
        assert_eq!(stack.receive(&mut [0; 512]), Err(misbehaved));
        assert!(stack.sleep(true));
    }
}

fn log_error(tail: u64, head: u64) -> Option<PeerMisbehaved> {
    let (own, peer, words) = victim(log::PROVIDER_SIZE, log::CONSUMER_SIZE);
    words.set(0, ALONE);
    let mut reader = log::Reader::new(own, peer).unwrap();
    words.set(3 * LINE, head);
    words.publish(2 * LINE, tail);
    reader.next(&mut String::new()).err()
}

#[test]
fn a_log_reader_checks_lengths() {
    assert_eq!(log_error(3, 8), None);
    assert_eq!(log_error(3, 9), Some(PeerMisbehaved::TooLong));
    assert_eq!(log_error(1024, 1025), Some(PeerMisbehaved::TooLong));
    assert_eq!(log_error(1025, 8), Some(PeerMisbehaved::IndexJumped));
    assert_eq!(log_error(u64::MAX, 8), Some(PeerMisbehaved::IndexJumped));
}

/// The words of a peer with one connection behind its epochs and bell (and, of a provider, its descriptions).
struct Slot {
    words: OwnWords,
    first: usize,
    flips: u64,
}

impl Slot {
    const STATE: usize = 3 * LINE;
    const PRODUCED: usize = Self::STATE + 1;
    const CONSUMED: usize = Self::STATE + 2;

    fn set(&mut self, word: usize, value: u64) {
        self.words.set(self.first + word, value);
        self.flips ^= 1;
        self.words.publish(self.first + LINE, self.flips);
    }
}

/// Words of a connection's description.
const DESCRIPTION: usize = 2 * LINE;

const OPEN: u64 = 1;
const END: u64 = 2;

fn consumer() -> (Consumer, Slot) {
    let layout = streams::Layout::new(1, 256).unwrap();
    let (own, peer, words) = victim(layout.consumer_size(), layout.provider_size());
    let slot = Slot {
        words,
        first: LINE + DESCRIPTION,
        flips: 0,
    };
    slot.words.set(0, ALONE);
    let mut consumer = Consumer::new(layout, own, peer, Bell::default()).unwrap();
    slot.words.publish(0, JOINED);
    assert_eq!(consumer.next_event(), Ok(Some(ConsumerEvent::Started)));
    consumer.sleep();
    (consumer, slot)
}

/// Does one round, and gives the error that it ends with.
fn round(consumer: &mut Consumer) -> Option<PeerMisbehaved> {
    loop {
        match consumer.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => {
                consumer.sleep();
                return None;
            }
            Err(misbehaved) => {
                assert!(consumer.sleep());
                assert_eq!(consumer.next_event(), Err(misbehaved));
                return Some(misbehaved);
            }
        }
    }
}

fn consumer_error(changes: &[(usize, u64)]) -> Option<PeerMisbehaved> {
    let (mut consumer, mut slot) = consumer();
    changes.iter().find_map(|&(word, value)| {
        slot.set(word, value);
        round(&mut consumer)
    })
}

#[test]
fn a_consumer_checks_a_connections_words() {
    const FIRST: (usize, u64) = (Slot::STATE, 1 << 32 | OPEN);
    let first_and = |then: (usize, u64)| consumer_error(&[FIRST, then]);
    assert_eq!(first_and((Slot::PRODUCED, 256)), None);
    assert_eq!(
        first_and((Slot::PRODUCED, 257)),
        Some(PeerMisbehaved::IndexJumped)
    );
    assert_eq!(
        first_and((Slot::CONSUMED, 1)),
        Some(PeerMisbehaved::IndexJumped)
    );
    assert_eq!(
        first_and((Slot::CONSUMED, 1 << 32)),
        Some(PeerMisbehaved::WrongRestart)
    );
    assert_eq!(
        first_and((Slot::STATE, 2 << 32 | OPEN)),
        Some(PeerMisbehaved::WrongGeneration)
    );
    assert_eq!(
        first_and((Slot::STATE, 1 << 32)),
        Some(PeerMisbehaved::WrongState)
    );
    assert_eq!(
        consumer_error(&[(Slot::STATE, 2 << 32 | OPEN)]),
        Some(PeerMisbehaved::WrongGeneration)
    );
    let ended = (Slot::STATE, 1 << 32 | OPEN | END);
    assert_eq!(
        consumer_error(&[FIRST, ended, (Slot::PRODUCED, 1)]),
        Some(PeerMisbehaved::DataAfterEnd)
    );
}

/// A name may have 64 bytes of visible ASCII.
#[test]
fn a_consumer_checks_a_peers_identity() {
    const HAS_IDENTITY: u64 = 1 << 33;
    let opened = |length: u64, name: u64| {
        let (mut consumer, mut slot) = consumer();
        slot.words.set(LINE + 2, HAS_IDENTITY);
        slot.words.set(LINE + 3, length << 32);
        slot.words.set(LINE + 8, name);
        slot.set(Slot::STATE, 1 << 32 | OPEN);
        round(&mut consumer)
    };
    let name = u64::from_le_bytes(*b"a.exampl");
    assert_eq!(opened(8, name), None);
    assert_eq!(opened(0, 0), None);
    for (length, name) in [
        (7, name),
        (9, name),
        (65, name),
        (u32::MAX.into(), name),
        (1, 10),
    ] {
        assert_eq!(
            opened(length, name),
            Some(PeerMisbehaved::MalformedIdentity)
        );
    }
}

#[test]
fn a_connections_flags_stay_within_its_generation() {
    const FIRST: (usize, u64) = (Slot::STATE, 1 << 32 | OPEN);
    let ended = (Slot::STATE, 1 << 32 | OPEN | END);
    assert_eq!(consumer_error(&[FIRST, ended, ended]), None);
    assert_eq!(
        consumer_error(&[FIRST, ended, FIRST]),
        Some(PeerMisbehaved::WrongState)
    );
    // Of a new connection nothing may be said before it is open.
    assert_eq!(
        consumer_error(&[(Slot::STATE, 1 << 32)]),
        Some(PeerMisbehaved::WrongState)
    );
}

/// The ring of messages behind one slot, for answers and for requests: the head of the other direction's comes before
/// a consumer's, behind a provider's.
struct Messages {
    words: OwnWords,
    tail: usize,
    posted: u64,
}

impl Messages {
    fn post(&mut self, head: u64) {
        let place = self.tail + LINE + 4 * (self.posted as usize % 16);
        self.words.set(place, head);
        self.posted += 1;
        self.words.publish(self.tail, self.posted);
    }
}

const LISTEN: u64 = 2 << 32;

fn provider() -> (Provider, Messages) {
    let layout = streams::Layout::new(1, 256).unwrap();
    let (own, peer, words) = victim(layout.provider_size(), layout.consumer_size());
    let messages = Messages {
        words,
        tail: 6 * LINE,
        posted: 0,
    };
    messages.words.set(0, ALONE);
    let mut provider = Provider::new(layout, own, peer, Bell::default()).unwrap();
    messages.words.publish(0, JOINED);
    assert_eq!(provider.next_event(), Ok(Some(ProviderEvent::Started)));
    provider.sleep();
    (provider, messages)
}

/// How many events there are, and the error that they end with.
fn requests(provider: &mut Provider) -> (usize, Option<PeerMisbehaved>) {
    let mut count = 0;
    loop {
        match provider.next_event() {
            Ok(Some(_)) => count += 1,
            Ok(None) => {
                provider.sleep();
                return (count, None);
            }
            Err(misbehaved) => return (count, Some(misbehaved)),
        }
    }
}

#[test]
fn a_provider_checks_requests() {
    let (mut provider, mut messages) = provider();
    messages.post(LISTEN);
    assert_eq!(requests(&mut provider), (1, None));
    messages.post(3 << 32);
    let unknown = Some(PeerMisbehaved::UnknownMessage);
    assert_eq!(requests(&mut provider), (0, unknown));
    assert_eq!(requests(&mut provider), (0, unknown));
}

/// Sixteen requests may wait for an answer, and for each answer that was taken one more.
#[test]
fn a_provider_holds_no_more_requests_than_it_can_answer() {
    let (mut provider, mut messages) = self::provider();
    (0..16).for_each(|token| messages.post(LISTEN | token));
    assert_eq!(requests(&mut provider), (16, None));
    provider.answer(0, Ok(()));
    messages.words.publish(5 * LINE, 1); // the answer is taken
    messages.post(LISTEN | 16);
    assert_eq!(requests(&mut provider), (1, None));
    provider.answer(1, Ok(()));
    messages.post(LISTEN | 17); // this answer is not
    let full = Some(PeerMisbehaved::UnknownMessage);
    assert_eq!(requests(&mut provider), (0, full));
}

#[test]
fn a_provider_sees_answers_taken_that_it_did_not_give() {
    let (mut provider, mut messages) = self::provider();
    messages.words.publish(5 * LINE, 1);
    messages.post(LISTEN);
    let jumped = Some(PeerMisbehaved::IndexJumped);
    assert_eq!(requests(&mut provider), (0, jumped));
}

#[test]
fn a_provider_checks_whose_generation_it_is() {
    let open = |state: u64| {
        let (mut provider, messages) = self::provider();
        let mut slot = Slot {
            words: messages.words,
            first: LINE,
            flips: 0,
        };
        let description = streams::Opened {
            peer: "192.0.2.1:1".parse().unwrap(),
            local_port: 1,
            token: None,
            identity: None,
            confidential: false,
        };
        provider.open(0, &description).unwrap();
        slot.set(Slot::STATE, state);
        requests(&mut provider).1
    };
    assert_eq!(open(1 << 32 | OPEN), None);
    assert_eq!(open(2 << 32 | OPEN), Some(PeerMisbehaved::WrongGeneration));
    // Of the generation before there is nothing but what was seen of it.
    assert_eq!(open(0), None);
}

#[test]
fn a_consumer_checks_answers() {
    let answered = |heads: &[u64]| {
        let (mut consumer, slot) = consumer();
        let mut messages = Messages {
            words: slot.words,
            tail: DESCRIPTION + 5 * LINE,
            posted: 0,
        };
        assert_eq!(consumer.listen(80), Ok(0));
        heads.iter().for_each(|&head| messages.post(head));
        round(&mut consumer)
    };
    let unknown = Some(PeerMisbehaved::UnknownMessage);
    assert_eq!(answered(&[0]), None);
    assert_eq!(answered(&[1]), unknown, "nothing was asked with this token");
    assert_eq!(answered(&[0, 0]), unknown, "it was answered before");
    assert_eq!(answered(&[1000 << 32]), unknown, "there is no such refusal");
}

#[test]
fn a_consumer_takes_no_connection_for_its_own_that_it_did_not_ask_for() {
    const HAS_TOKEN: u64 = 1 << 32;
    let opened = |token: u64| {
        let (mut consumer, mut slot) = consumer();
        assert_eq!(consumer.connect("192.0.2.1:1".parse().unwrap()), Ok(0));
        slot.words.set(LINE + 2, HAS_TOKEN);
        slot.words.set(LINE + 3, token);
        slot.set(Slot::STATE, 1 << 32 | OPEN);
        round(&mut consumer)
    };
    assert_eq!(opened(0), None);
    assert_eq!(opened(1), Some(PeerMisbehaved::UnknownMessage));
}

#[test]
fn a_log_writer_sees_lines_taken_that_it_did_not_write() {
    let (own, peer, words) = victim(log::CONSUMER_SIZE, log::PROVIDER_SIZE);
    words.set(0, ALONE);
    let mut writer = log::Writer::new(own, peer, Bell::default()).unwrap();
    words.set(2 * LINE, 1);
    words.publish(0, JOINED);
    writer.write(log::Level::Information, 0, "lost");
    assert_eq!(writer.misbehaved(), Some(PeerMisbehaved::IndexJumped));
}

/// A provider that lends its receive ring cannot move bytes in it, and no consumer may ask for that.
#[test]
fn a_lent_ring_is_not_restarted() {
    let layout = streams::Layout::new(1, 256).unwrap();
    let (own, peer, words) = victim(layout.provider_size(), layout.consumer_size());
    words.set(0, ALONE);
    let mut provider = Provider::new(layout, own, peer, Bell::default()).unwrap();
    words.publish(0, JOINED);
    assert_eq!(provider.next_event(), Ok(Some(ProviderEvent::Started)));
    provider.sleep();
    let mut slot = Slot {
        words,
        first: LINE,
        flips: 0,
    };
    let description = streams::Opened {
        peer: "192.0.2.1:1".parse().unwrap(),
        local_port: 1,
        token: None,
        identity: None,
        confidential: false,
    };
    provider.lend(0).unwrap();
    let id = provider.open(0, &description).unwrap();
    slot.set(Slot::STATE, 1 << 32 | OPEN);
    assert_eq!(provider.next_event(), Ok(None));
    provider.commit(id, 10);
    slot.set(Slot::CONSUMED, 10 << 32 | 10);
    assert!(!provider.sleep());
    assert_eq!(provider.next_event(), Err(PeerMisbehaved::WrongRestart));
    assert_eq!(provider.freed(id), 0);
}

/// A round comes to its end even if the peer has news before each look.
#[test]
fn a_round_ends_whatever_the_peer_does() {
    let (mut consumer, mut slot) = consumer();
    slot.set(Slot::STATE, 1 << 32 | OPEN);
    let mut produced = 0;
    let hook = move || {
        produced = (produced + 1).min(200);
        slot.set(Slot::PRODUCED, produced);
    };
    with_hook(hook, || {
        let mut events = 0;
        while let Some(event) = consumer.next_event().unwrap() {
            events += 1;
            assert!(events <= 2, "{event:?}");
            if let ConsumerEvent::Readable(id) = event {
                consumer.read(id, &mut [0; 16]);
            }
        }
        assert!(!consumer.sleep());
    });
}
