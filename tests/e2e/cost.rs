//! What the vault costs: the instructions of a handshake, against those with the key in the memory of who makes it.
//!
//! The systems of `vaulted.toml` and `keyholder.toml` are the same but for the key's place, have the same key, and are
//! asked by the same client. QEMU counts the instructions of the whole machine, so the numbers do not depend on how fast
//! it runs here, or on what else does.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use selkie::cli::{Endpoint, Protocol, root};
use selkie_qemu::Qmp;
use selkie_tests::system::{Options, System, built};
use selkie_tests::{Failed, Outcome, ensure, tls};

use crate::trial;

/// How many times the instructions of the control a handshake with the vault may take.
const MOST: f64 = 1.10;

/// Connections whose instructions are counted, one by one.
const CONNECTIONS: usize = 41;

/// Connections before that: the first ones take memory that later ones use again.
const EARLIER: usize = 5;

/// Whoever has nothing to do executes fewer instructions than this in [`PAUSE`].
const IDLE: u64 = 5_000;
const PAUSE: Duration = Duration::from_millis(20);

/// Within this time the end of a connection has been handled.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    vec![trial("cost::of_the_vault", of_the_vault)]
}

fn of_the_vault() -> Outcome {
    let folder = systems()?;
    let vaulted = boot(&folder, "vaulted")?;
    let control = boot(&folder, "keyholder")?;
    for (name, version) in [("1.3", &TLS13), ("1.2", &TLS12)] {
        let with = handshake(&vaulted, version)?;
        let without = handshake(&control, version)?;
        let ratio = with as f64 / without as f64;
        println!(
            "measured: a connection with a handshake of TLS {name} takes {with} instructions with the vault, {without} with \
             the key in `tls`: {ratio:.3} times as many"
        );
        // The counter counts, and it is cryptography: a connection without is a tenth of that. The vault is not free.
        let plausible = (500_000..10_000_000).contains(&without) && with > without;
        ensure(plausible && ratio <= MOST, || {
            format!("TLS {name}: {with} instructions with the vault, {without} without")
        })?;
    }
    Ok(())
}

/// The descriptions, beside the key that they name.
fn systems() -> Result<PathBuf, Failed> {
    let folder = root().join("target/selkie/tests/systems/cost");
    fs::create_dir_all(&folder)?;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    fs::write(folder.join("chain.pem"), made.cert.pem())?;
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    for name in ["vaulted.toml", "keyholder.toml"] {
        fs::copy(root().join("tests/systems").join(name), folder.join(name))?;
    }
    Ok(folder)
}

fn boot(folder: &Path, name: &str) -> Result<System, Failed> {
    let file = folder.join(name).with_extension("toml");
    let mut built = built(&file.display().to_string())?;
    for endpoint in &mut built.endpoints {
        // Of the control's program the builder does not know what it speaks.
        endpoint.protocol = Protocol::Https;
    }
    let options = Options {
        counting: true,
        ..Options::default()
    };
    System::boot_built(&built, &options)
}

/// Instructions of a connection with a full handshake: the median, since a signature takes more or fewer with each random
/// number, and now and then something else happens.
fn handshake(system: &System, version: &'static SupportedProtocolVersion) -> Result<u64, Failed> {
    let endpoint = system.endpoint(Protocol::Https)?;
    let mut qmp = system.guest.qmp()?;
    let mut costs = Vec::new();
    let mut before = when_idle(&mut qmp)?;
    for _ in 0..EARLIER + CONNECTIONS {
        connect(endpoint, version)?;
        let after = when_idle(&mut qmp)?;
        costs.push(after - before);
        before = after;
    }
    let counted = &mut costs[EARLIER..];
    counted.sort_unstable();
    Ok(counted[CONNECTIONS / 2])
}

/// A connection that ends as TLS has it, with everything read that was sent.
fn connect(endpoint: &Endpoint, version: &'static SupportedProtocolVersion) -> Outcome {
    let mut stream = tls::connect(endpoint, version)?;
    let kind = stream.conn.handshake_kind();
    ensure(kind == Some(HandshakeKind::Full), || format!("{kind:?}"))?;
    stream.conn.send_close_notify();
    stream.flush()?;
    let rest = stream.read_to_end(&mut Vec::new())?;
    ensure(rest == 0, || format!("{rest} bytes nobody asked for"))
}

/// The instructions so far, once next to none are added.
fn when_idle(qmp: &mut Qmp) -> Result<u64, Failed> {
    let begin = Instant::now();
    let mut before = qmp.instructions()?;
    while begin.elapsed() < PATIENCE {
        sleep(PAUSE);
        let now = qmp.instructions()?;
        if now - before < IDLE {
            return Ok(now);
        }
        before = now;
    }
    Err("the system does not come to rest".into())
}
