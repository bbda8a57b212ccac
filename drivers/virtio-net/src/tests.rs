//! A driver between a fake device and a real stack's end of the port; either may be hostile.

use core::ptr::NonNull;

use channel::memory::{OwnRegion, PeerRegion};
use channel::packets::{self, Layout, Link, Pool, Stack};
use channel::testing::Bell;
use proptest::prelude::*;
use virtio::testing::{Bus, Chain, FakeDevice, Guest};
use virtio::{AnyTransport, Misbehaviour, features};

use crate::nic::HEADER;
use crate::{Counters, DEVICE_TYPE, Driver, Error, MEMORY, Report};

const BUFFERS: usize = 16;
const BUFFER_SIZE: usize = 2048;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const STATUS: u64 = 1 << 16;
const ALL: u64 = features::VERSION_1 | features::EVENT_IDX | MTU | MAC | STATUS;
const NEEDS_RESET: u8 = 64;

type Net = Driver<AnyTransport<FakeDevice>>;

struct Fixture {
    device: FakeDevice,
    driver: Net,
    stack: Stack,
    bell: Bell,
    reports: Vec<Report>,
    /// The words that the stack writes and the driver reads.
    shared: (NonNull<u64>, usize),
    /// The other way round.
    drivers: (NonNull<u64>, usize),
    guest: Guest,
}

fn zeroed(bytes: usize) -> (NonNull<u64>, usize) {
    let words = Box::leak(vec![0u64; bytes.div_ceil(8)].into_boxed_slice());
    (NonNull::from(&mut *words).cast(), words.len())
}

fn regions((base, words): (NonNull<u64>, usize)) -> (OwnRegion, PeerRegion) {
    let (base, size) = (base.cast(), words * 8);
    // SAFETY: the memory is leaked; both views are in one program, which tests accept.
    unsafe {
        (
            OwnRegion::new(base, size).unwrap(),
            PeerRegion::new(base, size).unwrap(),
        )
    }
}

fn try_fixture(bus: Bus, offered: u64) -> Result<Fixture, Error> {
    let layout = Layout::new(BUFFERS, BUFFER_SIZE).unwrap();
    let guest = Guest::install(MEMORY, layout.pool_size());
    let config = [&ADDRESS[..], &[1, 0, 1, 0], &9000u16.to_le_bytes()].concat();
    let device = FakeDevice::new(guest, offered, &config, &[256, 256]);
    let shared = zeroed(layout.consumer_size());
    let drivers = zeroed(layout.provider_size());
    let (driver_own, stack_peer) = regions(drivers);
    let (stack_own, driver_peer) = regions(shared);
    // SAFETY: the guest's memory is leaked, and who shares it here are both ends and the device.
    let pool = || unsafe { Pool::new(guest.pool().base) };
    let (bell, unheard) = (Bell::default(), Bell::default());
    let driver =
        packets::Driver::new(layout, driver_own, driver_peer, pool(), bell.clone()).unwrap();
    let stack = Stack::new(layout, stack_own, stack_peer, pool(), unheard).unwrap();
    let driver = Driver::new(device.transport(bus, DEVICE_TYPE), driver)?;
    let mut fixture = Fixture {
        device,
        driver,
        stack,
        bell,
        reports: Vec::new(),
        shared,
        drivers,
        guest,
    };
    fixture.work();
    assert!(fixture.stack.link().is_some());
    Ok(fixture)
}

fn fixture() -> Fixture {
    fixture_on(Bus::Pci)
}

fn fixture_on(bus: Bus) -> Fixture {
    try_fixture(bus, ALL).unwrap()
}

impl Fixture {
    fn work(&mut self) {
        self.driver.work(|report| self.reports.push(report));
    }

    fn interrupt(&mut self) {
        self.driver.interrupt(|report| self.reports.push(report));
        self.work();
    }

    /// The stack loses its memory and starts over.
    fn restart_stack(&mut self) {
        let layout = self.stack.layout();
        let ((own, _), (_, peers)) = (regions(self.shared), regions(self.drivers));
        // SAFETY: inside the leaked region, whose writer is replaced.
        unsafe { self.shared.0.write_bytes(0, self.shared.1) };
        // SAFETY: as in `try_fixture`.
        let pool = unsafe { Pool::new(self.guest.pool().base) };
        self.stack = Stack::new(layout, own, peers, pool, Bell::default()).unwrap();
    }

    /// A frame from the network.
    fn arrive(&self, frame: &[u8]) {
        let Chain { id, parts } = self.device.next(RECEIVE).expect("a buffer for the device");
        let [part] = parts[..] else {
            panic!("one part: {parts:?}")
        };
        assert!(part.writable);
        self.device.write(part.address, &[0xaa; HEADER]);
        self.device.write(part.address + HEADER as u64, frame);
        self.device
            .give(RECEIVE, id.into(), (HEADER + frame.len()) as u32);
    }

    /// A frame that the device sends, and the identifier to return.
    fn sent(&self) -> Option<(u16, Vec<u8>)> {
        let Chain { id, parts } = self.device.next(TRANSMIT)?;
        let [header, frame] = parts[..] else {
            panic!("two parts: {parts:?}")
        };
        assert!(!header.writable && !frame.writable);
        assert_eq!(
            self.device.read(header.address, header.length as usize),
            [0; HEADER]
        );
        Some((id, self.device.read(frame.address, frame.length as usize)))
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        let Some(mut buffer) = self.stack.transmit_buffer() else {
            return false;
        };
        self.stack.frame_mut(&mut buffer)[..frame.len()].copy_from_slice(frame);
        self.stack.submit(buffer, frame.len());
        true
    }

    fn received(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; BUFFER_SIZE];
        let length = self.stack.receive(&mut frame).unwrap()?;
        frame.truncate(length);
        Some(frame)
    }

    fn counters(&self) -> Counters {
        self.driver.counters()
    }
}

#[test]
fn frames_go_both_ways_for_ever() {
    for bus in [Bus::Pci, Bus::Mmio] {
        let mut f = fixture_on(bus);
        for round in 0..10_000u32 {
            let frame = round.to_le_bytes();
            f.arrive(&frame);
            f.interrupt();
            assert_eq!(f.received(), Some(frame.to_vec()));
            assert!(f.send(&frame));
            f.work();
            let (id, sent) = f.sent().unwrap();
            assert_eq!(sent, frame);
            f.device.give(TRANSMIT, id.into(), 0);
            f.device.want_notification(TRANSMIT);
            f.device.want_notification(RECEIVE);
        }
        assert_eq!(
            (
                f.counters().received,
                f.counters().sent,
                f.counters().dropped
            ),
            (10_000, 10_000, 0)
        );
        assert!(f.reports.is_empty());
    }
}

#[test]
fn the_stack_learns_of_the_link_and_its_changes() {
    for bus in [Bus::Pci, Bus::Mmio] {
        let mut f = fixture_on(bus);
        let mtu = (BUFFER_SIZE - packets::HEADROOM - 14) as u16;
        let link = Link {
            address: ADDRESS,
            up: true,
            mtu,
        };
        assert_eq!(f.stack.link(), Some(link));
        f.device.configure(6, &[0, 0]);
        f.interrupt();
        assert_eq!(f.stack.link(), Some(Link { up: false, ..link }));
        f.device.configure(6, &[1, 0]);
        f.interrupt();
        assert_eq!(f.stack.link(), Some(link));
        assert_eq!(f.reports, [Report::Link(false), Report::Link(true)]);
    }
}

#[test]
fn a_link_that_changes_wakes_the_stack_once() {
    for bus in [Bus::Pci, Bus::Mmio] {
        let mut f = fixture_on(bus);
        f.bell.take();
        assert!(f.stack.sleep(false));
        f.device.configure(6, &[0, 0]);
        f.interrupt();
        assert_eq!(f.bell.take(), 1);
        assert!(!f.stack.sleep(false), "the link is news");
        assert!(!f.stack.link().unwrap().up);
        assert!(f.stack.sleep(false));
        // An interrupt without a change is none.
        f.device.configure(6, &[0, 0]);
        f.interrupt();
        assert_eq!(f.bell.take(), 0);
    }
}

#[test]
fn a_link_that_changes_while_the_device_is_reset_is_told() {
    let mut f = fixture();
    f.device.configure(6, &[0, 0]);
    f.device.give(TRANSMIT, 255, 0);
    f.work();
    assert!(!f.stack.link().unwrap().up);
    let expected = [
        Report::Recovered(Misbehaviour::UsedIndex),
        Report::Link(false),
    ];
    assert_eq!(f.reports, expected);
}

/// One half of the configuration is read before a change, the other half after it.
#[test]
fn a_configuration_that_changes_while_it_is_read_is_read_again() {
    for bus in [Bus::Pci, Bus::Mmio] {
        let mut f = fixture_on(bus);
        let address = [0x52, 0x54, 0, 0x99, 0x99, 0x99];
        f.device
            .configure_during_read(0, &[&address[..], &[0, 0]].concat());
        f.interrupt();
        let link = f.stack.link().unwrap();
        assert_eq!((link.address, link.up), (address, false));
    }
}

#[test]
fn a_device_without_the_optional_features_has_defaults() {
    let mut f = try_fixture(Bus::Mmio, features::VERSION_1 | MAC).unwrap();
    assert_eq!(
        f.stack.link(),
        Some(Link {
            address: ADDRESS,
            up: true,
            mtu: 1500
        })
    );
    assert_eq!(
        try_fixture(Bus::Mmio, features::VERSION_1).err(),
        Some(Error::NoAddress)
    );
}

#[test]
fn a_burst_costs_one_interrupt_and_one_notification() {
    let mut f = fixture();
    assert_eq!(
        f.counters().notifications,
        1,
        "of all receive buffers at once"
    );
    f.bell.take();
    assert!(f.stack.sleep(false));
    (0..BUFFERS).for_each(|number| f.arrive(&[number as u8; 60]));
    assert_eq!(f.device.interrupts(RECEIVE), 1);
    f.interrupt();
    assert_eq!(f.bell.take(), 1);
    assert_eq!(
        (0..BUFFERS).filter(|_| f.received().is_some()).count(),
        BUFFERS
    );
    (0..BUFFERS).for_each(|number| assert!(f.send(&[number as u8; 60])));
    f.device.want_notification(TRANSMIT);
    f.work();
    assert_eq!(f.device.notifications(TRANSMIT), 1);
    assert_eq!(std::iter::from_fn(|| f.sent()).count(), BUFFERS);
}

#[test]
fn a_stack_that_starts_over_has_the_wire_once_the_last_ones_frames_are_sent() {
    for bus in [Bus::Pci, Bus::Mmio] {
        let mut f = fixture_on(bus);
        assert!(f.send(b"old") && f.send(b"older"));
        f.work();
        let under_way: Vec<u16> = std::iter::from_fn(|| f.sent()).map(|(id, _)| id).collect();
        f.restart_stack();
        f.arrive(b"for the last one");
        f.interrupt();
        assert_eq!(f.stack.link(), None);
        for id in under_way {
            assert_eq!(f.stack.link(), None);
            f.device.give(TRANSMIT, id.into(), 0);
            f.interrupt();
        }
        assert!(f.device.interrupts(TRANSMIT) > 0, "the driver waits for it");
        assert!(f.stack.link().is_some());
        assert_eq!(f.received(), None);
        f.arrive(b"new");
        f.interrupt();
        assert_eq!(f.received(), Some(b"new".to_vec()));
        for _ in 0..BUFFERS {
            assert!(f.send(b"new"));
        }
        f.work();
        assert_eq!(std::iter::from_fn(|| f.sent()).count(), BUFFERS);
    }
}

#[test]
fn sent_frames_interrupt_only_when_the_stack_may_run_short() {
    let mut f = fixture();
    for round in 0..100u8 {
        assert!(f.send(&[round; 60]));
        f.work();
        let (id, _) = f.sent().unwrap();
        f.device.give(TRANSMIT, id.into(), 0);
    }
    assert_eq!(f.device.interrupts(TRANSMIT), 0);
    // All buffers are under way: the stack waits for one.
    while f.send(&[1; 60]) {
        f.work();
    }
    assert!(f.stack.sleep(true));
    f.bell.take();
    while let Some((id, _)) = f.sent() {
        f.device.give(TRANSMIT, id.into(), 0);
    }
    assert_eq!(f.device.interrupts(TRANSMIT), 1);
    f.interrupt();
    assert_eq!(f.bell.take(), 1);
    assert_eq!(f.stack.free_transmit_buffers(), BUFFERS);
}

#[test]
fn misbehaviour_resets_the_device_and_loses_no_buffer() {
    for bus in [Bus::Pci, Bus::Mmio] {
        let mut f = fixture_on(bus);
        (0..3).for_each(|_| assert!(f.send(&[7; 60])));
        f.work();
        f.device.give(RECEIVE, 0, HEADER as u32 - 1);
        f.interrupt();
        let length = Misbehaviour::Length(HEADER as u32 - 1);
        assert_eq!(f.reports, [Report::Recovered(length)]);
        assert_eq!(f.stack.free_transmit_buffers(), BUFFERS);
        (0..BUFFERS).for_each(|_| f.arrive(&[9; 60]));
        f.interrupt();
        assert_eq!(
            (0..BUFFERS).filter(|_| f.received().is_some()).count(),
            BUFFERS
        );
        assert_eq!((f.counters().resets, f.counters().dropped), (1, 4));
    }
}

#[test]
fn a_device_that_needs_a_reset_gets_it() {
    let mut f = fixture();
    f.device.raise_status(NEEDS_RESET);
    f.device.configure(6, &[1, 0]);
    f.interrupt();
    assert_eq!(f.reports, [Report::Recovered(Misbehaviour::NeedsReset)]);
    f.arrive(&[1; 60]);
    f.interrupt();
    assert_eq!(f.received(), Some(vec![1; 60]));
}

#[test]
fn a_device_that_keeps_misbehaving_is_given_up_and_the_stack_goes_on() {
    let mut f = fixture();
    for _ in 0..9 {
        f.device.give(TRANSMIT, 255, 0);
        f.interrupt();
    }
    assert_eq!(
        f.reports[7..],
        [
            Report::Recovered(Misbehaviour::UsedIndex),
            Report::GivenUp(Misbehaviour::UsedIndex),
        ]
    );
    assert!(!f.stack.link().unwrap().up);
    for _ in 0..10 * BUFFERS {
        assert!(f.send(&[3; 60]), "frames are lost, buffers are not");
        f.work();
    }
    f.interrupt();
    assert_eq!(f.counters().dropped, 10 * BUFFERS as u64);
}

#[test]
fn many_good_frames_make_good_for_a_reset() {
    let mut f = fixture();
    for _ in 0..12 {
        f.device.give(TRANSMIT, 255, 0);
        f.interrupt();
        for _ in 0..10_000 {
            f.arrive(&[1; 60]);
            f.interrupt();
            assert!(f.received().is_some());
        }
    }
    assert_eq!(f.counters().resets, 12);
    assert!(f.stack.link().unwrap().up);
}

#[test]
fn an_empty_frame_is_dropped_on_both_ways() {
    let mut f = fixture();
    f.arrive(&[]);
    f.interrupt();
    assert_eq!(f.received(), None);
    assert!(f.send(&[]));
    f.work();
    assert_eq!(f.sent(), None);
    assert_eq!(f.counters().dropped, 2);
    assert_eq!(f.stack.free_transmit_buffers(), BUFFERS);
}

proptest! {
    /// A hostile device and an honest stack: no panic, and no buffer of the stack is lost.
    #[test]
    fn a_hostile_device_is_survived(
        steps in proptest::collection::vec((0u8..9, any::<u32>(), any::<u64>()), 1..150),
        pci in any::<bool>(),
    ) {
        let mut f = fixture_on(if pci { Bus::Pci } else { Bus::Mmio });
        for (step, number, seed) in steps {
            let queue = (number >> 31) as usize;
            match step {
                0 => f.interrupt(),
                1 => { f.send(&[number as u8; 60]); }
                2 => { while f.received().is_some() {} }
                3 => { f.device.next(queue); }
                4 if f.device.next(RECEIVE).is_some() => f.device.give(RECEIVE, number % 256, 72),
                5 => f.device.give(queue, number & 0x1ff, seed as u32 % 3000),
                6 => f.device.claim(queue, seed as u16 % 600),
                7 => {
                    let mut seed = seed;
                    f.device.scribble(queue, || {
                        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                        (seed >> 56) as u8
                    });
                }
                8 => f.device.raise_status(number as u8),
                _ => {}
            }
            f.work();
            prop_assert!(f.counters().resets <= 9);
        }
        // A last misbehaviour makes the driver take back all that the device has.
        f.device.claim(TRANSMIT, 0x7777);
        f.work();
        prop_assert_eq!(f.stack.free_transmit_buffers(), BUFFERS);
    }

    /// A stack that writes anything anywhere in its region: no panic, and a device that is still driven.
    #[test]
    fn a_hostile_stack_is_survived(
        writes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..50),
    ) {
        let mut f = fixture();
        for (word, value) in writes {
            let at = word.index(f.shared.1);
            // SAFETY: inside the leaked region.
            unsafe { f.shared.0.add(at).write_volatile(value & 0xffff_00ff_0000_00ff) };
            f.work();
            while let Some((id, frame)) = f.sent() {
                prop_assert!(frame.len() <= BUFFER_SIZE);
                f.device.give(TRANSMIT, id.into(), 0);
            }
            f.interrupt();
        }
        prop_assert_eq!(f.counters().resets, 0);
        prop_assert!(f.reports.len() <= 1);
    }
}
