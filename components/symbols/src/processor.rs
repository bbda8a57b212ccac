//! What processors say about faults.

use crate::{Access, Exception, Fault};

/// A kind of fault message (seL4 manual, section "Fault Delivery").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Message {
    Memory,
    Exception,
    Capability,
    SystemCall,
    /// One that this version does not know, with its label.
    Unknown(u64),
}

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The status of a page fault is its error code, an exception has a vector (Intel SDM, volume 3, sections 4.7
    /// and 6.15).
    X86_64,
    /// Both are the syndrome register ESR (Arm ARM, section D24.2, ESR_EL1).
    Aarch64,
    /// Both are the register scause (RISC-V privileged specification, section 12.1.8). It tells faults by the kind of
    /// access only.
    Riscv64,
}

impl Processor {
    /// The one that this program is compiled for.
    pub const CURRENT: Self = if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else if cfg!(target_arch = "riscv64") {
        Self::Riscv64
    } else {
        Self::X86_64
    };

    /// What a fault message says: the fault, and the instruction. `register` gives the message registers, whose order is
    /// the processor's (seL4 manual, section "Fault Delivery"); the kernel fills all that are read here.
    pub fn fault(self, message: Message, register: impl Fn(usize) -> u64) -> (Fault, u64) {
        match message {
            Message::Memory => {
                let status = register(3);
                let memory = Fault::Memory {
                    address: register(1),
                    access: match register(2) {
                        0 => self.access(status),
                        _ => Access::Execute,
                    },
                    mapped: self.mapped(status),
                };
                (memory, register(0))
            }
            Message::Exception => {
                // Instruction and stack pointer come first, then the flags, which riscv64 has not.
                let (number, code) = match self {
                    Self::X86_64 | Self::Aarch64 => (register(3), register(4)),
                    Self::Riscv64 => (register(2), register(3)),
                };
                let raised = Fault::Exception {
                    exception: self.exception(number),
                    number,
                    code,
                };
                (raised, register(0))
            }
            Message::Capability => (
                Fault::Capability {
                    pointer: register(1),
                },
                register(0),
            ),
            Message::SystemCall => {
                let (instruction, number) = match self {
                    Self::X86_64 => (15, 18),
                    Self::Aarch64 => (8, 12),
                    Self::Riscv64 => (0, 10),
                };
                (
                    Fault::SystemCall {
                        number: register(number),
                    },
                    register(instruction),
                )
            }
            Message::Unknown(label) => (Fault::Unknown { label }, 0),
        }
    }

    /// How memory was touched in a fault with this status, other than by fetching an instruction, of which the kernel
    /// tells.
    fn access(self, status: u64) -> Access {
        let write = match self {
            Self::X86_64 => status & 1 << 1 != 0,
            Self::Aarch64 => status & 1 << 6 != 0,
            Self::Riscv64 => matches!(status, 7 | 15),
        };
        if write { Access::Write } else { Access::Read }
    }

    /// Whether something is mapped at the address, only not for the access; `None` when the processor does not tell.
    fn mapped(self, status: u64) -> Option<bool> {
        match self {
            Self::X86_64 => Some(status & 1 != 0),
            // Fault status codes 0b0011LL are permission faults of level LL.
            Self::Aarch64 => Some(status & 0x3c == 0x0c),
            Self::Riscv64 => None,
        }
    }

    /// What an exception is.
    fn exception(self, number: u64) -> Exception {
        match self {
            Self::X86_64 => match number {
                0 => Exception::DividedByZero,
                1 | 3 => Exception::Breakpoint,
                6 => Exception::UndefinedInstruction,
                13 => Exception::ProtectionRule,
                16 | 19 => Exception::FloatingPoint,
                17 => Exception::NotAligned,
                _ => Exception::Other,
            },
            // The exception class is in bits 26 to 31.
            Self::Aarch64 => match number >> 26 & 0x3f {
                0x00 => Exception::UndefinedInstruction,
                0x07 | 0x18 => Exception::ProtectionRule,
                0x22 | 0x26 => Exception::NotAligned,
                // A data abort that is no fault of the translation: misaligned, by its status code.
                0x24 if number & 0x3f == 0x21 => Exception::NotAligned,
                0x2c => Exception::FloatingPoint,
                0x30 | 0x32 | 0x34 | 0x3c => Exception::Breakpoint,
                _ => Exception::Other,
            },
            Self::Riscv64 => match number {
                0 | 4 | 6 => Exception::NotAligned,
                2 => Exception::UndefinedInstruction,
                3 => Exception::Breakpoint,
                _ => Exception::Other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Processor::{Aarch64, Riscv64, X86_64};

    #[test]
    fn page_faults_of_x86_64() {
        // Bit 0: mapped; bit 1: write; bit 2: user level.
        assert_eq!(
            (X86_64.access(0b100), X86_64.mapped(0b100)),
            (Access::Read, Some(false))
        );
        assert_eq!(
            (X86_64.access(0b111), X86_64.mapped(0b111)),
            (Access::Write, Some(true))
        );
    }

    #[test]
    fn data_aborts_of_aarch64() {
        // Translation fault of level 2 by a read; permission fault of level 3 by a write.
        let (read, write) = (0x9200_0006, 0x9200_004f);
        assert_eq!(
            (Aarch64.access(read), Aarch64.mapped(read)),
            (Access::Read, Some(false))
        );
        assert_eq!(
            (Aarch64.access(write), Aarch64.mapped(write)),
            (Access::Write, Some(true))
        );
    }

    #[test]
    fn causes_of_riscv64() {
        for (cause, access) in [
            (5, Access::Read),
            (13, Access::Read),
            (7, Access::Write),
            (15, Access::Write),
        ] {
            assert_eq!(
                (Riscv64.access(cause), Riscv64.mapped(cause)),
                (access, None)
            );
        }
    }

    #[test]
    fn fault_messages_are_read_in_the_order_of_the_processor() {
        let word = |register: usize| 0x100 + register as u64;
        let (fault, instruction) = Aarch64.fault(Message::SystemCall, word);
        assert_eq!(
            (fault, instruction),
            (Fault::SystemCall { number: 0x10c }, 0x108)
        );
        let (fault, instruction) = Riscv64.fault(Message::Capability, word);
        assert_eq!(
            (fault, instruction),
            (Fault::Capability { pointer: 0x101 }, 0x100)
        );

        let raised = |number, code| Fault::Exception {
            exception: Exception::Other,
            number,
            code,
        };
        assert_eq!(
            X86_64.fault(Message::Exception, word).0,
            raised(0x103, 0x104)
        );
        assert_eq!(
            Riscv64.fault(Message::Exception, word).0,
            raised(0x102, 0x103)
        );

        let fetch = |register: usize| [0x1000, 0x2000, 1, 12][register];
        let (fault, instruction) = Riscv64.fault(Message::Memory, fetch);
        let memory = Fault::Memory {
            address: 0x2000,
            access: Access::Execute,
            mapped: None,
        };
        assert_eq!((fault, instruction), (memory, 0x1000));
    }

    #[test]
    fn an_undefined_instruction_has_a_number_of_its_own_everywhere() {
        for (processor, number) in [(X86_64, 6), (Aarch64, 0x0200_0000), (Riscv64, 2)] {
            assert_eq!(processor.exception(number), Exception::UndefinedInstruction);
        }
    }

    #[test]
    fn other_exceptions() {
        assert_eq!(X86_64.exception(0), Exception::DividedByZero);
        assert_eq!(X86_64.exception(14), Exception::Other);
        assert_eq!(Aarch64.exception(0xf200_0000), Exception::Breakpoint);
        assert_eq!(Aarch64.exception(0x9200_0021), Exception::NotAligned);
        assert_eq!(Riscv64.exception(4), Exception::NotAligned);
    }
}
