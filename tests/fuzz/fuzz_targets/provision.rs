//! Whoever has the line to a vault sends anything: nothing panics, keys stay within their bounds, what is refused
//! changes nothing, and afterwards the vault still gives a request for its own key.
//!
//! Input: parcels, each a length (2 bytes), a kind and a body. Kinds 0 to 127 stand on the line as they are; others are
//! parcels with a right hash and in right digits, so that what lies behind these is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::digest::{SHA256, digest};
use vault::provision::{CANCEL, Line, MAX_PARCEL, Parcel, ProvisionError, Receipt};
use vault::{Keyring, Kind, Scheme, Vault};
use vault_subject::made;

/// First byte of an order for a request.
const REQUEST: u8 = 2;

const MAX_KEYS: usize = channel::sign::MAX_KEYS;

fuzz_target!(|input: &[u8]| run(input));

fn run(mut input: &[u8]) {
    let own = made(Kind::Ed25519, vec!["own.test".into()], true).unwrap();
    let schemes = Scheme::ALL.map(|(_, scheme)| scheme);
    let mut vault = Vault::new(&Keyring(vec![own]), &schemes, &[], 0).unwrap();
    let mut line = Line::default();
    while let [low, high, kind, rest @ ..] = input {
        let length = usize::from(u16::from_le_bytes([*low, *high]) & 0x7ff);
        let (body, rest) = rest.split_at(rest.len().min(length));
        input = rest;
        match kind {
            0..128 => send(&mut vault, &mut line, body),
            _ => send(&mut vault, &mut line, &sealed(kind - 128, body)),
        }
    }
    let order = sealed(REQUEST, &[0]);
    let order = order.iter().filter_map(|byte| line.push(*byte)).last();
    let parcel = order.unwrap().unwrap();
    let receipt = vault.provision(&Parcel::from_bytes(&parcel).unwrap());
    assert!(matches!(
        receipt,
        Ok(Receipt::Request(_)) | Err(ProvisionError::NotMade)
    ));
}

/// A line with these bytes and their hash.
fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind], body].concat();
    bytes.extend(digest(&SHA256, &bytes).as_ref());
    let digits = bytes.iter().flat_map(|byte| {
        let digit = |value| char::from_digit(value, 16).unwrap() as u8;
        [digit(u32::from(byte >> 4)), digit(u32::from(byte & 15))]
    });
    [CANCEL].into_iter().chain(digits).chain([b'\n']).collect()
}

fn send(vault: &mut Vault, line: &mut Line, text: &[u8]) {
    for byte in text {
        let Some(Ok(sent)) = line.push(*byte) else {
            continue;
        };
        assert!(sent.len() <= MAX_PARCEL);
        let before = names(vault);
        let done = Parcel::from_bytes(&sent).and_then(|parcel| vault.provision(&parcel));
        match done {
            Ok(Receipt::Request(der)) => assert!(der.len() <= MAX_PARCEL),
            Ok(receipt) => assert!(!receipt.to_string().contains('\n')),
            Err(_) => assert_eq!(names(vault), before),
        }
        assert!((1..=MAX_KEYS).contains(&before.len()));
    }
}

fn names(vault: &Vault) -> Vec<Vec<String>> {
    vault.names().map(<[String]>::to_vec).collect()
}
