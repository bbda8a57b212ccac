//! The `pinata` protection domain: holds a secret and hands it to whoever proves to be worth it.
//!
//! Duties: writes the secret to each session whose other end TLS has verified, and ends it; for each knock (a plain
//! TCP connection) asks TLS for a session with whoever knocked, in which the roles are exchanged.
//!
//! Prohibitions: it writes the secret to nothing but the `streams` port, and there only to a peer with an identity. It
//! never reads what a peer sends. It has no say in who is verified, and no key.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use core::net::SocketAddr;

use channel::PeerMisbehaved;
use channel::streams::{ConnectionId, Consumer, ConsumerEvent as Event, Opened};
use sel4_microkit::{ChannelSet, Handler, Infallible, protection_domain};

struct Pinata {
    secret: &'static [u8],
    streams: Consumer,
    knock: Option<Consumer>,
    /// Where whoever knocks is connected to.
    port: u16,
}

#[protection_domain]
fn init() -> Pinata {
    pd::wipe_released_memory();
    let wiring = pd::wiring();
    let port = wiring.integer("port").unwrap_or(40_001);
    let knock = wiring.connection("knock").is_ok();
    let streams = pd::streams_consumer("streams");
    let secret = pd::data("secret");
    assert!(
        secret.len() <= streams.layout().buffer(),
        "the secret is longer than a connection's buffer"
    );
    let pinata = Pinata {
        secret,
        streams,
        knock: knock.then(|| pd::streams_consumer("knock")),
        port: u16::try_from(port).unwrap_or_else(|_| panic!("`port` is none")),
    };
    pd::info!("holds a secret of {} bytes", pinata.secret.len());
    pinata
}

impl Handler for Pinata {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        while self.work() {}
        Ok(())
    }
}

impl Pinata {
    /// A round over both ports. Whether there is more to do.
    fn work(&mut self) -> bool {
        let knocks = self.take_knocks();
        let sessions = self.take_sessions();
        for error in [knocks.err(), sessions.err()].into_iter().flatten() {
            pd::error!("a port is dead: {error}");
        }
        let idle = self.knock.as_mut().is_none_or(Consumer::sleep);
        !(self.streams.sleep() && idle)
    }

    fn take_knocks(&mut self) -> Result<(), PeerMisbehaved> {
        let Some(knock) = &mut self.knock else {
            return Ok(());
        };
        while let Some(event) = knock.next_event()? {
            match event {
                Event::Opened(id, opened) => {
                    let remote = SocketAddr::new(opened.peer.ip(), self.port);
                    let answer = match self.streams.connect(remote) {
                        Ok(_) => format!("connecting to {remote}\n"),
                        Err(_) => "busy\n".into(),
                    };
                    knock.write(id, answer.as_bytes());
                    knock.close(id);
                }
                Event::Closed(id) | Event::Reset(id) => knock.release(id),
                Event::Readable(id) => discard(knock, id),
                _ => {}
            }
        }
        Ok(())
    }

    fn take_sessions(&mut self) -> Result<(), PeerMisbehaved> {
        while let Some(event) = self.streams.next_event()? {
            match event {
                Event::Opened(id, opened) => self.hand_over(id, &opened),
                Event::Closed(id) | Event::Reset(id) => self.streams.release(id),
                Event::Readable(id) => discard(&mut self.streams, id),
                Event::Answer {
                    result: Err(refusal),
                    ..
                } => pd::info!("no session with who knocked: {refusal:?}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, id: ConnectionId, opened: &Opened) {
        let Some(identity) = &opened.identity else {
            pd::error!("{}: a session without an identity", opened.peer);
            return self.streams.abort(id);
        };
        // The ring is empty and larger than the secret; what did not fit would be missing at the other end.
        self.streams.write(id, self.secret);
        self.streams.close(id);
        let name = identity.name().unwrap_or("somebody");
        pd::info!("{}: the secret is handed to {name}", opened.peer);
    }
}

/// What a peer sends is not looked at.
fn discard(streams: &mut Consumer, id: ConnectionId) {
    let count = streams.readable(id);
    streams.consume(id, count);
}
