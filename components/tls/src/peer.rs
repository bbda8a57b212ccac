//! What is told of a peer's certificate.

use channel::streams::PeerIdentity;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The identity in a certificate that has been verified: its digest and the first DNS name (RFC 5280, section 4.2.1.6)
/// or else the first URI among its alternative names. The common name of the subject is not used: nothing constrains
/// it (RFC 9525, section 2).
pub(crate) fn identity(certificate: &CertificateDer<'_>) -> PeerIdentity {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, certificate).as_ref());
    let parsed = EndEntityCert::try_from(certificate).ok();
    let name = parsed.as_ref().and_then(|certificate| {
        let dns = certificate.valid_dns_names().next();
        dns.or_else(|| certificate.valid_uri_names().next())
    });
    PeerIdentity::new(fingerprint, name.unwrap_or_default())
}
