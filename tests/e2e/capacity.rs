//! The documented maximum of connections: all are served, one more is not, and nothing is lost by it.

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

/// Files that this process and QEMU have open: a socket for each connection, and what else they need.
const FILES: u64 = MOST as u64 + 256;

/// Time for an answer. It takes about 10 ms on an idle machine.
const ANSWER: Duration = Duration::from_secs(30);

/// Time in which a connection too many is not answered.
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
    let endpoint = system.endpoint(Protocol::Http)?;
    let begun = Instant::now();
    let mut open = Vec::new();
    while open.len() < MOST {
        let mut stream = connect(endpoint)?;
        ask(&mut stream, ANSWER)
            .map_err(|error| system.failure(&format!("connection {}: {error}", open.len())))?;
        open.push(stream);
    }
    println!("measured: {MOST} connections in {:?}", begun.elapsed());
    // QEMU answers the SYN before the guest does.
    let mut refused = connect(endpoint)?;
    let error = ask(&mut refused, SILENCE).err();
    let error = error.ok_or("a connection more than there can be was answered")?;
    let expected = [
        ErrorKind::WouldBlock,
        ErrorKind::TimedOut,
        ErrorKind::ConnectionReset,
        ErrorKind::UnexpectedEof,
    ];
    ensure(expected.contains(&error.kind()), || error.to_string())?;
    drop(refused);
    for stream in open.iter_mut().step_by(31) {
        ask(stream, ANSWER).map_err(|error| system.failure(&format!("afterwards: {error}")))?;
    }
    open.truncate(MOST - 16);
    let deadline = Instant::now() + ANSWER;
    loop {
        let answer = ask(&mut connect(endpoint)?, SILENCE);
        match answer {
            Ok(()) => break,
            Err(error) if Instant::now() > deadline => {
                return Err(system.failure(&format!("after 16 were closed: {error}")));
            }
            Err(_) => {}
        }
    }
    let log = system.guest.serial().text();
    ensure(!log.contains("fault"), || log.clone())?;
    Ok(Completion::Completed)
}

fn connect(endpoint: &Endpoint) -> Result<TcpStream, Failed> {
    Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, endpoint.host))?)
}

/// A request and its answer, after which the connection stays open.
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

/// Lets this process, and what it starts, have so many files open, if it may.
fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= files);
    let wanted = Rlimit {
        current: Some(files),
        ..limit
    };
    enough(limit.current) || enough(limit.maximum) && setrlimit(Resource::Nofile, wanted).is_ok()
}
