//! A round of work of a port: which slots have news, what is published, and when it may sleep.

use super::layout::{MESSAGE, REQUESTS, Word};
use super::port::{Port, news};
use crate::PeerMisbehaved;
use crate::doorbell::ALWAYS;
use crate::memory::store_load_fence;
use crate::read::Read;

impl Port {
    pub(super) fn check(&self) -> Result<(), PeerMisbehaved> {
        self.failed.map_or(Ok(()), Err)
    }

    /// The next slot and one of its news, of those that there were when the round began. `look` gives a slot's
    /// news, as the role sees it.
    pub(super) fn next_news(
        &mut self,
        mut look: impl FnMut(&mut Self, usize) -> Result<u32, PeerMisbehaved>,
    ) -> Result<Option<(usize, u32)>, PeerMisbehaved> {
        self.check()?;
        self.bell.wake();
        if !self.collected {
            self.collected = true;
            if !self.detect_restart() && self.epoch.is_joined() {
                self.ready.collect();
            }
        }
        loop {
            if let Some(found) = self.next_of_current() {
                return Ok(Some(found));
            }
            if let Some(found) = self.next_of_session() {
                return Ok(Some(found));
            }
            let Some(slot) = self.ready.take() else {
                return Ok(None);
            };
            let looked = look(self, slot);
            match self.judge(looked)? {
                Read::Value(news) => self.current = Some((slot, news)),
                // The ends of the connections come next.
                Read::Restarted => {}
            }
        }
    }

    fn next_of_current(&mut self) -> Option<(usize, u32)> {
        let (slot, news) = self.current.take()?;
        // A connection that was released meanwhile has no more news, but that the peer released it.
        let news = match self.slots[slot].live {
            true => news,
            false => news & news::RELEASED,
        };
        let first = news & news.wrapping_neg();
        let rest = news & !first;
        if rest != 0 {
            self.current = Some((slot, rest));
        }
        (first != 0).then_some((slot, first))
    }

    /// The next message from the peer, at most as many a round as may be outstanding.
    pub(super) fn next_message(&mut self) -> Result<Read<Option<[u64; MESSAGE]>>, PeerMisbehaved> {
        if self.messages == REQUESTS || self.gone || !self.epoch.is_joined() {
            return Ok(Read::Value(None));
        }
        self.messages += 1;
        match self.inbox.pop() {
            // The message may be of an incarnation that was not joined, or zeros.
            Ok(Some(_)) if self.detect_restart() => Ok(Read::Restarted),
            popped => self.judge(popped),
        }
    }

    /// Posts a message; `false` if the ring is full or the peer has failed.
    pub(super) fn post(&mut self, message: [u64; MESSAGE]) -> bool {
        if !self.is_joined() {
            return false;
        }
        let pushed = self.outbox.push(message);
        let posted = self.usable(pushed) == Some(true);
        self.posted |= posted;
        posted
    }

    pub(super) fn flush(&mut self) {
        if self.failed.is_some() || self.gone || !self.epoch.is_joined() {
            return;
        }
        // What was published before is visible before anything below is looked at.
        store_load_fence();
        if !self.touched.is_empty() {
            while let Some(slot) = self.touched.pop() {
                let looked = self.look_at_wishes(slot.into());
                if self.usable(looked).is_none() {
                    return;
                }
            }
            // A look may have published a moved ring.
            store_load_fence();
        }
        let flipped = self.ready.publish();
        if flipped | core::mem::take(&mut self.posted) {
            self.bell.ring(ALWAYS);
        }
    }

    /// Whether the peer waits for what was freed, and whether what this side waits for was freed already.
    fn look_at_wishes(&mut self, slot: usize) -> Result<(), PeerMisbehaved> {
        let state = &mut self.slots[slot];
        state.touched = false;
        if !state.live {
            return Ok(());
        }
        if state
            .incoming
            .passes(self.peers.load(slot, Word::WakeAt) as u32)
        {
            self.ready.mark(slot);
        }
        if !state.outgoing.waits() {
            return Ok(());
        }
        self.update_outgoing(slot)?;
        if self.slots[slot].outgoing.is_granted() {
            self.ready.again(slot);
        }
        Ok(())
    }

    pub(super) fn sleep(&mut self) -> bool {
        self.flush();
        self.collected = false;
        self.messages = 0;
        if self.failed.is_some() {
            return true;
        }
        // The ready bits of a peer that has not joined are of a session before.
        let joined = !self.gone && self.epoch.is_joined();
        if self.current.is_some() || self.ending.is_some() || joined && self.ready.any() {
            return false;
        }
        self.bell.lie_down(0);
        let work = self.has_work();
        if work {
            self.bell.wake();
        }
        !work
    }

    /// Whether a session ends or begins, or the peer has news.
    fn has_work(&mut self) -> bool {
        if self.gone {
            // What the user has to release first it will release in its own time.
            return self.ending.is_some() || self.live == 0;
        }
        if self.epoch.has_changed() {
            return true;
        }
        let joined = self.epoch.is_joined();
        joined && (!self.greeted || self.ready.any() || self.inbox.has_more())
    }
}
