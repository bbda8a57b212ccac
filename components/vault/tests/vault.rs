//! A vault as its clients see it: what it signs, what it refuses, and what it says of its keys.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use channel::sign::{
    Content, KeyId, MAX_KEYS, MAX_PUBLIC, MAX_WORDS, PublicKey, Role, Share, Sign, SignError,
    Transcript,
};
use channel::testing::replied;
use channel::{Call, CallError, OK, Reply};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use vault::provision::{Certificates, Parcel, ProvisionError, Receipt};
use vault::*;
use vault_subject::made as made_for;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509CertificationRequest};

const NOW: u64 = 1_800_000_000;
const SECOND: u64 = 1_000_000_000;

/// Two clients: a server with few signatures, and one that may be a TLS client.
const CLIENTS: [Client; 2] = [
    Client {
        rate: 10,
        client: false,
    },
    Client {
        rate: 1_000,
        client: true,
    },
];

const SERVER_VERIFY: Content = Content::CertificateVerify {
    role: Role::Server,
    transcript: Transcript::Sha256([0x11; 32]),
};
const CLIENT_VERIFY: Content = Content::CertificateVerify {
    role: Role::Client,
    transcript: Transcript::Sha384([0x22; 48]),
};
const EXCHANGE: Content = Content::KeyExchange {
    client_random: [0x33; 32],
    server_random: [0x44; 32],
    share: Share::X25519([0x55; 32]),
};

/// RSA keys, which no part of Selkie can make: 2048, 3072 and 4096 bits, PKCS#8 and PKCS#1.
const RSA: [(&[u8], usize); 3] = [
    (include_bytes!("rsa-2048.der"), 256),
    (include_bytes!("rsa-3072.der"), 384),
    (include_bytes!("rsa-4096-pkcs1.der"), 512),
];

/// A vault at the end of a call, and its clock.
#[derive(Clone)]
struct Shared {
    vault: Arc<Mutex<Vault>>,
    now: Arc<AtomicU64>,
    client: usize,
}

impl Shared {
    fn new(keys: Vec<Entry>, schemes: &[Scheme]) -> Self {
        let vault = Vault::new(&Keyring(keys), schemes, &CLIENTS, NOW).unwrap();
        Self {
            vault: Arc::new(Mutex::new(vault)),
            now: Arc::default(),
            client: 1,
        }
    }

    fn client(&self, client: usize) -> Self {
        Self {
            client,
            ..self.clone()
        }
    }

    fn keys(&self) -> Vec<PublicKey> {
        Sign::new(self.clone()).keys().unwrap()
    }

    fn sign(&self, key: KeyId, scheme: Scheme, content: &Content) -> Result<Vec<u8>, SignError> {
        Sign::new(self.clone()).sign(key, scheme.number(), content)
    }
}

impl Call for Shared {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        let mut words = [0; MAX_WORDS];
        let now = self.now.load(Ordering::Relaxed);
        let mut vault = self.vault.lock().unwrap();
        let answer = vault.answer(self.client, label, request, now, &mut words);
        replied(answer, &words, reply)
    }
}

fn all() -> Vec<Scheme> {
    Scheme::ALL.iter().map(|(_, scheme)| *scheme).collect()
}

fn made(kind: Kind) -> Entry {
    let names = ["selkie.test", "*.selkie.test", "192.0.2.1", "2001:db8::1"];
    made_for(kind, names.map(String::from).to_vec(), true).unwrap()
}

const KINDS: [Kind; 3] = [Kind::EcdsaP256, Kind::EcdsaP384, Kind::Ed25519];

/// An RSA key with a "certificate" that holds its public key: the vault looks for nothing else in it.
fn rsa(der: &[u8]) -> Entry {
    let pair = ring::rsa::KeyPair::from_pkcs8(der);
    let pair = pair.or_else(|_| ring::rsa::KeyPair::from_der(der)).unwrap();
    let public = signature::KeyPair::public_key(&pair).as_ref().to_vec();
    Entry::Prefilled {
        names: vec!["rsa.test".into()],
        chain: vec![public],
        key: der.to_vec().into(),
    }
}

fn verifier(scheme: Scheme) -> &'static dyn VerificationAlgorithm {
    match scheme {
        Scheme::EcdsaSecp256r1Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        Scheme::EcdsaSecp384r1Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        Scheme::Ed25519 => &signature::ED25519,
        Scheme::RsaPssRsaeSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        Scheme::RsaPssRsaeSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        Scheme::RsaPssRsaeSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        Scheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Scheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Scheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

/// The bytes as the RFCs give them, written independently of the vault's own.
fn expected(content: &Content) -> Vec<u8> {
    match content {
        Content::CertificateVerify { role, transcript } => {
            let side = match role {
                Role::Server => "server",
                Role::Client => "client",
            };
            let text = format!("{}TLS 1.3, {side} CertificateVerify\0", " ".repeat(64));
            [text.as_bytes(), transcript.as_bytes()].concat()
        }
        Content::KeyExchange { .. } => {
            let mut bytes = vec![0x33; 32];
            bytes.extend([0x44; 32]);
            bytes.extend([3, 0, 29, 32]);
            bytes.extend([0x55; 32]);
            bytes
        }
    }
}

fn verify(scheme: Scheme, public: &[u8], content: &Content, signature: &[u8]) {
    UnparsedPublicKey::new(verifier(scheme), public)
        .verify(&expected(content), signature)
        .unwrap_or_else(|_| panic!("{scheme:?} does not verify"));
}

#[test]
fn every_scheme_signs_every_content_that_it_may() {
    for kind in KINDS {
        let vault = Shared::new(vec![made(kind)], &all());
        let key = vault.keys().remove(0);
        let scheme = Scheme::numbered(key.schemes[0]).unwrap();
        let (_, certificate) = X509Certificate::from_der(&key.chain[0]).unwrap();
        let public = &certificate.public_key().subject_public_key.data;
        for content in [SERVER_VERIFY, CLIENT_VERIFY, EXCHANGE] {
            let signature = vault.sign(key.id, scheme, &content).unwrap();
            verify(scheme, public, &content, &signature);
        }
    }
}

#[test]
fn rsa_keys_sign_in_both_encodings_and_in_tls13_in_one() {
    for (der, length) in RSA {
        let vault = Shared::new(vec![rsa(der)], &all());
        let key = vault.keys().remove(0);
        assert_eq!(key.schemes.len(), 6);
        for scheme in key
            .schemes
            .iter()
            .map(|number| Scheme::numbered(*number).unwrap())
        {
            let signature = vault.sign(key.id, scheme, &EXCHANGE).unwrap();
            assert_eq!(signature.len(), length);
            verify(scheme, &key.chain[0], &EXCHANGE, &signature);
            let tls13 = vault.sign(key.id, scheme, &SERVER_VERIFY);
            match scheme.in_tls13() {
                true => verify(scheme, &key.chain[0], &SERVER_VERIFY, &tls13.unwrap()),
                false => assert_eq!(tls13, Err(SignError::SchemeRefused)),
            }
        }
    }
}

#[test]
fn a_made_keys_certificate_is_right() {
    for kind in KINDS {
        let vault = Shared::new(vec![made(kind)], &all());
        let key = vault.keys().remove(0);
        let (rest, certificate) = X509Certificate::from_der(&key.chain[0]).unwrap();
        assert_eq!(rest, b"");
        certificate.verify_signature(None).unwrap();
        assert_eq!(certificate.version().0, 2);
        assert_eq!(certificate.subject(), certificate.issuer());
        assert_eq!(certificate.subject().to_string(), "CN=selkie.test");
        let validity = certificate.validity();
        assert_eq!(validity.not_before.timestamp(), NOW as i64 - 24 * 3600);
        assert_eq!(validity.not_after.timestamp(), NOW as i64 + 198 * 24 * 3600);
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca);
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth);
        let usage = certificate.key_usage().unwrap().unwrap();
        // digitalSignature alone: bit 0 (RFC 5280, section 4.2.1.3).
        assert!(usage.critical && usage.value.flags == 1);
        let names = certificate
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value;
        assert_eq!(
            names.general_names,
            [
                GeneralName::DNSName("selkie.test"),
                GeneralName::DNSName("*.selkie.test"),
                GeneralName::IPAddress(&[192, 0, 2, 1]),
                GeneralName::IPAddress(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            ]
        );
        assert_eq!(key.names.len(), 4);
    }
}

#[test]
fn each_start_makes_another_key_and_another_serial_number() {
    let key = || {
        Shared::new(vec![made(Kind::Ed25519)], &all())
            .keys()
            .remove(0)
    };
    let (one, other) = (key(), key());
    assert_ne!(one.id, other.id);
    let serial = |key: &PublicKey| {
        let (_, certificate) = X509Certificate::from_der(&key.chain[0]).unwrap();
        certificate.raw_serial().to_vec()
    };
    assert_ne!(serial(&one), serial(&other));
}

#[test]
fn keys_from_files_are_taken_over_and_told_from_others() {
    let pair = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let (one, other) = (pair(), pair());
    let params = CertificateParams::new(vec!["file.test".to_string()]).unwrap();
    let chain = vec![params.self_signed(&one).unwrap().der().to_vec()];
    let entry = |chain: &[Vec<u8>], key: &KeyPair| Entry::Prefilled {
        names: vec!["file.test".into()],
        chain: chain.to_vec(),
        key: key.serialize_der().into(),
    };
    let vault = Shared::new(vec![entry(&chain, &one)], &all());
    let key = vault.keys().remove(0);
    assert_eq!((&key.chain, &key.names[0][..]), (&chain, "file.test"));
    let error = |entry| Vault::new(&Keyring(vec![entry]), &all(), &[], 0).err();
    let chained = |error| Some(VaultError::Chain(0, error));
    assert_eq!(error(entry(&chain, &other)), chained(ChainError::OtherKey));
    assert_eq!(error(entry(&[], &one)), chained(ChainError::Count));
    let long = [&chain[..], &[vec![0; 65_536]]].concat();
    assert_eq!(error(entry(&long, &one)), chained(ChainError::TooLong));
    let nonsense = Entry::Prefilled {
        names: vec![],
        chain,
        key: vec![0x30; 100].into(),
    };
    let expected = VaultError::Key(0, KeyError::Malformed);
    assert_eq!(error(nonsense), Some(expected));
}

/// A key and its chain for these names.
fn certified(names: &[&str]) -> (Vec<String>, Vec<u8>, Vec<u8>) {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let params = CertificateParams::new(names.clone()).unwrap();
    let certificate = params.self_signed(&pair).unwrap().der().to_vec();
    (names, certificate, pair.serialize_der())
}

fn provision(
    vault: &Shared,
    (names, certificate, key): &(Vec<String>, Vec<u8>, Vec<u8>),
) -> Result<Receipt, ProvisionError> {
    let shown = Certificates {
        names: names.iter().map(String::as_str).collect(),
        chain: [&certificate[..]].into_iter().collect(),
    };
    send(vault, &Parcel::Key(shown, key))
}

fn send(vault: &Shared, parcel: &Parcel<'_>) -> Result<Receipt, ProvisionError> {
    vault.vault.lock().unwrap().provision(parcel)
}

#[test]
fn a_key_that_is_sent_takes_the_place_of_the_one_with_its_names() {
    let vault = Shared::new(vec![made(Kind::Ed25519), made(Kind::EcdsaP256)], &all());
    let before = vault.keys();
    let names: Vec<&str> = before[0].names.iter().map(String::as_str).collect();
    let sent = certified(&names);
    let receipt = provision(&vault, &sent).unwrap();
    let said = format!("{}; key 1 of 2", names.join(", "));
    assert_eq!(receipt.to_string(), said);
    let keys = vault.keys();
    let id = keys[0].id;
    assert_eq!((&keys[0].names, &keys[0].chain[0]), (&sent.0, &sent.1));
    assert_eq!(keys[1..], before[1..]);
    let scheme = Scheme::EcdsaSecp384r1Sha384;
    let signature = vault.sign(id, scheme, &SERVER_VERIFY).unwrap();
    let (_, certificate) = X509Certificate::from_der(&sent.1).unwrap();
    let public = &certificate.public_key().subject_public_key.data;
    verify(scheme, public, &SERVER_VERIFY, &signature);
    let old = vault.sign(before[0].id, Scheme::Ed25519, &SERVER_VERIFY);
    assert_eq!(old, Err(SignError::UnknownKey));
    provision(&vault, &certified(&["other.test"])).unwrap();
    let keys = vault.keys();
    assert_eq!((keys.len(), keys[0].id, keys[1].id), (3, id, before[1].id));
    assert_eq!(keys[2].names, ["other.test"]);
    // For some of another key's names: a key of its own, which clients do not see.
    let receipt = provision(&vault, &certified(&names[..1])).unwrap();
    let said = format!("{0}; key 4 of 4; {0} by key 1 (", names[0]);
    assert!(receipt.to_string().starts_with(&said), "{receipt}");
}

#[test]
fn a_key_that_is_refused_changes_nothing() {
    let vault = Shared::new(vec![made(Kind::Ed25519)], &[Scheme::EcdsaSecp384r1Sha384]);
    let before = vault.keys();
    let (names, certificate, key) = certified(&["sent.test"]);
    let refused = |certificate: &[u8], key: &[u8]| {
        provision(&vault, &(names.clone(), certificate.to_vec(), key.to_vec())).unwrap_err()
    };
    let (_, other, _) = certified(&["sent.test"]);
    let chain = ProvisionError::Chain(ChainError::OtherKey);
    assert_eq!(refused(&other, &key), chain);
    let malformed = ProvisionError::Key(KeyError::Malformed);
    assert_eq!(refused(&certificate, &[0x30; 99]), malformed);
    let der = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new());
    let der = der.unwrap().as_ref().to_vec();
    let pair = ring::signature::Ed25519KeyPair::from_pkcs8(&der).unwrap();
    let public = signature::KeyPair::public_key(&pair).as_ref().to_vec();
    assert_eq!(refused(&public, &der), ProvisionError::SchemesRefused);
    assert_eq!(vault.keys(), before);
    for index in 1..MAX_KEYS {
        provision(&vault, &certified(&[&format!("{index}.test")])).unwrap();
    }
    assert_eq!(refused(&certificate, &key), ProvisionError::Full);
    assert_eq!(vault.keys().len(), MAX_KEYS);
}

/// The certificate request for the key at this place.
fn request(vault: &Shared, place: u8) -> Vec<u8> {
    match send(vault, &Parcel::Request(place)).unwrap() {
        Receipt::Request(der) => der,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_right_and_signed_by_the_key_itself() {
    for (place, kind) in KINDS.into_iter().enumerate() {
        let vault = Shared::new(KINDS.map(made).to_vec(), &all());
        let der = request(&vault, place as u8);
        let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
        assert_eq!(rest, b"");
        request.verify_signature().unwrap();
        let info = &request.certification_request_info;
        assert_eq!(info.version.0, 0);
        assert_eq!(info.subject.to_string(), "CN=selkie.test");
        let key = &vault.keys()[place];
        let (_, shown) = X509Certificate::from_der(&key.chain[0]).unwrap();
        assert_eq!(&info.subject_pki, shown.public_key(), "{kind:?}");
        let extensions: Vec<_> = request.requested_extensions().unwrap().collect();
        let [
            ParsedExtension::BasicConstraints(constraints),
            ParsedExtension::KeyUsage(_),
            ParsedExtension::ExtendedKeyUsage(usage),
            ParsedExtension::SubjectAlternativeName(names),
        ] = &extensions[..]
        else {
            panic!("{extensions:?}");
        };
        assert!(!constraints.ca && usage.server_auth && usage.client_auth);
        assert_eq!(names.general_names.len(), key.names.len());
        assert_eq!(names.general_names[0], GeneralName::DNSName("selkie.test"));
    }
}

#[test]
fn requests_are_written_for_keys_that_the_vault_made() {
    let long = made_for(Kind::Ed25519, vec!["a".repeat(250); 100], true).unwrap();
    let vault = Shared::new(vec![rsa(RSA[0].0), long], &all());
    for (place, error) in [
        (0, ProvisionError::NotMade),
        (1, ProvisionError::TooLong),
        (2, ProvisionError::NoKey),
        (255, ProvisionError::NoKey),
    ] {
        assert_eq!(send(&vault, &Parcel::Request(place)), Err(error));
    }
}

/// What an authority makes of a request.
fn issued(request: &[u8], names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let authority = CertificateParams::new(vec![]).unwrap();
    let mut wanted =
        rcgen::CertificateSigningRequestParams::from_der(&request.to_vec().into()).unwrap();
    wanted.params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    let issuer = rcgen::Issuer::new(authority, pair);
    wanted.signed_by(&issuer).unwrap().der().to_vec()
}

fn certify(vault: &Shared, names: &[&str], chain: &[&[u8]]) -> Result<Receipt, ProvisionError> {
    let shown = Certificates {
        names: names.iter().copied().collect(),
        chain: chain.iter().copied().collect(),
    };
    send(vault, &Parcel::Certificates(shown))
}

#[test]
fn an_authoritys_answer_takes_the_place_of_the_self_signed_certificate() {
    for (kind, scheme) in [
        (Kind::EcdsaP256, Scheme::EcdsaSecp256r1Sha256),
        (Kind::EcdsaP384, Scheme::EcdsaSecp384r1Sha384),
        (Kind::Ed25519, Scheme::Ed25519),
    ] {
        let vault = Shared::new(vec![rsa(RSA[0].0), made(kind)], &all());
        let before = vault.keys();
        let leaf = issued(&request(&vault, 1), &["new.test"]);
        let receipt = certify(&vault, &["new.test"], &[&leaf, b"the authority's"]);
        let receipt = receipt.unwrap().to_string();
        assert!(receipt.starts_with("new.test; key "), "{receipt}");
        let after = vault.keys();
        assert_eq!(after[0], before[0]);
        assert_eq!(after[1].id, before[1].id);
        assert_eq!(after[1].names, ["new.test"]);
        assert_eq!(after[1].chain, [leaf.clone(), b"the authority's".to_vec()]);
        let signature = vault.sign(after[1].id, scheme, &SERVER_VERIFY).unwrap();
        let (_, shown) = X509Certificate::from_der(&leaf).unwrap();
        let public = &shown.public_key().subject_public_key.data;
        verify(scheme, public, &SERVER_VERIFY, &signature);
        // The next request is for what the description says, whatever the authority has made of it.
        let renewal = request(&vault, 1);
        let (_, renewal) = X509CertificationRequest::from_der(&renewal).unwrap();
        let info = renewal.certification_request_info;
        assert_eq!(info.subject.to_string(), "CN=selkie.test");
    }
}

#[test]
fn certificates_are_written_anew_before_a_third_of_their_validity_is_left() {
    const DAY: u64 = 24 * 3600;
    let unasked = made_for(Kind::EcdsaP384, vec!["later.test".into()], false).unwrap();
    let kinds = [Kind::EcdsaP256, Kind::EcdsaP384, Kind::Ed25519];
    let mut entries = Vec::from(kinds.map(made));
    entries.extend([rsa(RSA[0].0), unasked]);
    let vault = Shared::new(entries, &all());
    let leaf = issued(&request(&vault, 1), &["new.test"]);
    certify(&vault, &["new.test"], &[&leaf]).unwrap();
    let before = vault.keys();
    let renew = |now| vault.vault.lock().unwrap().renew(now);
    assert_eq!(renew(NOW + 130 * DAY), Ok(false));
    assert_eq!(vault.keys(), before);
    let now = NOW + 132 * DAY;
    assert_eq!((renew(now), renew(now)), (Ok(true), Ok(false)));
    let after = vault.keys();
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        // Not one from an authority, not one from the builder, and not a missing one.
        let written = matches!(index, 0 | 2);
        assert_eq!(before == after, !written);
        assert_eq!((before.id, &before.names), (after.id, &after.names));
        if written {
            let (_, certificate) = X509Certificate::from_der(&after.chain[0]).unwrap();
            certificate.verify_signature(None).unwrap();
            let begin = certificate.validity().not_before.timestamp();
            assert_eq!(begin, (now - DAY) as i64);
        }
    }
    // A reader that is in progress detects the change.
    assert_eq!(renew(now + 131 * DAY), Ok(true));
    assert_eq!(renew(NOW), Ok(true), "the clock has been set back");
}

#[test]
fn certificates_that_do_not_fit_change_nothing() {
    let vault = Shared::new(vec![made(Kind::Ed25519), made(Kind::EcdsaP256)], &all());
    let before = vault.keys();
    let refused = |chain: &[&[u8]]| match certify(&vault, &["selkie.test"], chain) {
        Err(ProvisionError::Chain(error)) => error,
        other => panic!("{other:?}"),
    };
    let (_, other, _) = certified(&["selkie.test"]);
    assert_eq!(refused(&[&other]), ChainError::OtherKey);
    let leaf = issued(&request(&vault, 0), &["selkie.test"]);
    assert_eq!(refused(&[&other, &leaf]), ChainError::OtherKey);
    assert_eq!(refused(&[]), ChainError::Count);
    assert_eq!(refused(&[&leaf, &[0; MAX_PUBLIC]]), ChainError::TooLong);
    assert_eq!(vault.keys(), before);
}

#[test]
fn a_key_without_a_self_signed_certificate_has_none_until_it_gets_one() {
    let entry = made_for(Kind::EcdsaP256, vec!["selkie.test".into()], false).unwrap();
    let vault = Shared::new(vec![entry], &all());
    assert_eq!(vault.keys()[0].chain, Vec::<Vec<u8>>::new());
    let leaf = issued(&request(&vault, 0), &["selkie.test"]);
    certify(&vault, &["selkie.test"], &[&leaf]).unwrap();
    assert_eq!(vault.keys()[0].chain, [leaf]);
}

#[test]
fn only_allowed_schemes_roles_and_keys_are_signed_with() {
    let allowed = [Scheme::EcdsaSecp256r1Sha256, Scheme::RsaPssRsaeSha256];
    let keys = vec![made(Kind::EcdsaP256), rsa(RSA[0].0), made(Kind::Ed25519)];
    let vault = Shared::new(keys, &allowed);
    let [ecdsa, rsa, ed25519] = &vault.keys()[..] else {
        panic!("there are three keys");
    };
    assert_eq!(rsa.schemes, [Scheme::RsaPssRsaeSha256.number()]);
    assert!(ed25519.schemes.is_empty());
    let refused = Err(SignError::SchemeRefused);
    for (key, scheme) in [
        (rsa, Scheme::RsaPssRsaeSha512),
        (rsa, Scheme::RsaPkcs1Sha256),
        (rsa, Scheme::EcdsaSecp256r1Sha256),
        (ecdsa, Scheme::EcdsaSecp384r1Sha384),
        (ecdsa, Scheme::RsaPssRsaeSha256),
        (ed25519, Scheme::Ed25519),
    ] {
        assert_eq!(vault.sign(key.id, scheme, &EXCHANGE), refused);
    }
    let unknown = Sign::new(vault.clone()).sign(ecdsa.id, 0x0203, &EXCHANGE);
    assert_eq!(unknown, refused);
    let scheme = Scheme::EcdsaSecp256r1Sha256;
    let server = vault.client(0);
    let role = server.sign(ecdsa.id, scheme, &CLIENT_VERIFY);
    assert_eq!(role, Err(SignError::RoleRefused));
    let key = vault.sign(KeyId(ecdsa.id.0 ^ 1), scheme, &EXCHANGE);
    assert_eq!(key, Err(SignError::UnknownKey));
    let nobody = vault.client(7).sign(ecdsa.id, scheme, &EXCHANGE);
    assert_eq!(nobody, Err(CallError::BadRequest.into()));
}

#[test]
fn a_flood_is_cut_off_and_holds_up_nobody_else() {
    let vault = Shared::new(vec![made(Kind::Ed25519)], &all());
    let key = vault.keys()[0].id;
    let (slow, other) = (vault.client(0), vault.client(1));
    let flood = |count: usize| {
        let signed = |_: &usize| slow.sign(key, Scheme::Ed25519, &SERVER_VERIFY).is_ok();
        (0..count).filter(signed).count()
    };
    assert_eq!(flood(100), 10);
    assert!(other.sign(key, Scheme::Ed25519, &SERVER_VERIFY).is_ok());
    vault.now.store(SECOND / 2, Ordering::Relaxed);
    assert_eq!(flood(100), 5);
    let refused = slow.sign(key, Scheme::Ed25519, &SERVER_VERIFY);
    assert_eq!(refused, Err(SignError::TooMany));
}

#[test]
fn a_keyring_survives_its_encoding_and_others_are_refused() {
    let keyring = Keyring(vec![made(Kind::EcdsaP256), rsa(RSA[0].0)]);
    let mut bytes = keyring.to_bytes();
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    assert!(Keyring::from_bytes(&bytes) == Ok(keyring));
    let many = Keyring(vec![made(Kind::Ed25519); 17]).to_bytes();
    for wrong in [&[][..], &bytes[2..], &[2, 0xff, 0xff], &many] {
        assert!(Keyring::from_bytes(wrong) == Err(VaultError::Malformed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a client sends, it gets an answer: public parts, a signature over what the vault built, or an error.
    #[test]
    fn any_message_is_answered(
        label in 0u64..6,
        key in any::<bool>(),
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..64, Just(0x0807)], 0..=64),
    ) {
        static VAULT: std::sync::OnceLock<(Shared, KeyId)> = std::sync::OnceLock::new();
        let (vault, id) = VAULT.get_or_init(|| {
            let vault = Shared::new(vec![made(Kind::Ed25519)], &all());
            let id = vault.keys()[0].id;
            (vault, id)
        });
        let mut words = words;
        if let Some(first) = words.first_mut().filter(|_| key) {
            *first = id.0;
        }
        let mut reply = [0; MAX_WORDS];
        let reply = vault.call(label, &words, &mut reply);
        prop_assert!(reply.count <= MAX_WORDS);
        prop_assert!(reply.label != OK || (1..=4).contains(&label));
    }
}
