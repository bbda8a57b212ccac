//! Driver of PCI configuration space through the ports 0xcf8 and 0xcfc.
//!
//! Configuration space is authority over every device on the bus, so one PD owns it and does three things
//! with it: it gives the functions that have a driver in this system the addresses that the board fixes, lets
//! them (and only them) master the bus ([`set_up`]), and reads for a driver what its own function says
//! ([`Space::read`]). The driver makes sense of that with [`virtio()`]. What devices say of themselves is not
//! believed: lists that loop, sizes that lie and structures that stick out of their memory are errors or are
//! left out.
//!
//! Specification: PCI Local Bus 3.0 (section numbers below), virtio 1.2 section 4.1.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod function;
mod space;
#[cfg(test)]
mod tests;

pub use function::{Bar, MAX_BARS, Virtio, Window, virtio};
pub use space::{Address, Space};

use core::fmt;

use registers::Ports;

/// A function that has a driver, and where the board wants its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The function.
    pub address: Address,
    /// Its base address registers (BARs) with the addresses and sizes that the driver will see.
    pub bars: &'a [Bar],
}

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor in the lower, device in the upper 16 bits (section 6.2.1).
    pub identity: u32,
    /// Class, subclass, interface and revision, from the upper byte to the lower.
    pub class: u32,
}

/// Why a function cannot be given to its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciError {
    /// No function answers at this address.
    Absent,
    /// It is a bridge, whose registers mean other things.
    Bridge,
    /// More BARs are asked for than a function has.
    TooManyBars,
    /// This BAR does not exist, or is for I/O ports.
    NoMemoryBar(u8),
    /// This BAR needs another amount of memory than the board says: that amount in bytes.
    WrongSize(u8, u64),
    /// The board's address is not a multiple of the size or too high for this BAR.
    BadAddress(u8),
    /// This BAR did not keep the address that was written.
    Stuck(u8),
    /// Another BAR of the function, which the board does not place, covers memory of a device.
    Overlap(u8),
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such PCI function"),
            Self::Bridge => f.write_str("the PCI function is a bridge"),
            Self::TooManyBars => write!(f, "more than {MAX_BARS} base address registers"),
            Self::NoMemoryBar(bar) => write!(f, "BAR {bar} is not for memory"),
            Self::WrongSize(bar, size) => write!(f, "BAR {bar} is {size:#x} bytes long"),
            Self::BadAddress(bar) => write!(f, "BAR {bar} cannot have the board's address"),
            Self::Stuck(bar) => write!(f, "BAR {bar} does not keep its address"),
            Self::Overlap(bar) => write!(f, "BAR {bar} lies over the memory of a device"),
        }
    }
}

impl core::error::Error for PciError {}

/// Takes bus mastering and memory decoding from every function that is no bridge, then sets up those of
/// `assignments`, in their order, and reports each to `done` with its index.
///
/// A function that cannot be set up stays off; the others are not affected.
pub fn set_up<P: Ports>(
    space: &mut Space<P>,
    assignments: &[Assignment<'_>],
    mut done: impl FnMut(usize, Result<Identity, PciError>),
) {
    space.for_each(|space, address| {
        if !space.is_bridge(address) {
            space.switch_off(address);
        }
    });
    for (index, assignment) in assignments.iter().enumerate() {
        done(index, set_up_one(space, assignment, assignments));
    }
}

fn set_up_one<P: Ports>(
    space: &mut Space<P>,
    assignment: &Assignment<'_>,
    all: &[Assignment<'_>],
) -> Result<Identity, PciError> {
    let address = assignment.address;
    if !space.exists(address) {
        return Err(PciError::Absent);
    }
    if space.is_bridge(address) {
        return Err(PciError::Bridge);
    }
    if assignment.bars.len() > MAX_BARS {
        return Err(PciError::TooManyBars);
    }
    for bar in assignment.bars {
        space.place(address, bar)?;
    }
    space.check_others(address, assignment.bars, all)?;
    space.disable_message_interrupts(address);
    space.switch_on(address);
    Ok(space.identity(address))
}
