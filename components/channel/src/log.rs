//! A lossy ring of log lines.
//!
//! The writer never waits: a line that does not fit is left out and counted, and the next line that fits says how
//! many were lost before it. A line is a run of words: a head, the time, and the text.
//!
//! A writer that starts over begins an empty ring, and does not wait until the reader has noticed: the reader looks at
//! the writer's epoch behind each line and drops a line that is not of the life that it knows. What was not read of the
//! life before is lost, as it is when the reader starts over.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::doorbell::{self, ALWAYS, Doorbell};
use crate::epoch::{self, Epoch};
use crate::memory::{LINE, OwnRegion, OwnWords, PeerRegion, PeerWords};
use crate::{LayoutError, Notify, PeerMisbehaved};

/// The most bytes of a line's text; the rest is cut off.
pub const MAX_TEXT: usize = 1024;

/// Words of the ring, a power of two; a model's is small.
const RING: usize = if cfg!(loom) { 8 } else { 1024 };
const HEAD_WORDS: usize = 2;
const MAX_WORDS: usize = HEAD_WORDS + MAX_TEXT / 8;

/// Bytes of the region of the PD that writes lines (the consumer of the `log` interface).
pub const CONSUMER_SIZE: usize = 8 * (epoch::WORDS + doorbell::WORDS + LINE + RING);
/// Bytes of the region of the PD that reads them (its provider).
pub const PROVIDER_SIZE: usize = 8 * (epoch::WORDS + doorbell::WORDS + LINE);

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed and will not recover by itself.
    Error,
    /// Something is wrong and was dealt with.
    Warning,
    /// What an operator wants to see in order.
    Information,
    /// For developers.
    Debug,
}

impl Level {
    fn of(code: u64) -> Self {
        match code {
            0 => Self::Error,
            1 => Self::Warning,
            2 => Self::Information,
            _ => Self::Debug,
        }
    }
}

/// A line's head: bytes of text in bits 0 to 15, level in 16 to 23, lines lost before it in 32 to 63.
fn head(length: usize, level: Level, lost: u32) -> u64 {
    length as u64 | (level as u64) << 16 | u64::from(lost) << 32
}

/// The writing end.
pub struct Writer {
    epoch: Epoch,
    bell: Doorbell,
    tail: OwnWords,
    ring: OwnWords,
    head: PeerWords,
    written: u64,
    taken: u64,
    lost: u32,
    failed: Option<PeerMisbehaved>,
}

impl Writer {
    /// Joins the regions.
    ///
    /// # Errors
    /// When a region is too small or not aligned.
    pub fn new(
        mut own: OwnRegion,
        mut peers: PeerRegion,
        notify: impl Notify + 'static,
    ) -> Result<Self, LayoutError> {
        Ok(Self {
            epoch: Epoch::new(&mut own, &mut peers)?,
            bell: Doorbell::new(&mut own, &mut peers, Box::new(notify))?,
            tail: own.words(LINE)?,
            ring: own.words(RING)?,
            head: peers.words(LINE)?,
            written: 0,
            taken: 0,
            lost: 0,
            failed: None,
        })
    }

    /// Writes a line and notifies the reader if it sleeps. `time`: nanoseconds since the system's start.
    pub fn write(&mut self, level: Level, time: u64, text: &str) {
        let text = &text.as_bytes()[..text.floor_char_boundary(MAX_TEXT)];
        let words = HEAD_WORDS + text.len().div_ceil(8);
        if self.room() < words {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let lost = core::mem::take(&mut self.lost);
        self.put(0, head(text.len(), level, lost));
        self.put(1, time);
        for (index, chunk) in text.chunks(8).enumerate() {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            self.put(HEAD_WORDS + index, u64::from_le_bytes(padded));
        }
        self.written += words as u64;
        self.tail.publish(0, self.written);
        self.bell.ring(ALWAYS);
    }

    /// Takes note that the reader has faulted, and is stopped: what is written from here on is for its next life, which finds it
    /// when it begins. What was not read is lost.
    pub fn reset_for_next_reader(&mut self) {
        (self.written, self.taken) = (0, 0);
        self.tail.publish(0, 0);
        self.epoch.reset_for_next_peer();
        self.bell.forget();
    }

    /// What the reader did wrong; from then on every line is lost.
    pub fn misbehaved(&self) -> Option<PeerMisbehaved> {
        self.failed
    }

    /// Begins an empty ring for a reader that has started over. One that starts for the first time finds what was
    /// written before. Returns whether there was another reader to follow.
    fn follow(&mut self) -> bool {
        if !self.epoch.has_changed() {
            return false;
        }
        if self.epoch.knows_peer() {
            (self.written, self.taken) = (0, 0);
            self.tail.publish(0, 0);
        }
        self.epoch.join();
        self.bell.forget();
        true
    }

    fn put(&self, offset: usize, word: u64) {
        let at = self.written.wrapping_add(offset as u64) & (RING as u64 - 1);
        self.ring.set(at as usize, word);
    }

    fn room(&mut self) -> usize {
        if self.failed.is_some() {
            return 0;
        }
        self.follow();
        let taken = match self.epoch.is_joined() {
            true => self.head.load(0),
            false => self.taken,
        };
        if taken.wrapping_sub(self.taken) > self.written - self.taken {
            if self.follow() {
                return RING;
            }
            self.failed = Some(PeerMisbehaved::IndexJumped);
            return 0;
        }
        self.taken = taken;
        RING - (self.written - taken) as usize
    }
}

/// The reading end.
pub struct Reader {
    epoch: Epoch,
    bell: Doorbell,
    head: OwnWords,
    tail: PeerWords,
    ring: PeerWords,
    taken: u64,
    failed: Option<PeerMisbehaved>,
}

/// A line as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The writer's time in nanoseconds since the system's start.
    pub time: u64,
    /// Its level.
    pub level: Level,
    /// How many lines were lost before it.
    pub lost: u32,
}

impl Reader {
    /// Joins the regions.
    ///
    /// # Errors
    /// When a region is too small or not aligned.
    pub fn new(mut own: OwnRegion, mut peers: PeerRegion) -> Result<Self, LayoutError> {
        // The writer waits for nothing, so the reader never rings.
        let silent = Box::new(|| ());
        Ok(Self {
            epoch: Epoch::new(&mut own, &mut peers)?,
            bell: Doorbell::new(&mut own, &mut peers, silent)?,
            head: own.words(LINE)?,
            tail: peers.words(LINE)?,
            ring: peers.words(RING)?,
            taken: 0,
            failed: None,
        })
    }

    /// Reads the next line; its text replaces what `text` holds. Bytes that are not UTF-8 become U+FFFD, all
    /// others are as the writer sent them: escape them before they reach a terminal.
    ///
    /// # Errors
    /// What the writer did wrong, now or before.
    pub fn next(&mut self, text: &mut String) -> Result<Option<Line>, PeerMisbehaved> {
        self.failed.map_or(Ok(()), Err)?;
        self.bell.wake();
        if self.epoch.has_changed() {
            self.follow();
        }
        if !self.epoch.is_first_or_joined() {
            return Ok(None);
        }
        let line = self.try_next(text);
        if self.epoch.has_changed() {
            // What was read may be of a life that was not joined, or zeros. `sleep` says that there is more.
            return Ok(None);
        }
        line.inspect_err(|misbehaved| self.failed = Some(*misbehaved))
    }

    /// Begins with the writer's first line, or with that of its new life.
    fn follow(&mut self) {
        self.taken = 0;
        self.head.publish(0, 0);
        self.epoch.join();
    }

    fn try_next(&mut self, text: &mut String) -> Result<Option<Line>, PeerMisbehaved> {
        let waiting = self.tail.load(0).wrapping_sub(self.taken);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > RING as u64 {
            return Err(PeerMisbehaved::IndexJumped);
        }
        let head = self.word(0);
        let length = (head & 0xffff) as usize;
        let words = HEAD_WORDS + length.div_ceil(8);
        if words > MAX_WORDS || words as u64 > waiting {
            return Err(PeerMisbehaved::TooLong);
        }
        let line = Line {
            time: self.word(1),
            level: Level::of(head >> 16 & 0xff),
            lost: (head >> 32) as u32,
        };
        let mut bytes: Vec<u8> = (HEAD_WORDS..words)
            .flat_map(|offset| self.word(offset).to_le_bytes())
            .collect();
        bytes.truncate(length);
        text.clear();
        text.push_str(&String::from_utf8_lossy(&bytes));
        self.taken = self.taken.wrapping_add(words as u64);
        self.head.publish(0, self.taken);
        Ok(Some(line))
    }

    /// Sets the sleep flag and looks once more. `true`: no line waits, return to the receive point.
    pub fn sleep(&mut self) -> bool {
        if self.failed.is_some() {
            return true;
        }
        self.bell.lie_down(0);
        let written = self.epoch.is_first_or_joined() && self.tail.load(0) != self.taken;
        let work = written || self.epoch.has_changed();
        if work {
            self.bell.wake();
        }
        !work
    }

    fn word(&self, offset: usize) -> u64 {
        let at = self.taken.wrapping_add(offset as u64) & (RING as u64 - 1);
        self.ring.load(at as usize)
    }
}
