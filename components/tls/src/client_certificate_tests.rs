//! Clients that prove who they are, and clients that cannot.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::string::{String, ToString};
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, HandshakeKind,
    ProtocolVersion, SupportedProtocolVersion, version,
};

use crate::tests::{Pair, client_config, keys};
use crate::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// When the tests play, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

#[test]
fn a_client_with_a_certificate_is_known_by_it() {
    let authority = Authority::new();
    let (client, fingerprint) = authority.client("client.example");
    for (version, server, _) in authority.servers(false) {
        let pair = handshake(&server, &config(version, Some(&client)));
        let peer = pair.session.peer().unwrap();
        assert_eq!(peer.name(), Some("client.example"));
        assert_eq!(peer.digest()[..], fingerprint);
    }
}

#[test]
fn a_client_without_one_is_refused() {
    let authority = Authority::new();
    for (version, server, _) in authority.servers(false) {
        let alert = refusal(&server, &config(version, None));
        assert_eq!(alert, none_shown(version), "{version:?}");
    }
}

/// Whoever issued it; and no longer when another has taken its place, not even in a session that is resumed.
#[test]
fn a_client_with_the_systems_own_certificate_is_let_in() {
    let stranger = Authority::named("Another");
    let (client, _) = stranger.client("client.example");
    let (next, _) = stranger.client("client.example");
    let authority = Authority::new();
    let (issued, _) = authority.client("client.example");
    let unknown = AlertDescription::UnknownCA;
    for version in VERSIONS {
        for authorities in [None, Some(authority.bundle())] {
            let trusting = |own: &[&Client]| {
                let own = own.iter().map(|client| client.chain[0].to_vec());
                let trust = Trust {
                    authorities: authorities.clone(),
                    own: Some(own.collect()),
                };
                server_that_trusts(trust, false).0
            };
            let showing = |client| config(version, Some(client));
            let first = showing(&client);
            assert_eq!(refusal(&trusting(&[]), &first), unknown);
            let server = trusting(&[&client]);
            let pair = handshake(&server, &first);
            assert_eq!(pair.session.peer().unwrap().name(), Some("client.example"));
            assert_eq!(refusal(&server, &showing(&next)), unknown);
            match &authorities {
                Some(_) => drop(handshake(&server, &showing(&issued))),
                None => assert_eq!(refusal(&server, &showing(&issued)), unknown),
            }
            let none = refusal(&server, &config(version, None));
            assert_eq!(none, none_shown(version));
            let renewed = trusting(&[&next]).with_tickets_of(&server);
            assert_eq!(refusal(&renewed, &first), unknown);
            handshake(&renewed, &showing(&next));
        }
    }
}

#[test]
fn certificates_that_prove_nothing_are_refused() {
    let authority = Authority::new();
    let stranger = Authority::named("Another").client("client.example").0;
    let impostor = Authority::new().client("client.example").0;
    let made = |change: &dyn Fn(&mut CertificateParams)| authority.client_with("a.example", change);
    let expired = made(&|params| params.not_after = at(NOW - 1).into());
    let early = made(&|params| params.not_before = at(NOW + 1).into());
    let server_only = made(&|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let stolen = Client {
        key: stranger.key.clone_key(),
        ..authority.client("client.example").0
    };
    for anonymous in [false, true] {
        for (version, server, _) in authority.servers(anonymous) {
            for (client, expected) in [
                (&stranger, AlertDescription::UnknownCA),
                (&impostor, AlertDescription::DecryptError),
                (&expired, AlertDescription::CertificateExpired),
                (&early, AlertDescription::CertificateExpired),
                (&server_only, AlertDescription::UnsupportedCertificate),
                (&stolen, AlertDescription::DecryptError),
            ] {
                let alert = refusal(&server, &config(version, Some(client)));
                assert_eq!(alert, expected, "{version:?}");
            }
        }
    }
}

/// `openssl req -x509` makes an authority's certificate, even if it is meant for one client.
#[test]
fn an_authoritys_own_certificate_does_not_log_in_and_the_log_says_why() {
    for is_ca in [
        IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
        IsCa::ExplicitNoCa,
        IsCa::NoCa,
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["alice.example".into()]).unwrap();
        (params.not_before, params.not_after) = (at(NOW - DAY).into(), at(NOW + DAY).into());
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        let authorities = Authorities::new(vec![certificate.der().to_vec()]).unwrap();
        let client = Client {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        };
        for version in VERSIONS {
            for own in [None, Some(vec![])] {
                let authorities = Some(authorities.clone());
                let server = server_that_trusts(Trust { authorities, own }, false).0;
                let config = config(version, Some(&client));
                if matches!(is_ca, IsCa::Ca(_)) {
                    let (error, alert) = refused(&server, &config);
                    assert_eq!(alert, AlertDescription::UnsupportedCertificate);
                    assert!(error.to_string().contains("CA:TRUE"), "{error}");
                } else {
                    let pair = handshake(&server, &config);
                    assert_eq!(pair.session.peer().unwrap().name(), Some("alice.example"));
                }
            }
        }
    }
}

#[test]
fn where_a_certificate_is_optional_one_can_still_be_shown() {
    let authority = Authority::new();
    let (client, _) = authority.client("client.example");
    for (version, server, _) in authority.servers(true) {
        let without = handshake(&server, &config(version, None));
        assert_eq!(without.session.peer(), None);
        let with = handshake(&server, &config(version, Some(&client)));
        assert_eq!(with.session.peer().unwrap().name(), Some("client.example"));
    }
}

#[test]
fn a_resumed_session_has_the_identity_of_its_first_handshake() {
    let authority = Authority::new();
    let (client, _) = authority.client("client.example");
    for anonymous in [false, true] {
        for (version, server, _) in authority.servers(anonymous) {
            let clients = [Some(&client), None];
            for client in &clients[..1 + usize::from(anonymous)] {
                let config = config(version, *client);
                let first = handshake(&server, &config).session.peer();
                let second = handshake(&server, &config);
                assert_eq!(second.client.handshake_kind(), Some(HandshakeKind::Resumed));
                assert_eq!(second.session.peer(), first);
                assert_eq!(first.is_some(), client.is_some());
            }
        }
    }
}

/// However often a session is resumed, it ends with the certificate that it began with.
#[test]
fn resumption_does_not_prolong_a_certificate() {
    let authority = Authority::new();
    let client = authority.client_with("a.example", &|params| {
        params.not_after = at(NOW + 300).into()
    });
    for (version, server, clock) in authority.servers(false) {
        let config = config(version, Some(&client));
        for time in [NOW, NOW + 100, NOW + 200, NOW + 300] {
            clock.0.store(time, Ordering::Relaxed);
            handshake(&server, &config);
        }
        clock.0.store(NOW + 301, Ordering::Relaxed);
        let mut pair = Pair::new(&server, connection(&config));
        let error = loop {
            pair.pump();
            if let Err(error) = pair.session.step(&mut pair.below, &mut pair.above) {
                break error;
            }
            assert_ne!(pair.session.stage(), Stage::Open, "{version:?}");
        };
        assert!(
            matches!(
                error,
                Error::Certificate(rustls::Error::InvalidCertificate(
                    CertificateError::ExpiredContext { .. }
                ))
            ),
            "{error:?}"
        );
        assert_eq!(pair.client_alert(), AlertDescription::CertificateExpired);
        assert_eq!(pair.session.peer(), None);
    }
}

#[test]
fn names_come_from_dns_names_then_uris_and_else_from_nowhere() {
    let authority = Authority::new();
    let uri = || rcgen::SanType::URI("spiffe://example/a".try_into().unwrap());
    for (names, expected) in [
        (vec![], None),
        (vec![uri()], Some("spiffe://example/a")),
        (
            vec![
                uri(),
                rcgen::SanType::DnsName("b.example".try_into().unwrap()),
            ],
            Some("b.example"),
        ),
    ] {
        let client = authority.client_with("unused.example", &|params| {
            params.subject_alt_names = names.clone();
        });
        let identity = peer::identity(&client.chain[0]);
        assert_eq!(identity.name(), expected);
    }
}

#[test]
fn a_bundle_survives_its_encoding_and_refuses_others() {
    let bundle = Authority::new().bundle();
    let mut bytes = bundle.to_bytes();
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    assert_eq!(Authorities::from_bytes(&bytes), Ok(bundle));
    let malformed = Err(AuthoritiesError::Malformed);
    assert_eq!(Authorities::from_bytes(&[]), malformed);
    assert_eq!(Authorities::from_bytes(&bytes[..100]), malformed);
    bytes[0] += 1;
    assert_eq!(Authorities::from_bytes(&bytes), malformed);
    assert_eq!(Authorities::new(vec![]), Err(AuthoritiesError::Empty));
    let wrong = Authorities::new(vec![vec![0x30, 0]]);
    assert!(matches!(wrong, Err(AuthoritiesError::Unusable(1, _))));
}

/// Returns the alert for a client that sends no certificate: TLS 1.3 has one for it.
fn none_shown(version: &SupportedProtocolVersion) -> AlertDescription {
    match version.version {
        ProtocolVersion::TLSv1_3 => AlertDescription::CertificateRequired,
        _ => AlertDescription::HandshakeFailure,
    }
}

/// A certificate authority of the tests.
struct Authority {
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and key.
struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    fn new() -> Self {
        Self::named("Authority")
    }

    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = at(NOW - DAY).into();
        params.not_after = at(NOW + DAY).into();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn bundle(&self) -> Authorities {
        Authorities::new(vec![self.certificate.clone()]).unwrap()
    }

    /// A client, and the digest of its certificate.
    fn client(&self, name: &str) -> (Client, Vec<u8>) {
        let client = self.client_with(name, &|_| {});
        let fingerprint = digest(&SHA256, &client.chain[0]).as_ref().to_vec();
        (client, fingerprint)
    }

    fn client_with(&self, name: &str, change: &dyn Fn(&mut CertificateParams)) -> Client {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![String::from(name)]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = at(NOW - DAY).into();
        params.not_after = at(NOW + DAY).into();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Client {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    /// For each version a server that trusts this authority, and its clock.
    fn servers(
        &self,
        anonymous: bool,
    ) -> impl Iterator<Item = (&'static SupportedProtocolVersion, Server, Arc<Clock>)> {
        let authorities = self.bundle();
        VERSIONS.into_iter().map(move |version| {
            let trust = authorities.clone().into();
            let (server, clock) = server_that_trusts(trust, anonymous);
            (version, server, clock)
        })
    }
}

/// A server, and its clock.
fn server_that_trusts(trust: Trust, anonymous: bool) -> (Server, Arc<Clock>) {
    let clock = Arc::new(Clock(AtomicU64::new(NOW)));
    let options = Options {
        clients: Some(ClientPolicy { trust, anonymous }),
        ..Options::default()
    };
    let server = server(keys(vault::Kind::EcdsaP256), options, clock.clone()).unwrap();
    server.tickets.as_ref().unwrap().advance(1);
    (server, clock)
}

#[derive(Debug)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn config(
    version: &'static SupportedProtocolVersion,
    client: Option<&Client>,
) -> Arc<ClientConfig> {
    let mut config = client_config(&[], &[version]);
    if let Some(client) = client {
        let key = rustls::crypto::ring::sign::any_supported_type(&client.key).unwrap();
        let certified = rustls::sign::CertifiedKey::new(client.chain.clone(), key);
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        config.client_auth_cert_resolver = Arc::new(resolver);
    }
    Arc::new(config)
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(config.clone(), name).unwrap()
}

fn handshake(server: &Server, config: &Arc<ClientConfig>) -> Pair {
    let mut pair = Pair::new(server, connection(config));
    pair.handshake();
    pair
}

/// The alert that a server refuses a client with.
fn refusal(server: &Server, config: &Arc<ClientConfig>) -> AlertDescription {
    refused(server, config).1
}

fn refused(server: &Server, config: &Arc<ClientConfig>) -> (Error, AlertDescription) {
    let mut pair = Pair::new(server, connection(config));
    for _ in 0..8 {
        pair.pump();
        match pair.session.step(&mut pair.below, &mut pair.above) {
            Ok(_) => assert_ne!(pair.session.stage(), Stage::Open),
            Err(error) => {
                // The latter is said of a session that is resumed.
                let refused = matches!(error, Error::Handshake(_) | Error::Certificate(_));
                assert!(refused, "{error:?}");
                return (error, pair.client_alert());
            }
        }
    }
    panic!("no refusal");
}
