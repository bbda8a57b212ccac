//! What can go wrong, and how it is told.

use core::fmt::{self, Write};

use initialiser_spec::memory::Unavailable;

use crate::machine;
use crate::serial::Serial;

/// Why the system cannot be started.
pub(crate) enum Failure {
    /// The image holds no specification that this initialiser reads.
    Specification,
    /// The machine has less RAM than the system needs.
    Memory {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// The kernel's table for the initialiser's capabilities is too small.
    Slots,
    /// There are no data pages of this number.
    DataPages(&'static str),
    /// Memory for something is not to be had.
    Unavailable {
        /// What it is for.
        what: &'static str,
        /// The name of the PD or region.
        name: &'static str,
        /// Why.
        reason: Unavailable,
    },
    /// The kernel refused something.
    Refused {
        /// What.
        what: &'static str,
        /// The name of the PD or region.
        name: &'static str,
        /// An address, slot or number that belongs to it.
        at: u64,
        /// Why.
        reason: sel4::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Specification => f.write_str("the image holds no specification of this format"),
            Self::Memory { needed, available } => write!(
                f,
                "not enough memory: the system needs {} KiB, the machine has {} KiB, {} KiB are missing",
                needed.div_ceil(1024),
                available / 1024,
                needed.saturating_sub(*available).div_ceil(1024)
            ),
            Self::Slots => {
                f.write_str("the system needs more capabilities than the kernel has slots")
            }
            Self::DataPages(name) => write!(f, "{name}: the image lacks its content"),
            Self::Unavailable { what, name, reason } => {
                write!(f, "{name}: {what}: ")?;
                match reason {
                    Unavailable::Absent { address } => write!(
                        f,
                        "physical address {address:#x} is not free memory: the machine has nothing there, or the kernel uses it"
                    ),
                    Unavailable::Taken { address } => write!(
                        f,
                        "physical address {address:#x} is taken by another region, or its block ends there"
                    ),
                    Unavailable::Exhausted => f.write_str("memory is exhausted (too fragmented)"),
                    Unavailable::Full => f.write_str("too many blocks of memory"),
                }
            }
            Self::Refused {
                what,
                name,
                at,
                reason,
            } => write!(f, "{name}: {what} ({at:#x}): the kernel says: {reason}"),
        }
    }
}

/// Says why, and stops for ever.
pub(crate) fn halt(reason: &dyn fmt::Display) -> ! {
    // Writing to the serial port cannot fail.
    let _ = writeln!(
        Serial,
        "\ninitialiser: cannot start the system: {reason}\ninitialiser: halted"
    );
    machine::stop()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    halt(info)
}
