//! The sleep flags of a channel's two sides, and when one notifies the other.
//!
//! Each side has one word: bit 0 says that it is awake, bits 1 to 7 which further kinds of news wake it,
//! the rest counts its sleeps. A side notifies once a sleep at most. Zeroed memory is a side asleep, so that what is
//! published before the peer has started waits as a notification for it.

use alloc::boxed::Box;

use crate::memory::{LINE, OwnRegion, OwnWords, PeerRegion, PeerWords, store_load_fence};
use crate::{LayoutError, Notify};

/// Words in each region.
pub(crate) const WORDS: usize = LINE;

const AWAKE: u64 = 1;
const KINDS: u64 = 0xfe;
const SLEEP: u64 = 0x100;

/// News that wakes every sleeping peer.
pub(crate) const ALWAYS: u64 = 1;

pub(crate) struct Doorbell {
    own: OwnWords,
    peer: PeerWords,
    state: u64,
    /// The peer's word when it was notified last.
    rung: Option<u64>,
    notify: Box<dyn Notify>,
}

impl Doorbell {
    pub(crate) fn new(
        own: &mut OwnRegion,
        peer: &mut PeerRegion,
        notify: Box<dyn Notify>,
    ) -> Result<Self, LayoutError> {
        Ok(Self {
            own: own.words(WORDS)?,
            peer: peer.words(WORDS)?,
            state: 0,
            rung: None,
            notify,
        })
    }

    /// Takes the peer for another one (module `epoch`): that it was rung already means nothing.
    pub(crate) fn forget(&mut self) {
        self.rung = None;
    }

    /// Takes the peer for another one, and notifies it whatever it says of itself.
    pub(crate) fn ring_anyway(&mut self) {
        self.forget();
        self.notify.notify();
    }

    /// Tells the peer that this side is awake. A late view of it costs a notification and no more.
    pub(crate) fn wake(&mut self) {
        if self.state & AWAKE == 0 {
            self.state = self.state & !KINDS | AWAKE;
            self.own.set(0, self.state);
        }
    }

    /// Sets the sleep flag. The caller then looks for work once more, and wakes if there is some.
    ///
    /// `kinds`: which further news (bits 1 to 7) wakes this side.
    pub(crate) fn lie_down(&mut self, kinds: u64) {
        let sleep = self.state.wrapping_add(SLEEP) & !(AWAKE | KINDS);
        self.state = sleep | kinds & KINDS;
        self.own.publish(0, self.state);
        store_load_fence();
    }

    /// Notifies the peer if it sleeps and news of these `kinds` wakes it. The news is published already.
    pub(crate) fn ring(&mut self, kinds: u64) {
        store_load_fence();
        let peer = self.peer.load(0);
        let wanted = kinds & (ALWAYS | peer & KINDS) != 0;
        if peer & AWAKE == 0 && wanted && self.rung != Some(peer) {
            self.rung = Some(peer);
            self.notify.notify();
        }
    }
}
