//! Sessions of a port: from the moment when both sides have joined each other until one of them starts over.

use super::layout::{State, Word};
use super::port::{Port, Side, news};

impl Port {
    /// Returns whether the peer is another incarnation than the one that was joined, and was not joined itself yet. The
    /// first call that finds so ends the session.
    pub(super) fn detect_restart(&mut self) -> bool {
        if !self.gone && self.epoch.has_changed() {
            self.gone = true;
            self.ending = Some(0);
            self.ready.reset();
        }
        self.gone
    }

    /// Whether connections can be opened and messages posted: both sides have joined each other, and the user knows of
    /// it if there was a session before.
    pub(super) fn is_joined(&mut self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        self.detect_restart();
        self.join_if_free();
        !self.gone && self.epoch.is_joined() && (self.greeted || self.session == 0)
    }

    /// What the user is told between two sessions: the end of each connection, then that the next session has begun.
    pub(super) fn next_of_session(&mut self) -> Option<(usize, u32)> {
        if let Some(ended) = self.next_ending() {
            return Some(ended);
        }
        self.join_if_free();
        if self.gone || self.greeted || !self.epoch.is_joined() {
            return None;
        }
        self.greeted = true;
        Some((0, news::STARTED))
    }

    /// The next slot whose connection ended with the peer's life.
    fn next_ending(&mut self) -> Option<(usize, u32)> {
        let first = self.ending?;
        let found = (first..self.slots.len()).find(|&slot| self.slots[slot].live);
        self.ending = found.map(|slot| slot + 1);
        let slot = found?;
        Some(match self.side {
            Side::Provider => {
                self.retire(slot);
                self.slots[slot].outgoing.wipe_rest();
                (slot, news::RELEASED)
            }
            Side::Consumer => {
                let state = &mut self.slots[slot];
                state.incoming.drop_untaken();
                state.peer_flags |= State::RESET;
                (slot, news::RESET)
            }
        })
    }

    /// Joins the peer's new life once nothing is left of its last one. What the user has not released yet holds it
    /// up: those slots are not free.
    pub(super) fn join_if_free(&mut self) {
        if !self.gone || self.live > 0 {
            return;
        }
        // The first session has the same number on both sides, whoever was there first.
        let mut used = self.greeted;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            used |= slot.generation != 0;
            slot.reset();
            for word in [Word::State, Word::Produced, Word::Consumed, Word::WakeAt] {
                self.own.publish(index, word, 0);
            }
        }
        self.touched.clear();
        self.ready.reset();
        self.outbox.reset();
        self.inbox.reset();
        self.current = None;
        self.messages = 0;
        self.posted = false;
        self.gone = false;
        self.ending = None;
        self.greeted = false;
        if used {
            self.session = self.session.wrapping_add(1).max(1);
        }
        self.epoch.join();
        self.bell.ring_anyway();
    }
}
