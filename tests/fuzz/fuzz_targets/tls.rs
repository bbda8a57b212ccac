//! The relay of the TLS protection domain between hostile clients and servers, a hostile TCP stack and a hostile
//! service: nothing panics, every turn ends, no byte that the other end did not send reaches the service, every
//! request of the service is answered, a peer whose messages end a session gets an alert before the end, and with
//! honest neighbors the relay serves a new client afterwards.
//!
//! Input: a byte that says which neighbors write anything into the memory that they share with the relay (bit 0
//! the stack, bit 1 the service) and how the client begins (bit 2: TLS 1.2; bit 3: with a certificate), a byte
//! that says how often they do so between two loads of the relay, a seed for what they write, then steps of
//! two bytes and, where a step says so, bytes that arrive. Keys are random, so a finding's input may have
//! to be tried again.
#![no_main]

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use channel::memory::{OwnRegion, PeerRegion};
use channel::streams::{
    ConnectionId, Consumer, ConsumerEvent, Layout, Opened, Provider, ProviderEvent, Refusal,
};
use channel::testing::with_hook;
use libfuzzer_sys::fuzz_target;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ServerConfig,
    ServerConnection, SignatureScheme, version,
};
use tls::{Authorities, ClientOptions, ClientPolicy, Options, Relay, Report, Server};

fuzz_target!(|input: &[u8]| WORLD.with(|world| {
    let regions = world.regions.map(Region::clean);
    if let [who, rate, seed, steps @ ..] = input {
        Run::new(world, regions, *who, *rate, *seed).play(steps);
    }
}));

const SLOTS: usize = 2;
const RING: usize = 4096;
const LAYOUT: Layout = match Layout::new(SLOTS, RING) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

const SECOND: u64 = 1_000_000_000;

/// More than a relay of two connections needs to come to rest.
const MOST_ROUNDS: usize = 2000;

/// What the other end sends, as often as it is asked to.
const SENT: &[u8] = b"what the client sends ";

thread_local! {
    static WORLD: World = World::new();
}

/// What all runs share.
struct World {
    server: Server,
    /// By version, then without and with a certificate.
    clients: [[Arc<ClientConfig>; 2]; 2],
    /// By version, what the relay connects to.
    servers: [Arc<ServerConfig>; 2],
    outward: tls::Client,
    /// Below: the stack's and the relay's. Above: the relay's and the service's.
    regions: [Region; 4],
}

/// Memory that is never freed.
#[derive(Clone, Copy)]
struct Region(&'static [AtomicU64]);

impl Region {
    fn new(bytes: usize) -> Self {
        let words = (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0));
        Self(Box::leak(words.collect()))
    }

    fn clean(self) -> Self {
        self.0
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        self
    }

    fn own(self) -> OwnRegion {
        // SAFETY: the memory is never freed, its words are atomic, and the ends of the run before are gone.
        unsafe { OwnRegion::new(self.start(), self.0.len() * 8) }.unwrap()
    }

    fn peers(self) -> PeerRegion {
        // SAFETY: as above.
        unsafe { PeerRegion::new(self.start(), self.0.len() * 8) }.unwrap()
    }

    fn start(self) -> NonNull<u8> {
        NonNull::from(self.0).cast()
    }
}

impl World {
    fn new() -> Self {
        let (provider, consumer) = (LAYOUT.provider_size(), LAYOUT.consumer_size());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client.example".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().der().to_vec();
        let issuer = Issuer::new(params, key);
        let issue = || {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (certificate.der().clone(), key.serialize_der())
        };
        let (certificate, key) = issue();
        let servers = [&version::TLS13, &version::TLS12]
            .map(|version| remote(version, certificate.clone(), key.clone()));
        let authorities = Authorities::new(vec![authority]).unwrap();
        let outward = ClientOptions {
            tls12: true,
            alpn: vec![],
            trust: authorities.clone().into(),
            name: Some("localhost".into()),
            keys: None,
        };
        let ring = rustls::crypto::ring::default_provider().key_provider;
        let key = ring.load_private_key(PrivateKeyDer::try_from(key).unwrap());
        // The vault is no neighbor that this target plays.
        let keys = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key.unwrap()));
        let options = Options {
            clients: Some(ClientPolicy {
                trust: authorities.into(),
                anonymous: true,
            }),
            ..Options::default()
        };
        let clients = [&version::TLS13, &version::TLS12]
            .map(|version| [None, Some(issue())].map(|holder| client(version, holder)));
        Self {
            server: tls::server(Arc::new(keys), options, Arc::new(DefaultTimeProvider)).unwrap(),
            clients,
            servers,
            outward: tls::client(outward, Arc::new(DefaultTimeProvider)).unwrap(),
            regions: [provider, consumer, provider, consumer].map(Region::new),
        }
    }
}

fn client(
    version: &'static rustls::SupportedProtocolVersion,
    holder: Option<(CertificateDer<'static>, Vec<u8>)>,
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    Arc::new(match holder {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    })
}

fn remote(
    version: &'static rustls::SupportedProtocolVersion,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key).unwrap());
    Arc::new(config.unwrap())
}

/// One run.
struct Run<'a> {
    world: &'a World,
    tcp: Provider,
    relay: Relay,
    service: Consumer,
    others: [Option<Other>; SLOTS],
    config: Arc<ClientConfig>,
    remote: Arc<ServerConfig>,
    /// Requests of the service without an answer.
    asked: usize,
    /// The port of the next connection, which identifies it.
    next_port: u16,
    /// Peers whose messages ended their session, and that may not have received an alert yet.
    owed: Vec<SocketAddr>,
    now: u64,
    /// Neighbors that write anything: the stack, the service.
    hostile: [bool; 2],
    attacker: Rc<Attacker>,
    failed: bool,
}

/// Who is at the other end of a connection below.
struct Other {
    id: ConnectionId,
    peer: SocketAddr,
    sent: Sent,
    tls: Connection,
    /// It has refused what it got, or has closed: rustls may not be given anything bad behind either.
    deaf: bool,
}

/// The bytes that the relay has sent on one connection.
#[derive(Default)]
struct Sent {
    /// The last whole record.
    last: Vec<u8>,
    rest: Vec<u8>,
}

impl Sent {
    fn note(&mut self, bytes: &[u8]) {
        self.rest.extend(bytes);
        while let Some(&[_, _, _, high, low]) = self.rest.first_chunk() {
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            if self.rest.len() < length {
                return;
            }
            let rest = self.rest.split_off(length);
            self.last = std::mem::replace(&mut self.rest, rest);
        }
    }

    /// Whether the last record is an alert. An encrypted one is recognised by its length: two bytes and a tag, in TLS 1.3
    /// also the content type, in TLS 1.2 also an explicit nonce if the cipher has one.
    fn ends_with_alert(&self) -> bool {
        self.rest.is_empty()
            && match self.last[..] {
                [21, 3, 3, 0, 2, level, _] => matches!(level, 1 | 2),
                [21, 3, 3, 0, 18 | 26, ..] | [23, 3, 3, 0, 19, ..] => true,
                _ => false,
            }
    }
}

/// Whether the peer must get an alert for this end: not if it ended the session by an alert, and not if the defect is local.
fn owes_alert(error: &tls::Error) -> bool {
    match error {
        tls::Error::PeerAlert(_) | tls::Error::Handshake(Error::AlertReceived(_)) => false,
        tls::Error::Record(fault) => *fault != tls::Fault::Internal,
        _ => true,
    }
}

/// Changes words that the relay is about to load.
struct Attacker {
    targets: Vec<Region>,
    rate: u8,
    state: Cell<u64>,
    /// Only while the relay runs.
    active: Cell<bool>,
}

impl Attacker {
    fn next(&self) -> u64 {
        let mut state = self.state.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.state.set(state);
        state
    }

    fn before_load(&self) {
        if self.active.get() && (self.next() >> 32) as u8 <= self.rate {
            self.strike();
        }
    }

    fn strike(&self) {
        if self.targets.is_empty() {
            return;
        }
        let (place, choice, value) = (self.next() as usize, self.next(), self.next());
        let target = self.targets[place % self.targets.len()].0;
        // Mostly words that are not payload.
        let range = match choice & 7 {
            0 => target.len(),
            _ => target.len() - SLOTS * RING / 8,
        };
        let word = &target[place / 2 % range];
        let old = word.load(Ordering::Relaxed);
        let new = match choice >> 3 & 7 {
            0 => value,
            1 => value & 0xff,
            2 => old.wrapping_add(1),
            3 => old.wrapping_sub(1),
            4 => old ^ 1 << (value % 64),
            5 => old.wrapping_add(value & 0xfff),
            6 => old.wrapping_add(1 << 32),
            _ => u64::MAX,
        };
        word.store(new, Ordering::SeqCst);
    }
}

impl<'a> Run<'a> {
    fn new(world: &'a World, regions: [Region; 4], who: u8, rate: u8, seed: u8) -> Self {
        let [stacks, below, above, services] = regions;
        let hostile = [who & 1 != 0, who & 2 != 0];
        let targets = [stacks, services].into_iter().zip(hostile);
        let attacker = Attacker {
            targets: targets
                .filter(|(_, is)| *is)
                .map(|(region, _)| region)
                .collect(),
            rate: rate / 8,
            state: Cell::new(u64::from(seed) + 1),
            active: Cell::new(false),
        };
        let relay = Relay::new(
            world.server.clone(),
            Consumer::new(LAYOUT, below.own(), stacks.peers(), || {}).unwrap(),
            Provider::new(LAYOUT, above.own(), services.peers(), || {}).unwrap(),
        )
        .with_client(Some(world.outward.clone()));
        let version = usize::from(who >> 2 & 1);
        Self {
            world,
            tcp: Provider::new(LAYOUT, stacks.own(), below.peers(), || {}).unwrap(),
            relay,
            service: Consumer::new(LAYOUT, services.own(), above.peers(), || {}).unwrap(),
            others: [None, None],
            config: world.clients[version][usize::from(who >> 3 & 1)].clone(),
            remote: world.servers[version].clone(),
            asked: 0,
            next_port: 443,
            owed: vec![],
            now: SECOND,
            hostile,
            attacker: Rc::new(attacker),
            failed: false,
        }
    }

    fn play(mut self, mut steps: &[u8]) {
        let attacker = self.attacker.clone();
        with_hook(
            move || attacker.before_load(),
            || {
                let received = RefCell::new([const { Vec::new() }; SLOTS]);
                while let [kind, amount, rest @ ..] = steps {
                    steps = self.step(*kind, *amount, rest);
                    self.relay_runs();
                    self.service_runs(*amount, &received);
                }
                if !self.hostile.contains(&true) {
                    self.still_serves();
                }
            },
        );
    }

    /// Does one thing; gives the steps that are left.
    fn step<'s>(&mut self, kind: u8, amount: u8, rest: &'s [u8]) -> &'s [u8] {
        let slot = usize::from(kind >> 7);
        match kind % 8 {
            0 if amount.is_multiple_of(2) => self.open(slot),
            0 => {
                let remote = ([192, 0, 2, 2], self.next_port).into();
                self.next_port += 1;
                self.asked += usize::from(self.service.connect(remote).is_ok());
            }
            1 | 2 => self.exchange(slot, None),
            3 => self.exchange(slot, Some(amount)),
            4 => {
                let (bytes, rest) = rest.split_at(rest.len().min(usize::from(amount)));
                if let Some(other) = &self.others[slot] {
                    self.tcp.write(other.id, bytes);
                }
                return rest;
            }
            5 => self.speak(slot, amount),
            6 => self.end(slot, amount),
            _ => self.now += u64::from(amount) << 28,
        }
        rest
    }

    fn open(&mut self, slot: usize) {
        let opened = Opened {
            peer: SocketAddr::from(([192, 0, 2, 1], self.next_port)),
            local_port: 443,
            token: None,
            identity: None,
            confidential: false,
        };
        self.next_port += 1;
        if let Ok(id) = self.tcp.open(slot, &opened) {
            let name = ServerName::try_from("localhost").unwrap();
            let client = ClientConnection::new(self.config.clone(), name).unwrap();
            self.begin(id, opened.peer, Connection::Client(client));
        }
    }

    fn begin(&mut self, id: ConnectionId, peer: SocketAddr, mut tls: Connection) {
        tls.set_buffer_limit(None);
        self.owed.retain(|owed| *owed != peer);
        self.others[id.slot()] = Some(Other {
            id,
            peer,
            sent: Sent::default(),
            tls,
            deaf: false,
        });
    }

    /// The relay wants a connection.
    fn connect(&mut self, token: u32, peer: SocketAddr) {
        let opened = Opened {
            peer,
            local_port: 50_000,
            token: Some(token),
            identity: None,
            confidential: false,
        };
        let slot = self.tcp.free_slot();
        match slot.and_then(|slot| self.tcp.open(slot, &opened).ok()) {
            None => self.tcp.answer(token, Err(Refusal::NoRoom)),
            Some(id) => {
                let server = ServerConnection::new(self.remote.clone()).unwrap();
                self.begin(id, peer, Connection::Server(server));
            }
        }
    }

    /// Carries what the other end has to send, with one byte changed perhaps, and what there is for it.
    fn exchange(&mut self, slot: usize, change: Option<u8>) {
        let Some(other) = &mut self.others[slot] else {
            return;
        };
        let mut bytes = vec![];
        while other.tls.wants_write() && bytes.len() + 2048 <= self.tcp.writable(other.id) {
            other.tls.write_tls(&mut bytes).unwrap();
        }
        if let Some(change) = change
            && !bytes.is_empty()
        {
            let position = usize::from(change) * 7 % bytes.len();
            bytes[position] ^= change | 1;
        }
        self.tcp.write(other.id, &bytes);
        self.relay_runs();
        let Some(other) = &mut self.others[slot] else {
            return;
        };
        let mut buffer = [0; RING];
        let count = self.tcp.read(other.id, &mut buffer);
        let mut bytes = &buffer[..count];
        other.sent.note(bytes);
        while !other.deaf
            && let Ok(1..) = other.tls.read_tls(&mut bytes)
        {
            other.deaf = other.tls.process_new_packets().is_err();
            let _ = other.tls.reader().read_to_end(&mut vec![]);
        }
    }

    fn speak(&mut self, slot: usize, amount: u8) {
        let Some(other) = &mut self.others[slot] else {
            return;
        };
        match amount % 4 {
            0 => drop(other.tls.refresh_traffic_keys()),
            1 => {
                other.tls.send_close_notify();
                other.deaf = true;
            }
            _ if other.deaf => {}
            _ => other.tls.writer().write_all(SENT).unwrap(),
        }
    }

    /// What the stack reports of a connection.
    fn end(&mut self, slot: usize, amount: u8) {
        let Some(other) = &self.others[slot] else {
            return;
        };
        match amount % 3 {
            0 => return self.tcp.finish(other.id),
            1 => self.tcp.closed(other.id),
            _ => self.tcp.reset(other.id),
        }
        self.others[slot] = None;
    }

    /// Lets the relay work until it rests.
    fn relay_runs(&mut self) {
        self.tcp.flush();
        self.service.flush();
        for _ in 0..MOST_ROUNDS {
            self.attacker.active.set(true);
            let owed = &mut self.owed;
            let turn = self.relay.poll(self.now, &mut |peer, report| {
                if let Report::Failed(error) = report
                    && owes_alert(error)
                {
                    owed.push(peer);
                }
            });
            let rests = turn.is_ok_and(|turn| !turn.more) && self.relay.sleep();
            self.attacker.active.set(false);
            if turn.is_err() {
                assert!(self.hostile.contains(&true), "{turn:?}");
                assert_eq!(self.relay.counters().sessions, 0);
                self.failed = true;
            }
            assert!(
                !self.failed || turn.is_err(),
                "a failure that was forgotten"
            );
            if rests || self.failed {
                return self.stack_runs();
            }
            // A hostile neighbor has news at every look; the real one must be able to write them.
            self.stack_runs();
        }
        assert!(
            self.hostile.contains(&true),
            "the relay does not come to rest"
        );
    }

    fn stack_runs(&mut self) {
        while let Ok(Some(event)) = self.tcp.next_event() {
            match event {
                ProviderEvent::Aborted(id) => self.tcp.reset(id),
                ProviderEvent::Connect { token, remote } => self.connect(token, remote),
                ProviderEvent::HalfClosed(id) => self.ended(id),
                ProviderEvent::Released(id) => {
                    let other = &mut self.others[id.slot()];
                    *other = other.take().filter(|other| other.id != id);
                }
                _ => {}
            }
        }
        self.tcp.sleep();
    }

    /// The relay sends nothing more on this connection.
    fn ended(&mut self, id: ConnectionId) {
        let Some(other) = self.others[id.slot()]
            .as_mut()
            .filter(|other| other.id == id)
        else {
            return;
        };
        let mut buffer = [0; RING];
        let count = self.tcp.read(id, &mut buffer);
        other.sent.note(&buffer[..count]);
        let owed = self.owed.contains(&other.peer);
        assert!(
            !owed || self.hostile[0] || other.sent.ends_with_alert(),
            "an end without an alert: {:?}",
            other.sent.last
        );
    }

    /// The service reads, answers with as many bytes, and now and then ends.
    fn service_runs(&mut self, choice: u8, received: &RefCell<[Vec<u8>; SLOTS]>) {
        while let Ok(Some(event)) = self.service.next_event() {
            match event {
                ConsumerEvent::Opened(id, opened) => {
                    received.borrow_mut()[id.slot()].clear();
                    self.asked -= usize::from(opened.token.is_some());
                }
                ConsumerEvent::Answer { .. } => self.asked -= 1,
                ConsumerEvent::Readable(id) => {
                    let mut buffer = [0; 512];
                    let count = self.service.read(id, &mut buffer);
                    self.service.write(id, &buffer[..count]);
                    let mut received = received.borrow_mut();
                    received[id.slot()].extend(&buffer[..count]);
                    if !self.hostile.contains(&true) {
                        let all = &received[id.slot()];
                        let expected = SENT.iter().cycle().take(all.len());
                        assert!(all.iter().eq(expected), "bytes that nobody sent");
                    }
                    match choice {
                        0 => self.service.close(id),
                        1 => self.service.abort(id),
                        2 => self.service.release(id),
                        _ => {}
                    }
                }
                ConsumerEvent::HalfClosed(id) => self.service.close(id),
                ConsumerEvent::Closed(id) | ConsumerEvent::Reset(id) => self.service.release(id),
                _ => {}
            }
        }
        self.service.sleep();
    }

    /// All connections end, and a new client gets its answer.
    fn still_serves(&mut self) {
        let received = RefCell::new([const { Vec::new() }; SLOTS]);
        for slot in 0..SLOTS {
            self.end(slot, 2);
        }
        for _ in 0..4 {
            self.now += 20 * SECOND;
            self.relay_runs();
            self.service_runs(3, &received);
        }
        assert_eq!(self.relay.counters().sessions, 0);
        assert_eq!(self.asked, 0, "a request without an answer");
        self.config = self.world.clients[0][1].clone();
        self.open(0);
        self.speak(0, 2);
        for _ in 0..16 {
            self.exchange(0, None);
            self.service_runs(3, &received);
        }
        assert_eq!(
            received.borrow()[0],
            SENT,
            "the relay does not serve any more"
        );
    }
}

/// Trusts everything: the client is not what is tried.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
