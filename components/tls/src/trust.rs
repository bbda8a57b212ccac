//! Whose certificates count: those that an authority issued, and this system's own.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::{Authorities, AuthoritiesError, ConfigError};

/// Whose certificates count; one of both there must be.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Who issues certificates. Paths to them, validity in time and use are verified; revocation is not.
    pub authorities: Option<Authorities>,
    /// Certificates of this system's own keys, in DER; there may be none yet. Who shows one of them and proves to have its
    /// key is trusted, whoever issued it and until when it is valid.
    pub own: Option<Vec<Vec<u8>>>,
}

impl From<Authorities> for Trust {
    fn from(authorities: Authorities) -> Self {
        Self {
            authorities: Some(authorities),
            own: None,
        }
    }
}

impl Trust {
    /// Verifies clients; `anonymous` ones show nothing and are let in.
    pub(crate) fn of_clients(
        &self,
        anonymous: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        let others = self.authorities.as_ref().map(|authorities| {
            let roots = authorities.roots()?;
            let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
            let builder = match anonymous {
                true => builder.allow_unauthenticated(),
                false => builder,
            };
            let verifier: Arc<dyn ClientCertVerifier> = builder.build().map_err(general)?;
            Ok::<_, ConfigError>(verifier)
        });
        Ok(Arc::new(self.verifier(
            others.transpose()?,
            anonymous,
            provider,
        )?))
    }

    /// Verifies servers.
    pub(crate) fn of_servers(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let others = self.authorities.as_ref().map(|authorities| {
            let roots = authorities.roots()?;
            let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            let verifier: Arc<dyn ServerCertVerifier> = builder.build().map_err(general)?;
            Ok::<_, ConfigError>(verifier)
        });
        Ok(Arc::new(self.verifier(
            others.transpose()?,
            false,
            provider,
        )?))
    }

    fn verifier<V: ?Sized>(
        &self,
        others: Option<Arc<V>>,
        anonymous: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier<V>, ConfigError> {
        match (&self.own, &others) {
            (None, None) => Err(AuthoritiesError::Empty.into()),
            _ => Ok(Verifier {
                own: self.own.clone(),
                others,
                anonymous,
                provider: provider.clone(),
            }),
        }
    }
}

fn general(error: impl ToString) -> ConfigError {
    rustls::Error::General(error.to_string()).into()
}

/// A verifier that trusts this system's own certificates, if configured, and leaves others to
/// another verifier.
#[derive(Debug)]
struct Verifier<V: ?Sized> {
    own: Option<Vec<Vec<u8>>>,
    others: Option<Arc<V>>,
    anonymous: bool,
    provider: Arc<CryptoProvider>,
}

impl<V: ?Sized> Verifier<V> {
    /// The verifier for a certificate that is not this system's own; none is needed for one that is.
    fn other(&self, certificate: &CertificateDer<'_>) -> Result<Option<&V>, rustls::Error> {
        let mut own = self.own.iter().flatten();
        let is_own = own.any(|own| **own == **certificate);
        match &self.others {
            _ if is_own => Ok(None),
            Some(others) => Ok(Some(others)),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    /// Returns a more precise error for a certificate: without an operating system, rustls' `Other`
    /// carries no details. For an authority's own certificate it is
    /// [`CertificateError::ApplicationVerificationFailure`], which no other case returns.
    fn explained(
        &self,
        error: rustls::Error,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> rustls::Error {
        let rustls::Error::InvalidCertificate(CertificateError::Other(_)) = error else {
            return error;
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        // Errors of the certificate itself are found before its issuer is looked up.
        let verified = EndEntityCert::try_from(certificate).and_then(|certificate| {
            let path = certificate.verify_for_usage(algorithms, &[], &[], now, usage, None, None);
            path.map(|_| ())
        });
        match verified {
            Err(webpki::Error::CaUsedAsEndEntity) => {
                CertificateError::ApplicationVerificationFailure.into()
            }
            _ => error,
        }
    }

    fn tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier<dyn ClientCertVerifier> {
    fn client_auth_mandatory(&self) -> bool {
        !self.anonymous
    }

    /// Empty, which means any, if this system's own certificates are trusted: their issuers are not
    /// listed.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match (&self.own, &self.others) {
            (None, Some(others)) => others.root_hint_subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.other(own)? {
            Some(verifier) => verifier
                .verify_client_cert(own, others, now)
                .map_err(|error| self.explained(error, own, now, KeyUsage::client_auth())),
            None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ServerCertVerifier for Verifier<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(verifier) = self.other(own)? {
            return verifier
                .verify_server_cert(own, others, name, ocsp, now)
                .map_err(|error| self.explained(error, own, now, KeyUsage::server_auth()));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
