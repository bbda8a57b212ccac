//! The back end for boards of the Microkit SDK: MCS kernels for aarch64, riscv64 and x86_64.
//!
//! Numbers, layouts and system calls are those of the SDK's C headers for the board and configuration (`build.rs`); a
//! function call more for each system call is what that costs.

pub mod abi;
pub(crate) mod invoke;
mod ipc;
pub(crate) mod syscall;
