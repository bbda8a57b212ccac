//! Whether the time of a signature tells anything of the key, by the method of dudect (Reparaz, Balasch, Verbauwhede:
//! "Dude, is my code constant time?", 2017): two keys, signatures by both in random order, and Welch's t-test on the
//! times without the slowest tenth. A |t| above 4.5 is what that paper calls evidence of a leak.
//!
//! The machine is shared, and a disturbance can hit one class by chance. So several rounds are made: a leak is in all of
//! them. That the test can see one is shown by a signer which leaks on purpose.

use std::hint::black_box;
use std::time::Instant;

use channel::sign::{Content, MAX_WORDS, PublicKey, Role, Sign, Transcript};
use channel::testing::replied;
use channel::{Call, Reply};
use std::sync::{Arc, Mutex};
use vault::{Client, Entry, Keyring, Scheme, Vault};

/// Above this |t| dudect speaks of a leak.
const EVIDENCE: f64 = 4.5;

/// What a leak must reach to count as found: so far above the limit that it is no chance.
const FOUND: f64 = 10.0;

const ROUNDS: usize = 8;

/// Signatures of both classes in a round.
const SIGNATURES: usize = 3_000;

/// PKCS#8 (RFC 5958) around a P-256 key (RFC 5915), up to the scalar.
const BEFORE_SCALAR: &[u8] = &[
    0x30, 0x81, 0x87, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4, 0x6d, 0x30, 0x6b, 2, 1, 1, 4, 0x20,
];

/// Between scalar and public key.
const BEFORE_POINT: &[u8] = &[0xa1, 0x44, 3, 0x42, 0];

/// The base point of P-256 (FIPS 186-4, section D.1.2.3), uncompressed: the public key of the scalar 1.
const BASE_POINT: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
    0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2,
    0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e,
    0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51,
    0xf5,
];

/// A scalar that a key could leak by: one bit of it is set, where others have about 128.
fn extreme() -> Vec<u8> {
    let mut scalar = [0; 32];
    scalar[31] = 1;
    [BEFORE_SCALAR, &scalar, BEFORE_POINT, &BASE_POINT].concat()
}

fn ordinary() -> Vec<u8> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
    pair.expect("the system has random numbers").serialize_der()
}

/// The vault at the end of a call, with both keys.
struct Server(Mutex<Vault>);

impl Call for Server {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        let mut words = [0; MAX_WORDS];
        let mut vault = self.0.lock().expect("nobody panics with it");
        let answer = vault.answer(0, label, request, u64::MAX, &mut words);
        replied(answer, &words, reply)
    }
}

fn signer(keys: &[Vec<u8>]) -> (Sign, Vec<PublicKey>) {
    let entry = |der: &Vec<u8>| Entry::Prefilled {
        names: vec![],
        // The vault looks for the public key in it, which is the last part of these files.
        chain: vec![der[der.len() - 65..].to_vec()],
        key: der.clone().into(),
    };
    let keyring = Keyring(keys.iter().map(entry).collect());
    let client = Client {
        rate: 1_000_000_000,
        client: false,
    };
    let schemes = [Scheme::EcdsaSecp256r1Sha256];
    let vault = Vault::new(&keyring, &schemes, &[client], 0).expect("both are keys");
    let sign = Sign::new(Server(Mutex::new(vault)));
    let keys = sign.keys().expect("the vault answers");
    (sign, keys)
}

/// |t| of one round; `sign` is called with the class.
fn round(sign: &dyn Fn(usize)) -> f64 {
    let mut random = 0x2545_f491_4f6c_dd1du64 ^ u64::from(std::process::id());
    let mut times = [vec![], vec![]];
    for _ in 0..SIGNATURES {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let class = (random >> 40) as usize % 2;
        // Once without the clock: what the other key left in the caches is not what is asked.
        sign(class);
        let begin = Instant::now();
        sign(class);
        times[class].push(begin.elapsed().as_nanos() as f64);
    }
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    times
        .iter_mut()
        .for_each(|times| times.retain(|time| *time < limit));
    welch(&times[0], &times[1]).abs()
}

/// Welch's t of two samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let error = |x: &[f64], mean: f64| {
        let squares: f64 = x.iter().map(|value| (value - mean).powi(2)).sum();
        squares / (x.len() as f64 - 1.0) / x.len() as f64
    };
    (mean_a - mean_b) / (error(a, mean_a) + error(b, mean_b)).sqrt()
}

#[test]
fn the_time_of_a_signature_tells_nothing_of_the_key() {
    let ders = [extreme(), ordinary()];
    let (sign, keys) = signer(&ders);
    let sign = Arc::new(sign);
    let content = Content::CertificateVerify {
        role: Role::Server,
        transcript: Transcript::Sha256([7; 32]),
    };
    let constant = |class: usize| {
        let signature = sign.sign(keys[class].id, keys[class].schemes[0], &content);
        black_box(signature.expect("it is allowed"));
    };
    // As a scalar multiplication that adds for each bit that is set.
    let weights = ders.map(|der| {
        der[36..68]
            .iter()
            .map(|byte| byte.count_ones())
            .sum::<u32>()
    });
    let leaking = |class: usize| {
        constant(class);
        for step in 0..10 * weights[class] {
            black_box(step);
        }
    };
    let least = |sign: &dyn Fn(usize)| (0..ROUNDS).map(|_| round(sign)).fold(f64::MAX, f64::min);
    let most = |sign: &dyn Fn(usize)| (0..ROUNDS).map(|_| round(sign)).fold(0.0, f64::max);
    let (constant, leaking) = (least(&constant), most(&leaking));
    println!("the vault: |t| = {constant:.2} in the best of {ROUNDS} rounds; a leak: {leaking:.1}");
    assert!(
        constant < EVIDENCE,
        "a signature's time depends on the key: |t| = {constant}"
    );
    assert!(leaking > FOUND, "a leak was not found: |t| = {leaking}");
}
