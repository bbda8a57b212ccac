//! Interrupts, I/O ports and PCI addresses.

use std::fmt;
use std::str::FromStr;

/// An interrupt that a protection domain receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Irq {
    /// Channel identifier, 0 to 61, unique among the channels and interrupts of the protection domain.
    pub id: u8,
    /// Where it comes from.
    pub source: Interrupt,
    /// A symbol that is set to the identifier.
    pub setvar_id: Option<String>,
}

/// Where an interrupt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Arm and RISC-V: a number of the interrupt controller.
    Number {
        /// The number.
        irq: u32,
        /// When it fires.
        trigger: Trigger,
    },
    /// x86: a pin of an I/O APIC.
    IoApic {
        /// Which I/O APIC, from 0.
        ioapic: u32,
        /// Which of its pins.
        pin: u32,
        /// When it fires.
        trigger: Trigger,
        /// Which level is active.
        polarity: Polarity,
        /// Processor vector, 0 to 107, unique in the system.
        vector: u8,
    },
    /// x86: a message of a PCI device.
    Msi {
        /// The device.
        device: PciAddress,
        /// The data of the message.
        handle: u32,
        /// Processor vector, 0 to 107, unique in the system.
        vector: u8,
    },
}

impl Interrupt {
    /// The number that must be unique in a system: the interrupt's own or its vector.
    pub fn number(&self) -> u32 {
        match *self {
            Self::Number { irq, .. } => irq,
            Self::IoApic { vector, .. } | Self::Msi { vector, .. } => vector.into(),
        }
    }
}

/// When an interrupt fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Trigger {
    Level,
    Edge,
}

/// Which level of an interrupt line is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Polarity {
    High,
    Low,
}

/// The address of a PCI function (PCI Local Bus 3.0, section 3.2.2.3.2), written `bb:dd.f` in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PciAddress {
    /// Bus, 0 to 255.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}:{:02x}.{:x}",
            self.bus, self.device, self.function
        )
    }
}

impl FromStr for PciAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a PCI address: expected bus:device.function in hexadecimal, up to ff:1f.7"
            )
        };
        let part = |text: &str, max: u8| {
            u8::from_str_radix(text, 16)
                .ok()
                .filter(|&value| value <= max && !text.starts_with('+'))
                .ok_or_else(wrong)
        };
        let (bus, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (device, function) = rest.split_once('.').ok_or_else(wrong)?;
        Ok(Self {
            bus: part(bus, 0xff)?,
            device: part(device, 0x1f)?,
            function: part(function, 7)?,
        })
    }
}

/// A range of x86 I/O ports that a protection domain may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoPort {
    /// I/O port identifier, 0 to 61, unique among those of the protection domain.
    pub id: u8,
    /// First port.
    pub address: u16,
    /// Number of ports.
    pub size: u32,
    /// A symbol that is set to the identifier.
    pub setvar_id: Option<String>,
    /// A symbol that is set to the first port.
    pub setvar_addr: Option<String>,
}
