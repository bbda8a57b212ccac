//! The Piñata: who gets its secret, and who does not. In the description as it is, nobody has a certificate that it
//! trusts; the tests add an authority of their own, as an owner would.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use selkie::cli::{Endpoint, root};
use selkie_tests::certificates::{Authority, Holder};
use selkie_tests::debugger::Trap;
use selkie_tests::program::{self, Output};
use selkie_tests::system::System;
use selkie_tests::{Failed, Outcome, client, ensure, tls};

use crate::trial;

/// Ends as the memory behind it goes on.
const SECRET: &str = "the key to a wallet would be here\n\0\0";

/// Ports of the description.
const SERVER: u16 = 10_000;
const KNOCK: u16 = 10_001;

type Test = fn(&World) -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("strangers_get_nothing", strangers_get_nothing),
    ("the_owner_gets_the_secret", the_owner_gets_the_secret),
    (
        "a_server_of_strangers_gets_nothing",
        a_server_of_strangers_gets_nothing,
    ),
    (
        "the_owners_server_gets_the_secret",
        the_owners_server_gets_the_secret,
    ),
    (
        "led_to_itself_it_tells_nobody_else",
        led_to_itself_it_tells_nobody_else,
    ),
    ("it_trusts_its_next_key", it_trusts_its_next_key),
];

pub fn trials() -> Vec<Trial> {
    TESTS
        .iter()
        .map(|&(name, test)| {
            trial(format!("pinata::{name}"), move || {
                let world = World::shared()?;
                // Each test listens at the one port that the Piñata connects to.
                let _turn = world.turn.lock().unwrap_or_else(PoisonError::into_inner);
                let message = |error: Failed| error.message().unwrap_or("no message").to_string();
                test(&world).map_err(|error| world.system.failure(&message(error)))
            })
        })
        .collect()
}

struct World {
    system: System,
    owner: Holder,
    /// The owner's server.
    server: Holder,
    /// Of an authority that says that it is the owner's.
    stranger: Holder,
    strangers_server: Holder,
    /// Where the Piñata connects to.
    port: u16,
    turn: Mutex<()>,
}

impl World {
    fn shared() -> Result<Arc<Self>, Failed> {
        static WORLD: Mutex<Option<Arc<World>>> = Mutex::new(None);
        let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = &*world {
            return Ok(world.clone());
        }
        let made = Arc::new(Self::new()?);
        *world = Some(made.clone());
        Ok(made)
    }

    fn new() -> Result<Self, Failed> {
        let folder = root().join("target/selkie/tests/systems/pinata");
        let (owners, strangers) = (Authority::new("Owner")?, Authority::new("Stranger")?);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        Ok(Self {
            owner: owners.client("owner.example", &folder)?,
            server: owners.server("localhost", &folder)?,
            stranger: strangers.client("owner.example", &folder.join("stranger"))?,
            strangers_server: strangers.server("localhost", &folder.join("stranger"))?,
            system: System::boot(&description(&folder, &owners, port)?)?,
            port,
            turn: Mutex::new(()),
        })
    }

    fn endpoint(&self, guest: u16) -> Result<&Endpoint, Failed> {
        let mut endpoints = self.system.endpoints.iter();
        let found = endpoints.find(|endpoint| endpoint.guest == guest);
        Ok(found.ok_or("the Piñata does not listen there")?)
    }

    /// How often the log says that the secret was handed over.
    fn handed_over(&self) -> usize {
        let log = self.system.guest.serial().text();
        log.matches("the secret is handed to").count()
    }
}

/// The Piñata's description with the owner's authority and a port that is free.
fn description(folder: &Path, owners: &Authority, port: u16) -> Result<String, Failed> {
    fs::create_dir_all(folder.join("pinata"))?;
    fs::write(folder.join("owner.pem"), owners.pem())?;
    fs::write(folder.join("pinata/secret.txt"), SECRET)?;
    let text = fs::read_to_string(root().join("system/pinata.toml"))?;
    let trusted =
        "data = { client_authorities = \"owner.pem\", server_authorities = \"owner.pem\" }";
    let text = text
        .replace(
            "[protection.pinata]",
            &format!("{trusted}\n\n[protection.pinata]\nconfig = {{ port = {port} }}"),
        )
        .replace("name = \"pinata\"", "name = \"pinata-test\"");
    ensure(text.contains(trusted), || text.clone())?;
    let file = folder.join("pinata-test.toml");
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}

fn strangers_get_nothing(world: &World) -> Outcome {
    let before = world.handed_over();
    // TLS 1.2 has no alert of its own for a missing certificate (RFC 5246, section 7.4.6).
    for (version, missing) in [
        ("-tls1_3", "certificate required"),
        ("-tls1_2", "handshake failure"),
    ] {
        for (holder, alert) in [(None, missing), (Some(&world.stranger), "unknown ca")] {
            let answer = hit(world, version, holder)?;
            ensure(!answer.text().contains(SECRET), || answer.text())?;
            ensure(answer.err.contains(alert), || {
                format!("no `{alert}`: {}", answer.err)
            })?;
        }
    }
    ensure(world.handed_over() == before, || {
        "it was handed over".into()
    })
}

fn the_owner_gets_the_secret(world: &World) -> Outcome {
    for version in ["-tls1_3", "-tls1_2"] {
        let answer = hit(world, version, Some(&world.owner))?;
        ensure(answer.text().contains(SECRET), || format!("{answer:?}"))?;
    }
    Ok(())
}

/// `openssl s_client` at the Piñata's own port.
fn hit(world: &World, version: &str, holder: Option<&Holder>) -> Result<Output, Failed> {
    let address = world.endpoint(SERVER)?.address().to_string();
    let mut words = vec![
        "openssl", "s_client", "-connect", &address, "-ign_eof", version,
    ];
    let files = holder.map(paths);
    if let Some([certificate, key]) = &files {
        words.extend(["-cert", certificate, "-key", key]);
    }
    program::run(&words, b"", client::PATIENCE)
}

fn a_server_of_strangers_gets_nothing(world: &World) -> Outcome {
    let before = world.handed_over();
    for version in [&TLS13, &TLS12] {
        let (told, error) = listen(world, &world.strangers_server, version)?;
        let expected = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let refused = error.as_ref() == Some(&expected);
        ensure(told.is_empty() && refused, || {
            format!("{told:?}, {error:?}")
        })?;
    }
    ensure(world.handed_over() == before, || {
        "it was handed over".into()
    })
}

fn the_owners_server_gets_the_secret(world: &World) -> Outcome {
    for version in [&TLS13, &TLS12] {
        let (told, error) = listen(world, &world.server, version)?;
        ensure(told == SECRET && error.is_none(), || {
            format!("{told:?}, {error:?}")
        })?;
    }
    Ok(())
}

/// Knocks, and is a server with this certificate where the Piñata connects to then: what it is told, and why
/// the session ended if it did not end in order.
fn listen(
    world: &World,
    holder: &Holder,
    version: &'static SupportedProtocolVersion,
) -> Result<(String, Option<rustls::Error>), Failed> {
    let certificate = CertificateDer::from_pem_file(&holder.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&holder.key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, world.port))?;
    knock(world)?;
    let stream = accept(&listener)?;
    let connection = ServerConnection::new(Arc::new(config))?;
    let mut told = String::new();
    match StreamOwned::new(connection, stream).read_to_string(&mut told) {
        Ok(_) => Ok((told, None)),
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(inner) => Ok((told, Some(rustls::Error::clone(inner)))),
            None => Err(error.into()),
        },
    }
}

/// The next connection, if it comes in time.
fn accept(listener: &TcpListener) -> Result<TcpStream, Failed> {
    listener.set_nonblocking(true)?;
    let end = Instant::now() + client::PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(client::PATIENCE))?;
                return Ok(stream);
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if Instant::now() > end => return Err("the Piñata does not connect".into()),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn knock(world: &World) -> Result<String, Failed> {
    let mut stream = client::connect(world.endpoint(KNOCK)?)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn paths(holder: &Holder) -> [String; 2] {
    [&holder.certificate, &holder.key].map(|file| file.display().to_string())
}

/// Who leads the Piñata's two ends to each other sees it hand the secret to itself, and learns nothing.
fn led_to_itself_it_tells_nobody_else(world: &World) -> Outcome {
    let before = world.handed_over();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, world.port))?;
    knock(world)?;
    let from = accept(&listener)?;
    let to = client::connect(world.endpoint(SERVER)?)?;
    let seen = thread::scope(|scope| {
        let there = scope.spawn(|| carry(&from, &to));
        let back = carry(&to, &from);
        let there = there.join().map_err(|_| "a thread panicked")?;
        Ok::<_, Failed>([there?, back?].concat())
    })?;
    let secret = SECRET.trim_end().as_bytes();
    let told = seen.windows(secret.len()).any(|bytes| bytes == secret);
    ensure(!told && !seen.is_empty(), || "the secret was seen".into())?;
    // Each end handed it to the other.
    let end = Instant::now() + client::PATIENCE;
    while world.handed_over() < before + 2 && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    ensure(world.handed_over() == before + 2, || {
        format!("{} times, then {}", before, world.handed_over())
    })
}

/// After a fault the vault has another key: `tls` trusts its certificate then, and shows no other.
fn it_trusts_its_next_key(world: &World) -> Outcome {
    let mut stream = client::connect(world.endpoint(SERVER)?)?;
    let trap = Trap::set(&world.system, "vault", "p256_point_mul_base")?;
    tls::client(&TLS13)?.write_tls(&mut stream)?;
    trap.spring()?;
    stream.read_to_end(&mut Vec::new())?;
    led_to_itself_it_tells_nobody_else(world)
}

/// Carries what comes until the end; gives it.
fn carry(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = vec![];
    let mut buffer = [0; 4096];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        };
        all.extend(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
    Ok(all)
}
