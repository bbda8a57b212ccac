//! A protection domain that faults is wiped and starts over: its peers go on, its callers get an error, and one that
//! faults again and again is given up.
//!
//! The first system is `tests/systems/stumbler.toml`: echo, with two more PDs that fault when they are told to. The second is
//! `system/https.toml` as it is shipped, whose PDs a debugger sends astray.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Trial};
use microkit_sdf::Architecture;
use rustls::StreamOwned;
use rustls::version::{TLS12, TLS13};
use selkie::cli::{Endpoint, Protocol, root};
use selkie_tests::debugger::Trap;
use selkie_tests::system::System;
use selkie_tests::{Failed, Outcome, client, ensure, ground, tls};

use crate::resources::status;
use crate::trial;

const PATIENCE: Duration = Duration::from_secs(30);
/// How often the description lets a protection start over.
const RESTARTS: usize = 3;
/// The number of bytes that `back` does not survive being asked for. It is asked again once it has started over, so each
/// such word takes two of its lives.
const FATAL: &str = "call 13";
const LIVES: usize = 2;

pub fn trials() -> Vec<Trial> {
    let stumbler = trial("restart::who_stumbles_goes_on", || {
        let system = System::boot("stumbler")?;
        let endpoint = system.endpoint(Protocol::Tcp)?;
        a_service_starts_over(&system, endpoint)
            .and_then(|()| a_caller_gets_an_error(&system, endpoint))
            .and_then(|()| a_crash_loop_ends(&system, endpoint))
            .map_err(|error| system.failure(error.message().unwrap_or("no message")))
    });
    let https = trial("restart::https_goes_on", || {
        let system = System::boot("https")?;
        let endpoint = system.endpoint(Protocol::Https)?;
        the_site_starts_over(&system, endpoint)
            .and_then(|()| tls_starts_over(&system, endpoint))
            .and_then(|()| the_driver_starts_over(&system, endpoint))
            .and_then(|()| tcpip_starts_over(&system, endpoint))
            .and_then(|()| the_vault_starts_over(&system, endpoint))
            .and_then(|()| entropy_starts_over(&system, endpoint))
            .and_then(|()| the_clock_starts_over(&system, endpoint))
            .and_then(|()| the_console_starts_over(&system, endpoint))
            .map_err(|error| system.failure(error.message().unwrap_or("no message")))
    });
    let passive = Trial::ignorable_test("restart::who_is_passive_goes_on", || {
        if !ground().is_microkit() {
            let reason = "no protection domain is passive with this board's kernel";
            return Ok(Completion::ignored_with(reason));
        }
        let system = System::boot(&passive()?)?;
        let endpoint = system.endpoint(Protocol::Tcp)?;
        a_caller_gets_an_error(&system, endpoint)
            .and_then(|()| a_crash_loop_ends(&system, endpoint))
            .map_err(|error| system.failure(error.message().unwrap_or("no message")))?;
        Ok(Completion::Completed)
    });
    vec![stumbler, passive, https]
}

/// The first system, in which `back` answers on its callers' time.
fn passive() -> Result<String, Failed> {
    let text = fs::read_to_string(root().join("tests/systems/stumbler.toml"))?;
    let back = "[protection.back]\n";
    ensure(text.contains(back), || text.clone())?;
    let text = text
        .replace("name = \"stumbler\"", "name = \"passive\"")
        .replace(back, "[protection.back]\npassive = true\n");
    let folder = root().join("target/selkie/tests/systems");
    fs::create_dir_all(&folder)?;
    let file = folder.join("passive.toml");
    fs::write(&file, text)?;
    Ok(file.display().to_string())
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
    until_taken(|| expect(&mut client::connect(endpoint)?, "again?", "again?"))?;
    let log = system.guest.serial().text();
    let begins = |line: &&str| {
        line.contains("front") && line.contains("begins: data 7, zeroed 0, stale bytes 0")
    };
    ensure(log.lines().filter(begins).count() == 2, || {
        "it does not begin twice from the same memory".into()
    })?;
    ensure(log.contains("; it starts over"), || {
        "the supervisor does not say so".into()
    })?;
    // The supervisor may not call the clock: it computes the time from what the clock publishes.
    let (before, after) = log.split_once("front wrote to 0x0").unwrap_or_default();
    let (before, line) = before.rsplit_once('\n').unwrap_or_default();
    let latest = before.lines().filter_map(time).fold(0.0, f64::max);
    let fault = time(line).unwrap_or(0.0);
    ensure(latest > 0.0 && fault > latest - 0.1, || {
        format!("the fault is said to be at {fault} s, behind a line at {latest} s: {line}{after}")
    })
}

/// The time in seconds in a line of the log.
fn time(line: &str) -> Option<f64> {
    let (time, _) = line.strip_prefix('[')?.split_once(']')?;
    time.trim().parse().ok()
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

/// `back` has started over for one such word already.
fn a_crash_loop_ends(system: &System, endpoint: &Endpoint) -> Outcome {
    let mut stream = client::connect(endpoint)?;
    for _ in 1..(RESTARTS + 1) / LIVES {
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

/// Tries again with a new connection, as long as nobody takes any because the protection domain has not begun yet.
fn until_taken<T>(connect: impl Fn() -> Result<T, Failed>) -> Result<T, Failed> {
    let begin = Instant::now();
    loop {
        match connect() {
            Err(_) if begin.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
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

/// A program faults over a request: the connection ends, the next is served, and `tls` is the one that it was.
fn tls_outlives(
    system: &System,
    endpoint: &Endpoint,
    program: &str,
    function: &str,
    name: &str,
) -> Outcome {
    let mut stream = tls::connect(endpoint, &TLS13)?;
    let handshakes = status(endpoint)?.counter("tls", "handshakes")?;
    let trap = Trap::set(system, program, function)?;
    request(&mut stream)?;
    trap.spring()?;
    ends(&mut stream)?;
    starts_over(system, name)?;
    until_taken(|| serves(endpoint))?;
    let later = status(endpoint)?.counter("tls", "handshakes")?;
    ensure(later > handshakes, || {
        format!("tls has started over too: {handshakes} handshakes, then {later}")
    })
}

fn the_site_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    tls_outlives(
        system,
        endpoint,
        "http",
        "http::pages::bytes::bytes",
        "site",
    )
}

/// With all session keys in its memory. Every connection ends; the certificate is the one before.
fn tls_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    let mut idle = tls::connect(endpoint, &TLS12)?;
    let mut stream = tls::connect(endpoint, &TLS13)?;
    let shown = certificate(&stream);
    let trap = Trap::set(system, "tls", "Tls13MessageDecrypter as ")?;
    request(&mut stream)?;
    trap.spring()?;
    ends(&mut stream)?;
    ends(&mut idle)?;
    starts_over(system, "tls")?;
    let again = certificate(&until_taken(|| serves(endpoint))?);
    ensure(again == shown, || "another certificate".into())
}

/// Over a received frame: the connection goes on, since TCP sends again what was lost, and only who has lost it.
fn the_driver_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    let mut stream = tls::connect(endpoint, &TLS13)?;
    let trap = Trap::set(system, "net-driver", "::next_transmit")?;
    request(&mut stream)?;
    trap.spring()?;
    starts_over(system, "nic")?;
    let response = client::response(&mut stream)?;
    ensure(response.body.len() == 8, || "other bytes".into())?;
    let handshakes = status(endpoint)?.counter("tls", "handshakes")?;
    ensure(handshakes > 1, || "tls has started over too".into())?;
    serves(endpoint).map(drop)
}

/// It forgets all connections, and takes its address anew.
fn tcpip_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    tls_outlives(system, endpoint, "tcpip", "Tcb>::receive", "tcpip")
}

/// While it signs: the handshake ends with the alert `internal_error` (80, RFC 8446, section 6.2), the open session goes on, and
/// the next handshake is made with the key that the vault has made then.
fn the_vault_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    let mut open = tls::connect(endpoint, &TLS13)?;
    let shown = certificate(&open);
    for version in [&TLS13, &TLS12] {
        let mut stream = client::connect(endpoint)?;
        let trap = Trap::set(system, "vault", "p256_point_mul_base")?;
        tls::client(version)?.write_tls(&mut stream)?;
        trap.spring()?;
        let mut alert = Vec::new();
        stream.read_to_end(&mut alert)?;
        ensure(alert == [21, 3, 3, 0, 2, 2, 80], || {
            format!("{version:?}: not the alert: {alert:?}")
        })?;
    }
    starts_over(system, "vault")?;
    let response = client::get(&mut open, "/bytes/8")?;
    ensure(response.body.len() == 8, || "other bytes".into())?;
    let new = certificate(&serves(endpoint)?);
    ensure(new != shown, || {
        "the certificate of a key that is no more".into()
    })
}

/// While it gives out bytes, twice. Who was to get them asks again, so the handshake goes on; and what the generator gives in
/// one life it gives in no other.
fn entropy_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    let mut open = tls::connect(endpoint, &TLS13)?;
    let shown = certificate(&open);
    let mut given = vec![server_random(endpoint)?];
    for version in [&TLS13, &TLS12] {
        let (mut socket, mut client) = (client::connect(endpoint)?, tls::client(version)?);
        let trap = Trap::set(system, "entropy", "::feed")?;
        client.write_tls(&mut socket)?;
        trap.spring()?;
        let mut stream = StreamOwned::new(client, socket);
        request(&mut stream)?;
        let response = client::response(&mut stream)?;
        ensure(response.body.len() == 8, || "other bytes".into())?;
        ensure(certificate(&stream) == shown, || {
            "another certificate".into()
        })?;
        given.push(server_random(endpoint)?);
    }
    starts_over(system, "entropy")?;
    let log = system.guest.serial().text();
    let seeded = log.lines().filter(|line| line.contains("seeded from"));
    ensure(seeded.count() == 3, || {
        "it was not seeded in each life".into()
    })?;
    given.sort_unstable();
    given.dedup();
    ensure(given.len() == 3, || format!("bytes came twice: {given:?}"))?;
    let response = client::get(&mut open, "/bytes/8")?;
    ensure(response.body.len() == 8, || "other bytes".into())
}

/// While it tells the time, and over an alarm. The time goes on, and whoever had set an alarm is waked all the same: a client
/// that never says anything is sent away.
fn the_clock_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    let timer = match ground().board.target.architecture {
        Architecture::X86_64 => "Hpet<R> as clock::Timer>",
        Architecture::Aarch64 => "ArmTimer<G> as clock::Timer>",
        Architecture::Riscv64 => "Goldfish<R,C> as clock::Timer>",
    };
    let before = status(endpoint)?.uptime()?;
    let mut open = tls::connect(endpoint, &TLS13)?;
    let mut silent = silent(endpoint)?;
    let trap = Trap::set(system, "clock", &format!("{timer}::now"))?;
    request(&mut open)?;
    trap.spring()?;
    let response = client::response(&mut open)?;
    ensure(response.body.len() == 8, || "other bytes".into())?;
    starts_over(system, "clock")?;
    let after = status(endpoint)?.uptime()?;
    ensure(after > before, || {
        format!("time went back from {before} to {after}")
    })?;
    // Nobody does anything from here on that would wake `tls`.
    drop(open);
    is_sent_away(&mut silent)?;
    silent = self::silent(endpoint)?;
    Trap::set(system, "clock", &format!("{timer}::acknowledge"))?.spring()?;
    is_sent_away(&mut silent)?;
    serves(endpoint).map(drop)
}

/// A client that says nothing, for whose end `tls` has set an alarm: the one that comes after it is served.
fn silent(endpoint: &Endpoint) -> Result<TcpStream, Failed> {
    let silent = client::connect(endpoint)?;
    serves(endpoint)?;
    Ok(silent)
}

fn is_sent_away(client: &mut TcpStream) -> Outcome {
    let sent = client.read_to_end(&mut Vec::new());
    ensure(sent.is_ok(), || "who says nothing is not sent away".into())
}

/// Over a line that is written, twice. What it says first is how it faulted, and then what others say from then on.
fn the_console_starts_over(system: &System, endpoint: &Endpoint) -> Outcome {
    for _ in 0..2 {
        let open = serves(endpoint)?;
        let begun = system.guest.serial().text().len() as u64;
        let trap = Trap::set(system, "console", "Serial::work")?;
        // The end of a session is worth a line.
        drop(open);
        trap.spring()?;
        let line = system.wait_for_line(begun, "console jumped to 0x0", PATIENCE)?;
        ensure(line.starts_with('['), || {
            format!("it goes on in the middle of a line: {line}")
        })?;
        let begun = system.guest.serial().text().len() as u64;
        drop(serves(endpoint)?);
        system.wait_for_line(begun, "tls: ", PATIENCE)?;
    }
    Ok(())
}

/// The random bytes in a ServerHello (RFC 8446, section 4.1.3), which is the first thing that a server says.
fn server_random(endpoint: &Endpoint) -> Result<[u8; 32], Failed> {
    let mut socket = client::connect(endpoint)?;
    tls::client(&TLS13)?.write_tls(&mut socket)?;
    let mut hello = [0; 43];
    socket.read_exact(&mut hello)?;
    ensure((hello[0], hello[5]) == (22, 2), || {
        format!("no ServerHello: {hello:?}")
    })?;
    Ok(*hello.last_chunk().expect("43 bytes are more than 32"))
}

fn request(stream: &mut impl Write) -> Outcome {
    stream.write_all(b"GET /bytes/8 HTTP/1.1\r\nHost: test\r\n\r\n")?;
    Ok(stream.flush()?)
}

/// The connection ends, in whatever way, without an answer.
fn ends(stream: &mut tls::Stream) -> Outcome {
    let ended = stream.read(&mut [0; 16]);
    let cut = |error: &std::io::Error| {
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
        )
    };
    ensure(
        matches!(&ended, Ok(0)) || ended.as_ref().is_err_and(cut),
        || format!("a connection goes on: {ended:?}"),
    )
}

fn starts_over(system: &System, domain: &str) -> Outcome {
    let line = system.wait_for_line(0, &format!("{domain} jumped to 0x0"), PATIENCE)?;
    ensure(line.contains("; it starts over"), || line.clone())
}

/// A new connection is answered.
fn serves(endpoint: &Endpoint) -> Result<tls::Stream, Failed> {
    let mut stream = tls::connect(endpoint, &TLS13)?;
    let response = client::get(&mut stream, "/bytes/8")?;
    ensure(response.body.len() == 8, || "other bytes".into())?;
    Ok(stream)
}

/// The certificate that the server has shown.
fn certificate(stream: &tls::Stream) -> Option<Vec<u8>> {
    let chain = stream.conn.peer_certificates()?;
    chain.first().map(|certificate| certificate.to_vec())
}
