//! A protection domain that faults is wiped and starts over: its peers go on, its callers get an error, and one that
//! faults again and again is given up.
//!
//! The system is `tests/systems/stumbler.toml`: echo, with two more PDs that fault when they are told to.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use libtest_mimic::Trial;
use selkie::cli::{Endpoint, Protocol};
use selkie_tests::system::System;
use selkie_tests::{Failed, Outcome, client, ensure};

use crate::trial;

const PATIENCE: Duration = Duration::from_secs(30);
/// How often the description lets a protection start over.
const RESTARTS: usize = 3;
/// The number of bytes that `back` does not survive being asked for.
const FATAL: &str = "call 13";

pub fn trials() -> Vec<Trial> {
    vec![trial("restart::who_stumbles_goes_on", || {
        let system = System::boot("stumbler")?;
        let endpoint = system.endpoint(Protocol::Tcp)?;
        a_service_starts_over(&system, endpoint)
            .and_then(|()| a_caller_gets_an_error(&system, endpoint))
            .and_then(|()| a_crash_loop_ends(&system, endpoint))
            .map_err(|error| system.failure(error.message().unwrap_or("no message")))
    })]
}

/// Its connections are reset, its neighbours' are not, and it serves again, from memory as it was at first.
fn a_service_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    let neighbour = client::connect(system.endpoint(Protocol::Echo)?)?;
    let mut connections = [client::connect(endpoint)?, client::connect(endpoint)?];
    for stream in &mut connections {
        expect(stream, "anybody there?", "anybody there?")?;
    }
    connections[0].write_all(b"stumble")?;
    system.wait_for_line(0, "front wrote to 0x0", PATIENCE)?;
    for stream in &mut connections {
        let ended = stream.read(&mut [0; 16]);
        let cut = matches!(&ended, Ok(0))
            || matches!(&ended, Err(e) if e.kind() == ErrorKind::ConnectionReset);
        ensure(cut, || format!("a connection goes on: {ended:?}"))?;
    }
    expect(&mut &neighbour, "and you?", "and you?")?;
    expect(&mut client::connect(endpoint)?, "again?", "again?")?;
    let log = system.guest.serial().text();
    let begins = |line: &&str| {
        line.contains("front") && line.contains("begins: data 7, zeroed 0, stale bytes 0")
    };
    ensure(log.lines().filter(begins).count() == 2, || {
        "it does not begin twice from the same memory".into()
    })?;
    ensure(log.contains("; it starts over"), || {
        "the supervisor does not say so".into()
    })
}

fn a_caller_gets_an_error(system: &System, endpoint: &Endpoint) -> Outcome {
    let mut stream = client::connect(endpoint)?;
    expect(&mut stream, "call 4", "[5a, 5a, 5a, 5a]")?;
    expect(
        &mut stream,
        FATAL,
        "the server was restarted during the call",
    )?;
    system.wait_for_line(0, "back wrote to 0x0", PATIENCE)?;
    expect(&mut stream, "call 3", "[5a, 5a, 5a]")
}

/// `back` has started over once already.
fn a_crash_loop_ends(system: &System, endpoint: &Endpoint) -> Outcome {
    let mut stream = client::connect(endpoint)?;
    for _ in 1..=RESTARTS {
        expect(
            &mut stream,
            FATAL,
            "the server was restarted during the call",
        )?;
    }
    let given_up = format!("stopped: it has started over {RESTARTS} times already");
    system.wait_for_line(0, &given_up, PATIENCE)?;
    for _ in 0..2 {
        expect(&mut stream, "call 4", "the server cannot answer now")?;
    }
    expect(&mut stream, "still here?", "still here?")
}

/// Says something, and wants this back.
fn expect(stream: &mut (impl Read + Write), said: &str, answer: &str) -> Outcome {
    stream.write_all(said.as_bytes())?;
    let mut back = vec![0; answer.len()];
    stream
        .read_exact(&mut back)
        .map_err(|error| Failed::from(format!("after {said:?}: {error}")))?;
    ensure(back == answer.as_bytes(), || {
        format!(
            "{said:?} was answered with {:?}",
            String::from_utf8_lossy(&back)
        )
    })
}
