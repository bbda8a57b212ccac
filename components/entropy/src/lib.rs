//! Random numbers for all protection domains.
//!
//! Bytes of noise sources pass health tests ([`HealthTests`], NIST SP 800-90B section 4.4) and are extracted
//! with SHA-256 into the key of a generator ([`Generator`]: ChaCha20 with fast key erasure, so what was
//! given out cannot be computed from a later state). [`Entropy`] ties both together and says when new
//! noise is due. It gives nothing before every source that it was made with has been heard and found healthy.
//!
//! ```
//! use entropy::{Entropy, STARTUP};
//!
//! let mut entropy = Entropy::new(1);
//! let mut bytes = [0; 16];
//! assert!(entropy.fill(&mut bytes).is_err());
//! # let noise: Vec<u8> = (0..STARTUP as u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8).collect();
//! entropy.absorb(0, &noise).unwrap();
//! assert!(entropy.fill(&mut bytes).is_ok());
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod generator;
mod health;

pub use generator::Generator;
pub use health::{HealthFailure, HealthTests};

use core::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a source that must pass its health tests before any is used (SP 800-90B, section 4.3: at least 1024).
pub const STARTUP: usize = 1024;

/// Bytes of a source for a reseed: with the 4 bits a byte that the health tests assume, 256 bits are in 64
/// bytes; twice as many leave a margin.
pub const RESEED: usize = 128;

/// Bytes given out after which new noise is due: it bounds what a stolen state can predict.
const RESEED_AFTER: u64 = 1 << 20;

/// The most sources.
pub const MAX_SOURCES: usize = 4;

/// Nothing can be given out: a source has not been heard yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseeded;

impl fmt::Display for Unseeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the generator has not been seeded")
    }
}

impl core::error::Error for Unseeded {}

/// A generator fed by several sources of noise.
pub struct Entropy {
    sources: [Source; MAX_SOURCES],
    count: usize,
    pool: Pool,
    generator: Option<Generator>,
    /// Bytes given out since the last seed.
    given: u64,
    /// Whether new noise was asked for since the last seed.
    stale: bool,
}

#[derive(Default)]
struct Source {
    tests: HealthTests,
    /// Bytes that passed since the source was added or failed, up to [`STARTUP`].
    heard: usize,
    /// Bytes in the pool since the last seed, up to [`RESEED`].
    pooled: usize,
}

/// Noise that waits to be made into a key.
struct Pool(Sha256);

impl Entropy {
    /// An unseeded generator with so many sources, numbered from 0; at least 1, at most [`MAX_SOURCES`].
    pub fn new(sources: usize) -> Self {
        Self {
            sources: core::array::from_fn(|_| Source::default()),
            count: sources.clamp(1, MAX_SOURCES),
            pool: Pool::new(),
            generator: None,
            given: 0,
            stale: false,
        }
    }

    /// Takes noise of a source. Once every source that works has given enough, the generator is seeded: at first
    /// with [`STARTUP`] bytes of each, later with [`RESEED`].
    ///
    /// Bytes of a source that does not exist are ignored.
    ///
    /// # Errors
    /// [`HealthFailure`]: the source's bytes are not used, nor those that it gave since the last seed alone.
    /// It has to pass the start-up tests anew; before the first seed nothing is given out until it does.
    pub fn absorb(&mut self, source: usize, noise: &[u8]) -> Result<(), HealthFailure> {
        let Some(state) = self.sources[..self.count].get_mut(source) else {
            return Ok(());
        };
        if let Err(failure) = state.tests.check(noise) {
            *state = Source::default();
            return Err(failure);
        }
        self.pool.add(source, noise);
        state.heard = (state.heard + noise.len()).min(STARTUP);
        state.pooled = (state.pooled + noise.len()).min(STARTUP);
        self.seed_if_enough();
        Ok(())
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`Unseeded`]; then `bytes` is unchanged.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Unseeded> {
        self.generator.as_mut().ok_or(Unseeded)?.fill(bytes);
        self.given = self.given.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Whether bytes can be given out.
    pub fn is_seeded(&self) -> bool {
        self.generator.is_some()
    }

    /// Whether noise is wanted: before the first seed, when much has been given out since the last, and after
    /// [`refresh`](Self::refresh).
    pub fn wants_noise(&self) -> bool {
        !self.is_seeded() || self.given >= RESEED_AFTER || self.stale
    }

    /// Asks for new noise, for instance because the last is long ago.
    pub fn refresh(&mut self) {
        self.stale = true;
    }

    /// Takes note that a source gives nothing any more: others do not wait for it. Before the first seed that
    /// means that there will be none.
    pub fn lose(&mut self, source: usize) {
        if let Some(state) = self.sources[..self.count].get_mut(source) {
            *state = Source::default();
        }
    }

    /// How many bytes of this source are still wanted for the next seed; 0 if there are enough.
    pub fn wanted(&self, source: usize) -> usize {
        let state = self.sources[..self.count].get(source);
        state.map_or(0, |state| state.goal().saturating_sub(state.pooled))
    }

    fn seed_if_enough(&mut self) {
        let sources = &mut self.sources[..self.count];
        // A source that fails after the first seed does not keep the others from reseeding: that could only
        // make the generator worse.
        let enough = match self.generator {
            None => sources.iter().all(|source| source.heard >= STARTUP),
            Some(_) => {
                sources.iter().any(Source::is_enough)
                    && sources
                        .iter()
                        .all(|source| source.is_enough() || source.heard < STARTUP)
            }
        };
        if !enough {
            return;
        }
        sources.iter_mut().for_each(|source| source.pooled = 0);
        let key = self.pool.extract();
        match &mut self.generator {
            Some(generator) => generator.mix(&key),
            None => self.generator = Some(Generator::new(&key)),
        }
        self.given = 0;
        self.stale = false;
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entropy")
            .field("sources", &self.count)
            .field("seeded", &self.is_seeded())
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

impl Source {
    fn goal(&self) -> usize {
        if self.heard < STARTUP {
            STARTUP
        } else {
            RESEED
        }
    }

    fn is_enough(&self) -> bool {
        self.heard >= STARTUP && self.pooled >= RESEED
    }
}

impl Pool {
    fn new() -> Self {
        Self(Sha256::new_with_prefix(b"selkie entropy pool 1"))
    }

    /// Adds noise with its source and length, so that no two sequences of noise give the same hash input.
    fn add(&mut self, source: usize, noise: &[u8]) {
        self.0.update([source as u8]);
        self.0.update((noise.len() as u64).to_le_bytes());
        self.0.update(noise);
    }

    /// The hash of all noise since the last call.
    fn extract(&mut self) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let full = core::mem::replace(self, Self::new());
        full.0.finalize_into((&mut *key).into());
        key
    }
}

#[cfg(test)]
mod tests;
