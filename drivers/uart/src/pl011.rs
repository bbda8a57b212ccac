//! The PrimeCell UART (PL011) of ARM machines.
//!
//! Registers and bits: ARM PrimeCell UART (PL011) Technical Reference Manual, DDI 0183, chapter 3.

use registers::{Registers, primecell};

use crate::{FILLS, NoUart, Speed, Transmitter};

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const DIVISOR_INTEGER: usize = 0x24;
const DIVISOR_FRACTION: usize = 0x28;
const LINE_CONTROL: usize = 0x2c;
const CONTROL: usize = 0x30;
const FIFO_LEVEL: usize = 0x34;
const INTERRUPT_MASK: usize = 0x38;
const INTERRUPT_CLEAR: usize = 0x44;

const FLAG_TRANSMIT_FULL: u32 = 1 << 5;
/// 8 bits a byte, FIFOs on.
const LINE_8N1_FIFO: u32 = 0b111 << 4;
/// On, sending; receiving stays off.
const CONTROL_SEND: u32 = 1 << 8 | 1;
/// Interrupt when the transmit FIFO has drained to an eighth.
const LEVEL_EIGHTH: u32 = 0;
const TRANSMIT_INTERRUPT: u32 = 1 << 5;
const ALL_INTERRUPTS: u32 = 0x7ff;

/// The part number.
const PART: u16 = 0x011;

/// Entries of the transmit FIFO; revisions from r1p5 on have 32.
const FIFO: usize = 16;

/// The divisor has 16 bits and 6 for the fraction.
const FRACTION_BITS: u32 = 6;
const FRACTIONS: u64 = 1 << FRACTION_BITS;

/// A PL011.
#[derive(Debug)]
pub struct Pl011<R> {
    registers: R,
    /// Whether the transmit interrupt is on.
    armed: bool,
}

impl<R: Registers> Pl011<R> {
    /// Sets up the port: 8 data bits, no parity, 1 stop bit, FIFOs on, all interrupts off. Without a speed, the
    /// line keeps the one that it has.
    ///
    /// # Errors
    /// [`NoUart`] when the identification registers are another device's.
    pub fn new(mut registers: R, speed: Option<Speed>) -> Result<Self, NoUart> {
        if primecell(&registers) != Some(PART) {
            return Err(NoUart("PL011"));
        }
        registers.write32(INTERRUPT_MASK, 0);
        registers.write32(CONTROL, 0);
        if let Some(speed) = speed {
            let divisor = speed.divisor(FRACTIONS);
            let divisor = divisor.clamp(FRACTIONS, 0xffff << FRACTION_BITS) as u32;
            registers.write32(DIVISOR_INTEGER, divisor >> FRACTION_BITS);
            registers.write32(DIVISOR_FRACTION, divisor & (FRACTIONS as u32 - 1));
        }
        // The divisor counts from the write of this register on (section 3.3.7).
        registers.write32(LINE_CONTROL, LINE_8N1_FIFO);
        registers.write32(FIFO_LEVEL, LEVEL_EIGHTH);
        registers.write32(INTERRUPT_CLEAR, ALL_INTERRUPTS);
        registers.write32(CONTROL, CONTROL_SEND);
        Ok(Self {
            registers,
            armed: false,
        })
    }

    fn arm(&mut self, on: bool) {
        if on != self.armed {
            self.armed = on;
            self.registers
                .write32(INTERRUPT_MASK, if on { TRANSMIT_INTERRUPT } else { 0 });
        }
    }
}

impl<R: Registers> Transmitter for Pl011<R> {
    // The interrupt comes when the FIFO drains past its level, not while it is below (section 2.8.1). Whatever is left
    // here was left by a FIFO that was full, or by one that has drained since `acknowledge`: so it will come, or has.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        for &byte in bytes.iter().take(FIFO * FILLS) {
            if self.registers.read32(FLAGS) & FLAG_TRANSMIT_FULL != 0 {
                break;
            }
            self.registers.write32(DATA, byte.into());
            written += 1;
        }
        self.arm(written < bytes.len());
        written
    }

    fn acknowledge(&mut self) {
        self.registers.write32(INTERRUPT_CLEAR, ALL_INTERRUPTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port whose FIFO drains by hand.
    #[derive(Debug, Default)]
    struct Fake {
        identification: [u8; 8],
        divisor: [u32; 2],
        line: u32,
        control: u32,
        mask: u32,
        /// Whether the transmit interrupt is pending.
        pending: bool,
        fifo: usize,
        /// Whether it sends at once.
        fast: bool,
        sent: Vec<u8>,
    }

    impl Fake {
        fn new() -> Self {
            Self {
                identification: [0x11, 0x10, 0x14, 0, 0x0d, 0xf0, 0x05, 0xb1],
                ..Self::default()
            }
        }

        fn drain(&mut self) {
            self.pending |= self.fifo > 2;
            self.fifo = 0;
        }

        fn interrupts(&self) -> bool {
            self.pending && self.mask & TRANSMIT_INTERRUPT != 0
        }
    }

    impl Registers for &mut Fake {
        fn size(&self) -> usize {
            0x1000
        }
        fn read32(&self, offset: usize) -> u32 {
            match offset {
                FLAGS if self.fifo == FIFO => FLAG_TRANSMIT_FULL,
                FLAGS => 0,
                0xfe0.. => self.identification[(offset - 0xfe0) / 4].into(),
                _ => panic!("a read at {offset:#x}"),
            }
        }
        fn write32(&mut self, offset: usize, value: u32) {
            match offset {
                DATA => {
                    assert_eq!(self.control, CONTROL_SEND, "the port is off");
                    assert!(self.fifo < FIFO, "the FIFO is overrun");
                    self.sent.push(value as u8);
                    match self.fast {
                        true => self.pending = true,
                        false => self.fifo += 1,
                    }
                }
                DIVISOR_INTEGER => self.divisor[0] = value,
                DIVISOR_FRACTION => self.divisor[1] = value,
                LINE_CONTROL => self.line = value,
                CONTROL => self.control = value,
                FIFO_LEVEL => assert_eq!(value, LEVEL_EIGHTH),
                INTERRUPT_MASK => self.mask = value,
                INTERRUPT_CLEAR => self.pending &= value & TRANSMIT_INTERRUPT == 0,
                _ => panic!("a write at {offset:#x}"),
            }
        }
        fn read8(&self, _: usize) -> u8 {
            unreachable!("the PL011 has 32-bit registers")
        }
        fn read16(&self, _: usize) -> u16 {
            unreachable!("the PL011 has 32-bit registers")
        }
        fn write8(&mut self, _: usize, _: u8) {
            unreachable!("the PL011 has 32-bit registers")
        }
        fn write16(&mut self, _: usize, _: u16) {
            unreachable!("the PL011 has 32-bit registers")
        }
    }

    #[test]
    fn the_line_is_set_up_at_its_speed() {
        let mut fake = Fake::new();
        let speed = Speed {
            clock: 24_000_000,
            rate: 115_200,
        };
        Pl011::new(&mut fake, Some(speed)).unwrap();
        // 24 MHz / (16 · 115200 Hz) = 13.02: 13 and 1/64.
        assert_eq!(fake.divisor, [13, 1]);
        assert_eq!((fake.line, fake.control), (LINE_8N1_FIFO, CONTROL_SEND));
        for (clock, rate, expected) in [
            (0, 0, [1, 0]),
            (u32::MAX, 0, [0xffff, 0]),
            (1, u32::MAX, [1, 0]),
        ] {
            Pl011::new(&mut fake, Some(Speed { clock, rate })).unwrap();
            assert_eq!(fake.divisor, expected);
        }
    }

    #[test]
    fn a_slow_line_asks_for_an_interrupt_and_goes_on_after_it() {
        let mut fake = Fake::new();
        let mut uart = Pl011::new(&mut fake, None).unwrap();
        let text = b"0123456789abcdefghijklmnopqrstuvwxyz\n";
        let mut written = uart.write(text);
        assert_eq!(written, FIFO);
        for _ in 0..2 {
            assert!(!uart.registers.interrupts());
            uart.registers.drain();
            assert!(uart.registers.interrupts());
            uart.acknowledge();
            assert!(!uart.registers.interrupts());
            written += uart.write(&text[written..]);
        }
        assert_eq!(fake.sent, text);
        assert_eq!((fake.mask, fake.divisor), (0, [0, 0]));
    }

    #[test]
    fn one_call_is_bounded_on_a_line_without_end_and_its_interrupt_comes() {
        let mut fake = Fake::new();
        fake.fast = true;
        let mut uart = Pl011::new(&mut fake, None).unwrap();
        assert_eq!(uart.write(&[b'x'; 10_000]), FIFO * FILLS);
        assert!(uart.registers.interrupts());
        uart.acknowledge();
        assert_eq!(uart.write(b"end"), 3);
        assert!(!uart.registers.interrupts());
    }

    #[test]
    fn another_device_is_refused() {
        let mut fake = Fake::new();
        fake.identification[0] = 0x31;
        assert_eq!(Pl011::new(&mut fake, None).err(), Some(NoUart("PL011")));
    }
}
