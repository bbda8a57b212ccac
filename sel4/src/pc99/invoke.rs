//! Invocations: calls of kernel objects.

use super::abi::{USER_CONTEXT_WORDS, label};
use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::{Cap, CapType, Error, MessageInfo, Result, Word, cap};

type Registers = [Word; USER_CONTEXT_WORDS];

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

impl cap::IrqHandler {
    /// Delivers interrupts as signals through this notification capability.
    ///
    /// # Errors
    /// When one of the two is not what it should be.
    pub fn irq_handler_set_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::IRQ_SET_NOTIFICATION, &[notification.bits()], &[])
    }
}

pub(crate) fn irq_ack(handler: Word) -> Result<()> {
    cap::IrqHandler::from_bits(handler).invoke(label::IRQ_ACK, &[], &[])
}

pub(crate) fn tcb_suspend(tcb: Word) -> Result<()> {
    cap::Tcb::from_bits(tcb).invoke(label::TCB_SUSPEND, &[], &[])
}

pub(crate) fn tcb_resume(tcb: Word) -> Result<()> {
    cap::Tcb::from_bits(tcb).invoke(label::TCB_RESUME, &[], &[])
}

pub(crate) fn tcb_read_registers(tcb: Word, suspend: bool) -> Result<Registers> {
    let arguments = [suspend.into(), USER_CONTEXT_WORDS as Word];
    cap::Tcb::from_bits(tcb).invoke(label::TCB_READ_REGISTERS, &[], &arguments)?;
    Ok(with_ipc_buffer_mut(|buffer| {
        let mut registers = [0; USER_CONTEXT_WORDS];
        registers.copy_from_slice(&buffer.msg_regs()[..USER_CONTEXT_WORDS]);
        registers
    }))
}

pub(crate) fn tcb_write_registers(tcb: Word, resume: bool, registers: &Registers) -> Result<()> {
    let mut arguments = [0; 2 + USER_CONTEXT_WORDS];
    arguments[0] = resume.into();
    arguments[1] = USER_CONTEXT_WORDS as Word;
    arguments[2..].copy_from_slice(registers);
    cap::Tcb::from_bits(tcb).invoke(label::TCB_WRITE_REGISTERS, &[], &arguments)
}
