//! The alert for each error (RFC 8446, section 6; RFC 5246, section 7.2).
//!
//! rustls sends its own alert for most errors and none for some. Some of its alerts differ from
//! those that the RFCs require. Therefore the alerts that it has queued are dropped, and this table
//! decides.

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
    ProtocolVersion,
};

use crate::Fault;

/// The last message to the peer before its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This alert.
    Alert(AlertDescription),
    /// The alert that rustls has queued: its error does not distinguish the possible alerts.
    Own,
    /// None: the peer has sent a fatal alert itself, after which both sides close at once (RFC 8446, section 6.2).
    Nothing,
}

/// Returns the answer to an error during the handshake, in this version if it is known already.
pub(crate) fn handshake(error: &Error, version: Option<ProtocolVersion>) -> Answer {
    Answer::Alert(match error {
        // A record that does not decrypt (bad_record_mac), or a Finished that does not verify (decrypt_error).
        Error::DecryptError => return Answer::Own,
        // A client that cancels the handshake closes in order (RFC 8446, section 6.1).
        Error::AlertReceived(AlertDescription::CloseNotify) => AlertDescription::CloseNotify,
        Error::AlertReceived(_) => return Answer::Nothing,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(error) => invalid(error),
        Error::PeerIncompatible(error) => incompatible(error),
        Error::PeerMisbehaved(error) => misbehaved(error),
        Error::InvalidCertificate(error) => certificate(error),
        // certificate_required exists only in TLS 1.3; RFC 5246, section 7.4.6 requires
        // handshake_failure.
        Error::NoCertificatesPresented if version == Some(ProtocolVersion::TLSv1_2) => {
            AlertDescription::HandshakeFailure
        }
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidEncryptedClientHello(_) => AlertDescription::IllegalParameter,
        Error::UnsupportedNameType => AlertDescription::BadCertificate,
        // Local errors that the peer cannot avoid: no signature, no random numbers, no time.
        _ => AlertDescription::InternalError,
    })
}

/// Returns the alert for a message that does not parse.
fn invalid(error: &InvalidMessage) -> AlertDescription {
    match error {
        // RFC 8446, section 5: an unexpected record type, a ChangeCipherSpec of more than a byte. Section 5.4: a record
        // without content.
        InvalidMessage::InvalidCcs
        | InvalidMessage::InvalidContentType
        | InvalidMessage::InvalidEmptyPayload
        | InvalidMessage::UnexpectedMessage(_) => AlertDescription::UnexpectedMessage,
        // RFC 8446, section 5.1.
        InvalidMessage::MessageTooLarge => AlertDescription::RecordOverflow,
        InvalidMessage::UnknownProtocolVersion => AlertDescription::ProtocolVersion,
        // Well-formed, but with a forbidden value (RFC 8446, sections 4.1.2, 4.2, 4.2.11, 4.4.2 and
        // 4.6.3).
        InvalidMessage::DuplicateExtension(_)
        | InvalidMessage::InvalidCertRequest
        | InvalidMessage::InvalidKeyUpdate
        | InvalidMessage::PreSharedKeyIsNotFinalExtension
        | InvalidMessage::UnsupportedCompression
        | InvalidMessage::UnsupportedCurveType
        | InvalidMessage::UnsupportedKeyExchangeAlgorithm(_) => AlertDescription::IllegalParameter,
        InvalidMessage::UnknownCertificateExtension
        | InvalidMessage::UnknownHelloRetryRequestExtension => {
            AlertDescription::UnsupportedExtension
        }
        _ => AlertDescription::DecodeError,
    }
}

/// Returns the alert for a peer that has no parameters in common with this end, or lacks a required
/// extension.
fn incompatible(error: &PeerIncompatible) -> AlertDescription {
    match error {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic => AlertDescription::ProtocolVersion,
        // RFC 8446, section 9.2.
        PeerIncompatible::KeyShareExtensionRequired
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            AlertDescription::MissingExtension
        }
        // RFC 8446, section 4.1.2; RFC 8422, section 5.1.2.
        PeerIncompatible::EcPointsExtensionRequired
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NullCompressionRequired
        | PeerIncompatible::UncompressedEcPointsRequired => AlertDescription::IllegalParameter,
        // RFC 7250, section 4.2.
        PeerIncompatible::IncorrectCertificateTypeExtension => {
            AlertDescription::UnsupportedCertificate
        }
        PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension
        | PeerIncompatible::UnsolicitedCertificateTypeExtension => {
            AlertDescription::UnsupportedExtension
        }
        PeerIncompatible::ServerRejectedEncryptedClientHello(_) => {
            AlertDescription::EncryptedClientHelloRequired
        }
        // RFC 8446, section 4.1.1; RFC 5246, section 7.4.1.3; RFC 7627, section 5.3.
        _ => AlertDescription::HandshakeFailure,
    }
}

/// Returns the alert for a peer that violates the protocol.
fn misbehaved(error: &PeerMisbehaved) -> AlertDescription {
    match error {
        PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
        | PeerMisbehaved::IllegalTlsInnerPlaintext
        | PeerMisbehaved::KeyEpochWithPendingFragment
        | PeerMisbehaved::KeyUpdateReceivedInQuicConnection
        | PeerMisbehaved::MessageInterleavedWithHandshakeMessage
        | PeerMisbehaved::TooManyEmptyFragments
        | PeerMisbehaved::TooManyKeyUpdateRequests
        | PeerMisbehaved::TooManyRenegotiationRequests
        | PeerMisbehaved::TooManyWarningAlertsReceived
        | PeerMisbehaved::TooMuchEarlyDataReceived => AlertDescription::UnexpectedMessage,
        PeerMisbehaved::MissingKeyShare
        | PeerMisbehaved::MissingPskExtensionInSecondClientHello
        | PeerMisbehaved::MissingPskModesExtension
        | PeerMisbehaved::MissingQuicTransportParameters => AlertDescription::MissingExtension,
        // A record that does not decrypt and is no longer early data.
        PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage => {
            AlertDescription::BadRecordMac
        }
        PeerMisbehaved::MissingBinderInPskExtension => AlertDescription::DecodeError,
        // RFC 8446, section 4.2.11.
        PeerMisbehaved::IncorrectBinder => AlertDescription::DecryptError,
        PeerMisbehaved::InvalidCertCompression
        | PeerMisbehaved::SelectedUnofferedCertCompression => AlertDescription::BadCertificate,
        // RFC 8446, sections 4.2 and 4.4.2.
        PeerMisbehaved::BadCertChainExtensions
        | PeerMisbehaved::DisallowedEncryptedExtension
        | PeerMisbehaved::UnexpectedCleartextExtension
        | PeerMisbehaved::UnsolicitedCertExtension
        | PeerMisbehaved::UnsolicitedEchExtension
        | PeerMisbehaved::UnsolicitedEncryptedExtension
        | PeerMisbehaved::UnsolicitedSctList
        | PeerMisbehaved::UnsolicitedServerHelloExtension => AlertDescription::UnsupportedExtension,
        // Values that contradict others, key shares that are not points on the curve, parameters
        // that were not offered: RFC 8446, section 6.2.
        _ => AlertDescription::IllegalParameter,
    }
}

/// Returns the alert for a certificate that is rejected. rustls chooses as other libraries do,
/// except for an authority's own certificate as a client certificate (`Trust`).
pub(crate) fn certificate(error: &CertificateError) -> AlertDescription {
    match error {
        CertificateError::ApplicationVerificationFailure => {
            AlertDescription::UnsupportedCertificate
        }
        other => other.clone().into(),
    }
}

/// Returns the alert for an error in a record after the handshake.
pub(crate) fn record(fault: Fault) -> AlertDescription {
    match fault {
        Fault::Decrypt => AlertDescription::BadRecordMac,
        Fault::TooLong => AlertDescription::RecordOverflow,
        Fault::UnexpectedMessage | Fault::Flood => AlertDescription::UnexpectedMessage,
        Fault::Malformed => AlertDescription::DecodeError,
        Fault::IllegalParameter => AlertDescription::IllegalParameter,
        Fault::KeysExhausted | Fault::Internal => AlertDescription::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use rustls::{ContentType, HandshakeType};

    use super::*;

    #[test]
    fn each_error_of_a_handshake_has_its_alert() {
        use AlertDescription as Alert;
        use {InvalidMessage as Invalid, PeerIncompatible as Peer, PeerMisbehaved as Bad};
        let unexpected = Error::InappropriateMessage {
            expect_types: vec![ContentType::Handshake],
            got_type: ContentType::ApplicationData,
        };
        let unexpected_handshake = Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::Finished],
            got_type: HandshakeType::KeyUpdate,
        };
        let rows: &[(Alert, &[Error])] = &[
            (
                Alert::CloseNotify,
                &[Error::AlertReceived(Alert::CloseNotify)],
            ),
            (
                Alert::UnexpectedMessage,
                &[
                    unexpected,
                    unexpected_handshake,
                    Invalid::InvalidCcs.into(),
                    Invalid::InvalidContentType.into(),
                    Invalid::InvalidEmptyPayload.into(),
                    Invalid::UnexpectedMessage("").into(),
                    Bad::IllegalMiddleboxChangeCipherSpec.into(),
                    Bad::IllegalTlsInnerPlaintext.into(),
                    Bad::KeyEpochWithPendingFragment.into(),
                    Bad::MessageInterleavedWithHandshakeMessage.into(),
                    Bad::TooManyEmptyFragments.into(),
                    Bad::TooManyKeyUpdateRequests.into(),
                    Bad::TooManyRenegotiationRequests.into(),
                    Bad::TooManyWarningAlertsReceived.into(),
                    Bad::TooMuchEarlyDataReceived.into(),
                ],
            ),
            (
                Alert::RecordOverflow,
                &[
                    Error::PeerSentOversizedRecord,
                    Invalid::MessageTooLarge.into(),
                ],
            ),
            (
                Alert::ProtocolVersion,
                &[
                    Invalid::UnknownProtocolVersion.into(),
                    Peer::ServerDoesNotSupportTls12Or13.into(),
                    Peer::ServerTlsVersionIsDisabledByOurConfig.into(),
                    Peer::SupportedVersionsExtensionRequired.into(),
                    Peer::Tls12NotOffered.into(),
                    Peer::Tls12NotOfferedOrEnabled.into(),
                ],
            ),
            (
                Alert::HandshakeFailure,
                &[
                    Peer::ExtendedMasterSecretExtensionRequired.into(),
                    Peer::NoCertificateRequestSignatureSchemesInCommon.into(),
                    Peer::NoCipherSuitesInCommon.into(),
                    Peer::NoKxGroupsInCommon.into(),
                    Peer::NoSignatureSchemesInCommon.into(),
                ],
            ),
            (
                Alert::MissingExtension,
                &[
                    Peer::KeyShareExtensionRequired.into(),
                    Peer::NamedGroupsExtensionRequired.into(),
                    Peer::SignatureAlgorithmsExtensionRequired.into(),
                    Bad::MissingKeyShare.into(),
                    Bad::MissingPskExtensionInSecondClientHello.into(),
                    Bad::MissingPskModesExtension.into(),
                ],
            ),
            (
                Alert::UnsupportedExtension,
                &[
                    Invalid::UnknownCertificateExtension.into(),
                    Invalid::UnknownHelloRetryRequestExtension.into(),
                    Peer::ServerSentHelloRetryRequestWithUnknownExtension.into(),
                    Peer::UnsolicitedCertificateTypeExtension.into(),
                    Bad::BadCertChainExtensions.into(),
                    Bad::DisallowedEncryptedExtension.into(),
                    Bad::UnexpectedCleartextExtension.into(),
                    Bad::UnsolicitedCertExtension.into(),
                    Bad::UnsolicitedEncryptedExtension.into(),
                    Bad::UnsolicitedSctList.into(),
                    Bad::UnsolicitedServerHelloExtension.into(),
                ],
            ),
            (
                Alert::IllegalParameter,
                &[
                    Invalid::DuplicateExtension(0).into(),
                    Invalid::InvalidCertRequest.into(),
                    Invalid::InvalidKeyUpdate.into(),
                    Invalid::PreSharedKeyIsNotFinalExtension.into(),
                    Invalid::UnsupportedCompression.into(),
                    Invalid::UnsupportedCurveType.into(),
                    Peer::NullCompressionRequired.into(),
                    Peer::UncompressedEcPointsRequired.into(),
                    Bad::AttemptedDowngradeToTls12WhenTls13IsSupported.into(),
                    Bad::CipherSuiteDifferedOnRetry.into(),
                    Bad::InvalidKeyShare.into(),
                    Bad::OfferedDuplicateKeyShares.into(),
                    Bad::OfferedIncorrectCompressions.into(),
                    Bad::PskExtensionWithMismatchedIdsAndBinders.into(),
                    Bad::RefusedToFollowHelloRetryRequest.into(),
                    Bad::SelectedUnofferedApplicationProtocol.into(),
                    Bad::ServerNameDifferedOnRetry.into(),
                    Bad::ServerNameMustContainOneHostName.into(),
                    Bad::SignedHandshakeWithUnadvertisedSigScheme.into(),
                ],
            ),
            (
                Alert::DecodeError,
                &[
                    Invalid::CertificatePayloadTooLarge.into(),
                    Invalid::HandshakePayloadTooLarge.into(),
                    Invalid::IllegalEmptyList("").into(),
                    Invalid::InvalidServerName.into(),
                    Invalid::MessageTooShort.into(),
                    Invalid::MissingData("Finished").into(),
                    Invalid::NoSignatureSchemes.into(),
                    Invalid::TrailingData("Finished").into(),
                    Bad::MissingBinderInPskExtension.into(),
                ],
            ),
            (Alert::DecryptError, &[Bad::IncorrectBinder.into()]),
            (
                Alert::BadRecordMac,
                &[Bad::RejectedEarlyDataInterleavedWithHandshakeMessage.into()],
            ),
            (
                Alert::NoApplicationProtocol,
                &[Error::NoApplicationProtocol],
            ),
            (
                Alert::CertificateRequired,
                &[Error::NoCertificatesPresented],
            ),
            (
                Alert::BadCertificate,
                &[
                    Error::UnsupportedNameType,
                    CertificateError::BadEncoding.into(),
                    CertificateError::NotValidForName.into(),
                    CertificateError::UnhandledCriticalExtension.into(),
                    Bad::InvalidCertCompression.into(),
                ],
            ),
            (
                Alert::UnsupportedCertificate,
                &[
                    CertificateError::ApplicationVerificationFailure.into(),
                    CertificateError::InvalidPurpose.into(),
                    Peer::IncorrectCertificateTypeExtension.into(),
                ],
            ),
            (
                Alert::CertificateRevoked,
                &[CertificateError::Revoked.into()],
            ),
            (
                Alert::CertificateExpired,
                &[
                    CertificateError::Expired.into(),
                    CertificateError::NotValidYet.into(),
                ],
            ),
            (Alert::UnknownCA, &[CertificateError::UnknownIssuer.into()]),
            (
                Alert::DecryptError,
                &[CertificateError::BadSignature.into()],
            ),
            (
                Alert::InternalError,
                &[
                    Error::General("no signature".to_string()),
                    Error::FailedToGetCurrentTime,
                    Error::FailedToGetRandomBytes,
                    Error::EncryptError,
                    Error::HandshakeNotComplete,
                ],
            ),
        ];
        for (alert, errors) in rows {
            for error in *errors {
                let answer = handshake(error, Some(ProtocolVersion::TLSv1_3));
                assert_eq!(answer, Answer::Alert(*alert), "{error:?}");
            }
        }
        let fatal = Error::AlertReceived(Alert::HandshakeFailure);
        assert_eq!(handshake(&fatal, None), Answer::Nothing);
        assert_eq!(handshake(&Error::DecryptError, None), Answer::Own);
        let none = handshake(
            &Error::NoCertificatesPresented,
            Some(ProtocolVersion::TLSv1_2),
        );
        assert_eq!(none, Answer::Alert(Alert::HandshakeFailure));
    }

    #[test]
    fn each_fault_of_a_record_has_its_alert() {
        for (fault, alert) in [
            (Fault::Decrypt, AlertDescription::BadRecordMac),
            (Fault::TooLong, AlertDescription::RecordOverflow),
            (
                Fault::UnexpectedMessage,
                AlertDescription::UnexpectedMessage,
            ),
            (Fault::Malformed, AlertDescription::DecodeError),
            (Fault::IllegalParameter, AlertDescription::IllegalParameter),
            (Fault::Flood, AlertDescription::UnexpectedMessage),
            (Fault::KeysExhausted, AlertDescription::InternalError),
            (Fault::Internal, AlertDescription::InternalError),
        ] {
            assert_eq!(record(fault), alert);
        }
    }
}
