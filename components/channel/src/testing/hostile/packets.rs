//! Both ends of a pool of packets.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::vec;

use super::{Attack, Guarded};
use crate::packets::{Buffer, Driver, Layout, Pool, ReceiveBuffer, Stack, TransmitBuffer};
use crate::testing::Bell;

const BUFFERS: usize = 4;
const SIZE: usize = 128;

struct Pair {
    layout: Layout,
    /// The driver's, the stack's, the pool.
    regions: [Guarded; 3],
    driver: Driver,
    stack: Stack,
}

fn pair() -> Pair {
    let Ok(layout) = Layout::new(BUFFERS, SIZE) else {
        unreachable!("the layout is valid");
    };
    let sizes = [
        layout.provider_size(),
        layout.consumer_size(),
        layout.pool_size(),
    ];
    let regions = sizes.map(Guarded::new);
    let (driver_own, stack_peer) = regions[0].pair();
    let (stack_own, driver_peer) = regions[1].pair();
    // SAFETY: the memory is never freed and large enough; a pool is for two.
    let pools = unsafe { [Pool::new(regions[2].first()), Pool::new(regions[2].first())] };
    let [first, second] = pools;
    let driver = Driver::new(layout, driver_own, driver_peer, first, Bell::default());
    let stack = Stack::new(layout, stack_own, stack_peer, second, Bell::default());
    match (driver, stack) {
        (Ok(driver), Ok(stack)) => Pair {
            layout,
            regions,
            driver,
            stack,
        },
        _ => unreachable!("the regions have the sizes that are asked for"),
    }
}

/// Buffers in a user's hands, by index: none may come twice.
struct Held<B>(BTreeMap<usize, B>);

impl<B: Buffer> Held<B> {
    fn take(&mut self, buffer: B, range: core::ops::Range<usize>) {
        assert!(
            range.contains(&buffer.index()),
            "a buffer of the other direction"
        );
        assert!(
            self.0.insert(buffer.index(), buffer).is_none(),
            "a buffer came twice"
        );
    }

    fn give(&mut self) -> Option<B> {
        self.0.pop_first().map(|(_, buffer)| buffer)
    }
}

/// A driver whose stack is hostile.
pub fn packets_driver(script: &[u8]) {
    let Pair {
        layout,
        regions,
        mut driver,
        mut stack,
    } = pair();
    let attack = Attack::new(script, &regions[1], layout.consumer_size());
    attack.run(|| {
        let mut received: Held<ReceiveBuffer> = Held(BTreeMap::new());
        let mut sent: Held<TransmitBuffer> = Held(BTreeMap::new());
        let mut failed = None;
        while attack.goes_on() {
            let result = match attack.byte() % 6 {
                0 => attack
                    .victim(|| driver.take_receive_buffer())
                    .map(|buffer| {
                        if let Some(buffer) = buffer {
                            received.take(buffer, 0..BUFFERS);
                        }
                    }),
                1 => attack.victim(|| driver.next_transmit()).map(|next| {
                    if let Some((buffer, length)) = next {
                        assert!(length <= layout.frame_size());
                        assert_eq!(driver.memory(&buffer).len(), SIZE);
                        sent.take(buffer, BUFFERS..2 * BUFFERS);
                    }
                }),
                2 => {
                    if let Some(buffer) = received.give() {
                        let length = attack.number();
                        attack.victim(|| driver.received(buffer, length));
                    }
                    Ok(())
                }
                3 => {
                    if let Some(buffer) = sent.give() {
                        attack.victim(|| driver.transmitted(buffer));
                    }
                    Ok(())
                }
                4 => {
                    let idle = attack.victim(|| driver.sleep(true));
                    assert!(idle || failed.is_none());
                    Ok(())
                }
                _ => {
                    play_stack(&mut stack);
                    Ok(())
                }
            };
            if failed.is_some() && result.is_err() {
                assert_eq!(result.err(), failed);
            }
            failed = failed.or(result.err());
        }
    });
    regions.into_iter().for_each(Guarded::check);
}

fn play_stack(stack: &mut Stack) {
    // It is cheated through the driver, and may well complain.
    let _ = stack.receive(&mut [0; SIZE]);
    if let Some(buffer) = stack.transmit_buffer() {
        stack.submit(buffer, 60);
    }
    stack.sleep(true);
}

/// A stack whose driver is hostile.
pub fn packets_stack(script: &[u8]) {
    let Pair {
        layout,
        regions,
        mut driver,
        mut stack,
    } = pair();
    let attack = Attack::new(script, &regions[0], layout.provider_size());
    attack.run(|| {
        let mut building: Held<TransmitBuffer> = Held(BTreeMap::new());
        let mut failed = None;
        // More room than any frame needs, so that one that is too long would show.
        let mut frame = vec![0; 2 * SIZE];
        while attack.goes_on() {
            match attack.byte() % 6 {
                0 => {
                    let result = attack.victim(|| stack.receive(&mut frame));
                    if failed.is_some() {
                        assert_eq!(result.err(), failed);
                    }
                    assert!(result.ok().flatten() <= Some(layout.frame_size()));
                    failed = failed.or(result.err());
                }
                1 => {
                    if let Some(mut buffer) = attack.victim(|| stack.transmit_buffer()) {
                        assert_eq!(stack.frame_mut(&mut buffer).len(), layout.frame_size());
                        building.take(buffer, BUFFERS..2 * BUFFERS);
                    }
                }
                2 => {
                    if let Some(buffer) = building.give() {
                        let length = attack.number();
                        attack.victim(|| stack.submit(buffer, length));
                    }
                }
                3 => {
                    attack.victim(|| stack.link());
                }
                4 => {
                    let idle = attack.victim(|| stack.sleep(true));
                    assert!(idle || failed.is_none());
                }
                _ => play_driver(&mut driver),
            }
        }
    });
    regions.into_iter().for_each(Guarded::check);
}

fn play_driver(driver: &mut Driver) {
    if let Ok(Some(buffer)) = driver.take_receive_buffer() {
        driver.received(buffer, 60);
    }
    if let Ok(Some((buffer, _))) = driver.next_transmit() {
        driver.transmitted(buffer);
    }
    driver.sleep(true);
}
