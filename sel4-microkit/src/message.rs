//! Messages of protected procedure calls.

/// What a message is about, in [`MessageInfo::label_width`] bits.
pub type MessageLabel = sel4::Word;

/// The content of a message register.
pub type MessageRegisterValue = sel4::Word;

/// The tag of a message: a label and the number of filled message registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInfo {
    inner: sel4::MessageInfo,
}

impl MessageInfo {
    #[doc(hidden)]
    pub fn from_inner(inner: sel4::MessageInfo) -> Self {
        Self { inner }
    }

    #[doc(hidden)]
    pub fn inner(&self) -> &sel4::MessageInfo {
        &self.inner
    }

    #[doc(hidden)]
    pub fn into_inner(self) -> sel4::MessageInfo {
        self.inner
    }

    /// A tag; `label` is cut to [`label_width`](Self::label_width) bits.
    pub fn new(label: MessageLabel, count: usize) -> Self {
        Self::from_inner(sel4::MessageInfo::new(label, 0, 0, count))
    }

    /// The label.
    pub fn label(&self) -> MessageLabel {
        self.inner.label()
    }

    /// The number of bits of a label; 20 on pc99, 52 on MCS kernels.
    pub const fn label_width() -> usize {
        sel4::MessageInfo::label_width()
    }

    /// The number of filled message registers. The sender chose it; the registers behind it are stale.
    pub fn count(&self) -> usize {
        self.inner.length()
    }

    /// The fault that this message describes, in [`Handler::fault`](crate::Handler::fault).
    pub fn fault(&self) -> sel4::Fault {
        sel4::with_ipc_buffer(|buffer| sel4::Fault::new(buffer, &self.inner))
    }
}

impl Default for MessageInfo {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

/// Reads the message registers.
pub fn with_msg_regs<T>(f: impl FnOnce(&[MessageRegisterValue]) -> T) -> T {
    sel4::with_ipc_buffer(|buffer| f(buffer.msg_regs()))
}

/// Writes the message registers.
pub fn with_msg_regs_mut<T>(f: impl FnOnce(&mut [MessageRegisterValue]) -> T) -> T {
    sel4::with_ipc_buffer_mut(|buffer| f(buffer.msg_regs_mut()))
}

/// Reads the message registers as bytes.
pub fn with_msg_bytes<T>(f: impl FnOnce(&[u8]) -> T) -> T {
    sel4::with_ipc_buffer(|buffer| f(buffer.msg_bytes()))
}

/// Writes the message registers as bytes.
pub fn with_msg_bytes_mut<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    sel4::with_ipc_buffer_mut(|buffer| f(buffer.msg_bytes_mut()))
}

/// Writes one message register.
///
/// # Panics
/// When there is no register of this number (120 and above).
pub fn set_mr(i: usize, value: MessageRegisterValue) {
    with_msg_regs_mut(|regs| regs[i] = value);
}

/// Reads one message register.
///
/// # Panics
/// When there is no register of this number (120 and above).
pub fn get_mr(i: usize) -> MessageRegisterValue {
    with_msg_regs(|regs| regs[i])
}
