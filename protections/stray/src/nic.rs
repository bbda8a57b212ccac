//! The device, and memory whose physical address is told wrongly.

use core::fmt;
use core::ptr::NonNull;

use device::NoDevice;
use registers::Mapped;
use virtio::{
    AnyTransport, DeviceType, Dma, InitError, Misbehaviour, Queue, Region, Reset, allocate,
    check_status, features, find, install, negotiate, start,
};

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const DESCRIPTORS: usize = 8;

const PAGE: usize = 4096;

/// The header in front of a frame (virtio 1.2, section 5.1.6): no offload.
const HEADER: usize = 12;

/// Who has 10.0.2.2? Tell 02:00:00:00:00:02, which is 10.0.2.15 (RFC 826, over Ethernet). QEMU's network answers.
const REQUEST: [u8; 42] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0,
    0, 2, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
];

/// Where the buffer for the answer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Behind the memory of this PD.
    Outside,
    /// In it.
    Inside,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        })
    }
}

/// What the device made of an attempt.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// It says that it wrote so many bytes.
    Wrote(u32),
    /// It gave up.
    Refused(Misbehaviour),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrote(length) => write!(f, "the device says that it wrote {length} bytes"),
            Self::Refused(misbehaviour) => misbehaviour.fmt(f),
        }
    }
}

/// Why there is no attempt.
pub enum Error {
    Device(NoDevice),
    Init(InitError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Init(error) => error.fmt(f),
        }
    }
}

impl From<InitError> for Error {
    fn from(error: InitError) -> Self {
        Self::Init(error)
    }
}

/// The device and what it was asked.
pub struct Nic {
    transport: AnyTransport<Mapped>,
    under_way: Option<(Attempt, [Queue<(), DESCRIPTORS>; 2])>,
}

impl Nic {
    pub fn open() -> Result<Self, Error> {
        let transport = device::virtio(DeviceType::Network, None).map_err(Error::Device)?;
        Ok(Self {
            transport,
            under_way: None,
        })
    }

    /// Asks for the gateway's address. The outcome comes with an interrupt.
    pub fn ask(&mut self, attempt: Attempt) -> Result<(), Error> {
        self.transport.reset()?;
        self.under_way = None;
        let buffer = buffer(attempt).ok_or(InitError::Queue(virtio::Error::DmaError))?;
        let request = request().ok_or(InitError::Queue(virtio::Error::DmaError))?;
        let transport = &mut self.transport;
        let event_idx = negotiate(transport, 0)? & features::EVENT_IDX != 0;
        let mut receive = Queue::new(transport, RECEIVE, event_idx)?;
        let mut transmit = Queue::new(transport, TRANSMIT, event_idx)?;
        start(transport);
        // Both queues are empty.
        let added =
            receive.add(&[], &[buffer], ()).is_ok() && transmit.add(&[request], &[], ()).is_ok();
        assert!(added, "an empty queue has room");
        transmit.doze();
        receive.sleep(1);
        receive.notify(transport);
        transmit.notify(transport);
        self.under_way = Some((attempt, [receive, transmit]));
        Ok(())
    }

    /// What the device made of the attempt; none if that is still open.
    pub fn outcome(&mut self) -> Option<(Attempt, Outcome)> {
        use virtio::Transport;
        self.transport.ack_interrupt();
        let (attempt, [receive, _]) = self.under_way.as_mut()?;
        let taken = check_status(&self.transport).and_then(|()| receive.take());
        let outcome = match taken {
            Ok(None) => return None,
            Ok(Some(((), length))) => Outcome::Wrote(length),
            Err(misbehaviour) => Outcome::Refused(misbehaviour),
        };
        Some((*attempt, outcome))
    }
}

pub fn own_memory() -> wiring::Dma {
    device::wiring()
        .dma
        .expect("the builder gives it memory for transfers")
}

/// A page for the answer: the last one of this PD's memory, or what the drivers' crate takes for it.
fn buffer(attempt: Attempt) -> Option<Dma> {
    let memory = own_memory();
    let (address, size) = (
        memory.span.address as usize,
        memory.span.size as usize - PAGE,
    );
    let base = NonNull::new(address as *mut u8)?;
    // SAFETY: the last page lies inside the memory.
    let page = unsafe { base.add(size) };
    let own = Region {
        base,
        physical: memory.physical,
        size,
    };
    let pool = Region {
        base: page,
        physical: match attempt {
            Attempt::Inside => memory.physical + size as u64,
            Attempt::Outside => memory.physical + memory.span.size,
        },
        size: PAGE,
    };
    // SAFETY: the memory is this PD's alone and stays mapped; its last page is touched by nobody but the device. That
    // the device may be told a wrong address is the test.
    unsafe { install(own, Some(pool)) };
    find(page, PAGE)
}

/// The frame that asks, behind its header.
fn request() -> Option<Dma> {
    let memory = allocate(HEADER + REQUEST.len())?;
    // SAFETY: the memory was allocated just now, zeroed, and is as long as both.
    unsafe {
        memory
            .pointer()
            .add(HEADER)
            .copy_from_nonoverlapping(NonNull::from(&REQUEST).cast(), REQUEST.len());
    }
    Some(memory)
}
