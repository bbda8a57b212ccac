//! A connection of the HTTP server whose peer sends anything, in any pieces, and reads as slowly as it
//! likes: nothing panics, no turn is endless, no response is cut short, and no memory is kept.
//!
//! Input: steps of three bytes and what they announce: how many bytes arrive, how much room for output
//! there is (times 16), how much time passes (times 64 ms).
#![no_main]

use http::bundle::{Bundle, Writer};
use http::{Connection, Limits, Outcome, Router, Server, Stream, pages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| talk(input));

/// Least cost of a step is 1 KiB and a turn moves 256 KiB, so an input of some kilobytes needs few.
const MOST_TURNS: usize = 64;

fn talk(mut input: &[u8]) {
    let mut writer = Writer::new();
    writer.add("index.html", b"<p>home").unwrap();
    writer.add("a/index.html", b"<p>folder").unwrap();
    let site = writer.finish().unwrap();
    let mut router = Router::new();
    router.get("/bytes/*", pages::bytes);
    router.post("/digest", 4096, pages::digest);
    let site = Bundle::new(&site).unwrap();
    let mut server = Server::new((), router, Some(site), Limits::default());
    server.set_clock(0, 1 << 40);

    let mut connection = Connection::new(0);
    let mut wire = Wire::default();
    let mut now = 0;
    while let [length, room, time, rest @ ..] = input {
        let (arrived, rest) = rest.split_at(rest.len().min((*length).into()));
        input = rest;
        wire.input.extend_from_slice(arrived);
        wire.room += usize::from(*room) * 16;
        now += u64::from(*time) * 64;
        let mut turns = 0;
        let outcome = loop {
            match connection.work(&mut server, &mut wire, now) {
                Outcome::More => turns += 1,
                outcome => break outcome,
            }
            assert!(turns < MOST_TURNS);
        };
        if matches!(outcome, Outcome::Close | Outcome::Abort) {
            break;
        }
        assert!(connection.deadline(&server) > now);
    }
    let counters = server.counters;
    assert!(counters.content_sent <= counters.bytes_sent);
    assert!(counters.responses.iter().sum::<u64>() >= counters.requests.saturating_sub(1));
}

#[derive(Default)]
struct Wire {
    input: Vec<u8>,
    output: Vec<u8>,
    room: usize,
    finished: bool,
}

impl Stream for Wire {
    fn read(&mut self, to: &mut [u8]) -> usize {
        let length = to.len().min(self.input.len());
        to[..length].copy_from_slice(&self.input[..length]);
        self.consume(length);
        length
    }

    fn received(&mut self) -> &[u8] {
        &self.input
    }

    fn consume(&mut self, length: usize) {
        self.input.drain(..length);
    }

    fn free(&mut self) -> &mut [u8] {
        self.output.resize(self.room, 0);
        &mut self.output
    }

    fn commit(&mut self, length: usize) {
        assert!(!self.finished && length <= self.room);
        self.room -= length;
    }

    fn has_ended(&mut self) -> bool {
        false
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}
