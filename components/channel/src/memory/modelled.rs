//! Regions whose words loom watches. Bytes are plain memory that loom does not see.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use std::vec::Vec;

use crate::LayoutError;

pub(crate) fn store_load_fence() {
    fence(Ordering::SeqCst);
}

/// The words that both sides of a modelled region share, made when one of them carves them first.
type Shared = std::sync::Arc<std::sync::Mutex<Vec<Arc<Vec<AtomicU64>>>>>;

/// Memory that only this side writes.
#[derive(Debug)]
pub struct OwnRegion {
    shared: Shared,
    carved: usize,
}

/// Memory that the peer writes.
#[derive(Debug)]
pub struct PeerRegion {
    shared: Shared,
    carved: usize,
}

/// Both views of one modelled region.
pub fn pair() -> (OwnRegion, PeerRegion) {
    let shared = Shared::default();
    let peers = shared.clone();
    (
        OwnRegion { shared, carved: 0 },
        PeerRegion {
            shared: peers,
            carved: 0,
        },
    )
}

fn carve(shared: &Shared, carved: &mut usize, count: usize) -> Arc<Vec<AtomicU64>> {
    let mut pieces = shared.lock().unwrap();
    if pieces.len() == *carved {
        pieces.push(Arc::new((0..count).map(|_| AtomicU64::new(0)).collect()));
    }
    let piece = pieces[*carved].clone();
    *carved += 1;
    assert_eq!(piece.len(), count, "both sides carve alike");
    piece
}

impl OwnRegion {
    /// Carves the next `count` words.
    pub fn words(&mut self, count: usize) -> Result<OwnWords, LayoutError> {
        Ok(OwnWords(carve(&self.shared, &mut self.carved, count)))
    }

    /// Leaves words unused, and so does not make them.
    pub fn skip(&mut self, _count: usize) -> Result<(), LayoutError> {
        Ok(())
    }

    /// Carves the next `size` bytes.
    pub fn bytes(&mut self, size: usize) -> Result<OwnBytes, LayoutError> {
        Ok(OwnBytes(std::vec![0; size]))
    }
}

impl PeerRegion {
    /// Carves the next `count` words.
    pub fn words(&mut self, count: usize) -> Result<PeerWords, LayoutError> {
        Ok(PeerWords(carve(&self.shared, &mut self.carved, count)))
    }

    /// Leaves words unused, and so does not make them.
    pub fn skip(&mut self, _count: usize) -> Result<(), LayoutError> {
        Ok(())
    }

    /// Carves the next `size` bytes.
    pub fn bytes(&mut self, size: usize) -> Result<PeerBytes, LayoutError> {
        Ok(PeerBytes(std::vec![0; size]))
    }
}

/// Words that this side writes.
#[derive(Debug)]
pub struct OwnWords(Arc<Vec<AtomicU64>>);

impl OwnWords {
    /// Stores a word that some later publication makes visible.
    pub fn set(&self, index: usize, value: u64) {
        self.0[index].store(value, Ordering::Relaxed);
    }

    /// Stores a word with everything before it.
    pub fn publish(&self, index: usize, value: u64) {
        self.0[index].store(value, Ordering::Release);
    }
}

/// Words that the peer writes.
#[derive(Debug)]
pub struct PeerWords(Arc<Vec<AtomicU64>>);

impl PeerWords {
    /// Loads a word.
    pub fn load(&self, index: usize) -> u64 {
        self.0[index].load(Ordering::Acquire)
    }
}

/// Bytes of which only the count matters to a model.
#[derive(Debug)]
pub struct OwnBytes(Vec<u8>);

impl OwnBytes {
    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The bytes from `start`.
    pub fn slice_mut(&mut self, start: usize, length: usize) -> &mut [u8] {
        let start = start.min(self.0.len());
        let length = length.min(self.0.len() - start);
        &mut self.0[start..start + length]
    }

    /// All bytes, given away for ever.
    pub fn into_slice(self) -> &'static mut [u8] {
        self.0.leak()
    }

    /// Divides the bytes.
    pub fn split(mut self, at: usize) -> (Self, Self) {
        let back = self.0.split_off(at.min(self.0.len()));
        (self, Self(back))
    }
}

/// Bytes of which only the count matters to a model: they are always zero.
#[derive(Debug)]
pub struct PeerBytes(Vec<u8>);

impl PeerBytes {
    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Copies bytes out.
    pub fn copy_to(&self, start: usize, target: &mut [u8]) -> usize {
        let length = target.len().min(self.0.len().saturating_sub(start));
        target[..length].copy_from_slice(&self.0[start..start + length]);
        length
    }

    /// The bytes from `start`.
    pub fn view(&self, start: usize, length: usize) -> &[u8] {
        let start = start.min(self.0.len());
        &self.0[start..start + length.min(self.0.len() - start)]
    }

    /// All bytes.
    pub fn view_mut(&self) -> &'static mut [u8] {
        self.0.clone().leak()
    }

    /// Divides the bytes.
    pub fn split(mut self, at: usize) -> (Self, Self) {
        let back = self.0.split_off(at.min(self.0.len()));
        (self, Self(back))
    }
}
