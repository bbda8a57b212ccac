//! Whether a system serves, asked from outside as a client would.
//!
//! QEMU's user-mode network accepts a forwarded connection before the guest does, so a successful
//! `connect` proves nothing. What counts is an answer of the guest: an HTTP status line (over TLS where the
//! service speaks it), the same bytes back from an echo service, and for anything else a byte of the service, or that
//! QEMU says that the connection is established in the guest.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use selkie_audit::AnyCertificate;
use selkie_qemu::{Forward, Guest};

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP over TLS.
    Https,
    /// HTTP.
    Http,
    /// Something else over TLS.
    Tls,
    /// Sends back what it gets.
    Echo,
    /// Something else over TCP.
    Tcp,
}

/// A service of the guest and the port of this machine that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Port on 127.0.0.1.
    pub host: u16,
    /// Port in the guest.
    pub guest: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host;
        match self.protocol {
            Protocol::Https => write!(f, "https://127.0.0.1:{host}/"),
            Protocol::Http => write!(f, "http://127.0.0.1:{host}/"),
            Protocol::Tls => write!(f, "tls://127.0.0.1:{host}"),
            Protocol::Echo | Protocol::Tcp => write!(f, "tcp://127.0.0.1:{host}"),
        }
    }
}

impl Endpoint {
    /// A service at its usual port of this machine: 8443 for 443, 8080 for 80, 7777 for an echo at 7.
    pub fn usual(guest: u16, protocol: Protocol) -> Self {
        let host = match guest {
            7 => 7777,
            0..1024 => 8000 + guest,
            _ => guest,
        };
        Self {
            host,
            guest,
            protocol,
        }
    }

    /// The address on this machine.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.host).into()
    }

    /// Sends one request; `patience` limits the connect and each read and write. For a service with another protocol,
    /// it only checks that the connection stays open. QEMU's user-mode network accepts connections before the guest has
    /// started, so [`Endpoint::wait_in`] checks in the guest.
    ///
    /// # Errors
    /// When no proper answer comes in time.
    pub fn ask(&self, patience: Duration) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address(), patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        match self.protocol {
            Protocol::Https => head(&mut tls(stream)?).or_else(refused_for_a_certificate),
            Protocol::Tls => handshake(&mut tls(stream)?).or_else(refused_for_a_certificate),
            Protocol::Http => head(&mut stream),
            Protocol::Echo => echo(&mut stream),
            Protocol::Tcp => stays_open(&mut stream),
        }
    }

    /// Asks until there is an answer. `alive` is asked between the tries and may end them.
    ///
    /// # Errors
    /// The last try's error when time is up, or what `alive` says.
    pub fn wait<E: From<io::Error>>(
        &self,
        timeout: Duration,
        mut alive: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let end = Instant::now() + timeout;
        // Short at first: a try that began before the guest listened is lost however long it waits.
        let mut patience = Duration::from_millis(250);
        loop {
            alive()?;
            match self.ask(patience) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= end => return Err(in_words(error).into()),
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(30));
                    patience = (patience * 5 / 4).min(Duration::from_secs(5));
                }
            }
        }
    }
}

impl Endpoint {
    /// Waits as [`Endpoint::wait`] does, for a service of this guest.
    ///
    /// # Errors
    /// As [`Endpoint::wait`].
    pub fn wait_in<E: From<io::Error>>(
        &self,
        guest: &Guest,
        timeout: Duration,
        mut alive: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        if self.protocol != Protocol::Tcp {
            return self.wait(timeout, alive);
        }
        let end = Instant::now() + timeout;
        loop {
            alive()?;
            match self.reaches(guest, end) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= end => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Connects, and polls for a while until the guest accepts the connection.
    fn reaches(&self, guest: &Guest, end: Instant) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        let forward = Forward {
            host: self.host,
            guest: self.guest,
        };
        let end = end.min(Instant::now() + Duration::from_secs(2));
        loop {
            match stream.read(&mut [0]) {
                Ok(0) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Ok(_) => return Ok(()),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
            // QEMU serves one client of its control channel at a time: the next attempt may succeed.
            let asked = guest.qmp().map_err(io::Error::other);
            let established =
                asked.and_then(|mut qmp| qmp.is_established(forward).map_err(io::Error::other));
            match established {
                Ok(true) => return Ok(()),
                Ok(false) if Instant::now() >= end => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!(
                            "nothing in the guest takes a connection at port {}",
                            self.guest
                        ),
                    ));
                }
                Err(error) if Instant::now() >= end => return Err(error),
                _ => {}
            }
        }
    }
}

/// Returns true for the time-out of a read or write.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Gives a time-out a message that names its cause. The system's message for a socket is "Resource temporarily
/// unavailable".
fn in_words(error: io::Error) -> io::Error {
    match is_timeout(&error) && error.raw_os_error().is_some() {
        true => io::Error::new(
            io::ErrorKind::TimedOut,
            "QEMU took the connection, but no answer came from the guest",
        ),
        false => error,
    }
}

/// Any status line is an answer, also 404.
fn head(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(
        b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: selkie\r\nConnection: close\r\n\r\n",
    )?;
    let mut start = [0; 9];
    stream.read_exact(&mut start)?;
    if &start == b"HTTP/1.1 " {
        Ok(())
    } else {
        Err(io::Error::other("the answer is not HTTP/1.1"))
    }
}

/// Completes the TLS handshake. The protocol over TLS is unknown, so the handshake counts as the answer.
fn handshake(stream: &mut rustls::StreamOwned<ClientConnection, TcpStream>) -> io::Result<()> {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(())
}

/// A service that asks for a client's certificate serves if it misses ours; one whose own keys wait for their certificates
/// denies access and does what it can (RFC 8446, section 6.2).
fn refused_for_a_certificate(error: io::Error) -> io::Result<()> {
    const REFUSED: [rustls::AlertDescription; 2] = [
        rustls::AlertDescription::CertificateRequired,
        rustls::AlertDescription::AccessDenied,
    ];
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) if REFUSED.contains(alert) => Ok(()),
        _ => Err(error),
    }
}

fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let sent = b"selkie asks whether this comes back\n";
    stream.write_all(sent)?;
    let mut back = [0; 36];
    stream.read_exact(&mut back)?;
    if &back == sent {
        Ok(())
    } else {
        Err(io::Error::other("other bytes came back"))
    }
}

/// QEMU closes a forwarded connection at once when the guest refuses it.
fn stays_open(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0]) {
        Ok(0) => Err(io::ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(()),
        Err(error) if is_timeout(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn tls(stream: TcpStream) -> io::Result<rustls::StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
        .with_no_client_auth();
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(rustls::StreamOwned::new(client, stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that runs `serve` on its first connection.
    fn server(protocol: Protocol, serve: fn(TcpStream)) -> Endpoint {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = listener.local_addr().unwrap().port();
        std::thread::spawn(move || serve(listener.accept().unwrap().0));
        Endpoint {
            host,
            guest: 1,
            protocol,
        }
    }

    fn ask(protocol: Protocol, serve: fn(TcpStream)) -> io::Result<()> {
        server(protocol, serve).ask(Duration::from_millis(300))
    }

    fn read_some(stream: &mut TcpStream) {
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    }

    #[test]
    fn an_answer_is_told_from_an_accepted_connection() {
        let silent = |stream: TcpStream| {
            std::thread::sleep(Duration::from_secs(1));
            drop(stream);
        };
        assert!(ask(Protocol::Http, silent).is_err());
        assert!(ask(Protocol::Https, silent).is_err());
        assert!(ask(Protocol::Echo, silent).is_err());
        assert!(ask(Protocol::Tcp, silent).is_ok());
        assert!(ask(Protocol::Tcp, drop).is_err());
    }

    #[test]
    fn http_needs_a_status_line_and_echo_its_own_bytes() {
        assert!(
            ask(Protocol::Http, |mut stream| {
                read_some(&mut stream);
                stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
            })
            .is_ok()
        );
        assert!(
            ask(Protocol::Http, |mut stream| {
                read_some(&mut stream);
                stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
            })
            .is_err()
        );
        assert!(
            ask(Protocol::Echo, |mut stream| {
                let mut bytes = [0; 36];
                stream.read_exact(&mut bytes).unwrap();
                stream.write_all(&bytes).unwrap();
            })
            .is_ok()
        );
    }

    #[test]
    fn a_service_that_misses_a_certificate_serves() {
        let alert = |description| {
            let error = rustls::Error::AlertReceived(description);
            refused_for_a_certificate(io::Error::new(io::ErrorKind::InvalidData, error))
        };
        assert!(alert(rustls::AlertDescription::CertificateRequired).is_ok());
        assert!(alert(rustls::AlertDescription::AccessDenied).is_ok());
        assert!(alert(rustls::AlertDescription::InternalError).is_err());
        assert!(refused_for_a_certificate(io::ErrorKind::TimedOut.into()).is_err());
    }

    #[test]
    fn a_time_out_is_said_in_words() {
        let silent = |stream: TcpStream| {
            std::thread::sleep(Duration::from_secs(2));
            drop(stream);
        };
        let endpoint = server(Protocol::Http, silent);
        let error: io::Error = endpoint
            .wait(Duration::from_millis(1), || Ok(()))
            .unwrap_err();
        assert!(error.to_string().contains("no answer came"), "{error}");
    }

    #[test]
    fn waiting_ends_when_the_guest_does() {
        let endpoint = server(Protocol::Http, drop);
        let result: Result<(), io::Error> =
            endpoint.wait(Duration::from_secs(60), || Err(io::Error::other("ended")));
        assert_eq!(result.unwrap_err().to_string(), "ended");
    }

    #[test]
    fn usual_ports() {
        assert_eq!(
            Endpoint::usual(443, Protocol::Https).to_string(),
            "https://127.0.0.1:8443/"
        );
        assert_eq!(Endpoint::usual(80, Protocol::Http).host, 8080);
        assert_eq!(Endpoint::usual(7, Protocol::Echo).host, 7777);
        assert_eq!(
            Endpoint::usual(9000, Protocol::Tcp).to_string(),
            "tcp://127.0.0.1:9000"
        );
    }
}
