//! The handshake, made by rustls through its unbuffered API.

use alloc::sync::Arc;

use channel::streams::PeerIdentity;
use rustls::HandshakeKind;
use rustls::server::UnbufferedServerConnection;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use crate::buffers::{Incoming, Queue};
use crate::{Error, Established, Fault, Server, peer};

/// A handshake under way.
pub(crate) struct Handshake {
    connection: UnbufferedServerConnection,
    clients: Option<Clients>,
}

/// What client certificates are verified with.
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    time: Arc<dyn TimeProvider>,
}

impl Handshake {
    /// Waits for a ClientHello.
    pub(crate) fn new(server: &Server) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(server.config.clone());
        let clients = server.clients.as_ref().map(|verifier| Clients {
            verifier: verifier.clone(),
            time: server.config.time_provider.clone(),
        });
        Ok(Self {
            connection: connection.map_err(Error::Handshake)?,
            clients,
        })
    }

    /// Gives rustls the records that have arrived and queues its answer. Returns whether the handshake is complete.
    pub(crate) fn advance(
        &mut self,
        incoming: &mut Incoming,
        outgoing: &mut Queue,
    ) -> Result<bool, Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(incoming.bytes());
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    incoming.discard(discard);
                    return Err(Error::Handshake(error));
                }
            };
            let complete = match state {
                ConnectionState::EncodeTlsData(mut data) => {
                    outgoing.encode(|buffer| data.encode(buffer));
                    None
                }
                ConnectionState::TransmitTlsData(transmitted) => {
                    transmitted.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(false),
                ConnectionState::WriteTraffic(_) => Some(true),
                // Early data is off and a record is given at a time, so what is left is a client that
                // closes in the middle of its handshake.
                _ => return Err(Fault::UnexpectedMessage.into()),
            };
            incoming.discard(discard);
            if let Some(complete) = complete {
                return Ok(complete);
            }
        }
    }

    /// Queues the alert that rustls has for its error.
    pub(crate) fn take_alert(&mut self, outgoing: &mut Queue) {
        // Without the check it would parse on behind the error.
        while self.connection.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process_tls_records(&mut []).state
        {
            outgoing.encode(|buffer| data.encode(buffer));
        }
    }

    /// Who the peer of a complete handshake is.
    ///
    /// A resumed session brings the certificates of its first handshake back, which may be long ago: each resumption
    /// gives new tickets. So they are verified again, at the present time.
    pub(crate) fn peer(&self) -> Result<Option<PeerIdentity>, Error> {
        let (Some(clients), Some([first, others @ ..])) =
            (&self.clients, self.connection.peer_certificates())
        else {
            return Ok(None);
        };
        if self.resumed() {
            let now = clients.time.current_time();
            let now = now.ok_or(Error::Handshake(rustls::Error::FailedToGetCurrentTime))?;
            clients
                .verifier
                .verify_client_cert(first, others, now)
                .map_err(Error::Certificate)?;
        }
        Ok(Some(peer::identity(first)))
    }

    /// Hands the traffic keys over.
    pub(crate) fn into_established(self) -> Result<Established, Error> {
        let resumed = self.resumed();
        Established::new(self.connection, resumed)
    }

    fn resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}
