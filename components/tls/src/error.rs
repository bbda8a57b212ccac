//! Why a session ended, and who is at fault.

use core::fmt;

use rustls::{AlertDescription, CertificateError, ProtocolVersion};

use crate::alerts::{self, Answer};

/// Error that ended a session. The alert that TLS requires has been sent to the peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// rustls ended the handshake.
    Handshake(rustls::Error),
    /// A record after the handshake broke the protocol.
    Record(Fault),
    /// The certificate that a resumed session brings back is no longer good.
    Certificate(rustls::Error),
    /// The peer sent a fatal alert (RFC 8446, section 6.2).
    PeerAlert(AlertDescription),
    /// The handshake needs more memory than a session may take.
    HandshakeTooLarge,
    /// All sessions together have used up the memory.
    NoMemory,
    /// The client has fallen back from TLS 1.3, which the server supports, after a failed attempt
    /// (RFC 7507).
    Fallback,
}

/// What is wrong with a record that arrived after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not decrypt (RFC 8446, section 5.2).
    Decrypt,
    /// It is longer than the protocol allows (RFC 8446, section 5.1 and 5.2).
    TooLong,
    /// A record of this type has no place here.
    UnexpectedMessage,
    /// A message in it is malformed.
    Malformed,
    /// A field has a forbidden value (RFC 8446, section 6.2).
    IllegalParameter,
    /// More key updates, warnings or empty records in a row than any client needs.
    Flood,
    /// The keys have protected as many records as is safe, and TLS 1.2 cannot change them.
    KeysExhausted,
    /// Cryptography failed inside: a defect of ours, not the client's.
    Internal,
}

impl Error {
    /// Returns the answer to the peer for this error; `version` is the negotiated version, if it is
    /// known already.
    pub(crate) fn answer(&self, version: Option<ProtocolVersion>) -> Answer {
        match self {
            Self::Handshake(error) => alerts::handshake(error, version),
            Self::Record(fault) => Answer::Alert(alerts::record(*fault)),
            Self::NoMemory => Answer::Alert(AlertDescription::InternalError),
            Self::Certificate(rustls::Error::InvalidCertificate(error)) => {
                Answer::Alert(alerts::certificate(error))
            }
            Self::Certificate(_) => Answer::Alert(AlertDescription::CertificateUnknown),
            Self::PeerAlert(_) => Answer::Nothing,
            Self::HandshakeTooLarge => Answer::Alert(AlertDescription::DecodeError),
            Self::Fallback => Answer::Alert(AlertDescription::InappropriateFallback),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Record(fault)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => write!(f, "handshake: {}", Words(error)),
            Self::Record(fault) => write!(f, "{fault}"),
            Self::Certificate(error) => write!(f, "resumption: {}", Words(error)),
            Self::PeerAlert(alert) => write!(f, "the peer sent the alert {alert:?}"),
            Self::HandshakeTooLarge => f.write_str("the handshake messages are too long"),
            Self::NoMemory => f.write_str("no memory is left for this session"),
            Self::Fallback => {
                f.write_str("the client gave up TLS 1.3 after an attempt that failed")
            }
        }
    }
}

/// A description of rustls' errors in words where rustls' own text is the name of a variant.
struct Words<'a>(&'a rustls::Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use rustls::PeerIncompatible as Peer;
        let text = match self.0 {
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::ApplicationVerificationFailure => {
                    "the certificate is an authority's (CA:TRUE): it can issue certificates, but not be shown itself"
                }
                CertificateError::UnknownIssuer => "no known authority issued the certificate",
                _ => return self.0.fmt(f),
            },
            rustls::Error::PeerIncompatible(error) => match error {
                Peer::NoCipherSuitesInCommon => "no cipher suite in common",
                Peer::NoKxGroupsInCommon => "no group for the key exchange in common",
                Peer::NoSignatureSchemesInCommon => {
                    "the vault has no certificate that the client can verify"
                }
                Peer::Tls12NotOffered
                | Peer::Tls12NotOfferedOrEnabled
                | Peer::SupportedVersionsExtensionRequired => "no version of TLS in common",
                _ => return self.0.fmt(f),
            },
            rustls::Error::NoCertificatesPresented => "the client showed no certificate",
            _ => return self.0.fmt(f),
        };
        f.write_str(text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decrypt => "a record does not decrypt",
            Self::TooLong => "a record is too long",
            Self::UnexpectedMessage => "a message came out of place",
            Self::Malformed => "a message is malformed",
            Self::IllegalParameter => "a message has a value that is not allowed",
            Self::Flood => "too many records without data",
            Self::KeysExhausted => "the session keys are used up",
            Self::Internal => "encryption failed",
        })
    }
}

impl core::error::Error for Error {}
