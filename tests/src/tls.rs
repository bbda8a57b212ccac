//! A TLS client that accepts every certificate and can be told which version to speak.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};
use selkie::cli::Endpoint;
use selkie_audit::AnyCertificate;

use crate::{Failed, client};

/// A connection on which the handshake is done.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and completes the handshake, offering this version and `http/1.1`.
///
/// # Errors
/// When it fails.
pub fn connect(
    endpoint: &Endpoint,
    version: &'static SupportedProtocolVersion,
) -> Result<Stream, Failed> {
    let mut stream = StreamOwned::new(client(version)?, client::connect(endpoint)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A client that has not sent its first message.
///
/// # Errors
/// When rustls refuses the version.
pub fn client(version: &'static SupportedProtocolVersion) -> Result<ClientConnection, Failed> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    Ok(ClientConnection::new(Arc::new(config), name)?)
}
