//! A virtio device that lies in every register and every ring: the drivers of the network, entropy and console device
//! neither panic, nor give it memory that is not for transfers (the fake device checks every address that it is given),
//! nor lose one of the stack's buffers.
//!
//! Input: a byte that chooses the driver and the bus, a byte with the number of changes to what a device on PCI says of
//! its own layout, the changes (an offset and a byte for it), then steps of an operation, a number and a value. More steps,
//! which a generator makes, follow: short inputs reach states that take many steps, too.
#![no_main]

use std::ptr::NonNull;

use channel::memory::{OwnRegion, PeerRegion};
use channel::packets::{self, Layout, Pool, Stack};
use libfuzzer_sys::fuzz_target;
use pci::Bar;
use uart::{Receiver, Transmitter};
use virtio::testing::{Bus, FakeDevice, Guest};
use virtio::{AnyTransport, DeviceType, MmioTransport, PciTransport, features};
use virtio_console::{BUFFER, Console};
use virtio_net::Driver;
use virtio_rng::{REQUEST, Rng};

fuzz_target!(|input: &[u8]| MEMORY.with(|memory| run(memory, input)));

const BUFFERS: usize = 8;
const BUFFER_SIZE: usize = 2048;
const LAYOUT: Layout = match Layout::new(BUFFERS, BUFFER_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// MTU, hardware address and link status (virtio 1.2, section 5.1.3).
const NET_FEATURES: u64 = 1 << 3 | 1 << 5 | 1 << 16;
const NET_CONFIG: [u8; 12] = [2, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0xdc, 5];

thread_local! {
    static MEMORY: Memory = Memory {
        guest: Guest::install(virtio_net::MEMORY, LAYOUT.pool_size().next_multiple_of(4096)),
        regions: [LAYOUT.provider_size(), LAYOUT.consumer_size()].map(|size| {
            let words: &mut [u64] = Box::leak(vec![0; size.div_ceil(8)].into());
            (NonNull::from(&mut words[0]).cast(), size)
        }),
    };
}

/// Memory that lasts for all runs.
struct Memory {
    guest: Guest,
    /// What the driver writes and what the stack writes.
    regions: [(NonNull<u8>, usize); 2],
}

fn run(memory: &Memory, input: &[u8]) {
    let [choice, changes, rest @ ..] = input else {
        return;
    };
    let (changes, steps) = rest.split_at(rest.len().min(2 * usize::from(*changes)));
    let bus = if choice & 1 == 0 { Bus::Pci } else { Bus::Mmio };
    memory.guest.renew();
    let offered = match choice & 4 {
        0 => features::VERSION_1,
        _ => features::VERSION_1 | features::EVENT_IDX | features::ACCESS_PLATFORM,
    };
    if choice & 2 == 0 {
        let offered = offered | NET_FEATURES;
        let device = FakeDevice::new(memory.guest, offered, &NET_CONFIG, &[256, 256]);
        if let Some(transport) = transport(&device, bus, DeviceType::Network, changes) {
            network(memory, &device, transport, Steps::new(steps));
        }
    } else if choice & 8 == 0 {
        let device = FakeDevice::new(memory.guest, offered, &[0; 16], &[8]);
        if let Some(transport) = transport(&device, bus, DeviceType::EntropySource, changes) {
            entropy(&device, transport, Steps::new(steps));
        }
    } else {
        let device = FakeDevice::new(memory.guest, offered, &[0; 16], &[8, 8]);
        if let Some(transport) = transport(&device, bus, DeviceType::Console, changes) {
            console(&device, transport, Steps::new(steps));
        }
    }
}

/// A way to the device, whose layout over PCI is what the driver makes of a configuration space with changes in it.
fn transport(
    device: &FakeDevice,
    bus: Bus,
    device_type: DeviceType,
    changes: &[u8],
) -> Option<AnyTransport<FakeDevice>> {
    let registers = device.on(bus, device_type as u32);
    if bus == Bus::Mmio {
        let transport = MmioTransport::new(registers, device_type).unwrap();
        return Some(AnyTransport::Mmio(transport));
    }
    let mut space = configuration_space();
    for change in changes.chunks_exact(2) {
        space[usize::from(change[0])] ^= change[1];
        device.mislead();
    }
    let word = |offset: u8| {
        let at = usize::from(offset & !3);
        u32::from_le_bytes(space[at..][..4].try_into().unwrap())
    };
    let bar = Bar {
        index: 4,
        address: 0xfe00_0000,
        size: 0x4000,
    };
    let layout = pci::virtio(word, &[bar]);
    let transport = PciTransport::new(registers, bar.index, &layout, device_type).ok()?;
    Some(AnyTransport::Pci(transport))
}

/// The configuration space of an honest device: a list of four virtio capabilities (section 4.1.4).
fn configuration_space() -> [u8; 256] {
    let mut space = [0; 256];
    space[0x06] = 1 << 4;
    space[0x34] = 0x40;
    for kind in 1..=4u8 {
        let at = 0x20 + 0x20 * usize::from(kind);
        let next = if kind < 4 { at as u8 + 0x20 } else { 0 };
        // Common configuration, notifications, interrupt status, device configuration.
        let page = [0, 3, 1, 2][usize::from(kind) - 1];
        space[at..][..5].copy_from_slice(&[0x09, next, 20, kind, 4]);
        space[at + 9] = page << 4;
        space[at + 13] = 0x10;
        space[at + 16] = 4;
    }
    space
}

fn network(
    memory: &Memory,
    device: &FakeDevice,
    transport: AnyTransport<FakeDevice>,
    mut steps: Steps<'_>,
) {
    let (port, mut stack) = ends(memory);
    steps.lie_first(device);
    let Ok(mut driver) = Driver::new(transport, port) else {
        return;
    };
    driver.work(|_| {});
    let mut frame = [0; BUFFER_SIZE];
    for step in steps {
        match step.operation {
            0 => driver.interrupt(|_| {}),
            1 => send(&mut stack, step.value.into()),
            2 => {
                let length = stack.receive(&mut frame);
                let length = length.expect("the driver believes no length that does not fit");
                assert!(length.is_none_or(|length| length < BUFFER_SIZE));
            }
            3 | 4 => serve(device, RECEIVE, step.value),
            5 | 6 => serve(device, TRANSMIT, 0),
            _ => misbehave(device, usize::from(step.number >> 7), &step),
        }
        driver.work(|_| {});
    }
    // A last misbehaviour makes the driver take back all that the device has.
    device.claim(TRANSMIT, 0x7777);
    driver.work(|_| {});
    assert_eq!(stack.free_transmit_buffers(), BUFFERS);
}

fn entropy(device: &FakeDevice, transport: AnyTransport<FakeDevice>, mut steps: Steps<'_>) {
    steps.lie_first(device);
    let Ok(mut rng) = Rng::new(transport) else {
        return;
    };
    let mut bytes = [0; REQUEST];
    let mut asked = 0;
    for step in steps {
        match step.operation {
            0 => rng.acknowledge(),
            1 | 2 => {
                rng.request(step.value.into());
                asked = asked.max(usize::from(step.value).clamp(1, REQUEST));
            }
            3..7 => serve(device, 0, step.value),
            _ => misbehave(device, 0, &step),
        }
        if let Ok(Some(length)) = rng.take(&mut bytes) {
            assert!((1..=asked).contains(&length), "more than was asked for");
        }
    }
}

fn console(device: &FakeDevice, transport: AnyTransport<FakeDevice>, mut steps: Steps<'_>) {
    steps.lie_first(device);
    let Ok(mut console) = Console::new(transport, |_| {}) else {
        return;
    };
    console.listen();
    for step in steps {
        match step.operation {
            0 => console.acknowledge(),
            1 | 2 => {
                let text = [7; 2 * BUFFER];
                let text = &text[..usize::from(step.value) % text.len()];
                assert!(console.write(text) <= text.len());
            }
            3..7 => serve(device, usize::from(step.number & 1), step.value),
            _ => misbehave(device, usize::from(step.number >> 7), &step),
        }
        let read = std::iter::from_fn(|| console.read()).count();
        assert!(read <= BUFFER, "more than one buffer holds");
    }
}

/// What happens next.
struct Step {
    /// 0 to 15.
    operation: u8,
    number: u8,
    value: u16,
}

/// Steps from the input, then from a generator.
struct Steps<'a> {
    input: &'a [u8],
    seed: u32,
    more: u32,
}

impl Steps<'_> {
    const MORE: u32 = 40;

    fn new(input: &[u8]) -> Steps<'_> {
        // FNV-1a.
        let seed = input.iter().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        Steps {
            input,
            seed: seed | 1,
            more: Self::MORE,
        }
    }

    /// What comes before the driver starts: lies only, since there are no queues yet.
    fn lie_first(&mut self, device: &FakeDevice) {
        while let &[13..=15, number, a, b, ref rest @ ..] = self.input {
            self.input = rest;
            lie(device, number, u16::from_le_bytes([a, b]));
        }
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let bytes = match self.input.split_first_chunk::<4>() {
            Some((bytes, rest)) => {
                self.input = rest;
                *bytes
            }
            None => {
                self.more = self.more.checked_sub(1)?;
                // xorshift.
                self.seed ^= self.seed << 13;
                self.seed ^= self.seed >> 17;
                self.seed ^= self.seed << 5;
                self.seed.to_le_bytes()
            }
        };
        let [operation, number, a, b] = bytes;
        Some(Step {
            operation: operation % 16,
            number,
            value: u16::from_le_bytes([a, b]),
        })
    }
}

/// Takes what the driver made available and returns it, with a length that often fits.
fn serve(device: &FakeDevice, queue: usize, length: u16) {
    if let Some(chain) = device.next(queue) {
        device.give(queue, chain.id.into(), (length % 2048).into());
    }
    device.want_notification(queue);
}

fn misbehave(device: &FakeDevice, queue: usize, step: &Step) {
    let Step { number, value, .. } = *step;
    match step.operation {
        7 => device.give(queue, (number & 0x0f).into(), value.into()),
        8 => device.give(queue, u32::from(value) << 9 | u32::from(number), 60),
        9 => device.claim(queue, value),
        10 => device.raise_status(number),
        11 => device.configure(usize::from(number % 8), &value.to_le_bytes()),
        12 => {
            let mut seed = u64::from(value);
            device.scribble(queue, || {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (seed >> 56) as u8
            });
        }
        _ => lie(device, number, value),
    }
}

/// A lie in a register that a driver reads, on either bus, or in the configuration of the device; or an end of it.
fn lie(device: &FakeDevice, number: u8, value: u16) {
    const REGISTERS: [usize; 24] = [
        0x00, 0x04, 0x08, 0x10, 0x14, 0x15, 0x18, 0x1c, 0x1e, 0x34, 0x44, 0x60, 0x70, 0xfc, 0x100,
        0x101, 0x106, 0x10a, 0x1000, 0x2000, 0x2001, 0x2005, 0x2006, 0x200a,
    ];
    let register = REGISTERS[usize::from(number) % REGISTERS.len()];
    let everywhere = u32::from(value) << 16 | u32::from(value);
    device.lie(register, (number < 0xc0).then_some(everywhere));
}

fn send(stack: &mut Stack, length: usize) {
    if let Some(buffer) = stack.transmit_buffer() {
        stack.submit(buffer, length % 1600);
    }
}

/// The ends of the port, over zeroed memory.
fn ends(memory: &Memory) -> (packets::Driver, Stack) {
    for (base, size) in memory.regions {
        // SAFETY: the memory is leaked, and the ends of the run before are gone.
        unsafe { base.write_bytes(0, size) };
    }
    // SAFETY: as above; both ends are in one program, which tests accept.
    let (own, peers, pool) = unsafe {
        (
            |(base, size)| OwnRegion::new(base, size).unwrap(),
            |(base, size)| PeerRegion::new(base, size).unwrap(),
            || Pool::new(memory.guest.pool().base),
        )
    };
    let [driver_region, stack_region] = memory.regions;
    let driver = packets::Driver::new(
        LAYOUT,
        own(driver_region),
        peers(stack_region),
        pool(),
        || {},
    );
    let stack = Stack::new(
        LAYOUT,
        own(stack_region),
        peers(driver_region),
        pool(),
        || {},
    );
    (driver.unwrap(), stack.unwrap())
}
