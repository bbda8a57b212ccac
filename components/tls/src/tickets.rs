//! Session tickets (RFC 8446, section 4.6.1; RFC 5077), each good for one resumption.
//!
//! A ticket is what rustls wants to remember of a session, sealed under a key that nobody else has. The
//! server keeps nothing of the session; it keeps one bit a ticket. Every ticket has a number, which lies
//! inside the sealed part so that tickets cannot be linked on the wire, and a ticket whose bit says that it
//! was used is refused, as are an expired one and one of a key that is gone: the client then makes a full
//! handshake, as one without a ticket does. So a ticket that was seen on the wire resumes nothing a second time
//! (RFC 8446, appendix C.4), and that is exact: there is no cache that could overflow and forget.
//!
//! The key is random, is replaced after every period, opens tickets for one more period, and is then wiped where
//! it lies. ring's form of it exists only on the stack of the call that uses it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::crypto::{GetRandomFailed, SecureRandom};
use rustls::server::ProducesTickets;
use spin::Mutex;
use zeroize::Zeroizing;

/// Longest period in seconds: RFC 8446, section 4.6.1 limits the lifetime of a ticket to seven days.
pub const MAX_TICKET_PERIOD: u32 = 604_800;

/// Tickets under one key; then the next key is made early. Their bits take 32 KiB. It also keeps random
/// 96-bit nonces apart: the chance that two of 2^18 are the same is below 2^-60.
const MAX_NUMBERS: usize = 1 << 18;

/// Longest session that is worth a ticket, in bytes. Without client certificates it has about 100; the client sends
/// its ticket in every hello.
const MAX_SESSION: usize = 8192;

/// Nanoseconds until a key that could not be made, for want of random bytes, is tried again.
const RETRY: u64 = 1_000_000_000;

const SECOND: u64 = 1_000_000_000;

const KEY: usize = 32;
const NAME: usize = 16;
const HEADER: usize = NAME + NONCE_LEN;
/// Number and time of issue, before the session in the sealed part.
const PREFIX: usize = 4 + 8;
const TAG: usize = 16;
const OVERHEAD: usize = HEADER + PREFIX + TAG;

/// Issues tickets and takes them back.
pub struct Tickets {
    random: &'static dyn SecureRandom,
    /// Lifetime of a ticket and of a key that seals, in seconds.
    period: u32,
    /// A protection domain has one thread, so this is never contended; if it were, there would be no ticket.
    state: Mutex<State>,
}

/// Counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TicketCounters {
    /// Tickets that were issued.
    pub issued: u64,
    /// Tickets that came back and were refused: used before, expired, changed or of no key there is.
    pub refused: u64,
    /// Keys that were made.
    pub keys: u64,
}

#[derive(Default)]
struct State {
    /// Monotonic time in nanoseconds, as last told.
    now: u64,
    /// When the next key is due.
    due: u64,
    /// Seals and opens.
    current: Option<Box<Key>>,
    /// Opens only.
    previous: Option<Box<Key>>,
    counters: TicketCounters,
}

/// One key, and which of its tickets were used.
struct Key {
    /// Tells which key a ticket is of; says nothing about the key.
    name: [u8; NAME],
    secret: Zeroizing<[u8; KEY]>,
    /// When it was made.
    made: u64,
    issued: usize,
    /// One bit a ticket.
    used: Vec<u64>,
}

impl Tickets {
    /// Tickets that live for `period` seconds, at most [`MAX_TICKET_PERIOD`]. The first key is made by
    /// [`Tickets::advance`].
    pub fn new(random: &'static dyn SecureRandom, period: u32) -> Arc<Self> {
        Arc::new(Self {
            random,
            period: period.clamp(1, MAX_TICKET_PERIOD),
            state: Mutex::new(State::default()),
        })
    }

    /// Tells the time, in monotonic nanoseconds, and changes keys when it is time. Returns when to call again at
    /// the latest.
    pub fn advance(&self, now: u64) -> u64 {
        let mut state = self.state.lock();
        state.now = now;
        if now >= state.due {
            self.change_keys(&mut state);
        }
        state.due
    }

    /// Counters since start.
    pub fn counters(&self) -> TicketCounters {
        self.state.lock().counters
    }

    /// The key that sealed becomes the one that only opens, and the one that only opened is wiped.
    fn change_keys(&self, state: &mut State) {
        let sealed = state.current.take();
        let lifetime = u64::from(self.period) * SECOND;
        state.previous = sealed.filter(|key| state.now - key.made.min(state.now) < 2 * lifetime);
        match Key::new(self.random, state.now) {
            Ok(key) => {
                state.current = Some(key);
                state.due = state.now.saturating_add(lifetime);
                state.counters.keys += 1;
            }
            Err(GetRandomFailed) => state.due = state.now.saturating_add(RETRY),
        }
    }

    fn seal(&self, state: &mut State, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > MAX_SESSION {
            return None;
        }
        if state.current.as_ref()?.issued == MAX_NUMBERS {
            self.change_keys(state);
        }
        let now = state.now;
        let ticket = state.current.as_mut()?.seal(self.random, now, session)?;
        state.counters.issued += 1;
        Some(ticket)
    }

    fn open(&self, state: &mut State, ticket: &[u8]) -> Option<Vec<u8>> {
        // Checked first: what no key of ours made is not worth a decryption.
        if ticket.len() < OVERHEAD || ticket.len() > OVERHEAD + MAX_SESSION {
            return None;
        }
        let now = state.now;
        let keys = [&mut state.current, &mut state.previous];
        let key = keys
            .into_iter()
            .flatten()
            .find(|key| key.name == ticket[..NAME])?;
        let opened = key.open(ticket)?;
        let age = now.checked_sub(opened.issued)?;
        if age > u64::from(self.period) * SECOND || !key.take(opened.number) {
            return None;
        }
        Some(opened.session)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.period
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.seal(&mut *self.state.try_lock()?, session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.state.try_lock()?;
        let session = self.open(&mut state, ticket);
        state.counters.refused += u64::from(session.is_none());
        session
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// What was sealed in a ticket.
struct Opened {
    number: usize,
    issued: u64,
    session: Vec<u8>,
}

impl Key {
    /// A random key, made where it stays.
    fn new(random: &dyn SecureRandom, now: u64) -> Result<Box<Self>, GetRandomFailed> {
        let mut key = Box::new(Self {
            name: [0; NAME],
            secret: Zeroizing::new([0; KEY]),
            made: now,
            issued: 0,
            used: Vec::new(),
        });
        random.fill(&mut *key.secret)?;
        random.fill(&mut key.name)?;
        Ok(key)
    }

    /// A ticket: the key's name, a nonce, the sealed number, time and session, and the tag.
    fn seal(&mut self, random: &dyn SecureRandom, now: u64, session: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).ok()?;
        let number = u32::try_from(self.issued).ok()?;
        let mut ticket = Vec::with_capacity(OVERHEAD + session.len());
        ticket.extend(self.name);
        ticket.extend(nonce);
        ticket.extend(number.to_be_bytes());
        ticket.extend(now.to_be_bytes());
        ticket.extend(session);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut ticket[HEADER..];
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(nonce, Aad::from(self.name), sealed)
            .ok()?;
        ticket.extend(tag.as_ref());
        if self.issued.is_multiple_of(64) {
            self.used.push(0);
        }
        self.issued += 1;
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Opened> {
        let (nonce, sealed) = ticket[NAME..].split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plain = self
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.name),
                &mut sealed,
            )
            .ok()?;
        let (number, rest) = plain.split_first_chunk()?;
        let (issued, session) = rest.split_first_chunk()?;
        Some(Opened {
            number: u32::from_be_bytes(*number) as usize,
            issued: u64::from_be_bytes(*issued),
            session: session.to_vec(),
        })
    }

    /// Marks a ticket as used; false if it was.
    fn take(&mut self, number: usize) -> bool {
        let Some(bits) = self.used.get_mut(number / 64) else {
            return false;
        };
        let bit = 1 << (number % 64);
        let fresh = *bits & bit == 0;
        *bits |= bit;
        fresh
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*self.secret).ok()?;
        Some(LessSafeKey::new(key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const PERIOD: u32 = 100;

    #[test]
    fn a_ticket_is_good_once() {
        let tickets = tickets();
        let ticket = tickets.encrypt(b"a session").unwrap();
        let other = tickets.encrypt(b"another").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(tickets.decrypt(&ticket), None);
        assert_eq!(tickets.decrypt(&other).unwrap(), b"another");
        let expected = TicketCounters {
            issued: 2,
            refused: 1,
            keys: 1,
        };
        assert_eq!(tickets.counters(), expected);
    }

    #[test]
    fn changed_tickets_and_foreign_ones_are_refused() {
        let tickets = tickets();
        let ticket = tickets.encrypt(b"a session").unwrap();
        for position in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[position] ^= 0x10;
            assert_eq!(tickets.decrypt(&changed), None, "byte {position}");
        }
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None, "{length} bytes");
        }
        assert_eq!(self::tickets().decrypt(&ticket), None);
        assert_eq!(tickets.decrypt(&[0; OVERHEAD + MAX_SESSION + 1]), None);
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"a session");
    }

    #[test]
    fn a_ticket_lives_for_a_period_whenever_the_key_changes() {
        let tickets = tickets();
        let early = tickets.encrypt(b"early").unwrap();
        tickets.advance(at(99));
        let late = [(); 2].map(|()| tickets.encrypt(b"late").unwrap());
        assert_eq!(tickets.advance(at(100)), at(200));
        assert_eq!(tickets.decrypt(&early).unwrap(), b"early");
        tickets.advance(at(199));
        assert_eq!(tickets.decrypt(&late[0]).unwrap(), b"late");
        tickets.advance(at(200));
        assert_eq!(tickets.decrypt(&late[1]), None);
        assert_eq!(tickets.counters().keys, 3);
    }

    #[test]
    fn a_ticket_expires_before_its_key_does() {
        let tickets = tickets();
        let ticket = tickets.encrypt(b"a session").unwrap();
        tickets.advance(at(101));
        assert_eq!(tickets.decrypt(&ticket), None);
    }

    #[test]
    fn keys_do_not_outlive_an_alarm_that_came_late() {
        let tickets = tickets();
        tickets.advance(at(500));
        let state = tickets.state.lock();
        assert!(state.previous.is_none());
        assert_eq!(state.due, at(600));
    }

    #[test]
    fn used_up_numbers_change_the_key_early() {
        let tickets = tickets();
        let first = tickets.encrypt(b"first").unwrap();
        tickets.state.lock().current.as_mut().unwrap().issued = MAX_NUMBERS;
        let next = tickets.encrypt(b"next").unwrap();
        assert_ne!(first[..NAME], next[..NAME]);
        assert_eq!(tickets.decrypt(&first).unwrap(), b"first");
        assert_eq!(tickets.decrypt(&next).unwrap(), b"next");
    }

    #[test]
    fn equal_sessions_give_tickets_with_nothing_in_common_but_the_key() {
        let tickets = tickets();
        let [one, two] = [(); 2].map(|()| tickets.encrypt(&[0; 64]).unwrap());
        assert_eq!(one[..NAME], two[..NAME]);
        let same = one[NAME..].iter().zip(&two[NAME..]).filter(|(a, b)| a == b);
        assert!(same.count() < 16);
    }

    #[test]
    fn without_random_bytes_there_are_no_tickets_until_there_are() {
        static SOURCE: Failing = Failing(AtomicBool::new(true));
        let tickets = Tickets::new(&SOURCE, PERIOD);
        assert_eq!(tickets.advance(0), RETRY);
        assert_eq!(tickets.encrypt(b"a session"), None);
        SOURCE.0.store(false, Ordering::Relaxed);
        assert_eq!(tickets.advance(RETRY), RETRY + at(PERIOD.into()));
        let ticket = tickets.encrypt(b"a session").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"a session");
    }

    #[test]
    fn sessions_too_long_get_none() {
        assert_eq!(tickets().encrypt(&[0; MAX_SESSION + 1]), None);
        assert!(tickets().encrypt(&[0; MAX_SESSION]).is_some());
    }

    fn tickets() -> Arc<Tickets> {
        let random = rustls::crypto::ring::default_provider().secure_random;
        let tickets = Tickets::new(random, PERIOD);
        tickets.advance(0);
        tickets
    }

    fn at(seconds: u64) -> u64 {
        seconds * SECOND
    }

    #[derive(Debug)]
    struct Failing(AtomicBool);

    impl SecureRandom for Failing {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
            match self.0.load(Ordering::Relaxed) {
                true => Err(GetRandomFailed),
                false => rustls::crypto::ring::default_provider()
                    .secure_random
                    .fill(buffer),
            }
        }
    }
}
