//! Why a session ended, and who is at fault.

use core::fmt;

use rustls::AlertDescription;

use crate::keys;

/// Why a session failed. The client has been sent [`Error::alert`] where TLS asks for one.
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
    /// All sessions together have used the memory up.
    NoMemory,
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
    /// More key updates, warnings or empty records in a row than any client needs.
    Flood,
    /// The keys have protected as many records as is safe, and TLS 1.2 cannot change them.
    KeysExhausted,
    /// Cryptography failed inside: a defect of ours, not the client's.
    Internal,
}

impl Error {
    /// The alert that tells the client of this error; rustls sends its own during the handshake, but for a signature
    /// that the vault refuses.
    pub fn alert(&self) -> Option<AlertDescription> {
        let fault = match self {
            Self::Record(fault) => fault,
            Self::NoMemory => &Fault::Internal,
            Self::Handshake(error) if keys::is_refusal(error) => &Fault::Internal,
            Self::Certificate(rustls::Error::InvalidCertificate(error)) => {
                return Some(error.clone().into());
            }
            Self::Certificate(_) => return Some(AlertDescription::CertificateUnknown),
            Self::Handshake(_) | Self::PeerAlert(_) | Self::HandshakeTooLarge => return None,
        };
        Some(match fault {
            Fault::Decrypt => AlertDescription::BadRecordMac,
            Fault::TooLong => AlertDescription::RecordOverflow,
            Fault::UnexpectedMessage | Fault::Flood => AlertDescription::UnexpectedMessage,
            Fault::Malformed => AlertDescription::DecodeError,
            Fault::KeysExhausted | Fault::Internal => AlertDescription::InternalError,
        })
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
            Self::Handshake(error) => write!(f, "handshake: {error}"),
            Self::Record(fault) => write!(f, "{fault}"),
            Self::Certificate(error) => write!(f, "resumption: {error}"),
            Self::PeerAlert(alert) => write!(f, "the peer sent the alert {alert:?}"),
            Self::HandshakeTooLarge => f.write_str("the handshake messages are too long"),
            Self::NoMemory => f.write_str("no memory is left for this session"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decrypt => "a record does not decrypt",
            Self::TooLong => "a record is too long",
            Self::UnexpectedMessage => "a message came out of place",
            Self::Malformed => "a message is malformed",
            Self::Flood => "too many records without data",
            Self::KeysExhausted => "the session keys are used up",
            Self::Internal => "encryption failed",
        })
    }
}

impl core::error::Error for Error {}
