//! What is sent to a running vault and fetched from it: `selkie provision`, `selkie request`.
//!
//! The system is `tests/systems/provision.toml`.

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
/// The name of the key that waits for a certificate.
const WAITING: &str = "request.test";
const PATIENCE: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    vec![trial("provision::over_a_line", over_a_line)]
}

/// One boot for all, since it takes longer than the rest.
fn over_a_line() -> Outcome {
    for (command, problem) in [
        (&["request", NAME][..], "`provision` does not run"),
        (&["request", NAME, "--key", "17"], "17 is not in 1..=16"),
    ] {
        let refused = selkie(command)?;
        ensure(
            refused.code != Some(0) && refused.err.contains(problem),
            || format!("{refused:?}"),
        )?;
    }
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
    an_authority_answers_requests(&endpoint)?;
    a_key_is_sent(&endpoint)
}

/// Both keys of the description get a certificate of an authority whose only tool is OpenSSL: the one that has
/// had a self-signed one, and the one that had none.
fn an_authority_answers_requests(endpoint: &Endpoint) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (authority, secret) = (path("authority.pem"), path("authority.key"));
    let new = ["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"];
    let curve = ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=CA"];
    let files = ["-keyout", &secret, "-out", &authority];
    openssl(&[&new[..], &curve, &files].concat())?;
    let trusted = Path::new(&authority);

    // The key that has no certificate is not used, whoever asks for its name.
    let other = certificate(endpoint, WAITING)?;
    ensure(other.contains(HOST), || other.clone())?;
    for (key, host, names) in [
        ("2", WAITING, "DNS:request.test, IP Address:192.0.2.1"),
        ("1", HOST, "DNS:provision.test"),
    ] {
        let (request, leaf) = (path("request.pem"), path("leaf.pem"));
        let said = selkie(&["request", NAME, "--key", key, "--out", &request])?.good()?;
        ensure(
            said.text().contains("a request of the vault") && said.text().contains(host),
            || format!("{said:?}"),
        )?;
        let shown = openssl(&["req", "-in", &request, "-verify", "-noout", "-text"])?;
        ensure(shown.contains(names), || shown.clone())?;
        let untrusted = ask(endpoint, host, trusted)?;
        ensure(untrusted.code == Some(60), || format!("{untrusted:?}"))?;
        let sign = ["x509", "-req", "-in", &request, "-days", "2"];
        let by = ["-CA", &authority, "-CAkey", &secret, "-CAcreateserial"];
        let out = ["-copy_extensions", "copy", "-out", &leaf];
        openssl(&[&sign[..], &by, &out].concat())?;
        let said = selkie(&["provision", NAME, "--chain", &leaf])?.good()?;
        ensure(
            said.text()
                .starts_with(&format!("the vault of {NAME} has certificates for {host}")),
            || format!("{said:?}"),
        )?;
        served_with(endpoint, host, trusted, Path::new(&leaf))?;
    }
    // A request for a key that is not there; certificates of no key of this vault; nothing that is a chain.
    for (command, problem) in [
        (&["request", NAME, "--key", "3"][..], "has no such key"),
        (
            &["provision", NAME, "--chain", &authority],
            "subjectAltName",
        ),
    ] {
        let refused = selkie(command)?;
        ensure(
            refused.code == Some(1) && refused.err.contains(problem),
            || format!("{refused:?}"),
        )?;
    }
    let stranger = Authority::new("Authority")?.server(HOST, folder.path())?;
    let stranger = stranger.certificate.display().to_string();
    let refused = selkie(&["provision", NAME, "--chain", &stranger])?;
    ensure(
        refused.code == Some(1) && refused.err.contains("is for another key"),
        || format!("{refused:?}"),
    )?;
    served_with(endpoint, HOST, trusted, Path::new(&path("leaf.pem")))
}

/// The system serves with what it has, then with the key that is sent; what is none changes nothing.
fn a_key_is_sent(endpoint: &Endpoint) -> Outcome {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new("Authority")?;
    let holder = authority.server(HOST, folder.path())?;
    let other = authority.server(HOST, &folder.path().join("other"))?;
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, authority.pem())?;

    let untrusted = ask(endpoint, HOST, &trusted)?;
    ensure(untrusted.code == Some(60), || format!("{untrusted:?}"))?;
    // Half a line, as by a sender that ended; and a line that is no key.
    let line = second_serial(&run_folder())?;
    line.set_read_timeout(Some(PATIENCE))?;
    (&line).write_all(b"0102\n1234")?;
    let mut answer = String::new();
    BufReader::new(&line).read_line(&mut answer)?;
    ensure(
        answer.starts_with("error this is nothing in the form"),
        || answer.clone(),
    )?;
    drop(line);
    let still = ask(endpoint, HOST, &trusted)?;
    ensure(still.code == Some(60), || format!("{still:?}"))?;

    for holder in [&holder, &other] {
        let said = send(holder, &holder.key)?.good()?;
        ensure(
            said.text() == format!("the vault of {NAME} has the key for {HOST} (key 1 of 2)\n"),
            || format!("{said:?}"),
        )?;
        served_with(endpoint, HOST, &trusted, &holder.certificate)?;
    }
    // The command finds out by itself that they do not belong together.
    let mixed = send(&holder, &other.key)?;
    ensure(
        mixed.code == Some(1) && mixed.err.contains("is for another key"),
        || format!("{mixed:?}"),
    )?;
    served_with(endpoint, HOST, &trusted, &other.certificate)?;
    // A key for some of the names of another key is added after that key.
    let hidden = authority.server(WAITING, &folder.path().join("hidden"))?;
    let said = send(&hidden, &hidden.key)?.good()?;
    let warning =
        "clients that can verify key 2 (request.test, 192.0.2.1) still get its certificate";
    ensure(
        said.text().contains("(key 3 of 3)") && said.err.contains(warning),
        || format!("{said:?}"),
    )?;
    gone_after_a_fault(endpoint, &trusted)?;
    send(&holder, &holder.key)?.good()?;
    served_with(endpoint, HOST, &trusted, &holder.certificate)
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
    let untrusted = ask(endpoint, HOST, trusted)?;
    ensure(untrusted.code == Some(60), || format!("{untrusted:?}"))
}

/// Waits until the service shows this certificate for this name (`tls` reads the keys anew when it is told), which
/// the authority has issued.
fn served_with(endpoint: &Endpoint, host: &str, trusted: &Path, file: &Path) -> Outcome {
    let file = file.display().to_string();
    let expected = openssl(&["x509", "-in", &file])?;
    let begin = Instant::now();
    loop {
        let answer = ask(endpoint, host, trusted)?;
        let shown = certificate(endpoint, host)?;
        if answer.code == Some(0) && shown.contains(expected.trim_end()) {
            return Ok(());
        }
        ensure(begin.elapsed() < PATIENCE, || {
            format!("{answer:?}\n{shown}")
        })?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What OpenSSL says of a connection to this name, with the certificate in PEM.
fn certificate(endpoint: &Endpoint, host: &str) -> Result<String, Failed> {
    let address = endpoint.address().to_string();
    let connect = ["openssl", "s_client", "-connect", &address];
    let words = [&connect[..], &["-servername", host]].concat();
    Ok(program::run(&words, b"", PATIENCE)?.text())
}

/// curl, which checks the certificate: exit code 60 when nobody it trusts has issued it, or not for this name.
fn ask(endpoint: &Endpoint, host: &str, trusted: &Path) -> Result<Output, Failed> {
    let port = endpoint.host;
    let resolve = format!("{host}:{port}:127.0.0.1");
    let url = format!("https://{host}:{port}/bytes/8");
    let trusted = trusted.display().to_string();
    let words = ["curl", "-sS", "--noproxy", "*", "--max-time", "20"];
    let more = ["--cacert", &trusted, "--resolve", &resolve, &url];
    program::run(&[&words[..], &more].concat(), b"", PATIENCE)
}

fn openssl(arguments: &[&str]) -> Result<String, Failed> {
    let words = [&["openssl"], arguments].concat();
    Ok(program::run(&words, b"", PATIENCE)?.good()?.text())
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
    // Also for what has to be built before.
    program::run(&words, b"", Duration::from_secs(900))
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
