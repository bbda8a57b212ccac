//! TLS 1.2 and 1.3, asked by two independent clients: OpenSSL and rustls.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use rustls::version::{TLS12, TLS13};
use selkie::cli::{Endpoint, Protocol, root};
use selkie_tests::system::System;
use selkie_tests::{Failed, Outcome, client, ensure, program, tls};

use crate::resources::status;
use crate::{SYSTEMS, trial};

type Test = fn(&Endpoint) -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("openssl_1_3", |endpoint| {
        openssl(endpoint, "-tls1_3", "TLSv1.3")
    }),
    ("openssl_1_2", |endpoint| {
        openssl(endpoint, "-tls1_2", "TLSv1.2")
    }),
    ("rustls_1_2", rustls_1_2),
    (
        "close_notify_from_the_service",
        close_notify_from_the_service,
    ),
    ("close_notify_from_the_client", close_notify_from_the_client),
    ("no_common_protocol", no_common_protocol),
    ("tickets_of_1_3_are_good_once", |endpoint| {
        tickets(endpoint, "-tls1_3", "TLSv1.3")
    }),
    ("tickets_of_1_2_are_good_once", |endpoint| {
        tickets(endpoint, "-tls1_2", "TLSv1.2")
    }),
    ("curl_resumes", curl_resumes),
];

pub fn trials() -> Vec<Trial> {
    let keys = trial(
        "tls::ticket_keys_change_on_time",
        ticket_keys_change_on_time,
    );
    let shared = TESTS.iter().map(|&(name, test)| {
        trial(format!("tls::{name}"), move || {
            let system = SYSTEMS.system("https")?;
            test(system.endpoint(Protocol::Https)?)
                .map_err(|error| system.failure(error.message().unwrap_or("no message")))
        })
    });
    shared.chain([keys]).collect()
}

/// `openssl s_client`, which sends a request and prints what it negotiated and every message.
fn s_client(endpoint: &Endpoint, options: &[&str]) -> Result<String, Failed> {
    let address = endpoint.address().to_string();
    let mut words = vec![
        "openssl", "s_client", "-connect", &address, "-ign_eof", "-msg",
    ];
    words.extend(options);
    let request = b"GET /bytes/8 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let output = program::run(&words, request, Duration::from_secs(30))?;
    Ok(format!("{}\n{}", output.text(), output.err))
}

fn openssl(endpoint: &Endpoint, option: &str, version: &str) -> Outcome {
    let text = s_client(endpoint, &[option, "-alpn", "h2,http/1.1"])?;
    for expected in [
        format!("New, {version}, Cipher is "),
        "ALPN protocol: http/1.1".into(),
        "HTTP/1.1 200".into(),
        "<<< TLS".into(),
        "warning close_notify".into(),
    ] {
        ensure(text.contains(&expected), || {
            format!("no `{expected}` in:\n{text}")
        })?;
    }
    Ok(())
}

fn rustls_1_2(endpoint: &Endpoint) -> Outcome {
    let mut stream = tls::connect(endpoint, &TLS12)?;
    let response = client::get(&mut stream, "/bytes/30000")?;
    ensure(
        response.body == selkie_tests::data::generated(30_000),
        || "other bytes".into(),
    )?;
    let chosen = stream.conn.alpn_protocol().map(<[u8]>::to_vec);
    ensure(chosen.as_deref() == Some(b"http/1.1"), || {
        format!("ALPN {chosen:?}")
    })
}

/// After its last response the service closes with an alert, so that nothing can be cut off unseen
/// (RFC 8446, section 6.1): rustls reports an end without it as an error.
fn close_notify_from_the_service(endpoint: &Endpoint) -> Outcome {
    for version in [&TLS13, &TLS12] {
        let mut stream = tls::connect(endpoint, version)?;
        stream.write_all(b"GET /bytes/8 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut all = Vec::new();
        stream
            .read_to_end(&mut all)
            .map_err(|error| format!("{version:?}: {error}"))?;
        ensure(all.starts_with(b"HTTP/1.1 200"), || {
            format!("{version:?}: {} bytes", all.len())
        })?;
    }
    Ok(())
}

/// A client that says that it will send no more gets the rest of its response and the service's own alert.
fn close_notify_from_the_client(endpoint: &Endpoint) -> Outcome {
    let mut stream = tls::connect(endpoint, &TLS13)?;
    stream.write_all(b"GET /bytes/200000 HTTP/1.1\r\nHost: test\r\n\r\n")?;
    stream.conn.send_close_notify();
    stream.flush()?;
    let response = client::response(&mut stream)?;
    ensure(response.body.len() == 200_000, || {
        format!("{} bytes", response.body.len())
    })?;
    match stream.read(&mut [0; 16]) {
        Ok(0) => Ok(()),
        Ok(n) => Err(format!("{n} bytes after the response").into()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err("the service closed without close_notify".into())
        }
        Err(error) => Err(error.into()),
    }
}

/// A client without a protocol in common is refused with the alert that RFC 7301, section 3.2 names.
fn no_common_protocol(endpoint: &Endpoint) -> Outcome {
    let text = s_client(endpoint, &["-alpn", "smtp"])?;
    ensure(text.contains("no application protocol"), || text.clone())
}

/// OpenSSL resumes a session from a file, and cannot resume it twice.
fn tickets(endpoint: &Endpoint, option: &str, version: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let session = folder.path().join("session.pem").display().to_string();
    s_client(endpoint, &[option, "-sess_out", &session])?;
    for kind in ["Reused", "New"] {
        let text = s_client(endpoint, &[option, "-sess_in", &session])?;
        for expected in [
            format!("{kind}, {version}, Cipher is "),
            "HTTP/1.1 200".into(),
        ] {
            ensure(text.contains(&expected), || {
                format!("no `{expected}` in:\n{text}")
            })?;
        }
    }
    Ok(())
}

/// curl takes a new connection for its second request and resumes the session of the first. With TLS 1.3 only:
/// for older versions it offers no tickets (SSL_OP_NO_TICKET).
fn curl_resumes(endpoint: &Endpoint) -> Outcome {
    let before = status(endpoint)?.counter("tls", "resumed_handshakes")?;
    let again = format!("{endpoint}bytes/9");
    let options = ["--tlsv1.3", "-H", "Connection: close", &again];
    let output = client::curl(endpoint, "/bytes/8", &options)?;
    ensure(output.out.len() == 17, || output.text())?;
    let after = status(endpoint)?.counter("tls", "resumed_handshakes")?;
    ensure(after > before, || format!("{before}, then {after}"))
}

/// The alarm changes ticket keys while nobody connects: the questions for the status alone would not change it
/// as often.
fn ticket_keys_change_on_time() -> Outcome {
    let system = System::boot(&short_period()?)?;
    let endpoint = system.endpoint(Protocol::Https)?;
    let keys = || status(endpoint)?.counter("tls", "ticket_keys");
    for _ in 0..5 {
        let before = keys()?;
        thread::sleep(Duration::from_secs(4));
        if keys()? > before + 2 {
            return Ok(());
        }
    }
    Err(system.failure("the ticket key is not changed"))
}

/// The HTTPS system with a ticket key for each second.
fn short_period() -> Result<String, Failed> {
    let text = fs::read_to_string(root().join("system/https.toml"))?;
    let config = "program = \"tls\"\nconfig = { ticket_period = 1 }";
    let site = root().join("system/site");
    let text = text
        .replace("name = \"https\"", "name = \"tickets\"")
        .replace("program = \"tls\"", config)
        .replace("site = \"site\"", &format!("site = \"{}\"", site.display()));
    let folder = root().join("target/selkie/tests/systems");
    fs::create_dir_all(&folder)?;
    let file = folder.join("tickets.toml");
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}
