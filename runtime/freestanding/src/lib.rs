//! The C library functions that compiled code expects, for programs without a C library.
//!
//! The targets for Linux need all of them. riscv64's target has no operating system and gets most
//! of them from its `compiler_builtins`. The crate defines them only in freestanding programs
//! (`--cfg selkie_freestanding`); on the host it is compiled for its tests. `protections/exercise`
//! runs the same checks on each board.
//!
//! Every program links this crate, with either `sel4` crate: the upstream one leaves these
//! functions to its own targets.
#![cfg_attr(not(test), no_std)]

#[cfg(all(selkie_freestanding, target_arch = "riscv64"))]
mod byte_order;
#[cfg(all(any(selkie_freestanding, test), not(target_arch = "riscv64")))]
mod libc;
