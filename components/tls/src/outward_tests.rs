//! Connections that the service asks for, to rustls' own server.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::io::{Read, Write};
use std::string::{String, ToString};

use channel::streams::{
    ConnectionId, Consumer, ConsumerEvent, Opened, Provider, ProviderEvent, Refusal,
};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion, crypto, version};

use crate::relay_tests::ends;
use crate::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 7], 443);

#[test]
fn a_service_talks_to_a_server_that_proves_who_it_is() {
    for version in VERSIONS {
        let server = Holder::new("192.0.2.7");
        let mut world = World::new(Some(options(&server)));
        let token = world.service.connect(SERVER.into()).unwrap();
        let (id, opened) = world.connects(server.config(version, None));
        assert_eq!(opened.token, Some(token));
        assert_eq!(opened.peer, SERVER.into());
        assert!(opened.identity.is_some());
        world.service.write(id, b"question");
        world.run();
        assert_eq!(world.server_received, b"question", "{version:?}");
        // Behind the tickets that a TLS 1.3 server sends, and after a change of its keys.
        let server = world.server.as_mut().unwrap();
        server.writer().write_all(b"ans").unwrap();
        if version.version == rustls::ProtocolVersion::TLSv1_3 {
            server.refresh_traffic_keys().unwrap();
        }
        server.writer().write_all(b"wer").unwrap();
        server.send_close_notify();
        world.run();
        let mut buffer = [0; 16];
        assert_eq!(world.service.read(id, &mut buffer), 6);
        assert_eq!(&buffer[..6], b"answer");
        assert!(world.service.at_end(id));
    }
}

#[test]
fn a_server_that_proves_nothing_is_refused() {
    for version in VERSIONS {
        let trusted = Holder::new("192.0.2.7");
        let other_name = Holder::new("192.0.2.8");
        for (server, options) in [
            (&Holder::new("192.0.2.7"), options(&trusted)),
            (&other_name, options(&other_name)),
            (
                &trusted,
                ClientOptions {
                    name: Some("server.example".into()),
                    ..options(&trusted)
                },
            ),
        ] {
            let mut world = World::new(Some(options));
            let token = world.service.connect(SERVER.into()).unwrap();
            world.accept(server.config(version, None));
            world.run();
            assert_eq!(world.answers, [(token, Err(Refusal::Insecure))]);
            assert!(world.opened.is_none());
            assert_eq!(world.relay.counters().failed_handshakes, 1);
        }
    }
}

#[test]
fn a_server_is_asked_for_by_its_name() {
    let server = Holder::new("server.example");
    let mut world = World::new(Some(ClientOptions {
        name: Some("server.example".into()),
        ..options(&server)
    }));
    world.service.connect(SERVER.into()).unwrap();
    let (_, opened) = world.connects(server.config(&version::TLS13, None));
    assert_eq!(opened.identity.unwrap().name(), Some("server.example"));
    assert_eq!(world.server.unwrap().server_name(), Some("server.example"));
}

#[test]
fn a_client_shows_its_certificate_where_it_is_asked() {
    for version in VERSIONS {
        let (server, own) = (Holder::new("192.0.2.7"), Holder::new("us.example"));
        for keys in [None, Some(own.keys())] {
            let expected = keys.is_some();
            let mut world = World::new(Some(ClientOptions {
                keys,
                ..options(&server)
            }));
            world.service.connect(SERVER.into()).unwrap();
            world.accept(server.config(version, Some(&own)));
            world.run();
            let server = world.server.as_ref().unwrap();
            let shown = server.peer_certificates().map(|chain| &chain[0]);
            assert_eq!(shown, expected.then_some(&own.certificate), "{version:?}");
        }
    }
}

#[test]
fn requests_that_cannot_be_met_are_answered() {
    let mut world = World::new(None);
    let token = world.service.connect(SERVER.into()).unwrap();
    world.run();
    assert_eq!(world.answers, [(token, Err(Refusal::NotAllowed))]);

    let mut world = World::new(Some(options(&Holder::new("192.0.2.7"))));
    let token = world.service.connect(SERVER.into()).unwrap();
    world.run();
    let (below, remote) = world.asked.take().unwrap();
    assert_eq!(remote, SERVER.into());
    world.tcp.answer(below, Err(Refusal::Unreachable));
    world.run();
    assert_eq!(world.answers, [(token, Err(Refusal::Unreachable))]);
}

#[test]
fn a_server_that_goes_away_or_stays_silent_is_reported() {
    for silent in [false, true] {
        let mut world = World::new(Some(options(&Holder::new("192.0.2.7"))));
        let token = world.service.connect(SERVER.into()).unwrap();
        world.run();
        let id = world.open();
        world.run();
        match silent {
            true => world.now += 11_000_000_000,
            false => world.tcp.reset(id),
        }
        world.run();
        assert_eq!(world.answers, [(token, Err(Refusal::Insecure))]);
        assert_eq!(world.relay.counters().sessions, 0);
    }
}

/// Whoever issued it; nothing else of its issuer's, and nothing while there is none.
#[test]
fn an_own_certificate_is_trusted() {
    let authority = Holder::new("192.0.2.7");
    for version in VERSIONS {
        for authorities in [None, trust(&authority).authorities] {
            let issuer = Holder::new("192.0.2.7");
            let server = Holder::issued(&issuer, "192.0.2.7");
            let sibling = Holder::issued(&issuer, "192.0.2.7");
            let other_name = Holder::new("192.0.2.8");
            let connects = |own: &[&Holder], to: &Holder| {
                let own = own.iter().map(|holder| holder.certificate.to_vec());
                let trust = Trust {
                    authorities: authorities.clone(),
                    own: Some(own.collect()),
                };
                let mut world = World::new(Some(ClientOptions {
                    trust,
                    ..options(&issuer)
                }));
                world.service.connect(SERVER.into()).unwrap();
                world.accept(to.config(version, None));
                world.run();
                world.opened.is_some()
            };
            assert!(connects(&[&server, &other_name], &server));
            for to in [&sibling, &issuer, &other_name] {
                assert!(!connects(&[&server, &other_name], to));
            }
            assert!(!connects(&[], &server));
            let beside = connects(&[&server], &authority);
            assert_eq!(beside, authorities.is_some());
        }
    }
}

#[test]
fn who_trusts_nobody_is_no_client() {
    let options = ClientOptions {
        trust: Trust::default(),
        ..options(&Holder::new("192.0.2.7"))
    };
    let client = client(options, Arc::new(DefaultTimeProvider));
    let expected = ConfigError::Authorities(AuthoritiesError::Empty);
    assert_eq!(client.err().unwrap().to_string(), expected.to_string());
}

#[test]
fn a_name_that_is_none_is_refused() {
    let options = ClientOptions {
        name: Some("no name".into()),
        ..options(&Holder::new("192.0.2.7"))
    };
    let client = client(options, Arc::new(DefaultTimeProvider));
    assert!(matches!(client, Err(ConfigError::ServerName)));
}

/// Tickets may share a record or take several; anything else that a server sends is refused.
#[test]
fn messages_of_a_server_are_told_apart() {
    let ticket = |length: u8| [&[4, 0, 0, length][..], &vec![0; length.into()]].concat();
    let two = [ticket(9), ticket(3)].concat();
    for (records, expected) in [
        (vec![&two[..]], true),
        (vec![&two[..2], &two[2..7], &two[7..]], true),
        (vec![&[4, 1, 0, 0]], false),
        (vec![&[13, 0, 0, 1, 0]], false),
        (vec![&[24, 0, 0, 1, 2]], false),
        (vec![&[24, 0, 0, 1, 0, 4]], false),
    ] {
        let server = Holder::new("192.0.2.7");
        let mut world = World::new(Some(options(&server)));
        world.service.connect(SERVER.into()).unwrap();
        world.connects(server.config(&version::TLS13, None));
        let established = world.relay.established(0);
        let result = records
            .iter()
            .try_for_each(|record| established.take_messages(record).map(|_| ()));
        assert_eq!(result.is_ok(), expected, "{records:?}");
    }
}

fn trust(trusted: &Holder) -> Trust {
    let authorities = Authorities::new(vec![trusted.certificate.to_vec()]);
    authorities.unwrap().into()
}

fn options(trusted: &Holder) -> ClientOptions {
    ClientOptions {
        tls12: true,
        alpn: vec![],
        trust: trust(trusted),
        name: None,
        keys: None,
    }
}

/// A self-signed certificate and its key.
struct Holder {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Holder {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![String::from(name)]).unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().der().clone(),
            key: key.serialize_der(),
        }
    }

    fn issued(by: &Self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![String::from(name)]).unwrap();
        let issuer = CertificateParams::new(vec![]).unwrap();
        let issuer = Issuer::new(issuer, KeyPair::try_from(&by.key[..]).unwrap());
        Self {
            certificate: params.signed_by(&key, &issuer).unwrap().der().clone(),
            key: key.serialize_der(),
        }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }

    fn keys(&self) -> Arc<dyn ResolvesClientCert> {
        let key = crypto::ring::sign::any_supported_type(&self.key()).unwrap();
        let certified = CertifiedKey::new(vec![self.certificate.clone()], key);
        Arc::new(SingleCertAndKey::from(certified))
    }

    /// A server with this certificate, which wants that of a client perhaps.
    fn config(
        &self,
        version: &'static SupportedProtocolVersion,
        client: Option<&Self>,
    ) -> ServerConnection {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap();
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let roots = Authorities::new(vec![client.certificate.to_vec()]).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.roots().unwrap(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder
            .with_single_cert(vec![self.certificate.clone()], self.key())
            .unwrap();
        ServerConnection::new(Arc::new(config)).unwrap()
    }
}

/// The TCP stack's and the service's end of a relay, and the server behind the stack.
struct World {
    tcp: Provider,
    relay: Relay,
    service: Consumer,
    server: Option<ServerConnection>,
    server_received: Vec<u8>,
    below: Option<ConnectionId>,
    /// What the relay asked the stack for.
    asked: Option<(u32, SocketAddr)>,
    opened: Option<(ConnectionId, Opened)>,
    answers: Vec<(u32, Result<(), Refusal>)>,
    now: u64,
}

impl World {
    fn new(options: Option<ClientOptions>) -> Self {
        let (tcp, relay, service) = ends(2, Options::default());
        let time = Arc::new(DefaultTimeProvider);
        let client = options.map(|options| client(options, time).unwrap());
        Self {
            tcp,
            relay: relay.with_client(client),
            service,
            server: None,
            server_received: vec![],
            below: None,
            asked: None,
            opened: None,
            answers: vec![],
            now: 1,
        }
    }

    /// The TCP connection that was asked for comes about.
    fn open(&mut self) -> ConnectionId {
        let (token, peer) = self.asked.take().unwrap();
        let opened = Opened {
            peer,
            local_port: 50_000,
            token: Some(token),
            identity: None,
            confidential: false,
        };
        let id = self.tcp.open(0, &opened).unwrap();
        self.below = Some(id);
        id
    }

    fn accept(&mut self, server: ServerConnection) {
        self.run();
        self.open();
        self.server = Some(server);
    }

    /// As [`World::accept`], and the session comes about.
    fn connects(&mut self, server: ServerConnection) -> (ConnectionId, Opened) {
        self.accept(server);
        self.run();
        assert_eq!(self.answers, []);
        self.opened.take().unwrap()
    }

    fn run(&mut self) {
        for _ in 0..20 {
            self.service.flush();
            self.tcp.flush();
            while self.relay.poll(self.now, &mut |_, _| {}).unwrap().more || !self.relay.sleep() {}
            self.stack_and_server();
            self.service_events();
        }
    }

    fn stack_and_server(&mut self) {
        while let Some(event) = self.tcp.next_event().unwrap() {
            match event {
                ProviderEvent::Connect { token, remote } => self.asked = Some((token, remote)),
                ProviderEvent::Aborted(id) => self.tcp.reset(id),
                _ => {}
            }
        }
        self.tcp.sleep();
        let (Some(id), Some(server)) = (self.below, &mut self.server) else {
            return;
        };
        let mut buffer = [0; 16 * 1024];
        let count = self.tcp.read(id, &mut buffer);
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() && server.read_tls(&mut bytes).unwrap() > 0 {
            if server.process_new_packets().is_err() {
                break;
            }
        }
        let _ = server.reader().read_to_end(&mut self.server_received);
        let mut sent = vec![];
        while server.wants_write() {
            server.write_tls(&mut sent).unwrap();
        }
        assert_eq!(self.tcp.write(id, &sent), sent.len());
    }

    fn service_events(&mut self) {
        while let Some(event) = self.service.next_event().unwrap() {
            match event {
                ConsumerEvent::Opened(id, opened) => self.opened = Some((id, opened)),
                ConsumerEvent::Answer { token, result } => self.answers.push((token, result)),
                _ => {}
            }
        }
        self.service.sleep();
    }
}
