//! The echo system: every byte compared.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Barrier, Mutex, PoisonError};

use libtest_mimic::Trial;
use selkie::cli::{Endpoint, Protocol};
use selkie_tests::{Failed, Outcome, client, data, ensure};

use crate::{SYSTEMS, trial};

type Test = fn(&Endpoint) -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("sizes", sizes),
    ("half_close", half_close),
    ("many_small_writes", many_small_writes),
    ("several_at_once", several_at_once),
    ("a_reset_harms_nobody", a_reset_harms_nobody),
];

pub fn trials() -> Vec<Trial> {
    TESTS
        .iter()
        .map(|&(name, test)| {
            trial(format!("echo::{name}"), move || {
                let system = SYSTEMS.system("echo")?;
                test(system.endpoint(Protocol::Echo)?)
                    .map_err(|error| system.failure(error.message().unwrap_or("no message")))
            })
        })
        .collect()
}

/// Sends bytes while it reads them back, then closes its side and reads the end.
fn round_trip(stream: &TcpStream, bytes: &[u8]) -> Outcome {
    let back = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut stream: &TcpStream = stream;
            stream
                .write_all(bytes)
                .and_then(|()| stream.shutdown(Shutdown::Write))
        });
        let mut back = Vec::new();
        let mut reader: &TcpStream = stream;
        let read = reader.read_to_end(&mut back);
        writer
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the writer panicked")))?;
        read.map(|_| back)
    })?;
    let first = back.iter().zip(bytes).position(|(a, b)| a != b);
    ensure(back == bytes, || {
        format!(
            "{} bytes sent, {} came back, the first difference is at {first:?}",
            bytes.len(),
            back.len()
        )
    })
}

/// Sizes around those of segments, pages, buffers and rings.
pub fn sizes(endpoint: &Endpoint) -> Outcome {
    let sizes = [
        0,
        1,
        2,
        535,
        536,
        1459,
        1460,
        1461,
        4096,
        8191,
        8192,
        8193,
        65_537,
        1 << 20,
    ];
    for (seed, size) in (1..).zip(sizes) {
        let stream = client::connect(endpoint)?;
        round_trip(&stream, &data::random(size, seed))
            .map_err(|error| format!("{size} bytes: {:?}", error.message()))?;
    }
    Ok(())
}

/// The service returns everything that it got before the client's end, and then ends too.
fn half_close(endpoint: &Endpoint) -> Outcome {
    let mut stream = client::connect(endpoint)?;
    let bytes = data::random(6000, 99);
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    ensure(back == bytes, || {
        format!("{} of {} bytes came back", back.len(), bytes.len())
    })
}

fn many_small_writes(endpoint: &Endpoint) -> Outcome {
    let mut stream = client::connect(endpoint)?;
    let bytes = data::random(3000, 5);
    for piece in bytes.chunks(7) {
        stream.write_all(piece)?;
    }
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back)?;
    ensure(back == bytes, || "other bytes came back".into())
}

/// A connection on which a byte has come back.
fn answered(endpoint: &Endpoint) -> Result<TcpStream, Failed> {
    let mut stream = client::connect(endpoint)?;
    let mut byte = [42];
    stream.write_all(&byte)?;
    stream.read_exact(&mut byte)?;
    ensure(byte == [42], || format!("{byte:?} came back"))?;
    Ok(stream)
}

fn several_at_once(endpoint: &Endpoint) -> Outcome {
    let all_open = Barrier::new(16);
    let turn = Mutex::new(());
    let one = |number: u64| -> Outcome {
        let stream = {
            // See `http::thirty_two_at_once`: one after another, each taken by the guest before the next.
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            answered(endpoint)
        };
        all_open.wait();
        round_trip(&stream?, &data::random(100_000, 1000 + number))
    };
    let one = &one;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|n| scope.spawn(move || one(n))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a client panicked".into()))
        })
    })
}

/// Connections that end with unread bytes (a reset) leave the service as it was.
fn a_reset_harms_nobody(endpoint: &Endpoint) -> Outcome {
    for _ in 0..20 {
        let mut stream = client::connect(endpoint)?;
        stream.write_all(&data::random(5000, 3))?;
        let mut one = [0];
        stream.read_exact(&mut one)?;
        // What is still unread makes the system send a reset.
        drop(stream);
    }
    round_trip(&client::connect(endpoint)?, &data::random(50_000, 4))
}
