//! The vault: keys of every kind, and what a taken-over client gets out of it.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use object::{Object, ObjectSymbol, SymbolKind};
use rcgen::{CertificateParams, KeyPair};
use rustls::version::TLS13;
use selkie::cli::{Endpoint, Protocol, root};
use selkie::settings::Configuration;
use selkie_tests::system::{System, built};
use selkie_tests::{Failed, Outcome, client, ensure, ground, program, tls};

use crate::{SYSTEMS, trial};

/// An RSA key, which neither the vault nor the tests' own tools can make.
pub const RSA: &[u8] = include_bytes!("../../components/vault/tests/rsa-2048.der");

/// Signatures a second of the forger in `forger.toml`, and of `tls` in `keys.toml`.
const FORGER_RATE: u64 = 50;
const TLS_RATE: usize = 4;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("vault::every_kind_of_key_signs", every_kind_of_key_signs),
        trial(
            "vault::refused_signatures_end_handshakes_cleanly",
            refused_signatures_end_handshakes_cleanly,
        ),
        trial("vault::a_forger_gets_nothing", a_forger_gets_nothing),
        trial("vault::is_small", is_small),
    ]
}

/// The vault stays small enough for review: bounds its own source code and the machine code outside ring.
///
/// ring is not counted. It makes up two thirds of the image, most of that tables of curve points, and its size depends on the
/// version of the compiler by more than a reviewer would notice.
fn is_small() -> Outcome {
    /// Bytes of machine code from Rust outside ring: of the vault, of the PD around it, of serde, alloc and core. It is
    /// 84,000 on x86_64; an X.509 parser alone would double it. If the line is a virtio device, its driver is included.
    const CODE: u64 = 120_000;
    /// Lines that are neither blank nor comment nor test.
    const LINES: usize = 1_160;
    if ground().configuration == Configuration::Release {
        let elf = fs::read(built("https")?.folder.join("pds/vault.elf"))?;
        let file = object::File::parse(&*elf).map_err(|error| error.to_string())?;
        let size = code_outside_ring(&file);
        ensure((40_000..=CODE).contains(&size), || {
            format!("the vault has {size} bytes of code outside ring")
        })?;
    }
    let folders = ["components/vault/src", "protections/vault/src"];
    let mut unread = folders.map(|folder| root().join(folder)).to_vec();
    let mut lines = 0;
    while let Some(path) = unread.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path()));
            unread.extend(entries.collect::<Result<Vec<_>, _>>()?);
        } else if !path.ends_with("tests.rs") {
            lines += own_lines(&fs::read_to_string(path)?);
        }
    }
    ensure((500..=LINES).contains(&lines), || {
        format!("the vault's own code has {lines} lines")
    })
}

/// Functions written in Rust, recognised by their mangled names; the other functions of ring are C and assembler.
fn code_outside_ring(file: &object::File<'_>) -> u64 {
    let functions = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text);
    let own = functions.filter(|symbol| {
        let name = symbol.name().unwrap_or_default();
        name.starts_with("_R") && !name.contains("_4ring")
            || name.starts_with("_ZN") && !name.contains("N4ring") && !name.contains("$LT$ring..")
    });
    own.map(|symbol| symbol.size()).sum()
}

/// The lines of a source file up to its tests.
fn own_lines(source: &str) -> usize {
    let code = source.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

/// The system of `keys.toml`, beside the files that it names.
fn keys() -> Result<Arc<System>, Failed> {
    let folder = root().join("target/selkie/tests/systems/keys");
    fs::create_dir_all(&folder)?;
    let pair = KeyPair::try_from(RSA)?;
    let params = CertificateParams::new(vec!["rsa.test".to_owned()])?;
    fs::write(folder.join("rsa.pem"), params.self_signed(&pair)?.pem())?;
    fs::write(folder.join("rsa.key"), pair.serialize_pem())?;
    let file = folder.join("keys.toml");
    fs::copy(root().join("tests/systems/keys.toml"), &file)?;
    SYSTEMS.system(&file.display().to_string())
}

/// SNI picks the key; OpenSSL verifies its signature and says of which kind it is.
fn every_kind_of_key_signs() -> Outcome {
    let system = keys()?;
    let endpoint = system.endpoint(Protocol::Https)?;
    for (name, version, certificate, signature) in [
        ("p256.test", "-tls1_3", "p256.test", "ECDSA"),
        ("p256.test", "-tls1_2", "p256.test", "ECDSA"),
        ("www.p384.test", "-tls1_3", "*.p384.test", "ECDSA"),
        ("www.p384.test", "-tls1_2", "*.p384.test", "ECDSA"),
        ("ed25519.test", "-tls1_3", "ed25519.test", "Ed25519"),
        ("ed25519.test", "-tls1_2", "ed25519.test", "Ed25519"),
        ("rsa.test", "-tls1_3", "rcgen self signed cert", "RSA-PSS"),
        ("rsa.test", "-tls1_2", "rcgen self signed cert", "RSA-PSS"),
        ("unknown.test", "-tls1_3", "p256.test", "ECDSA"),
    ] {
        let text = s_client(endpoint, &[version, "-servername", name])?;
        for expected in [
            format!("subject=CN = {certificate}"),
            format!("Peer signature type: {signature}"),
            "HTTP/1.1 200".into(),
        ] {
            // Versions of OpenSSL differ in spaces and capitals.
            let text = text.replace("CN=", "CN = ").to_lowercase();
            ensure(text.contains(&expected.to_lowercase()), || {
                format!("{name} {version}: no `{expected}` in:\n{text}")
            })?;
        }
    }
    // The encoding that TLS 1.3 has done away with.
    let pkcs1 = [
        "-tls1_2",
        "-servername",
        "rsa.test",
        "-sigalgs",
        "RSA+SHA256",
    ];
    let text = s_client(endpoint, &pkcs1)?;
    let signature = "peer signature type: rsa\n";
    ensure(text.to_lowercase().contains(signature), || text.clone())
}

/// What `openssl s_client` says; while the vault has given too many signatures, it is asked again.
fn s_client(endpoint: &Endpoint, options: &[&str]) -> Result<String, Failed> {
    let begin = Instant::now();
    loop {
        let text = s_client_once(endpoint, options)?;
        if !text.contains("alert internal error") || begin.elapsed() > PATIENCE {
            return Ok(text);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn s_client_once(endpoint: &Endpoint, options: &[&str]) -> Result<String, Failed> {
    let address = endpoint.address().to_string();
    let mut words = vec!["openssl", "s_client", "-connect", &address, "-ign_eof"];
    words.extend(options);
    let request = b"GET /bytes/8 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let output = program::run(&words, request, PATIENCE)?;
    Ok(format!("{}\n{}", output.text(), output.err))
}

/// More handshakes at once than there are signatures in a second: those without get an alert, and once the second
/// is over, the next gets its signature.
fn refused_signatures_end_handshakes_cleanly() -> Outcome {
    const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];
    let system = keys()?;
    let endpoint = system.endpoint(Protocol::Https)?;
    let mut hello = Vec::new();
    tls::client(&TLS13)?.write_tls(&mut hello)?;
    let mut streams = Vec::new();
    for _ in 0..4 * TLS_RATE {
        streams.push(client::connect(endpoint)?);
    }
    for stream in &mut streams {
        stream.write_all(&hello)?;
    }
    let mut refused = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut first = [0; 7];
        stream.read_exact(&mut first)?;
        match first {
            INTERNAL_ERROR => {
                refused += 1;
                let rest = stream.read(&mut [0; 16])?;
                ensure(rest == 0, || "bytes after the alert".into())?;
            }
            [22, ..] => {}
            other => return Err(format!("neither a ServerHello nor an alert: {other:?}").into()),
        }
    }
    ensure(refused > 0, || "no handshake was refused".into())?;
    drop(streams);
    let begin = Instant::now();
    while let Err(error) = tls::connect(endpoint, &TLS13) {
        ensure(begin.elapsed() < PATIENCE, || {
            format!("no handshake works any more: {error:?}")
        })?;
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// `forger.toml`: a client of the vault that asks for everything it must not have.
fn a_forger_gets_nothing() -> Outcome {
    let system = System::boot("forger")?;
    let wait = |what: &str| system.wait_for_line(0, what, PATIENCE);
    wait("forger: crafted: 16 refused")?;
    wait("forger: wild: 5000 answered as they may be")?;
    wait("forger: client: the vault does not sign for a TLS client here")?;
    let flood = wait("forger: flood: ")?;
    wait("forger: the vault goes on")?;
    let log = system.guest.serial().text();
    ensure(!log.contains("attack succeeded"), || log.clone())?;
    let numbers: Vec<u64> = flood
        .rsplit("flood: ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let &[signed, asked, milliseconds] = &numbers[..] else {
        return Err(format!("not three numbers: {flood}").into());
    };
    let most = FORGER_RATE + FORGER_RATE * (milliseconds + 1) / 1000 + 1;
    ensure((1..=most).contains(&signed) && signed < asked, || {
        flood.clone()
    })?;
    wait("vault: warning: refused")?;
    // The honest client of the same vault is served.
    let mut stream = tls::connect(system.endpoint(Protocol::Https)?, &TLS13)?;
    let response = client::get(&mut stream, "/bytes/8")?;
    ensure(response.body.len() == 8, || "other bytes".into())
}
