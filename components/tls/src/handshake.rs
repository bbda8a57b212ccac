//! The handshake, made by rustls through its unbuffered API.

use alloc::sync::Arc;
use core::net::IpAddr;

use channel::streams::PeerIdentity;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::time_provider::TimeProvider;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{CommonState, HandshakeKind, PeerIncompatible, ServerConfig};

use crate::alerts::Answer;
use crate::buffers::{Incoming, Queue};
use crate::witness::Witness;
use crate::{Client, Error, Established, Fault, Server, hello, peer};

/// A handshake under way.
pub(crate) struct Handshake {
    connection: Connection,
    witness: Arc<Witness>,
    clients: Option<Clients>,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What client certificates are verified with.
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    time: Arc<dyn TimeProvider>,
}

impl Handshake {
    /// Waits for a ClientHello.
    pub(crate) fn accept(server: &Server) -> Result<Self, Error> {
        let witness = Witness::server(server.config.cert_resolver.clone());
        let mut config = ServerConfig::clone(&server.config);
        config.key_log = witness.clone();
        config.cert_resolver = witness.clone();
        let connection = UnbufferedServerConnection::new(Arc::new(config));
        let clients = server.clients.as_ref().map(|verifier| Clients {
            verifier: verifier.clone(),
            time: server.config.time_provider.clone(),
        });
        Ok(Self {
            connection: Connection::Server(connection.map_err(Error::Handshake)?),
            witness,
            clients,
        })
    }

    /// Begins with a ClientHello, which the first [`Handshake::advance`] queues.
    pub(crate) fn connect(client: &Client, remote: IpAddr) -> Result<Self, Error> {
        let witness = Witness::client();
        Ok(Self {
            connection: Connection::Client(client.connect(remote, witness.clone())?),
            witness,
            clients: None,
        })
    }

    /// Gives rustls the records that have arrived and queues its answer. Returns whether the handshake is complete.
    pub(crate) fn advance(
        &mut self,
        incoming: &mut Incoming,
        outgoing: &mut Queue,
    ) -> Result<bool, Error> {
        let suite = self.state().negotiated_cipher_suite();
        let witness = &self.witness;
        if let Connection::Server(_) = &self.connection {
            if hello::is_of_ssl(incoming.bytes()) {
                return Err(Error::Handshake(PeerIncompatible::Tls12NotOffered.into()));
            }
            if hello::is_fallback(incoming.bytes()) {
                return Err(Error::Fallback);
            }
            if let Some(record) = incoming.only_record()
                && witness.skips(record, suite)?
            {
                incoming.clear();
                return Ok(false);
            }
        }
        match &mut self.connection {
            Connection::Server(connection) => advance(connection, witness, incoming, outgoing),
            Connection::Client(connection) => advance(connection, witness, incoming, outgoing),
        }
    }

    /// Queues the alert for this error. What rustls has queued since it last got a record is
    /// dropped: possibly another alert, after a flight that is obsolete.
    pub(crate) fn refuse(&mut self, error: &Error, outgoing: &mut Queue) {
        let state = self.state();
        match error.answer(state.protocol_version()) {
            Answer::Nothing => {}
            Answer::Own => match &mut self.connection {
                Connection::Server(connection) => take_alert(connection, outgoing),
                Connection::Client(connection) => take_alert(connection, outgoing),
            },
            Answer::Alert(alert) => {
                let suite = state.negotiated_cipher_suite();
                if let Some(record) = self.witness.alert(alert, suite) {
                    outgoing.push(&record);
                }
            }
        }
    }

    /// Who the peer of a complete handshake is.
    ///
    /// A resumed session brings the certificates of its first handshake back, which may be long ago: each resumption
    /// gives new tickets. So they are verified again, at the present time.
    pub(crate) fn peer(&self) -> Result<Option<PeerIdentity>, Error> {
        let Some([first, others @ ..]) = self.state().peer_certificates() else {
            return Ok(None);
        };
        if let Some(clients) = &self.clients
            && self.resumed()
        {
            clients.verify(first, others)?;
        }
        Ok(Some(peer::identity(first)))
    }

    /// Hands the traffic keys over.
    pub(crate) fn into_established(self) -> Result<Established, Error> {
        let resumed = self.resumed();
        self.witness.forget();
        match self.connection {
            Connection::Server(connection) => Established::server(connection, resumed),
            Connection::Client(connection) => Established::client(connection),
        }
    }

    fn resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(connection) => connection,
            Connection::Client(connection) => connection,
        }
    }
}

impl Clients {
    fn verify(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let now = self.time.current_time();
        let now = now.ok_or(Error::Handshake(rustls::Error::FailedToGetCurrentTime))?;
        let verified = self.verifier.verify_client_cert(first, others, now);
        verified.map(|_| ()).map_err(Error::Certificate)
    }
}

/// What rustls' connections of both roles do alike.
trait Unbuffered {
    type Data;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn has_output(&self) -> bool;
}

impl Unbuffered for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Unbuffered for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

fn advance(
    connection: &mut impl Unbuffered,
    witness: &Witness,
    incoming: &mut Incoming,
    outgoing: &mut Queue,
) -> Result<bool, Error> {
    witness.received(incoming.bytes());
    loop {
        let UnbufferedStatus { discard, state } = connection.process(incoming.bytes());
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                let error = match witness.without_key() {
                    Some(reason) if matches!(error, rustls::Error::General(_)) => reason.into(),
                    _ => hello::precise(error, incoming.bytes()),
                };
                return Err(Error::Handshake(error));
            }
        };
        let complete = match state {
            ConnectionState::EncodeTlsData(mut data) => {
                witness.sent(outgoing.encode(|buffer| data.encode(buffer)));
                None
            }
            ConnectionState::TransmitTlsData(transmitted) => {
                transmitted.done();
                None
            }
            ConnectionState::BlockedHandshake => Some(false),
            ConnectionState::WriteTraffic(_) => Some(true),
            // Early data is off and a record is given at a time, so what is left is a peer that closes in the
            // middle of its handshake.
            _ => return Err(Fault::UnexpectedMessage.into()),
        };
        witness.accepted(&incoming.bytes()[..discard]);
        incoming.discard(discard);
        if let Some(complete) = complete {
            return Ok(complete);
        }
    }
}

fn take_alert(connection: &mut impl Unbuffered, outgoing: &mut Queue) {
    // Without the check it would parse on behind the error.
    while connection.has_output()
        && let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(&mut []).state
    {
        outgoing.encode(|buffer| data.encode(buffer));
    }
}
