//! Sessions against rustls' own client, over plain vectors.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::string::ToString;
use std::sync::Mutex;

use channel::sign::{MAX_WORDS, PublicKey, Sign};
use channel::testing::replied;
use channel::{Call, CallError, Reply};

use proptest::prelude::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct,
    ProtocolVersion, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, crypto,
};
use vault::{Entry, Keyring, Kind, Scheme, Vault};
use vault_subject::made;

use crate::*;

#[test]
fn every_suite_carries_data_both_ways() {
    for (key, suite) in suites() {
        let mut pair = Pair::new(&server(key), client(Some(suite), &[ALPN_HTTP_1_1]));
        pair.handshake();
        let established = pair.session.established().unwrap();
        assert_eq!(established.suite().suite(), suite.suite());
        let upload = pattern(300_000, 1);
        let download = pattern(500_000, 2);
        pair.transfer(&upload, &download, 16 * 1024);
        pair.close_from_client();
    }
}

#[test]
fn small_rings_lose_nothing() {
    for space in [2048, 3000, 4096] {
        let mut pair = Pair::new(&server(Kind::EcdsaP256), client(None, &[]));
        pair.below.limit = space;
        pair.above.limit = space;
        pair.handshake();
        pair.transfer(&pattern(50_000, 3), &pattern(50_000, 4), space);
    }
}

#[test]
fn a_payload_byte_is_copied_twice_each_way() {
    let mut pair = Pair::new(&server(Kind::EcdsaP256), client(None, &[]));
    pair.handshake();
    pair.transfer(&pattern(200_000, 5), &pattern(200_000, 6), 32 * 1024);
    let copies = pair.session.copies();
    assert_eq!((copies.received, copies.sent), (200_000, 200_000));
    // Beyond two copies of the payload there are only headers and tags.
    assert!((400_000..404_000).contains(&copies.receiving), "{copies:?}");
    assert!((400_000..404_000).contains(&copies.sending), "{copies:?}");
}

#[test]
fn close_notify_goes_both_ways() {
    let mut pair = Pair::new(&server(Kind::Ed25519), client(None, &[]));
    pair.handshake();
    pair.above.to_send.extend(b"last words");
    pair.above.finished = true;
    pair.run();
    assert!(pair.session.output_ended());
    assert_eq!(pair.downloaded, b"last words");
    assert!(!pair.session.input_ended());
    pair.client.writer().write_all(b"answer").unwrap();
    pair.close_from_client();
    assert_eq!(pair.above.received, b"answer");
}

#[test]
fn the_client_may_change_keys_at_any_time() {
    let mut pair = Pair::new(&server(Kind::EcdsaP256), client(None, &[]));
    pair.handshake();
    for round in 0..40 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.transfer(&pattern(3_000, round), &pattern(3_000, round + 1), 4096);
    }
}

#[test]
fn used_up_keys_are_changed() {
    let mut pair = Pair::new(&server(Kind::EcdsaP256), client(None, &[]));
    pair.handshake();
    pair.session.established_mut().set_send_limit(3);
    pair.transfer(&[], &pattern(400_000, 7), 16 * 1024);
}

#[test]
fn used_up_keys_end_a_tls12_session() {
    let suite = crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let mut pair = Pair::new(&server(Kind::EcdsaP256), client(Some(suite), &[]));
    pair.handshake();
    pair.session.established_mut().set_send_limit(2);
    pair.above.to_send.extend(pattern(100_000, 8));
    assert_eq!(pair.run_to_error(), Error::Record(Fault::KeysExhausted));
}

#[test]
fn a_changed_record_is_refused_with_bad_record_mac() {
    for (key, suite) in suites() {
        let mut pair = Pair::new(&server(key), client(Some(suite), &[]));
        pair.handshake();
        pair.client.writer().write_all(b"hello").unwrap();
        let mut record = vec![];
        pair.client.write_tls(&mut record).unwrap();
        *record.last_mut().unwrap() ^= 1;
        pair.below.incoming.extend(record);
        let error = pair
            .session
            .step(&mut pair.below, &mut pair.above)
            .unwrap_err();
        assert_eq!(error, Error::Record(Fault::Decrypt));
        assert_eq!(pair.client_alert(), AlertDescription::BadRecordMac);
        assert!(pair.session.output_ended());
        assert_eq!(pair.above.received, b"");
    }
}

#[test]
fn plain_text_and_wrong_records_are_refused() {
    let server = server(Kind::EcdsaP256);
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[22, 3, 1, 0xff, 0xff, 0],
        &[22, 9, 9, 0, 1, 1],
    ] {
        let mut pair = Pair::new(&server, client(None, &[]));
        pair.below.incoming.extend(bytes);
        let error = pair.run_to_error();
        assert!(matches!(error, Error::Handshake(_) | Error::Record(_)));
        // An alert record, level fatal.
        assert_eq!(
            pair.below
                .outgoing
                .iter()
                .take(6)
                .copied()
                .collect::<Vec<_>>()[5],
            2
        );
        assert_eq!(pair.session.stage(), Stage::Failed);
        assert_eq!(
            pair.session.step(&mut pair.below, &mut pair.above),
            Ok(false)
        );
    }
}

#[test]
fn unencrypted_records_after_the_handshake_are_refused() {
    let mut pair = Pair::new(&server(Kind::EcdsaP256), client(None, &[]));
    pair.handshake();
    pair.below.incoming.extend([20, 3, 3, 0, 1, 1]);
    assert_eq!(pair.run_to_error(), Error::Record(Fault::UnexpectedMessage));
}

#[test]
fn another_application_protocol_is_refused() {
    let mut pair = Pair::new(&server(Kind::EcdsaP256), client(None, &[b"h2"]));
    pair.pump();
    assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    assert_eq!(pair.client_alert(), AlertDescription::NoApplicationProtocol);
}

#[test]
fn endless_handshake_messages_are_refused() {
    let mut pair = Pair::new(&server(Kind::EcdsaP256), client(None, &[]));
    // A ClientHello that says it is 2^24 - 1 bytes long, in full records.
    let mut first = vec![22, 3, 1, 0x40, 0];
    first.extend([1, 0xff, 0xff, 0xff]);
    first.resize(5 + 0x4000, 0);
    pair.below.incoming.extend(&first);
    let mut more = vec![22, 3, 1, 0x40, 0];
    more.resize(5 + 0x4000, 0);
    for _ in 0..64 {
        pair.below.incoming.extend(&more);
    }
    assert!(matches!(
        pair.run_to_error(),
        Error::Handshake(_) | Error::HandshakeTooLarge
    ));
}

#[test]
fn a_refused_signature_is_an_internal_error_and_the_next_handshake_works() {
    for version in rustls::ALL_VERSIONS {
        let vault = TestVault::new(&[Kind::EcdsaP256]);
        let server = vault.server();
        vault.refuse(true);
        let mut pair = Pair::new(&server, client_of(&[*version], "localhost"));
        pair.pump();
        assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
        assert_eq!(pair.client_alert(), AlertDescription::InternalError);
        assert!(pair.session.output_ended());
        vault.refuse(false);
        Pair::new(&server, client_of(&[*version], "localhost")).handshake();
    }
}

#[test]
fn the_name_that_a_client_asks_for_picks_the_key() {
    let names = |name: &str| vec![name.to_string()];
    let entry = |kind, name| made(kind, names(name), true).unwrap();
    let vault = TestVault::of(vec![
        entry(Kind::EcdsaP256, "one.test"),
        entry(Kind::Ed25519, "two.test"),
        entry(Kind::EcdsaP384, "*.three.test"),
    ]);
    let server = vault.server();
    for (name, expected) in [
        ("one.test", "one.test"),
        ("TWO.test", "two.test"),
        ("www.three.test", "*.three.test"),
        ("other.test", "one.test"),
    ] {
        let mut pair = Pair::new(&server, client_of(rustls::ALL_VERSIONS, name));
        pair.handshake();
        let certificates = pair.client.peer_certificates().unwrap();
        let chain = certificates[0].to_vec();
        let key = vault.keys().into_iter().find(|key| key.chain[0] == chain);
        assert_eq!(key.unwrap().names, names(expected));
    }
}

#[test]
fn keys_of_a_vault_that_was_restarted_are_found_to_be_stale() {
    let vault = TestVault::new(&[Kind::EcdsaP256]);
    let keys = Arc::new(VaultKeys::read(&vault.sign()).unwrap());
    let time = Arc::new(DefaultTimeProvider);
    let server = crate::server(keys.clone(), Options::default(), time).unwrap();
    vault.restart();
    assert!(!keys.take_stale());
    let mut pair = Pair::new(&server, client(None, &[]));
    pair.pump();
    assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    assert_eq!(pair.client_alert(), AlertDescription::InternalError);
    assert!(keys.take_stale() && !keys.take_stale());
    let new = VaultKeys::read(&vault.sign()).unwrap();
    assert!(!new.are(&keys) && new.are(&VaultKeys::read(&vault.sign()).unwrap()));
    Pair::new(&vault.server(), client(None, &[])).handshake();
}

#[test]
fn keys_of_a_vault_that_starts_over_during_a_call_are_stale() {
    let vault = TestVault::new(&[Kind::EcdsaP256]);
    let keys = Arc::new(VaultKeys::read(&vault.sign()).unwrap());
    let time = Arc::new(DefaultTimeProvider);
    let server = crate::server(keys.clone(), Options::default(), time).unwrap();
    vault.refuse(true);
    let mut pair = Pair::new(&server, client(None, &[]));
    pair.pump();
    assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    assert_eq!(pair.client_alert(), AlertDescription::InternalError);
    assert!(keys.take_stale());
}

#[test]
fn a_vault_without_keys_refuses_handshakes() {
    let vault = TestVault::new(&[]);
    let mut pair = Pair::new(&vault.server(), client(None, &[]));
    pair.pump();
    assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    assert_eq!(pair.client_alert(), AlertDescription::HandshakeFailure);
}

#[test]
fn a_key_that_waits_for_its_certificate_is_not_used() {
    let entry = |self_signed| made(Kind::EcdsaP256, vec!["localhost".into()], self_signed).unwrap();
    let vault = TestVault::of(vec![entry(false)]);
    let mut pair = Pair::new(&vault.server(), client(None, &[]));
    pair.pump();
    assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    assert_eq!(pair.client_alert(), AlertDescription::HandshakeFailure);
    let vault = TestVault::of(vec![entry(false), entry(true)]);
    let mut pair = Pair::new(&vault.server(), client(None, &[]));
    pair.handshake();
    let shown = pair.client.peer_certificates().unwrap();
    assert_eq!(shown[0].as_ref(), &vault.keys()[1].chain[0][..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever arrives, a session answers or fails; it never panics and never loops.
    #[test]
    fn arbitrary_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..4000),
        after_handshake in any::<bool>(),
    ) {
        let mut pair = Pair::new(&shared_server(), client(None, &[]));
        if after_handshake {
            pair.handshake();
        }
        pair.below.incoming.extend(&bytes);
        for _ in 0..64 {
            let _ = pair.session.step(&mut pair.below, &mut pair.above);
        }
        prop_assert_eq!(pair.above.received.len(), 0);
    }

    /// A handshake with one byte changed fails or still agrees on the same data.
    #[test]
    fn changed_handshakes_never_deliver_wrong_data(position in 0usize..600, change in 1u8..) {
        let mut pair = Pair::new(&shared_server(), client(None, &[]));
        let mut hello = vec![];
        pair.client.write_tls(&mut hello).unwrap();
        let position = position % hello.len();
        hello[position] ^= change;
        pair.below.incoming.extend(&hello);
        for _ in 0..8 {
            let _ = pair.session.step(&mut pair.below, &mut pair.above);
            pair.pump();
        }
        prop_assert_eq!(pair.above.received.len(), 0);
    }
}

// What the tests are made of.

/// A vault at the other end of a call.
#[derive(Clone)]
struct TestVault(Arc<Mutex<State>>);

struct State {
    entries: Vec<Entry>,
    vault: Vault,
    refuses: bool,
}

impl TestVault {
    fn new(kinds: &[Kind]) -> Self {
        let entry = |kind: &Kind| made(*kind, vec!["localhost".into()], true).unwrap();
        Self::of(kinds.iter().map(entry).collect())
    }

    fn of(entries: Vec<Entry>) -> Self {
        Self(Arc::new(Mutex::new(State {
            vault: vault(&entries),
            entries,
            refuses: false,
        })))
    }

    fn refuse(&self, refuses: bool) {
        self.0.lock().unwrap().refuses = refuses;
    }

    fn restart(&self) {
        let mut state = self.0.lock().unwrap();
        state.vault = vault(&state.entries);
    }

    fn sign(&self) -> Sign {
        Sign::new(self.clone())
    }

    fn keys(&self) -> Vec<PublicKey> {
        self.sign().keys().unwrap()
    }

    fn server(&self) -> Server {
        let keys = Arc::new(VaultKeys::read(&self.sign()).unwrap());
        let time = Arc::new(DefaultTimeProvider);
        crate::server(keys, Options::default(), time).unwrap()
    }
}

impl Call for TestVault {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        let mut state = self.0.lock().unwrap();
        let mut words = [0; MAX_WORDS];
        let answer = match state.refuses {
            true => Err(CallError::Restarted.into()),
            false => state.vault.answer(0, label, request, 0, &mut words),
        };
        replied(answer, &words, reply)
    }
}

fn vault(entries: &[Entry]) -> Vault {
    let schemes = Scheme::ALL.map(|(_, scheme)| scheme);
    let client = vault::Client {
        rate: 1_000_000,
        client: false,
    };
    let keyring = Keyring(entries.to_vec());
    Vault::new(&keyring, &schemes, &[client], 1_700_000_000).unwrap()
}

/// Every suite that a P-256 key can serve, with Ed25519 in turn where it may.
fn suites() -> impl Iterator<Item = (Kind, SupportedCipherSuite)> {
    let usable = crypto::ring::ALL_CIPHER_SUITES.iter().filter(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    });
    usable.flat_map(|suite| [(Kind::EcdsaP256, *suite), (Kind::Ed25519, *suite)])
}

/// The key of a vault of its own.
pub(crate) fn keys(kind: Kind) -> Arc<VaultKeys> {
    Arc::new(VaultKeys::read(&TestVault::new(&[kind]).sign()).unwrap())
}

fn server(kind: Kind) -> Server {
    TestVault::new(&[kind]).server()
}

fn shared_server() -> Server {
    static SERVER: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
    SERVER.get_or_init(|| server(Kind::EcdsaP256)).clone()
}

pub(crate) fn client(suite: Option<SupportedCipherSuite>, alpn: &[&[u8]]) -> ClientConnection {
    let mut config = client_config(suite.as_slice(), rustls::ALL_VERSIONS);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// A client of these versions that asks for this name.
fn client_of(
    versions: &[&'static SupportedProtocolVersion],
    name: &'static str,
) -> ClientConnection {
    let config = client_config(&[], versions);
    ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap()
}

pub(crate) fn client_config(
    suites: &[SupportedCipherSuite],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut provider = crypto::ring::default_provider();
    let mut versions = versions.to_vec();
    if let [first, ..] = suites {
        provider.cipher_suites = suites.to_vec();
        versions.retain(|version| version.version == first.version().version);
    }
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth()
}

fn pattern(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32)
        .map(|n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) session: Session,
    pub(crate) below: Pipe,
    pub(crate) above: Service,
    /// What the client has received.
    downloaded: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(server: &Server, client: ClientConnection) -> Self {
        Self {
            client,
            session: Session::new(server).unwrap(),
            below: Pipe {
                limit: 32 * 1024,
                ..Pipe::default()
            },
            above: Service {
                limit: 16 * 1024,
                ..Service::default()
            },
            downloaded: vec![],
        }
    }

    /// Carries bytes between the client and the pipe.
    pub(crate) fn pump(&mut self) {
        let mut sent = vec![];
        while self.client.wants_write() {
            self.client.write_tls(&mut sent).unwrap();
        }
        self.below.incoming.extend(sent);
        while !self.below.outgoing.is_empty() {
            if self.client.read_tls(&mut self.below.outgoing).unwrap() == 0 {
                break;
            }
            let _ = self.client.process_new_packets();
            if let Err(error) = self.client.reader().read_to_end(&mut self.downloaded) {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..4 {
            self.pump();
            while self.session.step(&mut self.below, &mut self.above).unwrap() {}
            self.pump();
        }
    }

    pub(crate) fn run_to_error(&mut self) -> Error {
        for _ in 0..64 {
            match self.session.step(&mut self.below, &mut self.above) {
                Ok(_) => self.pump(),
                Err(error) => return error,
            }
        }
        panic!("no error");
    }

    pub(crate) fn handshake(&mut self) {
        for _ in 0..200 {
            self.run();
        }
        assert!(!self.client.is_handshaking());
        assert_eq!(self.session.stage(), Stage::Open);
    }

    /// Sends both ways at once with a service that takes `chunk` bytes a turn.
    pub(crate) fn transfer(&mut self, upload: &[u8], download: &[u8], chunk: usize) {
        self.above.to_send.extend(download);
        let (mut sent, mut uploaded) = (0, vec![]);
        self.downloaded.clear();
        for _ in 0..20_000 {
            sent += self.client.writer().write(&upload[sent..]).unwrap();
            self.run();
            let count = chunk.min(self.above.received.len());
            uploaded.extend(self.above.received.drain(..count));
            if uploaded.len() == upload.len() && self.downloaded.len() == download.len() {
                break;
            }
        }
        assert!(
            uploaded == upload,
            "{} of {} bytes",
            uploaded.len(),
            upload.len()
        );
        let downloaded = self.downloaded.len();
        assert!(
            self.downloaded == download,
            "{downloaded} of {} bytes",
            download.len()
        );
    }

    pub(crate) fn close_from_client(&mut self) {
        self.client.send_close_notify();
        self.run();
        assert!(self.session.input_ended());
        self.above.finished = true;
        self.run();
        assert!(self.session.output_ended());
    }

    pub(crate) fn client_alert(&mut self) -> AlertDescription {
        let _ = self.client.read_tls(&mut self.below.outgoing).unwrap();
        match self.client.process_new_packets() {
            Err(rustls::Error::AlertReceived(alert)) => alert,
            other => panic!("no alert but {other:?}"),
        }
    }
}

#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) incoming: VecDeque<u8>,
    pub(crate) outgoing: VecDeque<u8>,
    limit: usize,
}

impl Below for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.incoming.read(buffer).unwrap()
    }
    fn space(&mut self) -> usize {
        self.limit - self.outgoing.len()
    }
    fn write(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.space());
        self.outgoing.extend(&bytes[..count]);
        count
    }
    fn wait_for_space(&mut self, _: usize) {}
}

#[derive(Default)]
pub(crate) struct Service {
    received: Vec<u8>,
    to_send: VecDeque<u8>,
    finished: bool,
    limit: usize,
}

impl Above for Service {
    fn space(&mut self) -> usize {
        self.limit - self.received.len()
    }
    fn write(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.space());
        self.received.extend(&bytes[..count]);
        count
    }
    fn wait_for_space(&mut self, _: usize) {}
    fn pending(&mut self) -> [&[u8]; 2] {
        let (first, second) = self.to_send.as_slices();
        [first, second]
    }
    fn consume(&mut self, count: usize) {
        self.to_send.drain(..count);
    }
    fn finished(&mut self) -> bool {
        self.finished
    }
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto::ring::default_provider().signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto::ring::default_provider().signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[test]
fn the_order_of_cipher_suites_is_the_clients_or_the_servers() {
    use crypto::ring::cipher_suite::*;
    let versions: [[SupportedCipherSuite; 3]; 2] = [
        [
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
        ],
        [
            TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ],
    ];
    for offered in versions {
        for server_cipher_order in [false, true] {
            let options = Options {
                server_cipher_order,
                ..Options::default()
            };
            let time = Arc::new(DefaultTimeProvider);
            let server = crate::server(keys(Kind::EcdsaP256), options, time).unwrap();
            let config = client_config(&offered, rustls::ALL_VERSIONS);
            let name = ServerName::try_from("localhost").unwrap();
            let client = ClientConnection::new(Arc::new(config), name).unwrap();
            let mut pair = Pair::new(&server, client);
            pair.handshake();
            let chosen = if server_cipher_order { 2 } else { 0 };
            let suite = pair.session.established().unwrap().suite().suite();
            assert_eq!(suite, offered[chosen].suite());
        }
    }
}

#[test]
fn tls12_can_be_switched_off() {
    let options = Options {
        tls12: false,
        ..Options::default()
    };
    let server = crate::server(
        keys(Kind::EcdsaP256),
        options,
        Arc::new(DefaultTimeProvider),
    )
    .unwrap();
    let suite = crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let mut pair = Pair::new(&server, client(Some(suite), &[]));
    pair.pump();
    assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    assert_eq!(pair.client_alert(), AlertDescription::ProtocolVersion);
    assert_eq!(pair.client.protocol_version(), None::<ProtocolVersion>);
}
