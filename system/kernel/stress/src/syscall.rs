//! The kernel's system calls and what it tells a root task.

use core::arch::asm;

/// Capabilities that the kernel gives the root task.
pub mod slots {
    /// The root task's own thread.
    pub const THREAD: u64 = 1;
    /// The table that holds all of them.
    pub const CNODE: u64 = 2;
    /// The address space.
    pub const VSPACE: u64 = 3;
    /// The authority to claim interrupts.
    pub const IRQ_CONTROL: u64 = 4;
    /// All I/O ports.
    pub const IO_PORTS: u64 = 7;
    /// The frame of the IPC buffer.
    pub const IPC_BUFFER: u64 = 10;
}

/// A message: a label and its first registers, all that these programs need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message {
    /// The kind of message; the error, in the kernel's answers.
    pub label: u64,
    /// Number of registers, at most 4, that are sent.
    pub length: u64,
    /// The first four registers.
    pub registers: [u64; 4],
}

/// A message or signal that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The badge of the capability that it was sent through.
    pub badge: u64,
    /// The message.
    pub message: Message,
}

const CALL: i64 = -1;
const REPLY_RECV: i64 = -2;
const SEND: i64 = -3;
const RECV: i64 = -5;
const NB_RECV: i64 = -8;

/// Sends a message; through a notification capability, signals.
pub fn send(target: u64, message: Message) {
    exchange(SEND, target, message, 0);
}

/// Sends a message and waits for the answer.
pub fn call(target: u64, message: Message) -> Message {
    exchange(CALL, target, message, 0).message
}

/// Waits for a message or a signal.
pub fn recv(source: u64) -> Received {
    exchange(RECV, source, Message::default(), 0)
}

/// Answers the last call, and waits for the next message.
pub fn reply_recv(source: u64, message: Message) -> Received {
    exchange(REPLY_RECV, source, message, 0)
}

/// The signals of a notification, 0 for none.
pub fn poll(notification: u64) -> u64 {
    exchange(NB_RECV, notification, Message::default(), 0).badge
}

/// Asks a kernel object for something. The first result is what the kernel answers in its first register.
///
/// # Errors
/// The kernel's error number (seL4 manual, section 10.1).
pub fn invoke(
    target: u64,
    label: u64,
    capabilities: &[u64],
    arguments: &[u64],
) -> Result<u64, u64> {
    let mut message = Message {
        label,
        length: arguments.len() as u64,
        ..Message::default()
    };
    let direct = arguments.len().min(4);
    message.registers[..direct].copy_from_slice(&arguments[..direct]);
    for (index, argument) in arguments.iter().enumerate().skip(direct) {
        write_ipc_buffer(1 + index, *argument);
    }
    for (index, capability) in capabilities.iter().enumerate() {
        write_ipc_buffer(122 + index, *capability);
    }
    let answer = exchange(CALL, target, message, capabilities.len() as u64).message;
    match answer.label {
        0 => Ok(answer.registers[0]),
        error => Err(error),
    }
}

/// Writes a word of the IPC buffer, whose address the kernel keeps in the base of gs: the tag, 120 message
/// registers, a word for the user, three capabilities.
fn write_ipc_buffer(word: usize, value: u64) {
    assert!(word < 128, "the IPC buffer has 128 words");
    // SAFETY: the kernel maps the IPC buffer at the base of gs for the life of the thread, and the word lies in it.
    unsafe {
        asm!("mov gs:[{offset}], {value}", offset = in(reg) word * 8, value = in(reg) value, options(nostack));
    }
}

/// rdx holds the system call, rdi the capability (back: the badge), rsi the tag, r10, r8, r9 and r15 the first four
/// message registers. `syscall` destroys rcx and r11, and the kernel clears rsp.
fn exchange(number: i64, target: u64, message: Message, capabilities: u64) -> Received {
    let [mut mr0, mut mr1, mut mr2, mut mr3] = message.registers;
    let tag = message.label << 12 | capabilities << 7 | message.length;
    let (badge, answer): (u64, u64);
    // SAFETY: the kernel changes the registers named here and the IPC buffer, and memory only when the invocation
    // is about memory: those are the callers' concern.
    unsafe {
        asm!(
            "mov r14, rsp",
            "syscall",
            "mov rsp, r14",
            in("rdx") number,
            inlateout("rdi") target => badge,
            inlateout("rsi") tag => answer,
            inlateout("r10") mr0,
            inlateout("r8") mr1,
            inlateout("r9") mr2,
            inlateout("r15") mr3,
            out("r14") _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    Received {
        badge,
        message: Message {
            label: answer >> 12,
            length: answer & 0x7f,
            registers: [mr0, mr1, mr2, mr3],
        },
    }
}

/// What the kernel tells the root task (seL4 manual, section 9.1), as far as these programs read it.
#[repr(C, packed)]
pub struct BootInfo {
    unread: [u64; 5],
    /// First free slot, and the slot behind the last.
    pub empty: [u64; 2],
    unread_regions: [[u64; 2]; 5],
    cnode_size_bits: u8,
    unread_domain: u64,
    /// The processor's clock in MHz.
    pub clock: u64,
    /// First slot of untyped memory, and the slot behind the last.
    pub untyped: [u64; 2],
    /// The memory, in the order of the slots.
    pub memory: [UntypedMemory; 320],
}

/// A piece of untyped memory.
#[repr(C, packed)]
#[derive(Clone, Copy)]
pub struct UntypedMemory {
    address: u64,
    padding: [u8; 2],
    /// log2 of the size in bytes.
    pub size_bits: u8,
    /// Not 0 for memory that is not RAM.
    pub is_device: u8,
}
