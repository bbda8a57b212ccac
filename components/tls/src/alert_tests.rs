//! Tests of the alerts that a client gets for its errors.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::collections::VecDeque;

use rustls::client::Resumption;
use rustls::crypto::cipher::{AeadKey, Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::ring::cipher_suite::*;
use rustls::crypto::tls13::{OkmBlock, expand};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    AlertDescription, ClientConnection, ContentType, KeyLog, ProtocolVersion, ServerConfig,
    ServerConnection, SupportedCipherSuite, version,
};
use std::sync::Mutex;
use vault::Kind;

use crate::tests::{Pair, client_config, keys};
use crate::*;

const SERVER_NAME: u16 = 0;
const GROUPS: u16 = 10;
const SCHEMES: u16 = 13;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const VERSIONS: u16 = 43;
const COOKIE: u16 = 44;
const PSK_MODES: u16 = 45;
const KEY_SHARE: u16 = 51;

const X25519: u16 = 29;
const P256: u16 = 23;
const P521: u16 = 25;

#[test]
fn a_version_that_is_too_old_is_named() {
    let old = Hello {
        version: 0x0302,
        extensions: vec![],
        ..Hello::tls12()
    };
    refused(&old, AlertDescription::ProtocolVersion);
    // The form in which today's clients send a version limit of TLS 1.1.
    let only = Hello::tls13().with(VERSIONS, vec![2, 3, 2]);
    refused(&only, AlertDescription::ProtocolVersion);
    let nothing = Hello {
        version: 0x0302,
        ..Hello::tls12()
    };
    refused(&nothing.without(SCHEMES), AlertDescription::ProtocolVersion);
    // SSL 3.0 in `legacy_version`, which is otherwise ignored when supported_versions is present.
    for version in [0x0300, 0x0200, 2, 0] {
        let hello = Hello {
            version,
            ..Hello::tls13()
        };
        refused(&hello, AlertDescription::ProtocolVersion);
        let bytes = hello.bytes();
        let (first, rest) = bytes.split_at(5);
        let records = [record(22, first), record(22, rest)].concat();
        assert_eq!(alert_to(&records), AlertDescription::ProtocolVersion);
    }
    let options = Options {
        tls12: false,
        ..Options::default()
    };
    let alert = alert_of(&server(options), &record(22, &Hello::tls12().bytes()));
    assert_eq!(alert, AlertDescription::ProtocolVersion);
}

/// RFC 7507, section 3.
#[test]
fn a_client_that_falls_back_is_told() {
    let falling = |hello: Hello| Hello {
        suites: [&hello.suites[..], &[0x5600]].concat(),
        ..hello
    };
    refused(
        &falling(Hello::tls12()),
        AlertDescription::InappropriateFallback,
    );
    let older = Hello {
        version: 0x0302,
        ..falling(Hello::tls12())
    };
    refused(&older, AlertDescription::InappropriateFallback);
    let mut pair = Pair::new(&server(Options::default()), ours().0);
    let hello = falling(Hello::tls13()).bytes();
    assert_eq!(run(&mut pair, &record(22, &hello)), None);
    assert!(!pair.below.outgoing.is_empty());
}

#[test]
fn a_client_with_nothing_in_common_gets_handshake_failure() {
    for hello in [Hello::tls12(), Hello::tls13()] {
        let suites = Hello {
            suites: vec![0x002f, 0x1304],
            ..hello.clone()
        };
        refused(&suites, AlertDescription::HandshakeFailure);
        let rsa_pss = vec![0, 2, 8, 4];
        refused(
            &hello.clone().with(SCHEMES, rsa_pss),
            AlertDescription::HandshakeFailure,
        );
        let p521 = hello
            .with(GROUPS, list(&[P521]))
            .with(KEY_SHARE, vec![0, 0]);
        refused(&p521, AlertDescription::HandshakeFailure);
    }
    let without = Hello::tls12().without(SCHEMES);
    refused(&without, AlertDescription::HandshakeFailure);
    let without = Hello::tls12().without(GROUPS);
    refused(&without, AlertDescription::HandshakeFailure);
}

/// RFC 8446, section 9.2.
#[test]
fn an_extension_that_must_be_there_is_missing() {
    for extension in [SCHEMES, GROUPS, KEY_SHARE] {
        let hello = Hello::tls13().without(extension);
        refused(&hello, AlertDescription::MissingExtension);
    }
    let psk = Hello::tls13().with(PRE_SHARED_KEY, psk(1, 1));
    refused(&psk, AlertDescription::MissingExtension);
}

#[test]
fn key_shares_that_are_no_points_are_illegal() {
    let mut p256 = vec![4];
    p256.resize(65, 1);
    let compressed = [vec![2], vec![1; 32]].concat();
    for (group, share) in [
        (X25519, vec![0; 32]),
        (X25519, vec![1; 31]),
        (X25519, vec![1; 33]),
        (P256, p256),
        (P256, compressed),
        (P256, vec![4; 64]),
    ] {
        let hello = Hello::tls13().with(KEY_SHARE, shares(&[(group, share)]));
        let hello = hello.with(GROUPS, list(&[group]));
        refused(&hello, AlertDescription::IllegalParameter);
    }
}

#[test]
fn values_that_contradict_others_are_illegal() {
    let share = (X25519, vec![9; 32]);
    let compressed = |hello: Hello| Hello {
        compression: vec![1],
        ..hello
    };
    let modes = (PSK_MODES, vec![1, 1]);
    let both = |hello: Hello| hello.with(modes.0, modes.1.clone());
    let mut doubled = Hello::tls13();
    doubled.extensions.push((GROUPS, list(&[X25519])));
    let mut psk_first = both(Hello::tls13()).with(PRE_SHARED_KEY, psk(1, 1));
    psk_first.extensions.reverse();
    let two_compressions = Hello {
        compression: vec![1, 0],
        ..Hello::tls13()
    };
    for hello in [
        compressed(Hello::tls12()),
        compressed(Hello::tls13()),
        two_compressions,
        doubled,
        psk_first,
        Hello::tls13().with(KEY_SHARE, shares(&[share.clone(), share])),
        both(Hello::tls13()).with(PRE_SHARED_KEY, psk(2, 1)),
        Hello::tls13().with(SERVER_NAME, vec![0, 7, 0, 0, 4, b'a', b' ', b'b', b'c']),
    ] {
        refused(&hello, AlertDescription::IllegalParameter);
    }
}

#[test]
fn messages_that_do_not_parse_are_decode_errors() {
    let whole = Hello::tls13().bytes();
    let mut longer = whole.clone();
    longer.push(0);
    longer[3] += 1;
    let mut shorter = whole.clone();
    shorter.pop();
    shorter[3] -= 1;
    let mut body = Hello::tls13();
    body.extensions.push((EARLY_DATA, vec![0]));
    for message in [longer, shorter, body.bytes(), vec![1, 0, 0, 0]] {
        assert_eq!(
            alert_to(&record(22, &message)),
            AlertDescription::DecodeError
        );
    }
    for (extension, content) in [
        (GROUPS, vec![0, 1, 0]),
        (SCHEMES, vec![0, 0]),
        (VERSIONS, vec![0]),
        (ALPN, vec![0, 3, 0, 1, b'h']),
        (COOKIE, vec![0, 9]),
    ] {
        let hello = Hello::tls13().with(extension, content);
        refused(&hello, AlertDescription::DecodeError);
    }
}

#[test]
fn another_application_protocol_is_refused_before_the_server_says_hello() {
    for hello in [Hello::tls12(), Hello::tls13()] {
        let hello = hello.with(ALPN, vec![0, 3, 2, b'h', b'2']);
        refused(&hello, AlertDescription::NoApplicationProtocol);
    }
}

#[test]
fn records_out_of_place_are_unexpected() {
    let hello = Hello::tls13().bytes();
    let (half, rest) = hello.split_at(hello.len() / 2);
    let (half, rest) = (record(22, half), record(22, rest));
    for records in [
        record(0, b"x"),
        record(24, b"x"),
        record(0xff, b"x"),
        // Before any message, in the middle of a ClientHello, and empty.
        record(23, b""),
        record(23, b"early"),
        record(20, &[1]),
        record(22, &[]),
        record(21, &[]),
        [half.clone(), record(23, b""), rest.clone()].concat(),
        [half.clone(), record(20, &[1]), rest].concat(),
        // Other handshake messages than a ClientHello.
        record(22, &[16, 0, 0, 0]),
        record(22, &[20, 0, 0, 0]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let alert = alert_to(&records);
        assert_eq!(alert, AlertDescription::UnexpectedMessage, "{records:?}");
    }
}

#[test]
fn records_that_are_too_long_overflow() {
    for length in [0x4001, 0x4800, 0x4801, 0xffff] {
        let mut bytes = record(22, &vec![0; length]);
        bytes[5..9].copy_from_slice(&[1, 0, 0xff, 0xff]);
        assert_eq!(alert_to(&bytes), AlertDescription::RecordOverflow);
    }
    let mut version = record(22, b"x");
    version[1] = 2;
    assert_eq!(alert_to(&version), AlertDescription::ProtocolVersion);
}

#[test]
fn a_client_that_takes_its_leave_gets_no_error() {
    // A fatal alert: RFC 8446, section 6.2 has both sides close.
    let mut pair = Pair::new(&server(Options::default()), ours().0);
    pair.below.incoming.extend(record(21, &[2, 40]));
    assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
    assert!(pair.below.outgoing.is_empty() && pair.session.output_ended());
    // After the server's flight.
    let mut run = Run::begin();
    run.send(ContentType::Alert, &[1, 0]);
    assert_eq!(run.alert(), None);
    let mut run = Run::begin();
    run.send(ContentType::Alert, &[2, 40]);
    assert_eq!(run.answer(), None);
}

#[test]
fn a_second_hello_has_to_follow_the_retry() {
    let other = Hello::tls13().with(KEY_SHARE, vec![0, 0]);
    let retried = |second: &Hello| {
        let mut pair = Pair::new(&server(Options::default()), ours().0);
        let _ = run(&mut pair, &record(22, &other.bytes()));
        pair.below.outgoing.clear();
        run(&mut pair, &record(22, &second.bytes()))
    };
    assert_eq!(retried(&other), Some(AlertDescription::IllegalParameter));
    let renamed = Hello::tls13().with(SERVER_NAME, vec![0, 4, 0, 0, 1, b'x']);
    assert_eq!(retried(&renamed), Some(AlertDescription::IllegalParameter));
    let again = Hello::tls13().with(EARLY_DATA, vec![]);
    assert_eq!(retried(&again), Some(AlertDescription::IllegalParameter));
    let older = Hello::tls12();
    assert_eq!(retried(&older), Some(AlertDescription::ProtocolVersion));
}

/// All records here are encrypted: rustls' client must be able to decrypt the alert.
#[test]
fn encrypted_messages_out_of_place_get_an_encrypted_alert() {
    use AlertDescription as Alert;
    let zeros = |count| vec![0; count];
    let finished = |length: u8| [vec![20, 0, 0, length], zeros(usize::from(length))].concat();
    for (typ, content, expected) in [
        (
            ContentType::ApplicationData,
            vec![],
            Alert::UnexpectedMessage,
        ),
        (
            ContentType::ApplicationData,
            b"early".to_vec(),
            Alert::UnexpectedMessage,
        ),
        (ContentType::Handshake, vec![], Alert::UnexpectedMessage),
        (ContentType::Alert, vec![], Alert::UnexpectedMessage),
        (
            ContentType::ChangeCipherSpec,
            vec![1],
            Alert::UnexpectedMessage,
        ),
        (ContentType::Unknown(0), vec![], Alert::UnexpectedMessage),
        (
            ContentType::Handshake,
            vec![11, 0, 0, 4, 0, 0, 0, 0],
            Alert::UnexpectedMessage,
        ),
        // EndOfEarlyData, KeyUpdate.
        (
            ContentType::Handshake,
            vec![5, 0, 0, 0],
            Alert::UnexpectedMessage,
        ),
        (
            ContentType::Handshake,
            vec![24, 0, 0, 1, 0],
            Alert::UnexpectedMessage,
        ),
        (ContentType::Handshake, finished(0), Alert::DecodeError),
        (ContentType::Handshake, finished(31), Alert::DecodeError),
        (ContentType::Handshake, finished(33), Alert::DecodeError),
        (ContentType::Handshake, finished(32), Alert::DecryptError),
        (
            ContentType::Handshake,
            [finished(32), vec![24]].concat(),
            Alert::DecryptError,
        ),
        (ContentType::Alert, vec![2], Alert::DecodeError),
        (
            ContentType::ApplicationData,
            zeros(0x4001),
            Alert::RecordOverflow,
        ),
    ] {
        let mut run = Run::begin();
        run.send(typ, &content);
        assert_eq!(run.alert(), Some(expected), "{typ:?} {content:?}");
    }
}

#[test]
fn records_in_the_clear_behind_the_servers_hello_get_an_encrypted_alert() {
    use AlertDescription as Alert;
    let ccs = record(20, &[1]);
    for (records, expected) in [
        (record(23, b""), Alert::UnexpectedMessage),
        (record(22, &[20, 0, 0, 0]), Alert::BadRecordMac),
        (record(22, &Hello::tls13().bytes()), Alert::BadRecordMac),
        (record(23, &[7; 40]), Alert::BadRecordMac),
        (record(0, b"x"), Alert::UnexpectedMessage),
        (record(20, &[2]), Alert::UnexpectedMessage),
        (record(20, &[1, 1]), Alert::UnexpectedMessage),
        // One too many: a client needs one after each of its ClientHellos (RFC 8446, appendix D.4).
        (ccs.repeat(3), Alert::UnexpectedMessage),
        (record(23, &vec![0; 0x4101]), Alert::RecordOverflow),
        (record(23, &vec![0; 0x4801]), Alert::RecordOverflow),
    ] {
        let mut run = Run::begin();
        run.pair.below.incoming.extend(&records);
        assert_eq!(run.alert(), Some(expected), "{records:?}");
    }
    // Two are dropped, and the handshake continues.
    let mut run = Run::begin();
    run.pair.below.incoming.extend(ccs.repeat(1));
    run.pair.handshake();
}

/// All suites of TLS 1.3, with an error for which this crate makes the alert.
#[test]
fn alerts_are_sealed_with_the_suite() {
    for suite in [
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let mut run = Run::begin_with(suite);
        run.pair.below.incoming.extend(record(20, &[1]).repeat(4));
        assert_eq!(run.alert(), Some(AlertDescription::UnexpectedMessage));
    }
}

/// A TLS 1.2 server that resumes a session encrypts before its client does.
#[test]
fn alerts_of_a_resumed_tls12_handshake_are_encrypted() {
    for suite in [
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ] {
        let server = server(Options::default());
        let mut config = client_config(&[suite], &[&version::TLS12]);
        config.resumption = Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        let connect = || {
            let name = ServerName::try_from("localhost").unwrap();
            Pair::new(
                &server,
                ClientConnection::new(config.clone(), name).unwrap(),
            )
        };
        connect().handshake();
        // An unencrypted message in place of ChangeCipherSpec.
        let mut pair = connect();
        pair.pump();
        while pair.below.outgoing.is_empty() {
            let _ = pair.session.step(&mut pair.below, &mut pair.above).unwrap();
        }
        pair.below.incoming.extend(record(22, &[20, 0, 0, 0]));
        assert!(matches!(pair.run_to_error(), Error::Handshake(_)));
        let alert = pair.client_alert();
        assert_eq!(alert, AlertDescription::UnexpectedMessage, "{suite:?}");
    }
}

#[test]
fn after_the_handshake_records_get_their_alerts() {
    use AlertDescription as Alert;
    for (content, expected) in [
        (vec![24, 0, 0, 1, 2], Alert::IllegalParameter),
        (vec![24, 0, 0, 1, 255], Alert::IllegalParameter),
        (vec![24, 0, 0, 0], Alert::DecodeError),
        (vec![24, 0, 0, 2, 0, 0], Alert::DecodeError),
        (vec![24, 0, 0, 1, 0, 0], Alert::UnexpectedMessage),
        (
            vec![24, 0, 0, 1, 0, 24, 0, 0, 1, 0],
            Alert::UnexpectedMessage,
        ),
        (vec![4, 0, 0, 0], Alert::UnexpectedMessage),
        (vec![1, 0, 0, 0], Alert::UnexpectedMessage),
        (vec![20], Alert::UnexpectedMessage),
        (vec![], Alert::UnexpectedMessage),
    ] {
        let mut run = Run::open();
        run.send(ContentType::Handshake, &content);
        assert_eq!(run.alert(), Some(expected), "{content:?}");
    }
    for (typ, content, expected) in [
        (ContentType::Alert, vec![], Alert::UnexpectedMessage),
        (ContentType::Alert, vec![1], Alert::DecodeError),
        (ContentType::Alert, vec![1, 0, 1], Alert::DecodeError),
        (
            ContentType::ChangeCipherSpec,
            vec![1],
            Alert::UnexpectedMessage,
        ),
        (ContentType::Unknown(0), vec![], Alert::UnexpectedMessage),
        (ContentType::Unknown(24), vec![1], Alert::UnexpectedMessage),
    ] {
        let mut run = Run::open();
        run.send(typ, &content);
        assert_eq!(run.alert(), Some(expected), "{typ:?} {content:?}");
    }
    for (records, expected) in [
        (record(20, &[1]), Alert::UnexpectedMessage),
        (record(22, &[24, 0, 0, 1, 0]), Alert::UnexpectedMessage),
        (record(0, b"x"), Alert::UnexpectedMessage),
        (record(23, b""), Alert::BadRecordMac),
        (record(23, &vec![0; 0x4101]), Alert::RecordOverflow),
        (record(23, &vec![0; 0xffff]), Alert::RecordOverflow),
    ] {
        let mut run = Run::open();
        run.pair.below.incoming.extend(&records);
        assert_eq!(run.alert(), Some(expected), "{records:?}");
    }
}

/// RFC 8446, section 5.1: a message may be split over several records, but with no other record
/// between them.
#[test]
fn a_key_update_may_come_in_pieces() {
    let mut run = Run::open();
    for byte in [24, 0, 0, 1, 0] {
        run.send(ContentType::Handshake, &[byte]);
    }
    run.step();
    assert_eq!(run.pair.session.stage(), Stage::Open);
    let mut run = Run::open();
    run.send(ContentType::Handshake, &[24, 0]);
    run.send(ContentType::ApplicationData, b"between");
    assert_eq!(run.alert(), Some(AlertDescription::UnexpectedMessage));
}

/// RFC 8446, section 4.2.10: a server that does not accept early data skips it, up to a limit in
/// bytes.
#[test]
fn early_data_is_skipped() {
    let early = |records: &[usize]| -> Vec<u8> {
        let record = |length: &usize| record(23, &vec![7; *length]);
        records.iter().flat_map(record).collect()
    };
    for (records, served) in [
        (&[16384][..], true),
        (&[100; 20], true),
        (&[1, 17, 16366], true),
        (&[16384, 17], false),
        (&[8192, 8192, 100], false),
    ] {
        let mut run = Run::begin_early();
        run.pair.below.incoming.extend(early(records));
        match served {
            true => run.pair.handshake(),
            false => assert_eq!(run.alert(), Some(AlertDescription::BadRecordMac)),
        }
    }
    // After the first record that decrypts, all must decrypt.
    let mut run = Run::begin_early();
    run.pair.below.incoming.extend(early(&[100]));
    run.send(ContentType::Handshake, &[20, 0, 0]);
    run.pair.below.incoming.extend(early(&[100]));
    assert_eq!(run.alert(), Some(AlertDescription::BadRecordMac));
    // Without the extension early_data, there is none to skip.
    let mut run = Run::begin();
    run.pair.below.incoming.extend(early(&[100]));
    assert_eq!(run.alert(), Some(AlertDescription::BadRecordMac));
}

/// The fields of the client's first message.
#[derive(Clone)]
struct Hello {
    version: u16,
    suites: Vec<u16>,
    compression: Vec<u8>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    fn tls12() -> Self {
        Self {
            version: 0x0303,
            suites: vec![0xc02b, 0xc02c, 0xcca9],
            compression: vec![0],
            extensions: vec![
                (GROUPS, list(&[X25519, P256])),
                (SCHEMES, list(&[0x0403])),
                (11, vec![1, 0]),
                (23, vec![]),
            ],
        }
    }

    fn tls13() -> Self {
        let share = ring::digest::digest(&ring::digest::SHA256, b"share");
        Self {
            version: 0x0303,
            suites: vec![0x1301, 0x1302, 0x1303],
            compression: vec![0],
            extensions: vec![
                (GROUPS, list(&[X25519, P256])),
                (SCHEMES, list(&[0x0403])),
                (VERSIONS, vec![2, 3, 4]),
                (KEY_SHARE, shares(&[(X25519, share.as_ref().to_vec())])),
            ],
        }
    }

    fn with(mut self, extension: u16, content: Vec<u8>) -> Self {
        self = self.without(extension);
        self.extensions.push((extension, content));
        self
    }

    fn without(mut self, extension: u16) -> Self {
        self.extensions.retain(|(other, _)| *other != extension);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(list(&self.suites));
        body.push(self.compression.len() as u8);
        body.extend(&self.compression);
        let mut extensions = vec![];
        for (extension, content) in &self.extensions {
            extensions.extend(extension.to_be_bytes());
            extensions.extend(sized(content));
        }
        if !extensions.is_empty() {
            body.extend(sized(&extensions));
        }
        let mut message = vec![1, 0];
        message.extend(sized(&body));
        message
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn list(values: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    sized(&bytes)
}

fn shares(shares: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let one = |(group, share): &(u16, Vec<u8>)| [&group.to_be_bytes()[..], &sized(share)].concat();
    sized(&shares.iter().flat_map(one).collect::<Vec<u8>>())
}

/// Returns a pre_shared_key extension with so many identities and binders.
fn psk(identities: usize, binders: usize) -> Vec<u8> {
    let identity = [sized(b"ticket"), vec![0; 4]].concat();
    let binder = [vec![32], vec![1; 32]].concat();
    [
        sized(&identity.repeat(identities)),
        sized(&binder.repeat(binders)),
    ]
    .concat()
}

fn record(typ: u8, payload: &[u8]) -> Vec<u8> {
    [&[typ, 3, 3], &sized(payload)[..]].concat()
}

fn server(options: Options) -> Server {
    static KEYS: std::sync::OnceLock<Arc<VaultKeys>> = std::sync::OnceLock::new();
    let keys = KEYS.get_or_init(|| keys(Kind::EcdsaP256)).clone();
    crate::server(keys, options, Arc::new(DefaultTimeProvider)).unwrap()
}

fn refused(hello: &Hello, expected: AlertDescription) {
    let alert = alert_to(&record(22, &hello.bytes()));
    assert_eq!(alert, expected, "{:?}", hello.extensions);
}

fn alert_to(records: &[u8]) -> AlertDescription {
    alert_of(&server(Options::default()), records)
}

/// Returns the only record that a session sends, which must be an unencrypted fatal alert.
fn alert_of(server: &Server, records: &[u8]) -> AlertDescription {
    let mut pair = Pair::new(server, ours().0);
    run(&mut pair, records).expect("an alert")
}

fn run(pair: &mut Pair, records: &[u8]) -> Option<AlertDescription> {
    pair.below.incoming.extend(records);
    let result = loop {
        match pair.session.step(&mut pair.below, &mut pair.above) {
            Ok(true) => {}
            result => break result,
        }
    };
    if result.is_ok() {
        return None;
    }
    assert!(pair.session.output_ended());
    match pair.below.outgoing.make_contiguous() {
        &mut [21, 3, 3, 0, 2, 2, alert] => Some(alert.into()),
        sent => panic!("{result:?}: no alert but {sent:?}"),
    }
}

/// A client whose records after the server's flight are made by the test.
struct Run {
    pair: Pair,
    suite: SupportedCipherSuite,
    encrypter: Option<Box<dyn MessageEncrypter>>,
    sequence: u64,
}

/// The keys that a client's records are encrypted with.
#[derive(Debug, Default)]
struct Secrets(Mutex<[Vec<u8>; 2]>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let mut secrets = self.0.lock().unwrap();
        match label {
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => secrets[0] = secret.to_vec(),
            "CLIENT_TRAFFIC_SECRET_0" => secrets[1] = secret.to_vec(),
            _ => {}
        }
    }
}

fn ours() -> (ClientConnection, Arc<Secrets>) {
    with_suite(TLS13_CHACHA20_POLY1305_SHA256)
}

fn with_suite(suite: SupportedCipherSuite) -> (ClientConnection, Arc<Secrets>) {
    let secrets = Arc::new(Secrets::default());
    let mut config = client_config(&[suite], &[&version::TLS13]);
    config.key_log = secrets.clone();
    let name = ServerName::try_from("localhost").unwrap();
    (
        ClientConnection::new(Arc::new(config), name).unwrap(),
        secrets,
    )
}

/// Returns rustls' own server, whose tickets allow early data.
fn server_with_early_data() -> ServerConnection {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.max_early_data_size = 1 << 14;
    ServerConnection::new(Arc::new(config)).unwrap()
}

impl Run {
    /// Starts a handshake: the server's flight has arrived, and the client's answer is held back.
    fn begin() -> Self {
        Self::begin_with(TLS13_CHACHA20_POLY1305_SHA256)
    }

    fn begin_with(suite: SupportedCipherSuite) -> Self {
        let (client, secrets) = with_suite(suite);
        Self::begun(client, &secrets, suite)
    }

    /// Like [`Run::begin`], but the client offers early data: it has a ticket from another server
    /// of this name.
    fn begin_early() -> Self {
        let suite = TLS13_CHACHA20_POLY1305_SHA256;
        let secrets = Arc::new(Secrets::default());
        let mut config = client_config(&[suite], &[&version::TLS13]);
        config.key_log = secrets.clone();
        config.enable_early_data = true;
        config.resumption = Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        let connect = || {
            let name = ServerName::try_from("localhost").unwrap();
            ClientConnection::new(config.clone(), name).unwrap()
        };
        let (mut client, mut other) = (connect(), server_with_early_data());
        for _ in 0..4 {
            let mut bytes = vec![];
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            other.read_tls(&mut &bytes[..]).unwrap();
            other.process_new_packets().unwrap();
            let mut bytes = vec![];
            while other.wants_write() {
                other.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        let mut client = connect();
        assert!(client.early_data().is_some());
        Self::begun(client, &secrets, suite)
    }

    fn begun(client: ClientConnection, secrets: &Secrets, suite: SupportedCipherSuite) -> Self {
        let mut pair = Pair::new(&server(Options::default()), client);
        pair.pump();
        while pair.below.outgoing.is_empty() {
            pair.session.step(&mut pair.below, &mut pair.above).unwrap();
        }
        let flight = core::mem::take(&mut pair.below.outgoing);
        deliver(&mut pair, flight).unwrap();
        Self::with(pair, secrets, suite, 0)
    }

    /// Starts a session whose handshake is complete.
    fn open() -> Self {
        let (client, secrets) = ours();
        let mut pair = Pair::new(&server(Options::default()), client);
        pair.handshake();
        Self::with(pair, &secrets, TLS13_CHACHA20_POLY1305_SHA256, 1)
    }

    fn with(pair: Pair, secrets: &Secrets, suite: SupportedCipherSuite, which: usize) -> Self {
        let secret = secrets.0.lock().unwrap()[which].clone();
        Self {
            encrypter: encrypter(suite, &secret),
            pair,
            suite,
            sequence: 0,
        }
    }

    /// Encrypts and sends a record; with the unknown type 0 and no content, the plaintext is all
    /// zeros.
    fn send(&mut self, typ: ContentType, content: &[u8]) {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(content),
        };
        let encrypter = self.encrypter.as_mut().unwrap();
        let sealed = encrypter.encrypt(message, self.sequence).unwrap();
        self.sequence += 1;
        self.pair.below.incoming.extend(sealed.encode());
    }

    fn step(&mut self) {
        while let Ok(true) = self
            .pair
            .session
            .step(&mut self.pair.below, &mut self.pair.above)
        {}
    }

    /// Returns the session's output when it fails.
    fn answer(&mut self) -> Option<Result<(), rustls::Error>> {
        self.pair.below.outgoing.clear();
        self.step();
        assert_eq!(self.pair.session.stage(), Stage::Failed);
        assert!(self.pair.session.output_ended());
        let sent = core::mem::take(&mut self.pair.below.outgoing);
        (!sent.is_empty()).then(|| deliver(&mut self.pair, sent))
    }

    /// Returns the alert that the client reads; `None` is `close_notify`.
    fn alert(&mut self) -> Option<AlertDescription> {
        match self.answer() {
            Some(Err(rustls::Error::AlertReceived(alert))) => Some(alert),
            Some(Ok(())) => None,
            other => panic!("no alert but {other:?} ({:?})", self.suite),
        }
    }
}

fn deliver(pair: &mut Pair, mut bytes: VecDeque<u8>) -> Result<(), rustls::Error> {
    while pair.client.read_tls(&mut bytes).unwrap() > 0 {
        pair.client.process_new_packets()?;
    }
    Ok(())
}

fn encrypter(suite: SupportedCipherSuite, secret: &[u8]) -> Option<Box<dyn MessageEncrypter>> {
    let suite = suite.tls13().unwrap();
    let secret = OkmBlock::new(secret);
    let secret = suite.hkdf_provider.expander_for_okm(&secret);
    let mut key = [0; 32];
    let length = suite.aead_alg.key_len() as u8;
    let info: [&[u8]; 4] = [&[0, length], &[9], b"tls13 key", &[0]];
    secret
        .expand_slice(&info, &mut key[..length.into()])
        .unwrap();
    let iv: [u8; 12] = expand(&*secret, &[&[0, 12], &[8], b"tls13 iv", &[0]]);
    // There is no other way to make a shorter AeadKey.
    (length == 32).then(|| suite.aead_alg.encrypter(AeadKey::from(key), Iv::from(iv)))
}
