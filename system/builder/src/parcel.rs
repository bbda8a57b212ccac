//! The line that sends a parcel to a running vault; [`vault::provision`] says what it is made of.

use sha2_host::{Digest, Sha256};
use vault::provision::{CANCEL, MAX_PARCEL, Parcel, ProvisionError};
use zeroize::Zeroizing;

/// A parcel's line.
///
/// # Errors
/// [`ProvisionError::TooLong`].
pub fn line(parcel: &Parcel<'_>) -> Result<Zeroizing<String>, ProvisionError> {
    // As large as they may become, so that nothing is moved and left behind.
    let mut bytes = Zeroizing::new([0; MAX_PARCEL]);
    let most = MAX_PARCEL - <Sha256 as Digest>::output_size();
    let written = postcard::to_slice(parcel, &mut bytes[..most]);
    let length = written.map_err(|_| ProvisionError::TooLong)?.len();
    let hash = Sha256::digest(&bytes[..length]);
    bytes[length..][..hash.len()].copy_from_slice(&hash);
    let digits = base16ct::lower::encode_string(&bytes[..length + hash.len()]);
    let digits = Zeroizing::new(digits);
    let mut line = Zeroizing::new(String::with_capacity(2 * MAX_PARCEL + 2));
    line.push(CANCEL.into());
    line.push_str(&digits);
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vault::provision::{Certificates, Line};

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
            names: ["a.test", "192.0.2.1"].into_iter().collect(),
            chain: [&[0x30; 300][..], &[7; 5]].into_iter().collect(),
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
        let digits =
            |length: usize| line(&Parcel::Key(shown(), &key[..length])).map(|line| line.len());
        let others = MAX_PARCEL
            - (0..)
                .find(|rest| digits(MAX_PARCEL - rest).is_ok())
                .unwrap();
        assert_eq!(digits(others), Ok(2 * MAX_PARCEL + 2));
        assert_eq!(digits(others + 1), Err(ProvisionError::TooLong));
    }

    proptest! {
        #[test]
        fn what_a_vault_reads_is_written_and_read_the_same(kind in 0u8..4, bytes: Vec<u8>) {
            let mut bytes = [&[kind], &bytes[..]].concat();
            let hash = Sha256::digest(&bytes);
            bytes.extend(hash);
            if let Ok(parcel) = Parcel::from_bytes(&bytes) {
                let again = received(&line(&parcel).unwrap());
                prop_assert!(Parcel::from_bytes(&again) == Ok(parcel));
            }
        }
    }
}
