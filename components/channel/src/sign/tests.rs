use alloc::vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::Reply;

const ECDSA: u16 = 0x0403;
const RSA: u16 = 0x0804;

fn verify(role: Role) -> Content {
    Content::CertificateVerify {
        role,
        transcript: Transcript::Sha384([7; 48]),
    }
}

fn contents() -> Vec<Content> {
    let exchange = |share| Content::KeyExchange {
        client_random: core::array::from_fn(|i| i as u8),
        server_random: [9; 32],
        share,
    };
    vec![
        verify(Role::Server),
        verify(Role::Client),
        Content::CertificateVerify {
            role: Role::Server,
            transcript: Transcript::Sha256([8; 32]),
        },
        exchange(Share::P256([4; 65])),
        exchange(Share::P384([4; 97])),
        exchange(Share::X25519([1; 32])),
    ]
}

#[test]
fn every_content_arrives_as_it_was_sent() {
    for content in contents() {
        let mut words = [0; MAX_WORDS];
        let (label, count) = content.encode(KeyId(5), ECDSA, &mut words);
        let request = Request::decode(label, &words[..count]);
        let expected = Request::Sign {
            key: KeyId(5),
            scheme: ECDSA,
            content,
        };
        assert_eq!(request, Ok(expected));
        // One word less or more is another message.
        for count in [0, 1, count - 1, count + 1] {
            assert!(Request::decode(label, &words[..count]).is_err());
        }
    }
}

#[test]
fn fields_of_a_wrong_form_are_refused() {
    let mut words = [0; MAX_WORDS];
    let (label, count) = verify(Role::Server).encode(KeyId(5), ECDSA, &mut words);
    for (place, value, error) in [
        (1, 0x1_0000, CallError::BadRequest.into()),
        (2, 2, CallError::BadRequest.into()),
        (3, 0, SignError::WrongLength),
        (3, 47, SignError::WrongLength),
        (3, 49, SignError::WrongLength),
        (3, u64::MAX, SignError::WrongLength),
    ] {
        let mut words = words;
        words[place] = value;
        let decoded = Request::decode(label, &words[..count]);
        assert_eq!(decoded, Err(error), "word {place}: {value}");
    }
    assert_eq!(Share::new(23, &[4; 64]), Err(SignError::WrongLength));
    assert_eq!(Share::new(23, &[2; 65]), Err(CallError::BadRequest.into()));
    assert_eq!(Share::new(25, &[4; 133]), Err(CallError::BadRequest.into()));
}

proptest! {
    #[test]
    fn any_message_is_a_request_or_an_error(label in 0u64..6, words in prop::collection::vec(any::<u64>(), 0..=64)) {
        let _ = Request::decode(label, &words);
    }

    #[test]
    fn any_bytes_are_a_key_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = PublicKey::from_bytes(&bytes);
    }
}

fn key() -> PublicKey {
    PublicKey {
        id: KeyId(0x1234),
        schemes: vec![ECDSA],
        names: vec!["selkie.test".into(), "*.selkie.test".into()],
        chain: vec![vec![1; 1500], vec![2; 900]],
    }
}

/// What a server answers: label and words.
struct Server<F>(F);

impl<F: Fn(u64, &[u64]) -> (u64, Vec<u64>)> Call for Server<F> {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        let (label, words) = (self.0)(label, request);
        let count = words.len().min(reply.len());
        reply[..count].copy_from_slice(&words[..count]);
        Reply { label, count }
    }
}

/// Hands out one key, whose edition `edition` gives for each chunk.
fn honest(edition: impl Fn() -> u64 + Send + Sync + 'static) -> Sign {
    Sign::new(Server(move |label, words: &[u64]| {
        match Request::decode(label, words) {
            Ok(Request::Keys) => (crate::OK, vec![1]),
            Ok(Request::Read { key: 0, offset }) => {
                let mut words = [0; MAX_WORDS];
                let count = encode_chunk(&key().to_bytes(), edition(), offset, &mut words);
                (crate::OK, words[..count.unwrap()].to_vec())
            }
            other => panic!("{other:?}"),
        }
    }))
}

#[test]
fn a_chain_of_several_answers_is_read() {
    assert_eq!(honest(|| 1).keys(), Ok(vec![key()]));
}

#[test]
fn keys_that_change_are_read_anew_but_not_for_ever() {
    let calls = AtomicUsize::new(0);
    let once = honest(move || u64::from(calls.fetch_add(1, Ordering::Relaxed) > 2));
    assert_eq!(once.keys(), Ok(vec![key()]));
    let calls = AtomicUsize::new(0);
    let always = honest(move || calls.fetch_add(1, Ordering::Relaxed) as u64);
    assert_eq!(always.keys(), Err(CallError::Unavailable.into()));
}

#[test]
fn a_server_that_lies_is_told() {
    for answer in [
        vec![],
        vec![1],
        vec![1, 0, 0],
        vec![1, 8],
        vec![1, 8, 0, 0],
        vec![1, u64::MAX, 0],
        vec![1, 8, 0],
    ] {
        let reply = answer.clone();
        let sign = Sign::new(Server(move |label, _: &[u64]| match label {
            KEYS => (crate::OK, vec![1]),
            _ => (crate::OK, reply.clone()),
        }));
        assert_eq!(sign.keys(), Err(CallError::Malformed.into()), "{answer:?}");
    }
    let many = Sign::new(Server(|_, _: &[u64]| (crate::OK, vec![17])));
    assert_eq!(many.keys(), Err(CallError::Malformed.into()));
}

#[test]
fn a_signature_ends_where_its_kind_says() {
    let answer =
        |words: Vec<u64>| Sign::new(Server(move |_, _: &[u64]| (crate::OK, words.clone())));
    let content = verify(Role::Server);
    let sign = |words, scheme| answer(words).sign(KeyId(1), scheme, &content);
    assert_eq!(sign(vec![1, 2], RSA).unwrap().len(), 16);
    let ecdsa = u64::from_le_bytes([0x30, 4, 2, 0, 2, 0, 0, 0]);
    assert_eq!(sign(vec![ecdsa], ECDSA).unwrap(), [0x30, 4, 2, 0, 2, 0]);
    for words in [vec![], vec![ecdsa, 0], vec![0x7f30], vec![0x8130], vec![1]] {
        assert_eq!(sign(words, ECDSA), Err(CallError::Malformed.into()));
    }
    assert_eq!(sign(vec![], RSA), Err(CallError::Malformed.into()));
}

#[test]
fn every_error_passes_through() {
    for error in [
        SignError::Call(CallError::Restarted),
        SignError::UnknownKey,
        SignError::SchemeRefused,
        SignError::RoleRefused,
        SignError::WrongLength,
        SignError::TooMany,
    ] {
        let sign = Sign::new(Server(move |_, _: &[u64]| (error.into(), vec![])));
        let content = verify(Role::Client);
        assert_eq!(sign.sign(KeyId(1), RSA, &content), Err(error));
    }
}
