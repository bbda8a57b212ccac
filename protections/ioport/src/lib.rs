//! x86 I/O ports, which the upstream crates `sel4` and `sel4-microkit` leave out.
//!
//! Reading or writing a port is an invocation of an I/O port capability (seL4 manual, section
//! "x86-Specific Object Methods"). The crate uses only calls and invocation labels, so it works
//! with both our `sel4` and the upstream crate. It follows the C library's `microkit_x86_ioport_*`
//! (Microkit manual, section "libmicrokit").
#![no_std]
#![cfg(target_arch = "x86_64")]

use core::fmt;

use sel4::sys::invocation_label as label;
use sel4::{CPtrBits, MessageInfo, Word, cap, with_ipc_buffer, with_ipc_buffer_mut};

/// First slot of a PD's I/O port capabilities, as set by the Microkit tool (`BASE_IOPORT_CAP` of
/// `microkit.h`).
const BASE: CPtrBits = 394;
/// Maximum number of I/O port ranges of a PD.
const RANGES: usize = 62;

/// A range of I/O ports that this program has a capability to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoPort {
    slot: CPtrBits,
}

/// The kernel refused an access: the port is not in the range, or there is no such capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The port.
    pub port: u16,
    /// The kernel's error number (`seL4_Error`).
    pub error: Word,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, error } = self;
        write!(
            f,
            "I/O port {port:#x}: the kernel refused the access (error {error})"
        )
    }
}

impl core::error::Error for Refused {}

impl IoPort {
    /// Returns the range with this identifier (`id` of Microkit's `ioport` element), 0 to 61.
    ///
    /// # Panics
    /// When the identifier is larger; at compile time, in a constant.
    pub const fn new(id: usize) -> Self {
        assert!(id < RANGES);
        Self::at(BASE + id as CPtrBits)
    }

    /// Returns the range whose capability is in this slot.
    pub const fn at(slot: CPtrBits) -> Self {
        Self { slot }
    }

    /// Reads 8 bits from a port.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read_8(self, port: u16) -> Result<u8, Refused> {
        Ok(self.read(label::X86IOPortIn8, port)? as u8)
    }

    /// Reads 32 bits from a port.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read_32(self, port: u16) -> Result<u32, Refused> {
        Ok(self.read(label::X86IOPortIn32, port)? as u32)
    }

    /// Writes 8 bits to a port.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn write_8(self, port: u16, value: u8) -> Result<(), Refused> {
        self.invoke(label::X86IOPortOut8, port, &[value.into()])
    }

    /// Writes 32 bits to a port.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn write_32(self, port: u16, value: u32) -> Result<(), Refused> {
        self.invoke(label::X86IOPortOut32, port, &[value.into()])
    }

    fn read(self, label: u32, port: u16) -> Result<Word, Refused> {
        self.invoke(label, port, &[])?;
        Ok(with_ipc_buffer(|buffer| buffer.msg_regs()[0]))
    }

    fn invoke(self, label: u32, port: u16, value: &[Word]) -> Result<(), Refused> {
        with_ipc_buffer_mut(|buffer| {
            let registers = buffer.msg_regs_mut();
            registers[0] = port.into();
            registers[1..1 + value.len()].copy_from_slice(value);
        });
        let request = MessageInfo::new(label.into(), 0, 0, 1 + value.len());
        // A call is the same invocation on every capability; both crates have the endpoint type for
        // it.
        let answer = cap::Endpoint::from_bits(self.slot).call(request);
        match answer.label() {
            0 => Ok(()),
            error => Err(Refused { port, error }),
        }
    }
}
