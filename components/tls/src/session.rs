//! One TLS session between a TCP connection below and a service above.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rustls::AlertDescription;
use rustls::crypto::cipher::OutboundChunks;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use zeroize::Zeroizing;

use crate::established::{HEADER, MAX_PLAINTEXT, MAX_PROTECTED_TLS12, Received};
use crate::{Error, Established, Fault, Server};

/// Most bytes of unfinished handshake messages that a session keeps. The largest flight of a client
/// is its certificate chain; rustls itself stops at 64 KiB a message.
const MAX_HANDSHAKE: usize = 80 * 1024;

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
    incoming: Incoming,
    /// Handshake messages and alerts that did not fit below yet.
    outgoing: Queue,
    /// Plaintext that did not fit above.
    held: Queue,
    /// The client has said that it sends no more.
    received_close: bool,
    sent_close: bool,
    copies: Copies,
}

enum State {
    Handshake(Box<UnbufferedServerConnection>),
    Open(Box<Established>),
    Failed,
}

impl Session {
    /// A session that waits for a ClientHello.
    ///
    /// # Errors
    /// [`Error::Handshake`] when the configuration is not one that rustls can serve with.
    pub fn new(server: &Server) -> Result<Self, Error> {
        let connection =
            UnbufferedServerConnection::new(server.config.clone()).map_err(Error::Handshake)?;
        Ok(Self {
            state: State::Handshake(Box::new(connection)),
            incoming: Incoming::default(),
            outgoing: Queue::default(),
            held: Queue::default(),
            received_close: false,
            sent_close: false,
            copies: Copies::default(),
        })
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

    /// Whether the client has said that it sends no more and all that it sent was handed on.
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

    fn handshake(&mut self, below: &mut impl Below) -> Result<bool, Error> {
        while matches!(self.state, State::Handshake(_)) {
            if !self.incoming.fill(below) {
                return Ok(false);
            }
            self.advance_handshake()?;
        }
        Ok(true)
    }

    /// Gives rustls the records that have arrived and queues its answer.
    fn advance_handshake(&mut self) -> Result<(), Error> {
        let State::Handshake(connection) = &mut self.state else {
            return Ok(());
        };
        loop {
            let UnbufferedStatus { discard, state } =
                connection.process_tls_records(self.incoming.bytes());
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    self.incoming.discard(discard);
                    return Err(Error::Handshake(error));
                }
            };
            let complete = match state {
                ConnectionState::EncodeTlsData(mut data) => {
                    self.outgoing.encode(|buffer| data.encode(buffer));
                    None
                }
                ConnectionState::TransmitTlsData(transmitted) => {
                    transmitted.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(false),
                ConnectionState::WriteTraffic(_) => Some(true),
                // Early data is off and a record is given at a time, so what is left is a client that
                // closes in the middle of its handshake.
                _ => return Err(Fault::UnexpectedMessage.into()),
            };
            self.incoming.discard(discard);
            match complete {
                None => {}
                Some(false) => return self.incoming.expect_more(),
                Some(true) => break,
            }
        }
        self.open()
    }

    /// Takes the traffic keys over from rustls' connection.
    fn open(&mut self) -> Result<(), Error> {
        let State::Handshake(connection) = core::mem::replace(&mut self.state, State::Failed)
        else {
            return Ok(());
        };
        self.state = State::Open(Box::new(Established::new(*connection)?));
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

    /// Queues the alert that tells the client, and forgets the keys.
    fn fail(&mut self, error: &Error) {
        match core::mem::replace(&mut self.state, State::Failed) {
            State::Handshake(mut connection) => {
                // rustls has queued its alert. Without the check it would parse on after the error.
                while connection.wants_write()
                    && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                        connection.process_tls_records(&mut []).state
                {
                    self.outgoing.encode(|buffer| data.encode(buffer));
                }
            }
            State::Open(mut established) => {
                let record = error.alert().map(|alert| established.seal_alert(alert));
                if let Some(Ok(record)) = record {
                    self.outgoing.push(&record);
                }
            }
            State::Failed => {}
        }
        self.incoming = Incoming::default();
        self.held = Queue::default();
    }
}

/// Received bytes in private memory: one record, behind handshake messages that are not complete yet.
#[derive(Default)]
struct Incoming {
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
    /// Where the record begins that is being filled.
    record: usize,
}

impl Incoming {
    /// Reads from below until a whole record lies here; false when there is not enough yet. Not a byte
    /// of the record behind it is taken, so that nothing has to be moved afterwards.
    fn fill(&mut self, below: &mut impl Below) -> bool {
        loop {
            let missing = self.missing();
            if missing == 0 {
                return true;
            }
            let end = self.filled + missing;
            if self.buffer.len() < end {
                self.buffer.resize(end, 0);
            }
            let count = below.read(&mut self.buffer[self.filled..end]).min(missing);
            if count == 0 {
                return false;
            }
            self.filled += count;
        }
    }

    /// Bytes that the header or the record still lacks. A header that cannot be one counts as a whole
    /// record: whoever parses it will say what is wrong.
    fn missing(&self) -> usize {
        let record = &self.buffer[self.record..self.filled];
        let Some(&[typ, major, _, high, low]) = record.first_chunk::<HEADER>() else {
            return HEADER - record.len();
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let plausible = (20..=24).contains(&typ) && major == 3 && length <= MAX_PROTECTED_TLS12;
        match plausible {
            true => (HEADER + length).saturating_sub(record.len()),
            false => 0,
        }
    }

    /// All that has arrived, for rustls.
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.filled]
    }

    /// The record that [`Incoming::fill`] completed.
    fn record(&mut self) -> Result<&mut [u8], Fault> {
        let record = &mut self.buffer[self.record..self.filled];
        let header = record.first_chunk::<HEADER>().ok_or(Fault::Malformed)?;
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        match length {
            _ if length > MAX_PROTECTED_TLS12 => Err(Fault::TooLong),
            _ if record.len() != HEADER + length => Err(Fault::UnexpectedMessage),
            _ => Ok(record),
        }
    }

    fn clear(&mut self) {
        self.filled = 0;
        self.record = 0;
    }

    /// Drops bytes that rustls is done with.
    fn discard(&mut self, count: usize) {
        let count = count.min(self.filled);
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
        self.record = self.record.saturating_sub(count);
    }

    /// The next record goes behind what rustls has kept.
    fn expect_more(&mut self) -> Result<(), Error> {
        self.record = self.filled;
        match self.filled > MAX_HANDSHAKE {
            true => Err(Error::HandshakeTooLarge),
            false => Ok(()),
        }
    }
}

/// Bytes on their way, wiped when they are gone.
#[derive(Default)]
struct Queue {
    bytes: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends what rustls encodes, in a buffer of the size that it asks for.
    fn encode(&mut self, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
        let start = self.bytes.len();
        if let Err(EncodeError::InsufficientSize(error)) = encode(&mut []) {
            self.bytes.resize(start + error.required_size, 0);
            let written = encode(&mut self.bytes[start..]).unwrap_or(0);
            self.bytes.truncate(start + written);
        }
    }

    /// Hands the bytes to a writer that says how many it took.
    fn drain(&mut self, mut write: impl FnMut(&[u8]) -> usize) {
        if self.is_empty() {
            return;
        }
        let rest = &self.bytes[self.taken..];
        self.taken += write(rest).min(rest.len());
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
