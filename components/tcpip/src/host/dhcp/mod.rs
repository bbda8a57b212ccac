//! A DHCP client (RFC 2131, section 4.4), as a state machine: messages and the time go in, messages and leases come out.
//!
//! | state | module's name | left by |
//! |---|---|---|
//! | INIT | `Waiting` | its time |
//! | SELECTING | `Selecting` | the first usable offer |
//! | REQUESTING | `Requesting` | ACK, NAK, or four requests without an answer |
//! | BOUND | `Bound` | T1, or a link that was interrupted |
//! | RENEWING, REBINDING | `Renewing`, `Rebinding` | ACK, NAK, T2, the lease's end |
//! | INIT-REBOOT, REBOOTING | `Rebooting` | ACK, NAK, or two requests without an answer: the lease continues (section 3.2) |
//!
//! Every exchange that fails makes the client wait longer before the next (4, 8, 16, 32, 64 s, each with a random second
//! more or less), so that no server can make it flood the link. The client never releases a lease: it has no shutdown.

mod lease;
mod message;
#[cfg(test)]
mod tests;

pub(crate) use self::lease::Lease;
pub use self::lease::{LeaseFlaw, LeaseRefusal};

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use self::lease::Times;
use self::message::{Kind, Reply, ReplyError, Request, SERVER_IDENTIFIER};
use super::notice::HostNotice;
use super::random::Random;

/// The first and the longest wait for an answer (RFC 2131, section 4.1), in seconds.
const FIRST_WAIT: u64 = 4;
const LONGEST_WAIT: u64 = 64;
/// Requests for an offered address (RFC 2131, section 3.1, 5), and for a former one.
const REQUESTS: u32 = 4;
const REBOOT_REQUESTS: u32 = 2;
/// DISCOVER messages without an answer until a notice says so.
const SILENT_DISCOVERS: u32 = 3;
/// The shortest time between two requests while renewing or rebinding (RFC 2131, section 4.4.5).
const RENEWAL_WAIT: Duration = Duration::from_secs(60);
/// How long the client waits after it declined an address (RFC 2131, section 3.1, 5).
const DECLINE_WAIT: Duration = Duration::from_secs(10);

/// The client.
pub(crate) struct Client {
    hardware: EthernetAddress,
    host_name: String,
    random: Random,
    state: State,
    transaction: u32,
    /// When the present exchange began.
    began: Instant,
    /// When its last message was sent: a lease counts from its request (RFC 2131, section 4.4.1).
    sent_at: Instant,
    /// Exchanges that failed since the last success.
    failures: u32,
    outputs: VecDeque<Output>,
}

/// An action for the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send this message from port 68 to port 67.
    Send {
        /// The message.
        message: Vec<u8>,
        /// The source address; 0.0.0.0 before the client has one.
        from: Ipv4Address,
        /// The server; `None`: broadcast.
        to: Option<Ipv4Address>,
    },
    /// The lease is new, or its parameters are.
    Bound(Lease),
    /// The address must not be used any more.
    Lost,
    /// Something for the log.
    Notice(HostNotice),
}

#[derive(Clone, Debug)]
enum State {
    Waiting {
        until: Instant,
    },
    Selecting {
        sent: u32,
        next: Instant,
    },
    Requesting {
        offer: Lease,
        sent: u32,
        next: Instant,
    },
    Rebooting {
        held: Held,
        sent: u32,
        next: Instant,
    },
    Bound {
        held: Held,
    },
    Renewing {
        held: Held,
        next: Instant,
    },
    Rebinding {
        held: Held,
        next: Instant,
    },
}

/// A lease that is held, since when.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    since: Instant,
}

impl Client {
    /// Returns a client that begins at once. `host_name` has at most 63 bytes; an empty one is not
    /// sent.
    pub fn new(hardware: EthernetAddress, host_name: String, random: Random, now: Instant) -> Self {
        Self {
            hardware,
            host_name,
            random,
            state: State::Waiting { until: now },
            transaction: 0,
            began: now,
            sent_at: now,
            failures: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Returns the next thing to do, after any other call.
    pub fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Client::poll`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Selecting { next, .. } | State::Requesting { next, .. } => Some(*next),
            State::Rebooting { held, next, .. } => held.end().into_iter().chain([*next]).min(),
            State::Bound { held } => held.at(|times| times.renew),
            State::Renewing { held, next } => {
                let rebind = held.at(|times| times.rebind);
                rebind.into_iter().chain([*next]).min()
            }
            State::Rebinding { held, next } => held.end().into_iter().chain([*next]).min(),
        }
    }

    /// Does what is due.
    pub fn poll(&mut self, now: Instant) {
        // Each step sets a later deadline, or ends in a state that sends at once.
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(now);
        }
    }

    /// Takes note that the link is back, perhaps on another network: asks the server whether the
    /// lease is still valid (RFC 2131, sections 3.2 and 4.4.2), or begins at once.
    pub fn link_up(&mut self, now: Instant) {
        self.failures = 0;
        self.begin_exchange(now);
        self.state = match self.state.held() {
            Some(held) => State::Rebooting {
                held: held.clone(),
                sent: 0,
                next: now,
            },
            None => State::Waiting { until: now },
        };
    }

    /// Declines the address that was just leased, since another host has it (RFC 2131, section 3.1,
    /// 5).
    pub fn decline(&mut self, now: Instant) {
        let Some(held) = self.state.held() else {
            return;
        };
        let (address, server) = (held.lease.address(), held.lease.server);
        self.begin_exchange(now);
        let message = self.message(
            Kind::Decline,
            Ipv4Address::UNSPECIFIED,
            (Some(address), Some(server)),
            now,
        );
        self.send(message, Ipv4Address::UNSPECIFIED, None, now);
        self.failures += 1;
        let wait = self.backoff(self.failures).max(DECLINE_WAIT);
        self.state = State::Waiting { until: now + wait };
    }

    /// Takes a message from a server.
    pub fn receive(&mut self, bytes: &[u8], source: Ipv4Address, now: Instant) {
        let reply = match Reply::parse(bytes, self.hardware) {
            Ok(reply) => reply,
            Err(ReplyError::Malformed { transaction }) if self.awaits(transaction) => {
                return self.refuse(source, LeaseRefusal::Malformed, now);
            }
            Err(_) => return,
        };
        if !self.awaits(reply.transaction) {
            return;
        }
        match (reply.kind, self.state.clone()) {
            (Kind::Offer, State::Selecting { .. }) => self.take_offer(&reply, source, now),
            (Kind::Ack, State::Requesting { offer, .. }) if is_from(&reply, offer.server) => {
                self.take_ack(&reply, offer, source, now);
            }
            (Kind::Ack, State::Renewing { held, .. }) if is_from(&reply, held.lease.server) => {
                self.take_ack(&reply, held.lease, source, now);
            }
            (Kind::Ack, State::Rebooting { held, .. } | State::Rebinding { held, .. }) => {
                self.take_ack(&reply, held.lease, source, now);
            }
            // A server that was not chosen has nothing to say about its address.
            (Kind::Nak, State::Requesting { offer, .. }) if is_from(&reply, offer.server) => {
                self.take_nak(&reply, source, now);
            }
            (Kind::Nak, State::Renewing { held, .. }) if is_from(&reply, held.lease.server) => {
                self.take_nak(&reply, source, now);
            }
            (Kind::Nak, State::Rebooting { .. } | State::Rebinding { .. }) => {
                self.take_nak(&reply, source, now);
            }
            _ => {}
        }
    }

    /// Whether a message of this transaction answers what was sent.
    fn awaits(&self, transaction: u32) -> bool {
        let asked = match &self.state {
            State::Waiting { .. } | State::Bound { .. } => false,
            State::Rebooting { sent, .. } => *sent > 0,
            _ => true,
        };
        asked && transaction == self.transaction
    }

    fn take_offer(&mut self, reply: &Reply<'_>, source: Ipv4Address, now: Instant) {
        match Lease::new(reply, None) {
            // Flaws are reported with the acknowledgment.
            Ok((offer, _)) => {
                self.state = State::Requesting {
                    offer,
                    sent: 0,
                    next: now,
                };
                self.poll(now);
            }
            Err(reason) => self.refuse(server(reply, source), reason, now),
        }
    }

    fn take_ack(&mut self, reply: &Reply<'_>, former: Lease, source: Ipv4Address, now: Instant) {
        let requesting = matches!(self.state, State::Requesting { .. });
        let known = match requesting {
            // An offer is no configuration: what the acknowledgment leaves out is missing. But the address stays.
            true => Lease::new(reply, None).and_then(|(lease, ignored)| {
                match lease.address() == former.address() {
                    true => Ok((lease, ignored)),
                    false => Err(LeaseRefusal::OtherAddress(lease.address())),
                }
            }),
            false => Lease::new(reply, Some(&former)),
        };
        let (mut lease, ignored) = match known {
            Ok(known) => known,
            Err(reason) => return self.refuse(server(reply, source), reason, now),
        };
        for part in ignored {
            let server = lease.server;
            self.notice(HostNotice::Flaw { server, part });
        }
        if let Some(times) = &mut lease.times {
            // RFC 2131, section 4.4.5: with some random fuzz, so that hosts that started together do not renew together.
            times.renew -= self.random.between(Duration::ZERO, times.renew / 32);
        }
        let since = self.sent_at;
        let held = Held { lease, since };
        if held.end().is_some_and(|end| end <= now) {
            // The answer came after the end of what it grants.
            self.lose();
            return self.fail(now);
        }
        self.failures = 0;
        self.outputs.push_back(Output::Bound(held.lease.clone()));
        self.state = State::Bound { held };
    }

    fn take_nak(&mut self, reply: &Reply<'_>, source: Ipv4Address, now: Instant) {
        let server = server(reply, source);
        self.notice(HostNotice::Denied { server });
        self.lose();
        self.fail(now);
    }

    /// Refuses a server's message. While selecting, other servers may still answer; a lease that is held continues.
    fn refuse(&mut self, server: Ipv4Address, reason: LeaseRefusal, now: Instant) {
        self.notice(HostNotice::Refused { server, reason });
        if matches!(self.state, State::Requesting { .. }) {
            self.fail(now);
        }
    }

    fn step(&mut self, now: Instant) {
        if let Some(held) = self.state.held()
            && held.end().is_some_and(|end| end <= now)
        {
            let address = held.lease.address();
            self.notice(HostNotice::Expired { address });
            self.lose();
            self.state = State::Waiting { until: now };
        }
        match self.state.clone() {
            State::Waiting { .. } => self.discover(0, now),
            State::Selecting { sent, .. } => self.discover(sent, now),
            State::Requesting { offer, sent, .. } => self.request(offer, sent, now),
            State::Rebooting { held, sent, .. } => self.reboot(held, sent, now),
            State::Bound { held } => {
                self.begin_exchange(now);
                self.renew(held, now);
            }
            State::Renewing { held, .. } => self.renew(held, now),
            State::Rebinding { held, .. } => self.rebind(held, now),
        }
    }

    fn discover(&mut self, sent: u32, now: Instant) {
        if sent == 0 {
            self.begin_exchange(now);
        }
        if sent == SILENT_DISCOVERS {
            self.notice(HostNotice::NoServer);
        }
        let message = self.message(Kind::Discover, Ipv4Address::UNSPECIFIED, (None, None), now);
        self.send(message, Ipv4Address::UNSPECIFIED, None, now);
        self.state = State::Selecting {
            sent: sent + 1,
            next: now + self.backoff(sent),
        };
    }

    fn request(&mut self, offer: Lease, sent: u32, now: Instant) {
        if sent == REQUESTS {
            return self.fail(now);
        }
        let options = (Some(offer.address()), Some(offer.server));
        let message = self.message(Kind::Request, Ipv4Address::UNSPECIFIED, options, now);
        self.send(message, Ipv4Address::UNSPECIFIED, None, now);
        self.state = State::Requesting {
            offer,
            sent: sent + 1,
            next: now + self.backoff(sent),
        };
    }

    fn reboot(&mut self, held: Held, sent: u32, now: Instant) {
        if sent == REBOOT_REQUESTS {
            // RFC 2131, section 3.2: without an answer the client may use the address until the lease ends.
            self.state = State::Bound { held };
            return;
        }
        let options = (Some(held.lease.address()), None);
        let message = self.message(Kind::Request, Ipv4Address::UNSPECIFIED, options, now);
        self.send(message, Ipv4Address::UNSPECIFIED, None, now);
        self.state = State::Rebooting {
            held,
            sent: sent + 1,
            next: now + self.backoff(sent),
        };
    }

    fn renew(&mut self, held: Held, now: Instant) {
        let Some(rebind) = held.at(|times| times.rebind) else {
            self.state = State::Bound { held };
            return;
        };
        if rebind <= now {
            self.begin_exchange(now);
            return self.rebind(held, now);
        }
        let (address, server) = (held.lease.address(), held.lease.server);
        let message = self.message(Kind::Request, address, (None, None), now);
        self.send(message, address, Some(server), now);
        let next = now + ((rebind - now) / 2).max(RENEWAL_WAIT);
        self.state = State::Renewing { held, next };
    }

    fn rebind(&mut self, held: Held, now: Instant) {
        let address = held.lease.address();
        let message = self.message(Kind::Request, address, (None, None), now);
        self.send(message, address, None, now);
        let left = held.end().map_or(Duration::ZERO, |end| end - now);
        let next = now + (left / 2).max(RENEWAL_WAIT);
        self.state = State::Rebinding { held, next };
    }

    /// Ends an exchange that failed, and begins the next one after a longer wait each time.
    fn fail(&mut self, now: Instant) {
        let wait = match self.failures {
            0 => self.random.between(Duration::ZERO, Duration::from_secs(1)),
            failures => self.backoff(failures - 1),
        };
        self.failures += 1;
        self.state = State::Waiting { until: now + wait };
    }

    fn lose(&mut self) {
        if self.state.held().is_some() {
            self.outputs.push_back(Output::Lost);
        }
    }

    /// Returns the next wait: 4, 8, 16, 32, 64 s, each with a random part of a second more or less
    /// (RFC 2131, section 4.1).
    fn backoff(&mut self, attempt: u32) -> Duration {
        let seconds = (FIRST_WAIT << attempt.min(4)).min(LONGEST_WAIT);
        let second = Duration::from_secs(1);
        Duration::from_secs(seconds - 1) + self.random.between(Duration::ZERO, second * 2)
    }

    fn begin_exchange(&mut self, now: Instant) {
        self.transaction = self.random.next() as u32;
        self.began = now;
    }

    fn message(
        &self,
        kind: Kind,
        client: Ipv4Address,
        (requested, server): (Option<Ipv4Address>, Option<Ipv4Address>),
        now: Instant,
    ) -> Vec<u8> {
        let seconds = (now - self.began).secs();
        let request = Request {
            kind,
            transaction: self.transaction,
            seconds: u16::try_from(seconds).unwrap_or(u16::MAX),
            hardware: self.hardware,
            client,
            requested,
            server,
            host_name: &self.host_name,
        };
        request.to_bytes()
    }

    fn send(&mut self, message: Vec<u8>, from: Ipv4Address, to: Option<Ipv4Address>, now: Instant) {
        self.sent_at = now;
        self.outputs.push_back(Output::Send { message, from, to });
    }

    fn notice(&mut self, notice: HostNotice) {
        self.outputs.push_back(Output::Notice(notice));
    }
}

impl State {
    fn held(&self) -> Option<&Held> {
        match self {
            Self::Waiting { .. } | Self::Selecting { .. } | Self::Requesting { .. } => None,
            Self::Rebooting { held, .. }
            | Self::Bound { held }
            | Self::Renewing { held, .. }
            | Self::Rebinding { held, .. } => Some(held),
        }
    }
}

impl Held {
    fn at(&self, time: impl FnOnce(&Times) -> Duration) -> Option<Instant> {
        self.lease.times.as_ref().map(|it| self.since + time(it))
    }

    fn end(&self) -> Option<Instant> {
        self.at(|times| times.end)
    }
}

impl Lease {
    fn address(&self) -> Ipv4Address {
        self.config.address.address()
    }
}

/// Whether the message is from this server, or does not say.
fn is_from(reply: &Reply<'_>, server: Ipv4Address) -> bool {
    let identifier = reply.address(SERVER_IDENTIFIER);
    identifier.is_none_or(|identifier| identifier == server)
}

/// Returns the server for a notice.
fn server(reply: &Reply<'_>, source: Ipv4Address) -> Ipv4Address {
    reply.address(SERVER_IDENTIFIER).unwrap_or(source)
}
