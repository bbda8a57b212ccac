//! seL4 system calls and capability types, with the API of the upstream crate of this name.
//!
//! Only what protection domains (PDs) and the pc99 initialiser use is here. What depends on the kernel's binary
//! interface lives in one back end module: [`pc99`] speaks to seL4 5.0.0 for x86_64, without the MCS extensions.
//! The rest of this crate asks the back end for numbers and layouts and knows none itself.
//!
//! With `--cfg selkie_freestanding` the crate also defines what compiled code expects of a C library (`memcpy` and so on).
//!
//! A program calls [`set_ipc_buffer`] once, before anything else; `sel4-microkit` does so for a PD.
#![cfg_attr(not(test), no_std)]

pub mod pc99;
/// The back end that this program is built for; there is one so far.
use pc99 as kernel;

mod cptr;
mod debug;
mod error;
mod fault;
mod invocations;
mod ipc_buffer;
#[cfg(any(selkie_freestanding, test))]
mod memory;
mod message_info;
mod syscalls;

pub use cptr::{CPtr, CPtrBits, Cap, CapType, cap, cap_type};
pub use debug::{PRINTING, debug_name_thread, debug_put_char};
pub use error::{Error, Result};
pub use fault::{CapFault, Fault, NullFault, UnknownSyscall, UserException, VmFault};
pub use invocations::UserContext;
pub use ipc_buffer::{IpcBuffer, set_ipc_buffer, with_ipc_buffer, with_ipc_buffer_mut};
pub use message_info::{MessageInfo, MessageInfoBuilder};
pub use syscalls::{reply, r#yield};

/// A machine word of the kernel's interface.
pub type Word = u64;

/// The number that a receiver sees of the capability that a message or signal came through.
pub type Badge = Word;

/// Bits in a [`Word`].
pub const WORD_SIZE: usize = Word::BITS as usize;
