//! Counts the payload bytes that this PD copies, by direction.
//!
//! The endpoints of this crate count their own copies; what a PD copies besides (or a library on its
//! behalf) it adds itself. "Received" is what travels from the network to the service.

use core::sync::atomic::{AtomicU64, Ordering};

static RECEIVED: AtomicU64 = AtomicU64::new(0);
static SENT: AtomicU64 = AtomicU64::new(0);

/// The direction of a payload byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the network towards the service.
    Received,
    /// From the service towards the network.
    Sent,
}

impl Direction {
    fn counter(self) -> &'static AtomicU64 {
        match self {
            Self::Received => &RECEIVED,
            Self::Sent => &SENT,
        }
    }
}

/// Adds `bytes` that were copied once.
pub fn add(direction: Direction, bytes: usize) {
    // A PD has one thread: a plain load and store do, and cost less than an atomic addition.
    let counter = direction.counter();
    let sum = counter.load(Ordering::Relaxed).wrapping_add(bytes as u64);
    counter.store(sum, Ordering::Relaxed);
}

/// The bytes copied since the PD's start.
pub fn total(direction: Direction) -> u64 {
    direction.counter().load(Ordering::Relaxed)
}
