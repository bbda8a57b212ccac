//! The `echo` protection domain: sends back what it receives (RFC 862), on every connection at its own pace.
//!
//! It keeps nothing: what does not fit the way back yet stays in the connection's ring, which closes the
//! client's window.
#![no_std]
#![no_main]

use channel::PeerMisbehaved;
use channel::streams::{ConnectionId, Consumer, ConsumerEvent as Event};
use sel4_microkit::{ChannelSet, Handler, Infallible, protection_domain};

struct Echo {
    streams: Consumer,
}

#[protection_domain]
fn init() -> Echo {
    let streams = pd::streams_consumer("streams");
    pd::info!("echoes what it receives");
    Echo { streams }
}

impl Handler for Echo {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        if let Err(peer) = self.work() {
            pd::error!("no more connections: {peer}");
        }
        Ok(())
    }
}

impl Echo {
    fn work(&mut self) -> Result<(), PeerMisbehaved> {
        loop {
            while let Some(event) = self.streams.next_event()? {
                match event {
                    Event::Readable(id) | Event::Writable(id) | Event::HalfClosed(id) => {
                        self.echo(id)
                    }
                    Event::Closed(id) | Event::Reset(id) => self.streams.release(id),
                    Event::Started | Event::Opened(..) | Event::Answer { .. } => {}
                }
            }
            if self.streams.sleep() {
                return Ok(());
            }
        }
    }

    fn echo(&mut self, id: ConnectionId) {
        let mut buffer = [0; 2048];
        loop {
            let room = self.streams.writable(id).min(buffer.len());
            let count = self.streams.read(id, &mut buffer[..room]);
            self.streams.write(id, &buffer[..count]);
            if count == 0 {
                break;
            }
        }
        if self.streams.at_end(id) {
            self.streams.close(id);
        } else if self.streams.writable(id) == 0 {
            self.streams.wait_for_room(id, 1);
        }
    }
}
