//! seL4 system calls and capability types, with the API of the upstream crate of this name.
//!
//! Only what protection domains (PDs) and the pc99 initialiser use is here. What depends on the kernel's binary
//! interface lives in one back end module, which `--cfg selkie_board="…"` selects: `pc99` speaks to seL4 5.0.0 for
//! x86_64, without the MCS extensions; `microkit` to the kernels of a Microkit SDK, through its C headers.
//! The rest of this crate asks the back end for numbers and layouts and knows none itself.
//!
//! Into freestanding programs (`--cfg selkie_freestanding`), this crate links the crate
//! `freestanding`, which defines the C library functions that compiled code expects, such as
//! `memcpy`.
//!
//! A program calls [`set_ipc_buffer`] once, before anything else; `sel4-microkit` does so for a PD.
#![cfg_attr(not(test), no_std)]

#[cfg(selkie_freestanding)]
extern crate freestanding as _;

#[cfg(selkie_board = "microkit")]
pub mod microkit;
#[cfg(not(selkie_board = "microkit"))]
pub mod pc99;

#[cfg(selkie_board = "microkit")]
use microkit as kernel;
#[cfg(not(selkie_board = "microkit"))]
use pc99 as kernel;

mod cptr;
mod debug;
mod error;
mod fault;
mod invocations;
mod ipc_buffer;
mod message_info;
mod syscalls;

pub use cptr::{CPtr, CPtrBits, Cap, CapType, cap, cap_type};
pub use debug::{PRINTING, debug_put_char};
pub use error::{Error, Result};
pub use fault::{CapFault, Fault, NullFault, UnknownSyscall, UserException, VmFault};
pub use invocations::UserContext;
pub use ipc_buffer::{IpcBuffer, set_ipc_buffer, with_ipc_buffer, with_ipc_buffer_mut};
pub use message_info::{MessageInfo, MessageInfoBuilder};
pub use syscalls::r#yield;

/// Constants of the kernel's interface, at the paths that they have in the upstream crate.
#[cfg(target_arch = "x86_64")]
pub mod sys {
    pub use crate::kernel::abi::invocation_label;
}

/// A machine word of the kernel's interface.
pub type Word = u64;

/// The number that a receiver sees of the capability that a message or signal came through.
pub type Badge = Word;

/// Bits in a [`Word`].
pub const WORD_SIZE: usize = Word::BITS as usize;
