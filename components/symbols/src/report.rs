//! Faults in words.

use core::fmt;

use crate::read::{Symbol, Table};

/// What a PD did that the kernel stopped it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It touched memory that it may not touch so.
    Memory {
        /// The address.
        address: u64,
        /// How.
        access: Access,
        /// Whether something is mapped there, only not for this access; `None` when the processor does not tell.
        mapped: Option<bool>,
    },
    /// The processor raised an exception.
    Exception {
        /// Which.
        exception: Exception,
        /// Its number, as the processor gives it.
        number: u64,
        /// Its error code.
        code: u64,
    },
    /// It used a capability that it has not.
    Capability {
        /// The capability pointer.
        pointer: u64,
    },
    /// It made a system call that there is not.
    SystemCall {
        /// The number, as the kernel takes it.
        number: u64,
    },
    /// Something that this version does not know.
    Unknown {
        /// The label of the kernel's message.
        label: u64,
    },
}

/// How memory was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Fetching an instruction.
    Execute,
}

/// An exception of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Exception {
    DividedByZero,
    Breakpoint,
    UndefinedInstruction,
    ProtectionRule,
    FloatingPoint,
    NotAligned,
    /// One that has only a number.
    Other,
}

/// The name of the function that a panic ends in (crate `sel4-microkit`).
const PANIC: &str = "panicked";

/// A fault of a PD, for one line of the log.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The PD.
    pub domain: &'a str,
    /// What it did.
    pub fault: Fault,
    /// The instruction.
    pub instruction: u64,
    /// The stack pointer.
    pub stack: u64,
    /// The functions, if they are known.
    pub symbols: Option<Table<'a>>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.symbol(self.instruction);
        write!(f, "{} ", self.domain)?;
        let panicked = place.as_ref().is_some_and(|symbol| symbol.name == PANIC);
        match self.fault {
            Fault::Exception {
                exception: Exception::UndefinedInstruction,
                ..
            } if panicked => {
                // The panic's own line in the log says why.
                return write!(f, "panicked (ip {:#x})", self.instruction);
            }
            Fault::Memory {
                address,
                access,
                mapped,
            } => self.memory(f, address, access, mapped)?,
            Fault::Exception {
                exception,
                number,
                code,
            } => raised(f, exception, number, code)?,
            Fault::Capability { pointer } => {
                write!(f, "used a capability that it does not have ({pointer:#x})")?;
            }
            Fault::SystemCall { number } => {
                write!(
                    f,
                    "made a system call that does not exist ({})",
                    number as i64
                )?;
            }
            Fault::Unknown { label } => write!(f, "faulted in an unknown way (label {label})")?,
        }
        match place {
            Some(symbol) => write!(f, " in {symbol} (ip {:#x})", self.instruction),
            None => write!(f, " at ip {:#x}", self.instruction),
        }
    }
}

impl Report<'_> {
    fn symbol(&self, address: u64) -> Option<Symbol> {
        self.symbols?.find(self.domain, address)
    }

    fn memory(
        &self,
        f: &mut fmt::Formatter<'_>,
        address: u64,
        access: Access,
        mapped: Option<bool>,
    ) -> fmt::Result {
        let verb = match access {
            Access::Read => "read",
            Access::Write => "wrote to",
            Access::Execute => "jumped to",
        };
        write!(f, "{verb} {address:#x}, ")?;
        if mapped != Some(true) && self.is_stack_overflow(address, access) {
            f.write_str("below its stack: the stack is too small;")
        } else if mapped == Some(false) {
            f.write_str("where nothing is mapped,")
        } else if let Some(symbol) = self.symbol(address) {
            write!(f, "its own code ({symbol}),")
        } else if access == Access::Write && mapped == Some(true) {
            f.write_str("which it may only read,")
        } else {
            f.write_str("which it may not,")
        }
    }

    /// Compilers touch every page of a large frame in turn, so an overflow is an access near the stack pointer.
    fn is_stack_overflow(&self, address: u64, access: Access) -> bool {
        const NEAR: u64 = 16 * 4096;
        access != Access::Execute && self.stack.abs_diff(address) < NEAR
    }
}

fn raised(f: &mut fmt::Formatter<'_>, exception: Exception, number: u64, code: u64) -> fmt::Result {
    f.write_str(match exception {
        Exception::DividedByZero => "divided by zero",
        Exception::Breakpoint => "ran into a breakpoint",
        Exception::UndefinedInstruction => "executed an undefined instruction",
        Exception::ProtectionRule => "broke a protection rule of the processor",
        Exception::FloatingPoint => "raised a floating-point exception",
        Exception::NotAligned => "made an access that is not aligned",
        Exception::Other => return write!(f, "raised exception {number:#x} (code {code:#x})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Function, Writer};

    fn say(fault: Fault, instruction: u64) -> String {
        let mut writer = Writer::default();
        let functions = [(0x1000, "a::b::attack"), (0x2000, "panicked")];
        writer.add(
            "intruder",
            functions.map(|(address, name)| Function {
                address,
                size: 0x100,
                name: name.into(),
            }),
        );
        let bytes = writer.to_bytes();
        let report = Report {
            domain: "intruder",
            fault,
            instruction,
            stack: 0x7fff_ffff_0000,
            symbols: Table::new(&bytes).ok(),
        };
        report.to_string()
    }

    fn memory(address: u64, access: Access, mapped: impl Into<Option<bool>>) -> Fault {
        Fault::Memory {
            address,
            access,
            mapped: mapped.into(),
        }
    }

    fn raises(exception: Exception, number: u64, code: u64) -> Fault {
        Fault::Exception {
            exception,
            number,
            code,
        }
    }

    #[test]
    fn memory_faults_say_what_was_touched_from_where() {
        assert_eq!(
            say(memory(0x3000_0000, Access::Read, false), 0x1010),
            "intruder read 0x30000000, where nothing is mapped, in b::attack+0x10 (ip 0x1010)"
        );
        assert_eq!(
            say(memory(0x1020, Access::Write, true), 0x1010),
            "intruder wrote to 0x1020, its own code (b::attack+0x20), in b::attack+0x10 (ip 0x1010)"
        );
        assert_eq!(
            say(memory(0x9000, Access::Write, true), 0x1010),
            "intruder wrote to 0x9000, which it may only read, in b::attack+0x10 (ip 0x1010)"
        );
        assert_eq!(
            say(memory(0, Access::Execute, false), 0),
            "intruder jumped to 0x0, where nothing is mapped, at ip 0x0"
        );
        assert_eq!(
            say(memory(0x7fff_fffe_ff00, Access::Write, false), 0x1010),
            "intruder wrote to 0x7ffffffeff00, below its stack: the stack is too small; in b::attack+0x10 (ip 0x1010)"
        );
        assert_eq!(
            say(memory(0x3000_0000, Access::Write, None), 0x1010),
            "intruder wrote to 0x30000000, which it may not, in b::attack+0x10 (ip 0x1010)"
        );
    }

    #[test]
    fn a_panic_is_told_from_an_undefined_instruction() {
        let undefined = raises(Exception::UndefinedInstruction, 6, 0);
        assert_eq!(say(undefined, 0x2004), "intruder panicked (ip 0x2004)");
        assert_eq!(
            say(undefined, 0x1004),
            "intruder executed an undefined instruction in b::attack+0x4 (ip 0x1004)"
        );
    }

    #[test]
    fn other_faults_are_named() {
        assert_eq!(
            say(Fault::Capability { pointer: 0x4a }, 0x1000),
            "intruder used a capability that it does not have (0x4a) in b::attack+0x0 (ip 0x1000)"
        );
        assert_eq!(
            say(
                Fault::SystemCall {
                    number: -9_i64 as u64
                },
                0x5000
            ),
            "intruder made a system call that does not exist (-9) at ip 0x5000"
        );
        assert!(say(raises(Exception::Other, 14, 4), 0).contains("exception 0xe (code 0x4)"));
        assert!(say(raises(Exception::DividedByZero, 0, 0), 0).contains("divided by zero"));
        assert!(say(Fault::Unknown { label: 9 }, 0).contains("label 9"));
    }
}
