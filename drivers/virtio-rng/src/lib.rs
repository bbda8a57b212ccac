//! Driver of the virtio entropy device (virtio 1.2, section 5.4).
//!
//! One request is under way at a time, in memory of the driver's own. What the device writes there is copied
//! once into memory that it cannot reach, and wiped.
#![cfg_attr(not(test), no_std)]

use core::ptr;

use virtio::{
    Areas, Dma, InitError, Misbehaviour, Queue, Reset, Transport, allocate, check_status, features,
    negotiate, start,
};

/// The most bytes of one request.
pub const REQUEST: usize = 1024;

/// The device's virtio type.
pub const DEVICE_TYPE: virtio::DeviceType = virtio::DeviceType::EntropySource;

const QUEUE: u16 = 0;
/// Descriptors: only one is in use at a time, and this is what QEMU's device has.
const DESCRIPTORS: usize = 8;

/// Resets after misbehaviour before the device is given up.
const MAX_RESETS: u32 = 8;

/// An entropy device.
#[derive(Debug)]
pub struct Rng<T> {
    transport: T,
    /// None once the device is given up.
    queue: Option<Queue<(), DESCRIPTORS>>,
    buffer: Dma,
    resets: u32,
}

impl<T: Transport + Areas + Reset> Rng<T> {
    /// Sets the device up. The memory for transfers must have been installed.
    ///
    /// # Errors
    /// [`InitError`].
    pub fn new(mut transport: T) -> Result<Self, InitError> {
        let no_memory = InitError::Queue(virtio::Error::DmaError);
        let buffer = allocate(REQUEST).ok_or(no_memory)?;
        let queue = Some(set_up(&mut transport)?);
        Ok(Self {
            transport,
            queue,
            buffer,
            resets: 0,
        })
    }

    /// Asks for `bytes` bytes, 1 to [`REQUEST`], unless a request is under way.
    pub fn request(&mut self, bytes: usize) {
        let Some(part) = self.buffer.part(0, bytes.clamp(1, REQUEST)) else {
            return;
        };
        if let Some(queue) = self.queue.as_mut().filter(|queue| queue.outstanding() == 0) {
            // The queue is empty, so there is room.
            if queue.add(&[], &[part], ()).is_ok() {
                queue.sleep(1);
                queue.notify(&mut self.transport);
            }
        }
    }

    /// Takes note of an interrupt, so that the device lowers its line. Call before acknowledging the interrupt
    /// to the kernel.
    pub fn acknowledge(&mut self) {
        self.transport.ack_interrupt();
    }

    /// Takes what the device has given: copies it to `bytes` and says how many bytes that are; none if the
    /// request is still under way.
    ///
    /// # Errors
    /// [`Misbehaviour`]. The device has been reset and works again, or has been given up
    /// ([`is_given_up`](Self::is_given_up)) after too many times; the request is lost.
    pub fn take(&mut self, bytes: &mut [u8; REQUEST]) -> Result<Option<usize>, Misbehaviour> {
        let Some(queue) = &mut self.queue else {
            return Ok(None);
        };
        let taken = check_status(&self.transport).and_then(|()| queue.take());
        match taken {
            Ok(None) => Ok(None),
            // A device gives at least one byte (section 5.4.6.1).
            Ok(Some(((), length))) if length > 0 => {
                let length = (length as usize).min(REQUEST);
                self.copy_out(&mut bytes[..length]);
                Ok(Some(length))
            }
            Ok(Some(_)) => Err(self.recover(Misbehaviour::Length(0))),
            Err(misbehaviour) => Err(self.recover(misbehaviour)),
        }
    }

    /// Whether the device misbehaved too often to be used any more.
    pub fn is_given_up(&self) -> bool {
        self.queue.is_none()
    }

    fn copy_out(&mut self, bytes: &mut [u8]) {
        let source = self.buffer.pointer().as_ptr();
        for (offset, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: the slice is not longer than `REQUEST`, which is the buffer's length. Volatile, since the
            // device may write there at any time, and since the wiping must not be left out.
            unsafe {
                *byte = ptr::read_volatile(source.add(offset));
                ptr::write_volatile(source.add(offset), 0);
            }
        }
    }

    fn recover(&mut self, misbehaviour: Misbehaviour) -> Misbehaviour {
        // The old queue's memory is given back before the new one needs it, and after the device was reset.
        let quiet = self.transport.reset();
        self.queue = None;
        self.resets += 1;
        if quiet.is_ok() && self.resets <= MAX_RESETS {
            self.queue = set_up(&mut self.transport).ok();
        }
        misbehaviour
    }
}

fn set_up<T: Transport + Areas + Reset>(
    transport: &mut T,
) -> Result<Queue<(), DESCRIPTORS>, InitError> {
    let accepted = negotiate(transport, 0)?;
    let queue = Queue::new(transport, QUEUE, accepted & features::EVENT_IDX != 0)?;
    start(transport);
    Ok(queue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};
    use virtio::AnyTransport;
    use virtio::testing::{Bus, FakeDevice, Guest};

    fn set_up(bus: Bus) -> (FakeDevice, Rng<AnyTransport<FakeDevice>>) {
        let guest = Guest::install(4 * 4096, 0);
        let features = features::VERSION_1 | features::EVENT_IDX;
        let device = FakeDevice::new(guest, features, &[], &[8]);
        let rng = Rng::new(device.transport(bus, DEVICE_TYPE)).unwrap();
        (device, rng)
    }

    #[test]
    fn requests_are_answered_one_at_a_time_and_leave_nothing_behind() {
        let (device, mut rng) = set_up(Bus::Mmio);
        let mut bytes = [0; REQUEST];
        for round in 1..300u32 {
            rng.request(REQUEST);
            rng.request(REQUEST);
            assert_eq!(rng.take(&mut bytes), Ok(None));
            let chain = device.next(0).unwrap();
            assert_eq!(device.next(0), None);
            let [part] = chain.parts[..] else {
                panic!("one part")
            };
            assert!(part.writable && part.length == REQUEST as u32);
            device.write(part.address, &[round as u8; 5]);
            device.want_notification(0);
            device.give(0, chain.id.into(), 5);
            assert_eq!(rng.take(&mut bytes), Ok(Some(5)));
            assert_eq!(bytes[..5], [round as u8; 5]);
            assert_eq!(device.read(part.address, 5), [0; 5]);
        }
        assert_eq!((device.notifications(0), device.interrupts(0)), (299, 299));
    }

    #[test]
    fn a_device_that_keeps_misbehaving_is_given_up() {
        let (device, mut rng) = set_up(Bus::Mmio);
        let mut bytes = [0; REQUEST];
        for _ in 0..=MAX_RESETS {
            assert!(!rng.is_given_up());
            rng.request(16);
            let chain = device.next(0).unwrap();
            assert_eq!(chain.parts[0].length, 16);
            device.give(0, chain.id.into(), 17);
            assert_eq!(rng.take(&mut bytes), Err(Misbehaviour::Length(17)));
        }
        assert!(rng.is_given_up());
        rng.request(16);
        assert_eq!(rng.take(&mut bytes), Ok(None));
        assert_eq!(device.next(0), None);
    }

    #[test]
    fn a_device_that_gives_nothing_or_needs_a_reset_is_reset() {
        let (device, mut rng) = set_up(Bus::Pci);
        let mut bytes = [0; REQUEST];
        rng.request(16);
        device.give(0, 0, 0);
        assert_eq!(rng.take(&mut bytes), Err(Misbehaviour::Length(0)));
        rng.request(16);
        device.raise_status(64);
        assert_eq!(rng.take(&mut bytes), Err(Misbehaviour::NeedsReset));
        rng.request(16);
        let chain = device.next(0).unwrap();
        device.give(0, chain.id.into(), 16);
        assert_eq!(rng.take(&mut bytes), Ok(Some(16)));
        device.get_stuck();
        rng.request(16);
        device.give(0, 7, 1);
        assert_eq!(rng.take(&mut bytes), Err(Misbehaviour::Token(7)));
        assert!(rng.is_given_up());
    }

    proptest! {
        #[test]
        fn a_hostile_device_is_survived(
            steps in proptest::collection::vec((0u8..4, any::<u32>(), any::<u64>()), 1..100),
            pci in any::<bool>(),
        ) {
            let (device, mut rng) = set_up(if pci { Bus::Pci } else { Bus::Mmio });
            let mut bytes = [0; REQUEST];
            for (step, number, seed) in steps {
                match step {
                    0 => rng.request(number as usize),
                    1 => device.give(0, number % 16, seed as u32),
                    2 => device.claim(0, number as u16),
                    _ => {
                        let mut seed = seed;
                        device.scribble(0, || {
                            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                            (seed >> 56) as u8
                        });
                    }
                }
                rng.acknowledge();
                if let Ok(Some(length)) = rng.take(&mut bytes) {
                    prop_assert!((1..=REQUEST).contains(&length));
                }
                if rng.is_given_up() {
                    break;
                }
            }
        }
    }
}
