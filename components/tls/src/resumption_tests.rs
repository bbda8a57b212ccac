//! Sessions resumed by rustls' own client.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion, version};

use crate::tests::{Pair, client_config, keys};
use crate::*;

const SECOND: u64 = 1_000_000_000;
const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

#[test]
fn sessions_are_resumed_again_and_again_and_carry_data() {
    for (version, server) in servers() {
        let config = client(version);
        for round in 0..5 {
            let mut pair = Pair::new(&server, connection(&config, "localhost"));
            pair.handshake();
            let resumed = pair.session.established().unwrap().resumed();
            assert_eq!(resumed, round > 0, "{version:?}");
            assert_eq!(kind(&pair.client).unwrap(), kind_of(resumed));
            pair.transfer(&vec![1; 40_000], &vec![2; 40_000], 16 * 1024);
            pair.close_from_client();
        }
        assert_eq!(counters(&server).refused, 0);
        assert!(counters(&server).issued >= 5);
    }
}

#[test]
fn a_replayed_hello_resumes_nothing() {
    for (version, server) in servers() {
        let config = client(version);
        Pair::new(&server, connection(&config, "localhost")).handshake();
        let mut resuming = connection(&config, "localhost");
        let mut hello = vec![];
        resuming.write_tls(&mut hello).unwrap();
        let answers = [(); 2].map(|()| answer(&server, &hello));
        assert_eq!(counters(&server).refused, 1, "{version:?}");
        // The second is that of a full handshake, with the certificate in it.
        assert!(answers[0].len() + 200 < answers[1].len());
    }
}

#[test]
fn a_ticket_of_a_key_that_is_gone_leads_to_a_full_handshake() {
    for (version, server) in servers() {
        let config = client(version);
        for (now, expected) in [
            (SECOND, HandshakeKind::Full),
            (2 * SECOND, HandshakeKind::Resumed),
            (3601 * SECOND, HandshakeKind::Resumed),
            (9000 * SECOND, HandshakeKind::Full),
        ] {
            server.tickets.as_ref().unwrap().advance(now);
            let mut pair = Pair::new(&server, connection(&config, "localhost"));
            pair.handshake();
            assert_eq!(kind(&pair.client), Some(expected), "{version:?} at {now}");
        }
    }
}

#[test]
fn sessions_outlive_the_keys_that_they_began_with() {
    for (version, server) in servers() {
        let config = client(version);
        Pair::new(&server, connection(&config, "localhost")).handshake();
        let time = Arc::new(DefaultTimeProvider);
        let renewed = crate::server(keys(vault::Kind::Ed25519), Options::default(), time)
            .unwrap()
            .with_tickets_of(&server);
        let mut pair = Pair::new(&renewed, connection(&config, "localhost"));
        pair.handshake();
        assert_eq!(
            kind(&pair.client),
            Some(HandshakeKind::Resumed),
            "{version:?}"
        );
        let mut pair = Pair::new(&renewed, connection(&client(version), "localhost"));
        pair.handshake();
        assert_eq!(kind(&pair.client), Some(HandshakeKind::Full), "{version:?}");
    }
}

/// RFC 6066, section 3: a session is resumed for the name only that it was made for.
#[test]
fn another_server_name_is_not_resumed() {
    for (version, server) in servers() {
        let config = client(version);
        Pair::new(&server, connection(&config, "localhost")).handshake();
        let mut hello = vec![];
        let mut resuming = connection(&config, "localhost");
        resuming.write_tls(&mut hello).unwrap();
        let position = hello.windows(9).position(|bytes| bytes == b"localhost");
        hello[position.unwrap()] = b'x';
        let mut pair = Pair::new(&server, connection(&config, "localhost"));
        pair.below.incoming.extend(&hello);
        for _ in 0..4 {
            let _ = pair.session.step(&mut pair.below, &mut pair.above);
        }
        // A server that resumed would have refused the changed hello for its binder, or in TLS 1.2 have sent
        // its Finished; this one makes a full handshake.
        assert!(pair.below.outgoing.len() > 400, "{version:?}");
    }
}

/// RFC 8446, section 4.2.10: the protocol is agreed on anew.
#[test]
fn a_resuming_client_without_a_common_protocol_is_refused() {
    for (version, server) in servers() {
        let mut config = client(version);
        Pair::new(&server, connection(&config, "localhost")).handshake();
        Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
        let mut pair = Pair::new(&server, connection(&config, "localhost"));
        pair.pump();
        assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    }
}

#[test]
fn resumption_can_be_switched_off() {
    for version in VERSIONS {
        let options = Options {
            ticket_period: 0,
            ..Options::default()
        };
        let time = Arc::new(DefaultTimeProvider);
        let server = server(keys(vault::Kind::EcdsaP256), options, time).unwrap();
        let config = client(version);
        for _ in 0..2 {
            let mut pair = Pair::new(&server, connection(&config, "localhost"));
            pair.handshake();
            assert_eq!(kind(&pair.client), Some(HandshakeKind::Full));
        }
    }
}

fn servers() -> impl Iterator<Item = (&'static SupportedProtocolVersion, Server)> {
    VERSIONS.into_iter().map(|version| {
        let time = Arc::new(DefaultTimeProvider);
        let server = server(keys(vault::Kind::EcdsaP256), Options::default(), time).unwrap();
        server.tickets.as_ref().unwrap().advance(SECOND);
        (version, server)
    })
}

fn client(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut config = client_config(&[], &[version]);
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

fn connection(config: &Arc<ClientConfig>, name: &'static str) -> ClientConnection {
    ClientConnection::new(config.clone(), ServerName::try_from(name).unwrap()).unwrap()
}

fn kind(client: &ClientConnection) -> Option<HandshakeKind> {
    client.handshake_kind()
}

fn kind_of(resumed: bool) -> HandshakeKind {
    match resumed {
        true => HandshakeKind::Resumed,
        false => HandshakeKind::Full,
    }
}

fn counters(server: &Server) -> TicketCounters {
    server.tickets.as_ref().unwrap().counters()
}

/// What a server sends to a client that has sent just this.
fn answer(server: &Server, hello: &[u8]) -> Vec<u8> {
    let mut pair = Pair::new(server, crate::tests::client(None, &[]));
    pair.below.incoming.extend(hello);
    for _ in 0..4 {
        pair.session.step(&mut pair.below, &mut pair.above).unwrap();
    }
    pair.below.outgoing.drain(..).collect()
}
