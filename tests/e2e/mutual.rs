//! Clients with certificates: who is let in, and as whom.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::Trial;
use selkie::cli::{Endpoint, Protocol, root};
use selkie_tests::certificates::{Authority, Holder};
use selkie_tests::program::Output;
use selkie_tests::system::System;
use selkie_tests::{Failed, Outcome, client, ensure, program};

use crate::{SYSTEMS, trial};

const NAME: &str = "mutual";

type Test = fn(&World) -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("a_known_client_is_served", a_known_client_is_served),
    ("strangers_are_refused", strangers_are_refused),
    (
        "resumption_keeps_the_identity",
        resumption_keeps_the_identity,
    ),
];

pub fn trials() -> Vec<Trial> {
    TESTS
        .iter()
        .map(|&(name, test)| {
            trial(format!("mutual::{name}"), move || {
                let world = World::shared()?;
                let message = |error: Failed| error.message().unwrap_or("no message").to_string();
                test(&world).map_err(|error| world.system.failure(&message(error)))
            })
        })
        .collect()
}

/// The system, and clients.
struct World {
    system: Arc<System>,
    /// Named in the description.
    alice: Holder,
    /// Of the same authority, but not named.
    bob: Holder,
    /// Says that it is Alice, by an authority of its own.
    mallory: Holder,
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
        let folder = root().join("target/selkie/tests/systems").join(NAME);
        let (authority, other) = (Authority::new("Authority")?, Authority::new("Another")?);
        let world = Self {
            alice: authority.client("alice.example", &folder)?,
            bob: authority.client("bob.example", &folder)?,
            mallory: other.client("alice.example", &folder.join("mallory"))?,
            system: {
                fs::write(folder.join("authority.pem"), authority.pem())?;
                SYSTEMS.system(&description(&folder)?)?
            },
        };
        Ok(world)
    }

    fn endpoint(&self) -> Result<&Endpoint, Failed> {
        self.system.endpoint(Protocol::Https)
    }
}

/// The description beside the authority's certificate.
fn description(folder: &std::path::Path) -> Result<String, Failed> {
    let file = folder.join(format!("{NAME}.toml"));
    let original: PathBuf = root().join(format!("tests/systems/{NAME}.toml"));
    fs::copy(original, &file)?;
    Ok(file.display().to_string())
}

fn a_known_client_is_served(world: &World) -> Outcome {
    for version in ["1.3", "1.2"] {
        let answer = ask(world.endpoint()?, version, Some(&world.alice))?.good()?;
        let expected = format!("alice.example\n{}\n", world.alice.fingerprint);
        ensure(answer.text() == expected, || answer.text())?;
        let answer = ask(world.endpoint()?, version, Some(&world.bob))?.good()?;
        ensure(answer.text() == "403 Forbidden\n", || answer.text())?;
    }
    Ok(())
}

fn strangers_are_refused(world: &World) -> Outcome {
    // TLS 1.2 has no alert of its own for a missing certificate (RFC 5246, section 7.4.6).
    for (version, missing) in [
        ("1.3", "certificate required"),
        ("1.2", "handshake failure"),
    ] {
        for (holder, alert) in [(None, missing), (Some(&world.mallory), "unknown ca")] {
            let answer = ask(world.endpoint()?, version, holder)?;
            let refused = answer.code != Some(0) && answer.err.contains(alert);
            ensure(refused && answer.out.is_empty(), || {
                format!("{version}, {alert}: {answer:?}")
            })?;
        }
    }
    Ok(())
}

fn ask(endpoint: &Endpoint, version: &str, holder: Option<&Holder>) -> Result<Output, Failed> {
    let url = format!("{endpoint}whoami");
    let lowest = format!("--tlsv{version}");
    let mut words = vec!["curl", "-k", "-sS", "--noproxy", "*"];
    words.extend([&lowest, "--tls-max", version, &url]);
    let files =
        holder.map(|holder| [&holder.certificate, &holder.key].map(|f| f.display().to_string()));
    if let Some([certificate, key]) = &files {
        words.extend(["--cert", certificate, "--key", key]);
    }
    program::run(&words, b"", client::PATIENCE)
}

/// Whoever resumes shows no certificate again: it knows the secret of a session in which it did.
fn resumption_keeps_the_identity(world: &World) -> Outcome {
    let folder = tempfile::tempdir()?;
    let session = folder.path().join("session.pem").display().to_string();
    let [certificate, key] =
        [&world.alice.certificate, &world.alice.key].map(|file| file.display().to_string());
    let identity = ["-cert", &certificate, "-key", &key];
    for version in ["-tls1_3", "-tls1_2"] {
        let first = [&identity[..], &[version, "-sess_out", &session]].concat();
        let again = [version, "-sess_in", &session];
        for (kind, options) in [("New, ", &first[..]), ("Reused, ", &again[..])] {
            let text = s_client(world.endpoint()?, options)?;
            let whole = text.contains(kind) && text.contains(&world.alice.fingerprint);
            ensure(whole, || format!("{kind}: {text}"))?;
        }
    }
    Ok(())
}

fn s_client(endpoint: &Endpoint, options: &[&str]) -> Result<String, Failed> {
    let address = endpoint.address().to_string();
    let mut words = vec!["openssl", "s_client", "-connect", &address, "-ign_eof"];
    words.extend(options);
    let request = b"GET /whoami HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let output = program::run(&words, request, Duration::from_secs(30))?;
    Ok(output.text())
}
