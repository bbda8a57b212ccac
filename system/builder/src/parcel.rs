//! The line that sends a parcel to a running vault; [`vault::provision`] says what it is made of.

use sha2_host::{Digest, Sha256};
use vault::provision::{
    CANCEL, CERTIFICATES, Certificates, KEY, MAX_PARCEL, Parcel, ProvisionError, REQUEST,
};
use zeroize::Zeroizing;

/// A parcel's line.
///
/// # Errors
/// [`ProvisionError::TooLong`].
pub fn line(parcel: &Parcel<'_>) -> Result<Zeroizing<String>, ProvisionError> {
    let bytes = bytes(parcel)?;
    let mut line = Zeroizing::new(String::with_capacity(2 * MAX_PARCEL + 2));
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 0xf)]);
    line.push(CANCEL.into());
    line.extend(
        bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(*byte)]),
    );
    line.push('\n');
    Ok(line)
}

fn bytes(parcel: &Parcel<'_>) -> Result<Zeroizing<Vec<u8>>, ProvisionError> {
    // As large as it may become, so that nothing is moved and left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PARCEL));
    let hash_length = <Sha256 as Digest>::output_size();
    if length(parcel) + hash_length > MAX_PARCEL {
        return Err(ProvisionError::TooLong);
    }
    match parcel {
        Parcel::Key(shown, key) => {
            bytes.push(KEY);
            extend(&mut bytes, shown)?;
            part(&mut bytes, key);
        }
        Parcel::Certificates(shown) => {
            bytes.push(CERTIFICATES);
            extend(&mut bytes, shown)?;
        }
        Parcel::Request(place) => bytes.extend([REQUEST, *place]),
    }
    let hash = Sha256::digest(&bytes[..]);
    bytes.extend(hash);
    Ok(bytes)
}

/// The parcel's bytes but for the hash.
fn length(parcel: &Parcel<'_>) -> usize {
    let shown = |shown: &Certificates<'_>| {
        let names = shown.names.iter().map(|name| 1 + name.len());
        let chain = shown.chain.iter().map(|der| 2 + der.len());
        2 + names.sum::<usize>() + chain.sum::<usize>()
    };
    1 + match parcel {
        Parcel::Key(certificates, key) => shown(certificates) + 2 + key.len(),
        Parcel::Certificates(certificates) => shown(certificates),
        Parcel::Request(_) => 1,
    }
}

fn extend(bytes: &mut Vec<u8>, shown: &Certificates<'_>) -> Result<(), ProvisionError> {
    let short = |length: usize| u8::try_from(length).map_err(|_| ProvisionError::TooLong);
    bytes.push(short(shown.names.len())?);
    for name in &shown.names {
        bytes.push(short(name.len())?);
        bytes.extend(name.bytes());
    }
    bytes.push(short(shown.chain.len())?);
    shown.chain.iter().for_each(|der| part(bytes, der));
    Ok(())
}

/// Less than [`MAX_PARCEL`], as all of them together, and so its length fits.
fn part(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u16).to_le_bytes());
    bytes.extend(part);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vault::provision::Line;

    use super::*;

    fn received(text: &str) -> Vec<u8> {
        let mut line = Line::default();
        let mut results = text.bytes().filter_map(|byte| line.push(byte));
        let bytes = results.next().expect("a line is a parcel");
        assert!(results.next().is_none());
        bytes.unwrap().to_vec()
    }

    fn shown() -> Certificates<'static> {
        Certificates {
            names: vec!["a.test".into(), "192.0.2.1".into()],
            chain: vec![&[0x30; 300], &[7; 5]],
        }
    }

    #[test]
    fn a_parcel_comes_out_as_it_went_in() {
        for parcel in [
            Parcel::Key(shown(), &[9; 40]),
            Parcel::Certificates(shown()),
            Parcel::Request(200),
        ] {
            let line = line(&parcel).unwrap();
            assert!(Parcel::from_bytes(&received(&line)) == Ok(parcel));
        }
    }

    #[test]
    fn a_parcel_that_is_too_long_is_not_sent() {
        let key = [0; MAX_PARCEL];
        let error = |parcel: &Parcel<'_>| line(parcel).err();
        let too_long = Some(ProvisionError::TooLong);
        assert_eq!(error(&Parcel::Key(shown(), &key)), too_long);
        let others = length(&Parcel::Key(shown(), &[])) + 32;
        let longest = Parcel::Key(shown(), &key[others..]);
        assert_eq!(line(&longest).unwrap().len(), 2 * MAX_PARCEL + 2);
        let longer = Parcel::Key(shown(), &key[others - 1..]);
        assert_eq!(error(&longer), too_long);
        let many = Certificates {
            names: vec!["a".into(); 256],
            ..shown()
        };
        assert_eq!(error(&Parcel::Certificates(many)), too_long);
    }

    proptest! {
        #[test]
        fn what_a_vault_can_read_is_written_the_same(kind in 1u8..4, bytes: Vec<u8>) {
            let mut bytes = [&[kind], &bytes[..]].concat();
            let hash = Sha256::digest(&bytes);
            bytes.extend(hash);
            if let Ok(parcel) = Parcel::from_bytes(&bytes) {
                prop_assert_eq!(received(&line(&parcel).unwrap()), bytes);
            }
        }
    }
}
