//! HTTP, plain and over TLS: the same tests for both.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::Trial;
use selkie::cli::{Endpoint, Protocol};
use selkie_tests::{Failed, Outcome, client, data, ensure, tls};

use crate::{SYSTEMS, trial};

/// A large body: 10 MiB.
const LARGE: usize = 10 << 20;

type Test = fn(&Endpoint) -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("page", page),
    ("head", head),
    ("missing", missing),
    ("particular_requests", particular_requests),
    ("download", download),
    ("upload", upload),
    ("keep_alive", keep_alive),
    ("a_hundred_in_a_row", a_hundred_in_a_row),
    ("thirty_two_at_once", thirty_two_at_once),
    ("slow_reader", slow_reader),
    ("status", status),
];

pub fn trials() -> Vec<Trial> {
    let each = |(system, protocol): (&'static str, Protocol)| {
        TESTS.iter().map(move |(name, test)| {
            trial(format!("{system}::{name}"), move || {
                let system = SYSTEMS.system(system)?;
                test(system.endpoint(protocol)?)
                    .map_err(|error| system.failure(error.message().unwrap_or("no message")))
            })
        })
    };
    [("http", Protocol::Http), ("https", Protocol::Https)]
        .into_iter()
        .flat_map(each)
        .chain([trial("https::redirect", redirect)])
        .collect()
}

/// Redirects every request without TLS to HTTPS, at the port of the description and with the host that the client named.
fn redirect() -> Outcome {
    let system = SYSTEMS.system("https")?;
    let endpoint = system.endpoint(Protocol::Http)?;
    let mut stream = client::connect(endpoint)?;
    for (path, to) in [
        ("/", "https://test/"),
        ("/status.json?a=b", "https://test/status.json?a=b"),
        ("//other.example/%0a", ""),
        ("//other.example/", "https://test//other.example/"),
    ] {
        if to.is_empty() {
            let response = client::get(&mut client::connect(endpoint)?, path)?;
            ensure(response.status == 400, || format!("{response:?}"))?;
            continue;
        }
        let response = client::get(&mut stream, path)?;
        let location = response.field("location");
        ensure(response.status == 308 && location == Some(to), || {
            format!("{path}: {response:?}")
        })?;
    }
    Ok(())
}

/// Something that reads and writes, encrypted or not.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection to the service as its protocol asks for.
pub fn open(endpoint: &Endpoint) -> Result<Box<dyn Stream>, Failed> {
    Ok(match endpoint.protocol {
        Protocol::Https => Box::new(tls::connect(endpoint, &rustls::version::TLS13)?),
        _ => Box::new(client::connect(endpoint)?),
    })
}

/// curl gets the site's first page.
fn page(endpoint: &Endpoint) -> Outcome {
    let format = "\n%{http_code} %{content_type}";
    let text = client::curl(endpoint, "/", &["-w", format])?.text();
    ensure(text.contains("<html") && text.contains("</html>"), || {
        text.clone()
    })?;
    ensure(text.contains("\n200 text/html"), || text.clone())
}

/// HEAD gives the head that GET gives, and no body (RFC 9110, section 9.3.2).
fn head(endpoint: &Endpoint) -> Outcome {
    let head = client::curl(endpoint, "/", &["-I"])?
        .text()
        .to_ascii_lowercase();
    let length = client::curl(endpoint, "/", &[])?.out.len();
    ensure(head.starts_with("http/1.1 200"), || head.clone())?;
    ensure(
        head.contains(&format!("content-length: {length}\r\n")),
        || format!("GET has {length} bytes, but HEAD says:\n{head}"),
    )?;
    // curl would not notice a body after the head on its own connection; the next response would.
    let mut stream = open(endpoint)?;
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")?;
    stream.write_all(b"GET /bytes/3 HTTP/1.1\r\nHost: test\r\n\r\n")?;
    stream.flush()?;
    let mut first = Vec::new();
    while !first.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        first.push(byte[0]);
    }
    let second = client::response(&mut stream)?;
    ensure(second.body == data::generated(3), || format!("{second:?}"))
}

/// What does not exist is a 404, and the connection goes on.
fn missing(endpoint: &Endpoint) -> Outcome {
    let mut stream = open(endpoint)?;
    let response = client::get(&mut stream, "/no/such/page")?;
    ensure(response.status == 404, || format!("{response:?}"))?;
    let response = client::get(&mut stream, "/")?;
    ensure(response.status == 200, || format!("{response:?}"))?;
    let code = client::curl(
        endpoint,
        "/nothing",
        &["-o", "/dev/null", "-w", "%{http_code}"],
    )?;
    ensure(code.text() == "404", || code.text())
}

/// Answers unusual requests of clients and scanners: a long target, lists with empty elements, codings, an invalid range.
fn particular_requests(endpoint: &Endpoint) -> Outcome {
    let mut stream = open(endpoint)?;
    let long = format!("/?{}", "q".repeat(8000 - 2));
    let home = client::get(&mut stream, &long)?;
    ensure(home.status == 200, || format!("{home:?}"))?;
    let tag = home.field("etag").unwrap_or_default().to_string();
    for (fields, status) in [
        (format!("If-None-Match: \"x\", , {tag}"), 304),
        (format!("If-Match: , {tag}"), 200),
        ("If-Match: , \"x\"".into(), 412),
        ("Range: bytes=,0-4".into(), 206),
        ("Accept-Encoding: *;q=0".into(), 406),
        ("Accept-Encoding: gzip;q=0.5, identity;q=0.1".into(), 200),
    ] {
        // A 304 has no length, so each request has a connection of its own, which is then closed.
        let request =
            format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n\r\n");
        let mut stream = open(endpoint)?;
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        let mut line = [0; 12];
        stream.read_exact(&mut line)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        ensure(line == format!("HTTP/1.1 {status}"), || {
            format!("{fields}: {line} and not {status}")
        })?;
    }
    Ok(())
}

/// 10 MiB down, compared by hash.
fn download(endpoint: &Endpoint) -> Outcome {
    let got = client::curl(endpoint, &format!("/bytes/{LARGE}"), &[])?.out;
    ensure(got.len() == LARGE, || format!("{} bytes came", got.len()))?;
    let (got, expected) = (data::sha256(&got), data::sha256(&data::generated(LARGE)));
    ensure(got == expected, || format!("{got} instead of {expected}"))
}

/// 10 MiB up; the service says which hash it saw.
fn upload(endpoint: &Endpoint) -> Outcome {
    let sent = data::random(LARGE, 7);
    let options = [
        "--data-binary",
        "@-",
        "-H",
        "Content-Type: application/octet-stream",
    ];
    let got = client::curl_with_input(endpoint, "/digest", &options, &sent)?.text();
    let expected = data::sha256(&sent);
    ensure(got.trim() == expected, || {
        format!("{got} instead of {expected}")
    })
}

/// One connection serves many requests, pipelined ones too (RFC 9112, section 9.3).
fn keep_alive(endpoint: &Endpoint) -> Outcome {
    let mut stream = open(endpoint)?;
    for length in [0, 1, 1000, 65_536] {
        let response = client::get(&mut stream, &format!("/bytes/{length}"))?;
        ensure(response.body == data::generated(length), || {
            format!("/bytes/{length}: {} other bytes", response.body.len())
        })?;
    }
    for length in 1..=8 {
        write!(stream, "GET /bytes/{length} HTTP/1.1\r\nHost: test\r\n\r\n")?;
    }
    stream.flush()?;
    for length in 1..=8 {
        let response = client::response(&mut stream)?;
        ensure(response.body == data::generated(length), || {
            format!("{response:?}")
        })?;
    }
    Ok(())
}

fn a_hundred_in_a_row(endpoint: &Endpoint) -> Outcome {
    for number in 0..100 {
        let response = open(endpoint)
            .and_then(|mut stream| client::get(&mut stream, "/bytes/100"))
            .map_err(|error| format!("connection {number}: {:?}", error.message()))?;
        ensure(response.body == data::generated(100), || {
            format!("connection {number}: {response:?}")
        })?;
    }
    Ok(())
}

/// Every connection has been answered once, and all are open, before the second request is sent on any of them.
///
/// They are made one after another: QEMU's user-mode network keeps a queue of one for connections that it has not
/// accepted yet, and this machine's kernel resets what does not fit.
fn thirty_two_at_once(endpoint: &Endpoint) -> Outcome {
    let all_open = Barrier::new(32);
    let turn = Mutex::new(());
    let first = |number: usize| -> Result<Box<dyn Stream>, Failed> {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = open(endpoint)?;
        let response = client::get(&mut stream, &format!("/bytes/{number}"))?;
        ensure(response.body == data::generated(number), || {
            format!("connection {number}: other bytes")
        })?;
        Ok(stream)
    };
    let one = |number: usize| -> Outcome {
        let stream = first(number);
        all_open.wait();
        let length = 10_000 + number;
        let response = client::get(&mut stream?, &format!("/bytes/{length}"))?;
        ensure(response.body == data::generated(length), || {
            format!("connection {number}: other bytes")
        })
    };
    let one = &one;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|n| scope.spawn(move || one(n))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a client panicked".into()))
        })
    })
}

/// A client that does not read stops its own download, nobody else's, and loses nothing.
fn slow_reader(endpoint: &Endpoint) -> Outcome {
    let length = 4 << 20;
    let mut slow = open(endpoint)?;
    write!(slow, "GET /bytes/{length} HTTP/1.1\r\nHost: test\r\n\r\n")?;
    slow.flush()?;
    std::thread::sleep(Duration::from_millis(1500));
    let other = client::get(&mut open(endpoint)?, "/bytes/70000")?;
    ensure(other.body == data::generated(70_000), || {
        "another client got other bytes".into()
    })?;
    let response = client::response(&mut slow)?;
    ensure(response.body == data::generated(length), || {
        "other bytes came".into()
    })
}

/// The status page, for people and for programs.
fn status(endpoint: &Endpoint) -> Outcome {
    let page = client::curl(endpoint, "/status", &[])?.text();
    ensure(page.contains("<html") && page.contains("tcpip"), || {
        page.clone()
    })?;
    let status = crate::resources::status(endpoint)?;
    let names = status.domains();
    for name in ["nic", "tcpip", "site"] {
        ensure(names.iter().any(|n| n == name), || {
            format!("no `{name}` among {names:?}")
        })?;
    }
    Ok(())
}

/// A connection without TLS, for bytes that a client should not send.
pub fn raw(endpoint: &Endpoint) -> Result<TcpStream, Failed> {
    client::connect(endpoint)
}
