//! Invocations, as `kernel.c` exports them.

use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::{Error, IpcBuffer, Result, Word};

use super::abi::USER_CONTEXT_WORDS;

type Registers = [Word; USER_CONTEXT_WORDS];

// SAFETY: the declarations are those of kernel.c; `Registers` has the words of seL4_UserContext. The functions write
// what they get mutable references to; a wrong capability is the kernel's to refuse.
unsafe extern "C" {
    safe fn selkie_irq_ack(buffer: &mut IpcBuffer, handler: Word) -> Word;
    safe fn selkie_tcb_suspend(buffer: &mut IpcBuffer, tcb: Word) -> Word;
    safe fn selkie_tcb_resume(buffer: &mut IpcBuffer, tcb: Word) -> Word;
    safe fn selkie_tcb_read_registers(
        buffer: &mut IpcBuffer,
        tcb: Word,
        suspend: bool,
        registers: &mut Registers,
    ) -> Word;
    safe fn selkie_tcb_write_registers(
        buffer: &mut IpcBuffer,
        tcb: Word,
        resume: bool,
        registers: &mut Registers,
    ) -> Word;
}

pub(crate) fn irq_ack(handler: Word) -> Result<()> {
    result(|buffer| selkie_irq_ack(buffer, handler))
}

pub(crate) fn tcb_suspend(tcb: Word) -> Result<()> {
    result(|buffer| selkie_tcb_suspend(buffer, tcb))
}

pub(crate) fn tcb_resume(tcb: Word) -> Result<()> {
    result(|buffer| selkie_tcb_resume(buffer, tcb))
}

pub(crate) fn tcb_read_registers(tcb: Word, suspend: bool) -> Result<Registers> {
    let mut registers = [0; USER_CONTEXT_WORDS];
    result(|buffer| selkie_tcb_read_registers(buffer, tcb, suspend, &mut registers))?;
    Ok(registers)
}

pub(crate) fn tcb_write_registers(tcb: Word, resume: bool, registers: &Registers) -> Result<()> {
    let mut registers = *registers;
    result(|buffer| selkie_tcb_write_registers(buffer, tcb, resume, &mut registers))
}

fn result(invoke: impl FnOnce(&mut IpcBuffer) -> Word) -> Result<()> {
    Error::from_label(with_ipc_buffer_mut(invoke))
}
