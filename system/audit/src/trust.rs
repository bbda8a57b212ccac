//! Whom the tools and tests of this machine trust.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

/// Trusts every certificate, but checks that the peer holds its key. For clients that confide nothing to a guest of this
/// machine, whose certificate is signed by nobody else.
#[derive(Debug)]
pub struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    signed: Mutex<Option<Signed>>,
}

/// What a peer signed in a handshake, and how.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The message (RFC 8446, section 4.4.3; RFC 8422, section 5.4).
    pub message: Vec<u8>,
    /// The signature, as its scheme defines it.
    pub signature: Vec<u8>,
}

impl AnyCertificate {
    /// A verifier that knows the provider's signature schemes.
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            signed: Mutex::default(),
        }
    }

    /// What the peer signed last.
    pub(crate) fn signed(&self) -> Option<Signed> {
        let signed = self.signed.lock();
        signed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, message: &[u8], signature: &DigitallySignedStruct) {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        *signed = Some(Signed {
            message: message.to_vec(),
            signature: signature.signature().to_vec(),
        });
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.keep(message, signature);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.keep(message, signature);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
