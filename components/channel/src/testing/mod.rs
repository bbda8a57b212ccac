//! Both ends of a channel in one program, over memory of its own that is never freed.
//!
//! With the feature `hostile`, a hook runs before every load of a word that the peer writes: a test can change
//! shared memory there, and so play a peer that writes at any moment. The module `hostile` does so for every
//! endpoint, driven by a string of bytes.

use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::memory::{OwnRegion, PeerRegion};
use crate::packets::{self, Driver, Pool, Stack};
use crate::streams::{self, Consumer, ConsumerEvent, Provider, ProviderEvent};
use crate::{LayoutError, Notify, OK, Reply};

/// A server's answer as a caller gets it: so many of these words, or an error.
pub fn replied<E: Into<u64>>(answer: Result<usize, E>, words: &[u64], reply: &mut [u64]) -> Reply {
    match answer {
        Ok(count) => {
            reply[..count].copy_from_slice(&words[..count]);
            Reply { label: OK, count }
        }
        Err(error) => Reply {
            label: error.into(),
            count: 0,
        },
    }
}

/// Counts how often it was rung.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<AtomicUsize>);

impl Bell {
    /// How often it was rung since the last call.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Notify for Bell {
    fn notify(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The writer's and the reader's view of one zeroed region of at least `size` bytes.
#[cfg(not(loom))]
#[allow(unsafe_code)]
pub fn region_pair(size: usize) -> (OwnRegion, PeerRegion) {
    let base = zeroed(size);
    // SAFETY: the memory is never freed. Reader and writer are in one program here, which the rules for
    // `OwnRegion` exclude; tests accept that the reader sees bytes while they change.
    let pair = unsafe { (OwnRegion::new(base, size), PeerRegion::new(base, size)) };
    match pair {
        (Ok(own), Ok(peer)) => (own, peer),
        _ => unreachable!("words are aligned"),
    }
}

/// Memory that two ends share, and that one of them can lose and see again.
#[cfg(not(loom))]
pub struct Shared {
    base: core::ptr::NonNull<u8>,
    size: usize,
}

#[cfg(not(loom))]
#[allow(unsafe_code)]
impl Shared {
    /// Zeroed memory of at least `size` bytes that is never freed.
    pub fn new(size: usize) -> Self {
        Self {
            base: zeroed(size),
            size,
        }
    }

    /// The writer's view; the one before it must not be used any more.
    pub fn own(&self) -> OwnRegion {
        // SAFETY: as in `region_pair`; who starts over drops its end first.
        let region = unsafe { OwnRegion::new(self.base, self.size) };
        region.unwrap_or_else(|_| unreachable!("words are aligned"))
    }

    /// The reader's view.
    pub fn peers(&self) -> PeerRegion {
        // SAFETY: as in `region_pair`.
        let region = unsafe { PeerRegion::new(self.base, self.size) };
        region.unwrap_or_else(|_| unreachable!("words are aligned"))
    }

    /// What the memory holds.
    pub fn content(&self) -> std::vec::Vec<u8> {
        let mut bytes = std::vec![0; self.size];
        // SAFETY: the memory has so many bytes; as in `region_pair`, tests accept that others change them.
        unsafe { bytes.as_mut_ptr().copy_from(self.base.as_ptr(), self.size) };
        bytes
    }

    /// Zeroes the memory, as a side that starts over does before it makes its end anew.
    pub fn wipe(&self) {
        // SAFETY: the memory has so many bytes; as in `region_pair`, tests accept that others see them change.
        unsafe { self.base.write_bytes(0, self.size) };
    }
}

/// The writer's and the reader's view of one region.
#[cfg(loom)]
pub fn region_pair(_size: usize) -> (OwnRegion, PeerRegion) {
    crate::memory::modelled_pair()
}

/// Zeroed memory that is never freed.
pub(crate) fn zeroed(size: usize) -> core::ptr::NonNull<u8> {
    let words: &'static mut [u64] = Box::leak(std::vec![0u64; size.div_ceil(8)].into());
    core::ptr::NonNull::from(words).cast()
}

/// Both ends of a `streams` connection that have met and sleep, and the bells that they ring: the provider's, then the
/// consumer's.
///
/// # Errors
/// None for a valid layout.
pub fn streams_pair(
    layout: streams::Layout,
) -> Result<(Provider, Consumer, [Bell; 2]), LayoutError> {
    let (provider_own, consumer_peer) = region_pair(layout.provider_size());
    let (consumer_own, provider_peer) = region_pair(layout.consumer_size());
    let bells = [Bell::default(), Bell::default()];
    let mut provider = Provider::new(layout, provider_own, provider_peer, bells[0].clone())?;
    let mut consumer = Consumer::new(layout, consumer_own, consumer_peer, bells[1].clone())?;
    meet(&mut provider, &mut consumer);
    for bell in &bells {
        bell.take();
    }
    Ok((provider, consumer, bells))
}

/// Has both ends of a `streams` connection take note of each other, and sleep.
pub fn meet(provider: &mut Provider, consumer: &mut Consumer) {
    let mut started = 0;
    while !(provider.sleep() & consumer.sleep()) {
        started += usize::from(provider.next_event() == Ok(Some(ProviderEvent::Started)));
        started += usize::from(consumer.next_event() == Ok(Some(ConsumerEvent::Started)));
    }
    assert_eq!(started, 2, "two ends that have not spoken yet meet");
}

/// Both ends of a `packets` connection, and the bells that they ring: the driver's, then the stack's.
///
/// # Errors
/// None for a valid layout.
pub fn packets_pair(layout: packets::Layout) -> Result<(Driver, Stack, [Bell; 2]), LayoutError> {
    let (driver_own, stack_peer) = region_pair(layout.provider_size());
    let (stack_own, driver_peer) = region_pair(layout.consumer_size());
    let pools = pool_pair(layout);
    let bells = [Bell::default(), Bell::default()];
    let mut driver = Driver::new(layout, driver_own, driver_peer, pools.0, bells[0].clone())?;
    let mut stack = Stack::new(layout, stack_own, stack_peer, pools.1, bells[1].clone())?;
    // They join each other.
    while !(driver.sleep(false) & stack.sleep(false)) {
        assert_eq!(driver.next_transmit(), Ok(None));
        stack.free_transmit_buffers();
    }
    bells.iter().for_each(|bell| _ = bell.take());
    Ok((driver, stack, bells))
}

/// Both sides' views of one pool.
#[allow(unsafe_code)]
pub fn pool_pair(layout: packets::Layout) -> (Pool, Pool) {
    let base = zeroed(layout.pool_size());
    // SAFETY: the memory is never freed, and large enough. That two pools refer to it is what a pool is for.
    unsafe { (Pool::new(base), Pool::new(base)) }
}

#[cfg(all(feature = "hostile", not(loom)))]
mod hook;
#[cfg(all(feature = "hostile", not(loom)))]
pub mod hostile;

#[cfg(all(feature = "hostile", not(loom)))]
pub(crate) use hook::before_load;
#[cfg(all(feature = "hostile", not(loom)))]
pub use hook::with_hook;
