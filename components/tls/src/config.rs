//! The rustls configuration of a server.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ServerConfig, version};

use crate::{Identity, IdentityError, Tickets};

/// The protocol name of HTTP/1.1 (RFC 7301, section 6).
pub const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// What a description can choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Offers TLS 1.2 (RFC 5246) besides 1.3.
    pub tls12: bool,
    /// Application protocols, preferred first. A client that offers others only is refused with
    /// `no_application_protocol` (RFC 7301, section 3.2).
    pub alpn: Vec<Vec<u8>>,
    /// Seconds that a session can be resumed and that a ticket key is in use, at most
    /// [`MAX_TICKET_PERIOD`](crate::MAX_TICKET_PERIOD); 0: sessions are not resumed.
    pub ticket_period: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls12: true,
            alpn: alloc::vec![ALPN_HTTP_1_1.to_vec()],
            ticket_period: 3600,
        }
    }
}

/// What all sessions of a server have in common.
#[derive(Clone, Debug)]
pub struct Server {
    /// What rustls makes a handshake with.
    pub(crate) config: Arc<ServerConfig>,
    /// Resumption, if it is on.
    pub(crate) tickets: Option<Arc<Tickets>>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The identity cannot be used.
    Identity(IdentityError),
    /// rustls refuses the key, the chain or the versions.
    Rustls(rustls::Error),
}

/// A server with one identity.
///
/// # Errors
/// [`ConfigError`] when the key and the certificate do not fit or are of an unknown kind.
pub fn server(
    identity: &Identity,
    options: Options,
    time: Arc<dyn TimeProvider>,
) -> Result<Server, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver = single_certificate(identity, &provider)?;
    let random = provider.secure_random;
    let versions: &[_] = match options.tls12 {
        true => &[&version::TLS13, &version::TLS12],
        false => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_details(provider, time)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = options.alpn;
    // Nothing is kept of a session; a ticket brings it back, in both versions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let tickets = (options.ticket_period > 0).then(|| Tickets::new(random, options.ticket_period));
    match &tickets {
        Some(tickets) => config.ticketer = tickets.clone(),
        None => config.send_tls13_tickets = 0,
    }
    // `Established` takes the traffic keys over when the handshake is complete.
    config.enable_secret_extraction = true;
    Ok(Server {
        config: Arc::new(config),
        tickets,
    })
}

fn single_certificate(
    identity: &Identity,
    provider: &CryptoProvider,
) -> Result<Arc<dyn ResolvesServerCert>, ConfigError> {
    let key = provider
        .key_provider
        .load_private_key(identity.private_key()?)?;
    let certified = CertifiedKey::new(identity.certificates(), key);
    certified.keys_match()?;
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

impl From<IdentityError> for ConfigError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<rustls::Error> for ConfigError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(error) => error.fmt(f),
            Self::Rustls(error) => write!(f, "the certificate or key is refused: {error}"),
        }
    }
}

impl core::error::Error for ConfigError {}
