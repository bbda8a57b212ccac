//! What the certificates of a key that a vault makes will say, whichever key that is. It is written here, in DER, so that
//! the vault needs no encoder of X.509.

use std::net::IpAddr;

use vault::{Entry, Kind, Subject};
use x509_cert::attr::{Attribute, AttributeTypeAndValue, Attributes};
use x509_cert::der::asn1::{
    AnyRef, ContextSpecificRef, Ia5String, ObjectIdentifier, Utf8StringRef,
};
use x509_cert::der::oid::db::{rfc4519, rfc5280, rfc5912, rfc8410};
use x509_cert::der::{Encode, EncodeValue, Result, TagMode, TagNumber, Tagged};
use x509_cert::ext::AsExtension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::name::{Name, RdnSequence};
use x509_cert::request::ExtensionReq;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// The longest common name (RFC 5280, appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// A key that a vault makes, with a certificate for these DNS names and IP addresses: a server's and a client's, and no
/// authority's. Without `self_signed` it has none until it gets one.
///
/// # Errors
/// When a name is not ASCII, or they are too many for DER's lengths.
pub fn made(kind: Kind, names: Vec<String>, self_signed: bool) -> Result<Entry> {
    Ok(Entry::Made {
        kind,
        subject: subject(kind, &names)?,
        names,
        self_signed,
    })
}

/// A [`Subject`], encoded.
fn subject(kind: Kind, names: &[String]) -> Result<Vec<u8>> {
    let subject = common_name(names)?;
    let alternatives = names.iter().map(|name| general_name(name));
    let extensions = vec![
        constraints().to_extension(&subject, &[])?,
        KeyUsage(KeyUsages::DigitalSignature.into()).to_extension(&subject, &[])?,
        ExtendedKeyUsage(vec![rfc5280::ID_KP_SERVER_AUTH, rfc5280::ID_KP_CLIENT_AUTH])
            .to_extension(&subject, &[])?,
        SubjectAltName(alternatives.collect::<Result<_>>()?).to_extension(&subject, &[])?,
    ];
    let request = Attribute::try_from(ExtensionReq(extensions.clone()))?;
    let (key, signature) = algorithms(kind);
    let attributes = Attributes::try_from([request])?;
    let subject = Subject {
        name: &subject.to_der()?,
        key_algorithm: &key.to_der()?,
        signature_algorithm: &signature.to_der()?,
        extensions: &field(TagNumber::N3, TagMode::Explicit, &extensions)?,
        attributes: &field(TagNumber::N0, TagMode::Implicit, &attributes)?,
    };
    Ok(subject.to_bytes())
}

/// For people; clients look at the alternative names only (RFC 9525, section 2).
fn common_name(names: &[String]) -> Result<Name> {
    let fits = |name: &&String| name.len() <= MAX_COMMON_NAME;
    let name = names.first().filter(fits).map_or("vault", String::as_str);
    let attribute = AttributeTypeAndValue {
        oid: rfc4519::CN,
        value: AnyRef::from(Utf8StringRef::new(name)?).into(),
    };
    Ok(RdnSequence(vec![vec![attribute].try_into()?]))
}

/// RFC 5280, section 4.2.1.6.
fn general_name(name: &str) -> Result<GeneralName> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => Ok(GeneralName::DnsName(Ia5String::new(name)?)),
    }
}

/// This is no certificate authority.
fn constraints() -> BasicConstraints {
    BasicConstraints {
        ca: false,
        path_len_constraint: None,
    }
}

/// Of the public key (RFC 5480, section 2.1.1; RFC 8410, section 3) and of signatures (RFC 5758, section 3.2).
fn algorithms(kind: Kind) -> (AlgorithmIdentifierOwned, AlgorithmIdentifierOwned) {
    let plain = |oid| AlgorithmIdentifierOwned {
        oid,
        parameters: None,
    };
    let on_curve = |curve: ObjectIdentifier| AlgorithmIdentifierOwned {
        oid: rfc5912::ID_EC_PUBLIC_KEY,
        parameters: Some(AnyRef::from(&curve).into()),
    };
    match kind {
        Kind::EcdsaP256 => (
            on_curve(rfc5912::SECP_256_R_1),
            plain(rfc5912::ECDSA_WITH_SHA_256),
        ),
        Kind::EcdsaP384 => (
            on_curve(rfc5912::SECP_384_R_1),
            plain(rfc5912::ECDSA_WITH_SHA_384),
        ),
        Kind::Ed25519 => (plain(rfc8410::ID_ED_25519), plain(rfc8410::ID_ED_25519)),
    }
}

/// A numbered field of a structure.
fn field(
    tag_number: TagNumber,
    tag_mode: TagMode,
    value: &(impl EncodeValue + Tagged),
) -> Result<Vec<u8>> {
    let field = ContextSpecificRef {
        tag_number,
        tag_mode,
        value,
    };
    field.to_der()
}

#[cfg(test)]
mod tests {
    use x509_cert::der::Decode;

    use super::*;

    #[test]
    fn a_name_is_one_name_whatever_is_in_it() {
        let name = common_name(&["a.test,O=b+C=d".into()]).unwrap();
        let read = Name::from_der(&name.to_der().unwrap()).unwrap();
        assert_eq!((read.0.len(), read.0[0].0.len()), (1, 1));
        assert!(made(Kind::Ed25519, vec!["ä.test".into()], true).is_err());
    }

    #[test]
    fn without_a_name_that_fits_it_is_a_vaults() {
        let long = "a".repeat(MAX_COMMON_NAME + 1);
        for names in [vec![], vec![long]] {
            assert_eq!(common_name(&names).unwrap().to_string(), "CN=vault");
        }
    }
}
