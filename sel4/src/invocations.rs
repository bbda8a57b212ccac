//! Invocations that protection domains make: of interrupts, I/O ports and threads.

use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::kernel::abi::label;
use crate::{Cap, CapType, Error, MessageInfo, Result, Word, cap};

impl<T: CapType> Cap<T> {
    /// Invokes the object with these capabilities (at most three) and arguments; results are in the message
    /// registers afterwards.
    pub(crate) fn invoke(self, label: Word, caps: &[Word], arguments: &[Word]) -> Result<()> {
        with_ipc_buffer_mut(|buffer| {
            buffer.caps_or_badges_mut()[..caps.len()].copy_from_slice(caps);
            buffer.msg_regs_mut()[..arguments.len()].copy_from_slice(arguments);
        });
        let info = MessageInfo::new(label, 0, caps.len(), arguments.len());
        Error::from_label(self.call(info).label())
    }
}

fn result(index: usize) -> Word {
    with_ipc_buffer_mut(|buffer| buffer.msg_regs()[index])
}

impl cap::IrqHandler {
    /// Lets the next interrupt through.
    ///
    /// # Errors
    /// When this is no interrupt.
    pub fn irq_handler_ack(self) -> Result<()> {
        self.invoke(label::IRQ_ACK, &[], &[])
    }

    /// Delivers interrupts as signals through this notification capability.
    ///
    /// # Errors
    /// When one of the two is not what it should be.
    pub fn irq_handler_set_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::IRQ_SET_NOTIFICATION, &[notification.bits()], &[])
    }
}

impl cap::IoPort {
    /// Reads a byte from a port.
    ///
    /// # Errors
    /// When the port is not in the capability's range.
    pub fn in8(self, port: u16) -> Result<u8> {
        self.input(label::PORT_IN8, port).map(|value| value as u8)
    }

    /// Reads 16 bits from a port.
    ///
    /// # Errors
    /// When the ports are not in the capability's range.
    pub fn in16(self, port: u16) -> Result<u16> {
        self.input(label::PORT_IN16, port).map(|value| value as u16)
    }

    /// Reads 32 bits from a port.
    ///
    /// # Errors
    /// When the ports are not in the capability's range.
    pub fn in32(self, port: u16) -> Result<u32> {
        self.input(label::PORT_IN32, port).map(|value| value as u32)
    }

    /// Writes a byte to a port.
    ///
    /// # Errors
    /// When the port is not in the capability's range.
    pub fn out8(self, port: u16, value: u8) -> Result<()> {
        self.invoke(label::PORT_OUT8, &[], &[port.into(), value.into()])
    }

    /// Writes 16 bits to a port.
    ///
    /// # Errors
    /// When the ports are not in the capability's range.
    pub fn out16(self, port: u16, value: u16) -> Result<()> {
        self.invoke(label::PORT_OUT16, &[], &[port.into(), value.into()])
    }

    /// Writes 32 bits to a port.
    ///
    /// # Errors
    /// When the ports are not in the capability's range.
    pub fn out32(self, port: u16, value: u32) -> Result<()> {
        self.invoke(label::PORT_OUT32, &[], &[port.into(), value.into()])
    }

    fn input(self, label: Word, port: u16) -> Result<Word> {
        self.invoke(label, &[], &[port.into()])?;
        Ok(result(0))
    }
}

impl cap::Tcb {
    /// Stops the thread.
    ///
    /// # Errors
    /// When this is no thread.
    pub fn tcb_suspend(self) -> Result<()> {
        self.invoke(label::TCB_SUSPEND, &[], &[])
    }

    /// Lets a stopped thread run.
    ///
    /// # Errors
    /// When this is no thread.
    pub fn tcb_resume(self) -> Result<()> {
        self.invoke(label::TCB_RESUME, &[], &[])
    }

    /// The thread's registers. With `suspend` it is stopped first.
    ///
    /// # Errors
    /// When this is no thread, or the running one.
    pub fn tcb_read_all_registers(self, suspend: bool) -> Result<UserContext> {
        let count = UserContext::WORDS as Word;
        self.invoke(label::TCB_READ_REGISTERS, &[], &[suspend.into(), count])?;
        Ok(with_ipc_buffer_mut(|buffer| {
            let mut words = [0; UserContext::WORDS];
            words.copy_from_slice(&buffer.msg_regs()[..UserContext::WORDS]);
            UserContext(words)
        }))
    }

    /// Sets the thread's registers. With `resume` it then runs.
    ///
    /// # Errors
    /// When this is no thread, or the running one.
    pub fn tcb_write_all_registers(self, resume: bool, regs: &UserContext) -> Result<()> {
        let mut arguments = [0; 2 + UserContext::WORDS];
        arguments[0] = resume.into();
        arguments[1] = UserContext::WORDS as Word;
        arguments[2..].copy_from_slice(&regs.0);
        self.invoke(label::TCB_WRITE_REGISTERS, &[], &arguments)
    }
}

/// The registers of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserContext([Word; UserContext::WORDS]);

impl UserContext {
    const WORDS: usize = crate::kernel::abi::USER_CONTEXT_WORDS;

    /// The instruction pointer.
    pub fn pc(&self) -> &Word {
        &self.0[0]
    }

    /// The instruction pointer.
    pub fn pc_mut(&mut self) -> &mut Word {
        &mut self.0[0]
    }

    /// The stack pointer.
    pub fn sp(&self) -> &Word {
        &self.0[1]
    }

    /// The stack pointer.
    pub fn sp_mut(&mut self) -> &mut Word {
        &mut self.0[1]
    }
}
