//! Both ends of streams.

use std::vec::Vec;

use super::{Attack, Guarded};
use crate::streams::{
    ConnectionId, Consumer, ConsumerEvent, Layout, Opened, PeerIdentity, Provider, ProviderEvent,
};
use crate::testing::Bell;

/// More than one word of ready bits.
const CONNECTIONS: usize = 66;
const RING: usize = 256;

struct Pair {
    /// The provider's, the consumer's.
    regions: [Guarded; 2],
    provider: Provider,
    consumer: Consumer,
}

fn pair() -> Pair {
    let Ok(layout) = Layout::new(CONNECTIONS, RING) else {
        unreachable!("the layout is valid");
    };
    let regions = [layout.provider_size(), layout.consumer_size()].map(Guarded::new);
    let (provider_own, consumer_peer) = regions[0].pair();
    let (consumer_own, provider_peer) = regions[1].pair();
    let provider = Provider::new(layout, provider_own, provider_peer, Bell::default());
    let consumer = Consumer::new(layout, consumer_own, consumer_peer, Bell::default());
    match (provider, consumer) {
        (Ok(provider), Ok(consumer)) => Pair {
            regions,
            provider,
            consumer,
        },
        _ => unreachable!("the regions have the sizes that are asked for"),
    }
}

fn opened(attack: &Attack) -> Opened {
    Opened {
        peer: ([192, 0, 2, attack.byte()], 1000).into(),
        local_port: 80,
        token: None,
        identity: attack
            .byte()
            .is_multiple_of(2)
            .then(|| PeerIdentity::new([attack.byte(); 32], "peer")),
        confidential: attack.byte().is_multiple_of(2),
    }
}

/// Does one thing with a connection's data, and checks what both roles promise.
macro_rules! use_data {
    ($attack:expr, $port:expr, $id:expr, $failed:expr) => {{
        let (attack, port, id) = ($attack, $port, $id);
        let amount = attack.number() % (2 * RING);
        let worked = match attack.byte() % 10 {
            0 => attack.victim(|| port.readable(id)),
            1 => {
                let mut target = std::vec![0; amount];
                let read = attack.victim(|| port.read(id, &mut target));
                assert!(read <= amount);
                read
            }
            2 => attack.victim(|| port.peek(id).len()),
            3 => attack.victim(|| port.consume(id, amount)),
            4 => attack.victim(|| port.writable(id)),
            5 => {
                let source = std::vec![1; amount];
                let written = attack.victim(|| port.write(id, &source));
                assert!(written <= amount);
                written
            }
            6 => {
                let room = attack.victim(|| port.free_slice_mut(id).len());
                let sent = attack.victim(|| port.commit(id, amount));
                assert!(sent <= amount);
                room
            }
            7 => {
                attack.victim(|| port.wait_for_room(id, amount));
                0
            }
            8 => {
                attack.victim(|| port.at_end(id));
                0
            }
            _ => {
                attack.victim(|| port.flush());
                0
            }
        };
        assert!(worked <= RING, "more than a ring holds");
    }};
}

/// Ends a round, or takes one event; gives the event.
macro_rules! next_event {
    ($attack:expr, $port:expr, $failed:expr) => {{
        let (attack, port) = ($attack, $port);
        if attack.byte() % 4 == 0 {
            let idle = attack.victim(|| port.sleep());
            assert!(idle || $failed.is_none(), "work after a failure");
            None
        } else {
            let result = attack.victim(|| port.next_event());
            if $failed.is_some() {
                assert_eq!(result.err(), $failed, "a failure that was forgotten");
            }
            $failed = $failed.or(result.err());
            result.ok().flatten()
        }
    }};
}

/// A provider whose consumer is hostile.
pub fn streams_provider(script: &[u8]) {
    let Pair {
        regions,
        mut provider,
        mut consumer,
    } = pair();
    let control = provider.layout().consumer_size() - CONNECTIONS * RING;
    let attack = Attack::new(script, &regions[1], control);
    attack.run(|| {
        let mut failed = None;
        let mut theirs = Vec::new();
        while attack.goes_on() {
            match attack.byte() % 8 {
                0 => {
                    let slot = attack.number() % (CONNECTIONS + 1);
                    let was_free = slot < CONNECTIONS && provider.id(slot).is_none();
                    let result = attack.victim(|| provider.open(slot, &opened(&attack)));
                    assert!(was_free || result.is_err());
                }
                1 | 2 => {
                    let event = next_event!(&attack, &mut provider, failed);
                    match event {
                        Some(
                            ProviderEvent::Connect { token, .. }
                            | ProviderEvent::Listen { token, .. },
                        ) => {
                            attack.victim(|| provider.answer(token, Ok(())));
                        }
                        Some(ProviderEvent::Released(id)) => {
                            assert_eq!(provider.id(id.slot()), None);
                        }
                        _ => {}
                    }
                }
                3 => {
                    if let Some(id) = some_connection(&attack, &provider) {
                        lend_or_end(&attack, &mut provider, id);
                    }
                }
                4 | 5 => play_consumer(&attack, &mut consumer, &mut theirs),
                _ => {
                    if let Some(id) = some_connection(&attack, &provider) {
                        use_data!(&attack, &mut provider, id, failed);
                    }
                }
            }
        }
    });
    regions.into_iter().for_each(Guarded::check);
}

fn some_connection(attack: &Attack, provider: &Provider) -> Option<ConnectionId> {
    provider.id(usize::from(attack.byte()) % CONNECTIONS)
}

fn lend_or_end(attack: &Attack, provider: &mut Provider, id: ConnectionId) {
    let amount = attack.number() % (2 * RING);
    match attack.byte() % 8 {
        0 => drop(provider.lend(id.slot())),
        1 => assert!(attack.victim(|| provider.freed(id)) <= RING * 4096),
        2 => assert!(attack.victim(|| provider.take(id, amount)) <= RING),
        3 => assert!(attack.victim(|| provider.free(id, amount)) <= RING),
        4 => attack.victim(|| provider.restart(id)),
        5 => attack.victim(|| provider.finish(id)),
        6 => attack.victim(|| provider.closed(id)),
        _ => attack.victim(|| provider.reset(id)),
    }
}

/// The honest consumer, which is cheated through the provider and may well complain.
fn play_consumer(attack: &Attack, consumer: &mut Consumer, open: &mut Vec<ConnectionId>) {
    while let Ok(Some(event)) = consumer.next_event() {
        match event {
            ConsumerEvent::Opened(id, _) => open.push(id),
            ConsumerEvent::Readable(id) => {
                consumer.read(id, &mut [0; RING / 2]);
            }
            _ => {}
        }
    }
    if let Some(&id) = open.get(attack.number() % (open.len() + 1)) {
        match attack.byte() % 8 {
            0 => consumer.close(id),
            1 => consumer.abort(id),
            2 => consumer.release(id),
            3 => drop(consumer.listen(1)),
            _ => drop(consumer.write(id, &[2; RING])),
        }
    }
    consumer.sleep();
}

/// A consumer whose provider is hostile.
pub fn streams_consumer(script: &[u8]) {
    let Pair {
        regions,
        mut provider,
        mut consumer,
    } = pair();
    let control = provider.layout().provider_size() - CONNECTIONS * RING;
    let attack = Attack::new(script, &regions[0], control);
    attack.run(|| {
        let mut failed = None;
        let mut open: Vec<ConnectionId> = Vec::new();
        while attack.goes_on() {
            let chosen = open
                .get(usize::from(attack.byte()) % (open.len() + 1))
                .copied();
            match (attack.byte() % 8, chosen) {
                (0, Some(id)) => match attack.byte() % 3 {
                    0 => attack.victim(|| consumer.close(id)),
                    1 => attack.victim(|| consumer.abort(id)),
                    _ => {
                        attack.victim(|| consumer.release(id));
                        open.retain(|other| *other != id);
                        assert_eq!(attack.victim(|| consumer.write(id, b"x")), 0);
                    }
                },
                (1, _) => drop(attack.victim(|| consumer.listen(7))),
                (2 | 3, _) => {
                    let event = next_event!(&attack, &mut consumer, failed);
                    if let Some(ConsumerEvent::Opened(id, opened)) = event {
                        let name = opened.identity.and_then(|identity| {
                            assert!(identity.name().is_none_or(|name| !name.contains(' ')));
                            identity.name().map(str::len)
                        });
                        assert!(name.is_none_or(|length| length <= PeerIdentity::MAX_NAME));
                        assert!(open.iter().all(|other| other.slot() != id.slot()));
                        open.push(id);
                    }
                }
                (4 | 5, _) => play_provider(&attack, &mut provider),
                (_, Some(id)) => use_data!(&attack, &mut consumer, id, failed),
                (_, None) => {}
            }
        }
    });
    regions.into_iter().for_each(Guarded::check);
}

/// The honest provider, which is cheated through the consumer and may well complain.
fn play_provider(attack: &Attack, provider: &mut Provider) {
    while let Ok(Some(event)) = provider.next_event() {
        match event {
            ProviderEvent::Readable(id) => {
                let bytes = provider.readable(id) / 2;
                provider.take(id, bytes);
                provider.free(id, bytes);
                provider.restart(id);
            }
            ProviderEvent::Listen { token, .. } => provider.answer(token, Ok(())),
            _ => {}
        }
    }
    let slot = usize::from(attack.byte()) % CONNECTIONS;
    match provider.id(slot) {
        None => drop(provider.open(slot, &opened(attack))),
        Some(id) => match attack.byte() % 8 {
            0 => provider.finish(id),
            1 => provider.closed(id),
            2 => provider.reset(id),
            _ => drop(provider.write(id, &[3; RING])),
        },
    }
    provider.sleep();
}
