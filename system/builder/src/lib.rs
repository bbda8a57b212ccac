//! From a system description to a bootable image
//!
//! ```text
//! system/NAME.toml ──┐
//! system/boards/B.toml ├─ plan ─→ Plan ─┬─ Plan::compile ─→ Compiled: NAME.system, wirings, report, diagram
//! protections/*/Cargo.toml ┘           programs (built in between)
//! ```
//!
//! [`plan`] reads a description and checks everything that can be known before a program is built; what
//! is wrong comes back as [`Diagnostics`]. [`Plan::compile`] then gives every region, channel and interrupt its
//! place.

pub mod board;
pub mod cli;
pub mod elf;
pub mod files;
pub mod flow;
pub mod manifest;
pub mod microkit;
pub mod pc99;
pub mod programs;
pub mod report;
pub mod schema;
pub mod settings;

mod compile;
mod description;
mod diagnostics;
mod diagram;
mod interface;
pub mod keys;
pub mod parcel;
mod plan;
mod site;
mod toml;

pub(crate) use plan::larger_machine;

pub use compile::{Artefacts, CompileError, Compiled};
pub use diagnostics::{Diagnostics, Problem, Source};
pub use interface::{INTERFACES, Interface, Parameter, ParameterKind, Sizes};
pub use plan::{
    Connection, Content, MAX_MEMORY, Plan, Protection, SUPERVISOR, Scheduling, plan, plan_with,
    undriven,
};
