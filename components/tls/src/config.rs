//! The rustls configuration of a server.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::time_provider::TimeProvider;
use rustls::{ServerConfig, version};

use crate::provider::provider;
use crate::{AuthoritiesError, Tickets, Trust};

/// The protocol name of HTTP/1.1 (RFC 7301, section 6).
pub const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// What a description can choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Offers TLS 1.2 (RFC 5246) besides 1.3.
    pub tls12: bool,
    /// Whether the server's preference selects the cipher suite, in the order AES-256-GCM,
    /// AES-128-GCM, ChaCha20-Poly1305; otherwise the client's preference does.
    pub server_cipher_order: bool,
    /// Application protocols, preferred first. A client that offers others only is refused with
    /// `no_application_protocol` (RFC 7301, section 3.2).
    pub alpn: Vec<Vec<u8>>,
    /// Seconds that a session can be resumed and that a ticket key is in use, at most
    /// [`MAX_TICKET_PERIOD`](crate::MAX_TICKET_PERIOD); 0: sessions are not resumed.
    pub ticket_period: u32,
    /// Whose certificates clients have to show; none are asked for if absent.
    pub clients: Option<ClientPolicy>,
}

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub struct ClientPolicy {
    /// Whose certificates count.
    pub trust: Trust,
    /// A client may show none, and is served without an identity.
    pub anonymous: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls12: true,
            server_cipher_order: false,
            alpn: alloc::vec![ALPN_HTTP_1_1.to_vec()],
            ticket_period: 3600,
            clients: None,
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
    /// Verifies client certificates, if they are asked for.
    pub(crate) clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The authorities cannot be used.
    Authorities(AuthoritiesError),
    /// The name of the server to connect to is no DNS name or IP address.
    ServerName,
    /// rustls refuses the versions or the authorities.
    Rustls(rustls::Error),
}

/// A server with these keys.
///
/// # Errors
/// [`ConfigError`].
pub fn server(
    keys: Arc<dyn ResolvesServerCert>,
    options: Options,
    time: Arc<dyn TimeProvider>,
) -> Result<Server, ConfigError> {
    let provider = provider();
    let random = provider.secure_random;
    let versions: &[_] = match options.tls12 {
        true => &[&version::TLS13, &version::TLS12],
        false => &[&version::TLS13],
    };
    let clients = match &options.clients {
        Some(policy) => Some(policy.trust.of_clients(policy.anonymous, &provider)?),
        None => None,
    };
    let mut config = ServerConfig::builder_with_details(provider, time)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(clients.clone().unwrap_or_else(|| Arc::new(NoClientAuth)))
        .with_cert_resolver(keys);
    // A TLS 1.2 session without it can be resumed on another connection than the client's own (RFC 7627), and with
    // it what its certificate stands for.
    config.require_ems = clients.is_some();
    config.ignore_client_order = options.server_cipher_order;
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
        clients,
    })
}

impl Server {
    /// Replaces the keys of tickets if they are due (monotonic nanoseconds). Returns the time of
    /// the next replacement. No tickets are issued before the first call.
    pub fn change_ticket_keys(&self, now: u64) -> Option<u64> {
        self.tickets.as_ref().map(|tickets| tickets.advance(now))
    }

    /// The same with another server's tickets: sessions of that one can be resumed here.
    pub(crate) fn with_tickets_of(mut self, other: &Self) -> Self {
        if let Some(tickets) = &other.tickets {
            self.tickets = Some(tickets.clone());
            Arc::make_mut(&mut self.config).ticketer = tickets.clone();
        }
        self
    }
}

impl From<AuthoritiesError> for ConfigError {
    fn from(error: AuthoritiesError) -> Self {
        Self::Authorities(error)
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
            Self::Authorities(error) => error.fmt(f),
            Self::ServerName => f.write_str("the server's name is no DNS name or IP address"),
            Self::Rustls(error) => write!(f, "rustls refuses the configuration: {error}"),
        }
    }
}

impl core::error::Error for ConfigError {}
