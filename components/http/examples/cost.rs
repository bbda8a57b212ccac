//! What a request costs on the host: time a request, served in memory, against parsing its head with
//! httparse alone.
//!
//! `cargo run --release -p http --example cost`

use std::hint::black_box;
use std::time::Instant;

use http::bundle::{Bundle, Writer};
use http::{Connection, Limits, Router, Server, Stream, pages};

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8443\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nPriority: u=0, i\r\n\r\n";
const ROUNDS: u32 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parse = nanoseconds(|| {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(black_box(REQUEST));
        assert!(black_box(parsed).is_ok_and(|status| status.is_complete()));
    });

    let mut writer = Writer::new();
    writer.add("index.html", &[b'x'; 1024])?;
    let bytes = writer.finish()?;
    let mut router = Router::new();
    router.get("/bytes/*", pages::bytes);
    let mut server = Server::new((), router, Some(Bundle::new(&bytes)?), Limits::default());
    server.set_clock(0, 1_700_000_000_000);
    let mut connection = Connection::new(0);
    let mut memory = Memory {
        left: &[],
        out: [0; 4096],
        used: 0,
    };
    let serve = nanoseconds(|| {
        memory.left = black_box(REQUEST);
        memory.used = 0;
        connection.work(&mut server, &mut memory, 0);
        assert!(black_box(&memory.out).starts_with(b"HTTP/1.1 200 OK\r\n"));
    });
    println!(
        "parse with httparse: {parse:.0} ns, serve: {serve:.0} ns, ratio {:.1}",
        serve / parse
    );
    Ok(())
}

/// The best of five runs, for one round.
fn nanoseconds(mut round: impl FnMut()) -> f64 {
    let run = |_| {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| round());
        start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    };
    (0..5).map(run).fold(f64::INFINITY, f64::min)
}

struct Memory {
    left: &'static [u8],
    out: [u8; 4096],
    used: usize,
}

impl Stream for Memory {
    fn read(&mut self, to: &mut [u8]) -> usize {
        let length = to.len().min(self.left.len());
        to[..length].copy_from_slice(&self.left[..length]);
        self.consume(length);
        length
    }

    fn received(&mut self) -> &[u8] {
        self.left
    }

    fn consume(&mut self, length: usize) {
        self.left = &self.left[length..];
    }

    fn free(&mut self) -> &mut [u8] {
        &mut self.out[self.used..]
    }

    fn commit(&mut self, length: usize) {
        self.used += length;
    }

    fn has_ended(&mut self) -> bool {
        false
    }

    fn finish(&mut self) {}
}
