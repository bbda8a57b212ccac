//! What the `main.rs` of every protection domain (PD) shares.
//!
//! [`wiring()`] is what the builder wrote for this PD. From it come the heap, the typed ends of the PD's
//! ports ([`streams_consumer`], [`time`], …) and its data. [`info!`], [`warn!`] and [`error!`] write to the log; so does a panic.
//!
//! A PD whose wiring lacks what its program needs cannot do its work; the functions here panic then, with
//! the port's name, and the supervisor shows it. The builder checks all of it, so that happens only in a
//! hand-written system.
#![no_std]

extern crate alloc;
// Upstream's `sel4` does not link it.
#[cfg(selkie_freestanding)]
extern crate freestanding as _;

mod calls;
mod counter;
mod heap;
mod log;
mod ports;
mod random;
#[cfg(all(selkie_freestanding, feature = "restart"))]
mod restart;
mod single;
mod start;

pub use calls::{Message, answer, request};
pub use counter::read as processor_counter;
pub use heap::{has_room, size as heap_size, wipe_released_memory};
pub use log::{Level, reset_log_for_next_reader, write as write_log};
pub use ports::{
    LogClient, log_readers, packets_driver, packets_stack, pci, server_channel, server_channels,
    sign, status, status_readers, streams_consumer, streams_provider, streams_providers, time,
    uptime,
};
pub use random::{fill_random, random};
pub use start::{data, monotonic, time_log_by_uptime, wall_clock, wiring};

/// Logs what an operator wants to know.
#[macro_export]
macro_rules! info {
    ($($argument:tt)*) => { $crate::write_log($crate::Level::Information, format_args!($($argument)*)) };
}

/// Logs what is wrong but survived.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)*) => { $crate::write_log($crate::Level::Warning, format_args!($($argument)*)) };
}

/// Logs what ends a service.
#[macro_export]
macro_rules! error {
    ($($argument:tt)*) => { $crate::write_log($crate::Level::Error, format_args!($($argument)*)) };
}
