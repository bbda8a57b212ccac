//! The Internet checksum (RFC 1071), computed while bytes are copied.

/// A ones' complement sum over bytes that are given piece by piece.
///
/// The sum is kept in the byte order of the machine, since ones' complement addition does not depend on it (RFC 1071,
/// section 2 B).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checksum {
    sum: u64,
    /// Whether an odd number of bytes has been added, so that the next one is the second of its 16-bit word.
    odd: bool,
}

impl Checksum {
    /// Starts with the pseudo-header of TCP, UDP and ICMPv6: both addresses, protocol and length in bytes (RFC 9293,
    /// section 3.1; RFC 8200, section 8.1).
    pub fn pseudo(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> Self {
        let mut checksum = Self::default();
        checksum.add(source);
        checksum.add(destination);
        checksum.add(&(length as u32).to_be_bytes());
        checksum.add(&[0, protocol]);
        checksum
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        let chunks = bytes.chunks_exact(WORD);
        let rest = chunks.remainder();
        let mut sum = 0;
        for chunk in chunks {
            sum += parts(word(chunk));
        }
        sum += parts(padded(rest));
        self.append(sum, bytes.len());
    }

    /// Copies `from` to the beginning of `to`, which is at least as long, and adds it. Each byte of `from` is read once:
    /// another PD may write it meanwhile, and what is sent is what was added.
    pub fn copy(&mut self, to: &mut [u8], from: &[u8]) {
        let (to, _) = to.split_at_mut(from.len());
        let mut targets = to.chunks_exact_mut(WORD);
        let sources = from.chunks_exact(WORD);
        let rest = padded(sources.remainder());
        let mut sum = 0;
        for (target, source) in targets.by_ref().zip(sources) {
            let word = word(source);
            target.copy_from_slice(&word.to_ne_bytes());
            sum += parts(word);
        }
        let end = targets.into_remainder();
        let length = end.len();
        end.copy_from_slice(&rest.to_ne_bytes()[..length]);
        sum += parts(rest);
        self.append(sum, from.len());
    }

    /// Returns the checksum, to be written in network byte order. Over data that contains its correct checksum it is 0.
    pub fn finish(self) -> u16 {
        !u16::from_be_bytes((fold(self.sum) as u16).to_ne_bytes())
    }

    fn append(&mut self, sum: u64, length: usize) {
        let sum = fold(sum);
        self.sum += match self.odd {
            true => u64::from((sum as u16).swap_bytes()),
            false => sum,
        };
        self.odd ^= length % 2 == 1;
    }
}

/// Bytes added at once.
const WORD: usize = 8;

fn word(chunk: &[u8]) -> u64 {
    padded(chunk)
}

/// Returns up to eight bytes, followed by zeros.
fn padded(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Returns the sum of the two halves: 2^32 of these sums fit into 64 bits.
fn parts(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

/// Adds the carries until 16 bits are left.
fn fold(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smoltcp::wire::checksum;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_checksum_of_the_whole(first in prop::collection::vec(any::<u8>(), 0..70), second in prop::collection::vec(any::<u8>(), 0..70)) {
            let whole = [first.clone(), second.clone()].concat();
            let mut added = Checksum::default();
            added.add(&first);
            added.add(&second);
            prop_assert_eq!(added.finish(), !checksum::data(&whole));

            let mut copied = Checksum::default();
            let mut target = vec![0xee; whole.len() + 3];
            copied.copy(&mut target, &first);
            copied.copy(&mut target[first.len()..], &second);
            prop_assert_eq!(copied.finish(), added.finish());
            prop_assert_eq!(&target[..whole.len()], &whole[..]);
            prop_assert_eq!(&target[whole.len()..], &[0xee; 3]);
        }
    }
}
