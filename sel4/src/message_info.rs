//! The tag of a message.

use crate::Word;
use crate::kernel::abi;

/// The tag of a message: a label and the number of message registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInfo(Word);

impl MessageInfo {
    /// A tag. What does not fit its field is cut: `label` to [`label_width`](Self::label_width) bits,
    /// `caps_unwrapped` to 3, `extra_caps` to 2 and `length` to 7.
    pub const fn new(label: Word, caps_unwrapped: usize, extra_caps: usize, length: usize) -> Self {
        Self(
            (label & abi::LABEL_MASK) << abi::LABEL_SHIFT
                | (caps_unwrapped as Word & 0x7) << 9
                | (extra_caps as Word & 0x3) << 7
                | (length as Word & 0x7f),
        )
    }

    /// A tag as the kernel delivered it.
    pub(crate) const fn from_word(word: Word) -> Self {
        Self(word)
    }

    /// The tag as the kernel takes it.
    pub(crate) const fn word(&self) -> Word {
        self.0
    }

    /// What the sender says that the message is, or the kernel (faults, results of invocations).
    pub const fn label(&self) -> Word {
        self.0 >> abi::LABEL_SHIFT & abi::LABEL_MASK
    }

    /// The number of bits of a label.
    pub const fn label_width() -> usize {
        abi::LABEL_MASK.count_ones() as usize
    }

    /// A bit for each capability that arrived as a badge only.
    pub const fn caps_unwrapped(&self) -> usize {
        (self.0 >> 9 & 0x7) as usize
    }

    /// The number of capabilities that came with the message.
    pub const fn extra_caps(&self) -> usize {
        (self.0 >> 7 & 0x3) as usize
    }

    /// The number of filled message registers, at most [`IpcBuffer::MESSAGE_REGISTERS`](crate::IpcBuffer).
    pub const fn length(&self) -> usize {
        let length = (self.0 & 0x7f) as usize;
        if length > abi::MESSAGE_REGISTERS {
            abi::MESSAGE_REGISTERS
        } else {
            length
        }
    }
}

impl From<MessageInfoBuilder> for MessageInfo {
    fn from(builder: MessageInfoBuilder) -> Self {
        builder.build()
    }
}

/// Makes a [`MessageInfo`] field by field.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub struct MessageInfoBuilder {
    label: Word,
    caps_unwrapped: usize,
    extra_caps: usize,
    length: usize,
}

impl MessageInfoBuilder {
    /// The tag.
    pub fn build(self) -> MessageInfo {
        MessageInfo::new(
            self.label,
            self.caps_unwrapped,
            self.extra_caps,
            self.length,
        )
    }

    /// Sets the label.
    #[must_use]
    pub fn label(self, label: Word) -> Self {
        Self { label, ..self }
    }

    /// Sets the bits for unwrapped capabilities.
    #[must_use]
    pub fn caps_unwrapped(self, caps_unwrapped: usize) -> Self {
        Self {
            caps_unwrapped,
            ..self
        }
    }

    /// Sets the number of capabilities.
    #[must_use]
    pub fn extra_caps(self, extra_caps: usize) -> Self {
        Self { extra_caps, ..self }
    }

    /// Sets the number of message registers.
    #[must_use]
    pub fn length(self, length: usize) -> Self {
        Self { length, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_the_word() {
        let info = MessageInfo::new(0xabcde, 5, 2, 64);
        assert_eq!(info.label(), 0xabcde);
        assert_eq!(info.caps_unwrapped(), 5);
        assert_eq!(info.extra_caps(), 2);
        assert_eq!(info.length(), 64);
        assert_eq!(MessageInfo::from_word(info.word()), info);
    }

    #[test]
    fn too_large_values_touch_no_other_field() {
        let info = MessageInfo::new(1 << MessageInfo::label_width(), 8, 4, 128);
        assert_eq!(info, MessageInfo::new(0, 0, 0, 0));
    }

    #[test]
    fn a_peer_cannot_claim_more_registers_than_there_are() {
        assert_eq!(MessageInfo::from_word(0x7f).length(), 120);
    }
}
