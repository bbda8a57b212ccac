//! Microkit protection domains (PDs), with the API of the upstream crate of this name, on stable Rust.
//!
//! A PD runs [`Handler`] methods one at a time from one receive point, for ever:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use sel4_microkit::{ChannelSet, Handler, Infallible, debug_println, protection_domain};
//!
//! #[protection_domain]
//! fn init() -> impl Handler {
//!     debug_println!("hello");
//!     Hello
//! }
//!
//! struct Hello;
//!
//! impl Handler for Hello {
//!     type Error = Infallible;
//!
//!     fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
//!         for channel in channels.iter() {
//!             channel.notify();
//!         }
//!         Ok(())
//!     }
//! }
//! ```
//!
//! The program's shape is that of Microkit 2.3.0: an ELF whose symbols `microkit_name`, `microkit_irqs` and so on the
//! builder (or the stock tool) patches, with the IPC buffer at the top of the address space. What differs
//! between kernels is in one module, the `board`'s, which `--cfg selkie_board="…"` selects. `--cfg
//! selkie_freestanding` adds what a program without an operating system needs: entry point and panic handler;
//! without it the crate compiles for the developer's machine.
//!
//! Beyond upstream there is [`restart`].
#![cfg_attr(not(test), no_std)]

#[doc(hidden)]
pub mod heap;
pub mod panicking;
pub mod restart;

#[cfg_attr(selkie_board = "microkit", path = "board/microkit.rs")]
#[cfg_attr(not(selkie_board = "microkit"), path = "board/pc99.rs")]
mod board;
mod channel;
mod defer;
mod entry;
mod handler;
#[doc(hidden)]
pub mod ipc;
mod message;
mod printing;
mod stack;
mod symbols;

pub use channel::{Channel, Child, IrqAckError};
pub use defer::{DeferredAction, DeferredActionInterface, DeferredActionSlot};
pub use handler::{Handler, Infallible, Never, NullHandler};
pub use ipc::{ChannelSet, DisplayChannelSet};
pub use message::{
    MessageInfo, MessageLabel, MessageRegisterValue, get_mr, set_mr, with_msg_bytes,
    with_msg_bytes_mut, with_msg_regs, with_msg_regs_mut,
};
pub use sel4_microkit_macros::protection_domain;
pub use symbols::{pd_is_passive, pd_name};

/// Has the kernel overwrite its copy of this PD's vector registers with what is in them now. Whoever has zeroed them
/// because they held a secret calls this: the kernel's copy is of the last time when another PD used its own.
///
/// Upstream has no such thing.
pub fn save_vector_registers() {
    board::save_vector_registers();
}

#[doc(hidden)]
pub mod _private {
    pub use crate::entry::run_main;
    pub use crate::heap::StaticHeap;
    pub use crate::printing::print;
    pub use crate::stack::{StaticStack, call_on_stack};
    pub use crate::symbols::ImmutableCell;
}
