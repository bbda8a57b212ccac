//! A connection of the HTTP server whose peer sends anything, in any pieces, and reads as slowly as it
//! likes: nothing panics, no turn is endless, no response is cut short, and no memory is kept.
//!
//! Input: steps of three bytes and what they announce: how many bytes arrive, how much room for output
//! there is (times 16), how much time passes (times 64 ms). An input of odd length is for a server that redirects to HTTPS. As
//! text, an input is also a pattern, a target and a path, one a line.
#![no_main]

use http::bundle::{Bundle, Pattern, Piece, Template, Writer};
use http::{Connection, Limits, LogFormat, Outcome, Router, Server, Stream, pages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    talk(input);
    lead(input);
});

/// Least cost of a step is 1 KiB and a turn moves 256 KiB, so an input of some kilobytes needs few.
const MOST_TURNS: usize = 64;

fn talk(mut input: &[u8]) {
    let mut writer = Writer::new();
    writer.add("index.html", b"<p>home").unwrap();
    writer.add("a/index.html", b"<p>folder").unwrap();
    writer.add("index.html.br", b"encoded").unwrap();
    writer.redirect("/r/*/**", "/$2/$1?x=$2", 308).unwrap();
    writer.rewrite("/w/*", "/$1/").unwrap();
    writer.set_fallback("index.html").unwrap();
    let site = writer.finish().unwrap();
    let mut router = Router::new();
    router.get("/bytes/*", pages::bytes);
    router.post("/digest", 4096, pages::digest);
    let site = Bundle::new(&site).unwrap();
    let mut server = Server::new((), router, Some(site), Limits::default());
    server.set_clock(0, 1 << 40);
    server.set_https_port((input.len() % 2 == 1).then_some(8443));
    let format = match input.len() % 4 {
        0 | 1 => LogFormat::Combined,
        _ => LogFormat::Json,
    };
    server.set_access_log(format, 5, |line| {
        let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        assert!(line.len() <= 1024 && line.bytes().all(is_plain), "{line}");
    });

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

/// The parts that a pattern matches are parts of the path, and no target redirects to a host that it does not name.
fn lead(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else {
        return;
    };
    let mut lines = text.split('\n');
    let (Some(pattern), Some(target), Some(path)) = (lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let Ok(pattern) = Pattern::new(pattern) else {
        return;
    };
    let Some(parts) = pattern.matches(path) else {
        return;
    };
    for number in 1..=pattern.wildcards() {
        assert!(parts.get(number).is_some_and(|part| path.contains(part)));
    }
    if let Ok(template) = Template::url(target, pattern.wildcards()) {
        let first = template.pieces(&parts).next();
        assert!(matches!(first, Some(Piece::Literal(text)) if text.starts_with(['/', 'h'])));
    }
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
