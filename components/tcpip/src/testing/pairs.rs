//! Both ends of a channel over memory of this process.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use channel::memory::{OwnRegion, PeerRegion};
use channel::packets::{self, Driver, HEADROOM, Pool};
use channel::streams::{self, Consumer, Provider, SocketMemory};

/// The memory that one side writes, for a test that plays a side gone mad.
pub(crate) struct Memory {
    base: NonNull<u64>,
    words: usize,
}

impl Memory {
    /// Fills it with a word.
    pub fn scribble(&mut self, word: u64) {
        self.scribble_from(0, word);
    }

    /// Fills all but the first words with a word.
    pub fn scribble_from(&mut self, first: usize, word: u64) {
        for index in first..self.words {
            // SAFETY: the memory is leaked and this long, and nothing else runs.
            unsafe { self.base.add(index).write_volatile(word) };
        }
    }
}

/// A region as its writer and its reader see it, and bare.
fn region(size: usize) -> (OwnRegion, PeerRegion, Memory) {
    let words = size.div_ceil(8);
    let memory: &'static mut [u64] = vec![0; words].leak();
    let base = NonNull::from(memory).cast();
    // SAFETY: the memory is leaked, so it lives on; one side writes it, as on seL4, in the same thread.
    let ends = unsafe {
        (
            OwnRegion::new(base.cast(), size),
            PeerRegion::new(base.cast(), size),
        )
    };
    (ends.0.unwrap(), ends.1.unwrap(), Memory { base, words })
}

/// The two rings of a socket, as its user sees them.
pub(crate) struct Rings {
    receive: NonNull<u8>,
    transmit: NonNull<u8>,
    size: usize,
}

/// Returns the memory of a socket with rings of `size` bytes, and the user's view of it.
pub(crate) fn socket_memory(size: usize) -> (SocketMemory, Rings) {
    let receive: &'static mut [u8] = vec![0; size].leak();
    let transmit: &'static mut [u8] = vec![0; size].leak();
    let rings = Rings {
        receive: NonNull::from(&mut *receive).cast(),
        transmit: NonNull::from(&mut *transmit).cast(),
        size,
    };
    (SocketMemory { receive, transmit }, rings)
}

impl Rings {
    /// Writes bytes into the transmit ring from this position of the stream on.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: the memory is leaked and `size` long, and the socket does not run.
            unsafe {
                let place = self.transmit.add((at + index) % self.size);
                place.write_volatile(*byte);
            }
        }
    }

    /// Reads bytes from the receive ring from this position of the stream on.
    pub fn read(&self, at: usize, length: usize) -> Vec<u8> {
        (at..at + length)
            // SAFETY: as above.
            .map(|index| unsafe { self.receive.add(index % self.size).read_volatile() })
            .collect()
    }
}

/// A `streams` connection whose ends have met, and what the consumer writes.
pub(crate) fn streams(connections: usize, buffer: usize) -> (Provider, Consumer, Memory) {
    let layout = streams::Layout::new(connections, buffer).unwrap();
    let (provider_own, consumer_peers, _) = region(layout.provider_size());
    let (consumer_own, provider_peers, memory) = region(layout.consumer_size());
    let mut provider = Provider::new(layout, provider_own, provider_peers, || {}).unwrap();
    let mut consumer = Consumer::new(layout, consumer_own, consumer_peers, || {}).unwrap();
    while !(provider.sleep() & consumer.sleep()) {
        provider.next_event().unwrap();
        consumer.next_event().unwrap();
    }
    (provider, consumer, memory)
}

/// A `packets` connection, and what the driver writes.
pub(crate) fn packets(buffers: usize) -> (Driver, packets::Stack, Memory) {
    let layout = packets::Layout::new(buffers, 2048).unwrap();
    let (driver_own, stack_peers, memory) = region(layout.provider_size());
    let (stack_own, driver_peers, _) = region(layout.consumer_size());
    let pool: &'static mut [u64] = vec![0; layout.pool_size() / 8].leak();
    let base = NonNull::from(pool).cast();
    // SAFETY: the memory is leaked, and both ends run in the same thread.
    let pool = || unsafe { Pool::new(base) };
    let mut driver = Driver::new(layout, driver_own, driver_peers, pool(), || {}).unwrap();
    let mut stack = packets::Stack::new(layout, stack_own, stack_peers, pool(), || {}).unwrap();
    // They join each other.
    while !(driver.sleep(false) & stack.sleep(false)) {
        driver.next_transmit().unwrap();
        stack.free_transmit_buffers();
    }
    (driver, stack, memory)
}

/// A frame that the stack sent.
pub(crate) fn sent(driver: &mut Driver) -> Option<Vec<u8>> {
    let (buffer, length) = driver.next_transmit().unwrap()?;
    // SAFETY: the driver holds the buffer, and nothing else runs.
    let bytes = unsafe { driver.memory(&buffer).as_ref() };
    let frame = bytes[HEADROOM..HEADROOM + length].to_vec();
    driver.transmitted(buffer);
    Some(frame)
}

/// Gives the stack a frame; `false` if it has returned no buffer yet, as when a card is overrun.
pub(crate) fn deliver(driver: &mut Driver, frame: &[u8]) -> bool {
    let Some(buffer) = driver.take_receive_buffer().unwrap() else {
        return false;
    };
    // SAFETY: the driver holds the buffer, and nothing else runs.
    let bytes = unsafe { driver.memory(&buffer).as_mut() };
    bytes[HEADROOM..][..frame.len()].copy_from_slice(frame);
    driver.received(buffer, frame.len());
    true
}
