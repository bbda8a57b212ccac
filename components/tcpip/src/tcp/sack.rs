//! The scoreboard: bytes that the peer has received out of order, as its SACK options say (RFC 6675, sections 3 and 4).

use super::SequenceNumber;
use super::header::Block;

/// Blocks that are remembered; what a peer reports beyond is sent again although it has arrived.
const BLOCKS: usize = 16;
/// A byte is considered lost after three segments or blocks beyond it (DupThresh).
pub(super) const DUPLICATE_THRESHOLD: u32 = 3;

/// The scoreboard: blocks that neither overlap nor touch, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scoreboard {
    blocks: [Block; BLOCKS],
    count: usize,
}

/// Bytes that the peer has not reported, between its acknowledgement and a block, or between two blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub start: SequenceNumber,
    pub end: SequenceNumber,
    /// Enough was received beyond it (`IsLost`).
    pub lost: bool,
}

impl Scoreboard {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Forgets what is acknowledged.
    pub fn acknowledge(&mut self, una: SequenceNumber) {
        let mut kept = 0;
        for index in 0..self.count {
            let (start, end) = self.blocks[index];
            if end.is_after(una) {
                self.blocks[kept] = (start.latest(una), end);
                kept += 1;
            }
        }
        self.count = kept;
    }

    /// Adds a block that lies in what is under way. Returns whether it says something new.
    pub fn insert(&mut self, (start, end): Block) -> bool {
        let known = self
            .blocks()
            .iter()
            .any(|block| !start.is_before(block.0) && !end.is_after(block.1));
        if known {
            return false;
        }
        let (mut start, mut end) = (start, end);
        let mut kept = 0;
        for index in 0..self.count {
            let block = self.blocks[index];
            if block.0.is_after(end) || block.1.is_before(start) {
                self.blocks[kept] = block;
                kept += 1;
            } else {
                start = start.earliest(block.0);
                end = end.latest(block.1);
            }
        }
        self.count = kept;
        if self.count == BLOCKS {
            return false;
        }
        let place = self
            .blocks()
            .iter()
            .position(|block| block.0.is_after(start))
            .unwrap_or(self.count);
        self.blocks.copy_within(place..self.count, place + 1);
        self.blocks[place] = (start, end);
        self.count += 1;
        true
    }

    /// Returns how many reported bytes lie before `end`.
    pub fn bytes_before(&self, limit: SequenceNumber) -> u32 {
        self.blocks()
            .iter()
            .filter(|block| block.0.is_before(limit))
            .map(|block| block.1.earliest(limit).since(block.0))
            .sum()
    }

    /// Returns the end of the highest block.
    pub fn highest(&self) -> Option<SequenceNumber> {
        self.blocks().last().map(|block| block.1)
    }

    /// If a byte is reported, returns the end of its block; else where the next block begins, if there is one.
    pub fn look(&self, at: SequenceNumber) -> Result<Option<SequenceNumber>, SequenceNumber> {
        for (start, end) in self.blocks() {
            if at.is_before(*start) {
                return Ok(Some(*start));
            }
            if at.is_before(*end) {
                return Err(*end);
            }
        }
        Ok(None)
    }

    /// Returns the holes from `una` up to the highest block, in order.
    pub fn holes(&self, una: SequenceNumber, mss: u32) -> impl Iterator<Item = Hole> + '_ {
        let mut above = self.bytes();
        let mut start = una;
        self.blocks().iter().enumerate().map(move |(index, block)| {
            let lost = (self.count - index) as u32 >= DUPLICATE_THRESHOLD
                || above > (DUPLICATE_THRESHOLD - 1) * mss;
            let hole = Hole {
                start,
                end: block.0,
                lost,
            };
            above -= block.1.since(block.0);
            start = block.1;
            hole
        })
    }

    /// Whether the first byte that is not acknowledged is taken for lost.
    pub fn first_is_lost(&self, una: SequenceNumber, mss: u32) -> bool {
        self.holes(una, mss).next().is_some_and(|hole| hole.lost)
    }

    fn bytes(&self) -> u32 {
        self.blocks()
            .iter()
            .map(|block| block.1.since(block.0))
            .sum()
    }

    fn blocks(&self) -> &[Block] {
        &self.blocks[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(number: u32) -> SequenceNumber {
        SequenceNumber(number.wrapping_add(u32::MAX - 500))
    }

    #[test]
    fn a_hole_is_lost_once_enough_arrived_beyond_it() {
        let mut board = Scoreboard::default();
        board.insert((at(100), at(200)));
        board.insert((at(300), at(400)));
        let lost = |board: &Scoreboard| -> Vec<bool> {
            board.holes(at(0), 100).map(|hole| hole.lost).collect()
        };
        assert_eq!(lost(&board), [false, false]);
        board.insert((at(500), at(501)));
        assert_eq!(lost(&board), [true, false, false]);
        board.insert((at(400), at(490)));
        assert_eq!(lost(&board), [true, false, false]);
        board.insert((at(490), at(500)));
        assert_eq!(lost(&board), [true, true]);
        assert!(board.first_is_lost(at(0), 100));
        board.acknowledge(at(350));
        assert_eq!(board.blocks(), [(at(350), at(501))]);
    }

    #[test]
    fn known_blocks_say_nothing_new_and_too_many_are_ignored() {
        let mut board = Scoreboard::default();
        assert!(board.insert((at(100), at(200))));
        assert!(!board.insert((at(120), at(200))));
        for block in 1..16 {
            assert!(board.insert((at(100 + 20 * block + 100), at(105 + 20 * block + 100))));
        }
        assert!(!board.insert((at(1000), at(1010))));
        assert!(board.insert((at(200), at(220))));
        assert_eq!(board.count, 15);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_bytes(
            blocks in prop::collection::vec((1u32..300, 1u32..40), 1..12),
            una in 0u32..100,
        ) {
            let mut board = Scoreboard::default();
            let mut model = BTreeSet::new();
            for (start, length) in blocks {
                let before = model.len();
                model.extend(start..start + length);
                let new = board.insert((at(start), at(start + length)));
                prop_assert_eq!(new, model.len() > before);
            }
            board.acknowledge(at(una));
            model = model.split_off(&una);
            prop_assert_eq!(board.bytes() as usize, model.len());
            for limit in 0..340 {
                prop_assert_eq!(board.bytes_before(at(limit)) as usize, model.range(..limit).count());
            }
            for byte in una..340 {
                prop_assert_eq!(board.look(at(byte)).is_err(), model.contains(&byte));
            }
            let holes: u32 = board.holes(at(una), 100).map(|hole| hole.end.since(hole.start)).sum();
            let highest = board.highest().unwrap_or(at(una));
            prop_assert_eq!(holes + board.bytes(), highest.since(at(una)));
        }
    }
}
