//! Faults when it is told to, for the restart tests. It says in the log what it finds in its memory when it begins: after
//! a fault that must be what it was the first time.
//!
//! With a `streams` port it sends back what it receives, and obeys two words: `stumble` faults, `call N` asks its
//! `random` server for N bytes and sends back how that went. As a server it answers, but a request for [`FATAL`] bytes
//! makes it fault before.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::format;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

use channel::PeerMisbehaved;
use channel::random::{MAX_BYTES, Request, encode};
use channel::streams::{ConnectionId, Consumer, ConsumerEvent as Event};
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, MessageInfo, protection_domain};

/// What a server does not survive being asked for.
const FATAL: usize = 13;

/// In the initialised data, and in what is zero at first.
static DATA: AtomicU64 = AtomicU64::new(7);
static ZERO: AtomicU64 = AtomicU64::new(0);

struct Stumbler {
    streams: Option<Consumer>,
}

#[protection_domain]
fn init() -> Stumbler {
    let found = (
        DATA.fetch_add(1, Ordering::Relaxed),
        ZERO.fetch_add(1, Ordering::Relaxed),
    );
    // A block that an allocator with an old state would not find zeroed.
    let block = black_box(Box::new([0_u8; 4096]));
    let stale = block.iter().filter(|byte| **byte != 0).count();
    black_box(Box::leak(block)).fill(0xcc);
    pd::info!(
        "begins: data {}, zeroed {}, stale bytes {stale}",
        found.0,
        found.1
    );
    let connected = pd::wiring().connection("streams").is_ok();
    Stumbler {
        streams: connected.then(|| pd::streams_consumer("streams")),
    }
}

impl Handler for Stumbler {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        if let Some(Err(peer)) = self.streams.as_mut().map(work) {
            pd::error!("no more connections: {peer}");
        }
        Ok(())
    }

    fn protected(&mut self, _: Channel, message: MessageInfo) -> Result<MessageInfo, Infallible> {
        let request = pd::request(&message);
        let mut words = [0; MAX_BYTES / 8];
        let answer = match Request::decode(request.label, &request.words) {
            Ok(Request::Fill { bytes: FATAL }) => fault(),
            Ok(Request::Fill { bytes }) => Ok(encode(&[0x5a; MAX_BYTES][..bytes], &mut words)),
            Err(error) => Err(error),
        };
        Ok(pd::answer(answer, &words))
    }
}

fn work(streams: &mut Consumer) -> Result<(), PeerMisbehaved> {
    loop {
        while let Some(event) = streams.next_event()? {
            match event {
                Event::Readable(id) => obey(streams, id),
                Event::HalfClosed(id) => streams.close(id),
                Event::Closed(id) | Event::Reset(id) => streams.release(id),
                Event::Started | Event::Opened(..) | Event::Writable(_) | Event::Answer { .. } => {}
            }
        }
        if streams.sleep() {
            return Ok(());
        }
    }
}

fn obey(streams: &mut Consumer, id: ConnectionId) {
    let mut buffer = [0; 256];
    let count = streams.read(id, &mut buffer);
    let said = &buffer[..count];
    let call = said
        .strip_prefix(b"call ")
        .and_then(|n| core::str::from_utf8(n).ok()?.parse().ok());
    match call {
        Some(bytes) => {
            let outcome = ask(bytes);
            streams.write(id, outcome.as_bytes());
        }
        None if said == b"stumble" => fault(),
        None => _ = streams.write(id, said),
    }
}

fn ask(bytes: usize) -> alloc::string::String {
    let mut target = [0; MAX_BYTES];
    let target = &mut target[..bytes.min(MAX_BYTES)];
    match pd::fill_random(target) {
        Ok(()) => format!("{target:02x?}"),
        Err(error) => format!("{error}"),
    }
}

#[inline(never)]
fn fault() -> ! {
    // SAFETY: none: nothing is mapped there, and that is what it is for.
    unsafe { black_box(core::ptr::null_mut::<u8>()).write_volatile(1) };
    panic!("there is memory at address 0");
}
