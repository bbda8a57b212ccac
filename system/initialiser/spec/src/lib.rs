//! The resolved system that the pc99 initialiser reads, and how it hands out memory.
//!
//! The builder decides everything that can be decided beforehand: addresses, paging structures, capability slots,
//! badges. What is left are plain lists of records, which the initialiser carries out from first to last without
//! looking anything up by name or allocating.
//!
//! # Form
//!
//! A specification is a sequence of 64-bit words, little-endian: [`MAGIC`], [`FORMAT`], its length in bytes, then
//! offset in bytes and count of each list, then the lists. Each kind of record has a fixed number of words. Names are
//! ranges of a list of bytes. *Data pages* follow behind the specification on the next page boundary; regions refer to them by number.
//!
//! ```
//! use initialiser_spec::{Fill, PageBits, Region, Spec, Writer};
//!
//! let mut writer = Writer::default();
//! let name = writer.name("heap");
//! writer.regions.push(Region {
//!     name,
//!     pages: 16,
//!     page_bits: PageBits::Small,
//!     physical: None,
//!     fill: Fill::Zero,
//!     first_map: 0,
//!     maps: 0,
//! });
//! let bytes = writer.to_bytes();
//! let spec = Spec::new(&bytes).unwrap();
//! let region = spec.regions().next().unwrap();
//! assert_eq!((spec.name(region.name), region.pages), ("heap", 16));
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "write")]
extern crate alloc;

pub mod memory;
mod record;
mod spec;
#[cfg(feature = "write")]
mod write;

pub use record::{
    Domain, Fill, Grant, Level, Map, Name, Object, PageBits, Record, Region, Rights, Table,
};
pub use spec::{Malformed, Spec};
#[cfg(feature = "write")]
pub use write::Writer;

/// The first word of a specification.
pub const MAGIC: u64 = u64::from_le_bytes(*b"selkspec");
/// Version of the form; the second word.
pub const FORMAT: u64 = 1;
/// The size of a data page in bytes.
pub const DATA_PAGE: usize = 4096;

/// log2 of the number of slots of a PD's capability table.
pub const CNODE_BITS: u8 = 9;

/// Slots of a PD's capability table, as in Microkit 2.3.0.
#[allow(missing_docs)]
pub mod slot {
    pub const INPUT: u64 = 1;
    pub const FAULT_ENDPOINT: u64 = 2;
    pub const OUTPUT_NOTIFICATIONS: u64 = 10;
    pub const OUTPUT_ENDPOINTS: u64 = 74;
    pub const IRQS: u64 = 138;
    pub const CHILDREN: u64 = 202;
    pub const IO_PORTS: u64 = 394;
}

/// Badges, which the PDs' runtime takes apart (`sel4-microkit`, board pc99). Endpoint badges have 28 bits in seL4
/// 5.0.0, so Microkit's bits 62 and 63 cannot tell calls and faults from signals; instead signals carry bit 63.
pub mod badge {
    /// A signal on this channel.
    pub const fn signal(channel: u8) -> u64 {
        1 << 63 | 1 << channel
    }

    /// A protected procedure call on this channel.
    pub const fn call(channel: u8) -> u64 {
        1 << 27 | channel as u64
    }

    /// A fault of this child.
    pub const fn fault(child: u8) -> u64 {
        1 << 26 | child as u64
    }
}
