//! Bitmaps that say which slots have news, so that a wake-up touches no others.
//!
//! Neither side can clear a bit in the other's region, so a bit is *flipped* for news, and the reader copies
//! what it has seen to its own region. While a flip has not been seen, further news needs none: the reader
//! will look at the slot after it says that it has seen. Two fences make that true: the writer's between
//! the news and its look at `seen`, the reader's between `seen` and its look at the news.

use alloc::boxed::Box;
use alloc::vec;

use crate::LayoutError;
use crate::memory::{LINE, OwnRegion, OwnWords, PeerRegion, PeerWords, store_load_fence};

const BITS: usize = u64::BITS as usize;

/// Words in each region for `slots` slots.
pub(crate) const fn words(slots: usize) -> usize {
    2 * map_words(slots)
}

const fn map_words(slots: usize) -> usize {
    slots.div_ceil(BITS).next_multiple_of(LINE)
}

pub(crate) struct Ready {
    own: OwnWords,
    own_seen: OwnWords,
    peers: PeerWords,
    peers_seen: PeerWords,
    maps: Box<[Map]>,
    last: u64,
}

/// The private state of 64 slots.
#[derive(Clone, Copy, Default)]
struct Map {
    /// What this side has flipped.
    flipped: u64,
    /// What this side has seen of the peer.
    seen: u64,
    /// Slots with news for the peer.
    news: u64,
    /// Slots with news from the peer, or that this side has to look at again.
    waiting: u64,
}

impl Ready {
    pub(crate) fn new(
        slots: usize,
        own: &mut OwnRegion,
        peer: &mut PeerRegion,
    ) -> Result<Self, LayoutError> {
        let count = map_words(slots);
        let maps = slots.div_ceil(BITS);
        Ok(Self {
            own: own.words(count)?,
            own_seen: own.words(count)?,
            peers: peer.words(count)?,
            peers_seen: peer.words(count)?,
            maps: vec![Map::default(); maps].into(),
            last: match slots % BITS {
                0 => u64::MAX,
                rest => (1 << rest) - 1,
            },
        })
    }

    /// Begins anew, with a peer that does so too.
    pub(crate) fn reset(&mut self) {
        for (index, map) in self.maps.iter_mut().enumerate() {
            *map = Map::default();
            self.own.publish(index, 0);
            self.own_seen.publish(index, 0);
        }
    }

    /// Notes that the slot has news for the peer.
    pub(crate) fn mark(&mut self, slot: usize) {
        self.maps[slot / BITS].news |= 1 << (slot % BITS);
    }

    /// Makes this side look at the slot again, as if the peer had news.
    pub(crate) fn again(&mut self, slot: usize) {
        self.maps[slot / BITS].waiting |= 1 << (slot % BITS);
    }

    /// Flips the bits of all slots with news. The caller has put a fence behind the news.
    ///
    /// Says whether the peer has to be notified.
    pub(crate) fn publish(&mut self) -> bool {
        let mut any = false;
        for (index, map) in self.maps.iter_mut().enumerate() {
            if map.news == 0 {
                continue;
            }
            let unseen = map.flipped ^ self.peers_seen.load(index);
            let flips = map.news & !unseen;
            map.news = 0;
            if flips != 0 {
                map.flipped ^= flips;
                self.own.publish(index, map.flipped);
                any = true;
            }
        }
        any
    }

    /// Takes over which slots the peer has news for.
    pub(crate) fn collect(&mut self) {
        let mut any = false;
        for (index, map) in self.maps.iter_mut().enumerate() {
            let peers = self.peers.load(index);
            if peers != map.seen {
                map.waiting |= peers ^ map.seen;
                map.seen = peers;
                self.own_seen.publish(index, peers);
                any = true;
            }
        }
        if let Some(map) = self.maps.last_mut() {
            map.waiting &= self.last;
        }
        if any {
            store_load_fence();
        }
    }

    /// Whether the peer has news that has not been collected, or collected news waits.
    pub(crate) fn any(&self) -> bool {
        let peers = &self.peers;
        let mut maps = self.maps.iter().enumerate();
        maps.any(|(index, map)| map.waiting != 0 || peers.load(index) != map.seen)
    }

    /// The first waiting slot, which then waits no more.
    pub(crate) fn take(&mut self) -> Option<usize> {
        let (index, map) = self
            .maps
            .iter_mut()
            .enumerate()
            .find(|(_, map)| map.waiting != 0)?;
        let bit = map.waiting.trailing_zeros() as usize;
        map.waiting &= map.waiting - 1;
        Some(index * BITS + bit)
    }
}
