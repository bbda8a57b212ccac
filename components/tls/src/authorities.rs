//! Certificates of authorities that a peer's certificate may come from.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

/// First byte of the encoding.
const FORMAT: u8 = 1;

/// Largest total of a bundle in bytes; keeps a damaged region from exhausting the heap. The public authorities of the
/// Web come to half of it.
const MAX_BYTES: usize = 512 * 1024;

/// A bundle of authorities, at least one, each of which can be a trust anchor (RFC 5280, section 6.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorities(Vec<Vec<u8>>);

/// Why a bundle cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthoritiesError {
    /// Not an encoded bundle of this format.
    Malformed,
    /// No certificate.
    Empty,
    /// The certificate at this position, counted from 1, cannot be a trust anchor.
    Unusable(usize, rustls::Error),
}

impl Authorities {
    /// A bundle of X.509 certificates in DER.
    ///
    /// # Errors
    /// [`AuthoritiesError::Empty`] and [`AuthoritiesError::Unusable`].
    pub fn new(certificates: Vec<Vec<u8>>) -> Result<Self, AuthoritiesError> {
        let authorities = Self(certificates);
        authorities.roots()?;
        Ok(authorities)
    }

    /// The bytes of a prefilled region.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![FORMAT];
        bytes.extend(
            postcard::to_allocvec(self).expect("encoding into a Vec fails only for unsized lists"),
        );
        bytes
    }

    /// Reads a bundle; bytes behind it (the rest of the page) are ignored.
    ///
    /// # Errors
    /// [`AuthoritiesError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuthoritiesError> {
        let Some((&FORMAT, rest)) = bytes.split_first() else {
            return Err(AuthoritiesError::Malformed);
        };
        let rest = &rest[..rest.len().min(MAX_BYTES)];
        let (Self(certificates), _) =
            postcard::take_from_bytes(rest).map_err(|_| AuthoritiesError::Malformed)?;
        Self::new(certificates)
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the certificates of the authorities, in DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, AuthoritiesError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.0.iter().enumerate() {
            roots
                .add(CertificateDer::from(certificate.as_slice()))
                .map_err(|error| AuthoritiesError::Unusable(index + 1, error))?;
        }
        match roots.is_empty() {
            true => Err(AuthoritiesError::Empty),
            false => Ok(Arc::new(roots)),
        }
    }
}

impl fmt::Display for AuthoritiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the authorities' region is malformed"),
            Self::Empty => f.write_str("there is no certificate of an authority"),
            Self::Unusable(position, error) => {
                write!(f, "certificate {position} cannot be trusted: {error}")
            }
        }
    }
}

impl core::error::Error for AuthoritiesError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn authority(name: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written() {
        for count in [1, 2, 7] {
            let certificates: Vec<_> = (0..count).map(|n| authority(&n.to_string())).collect();
            let bundle = Authorities::new(certificates.clone()).unwrap();
            assert_eq!(bundle.len(), count);
            assert!(
                bundle
                    .certificates()
                    .eq(certificates.iter().map(|der| &der[..]))
            );
            assert_eq!(bundle.roots().unwrap().len(), count);
            // In a region of whole pages.
            let mut bytes = bundle.to_bytes();
            assert_eq!(bytes[0], FORMAT);
            bytes.resize(bytes.len() + 4096, 0);
            assert_eq!(Authorities::from_bytes(&bytes), Ok(bundle));
            bytes[0] = FORMAT + 1;
            let other = Authorities::from_bytes(&bytes);
            assert_eq!(other, Err(AuthoritiesError::Malformed));
        }
    }

    /// A bundle larger than that of the Web's public authorities is rejected as a damaged region.
    #[test]
    fn the_size_of_a_bundle_has_a_limit() {
        let one = authority("one");
        let of = |bytes: usize| Authorities(vec![one.clone(); bytes / one.len()]).to_bytes();
        let fits = of(500 * 1024);
        let read = Authorities::from_bytes(&fits).unwrap();
        assert_eq!(read.len(), 500 * 1024 / one.len());
        let too_large = Authorities::from_bytes(&of(530 * 1024));
        assert_eq!(too_large, Err(AuthoritiesError::Malformed));
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_position() {
        let one = authority("one");
        let wrong = Authorities::new(vec![one.clone(), vec![0x30, 0], one]).unwrap_err();
        assert!(matches!(wrong, AuthoritiesError::Unusable(2, _)));
        let text = wrong.to_string();
        assert!(
            text.starts_with("certificate 2 cannot be trusted: "),
            "{text}"
        );
        let empty = Authorities::new(vec![]).unwrap_err().to_string();
        assert_eq!(empty, "there is no certificate of an authority");
        let malformed = Authorities::from_bytes(&[]).unwrap_err().to_string();
        assert_eq!(malformed, "the authorities' region is malformed");
    }
}
