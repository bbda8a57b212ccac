//! The functions that compiled code expects of a C library, for programs without one.
//!
//! The targets for Linux need all of them. riscv64's target is for no operating system and has most of them in its
//! `compiler_builtins`. The crate defines them in freestanding programs (`--cfg selkie_freestanding`) only; on the host
//! it is compiled for its tests. `protections/exercise` runs the same checks on each board.
//!
//! A program links this crate whichever `sel4` crate it uses: upstream's leaves these functions to its own targets.
#![cfg_attr(not(test), no_std)]

#[cfg(all(selkie_freestanding, target_arch = "riscv64"))]
mod byte_order;
#[cfg(all(any(selkie_freestanding, test), not(target_arch = "riscv64")))]
mod libc;
