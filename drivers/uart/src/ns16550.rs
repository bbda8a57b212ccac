//! The 16550 of PCs and many other machines.
//!
//! Registers and bits: National Semiconductor PC16550D data sheet, section 8.

use registers::Ports;

use crate::{FILLS, NoUart, Receiver, Speed, Transmitter};

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

const IER_DATA_AVAILABLE: u8 = 1 << 0;
const IER_TRANSMITTER_EMPTY: u8 = 1 << 1;
/// FIFOs on, both cleared; data is available from the first byte.
const FCR_ENABLE_AND_CLEAR: u8 = 0b111;
const LCR_8N1: u8 = 0b11;
const LCR_DIVISOR: u8 = 1 << 7;
/// Data terminal ready, request to send, and OUT2, which connects the interrupt line on a PC.
const MCR_READY: u8 = 0b1011;
const LSR_DATA_READY: u8 = 1 << 0;
const LSR_TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Bytes that the transmitter takes at once when it is empty (PC16550D, section 8.4.2).
const FIFO: usize = 16;

/// A 16550.
#[derive(Debug)]
pub struct Ns16550<P> {
    ports: P,
    /// The interrupts that are on.
    interrupts: u8,
}

impl<P: Ports> Ns16550<P> {
    /// Sets up the port: 8 data bits, no parity, 1 stop bit, FIFOs on, all interrupts off. Without a speed, the
    /// line keeps the one that it has.
    ///
    /// # Errors
    /// [`NoUart`] when the scratch register does not hold what is written to it.
    pub fn new(mut ports: P, speed: Option<Speed>) -> Result<Self, NoUart> {
        for probe in [0x5a, 0xa5] {
            ports.write8(SCRATCH, probe);
            if ports.read8(SCRATCH) != probe {
                return Err(NoUart("16550"));
            }
        }
        ports.write8(INTERRUPT_ENABLE, 0);
        if let Some(speed) = speed {
            let divisor = speed.divisor(1).clamp(1, u16::MAX.into());
            let [low, high, ..] = divisor.to_le_bytes();
            ports.write8(LINE_CONTROL, LCR_DIVISOR | LCR_8N1);
            ports.write8(DATA, low);
            ports.write8(INTERRUPT_ENABLE, high);
        }
        ports.write8(LINE_CONTROL, LCR_8N1);
        ports.write8(FIFO_CONTROL, FCR_ENABLE_AND_CLEAR);
        ports.write8(MODEM_CONTROL, MCR_READY);
        Ok(Self {
            ports,
            interrupts: 0,
        })
    }

    /// Switches one interrupt on or off.
    fn arm(&mut self, interrupt: u8, on: bool) {
        let others = self.interrupts & !interrupt;
        let wanted = if on { others | interrupt } else { others };
        if wanted != self.interrupts {
            self.interrupts = wanted;
            self.ports.write8(INTERRUPT_ENABLE, wanted);
        }
    }
}

impl<P: Ports> Transmitter for Ns16550<P> {
    fn write(&mut self, bytes: &[u8]) -> usize {
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
        self.arm(IER_TRANSMITTER_EMPTY, written < bytes.len());
        written
    }

    fn acknowledge(&mut self) {
        // Reading this register clears a transmitter-empty interrupt; that of received data goes with the data.
        self.ports.read8(INTERRUPT_IDENTIFICATION);
    }
}

impl<P: Ports> Receiver for Ns16550<P> {
    fn listen(&mut self) {
        self.ports.write8(FIFO_CONTROL, FCR_ENABLE_AND_CLEAR);
        self.arm(IER_DATA_AVAILABLE, true);
    }

    fn read(&mut self) -> Option<u8> {
        let ready = self.ports.read8(LINE_STATUS) & LSR_DATA_READY != 0;
        ready.then(|| self.ports.read8(DATA))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registers::{Registers, Strided, Width};

    const PC: Option<Speed> = Some(Speed {
        clock: 1_843_200,
        rate: 115_200,
    });

    /// A port that takes `credit` bytes, and then none until there is more credit.
    #[derive(Debug, Default)]
    struct Fake {
        registers: [u8; 8],
        divisor: [u8; 2],
        sent: Vec<u8>,
        /// What comes, the last byte first.
        coming: Vec<u8>,
        credit: usize,
        broken: bool,
    }

    impl Ports for &mut Fake {
        fn read8(&mut self, offset: u16) -> u8 {
            match offset {
                LINE_STATUS => {
                    let ready = if self.coming.is_empty() {
                        0
                    } else {
                        LSR_DATA_READY
                    };
                    let empty = if self.credit >= FIFO {
                        LSR_TRANSMITTER_EMPTY
                    } else {
                        0
                    };
                    ready | empty
                }
                DATA => self.coming.pop().expect("a byte that has not come is read"),
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
        let mut uart = Ns16550::new(&mut fake, PC).unwrap();
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
        let mut uart = Ns16550::new(&mut fake, PC).unwrap();
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
    fn what_comes_is_read_in_order_whether_or_not_something_is_sent() {
        let mut fake = Fake {
            credit: 16,
            coming: b"cba".to_vec(),
            ..Fake::default()
        };
        let mut uart = Ns16550::new(&mut fake, PC).unwrap();
        assert_eq!(uart.ports.registers[1], 0);
        uart.listen();
        assert_eq!(uart.ports.registers[1], IER_DATA_AVAILABLE);
        assert_eq!(uart.read(), Some(b'a'));
        assert_eq!(uart.write(b"0123456789abcdefgh\n"), 16);
        let both = IER_DATA_AVAILABLE | IER_TRANSMITTER_EMPTY;
        assert_eq!(uart.ports.registers[1], both);
        uart.ports.credit = 16;
        assert_eq!(uart.write(b"gh\n"), 3);
        assert_eq!(uart.ports.registers[1], IER_DATA_AVAILABLE);
        assert_eq!([uart.read(), uart.read()], [Some(b'b'), Some(b'c')]);
        assert_eq!(uart.read(), None);
    }

    #[test]
    fn one_call_is_bounded_on_a_line_without_end() {
        let mut fake = Fake {
            credit: usize::MAX,
            ..Fake::default()
        };
        let mut uart = Ns16550::new(&mut fake, PC).unwrap();
        assert_eq!(uart.write(&[b'x'; 10_000]), FIFO * FILLS);
        assert_eq!(
            fake.registers[usize::from(INTERRUPT_ENABLE)],
            IER_TRANSMITTER_EMPTY
        );
    }

    /// Registers of a word each that keep what is written.
    struct Words([u32; 8]);

    impl Registers for Words {
        fn size(&self) -> usize {
            32
        }
        fn read32(&self, offset: usize) -> u32 {
            self.0[offset / 4]
        }
        fn write32(&mut self, offset: usize, value: u32) {
            self.0[offset / 4] = value;
        }
        fn read8(&self, _: usize) -> u8 {
            unreachable!("accesses are of 32 bits")
        }
        fn read16(&self, _: usize) -> u16 {
            unreachable!("accesses are of 32 bits")
        }
        fn write8(&mut self, _: usize, _: u8) {
            unreachable!("accesses are of 32 bits")
        }
        fn write16(&mut self, _: usize, _: u16) {
            unreachable!("accesses are of 32 bits")
        }
    }

    #[test]
    fn a_port_in_memory_is_driven_alike_and_keeps_its_speed() {
        let mut uart = Ns16550::new(Strided::new(Words([0; 8]), 2, Width::Word), None).unwrap();
        assert_eq!(uart.write(b"x"), 0, "the transmitter is not empty");
        uart.ports.write8(LINE_STATUS, LSR_TRANSMITTER_EMPTY);
        assert_eq!(uart.write(b"x"), 1);
        let mut register = |port: u16| uart.ports.read32(port);
        let written = [DATA, FIFO_CONTROL, LINE_CONTROL].map(&mut register);
        assert_eq!(
            written,
            [b'x'.into(), FCR_ENABLE_AND_CLEAR.into(), LCR_8N1.into()]
        );
    }

    #[test]
    fn an_absent_port_is_refused() {
        let mut fake = Fake {
            broken: true,
            ..Fake::default()
        };
        assert_eq!(Ns16550::new(&mut fake, PC).unwrap_err(), NoUart("16550"));
    }
}
