//! Invocations that protection domains make: of interrupts and threads.

use crate::kernel::abi::{USER_CONTEXT_PC, USER_CONTEXT_SP, USER_CONTEXT_WORDS};
use crate::kernel::invoke;
use crate::{Result, Word, cap};

impl cap::IrqHandler {
    /// Lets the next interrupt through.
    ///
    /// # Errors
    /// When this is no interrupt.
    pub fn irq_handler_ack(self) -> Result<()> {
        invoke::irq_ack(self.bits())
    }
}

impl cap::Tcb {
    /// Stops the thread.
    ///
    /// # Errors
    /// When this is no thread.
    pub fn tcb_suspend(self) -> Result<()> {
        invoke::tcb_suspend(self.bits())
    }

    /// Lets a stopped thread run.
    ///
    /// # Errors
    /// When this is no thread.
    pub fn tcb_resume(self) -> Result<()> {
        invoke::tcb_resume(self.bits())
    }

    /// The thread's registers. With `suspend` it is stopped first.
    ///
    /// # Errors
    /// When this is no thread, or the running one.
    pub fn tcb_read_all_registers(self, suspend: bool) -> Result<UserContext> {
        invoke::tcb_read_registers(self.bits(), suspend).map(UserContext)
    }

    /// Sets the thread's registers. With `resume` it then runs. `regs` stays as it is; upstream wants it mutable.
    ///
    /// # Errors
    /// When this is no thread, or the running one.
    pub fn tcb_write_all_registers(self, resume: bool, regs: &mut UserContext) -> Result<()> {
        invoke::tcb_write_registers(self.bits(), resume, &regs.0)
    }
}

/// The registers of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserContext([Word; USER_CONTEXT_WORDS]);

impl Default for UserContext {
    fn default() -> Self {
        Self([0; USER_CONTEXT_WORDS])
    }
}

impl UserContext {
    /// The instruction pointer.
    pub fn pc(&self) -> &Word {
        &self.0[USER_CONTEXT_PC]
    }

    /// The instruction pointer.
    pub fn pc_mut(&mut self) -> &mut Word {
        &mut self.0[USER_CONTEXT_PC]
    }

    /// The stack pointer.
    pub fn sp(&self) -> &Word {
        &self.0[USER_CONTEXT_SP]
    }

    /// The stack pointer.
    pub fn sp_mut(&mut self) -> &mut Word {
        &mut self.0[USER_CONTEXT_SP]
    }
}
