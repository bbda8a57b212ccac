//! The serial port, and the end.

use core::fmt::{Arguments, Write};

use crate::syscall::{invoke, slots};

const IO_PORT_IN8: u64 = 44;
const IO_PORT_OUT8: u64 = 47;
const IO_PORT_OUT16: u64 = 48;

/// COM1, whose state after reset QEMU's device transmits in.
const SERIAL: u64 = 0x3f8;
/// QEMU's `isa-debug-exit` device: a byte `v` written here ends QEMU with status `2 v + 1`.
const EXIT: u64 = 0xf4;
const EXIT_PASSED: u64 = 0x10;
const EXIT_FAILED: u64 = 0x20;

struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            out8(SERIAL, byte.into());
        }
        Ok(())
    }
}

/// Writes to an I/O port; nothing can be done here when the kernel refuses.
pub fn out8(port: u64, value: u64) {
    let _ = invoke(slots::IO_PORTS, IO_PORT_OUT8, &[], &[port, value]);
}

/// Writes 16 bits to an I/O port.
pub fn out16(port: u64, value: u64) {
    let _ = invoke(slots::IO_PORTS, IO_PORT_OUT16, &[], &[port, value]);
}

/// Reads from an I/O port; 0 when the kernel refuses.
pub fn in8(port: u64) -> u64 {
    invoke(slots::IO_PORTS, IO_PORT_IN8, &[], &[port]).unwrap_or_default()
}

/// Prints a line.
pub fn print(line: Arguments<'_>) {
    // Writing to the port never fails.
    let _ = writeln!(Serial, "{line}");
}

/// Ends the machine: the kernel did what it should.
pub fn pass(why: Arguments<'_>) -> ! {
    print(format_args!("OK: {why}"));
    end(EXIT_PASSED)
}

/// Ends the machine: the kernel did something wrong.
pub fn fail(why: Arguments<'_>) -> ! {
    print(format_args!("FAIL: {why}"));
    end(EXIT_FAILED)
}

fn end(code: u64) -> ! {
    loop {
        out8(EXIT, code);
    }
}
