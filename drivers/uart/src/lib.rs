//! Driver of a 16550 serial port, writing only.
//!
//! Output is driven by interrupts: [`Uart::write`] hands over what the transmitter takes now and asks for
//! an interrupt when there is more; it never waits for the line. What the port receives is thrown
//! away: receive interrupts stay off.
//!
//! Registers and bits: National Semiconductor PC16550D data sheet, section 8.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use registers::Ports;

/// Transmitter holding register (divisor latch low byte while `LCR_DIVISOR` is set).
const DATA: u16 = 0;
/// Interrupt enable register (divisor latch high byte while `LCR_DIVISOR` is set).
const INTERRUPT_ENABLE: u16 = 1;
/// Read: interrupt identification. Write: FIFO control.
const INTERRUPT_IDENTIFICATION: u16 = 2;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

const IER_TRANSMITTER_EMPTY: u8 = 1 << 1;
/// FIFOs on, both cleared.
const FCR_ENABLE_AND_CLEAR: u8 = 0b111;
const LCR_8N1: u8 = 0b11;
const LCR_DIVISOR: u8 = 1 << 7;
/// Data terminal ready, request to send, and OUT2, which connects the interrupt line on a PC.
const MCR_READY: u8 = 0b1011;
const LSR_TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Bytes that the transmitter takes at once when it is empty (PC16550D, section 8.4.2).
pub const FIFO: usize = 16;

/// The bit rate of divisor 1, with the 1.8432 MHz crystal of a PC.
pub const FULL_RATE: u32 = 115_200;

/// Fills of the FIFO in one call of [`Uart::write`]. A port that takes bytes as fast as they come (an
/// emulated one) would otherwise cost an interrupt for every 16 bytes; the bound keeps one call short.
const FILLS: usize = 32;

/// There is no 16550 at these ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoUart;

impl core::fmt::Display for NoUart {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no 16550 serial port answers")
    }
}

impl core::error::Error for NoUart {}

/// A serial port.
#[derive(Debug)]
pub struct Uart<P> {
    ports: P,
    /// Whether the transmitter-empty interrupt is on.
    armed: bool,
}

impl<P: Ports> Uart<P> {
    /// Sets up the port: 8 data bits, no parity, 1 stop bit, FIFOs on, all interrupts off.
    ///
    /// `rate` is the line's bit rate, 2 to [`FULL_RATE`].
    ///
    /// # Errors
    /// [`NoUart`] when the scratch register does not hold what is written to it.
    pub fn new(mut ports: P, rate: u32) -> Result<Self, NoUart> {
        for probe in [0x5a, 0xa5] {
            ports.write8(SCRATCH, probe);
            if ports.read8(SCRATCH) != probe {
                return Err(NoUart);
            }
        }
        let [low, high, ..] = (FULL_RATE / rate.clamp(2, FULL_RATE)).to_le_bytes();
        ports.write8(INTERRUPT_ENABLE, 0);
        ports.write8(LINE_CONTROL, LCR_DIVISOR | LCR_8N1);
        ports.write8(DATA, low);
        ports.write8(INTERRUPT_ENABLE, high);
        ports.write8(LINE_CONTROL, LCR_8N1);
        ports.write8(FIFO_CONTROL, FCR_ENABLE_AND_CLEAR);
        ports.write8(MODEM_CONTROL, MCR_READY);
        Ok(Self {
            ports,
            armed: false,
        })
    }

    /// Hands over as much of `bytes` as the transmitter takes now, and returns how much that was.
    ///
    /// When something is left, an interrupt will tell when to go on; when nothing is left, the
    /// interrupt is switched off.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        for fill in bytes.chunks(FIFO).take(FILLS) {
            if self.ports.read8(LINE_STATUS) & LSR_TRANSMITTER_EMPTY == 0 {
                break;
            }
            for &byte in fill {
                self.ports.write8(DATA, byte);
            }
            written += fill.len();
        }
        self.arm(written < bytes.len());
        written
    }

    /// Takes note of an interrupt, so that the port lowers its line. Call before acknowledging the
    /// interrupt to the kernel, then [`write`](Self::write) what is left.
    pub fn acknowledge(&mut self) {
        // Reading this register clears a transmitter-empty interrupt, the only one that is on.
        self.ports.read8(INTERRUPT_IDENTIFICATION);
    }

    fn arm(&mut self, on: bool) {
        if on != self.armed {
            self.armed = on;
            self.ports
                .write8(INTERRUPT_ENABLE, if on { IER_TRANSMITTER_EMPTY } else { 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port that takes `credit` bytes, and then none until there is more credit.
    #[derive(Debug, Default)]
    struct Fake {
        registers: [u8; 8],
        divisor: [u8; 2],
        sent: Vec<u8>,
        credit: usize,
        broken: bool,
    }

    impl Ports for &mut Fake {
        fn read8(&mut self, offset: u16) -> u8 {
            match offset {
                LINE_STATUS if self.credit >= FIFO => LSR_TRANSMITTER_EMPTY,
                LINE_STATUS => 0,
                SCRATCH if self.broken => 0xff,
                _ => self.registers[usize::from(offset)],
            }
        }
        fn write8(&mut self, offset: u16, value: u8) {
            let latch = self.registers[usize::from(LINE_CONTROL)] & LCR_DIVISOR != 0;
            match offset {
                0 | 1 if latch => self.divisor[usize::from(offset)] = value,
                DATA => {
                    assert!(self.credit > 0, "the FIFO is overrun");
                    self.credit -= 1;
                    self.sent.push(value);
                }
                _ => self.registers[usize::from(offset)] = value,
            }
        }
        fn read32(&mut self, _: u16) -> u32 {
            unreachable!("a UART has 8-bit registers")
        }
        fn write32(&mut self, _: u16, _: u32) {
            unreachable!("a UART has 8-bit registers")
        }
    }

    #[test]
    fn a_line_goes_out_and_leaves_no_interrupt_on() {
        let mut fake = Fake {
            credit: 1000,
            ..Fake::default()
        };
        let mut uart = Uart::new(&mut fake, FULL_RATE).unwrap();
        assert_eq!(uart.write(b"0123456789abcdefgh\n"), 19);
        assert_eq!(fake.sent, b"0123456789abcdefgh\n");
        assert_eq!(fake.registers[usize::from(INTERRUPT_ENABLE)], 0);
        assert_eq!(fake.divisor, [1, 0]);
    }

    #[test]
    fn a_slow_line_asks_for_an_interrupt_and_goes_on_after_it() {
        let mut fake = Fake {
            credit: 16,
            ..Fake::default()
        };
        let mut uart = Uart::new(&mut fake, 9600).unwrap();
        let text = b"0123456789abcdefgh\n";
        assert_eq!(uart.write(text), 16);
        assert_eq!(uart.ports.registers[1], IER_TRANSMITTER_EMPTY);
        assert_eq!(uart.write(&text[16..]), 0);
        uart.ports.credit = 16;
        uart.acknowledge();
        assert_eq!(uart.write(&text[16..]), 3);
        assert_eq!(fake.sent, text);
        assert_eq!(fake.registers[usize::from(INTERRUPT_ENABLE)], 0);
    }

    #[test]
    fn one_call_is_bounded_on_a_line_without_end() {
        let mut fake = Fake {
            credit: usize::MAX,
            ..Fake::default()
        };
        let mut uart = Uart::new(&mut fake, FULL_RATE).unwrap();
        assert_eq!(uart.write(&[b'x'; 10_000]), FIFO * FILLS);
        assert_eq!(
            fake.registers[usize::from(INTERRUPT_ENABLE)],
            IER_TRANSMITTER_EMPTY
        );
    }

    #[test]
    fn an_absent_port_is_refused() {
        let mut fake = Fake {
            broken: true,
            ..Fake::default()
        };
        assert_eq!(Uart::new(&mut fake, FULL_RATE).unwrap_err(), NoUart);
    }
}
