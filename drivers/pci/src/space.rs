//! Access to configuration space, and what is written there.

use core::fmt;

use registers::Ports;

use crate::function::{Bar, for_each_capability};
use crate::{Assignment, Identity, PciError};

/// Offsets in the port range 0xcf8 to 0xcff (section 3.2.2.3.2).
const ADDRESS_PORT: u16 = 0;
const DATA_PORT: u16 = 4;
const ENABLE: u32 = 1 << 31;

const ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const CLASS: u8 = 0x08;
const HEADER: u8 = 0x0c;
const BARS: u8 = 0x10;
const BRIDGE_BUSES: u8 = 0x18;

const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_MASTER: u32 = 1 << 2;
const COMMAND_NO_INTERRUPT: u32 = 1 << 10;
/// The upper half of the command's word is the status, whose bits are cleared by writing ones.
const COMMAND_BITS: u32 = 0xffff;

const HEADER_TYPE_SHIFT: u32 = 16;
const HEADER_TYPE: u32 = 0x7f;
const HEADER_MANY_FUNCTIONS: u32 = 1 << 23;
const CLASS_BRIDGE: u32 = 0x06;

const BAR_IO: u32 = 1 << 0;
const BAR_TYPE: u32 = 0b110;
const BAR_64_BIT: u32 = 0b100;
const BAR_FLAGS: u32 = 0xf;

const CAPABILITY_MSI: u8 = 0x05;
const CAPABILITY_MSI_X: u8 = 0x11;
const MSI_ENABLE: u32 = 1 << 16;
const MSI_X_ENABLE: u32 = 1 << 31;

/// Levels of bridges that are followed: buses are numbered by firmware, and a number that is wrong must
/// not lead in a circle.
const MAX_DEPTH: u32 = 8;

/// A function's place: bus, device and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(
    /// Bus << 8 | device << 3 | function (section 3.2.2.3.2).
    pub u16,
);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}:{:02x}.{}",
            self.0 >> 8,
            self.0 >> 3 & 0x1f,
            self.0 & 7
        )
    }
}

/// Configuration space behind its two ports, 0xcf8 and 0xcfc.
#[derive(Debug)]
pub struct Space<P> {
    ports: P,
}

impl<P: Ports> Space<P> {
    /// The space behind the eight ports that begin at 0xcf8.
    pub fn new(ports: P) -> Self {
        Self { ports }
    }

    /// Reads the word at an offset that is a multiple of 4 (the lower two bits are ignored).
    pub fn read(&mut self, address: Address, offset: u8) -> u32 {
        self.select(address, offset);
        self.ports.read32(DATA_PORT)
    }

    fn write(&mut self, address: Address, offset: u8, value: u32) {
        self.select(address, offset);
        self.ports.write32(DATA_PORT, value);
    }

    fn select(&mut self, address: Address, offset: u8) {
        let word = ENABLE | u32::from(address.0) << 8 | u32::from(offset & !3);
        self.ports.write32(ADDRESS_PORT, word);
    }

    /// Whether a function answers (section 6.1: a vendor of all ones means that none does).
    pub(crate) fn exists(&mut self, address: Address) -> bool {
        self.read(address, ID) & 0xffff != 0xffff
    }

    /// Whether it is a bridge of any kind: to another bus, or to the legacy devices of a PC.
    pub(crate) fn is_bridge(&mut self, address: Address) -> bool {
        self.header(address) & HEADER_TYPE != 0 || self.read(address, CLASS) >> 24 == CLASS_BRIDGE
    }

    fn header(&mut self, address: Address) -> u32 {
        self.read(address, HEADER) >> HEADER_TYPE_SHIFT
    }

    /// Calls `visit` for every function on bus 0 and on the buses behind its bridges.
    pub(crate) fn for_each(&mut self, mut visit: impl FnMut(&mut Self, Address)) {
        self.for_each_on(0, 0, &mut visit);
    }

    fn for_each_on(&mut self, bus: u8, depth: u32, visit: &mut impl FnMut(&mut Self, Address)) {
        for device in 0..32u16 {
            let first = Address(u16::from(bus) << 8 | device << 3);
            if !self.exists(first) {
                continue;
            }
            let many = self.read(first, HEADER) & HEADER_MANY_FUNCTIONS != 0;
            for function in 0..if many { 8 } else { 1 } {
                let address = Address(first.0 | function);
                if !self.exists(address) {
                    continue;
                }
                visit(self, address);
                // A bridge to another bus has header type 1; the bus behind it has a greater number.
                let behind = (self.read(address, BRIDGE_BUSES) >> 8) as u8;
                if self.header(address) & HEADER_TYPE == 1 && behind > bus && depth < MAX_DEPTH {
                    self.for_each_on(behind, depth + 1, visit);
                }
            }
        }
    }

    /// Takes memory decoding and bus mastering from a function.
    pub(crate) fn switch_off(&mut self, address: Address) {
        let command = self.read(address, COMMAND) & COMMAND_BITS;
        self.write(
            address,
            COMMAND,
            command & !(COMMAND_MEMORY | COMMAND_MASTER),
        );
    }

    /// Gives a function memory decoding, bus mastering and its interrupt line.
    pub(crate) fn switch_on(&mut self, address: Address) {
        let command = self.read(address, COMMAND) & COMMAND_BITS & !COMMAND_NO_INTERRUPT;
        self.write(address, COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER);
    }

    /// Writes a BAR's address, if the BAR is such as the board says (section 6.2.5.1). Memory decoding is off.
    pub(crate) fn place(&mut self, address: Address, bar: &Bar) -> Result<(), PciError> {
        let (offset, wide) = self.memory_bar(address, bar.index)?;
        let size = self
            .size(address, bar.index)
            .ok_or(PciError::NoMemoryBar(bar.index))?;
        if size != bar.size {
            return Err(PciError::WrongSize(bar.index, size));
        }
        let end = bar
            .address
            .checked_add(size - 1)
            .ok_or(PciError::BadAddress(bar.index))?;
        if !bar.address.is_multiple_of(size) || !wide && end > u64::from(u32::MAX) {
            return Err(PciError::BadAddress(bar.index));
        }
        self.write(address, offset, bar.address as u32);
        if wide {
            self.write(address, offset + 4, (bar.address >> 32) as u32);
        }
        if self.current(address, offset, wide) != bar.address {
            return Err(PciError::Stuck(bar.index));
        }
        Ok(())
    }

    /// The offset of a BAR for memory, and whether it is 64 bits wide.
    fn memory_bar(&mut self, address: Address, index: u8) -> Result<(u8, bool), PciError> {
        if index > 5 {
            return Err(PciError::NoMemoryBar(index));
        }
        let offset = BARS + index * 4;
        let word = self.read(address, offset);
        let wide = word & BAR_TYPE == BAR_64_BIT;
        if word & BAR_IO != 0 || wide && index == 5 {
            return Err(PciError::NoMemoryBar(index));
        }
        Ok((offset, wide))
    }

    fn current(&mut self, address: Address, offset: u8, wide: bool) -> u64 {
        let high = if wide {
            self.read(address, offset + 4)
        } else {
            0
        };
        u64::from(self.read(address, offset) & !BAR_FLAGS) | u64::from(high) << 32
    }

    /// The bytes that a memory BAR asks for: the bits that keep what is written. None if it is unused.
    fn size(&mut self, address: Address, index: u8) -> Option<u64> {
        let (offset, wide) = self.memory_bar(address, index).ok()?;
        let before = (self.read(address, offset), self.read(address, offset + 4));
        self.write(address, offset, u32::MAX);
        if wide {
            self.write(address, offset + 4, u32::MAX);
        }
        let mut mask = self.current(address, offset, wide);
        self.write(address, offset, before.0);
        if wide {
            self.write(address, offset + 4, before.1);
        } else if mask != 0 {
            mask |= 0xffff_ffff << 32;
        }
        // A size is a power of two: the mask is ones above it and zeros below.
        let size = (!mask).wrapping_add(1);
        (size.is_power_of_two() && mask != u64::MAX).then_some(size)
    }

    /// Refuses BARs that the board does not place and that cover memory which it gives to a device.
    pub(crate) fn check_others(
        &mut self,
        address: Address,
        placed: &[Bar],
        all: &[Assignment<'_>],
    ) -> Result<(), PciError> {
        let mut index = 0;
        while index < 6 {
            let Ok((offset, wide)) = self.memory_bar(address, index) else {
                index += 1;
                continue;
            };
            if placed.iter().all(|bar| bar.index != index)
                && let Some(size) = self.size(address, index)
            {
                let other = Bar {
                    index,
                    address: self.current(address, offset, wide),
                    size,
                };
                if all
                    .iter()
                    .flat_map(|a| a.bars)
                    .any(|bar| bar.overlaps(&other))
                {
                    return Err(PciError::Overlap(index));
                }
            }
            index += if wide { 2 } else { 1 };
        }
        Ok(())
    }

    /// Switches off interrupts by message, which firmware may have left on: drivers here use the line.
    pub(crate) fn disable_message_interrupts(&mut self, address: Address) {
        let mut enabled: [Option<(u8, u32)>; 2] = [None; 2];
        for_each_capability(
            &mut |offset| self.read(address, offset),
            |offset, words| match words[0] as u8 {
                CAPABILITY_MSI => enabled[0] = Some((offset, words[0] & !MSI_ENABLE)),
                CAPABILITY_MSI_X => enabled[1] = Some((offset, words[0] & !MSI_X_ENABLE)),
                _ => {}
            },
        );
        for (offset, word) in enabled.into_iter().flatten() {
            self.write(address, offset, word);
        }
    }

    pub(crate) fn identity(&mut self, address: Address) -> Identity {
        Identity {
            identity: self.read(address, ID),
            class: self.read(address, CLASS),
        }
    }
}
