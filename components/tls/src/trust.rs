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
            builder.build().map_err(general)
        });
        match (&self.own, others.transpose()?) {
            (Some(own), others) => Ok(Arc::new(Verifier {
                own: own.clone(),
                others,
                anonymous,
                provider: provider.clone(),
            })),
            (None, Some(others)) => Ok(others),
            (None, None) => Err(AuthoritiesError::Empty.into()),
        }
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
        match (&self.own, others.transpose()?) {
            (Some(own), others) => Ok(Arc::new(Verifier {
                own: own.clone(),
                others,
                anonymous: false,
                provider: provider.clone(),
            })),
            (None, Some(others)) => Ok(others),
            (None, None) => Err(AuthoritiesError::Empty.into()),
        }
    }
}

fn general(error: impl ToString) -> ConfigError {
    rustls::Error::General(error.to_string()).into()
}

/// Trusts this system's own certificates, and leaves others to another verifier.
#[derive(Debug)]
struct Verifier<V: ?Sized> {
    own: Vec<Vec<u8>>,
    others: Option<Arc<V>>,
    anonymous: bool,
    provider: Arc<CryptoProvider>,
}

impl<V: ?Sized> Verifier<V> {
    /// The verifier for a certificate that is not this system's own; none is needed for one that is.
    fn other(&self, certificate: &CertificateDer<'_>) -> Result<Option<&V>, rustls::Error> {
        let is_own = self.own.iter().any(|own| **own == **certificate);
        match &self.others {
            _ if is_own => Ok(None),
            Some(others) => Ok(Some(others)),
            None => Err(CertificateError::UnknownIssuer.into()),
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

    /// None, which means any: the issuer of an own certificate need not be told.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.other(own)? {
            Some(verifier) => verifier.verify_client_cert(own, others, now),
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
            return verifier.verify_server_cert(own, others, name, ocsp, now);
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
