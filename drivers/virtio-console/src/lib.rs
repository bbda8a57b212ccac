//! Driver of the virtio console device (virtio 1.2, section 5.3): its first port, without optional features.
//!
//! One buffer a direction is under way at a time, in memory of the driver's own. What the device writes there is
//! copied once into memory that it cannot reach, and wiped; the copy is wiped byte for byte as it is read.
#![cfg_attr(not(test), no_std)]

use core::mem;
use core::ops::Range;
use core::ptr;

use uart::{Receiver, Transmitter};
use virtio::{
    Areas, Dma, InitError, Misbehaviour, Queue, Reset, Transport, allocate, check_status, features,
    negotiate, start,
};

/// The most bytes that come between two interrupts, and that are on their way out.
pub const BUFFER: usize = 512;

/// The device's virtio type.
pub const DEVICE_TYPE: virtio::DeviceType = virtio::DeviceType::Console;

/// The queues of the first port (section 5.3.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Descriptors: only one is in use at a time.
const DESCRIPTORS: usize = 8;

/// Resets after misbehaviour before the device is given up.
const MAX_RESETS: u32 = 8;

/// A console device. Every interrupt is to be followed by [`acknowledge`](Transmitter::acknowledge) and by
/// [`read`](Receiver::read)s until there is nothing: only then does more come.
#[derive(Debug)]
pub struct Console<T> {
    transport: T,
    /// None once the device is given up.
    queues: Option<Queues>,
    incoming: Dma,
    outgoing: Dma,
    received: [u8; BUFFER],
    /// What of it has not been read.
    unread: Range<usize>,
    resets: u32,
    report: fn(Misbehaviour),
}

#[derive(Debug)]
struct Queues {
    receive: Queue<(), DESCRIPTORS>,
    transmit: Queue<(), DESCRIPTORS>,
}

impl<T: Transport + Areas + Reset> Console<T> {
    /// Sets the device up. The memory for transfers must have been installed. `report` is told of misbehaviour: the
    /// device has been reset then, what was on its way is lost, and after too many times it is not used any more.
    ///
    /// # Errors
    /// [`InitError`].
    pub fn new(mut transport: T, report: fn(Misbehaviour)) -> Result<Self, InitError> {
        let queues = Some(Queues::new(&mut transport)?);
        // Zeroed, now that the device has been reset and does not write any more.
        let buffer = || allocate(BUFFER).ok_or(InitError::Queue(virtio::Error::DmaError));
        Ok(Self {
            transport,
            queues,
            incoming: buffer()?,
            outgoing: buffer()?,
            received: [0; BUFFER],
            unread: 0..0,
            resets: 0,
            report,
        })
    }

    /// Whether the device misbehaved too often to be used any more.
    pub fn is_given_up(&self) -> bool {
        self.queues.is_none()
    }

    /// Gives the device room for what comes next, unless it has it or there is something to be read.
    fn offer(&mut self) {
        let Some(queues) = &mut self.queues else {
            return;
        };
        let queue = &mut queues.receive;
        if self.unread.is_empty() && queue.outstanding() == 0 {
            // Asked for before there is room: what comes at once is told of too.
            queue.sleep(1);
            // The queue is empty, so there is a descriptor.
            if queue.add(&[], &[self.incoming], ()).is_ok() {
                queue.notify(&mut self.transport);
            }
        }
    }

    /// Takes what the device has returned.
    fn collect(&mut self) -> Result<(), Misbehaviour> {
        let Some(queues) = &mut self.queues else {
            return Ok(());
        };
        check_status(&self.transport)?;
        queues.transmit.take()?;
        if !self.unread.is_empty() {
            return Ok(());
        }
        match queues.receive.take()? {
            None => Ok(()),
            Some(((), 0)) => Err(Misbehaviour::Length(0)),
            Some(((), length)) => {
                self.copy_out((length as usize).min(BUFFER));
                Ok(())
            }
        }
    }

    fn copy_out(&mut self, length: usize) {
        let source = self.incoming.pointer().as_ptr();
        for (offset, byte) in self.received[..length].iter_mut().enumerate() {
            // SAFETY: the slice is not longer than `BUFFER`, which is the memory's length. Volatile, since the device
            // may write there at any time, and since the wiping must not be left out.
            unsafe {
                *byte = ptr::read_volatile(source.add(offset));
                ptr::write_volatile(source.add(offset), 0);
            }
        }
        self.unread = 0..length;
    }

    fn recover(&mut self, misbehaviour: Misbehaviour) {
        // The old queues' memory is given back before the new ones need it, and after the device was reset.
        let quiet = self.transport.reset();
        self.queues = None;
        self.resets += 1;
        if quiet.is_ok() && self.resets <= MAX_RESETS {
            self.queues = Queues::new(&mut self.transport).ok();
        }
        self.offer();
        (self.report)(misbehaviour);
    }
}

impl Queues {
    fn new<T: Transport + Areas + Reset>(transport: &mut T) -> Result<Self, InitError> {
        let event_idx = negotiate(transport, 0)? & features::EVENT_IDX != 0;
        let queues = Self {
            receive: Queue::new(transport, RECEIVE, event_idx)?,
            transmit: Queue::new(transport, TRANSMIT, event_idx)?,
        };
        start(transport);
        Ok(queues)
    }
}

impl<T: Transport + Areas + Reset> Transmitter for Console<T> {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(queues) = &mut self.queues else {
            // Nobody will ever take them.
            return bytes.len();
        };
        let queue = &mut queues.transmit;
        let bytes = &bytes[..bytes.len().min(BUFFER)];
        let Some(part) = self.outgoing.part(0, bytes.len()) else {
            return 0;
        };
        if queue.outstanding() > 0 {
            return 0;
        }
        let to = self.outgoing.pointer().as_ptr();
        for (offset, byte) in bytes.iter().enumerate() {
            // SAFETY: the slice is not longer than `BUFFER`, which is the memory's length.
            unsafe { ptr::write_volatile(to.add(offset), *byte) };
        }
        queue.sleep(1);
        // The queue is empty, so there is a descriptor.
        if queue.add(&[part], &[], ()).is_err() {
            return 0;
        }
        queue.notify(&mut self.transport);
        bytes.len()
    }

    fn acknowledge(&mut self) {
        self.transport.ack_interrupt();
        if let Err(misbehaviour) = self.collect() {
            self.recover(misbehaviour);
        }
    }
}

impl<T: Transport + Areas + Reset> Receiver for Console<T> {
    /// Nothing has come yet: the device had no room for it.
    fn listen(&mut self) {
        self.offer();
    }

    fn read(&mut self) -> Option<u8> {
        let place = self.unread.next()?;
        let byte = mem::take(&mut self.received[place]);
        self.offer();
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};
    use std::cell::RefCell;
    use virtio::AnyTransport;
    use virtio::testing::{Bus, FakeDevice, Guest};

    type Fake = Console<AnyTransport<FakeDevice>>;

    thread_local! {
        static REPORTED: RefCell<Vec<Misbehaviour>> = const { RefCell::new(Vec::new()) };
    }

    fn report(misbehaviour: Misbehaviour) {
        REPORTED.with_borrow_mut(|reported| reported.push(misbehaviour));
    }

    fn reported() -> Vec<Misbehaviour> {
        REPORTED.take()
    }

    fn set_up(bus: Bus) -> (FakeDevice, Fake) {
        let guest = Guest::install(8 * 4096, 0);
        let features = features::VERSION_1 | features::EVENT_IDX;
        let device = FakeDevice::new(guest, features, &[], &[8, 8]);
        let mut console = Console::new(device.transport(bus, DEVICE_TYPE), report).unwrap();
        console.listen();
        (device, console)
    }

    /// What there is to be read.
    fn read(console: &mut Fake) -> Vec<u8> {
        std::iter::from_fn(|| console.read()).collect()
    }

    /// The device writes to the buffer that it has; where that is.
    fn receives(device: &FakeDevice, bytes: &[u8]) -> u64 {
        let chain = device.next(0).unwrap();
        let part = chain.parts[0];
        assert!(part.writable && part.length == BUFFER as u32);
        device.write(part.address, bytes);
        device.want_notification(0);
        device.give(0, chain.id.into(), bytes.len() as u32);
        part.address
    }

    #[test]
    fn what_comes_is_read_once_and_leaves_nothing_behind() {
        for bus in [Bus::Mmio, Bus::Pci] {
            let (device, mut console) = set_up(bus);
            for round in 1..300 {
                assert_eq!(console.read(), None);
                let address = receives(&device, &[round as u8; 5]);
                assert_eq!(device.interrupts(0), round);
                assert_eq!(console.read(), None);
                console.acknowledge();
                assert_eq!(device.read(address, 5), [0; 5]);
                assert_eq!(device.next(0), None);
                assert_eq!(read(&mut console), [round as u8; 5]);
                assert_eq!(console.received, [0; BUFFER]);
            }
            assert_eq!(reported(), []);
        }
    }

    #[test]
    fn what_is_written_goes_out_a_buffer_at_a_time() {
        let (device, mut console) = set_up(Bus::Mmio);
        let text: Vec<u8> = (0..1300u32).map(|index| index as u8).collect();
        let (mut rest, mut sent) = (&text[..], Vec::new());
        while !rest.is_empty() {
            let count = console.write(rest);
            assert!(count <= BUFFER);
            assert_eq!(console.write(rest), 0);
            rest = &rest[count..];
            let chain = device.next(1).unwrap();
            let part = chain.parts[0];
            assert!(!part.writable);
            sent.extend(device.read(part.address, part.length as usize));
            let before = device.interrupts(1);
            device.give(1, chain.id.into(), 0);
            assert_eq!(device.interrupts(1), before + 1);
            console.acknowledge();
        }
        assert_eq!(sent, text);
        assert_eq!(console.write(&[]), 0);
    }

    #[test]
    fn a_device_that_keeps_misbehaving_is_given_up() {
        let (device, mut console) = set_up(Bus::Mmio);
        for _ in 0..=MAX_RESETS {
            assert!(!console.is_given_up());
            let chain = device.next(0).unwrap();
            device.give(0, chain.id.into(), BUFFER as u32 + 1);
            console.acknowledge();
            assert_eq!(reported(), [Misbehaviour::Length(BUFFER as u32 + 1)]);
        }
        assert!(console.is_given_up());
        assert_eq!((console.read(), console.write(b"text")), (None, 4));
    }

    #[test]
    fn a_device_that_gives_nothing_or_needs_a_reset_is_reset() {
        let (device, mut console) = set_up(Bus::Pci);
        device.give(0, 0, 0);
        console.acknowledge();
        assert_eq!(reported(), [Misbehaviour::Length(0)]);
        device.raise_status(64);
        console.acknowledge();
        assert_eq!(reported(), [Misbehaviour::NeedsReset]);
        receives(&device, b"fine");
        console.acknowledge();
        assert_eq!(read(&mut console), b"fine");
    }

    proptest! {
        #[test]
        fn a_hostile_device_is_survived(
            steps in proptest::collection::vec((0u8..5, any::<u32>(), any::<u64>()), 1..100),
            pci in any::<bool>(),
        ) {
            let (device, mut console) = set_up(if pci { Bus::Pci } else { Bus::Mmio });
            for (step, number, seed) in steps {
                let queue = (number % 2) as usize;
                match step {
                    0 => _ = console.write(&[7; 700][..number as usize % 700]),
                    1 => device.give(queue, number / 2 % 16, seed as u32),
                    2 => device.claim(queue, (number / 2) as u16),
                    3 => device.raise_status((number as u8) & 64),
                    _ => {
                        let mut seed = seed;
                        device.scribble(queue, || {
                            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                            (seed >> 56) as u8
                        });
                    }
                }
                console.acknowledge();
                prop_assert!(read(&mut console).len() <= BUFFER);
                if console.is_given_up() {
                    break;
                }
            }
        }
    }
}
