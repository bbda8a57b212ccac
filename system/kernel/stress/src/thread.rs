//! A second thread in the root task's address space.

use crate::objects::{Memory, ObjectType, Slot};
use crate::syscall::{Received, invoke, recv, slots};

const TCB_WRITE_REGISTERS: u64 = 3;
const TCB_CONFIGURE: u64 = 5;
const TCB_SET_PRIORITY: u64 = 6;
const TCB_SUSPEND: u64 = 10;

/// rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 to r15, base of fs.
const CONTEXT_WORDS: usize = 19;
const RIP: usize = 0;
const RSP: usize = 1;
const RDI: usize = 8;
const RSI: usize = 7;

/// Below the root task's 255: the thread runs while the root task waits.
const PRIORITY: u64 = 254;

const STACK_SIZE: usize = 0x4000;

#[repr(align(16))]
struct Stack(core::cell::UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: only its address is taken here; the one thread that runs on it alone uses it.
unsafe impl Sync for Stack {}

static STACK: Stack = Stack(core::cell::UnsafeCell::new([0; STACK_SIZE]));

/// A page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The address that was accessed.
    pub address: u64,
}

/// The thread. There is one at a time, as there is one stack for it.
pub struct Thread {
    thread: Slot,
    /// Where its messages arrive, and its faults.
    pub endpoint: Slot,
}

impl Thread {
    /// Makes the thread; it does not run yet.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn new(memory: &mut Memory) -> Result<Self, u64> {
        let endpoint = memory.object(ObjectType::Endpoint)?;
        let thread = memory.object(ObjectType::Thread)?;
        // The capability at the place of the buffer's frame is not used, as there is no buffer, but must be given.
        let capabilities = [slots::CNODE, slots::VSPACE, slots::IPC_BUFFER];
        invoke(
            thread,
            TCB_CONFIGURE,
            &capabilities,
            &[endpoint, PRIORITY, 0, 0, 0],
        )?;
        Ok(Self { thread, endpoint })
    }

    /// Lets the thread run a function from its beginning. Whatever it did before is over.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn run(
        &self,
        function: extern "C" fn(u64, u64) -> !,
        arguments: [u64; 2],
    ) -> Result<(), u64> {
        invoke(self.thread, TCB_SUSPEND, &[], &[])?;
        const RESUME: u64 = 1;
        let mut words = [0; 2 + CONTEXT_WORDS];
        words[0] = RESUME;
        words[1] = CONTEXT_WORDS as u64;
        let context = &mut words[2..];
        context[RIP] = function as usize as u64;
        // A function expects the stack as a call leaves it: 8 bytes below a multiple of 16.
        context[RSP] = STACK.0.get() as u64 + STACK_SIZE as u64 - 8;
        context[RDI] = arguments[0];
        context[RSI] = arguments[1];
        invoke(self.thread, TCB_WRITE_REGISTERS, &[], &words).map(drop)
    }

    /// Sets the thread's priority; it starts with 254.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn set_priority(&self, priority: u64) -> Result<(), u64> {
        set_priority(self.thread, priority)
    }

    /// Lets the thread read a word of memory: its value, or the fault that it took.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn read(&self, address: u64) -> Result<Result<u64, Fault>, u64> {
        const PAGE_FAULT: u64 = 5;
        self.run(read_word, [address, self.endpoint])?;
        let Received { message, .. } = recv(self.endpoint);
        let [value, fault_address, ..] = message.registers;
        Ok(match message.label {
            PAGE_FAULT => Err(Fault {
                address: fault_address,
            }),
            _ => Ok(value),
        })
    }
}

/// Sets a thread's priority.
///
/// # Errors
/// The kernel's error number.
pub fn set_priority(thread: Slot, priority: u64) -> Result<(), u64> {
    invoke(thread, TCB_SET_PRIORITY, &[], &[priority]).map(drop)
}

extern "C" fn read_word(address: u64, endpoint: u64) -> ! {
    // SAFETY: none is needed of the address: this thread is there to find out whether it can be read. If not, it
    // goes no further.
    let value = unsafe { (address as *const u64).read_volatile() };
    let message = crate::Message {
        length: 1,
        registers: [value, 0, 0, 0],
        ..Default::default()
    };
    crate::send(endpoint, message);
    panic!("the thread ran on")
}
