//! The sessions of an audit, and the moments at which memory is looked at.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use rustls::crypto::ring::ALL_CIPHER_SUITES;
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::{SignatureAlgorithm, SupportedCipherSuite};
use selkie_audit::{Client, Ending, Secret, Session, Snapshot, algorithm};
use selkie_qemu::{Forward, Guest, Launch, Machine, MemoryFile, Network, Trap, free_port};

use super::judge::{Judge, Moment, Phase};
use crate::cli::make::TICKET_PERIOD;
use crate::cli::{Built, Endpoint, Protocol, Ui};

/// Within this time a system must serve. It takes about a second on an idle machine.
const BOOT: Duration = Duration::from_secs(90);

/// Within this time the secrets of ended sessions must be gone: the emulated processor may be slow, and the last
/// segments of a connection are still on their way when the client is done.
pub(super) const GONE: Duration = Duration::from_secs(20);

/// Between two looks at memory that is not clean yet.
const PAUSE: Duration = Duration::from_millis(500);

/// Within this time a fault must be named. It takes a moment on an idle machine.
const NAMED: Duration = Duration::from_secs(30);

/// For how long a ticket key may still be there after it was found: two periods, and what the guest's clock is behind by.
const TICKET_KEY: Duration = Duration::from_secs(2 * TICKET_PERIOD as u64 + 2);

/// How often a session is resumed at most until it is: a ticket lives for one [`TICKET_PERIOD`], which a busy machine may need
/// for less than a session.
const TRIES: usize = 4;

/// Where a session's keys are in registers, on the stack and on the heap at once: the function that opens a record of
/// [`TLS13_CHACHA20_POLY1305_SHA256`], by a part of its name in ring.
const FAULT_AT: &str = "chacha20_poly1305_open";

/// The suites that a kind of key allows: three of each version of TLS.
const SUITES: usize = 6;

/// How many sessions it takes for each suite to be used in each way: a full handshake or a resumed one, and each ending.
pub(super) const VARIETIES: u32 = (SUITES * 2 * Ending::ALL.len()) as u32;

/// What sessions there are to be.
pub(super) struct Plan<'a> {
    /// The server names that they ask for.
    pub names: &'a [String],
    /// How many, besides those that it takes to resume one and to look at a handshake.
    pub sessions: u32,
    /// Within this time their secrets must be gone.
    pub patience: Duration,
}

/// A server, as a name in the handshake picks one.
#[derive(Clone, Debug)]
struct Server {
    name: String,
    /// Those that its certificate allows, as many for each kind of key: TLS 1.3, then TLS 1.2.
    suites: Vec<SupportedCipherSuite>,
}

/// One way to have a session.
#[derive(Clone, Copy, Debug)]
struct Variety {
    /// Which of a server's suites.
    suite: usize,
    /// Whether it resumes one that came before it.
    resumed: bool,
    ending: Ending,
}

/// Boots the system, makes sessions of all varieties with it and looks at its memory during and after them.
pub(super) fn run(
    ui: &Ui,
    built: &Built,
    folder: &Path,
    plan: &Plan<'_>,
    judge: &Judge,
    keys: Vec<Secret>,
) -> anyhow::Result<Vec<Moment>> {
    let step = ui.step(format!(
        "{} sessions with {}",
        plan.sessions,
        folder.display()
    ));
    let machine = built.machine.context("QEMU is not this board")?;
    let memory = MemoryFile::new(built.memory).context("no memory for the machine")?;
    let (guest, endpoint) = boot(built, machine, &memory, folder)?;
    let mut audit = Audit {
        guest,
        machine,
        memory,
        endpoint,
        judge,
        plan,
        servers: Vec::new(),
        secrets: keys,
        ticket_keys_gone: Instant::now(),
        sessions: 0,
        moments: Vec::new(),
    };
    let result = audit.all(|done| step.at(format!("{done} sessions")));
    audit.guest.quit(Duration::from_secs(3));
    result?;
    step.done("");
    Ok(audit.moments)
}

fn boot(
    built: &Built,
    machine: &'static Machine,
    memory: &MemoryFile,
    folder: &Path,
) -> anyhow::Result<(Guest, Endpoint)> {
    let mut endpoint = *built
        .endpoints
        .iter()
        .find(|endpoint| endpoint.protocol == Protocol::Https)
        .with_context(|| format!("{} serves nothing over TLS", built.name))?;
    endpoint.host = free_port()?;
    let launch = Launch {
        network: Network::User {
            forwards: vec![Forward {
                host: endpoint.host,
                guest: endpoint.guest,
            }],
        },
        memory: built.memory,
        memory_file: Some(memory.clone()),
        ..Launch::new(machine, built.boot.clone(), folder)
    };
    let guest = launch.start()?;
    let alive = || match guest.ended() {
        None => Ok(()),
        Some(_) => Err(std::io::Error::other(guest.ended_error())),
    };
    endpoint.wait(BOOT, alive).map_err(|error| {
        let said = guest.serial().tail(25);
        anyhow!(error).context(format!(
            "the system does not serve; its serial port said:\n{said}"
        ))
    })?;
    Ok((guest, endpoint))
}

struct Audit<'a> {
    guest: Guest,
    machine: &'static Machine,
    memory: MemoryFile,
    endpoint: Endpoint,
    judge: &'a Judge,
    plan: &'a Plan<'a>,
    servers: Vec<Server>,
    /// Everything secret so far, private keys first.
    secrets: Vec<Secret>,
    /// When the ticket keys among them must be gone.
    ticket_keys_gone: Instant,
    /// How many sessions there were.
    sessions: usize,
    moments: Vec<Moment>,
}

impl Audit<'_> {
    fn all(&mut self, at: impl Fn(usize)) -> anyhow::Result<()> {
        for name in self.plan.names {
            self.meet(name)?;
        }
        self.look("after start", Phase::After)?;
        for suite in 0..SUITES {
            self.handshake(suite)?;
        }
        let all: Vec<u32> = (0..self.plan.sessions).collect();
        for round in all.chunks(VARIETIES as usize) {
            self.round(round)?;
            at(self.sessions);
        }
        sleep(
            self.ticket_keys_gone
                .saturating_duration_since(Instant::now()),
        );
        self.look("after the ticket key's change", Phase::Gone)?;
        self.fault()
    }

    /// Learns what there is to know of the server of this name: its suites, the private key that its certificate is for, if
    /// that is of a kind that can be recognised in its holder's memory, and the key of its tickets.
    fn meet(&mut self, name: &str) -> anyhow::Result<()> {
        let client = Client::new(self.endpoint.address(), name, TLS13_AES_128_GCM_SHA256)?;
        let session = client.open().context("the first session")?;
        self.sessions += 1;
        let certificate = session.certificate().unwrap_or_default().to_vec();
        session.end(Ending::Closed)?;
        let algorithm = algorithm(&certificate).with_context(|| {
            format!("the certificate of {name} is for a key of an unknown kind")
        })?;
        self.servers.push(Server {
            name: name.to_string(),
            suites: suites(algorithm),
        });
        self.resume(&client)?.end(Ending::Closed)?;
        let snapshot = self.snapshot()?;
        let signed = client
            .signed()
            .context("a full handshake has no signature")?;
        let (layout, holders) = (&self.judge.layout, &self.judge.holders.keys);
        let found = snapshot.private_key(layout, holders, &certificate, &signed)?;
        ensure!(
            found.is_some() || algorithm == SignatureAlgorithm::RSA,
            "the private key of {name} is not in the memory of those who hold keys"
        );
        for secret in found.into_iter().flatten() {
            if !self.secrets.iter().any(|known| known.bytes == secret.bytes) {
                let named = format!("{name}: {}", secret.name);
                self.secrets
                    .push(Secret::new(secret.kind, named, secret.bytes));
            }
        }
        self.secrets.extend(client.secrets());
        self.find_ticket_key(&client, &snapshot)
    }

    /// Adds the key of the ticket that this client's last session was resumed with.
    fn find_ticket_key(&mut self, client: &Client, snapshot: &Snapshot) -> anyhow::Result<()> {
        let ticket = client
            .ticket()
            .context("a resumed session offers no ticket")?;
        let (layout, holders) = (&self.judge.layout, &self.judge.holders.sessions);
        let key = snapshot.ticket_key(layout, holders, &ticket)?;
        self.secrets.push(
            key.context("the key of a ticket is not in the memory of those who hold sessions")?,
        );
        self.ticket_keys_gone = Instant::now() + TICKET_KEY;
        Ok(())
    }

    /// A session that resumes this client's last one.
    fn resume(&mut self, client: &Client) -> anyhow::Result<Session> {
        for _ in 0..TRIES {
            let session = client.open()?;
            self.sessions += 1;
            if session.is_resumed() {
                return Ok(session);
            }
            session.end(Ending::Closed)?;
        }
        bail!("no session is resumed")
    }

    /// Whoever holds sessions faults while they are open, in the midst of opening a record.
    fn fault(&mut self) -> anyhow::Result<()> {
        let Some(domain) = self.judge.watched.clone() else {
            return Ok(());
        };
        let mut open = Vec::new();
        for suite in 0..SUITES {
            let client = self.client(suite, suite)?;
            let session = client.open().context("a session before the fault")?;
            self.sessions += 1;
            open.push((client, session));
        }
        let (address, name) = (self.endpoint.address(), &self.servers[0].name);
        let victim = Client::new(address, name, TLS13_CHACHA20_POLY1305_SHA256)?;
        victim.open()?.end(Ending::Closed)?;
        self.sessions += 1;
        let mut session = self.resume(&victim)?;
        let snapshot = self.snapshot()?;
        self.find_ticket_key(&victim, &snapshot)?;
        let clients = open.iter().map(|(client, _)| client);
        let secrets = clients.chain([&victim]).flat_map(Client::secrets);
        self.secrets.extend(secrets);
        let function = self.judge.layout.function(&domain, FAULT_AT);
        let function = function.with_context(|| format!("{domain} has no function {FAULT_AT}"))?;
        let said = self.guest.serial().length();
        let trap = Trap::set(&mut self.guest.qmp()?, self.machine, function)?;
        session.send()?;
        trap.spring()?;
        // Whoever is sent nowhere reads its next instruction from there.
        let line = format!("{domain} jumped to 0x0");
        let serial = self.guest.serial();
        serial.wait_for_from(said, &line, NAMED, &self.guest)?;
        self.look(format!("after a fault of {domain}"), Phase::Gone)
    }

    /// The memory as it is. The guest's clock stands still meanwhile.
    fn snapshot(&mut self) -> anyhow::Result<Snapshot> {
        let begin = Instant::now();
        let snapshot = Snapshot::take(&self.guest, &self.memory, self.machine)?;
        self.ticket_keys_gone += begin.elapsed();
        Ok(snapshot)
    }

    /// One session, looked at before its handshake is over and before it is used.
    fn handshake(&mut self, suite: usize) -> anyhow::Result<()> {
        let what = || format!("a handshake with suite {suite}");
        let client = self.client(suite, suite)?;
        let mut session = client.begin().with_context(what)?;
        self.sessions += 1;
        self.look_with("in a handshake", &client.secrets())?;
        session.finish().with_context(what)?;
        self.look_with("after a handshake", &client.secrets())?;
        session.end(Ending::Closed).with_context(what)?;
        self.secrets.extend(client.secrets());
        Ok(())
    }

    /// Sessions that are open at the same time, and are then ended.
    fn round(&mut self, numbers: &[u32]) -> anyhow::Result<()> {
        let (mut open, varieties) = (Vec::new(), varieties());
        for number in numbers {
            let variety = &varieties[(number % VARIETIES) as usize];
            // Another server for each session, and another one for each variety in the next round.
            let server = number + number / VARIETIES;
            let opened = self.open(server as usize, variety);
            open.push(opened.with_context(|| format!("a session: {variety:?}"))?);
        }
        let secrets: Vec<Secret> = open
            .iter()
            .flat_map(|(client, _, _)| client.secrets())
            .collect();
        self.look_with(&format!("during {} sessions", open.len()), &secrets)?;
        for (client, session, ending) in open {
            session
                .end(ending)
                .with_context(|| format!("ending a session: {ending:?}"))?;
            self.secrets.extend(client.secrets());
        }
        self.look(format!("after {} sessions", self.sessions), Phase::After)
    }

    fn open(
        &mut self,
        server: usize,
        variety: &Variety,
    ) -> anyhow::Result<(Client, Session, Ending)> {
        let client = self.client(server, variety.suite)?;
        let mut session = client.open()?;
        self.sessions += 1;
        if variety.resumed {
            session.end(Ending::Closed)?;
            session = self.resume(&client)?;
        }
        ensure!(
            session.is_resumed() == variety.resumed,
            "a session is resumed that had no ticket"
        );
        Ok((client, session, variety.ending))
    }

    /// A client of one of the servers, with one of its suites.
    fn client(&self, server: usize, suite: usize) -> anyhow::Result<Client> {
        let server = &self.servers[server % self.servers.len()];
        let suite = server.suites[suite];
        Ok(Client::new(self.endpoint.address(), &server.name, suite)?)
    }

    /// Looks at the memory while these secrets are in use.
    fn look_with(&mut self, name: &str, secrets: &[Secret]) -> anyhow::Result<()> {
        let known = self.secrets.len();
        self.secrets.extend_from_slice(secrets);
        let looked = self.look(name, Phase::During);
        self.secrets.truncate(known);
        looked
    }

    /// Looks at the memory; where secrets may still be on their way out, again until they are gone or time is up.
    fn look(&mut self, name: impl Into<String>, phase: Phase) -> anyhow::Result<()> {
        let (name, end) = (name.into(), Instant::now() + self.plan.patience);
        loop {
            let snapshot = self.snapshot()?;
            let (judge, secrets) = (self.judge, &self.secrets);
            let moment = judge.look(&name, &snapshot, phase, self.sessions, secrets)?;
            let clean = moment.violations().next().is_none();
            if clean || phase == Phase::During || Instant::now() >= end {
                self.moments.push(moment);
                return Ok(());
            }
            sleep(PAUSE);
        }
    }
}

/// Each suite that a certificate for such a key allows.
fn suites(algorithm: SignatureAlgorithm) -> Vec<SupportedCipherSuite> {
    let all = ALL_CIPHER_SUITES.iter().copied();
    all.filter(|suite| suite.usable_for_signature_algorithm(algorithm))
        .collect()
}

/// Each suite in each way.
fn varieties() -> Vec<Variety> {
    let each = |suite| {
        [false, true].into_iter().flat_map(move |resumed| {
            Ending::ALL.map(|ending| Variety {
                suite,
                resumed,
                ending,
            })
        })
    };
    (0..SUITES).flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_each_suite_with_each_ending() {
        assert_eq!(varieties().len(), VARIETIES as usize);
        for algorithm in [
            SignatureAlgorithm::RSA,
            SignatureAlgorithm::ECDSA,
            SignatureAlgorithm::ED25519,
        ] {
            assert_eq!(suites(algorithm).len(), SUITES, "{algorithm:?}");
        }
    }
}
