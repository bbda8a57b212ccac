//! The two rings of a connection, which it shares with the consumer.

use super::SequenceNumber;

/// The ring that received bytes are copied to: the stack's own memory, which the consumer maps read-only.
pub(super) struct ReceiveRing {
    memory: &'static mut [u8],
    /// The number of a byte at the ring's first place.
    origin: SequenceNumber,
}

impl ReceiveRing {
    /// # Panics
    /// If the size is not a power of two.
    pub fn new(memory: &'static mut [u8]) -> Self {
        assert!(memory.len().is_power_of_two());
        Self {
            memory,
            origin: SequenceNumber::default(),
        }
    }

    /// Returns the size in bytes.
    pub fn capacity(&self) -> u32 {
        self.memory.len() as u32
    }

    /// Lets the ring begin with the byte of this number.
    pub fn begin(&mut self, first: SequenceNumber) {
        self.origin = first;
    }

    /// Copies bytes to their place, whether those before them have arrived or not. What is longer than the ring is cut.
    pub fn write(&mut self, at: SequenceNumber, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.memory.len())];
        let start = index(at, self.origin, self.memory.len());
        let (first, second) = bytes.split_at(bytes.len().min(self.memory.len() - start));
        self.memory[start..start + first.len()].copy_from_slice(first);
        self.memory[..second.len()].copy_from_slice(second);
    }
}

/// The ring that the consumer writes and this side only reads.
pub(super) struct TransmitRing {
    memory: &'static [u8],
    origin: SequenceNumber,
}

impl TransmitRing {
    /// # Panics
    /// If the size is not a power of two.
    pub fn new(memory: &'static [u8]) -> Self {
        assert!(memory.len().is_power_of_two());
        Self {
            memory,
            origin: SequenceNumber::default(),
        }
    }

    /// Returns the size in bytes.
    pub fn capacity(&self) -> u32 {
        self.memory.len() as u32
    }

    /// Lets the byte of this number be at the ring's first place.
    pub fn begin(&mut self, first: SequenceNumber) {
        self.origin = first;
    }

    /// Returns where the bytes from a number on are, in two parts since they may go round the ring's end.
    pub fn slices(&self, from: SequenceNumber, length: u32) -> [&[u8]; 2] {
        let length = (length as usize).min(self.memory.len());
        let start = index(from, self.origin, self.memory.len());
        let first = length.min(self.memory.len() - start);
        [
            &self.memory[start..start + first],
            &self.memory[..length - first],
        ]
    }
}

fn index(at: SequenceNumber, origin: SequenceNumber, size: usize) -> usize {
    at.since(origin) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_round_the_end_of_both_rings() {
        let mut receive = ReceiveRing::new(vec![0; 8].leak());
        let first = SequenceNumber(u32::MAX - 2);
        receive.begin(first);
        receive.write(first + 6, b"abcd");
        assert_eq!(receive.memory, b"cd\0\0\0\0ab");

        let mut transmit = TransmitRing::new(b"cd\0\0\0\0ab".to_vec().leak());
        transmit.begin(first);
        assert_eq!(transmit.slices(first + 6, 4), [&b"ab"[..], b"cd"]);
        assert_eq!(transmit.slices(first + 8, 2), [&b"cd"[..], b""]);
        transmit.begin(first + 6);
        assert_eq!(transmit.slices(first + 6, 2), [&b"cd"[..], b""]);
    }
}
