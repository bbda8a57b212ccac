//! Notes about the certificates of trusted authorities.

use tls::Authorities;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Content, Protection};
use crate::manifest::DataKind;

/// Returns a note for each CA certificate that does not declare the key usage keyCertSign. Such a certificate may be
/// meant for one client or server; `openssl req -x509` makes it.
pub(super) fn notes(protections: &[Protection]) -> Vec<String> {
    let mut notes = Vec::new();
    for protection in protections {
        for (name, content) in &protection.data {
            let declared = &protection.program.data;
            let is_bundle = |data: &crate::manifest::Data| {
                data.name == *name && data.kind == DataKind::Authorities
            };
            if let Content::Bytes(bytes) = content
                && declared.iter().any(is_bundle)
                && let Ok(authorities) = Authorities::from_bytes(bytes)
            {
                let certificates = authorities.certificates().enumerate();
                let subjects = certificates.filter_map(|(index, certificate)| {
                    Some((index + 1, subject_of_authority(certificate)?))
                });
                notes.extend(subjects.map(|(number, subject)| {
                    let protection = &protection.name;
                    format!(
                        "certificate {number} of `{name}` of `{protection}` ({subject}) is an authority's (CA:TRUE): it \
                         can issue certificates, but a peer that shows it as its own is refused; docs/descriptions.md, \
                         Certificates of clients, says how to make a pair that works"
                    )
                }));
            }
        }
    }
    notes
}

/// Returns the subject of a CA certificate whose key may have other uses as well (RFC 5280, sections 4.2.1.3 and
/// 4.2.1.9).
fn subject_of_authority(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let signs_only = certificate.key_usage().ok().flatten();
    let signs_only = signs_only.is_some_and(|usage| usage.value.key_cert_sign());
    (certificate.is_ca() && !signs_only).then(|| certificate.subject().to_string())
}
