//! Microkit system description files (.system): model, parser, writer, checks
//!
//! A [`System`] holds what a Microkit 2.3.0 system description says (Microkit manual, section "System
//! Description File"). [`parse`] reads one and reports every problem with line and column;
//! [`System::to_xml`] writes one that people can read and that Microkit's own tool accepts;
//! [`System::check`] makes the checks that the tool makes, for systems that a program puts together.
//!
//! Not supported, and refused by name: virtual machines, domain schedules, `cspace`, `smc`, `domain` and
//! `prefill_bootinfo`; [`read`] gives the rest of such a system. Two checks are stricter than the tool's: a mapping
//! that is both writable and executable is refused, and so are two interrupts that claim one pin or message.
//!
//! ```
//! use microkit_sdf::{Target, parse};
//!
//! let text = r#"<system>
//!     <protection_domain name="hello" priority="100">
//!         <program_image path="hello.elf" />
//!     </protection_domain>
//! </system>"#;
//! let system = parse(text, &Target::X86_64, &[]).unwrap();
//! assert_eq!(system.protection_domains[0].priority, 100);
//! assert_eq!(parse(&system.to_xml(), &Target::X86_64, &[]).unwrap(), system);
//!
//! let error = parse(&text.replace("100", "255"), &Target::X86_64, &[]).unwrap_err();
//! assert_eq!(error.problems[0].line, 2);
//! ```
#![forbid(unsafe_code)]

mod check;
mod model;
mod parse;
mod write;

pub use check::{Element, Violation};
pub use model::{
    Architecture, Channel, Child, End, Interrupt, IoAddressSpace, IoMap, IoPort, Irq, Map,
    MemoryRegion, PageSize, PciAddress, Permissions, Polarity, ProtectionDomain, SetVar, System,
    Target, Trigger,
};
pub use parse::{Error, Problem, Reading, find, parse, read};

/// Highest channel, interrupt, I/O port and child identifier: each is a bit of a 64-bit badge, of
/// which two are taken for calls and faults.
pub const MAX_ID: u8 = 61;
/// Highest priority of a protection domain; 255 is the monitor's.
pub const MAX_PRIORITY: u8 = 254;
/// Most protection domains that a system may have.
pub const MAX_PROTECTION_DOMAINS: usize = 63;
/// Longest name of a protection domain in bytes; Microkit's tool cuts what is longer.
pub const MAX_NAME_LENGTH: usize = 64;
/// Smallest stack in bytes.
pub const MIN_STACK_SIZE: u64 = 0x1000;
/// Largest stack in bytes.
pub const MAX_STACK_SIZE: u64 = 16 * 1024 * 1024;
/// Stack in bytes when the description gives none.
pub const DEFAULT_STACK_SIZE: u64 = 0x2000;
/// Highest x86 interrupt vector, counted from the first that user level may have.
pub const MAX_VECTOR: u8 = 107;
/// Highest I/O virtual address that the tool accepts.
pub const MAX_IO_ADDRESS: u64 = (1 << 39) - 1;
