//! The rustls configuration of a client: for connections that the service asks for.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use rustls::client::{ResolvesClientCert, Resumption, UnbufferedClientConnection};
use rustls::pki_types::{self, ServerName};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, KeyLog, version};

use crate::provider::provider;
use crate::{ConfigError, Error, Trust};

/// What a description can choose for connections to others.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Offers TLS 1.2 (RFC 5246) besides 1.3.
    pub tls12: bool,
    /// Application protocols, preferred first.
    pub alpn: Vec<Vec<u8>>,
    /// Whose certificates count.
    pub trust: Trust,
    /// The name that a server's certificate must be for, and that it is asked for (RFC 6066, section 3). Without one it
    /// must be for the address that is connected to.
    pub name: Option<String>,
    /// What this client proves who it is with, where it is asked; nothing if absent. With the keys of a vault it can
    /// do so in TLS 1.3 only: in TLS 1.2 a client signs all messages, which a vault does not.
    pub keys: Option<Arc<dyn ResolvesClientCert>>,
}

/// What all sessions of a client have in common.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

/// A client of servers. Sessions are not resumed.
///
/// # Errors
/// [`ConfigError`] when the authorities or the name cannot be used.
pub fn client(options: ClientOptions, time: Arc<dyn TimeProvider>) -> Result<Client, ConfigError> {
    let provider = provider();
    let versions: &[_] = match options.tls12 {
        true => &[&version::TLS13, &version::TLS12],
        false => &[&version::TLS13],
    };
    let name = match options.name {
        Some(name) => Some(ServerName::try_from(name).map_err(|_| ConfigError::ServerName)?),
        None => None,
    };
    let verifier = options.trust.of_servers(&provider)?;
    let builder = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match options.keys {
        Some(keys) => builder.with_client_cert_resolver(keys),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = options.alpn;
    config.resumption = Resumption::disabled();
    // `Established` takes the traffic keys over when the handshake is complete.
    config.enable_secret_extraction = true;
    Ok(Client {
        config: Arc::new(config),
        name,
    })
}

impl Client {
    pub(crate) fn connect(
        &self,
        remote: IpAddr,
        key_log: Arc<dyn KeyLog>,
    ) -> Result<UnbufferedClientConnection, Error> {
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| ServerName::IpAddress(address(remote)));
        let mut config = ClientConfig::clone(&self.config);
        config.key_log = key_log;
        UnbufferedClientConnection::new(Arc::new(config), name).map_err(Error::Handshake)
    }
}

/// pki_types converts addresses with `std` only.
fn address(address: IpAddr) -> pki_types::IpAddr {
    match address {
        IpAddr::V4(address) => pki_types::IpAddr::V4(address.octets().into()),
        IpAddr::V6(address) => pki_types::IpAddr::V6(address.segments().into()),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
