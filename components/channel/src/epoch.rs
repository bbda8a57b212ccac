//! How the two sides of a channel notice that one of them has started over.
//!
//! A protection domain (PD) that starts over finds its own regions zeroed, while its peer's private state is of the life
//! before. So the first word of each region holds two numbers: the *epoch* of its side, which is another in each life
//! and 0 while there is none, and the epoch of the peer that it has *joined*. What else the region holds means something
//! only to a peer whose epoch it has joined. The two are one word because they mean something only together: a side that
//! was seen to have joined and is looked at again may be another by then (`tests/models/epoch.pml`).
//!
//! * A side that starts takes an epoch that its peer has not joined. It keeps no count for that, which a fault could
//!   have spoilt: it takes the one behind what the peer says that it has joined.
//! * A side that finds another epoch ends what it had with the life before, brings its own region back to its first
//!   state, and only then joins. From its publication of that on it reads what the new life writes.
//! * Until both have joined each other neither writes anything that the other could take for a part of the old session.
//!
//! Whoever wipes a region wipes its first line first, with a barrier behind it. So a side that read anything odd and
//! then finds the epoch as it was knows that the peer misbehaved; and bytes that it read before it found the epoch as it
//! was are the old life's own.
//!
//! A hostile peer that changes its epoch as it likes ends its own connections and costs one look at all slots a round.

use crate::LayoutError;
use crate::memory::{LINE, OwnRegion, OwnWords, PeerRegion, PeerWords, store_load_fence};

/// Words at the beginning of each region.
pub(crate) const WORDS: usize = LINE;

/// The first word of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    epoch: u32,
    joined: u32,
}

impl Link {
    fn to_word(self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.joined)
    }

    fn of(peer: &PeerWords) -> Self {
        let word = peer.load(0);
        Self {
            epoch: (word >> 32) as u32,
            joined: word as u32,
        }
    }
}

pub(crate) struct Epoch {
    own: OwnWords,
    peer: PeerWords,
    /// This life's epoch, and the peer's that this side has joined; 0 for none.
    link: Link,
    /// The peer was seen to have joined this life.
    met: bool,
    /// The last link word of a peer that has faulted; ignored, since no later incarnation writes the same.
    dead: Option<Link>,
}

impl Epoch {
    /// Begins a life. The caller then notifies the peer, which may wait for it.
    pub(crate) fn new(own: &mut OwnRegion, peer: &mut PeerRegion) -> Result<Self, LayoutError> {
        let (own, peer) = (own.words(WORDS)?, peer.words(WORDS)?);
        // The own epoch is 0 since before: either the peer's last look saw that, or what it joined is seen here.
        store_load_fence();
        let found = Link::of(&peer);
        let link = Link {
            epoch: found.joined.wrapping_add(1).max(1),
            joined: found.epoch,
        };
        own.publish(0, link.to_word());
        store_load_fence();
        Ok(Self {
            own,
            peer,
            link,
            met: false,
            dead: None,
        })
    }

    /// Whether the peer is another than the one that was joined.
    pub(crate) fn has_changed(&self) -> bool {
        let peer = Link::of(&self.peer);
        peer.epoch != self.link.joined && Some(peer) != self.dead
    }

    /// Begins a life that has joined nobody. The caller knows that the peer has faulted and does nothing any more, and has
    /// brought its own region back to its first state. What it writes from here on is for the peer's next life: that one
    /// joins an epoch which the dead one had not joined, and so says something else, even if its own epoch is the same.
    pub(crate) fn reset_for_next_peer(&mut self) {
        let peer = Link::of(&self.peer);
        self.link = Link {
            epoch: peer.joined.wrapping_add(1).max(1),
            joined: 0,
        };
        (self.met, self.dead) = (false, Some(peer));
        self.own.publish(0, self.link.to_word());
        store_load_fence();
    }

    /// Joins the peer as it is now. The caller has brought its own region back to its first state, and then notifies the
    /// peer, which may wait for it.
    pub(crate) fn join(&mut self) {
        self.link.joined = Link::of(&self.peer).epoch;
        self.met = false;
        self.own.publish(0, self.link.to_word());
        // What is read of the peer from here on is read after it could see that.
        store_load_fence();
    }

    /// Whether both sides have joined each other. It is true until this side finds that the peer has changed.
    pub(crate) fn is_joined(&mut self) -> bool {
        self.met |= self.knows_peer() && Link::of(&self.peer) == self.wanted(self.link.epoch);
        self.met
    }

    /// Whether this side has joined anybody.
    pub(crate) fn knows_peer(&self) -> bool {
        self.link.joined != 0
    }

    /// Whether the peer has joined this life or nobody: what it wrote, it wrote for the first who reads.
    pub(crate) fn is_first_or_joined(&mut self) -> bool {
        self.is_joined() || self.knows_peer() && Link::of(&self.peer) == self.wanted(0)
    }

    /// The word of the peer that was joined, if it has joined this epoch.
    fn wanted(&self, joined: u32) -> Link {
        Link {
            epoch: self.link.joined,
            joined,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::region_pair;

    #[test]
    fn two_sides_meet_in_either_order() {
        let (mut a_own, mut a_seen) = region_pair(8 * WORDS);
        let (mut b_own, mut b_seen) = region_pair(8 * WORDS);
        let mut a = Epoch::new(&mut a_own, &mut b_seen).unwrap();
        assert!(!a.has_changed() && !a.is_joined());
        let mut b = Epoch::new(&mut b_own, &mut a_seen).unwrap();
        assert!(!b.has_changed() && !b.is_joined(), "a has not joined b");
        assert!(a.has_changed() && !a.is_joined());
        a.join();
        assert!(a.is_joined() && b.is_joined() && !a.has_changed() && !b.has_changed());
    }

    #[test]
    fn a_side_reset_for_the_next_peer_joins_that_one_alone() {
        let (mut own, mut seen) = region_pair(8 * WORDS);
        let peer = own.words(WORDS).unwrap();
        let (mut fresh, _) = region_pair(8 * WORDS);
        let mut epoch = Epoch::new(&mut fresh, &mut seen).unwrap();
        for dead in [0, 7, u32::MAX] {
            peer.set(
                0,
                Link {
                    epoch: 1,
                    joined: dead,
                }
                .to_word(),
            );
            epoch.reset_for_next_peer();
            assert!(!epoch.has_changed() && !epoch.knows_peer());
            peer.set(0, 0);
            assert!(!epoch.has_changed(), "it is being wiped");
            let next = Link {
                epoch: epoch.link.joined + 1,
                joined: epoch.link.epoch,
            };
            peer.set(0, next.to_word());
            assert!(epoch.has_changed());
            epoch.join();
            assert!(epoch.is_joined() && !epoch.has_changed());
        }
    }

    #[test]
    fn a_life_that_the_peer_did_not_see_is_no_other_to_it() {
        let (mut own, mut seen) = region_pair(8 * WORDS);
        let words = own.words(WORDS).unwrap();
        let peer_is = |epoch, joined| words.set(0, Link { epoch, joined }.to_word());
        peer_is(7, u32::MAX);
        let (mut fresh, _) = region_pair(8 * WORDS);
        let mut epoch = Epoch::new(&mut fresh, &mut seen).unwrap();
        let expected = Link {
            epoch: 1,
            joined: 7,
        };
        assert_eq!(epoch.link, expected, "0 is no epoch");
        assert!(!epoch.is_joined() && !epoch.is_first_or_joined());
        peer_is(8, 1);
        assert!(!epoch.is_joined(), "somebody else has joined");
        peer_is(7, 1);
        assert!(epoch.is_joined());
        peer_is(0, 0);
        assert!(epoch.has_changed());
        epoch.join();
        assert!(
            !epoch.is_joined() && !epoch.is_first_or_joined(),
            "there is nobody"
        );
    }
}
