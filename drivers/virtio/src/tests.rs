//! Queues over a fake device, honest and hostile.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::testing::{Bus, FakeDevice, Guest, LAYOUT};
use crate::{
    AnyTransport, Areas, DeviceType, Dma, InitError, InterruptStatus, Misbehaviour, MmioTransport,
    PciTransport, Queue, Reset, Transport, TransportError, check_status, features, find, negotiate,
    start,
};
use virtio_drivers::Error;

const SIZE: usize = 8;
const BUFFER: usize = 256;
/// The device's own status bits (virtio 1.2, section 2.1).
const NEEDS_RESET: u8 = 64;
const FAILED: u8 = 128;

struct Fixture {
    guest: Guest,
    device: FakeDevice,
    transport: AnyTransport<FakeDevice>,
    queue: Queue<usize, SIZE>,
}

const BUSES: [Bus; 2] = [Bus::Pci, Bus::Mmio];

fn fixture(bus: Bus, offered: u64) -> Fixture {
    let guest = Guest::install(8 * 4096, 16 * BUFFER);
    let device = FakeDevice::new(guest, features::VERSION_1 | offered, &[], &[SIZE as u16]);
    let mut transport = device.transport(bus, DeviceType::Network);
    let queue = set_up(&mut transport);
    Fixture {
        guest,
        device,
        transport,
        queue,
    }
}

fn set_up(transport: &mut AnyTransport<FakeDevice>) -> Queue<usize, SIZE> {
    let accepted = negotiate(transport, 0).unwrap();
    let queue = Queue::new(transport, 0, accepted & features::EVENT_IDX != 0).unwrap();
    start(transport);
    queue
}

impl Fixture {
    fn buffer(&self, number: usize) -> Dma {
        let offset = number % 16 * BUFFER;
        // SAFETY: the offset lies inside the pool.
        find(unsafe { self.guest.pool().base.add(offset) }, BUFFER).unwrap()
    }

    fn add(&mut self, number: usize) {
        let buffer = self.buffer(number);
        self.queue.add(&[], &[buffer], number).unwrap();
    }

    /// Resets the device as drivers do after a misbehaviour, and returns what it had.
    fn recover(mut self) -> (Self, Vec<usize>) {
        self.transport.reset().unwrap();
        // The old queue's memory is given back before the new one needs it.
        let drained = self.queue.drain().collect();
        let queue = set_up(&mut self.transport);
        (Self { queue, ..self }, drained)
    }
}

#[test]
fn elements_come_back_with_their_tags_past_the_wrap_of_all_counters() {
    for (bus, offered) in [
        (Bus::Pci, 0),
        (Bus::Pci, features::EVENT_IDX),
        (Bus::Mmio, 0),
    ] {
        let mut f = fixture(bus, offered);
        for round in 0..70_000 {
            f.add(round);
            assert!(
                f.queue.notify(&mut f.transport),
                "the device sleeps in round {round}"
            );
            let chain = f.device.next(0).unwrap();
            assert_eq!(chain.parts[0].address, f.buffer(round).physical());
            assert!(chain.parts[0].writable);
            f.device.want_notification(0);
            assert!(f.queue.sleep(1));
            f.device.give(0, chain.id.into(), 7);
            assert_eq!(f.queue.take(), Ok(Some((round, 7))));
            assert_eq!(f.queue.take(), Ok(None));
        }
        assert_eq!(f.device.notifications(0), 70_000);
        assert_eq!(f.device.interrupts(0), 70_000);
    }
}

#[test]
fn a_batch_costs_one_notification_and_one_interrupt() {
    let mut f = fixture(Bus::Mmio, features::EVENT_IDX);
    for number in 0..SIZE {
        f.add(number);
    }
    assert!(f.queue.notify(&mut f.transport));
    assert!(!f.queue.notify(&mut f.transport), "nothing was added since");
    assert!(f.queue.sleep(SIZE as u16));
    let chains: Vec<_> = std::iter::from_fn(|| f.device.next(0)).collect();
    assert_eq!(chains.len(), SIZE);
    for chain in chains {
        f.device.give(0, chain.id.into(), 0);
    }
    assert_eq!((f.device.notifications(0), f.device.interrupts(0)), (1, 1));
    assert!(!f.queue.sleep(SIZE as u16), "all have come back already");
    // While the device has not asked again, it is awake and is not notified.
    assert!((0..SIZE).all(|number| f.queue.take() == Ok(Some((number, 0)))));
    f.add(0);
    assert!(!f.queue.notify(&mut f.transport));
}

#[test]
fn a_queue_that_dozes_is_not_interrupted() {
    for (bus, offered) in [
        (Bus::Pci, 0),
        (Bus::Pci, features::EVENT_IDX),
        (Bus::Mmio, 0),
    ] {
        let mut f = fixture(bus, offered);
        f.queue.doze();
        for round in 0..1000 {
            f.add(round);
            let chain = f.device.next(0).unwrap();
            f.device.give(0, chain.id.into(), 0);
            assert_eq!(f.queue.take(), Ok(Some((round, 0))));
        }
        assert_eq!(f.device.interrupts(0), 0);
        f.add(0);
        assert!(f.queue.sleep(1));
        let chain = f.device.next(0).unwrap();
        f.device.give(0, chain.id.into(), 0);
        assert_eq!(f.device.interrupts(0), 1);
    }
}

#[test]
fn chains_hold_what_is_read_before_what_is_written() {
    let mut f = fixture(Bus::Mmio, 0);
    let [a, b, c] = [f.buffer(0), f.buffer(1), f.buffer(2)];
    f.queue.add(&[a, b], &[c], 5).unwrap();
    let chain = f.device.next(0).unwrap();
    let addresses: Vec<_> = chain
        .parts
        .iter()
        .map(|p| (p.address, p.writable))
        .collect();
    let expected = [
        (a.physical(), false),
        (b.physical(), false),
        (c.physical(), true),
    ];
    assert_eq!(addresses, expected);
    assert_eq!(f.queue.free(), SIZE - 3);
    f.device.give(0, chain.id.into(), BUFFER as u32);
    assert_eq!(f.queue.take(), Ok(Some((5, BUFFER as u32))));
    assert_eq!(f.queue.free(), SIZE);
}

#[test]
fn what_does_not_fit_is_given_back() {
    let mut f = fixture(Bus::Mmio, 0);
    assert_eq!(f.queue.add(&[], &[], 1).unwrap_err().0, 1);
    let buffer = f.buffer(0);
    assert_eq!(f.queue.add(&[buffer; 3], &[], 2).unwrap_err().0, 2);
    for number in 0..SIZE {
        f.add(number);
    }
    assert_eq!(f.queue.add(&[buffer], &[], 3).unwrap_err().0, 3);
}

#[test]
fn nonsense_in_the_used_ring_is_said_and_survived() {
    type Nonsense = fn(&FakeDevice);
    let cases: [(Nonsense, Misbehaviour); 8] = [
        (
            |d| d.give(0, SIZE as u32, 0),
            Misbehaviour::Token(SIZE as u32),
        ),
        (|d| d.give(0, 0x1_0000, 0), Misbehaviour::Token(0x1_0000)),
        (|d| d.give(0, u32::MAX, 0), Misbehaviour::Token(u32::MAX)),
        (|d| d.give(0, 5, 0), Misbehaviour::Token(5)),
        (
            |d| d.give(0, 1, BUFFER as u32 + 1),
            Misbehaviour::Length(BUFFER as u32 + 1),
        ),
        (|d| d.give(0, 1, u32::MAX), Misbehaviour::Length(u32::MAX)),
        (|d| d.claim(0, 4), Misbehaviour::UsedIndex),
        (|d| d.claim(0, u16::MAX), Misbehaviour::UsedIndex),
    ];
    let cases = cases.into_iter().zip(BUSES.into_iter().cycle());
    for ((nonsense, expected), bus) in cases {
        let mut f = fixture(bus, features::EVENT_IDX);
        (0..3).for_each(|number| f.add(number));
        nonsense(&f.device);
        assert_eq!(f.queue.take(), Err(expected));
        let (mut f, drained) = f.recover();
        assert_eq!(drained, [0, 1, 2]);
        f.add(9);
        let chain = f.device.next(0).unwrap();
        f.device.give(0, chain.id.into(), 1);
        assert_eq!(f.queue.take(), Ok(Some((9, 1))));
    }
}

#[test]
fn an_element_returned_twice_is_refused() {
    let mut f = fixture(Bus::Mmio, 0);
    (0..3).for_each(|number| f.add(number));
    f.device.give(0, 1, 0);
    f.device.give(0, 1, 0);
    assert_eq!(f.queue.take(), Ok(Some((1, 0))));
    assert_eq!(f.queue.take(), Err(Misbehaviour::Token(1)));
    assert_eq!(f.recover().1, [0, 2]);
}

#[test]
fn a_device_that_asks_for_a_reset_is_noticed() {
    let f = fixture(Bus::Mmio, 0);
    assert_eq!(check_status(&f.transport), Ok(()));
    f.device.raise_status(NEEDS_RESET);
    assert_eq!(check_status(&f.transport), Err(Misbehaviour::NeedsReset));
}

#[test]
fn devices_that_cannot_be_negotiated_with_are_given_up() {
    let guest = Guest::install(8 * 4096, 0);
    for bus in BUSES {
        let negotiate = |device: &FakeDevice| {
            let mut transport = device.transport(bus, DeviceType::Network);
            negotiate(&mut transport, 0)
        };
        let stuck = FakeDevice::new(guest, features::VERSION_1, &[], &[8]);
        stuck.get_stuck();
        assert_eq!(negotiate(&stuck), Err(InitError::Stuck));
        let legacy = FakeDevice::new(guest, features::EVENT_IDX, &[], &[8]);
        assert_eq!(negotiate(&legacy), Err(InitError::Legacy));
        assert_eq!(legacy.status(), FAILED);
        let moody = FakeDevice::new(guest, features::VERSION_1, &[], &[8]);
        moody.refuse_features();
        assert_eq!(negotiate(&moody), Err(InitError::Features));
        assert_eq!(moody.status(), FAILED);
    }
}

#[test]
fn only_wanted_features_are_accepted() {
    let guest = Guest::install(8 * 4096, 0);
    for bus in BUSES {
        let device = FakeDevice::new(guest, u64::MAX, &[], &[8]);
        let mut transport = device.transport(bus, DeviceType::Network);
        let accepted = negotiate(&mut transport, 1 << 5).unwrap();
        let all = features::VERSION_1 | features::ACCESS_PLATFORM | features::EVENT_IDX | 1 << 5;
        assert_eq!((accepted, device.accepted()), (all, all));
    }
}

#[test]
fn queues_that_cannot_be_set_up_are_errors() {
    for bus in BUSES {
        let guest = Guest::install(8 * 4096, 0);
        let device = FakeDevice::new(guest, features::VERSION_1, &[], &[4, 8, 8]);
        let mut transport = device.transport(bus, DeviceType::Network);
        negotiate(&mut transport, 0).unwrap();
        let mut error = |index| Queue::<(), SIZE>::new(&mut transport, index, false).err();
        let invalid = Some(InitError::Queue(Error::InvalidParam));
        assert_eq!(error(0), invalid, "too short");
        assert_eq!(error(3), invalid, "missing");
        assert_eq!(error(2), invalid, "more than drivers have");
        assert!(Queue::<(), SIZE>::new(&mut transport, 1, false).is_ok());
        let error = Queue::<(), SIZE>::new(&mut transport, 1, false).err();
        assert_eq!(error, Some(InitError::Queue(Error::AlreadyUsed)));
        Guest::install(4096, 0);
        transport.reset().unwrap();
        let error = Queue::<(), SIZE>::new(&mut transport, 1, false).err();
        assert_eq!(error, Some(InitError::Queue(Error::DmaError)), "no memory");
    }
}

#[test]
fn a_queue_that_cannot_be_notified_over_pci_is_an_error() {
    let guest = Guest::install(8 * 4096, 0);
    let device = FakeDevice::new(guest, features::VERSION_1, &[], &[8]);
    let mut transport = device.transport(Bus::Pci, DeviceType::Network);
    negotiate(&mut transport, 0).unwrap();
    device.misplace_notification(0, 0x400);
    let error = Queue::<(), SIZE>::new(&mut transport, 0, false).err();
    assert_eq!(error, Some(InitError::Queue(Error::InvalidParam)));
    assert_eq!(transport.areas(0), None);
    device.misplace_notification(0, 0x3ff);
    transport.reset().unwrap();
    assert!(Queue::<(), SIZE>::new(&mut transport, 0, false).is_ok());
}

#[test]
fn what_is_no_virtio_1_device_in_memory_is_refused() {
    let guest = Guest::install(4096, 0);
    let device = FakeDevice::new(guest, features::VERSION_1, &[], &[]);
    let refused = |id, offset, value| {
        device.lie(offset, Some(value));
        let error = MmioTransport::new(device.on(Bus::Mmio, id), DeviceType::Network).err();
        device.lie(offset, None);
        error
    };
    assert_eq!(refused(1, 0x000, 7), Some(TransportError::NotVirtio(7)));
    assert_eq!(refused(1, 0x004, 1), Some(TransportError::Version(1)));
    assert_eq!(refused(1, 0x004, 3), Some(TransportError::Version(3)));
    assert_eq!(refused(4, 0x004, 1), Some(TransportError::WrongType(4)));
    assert_eq!(refused(0, 0x004, 2), Some(TransportError::WrongType(0)));
    assert_eq!(refused(1, 0x004, 2), None);
}

#[test]
fn an_interrupt_is_acknowledged() {
    for bus in BUSES {
        let mut f = fixture(bus, 0);
        assert!(f.transport.ack_interrupt().is_empty());
        f.add(0);
        let chain = f.device.next(0).unwrap();
        f.device.give(0, chain.id.into(), 0);
        let cause = f.transport.ack_interrupt();
        assert!(cause == InterruptStatus::QUEUE_INTERRUPT);
        assert!(f.transport.ack_interrupt().is_empty());
    }
}

#[test]
fn structures_outside_the_registers_are_refused() {
    let guest = Guest::install(4096, 0);
    let device = FakeDevice::new(guest, features::VERSION_1, &[], &[]);
    let refused = |change: fn(&mut pci::Virtio)| {
        let mut layout = LAYOUT;
        change(&mut layout);
        PciTransport::new(device.clone(), 4, &layout, DeviceType::Network)
            .err()
            .unwrap()
    };
    assert_eq!(
        refused(|l| l.isr = None),
        TransportError::Missing("interrupt status")
    );
    assert_eq!(
        refused(|l| l.notify.as_mut().unwrap().bar = 2),
        TransportError::Missing("notification")
    );
    let common = TransportError::Misplaced("common configuration");
    assert_eq!(
        refused(|l| l.common.as_mut().unwrap().length = 0x37),
        common
    );
    assert_eq!(refused(|l| l.common.as_mut().unwrap().offset = 2), common);
    assert_eq!(
        refused(|l| l.common.as_mut().unwrap().offset = 0x3004),
        common
    );
    assert_eq!(
        refused(|l| l.device.as_mut().unwrap().length = u32::MAX),
        TransportError::Misplaced("device configuration")
    );
}

#[test]
fn configuration_is_read_inside_its_bounds_only() {
    let guest = Guest::install(4096, 0);
    let device = FakeDevice::new(guest, features::VERSION_1, &[1, 2, 3, 4, 5, 6, 7, 8], &[]);
    let mut layout = LAYOUT;
    layout.device.as_mut().unwrap().length = 8;
    let transport = PciTransport::new(device.clone(), 4, &layout, DeviceType::Network).unwrap();
    assert_eq!(
        transport.read_config_space::<[u8; 6]>(0),
        Ok([1, 2, 3, 4, 5, 6])
    );
    assert_eq!(transport.read_config_space::<u16>(6), Ok(0x0807));
    assert_eq!(
        transport.read_config_space::<u16>(7),
        Err(Error::ConfigSpaceTooSmall)
    );
    assert_eq!(
        transport.read_config_space::<u16>(usize::MAX),
        Err(Error::ConfigSpaceTooSmall)
    );
    let mmio = device.transport(Bus::Mmio, DeviceType::Network);
    assert_eq!(mmio.read_config_space::<u16>(6), Ok(0x0807));
    assert_eq!(mmio.read_config_space::<[u8; 3]>(1), Ok([2, 3, 4]));
    assert_eq!(mmio.read_config_space::<u16>(0xfe), Ok(0));
    for outside in [0xff, usize::MAX, usize::MAX - 0x100] {
        let error = mmio.read_config_space::<u16>(outside);
        assert_eq!(error, Err(Error::ConfigSpaceTooSmall));
    }
    layout.device = None;
    let transport = PciTransport::new(device, 4, &layout, DeviceType::Network).unwrap();
    assert_eq!(
        transport.read_config_space::<u16>(0),
        Err(Error::ConfigSpaceMissing)
    );
}

/// One step of a hostile device or of the driver.
#[derive(Clone, Debug)]
enum Step {
    Add,
    Take,
    Notify,
    Sleep(u16),
    Serve,
    Give(u32, u32),
    Claim(u16),
    Scribble(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Add),
        4 => Just(Step::Take),
        2 => Just(Step::Notify),
        1 => any::<u16>().prop_map(Step::Sleep),
        4 => Just(Step::Serve),
        1 => (0u32..12, 0u32..400).prop_map(|(id, length)| Step::Give(id, length)),
        1 => any::<(u32, u32)>().prop_map(|(id, length)| Step::Give(id, length)),
        1 => (0u16..20).prop_map(Step::Claim),
        1 => any::<u16>().prop_map(Step::Claim),
        1 => any::<u64>().prop_map(Step::Scribble),
    ]
}

proptest! {
    /// Whatever the device does, every tag comes back exactly once, and no length is longer than its memory.
    #[test]
    fn a_hostile_device_is_survived(
        steps in proptest::collection::vec(step(), 1..200),
        event_idx in any::<bool>(),
        bus in prop_oneof![Just(Bus::Pci), Just(Bus::Mmio)],
    ) {
        let mut f = fixture(bus, if event_idx { features::EVENT_IDX } else { 0 });
        let mut with_device = BTreeSet::new();
        let mut honest = true;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add => {
                    let buffer = f.buffer(number);
                    if f.queue.add(&[], &[buffer], number).is_ok() {
                        with_device.insert(number);
                    }
                }
                Step::Take => match f.queue.take() {
                    Ok(Some((tag, length))) => {
                        prop_assert!(with_device.remove(&tag));
                        prop_assert!(length as usize <= BUFFER);
                    }
                    Ok(None) => {}
                    Err(_) => {
                        let drained;
                        (f, drained) = f.recover();
                        let drained: BTreeSet<_> = drained.into_iter().collect();
                        prop_assert_eq!(&drained, &with_device);
                        with_device.clear();
                        honest = true;
                    }
                },
                Step::Notify => { f.queue.notify(&mut f.transport); }
                Step::Sleep(after) => { f.queue.sleep(after); }
                Step::Serve if honest => {
                    if let Some(chain) = f.device.next(0) {
                        f.device.give(0, chain.id.into(), 3);
                    }
                }
                Step::Serve => {}
                Step::Give(id, length) => { f.device.give(0, id, length); honest = false; }
                Step::Claim(used) => { f.device.claim(0, used); honest = false; }
                Step::Scribble(mut seed) => {
                    f.device.scribble(0, || {
                        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                        (seed >> 56) as u8
                    });
                    honest = false;
                }
            }
            prop_assert_eq!(f.queue.outstanding(), with_device.len());
        }
    }
}
