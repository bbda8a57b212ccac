//! One side of a `packets` connection starts over: buffers are neither lost nor in two hands, and frames go on.
#![cfg(not(loom))]

use channel::packets::{Buffer, Driver, Layout, Link, ReceiveBuffer, Stack, TransmitBuffer};
use channel::testing::{Bell, Shared, pool_pair};
use proptest::prelude::*;

const COUNT: usize = 4;
const LINK: Link = Link {
    address: [0x52, 0x54, 0, 0x12, 0x34, 0xff],
    up: true,
    mtu: 1500,
};

/// Both ends over memory that either can lose, and the buffers that their users have.
struct Pair {
    /// What the driver writes, and the stack.
    regions: [Shared; 2],
    /// What the driver rings, and the stack.
    rings: [Bell; 2],
    driver: Driver,
    stack: Stack,
    /// What the device has.
    filling: Vec<ReceiveBuffer>,
    sending: Vec<TransmitBuffer>,
    building: Vec<TransmitBuffer>,
}

fn layout() -> Layout {
    Layout::new(COUNT, 256).unwrap()
}

fn driver(regions: &[Shared; 2], rings: &[Bell; 2]) -> Driver {
    let (own, peers) = (regions[0].own(), regions[1].peers());
    let mut driver = Driver::new(
        layout(),
        own,
        peers,
        pool_pair(layout()).0,
        rings[0].clone(),
    );
    driver.as_mut().unwrap().set_link(LINK);
    driver.unwrap()
}

fn stack(regions: &[Shared; 2], rings: &[Bell; 2]) -> Stack {
    let (own, peers) = (regions[1].own(), regions[0].peers());
    Stack::new(
        layout(),
        own,
        peers,
        pool_pair(layout()).1,
        rings[1].clone(),
    )
    .unwrap()
}

impl Pair {
    fn new() -> Self {
        let regions = [layout().provider_size(), layout().consumer_size()].map(Shared::new);
        let rings = [Bell::default(), Bell::default()];
        let mut pair = Self {
            driver: driver(&regions, &rings),
            stack: stack(&regions, &rings),
            regions,
            rings,
            filling: vec![],
            sending: vec![],
            building: vec![],
        };
        pair.settle();
        pair
    }

    /// The driver loses its memory, resets the device and starts over.
    fn restart_driver(&mut self) {
        self.regions[0].wipe();
        self.filling.clear();
        self.sending.clear();
        self.driver = driver(&self.regions, &self.rings);
    }

    fn restart_stack(&mut self) {
        self.regions[1].wipe();
        self.building.clear();
        self.stack = stack(&self.regions, &self.rings);
    }

    /// Lets both work until they sleep and nobody was rung.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.look();
            let idle = self.driver.sleep(false) & self.stack.sleep(false);
            if idle && self.rings.iter().all(|ring| ring.take() == 0) {
                return;
            }
        }
        panic!("they never sleep");
    }

    /// Takes what is there on both sides.
    fn look(&mut self) {
        self.look_from_stack();
        self.look_from_driver();
    }

    fn look_from_stack(&mut self) {
        self.stack.link();
        self.stack.free_transmit_buffers();
        while self.stack.receive(&mut [0; 256]).unwrap().is_some() {}
    }

    fn look_from_driver(&mut self) {
        while let Some((buffer, _)) = self.driver.next_transmit().unwrap() {
            self.sending.push(buffer);
        }
    }

    /// The device gives everything back.
    fn finish(&mut self) {
        self.filling
            .drain(..)
            .for_each(|buffer| self.driver.received(buffer, 60));
        self.sending
            .drain(..)
            .for_each(|buffer| self.driver.transmitted(buffer));
        self.building
            .drain(..)
            .for_each(|buffer| self.stack.discard(buffer));
    }

    /// Every buffer is there once, and carries frames.
    fn works(&mut self) {
        for _ in 0..3 {
            self.finish();
            self.settle();
            self.finish();
            self.settle();
            for _ in 0..COUNT {
                let buffer = self.driver.take_receive_buffer().unwrap();
                self.filling.push(buffer.expect("a buffer is lost"));
                let buffer = self.stack.transmit_buffer();
                self.building.push(buffer.expect("a buffer is lost"));
            }
            self.are_apart();
            assert_eq!(self.driver.take_receive_buffer(), Ok(None));
            assert!(self.stack.transmit_buffer().is_none());
            for buffer in self.filling.drain(..) {
                self.driver.received(buffer, 60);
            }
            for buffer in self.building.drain(..) {
                self.stack.submit(buffer, 70);
            }
            for _ in 0..COUNT {
                assert_eq!(self.stack.receive(&mut [0; 256]), Ok(Some(60)));
                let (buffer, length) = self.driver.next_transmit().unwrap().unwrap();
                assert_eq!(length, 70);
                self.sending.push(buffer);
            }
        }
        assert_eq!(self.stack.link(), Some(LINK));
    }

    /// No buffer is in two hands.
    fn are_apart(&self) {
        let receive = self.filling.iter().map(Buffer::index);
        let transmit = self.sending.iter().chain(&self.building);
        let mut all: Vec<usize> = receive.chain(transmit.map(Buffer::index)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a buffer is in two hands");
    }
}

/// The device still reads two frames of a stack that is no more: the next stack sends nothing before they are sent.
#[test]
fn a_stack_that_starts_over_waits_for_the_frames_of_the_last() {
    let mut pair = Pair::new();
    for _ in 0..2 {
        let buffer = pair.stack.transmit_buffer().unwrap();
        pair.stack.submit(buffer, 60);
        let buffer = pair.driver.take_receive_buffer().unwrap().unwrap();
        pair.driver.received(buffer, 60);
    }
    pair.look();
    assert_eq!(pair.sending.len(), 2);
    assert!(!pair.driver.awaits_frames());
    pair.restart_stack();
    assert!(pair.driver.awaits_frames());
    let lost = pair.stack.transmit_buffer().unwrap();
    pair.stack.submit(lost, 60);
    assert_eq!(pair.driver.next_transmit(), Ok(None));
    assert_eq!(pair.driver.take_receive_buffer(), Ok(None));
    pair.driver.transmitted(pair.sending.pop().unwrap());
    assert!(pair.driver.awaits_frames() && pair.driver.sleep(false));
    assert_eq!(pair.stack.link(), None);
    pair.driver.transmitted(pair.sending.pop().unwrap());
    assert!(!pair.driver.sleep(false), "it can join the stack");
    pair.works();
}

#[test]
fn a_driver_that_starts_over_has_all_its_buffers() {
    let mut pair = Pair::new();
    let held = pair.stack.transmit_buffer().unwrap();
    for _ in 0..2 {
        let buffer = pair.stack.transmit_buffer().unwrap();
        pair.stack.submit(buffer, 60);
        let buffer = pair.driver.take_receive_buffer().unwrap().unwrap();
        pair.driver.received(buffer, 60);
    }
    pair.restart_driver();
    assert_eq!(pair.stack.receive(&mut [0; 256]), Ok(None));
    assert_eq!(pair.stack.free_transmit_buffers(), COUNT - 1);
    pair.settle();
    pair.stack.submit(held, 60);
    let (buffer, _) = pair.driver.next_transmit().unwrap().unwrap();
    pair.driver.transmitted(buffer);
    pair.works();
}

#[test]
fn a_driver_that_only_went_away_takes_no_frames() {
    let mut pair = Pair::new();
    pair.regions[0].wipe();
    assert_eq!(pair.stack.link(), None);
    for _ in 0..3 * COUNT {
        let buffer = pair.stack.transmit_buffer().expect("they are lost");
        pair.stack.submit(buffer, 60);
    }
    assert!(pair.stack.sleep(true));
    pair.driver = driver(&pair.regions, &pair.rings);
    pair.works();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Fill,
    Received,
    Sent,
    Build,
    Submit,
    Look,
    Sleep,
    RestartDriver,
    RestartStack,
    LoseDriver,
    LoseStack,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let work = prop_oneof![
        Just(Fill),
        Just(Received),
        Just(Sent),
        Just(Build),
        Just(Submit),
        Just(Look),
        Just(Sleep)
    ];
    let ends = prop_oneof![
        Just(RestartDriver),
        Just(RestartStack),
        Just(LoseDriver),
        Just(LoseStack)
    ];
    prop_oneof![8 => work, 1 => ends]
}

proptest! {
    #[test]
    fn honest_sides_always_come_together_again(steps in prop::collection::vec(step(), 0..80)) {
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Fill => pair.filling.extend(pair.driver.take_receive_buffer().unwrap()),
                Step::Received => {
                    let buffer = pair.filling.pop();
                    buffer.into_iter().for_each(|buffer| pair.driver.received(buffer, 60));
                }
                Step::Sent => {
                    let buffer = pair.sending.pop();
                    buffer.into_iter().for_each(|buffer| pair.driver.transmitted(buffer));
                }
                Step::Build => pair.building.extend(pair.stack.transmit_buffer()),
                Step::Submit => {
                    let buffer = pair.building.pop();
                    buffer.into_iter().for_each(|buffer| pair.stack.submit(buffer, 60));
                }
                Step::Look => pair.look(),
                Step::Sleep => _ = (pair.driver.sleep(true), pair.stack.sleep(true)),
                Step::RestartDriver => pair.restart_driver(),
                Step::RestartStack => pair.restart_stack(),
                Step::LoseDriver => {
                    pair.regions[0].wipe();
                    pair.look_from_stack();
                    pair.restart_driver();
                }
                Step::LoseStack => {
                    pair.regions[1].wipe();
                    pair.look_from_driver();
                    pair.restart_stack();
                }
            }
            // With a new stack, a frame of the last one is under way in a buffer that the new one may build in.
            if !pair.driver.awaits_frames() {
                pair.are_apart();
            }
        }
        pair.works();
    }
}
