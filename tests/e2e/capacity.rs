//! The documented maximum of connections and one more: open connections stay open, and a new one waits or displaces an idle one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use selkie::cli::{Endpoint, Protocol, root};
use selkie_tests::ensure;
use selkie_tests::system::System;

/// The most connections of a `streams` port.
const MOST: usize = 1024;

/// Open files of this process and of QEMU: a socket for each connection, two services, and some spare.
const FILES: u64 = 2 * MOST as u64 + 512;

/// Time for an answer. It takes about 10 ms on an idle machine.
const ANSWER: Duration = Duration::from_secs(30);

/// Time in which the connection beyond the maximum gets no answer.
const SILENCE: Duration = Duration::from_secs(2);

pub fn trials() -> Vec<Trial> {
    vec![Trial::ignorable_test("capacity::maximum", maximum)]
}

fn maximum() -> Result<Completion, Failed> {
    if !may_open(FILES) {
        let reason = format!("a process may not have {FILES} files open here: ulimit -n");
        return Ok(Completion::ignored_with(reason));
    }
    let description = root().join("tests/systems/capacity.toml");
    let system = System::boot(&description.display().to_string())?;
    let checks = || {
        a_full_service_delays_the_next(system.endpoint(Protocol::Echo)?)?;
        kept_connections_make_room(system.endpoint(Protocol::Http)?)
    };
    checks().map_err(|error| system.failure(error.message().unwrap_or("no message")))?;
    let log = system.guest.serial().text();
    ensure(!log.contains("error:"), || log.clone())?;
    Ok(Completion::Completed)
}

/// Serves all connections that `echo` can have; one more is served as soon as a slot is free.
fn a_full_service_delays_the_next(endpoint: &Endpoint) -> Result<(), Failed> {
    let begun = Instant::now();
    let mut open = Vec::new();
    while open.len() < MOST {
        let mut stream = connect(endpoint)?;
        echo(&mut stream, ANSWER).map_err(|error| format!("connection {}: {error}", open.len()))?;
        open.push(stream);
    }
    println!("measured: {MOST} connections in {:?}", begun.elapsed());
    // QEMU answers the client's SYN itself; the guest answers QEMU's SYN with a cookie.
    let mut next = connect(endpoint)?;
    let answer = echo(&mut next, SILENCE).map_err(|error| error.kind());
    let silent = [ErrorKind::WouldBlock, ErrorKind::TimedOut].map(Err);
    ensure(silent.contains(&answer), || {
        format!("a connection more than there can be: {answer:?}")
    })?;
    for stream in open.iter_mut().step_by(31) {
        echo(stream, ANSWER).map_err(|error| format!("while another one waits: {error}"))?;
    }
    open.truncate(MOST - 16);
    let mut byte = [0];
    next.set_read_timeout(Some(ANSWER))?;
    next.read_exact(&mut byte)
        .map_err(|error| format!("after 16 were closed: {error}"))?;
    Ok(())
}

/// `http` closes idle persistent connections, the longest idle first, and answers every new one.
fn kept_connections_make_room(endpoint: &Endpoint) -> Result<(), Failed> {
    let mut open = Vec::new();
    while open.len() < MOST + MOST / 16 {
        let first = answered(endpoint);
        // QEMU's user network has a backlog of 1 and can lose a connection on a busy machine.
        let stream = first.or_else(|_| answered(endpoint));
        open.push(stream.map_err(|error| {
            let reason = error.message().unwrap_or("no message");
            format!("connection {}: {reason}", open.len())
        })?);
    }
    // The idle limit of older connections depends on the number of connections.
    for stream in &mut open[MOST + MOST / 16 - 16..] {
        ask(stream, ANSWER).map_err(|error| format!("one of the newest: {error}"))?;
    }
    Ok(())
}

/// Returns a new connection after its first answer.
fn answered(endpoint: &Endpoint) -> Result<TcpStream, Failed> {
    let mut stream = connect(endpoint)?;
    ask(&mut stream, ANSWER)?;
    Ok(stream)
}

/// Sends a byte and reads its echo.
fn echo(stream: &mut TcpStream, limit: Duration) -> std::io::Result<()> {
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

fn connect(endpoint: &Endpoint) -> Result<TcpStream, Failed> {
    Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, endpoint.host))?)
}

/// Sends a request and reads its response; the connection stays open.
fn ask(stream: &mut TcpStream, limit: Duration) -> std::io::Result<()> {
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /bytes/1 HTTP/1.1\r\nHost: capacity\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    stream.read_exact(&mut byte)?;
    match answer.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(std::io::Error::other(
            String::from_utf8_lossy(&answer).into_owned(),
        )),
    }
}

/// Raises the limit of open files of this process and its children, if it is permitted.
fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= files);
    let wanted = Rlimit {
        current: Some(files),
        ..limit
    };
    enough(limit.current) || enough(limit.maximum) && setrlimit(Resource::Nofile, wanted).is_ok()
}
