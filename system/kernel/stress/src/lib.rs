//! What the root tasks share: their start, the kernel's system calls, objects out of untyped memory, a second
//! thread, and a verdict on the serial port.
//!
//! This speaks to the kernel by itself and not through the runtime of the protection domains: it checks the kernel,
//! and a mistake in the runtime must not hide one there. Numbers are those of seL4 5.0.0 for x86_64 in the
//! configuration of `selkie-kernel`.
#![no_std]

mod freestanding;
mod objects;
mod syscall;
mod thread;
mod verdict;

pub use objects::{Memory, ObjectType, Slot, copy, delete, map, mint, revoke};
pub use syscall::{BootInfo, Message, Received, call, invoke, poll, recv, reply_recv, send, slots};
pub use thread::{Fault, Thread, set_priority};
pub use verdict::{fail, in8, out8, out16, pass, print};
