//! Sequence numbers: arithmetic modulo 2³² (RFC 9293, section 3.4).

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number. Two of them can be compared while they are less than 2³¹ apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SequenceNumber(pub u32);

impl SequenceNumber {
    /// Returns by how much this number is ahead of `earlier`, modulo 2³².
    pub fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether this number comes before `other`.
    pub fn is_before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether this number comes after `other`.
    pub fn is_after(self, other: Self) -> bool {
        other.is_before(self)
    }

    /// Returns the later one of two numbers.
    pub fn latest(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    /// Returns the earlier one of two numbers.
    pub fn earliest(self, other: Self) -> Self {
        if self.is_before(other) { self } else { other }
    }

    /// Whether this number lies in the range from `start` on with `length` numbers.
    pub fn is_within(self, start: Self, length: u32) -> bool {
        self.since(start) < length
    }
}

impl Add<u32> for SequenceNumber {
    type Output = Self;

    fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for SequenceNumber {
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

impl Sub<u32> for SequenceNumber {
    type Output = Self;

    fn sub(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_across_the_wrap() {
        let before = SequenceNumber(u32::MAX - 1);
        let after = before + 5;
        assert_eq!(after, SequenceNumber(3));
        assert!(before.is_before(after) && after.is_after(before));
        assert!(!before.is_before(before) && !before.is_after(before));
        assert_eq!(after.since(before), 5);
        assert_eq!(after - 5, before);
        assert_eq!(before.latest(after), after);
        assert_eq!(after.earliest(before), before);
        assert!(after.is_within(before, 6) && !after.is_within(before, 5));
    }
}
