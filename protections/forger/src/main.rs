//! A TLS protection domain that was taken over, as its vault sees it, for the attack tests: it asks for signatures
//! over what it likes, with wrong lengths and registers full of anything, and in a flood.
//!
//! It says in the log what came of it. A signature that it must not have is an `attack succeeded`.
#![no_std]
#![no_main]

use channel::sign::{Content, MAX_WORDS, PublicKey, Role, Sign, SignError, Transcript};
use pd::{error, info};
use sel4_microkit::{
    Channel, Handler, MessageInfo, NullHandler, protection_domain, with_msg_regs_mut,
};

/// Requests with registers full of anything.
const WILD: usize = 5_000;

/// Signatures asked for in the flood.
const FLOOD: usize = 2_000;

/// Most words of a message in the kernel; the vault reads 64.
const KERNEL_WORDS: usize = 120;

/// All labels that fit a message's tag on every board.
const LABELS: u64 = (1 << 20) - 1;

const CERTIFICATE_VERIFY: u64 = 3;
const KEY_EXCHANGE: u64 = 4;

const VERIFY: Content = Content::CertificateVerify {
    role: Role::Server,
    transcript: Transcript::Sha256([0x42; 32]),
};

#[protection_domain]
fn init() -> impl Handler {
    let sign = pd::sign("sign");
    let keys = sign.keys().unwrap_or_default();
    let Some(key) = keys.first() else {
        error!("the vault has no keys");
        return NullHandler::new();
    };
    let channel = pd::server_channel("sign");
    info!("crafted: {} refused", crafted(channel, key));
    info!("wild: {} answered as they may be", wild(channel, key));
    client_role(&sign, key);
    flood(&sign, key);
    match sign.keys().as_ref() == Ok(&keys) {
        true => info!("the vault goes on"),
        false => error!("attack succeeded: the keys are others now"),
    }
    NullHandler::new()
}

/// Requests of which one field is wrong. Returns how many were refused, which all must be.
fn crafted(channel: Channel, key: &PublicKey) -> usize {
    let (id, scheme) = (key.id.0, u64::from(key.schemes[0]));
    let requests: [(u64, &[u64]); 16] = [
        // Hashes of wrong lengths, and ones whose length is not that of their words.
        (CERTIFICATE_VERIFY, &[id, scheme, 0, 31, 1, 2, 3, 4]),
        (CERTIFICATE_VERIFY, &[id, scheme, 0, 33, 1, 2, 3, 4, 5]),
        (
            CERTIFICATE_VERIFY,
            &[id, scheme, 0, 64, 1, 2, 3, 4, 5, 6, 7, 8],
        ),
        (CERTIFICATE_VERIFY, &[id, scheme, 0, 0]),
        (CERTIFICATE_VERIFY, &[id, scheme, 0, 32, 1, 2, 3]),
        (CERTIFICATE_VERIFY, &[id, scheme, 0, 48, 1, 2, 3, 4]),
        (CERTIFICATE_VERIFY, &[id, scheme, 0, u64::MAX, 1, 2, 3, 4]),
        (CERTIFICATE_VERIFY, &[id, scheme, 2, 32, 1, 2, 3, 4]),
        (CERTIFICATE_VERIFY, &[!id, scheme, 0, 32, 1, 2, 3, 4]),
        (CERTIFICATE_VERIFY, &[id, 0x0201, 0, 32, 1, 2, 3, 4]),
        (
            CERTIFICATE_VERIFY,
            &[id, scheme | 1 << 32, 0, 32, 1, 2, 3, 4],
        ),
        (CERTIFICATE_VERIFY, &[]),
        // Both random values are there, the curve is unknown, its key too short, or its point compressed.
        (
            KEY_EXCHANGE,
            &[id, scheme, 1, 2, 3, 4, 5, 6, 7, 8, 25, 32, 1, 2, 3, 4],
        ),
        (
            KEY_EXCHANGE,
            &[id, scheme, 1, 2, 3, 4, 5, 6, 7, 8, 29, 31, 1, 2, 3, 4],
        ),
        (
            KEY_EXCHANGE,
            &[
                id, scheme, 1, 2, 3, 4, 5, 6, 7, 8, 23, 65, 2, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        // There is no request that takes bytes to be signed.
        (5, &[id, scheme, 0x6d20_6e67_6973, 0x2165]),
    ];
    let refused = |(label, words): &&(u64, &[u64])| {
        let (label, _) = raw(channel, *label, words, words.len());
        if label == channel::OK {
            error!("attack succeeded: {words:x?}");
        }
        label != channel::OK
    };
    requests.iter().filter(refused).count()
}

/// Messages of any label, length and content. Returns how many were answered by an error, or in the way in which the
/// request could be meant.
fn wild(channel: Channel, key: &PublicKey) -> usize {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut fine = 0;
    for _ in 0..WILD {
        let mut words = [0; MAX_WORDS];
        words.fill_with(|| match next() % 3 {
            0 => next(),
            1 => next() % 128,
            _ => key.schemes[0].into(),
        });
        words[0] = key.id.0;
        let label = match next() % 2 {
            0 => next() % 8,
            _ => next() & LABELS,
        };
        let (answer, count) = raw(channel, label, &words, next() as usize % (KERNEL_WORDS + 1));
        let known = (1..=KEY_EXCHANGE).contains(&label);
        if count <= MAX_WORDS && (answer != channel::OK || known) {
            fine += 1;
        } else {
            error!("attack succeeded: label {label:#x} was answered");
        }
    }
    fine
}

/// The signature that would let this protection domain be a TLS client in the key's name.
fn client_role(sign: &Sign, key: &PublicKey) {
    let content = Content::CertificateVerify {
        role: Role::Client,
        transcript: Transcript::Sha256([0x42; 32]),
    };
    match sign.sign(key.id, key.schemes[0], &content) {
        Err(error @ SignError::RoleRefused) => info!("client: {error}"),
        other => error!("attack succeeded: a client's signature: {other:?}"),
    }
}

/// As many signatures as it can get.
fn flood(sign: &Sign, key: &PublicKey) {
    let begin = pd::monotonic();
    let signed = |_: &usize| sign.sign(key.id, key.schemes[0], &VERIFY).is_ok();
    let signed = (0..FLOOD).filter(signed).count();
    let milliseconds = (pd::monotonic() - begin) / 1_000_000;
    info!("flood: {signed} of {FLOOD} signed in {milliseconds} ms");
}

/// Calls with these registers; the label of the answer, and how many words it has.
fn raw(channel: Channel, label: u64, words: &[u64], count: usize) -> (u64, usize) {
    with_msg_regs_mut(|registers| registers[..words.len()].copy_from_slice(words));
    let answer = channel.pp_call(MessageInfo::new(label, count));
    (answer.label(), answer.count())
}
