//! Continuous health tests of a source of noise (NIST SP 800-90B, section 4.4).
//!
//! The sources here claim 8 bits of entropy a byte; the cut-offs believe them half of that. A source of
//! 4 bits a byte fails a test without cause with a chance below 2^-40 a byte or window.

use core::fmt;

/// Repetition count test (section 4.4.1): 1 + 40 / 4 equal bytes in a row are a failure.
const REPETITIONS: u32 = 11;

/// Adaptive proportion test (section 4.4.2): window for sources of more than two values.
const WINDOW: u32 = 512;

/// Occurrences of a window's first byte in it that are a failure: 1 + critbinom(512, 2^-4, 1 - 2^-40).
const OCCURRENCES: u32 = 78;

/// A source gives noise as no healthy source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthFailure {
    /// The same byte came too many times in a row.
    Repetition,
    /// One byte made up too much of a window.
    Proportion,
}

impl fmt::Display for HealthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repetition => "a source of noise repeats itself",
            Self::Proportion => "a source of noise prefers one value",
        })
    }
}

impl core::error::Error for HealthFailure {}

/// Both tests of one source, byte by byte across calls.
#[derive(Clone, Debug, Default)]
pub struct HealthTests {
    last: Option<u8>,
    repetitions: u32,
    /// The window's first byte, how many bytes of the window came, and how many were that one.
    first: u8,
    seen: u32,
    occurrences: u32,
}

impl HealthTests {
    /// Tests all of `noise`.
    ///
    /// # Errors
    /// [`HealthFailure`]; then none of `noise` may be used.
    pub fn check(&mut self, noise: &[u8]) -> Result<(), HealthFailure> {
        noise.iter().try_for_each(|&byte| {
            self.check_repetition(byte)?;
            self.check_proportion(byte)
        })
    }

    fn check_repetition(&mut self, byte: u8) -> Result<(), HealthFailure> {
        self.repetitions = if self.last == Some(byte) {
            self.repetitions + 1
        } else {
            1
        };
        self.last = Some(byte);
        if self.repetitions >= REPETITIONS {
            Err(HealthFailure::Repetition)
        } else {
            Ok(())
        }
    }

    fn check_proportion(&mut self, byte: u8) -> Result<(), HealthFailure> {
        if self.seen == 0 {
            self.first = byte;
            self.occurrences = 0;
        }
        self.occurrences += u32::from(byte == self.first);
        self.seen = (self.seen + 1) % WINDOW;
        if self.occurrences >= OCCURRENCES {
            Err(HealthFailure::Proportion)
        } else {
            Ok(())
        }
    }
}
