//! What a protection domain (PD) is connected to, and its configuration.
//!
//! The builder writes a [`Wiring`] for every PD of a system description and places it in a read-only,
//! prefilled memory region of that PD; the PD reads it once at start. It is trusted input: only the
//! builder writes it, and no PD may map it writable.
//!
//! ```
//! use wiring::{Restart, Value, Wiring};
//!
//! let mut wiring = Wiring::new("site");
//! wiring.config.push(("keep_alive".into(), Value::Integer(15)));
//! let bytes = wiring.to_bytes(&Restart::default());
//! let read = Wiring::from_bytes(&bytes).unwrap();
//! assert_eq!(read.integer("keep_alive"), Ok(15));
//! assert!(read.text("keep_alive").is_err());
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod restart;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

pub use restart::{Image as RestartImage, Restart};

/// Version of the encoding; the first byte of a wiring region.
pub const FORMAT: u8 = 3;

/// Length in bytes of the header in front of the encoding: [`FORMAT`], three zeros, and as little-endian `u32` the
/// length of the encoding and that of the [`Restart`] behind it.
pub const HEADER: usize = 12;

/// The symbol that Microkit's `setvar_vaddr` sets to the address of a PD's wiring region.
pub const SYMBOL: &str = "selkie_wiring";

/// Everything that one PD knows of the system around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wiring {
    /// The PD's name in the system description.
    pub name: String,
    /// Memory for the PD's heap, zeroed at start.
    pub heap: Option<Span>,
    /// The connections of the PD's ports, in the order of the description.
    pub connections: Vec<Connection>,
    /// The device that the PD drives.
    pub device: Option<Device>,
    /// Named read-only data (a site bundle, a certificate, a symbol table), to the byte. Zeros fill its last page.
    pub data: Vec<(String, Span)>,
    /// The configuration: keys that the program declares, defaults filled in.
    pub config: Vec<(String, Value)>,
    /// Names and priorities of all PDs, for the supervisor and the status page; empty for others.
    pub domains: Vec<Domain>,
    /// The name of the system, from its description.
    pub system: String,
}

/// A range of the PD's own virtual address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
}

/// One side's view of a connection between two ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The name of this PD's port.
    pub port: String,
    /// The name of the PD at the other end.
    pub peer: String,
    /// The interface, such as `streams`.
    pub interface: String,
    /// Whether this PD serves the interface or uses it.
    pub role: Role,
    /// The Microkit channel identifier (0 to 61), if the connection has a channel.
    pub channel: Option<u8>,
    /// The region that this PD writes and the peer maps read-only.
    pub own: Option<Span>,
    /// The region that the peer writes and this PD maps read-only.
    pub peers: Option<Span>,
    /// Memory for a device's transfers, writable by both.
    pub pool: Option<Dma>,
    /// What the description says of this connection, such as `listen` or `connections`.
    pub parameters: Vec<(String, Value)>,
}

/// The side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Serves the interface.
    Provider,
    /// Uses the interface.
    Consumer,
}

/// Memory whose physical address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dma {
    /// Where the PD sees it.
    pub span: Span,
    /// Physical address of its first byte; the memory is contiguous.
    pub physical: u64,
}

/// The resources of one device, from the board file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The device's name on the board, such as `net0`.
    pub name: String,
    /// Its kind, such as `virtio-net`.
    pub kind: String,
    /// How its registers are reached: `pci`, `mmio` or `ports`.
    pub bus: String,
    /// Register memory.
    pub registers: Vec<Registers>,
    /// Interrupts: Microkit channel identifiers.
    pub interrupts: Vec<u8>,
    /// x86 I/O port ranges.
    pub ports: Vec<PortRange>,
    /// Memory for the driver's own queues and descriptors.
    pub dma: Option<Dma>,
    /// PCI address as bus << 8 | device << 3 | function (PCI 3.0, section 3.2.2.3.2).
    pub pci_address: Option<u16>,
    /// Further properties from the board file.
    pub properties: Vec<(String, Value)>,
}

/// Device registers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// Where the PD sees them.
    pub span: Span,
    /// Their physical address.
    pub physical: u64,
    /// The PCI base address register (0 to 5) that must hold `physical`.
    pub bar: Option<u8>,
}

/// A range of x86 I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The Microkit I/O port identifier (0 to 61).
    pub id: u8,
    /// First port.
    pub base: u16,
    /// Number of ports.
    pub size: u16,
}

/// One PD as the supervisor and the status page know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The PD's name.
    pub name: String,
    /// The program it runs.
    pub program: String,
    /// Priority, 0 to 254.
    pub priority: u8,
    /// Memory of the PD's own in bytes: image, stack, heap.
    pub memory: u64,
    /// Microkit child identifier, if the reader is its parent.
    pub child: Option<u8>,
    /// Where its thread is sent when it has faulted.
    pub entries: Option<Entries>,
    /// Whether it is to start over after a fault.
    pub restart: bool,
}

/// The entry points of a program that has faulted. Both answer a caller whose call was in flight and wipe the PD's
/// memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// Then starts over.
    pub restart: u64,
    /// Then refuses calls, for ever.
    pub retire: u64,
}

/// A configuration value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number; sizes are in bytes, times in milliseconds unless the key says otherwise.
    Integer(i64),
    /// Text.
    Text(String),
    /// Several values.
    List(Vec<Value>),
}

/// A wiring that a PD cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WiringError {
    /// The bytes are not a wiring of this [`FORMAT`].
    Malformed,
    /// The PD has no connection at a port of this name.
    NoPort(String),
    /// There is no such configuration key, parameter or data.
    NoKey(String),
    /// The value under this key is of another type or out of range.
    WrongType(String),
}

impl fmt::Display for WiringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the wiring region is malformed"),
            Self::NoPort(port) => write!(f, "port `{port}` is not connected"),
            Self::NoKey(key) => write!(f, "`{key}` is not given"),
            Self::WrongType(key) => write!(f, "`{key}` has the wrong type or range"),
        }
    }
}

impl core::error::Error for WiringError {}

impl Wiring {
    /// A wiring with a name and nothing else.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_string(),
            heap: None,
            connections: Vec::new(),
            device: None,
            data: Vec::new(),
            config: Vec::new(),
            domains: Vec::new(),
            system: String::new(),
        }
    }

    /// The bytes of the wiring region: the header, the postcard encoding, and what the PD needs to start over.
    pub fn to_bytes(&self, restart: &Restart) -> Vec<u8> {
        let encoding =
            postcard::to_allocvec(self).expect("encoding into a Vec fails only for unsized lists");
        let restart = restart.to_bytes();
        let mut bytes = alloc::vec![FORMAT, 0, 0, 0];
        bytes.extend((encoding.len() as u32).to_le_bytes());
        bytes.extend((restart.len() as u32).to_le_bytes());
        bytes.extend(encoding);
        bytes.extend(restart);
        bytes
    }

    /// Reads a wiring; bytes behind it (the rest of the page) are ignored.
    ///
    /// # Errors
    /// [`WiringError::Malformed`] when the bytes are not a wiring of this format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WiringError> {
        postcard::from_bytes(encoding(bytes)?).map_err(|_| WiringError::Malformed)
    }

    /// Length in bytes of a wiring region's content, from its header.
    ///
    /// # Errors
    /// [`WiringError::Malformed`] when this is no header of this format.
    pub fn size_of(header: &[u8; HEADER]) -> Result<usize, WiringError> {
        let (encoding, restart) = lengths(header)?;
        Ok(HEADER + encoding + restart)
    }

    /// Where the restart image begins.
    fn restart_of(header: &[u8; HEADER]) -> Result<usize, WiringError> {
        lengths(header).map(|(encoding, _)| HEADER + encoding)
    }

    /// The heap, without decoding (and so allocating) the rest: the allocator has to be ready before
    /// [`Wiring::from_bytes`] can run.
    ///
    /// # Errors
    /// [`WiringError::Malformed`] when the bytes are not a wiring of this format.
    pub fn heap_of(bytes: &[u8]) -> Result<Option<Span>, WiringError> {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(rename = "name")]
            _name: &'a str,
            heap: Option<Span>,
        }
        postcard::take_from_bytes::<Head<'_>>(encoding(bytes)?)
            .map(|(head, _)| head.heap)
            .map_err(|_| WiringError::Malformed)
    }

    /// The connections of a port; none, if nothing is connected to it.
    pub fn connections_of<'a>(&'a self, port: &'a str) -> impl Iterator<Item = &'a Connection> {
        self.connections.iter().filter(move |c| c.port == port)
    }

    /// The connection of a port that has one.
    ///
    /// # Errors
    /// [`WiringError::NoPort`] when nothing is connected to it.
    pub fn connection(&self, port: &str) -> Result<&Connection, WiringError> {
        self.connections
            .iter()
            .find(|c| c.port == port)
            .ok_or_else(|| WiringError::NoPort(port.to_string()))
    }

    /// The memory of named data.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] when there is none of this name.
    pub fn data(&self, name: &str) -> Result<Span, WiringError> {
        self.data
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, span)| *span)
            .ok_or_else(|| WiringError::NoKey(name.to_string()))
    }

    /// A text of the configuration.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] or [`WiringError::WrongType`].
    pub fn text(&self, key: &str) -> Result<&str, WiringError> {
        text(&self.config, key)
    }

    /// A number of the configuration.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] or [`WiringError::WrongType`].
    pub fn integer(&self, key: &str) -> Result<i64, WiringError> {
        integer(&self.config, key)
    }

    /// A truth value of the configuration.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] or [`WiringError::WrongType`].
    pub fn boolean(&self, key: &str) -> Result<bool, WiringError> {
        boolean(&self.config, key)
    }

    /// A list of the configuration.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] or [`WiringError::WrongType`].
    pub fn list(&self, key: &str) -> Result<&[Value], WiringError> {
        match find(&self.config, key)? {
            Value::List(values) => Ok(values),
            _ => Err(WiringError::WrongType(key.to_string())),
        }
    }
}

impl Connection {
    /// A number among the connection's parameters.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] or [`WiringError::WrongType`].
    pub fn integer(&self, key: &str) -> Result<i64, WiringError> {
        integer(&self.parameters, key)
    }

    /// A text among the connection's parameters.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] or [`WiringError::WrongType`].
    pub fn text(&self, key: &str) -> Result<&str, WiringError> {
        text(&self.parameters, key)
    }

    /// A boolean among the connection's parameters.
    ///
    /// # Errors
    /// [`WiringError::NoKey`] or [`WiringError::WrongType`].
    pub fn boolean(&self, key: &str) -> Result<bool, WiringError> {
        boolean(&self.parameters, key)
    }
}

/// The lengths of the encoding and of the restart image.
fn lengths(header: &[u8; HEADER]) -> Result<(usize, usize), WiringError> {
    let length = |bytes: [u8; 4]| u32::from_le_bytes(bytes) as usize;
    match *header {
        [FORMAT, 0, 0, 0, a, b, c, d, e, f, g, h] => {
            Ok((length([a, b, c, d]), length([e, f, g, h])))
        }
        _ => Err(WiringError::Malformed),
    }
}

fn encoding(bytes: &[u8]) -> Result<&[u8], WiringError> {
    let header = bytes.first_chunk().ok_or(WiringError::Malformed)?;
    bytes
        .get(HEADER..Wiring::restart_of(header)?)
        .ok_or(WiringError::Malformed)
}

fn find<'a>(values: &'a [(String, Value)], key: &str) -> Result<&'a Value, WiringError> {
    values
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
        .ok_or_else(|| WiringError::NoKey(key.to_string()))
}

fn text<'a>(values: &'a [(String, Value)], key: &str) -> Result<&'a str, WiringError> {
    match find(values, key)? {
        Value::Text(text) => Ok(text),
        _ => Err(WiringError::WrongType(key.to_string())),
    }
}

fn boolean(values: &[(String, Value)], key: &str) -> Result<bool, WiringError> {
    match find(values, key)? {
        Value::Boolean(value) => Ok(*value),
        _ => Err(WiringError::WrongType(key.to_string())),
    }
}

fn integer(values: &[(String, Value)], key: &str) -> Result<i64, WiringError> {
    match find(values, key)? {
        Value::Integer(number) => Ok(*number),
        _ => Err(WiringError::WrongType(key.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_trailing_zeros_is_read() {
        let mut wiring = Wiring::new("nic");
        wiring.heap = Some(Span {
            address: 0x2000_0000,
            size: 0x8000,
        });
        let mut page = wiring.to_bytes(&Restart::default());
        page.resize(4096, 0);
        assert_eq!(Wiring::from_bytes(&page), Ok(wiring.clone()));
        assert_eq!(Wiring::heap_of(&page), Ok(wiring.heap));
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(Wiring::from_bytes(&[]), Err(WiringError::Malformed));
        assert_eq!(
            Wiring::from_bytes(&[FORMAT + 1, 0, 0]),
            Err(WiringError::Malformed)
        );
        assert_eq!(
            Wiring::from_bytes(&[FORMAT, 200]),
            Err(WiringError::Malformed)
        );
        assert_eq!(Wiring::heap_of(&[FORMAT, 200]), Err(WiringError::Malformed));
    }

    #[test]
    fn absent_and_mistyped_keys_are_told_apart() {
        let mut wiring = Wiring::new("tcpip");
        wiring
            .config
            .push(("address".into(), Value::Text("dhcp".into())));
        assert_eq!(wiring.text("address"), Ok("dhcp"));
        assert_eq!(
            wiring.integer("address"),
            Err(WiringError::WrongType("address".into()))
        );
        assert_eq!(
            wiring.boolean("ipv6"),
            Err(WiringError::NoKey("ipv6".into()))
        );
        assert_eq!(
            wiring.connection("packets"),
            Err(WiringError::NoPort("packets".into()))
        );
    }
}
