//! Random bytes for protection domains (PDs), with the API of getrandom 0.2.
//!
//! The bytes come from a function that the PD defines, `selkie_fill_random`, which asks the entropy PD. A program
//! that uses this crate and defines no such function does not link: no PD runs on made-up randomness.
#![no_std]

use core::fmt;
use core::num::NonZeroU32;

unsafe extern "Rust" {
    /// Fills the buffer; false when the entropy PD did not answer, or said that it is not seeded.
    fn selkie_fill_random(buffer: &mut [u8]) -> bool;
}

/// Fills `dest` with random bytes.
///
/// # Errors
/// [`Error::UNAVAILABLE`] when the entropy PD has none; `dest` is to be thrown away then.
pub fn getrandom(dest: &mut [u8]) -> Result<(), Error> {
    // SAFETY: the PD defines the function with this signature.
    if unsafe { selkie_fill_random(dest) } {
        Ok(())
    } else {
        Err(Error::UNAVAILABLE)
    }
}

/// Why there are no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(NonZeroU32);

impl Error {
    /// The entropy PD gave none.
    pub const UNAVAILABLE: Self = Self(NonZeroU32::MIN);

    /// A number for the error.
    pub const fn code(self) -> NonZeroU32 {
        self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entropy protection domain gave no random bytes")
    }
}

impl core::error::Error for Error {}
