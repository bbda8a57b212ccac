//! Which function an address lies in, and faults in words.
//!
//! The builder makes a [`Table`] of the functions of all programs of a system; the supervisor looks up
//! where a protection domain (PD) faulted, and puts the fault into words with [`Report`].
//!
//! ```
//! use symbols::{Function, Table, Writer};
//!
//! let mut writer = Writer::default();
//! let functions = [(0x20_0000, 64, "Stack::poll"), (0x20_0040, 16, "Stack::send")];
//! writer.add("tcpip", functions.map(|(address, size, name)| Function { address, size, name: name.into() }));
//! let bytes = writer.to_bytes();
//!
//! let table = Table::new(&bytes).unwrap();
//! let symbol = table.find("tcpip", 0x20_0044).unwrap();
//! assert_eq!((symbol.name.as_str(), symbol.offset), ("Stack::send", 4));
//! assert!(table.find("tcpip", 0x20_0050).is_none());
//! ```
//!
//! # Form
//!
//! Numbers are LEB128 (DWARF 5, section 7.6). [`MAGIC`]; the number of domains; for each its name (length, bytes) and the
//! number of its program; the number of programs; for each the length in bytes of its list and the list: for each
//! function, by ascending address, the distance from the end of the one before, its size, and the number of its name; then
//! the names, sorted: how many bytes each shares with the one before, how many follow, and these. Programs and names are
//! stored once however many PDs have them. Looking up reads from the front; a fault can wait for that.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "write")]
extern crate alloc;

mod processor;
mod read;
mod report;
#[cfg(feature = "write")]
mod write;

pub use processor::{Message, Processor};
pub use read::{Malformed, Symbol, Table};
pub use report::{Access, Exception, Fault, Report};
#[cfg(feature = "write")]
pub use write::{Function, Writer, shorten};

/// The first bytes of a table; the last one is the version.
pub const MAGIC: [u8; 8] = *b"symbols1";

/// Longest name in bytes; longer ones are cut.
pub const NAME: usize = 96;
