//! Bytes received out of order, and the report to the peer (RFC 2018).

use super::SequenceNumber;
use super::header::{Block, SACK_BLOCKS};

/// Blocks that are remembered. With more gaps than that, further segments are dropped and sent again.
const BLOCKS: usize = 8;

/// Blocks of bytes beyond the next expected one. They neither overlap nor touch; the one that changed last is first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Assembler {
    blocks: [Option<Block>; BLOCKS],
}

impl Assembler {
    /// Whether nothing is missing before what was received.
    pub fn is_empty(&self) -> bool {
        self.blocks[0].is_none()
    }

    /// Adds a block. Returns `false` if there are too many to remember it.
    pub fn insert(&mut self, start: SequenceNumber, end: SequenceNumber) -> bool {
        let mut merged = (start, end);
        let mut kept = [None; BLOCKS];
        let mut count = 0;
        // A block merged in makes the new one longer, and then it may touch one that was passed over.
        let mut rest = self.blocks;
        loop {
            let before = merged;
            for slot in &mut rest {
                let touches = slot.is_some_and(|(start, end)| {
                    !start.is_after(merged.1) && !end.is_before(merged.0)
                });
                if touches && let Some((start, end)) = slot.take() {
                    merged = (merged.0.earliest(start), merged.1.latest(end));
                }
            }
            if merged == before {
                break;
            }
        }
        for block in rest.into_iter().flatten() {
            kept[count] = Some(block);
            count += 1;
        }
        if count == BLOCKS {
            return false;
        }
        self.blocks[0] = Some(merged);
        self.blocks[1..].copy_from_slice(&kept[..BLOCKS - 1]);
        true
    }

    /// Returns the end of the bytes that follow `next` without a gap, and forgets what lies before it.
    pub fn advance(&mut self, mut next: SequenceNumber) -> SequenceNumber {
        loop {
            let before = next;
            for slot in &mut self.blocks {
                if slot.is_some_and(|(start, _)| !start.is_after(next))
                    && let Some((_, end)) = slot.take()
                {
                    next = next.latest(end);
                }
            }
            if next == before {
                break;
            }
        }
        let mut count = 0;
        for index in 0..BLOCKS {
            if let Some(block) = self.blocks[index].take() {
                self.blocks[count] = Some(block);
                count += 1;
            }
        }
        next
    }

    /// Returns the blocks for a SACK option with room for `room` of them: the one that changed last first (RFC 2018,
    /// section 4).
    pub fn report(&self, room: usize) -> [Option<Block>; SACK_BLOCKS] {
        core::array::from_fn(|index| self.blocks[index].filter(|_| index < room))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(number: u32) -> SequenceNumber {
        SequenceNumber(number.wrapping_add(u32::MAX - 50))
    }

    #[test]
    fn the_block_that_changed_last_is_reported_first() {
        let mut assembler = Assembler::default();
        assert!(assembler.insert(at(10), at(20)));
        assert!(assembler.insert(at(30), at(40)));
        assert!(assembler.insert(at(20), at(25)));
        let report = assembler.report(3);
        assert_eq!(report[0], Some((at(10), at(25))));
        assert_eq!(report[1], Some((at(30), at(40))));
        assert_eq!(report[2], None);
        assert_eq!(assembler.report(1)[1], None);
    }

    #[test]
    fn a_ninth_block_is_refused_and_a_filled_gap_is_not() {
        let mut assembler = Assembler::default();
        for block in 0..8 {
            assert!(assembler.insert(at(10 * block + 1), at(10 * block + 5)));
        }
        assert!(!assembler.insert(at(100), at(110)));
        assert!(assembler.insert(at(5), at(11)));
        assert!(assembler.insert(at(100), at(110)));
        assert_eq!(assembler.advance(at(1)), at(15));
    }

    proptest! {
        /// Against a set of byte numbers.
        #[test]
        fn it_knows_which_bytes_have_arrived(
            segments in prop::collection::vec((0u32..120, 1u32..20), 1..40),
        ) {
            let mut assembler = Assembler::default();
            let mut model = BTreeSet::new();
            let mut next = 0;
            for (start, length) in segments {
                let (start, end) = (start.max(next), start + length);
                if start >= end {
                    continue;
                }
                if assembler.insert(at(start), at(end)) {
                    model.extend(start..end);
                }
                while model.contains(&next) {
                    next += 1;
                }
                let known = next.min(start);
                prop_assert_eq!(assembler.advance(at(known)), at(next.max(known)));
                let blocks: Vec<_> = assembler.blocks.iter().flatten().collect();
                let bytes: u32 = blocks.iter().map(|(start, end)| end.since(*start)).sum();
                prop_assert_eq!(bytes as usize, model.range(next..).count());
            }
        }
    }
}
