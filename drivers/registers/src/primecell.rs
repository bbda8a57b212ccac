//! How ARM's PrimeCell devices say what they are.

use crate::Registers;

/// Identification, at the end of a device's 4 KiB: four registers of a byte each for the part, then four
/// that all PrimeCells have in common.
const PART: usize = 0xfe0;
const FAMILY: usize = 0xff0;

const FAMILY_PRIMECELL: u32 = 0xb105_f00d;
/// The designer's bits of the part's word, and ARM's number there.
const DESIGNER: u32 = 0x000f_f000;
const DESIGNER_ARM: u32 = 0x0004_1000;
const NUMBER: u32 = 0x0fff;

/// The part number of the PrimeCell by ARM that is behind these registers, such as 0x011 for a PL011; none if there
/// is another device.
pub fn primecell(registers: &impl Registers) -> Option<u16> {
    let word = |offset| {
        let byte = |n: usize| registers.read32(offset + 4 * n) as u8;
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    };
    let part = word(PART);
    (word(FAMILY) == FAMILY_PRIMECELL && part & DESIGNER == DESIGNER_ARM)
        .then_some((part & NUMBER) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mapped;
    use core::ptr::NonNull;

    fn identify(part: [u8; 4], family: [u8; 4]) -> Option<u16> {
        let mut memory = [0u64; 512];
        for (slot, byte) in part.into_iter().chain(family).enumerate() {
            memory[PART / 8 + slot / 2] |= u64::from(byte) << (32 * (slot % 2));
        }
        // SAFETY: the words belong to the registers alone until they are dropped.
        let registers = unsafe { Mapped::new(NonNull::from(&mut memory).cast(), 4096) };
        primecell(&registers)
    }

    #[test]
    fn parts_are_told_by_number_whatever_their_revision() {
        let family = [0x0d, 0xf0, 0x05, 0xb1];
        assert_eq!(identify([0x11, 0x10, 0x14, 0], family), Some(0x011));
        assert_eq!(identify([0x11, 0x10, 0x34, 0], family), Some(0x011));
        assert_eq!(identify([0x31, 0x10, 0x04, 0], family), Some(0x031));
        assert_eq!(identify([0x11, 0x20, 0x14, 0], family), None);
        assert_eq!(identify([0x11, 0x10, 0x14, 0], [0; 4]), None);
        assert_eq!(identify([0; 4], [0; 4]), None);
    }
}
