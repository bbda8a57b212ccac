//! The back end for the pc99 board: seL4 5.0.0 for x86_64, not MCS.
//!
//! [`abi`] holds the numbers of the kernel's interface in the configuration that `system/kernel` builds, and
//! `syscall` the instruction. [`root`] holds what only the initialiser invokes: untyped memory, capability tables,
//! address spaces, threads' set-up.

pub mod abi;
pub(crate) mod invoke;
mod ipc;
pub mod root;
pub(crate) mod syscall;

pub use ipc::reply;
