//! Keys that are sent to a running vault: `selkie provision`.
//!
//! The system is `tests/systems/provision.toml`; what it says of `serial1` only a board with a second serial port has.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustls::version::TLS13;
use selkie::cli::{Endpoint, Protocol, root};
use selkie_qemu::{Qmp, free_port, second_serial};
use selkie_tests::certificates::{Authority, Holder};
use selkie_tests::debugger::Trap;
use selkie_tests::program::Output;
use selkie_tests::{Failed, Outcome, client, ensure, ground, program, tls};

use crate::trial;

const NAME: &str = "provision";
const HOST: &str = "provision.test";
const PATIENCE: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    let board = &ground().board;
    vec![match board.device("serial1") {
        Some(_) => trial("provision::a_key_is_sent", a_key_is_sent),
        None => trial("provision::without_a_line", without_a_line),
    }]
}

/// The system serves with its own key, then with the one that is sent; what is none changes nothing.
fn a_key_is_sent() -> Outcome {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new("Authority")?;
    let holder = authority.server(HOST, folder.path())?;
    let other = authority.server(HOST, &folder.path().join("other"))?;
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, authority.pem())?;
    let (file, port) = (description(), free_port()?);
    let (board, configuration) = (&ground().board.name, ground().configuration.name());
    let number = port.to_string();
    let run = ["run", &file, "--detach", "--port", &number];
    let on = ["--board", board, "--config", configuration];
    selkie(&[&run[..], &on].concat())?.good()?;
    let _guard = Stop;
    let endpoint = Endpoint {
        host: port,
        guest: 443,
        protocol: Protocol::Https,
    };

    let untrusted = ask(&endpoint, &trusted)?;
    ensure(untrusted.code == Some(60), || format!("{untrusted:?}"))?;
    // Half a line, as by a sender that ended; and a line that is no key.
    let line = second_serial(&run_folder())?;
    line.set_read_timeout(Some(PATIENCE))?;
    (&line).write_all(b"0102\n1234")?;
    let mut answer = String::new();
    BufReader::new(&line).read_line(&mut answer)?;
    ensure(answer.starts_with("error this is no key"), || {
        answer.clone()
    })?;
    drop(line);
    let still = ask(&endpoint, &trusted)?;
    ensure(still.code == Some(60), || format!("{still:?}"))?;

    for holder in [&holder, &other] {
        let said = send(holder, &holder.key)?.good()?;
        ensure(
            said.text() == format!("the vault of {NAME} has the key for {HOST}\n"),
            || format!("{said:?}"),
        )?;
        served_with(&endpoint, &trusted, holder)?;
    }
    // The command finds out by itself that they do not belong together.
    let mixed = send(&holder, &other.key)?;
    ensure(
        mixed.code == Some(1) && mixed.err.contains("is for another key"),
        || format!("{mixed:?}"),
    )?;
    served_with(&endpoint, &trusted, &other)?;
    gone_after_a_fault(&endpoint, &trusted)?;
    send(&holder, &holder.key)?.good()?;
    served_with(&endpoint, &trusted, &holder)
}

/// A vault that starts over has its own key only, and half a line that came before does not matter.
fn gone_after_a_fault(endpoint: &Endpoint, trusted: &Path) -> Outcome {
    let trap = {
        let mut qmp = Qmp::connect(&run_folder())?;
        Trap::set_in(&mut qmp, &run_folder(), "vault", "p256_point_mul_base")?
    };
    (&second_serial(&run_folder())?).write_all(b"0102")?;
    let mut stream = client::connect(endpoint)?;
    tls::client(&TLS13)?.write_tls(&mut stream)?;
    trap.spring()?;
    stream.read_to_end(&mut Vec::new())?;
    let untrusted = ask(endpoint, trusted)?;
    ensure(untrusted.code == Some(60), || format!("{untrusted:?}"))
}

/// A board without a second serial port: the description is refused, and says why.
fn without_a_line() -> Outcome {
    let output = selkie(&["check", &description(), "--board", &ground().board.name])?;
    let message = format!("the board `{}` has no device", ground().board.name);
    ensure(
        output.code == Some(1) && output.err.contains(&message) && output.err.contains("serial1"),
        || format!("{output:?}"),
    )
}

/// Waits until the service shows this certificate (`tls` reads the keys anew when it is told), which the authority
/// has issued.
fn served_with(endpoint: &Endpoint, trusted: &Path, holder: &Holder) -> Outcome {
    let expected = std::fs::read_to_string(&holder.certificate)?;
    let certificate = expected.replace("\r\n", "\n");
    let body: String = certificate
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let begin = Instant::now();
    loop {
        let answer = ask(endpoint, trusted)?;
        let address = endpoint.address().to_string();
        let words = ["openssl", "s_client", "-connect", &address];
        let shown = program::run(&words, b"", PATIENCE)?.text();
        let shown: String = shown.lines().collect();
        if answer.code == Some(0) && shown.contains(&body) {
            return Ok(());
        }
        ensure(begin.elapsed() < PATIENCE, || {
            format!("{answer:?}\n{shown}")
        })?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// curl, which checks the certificate: exit code 60 when nobody it trusts has issued it.
fn ask(endpoint: &Endpoint, trusted: &Path) -> Result<Output, Failed> {
    let port = endpoint.host;
    let resolve = format!("{HOST}:{port}:127.0.0.1");
    let url = format!("https://{HOST}:{port}/bytes/8");
    let trusted = trusted.display().to_string();
    let words = ["curl", "-sS", "--noproxy", "*", "--max-time", "20"];
    let more = ["--cacert", &trusted, "--resolve", &resolve, &url];
    program::run(&[&words[..], &more].concat(), b"", PATIENCE)
}

fn send(holder: &Holder, key: &Path) -> Result<Output, Failed> {
    let (chain, key) = (&holder.certificate.display().to_string(), key.display());
    selkie(&[
        "provision",
        NAME,
        "--chain",
        chain,
        "--key",
        &key.to_string(),
    ])
}

fn selkie(arguments: &[&str]) -> Result<Output, Failed> {
    let script = root().join("selkie").to_string_lossy().into_owned();
    let words = [&[script.as_str()], arguments].concat();
    program::run(&words, b"", Duration::from_secs(300))
}

fn description() -> String {
    root()
        .join(format!("tests/systems/{NAME}.toml"))
        .to_string_lossy()
        .into_owned()
}

fn run_folder() -> PathBuf {
    root()
        .join("target/selkie")
        .join(&ground().board.name)
        .join(NAME)
}

/// Ends the detached system.
struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        let _ = selkie(&["stop", NAME]);
    }
}
