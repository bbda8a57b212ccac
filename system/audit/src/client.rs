//! Sessions whose secrets are known.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned,
    SupportedCipherSuite,
};

use crate::content::Content;
use crate::hello;
use crate::recorder::{Record, provider};
use crate::{AnyCertificate, Secret, Signed};

/// How long one read or write may take. Generous: the guest is emulated, and its host may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client says that it sends no more, and waits for the service's own `close_notify`.
    Closed,
    /// The TCP connection is reset.
    Reset,
    /// The client sends a record that nobody sealed; the service answers with an alert.
    Forged,
}

impl Ending {
    /// All ways to end a session.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Reset, Self::Forged];
}

/// A client of a service that speaks HTTP over TLS. It offers one cipher suite, resumes its last session if the service
/// has given it a ticket, and knows everything secret of all its sessions.
pub struct Client {
    address: SocketAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    verifier: Arc<AnyCertificate>,
    record: Record,
    ticket: Mutex<Option<Vec<u8>>>,
}

impl Client {
    /// A client without a ticket, which asks for the server of this name.
    ///
    /// # Errors
    /// When rustls cannot use the suite, or the name is none.
    pub fn new(address: SocketAddr, name: &str, suite: SupportedCipherSuite) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_string()).map_err(io::Error::other)?;
        let record = Record::default();
        let provider = Arc::new(provider(suite, &record));
        let verifier = Arc::new(AnyCertificate::new(provider.clone()));
        let version = match suite.version().version {
            ProtocolVersion::TLSv1_2 => &TLS12,
            _ => &TLS13,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            address,
            name,
            config: Arc::new(config),
            verifier,
            record,
            ticket: Mutex::default(),
        })
    }

    /// Everything secret of all sessions so far, and what they carried.
    pub fn secrets(&self) -> Vec<Secret> {
        self.record.secrets()
    }

    /// What the service signed in the last full handshake.
    pub fn signed(&self) -> Option<Signed> {
        self.verifier.signed()
    }

    /// The ticket that the last session offered to resume from, if it did.
    pub fn ticket(&self) -> Option<Vec<u8>> {
        let ticket = self.ticket.lock();
        ticket.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A session whose handshake is under way: in TLS 1.3 the service has all secrets and waits for the client's Finished,
    /// in TLS 1.2 it waits for the client's key share.
    ///
    /// # Errors
    /// When the connection or the handshake fails.
    pub fn begin(&self) -> io::Result<Session> {
        let mut connection = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(io::Error::other)?;
        let mut socket = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let mut hello = Vec::new();
        connection.write_tls(&mut hello)?;
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) =
            hello::ticket(&hello).map(<[u8]>::to_vec);
        socket.write_all(&hello)?;
        // TLS 1.2 has the client's flight ready while the handshake is not over; 1.3 only its compatibility message.
        let answered = |connection: &ClientConnection| match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => connection.wants_write(),
            _ => false,
        };
        while connection.is_handshaking() && !answered(&connection) {
            if connection.read_tls(&mut socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            connection.process_new_packets().map_err(io::Error::other)?;
        }
        Ok(Session {
            stream: StreamOwned::new(connection, socket),
            record: self.record.clone(),
        })
    }

    /// A session that was used in both directions.
    ///
    /// # Errors
    /// When the connection, the handshake or the request fails.
    pub fn open(&self) -> io::Result<Session> {
        let mut session = self.begin()?;
        session.finish()?;
        session.ask()?;
        Ok(session)
    }
}

/// A session of a [`Client`].
pub struct Session {
    stream: StreamOwned<ClientConnection, TcpStream>,
    record: Record,
}

impl Session {
    /// Completes the handshake; no application data is sent.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn finish(&mut self) -> io::Result<()> {
        let StreamOwned { conn, sock } = &mut self.stream;
        while conn.is_handshaking() || conn.wants_write() {
            conn.complete_io(sock)?;
        }
        Ok(())
    }

    /// The service's certificate in DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        let certificates = self.stream.conn.peer_certificates()?;
        certificates.first().map(|certificate| certificate.as_ref())
    }

    /// Whether it resumed an earlier one.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When the service does not end it as it should.
    pub fn end(self, ending: Ending) -> io::Result<()> {
        let mut stream = self.stream;
        match ending {
            Ending::Closed => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.read_to_end(&mut Vec::new())?;
            }
            Ending::Reset => {
                rustix::net::sockopt::set_socket_linger(&stream.sock, Some(Duration::ZERO))?;
            }
            Ending::Forged => {
                let mut record = vec![23, 3, 3, 0, 64];
                record.resize(5 + 64, 0xa5);
                stream.sock.write_all(&record)?;
                stream.sock.read_to_end(&mut Vec::new())?;
            }
        }
        Ok(())
    }

    /// Sends a request and does not wait for an answer.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn send(&mut self) -> io::Result<()> {
        self.stream
            .write_all(b"GET /bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        self.stream.flush()
    }

    /// Requests that fill the buffers in both directions.
    fn ask(&mut self) -> io::Result<()> {
        let content =
            Content::random().ok_or_else(|| io::Error::other("there are no random bytes"))?;
        self.record.push(content.secrets.iter().cloned());
        self.request(b"GET /bytes/20000 HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        // Last, or the other response would overwrite this one on its way.
        let response = self.request(&content.request)?;
        self.record.push(content.answered(&response));
        Ok(())
    }

    /// A request and its response's body. The response has to say its length (RFC 9112, section 6.2).
    fn request(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let stream = &mut self.stream;
        stream.write_all(request)?;
        stream.flush()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
            if head.len() > 16_384 {
                return Err(io::Error::other("the response's head has no end"));
            }
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok());
        let Some(length @ 0..=1_048_576) = length else {
            return Err(io::Error::other("the response does not say its length"));
        };
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(body)
    }
}
