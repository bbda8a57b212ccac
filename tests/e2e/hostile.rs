//! Clients that do not keep to the rules: refused, and nobody else notices.

use std::io::{Read, Write};

use libtest_mimic::Trial;
use selkie::cli::{Endpoint, Protocol};
use selkie_tests::{Outcome, client, data, ensure};

use crate::http::{open, raw};
use crate::{SYSTEMS, trial};

type Test = fn(&Endpoint) -> Outcome;

const TESTS: &[(&str, &str, Protocol, Test)] = &[
    ("http_nonsense", "http", Protocol::Http, http_nonsense),
    ("http_long_head", "http", Protocol::Http, http_long_head),
    ("tls_nonsense", "https", Protocol::Https, tls_nonsense),
    (
        "http_to_a_tls_port",
        "https",
        Protocol::Https,
        http_to_a_tls_port,
    ),
];

pub fn trials() -> Vec<Trial> {
    TESTS
        .iter()
        .map(|&(name, system, protocol, test)| {
            trial(format!("hostile::{name}"), move || {
                let system = SYSTEMS.system(system)?;
                let endpoint = system.endpoint(protocol)?;
                test(endpoint)
                    .and_then(|()| still_serves(endpoint))
                    .map_err(|error| system.failure(error.message().unwrap_or("no message")))
            })
        })
        .collect()
}

fn still_serves(endpoint: &Endpoint) -> Outcome {
    let response = client::get(&mut open(endpoint)?, "/bytes/5000")?;
    ensure(response.body == data::generated(5000), || {
        format!("{response:?}")
    })
}

/// Whatever the service says to this, it must end the connection; returns what it said.
fn say(endpoint: &Endpoint, bytes: &[u8]) -> Result<Vec<u8>, selkie_tests::Failed> {
    let mut stream = raw(endpoint)?;
    // The service may have ended the connection before it read everything: both outcomes are fine.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => Ok(said),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(said),
        Err(error) => Err(format!("the connection stays open: {error}").into()),
    }
}

fn http_nonsense(endpoint: &Endpoint) -> Outcome {
    let requests: [&[u8]; 5] = [
        b"\0\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    ];
    for request in requests {
        let said = String::from_utf8_lossy(&say(endpoint, request)?).into_owned();
        let refused = said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 5");
        ensure(refused, || {
            format!(
                "{:?} was answered with {said:?}",
                String::from_utf8_lossy(request)
            )
        })?;
    }
    Ok(())
}

fn http_long_head(endpoint: &Endpoint) -> Outcome {
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    let said = String::from_utf8_lossy(&say(endpoint, long.as_bytes())?).into_owned();
    // The refusal may be lost when the service resets the connection under what it did not read.
    ensure(said.is_empty() || said.starts_with("HTTP/1.1 4"), || {
        said.clone()
    })
}

fn tls_nonsense(endpoint: &Endpoint) -> Outcome {
    say(endpoint, &data::random(3000, 11))?;
    // A record header that promises more than TLS allows (RFC 8446, section 5.1).
    say(endpoint, b"\x16\x03\x01\xff\xff")?;
    // A handshake message of a ClientHello's type, full of zeros.
    let mut hello = vec![0x16, 3, 1, 0, 204, 1, 0, 0, 200];
    hello.resize(5 + 204, 0);
    say(endpoint, &hello).map(drop)
}

fn http_to_a_tls_port(endpoint: &Endpoint) -> Outcome {
    let said = say(endpoint, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    ensure(!said.starts_with(b"HTTP/1.1 200"), || {
        "served without TLS".into()
    })
}
