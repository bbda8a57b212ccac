//! The attacker, and memory that shows a write out of bounds.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec::Vec;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{OwnRegion, PeerRegion};
use crate::testing::{with_hook, zeroed};

/// The most loads of one call: a look at every slot of the layouts used here, with some to spare.
const MOST_LOADS: usize = 4096;

const CANARY: u64 = 0x5e1c_1e00_5e1c_1e00;
const CANARIES: usize = 8;

/// The bytes that everything is made of; zeros follow the last.
struct Script {
    bytes: Vec<u8>,
    at: usize,
}

/// What the attacker and the user of the victim do.
#[derive(Clone)]
pub(super) struct Attack(Rc<State>);

struct State {
    script: RefCell<Script>,
    /// The words that the attacker can write.
    target: &'static [AtomicU64],
    /// How many of them, from the first, are no payload.
    control: usize,
    /// One load in 256 / `rate` is attacked.
    rate: u8,
    active: Cell<bool>,
    loads: Cell<usize>,
}

impl Attack {
    pub(super) fn new(script: &[u8], target: &Guarded, control_bytes: usize) -> Self {
        let mut script = Script {
            bytes: script.into(),
            at: 0,
        };
        let rate = script.byte();
        Self(Rc::new(State {
            script: RefCell::new(script),
            target: target.words(),
            control: (control_bytes / 8).max(1),
            rate,
            active: Cell::new(false),
            loads: Cell::new(0),
        }))
    }

    /// Runs `body` while the attacker watches this thread's loads.
    pub(super) fn run(&self, body: impl FnOnce()) {
        let state = self.0.clone();
        with_hook(move || state.before_load(), body);
    }

    /// A call of the victim: the attacker strikes before any of its loads, of which there may not be too many.
    pub(super) fn victim<R>(&self, call: impl FnOnce() -> R) -> R {
        self.0.loads.set(0);
        self.0.active.set(true);
        let result = call();
        self.0.active.set(false);
        result
    }

    pub(super) fn byte(&self) -> u8 {
        self.0.script.borrow_mut().byte()
    }

    pub(super) fn number(&self) -> usize {
        usize::from(self.byte()) << 2 ^ usize::from(self.byte())
    }

    pub(super) fn goes_on(&self) -> bool {
        let script = self.0.script.borrow();
        script.at < script.bytes.len()
    }
}

impl State {
    fn before_load(&self) {
        if !self.active.get() {
            return;
        }
        self.loads.set(self.loads.get() + 1);
        assert!(
            self.loads.get() <= MOST_LOADS,
            "a call does not come to its end"
        );
        let mut script = self.script.borrow_mut();
        if script.byte() < self.rate {
            self.strike(&mut script);
        }
    }

    fn strike(&self, script: &mut Script) {
        let kind = script.byte();
        let anywhere = usize::from(script.byte()) << 8 | usize::from(script.byte());
        let count = if kind & 0x80 != 0 {
            self.target.len()
        } else {
            self.control
        };
        let word = &self.target[anywhere % count];
        let old = word.load(Ordering::Relaxed);
        let small = u64::from(script.byte());
        let new = match kind % 9 {
            0 => small,
            1 => old.wrapping_add(1),
            2 => old.wrapping_sub(1),
            3 => old ^ 1 << (small % 64),
            4 => old.wrapping_add(small),
            5 => old.wrapping_add(small << 32),
            6 => old.wrapping_add(1 << 32 | small),
            7 => u64::MAX,
            _ => u64::from_le_bytes([0; 8].map(|_: u8| script.byte())),
        };
        word.store(new, Ordering::SeqCst);
    }
}

impl Script {
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }
}

/// A region between canaries, zeroed for each run and kept for the next one.
pub(super) struct Guarded {
    /// The first canary.
    base: NonNull<u8>,
    size: usize,
}

std::thread_local! {
    static SPARE: RefCell<Vec<Guarded>> = const { RefCell::new(Vec::new()) };
}

impl Guarded {
    /// A region of `size` bytes, a multiple of 8.
    pub(super) fn new(size: usize) -> Self {
        assert!(size.is_multiple_of(8));
        let spare = SPARE.with_borrow_mut(|spare| {
            let position = spare.iter().position(|region| region.size == size)?;
            Some(spare.swap_remove(position))
        });
        let region = spare.unwrap_or_else(|| Self {
            base: zeroed(size + 2 * 8 * CANARIES),
            size,
        });
        for word in region.words() {
            word.store(0, Ordering::Relaxed);
        }
        for canary in region.canaries() {
            canary.store(CANARY, Ordering::Relaxed);
        }
        region
    }

    /// The writer's and the reader's view.
    pub(super) fn pair(&self) -> (OwnRegion, PeerRegion) {
        // SAFETY: the memory is never freed. Writer, reader and attacker are in one program and one thread here;
        // no reference to bytes outlives the call that made it, save those lent, which nobody uses.
        let pair = unsafe {
            let base = self.first();
            (
                OwnRegion::new(base, self.size),
                PeerRegion::new(base, self.size),
            )
        };
        match pair {
            (Ok(own), Ok(peer)) => (own, peer),
            _ => unreachable!("regions are aligned"),
        }
    }

    pub(super) fn first(&self) -> NonNull<u8> {
        // SAFETY: the region follows its canaries in one allocation.
        unsafe { self.base.add(8 * CANARIES) }
    }

    fn words(&self) -> &'static [AtomicU64] {
        // SAFETY: the memory is aligned and never freed, and all who write it are in one thread.
        unsafe { core::slice::from_raw_parts(self.first().cast().as_ptr(), self.size / 8) }
    }

    fn canaries(&self) -> impl Iterator<Item = &'static AtomicU64> {
        let base: NonNull<AtomicU64> = self.base.cast();
        let behind = CANARIES + self.size / 8;
        // SAFETY: canaries lie on both sides of the region in one allocation, which is never freed.
        (0..CANARIES)
            .chain(behind..behind + CANARIES)
            .map(move |index| unsafe { base.add(index).as_ref() })
    }

    /// Checks the canaries and keeps the memory for another run.
    pub(super) fn check(self) {
        let intact = self
            .canaries()
            .all(|canary| canary.load(Ordering::Relaxed) == CANARY);
        assert!(intact, "a write out of bounds");
        SPARE.with_borrow_mut(|spare| spare.push(self));
    }
}
