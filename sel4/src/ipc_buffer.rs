//! The page through which the kernel passes what does not fit the registers.

use core::cell::RefCell;

use crate::Word;
use crate::kernel::abi::MESSAGE_REGISTERS;

/// The IPC buffer of a thread, in the kernel's layout (seL4 manual, section 4.1).
#[repr(C)]
#[derive(Debug)]
pub struct IpcBuffer {
    tag: Word,
    message: [Word; MESSAGE_REGISTERS],
    user_data: Word,
    caps_or_badges: [Word; 3],
    receive_cnode: Word,
    receive_index: Word,
    receive_depth: Word,
}

impl IpcBuffer {
    /// The message registers.
    pub fn msg_regs(&self) -> &[Word] {
        &self.message
    }

    /// The message registers.
    pub fn msg_regs_mut(&mut self) -> &mut [Word] {
        &mut self.message
    }

    /// The message registers as bytes.
    pub fn msg_bytes(&self) -> &[u8] {
        let (pointer, length) = (self.message.as_ptr(), size_of_val(&self.message));
        // SAFETY: the bytes of `self.message`, borrowed as long as `self` is.
        unsafe { core::slice::from_raw_parts(pointer.cast(), length) }
    }

    /// The message registers as bytes.
    pub fn msg_bytes_mut(&mut self) -> &mut [u8] {
        let (pointer, length) = (self.message.as_mut_ptr(), size_of_val(&self.message));
        // SAFETY: the bytes of `self.message`, mutably borrowed as long as `self` is; every bit pattern is a word.
        unsafe { core::slice::from_raw_parts_mut(pointer.cast(), length) }
    }

    /// The capabilities that the next message takes along.
    pub fn caps_or_badges_mut(&mut self) -> &mut [Word] {
        &mut self.caps_or_badges
    }
}

struct Slot(RefCell<Option<&'static mut IpcBuffer>>);

// SAFETY: a protection domain and the initialiser have one thread each, and the host's tests do not share the slot.
unsafe impl Sync for Slot {}

static IPC_BUFFER: Slot = Slot(RefCell::new(None));

/// Names the running thread's IPC buffer. The runtime calls it before anything else in this crate is used.
pub fn set_ipc_buffer(buffer: &'static mut IpcBuffer) {
    IPC_BUFFER.0.replace(Some(buffer));
}

/// Reads the IPC buffer.
///
/// # Panics
/// When it is not set, or within [`with_ipc_buffer_mut`].
pub fn with_ipc_buffer<T>(f: impl FnOnce(&IpcBuffer) -> T) -> T {
    let slot = IPC_BUFFER.0.borrow();
    f(slot.as_ref().expect("IPC buffer not set"))
}

/// Writes the IPC buffer. System calls need it too, so `f` must not make any.
///
/// # Panics
/// When it is not set, or within another use of the IPC buffer.
pub fn with_ipc_buffer_mut<T>(f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
    let mut slot = IPC_BUFFER.0.borrow_mut();
    f(slot.as_mut().expect("IPC buffer not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<IpcBuffer>(), 1024);
        assert_eq!(core::mem::offset_of!(IpcBuffer, caps_or_badges), 122 * 8);
        assert_eq!(core::mem::offset_of!(IpcBuffer, receive_cnode), 125 * 8);
    }
}
