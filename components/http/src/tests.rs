//! Conversations with a connection over memory.

use alloc::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::bundle::{Bundle, Writer};
use crate::pages::{bytes, digest, pattern};
use crate::{
    Connection, Context, Limits, Outcome, Request, Response, Router, Server, Status, Stream,
};

/// A transport: what the peer sent, and a limited space for what it has not read.
#[derive(Default)]
struct Pipe {
    input: Vec<u8>,
    ended: bool,
    output: Vec<u8>,
    committed: usize,
    space: usize,
    finished: bool,
}

impl Stream for Pipe {
    fn read(&mut self, to: &mut [u8]) -> usize {
        let length = to.len().min(self.input.len());
        to[..length].copy_from_slice(&self.input[..length]);
        self.input.drain(..length);
        length
    }

    fn received(&mut self) -> &[u8] {
        &self.input
    }

    fn consume(&mut self, length: usize) {
        self.input.drain(..length);
    }

    fn free(&mut self) -> &mut [u8] {
        self.output.resize(self.committed + self.space, 0xee);
        &mut self.output[self.committed..]
    }

    fn commit(&mut self, length: usize) {
        assert!(length <= self.space && !self.finished);
        self.space -= length;
        self.committed += length;
    }

    fn has_ended(&mut self) -> bool {
        self.ended && self.input.is_empty()
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}

/// A server with a small site, and one connection to it.
pub(crate) struct Talk {
    pub(crate) server: Server<'static, ()>,
    connection: Connection,
    pipe: Pipe,
    now: u64,
}

fn site() -> Bundle<'static> {
    let mut writer = Writer::new();
    writer.add("index.html", b"<h1>home</h1>").unwrap();
    writer.add("404.html", b"<h1>lost</h1>").unwrap();
    writer.add("a b/index.html", b"<h1>folder</h1>").unwrap();
    writer.add("empty.txt", b"").unwrap();
    Bundle::new(writer.finish().unwrap().leak()).unwrap()
}

impl Talk {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self::to(site(), limits)
    }

    /// Creates a connection to a server of this site.
    pub(crate) fn to(site: Bundle<'static>, limits: Limits) -> Self {
        fn page(_: &Request<'_>, _: Context<'_, ()>) -> Response {
            Response::text([b'x'; 5000])
        }
        let mut router = Router::new();
        router.get("/bytes/*", bytes);
        router.get("/page", page);
        router.post("/digest", 100_000, digest);
        let server = Server::new((), router, Some(site), limits);
        Self {
            connection: Connection::new(0),
            server,
            pipe: Pipe {
                space: 300_000,
                ..Pipe::default()
            },
            now: 0,
        }
    }

    /// Continues with another connection to the same server.
    pub(crate) fn reconnect(&mut self, connection: Connection) {
        self.connection = connection;
        self.pipe = Pipe {
            space: 300_000,
            ..Pipe::default()
        };
    }

    fn work(&mut self) -> Outcome {
        self.connection
            .work(&mut self.server, &mut self.pipe, self.now)
    }

    /// Sends bytes and returns what came back, once the connection waits.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.pipe.input.extend_from_slice(bytes.as_ref());
        while self.work() == Outcome::More {}
        self.heard()
    }

    fn heard(&mut self) -> String {
        let length = std::mem::take(&mut self.pipe.committed);
        let bytes: Vec<u8> = self.pipe.output.drain(..length).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Statuses of the responses to bytes on a new connection, and whether it was finished after them.
    fn ask(bytes: impl AsRef<[u8]>) -> (Vec<u16>, bool) {
        let mut talk = Self::new();
        let heard = talk.say(bytes);
        (statuses(&heard), talk.pipe.finished)
    }
}

pub(crate) fn statuses(text: &str) -> Vec<u16> {
    text.match_indices("HTTP/1.1 ")
        .map(|(at, _)| text[at + 9..at + 12].parse().unwrap())
        .collect()
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

pub(crate) fn field<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = response.split_once("\r\n\r\n").unwrap();
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_file_is_served_and_the_connection_kept() {
    let mut talk = Talk::new();
    talk.server.set_clock(0, 784_111_777_000);
    let home = talk.say(get("/"));
    assert!(home.starts_with("HTTP/1.1 200 OK\r\n") && home.ends_with("\r\n\r\n<h1>home</h1>"));
    assert_eq!(field(&home, "Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(
        field(&home, "Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(field(&home, "Content-Length"), Some("13"));
    assert_eq!(field(&home, "Connection"), None);
    assert!(field(&home, "Content-Security-Policy").is_some());

    let tag = field(&home, "ETag").unwrap();
    let again = talk.say(format!(
        "GET / HTTP/1.1\r\nHost: h\r\nIf-None-Match: W/{tag}\r\n\r\n"
    ));
    assert!(again.starts_with("HTTP/1.1 304 ") && again.ends_with("\r\n\r\n"));
    assert_eq!(field(&again, "ETag"), Some(tag));

    let head = talk.say("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n"));
    assert_eq!(field(&head, "Content-Length"), Some("13"));
    let part = talk.say("GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=4-7\r\n\r\n");
    assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\nhome"));
    assert_eq!(field(&part, "Content-Range"), Some("bytes 4-7/13"));
    assert_eq!(talk.server.counters.responses, [3, 1, 0, 0]);
    assert!(!talk.pipe.finished);
}

#[test]
fn empty_elements_of_lists_are_ignored() {
    let mut talk = Talk::new();
    let home = talk.say(get("/"));
    let tag = field(&home, "ETag").unwrap();
    let mut ask =
        |fields: String| statuses(&talk.say(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")));
    assert_eq!(ask(format!("If-None-Match: \"x\", , {tag}\r\n")), [304]);
    assert_eq!(ask(format!("If-Match: , {tag}\r\n")), [200]);
    assert_eq!(ask("If-Match: \"x\", ,\r\n".into()), [412]);
    assert_eq!(ask("Range: bytes=,1-2\r\n".into()), [206]);
}

#[test]
fn an_empty_file_has_no_ranges() {
    let mut talk = Talk::new();
    for range in ["-5", "0-", "3-4"] {
        let heard = talk.say(format!(
            "GET /empty.txt HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\n\r\n"
        ));
        assert_eq!(statuses(&heard), [200], "{range}");
        assert_eq!(field(&heard, "Content-Length"), Some("0"));
        assert_eq!(field(&heard, "Content-Range"), None);
    }
}

#[test]
fn a_target_of_8000_octets_is_taken() {
    let query = "q".repeat(8000 - "/?".len());
    let mut talk = Talk::new();
    assert_eq!(statuses(&talk.say(get(&format!("/?{query}")))), [200]);
    assert_eq!(talk.server.memory.left(), Limits::default().memory);
}

#[test]
fn folders_redirect_and_missing_files_get_the_sites_page() {
    let mut talk = Talk::new();
    let moved = talk.say(get("/a%20b?q=1"));
    assert_eq!(statuses(&moved), [301]);
    assert_eq!(field(&moved, "Location"), Some("/a%20b/?q=1"));
    assert!(talk.say(get("/a%20b/")).ends_with("<h1>folder</h1>"));
    let lost = talk.say(get("/nothing"));
    assert!(lost.starts_with("HTTP/1.1 404 ") && lost.ends_with("<h1>lost</h1>"));
}

#[test]
fn methods() {
    let ask = |line: &str| {
        let mut talk = Talk::new();
        let heard = talk.say(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
        (statuses(&heard), field(&heard, "Allow").map(String::from))
    };
    assert_eq!(ask("PUT /"), (vec405(), Some("GET, HEAD, OPTIONS".into())));
    assert_eq!(ask("GET /digest"), (vec405(), Some("POST, OPTIONS".into())));
    assert_eq!(
        ask("POST /page"),
        (vec405(), Some("GET, HEAD, OPTIONS".into()))
    );
    assert_eq!(ask("DELETE /nothing").0, [404]);
    assert_eq!(
        ask("OPTIONS /digest"),
        ([204].into(), Some("POST, OPTIONS".into()))
    );
    assert_eq!(ask("OPTIONS *").0, [204]);
    assert_eq!(ask("OPTIONS /nothing").0, [404]);
    assert_eq!(ask("BREW /").0, [501]);
}

fn vec405() -> Vec<u16> {
    [405].into()
}

#[test]
fn what_is_refused_ends_the_connection() {
    let long = format!("GET /{}", "a".repeat(9000));
    let fields = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(5000));
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("\u{16}\u{3}\u{1}", 400),
        ("GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505),
        (&long, 414),
        (&fields, 431),
        (
            "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\n",
            413,
        ),
        (
            "POST /digest HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            400,
        ),
        (
            "POST /digest HTTP/1.1\r\nHost: h\r\nExpect: wonders\r\nContent-Length: 1\r\n\r\n",
            417,
        ),
    ] {
        assert_eq!(Talk::ask(bytes), ([status].into(), true), "{bytes:.60}");
    }
    let (answers, finished) = Talk::ask("POST /digest HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((answers, finished), ([411].into(), false));
}

#[test]
fn a_chunked_body_over_the_limit_is_413() {
    let mut talk = Talk::new();
    let mut heard =
        talk.say("POST /digest HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..26 {
        heard += &talk.say(format!("1000\r\n{}\r\n", "a".repeat(0x1000)));
    }
    assert_eq!(statuses(&heard), [413]);
    assert!(talk.pipe.finished);
}

#[test]
fn bodies_are_digested_in_either_framing_and_any_pieces() {
    let body: Vec<u8> = (0..50_000u32).map(|n| ((n * n) >> 3) as u8).collect();
    let expected: String = Sha256::digest(&body)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let mut known = format!(
        "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    known.extend(&body);
    let mut chunked =
        b"POST /digest HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(7777) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    for request in [&known, &chunked] {
        for piece in [1, 7, 1000, 100_000] {
            let mut talk = Talk::new();
            let mut heard = String::new();
            for part in request.chunks(piece) {
                heard += &talk.say(part);
            }
            assert!(
                heard.ends_with(&format!("\r\n\r\n{expected}\n")),
                "pieces of {piece}: {heard}"
            );
            assert!(heard.len() < 1000 && !talk.pipe.finished);
            assert_eq!(talk.server.counters.body_bytes, 50_000);
            // Only what came into private memory together with the head was copied.
            assert!(talk.server.counters.body_bytes_copied < 2048);
        }
    }
}

#[test]
fn continue_is_said_once_and_only_when_the_body_is_awaited() {
    let head =
        "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut talk = Talk::new();
    assert_eq!(talk.say(head), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(statuses(&talk.say("ab")), [200]);
    assert_eq!(Talk::ask(format!("{head}ab")), ([200].into(), false));
    // A final answer without the body: whether the body follows is not known, so the connection ends.
    assert_eq!(
        Talk::ask(head.replace("digest", "nothing")),
        ([404].into(), true)
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let many = format!("\r\n{}", get("/bytes/3").repeat(300));
    let mut talk = Talk::new();
    assert_eq!(statuses(&talk.say(&many)), [200; 300]);
    let skipped = format!(
        "POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nGET {}",
        get("/")
    );
    assert_eq!(statuses(&talk.say(skipped)), [405, 200]);
}

#[test]
fn one_turn_is_bounded() {
    let mut talk = Talk::new();
    talk.pipe.input = get("/bytes/3").repeat(2000).into_bytes();
    assert_eq!(talk.work(), Outcome::More);
    assert!(talk.server.counters.requests < 300);
}

#[test]
fn closing() {
    assert_eq!(
        Talk::ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        ([200].into(), true)
    );
    assert_eq!(Talk::ask("GET / HTTP/1.0\r\n\r\n"), ([200].into(), true));
    let mut talk = Talk::new();
    let old = talk.say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(field(&old, "Connection"), Some("keep-alive"));
    talk.pipe.ended = true;
    assert_eq!(talk.work(), Outcome::Close);
    // After the last response the peer's bytes are thrown away until it ends as well.
    let mut talk = Talk::new();
    talk.say("GET / HTTP/1.0\r\n\r\nmore");
    assert_eq!(talk.work(), Outcome::Wait);
    talk.pipe.ended = true;
    assert_eq!(talk.work(), Outcome::Close);
}

#[test]
fn a_body_that_breaks_off_is_reset() {
    let mut talk = Talk::new();
    talk.say("POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na");
    talk.pipe.ended = true;
    assert_eq!(talk.work(), Outcome::Abort);
}

#[test]
fn generated_bytes_stop_while_there_is_no_space() {
    let mut talk = Talk::new();
    talk.pipe.space = 1000;
    talk.pipe.input = get("/bytes/100000").into_bytes();
    assert_eq!(talk.work(), Outcome::Wait);
    assert_eq!(talk.pipe.space, 0);
    while talk.connection.work(&mut talk.server, &mut talk.pipe, 1) == Outcome::Wait
        && talk.pipe.space == 0
    {
        talk.pipe.space = 777;
    }
    let body = &talk.pipe.output[talk.pipe.committed - 100_000..talk.pipe.committed];
    let mut expected = [0; 100_000];
    pattern(0, &mut expected);
    assert!(body == expected);
    assert_eq!(talk.server.counters.content_sent, 100_000);
}

#[test]
fn times() {
    let limits = Limits::default();
    let late = |first: &str, now: u64| {
        let mut talk = Talk::new();
        talk.say(first);
        talk.now = now - 1;
        assert_eq!(talk.work(), Outcome::Wait, "{first}");
        assert!(talk.connection.deadline(&talk.server) <= now);
        talk.now = now;
        let outcome = talk.work();
        assert!(talk.pipe.finished);
        talk.now = talk.connection.deadline(&talk.server);
        assert_eq!(talk.now, now + limits.linger_time);
        assert_eq!(talk.work(), Outcome::Close);
        (statuses(&talk.heard()), outcome)
    };
    assert_eq!(late("", limits.idle_time), ([].into(), Outcome::Wait));
    assert_eq!(late("GET", limits.head_time), ([408].into(), Outcome::Wait));
    let body = "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n";
    assert_eq!(late(body, limits.stall_time), ([408].into(), Outcome::Wait));
    let mut stuck = Talk::new();
    stuck.pipe.space = 10;
    stuck.pipe.input = get("/").into_bytes();
    stuck.work();
    stuck.now = stuck.connection.deadline(&stuck.server);
    assert_eq!(stuck.work(), Outcome::Abort);
}

#[test]
fn a_request_that_has_arrived_is_answered_however_late_it_is_looked_at() {
    let mut talk = Talk::new();
    talk.say(get("/"));
    talk.now = 100_000;
    assert_eq!(statuses(&talk.say(get("/"))), [200]);
    // But a request that was incomplete at the deadline is too late.
    talk.say("GET");
    talk.now += 100_000;
    assert_eq!(statuses(&talk.say(" / HTTP/1.1\r\nHost: h\r\n\r\n")), [408]);
}

#[test]
fn only_a_connection_that_waits_for_another_request_is_given_up() {
    let give_up = |talk: &mut Talk| {
        talk.connection.give_up(&mut talk.server, &mut talk.pipe, 0);
        (talk.pipe.finished, talk.server.counters.made_room)
    };
    let mut talk = Talk::new();
    assert_eq!(
        give_up(&mut talk),
        (false, 0),
        "its first request is to come"
    );
    talk.say(get("/"));
    talk.pipe.input = get("/").into_bytes();
    assert_eq!(give_up(&mut talk), (false, 0), "its request has arrived");
    assert_eq!(statuses(&talk.say("")), [200]);
    assert_eq!(give_up(&mut talk), (true, 1));
}

#[test]
fn empty_lines_do_not_hold_a_connection() {
    let mut talk = Talk::new();
    while !talk.pipe.finished && talk.now < 100_000 {
        talk.say("\r\n");
        talk.now += 1000;
    }
    assert_eq!(talk.now, Limits::default().head_time + 1000);
    assert_eq!(talk.heard(), "");
}

#[test]
fn dribbling_does_not_move_the_deadline_for_ever() {
    let mut talk = Talk::new();
    talk.say("POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n");
    let mut heard = String::new();
    while heard.is_empty() && talk.now < 1_000_000 {
        talk.now += 1000;
        heard = talk.say("a");
    }
    assert_eq!(statuses(&heard), [408]);
    assert!(talk.now <= 61_000);
}

#[test]
fn memory_is_bounded_and_given_back() {
    let limits = Limits {
        memory: 6000,
        ..Limits::default()
    };
    let mut talk = Talk::with(limits);
    talk.pipe.space = 10;
    talk.pipe.input = get("/page").into_bytes();
    talk.work();
    assert!(talk.server.memory.left() < 1001);
    // A second connection finds no memory for its head.
    let mut second = Connection::new(0);
    let mut pipe = Pipe {
        space: 5000,
        input: get("/").into_bytes(),
        ..Pipe::default()
    };
    second.work(&mut talk.server, &mut pipe, 0);
    assert!(pipe.output.starts_with(b"HTTP/1.1 503 "));
    drop(second);
    talk.pipe.space = 10_000;
    talk.work();
    assert_eq!(talk.server.memory.left(), 6000);
    assert_eq!(statuses(&talk.heard()), [200]);
}

#[test]
fn a_handler_cannot_be_asked_beyond_its_length() {
    fn exact(_: &Request<'_>, _: Context<'_, ()>) -> Response {
        let fill = Box::new(|position: u64, out: &mut [u8]| {
            assert!(position + out.len() as u64 <= 10);
            out.fill(b'.');
        });
        let body = crate::Body::Generated { length: 10, fill };
        Response::new(Status::OK, "text/plain", body)
    }
    let mut talk = Talk::new();
    let mut router = Router::new();
    router.get("/", exact);
    talk.server = Server::new((), router, None, Limits::default());
    assert!(talk.say(get("/")).ends_with("\r\n\r\n.........."));
}

proptest! {
    /// Whatever arrives in whatever pieces, with space coming in whatever pieces: nothing panics, the
    /// connection never spins, and all memory comes back.
    #[test]
    fn any_bytes(pieces in prop::collection::vec((piece(), 0usize..3000, 0u64..4000), 0..12)) {
        let mut talk = Talk::new();
        talk.pipe.space = 0;
        for (bytes, space, time) in pieces {
            talk.pipe.input.extend(bytes);
            talk.pipe.space += space;
            talk.now += time;
            let mut turns = 0;
            while talk.work() == Outcome::More {
                turns += 1;
                prop_assert!(turns < 100);
            }
        }
        drop(talk.connection);
        prop_assert_eq!(talk.server.memory.left(), Limits::default().memory);
    }

    /// The answer does not depend on how the bytes are cut.
    #[test]
    fn pieces_give_the_same_answer(parts in prop::collection::vec(piece(), 1..5), size in 1usize..40) {
        let all = parts.concat();
        let mut whole = Talk::new();
        let expected = whole.say(&all);
        let mut cut = Talk::new();
        let mut heard = String::new();
        for piece in all.chunks(size) {
            heard += &cut.say(piece);
        }
        // `100 Continue` is left out when the body is there already.
        let final_ones = |text: &str| text.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        prop_assert_eq!(final_ones(&heard), final_ones(&expected));
        prop_assert_eq!(cut.pipe.finished, whole.pipe.finished);
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "(GET|HEAD|POST|PUT|OPTIONS) (/|/page|/bytes/[0-9]{1,3}|/digest|\\*) HTTP/1\\.[01]\r\n",
        2 => "(Host: h\r\n){0,2}",
        2 => "(Content-Length: [0-9]{1,2}\r\n)?(Transfer-Encoding: chunked\r\n)?(Expect: 100-continue\r\n)?",
        1 => "(Connection: (close|keep-alive)\r\n)?(Range: bytes=[0-9]{0,2}-[0-9]{0,2}\r\n)?",
        3 => "\r\n",
        1 => "[0-9a-f]{1,2}\r\n[a-z]{0,20}\r\n",
        1 => "0\r\n\r\n",
    ]
    .prop_map(String::into_bytes)
    .boxed()
    .prop_union(prop::collection::vec(any::<u8>(), 0..20).boxed())
}

#[test]
fn a_redirect_counts_as_memory() {
    let path = "a".repeat(3000);
    let response =
        crate::Response::error(crate::response::Status::MOVED_PERMANENTLY).with("Location", path);
    assert!(response.memory() >= 3000);
}
