//! The record layer of an established session (RFC 8446 section 5, RFC 5246 section 6).

use alloc::boxed::Box;
use alloc::vec::Vec;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, ExtractedSecrets, ProtocolVersion,
    SupportedCipherSuite,
};

use crate::{Error, Fault};

/// Length of a record header in bytes (RFC 8446, section 5.1).
pub(crate) const HEADER: usize = 5;

/// Longest plaintext of a record in bytes (RFC 8446, section 5.1).
pub(crate) const MAX_PLAINTEXT: usize = 1 << 14;

/// Longest protected record in bytes without its header: RFC 5246, section 6.2.3 allows 2048 bytes of
/// expansion, RFC 8446, section 5.2 allows 256.
pub(crate) const MAX_PROTECTED_TLS12: usize = MAX_PLAINTEXT + 2048;
pub(crate) const MAX_PROTECTED_TLS13: usize = MAX_PLAINTEXT + 256;

/// Records without application data that a peer may send in a row. rustls allows 32 key updates.
const MAX_DATALESS: u8 = 32;

const KEY_UPDATE: u8 = 24;
/// Length of a KeyUpdate in bytes, header included.
const KEY_UPDATE_LENGTH: usize = 5;
const NEW_SESSION_TICKET: u8 = 4;
const CLIENT_HELLO: u8 = 1;
const HELLO_REQUEST: u8 = 0;

/// Longest NewSessionTicket message in bytes that a client waits for; real ones have some hundred.
const MAX_TICKET_MESSAGE: usize = 1 << 16;

/// Traffic keys and their state, after the handshake.
pub struct Established {
    role: Role,
    suite: SupportedCipherSuite,
    sealer: Box<dyn MessageEncrypter>,
    send_sequence: u64,
    /// Records that one key may protect (RFC 8446, section 5.5).
    send_limit: u64,
    opener: Box<dyn MessageDecrypter>,
    receive_sequence: u64,
    dataless: u8,
    resumed: bool,
    /// Handshake messages of the peer that are not complete yet.
    messages: Vec<u8>,
}

/// What changes keys, and which end this is.
enum Role {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What a received record held.
pub(crate) enum Received<'a> {
    /// Application data; it lies in the buffer that the record was in.
    Data(&'a [u8]),
    /// The peer sends no more (RFC 8446, section 6.1).
    CloseNotify,
    /// Nothing to hand on; the bytes, if any, are to be sent back.
    Handled(Vec<u8>),
}

impl Established {
    /// Takes the traffic keys of a server's connection whose handshake is complete.
    pub(crate) fn server(
        connection: UnbufferedServerConnection,
        resumed: bool,
    ) -> Result<Self, Error> {
        let (secrets, kernel) = connection
            .dangerous_into_kernel_connection()
            .map_err(Error::Handshake)?;
        let suite = kernel.negotiated_cipher_suite();
        Ok(Self::new(secrets, suite, Role::Server(kernel), resumed))
    }

    /// Takes the traffic keys of a client's connection whose handshake is complete.
    pub(crate) fn client(connection: UnbufferedClientConnection) -> Result<Self, Error> {
        let (secrets, kernel) = connection
            .dangerous_into_kernel_connection()
            .map_err(Error::Handshake)?;
        let suite = kernel.negotiated_cipher_suite();
        Ok(Self::new(secrets, suite, Role::Client(kernel), false))
    }

    fn new(
        secrets: ExtractedSecrets,
        suite: SupportedCipherSuite,
        role: Role,
        resumed: bool,
    ) -> Self {
        let (send_sequence, send) = secrets.tx;
        let (receive_sequence, receive) = secrets.rx;
        Self {
            sealer: sealer(suite, send),
            opener: opener(suite, receive),
            send_limit: confidentiality_limit(suite),
            role,
            suite,
            send_sequence,
            receive_sequence,
            dataless: 0,
            resumed,
            messages: Vec::new(),
        }
    }

    /// The protocol version.
    pub fn version(&self) -> ProtocolVersion {
        self.suite.version().version
    }

    /// Whether the handshake resumed an earlier session.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// The cipher suite.
    pub fn suite(&self) -> SupportedCipherSuite {
        self.suite
    }

    /// Decrypts one whole record, header included, where it lies.
    pub(crate) fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Received<'a>, Error> {
        let tls13 = self.is_tls13();
        let (header, payload) = record.split_at_mut(HEADER);
        let content = ContentType::from(header[0]);
        let limit = if tls13 {
            MAX_PROTECTED_TLS13
        } else {
            MAX_PROTECTED_TLS12
        };
        if payload.len() > limit {
            return Err(Fault::TooLong.into());
        }
        // RFC 8446, section 5: nothing but application_data once keys are in use; the
        // compatibility change_cipher_spec has its place in the handshake only.
        if tls13 && content != ContentType::ApplicationData {
            return Err(Fault::UnexpectedMessage.into());
        }
        let message = InboundOpaqueMessage::new(content, ProtocolVersion::TLSv1_2, payload);
        let plain = self
            .opener
            .decrypt(message, self.receive_sequence)
            .map_err(fault)?;
        self.receive_sequence = self
            .receive_sequence
            .checked_add(1)
            .ok_or(Fault::KeysExhausted)?;
        if !self.messages.is_empty() && plain.typ != ContentType::Handshake {
            return Err(Fault::UnexpectedMessage.into());
        }
        match plain.typ {
            ContentType::ApplicationData if !plain.payload.is_empty() => {
                self.dataless = 0;
                return Ok(Received::Data(plain.payload));
            }
            _ => self.count_dataless()?,
        }
        match plain.typ {
            ContentType::ApplicationData => Ok(Received::Handled(Vec::new())),
            ContentType::Alert => alert(plain.payload, tls13),
            ContentType::Handshake if tls13 => self.take_messages(plain.payload),
            ContentType::Handshake => self.renegotiation(plain.payload),
            _ => Err(Fault::UnexpectedMessage.into()),
        }
    }

    /// How many bytes a record with this much plaintext takes, header included.
    pub(crate) fn sealed_len(&self, plaintext: usize) -> usize {
        HEADER + self.sealer.encrypted_payload_len(plaintext)
    }

    /// Encrypts application data: one record, after a key update where the key is used up.
    pub(crate) fn seal_data(&mut self, data: OutboundChunks<'_>) -> Result<Vec<u8>, Fault> {
        if self.send_sequence < self.send_limit {
            return self.seal(ContentType::ApplicationData, data);
        }
        if !self.is_tls13() {
            return Err(Fault::KeysExhausted);
        }
        let mut records = self.rekey_sending()?;
        records.extend(self.seal(ContentType::ApplicationData, data)?);
        Ok(records)
    }

    /// An alert record; everything but `close_notify` and `no_renegotiation` is fatal.
    pub(crate) fn seal_alert(&mut self, description: AlertDescription) -> Result<Vec<u8>, Fault> {
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        let level = match description {
            AlertDescription::CloseNotify | AlertDescription::NoRenegotiation => WARNING,
            _ => FATAL,
        };
        self.seal(
            ContentType::Alert,
            OutboundChunks::Single(&[level, description.into()]),
        )
    }

    #[cfg(test)]
    pub(crate) fn set_send_limit(&mut self, records: u64) {
        self.send_limit = records;
    }

    fn seal(&mut self, typ: ContentType, payload: OutboundChunks<'_>) -> Result<Vec<u8>, Fault> {
        // RFC 8446, section 5.1: the record version is 0x0303 in both protocols.
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload,
        };
        let sealed = self
            .sealer
            .encrypt(message, self.send_sequence)
            .map_err(|_| Fault::Internal)?;
        self.send_sequence = self
            .send_sequence
            .checked_add(1)
            .ok_or(Fault::KeysExhausted)?;
        Ok(sealed.encode())
    }

    /// Handles the messages that may follow the handshake: key updates, and a server's tickets,
    /// which are ignored. They may be in one record or in several (RFC 8446, section 5.1).
    pub(crate) fn take_messages(&mut self, bytes: &[u8]) -> Result<Received<'static>, Error> {
        self.messages.extend_from_slice(bytes);
        while let Some(typ) = self.messages.first().copied() {
            let tickets = matches!(self.role, Role::Client(_));
            if typ != KEY_UPDATE && !(typ == NEW_SESSION_TICKET && tickets) {
                return Err(Fault::UnexpectedMessage.into());
            }
            let Some(&[_, high, middle, low]) = self.messages.first_chunk() else {
                break;
            };
            let length = 4 + u32::from_be_bytes([0, high, middle, low]) as usize;
            match typ {
                KEY_UPDATE if length != KEY_UPDATE_LENGTH => return Err(Fault::Malformed.into()),
                NEW_SESSION_TICKET if length > MAX_TICKET_MESSAGE => {
                    return Err(Fault::TooLong.into());
                }
                _ if self.messages.len() < length => break,
                KEY_UPDATE => {
                    let message = core::mem::take(&mut self.messages);
                    return self.key_update(&message);
                }
                _ => drop(self.messages.drain(..length)),
            }
        }
        Ok(Received::Handled(Vec::new()))
    }

    /// Changes the peer's sending key, and this end's if the peer requests it (RFC 8446, section
    /// 4.6.3).
    fn key_update(&mut self, message: &[u8]) -> Result<Received<'static>, Error> {
        let requested = match message {
            [_, 0, 0, 1, 0] => false,
            [_, 0, 0, 1, 1] => true,
            [_, 0, 0, 1, _] => return Err(Fault::IllegalParameter.into()),
            // The keys change after this message, so it must end its record (section 5.1).
            _ => return Err(Fault::UnexpectedMessage.into()),
        };
        let (sequence, secrets) = self.role.update_rx_secret().map_err(|_| Fault::Internal)?;
        self.opener = opener(self.suite, secrets);
        self.receive_sequence = sequence;
        Ok(Received::Handled(if requested {
            self.rekey_sending()?
        } else {
            Vec::new()
        }))
    }

    /// A KeyUpdate message under the old key; after it the new one is in use.
    fn rekey_sending(&mut self) -> Result<Vec<u8>, Fault> {
        let message = OutboundChunks::Single(&[KEY_UPDATE, 0, 0, 1, 0]);
        let record = self.seal(ContentType::Handshake, message)?;
        let (sequence, secrets) = self.role.update_tx_secret().map_err(|_| Fault::Internal)?;
        self.sealer = sealer(self.suite, secrets);
        self.send_sequence = sequence;
        Ok(record)
    }

    /// TLS 1.2 renegotiation is refused (RFC 5246, section 7.2.2).
    fn renegotiation(&mut self, message: &[u8]) -> Result<Received<'static>, Error> {
        let request = match self.role {
            Role::Server(_) => CLIENT_HELLO,
            Role::Client(_) => HELLO_REQUEST,
        };
        match message.first() {
            Some(&first) if first == request => Ok(Received::Handled(
                self.seal_alert(AlertDescription::NoRenegotiation)?,
            )),
            _ => Err(Fault::UnexpectedMessage.into()),
        }
    }

    fn count_dataless(&mut self) -> Result<(), Fault> {
        self.dataless += 1;
        match self.dataless > MAX_DATALESS {
            true => Err(Fault::Flood),
            false => Ok(()),
        }
    }

    fn is_tls13(&self) -> bool {
        self.suite.tls13().is_some()
    }
}

impl Role {
    fn update_rx_secret(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            Self::Server(kernel) => kernel.update_rx_secret(),
            Self::Client(kernel) => kernel.update_rx_secret(),
        }
    }

    fn update_tx_secret(&mut self) -> Result<(u64, ConnectionTrafficSecrets), rustls::Error> {
        match self {
            Self::Server(kernel) => kernel.update_tx_secret(),
            Self::Client(kernel) => kernel.update_tx_secret(),
        }
    }
}

/// RFC 8446, section 6; RFC 5246, section 7.2.
fn alert(message: &[u8], tls13: bool) -> Result<Received<'static>, Error> {
    const WARNING: u8 = 1;
    let &[level, description] = message else {
        return Err(Fault::Malformed.into());
    };
    let description = AlertDescription::from(description);
    match description {
        AlertDescription::CloseNotify => Ok(Received::CloseNotify),
        AlertDescription::UserCanceled => Ok(Received::Handled(Vec::new())),
        // RFC 8446, section 6: the level is to be ignored; TLS 1.2 has real warnings.
        _ if level == WARNING && !tls13 => Ok(Received::Handled(Vec::new())),
        _ => Err(Error::PeerAlert(description)),
    }
}

fn fault(error: rustls::Error) -> Fault {
    match error {
        rustls::Error::PeerSentOversizedRecord => Fault::TooLong,
        // A record without content or content type, or a Finished: not allowed after the handshake.
        rustls::Error::PeerMisbehaved(_) | rustls::Error::InvalidMessage(_) => {
            Fault::UnexpectedMessage
        }
        _ => Fault::Decrypt,
    }
}

fn confidentiality_limit(suite: SupportedCipherSuite) -> u64 {
    match suite {
        SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
    }
}

fn sealer(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Box<dyn MessageEncrypter> {
    let (key, iv) = parts(secrets);
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let (fixed, explicit) = split_tls12(suite, iv.as_ref());
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    }
}

fn opener(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Box<dyn MessageDecrypter> {
    let (key, iv) = parts(secrets);
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => suite
            .aead_alg
            .decrypter(key, split_tls12(suite, iv.as_ref()).0),
    }
}

/// The implicit and the explicit part of a TLS 1.2 nonce (RFC 5288, section 3; RFC 7905, section 2).
fn split_tls12<'a>(suite: &rustls::Tls12CipherSuite, iv: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    iv.split_at(suite.aead_alg.key_block_shape().fixed_iv_len.min(iv.len()))
}

fn parts(
    secrets: ConnectionTrafficSecrets,
) -> (rustls::crypto::cipher::AeadKey, rustls::crypto::cipher::Iv) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        // The enum is non-exhaustive for providers' own algorithms; ring's provider has these three.
        _ => unreachable!("the ring provider extracts AES-GCM and ChaCha20-Poly1305 keys only"),
    }
}
