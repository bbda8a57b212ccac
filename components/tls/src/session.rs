//! One TLS session between a TCP connection below and a service above.

use alloc::boxed::Box;
use core::net::IpAddr;

use channel::streams::PeerIdentity;
use rustls::AlertDescription;
use rustls::crypto::cipher::OutboundChunks;

use crate::alerts::Answer;
use crate::buffers::{Incoming, Queue};
use crate::established::{MAX_PLAINTEXT, Received};
use crate::handshake::Handshake;
use crate::{Client, Error, Established, Server};

/// Records that one [`Session::step`] takes from below, so that a busy connection cannot hold up the
/// others: 8 records are 128 KiB.
const MAX_RECORDS_A_STEP: usize = 8;

/// A record with less plaintext than this waits for more room below, unless it is all there is:
/// a header, a tag and an AEAD call for every few bytes would cost more than they carry. So the room below
/// has to reach 2 KiB when everything has been sent.
const MIN_PLAINTEXT: usize = 1024;

/// The TCP connection.
pub trait Below {
    /// Moves received bytes to the buffer; 0 when there are none now.
    fn read(&mut self, buffer: &mut [u8]) -> usize;
    /// How many bytes [`Below::write`] takes now.
    fn space(&mut self) -> usize;
    /// Sends bytes; as many as fit.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// Asks to be stepped again once there is room for so many bytes.
    fn wait_for_space(&mut self, count: usize);
}

/// The service.
pub trait Above {
    /// How many bytes [`Above::write`] takes now.
    fn space(&mut self) -> usize;
    /// Hands on received plaintext; as much as fits.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// Asks to be stepped again once there is room for so many bytes.
    fn wait_for_space(&mut self, count: usize);
    /// What the service wants to send, in two parts since it may lie around the end of a ring. The bytes
    /// may change while they are looked at: they are encrypted as they are read, once.
    fn pending(&mut self) -> [&[u8]; 2];
    /// Drops sent bytes from the front of [`Above::pending`].
    fn consume(&mut self, count: usize);
    /// Whether the service sends nothing after [`Above::pending`].
    fn finished(&mut self) -> bool;
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The handshake is under way.
    Handshake,
    /// Application data flows.
    Open,
    /// The session has failed; an alert may still wait to be sent.
    Failed,
}

/// Payload bytes copied within this protection domain, rustls' own copies included; headers and tags are
/// left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Application data received.
    pub received: u64,
    /// Bytes copied to receive it: record in, plaintext out.
    pub receiving: u64,
    /// Application data sent.
    pub sent: u64,
    /// Bytes copied to send it: plaintext into rustls' buffer, record out.
    pub sending: u64,
}

/// One session.
pub struct Session {
    state: State,
    /// Who the peer has proved to be.
    peer: Option<PeerIdentity>,
    incoming: Incoming,
    /// Handshake messages and alerts that did not fit below yet.
    outgoing: Queue,
    /// Plaintext that did not fit above.
    held: Queue,
    /// The peer has said that it sends no more.
    received_close: bool,
    sent_close: bool,
    copies: Copies,
}

enum State {
    Handshake(Box<Handshake>),
    Open(Box<Established>),
    Failed,
}

impl Session {
    /// A session that waits for a ClientHello.
    ///
    /// # Errors
    /// [`Error::Handshake`] when the configuration is not one that rustls can serve with.
    pub fn new(server: &Server) -> Result<Self, Error> {
        Ok(Self::with(Handshake::accept(server)?, Queue::default()))
    }

    /// A session with a server at this address, which it begins.
    ///
    /// # Errors
    /// [`Error::Handshake`] when the configuration is not one that rustls can connect with.
    pub fn connect(client: &Client, remote: IpAddr) -> Result<Self, Error> {
        let mut handshake = Handshake::connect(client, remote)?;
        let mut hello = Queue::default();
        handshake.advance(&mut Incoming::default(), &mut hello)?;
        Ok(Self::with(handshake, hello))
    }

    fn with(handshake: Handshake, outgoing: Queue) -> Self {
        Self {
            state: State::Handshake(Box::new(handshake)),
            peer: None,
            incoming: Incoming::default(),
            outgoing,
            held: Queue::default(),
            received_close: false,
            sent_close: false,
            copies: Copies::default(),
        }
    }

    /// Moves what can be moved in both directions. Returns whether there may be more to do at once.
    ///
    /// # Errors
    /// [`Error`] once, when the session fails; from then on `step` only sends the alert.
    pub fn step(&mut self, below: &mut impl Below, above: &mut impl Above) -> Result<bool, Error> {
        let result = match self.state {
            State::Handshake(_) => self.handshake(below),
            State::Open(_) => self.transfer(below, above),
            State::Failed => Ok(false),
        };
        if let Err(error) = &result {
            self.fail(error);
        }
        self.outgoing.drain(|bytes| below.write(bytes));
        result
    }

    /// How far the session is.
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Handshake(_) => Stage::Handshake,
            State::Open(_) => Stage::Open,
            State::Failed => Stage::Failed,
        }
    }

    /// The keys and parameters of an open session.
    pub fn established(&self) -> Option<&Established> {
        match &self.state {
            State::Open(established) => Some(established),
            _ => None,
        }
    }

    /// Who the peer has proved to be: a server, or a client that had to or wanted to.
    pub fn peer(&self) -> Option<PeerIdentity> {
        self.peer
    }

    /// Whether the peer has said that it sends no more and all that it sent was handed on.
    pub fn input_ended(&self) -> bool {
        self.received_close && self.held.is_empty()
    }

    /// Whether nothing waits to be sent and nothing will: the TCP connection can be closed.
    pub fn output_ended(&self) -> bool {
        let over = self.sent_close || matches!(self.state, State::Failed);
        over && self.outgoing.is_empty()
    }

    /// Counters since the session began.
    pub fn copies(&self) -> Copies {
        self.copies
    }

    #[cfg(test)]
    pub(crate) fn established_mut(&mut self) -> &mut Established {
        match &mut self.state {
            State::Open(established) => established,
            _ => panic!("the session is not open"),
        }
    }

    /// Ends the session because of an error that its records did not cause. Sends the error's alert
    /// to the peer.
    pub(crate) fn end(&mut self, error: &Error, below: &mut impl Below) {
        self.fail(error);
        self.outgoing.drain(|bytes| below.write(bytes));
    }

    fn handshake(&mut self, below: &mut impl Below) -> Result<bool, Error> {
        while let State::Handshake(handshake) = &mut self.state {
            if !self.incoming.fill(below) {
                return Ok(false);
            }
            self.incoming.check_handshake()?;
            match handshake.advance(&mut self.incoming, &mut self.outgoing)? {
                true => self.open()?,
                false => self.incoming.expect_more()?,
            }
        }
        Ok(true)
    }

    /// Takes the traffic keys over from a complete handshake.
    fn open(&mut self) -> Result<(), Error> {
        let State::Handshake(handshake) = core::mem::replace(&mut self.state, State::Failed) else {
            return Ok(());
        };
        let peer = handshake.peer();
        self.state = State::Open(Box::new(handshake.into_established()?));
        // With the keys at hand, so that the peer can be told.
        self.peer = peer?;
        Ok(())
    }

    fn transfer(&mut self, below: &mut impl Below, above: &mut impl Above) -> Result<bool, Error> {
        let more_to_receive = self.receive(below, above)?;
        self.send(below, above)?;
        Ok(more_to_receive)
    }

    /// Decrypts records and hands the plaintext on. Returns whether it stopped for fairness only.
    fn receive(&mut self, below: &mut impl Below, above: &mut impl Above) -> Result<bool, Error> {
        let State::Open(established) = &mut self.state else {
            return Ok(false);
        };
        for _ in 0..MAX_RECORDS_A_STEP {
            self.held.drain(|bytes| above.write(bytes));
            // After `close_notify` there is nothing to make room for.
            if self.received_close && self.held.is_empty() {
                return Ok(false);
            }
            if !self.held.is_empty() || above.space() == 0 {
                above.wait_for_space(1);
                return Ok(false);
            }
            if !self.incoming.fill(below) {
                return Ok(false);
            }
            let record = self.incoming.record()?;
            match established.open(record)? {
                Received::Data(plaintext) => {
                    let written = above.write(plaintext);
                    self.held.push(&plaintext[written..]);
                    self.copies.received += plaintext.len() as u64;
                    self.copies.receiving += (3 * plaintext.len() - written) as u64;
                }
                Received::CloseNotify => self.received_close = true,
                Received::Handled(answer) => self.outgoing.push(&answer),
            }
            self.incoming.clear();
        }
        Ok(true)
    }

    /// Encrypts what the service has to send, then its close.
    fn send(&mut self, below: &mut impl Below, above: &mut impl Above) -> Result<(), Error> {
        let State::Open(established) = &mut self.state else {
            return Ok(());
        };
        loop {
            self.outgoing.drain(|bytes| below.write(bytes));
            if !self.outgoing.is_empty() || self.sent_close {
                return Ok(());
            }
            let [first, second] = above.pending();
            let total = first.len() + second.len();
            if total == 0 {
                break;
            }
            let overhead = established.sealed_len(0);
            let room = below.space().saturating_sub(overhead);
            let count = total.min(MAX_PLAINTEXT).min(room);
            if count < total.min(MIN_PLAINTEXT) {
                below.wait_for_space(total.min(MIN_PLAINTEXT) + overhead);
                return Ok(());
            }
            let chunks = [first, second];
            let (data, _) = OutboundChunks::new(&chunks).split_at(count);
            let record = established.seal_data(data)?;
            let written = below.write(&record);
            self.outgoing.push(&record[written..]);
            above.consume(count);
            self.copies.sent += count as u64;
            // A record that did not fit is kept for a moment; only then is there a third copy.
            self.copies.sending += (2 * count + record.len() - written) as u64;
        }
        if above.finished() {
            self.sent_close = true;
            let record = established.seal_alert(AlertDescription::CloseNotify)?;
            self.outgoing.push(&record);
        }
        Ok(())
    }

    /// Queues the alert that tells the peer, and forgets the keys.
    fn fail(&mut self, error: &Error) {
        match core::mem::replace(&mut self.state, State::Failed) {
            State::Handshake(mut handshake) => handshake.refuse(error, &mut self.outgoing),
            State::Open(mut established) => {
                if let Answer::Alert(alert) = error.answer(Some(established.version()))
                    && let Ok(record) = established.seal_alert(alert)
                {
                    self.outgoing.push(&record);
                }
            }
            State::Failed => {}
        }
        self.incoming = Incoming::default();
        self.held = Queue::default();
    }
}
